/** An answer as it comes over the wire, in the words of `getsurveyresult`. */
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { SurveyTopology } from "../../overlay/wire/survey_messages.ts";
import type { NodeData, PeerData, SurveyedNode } from "./types.ts";

/** Source: stellar-core SurveyManager.cpp processTimeSlicedTopologyResponse, recordTimeSlicedLinkData. */
export function nodeOfTopology(nodeId: string, topology: SurveyTopology): SurveyedNode {
  const { totalInboundPeerCount, totalOutboundPeerCount, ...rest } = topology.nodeData;
  const data: NodeData = {
    ...rest,
    numTotalInboundPeers: totalInboundPeerCount,
    numTotalOutboundPeers: totalOutboundPeerCount,
  };
  const peerOf = ({ peerStats, averageLatencyMs }: SurveyTopology["inboundPeers"][number]): PeerData => {
    const { id, versionStr, ...counters } = peerStats;
    return { nodeId: encodeNodeId(id), version: versionStr, ...counters, averageLatencyMs };
  };
  return {
    nodeId,
    data,
    inboundPeers: topology.inboundPeers.map(peerOf),
    outboundPeers: topology.outboundPeers.map(peerOf),
  };
}
