import assert from "node:assert/strict";
import { test } from "node:test";
import { ProcessedEnvelopes } from "./processed_envelopes.ts";

test("ProcessedEnvelopes remembers by slot, within a range", () => {
  const processed = new ProcessedEnvelopes();
  for (const slot of [1, 5, 6, 7]) for (const id of ["a", "b", "a"]) processed.add(slot, `${id}${slot}`);
  assert.equal(processed.size, 8);
  assert.deepEqual([processed.has(5, "a5"), processed.has(5, "a6"), processed.has(9, "a9")], [true, false, false]);
  processed.keepOnly({ min: 6, max: 100, keep: 1 });
  assert.deepEqual([1, 5, 6, 7].map((slot) => processed.has(slot, `b${slot}`)), [true, false, true, true]);
  assert.equal(processed.size, 6);
});

test("ProcessedEnvelopes holds no more than its bound: the lowest slot goes", () => {
  const processed = new ProcessedEnvelopes(4);
  for (let n = 0; n < 3; n++) processed.add(10, `${n}`);
  processed.add(11, "x");
  processed.add(12, "y");
  assert.deepEqual([processed.size, processed.has(10, "0"), processed.has(11, "x"), processed.has(12, "y")], [
    2,
    false,
    true,
    true,
  ]);
  for (let n = 0; n < 100; n++) processed.add(13, `${n}`);
  assert.ok(processed.size <= 4);
});
