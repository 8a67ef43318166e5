/** stellar-core's scenarios of adverts and demands, between whole engines. Source: stellar-core OverlayTests.cpp. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { txHashesOf } from "../../overlay/flood/tx_adverts_hashes.ts";
import { type EngineNode, EngineWorld } from "../kit/engine_world.ts";
import { listen, transaction } from "../kit/voices.ts";

const PERIOD_MS = 200;
/** A message crosses a link in this, ms: well below the period. */
const DELAY_MS = 5;

/** What a node was sent, hash by hash. */
function hear(node: EngineNode) {
  const messages = listen(node.engine, "floodAdvert", "floodDemand", "transaction");
  const of = (type: string, from?: EngineNode) =>
    messages.filter((message) => message.type === type && (from === undefined || message.from === from.id));
  const hashes = (type: string, from?: EngineNode) =>
    of(type, from).flatMap(({ message }) => txHashesOf(message.bytes).map((hash) => NUMBERS.get(hash)!));
  return {
    adverts: (from?: EngineNode) => hashes("floodAdvert", from),
    demands: (from?: EngineNode) => hashes("floodDemand", from),
    transactions: () => of("transaction").length,
  };
}

/** Numbers of transactions by hash. */
const NUMBERS = new Map(Array.from({ length: 2000 }, (_, n) => [transaction(n).hash, n]));
const HASHES = new Map([...NUMBERS].map(([hash, n]) => [n, hash]));

/** Nodes 0, 1 and 2, each connected with each. The demands that 0 and 1 hear are those of 2, who is told by hand. */
async function triangle(seed = 1) {
  const config = { noDial: true, floodDemandPeriodMs: PERIOD_MS, floodDemandBackoffMs: PERIOD_MS };
  const world = new EngineWorld({ seed, config, delayMs: () => DELAY_MS });
  for (let i = 0; i < 3; i++) await world.add();
  const [zero, one, two] = world.nodes;
  zero.dial(one);
  one.dial(two);
  two.dial(zero);
  await world.until(() => world.nodes.every(({ engine }) => engine.peers().length === 2), "the triangle");
  const heard = world.nodes.map(hear);
  /** Says to 2 that `from` has transactions, which it need not be true. */
  const advertise = (from: EngineNode, ...numbers: number[]) => {
    const txHashes = numbers.map((n) => bytesOf(HASHES.get(n)!));
    assert.ok(from.engine.sendTo(two.id, { type: "floodAdvert", txHashes }));
  };
  /** Until every demand of the next round, and nothing of the one after it, has arrived. */
  const round = () => world.run(PERIOD_MS);
  // Away from the instants at which rounds begin.
  const untilRoundMs = PERIOD_MS - (world.clock.nowMs() % PERIOD_MS);
  await world.run(untilRoundMs + PERIOD_MS / 2);
  return { world, zero, one, two, heard, advertise, round, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const bytesOf = (hash: string) => Uint8Array.from(hash.match(/../g)!, (byte) => parseInt(byte, 16));
const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b);

test("scenario: overlay pull mode, ignore duplicated adverts, between engines", async () => {
  await using net = await triangle();
  const { world, zero, heard, advertise } = net;
  for (let i = 0; i < 3; i++) advertise(zero, 0);
  await world.run(1000);
  assert.deepEqual(heard[0].demands(), [0]);
  await world.run(10_000);
  advertise(zero, 0);
  await world.run(1000);
  assert.deepEqual([heard[0].demands(), heard[1].demands()], [[0], []]);
});

test("scenario: overlay pull mode, do not advertise to peers that know about tx, pull mode enabled on all, between engines", async () => {
  await using net = await triangle();
  const { world, zero, one, two, heard } = net;
  for (const node of [zero, one]) node.engine.broadcast(transaction(0).message);
  await world.run(1000);
  assert.deepEqual([heard[2].adverts(zero), heard[2].adverts(one)], [[0], [0]]);
  assert.deepEqual([...heard[0].demands(two), ...heard[1].demands(two)], [0]);
  assert.equal(heard[2].transactions(), 1);
  assert.deepEqual([...heard[0].adverts(two), ...heard[1].adverts(two)], []);
});

test("scenario: overlay pull mode, sanity check - demand, between engines", async () => {
  await using net = await triangle();
  const { zero, one, heard, advertise, round } = net;
  advertise(zero, 0);
  advertise(one, 1);
  await round();
  assert.deepEqual([heard[0].demands(), heard[1].demands()], [[0], [1]]);
});

test("scenario: overlay pull mode, exact same advert from two peers, between engines", async () => {
  await using net = await triangle();
  const { zero, one, heard, advertise, round } = net;
  for (const from of [zero, one]) advertise(from, 0, 1, 2, 3, 4);
  await round();
  const first = [heard[0].demands(), heard[1].demands()];
  assert.deepEqual(first.map(({ length }) => length).sort(), [2, 3]);
  assert.deepEqual(sorted(first.flat()), [0, 1, 2, 3, 4]);
  await round();
  assert.deepEqual([sorted(heard[0].demands()), sorted(heard[1].demands())], [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]);
});

test("scenario: overlay pull mode, overlapping adverts, between engines", async () => {
  await using net = await triangle();
  const { zero, one, heard, advertise, round } = net;
  advertise(zero, 0, 1, 3);
  advertise(one, 0, 2, 3);
  await round();
  const first = [heard[0].demands(), heard[1].demands()];
  assert.deepEqual(first.map(({ length }) => length), [2, 2]);
  assert.deepEqual(sorted(first.flat()), [0, 1, 2, 3]);
  await round();
  assert.deepEqual([sorted(heard[0].demands()), sorted(heard[1].demands())], [[0, 1, 3], [0, 2, 3]]);
});

test("scenario: overlay pull mode, randomize peers, between engines", async () => {
  await using net = await triangle(3);
  const { zero, one, heard, advertise, round } = net;
  const rounds = 300, larger = [0, 0];
  for (let n = 0; n < rounds; n++) {
    for (const from of [zero, one]) advertise(from, ...[0, 1, 2, 3, 4].map((i) => 5 * n + i));
    await round();
    const counts = [heard[0], heard[1]].map((at) => at.demands().length - 5 * n);
    assert.deepEqual(counts.toSorted(), [2, 3], `round ${n}`);
    larger[counts[0] > counts[1] ? 0 : 1]++;
    await round();
    assert.deepEqual([heard[0].demands().length, heard[1].demands().length], [5 * n + 5, 5 * n + 5]);
  }
  assert.ok(Math.max(...larger) <= (2 * rounds) / 3, `larger halves: ${larger}`);
});

test("scenario: overlay pull mode with many peers, between engines", async () => {
  await using world = new EngineWorld({ sound: true, config: { noDial: true } });
  const node = await world.add();
  const others: EngineNode[] = [];
  for (let i = 0; i < 19; i++) others.push(await world.add());
  for (const other of others) other.dial(node);
  await world.until(() => node.engine.peers().length === 19, "19 peers");
  const heard = others.map(hear);
  for (const other of others) {
    other.engine.sendTo(node.id, { type: "floodAdvert", txHashes: [bytesOf(HASHES.get(0)!)] });
  }
  await world.run(10 * 60_000);
  const demands = heard.map((at) => at.demands().length);
  assert.equal(demands.reduce((a, b) => a + b), 15);
  assert.equal(Math.max(...demands), 1, "nobody is asked twice");
});

test("scenario: overlay pull mode loadgen, between engines", async () => {
  await using world = new EngineWorld({ config: { noDial: true } });
  const one = await world.add(), two = await world.add();
  one.dial(two);
  await world.connected(one, two);
  const heard = [hear(one), hear(two)];
  for (let n = 0; n < 10; n++) {
    one.engine.broadcast(transaction(n).message);
    await world.run(250);
  }
  await world.run(2000);
  const all = Array.from({ length: 10 }, (_, n) => n);
  assert.deepEqual(heard[1].adverts(), all);
  assert.deepEqual([sorted(heard[0].demands()), heard[1].transactions()], [all, 10]);
  const { fulfilled, unknown } = one.engine.demands.counts;
  assert.deepEqual([fulfilled, unknown, heard[0].adverts()], [10, 0, []]);
});
