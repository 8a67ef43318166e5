/**
 * The result JSON of OverlaySurvey.py (`--surveyResult`): node id to the node's figures, with both lists as objects keyed by
 * peer id. It has no states; nodes that gave no answer are not in it. Source: stellar-core scripts/OverlaySurvey.py.
 */
import { Field, nodeFields, readNodeData, readPeerData } from "./fields.ts";
import { type Json, printAsPython } from "./json_text.ts";
import { compareNodeIds, sortPeers } from "./merge.ts";
import { peerJson } from "./survey_result.ts";
import { emptyDocument, type PeerData, type SurveyDocument } from "./types.ts";

/** The document in a parsed file. @throws OverlayError `survey_file_invalid` */
export function readScriptResult(file: Field): SurveyDocument {
  const document = emptyDocument();
  for (const [key, field] of file.object()) {
    const nodeId = new Field(key, field.path, field.at).nodeName();
    const fields = field.object();
    const list = (name: string): PeerData[] => {
      const peers = fields.get(name)?.object() ?? new Map<string, Field>();
      return sortPeers([...peers].map(([id, peer]) => readPeer(id, peer)));
    };
    const node = {
      nodeId,
      ...readNodeData(fields),
      inboundPeers: list("inboundPeers"),
      outboundPeers: list("outboundPeers"),
    };
    document.nodes.set(nodeId, node);
    document.states.set(nodeId, "answered");
  }
  return document;
}

function readPeer(id: string, field: Field): PeerData {
  const fields = field.object();
  const named = fields.get("nodeId");
  if (named !== undefined && named.nodeId() !== id) throw named.fail(`differs from its key ${id}`);
  return readPeerData(fields, id);
}

/** The text of the script's result for a document, on one line as Python prints it. */
export function printScriptResult(document: SurveyDocument): string {
  const nodes = [...document.nodes.values()].sort((a, b) => compareNodeIds(a.nodeId, b.nodeId)).map((node) => {
    const list = (peers: readonly PeerData[]) => Object.fromEntries(peers.map((peer) => [peer.nodeId, peerJson(peer)]));
    const fields: Json = {
      inboundPeers: list(node.inboundPeers),
      outboundPeers: list(node.outboundPeers),
      ...nodeFields(node.data, node.absent),
    };
    return [node.nodeId, fields] as const;
  });
  return printAsPython(Object.fromEntries(nodes));
}
