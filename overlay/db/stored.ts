/** What the crawl database holds, as its readers and writers see it. */

/** Data that becomes JSON. A bigint is written as a decimal string and read back as one. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | {
  readonly [key: string]: Json | undefined;
};

/** How far a run got. "running" in a database nobody writes to means that its process was killed. */
export type RunState = "running" | "done" | "interrupted" | "failed";

/** Where a run starts. */
export interface StoredSeed {
  /** `[G...@]host[:port]`, as given. */
  target: string;
  /** "database": remembered from an earlier run, not asked for by the user. */
  source: "seed" | "database";
}

/** What a run was asked to do. */
export interface NewRun {
  /** The version of this tool. */
  toolVersion: string;
  /** All options the crawl needs to go on. */
  options: Json;
  /** Overlay and ledger versions announced. */
  versions: Json;
  /** Where it starts; a text alone is a seed of the user. */
  seeds: readonly (string | StoredSeed)[];
  /** Limits it keeps. */
  budget: Json;
  /** The process that runs it, as `claimRun` knows it: a text that no other process has. */
  owner?: string;
}

/** How a run ended. */
export interface RunEnd {
  counts?: object | null;
  /** Names of the limits that cut the run short. */
  limitsHit?: readonly string[];
  /** The budget at the end, of which `used` is kept. */
  budget?: { readonly used: object };
}

/** A run as stored. Instants are milliseconds since the Unix epoch. */
export interface StoredRun extends Omit<NewRun, "seeds" | "owner"> {
  id: number;
  seeds: StoredSeed[];
  /** The process it belongs or belonged to; null when it is not known. */
  owner: string | null;
  startedAt: number;
  /** When it last stored something or said that it lives. */
  updatedAt: number;
  endedAt: number | null;
  state: RunState;
  counts: Json;
  limitsHit: readonly string[];
  /** What it took of its budget; null before its end. */
  used: Json;
}

/** What a node says in HELLO. */
export interface StoredHello {
  /** As received: hostile text of up to 100 bytes. */
  versionStr: string;
  overlayVersion: number;
  overlayMinVersion: number;
  ledgerVersion: number;
  listeningPort: number;
  /** Hex of 32 bytes. */
  networkId: string;
}

/** One attempt to visit one address. */
export interface StoredVisit {
  /** `host:port`. */
  address: string;
  /** Steps from a seed; a seed has 0. */
  depth: number;
  /** 1 for the first attempt on this address in this run. */
  attempt: number;
  /** Milliseconds since the Unix epoch. */
  startedAt: number;
  durationMs: number;
  /** The crawl's own word. {@link GOOD_OUTCOMES} say that a node answered; the others count as failures. */
  outcome: string;
  /** The code of the failure, if any. */
  code: string | null;
  /** The whole `Failure`, if any. */
  failure: Json;
  /** Strkey text of the node that HELLO names. Anybody can send a copy of it: see `authenticated`. */
  nodeId: string | null;
  /** AUTH came through: the node holds the key of `nodeId`. */
  authenticated: boolean;
  hello: StoredHello | null;
  /** Durations per stage. */
  stages: Json;
  rttMs: number | null;
  /** Addresses the node gave us; null when it sent no PEERS. */
  peers: readonly string[] | null;
  /** When the same run wants to try again, in ms since the Unix epoch. Null: this visit is final. */
  retryAt: number | null;
  /** Anything else. */
  extra: Json;
}

/** Outcomes that say a node of our network answered at the address, if it authenticated. */
export const GOOD_OUTCOMES: ReadonlySet<string> = new Set(["reachable", "full"]);

/** A visit as read back, with its place in the run. */
export interface NumberedVisit extends StoredVisit {
  runId: number;
  /** 1 for the run's first visit. */
  seq: number;
}

/** What the visits of all runs say of one address. Instants are milliseconds since the Unix epoch. */
export interface VisitTotal {
  address: string;
  /** Runs that visited it, once each. */
  tried: number;
  /** Those in which the node there admitted us. */
  admitted: number;
  /** When it last did; null: never. */
  admittedAt: number | null;
  /** The last visit: when, how it ended, and the code of its failure. */
  lastAt: number;
  lastOutcome: string;
  lastCode: string | null;
  /** The shortest round trip of all visits. */
  rttMs: number | null;
}

/** An address a run learned and is not done with. */
export interface PendingAddress {
  address: string;
  /** Steps from a seed, by the shortest way seen. */
  depth: number;
  /** Attempts made in this run. */
  attempts: number;
  /** Not to be tried before; null when at once. */
  retryAt: number | null;
  /** Addresses of the peers that gave it to us, first one first; empty for a seed. */
  advertisedBy: string[];
}

/** A run with all it found and all it has left to do. */
export interface LoadedRun {
  run: StoredRun;
  /** In the order they were stored. */
  visits: NumberedVisit[];
  /** Seeds first, then in the order they were learned. */
  pending: PendingAddress[];
  /** What it heard of consensus. */
  scp: StoredScp;
}

/** An entry of the address book. */
export interface KnownAddress {
  address: string;
  /** How we came to know it: "seed", "peers", or the word given to `addAddresses`. */
  source: string;
  firstSeenAt: number;
  lastSeenAt: number;
  lastTriedAt: number | null;
  lastGoodAt: number | null;
  lastOutcome: string | null;
  lastNodeId: string | null;
  /** Visits that failed since the last good one. */
  failures: number;
  nextAttemptAt: number | null;
}

/** A node that proved its id to us at least once. */
export interface KnownNode {
  nodeId: string;
  firstSeenAt: number;
  lastSeenAt: number;
  lastAddress: string;
  hello: StoredHello | null;
}

/** When a run heard a validator decide a slot, and how much later than the first validator by each peer. */
export interface StoredObservation {
  nodeId: string;
  slot: bigint;
  /** Milliseconds since the Unix epoch. */
  firstAt: number;
  /** Milliseconds after the slot's first EXTERNALIZE, by peer. */
  lagsMs: Readonly<Record<string, number>>;
  /** The statement observed: "externalize". Null in rows of schema 1. */
  statement: string | null;
  /** Hex. Null in rows of schema 1. */
  quorumSetHash: string | null;
}

/** A node whose statements a run heard, with the latest of them. */
export interface StoredHeard {
  nodeId: string;
  slot: bigint;
  statement: string;
  /** Hex. */
  quorumSetHash: string;
  /** Milliseconds since the Unix epoch. */
  firstHeardAt: number;
  /** Ids of the peers that brought its statements. */
  heardFrom: readonly string[];
}

/** A node a run listened to. */
export interface StoredListener {
  nodeId: string;
  /** It brought statements of others. */
  relaying: boolean;
}

/** A quorum set a run fetched. */
export interface StoredQuorumSet {
  /** Hex. */
  hash: string;
  set: object;
}

/** What a run heard of consensus, or a part of it. */
export interface StoredScp {
  listeners: readonly StoredListener[];
  heard: readonly StoredHeard[];
  observations: readonly StoredObservation[];
  quorumSets: readonly StoredQuorumSet[];
}
