/** The real streams of the process. A reader that closes the pipe ends the program quietly with 0. */
import { closeSync, openSync, renameSync, statSync, unlinkSync, write as writeLater, writeSync } from "node:fs";
import { OverlayError } from "../overlay/base/errors.ts";
import type { Io } from "./context.ts";
import { OutputQueue } from "./output_queue.ts";

/** Whether a stream may carry colour. Order: NO_COLOR, FORCE_COLOR, TERM=dumb, then the terminal. */
export function mayColour(isTerminal: boolean, env: Record<string, string | undefined>): boolean {
  if ((env.NO_COLOR ?? "") !== "") return false;
  const force = env.FORCE_COLOR ?? "";
  if (force !== "") return force !== "0" && force !== "false";
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
        throw new OverlayError({
          code: "file_unwritable",
          path: fd === 1 ? "stdout" : "stderr",
          reason: code ?? String(error),
        });
      }
    }
  };
  return {
    out: (text) => write(1, text),
    err: (text) => write(2, text),
    readInput: async () => (await readStdin()).toString("utf8"),
    readInputBytes: async () => new Uint8Array(await readStdin()),
    prompt: (question, options) => readLine(question, options, (text) => write(2, text)),
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    inIsTerminal: process.stdin.isTTY === true,
    get columns() {
      // A pseudo terminal without a size says 0.
      return process.stdout.columns || process.stderr.columns || undefined;
    },
    get terminal() {
      if (process.stdin.isTTY !== true || process.stdout.isTTY !== true || env.TERM === "dumb") return undefined;
      return { stdin: process.stdin, stdout: process.stdout };
    },
    outColour: mayColour(process.stdout.isTTY === true, env),
    errColour: mayColour(process.stderr.isTTY === true, env),
    get outClosed() {
      return outClosed;
    },
    openQueue: (clock, onGone) =>
      // On a thread of its own: a write to a full pipe blocks, and nobody else may wait for it.
      new OutputQueue((fd, bytes, done) => writeLater(fd, bytes, (error, written) => done(error, written ?? 0)), {
        clock,
        onGone,
      }),
  };
}

async function readStdin(): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** A file that results go to. */
export interface OutFile {
  /** @throws OverlayError `file_unwritable` */
  write(text: string): void;
  /** Makes what was written the file's content. */
  finish(): void;
  /** Leaves the file as it was, when it was not written as it came. */
  abandon(): void;
}

/**
 * Opens the file of `--out` before the work begins, so that a wrong path costs nothing. Unless it is written `live`, line by
 * line, the content goes beside it first and takes its place only when it is whole: an older result is not lost to a failure.
 * @throws OverlayError `file_unwritable`
 */
export function openOutFile(path: string, options: { live: boolean }): OutFile {
  const target = options.live || isDevice(path) ? path : `${path}.part`;
  const guard = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
    }
  };
  const fd = guard(() => openSync(target, "w"));
  return {
    write: (text) => {
      const bytes = new TextEncoder().encode(text);
      let at = 0;
      guard(() => {
        while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
      });
    },
    finish: () =>
      guard(() => {
        closeSync(fd);
        if (target !== path) renameSync(target, path);
      }),
    abandon: () => {
      try {
        closeSync(fd);
        if (target !== path) unlinkSync(target);
      } catch {
        // Nothing of the user's is in it.
      }
    },
  };
}

/** A result goes to the file of `--out`, whole, or else to stdout. Whether there was a file. @throws OverlayError `file_unwritable` */
export function writeResult(text: string, path: string | undefined, io: Pick<Io, "out">): boolean {
  if (path === undefined) {
    io.out(text);
    return false;
  }
  const file = openOutFile(path, { live: false });
  file.write(text);
  file.finish();
  return true;
}

/** A pipe, terminal or device is written as it is. */
function isDevice(path: string): boolean {
  try {
    return !statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Longest line that is taken from a terminal. */
const MAX_LINE = 4096;

/** A line from the terminal of stdin, without echo when hidden: then keys arrive one by one, and Ctrl-C is a key too. */
function readLine(
  question: string,
  { hidden, signal }: { hidden: boolean; signal: AbortSignal },
  show: (text: string) => void,
): Promise<string | undefined> {
  const { stdin } = process;
  return new Promise((resolve) => {
    let line = "";
    const done = (result: string | undefined) => {
      if (hidden) stdin.setRawMode?.(false);
      stdin.pause();
      stdin.removeListener("data", take);
      stdin.removeListener("end", end);
      signal.removeEventListener("abort", end);
      if (hidden || result === undefined) show("\n");
      resolve(result);
    };
    const end = () => done(undefined);
    const take = (chunk: string) => {
      for (const key of chunk) {
        if (key === "\r" || key === "\n") return done(line);
        if (hidden && key === "\u0003") process.kill(process.pid, "SIGINT");
        else if (hidden && key === "\u0004") return end();
        else if (hidden && (key === "\u007f" || key === "\b")) line = line.slice(0, -1);
        else if (line.length < MAX_LINE) line += key;
      }
    };
    if (signal.aborted) return end();
    // Before the question: who answers at once must not be echoed.
    if (hidden) stdin.setRawMode?.(true);
    show(question);
    stdin.setEncoding("utf8");
    stdin.on("data", take);
    stdin.on("end", end);
    signal.addEventListener("abort", end, { once: true });
    stdin.resume();
  });
}
