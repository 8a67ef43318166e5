import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMIT_LINES, LIMIT_WINDOW_MS, LogLimit } from "./log_limit.ts";

test("LogLimit lets a number of lines of each kind through per window, and tells what it left out", () => {
  const limit = new LogLimit();
  const allowed = Array.from({ length: LIMIT_LINES + 5 }, () => limit.allows("refused", 0)).filter(Boolean);
  assert.equal(allowed.length, LIMIT_LINES);
  assert.equal(limit.allows("dropped", 0), true, "other kinds go on");
  assert.deepEqual(limit.take(LIMIT_WINDOW_MS - 1), []);
  assert.deepEqual(limit.take(LIMIT_WINDOW_MS), [{ what: "refused", count: 5, periodMs: LIMIT_WINDOW_MS }]);
  assert.equal(limit.allows("refused", LIMIT_WINDOW_MS), true);
  assert.deepEqual(limit.take(3 * LIMIT_WINDOW_MS), []);
});
