/** Where the events of `run` go: filtered by level, bounded in number, as lines on stdout that never block the node. */
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import type { Io } from "../context.ts";
import type { OutputQueue, ReaderGone } from "../output_queue.ts";
import { logJson, logText, statusLine } from "../render/run.ts";
import { paint } from "../render/style.ts";
import { type Level, levelOf, type NodeStatus, type RunEvent, shows } from "./events.ts";
import { LogLimit } from "./log_limit.ts";

/** How long the last lines may take to reach their reader, ms. */
const FLUSH_MS = 1000;

/** See the head of this file. Also draws the status line on stderr while that is a terminal. */
export class RunLog {
  readonly #io: Io;
  readonly #clock: Clock;
  readonly #options: { format: "text" | "json"; level: Level };
  readonly #limit = new LogLimit();
  readonly #out: OutputQueue;
  readonly #err: OutputQueue;
  #status: string | undefined;
  #drawn = false;

  /** `onGone` hears once that nobody reads the log any more. */
  constructor(
    io: Io,
    clock: Clock,
    options: { format: "text" | "json"; level: Level },
    onGone: (gone: ReaderGone) => void,
  ) {
    this.#io = io;
    this.#clock = clock;
    this.#options = options;
    const gone = (gone: ReaderGone) => {
      // A pipe on stderr may go: what matters is in the log. A terminal that goes takes the program with it.
      if (gone.fd === 1 || gone.code === "EIO") onGone(gone);
    };
    this.#out = io.openQueue(clock, gone);
    // One terminal shows both streams: their order must hold.
    this.#err = io.outIsTerminal && io.errIsTerminal ? this.#out : io.openQueue(clock, gone);
  }

  /** Writes one event. */
  readonly log = (event: RunEvent): void => {
    if (!shows(this.#options.level, levelOf(event))) return;
    // Who asks for every detail gets every line.
    if (this.#options.level !== "debug" && !this.#limit.allows(event.event, this.#clock.nowMs())) return;
    this.#write(event);
  };

  /** A line for people on stderr, beside the log. */
  say(text: string): void {
    this.#clear();
    this.#err.write(2, text);
    this.#draw();
  }

  /** Tells what was left out. Call it every second or so. */
  tick(): void {
    for (const suppressed of this.#limit.take(this.#clock.nowMs())) this.#write({ event: "suppressed", ...suppressed });
    if (!this.#out.hasRoom) return;
    const lost = this.#out.takeLost();
    if (lost > 0) this.#write({ event: "linesLost", count: lost });
  }

  /** Redraws the status line. */
  show(status: NodeStatus): void {
    if (!this.#io.errIsTerminal) return;
    this.#status = statusLine(status, (this.#io.columns ?? 80) - 1);
    this.#draw();
  }

  /** Takes the status line away and waits, not forever, for the last lines to be written. */
  async close(): Promise<void> {
    this.#clear();
    this.#status = undefined;
    await Promise.all([this.#out.flush(FLUSH_MS), this.#err.flush(FLUSH_MS)]);
  }

  #write(event: RunEvent): void {
    const wallMs = this.#clock.wallMs();
    const line = this.#options.format === "json"
      ? logJson(event, wallMs)
      : logText(event, wallMs, paint(this.#io.outColour));
    if (this.#io.outIsTerminal) this.#clear();
    this.#out.write(1, line);
    if (this.#io.outIsTerminal) this.#draw();
  }

  #clear(): void {
    if (this.#drawn) this.#err.write(2, "\r\x1b[K");
    this.#drawn = false;
  }

  #draw(): void {
    if (this.#status === undefined) return;
    this.#err.write(2, `\r\x1b[K${this.#status}`);
    this.#drawn = true;
  }
}

/** Calls `act` every `periodMs` until disposed. */
export function every(clock: Clock, periodMs: number, act: () => void): Disposable {
  let timer: Timer;
  const next = () => {
    timer = clock.setTimer(periodMs, () => {
      next();
      act();
    });
  };
  next();
  return { [Symbol.dispose]: () => timer.cancel() };
}
