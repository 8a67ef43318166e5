/** Networks as data, whose nodes tell their lists page by page: what a survey should find. */
import { type Random, shuffle } from "../../overlay/base/random.ts";
import type { SurveyPage } from "./backend.ts";
import { sortPeers } from "./merge.ts";
import { PAGE_ENTRIES } from "./planner.ts";
import { PEER_COUNTERS, type PeerData, type SurveyedNode } from "./types.ts";

/** Nodes with whole lists, by node id. */
export type NetworkModel = Map<string, SurveyedNode>;

/** A peer entry; its counters follow from the id, so that a mix-up shows. */
export function modelPeer(nodeId: string): PeerData {
  const base = [...nodeId].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  const counters = Object.fromEntries(PEER_COUNTERS.map((name, i) => [name, BigInt(base + i)]));
  return { nodeId, version: `v ${nodeId}`, averageLatencyMs: base % 100, ...counters } as unknown as PeerData;
}

/** A node with these lists, which are its totals. */
export function modelNode(nodeId: string, lists: Partial<SurveyedNode> = {}): SurveyedNode {
  const { inboundPeers = [], outboundPeers = [] } = lists;
  return {
    nodeId,
    data: {
      addedAuthenticatedPeers: 1,
      droppedAuthenticatedPeers: 2,
      numTotalInboundPeers: inboundPeers.length,
      numTotalOutboundPeers: outboundPeers.length,
      p75SCPFirstToSelfLatencyMs: 3,
      p75SCPSelfToOtherLatencyMs: 4,
      lostSyncCount: 0,
      isValidator: false,
      maxInboundPeerCount: 64,
      maxOutboundPeerCount: 8,
    },
    inboundPeers,
    outboundPeers,
  };
}

/** The i-th node id: letters and digits of base 32, as in real ones, in no order. */
export function modelId(i: number): string {
  return "G" +
    [...(i * 7919 + 1_000_000).toString(32)].map((digit) => "QAZ2WSX3EDC4RFV5TGB6YHN7UJMIKOLP"[parseInt(digit, 32)])
      .join("");
}

/** A connected network: everybody dials `target` random others; the first `hubs` nodes are dialed by everybody. */
export function modelNetwork(
  random: Random,
  { nodes, target, hubs }: { nodes: number; target: number; hubs: number },
): NetworkModel {
  const ids = Array.from({ length: nodes }, (_, i) => modelId(i));
  const dialed = new Map(ids.map((id) => [id, new Set<string>()]));
  ids.forEach((id, i) => {
    for (let h = 0; h < Math.min(hubs, i); h++) dialed.get(id)!.add(ids[h]);
    if (i > 0) dialed.get(id)!.add(ids[random.int(i)]);
    for (const other of shuffle(random, [...ids]).slice(0, target)) {
      if (other !== id && !dialed.get(other)!.has(id)) dialed.get(id)!.add(other);
    }
  });
  return new Map(ids.map((id) => {
    const outboundPeers = sortPeers([...dialed.get(id)!].map(modelPeer));
    const inboundPeers = sortPeers(ids.filter((other) => dialed.get(other)!.has(id)).map(modelPeer));
    return [id, modelNode(id, { inboundPeers, outboundPeers })];
  }));
}

/** What a node of the model answers. */
export function pageOfModel(model: NetworkModel, { nodeId, inboundIndex, outboundIndex }: SurveyPage): SurveyedNode {
  const node = model.get(nodeId)!;
  return {
    ...node,
    inboundPeers: node.inboundPeers.slice(inboundIndex, inboundIndex + PAGE_ENTRIES),
    outboundPeers: node.outboundPeers.slice(outboundIndex, outboundIndex + PAGE_ENTRIES),
  };
}
