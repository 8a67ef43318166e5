/**
 * Writes a capture behind the back of whoever is captured: records are queued and written by the system meanwhile, so a slow
 * disk holds nobody up. A disk that fails ends the capture, not the program.
 */
import { closeSync, fchmodSync, fstatSync, ftruncateSync, openSync, readSync, write, writeSync } from "node:fs";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { type CaptureRecord, encodeCaptureHeader, encodeRecord } from "./format.ts";
import { CaptureScanner } from "./reader.ts";

/** Bytes that may wait for the disk; records beyond are lost, and counted in the file. */
export const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Bytes read at once. */
const READ_BYTES = 1024 * 1024;

/** Where the bytes go. `done` is called later, with an error when they were not written. */
export interface CaptureOutput {
  write(bytes: Uint8Array, done: (error?: Error) => void): void;
  close(): void;
}

/** What a {@link CaptureWriter} is made of. */
export interface CaptureWriterOptions {
  /** Default {@link MAX_WAITING_BYTES}. */
  maxWaitingBytes?: number;
  /** Hears once, in words, that nothing more is captured. */
  onFailure: (reason: string) => void;
}

/** One open capture. */
export class CaptureWriter {
  readonly #output: CaptureOutput;
  readonly #maxWaitingBytes: number;
  readonly #onFailure: (reason: string) => void;
  /** Records that wait for the write under way. BOUNDED: `maxWaitingBytes`. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #lost = { records: 0, bytes: 0 };
  #writing = false;
  #failed = false;
  #closed: (() => void) | undefined;

  constructor(output: CaptureOutput, options: CaptureWriterOptions) {
    this.#output = output;
    this.#maxWaitingBytes = options.maxWaitingBytes ?? MAX_WAITING_BYTES;
    this.#onFailure = options.onFailure;
  }

  /** Whether the capture ended because the disk failed. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Takes one record. `atUs` is its time, for the note that records were lost. */
  add(record: CaptureRecord, atUs: bigint): void {
    if (this.#failed || this.#closed !== undefined) return;
    const bytes = encodeRecord(record);
    if (this.#waitingBytes + bytes.length > this.#maxWaitingBytes) {
      this.#lost.records++;
      this.#lost.bytes += bytes.length;
      return;
    }
    if (this.#lost.records > 0) {
      const { records, bytes: lost } = this.#lost;
      this.#lost = { records: 0, bytes: 0 };
      this.#queue(encodeRecord({ type: "lost", lost: { atUs, records, bytes: BigInt(lost) } }));
    }
    this.#queue(bytes);
  }

  /** Writes what waits and closes the file. It resolves also when that fails; `onFailure` has heard of it then. */
  close(atUs: bigint): Promise<void> {
    if (this.#lost.records > 0 && !this.#failed) {
      const { records, bytes } = this.#lost;
      this.#queue(encodeRecord({ type: "lost", lost: { atUs, records, bytes: BigInt(bytes) } }));
    }
    return new Promise((resolve) => {
      this.#closed = resolve;
      if (!this.#writing) this.#next();
    });
  }

  #queue(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#writing) {
      this.#writing = true;
      // At the end of the tick: what one chunk brought leaves in one write.
      queueMicrotask(() => this.#next());
    }
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#failed) {
      this.#writing = false;
      if (this.#closed !== undefined) {
        if (!this.#failed) this.#output.close();
        this.#closed();
      }
      return;
    }
    this.#writing = true;
    const bytes = this.#waiting.length === 1 ? this.#waiting[0] : concatBytes(...this.#waiting);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#output.write(bytes, (error) => {
      if (error !== undefined) this.#fail(error);
      this.#next();
    });
  }

  #fail(error: Error): void {
    this.#failed = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    try {
      this.#output.close();
    } catch {
      // It had failed already.
    }
    this.#onFailure((error as NodeJS.ErrnoException).code ?? error.message);
  }
}

/** A file that was opened to capture into. */
export interface OpenedCapture {
  output: CaptureOutput;
  /** Bytes of a torn record that were cut off its end, so that reading goes on. */
  cut: number;
  /** Whether the file held captures before. */
  appended: boolean;
}

/**
 * Opens `path` to append, and makes it when it is not there. `secret` makes it readable by its owner only, also when it was
 * there. @throws OverlayError `file_unwritable`; `capture_invalid` when the file is something else
 */
export function openCapture(path: string, options: { secret: boolean }): OpenedCapture {
  let fd: number;
  try {
    fd = openSync(path, "a+", options.secret ? 0o600 : 0o666);
  } catch (error) {
    throw unwritable(path, error);
  }
  try {
    if (options.secret) fchmodSync(fd, 0o600);
    const stat = fstatSync(fd);
    const output = fileOutput(fd);
    if (!stat.isFile() || stat.size === 0) {
      // At once and here: a full disk or a closed pipe is the user's to know before the work begins.
      writeSync(fd, encodeCaptureHeader());
      return { output, cut: 0, appended: false };
    }
    const end = endOfRecords(fd, path);
    if (end < stat.size) ftruncateSync(fd, end);
    return { output, cut: stat.size - end, appended: true };
  } catch (error) {
    closeSync(fd);
    throw error instanceof OverlayError ? error : unwritable(path, error);
  }
}

function fileOutput(fd: number): CaptureOutput {
  return {
    write: (bytes, done) => {
      const rest = (at: number) =>
        write(fd, bytes, at, bytes.length - at, null, (error, written) => {
          if (error !== null) done(error);
          else if (at + written < bytes.length) rest(at + written);
          else done();
        });
      rest(0);
    },
    close: () => closeSync(fd),
  };
}

/** Where a torn record at the end begins; the file's size when there is none. */
function endOfRecords(fd: number, path: string): number {
  const scanner = new CaptureScanner(path);
  const buffer = new Uint8Array(READ_BYTES);
  let at = 0, end: number | undefined;
  while (true) {
    const n = readSync(fd, buffer, 0, READ_BYTES, at);
    for (const item of n === 0 ? scanner.finish() : scanner.push(buffer.slice(0, n))) {
      if ("notice" in item && item.notice.kind === "truncated") end = item.notice.offset;
    }
    if (n === 0) return end ?? at;
    at += n;
  }
}

/** The chunks of a file, of at most 1 MiB each. @throws OverlayError `file_unreadable` */
export function* readChunks(path: string): Generator<Uint8Array> {
  const unreadable = (error: unknown) =>
    new OverlayError(
      { code: "file_unreadable", path, reason: (error as NodeJS.ErrnoException).code ?? String(error) },
      {
        cause: error,
      },
    );
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw unreadable(error);
  }
  try {
    while (true) {
      const buffer = new Uint8Array(READ_BYTES);
      let n: number;
      try {
        n = readSync(fd, buffer, 0, READ_BYTES, null);
      } catch (error) {
        throw unreadable(error);
      }
      if (n === 0) return;
      yield buffer.subarray(0, n);
    }
  } finally {
    closeSync(fd);
  }
}

function unwritable(path: string, error: unknown): OverlayError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
}
