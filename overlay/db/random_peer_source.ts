/**
 * Random addresses of one kind, without repetition until all were seen. Source: stellar-core RandomPeerSource.cpp; peers.md
 * section 2.
 */
import type { PeerAddress } from "../base/peer_address.ts";

/**
 * How we know an address: `inbound` from PEERS or from a peer that dialed us, `outbound` configured or once reached by our own
 * dial, `preferred` configured as such. Source: stellar-core PeerManager.h PeerType.
 */
export type PeerType = "inbound" | "outbound" | "preferred";

/** Which addresses to choose from. Source: stellar-core PeerManager.h PeerQuery. */
export interface PeerQuery {
  /** Only those whose next attempt is due. */
  dueOnly: boolean;
  /** Only those with at most this many failures; all when absent. */
  maxNumFailures?: number;
  /** Only those of this type; "anyOutbound" is outbound or preferred. */
  type: PeerType | "anyOutbound";
}

/** Records with as many failures are purged. Source: stellar-core Config.h REALLY_DEAD_NUM_FAILURES_CUTOFF. */
export const REALLY_DEAD_NUM_FAILURES_CUTOFF = 120;
/** Records with more failures are not sent in PEERS. Source: stellar-core PeerManager.cpp MAX_FAILURES. */
export const MAX_FAILURES_TO_SEND = 10;

/** Addresses to dial: due, not really dead, of exactly this type. Source: RandomPeerSource.cpp nextAttemptCutoff. */
export function dialQuery(type: PeerType): PeerQuery {
  return { dueOnly: true, maxNumFailures: REALLY_DEAD_NUM_FAILURES_CUTOFF, type };
}

/** Addresses for PEERS: few failures, due or not. Source: RandomPeerSource.cpp maxFailures. */
export function sendQuery(type: "anyOutbound" | "inbound"): PeerQuery {
  return { dueOnly: false, maxNumFailures: MAX_FAILURES_TO_SEND, type };
}

/** Where addresses come from; PeerManager is one. */
export interface RandomPeerLoader {
  /** At least `size` of the matching addresses, or all of them, in random order. */
  loadRandomPeers(query: PeerQuery, size: number): PeerAddress[];
}

/** One source per kind of address. What it gives may be stale: the record is not looked at again. */
export class RandomPeerSource {
  readonly #loader: RandomPeerLoader;
  readonly #query: PeerQuery;
  /** BOUNDED: by one load, the larger of 1000 and the number asked for. The next one to give is the last. */
  #cache: PeerAddress[] = [];

  constructor(loader: RandomPeerLoader, query: PeerQuery) {
    this.#loader = loader;
    this.#query = query;
  }

  /**
   * Up to `size` addresses that pass `keep`. Loads anew when fewer than `size` are left, throwing those away; everything
   * looked at is used up, whether it passed or not. `size` 0 does nothing.
   */
  getRandomPeers(size: number, keep: (address: PeerAddress) => boolean = () => true): PeerAddress[] {
    if (size <= 0) return [];
    if (this.#cache.length < size) this.#cache = this.#loader.loadRandomPeers(this.#query, size).reverse();
    const found: PeerAddress[] = [];
    while (found.length < size && this.#cache.length > 0) {
      const address = this.#cache.pop()!;
      if (keep(address)) found.push(address);
    }
    return found;
  }
}
