/** A stream whose sender is slow: every write of ours, and the end of our direction, comes late by the same time. */
import type { Clock } from "../../overlay/base/clock.ts";
import type { Endpoint, Socket, SocketHandlers } from "../../overlay/transport/transport.ts";

/** Delays what is written to `socket`; what is read is not touched. */
export class SlowSocket implements Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  #waitingBytes = 0;

  constructor(readonly socket: Socket, readonly clock: Clock, readonly delayMs: number) {
    this.remote = socket.remote;
    this.local = socket.local;
  }

  attach(handlers: SocketHandlers): void {
    this.socket.attach(handlers);
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    this.#waitingBytes += bytes.length;
    this.clock.setTimer(this.delayMs, () => {
      this.#waitingBytes -= bytes.length;
      this.socket.write(bytes, onWritten);
    });
  }

  get unsentBytes(): number {
    return this.#waitingBytes + this.socket.unsentBytes;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  shutdown(): void {
    this.clock.setTimer(this.delayMs, () => this.socket.shutdown());
  }

  destroy(): void {
    this.socket.destroy();
  }
}
