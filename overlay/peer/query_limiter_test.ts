import { test } from "node:test";
import assert from "node:assert/strict";
import { PeerQueryLimits, queriesPerWindow, QueryLimiter, queryWindowMs } from "./query_limiter.ts";

test("QueryLimiter answers up to its limit, then again in the next window", () => {
  const limiter = new QueryLimiter(10, 60_000);
  const allowed = (n: number, nowMs: number) =>
    Array.from({ length: n }, () => limiter.allow(nowMs)).filter(Boolean).length;
  assert.equal(allowed(10, 1000), 10);
  assert.equal(allowed(5, 60_999), 0);
  assert.equal(allowed(1, 61_000), 1);
  assert.equal(allowed(20, 61_001), 9);
});

test("QueryLimiter starts a window with the first query after the previous one ended", () => {
  const limiter = new QueryLimiter(1, 1000);
  assert.ok(limiter.allow(0));
  assert.ok(limiter.allow(5500));
  assert.ok(!limiter.allow(6499));
  assert.ok(limiter.allow(6500));
});

test("queryWindowMs is twelve ledgers in whole seconds, with five answers for each of them", () => {
  assert.deepEqual([queryWindowMs(5000), queriesPerWindow(5000)], [60_000, 300]);
  assert.deepEqual([queryWindowMs(4333), queriesPerWindow(4333)], [51_000, 255]);
});

test("PeerQueryLimits counts each kind for itself and follows the close time", () => {
  const limits = new PeerQueryLimits();
  const count = (ask: () => boolean) => Array.from({ length: 400 }, ask).filter(Boolean).length;
  assert.equal(count(() => limits.allowTxSet(0, 5000)), 300);
  assert.equal(count(() => limits.allowQuorumSet(0, 5000)), 300);
  assert.equal(count(() => limits.allowScpState(0, 5000)), 10);
  assert.equal(count(() => limits.allowTxSet(48_000, 5000)), 0);
  assert.equal(count(() => limits.allowTxSet(48_000, 4000)), 240); // windows are 48 s now
});

test("scenario: GET_SCP_STATE rate limiting", () => {
  const limits = new PeerQueryLimits();
  const ask = (n: number, nowMs: number) =>
    Array.from({ length: n }, () => limits.allowScpState(nowMs, 5000)).filter(Boolean).length;
  assert.equal(ask(10, 0), 10);
  assert.equal(ask(5, 1000), 0);
  assert.equal(limits.scpStateAllowed, 10);
  assert.equal(ask(1, 61_000), 1);
  assert.equal(limits.scpStateAllowed, 1);
});
