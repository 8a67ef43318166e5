/** Survey documents made of a list of links, for tests of what is made of them. */
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { emptyDocument, type NodeData, type PeerData, type SurveyDocument } from "../../survey/topology/types.ts";

/**
 * A node id by number below 2^24; ids rise with it, as texts too. The number is written with the letters A to P in places 3 to
 * 8 of the text: base 32 has its digits behind its letters, text order before them.
 */
export function nodeIdOf(index: number): string {
  const key = new Uint8Array(32);
  for (let digit = 0; digit < 6; digit++) {
    const value = Math.floor(index / 16 ** (5 - digit)) % 16;
    // Two bits of the key share a letter with the version byte; then each letter takes five.
    for (let bit = 0; bit < 5; bit++) {
      const at = 2 + 5 * digit + bit;
      if ((value >> (4 - bit)) & 1) key[at >> 3] |= 0x80 >> (at & 7);
    }
  }
  return encodeNodeId(key);
}

/** Figures of a node of which nothing special is said. */
export function plainNode(inbound: number, outbound: number): NodeData {
  return {
    addedAuthenticatedPeers: 0,
    droppedAuthenticatedPeers: 0,
    numTotalInboundPeers: inbound,
    numTotalOutboundPeers: outbound,
    p75SCPFirstToSelfLatencyMs: 100,
    p75SCPSelfToOtherLatencyMs: 100,
    lostSyncCount: 0,
    isValidator: false,
    maxInboundPeerCount: 64,
    maxOutboundPeerCount: 8,
  };
}

/** A report of a peer of which nothing special is said. */
export function plainPeer(nodeId: string, figures: Partial<PeerData> = {}): PeerData {
  return {
    nodeId,
    version: "v27.0.0",
    messagesRead: 1000n,
    messagesWritten: 1000n,
    bytesRead: 500_000n,
    bytesWritten: 500_000n,
    secondsConnected: 5000n,
    uniqueFloodBytesRecv: 200_000n,
    duplicateFloodBytesRecv: 200_000n,
    uniqueFetchBytesRecv: 1000n,
    duplicateFetchBytesRecv: 0n,
    uniqueFloodMessageRecv: 400n,
    duplicateFloodMessageRecv: 400n,
    uniqueFetchMessageRecv: 2n,
    duplicateFetchMessageRecv: 0n,
    averageLatencyMs: 80,
    ...figures,
  };
}

/**
 * A survey of the graph with the given links (who dialed first), in which every node answers but the `silent` ones. `data` and
 * `peer` set figures apart: of a node, and of what `by` reports of `of`.
 */
export function surveyOf(
  order: number,
  links: readonly (readonly [number, number])[],
  options: {
    silent?: readonly number[];
    data?: (node: number) => Partial<NodeData>;
    peer?: (by: number, of: number) => Partial<PeerData>;
  } = {},
): SurveyDocument {
  const document = emptyDocument();
  document.nonce = 7;
  document.network = "local";
  document.startedAtMs = Date.UTC(2026, 0, 1, 12);
  document.stoppedAtMs = document.startedAtMs + 1000_000;
  const silent = new Set(options.silent);
  for (let node = 0; node < order; node++) {
    const nodeId = nodeIdOf(node);
    document.states.set(nodeId, silent.has(node) ? "silent" : "answered");
    if (silent.has(node)) continue;
    const of = (other: number) => plainPeer(nodeIdOf(other), options.peer?.(node, other));
    const inboundPeers = links.filter(([, dialed]) => dialed === node).map(([dialer]) => of(dialer));
    const outboundPeers = links.filter(([dialer]) => dialer === node).map(([, dialed]) => of(dialed));
    document.nodes.set(nodeId, {
      nodeId,
      data: { ...plainNode(inboundPeers.length, outboundPeers.length), ...options.data?.(node) },
      inboundPeers,
      outboundPeers,
    });
  }
  return document;
}
