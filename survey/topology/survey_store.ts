/**
 * Surveys in the database of a network: what was begun, how far it is, and every answer. What a method stored is committed when
 * it returns, and survives the end of the process by any signal. No secret is stored: requests of a new process are sealed to a
 * new key. Every method throws `db_failed`.
 */
import { type Clock, systemClock } from "../../overlay/base/clock.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { OWNER_TIMEOUT_MS } from "../../overlay/db/crawl_store.ts";
import type { Database, SqlRow, SqlValue } from "../../overlay/db/database.ts";
import { claimNetwork, openNodeDatabase } from "../../overlay/db/schema.ts";
import type { NodeOrigin, PlannedNode } from "./planner.ts";
import { type AskState, PEER_COUNTERS, type PeerData, type SurveyedNode } from "./types.ts";

/** Surveys that stay when a new one is begun; older ones are deleted with their answers. */
export const KEEP_SURVEYS = 100;

/**
 * How far a survey is. `starting`: START was not sent as far as known. `collecting`: until STOP. `asking`: STOP was sent, pages
 * are asked for. `done`: everybody was asked; can be asked again while the reporting phase lasts. `ignored`: START was not passed
 * on. `failed`: it could not be begun.
 */
export type SurveyRunState = "starting" | "collecting" | "asking" | "done" | "ignored" | "failed";

/** What a survey was begun with, and is gone on with. */
export interface SurveyRunOptions {
  /** Targets as given; empty with `via`. */
  targets: string[];
  /** URL of the stellar-core that is driven. */
  via?: string;
  /** Length of collecting, ms. */
  collectMs: number;
  /** Node ids to ask beside those that are found. */
  nodes: string[];
  /** Connections of our own. */
  connections?: number;
}

/** A survey as stored. Instants are ms since the Unix epoch. */
export interface StoredSurvey {
  readonly id: number;
  readonly nonce: number;
  /** `G...` */
  readonly surveyor: string;
  /** Version string of the surveyor's node, when known: remote text with `via`. */
  readonly version: string | undefined;
  readonly state: SurveyRunState;
  readonly owner: string | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly stoppedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  /** Somebody passed our START on. */
  readonly passedOn: boolean;
  readonly toolVersion: string;
  readonly options: SurveyRunOptions;
  readonly own: SurveyedNode | undefined;
}

/** Fields of a survey that change. */
export type SurveyChange = Partial<
  Pick<
    StoredSurvey,
    "state" | "startedAtMs" | "stoppedAtMs" | "endedAtMs" | "passedOn" | "own" | "surveyor" | "version"
  >
>;

/** A node as stored: what the planner goes on from, and whether it seems to have joined late. */
export interface StoredNode extends PlannedNode {
  readonly late: boolean;
}

/** See the head of this file. */
export class SurveyStore {
  readonly networkPassphrase: string;
  readonly #db: Database;
  readonly #clock: Clock;

  private constructor(db: Database, clock: Clock, networkPassphrase: string) {
    this.#db = db;
    this.#clock = clock;
    this.networkPassphrase = networkPassphrase;
  }

  /** Opens the network's database at `path`; as `CrawlStore.open`. */
  static async open(
    path: string,
    options: { networkPassphrase?: string; clock?: Clock; readonly?: boolean } = {},
  ): Promise<SurveyStore> {
    const { networkPassphrase, clock = systemClock, readonly = false } = options;
    const db = await openNodeDatabase(path, { readonly, networkPassphrase });
    return new SurveyStore(db, clock, claimNetwork(db, networkPassphrase));
  }

  /** Stores a survey that is to begin, or that was begun elsewhere, and gives its id. Bounds the file by {@link KEEP_SURVEYS}. */
  create(survey: {
    nonce: number;
    surveyor: string;
    toolVersion: string;
    options: SurveyRunOptions;
    owner?: string;
    state?: SurveyRunState;
    startedAtMs?: number;
    stoppedAtMs?: number;
  }): number {
    const now = this.#now();
    return this.#db.transaction(() => {
      this.#run(
        "DELETE FROM survey WHERE id NOT IN (SELECT id FROM survey ORDER BY id DESC LIMIT ?)",
        KEEP_SURVEYS - 1,
      );
      return this.#run(
        `INSERT INTO survey (nonce, surveyor, state, owner, created_at, updated_at, started_at, stopped_at, tool_version, options)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        survey.nonce,
        survey.surveyor,
        survey.state ?? "starting",
        survey.owner ?? null,
        now,
        now,
        rounded(survey.startedAtMs),
        rounded(survey.stoppedAtMs),
        survey.toolVersion,
        JSON.stringify(survey.options),
      ).lastInsertRowid;
    });
  }

  /** Changes what is stored of a survey. */
  change(id: number, change: SurveyChange): void {
    this.#db.transaction(() => {
      const now = this.get(id);
      if (now === undefined) throw new OverlayError({ code: "survey_unknown", which: String(id) });
      const next = { ...now, ...change };
      this.#run(
        `UPDATE survey SET surveyor = ?, version = ?, state = ?, started_at = ?, stopped_at = ?, ended_at = ?, passed_on = ?,
           own = ?, updated_at = ? WHERE id = ?`,
        next.surveyor,
        next.version === undefined ? null : JSON.stringify(next.version),
        next.state,
        rounded(next.startedAtMs),
        rounded(next.stoppedAtMs),
        rounded(next.endedAtMs),
        next.passedOn ? 1 : 0,
        next.own === undefined ? null : nodeText(next.own),
        this.#now(),
        id,
      );
    });
  }

  /** Adds node ids to those that are asked beside the found ones. */
  addNodes(id: number, nodeIds: readonly string[]): void {
    this.#db.transaction(() => {
      const options = this.get(id)?.options;
      if (options === undefined) throw new OverlayError({ code: "survey_unknown", which: String(id) });
      const nodes = [...new Set([...options.nodes, ...nodeIds])];
      this.#run("UPDATE survey SET options = ? WHERE id = ?", JSON.stringify({ ...options, nodes }), id);
    });
  }

  /** Stores what is known of nodes now; those not seen before go to the end. */
  putNodes(id: number, nodes: readonly (PlannedNode & { late?: boolean })[]): void {
    if (nodes.length === 0) return;
    this.#db.transaction(() => {
      for (const { nodeId, origin, state, late, requests, answeredPages, badReason, node } of nodes) {
        this.#run(
          `INSERT INTO survey_node (survey_id, seq, node_id, origin, state, late, requests, pages, bad_reason, answer)
           VALUES (?1, (SELECT count(*) FROM survey_node WHERE survey_id = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
           ON CONFLICT (survey_id, node_id) DO UPDATE SET origin = excluded.origin, state = excluded.state,
             late = excluded.late, requests = excluded.requests, pages = excluded.pages, bad_reason = excluded.bad_reason,
             answer = excluded.answer`,
          id,
          nodeId,
          origin,
          state,
          late ? 1 : 0,
          requests,
          JSON.stringify(answeredPages),
          badReason ?? null,
          node === undefined ? null : nodeText(node),
        );
      }
      this.#run("UPDATE survey SET updated_at = ? WHERE id = ?", this.#now(), id);
    });
  }

  /** The nodes of a survey, in the order they became known. */
  nodes(id: number): StoredNode[] {
    return this.#all("SELECT * FROM survey_node WHERE survey_id = ? ORDER BY seq", id).map((row) => ({
      nodeId: row.node_id as string,
      origin: row.origin as NodeOrigin,
      state: row.state as AskState,
      late: row.late === 1,
      requests: row.requests as number,
      answeredPages: JSON.parse(row.pages as string),
      badReason: (row.bad_reason as string | null) ?? undefined,
      node: row.answer === null ? undefined : nodeOfText(row.answer as string),
    }));
  }

  /** A survey by id. */
  get(id: number): StoredSurvey | undefined {
    return this.#all("SELECT * FROM survey WHERE id = ?", id).map(toSurvey)[0];
  }

  /** The newest survey that was under way, or the newest with this nonce, whatever became of it. */
  find(nonce?: number): StoredSurvey | undefined {
    return this.#all(
      `SELECT * FROM survey WHERE CASE WHEN ?1 IS NULL THEN state NOT IN ('ignored', 'failed') ELSE nonce = ?1 END
       ORDER BY id DESC LIMIT 1`,
      nonce ?? null,
    ).map(toSurvey)[0];
  }

  /** Forgets a survey: nothing of it was ever sent. */
  remove(id: number): void {
    this.#run("DELETE FROM survey WHERE id = ?", id);
  }

  /** Surveys, newest first. */
  list(limit = -1): StoredSurvey[] {
    return this.#all("SELECT * FROM survey ORDER BY id DESC LIMIT ?", limit).map(toSurvey);
  }

  /**
   * Makes a survey belong to `owner`. Of several processes that try at once one succeeds. `isGone`: the process it belongs to
   * is known to be dead. Throws `survey_in_progress` while that process lives, which is when it stored something or called
   * {@link touch} in the last {@link OWNER_TIMEOUT_MS}.
   */
  claim(id: number, owner: string, isGone = false): void {
    this.#db.transaction(() => {
      const survey = this.get(id);
      if (survey === undefined) throw new OverlayError({ code: "survey_unknown", which: String(id) });
      const sinceMs = this.#now() - survey.updatedAtMs;
      const isTaken = survey.owner !== undefined && survey.owner !== owner && !isGone;
      // A heartbeat from the future comes from a clock that was set back.
      if (isTaken && Math.abs(sinceMs) <= OWNER_TIMEOUT_MS) {
        throw new OverlayError({ code: "survey_in_progress", nonce: survey.nonce, sinceMs: Math.max(0, sinceMs) });
      }
      this.#run("UPDATE survey SET owner = ?, updated_at = ? WHERE id = ?", owner, this.#now(), id);
    });
  }

  /** Says that the process that drives it lives. False: it belongs to another by now. */
  touch(id: number, owner: string): boolean {
    return this.#run("UPDATE survey SET updated_at = ? WHERE id = ? AND owner = ?", this.#now(), id, owner).changes > 0;
  }

  /** The process that drove it is done with it. */
  release(id: number, owner: string): void {
    this.#run("UPDATE survey SET owner = NULL WHERE id = ? AND owner = ?", id, owner);
  }

  /** Closes the file. Again does nothing. */
  close(): void {
    this.#db.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #now(): number {
    return Math.round(this.#clock.wallMs());
  }

  #run(sql: string, ...params: SqlValue[]): { changes: number; lastInsertRowid: number } {
    return this.#db.prepare(sql).run(...params);
  }

  #all(sql: string, ...params: SqlValue[]): SqlRow[] {
    return this.#db.prepare(sql).all(...params);
  }
}

function rounded(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms);
}

/** A node as JSON; the 64-bit counters are decimal strings. */
function nodeText(node: SurveyedNode): string {
  return JSON.stringify(node, (_key, value) => typeof value === "bigint" ? String(value) : value);
}

function nodeOfText(text: string): SurveyedNode {
  const node = JSON.parse(text) as SurveyedNode;
  for (const peer of [...node.inboundPeers, ...node.outboundPeers]) {
    for (const name of PEER_COUNTERS) (peer as Record<typeof name, PeerData[typeof name]>)[name] = BigInt(peer[name]);
  }
  return node;
}

function toSurvey(row: SqlRow): StoredSurvey {
  const maybe = <T>(value: SqlValue) => (value === null ? undefined : value) as T | undefined;
  return {
    id: row.id as number,
    nonce: row.nonce as number,
    surveyor: row.surveyor as string,
    version: row.version === null ? undefined : JSON.parse(row.version as string),
    state: row.state as SurveyRunState,
    owner: maybe<string>(row.owner),
    createdAtMs: row.created_at as number,
    updatedAtMs: row.updated_at as number,
    startedAtMs: maybe<number>(row.started_at),
    stoppedAtMs: maybe<number>(row.stopped_at),
    endedAtMs: maybe<number>(row.ended_at),
    passedOn: row.passed_on === 1,
    toolVersion: row.tool_version as string,
    options: JSON.parse(row.options as string),
    own: row.own === null ? undefined : nodeOfText(row.own as string),
  };
}
