/** A bound on log lines: strangers cause some kinds of events at will, and no disk is large enough for that. Pure. */

/** Length of a window, ms. */
export const LIMIT_WINDOW_MS = 10_000;
/** Lines of one kind per window. */
export const LIMIT_LINES = 100;

/** Counts lines per kind and window. BOUNDED: by the number of kinds, which are names in the source. */
export class LogLimit {
  readonly #windows = new Map<string, { startedMs: number; lines: number; suppressed: number }>();

  /** Whether one more line of `kind` may be written at `nowMs`. */
  allows(kind: string, nowMs: number): boolean {
    let window = this.#windows.get(kind);
    if (window === undefined) this.#windows.set(kind, window = { startedMs: nowMs, lines: 0, suppressed: 0 });
    if (window.lines < LIMIT_LINES) {
      window.lines++;
      return true;
    }
    window.suppressed++;
    return false;
  }

  /** Ends the windows that are over, and tells what they suppressed. Call it every second or so. */
  take(nowMs: number): { what: string; count: number; periodMs: number }[] {
    const told: { what: string; count: number; periodMs: number }[] = [];
    for (const [kind, window] of this.#windows) {
      const periodMs = nowMs - window.startedMs;
      if (periodMs < LIMIT_WINDOW_MS) continue;
      this.#windows.delete(kind);
      if (window.suppressed > 0) told.push({ what: kind, count: window.suppressed, periodMs });
    }
    return told;
  }
}
