/** `watch`: stay connected to peers and show what they say, as they say it. */
import { homedir } from "node:os";
import process from "node:process";
import type { Command } from "commander";
import { databasePath } from "../../overlay/base/data_dir.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { networkLabel } from "../../overlay/base/networks.ts";
import { formatAddress, parseTarget } from "../../overlay/base/peer_address.ts";
import { shuffle } from "../../overlay/base/random.ts";
import type { WatchFilter } from "../../survey/watch/filter.ts";
import type { WatchTarget } from "../../survey/watch/watcher.ts";
import { type CaptureFlags, captureOptions, startCapture } from "../capture.ts";
import type { CliContext, ExitCode, Start } from "../context.ts";
import { duration, seedFlag, targetsOfArguments, targetsOfFrom, UsageError, wholeNumber } from "../flags.ts";

/** What the command line says. */
export interface WatchFlags extends CaptureFlags {
  network?: string;
  config?: string;
  from?: string;
  /** A file, or true for the database. */
  fromCrawl?: string | true;
  peers?: number;
  seedFile?: string;
  db?: string | false;
  allowPrivate?: boolean;
  demand?: boolean;
  type?: string[];
  peer?: string[];
  validator?: string[];
  slot?: string;
  decode?: boolean;
  json?: boolean;
  lines?: boolean;
  quiet?: boolean;
  summary: boolean;
  for?: number;
  count?: number;
  untilSlot?: number;
  metrics?: string;
}

/** Port of --metrics unless given. */
const METRICS_PORT = 11_628;
/** Peers taken from seeds or from a crawl, unless told otherwise. */
const DEFAULT_PEERS = 5;
/** Most peers watched at once. */
const MAX_TARGETS = 200;

/** Adds the command to the program. */
export function addWatch(program: Command, start: Start): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  const command = program.command("watch")
    .description("Stay connected to peers and show what they say: SCP slot by slot, messages, who is late.")
    .argument(
      "[targets...]",
      "host:port or G...@host:port; '-' reads them from stdin (default: some of the network's seeds)",
    )
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: pubnet, or that of --config)",
    )
    .option("-c, --config <file>", "take network, KNOWN_PEERS and PREFERRED_PEERS from a stellar-core configuration")
    .optionsGroup("Whom to watch:")
    .option("-f, --from <file>", "read targets from a file ('-': stdin), one per line")
    .option(
      "--from-crawl [file]",
      "the best peers of an earlier crawl: its JSON, or without a file those in the database",
    )
    .option(
      "--peers <n>",
      `how many of the seeds or of the crawl (default: ${DEFAULT_PEERS})`,
      wholeNumber(1, MAX_TARGETS),
    )
    .option("--seed-file <file>", "identity: a private file holding one S... secret (default: a fresh identity)")
    .option("--demand", "demand advertised transactions and fetch transaction sets, to see them too")
    .optionsGroup("What to show (each may be repeated):")
    .option("--type <type>", "messages of a type: SCP_MESSAGE, scp, tx, advert, txset, externalize, ...", several)
    .option("--peer <node id>", "messages from a peer; the beginning of the id is enough", several)
    .option("--validator <node id>", "SCP statements of a validator; the beginning of the id is enough", several)
    .option("--slot <n>", "SCP statements about a slot: 100, 100-200, 100-")
    .optionsGroup("How long:")
    .option("--for <time>", "stop after this long (default: until Ctrl-C)", duration)
    .option("--count <n>", "stop after so many messages were shown", wholeNumber(1))
    .option("--until-slot <n>", "stop when the network has decided this slot", wholeNumber(1, 0xffffffff))
    .optionsGroup("Output:")
    .option("--json", "one JSON line per record (schema stellar-overlay/watch/1), the last one is the summary")
    .option("--decode", "print the bodies of the messages too, as JSON in the manner of SEP-51")
    .option("--lines", "a line per record on a terminal too, where otherwise a view of the whole screen opens")
    .option("--quiet", "no lines and no view, only the summary at the end")
    .option("--no-summary", "no summary at the end")
    .option(
      "--metrics <host:port>",
      "serve /metrics, /metrics.json and /peers over HTTP there (host: 127.0.0.1 unless given)",
    )
    .optionsGroup("Storage:")
    .option("--db <file>", "where propagation is kept (default: one file per network in the user's data directory)")
    .option("--no-db", "keep nothing on disk");
  captureOptions(command)
    .addHelpText(
      "after",
      `
On a terminal the watch opens as a view of the whole screen: Tab and 1 to 5 choose what it shows, ? explains its keys, q
ends it. With --lines, --decode, --count or a choice of what to show there are lines, as on a pipe.

Nothing that a peer says is passed on: a peer does not send what it got from us, so that relaying would change what is
measured. Without --demand adverts are counted and transactions are not asked for. A peer that goes is dialed again,
later each time.

  stellar-overlay watch core-live-a.stellar.org:11625 core-live4.stellar.org --type scp
  stellar-overlay watch --network testnet --peers 3 --for 1m --quiet
  stellar-overlay watch --from-crawl pubnet.json --peers 10 --json | jq 'select(.statement == "externalize")'
  stellar-overlay watch 127.0.0.1:11625 --network local --demand --decode --type tx --count 1

Ctrl-C: the summary is printed, status 0 (1 when nobody was reached). Twice: stops at once. More is in docs/watch.md.`,
    )
    .action((texts: string[], flags: WatchFlags) => start((ctx) => runWatch(texts, flags, ctx)));
}

/** Runs the command. */
export async function runWatch(texts: string[], flags: WatchFlags, ctx: CliContext): Promise<ExitCode> {
  const [settings, { filterOf, wantsView }, { watchPeers }] = await Promise.all([
    import("../run/settings.ts"),
    import("../watch/flags.ts"),
    import("../watch/session.ts"),
  ]);
  const filter: WatchFilter = filterOf(flags);
  const metricsAt = flags.metrics === undefined
    ? undefined
    : settings.listenAddress("--metrics", flags.metrics, { host: "127.0.0.1", port: METRICS_PORT });
  const node = { network: flags.network, config: flags.config, dial: true, listen: false, watcher: true } as const;
  const { network, config, warnings } = await settings.nodeSettings(
    { ...node, allowPrivate: flags.allowPrivate },
    ctx.transport,
  );
  const where = { env: ctx.env, home: homedir(), platform: process.platform };
  const path = flags.db === false ? undefined : flags.db ?? databasePath(network.passphrase, where);
  const known = () => [...config.preferredPeers, ...config.knownPeers].map(formatAddress);
  const targets = await targetsOf(texts, flags, ctx, { passphrase: network.passphrase, path, known });
  if (targets.length === 0) throw new OverlayError({ code: "no_seeds", network: networkLabel(network) });
  const view = ctx.io.terminal !== undefined && wantsView(flags);
  const capture = startCapture(flags, ctx, { command: "watch", network: network.passphrase, still: true });
  const x25519Secret = capture?.newSecret();
  try {
    return await watchPeers({
      network,
      config,
      warnings,
      targets,
      filter,
      seed: seedFlag(flags.seedFile),
      databasePath: path,
      metricsAt,
      demand: flags.demand ?? false,
      form: flags.json ? "json" : "text",
      lines: !flags.quiet && !view,
      view,
      decode: flags.decode ?? false,
      summary: flags.summary,
      limitMs: flags.for,
      limitMessages: flags.count,
      untilSlot: flags.untilSlot,
      x25519Secret,
      onNodeId: (nodeId) => capture?.tellSecret(nodeId, x25519Secret),
    }, capture?.ctx ?? ctx);
  } finally {
    await capture?.close();
  }
}

/** Everybody that was named, or the best of a crawl, or some of the network's own first peers. */
async function targetsOf(
  texts: string[],
  flags: WatchFlags,
  ctx: CliContext,
  origin: { passphrase: string; path: string | undefined; known: () => string[] },
): Promise<WatchTarget[]> {
  const targets: WatchTarget[] = targetsOfArguments(texts.filter((text) => text !== "-"));
  if (texts.includes("-")) targets.push(...await targetsOfFrom("-", ctx));
  if (flags.from !== undefined) targets.push(...await targetsOfFrom(flags.from, ctx));
  const most = flags.peers ?? DEFAULT_PEERS;
  if (flags.fromCrawl !== undefined) {
    const { bestOfCrawl, bestOfDatabase } = await import("../watch/targets.ts");
    const best = typeof flags.fromCrawl === "string"
      ? bestOfCrawl(flags.fromCrawl, most)
      : await bestOfDatabase(origin.path, origin.passphrase, most);
    targets.push(...best);
  } else if (targets.length === 0) {
    // Not always the same ones: everybody who starts this command would meet there.
    const seeds = shuffle(ctx.random, origin.known()).slice(0, most);
    targets.push(...seeds.map((text) => ({ text, ...parseTarget(text) })));
  }
  const distinct = [...new Map(targets.map((target) => [formatAddress(target.address), target])).values()];
  if (distinct.length > MAX_TARGETS) {
    throw new UsageError(`${distinct.length} targets: at most ${MAX_TARGETS} are watched at once`, "name fewer");
  }
  return distinct;
}
