import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure, OverlayError } from "../base/errors.ts";
import { type Database, openDatabase } from "./database.ts";

async function inFolder(fn: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "database-"));
  try {
    await fn(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function refuses(reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isFailure("db_failed")(error), String(error));
    assert.match((error as OverlayError).message, reason);
    assert.notEqual((error as OverlayError).hint, "");
    return true;
  };
}

/** What every database does, wherever it lives. */
function suite(where: string, open: (folder: string) => Promise<Database>): void {
  const run = (name: string, fn: (db: Database) => void) =>
    test(`Database (${where}) ${name}`, () =>
      inFolder(async (folder) => {
        using db = await open(folder);
        db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB, c REAL) STRICT");
        fn(db);
      }));

  run("gives back what it stored", (db) => {
    const insert = db.prepare("INSERT INTO t (a, b, c) VALUES (?, ?, ?)");
    assert.deepEqual(insert.run("xü", Uint8Array.of(0, 255), 1.5), { changes: 1, lastInsertRowid: 1 });
    insert.run(null, null, null);
    const select = db.prepare("SELECT * FROM t WHERE id = ?");
    assert.deepEqual({ ...select.get(1) }, { id: 1, a: "xü", b: Uint8Array.of(0, 255), c: 1.5 });
    assert.deepEqual({ ...select.get(2) }, { id: 2, a: null, b: null, c: null });
    assert.equal(select.get(3), undefined);
    assert.equal(db.prepare("SELECT * FROM t").all().length, 2);
    assert.equal(db.prepare("UPDATE t SET a = ?").run("y").changes, 2);
    db.prepare("INSERT INTO t (id) VALUES (?)").run(1_767_225_600_000);
    assert.equal(db.prepare("SELECT max(id) AS id FROM t").get()!.id, 1_767_225_600_000);
    assert.equal(db.prepare("SELECT id FROM t ORDER BY id LIMIT ?").all(1).length, 1);
  });

  run("iterates row by row, and may stop early", (db) => {
    for (let i = 0; i < 10; i++) db.prepare("INSERT INTO t (a) VALUES (?)").run(String(i));
    const select = db.prepare("SELECT a FROM t WHERE id > ? ORDER BY id");
    const seen: unknown[] = [];
    for (const row of select.iterate(0)) {
      seen.push(row.a);
      if (seen.length === 3) break;
    }
    assert.deepEqual(seen, ["0", "1", "2"]);
    assert.equal([...select.iterate(5)].length, 5);
    db.exec("DROP TABLE t");
  });

  run("rolls a transaction back when it throws", (db) => {
    const count = () => db.prepare("SELECT count(*) AS n FROM t").get()!.n;
    const insert = () => db.prepare("INSERT INTO t (a) VALUES ('x')").run();
    assert.throws(() =>
      db.transaction(() => {
        insert();
        throw new RangeError("stop");
      }), RangeError);
    assert.equal(count(), 0);
    assert.equal(
      db.transaction(() => {
        insert();
        return db.transaction(() => (insert(), 7));
      }),
      7,
    );
    assert.equal(count(), 2);
  });

  run("throws db_failed for SQL that fails", (db) => {
    assert.throws(() => db.exec("NOT SQL"), refuses(/syntax error/));
    assert.throws(() => db.prepare("SELECT * FROM nowhere"), refuses(/no such table/));
    db.prepare("INSERT INTO t (id) VALUES (1)").run();
    assert.throws(() => db.prepare("INSERT INTO t (id) VALUES (1)").run(), refuses(/UNIQUE/i));
  });

  run("closes twice", (db) => {
    db.prepare("SELECT 1").get();
    db.close();
    db.close();
    assert.throws(() => db.exec("SELECT 1"), isFailure("db_failed"));
  });
}

suite("memory", () => openDatabase(":memory:"));
suite("file", (folder) => openDatabase(join(folder, "new", "folder", "x.sqlite")));

test("openDatabase keeps what was written, in one file once closed", () =>
  inFolder(async (folder) => {
    const path = join(folder, "x.sqlite");
    {
      using db = await openDatabase(path);
      db.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1)");
      assert.equal(db.prepare("PRAGMA journal_mode").get()!.journal_mode, "wal");
      assert.equal(db.prepare("PRAGMA synchronous").get()!.synchronous, 1);
    }
    assert.throws(() => statSync(path + "-wal"));
    using db = await openDatabase(path, { readonly: true });
    assert.equal(db.prepare("SELECT a FROM t").get()!.a, 1);
    assert.throws(() => db.exec("INSERT INTO t VALUES (2)"), refuses(/cannot be written/));
  }));

test("openDatabase lets a second connection read while the first is writing", () =>
  inFolder(async (folder) => {
    const path = join(folder, "x.sqlite");
    using writer = await openDatabase(path);
    writer.exec("CREATE TABLE t (a)");
    using reader = await openDatabase(path, { readonly: true });
    const count = () => reader.prepare("SELECT count(*) AS n FROM t").get()!.n;
    writer.transaction(() => {
      writer.exec("INSERT INTO t VALUES (1)");
      assert.equal(count(), 0);
    });
    assert.equal(count(), 1);
    using other = await openDatabase(path, { busyTimeoutMs: 10 });
    writer.transaction(() => assert.throws(() => other.exec("INSERT INTO t VALUES (2)"), refuses(/locked/)));
    other.exec("INSERT INTO t VALUES (2)");
    assert.equal(count(), 2);
  }));

test("openDatabase says why a path cannot be opened", () =>
  inFolder(async (folder) => {
    const text = join(folder, "text.sqlite"), sub = join(folder, "sub");
    writeFileSync(text, "this is no database, but long enough to have a header of a hundred bytes. ".repeat(20));
    mkdirSync(sub);
    await assert.rejects(openDatabase(text), refuses(/not a SQLite database/));
    await assert.rejects(openDatabase(sub), refuses(/cannot be opened/));
    await assert.rejects(openDatabase(join(text, "x.sqlite")), refuses(/part of the path is a file/));
    await assert.rejects(openDatabase(join(folder, "none.sqlite"), { readonly: true }), refuses(/cannot be opened/));
    await assert.rejects(openDatabase(join(folder, "no", "x"), { readonly: true }), refuses(/cannot be opened/));
    assert.match(readFileSync(text, "utf8"), /^this is no database/);
  }));

test("openDatabase reports a damaged file", () =>
  inFolder(async (folder) => {
    const path = join(folder, "x.sqlite");
    {
      using db = await openDatabase(path);
      db.exec("CREATE TABLE t (a TEXT)");
      for (let i = 0; i < 500; i++) db.prepare("INSERT INTO t VALUES (?)").run("x".repeat(500));
    }
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, 20_000));
    const count = async () => {
      using db = await openDatabase(path);
      db.prepare("SELECT sum(length(a)) AS n FROM t").get();
    };
    await assert.rejects(count(), refuses(/damaged/));
    const garbled = Uint8Array.from(whole);
    garbled.fill(0xa5, 100, 30_000);
    writeFileSync(path, garbled);
    await assert.rejects(count(), refuses(/damaged/));
  }));

test("openDatabase changes nothing in a file that the check refuses", () =>
  inFolder(async (folder) => {
    const path = join(folder, "x.sqlite");
    {
      using db = await openDatabase(path);
      db.exec("PRAGMA journal_mode = DELETE; CREATE TABLE t (a)");
    }
    const before = readFileSync(path);
    const check = () => {
      throw new OverlayError({ code: "db_failed", path, reason: "no" });
    };
    await assert.rejects(openDatabase(path, { check }), refuses(/no$/));
    assert.deepEqual(readFileSync(path), before);
  }));
