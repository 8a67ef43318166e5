/** The report of a survey: everything the graph and the counters tell, and what they do not. */
import { type GraphFigures, graphFigures } from "./analysis.ts";
import { changesOf } from "./changes.ts";
import { coverageOf, limitsOf } from "./coverage.ts";
import { type SurveyGraph, surveyGraph } from "./graph.ts";
import { componentLabels } from "./graph_algorithms.ts";
import { type Organizations, organizationsOfAttributes } from "./organizations.ts";
import { findOutliers } from "./outliers.ts";
import { removeGroups, removeTop } from "./removal.ts";
import {
  type Bar,
  type Distribution,
  instant,
  REPORT_SCHEMA,
  type ReportNode,
  type ReportRemoval,
  type ReportWay,
  type SurveyReport,
} from "./report_types.ts";
import { fetchDuplicates, floodDuplicates, linkTraffic, percentiles, reportsOf } from "./traffic.ts";
import { sliceMsOf, type SurveyDocument } from "./types.ts";
import { validatorPaths } from "./validators.ts";

/** What a report is made of besides the survey. */
export interface ReportOptions {
  /** Who runs which node; absent: what the document's attributes say. */
  organizations?: Organizations;
  /** The survey before, to say what changed. */
  since?: SurveyDocument;
  /** Length of the slice when the document does not tell it. */
  sliceSeconds?: number;
}

/** Makes the report. Time grows with nodes x links: 1 to 2 s for 300 nodes with 3000 links. */
export async function surveyReport(document: SurveyDocument, options: ReportOptions = {}): Promise<SurveyReport> {
  const graph = surveyGraph(document);
  const figures = await graphFigures(graph.simple);
  const sliceMs = sliceMsOf(document);
  const sliceSeconds = sliceMs === undefined ? options.sliceSeconds : sliceMs / 1000;
  const traffic = linkTraffic(graph, sliceSeconds);
  const organizations = options.organizations ?? organizationsOfAttributes(document);
  const { nodes } = graph;
  const id = (node: number) => nodes[node].nodeId;
  const isValidator = nodes.flatMap((node, i) => node.data?.isValidator === true ? [i] : []);
  const nodeReports = reportNodes(document, graph, figures, organizations, sliceSeconds);
  const coverage = coverageOf(document, graph);
  const ways = traffic.flatMap((link) => link.ways);
  const reports = reportsOf(graph);

  return {
    schema: REPORT_SCHEMA,
    survey: {
      nonce: document.nonce ?? null,
      surveyor: document.surveyor ?? null,
      network: document.network ?? null,
      startedAt: instant(document.startedAtMs),
      stoppedAt: instant(document.stoppedAtMs),
      sliceSeconds: sliceSeconds ?? null,
      linkReports: document.linkReports,
    },
    coverage,
    limits: limitsOf(document, coverage, sliceSeconds, isValidator.length),
    graph: {
      density: figures.density,
      degree: distribution(figures.degree),
      inDegree: distribution(graph.inDegree),
      outDegree: distribution(graph.outDegree),
      distances: figures.distances,
      diameterHops: figures.largest.diameter,
      radiusHops: figures.largest.radius,
      averageShortestPathHops: figures.largest.averageShortestPath,
      averageClustering: figures.averageClustering,
      components: figures.components.map((part) => ({ nodes: part.length, nodeIds: part.map(id) })),
      articulationNodes: articulationOf(graph, figures),
      bridges: figures.bridges.map(([a, b]): [string, string] => [id(a), id(b)]),
      maxCoreness: figures.coreness.reduce((most, value) => Math.max(most, value), 0),
      coreness: histogram(figures.coreness),
    },
    nodes: nodeReports,
    links: graph.links.map(({ ends, dialer, agreement }) => ({ ends, dialer: dialer ?? null, agreement })),
    removal: removalOf(graph, figures, organizations, isValidator),
    validators: validatorsOf(graph, figures, isValidator),
    traffic: {
      links: traffic.map(({ link, ways }) => ({
        ends: link.ends,
        ways: ways.map((way): ReportWay => ({
          from: way.from,
          to: way.to,
          countedBy: way.countedBy,
          messages: way.messages,
          bytes: way.bytes,
          messagesPerSecond: way.messagesPerSecond ?? null,
          bytesPerSecond: way.bytesPerSecond ?? null,
          gapRatio: way.gapRatio ?? null,
          floodDuplicateRatio: way.flood?.messageRatio ?? null,
          floodDuplicateByteRatio: way.flood?.byteRatio ?? null,
          latencyMs: way.latencyMs ?? null,
        })),
      })),
      bytesPerSecond: percentiles(ways.flatMap((way) => way.bytesPerSecond ?? [])) ?? null,
      messagesPerSecond: percentiles(ways.flatMap((way) => way.messagesPerSecond ?? [])) ?? null,
      flood: floodDuplicates(reports),
      fetch: fetchDuplicates(reports),
    },
    latency: {
      linkMs: percentiles(reports.map((report) => report.averageLatencyMs).filter((ms) => ms > 0)) ?? null,
      scpFirstToSelfMs: percentiles(nodes.flatMap((node) => node.data?.p75SCPFirstToSelfLatencyMs ?? [])) ?? null,
      scpSelfToOtherMs: percentiles(nodes.flatMap((node) => node.data?.p75SCPSelfToOtherLatencyMs ?? [])) ?? null,
    },
    versions: versionShare(graph),
    outliers: findOutliers(graph, traffic),
    changes: options.since === undefined ? null : await changesOf(options.since, graph, figures),
  };
}

function reportNodes(
  document: SurveyDocument,
  graph: SurveyGraph,
  figures: GraphFigures,
  organizations: Organizations,
  sliceSeconds: number | undefined,
): ReportNode[] {
  const isCut = new Set(figures.articulation);
  return graph.nodes.map(({ nodeId, state, lateJoiner, versionStr, data }, i): ReportNode => {
    const surveyed = data === undefined || document.linkReports !== "perSide" ? undefined : document.nodes.get(nodeId);
    const peers = surveyed === undefined ? [] : [...surveyed.inboundPeers, ...surveyed.outboundPeers];
    const rate = (field: "bytesRead" | "bytesWritten") =>
      surveyed === undefined || sliceSeconds === undefined || sliceSeconds <= 0
        ? null
        : Number(peers.reduce((sum, peer) => sum + peer[field], 0n)) / sliceSeconds;
    return {
      nodeId,
      name: organizations.names.get(nodeId) ?? null,
      organization: organizations.of.get(nodeId) ?? null,
      state,
      lateJoiner,
      versionStr: versionStr ?? null,
      isValidator: data?.isValidator ?? null,
      degree: figures.degree[i],
      inDegree: graph.inDegree[i],
      outDegree: graph.outDegree[i],
      clustering: figures.clustering[i],
      betweenness: figures.betweenness[i],
      closeness: figures.closeness[i],
      eccentricityHops: figures.eccentricity[i],
      coreness: figures.coreness[i],
      isArticulation: isCut.has(i),
      lostSyncCount: data?.lostSyncCount ?? null,
      p75SCPFirstToSelfLatencyMs: data?.p75SCPFirstToSelfLatencyMs ?? null,
      p75SCPSelfToOtherLatencyMs: data?.p75SCPSelfToOtherLatencyMs ?? null,
      addedPeers: data?.addedAuthenticatedPeers ?? null,
      droppedPeers: data?.droppedAuthenticatedPeers ?? null,
      maxInboundPeers: data?.maxInboundPeerCount ?? null,
      maxOutboundPeers: data?.maxOutboundPeerCount ?? null,
      bytesReadPerSecond: rate("bytesRead"),
      bytesWrittenPerSecond: rate("bytesWritten"),
      floodDuplicateRatio: floodDuplicates(peers).messageRatio ?? null,
    };
  });
}

function articulationOf(graph: SurveyGraph, figures: GraphFigures): SurveyReport["graph"]["articulationNodes"] {
  return figures.articulation.map((node) => {
    const labels = componentLabels(graph.simple, new Set([node]));
    const own = new Map<number, number>();
    const component = figures.components.find((part) => part.includes(node))!;
    for (const other of component) if (other !== node) own.set(labels[other], (own.get(labels[other]) ?? 0) + 1);
    return {
      nodeId: graph.nodes[node].nodeId,
      parts: own.size,
      cutOff: component.length - 1 - [...own.values()].reduce((most, size) => Math.max(most, size), 0),
    };
  }).sort((a, b) => b.cutOff - a.cutOff || b.parts - a.parts || (a.nodeId < b.nodeId ? -1 : 1));
}

function removalOf(
  graph: SurveyGraph,
  figures: GraphFigures,
  organizations: Organizations,
  validators: readonly number[],
): SurveyReport["removal"] {
  const named = ({ nodesRemoved, nodes, ...rest }: ReturnType<typeof removeTop>[number]): ReportRemoval => ({
    ...rest,
    nodesRemoved: nodesRemoved.map((node) => graph.nodes[node].nodeId),
    share: nodes === 0 ? 0 : rest.largest / nodes,
  });
  const groups = new Map<string, number[]>();
  for (const [i, { nodeId }] of graph.nodes.entries()) {
    const organization = organizations.of.get(nodeId);
    if (organization !== undefined) groups.set(organization, [...groups.get(organization) ?? [], i]);
  }
  return {
    byDegree: removeTop(graph.simple, figures.degree, validators).map(named),
    byBetweenness: removeTop(graph.simple, figures.betweenness, validators).map(named),
    organizations: {
      source: organizations.source,
      nodes: [...groups.values()].reduce((sum, group) => sum + group.length, 0),
      each: removeGroups(graph.simple, groups, validators).map(({ group, ...rest }) => ({
        organization: group,
        ...named({ removed: rest.nodesRemoved.length, ...rest }),
      })),
    },
  };
}

function validatorsOf(graph: SurveyGraph, figures: GraphFigures, validators: number[]): SurveyReport["validators"] {
  const id = (node: number) => graph.nodes[node].nodeId;
  const paths = validatorPaths(graph.simple, validators, figures.articulation);
  return {
    nodeIds: paths.validators.map(id),
    hops: paths.hops.map((row) => row.map((hops) => hops === -1 ? null : hops)),
    meanHops: paths.meanHops,
    maxHops: paths.maxHops,
    unconnectedPairs: paths.unconnectedPairs,
    linkedPairs: paths.linkedPairs,
    dependencies: paths.dependencies.map(({ a, b, on }) => ({ a: id(a), b: id(b), on: on.map(id) })),
    disjointPaths: paths.disjointPaths ?? null,
    weakest: paths.weakest?.map(({ a, b, paths, cut }) => ({ a: id(a), b: id(b), paths, cut: cut?.map(id) ?? null })) ??
      null,
  };
}

function versionShare(graph: SurveyGraph): SurveyReport["versions"] {
  const counts = new Map<string | null, { nodes: number; validators: number }>();
  for (const { versionStr, data } of graph.nodes) {
    const count = counts.get(versionStr ?? null) ?? { nodes: 0, validators: 0 };
    count.nodes++;
    if (data?.isValidator) count.validators++;
    counts.set(versionStr ?? null, count);
  }
  return [...counts].map(([versionStr, count]) => ({ versionStr, ...count }))
    .sort((a, b) => b.nodes - a.nodes || ((a.versionStr ?? "") < (b.versionStr ?? "") ? -1 : 1));
}

function distribution(values: readonly number[]): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return { min: 0, median: 0, mean: 0, max: 0, histogram: [] };
  const middle = sorted.length >> 1;
  return {
    min: sorted[0],
    median: sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    max: sorted[sorted.length - 1],
    histogram: histogram(values),
  };
}

function histogram(values: readonly number[]): Bar[] {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => a[0] - b[0]).map(([value, nodes]) => ({ value, nodes }));
}
