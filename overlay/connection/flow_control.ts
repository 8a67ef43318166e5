/**
 * Credit in both directions: what the peer may still send us, what we may still send it, and the messages that wait for it.
 * Source: stellar-core FlowControl.cpp, FlowControlCapacity.cpp; flow-control.md.
 */
import { readUint32 } from "../base/bytes.ts";
import { isFloodType, MessageType } from "../wire/messages.ts";

/** Sizes of our side. Defaults and units: {@link DEFAULT_FLOW_CONTROL}. */
export interface FlowControlLimits {
  /** Flood messages the peer may have sent that we have not processed. */
  floodMessages: number;
  /** Their bytes, counted on StellarMessages. */
  floodBytes: number;
  /** Messages of any type in processing before we stop reading. */
  totalMessages: number;
  /** Bytes of any type in processing before we stop reading. */
  totalBytes: number;
  /** Processed flood messages after which we grant that many again. */
  batchMessages: number;
  /** Processed flood bytes after which we grant that many again. */
  batchBytes: number;
  /** Transactions waiting for the peer's credit; also hashes in waiting adverts, and in waiting demands. */
  queuedTransactions: number;
  /** Bytes of transactions waiting for the peer's credit. */
  queuedTransactionBytes: number;
  /** Larger transactions are never sent. */
  maxTransactionBytes: number;
}

/** Source: stellar-core Config.cpp and OverlayManagerImpl.cpp getFlowControlFloodByteCapacity, without Soroban's raise. */
export const DEFAULT_FLOW_CONTROL: FlowControlLimits = {
  floodMessages: 200,
  floodBytes: 300_000,
  totalMessages: 201,
  totalBytes: 1_048_576,
  batchMessages: 40,
  batchBytes: 100_000,
  queuedTransactions: 10_000,
  queuedTransactionBytes: 3_145_728,
  maxTransactionBytes: 102_400,
};

/** A grant: the payload of SEND_MORE_EXTENDED. */
export interface Grant {
  numMessages: number;
  numBytes: number;
}

const UINT64_MAX = 0xffffffffffffffffn;
/** Room above `totalBytes` for one maximal message and its header. Source: stellar-core FlowControlCapacity.h. */
const TOTAL_RESERVE_BYTES = 16 * 1024 * 1024 + 4;

/** Waiting types in the order they are served. */
const PRIORITIES = [MessageType.scpMessage, MessageType.transaction, MessageType.floodDemand, MessageType.floodAdvert];

interface Queue {
  messages: Uint8Array[];
  bytes: number;
  hashes: number;
}

/** Flow control of one peer. Pure bookkeeping: the caller sends what it returns. */
export class FlowControl {
  readonly limits: FlowControlLimits;
  #floodMessages: number;
  #floodBytes: number;
  #totalMessages: number;
  #totalBytes: number;
  #processedMessages = 0;
  #processedBytes = 0;
  #creditMessages = 0n;
  #creditBytes = 0n;
  #blockedSinceMs: number | undefined;
  /** BOUNDED: transactions, demands and adverts by the limits; SCP messages by their slots, which the caller trims. */
  readonly #queues: Queue[] = PRIORITIES.map(() => ({ messages: [], bytes: 0, hashes: 0 }));
  /** Messages thrown away because a queue was full. */
  discarded = 0;

  /** `nowMs`: the "no credit" clock starts at the creation of the connection. */
  constructor(limits: FlowControlLimits, nowMs: number) {
    this.limits = limits;
    this.#floodMessages = limits.floodMessages;
    this.#floodBytes = limits.floodBytes;
    this.#totalMessages = limits.totalMessages;
    this.#totalBytes = limits.totalBytes;
    this.#blockedSinceMs = nowMs;
  }

  /** The first grant, sent right after authentication: everything we let the peer send. */
  firstGrant(): Grant {
    return { numMessages: this.limits.floodMessages, numBytes: this.limits.floodBytes };
  }

  /**
   * Takes a received message's cost. False: the peer had no right to send it, and must be dropped with `unexpected flood
   * message, peer at capacity`; nothing was taken then.
   */
  begin(type: number, bytes: number): boolean {
    if (isFloodType(type)) {
      if (this.#floodMessages < 1 || this.#floodBytes < bytes) return false;
      if (this.#totalMessages < 1 || this.#totalBytes + TOTAL_RESERVE_BYTES < bytes) return false;
      this.#floodMessages--;
      this.#floodBytes -= bytes;
    }
    this.#totalMessages--;
    this.#totalBytes -= bytes;
    return true;
  }

  /** Gives a processed message's cost back; returns the grant that is due now, if any. */
  end(type: number, bytes: number): Grant | undefined {
    this.#totalMessages++;
    this.#totalBytes += bytes;
    if (!isFloodType(type)) return undefined;
    this.#floodMessages++;
    this.#floodBytes += bytes;
    this.#processedMessages++;
    this.#processedBytes += bytes;
    if (this.#processedMessages < this.limits.batchMessages && this.#processedBytes < this.limits.batchBytes) {
      return undefined;
    }
    const grant = { numMessages: this.#processedMessages, numBytes: this.#processedBytes };
    this.#processedMessages = 0;
    this.#processedBytes = 0;
    return grant;
  }

  /** Whether reading should pause until messages were processed. */
  get throttled(): boolean {
    return this.#totalMessages <= 0 || this.#totalBytes <= 0;
  }

  /** What the peer may send before our next grant reaches it. */
  get localCapacity(): { messages: number; bytes: number } {
    return { messages: this.#floodMessages, bytes: this.#floodBytes };
  }

  /** What we may send now. */
  get credit(): { messages: bigint; bytes: bigint } {
    return { messages: this.#creditMessages, bytes: this.#creditBytes };
  }

  /** Since when a message waited for credit, or no grant came at all; undefined while nothing is held back. */
  get blockedSinceMs(): number | undefined {
    return this.#blockedSinceMs;
  }

  /** Takes a received grant; returns upstream's drop reason when it is not allowed. */
  granted(grant: Grant): string | undefined {
    if (grant.numBytes === 0) return "invalid message SEND_MORE_EXTENDED";
    const messages = this.#creditMessages + BigInt(grant.numMessages);
    const bytes = this.#creditBytes + BigInt(grant.numBytes);
    if (messages > UINT64_MAX || bytes > UINT64_MAX) return "Peer capacity overflow";
    this.#creditMessages = messages;
    this.#creditBytes = bytes;
    this.#blockedSinceMs = undefined;
    return undefined;
  }

  /** Queues a flood message to be sent when credit allows; call {@link next} afterwards. */
  enqueue(type: number, message: Uint8Array): void {
    const at = PRIORITIES.indexOf(type as (typeof PRIORITIES)[number]);
    if (at < 0) throw new RangeError("not a flood message");
    if (type === MessageType.transaction && message.length > this.limits.maxTransactionBytes) {
      this.discarded++;
      return;
    }
    const queue = this.#queues[at];
    queue.messages.push(message);
    queue.bytes += message.length;
    if (type === MessageType.floodAdvert || type === MessageType.floodDemand) queue.hashes += readUint32(message, 4);
    const { queuedTransactions, queuedTransactionBytes } = this.limits;
    const over = type === MessageType.transaction
      ? queue.messages.length > queuedTransactions || queue.bytes > queuedTransactionBytes
      : type !== MessageType.scpMessage && queue.hashes > queuedTransactions;
    if (over) {
      this.discarded += queue.messages.length;
      queue.messages = [];
      queue.bytes = queue.hashes = 0;
    }
  }

  /** Messages waiting for credit. */
  get queued(): number {
    let sum = 0;
    for (const queue of this.#queues) sum += queue.messages.length;
    return sum;
  }

  /** Takes the messages that may be sent now, by priority; a queue whose first message lacks credit does not hold back the next. */
  next(nowMs: number): Uint8Array[] {
    const ready: Uint8Array[] = [];
    for (let at = 0; at < this.#queues.length; at++) {
      const queue = this.#queues[at];
      let taken = 0;
      while (taken < queue.messages.length) {
        const message = queue.messages[taken];
        const bytes = BigInt(message.length);
        if (this.#creditMessages < 1n || this.#creditBytes < bytes) {
          this.#blockedSinceMs = nowMs;
          break;
        }
        this.#creditMessages--;
        this.#creditBytes -= bytes;
        queue.bytes -= message.length;
        if (at >= 2) queue.hashes -= readUint32(message, 4);
        ready.push(message);
        taken++;
      }
      if (taken > 0) queue.messages.splice(0, taken);
    }
    return ready;
  }
}
