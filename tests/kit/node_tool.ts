/** Nodes of `run` as processes of their own, through the program, for tests over real TCP. */
import assert from "node:assert/strict";
import { type RunningTool, startTool } from "./tool.ts";

/** One line of `run --log json`. */
export interface LogLine {
  schema: string;
  type: string;
  at: string;
  level: string;
  [field: string]: unknown;
}

/** A node under way. */
export interface RunningNode {
  run: RunningTool;
  /** `127.0.0.1:port`. */
  address: string;
  nodeId: string;
  /** `http://127.0.0.1:port`, when it serves pages. */
  pages: string;
  /** The log so far. */
  lines(): LogLine[];
  /** The first line that fits, now or later. */
  line(fits: (line: LogLine) => boolean, what: string): Promise<LogLine>;
  /** Ends it by a signal and gives the exit status. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a node on 127.0.0.1 and a free port, network local, with a JSON log; ready when it listens. */
export async function startNode(
  args: readonly string[],
  options: { limitMs?: number; log?: string; noDatabase?: boolean } = {},
): Promise<RunningNode> {
  const database = options.noDatabase === false ? [] : ["--no-db"];
  const fixed = ["run", "--network", "local", "--listen", "127.0.0.1:0", "--metrics", "0", "--log", "json"];
  const run = startTool([...fixed, ...database, ...args], { limitMs: options.limitMs ?? 60_000 });
  const lines = () => {
    const text = run.out();
    return text.slice(0, text.lastIndexOf("\n") + 1).split("\n").slice(0, -1).map((line) =>
      JSON.parse(line) as LogLine
    );
  };
  const line = async (fits: (line: LogLine) => boolean, what: string): Promise<LogLine> => {
    let found: LogLine | undefined;
    await until(() => (found = lines().find(fits)) !== undefined, () => `no line: ${what}\n${run.out()}\n${run.err()}`);
    return found!;
  };
  await run.saw('"type":"listening"');
  const starting = lines()[0];
  assert.equal(starting.type, "starting");
  const metrics = lines().find((entry) => entry.type === "metrics");
  return {
    run,
    address: starting.listen as string,
    nodeId: starting.nodeId as string,
    pages: (metrics?.url as string).replace(/\/$/, ""),
    lines,
    line,
    stop: async (signal = "SIGTERM") => {
      run.signal(signal);
      return (await run.done).status;
    },
  };
}

/** Waits until `holds`, looking often but never busily; fails after `limitMs` with what `why` says. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  why: () => string = () => "it never came true",
  limitMs = 30_000,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(why());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
