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

/** Bytes of AuthenticatedMessage around a message: version, sequence, MAC. */
export const AUTHENTICATED_OVERHEAD = 44;
/** Bytes on the wire around a message: the record mark and {@link AUTHENTICATED_OVERHEAD}. */
export const WIRE_OVERHEAD = 48;
const MAC_BYTES = 32;
/** Messages up to this size are copied into the shared outgoing buffer, and that buffer is reused after small flushes. */
const KEPT_BUFFER_BYTES = 4096;
/** A batch this large is written without waiting for the end of the tick. Source: stellar-core MAX_BATCH_WRITE_BYTES. */
const MAX_BATCH_BYTES = 1024 * 1024;

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
}

/** Counters of one connection. Bytes are those of the stream, so `bytesRead` also counts what is no whole frame yet. */
export interface ConnectionCounters {
  messagesRead: number;
  bytesRead: number;
  messagesWritten: number;
  bytesWritten: number;
}

/** Both directions of one peer's stream. */
export class Connection implements RecordSink {
  readonly counters: ConnectionCounters = { messagesRead: 0, bytesRead: 0, messagesWritten: 0, bytesWritten: 0 };
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
  #flushQueued = false;
  #lastQueuedMs: number;
  /** One write is under way at a time, as upstream's async_write; what is sent meanwhile leaves in the next. */
  #writing = false;
  #onFlushed: (() => void) | null = null;
  /** Our direction is closed: nothing is sent any more. */
  #closed = false;
  #destroyed = false;
  #chunkAtMs = 0;

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
        this.counters.bytesRead += chunk.length;
        this.#chunkAtMs = clock.nowMs();
        const before = this.#decoder.steps;
        this.#decoder.push(chunk);
        if (this.#decoder.steps !== before) this.lastReadMs = this.#chunkAtMs;
      },
      onEnd: (end) => {
        if (this.#destroyed) return;
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
    const at = this.#reserve(length + 4);
    const out = this.#out;
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
    this.counters.messagesWritten++;
    this.counters.bytesWritten += length + 4;
    this.#lastQueuedMs = this.#clock.nowMs();
    if (this.#outLength >= MAX_BATCH_BYTES) this.flush();
    else if (!this.#flushQueued) {
      this.#flushQueued = true;
      queueMicrotask(this.#flushTick);
    }
  }

  /** Hands what is queued to the socket, unless a write is under way: then it leaves when that is done. */
  flush(): void {
    if (!this.#writing) this.#hand();
  }

  readonly #flushTick = (): void => {
    this.#flushQueued = false;
    this.flush();
  };

  #hand(): void {
    const length = this.#outLength;
    if (length === 0 || this.#closed) return;
    this.#outLength = 0;
    let bytes: Uint8Array;
    if (length <= KEPT_BUFFER_BYTES) bytes = this.#out.slice(0, length);
    else {
      bytes = this.#out.subarray(0, length);
      this.#out = new Uint8Array(KEPT_BUFFER_BYTES);
    }
    this.lastHandedMs = this.#lastQueuedMs;
    this.#writing = true;
    this.#socket.write(bytes, this.#written);
  }

  readonly #written = (): void => {
    this.#writing = false;
    this.lastWriteMs = this.#clock.nowMs();
    if (this.#outLength > 0) this.#hand();
    else if (!this.#closed) this.#onFlushed?.();
  };

  /** Bytes sent that the system has not taken, those of the current tick included. */
  get unsentBytes(): number {
    return this.#outLength + this.#socket.unsentBytes;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /**
   * Reads no more, sends what is queued and closes our direction. `onEnd` follows when the remote closes its own; the owner
   * destroys the socket if that takes too long.
   */
  shutdown(): void {
    if (this.#closed) return;
    this.#decoder.stop();
    this.#hand();
    this.#closed = true;
    this.#socket.shutdown();
  }

  /** Closes at once. */
  destroy(): void {
    this.#decoder.stop();
    this.#closed = this.#destroyed = true;
    this.#socket.destroy();
  }

  onRecord(chunk: Uint8Array, start: number, end: number): void {
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
    this.#handlers.onProblem({ kind: "badLength", length, limit, header });
  }

  #refuse(problem: FrameProblem): void {
    this.#decoder.stop();
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
