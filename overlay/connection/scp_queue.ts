/**
 * Which waiting SCP messages are not worth sending any more. One object serves all peers; it reads node, slot and kind
 * from the bytes, and asks for a comparison only of two statements that can replace each other.
 * Source: stellar-core FlowControl.cpp addMsgAndMaybeTrimQueue, HerderImpl.cpp getMinLedgerSeqToRemember,
 * getMostRecentCheckpointSeq.
 */
import { readUint32 } from "../base/bytes.ts";

/** Slots a node remembers. Source: stellar-core Config.cpp MAX_SLOTS_TO_REMEMBER. */
export const SLOTS_TO_REMEMBER = 12;
/** Ledgers per checkpoint. Source: stellar-core HistoryManager.h. */
export const CHECKPOINT_FREQUENCY = 64;

/** Offsets in an SCP_MESSAGE: its type and the key type are 4 bytes each. */
const NODE_AT = 8;
const SLOT_AT = 40;
const KIND_AT = 48;
const KIND_END = 52;
const NOMINATE = 3;

/** Whether the SCP_MESSAGE `next` holds a newer statement than `old`; both are of one node, slot and kind. */
export type IsNewerScp = (old: Uint8Array, next: Uint8Array) => boolean;

/** The rules of trimming, and where the network stands. */
export class ScpQueueRules {
  readonly #isNewer: IsNewerScp;
  readonly #remembered: number;
  #oldestSlot = 0;
  #keptSlot = 0;

  /** `isNewer`: wire.md section 4. It is called with the same arrays that were enqueued, so it may cache by them. */
  constructor(isNewer: IsNewerScp, options: { slotsToRemember?: number } = {}) {
    this.#isNewer = isNewer;
    this.#remembered = options.slotsToRemember ?? SLOTS_TO_REMEMBER;
  }

  /** Slots below this are forgotten, but for {@link keptSlot}. */
  get oldestSlot(): number {
    return this.#oldestSlot;
  }

  /** First ledger of the current checkpoint: never forgotten. */
  get keptSlot(): number {
    return this.#keptSlot;
  }

  /** The ledger that consensus is at now. */
  track(ledgerSeq: number): void {
    this.#oldestSlot = Math.max(0, ledgerSeq - this.#remembered + 1);
    this.#keptSlot = Math.max(1, ledgerSeq - ledgerSeq % CHECKPOINT_FREQUENCY);
  }

  /** Whether the SCP_MESSAGE is about a slot that nobody remembers. */
  isForgotten(message: Uint8Array): boolean {
    if (this.#oldestSlot === 0 || message.length < KIND_END) return false;
    const slot = readUint32(message, SLOT_AT) * 0x100000000 + readUint32(message, SLOT_AT + 4);
    return slot < this.#oldestSlot && slot !== this.#keptSlot;
  }

  /** Whether `next` makes `old` worthless. */
  replaces(old: Uint8Array, next: Uint8Array): boolean {
    if (old.length < KIND_END || next.length < KIND_END) return false;
    // From the end of the slot to the start of the node: the low bytes differ most often.
    for (let i = KIND_AT - 1; i >= NODE_AT; i--) if (old[i] !== next[i]) return false;
    const oldNominates = readUint32(old, KIND_AT) === NOMINATE, nextNominates = readUint32(next, KIND_AT) === NOMINATE;
    return oldNominates === nextNominates && this.#isNewer(old, next);
  }
}
