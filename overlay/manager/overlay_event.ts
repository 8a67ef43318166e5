/** What a node tells its log, as data: one object per event, so that a program can print, count or ignore it. */
import type { Role } from "../auth/session_keys.ts";
import type { Failure } from "../base/errors.ts";
import type { Drop } from "../peer/peer.ts";
import type { SurveyEvent } from "../survey/survey_event.ts";
import type { LedgerLimits } from "./ledger_limits.ts";

/**
 * Something worth a line in a log. Addresses are `ip:port`, node ids `G...`, instants ms since the Unix epoch. `reason` and
 * `failure` of a drop and `versionStr` may hold text of a remote: escape them for output (`escapeRemoteText`).
 */
export type OverlayEvent =
  /** The door is open. */
  | { event: "listening"; address: string }
  /** A dial begins; `reason` is a sentence. */
  | { event: "dialing"; address: string; reason: string }
  /** A dial ended without a connection. */
  | { event: "dialFailed"; address: string; failure: Failure }
  /** A peer was admitted. */
  | { event: "authenticated"; address: string; nodeId: string; role: Role; versionStr: string }
  /** A connection ended, authenticated or not; `nodeId` is undefined before HELLO. */
  | { event: "dropped"; address: string; nodeId: string | undefined; by: Drop["by"]; reason: string; failure: Failure }
  /** A connection that arrived was closed without a byte. */
  | { event: "refused"; address: string; reason: string }
  /** A configured name has no address now. */
  | { event: "resolveFailed"; address: string; failure: Failure }
  /** A node is refused from now on; by this process or another. `untilAt` null is forever. */
  | { event: "banned"; nodeId: string; untilAt: number | null; reason: string }
  /** A ban was lifted or is over. */
  | { event: "unbanned"; nodeId: string; expired: boolean }
  /** No new ledger for `silentMs`. `ledgerSeq` is the last one known; undefined: none was ever heard of. */
  | { event: "syncLost"; ledgerSeq: number | undefined; silentMs: number }
  /** The network's ledger is known, for the first time (`outOfSyncMs` 0 if the node was not lost yet) or again. */
  | { event: "syncGained"; ledgerSeq: number; outOfSyncMs: number }
  /** The ledger's limits changed by `setLedger`. */
  | { event: "ledgerLimits"; limits: LedgerLimits }
  /** Address book or bans could not be read or written; the node goes on without. At most once a minute. */
  | { event: "databaseFailed"; failure: Failure }
  /** A survey: begun, stopped, ended, answered, or a message of one ignored. */
  | SurveyEvent
  /** The node began to stop. */
  | { event: "stopping" };
