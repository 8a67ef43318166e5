/** What changed since an earlier survey, as the report says it. */
import { type GraphFigures, graphFigures } from "./analysis.ts";
import { diffSnapshots, snapshotOf } from "./compare.ts";
import { type SurveyGraph, surveyGraph } from "./graph.ts";
import { floodDuplicates, reportsOf } from "./traffic.ts";
import { instant, type SurveyReport } from "./report_types.ts";
import type { SurveyDocument } from "./types.ts";

/** Compares an earlier survey with the graph of this one. */
export async function changesOf(
  since: SurveyDocument,
  graph: SurveyGraph,
  figures: GraphFigures,
): Promise<SurveyReport["changes"]> {
  const before = surveyGraph(since);
  const diff = diffSnapshots(snapshotOf(before), snapshotOf(graph));
  const old = summary(before, await graphFigures(before.simple)), now = summary(graph, figures);
  const withId = <T>(map: Map<string, T>) => [...map].map(([nodeId, facts]) => ({ nodeId, ...facts }));
  const withEnds = <T>(map: Map<string, T>) =>
    [...map].map(([key, facts]) => ({ ends: JSON.parse(key) as string[], ...facts }));
  return {
    since: { startedAt: instant(since.startedAtMs), nonce: since.nonce ?? null },
    figures: Object.keys(now).map((figure) => ({ figure, before: old[figure], after: now[figure] })),
    nodesCame: withId(diff.nodes.came),
    nodesWent: withId(diff.nodes.went),
    nodesChanged: withId(diff.nodes.changed),
    linksCame: withEnds(diff.links.came),
    linksWent: withEnds(diff.links.went),
    linksChanged: withEnds(diff.links.changed),
  };
}

/** The figures that two surveys are compared by. */
function summary(graph: SurveyGraph, figures: GraphFigures): Record<string, number | null> {
  const { degree, order } = figures;
  return {
    nodes: order,
    answered: graph.nodes.filter((node) => node.data !== undefined).length,
    links: figures.size,
    meanDegree: order === 0 ? null : degree.reduce((sum, value) => sum + value, 0) / order,
    components: figures.components.length,
    largestComponent: figures.components[0]?.length ?? 0,
    diameterHops: figures.largest.diameter,
    averageShortestPathHops: figures.largest.averageShortestPath,
    averageClustering: figures.averageClustering,
    articulationNodes: figures.articulation.length,
    bridges: figures.bridges.length,
    maxCoreness: figures.coreness.reduce((most, value) => Math.max(most, value), 0),
    floodDuplicateRatio: floodDuplicates(reportsOf(graph)).messageRatio ?? null,
  };
}
