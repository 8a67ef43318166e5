/** What `crawl` shows: a progress line, a summary people read, a table of nodes, and the machine forms. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { CrawlProgress } from "../../survey/crawl/crawler.ts";
import {
  type CrawlDocument,
  type CrawlSummary,
  EDGES_NOTE,
  type NodeRow,
  visitRecord,
} from "../../survey/crawl/report.ts";
import type { CrawlVisit } from "../../survey/crawl/visit_record.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { renderKnownPeers } from "./known_peers.ts";
import { bytes, count, ms, paint, paintState, shortId, wrap } from "./style.ts";
import { type Column, renderTable } from "./table.ts";

/** `142 done, 38 queued, 40 in flight, 22.1/s, 97 reachable, about 2 s left`. */
export function progressLine(now: CrawlProgress, ending: boolean): string {
  const parts = [
    `${now.done} done`,
    `${now.queued} queued`,
    `${now.inFlight} in flight`,
    `${now.ratePerSecond.toFixed(1)}/s`,
    `${now.reachable} reachable`,
  ];
  if (ending) parts.push("finishing");
  else if (now.queued > 0 && now.etaMs !== undefined) {
    parts.push(`about ${ms(Math.max(1000, now.etaMs)).replace(/\.\d+/, "")} left`);
  }
  return parts.join(", ");
}

/** The document as JSON text. */
export function renderCrawlJson(document: CrawlDocument): string {
  return toJson(document) + "\n";
}

/** One NDJSON line per visit. */
export function visitLine(visit: CrawlVisit): string {
  return toJson(visitRecord(visit), 0) + "\n";
}

/** The last NDJSON line: the run, its budget, and consensus; nodes and addresses were in the visits. */
export function runLine(document: CrawlDocument): string {
  const { schema, run, budget, validators, missingValidators, quorumSets, note } = document;
  return toJson({ type: "run", schema, run, budget, validators, missingValidators, quorumSets, note }, 0) + "\n";
}

/** Lines for a stellar-core configuration: nodes that accepted us, nearest first. */
export function renderForConfig(document: CrawlDocument): string {
  const good = document.nodes.filter((node) => node.state === "reachable" && node.addresses.length > 0)
    .sort((a, b) => (a.rttMs?.median ?? Infinity) - (b.rttMs?.median ?? Infinity));
  const peers = good.map(({ addresses, nodeId, rttMs, versionStr }) => ({
    // Of several addresses one that stellar-core can read.
    address: addresses.find((address) => !address.startsWith("[")) ?? addresses[0],
    nodeId,
    rttMs: rttMs?.median ?? null,
    versionStr,
  }));
  return renderKnownPeers(
    peers,
    `of ${document.run.network} that accepted us on ${document.run.endedAt}, nearest first`,
  );
}

/** What to do about seeds that could not be dialed, when there is something. */
export function seedHint(document: CrawlDocument): string | undefined {
  const codes = new Set(document.addresses.filter((row) => row.source === "seed").map((row) => row.code));
  if (codes.has("private_address")) return "a seed is a private address: add --allow-private";
  if (codes.has("dns_failed")) return "no seed's name resolves: check the names and this machine's network";
  return undefined;
}

/** What the text view is asked for. */
export interface CrawlTextOptions {
  table: boolean;
  /** Also addresses where no node answered. */
  all: boolean;
  listened: boolean;
  outFile: string | undefined;
}

/** Text for people. */
export function renderCrawl(document: CrawlDocument, summary: CrawlSummary, io: Io, options: CrawlTextOptions): string {
  const c = paint(io.outColour);
  const sections: string[] = [];
  if (options.table && document.nodes.length > 0) sections.push(nodeTable(document, io));
  if (options.all) sections.push(addressTable(document, io));
  sections.push(summaryText(document, summary, io, options));
  return sections.join("\n") + (options.outFile === undefined ? "" : c.dim(`\nJSON document: ${options.outFile}\n`));
}

const ORDER = ["reachable", "full", "dropped", "refused", "other-network", "faulty", "silent", "heard"];

function nodeTable(document: CrawlDocument, io: Io): string {
  const c = paint(io.outColour);
  const rows = [...document.nodes].sort((a, b) =>
    ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (a.rttMs?.median ?? Infinity) - (b.rttMs?.median ?? Infinity) ||
    (a.nodeId < b.nodeId ? -1 : 1)
  );
  const listened = document.nodes.some((node) => node.validating !== null);
  const columns: Column<NodeRow>[] = [
    { title: "node", value: (n) => io.outIsTerminal ? shortId(n.nodeId) : n.nodeId },
    {
      title: "address",
      value: (n) => (n.addresses[0] ?? "") + (n.addresses.length > 1 ? ` +${n.addresses.length - 1}` : ""),
    },
    { title: "state", value: (n) => n.state, paint: (text) => paintState(c, text.trim()) },
    { title: "version", value: (n) => escapeRemoteText(n.versionStr ?? ""), maxWidth: 30, drop: 7 },
    {
      title: "overlay",
      value: (n) => n.overlayVersion === null ? "" : `${n.overlayMinVersion}-${n.overlayVersion}`,
      drop: 5,
    },
    { title: "rtt ms", value: (n) => n.rttMs?.median.toFixed(1) ?? "", align: "right" },
    {
      title: "peers",
      value: (n) => n.advertises.length === 0 ? "" : String(n.advertises.length),
      align: "right",
      drop: 6,
    },
  ];
  if (listened) {
    columns.push(
      { title: "validating", value: (n) => n.validating === null ? "" : n.validating ? "yes" : "no", drop: 1 },
      { title: "slot", value: (n) => n.lastSlot ?? "", align: "right", drop: 2 },
      { title: "lag ms", value: (n) => n.lagMs === null ? "" : n.lagMs.toFixed(0), align: "right", drop: 3 },
    );
  }
  columns.push({ title: "code", value: (n) => n.code ?? "", drop: 8 });
  return renderTable(rows, columns, io, c);
}

function addressTable(document: CrawlDocument, io: Io): string {
  const c = paint(io.outColour);
  const rows = document.addresses.filter((row) => !row.outcomes.some((outcome) => outcome.nodeId !== null));
  if (rows.length === 0) return "";
  return renderTable(
    rows,
    [
      { title: "address without a node", value: (row) => escapeRemoteText(row.address) },
      { title: "state", value: (row) => row.state, paint: (text) => paintState(c, text.trim()) },
      { title: "code", value: (row) => row.code ?? "" },
      { title: "told by", value: (row) => String(row.advertisedByCount), align: "right" },
      {
        title: "visits",
        value: (row) => String(row.outcomes.filter((o) => o.attempt > 0).length),
        align: "right",
        drop: 1,
      },
    ],
    io,
    c,
  );
}

function summaryText(document: CrawlDocument, summary: CrawlSummary, io: Io, options: CrawlTextOptions): string {
  const c = paint(io.outColour);
  const { run, budget } = document;
  const { counts } = run;
  const lines: string[] = [];
  const row = (name: string, value: string) => {
    if (value !== "") {
      lines.push(wrap(`  ${c.dim(name.padEnd(13))} ${value}`, io.outIsTerminal ? io.columns : undefined, 16));
    }
  };
  const states = (of: readonly { state: string; count: number }[]) =>
    of.map(({ state, count }) => `${count} ${paintState(c, state)}`).join(", ");

  const ending = run.complete
    ? ""
    : run.interrupted
    ? c.yellow(" (interrupted)")
    : c.yellow(` (stopped: ${run.limitsHit.join(", ") || "not complete"})`);
  lines.push(
    c.bold(`${count(counts.nodes, "node")} of ${escapeRemoteText(run.network)} in ${ms(run.durationMs)}`) + ending,
  );
  row("nodes", states(counts.nodesByState));
  row("addresses", `${counts.addresses}: ${states(counts.addressesByState)}`);
  row("reasons", summary.codes.slice(0, 6).map(({ code, addresses }) => `${addresses} ${code}`).join(", "));
  row(
    "steps",
    `${counts.advertised} advertised, ${counts.dialled} dialled, ${counts.reached} answered TCP, ${counts.identified} identified, ${counts.authenticated} authenticated`,
  );
  row("versions", top(summary.versions.map(({ versionStr, nodes }) => `${nodes} ${escapeRemoteText(versionStr)}`)));
  row(
    "overlay",
    top(summary.overlayVersions.map((v) => `${v.nodes} speak ${v.overlayMinVersion}-${v.overlayVersion}`)),
  );
  row("protocol", top(summary.ledgerVersions.map((v) => `${v.nodes} up to ledger protocol ${v.ledgerVersion}`)));
  if (summary.rttMs !== null) {
    const { nodes, p50, p90, p99 } = summary.rttMs;
    row("round trip", `p50 ${ms(p50)}, p90 ${ms(p90)}, p99 ${ms(p99)} over ${count(nodes, "node")}`);
  }
  if (summary.topAdvertisers.length > 0) {
    row(
      "advertisers",
      summary.topAdvertisers.slice(0, 5).map((a) =>
        `${shortId(a.nodeId)} ${a.entries}${
          a.aliveShare === null ? "" : ` (${Math.round(a.aliveShare * 100)} % alive)`
        }`
      ).join(", "),
    );
    const q = summary.peersQuality;
    row(
      "address books",
      `${
        count(q.entries, "address", "addresses")
      }: ${q.alive} alive, ${q.dead} dead, ${q.private} private, ${q.otherNetwork} of another network, ${q.unusable} unusable, ${q.other} other`,
    );
  }
  if (options.listened) {
    const validating = summary.validators.filter((v) => v.validating);
    row(
      "validators",
      validating.length === 0 ? "none heard while listening" : `${validating.length} validating: ` +
        top(
          validating.map((v) =>
            `${shortId(v.nodeId)} slot ${v.lastSlot}${v.lagMs === null ? "" : ` +${v.lagMs.toFixed(0)} ms`}`
          ),
          8,
        ),
    );
    if (summary.missingValidators.length > 0) {
      row("not heard", `${top(summary.missingValidators.map(shortId), 12)} (named in quorum sets)`);
    }
  } else {
    row("validators", c.dim("not asked for: --listen 10 shows who validates"));
  }
  const { used, limits } = budget;
  row(
    "budget",
    `${used.dials} dials (limit ${
      limits.maxDials ?? "none"
    }, ${limits.dialsPerSecond}/s), at most ${used.peakConcurrency} at once (limit ${limits.concurrency}), ` +
      `${used.heldSeconds.toFixed(1)} s of slots held, ${bytes(used.bytes)}`,
  );
  lines.push(c.dim(wrap(`  ${EDGES_NOTE}`, io.outIsTerminal ? io.columns : undefined, 2)));
  return lines.join("\n") + "\n";
}

/** The first entries of a list, and how many there are beyond. */
function top(entries: string[], most = 5): string {
  return entries.slice(0, most).join(", ") + (entries.length > most ? `, and ${entries.length - most} more` : "");
}
