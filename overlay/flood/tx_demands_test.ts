import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import { readUint32 } from "../base/bytes.ts";
import { Floodgate, floodIdOf } from "./floodgate.ts";
import { transactionHash, TransactionPool } from "./transaction_pool.ts";
import { TxAdverts, type TxFloodLimits } from "./tx_adverts.ts";
import { packTxHashes, txHashesOf } from "./tx_adverts_hashes.ts";
import {
  DEMAND_RETENTION_MS,
  type DemandPeer,
  MAX_DEMAND_RECORDS,
  maxDemandSize,
  TxDemandsManager,
  type TxDemandsOptions,
} from "./tx_demands.ts";

const LIMITS: TxFloodLimits = { maxTxSetSizeOps: 1000, sorobanLedgerMaxTxCount: 100, closeTimeMs: 5000 };
const PERIOD_MS = 200;

/** A TRANSACTION that no other number makes. */
function transaction(n: number): Uint8Array {
  return encodeMessage({ type: "transaction", transaction: Uint8Array.of(0, 0, 0, 2, n >> 24, n >> 16, n >> 8, n) });
}
const txHash = (n: number) => transactionHash(transaction(n));
const txHashes = (...numbers: number[]) => numbers.map(txHash);

/** A node with everything that pull mode takes, but for flow control. */
class Node {
  readonly pool = new TransactionPool();
  readonly gate = new Floodgate();
  readonly links = new Map<string, DemandPeer>();
  readonly demands: TxDemandsManager;
  readonly counts = { adverts: 0, advertisedHashes: 0, transactions: 0 };

  constructor(readonly name: string, readonly clock: VirtualClock, options: Partial<TxDemandsOptions> = {}) {
    this.demands = new TxDemandsManager({
      clock,
      random: new SeededRandom(name.charCodeAt(0)),
      limits: LIMITS,
      transactions: this.pool,
      peers: () => this.links.values(),
      backoffMs: 200,
      ...options,
    });
  }

  /** One direction of a link; `delayMs` on the way. */
  connect(other: Node, delayMs = 0): void {
    const send = (message: Uint8Array) => {
      this.clock.setTimer(delayMs, () => other.receive(this.name, message));
    };
    const adverts = new TxAdverts({
      clock: this.clock,
      limits: LIMITS,
      send: (message, hashes) => {
        this.counts.advertisedHashes += hashes;
        send(message);
      },
    });
    this.links.set(other.name, { nodeId: other.name, adverts, send });
  }

  receive(from: string, message: Uint8Array): void {
    const peer = this.links.get(from)!;
    switch (readUint32(message, 0)) {
      case MessageType.floodAdvert:
        this.counts.adverts++;
        peer.adverts.receive(message, 1);
        this.demands.wake();
        return;
      case MessageType.floodDemand:
        this.demands.answer(message, peer);
        return;
      case MessageType.transaction:
        this.counts.transactions++;
        this.demands.received(transactionHash(message), from);
        this.gate.addRecord(floodIdOf(message), 1, from);
        this.accept(message);
    }
  }

  /** As the transaction queue would: what is new is advertised. */
  accept(message: Uint8Array): void {
    const hash = transactionHash(message);
    if (this.pool.add(hash, message, 1) !== "added") return;
    for (const name of this.gate.broadcast(floodIdOf(message), 1, this.links.keys())) {
      this.links.get(name)!.adverts.advertise(hash);
    }
  }
}

/** Upstream's set-up: three nodes, each linked to the two others. Only the demands of #2 are looked at. */
async function triangle(seed = 1) {
  const clock = new VirtualClock();
  const nodes = ["0", "1", "2"].map((name) => new Node(name, clock, { random: new SeededRandom(seed) }));
  for (const a of nodes) for (const b of nodes) if (a !== b) a.connect(b);
  for (const node of nodes) node.demands.start();
  await clock.advance(5000);
  const advertise = (from: number, ...numbers: number[]) =>
    nodes[2].receive(String(from), packTxHashes("floodAdvert", txHashes(...numbers)));
  const unknown = () => nodes.map((node) => node.demands.counts.unknown);
  return { clock, nodes, advertise, unknown };
}

test("maxDemandSize is upstream's formula", () => {
  assert.equal(maxDemandSize(LIMITS), 88);
  assert.equal(maxDemandSize({ ...LIMITS, maxTxSetSizeOps: 1e6 }), 1000);
  assert.equal(maxDemandSize({ maxTxSetSizeOps: 1, sorobanLedgerMaxTxCount: 0, closeTimeMs: 60_000 }), 1);
});

test("scenario: overlay pull mode, ignore duplicated adverts", async () => {
  const { clock, nodes, advertise, unknown } = await triangle();
  for (let i = 0; i < 3; i++) advertise(0, 0);
  await clock.advance(3 * PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 1);
  await clock.advance(10_000);
  advertise(0, 0);
  await clock.advance(3 * PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 1);
  assert.deepEqual(unknown(), [1, 0, 0]);
});

test("scenario: overlay pull mode, do not advertise to peers that know about tx, pull mode enabled on all", async () => {
  const { clock, nodes } = await triangle();
  nodes[0].accept(transaction(0));
  nodes[1].accept(transaction(0));
  await clock.advance(1000);
  assert.equal(nodes[2].demands.counts.demands, 1);
  assert.equal(nodes[0].demands.counts.fulfilled + nodes[1].demands.counts.fulfilled, 1);
  assert.deepEqual(nodes[2].counts, { adverts: 2, advertisedHashes: 0, transactions: 1 });
});

test("scenario: overlay pull mode, sanity check - demand", async () => {
  const { clock, nodes, advertise, unknown } = await triangle();
  advertise(0, 0);
  advertise(1, 1);
  await clock.advance(PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 2);
  assert.deepEqual(unknown(), [1, 1, 0]);
});

test("scenario: overlay pull mode, exact same advert from two peers", async () => {
  const { clock, nodes, advertise, unknown } = await triangle();
  for (const from of [0, 1]) advertise(from, 0, 1, 2, 3, 4);
  await clock.advance(PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 2);
  assert.deepEqual(unknown().sort(), [0, 2, 3]);
  await clock.advance(PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 4);
  assert.deepEqual(unknown(), [5, 5, 0]);
});

test("scenario: overlay pull mode, overlapping adverts", async () => {
  const { clock, nodes, advertise, unknown } = await triangle();
  advertise(0, 0, 1, 3);
  advertise(1, 0, 2, 3);
  await clock.advance(PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 2);
  assert.deepEqual(unknown(), [2, 2, 0]);
  await clock.advance(PERIOD_MS + 1);
  assert.equal(nodes[2].demands.counts.demands, 4);
  assert.deepEqual(unknown(), [3, 3, 0]);
});

test("scenario: overlay pull mode, randomize peers", async () => {
  const { clock, nodes, advertise, unknown } = await triangle(7);
  const rounds = 300, larger = [0, 0];
  for (let round = 0; round < rounds; round++) {
    const numbers = [0, 1, 2, 3, 4].map((i) => round * 5 + i);
    for (const from of [0, 1]) advertise(from, ...numbers);
    await clock.advance(PERIOD_MS);
    assert.equal(nodes[2].demands.counts.demands, round * 4 + 2);
    const [n0, n1] = unknown();
    assert.deepEqual([Math.min(n0, n1), Math.max(n0, n1)], [round * 5 + 2, round * 5 + 3]);
    larger[n0 > n1 ? 0 : 1]++;
    await clock.advance(PERIOD_MS);
    assert.deepEqual(unknown(), [(round + 1) * 5, (round + 1) * 5, 0]);
  }
  assert.ok(Math.max(...larger) <= (rounds * 2) / 3, String(larger));
});

test("scenario: overlay pull mode with many peers", async () => {
  const clock = new VirtualClock(), node = new Node("n", clock, { backoffMs: 500 });
  for (let i = 0; i < 19; i++) {
    const peer = new Node(`peer ${i}`, clock);
    peer.connect(node);
    node.connect(peer);
    node.receive(peer.name, packTxHashes("floodAdvert", txHashes(1)));
  }
  node.demands.start();
  await clock.advance(10 * 60_000);
  assert.equal(node.demands.counts.demandedHashes, 15);
  assert.equal(node.demands.counts.timeouts, 14);
  assert.equal(node.demands.counts.abandoned, 1);
});

test("scenario: overlay pull mode loadgen", async () => {
  const clock = new VirtualClock(), one = new Node("1", clock), two = new Node("2", clock);
  one.connect(two);
  two.connect(one);
  for (const node of [one, two]) node.demands.start();
  for (let n = 0; n < 10; n++) {
    one.accept(transaction(n));
    await clock.advance(100);
  }
  await clock.advance(2000);
  assert.equal(one.counts.advertisedHashes, 10);
  assert.deepEqual([one.demands.counts.fulfilled, one.demands.counts.unknown], [10, 0]);
  assert.deepEqual([two.counts.transactions, two.counts.advertisedHashes], [10, 0]);
});

test("TxDemandsManager: transactions flood 15 nodes, each body once", async () => {
  const clock = new VirtualClock(), nodes = Array.from({ length: 15 }, (_, i) => new Node(`n${i}`, clock));
  nodes.forEach((node, i) => {
    // Five core nodes know each other; each of the ten outer ones knows two of them.
    const others = i < 5 ? [0, 1, 2, 3, 4].filter((j) => j !== i) : [i % 5, (i + 1) % 5];
    for (const j of others) {
      node.connect(nodes[j], 20);
      nodes[j].connect(node, 20);
    }
    node.demands.start();
  });
  for (let n = 0; n < 20; n++) {
    nodes[n % nodes.length].accept(transaction(n));
    await clock.advance(50);
  }
  await clock.advance(60_000);
  assert.deepEqual(nodes.map((node) => node.pool.size), nodes.map(() => 20));
  assert.equal(nodes.reduce((sum, node) => sum + node.counts.transactions, 0), 20 * (nodes.length - 1)); // each body once
});

test("scenario: Flooding, transaction flooding, pull mode with 2 nodes", async () => {
  const clock = new VirtualClock(), nodes = ["a", "b"].map((name) => new Node(name, clock));
  nodes[0].connect(nodes[1]);
  nodes[1].connect(nodes[0]);
  for (const node of nodes) node.demands.start();
  for (let n = 0; n < 20; n++) nodes[n % 2].accept(transaction(n));
  await clock.advance(5000);
  for (const node of nodes) {
    assert.equal(node.counts.advertisedHashes, 10);
    assert.ok(node.demands.counts.demands >= 1);
    assert.equal(node.demands.counts.unknown, 0);
    assert.equal(node.pool.size, 20);
  }
  // Advertise same transaction after some time: the flood gate remembers it until ledgers have closed.
  const [a] = nodes, message = transaction(0), id = floodIdOf(message);
  assert.deepEqual(a.gate.broadcast(id, 2, a.links.keys()), []);
  a.gate.clearBelow(2);
  assert.deepEqual(a.gate.broadcast(id, 14, a.links.keys()), ["b"]);
  assert.ok(a.links.get("b")!.adverts.advertise(txHash(0)));
});

test("TxDemandsManager waits min(n x 500 ms, 2 s) between the peers it asks", async () => {
  const clock = new VirtualClock(), at: number[] = [];
  const node = new Node("n", clock, { backoffMs: undefined, events: { onDemand: () => at.push(clock.nowMs()) } });
  for (let i = 0; i < 7; i++) {
    const peer = new Node(`peer ${i}`, clock);
    peer.connect(node);
    node.connect(peer);
    node.receive(peer.name, packTxHashes("floodAdvert", txHashes(1)));
  }
  node.demands.start();
  await clock.advance(20_000);
  // Rounds are every 200 ms: 500 becomes 600, 1000 and 2000 fit, 1500 becomes 1600.
  assert.deepEqual(at.map((ms, i) => ms - (at[i - 1] ?? 0)), [0, 600, 1000, 1600, 2000, 2000, 2000]);
});

test("TxDemandsManager measures pulls from the first demand, and from the peer's own", async () => {
  const clock = new VirtualClock(), pulled: number[] = [], from: [string, number][] = [], timeouts: string[] = [];
  const node = new Node("n", clock, {
    events: {
      onPulled: (ms) => pulled.push(ms),
      onPulledFrom: (id, ms) => from.push([id, ms]),
      onTimeout: (id) => timeouts.push(id),
    },
  });
  for (const name of ["a", "b"]) {
    node.connect(new Node(name, clock));
    node.links.set(name, { ...node.links.get(name)!, send: () => {} });
    node.receive(name, packTxHashes("floodAdvert", txHashes(1)));
  }
  node.demands.start();
  await clock.advance(500);
  node.demands.received(txHash(1), timeouts[0]);
  node.demands.received(txHash(1), "stranger");
  assert.deepEqual(pulled, [500]);
  assert.deepEqual(from, [[timeouts[0], 300]]);
  await clock.advance(DEMAND_RETENTION_MS);
  assert.deepEqual([node.demands.size, node.demands.counts.abandoned, node.demands.counts.pulled], [0, 0, 1]);
});

test("TxDemandsManager.answer sends what it has and counts the rest", () => {
  const clock = new VirtualClock(), node = new Node("n", clock), sent: Uint8Array[] = [];
  node.pool.add(txHash(1), transaction(1), 1);
  node.pool.add(txHash(2), transaction(2), 1);
  node.pool.ledgerClosed(5); // both leave and are refused for a while
  node.pool.add(txHash(3), transaction(3), 5);
  node.demands.answer(packTxHashes("floodDemand", txHashes(1, 3, 9, 3)), { send: (message) => sent.push(message) });
  assert.deepEqual(sent, [transaction(3), transaction(3)]); // no limit and no memory: the asker pays with its credit
  const { fulfilled, banned, unknown } = node.demands.counts;
  assert.deepEqual([fulfilled, banned, unknown], [2, 1, 1]);
  node.demands.answer(new Uint8Array(3), { send: () => assert.fail() });
});

test("TxDemandsManager.close ends the rounds", async () => {
  const clock = new VirtualClock(), node = new Node("n", clock);
  node.connect(new Node("p", clock));
  node.demands.start();
  node.demands.close();
  node.receive("p", packTxHashes("floodAdvert", txHashes(1)));
  await clock.advance(1000);
  assert.equal(node.demands.counts.demands, 0);
});

test("TxDemandsManager forgets the oldest demands rather than hold more than its bound", async () => {
  const clock = new VirtualClock();
  const limits = { maxTxSetSizeOps: 1_000_000, sorobanLedgerMaxTxCount: 0, closeTimeMs: 5000 };
  const adverts = new TxAdverts({ clock, limits, send: () => {} });
  const demands = new TxDemandsManager({
    clock,
    random: new SeededRandom(1),
    limits,
    transactions: new TransactionPool(),
    peers: () => [{ nodeId: "junk", adverts, send: () => {} }],
  });
  for (let i = 0, n = 0; i < MAX_DEMAND_RECORDS / 1000 + 5; i++) {
    const packed = new Uint8Array(8 + 32 * 1000);
    packed.set(packTxHashes("floodAdvert", []));
    new DataView(packed.buffer).setUint32(4, 1000);
    for (let j = 0; j < 1000; j++) new DataView(packed.buffer).setUint32(8 + 32 * j, n++);
    adverts.receive(packed, 1);
    demands.round();
  }
  assert.equal(demands.size, MAX_DEMAND_RECORDS);
  assert.equal(demands.counts.abandoned, 5000);
  await clock.advance(DEMAND_RETENTION_MS);
  demands.round();
  assert.equal(demands.size, 0);
});

test("TxDemandsManager demands a hash at most 15 times and never twice from one peer", async () => {
  const step = fc.record({
    peer: fc.nat(18),
    hashes: fc.array(fc.nat(5), { minLength: 1, maxLength: 6 }),
    ms: fc.nat(900),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const clock = new VirtualClock(), asked = new Map<string, string[]>();
      const node = new Node("n", clock);
      for (let i = 0; i < 19; i++) {
        node.connect(new Node(`p${i}`, clock));
        const link = node.links.get(`p${i}`)!;
        node.links.set(link.nodeId, {
          ...link,
          send: (message) => {
            for (const hash of txHashesOf(message)) asked.set(hash, [...(asked.get(hash) ?? []), link.nodeId]);
          },
        });
      }
      node.demands.start();
      for (const { peer, hashes, ms } of steps) {
        node.receive(`p${peer}`, packTxHashes("floodAdvert", txHashes(...hashes)));
        await clock.advance(ms);
      }
      await clock.advance(DEMAND_RETENTION_MS - 1 - clock.nowMs());
      for (const peers of asked.values()) {
        assert.ok(peers.length <= 15);
        assert.equal(new Set(peers).size, peers.length);
      }
    }),
    { numRuns: 30 },
  );
});

test("TxDemandsManager keeps no timer while nothing waits, and its rounds stay whole periods apart", async () => {
  const clock = new VirtualClock(), node = new Node("1", clock), peer = new Node("2", clock);
  peer.connect(node);
  node.connect(peer);
  node.demands.start();
  assert.equal(clock.waiting, 0);
  await clock.advance(12_345);
  node.receive(peer.name, packTxHashes("floodAdvert", txHashes(1)));
  assert.equal(clock.waiting, 1);
  await clock.advance(54);
  assert.equal(node.demands.counts.demands, 0);
  await clock.advance(1);
  assert.equal(node.demands.counts.demands, 1);
  // The record's end is all that is left to wait for.
  await clock.advance(1000);
  assert.deepEqual([clock.waiting, node.demands.size], [1, 1]);
  await clock.advance(DEMAND_RETENTION_MS - 1000);
  assert.deepEqual([clock.waiting, node.demands.size, node.demands.counts.abandoned], [0, 0, 1]);
});
