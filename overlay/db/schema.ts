/** The tables of our database file, and the steps from each older schema to the newest. */
import { OverlayError } from "../base/errors.ts";
import type { Database } from "./database.ts";

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
  if (db.readonly || pragma(db, "user_version") === SCHEMA_VERSION) return;
  db.transaction(() => {
    checkSchema(db);
    for (let version = pragma(db, "user_version"); version < SCHEMA_VERSION; version++) db.exec(MIGRATIONS[version]);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
  });
}

function pragma(db: Database, name: "application_id" | "user_version"): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()![name]);
}
