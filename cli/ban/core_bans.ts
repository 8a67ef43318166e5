/**
 * The `ban` commands on a running stellar-core's own list, over its HTTP endpoint. A ban there is for ever and has no reason;
 * only a peer that is connected can be banned. Source: stellar-core CommandHandler.cpp bans, dropPeer, unban; peers.md section 10.
 */
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { networkLabel, resolveNetwork } from "../../overlay/base/networks.ts";
import type { PeerCommandAnswer } from "../../survey/core_http/answers.ts";
import { CoreHttp } from "../../survey/core_http/core_http.ts";
import { parseCoreUrl } from "../../survey/core_http/core_url.ts";
import type { CliContext } from "../context.ts";
import { networkOfFlagAndConfig, UsageError } from "../flags.ts";
import { coreConfigOf, type DatabaseFlags } from "../node_database.ts";
import {
  BAN_SCHEMA,
  type BanListing,
  type BanPlace,
  type BanReport,
  bareRow,
  type ChangeRow,
  countsOf,
  rowsOfCore,
} from "./report.ts";
import { banWarnings } from "./warnings.ts";

/** A stellar-core that answered, with its network. */
export interface CoreBans {
  readonly http: CoreHttp;
  readonly place: BanPlace;
  /** Its node id. */
  readonly self: string;
  readonly core: Awaited<ReturnType<typeof coreConfigOf>>;
}

/**
 * Asks the node who it is. A network that the flags name must be its own.
 * @throws UsageError, OverlayError `core_*`, `not_stellar_core`, `invalid_argument`
 */
export async function openCoreBans(via: string, flags: DatabaseFlags, ctx: CliContext): Promise<CoreBans> {
  if (flags.db !== undefined) throw new UsageError("--via and --db exclude each other", "leave one of them out");
  const http = new CoreHttp(parseCoreUrl(via, "--via"), { clock: ctx.clock });
  const core = await coreConfigOf(flags, ctx);
  const { signal } = ctx;
  const { network } = await http.info({ signal });
  if (flags.network !== undefined || core?.networkPassphrase !== undefined) {
    const asked = networkOfFlagAndConfig(flags.network, flags.config, core);
    if (asked.passphrase !== network) {
      throw new UsageError(
        `the stellar-core at ${http.url} is of network '${network}', not of ${networkLabel(asked)}`,
        "leave --network out, or name another node with --via",
      );
    }
  }
  const { you: self } = await http.scp({ fullKeys: true, limit: 0, signal });
  const place = { network: networkLabel(resolveNetwork(network)), database: null, via: http.url };
  return { http, place, self, core };
}

/** Its bans. */
export async function listCoreBans(at: CoreBans, ctx: CliContext): Promise<BanListing> {
  const bans = await at.http.bans({ signal: ctx.signal });
  return { schema: BAN_SCHEMA, action: "list", at: now(ctx), ...at.place, bans: rowsOfCore(bans) };
}

/** Drops and bans nodes, one after the other. One that fails keeps none of the others from it. */
export async function addCoreBans(
  at: CoreBans,
  nodeIds: readonly string[],
  ctx: CliContext,
  options: { action: "add" | "import"; dryRun: boolean; config: string | undefined },
): Promise<BanReport> {
  const connected = options.dryRun ? await connectedPeers(at, ctx) : undefined;
  return await change(at, nodeIds, ctx, options, async (nodeId, banned) => {
    if (banned.has(nodeId)) return bareRow(nodeId, "kept");
    if (connected !== undefined) return bareRow(nodeId, connected.has(nodeId) ? "added" : "notConnected");
    const answer = await at.http.dropPeer(nodeId, true, { signal: ctx.signal });
    return rowOfAnswer(nodeId, answer, { done: "added", notFound: "notConnected" });
  });
}

/** Takes bans back; all of them when no node is named. */
export async function removeCoreBans(
  at: CoreBans,
  nodeIds: readonly string[] | undefined,
  ctx: CliContext,
  options: { dryRun: boolean },
): Promise<BanReport> {
  const all = nodeIds ?? await at.http.bans({ signal: ctx.signal });
  return await change(at, all, ctx, { ...options, action: "remove", config: undefined }, async (nodeId, banned) => {
    if (!banned.has(nodeId)) return bareRow(nodeId, "absent");
    if (options.dryRun) return bareRow(nodeId, "removed");
    const answer = await at.http.unban(nodeId, { signal: ctx.signal });
    return rowOfAnswer(nodeId, answer, { done: "removed", notFound: "absent" });
  });
}

async function change(
  at: CoreBans,
  nodeIds: readonly string[],
  ctx: CliContext,
  options: { action: BanReport["action"]; dryRun: boolean; config: string | undefined },
  act: (nodeId: string, banned: ReadonlySet<string>) => Promise<ChangeRow>,
): Promise<BanReport> {
  const before = new Set(await at.http.bans({ signal: ctx.signal }));
  const changes: ChangeRow[] = [];
  for (const nodeId of new Set(nodeIds)) {
    try {
      changes.push(await act(nodeId, before));
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      changes.push(bareRow(nodeId, "failed", describeFailure(error.failure)));
      // Nobody is there to ask for the others.
      if (error.code === "core_unreachable" || error.code === "local_close") break;
    }
  }
  const after = await at.http.bans().catch(() => undefined);
  if (after !== undefined && !options.dryRun) verify(changes, new Set(after));
  const added = changes.filter(({ change }) => change === "added").map(({ nodeId }) => nodeId);
  return {
    schema: BAN_SCHEMA,
    action: options.action,
    at: now(ctx),
    ...at.place,
    dryRun: options.dryRun,
    changes,
    counts: countsOf(changes),
    bans: (after ?? [...before]).length,
    runningNodes: [],
    warnings: banWarnings(added, {
      core: at.core,
      config: options.config,
      running: [],
      self: at.self,
      nodeAt: () => undefined,
    }),
  };
}

/** The list has the last word: what the node said it did must stand there. */
function verify(changes: ChangeRow[], after: ReadonlySet<string>): void {
  for (const row of changes) {
    const wrong = row.change === "added" ? !after.has(row.nodeId) : row.change === "removed" && after.has(row.nodeId);
    if (!wrong) continue;
    row.detail = `the node said it ${
      row.change === "added" ? "banned it, but it does not stand" : "did, but it stands"
    } in bans`;
    row.change = "failed";
  }
}

async function connectedPeers({ http }: CoreBans, ctx: CliContext): Promise<Set<string>> {
  const { authenticated } = await http.peers({ fullKeys: true, signal: ctx.signal });
  return new Set(authenticated.map(({ id }) => id));
}

function rowOfAnswer(
  nodeId: string,
  answer: PeerCommandAnswer,
  words: { done: ChangeRow["change"]; notFound: ChangeRow["change"] },
): ChangeRow {
  switch (answer.kind) {
    case "done":
      return bareRow(nodeId, words.done);
    case "notFound":
      return bareRow(nodeId, words.notFound);
    case "exception":
      return bareRow(nodeId, "failed", answer.text);
  }
}

function now(ctx: CliContext): string {
  return new Date(ctx.clock.wallMs()).toISOString();
}
