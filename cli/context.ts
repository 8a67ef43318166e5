/** What a command receives instead of reaching for the process: streams, time, randomness, the network, interruption. */
import type { Clock } from "../overlay/base/clock.ts";
import type { Random } from "../overlay/base/random.ts";
import type { Resolver, Transport } from "../overlay/transport/transport.ts";
import type { httpGet } from "../survey/core_http/http_get.ts";
import type { OutputQueue, ReaderGone } from "./output_queue.ts";

/** Documented exit statuses; see docs/exit-codes.md. */
export const EXIT = {
  /** Everything asked for was done. */
  ok: 0,
  /** Nothing asked for could be had. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** A result was printed, but some targets failed or a limit was hit. */
  partial: 3,
  /** No usable seed to start a crawl from. */
  noSeeds: 4,
  /** Interrupted; what was known is printed. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The two output streams and what is known about their readers. */
export interface Io {
  /** Result text on stdout. */
  out(text: string): void;
  /** Progress, warnings and hints on stderr. */
  err(text: string): void;
  /** All of stdin, as text. */
  readInput(): Promise<string>;
  /**
   * A line typed at the terminal of stdin after `question` on stderr; `hidden` shows nothing of it. Undefined when `signal` or
   * the end of the input comes first.
   */
  prompt(question: string, options: { hidden: boolean; signal: AbortSignal }): Promise<string | undefined>;
  /** All of stdin, as bytes; where it is absent, stdin is text. */
  readInputBytes?(): Promise<Uint8Array>;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly inIsTerminal: boolean;
  /** Columns of the terminal; undefined on a pipe. */
  readonly columns: number | undefined;
  /** Whether stdout, or stderr, may carry colour. */
  readonly outColour: boolean;
  readonly errColour: boolean;
  /** The reader of stdout has gone. */
  readonly outClosed: boolean;
  /** The streams of the terminal that is stdin and stdout, for a view of the whole screen; undefined when one of them is none. */
  readonly terminal?: { stdin: NodeJS.ReadStream; stdout: NodeJS.WriteStream };
  /** Output that never waits for its reader, for programs that must go on. `onGone` hears when a stream has none any more. */
  openQueue(clock: Clock, onGone: (gone: ReaderGone) => void): OutputQueue;
}

/** The outside world of a command. */
export interface CliContext {
  io: Io;
  clock: Clock;
  random: Random;
  transport: Transport;
  resolver: Resolver;
  /** The way to HTTP endpoints; that of survey/core_http/http_get.ts when absent. */
  httpGet?: typeof httpGet;
  env: Record<string, string | undefined>;
  /** Set by the first Ctrl-C or SIGTERM: finish and print what is known. */
  signal: AbortSignal;
  /** Calls `reread` at every SIGHUP, until disposed; without a listener SIGHUP ends the process, as usual. */
  onHangup(reread: () => void): Disposable;
  /** Calls `fail` with an error that nobody caught, until disposed; without a listener it is printed and ends the process. */
  onUncaught(fail: (error: unknown) => void): Disposable;
}

/** Runs a command's action with a context; its result is the exit status. */
export type Start = (run: (ctx: CliContext) => Promise<ExitCode>) => Promise<void>;
