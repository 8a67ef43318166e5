import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, OverlayError } from "../base/errors.ts";
import { openDatabase } from "./database.ts";
import { APPLICATION_ID, checkSchema, migrate, MIGRATIONS, openNodeDatabase, SCHEMA_VERSION } from "./schema.ts";

async function inFolder(fn: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "schema-"));
  try {
    await fn(join(folder, "x.sqlite"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("migrate makes a new file ours, and does nothing the second time", () =>
  inFolder(async (path) => {
    for (let i = 0; i < 2; i++) {
      using db = await openDatabase(path, { check: checkSchema });
      migrate(db);
      assert.equal(db.prepare("PRAGMA application_id").get()!.application_id, APPLICATION_ID);
      assert.equal(db.prepare("PRAGMA user_version").get()!.user_version, SCHEMA_VERSION);
      assert.equal(db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
    }
    using db = await openDatabase(path, { check: checkSchema, readonly: true });
    migrate(db);
  }));

test("migrate brings a file of schema 1 to the newest and keeps what it holds", () =>
  inFolder(async (path) => {
    {
      using db = await openDatabase(path);
      db.exec(MIGRATIONS[0]);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 1`);
      db.exec("INSERT INTO address (address, source, first_seen_at, last_seen_at) VALUES ('a:1', 'seed', 1, 2)");
      db.exec(
        `INSERT INTO run (started_at, updated_at, state, tool_version, seeds) VALUES (1, 2, 'running', '0', '["a:1"]')`,
      );
      const insert = db.prepare(
        `INSERT INTO visit (run_id, seq, address, depth, attempt, started_at, duration_ms, outcome, extra)
         VALUES (1, ?, 'a:1', 0, 1, 1, 1, 'full', ?)`,
      );
      ['{"authenticated":true}', '{"authenticated":false}', null].forEach((extra, i) => insert.run(i, extra));
      db.exec("INSERT INTO validator (run_id, node_id, slot, first_at, lags) VALUES (1, 'GV', '7', 1, '{}')");
    }
    await assert.rejects(openDatabase(path, { check: checkSchema, readonly: true }), /updated by writing once/);
    using db = await openDatabase(path, { check: checkSchema });
    migrate(db);
    assert.equal(db.prepare("PRAGMA user_version").get()!.user_version, SCHEMA_VERSION);
    assert.equal(db.prepare("SELECT source FROM address").get()!.source, "seed");
    assert.deepEqual([db.prepare("SELECT * FROM peers").all(), db.prepare("SELECT * FROM ban").all()], [[], []]);
    const visits = db.prepare("SELECT authenticated FROM visit ORDER BY seq").all();
    assert.deepEqual(visits.map((row) => row.authenticated), [1, 0, 0]);
    const { owner, used } = db.prepare("SELECT owner, used FROM run").get()!;
    assert.deepEqual([owner, used], [null, null]);
    assert.equal(db.prepare("SELECT statement FROM validator").get()!.statement, null);
    for (const table of ["heard", "listener", "quorum_set", "node_process"]) {
      assert.deepEqual(db.prepare(`SELECT * FROM ${table}`).all(), []);
    }
  }));

test("checkSchema refuses a newer schema and says what to do", () =>
  inFolder(async (path) => {
    {
      using db = await openDatabase(path);
      migrate(db);
      db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    }
    for (const readonly of [false, true]) {
      await assert.rejects(openDatabase(path, { check: checkSchema, readonly }), (error: OverlayError) => {
        assert.deepEqual(error.failure, {
          code: "db_newer_schema",
          path,
          found: SCHEMA_VERSION + 1,
          supported: SCHEMA_VERSION,
        });
        assert.match(error.hint, /update stellar-overlay/);
        return true;
      });
    }
  }));

test("checkSchema refuses the file of another program", () =>
  inFolder(async (path) => {
    const makings = [
      "CREATE TABLE t (a)",
      "PRAGMA application_id = 7",
      "PRAGMA user_version = 3",
      `PRAGMA user_version = ${SCHEMA_VERSION}`,
    ];
    for (const sql of makings) {
      using db = await openDatabase(":memory:");
      db.exec(sql);
      assert.throws(() => checkSchema(db), (error: OverlayError) => /another program/.test(error.message));
      assert.throws(() => migrate(db), isFailure("db_failed"));
      assert.equal(db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'run'").get()!.n, 0);
    }
    (await openDatabase(path)).close();
    await assert.rejects(openDatabase(path, { check: checkSchema, readonly: true }), isFailure("db_failed"));
  }));

test("openNodeDatabase makes a file its network's, and changes nothing in one of another", () =>
  inFolder(async (path) => {
    {
      using db = await openDatabase(path);
      db.exec(MIGRATIONS[0]);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 1`);
      db.exec("INSERT INTO meta (key, value) VALUES ('network_passphrase', 'A')");
    }
    await assert.rejects(openNodeDatabase(path, { networkPassphrase: "B" }), /belongs to network 'A', not 'B'/);
    {
      using db = await openDatabase(path, { readonly: true });
      assert.equal(db.prepare("PRAGMA user_version").get()!.user_version, 1);
    }
    for (const options of [{ networkPassphrase: "A" }, {}, { networkPassphrase: "A", readonly: true }]) {
      using db = await openNodeDatabase(path, options);
      assert.equal(db.prepare("SELECT count(*) AS n FROM ban").get()!.n, 0);
    }
    await assert.rejects(openNodeDatabase(":memory:"), /does not say which network/);
    using fresh = await openNodeDatabase(":memory:", { networkPassphrase: "B" });
    assert.equal(fresh.prepare("SELECT value FROM meta WHERE key = 'network_passphrase'").get()!.value, "B");
  }));
