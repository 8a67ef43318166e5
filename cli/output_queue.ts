/**
 * Output that never waits for its reader: for a program that must go on while a terminal is paused or a pipe is full. Texts keep
 * their order, also between stdout and stderr when both are one terminal.
 */
import type { Clock } from "../overlay/base/clock.ts";

/** A stream of the process by number: 1 is stdout, 2 is stderr. */
export type OutFd = 1 | 2;

/** Writes some bytes without blocking the program; calls back with how many were taken, or the error. */
export type AsyncWrite = (
  fd: OutFd,
  bytes: Uint8Array,
  done: (error: { code?: string } | null, written: number) => void,
) => void;

/** Why writing to a stream is over: nobody reads a pipe, or the terminal has gone. */
export type ReaderGone = { fd: OutFd; code: string };

/** Text that waits for its reader, per queue, bytes. */
export const MAX_QUEUED_BYTES = 1024 * 1024;
/** Pause before a full non-blocking pipe is tried again, ms. */
const RETRY_MS = 20;
/** Joined into one write, bytes: what a pipe holds. */
const BATCH_BYTES = 64 * 1024;

/** See the head of this file. BOUNDED: {@link MAX_QUEUED_BYTES}; what does not fit is lost and counted. */
export class OutputQueue {
  readonly #write: AsyncWrite;
  readonly #clock: Clock;
  readonly #onGone: (gone: ReaderGone) => void;
  readonly #maxBytes: number;
  #waiting: { fd: OutFd; bytes: Uint8Array }[] = [];
  #waitingBytes = 0;
  #busy = false;
  /** Streams whose reader has gone. */
  readonly #gone = new Set<OutFd>();
  /** Texts lost since {@link takeLost}. */
  #lost = 0;
  #idle: (() => void)[] = [];

  constructor(write: AsyncWrite, options: { clock: Clock; onGone: (gone: ReaderGone) => void; maxBytes?: number }) {
    this.#write = write;
    this.#clock = options.clock;
    this.#onGone = options.onGone;
    this.#maxBytes = options.maxBytes ?? MAX_QUEUED_BYTES;
  }

  /** Writes `text` when its turn comes. False when there is no room: it is lost. */
  write(fd: OutFd, text: string): boolean {
    if (this.#gone.has(fd)) return false;
    const bytes = new TextEncoder().encode(text);
    if (this.#waitingBytes + bytes.length > this.#maxBytes) {
      this.#lost++;
      return false;
    }
    this.#waiting.push({ fd, bytes });
    this.#waitingBytes += bytes.length;
    this.#next();
    return true;
  }

  /** Texts lost since the last call. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  /** Whether there is room for a line that says what was lost. */
  get hasRoom(): boolean {
    return this.#waitingBytes < this.#maxBytes / 2;
  }

  /** Resolves when everything is written, at the latest after `limitMs`. */
  flush(limitMs: number): Promise<void> {
    if (!this.#busy) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(limitMs, resolve);
      this.#idle.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  #next(): void {
    if (this.#busy) return;
    const first = this.#waiting[0];
    if (first === undefined) {
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#busy = true;
    const { fd } = first;
    let count = 0, size = 0;
    for (const { fd: other, bytes } of this.#waiting) {
      if (other !== fd || (count > 0 && size + bytes.length > BATCH_BYTES)) break;
      count++;
      size += bytes.length;
    }
    const batch = new Uint8Array(size);
    let at = 0;
    for (const { bytes } of this.#waiting.splice(0, count)) {
      batch.set(bytes, at);
      at += bytes.length;
    }
    this.#put(fd, batch, 0);
  }

  #put(fd: OutFd, batch: Uint8Array, from: number): void {
    this.#write(fd, batch.subarray(from), (error, written) => {
      if (error?.code === "EAGAIN") {
        this.#clock.setTimer(RETRY_MS, () => this.#put(fd, batch, from));
        return;
      }
      if (error === null && from + written < batch.length) return this.#put(fd, batch, from + written);
      this.#waitingBytes -= batch.length;
      this.#busy = false;
      if (error !== null) this.#failed(fd, error.code ?? "");
      this.#next();
    });
  }

  #failed(fd: OutFd, code: string): void {
    // A full disk may have room later; a pipe without a reader and a terminal that was closed never come back.
    if (code !== "EPIPE" && code !== "EBADF" && code !== "EIO") {
      this.#lost++;
      return;
    }
    if (this.#gone.has(fd)) return;
    this.#gone.add(fd);
    this.#waiting = this.#waiting.filter((text) => text.fd !== fd);
    this.#waitingBytes = this.#waiting.reduce((sum, text) => sum + text.bytes.length, 0);
    this.#onGone({ fd, code });
  }
}
