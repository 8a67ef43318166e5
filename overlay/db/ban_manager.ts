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
  /** Who banned, a person or a program; may be empty. */
  by: string;
}

/** A {@link Ban} as files and the command line show it: instants as UTC ISO 8601. */
export interface BanJson {
  nodeId: string;
  until: string | null;
  reason: string;
  createdAt: string;
  by: string;
}

/**
 * What became of a ban that was asked for: `added`; `changed`, it holds longer than the one that held before; `kept`, one that
 * holds as long or longer was there; `over`, its time had passed, so nothing was done.
 */
export interface BanChange {
  change: "added" | "changed" | "kept" | "over";
  /** The ban that holds; of `over` the one asked for. */
  ban: Ban;
  /** The ban that held before. */
  before: Ban | undefined;
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
  ban(nodeId: string, options: { untilAt?: number | null; reason?: string; by?: string } = {}): Ban {
    const { untilAt = null, reason = "", by = "" } = options;
    return this.#merge([checkBan({ nodeId, untilAt, reason, createdAt: this.#now(), by })], true)[0].ban;
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
    return this.list().map(banJson);
  }

  /**
   * Adds bans from plain data: a list of {@link BanJson} or of node ids, or `{ "bans": list }` as stellar-core's `bans` command
   * answers. All or none are stored, by the rule of {@link ban}; of several bans of one node the longest counts. Returns what
   * became of each node, in the order of the data. Entries that say nothing of it are banned `by` whoever is given. With
   * `dryRun` nothing is stored, and the answer is what would become of them.
   * @throws OverlayError `invalid_argument` naming the entry that cannot be used
   */
  importBans(data: unknown, options: { by?: string; dryRun?: boolean } = {}): BanChange[] {
    const now = this.#now();
    const longest = new Map<string, Ban>();
    for (const [i, entry] of banListOf(data).entries()) {
      const ban = toBan(entry, `ban ${i + 1}`, { now, by: options.by ?? "" });
      const other = longest.get(ban.nodeId);
      if (other === undefined || isLonger(ban, other)) longest.set(ban.nodeId, ban);
    }
    return this.#merge([...longest.values()], options.dryRun !== true);
  }

  /** The rule of {@link ban}, for bans of distinct nodes. */
  #merge(bans: readonly Ban[], store: boolean): BanChange[] {
    const now = this.#now();
    const merge = () =>
      bans.map((ban): BanChange => {
        // The row decides, not the map: another process may have banned for longer a moment ago.
        const row = this.#db.prepare("SELECT * FROM ban WHERE node_id = ?").get(ban.nodeId);
        const stored = row === undefined ? undefined : rowToBan(row);
        const before = stored !== undefined && holds(stored, now) ? stored : undefined;
        if (before !== undefined && !isLonger(ban, before)) return { change: "kept", ban: before, before };
        if (!holds(ban, now)) return { change: "over", ban, before };
        if (store) {
          this.#db.prepare(
            "INSERT OR REPLACE INTO ban (node_id, until_at, reason, created_at, made_by) VALUES (?, ?, ?, ?, ?)",
          ).run(ban.nodeId, ban.untilAt, ban.reason, ban.createdAt, ban.by);
        }
        return { change: before === undefined ? "added" : "changed", ban, before };
      });
    if (!store) return merge();
    const changes = this.#db.transaction(merge);
    for (const { change, ban } of changes) if (change !== "over") this.#bans.set(ban.nodeId, ban);
    return changes;
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
    by: row.made_by as string,
  };
}

/** Whether a ban ends later than another. */
function isLonger(ban: Ban, other: Ban): boolean {
  return other.untilAt !== null && (ban.untilAt === null || ban.untilAt > other.untilAt);
}

/** A ban as plain data. */
export function banJson({ nodeId, untilAt, reason, createdAt, by }: Ban): BanJson {
  return {
    nodeId,
    until: untilAt === null ? null : new Date(untilAt).toISOString(),
    reason,
    createdAt: new Date(createdAt).toISOString(),
    by,
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
  return { ...ban, untilAt, reason: ban.reason.replaceAll("\0", ""), by: ban.by.replaceAll("\0", "") };
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

function toBan(entry: unknown, where: string, defaults: { now: number; by: string }): Ban {
  const { now, by: defaultBy } = defaults;
  if (typeof entry === "string") {
    return checkBan({ nodeId: entry, untilAt: null, reason: "", createdAt: now, by: defaultBy }, where);
  }
  if (typeof entry !== "object" || entry === null) throw unusable(where, "it is neither a node id nor an object");
  const { nodeId, until, reason, createdAt, by } = entry as Record<string, unknown>;
  if (typeof nodeId !== "string") throw unusable(where, "it has no nodeId");
  if (reason !== undefined && typeof reason !== "string") throw unusable(where, "its reason is not a text");
  if (by !== undefined && typeof by !== "string") throw unusable(where, "who made it is not a text");
  const instant = (value: unknown) => typeof value === "string" ? Date.parse(value) : NaN;
  return checkBan({
    nodeId,
    untilAt: until === undefined || until === null ? null : instant(until),
    reason: reason ?? "",
    createdAt: createdAt === undefined || createdAt === null ? now : instant(createdAt),
    by: by ?? defaultBy,
  }, where);
}
