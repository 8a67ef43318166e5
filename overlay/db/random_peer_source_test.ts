import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../base/clock.ts";
import { type PeerAddress } from "../base/peer_address.ts";
import { SeededRandom } from "../base/random.ts";
import { openDatabase } from "./database.ts";
import { PeerManager } from "./peer_manager.ts";
import { dialQuery, type PeerQuery, RandomPeerSource, sendQuery } from "./random_peer_source.ts";
import { migrate } from "./schema.ts";

const at = (port: number): PeerAddress => ({ host: "127.0.0.1", port });

/** Gives ports 1, 2, 3, ... in order, `count` of them at each load, and keeps what it was asked. */
function makeLoader(count: number) {
  const asked: [PeerQuery, number][] = [];
  return {
    asked,
    loadRandomPeers(query: PeerQuery, size: number): PeerAddress[] {
      asked.push([query, size]);
      return Array.from({ length: count }, (_, i) => at(i + 1));
    },
  };
}

test("scenario: RandomPeerSource::nextAttemptCutoff also limits maxFailures", async () => {
  using db = await openDatabase(":memory:");
  migrate(db);
  const clock = new VirtualClock();
  const book = new PeerManager(db, { clock, random: new SeededRandom(1) });
  [0, 0, 120, 120, 121, 121].forEach((numFailures, i) => {
    book.store(at(i + 1), { type: i % 2 === 0 ? "inbound" : "outbound", numFailures, nextAttemptAt: clock.wallMs() });
  });
  const source = new RandomPeerSource(book, dialQuery("outbound"));
  assert.deepEqual(source.getRandomPeers(50).map(({ port }) => port).sort(), [2, 4]);
});

test("dialQuery and sendQuery are upstream's filters", () => {
  assert.deepEqual(dialQuery("preferred"), { dueOnly: true, maxNumFailures: 120, type: "preferred" });
  assert.deepEqual(sendQuery("anyOutbound"), { dueOnly: false, maxNumFailures: 10, type: "anyOutbound" });
});

test("RandomPeerSource repeats nothing until its cache holds fewer than asked, then throws the rest away", () => {
  const loader = makeLoader(10);
  const source = new RandomPeerSource(loader, dialQuery("inbound"));
  const take = (size: number) => source.getRandomPeers(size).map(({ port }) => port);
  assert.deepEqual(take(4), [1, 2, 3, 4]);
  assert.deepEqual(take(4), [5, 6, 7, 8]);
  assert.deepEqual(take(2), [9, 10]);
  assert.deepEqual(loader.asked, [[dialQuery("inbound"), 4]]);
  assert.deepEqual(take(3), [1, 2, 3]);
  assert.deepEqual(take(8), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(take(20), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(loader.asked.map(([, size]) => size), [4, 3, 8, 20]);
});

test("RandomPeerSource uses up everything it looks at, and stops once it has enough", () => {
  const loader = makeLoader(10);
  const source = new RandomPeerSource(loader, dialQuery("inbound"));
  const even = ({ port }: PeerAddress) => port % 2 === 0;
  assert.deepEqual(source.getRandomPeers(2, even), [at(2), at(4)]);
  assert.deepEqual(source.getRandomPeers(1), [at(5)]);
  assert.deepEqual(source.getRandomPeers(5, () => false), []);
  assert.equal(loader.asked.length, 1);
  assert.deepEqual(source.getRandomPeers(1), [at(1)]);
  assert.equal(loader.asked.length, 2);
});

test("RandomPeerSource does nothing for 0, and asks again each time there is nothing", () => {
  const loader = makeLoader(0);
  const source = new RandomPeerSource(loader, dialQuery("inbound"));
  assert.deepEqual(source.getRandomPeers(0), []);
  assert.equal(loader.asked.length, 0);
  assert.deepEqual(source.getRandomPeers(3), []);
  assert.deepEqual(source.getRandomPeers(3), []);
  assert.equal(loader.asked.length, 2);
});

test("RandomPeerSource may give what the book no longer holds", async () => {
  using db = await openDatabase(":memory:");
  migrate(db);
  const book = new PeerManager(db, { clock: new VirtualClock(), random: new SeededRandom(1) });
  for (let port = 1; port <= 4; port++) book.ensureExists(at(port));
  const source = new RandomPeerSource(book, dialQuery("inbound"));
  const [first] = source.getRandomPeers(1);
  for (let port = 1; port <= 4; port++) book.update(at(port), { backoff: "increase" });
  const stale = source.getRandomPeers(3);
  assert.deepEqual([first, ...stale].map(({ port }) => port).sort(), [1, 2, 3, 4]);
  assert.deepEqual(source.getRandomPeers(1), []);
});
