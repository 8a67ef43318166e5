import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, OverlayError } from "../base/errors.ts";
import { openDatabase } from "./database.ts";
import { APPLICATION_ID, checkSchema, migrate, SCHEMA_VERSION } from "./schema.ts";

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
    const makings = ["CREATE TABLE t (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 3"];
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
