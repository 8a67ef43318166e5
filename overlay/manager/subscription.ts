/**
 * How received messages reach the program that embeds the engine: three channels per subscriber, so that a flood of one
 * kind never costs the other. A slow subscriber loses general messages, and is told how many and where. SCP messages and
 * fetch answers it does not lose: when their channel is full, the peers that send them get their credit later, and are so
 * slowed down. They must not wait for long, because a peer that gets no credit for 60 s hangs up: a subscriber that lets
 * a sender wait longer than `patienceMs` is ended with `subscriber_too_slow`, and everybody goes on without it.
 *
 * The node's own work comes first: a message is judged, relayed and answered before a subscriber sees it.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { type Failure, OverlayError } from "../base/errors.ts";
import { MessageType, type MessageTypeName, messageTypeName, ReceivedMessage } from "../wire/messages.ts";
import { ChannelQueue, Fifo } from "./channel_queue.ts";

/** Which channel a type travels on. */
export type Channel = "scp" | "fetch" | "general";

/** One message for a subscriber, as a peer sent it: the node itself may have refused it. Its bytes are its own copy. */
export interface OverlayMessage {
  /** `G...` of the peer it came from. */
  from: string;
  channel: Channel;
  type: MessageTypeName;
  /** Decoded when `message.decode()` is called. */
  message: ReceivedMessage;
  /** Messages of this channel that this subscriber missed between the one before and this one. */
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
  /** General messages kept for a slow subscriber; the oldest stays, the newest is missed. 4,096 unless given. */
  generalLimit?: number;
  /** Their bytes. 16 MiB unless given. */
  generalBytes?: number;
  /** SCP messages, and fetch answers, kept before the channel is full. 16,384 of each unless given. */
  guardedLimit?: number;
  /** Their bytes, of each. 16 MiB unless given; one message always has a place. */
  guardedBytes?: number;
  /**
   * What happens to an SCP message or fetch answer when its channel is full. "wait" (default): its sender waits, nothing is
   * lost. "drop": it is missed and counted, as a general message is, and no peer is ever slowed down.
   */
  whenFull?: "wait" | "drop";
  /**
   * Longest wait of a sender, ms, before the subscription is ended. 20,000 unless given: a third of the time after which a
   * peer without credit hangs up.
   */
  patienceMs?: number;
}

/** What a subscription needs of the node. */
export interface SubscriptionOwner {
  clock: Clock;
  /** Called once, when nothing is taken any more. */
  onClose(subscription: Subscription): void;
  /** Called for every message that is missed. */
  onMissed?(): void;
}

const DEFAULT_GENERAL = 4096;
const DEFAULT_GUARDED = 16_384;
const DEFAULT_BYTES = 16 * 1024 * 1024;
const DEFAULT_PATIENCE_MS = 20_000;
/**
 * Most that may be held behind a full channel: callers that come again and again could else fill the memory within the
 * patience. Peers hold at most 200 flood messages, 300,000 bytes each, and one message outside flow control.
 */
const MAX_HELD_MESSAGES = 50_000;
const MAX_HELD_BYTES = 64 * 1024 * 1024;

const CHANNELS = ["scp", "fetch", "general"] as const;

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
  /** Messages that were handed to the subscriber. */
  delivered: number;
  /** General messages that found no room. */
  missed: number;
  /** SCP messages and fetch answers that found no room, with `whenFull: "drop"`. */
  missedGuarded: number;
  /** Missed messages of all channels that no message has told of yet: none of their channel was taken since. */
  untold: number;
  /** SCP messages and fetch answers whose sender had to wait. */
  delayed: number;
  /** Those whose sender waits now. */
  held: number;
  /** Messages waiting for the subscriber, those held included. */
  waiting: Record<Channel, number>;
  /** Their bytes, of all channels. */
  waitingBytes: number;
}

/**
 * A sequence of messages that ends when it is closed, or too slow: then `next` rejects once with OverlayError
 * `subscriber_too_slow`, after everything that waits was delivered. SCP messages come first, then fetch answers, then the
 * rest; each channel keeps the order in which its messages came.
 */
export class Subscription implements AsyncIterableIterator<OverlayMessage>, AsyncDisposable {
  readonly #types: ReadonlySet<number> | undefined;
  /** See {@link SubscribeOptions.demand}. */
  readonly demands: boolean;
  readonly #whenFull: "wait" | "drop";
  readonly #patienceMs: number;
  readonly #owner: SubscriptionOwner;
  /** BOUNDED: by their room; the guarded two hold more, see {@link MAX_HELD_BYTES}. */
  readonly #queues: Record<Channel, ChannelQueue<OverlayMessage>>;
  readonly #untold: Record<Channel, number> = { scp: 0, fetch: 0, general: 0 };
  /** Calls of `next` that wait: only while all queues are empty. BOUNDED: by the caller. */
  readonly #readers = new Fifo<(result: IteratorResult<OverlayMessage>) => void>();
  #patience: Timer | undefined;
  #closed = false;
  #failure: Failure | undefined;
  #delivered = 0;
  #missed = 0;
  #missedGuarded = 0;
  #delayed = 0;

  constructor(options: SubscribeOptions, owner: SubscriptionOwner) {
    this.#types = options.types && new Set(options.types.map((name) => MessageType[name]));
    this.demands = options.demand ?? this.listensTo(MessageType.transaction);
    this.#whenFull = options.whenFull ?? "wait";
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    this.#owner = owner;
    const guarded = {
      messages: options.guardedLimit ?? DEFAULT_GUARDED,
      bytes: options.guardedBytes ?? DEFAULT_BYTES,
    };
    const general = {
      messages: options.generalLimit ?? DEFAULT_GENERAL,
      bytes: options.generalBytes ?? DEFAULT_BYTES,
    };
    this.#queues = {
      scp: new ChannelQueue(guarded),
      fetch: new ChannelQueue(guarded),
      general: new ChannelQueue(general),
    };
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
    const { type, bytes } = message;
    if (!this.wants(type)) return undefined;
    const channel = channelOf(type), queue = this.#queues[channel];
    const hasRoom = this.#readers.length > 0 || queue.hasRoom(bytes.length);
    if (!hasRoom && (channel === "general" || this.#whenFull === "drop")) {
      if (channel === "general") this.#missed++;
      else this.#missedGuarded++;
      this.#untold[channel]++;
      this.#owner.onMissed?.();
      return undefined;
    }
    const item: OverlayMessage = {
      from,
      channel,
      type: messageTypeName(type)!,
      message: new ReceivedMessage(type, bytes.slice(), message.receivedAtMs),
      missedBefore: this.#untold[channel],
    };
    this.#untold[channel] = 0;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      this.#delivered++;
      reader({ value: item, done: false });
    } else if (hasRoom) {
      queue.push(item, bytes.length);
    } else {
      return this.#hold(queue, item);
    }
    return undefined;
  }

  #hold(queue: ChannelQueue<OverlayMessage>, item: OverlayMessage): Promise<void> {
    this.#delayed++;
    const nowMs = this.#owner.clock.nowMs();
    const released = new Promise<void>((resolve) => {
      queue.hold(item, item.message.bytes.length, nowMs, resolve);
    });
    const { messages, bytes } = queue.held;
    if (messages > MAX_HELD_MESSAGES || bytes > MAX_HELD_BYTES) this.#giveUp(nowMs - queue.heldSinceMs!);
    else this.#patience ??= this.#owner.clock.setTimer(this.#patienceMs, () => this.#lookAtHeld());
    return released;
  }

  /** The timer is set for the sender that was first when it was set; by now another one may be. */
  #lookAtHeld(): void {
    this.#patience = undefined;
    const since = Math.min(this.#queues.scp.heldSinceMs ?? Infinity, this.#queues.fetch.heldSinceMs ?? Infinity);
    if (since === Infinity) return;
    const waitedMs = this.#owner.clock.nowMs() - since;
    if (waitedMs >= this.#patienceMs) this.#giveUp(waitedMs);
    else this.#patience = this.#owner.clock.setTimer(this.#patienceMs - waitedMs, () => this.#lookAtHeld());
  }

  #giveUp(waitedMs: number): void {
    this.#failure = { code: "subscriber_too_slow", waitedMs: Math.round(waitedMs), held: this.counts.held };
    this.#close();
  }

  /** The next message; more than one call may wait. Rejects with `subscriber_too_slow`, see {@link Subscription}. */
  next(): Promise<IteratorResult<OverlayMessage>> {
    for (const channel of CHANNELS) {
      const item = this.#queues[channel].shift();
      if (item === undefined) continue;
      this.#delivered++;
      return Promise.resolve({ value: item, done: false });
    }
    if (this.#failure !== undefined) {
      const error = new OverlayError(this.#failure);
      this.#failure = undefined;
      return Promise.reject(error);
    }
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** Ends the sequence: what waits is still delivered, nothing new arrives, no sender waits any more. */
  close(): void {
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#patience?.cancel();
    for (const channel of CHANNELS) this.#queues[channel].releaseAll();
    for (let reader = this.#readers.shift(); reader !== undefined; reader = this.#readers.shift()) {
      reader({ value: undefined, done: true });
    }
    this.#owner.onClose(this);
  }

  /** Closes it, and forgets what waits: a loop that was left reads no more. */
  return(): Promise<IteratorResult<OverlayMessage>> {
    this.#close();
    this.#failure = undefined;
    for (const channel of CHANNELS) this.#queues[channel].clear();
    return Promise.resolve({ value: undefined, done: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get counts(): SubscriptionCounts {
    const { scp, fetch, general } = this.#queues;
    return {
      delivered: this.#delivered,
      missed: this.#missed,
      missedGuarded: this.#missedGuarded,
      untold: this.#untold.scp + this.#untold.fetch + this.#untold.general,
      delayed: this.#delayed,
      held: scp.held.messages + fetch.held.messages,
      waiting: { scp: scp.length, fetch: fetch.length, general: general.length },
      waitingBytes: scp.bytes + fetch.bytes + general.bytes,
    };
  }
}
