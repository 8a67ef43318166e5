/** A stream whose first record can be looked at before its owner is chosen: an acceptor learns the caller's network from it. */
import { concatBytes, readUint32 } from "../../overlay/base/bytes.ts";
import type { Clock } from "../../overlay/base/clock.ts";
import type { Endpoint, Socket, SocketEnd, SocketHandlers } from "../../overlay/transport/transport.ts";
import { MAX_UNAUTH_MESSAGE_SIZE, RECORD_HEADER_BYTES } from "../../overlay/wire/record.ts";

/** Keeps what comes first until {@link attach}, which hands it on. */
export class PeekedSocket implements Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly #inner: Socket;
  readonly #clock: Clock;
  /** BOUNDED: the inner stream is paused once a whole record, or the largest one there may be, is here. */
  #held: Uint8Array = new Uint8Array(0);
  #end: SocketEnd | undefined;
  #handlers: SocketHandlers | undefined;
  #looked = false;

  /** `onFirst` is called once: the first record is here, or what came is none, or the stream ended. */
  constructor(
    inner: Socket,
    clock: Clock,
    onFirst: (peeked: PeekedSocket, bytes: Uint8Array, end: SocketEnd | undefined) => void,
  ) {
    this.#inner = inner;
    this.#clock = clock;
    this.remote = inner.remote;
    this.local = inner.local;
    const look = () => {
      if (this.#looked || (this.#end === undefined && !isWhole(this.#held))) return;
      this.#looked = true;
      if (this.#end === undefined) inner.pause();
      onFirst(this, this.#held, this.#end);
    };
    inner.attach({
      onData: (chunk) => {
        if (this.#handlers !== undefined) this.#handlers.onData(chunk);
        else {
          this.#held = concatBytes(this.#held, chunk);
          look();
        }
      },
      onEnd: (end) => {
        if (this.#handlers !== undefined) this.#handlers.onEnd(end);
        else {
          this.#end = end;
          look();
        }
      },
    });
  }

  attach(handlers: SocketHandlers): void {
    // Handlers are never called within the call that names them.
    this.#clock.setTimer(0, () => {
      this.#handlers = handlers;
      const held = this.#held;
      this.#held = new Uint8Array(0);
      if (held.length > 0) handlers.onData(held);
      if (this.#end !== undefined) handlers.onEnd(this.#end);
      else this.#inner.resume();
    });
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    this.#inner.write(bytes, onWritten);
  }

  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  shutdown(): void {
    this.#inner.shutdown();
  }

  destroy(): void {
    this.#inner.destroy();
  }
}

/** A whole record, or the beginning of something that will never be one of a caller. */
function isWhole(bytes: Uint8Array): boolean {
  if (bytes.length < RECORD_HEADER_BYTES) return false;
  const mark = readUint32(bytes, 0), length = mark & 0x7fffffff;
  return mark < 0x80000000 || length > MAX_UNAUTH_MESSAGE_SIZE || bytes.length >= RECORD_HEADER_BYTES + length;
}
