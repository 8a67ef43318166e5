/**
 * Upstream's counters of one peer, as the `peers` command and the survey report them. Plain numbers; what the owner alone
 * can know (whether a message was new) the owner counts here. Source: stellar-core Peer.h PeerMetrics; survey.md section 8.
 */
import type { Connection } from "../connection/connection.ts";
import type { FlowControl } from "../connection/flow_control.ts";
import { RecentSamples } from "../connection/recent_samples.ts";

/** The counters of a peer at one moment. */
export interface PeerMetricsSnapshot {
  messageRead: number;
  messageWrite: number;
  /** Bytes of the stream, headers included. */
  byteRead: number;
  byteWrite: number;
  /** Reads and writes of the socket. */
  asyncRead: number;
  asyncWrite: number;
  /** Messages to the peer that were thrown away before they were sent. */
  messageDrop: number;
  /** 75th percentiles, ms. */
  messageDelayInWriteQueueP75: number;
  messageDelayInAsyncWriteP75: number;
  /** Flood and survey messages that nobody, or somebody, had sent us before; bytes of StellarMessages. */
  uniqueFloodMessageRecv: number;
  uniqueFloodBytesRecv: number;
  duplicateFloodMessageRecv: number;
  duplicateFloodBytesRecv: number;
  /** The same for transaction sets and quorum sets. */
  uniqueFetchMessageRecv: number;
  uniqueFetchBytesRecv: number;
  duplicateFetchMessageRecv: number;
  duplicateFetchBytesRecv: number;
  /** Upstream's `pull_mode`: 75th percentile of the time from a demand to its transaction, ms; hashes others were asked for in vain. */
  pullLatencyP75: number;
  demandTimeouts: number;
  /** Median of the pings of the last 300 s, ms; 0 without any. */
  latencyMedianMs: number;
  /** How often, and for how long in all, reading paused because too much was being processed; ms. */
  readThrottles: number;
  readThrottleMs: number;
  /** The same for flood messages that waited for the peer's credit. */
  floodThrottles: number;
  floodThrottleMs: number;
  /** Whole seconds since the connection began. */
  secondsConnected: number;
}

/** Counters of one peer. */
export class PeerMetrics {
  uniqueFloodMessages = 0;
  uniqueFloodBytes = 0;
  duplicateFloodMessages = 0;
  duplicateFloodBytes = 0;
  uniqueFetchMessages = 0;
  uniqueFetchBytes = 0;
  duplicateFetchMessages = 0;
  duplicateFetchBytes = 0;
  readThrottles = 0;
  readThrottleMs = 0;
  /** Hashes demanded from this peer after others had been asked in vain. */
  demandTimeouts = 0;
  /** From a demand to the transaction, ms. */
  readonly pullLatency = new RecentSamples();
  /** Round trips, ms. */
  readonly latency = new RecentSamples();
  readonly #connection: Connection;
  readonly #flowControl: FlowControl;
  readonly #startedMs: number;

  constructor(connection: Connection, flowControl: FlowControl, startedMs: number) {
    this.#connection = connection;
    this.#flowControl = flowControl;
    this.#startedMs = startedMs;
  }

  /** A flood or survey message came; `isNew`: its hash was seen from nobody before. */
  countFlood(isNew: boolean, bytes: number): void {
    if (isNew) {
      this.uniqueFloodMessages++;
      this.uniqueFloodBytes += bytes;
    } else {
      this.duplicateFloodMessages++;
      this.duplicateFloodBytes += bytes;
    }
  }

  /** A transaction set or quorum set came. */
  countFetch(isNew: boolean, bytes: number): void {
    if (isNew) {
      this.uniqueFetchMessages++;
      this.uniqueFetchBytes += bytes;
    } else {
      this.duplicateFetchMessages++;
      this.duplicateFetchBytes += bytes;
    }
  }

  /** All counters now. */
  snapshot(nowMs: number): PeerMetricsSnapshot {
    const { counters, writeQueueDelays, writeDelays } = this.#connection;
    const flowControl = this.#flowControl;
    return {
      messageRead: counters.messagesRead,
      messageWrite: counters.messagesWritten,
      byteRead: counters.bytesRead,
      byteWrite: counters.bytesWritten,
      asyncRead: counters.reads,
      asyncWrite: counters.writes,
      messageDrop: flowControl.discarded + flowControl.replaced,
      messageDelayInWriteQueueP75: writeQueueDelays.percentile(0.75, nowMs),
      messageDelayInAsyncWriteP75: writeDelays.percentile(0.75, nowMs),
      uniqueFloodMessageRecv: this.uniqueFloodMessages,
      uniqueFloodBytesRecv: this.uniqueFloodBytes,
      duplicateFloodMessageRecv: this.duplicateFloodMessages,
      duplicateFloodBytesRecv: this.duplicateFloodBytes,
      uniqueFetchMessageRecv: this.uniqueFetchMessages,
      uniqueFetchBytesRecv: this.uniqueFetchBytes,
      duplicateFetchMessageRecv: this.duplicateFetchMessages,
      duplicateFetchBytesRecv: this.duplicateFetchBytes,
      pullLatencyP75: this.pullLatency.percentile(0.75, nowMs),
      demandTimeouts: this.demandTimeouts,
      latencyMedianMs: this.latency.percentile(0.5, nowMs),
      readThrottles: this.readThrottles,
      readThrottleMs: this.readThrottleMs,
      floodThrottles: flowControl.timesBlocked,
      floodThrottleMs: flowControl.blockedMs,
      secondsConnected: Math.floor((nowMs - this.#startedMs) / 1000),
    };
  }
}
