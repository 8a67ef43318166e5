import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { levelOf, LEVELS, type NodeStatus, type RunEvent, shows } from "../run/events.ts";
import { logJson, logText, statusLine } from "./run.ts";
import { paint } from "./style.ts";

const NODE = "GDVRELFXHQJJ22MWNWIFVI46SUIBBVWZIJWBKVAVMWVSVHGMHUGOKL72";
const AT = Date.UTC(2026, 0, 2, 3, 4, 5, 6);
const HOSTILE = "v1\x1b[2J\n2026-01-01T00:00:00.000Z error \udc80";
const STATUS: NodeStatus = {
  outbound: 8,
  inbound: 61,
  pending: 3,
  ledger: 61_234_567,
  inSync: true,
  messagesPerSecond: 412.34,
  messagesRead: 1_000_000,
  messagesWritten: 900_000,
  bytesRead: 5_000_000_000,
  bytesWritten: 4_000_000_000,
  uptimeMs: 47 * 60_000,
};

/** One of each. A type that is missing here fails the test below. */
const EVENTS: { [E in RunEvent["event"]]: Extract<RunEvent, { event: E }> } = {
  starting: {
    event: "starting",
    version: "0.1.0",
    network: "testnet",
    networkId: "ce".repeat(32),
    nodeId: NODE,
    identity: "fresh",
    identityFile: null,
    mode: "watcher",
    listen: "0.0.0.0:11625",
    announcedPort: 11625,
    dials: true,
    targetPeers: 8,
    maxInbound: 64,
    knownPeers: ["a:1", "b:2", "c:3", "d:4"],
    preferredPeers: ["e:5"],
    database: "/data/testnet.sqlite",
    addresses: 12,
    bans: 1,
  },
  warning: { event: "warning", text: HOSTILE },
  metrics: { event: "metrics", url: "http://127.0.0.1:11627/" },
  status: { event: "status", ...STATUS },
  suppressed: { event: "suppressed", what: "refused", count: 5, periodMs: 10_000 },
  linesLost: { event: "linesLost", count: 1 },
  bansReread: { event: "bansReread", bans: 2, changed: true },
  failed: { event: "failed", code: "db_failed", detail: "database x: the disk is full", hint: "check the disk" },
  ending: { event: "ending", reason: "interrupted" },
  stopped: { event: "stopped", reason: "interrupted", authenticatedOutbound: 20, authenticatedInbound: 70, ...STATUS },
  banned: { event: "banned", nodeId: NODE, untilAt: AT, reason: HOSTILE },
  unbanned: { event: "unbanned", nodeId: NODE, expired: true },
  syncLost: { event: "syncLost", ledgerSeq: 7, silentMs: 35_000 },
  syncGained: { event: "syncGained", ledgerSeq: 9, outOfSyncMs: 1000 },
  ledgerLimits: {
    event: "ledgerLimits",
    limits: {
      maxTxSetSizeOps: 1000,
      sorobanLedgerMaxTxCount: 100,
      closeTimeMs: 5000,
      sorobanTxMaxBytes: 132_096,
      protocolVersion: 28,
    },
  },
  databaseFailed: { event: "databaseFailed", failure: { code: "db_failed", path: "x", reason: "the disk is full" } },
  surveyStarted: { event: "surveyStarted", nonce: 0xbeef, surveyorId: NODE, ledgerNum: 7, from: NODE },
  surveyStopped: { event: "surveyStopped", nonce: 0xbeef, surveyorId: NODE, by: "time", inbound: 61, outbound: 8 },
  surveyEnded: { event: "surveyEnded", nonce: 0xbeef, surveyorId: NODE },
  surveyAnswered: {
    event: "surveyAnswered",
    nonce: 0xbeef,
    surveyorId: NODE,
    ledgerNum: 7,
    inboundIndex: 25,
    outboundIndex: 0,
    inbound: 25,
    outbound: 8,
  },
  surveyIgnored: {
    event: "surveyIgnored",
    message: "request",
    from: NODE,
    surveyorId: NODE,
    surveyedId: NODE,
    nonce: 0xbeef,
    ledgerNum: 7,
    reason: "limited",
  },
  stopping: { event: "stopping" },
  listening: { event: "listening", address: "0.0.0.0:11625" },
  dialing: { event: "dialing", address: "1.2.3.4:11625", reason: "3 outbound slots are free" },
  dialFailed: {
    event: "dialFailed",
    address: "1.2.3.4:11625",
    failure: { code: "connect_refused", address: "1.2.3.4:11625" },
  },
  authenticated: {
    event: "authenticated",
    address: "1.2.3.4:11625",
    nodeId: NODE,
    role: "weCalledRemote",
    versionStr: HOSTILE,
  },
  dropped: {
    event: "dropped",
    address: "1.2.3.4:11625",
    nodeId: NODE,
    by: "remote",
    reason: `ERR_MISC (${HOSTILE})`,
    failure: { code: "dropped_by_remote", errorCode: "ERR_MISC", text: HOSTILE, stage: "live" },
  },
  refused: { event: "refused", address: "1.2.3.4:5000", reason: "all 444 pending inbound slots are taken" },
  resolveFailed: {
    event: "resolveFailed",
    address: "core.example.org:11625",
    failure: { code: "dns_failed", host: "core.example.org", reason: "ENOTFOUND" },
  },
};

test("logText: every event is lines of time, level and sentence; text of remotes cannot break or forge a line", () => {
  for (const event of Object.values(EVENTS)) {
    const text = logText(event, AT, paint(false));
    assert.ok(text.endsWith("\n"), event.event);
    for (const line of text.slice(0, -1).split("\n")) {
      assert.match(line, /^2026-01-02T03:04:05\.006Z (error|warn |info |debug) \S/, event.event);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(line, /[\x00-\x1f\x7f]|undefined|\[object/, event.event);
    }
  }
  assert.match(logText(EVENTS.dropped, AT, paint(false)), /info {2}GDVRE at 1\.2\.3\.4:11625 left: ERR_MISC \(v1\\x1b/);
});

test("logText colours levels only", () => {
  for (const event of Object.values(EVENTS)) {
    assert.equal(stripVTControlCharacters(logText(event, AT, paint(true))), logText(event, AT, paint(false)));
  }
});

test("logJson: every event is one line of valid JSON with schema, type, time, level and its own fields", () => {
  for (const event of Object.values(EVENTS)) {
    const text = logJson(event, AT);
    assert.equal(text.indexOf("\n"), text.length - 1);
    assert.ok(text.isWellFormed());
    const { schema, type, at, level, ...fields } = JSON.parse(text);
    assert.deepEqual([schema, type, at], ["stellar-overlay/run/1", event.event, "2026-01-02T03:04:05.006Z"]);
    assert.ok(LEVELS.includes(level));
    const { event: _, ...own } = event;
    const names = Object.keys(own).flatMap((name) => name === "failure" ? ["code", "detail", "remoteText"] : [name]);
    assert.deepEqual(Object.keys(fields), names);
  }
  const dropped = JSON.parse(logJson(EVENTS.dropped, AT));
  assert.deepEqual([dropped.code, dropped.remoteText], ["dropped_by_remote", HOSTILE.toWellFormed()]);
  assert.match(dropped.detail, /^the peer ended the connection: ERR_MISC/);
  assert.equal(JSON.parse(logJson(EVENTS.banned, AT)).untilAt, "2026-01-02T03:04:05.006Z");
  assert.equal(JSON.parse(logJson(EVENTS.authenticated, AT)).versionStr, HOSTILE.toWellFormed());
});

test("an event of a newer engine has a text form, at level info", () => {
  const event = { event: "novelty", text: HOSTILE, n: 3, list: [1] } as unknown as RunEvent;
  assert.equal(levelOf(event), "info");
  assert.match(logText(event, AT, paint(false)), /^\S+ info {2}novelty text=v1\\x1b\[2J\\x0a.* n=3 list=\[1\]\n$/);
});

test("statusLine fits any width, and says as much as it can", () => {
  assert.equal(
    statusLine(STATUS, 120),
    "8 outbound, 61 inbound, 3 pending; ledger 61234567; 412.3 messages/s; up 47 min",
  );
  assert.equal(statusLine(STATUS, 78), "8 out 61 in 3 pend | #61234567 | 412 msg/s | 47 min");
  assert.equal(statusLine(STATUS, 30), "8 out 61 in 3 pend | #61234567");
  assert.equal(statusLine(STATUS, 20), "8 out 61 in 3 pend");
  assert.equal(statusLine(STATUS, 8), "8/61/3");
  assert.equal(statusLine({ ...STATUS, ledger: null }, 35), "8 out 61 in 3 pend | no ledger");
  assert.match(statusLine({ ...STATUS, inSync: false }, 120), /ledger 61234567 \(out of sync\)/);
  for (let width = 0; width < 130; width++) assert.ok(statusLine(STATUS, width).length <= width);
});

test("shows: a level shows itself and what matters more", () => {
  assert.deepEqual(LEVELS.filter((level) => shows("warn", level)), ["error", "warn"]);
  assert.equal(shows("debug", "debug"), true);
});
