import { test } from "node:test";
import assert from "node:assert/strict";
import { sleep, VirtualClock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import { SeededRandom } from "../base/random.ts";
import { openDatabase } from "../db/database.ts";
import { PeerManager } from "../db/peer_manager.ts";
import { migrate } from "../db/schema.ts";
import type { Resolver } from "../transport/transport.ts";
import { afterRun, INITIAL_RETRY_STATE, PeerResolution, resolvePeers } from "./peer_resolution.ts";

const at = (host: string, port = 11625): PeerAddress => ({ host, port });
const TIMES = { resolveIntervalMs: 600_000, resolveRetryMs: 10_000 };

/** Resolves the names in `table`; any other name fails. Each answer takes 100 ms. */
class TestResolver implements Resolver {
  runs = 0;
  constructor(readonly table: Record<string, string[]>, readonly clock: VirtualClock) {}
  async resolve(host: string): Promise<string[]> {
    this.runs++;
    await sleep(this.clock, 100);
    if (/^[0-9.]+$/.test(host)) return [host];
    if (this.table[host] === undefined) throw new OverlayError({ code: "dns_failed", host, reason: "ENOTFOUND" });
    return this.table[host];
  }
}

function make(table: Record<string, string[]>, knownPeers: PeerAddress[], preferredPeers: PeerAddress[] = []) {
  const clock = new VirtualClock();
  const resolver = new TestResolver(table, clock);
  const resolution = new PeerResolution({ clock, resolver, config: { ...TIMES, knownPeers, preferredPeers } });
  return { clock, resolver, resolution, [Symbol.dispose]: () => resolution[Symbol.dispose]() };
}

test("scenario: triggerPeerResolution() async resolution", async () => {
  const known = [64000, 64001, 64002].map((port) => at("127.0.0.1", port));
  const preferred = [2011, 2012, 2013, 2014].map((port) => at("127.0.0.1", port));
  using made = make({}, known, preferred);
  const { clock, resolution } = made;
  using db = await openDatabase(":memory:");
  migrate(db);
  const book = new PeerManager(db, { clock, random: new SeededRandom(1) });
  resolution.trigger();
  assert.equal(resolution.take(), undefined);
  await clock.advance(100);
  book.storeConfigPeers(resolution.take()!, { startup: false });
  assert.deepEqual(book.all().map(({ address, record }) => [address.port, record.type]), [
    ...preferred.map(({ port }) => [port, "preferred"]),
    ...known.map(({ port }) => [port, "outbound"]),
  ]);
});

test("resolvePeers takes the first address of a name, drops repeats, and skips what fails", async () => {
  const clock = new VirtualClock();
  const resolver = new TestResolver(
    { a: ["1.1.1.1", "2.2.2.2"], b: ["1.1.1.1"], six: ["2001:db8::1"], none: [] },
    clock,
  );
  const found = await clock.run(resolvePeers(resolver, {
    knownPeers: [at("a", 7), at("b", 7), at("bad"), at("3.3.3.3"), at("b", 8)],
    preferredPeers: [at("six"), at("none", 9)],
  }));
  assert.deepEqual(found.known.map(formatAddress), ["1.1.1.1:7", "3.3.3.3:11625", "1.1.1.1:8"]);
  assert.deepEqual(found.preferred.map(formatAddress), ["[2001:db8::1]:11625"]);
  const failures = found.failures.map(({ peer, failure }) => [peer.host, failure.code]);
  assert.deepEqual(failures.sort(), [["bad", "dns_failed"], ["none", "dns_failed"]]);
});

test("resolvePeers survives a resolver that throws anything", async () => {
  const resolver: Resolver = { resolve: () => Promise.reject(new TypeError("broken")) };
  const { failures } = await resolvePeers(resolver, { knownPeers: [at("a")], preferredPeers: [] });
  assert.deepEqual(failures, [{ peer: at("a"), failure: { code: "dns_failed", host: "a", reason: "broken" } }]);
});

test("afterRun retries after 10 s, 20 s, ... 600 s, then every 600 s for good", () => {
  let state = INITIAL_RETRY_STATE;
  const delays: number[] = [];
  for (let i = 0; i < 63; i++) {
    const next = afterRun(state, true, TIMES);
    state = next.state;
    delays.push(next.delayMs / 1000);
  }
  assert.deepEqual(delays.slice(0, 60), Array.from({ length: 60 }, (_, i) => 10 * (i + 1)));
  assert.deepEqual(delays.slice(60), [600, 600, 600]);
  assert.equal(state.retrying, false);
});

test("afterRun ends retrying with the first run that has no failure", () => {
  const failed = afterRun(INITIAL_RETRY_STATE, true, TIMES);
  assert.equal(failed.delayMs, 10_000);
  const good = afterRun(failed.state, false, TIMES);
  assert.deepEqual(good, { state: { retrying: false, failedRuns: 1 }, delayMs: 600_000 });
  assert.deepEqual(afterRun(good.state, true, TIMES), { state: good.state, delayMs: 600_000 });
});

test("PeerResolution runs again after the tick that took the result, later each time it failed", async () => {
  const table: Record<string, string[]> = {};
  using made = make(table, [at("a")]);
  const { clock, resolver, resolution } = made;
  const runsAt: number[] = [];
  let seen = 0;
  resolution.trigger();
  // A tick every 3 s, as the manager's.
  for (let i = 0; i < 300; i++) {
    if (resolver.runs > seen) {
      seen = resolver.runs;
      runsAt.push(clock.nowMs() / 1000);
    }
    if (runsAt.length === 4) table.a = ["1.1.1.1"];
    resolution.take();
    await clock.advance(3000);
  }
  // Runs are seen at the next tick. Taken at 3: next at 13; taken at 15: next at 35; taken at 36: next at 66, which succeeds;
  // taken at 69: next at 669.
  assert.deepEqual(runsAt, [0, 15, 36, 66, 669]);
});

test("PeerResolution runs once at a time, and waits until its result was taken", async () => {
  using made = make({ a: ["1.1.1.1"] }, [at("a")]);
  const { clock, resolver, resolution } = made;
  resolution.trigger();
  resolution.trigger();
  await clock.advance(100);
  resolution.trigger();
  await clock.advance(1_000_000);
  assert.equal(resolver.runs, 1);
  assert.deepEqual(resolution.take()?.known, [at("1.1.1.1")]);
  assert.equal(resolution.take(), undefined);
  await clock.advance(599_999);
  assert.equal(resolver.runs, 1);
  await clock.advance(1);
  assert.equal(resolver.runs, 2);
});

test("PeerResolution does nothing once disposed, also for a run under way", async () => {
  const { clock, resolver, resolution } = make({ a: ["1.1.1.1"] }, [at("a")]);
  resolution.trigger();
  await clock.advance(50);
  resolution[Symbol.dispose]();
  await clock.advance(1000);
  assert.equal(resolution.take(), undefined);
  resolution.trigger();
  await clock.advance(1000);
  assert.equal(resolver.runs, 1);

  const other = make({ a: ["1.1.1.1"] }, [at("a")]);
  other.resolution.trigger();
  await other.clock.advance(100);
  other.resolution.take();
  other.resolution[Symbol.dispose]();
  await other.clock.advance(700_000);
  assert.equal(other.resolver.runs, 1);
});
