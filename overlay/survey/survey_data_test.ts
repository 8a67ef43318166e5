import { test } from "node:test";
import assert from "node:assert/strict";
import type { Role } from "../auth/session_keys.ts";
import { RecentSamples } from "../connection/recent_samples.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import type { PeerMetricsSnapshot } from "../peer/peer_metrics.ts";
import type { Hello } from "../wire/types.ts";
import { COLLECTING_MAX_MS, REPORTING_MS, SurveyDataManager, type SurveyPeer } from "./survey_data.ts";

const SETTINGS = { isValidator: true, maxInbound: 64, maxOutbound: 8 };
const SURVEY = { nonce: 7, surveyorId: "GSURVEYOR" };

/** The counters that an answer is made of, and a factor for each, so that none can be taken for another. */
const COUNTERS = [
  ["messageRead", "messagesRead"],
  ["messageWrite", "messagesWritten"],
  ["byteRead", "bytesRead"],
  ["byteWrite", "bytesWritten"],
  ["uniqueFloodBytesRecv", "uniqueFloodBytesRecv"],
  ["duplicateFloodBytesRecv", "duplicateFloodBytesRecv"],
  ["uniqueFetchBytesRecv", "uniqueFetchBytesRecv"],
  ["duplicateFetchBytesRecv", "duplicateFetchBytesRecv"],
  ["uniqueFloodMessageRecv", "uniqueFloodMessageRecv"],
  ["duplicateFloodMessageRecv", "duplicateFloodMessageRecv"],
  ["uniqueFetchMessageRecv", "uniqueFetchMessageRecv"],
  ["duplicateFetchMessageRecv", "duplicateFetchMessageRecv"],
] as const;

class FakePeer implements SurveyPeer {
  /** Every counter is this many times its factor. */
  traffic = 0;
  readonly nodeId: string;
  readonly peer: SurveyPeer["peer"];
  readonly latency = new RecentSamples();
  readonly metrics = {
    latency: this.latency,
    snapshot: (nowMs: number): PeerMetricsSnapshot => ({
      ...({} as PeerMetricsSnapshot),
      ...Object.fromEntries(COUNTERS.map(([name], i) => [name, this.traffic * (i + 1)])),
      secondsConnected: Math.floor((nowMs + 500_000) / 1000),
    }),
  };

  constructor(n: number, readonly role: Role) {
    const nodeId = new Uint8Array(32).fill(n);
    this.nodeId = encodeNodeId(nodeId);
    const hello = { versionStr: `version ${n}` } as Hello;
    this.peer = { nodeId, hello, sendErrorAndDrop: () => assert.fail() };
  }
}

const inbound = (n: number) => new FakePeer(n, "remoteCalledUs");
const outbound = (n: number) => new FakePeer(n, "weCalledRemote");

function collecting(peers: FakePeer[], inSync = true): SurveyDataManager {
  const data = new SurveyDataManager(SETTINGS);
  assert.equal(data.start(SURVEY, 0, peers, inSync), true);
  return data;
}

test("SurveyDataManager goes through the phases, for the longest times when nobody stops it; both conditions are strict", () => {
  const data = new SurveyDataManager(SETTINGS);
  assert.deepEqual([data.phase, data.nonce, data.surveyorId, data.whole()], [
    "inactive",
    undefined,
    undefined,
    undefined,
  ]);
  assert.equal(data.update(1e9), undefined);
  assert.equal(data.stop(SURVEY, 0), false);
  assert.equal(data.start(SURVEY, 1000, [], true), true);
  assert.deepEqual(data.state, {
    phase: "collecting",
    ...SURVEY,
    startedMs: 1000,
    stoppedMs: undefined,
    phaseEndsMs: 1000 + COLLECTING_MAX_MS,
  });
  assert.equal(data.start({ nonce: 8, surveyorId: "G" }, 1000, [], true), false);
  assert.equal(data.update(1000 + COLLECTING_MAX_MS), undefined);
  const stoppedMs = 1000 + COLLECTING_MAX_MS + 1;
  assert.equal(data.update(stoppedMs), "stopped");
  assert.deepEqual([data.phase, data.nonce, data.state.stoppedMs], ["reporting", 7, stoppedMs]);
  assert.equal(data.start({ nonce: 8, surveyorId: "G" }, stoppedMs, [], true), false);
  assert.equal(data.update(stoppedMs + REPORTING_MS), undefined);
  assert.equal(data.update(stoppedMs + REPORTING_MS + 1), "ended");
  assert.deepEqual([data.phase, data.nonce, data.page(0, 0)], ["inactive", undefined, undefined]);
  assert.equal(data.start({ nonce: 8, surveyorId: "G" }, 0, [], true), true, "another survey may begin");
});

test("SurveyDataManager takes STOP of the same nonce and surveyor only, once; one length may replace both", () => {
  const data = new SurveyDataManager({ ...SETTINGS, phaseMs: 60_000 });
  data.start(SURVEY, 0, [], true);
  assert.equal(data.stop({ ...SURVEY, nonce: 8 }, 10), false);
  assert.equal(data.stop({ ...SURVEY, surveyorId: "GOTHER" }, 10), false);
  assert.equal(data.phase, "collecting");
  assert.equal(data.stop(SURVEY, 10), true);
  assert.equal(data.stop(SURVEY, 20), false);
  assert.deepEqual([data.state.stoppedMs, data.state.phaseEndsMs], [10, 60_010]);
});

test("SurveyDataManager reports differences over the slice, sorted by node id, of each list", () => {
  const peers = [inbound(9), outbound(5), inbound(3), inbound(6), outbound(1)];
  peers.forEach((peer, i) => (peer.traffic = 1000 * i));
  const data = collecting(peers);
  peers.forEach((peer, i) => (peer.traffic += i + 1));
  data.stop(SURVEY, 20_000);
  for (const peer of peers) peer.traffic += 1e6;
  const whole = data.whole()!;
  const ids = (list: typeof whole.inboundPeers) => list.map(({ peerStats }) => peerStats.id[0]);
  assert.deepEqual([ids(whole.inboundPeers), ids(whole.outboundPeers)], [[3, 6, 9], [1, 5]]);
  for (const { peerStats } of [...whole.inboundPeers, ...whole.outboundPeers]) {
    const at = peers.findIndex(({ peer }) => peer.nodeId![0] === peerStats.id[0]);
    COUNTERS.forEach(([, field], i) => assert.equal(peerStats[field], BigInt((at + 1) * (i + 1)), field));
    assert.equal(peerStats.secondsConnected, 520n, "since the connection was made");
    assert.equal(peerStats.versionStr, `version ${peerStats.id[0]}`);
  }
  assert.deepEqual(whole.nodeData, {
    addedAuthenticatedPeers: 0,
    droppedAuthenticatedPeers: 0,
    totalInboundPeerCount: 3,
    totalOutboundPeerCount: 2,
    p75SCPFirstToSelfLatencyMs: 0,
    p75SCPSelfToOtherLatencyMs: 0,
    lostSyncCount: 0,
    isValidator: true,
    maxInboundPeerCount: 64,
    maxOutboundPeerCount: 8,
  });
});

test("SurveyDataManager names only connections that lasted, and counts those that came and went", () => {
  const [stays, goes, comes, back] = [inbound(1), inbound(2), inbound(3), inbound(2)];
  const data = collecting([stays, goes]);
  data.dropped(goes);
  data.added();
  data.added();
  data.dropped(comes);
  data.lostSync();
  data.stop(SURVEY, 1000);
  // Nothing counts after the end, or before another begins.
  data.added();
  data.dropped(stays);
  data.dropped(back);
  data.lostSync();
  const { inboundPeers, nodeData } = data.whole()!;
  assert.deepEqual(inboundPeers.map(({ peerStats }) => peerStats.id[0]), [1]);
  assert.deepEqual(
    [nodeData.addedAuthenticatedPeers, nodeData.droppedAuthenticatedPeers, nodeData.lostSyncCount],
    [2, 2, 1],
  );
  const lost = collecting([], false);
  lost.lostSync();
  lost.stop(SURVEY, 1);
  assert.equal(lost.whole()!.nodeData.lostSyncCount, 2, "one more when it was out of sync at the start");
});

test("averageLatencyMs is the median of the pings since START, of the last five minutes at most", () => {
  const peer = inbound(1), silent = inbound(2);
  peer.latency.add(-1000, 9000);
  const data = collecting([peer, silent]);
  for (const [at, ms] of [[0, 8000], [400_000, 30.9], [405_000, 10], [410_000, 80]]) peer.latency.add(at, ms);
  data.stop(SURVEY, 420_000);
  assert.deepEqual(data.whole()!.inboundPeers.map(({ averageLatencyMs }) => averageLatencyMs), [30, 0]);
});

test("the SCP latencies are 75th percentiles of what was measured while collecting", () => {
  const data = collecting([]);
  for (let ms = 1; ms <= 100; ms++) {
    data.firstToSelf(ms + 0.5);
    data.selfToOther(10 * (101 - ms));
  }
  data.selfToOther(1e9);
  data.stop(SURVEY, 1);
  data.firstToSelf(1e6);
  const { nodeData } = data.whole()!;
  assert.deepEqual([nodeData.p75SCPFirstToSelfLatencyMs, nodeData.p75SCPSelfToOtherLatencyMs], [75, 760]);
});

test("page gives 25 of each list from its index on, and nothing beyond its end", () => {
  const peers = [...Array.from({ length: 60 }, (_, i) => inbound(i + 1)), ...[100, 101, 102].map(outbound)];
  const data = collecting(peers);
  assert.equal(data.page(0, 0), undefined, "not while collecting");
  data.stop(SURVEY, 1);
  const at = (inboundIndex: number, outboundIndex: number) => {
    const { inboundPeers, outboundPeers, nodeData } = data.page(inboundIndex, outboundIndex)!;
    assert.deepEqual([nodeData.totalInboundPeerCount, nodeData.totalOutboundPeerCount], [60, 3]);
    return [inboundPeers, outboundPeers].map((list) => [list.length, list[0]?.peerStats.id[0]]);
  };
  assert.deepEqual(at(0, 0), [[25, 1], [3, 100]]);
  assert.deepEqual(at(25, 1), [[25, 26], [2, 101]]);
  assert.deepEqual(at(50, 3), [[10, 51], [0, undefined]]);
  assert.deepEqual(at(59, 2 ** 32 - 1), [[1, 60], [0, undefined]]);
  assert.deepEqual(at(2 ** 32 - 1, 0), [[0, undefined], [3, 100]]);
  assert.equal(data.whole()!.inboundPeers.length, 60);
});

test("resume takes part in the reporting of a survey that another process began, without data", () => {
  const data = new SurveyDataManager(SETTINGS);
  assert.equal(data.resume(SURVEY, 5000), true);
  assert.deepEqual([data.phase, data.page(0, 0), data.whole()], ["reporting", undefined, undefined]);
  assert.equal(data.resume(SURVEY, 5000), false);
  assert.equal(data.update(5000 + REPORTING_MS + 1), "ended");
});
