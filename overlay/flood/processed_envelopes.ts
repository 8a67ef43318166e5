/**
 * SCP messages that were handed on already: one that comes again, as an answer to GET_SCP_STATE or after its flood record was
 * cleared, is not relayed once more. Source: the processed set of stellar-core PendingEnvelopes.cpp.
 */
import type { FloodId } from "./floodgate.ts";
import { inSlotRange, type SlotRange } from "./tracker.ts";

/** Ids kept. Pubnet's remembered slots have about ten thousand. */
const MAX_IDS = 100_000;

/** See the head of this file. */
export class ProcessedEnvelopes {
  readonly #maxIds: number;
  /** By slot. BOUNDED: `maxIds`, then the lowest slot goes; also {@link keepOnly}. */
  readonly #bySlot = new Map<number, Set<FloodId>>();
  #size = 0;

  constructor(maxIds: number = MAX_IDS) {
    this.#maxIds = maxIds;
  }

  /** Ids held. */
  get size(): number {
    return this.#size;
  }

  /** Whether the message was handed on. */
  has(slot: number, id: FloodId): boolean {
    return this.#bySlot.get(slot)?.has(id) ?? false;
  }

  /** Notes that it is handed on now. */
  add(slot: number, id: FloodId): void {
    let ids = this.#bySlot.get(slot);
    if (ids?.has(id)) return;
    if (this.#size >= this.#maxIds) this.#forget(Math.min(...this.#bySlot.keys()));
    ids = this.#bySlot.get(slot);
    if (ids === undefined) this.#bySlot.set(slot, ids = new Set());
    ids.add(id);
    this.#size++;
  }

  /** Forgets the other slots. */
  keepOnly(range: SlotRange): void {
    for (const slot of this.#bySlot.keys()) if (!inSlotRange(slot, range)) this.#forget(slot);
  }

  clear(): void {
    this.#bySlot.clear();
    this.#size = 0;
  }

  #forget(slot: number): void {
    this.#size -= this.#bySlot.get(slot)?.size ?? 0;
    this.#bySlot.delete(slot);
  }
}
