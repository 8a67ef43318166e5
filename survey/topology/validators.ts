/** How validators reach each other over the overlay: hops, and which single node a pair depends on. */
import { hopsFrom } from "./analysis.ts";
import type { SimpleGraph } from "./graph.ts";
import { componentLabels, VertexCuts } from "./graph_algorithms.ts";

/** Two validators that one other node separates. */
export interface Dependency {
  a: number;
  b: number;
  /** Each of these alone separates the two. */
  on: number[];
}

/** Distances and cuts among validators; numbers are indices of nodes. */
export interface ValidatorPaths {
  validators: number[];
  /** Hops between each two; -1: no path in the graph seen. Symmetric. */
  hops: number[][];
  /** Mean and longest over pairs with a path; 0 without such pairs. */
  meanHops: number;
  maxHops: number;
  unconnectedPairs: number;
  /** Pairs linked directly. */
  linkedPairs: number;
  /** Pairs not linked directly that one node separates. BOUNDED by MAX_VALIDATORS squared. */
  dependencies: Dependency[];
  /**
   * Pairs by how many paths without a common node join them; the last entry counts `atLeast` and more. Undefined above
   * MAX_CUT_VALIDATORS validators, where counting takes too long.
   */
  disjointPaths?: { paths: number; atLeast: boolean; pairs: number }[];
  /** The pairs with fewest such paths, at most ten, and a smallest cut of those not linked directly. */
  weakest?: { a: number; b: number; paths: number; cut: number[] | null }[];
}

/** More validators than this are not compared pair by pair; the first ones in text order are. */
export const MAX_VALIDATORS = 500;
/** Up to so many validators, paths are counted for each pair: some seconds for 100 in a network of 1000 nodes. */
const MAX_CUT_VALIDATORS = 100;
/** Paths counted per pair: beyond it a pair is well connected. */
const PATH_LIMIT = 8;

/** Compares all pairs of the given nodes. `articulation` are the graph's cut nodes. */
export function validatorPaths(
  graph: SimpleGraph,
  nodes: readonly number[],
  articulation: readonly number[],
): ValidatorPaths {
  const validators = nodes.slice(0, MAX_VALIDATORS);
  const hops = validators.map((from) => {
    const all = hopsFrom(graph, from);
    return validators.map((to) => all[to]);
  });
  const pairs = validators.flatMap((_, i) => validators.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
  const joined = pairs.filter(([i, j]) => hops[i][j] > 0);

  const dependsOn = new Map<string, Dependency>();
  for (const cutNode of articulation) {
    const labels = componentLabels(graph, new Set([cutNode]));
    for (const [i, j] of joined) {
      const a = validators[i], b = validators[j];
      if (a === cutNode || b === cutNode || labels[a] === labels[b]) continue;
      const found = dependsOn.get(`${a} ${b}`) ?? { a, b, on: [] };
      found.on.push(cutNode);
      dependsOn.set(`${a} ${b}`, found);
    }
  }

  return {
    validators,
    hops,
    meanHops: joined.length === 0 ? 0 : joined.reduce((sum, [i, j]) => sum + hops[i][j], 0) / joined.length,
    maxHops: joined.reduce((most, [i, j]) => Math.max(most, hops[i][j]), 0),
    unconnectedPairs: pairs.length - joined.length,
    linkedPairs: joined.filter(([i, j]) => hops[i][j] === 1).length,
    dependencies: [...dependsOn.values()].sort((x, y) => x.a - y.a || x.b - y.b),
    ...(validators.length <= MAX_CUT_VALIDATORS && countPaths(graph, validators, pairs)),
  };
}

function countPaths(graph: SimpleGraph, validators: number[], pairs: (readonly [number, number])[]) {
  const cuts = new VertexCuts(graph);
  const counts = new Map<number, number>();
  const found = pairs.map(([i, j]) => {
    const { disjointPaths: paths, cut } = cuts.between(validators[i], validators[j], PATH_LIMIT);
    counts.set(paths, (counts.get(paths) ?? 0) + 1);
    return { a: validators[i], b: validators[j], paths, cut: cut ?? null };
  });
  return {
    disjointPaths: [...counts].sort((x, y) => x[0] - y[0])
      .map(([paths, number]) => ({ paths, atLeast: paths === PATH_LIMIT, pairs: number })),
    weakest: found.filter(({ paths }) => paths < PATH_LIMIT)
      .sort((x, y) => x.paths - y.paths || x.a - y.a || x.b - y.b).slice(0, 10),
  };
}
