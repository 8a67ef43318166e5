/**
 * Who is refused: node ids, forever or for a time, with a reason. A banned node is dropped at its HELLO, whoever dialed; the
 * owner decides about connections that stand. Source: stellar-core BanManagerImpl.cpp, which bans forever and without a reason;
 * peers.md section 9.
 */
import type { Clock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";
import { decodeNodeId } from "../crypto/strkey.ts";
import type { Database } from "./database.ts";

/** One ban. Instants are milliseconds since the Unix epoch. */
export interface Ban {
  /** `G...` */
  nodeId: string;
  /** When it ends; null is never. */
  untilAt: number | null;
  /** Why, in the words of whoever banned; may be empty. */
  reason: string;
  createdAt: number;
}

/** A {@link Ban} as files and the command line show it: instants as UTC ISO 8601. */
export interface BanJson {
  nodeId: string;
  until: string | null;
  reason: string;
  createdAt: string;
}

/**
 * The bans, over the table `ban`. Looking one up costs a map access; {@link refresh} brings in what another process changed
 * in the same file. Everything is committed when a call returns. Every method throws `db_failed`.
 */
export class BanManager {
  readonly #db: Database;
  readonly #clock: Clock;
  /** BOUNDED: by the table, and that by its writers: people, and programs that embed the engine. The engine itself never bans. */
  #bans = new Map<string, Ban>();
  #dataVersion: number;

  /** `db` has the newest schema; a read-only one serves everything that changes nothing. */
  constructor(db: Database, options: { clock: Clock }) {
    this.#db = db;
    this.#clock = options.clock;
    this.#dataVersion = this.#readDataVersion();
    this.#load();
  }

  /** The ban of a node (`G...`) that holds at `nowMs`, a wall time; now unless given. */
  banned(nodeId: string, nowMs: number = this.#clock.wallMs()): Ban | undefined {
    const ban = this.#bans.get(nodeId);
    return ban !== undefined && holds(ban, nowMs) ? ban : undefined;
  }

  /**
   * Bans a node until `untilAt`, forever when that is absent. A ban that already holds for as long or longer stays as it is, so
   * that a timed ban never shortens another; unban first to do so. Returns the ban that holds.
   * @throws OverlayError `invalid_argument` for a text that is no node id, or a time that is no number
   */
  ban(nodeId: string, options: { untilAt?: number | null; reason?: string } = {}): Ban {
    const now = this.#now();
    const untilAt = options.untilAt ?? null;
    this.#store([checkBan({ nodeId, untilAt, reason: options.reason ?? "", createdAt: now })]);
    return this.#bans.get(nodeId)!;
  }

  /** Ends the ban of a node. False when there was none that held. */
  unban(nodeId: string): boolean {
    const held = this.banned(nodeId) !== undefined;
    this.#db.prepare("DELETE FROM ban WHERE node_id = ?").run(nodeId);
    this.#bans.delete(nodeId);
    return held;
  }

  /** The bans that hold, oldest first, then by node id. */
  list(): Ban[] {
    const now = this.#clock.wallMs();
    return [...this.#bans.values()].filter((ban) => holds(ban, now))
      .sort((a, b) => a.createdAt - b.createdAt || (a.nodeId < b.nodeId ? -1 : 1));
  }

  /**
   * Looks whether another connection has committed to the file since the last look, and reads the bans again if so. Returns
   * whether the bans that hold may have changed. Costs microseconds when nothing happened: call it once a second. Source of
   * the method: SQLite, PRAGMA data_version.
   */
  refresh(): boolean {
    const version = this.#readDataVersion();
    if (version === this.#dataVersion) return false;
    this.#dataVersion = version;
    const before = this.#bans;
    this.#load();
    return before.size !== this.#bans.size ||
      [...this.#bans.values()].some((ban) => {
        const old = before.get(ban.nodeId);
        return old === undefined || old.untilAt !== ban.untilAt || old.reason !== ban.reason;
      });
  }

  /** Deletes bans that are over. Returns how many. */
  purgeExpired(): number {
    const now = this.#now();
    for (const ban of this.#bans.values()) if (!holds(ban, now)) this.#bans.delete(ban.nodeId);
    return this.#db.prepare("DELETE FROM ban WHERE until_at <= ?").run(now).changes;
  }

  /** The bans that hold as plain data, for a file. {@link importBans} reads it back. */
  exportBans(): BanJson[] {
    return this.list().map(({ nodeId, untilAt, reason, createdAt }) => ({
      nodeId,
      until: untilAt === null ? null : new Date(untilAt).toISOString(),
      reason,
      createdAt: new Date(createdAt).toISOString(),
    }));
  }

  /**
   * Adds bans from plain data: a list of {@link BanJson} or of node ids, or `{ "bans": list }` as stellar-core's `bans` command
   * answers. All or none are stored, by the rule of {@link ban}. Returns how many of them hold.
   * @throws OverlayError `invalid_argument` naming the entry that cannot be used
   */
  importBans(data: unknown): number {
    const now = this.#now();
    const bans = banListOf(data).map((entry, i) => toBan(entry, `ban ${i + 1}`, now));
    this.#store(bans);
    return new Set(bans.filter((ban) => this.banned(ban.nodeId)).map((ban) => ban.nodeId)).size;
  }

  #store(bans: readonly Ban[]): void {
    this.#db.transaction(() => {
      for (const { nodeId, untilAt, reason, createdAt } of bans) {
        // The row decides, not the map: another process may have banned for longer a moment ago.
        this.#db.prepare(
          `INSERT INTO ban (node_id, until_at, reason, created_at) VALUES (?, ?, ?, ?)
           ON CONFLICT (node_id) DO UPDATE SET until_at = excluded.until_at, reason = excluded.reason,
             created_at = excluded.created_at
           WHERE ban.until_at IS NOT NULL AND (excluded.until_at IS NULL OR excluded.until_at > ban.until_at)`,
        ).run(nodeId, untilAt, reason, createdAt);
      }
    });
    for (const { nodeId } of bans) {
      const row = this.#db.prepare("SELECT * FROM ban WHERE node_id = ?").get(nodeId);
      if (row !== undefined) this.#bans.set(nodeId, rowToBan(row));
    }
  }

  #load(): void {
    this.#bans = new Map(
      this.#db.prepare("SELECT * FROM ban").all().map((row) => [row.node_id as string, rowToBan(row)]),
    );
  }

  #readDataVersion(): number {
    return Number(this.#db.prepare("PRAGMA data_version").get()!.data_version);
  }

  #now(): number {
    return Math.floor(this.#clock.wallMs());
  }
}

function holds(ban: Ban, nowMs: number): boolean {
  return ban.untilAt === null || nowMs < ban.untilAt;
}

function rowToBan(row: Record<string, unknown>): Ban {
  return {
    nodeId: row.node_id as string,
    untilAt: row.until_at as number | null,
    reason: row.reason as string,
    createdAt: row.created_at as number,
  };
}

/** The ban as it can be stored; `where` names it in an error. Throws `invalid_argument`. */
function checkBan(ban: Ban, where = "node id"): Ban {
  decodeNodeId(ban.nodeId, where);
  const untilAt = ban.untilAt === null ? null : Math.ceil(ban.untilAt);
  for (const instant of [untilAt ?? 0, ban.createdAt]) {
    if (!Number.isSafeInteger(instant) || Math.abs(instant) > MAX_INSTANT) {
      throw unusable(where, "its time is no instant");
    }
  }
  // SQLite texts of one runtime end at NUL.
  return { ...ban, untilAt, reason: ban.reason.replaceAll("\0", "") };
}

/** The last instant that a Date can hold. */
const MAX_INSTANT = 8.64e15;

function unusable(argument: string, reason: string): OverlayError {
  return new OverlayError({ code: "invalid_argument", argument, reason });
}

function banListOf(data: unknown): unknown[] {
  if (Array.isArray(data)) return data;
  const list = typeof data === "object" && data !== null ? (data as { bans?: unknown }).bans : undefined;
  if (list === null) return [];
  if (Array.isArray(list)) return list;
  throw unusable("ban list", 'it must be a list, or an object with a list "bans"');
}

function toBan(entry: unknown, where: string, now: number): Ban {
  if (typeof entry === "string") return checkBan({ nodeId: entry, untilAt: null, reason: "", createdAt: now }, where);
  if (typeof entry !== "object" || entry === null) throw unusable(where, "it is neither a node id nor an object");
  const { nodeId, until, reason, createdAt } = entry as Record<string, unknown>;
  if (typeof nodeId !== "string") throw unusable(where, "it has no nodeId");
  if (reason !== undefined && typeof reason !== "string") throw unusable(where, "its reason is not a text");
  const instant = (value: unknown) => typeof value === "string" ? Date.parse(value) : NaN;
  return checkBan({
    nodeId,
    untilAt: until === undefined || until === null ? null : instant(until),
    reason: reason ?? "",
    createdAt: createdAt === undefined ? now : instant(createdAt),
  }, where);
}
