/** Figures derived from a report: what went through per second, and how much of it was wanted. */
import { type PeerData, sliceMsOf, type SurveyDocument } from "./types.ts";

/** Derived figures of one report, or of several added up. Undefined where they cannot be told. */
export interface Rates {
  /** Per second over the slice; a reported connection lived all of it. */
  messagesReadPerSecond?: number;
  messagesWrittenPerSecond?: number;
  bytesReadPerSecond?: number;
  bytesWrittenPerSecond?: number;
  /** Duplicates over all received, 0 to 1; undefined when nothing was received. */
  duplicateFloodBytesRatio?: number;
  duplicateFloodMessageRatio?: number;
  duplicateFetchBytesRatio?: number;
  duplicateFetchMessageRatio?: number;
}

/** Names of {@link Rates}, in the order files list them. */
export const RATE_NAMES = [
  "messagesReadPerSecond",
  "messagesWrittenPerSecond",
  "bytesReadPerSecond",
  "bytesWrittenPerSecond",
  "duplicateFloodBytesRatio",
  "duplicateFloodMessageRatio",
  "duplicateFetchBytesRatio",
  "duplicateFetchMessageRatio",
] as const satisfies readonly (keyof Rates)[];

/** The counters that {@link ratesOf} works on. */
export type Counters = Omit<PeerData, "nodeId" | "version" | "averageLatencyMs" | "secondsConnected">;

/** Length of the slice in seconds, when the document tells it. */
export function sliceSecondsOf(document: SurveyDocument): number | undefined {
  const ms = sliceMsOf(document);
  return ms === undefined ? undefined : ms / 1000;
}

/** The rates of a report. Ratios have six decimals, rates three. */
export function ratesOf(counters: Counters, sliceSeconds: number | undefined): Rates {
  const missing = (name: string) => counters.absent?.includes(name) === true;
  const perSecond = (name: "messagesRead" | "messagesWritten" | "bytesRead" | "bytesWritten") =>
    sliceSeconds === undefined || missing(name) ? undefined : round(Number(counters[name]) / sliceSeconds, 3);
  const ratio = (kind: "FloodBytes" | "FloodMessage" | "FetchBytes" | "FetchMessage") => {
    const unique = `unique${kind}Recv` as const, duplicate = `duplicate${kind}Recv` as const;
    const all = counters[unique] + counters[duplicate];
    if (missing(unique) || missing(duplicate) || all === 0n) return undefined;
    return round(Number(counters[duplicate]) / Number(all), 6);
  };
  return {
    messagesReadPerSecond: perSecond("messagesRead"),
    messagesWrittenPerSecond: perSecond("messagesWritten"),
    bytesReadPerSecond: perSecond("bytesRead"),
    bytesWrittenPerSecond: perSecond("bytesWritten"),
    duplicateFloodBytesRatio: ratio("FloodBytes"),
    duplicateFloodMessageRatio: ratio("FloodMessage"),
    duplicateFetchBytesRatio: ratio("FetchBytes"),
    duplicateFetchMessageRatio: ratio("FetchMessage"),
  };
}

function round(value: number, decimals: number): number {
  const scale = 10 ** decimals;
  return Math.round(value * scale) / scale;
}
