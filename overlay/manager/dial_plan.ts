/**
 * Whom to dial at a tick, and whom to let go when the node is out of sync. The decisions are pure; addresses come from the
 * functions given. Source: stellar-core OverlayManagerImpl.cpp tick, connectTo, updateTimerAndMaybeDropRandomPeer; peers.md
 * sections 4 and 5.
 */
import type { DropOrder } from "../auth/handshake.ts";
import { MIN_INBOUND_FACTOR, type OverlayConfig } from "../base/config.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import type { Random } from "../base/random.ts";
import type { PeerType } from "../db/random_peer_source.ts";

/** Most addresses asked for per type and tick. Source: OverlayManagerImpl.cpp getPeersToConnectTo. */
const MAX_PER_TYPE = 50;
/** Pending slots that outbound dials leave for the promotion of inbound addresses. Source: OverlayManagerImpl.cpp tick. */
const RESERVED_FOR_PROMOTION = 1;

/** An authenticated peer that we dialed. */
export interface OutboundPeer {
  readonly address: PeerAddress;
  readonly preferred: boolean;
}

/** What a tick looks at. */
export interface DialState<P extends OutboundPeer> {
  /** Monotonic, ms. */
  nowMs: number;
  /** Whether a new ledger was seen lately: false after `consensusStuckMs` without one. */
  tracking: boolean;
  /** {@link DialPlan.outOfSyncSinceMs} of the last tick. */
  outOfSyncSinceMs: number | undefined;
  /** Connections in the handshake that we dialed. */
  pendingOutbound: number;
  /** Authenticated peers that we dialed. */
  outbound: readonly P[];
  /** How many authenticated peers dialed us. */
  authenticatedInbound: number;
}

/** Where the plan gets what it needs. */
export interface DialSources {
  /** Up to `size` random addresses of a type that pass `keep`: the sources of RandomPeerSource with `dialQuery`. */
  randomPeers(type: PeerType, size: number, keep: (address: PeerAddress) => boolean): PeerAddress[];
  /** Who dialed the connection with (IP, listening port), pending or authenticated; outbound when there are two. */
  connectionAt(address: PeerAddress): "inbound" | "outbound" | undefined;
  random: Random;
}

/** One thing to do; `reason` is a sentence. */
export type DialStep<P extends OutboundPeer> =
  | { do: "dial"; address: PeerAddress; type: PeerType; reason: string }
  | { do: "drop"; peer: P; drop: DropOrder; reason: string };

/** What a tick does, in this order. Before each dial its failure is counted in the address book. */
export interface DialPlan<P extends OutboundPeer> {
  steps: DialStep<P>[];
  /** When the out-of-sync clock started; undefined while tracking. */
  outOfSyncSinceMs: number | undefined;
}

type DialConfig = Pick<
  OverlayConfig,
  | "targetPeerConnections"
  | "skipConnectionAdjustment"
  | "dialBeyondTarget"
  | "maxOutboundPendingConnections"
  | "outOfSyncReconnectMs"
>;

/**
 * Plans one tick: preferred addresses first, for free and for non-preferred slots alike; then the out-of-sync rule; then
 * outbound addresses for free slots; then inbound ones for all pending slots that are left, whatever the number of peers,
 * or for free slots alone where the configuration says so.
 * No address is dialed twice.
 */
export function planTick<P extends OutboundPeer>(
  state: DialState<P>,
  config: DialConfig,
  sources: DialSources,
): DialPlan<P> {
  let pendingSlots = Math.max(0, config.maxOutboundPendingConnections - state.pendingOutbound);
  if (pendingSlots === 0) return { steps: [], outOfSyncSinceMs: state.outOfSyncSinceMs };

  const steps: DialStep<P>[] = [];
  const dialed = new Set<string>();
  let dropped: P | undefined;
  const dial = (type: PeerType, size: number, reason: string) => {
    if (size <= 0) return;
    const keep = (address: PeerAddress) => {
      const text = formatAddress(address);
      if (dialed.has(text)) return false;
      if (dropped !== undefined && text === formatAddress(dropped.address)) return true;
      const connection = sources.connectionAt(address);
      return connection === undefined || (connection === "inbound" && type === "inbound");
    };
    for (const address of sources.randomPeers(type, Math.min(size, MAX_PER_TYPE), keep)) {
      const text = formatAddress(address);
      if (dialed.has(text)) continue;
      dialed.add(text);
      pendingSlots--;
      steps.push({ do: "dial", address, type, reason });
    }
  };

  const target = outboundTarget(state.authenticatedInbound, config);
  const freeSlots = (authenticated: number) => Math.max(0, target - authenticated);
  const free = freeSlots(state.outbound.length);
  const others = state.outbound.filter((peer) => !peer.preferred);
  const slotsForPreferred = Math.min(pendingSlots, free + others.length);
  dial(
    "preferred",
    slotsForPreferred,
    `${free} slots are free and ${others.length} taken by peers that are not preferred`,
  );

  const sync = outOfSyncStep(
    { ...state, mayDrop: free === 0 && pendingSlots > 0, candidates: others },
    config.outOfSyncReconnectMs,
    sources.random,
  );
  if (sync.drop !== undefined) {
    dropped = sync.drop;
    const text = "random disconnect due to out of sync";
    const seconds = Math.floor((state.nowMs - state.outOfSyncSinceMs!) / 1000);
    const reason = `no ledger arrives for ${seconds} s, and all outbound slots are taken: another peer may know more`;
    const drop: DropOrder = { reason: text, error: "ERR_LOAD", failure: { code: "local_close", reason: text } };
    steps.push({ do: "drop", peer: dropped, drop, reason });
  }

  const freeNow = freeSlots(state.outbound.length - (dropped === undefined ? 0 : 1));
  if (pendingSlots > 0 && freeNow > 0) {
    const size = pendingSlots > RESERVED_FOR_PROMOTION
      ? Math.min(pendingSlots - RESERVED_FOR_PROMOTION, freeNow)
      : pendingSlots;
    dial("outbound", size, `${freeNow} outbound slots are free`);
  }
  if (config.dialBeyondTarget) {
    dial("inbound", pendingSlots, `${pendingSlots} pending slots are left to try addresses that never answered a dial`);
  } else {
    const left = Math.min(pendingSlots, freeNow - dialed.size - state.pendingOutbound);
    dial("inbound", left, `${left} outbound slots are free and nobody better is known`);
  }
  return { steps, outOfSyncSinceMs: sync.sinceMs };
}

/**
 * How many outbound peers a tick aims at: the target, but at most 3 while nobody dialed us, so that a node that cannot be
 * reached does not take more slots than it gives. Upstream aims at 3 then even when the target is lower; its admission rejects
 * what is above. Source: stellar-core OverlayManagerImpl.cpp availableOutboundAuthenticatedSlots.
 */
export function outboundTarget(
  authenticatedInbound: number,
  config: Pick<OverlayConfig, "targetPeerConnections" | "skipConnectionAdjustment">,
): number {
  const { targetPeerConnections: target, skipConnectionAdjustment } = config;
  return authenticatedInbound > 0 || skipConnectionAdjustment ? target : Math.min(MIN_INBOUND_FACTOR, target);
}

/**
 * The out-of-sync clock: starts at the first tick out of sync, stops when the node tracks again. Once more than `delayMs`
 * passed and a peer may be dropped, a random candidate is, and the clock starts again, also when there is no candidate.
 * Source: stellar-core OverlayManagerImpl.cpp updateTimerAndMaybeDropRandomPeer.
 */
export function outOfSyncStep<P>(
  state: {
    nowMs: number;
    tracking: boolean;
    outOfSyncSinceMs: number | undefined;
    /** No outbound slot is free, and a pending one is. */
    mayDrop: boolean;
    /** Authenticated outbound peers that are not preferred. */
    candidates: readonly P[];
  },
  delayMs: number,
  random: Random,
): { sinceMs: number | undefined; drop?: P } {
  const { nowMs, outOfSyncSinceMs: sinceMs, candidates } = state;
  if (state.tracking) return { sinceMs: undefined };
  if (sinceMs === undefined) return { sinceMs: nowMs };
  if (nowMs - sinceMs <= delayMs || !state.mayDrop) return { sinceMs };
  if (candidates.length === 0) return { sinceMs: nowMs };
  return { sinceMs: nowMs, drop: candidates[random.int(candidates.length)] };
}
