/** The crawl database: runs with their visits, the nodes met, and the address book. One file holds one network. */
import { type Clock, systemClock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";
import { networkIdOf } from "../base/networks.ts";
import { type Database, openDatabase, type SqlRow, type SqlValue } from "./database.ts";
import { checkSchema, migrate } from "./schema.ts";
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
  type StoredVisit,
} from "./stored.ts";

export * from "./stored.ts";

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
    const db = await openDatabase(path, {
      readonly,
      check(db) {
        checkSchema(db);
        // Before the update of an older schema, so that a mistaken path changes nothing.
        if (hasMeta(db)) checkNetwork(db, networkPassphrase);
      },
    });
    try {
      migrate(db);
      return new CrawlStore(db, clock, claimNetwork(db, networkPassphrase));
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Begins a run, state "running", and takes its seeds into the address book. Returns its id. */
  startRun(run: NewRun): number {
    const now = this.#now();
    return this.#db.transaction(() => {
      const { lastInsertRowid } = this.#run(
        `INSERT INTO run (started_at, updated_at, state, tool_version, options, versions, seeds, budget)
         VALUES (?, ?, 'running', ?, ?, ?, ?, ?)`,
        now,
        now,
        run.toolVersion,
        toJson(run.options),
        toJson(run.versions),
        toJson(run.seeds),
        toJson(run.budget),
      );
      this.addAddresses(run.seeds, "seed");
      return lastInsertRowid;
    });
  }

  /** Sets an interrupted run going again. */
  resumeRun(runId: number): void {
    this.#run("UPDATE run SET state = 'running', ended_at = NULL, updated_at = ? WHERE id = ?", this.#now(), runId);
  }

  /** Ends a run. */
  finishRun(runId: number, state: Exclude<RunState, "running">, end: RunEnd = {}): void {
    const now = this.#now();
    this.#run(
      "UPDATE run SET state = ?, ended_at = ?, updated_at = ?, counts = ?, limits_hit = ? WHERE id = ?",
      state,
      now,
      now,
      toJson(end.counts),
      toJson(end.limitsHit),
      runId,
    );
  }

  /** Stores a visit, the node met and what it adds to the address book. Committed on return. Returns its number in the run. */
  recordVisit(runId: number, visit: StoredVisit): number {
    return this.#db.transaction(() => {
      const now = this.#now();
      const seq = Number(this.#get("SELECT coalesce(max(seq), 0) + 1 AS seq FROM visit WHERE run_id = ?", runId)!.seq);
      this.#run(
        `INSERT INTO visit (run_id, seq, address, depth, attempt, started_at, duration_ms, outcome, code, failure, node_id,
           hello, stages, rtt_ms, peers, retry_at, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
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
        toJson(visit.hello),
        toJson(visit.stages),
        visit.rttMs,
        toJson(visit.peers),
        visit.retryAt === null ? null : Math.ceil(visit.retryAt),
        toJson(visit.extra),
      );
      this.#bookVisit(visit, now);
      if (visit.nodeId !== null) this.#bookNode(visit.nodeId, visit, now);
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

  /** Stores when a validator's statement arrived; the same run, validator and slot again replaces it. */
  recordObservation(runId: number, seen: StoredObservation): void {
    this.#run(
      "INSERT OR REPLACE INTO validator (run_id, node_id, slot, first_at, lags) VALUES (?, ?, ?, ?, ?)",
      runId,
      seen.nodeId,
      String(seen.slot),
      Math.round(seen.firstAt),
      toJson(seen.lagsMs),
    );
  }

  /** What {@link recordObservation} stored in a run, by slot, then by time. */
  observations(runId: number): StoredObservation[] {
    return this.#all("SELECT * FROM validator WHERE run_id = ? ORDER BY length(slot), slot, first_at, node_id", runId)
      .map(
        (row) => ({
          nodeId: row.node_id as string,
          slot: BigInt(row.slot as string),
          firstAt: row.first_at as number,
          lagsMs: fromJson(row.lags) as Record<string, number>,
        }),
      );
  }

  /**
   * The newest run that did not end: interrupted, or still "running", which is the state a killed process leaves. Compare
   * `updatedAt` with the clock when another process may really be at it.
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
      return { run, visits, pending: pendingOf(run.seeds, visits) };
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
   * Bounds the file: deletes all but the newest `keepRuns` ended runs, and addresses not seen since `addressesSeenBefore`
   * (ms since the Unix epoch). Peers may invent addresses, so a crawler that runs for long calls this.
   */
  purge(options: { keepRuns?: number; addressesSeenBefore?: number }): { runs: number; addresses: number } {
    return this.#db.transaction(() => {
      let runs = 0, addresses = 0;
      if (options.keepRuns !== undefined) {
        runs = this.#run(
          `DELETE FROM run WHERE state <> 'running' AND id NOT IN
             (SELECT id FROM run WHERE state <> 'running' ORDER BY id DESC LIMIT ?)`,
          options.keepRuns,
        ).changes;
      }
      if (options.addressesSeenBefore !== undefined) {
        addresses = this.#run("DELETE FROM address WHERE last_seen_at < ?", options.addressesSeenBefore).changes;
      }
      return { runs, addresses };
    });
  }

  /** Closes the file. Again does nothing. */
  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #bookVisit(visit: StoredVisit, now: number): void {
    const good = GOOD_OUTCOMES.has(visit.outcome);
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
      visit.nodeId,
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

function hasMeta(db: Database): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() !== undefined;
}

/** The passphrase in the file, if any. Throws `db_failed` when it is not the one expected. */
function checkNetwork(db: Database, expected: string | undefined): string | undefined {
  const stored = db.prepare("SELECT value FROM meta WHERE key = 'network_passphrase'").get()?.value as
    | string
    | undefined;
  if (stored !== undefined && expected !== undefined && stored !== expected) {
    const reason = `it belongs to network '${stored}', not '${expected}'`;
    throw new OverlayError({ code: "db_failed", path: db.path, reason });
  }
  return stored;
}

/** The network of the file; a new file becomes one of the network expected. */
function claimNetwork(db: Database, expected: string | undefined): string {
  const stored = checkNetwork(db, expected);
  if (stored !== undefined) return stored;
  if (expected === undefined || db.readonly) {
    throw new OverlayError({ code: "db_failed", path: db.path, reason: "it does not say which network it belongs to" });
  }
  return db.transaction(() => {
    // Another process may have been first.
    if (checkNetwork(db, expected) === undefined) {
      const insert = db.prepare("INSERT INTO meta (key, value) VALUES (?, ?)");
      insert.run("network_passphrase", expected);
      insert.run("network_id", networkIdOf(expected));
    }
    return expected;
  });
}

function toJson(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return JSON.stringify(value, (_key, item) => typeof item === "bigint" ? item.toString() : item);
}

function fromJson(text: SqlValue): Json {
  return text === null ? null : JSON.parse(text as string);
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
    seeds: fromJson(row.seeds) as string[],
    budget: fromJson(row.budget),
    counts: fromJson(row.counts),
    limitsHit: (fromJson(row.limits_hit) ?? []) as string[],
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
