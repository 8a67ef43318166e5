/** The database that the commands beside a node look into and change: the flags that choose it, and how it is opened. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import process from "node:process";
import type { Command } from "commander";
import type { CoreConfig } from "../overlay/base/core_config.ts";
import { databasePath } from "../overlay/base/data_dir.ts";
import { OverlayError } from "../overlay/base/errors.ts";
import { type Network, networkLabel, resolveNetwork } from "../overlay/base/networks.ts";
import type { Database } from "../overlay/db/database.ts";
import { claimNetwork, openNodeDatabase } from "../overlay/db/schema.ts";
import type { CliContext } from "./context.ts";
import { networkOfFlagAndConfig } from "./flags.ts";

/** The flags that choose a network and its database. */
export interface DatabaseFlags {
  network?: string;
  config?: string;
  db?: string;
}

/** Adds these flags to a command. */
export function databaseOptions(command: Command): Command {
  return command
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: pubnet, or that of --config or --db)",
    )
    .option("-c, --config <file>", "take the network, and names of nodes, from a stellar-core configuration")
    .option("--db <file>", "database file (default: one per network in the user's data directory)");
}

/** An open database. */
export interface NodeDatabase {
  readonly db: Database;
  readonly network: Network;
  /** Where it is. */
  readonly path: string;
  /** The file of --config. */
  readonly core: CoreConfig | undefined;
  /** There is no file yet: what is read is empty. Only without `write`. */
  readonly missing: boolean;
  [Symbol.dispose](): void;
}

/** The configuration of --config, its own node id among its names; warnings go to stderr. */
export async function coreConfigOf(flags: DatabaseFlags, ctx: CliContext): Promise<CoreConfig | undefined> {
  if (flags.config === undefined) return undefined;
  const { readCoreConfig } = await import("../overlay/base/core_config.ts");
  const core = await readCoreConfig(flags.config, { nodeIdOfSeed: await nodeIdOfSeed() });
  for (const warning of core.warnings) ctx.io.err(`${flags.config}: ${warning}\n`);
  return core;
}

/**
 * Opens the database. A command that only reads makes no file and changes none, but for bringing one of an older schema up to
 * date. A file of `--db` says itself which network it belongs to.
 * @throws UsageError, OverlayError `db_failed`, `db_newer_schema`, `file_unreadable`, `config_invalid`
 */
export async function openDatabaseOf(
  flags: DatabaseFlags,
  ctx: CliContext,
  options: { write: boolean },
): Promise<NodeDatabase> {
  const core = await coreConfigOf(flags, ctx);
  const named = flags.network !== undefined || core?.networkPassphrase !== undefined;
  const asked = named || flags.db === undefined || !existsSync(flags.db)
    ? networkOfFlagAndConfig(flags.network, flags.config, core)
    : undefined;
  const where = { env: ctx.env, home: homedir(), platform: process.platform };
  const path = flags.db ?? databasePath(asked!.passphrase, where);
  const missing = !options.write && !existsSync(path);
  const networkPassphrase = asked?.passphrase;
  const db = missing
    ? await openNodeDatabase(":memory:", { networkPassphrase })
    : options.write
    ? await openNodeDatabase(path, { networkPassphrase })
    : await openToRead(path, networkPassphrase);
  const network = asked ?? resolveNetwork(claimNetwork(db));
  return { db, network, path, core, missing, [Symbol.dispose]: () => db.close() };
}

/** "the database of testnet (PATH)", and that there is none yet. */
export function databaseLine({ network, path, missing }: Pick<NodeDatabase, "network" | "path" | "missing">): string {
  return `database ${path} of ${networkLabel(network)}${missing ? ": none yet" : ""}`;
}

async function openToRead(path: string, networkPassphrase: string | undefined): Promise<Database> {
  try {
    return await openNodeDatabase(path, { networkPassphrase, readonly: true });
  } catch (error) {
    const isOlder = error instanceof OverlayError && error.failure.code === "db_failed" &&
      /its schema \d+ is older|it is empty|which network it belongs to/.test(error.failure.reason);
    if (!isOlder) throw error;
    return await openNodeDatabase(path, { networkPassphrase });
  }
}

async function nodeIdOfSeed(): Promise<(seed: string) => string> {
  const [{ decodeSecretSeed, encodeNodeId }, { signingKey }] = await Promise.all([
    import("../overlay/crypto/strkey.ts"),
    import("../overlay/crypto/primitives.ts"),
  ]);
  return (seed) => encodeNodeId(signingKey(decodeSecretSeed(seed, "NODE_SEED")).publicKey);
}
