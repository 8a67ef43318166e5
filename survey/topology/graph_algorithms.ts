/**
 * The graph algorithms that no library at hand has in the form we need: clustering (graphology has none), cut nodes and bridges
 * (graphology has none; others only with recursion as deep as the graph), smallest vertex cut between two nodes (none).
 */
import type { SimpleGraph } from "./graph.ts";

/** Share of each node's pairs of neighbours that are linked themselves; 0 below two neighbours, as networkx `clustering`. */
export function clusteringCoefficients(graph: SimpleGraph): number[] {
  const marked = new Uint8Array(graph.order);
  return graph.neighbors.map((around) => {
    const degree = around.length;
    if (degree < 2) return 0;
    for (const node of around) marked[node] = 1;
    let ends = 0;
    for (const node of around) for (const next of graph.neighbors[node]) ends += marked[next];
    for (const node of around) marked[node] = 0;
    return ends / (degree * (degree - 1));
  });
}

/** What holds a graph together at one point. */
export interface CutPoints {
  /** Nodes whose loss splits their component, in rising order. */
  articulation: number[];
  /** Links whose loss splits their component, lower index first, in rising order. */
  bridges: [number, number][];
}

/** Articulation nodes and bridges: one depth-first pass with low links (Hopcroft and Tarjan), without recursion. */
export function cutPoints(graph: SimpleGraph): CutPoints {
  const { order, neighbors } = graph;
  const found = new Int32Array(order), low = new Int32Array(order), parent = new Int32Array(order).fill(-1);
  const next = new Int32Array(order);
  const isCut = new Uint8Array(order);
  const bridges: [number, number][] = [];
  let time = 0;
  for (let root = 0; root < order; root++) {
    if (found[root] !== 0) continue;
    let rootChildren = 0;
    const stack = [root];
    found[root] = low[root] = ++time;
    while (stack.length > 0) {
      const node = stack[stack.length - 1];
      if (next[node] < neighbors[node].length) {
        const to = neighbors[node][next[node]++];
        if (found[to] === 0) {
          parent[to] = node;
          found[to] = low[to] = ++time;
          if (node === root) rootChildren++;
          stack.push(to);
        } else if (to !== parent[node]) low[node] = Math.min(low[node], found[to]);
        continue;
      }
      stack.pop();
      const above = parent[node];
      if (above === -1) continue;
      low[above] = Math.min(low[above], low[node]);
      if (low[node] > found[above]) bridges.push(above < node ? [above, node] : [node, above]);
      if (above !== root && low[node] >= found[above]) isCut[above] = 1;
    }
    if (rootChildren > 1) isCut[root] = 1;
  }
  return {
    articulation: [...isCut.keys()].filter((node) => isCut[node] === 1),
    bridges: bridges.sort((a, b) => a[0] - b[0] || a[1] - b[1]),
  };
}

/** Number of each node's component, from 0, counted by lowest index; -1 for nodes that are `removed`. */
export function componentLabels(graph: SimpleGraph, removed: ReadonlySet<number> = new Set()): Int32Array {
  const labels = new Int32Array(graph.order).fill(-1);
  let count = 0;
  for (let start = 0; start < graph.order; start++) {
    if (labels[start] !== -1 || removed.has(start)) continue;
    const stack = [start];
    labels[start] = count;
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      for (const to of graph.neighbors[node]) {
        if (labels[to] !== -1 || removed.has(to)) continue;
        labels[to] = count;
        stack.push(to);
      }
    }
    count++;
  }
  return labels;
}

/** How two nodes hang together. */
export interface PairCut {
  /**
   * Paths between the two that share no other node, a direct link among them: what an attacker or a fault has to cut. Counted
   * up to the limit. networkx: `node_connectivity(G, s, t)`.
   */
  disjointPaths: number;
  /** The count stopped at the limit; there may be more. */
  atLimit: boolean;
  /**
   * A smallest set of other nodes whose loss separates the two, in rising order; of several the one nearest the first node.
   * Undefined when they are linked directly (no such set), or the count stopped. networkx: `minimum_node_cut(G, s, t)`.
   */
  cut?: number[];
}

/** More room than paths there can be. */
const ENDLESS = 1 << 30;

/**
 * Smallest vertex cuts between pairs of one graph: largest flow with every node split in two and room for one path through
 * each (Menger; Ford and Fulkerson). One path costs one breadth-first pass.
 */
export class VertexCuts {
  readonly #order: number;
  readonly #neighbors: SimpleGraph["neighbors"];
  /** Arcs leaving each half node, as numbers; arc `i ^ 1` is the reverse of arc `i`. Half nodes: 2v enters, 2v + 1 leaves. */
  readonly #arcs: number[][];
  readonly #to: number[] = [];
  readonly #rooms: number[] = [];
  /** Room of each arc at rest and, while a pair is looked at, now. */
  readonly #rest: Int32Array;
  readonly #room: Int32Array;
  readonly #reachedBy: Int32Array;
  readonly #queue: Int32Array;
  readonly #direct = new Map<number, number>();

  constructor(graph: SimpleGraph) {
    this.#order = graph.order;
    this.#neighbors = graph.neighbors;
    this.#arcs = Array.from({ length: 2 * graph.order }, () => []);
    for (let node = 0; node < graph.order; node++) this.#add(2 * node, 2 * node + 1, 1);
    for (const [a, b] of graph.edges) {
      this.#direct.set(a * graph.order + b, this.#add(2 * a + 1, 2 * b, ENDLESS));
      this.#direct.set(b * graph.order + a, this.#add(2 * b + 1, 2 * a, ENDLESS));
    }
    this.#rest = Int32Array.from(this.#rooms);
    this.#room = new Int32Array(this.#rest.length);
    this.#reachedBy = new Int32Array(2 * graph.order);
    this.#queue = new Int32Array(2 * graph.order);
  }

  /** Looks at one pair of different nodes. Stops at `limit` paths. */
  between(from: number, to: number, limit = Infinity): PairCut {
    this.#room.set(this.#rest);
    const direct = this.#direct.get(from * this.#order + to);
    if (direct !== undefined) this.#room[direct] = 1;
    const source = 2 * from + 1, sink = 2 * to;
    let disjointPaths = this.#shortPaths(from, to, limit);
    for (;;) {
      if (disjointPaths >= limit) return { disjointPaths: limit, atLimit: true };
      const reachedBy = this.#search(source, sink);
      if (reachedBy[sink] === -1) {
        if (direct !== undefined) return { disjointPaths, atLimit: false };
        const cut: number[] = [];
        for (let node = 0; node < this.#order; node++) {
          if (node !== from && reachedBy[2 * node] !== -1 && reachedBy[2 * node + 1] === -1) cut.push(node);
        }
        return { disjointPaths, atLimit: false, cut };
      }
      for (let at = sink; at !== source; at = this.#to[reachedBy[at] ^ 1]) this.#use(reachedBy[at]);
      disjointPaths++;
    }
  }

  /** Uses the direct link and the paths through common neighbours: they can be part of every largest flow, and need no search. */
  #shortPaths(from: number, to: number, limit: number): number {
    let paths = 0;
    const direct = this.#direct.get(from * this.#order + to);
    if (direct !== undefined && paths < limit) {
      this.#use(direct);
      paths++;
    }
    for (const middle of this.#neighbors[from]) {
      if (paths >= limit) break;
      const there = this.#direct.get(middle * this.#order + to);
      if (there === undefined || middle === to) continue;
      // The arc through a node is its first: number 2 * node.
      for (const arc of [this.#direct.get(from * this.#order + middle)!, 2 * middle, there]) this.#use(arc);
      paths++;
    }
    return paths;
  }

  /** One path goes through an arc. */
  #use(arc: number): void {
    this.#room[arc]--;
    this.#room[arc ^ 1]++;
  }

  /** Adds an arc and its reverse. */
  #add(from: number, to: number, room: number): number {
    const arc = this.#to.length;
    this.#to.push(to, from);
    this.#rooms.push(room, 0);
    this.#arcs[from].push(arc);
    this.#arcs[to].push(arc + 1);
    return arc;
  }

  /** The arc by which each half node is reached through arcs with room; -1 for those that are not, -2 at the source. */
  #search(source: number, sink: number): Int32Array {
    const reachedBy = this.#reachedBy.fill(-1), queue = this.#queue;
    reachedBy[source] = -2;
    queue[0] = source;
    for (let i = 0, end = 1; i < end && reachedBy[sink] === -1; i++) {
      for (const arc of this.#arcs[queue[i]]) {
        const to = this.#to[arc];
        if (reachedBy[to] !== -1 || this.#room[arc] <= 0) continue;
        reachedBy[to] = arc;
        queue[end++] = to;
      }
    }
    return reachedBy;
  }
}
