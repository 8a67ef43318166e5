/**
 * What one channel of a subscription holds: messages that have a place, and behind them messages whose senders wait for one.
 * Pure bookkeeping; the order in which messages came is never changed.
 */

/** Room of a channel. At least one message always has a place, however large it is. */
export interface ChannelRoom {
  messages: number;
  bytes: number;
}

/** A queue that gives its front without moving the rest. BOUNDED: by its owner. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  /** The front, which stays. */
  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined as T;
    if (this.#head === this.#items.length || (this.#head > 1024 && 2 * this.#head > this.#items.length)) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}

interface Sized<T> {
  item: T;
  bytes: number;
}

interface Sender {
  bytes: number;
  sinceMs: number;
  release: () => void;
}

/** One channel's queue. */
export class ChannelQueue<T> {
  readonly #room: ChannelRoom;
  /** BOUNDED: by the room; behind it stand those held, which the owner bounds. */
  readonly #items = new Fifo<Sized<T>>();
  /** One per message that has no place yet: the last ones of `#items`. */
  readonly #senders = new Fifo<Sender>();
  #placedBytes = 0;
  #heldBytes = 0;

  constructor(room: ChannelRoom) {
    this.#room = { messages: Math.max(1, room.messages), bytes: room.bytes };
  }

  /** Messages, those held included. */
  get length(): number {
    return this.#items.length;
  }

  /** Their bytes. */
  get bytes(): number {
    return this.#placedBytes + this.#heldBytes;
  }

  /** Messages whose senders wait, and their bytes. */
  get held(): { messages: number; bytes: number } {
    return { messages: this.#senders.length, bytes: this.#heldBytes };
  }

  /** Since when the first sender waits; undefined when none does. */
  get heldSinceMs(): number | undefined {
    return this.#senders.first?.sinceMs;
  }

  /** Whether a message of this size has a place now. */
  hasRoom(bytes: number): boolean {
    return this.#senders.length === 0 && this.#fits(bytes);
  }

  /** Takes a message for which there is room. */
  push(item: T, bytes: number): void {
    this.#items.push({ item, bytes });
    this.#placedBytes += bytes;
  }

  /** Takes a message for which there is none; `release` is called once, when it has a place or everything is let go. */
  hold(item: T, bytes: number, nowMs: number, release: () => void): void {
    this.#items.push({ item, bytes });
    this.#senders.push({ bytes, sinceMs: nowMs, release });
    this.#heldBytes += bytes;
  }

  /** The oldest message; those held move up. */
  shift(): T | undefined {
    const first = this.#items.shift();
    if (first === undefined) return undefined;
    this.#placedBytes -= first.bytes;
    for (let next = this.#senders.first; next !== undefined && this.#fits(next.bytes); next = this.#senders.first) {
      this.#place(next);
    }
    return first.item;
  }

  /** Lets every sender go; the messages stay. */
  releaseAll(): void {
    for (let next = this.#senders.first; next !== undefined; next = this.#senders.first) this.#place(next);
  }

  /** Forgets the messages, and lets every sender go. */
  clear(): void {
    this.releaseAll();
    this.#items.clear();
    this.#placedBytes = 0;
  }

  #place(sender: Sender): void {
    this.#senders.shift();
    this.#heldBytes -= sender.bytes;
    this.#placedBytes += sender.bytes;
    sender.release();
  }

  #fits(bytes: number): boolean {
    const placed = this.#items.length - this.#senders.length;
    return placed === 0 || (placed < this.#room.messages && this.#placedBytes + bytes <= this.#room.bytes);
  }
}
