/** The graph a survey shows: its nodes, its links with both ends' reports, who dialed whom, and the undirected simple form. */
import { type Link, linksOf } from "./links.ts";
import { nodesOf, versionsOf } from "./merge.ts";
import type { AskState, Attribute, NodeData, PeerData, SurveyDocument } from "./types.ts";

/** One node of the graph: it answered, or others named it. */
export interface GraphNode {
  /** "G..."; files of other tools may hold other names. */
  nodeId: string;
  /** `listedOnly`: known from lists of others only, and nothing says that it was asked. */
  state: AskState | "listedOnly";
  /** It joined after START, so it could not answer. */
  lateJoiner: boolean;
  /** Remote text. */
  versionStr?: string;
  /** Its own figures; absent unless it answered. */
  data?: NodeData;
  /** What the file said of the node beyond the survey, such as `radar_name`. */
  attributes: Record<string, Attribute>;
}

/**
 * How far the two ends agree on a link. `both`: each lists the other, in matching roles. `oneEnd`: one lists it, and the other
 * did not answer or its lists are not whole. `denied`: one lists it, the other answered in full and does not. `roles`: reports
 * differ on who dialed. `unknown`: the file does not say what each end reported.
 */
export type Agreement = "both" | "oneEnd" | "denied" | "roles" | "unknown";

/** A link of two different nodes, with how far its ends agree. */
export interface GraphLink extends Link {
  agreement: Agreement;
  /** Whether the file tells which end made which report; otherwise its figures have no direction. */
  attributed: boolean;
}

/** An undirected graph without loops and double links; nodes are indices. */
export interface SimpleGraph {
  order: number;
  /** Neighbours of each node, in rising order. */
  neighbors: readonly (readonly number[])[];
  /** Each link once, lower index first, in rising order. */
  edges: readonly (readonly [number, number])[];
}

/** The graph of a survey. BOUNDED by the document it was made of. */
export interface SurveyGraph {
  /** In text order of node ids, so that equal surveys give equal graphs. */
  nodes: GraphNode[];
  /** Index of each node id. */
  index: Map<string, number>;
  /** In order of their ends. */
  links: GraphLink[];
  simple: SimpleGraph;
  /** Peers that dialed each node, and peers it dialed. A link on whose direction nothing is known, or reports differ, is in neither. */
  inDegree: number[];
  outDegree: number[];
  /** Entries that are no links: a node that names itself; and links that one end names twice. */
  oddEntries: { nodeId: string; peer: string; reason: "self" | "repeated" }[];
}

/** Makes a simple graph of any list of index pairs: loops go, double links count once. */
export function simpleGraph(order: number, pairs: Iterable<readonly [number, number]>): SimpleGraph {
  const sets = Array.from({ length: order }, () => new Set<number>());
  for (const [a, b] of pairs) {
    if (a === b) continue;
    sets[a].add(b);
    sets[b].add(a);
  }
  const neighbors = sets.map((set) => [...set].sort((a, b) => a - b));
  const edges = neighbors.flatMap((list, a) => list.filter((b) => b > a).map((b) => [a, b] as const));
  return { order, neighbors, edges };
}

/** The graph of a survey document, which is left as it is. */
export function surveyGraph(document: SurveyDocument): SurveyGraph {
  const versions = versionsOf(document);
  const nodes = nodesOf(document).map((nodeId): GraphNode => {
    const surveyed = document.nodes.get(nodeId);
    const known = surveyed !== undefined && surveyed.absent === undefined;
    const versionStr = versions.get(nodeId);
    return {
      nodeId,
      state: document.states.get(nodeId) ?? (known ? "answered" : "listedOnly"),
      lateJoiner: document.lateJoiners.has(nodeId),
      ...(versionStr !== undefined && { versionStr }),
      ...(known && { data: surveyed.data }),
      attributes: document.attributes.get(nodeId) ?? {},
    };
  });
  const index = new Map(nodes.map((node, i) => [node.nodeId, i]));
  const answered = (nodeId: string) => nodes[index.get(nodeId)!].data !== undefined;

  const all = linksOf(document);
  const oddEntries: SurveyGraph["oddEntries"] = [];
  for (const { ends, reports, disagreements } of all) {
    if (disagreements.includes("self")) oddEntries.push({ nodeId: ends[0], peer: ends[0], reason: "self" });
    if (!disagreements.includes("repeated")) continue;
    for (const [i, nodeId] of ends.entries()) {
      if (reports.filter((report) => report.by === nodeId).length < 2) continue;
      oddEntries.push({ nodeId, peer: ends[1 - i], reason: "repeated" });
    }
  }
  const links = all.filter(({ ends }) => ends[0] !== ends[1]).map((link): GraphLink => ({
    ...link,
    agreement: agreementOf(link, document),
    attributed: document.linkReports === "perSide" || document.linkReports === "onePerLink" ||
      (document.linkReports === "unattributed" && answered(link.ends[0]) !== answered(link.ends[1])),
  }));

  const inDegree = nodes.map(() => 0), outDegree = nodes.map(() => 0);
  for (const { ends, dialer } of links) {
    if (dialer === undefined) continue;
    outDegree[index.get(dialer)!]++;
    inDegree[index.get(ends[0] === dialer ? ends[1] : ends[0])!]++;
  }
  const simple = simpleGraph(nodes.length, links.map(({ ends }) => [index.get(ends[0])!, index.get(ends[1])!]));
  return { nodes, index, links, simple, inDegree, outDegree, oddEntries };
}

function agreementOf(link: Link, document: SurveyDocument): Agreement {
  if (document.linkReports !== "perSide" || link.reports.length === 0) return "unknown";
  if (link.direction === "disputed") return "roles";
  if (link.disagreements.includes("missing")) return "denied";
  return link.ends.every((end) => reportOf(link, end) !== undefined) ? "both" : "oneEnd";
}

/** What one end reported of a link. */
export function reportOf(link: Link, end: string): PeerData | undefined {
  return link.reports.find((report) => report.by === end)?.data;
}
