/** Figures equal networkx's on fixed graphs, and a slow second implementation's and cytoscape's on random ones. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import cytoscape from "cytoscape";
import fc from "fast-check";
import { naiveDistances, naiveFigures, naiveVertexCut } from "../../tests/kit/naive_graph.ts";
import { ROOT } from "../../tests/kit/tool.ts";
import { graphFigures, hopsFrom } from "./analysis.ts";
import { type SimpleGraph, simpleGraph } from "./graph.ts";
import { componentLabels, cutPoints, VertexCuts } from "./graph_algorithms.ts";

/** Graphs with the numbers networkx gives for them; `how` says which calls. Made by tests/tasks/graph_figures.py. */
const vectors = JSON.parse(readFileSync(join(ROOT, "tests", "vectors", "graph_figures.json"), "utf8"));

/** Deep equality, floating-point numbers to 12 digits: sums are taken in another order. */
function assertClose(actual: unknown, expected: unknown, path: string): void {
  if (typeof expected === "number") {
    assert.ok(
      typeof actual === "number" && Math.abs(actual - expected) < 1e-12 * Math.max(1, Math.abs(expected)),
      path,
    );
  } else if (typeof expected === "object" && expected !== null) {
    assert.deepEqual(Object.keys(actual as object).sort(), Object.keys(expected).sort(), path);
    for (const [key, value] of Object.entries(expected)) {
      assertClose((actual as Record<string, unknown>)[key], value, `${path}.${key}`);
    }
  } else assert.equal(actual, expected, path);
}

for (const [name, expected] of Object.entries<ReturnType<typeof JSON.parse>>(vectors.graphs)) {
  test(`graphFigures equals networkx on ${name}`, async () => {
    const graph = simpleGraph(expected.order, expected.edges);
    const { eccentricity: _, largest, size, ...figures } = await graphFigures(graph);
    const { edges, cuts, ...rest } = expected;
    assert.equal(size, edges.length);
    assertClose({ ...figures, ...largest }, rest, name);
    const vertexCuts = new VertexCuts(graph);
    for (const [s, t, paths, smallest] of cuts) {
      const { disjointPaths, cut } = vertexCuts.between(s, t);
      assert.equal(disjointPaths, paths, `paths ${s}-${t}`);
      assert.equal(cut?.length ?? null, smallest, `cut ${s}-${t}`);
      if (cut !== undefined) {
        assert.equal(componentLabels(graph, new Set(cut))[s] === componentLabels(graph, new Set(cut))[t], false);
      }
    }
  });
}

/** Random graphs of up to `most` nodes, from no link to complete. */
function arbGraph(most: number): fc.Arbitrary<SimpleGraph> {
  return fc.integer({ min: 0, max: most }).chain((order) =>
    order === 0
      ? fc.constant(simpleGraph(0, []))
      : fc.array(fc.tuple(fc.nat(order - 1), fc.nat(order - 1)), { maxLength: 2 * order })
        .map((pairs) => simpleGraph(order, pairs))
  );
}

test("graphFigures agrees with a naive second implementation on random graphs", async () => {
  await fc.assert(
    fc.asyncProperty(arbGraph(11), async (graph) => {
      assertClose(await graphFigures(graph), naiveFigures(graph), "figures");
      for (let node = 0; node < graph.order; node++) {
        const distances = naiveDistances(graph)[node].map((hops) => hops === Infinity ? -1 : hops);
        assert.deepEqual([...hopsFrom(graph, node)], distances);
      }
    }),
    { numRuns: 150 },
  );
});

test("VertexCuts agrees with trying all sets of nodes, and its cut separates", () => {
  fc.assert(
    fc.property(arbGraph(7), (graph) => {
      const cuts = new VertexCuts(graph);
      for (let s = 0; s < graph.order; s++) {
        for (let t = 0; t < graph.order; t++) {
          if (s === t) continue;
          const { cut, disjointPaths, atLimit } = cuts.between(s, t);
          const expected = naiveVertexCut(graph, s, t);
          assert.equal(cut?.length, expected);
          assert.equal(atLimit, false);
          if (cut !== undefined) assert.equal(naiveDistances(graph, cut)[s][t], Infinity);
          // Menger; of linked nodes: one more than without the link.
          const unlinked = simpleGraph(
            graph.order,
            graph.edges.filter(([a, b]) => a !== Math.min(s, t) || b !== Math.max(s, t)),
          );
          assert.equal(disjointPaths, expected ?? naiveVertexCut(unlinked, s, t)! + 1);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("VertexCuts stops at its limit", () => {
  const graph = simpleGraph(5, [[0, 1], [0, 2], [0, 3], [1, 4], [2, 4], [3, 4]]);
  assert.deepEqual(new VertexCuts(graph).between(0, 4, 2), { disjointPaths: 2, atLimit: true });
  assert.deepEqual(new VertexCuts(graph).between(0, 4, 4), { disjointPaths: 3, atLimit: false, cut: [1, 2, 3] });
});

test("cutPoints agrees with cytoscape's Hopcroft-Tarjan on larger random graphs", () => {
  fc.assert(
    fc.property(arbGraph(60), (graph) => {
      const nodes = [...Array(graph.order).keys()].map((node) => ({ data: { id: `n${node}` } }));
      const edges = graph.edges.map(([a, b]) => ({ data: { id: `${a}-${b}`, source: `n${a}`, target: `n${b}` } }));
      const cy = cytoscape({ headless: true, elements: [...nodes, ...edges] });
      const { cut, components } = cy.elements().hopcroftTarjanBiconnected();
      const { articulation, bridges } = cutPoints(graph);
      assert.deepEqual(cut.map((node) => Number(node.id().slice(1))).sort((a, b) => a - b), articulation);
      const single = components.filter((part) => part.edges().length === 1).map((part) => part.edges()[0].id());
      assert.deepEqual(single.sort(), bridges.map(([a, b]) => `${a}-${b}`).sort());
    }),
    { numRuns: 60 },
  );
});

test("graphFigures counts more shortest paths than 32 bits hold", async () => {
  // 40 diamonds in a row: 2^40 shortest paths from end to end.
  const pairs: [number, number][] = [];
  for (let i = 0; i < 40; i++) {
    const at = 3 * i;
    pairs.push([at, at + 1], [at, at + 2], [at + 1, at + 3], [at + 2, at + 3]);
  }
  const order = 121;
  const { betweenness, largest } = await graphFigures(simpleGraph(order, pairs));
  assert.equal(largest.diameter, 80);
  // The joint in the middle separates 60 nodes from 60 others, and is on one of the two paths across each diamond beside it.
  assertClose(betweenness[60], (60 * 60 + 0.5 + 0.5) / (120 * 119 / 2), "middle");
});

test("cutPoints takes a path of 200 000 nodes", () => {
  const order = 200_000;
  const { articulation, bridges } = cutPoints(
    simpleGraph(order, Array.from({ length: order - 1 }, (_, i): [number, number] => [i, i + 1])),
  );
  assert.equal(articulation.length, order - 2);
  assert.equal(bridges.length, order - 1);
});
