/**
 * A stream that behaves badly, message by message, in the direction that is written: held back, slow, repeated, out of
 * order, bent, lost. For tests and simulations. Source: stellar-core LoopbackPeer.cpp.
 */
import { concatBytes, readUint32 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { MAX_MESSAGE_SIZE, RECORD_HEADER_BYTES } from "../wire/record.ts";
import type { Endpoint, Socket, SocketHandlers } from "./transport.ts";

/** What is wrong with one direction of a stream. Probabilities are from 0 to 1 and are asked for every message. */
export interface StreamFaults {
  /** Nothing is delivered, and no write completes. */
  corked: boolean;
  /** Each attempt to deliver a message succeeds with probability 1/4; after a failure the next one is made a second later. */
  straggling: boolean;
  /** A message is delivered, and once more. */
  duplicate: number;
  /** A message goes behind all others that wait. */
  reorder: number;
  /** One bit of a message is flipped. */
  damage: number;
  /** A message is lost. */
  drop: number;
  /** Messages that stay in the link until more come. They count as written. */
  maxQueueDepth: number;
}

/** A stream as it should be. */
export const NO_FAULTS: StreamFaults = {
  corked: false,
  straggling: false,
  duplicate: 0,
  reorder: 0,
  damage: 0,
  drop: 0,
  maxQueueDepth: 0,
};

/** What happened to messages so far. */
export interface FaultCounts {
  delivered: number;
  duplicated: number;
  reordered: number;
  damaged: number;
  dropped: number;
}

/** A straggler's next attempt comes after this, ms. */
const RETRY_MS = 1000;
const STRAGGLER_DELIVERS = 0.25;

interface Frame {
  bytes: Uint8Array;
  /** Told when the frame left, or stays within the depth: the write that ended with it is done. */
  onWritten: (() => void) | undefined;
}

/** A socket whose writes suffer the faults; what it reads is not touched. */
export class FaultyStream implements Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly counts: FaultCounts = { delivered: 0, duplicated: 0, reordered: 0, damaged: 0, dropped: 0 };
  readonly #clock: Clock;
  readonly #random: Random;
  #faults: StreamFaults;
  /** BOUNDED: by what the writer sends, as a test wants it. */
  #queue: Frame[] = [];
  #queuedBytes = 0;
  /** The start of a frame. */
  #rest: Uint8Array = new Uint8Array(0);
  #retrying = false;
  #shut = false;
  #closed = false;

  /** Wraps `inner`; the faults can be changed at any time with {@link set}. */
  constructor(readonly inner: Socket, clock: Clock, random: Random, faults: Partial<StreamFaults> = {}) {
    this.remote = inner.remote;
    this.local = inner.local;
    this.#clock = clock;
    this.#random = random;
    this.#faults = { ...NO_FAULTS, ...faults };
  }

  get faults(): Readonly<StreamFaults> {
    return this.#faults;
  }

  /** Changes the faults; what waits leaves if it may now. */
  set(change: Partial<StreamFaults>): void {
    this.#faults = { ...this.#faults, ...change };
    this.#deliver();
  }

  /** Messages that wait in the link. */
  get depth(): number {
    return this.#queue.length;
  }

  attach(handlers: SocketHandlers): void {
    this.inner.attach(handlers);
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    if (this.#shut || this.#closed) return;
    const stream = this.#rest.length === 0 ? bytes : concatBytes(this.#rest, bytes);
    let at = 0;
    const before = this.#queue.length;
    while (at < stream.length) {
      const end = endOfFrame(stream, at);
      if (end > stream.length) break;
      this.#queue.push({ bytes: stream.subarray(at, end), onWritten: undefined });
      this.#queuedBytes += end - at;
      at = end;
    }
    this.#rest = stream.slice(at);
    if (this.#queue.length > before) this.#queue[this.#queue.length - 1].onWritten = onWritten;
    else this.#tell(onWritten);
    this.#deliver();
  }

  get unsentBytes(): number {
    return this.#queuedBytes + this.#rest.length + this.inner.unsentBytes;
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  /** What waits still leaves at the link's pace; a corked link loses it. */
  shutdown(): void {
    if (this.#shut || this.#closed) return;
    this.#shut = true;
    if (this.#faults.corked) this.#forget();
    this.#deliver();
  }

  destroy(): void {
    this.#closed = true;
    this.#forget();
    this.inner.destroy();
  }

  #forget(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#rest = new Uint8Array(0);
  }

  #deliver(): void {
    if (this.#closed) return;
    const faults = this.#faults;
    const depth = this.#shut ? 0 : faults.maxQueueDepth;
    while (this.#queue.length > depth && !faults.corked) {
      if (faults.straggling && this.#random.next() >= STRAGGLER_DELIVERS) {
        this.#retry();
        return;
      }
      this.#deliverOne();
    }
    if (faults.corked && this.#queue.length > 0) return;
    for (const frame of this.#queue) {
      this.#tell(frame.onWritten);
      frame.onWritten = undefined;
    }
    if (this.#shut) this.inner.shutdown();
  }

  #retry(): void {
    if (this.#retrying) return;
    this.#retrying = true;
    this.#clock.setTimer(RETRY_MS, () => {
      this.#retrying = false;
      this.#deliver();
    });
  }

  /** The order of what can happen is upstream's. */
  #deliverOne(): void {
    const { duplicate, reorder, damage, drop } = this.#faults;
    const frame = this.#queue.shift()!;
    this.#queuedBytes -= frame.bytes.length;
    let { bytes } = frame;
    this.#tell(frame.onWritten);
    frame.onWritten = undefined;
    if (this.#happens(duplicate)) {
      this.counts.duplicated++;
      this.#queue.unshift({ bytes, onWritten: undefined });
      this.#queuedBytes += bytes.length;
    }
    if (this.#queue.length > 0 && this.#happens(reorder)) {
      this.counts.reordered++;
      this.#queue.push(frame);
      this.#queuedBytes += bytes.length;
      return;
    }
    if (this.#happens(damage)) {
      this.counts.damaged++;
      bytes = bytes.slice();
      // The header stays: upstream's loopback hands over whole messages too.
      const at = RECORD_HEADER_BYTES + this.#random.int(bytes.length - RECORD_HEADER_BYTES);
      bytes[at] ^= 1 << this.#random.int(8);
    }
    if (this.#happens(drop)) {
      this.counts.dropped++;
      return;
    }
    this.counts.delivered++;
    this.inner.write(bytes);
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#random.next() < probability;
  }

  /** Never inside the call that wrote. */
  #tell(onWritten: (() => void) | undefined): void {
    if (onWritten !== undefined) this.#clock.setTimer(0, () => this.#closed ? undefined : onWritten());
  }
}

/** Where the frame at `at` ends; beyond the stream when it is not complete. What is no frame is one piece. */
function endOfFrame(stream: Uint8Array, at: number): number {
  if (stream.length - at < RECORD_HEADER_BYTES) return stream.length + 1;
  const length = readUint32(stream, at) & 0x7fffffff;
  return length === 0 || length > MAX_MESSAGE_SIZE ? stream.length : at + RECORD_HEADER_BYTES + length;
}
