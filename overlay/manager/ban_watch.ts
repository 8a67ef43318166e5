/**
 * Brings bans that change under a running node into force: those that another process writes into the same file, and those
 * that end. Upstream's bans change only by its own commands, and a ban there ends no connection by itself. Source of the
 * method: SQLite, PRAGMA data_version.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { Ban, BanManager } from "../db/ban_manager.ts";

/** Time between two looks at the file, ms: a ban of another process holds within a second. */
export const BAN_CHECK_MS = 500;
/** A timer holds 2^31 - 1 ms, 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What the watch needs. */
export interface BanWatchOptions {
  clock: Clock;
  banManager: BanManager;
  /** Whether another process can reach the database: false for one in memory. */
  shared: boolean;
  /** A ban holds that did not before, or until another time. */
  onBanned(ban: Ban): void;
  /** A ban holds no longer; `expired` when its time was over. */
  onUnbanned(nodeId: string, expired: boolean): void;
  /** The database answered with a failure; the bans known before still hold. */
  onError(error: unknown): void;
}

/** See the head of this file. */
export class BanWatch {
  readonly #options: BanWatchOptions;
  /** The bans as last told, by node id. BOUNDED: by the table. */
  #known: Map<string, Ban>;
  #running = false;
  #poll: Timer | undefined;
  #end: Timer | undefined;

  constructor(options: BanWatchOptions) {
    this.#options = options;
    this.#known = this.#holding();
  }

  /** Looks every {@link BAN_CHECK_MS}, and when the next timed ban ends. */
  start(): void {
    this.close();
    this.#running = true;
    if (this.#options.shared) this.#armPoll();
    this.#armEnd();
  }

  /** Looks at the file now. Returns whether a ban began, changed or ended. */
  check(): boolean {
    try {
      const { banManager } = this.#options;
      const changed = banManager.refresh();
      return this.changed() || changed;
    } catch (error) {
      this.#options.onError(error);
      return false;
    }
  }

  /** Tells what is different from the last time. Call it after this process changed a ban. */
  changed(): boolean {
    const { clock, onBanned, onUnbanned } = this.#options;
    const before = this.#known, now = this.#known = this.#holding();
    let different = false;
    for (const ban of now.values()) {
      const old = before.get(ban.nodeId);
      if (old !== undefined && old.untilAt === ban.untilAt && old.reason === ban.reason) continue;
      different = true;
      onBanned(ban);
    }
    for (const old of before.values()) {
      if (now.has(old.nodeId)) continue;
      different = true;
      onUnbanned(old.nodeId, old.untilAt !== null && old.untilAt <= clock.wallMs());
    }
    if (different && this.#running) this.#armEnd();
    return different;
  }

  /** Looks no more. */
  close(): void {
    this.#running = false;
    this.#poll?.cancel();
    this.#end?.cancel();
  }

  #holding(): Map<string, Ban> {
    return new Map(this.#options.banManager.list().map((ban) => [ban.nodeId, ban]));
  }

  #armPoll(): void {
    this.#poll = this.#options.clock.setTimer(BAN_CHECK_MS, () => {
      this.#armPoll();
      this.check();
    });
  }

  #armEnd(): void {
    this.#end?.cancel();
    const { clock, banManager, onError } = this.#options;
    let nextAt = Infinity;
    for (const { untilAt } of this.#known.values()) if (untilAt !== null) nextAt = Math.min(nextAt, untilAt);
    if (nextAt === Infinity) return;
    // The wall clock may be set: a timer that fires early finds nothing and is set again.
    const delayMs = Math.min(LONGEST_TIMER_MS, Math.max(1, nextAt - clock.wallMs()));
    this.#end = clock.setTimer(delayMs, () => {
      try {
        banManager.purgeExpired();
        this.changed();
      } catch (error) {
        onError(error);
      }
      if (this.#running) this.#armEnd();
    });
  }
}
