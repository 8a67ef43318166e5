/**
 * All that a database knows of addresses, as one list: the address book of the node, which dials by it, and what crawls found.
 * Also who may be chosen from it, and in which order. Pure.
 */
import type { Failure } from "../../overlay/base/errors.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { PeerEntry, PeerType } from "../../overlay/db/peer_manager.ts";
import type { KnownAddress, KnownNode, VisitTotal } from "../../overlay/db/stored.ts";
import { stateOfFailure } from "../../survey/probe/visit.ts";

/** Name and version of the documents. */
export const PEERS_SCHEMA = "stellar-overlay/peers/1";

/** One address. Times are UTC ISO 8601. */
export interface PeerRow {
  /** `host:port`. */
  address: string;
  /** How the node knows it; "crawled": only crawls do. */
  type: PeerType | "crawled";
  /** Failed dials of the node since its last success; of a crawled address, failed visits. */
  failures: number;
  /** When the node may dial it again; null where only crawls know it. */
  nextAttemptAt: string | null;
  /** How the last dial or visit ended: a state as of a crawl (docs/json.md); null: nobody tried. */
  lastOutcome: string | null;
  /** Code of its failure. */
  lastCode: string | null;
  lastTriedAt: string | null;
  lastAdmittedAt: string | null;
  /** When it was last tried, or told by a peer to a crawl. */
  lastSeenAt: string | null;
  /** Who answered there last; proven by AUTH. */
  nodeId: string | null;
  /** As received. */
  versionStr: string | null;
  rttMs: number | null;
  /** Crawls that visited it, and those in which it admitted us. */
  visits: { tried: number; admitted: number };
  /** The node that answered there last is banned. */
  banned: boolean;
}

/** What {@link peerRows} joins. */
export interface Known {
  entries: readonly PeerEntry[];
  addresses: readonly KnownAddress[];
  totals: readonly VisitTotal[];
  nodes: readonly KnownNode[];
  isBanned(nodeId: string): boolean;
}

/** One row per address, in stellar-core's order of addresses for those of the node, then the others as they come. */
export function peerRows(known: Known): PeerRow[] {
  const entries = new Map(known.entries.map((entry) => [formatAddress(entry.address), entry]));
  const addresses = new Map(known.addresses.map((address) => [address.address, address]));
  const totals = new Map(known.totals.map((total) => [total.address, total]));
  const nodes = new Map(known.nodes.map((node) => [node.nodeId, node]));
  return [...new Set([...entries.keys(), ...addresses.keys()])].map((address) =>
    rowOf(address, entries.get(address), addresses.get(address), totals.get(address), nodes, known)
  );
}

function rowOf(
  address: string,
  entry: PeerEntry | undefined,
  crawled: KnownAddress | undefined,
  total: VisitTotal | undefined,
  nodes: ReadonlyMap<string, KnownNode>,
  known: Known,
): PeerRow {
  const outcome = entry?.outcome ?? null;
  const dialed = outcome === null ? undefined : {
    at: outcome.at,
    outcome: stateOfFailure(outcome.code === null ? undefined : { code: outcome.code } as Failure) as string,
    code: outcome.code,
    nodeId: outcome.nodeId,
  };
  const visited = crawled?.lastTriedAt === null || crawled === undefined ? undefined : {
    at: crawled.lastTriedAt,
    outcome: crawled.lastOutcome,
    code: total !== undefined && total.lastOutcome === crawled.lastOutcome ? total.lastCode : null,
    nodeId: crawled.lastNodeId,
  };
  const [last, older] = (visited?.at ?? -1) > (dialed?.at ?? -1) ? [visited, dialed] : [dialed, visited];
  const nodeId = last?.nodeId ?? older?.nodeId ?? null;
  return {
    address,
    type: entry?.record.type ?? "crawled",
    failures: entry?.record.numFailures ?? crawled?.failures ?? 0,
    nextAttemptAt: entry === undefined ? null : iso(entry.record.nextAttemptAt),
    lastOutcome: last?.outcome ?? null,
    lastCode: last?.code ?? null,
    lastTriedAt: iso(last?.at),
    lastAdmittedAt: iso(latest(outcome?.admittedAt, total?.admittedAt)),
    lastSeenAt: iso(latest(outcome?.at, crawled?.lastSeenAt)),
    nodeId,
    versionStr: nodeId === null ? null : nodes.get(nodeId)?.hello?.versionStr ?? null,
    rttMs: total?.rttMs ?? outcome?.rttMs ?? null,
    visits: { tried: total?.tried ?? 0, admitted: total?.admitted ?? 0 },
    banned: nodeId !== null && known.isBanned(nodeId),
  };
}

function latest(...instants: (number | null | undefined)[]): number | undefined {
  const found = instants.filter((at) => at !== null && at !== undefined);
  return found.length === 0 ? undefined : Math.max(...found);
}

function iso(ms: number | null | undefined): string | null {
  return ms === null || ms === undefined ? null : new Date(ms).toISOString();
}

/** Which rows are wanted; what is absent does not choose. */
export interface PeerFilter {
  type?: PeerRow["type"];
  failing?: boolean;
  accepting?: boolean;
  /** Seen or tried since, ms since the Unix epoch. */
  sinceMs?: number;
}

/** Whether the last to try was admitted. */
export function isAccepting(row: PeerRow): boolean {
  return row.lastOutcome === "reachable";
}

/** Whether a row is wanted. */
export function isWanted(row: PeerRow, filter: PeerFilter): boolean {
  if (filter.type !== undefined && row.type !== filter.type) return false;
  if (filter.failing && row.failures === 0) return false;
  if (filter.accepting && !isAccepting(row)) return false;
  if (filter.sinceMs !== undefined && (row.lastSeenAt === null || Date.parse(row.lastSeenAt) < filter.sinceMs)) {
    return false;
  }
  return true;
}

/** Orders of rows. */
export const PEER_ORDERS = ["best", "address", "failures", "next", "seen", "tried", "rtt"] as const;
/** One of {@link PEER_ORDERS}. */
export type PeerOrder = (typeof PEER_ORDERS)[number];

const TYPES: readonly PeerRow["type"][] = ["preferred", "outbound", "inbound", "crawled"];

/**
 * Below zero when `a` comes first. `best`: those that admitted us when last tried; of them those that did so at nearly every
 * visit; of them the nearest. `failures`, `seen` and `tried` begin with the most or the latest.
 */
export function comparePeers(a: PeerRow, b: PeerRow, order: PeerOrder): number {
  const by = (value: (row: PeerRow) => number) => value(a) - value(b);
  const time = (text: string | null) => text === null ? 0 : Date.parse(text);
  const near = () => by((row) => row.rttMs ?? Number.MAX_VALUE);
  const address = () => compareText(a.address, b.address);
  switch (order) {
    case "best":
      return by((row) => isAccepting(row) ? 0 : row.lastOutcome === "full" ? 1 : row.lastOutcome === null ? 2 : 3) ||
        by(unreliability) || near() || by((row) => TYPES.indexOf(row.type)) || by((row) => row.failures) || address();
    case "address":
      return address();
    case "failures":
      return -by((row) => row.failures) || address();
    case "next":
      return by((row) => row.nextAttemptAt === null ? Number.MAX_VALUE : time(row.nextAttemptAt)) || address();
    case "seen":
      return -by((row) => time(row.lastSeenAt)) || address();
    case "tried":
      return -by((row) => time(row.lastTriedAt)) || address();
    case "rtt":
      return near() || address();
  }
}

/** Addresses as people sort them: by IP number, then port; everything else after them, as text. */
function compareText(a: string, b: string): number {
  const key = (text: string) => {
    // A crawl keeps what peers told it, which need not be an address.
    const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+):(\d+)$/.exec(text);
    return match === null ? `~${text}` : match.slice(1).map((part) => part.padStart(5, "0")).join(".");
  };
  const [left, right] = [key(a), key(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/**
 * 0: admitted us at nearly every visit; 1: at about half of them, or nobody counted; 2: seldom. Two imagined visits, one of them
 * good, keep a single one from deciding.
 */
function unreliability({ visits: { tried, admitted }, failures }: PeerRow): number {
  const share = (admitted + 1) / (tried + 2);
  const grade = share >= 0.6 ? 0 : share >= 0.4 ? 1 : 2;
  // The node's own dials count too: it fails there now.
  return Math.min(2, grade + (failures > 0 ? 1 : 0));
}
