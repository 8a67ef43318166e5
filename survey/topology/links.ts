/**
 * The links of a survey, each once, with what both its ends say of it. Two nodes share at most one connection, so a link is a
 * pair of nodes; who dialed comes from the lists. Source: stellar-core OverlayManagerImpl.cpp, one connection per node id.
 */
import { isComplete, sortPeers } from "./merge.ts";
import type { PeerData, SurveyDocument, SurveyedNode } from "./types.ts";

/** One end's report of a link. */
export interface LinkReport {
  /** The end that reported. */
  by: string;
  /** The end it reported on. */
  peer: string;
  /** `inbound`: by its report the peer dialed it. */
  list: "inbound" | "outbound";
  data: PeerData;
}

/**
 * Where reports of a link contradict each other. `direction`: on who dialed. `missing`: one end reported the link, the other
 * answered with complete lists and does not name it; a link made or lost within the seconds that START and STOP travel
 * shows the same way. `repeated`: an end names the other twice. `self`: a node names itself.
 */
export type Disagreement = "direction" | "missing" | "repeated" | "self";

/** Bytes that went one way, as the two ends counted them. START and STOP reach them at different moments: some gap is normal. */
export interface Flow {
  from: string;
  to: string;
  /** `bytesWritten` of `from`; undefined when it did not report. */
  written?: bigint;
  /** `bytesRead` of `to`. */
  read?: bigint;
  /** Difference over the larger of the two, 0 to 1; undefined unless both reported. */
  gapRatio?: number;
}

/** One undirected link. */
export interface Link {
  /** The two ends, sorted as texts. */
  ends: [string, string];
  /** Who dialed; undefined when nobody says, or reports differ. */
  dialer?: string;
  direction: "known" | "disputed" | "unknown";
  /** All reports: none for a loose link, usually one per answered end. First end's first. */
  reports: LinkReport[];
  /** Both ways, from the first end first; empty without reports. */
  flows: Flow[];
  disagreements: Disagreement[];
}

/** All links of a document, sorted by their ends. */
export function linksOf(document: SurveyDocument): Link[] {
  const found = new Map<string, { ends: [string, string]; reports: LinkReport[]; dialers: Set<string> }>();
  const at = (x: string, y: string) => {
    const ends: [string, string] = x < y ? [x, y] : [y, x];
    const key = ends.join("\n");
    let link = found.get(key);
    if (link === undefined) found.set(key, link = { ends, reports: [], dialers: new Set() });
    return link;
  };
  for (const id of [...document.nodes.keys()].sort()) {
    const node = document.nodes.get(id)!;
    for (const list of ["inbound", "outbound"] as const) {
      for (const data of sortPeers([...node[`${list}Peers`]])) {
        const link = at(id, data.nodeId);
        link.reports.push({ by: id, peer: data.nodeId, list, data });
        link.dialers.add(list === "inbound" ? data.nodeId : id);
      }
    }
  }
  for (const { from, to, directed } of document.looseLinks) {
    const link = at(from, to);
    if (directed) link.dialers.add(from);
  }
  return [...found.values()]
    .sort((p, q) => compare(p.ends[0], q.ends[0]) || compare(p.ends[1], q.ends[1]))
    .map(({ ends, reports, dialers }) => ({
      ends,
      dialer: dialers.size === 1 ? [...dialers][0] : undefined,
      direction: dialers.size === 1 ? "known" : dialers.size === 0 ? "unknown" : "disputed",
      reports,
      flows: reports.length === 0 ? [] : [flow(ends[0], ends[1], reports), flow(ends[1], ends[0], reports)],
      disagreements: disagreements(document, ends, reports, dialers),
    }));
}

function disagreements(
  document: SurveyDocument,
  ends: readonly [string, string],
  reports: readonly LinkReport[],
  dialers: ReadonlySet<string>,
): Disagreement[] {
  if (ends[0] === ends[1]) return ["self"];
  const wrong: Disagreement[] = [];
  if (dialers.size > 1) wrong.push("direction");
  const counts = ends.map((end) => reports.filter((report) => report.by === end).length);
  if (reports.length > 0 && document.linkReports === "perSide") {
    const missing = ends.some((end, i) => counts[i] === 0 && hasWholeLists(document.nodes.get(end)));
    if (missing) wrong.push("missing");
  }
  if (counts.some((count) => count > 1)) wrong.push("repeated");
  return wrong;
}

function hasWholeLists(node: SurveyedNode | undefined): boolean {
  return node !== undefined && node.absent === undefined && isComplete(node);
}

function flow(from: string, to: string, reports: readonly LinkReport[]): Flow {
  const written = figure(reports, from, "bytesWritten"), read = figure(reports, to, "bytesRead");
  if (written === undefined || read === undefined) return { from, to, written, read };
  const most = written > read ? written : read, least = written > read ? read : written;
  return { from, to, written, read, gapRatio: most === 0n ? 0 : Number(most - least) / Number(most) };
}

function figure(reports: readonly LinkReport[], by: string, field: "bytesWritten" | "bytesRead"): bigint | undefined {
  const report = reports.find((one) => one.by === by);
  return report === undefined || report.data.absent?.includes(field) ? undefined : report.data[field];
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
