/**
 * A stream with records, sequence numbers and MACs: StellarMessage bytes in, StellarMessage bytes out. Nothing here decodes
 * a message body. Outgoing messages of one tick leave in one write.
 * Source: stellar-core Hmac.cpp, Peer.cpp sendAuthenticatedMessage and recvAuthenticatedMessage, TCPPeer.cpp; wire.md 1, 2.
 */
import { equalConstantTime, readUint32, writeUint32 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { MacKey } from "../crypto/primitives.ts";
import type { Socket, SocketEnd } from "../transport/transport.ts";
import { MessageType, messageTypeName } from "../wire/messages.ts";
import { MAX_MESSAGE_SIZE, RecordDecoder, type RecordSink } from "../wire/record.ts";
import { RecentSamples } from "./recent_samples.ts";
import type { TrafficMeter } from "./traffic_meter.ts";

/** Bytes of AuthenticatedMessage around a message: version, sequence, MAC. */
export const AUTHENTICATED_OVERHEAD = 44;
/** Bytes on the wire around a message: the record mark and {@link AUTHENTICATED_OVERHEAD}. */
export const WIRE_OVERHEAD = 48;
const MAC_BYTES = 32;
/** Messages up to this size are copied into the shared outgoing buffer, and that buffer is reused after small flushes. */
const KEPT_BUFFER_BYTES = 4096;
/** A batch this large is written without waiting for the end of the tick. Source: stellar-core MAX_BATCH_WRITE_BYTES. */
const MAX_BATCH_BYTES = 1024 * 1024;
/** The same in messages. Source: stellar-core MAX_BATCH_WRITE_COUNT. */
const MAX_BATCH_MESSAGES = 1024;

/** What is wrong with a frame. The order of the checks is upstream's. */
export type FrameProblem =
  | { kind: "badLength"; length: number; limit: number; header: Uint8Array }
  | { kind: "corrupt"; reason: string; body: Uint8Array }
  | { kind: "sequence"; expected: bigint; actual: bigint; message: Uint8Array }
  | { kind: "mac"; message: Uint8Array };

/** Receives what a connection reads. All calls come from inside the read callback of the socket. */
export interface ConnectionHandlers {
  /** One message that passed its checks: `type` and the StellarMessage bytes, a view on the chunk that was read. */
  onMessage(type: number, message: Uint8Array, receivedAtMs: number): void;
  /** A frame that did not. Nothing more is read. */
  onProblem(problem: FrameProblem): void;
  /** The socket ended, not by us. */
  onEnd(end: SocketEnd): void;
  /** The system took everything up to message number `last`, counted as `messagesWritten` counts. */
  onWritten?(last: number): void;
  /** More than {@link Connection.maxUnsentBytes} wait for the system. Called for every message sent meanwhile. */
  onOverflow?(): void;
}

/** Counters of one connection. Bytes are those of the stream, so `bytesRead` also counts what is no whole frame yet. */
export interface ConnectionCounters {
  messagesRead: number;
  bytesRead: number;
  messagesWritten: number;
  bytesWritten: number;
  /** Chunks that were read. */
  reads: number;
  /** Writes handed to the system. */
  writes: number;
}

/** Messages in the order they were sent, ready for one write. */
interface Batch {
  bytes: Uint8Array;
  /** Number of its last message. */
  last: number;
  firstQueuedMs: number;
  lastQueuedMs: number;
}

/** What was read while paused: a record of a chunk, or what ended the reading. */
type Held =
  | { chunk: Uint8Array; start: number; end: number; atMs: number }
  | { problem: FrameProblem }
  | { socketEnd: SocketEnd };

/** Both directions of one peer's stream. */
export class Connection implements RecordSink {
  readonly counters: ConnectionCounters = {
    messagesRead: 0,
    bytesRead: 0,
    messagesWritten: 0,
    bytesWritten: 0,
    reads: 0,
    writes: 0,
  };
  /**
   * When a frame header or a whole body was last read, and when the system last took all bytes written; monotonic ms. A body
   * that drips in counts when it is complete. Source: stellar-core TCPPeer.cpp, where both reads end in receivedBytes.
   */
  lastReadMs: number;
  lastWriteMs: number;
  /**
   * When the last message that was handed to the socket had been queued; monotonic ms. It grows old when the system takes
   * no more bytes, and also when there is nothing to send: upstream's straggler rule looks at exactly this.
   */
  lastHandedMs: number;

  /** Bytes waiting for the system above which {@link ConnectionHandlers.onOverflow} is called. */
  maxUnsentBytes = Infinity;
  /** Bytes, and messages, at which what was sent becomes one write. */
  maxBatchBytes = MAX_BATCH_BYTES;
  maxBatchMessages = MAX_BATCH_MESSAGES;
  /** Told about everything that is read and written. */
  meter: TrafficMeter | undefined;
  /** How long messages waited for their write to begin, and how long writes took; a sample per write, of its first message. */
  readonly writeQueueDelays = new RecentSamples();
  readonly writeDelays = new RecentSamples();

  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #handlers: ConnectionHandlers;
  readonly #decoder: RecordDecoder;

  #sendKey: MacKey | null = null;
  #receiveKey: MacKey | null = null;
  // Sequence numbers are two words: a bigint per message would cost more than all the rest of the bookkeeping.
  #sendHigh = 0;
  #sendLow = 0;
  #receiveHigh = 0;
  #receiveLow = 0;

  #out: Uint8Array = new Uint8Array(1024);
  #outLength = 0;
  #outMessages = 0;
  #flushQueued = false;
  #firstQueuedMs = 0;
  #lastQueuedMs: number;
  /** Full batches that wait for the write under way. BOUNDED: by `maxUnsentBytes`, where the owner obeys it. */
  readonly #batches: Batch[] = [];
  #batchedBytes = 0;
  #handedBytes = 0;
  #handedMs = 0;
  #handedLast = 0;
  /** One write is under way at a time, as upstream's async_write; what is sent meanwhile leaves in the next. */
  /** A frame is being put together. */
  #composing = false;
  #writing = false;
  #onFlushed: (() => void) | null = null;
  /** Our direction is closed: nothing is sent any more. */
  #closed = false;
  #destroyed = false;
  #chunkAtMs = 0;

  #paused = false;
  #releasing = false;
  /** BOUNDED: by the chunk that was read when reading paused, and those that the socket still gives out then. */
  readonly #held: Held[] = [];

  constructor(socket: Socket, clock: Clock, handlers: ConnectionHandlers) {
    this.#socket = socket;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#decoder = new RecordDecoder(this);
    this.lastReadMs =
      this.lastWriteMs =
      this.lastHandedMs =
      this.#lastQueuedMs =
        clock.nowMs();
    socket.attach({
      onData: (chunk) => {
        if (this.#closed) return;
        this.counters.reads++;
        this.meter?.socketRead();
        this.counters.bytesRead += chunk.length;
        this.#chunkAtMs = clock.nowMs();
        const before = this.#decoder.steps;
        this.#decoder.push(chunk);
        if (this.#decoder.steps !== before) this.lastReadMs = this.#chunkAtMs;
      },
      onEnd: (end) => {
        if (this.#destroyed) return;
        if (this.#held.length > 0 && end.how === "eof" && !this.#closed) {
          this.#held.push({ socketEnd: end });
          return;
        }
        this.#held.length = 0;
        this.#closed = this.#destroyed = true;
        this.#handlers.onEnd(end);
      },
    });
  }

  get remote(): Socket["remote"] {
    return this.#socket.remote;
  }

  get local(): Socket["local"] {
    return this.#socket.local;
  }

  /** From now on frames other than ERROR_MSG are checked, and messages are sent with sequence and MAC. */
  setKeys(keys: { send: MacKey; receive: MacKey }): void {
    this.#sendKey = keys.send;
    this.#receiveKey = keys.receive;
  }

  /** Allows frames of up to 16 MiB: called when our own state becomes GOT_AUTH. */
  allowLargeFrames(): void {
    this.#decoder.maxBytes = MAX_MESSAGE_SIZE;
  }

  /** Called whenever the system took everything that was written. */
  set onFlushed(call: (() => void) | null) {
    this.#onFlushed = call;
  }

  /** Sends a message. HELLO and ERROR_MSG go out without sequence and MAC, as does anything before the keys are known. */
  send(message: Uint8Array): void {
    if (this.#closed) return;
    const type = readUint32(message, 0);
    const length = message.length + AUTHENTICATED_OVERHEAD;
    this.#lastQueuedMs = this.#clock.nowMs();
    if (this.#outLength === 0) this.#firstQueuedMs = this.#lastQueuedMs;
    const at = this.#reserve(length + 4);
    const out = this.#out;
    this.#composing = true;
    writeUint32(out, at, length | 0x80000000);
    writeUint32(out, at + 4, 0);
    out.set(message, at + 16);
    const macAt = at + 16 + message.length;
    if (type === MessageType.hello || type === MessageType.errorMsg || this.#sendKey === null) {
      out.fill(0, at + 8, at + 16);
      out.fill(0, macAt, macAt + MAC_BYTES);
    } else {
      writeUint32(out, at + 8, this.#sendHigh);
      writeUint32(out, at + 12, this.#sendLow);
      out.set(this.#sendKey.mac(out.subarray(at + 8, macAt)), macAt);
      this.#sendLow = (this.#sendLow + 1) >>> 0;
      if (this.#sendLow === 0) this.#sendHigh++;
    }
    this.#composing = false;
    this.counters.messagesWritten++;
    this.counters.bytesWritten += length + 4;
    this.meter?.written(type, message.length);
    if (this.#outLength >= this.maxBatchBytes || ++this.#outMessages >= this.maxBatchMessages) {
      if (this.#writing) this.#keepBatch();
      else this.#hand();
    } else if (!this.#flushQueued) {
      this.#flushQueued = true;
      queueMicrotask(this.#flushTick);
    }
    if (this.#outLength + this.#batchedBytes + this.#handedBytes > this.maxUnsentBytes) this.#handlers.onOverflow?.();
  }

  /** Hands what is queued to the socket, unless a write is under way: then it leaves when that is done. */
  flush(): void {
    // A frame at work must not leave half made, whatever runs while its MAC is computed; `send` looks after it.
    if (!this.#writing && !this.#composing) this.#hand();
  }

  readonly #flushTick = (): void => {
    this.#flushQueued = false;
    this.flush();
  };

  /** Hands the next batch, or else what was sent since, to the socket. */
  #hand(): void {
    if (this.#closed) return;
    const batch = this.#batches.shift();
    if (batch !== undefined) {
      this.#batchedBytes -= batch.bytes.length;
      this.#write(batch.bytes, batch.last, batch.firstQueuedMs, batch.lastQueuedMs);
    } else if (this.#outLength > 0) {
      this.#write(this.#takeOut(), this.counters.messagesWritten, this.#firstQueuedMs, this.#lastQueuedMs);
    }
  }

  #write(bytes: Uint8Array, last: number, firstQueuedMs: number, lastQueuedMs: number): void {
    this.#handedMs = this.#clock.nowMs();
    const queuedMs = this.#handedMs - firstQueuedMs;
    this.writeQueueDelays.add(this.#handedMs, queuedMs);
    this.meter?.socketWrite(queuedMs);
    this.lastHandedMs = lastQueuedMs;
    this.#handedBytes = bytes.length;
    this.#handedLast = last;
    this.#writing = true;
    this.counters.writes++;
    this.#socket.write(bytes, this.#written);
  }

  #keepBatch(): void {
    const bytes = this.#takeOut();
    this.#batchedBytes += bytes.length;
    const last = this.counters.messagesWritten;
    this.#batches.push({ bytes, last, firstQueuedMs: this.#firstQueuedMs, lastQueuedMs: this.#lastQueuedMs });
  }

  #takeOut(): Uint8Array {
    const length = this.#outLength;
    this.#outLength = this.#outMessages = 0;
    if (length <= KEPT_BUFFER_BYTES) return this.#out.slice(0, length);
    const bytes = this.#out.subarray(0, length);
    this.#out = new Uint8Array(KEPT_BUFFER_BYTES);
    return bytes;
  }

  readonly #written = (): void => {
    this.#writing = false;
    this.#handedBytes = 0;
    const nowMs = this.lastWriteMs = this.#clock.nowMs();
    this.writeDelays.add(nowMs, nowMs - this.#handedMs);
    this.meter?.socketWritten(nowMs - this.#handedMs);
    if (!this.#closed) this.#handlers.onWritten?.(this.#handedLast);
    if (this.#outLength > 0 || this.#batches.length > 0) this.flush();
    else if (!this.#closed) this.#onFlushed?.();
  };

  /** Bytes sent that the system has not taken, those of the current tick included. */
  get unsentBytes(): number {
    return this.#outLength + this.#batchedBytes + this.#socket.unsentBytes;
  }

  /** Whether the header of a frame was read whose body is not complete. */
  get inBody(): boolean {
    return this.#decoder.inBody;
  }

  /** Whether reading is paused. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Stops reading. What was read already is held, in order, and unchecked. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  /** Hands on what was held, until it is all gone or a handler pauses again; then reads on. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.#releasing) return;
    this.#releasing = true;
    const held = this.#held;
    let next = 0;
    try {
      while (!this.#paused && !this.#closed && next < held.length) this.#release(held[next++]);
    } finally {
      // At once, not one by one: a shift would move all the others.
      held.splice(0, next);
      this.#releasing = false;
      // Also when a handler threw: what comes must stay behind what is held.
      if (held.length > 0) this.#paused = true;
    }
    if (!this.#paused && !this.#closed) this.#socket.resume();
  }

  #release(held: Held): void {
    if ("chunk" in held) {
      this.#chunkAtMs = held.atMs;
      this.#onRecord(held.chunk, held.start, held.end);
    } else if ("problem" in held) this.#handlers.onProblem(held.problem);
    else {
      this.#closed = this.#destroyed = true;
      this.#handlers.onEnd(held.socketEnd);
    }
  }

  /**
   * Reads no more, sends what is queued and closes our direction. `onEnd` follows when the remote closes its own; the owner
   * destroys the socket if that takes too long.
   */
  shutdown(): void {
    if (this.#closed) return;
    this.#decoder.stop();
    this.#held.length = 0;
    while (this.#outLength > 0 || this.#batches.length > 0) this.#hand();
    this.#closed = true;
    // Paused, the socket would not see the remote's end.
    if (this.#paused) this.#socket.resume();
    this.#socket.shutdown();
  }

  /** Closes at once. */
  destroy(): void {
    this.#decoder.stop();
    this.#held.length = this.#batches.length = 0;
    this.#closed = this.#destroyed = true;
    this.#socket.destroy();
  }

  onRecord(chunk: Uint8Array, start: number, end: number): void {
    if (this.#paused) this.#held.push({ chunk, start, end, atMs: this.#chunkAtMs });
    else this.#onRecord(chunk, start, end);
  }

  #onRecord(chunk: Uint8Array, start: number, end: number): void {
    this.counters.messagesRead++;
    const length = end - start;
    if (length < AUTHENTICATED_OVERHEAD + 4 || (length & 3) !== 0) {
      this.#refuse({ kind: "corrupt", reason: `${length} bytes`, body: chunk.slice(start, end) });
      return;
    }
    if (readUint32(chunk, start) !== 0) {
      this.#refuse({ kind: "corrupt", reason: "unknown AuthenticatedMessage version", body: chunk.slice(start, end) });
      return;
    }
    const type = readUint32(chunk, start + 12);
    const message = chunk.subarray(start + 12, end - MAC_BYTES);
    if (messageTypeName(type) === undefined) {
      this.#refuse({ kind: "corrupt", reason: `unknown message type ${type | 0}`, body: chunk.slice(start, end) });
      return;
    }
    if (this.#receiveKey !== null && type !== MessageType.errorMsg) {
      const high = readUint32(chunk, start + 4), low = readUint32(chunk, start + 8);
      if (low !== this.#receiveLow || high !== this.#receiveHigh) {
        this.#refuse({
          kind: "sequence",
          expected: wide(this.#receiveHigh, this.#receiveLow),
          actual: wide(high, low),
          message: message.slice(),
        });
        return;
      }
      const mac = this.#receiveKey.mac(chunk.subarray(start + 4, end - MAC_BYTES));
      if (!equalConstantTime(mac, chunk.subarray(end - MAC_BYTES, end))) {
        this.#refuse({ kind: "mac", message: message.slice() });
        return;
      }
      this.#receiveLow = (low + 1) >>> 0;
      if (this.#receiveLow === 0) this.#receiveHigh++;
    }
    this.#handlers.onMessage(type, message, this.#chunkAtMs);
  }

  onBadLength(length: number, limit: number, header: Uint8Array): void {
    const problem: FrameProblem = { kind: "badLength", length, limit, header };
    if (this.#paused) this.#held.push({ problem });
    else this.#handlers.onProblem(problem);
  }

  #refuse(problem: FrameProblem): void {
    this.#decoder.stop();
    this.#held.length = 0;
    this.#handlers.onProblem(problem);
  }

  #reserve(n: number): number {
    const at = this.#outLength;
    if (at + n > this.#out.length) {
      const grown = new Uint8Array(Math.max(2 * this.#out.length, at + n));
      grown.set(this.#out.subarray(0, at));
      this.#out = grown;
    }
    this.#outLength = at + n;
    return at;
  }
}

function wide(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}
