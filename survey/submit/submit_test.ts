/** A transaction on its way through a network of whole engines, in virtual time. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { configure, standalone } from "../../overlay/base/config.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import type { PeerAddress } from "../../overlay/base/peer_address.ts";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import { type EngineNode, type EngineNodeOptions, EngineWorld } from "../../tests/kit/engine_world.ts";
import { bytesOf, type Made, payment, TransactionLedgers } from "../../tests/kit/transaction_ledgers.ts";
import { inspectEnvelope } from "./envelope.ts";
import { submit, submitChanges, type SubmitEvent, type SubmitPlan, type SubmitResult, verdictOf } from "./submit.ts";

before(() => initPrimitives());

/** Validators that know each other and close ledgers. */
async function network(
  count: number,
  options: {
    node?: (index: number) => EngineNodeOptions;
    includes?: () => boolean;
    connected?: boolean;
    firstSlot?: number;
  } = {},
) {
  const world = new EngineWorld();
  const knownPeers = options.connected === false ? [] : await world.addresses(count);
  for (let i = 0; i < count; i++) {
    const node = options.node?.(i) ?? {};
    await world.add({ ...node, config: { knownPeers, ...node.config } });
  }
  const wanted = options.connected === false ? 0 : count - 1;
  await world.until(() => world.nodes.every(({ engine }) => engine.peers().length === wanted), "all are connected");
  const ledgers = new TransactionLedgers(world, world.nodes, options);
  ledgers.traffic.start();
  return { world, ledgers };
}

interface Sending extends Partial<SubmitPlan> {
  to: readonly (EngineNode | PeerAddress)[];
  made?: Made;
  /** First peers of the network, when none is named, and how many peers are wanted. */
  first?: readonly EngineNode[];
  peers?: number;
  signal?: AbortSignal;
  onEvent?: (event: SubmitEvent) => void;
}

async function send(world: EngineWorld, sending: Sending): Promise<SubmitResult> {
  const clock = world.clock as VirtualClock;
  const envelope = await inspectEnvelope(bytesOf(payment({ ...sending.made })), {
    network: LOCAL,
    wallMs: clock.wallMs(),
    sorobanTxMaxBytes: 132_096,
  });
  assert.equal(envelope.refusal, undefined);
  const named = sending.to.map((to) => "engine" in to ? to.address : to);
  const { first = [], peers = named.length } = sending;
  const known = { knownPeers: first.map(({ address }) => address) };
  const config = configure(configure(standalone(), known), submitChanges(peers, named.length > 0));
  const { push = false, timeoutMs = 60_000 } = sending;
  const running = submit({ envelope, push, timeoutMs, named }, {
    config,
    clock,
    random: world.random,
    transport: world.memory!.transport("12.0.0.1"),
    resolver: world.memory!,
    database: await openNodeDatabase(":memory:", { networkPassphrase: LOCAL.passphrase }),
    signal: sending.signal ?? new AbortController().signal,
    onEvent: sending.onEvent,
  });
  return await clock.run(running);
}

test("submit: one of several peers asks first, and the ledger that has it is found", async () => {
  const { world, ledgers } = await network(4);
  await using _ = world;
  const result = await send(world, { to: world.nodes });
  ledgers.traffic.stop();
  assert.deepEqual([result.outcome, result.end], ["included", "included"]);
  const hash = [...ledgers.included].find(([, hashes]) => hashes.length > 0)!;
  assert.equal(result.ledger!.sequence, hash[0]);
  assert.deepEqual([result.ledger!.position, result.ledger!.size], [0, 1]);
  assert.ok(result.ledger!.validators >= 3, "a majority of four");
  assert.deepEqual(result.peers.map((peer) => peer.nodeId).sort(), world.nodes.map(({ id }) => id).sort());
  assert.ok(result.peers.every((peer) => peer.failure === null));
  const asked = result.peers.filter((peer) => peer.demandedMs.length > 0);
  assert.ok(asked.length >= 1);
  for (const peer of result.peers) {
    assert.ok(peer.advertisedMs! >= peer.connectedMs!);
    for (const atMs of peer.demandedMs) assert.ok(atMs > peer.advertisedMs! && atMs < result.ledger!.seenMs);
  }
  assert.equal(verdictOf(result).detail, `included in ledger ${hash[0]}`);
});

test("submit: peers that do not know each other all ask, each at its time", async () => {
  const { world, ledgers } = await network(3, { connected: false, includes: () => false });
  await using _ = world;
  const result = await send(world, { to: world.nodes, timeoutMs: 8000 });
  ledgers.traffic.stop();
  assert.deepEqual([result.outcome, result.end], ["not-included", "timeout"]);
  assert.deepEqual(result.peers.map((peer) => peer.demandedMs.length), [1, 1, 1]);
  // The advert waits 100 ms and travels 10; a round of demands is every 200 ms, and travels 10.
  for (const { demandedMs: [atMs], advertisedMs } of result.peers) {
    assert.ok(atMs - advertisedMs! >= 120 && atMs - advertisedMs! <= 321, String(atMs - advertisedMs!));
  }
  assert.equal(result.durationMs, 8000);
});

test("submit: a peer that had it from somebody else tells us of it again", async () => {
  await using world = new EngineWorld();
  const [first, second] = await world.addresses(2);
  const peer = await world.add({ index: 1, config: { isValidator: false } });
  world.clock.setTimer(4000, () => {
    // By now it has let our advert pass.
    peer.engine.wantTransactions(true);
    void world.add({ index: 0, config: { knownPeers: [second] } });
  });
  const result = await send(world, { to: [first, peer], timeoutMs: 30_000 });
  const of = (node: EngineNode) => result.peers.find(({ nodeId }) => nodeId === node.id)!;
  const asked = of(world.nodes[0]), told = of(peer);
  assert.deepEqual([asked.demandedMs.length, asked.toldUsMs, told.demandedMs, told.toldUsMs.length], [1, [], [], 1]);
  assert.ok(told.toldUsMs[0] > asked.demandedMs[0]);
  assert.equal(result.outcome, "not-included");
});

test("submit: peers that have it already do not ask", async () => {
  const { world, ledgers } = await network(3, { includes: () => false });
  await using _ = world;
  assert.equal((await send(world, { to: [world.nodes[0]], timeoutMs: 7000 })).outcome, "not-included");
  assert.ok(world.nodes[2].engine.transactions.size > 0, "it went through the network");
  const again = await send(world, { to: [world.nodes[2]], timeoutMs: 7000 });
  ledgers.traffic.stop();
  assert.equal(again.outcome, "not-asked");
  assert.match(verdictOf(again).detail, /1 peers were told .* none asked/);
});

test("submit: ledgers close without it", async () => {
  const { world, ledgers } = await network(3, { includes: () => false });
  await using _ = world;
  const result = await send(world, { to: world.nodes, timeoutMs: 22_000 });
  ledgers.traffic.stop();
  assert.deepEqual([result.outcome, result.end, result.ledger, result.setsMissing], [
    "not-included",
    "timeout",
    null,
    0,
  ]);
  assert.ok(result.ledgersSearched.length >= 4);
  assert.match(verdictOf(result).detail, /peers took it, and it is in none of \d ledgers/);
});

test("submit: it ends as soon as the time bounds have passed in a ledger", async () => {
  const { world, ledgers } = await network(3, { includes: () => false });
  await using _ = world;
  const maxTime = Math.floor(world.clock.wallMs() / 1000) + 9;
  const result = await send(world, { to: world.nodes, made: { maxTime } });
  ledgers.traffic.stop();
  assert.deepEqual([result.outcome, result.end], ["not-included", "expired"]);
  assert.ok(result.durationMs < 25_000);
  assert.match(verdictOf(result).next!, /never be included/);
});

test("submit: nobody asks, whether ledgers close or not", async () => {
  // Watchers have no use for transactions.
  const { world, ledgers } = await network(2, { node: () => ({ config: { isValidator: false } }) });
  await using _ = world;
  const result = await send(world, { to: world.nodes, timeoutMs: 12_000 });
  assert.deepEqual([result.outcome, result.peers.map((peer) => peer.demandedMs)], ["not-asked", [[], []]]);
  assert.ok(result.lastLedger !== null);
  ledgers.traffic.stop();
  const silent = await network(1, { node: () => ({ config: { isValidator: false } }) });
  await using _silent = silent.world;
  silent.ledgers.traffic.stop();
  const quiet = await send(silent.world, { to: silent.world.nodes, timeoutMs: 12_000 });
  assert.deepEqual([quiet.outcome, quiet.lastLedger], ["not-asked", null]);
  assert.match(verdictOf(quiet).next!, /no ledger was seen/);
});

test("submit: every peer that takes it drops us for corrupt data", async () => {
  const { world, ledgers } = await network(2, { includes: () => false });
  await using _ = world;
  for (const { engine } of world.nodes) {
    void (async () => {
      for await (const { from } of engine.subscribe({ types: ["transaction"] })) {
        const peer = engine.authenticatedPeers().find(({ nodeId }) => nodeId === from);
        peer?.peer.sendErrorAndDrop("ERR_DATA", "received corrupt XDR");
      }
    })();
  }
  const result = await send(world, { to: world.nodes });
  ledgers.traffic.stop();
  assert.equal(result.outcome, "refused");
  const failures = result.peers.map(({ failure }) => failure);
  assert.ok(failures.some((failure) => failure?.code === "dropped_by_remote" && failure.errorCode === "ERR_DATA"));
  assert.match(verdictOf(result).detail, /ERR_DATA \(received corrupt XDR\)/);
});

test("submit: pushed, it needs no demand", async () => {
  const { world, ledgers } = await network(3, {
    node: () => ({ before: (engine) => (engine.demands.start = () => {}) }),
  });
  await using _ = world;
  const result = await send(world, { to: [world.nodes[1]], push: true });
  ledgers.traffic.stop();
  assert.deepEqual([result.outcome, result.peers[0].demandedMs], ["included", []]);
  assert.ok(result.peers[0].pushedMs !== null);
  const without = await network(3, { node: () => ({ before: (engine) => (engine.demands.start = () => {}) }) });
  await using _without = without.world;
  const waiting = await send(without.world, { to: [without.world.nodes[1]], timeoutMs: 12_000 });
  without.ledgers.traffic.stop();
  assert.equal(waiting.outcome, "not-asked");
});

test("submit: a peer that comes late is told too, and the ledger is still found", async () => {
  const { world, ledgers } = await network(3, { node: (i) => ({ config: { isValidator: i === 2 } }) });
  await using _ = world;
  await world.stop(world.nodes[2]);
  const clock = world.clock;
  clock.setTimer(15_000, () => void world.add({ index: 2 }).then((node) => void collectInto(ledgers, node)));
  const events: SubmitEvent["event"][] = [];
  const result = await send(world, { to: world.nodes, timeoutMs: 120_000, onEvent: ({ event }) => events.push(event) });
  ledgers.traffic.stop();
  assert.equal(result.outcome, "included");
  const late = result.peers.find(({ connectedMs }) => connectedMs! > 15_000)!;
  assert.ok(late.demandedMs.length > 0, "asked though its network had closed more than four ledgers since we began");
  assert.ok(events.includes("failed") && events.indexOf("failed") < events.lastIndexOf("connected"));
});

async function collectInto(ledgers: TransactionLedgers, { engine }: EngineNode): Promise<void> {
  for await (const { message } of engine.subscribe({ types: ["transaction"] })) {
    ledgers.pending.set("late", message.bytes.slice(4));
  }
}

test("submit: a node that joins in the middle of many ledgers still serves its transaction", async () => {
  const { world, ledgers } = await network(3);
  await using _ = world;
  await world.run(60_000);
  const result = await send(world, { to: [world.nodes[0]] });
  ledgers.traffic.stop();
  assert.equal(result.outcome, "included");
  assert.ok(result.ledgersSearched.length > 5, "the ledgers of before were looked through too");
});

test("submit: a transaction that is in a past ledger already is found there", async () => {
  const { world, ledgers } = await network(3);
  await using _ = world;
  const first = await send(world, { to: world.nodes });
  const again = await send(world, { to: world.nodes });
  ledgers.traffic.stop();
  assert.equal(again.outcome, "included");
  assert.equal(again.ledger!.sequence, first.ledger!.sequence);
});

test("submit: no peer can be had, and it ends at once", async () => {
  await using world = new EngineWorld();
  const result = await send(world, { to: [{ host: "11.9.9.9", port: 1 }, { host: "11.9.9.8", port: 1 }] });
  assert.deepEqual([result.outcome, result.end, result.peers.map(({ failure }) => failure?.code)], [
    "not-connected",
    "alone",
    ["connect_refused", "connect_refused"],
  ]);
  assert.ok(result.durationMs < 5000);
  assert.match(verdictOf(result).detail, /refused the TCP connection/);
});

test("submit: Ctrl-C ends it with what is known, before and after somebody asked", async () => {
  const { world, ledgers } = await network(2, { includes: () => false });
  await using _ = world;
  const early = new AbortController();
  early.abort();
  assert.deepEqual((await send(world, { to: world.nodes, signal: early.signal })).end, "interrupted");
  const later = new AbortController();
  const onEvent = ({ event }: SubmitEvent) => event === "demanded" && later.abort();
  const result = await send(world, { to: world.nodes, signal: later.signal, onEvent });
  ledgers.traffic.stop();
  assert.deepEqual([result.end, result.outcome], ["interrupted", "not-included"]);
  assert.ok(result.durationMs < 3000);
});

test("submit: it says goodbye at the end, and never asked for the transactions of others", async () => {
  const { world, ledgers } = await network(1, { includes: () => false });
  await using _ = world;
  const { engine } = world.nodes[0];
  const other = { type: "transaction", transaction: bytesOf(payment({ sequence: "9000" })) } as const;
  const onEvent = ({ event }: SubmitEvent) => event === "demanded" && void engine.broadcast(other);
  const result = await send(world, { to: world.nodes, timeoutMs: 9000, onEvent });
  ledgers.traffic.stop();
  assert.equal(result.outcome, "not-included");
  engine.metrics.tick();
  assert.equal(engine.metrics.counters.advertisedHashes, 1);
  assert.equal(engine.metrics.messagesRead[MessageType.floodDemand], 0);
  assert.equal(world.nodes[0].reasons().at(-1), "remote: ERR_MISC (shutdown)");
});

test("submit: without named peers it finds as many as wanted from the network's first ones", async () => {
  const { world, ledgers } = await network(4);
  await using _ = world;
  const result = await send(world, { to: [], first: [world.nodes[3]], peers: 3 });
  assert.equal(result.outcome, "included");
  const connected = result.peers.filter(({ connectedMs }) => connectedMs !== null);
  assert.ok(
    connected.length >= 1 && connected.length <= 3 && connected.some(({ nodeId }) => nodeId === world.nodes[3].id),
  );
  ledgers.traffic.stop();
  for (const node of [...world.nodes]) await world.stop(node);
  const alone = await send(world, { to: [], first: world.nodes, peers: 3 });
  assert.deepEqual([alone.outcome, alone.end], ["not-connected", "alone"]);
});

test("submit: a name that does not resolve is a failure of that peer only", async () => {
  const { world, ledgers } = await network(1);
  await using _ = world;
  const result = await send(world, { to: [{ host: "nowhere.example", port: 11625 }, world.nodes[0]] });
  ledgers.traffic.stop();
  assert.equal(result.outcome, "included");
  assert.equal(result.peers.find(({ address }) => address === "nowhere.example:11625")?.failure?.code, "dns_failed");
});
