/**
 * Hostile peers over real sockets against `run`: every case of the catalogue. All of them run against the same few nodes, at
 * the same time, and each is told on its own. Afterwards the nodes still serve, and hold no more memory than before.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { HostileIdentity } from "../kit/hostile_keys.ts";
import { pause } from "../kit/hostile_peer.ts";
import { BATTERY, CASES } from "./catalogue.ts";
import { type RunTarget, startWorld } from "./nodes.ts";
import { assertServes, closeLedgers, junkTransaction, live, type World } from "./world.ts";

/** Cases at work at once. */
const AT_ONCE = 12;
const LIMIT = { timeout: 100_000 };

const world = startWorld();
const results = runAll();
after(async () => await (await world)[Symbol.asyncDispose]());

/** Starts every case in its turn; a result is a promise that never rejects. */
function runAll(): Map<string, Promise<unknown>> {
  const results = new Map<string, Promise<unknown>>();
  const settle = new Map<string, (error: unknown) => void>();
  const only = process.env.HOSTILE_CASE;
  const names = Object.keys(CASES).filter((name) => only === undefined || name.includes(only));
  for (const name of names) results.set(name, new Promise((resolve) => settle.set(name, resolve)));
  const queue = [...names];
  const work = async (world: World) => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const done = settle.get(name)!;
      await CASES[name](world).then(() => done(undefined), (error) => done(error ?? new Error("failed")));
    }
  };
  void world.then((world) => {
    for (let i = 0; i < AT_ONCE; i++) void work(world);
  }, (error) => settle.forEach((done) => done(error)));
  return results;
}

for (const [name, result] of results) {
  test(`hostile: ${name}`, LIMIT, async () => {
    const error = await result;
    if (error !== undefined) throw error;
  });
}

test("hostile: afterwards every node serves an honest peer, and printed nothing but its log", LIMIT, async () => {
  await Promise.all(results.values());
  const { main, impatient, crowded } = await world;
  for (const node of [main, impatient, crowded]) {
    await assertServes(node);
    assert.equal(node.strayOutput(), "");
  }
});

test("hostile: a node that went through it all once more holds no more memory than before", LIMIT, async () => {
  await Promise.all(results.values());
  const nodes = await world, { main } = nodes;
  // The first time was the warm-up: all code is compiled, and what is kept for later is kept.
  await closeLedgers(main, 14);
  await repeat(main, 1);
  const before = await least(main, () => false, 6);
  const queue = Object.entries(BATTERY);
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await next[1](nodes);
  }));
  await closeLedgers(main, 14);
  await repeat(main, 10);
  const after = await least(main, (resident) => resident <= 1.1 * before, 30);
  console.log(`resident memory: ${megabytes(before)} before, ${megabytes(after)} afterwards`);
  assert.ok(after <= 1.1 * before, `${megabytes(before)} before, ${megabytes(after)} afterwards`);
  // Nothing of the attackers is left in what has to be empty when they are gone.
  let gauges = await main.gauges();
  for (let i = 0; i < 60 && gauges.liveInbound > 0; i++) {
    await pause(250);
    gauges = await main.gauges();
  }
  const { pendingPeers, authenticatedPeers, liveInbound, queuedMessages, waitingEnvelopes, fetchingItems } = gauges;
  const left = [pendingPeers, authenticatedPeers, queuedMessages, fetchingItems].flatMap((g) => Object.values(g));
  assert.deepEqual([...left, liveInbound, waitingEnvelopes].filter((n) => n !== 0), []);
});

const IDENTITY = new HostileIdentity();
const SAME = junkTransaction(1000);

/** The same again and again, of which nothing new is to be kept: connections of one id that end badly, known messages, junk. */
async function repeat(node: RunTarget, times: number): Promise<void> {
  for (let i = 0; i < 20 * times; i++) {
    const peer = await live(node, { identity: IDENTITY, from: "127.0.0.90", hello: { listeningPort: 30_000 } });
    await peer.send(...Array(50).fill(SAME), ...Array(50).fill({ type: "dontHave", dontHave: ANSWER }));
    await peer.send({ type: "sendMore", sendMore: { numMessages: 1 } });
    await peer.ended();
  }
}

const ANSWER = { type: 6, reqHash: new Uint8Array(32) };

/** The least resident memory at several looks, with honest traffic between; ends early when it is `enough`. */
async function least(node: RunTarget, enough: (bytes: number) => boolean, looks: number): Promise<number> {
  let bytes = Infinity;
  for (let i = 0; i < looks && !enough(bytes); i++) {
    for (let j = 0; j < 20; j++) await assertServes(node);
    await pause(250);
    bytes = Math.min(bytes, await node.residentBytes());
  }
  return bytes;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
