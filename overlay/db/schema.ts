/** The tables of our database file, and the steps from each older schema to the newest. */
import { OverlayError } from "../base/errors.ts";
import { networkIdOf } from "../base/networks.ts";
import { type Database, openDatabase, type OpenOptions } from "./database.ts";

/** Stands in the file's header (PRAGMA application_id) and marks it as ours: "sovl" in ASCII. */
export const APPLICATION_ID = 0x736f766c;

/**
 * Step `n` leads from schema `n` to `n + 1`; schema 0 is an empty file. Steps that were released never change.
 * Instants are milliseconds since the Unix epoch, nested data is JSON, 64-bit numbers are text.
 */
export const MIGRATIONS: readonly string[] = [
  `
  -- One row per fact about the whole file: network_passphrase, network_id.
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

  -- One crawl. 'running' in a file that nobody writes means its process was killed.
  CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at INTEGER,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'interrupted', 'failed')),
    tool_version TEXT NOT NULL,
    options TEXT,
    versions TEXT,
    seeds TEXT NOT NULL,
    budget TEXT,
    counts TEXT,
    limits_hit TEXT
  ) STRICT;

  -- One attempt to visit one address. retry_at is NULL when this was the last attempt of the run.
  CREATE TABLE visit (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    address TEXT NOT NULL,
    depth INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    outcome TEXT NOT NULL,
    code TEXT,
    failure TEXT,
    node_id TEXT,
    hello TEXT,
    stages TEXT,
    rtt_ms REAL,
    peers TEXT,
    retry_at INTEGER,
    extra TEXT,
    UNIQUE (run_id, seq)
  ) STRICT;
  CREATE INDEX visit_address ON visit (address, id);
  CREATE INDEX visit_node ON visit (node_id, id) WHERE node_id IS NOT NULL;

  -- Every node that ever proved its id to us, with what it said last.
  CREATE TABLE node (
    node_id TEXT PRIMARY KEY,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    last_address TEXT NOT NULL,
    info TEXT
  ) STRICT, WITHOUT ROWID;

  -- The address book. last_seen_at: last given to us or tried. last_good_at: last time a node answered there.
  CREATE TABLE address (
    address TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    last_tried_at INTEGER,
    last_good_at INTEGER,
    last_outcome TEXT,
    last_node_id TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX address_good ON address (last_good_at) WHERE last_good_at IS NOT NULL;

  -- When the peers of a run relayed a validator's statements of one slot.
  CREATE TABLE validator (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    node_id TEXT NOT NULL,
    slot TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    lags TEXT NOT NULL,
    PRIMARY KEY (run_id, node_id, slot)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- The address book of a node. type: 0 inbound, 1 outbound, 2 preferred. next_attempt_at: not dialed before. The rowid grows
  -- with the order in which addresses were learned.
  CREATE TABLE peers (
    host TEXT NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    next_attempt_at INTEGER NOT NULL,
    num_failures INTEGER NOT NULL DEFAULT 0 CHECK (num_failures >= 0),
    type INTEGER NOT NULL CHECK (type BETWEEN 0 AND 2),
    PRIMARY KEY (host, port)
  ) STRICT;
  CREATE INDEX peers_type ON peers (type, num_failures DESC);

  -- Nodes that are refused. until_at: NULL is forever.
  CREATE TABLE ban (
    node_id TEXT PRIMARY KEY,
    until_at INTEGER,
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- owner: the process that a running run belongs to; it touches updated_at. used: what the run took of its budget.
  ALTER TABLE run ADD COLUMN owner TEXT;
  ALTER TABLE run ADD COLUMN used TEXT;

  -- Whether the node proved that it holds the key of node_id.
  ALTER TABLE visit ADD COLUMN authenticated INTEGER NOT NULL DEFAULT 0;
  UPDATE visit SET authenticated = 1 WHERE json_extract(extra, '$.authenticated') = 1;

  -- What the node last said about the slot.
  ALTER TABLE validator ADD COLUMN statement TEXT;
  ALTER TABLE validator ADD COLUMN quorum_set_hash TEXT;

  -- Every node whose statements a run heard, with its latest one. heard_from: ids of the peers that brought them.
  CREATE TABLE heard (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    node_id TEXT NOT NULL,
    slot TEXT NOT NULL,
    statement TEXT NOT NULL,
    quorum_set_hash TEXT NOT NULL,
    first_heard_at INTEGER NOT NULL,
    heard_from TEXT NOT NULL,
    PRIMARY KEY (run_id, node_id)
  ) STRICT, WITHOUT ROWID;

  -- The nodes a run listened to. relaying: whether one brought statements of others.
  CREATE TABLE listener (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    node_id TEXT NOT NULL,
    relaying INTEGER NOT NULL,
    PRIMARY KEY (run_id, node_id)
  ) STRICT, WITHOUT ROWID;

  -- Quorum sets that a run fetched, by the hash in hex.
  CREATE TABLE quorum_set (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (run_id, hash)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- One watch, and what it measured when it was updated last. ledger: the last one decided.
  CREATE TABLE watch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    tool_version TEXT NOT NULL,
    options TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    ledger INTEGER
  ) STRICT;

  -- By kind (scp, advert, transaction, txSet): things seen, those that all peers brought, and the time from the first copy to
  -- the last of these.
  CREATE TABLE watch_spread (
    watch_id INTEGER NOT NULL REFERENCES watch (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    items INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    median_ms REAL,
    p95_ms REAL,
    max_ms REAL,
    PRIMARY KEY (watch_id, kind)
  ) STRICT, WITHOUT ROWID;

  -- By kind and peer: copies it brought, those it brought first, and its time behind the first copy.
  CREATE TABLE watch_lag (
    watch_id INTEGER NOT NULL REFERENCES watch (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    node_id TEXT NOT NULL,
    copies INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    first INTEGER NOT NULL,
    median_ms REAL,
    p95_ms REAL,
    max_ms REAL,
    PRIMARY KEY (watch_id, kind, node_id)
  ) STRICT, WITHOUT ROWID;

  -- Slots that were decided during a watch. missing: validators usually heard and not this time. peer_lags: by peer, ms from
  -- the slot's first EXTERNALIZE to the first one that this peer brought.
  CREATE TABLE watch_slot (
    watch_id INTEGER NOT NULL REFERENCES watch (id) ON DELETE CASCADE,
    slot TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    externalized INTEGER NOT NULL,
    first_externalize_ms REAL,
    missing TEXT NOT NULL,
    peer_lags TEXT NOT NULL,
    PRIMARY KEY (watch_id, slot)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** The newest schema this version knows. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Makes sure the file is ours, or empty, and not newer than we are; changes nothing. For `check` of openDatabase. Throws
 * `db_newer_schema`, and `db_failed` for a file of another program or a read-only file of an older schema.
 */
export function checkSchema(db: Database): void {
  const refuse = (reason: string) => new OverlayError({ code: "db_failed", path: db.path, reason });
  const id = pragma(db, "application_id"), found = pragma(db, "user_version");
  if (id !== APPLICATION_ID) {
    const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()!.n);
    if (id !== 0 || found !== 0 || tables !== 0) throw refuse("it belongs to another program");
    if (db.readonly) throw refuse("it is empty");
    return;
  }
  if (found > SCHEMA_VERSION) {
    throw new OverlayError({ code: "db_newer_schema", path: db.path, found, supported: SCHEMA_VERSION });
  }
  if (db.readonly && found < SCHEMA_VERSION) {
    throw refuse(`its schema ${found} is older and must be updated by writing once`);
  }
}

/** Brings the file to {@link SCHEMA_VERSION}: all steps or none. Safe when two processes open a new file at once. */
export function migrate(db: Database): void {
  const isNewest = pragma(db, "application_id") === APPLICATION_ID && pragma(db, "user_version") === SCHEMA_VERSION;
  if (db.readonly || isNewest) return;
  db.transaction(() => {
    checkSchema(db);
    for (let version = pragma(db, "user_version"); version < SCHEMA_VERSION; version++) db.exec(MIGRATIONS[version]);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

/**
 * The passphrase of the network that the file belongs to. A file of none becomes one of `expected`, when it may be written.
 * Throws `db_failed` when it belongs to another, or to none.
 */
export function claimNetwork(db: Database, expected?: string): string {
  const found = networkOf(db, expected);
  if (found !== undefined) return found;
  if (expected === undefined || db.readonly) {
    throw new OverlayError({ code: "db_failed", path: db.path, reason: "it does not say which network it belongs to" });
  }
  return db.transaction(() => {
    // Another process may have been first.
    if (networkOf(db, expected) === undefined) {
      const insert = db.prepare("INSERT INTO meta (key, value) VALUES (?, ?)");
      insert.run("network_passphrase", expected);
      insert.run("network_id", networkIdOf(expected));
    }
    return expected;
  });
}

/**
 * Opens the database of a node, or of the commands that look into it: the newest schema, and the right network. Throws as
 * {@link checkSchema} and {@link claimNetwork} do; nothing is changed in a file that they refuse.
 */
export async function openNodeDatabase(
  path: string,
  options: Omit<OpenOptions, "check"> & { networkPassphrase?: string } = {},
): Promise<Database> {
  const { networkPassphrase, ...rest } = options;
  const check = (db: Database) => {
    checkSchema(db);
    networkOf(db, networkPassphrase);
  };
  const db = await openDatabase(path, { ...rest, check });
  try {
    migrate(db);
    claimNetwork(db, networkPassphrase);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The passphrase in the file, if any. Throws `db_failed` when another one is expected. */
function networkOf(db: Database, expected: string | undefined): string | undefined {
  if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get() === undefined) return undefined;
  const row = db.prepare("SELECT value FROM meta WHERE key = 'network_passphrase'").get();
  const found = row?.value as string | undefined;
  if (found === undefined || expected === undefined || found === expected) return found;
  const reason = `it belongs to network '${found}', not '${expected}'`;
  throw new OverlayError({ code: "db_failed", path: db.path, reason });
}

function pragma(db: Database, name: "application_id" | "user_version"): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()![name]);
}
