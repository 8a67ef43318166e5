import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runSimulate, type SimulateFlags } from "../../cli/commands/simulate.ts";
import type { CliContext } from "../../cli/context.ts";
import { UsageError } from "../../cli/flags.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { planTwin } from "../../survey/twin/plan.ts";
import { seedAddresses, twinTruth } from "../../survey/twin/truth.ts";

function world() {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock });
  const interruption = new AbortController();
  const text = { out: "", err: "" };
  const ctx: CliContext = {
    io: {
      out: (more) => void (text.out += more),
      err: (more) => void (text.err += more),
      readInput: () => Promise.resolve(""),
      outIsTerminal: false,
      errIsTerminal: false,
      readLine: () => Promise.resolve(""),
      inIsTerminal: false,
      columns: undefined,
      outColour: false,
      errColour: false,
      outClosed: false,
      openQueue: () => {
        throw new Error("simulate needs no queue");
      },
    },
    clock,
    random: new SeededRandom(1),
    transport: network.transport("127.0.0.1"),
    resolver: network,
    env: {},
    signal: interruption.signal,
    onHangup: () => ({ [Symbol.dispose]: () => {} }),
    onUncaught: () => ({ [Symbol.dispose]: () => {} }),
  };
  return { clock, ctx, text, interruption };
}

const FLAGS: SimulateFlags = { seed: "1", topology: "tiered", port: 11625, ledgerMs: 5000 };

/** The command loads its parts when it runs; virtual time must not pass before that. */
async function loaded(): Promise<void> {
  await import("../../cli/render/simulate.ts");
  await import("../../overlay/transport/tcp.ts");
}

/** Runs a command whose modules load in real time, and advances the clock until it ends. */
async function finish(clock: VirtualClock, running: Promise<number>): Promise<number> {
  await loaded();
  let done = false;
  const watched = running.finally(() => void (done = true));
  watched.catch(() => {});
  for (let turn = 0; turn < 100_000 && !done; turn++) await clock.advance(20);
  return await watched;
}

test("simulate prints the seeds, runs for its time and says how it ended", async () => {
  const { clock, ctx, text } = world();
  assert.equal(await finish(clock, runSimulate({ ...FLAGS, nodes: 20, duration: 12_000 }, ctx)), 0);
  assert.equal(text.out, "127.0.0.2:11625\n127.0.0.3:11625\n127.0.0.4:11625\n");
  assert.match(text.err, /^20 nodes up in /);
  assert.match(text.err, /\n20 nodes stopped after 12\.\d+ s; 3 ledgers closed\n$/);
});

test("simulate --json is one document, and an interruption is its usual end", async () => {
  const { clock, ctx, text, interruption } = world();
  const folder = mkdtempSync(join(tmpdir(), "twin-"));
  try {
    const truth = join(folder, "truth.json");
    const running = runSimulate({ ...FLAGS, nodes: 20, json: true, truth, validators: 0 }, ctx);
    clock.setTimer(60_000, () => interruption.abort());
    assert.equal(await finish(clock, running), 0);
    const document = JSON.parse(text.out);
    assert.equal(document.schema, "stellar-overlay/simulate/1");
    assert.equal(document.nodes, 20);
    assert.equal(document.validators, 0);
    assert.equal(document.failedLinks, 0);
    const plan = planTwin({ nodes: 20, seed: "1", topology: "tiered", validators: 0 });
    assert.deepEqual(document.seeds, seedAddresses(plan));
    const { schema, network, seeds, ...rest } = JSON.parse(readFileSync(truth, "utf8"));
    assert.deepEqual([schema, network, seeds], ["stellar-overlay/simulate-truth/1", "local", document.seeds]);
    assert.deepEqual(rest, JSON.parse(JSON.stringify(twinTruth(plan, undefined, { skipCodes: true }))));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("simulate refuses a topology that is neither a kind nor a sound file", async () => {
  const { ctx } = world();
  await assert.rejects(runSimulate({ ...FLAGS, topology: "star" }, ctx), UsageError);
  await assert.rejects(runSimulate({ ...FLAGS, topology: "./missing.json" }, ctx), isFailure("file_unreadable"));
  const folder = mkdtempSync(join(tmpdir(), "twin-"));
  try {
    const file = join(folder, "net.json");
    writeFileSync(file, `{"nodes": []}`);
    await assert.rejects(runSimulate({ ...FLAGS, topology: file }, ctx), isFailure("config_invalid"));
    await assert.rejects(runSimulate({ ...FLAGS, topology: file, nodes: 3 }, ctx), UsageError);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
