/**
 * Fetches items of one kind (transaction sets or quorum sets) that SCP envelopes refer to: one tracker per hash.
 * It keeps no item: who receives one stores it before it calls {@link ItemFetcher.receive}.
 * Source: stellar-core ItemFetcher.cpp; flooding.md section 5.
 */
import { type FetchPeer, type SlotRange, Tracker, type TrackerContext, type WaitingEnvelope } from "./tracker.ts";
import type { HashText } from "./tx_adverts_hashes.ts";

/** Hashes searched at a time. Upstream's bound is the quorum: only its nodes can make it search. */
export const MAX_TRACKERS = 1000;
/** Envelopes waiting at a time, one that waits for two items counted twice. */
export const MAX_WAITING_ENVELOPES = 20_000;

/** What an {@link ItemFetcher} is made of. */
export interface ItemFetcherOptions<E extends WaitingEnvelope, P extends FetchPeer> extends TrackerContext<P> {
  /** Looks at an envelope again, because an item it waited for is here. */
  process(envelope: E): void;
  /** Default {@link MAX_TRACKERS}. */
  maxTrackers?: number;
  /** Default {@link MAX_WAITING_ENVELOPES}. */
  maxWaiting?: number;
}

/** See the head of this file. */
export class ItemFetcher<E extends WaitingEnvelope, P extends FetchPeer> {
  readonly #options: ItemFetcherOptions<E, P>;
  readonly #maxTrackers: number;
  readonly #maxWaiting: number;
  /** BOUNDED: `maxTrackers`; also {@link stopFetchingOutsideRange}. */
  readonly #trackers = new Map<HashText, Tracker<E, P>>();
  #waiting = 0;

  constructor(options: ItemFetcherOptions<E, P>) {
    this.#options = options;
    this.#maxTrackers = options.maxTrackers ?? MAX_TRACKERS;
    this.#maxWaiting = options.maxWaiting ?? MAX_WAITING_ENVELOPES;
  }

  /** Hashes searched. */
  get size(): number {
    return this.#trackers.size;
  }

  /** Envelopes waiting, one per hash it waits for. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Whether this hash is searched. */
  isFetching(hash: HashText): boolean {
    return this.#trackers.has(hash);
  }

  /** The tracker of a hash. */
  tracker(hash: HashText): Tracker<E, P> | undefined {
    return this.#trackers.get(hash);
  }

  /** The envelopes that wait for a hash, in order of arrival. */
  fetchingFor(hash: HashText): readonly E[] {
    return this.#trackers.get(hash)?.waiting ?? [];
  }

  /** Highest slot that waited for a hash; 0 when it is not searched. */
  lastSeenSlot(hash: HashText): number {
    return this.#trackers.get(hash)?.lastSeenSlot ?? 0;
  }

  /**
   * Searches an item for an envelope; the first peer is asked at once. False when a bound is reached and the envelope does
   * not wait. Source: stellar-core ItemFetcher.cpp fetch.
   */
  fetch(hash: HashText, envelope: E): boolean {
    let tracker = this.#trackers.get(hash);
    if (this.#waiting >= this.#maxWaiting && !tracker?.isWaiting(envelope)) return false;
    if (tracker !== undefined) {
      if (tracker.listen(envelope)) this.#waiting++;
      return true;
    }
    if (this.#trackers.size >= this.#maxTrackers) return false;
    tracker = new Tracker(hash, this.#options);
    this.#trackers.set(hash, tracker);
    tracker.listen(envelope);
    this.#waiting++;
    tracker.tryNextPeer();
    return true;
  }

  /** The envelope waits no more; without another the search ends. Source: stellar-core ItemFetcher.cpp stopFetch. */
  stopFetch(hash: HashText, envelope: E): void {
    const tracker = this.#trackers.get(hash);
    if (tracker === undefined) return;
    if (tracker.discard(envelope)) this.#waiting--;
    if (tracker.empty) this.#end(tracker);
  }

  /** Drops the envelopes of other slots and the searches nobody waits for then. Source: stellar-core ItemFetcher.cpp. */
  stopFetchingOutsideRange(range: SlotRange): void {
    for (const tracker of this.#trackers.values()) {
      const before = tracker.size;
      if (!tracker.clearOutsideRange(range)) this.#end(tracker);
      this.#waiting -= before - tracker.size;
    }
  }

  /** A peer answered DONT_HAVE. Whether it moved a search on. Source: stellar-core ItemFetcher.cpp doesntHave. */
  doesntHave(hash: HashText, peer: P): boolean {
    return this.#trackers.get(hash)?.doesntHave(peer) ?? false;
  }

  /**
   * The item is here: its envelopes are processed again, the last one first. Returns how long the search took, ms;
   * undefined when nobody searched. Unlike upstream, which keeps the dead tracker and would never ask for the hash again, the
   * next fetch of it starts anew. Source: stellar-core ItemFetcher.cpp recv.
   */
  receive(hash: HashText): number | undefined {
    const tracker = this.#trackers.get(hash);
    if (tracker === undefined) return undefined;
    this.#end(tracker);
    for (let envelope = this.#popFrom(tracker); envelope !== undefined; envelope = this.#popFrom(tracker)) {
      this.#options.process(envelope);
    }
    return this.#options.clock.nowMs() - tracker.startedMs;
  }

  /** Ends the search of an item that turned out useless; returns the envelopes that waited. */
  abandon(hash: HashText): E[] {
    const tracker = this.#trackers.get(hash);
    if (tracker === undefined) return [];
    this.#end(tracker);
    this.#waiting -= tracker.size;
    return [...tracker.waiting];
  }

  /** Ends all searches. */
  close(): void {
    for (const tracker of this.#trackers.values()) this.#end(tracker);
    this.#waiting = 0;
  }

  #popFrom(tracker: Tracker<E, P>): E | undefined {
    const envelope = tracker.pop();
    if (envelope !== undefined) this.#waiting--;
    return envelope;
  }

  #end(tracker: Tracker<E, P>): void {
    tracker.cancel();
    this.#trackers.delete(tracker.hash);
  }
}
