import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerEntry } from "../../overlay/db/peer_manager.ts";
import type { KnownAddress, KnownNode, VisitTotal } from "../../overlay/db/stored.ts";
import { comparePeers, isWanted, type Known, type PeerRow, peerRows } from "./book.ts";

const entry = (host: string, more: Partial<PeerEntry> = {}): PeerEntry => ({
  address: { host, port: 1 },
  record: { type: "outbound", numFailures: 0, nextAttemptAt: 5000 },
  outcome: null,
  ...more,
});
const crawled = (address: string, more: Partial<KnownAddress> = {}): KnownAddress => ({
  address,
  source: "peers",
  firstSeenAt: 0,
  lastSeenAt: 1000,
  lastTriedAt: null,
  lastGoodAt: null,
  lastOutcome: null,
  lastNodeId: null,
  failures: 0,
  nextAttemptAt: null,
  ...more,
});
const total = (address: string, more: Partial<VisitTotal> = {}): VisitTotal => ({
  address,
  tried: 1,
  admitted: 0,
  admittedAt: null,
  lastAt: 0,
  lastOutcome: "dead",
  lastCode: "connect_refused",
  rttMs: null,
  ...more,
});
const rows = (known: Partial<Known>): PeerRow[] =>
  peerRows({ entries: [], addresses: [], totals: [], nodes: [], isBanned: () => false, ...known });
const iso = (ms: number) => new Date(ms).toISOString();

test("peerRows joins the node's book and the crawls' by address; the newer outcome counts", () => {
  const dialed = { at: 3000, code: "connect_timeout", admittedAt: 2000, nodeId: "GA", rttMs: 7 };
  const [both, onlyNode, onlyCrawl] = rows({
    entries: [entry("1.0.0.1", { outcome: dialed }), entry("1.0.0.2")],
    addresses: [
      crawled("1.0.0.1:1", { lastTriedAt: 2500, lastOutcome: "reachable", lastNodeId: "GB", lastSeenAt: 2600 }),
      crawled("1.0.0.3:1", { lastTriedAt: 4000, lastOutcome: "dead", failures: 3 }),
    ],
    totals: [
      total("1.0.0.1:1", {
        tried: 4,
        admitted: 3,
        admittedAt: 2500,
        lastOutcome: "reachable",
        lastCode: null,
        rttMs: 5,
      }),
      total("1.0.0.3:1"),
    ],
    nodes: [{ nodeId: "GA", firstSeenAt: 0, lastSeenAt: 0, lastAddress: "", hello: { versionStr: "v1" } } as KnownNode],
    isBanned: (nodeId) => nodeId === "GA",
  });
  assert.deepEqual(both, {
    address: "1.0.0.1:1",
    type: "outbound",
    failures: 0,
    nextAttemptAt: iso(5000),
    lastOutcome: "dead",
    lastCode: "connect_timeout",
    lastTriedAt: iso(3000),
    lastAdmittedAt: iso(2500),
    lastSeenAt: iso(3000),
    nodeId: "GA",
    versionStr: "v1",
    rttMs: 5,
    visits: { tried: 4, admitted: 3 },
    banned: true,
  });
  assert.deepEqual([onlyNode.lastOutcome, onlyNode.lastTriedAt, onlyNode.lastSeenAt], [null, null, null]);
  assert.deepEqual(
    [onlyCrawl.type, onlyCrawl.failures, onlyCrawl.nextAttemptAt, onlyCrawl.lastOutcome, onlyCrawl.lastCode],
    ["crawled", 3, null, "dead", "connect_refused"],
  );
  // The older of two outcomes still says who lives there.
  const [older] = rows({
    entries: [entry("1.0.0.1", { outcome: { ...dialed, at: 9, code: null } })],
    addresses: [crawled("1.0.0.1:1", { lastTriedAt: 10, lastOutcome: "silent" })],
  });
  assert.deepEqual([older.lastOutcome, older.lastCode, older.nodeId], ["silent", null, "GA"]);
});

const row = (address: string, more: Partial<PeerRow> = {}): PeerRow => ({
  ...rows({ addresses: [crawled(address)] })[0],
  ...more,
});

test("comparePeers best: admitted before full before untried before failed; reliable before near", () => {
  const good = { lastOutcome: "reachable", rttMs: 50, visits: { tried: 10, admitted: 10 } };
  const order = [
    row("1.0.0.1:1", { ...good, rttMs: 10 }),
    row("1.0.0.2:1", good),
    row("1.0.0.3:1", { ...good, rttMs: null }),
    row("1.0.0.4:1", { ...good, rttMs: 1, visits: { tried: 10, admitted: 5 } }),
    row("1.0.0.5:1", { ...good, rttMs: 2, failures: 1 }),
    row("1.0.0.6:1", { ...good, rttMs: 1, visits: { tried: 10, admitted: 1 } }),
    row("1.0.0.7:1", { lastOutcome: "full", rttMs: 1 }),
    row("1.0.0.8:1", { type: "preferred" }),
    row("1.0.0.9:1"),
    row("1.0.0.10:1"),
    row("1.0.0.11:1", { lastOutcome: "dead" }),
  ];
  const sorted = [...order].reverse().sort((a, b) => comparePeers(a, b, "best"));
  assert.deepEqual(sorted.map((peer) => peer.address), order.map((peer) => peer.address));
});

test("comparePeers sorts by each column, and addresses as numbers; what is no address comes last", () => {
  const some = [
    row("10.0.0.1:1", { failures: 3, rttMs: 5, lastTriedAt: iso(1), lastSeenAt: iso(9), nextAttemptAt: iso(7) }),
    row("9.0.0.1:2", { failures: 9, rttMs: null, lastTriedAt: iso(3), lastSeenAt: iso(8), nextAttemptAt: null }),
    row("9.0.0.1:11625", { failures: 0, rttMs: 1, lastTriedAt: null, lastSeenAt: null, nextAttemptAt: iso(6) }),
    row("a.example:0", { failures: 1, rttMs: 9, lastTriedAt: iso(2), lastSeenAt: iso(10), nextAttemptAt: iso(8) }),
  ];
  const by = (order: Parameters<typeof comparePeers>[2]) =>
    [...some].sort((a, b) => comparePeers(a, b, order)).map((peer) => some.indexOf(peer));
  assert.deepEqual(by("address"), [1, 2, 0, 3]);
  assert.deepEqual(by("failures"), [1, 0, 3, 2]);
  assert.deepEqual(by("rtt"), [2, 0, 3, 1]);
  assert.deepEqual(by("tried"), [1, 3, 0, 2]);
  assert.deepEqual(by("seen"), [3, 0, 1, 2]);
  assert.deepEqual(by("next"), [2, 0, 3, 1]);
});

test("isWanted: each filter alone and together", () => {
  const peer = row("1.0.0.1:1", { type: "inbound", failures: 1, lastOutcome: "reachable", lastSeenAt: iso(1000) });
  assert.equal(isWanted(peer, {}), true);
  assert.equal(isWanted(peer, { type: "inbound", failing: true, accepting: true, sinceMs: 1000 }), true);
  assert.equal(isWanted(peer, { type: "outbound" }), false);
  assert.equal(isWanted({ ...peer, failures: 0 }, { failing: true }), false);
  assert.equal(isWanted({ ...peer, lastOutcome: "full" }, { accepting: true }), false);
  assert.equal(isWanted(peer, { sinceMs: 1001 }), false);
  assert.equal(isWanted({ ...peer, lastSeenAt: null }, { sinceMs: 0 }), false);
});
