/**
 * Which peer is asked for which advertised transaction, and when again: one demand round every 200 ms over all peers, left
 * out while no peer has anything to be demanded. Also answers the demands of others. Source: stellar-core TxDemandsManager.cpp; flooding.md section 2.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { OldestFirst } from "../base/oldest.ts";
import { type Random, shuffle } from "../base/random.ts";
import type { TransactionSource } from "./transaction_pool.ts";
import { hashesPerPeriod, type TxAdverts, type TxFloodLimits } from "./tx_adverts.ts";
import { type HashText, packTxHashes, txHashesOf } from "./tx_adverts_hashes.ts";

/** Time between two rounds. Source: stellar-core Config.cpp FLOOD_DEMAND_PERIOD_MS. */
export const FLOOD_DEMAND_PERIOD_MS = 200;
/** Wait per peer already asked. Source: stellar-core Config.cpp FLOOD_DEMAND_BACKOFF_DELAY_MS. */
export const FLOOD_DEMAND_BACKOFF_DELAY_MS = 500;
/** Longest wait between two demands of one hash. Source: stellar-core TxDemandsManager.cpp MAX_DELAY_DEMAND. */
export const MAX_DELAY_DEMAND_MS = 2000;
/** Peers asked for one hash. Source: stellar-core TxDemandsManager.h MAX_RETRY_COUNT. */
export const MAX_RETRY_COUNT = 15;
/** How long the demands of a hash are remembered after the first. Source: stellar-core TxDemandsManager.cpp maxRetention. */
export const DEMAND_RETENTION_MS = MAX_DELAY_DEMAND_MS * MAX_RETRY_COUNT * 2;
/** Transactions a queue holds per transaction of a ledger. Source: stellar-core TransactionQueue.cpp (pool ledger multipliers). */
const QUEUE_MULTIPLIER = 2;
/**
 * Hashes whose demands are remembered; the oldest goes first. Upstream has no such bound: junk adverts of 72 peers would
 * make it hold millions. Pubnet demands some 12,000 in the time one is remembered.
 */
export const MAX_DEMAND_RECORDS = 100_000;

/** Most hashes in one demand. Source: stellar-core TxDemandsManager.cpp getMaxDemandSize. */
export function maxDemandSize(limits: TxFloodLimits, periodMs = FLOOD_DEMAND_PERIOD_MS): number {
  const queueSize = QUEUE_MULTIPLIER * (limits.maxTxSetSizeOps + limits.sorobanLedgerMaxTxCount);
  return hashesPerPeriod(queueSize, periodMs, limits.closeTimeMs);
}

/** A peer as demands see it. One object per connection. */
export interface DemandPeer {
  /** `G...` */
  readonly nodeId: string;
  readonly adverts: TxAdverts;
  /** Sends a message under the peer's flow control. */
  send(message: Uint8Array): unknown;
}

/** What is told while it happens, for metrics. Times in ms. */
export interface TxDemandsEvents {
  /** A demanded transaction came for the first time, `ms` after its first demand. */
  onPulled?(ms: number): void;
  /** A demanded transaction came from a peer that was asked, `ms` after it was asked. */
  onPulledFrom?(nodeId: string, ms: number): void;
  /** `nodeId` is asked for a hash that others were asked for in vain. */
  onTimeout?(nodeId: string): void;
  /** A FLOOD_DEMAND of `hashes` hashes leaves for `nodeId`. */
  onDemand?(nodeId: string, hashes: number): void;
}

/** What {@link TxDemandsManager} is made of. */
export interface TxDemandsOptions {
  clock: Clock;
  random: Random;
  limits: Readonly<TxFloodLimits>;
  /** What we have: nothing in it is demanded, and demands of others are answered from it. */
  transactions: TransactionSource;
  /** The authenticated peers. */
  peers(): Iterable<DemandPeer>;
  events?: TxDemandsEvents;
  /** Default {@link FLOOD_DEMAND_PERIOD_MS}. */
  periodMs?: number;
  /** Default {@link FLOOD_DEMAND_BACKOFF_DELAY_MS}. */
  backoffMs?: number;
}

/** Counts since the start. */
export interface TxDemandsCounts {
  /** FLOOD_DEMAND messages sent. */
  demands: number;
  /** Hashes in them. */
  demandedHashes: number;
  /** Hashes demanded again from another peer. */
  timeouts: number;
  /** Hashes whose record ended without a transaction. */
  abandoned: number;
  /** Demanded transactions that came, each once. */
  pulled: number;
  /** Hashes asked of us that we sent. */
  fulfilled: number;
  /** Hashes asked of us that we do not have. */
  unknown: number;
  /** Hashes asked of us that we threw out lately. */
  banned: number;
}

interface DemandRecord {
  readonly firstMs: number;
  lastMs: number;
  /** Node ids asked, and when. BOUNDED: {@link MAX_RETRY_COUNT}. */
  readonly peers: string[];
  readonly atMs: number[];
  arrived: boolean;
}

/** What becomes of one advertised hash in a round. Source: stellar-core TxDemandsManager.h DemandStatus. */
export type DemandStatus = "demand" | "retryLater" | "discard";

/** See the head of this file. */
export class TxDemandsManager {
  readonly #options: TxDemandsOptions;
  readonly #periodMs: number;
  readonly #backoffMs: number;
  /** By hash, in the order of the first demands. BOUNDED: {@link DEMAND_RETENTION_MS} and {@link MAX_DEMAND_RECORDS}. */
  readonly #records = new Map<HashText, DemandRecord>();
  readonly #oldest = new OldestFirst(this.#records);
  #timer: Timer | undefined;
  /** The first round; the others are whole periods after it. Undefined while stopped. */
  #startedMs: number | undefined;
  /** When the timer fires. */
  #nextMs = Infinity;
  readonly counts: TxDemandsCounts = {
    demands: 0,
    demandedHashes: 0,
    timeouts: 0,
    abandoned: 0,
    pulled: 0,
    fulfilled: 0,
    unknown: 0,
    banned: 0,
  };

  constructor(options: TxDemandsOptions) {
    this.#options = options;
    this.#periodMs = options.periodMs ?? FLOOD_DEMAND_PERIOD_MS;
    this.#backoffMs = options.backoffMs ?? FLOOD_DEMAND_BACKOFF_DELAY_MS;
  }

  /** Hashes with a record. */
  get size(): number {
    return this.#records.size;
  }

  /** Makes the first round now and all others in their time, until {@link close}. */
  start(): void {
    this.#startedMs = this.#options.clock.nowMs();
    this.#run();
  }

  /** A peer advertised something: the next round is made. Call it after `TxAdverts.receive`. */
  wake(): void {
    if (this.#startedMs === undefined) return;
    const periods = Math.floor((this.#options.clock.nowMs() - this.#startedMs) / this.#periodMs) + 1;
    this.#wakeAt(this.#startedMs + periods * this.#periodMs);
  }

  /** Ends the rounds. */
  close(): void {
    this.#startedMs = undefined;
    this.#timer?.cancel();
    this.#nextMs = Infinity;
  }

  /** A round, and the time of the next: at once when something waits, else when the oldest record ends. */
  #run(): void {
    this.#nextMs = Infinity;
    this.round();
    for (const peer of this.#options.peers()) {
      if (peer.adverts.size === 0) continue;
      this.wake();
      return;
    }
    for (const { firstMs } of this.#records.values()) {
      this.#wakeAt(firstMs + DEMAND_RETENTION_MS);
      return;
    }
  }

  #wakeAt(atMs: number): void {
    if (atMs >= this.#nextMs) return;
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#nextMs = atMs;
    this.#timer = clock.setTimer(Math.max(0, atMs - clock.nowMs()), () => this.#run());
  }

  /** One round. Source: stellar-core TxDemandsManager.cpp demand. */
  round(): void {
    const { random, limits, events } = this.#options;
    const nowMs = this.#options.clock.nowMs();
    this.#forgetOld(nowMs);
    // Most rounds find nothing: those that offer nothing have no turn.
    const offering: DemandPeer[] = [];
    for (const peer of this.#options.peers()) if (peer.adverts.size > 0) offering.push(peer);
    if (offering.length === 0) return;
    const turns = shuffle(random, offering).map((peer) => ({
      peer,
      demand: [] as HashText[],
      retry: [] as HashText[],
    }));
    const most = maxDemandSize(limits, this.#periodMs);
    // Cyclically, each adds one, so that what several offer is shared between them.
    for (let added = true; added;) {
      added = false;
      for (const turn of turns) if (this.#addOne(turn, most, nowMs)) added = true;
    }
    for (const { peer, demand, retry } of turns) {
      if (retry.length > 0) peer.adverts.retryLater(retry);
      if (demand.length === 0) continue;
      this.counts.demands++;
      this.counts.demandedHashes += demand.length;
      events?.onDemand?.(peer.nodeId, demand.length);
      peer.send(packTxHashes("floodDemand", demand));
    }
  }

  /** What a round does with a hash that `nodeId` advertised. Source: stellar-core TxDemandsManager.cpp demandStatus. */
  statusOf(hash: HashText, nodeId: string, nowMs: number): DemandStatus {
    if (this.#options.transactions.knows(hash)) return "discard";
    const record = this.#records.get(hash);
    if (record === undefined) return "demand";
    const tries = record.peers.length;
    if (tries >= MAX_RETRY_COUNT || record.peers.includes(nodeId)) return "discard";
    const delayMs = Math.min(tries * this.#backoffMs, MAX_DELAY_DEMAND_MS);
    return nowMs - record.lastMs >= delayMs ? "demand" : "retryLater";
  }

  /**
   * A TRANSACTION with this hash arrived from `nodeId`, asked for or not.
   * Source: stellar-core TxDemandsManager.cpp recordTxPullLatency.
   */
  received(hash: HashText, nodeId: string): void {
    const record = this.#records.get(hash);
    if (record === undefined) return;
    const nowMs = this.#options.clock.nowMs();
    if (!record.arrived) {
      record.arrived = true;
      this.counts.pulled++;
      this.#options.events?.onPulled?.(nowMs - record.firstMs);
    }
    const asked = record.peers.indexOf(nodeId);
    if (asked >= 0) this.#options.events?.onPulledFrom?.(nodeId, nowMs - record.atMs[asked]);
  }

  /**
   * Answers a FLOOD_DEMAND: one TRANSACTION per hash we have. There is no answer for the others.
   * Source: stellar-core TxDemandsManager.cpp recvTxDemand.
   */
  answer(message: Uint8Array, peer: Pick<DemandPeer, "send">): void {
    const { transactions } = this.#options;
    for (const hash of txHashesOf(message)) {
      const transaction = transactions.get(hash);
      if (transaction !== undefined) {
        this.counts.fulfilled++;
        peer.send(transaction);
      } else if (transactions.knows(hash)) {
        this.counts.banned++;
      } else {
        this.counts.unknown++;
      }
    }
  }

  /** Goes through a peer's adverts until one is to be demanded; whether one was. */
  #addOne(turn: { peer: DemandPeer; demand: HashText[]; retry: HashText[] }, most: number, nowMs: number): boolean {
    const { peer, demand, retry } = turn;
    while (demand.length < most) {
      const hash = peer.adverts.pop();
      if (hash === undefined) return false;
      const status = this.statusOf(hash, peer.nodeId, nowMs);
      if (status === "retryLater") retry.push(hash);
      if (status !== "demand") continue;
      demand.push(hash);
      this.#record(hash, peer.nodeId, nowMs);
      return true;
    }
    return false;
  }

  #record(hash: HashText, nodeId: string, nowMs: number): void {
    let record = this.#records.get(hash);
    if (record === undefined) {
      if (this.#records.size >= MAX_DEMAND_RECORDS) {
        const oldest = this.#oldest.next()!;
        this.#forget(oldest, this.#records.get(oldest)!);
      } else this.#oldest.rest();
      record = { firstMs: nowMs, lastMs: nowMs, peers: [], atMs: [], arrived: false };
      this.#records.set(hash, record);
    } else {
      this.counts.timeouts++;
      this.#options.events?.onTimeout?.(nodeId);
    }
    record.lastMs = nowMs;
    record.peers.push(nodeId);
    record.atMs.push(nowMs);
  }

  #forgetOld(nowMs: number): void {
    for (const [hash, record] of this.#records) {
      if (nowMs - record.firstMs < DEMAND_RETENTION_MS) return;
      this.#forget(hash, record);
    }
  }

  #forget(hash: HashText, record: DemandRecord): void {
    if (!record.arrived) this.counts.abandoned++;
    this.#records.delete(hash);
  }
}
