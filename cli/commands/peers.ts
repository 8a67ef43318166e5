/** `peers`: the address book of a node, with what crawls found: look into it, take addresses in, forget some, choose from it. */
import { type Command, Option } from "commander";
import { LOCAL, networkLabel } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { PeerType } from "../../overlay/db/peer_manager.ts";
import { confirm } from "../confirm.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { count } from "../render/style.ts";
import { duration, targetsOfArguments, textOfFrom, UsageError, wholeNumber } from "../flags.ts";
import { writeResult } from "../io.ts";
import {
  type DatabaseFlags,
  databaseLine,
  databaseOptions,
  type NodeDatabase,
  openDatabaseOf,
} from "../node_database.ts";
import { PEER_ORDERS, type PeerOrder, type PeerRow } from "../peers/book.ts";
import type { PeersReport } from "../peers/change_book.ts";
import type { PeerFacts } from "../peers/show.ts";
import type { PeerListing } from "../render/peers.ts";

/** What the command line says, whichever subcommand it is. */
export interface PeersFlags extends DatabaseFlags {
  type?: PeerRow["type"];
  failing?: boolean | number;
  accepting?: boolean;
  since?: number;
  sort: PeerOrder;
  limit?: number;
  forConfig?: boolean;
  visits: number;
  all?: boolean;
  yes?: boolean;
  dryRun?: boolean;
  allowPrivate?: boolean;
  json?: boolean;
  csv?: boolean;
  out?: string;
}

/** Adds the command to the program. */
export function addPeers(program: Command, start: Start): void {
  const peers = program.command("peers")
    .description("The addresses a node and its crawls know: look, choose, take in, forget.")
    .addHelpText(
      "after",
      `
One database per network holds the address book that "run" dials by and what "crawl" found; both are shown as one
list. A node that runs meanwhile goes on with what is changed here. docs/peers.md explains every column.

Examples:
  stellar-overlay peers list --network testnet --accepting --limit 20
  stellar-overlay peers show 1.2.3.4:11625 --network testnet
  stellar-overlay peers list --network pubnet --for-config --limit 30 > known_peers.cfg
  stellar-overlay peers import stellar-core.cfg --config stellar-core.cfg`,
    );
  const choosing = (command: Command) =>
    databaseOptions(command)
      .addOption(
        new Option("--type <type>", "only addresses of this type; crawled: known from crawls only")
          .choices(["inbound", "outbound", "preferred", "crawled"]),
      )
      .option("--failing", "only those that failed since their last success")
      .option("--accepting", "only those that admitted us when last tried")
      .option("--since <time>", "only those seen or tried in the last 30m, 24h, 7d", duration)
      .addOption(new Option("--sort <by>", "order").choices(PEER_ORDERS).default("best"))
      .option("--limit <n>", "only the first ones", wholeNumber(1));

  choosing(peers.command("list"))
    .description("Show what is known of each address, best first.")
    .option(
      "--for-config",
      "print KNOWN_PEERS lines of those that admit us, best first, for a stellar-core configuration",
    )
    .option("--json", "one JSON document on stdout (schema stellar-overlay/peers/1)")
    .action((flags: PeersFlags) => start((ctx) => runList(flags, ctx)));
  databaseOptions(peers.command("show"))
    .description("Show everything known of an address or a node: dials, visits of crawls, bans.")
    .argument("<target>", "host:port or G...")
    .option("--visits <n>", "most visits of crawls to show", wholeNumber(0, 10_000), 10)
    .option("--json", "one JSON document on stdout (schema stellar-overlay/peers/1)")
    .action((target: string, flags: PeersFlags) => start((ctx) => runShow(target, flags, ctx)));
  databaseOptions(peers.command("forget"))
    .description("Forget addresses. The visits of past crawls stay.")
    .argument("[targets...]", "host:port, or G... for all addresses where that node answered last")
    .option("--failing <n>", "all that failed at least n times since their last success", wholeNumber(1))
    .option("--all", "all addresses; asks first")
    .option("-y, --yes", "do not ask")
    .option("--dry-run", "change nothing, tell what would be changed")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/peers/1)")
    .addHelpText(
      "after",
      `
A node that runs learns an address again when a peer tells it or calls from it: to keep a node out use ban.`,
    )
    .action((targets: string[], flags: PeersFlags) => start((ctx) => runForget(targets, flags, ctx)));
  databaseOptions(peers.command("import"))
    .description("Take addresses into the address book, for a node to dial.")
    .argument(
      "<file>",
      "addresses, one per line; what export writes; the JSON of a crawl or of stellar-core's peers; or a stellar-core configuration; '-' is stdin",
    )
    .addOption(
      new Option("--type <type>", "type of addresses of which the list tells none")
        .choices(["inbound", "outbound", "preferred"]).default("inbound"),
    )
    .option("--allow-private", "take private and loopback addresses too (local: always)")
    .option("--dry-run", "change nothing, tell what would be changed")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/peers/1)")
    .addHelpText(
      "after",
      `
All addresses are taken in one step. Names are resolved, as a node does. What is known keeps its failures; its type
only rises: KNOWN_PEERS are outbound, PREFERRED_PEERS preferred.

Examples:
  stellar-overlay crawl --network pubnet --json | stellar-overlay peers import - --network pubnet
  stellar-overlay peers import stellar-core.cfg --network testnet --dry-run
  curl -s http://127.0.0.1:11626/peers | stellar-overlay peers import - --network pubnet`,
    )
    .action((file: string, flags: PeersFlags) => start((ctx) => runImport(file, flags, ctx)));
  choosing(peers.command("export"))
    .description("Write addresses as a list: lines for --from of other commands, CSV, or JSON.")
    .option("--json", "one JSON document (schema stellar-overlay/peers/1)")
    .option("--csv", "one row per address, with a title line")
    .option("-o, --out <file>", "write it there instead of to stdout")
    .action((flags: PeersFlags) => start((ctx) => runExport(flags, ctx)));
}

/** `peers list`. */
export async function runList(flags: PeersFlags, ctx: CliContext): Promise<ExitCode> {
  if (flags.json && flags.forConfig) throw new UsageError("--json and --for-config exclude each other");
  const { io } = ctx;
  using at = await openDatabaseOf(flags, ctx, { write: false });
  const listing = await chosen(at, flags.forConfig ? { ...flags, accepting: true } : flags, ctx);
  const render = await import("../render/peers.ts");
  io.out(
    flags.json
      ? render.renderPeersJson(listing)
      : flags.forConfig
      ? render.renderPeersForConfig(listing)
      : render.renderPeers(listing, io),
  );
  if (listing.peers.length === 0) io.err(noneText(at, listing));
  return EXIT.ok;
}

function noneText(at: NodeDatabase, { total }: PeerListing): string {
  if (total > 0) return `none of the ${total} addresses fits; ${databaseLine(at)}\n`;
  return `no addresses: ${databaseLine(at)}\n  hint: crawl and run fill it, peers import takes a list\n`;
}

/** `peers export`. */
export async function runExport(flags: PeersFlags, ctx: CliContext): Promise<ExitCode> {
  if (flags.json && flags.csv) throw new UsageError("--json and --csv exclude each other");
  using at = await openDatabaseOf(flags, ctx, { write: false });
  const listing = await chosen(at, flags, ctx);
  const render = await import("../render/peers.ts");
  const text = flags.json
    ? render.renderPeersJson(listing)
    : flags.csv
    ? render.renderPeersCsv(listing)
    : render.renderPeersText(listing);
  if (writeResult(text, flags.out, ctx.io)) ctx.io.err(`${listing.peers.length} addresses written to ${flags.out}\n`);
  return EXIT.ok;
}

/** `peers show`. */
export async function runShow(target: string, flags: PeersFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  const wanted = targetWord(target);
  using at = await openDatabaseOf(flags, ctx, { write: false });
  const [{ factsOf }, { PEERS_SCHEMA }, render] = await Promise.all([
    import("../peers/show.ts"),
    import("../peers/book.ts"),
    import("../render/peers.ts"),
  ]);
  const facts = factsOf(at, wanted, await rowsOf(at, ctx), ctx, { visits: flags.visits });
  const document: PeerFacts = { schema: PEERS_SCHEMA, action: "show", ...headOf(at, ctx), target: wanted, ...facts };
  io.out(flags.json ? render.renderPeersJson(document) : render.renderPeerFacts(document, io));
  if (facts.peers.length + facts.nodes.length + facts.visits.length > 0) return EXIT.ok;
  io.err(`nothing is known of ${wanted}: ${databaseLine(at)}\n`);
  return EXIT.failed;
}

/** `peers forget`. */
export async function runForget(targets: string[], flags: PeersFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  const least = typeof flags.failing === "number" ? flags.failing : undefined;
  const ways = [targets.length > 0, flags.all === true, least !== undefined].filter(Boolean).length;
  if (ways !== 1) {
    throw new UsageError(
      ways === 0 ? "no address is named" : "addresses, --failing and --all exclude each other",
      "give host:port or G..., --failing N, or --all",
    );
  }
  const wanted = targets.map(targetWord);
  const dryRun = flags.dryRun ?? false;
  if (flags.all && !dryRun && !flags.yes && !io.inIsTerminal) {
    throw new UsageError("--all forgets every address: nobody can be asked here", "add --yes");
  }
  using at = await openDatabaseOf(flags, ctx, { write: !dryRun });
  const rows = await rowsOf(at, ctx);
  if (flags.all && !dryRun && !flags.yes) {
    const yes = await confirm(`Forget all ${count(rows.length, "address", "addresses")}?`, ctx);
    if (!yes) return ctx.signal.aborted ? EXIT.interrupted : EXIT.failed;
  }
  const addresses = flags.all
    ? rows.map((row) => row.address)
    : least !== undefined
    ? rows.filter((row) => row.failures >= least).map((row) => row.address)
    : wanted.flatMap((word) => {
      const ofNode = rows.filter((row) => row.nodeId === word).map((row) => row.address);
      return ofNode.length > 0 ? ofNode : [word];
    });
  const { forgetPeers } = await import("../peers/change_book.ts");
  return await report(at, "forget", forgetPeers(at, addresses, rows, ctx, { dryRun }), flags, ctx);
}

/** `peers import`. */
export async function runImport(file: string, flags: PeersFlags, ctx: CliContext): Promise<ExitCode> {
  const [{ peersOfText }, { importPeers }] = await Promise.all([
    import("../peers/address_list.ts"),
    import("../peers/change_book.ts"),
  ]);
  const { text, source } = await textOfFrom(file, ctx);
  const list = await peersOfText(text, source);
  for (const warning of list.warnings) ctx.io.err(`${source}: ${warning}\n`);
  const dryRun = flags.dryRun ?? false;
  // A configuration says which network it is of; one that is not asked for must not be filled by mistake.
  const asked = flags.network === undefined && flags.config === undefined && flags.db === undefined
    ? { ...flags, network: list.networkPassphrase && `passphrase:${list.networkPassphrase}` }
    : flags;
  using at = await openDatabaseOf(asked, ctx, { write: !dryRun });
  if (list.networkPassphrase !== undefined && list.networkPassphrase !== at.network.passphrase) {
    throw new UsageError(
      `${source} is of network '${list.networkPassphrase}', not of ${networkLabel(at.network)}`,
      "choose its network with --network",
    );
  }
  const allowPrivate = flags.allowPrivate === true || at.network.passphrase === LOCAL.passphrase;
  const type = (flags.type ?? "inbound") as PeerType;
  return await report(at, "import", await importPeers(at, list.peers, ctx, { type, allowPrivate, dryRun }), flags, ctx);
}

async function report(
  at: NodeDatabase,
  action: "import" | "forget",
  changes: PeersReport["changes"],
  flags: PeersFlags,
  ctx: CliContext,
): Promise<ExitCode> {
  const [{ PEERS_SCHEMA }, { PeerManager }, render] = await Promise.all([
    import("../peers/book.ts"),
    import("../../overlay/db/peer_manager.ts"),
    import("../render/peers.ts"),
  ]);
  const counts: Record<string, number> = {};
  for (const { change } of changes) counts[change] = (counts[change] ?? 0) + 1;
  const document: PeersReport = {
    schema: PEERS_SCHEMA,
    action,
    ...headOf(at, ctx),
    dryRun: flags.dryRun ?? false,
    changes,
    counts,
    addresses: new PeerManager(at.db, { clock: ctx.clock, random: ctx.random }).count(),
  };
  ctx.io.out(flags.json ? render.renderPeersJson(document) : render.renderPeersReport(document, ctx.io));
  const bad = (counts.failed ?? 0) + (counts.full ?? 0) + (counts.skipped ?? 0) + (counts.absent ?? 0);
  return bad === 0 ? EXIT.ok : bad === changes.length ? EXIT.failed : EXIT.partial;
}

/** The rows that the flags choose, in their order. */
async function chosen(at: NodeDatabase, flags: PeersFlags, ctx: CliContext): Promise<PeerListing> {
  const { comparePeers, isWanted, PEERS_SCHEMA } = await import("../peers/book.ts");
  const rows = await rowsOf(at, ctx);
  const filter = {
    type: flags.type,
    failing: flags.failing === true,
    accepting: flags.accepting,
    sinceMs: flags.since === undefined ? undefined : ctx.clock.wallMs() - flags.since,
  };
  const peers = rows.filter((row) => isWanted(row, filter)).sort((a, b) => comparePeers(a, b, flags.sort))
    .slice(0, flags.limit);
  return { schema: PEERS_SCHEMA, action: "list", ...headOf(at, ctx), total: rows.length, peers };
}

async function rowsOf(at: NodeDatabase, ctx: CliContext): Promise<PeerRow[]> {
  const [{ peerRows }, { PeerManager }, { CrawlStore }, { BanManager }] = await Promise.all([
    import("../peers/book.ts"),
    import("../../overlay/db/peer_manager.ts"),
    import("../../overlay/db/crawl_store.ts"),
    import("../../overlay/db/ban_manager.ts"),
  ]);
  const crawls = CrawlStore.over(at.db, at.network.passphrase, ctx.clock);
  const bans = new BanManager(at.db, { clock: ctx.clock });
  return peerRows({
    entries: new PeerManager(at.db, { clock: ctx.clock, random: ctx.random }).entries(),
    addresses: crawls.knownAddresses(),
    totals: crawls.visitTotals(),
    nodes: crawls.knownNodes(),
    isBanned: (nodeId) => bans.banned(nodeId) !== undefined,
  });
}

function headOf(at: NodeDatabase, ctx: CliContext): { at: string; network: string; database: string } {
  return { at: new Date(ctx.clock.wallMs()).toISOString(), network: networkLabel(at.network), database: at.path };
}

/** `host:port` or `G...`, in the one form that a database has. @throws UsageError */
function targetWord(text: string): string {
  if (/^G[A-Z2-7]{55}$/.test(text)) return text;
  const [target] = targetsOfArguments([text]);
  return target.nodeId ?? formatAddress(target.address);
}
