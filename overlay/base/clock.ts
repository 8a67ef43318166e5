/** Time as a port: the system's, or a virtual one that a test or a simulation moves. */

/** A timer that has not fired yet. Cancelling it again, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/** Where the engine takes time from. Durations use {@link nowMs}; certificates and stored times use {@link wallMs}. */
export interface Clock {
  /** Milliseconds on a monotonic clock, with fractions. Its zero has no meaning. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch, as far as this machine knows. */
  wallMs(): number;
  /** Calls `fire` once, `delayMs` from now. */
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer(delayMs, fire) {
    const handle = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs` on `clock`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(delayMs, resolve));
}

interface Entry {
  atMs: number;
  order: number;
  fire: (() => void) | null;
}

/**
 * A clock that stands still until it is told to advance. Timers fire in order of their time, then of their making. Between
 * two timers all pending promise reactions run, so asynchronous code sees every instant as it would in real time.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #waiting = 0;
  readonly #epochMs: number;
  /** Binary heap by (atMs, order). */
  readonly #heap: Entry[] = [];

  /** `epochMs` is the wall time at the virtual zero; the default is 2026-01-01T00:00:00Z. */
  constructor(options: { epochMs?: number } = {}) {
    this.#epochMs = options.epochMs ?? Date.UTC(2026, 0, 1);
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#epochMs + this.#nowMs;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const entry: Entry = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire };
    this.#push(entry);
    this.#waiting++;
    return {
      cancel: () => {
        if (entry.fire !== null) this.#waiting--;
        entry.fire = null;
      },
    };
  }

  /** Timers that will fire: how a test sees that nobody left one behind. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Timers held: those {@link waiting}, and cancelled ones until their time passes. */
  get pending(): number {
    return this.#heap.length;
  }

  /** Moves time forward by `ms`, firing what falls due on the way. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    while (this.#heap.length > 0 && this.#heap[0].atMs <= untilMs) await this.#fireNext();
    this.#nowMs = untilMs;
  }

  /**
   * Moves time forward until `promise` settles, and gives its result. Throws RangeError when nothing is left to fire, or
   * when more than `limitMs` of virtual time passed.
   */
  async run<T>(promise: Promise<T>, options: { limitMs?: number } = {}): Promise<T> {
    const untilMs = this.#nowMs + (options.limitMs ?? 24 * 3600_000);
    let settled = false;
    const watched = promise.finally(() => void (settled = true));
    watched.catch(() => {});
    await settle();
    while (!settled) {
      if (this.#heap.length === 0) throw new RangeError("nothing left to fire, and the promise is still pending");
      if (this.#heap[0].atMs > untilMs) throw new RangeError("virtual time limit reached");
      await this.#fireNext();
    }
    return await watched;
  }

  async #fireNext(): Promise<void> {
    const entry = this.#pop();
    const { fire } = entry;
    if (fire === null) return;
    entry.fire = null;
    this.#waiting--;
    this.#nowMs = Math.max(this.#nowMs, entry.atMs);
    fire();
    await settle();
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(heap[i], heap[parent])) break;
      [heap[i], heap[parent]] = [heap[parent], heap[i]];
      i = parent;
    }
  }

  #pop(): Entry {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      let i = 0;
      while (true) {
        const left = 2 * i + 1, right = left + 1;
        let least = i;
        if (left < heap.length && before(heap[left], heap[least])) least = left;
        if (right < heap.length && before(heap[right], heap[least])) least = right;
        if (least === i) break;
        [heap[i], heap[least]] = [heap[least], heap[i]];
        i = least;
      }
    }
    return top;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Lets every pending promise reaction run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
