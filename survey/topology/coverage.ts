/** How much of the network a survey saw, and what therefore cannot be concluded. */
import type { SurveyGraph } from "./graph.ts";
import { isComplete } from "./merge.ts";
import type { SurveyReport } from "./report_types.ts";
import type { SurveyDocument } from "./types.ts";
import { MAX_VALIDATORS } from "./validators.ts";

/** Counts of nodes by what became of asking them, and of links by how far their ends agree. */
export function coverageOf(document: SurveyDocument, graph: SurveyGraph): SurveyReport["coverage"] {
  const byState = { answered: 0, silent: 0, unreachable: 0, bad: 0, pending: 0, listedOnly: 0 };
  for (const { state } of graph.nodes) byState[state]++;
  const outside = [...document.states].filter(([nodeId]) => !graph.index.has(nodeId));
  for (const [, state] of outside) byState[state]++;
  const linksByAgreement = { both: 0, oneEnd: 0, denied: 0, roles: 0, unknown: 0 };
  for (const { agreement } of graph.links) linksByAgreement[agreement]++;
  return {
    nodes: graph.nodes.length,
    links: graph.simple.edges.length,
    asked: byState.answered + byState.silent + byState.unreachable + byState.bad,
    byState,
    askedOutsideGraph: outside.length,
    lateJoiners: document.lateJoiners.size,
    incompleteLists:
      [...document.nodes.values()].filter((node) => document.linkReports === "perSide" && !isComplete(node))
        .length,
    linksByAgreement,
  };
}

/** What cannot be concluded, one sentence each. */
export function limitsOf(
  document: SurveyDocument,
  coverage: SurveyReport["coverage"],
  sliceSeconds: number | undefined,
  validators: number,
): string[] {
  const limits = [
    "The figures are of the graph seen: links that stood during the whole slice, as nodes that answered list them.",
  ];
  const say = (text: string) => void limits.push(text);
  const unheard = coverage.nodes - coverage.byState.answered + coverage.askedOutsideGraph;
  if (coverage.byState.answered === 0) say("No node answered: nothing can be said of the network.");
  else if (unheard > 0) {
    say(
      `${unheard} of ${
        coverage.nodes + coverage.askedOutsideGraph
      } known nodes gave no answer: links among them are missing, so ` +
        "their degrees are too low, distances may be too long, and a cut node or bridge may have a way around it.",
    );
  }
  say("Nodes that nobody who answered was connected to are not in it; how many there are cannot be told.");
  if (coverage.incompleteLists > 0) {
    say(`The lists of ${coverage.incompleteLists} nodes are not whole: pages of them are missing.`);
  }
  if (coverage.lateJoiners > 0) {
    say(`${coverage.lateJoiners} nodes joined after the survey began and could not answer.`);
  }
  if (sliceSeconds === undefined) {
    say("How long the slice was is not in this file, so there are no rates; give it with --slice.");
  }
  if (document.linkReports !== "perSide") {
    say("The file does not keep both ends' reports: whether ends contradict each other cannot be told.");
  } else if (coverage.linksByAgreement.denied + coverage.linksByAgreement.roles > 0) {
    say(
      "Links that one end denies are in the graph: a node may lie, or the link began or ended while START or STOP travelled.",
    );
  }
  say("A node's counters and its being a validator are its own word; nothing proves them.");
  say("A connection is no trust: who needs whom for consensus is in quorum sets, which a survey does not ask for.");
  if (validators > MAX_VALIDATORS) {
    say(`Only the first ${MAX_VALIDATORS} of ${validators} validators are compared pairwise.`);
  }
  return limits;
}
