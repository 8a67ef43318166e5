/** `simulate`: a network of many nodes on this machine, to crawl, to test against and to try things on. */
import type { Command } from "commander";
import { isFailure } from "../../overlay/base/errors.ts";
import { DEFAULT_PEER_PORT } from "../../overlay/base/peer_address.ts";
import type { TopologyKind } from "../../survey/twin/topology.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { duration, nodeIdText, readTextFile, UsageError, wholeNumber } from "../flags.ts";
import { freePort } from "../free_port.ts";
import { openOutFile } from "../io.ts";

/** What the command line says. */
export interface SimulateFlags {
  nodes?: number;
  seed: string;
  topology: string;
  port?: number;
  truth?: string;
  ledgerMs: number;
  validators?: number;
  duration?: number;
  json?: boolean;
  /** Node ids, `G...`. */
  surveyorKey?: string[];
  dials?: number;
  hubs?: number;
  late?: number;
  optOut?: number;
  restarting?: number;
  lagging?: number;
}

const DEFAULT_NODES = 60;
const KINDS: readonly TopologyKind[] = ["ring", "random", "tiered"];

/** Adds the command to the program. */
export function addSimulate(program: Command, start: Start): void {
  program.command("simulate")
    .description("Run a network of many nodes on this machine: real protocol, real TCP, known truth.")
    .option(
      "--nodes <n>",
      `nodes to run (default: ${DEFAULT_NODES}, or as many as the topology file has)`,
      wholeNumber(1, 40_000),
    )
    .option("--seed <text>", "everything random follows from it: the same seed gives the same network", "1")
    .option("--topology <kind>", "ring, random, tiered, or a JSON file that draws the network", "tiered")
    .option(
      "--port <port>",
      "port all nodes listen on (default: 11625, or a free one when that is taken)",
      wholeNumber(1, 65535),
    )
    .option("--truth <file>", "write what a perfect crawl from the seeds finds")
    .option("--ledger-ms <ms>", "time between two ledgers", wholeNumber(50, 3_600_000), 5000)
    .option("--validators <n>", "nodes that sign SCP statements; 0: a network without traffic", wholeNumber(0, 200))
    .option("--duration <time>", "end after this long (default: run until Ctrl-C)", duration)
    .option(
      "--dials <n>",
      "connections each node makes; in a ring one (default: 2, above 500 nodes 1)",
      wholeNumber(1, 20),
    )
    .option("--hubs <n>", "nodes with 60 connections: their lists take several pages of a survey", wholeNumber(0, 1000))
    .option(
      "--surveyor-key <node id>",
      "let this identity (G...) survey the network; may be repeated",
      (text: string, before: string[] = []) => [...before, nodeIdText(text)],
    )
    .option("--late <n>", "nodes that join once a survey has begun", wholeNumber(0, 40_000))
    .option("--opt-out <n>", "nodes that permit nobody to survey them", wholeNumber(0, 40_000))
    .option("--restarting <n>", "nodes that restart once a survey has begun", wholeNumber(0, 40_000))
    .option("--lagging <n>", "nodes that are 3 ledgers behind", wholeNumber(0, 40_000))
    .option("--json", "one JSON document on stdout (schema stellar-overlay/simulate/1)")
    .addHelpText(
      "after",
      `
The network is "local"; each node has an address of its own from 127.0.0.2 upward. Nodes are reachable, full, slow, silent,
banning, on another network, of a version nobody meets, or another service; their PEERS also hold dead and private entries.
A topology file: {"nodes": [{"name", "behaviour", "validator", "versionStr", "book": ["name" or "ip:port"]}], "links": [["a", "b"]]}
Survey: with --surveyor-key nodes take part as a stellar-core with SURVEYOR_KEYS does, and --truth has what a perfect survey from
connections with the seeds finds. Late and restarting nodes follow START after 3 s, or 2 ledgers: collect some seconds longer.
Ctrl-C is the usual end: exit status 0.`,
    )
    .action((flags: SimulateFlags) => start((ctx) => runSimulate(flags, ctx)));
}

/** Runs the command. */
export async function runSimulate(flags: SimulateFlags, ctx: CliContext): Promise<ExitCode> {
  const { io, clock, random } = ctx;
  const [
    { planTwin },
    { parseTopology },
    { Twin },
    { twinTruth, seedAddresses },
    { surveyTruth },
    { TcpTransport },
    render,
    { toJson },
  ] = await Promise
    .all([
      import("../../survey/twin/plan.ts"),
      import("../../survey/twin/topology_file.ts"),
      import("../../survey/twin/twin.ts"),
      import("../../survey/twin/truth.ts"),
      import("../../survey/twin/survey_truth.ts"),
      import("../../overlay/transport/tcp.ts"),
      import("../render/simulate.ts"),
      import("../render/json.ts"),
    ]);

  const topology = KINDS.find((kind) => kind === flags.topology) ?? parseTopology(topologyText(flags), flags.topology);
  const nodes = typeof topology === "object" ? topology.nodes.length : flags.nodes ?? DEFAULT_NODES;
  const tcp = ctx.transport instanceof TcpTransport;
  const hosts = !tcp || nodes === 1 || await hasManyAddresses(ctx) ? "loopback" : "ports";
  const port = flags.port ??
    (tcp ? await usualPort(hosts === "ports" ? "127.0.0.1" : "127.0.0.2", ctx) : DEFAULT_PEER_PORT);
  if (hosts === "ports") {
    if (port + 2 * nodes > 65535) throw new UsageError(`--port ${port}: ${nodes} nodes need as many ports`);
    io.err("note: this machine has no address 127.0.0.2; all nodes are on 127.0.0.1, each with a port of its own\n");
  }
  const { surveyorKey: surveyorKeys, dials, hubs, late, optOut, restarting, lagging } = flags;
  if (surveyorKeys === undefined && (late ?? optOut ?? restarting ?? lagging) !== undefined) {
    throw new UsageError("--late, --opt-out, --restarting and --lagging are about surveys: give a --surveyor-key too");
  }
  const survey = surveyorKeys && { surveyorKeys, late, optOut, restarting, lagging };
  const plan = planTwin({
    nodes,
    seed: flags.seed,
    topology,
    validators: flags.validators,
    hosts,
    port,
    dials,
    hubs,
    survey,
  });

  if (flags.truth !== undefined) {
    const file = openOutFile(flags.truth, { live: false });
    const document = {
      schema: "stellar-overlay/simulate-truth/1",
      network: "local",
      seeds: seedAddresses(plan),
      ...twinTruth(plan, undefined, { skipCodes: true }),
      ...(survey && { survey: { surveyorKeys, ...surveyTruth(plan) } }),
    };
    file.write(toJson(document) + "\n");
    file.finish();
  }

  const transportFor = (host: string) =>
    tcp ? new TcpTransport({ clock, localHost: hosts === "loopback" ? host : undefined }) : ctx.transport;
  let closed = 0;
  const twin = new Twin(plan, {
    clock,
    random,
    transportFor,
    ledgerMs: flags.ledgerMs,
    onSlot: () => closed++,
    onSurvey: (begun) => io.err(render.renderSurveyBegun(begun)),
    onMembersChanged: (change) => io.err(render.renderMembersChange(change)),
  });
  const startedMs = clock.nowMs();
  const started = await twin.start();
  const running = {
    plan,
    started,
    seeds: seedAddresses(plan),
    topology: flags.topology,
    ledgerMs: flags.ledgerMs,
    truth: flags.truth,
  };
  if (flags.json) io.out(render.renderSimulateJson(running));
  else {
    io.err(render.renderSimulateHead(running, io));
    io.out(render.renderSeeds(running));
    io.err(render.renderSimulateHint(running));
  }

  await ended(ctx, flags.duration);
  await twin.stop();
  io.err(render.renderSimulateEnd(plan.nodes.length, clock.nowMs() - startedMs, closed));
  return EXIT.ok;
}

/** The file of `--topology`; a word that looks like a misspelled kind is an error of its own. */
function topologyText(flags: SimulateFlags): string {
  if (!/[./\\]/.test(flags.topology)) {
    throw new UsageError(
      `--topology ${flags.topology}: no such kind`,
      `kinds: ${KINDS.join(", ")}; a file's name has a '.' or '/'`,
    );
  }
  if (flags.nodes !== undefined) throw new UsageError("--nodes and a topology file exclude each other");
  if (flags.validators !== undefined) throw new UsageError("--validators and a topology file exclude each other");
  return readTextFile(flags.topology);
}

/** Whether all of 127.0.0.0/8 is this machine: on Linux it is, on macOS only 127.0.0.1. */
async function hasManyAddresses(ctx: CliContext): Promise<boolean> {
  try {
    const listener = await ctx.transport.listen({ host: "127.0.0.2", port: 0 }, (socket) => socket.destroy());
    await listener.close();
    return true;
  } catch {
    return false;
  }
}

/** Upstream's usual port, or a free one when something listens there already. */
async function usualPort(host: string, ctx: CliContext): Promise<number> {
  try {
    const listener = await ctx.transport.listen({ host, port: DEFAULT_PEER_PORT }, (socket) => socket.destroy());
    await listener.close();
    return DEFAULT_PEER_PORT;
  } catch (error) {
    if (!isFailure("port_in_use")(error)) throw error;
    ctx.io.err(`note: port ${DEFAULT_PEER_PORT} is taken on ${host}; choosing another\n`);
    return await freePort(host, ctx.transport);
  }
}

/** Waits for the time to pass, or for an interruption. */
function ended(ctx: CliContext, durationMs: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (ctx.signal.aborted) return resolve();
    const timer = durationMs === undefined ? undefined : ctx.clock.setTimer(durationMs, resolve);
    ctx.signal.addEventListener("abort", () => {
      timer?.cancel();
      resolve();
    }, { once: true });
  });
}
