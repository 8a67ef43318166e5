/**
 * What the channels of a subscription promise, under load: no SCP message is lost, what overflows is counted, a slow
 * subscriber slows its senders down, and one that never reads does not harm the node.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { floodIdOf } from "../../overlay/flood/floodgate.ts";
import { validators } from "../../overlay/flood/scp_state_test_kit.ts";
import type { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import type { Subscription } from "../../overlay/manager/subscription.ts";
import type { Peer } from "../../overlay/peer/peer.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import {
  advertMessage,
  counterOf,
  dialPeer,
  type LoadWorld,
  scpMessages,
  startEngine,
  TCP_WORLD,
  transactionMessage,
  until,
} from "../kit/load_kit.ts";

const seconds = (clock: { wallMs(): number }) => BigInt(Math.floor(clock.wallMs() / 1000));
const queryOf = (number: number) => encodeMessage({ type: "getTxSet", txSetHash: new Uint8Array(32).fill(number) });

test("channels over TCP: four peers flood a slow subscriber; every SCP message arrives in order, the rest is counted", {
  timeout: 60_000,
}, async () => {
  const PEERS = 4, SCP = 1200, FLOOD = 1500, GUARDED = 100, GENERAL = 50;
  const engine = await startEngine(TCP_WORLD, "127.0.0.1", { listeningPort: 0 });
  const slow = engine.subscribe({
    types: ["scpMessage", "transaction", "floodAdvert"],
    generalLimit: GENERAL,
    guardedLimit: GUARDED,
    patienceMs: 50_000,
  });
  const peers: Peer[] = [];
  for (let i = 0; i < PEERS; i++) peers.push(await dialPeer(TCP_WORLD, engine, "127.0.0.1"));
  const relayed = new Set<string>();
  let answered = 0;
  const bystander = await dialPeer(TCP_WORLD, engine, "127.0.0.1", {
    onMessage: (_, { type, bytes }) => {
      if (type === MessageType.scpMessage) relayed.add(floodIdOf(bytes));
      if (type === MessageType.dontHave) answered++;
    },
  });
  try {
    const keys = validators(PEERS), names = peers.map((peer) => peer.local.nodeIdText);
    const scp = keys.map((key) => scpMessages(key, 5, SCP, seconds(systemClock)));
    // Each peer sends as fast as its credit lets it, the kinds mixed; the bound keeps its own queues from overflowing.
    let number = 0;
    const produce = async (peer: Peer, own: Uint8Array[]) => {
      for (let i = 0; i < Math.max(SCP, FLOOD); i++) {
        if (i < SCP) peer.send(own[i]);
        if (i < FLOOD) {
          peer.send(transactionMessage(number++));
          peer.send(advertMessage(number++));
        }
        if (i % 50 === 49) await until("credit", () => peer.flowControl.queued < 400, 50_000, 1);
      }
    };
    const producing = peers.map((peer, i) => produce(peer, scp[i]));

    // Nobody reads until the senders are held: then the node still relays and answers, and has read no more than it granted.
    await until("the senders wait for the subscriber", () => slow.counts.held >= PEERS * 50);
    assert.equal(bystander.send(queryOf(1)), true);
    await until("the node answers", () => answered === 1);
    // An older statement is not sent once a newer one of its node waits behind it.
    await until("the node relays", () => engine.scp.stateFrom(0).now.every((newest) => relayed.has(floodIdOf(newest))));
    assert.equal(engine.dispatcher.counts.envelopes, slow.counts.waiting.scp);
    assert.equal(engine.scp.statements(5), PEERS);
    assert.ok(slow.counts.held <= PEERS * 200, "held: at most what was granted");
    assert.ok(slow.counts.missed > 0);

    const last = new Map<string, number>();
    let missedBefore = 0, general = 0, taken = 0;
    const total = PEERS * (SCP + 2 * FLOOD);
    while (taken < PEERS * SCP || general + slow.counts.missed < PEERS * 2 * FLOOD) {
      const { value } = await slow.next();
      missedBefore += value.missedBefore;
      if (value.channel === "scp") {
        const counter = counterOf(value.message.bytes);
        assert.equal(counter, (last.get(value.from) ?? 0) + 1, `${value.from}`);
        last.set(value.from, counter);
        taken++;
      } else general++;
      const { waiting, held } = slow.counts;
      assert.ok(waiting.general <= GENERAL && waiting.scp - held <= GUARDED && held <= PEERS * 200);
      // Slow: 20 messages per turn of the event loop, while thousands could come.
      if ((taken + general) % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(producing);
    const { missed, missedGuarded, untold, delayed } = slow.counts;
    assert.deepEqual([...last.keys()].sort(), names.sort());
    assert.deepEqual([...last.values()], [SCP, SCP, SCP, SCP]);
    assert.equal(missedGuarded, 0);
    assert.equal(missedBefore + untold, missed);
    assert.equal(taken + general + missed, total);
    assert.ok(delayed > 0);
    for (const peer of peers) assert.ok(peer.flowControl.timesBlocked > 0, "its credit was withheld");
    slow.close();
    assert.equal(slow.counts.held, 0);
    assert.equal(engine.peers().length, PEERS + 1);
  } finally {
    for (const peer of [...peers, bystander]) peer.destroy();
    await engine.stop();
  }
});

// ---- One that never reads, in virtual time, with everything at its default ----

class VirtualWorld implements LoadWorld {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(11);
  readonly #net = new MemoryNetwork({ clock: this.clock, delayMs: () => 20 });
  transport = (host: string) => this.#net.transport(host);
}

/** Reads everything at once, and tells the counters by sender. */
function readAll(subscription: Subscription): { seen: Map<string, number[]>; ended: Promise<unknown> } {
  const seen = new Map<string, number[]>();
  const read = async () => {
    for await (const { from, message } of subscription) {
      if (!seen.has(from)) seen.set(from, []);
      seen.get(from)!.push(counterOf(message.bytes));
    }
  };
  return { seen, ended: read().catch((error) => error) };
}

/** An engine, and three peers that send `perSecond` SCP messages each for `forSeconds`. */
async function chatter(world: VirtualWorld, engine: OverlayManager, perSecond: number, forSeconds: number) {
  const drops: string[] = [], peers: Peer[] = [];
  for (let i = 0; i < 3; i++) {
    const dialing = dialPeer(world, engine, `11.0.0.${i + 2}`, { onDropped: (_, drop) => drops.push(drop.reason) });
    peers.push(await world.clock.run(dialing));
  }
  const messages = validators(3).map((key) => scpMessages(key, 5, perSecond * forSeconds, seconds(world.clock)));
  for (let second = 0; second < forSeconds; second++) {
    for (const [i, peer] of peers.entries()) {
      for (const message of messages[i].slice(second * perSecond, (second + 1) * perSecond)) peer.send(message);
    }
    await world.clock.advance(1000);
  }
  return { peers, drops };
}

test(
  "channels: a subscriber that never reads is ended after its patience; nobody is dropped, and another loses nothing",
  {
    timeout: 60_000,
  },
  async () => {
    const world = new VirtualWorld();
    const engine = await startEngine(world, "11.0.0.1", { listeningPort: 11625 });
    const stuck = engine.subscribe({ types: ["scpMessage"], guardedLimit: 500 });
    const reading = engine.subscribe({ types: ["scpMessage"] });
    const { seen } = readAll(reading);
    const { peers, drops } = await chatter(world, engine, 20, 120);
    assert.deepEqual(drops, []);
    assert.equal(engine.peers().length, 3);
    // 60 a second fill its room in 9 s; what was held then waited for 20 s.
    assert.equal(stuck.wants(MessageType.scpMessage), false);
    const all = Array.from({ length: 2400 }, (_, i) => i + 1);
    for (const peer of peers) assert.deepEqual(seen.get(peer.local.nodeIdText), all);
    // What it was given before its end is still there, in order, and then it learns why.
    const late = readAll(stuck);
    assert.ok(isFailure("subscriber_too_slow")(await late.ended));
    for (const peer of peers) {
      const got = late.seen.get(peer.local.nodeIdText)!;
      assert.ok(got.length >= 500 / 3 && got.length < 2400);
      assert.deepEqual(got, all.slice(0, got.length));
    }
    await world.clock.run(engine.stop());
    for (const peer of peers) peer.destroy();
  },
);

test("channels: without patience the peers of a stuck subscriber hang up, which is why there is one", async () => {
  const world = new VirtualWorld();
  const engine = await startEngine(world, "11.0.0.1", { listeningPort: 11625 });
  engine.subscribe({ types: ["scpMessage"], guardedLimit: 10, patienceMs: 1e9 });
  // A peer that goes on trying measures its patience from the last try; once it is silent, it counts.
  const { drops } = await chatter(world, engine, 20, 40);
  assert.deepEqual(drops, []);
  await world.clock.advance(70_000);
  assert.deepEqual(drops, Array(3).fill("idle timeout (no new flood requests)"));
  await world.clock.run(engine.stop());
});

test('channels: with whenFull "drop" a stuck subscriber slows nobody down', async () => {
  const world = new VirtualWorld();
  const engine = await startEngine(world, "11.0.0.1", { listeningPort: 11625 });
  const stuck = engine.subscribe({ types: ["scpMessage"], guardedLimit: 10, whenFull: "drop" });
  const { peers, drops } = await chatter(world, engine, 20, 100);
  assert.deepEqual(drops, []);
  assert.deepEqual([stuck.counts.delayed, stuck.counts.missedGuarded], [0, 6000 - 10]);
  assert.equal(engine.scp.statements(5), 3);
  await world.clock.run(engine.stop());
  for (const peer of peers) peer.destroy();
});

test("channels: closing a subscription lets every sender go on", async () => {
  const world = new VirtualWorld();
  const engine = await startEngine(world, "11.0.0.1", { listeningPort: 11625 });
  const stuck = engine.subscribe({ types: ["scpMessage"], guardedLimit: 10 });
  const { peers } = await chatter(world, engine, 100, 5);
  assert.equal(stuck.counts.held, 3 * 200 - 10);
  assert.ok(peers.every((peer) => peer.flowControl.queued > 0));
  stuck.close();
  await world.clock.advance(2000);
  assert.deepEqual(peers.map((peer) => peer.flowControl.queued), [0, 0, 0]);
  assert.equal(engine.floodgate.size, 1500);
  await world.clock.run(engine.stop());
  for (const peer of peers) peer.destroy();
});
