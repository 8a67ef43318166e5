/** Nodes and links as CSV (RFC 4180), for spreadsheets and data frames. docs/survey-files.md describes every column. */
import { stringify } from "csv-stringify/sync";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { type Link, type LinkReport, linksOf } from "./links.ts";
import { isComplete, nodesOf, versionsOf } from "./merge.ts";
import { type Counters, RATE_NAMES, ratesOf, sliceSecondsOf } from "./rates.ts";
import { NODE_NUMBERS, PEER_COUNTERS, type PeerData, type SurveyDocument } from "./types.ts";

type Cell = string | number | bigint | undefined;

const SUMMED = PEER_COUNTERS.filter((name) => name !== "secondsConnected");

/** Columns of nodes.csv. */
export const NODE_COLUMNS = [
  "nodeId",
  "version",
  "state",
  "isLateJoiner",
  "isValidator",
  ...NODE_NUMBERS,
  "links",
  "inboundPeersListed",
  "outboundPeersListed",
  ...SUMMED,
  ...RATE_NAMES,
] as const;

/** Columns of links.csv. */
export const LINK_COLUMNS = [
  "nodeId",
  "peerId",
  "dialed",
  "peerVersion",
  "otherEnd",
  "disagreements",
  ...PEER_COUNTERS,
  "medianPingMs",
  ...RATE_NAMES,
  "sentGapRatio",
  "receivedGapRatio",
] as const;

/** One row per node of the graph and per node asked, sorted by node id. Counters are sums over the node's own reports. */
export function printNodesCsv(document: SurveyDocument): string {
  const versions = versionsOf(document), slice = sliceSecondsOf(document);
  const degrees = new Map<string, number>();
  for (const { ends: [a, b] } of linksOf(document)) {
    if (a === b) continue;
    degrees.set(a, (degrees.get(a) ?? 0) + 1);
    degrees.set(b, (degrees.get(b) ?? 0) + 1);
  }
  const ids = [...new Set([...nodesOf(document), ...document.states.keys(), ...document.lateJoiners])].sort();
  const rows = ids.map((id): Cell[] => {
    const node = document.nodes.get(id);
    const reports = node === undefined ? [] : [...node.inboundPeers, ...node.outboundPeers];
    const sums = node === undefined || document.linkReports !== "perSide" ? undefined : sumOf(reports);
    const rates = sums === undefined ? {} : ratesOf(sums, slice);
    const known = (name: string) => node !== undefined && !node.absent?.includes(name);
    return [
      id,
      remote(versions.get(id)),
      document.states.get(id),
      flag(document.lateJoiners.has(id)),
      known("isValidator") ? flag(node!.data.isValidator) : undefined,
      ...NODE_NUMBERS.map((name) => known(name) ? node!.data[name] : undefined),
      degrees.get(id) ?? 0,
      node?.inboundPeers.length,
      node?.outboundPeers.length,
      ...SUMMED.map((name) => sums?.absent?.includes(name) ? undefined : sums?.[name]),
      ...RATE_NAMES.map((name) => rates[name]),
    ];
  });
  return print(NODE_COLUMNS, rows);
}

/** One row per report of a link, and one for a link without reports; sorted by link, then by reporting node. */
export function printLinksCsv(document: SurveyDocument): string {
  const slice = sliceSecondsOf(document);
  const rows = linksOf(document).flatMap((link): Cell[][] => {
    if (link.reports.length === 0) {
      const [a, b] = link.dialer === link.ends[1] ? [link.ends[1], link.ends[0]] : link.ends;
      const row: Cell[] = [a, b, link.dialer === undefined ? undefined : "nodeDialedPeer"];
      return [[...row, ...LINK_COLUMNS.slice(row.length).map(() => undefined)]];
    }
    return link.reports.map((report) => reportRow(document, link, report, slice));
  });
  return print(LINK_COLUMNS, rows);
}

function reportRow(document: SurveyDocument, link: Link, report: LinkReport, slice: number | undefined): Cell[] {
  const { data, by, peer, list } = report;
  const has = (name: string) => !data.absent?.includes(name);
  const rates = ratesOf(data, slice);
  return [
    by,
    peer,
    list === "outbound" ? "nodeDialedPeer" : "peerDialedNode",
    has("version") ? remote(data.version) : undefined,
    otherEnd(document, link, peer),
    link.disagreements.join(" "),
    ...PEER_COUNTERS.map((name) => has(name) ? data[name] : undefined),
    has("averageLatencyMs") ? data.averageLatencyMs : undefined,
    ...RATE_NAMES.map((name) => rates[name]),
    ratio(link.flows.find((flow) => flow.from === by)?.gapRatio),
    ratio(link.flows.find((flow) => flow.to === by)?.gapRatio),
  ];
}

/** What the other end of a reported link says of it. */
export type OtherEnd = "reported" | "missing" | "incomplete" | "noAnswer" | "unknown";

/** What `peer` says of a link that the other end reported. `incomplete`: it answered, but not all pages of its lists are here. */
export function otherEnd(document: SurveyDocument, link: Link, peer: string): OtherEnd {
  if (link.reports.some((report) => report.by === peer)) return "reported";
  if (document.linkReports !== "perSide") return "unknown";
  const node = document.nodes.get(peer);
  return node === undefined ? "noAnswer" : isComplete(node) ? "missing" : "incomplete";
}

/** All counters of several reports added up. */
function sumOf(reports: readonly PeerData[]): Counters {
  const sums = Object.fromEntries(SUMMED.map((name) => [name, 0n])) as unknown as Record<string, bigint>;
  const absent = new Set<string>();
  for (const report of reports) {
    for (const name of SUMMED) sums[name] += report[name];
    for (const name of report.absent ?? []) absent.add(name);
  }
  return { ...sums, ...(absent.size > 0 && { absent: [...absent] }) } as unknown as Counters;
}

function print(columns: readonly string[], rows: readonly Cell[][]): string {
  return stringify(rows.map((row) => row.map((cell) => typeof cell === "bigint" ? String(cell) : cell)), {
    header: true,
    columns: columns.map((key) => ({ key })),
    record_delimiter: "windows",
    // A version string may begin as a formula does, and spreadsheets would run it.
    escape_formulas: true,
  });
}

function remote(text: string | undefined): string | undefined {
  return text === undefined ? undefined : escapeRemoteText(text);
}

function flag(value: boolean): string {
  return value ? "true" : "false";
}

function ratio(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(value * 1e6) / 1e6;
}
