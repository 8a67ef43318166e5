/** Runs the tool as a user does: the compiled binary when it is there, else the sources under Bun. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const BINARY = process.env.STELLAR_OVERLAY_BIN ?? join(ROOT, "dist", "stellar-overlay");

/** Program and leading arguments of the tool under test. */
export function toolCommand(): [command: string, args: string[]] {
  return existsSync(BINARY)
    ? [BINARY, []]
    : [join(ROOT, "node_modules", ".bin", "bun"), ["run", join(ROOT, "cli", "main.ts")]];
}

/** What a run printed and how it ended. */
export interface ToolResult {
  status: number | null;
  out: string;
  err: string;
}

/** A run under way. */
export interface RunningTool {
  readonly pid: number;
  /** Everything printed on stdout so far. */
  out(): string;
  err(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves once stdout or stderr contains `text`. */
  saw(text: string | RegExp): Promise<void>;
  done: Promise<ToolResult>;
}

/** Starts the tool. A run that takes longer than `limitMs` is killed, and its status is null. */
export function startTool(
  args: readonly string[],
  options: {
    input?: string;
    env?: Record<string, string>;
    limitMs?: number;
    cwd?: string;
    /** Called whenever something was printed. */
    onOutput?: () => void;
  } = {},
): RunningTool {
  const [command, leading] = toolCommand();
  const env = { ...process.env, NO_COLOR: "1", XDG_DATA_HOME: dataHome(), ...options.env };
  const child = spawn(command, [...leading, ...args], {
    cwd: options.cwd ?? ROOT,
    env,
    stdio: ["pipe", "pipe", "pipe"],
  });
  let out = "", err = "";
  const watchers = new Set<() => void>();
  const note = () => {
    for (const watcher of watchers) watcher();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    options.onOutput?.();
    note();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    note();
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), options.limitMs ?? 60_000);
  const done = new Promise<ToolResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status, out, err });
      note();
    });
  });
  let ended = false;
  done.then(() => (ended = true), () => (ended = true));
  return {
    pid: child.pid!,
    out: () => out,
    err: () => err,
    // Not child.kill: after it Deno reports the signal as the end even of a program that exits on its own.
    signal: (name) => void process.kill(child.pid!, name),
    saw: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = typeof text === "string"
            ? out.includes(text) || err.includes(text)
            : text.test(out) || text.test(err);
          if (found) resolve();
          else if (ended || child.exitCode !== null) {
            reject(new Error(`ended without printing ${text}\n${out}\n${err}`));
          } else return;
          watchers.delete(look);
        };
        watchers.add(look);
        look();
      }),
    done,
  };
}

/** Runs the tool to its end. */
export function runTool(args: readonly string[], options: Parameters<typeof startTool>[1] = {}): Promise<ToolResult> {
  return startTool(args, options).done;
}

let home: string | undefined;
/** A data directory of this test process, removed when it ends. */
function dataHome(): string {
  if (home === undefined) {
    home = temporaryFolder();
  }
  return home;
}

/** A new folder that disappears with this process. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "stellar-overlay-test-"));
  process.on("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}
