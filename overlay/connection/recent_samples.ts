/** The latest samples of a quantity, for percentiles. Source: stellar-core Peer.h PEER_METRICS_WINDOW_SIZE (medida timers). */

/** Samples older than this are forgotten, ms. */
export const SAMPLE_WINDOW_MS = 300_000;
/** Most samples kept; of a busier quantity the latest count. */
const MAX_SAMPLES = 128;

/**
 * Percentiles over the samples of the last 300 s. Upstream estimates them over all samples of that window; we take the
 * exact percentile of the latest 128. BOUNDED: 128 pairs of numbers.
 */
export class RecentSamples {
  /** Pairs of time and value; a ring once it has its full size. Absent until the first: most connections are short. */
  #pairs: number[] | null = null;
  /** Where the next pair goes in a full ring. */
  #next = 0;
  /** Samples ever added. */
  count = 0;

  add(nowMs: number, value: number): void {
    this.count++;
    const pairs = this.#pairs;
    if (pairs === null) this.#pairs = [nowMs, value];
    else if (pairs.length < 2 * MAX_SAMPLES) pairs.push(nowMs, value);
    else {
      pairs[this.#next] = nowMs;
      pairs[this.#next + 1] = value;
      this.#next = (this.#next + 2) % (2 * MAX_SAMPLES);
    }
  }

  /** The value that a share `p` (0 to 1) of the samples does not exceed; 0 without samples. Those before `sinceMs` do not count. */
  percentile(p: number, nowMs: number, sinceMs = -Infinity): number {
    const fresh: number[] = [];
    const pairs = this.#pairs ?? [];
    for (let i = 0; i < pairs.length; i += 2) {
      if (nowMs - pairs[i] < SAMPLE_WINDOW_MS && pairs[i] >= sinceMs) fresh.push(pairs[i + 1]);
    }
    if (fresh.length === 0) return 0;
    fresh.sort((a, b) => a - b);
    return fresh[Math.min(fresh.length - 1, Math.max(0, Math.ceil(p * fresh.length) - 1))];
  }
}
