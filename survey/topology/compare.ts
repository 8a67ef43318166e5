/**
 * What changed between two surveys: nodes and links that came and went, and what they are now. A diff is enough to make the
 * later snapshot of the earlier one: `applyDiff(diffSnapshots(a, b), a)` equals `b`.
 */
import { type Agreement, type SurveyGraph } from "./graph.ts";

/** What is compared of a node. Absent fields: not known. */
export interface NodeFacts {
  state: string;
  versionStr?: string;
  isValidator?: boolean;
  numInboundPeers?: number;
  numOutboundPeers?: number;
  maxInboundPeers?: number;
  maxOutboundPeers?: number;
  lostSyncCount?: number;
  p75SCPFirstToSelfLatencyMs?: number;
}

/** What is compared of a link. */
export interface LinkFacts {
  /** Who dialed; absent: not known, or reports differ. */
  dialer?: string;
  agreement: Agreement;
}

/** A survey as far as it is compared. Links are by their two node ids in text order, as a JSON list. */
export interface Snapshot {
  nodes: Map<string, NodeFacts>;
  links: Map<string, LinkFacts>;
}

/** One thing that is in both, and differs. Only fields that differ are listed; undefined: not known on that side. */
export interface Change {
  before: Record<string, unknown>;
  after: Record<string, unknown>;
}

/** Differences of one kind of thing. */
export interface MapDiff<T> {
  came: Map<string, T>;
  went: Map<string, T>;
  changed: Map<string, Change>;
}

/** All differences. */
export interface SnapshotDiff {
  nodes: MapDiff<NodeFacts>;
  links: MapDiff<LinkFacts>;
}

/** What of a graph is compared. */
export function snapshotOf(graph: SurveyGraph): Snapshot {
  const nodes = graph.nodes.map(({ nodeId, state, versionStr, data }): [string, NodeFacts] => [nodeId, {
    state,
    ...(versionStr !== undefined && { versionStr }),
    ...(data !== undefined && {
      isValidator: data.isValidator,
      numInboundPeers: data.numTotalInboundPeers,
      numOutboundPeers: data.numTotalOutboundPeers,
      maxInboundPeers: data.maxInboundPeerCount,
      maxOutboundPeers: data.maxOutboundPeerCount,
      lostSyncCount: data.lostSyncCount,
      p75SCPFirstToSelfLatencyMs: data.p75SCPFirstToSelfLatencyMs,
    }),
  }]);
  const links = graph.links.map(({ ends, dialer, agreement }): [string, LinkFacts] => [
    JSON.stringify(ends),
    { ...(dialer !== undefined && { dialer }), agreement },
  ]);
  return { nodes: new Map(nodes), links: new Map(links) };
}

/** The differences from `a` to `b`. */
export function diffSnapshots(a: Snapshot, b: Snapshot): SnapshotDiff {
  return { nodes: diffMaps(a.nodes, b.nodes), links: diffMaps(a.links, b.links) };
}

/** The later snapshot, made of the earlier one. Things that came stand at the end. */
export function applyDiff(diff: SnapshotDiff, a: Snapshot): Snapshot {
  return { nodes: applyMap(diff.nodes, a.nodes), links: applyMap(diff.links, a.links) };
}

function diffMaps<T extends object>(a: Map<string, T>, b: Map<string, T>): MapDiff<T> {
  const changed = new Map<string, Change>();
  for (const [key, after] of b) {
    const before = a.get(key);
    const change = before &&
      changeOf({ ...before } as Record<string, unknown>, { ...after } as Record<string, unknown>);
    if (change !== undefined) changed.set(key, change);
  }
  const only = (of: Map<string, T>, other: Map<string, T>) => new Map([...of].filter(([key]) => !other.has(key)));
  return { came: only(b, a), went: only(a, b), changed };
}

function changeOf(before: Record<string, unknown>, after: Record<string, unknown>): Change | undefined {
  const fields = Object.keys({ ...before, ...after }).filter((field) => before[field] !== after[field]);
  if (fields.length === 0) return undefined;
  const pick = (of: Record<string, unknown>) => Object.fromEntries(fields.map((field) => [field, of[field]]));
  return { before: pick(before), after: pick(after) };
}

function applyMap<T extends object>(diff: MapDiff<T>, a: Map<string, T>): Map<string, T> {
  const result = new Map<string, T>();
  for (const [key, facts] of a) {
    if (diff.went.has(key)) continue;
    const next: Record<string, unknown> = { ...facts, ...diff.changed.get(key)?.after };
    for (const field of Object.keys(next)) if (next[field] === undefined) delete next[field];
    result.set(key, next as T);
  }
  for (const [key, facts] of diff.came) result.set(key, facts);
  return result;
}
