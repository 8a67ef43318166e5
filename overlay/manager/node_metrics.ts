/**
 * Feeds the metrics of a node: what connections report while it happens, what the parts of the node count themselves, and the
 * gauges. Source: stellar-core OverlayMetrics.cpp and the places that mark its meters.
 */
import { QUEUE_NAMES, type QueueName, type TrafficMeter } from "../connection/traffic_meter.ts";
import type { OverlayMetrics } from "../metrics/overlay_metrics.ts";
import type { Drop, Peer } from "../peer/peer.ts";
import type { SurveyPhase } from "../survey/surveyor.ts";
import type { MessageFlow } from "./message_flow.ts";
import type { PeerLists } from "./peer_lists.ts";

/** The meter of all connections of a node. */
export function trafficMeter(metrics: OverlayMetrics): TrafficMeter {
  const { counters } = metrics;
  return {
    read: (type, bytes) => metrics.read(type, bytes),
    written: (type, bytes) => metrics.written(type, bytes),
    socketRead: () => void counters.asyncReads++,
    socketWrite: (queuedMs) => {
      counters.asyncWrites++;
      metrics.observe("writeQueueDelay", queuedMs);
    },
    socketWritten: (tookMs) => metrics.observe("asyncWriteDelay", tookMs),
    queueDelay: (queue, ms) => metrics.observe("outboundQueueDelay", ms, queue),
    pinged: (rttMs) => metrics.observe("connectionLatency", rttMs),
  };
}

/** Our own words for a drop that no failure code tells apart. */
const OWN_REASONS = new Map([
  ["peer rejected", "peer_rejected"],
  ["preferred peer selected instead", "evicted"],
  ["random disconnect due to out of sync", "out_of_sync"],
  ["dropped by user", "dropped_by_user"],
  ["node is banned", "banned"],
  ["shutdown", "shutdown"],
]);

/** The label a drop is counted under: a failure code, or one of our own reasons; never text of the remote. */
export function dropLabel(drop: Drop): string {
  const { code } = drop.failure;
  return code === "local_close" && drop.by === "us" ? OWN_REASONS.get(drop.reason) ?? code : code;
}

/** System words for a write that failed. */
const WRITE_ERRORS = new Set(["EPIPE", "ERR_STREAM_WRITE_AFTER_END", "EAI_AGAIN"]);

/** Counts the end of a connection. `authenticated`: it had been admitted. */
export function countDrop(metrics: OverlayMetrics, peer: Peer, drop: Drop, authenticated: boolean): void {
  metrics.count(peer.role === "remoteCalledUs" ? "inboundDrops" : "outboundDrops", dropLabel(drop));
  const { counters } = metrics;
  const { failure } = drop;
  switch (failure.code) {
    case "idle_timeout":
    case "handshake_timeout":
      counters.idleTimeouts++;
      break;
    case "straggling":
      counters.stragglerTimeouts++;
      break;
    case "frame_oversized":
    case "frame_malformed":
      counters.readErrors++;
      break;
    case "connection_lost":
      // Upstream counts the end of an authenticated connection as a failed read.
      if (WRITE_ERRORS.has(failure.reason)) counters.writeErrors++;
      else if (authenticated) counters.readErrors++;
      break;
  }
}

/** What connections count themselves; theirs is added up when it is asked for, and kept when they end. */
export class PeerTotals {
  readonly #lists: PeerLists;
  readonly #gone = zero();

  constructor(lists: PeerLists) {
    this.#lists = lists;
  }

  /** A connection ended. */
  ended(peer: Peer): void {
    addPeer(this.#gone, peer);
  }

  /** Over all connections, living and ended. */
  sum(): Totals {
    const sum: Totals = { ...this.#gone, discarded: { ...this.#gone.discarded } };
    for (const { peer } of this.#lists.members()) addPeer(sum, peer);
    return sum;
  }
}

interface Totals {
  readThrottles: number;
  floodThrottles: number;
  /** Everything that was thrown away before it was sent. */
  dropped: number;
  discarded: Record<QueueName, number>;
}

function zero(): Totals {
  return { readThrottles: 0, floodThrottles: 0, dropped: 0, discarded: { scp: 0, txs: 0, demand: 0, advert: 0 } };
}

function addPeer(sum: Totals, peer: Peer): void {
  const { flowControl } = peer;
  sum.readThrottles += peer.metrics.readThrottles;
  sum.floodThrottles += flowControl.timesBlocked;
  sum.dropped += flowControl.discarded + flowControl.replaced;
  const { droppedByQueue } = flowControl;
  for (const queue of QUEUE_NAMES) sum.discarded[queue] += droppedByQueue[queue];
}

/** By the number that the gauge shows. */
const PHASES: readonly SurveyPhase[] = ["inactive", "collecting", "reporting"];

/** Names the sources of the gauges, and of the counters that other parts keep. */
export function collectFrom(
  metrics: OverlayMetrics,
  parts: {
    lists: PeerLists;
    flow: MessageFlow;
    totals: PeerTotals;
    inSync: () => boolean;
    survey: { phase: SurveyPhase };
  },
): void {
  const { lists, flow, totals, inSync, survey } = parts;
  const { dispatcher, floodgate, scp, traffic: { demands, transactions } } = flow;
  metrics.onCollect(() => {
    const { counters } = metrics;
    counters.demandedHashes = demands.counts.demandedHashes;
    counters.demandTimeouts = demands.counts.timeouts;
    counters.abandonedDemands = demands.counts.abandoned;
    counters.fulfilledDemands = demands.counts.fulfilled;
    counters.unknownDemands = demands.counts.unknown;
    counters.bannedDemands = demands.counts.banned;
    counters.fetchRetries = dispatcher.counts.retries;
    counters.queriesOverLimit = dispatcher.counts.overLimit;
    const sum = totals.sum();
    counters.readThrottles = sum.readThrottles;
    counters.floodThrottles = sum.floodThrottles;
    counters.droppedMessages = sum.dropped;
    for (const queue of QUEUE_NAMES) metrics.setCount("queueDiscards", queue, sum.discarded[queue]);
  });
  metrics.gauge("pendingPeers", () => ({
    inbound: lists.pendingOf("remoteCalledUs"),
    outbound: lists.pendingOf("weCalledRemote"),
  }));
  metrics.gauge("authenticatedPeers", () => ({ inbound: lists.inbound.size, outbound: lists.outbound.size }));
  metrics.gauge("liveInbound", () => lists.liveInbound);
  metrics.gauge("floodRecords", () => floodgate.size);
  metrics.gauge("queuedMessages", () => {
    const queued = zero().discarded;
    for (const { peer } of lists.members()) {
      const { queuedByQueue } = peer.flowControl;
      for (const queue of QUEUE_NAMES) queued[queue] += queuedByQueue[queue];
    }
    return queued;
  });
  metrics.gauge("demandRecords", () => demands.size);
  metrics.gauge("transactions", () => transactions.size);
  metrics.gauge("fetchingItems", () => {
    const { quorumSets, txSets } = dispatcher.fetching;
    return { quorumSet: quorumSets, txSet: txSets };
  });
  metrics.gauge("waitingEnvelopes", () => dispatcher.waiting);
  metrics.gauge("cachedItems", () => ({ quorumSet: dispatcher.quorumSets.size, txSet: dispatcher.txSets.size }));
  metrics.gauge("cachedBytes", () => ({ quorumSet: dispatcher.quorumSets.bytes, txSet: dispatcher.txSets.bytes }));
  metrics.gauge("trackedLedger", () => scp.tracking ?? 0);
  metrics.gauge("inSync", () => inSync() ? 1 : 0);
  metrics.gauge("surveyPhase", () => PHASES.indexOf(survey.phase));
}
