/** Traffic, duplicates and latency of links, from what their ends counted over the slice. */
import { type GraphLink, reportOf, type SurveyGraph } from "./graph.ts";
import type { PeerData } from "./types.ts";

/** What went one way over a link during the slice. */
export interface Traffic {
  from: string;
  to: string;
  /** As the receiving end counted when it reported, else as the sending one did. */
  countedBy: "receiver" | "sender";
  messages: bigint;
  /** Wire bytes, the 4-byte headers included. */
  bytes: bigint;
  /** Undefined when the slice's length is not known. */
  messagesPerSecond?: number;
  bytesPerSecond?: number;
  /**
   * Difference between bytes written at one end and read at the other, over the larger. Ends freeze their counters some seconds
   * apart, so a few percent are normal. Undefined unless both reported.
   */
  gapRatio?: number;
  /** Flood traffic as `to` received it; undefined when it did not report. */
  flood?: Duplicates;
  /** Median ping that `to` measured, ms; undefined without report or samples. */
  latencyMs?: number;
}

/** What was received of flooded or fetched items: first copies and others. */
export interface Duplicates {
  uniqueMessages: bigint;
  duplicateMessages: bigint;
  uniqueBytes: bigint;
  duplicateBytes: bigint;
  /** Duplicates among all, by messages and by bytes; undefined when there were none of either. */
  messageRatio?: number;
  byteRatio?: number;
}

/** Traffic of one link, both ways: first end to second, second to first. */
export interface LinkTraffic {
  link: GraphLink;
  ways: [Traffic, Traffic];
}

/** Percentiles of a list of measurements. */
export interface Percentiles {
  count: number;
  min: number;
  p50: number;
  p75: number;
  p90: number;
  p99: number;
  max: number;
}

/**
 * Traffic of the links that at least one end reported, where the file tells which end. `sliceSeconds`: the time between START
 * and STOP, when known.
 */
export function linkTraffic(graph: SurveyGraph, sliceSeconds: number | undefined): LinkTraffic[] {
  return graph.links.filter((link) => link.attributed && link.reports.length > 0).flatMap((link) => {
    const ways = link.flows.map(({ from, to, gapRatio }): Traffic | undefined => {
      const received = reportOf(link, to), sent = reportOf(link, from);
      const counted = received !== undefined && has(received, "messagesRead", "bytesRead")
        ? { countedBy: "receiver" as const, messages: received.messagesRead, bytes: received.bytesRead }
        : sent !== undefined && has(sent, "messagesWritten", "bytesWritten")
        ? { countedBy: "sender" as const, messages: sent.messagesWritten, bytes: sent.bytesWritten }
        : undefined;
      return counted && {
        from,
        to,
        ...counted,
        ...(sliceSeconds !== undefined && sliceSeconds > 0 && {
          messagesPerSecond: Number(counted.messages) / sliceSeconds,
          bytesPerSecond: Number(counted.bytes) / sliceSeconds,
        }),
        ...(gapRatio !== undefined && { gapRatio }),
        ...(received && has(received, ...FLOOD_FIELDS) && { flood: floodDuplicates([received]) }),
        ...(received && received.averageLatencyMs > 0 && { latencyMs: received.averageLatencyMs }),
      };
    });
    return ways[0] === undefined || ways[1] === undefined ? [] : [{ link, ways: [ways[0], ways[1]] }];
  });
}

const FLOOD_FIELDS = [
  "uniqueFloodMessageRecv",
  "duplicateFloodMessageRecv",
  "uniqueFloodBytesRecv",
  "duplicateFloodBytesRecv",
] as const;
const FETCH_FIELDS = [
  "uniqueFetchMessageRecv",
  "duplicateFetchMessageRecv",
  "uniqueFetchBytesRecv",
  "duplicateFetchBytesRecv",
] as const;

function has(report: PeerData, ...fields: (keyof PeerData)[]): boolean {
  return report.absent === undefined || !fields.some((field) => report.absent!.includes(field));
}

/** All reports of the graph's links, whichever end made them. */
export function reportsOf(graph: SurveyGraph): PeerData[] {
  return graph.links.flatMap(({ reports }) => reports.map((report) => report.data));
}

/** Flood traffic of many reports together. */
export function floodDuplicates(reports: readonly PeerData[]): Duplicates {
  return duplicates(reports, FLOOD_FIELDS);
}

/** Fetched transaction sets and quorum sets of many reports together. */
export function fetchDuplicates(reports: readonly PeerData[]): Duplicates {
  return duplicates(reports, FETCH_FIELDS);
}

function duplicates(reports: readonly PeerData[], fields: typeof FLOOD_FIELDS | typeof FETCH_FIELDS): Duplicates {
  const [uniqueMessages, duplicateMessages, uniqueBytes, duplicateBytes] = fields
    .map((field) => reports.reduce((sum, report) => sum + report[field], 0n));
  const messageRatio = ratio(duplicateMessages, uniqueMessages), byteRatio = ratio(duplicateBytes, uniqueBytes);
  return {
    uniqueMessages,
    duplicateMessages,
    uniqueBytes,
    duplicateBytes,
    ...(messageRatio !== undefined && { messageRatio }),
    ...(byteRatio !== undefined && { byteRatio }),
  };
}

function ratio(part: bigint, rest: bigint): number | undefined {
  return part + rest === 0n ? undefined : Number(part) / Number(part + rest);
}

/** Percentiles by nearest rank: each is one of the values. Undefined without values. */
export function percentiles(values: readonly number[]): Percentiles | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  return {
    count: sorted.length,
    min: sorted[0],
    p50: at(0.5),
    p75: at(0.75),
    p90: at(0.9),
    p99: at(0.99),
    max: sorted[sorted.length - 1],
  };
}
