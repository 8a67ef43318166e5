/** Where a survey goes and through what: network, database, and the backend, from flags and from what is stored. */
import { homedir } from "node:os";
import process from "node:process";
import { type CoreConfig, readCoreConfig } from "../../overlay/base/core_config.ts";
import { configure } from "../../overlay/base/config.ts";
import { databasePath } from "../../overlay/base/data_dir.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { type Network, networkLabel, resolveNetwork } from "../../overlay/base/networks.ts";
import type { PeerAddress } from "../../overlay/base/peer_address.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { CoreHttp } from "../../survey/core_http/core_http.ts";
import type { SurveyBackend } from "../../survey/topology/backend.ts";
import { SurveyStore } from "../../survey/topology/survey_store.ts";
import type { CliContext } from "../context.ts";
import { networkFlag, networkOfFlagAndConfig, readTextFile, targetsOfArguments, UsageError } from "../flags.ts";
import { presetOf } from "../run/settings.ts";
import { surveyorSeed } from "./identity.ts";

/** The flags that say where: the same for all commands that drive a survey. */
export interface WhereFlags {
  network?: string;
  config?: string;
  db?: string;
  via?: string;
  seedFile?: string;
  connections?: number;
  allowPrivate?: boolean;
  timeout?: number;
  /** How long START is given to come back, ms. */
  watch?: number;
}

/** Connections wanted unless told, and at most when as many targets are given. */
const CONNECTIONS = 3, MAX_CONNECTIONS = 8;

/** What the flags mean. */
export interface Where {
  network: Network;
  /** Targets as given; the stored ones, or those of the configuration or the network, when none are. */
  targets: readonly string[];
  core: CoreConfig | undefined;
}

/** Whether many others depend on a network, so that a survey of it is not for us to begin lightly. */
export function isPublic(network: Network): boolean {
  return network.name === "pubnet" || network.name === "testnet" || network.name === "futurenet";
}

/** How a network is named in a command line of ours. */
export function networkWord(network: Network): string {
  return network.name === "custom" ? `'${network.passphrase}'` : network.name;
}

/** Reads network and targets. With --via the node says which network it is of. @throws UsageError and what reading throws */
export async function whereOf(texts: readonly string[], flags: WhereFlags, ctx: CliContext): Promise<Where> {
  const core = flags.config === undefined ? undefined : await readCoreConfig(flags.config);
  if (flags.via !== undefined) {
    if (texts.length > 0) throw new UsageError("--via drives one node: targets have no meaning", "leave them out");
    const network = flags.network === undefined && core?.networkPassphrase === undefined
      ? await networkOfNode(flags.via, ctx)
      : networkOfFlagAndConfig(flags.network, flags.config, core);
    return { network, targets: [], core };
  }
  targetsOfArguments(texts);
  const network = networkOfFlagAndConfig(flags.network, flags.config, core);
  return { network, targets: texts, core };
}

/** The network of flags alone, for commands that only look into the database. @throws UsageError */
export async function networkOfFlags(flags: Pick<WhereFlags, "network" | "config">): Promise<Network> {
  const core = flags.config === undefined ? undefined : await readCoreConfig(flags.config);
  return flags.network !== undefined && core === undefined
    ? networkFlag(flags.network)
    : networkOfFlagAndConfig(flags.network, flags.config, core);
}

async function networkOfNode(url: string, ctx: CliContext): Promise<Network> {
  const core = await openCoreHttp(url, ctx);
  return resolveNetwork((await core.info({ signal: ctx.signal })).network);
}

/** The stellar-core of --via. @throws OverlayError `invalid_argument` */
async function openCoreHttp(url: string, ctx: CliContext): Promise<CoreHttp> {
  const [{ CoreHttp }, { parseCoreUrl }] = await Promise.all([
    import("../../survey/core_http/core_http.ts"),
    import("../../survey/core_http/core_url.ts"),
  ]);
  return new CoreHttp(parseCoreUrl(url, "--via"), { clock: ctx.clock, get: ctx.httpGet });
}

/** Opens the network's database. */
export function openSurveyStore(
  network: Network,
  flags: Pick<WhereFlags, "db">,
  ctx: Pick<CliContext, "env" | "clock">,
): Promise<SurveyStore> {
  const where = { env: ctx.env, home: homedir(), platform: process.platform };
  const path = flags.db ?? databasePath(network.passphrase, where);
  return SurveyStore.open(path, { networkPassphrase: network.passphrase, clock: ctx.clock });
}

/** Node ids of a file: one per line, `#` begins a comment. @throws UsageError, OverlayError `file_unreadable` */
export function nodeIdsOf(path: string | undefined): string[] {
  if (path === undefined) return [];
  const ids = readTextFile(path).split(/\r?\n/).map((line) => line.replace(/#.*/, "").trim());
  return [
    ...new Set(ids.flatMap((id, i) => {
      if (id === "") return [];
      try {
        decodeNodeId(id);
      } catch {
        throw new UsageError(`${path} line ${i + 1}: no node id`, "one G... per line");
      }
      return [id];
    })),
  ];
}

/**
 * Makes the backend. Undefined: interrupted while the secret was asked for. `nonce` names the survey.
 * @throws UsageError, and OverlayError as {@link surveyorSeed} and the backends do
 */
export async function openBackend(
  where: Where,
  flags: WhereFlags,
  nonce: number,
  ctx: CliContext,
): Promise<SurveyBackend | undefined> {
  const { network } = where;
  if (flags.via !== undefined) {
    const core = await openCoreHttp(flags.via, ctx);
    const { HttpBackend } = await import("../../survey/topology/http_backend.ts");
    return new HttpBackend({ core, clock: ctx.clock, network: network.passphrase, ...readyIn(flags) });
  }
  const addresses = addressesOf(where);
  const seed = await surveyorSeed(flags.seedFile, ctx);
  if (seed === undefined) return undefined;
  const { DirectBackend } = await import("../../survey/topology/direct_backend.ts");
  const config = configure(presetOf(network), {
    networkPassphrase: network.passphrase,
    knownPeers: [],
    preferredPeers: addresses,
    // What peers advertise is dialed for free slots: other private networks' addresses only when asked for.
    allowPrivate: flags.allowPrivate === true,
    allowLoopback: flags.allowPrivate === true || !isPublic(network),
    surveyPhaseMs: where.core?.settings.surveyPhaseMs,
  });
  return await DirectBackend.open({
    config,
    transport: ctx.transport,
    resolver: ctx.resolver,
    clock: ctx.clock,
    random: ctx.random,
    seed,
    nonce,
    ...readyIn(flags),
    ...(flags.watch === undefined ? {} : { watchMs: flags.watch }),
    connections: flags.connections ?? Math.min(MAX_CONNECTIONS, Math.max(CONNECTIONS, addresses.length)),
  });
}

function readyIn({ timeout }: WhereFlags): { readyMs?: number } {
  return timeout === undefined ? {} : { readyMs: timeout };
}

function addressesOf({ network, targets, core }: Where): PeerAddress[] {
  if (targets.length > 0) return targetsOfArguments(targets).map((target) => target.address);
  const configured = core === undefined ? [] : [...core.preferredPeers, ...core.knownPeers];
  if (configured.length > 0) return configured;
  const seeds = targetsOfArguments(network.seeds.map((seed) => seed.address));
  if (seeds.length === 0) {
    throw new UsageError(`nobody to connect to in network ${networkLabel(network)}`, "give targets: HOST:PORT ...");
  }
  return seeds.map((target) => target.address);
}

/** The stored phase lengths of test networks. */
export function phasesOf(where: Where): { collectMs: number; reportMs: number } | undefined {
  const ms = where.core?.settings.surveyPhaseMs;
  return ms === undefined || ms === 0 ? undefined : { collectMs: ms, reportMs: ms };
}

/** Makes sure that the folder of --out can be written to before a survey is begun for it. @throws OverlayError `file_unwritable` */
export async function prepareFolder(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  const { mkdirSync, writeFileSync, unlinkSync } = await import("node:fs");
  const { join } = await import("node:path");
  const probe = join(path, `.writable-${process.pid}`);
  try {
    mkdirSync(path, { recursive: true });
    writeFileSync(probe, "");
    unlinkSync(probe);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
  }
}
