/** The one door to SQLite: `bun:sqlite` under Bun, `node:sqlite` elsewhere. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { sleep, systemClock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";

/**
 * What a column holds. Integers come back as numbers: store those above 2^53 as text. Text must be free of NUL, at which
 * Deno ends it; JSON text is, as it escapes NUL.
 */
export type SqlValue = null | number | bigint | string | Uint8Array;

/** One row: values by column name. */
export type SqlRow = Record<string, SqlValue>;

/** A prepared statement; parameters are `?` in order. Every method throws `db_failed`. */
export interface Statement {
  /** Runs to the end. `changes` counts the rows changed. */
  run(...params: SqlValue[]): { changes: number; lastInsertRowid: number };
  /** The first row, if any. */
  get(...params: SqlValue[]): SqlRow | undefined;
  all(...params: SqlValue[]): SqlRow[];
  /** One row at a time. Do not use the same statement again before the end. */
  iterate(...params: SqlValue[]): IterableIterator<SqlRow>;
}

/** An open database. Every method throws `db_failed`. */
export interface Database {
  /** As given to {@link openDatabase}. */
  readonly path: string;
  readonly readonly: boolean;
  /** Runs statements without parameters. */
  exec(sql: string): void;
  /** The statement of this text, made once. BOUNDED: by the number of texts in the source, so build no text from data. */
  prepare(sql: string): Statement;
  /**
   * Runs `fn` and commits, or rolls back what it did when it throws. The write lock is taken first, so `fn` cannot fail
   * halfway because another process writes. Inside another transaction it joins that one. `fn` is synchronous.
   */
  transaction<T>(fn: () => T): T;
  /** Closes the file. Again does nothing. */
  close(): void;
  [Symbol.dispose](): void;
}

/** How to open a database. */
export interface OpenOptions {
  /** Opens an existing file and never writes. */
  readonly?: boolean;
  /** Looks at the file, as it is at one instant, and throws, before anything in it is changed. */
  check?: (db: Database) => void;
  /** How long a statement waits for another process's lock. 5,000 unless given. */
  busyTimeoutMs?: number;
}

/**
 * Opens the file at `path`, or a database in memory for ":memory:". Unless read-only, a missing file and its folders are
 * made. Throws `db_failed`.
 *
 * The journal is a WAL: other processes read while one writes. With `synchronous = NORMAL` a commit has reached the operating
 * system when it returns, so it survives the end of this process by any signal. A crash of the machine may take the last
 * commits, and leaves the file whole.
 */
export async function openDatabase(path: string, options: OpenOptions = {}): Promise<Database> {
  const { readonly = false, busyTimeoutMs = 5000 } = options;
  const driver = await loadDriver(path);
  let database: SqliteDatabase | undefined;
  try {
    if (!readonly && path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
    database = new SqliteDatabase(path, readonly, driver(path, readonly));
    database.exec(`PRAGMA busy_timeout = ${Math.round(busyTimeoutMs)}`);
    // The first read finds out whether this is a database at all.
    database.prepare("PRAGMA schema_version").get();
    if (options.check) {
      database.exec("BEGIN");
      options.check(database);
      database.exec("COMMIT");
    }
    if (!readonly) {
      await useWal(database, busyTimeoutMs);
      database.exec("PRAGMA synchronous = NORMAL");
    }
    database.exec("PRAGMA foreign_keys = ON");
    return database;
  } catch (error) {
    database?.close();
    throw failed(path, error);
  }
}

/** Turns the WAL on. SQLite does not wait for locks in this one statement, so we do. */
async function useWal(database: Database, busyTimeoutMs: number): Promise<void> {
  const untilMs = systemClock.nowMs() + busyTimeoutMs;
  while (true) {
    try {
      database.prepare("PRAGMA journal_mode = WAL").get();
      return;
    } catch (error) {
      const cause = (error as Error).cause;
      if (!(cause instanceof Error) || !LOCKED.test(cause.message) || systemClock.nowMs() >= untilMs) throw error;
      await sleep(systemClock, 10);
    }
  }
}

/** What both drivers have in common. */
interface DriverStatement {
  run(...params: SqlValue[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  get(...params: SqlValue[]): SqlRow | null | undefined;
  all(...params: SqlValue[]): SqlRow[];
  iterate(...params: SqlValue[]): IterableIterator<SqlRow>;
  finalize?(): void;
}
interface DriverDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): DriverStatement;
  close(): void;
}
type Driver = (path: string, readonly: boolean) => DriverDatabase;

async function loadDriver(path: string): Promise<Driver> {
  // Names in variables: a type checker or bundler of one runtime does not know the module of the other.
  const bun = "bun:sqlite", node = "node:sqlite";
  if (process.versions.bun !== undefined) {
    const { Database } = await import(bun);
    return (path, readonly) => new Database(path, readonly ? { readonly } : { readwrite: true, create: true });
  }
  try {
    const { DatabaseSync } = await import(node);
    return (path, readonly) => new DatabaseSync(path, { readOnly: readonly });
  } catch (error) {
    const reason = "this runtime has no SQLite; use Bun, Deno 2.2 or Node 22.13";
    throw new OverlayError({ code: "db_failed", path, reason }, { cause: error });
  }
}

const LOCKED = /database (table |schema )?is locked/i;

function failed(path: string, error: unknown): OverlayError {
  if (error instanceof OverlayError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const known: [RegExp, string][] = [
    [/not a database/i, "it is not a SQLite database"],
    [/malformed/i, "the file is damaged"],
    [
      /unable to open|EACCES|EPERM|EROFS/i,
      "it cannot be opened: the folder or the file is missing, or not ours to use",
    ],
    [/ENOTDIR|EEXIST/i, "it cannot be opened: a part of the path is a file"],
    [/readonly|read-only/i, "it cannot be written"],
    [LOCKED, "another process keeps it locked"],
    [/disk is full|ENOSPC/i, "the disk is full"],
  ];
  const reason = known.find(([pattern]) => pattern.test(message))?.[1] ?? message;
  return new OverlayError({ code: "db_failed", path, reason }, { cause: error });
}

class SqliteDatabase implements Database {
  readonly path: string;
  readonly readonly: boolean;
  readonly #driver: DriverDatabase;
  /** Statements by text. BOUNDED: see {@link Database.prepare}. */
  readonly #statements = new Map<string, SqliteStatement>();
  #inTransaction = false;
  #closed = false;

  constructor(path: string, readonly: boolean, driver: DriverDatabase) {
    this.path = path;
    this.readonly = readonly;
    this.#driver = driver;
  }

  exec(sql: string): void {
    try {
      this.#driver.exec(sql);
    } catch (error) {
      throw failed(this.path, error);
    }
  }

  prepare(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      try {
        statement = new SqliteStatement(this.path, this.#driver.prepare(sql));
      } catch (error) {
        throw failed(this.path, error);
      }
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  transaction<T>(fn: () => T): T {
    if (this.#inTransaction) return fn();
    this.exec("BEGIN IMMEDIATE");
    this.#inTransaction = true;
    try {
      const result = fn();
      this.exec("COMMIT");
      return result;
    } catch (error) {
      try {
        this.#driver.exec("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full; the first error says why.
      }
      throw error;
    } finally {
      this.#inTransaction = false;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      // Bun keeps the file open while a statement lives; the last one to close folds the WAL into the file.
      for (const statement of this.#statements.values()) statement.finalize();
      this.#driver.close();
    } catch (error) {
      throw failed(this.path, error);
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

class SqliteStatement implements Statement {
  readonly #path: string;
  readonly #driver: DriverStatement;

  constructor(path: string, driver: DriverStatement) {
    this.#path = path;
    this.#driver = driver;
  }

  run(...params: SqlValue[]): { changes: number; lastInsertRowid: number } {
    try {
      const { changes, lastInsertRowid } = this.#driver.run(...params);
      return { changes: Number(changes), lastInsertRowid: Number(lastInsertRowid) };
    } catch (error) {
      throw failed(this.#path, error);
    }
  }

  get(...params: SqlValue[]): SqlRow | undefined {
    try {
      return this.#driver.get(...params) ?? undefined;
    } catch (error) {
      throw failed(this.#path, error);
    }
  }

  all(...params: SqlValue[]): SqlRow[] {
    try {
      return this.#driver.all(...params);
    } catch (error) {
      throw failed(this.#path, error);
    }
  }

  *iterate(...params: SqlValue[]): IterableIterator<SqlRow> {
    let rows: IterableIterator<SqlRow>;
    try {
      rows = this.#driver.iterate(...params);
    } catch (error) {
      throw failed(this.#path, error);
    }
    try {
      while (true) {
        let step: IteratorResult<SqlRow>;
        try {
          step = rows.next();
        } catch (error) {
          throw failed(this.#path, error);
        }
        if (step.done) return;
        yield step.value;
      }
    } finally {
      rows.return?.();
    }
  }

  finalize(): void {
    this.#driver.finalize?.();
  }
}
