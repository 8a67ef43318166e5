/** A line on stderr that says how far the work is. Drawn only on a terminal; elsewhere nothing is printed. */
import type { Clock, Timer } from "../overlay/base/clock.ts";
import type { Io } from "./context.ts";

/** Redraws at most this often, ms. */
const REDRAW_MS = 100;

/** A progress line under way. Dispose it before printing results. */
export interface Progress extends Disposable {
  /** Says what to draw next, as plain text; it is asked for only when the line is drawn. */
  show(line: () => string): void;
  /** Prints a line of its own above the progress line, on a terminal or not. */
  log(line: string): void;
}

/** Starts a progress line on stderr. */
export function startProgress(io: Io, clock: Clock): Progress {
  let timer: Timer | undefined;
  let next: (() => string) | undefined;
  let drawn = false;
  const clear = () => {
    if (drawn) io.err("\r\x1b[K");
    drawn = false;
  };
  const draw = () => {
    timer = undefined;
    if (next === undefined) return;
    const width = (io.columns ?? 80) - 1;
    io.err(`\r\x1b[K${next().slice(0, width)}`);
    drawn = true;
  };
  return {
    show(line) {
      if (!io.errIsTerminal) return;
      next = line;
      timer ??= clock.setTimer(REDRAW_MS, draw);
    },
    log(line) {
      clear();
      io.err(line + "\n");
      if (next !== undefined && io.errIsTerminal) draw();
    },
    [Symbol.dispose]() {
      timer?.cancel();
      next = undefined;
      clear();
    },
  };
}
