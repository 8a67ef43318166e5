/**
 * Who may stay: decisions about connections that arrive, connections that are dialed, and peers that authenticated. Pure: the
 * owner performs what they say. Source: stellar-core OverlayManagerImpl.cpp; peers.md sections 6 and 7.
 */
import type { DropOrder } from "../auth/handshake.ts";
import type { Role } from "../auth/session_keys.ts";
import { compareBytes, toHex } from "../base/bytes.ts";
import { type OverlayConfig, POSSIBLY_PREFERRED_EXTRA } from "../base/config.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import { decodeNodeId, encodeNodeId } from "../crypto/strkey.ts";

/** What admission needs to know of a peer. */
export interface ListedPeer {
  /** 32 bytes. */
  readonly nodeId: Uint8Array;
  /** The IP of its socket and its listening port. */
  readonly address: PeerAddress;
}

/** The authenticated peers by who dialed. At most one per node id. */
export interface PeerLists<P extends ListedPeer> {
  inbound: Iterable<P>;
  outbound: Iterable<P>;
}

/** Whether a peer that authenticated may stay; every answer says why in a sentence. */
export type Admission<P extends ListedPeer> =
  | { do: "admit"; reason: string }
  /** Drop `victim` as `drop` says, then admit. */
  | { do: "evict"; victim: P; drop: DropOrder; reason: string }
  | { do: "reject"; drop: DropOrder; reason: string };

/** Whether a connection may start its handshake. */
export type PendingVerdict =
  | { do: "accept"; reason: string }
  /** A connection without an object is closed without a byte; one that has an object is dropped as `drop` says. */
  | { do: "refuse"; drop: DropOrder; reason: string };

/**
 * Decides about a peer right after its AUTH. Preferred peers are admitted while their list has room, else in place of the
 * non-preferred peer with the lowest node id. Others are admitted while there is room, unless only preferred ones may stay.
 * Source: stellar-core OverlayManagerImpl.cpp acceptAuthenticatedPeer.
 */
export function admit<P extends ListedPeer>(
  peer: ListedPeer & { readonly role: Role },
  lists: PeerLists<P>,
  config: Pick<OverlayConfig, "targetPeerConnections" | "maxAdditionalPeerConnections" | "preferredPeersOnly">,
  isPreferred: (peer: ListedPeer) => boolean,
): Admission<P> {
  const outbound = peer.role === "weCalledRemote";
  const list = [...(outbound ? lists.outbound : lists.inbound)];
  const most = outbound ? config.targetPeerConnections : config.maxAdditionalPeerConnections;
  const direction = outbound ? "outbound" : "inbound";
  const full = list.length >= most;
  const preferred = isPreferred(peer);
  if (preferred && full) {
    const victim = lowestNodeId(list.filter((other) => !isPreferred(other)));
    if (victim !== undefined) {
      const reason = `all ${most} ${direction} slots are taken, and a preferred peer takes the place of ` +
        `${encodeNodeId(victim.nodeId)}, which is not preferred`;
      return { do: "evict", victim, drop: load("preferred peer selected instead", reason), reason };
    }
    return reject(`all ${most} ${direction} slots are taken by preferred peers`);
  }
  if (full) return reject(`all ${most} ${direction} slots are taken`);
  if (preferred) {
    return { do: "admit", reason: `it is preferred, and ${list.length} of ${most} ${direction} slots are taken` };
  }
  if (config.preferredPeersOnly) return reject("it is not preferred, and only preferred peers are admitted");
  return { do: "admit", reason: `${list.length} of ${most} ${direction} slots are taken` };
}

/** What counts against the inbound pending slots. */
export interface InboundPending {
  /** Connections in the handshake that others dialed. */
  pendingInbound: number;
  /** Live connection objects that others dialed: pending, authenticated, and dropped ones whose socket has not closed. */
  liveInbound: number;
  /** Authenticated peers that dialed us. */
  authenticatedInbound: number;
  shuttingDown: boolean;
}

/**
 * Decides about a connection that arrives from `ip`. A connection that was dropped keeps its slot until its socket closed, so
 * that a storm of reconnects keeps out itself. Two more slots are for IPs that preferred peers have.
 * Source: stellar-core OverlayManagerImpl.cpp haveSpaceForConnection, maybeAddInboundConnection.
 */
export function acceptPending(
  ip: string,
  state: InboundPending,
  config: Pick<OverlayConfig, "maxInboundPendingConnections">,
  isPossiblyPreferred: (ip: string) => boolean,
): PendingVerdict {
  const most = config.maxInboundPendingConnections;
  const used = Math.max(state.pendingInbound, state.liveInbound - state.authenticatedInbound);
  const refuse = (why: string): PendingVerdict => refusal("all pending inbound connections are taken", why);
  if (state.shuttingDown) return refuse("the node is stopping");
  if (used < most) return { do: "accept", reason: `${used} of ${most} pending inbound slots are taken` };
  if (used >= most + POSSIBLY_PREFERRED_EXTRA) {
    return refuse(
      `all ${most} pending inbound slots and the ${POSSIBLY_PREFERRED_EXTRA} for preferred peers are taken`,
    );
  }
  if (!isPossiblyPreferred(ip)) return refuse(`all ${most} pending inbound slots are taken`);
  return {
    do: "accept",
    reason: `all ${most} pending inbound slots are taken, and ${ip} is the IP of a preferred peer`,
  };
}

/**
 * Decides about a dial: before it, where a refusal is not counted as a failure, and again when its connection is registered.
 * Source: stellar-core OverlayManagerImpl.cpp canAcceptOutboundPeer, addOutboundConnection.
 */
export function acceptDial(
  state: { pendingOutbound: number; shuttingDown: boolean },
  config: Pick<OverlayConfig, "maxOutboundPendingConnections">,
): PendingVerdict {
  const most = config.maxOutboundPendingConnections;
  if (state.pendingOutbound >= most) {
    return refusal("all outbound connections taken", `all ${most} pending outbound slots are taken`);
  }
  if (state.shuttingDown) return refusal("all outbound connections taken", "the node is stopping");
  return { do: "accept", reason: `${state.pendingOutbound} of ${most} pending outbound slots are taken` };
}

/**
 * Who is preferred: resolved addresses of the configuration, and node ids. An address is only as good as the IP of the socket
 * and an announced port. Source: stellar-core OverlayManagerImpl.cpp isPreferred, isPossiblyPreferred.
 */
export class PreferredPeers {
  /** Node ids in hex. BOUNDED: by the configuration. */
  readonly #keys: ReadonlySet<string>;
  /** BOUNDED: by the configuration. */
  #addresses: ReadonlySet<string> = new Set();
  #hosts: ReadonlySet<string> = new Set();

  /** `keys` are strkey node ids. Throws `invalid_argument` for another text. */
  constructor(keys: Iterable<string> = [], addresses: Iterable<PeerAddress> = []) {
    this.#keys = new Set(Array.from(keys, (key) => toHex(decodeNodeId(key))));
    this.setAddresses(addresses);
  }

  /** Replaces the resolved addresses. */
  setAddresses(addresses: Iterable<PeerAddress>): void {
    const list = [...addresses];
    this.#addresses = new Set(list.map(formatAddress));
    this.#hosts = new Set(list.map((address) => address.host));
  }

  /** Whether a peer that authenticated is preferred, by its address or its node id. */
  has(peer: ListedPeer): boolean {
    return this.hasAddress(peer.address) || (this.#keys.size > 0 && this.#keys.has(toHex(peer.nodeId)));
  }

  /** Whether an address is preferred: all that is known at HELLO. */
  hasAddress(address: PeerAddress): boolean {
    return this.#addresses.has(formatAddress(address));
  }

  /** Whether a preferred address has this IP, whatever its port: all that is known when a connection arrives. */
  hasHost(ip: string): boolean {
    return this.#hosts.has(ip);
  }
}

function lowestNodeId<P extends ListedPeer>(peers: readonly P[]): P | undefined {
  return peers.reduce<P | undefined>(
    (low, peer) => low === undefined || compareBytes(peer.nodeId, low.nodeId) < 0 ? peer : low,
    undefined,
  );
}

function load(text: string, why: string): DropOrder {
  return { reason: text, error: "ERR_LOAD", failure: { code: "local_close", reason: `${text}: ${why}` } };
}

function reject(reason: string): { do: "reject"; drop: DropOrder; reason: string } {
  return { do: "reject", drop: load("peer rejected", reason), reason };
}

/** Without an ERROR_MSG: nothing has been said yet on such a connection. */
function refusal(text: string, reason: string): PendingVerdict {
  return {
    do: "refuse",
    drop: { reason: text, failure: { code: "local_close", reason: `${text}: ${reason}` } },
    reason,
  };
}
