/**
 * The JSON of stellar-core's `getsurveyresult`. Source: stellar-core SurveyManager.cpp getJsonResults,
 * processTimeSlicedTopologyResponse; CommandHandler.cpp getSurveyResult.
 */
import { Field, invalid, nodeFields, peerFields, readNodeData, readPeerData, versionField } from "./fields.ts";
import { type Json, JsonSyntaxError, parseJson, printAsCore } from "./json_text.ts";
import { emptyDocument, type PeerData, type SurveyDocument, type SurveyedNode } from "./types.ts";

/** What `getsurveyresult` says. Its entries hold the latest page of a node only: see `mergePage`. */
export interface SurveyResult {
  /** The surveyor is in its request loop. */
  surveyInProgress: boolean;
  /** Nodes not asked yet; null for none. */
  backlog: string[] | null;
  /** Nodes whose answer could not be opened; null for none. */
  badResponseNodes: string[] | null;
  /**
   * By node id; null for a node that was asked and has not answered, which stellar-core prints as null the first time and as
   * an empty object when the node is asked again. Absent before the first survey.
   */
  topology?: Map<string, SurveyedNode | null>;
}

/**
 * Reads the text of `getsurveyresult`. `path` names its source in errors.
 * @throws OverlayError `survey_file_invalid`
 */
export function parseSurveyResult(text: string, path: string): SurveyResult {
  return readSurveyResult(new Field(parseJsonFile(text, path), path));
}

/** The JSON of a file. @throws OverlayError `survey_file_invalid` naming line and column */
export function parseJsonFile(text: string, path: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw invalid(path, `line ${error.line}, column ${error.column}`, error.reason, error);
  }
}

/** The result in a parsed file. @throws OverlayError `survey_file_invalid` */
export function readSurveyResult(file: Field): SurveyResult {
  const fields = file.object();
  const exception = fields.get("exception");
  if (exception !== undefined) throw exception.fail(`stellar-core answered with an error: ${exception.text()}`);
  const list = (name: string) => {
    const field = fields.get(name);
    return field === undefined || field.value === null ? null : field.array().map((item) => item.nodeId());
  };
  const result: SurveyResult = {
    surveyInProgress: fields.get("surveyInProgress")?.boolean() ?? false,
    backlog: list("backlog"),
    badResponseNodes: list("badResponseNodes"),
  };
  const topology = fields.get("topology");
  if (topology !== undefined && topology.value !== null) {
    result.topology = new Map();
    for (const [id, field] of topology.object()) {
      new Field(id, field.path, field.at).nodeId();
      const isEmpty = field.value === null || field.object().size === 0;
      result.topology.set(id, isEmpty ? null : readNode(id, field));
    }
  }
  return result;
}

function readNode(nodeId: string, field: Field): SurveyedNode {
  const fields = field.object();
  const list = (name: string): PeerData[] =>
    (fields.get(name)?.arrayOrNull() ?? []).map((item) => {
      const peer = item.object();
      const id = peer.get("nodeId");
      if (id === undefined) throw item.fail("needs a nodeId");
      return readPeerData(peer, id.nodeId());
    });
  return {
    nodeId,
    ...readNodeData(fields),
    inboundPeers: list("inboundPeers"),
    outboundPeers: list("outboundPeers"),
  };
}

/** The text stellar-core prints for a result, byte for byte. */
export function printSurveyResult(result: SurveyResult): string {
  const json: { [key: string]: Json } = {
    surveyInProgress: result.surveyInProgress,
    backlog: result.backlog,
    badResponseNodes: result.badResponseNodes,
  };
  if (result.topology !== undefined) {
    json.topology = Object.fromEntries([...result.topology].map(([id, node]) => [id, node && nodeJson(node)]));
  }
  return printAsCore(json);
}

function nodeJson(node: SurveyedNode): Json {
  const list = (peers: readonly PeerData[]): Json => peers.length === 0 ? null : peers.map(peerJson);
  return {
    ...nodeFields(node.data, node.absent),
    inboundPeers: list(node.inboundPeers),
    outboundPeers: list(node.outboundPeers),
  };
}

/** A peer as `getsurveyresult` and OverlaySurvey.py write it. */
export function peerJson(peer: PeerData): { [key: string]: Json } {
  return { nodeId: peer.nodeId, ...versionField(peer), ...peerFields(peer) } as { [key: string]: Json };
}

/** The document of a result: a null entry is a silent node, the backlog is pending. */
export function documentOfResult(result: SurveyResult): SurveyDocument {
  const document = emptyDocument();
  for (const [id, node] of result.topology ?? []) {
    document.states.set(id, node === null ? "silent" : "answered");
    if (node !== null) document.nodes.set(id, node);
  }
  for (const id of result.badResponseNodes ?? []) document.states.set(id, "bad");
  for (const id of result.backlog ?? []) document.states.set(id, "pending");
  return document;
}

/**
 * The result that stellar-core would show for a document: pending nodes in the backlog, nodes that were asked and gave nothing
 * as null. `surveyInProgress` is false unless given.
 */
export function resultOfDocument(document: SurveyDocument, surveyInProgress = false): SurveyResult {
  const named = (state: string): string[] | null => {
    const ids = [...document.states].filter(([, is]) => is === state).map(([id]) => id).sort();
    return ids.length === 0 ? null : ids;
  };
  const topology = new Map<string, SurveyedNode | null>(document.nodes);
  for (const [id, state] of document.states) if (state !== "pending" && !topology.has(id)) topology.set(id, null);
  return {
    surveyInProgress,
    backlog: named("pending"),
    badResponseNodes: named("bad"),
    ...((topology.size > 0 || document.states.size > 0) && { topology }),
  };
}
