import { test } from "node:test";
import assert from "node:assert/strict";
import { ScpTiming } from "./scp_timing.ts";

function timing(): { timing: ScpTiming; firstToSelf: number[]; selfToOther: number[] } {
  const firstToSelf: number[] = [], selfToOther: number[] = [];
  const events = {
    firstToSelf: (ms: number) => void firstToSelf.push(ms),
    selfToOther: (ms: number) => void selfToOther.push(ms),
  };
  return { timing: new ScpTiming(events), firstToSelf, selfToOther };
}

test("ScpTiming measures from the first EXTERNALIZE to ours, and from the first to those after ours", () => {
  const t = timing();
  t.timing.heard(10, 1000);
  t.timing.heard(10, 1040);
  t.timing.externalized(10, 1100);
  t.timing.externalized(10, 1200);
  t.timing.heard(10, 1250);
  t.timing.heard(10, 1400);
  assert.deepEqual([t.firstToSelf, t.selfToOther], [[100], [250, 400]]);
});

test("ScpTiming counts 0 when we are the first, and nothing of slots that were over before", () => {
  const t = timing();
  t.timing.externalized(10, 1000);
  t.timing.heard(10, 1070);
  t.timing.heard(9, 1080);
  t.timing.externalized(8, 1090);
  assert.deepEqual([t.firstToSelf, t.selfToOther], [[0], [70]]);
});

test("ScpTiming follows the 16 highest slots", () => {
  const t = timing();
  for (let slot = 1; slot <= 20; slot++) t.timing.heard(slot, slot);
  t.timing.heard(1, 50);
  for (let slot = 1; slot <= 20; slot++) t.timing.externalized(slot, 100);
  assert.equal(t.firstToSelf.length, 16);
  assert.deepEqual(t.firstToSelf[0], 100 - 5);
});
