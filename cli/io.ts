/** The real streams of the process. A reader that closes the pipe ends the program quietly with 0. */
import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { OverlayError } from "../overlay/base/errors.ts";
import type { Io } from "./context.ts";

/** Whether a stream may carry colour. Order: FORCE_COLOR, NO_COLOR, TERM=dumb, then the terminal. */
export function mayColour(isTerminal: boolean, env: Record<string, string | undefined>): boolean {
  const force = env.FORCE_COLOR ?? "";
  if (force !== "" && force !== "0" && force !== "false") return true;
  if ((env.NO_COLOR ?? "") !== "" || force !== "") return false;
  return isTerminal && env.TERM !== "dumb";
}

/**
 * Streams of the process. Writes are synchronous, so that nothing is lost when the process ends, also on a pipe.
 * `onReaderGone` is called once when nobody reads stdout any more.
 */
export function processIo(env: Record<string, string | undefined>, onReaderGone: () => void): Io {
  let outClosed = false;
  const write = (fd: number, text: string): void => {
    if (fd === 1 && outClosed) return;
    const bytes = new TextEncoder().encode(text);
    let at = 0;
    while (at < bytes.length) {
      try {
        at += writeSync(fd, bytes, at, bytes.length - at);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        // A full non-blocking pipe: its reader needs a moment.
        if (code === "EAGAIN") {
          Atomics.wait(PAUSE, 0, 0, 5);
          continue;
        }
        if (code === "EPIPE" || code === "EBADF") {
          if (fd === 1) {
            outClosed = true;
            onReaderGone();
          }
          return;
        }
        throw error;
      }
    }
  };
  return {
    out: (text) => write(1, text),
    err: (text) => write(2, text),
    readInput: async () => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
      return Buffer.concat(chunks).toString("utf8");
    },
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    inIsTerminal: process.stdin.isTTY === true,
    get columns() {
      return process.stdout.columns ?? process.stderr.columns;
    },
    outColour: mayColour(process.stdout.isTTY === true, env),
    errColour: mayColour(process.stderr.isTTY === true, env),
    get outClosed() {
      return outClosed;
    },
  };
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/**
 * A file that results go to, opened before the work begins so that a wrong path costs nothing.
 * @throws OverlayError `file_unwritable`
 */
export function openOutFile(path: string): { write(text: string): void; close(): void } {
  try {
    const fd = openSync(path, "w");
    fstatSync(fd);
    return {
      write: (text) => {
        const bytes = new TextEncoder().encode(text);
        let at = 0;
        while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
      },
      close: () => closeSync(fd),
    };
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
  }
}
