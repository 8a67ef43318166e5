import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import {
  BAN_SCHEMA,
  type BanListing,
  type BanReport,
  bareRow,
  type ChangeRow,
  countsOf,
  rowsOf,
} from "../ban/report.ts";
import type { Io } from "../context.ts";
import { renderBanReport, renderBans } from "./ban.ts";

const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5, 6);
const PLACE = { network: "testnet", database: "/x.sqlite", via: null };
const pipe = { outIsTerminal: false, outColour: false } as Io;
const terminal = (columns: number) => ({ outIsTerminal: true, outColour: false, columns }) as Io;

const BANS = rowsOf([
  { nodeId: node(1), untilAt: null, reason: "", createdAt: NOW - 1000, by: "" },
  {
    nodeId: node(2),
    untilAt: NOW + 23 * 3600_000,
    reason: "adverts without end\x1b[2J\nand more of it",
    createdAt: NOW,
    by: "ops",
  },
  { nodeId: node(3), untilAt: NOW + 90_000, reason: "x", createdAt: NOW, by: "ops" },
], NOW);
const LISTING: BanListing = {
  schema: BAN_SCHEMA,
  action: "list",
  at: new Date(NOW).toISOString(),
  ...PLACE,
  bans: BANS,
};

test("renderBans: whole ids and the time left in 80 columns; more where there is room; everything on a pipe", () => {
  const narrow = renderBans(LISTING, terminal(80)).trimEnd().split("\n");
  assert.deepEqual(narrow.map((line) => line.slice(0, 80)), narrow);
  assert.match(narrow[0], /^node {54}left {6}reason$/);
  assert.equal(narrow[1], `${node(1)}  for ever`);
  assert.equal(narrow[2], `${node(2)}  23 h      adverts wit…`);
  assert.match(narrow[3], /90 s +x$/);
  assert.match(narrow.at(-1)!, /^3 bans in database \/x\.sqlite of testnet$/);
  const wide = renderBans(LISTING, terminal(170)).split("\n");
  assert.match(wide[0], /left +reason +by +until +since$/);
  assert.match(
    wide[2],
    /adverts without end\\x1b\[2J\\x0aand more of it +ops +2026-01-03T02:04:05Z +2026-01-02T03:04:05Z$/,
  );
  const rows = renderBans(LISTING, pipe).trimEnd().split("\n").map((line) => line.split("\t"));
  assert.deepEqual(rows[0], ["node", "left", "reason", "by", "until", "since"]);
  assert.deepEqual(rows[1], [node(1), "for ever", "", "", "", "2026-01-02T03:04:04Z"]);
  assert.equal(rows.length, 4);
});

test("renderBans: no bans are a title line on a pipe, and nothing on a terminal", () => {
  const empty = { ...LISTING, bans: [] };
  assert.equal(renderBans(empty, pipe), "node\tleft\treason\tby\tuntil\tsince\n");
  assert.equal(renderBans(empty, terminal(80)), "");
});

function report(changes: ChangeRow[], more: Partial<BanReport> = {}): BanReport {
  return {
    schema: BAN_SCHEMA,
    action: "add",
    at: LISTING.at,
    ...PLACE,
    dryRun: false,
    changes,
    counts: countsOf(changes),
    bans: 4,
    runningNodes: [],
    warnings: [],
    ...more,
  };
}

const until = "2026-08-01T10:00:00.000Z";
const banned = (n: number, change: ChangeRow["change"]): ChangeRow => ({
  ...bareRow(node(n), change),
  until,
  reason: "r\x07",
});

test("renderBanReport says each change, their sum, and who obeys", () => {
  const before = { nodeId: node(2), until: "2026-07-01T00:00:00.000Z", reason: "", createdAt: until, by: "" };
  const all = [banned(1, "added"), { ...banned(2, "changed"), before }, banned(3, "kept"), banned(4, "over")];
  const running = { nodeId: node(9), command: "run", machine: "m", pid: 7, here: true };
  const text = renderBanReport(report(all, { runningNodes: [running, { ...running, here: false }] }), pipe);
  assert.deepEqual(text.trimEnd().split("\n"), [
    `${node(1)} is banned until 2026-08-01T10:00:00Z: r\\x07`,
    `${node(2)} is banned until 2026-08-01T10:00:00Z, not only until 2026-07-01T00:00:00Z: r\\x07`,
    `${node(3)} stays banned until 2026-08-01T10:00:00Z, as before: r\\x07`,
    `${node(4)} is not banned: 2026-08-01T10:00:00Z has passed`,
    "1 added, 1 changed, 1 kept, 1 over already; 4 bans in database /x.sqlite of testnet",
    "a ban is never made shorter: to change one, remove it first",
    `node ${node(9).slice(0, 5)} (run, process 7) obeys within a second and drops those it is connected to`,
    `node ${
      node(9).slice(0, 5)
    } (run, process 7 of m), if it still runs, obeys within a second and drops those it is connected to`,
  ]);
  for (const line of renderBanReport(report(all), terminal(80)).split("\n")) assert.ok(line.length <= 80, line);
});

test("renderBanReport: a dry run speaks of what would be, and promises nothing; a long import names no kept ones", () => {
  const dry = renderBanReport(report([banned(1, "added")], { dryRun: true }), pipe);
  assert.match(dry, /would be banned until .*\ndry run, nothing is changed: 1 added; 4 bans in .*\n$/);
  const kept = Array.from({ length: 21 }, (_, i) => banned(i, "kept"));
  assert.equal(
    renderBanReport(report(kept, { action: "import" }), pipe),
    "21 kept; 4 bans in database /x.sqlite of testnet\n",
  );
});

test("renderBanReport: a stellar-core cannot ban who is not connected, and the text says what to do", () => {
  const via = { via: "http://127.0.0.1:11626", database: null };
  const rows = [bareRow(node(1), "added"), bareRow(node(2), "notConnected"), bareRow(node(3), "failed", "b\x1bad")];
  const text = renderBanReport(report(rows, via), pipe);
  assert.match(text, /is banned for ever\n/);
  assert.match(text, /is not banned: that node has no connection with it now\n/);
  assert.match(text, /failed: b\\x1bad\n/);
  assert.match(text, /bans only a peer that is connected: try again when it is, or let it connect first/);
  assert.match(text, /it dropped them, and refuses them from now on\n$/);
});
