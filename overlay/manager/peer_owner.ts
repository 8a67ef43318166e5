/**
 * What a connection asks of its node, and what it tells it: bans, duplicates, addresses, admission, and its end. Source:
 * stellar-core Peer.cpp (recvHello, recvAuth, recvPeers), OverlayManagerImpl.cpp (acceptAuthenticatedPeer, removePeer).
 */
import type { DropOrder } from "../auth/handshake.ts";
import { formatAddress, isDialable, type PeerAddress, wireOfAddress } from "../base/peer_address.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import { REALLY_DEAD_NUM_FAILURES_CUTOFF } from "../db/peer_manager.ts";
import { TxAdverts } from "../flood/tx_adverts.ts";
import type { Drop, Peer, PeerHandlers } from "../peer/peer.ts";
import type { ReceivedMessage } from "../wire/messages.ts";
import type { WireAddress } from "../wire/types.ts";
import { admit } from "./admission.ts";
import { countDrop } from "./node_metrics.ts";
import type { OverlayContext } from "./overlay_context.ts";
import { type Member, memberOf } from "./peer_lists.ts";

/** Addresses offered in PEERS. Source: stellar-core Peer.cpp sendPeers. */
const PEERS_TO_SEND = 50;

/** What the rest of the node hears. */
export interface PeerOwnerEvents {
  onMessage(peer: Peer, message: ReceivedMessage): Promise<void> | void;
  /** A peer was admitted, and its first grant is on its way. */
  onAuthenticated(member: Member): void;
  /** A connection ended; `member` when it had been authenticated. */
  onDropped(peer: Peer, member: Member | undefined, drop: Drop): void;
}

/** Ends a connection as an order of the handshake, of admission or of a plan says. */
export function dropAs(peer: Peer, order: DropOrder): void {
  if (order.error === undefined) peer.close(order.reason, order.failure);
  else peer.sendErrorAndDrop(order.error, order.reason, order.failure);
}

/** Ends that say nothing of the remote: what this node itself decided, and that the two are connected already. */
const OUR_OWN: ReadonlySet<string> = new Set(["local_close", "already_connected", "connecting_to_self"]);

/**
 * Notes in the address book how a dial ended before the remote admitted us, which its first grant tells: a full node refuses
 * only after its AUTH.
 */
function noteEnd(context: OverlayContext, peer: Peer, address: PeerAddress, drop: Drop): void {
  if (peer.role !== "weCalledRemote") return;
  const { peerManager, stored } = context;
  const { latencyMs } = peer;
  if (peer.times.firstGrantMs === undefined) {
    const { code } = drop.failure;
    if (!OUR_OWN.has(code)) stored(() => peerManager.noteDial(address, { code, nodeId: peer.nodeIdText }));
  } else if (latencyMs !== undefined) stored(() => peerManager.noteRtt(address, latencyMs));
}

/** The handlers of all connections of a node. */
export function peerHandlers(context: OverlayContext, events: PeerOwnerEvents): PeerHandlers {
  const { config, clock, lists, metrics, local, banManager, peerManager, preferred, stored } = context;

  /** Source: stellar-core Peer.cpp recvAuth, OverlayManagerImpl.cpp acceptAuthenticatedPeer. */
  const admitPeer = (peer: Peer): DropOrder | undefined => {
    const address = lists.addressOf(peer);
    if (peer.role === "weCalledRemote") stored(() => peerManager.update(address, { backoff: "reset" }));
    const listed = (member: Member) => ({
      nodeId: member.peer.nodeId!,
      address: member.address,
      peer: member.peer,
    });
    const verdict = admit(
      { nodeId: peer.nodeId!, address, role: peer.role },
      { inbound: [...lists.inbound.values()].map(listed), outbound: [...lists.outbound.values()].map(listed) },
      config,
      (who) => preferred.has(who),
    );
    if (verdict.do === "reject") return verdict.drop;
    if (verdict.do === "evict") dropAs(verdict.victim.peer, verdict.drop);
    const adverts = new TxAdverts({
      clock,
      limits: context.ledger,
      send: (message, hashes) => {
        metrics.counters.advertisedHashes += hashes;
        peer.send(message);
      },
      periodMs: config.floodAdvertPeriodMs,
    });
    const isPreferred = () => preferred.has({ nodeId: peer.nodeId!, address });
    lists.admit(memberOf(peer, address, isPreferred, adverts));
    return undefined;
  };

  const peersFor = (peer: Peer): WireAddress[] => {
    const exclude = { host: peer.remote.host, port: peer.hello!.listeningPort };
    const addresses = stored(() => peerManager.getPeersToSend(PEERS_TO_SEND, exclude)) ?? [];
    return addresses.flatMap((address) => {
      const found = wireOfAddress(address);
      return found === null ? [] : { ...found, numFailures: 0 };
    });
  };

  /** Source: stellar-core Peer.cpp recvPeers. */
  const learn = (peer: Peer, peers: WireAddress[]): void => {
    const found = peers.flatMap(({ ip, port }) => {
      if (ip.length !== 4 || port < 1 || port > 65535) return [];
      const address = { host: ip.join("."), port };
      // Upstream stores multicast, broadcast and "this host" too; nobody can be met there.
      if (!isDialable(address.host, config)) return [];
      if (address.host === peer.remote.host && port === local.listeningPort) return [];
      return address;
    });
    if (found.length > 0) stored(() => peerManager.ensureExists(...found));
  };

  const dropped = (peer: Peer, drop: Drop): void => {
    const address = lists.addressOf(peer);
    // A connection that was not open yet has no entry; its socket counts all the same.
    const member = lists.remove(peer);
    // Its socket closes within the close delay; until then it keeps its slot.
    const delayMs = drop.by === "remote" ? 0 : config.closeDelayMs;
    lists.closing.set(peer, clock.setTimer(delayMs, () => void lists.closing.delete(peer)));
    member?.adverts.close();
    countDrop(metrics, peer, drop, member !== undefined);
    const { by, reason, failure } = drop;
    const nodeId = peer.nodeIdText;
    noteEnd(context, peer, address, drop);
    context.log({ event: "dropped", address: formatAddress(address), nodeId, by, reason, failure });
    events.onDropped(peer, member, drop);
    if (context.stopping) return;
    stored(() => peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF, address.host));
  };

  return {
    isBanned: (nodeId) => banManager.banned(encodeNodeId(nodeId)) !== undefined,
    duplicateOf: (peer, nodeId) => {
      const text = encodeNodeId(nodeId);
      if (lists.member(text) !== undefined) return text.slice(0, 5);
      for (const other of lists.pending.keys()) {
        if (other !== peer && other.state === "gotHello" && other.nodeIdText === text) return text.slice(0, 5);
      }
      return undefined;
    },
    recordAddress: (peer) => {
      const address = { host: peer.remote.host, port: peer.hello!.listeningPort };
      const pending = lists.pending.get(peer);
      if (pending !== undefined) pending.address = address;
      const type = preferred.hasAddress(address)
        ? "preferred"
        : peer.role === "weCalledRemote"
        ? "outbound"
        : "inbound";
      stored(() => peerManager.update(address, { type, preferredKnown: true }));
    },
    peersToSend: peersFor,
    admit: admitPeer,
    onAuthenticated: (peer) => {
      const member = lists.of(peer);
      if (member === undefined) return;
      metrics.counters[peer.role === "weCalledRemote" ? "outboundEstablished" : "inboundEstablished"]++;
      metrics.observe("handshakeTime", clock.nowMs() - peer.times.startedMs);
      const { nodeId, role } = member;
      const address = formatAddress(member.address);
      context.log({ event: "authenticated", address, nodeId, role, versionStr: peer.hello!.versionStr });
      events.onAuthenticated(member);
    },
    onFirstGrant: (peer) => {
      if (peer.role !== "weCalledRemote") return;
      stored(() => peerManager.noteDial(lists.addressOf(peer), { code: null, nodeId: peer.nodeIdText }));
    },
    onPeers: learn,
    onMessage: (peer, message) => events.onMessage(peer, message),
    onDropped: dropped,
  };
}
