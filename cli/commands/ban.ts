/** `ban`: who is refused, in the database of a node, or in a running stellar-core. */
import { type Command, InvalidArgumentError } from "commander";
import { instant, type ListedBan, nodeOf } from "../ban/ban_list.ts";
import type { BanListing, BanReport } from "../ban/report.ts";
import { confirm } from "../confirm.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { duration, textOfFrom, UsageError } from "../flags.ts";
import { writeResult } from "../io.ts";
import { count } from "../render/style.ts";
import { coreConfigOf, type DatabaseFlags, databaseOptions, openDatabaseOf } from "../node_database.ts";

/** What the command line says, whichever subcommand it is. */
export interface BanFlags extends DatabaseFlags {
  via?: string;
  from?: string;
  for?: number;
  until?: string;
  reason?: string;
  by?: string;
  all?: boolean;
  yes?: boolean;
  dryRun?: boolean;
  json?: boolean;
  ndjson?: boolean;
  out?: string;
}

/** Most characters of a reason. */
const MOST_REASON = 500;

/** Adds the command to the program. */
export function addBan(program: Command, start: Start): void {
  const ban = program.command("ban")
    .description("Keep nodes out by their id: of a node of this tool, or of a running stellar-core.")
    .addHelpText(
      "after",
      `
A banned node is dropped at its HELLO, whoever dialed; a node that runs with the same database ("run") obeys
within a second and drops it at once if it is connected. docs/ban.md has the forms of lists.

Examples:
  stellar-overlay ban add GBAD... GWORSE... --for 7d --reason "floods us" --network testnet
  stellar-overlay ban list --network testnet
  stellar-overlay ban remove GBAD... --network testnet
  stellar-overlay ban export --network testnet > bans.txt
  stellar-overlay ban list --via http://127.0.0.1:11626`,
    );
  const place = (command: Command) =>
    databaseOptions(command).option(
      "--via <url>",
      "the own list of a running stellar-core instead, over its HTTP endpoint: http://127.0.0.1:11626",
    );
  const many = (text: string) => {
    if (text.length > MOST_REASON) throw new InvalidArgumentError(`write at most ${MOST_REASON} characters.`);
    return text;
  };
  const making = (command: Command) =>
    place(command)
      .option("--for <time>", "how long: 30m, 24h, 7d (default: for ever)", duration)
      .option("--until <time>", "until when: 2026-08-01, 2026-08-01T10:00:00Z")
      .option("--reason <text>", "why, for whoever reads the list", many)
      .option("--by <name>", "who bans (default: the name of this user)", many)
      .option("--dry-run", "change nothing, tell what would be changed")
      .option("--json", "one JSON document on stdout (schema stellar-overlay/ban/1)");

  making(ban.command("add"))
    .description("Ban nodes, for ever or for a time.")
    .argument("[nodes...]", "node ids: G..., G...@host:port, or '$name' of --config; '-' reads a list from stdin")
    .option("-f, --from <file>", "read a list of node ids from a file ('-': stdin)")
    .addHelpText(
      "after",
      `
A ban is never made shorter: adding a node that is banned for as long or longer keeps that ban.
With --via each node is dropped and banned by stellar-core's droppeer: that works only while it is connected
there, and is for ever.

Examples:
  stellar-overlay ban add GBAD... --for 24h --reason "spams adverts" --network testnet
  stellar-overlay ban add --from bans.txt --dry-run
  stellar-overlay ban add GBAD... --via http://127.0.0.1:11626`,
    )
    .action((nodes: string[], flags: BanFlags) => start((ctx) => runAdd(nodes, flags, ctx)));
  place(ban.command("remove"))
    .description("Lift bans.")
    .argument("[nodes...]", "node ids, as for add")
    .option("-f, --from <file>", "read a list of node ids from a file ('-': stdin)")
    .option("--all", "lift all bans; asks first")
    .option("-y, --yes", "do not ask")
    .option("--dry-run", "change nothing, tell what would be changed")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/ban/1)")
    .action((nodes: string[], flags: BanFlags) => start((ctx) => runRemove(nodes, flags, ctx)));
  place(ban.command("list"))
    .description("Show who is banned, oldest ban first.")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/ban/1)")
    .action((flags: BanFlags) => start((ctx) => runList(flags, ctx)));
  making(ban.command("import"))
    .description("Add the bans of a list: what export writes, plain node ids, or the JSON of stellar-core's bans.")
    .argument("<file>", "the list; '-' is stdin")
    .addHelpText(
      "after",
      `
All bans of a list are stored, or none. A ban that is there for as long or longer is kept, so the same list twice
changes nothing. --for, --until, --reason and --by are for entries that say nothing of their own.

Examples:
  stellar-overlay ban import bans.txt --network testnet
  curl -s http://127.0.0.1:11626/bans | stellar-overlay ban import - --network pubnet --reason "from our validator"`,
    )
    .action((file: string, flags: BanFlags) => start((ctx) => runImport(file, flags, ctx)));
  place(ban.command("export"))
    .description("Write the bans as a list that import reads.")
    .option("--json", "one JSON document (schema stellar-overlay/ban/1), instead of lines of text")
    .option("--ndjson", "one JSON object per line")
    .option("-o, --out <file>", "write it there instead of to stdout")
    .action((flags: BanFlags) => start((ctx) => runExport(flags, ctx)));
}

/** `ban add`. */
export async function runAdd(words: string[], flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  return await runMaking("add", await bansNamed(words, flags, ctx), flags, ctx);
}

/** `ban import`. */
export async function runImport(file: string, flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  return await runMaking("import", await bansNamed([], { ...flags, from: file }, ctx), flags, ctx);
}

async function runMaking(
  action: "add" | "import",
  bans: ListedBan[],
  flags: BanFlags,
  ctx: CliContext,
): Promise<ExitCode> {
  const until = flags.until === undefined ? undefined : instant(flags.until, "--until");
  const options = { action, dryRun: flags.dryRun ?? false, config: flags.config };
  if (flags.via !== undefined) {
    if (flags.for !== undefined || until !== undefined || flags.reason !== undefined || flags.by !== undefined) {
      throw new UsageError(
        "--via: a stellar-core bans for ever and keeps no reason: leave --for, --until, --reason and --by out",
        "a ban with an end is a matter of a node of this tool",
      );
    }
    const { addCoreBans, openCoreBans } = await import("../ban/core_bans.ts");
    const at = await openCoreBans(flags.via, flags, ctx);
    const report = await addCoreBans(at, bans.map((ban) => ban.nodeId), ctx, options);
    const timed = bans.filter((ban) => typeof ban.until === "string").length;
    if (timed > 0) report.warnings.push(`${timed} of the list have an end; a stellar-core bans for ever`);
    return await show(report, flags, ctx);
  }
  const { addBans, endOf } = await import("../ban/database_bans.ts");
  const defaults = {
    until: endOf(flags.for, until, ctx.clock.wallMs()),
    reason: flags.reason ?? "",
    by: flags.by,
  };
  using at = await openDatabaseOf(flags, ctx, { write: !options.dryRun });
  return await show(addBans(at, bans, defaults, ctx, options), flags, ctx);
}

/** `ban remove`. */
export async function runRemove(words: string[], flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  const dryRun = flags.dryRun ?? false;
  if (flags.all && (words.length > 0 || flags.from !== undefined)) {
    throw new UsageError("--all lifts every ban: name no nodes beside it");
  }
  const nodeIds = flags.all ? undefined : (await bansNamed(words, flags, ctx)).map((ban) => ban.nodeId);
  if (nodeIds === undefined && !dryRun && !await confirmed(flags, ctx)) {
    return ctx.signal.aborted ? EXIT.interrupted : EXIT.failed;
  }
  if (flags.via !== undefined) {
    const { openCoreBans, removeCoreBans } = await import("../ban/core_bans.ts");
    return await show(
      await removeCoreBans(await openCoreBans(flags.via, flags, ctx), nodeIds, ctx, { dryRun }),
      flags,
      ctx,
    );
  }
  const { removeBans } = await import("../ban/database_bans.ts");
  using at = await openDatabaseOf(flags, ctx, { write: !dryRun });
  return await show(removeBans(at, nodeIds, ctx, { dryRun }), flags, ctx);
}

/** Asks before all bans are lifted. @throws UsageError where nobody can be asked */
async function confirmed(flags: BanFlags, ctx: CliContext): Promise<boolean> {
  if (flags.yes) return true;
  if (!ctx.io.inIsTerminal) throw new UsageError("--all lifts every ban: nobody can be asked here", "add --yes");
  const { bans } = await listing(flags, ctx);
  return await confirm(`Lift all ${count(bans.length, "ban")}?`, ctx);
}

/** `ban list`. */
export async function runList(flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  const { missing, ...found } = await listing(flags, ctx);
  const { placeWords, renderBans, renderBansJson } = await import("../render/ban.ts");
  io.out(flags.json ? renderBansJson(found) : renderBans(found, io));
  if (found.bans.length === 0) io.err(`no bans: ${placeWords(found)}${missing ? " is not there yet" : " has none"}\n`);
  return EXIT.ok;
}

/** `ban export`. */
export async function runExport(flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  const { missing: _, ...found } = await listing(flags, ctx);
  const render = await import("../render/ban.ts");
  const text = flags.json
    ? render.renderBansJson(found)
    : flags.ndjson
    ? render.renderBansNdjson(found)
    : render.renderBansText(found);
  if (writeResult(text, flags.out, ctx.io)) ctx.io.err(`${found.bans.length} bans written to ${flags.out}\n`);
  return EXIT.ok;
}

async function listing(flags: BanFlags, ctx: CliContext): Promise<BanListing & { missing: boolean }> {
  if (flags.via !== undefined) {
    const { listCoreBans, openCoreBans } = await import("../ban/core_bans.ts");
    return { ...await listCoreBans(await openCoreBans(flags.via, flags, ctx), ctx), missing: false };
  }
  const { listBans } = await import("../ban/database_bans.ts");
  using at = await openDatabaseOf(flags, ctx, { write: false });
  return { ...listBans(at, ctx), missing: at.missing };
}

/** The nodes of arguments and lists. @throws UsageError naming the word, or the line of a list */
async function bansNamed(words: string[], flags: BanFlags, ctx: CliContext): Promise<ListedBan[]> {
  const { bansOfText } = await import("../ban/ban_list.ts");
  const names = (await coreConfigOf(flags, { ...ctx, io: { ...ctx.io, err: () => {} } }))?.names;
  const byName = new Map([...names ?? []].map(([nodeId, name]) => [name, nodeId]));
  const nodeOfName = (name: string) => byName.get(name);
  const bans: ListedBan[] = words.filter((word) => word !== "-")
    .map((word, i) => ({ nodeId: nodeOf(word, words.length === 1 ? "node" : `node ${i + 1}`, nodeOfName) }));
  for (const from of [...words.includes("-") ? ["-"] : [], ...flags.from === undefined ? [] : [flags.from]]) {
    const { text, source } = await textOfFrom(from, ctx);
    bans.push(...bansOfText(text, source, nodeOfName));
  }
  if (words.length === 0 && flags.from === undefined) {
    throw new UsageError("no node is named", "give node ids (G...), a list with --from FILE, or '-' for stdin");
  }
  return bans;
}

async function show(report: BanReport, flags: BanFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  const { renderBanReport, renderBanReportJson } = await import("../render/ban.ts");
  const { escapeRemoteText } = await import("../../overlay/base/bytes.ts");
  io.out(flags.json ? renderBanReportJson(report) : renderBanReport(report, io));
  for (const warning of report.warnings) io.err(`warning: ${escapeRemoteText(warning)}\n`);
  const { notConnected = 0, failed = 0 } = report.counts;
  if (ctx.signal.aborted) return EXIT.interrupted;
  if (notConnected + failed === 0) return EXIT.ok;
  return notConnected + failed === report.changes.length ? EXIT.failed : EXIT.partial;
}
