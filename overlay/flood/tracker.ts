/**
 * The search for one item: which peer is asked, when the next one is, and which envelopes wait.
 * Source: stellar-core Tracker.cpp; flooding.md section 5.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { FloodId } from "./floodgate.ts";
import type { HashText } from "./tx_adverts_hashes.ts";

/** How long a peer has to answer. Source: stellar-core Tracker.cpp. */
export const MS_TO_WAIT_FOR_FETCH_REPLY = 1500;
/** The pause between two rounds over all peers stops growing here: 15 s. Source: stellar-core Tracker.cpp. */
export const MAX_REBUILD_FETCH_LIST = 10;
/** Peers whose pings differ by less count as equally near. Source: stellar-core Tracker.cpp GROUPSIZE_MS. */
export const LATENCY_GROUP_MS = MS_TO_WAIT_FOR_FETCH_REPLY / 3;
/** A peer whose ping is not known yet. Source: stellar-core Peer.cpp. */
export const UNKNOWN_LATENCY_MS = 24 * 3600_000;

/** An SCP envelope that waits for items. */
export interface WaitingEnvelope {
  /** Flood id of its SCP_MESSAGE: names the peers that have it, and tells envelopes apart. */
  readonly id: FloodId;
  readonly slot: number;
}

/** A peer that may be asked. The object stands for one connection: after a reconnect it is another one. */
export interface FetchPeer {
  /** `G...` */
  readonly nodeId: string;
  /** Last ping, ms; undefined while unknown. */
  readonly latencyMs: number | undefined;
}

/** What a tracker needs of its node. */
export interface TrackerContext<P extends FetchPeer> {
  readonly clock: Clock;
  readonly random: Random;
  /** The authenticated peers. */
  peers(): Iterable<P>;
  /** Nodes that flooded a message to us. */
  knownBy(id: FloodId): ReadonlySet<string>;
  /** Sends the question. */
  ask(peer: P, hash: HashText): void;
  /** The peer asked last did not bring the item, and the search goes on. Source: stellar-core metric overlay.item-fetcher.next-peer. */
  onRetry?(): void;
}

/** Slots whose envelopes still count: `min` to `max`, and `keep` in any case. */
export interface SlotRange {
  readonly min?: number;
  readonly max?: number;
  readonly keep?: number;
}

/** Whether a slot counts. */
export function inSlotRange(slot: number, range: SlotRange): boolean {
  if (slot === range.keep) return true;
  return slot >= (range.min ?? 0) && slot <= (range.max ?? Infinity);
}

/** See the head of this file. */
export class Tracker<E extends WaitingEnvelope, P extends FetchPeer> {
  readonly hash: HashText;
  /** When the search began, on the monotonic clock. */
  readonly startedMs: number;
  readonly #context: TrackerContext<P>;
  /** In order of arrival. BOUNDED: by the owner, see `ItemFetcher`. */
  #waiting: E[] = [];
  readonly #ids = new Set<FloodId>();
  /** Peers asked since the last rebuild, and whether they were known to have the item then. BOUNDED: by the connections. */
  readonly #asked = new Map<P, boolean>();
  #lastAsked: P | undefined;
  #rebuilds = 0;
  #lastSeenSlot = 0;
  #timer: Timer | undefined;

  constructor(hash: HashText, context: TrackerContext<P>) {
    this.hash = hash;
    this.#context = context;
    this.startedMs = context.clock.nowMs();
  }

  /** Envelopes that wait. */
  get size(): number {
    return this.#waiting.length;
  }

  get empty(): boolean {
    return this.#waiting.length === 0;
  }

  /** The peer whose answer we wait for. */
  get lastAsked(): P | undefined {
    return this.#lastAsked;
  }

  /** Highest slot of an envelope that ever waited here; 0 after {@link resetLastSeenSlot} or {@link cancel}. */
  get lastSeenSlot(): number {
    return this.#lastSeenSlot;
  }

  /** The waiting envelopes in order of arrival. */
  get waiting(): readonly E[] {
    return this.#waiting;
  }

  /** Whether this envelope waits. */
  isWaiting(envelope: E): boolean {
    return this.#ids.has(envelope.id);
  }

  /** Lets an envelope wait; whether it did not wait already. Source: stellar-core Tracker.cpp listen. */
  listen(envelope: E): boolean {
    this.#lastSeenSlot = Math.max(this.#lastSeenSlot, envelope.slot);
    if (this.#ids.has(envelope.id)) return false;
    this.#ids.add(envelope.id);
    this.#waiting.push(envelope);
    return true;
  }

  /** Takes an envelope back; whether it waited. Source: stellar-core Tracker.cpp discard. */
  discard(envelope: E): boolean {
    if (!this.#ids.delete(envelope.id)) return false;
    this.#waiting = this.#waiting.filter((waiting) => waiting.id !== envelope.id);
    return true;
  }

  /** Removes the envelope that came last. Source: stellar-core Tracker.cpp pop. */
  pop(): E | undefined {
    const envelope = this.#waiting.pop();
    if (envelope !== undefined) this.#ids.delete(envelope.id);
    return envelope;
  }

  /**
   * Removes the envelopes of other slots. False when none is left: the tracker has ended then.
   * Source: stellar-core Tracker.cpp clearEnvelopesOutsideRange.
   */
  clearOutsideRange(range: SlotRange): boolean {
    this.#waiting = this.#waiting.filter((envelope) => {
      const stays = inSlotRange(envelope.slot, range);
      if (!stays) this.#ids.delete(envelope.id);
      return stays;
    });
    if (!this.empty) return true;
    this.#stop();
    return false;
  }

  /** The peer answered that it lacks the item: counts only from the one asked last. Returns whether it counted. */
  doesntHave(peer: P): boolean {
    if (this.#lastAsked !== peer) return false;
    this.tryNextPeer();
    return true;
  }

  /** Asks the next peer now and sets the timer for the one after. Source: stellar-core Tracker.cpp tryNextPeer. */
  tryNextPeer(): void {
    const { clock, random } = this.#context;
    if (this.#lastAsked !== undefined) this.#context.onRetry?.();
    this.#lastAsked = undefined;
    const peers = [...this.#context.peers()];
    const holders = this.#holders(peers);
    const candidates = nearest(holders.length > 0 ? holders : peers.filter((peer) => !this.#asked.has(peer)));
    let waitMs = MS_TO_WAIT_FOR_FETCH_REPLY;
    if (candidates.length === 0) {
      this.#rebuilds++;
      this.#asked.clear();
      waitMs *= Math.min(MAX_REBUILD_FETCH_LIST, this.#rebuilds);
    } else {
      const chosen = candidates[random.int(candidates.length)];
      this.#lastAsked = chosen;
      this.#asked.set(chosen, holders.length > 0);
      this.#context.ask(chosen, this.hash);
    }
    this.#timer?.cancel();
    this.#timer = clock.setTimer(waitMs, () => this.tryNextPeer());
  }

  /** Ends the search: nobody is asked any more. Source: stellar-core Tracker.cpp cancel. */
  cancel(): void {
    this.#stop();
    this.resetLastSeenSlot();
  }

  /** Source: stellar-core Tracker.h resetLastSeenSlotIndex. */
  resetLastSeenSlot(): void {
    this.#lastSeenSlot = 0;
  }

  #stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#lastAsked = undefined;
  }

  /** Those that flooded a waiting envelope to us and were not asked, or were asked before they were known to have it. */
  #holders(peers: P[]): P[] {
    const nodes = new Set<string>();
    for (const envelope of this.#waiting) for (const node of this.#context.knownBy(envelope.id)) nodes.add(node);
    if (nodes.size === 0) return [];
    return peers.filter((peer) => nodes.has(peer.nodeId) && this.#asked.get(peer) !== true);
  }
}

/** The peers of the lowest latency group. */
function nearest<P extends FetchPeer>(peers: P[]): P[] {
  const group = (peer: P) => Math.floor((peer.latencyMs ?? UNKNOWN_LATENCY_MS) / LATENCY_GROUP_MS);
  let best = Infinity;
  for (const peer of peers) best = Math.min(best, group(peer));
  return peers.filter((peer) => group(peer) === best);
}
