/**
 * A survey as a directed graph with attributes, the model behind GraphML and flattened files: OverlaySurvey.py's conventions.
 * A node carries its version and its figures, an edge goes from the one who dialed to the one who was dialed and carries one
 * report. Source: stellar-core scripts/OverlaySurvey.py update_results.
 */
import { type Field, invalid, nodeFields, peerFields, readNodeData, readPeerData } from "./fields.ts";
import { nodesOf, sortPeers, versionsOf } from "./merge.ts";
import {
  type Attribute,
  emptyDocument,
  NODE_NUMBERS,
  PEER_COUNTERS,
  type SurveyDocument,
  type SurveyedNode,
} from "./types.ts";

/** A value of an attribute; 64-bit counters are bigints. */
export type GraphValue = Attribute | bigint;

/** A graph with attributes on nodes and edges. At most one edge each way between two nodes. */
export interface AttributedGraph {
  /** Without direction: an edge's ends are in no order. */
  directed: boolean;
  /** By node id. */
  nodes: Map<string, Record<string, GraphValue>>;
  edges: { source: string; target: string; attributes: Record<string, GraphValue> }[];
}

/** Edge attribute of ours: which end's report the edge carries, `source` or `target`. The script has none. */
const REPORTED_BY = "reportedBy";

const NODE_FIELDS: ReadonlySet<string> = new Set([...NODE_NUMBERS, "isValidator"]);
const PEER_FIELDS: ReadonlySet<string> = new Set([...PEER_COUNTERS, "averageLatencyMs"]);

/**
 * The graph of a document. Of two reports of an edge the later one counts, nodes taken in the order of their ids as texts,
 * inbound lists first: what the script's "last processed side wins" comes to.
 */
export function graphOfDocument(document: SurveyDocument): AttributedGraph {
  const versions = versionsOf(document);
  const nodes = new Map<string, Record<string, GraphValue>>();
  for (const id of nodesOf(document)) {
    const node = document.nodes.get(id), version = versions.get(id);
    nodes.set(id, {
      ...(version !== undefined && { version }),
      ...(node !== undefined && nodeFields(node.data, node.absent)),
      ...document.attributes.get(id),
    });
  }
  const edges = new Map<string, AttributedGraph["edges"][number]>();
  const put = (source: string, target: string, attributes: Record<string, GraphValue>) => {
    edges.set(`${source}\n${target}`, { source, target, attributes });
  };
  const by = (end: string): Record<string, string> =>
    document.linkReports === "unattributed" ? {} : { [REPORTED_BY]: end };
  for (const id of [...document.nodes.keys()].sort()) {
    const { inboundPeers, outboundPeers } = document.nodes.get(id)!;
    for (const peer of inboundPeers) put(peer.nodeId, id, { ...peerFields(peer), ...by("target") });
    for (const peer of outboundPeers) put(id, peer.nodeId, { ...peerFields(peer), ...by("source") });
  }
  const directed = edges.size > 0 || document.looseLinks.some((link) => link.directed);
  for (const { from, to, directed: known } of document.looseLinks) {
    if (edges.has(`${from}\n${to}`) || (!known && edges.has(`${to}\n${from}`))) continue;
    put(from, to, {});
  }
  const sorted = [...edges].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, edge]) => edge);
  return { directed, nodes, edges: sorted };
}

/** Attributes of a node or edge as {@link Field}s, for {@link documentOfGraph}. */
export interface ParsedGraph {
  directed: boolean;
  nodes: Map<string, Map<string, Field>>;
  edges: { source: string; target: string; attributes: Map<string, Field> }[];
}

/**
 * The document of a graph. An edge's report goes to the end that made it: the one `reportedBy` names, else the only one with
 * figures of its own, else (the file does not tell) the one that was dialed. Edges without a report become loose links.
 * `path` is the file's, for errors. @throws OverlayError `survey_file_invalid`
 */
export function documentOfGraph(graph: ParsedGraph, path: string): SurveyDocument {
  const document = emptyDocument();
  const surveyed = (id: string, fields: ReadonlyMap<string, Field>): SurveyedNode => {
    let node = document.nodes.get(id);
    if (node === undefined) {
      node = { nodeId: id, ...readNodeData(fields), inboundPeers: [], outboundPeers: [] };
      document.nodes.set(id, node);
      document.states.set(id, "answered");
    }
    return node;
  };
  for (const [id, fields] of graph.nodes) {
    const version = fields.get("version");
    if (version !== undefined && version.value !== null) document.versions.set(id, versionText(version));
    if ([...fields.keys()].some((name) => NODE_FIELDS.has(name))) surveyed(id, fields);
    const foreign = [...fields].filter(([name]) => name !== "version" && !NODE_FIELDS.has(name))
      .flatMap(([name, field]) => field.value === null ? [] : [[name, field.attribute()] as const]);
    if (foreign.length > 0) document.attributes.set(id, Object.fromEntries(foreign));
  }
  // The later of two edges of the same direction counts, as in networkx' Graph and DiGraph.
  const edges = new Map(graph.edges.map((edge) => [`${edge.source}\n${edge.target}`, edge]));
  let reported = 0, attributed = 0;
  for (const { source, target, attributes } of edges.values()) {
    const hasReport = [...attributes.keys()].some((name) => PEER_FIELDS.has(name));
    if (!hasReport || !graph.directed) {
      if (hasReport) {
        throw invalid(path, `edge ${source} ${target}`, "link reports need a directed graph: they say who dialed whom");
      }
      document.looseLinks.push({ from: source, to: target, directed: graph.directed });
      continue;
    }
    const by = attributes.get(REPORTED_BY)?.oneOf(["source", "target"]);
    const bySource = by === undefined ? answered(graph, source) && !answered(graph, target) : by === "source";
    const [node, list, peer] = bySource
      ? [surveyed(source, new Map()), "outboundPeers" as const, target]
      : [surveyed(target, new Map()), "inboundPeers" as const, source];
    node[list].push(readPeerData(attributes, peer, document.versions.get(peer)));
    reported++;
    if (by !== undefined) attributed++;
  }
  // A node that nothing else says of is in the graph all the same.
  const named = new Set(nodesOf(document));
  for (const id of graph.nodes.keys()) if (!named.has(id)) document.attributes.set(id, {});
  for (const node of document.nodes.values()) {
    sortPeers(node.inboundPeers);
    sortPeers(node.outboundPeers);
  }
  document.linkReports = reported === 0 ? "none" : attributed === reported ? "onePerLink" : "unattributed";
  return document;
}

/** The script's `flatten` reads every attribute as JSON where it can: a version "25" arrives as a number. */
function versionText({ value }: Field): string {
  return typeof value === "string"
    ? value
    : JSON.stringify(value, (_, item) => typeof item === "bigint" ? String(item) : item);
}

function answered(graph: ParsedGraph, id: string): boolean {
  return [...graph.nodes.get(id)?.keys() ?? []].some((name) => NODE_FIELDS.has(name));
}
