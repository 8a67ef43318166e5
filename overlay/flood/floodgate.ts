/**
 * Who already has a flooded message: keeps a message from being sent to the same node twice, and from being sent back to
 * where it came from. Source: stellar-core Floodgate.cpp, OverlayManagerImpl.cpp (recvFloodedMsgID, broadcastMessage,
 * clearLedgersBelow); flooding.md section 1.
 */
import { Buffer } from "node:buffer";
import { primitives } from "../crypto/primitives.ts";

/** Names a message: its 32-byte BLAKE2b hash as a text with one character per byte, which is a quick and exact map key. */
export type FloodId = string;

/** Ledgers below the last closed one whose records are kept. Source: stellar-core Config.cpp MAX_SLOTS_TO_REMEMBER. */
export const REMEMBERED_LEDGERS = 12;

/**
 * Records held; the oldest goes first. Ours: upstream keeps all of twelve ledgers, and lets in only what its quorum said.
 * Pubnet makes some 40,000 in that time.
 */
export const MAX_FLOOD_RECORDS = 100_000;

/**
 * The id of a message: BLAKE2b-256 of the whole StellarMessage, its type included, without sequence and MAC.
 * Source: stellar-core BLAKE2.cpp xdrBlake2.
 */
export function floodIdOf(message: Uint8Array): FloodId {
  const hash = primitives.blake2b256(message);
  // Five times as quick as to spread the bytes into arguments.
  return Buffer.from(hash.buffer, hash.byteOffset, hash.length).toString("latin1");
}

interface FloodRecord {
  /** Ledger that was current when the record was made. */
  readonly ledger: number;
  /** Node ids that sent us the message or were sent it. BOUNDED: by the nodes connected while the record lives. */
  readonly told: Set<string>;
}

/** The records of one node. Node ids are `G...` texts: the answer must outlive a connection, so that a reconnect is no news. */
export class Floodgate {
  /** BOUNDED: `most`; also {@link clearBelow} at every closed ledger, and whatever is discarded is {@link forget}-ed. */
  readonly #records = new Map<FloodId, FloodRecord>();
  readonly #most: number;

  constructor(most: number = MAX_FLOOD_RECORDS) {
    this.#most = most;
  }

  /** Records held. */
  get size(): number {
    return this.#records.size;
  }

  /**
   * Notes that `from` has the message; `from` is undefined for our own. Returns whether the message was unknown.
   * `ledger` is the current one, and counts only for a new record. Source: stellar-core Floodgate.cpp addRecord.
   */
  addRecord(id: FloodId, ledger: number, from?: string): boolean {
    const record = this.#records.get(id);
    if (record !== undefined) {
      if (from !== undefined) record.told.add(from);
      return false;
    }
    if (this.#records.size >= this.#most) this.#records.delete(this.#records.keys().next().value!);
    this.#records.set(id, { ledger, told: new Set(from === undefined ? [] : [from]) });
    return true;
  }

  /**
   * Which of `nodes` (all authenticated peers) are to be sent the message now: those that neither sent it nor were told. They
   * count as told from here on. An unknown message gets a record. Source: stellar-core Floodgate.cpp broadcast.
   */
  broadcast(id: FloodId, ledger: number, nodes: Iterable<string>): string[] {
    this.addRecord(id, ledger);
    const { told } = this.#records.get(id)!;
    const fresh: string[] = [];
    for (const node of nodes) {
      if (told.has(node)) continue;
      told.add(node);
      fresh.push(node);
    }
    return fresh;
  }

  /** The nodes known to have the message. Source: stellar-core Floodgate.cpp getPeersKnows. */
  knownBy(id: FloodId): ReadonlySet<string> {
    return this.#records.get(id)?.told ?? NOBODY;
  }

  /**
   * Forgets a message that was discarded, so that it floods again when it comes again.
   * Source: stellar-core Floodgate.cpp forgetRecord.
   */
  forget(id: FloodId): void {
    this.#records.delete(id);
  }

  /**
   * Deletes the records made before `ledger`: the last closed one - {@link REMEMBERED_LEDGERS} + 1.
   * Source: stellar-core Floodgate.cpp clearBelow.
   */
  clearBelow(ledger: number): void {
    for (const [id, record] of this.#records) if (record.ledger < ledger) this.#records.delete(id);
  }
}

const NOBODY: ReadonlySet<string> = new Set();
