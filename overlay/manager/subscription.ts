/**
 * How received messages reach the program that embeds the engine: three channels per subscriber, so that a flood of one
 * kind never costs the other. A slow subscriber loses general messages, and is told how many; SCP messages and fetch answers
 * are never lost: when their channel is full, the peers that send them are slowed down by flow control instead.
 */
import { MessageType, type MessageTypeName, messageTypeName, ReceivedMessage } from "../wire/messages.ts";

/** Which channel a type travels on. */
export type Channel = "scp" | "fetch" | "general";

/** One message for a subscriber. Its bytes are its own copy. */
export interface OverlayMessage {
  /** `G...` of the peer it came from. */
  from: string;
  channel: Channel;
  type: MessageTypeName;
  /** Decoded when `message.decode()` is called. */
  message: ReceivedMessage;
  /** General messages this subscriber missed since the last one it got. */
  missedBefore: number;
}

/** Sizes and choice of a subscription. */
export interface SubscribeOptions {
  /** Only these types; all when absent. */
  types?: readonly MessageTypeName[];
  /**
   * Whether a watcher demands the transactions that peers advertise, so that they arrive. Default: when `types` holds
   * TRANSACTION or is absent. With false only what comes by itself is seen.
   */
  demand?: boolean;
  /** General messages kept for a slow subscriber; the oldest stays, the newest is missed. */
  generalLimit?: number;
  /** SCP messages, and fetch answers, kept before their senders are slowed down. */
  guardedLimit?: number;
}

const DEFAULT_GENERAL = 4096;
const DEFAULT_GUARDED = 16_384;

/** The channel of a message type. */
export function channelOf(type: number): Channel {
  switch (type) {
    case MessageType.scpMessage:
      return "scp";
    case MessageType.txSet:
    case MessageType.generalizedTxSet:
    case MessageType.scpQuorumset:
    case MessageType.dontHave:
      return "fetch";
    default:
      return "general";
  }
}

/** What a subscriber has waiting and what it lost. */
export interface SubscriptionCounts {
  delivered: number;
  /** General messages that found no room. */
  missed: number;
  /** SCP messages and fetch answers whose sender had to wait. */
  delayed: number;
  waiting: { scp: number; fetch: number; general: number };
}

/** A queue that gives its front without moving the rest. */
class Fifo<T> {
  #items: T[] = [];
  #head = 0;
  get length(): number {
    return this.#items.length - this.#head;
  }
  push(item: T): void {
    this.#items.push(item);
  }
  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined as T;
    if (this.#head > 1024 && 2 * this.#head > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}

/** An endless sequence of messages, until it is closed. SCP messages come first, then fetch answers, then the rest. */
export class Subscription implements AsyncIterableIterator<OverlayMessage>, AsyncDisposable {
  readonly #types: ReadonlySet<number> | undefined;
  /** See {@link SubscribeOptions.demand}. */
  readonly demands: boolean;
  readonly #generalLimit: number;
  readonly #guardedLimit: number;
  readonly #onClose: (subscription: Subscription) => void;
  readonly #onMissed: (() => void) | undefined;
  /** BOUNDED: general by its limit; the guarded two by their limit plus what peers may have unprocessed. */
  readonly #queues: Record<Channel, Fifo<OverlayMessage>> = { scp: new Fifo(), fetch: new Fifo(), general: new Fifo() };
  readonly #blocked: Record<"scp" | "fetch", Fifo<() => void>> = { scp: new Fifo(), fetch: new Fifo() };
  #missedNow = 0;
  #waiting: ((result: IteratorResult<OverlayMessage>) => void) | undefined;
  #closed = false;
  #delivered = 0;
  #missed = 0;
  #delayed = 0;

  constructor(options: SubscribeOptions, onClose: (subscription: Subscription) => void, onMissed?: () => void) {
    this.#types = options.types && new Set(options.types.map((name) => MessageType[name]));
    this.demands = options.demand ?? this.listensTo(MessageType.transaction);
    this.#onMissed = onMissed;
    this.#generalLimit = options.generalLimit ?? DEFAULT_GENERAL;
    this.#guardedLimit = options.guardedLimit ?? DEFAULT_GUARDED;
    this.#onClose = onClose;
  }

  /** Whether this subscriber asked for the type. */
  listensTo(type: number): boolean {
    return this.#types === undefined || this.#types.has(type);
  }

  /** The same, until it is closed. */
  wants(type: number): boolean {
    return !this.#closed && this.listensTo(type);
  }

  /**
   * Takes a message. The promise, if there is one, resolves when the subscriber has made room: until then the message counts
   * as unprocessed, so that its sender runs out of credit.
   */
  offer(from: string, message: ReceivedMessage): Promise<void> | undefined {
    if (!this.wants(message.type)) return undefined;
    const channel = channelOf(message.type);
    if (channel === "general" && this.#waiting === undefined && this.#queues.general.length >= this.#generalLimit) {
      this.#missed++;
      this.#missedNow++;
      this.#onMissed?.();
      return undefined;
    }
    const kept = new ReceivedMessage(message.type, message.bytes.slice(), message.receivedAtMs);
    const item: OverlayMessage = {
      from,
      channel,
      type: messageTypeName(message.type)!,
      message: kept,
      missedBefore: channel === "general" ? this.#missedNow : 0,
    };
    if (channel === "general") this.#missedNow = 0;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      this.#delivered++;
      waiting({ value: item, done: false });
      return undefined;
    }
    const queue = this.#queues[channel];
    queue.push(item);
    if (channel === "general" || queue.length <= this.#guardedLimit) return undefined;
    this.#delayed++;
    return new Promise((resolve) => this.#blocked[channel].push(resolve));
  }

  next(): Promise<IteratorResult<OverlayMessage>> {
    for (const channel of ["scp", "fetch", "general"] as const) {
      const item = this.#queues[channel].shift();
      if (item === undefined) continue;
      if (channel !== "general") this.#blocked[channel].shift()?.();
      this.#delivered++;
      return Promise.resolve({ value: item, done: false });
    }
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  /** Ends the sequence: what waits is still delivered, nothing new arrives. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const channel of ["scp", "fetch"] as const) {
      for (let go = this.#blocked[channel].shift(); go !== undefined; go = this.#blocked[channel].shift()) go();
    }
    this.#waiting?.({ value: undefined, done: true });
    this.#waiting = undefined;
    this.#onClose(this);
  }

  return(): Promise<IteratorResult<OverlayMessage>> {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get counts(): SubscriptionCounts {
    const { scp, fetch, general } = this.#queues;
    return {
      delivered: this.#delivered,
      missed: this.#missed,
      delayed: this.#delayed,
      waiting: { scp: scp.length, fetch: fetch.length, general: general.length },
    };
  }
}
