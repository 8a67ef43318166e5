/**
 * What a perfect survey of a twin finds: the yardstick for every surveyor. It holds when START is sent at a time when all nodes
 * that are not late are connected, STOP after those that join or restart are back, and requests before reporting is over.
 * Source: survey.md sections 2, 4 and 8.
 */
import { NUM_LEDGERS_BEFORE_IGNORE } from "../../overlay/survey/message_limiter.ts";
import { PEERS_PER_PAGE } from "../../overlay/survey/survey_data.ts";
import { isLive, type TwinNodePlan, type TwinPlan } from "./node_plan.ts";
import { windowsMeet } from "./profiles.ts";
import { peerLimitsOf } from "./survey_roles.ts";
import { nodeIdOf } from "./truth.ts";

/**
 * What becomes of a node. `answers`: it saw START, and requests reach it. `silent`: a node that answers names it, but it permits
 * nobody, or is too far behind. `late`: it joined after START, so it has no peer from START to STOP and nobody names it.
 * `unseen`: nobody names it for another reason: it restarted, or only such nodes are its peers.
 */
export type SurveyTruthState = "answers" | "silent" | "unseen" | "late";

/** A node that takes part in the network. */
export interface SurveyTruthNode {
  nodeId: string;
  /** Its name in the plan. */
  name: string;
  state: SurveyTruthState;
  versionStr: string;
  isValidator: boolean;
  /** What is known beforehand of its answer; the lists and counts are without the surveyor. Only of a node that answers. */
  answer?: {
    /** Node ids of peers connected from START to STOP, sorted: those that dialed it, and those it dialed. */
    inboundPeers: string[];
    outboundPeers: string[];
    addedAuthenticatedPeers: number;
    droppedAuthenticatedPeers: number;
    lostSyncCount: number;
    maxInboundPeerCount: number;
    maxOutboundPeerCount: number;
  };
}

/** The result of a perfect survey. */
export interface SurveyTruth {
  /** Sorted by node id. */
  nodes: SurveyTruthNode[];
  /** Connections that an answer names, once each: who dialed, and who was dialed. Sorted. */
  links: { from: string; to: string }[];
  /** Pages that a surveyor asks for at least to learn all that is in the answers. */
  pages: number;
}

/** What a perfect survey finds that is run from connections with some nodes (indices; the plan's seeds by default). */
export function surveyTruth(plan: TwinPlan, connections: readonly number[] = plan.seeds): SurveyTruth {
  const nodes = plan.nodes.filter((node) => isLive(node.behaviour));
  const neighbours = new Map(nodes.map((node) => [node, new Set<TwinNodePlan>()]));
  for (const node of nodes) {
    for (const other of node.links.map((to) => plan.nodes[to])) {
      if (!neighbours.has(other) || !windowsMeet(node, other)) continue;
      neighbours.get(node)!.add(other);
      neighbours.get(other)!.add(node);
    }
  }
  const spread = (passes: (node: TwinNodePlan) => boolean): Set<TwinNodePlan> => {
    const reached = new Set(connections.map((index) => plan.nodes[index]).filter(passes));
    // A set grows while it is walked over: that is the flood.
    for (const node of reached) for (const other of neighbours.get(node)!) if (passes(other)) reached.add(other);
    return reached;
  };
  const started = spread((node) =>
    neighbours.has(node) && node.surveyRole !== "late" && node.surveyRole !== "opted-out" &&
    (node.lagLedgers ?? 0) < NUM_LEDGERS_BEFORE_IGNORE
  );
  const answering = spread((node) => started.has(node) && node.surveyRole !== "restarting");

  const idOf = new Map(nodes.map((node) => [node, nodeIdOf(node)]));
  const limits = peerLimitsOf(plan);
  const named = new Set(connections.map((index) => plan.nodes[index]));
  const links = new Map<string, { from: string; to: string }>();
  let pages = 0;
  const result = nodes.map((node): SurveyTruthNode => {
    const { name, versionStr, validator } = node;
    const fixed = { nodeId: idOf.get(node)!, name, versionStr, isValidator: validator };
    if (!answering.has(node)) return { ...fixed, state: "unseen" };
    const peers = [...neighbours.get(node)!];
    const isStable = ({ surveyRole }: TwinNodePlan) => surveyRole !== "late" && surveyRole !== "restarting";
    const stable = peers.filter(isStable);
    const dialed = stable.filter((other) => node.links.includes(other.index));
    const dialers = stable.filter((other) => !node.links.includes(other.index));
    for (const other of stable) named.add(other);
    for (const other of dialed) note(node, other);
    for (const other of dialers) note(other, node);
    const inbound = dialers.length + Number(connections.includes(node.index));
    pages += Math.max(1, Math.ceil(inbound / PEERS_PER_PAGE), Math.ceil(dialed.length / PEERS_PER_PAGE));
    return {
      ...fixed,
      state: "answers",
      answer: {
        inboundPeers: dialers.map((other) => idOf.get(other)!).sort(),
        outboundPeers: dialed.map((other) => idOf.get(other)!).sort(),
        addedAuthenticatedPeers: peers.length - stable.length,
        droppedAuthenticatedPeers: peers.filter(({ surveyRole }) => surveyRole === "restarting").length,
        lostSyncCount: 0,
        maxInboundPeerCount: limits[node.index].maxInbound,
        maxOutboundPeerCount: limits[node.index].maxOutbound,
      },
    };
  });
  for (const [i, node] of nodes.entries()) {
    if (result[i].state !== "unseen") continue;
    if (node.surveyRole === "late") result[i].state = "late";
    else if (named.has(node)) result[i].state = "silent";
  }
  return {
    nodes: result.sort((a, b) => byText(a.nodeId, b.nodeId)),
    links: [...links.values()].sort((a, b) => byText(a.from, b.from) || byText(a.to, b.to)),
    pages,
  };

  function note(from: TwinNodePlan, to: TwinNodePlan): void {
    const link = { from: idOf.get(from)!, to: idOf.get(to)! };
    links.set(`${link.from} ${link.to}`, link);
  }
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
