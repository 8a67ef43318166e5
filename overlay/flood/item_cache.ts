/**
 * Items by hash, bounded by count and by bytes; what was not asked for the longest time goes first.
 * Source: the RandomEvictionCache of stellar-core PendingEnvelopes.cpp, which is bounded by count only and evicts the older of
 * two random entries; a hostile peer cannot tell the difference, since only items that were searched get in.
 */
import type { HashText } from "./tx_adverts_hashes.ts";

/** Quorum sets kept. Source: stellar-core PendingEnvelopes.cpp QSET_CACHE_SIZE. */
export const MAX_QUORUM_SETS = 10_000;
/** Transaction sets kept. Source: stellar-core PendingEnvelopes.cpp TXSET_CACHE_SIZE. */
export const MAX_TX_SETS = 10_000;
/** Bytes of quorum sets kept: pubnet's are about 1 kB each. Ours, upstream has none. */
export const MAX_QUORUM_SET_CACHE_BYTES = 32 * 1024 * 1024;
/** Bytes of transaction sets kept: six of the largest size, or days of usual ones. Ours, upstream has none. */
export const MAX_TX_SET_CACHE_BYTES = 64 * 1024 * 1024;

/** Encoded messages by the hash of the item they carry. */
export class ItemCache {
  readonly maxItems: number;
  readonly maxBytes: number;
  /** Least recently used first. BOUNDED: `maxItems` and `maxBytes`. */
  readonly #items = new Map<HashText, Uint8Array>();
  #bytes = 0;

  constructor(options: { maxItems: number; maxBytes: number }) {
    this.maxItems = options.maxItems;
    this.maxBytes = options.maxBytes;
  }

  get size(): number {
    return this.#items.size;
  }

  /** Bytes of all items. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the item is here; does not count as a use. */
  has(hash: HashText): boolean {
    return this.#items.has(hash);
  }

  /** The item; counts as a use. */
  get(hash: HashText): Uint8Array | undefined {
    const item = this.#items.get(hash);
    if (item === undefined) return undefined;
    this.#items.delete(hash);
    this.#items.set(hash, item);
    return item;
  }

  /** Keeps `item` itself, not a copy. False when it alone is larger than the whole cache may be. */
  set(hash: HashText, item: Uint8Array): boolean {
    if (item.length > this.maxBytes || this.maxItems < 1) return false;
    this.delete(hash);
    this.#items.set(hash, item);
    this.#bytes += item.length;
    for (const [oldest] of this.#items) {
      if (this.#items.size <= this.maxItems && this.#bytes <= this.maxBytes) break;
      this.delete(oldest);
    }
    return true;
  }

  /** Whether it was here. */
  delete(hash: HashText): boolean {
    const item = this.#items.get(hash);
    if (item === undefined) return false;
    this.#bytes -= item.length;
    return this.#items.delete(hash);
  }

  clear(): void {
    this.#items.clear();
    this.#bytes = 0;
  }
}
