/**
 * What becomes of the messages that are about items and SCP: queries are answered from bounded caches, SCP messages are
 * judged, wait for their quorum set and transaction sets, and are then handed on to be relayed, once.
 * Source: stellar-core Peer.cpp (recvGetTxSet, recvGetSCPQuorumSet, recvGetSCPState, recvDontHave, ...), PendingEnvelopes.cpp;
 * flooding.md sections 3 to 5.
 */
import { concatBytes } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { OldestFirst } from "../base/oldest.ts";
import type { Random } from "../base/random.ts";
import { primitives } from "../crypto/primitives.ts";
import { PeerQueryLimits } from "../peer/query_limiter.ts";
import { decodeMessage, encodeMessage, MessageType, type ReceivedMessage, txSetPreimage } from "../wire/messages.ts";
import { quorumSetHashOf, type ScpQuorumSet } from "../wire/types.ts";
import { type FloodId, floodIdOf } from "./floodgate.ts";
import {
  ItemCache,
  MAX_QUORUM_SET_CACHE_BYTES,
  MAX_QUORUM_SETS,
  MAX_TX_SET_CACHE_BYTES,
  MAX_TX_SETS,
} from "./item_cache.ts";
import { ItemFetcher } from "./item_fetcher.ts";
import type { JudgedEnvelope, ScpRefusal, ScpState } from "./scp_state.ts";
import { MAX_SANE_QUORUM_SET_BYTES, quorumSetProblem } from "./scp_state_rules.ts";
import { inSlotRange, type WaitingEnvelope } from "./tracker.ts";
import { hashBytes, type HashText, hashText } from "./tx_adverts_hashes.ts";

/** Wait before the checkpoint's messages are sent. Source: stellar-core Herder.cpp SEND_LATEST_CHECKPOINT_DELAY. */
export const CHECKPOINT_DELAY_MS = 2000;
/** First ledger protocol with generalized transaction sets. Source: stellar-core ProtocolVersion.h SOROBAN_PROTOCOL_VERSION. */
const GENERALIZED_TX_SET_PROTOCOL = 20;
/** Envelopes waiting for items. Upstream's bound is its transitive quorum. */
const MAX_WAITING = 10_000;
/** Their bytes. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Handed-on SCP messages remembered, the oldest first out. Pubnet makes about 10,000 in the slots that count. */
const MAX_PROCESSED = 100_000;

/** A peer as the dispatcher sees it. One object per connection: limits and questions go by it. */
export interface DispatchPeer {
  /** `G...` */
  readonly nodeId: string;
  /** Last ping, ms; undefined while unknown. */
  readonly latencyMs: number | undefined;
  /** Sends an encoded message; flood messages wait for the peer's credit. */
  send(message: Uint8Array): unknown;
}

/** Why an SCP message is not relayed: the verdict on it, or what came of its items. */
export type DiscardReason = ScpRefusal | "insane_quorum_set" | "out_of_range";

/** An SCP message that everything is known of. */
export interface ReadyEnvelope extends JudgedEnvelope {
  /** The SCP_MESSAGE. */
  readonly message: Uint8Array;
}

/** What the dispatcher tells its owner. */
export interface DispatcherEvents {
  /**
   * An SCP message is good and complete: broadcast it. `newest` says whether it is its node's latest; upstream relays it
   * either way.
   */
  onEnvelope(envelope: ReadyEnvelope, newest: boolean): void;
  /** An SCP message is of no use: forget its flood record. */
  onDiscarded(id: FloodId, reason: DiscardReason): void;
  /** A quorum set that was searched is here. */
  onQuorumSet?(hash: HashText, set: ScpQuorumSet): void;
  /** A transaction set that was searched is here. `message` is the TX_SET or GENERALIZED_TX_SET. */
  onTxSet?(hash: HashText, message: Uint8Array): void;
  /** A searched item came after `ms`. */
  onFetched?(kind: "txSet" | "quorumSet", ms: number): void;
}

/** What a {@link MessageDispatcher} is made of. */
export interface DispatcherOptions {
  clock: Clock;
  random: Random;
  scp: ScpState;
  /** The authenticated peers. */
  peers(): Iterable<DispatchPeer>;
  /** Nodes that flooded a message to us: `Floodgate.knownBy`. */
  knownBy(id: FloodId): ReadonlySet<string>;
  events: DispatcherEvents;
  /** Read at every use. */
  ledger: { readonly closeTimeMs: number; readonly protocolVersion: number };
  /** Fetch what SCP messages refer to before they are relayed, as upstream does; or their quorum sets only. Default true. */
  fetchItems?: boolean | "quorumSets";
  /** Default: 10,000 of 32 MiB. */
  quorumSets?: ItemCache;
  /** Default: 10,000 of 64 MiB. */
  txSets?: ItemCache;
}

/** Counts since the start. */
export interface DispatcherCounts {
  /** Queries answered with the item, or with SCP messages. */
  answered: number;
  /** Queries answered with DONT_HAVE. */
  dontHaveSent: number;
  /** Queries over the limit, ignored. */
  overLimit: number;
  /** Items nobody searched, ignored. */
  unwanted: number;
  /** Transaction sets and quorum sets asked for. */
  asked: number;
  /** Times a search went on to the next peer. */
  retries: number;
  /** DONT_HAVE that moved a search on. */
  dontHaveReceived: number;
  /** SCP messages handed on. */
  envelopes: number;
  /** SCP messages discarded. */
  discarded: number;
}

/** An SCP message that waits for items. */
interface Waiting extends ReadyEnvelope, WaitingEnvelope {
  readonly quorumSetHash: HashText;
}

/** See the head of this file. */
export class MessageDispatcher {
  readonly #options: DispatcherOptions;
  readonly quorumSets: ItemCache;
  readonly txSets: ItemCache;
  readonly #quorumSetFetcher: ItemFetcher<Waiting, DispatchPeer>;
  readonly #txSetFetcher: ItemFetcher<Waiting, DispatchPeer>;
  /** BOUNDED: {@link MAX_WAITING} and {@link MAX_WAITING_BYTES}; also {@link slotsChanged}. */
  readonly #waiting = new Map<FloodId, Waiting>();
  #waitingBytes = 0;
  /**
   * SCP messages that were handed on, and their slots: none is a second time, whatever became of its flood record.
   * BOUNDED: {@link MAX_PROCESSED}; also {@link slotsChanged}. Source: stellar-core PendingEnvelopes.cpp mProcessedEnvelopes.
   */
  readonly #processed = new Map<FloodId, number>();
  readonly #oldestProcessed = new OldestFirst(this.#processed);
  /** BOUNDED: gone with the connection's object. */
  readonly #limits = new WeakMap<DispatchPeer, PeerQueryLimits>();
  /** Delayed answers. BOUNDED: 10 per peer and window, {@link CHECKPOINT_DELAY_MS} each. */
  readonly #delayed = new Set<Timer>();
  readonly counts: DispatcherCounts = {
    answered: 0,
    dontHaveSent: 0,
    overLimit: 0,
    unwanted: 0,
    asked: 0,
    retries: 0,
    dontHaveReceived: 0,
    envelopes: 0,
    discarded: 0,
  };

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.quorumSets = options.quorumSets ??
      new ItemCache({ maxItems: MAX_QUORUM_SETS, maxBytes: MAX_QUORUM_SET_CACHE_BYTES });
    this.txSets = options.txSets ?? new ItemCache({ maxItems: MAX_TX_SETS, maxBytes: MAX_TX_SET_CACHE_BYTES });
    const fetcher = (question: (hash: Uint8Array) => Uint8Array) =>
      new ItemFetcher<Waiting, DispatchPeer>({
        clock: options.clock,
        random: options.random,
        peers: options.peers,
        knownBy: options.knownBy,
        ask: (peer, hash) => {
          this.counts.asked++;
          peer.send(question(hashBytes(hash)));
        },
        onRetry: () => void this.counts.retries++,
        process: (envelope) => this.#advance(envelope),
      });
    this.#quorumSetFetcher = fetcher((qSetHash) => encodeMessage({ type: "getScpQuorumset", qSetHash }));
    this.#txSetFetcher = fetcher((txSetHash) => encodeMessage({ type: "getTxSet", txSetHash }));
  }

  /** SCP messages remembered as handed on. */
  get processed(): number {
    return this.#processed.size;
  }

  /** SCP messages that wait for items. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Items searched. */
  get fetching(): { quorumSets: number; txSets: number } {
    return { quorumSets: this.#quorumSetFetcher.size, txSets: this.#txSetFetcher.size };
  }

  /**
   * Whether this SCP message was handed on while its slot counts. A node that catches up closes many ledgers in no time, and
   * their flood records are gone while peers still tell of them. Source: stellar-core Herder.h ENVELOPE_STATUS_PROCESSED.
   */
  isProcessed(id: FloodId): boolean {
    return this.#processed.has(id);
  }

  /**
   * Takes a message of `peer`; false when it is of a type that belongs to somebody else. `id` is the flood id of an
   * SCP_MESSAGE, when the caller has it: a message that was seen before does not come here again until it was discarded.
   * @throws OverlayError `xdr_invalid` when it does not decode
   */
  receive(peer: DispatchPeer, message: ReceivedMessage, id?: FloodId): boolean {
    const { bytes } = message;
    switch (message.type) {
      case MessageType.getTxSet:
        this.#onGetTxSet(peer, bytes);
        return true;
      case MessageType.getScpQuorumset:
        this.#onGetQuorumSet(peer, bytes);
        return true;
      case MessageType.getScpState:
        this.#onGetScpState(peer, bytes);
        return true;
      case MessageType.dontHave:
        this.#onDontHave(peer, bytes);
        return true;
      case MessageType.txSet:
      case MessageType.generalizedTxSet:
        this.#onTxSet(bytes);
        return true;
      case MessageType.scpQuorumset:
        this.#onQuorumSet(bytes);
        return true;
      case MessageType.scpMessage:
        this.#onScpMessage(bytes, id ?? floodIdOf(bytes));
        return true;
      default:
        return false;
    }
  }

  /**
   * Keeps a quorum set of our own, to answer with; returns its hash. Throws OverlayError `xdr_invalid` when it does not encode.
   */
  addQuorumSet(set: ScpQuorumSet): HashText {
    const message = encodeMessage({ type: "scpQuorumset", qSet: set });
    const hash = hashText(primitives.sha256(message.subarray(4)));
    this.quorumSets.set(hash, message);
    return hash;
  }

  /** The network moved on: what waits for other slots is dropped. Call it from `ScpStateOptions.onTracking`. */
  slotsChanged(): void {
    const { range } = this.#options.scp;
    this.#quorumSetFetcher.stopFetchingOutsideRange(range);
    this.#txSetFetcher.stopFetchingOutsideRange(range);
    for (const waiting of this.#waiting.values()) {
      if (!inSlotRange(waiting.slot, range)) this.#discard(waiting, "out_of_range");
    }
    for (const [id, slot] of this.#processed) if (!inSlotRange(slot, range)) this.#processed.delete(id);
  }

  /** Stops all timers; nothing is sent any more. */
  close(): void {
    this.#quorumSetFetcher.close();
    this.#txSetFetcher.close();
    for (const timer of this.#delayed) timer.cancel();
    this.#delayed.clear();
    this.#waiting.clear();
    this.#waitingBytes = 0;
    this.#processed.clear();
  }

  // ---- Queries ----

  #limitsOf(peer: DispatchPeer): PeerQueryLimits {
    let limits = this.#limits.get(peer);
    if (limits === undefined) this.#limits.set(peer, limits = new PeerQueryLimits());
    return limits;
  }

  /** Source: stellar-core Peer.cpp recvGetTxSet. */
  #onGetTxSet(peer: DispatchPeer, bytes: Uint8Array): void {
    const query = decodeMessage(bytes);
    if (query.type !== "getTxSet") return;
    const { closeTimeMs, protocolVersion } = this.#options.ledger;
    if (!this.#limitsOf(peer).allowTxSet(this.#options.clock.nowMs(), closeTimeMs)) {
      this.counts.overLimit++;
      return;
    }
    const generalized = protocolVersion >= GENERALIZED_TX_SET_PROTOCOL;
    const type = generalized ? MessageType.generalizedTxSet : MessageType.txSet;
    this.#answer(peer, this.txSets.get(hashText(query.txSetHash)), type, query.txSetHash);
  }

  /** Source: stellar-core Peer.cpp recvGetSCPQuorumSet. */
  #onGetQuorumSet(peer: DispatchPeer, bytes: Uint8Array): void {
    const query = decodeMessage(bytes);
    if (query.type !== "getScpQuorumset") return;
    if (!this.#limitsOf(peer).allowQuorumSet(this.#options.clock.nowMs(), this.#options.ledger.closeTimeMs)) {
      this.counts.overLimit++;
      return;
    }
    this.#answer(peer, this.quorumSets.get(hashText(query.qSetHash)), MessageType.scpQuorumset, query.qSetHash);
  }

  #answer(peer: DispatchPeer, item: Uint8Array | undefined, type: number, reqHash: Uint8Array): void {
    if (item !== undefined) {
      this.counts.answered++;
      peer.send(item);
    } else {
      this.counts.dontHaveSent++;
      peer.send(encodeMessage({ type: "dontHave", dontHave: { type, reqHash } }));
    }
  }

  /** Source: stellar-core Peer.cpp recvGetSCPState, HerderImpl.cpp sendSCPStateToPeer. */
  #onGetScpState(peer: DispatchPeer, bytes: Uint8Array): void {
    const query = decodeMessage(bytes);
    if (query.type !== "getScpState") return;
    const { clock, ledger, scp } = this.#options;
    if (!this.#limitsOf(peer).allowScpState(clock.nowMs(), ledger.closeTimeMs)) {
      this.counts.overLimit++;
      return;
    }
    this.counts.answered++;
    const { now, later } = scp.stateFrom(query.ledgerSeq);
    for (const message of now) peer.send(message);
    if (later.length === 0) return;
    const timer = clock.setTimer(CHECKPOINT_DELAY_MS, () => {
      this.#delayed.delete(timer);
      for (const message of later) peer.send(message);
    });
    this.#delayed.add(timer);
  }

  // ---- Items ----

  /** An unknown type is ignored; the two of transaction sets are one. Source: stellar-core PendingEnvelopes.cpp peerDoesntHave. */
  #onDontHave(peer: DispatchPeer, bytes: Uint8Array): void {
    const answer = decodeMessage(bytes);
    if (answer.type !== "dontHave") return;
    const { type, reqHash } = answer.dontHave;
    const ofTxSet = type === MessageType.txSet || type === MessageType.generalizedTxSet;
    if (!ofTxSet && type !== MessageType.scpQuorumset) return;
    const fetcher = ofTxSet ? this.#txSetFetcher : this.#quorumSetFetcher;
    if (fetcher.doesntHave(hashText(reqHash), peer)) this.counts.dontHaveReceived++;
  }

  #onTxSet(bytes: Uint8Array): void {
    // A set may be 10 MiB: without a search it is not even hashed.
    if (this.#txSetFetcher.size === 0) {
      this.counts.unwanted++;
      return;
    }
    const hash = hashText(primitives.sha256(joined(txSetPreimage(bytes))));
    if (!this.#txSetFetcher.isFetching(hash)) {
      this.counts.unwanted++;
      return;
    }
    decodeMessage(bytes);
    const message = bytes.slice();
    this.txSets.set(hash, message);
    this.#options.events.onTxSet?.(hash, message);
    this.#arrived("txSet", hash);
  }

  /** An insane one ends the wait of its envelopes. Source: stellar-core PendingEnvelopes.cpp recvSCPQuorumSet. */
  #onQuorumSet(bytes: Uint8Array): void {
    // What cannot be sane is not decoded: megabytes of it would cost seconds.
    const tooLarge = bytes.length - 4 > MAX_SANE_QUORUM_SET_BYTES;
    const decoded = tooLarge ? undefined : decodeMessage(bytes);
    if (this.#quorumSetFetcher.size === 0) {
      this.counts.unwanted++;
      return;
    }
    const hash = hashText(primitives.sha256(bytes.subarray(4)));
    if (!this.#quorumSetFetcher.isFetching(hash)) {
      this.counts.unwanted++;
      return;
    }
    if (decoded?.type !== "scpQuorumset" || quorumSetProblem(decoded.qSet) !== undefined) {
      for (const waiting of this.#quorumSetFetcher.abandon(hash)) this.#discard(waiting, "insane_quorum_set");
      return;
    }
    this.quorumSets.set(hash, bytes.slice());
    this.#options.events.onQuorumSet?.(hash, decoded.qSet);
    this.#arrived("quorumSet", hash);
  }

  #arrived(kind: "txSet" | "quorumSet", hash: HashText): void {
    const ms = (kind === "txSet" ? this.#txSetFetcher : this.#quorumSetFetcher).receive(hash);
    if (ms !== undefined) this.#options.events.onFetched?.(kind, ms);
  }

  // ---- SCP messages ----

  #onScpMessage(bytes: Uint8Array, id: FloodId): void {
    if (this.#waiting.has(id) || this.#processed.has(id)) return;
    const verdict = this.#options.scp.judge(bytes, id);
    if (!verdict.accepted) {
      this.#refuse(id, verdict.reason);
      return;
    }
    const { judged } = verdict;
    const quorumSetHash = hashText(quorumSetHashOf(judged.envelope.statement.pledges));
    const waiting: Waiting = { ...judged, message: bytes.slice(), quorumSetHash };
    if (this.#options.fetchItems === false) {
      this.#ready(waiting);
      return;
    }
    if (this.#waiting.size >= MAX_WAITING || this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#refuse(id, "full");
      return;
    }
    this.#waiting.set(id, waiting);
    this.#waitingBytes += bytes.length;
    this.#advance(waiting);
  }

  /** Searches what the envelope still lacks, or hands it on. Source: stellar-core PendingEnvelopes.cpp startFetch, envelopeReady. */
  #advance(waiting: Waiting): void {
    if (!this.#waiting.has(waiting.id)) return;
    let complete = true, searched = true;
    if (!this.quorumSets.has(waiting.quorumSetHash)) {
      complete = false;
      searched = this.#quorumSetFetcher.fetch(waiting.quorumSetHash, waiting);
    }
    for (const hash of this.#options.fetchItems === "quorumSets" ? [] : waiting.txSetHashes) {
      if (this.txSets.has(hash)) continue;
      complete = false;
      searched = searched && this.#txSetFetcher.fetch(hash, waiting);
    }
    if (!searched) this.#discard(waiting, "full");
    else if (complete) this.#ready(waiting);
  }

  #ready(waiting: Waiting): void {
    this.#forget(waiting);
    this.counts.envelopes++;
    if (this.#processed.size >= MAX_PROCESSED) this.#processed.delete(this.#oldestProcessed.next()!);
    else this.#oldestProcessed.rest();
    this.#processed.set(waiting.id, waiting.slot);
    const newest = this.#options.scp.remember(waiting, waiting.message);
    this.#options.events.onEnvelope(waiting, newest);
  }

  #discard(waiting: Waiting, reason: DiscardReason): void {
    this.#forget(waiting);
    this.#quorumSetFetcher.stopFetch(waiting.quorumSetHash, waiting);
    for (const hash of waiting.txSetHashes) this.#txSetFetcher.stopFetch(hash, waiting);
    this.#refuse(waiting.id, reason);
  }

  #refuse(id: FloodId, reason: DiscardReason): void {
    this.counts.discarded++;
    this.#options.events.onDiscarded(id, reason);
  }

  #forget(waiting: Waiting): void {
    if (this.#waiting.delete(waiting.id)) this.#waitingBytes -= waiting.message.length;
  }
}

/** The parts as one array, without a copy when there is one part. */
function joined(parts: Uint8Array[]): Uint8Array {
  return parts.length === 1 ? parts[0] : concatBytes(...parts);
}
