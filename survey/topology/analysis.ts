/**
 * Figures of a graph: paths, centrality, clustering, cores, components. graphology does the searching (Brandes' shortest paths,
 * closeness, coreness, components); the definitions are networkx's, so that the numbers compare with the script's.
 */
import { clusteringCoefficients, type CutPoints, cutPoints } from "./graph_algorithms.ts";
import type { SimpleGraph } from "./graph.ts";

/** Figures of a graph. Lists per node are in order of index. */
export interface GraphFigures extends CutPoints {
  order: number;
  size: number;
  /** Share of all possible links; 0 below two nodes. */
  density: number;
  /** Node indices of each connected component, the largest first; equal ones by lowest index. */
  components: number[][];
  /** Of the largest component, where all distances are finite. */
  largest: {
    /** Longest and shortest eccentricity in hops; 0 for a single node. */
    diameter: number;
    radius: number;
    /** Mean distance over all pairs, in hops; 0 for a single node. networkx: average_shortest_path_length. */
    averageShortestPath: number;
  };
  /** Pairs of nodes at each distance in hops, from 1, over all components. Pairs without a path are not in it. */
  distances: { hops: number; pairs: number }[];
  degree: number[];
  clustering: number[];
  /** Mean over all nodes, those with fewer than two neighbours counting 0. networkx: average_clustering. */
  averageClustering: number;
  /** Share of shortest paths between other nodes that pass a node. networkx: betweenness_centrality(normalized=True). */
  betweenness: number[];
  /** Nodes reached per hop, scaled by the share reached. networkx: closeness_centrality(wf_improved=True). */
  closeness: number[];
  /** Distance to the farthest node of the same component. */
  eccentricity: number[];
  /** Highest k such that the node is in the k-core. networkx: core_number. */
  coreness: number[];
}

/** Computes all figures. Time grows with nodes x links: half a second for 1000 nodes with 15 000 links. */
export async function graphFigures(graph: SimpleGraph): Promise<GraphFigures> {
  const [{ UndirectedGraph }, { createUnweightedIndexedBrandes }, { connectedComponents }, cores, closenessModule] =
    await Promise.all([
      import("graphology"),
      import("graphology-shortest-path/indexed-brandes.js"),
      import("graphology-components"),
      import("graphology-cores"),
      import("graphology-metrics/centrality/closeness.js"),
    ]);
  const { order, edges } = graph;
  // Keys are indices, not node ids: the libraries keep per-node state in plain objects, where a node of a foreign file named
  // "constructor" would be taken for known.
  const library = new UndirectedGraph();
  for (let node = 0; node < order; node++) library.addNode(String(node));
  for (const [a, b] of edges) library.addUndirectedEdge(String(a), String(b));

  const components = connectedComponents(library)
    .map((keys) => keys.map(Number).sort((a, b) => a - b))
    .sort((a, b) => b.length - a.length || a[0] - b[0]);
  const paths = shortestPaths(order, order === 0 ? undefined : createUnweightedIndexedBrandes(library));
  const inLargest = components[0] ?? [];
  const eccentricities = inLargest.map((node) => paths.eccentricity[node]);
  const sum = inLargest.reduce((total, node) => total + paths.distanceSum[node], 0);
  const clustering = clusteringCoefficients(graph);
  // Their declared types are those of other calling conventions.
  const coreNumber = cores.coreNumber as unknown as (graph: unknown) => Record<string, number>;
  const closeness = closenessModule.default as unknown as Closeness;
  const perNode = (of: Record<string, number>) => Array.from({ length: order }, (_, node) => of[node]);
  return {
    order,
    size: edges.length,
    density: order < 2 ? 0 : 2 * edges.length / (order * (order - 1)),
    components,
    largest: {
      diameter: eccentricities.reduce((most, hops) => Math.max(most, hops), 0),
      radius: eccentricities.length === 0 ? 0 : eccentricities.reduce((least, hops) => Math.min(least, hops), Infinity),
      averageShortestPath: inLargest.length < 2 ? 0 : sum / (inLargest.length * (inLargest.length - 1)),
    },
    distances: paths.distances,
    degree: graph.neighbors.map((list) => list.length),
    clustering,
    averageClustering: order === 0 ? 0 : clustering.reduce((total, value) => total + value, 0) / order,
    betweenness: paths.betweenness,
    // The libraries refuse a graph without nodes.
    closeness: order === 0 ? [] : perNode(closeness(library, { wassermanFaust: true })),
    eccentricity: paths.eccentricity,
    coreness: perNode(coreNumber(library)),
    ...cutPoints(graph),
  };
}

type Closeness = (graph: unknown, options: { wassermanFaust: boolean }) => Record<string, number>;
/** The library's breadth-first pass from one node: nodes in order of distance, predecessors on shortest paths. */
type Brandes = (source: number) => [{ size: number; pop(): number | undefined }, number[][], unknown];

/**
 * Distances and betweenness from one Brandes pass per node. Paths are counted anew in floating point: the library counts in 32
 * bits, which a chain of 32 double links overflows, and its own betweenness is then wrong without a word.
 */
function shortestPaths(order: number, brandes: Brandes | undefined) {
  const betweenness = new Array<number>(order).fill(0);
  const eccentricity = new Array<number>(order).fill(0), distanceSum = new Array<number>(order).fill(0);
  const counts: number[] = [];
  const distance = new Int32Array(order), numPaths = new Float64Array(order), dependency = new Float64Array(order);
  for (let source = 0; brandes !== undefined && source < order; source++) {
    const [stack, before] = brandes(source);
    const visited = new Array<number>(stack.size);
    for (let i = visited.length; i-- > 0;) visited[i] = stack.pop()!;
    numPaths[source] = 1;
    distance[source] = dependency[source] = 0;
    for (const node of visited.slice(1)) {
      const hops = distance[before[node][0]] + 1;
      distance[node] = hops;
      dependency[node] = 0;
      numPaths[node] = before[node].reduce((total, earlier) => total + numPaths[earlier], 0);
      eccentricity[source] = hops;
      distanceSum[source] += hops;
      counts[hops] = (counts[hops] ?? 0) + 1;
    }
    for (const node of visited.reverse()) {
      for (const earlier of before[node]) {
        dependency[earlier] += numPaths[earlier] / numPaths[node] * (1 + dependency[node]);
      }
      if (node !== source) betweenness[node] += dependency[node];
    }
  }
  // Each pair was met from both ends; there are (n - 1)(n - 2) / 2 pairs of other nodes.
  const scale = order > 2 ? 1 / ((order - 1) * (order - 2)) : 0;
  return {
    betweenness: betweenness.map((value) => value * scale),
    eccentricity,
    distanceSum,
    distances: counts.flatMap((count, hops) => hops === 0 ? [] : [{ hops, pairs: count / 2 }]),
  };
}

/** Distances in hops from one node; -1 where there is no path. */
export function hopsFrom(graph: SimpleGraph, source: number): Int32Array {
  const hops = new Int32Array(graph.order).fill(-1);
  hops[source] = 0;
  const queue = [source];
  for (let i = 0; i < queue.length; i++) {
    for (const to of graph.neighbors[queue[i]]) {
      if (hops[to] !== -1) continue;
      hops[to] = hops[queue[i]] + 1;
      queue.push(to);
    }
  }
  return hops;
}
