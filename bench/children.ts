/**
 * The processes of a benchmark: the parent starts a child and asks it one thing after the other; the child answers each
 * with one line of JSON. A child that waits costs nothing, so all of them stay alive while they are measured in turn.
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** What a child is asked: `do` names the handler, the rest are its arguments. */
export type Question = { do: string } & Record<string, unknown>;
/** What it answers. */
// deno-lint-ignore no-explicit-any
export type Answer = any;

/** The runtime that runs this file, as a command. */
const RUNTIME = "Deno" in globalThis ? [process.execPath, "run", "-A", "--no-check"] : [process.execPath];

/** Longer than any round takes. A child that lost count would keep the benchmark waiting for ever. */
const ANSWER_MS = 60_000;

/** A running child. */
export class Child {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];

  private constructor(name: string, command: string[]) {
    this.#name = name;
    this.#process = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    const fail = (error: Error) => this.#waiting.splice(0).forEach((waiting) => waiting.reject(error));
    this.#process.on("error", fail);
    this.#process.on("exit", (code, signal) => fail(new Error(`${name} ended with ${code ?? signal}`)));
    createInterface({ input: this.#process.stdout! }).on("line", (line) => {
      const answer = JSON.parse(line);
      const waiting = this.#waiting.shift();
      if (answer.error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(`${name}: ${answer.error}`));
    });
  }

  /** A child in the runtime that runs us. `file` stands beside this one. */
  static ours(file: string, ...args: string[]): Child {
    return new Child(`${file} ${args.join(" ")}`, [...RUNTIME, beside(file), ...args]);
  }

  /** A child under Node, for the connector. */
  static node(file: string, ...args: string[]): Child {
    return new Child(`${file} ${args.join(" ")}`, ["node", beside(file), ...args]);
  }

  /** The answer; fails when it takes longer than {@link ANSWER_MS}. */
  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.#name}: no answer to ${question.do}`)), ANSWER_MS);
      const settle = <T>(how: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        how(value);
      };
      this.#waiting.push({ resolve: settle(resolve), reject: settle(reject) });
      this.#process.stdin!.write(JSON.stringify(question) + "\n");
    });
  }

  /** Ends it: its input closes, and it leaves. */
  stop(): void {
    this.#process.stdin!.end();
  }
}

/** Path of a file beside this one. */
export function beside(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

/** The child's side: answers until the parent closes our input. */
export function serve(handlers: Record<string, (question: Answer) => unknown>): void {
  createInterface({ input: process.stdin }).on("line", async (line) => {
    const question = JSON.parse(line);
    let answer: unknown;
    try {
      answer = await handlers[question.do](question) ?? {};
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }).on("close", () => process.exit(0));
}

/** CPU time of this process, user and system, us. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Counts what happens until a number is reached: rate and CPU of one round. */
export class Meter {
  #count = 0;
  #wanted = 0;
  #startedMs = 0;
  #cpuUs = 0;
  #done: ((answer: Answer) => void) | undefined;
  #result: Promise<Answer> | undefined;

  /** Begins a round of `n`; `result` resolves when the n-th happened. */
  start(n: number): void {
    this.#count = 0;
    this.#wanted = n;
    this.#startedMs = 0;
    this.#result = new Promise((resolve) => (this.#done = resolve));
    this.#cpuUs = cpuUs();
  }

  get count(): number {
    return this.#count;
  }

  /** One more. The clock starts with the first. */
  hit(): void {
    if (this.#count++ === 0) this.#startedMs = performance.now();
    if (this.#count === this.#wanted) this.#finish();
  }

  #finish(): void {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const cpu = (cpuUs() - this.#cpuUs) / this.#wanted;
    this.#done?.({ perSecond: this.#wanted / seconds, cpuUs: cpu });
  }

  result(): Promise<Answer> {
    return this.#result!;
  }
}
