/**
 * Lists of bans as text: what `ban export` writes and what others write. Read are lines of node ids, with or without more;
 * JSON of this tool; one JSON object per line; and the JSON of stellar-core's `bans` command. See docs/ban.md.
 */
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { BanJson } from "../../overlay/db/ban_manager.ts";
import { UsageError } from "../flags.ts";
import { toJson } from "../render/json.ts";

/** A ban as a list has it: what it says nothing of is absent. */
export type ListedBan = Pick<BanJson, "nodeId"> & Partial<BanJson>;

/** Resolves `$name` of a configuration; undefined: no such name. */
export type NameLookup = (name: string) => string | undefined;

const HINT = "one node id (G...) per line, or JSON: see docs/ban.md";

/** All bans of a text; `source` names it in errors, which also name line or entry. @throws UsageError */
export function bansOfText(text: string, source: string, nodeOfName: NameLookup = () => undefined): ListedBan[] {
  if (!/^\s*[[{]/.test(text)) return bansOfLines(text, source, nodeOfName);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    if (/^\s*\[/.test(text)) throw new UsageError(`${source}: ${(error as Error).message}`, HINT);
    return bansOfJsonLines(text, source, error as Error);
  }
  return bansOfDocument(document, source);
}

/** A list, an object with a list `bans`, or one ban. */
function bansOfDocument(document: unknown, source: string): ListedBan[] {
  const holder = document as { bans?: unknown; nodeId?: unknown };
  const list = Array.isArray(document) ? document : holder.nodeId !== undefined ? [document] : holder.bans;
  // stellar-core writes null for a list without entries.
  if (list === null) return [];
  if (!Array.isArray(list)) throw new UsageError(`${source}: it is JSON without a list of bans`, HINT);
  return list.map((entry, i) => banOfJson(entry, `${source}: ban ${i + 1}`));
}

function bansOfJsonLines(text: string, source: string, whole: Error): ListedBan[] {
  const bans: ListedBan[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    try {
      bans.push(banOfJson(JSON.parse(line), `${source} line ${i + 1}`));
    } catch (error) {
      if (error instanceof UsageError) throw error;
      // A document over many lines that was cut: what is wrong with the whole of it says more.
      if (i === 0) throw new UsageError(`${source}: ${whole.message}`, HINT);
      throw new UsageError(`${source} line ${i + 1}: ${(error as Error).message}`, HINT);
    }
  }
  return bans;
}

function banOfJson(entry: unknown, where: string): ListedBan {
  if (typeof entry === "string") return { nodeId: checked(entry, where) };
  if (typeof entry !== "object" || entry === null) {
    throw new UsageError(`${where}: neither a node id nor an object with one`, HINT);
  }
  const { nodeId, until, reason, createdAt, by } = entry as Record<string, unknown>;
  if (typeof nodeId !== "string") throw new UsageError(`${where}: it has no nodeId`, HINT);
  const ban: ListedBan = { nodeId: checked(nodeId, where) };
  if (until === null) ban.until = null;
  else if (until !== undefined) ban.until = instant(until, `${where}: until`);
  if (createdAt !== undefined && createdAt !== null) ban.createdAt = instant(createdAt, `${where}: createdAt`);
  for (const [name, value] of Object.entries({ reason, by })) {
    if (value === undefined || value === null) continue;
    if (typeof value !== "string") throw new UsageError(`${where}: ${name} is not a text`, HINT);
    ban[name as "reason" | "by"] = value;
  }
  return ban;
}

function bansOfLines(text: string, source: string, nodeOfName: NameLookup): ListedBan[] {
  const bans: ListedBan[] = [];
  for (const [i, line] of text.replace(/^\ufeff/, "").split(/\r?\n/).entries()) {
    const row = line.trim();
    if (row === "" || row.startsWith("#")) continue;
    bans.push(banOfLine(row, `${source} line ${i + 1}`, nodeOfName));
  }
  return bans;
}

/** `G... [until=TIME|forever] [since=TIME] [by="..."] [reason="..."] [# comment]`, or `G... why in plain words`. */
function banOfLine(row: string, where: string, nodeOfName: NameLookup): ListedBan {
  const [, first, rest] = /^(\S+)(.*)$/.exec(row)!;
  const ban: ListedBan = { nodeId: nodeOf(first.replace(/^["']|["']?,?$/g, ""), where, nodeOfName) };
  if (!/^\s+(until|since|by|reason)=/.test(rest)) {
    const reason = rest.replace(/#.*/, "").trim();
    if (reason !== "") ban.reason = reason;
    return ban;
  }
  const field = /\s+(?:(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]\S*)|#.*$)/y;
  while (field.lastIndex < rest.length) {
    const from = field.lastIndex;
    const match = field.exec(rest);
    if (match === null) {
      if (rest.slice(from).trim() === "") break;
      throw new UsageError(`${where}: cannot read '${rest.slice(from).trim()}'`, 'write name=value, or name="a value"');
    }
    if (match[1] !== undefined) setField(ban, match[1], match[2], where);
  }
  return ban;
}

function setField(ban: ListedBan, name: string, written: string, where: string): void {
  let value = written;
  if (written.startsWith('"')) {
    try {
      value = JSON.parse(written);
    } catch {
      throw new UsageError(`${where}: ${name} is not quoted as JSON quotes`, HINT);
    }
  }
  switch (name) {
    case "until":
      ban.until = value === "forever" ? null : instant(value, `${where}: until`);
      break;
    case "since":
      ban.createdAt = instant(value, `${where}: since`);
      break;
    case "by":
    case "reason":
      ban[name] = value;
      break;
    default:
      throw new UsageError(`${where}: '${name}' is not one of until, since, by, reason`, HINT);
  }
}

/** A ban as one line of text, which {@link bansOfText} reads back. Quotes as JSON does, so that no control character stands in it. */
export function lineOfBan(ban: BanJson): string {
  const quoted = (name: string, text: string) => text === "" ? "" : ` ${name}=${toJson(text, 0)}`;
  const until = ban.until === null ? "forever" : ban.until;
  return `${ban.nodeId} until=${until} since=${ban.createdAt}${quoted("by", ban.by)}${quoted("reason", ban.reason)}`;
}

/** The node id that a word means: `G...`, `G...@host:port`, or `$name` of a configuration. @throws UsageError */
export function nodeOf(word: string, where: string, nodeOfName: NameLookup = () => undefined): string {
  if (word.startsWith("$")) {
    const nodeId = nodeOfName(word.slice(1));
    if (nodeId !== undefined) return checked(nodeId, where);
    throw new UsageError(`${where}: no node is named ${word}`, "names come from NODE_NAMES and VALIDATORS of --config");
  }
  return checked(/^(G[A-Z2-7]{55})@/.exec(word)?.[1] ?? word, where);
}

/** The checksum too: a ban of a mistyped id would hold nobody off. */
function checked(nodeId: string, where: string): string {
  try {
    decodeNodeId(nodeId, where);
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    throw new UsageError(
      describeFailure(error.failure),
      "a node id is G and 55 letters or digits: connect HOST shows it",
    );
  }
  return nodeId;
}

/** A time that says all of itself: `2026-08-01T10:00:00Z`, or a date, in UTC. @throws UsageError */
export function instant(text: unknown, where: string): string {
  const form = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/i;
  const ms = typeof text === "string" && form.test(text) ? Date.parse(text) : NaN;
  if (!Number.isFinite(ms)) {
    throw new UsageError(`${where}: no time such as 2026-08-01T10:00:00Z or 2026-08-01`, "the zone belongs to it");
  }
  return new Date(ms).toISOString();
}
