import { test } from "node:test";
import assert from "node:assert/strict";
import { QueryLimiter } from "./query_limiter.ts";

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
