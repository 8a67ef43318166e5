/**
 * Transactions a relay holds so that it can answer demands: bytes by hash, for a few ledgers. It does not judge them; a node
 * with a ledger puts its own queue in this place. Source: the part of stellar-core TransactionQueue that flooding needs;
 * flooding.md section 2.
 */
import { toHex } from "../base/bytes.ts";
import { primitives } from "../crypto/primitives.ts";

/** Ledgers a transaction is kept. Source: stellar-core HerderImpl.cpp TRANSACTION_QUEUE_TIMEOUT_LEDGERS. */
export const TRANSACTION_LEDGERS = 4;
/** Ledgers a thrown-out hash is refused. Source: stellar-core HerderImpl.cpp TRANSACTION_QUEUE_BAN_LEDGERS. */
export const BANNED_LEDGERS = 10;

/** Where demands are answered from. */
export interface TransactionSource {
  /** The TRANSACTION message whose envelope has this hash (hex); undefined when it is unknown or banned. */
  get(hash: string): Uint8Array | undefined;
  /** Whether the hash needs no demand: the transaction is here, or was thrown out lately. */
  knows(hash: string): boolean;
}

/** The hash of a TRANSACTION message in hex: SHA-256 of the envelope. Source: stellar-core Peer.cpp recvTransaction. */
export function transactionHash(message: Uint8Array): string {
  return toHex(primitives.sha256(message.subarray(4)));
}

interface Held {
  message: Uint8Array;
  ledger: number;
}

/** A bounded pool. BOUNDED: by transactions and bytes; a full pool refuses new ones until a ledger closes. */
export class TransactionPool implements TransactionSource {
  readonly #maxTransactions: number;
  readonly #maxBytes: number;
  readonly #held = new Map<string, Held>();
  /** Hashes that left, and the ledger they left at. BOUNDED: as many as may be held, for {@link BANNED_LEDGERS}. */
  readonly #gone = new Map<string, number>();
  #bytes = 0;

  constructor(options: { maxTransactions?: number; maxBytes?: number } = {}) {
    this.#maxTransactions = options.maxTransactions ?? 20_000;
    this.#maxBytes = options.maxBytes ?? 64 * 1024 * 1024;
  }

  get size(): number {
    return this.#held.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a TRANSACTION message, whose bytes it keeps. "known" also for one that left lately. */
  add(hash: string, message: Uint8Array, ledger: number): "added" | "known" | "full" {
    if (this.knows(hash)) return "known";
    if (this.#held.size >= this.#maxTransactions || this.#bytes + message.length > this.#maxBytes) return "full";
    this.#held.set(hash, { message, ledger });
    this.#bytes += message.length;
    return "added";
  }

  get(hash: string): Uint8Array | undefined {
    return this.#held.get(hash)?.message;
  }

  knows(hash: string): boolean {
    return this.#held.has(hash) || this.#gone.has(hash);
  }

  /**
   * A ledger made these hashes (hex) worthless: they leave, and are neither demanded nor taken for a while.
   * Source: stellar-core TransactionQueue.cpp ban.
   */
  ban(hashes: Iterable<string>, ledger: number): void {
    for (const hash of hashes) {
      const held = this.#held.get(hash);
      if (held !== undefined) this.#remove(hash, held);
      this.#refuse(hash, ledger);
    }
  }

  /** A ledger closed: what was here for its time leaves, and is refused for a while. */
  ledgerClosed(ledger: number): void {
    for (const [hash, held] of this.#held) {
      if (held.ledger + TRANSACTION_LEDGERS > ledger) continue;
      this.#remove(hash, held);
      this.#refuse(hash, ledger);
    }
    for (const [hash, left] of this.#gone) if (left + BANNED_LEDGERS <= ledger) this.#gone.delete(hash);
  }

  #remove(hash: string, held: Held): void {
    this.#held.delete(hash);
    this.#bytes -= held.message.length;
  }

  #refuse(hash: string, ledger: number): void {
    if (this.#gone.size >= this.#maxTransactions) this.#gone.delete(this.#gone.keys().next().value!);
    this.#gone.set(hash, ledger);
  }
}
