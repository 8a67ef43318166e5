import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { type FetchPeer, type SlotRange, Tracker, type WaitingEnvelope } from "./tracker.ts";

const HASH = "ab".repeat(32);
const envelope = (slot: number, id = `e${slot}`): WaitingEnvelope => ({ id, slot });

function setUp(peers: FetchPeer[] = [], knownBy: (id: string) => string[] = () => []) {
  const clock = new VirtualClock(), asked: string[] = [];
  const tracker = new Tracker<WaitingEnvelope, FetchPeer>(HASH, {
    clock,
    random: new SeededRandom(3),
    peers: () => peers,
    knownBy: (id) => new Set(knownBy(id)),
    ask: (peer) => asked.push(peer.nodeId),
  });
  return { clock, asked, tracker };
}

test("scenario: Tracker works, empty tracker", () => {
  const { tracker } = setUp();
  assert.deepEqual([tracker.size, tracker.empty, tracker.lastSeenSlot, tracker.pop()], [0, true, 0, undefined]);
});

test("scenario: Tracker works, can listen on envelope", () => {
  const { tracker } = setUp(), one = envelope(1);
  tracker.listen(one);
  assert.deepEqual([tracker.size, tracker.empty, tracker.lastSeenSlot], [1, false, 1]);
  assert.equal(tracker.pop(), one);
  assert.deepEqual([tracker.size, tracker.lastSeenSlot], [0, 1]);
  tracker.resetLastSeenSlot();
  assert.equal(tracker.lastSeenSlot, 0);
});

test("scenario: Tracker works, listen twice on the same envelope", () => {
  const { tracker } = setUp(), one = envelope(1);
  assert.ok(tracker.listen(one));
  assert.ok(!tracker.listen({ ...one }));
  assert.deepEqual([tracker.size, tracker.lastSeenSlot], [1, 1]);
  assert.equal(tracker.pop(), one);
  assert.ok(tracker.listen(one));
});

test("scenario: Tracker works, can listen on different envelopes", () => {
  const { tracker } = setUp(), one = envelope(1), two = envelope(2);
  tracker.listen(one);
  tracker.listen(two);
  assert.deepEqual([tracker.size, tracker.lastSeenSlot], [2, 2]);
  assert.equal(tracker.pop(), two);
  assert.deepEqual([tracker.size, tracker.lastSeenSlot], [1, 2]);
  assert.equal(tracker.pop(), one);
  assert.equal(tracker.lastSeenSlot, 2);
});

const RANGES: [name: string, range: SlotRange, left: number[]][] = [
  ["some old", { min: 4 }, [4, 5]],
  ["all old", { min: 6 }, []],
  ["keeps checkpoint envelope", { min: 5, keep: 1 }, [1, 5]],
  ["some future", { max: 3 }, [1, 2, 3]],
  ["all future", { max: 0 }, []],
  ["keeps checkpoint when removing future", { max: 2, keep: 5 }, [1, 2, 5]],
  ["both sides", { min: 2, max: 4 }, [2, 3, 4]],
  ["outside range, keeping checkpoint", { min: 3, max: 3, keep: 1 }, [1, 3]],
];
for (const [name, range, left] of RANGES) {
  test(`scenario: Tracker works, properly removes old envelopes, ${name}`, () => {
    const { tracker } = setUp();
    for (const slot of [5, 3, 1, 2, 4]) tracker.listen(envelope(slot));
    assert.equal(tracker.clearOutsideRange(range), left.length > 0);
    assert.deepEqual(tracker.waiting.map((e) => e.slot).sort(), left);
    for (const slot of [1, 2, 3, 4, 5]) assert.equal(tracker.isWaiting(envelope(slot)), left.includes(slot));
  });
}

test("Tracker asks the nearest group of peers first, unknown pings last", async () => {
  const peer = (nodeId: string, latencyMs?: number): FetchPeer => ({ nodeId, latencyMs });
  const { clock, asked, tracker } = setUp([
    peer("?"),
    peer("far", 1200),
    peer("near1", 20),
    peer("near2", 499),
    peer("mid", 500),
  ]);
  tracker.listen(envelope(1));
  tracker.tryNextPeer();
  await clock.advance(4 * 1500);
  assert.deepEqual(asked.slice(0, 2).sort(), ["near1", "near2"]);
  assert.deepEqual(asked.slice(2), ["mid", "far", "?"]);
});

test("Tracker prefers who flooded the envelope, however far", async () => {
  const peers: FetchPeer[] = [{ nodeId: "near", latencyMs: 1 }, { nodeId: "far", latencyMs: 9000 }];
  const { clock, asked, tracker } = setUp(peers, () => ["far", "not connected"]);
  tracker.listen(envelope(1));
  tracker.tryNextPeer();
  await clock.advance(1500);
  assert.deepEqual(asked, ["far", "near"]);
});
