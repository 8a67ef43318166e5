/** What the crawl database holds, as its readers and writers see it. */

/** Data that becomes JSON. A bigint is written as a decimal string and read back as one. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | {
  readonly [key: string]: Json | undefined;
};

/** How far a run got. "running" in a database nobody writes to means that its process was killed. */
export type RunState = "running" | "done" | "interrupted" | "failed";

/** What a run was asked to do. */
export interface NewRun {
  /** The version of this tool. */
  toolVersion: string;
  /** All options the crawl needs to go on. */
  options: Json;
  /** Overlay and ledger versions announced. */
  versions: Json;
  /** Where it starts: `host:port` each. */
  seeds: readonly string[];
  /** Limits it keeps. */
  budget: Json;
}

/** How a run ended. */
export interface RunEnd {
  counts?: Json;
  /** Names of the limits that cut the run short. */
  limitsHit?: readonly string[];
}

/** A run as stored. Instants are milliseconds since the Unix epoch. */
export interface StoredRun extends NewRun {
  id: number;
  startedAt: number;
  /** When it last stored something. */
  updatedAt: number;
  endedAt: number | null;
  state: RunState;
  counts: Json;
  limitsHit: readonly string[];
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
  /** Strkey text, once the node proved it. */
  nodeId: string | null;
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

/** Outcomes that say a node of our network answered at the address. */
export const GOOD_OUTCOMES: ReadonlySet<string> = new Set(["reachable", "full"]);

/** A visit as read back, with its place in the run. */
export interface NumberedVisit extends StoredVisit {
  runId: number;
  /** 1 for the run's first visit. */
  seq: number;
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

/** When a run first heard a validator's statement of a slot, and how much later each peer relayed it. */
export interface StoredObservation {
  nodeId: string;
  slot: bigint;
  /** Milliseconds since the Unix epoch. */
  firstAt: number;
  /** Milliseconds after the first, by peer. */
  lagsMs: Readonly<Record<string, number>>;
}
