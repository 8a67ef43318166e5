/**
 * The connections of a node: dialing, in the handshake, authenticated by direction, and those that were dropped and whose
 * socket may not have closed. Source: stellar-core OverlayManagerImpl.h PeersList.
 */
import type { Role } from "../auth/session_keys.ts";
import type { Timer } from "../base/clock.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import type { TxAdverts } from "../flood/tx_adverts.ts";
import type { Peer } from "../peer/peer.ts";
import type { PeerMetrics } from "../peer/peer_metrics.ts";
import type { StellarMessage } from "../wire/messages.ts";

/** An authenticated peer as the rest of the engine, and a program that embeds it, sees it. One object per connection. */
export interface AuthenticatedPeer {
  /** `G...` */
  readonly nodeId: string;
  /** IP of its socket, port it listens on. */
  readonly address: PeerAddress;
  /** Who dialed. */
  readonly role: Role;
  /** Whether it was preferred when it was admitted. */
  readonly preferred: boolean;
  /** The connection itself. */
  readonly peer: Peer;
  /** Its counters. */
  readonly metrics: PeerMetrics;
  /** Last ping, ms; undefined while unknown. */
  readonly latencyMs: number | undefined;
  /** Sends a message under flow control. False after a drop. */
  send(message: StellarMessage | Uint8Array): boolean;
}

/** What the node keeps per authenticated connection. */
export interface Member extends AuthenticatedPeer {
  readonly adverts: TxAdverts;
}

/** Makes the entry of a peer that is admitted now. */
export function memberOf(peer: Peer, address: PeerAddress, preferred: boolean, adverts: TxAdverts): Member {
  return {
    peer,
    nodeId: peer.nodeIdText!,
    address,
    role: peer.role,
    preferred,
    adverts,
    metrics: peer.metrics,
    get latencyMs() {
      return peer.latencyMs;
    },
    send: (message) => peer.send(message),
  };
}

/** A dial under way. */
export interface DialEntry {
  readonly address: PeerAddress;
  readonly startedMs: number;
  cancel(): void;
}

/** See the head of this file. */
export class PeerLists {
  /** Authenticated peers by node id. BOUNDED: by the configured targets. */
  readonly inbound = new Map<string, Member>();
  readonly outbound = new Map<string, Member>();
  /** The same by connection. */
  readonly #byPeer = new Map<Peer, Member>();
  /** Connections before admission, and what is known of them. BOUNDED: by the pending slots. */
  readonly pending = new Map<Peer, { address: PeerAddress | undefined }>();
  /** Dials under way, by address. BOUNDED: by the pending slots. */
  readonly dialing = new Map<string, DialEntry>();
  /** Dropped connections, and the timer after which their socket has closed. BOUNDED: by the slots, for the close delay. */
  readonly closing = new Map<Peer, Timer>();

  /** The authenticated peer with this node id. */
  member(nodeId: string): Member | undefined {
    return this.outbound.get(nodeId) ?? this.inbound.get(nodeId);
  }

  /** The entry of a connection; undefined before admission and after the drop. */
  of(peer: Peer): Member | undefined {
    return this.#byPeer.get(peer);
  }

  /** The authenticated peers, those we dialed first. */
  *members(): Generator<Member> {
    yield* this.outbound.values();
    yield* this.inbound.values();
  }

  /** Their node ids. */
  *nodeIds(): Generator<string> {
    yield* this.outbound.keys();
    yield* this.inbound.keys();
  }

  /** How many there are. */
  get size(): number {
    return this.#byPeer.size;
  }

  /** Moves a pending connection into its list. */
  admit(member: Member): void {
    this.pending.delete(member.peer);
    (member.role === "weCalledRemote" ? this.outbound : this.inbound).set(member.nodeId, member);
    this.#byPeer.set(member.peer, member);
  }

  /** Takes a connection out of its list; the entry it had as an authenticated one. */
  remove(peer: Peer): Member | undefined {
    this.pending.delete(peer);
    const member = this.#byPeer.get(peer);
    if (member === undefined) return undefined;
    this.#byPeer.delete(peer);
    (member.role === "weCalledRemote" ? this.outbound : this.inbound).delete(member.nodeId);
    return member;
  }

  /** Connections in the handshake that one side dialed; those we are still dialing count too. */
  pendingOf(role: Role): number {
    let pending = role === "weCalledRemote" ? this.dialing.size : 0;
    for (const peer of this.pending.keys()) if (peer.role === role) pending++;
    return pending;
  }

  /** Connections that others dialed whose socket has not closed. */
  get liveInbound(): number {
    let live = this.inbound.size + this.pendingOf("remoteCalledUs");
    for (const peer of this.closing.keys()) if (peer.role === "remoteCalledUs") live++;
    return live;
  }

  /** IP and listening port of a connection, as far as known. */
  addressOf(peer: Peer): PeerAddress {
    const known = this.#byPeer.get(peer)?.address ?? this.pending.get(peer)?.address;
    return known ?? { host: peer.remote.host, port: peer.hello?.listeningPort ?? peer.remote.port };
  }

  /** Who dialed the connection with an address; outbound when there are two. */
  connectionAt(address: PeerAddress): "inbound" | "outbound" | undefined {
    const text = formatAddress(address);
    if (this.dialing.has(text)) return "outbound";
    let found: "inbound" | "outbound" | undefined;
    for (const [peer, pending] of this.pending) {
      if (pending.address === undefined || formatAddress(pending.address) !== text) continue;
      if (peer.role === "weCalledRemote") return "outbound";
      found = "inbound";
    }
    for (const member of this.outbound.values()) if (formatAddress(member.address) === text) return "outbound";
    for (const member of this.inbound.values()) if (formatAddress(member.address) === text) found = "inbound";
    return found;
  }
}
