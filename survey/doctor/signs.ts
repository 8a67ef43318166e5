/** Single signs in the evidence, each one question with one answer. Pure; findings and verdict read the same ones. */
import type { Evidence, PeersSample, Probe } from "./evidence.ts";
import { isHello } from "./next_question.ts";
import type { ScpEvidence } from "./scp_evidence.ts";

/** A node that did not externalize for so long is not in sync. Source: stellar-core HerderImpl.cpp, 35 s. */
export const STALE_MS = 35_000;
/** Silence that ends a handshake. Source: stellar-core Config.cpp PEER_AUTHENTICATION_TIMEOUT. */
export const SLOW_MS = 2000;
/** A smaller sample says nothing; and the share of answering addresses below which a sample is poor. */
const LEAST_SAMPLE = 4;
const POOR_SHARE = 0.2;

/** The conversation that went furthest: its facts are the node's. */
export function mainProbe(evidence: Evidence): Probe | undefined {
  let best: Probe | undefined, most = -1;
  for (const probe of evidence.probes) {
    if (!isHello(probe)) continue;
    const { state, stagesMs } = probe.visit;
    const depth = stagesMs.grant !== undefined ? 3 : state === "full" ? 2 : stagesMs.auth !== undefined ? 1 : 0;
    if (depth >= most) [best, most] = [probe, depth];
  }
  return best;
}

/** The ledger does not move, and what is told of it is old. */
export function isStale(scp: ScpEvidence): boolean {
  return !scp.advancing && (scp.closeTimeOffsetMs === undefined || scp.closeTimeOffsetMs <= -STALE_MS);
}

/** The slowest handshake stage, when it is slow enough for stellar-core to give up. */
export function slowStage(evidence: Evidence): { stage: string; ms: number } | undefined {
  let worst: { stage: string; ms: number } | undefined;
  const main = mainProbe(evidence);
  for (const stage of ["hello", "auth", "grant"] as const) {
    const ms = main?.visit.stagesMs[stage];
    if (ms !== undefined && ms >= SLOW_MS && ms > (worst?.ms ?? 0)) worst = { stage: stage.toUpperCase(), ms };
  }
  return worst;
}

/** Whether the port that the node announces leads to it; undefined when that was not found out. */
export function portAnswers(evidence: Evidence): boolean | undefined {
  const { announced } = evidence, main = mainProbe(evidence);
  if (main === undefined) return undefined;
  const { listeningPort } = main.visit.hello!;
  if (listeningPort === main.question.to.port) return true;
  if (listeningPort < 1 || listeningPort > 65535) return false;
  if (announced === undefined) return undefined;
  if (announced.visit.nodeId !== undefined) return announced.visit.nodeId === main.visit.nodeId;
  return announced.visit.state === "interrupted" ? undefined : false;
}

/** Addresses of the sample that answered. */
export function answering(sample: PeersSample): number {
  return sample.tried.filter((entry) => entry.answered).length;
}

/** Hardly anybody answers at the addresses it advertises. */
export function sampleIsPoor(sample: PeersSample): boolean {
  const { tried } = sample;
  return tried.length >= LEAST_SAMPLE && answering(sample) / tried.length < POOR_SHARE;
}
