/** What is left of a network without some of its nodes: the best connected ones, or all of one organisation. */
import type { SimpleGraph } from "./graph.ts";
import { componentLabels } from "./graph_algorithms.ts";

/** The network after a removal. */
export interface Remains {
  /** Nodes left, and how many components they form. */
  nodes: number;
  components: number;
  /** Nodes of the largest component left. */
  largest: number;
  /** Nodes left that are outside it: cut off from the main part. Nodes that were outside before count too. */
  cutOff: number;
  /** Of the nodes asked about (the validators) left, those outside it. */
  validatorsLeft: number;
  validatorsCutOff: number;
}

/** The network without `removed`. Equal components: the one with the lowest index is the main part. */
export function remainsWithout(
  graph: SimpleGraph,
  removed: ReadonlySet<number>,
  validators: readonly number[],
): Remains {
  const labels = componentLabels(graph, removed);
  const sizes: number[] = [];
  for (const label of labels) if (label !== -1) sizes[label] = (sizes[label] ?? 0) + 1;
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const main = sizes.indexOf(largest);
  const left = validators.filter((node) => !removed.has(node));
  const nodes = graph.order - removed.size;
  return {
    nodes,
    components: sizes.length,
    largest,
    cutOff: nodes - largest,
    validatorsLeft: left.length,
    validatorsCutOff: left.filter((node) => labels[node] !== main).length,
  };
}

/** How many nodes the series take away: so many, as far as half of the network. */
const STEPS = [1, 2, 3, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000];

/**
 * Takes away the top k nodes by a score, for growing k up to half of the network. The order is that of the whole network and
 * is not computed anew after each loss; equal scores go by index.
 */
export function removeTop(
  graph: SimpleGraph,
  scores: readonly number[],
  validators: readonly number[],
): (Remains & { removed: number; nodesRemoved: number[] })[] {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b);
  return STEPS.filter((k) => k <= graph.order / 2).map((k) => {
    const nodesRemoved = order.slice(0, k);
    return { removed: k, nodesRemoved, ...remainsWithout(graph, new Set(nodesRemoved), validators) };
  });
}

/** Takes away each group of nodes, one at a time; the worst loss first: most validators cut off, then most nodes. */
export function removeGroups(
  graph: SimpleGraph,
  groups: ReadonlyMap<string, readonly number[]>,
  validators: readonly number[],
): (Remains & { group: string; nodesRemoved: number[] })[] {
  return [...groups]
    .filter(([, nodes]) => nodes.length > 0)
    .map(([group, nodes]) => ({
      group,
      nodesRemoved: [...nodes],
      ...remainsWithout(graph, new Set(nodes), validators),
    }))
    .sort((a, b) =>
      b.validatorsCutOff - a.validatorsCutOff || b.cutOff - a.cutOff || b.nodesRemoved.length - a.nodesRemoved.length ||
      (a.group < b.group ? -1 : 1)
    );
}
