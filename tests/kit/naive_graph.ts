/**
 * A second, slow implementation of every graph figure, independent of the product's and of the libraries': all distances by
 * Floyd and Warshall, betweenness by listing every shortest path, cut nodes by taking each node away, vertex cuts by trying sets.
 */
import type { SimpleGraph } from "../../survey/topology/graph.ts";

/** Distances of all pairs; Infinity without a path. Floyd and Warshall, on the matrix of links. */
export function naiveDistances(graph: SimpleGraph, removed: readonly number[] = []): number[][] {
  const n = graph.order, gone = new Set(removed);
  const d = Array.from({ length: n }, (_, a) => Array.from({ length: n }, (_, b) => a === b ? 0 : Infinity));
  for (const [a, b] of graph.edges) if (!gone.has(a) && !gone.has(b)) d[a][b] = d[b][a] = 1;
  for (let k = 0; k < n; k++) {
    for (let a = 0; a < n; a++) {
      for (let b = 0; b < n; b++) if (d[a][k] + d[k][b] < d[a][b]) d[a][b] = d[a][k] + d[k][b];
    }
  }
  return d;
}

/** Every shortest path between two nodes, both ends included. */
function shortestPathsBetween(graph: SimpleGraph, d: number[][], from: number, to: number): number[][] {
  if (from === to) return [[to]];
  const linked = (a: number, b: number) => graph.edges.some(([x, y]) => (x === a && y === b) || (x === b && y === a));
  const found: number[][] = [];
  for (let next = 0; next < graph.order; next++) {
    if (d[next][to] !== d[from][to] - 1 || !linked(from, next)) continue;
    for (const rest of shortestPathsBetween(graph, d, next, to)) found.push([from, ...rest]);
  }
  return found;
}

/** Connected parts from the distances, the largest first. */
function parts(d: number[][], nodes: number[]): number[][] {
  const found: number[][] = [];
  for (const node of nodes) {
    if (found.some((part) => part.includes(node))) continue;
    found.push(nodes.filter((other) => d[node][other] < Infinity));
  }
  return found.sort((a, b) => b.length - a.length || a[0] - b[0]);
}

/** All figures of {@link graphFigures}. */
export function naiveFigures(graph: SimpleGraph) {
  const n = graph.order, nodes = [...Array(n).keys()];
  const d = naiveDistances(graph);
  const components = parts(d, nodes);
  const finite = (node: number) => nodes.filter((other) => other !== node && d[node][other] < Infinity);
  const eccentricity = nodes.map((node) => Math.max(0, ...finite(node).map((other) => d[node][other])));
  const degree = nodes.map((node) => finite(node).filter((other) => d[node][other] === 1).length);

  const betweenness = nodes.map(() => 0);
  for (const s of nodes) {
    for (const t of nodes.slice(s + 1)) {
      if (d[s][t] === Infinity) continue;
      const paths = shortestPathsBetween(graph, d, s, t);
      for (const v of nodes) {
        if (v !== s && v !== t) betweenness[v] += paths.filter((path) => path.includes(v)).length / paths.length;
      }
    }
  }

  const clustering = nodes.map((node) => {
    const around = finite(node).filter((other) => d[node][other] === 1);
    const pairs = around.flatMap((a, i) => around.slice(i + 1).map((b) => [a, b]));
    return pairs.length === 0 ? 0 : pairs.filter(([a, b]) => d[a][b] === 1).length / pairs.length;
  });

  // Coreness by its definition: take away nodes of degree below k until none is left below.
  const coreness = nodes.map(() => 0);
  for (let k = 1; k < n; k++) {
    let left = nodes;
    for (;;) {
      const kept = left.filter((node) => left.filter((other) => d[node][other] === 1).length >= k);
      if (kept.length === left.length) break;
      left = kept;
    }
    for (const node of left) coreness[node] = k;
  }

  const articulation = nodes.filter((node) =>
    parts(naiveDistances(graph, [node]), nodes.filter((other) => other !== node)).length >
      components.length - (degree[node] === 0 ? 1 : 0)
  );
  const bridges = graph.edges.filter((edge) => {
    const without = { ...graph, edges: graph.edges.filter((other) => other !== edge) };
    return naiveDistances(without)[edge[0]][edge[1]] === Infinity;
  });

  const big = components[0] ?? [];
  const distances: { hops: number; pairs: number }[] = [];
  for (let hops = 1; hops < n; hops++) {
    const pairs = nodes.flatMap((s) => nodes.slice(s + 1).filter((t) => d[s][t] === hops)).length;
    if (pairs > 0) distances.push({ hops, pairs });
  }
  return {
    order: n,
    size: graph.edges.length,
    density: n < 2 ? 0 : graph.edges.length / (n * (n - 1) / 2),
    components,
    largest: {
      diameter: Math.max(0, ...big.map((node) => eccentricity[node])),
      radius: big.length === 0 ? 0 : Math.min(...big.map((node) => eccentricity[node])),
      averageShortestPath: big.length < 2
        ? 0
        : big.flatMap((a) => big.map((b) => d[a][b])).reduce((x, y) => x + y) / (big.length * (big.length - 1)),
    },
    distances,
    degree,
    clustering,
    averageClustering: n === 0 ? 0 : clustering.reduce((a, b) => a + b, 0) / n,
    betweenness: betweenness.map((value) => n > 2 ? value / ((n - 1) * (n - 2) / 2) : 0),
    closeness: nodes.map((node) => {
      const reached = finite(node), total = reached.reduce((sum, other) => sum + d[node][other], 0);
      return reached.length === 0 ? 0 : reached.length / total * reached.length / (n - 1);
    }),
    eccentricity,
    coreness,
    articulation,
    bridges,
  };
}

/** Size of a smallest set of other nodes that separates two nodes: tries all sets, the small ones first. Linked: undefined. */
export function naiveVertexCut(graph: SimpleGraph, from: number, to: number): number | undefined {
  const others = [...Array(graph.order).keys()].filter((node) => node !== from && node !== to);
  for (let size = 0; size <= others.length; size++) {
    for (const set of subsets(others, size)) {
      if (naiveDistances(graph, set)[from][to] === Infinity) return size;
    }
  }
  return undefined;
}

function* subsets(of: readonly number[], size: number): Generator<number[]> {
  if (size === 0) yield [];
  else {for (const [i, first] of of.entries()) {
      for (const rest of subsets(of.slice(i + 1), size - 1)) yield [first, ...rest];
    }}
}
