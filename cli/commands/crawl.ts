/** `crawl`: maps a network from where one stands, politely, and keeps everything it saw. */
import { homedir } from "node:os";
import process from "node:process";
import type { Command } from "commander";
import type { Timer } from "../../overlay/base/clock.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { CoreConfig } from "../../overlay/base/core_config.ts";
import { databasePath } from "../../overlay/base/data_dir.ts";
import { type Network, networkLabel, NETWORKS } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { CrawlStore, LoadedRun } from "../../overlay/db/crawl_store.ts";
import type { BudgetLimits } from "../../survey/crawl/budget.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import {
  byteSize,
  duration,
  durationOption,
  type NamedTarget,
  networkOfFlagAndConfig,
  seedFlag,
  targetsOfArguments,
  targetsOfFrom,
  UsageError,
  wholeNumber,
} from "../flags.ts";
import { errorText } from "../errors.ts";
import { openOutFile, type OutFile } from "../io.ts";
import { isGone, ownerOf } from "../owner.ts";

/** What the command line says. */
export interface CrawlFlags {
  network?: string;
  config?: string;
  from?: string;
  known?: boolean;
  seedFile?: string;
  db?: string | false;
  resume?: boolean;
  listen: number;
  listenNodes: number;
  ping: number;
  timeout: number;
  retries: number;
  allowPrivate?: boolean;
  tryNetworks: boolean;
  concurrency?: number;
  rate?: number;
  perHost?: number;
  perNet?: number;
  maxDials?: number;
  maxTime?: number;
  maxBytes?: number;
  all?: boolean;
  table: boolean;
  forConfig?: boolean;
  json?: boolean;
  ndjson?: boolean;
  out?: string;
}

/** Adds the command to the program. */
export function addCrawl(program: Command, start: Start): void {
  program.command("crawl")
    .description("Visit every node of a network that can be found, starting from a few, and tell what is there.")
    .argument("[seeds...]", "where to start: host:port or G...@host:port (default: built-in seeds and the database)")
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: pubnet, or that of --config)",
    )
    .option("-c, --config <file>", "take network, KNOWN_PEERS and PREFERRED_PEERS from a stellar-core configuration")
    .option("-f, --from <file>", "read seeds from a file ('-': stdin), or from the JSON of an earlier crawl")
    .option("--known", "start also from what the database knows, beside the seeds given")
    .option("--resume", "continue the newest interrupted crawl of this network, with its settings; totals begin anew")
    .option("--db <file>", "database file (default: one per network in the user's data directory)")
    .option("--no-db", "keep nothing on disk")
    .option("--seed-file <file>", "identity: a private file holding one S... secret (default: a fresh identity)")
    .optionsGroup("What to learn:")
    .addOption(
      durationOption(
        "--listen <time>",
        "stay with some nodes that long to see who validates, at which slot and how late",
        0,
      ),
    )
    .option("--listen-nodes <n>", "how many nodes to stay with", wholeNumber(1, 200), 8)
    .option("--ping <n>", "round trips to measure per node", wholeNumber(0, 100), 1)
    .option("--no-try-networks", "after a silent close, do not try the other known networks")
    .option("--allow-private", "visit private addresses too (10/8, 172.16/12, 192.168/16, ...)")
    .optionsGroup("Budget (printed at the end, stored with the run):")
    .option("--concurrency <n>", "visits at once (default: 40)", wholeNumber(1, 5000))
    .option("--rate <n>", "dials per second (default: 50)", wholeNumber(1, 100_000))
    .option("--per-host <n>", "visits at once to one IP address (default: 4)", wholeNumber(1, 5000))
    .option("--per-net <n>", "visits at once to one /24, or /48 of IPv6 (default: 8)", wholeNumber(1, 5000))
    .option("--max-dials <n>", "dials in all (default: 20000)", wholeNumber(1))
    .option("--max-time <time>", "length of the crawl (default: 30m)", duration)
    .option("--max-bytes <size>", "bytes in all (default: 1GiB)", byteSize)
    .addOption(durationOption("-t, --timeout <time>", "longest wait for TCP and for each handshake stage", 5000, 1))
    .option("--retries <n>", "further attempts after a failure that may pass", wholeNumber(0, 10), 1)
    .optionsGroup("Output:")
    .option("--all", "list every address in the table, not only nodes that answered")
    .option("--no-table", "print the summary only")
    .option("--for-config", "print KNOWN_PEERS lines of the nodes that accepted us, nearest first")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/crawl/1)")
    .option("--ndjson", "one JSON line per visit as it happens, and a last one with the run")
    .option("-o, --out <file>", "also write the JSON document there (with --ndjson: the lines)")
    .addHelpText(
      "after",
      `
An edge of the result says who advertised an address: address books, not connections.
Ctrl-C once: finish and print what is known. Twice: stop now; every finished visit is in the database.`,
    )
    .action((texts: string[], flags: CrawlFlags, command: Command) => {
      const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
      return start((ctx) => runCrawl(texts, flags, ctx, isGiven));
    });
}

/** Where a crawl begins and why. */
interface Origin {
  network: Network;
  seeds: { target: string; source: "seed" | "database" }[];
}

/** What a run is made with; stored, so that `--resume` goes on in the same way. */
interface Settings {
  listenMs: number;
  listenNodes: number;
  pings: number;
  retries: number;
  timeoutMs: number;
  allowPrivate: boolean;
  tryNetworks: boolean;
}

/** Each setting's flag, to tell what the user said from what is a default. */
const FLAG_OF: Record<keyof Settings, keyof CrawlFlags> = {
  listenMs: "listen",
  listenNodes: "listenNodes",
  pings: "ping",
  retries: "retries",
  timeoutMs: "timeout",
  allowPrivate: "allowPrivate",
  tryNetworks: "tryNetworks",
};

/** Runs the command. `isGiven` tells whether a flag stands on the command line. */
export async function runCrawl(
  texts: string[],
  flags: CrawlFlags,
  ctx: CliContext,
  isGiven: (flag: string) => boolean = () => true,
): Promise<ExitCode> {
  const { io } = ctx;
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  if (flags.resume && flags.db === false) throw new UsageError("--resume needs the database: leave --no-db out");
  if (flags.resume && (texts.length > 0 || flags.from !== undefined || flags.known)) {
    throw new UsageError(
      "--resume goes on with the seeds of its run",
      "leave the seeds out, or start a new crawl without --resume",
    );
  }
  const given = await givenSeeds(texts, flags, ctx);
  const { network } = given;
  const secret = seedFlag(flags.seedFile) ?? ctx.random.bytes(32);

  const [
    { crawl, storeSink },
    report,
    { LocalNode },
    { CrawlStore },
    render,
    { startProgress },
    { VERSION },
    records,
    { DEFAULT_BUDGET },
  ] = await Promise.all([
    import("../../survey/crawl/crawler.ts"),
    import("../../survey/crawl/report.ts"),
    import("../../overlay/peer/local_node.ts"),
    import("../../overlay/db/crawl_store.ts"),
    import("../render/crawl.ts"),
    import("../progress.ts"),
    import("../../overlay/base/version.ts"),
    import("../../survey/crawl/visit_record.ts"),
    import("../../survey/crawl/budget.ts"),
  ]);

  const store = await openStore(CrawlStore, network, flags, ctx);
  let file: OutFile | undefined;
  try {
    const earlier = flags.resume ? interruptedRun(store!, network) : undefined;
    const seeds = earlier === undefined ? seedsOf(given, flags, store) : [...earlier.run.seeds];
    if (seeds.length === 0) throw new OverlayError({ code: "no_seeds", network: networkWord(network) });
    file = flags.out === undefined ? undefined : openOutFile(flags.out, { live: flags.ndjson ?? false });

    const settings = settingsOf(flags, earlier, isGiven);
    const asked = { ...paceOf(earlier), ...budgetOf(flags) };
    const localFor = (passphrase: string) =>
      new LocalNode({ passphrase, clock: ctx.clock, random: ctx.random, seed: secret });
    const local = localFor(network.passphrase);
    const otherNetworks = !settings.tryNetworks ? [] : NETWORKS
      .filter((other) => other.passphrase !== network.passphrase)
      .map((other) => ({ name: other.name, local: localFor(other.passphrase) }));
    const { overlayVersion, overlayMinVersion, ledgerVersion } = local;
    const runId = earlier?.run.id ?? store?.startRun({
      toolVersion: VERSION,
      options: { ...settings },
      versions: { overlayVersion, overlayMinVersion, ledgerVersion },
      seeds,
      budget: { limits: { ...DEFAULT_BUDGET, ...asked }, asked },
      owner: ownerOf(ctx.clock),
    });
    if (earlier !== undefined) {
      claim(store!, earlier, ctx);
      const since = new Date(earlier.run.startedAt).toISOString();
      io.err(
        `resuming run ${earlier.run.id} of ${since}: ${earlier.visits.length} visits made, ${earlier.pending.length} addresses left\n`,
      );
    }

    using progress = startProgress(io, ctx.clock);
    using _alive = keepAlive(store, runId, ctx);
    const result = await crawl({
      network: { name: networkLabel(network), passphrase: network.passphrase },
      seeds,
      local,
      otherNetworks,
      transport: ctx.transport,
      resolver: ctx.resolver,
      clock: ctx.clock,
      random: ctx.random,
      budget: asked,
      listen: { ms: settings.listenMs, nodes: settings.listenNodes },
      pings: settings.pings,
      timeouts: { connectMs: settings.timeoutMs, stageMs: settings.timeoutMs },
      retries: settings.retries,
      allowPrivate: settings.allowPrivate,
      store: store === undefined || runId === undefined ? undefined : storeSink(store, runId),
      runId,
      resume: earlier?.visits.map(records.visitFromStored),
      resumeScp: earlier?.scp,
      resumedStartMs: earlier?.run.startedAt,
      signal: ctx.signal,
      onVisit: (visit) => {
        if (!flags.ndjson) return;
        const line = render.visitLine(visit);
        io.out(line);
        file?.write(line);
      },
      onProgress: (now) => progress.show(() => render.progressLine(now, ctx.signal.aborted)),
    });
    progress[Symbol.dispose]();

    const view = report.viewOf(result);
    const document = report.crawlDocument(view);
    // What people asked for first: nothing that fails below may cost it.
    const machine = flags.ndjson
      ? render.runLine(document)
      : flags.json || file
      ? render.renderCrawlJson(document)
      : "";
    if (flags.ndjson || flags.json) io.out(machine);
    else if (flags.forConfig) io.out(render.renderForConfig(document));
    else {
      const shown = {
        table: flags.table,
        all: flags.all ?? false,
        listened: settings.listenMs > 0,
        outFile: flags.out,
      };
      io.out(render.renderCrawl(document, view.summary, io, shown));
    }
    file?.write(machine);
    file?.finish();
    file = undefined;

    if (result.failure !== undefined) {
      io.err(errorText(new OverlayError(result.failure)));
      return document.nodes.length > 0 ? EXIT.partial : EXIT.failed;
    }
    if (runId !== undefined) {
      store!.finishRun(runId, result.complete ? "done" : "interrupted", {
        counts: document.run.counts,
        limitsHit: result.budget.limitsHit,
        budget: document.budget,
      });
    }
    if (ctx.signal.aborted) {
      if (store !== undefined) io.err(`interrupted; continue with: crawl --network ${networkWord(network)} --resume\n`);
      return EXIT.interrupted;
    }
    if (result.usableSeeds === 0) {
      const error = new OverlayError({ code: "no_seeds", network: networkWord(network) });
      io.err(errorText(error, render.seedHint(document)));
      return EXIT.noSeeds;
    }
    const { limitsHit } = result.budget;
    if (limitsHit.length > 0) {
      const next = store === undefined ? "" : "; raise it and continue with --resume";
      io.err(`stopped by the budget: ${limitsHit.join(", ")}${next}\n`);
      return EXIT.partial;
    }
    return document.nodes.some((node) => node.state === "reachable" || node.state === "full") ? EXIT.ok : EXIT.failed;
  } finally {
    file?.abandon();
    store?.close();
  }
}

/** What the flags say; for a resumed run what its own flags said, where nothing is said now. */
function settingsOf(flags: CrawlFlags, earlier: LoadedRun | undefined, isGiven: (flag: string) => boolean): Settings {
  const settings: Settings = {
    listenMs: flags.listen,
    listenNodes: flags.listenNodes,
    pings: flags.ping,
    retries: flags.retries,
    timeoutMs: flags.timeout,
    allowPrivate: flags.allowPrivate ?? false,
    tryNetworks: flags.tryNetworks,
  };
  const stored = (earlier?.run.options ?? {}) as Partial<Record<keyof Settings, unknown>>;
  for (const name of Object.keys(settings) as (keyof Settings)[]) {
    const value = stored[name];
    if (typeof value === typeof settings[name] && !isGiven(FLAG_OF[name])) {
      (settings as unknown as Record<string, unknown>)[name] = value;
    }
  }
  return settings;
}

function budgetOf(flags: CrawlFlags): Partial<BudgetLimits> {
  return defined({
    concurrency: flags.concurrency,
    dialsPerSecond: flags.rate,
    perHost: flags.perHost,
    perSubnet: flags.perNet,
    maxDials: flags.maxDials,
    maxSeconds: flags.maxTime === undefined ? undefined : flags.maxTime / 1000,
    maxBytes: flags.maxBytes,
  });
}

/** How fast a resumed run asked to go. Its totals begin anew: they are why it may have stopped. */
function paceOf(earlier: LoadedRun | undefined): Partial<BudgetLimits> {
  const { asked } = (earlier?.run.budget ?? {}) as { asked?: Partial<BudgetLimits> };
  const pace: Partial<BudgetLimits> = {};
  for (const name of ["concurrency", "dialsPerSecond", "perHost", "perSubnet"] as const) {
    const value = asked?.[name];
    if (typeof value === "number") pace[name] = value;
  }
  return pace;
}

/** Takes over an earlier run. One of a process of this machine that is gone needs no waiting. @throws OverlayError `run_in_progress` */
function claim(store: CrawlStore, earlier: LoadedRun, ctx: CliContext): void {
  const nowMs = ctx.clock.wallMs();
  store.claimRun(
    earlier.run.id,
    ownerOf(ctx.clock),
    isGone(earlier.run.owner) ? Math.max(nowMs, earlier.run.updatedAt + STALE_MS) : nowMs,
  );
}

/** Longer than any sign of life counts. */
const STALE_MS = 11_000;

/** Time between two signs of life of a run, ms. */
const ALIVE_MS = 2000;

/** Tells other processes that the run is going on, also while no visit ends. */
function keepAlive(store: CrawlStore | undefined, runId: number | undefined, ctx: CliContext): Disposable {
  let timer: Timer | undefined;
  const beat = () => {
    timer = ctx.clock.setTimer(ALIVE_MS, () => {
      try {
        store!.touch(runId!);
      } catch {
        // A database that fails is noticed, and told, at the next visit.
      }
      beat();
    });
  };
  if (store !== undefined && runId !== undefined) beat();
  return { [Symbol.dispose]: () => timer?.cancel() };
}

/** Seeds of arguments, file and configuration, and the network they belong to. */
async function givenSeeds(
  texts: string[],
  flags: CrawlFlags,
  ctx: CliContext,
): Promise<Origin & { explicit: boolean }> {
  const targets: NamedTarget[] = targetsOfArguments(texts);
  if (flags.from !== undefined) targets.push(...await targetsOfFrom(flags.from, ctx));
  const seeds = targets.map((target) => target.text);
  let config: CoreConfig | undefined;
  if (flags.config !== undefined) {
    const { readCoreConfig } = await import("../../overlay/base/core_config.ts");
    config = await readCoreConfig(flags.config);
    for (const warning of config.warnings) ctx.io.err(`${flags.config}: ${warning}\n`);
    seeds.push(...[...config.preferredPeers, ...config.knownPeers].map(formatAddress));
  }
  const explicit = texts.length > 0 || flags.from !== undefined || flags.config !== undefined;
  return {
    network: networkOfFlagAndConfig(flags.network, flags.config, config),
    seeds: seeds.map((target) => ({ target, source: "seed" })),
    explicit,
  };
}

/** Known addresses that start visits when none were given. */
const KNOWN_LIMIT = 500;

function seedsOf(
  given: Origin & { explicit: boolean },
  flags: CrawlFlags,
  store: CrawlStore | undefined,
): Origin["seeds"] {
  const seeds = [...given.seeds];
  if (!given.explicit) {
    seeds.push(...given.network.seeds.map((seed) => ({ target: seed.address, source: "seed" as const })));
  }
  if (store !== undefined && (flags.known || !given.explicit)) {
    const known = store.knownAddresses({ goodOnly: true, limit: KNOWN_LIMIT });
    seeds.push(...known.map((entry) => ({ target: entry.address, source: "database" as const })));
  }
  return seeds;
}

async function openStore(
  Store: typeof CrawlStore,
  network: Network,
  flags: CrawlFlags,
  ctx: CliContext,
): Promise<CrawlStore | undefined> {
  if (flags.db === false) return undefined;
  const where = { env: ctx.env, home: homedir(), platform: process.platform };
  const path = flags.db ?? databasePath(network.passphrase, where);
  return await Store.open(path, { networkPassphrase: network.passphrase, clock: ctx.clock });
}

/** The run that `--resume` continues. @throws OverlayError `nothing_to_resume` */
function interruptedRun(store: CrawlStore, network: Network): LoadedRun {
  const run = store.lastInterruptedRun();
  const loaded = run === null ? null : store.loadRun(run.id);
  if (loaded === null) throw new OverlayError({ code: "nothing_to_resume", network: networkWord(network) });
  return loaded;
}

function networkWord(network: Network): string {
  return network.name === "custom" ? `'${network.passphrase}'` : network.name;
}

function defined<T extends Record<string, number | undefined>>(values: T): { [K in keyof T]?: number } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: number;
  };
}
