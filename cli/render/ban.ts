/** What `ban` shows: a table of bans, a line for each change, lists in text and JSON. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { lineOfBan } from "../ban/ban_list.ts";
import { BAN_SCHEMA, type BanListing, type BanReport, type BanRow, type ChangeRow } from "../ban/report.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { count, ms, paint, wrap } from "./style.ts";
import { renderTable } from "./table.ts";

/** Where the bans are, for a sentence. */
export function placeWords({ network, database, via }: Pick<BanListing, "network" | "database" | "via">): string {
  return via === null
    ? `database ${database} of ${escapeRemoteText(network ?? "")}`
    : `the stellar-core at ${via}, of ${escapeRemoteText(network ?? "")}`;
}

/** The table of `ban list`; on a pipe the title line stands also above nothing. */
export function renderBans(listing: BanListing, io: Io): string {
  if (listing.bans.length === 0 && io.outIsTerminal) return "";
  const c = paint(io.outColour);
  const table = renderTable<BanRow>(
    listing.bans,
    [
      { title: "node", value: (ban) => ban.nodeId },
      { title: "left", value: leftWords },
      { title: "reason", value: (ban) => escapeRemoteText(ban.reason), shrink: 12 },
      { title: "by", value: (ban) => escapeRemoteText(ban.by), drop: 1, maxWidth: 16 },
      { title: "until", value: (ban) => ban.until === null ? "" : seconds(ban.until), drop: 2 },
      { title: "since", value: (ban) => ban.createdAt === null ? "" : seconds(ban.createdAt), drop: 3 },
    ],
    io,
    c,
  );
  return io.outIsTerminal
    ? `${table}${c.dim(`${count(listing.bans.length, "ban")} in ${placeWords(listing)}`)}\n`
    : table;
}

/** The list as JSON. */
export function renderBansJson(listing: BanListing): string {
  return toJson(listing) + "\n";
}

/** One JSON object per ban. */
export function renderBansNdjson(listing: BanListing): string {
  return listing.bans.map((ban) => toJson({ type: "ban", schema: BAN_SCHEMA, ...ban }, 0) + "\n").join("");
}

/** One line per ban, below a comment that says where they come from. Lines of a stellar-core are node ids alone. */
export function renderBansText(listing: BanListing): string {
  const head = `# ${count(listing.bans.length, "ban")} of ${placeWords(listing)}, ${listing.at}\n`;
  const line = ({ createdAt, ...ban }: BanRow) => createdAt === null ? ban.nodeId : lineOfBan({ ...ban, createdAt });
  return head + listing.bans.map((ban) => `${line(ban)}\n`).join("");
}

/** Most unchanged nodes that are named. */
const MOST_KEPT = 20;

/** What a command changed, in words. */
export function renderBanReport(report: BanReport, io: Io): string {
  const c = paint(io.outColour);
  const { changes, counts, dryRun } = report;
  const kept = counts.kept ?? 0;
  const shown = changes.filter(({ change }) => change !== "kept" || kept <= MOST_KEPT);
  const lines = shown.map((row) => {
    const text = changeWords(row, report);
    return row.change === "added" || row.change === "changed" || row.change === "removed"
      ? text
      : row.change === "kept" || row.change === "absent"
      ? c.dim(text)
      : c.yellow(text);
  });
  const parts = Object.entries(counts).map(([word, n]) => `${n} ${COUNTED[word as ChangeRow["change"]]}`);
  const sum = changes.length === 0 ? "nothing to do" : parts.join(", ");
  lines.push(
    `${dryRun ? "dry run, nothing is changed: " : ""}${sum}; ${count(report.bans, "ban")} in ${placeWords(report)}`,
  );
  lines.push(...effectLines(report));
  const width = io.outIsTerminal ? io.columns : undefined;
  return lines.map((line) => `${wrap(line, width, 2)}\n`).join("");
}

/** The same for machines. */
export function renderBanReportJson(report: BanReport): string {
  return toJson(report) + "\n";
}

const COUNTED: Record<ChangeRow["change"], string> = {
  added: "added",
  changed: "changed",
  kept: "kept",
  over: "over already",
  removed: "lifted",
  absent: "not banned",
  notConnected: "not connected",
  failed: "failed",
};

function changeWords(row: ChangeRow, { dryRun, via }: BanReport): string {
  const reason = row.reason === "" ? "" : `: ${escapeRemoteText(row.reason)}`;
  const until = row.until === null ? "for ever" : `until ${seconds(row.until)}`;
  const is = dryRun ? "would be" : "is";
  switch (row.change) {
    case "added":
      return `${row.nodeId} ${is} banned ${until}${reason}`;
    case "changed": {
      const old = row.before?.until;
      return `${row.nodeId} ${is} banned ${until}, not only until ${seconds(old ?? "")}${reason}`;
    }
    case "kept":
      return via === null
        ? `${row.nodeId} stays banned ${until}, as before${reason}`
        : `${row.nodeId} is banned there already`;
    case "over":
      return `${row.nodeId} is not banned: ${until.replace("until ", "")} has passed`;
    case "removed":
      return `${row.nodeId} ${is} banned no more`;
    case "absent":
      return `${row.nodeId} is not banned`;
    case "notConnected":
      return `${row.nodeId} ${dryRun ? "could not be" : "is not"} banned: that node has no connection with it now`;
    case "failed":
      return `${row.nodeId} failed: ${escapeRemoteText(row.detail ?? "")}`;
  }
}

/** Who obeys, and when. */
function effectLines(report: BanReport): string[] {
  const { changes, dryRun, action, via, runningNodes } = report;
  const changed = changes.some(({ change }) => change === "added" || change === "changed" || change === "removed");
  const lines: string[] = [];
  if (changes.some(({ change }) => change === "notConnected")) {
    lines.push(
      "a stellar-core bans only a peer that is connected: try again when it is, or let it connect first " +
        "(its command connect?peer=HOST&port=PORT)",
    );
  }
  if (action === "add" && via === null && changes.some(({ change }) => change === "kept")) {
    lines.push("a ban is never made shorter: to change one, remove it first");
  }
  if (!changed || dryRun) return lines;
  if (via !== null) {
    lines.push(action === "remove" ? "it lets them in again at once" : "it dropped them, and refuses them from now on");
    return lines;
  }
  const does = action === "remove"
    ? "lets them in again within a second"
    : "obeys within a second and drops those it is connected to";
  for (const { nodeId, command, pid, machine, here } of runningNodes) {
    const node = `node ${nodeId.slice(0, 5)} (${command}, process ${pid}`;
    lines.push(here ? `${node}) ${does}` : `${node} of ${escapeRemoteText(machine)}), if it still runs, ${does}`);
  }
  if (runningNodes.length === 0) lines.push("no node runs with this database now; the next one that starts obeys");
  return lines;
}

/** `for ever`, `23 h`. */
function leftWords({ leftMs }: BanRow): string {
  if (leftMs === null) return "for ever";
  return leftMs < 1000 ? "now over" : ms(leftMs).replace(/\.\d+ s$/, " s");
}

/** A time to the second: `2026-08-01T10:00:00Z`. */
function seconds(iso: string): string {
  return iso.replace(/\.\d{3}Z$/, "Z");
}
