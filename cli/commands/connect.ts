/** `connect`: who answers at an address, how far away it is, whom it advertises, and why it does not answer. */
import type { Command } from "commander";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { ConnectResult } from "../../survey/probe/connect.ts";
import { type CaptureFlags, captureOptions, startCapture } from "../capture.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import {
  duration,
  durationOption,
  type NamedTarget,
  networkFlag,
  seedFlag,
  targetsOfArguments,
  targetsOfFrom,
  UsageError,
  wholeNumber,
} from "../flags.ts";
import { openOutFile } from "../io.ts";

/** What the command line says. */
export interface ConnectFlags extends CaptureFlags {
  network: string;
  from?: string;
  seedFile?: string;
  timeout: number;
  ping: number;
  scp: number;
  overlayVersion?: number;
  overlayMin?: number;
  announcePort?: number;
  stay?: boolean | string;
  concurrency: number;
  tryNetworks: boolean;
  peers?: boolean;
  json?: boolean;
  ndjson?: boolean;
  out?: string;
}

/** Adds the command to the program. */
export function addConnect(program: Command, start: Start): void {
  captureOptions(program.command("connect"))
    .description("Connect to nodes and show stage by stage what they say, or why they do not answer.")
    .argument("[targets...]", "host:port or G...@host:port; the port defaults to 11625; '-' reads them from stdin")
    .option("-n, --network <name>", "pubnet, testnet, futurenet, local, auto, or a passphrase", "pubnet")
    .option("-f, --from <file>", "read targets from a file ('-': stdin), one per line, or from the JSON of a crawl")
    .option("--seed-file <file>", "identity: a file of mode 600 holding one S... secret (default: a fresh identity)")
    .addOption(durationOption("-t, --timeout <time>", "longest wait for DNS, TCP and each handshake stage", 5000, 1))
    .option("--ping <n>", "round trips to measure", wholeNumber(0, 1000), 3)
    .addOption(durationOption("--scp <time>", "longest wait for the first SCP message; 0: do not wait", 2000))
    .option("--overlay-version <n>", "highest overlay version to announce", wholeNumber(0, 0xffffffff))
    .option("--overlay-min <n>", "lowest overlay version to announce", wholeNumber(0, 0xffffffff))
    .option("--announce-port <port>", "listening port to announce", wholeNumber(1, 65535))
    .option("--stay [time]", "stay connected and report traffic, until Ctrl-C or for this long")
    .option("--concurrency <n>", "targets at once", wholeNumber(1, 100), 10)
    .option("--no-try-networks", "after a silent close, do not try the other known networks")
    .option("--peers", "list the addresses the node offers")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/connect/1)")
    .option("--ndjson", "one JSON line per target as it finishes")
    .option("-o, --out <file>", "also write the JSON document there (with --ndjson: the lines)")
    .addHelpText(
      "after",
      `
Full nodes count as reached: they give identity and addresses before they say ERR_LOAD.
A silent close has three causes the wire does not tell apart: network, certificate (clocks), ban. See --network auto.`,
    )
    .action((texts: string[], flags: ConnectFlags) => start((ctx) => runConnect(texts, flags, ctx)));
}

/** Runs the command. */
export async function runConnect(texts: string[], flags: ConnectFlags, outer: CliContext): Promise<ExitCode> {
  const { io } = outer;
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  const targets = await readTargets(texts, flags, outer);
  const stayMs = typeof flags.stay === "string" ? durationFlag("--stay", flags.stay) : undefined;
  const network = flags.network === "auto" ? undefined : networkFlag(flags.network);
  const seed = seedFlag(flags.seedFile) ?? outer.random.bytes(32);
  const file = flags.out === undefined ? undefined : openOutFile(flags.out, { live: flags.ndjson ?? false });

  const [{ connectTarget, isSuccess }, { LocalNode, WIDE_OVERLAY_WINDOW }, render, { startProgress }, { mapLimited }] =
    await Promise.all([
      import("../../survey/probe/connect.ts"),
      import("../../overlay/peer/local_node.ts"),
      import("../render/connect.ts"),
      import("../progress.ts"),
      import("../concurrency.ts"),
    ]);

  const capture = startCapture(flags, outer, { command: "connect", network: network?.passphrase ?? "", still: true });
  const ctx = capture?.ctx ?? outer;
  const locals = new Map<string, InstanceType<typeof LocalNode>>();
  const localFor = (on: { passphrase: string }) => {
    let local = locals.get(on.passphrase);
    if (local === undefined) {
      const x25519Secret = capture?.newSecret();
      local = new LocalNode({
        passphrase: on.passphrase,
        clock: ctx.clock,
        random: ctx.random,
        seed,
        x25519Secret,
        ...versionWindow(flags, WIDE_OVERLAY_WINDOW),
        listeningPort: flags.announcePort,
      });
      capture?.tellSecret(local.nodeId, x25519Secret);
      locals.set(on.passphrase, local);
    }
    return local;
  };

  const stay = flags.stay !== undefined;
  using progress = startProgress(io, ctx.clock);
  let finished = 0;
  const single = targets.length === 1;
  const connect = async (target: NamedTarget): Promise<ConnectResult> => {
    const result = await connectTarget({
      target,
      text: target.text,
      network,
      localFor,
      transport: ctx.transport,
      resolver: ctx.resolver,
      clock: ctx.clock,
      random: ctx.random,
      wants: { pings: flags.ping, firstScpMs: flags.scp, stay: stay && stayMs === undefined, listenMs: stayMs ?? 0 },
      timeouts: { connectMs: flags.timeout, stageMs: flags.timeout },
      settings: { ping: stay },
      tryNetworks: flags.tryNetworks,
      signal: ctx.signal,
      observer: render.stageObserver(target.text, single, stay, progress, ctx.clock),
    });
    finished++;
    if (!single) progress.show(() => `${Math.min(finished, targets.length)}/${targets.length} done`);
    return result;
  };
  // Two names of one node, or our other connection to it, make it refuse the second: that says nothing about the node.
  const again = (result: ConnectResult) => !single && result.code === "already_connected" && !ctx.signal.aborted;
  const tell = (result: ConnectResult): ConnectResult => {
    if (flags.ndjson) {
      const line = render.connectLine(result);
      io.out(line);
      file?.write(line);
    }
    return result;
  };
  const address = (target: NamedTarget) => formatAddress(target.address);
  const results = await mapLimited(targets, flags.concurrency, address, async (target) => {
    const result = await connect(target);
    return again(result) ? result : tell(result);
  });
  for (const [at, result] of results.entries()) if (again(result)) results[at] = tell(await connect(targets[at]));
  progress[Symbol.dispose]();
  await capture?.close();

  const document = render.renderConnectJson(results);
  if (flags.json) io.out(document);
  else if (!flags.ndjson) io.out(render.renderConnect(results, io, { peers: flags.peers ?? false }));
  if (!flags.ndjson) file?.write(document);
  file?.finish();
  if (ctx.signal.aborted) return EXIT.interrupted;
  const successes = results.filter(isSuccess).length;
  return successes === results.length ? EXIT.ok : successes === 0 ? EXIT.failed : EXIT.partial;
}

async function readTargets(texts: string[], flags: ConnectFlags, ctx: CliContext): Promise<NamedTarget[]> {
  const targets = targetsOfArguments(texts.filter((text) => text !== "-"));
  if (flags.from !== undefined) targets.push(...await targetsOfFrom(flags.from, ctx));
  if (texts.includes("-") || (texts.length === 0 && flags.from === undefined && !ctx.io.inIsTerminal)) {
    targets.push(...await targetsOfFrom("-", ctx));
  }
  if (targets.length === 0) {
    throw new UsageError(
      "no target given",
      "give host:port, --from FILE, or addresses on stdin; for example: connect core-testnet1.stellar.org --network testnet",
    );
  }
  return targets;
}

/** The window to announce: one bound alone moves the other along; both together may be anything, for tests of a node. */
function versionWindow(flags: ConnectFlags, wide: { min: number; max: number }) {
  const { overlayVersion: max, overlayMin: min } = flags;
  return {
    overlayVersion: max ?? Math.max(wide.max, min ?? 0),
    overlayMinVersion: min ?? Math.min(wide.min, max ?? wide.min),
  };
}

function durationFlag(flag: string, text: string): number {
  try {
    return duration(text);
  } catch {
    throw new UsageError(
      `${flag} ${text}: write seconds, or a number with ms, s, m, h or d`,
      "a target must stand before --stay",
    );
  }
}
