/**
 * Credit in both directions: what the peer may still send us, what we may still send it, and the messages that wait for it.
 * Source: stellar-core FlowControl.cpp, FlowControlCapacity.cpp; flow-control.md.
 */
import { readUint32 } from "../base/bytes.ts";
import { isFloodType, MessageType } from "../wire/messages.ts";
import { RecentSamples } from "./recent_samples.ts";
import {
  AUTOMATIC_BATCH_BYTES,
  AUTOMATIC_FLOOD_BYTES,
  type FlowControlLimits,
  MAX_CLASSIC_TX_BYTES,
} from "../base/flow_limits.ts";
import type { ScpQueueRules } from "./scp_queue.ts";
import { QUEUE_NAMES, type QueueName, type TrafficMeter } from "./traffic_meter.ts";

export {
  automaticFloodBytes,
  EXTRA_TX_BYTES,
  type FlowControlLimits,
  MAX_CLASSIC_TX_BYTES,
  maxTransactionBytesOf,
} from "../base/flow_limits.ts";

/** Source: stellar-core Config.cpp and OverlayManagerImpl.cpp getFlowControlFloodByteCapacity, without Soroban's raise. */
export const DEFAULT_FLOW_CONTROL: FlowControlLimits = {
  floodMessages: 200,
  floodBytes: AUTOMATIC_FLOOD_BYTES,
  totalMessages: 201,
  totalBytes: 1_048_576,
  batchMessages: 40,
  batchBytes: AUTOMATIC_BATCH_BYTES,
  queuedTransactions: 10_000,
  queuedTransactionBytes: 3_145_728,
  queuedScpMessages: 10_000,
  queuedScpBytes: 32 * 1024 * 1024,
  maxTransactionBytes: MAX_CLASSIC_TX_BYTES,
};

/** What is wrong with limits that upstream refuses to start with; undefined when they can work. Source: Config.cpp. */
export function flowControlProblem(limits: FlowControlLimits): string | undefined {
  const { floodMessages, floodBytes, totalMessages, batchMessages, batchBytes, maxTransactionBytes } = limits;
  if (totalMessages <= floodMessages) {
    return `the reading capacity (${totalMessages} messages) must exceed the flood capacity (${floodMessages})`;
  }
  if (batchMessages > floodMessages) {
    return `the batch of a grant (${batchMessages} messages) exceeds the flood capacity (${floodMessages})`;
  }
  if (batchBytes > floodBytes) {
    return `the batch of a grant (${batchBytes} bytes) exceeds the flood capacity (${floodBytes})`;
  }
  if (floodBytes - batchBytes < maxTransactionBytes) {
    return `flood capacity minus batch (${floodBytes - batchBytes} bytes) is below the largest transaction ` +
      `(${maxTransactionBytes} bytes): a peer could wait forever to send one`;
  }
  return undefined;
}

/** A grant: the payload of SEND_MORE_EXTENDED. */
export interface Grant {
  numMessages: number;
  numBytes: number;
}

/** Upstream's `flow_control` of the `peers` command. Source: flow-control.md section 9. */
export interface FlowControlState {
  /** Messages the peer may have in processing: of any type, and flood messages. */
  localCapacity: { reading: number; flood: number };
  /** Flood messages we may send. */
  peerCapacity: bigint;
  /** As `localCapacity`, in bytes; `reading` includes the reserve for one maximal message. */
  localCapacityBytes: { reading: number; flood: number };
  /** Flood bytes we may send. */
  peerCapacityBytes: bigint;
  /** 75th percentile of the time a message waited before it was handed to the writer, ms. */
  outboundQueueDelayP75: { scp: number; txs: number; advert: number; demand: number };
}

const UINT64_MAX = 0xffffffffffffffffn;
/** Credit above this is kept aside: numbers stay exact, and no message costs a bigint. */
const SPARE_ABOVE = 2 ** 52;
/** Room above `totalBytes` for one maximal message and its header. Source: stellar-core FlowControlCapacity.h. */
const TOTAL_RESERVE_BYTES = 16 * 1024 * 1024 + 4;
/** A queue's gone head is cut off once it is this long. */
const COMPACT_ABOVE = 64;

/** The queues, in the order they are served: that of {@link QUEUE_NAMES}. */
const SCP = 0, TRANSACTION = 1, DEMAND = 2, ADVERT = 3;

/**
 * Messages of one type, oldest first: `[head, sent)` are being sent, `[sent, length)` wait. Being sent are always the
 * first, because a queue is served from its front and stops at the first message that lacks credit.
 */
class Queue {
  messages: Uint8Array[] = [];
  /** When a waiting message was queued, ms; of one being sent its number in the order of sending. */
  stamps: number[] = [];
  head = 0;
  sent = 0;
  /** Bytes, and hashes of adverts or demands, from `head` on. */
  bytes = 0;
  hashes = 0;
  /** No message being sent is longer. */
  longestSent = 0;
  /** Messages thrown away. */
  dropped = 0;
  readonly delays = new RecentSamples();

  /** Throws everything away. What is being sent leaves all the same, but nobody looks after it any more. */
  clear(): void {
    this.dropped += this.messages.length - this.head;
    this.messages = [];
    this.stamps = [];
    this.head =
      this.sent =
      this.bytes =
      this.hashes =
      this.longestSent =
        0;
  }
}

const NO_QUEUES: readonly Queue[] = [];

/** Flow control of one peer. Pure bookkeeping: the caller sends what it is told to. */
export class FlowControl {
  /** Our own copy; {@link setQueueLimit} and {@link setMaxTransactionBytes} change it. */
  readonly limits: FlowControlLimits;
  readonly #scpRules: ScpQueueRules | undefined;
  #floodMessages: number;
  #floodBytes: number;
  #totalMessages: number;
  #totalBytes: number;
  #processedMessages = 0;
  #processedBytes = 0;
  #creditMessages = 0;
  #creditBytes = 0;
  #spareMessages = 0n;
  #spareBytes = 0n;
  #granted = false;
  #blockedSinceMs: number | undefined;
  /** Made for the first message: most connections end without one. BOUNDED: by the limits; SCP messages also by their slots. */
  #queues: readonly Queue[] = NO_QUEUES;
  /** Told how long messages waited. */
  meter: TrafficMeter | undefined;
  /** Transactions that were too large to be queued. */
  oversized = 0;
  /** SCP messages that a newer statement replaced while they waited. Not among {@link discarded}. */
  replaced = 0;
  /** How long messages waited for credit until a grant came, ms in all; and how often. */
  blockedMs = 0;
  timesBlocked = 0;

  /** `nowMs`: the "no credit" clock starts at the creation of the connection. */
  constructor(limits: FlowControlLimits, nowMs: number, scpRules?: ScpQueueRules) {
    this.limits = { ...limits };
    this.#scpRules = scpRules;
    this.#floodMessages = limits.floodMessages;
    this.#floodBytes = limits.floodBytes;
    this.#totalMessages = limits.totalMessages;
    this.#totalBytes = limits.totalBytes;
    this.#blockedSinceMs = nowMs;
  }

  /** The first grant, sent right after authentication: everything we let the peer send. */
  firstGrant(): Grant {
    this.#granted = true;
    return { numMessages: this.limits.floodMessages, numBytes: this.limits.floodBytes };
  }

  // ---- What the peer sends ----

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

  /** Room for messages of any type before reading pauses. */
  get totalCapacity(): { messages: number; bytes: number } {
    return { messages: this.#totalMessages, bytes: this.#totalBytes };
  }

  /**
   * The network's largest transaction changed; see {@link maxTransactionBytesOf}. Returns the bytes that must be granted
   * at once, as SEND_MORE_EXTENDED(0, bytes); 0 when there is nothing to say. A decrease changes only what is queued from
   * now on. Before the first grant only the room for one such transaction is made.
   * Source: stellar-core HerderImpl.cpp maybeHandleUpgrade, FlowControl.cpp handleTxSizeIncrease.
   */
  setMaxTransactionBytes(bytes: number): number {
    const { limits } = this;
    let increase = Math.max(0, bytes - limits.maxTransactionBytes);
    limits.maxTransactionBytes = bytes;
    if (!this.#granted) increase = increase > 0 ? Math.max(0, bytes + limits.batchBytes - limits.floodBytes) : 0;
    limits.floodBytes += increase;
    this.#floodBytes += increase;
    return this.#granted ? increase : 0;
  }

  // ---- What we send ----

  /** `maxTxSetSizeOps` of the last ledger: most transactions, and hashes, not written yet. Looked at when one is added. */
  setQueueLimit(queuedTransactions: number): void {
    this.limits.queuedTransactions = queuedTransactions;
  }

  /** What we may send now. */
  get credit(): { messages: bigint; bytes: bigint } {
    return {
      messages: BigInt(this.#creditMessages) + this.#spareMessages,
      bytes: BigInt(this.#creditBytes) + this.#spareBytes,
    };
  }

  /**
   * Since when a message waited for credit, or no grant came at all; undefined while nothing is held back. Every attempt
   * to send that fails sets it anew, and any grant clears it, as upstream has it.
   */
  get blockedSinceMs(): number | undefined {
    return this.#blockedSinceMs;
  }

  /** Takes a received grant; returns upstream's drop reason when it is not allowed. */
  granted(grant: Grant, nowMs = 0): string | undefined {
    const { numMessages, numBytes } = grant;
    if (numBytes === 0) return "invalid message SEND_MORE_EXTENDED";
    if (
      this.#spareMessages === 0n && this.#spareBytes === 0n &&
      this.#creditMessages + numMessages <= SPARE_ABOVE && this.#creditBytes + numBytes <= SPARE_ABOVE
    ) {
      this.#creditMessages += numMessages;
      this.#creditBytes += numBytes;
    } else {
      const { messages, bytes } = this.credit;
      const allMessages = messages + BigInt(numMessages), allBytes = bytes + BigInt(numBytes);
      if (allMessages > UINT64_MAX || allBytes > UINT64_MAX) return "Peer capacity overflow";
      [this.#creditMessages, this.#spareMessages] = apart(allMessages);
      [this.#creditBytes, this.#spareBytes] = apart(allBytes);
    }
    if (this.#blockedSinceMs !== undefined) {
      this.timesBlocked++;
      this.blockedMs += Math.max(0, nowMs - this.#blockedSinceMs);
    }
    this.#blockedSinceMs = undefined;
    return undefined;
  }

  /** Queues a flood message to be sent when credit allows; call {@link serve} afterwards. */
  enqueue(type: number, message: Uint8Array, nowMs: number): void {
    const at = queueOf(type);
    if (at < 0) throw new RangeError("not a flood message");
    const { limits } = this;
    if (at === TRANSACTION && message.length > limits.maxTransactionBytes) {
      this.oversized++;
      return;
    }
    if (this.#queues.length === 0) this.#queues = [new Queue(), new Queue(), new Queue(), new Queue()];
    const queue = this.#queues[at];
    queue.messages.push(message);
    queue.stamps.push(nowMs);
    queue.bytes += message.length;
    if (at === SCP) {
      this.#trimScp(queue);
      return;
    }
    let over: boolean;
    if (at === TRANSACTION) {
      over = queue.messages.length - queue.head > limits.queuedTransactions ||
        queue.bytes > limits.queuedTransactionBytes;
    } else {
      queue.hashes += readUint32(message, 4);
      over = queue.hashes > limits.queuedTransactions;
    }
    if (over) queue.clear();
  }

  /**
   * Hands over the messages that may be sent now, by priority; a queue whose first message lacks credit does not hold back
   * the next. The messages are numbered from `number` on; see {@link written}.
   */
  serve(nowMs: number, number: number, send: (message: Uint8Array) => void): void {
    for (let at = 0; at < this.#queues.length; at++) {
      const queue = this.#queues[at];
      if (queue.sent > queue.head && this.#blockedBySent(queue)) {
        this.#blockedSinceMs = nowMs;
        continue;
      }
      while (queue.sent < queue.messages.length) {
        const message = queue.messages[queue.sent];
        if (!this.#covers(message.length)) {
          this.#blockedSinceMs = nowMs;
          break;
        }
        this.#creditMessages--;
        this.#creditBytes -= message.length;
        if (message.length > queue.longestSent) queue.longestSent = message.length;
        const waitedMs = nowMs - queue.stamps[queue.sent];
        queue.delays.add(nowMs, waitedMs);
        this.meter?.queueDelay(QUEUE_NAMES[at], waitedMs);
        queue.stamps[queue.sent++] = number++;
        send(message);
      }
    }
  }

  /** Everything up to number `last` was written: it leaves the queues. */
  written(last: number): void {
    for (let at = 0; at < this.#queues.length; at++) {
      const queue = this.#queues[at];
      if (queue.head === queue.sent || queue.stamps[queue.head] > last) continue;
      const { messages, stamps } = queue;
      let { head } = queue;
      do {
        const message = messages[head];
        queue.bytes -= message.length;
        if (at >= DEMAND) queue.hashes -= readUint32(message, 4);
        head++;
      } while (head < queue.sent && stamps[head] <= last);
      queue.head = head;
      if (head === queue.sent) queue.longestSent = 0;
      if (head === messages.length) {
        messages.length = stamps.length = 0;
        queue.head = queue.sent = 0;
      } else if (head > COMPACT_ABOVE && 2 * head > messages.length) {
        messages.splice(0, head);
        stamps.splice(0, head);
        queue.sent -= head;
        queue.head = 0;
      }
    }
  }

  /** Messages waiting for credit. */
  get queued(): number {
    let sum = 0;
    for (const queue of this.#queues) sum += queue.messages.length - queue.sent;
    return sum;
  }

  /** The same by queue. */
  get queuedByQueue(): Record<QueueName, number> {
    const waiting = (at: number) =>
      this.#queues.length === 0 ? 0 : this.#queues[at].messages.length - this.#queues[at].sent;
    return { scp: waiting(SCP), txs: waiting(TRANSACTION), demand: waiting(DEMAND), advert: waiting(ADVERT) };
  }

  /** Messages handed to the writer that the system has not taken. */
  get beingSent(): number {
    let sum = 0;
    for (const queue of this.#queues) sum += queue.sent - queue.head;
    return sum;
  }

  /** Messages of a flood type in its queue, those being sent first. A copy. */
  queueOf(type: number): Uint8Array[] {
    const queue = this.#queues[queueOf(type)];
    return queue === undefined ? [] : queue.messages.slice(queue.head);
  }

  /** Messages thrown away by queue: the queue was full, their slot too old, a newer statement came. */
  get droppedByQueue(): { scp: number; txs: number; advert: number; demand: number } {
    const dropped = (at: number) => this.#queues[at]?.dropped ?? 0;
    return { scp: dropped(SCP), txs: dropped(TRANSACTION), advert: dropped(ADVERT), demand: dropped(DEMAND) };
  }

  /** Messages thrown away because a queue was full, their slot too old, or their size too large. */
  get discarded(): number {
    let sum = this.oversized - this.replaced;
    for (const queue of this.#queues) sum += queue.dropped;
    return sum;
  }

  /** Upstream's `flow_control` of a peer. */
  state(nowMs: number): FlowControlState {
    const p75 = (at: number) => this.#queues[at]?.delays.percentile(0.75, nowMs) ?? 0;
    const { messages, bytes } = this.credit;
    return {
      localCapacity: { reading: this.#totalMessages, flood: this.#floodMessages },
      peerCapacity: messages,
      localCapacityBytes: { reading: this.#totalBytes + TOTAL_RESERVE_BYTES, flood: this.#floodBytes },
      peerCapacityBytes: bytes,
      outboundQueueDelayP75: { scp: p75(SCP), txs: p75(TRANSACTION), advert: p75(ADVERT), demand: p75(DEMAND) },
    };
  }

  /**
   * Upstream looks at the credit before it skips a message that is being sent, so one that the credit left over does not
   * cover again stops its queue.
   */
  #blockedBySent(queue: Queue): boolean {
    if (this.#covers(queue.longestSent)) return false;
    for (let i = queue.head; i < queue.sent; i++) if (!this.#covers(queue.messages[i].length)) return true;
    return false;
  }

  #covers(bytes: number): boolean {
    if (this.#creditMessages >= 1 && this.#creditBytes >= bytes) return true;
    if (this.#spareMessages === 0n && this.#spareBytes === 0n) return false;
    const credit = this.credit;
    [this.#creditMessages, this.#spareMessages] = apart(credit.messages);
    [this.#creditBytes, this.#spareBytes] = apart(credit.bytes);
    return this.#creditMessages >= 1 && this.#creditBytes >= bytes;
  }

  /** After a new message was added: one pass over the waiting ones. Source: flow-control.md section 5. */
  #trimScp(queue: Queue): void {
    const { messages, stamps } = queue;
    const rules = this.#scpRules;
    if (rules !== undefined) {
      const last = messages.length - 1;
      const fresh = messages[last];
      let end = messages.length, to = queue.sent, replaced = false;
      for (let from = queue.sent; from < end; from++) {
        let message = messages[from], stamp = stamps[from];
        if (rules.isForgotten(message)) {
          this.#dropScp(queue, message);
          continue;
        }
        if (!replaced && from !== last && rules.replaces(message, fresh)) {
          this.#dropScp(queue, message);
          this.replaced++;
          replaced = true;
          message = fresh;
          stamp = stamps[last];
          end = last;
        }
        messages[to] = message;
        stamps[to++] = stamp;
      }
      messages.length = stamps.length = to;
    }
    const { queuedScpMessages, queuedScpBytes } = this.limits;
    let over = 0;
    while (
      queue.sent + over < messages.length &&
      (messages.length - queue.sent - over > queuedScpMessages || queue.bytes > queuedScpBytes)
    ) this.#dropScp(queue, messages[queue.sent + over++]);
    if (over > 0) {
      messages.splice(queue.sent, over);
      stamps.splice(queue.sent, over);
    }
  }

  #dropScp(queue: Queue, message: Uint8Array): void {
    queue.bytes -= message.length;
    queue.dropped++;
  }
}

function queueOf(type: number): number {
  switch (type) {
    case MessageType.scpMessage:
      return SCP;
    case MessageType.transaction:
      return TRANSACTION;
    case MessageType.floodDemand:
      return DEMAND;
    case MessageType.floodAdvert:
      return ADVERT;
    default:
      return -1;
  }
}

/** The part of a credit that messages are counted down from, and what is kept aside. */
function apart(credit: bigint): [number, bigint] {
  const limit = BigInt(SPARE_ABOVE / 2);
  return credit <= limit ? [Number(credit), 0n] : [Number(limit), credit - limit];
}
