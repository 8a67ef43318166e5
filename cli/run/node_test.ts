/** A run in virtual time: its log, its status line, and every way it ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { type OverlayConfigChanges, standalone } from "../../overlay/base/config.ts";
import { isFailure, OverlayError } from "../../overlay/base/errors.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import type { CliContext, ExitCode, Io } from "../context.ts";
import { OutputQueue, type ReaderGone } from "../output_queue.ts";
import type { Level } from "./events.ts";
import { runNode } from "./node.ts";

/** A machine with one node on it. */
class Machine {
  readonly clock = new VirtualClock();
  readonly net = new MemoryNetwork({ clock: this.clock });
  readonly interruption = new AbortController();
  out = "";
  err = "";
  hangup: (() => void) | undefined;
  uncaught: ((error: unknown) => void) | undefined;
  gone: ((gone: ReaderGone) => void) | undefined;
  readonly status: Promise<ExitCode>;

  constructor(
    options: {
      terminal?: boolean;
      limitMs?: number;
      statusMs?: number;
      level?: Level;
      changes?: OverlayConfigChanges;
    } = {},
  ) {
    const { terminal = false, limitMs, statusMs = 0, level = "info", changes } = options;
    const seed = new Uint8Array(32).fill(1);
    this.status = runNode({
      network: LOCAL,
      config: standalone({ listeningHost: "11.0.0.1", ...changes }),
      warnings: ["a warning"],
      identity: { seed, origin: "seed file", path: "/node.seed" },
      databasePath: undefined,
      metricsAt: undefined,
      log: { format: "text", level },
      statusMs,
      limitMs,
    }, this.context(terminal));
    this.status.catch(() => {});
  }

  private context(terminal: boolean): CliContext {
    const io: Pick<Io, "out" | "err" | "openQueue" | "outIsTerminal" | "errIsTerminal" | "columns" | "outColour"> = {
      out: (text) => void (this.out += text),
      err: (text) => void (this.err += text),
      outIsTerminal: terminal,
      errIsTerminal: terminal,
      columns: terminal ? 60 : undefined,
      outColour: false,
      openQueue: (clock, onGone) => {
        this.gone = onGone;
        const write = (fd: number, bytes: Uint8Array, done: (error: null, written: number) => void) => {
          const text = new TextDecoder().decode(bytes);
          if (fd === 1 || terminal) this.out += text;
          else this.err += text;
          done(null, bytes.length);
        };
        return new OutputQueue(write, { clock, onGone });
      },
    };
    const listener = (name: "hangup" | "uncaught") => (heard: (value?: unknown) => void) => {
      this[name] = heard as () => void;
      return { [Symbol.dispose]: () => void (this[name] = undefined) };
    };
    return {
      io: io as Io,
      clock: this.clock,
      random: new SeededRandom(1),
      transport: this.net.transport("11.0.0.1"),
      resolver: this.net,
      env: {},
      signal: this.interruption.signal,
      onHangup: listener("hangup"),
      onUncaught: listener("uncaught"),
    };
  }

  /** Lines without their time. */
  lines(): string[] {
    return this.out.trimEnd().split("\n").map((line) => line.replace(/^.*?Z /, ""));
  }

  async end(): Promise<ExitCode> {
    await this.clock.run(this.status);
    return await this.status;
  }
}

/** The database is opened by real I/O, so the start takes a moment of real time. */
async function started(machine: Machine): Promise<void> {
  while (!machine.out.includes("listening")) await new Promise((resolve) => setTimeout(resolve, 1));
}

test("runNode says at its start what it will do, then stops in order when interrupted, with status 0", async () => {
  const machine = new Machine();
  await started(machine);
  await machine.clock.advance(10_000);
  machine.interruption.abort();
  assert.equal(await machine.end(), 0);
  const lines = machine.lines();
  assert.match(lines[0], /^info {2}stellar-overlay \S+ on local; watcher/);
  assert.match(lines[1], /^info {2}node id G\w{55} \(of \/node\.seed\)$/);
  assert.deepEqual(lines.slice(2, 7), [
    "info  no database: addresses and bans are forgotten at the end",
    "info  takes up to 64 inbound peers at 11.0.0.1:11625",
    "info  dials up to 8 peers; starts with: the address book",
    "warn  a warning",
    "warn  nobody to dial: give --peer HOST:PORT, or wait for others to call",
  ]);
  assert.deepEqual(lines.slice(7), [
    "info  listening on 11.0.0.1:11625",
    "info  stopping: interrupted",
    "info  stopped after 10.05 s: interrupted",
    "info  peers: 0 outbound and 0 inbound authenticated in all",
    "info  received 0 messages, 0 B; sent 0 messages, 0 B",
  ]);
  assert.equal(machine.err, "");
  assert.equal(machine.hangup, undefined);
});

test("runNode ends at its limit, and tells its status on the way", async () => {
  const machine = new Machine({ limitMs: 5500, statusMs: 2000 });
  await started(machine);
  assert.equal(await machine.end(), 0);
  const status = machine.lines().filter((line) => line.includes("pending;"));
  assert.deepEqual(status, [
    "info  0 outbound, 0 inbound, 0 pending; no ledger yet; 0.0 messages/s; up 2 s",
    "info  0 outbound, 0 inbound, 0 pending; no ledger yet; 0.0 messages/s; up 4 s",
  ]);
});

test("runNode reads bans again at a hangup, and stops when nobody reads its log", async () => {
  const machine = new Machine();
  await started(machine);
  machine.hangup!();
  assert.equal(machine.lines().at(-1), "info  bans read again: 0 bans, nothing new");
  machine.gone!({ fd: 2, code: "EPIPE" });
  await machine.clock.advance(2000);
  assert.doesNotMatch(machine.out, /stopping/, "a pipe on stderr may go");
  machine.gone!({ fd: 1, code: "EPIPE" });
  assert.equal(await machine.end(), 0);
  assert.match(machine.err, /nobody reads the log any more \(stdout is closed\): stopping\n/);
});

test("runNode: an error that nobody caught is logged and ends the node in order, with status 1; a bug keeps its stack", async () => {
  const machine = new Machine();
  await started(machine);
  machine.uncaught!(new OverlayError({ code: "db_failed", path: "x", reason: "the disk is full" }));
  assert.equal(await machine.end(), 1);
  const lines = machine.lines();
  const at = lines.indexOf("error failed: database x: the disk is full (db_failed)");
  assert.ok(at > 0 && lines[at + 1].startsWith("error hint: check the disk"), machine.out);
  assert.match(machine.out, /stopped after .*: something failed\n/);

  const broken = new Machine();
  await started(broken);
  const bug = new TypeError("undefined is not a function");
  broken.uncaught!(bug);
  await assert.rejects(broken.end(), (error) => error === bug);
  assert.match(broken.out, /error failed: TypeError: undefined is not a function\n/);
  assert.match(broken.out, /stopped after/);
});

test("runNode that cannot listen fails before it meets anybody, with the code of the port", async () => {
  const machine = new Machine({ changes: { listeningPort: 5 } });
  await machine.net.transport("11.0.0.1").listen({ host: "11.0.0.1", port: 5 }, () => {});
  await assert.rejects(machine.end(), isFailure("port_in_use"));
  assert.doesNotMatch(machine.out, /listening on/);
});

test("runNode on a terminal draws one status line below its log, fitted to the width, and takes it away at the end", async () => {
  const machine = new Machine({ terminal: true, limitMs: 3500 });
  await started(machine);
  await machine.clock.advance(1100);
  const line = "0 out 0 in 0 pend | no ledger | 0.0 msg/s | 1 s";
  assert.ok(machine.out.endsWith(`\r\x1b[K${line}`), JSON.stringify(machine.out.slice(-100)));
  machine.hangup!();
  assert.match(machine.out, /\x1b\[K\S+Z info {2}bans read again: 0 bans, nothing new\n\r\x1b\[K0 out 0 in[^\n]*$/);
  assert.equal(await machine.end(), 0);
  assert.match(machine.out, /sent 0 messages, 0 B\n(\r\x1b\[K[^\n]*)?\r\x1b\[K$/);
});
