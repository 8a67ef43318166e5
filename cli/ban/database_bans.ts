/** The `ban` commands on the database of a node. */
import { userInfo } from "node:os";
import { networkLabel } from "../../overlay/base/networks.ts";
import { parsePeerAddress } from "../../overlay/base/peer_address.ts";
import { type BanChange, BanManager } from "../../overlay/db/ban_manager.ts";
import { PeerManager } from "../../overlay/db/peer_manager.ts";
import { CrawlStore } from "../../overlay/db/crawl_store.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../flags.ts";
import type { NodeDatabase } from "../node_database.ts";
import { nodesWith } from "../processes.ts";
import type { ListedBan } from "./ban_list.ts";
import {
  BAN_SCHEMA,
  type BanListing,
  type BanPlace,
  type BanReport,
  bareRow,
  type ChangeRow,
  changeRow,
  countsOf,
  rowsOf,
} from "./report.ts";
import { banWarnings } from "./warnings.ts";

/** The bans that hold. */
export function listBans(at: NodeDatabase, ctx: CliContext): BanListing {
  const bans = new BanManager(at.db, { clock: ctx.clock }).list();
  return { schema: BAN_SCHEMA, action: "list", at: now(ctx), ...placeOf(at), bans: rowsOf(bans, ctx.clock.wallMs()) };
}

/** What a new ban says where its list says nothing. */
export interface BanDefaults {
  /** UTC ISO 8601; null is for ever. */
  until: string | null;
  reason: string;
  by: string | undefined;
}

/** Bans nodes; all or none of a list. */
export function addBans(
  at: NodeDatabase,
  bans: readonly ListedBan[],
  defaults: BanDefaults,
  ctx: CliContext,
  options: { action: "add" | "import"; dryRun: boolean; config: string | undefined },
): BanReport {
  const { until, reason } = defaults, by = defaults.by ?? userName(ctx);
  const manager = new BanManager(at.db, { clock: ctx.clock });
  const entries = bans.map((ban) => ({ until, reason, by, ...ban }));
  const changes: BanChange[] = manager.importBans(entries, { dryRun: options.dryRun });
  return report(at, manager, changes.map(changeRow), ctx, options);
}

/** Lifts bans; all of them when no node is named. */
export function removeBans(
  at: NodeDatabase,
  nodeIds: readonly string[] | undefined,
  ctx: CliContext,
  options: { dryRun: boolean },
): BanReport {
  const manager = new BanManager(at.db, { clock: ctx.clock });
  const lift = (): ChangeRow[] =>
    [...new Set(nodeIds ?? manager.list().map((ban) => ban.nodeId))].map((nodeId) => {
      const ban = manager.banned(nodeId);
      if (ban === undefined) return bareRow(nodeId, "absent");
      if (!options.dryRun) manager.unban(nodeId);
      return { ...changeRow({ change: "kept", ban, before: ban }), change: "removed" };
    });
  const changes = options.dryRun ? lift() : at.db.transaction(lift);
  return report(at, manager, changes, ctx, { action: "remove", dryRun: options.dryRun, config: undefined });
}

function report(
  at: NodeDatabase,
  manager: BanManager,
  changes: ChangeRow[],
  ctx: CliContext,
  options: { action: BanReport["action"]; dryRun: boolean; config: string | undefined },
): BanReport {
  const running = nodesWith(at.db);
  const warned = changes.filter(({ change }) => change === "added" || change === "changed").map((row) => row.nodeId);
  const peers = new PeerManager(at.db, { clock: ctx.clock, random: ctx.random });
  const crawls = CrawlStore.over(at.db, at.network.passphrase, ctx.clock);
  return {
    schema: BAN_SCHEMA,
    action: options.action,
    at: now(ctx),
    ...placeOf(at),
    dryRun: options.dryRun,
    changes,
    counts: countsOf(changes),
    bans: manager.list().length,
    runningNodes: running.map(({ nodeId, command, machine, pid, here }) => ({ nodeId, command, machine, pid, here })),
    warnings: banWarnings(warned, {
      core: at.core,
      config: options.config,
      running: running.filter(({ here }) => here),
      nodeAt: (address) =>
        peers.entry(parsePeerAddress(address))?.outcome?.nodeId ?? crawls.knownAddress(address)?.lastNodeId ??
          undefined,
    }),
  };
}

function placeOf({ network, path }: NodeDatabase): BanPlace {
  return { network: networkLabel(network), database: path, via: null };
}

function now(ctx: CliContext): string {
  return new Date(ctx.clock.wallMs()).toISOString();
}

/** Who sits at this machine; nobody where the system does not say. Behind sudo it is the person, not root. */
function userName({ env }: CliContext): string {
  const named = env.SUDO_USER ?? env.USER ?? env.LOGNAME ?? env.USERNAME;
  if (named !== undefined && named !== "") return named;
  try {
    const { username } = userInfo();
    // What Bun says where the user has no entry.
    return username === "unknown" ? "" : username;
  } catch {
    return "";
  }
}

/** When a new ban ends by `--for` or `--until`. @throws UsageError */
export function endOf(forMs: number | undefined, until: string | undefined, nowMs: number): string | null {
  if (forMs !== undefined && until !== undefined) throw new UsageError("--for and --until exclude each other");
  if (forMs !== undefined) {
    const end = nowMs + forMs;
    if (!(forMs > 0) || end > LAST_INSTANT) throw new UsageError("--for: a time above zero and below 270,000 years");
    return new Date(end).toISOString();
  }
  if (until !== undefined && Date.parse(until) <= nowMs) throw new UsageError(`--until ${until}: that time has passed`);
  return until ?? null;
}

/** The last instant that a Date can hold. */
const LAST_INSTANT = 8.64e15;
