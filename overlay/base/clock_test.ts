import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { sleep, systemClock, VirtualClock } from "./clock.ts";

test("VirtualClock stands still, and advances by what it is told", async () => {
  const clock = new VirtualClock({ epochMs: 1000 });
  assert.deepEqual([clock.nowMs(), clock.wallMs()], [0, 1000]);
  await clock.advance(250.5);
  assert.deepEqual([clock.nowMs(), clock.wallMs()], [250.5, 1250.5]);
  assert.equal(new VirtualClock().wallMs(), Date.parse("2026-01-01T00:00:00Z"));
});

test("VirtualClock fires timers at their time, then in order of their making", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: -5, max: 50 }), { maxLength: 60 }), async (delays) => {
      const clock = new VirtualClock();
      const fired: [number, number][] = [];
      delays.forEach((delayMs, i) => clock.setTimer(delayMs, () => fired.push([clock.nowMs(), i])));
      await clock.advance(50);
      const expected = delays.map((delayMs, i): [number, number] => [Math.max(0, delayMs), i]);
      assert.deepEqual(fired, expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]));
      assert.equal(clock.pending, 0);
    }),
    { numRuns: 30 },
  );
});

test("VirtualClock fires on the limit, not after it", async () => {
  const clock = new VirtualClock();
  let fired = 0;
  clock.setTimer(100, () => fired++);
  await clock.advance(99);
  assert.equal(fired, 0);
  await clock.advance(1);
  assert.equal(fired, 1);
});

test("VirtualClock forgets a cancelled timer, however often it is cancelled", async () => {
  const clock = new VirtualClock();
  let fired = 0;
  const timer = clock.setTimer(10, () => fired++);
  timer.cancel();
  timer.cancel();
  const done = clock.setTimer(5, () => fired++);
  await clock.advance(20);
  done.cancel();
  assert.equal(fired, 1);
  assert.equal(clock.pending, 0);
});

test("VirtualClock lets promise reactions run between two timers", async () => {
  const clock = new VirtualClock();
  const seen: string[] = [];
  clock.setTimer(10, () => void Promise.resolve().then(() => Promise.resolve()).then(() => seen.push("reaction")));
  clock.setTimer(10, () => void seen.push("timer"));
  await clock.advance(10);
  assert.deepEqual(seen, ["reaction", "timer"]);
});

test("VirtualClock fires timers that timers made, on the way", async () => {
  const clock = new VirtualClock();
  const at: number[] = [];
  const again = () => {
    at.push(clock.nowMs());
    if (at.length < 5) clock.setTimer(10, again);
  };
  clock.setTimer(10, again);
  await clock.advance(35);
  assert.deepEqual(at, [10, 20, 30]);
  await clock.advance(100);
  assert.deepEqual(at, [10, 20, 30, 40, 50]);
});

test("VirtualClock.run gives the result and stops there", async () => {
  const clock = new VirtualClock();
  clock.setTimer(10_000, () => assert.fail("not reached"));
  assert.equal(await clock.run(sleep(clock, 500).then(() => "done")), "done");
  assert.equal(clock.nowMs(), 500);
  await assert.rejects(clock.run(sleep(clock, 5).then(() => Promise.reject(new TypeError("mine")))), /mine/);
});

test("VirtualClock.run ends when nothing can settle the promise, and at its limit", async () => {
  const clock = new VirtualClock();
  await assert.rejects(clock.run(new Promise(() => {})), /nothing left to fire/);
  const tick = () => void clock.setTimer(10, tick);
  tick();
  await assert.rejects(clock.run(new Promise(() => {}), { limitMs: 1000 }), /limit/);
  assert.ok(clock.nowMs() <= 1000);
});

test("systemClock moves forward, fires once, and forgets what was cancelled", async () => {
  const before = systemClock.nowMs();
  let fired = 0;
  systemClock.setTimer(5, () => fired++);
  const cancelled = systemClock.setTimer(5, () => fired += 10);
  cancelled.cancel();
  await sleep(systemClock, 20);
  assert.equal(fired, 1);
  assert.ok(systemClock.nowMs() - before >= 15);
  assert.ok(Math.abs(systemClock.wallMs() - Date.now()) < 1000);
});

test("VirtualClock.waiting counts the timers that will fire, each once", async () => {
  const clock = new VirtualClock();
  const first = clock.setTimer(10, () => {});
  const second = clock.setTimer(20, () => void clock.setTimer(100, () => {}));
  assert.equal(clock.waiting, 2);
  first.cancel();
  first.cancel();
  assert.deepEqual([clock.waiting, clock.pending], [1, 2]);
  await clock.advance(20);
  assert.equal(clock.waiting, 1);
  second.cancel();
  assert.equal(clock.waiting, 1);
  await clock.advance(100);
  assert.deepEqual([clock.waiting, clock.pending], [0, 0]);
});
