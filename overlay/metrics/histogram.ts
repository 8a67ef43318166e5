/**
 * Distributions in fixed buckets: since the start for Prometheus, and over the last five minutes for percentiles.
 * Source: the timers of stellar-core's medida, whose peer latencies use a window of 300 s (Peer.h).
 */

/** Span of the percentiles. Source: stellar-core Peer.h, the window of its peer latency histograms. */
export const WINDOW_MS = 300_000;
/** The window moves in steps of this. */
const SLICE_MS = 30_000;
const SLICES = WINDOW_MS / SLICE_MS;

/** Six buckets per decade keep a percentile within about 20 % of the truth; three of them are exported. */
const STEPS = [1, 1.5, 2, 3, 5, 7];
const EXPORTED = new Set([1, 2, 5]);

/** Upper bounds of the buckets from 0.1 to 100,000 (ms: 100 us to 100 s). Values above fall into the last, unbounded one. */
export const BOUNDS: readonly number[] = [-1, 0, 1, 2, 3, 4]
  .flatMap((decade) => STEPS.map((step) => Number(`${step}e${decade}`))).concat(100_000);

/** Indexes into {@link BOUNDS} of those that an exposition shows. */
export const EXPORTED_BOUNDS: readonly number[] = BOUNDS.flatMap((bound, i) =>
  i === BOUNDS.length - 1 || EXPORTED.has(STEPS[i % STEPS.length]) && bound > 0 ? [i] : []
);

/** What a histogram says about its window, in its own unit; all zero when nothing was observed. */
export interface HistogramSummary {
  /** Values since the start. */
  count: number;
  /** Their sum. */
  sum: number;
  /** Values inside the window; the rest is about these. */
  windowCount: number;
  max: number;
  p50: number;
  p75: number;
  p95: number;
  p99: number;
}

interface Slice {
  /** Which step of time it holds, or -1. */
  step: number;
  count: number;
  max: number;
  readonly buckets: number[];
}

/** One distribution. BOUNDED: eleven arrays of numbers. */
export class Histogram {
  /** Values per bucket since the start; the last is of those above all bounds. */
  readonly buckets: number[] = emptyBuckets();
  count = 0;
  sum = 0;
  readonly #slices: Slice[] = Array.from(
    { length: SLICES },
    () => ({ step: -1, count: 0, max: 0, buckets: emptyBuckets() }),
  );

  /** Adds one value. `nowMs` is of the monotonic clock. A negative value counts as 0; what is no number is left out. */
  observe(value: number, nowMs: number): void {
    if (!(value < Infinity)) return;
    const counted = Math.max(0, value);
    const bucket = bucketOf(counted);
    this.buckets[bucket]++;
    this.count++;
    this.sum += counted;
    const step = Math.floor(nowMs / SLICE_MS);
    const slice = this.#slices[((step % SLICES) + SLICES) % SLICES];
    if (slice.step !== step) {
      slice.step = step;
      slice.count = slice.max = 0;
      slice.buckets.fill(0);
    }
    slice.count++;
    slice.buckets[bucket]++;
    if (counted > slice.max) slice.max = counted;
  }

  /** Count and sum since the start, percentiles of the last five minutes. */
  summary(nowMs: number): HistogramSummary {
    const step = Math.floor(nowMs / SLICE_MS);
    const merged = emptyBuckets();
    let windowCount = 0, max = 0;
    for (const slice of this.#slices) {
      if (slice.step < 0 || slice.step <= step - SLICES) continue;
      windowCount += slice.count;
      max = Math.max(max, slice.max);
      for (let i = 0; i < merged.length; i++) merged[i] += slice.buckets[i];
    }
    const at = (share: number) => percentile(merged, windowCount, max, share);
    const { count, sum } = this;
    return { count, sum, windowCount, max, p50: at(0.5), p75: at(0.75), p95: at(0.95), p99: at(0.99) };
  }
}

function emptyBuckets(): number[] {
  return new Array(BOUNDS.length + 1).fill(0);
}

/** Index of the first bound that is not below `value`. */
function bucketOf(value: number): number {
  let low = 0, high = BOUNDS.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (BOUNDS[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The value below which `share` of all lie, as if each bucket were filled evenly; never above the largest value seen. */
function percentile(buckets: number[], count: number, max: number, share: number): number {
  if (count === 0) return 0;
  const wanted = share * count;
  let below = 0;
  for (let i = 0; i < buckets.length; i++) {
    if (buckets[i] > 0 && below + buckets[i] >= wanted) {
      const low = i === 0 ? 0 : BOUNDS[i - 1], high = Math.min(max, BOUNDS[i] ?? max);
      return Math.min(max, low + (Math.max(low, high) - low) * ((wanted - below) / buckets[i]));
    }
    below += buckets[i];
  }
  return max;
}
