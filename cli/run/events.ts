/** Everything that `run` logs: what the engine says, and what the command itself does. */
import type { OverlayEvent } from "../../overlay/manager/overlay_manager.ts";

/** How much an event matters, most first. */
export const LEVELS = ["error", "warn", "info", "debug"] as const;
/** One of {@link LEVELS}. */
export type Level = (typeof LEVELS)[number];

/** How the node stands. Counts are since the start. */
export interface NodeStatus {
  outbound: number;
  inbound: number;
  pending: number;
  /** Last ledger that the network is known to have closed. */
  ledger: number | null;
  /** False when the node, though it has or had peers, heard of no new ledger for a while. */
  inSync: boolean;
  /** Received per second since the status before. */
  messagesPerSecond: number;
  messagesRead: number;
  messagesWritten: number;
  bytesRead: number;
  bytesWritten: number;
  uptimeMs: number;
}

/** What the command says of itself. */
export type CommandEvent =
  | {
    event: "starting";
    version: string;
    network: string;
    networkId: string;
    nodeId: string;
    identity: "seed file" | "new seed file" | "configuration" | "fresh";
    /** Where the secret is. */
    identityFile: string | null;
    mode: "watcher" | "validator";
    /** `host:port`; null without a listener. */
    listen: string | null;
    announcedPort: number;
    dials: boolean;
    /** Most peers that we dial, and that dial us. */
    targetPeers: number;
    maxInbound: number;
    /** `host:port`, as configured. */
    knownPeers: string[];
    preferredPeers: string[];
    /** Null with --no-db. */
    database: string | null;
    /** Addresses in it, and bans. */
    addresses: number;
    bans: number;
  }
  | { event: "warning"; text: string }
  | { event: "metrics"; url: string }
  | ({ event: "status" } & NodeStatus)
  | { event: "suppressed"; what: string; count: number; periodMs: number }
  | { event: "linesLost"; count: number }
  | { event: "bansReread"; bans: number; changed: boolean }
  | { event: "failed"; code: string | null; detail: string; hint: string | null }
  | { event: "ending"; reason: string }
  | ({ event: "stopped"; reason: string; authenticatedOutbound: number; authenticatedInbound: number } & NodeStatus);

/** One event of the log. */
export type RunEvent = OverlayEvent | CommandEvent;

/** The level of every event. */
export const EVENT_LEVELS: { readonly [E in RunEvent["event"]]: Level } = {
  starting: "info",
  warning: "warn",
  metrics: "info",
  status: "info",
  suppressed: "warn",
  linesLost: "warn",
  bansReread: "info",
  failed: "error",
  ending: "info",
  stopped: "info",
  listening: "info",
  dialing: "debug",
  dialFailed: "info",
  authenticated: "info",
  dropped: "info",
  refused: "info",
  resolveFailed: "warn",
  banned: "info",
  unbanned: "info",
  syncLost: "warn",
  syncGained: "info",
  ledgerLimits: "info",
  databaseFailed: "error",
  surveyStarted: "info",
  surveyStopped: "info",
  surveyEnded: "info",
  surveyAnswered: "info",
  surveyIgnored: "debug",
  stopping: "debug",
};

/** The level of an event; "info" for one that this version does not know. */
export function levelOf(event: RunEvent): Level {
  return EVENT_LEVELS[event.event] ?? "info";
}

/** Whether a log of `level` shows an event of level `of`. */
export function shows(level: Level, of: Level): boolean {
  return LEVELS.indexOf(of) <= LEVELS.indexOf(level);
}
