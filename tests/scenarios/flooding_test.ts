/**
 * Upstream's flooding scenarios with whole engines: transactions by adverts and demands, SCP messages with what they refer
 * to. In virtual time, and over TCP where upstream's are. Source: stellar-core FloodTests.cpp, OverlayTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Account, Asset, Keypair, Operation, TransactionBuilder } from "@stellar/stellar-base";
import { toHex } from "../../overlay/base/bytes.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import { encodeMessage, type StellarMessage } from "../../overlay/wire/messages.ts";
import { type EngineNode, EngineWorld, PASSPHRASE } from "../kit/engine_world.ts";
import { listen, transaction, Voice } from "../kit/voices.ts";

const OVER = ["loopback", "tcp"] as const;
type Over = typeof OVER[number];
const ADDED = 20;

/** Every pair of the first `count` nodes. */
const mesh = (count: number): [number, number][] =>
  Array.from({ length: count }, (_, a) => Array.from({ length: a }, (_, b): [number, number] => [a, b])).flat();

/** Upstream's two shapes: 4 nodes that all know each other; 5 of these, and 10 around them that know two each. */
const SHAPES = {
  "core": { nodes: 4, links: mesh(4) },
  "outer nodes": {
    nodes: 15,
    links: [
      ...mesh(5),
      ...Array.from({ length: 10 }, (_, i): [number, number][] => [[5 + i, i % 5], [5 + i, (i + 1) % 5]]).flat(),
    ],
  },
};

/** Nodes that dial exactly the given links and nobody else. */
async function network(over: Over, shape: { nodes: number; links: [number, number][] }): Promise<EngineWorld> {
  const world = new EngineWorld({ tcp: over === "tcp", sound: true, config: { noDial: true } });
  for (let i = 0; i < shape.nodes; i++) await world.add();
  for (const [from, to] of shape.links) world.nodes[from].dial(world.nodes[to]);
  const linked = () =>
    shape.links.every(([a, b]) => world.nodes[a].has(world.nodes[b]) && world.nodes[b].has(world.nodes[a]));
  await world.until(linked, "all links are there");
  return world;
}

const engines = (world: EngineWorld) => world.nodes.map((node) => node.engine);

// ---- Transactions ----

/** Which of the first few transactions a node holds. */
const hashesOf = ({ engine }: EngineNode) =>
  [0, 1, 2, 3, 4].map((n) => transaction(n).hash).filter((hash) => engine.transactions.get(hash) !== undefined);

/** 20 transactions, each given to another node in turn, until everybody has them all. */
async function floodTransactions(world: EngineWorld): Promise<void> {
  for (let n = 0; n < ADDED; n++) world.nodes[n % world.nodes.length].engine.broadcast(transaction(n).message);
  await world.until(() => engines(world).every(({ transactions }) => transactions.size === ADDED), "all have them all");
}

for (const [shape, of] of Object.entries(SHAPES)) {
  for (const over of OVER) {
    test(`scenario: Flooding, transaction flooding, ${shape}, ${over}`, async () => {
      await using world = await network(over, of);
      await floodTransactions(world);
      const bodies = engines(world).reduce((sum, { demands }) => sum + demands.counts.pulled, 0);
      assert.equal(bodies, ADDED * (of.nodes - 1), "each node got each of the others' once, by demand");
      for (const node of world.nodes) assert.deepEqual(node.reasons(), []);
    });
  }
}

/** What the nodes of a pair, or of a mesh, sent each other: by sender. */
function count(world: EngineWorld) {
  const heard = world.nodes.map((node) => listen(node.engine, "floodAdvert", "floodDemand", "transaction"));
  return (node: EngineNode) => {
    const sent = { adverts: 0, advertisedHashes: 0, demands: 0 };
    for (const { from, message } of heard.flat()) {
      if (from !== node.id) continue;
      const decoded = message.decode();
      if (decoded.type === "floodAdvert") {
        sent.adverts++;
        sent.advertisedHashes += decoded.txHashes.length;
      } else if (decoded.type === "floodDemand") sent.demands++;
    }
    const { fulfilled, unknown, banned } = node.engine.demands.counts;
    return { ...sent, fulfilled, unfulfilled: unknown + banned };
  };
}

async function pullModeOfTwo() {
  const world = await network("loopback", { nodes: 2, links: [[0, 1]] });
  const sent = count(world);
  await floodTransactions(world);
  await world.run(2000);
  return { world, sent };
}

test("scenario: Flooding, transaction flooding, pull mode with 2 nodes", async () => {
  const { world, sent } = await pullModeOfTwo();
  await using _ = world;
  for (const node of world.nodes) {
    const { advertisedHashes, demands, fulfilled, unfulfilled } = sent(node);
    assert.deepEqual([advertisedHashes, fulfilled, unfulfilled], [10, 10, 0]);
    assert.ok(demands >= 1);
  }
});

test(
  "scenario: Flooding, transaction flooding, pull mode with 2 nodes, advertise same transaction after some time",
  async () => {
    const { world, sent } = await pullModeOfTwo();
    await using _ = world;
    const [a, b] = world.nodes, { message } = transaction(0);
    const advertised = () => sent(a).advertisedHashes;
    for (const node of engines(world)) node.scp.track(1);
    assert.deepEqual(a.engine.broadcast(message), []);
    await world.run(1000);
    assert.equal(advertised(), 10);
    for (let slot = 2; slot <= 13; slot++) for (const node of engines(world)) node.scp.track(slot);
    assert.deepEqual(a.engine.broadcast(message), [b.id]);
    await world.run(1000);
    assert.equal(advertised(), 11);
  },
);

test("scenario: Flooding, transaction flooding, pull mode with 4 nodes", async () => {
  await using world = await network("tcp", { nodes: 4, links: mesh(4) });
  const sent = count(world);
  await floodTransactions(world);
  const within = (value: number, low: number, high: number) => low <= value && value <= high;
  for (const node of world.nodes) {
    // Adverts leave within 100 ms: the last ones may still be under way.
    await world.until(() => within(sent(node).advertisedHashes, 5, 60), "its own five are advertised");
    const { adverts, advertisedHashes, demands, fulfilled, unfulfilled } = sent(node);
    assert.ok(within(adverts, 1, 60) && within(demands, 1, 60), JSON.stringify(sent(node)));
    assert.ok(within(fulfilled, 5, 60), JSON.stringify(sent(node)));
    assert.ok(adverts <= advertisedHashes && fulfilled <= advertisedHashes, JSON.stringify(sent(node)));
    assert.equal(unfulfilled, 0);
  }
});

test("scenario: overlay pull mode loadgen, with whole engines", async () => {
  await using world = await network("loopback", { nodes: 2, links: [[0, 1]] });
  const sent = count(world), [one, two] = world.nodes;
  for (let n = 0; n < 10; n++) {
    one.engine.broadcast(transaction(n).message);
    await world.run(100);
  }
  await world.run(2000);
  assert.deepEqual([one, two].map(({ engine }) => engine.transactions.size), [10, 10]);
  const { advertisedHashes, fulfilled, unfulfilled } = sent(one);
  assert.deepEqual([advertisedHashes, fulfilled, unfulfilled], [10, 10, 0]);
  assert.equal(sent(two).advertisedHashes, 0);
  assert.equal(two.engine.demands.counts.timeouts, 0);
});

test("scenario: do not flood invalid transactions", async () => {
  await using world = await network("loopback", { nodes: 3, links: [[0, 1], [1, 2]] });
  const [a, b, c] = world.nodes, heard = listen(c.engine, "floodAdvert", "transaction");
  const [good, offered, pushed, held] = [1, 2, 3, 4].map(transaction);
  // The ledger of b made three of them invalid; one of these it had already.
  b.engine.broadcast(held.message);
  await world.run(10);
  b.engine.transactions.ban([offered.hash, pushed.hash, held.hash], 0);
  a.engine.broadcast(offered.message);
  a.engine.sendTo(b.id, pushed.message);
  a.engine.broadcast(good.message);
  await world.run(10_000);
  assert.deepEqual(hashesOf(b), [good.hash]);
  assert.deepEqual(hashesOf(c), [good.hash]);
  assert.equal(b.engine.demands.counts.demandedHashes, 1, "what is offered is not asked for");
  assert.equal(b.engine.demands.counts.banned, 2, "and what both were told of is not handed out");
  const adverts = heard.flatMap(({ message }) => {
    const decoded = message.decode();
    return decoded.type === "floodAdvert" ? decoded.txHashes.map(toHex) : [];
  });
  assert.deepEqual(adverts.sort(), [good.hash, held.hash].sort(), "what comes unasked is not passed on");
});

test("scenario: background signature verification with missing account", async () => {
  await using world = await network("tcp", { nodes: 2, links: [[0, 1]] });
  const nobody = Keypair.random(), [a, b] = world.nodes;
  const signed = new TransactionBuilder(new Account(nobody.publicKey(), "1"), {
    fee: "100",
    networkPassphrase: PASSPHRASE,
  })
    .addOperation(Operation.payment({ destination: nobody.publicKey(), asset: Asset.native(), amount: "1" }))
    .setTimeout(0).build();
  signed.sign(nobody);
  const message: StellarMessage = { type: "transaction", transaction: new Uint8Array(signed.toEnvelope().toXDR()) };
  a.engine.broadcast(message);
  const bytes = encodeMessage(message), hash = transactionHash(bytes);
  await world.until(() => b.engine.transactions.knows(hash), "it is received");
  assert.deepEqual(b.engine.transactions.get(hash), bytes);
  assert.ok(a.has(b) && b.has(a));
});

// ---- SCP messages ----

for (const [shape, of] of Object.entries(SHAPES)) {
  for (const over of OVER) {
    test(`scenario: Flooding, scp messages flooding, ${shape}, ${over}`, async () => {
      await using world = await network(over, of);
      const voices = Array.from({ length: ADDED }, (_, n) => new Voice(n)), slot = 2;
      voices.forEach((voice, n) => {
        const { engine } = world.nodes[n % world.nodes.length];
        voice.equip(engine);
        voice.sayAt(engine, slot, "prepare");
      });
      await world.until(
        () => engines(world).every(({ scp }) => scp.statements(slot) === ADDED),
        "all have all statements",
      );
      for (const { dispatcher } of engines(world)) {
        assert.deepEqual(
          [dispatcher.quorumSets.size, dispatcher.txSets.size],
          [ADDED, ADDED],
          "and what they refer to",
        );
        assert.deepEqual([dispatcher.waiting, dispatcher.counts.discarded], [0, 0]);
      }
      for (const node of world.nodes) assert.deepEqual(node.reasons(), []);
    });
  }
}
