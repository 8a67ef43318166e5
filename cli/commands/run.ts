/** `run`: a whole node of the overlay in the foreground. Its log is its output. */
import { homedir } from "node:os";
import process from "node:process";
import { type Command, Option } from "commander";
import { databasePath } from "../../overlay/base/data_dir.ts";
import { type CaptureFlags, captureOptions, startCapture } from "../capture.ts";
import type { CliContext, ExitCode, Start } from "../context.ts";
import { duration, durationOption, wholeNumber } from "../flags.ts";
import { type Level, LEVELS } from "../run/events.ts";
import type { IdentityFlags } from "../run/identity.ts";
import type { NodeFlags } from "../run/settings.ts";

/** What the command line says. */
export interface RunFlags extends NodeFlags, IdentityFlags, CaptureFlags {
  db?: string | false;
  log: "text" | "json";
  logLevel: Level;
  status: number;
  metrics?: string;
  for?: number;
}

/** Port of --metrics unless given. */
const METRICS_PORT = 11_627;

/** Adds the command to the program. */
export function addRun(program: Command, start: Start): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  const command = program.command("run")
    .description("Run a node in the foreground: listen, dial, relay; the log on stdout tells what happens.")
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: pubnet, or that of --config)",
    )
    .option("-c, --config <file>", "take network, peers, limits and NODE_SEED from a stellar-core configuration")
    .option("--watcher", "relay SCP messages only (the default, unless NODE_IS_VALIDATOR of --config says otherwise)")
    .option("--validator", "relay transactions and transaction sets too, as a validator does; it never votes")
    .optionsGroup("Identity:")
    .option(
      "--seed-file <file>",
      "a private file (mode 600) with one S... secret (default: NODE_SEED of --config, else a fresh identity)",
    )
    .option("--new-seed", "make the file of --seed-file, with a fresh secret, unless it exists")
    .option("--no-config-seed", "do not be the node of --config: leave its NODE_SEED alone")
    .optionsGroup("Connections:")
    .option(
      "-l, --listen <host:port>",
      "where to listen; the port is announced to peers, 0 takes a free one (default: 0.0.0.0:11625; local: 127.0.0.1:11625)",
    )
    .option("--no-listen", "accept nobody")
    .option("--no-dial", "dial nobody")
    .option("-p, --peer <host:port>", "a peer to start with, may be repeated; instead of the network's own", several)
    .option("--prefer <host:port>", "a peer that is dialed first and always has a slot; may be repeated", several)
    .option("--target <n>", "outbound peers wanted (default: 8)", wholeNumber(0, 1000))
    .option("--max-inbound <n>", "most inbound peers (default: 8 for each outbound one)", wholeNumber(0, 10_000))
    .option("--allow-private", "learn, pass on and dial private and loopback addresses too (local: loopback always)")
    .option(
      "--surveyor-key <node id>",
      "a node that may survey this one and the network through it, may be repeated; self: nobody may " +
        "(default: SURVEYOR_KEYS of --config, else its quorum; without --config nobody)",
      several,
    )
    .optionsGroup("Storage:")
    .option("--db <file>", "address book and bans (default: one file per network in the user's data directory)")
    .option("--no-db", "keep nothing on disk")
    .optionsGroup("Output:")
    .addOption(
      new Option("--log <form>", "lines of text, or of JSON (schema stellar-overlay/run/1)").choices(["text", "json"])
        .default("text"),
    )
    .addOption(new Option("--log-level <level>", "least important lines to show").choices([...LEVELS]).default("info"))
    .addOption(durationOption("--status <time>", "time between two status lines in the log; 0: none", 60_000))
    .option(
      "--metrics <host:port>",
      "serve /metrics, /metrics.json, /peers and /health over HTTP there (host: 127.0.0.1 unless given)",
    )
    .option("--for <time>", "stop after this long (default: run until Ctrl-C)", duration);
  captureOptions(command)
    .addHelpText(
      "after",
      `
Ctrl-C or SIGTERM: goodbye to all peers, database closed, totals printed, exit status 0. Twice: stops at once.
SIGHUP: reads the bans of the database again and drops the peers they name.
The log never holds the node up: lines that a slow reader cannot take are lost and counted. When nobody
reads it any more (a closed pipe or terminal) the node stops in order; without a log: > /dev/null.
Everything else is in docs/run.md.`,
    )
    .action((flags: RunFlags) => start((ctx) => runRun(flags, ctx)));
}

/** Runs the command. */
export async function runRun(flags: RunFlags, ctx: CliContext): Promise<ExitCode> {
  const [settings, { identityOf }, { runNode }] = await Promise.all([
    import("../run/settings.ts"),
    import("../run/identity.ts"),
    import("../run/node.ts"),
  ]);
  const metricsAt = flags.metrics === undefined
    ? undefined
    : settings.listenAddress("--metrics", flags.metrics, { host: "127.0.0.1", port: METRICS_PORT });
  const { network, config, core, warnings } = await settings.nodeSettings(flags, ctx.transport);
  const identity = identityOf(flags, core, ctx.random);
  const where = { env: ctx.env, home: homedir(), platform: process.platform };
  const capture = startCapture(flags, ctx, { command: "run", network: network.passphrase, keepClock: true });
  const x25519Secret = capture?.newSecret();
  try {
    return await runNode({
      network,
      config,
      warnings,
      identity,
      databasePath: flags.db === false ? undefined : flags.db ?? databasePath(network.passphrase, where),
      metricsAt,
      log: { format: flags.log, level: flags.logLevel },
      statusMs: flags.status,
      limitMs: flags.for,
      x25519Secret,
      onNodeId: (nodeId) => capture?.tellSecret(nodeId, x25519Secret),
    }, capture?.ctx ?? ctx);
  } finally {
    await capture?.close();
  }
}
