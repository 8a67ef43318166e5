/** `connect`: who answers at an address, how far away it is, whom it advertises, and why it does not answer. */
import type { Command } from "commander";
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
export interface ConnectFlags {
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
  program.command("connect")
    .description("Connect to nodes and show stage by stage what they say, or why they do not answer.")
    .argument("[targets...]", "host:port or G...@host:port; the port defaults to 11625; '-' reads them from stdin")
    .option("-n, --network <name>", "pubnet, testnet, futurenet, local, auto, or a passphrase", "pubnet")
    .option("-f, --from <file>", "read targets from a file ('-': stdin), one per line, or from the JSON of a crawl")
    .option("--seed-file <file>", "identity: a private file holding one S... secret (default: a fresh identity)")
    .addOption(durationOption("-t, --timeout <time>", "longest wait for TCP and for each handshake stage", 5000))
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
    .option("-o, --out <file>", "write the result there instead of stdout")
    .addHelpText(
      "after",
      `
Full nodes count as reached: they give identity and addresses before they say ERR_LOAD.
A silent close has three causes the wire does not tell apart: network, certificate (clocks), ban. See --network auto.`,
    )
    .action((texts: string[], flags: ConnectFlags) => start((ctx) => runConnect(texts, flags, ctx)));
}

/** Runs the command. */
export async function runConnect(texts: string[], flags: ConnectFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  const targets = await readTargets(texts, flags, ctx);
  const stayMs = typeof flags.stay === "string" ? durationFlag("--stay", flags.stay) : undefined;
  const network = flags.network === "auto" ? undefined : networkFlag(flags.network);
  const seed = seedFlag(flags.seedFile) ?? ctx.random.bytes(32);
  const outFile = flags.out === undefined ? undefined : openOutFile(flags.out);
  const out = (text: string) => outFile === undefined ? io.out(text) : outFile.write(text);

  const [{ connectTarget, isSuccess }, { LocalNode }, render, { startProgress }, { mapLimited }] = await Promise.all([
    import("../../survey/probe/connect.ts"),
    import("../../overlay/peer/local_node.ts"),
    import("../render/connect.ts"),
    import("../progress.ts"),
    import("../concurrency.ts"),
  ]);

  const locals = new Map<string, InstanceType<typeof LocalNode>>();
  const localFor = (on: { passphrase: string }) => {
    let local = locals.get(on.passphrase);
    if (local === undefined) {
      local = new LocalNode({
        passphrase: on.passphrase,
        clock: ctx.clock,
        random: ctx.random,
        seed,
        overlayVersion: flags.overlayVersion,
        overlayMinVersion: flags.overlayMin,
        listeningPort: flags.announcePort,
      });
      locals.set(on.passphrase, local);
    }
    return local;
  };

  const stay = flags.stay !== undefined;
  const ending = new AbortController();
  const stop = () => ending.abort();
  ctx.signal.addEventListener("abort", stop, { once: true });
  if (stayMs !== undefined) ctx.clock.setTimer(stayMs, stop);

  using progress = startProgress(io, ctx.clock);
  let finished = 0;
  const single = targets.length === 1;
  const results = await mapLimited(targets, flags.concurrency, async (target) => {
    const observer = render.stageObserver(target.text, single, stay, progress, io, ctx.clock);
    const result = await connectTarget({
      target,
      text: target.text,
      network,
      localFor,
      transport: ctx.transport,
      resolver: ctx.resolver,
      clock: ctx.clock,
      random: ctx.random,
      wants: { pings: flags.ping, firstScpMs: flags.scp, stay },
      timeouts: { connectMs: flags.timeout, stageMs: flags.timeout },
      tryNetworks: flags.tryNetworks,
      signal: ending.signal,
      observer,
    });
    finished++;
    if (!single) progress.show(() => `${finished}/${targets.length} done`);
    if (flags.ndjson) out(render.connectLine(result));
    return result;
  }, () => ending.signal.aborted);
  progress[Symbol.dispose]();

  if (flags.json) out(render.renderConnectJson(results));
  else if (!flags.ndjson) {
    // A file gets plain text: no colour, full values.
    const shape = outFile === undefined ? io : { ...io, outIsTerminal: false, outColour: false, columns: undefined };
    out(render.renderConnect(results, shape, { peers: flags.peers ?? false }));
  }
  outFile?.close();
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

function durationFlag(flag: string, text: string): number {
  try {
    return duration(text);
  } catch {
    throw new UsageError(
      `${flag} ${text}: write seconds, or a number with ms, s, m or h`,
      "a target must stand before --stay",
    );
  }
}
