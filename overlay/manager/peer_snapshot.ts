/**
 * The connections of a node as data: our own snapshot, and the JSON that upstream's `peers` command answers. Source:
 * stellar-core CommandHandler.cpp peers, Peer.cpp getJsonInfo, FlowControl.cpp getFlowControlJsonInfo; peers.md section 10.
 */
import type { Role } from "../auth/session_keys.ts";
import { formatAddress } from "../base/peer_address.ts";
import type { FlowControlState } from "../connection/flow_control.ts";
import type { PeerMetricsSnapshot } from "../peer/peer_metrics.ts";
import type { Member, PeerLists } from "./peer_lists.ts";

/** An authenticated peer as it stands. Times in ms. */
export interface PeerSnapshot {
  nodeId: string;
  /** `ip:port`, the port it listens on. */
  address: string;
  role: Role;
  preferred: boolean;
  /** Text of the remote: escape it for output. */
  versionStr: string;
  overlayVersion: number;
  connectedMs: number;
  /** Last ping; undefined while unknown. */
  latencyMs: number | undefined;
  messagesRead: number;
  messagesWritten: number;
  bytesRead: number;
  bytesWritten: number;
  /** Flood messages that wait for the peer's credit. */
  queuedMessages: number;
  flowControl: FlowControlState;
  metrics: PeerMetricsSnapshot;
}

/** A connection that is not authenticated yet. */
export interface PendingPeerSnapshot {
  /** `ip:port`; of a caller the port of its socket until its HELLO came. */
  address: string;
  role: Role;
  /** `dialing` before TCP is connected, `connected` before HELLO, `gotHello` before AUTH. */
  stage: "dialing" | "connected" | "gotHello";
  /** After HELLO. */
  nodeId: string | undefined;
  sinceMs: number;
}

/** One authenticated peer. */
export function snapshotOf(member: Member, nowMs: number): PeerSnapshot {
  const { peer } = member;
  const { messagesRead, messagesWritten, bytesRead, bytesWritten } = peer.connection.counters;
  return {
    nodeId: member.nodeId,
    address: formatAddress(member.address),
    role: member.role,
    preferred: member.preferred,
    versionStr: peer.hello!.versionStr,
    overlayVersion: peer.hello!.overlayVersion,
    connectedMs: nowMs - peer.times.startedMs,
    latencyMs: peer.latencyMs,
    messagesRead,
    messagesWritten,
    bytesRead,
    bytesWritten,
    queuedMessages: peer.flowControl.queued,
    flowControl: peer.flowControl.state(nowMs),
    metrics: member.metrics.snapshot(nowMs),
  };
}

/** All connections before admission: dials first. */
export function pendingOf(lists: PeerLists, nowMs: number): PendingPeerSnapshot[] {
  const dials = [...lists.dialing.values()].map((dial): PendingPeerSnapshot => ({
    address: formatAddress(dial.address),
    role: "weCalledRemote",
    stage: "dialing",
    nodeId: undefined,
    sinceMs: nowMs - dial.startedMs,
  }));
  const open = [...lists.pending.keys()].map((peer): PendingPeerSnapshot => ({
    address: formatAddress(lists.addressOf(peer)),
    role: peer.role,
    stage: peer.state === "gotHello" ? "gotHello" : "connected",
    nodeId: peer.nodeIdText,
    sinceMs: nowMs - peer.times.startedMs,
  }));
  return [...dials, ...open];
}

/** Upstream's latency of a peer that answered no ping: a day. Source: stellar-core Peer.cpp. */
const UNKNOWN_LATENCY_MS = 86_400_000;

/** A peer in upstream's answer; the fields after `ver` only when it is not compact. */
export interface CorePeerJson {
  address: string;
  /** Seconds. */
  elapsed: number;
  flow_control: Record<string, unknown>;
  id: string;
  /** ms; a day while unknown. */
  latency: number;
  olver: number;
  ver: string;
  [counter: string]: unknown;
}

/** Upstream's answer to `peers`. Lists are ordered by node id; an empty one is null. */
export interface CorePeersJson {
  authenticated_peers: { inbound: CorePeerJson[] | null; outbound: CorePeerJson[] | null };
  pending_peers: { inbound: string[] | null; outbound: string[] | null };
}

/**
 * The JSON of upstream's `peers` command at overlay 42, keys in its order (alphabetical). `fullKeys` gives whole node ids
 * instead of five letters; `compact`, true by default as upstream, leaves the counters out. Numbers above 2^53 lose digits.
 */
export function corePeersJson(
  snapshot: { peers: readonly PeerSnapshot[]; pending: readonly PendingPeerSnapshot[] },
  options: { fullKeys?: boolean; compact?: boolean } = {},
): CorePeersJson {
  const { fullKeys = false, compact = true } = options;
  const orNull = <T>(list: T[]): T[] | null => list.length === 0 ? null : list;
  const byId = (a: PeerSnapshot, b: PeerSnapshot) => a.nodeId < b.nodeId ? -1 : 1;
  const listed = (role: Role) =>
    orNull(
      snapshot.peers.filter((peer) => peer.role === role).sort(byId).map((peer) => corePeer(peer, fullKeys, compact)),
    );
  const waiting = (role: Role) =>
    orNull(snapshot.pending.filter((peer) => peer.role === role).map(({ address }) => address));
  return {
    authenticated_peers: { inbound: listed("remoteCalledUs"), outbound: listed("weCalledRemote") },
    pending_peers: { inbound: waiting("remoteCalledUs"), outbound: waiting("weCalledRemote") },
  };
}

function corePeer(peer: PeerSnapshot, fullKeys: boolean, compact: boolean): CorePeerJson {
  const { flowControl, metrics } = peer;
  const json = {
    address: peer.address,
    elapsed: metrics.secondsConnected,
    flow_control: sorted({
      local_capacity: sorted({ ...flowControl.localCapacity }),
      local_capacity_bytes: sorted({ ...flowControl.localCapacityBytes }),
      peer_capacity: Number(flowControl.peerCapacity),
      peer_capacity_bytes: Number(flowControl.peerCapacityBytes),
      ...(compact ? {} : Object.fromEntries(
        Object.entries(flowControl.outboundQueueDelayP75).map(([queue, ms]) =>
          [`outbound_queue_delay_${queue}_p75`, Math.floor(ms)] as const
        ),
      )),
    }),
    id: fullKeys ? peer.nodeId : peer.nodeId.slice(0, 5),
    latency: peer.latencyMs === undefined ? UNKNOWN_LATENCY_MS : Math.round(peer.latencyMs),
    olver: peer.overlayVersion,
    ver: peer.versionStr,
    ...(compact ? {} : {
      async_read: metrics.asyncRead,
      async_write: metrics.asyncWrite,
      byte_read: metrics.byteRead,
      byte_write: metrics.byteWrite,
      duplicate_fetch_message_recv: metrics.duplicateFetchMessageRecv,
      duplicate_flood_message_recv: metrics.duplicateFloodMessageRecv,
      message_delay_in_async_write_p75: Math.floor(metrics.messageDelayInAsyncWriteP75),
      message_delay_in_write_queue_p75: Math.floor(metrics.messageDelayInWriteQueueP75),
      message_drop: metrics.messageDrop,
      message_read: metrics.messageRead,
      message_write: metrics.messageWrite,
      pull_mode: { demand_timeouts: metrics.demandTimeouts, pull_latency: Math.floor(metrics.pullLatencyP75) },
      unique_fetch_message_recv: metrics.uniqueFetchMessageRecv,
      unique_flood_message_recv: metrics.uniqueFloodMessageRecv,
    }),
  };
  return sorted(json) as CorePeerJson;
}

/** The same object with its keys in alphabetical order. */
function sorted<T extends Record<string, unknown>>(object: T): T {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => a < b ? -1 : 1)) as T;
}
