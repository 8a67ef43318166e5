/**
 * How late a node externalizes after the first of the others, and the others after the node: the two SCP latencies of a survey's
 * answer. Source: stellar-core HerderSCPDriver.cpp recordSCPExternalizeEvent; survey.md section 8.
 */

/** Whom the measurements go to. */
export interface ScpTimingEvents {
  /** First EXTERNALIZE of a slot → own. */
  firstToSelf(ms: number): void;
  /** First EXTERNALIZE of a slot → one that came after our own; upstream too measures from the first. */
  selfToOther(ms: number): void;
}

/** Slots followed. They are those near the tracked one, unless the node hears of nothing else. */
const MAX_SLOTS = 16;

/**
 * See the head of this file. A node without consensus of its own has externalized a slot when it tracks it: when more than half
 * of the validators it hears have, or when the program that follows the ledger says so; one that broadcasts an EXTERNALIZE of
 * its own, when it does.
 */
export class ScpTiming {
  readonly #events: ScpTimingEvents;
  /** BOUNDED: {@link MAX_SLOTS}, the lowest goes first. */
  readonly #slots = new Map<number, { firstMs: number; self: boolean }>();
  /** The highest slot that was externalized here. */
  #latest = -1;

  constructor(events: ScpTimingEvents) {
    this.#events = events;
  }

  /** A good EXTERNALIZE of another node came. */
  heard(slot: number, nowMs: number): void {
    const known = this.#slot(slot, nowMs);
    if (known?.self) this.#events.selfToOther(nowMs - known.firstMs);
  }

  /** This node externalized a slot. Only the first time counts. */
  externalized(slot: number, nowMs: number): void {
    const known = this.#slot(slot, nowMs);
    if (known === undefined || known.self) return;
    known.self = true;
    this.#latest = Math.max(this.#latest, slot);
    this.#events.firstToSelf(nowMs - known.firstMs);
  }

  #slot(slot: number, nowMs: number): { firstMs: number; self: boolean } | undefined {
    const known = this.#slots.get(slot);
    if (known !== undefined) return known;
    // What is said of slots that were over before we came measures nothing.
    if (slot <= this.#latest) return undefined;
    if (this.#slots.size >= MAX_SLOTS) {
      const lowest = Math.min(...this.#slots.keys());
      if (slot < lowest) return undefined;
      this.#slots.delete(lowest);
    }
    const fresh = { firstMs: nowMs, self: false };
    this.#slots.set(slot, fresh);
    return fresh;
  }
}
