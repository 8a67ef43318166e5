/** One finished visit of a crawl as data: what the report is built from, what is stored, what an NDJSON line shows. */
import { toHex } from "../../overlay/base/bytes.ts";
import type { Failure } from "../../overlay/base/errors.ts";
import type { Json, StoredVisit } from "../../overlay/db/stored.ts";
import type { Visit, VisitStage, VisitState } from "../probe/visit.ts";

/** How an address or a node was found. Visits know all words but the last two. */
export type CrawlState =
  | VisitState
  /** We left before the answer; it will be visited again when the crawl goes on. */
  | "interrupted"
  /** Not dialled: the address policy forbids it. */
  | "skipped";

/** Better states first. What is best of several outcomes stands for all of them. */
const RANK: readonly CrawlState[] = [
  "reachable",
  "full",
  "dropped",
  "refused",
  "other-network",
  "faulty",
  "not-stellar",
  "silent",
  "dead",
  "interrupted",
  "skipped",
];
const RANK_OF = new Map(RANK.map((state, i) => [state, i]));

/** Below zero when `a` says more good than `b`. */
export function compareStates(a: CrawlState, b: CrawlState): number {
  return RANK_OF.get(a)! - RANK_OF.get(b)!;
}

/** The best state of several outcomes; the later one among equals, since its facts are newer. */
export function bestOutcome<T extends { state: CrawlState }>(outcomes: readonly T[]): T | undefined {
  let best: T | undefined;
  for (const outcome of outcomes) {
    if (best === undefined || compareStates(outcome.state, best.state) <= 0) best = outcome;
  }
  return best;
}

/** What a node says of itself in HELLO. */
export interface NodeHello {
  /** As received, at most 100 bytes: hostile. */
  versionStr: string;
  overlayVersion: number;
  overlayMinVersion: number;
  ledgerVersion: number;
  listeningPort: number;
  /** Lower-case hex. */
  networkId: string;
  /** End of its certificate, Unix seconds. */
  certExpiresAt: number;
}

/** One visit. Instants are wall time, ms since the Unix epoch. */
export interface CrawlVisit {
  /** `host:port`. */
  address: string;
  /** Steps from a seed. */
  depth: number;
  /** 1 for the first visit to this address in this run. */
  attempt: number;
  /** Name of the network whose HELLO we sent: the crawl's own, or another one tried after a silent close. */
  network: string;
  startedAtMs: number;
  durationMs: number;
  state: CrawlState;
  failure: Failure | undefined;
  /** Text of the remote's ERROR_MSG: hostile. */
  remoteText: string | undefined;
  /** `G...`; its certificate verified. */
  nodeId: string | undefined;
  /** AUTH came through: the node holds the key it names. Without it a HELLO may be a copy of another node's. */
  authenticated: boolean;
  hello: NodeHello | undefined;
  /** Time to each stage after the one before it, ms. */
  stagesMs: Partial<Record<VisitStage, number>>;
  rttMs: number[];
  pingsLost: number;
  /** Addresses of PEERS as text, in the order received, repetitions included; undefined when none came. */
  peers: string[] | undefined;
  /** When the same run wants to try again; undefined: final. */
  retryAtMs: number | undefined;
  /** It was held to listen. */
  listened: boolean;
  scpMessages: number;
  bytesRead: number;
  bytesWritten: number;
}

/** The code of an outcome; null when reachable or full, and then only. */
export function codeOf(visit: Pick<CrawlVisit, "failure">): string | null {
  return visit.failure?.code ?? null;
}

/** Takes over what a visit found, all but what only the crawl knows. */
export function recordOf(
  visit: Visit,
  more: Pick<CrawlVisit, "address" | "depth" | "attempt" | "network" | "peers" | "listened">,
): CrawlVisit {
  // A HELLO whose certificate did not verify proves nothing, not even which node was copied.
  const hello = visit.helloAtMs === undefined ? undefined : visit.hello;
  return {
    ...more,
    startedAtMs: visit.startedAtMs,
    durationMs: visit.durationMs,
    state: visit.state,
    failure: visit.failure,
    remoteText: visit.remoteText,
    nodeId: hello && visit.nodeId,
    authenticated: visit.stagesMs.auth !== undefined,
    hello: hello && {
      versionStr: hello.versionStr,
      overlayVersion: hello.overlayVersion,
      overlayMinVersion: hello.overlayMinVersion,
      ledgerVersion: hello.ledgerVersion,
      listeningPort: hello.listeningPort,
      networkId: toHex(hello.networkId),
      certExpiresAt: Number(hello.cert.expiration),
    },
    stagesMs: visit.stagesMs,
    rttMs: visit.rttMs,
    pingsLost: visit.pingsLost,
    retryAtMs: undefined,
    scpMessages: visit.scpMessages,
    bytesRead: visit.bytesRead,
    bytesWritten: visit.bytesWritten,
  };
}

/** What the database keeps of a visit beyond its own columns. */
interface Extra {
  network: string;
  remoteText?: string;
  certExpiresAt?: number;
  rttMs: number[];
  pingsLost: number;
  listened: boolean;
  scpMessages: number;
  bytesRead: number;
  bytesWritten: number;
}

/** A visit as the database keeps it; {@link visitFromStored} gives the same visit back. */
export function storedOf(visit: CrawlVisit): StoredVisit {
  const { hello } = visit;
  const extra: Extra = {
    network: visit.network,
    remoteText: visit.remoteText,
    certExpiresAt: hello?.certExpiresAt,
    rttMs: visit.rttMs,
    pingsLost: visit.pingsLost,
    listened: visit.listened,
    scpMessages: visit.scpMessages,
    bytesRead: visit.bytesRead,
    bytesWritten: visit.bytesWritten,
  };
  return {
    address: visit.address,
    depth: visit.depth,
    attempt: visit.attempt,
    startedAt: visit.startedAtMs,
    durationMs: visit.durationMs,
    outcome: visit.state,
    code: codeOf(visit),
    failure: (visit.failure ?? null) as Json,
    nodeId: visit.nodeId ?? null,
    authenticated: visit.authenticated,
    hello: hello === undefined ? null : {
      versionStr: hello.versionStr,
      overlayVersion: hello.overlayVersion,
      overlayMinVersion: hello.overlayMinVersion,
      ledgerVersion: hello.ledgerVersion,
      listeningPort: hello.listeningPort,
      networkId: hello.networkId,
    },
    stages: visit.stagesMs as Json,
    rttMs: visit.rttMs.length === 0 ? null : Math.min(...visit.rttMs),
    peers: visit.peers ?? null,
    retryAt: visit.retryAtMs ?? null,
    extra: extra as unknown as Json,
  };
}

/** A visit read back from the database. */
export function visitFromStored(stored: StoredVisit): CrawlVisit {
  const extra = (stored.extra ?? {}) as unknown as Partial<Extra>;
  return {
    address: stored.address,
    depth: stored.depth,
    attempt: stored.attempt,
    network: extra.network ?? "",
    startedAtMs: stored.startedAt,
    durationMs: stored.durationMs,
    state: stored.outcome as CrawlState,
    failure: (stored.failure ?? undefined) as Failure | undefined,
    remoteText: extra.remoteText,
    nodeId: stored.nodeId ?? undefined,
    authenticated: stored.authenticated,
    hello: stored.hello === null ? undefined : { ...stored.hello, certExpiresAt: extra.certExpiresAt ?? 0 },
    stagesMs: (stored.stages ?? {}) as CrawlVisit["stagesMs"],
    rttMs: extra.rttMs ?? [],
    pingsLost: extra.pingsLost ?? 0,
    peers: stored.peers === null ? undefined : [...stored.peers],
    retryAtMs: stored.retryAt ?? undefined,
    listened: extra.listened ?? false,
    scpMessages: extra.scpMessages ?? 0,
    bytesRead: extra.bytesRead ?? 0,
    bytesWritten: extra.bytesWritten ?? 0,
  };
}
