/** The crawl database: runs with their visits, the nodes met, and the address book. One file holds one network. */
import { type Clock, systemClock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";
import { networkIdOf } from "../base/networks.ts";
import { formatAddress, parseTarget } from "../base/peer_address.ts";
import type { Database, SqlRow, SqlValue } from "./database.ts";
import { claimNetwork, openNodeDatabase } from "./schema.ts";
import {
  GOOD_OUTCOMES,
  type Json,
  type KnownAddress,
  type KnownNode,
  type LoadedRun,
  type NewRun,
  type NumberedVisit,
  type PendingAddress,
  type RunEnd,
  type RunState,
  type StoredHello,
  type StoredObservation,
  type StoredRun,
  type StoredScp,
  type StoredSeed,
  type StoredVisit,
  type VisitTotal,
} from "./stored.ts";

export * from "./stored.ts";

/** A running run whose owner stored nothing for so long is taken for dead, ms. Its owner calls {@link CrawlStore.touch} more often. */
export const OWNER_TIMEOUT_MS = 10_000;
/** Runs that stay when one ends. */
export const KEEP_RUNS = 50;
/** An address that nobody told for so long is forgotten when a run ends, ms. */
export const KEEP_ADDRESSES_MS = 90 * 86_400_000;

/** How to open a crawl database. */
export interface CrawlStoreOptions {
  /** The network it belongs to. Without it the file must exist and says so itself. */
  networkPassphrase?: string;
  /** For the times of what is stored; {@link systemClock} unless given. */
  clock?: Clock;
  /** Only reads, while another process may write. */
  readonly?: boolean;
}

/**
 * An open crawl database. What a method stored is committed when it returns, and survives the end of the process by any
 * signal: a crawl that is killed loses at most the visits in flight. Every method throws `db_failed`.
 */
export class CrawlStore {
  readonly networkPassphrase: string;
  /** Hex of 32 bytes. */
  readonly networkId: string;
  readonly #db: Database;
  readonly #clock: Clock;

  private constructor(db: Database, clock: Clock, networkPassphrase: string) {
    this.#db = db;
    this.#clock = clock;
    this.networkPassphrase = networkPassphrase;
    this.networkId = networkIdOf(networkPassphrase);
  }

  /**
   * Opens the file at `path`, making or updating it unless read-only; ":memory:" keeps all in memory. Throws `db_failed` for
   * what is not a database of this tool and network, `db_newer_schema` for one of a later version.
   */
  static async open(path: string, options: CrawlStoreOptions = {}): Promise<CrawlStore> {
    const { networkPassphrase, clock = systemClock, readonly = false } = options;
    const db = await openNodeDatabase(path, { readonly, networkPassphrase });
    return new CrawlStore(db, clock, claimNetwork(db, networkPassphrase));
  }

  /** The crawls in a database that is open already; closing this closes that. It belongs to the network. */
  static over(db: Database, networkPassphrase: string, clock: Clock = systemClock): CrawlStore {
    return new CrawlStore(db, clock, networkPassphrase);
  }

  /** Begins a run, state "running", and takes its seeds into the address book. Returns its id. */
  startRun(run: NewRun): number {
    const now = this.#now();
    const seeds = run.seeds.map(toSeed);
    return this.#db.transaction(() => {
      const { lastInsertRowid } = this.#run(
        `INSERT INTO run (started_at, updated_at, state, owner, tool_version, options, versions, seeds, budget)
         VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?)`,
        now,
        now,
        run.owner ?? null,
        run.toolVersion,
        toJson(run.options),
        toJson(run.versions),
        toJson(seeds),
        toJson(run.budget),
      );
      // Remembered addresses are in the book already, and that we remember them makes them no more recent.
      this.addAddresses(seeds.filter(({ source }) => source === "seed").flatMap(addressOfSeed), "seed");
      return lastInsertRowid;
    });
  }

  /**
   * Takes over a run to continue it: afterwards it is "running" and belongs to `owner`. Of several processes that try at once
   * one succeeds. Throws `run_in_progress` while the process it belongs to lives, which is when it stored something or called
   * {@link touch} in the last {@link OWNER_TIMEOUT_MS}.
   */
  claimRun(runId: number, owner: string, nowMs = this.#now()): void {
    this.#db.transaction(() => {
      const row = this.#get("SELECT state, owner, updated_at FROM run WHERE id = ?", runId);
      if (!row) throw new OverlayError({ code: "db_failed", path: this.#db.path, reason: `it has no run ${runId}` });
      const sinceMs = Math.round(nowMs) - (row.updated_at as number);
      // A heartbeat from the future comes from a clock that was set back.
      if (row.state === "running" && row.owner !== owner && Math.abs(sinceMs) <= OWNER_TIMEOUT_MS) {
        throw new OverlayError({ code: "run_in_progress", run: runId, sinceMs: Math.max(0, sinceMs) });
      }
      this.#run(
        "UPDATE run SET state = 'running', owner = ?, ended_at = NULL, updated_at = ? WHERE id = ?",
        owner,
        Math.round(nowMs),
        runId,
      );
    });
  }

  /** Says that the process that runs it lives. False: with `owner` given, the run belongs to another process by now. */
  touch(runId: number, owner?: string): boolean {
    return this.#run(
      "UPDATE run SET updated_at = ? WHERE id = ? AND state = 'running' AND owner IS coalesce(?, owner)",
      this.#now(),
      runId,
      owner ?? null,
    ).changes > 0;
  }

  /** Ends a run, and bounds the file by {@link KEEP_RUNS} and {@link KEEP_ADDRESSES_MS}. */
  finishRun(runId: number, state: Exclude<RunState, "running">, end: RunEnd = {}): void {
    const now = this.#now();
    this.#db.transaction(() => {
      this.#run(
        "UPDATE run SET state = ?, ended_at = ?, updated_at = ?, counts = ?, limits_hit = ?, used = ? WHERE id = ?",
        state,
        now,
        now,
        toJson(end.counts),
        toJson(end.limitsHit),
        toJson(end.budget?.used),
        runId,
      );
      this.#purge({ keepRuns: KEEP_RUNS, addressesSeenBefore: now - KEEP_ADDRESSES_MS });
    });
  }

  /**
   * Stores a visit and what it adds to the address book; also the node met, if it authenticated and is of our network. Committed
   * on return. Returns its number in the run.
   */
  recordVisit(runId: number, visit: StoredVisit): number {
    return this.#db.transaction(() => {
      const now = this.#now();
      const seq = Number(this.#get("SELECT coalesce(max(seq), 0) + 1 AS seq FROM visit WHERE run_id = ?", runId)!.seq);
      this.#run(
        `INSERT INTO visit (run_id, seq, address, depth, attempt, started_at, duration_ms, outcome, code, failure, node_id,
           authenticated, hello, stages, rtt_ms, peers, retry_at, extra)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        runId,
        seq,
        visit.address,
        visit.depth,
        visit.attempt,
        Math.round(visit.startedAt),
        visit.durationMs,
        visit.outcome,
        visit.code,
        toJson(visit.failure),
        visit.nodeId,
        visit.authenticated ? 1 : 0,
        toJson(visit.hello),
        toJson(visit.stages),
        visit.rttMs,
        toJson(visit.peers),
        visit.retryAt === null ? null : Math.ceil(visit.retryAt),
        toJson(visit.extra),
      );
      // A HELLO alone may be a copy of another node's, and ids of another network are not nodes of ours.
      const proven = visit.authenticated && visit.hello?.networkId === this.networkId ? visit.nodeId : null;
      this.#bookVisit(visit, proven, now);
      if (proven !== null) this.#bookNode(proven, visit, now);
      if (visit.peers !== null && visit.peers.length > 0) this.addAddresses(visit.peers, "peers");
      this.#run("UPDATE run SET updated_at = ? WHERE id = ?", now, runId);
      return seq;
    });
  }

  /** Takes addresses into the address book, `host:port` each; known ones only become more recent. */
  addAddresses(addresses: readonly string[], source: string): void {
    const now = this.#now();
    this.#run(
      `INSERT INTO address (address, source, first_seen_at, last_seen_at) SELECT value, ?, ?, ? FROM json_each(?) WHERE true
       ON CONFLICT (address) DO UPDATE SET last_seen_at = excluded.last_seen_at
       WHERE last_seen_at < excluded.last_seen_at`,
      source,
      now,
      now,
      toJson(addresses),
    );
  }

  /** Stores what was heard of consensus; the same listener, node, slot or hash again replaces what was stored of it. */
  recordScp(runId: number, scp: Partial<StoredScp>): void {
    this.#db.transaction(() => {
      for (const { nodeId, relaying } of scp.listeners ?? []) {
        this.#run(
          "INSERT OR REPLACE INTO listener (run_id, node_id, relaying) VALUES (?, ?, ?)",
          runId,
          nodeId,
          relaying ? 1 : 0,
        );
      }
      for (const seen of scp.heard ?? []) {
        this.#run(
          `INSERT OR REPLACE INTO heard (run_id, node_id, slot, statement, quorum_set_hash, first_heard_at, heard_from)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
          runId,
          seen.nodeId,
          String(seen.slot),
          seen.statement,
          seen.quorumSetHash,
          Math.round(seen.firstHeardAt),
          toJson(seen.heardFrom),
        );
      }
      for (const seen of scp.observations ?? []) {
        this.#run(
          `INSERT OR REPLACE INTO validator (run_id, node_id, slot, first_at, lags, statement, quorum_set_hash)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
          runId,
          seen.nodeId,
          String(seen.slot),
          Math.round(seen.firstAt),
          toJson(seen.lagsMs),
          seen.statement,
          seen.quorumSetHash,
        );
      }
      for (const { hash, set } of scp.quorumSets ?? []) {
        this.#run("INSERT OR REPLACE INTO quorum_set (run_id, hash, json) VALUES (?, ?, ?)", runId, hash, toJson(set));
      }
      this.#run("UPDATE run SET updated_at = ? WHERE id = ?", this.#now(), runId);
    });
  }

  /** What {@link recordScp} stored in a run: observations by slot, then by time; the rest by id or hash. */
  scpOf(runId: number): StoredScp {
    return {
      listeners: this.#all("SELECT * FROM listener WHERE run_id = ? ORDER BY node_id", runId).map((row) => ({
        nodeId: row.node_id as string,
        relaying: row.relaying === 1,
      })),
      heard: this.#all("SELECT * FROM heard WHERE run_id = ? ORDER BY node_id", runId).map((row) => ({
        nodeId: row.node_id as string,
        slot: BigInt(row.slot as string),
        statement: row.statement as string,
        quorumSetHash: row.quorum_set_hash as string,
        firstHeardAt: row.first_heard_at as number,
        heardFrom: fromJson(row.heard_from) as string[],
      })),
      observations: this.observations(runId),
      quorumSets: this.#all("SELECT * FROM quorum_set WHERE run_id = ? ORDER BY hash", runId).map((row) => ({
        hash: row.hash as string,
        set: fromJson(row.json) as object,
      })),
    };
  }

  /** The observations of {@link scpOf}. */
  observations(runId: number): StoredObservation[] {
    return this.#all("SELECT * FROM validator WHERE run_id = ? ORDER BY length(slot), slot, first_at, node_id", runId)
      .map(
        (row) => ({
          nodeId: row.node_id as string,
          slot: BigInt(row.slot as string),
          firstAt: row.first_at as number,
          lagsMs: fromJson(row.lags) as Record<string, number>,
          statement: row.statement as string | null,
          quorumSetHash: row.quorum_set_hash as string | null,
        }),
      );
  }

  /**
   * The newest run that did not end: interrupted, or still "running", which is the state a killed process leaves.
   * {@link claimRun} tells whether another process is really at it.
   */
  lastInterruptedRun(): StoredRun | null {
    const row = this.#get("SELECT * FROM run WHERE state IN ('running', 'interrupted') ORDER BY id DESC LIMIT 1");
    return row ? toRun(row) : null;
  }

  /** Runs, newest first. */
  runs(options: { limit?: number } = {}): StoredRun[] {
    return this.#all("SELECT * FROM run ORDER BY id DESC LIMIT ?", options.limit ?? -1).map(toRun);
  }

  /** A run with its visits and what it has left to do; null when there is none with this id. */
  loadRun(runId: number): LoadedRun | null {
    // One transaction, so that a reader sees a run as it was at one instant.
    return this.#snapshot(() => {
      const row = this.#get("SELECT * FROM run WHERE id = ?", runId);
      if (!row) return null;
      const run = toRun(row);
      const visits = this.#all("SELECT * FROM visit WHERE run_id = ? ORDER BY seq", runId).map(toVisit);
      return { run, visits, pending: pendingOf(run.seeds.flatMap(addressOfSeed), visits), scp: this.scpOf(runId) };
    });
  }

  /** Visits of an address in all runs, newest first. */
  visitsOfAddress(address: string, options: { limit?: number } = {}): NumberedVisit[] {
    return this.#all("SELECT * FROM visit WHERE address = ? ORDER BY id DESC LIMIT ?", address, options.limit ?? -1)
      .map(toVisit);
  }

  /** Visits that met a node in all runs, newest first. */
  visitsOfNode(nodeId: string, options: { limit?: number } = {}): NumberedVisit[] {
    return this.#all("SELECT * FROM visit WHERE node_id = ? ORDER BY id DESC LIMIT ?", nodeId, options.limit ?? -1)
      .map(toVisit);
  }

  /**
   * The address book: addresses where a node answered before, most recent first; then, unless `goodOnly`, the others, those
   * with fewest failures and most recently seen first.
   */
  knownAddresses(options: { limit?: number; goodOnly?: boolean } = {}): KnownAddress[] {
    return this.#all(
      `SELECT * FROM address WHERE last_good_at IS NOT NULL OR ? = 0
       ORDER BY last_good_at IS NULL, last_good_at DESC, failures, last_seen_at DESC, address LIMIT ?`,
      options.goodOnly ? 1 : 0,
      options.limit ?? -1,
    ).map(toAddress);
  }

  /** The entry of an address in the book, if any. */
  knownAddress(address: string): KnownAddress | null {
    const row = this.#get("SELECT * FROM address WHERE address = ?", address);
    return row ? toAddress(row) : null;
  }

  /** What the visits of all runs say of each address, retries of one run counting once. */
  visitTotals(): VisitTotal[] {
    return this.#all(
      `WITH total AS (
         SELECT address, max(id) AS last_id, count(*) AS tried, sum(outcome = 'reachable') AS admitted,
           max(iif(outcome = 'reachable', started_at, NULL)) AS admitted_at, min(rtt_ms) AS least_rtt_ms
         FROM visit WHERE retry_at IS NULL AND outcome NOT IN ('interrupted', 'skipped') GROUP BY address)
       SELECT total.*, visit.code, visit.outcome, visit.started_at FROM total JOIN visit ON visit.id = last_id
       ORDER BY total.address`,
    ).map((row) => ({
      address: row.address as string,
      tried: row.tried as number,
      admitted: row.admitted as number,
      admittedAt: row.admitted_at as number | null,
      lastAt: row.started_at as number,
      lastOutcome: row.outcome as string,
      lastCode: row.code as string | null,
      rttMs: row.least_rtt_ms as number | null,
    }));
  }

  /** Addresses where a node proved its id, in any run. */
  addressesOfNode(nodeId: string): string[] {
    return this.#all(
      `SELECT DISTINCT address FROM visit WHERE node_id = ? AND authenticated = 1
       UNION SELECT address FROM address WHERE last_node_id = ? ORDER BY address`,
      nodeId,
      nodeId,
    ).map((row) => row.address as string);
  }

  /** Deletes addresses from the book; the visits of past runs stay. Returns how many there were. */
  forgetAddresses(addresses: readonly string[]): number {
    return this.#run("DELETE FROM address WHERE address IN (SELECT value FROM json_each(?))", toJson(addresses))
      .changes;
  }

  /** Nodes met, most recent first. */
  knownNodes(options: { limit?: number } = {}): KnownNode[] {
    return this.#all("SELECT * FROM node ORDER BY last_seen_at DESC, node_id LIMIT ?", options.limit ?? -1).map(toNode);
  }

  /** What is known of a node, if anything. */
  knownNode(nodeId: string): KnownNode | null {
    const row = this.#get("SELECT * FROM node WHERE node_id = ?", nodeId);
    return row ? toNode(row) : null;
  }

  /**
   * Bounds the file: deletes all but the newest `keepRuns` runs that no process is at, and addresses not seen since
   * `addressesSeenBefore` (ms since the Unix epoch). {@link finishRun} does it with fixed bounds.
   */
  purge(options: { keepRuns?: number; addressesSeenBefore?: number }): { runs: number; addresses: number } {
    return this.#db.transaction(() => this.#purge(options));
  }

  /** Closes the file. Again does nothing. */
  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #purge(options: { keepRuns?: number; addressesSeenBefore?: number }): { runs: number; addresses: number } {
    let runs = 0, addresses = 0;
    if (options.keepRuns !== undefined) {
      const since = this.#now() - OWNER_TIMEOUT_MS;
      runs = this.#run(
        `WITH idle AS (SELECT id FROM run WHERE state <> 'running' OR updated_at < ?)
         DELETE FROM run WHERE id IN idle AND id NOT IN (SELECT id FROM idle ORDER BY id DESC LIMIT ?)`,
        since,
        options.keepRuns,
      ).changes;
    }
    if (options.addressesSeenBefore !== undefined) {
      addresses = this.#run("DELETE FROM address WHERE last_seen_at < ?", options.addressesSeenBefore).changes;
    }
    return { runs, addresses };
  }

  #bookVisit(visit: StoredVisit, nodeId: string | null, now: number): void {
    const good = nodeId !== null && GOOD_OUTCOMES.has(visit.outcome);
    this.#run(
      `INSERT INTO address (address, source, first_seen_at, last_seen_at, last_tried_at, last_good_at, last_outcome,
         last_node_id, failures, next_attempt_at) VALUES (?, 'visit', ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (address) DO UPDATE SET last_seen_at = excluded.last_seen_at, last_tried_at = excluded.last_tried_at,
         last_good_at = coalesce(excluded.last_good_at, last_good_at), last_outcome = excluded.last_outcome,
         last_node_id = coalesce(excluded.last_node_id, last_node_id),
         failures = iif(excluded.failures = 0, 0, failures + 1), next_attempt_at = excluded.next_attempt_at`,
      visit.address,
      now,
      now,
      now,
      good ? now : null,
      visit.outcome,
      nodeId,
      good ? 0 : 1,
      visit.retryAt === null ? null : Math.ceil(visit.retryAt),
    );
  }

  #bookNode(nodeId: string, visit: StoredVisit, now: number): void {
    this.#run(
      `INSERT INTO node (node_id, first_seen_at, last_seen_at, last_address, info) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (node_id) DO UPDATE SET last_seen_at = excluded.last_seen_at, last_address = excluded.last_address,
         info = coalesce(excluded.info, info)`,
      nodeId,
      now,
      now,
      visit.address,
      toJson(visit.hello),
    );
  }

  #now(): number {
    return Math.round(this.#clock.wallMs());
  }

  #snapshot<T>(fn: () => T): T {
    if (!this.#db.readonly) return this.#db.transaction(fn);
    this.#db.exec("BEGIN");
    try {
      return fn();
    } finally {
      this.#db.exec("COMMIT");
    }
  }

  #run(sql: string, ...params: SqlValue[]): { changes: number; lastInsertRowid: number } {
    return this.#db.prepare(sql).run(...params);
  }

  #get(sql: string, ...params: SqlValue[]): SqlRow | undefined {
    return this.#db.prepare(sql).get(...params);
  }

  #all(sql: string, ...params: SqlValue[]): SqlRow[] {
    return this.#db.prepare(sql).all(...params);
  }
}

/**
 * What a run has left to do: every address it learned, as a seed or from a visit, whose last visit was not final. It needs
 * nothing but seeds and visits, so no queue is stored that could disagree with them.
 */
export function pendingOf(seeds: readonly string[], visits: readonly StoredVisit[]): PendingAddress[] {
  const found = new Map<string, Omit<PendingAddress, "advertisedBy"> & { givers: Set<string>; done: boolean }>();
  const learn = (address: string, depth: number) => {
    let entry = found.get(address);
    if (!entry) {
      found.set(address, entry = { address, depth, attempts: 0, retryAt: null, givers: new Set(), done: false });
    }
    entry.depth = Math.min(entry.depth, depth);
    return entry;
  };
  for (const seed of seeds) learn(seed, 0);
  for (const visit of visits) {
    const entry = learn(visit.address, visit.depth);
    entry.attempts = Math.max(entry.attempts, visit.attempt);
    entry.retryAt = visit.retryAt;
    entry.done = visit.retryAt === null;
    for (const peer of visit.peers ?? []) learn(peer, visit.depth + 1).givers.add(visit.address);
  }
  return [...found.values()].filter((entry) => !entry.done).map(({ done: _, givers, ...entry }) => ({
    ...entry,
    advertisedBy: [...givers],
  }));
}

function toJson(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return JSON.stringify(value, (_key, item) => typeof item === "bigint" ? item.toString() : item);
}

function fromJson(text: SqlValue): Json {
  return text === null ? null : JSON.parse(text as string);
}

/** Reads a seed also in the form of schema 1, a text. */
function toSeed(seed: string | StoredSeed): StoredSeed {
  return typeof seed === "string" ? { target: seed, source: "seed" } : { target: seed.target, source: seed.source };
}

/** `host:port` of a seed; none when it is no address. */
function addressOfSeed(seed: StoredSeed): string[] {
  try {
    return [formatAddress(parseTarget(seed.target).address)];
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "bad_address") return [];
    throw error;
  }
}

function toRun(row: SqlRow): StoredRun {
  return {
    id: row.id as number,
    startedAt: row.started_at as number,
    updatedAt: row.updated_at as number,
    endedAt: row.ended_at as number | null,
    state: row.state as RunState,
    toolVersion: row.tool_version as string,
    options: fromJson(row.options),
    versions: fromJson(row.versions),
    seeds: (fromJson(row.seeds) as unknown as (string | StoredSeed)[]).map(toSeed),
    owner: row.owner as string | null,
    budget: fromJson(row.budget),
    counts: fromJson(row.counts),
    limitsHit: (fromJson(row.limits_hit) ?? []) as string[],
    used: fromJson(row.used),
  };
}

function toVisit(row: SqlRow): NumberedVisit {
  return {
    runId: row.run_id as number,
    seq: row.seq as number,
    address: row.address as string,
    depth: row.depth as number,
    attempt: row.attempt as number,
    startedAt: row.started_at as number,
    durationMs: row.duration_ms as number,
    outcome: row.outcome as string,
    code: row.code as string | null,
    failure: fromJson(row.failure),
    nodeId: row.node_id as string | null,
    authenticated: row.authenticated === 1,
    hello: fromJson(row.hello) as StoredHello | null,
    stages: fromJson(row.stages),
    rttMs: row.rtt_ms as number | null,
    peers: fromJson(row.peers) as string[] | null,
    retryAt: row.retry_at as number | null,
    extra: fromJson(row.extra),
  };
}

function toAddress(row: SqlRow): KnownAddress {
  return {
    address: row.address as string,
    source: row.source as string,
    firstSeenAt: row.first_seen_at as number,
    lastSeenAt: row.last_seen_at as number,
    lastTriedAt: row.last_tried_at as number | null,
    lastGoodAt: row.last_good_at as number | null,
    lastOutcome: row.last_outcome as string | null,
    lastNodeId: row.last_node_id as string | null,
    failures: row.failures as number,
    nextAttemptAt: row.next_attempt_at as number | null,
  };
}

function toNode(row: SqlRow): KnownNode {
  return {
    nodeId: row.node_id as string,
    firstSeenAt: row.first_seen_at as number,
    lastSeenAt: row.last_seen_at as number,
    lastAddress: row.last_address as string,
    hello: fromJson(row.info) as StoredHello | null,
  };
}
