/** Pages of one node put together. A survey answer holds at most 25 peers of each list, and upstream keeps the latest page only. */
import type { PeerData, SurveyDocument, SurveyedNode } from "./types.ts";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/**
 * Order of two node ids by their bytes, which is how stellar-core sorts the lists of an answer. It differs from the order of
 * the texts: in base 32 the digits come after the letters. Other texts are compared as texts, after all node ids.
 */
export function compareNodeIds(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] === b[i]) continue;
    const x = BASE32.indexOf(a[i]), y = BASE32.indexOf(b[i]);
    return x >= 0 && y >= 0 ? x - y : a < b ? -1 : 1;
  }
  return a.length - b.length;
}

/**
 * What is known of a node after one more page. The page's figures replace the older ones (the data is frozen, so they are
 * equal); its peers join those known, and replace them where both name the same peer. Lists come out in upstream's order.
 * BOUNDED by 25 entries per list and page: how many pages are asked for is the caller's limit.
 */
export function mergePage(known: SurveyedNode | undefined, page: SurveyedNode): SurveyedNode {
  return {
    ...page,
    inboundPeers: mergeList(known?.inboundPeers ?? [], page.inboundPeers),
    outboundPeers: mergeList(known?.outboundPeers ?? [], page.outboundPeers),
  };
}

function mergeList(known: readonly PeerData[], page: readonly PeerData[]): PeerData[] {
  const peers = new Map(known.map((peer) => [peer.nodeId, peer]));
  for (const peer of page) peers.set(peer.nodeId, peer);
  return sortPeers([...peers.values()]);
}

/** Sorts a list in place, in the order of stellar-core's answers. */
export function sortPeers(peers: PeerData[]): PeerData[] {
  return peers.sort((a, b) => compareNodeIds(a.nodeId, b.nodeId));
}

/** Whether the lists of a node hold as many peers as it says it has. */
export function isComplete(node: SurveyedNode): boolean {
  return node.inboundPeers.length >= node.data.numTotalInboundPeers &&
    node.outboundPeers.length >= node.data.numTotalOutboundPeers;
}

/** Every node that belongs to the graph: answered, named by one that did, or named by the file. Sorted as texts. */
export function nodesOf(document: SurveyDocument): string[] {
  const ids = new Set([...document.nodes.keys(), ...document.versions.keys(), ...document.attributes.keys()]);
  for (const node of document.nodes.values()) {
    for (const peer of node.inboundPeers) ids.add(peer.nodeId);
    for (const peer of node.outboundPeers) ids.add(peer.nodeId);
  }
  for (const { from, to } of document.looseLinks) ids.add(from).add(to);
  return [...ids].sort();
}

/**
 * The version string of every node of which one is known. Where peers reported different ones the last report counts, nodes
 * taken in the order of their ids as texts, inbound lists first: as OverlaySurvey.py does.
 */
export function versionsOf(document: SurveyDocument): Map<string, string> {
  const versions = new Map(document.versions);
  for (const id of [...document.nodes.keys()].sort()) {
    const node = document.nodes.get(id)!;
    for (const peer of [...node.inboundPeers, ...node.outboundPeers]) {
      if (!peer.absent?.includes("version")) versions.set(peer.nodeId, peer.version);
    }
  }
  return versions;
}
