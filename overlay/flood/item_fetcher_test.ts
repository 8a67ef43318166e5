import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { ItemFetcher } from "./item_fetcher.ts";
import type { FetchPeer, WaitingEnvelope } from "./tracker.ts";

interface Envelope extends WaitingEnvelope {
  n: number;
}
let slots = 0;
/** As upstream's: each has a slot of its own. */
const envelope = (n: number): Envelope => ({ id: `e${++slots}`, slot: slots, n });
const [ZERO, TEN, TWELVE, FOURTEEN] = ["00", "0a", "0c", "0e"].map((byte) => byte.repeat(32));

function setUp(options: { maxTrackers?: number; maxWaiting?: number } = {}) {
  const clock = new VirtualClock(), asked: FetchPeer[] = [], askedAtMs: number[] = [], received: number[] = [];
  const peers: FetchPeer[] = [], known = new Map<string, Set<string>>();
  const fetcher = new ItemFetcher<Envelope, FetchPeer>({
    clock,
    random: new SeededRandom(1),
    peers: () => peers,
    knownBy: (id) => known.get(id) ?? new Set(),
    ask: (peer) => {
      asked.push(peer);
      askedAtMs.push(clock.nowMs());
    },
    process: (e) => received.push(e.n),
    ...options,
  });
  return { clock, fetcher, asked, askedAtMs, received, peers, known };
}

/** Upstream's start: one envelope waits for TEN, two for TWELVE. */
function fetching() {
  const world = setUp(), { fetcher } = world;
  const ten = envelope(10), twelve1 = envelope(12), twelve2 = envelope(12);
  fetcher.fetch(TEN, ten);
  fetcher.fetch(TWELVE, twelve1);
  fetcher.fetch(TWELVE, twelve2);
  const waiting = () => [ZERO, TEN, TWELVE, FOURTEEN].map((hash) => [...fetcher.fetchingFor(hash)]);
  const seen = () => [ZERO, TEN, TWELVE, FOURTEEN].map((hash) => fetcher.lastSeenSlot(hash) !== 0);
  assert.deepEqual(waiting(), [[], [ten], [twelve1, twelve2], []]);
  assert.deepEqual(seen(), [false, true, true, false]);
  return { ...world, ten, twelve1, twelve2, waiting, seen };
}

test("scenario: ItemFetcher fetches", () => void fetching());

test("scenario: ItemFetcher fetches, stop one", () => {
  const { fetcher, received, twelve1, twelve2, ten, waiting, seen } = fetching();
  fetcher.stopFetch(TWELVE, twelve1);
  assert.deepEqual(waiting(), [[], [ten], [twelve2], []]);
  fetcher.receive(TWELVE);
  fetcher.receive(TEN);
  assert.deepEqual(received, [12, 10]);
  assert.deepEqual([waiting(), seen()], [[[], [], [], []], [false, false, false, false]]);
});

test("scenario: ItemFetcher fetches, stop all", () => {
  const { fetcher, received, twelve1, twelve2, ten, waiting, seen } = fetching();
  fetcher.stopFetch(TWELVE, twelve1);
  fetcher.stopFetch(TWELVE, twelve2);
  assert.deepEqual(waiting(), [[], [ten], [], []]);
  assert.deepEqual(seen(), [false, true, false, false]);
  assert.equal(fetcher.receive(TWELVE), undefined);
  fetcher.receive(TEN);
  assert.deepEqual(received, [10]);
});

/** After "dont stop": everything arrived. */
function arrived() {
  const world = fetching();
  world.fetcher.receive(TWELVE);
  world.fetcher.receive(TEN);
  assert.deepEqual(world.received, [12, 12, 10]);
  assert.equal(world.fetcher.size, 0);
  return world;
}

test("scenario: ItemFetcher fetches, dont stop", () => void arrived());

test("scenario: ItemFetcher fetches, no cache", () => {
  const { fetcher, received, waiting, seen } = arrived();
  fetcher.fetch(ZERO, envelope(0));
  fetcher.receive(ZERO);
  const again = envelope(0);
  fetcher.fetch(ZERO, again);
  assert.deepEqual(received, [12, 12, 10, 0]);
  assert.deepEqual(waiting(), [[again], [], [], []]);
  assert.deepEqual(seen(), [true, false, false, false]);
});

test("scenario: ItemFetcher fetches, ignore not asked items", () => {
  const { fetcher, received } = arrived();
  fetcher.receive(ZERO);
  assert.deepEqual(received, [12, 12, 10]);
});

for (const twice of [false, true]) {
  const name = twice ? "fetching twice does not trigger any additional network activity" : "fetching once works";
  test(`scenario: ItemFetcher fetches, asks peers in turn, success, ${name}`, async () => {
    const { clock, fetcher, asked, askedAtMs, peers } = setUp();
    peers.push({ nodeId: "1", latencyMs: 5 }, { nodeId: "2", latencyMs: 5 });
    fetcher.fetch(ZERO, envelope(0));
    if (twice) fetcher.fetch(ZERO, envelope(0));
    assert.equal(asked.length, 1);
    await clock.advance(2999);
    assert.deepEqual(askedAtMs, [0, 1500]);
    assert.equal(fetcher.receive(ZERO), 2999);
    await clock.advance(60_000);
    assert.deepEqual(asked.map((peer) => peer.nodeId).sort(), ["1", "2"]);
  });
}

for (const respond of [false, true]) {
  const name = respond ? "peers actively respond not found" : "peers timeout";
  test(`scenario: ItemFetcher fetches, asks peers in turn, not found, ${name}`, async () => {
    const { clock, fetcher, asked, askedAtMs, peers } = setUp();
    fetcher.fetch(ZERO, envelope(0));
    await clock.advance(100);
    assert.equal(asked.length, 0); // nobody is connected
    peers.push({ nodeId: "1", latencyMs: 5 }, { nodeId: "2", latencyMs: 5 });
    const rounds = 100;
    while (asked.length < 2 * rounds) {
      const before = asked.length;
      await clock.advance(100);
      if (respond && asked.length > before) fetcher.doesntHave(ZERO, asked.at(-1)!);
    }
    for (let i = 0; i < 2 * rounds; i += 2) {
      assert.notEqual(asked[i], asked[i + 1]);
      const between = askedAtMs[i + 1] - askedAtMs[i];
      assert.ok(respond ? between < 200 : between >= 1500, String(between));
      // The first round comes after one rebuild, for lack of peers.
      const pause = 1500 * Math.min(10, i / 2 + 1);
      if (i > 0) assert.ok(askedAtMs[i] - askedAtMs[i - 1] >= pause, `pause before round ${i / 2}`);
      if (i > 0) assert.ok(askedAtMs[i] - askedAtMs[i - 1] <= pause + 1500 + 100);
    }
  });
}

/** Upstream's start of "next peer strategy": peer 1 is connected and was asked. */
function strategy() {
  const world = setUp(), { fetcher, peers } = world;
  const peer1 = { nodeId: "1", latencyMs: 5 }, peer2 = { nodeId: "2", latencyMs: 5 }, waiting = envelope(100);
  peers.push(peer1);
  fetcher.fetch(TEN, waiting);
  const tracker = fetcher.tracker(TEN)!;
  assert.equal(tracker.lastAsked, peer1);
  return { ...world, tracker, peer1, peer2, waiting };
}

test("scenario: next peer strategy, doesn't try the same peer", () => {
  const { tracker, asked } = strategy();
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, undefined);
  assert.equal(asked.length, 1);
});

test("scenario: next peer strategy, with more peers, try new peer", () => {
  const { tracker, asked, peers, peer2 } = strategy();
  peers.push(peer2);
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, peer2);
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, undefined);
  tracker.tryNextPeer();
  assert.notEqual(tracker.lastAsked, undefined); // starts over
  assert.equal(asked.length, 3);
});

test("scenario: next peer strategy, with more peers, peer1 told us that it knows", () => {
  const { tracker, asked, peers, peer1, peer2, known, waiting } = strategy();
  peers.push(peer2);
  known.set(waiting.id, new Set(["1"]));
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, peer1);
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, peer2);
  tracker.tryNextPeer();
  assert.equal(tracker.lastAsked, undefined);
  assert.equal(asked.length, 3);
});

test("ItemFetcher.doesntHave counts only from the peer asked last", () => {
  const { fetcher, asked, peers, peer1, peer2 } = strategy();
  peers.push(peer2);
  assert.ok(!fetcher.doesntHave(TEN, peer2));
  assert.ok(!fetcher.doesntHave(ZERO, peer1));
  assert.ok(!fetcher.doesntHave(TEN, { ...peer1 })); // the same node on a new connection was not asked
  assert.ok(fetcher.doesntHave(TEN, peer1));
  assert.deepEqual(asked, [peer1, peer2]);
});

test("ItemFetcher.receive may be entered again by what it processes", () => {
  const { clock, peers } = setUp();
  const seen: number[] = [];
  const fetcher: ItemFetcher<Envelope, FetchPeer> = new ItemFetcher({
    clock,
    random: new SeededRandom(1),
    peers: () => peers,
    knownBy: () => new Set<string>(),
    ask: () => {},
    process: (e) => {
      seen.push(e.n);
      fetcher.receive(TEN);
    },
  });
  for (const n of [1, 2, 3]) fetcher.fetch(TEN, envelope(n));
  fetcher.receive(TEN);
  assert.deepEqual([seen, fetcher.size, fetcher.waiting], [[3, 2, 1], 0, 0]);
});

test("ItemFetcher.stopFetchingOutsideRange ends searches nobody waits for", async () => {
  const { clock, fetcher, asked, peers, ten, twelve1, twelve2, waiting } = fetching();
  fetcher.stopFetchingOutsideRange({ min: twelve2.slot, keep: ten.slot });
  assert.deepEqual(waiting(), [[], [ten], [twelve2], []]);
  fetcher.stopFetchingOutsideRange({ max: twelve1.slot, min: twelve1.slot });
  assert.deepEqual([fetcher.size, fetcher.waiting], [0, 0]);
  peers.push({ nodeId: "1", latencyMs: 1 });
  await clock.advance(60_000);
  assert.equal(asked.length, 0);
});

test("ItemFetcher refuses what is above its bounds", () => {
  const { fetcher } = setUp({ maxTrackers: 2, maxWaiting: 3 });
  const first = envelope(1);
  assert.ok(fetcher.fetch(ZERO, first) && fetcher.fetch(TEN, envelope(1)));
  assert.ok(!fetcher.fetch(TWELVE, envelope(1)));
  assert.ok(fetcher.fetch(TEN, envelope(2)));
  assert.ok(!fetcher.fetch(TEN, envelope(3)));
  assert.ok(fetcher.fetch(ZERO, first)); // it waits already
  fetcher.close();
  assert.deepEqual([fetcher.size, fetcher.waiting], [0, 0]);
});

test("ItemFetcher counts exactly who waits, whatever happens", () => {
  const hash = fc.constantFrom(ZERO, TEN, TWELVE),
    pool = Array.from({ length: 8 }, (_, i) => ({ ...envelope(i), slot: i + 1 }));
  const command = fc.oneof(
    fc.record({ do: fc.constant("fetch" as const), hash, e: fc.constantFrom(...pool) }),
    fc.record({ do: fc.constant("stop" as const), hash, e: fc.constantFrom(...pool) }),
    fc.record({ do: fc.constant("receive" as const), hash }),
    fc.record({ do: fc.constant("abandon" as const), hash }),
    fc.record({ do: fc.constant("range" as const), min: fc.nat(9), max: fc.nat(9) }),
  );
  fc.assert(fc.property(fc.array(command), (commands) => {
    const { fetcher } = setUp({ maxTrackers: 2, maxWaiting: 6 });
    for (const c of commands) {
      if (c.do === "fetch") fetcher.fetch(c.hash, c.e);
      else if (c.do === "stop") fetcher.stopFetch(c.hash, c.e);
      else if (c.do === "receive") fetcher.receive(c.hash);
      else if (c.do === "abandon") fetcher.abandon(c.hash);
      else fetcher.stopFetchingOutsideRange(c);
      const waiting = [ZERO, TEN, TWELVE].map((h) => fetcher.fetchingFor(h).length);
      assert.equal(fetcher.waiting, waiting.reduce((a, b) => a + b));
      assert.equal(fetcher.size, waiting.filter((n) => n > 0).length);
      assert.ok(fetcher.size <= 2 && fetcher.waiting <= 6);
    }
  }));
});
