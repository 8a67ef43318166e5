/** What a running node shows over HTTP beside its metrics: its peers, and whether it is well. */
import type { OverlayManager, PeerSnapshot } from "../../overlay/manager/overlay_manager.ts";
import { jsonPage, metricsPages, type Pages } from "../pages.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import type { NodeObserver } from "./observer.ts";

/** How long a node may look for its first peers before it counts as unwell, ms. */
const STARTING_MS = 60_000;

/** Whether the node does what it is there for. */
export type Health = "ok" | "starting" | "no peers" | "out of sync";

/** The node's health. Without peers it is `starting` for a minute, then `no peers`; a node that dials nobody may wait for ever. */
export function healthOf(node: { peers: number; tracking: boolean; dials: boolean; uptimeMs: number }): Health {
  if (node.peers === 0 && node.dials) return node.uptimeMs < STARTING_MS ? "starting" : "no peers";
  return node.tracking ? "ok" : "out of sync";
}

/** All pages of a node. */
export function nodePages(node: OverlayManager, observer: NodeObserver): Pages {
  return {
    ...metricsPages(node.metrics),
    "/peers": {
      title: "the authenticated peers as stellar-core's `peers` shows them; ?fullkeys=true, ?compact=false",
      make: ({ query }) =>
        jsonPage(peersDocument(node.peers(), {
          fullKeys: query.get("fullkeys") === "true",
          compact: query.get("compact") !== "false",
        })),
    },
    "/health": {
      title: "status 200 while the node has peers and follows the network, else 503",
      make: () => {
        const status = observer.status();
        const { outbound, inbound, ledger, tracking, uptimeMs } = status;
        const health = healthOf({ peers: outbound + inbound, tracking, dials: !node.config.noDial, uptimeMs });
        const network = networkNameOf(toHex(node.local.networkId));
        const body = {
          schema: "stellar-overlay/health/1",
          health,
          network,
          nodeId: node.local.nodeIdText,
          outbound,
          inbound,
          ledger,
          tracking,
          uptimeMs,
        };
        return jsonPage(body, health === "ok" ? 200 : 503);
      },
    },
  };
}

/** The document of `/peers`. Source: stellar-core CommandHandler.cpp peers, Peer.cpp getJsonInfo. */
export function peersDocument(
  peers: readonly PeerSnapshot[],
  options: { fullKeys: boolean; compact: boolean },
): unknown {
  const rows = (role: PeerSnapshot["role"]) => {
    const list = peers.filter((peer) => peer.role === role).map((peer) => ({
      address: peer.address,
      elapsed: Math.floor(peer.connectedMs / 1000),
      id: options.fullKeys ? peer.nodeId : peer.nodeId.slice(0, 5),
      ...(peer.latencyMs === undefined ? {} : { latency: Math.round(peer.latencyMs) }),
      olver: peer.overlayVersion,
      ver: peer.versionStr,
      ...(options.compact ? {} : {
        message_read: peer.messagesRead,
        message_write: peer.messagesWritten,
        byte_read: peer.bytesRead,
        byte_write: peer.bytesWritten,
      }),
    }));
    return list.length === 0 ? null : list;
  };
  return { authenticated_peers: { inbound: rows("remoteCalledUs"), outbound: rows("weCalledRemote") } };
}
