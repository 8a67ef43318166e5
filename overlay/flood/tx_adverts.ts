/**
 * Transaction adverts of one peer: what we are about to advertise to it, what it advertised to us, and which of that is
 * still to be demanded. Source: stellar-core TxAdverts.cpp; flooding.md section 2.
 */
import type { Buffer } from "node:buffer";
import type { Clock, Timer } from "../base/clock.ts";
import { countTxHashes, MAX_TX_HASHES } from "../wire/messages.ts";
import { asBuffer, FIRST_HASH_AT, type HashText, packTxHashes } from "./tx_adverts_hashes.ts";

/** What the sizes of adverts and demands follow from. Read at every use, so the owner changes it in place when a ledger closes. */
export interface TxFloodLimits {
  /** `maxTxSetSize` of the last closed ledger, in operations (times 100 before ledger protocol 11). */
  maxTxSetSizeOps: number;
  /** Soroban's `ledgerMaxTxCount`; 0 without Soroban. */
  sorobanLedgerMaxTxCount: number;
  /** Expected time between ledgers. */
  closeTimeMs: number;
  /** Share of `maxTxSetSizeOps`, and of `sorobanLedgerMaxTxCount`, advertised per ledger; 1 when absent. FLOOD_OP_RATE_PER_LEDGER, FLOOD_SOROBAN_RATE_PER_LEDGER. */
  floodOpRate?: number;
  floodSorobanRate?: number;
}

/** Pubnet's usual values, for a node that follows no ledger. */
export const DEFAULT_TX_FLOOD_LIMITS: TxFloodLimits = {
  maxTxSetSizeOps: 1000,
  sorobanLedgerMaxTxCount: 100,
  closeTimeMs: 5000,
};

/** How long the first hash of an advert waits for company. Source: stellar-core Config.cpp FLOOD_ADVERT_PERIOD_MS. */
export const FLOOD_ADVERT_PERIOD_MS = 100;
/** Hashes remembered per peer. Source: stellar-core TxAdverts.cpp ADVERT_CACHE_SIZE. */
export const ADVERT_HISTORY_SIZE = 50_000;

/**
 * How many of `perLedger` things one message of every `periodMs` may carry so that all fit into a ledger's time; 1 to 1000.
 * Source: stellar-core TxAdverts.cpp getMaxAdvertSize, TxDemandsManager.cpp getMaxDemandSize.
 */
export function hashesPerPeriod(perLedger: number, periodMs: number, closeTimeMs: number): number {
  const most = Math.ceil((perLedger * periodMs) / closeTimeMs);
  return Math.min(MAX_TX_HASHES, Math.max(1, most));
}

/** Most hashes in one advert. Source: stellar-core TxAdverts.cpp getMaxAdvertSize. */
export function maxAdvertSize(limits: TxFloodLimits, periodMs = FLOOD_ADVERT_PERIOD_MS): number {
  const ops = Math.floor((limits.floodOpRate ?? 1) * limits.maxTxSetSizeOps);
  const soroban = Math.floor((limits.floodSorobanRate ?? 1) * limits.sorobanLedgerMaxTxCount);
  return hashesPerPeriod(ops + soroban, periodMs, limits.closeTimeMs);
}

/** What {@link TxAdverts} is made of. */
export interface TxAdvertsOptions {
  clock: Clock;
  limits: Readonly<TxFloodLimits>;
  /** Sends a FLOOD_ADVERT of `hashes` hashes to the peer, under its flow control. */
  send(message: Uint8Array, hashes: number): void;
  /** Default {@link FLOOD_ADVERT_PERIOD_MS}. */
  periodMs?: number;
}

/** Hashes of one received advert that wait to be demanded. */
interface Chunk {
  /** Packed, a copy of the message's hashes. */
  readonly packed: Buffer;
  /** Where the next one starts. */
  at: number;
}

/** See the head of this file. */
export class TxAdverts {
  readonly #options: TxAdvertsOptions;
  readonly #periodMs: number;
  /** BOUNDED: {@link maxAdvertSize}, then it leaves. */
  #outgoing: HashText[] = [];
  #timer: Timer | undefined;
  /**
   * What the peer advertised, and the ledger at that time, oldest first. The key is 52 bits of the hash: a third of the time
   * and a tenth of the memory of the whole one. When two hashes meet there (chance: 10^-11 per look) this peer misses an
   * advert of something it likely learns elsewhere. BOUNDED: {@link ADVERT_HISTORY_SIZE}; also {@link clearBelow}.
   */
  readonly #history = new Map<number, number>();
  /** BOUNDED: `maxTxSetSizeOps` hashes together with {@link #retry}. */
  #incoming: Chunk[] = [];
  #incomingHead = 0;
  #incomingSize = 0;
  #retry: HashText[] = [];
  #retryHead = 0;

  constructor(options: TxAdvertsOptions) {
    this.#options = options;
    this.#periodMs = options.periodMs ?? FLOOD_ADVERT_PERIOD_MS;
  }

  /** Hashes waiting to be advertised. */
  get outgoingSize(): number {
    return this.#outgoing.length;
  }

  /** Hashes waiting to be demanded: new ones and those to be tried again. */
  get size(): number {
    return this.#incomingSize + this.#retry.length - this.#retryHead;
  }

  /** Hashes the peer is known to know. */
  get historySize(): number {
    return this.#history.size;
  }

  /** Whether the peer advertised this hash. Source: stellar-core TxAdverts.cpp seenAdvert. */
  seen(hash: HashText): boolean {
    // Digits 3 to 15: the 52 bits that #keyAt takes from the bytes.
    return this.#history.has(parseInt(hash.slice(3, 16), 16));
  }

  /**
   * Queues a hash for the peer, unless the peer advertised it itself; whether it was queued. It leaves when the list is
   * full, or {@link FLOOD_ADVERT_PERIOD_MS} after its first hash came.
   * Source: stellar-core TxAdverts.cpp queueOutgoingAdvert, Peer.cpp sendAdvert.
   */
  advertise(hash: HashText): boolean {
    if (this.seen(hash)) return false;
    if (this.#outgoing.length === 0) {
      this.#timer?.cancel();
      this.#timer = this.#options.clock.setTimer(this.#periodMs, () => this.flush());
    }
    this.#outgoing.push(hash);
    if (this.#outgoing.length >= maxAdvertSize(this.#options.limits, this.#periodMs)) this.flush();
    return true;
  }

  /** Sends what waits, if anything does. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const hashes = this.#outgoing;
    if (hashes.length === 0) return;
    this.#outgoing = [];
    this.#options.send(packTxHashes("floodAdvert", hashes), hashes.length);
  }

  /**
   * Takes a FLOOD_ADVERT and returns how many hashes it held; 0 when it is none. Too many waiting hashes push out the
   * oldest. `ledger` is the current one. Source: stellar-core TxAdverts.cpp queueIncomingAdvert.
   */
  receive(message: Uint8Array, ledger: number): number {
    const count = countTxHashes(message);
    if (count <= 0) return 0;
    const packed = asBuffer(message.slice(FIRST_HASH_AT));
    for (let i = 0; i < count; i++) this.#remember(keyAt(packed, 32 * i), ledger);
    this.#incoming.push({ packed, at: 0 });
    this.#incomingSize += count;
    this.#trim();
    return count;
  }

  /** Puts hashes back that it is too early to demand. Source: stellar-core TxAdverts.cpp retryIncomingAdvert. */
  retryLater(hashes: readonly HashText[]): void {
    for (const hash of hashes) this.#retry.push(hash);
    this.#trim();
  }

  /** The next hash to think about: first those to be tried again. Source: stellar-core TxAdverts.cpp popIncomingAdvert. */
  pop(): HashText | undefined {
    if (this.#retryHead < this.#retry.length) {
      const hash = this.#retry[this.#retryHead];
      this.#dropRetry();
      return hash;
    }
    if (this.#incomingSize === 0) return undefined;
    const { packed, at } = this.#incoming[this.#incomingHead];
    const hash = packed.toString("hex", at, at + 32);
    this.#dropIncoming();
    return hash;
  }

  /**
   * Forgets what was advertised before `ledger`: the last closed one - 11.
   * Source: stellar-core TxAdverts.cpp clearBelow.
   */
  clearBelow(ledger: number): void {
    // Every put moves its entry to the end, and ledgers do not go back, so the old ones are in front.
    for (const [key, seenAt] of this.#history) {
      if (seenAt >= ledger) return;
      this.#history.delete(key);
    }
  }

  /** The peer is gone: nothing leaves any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#outgoing = [];
  }

  #remember(key: number, ledger: number): void {
    const history = this.#history;
    if (!history.delete(key) && history.size >= ADVERT_HISTORY_SIZE) {
      history.delete(history.keys().next().value!);
    }
    history.set(key, ledger);
  }

  #trim(): void {
    for (let over = this.size - this.#options.limits.maxTxSetSizeOps; over > 0; over--) {
      if (this.#retryHead < this.#retry.length) this.#dropRetry();
      else this.#dropIncoming();
    }
  }

  #dropRetry(): void {
    if (++this.#retryHead < this.#retry.length) return;
    this.#retry = [];
    this.#retryHead = 0;
  }

  #dropIncoming(): void {
    this.#incomingSize--;
    const chunk = this.#incoming[this.#incomingHead];
    chunk.at += 32;
    if (chunk.at < chunk.packed.length) return;
    this.#incomingHead++;
    // A list that never runs empty is moved to its front now and then.
    if (this.#incomingHead === this.#incoming.length || this.#incomingHead >= 1024) {
      this.#incoming = this.#incoming.slice(this.#incomingHead);
      this.#incomingHead = 0;
    }
  }
}

/** 52 bits of the hash at `at`: as many as a number holds exactly. */
function keyAt(packed: Buffer, at: number): number {
  return (packed.readUInt32BE(at) & 0xfffff) * 0x100000000 + packed.readUInt32BE(at + 4);
}
