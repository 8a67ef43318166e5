/**
 * Which transaction set each ledger closed with, by the word of validators: pure bookkeeping over EXTERNALIZE statements
 * whose signatures the engine has checked.
 */
import type { ScpEnvelope } from "../../overlay/wire/types.ts";
import { decodeStellarValue } from "../../overlay/wire/types.ts";
import { type HashText, hashText } from "../../overlay/flood/tx_adverts_hashes.ts";

/** Ledgers looked at together; older ones go first. */
const MAX_SLOTS = 64;
/** Validators heard about one ledger. */
const MAX_VOICES = 2000;

/** A ledger the network closed. */
export interface ClosedLedger {
  sequence: number;
  /** Unix seconds. */
  closeTime: bigint;
  /** Null for a ledger that agreed on no transaction set (protocol 28). */
  txSetHash: HashText | null;
  /** Validators that said so. */
  validators: number;
}

interface Slot {
  /** What each validator externalized. BOUNDED: {@link MAX_VOICES}. */
  readonly voices: Map<HashText, string>;
  readonly values: Map<string, { closeTime: bigint; txSetHash: HashText | null }>;
  told: boolean;
}

/** See the head of this file. */
export class LedgerBoard {
  /** BOUNDED: {@link MAX_SLOTS}. */
  readonly #slots = new Map<number, Slot>();
  readonly #counts: ((nodeId: HashText) => boolean) | undefined;

  /** `ledgerNodes`: whose word counts, 32 bytes each; everybody's when empty. */
  constructor(ledgerNodes: readonly Uint8Array[] = []) {
    const nodes = new Set(ledgerNodes.map(hashText));
    this.#counts = nodes.size === 0 ? undefined : (nodeId) => nodes.has(nodeId);
  }

  /**
   * Takes a statement; `tracking` is the highest ledger that enough validators closed (`OverlayManager.ledgerSeq`). Returns
   * the ledgers that are decided now, each once: those up to `tracking` where more than half of the validators that
   * externalized agree on a value.
   */
  hear({ statement }: ScpEnvelope, tracking: number | undefined): ClosedLedger[] {
    const { nodeId, slotIndex, pledges } = statement;
    const node = hashText(nodeId);
    if (pledges.type === "externalize" && this.#counts?.(node) !== false) {
      this.#note(Number(slotIndex), node, pledges.externalize.commit.value);
    }
    if (tracking === undefined) return [];
    const closed: ClosedLedger[] = [];
    for (const [sequence, slot] of this.#slots) {
      if (slot.told || sequence > tracking) continue;
      const decided = majority(slot);
      if (decided === undefined) continue;
      slot.told = true;
      closed.push({ sequence, ...slot.values.get(decided.value)!, validators: decided.voices });
    }
    return closed.sort((a, b) => a.sequence - b.sequence);
  }

  #note(sequence: number, node: HashText, value: Uint8Array): void {
    let slot = this.#slots.get(sequence);
    if (slot === undefined) {
      if (this.#slots.size >= MAX_SLOTS) this.#slots.delete(Math.min(...this.#slots.keys()));
      this.#slots.set(sequence, slot = { voices: new Map(), values: new Map(), told: false });
    }
    if (!slot.voices.has(node) && slot.voices.size >= MAX_VOICES) return;
    const { txSetHash, closeTime, ext } = decodeStellarValue(value);
    // Values that differ in upgrades or signature only close the ledger with the same transactions.
    const key = `${ext.v === 1 ? hashText(txSetHash) : ""} ${closeTime}`;
    slot.values.set(key, { closeTime, txSetHash: ext.v === 1 ? hashText(txSetHash) : null });
    slot.voices.set(node, key);
  }
}

function majority(slot: Slot): { value: string; voices: number } | undefined {
  const counts = new Map<string, number>();
  for (const value of slot.voices.values()) counts.set(value, 1 + (counts.get(value) ?? 0));
  for (const [value, voices] of counts) if (2 * voices > slot.voices.size) return { value, voices };
  return undefined;
}
