/** `replay`: what a capture or a recorded session holds, at any speed; to a command as if it were live; or to a caller. */
import type { Command } from "commander";
import { OverlayError } from "../../overlay/base/errors.ts";
import { sleep } from "../../overlay/base/clock.ts";
import { resolveNetwork } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import type { CaptureRecord, Direction, StartRecord } from "../../survey/capture/format.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { UsageError, wholeNumber } from "../flags.ts";

/** What the command line says. */
export interface ReplayFlags {
  speed: number;
  json?: boolean;
  direction?: Direction | "both";
  message?: string[];
  connection?: number;
  as?: string;
  serve?: string;
  seedFile?: string;
}

/** Builds the program for a command that is replayed; app.ts has it. */
export type BuildProgram = (start: Start) => Command;

/** Adds the command to the program. */
export function addReplay(program: Command, start: Start, build: BuildProgram): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  program.command("replay")
    .description("Replay a capture or a recorded session: as lines, to another command, or to a caller.")
    .argument(
      "<files...>",
      "captures or recorded sessions; several are merged by their clocks; with --as, its arguments",
    )
    .option("--speed <n>", "max, or times the recorded speed: 1x, 10x, 0.5x", speed, Infinity)
    .option("--json", "NDJSON (schema stellar-overlay/frames/1)")
    .option("--direction <way>", "received, sent or both (default: both; of a proxy's capture: received)", way)
    .option("-m, --message <type>", "only messages of this type, such as SCP_MESSAGE; may be repeated", several)
    .option("--connection <n>", "only this connection; with --serve: the one whose remote to be", wholeNumber(0))
    .option("--as <command>", "run this command on it as if it were live: connect, watch, ...; its arguments after --")
    .option("--serve <port>", "[host:]port (host: 127.0.0.1): be the recorded remote for one caller")
    .option("--seed-file <file>", "with --serve: the identity to have (mode 600; default: a fresh one)")
    .addHelpText(
      "after",
      `
The lines are those of the live session, byte by byte: a record is made of each frame the same way, at the recorded time.
--as gives a command the recorded peers: dials meet them at their recorded times, in recorded time. Addresses not named are
all recorded ones. --serve makes HELLO and MACs anew, so the caller meets another node id; refusals come as recorded.

Examples:
  stellar-overlay replay node.cap
  stellar-overlay replay node.cap --json --message SCP_MESSAGE --direction received
  stellar-overlay replay node.cap --as connect -- --json
  stellar-overlay replay peer-1.ndjson peer-2.ndjson --speed 10x
  stellar-overlay replay full.ndjson --serve 11625 &  stellar-overlay connect 127.0.0.1 --network local`,
    )
    .action((files: string[], flags: ReplayFlags) => start((ctx) => runReplay(files, flags, ctx, build)));
}

function speed(text: string): number {
  if (text === "max") return Infinity;
  const match = /^(\d+(?:\.\d+)?)x?$/.exec(text);
  if (match === null || Number(match[1]) <= 0) throw new UsageError(`--speed ${text}: write max, 1x, 10x, 0.5x`);
  return Number(match[1]);
}

function way(text: string): Direction | "both" {
  if (text === "received" || text === "sent" || text === "both") return text;
  throw new UsageError(`--direction ${text}: write received, sent or both`);
}

/** Runs the command. */
export async function runReplay(
  files: string[],
  flags: ReplayFlags,
  ctx: CliContext,
  build: BuildProgram,
): Promise<ExitCode> {
  if (flags.as !== undefined && flags.serve !== undefined) throw new UsageError("--as and --serve exclude each other");
  const [{ recordsOfFile, mergeRecords }, { noticeText }] = await Promise.all([
    import("../../survey/capture/source.ts"),
    import("../../survey/capture/reader.ts"),
  ]);
  let damaged = false;
  const open = (path: string) => ({
    path,
    records: recordsOfFile(path, (notice) => {
      damaged = true;
      ctx.io.err(`warning: ${path}: ${noticeText(notice)}\n`);
    }),
  });
  if (flags.as !== undefined) return await replayAs(files[0], flags.as, files.slice(1), flags, ctx, build, open);
  const records = mergeRecords(files.map(open));
  const status = flags.serve === undefined
    ? await replayLines(records, flags, ctx)
    : await (await import("../replay_serve.ts")).serveReplay(records, flags, files[0], ctx);
  return status === EXIT.ok && damaged ? EXIT.partial : status;
}

async function replayLines(records: Iterable<CaptureRecord>, flags: ReplayFlags, ctx: CliContext): Promise<ExitCode> {
  const { io, clock } = ctx;
  const [{ CaptureView, MESSAGE_NAMES }, { timeOf }, { eventJson, eventLine }, { paint }] = await Promise.all([
    import("../../survey/capture/view.ts"),
    import("../../survey/capture/source.ts"),
    import("../render/frames.ts"),
    import("../render/style.ts"),
  ]);
  const messages = new Set((flags.message ?? []).map((name) => name.toUpperCase()));
  for (const name of messages) {
    if (!MESSAGE_NAMES.includes(name)) throw new UsageError(`--message ${name}: one of ${MESSAGE_NAMES.join(", ")}`);
  }
  const c = paint(io.outColour);
  const viewFor = (command: string) => {
    const direction = flags.direction ?? (command === "proxy" ? "received" : "both");
    return new CaptureView({
      direction: direction === "both" ? undefined : direction,
      messages,
      connection: flags.connection,
    });
  };
  let view = viewFor("");
  let startedMs = clock.nowMs();
  for (const record of records) {
    if (ctx.signal.aborted) return EXIT.interrupted;
    if (io.outClosed) return EXIT.ok;
    if (record.type === "start") {
      view = viewFor(record.start.command);
      startedMs = clock.nowMs();
    } else if (Number.isFinite(flags.speed)) {
      const waitMs = startedMs + Number(timeOf(record)!) / 1000 / flags.speed - clock.nowMs();
      if (waitMs > 1) await unlessAborted(sleep(clock, waitMs), ctx.signal);
      if (ctx.signal.aborted) return EXIT.interrupted;
    }
    const event = view.add(record);
    if (event !== undefined) io.out(flags.json ? eventJson(event) : eventLine(event, c));
  }
  return EXIT.ok;
}

function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    work.then(resolve);
  });
}

/** What a replay must know of a capture before it plays it. */
function survey(records: Iterable<CaptureRecord>, path: string) {
  let start: StartRecord | undefined;
  const addresses = new Set<string>(), names = new Set<string>();
  for (const record of records) {
    if (record.type === "start") {
      // The first one is played; docs/capture.md says so.
      if (start !== undefined) break;
      start = record.start;
    }
    if (record.type === "resolved") names.add(record.resolved.host);
    const at = record.type === "open" && record.open.role === "weCalledRemote"
      ? record.open
      : record.type === "dialFailed"
      ? record.dialFailed
      : undefined;
    if (at === undefined) continue;
    addresses.add(formatAddress({ host: at.remoteHost, port: at.remotePort }));
  }
  if (start === undefined) {
    throw new OverlayError({ code: "capture_invalid", path, offset: 0, reason: "its first record is no start" });
  }
  return { start, addresses: [...addresses], names: [...names] };
}

async function replayAs(
  path: string,
  command: string,
  args: string[],
  flags: ReplayFlags,
  ctx: CliContext,
  build: BuildProgram,
  open: (path: string) => { records: Iterable<CaptureRecord> },
): Promise<ExitCode> {
  const [{ drive, Player, playingPrimitives }, { initPrimitives, native }] = await Promise.all([
    import("../../survey/capture/player.ts"),
    import("../../overlay/crypto/primitives.ts"),
  ]);
  const { start, addresses, names } = survey(open(path).records, path);
  if (command === "replay") throw new UsageError("--as replay: a replay of a replay is the replay");
  await initPrimitives(playingPrimitives(native));
  const player = new Player(open(path).records[Symbol.iterator](), ctx.random, path);
  // An address among the arguments means that the targets are chosen; a name is one that was looked up.
  const chosen = args.some((arg) =>
    addresses.includes(arg) || names.some((name) => arg === name || arg.startsWith(`${name}:`))
  );
  const targets = chosen ? [] : addresses;
  const named = args.some((arg) => arg === "-n" || arg.startsWith("--network"));
  const { name } = resolveNetwork(start.network);
  const network = named || start.network === ""
    ? []
    : ["--network", name === "custom" ? `passphrase:${start.network}` : name];
  const ended = new AbortController();
  if (ctx.signal.aborted) ended.abort();
  ctx.signal.addEventListener("abort", () => ended.abort(), { once: true });
  let status: ExitCode = EXIT.ok, outOfRecord = false;
  const inner: CliContext = {
    ...ctx,
    transport: player,
    clock: player.clock,
    random: new SeededRandom(1),
    resolver: player,
    signal: ended.signal,
  };
  const program = build(async (run) => void (status = await run(inner)));
  const work = program.parseAsync([command, ...network, ...targets, ...args], { from: "user" });
  await drive(player, work, {
    speed: flags.speed,
    real: ctx.clock,
    onPlayed: () => {
      outOfRecord = true;
      ended.abort();
    },
  });
  // The end of the recording is no interruption by the user.
  const ends = status as ExitCode;
  return ends === EXIT.interrupted && outOfRecord && !ctx.signal.aborted ? EXIT.ok : ends;
}
