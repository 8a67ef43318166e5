/**
 * What a node records for a survey, and the phases of one: a snapshot of all counters at START, their differences at STOP, frozen
 * for the reporting phase. Pure: time and peers are handed in. Source: stellar-core SurveyDataManager.cpp; survey.md sections 2, 8.
 */
import type { Role } from "../auth/session_keys.ts";
import { compareBytes } from "../base/bytes.ts";
import type { Peer } from "../peer/peer.ts";
import type { PeerMetrics, PeerMetricsSnapshot } from "../peer/peer_metrics.ts";
import type { PeerStats, SurveyTopology, TimeSlicedNodeData, TimeSlicedPeerData } from "../wire/survey_messages.ts";
import type { SurveyPhase, SurveyState } from "./surveyor.ts";

/** Longest collecting. Source: stellar-core SurveyDataManager.cpp COLLECTING_PHASE_MAX_DURATION. */
export const COLLECTING_MAX_MS = 30 * 60_000;
/** Reporting, from the end of collecting. Source: stellar-core SurveyDataManager.cpp REPORTING_PHASE_MAX_DURATION. */
export const REPORTING_MS = 3 * 3600_000;
/** Entries of each list in an answer. Source: Stellar-overlay.x `TimeSlicedPeerDataList`. */
export const PEERS_PER_PAGE = 25;

/** An authenticated connection. The object is the connection: after a reconnect it is another. */
export interface SurveyPeer {
  /** `G...` */
  readonly nodeId: string;
  readonly role: Role;
  readonly peer: Pick<Peer, "nodeId" | "hello" | "sendErrorAndDrop">;
  readonly metrics: Pick<PeerMetrics, "snapshot" | "latency">;
}

/** What the configuration says about a node's answers. */
export interface SurveySettings {
  readonly isValidator: boolean;
  /** Most peers that dial us, and that we dial. */
  readonly maxInbound: number;
  readonly maxOutbound: number;
  /** Length of either phase, ms; upstream's {@link COLLECTING_MAX_MS} and {@link REPORTING_MS} when absent. */
  readonly phaseMs?: number;
}

/** What happened by itself. */
export type PhaseChange = "stopped" | "ended";

interface Slice {
  readonly nonce: number;
  readonly surveyorId: string;
  readonly startedMs: number;
  /** Counters at START of the connections that still live. BOUNDED: by the peers connected then. */
  readonly initial: Map<SurveyPeer, PeerMetricsSnapshot>;
  readonly firstToSelf: MsCounts;
  readonly selfToOther: MsCounts;
  added: number;
  dropped: number;
  lostSync: number;
  stoppedMs: number | undefined;
  /** Whole lists. BOUNDED: by `initial`. */
  frozen: SurveyTopology | undefined;
}

/** See the head of this file. One survey at a time. */
export class SurveyDataManager {
  readonly #settings: SurveySettings;
  #slice: Slice | undefined;

  constructor(settings: SurveySettings) {
    this.#settings = settings;
  }

  get phase(): SurveyPhase {
    if (this.#slice === undefined) return "inactive";
    return this.#slice.stoppedMs === undefined ? "collecting" : "reporting";
  }

  get nonce(): number | undefined {
    return this.#slice?.nonce;
  }

  /** `G...` of who sent START. */
  get surveyorId(): string | undefined {
    return this.#slice?.surveyorId;
  }

  get state(): SurveyState {
    const { phase } = this;
    if (this.#slice === undefined) {
      const none = undefined;
      return { phase, nonce: none, surveyorId: none, startedMs: none, stoppedMs: none, phaseEndsMs: none };
    }
    const { nonce, surveyorId, startedMs, stoppedMs } = this.#slice;
    return { phase, nonce, surveyorId, startedMs, stoppedMs, phaseEndsMs: this.#endsMs(this.#slice) };
  }

  /** Begins to collect; false while a survey is active. `inSync`: whether the node follows the network now. */
  start(
    survey: { nonce: number; surveyorId: string },
    nowMs: number,
    peers: Iterable<SurveyPeer>,
    inSync: boolean,
  ): boolean {
    if (this.#slice !== undefined) return false;
    this.#slice = {
      ...survey,
      startedMs: nowMs,
      initial: new Map(Array.from(peers, (peer) => [peer, peer.metrics.snapshot(nowMs)])),
      firstToSelf: new MsCounts(),
      selfToOther: new MsCounts(),
      added: 0,
      dropped: 0,
      lostSync: inSync ? 0 : 1,
      stoppedMs: undefined,
      frozen: undefined,
    };
    return true;
  }

  /** Takes part in the reporting of a survey of ours without data of our own; false while a survey is active. */
  resume(survey: { nonce: number; surveyorId: string }, stoppedMs: number): boolean {
    if (!this.start(survey, stoppedMs, [], true)) return false;
    this.#slice!.stoppedMs = stoppedMs;
    return true;
  }

  /** Freezes the data, if this survey is the one that collects. */
  stop(survey: { nonce: number; surveyorId: string }, nowMs: number): boolean {
    const slice = this.#slice;
    if (slice === undefined || slice.stoppedMs !== undefined) return false;
    if (slice.nonce !== survey.nonce || slice.surveyorId !== survey.surveyorId) return false;
    this.#freeze(slice, nowMs);
    return true;
  }

  /** The tick: ends a phase that lasted too long. Source: stellar-core SurveyDataManager.cpp updateSurveyPhase. */
  update(nowMs: number): PhaseChange | undefined {
    const slice = this.#slice;
    if (slice === undefined || !(nowMs > this.#endsMs(slice))) return undefined;
    if (slice.stoppedMs === undefined) {
      this.#freeze(slice, nowMs);
      return "stopped";
    }
    this.reset();
    return "ended";
  }

  /** Erases everything. */
  reset(): void {
    this.#slice = undefined;
  }

  /** A peer was authenticated. */
  added(): void {
    if (this.phase === "collecting") this.#slice!.added++;
  }

  /** An authenticated peer is gone. */
  dropped(peer: SurveyPeer): void {
    if (this.phase !== "collecting") return;
    this.#slice!.dropped++;
    this.#slice!.initial.delete(peer);
  }

  /** The node lost track of the network. */
  lostSync(): void {
    if (this.phase === "collecting") this.#slice!.lostSync++;
  }

  /** The node externalized a slot `ms` after it saw the first EXTERNALIZE of it. */
  firstToSelf(ms: number): void {
    if (this.phase === "collecting") this.#slice!.firstToSelf.add(ms);
  }

  /** Another node's EXTERNALIZE came after our own, `ms` after the first. */
  selfToOther(ms: number): void {
    if (this.phase === "collecting") this.#slice!.selfToOther.add(ms);
  }

  /** The frozen data with up to 25 entries of each list from an index on; undefined before reporting, or without data. */
  page(inboundIndex: number, outboundIndex: number): SurveyTopology | undefined {
    const frozen = this.#slice?.frozen;
    if (frozen === undefined) return undefined;
    const { inboundPeers, outboundPeers, nodeData } = frozen;
    return {
      inboundPeers: inboundPeers.slice(inboundIndex, inboundIndex + PEERS_PER_PAGE),
      outboundPeers: outboundPeers.slice(outboundIndex, outboundIndex + PEERS_PER_PAGE),
      nodeData,
    };
  }

  /** The same with whole lists: too long to be encoded when there are more than 25 peers. */
  whole(): SurveyTopology | undefined {
    return this.#slice?.frozen;
  }

  #endsMs(slice: Slice): number {
    const { phaseMs } = this.#settings;
    return slice.stoppedMs === undefined
      ? slice.startedMs + (phaseMs ?? COLLECTING_MAX_MS)
      : slice.stoppedMs + (phaseMs ?? REPORTING_MS);
  }

  #freeze(slice: Slice, nowMs: number): void {
    slice.stoppedMs = nowMs;
    const whole = [...slice.initial].sort(([a], [b]) => compareBytes(a.peer.nodeId!, b.peer.nodeId!));
    const data = (role: Role): TimeSlicedPeerData[] =>
      whole.filter(([peer]) => peer.role === role)
        .map(([peer, initial]) => peerDataOf(peer, initial, slice.startedMs, nowMs));
    const inboundPeers = data("remoteCalledUs"), outboundPeers = data("weCalledRemote");
    slice.initial.clear();
    const { isValidator, maxInbound, maxOutbound } = this.#settings;
    const nodeData: TimeSlicedNodeData = {
      addedAuthenticatedPeers: slice.added,
      droppedAuthenticatedPeers: slice.dropped,
      totalInboundPeerCount: inboundPeers.length,
      totalOutboundPeerCount: outboundPeers.length,
      p75SCPFirstToSelfLatencyMs: slice.firstToSelf.percentile(0.75),
      p75SCPSelfToOtherLatencyMs: slice.selfToOther.percentile(0.75),
      lostSyncCount: slice.lostSync,
      isValidator,
      maxInboundPeerCount: maxInbound,
      maxOutboundPeerCount: maxOutbound,
    };
    slice.frozen = { inboundPeers, outboundPeers, nodeData };
  }
}

/** One connection over the slice. Source: stellar-core SurveyDataManager.cpp finalizePeerData. */
function peerDataOf(
  peer: SurveyPeer,
  initial: PeerMetricsSnapshot,
  startedMs: number,
  nowMs: number,
): TimeSlicedPeerData {
  const final = peer.metrics.snapshot(nowMs);
  const over = (name: keyof PeerMetricsSnapshot) => BigInt(final[name] - initial[name]);
  const peerStats: PeerStats = {
    id: peer.peer.nodeId!,
    versionStr: peer.peer.hello!.versionStr,
    messagesRead: over("messageRead"),
    messagesWritten: over("messageWrite"),
    bytesRead: over("byteRead"),
    bytesWritten: over("byteWrite"),
    secondsConnected: BigInt(final.secondsConnected),
    uniqueFloodBytesRecv: over("uniqueFloodBytesRecv"),
    duplicateFloodBytesRecv: over("duplicateFloodBytesRecv"),
    uniqueFetchBytesRecv: over("uniqueFetchBytesRecv"),
    duplicateFetchBytesRecv: over("duplicateFetchBytesRecv"),
    uniqueFloodMessageRecv: over("uniqueFloodMessageRecv"),
    duplicateFloodMessageRecv: over("duplicateFloodMessageRecv"),
    uniqueFetchMessageRecv: over("uniqueFetchMessageRecv"),
    duplicateFetchMessageRecv: over("duplicateFetchMessageRecv"),
  };
  return { peerStats, averageLatencyMs: Math.floor(peer.metrics.latency.percentile(0.5, nowMs, startedMs)) };
}

/** Longest time told apart, ms. */
const MOST_MS = 3600_000;

/** Whole milliseconds, counted: percentiles over the whole slice. Upstream estimates them of samples. */
class MsCounts {
  /** How often each value came. BOUNDED: values have three digits, so there are fewer than 4,000 up to an hour. */
  readonly #counts = new Map<number, number>();
  #total = 0;

  add(ms: number): void {
    const value = rounded(Math.min(MOST_MS, Math.max(0, Math.floor(ms))));
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
    this.#total++;
  }

  /** The smallest value that a share `p` of all does not exceed; 0 without values. */
  percentile(p: number): number {
    let left = Math.ceil(p * this.#total);
    for (const [ms, count] of [...this.#counts].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return ms;
    }
    return 0;
  }
}

/** To three digits: steps of 10 ms from a second on, of 100 ms from ten. */
function rounded(ms: number): number {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, ms))) - 2);
  return Math.floor(ms / step) * step;
}
