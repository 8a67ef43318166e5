/** What `peers` shows: a table of addresses, all about one of them, what changed, and lists for other programs. */
import { stringify } from "csv-stringify/sync";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { isAccepting, type PeerRow, PEERS_SCHEMA } from "../peers/book.ts";
import type { ImportRow, PeersReport } from "../peers/change_book.ts";
import type { NodeFacts, PeerFacts, VisitRow } from "../peers/show.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { renderKnownPeers } from "./known_peers.ts";
import { count, ms, paint, paintState, shortId, wrap } from "./style.ts";
import { type Column, renderTable } from "./table.ts";

/** The document of `peers list` and `peers export --json`. */
export interface PeerListing {
  schema: typeof PEERS_SCHEMA;
  action: "list";
  at: string;
  network: string;
  database: string;
  /** Addresses known, before filters and limit. */
  total: number;
  peers: PeerRow[];
}

/** Any of the documents as JSON. */
export function renderPeersJson(document: PeerListing | PeerFacts | PeersReport): string {
  return toJson(document) + "\n";
}

/** The table of `peers list`. */
export function renderPeers(listing: PeerListing, io: Io): string {
  const c = paint(io.outColour);
  const nowMs = Date.parse(listing.at);
  const { peers, total } = listing;
  if (peers.length === 0 && io.outIsTerminal) return "";
  const columns: Column<PeerRow>[] = [
    { title: "address", value: (row) => escapeRemoteText(row.address), maxWidth: 45 },
    { title: "type", value: (row) => row.type },
    {
      title: "last outcome",
      value: (row) => outcomeWords(row),
      shrink: 20,
      paint: (text, row) => row.lastOutcome === null ? c.dim(text) : paintAs(c, text, row.lastOutcome),
    },
    { title: "rtt ms", value: (row) => row.rttMs?.toFixed(1) ?? "", align: "right", drop: 2 },
    { title: "fails", value: (row) => String(row.failures), align: "right", drop: 4 },
    { title: "next", value: (row) => io.outIsTerminal ? nextWords(row, nowMs) : row.nextAttemptAt ?? "", drop: 5 },
    {
      title: "tried",
      value: (row) => io.outIsTerminal ? agoWords(row.lastTriedAt, nowMs) : row.lastTriedAt ?? "",
      drop: 3,
    },
    {
      title: "node",
      value: (row) => row.nodeId === null ? "" : io.outIsTerminal ? shortId(row.nodeId) : row.nodeId,
      drop: 1,
    },
    { title: "admitted", value: visitWords, align: "right", drop: 6 },
    {
      title: "seen",
      value: (row) => io.outIsTerminal ? agoWords(row.lastSeenAt, nowMs) : row.lastSeenAt ?? "",
      drop: 7,
    },
    { title: "version", value: (row) => escapeRemoteText(row.versionStr ?? ""), maxWidth: 30, drop: 8 },
    { title: "banned", value: (row) => row.banned ? "banned" : "", drop: 9 },
  ];
  const table = renderTable(peers, columns, io, c);
  if (!io.outIsTerminal) return table;
  const accepting = peers.filter(isAccepting).length;
  const of = peers.length === total ? "" : ` of ${total}`;
  return `${table}${
    c.dim(
      `${count(peers.length, "address", "addresses")}${of}, ${accepting} admitted us when last tried; ${
        place(listing)
      }`,
    )
  }\n`;
}

/** The addresses, one per line, with a comment each: for `--from` of other commands and for import. */
export function renderPeersText(listing: PeerListing): string {
  const head = `# ${count(listing.peers.length, "address", "addresses")} of ${place(listing)}, ${listing.at}\n`;
  return head + listing.peers.map((row) => {
    const facts = [row.type, outcomeWords(row), row.nodeId ?? ""].filter((fact) => fact !== "");
    return `${escapeRemoteText(row.address)} # ${facts.join(", ")}\n`;
  }).join("");
}

/** Columns of the CSV. */
export const PEER_COLUMNS = [
  "address",
  "type",
  "lastOutcome",
  "lastCode",
  "failures",
  "nextAttemptAt",
  "lastTriedAt",
  "lastAdmittedAt",
  "lastSeenAt",
  "nodeId",
  "rttMs",
  "visitsTried",
  "visitsAdmitted",
  "banned",
  "versionStr",
] as const;

/** RFC 4180, with a title line; texts of remotes are escaped. */
export function renderPeersCsv(listing: PeerListing): string {
  const rows = listing.peers.map((row) =>
    PEER_COLUMNS.map((name) => {
      switch (name) {
        case "address":
          return escapeRemoteText(row.address);
        case "visitsTried":
          return row.visits.tried;
        case "visitsAdmitted":
          return row.visits.admitted;
        case "versionStr":
          return escapeRemoteText(row.versionStr ?? "");
        default:
          return typeof row[name] === "boolean" ? String(row[name]) : row[name] ?? "";
      }
    })
  );
  return stringify(rows, {
    header: true,
    columns: PEER_COLUMNS.map((key) => ({ key })),
    record_delimiter: "windows",
    // A version string may begin as a formula does, and spreadsheets would run it.
    escape_formulas: true,
  });
}

/** KNOWN_PEERS of those that accept us, in the order given. */
export function renderPeersForConfig(listing: PeerListing): string {
  const good = listing.peers.filter((row) => isAccepting(row) && !row.banned).map((row) => ({
    address: row.address,
    nodeId: row.nodeId,
    rttMs: row.rttMs,
    versionStr: row.versionStr,
    note: row.visits.tried === 0 ? "" : `admitted us in ${row.visits.admitted} of ${count(row.visits.tried, "crawl")}`,
  }));
  return renderKnownPeers(good, `of ${escapeRemoteText(listing.network)} that admitted us when last tried, best first`);
}

/** All about one address or node. */
export function renderPeerFacts(facts: PeerFacts, io: Io): string {
  const c = paint(io.outColour);
  const nowMs = Date.parse(facts.at);
  const width = io.outIsTerminal ? io.columns : undefined;
  const lines: string[] = [];
  const row = (name: string, text: string) => {
    if (text !== "") lines.push(wrap(`  ${c.dim(name.padEnd(13))} ${text}`, width, 16));
  };
  for (const peer of facts.peers) {
    lines.push(c.bold(escapeRemoteText(peer.address)));
    row("type", `${peer.type}${TYPE_WORDS[peer.type]}`);
    row("last outcome", peer.lastOutcome === null ? "never tried" : outcomeText(peer, nowMs, c));
    row("admitted us", peer.lastAdmittedAt === null ? "" : when(peer.lastAdmittedAt, nowMs));
    row("failures", peer.failures === 0 ? "none since the last success" : `${peer.failures} since the last success`);
    row("next attempt", peer.nextAttemptAt === null ? "" : `${nextWords(peer, nowMs)} (${peer.nextAttemptAt})`);
    row("round trip", peer.rttMs === null ? "" : ms(peer.rttMs));
    const { tried, admitted } = peer.visits;
    row("crawls", tried === 0 ? "" : `admitted us in ${admitted} of ${tried}`);
    row("seen", peer.lastSeenAt === null ? "" : when(peer.lastSeenAt, nowMs));
    row("node", peer.nodeId ?? "");
  }
  for (const { nodeId, firstSeenAt, lastSeenAt, hello, ban } of facts.nodes) {
    lines.push(c.bold(nodeId));
    if (hello !== null) {
      row("version", escapeRemoteText(hello.versionStr));
      row("overlay", `${hello.overlayMinVersion}-${hello.overlayVersion}, ledger protocol ${hello.ledgerVersion}`);
      row("listens on", `port ${hello.listeningPort}`);
    }
    row("met", firstSeenAt === null ? "" : `first ${when(firstSeenAt, nowMs)}, last ${when(lastSeenAt!, nowMs)}`);
    if (ban !== null) row("banned", c.red(banWords(ban)));
  }
  if (facts.visits.length > 0) {
    lines.push(c.bold(`last ${count(facts.visits.length, "visit")} of crawls`));
    for (const visit of facts.visits) lines.push(wrap(`  ${visitLine(visit, facts, c)}`, width, 4));
  }
  return lines.map((line) => line + "\n").join("");
}

function banWords({ until, by, reason }: NonNullable<NodeFacts["ban"]>): string {
  const who = by === "" ? "" : ` by ${escapeRemoteText(by)}`;
  const why = reason === "" ? "" : `: ${escapeRemoteText(reason)}`;
  return `${until === null ? "for ever" : `until ${until}`}${who}${why}`;
}

const TYPE_WORDS: Record<PeerRow["type"], string> = {
  inbound: " (told by a peer, or it dialed us)",
  outbound: " (configured, or reached by our own dial)",
  preferred: " (configured as preferred)",
  crawled: " (known from crawls; not in the node's address book)",
};

function outcomeText(peer: PeerRow, nowMs: number, c: ReturnType<typeof paint>): string {
  const code = peer.lastCode === null || peer.lastCode === peer.lastOutcome ? "" : ` (${peer.lastCode})`;
  return `${paintState(c, peer.lastOutcome!)}${code}, ${when(peer.lastTriedAt!, nowMs)}`;
}

function visitLine(visit: VisitRow, facts: PeerFacts, c: ReturnType<typeof paint>): string {
  const stages = Object.entries(visit.stagesMs).map(([name, value]) => `${name} ${ms(value)}`);
  const parts = [
    `${visit.at} ${paintState(c, visit.state)}`,
    facts.target.startsWith("G") ? `at ${escapeRemoteText(visit.address)}` : "",
    visit.code === null ? "" : `${escapeRemoteText(visit.detail ?? "")} (${visit.code})`,
    visit.remoteText === null ? "" : `"${escapeRemoteText(visit.remoteText)}"`,
    stages.join(", "),
    visit.rttMs === null ? "" : `round trip ${ms(visit.rttMs)}`,
    visit.peers === null ? "" : count(visit.peers, "address", "addresses"),
    `run ${visit.run}${visit.attempt > 1 ? `, attempt ${visit.attempt}` : ""}`,
  ];
  return parts.filter((part) => part !== "").join("; ");
}

/** Most unchanged addresses that are named. */
const MOST_NAMED = 20;

/** What `import` or `forget` did. */
export function renderPeersReport(report: PeersReport, io: Io): string {
  const c = paint(io.outColour);
  const { changes, counts, dryRun } = report;
  const quiet = changes.length > MOST_NAMED;
  const lines = changes.filter(({ change }) => !quiet || !["added", "kept", "forgotten"].includes(change)).map(
    (row) => {
      const name = escapeRemoteText(row.address);
      if (row.change === "forgotten" || row.change === "absent") {
        return row.change === "absent"
          ? c.dim(`${name} is not known`)
          : `${name} ${dryRun ? "would be" : "is"} forgotten`;
      }
      return importWords(row as ImportRow, name, dryRun);
    },
  );
  const parts = Object.entries(counts).map(([word, n]) => `${n} ${word === "absent" ? "not known" : word}`);
  lines.push(
    `${dryRun ? "dry run, nothing is changed: " : ""}${parts.join(", ") || "nothing to do"}; ${
      count(report.addresses, "address", "addresses")
    } in the node's address book, ${place(report)}`,
  );
  const width = io.outIsTerminal ? io.columns : undefined;
  return lines.map((line) => `${wrap(line, width, 2)}\n`).join("");
}

function importWords(row: ImportRow, name: string, dryRun: boolean): string {
  const as = row.stored === null || row.stored === row.address ? "" : ` as ${row.stored}`;
  const is = dryRun ? "would be" : "is";
  switch (row.change) {
    case "added":
      return `${name} ${is} added${as} (${row.type})`;
    case "changed":
      return `${name} ${is} ${row.type} now${as}`;
    case "kept":
      return `${name} is known${as} (${row.type})`;
    case "skipped":
      return `${name} ${dryRun ? "would be" : "is"} skipped (${row.code})${
        row.code === "unroutable_address" ? "" : ": --allow-private takes it"
      }`;
    case "full":
      return `${name} is not added: the address book is full`;
    case "failed":
      return `${name} is not added: its name does not resolve (${row.code})`;
  }
}

function place({ network, database }: { network: string; database: string }): string {
  return `database ${database} of ${escapeRemoteText(network)}`;
}

/** `reachable`, `dead: connect_refused`. */
function outcomeWords(row: PeerRow): string {
  if (row.lastOutcome === null) return "";
  return row.lastCode === null || row.lastOutcome === "full" ? row.lastOutcome : `${row.lastOutcome}: ${row.lastCode}`;
}

function paintAs(c: ReturnType<typeof paint>, text: string, state: string): string {
  return paintState(c, state).replace(state, text);
}

/** `9/10`: crawls in which it admitted us, and crawls. */
function visitWords({ visits: { tried, admitted } }: PeerRow): string {
  return tried === 0 ? "" : `${admitted}/${tried}`;
}

function nextWords(row: PeerRow, nowMs: number): string {
  if (row.nextAttemptAt === null) return "";
  const leftMs = Date.parse(row.nextAttemptAt) - nowMs;
  return leftMs <= 0 ? "due" : `in ${roughly(leftMs)}`;
}

function agoWords(iso: string | null, nowMs: number): string {
  return iso === null ? "" : roughly(Math.max(0, nowMs - Date.parse(iso)));
}

function when(iso: string, nowMs: number): string {
  return `${agoWords(iso, nowMs)} ago (${iso})`;
}

function roughly(value: number): string {
  return value < 120_000 ? `${Math.round(value / 1000)} s` : ms(value);
}
