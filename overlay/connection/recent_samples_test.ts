import { test } from "node:test";
import assert from "node:assert/strict";
import { RecentSamples, SAMPLE_WINDOW_MS } from "./recent_samples.ts";

test("RecentSamples gives percentiles of what was added, and 0 without samples", () => {
  const samples = new RecentSamples();
  assert.equal(samples.percentile(0.75, 0), 0);
  for (const value of [40, 10, 30, 20]) samples.add(0, value);
  assert.deepEqual([0, 0.25, 0.5, 0.75, 1].map((p) => samples.percentile(p, 0)), [10, 10, 20, 30, 40]);
  assert.equal(samples.count, 4);
});

test("RecentSamples forgets what is older than its window", () => {
  const samples = new RecentSamples();
  samples.add(0, 100);
  samples.add(1000, 5);
  assert.equal(samples.percentile(1, SAMPLE_WINDOW_MS - 1), 100);
  assert.equal(samples.percentile(1, SAMPLE_WINDOW_MS), 5);
  assert.equal(samples.percentile(1, SAMPLE_WINDOW_MS + 1000), 0);
});

test("RecentSamples keeps the latest 128", () => {
  const samples = new RecentSamples();
  for (let i = 0; i < 1000; i++) samples.add(i, i);
  assert.deepEqual([samples.percentile(0, 999), samples.percentile(1, 999), samples.count], [872, 999, 1000]);
});
