/** What watches measured, in the network's database: one row per watch, its peers' lags, its slots. */
import type { Database } from "../../overlay/db/database.ts";
import { VERSION } from "../../overlay/base/version.ts";
import type { WatchModel } from "./model.ts";
import { ITEM_KINDS } from "./records.ts";

/** Watches kept; the oldest go when one begins. */
export const KEEP_WATCHES = 50;

/** How a watch begins. */
export interface NewWatch {
  /** Wall time, ms. */
  startedAt: number;
  /** What it was asked for; JSON. */
  options: Record<string, unknown>;
}

/** Writes one watch. Every method throws OverlayError `db_failed`. */
export class WatchStore {
  readonly id: number;
  readonly #db: Database;

  /** Begins a watch, and forgets the oldest. */
  constructor(db: Database, watch: NewWatch) {
    this.#db = db;
    const startedAt = Math.round(watch.startedAt);
    this.id = db.transaction(() => {
      db.prepare(
        "DELETE FROM watch WHERE id NOT IN (SELECT id FROM watch ORDER BY id DESC LIMIT ?)",
      ).run(KEEP_WATCHES - 1);
      return db.prepare(
        "INSERT INTO watch (started_at, updated_at, tool_version, options) VALUES (?, ?, ?, ?)",
      ).run(startedAt, startedAt, VERSION, JSON.stringify(watch.options)).lastInsertRowid;
    });
  }

  /** Stores the picture as it stands; what was stored before is brought up to date. */
  save(model: WatchModel): void {
    const propagation = model.propagationReport();
    const updatedAfterMs = Math.round(model.nowMs - model.startedMs);
    this.#db.transaction(() => {
      const { all } = model.traffic();
      this.#db.prepare(
        "UPDATE watch SET updated_at = started_at + ?, messages = ?, bytes = ?, ledger = ? WHERE id = ?",
      ).run(updatedAfterMs, all.messages, all.bytes, model.ledger ?? null, this.id);
      for (const kind of ITEM_KINDS) {
        const { distinct, complete, spreadMedianMs, spreadP95Ms, spreadMaxMs } = propagation.kinds[kind];
        if (distinct === 0) continue;
        this.#db.prepare(
          `INSERT OR REPLACE INTO watch_spread (watch_id, kind, items, complete, median_ms, p95_ms, max_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ).run(this.id, kind, distinct, complete, spreadMedianMs, spreadP95Ms, spreadMaxMs);
        for (const row of propagation.peerLags[kind]) {
          this.#db.prepare(
            `INSERT OR REPLACE INTO watch_lag (watch_id, kind, node_id, copies, repeated, first, median_ms, p95_ms, max_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          ).run(
            this.id,
            kind,
            row.peer,
            row.copies,
            row.repeated,
            row.first,
            row.medianMs,
            row.p95Ms,
            row.maxMs,
          );
        }
      }
      for (const slot of model.slots()) {
        if (!slot.decided || slot.replayed) continue;
        this.#db.prepare(
          `INSERT OR REPLACE INTO watch_slot (watch_id, slot, first_at, externalized, first_externalize_ms, missing, peer_lags)
           VALUES (?, ?, ?, ?, ?, ?, ?)`,
        ).run(
          this.id,
          String(slot.slot),
          Math.round(slot.firstWallMs),
          slot.reached.externalize,
          slot.firstMs.externalize ?? null,
          JSON.stringify(slot.missing),
          JSON.stringify(slot.peerLagMs),
        );
      }
    });
  }
}
