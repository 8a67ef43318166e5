/** What the `ban` commands find and do, as data: schema stellar-overlay/ban/1. */
import type { Ban, BanChange, BanJson } from "../../overlay/db/ban_manager.ts";
import { banJson } from "../../overlay/db/ban_manager.ts";

/** Name and version of the documents. */
export const BAN_SCHEMA = "stellar-overlay/ban/1";

/** Where the bans are: one of database and stellar-core. */
export interface BanPlace {
  /** Name, or passphrase of one that has none; null when a stellar-core was not asked for it. */
  network: string | null;
  /** Path. */
  database: string | null;
  /** Address of a stellar-core's HTTP endpoint. */
  via: string | null;
}

/** One ban of a list. A stellar-core tells node ids only. */
export interface BanRow extends Omit<BanJson, "createdAt"> {
  createdAt: string | null;
  /** Until it ends; null: never. */
  leftMs: number | null;
}

/** The bans that hold. */
export interface BanListing extends BanPlace {
  schema: typeof BAN_SCHEMA;
  action: "list";
  at: string;
  bans: BanRow[];
}

/**
 * What became of one node. From the database: see {@link BanChange}; `removed`, `absent`: it was not banned. From a
 * stellar-core also `notConnected`: only a peer that is connected can be banned there; `failed`: the detail says why.
 */
export type ChangeWord = BanChange["change"] | "removed" | "absent" | "notConnected" | "failed";

/** One node of a change. */
export interface ChangeRow {
  nodeId: string;
  change: ChangeWord;
  /** Of the ban that holds, or held; null is for ever, and nothing when there is no ban. */
  until: string | null;
  reason: string;
  createdAt: string | null;
  by: string;
  /** The ban before. */
  before: BanJson | null;
  detail: string | null;
}

/** A node that runs with the database. */
export interface RunningRow {
  nodeId: string;
  command: string;
  machine: string;
  pid: number;
  /** It is a process of this machine, and alive; of another machine that is not known. */
  here: boolean;
}

/** What a command changed, or would. */
export interface BanReport extends BanPlace {
  schema: typeof BAN_SCHEMA;
  action: "add" | "remove" | "import";
  at: string;
  dryRun: boolean;
  changes: ChangeRow[];
  /** By word, those that occur. */
  counts: Partial<Record<ChangeWord, number>>;
  /** Bans that hold now. */
  bans: number;
  /** Nodes that obey within a second. */
  runningNodes: RunningRow[];
  warnings: string[];
}

/** Bans of the database as rows. */
export function rowsOf(bans: readonly Ban[], nowMs: number): BanRow[] {
  return bans.map((ban) => ({
    ...banJson(ban),
    leftMs: ban.untilAt === null ? null : Math.max(0, Math.round(ban.untilAt - nowMs)),
  }));
}

/** Node ids of a stellar-core's list as rows. */
export function rowsOfCore(nodeIds: readonly string[]): BanRow[] {
  return nodeIds.map((nodeId) => ({ nodeId, until: null, reason: "", createdAt: null, by: "", leftMs: null }));
}

/** A change of the database as a row. */
export function changeRow({ change, ban, before }: BanChange): ChangeRow {
  return { ...banJson(ban), change, before: before === undefined ? null : banJson(before), detail: null };
}

/** A node about which nothing but the change is known. */
export function bareRow(nodeId: string, change: ChangeWord, detail: string | null = null): ChangeRow {
  return { nodeId, change, until: null, reason: "", createdAt: null, by: "", before: null, detail };
}

/** How many there are of each word. */
export function countsOf(changes: readonly ChangeRow[]): BanReport["counts"] {
  const counts: BanReport["counts"] = {};
  for (const { change } of changes) counts[change] = (counts[change] ?? 0) + 1;
  return counts;
}
