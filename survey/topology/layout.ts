/** Where to draw the nodes of a graph: linked ones near each other, others apart. */
import type { SimpleGraph } from "./graph.ts";

/** A place in a square of side 1. */
export interface Place {
  x: number;
  y: number;
}

/** Work spent: pairs of nodes looked at over all rounds; a second or two. Larger graphs get fewer rounds. */
const PAIRS = 40_000_000;

/**
 * Places by forces (Fruchterman and Reingold): links pull, all pairs push, and a slight pull to the middle keeps components
 * together. Always the same for the same graph: nodes start on a spiral in order of degree, the best connected in the middle.
 */
export function layoutGraph(graph: SimpleGraph): Place[] {
  const n = graph.order;
  if (n === 0) return [];
  const byDegree = [...graph.neighbors.keys()].sort((a, b) =>
    graph.neighbors[b].length - graph.neighbors[a].length || a - b
  );
  const xs = new Float64Array(n), ys = new Float64Array(n), dx = new Float64Array(n), dy = new Float64Array(n);
  for (const [rank, node] of byDegree.entries()) {
    const angle = rank * 2.399963; // the golden angle: no two nodes start on one ray
    const radius = 0.5 * Math.sqrt((rank + 0.5) / n);
    xs[node] = radius * Math.cos(angle);
    ys[node] = radius * Math.sin(angle);
  }
  const spacing = Math.sqrt(1 / n);
  const rounds = Math.max(10, Math.min(250, Math.round(PAIRS / (n * n))));
  for (let round = 0; round < rounds; round++) {
    for (let a = 0; a < n; a++) {
      // The pull to the middle outweighs the push of strangers for what has no link to the rest.
      dx[a] = -xs[a] * spacing * 12;
      dy[a] = -ys[a] * spacing * 12;
    }
    for (let a = 0; a < n; a++) {
      for (let b = a + 1; b < n; b++) {
        const x = xs[a] - xs[b], y = ys[a] - ys[b];
        const push = spacing * spacing / Math.max(x * x + y * y, 1e-6);
        dx[a] += x * push;
        dy[a] += y * push;
        dx[b] -= x * push;
        dy[b] -= y * push;
      }
    }
    for (const [a, b] of graph.edges) {
      const x = xs[a] - xs[b], y = ys[a] - ys[b];
      // Links of well connected nodes pull less, else these all fall into one point.
      const strength = 2 / Math.sqrt(Math.min(graph.neighbors[a].length, graph.neighbors[b].length));
      const pull = strength * Math.sqrt(x * x + y * y) / spacing * 0.25;
      dx[a] -= x * pull;
      dy[a] -= y * pull;
      dx[b] += x * pull;
      dy[b] += y * pull;
    }
    const most = 0.1 * (1 - round / rounds) + 0.001;
    for (let a = 0; a < n; a++) {
      const length = Math.sqrt(dx[a] * dx[a] + dy[a] * dy[a]);
      const step = length === 0 ? 0 : Math.min(length, most) / length;
      xs[a] += dx[a] * step;
      ys[a] += dy[a] * step;
    }
  }
  const scale = (values: Float64Array) => {
    const low = Math.min(...values), span = Math.max(...values) - low;
    return (value: number) => span === 0 ? 0.5 : (value - low) / span;
  };
  const toX = scale(xs), toY = scale(ys);
  return Array.from({ length: n }, (_, node) => ({ x: toX(xs[node]), y: toY(ys[node]) }));
}
