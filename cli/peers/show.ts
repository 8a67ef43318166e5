/** Everything a database knows of one address or one node. */
import { describeFailure, type Failure } from "../../overlay/base/errors.ts";
import { type BanJson, banJson, BanManager } from "../../overlay/db/ban_manager.ts";
import { CrawlStore, type NumberedVisit, type StoredHello } from "../../overlay/db/crawl_store.ts";
import { visitFromStored } from "../../survey/crawl/visit_record.ts";
import type { CliContext } from "../context.ts";
import type { NodeDatabase } from "../node_database.ts";
import type { PeerRow, PEERS_SCHEMA } from "./book.ts";

/** A node that was met. */
export interface NodeFacts {
  nodeId: string;
  firstSeenAt: string | null;
  lastSeenAt: string | null;
  /** What it last said; text as received. */
  hello: StoredHello | null;
  ban: BanJson | null;
}

/** A visit of a crawl. */
export interface VisitRow {
  at: string;
  run: number;
  address: string;
  attempt: number;
  state: string;
  code: string | null;
  detail: string | null;
  /** Text of the remote's ERROR_MSG, as received. */
  remoteText: string | null;
  nodeId: string | null;
  durationMs: number;
  /** Time to each stage after the one before it. */
  stagesMs: Record<string, number>;
  rttMs: number | null;
  /** Addresses it gave; null: no PEERS came. */
  peers: number | null;
}

/** The document of `peers show`. */
export interface PeerFacts {
  schema: typeof PEERS_SCHEMA;
  action: "show";
  at: string;
  network: string;
  database: string;
  target: string;
  peers: PeerRow[];
  nodes: NodeFacts[];
  /** Newest first. */
  visits: VisitRow[];
}

/** What is known of `target`, `host:port` or `G...`; all lists are empty when it is nothing. */
export function factsOf(
  at: NodeDatabase,
  target: string,
  rows: readonly PeerRow[],
  ctx: CliContext,
  options: { visits: number },
): Pick<PeerFacts, "peers" | "nodes" | "visits"> {
  const crawls = CrawlStore.over(at.db, at.network.passphrase, ctx.clock);
  const bans = new BanManager(at.db, { clock: ctx.clock });
  const limit = { limit: options.visits };
  const isNode = /^G[A-Z2-7]{55}$/.test(target);
  const addresses = new Set(isNode ? crawls.addressesOfNode(target) : [target]);
  const peers = rows.filter((row) =>
    isNode ? row.nodeId === target || addresses.has(row.address) : row.address === target
  );
  const visits = (isNode ? crawls.visitsOfNode(target, limit) : crawls.visitsOfAddress(target, limit)).map(visitRow);
  const met = visits.flatMap(({ nodeId }) => nodeId ?? []);
  const ids = isNode ? [target] : [...new Set([...peers.flatMap(({ nodeId }) => nodeId ?? []), ...met])];
  const nodes = ids.map((nodeId): NodeFacts => {
    const known = crawls.knownNode(nodeId), ban = bans.banned(nodeId);
    return {
      nodeId,
      firstSeenAt: iso(known?.firstSeenAt),
      lastSeenAt: iso(known?.lastSeenAt),
      hello: known?.hello ?? null,
      ban: ban === undefined ? null : banJson(ban),
    };
  });
  const isKnown = (node: NodeFacts) => node.ban !== null || node.hello !== null || peers.length + visits.length > 0;
  return { peers, nodes: nodes.filter(isKnown), visits };
}

function visitRow(stored: NumberedVisit): VisitRow {
  const visit = visitFromStored(stored);
  return {
    at: iso(stored.startedAt)!,
    run: stored.runId,
    address: stored.address,
    attempt: stored.attempt,
    state: stored.outcome,
    code: stored.code,
    detail: stored.failure === null ? null : describeFailure(stored.failure as unknown as Failure),
    remoteText: visit.remoteText ?? null,
    nodeId: stored.nodeId,
    durationMs: stored.durationMs,
    stagesMs: visit.stagesMs as Record<string, number>,
    rttMs: stored.rttMs,
    peers: stored.peers?.length ?? null,
  };
}

function iso(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
