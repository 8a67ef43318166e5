/** Shape of a survey's report, the document of `survey report --json`. Schema stellar-overlay/survey-report/1; see docs/json.md. */
import type { Change, LinkFacts, NodeFacts } from "./compare.ts";
import type { Agreement } from "./graph.ts";
import type { Organizations } from "./organizations.ts";
import type { Outlier } from "./outliers.ts";
import type { Duplicates, Percentiles } from "./traffic.ts";
import type { AskState, SurveyDocument } from "./types.ts";

/** Name of the document's shape. */
export const REPORT_SCHEMA = "stellar-overlay/survey-report/1";

/** How many nodes have a figure of this size. */
export interface Bar {
  value: number;
  nodes: number;
}

/** A distribution over nodes. */
export interface Distribution {
  min: number;
  median: number;
  mean: number;
  max: number;
  /** Only sizes that occur, rising. */
  histogram: Bar[];
}

/** What the report says of a node. Null: not known, because it did not answer or nothing was counted. */
export interface ReportNode {
  nodeId: string;
  name: string | null;
  organization: string | null;
  state: AskState | "listedOnly";
  lateJoiner: boolean;
  /** Remote text. */
  versionStr: string | null;
  isValidator: boolean | null;
  /** Peers seen in either direction; dialed by, and dialed, as far as lists show. */
  degree: number;
  inDegree: number;
  outDegree: number;
  clustering: number;
  betweenness: number;
  closeness: number;
  eccentricityHops: number;
  coreness: number;
  isArticulation: boolean;
  lostSyncCount: number | null;
  p75SCPFirstToSelfLatencyMs: number | null;
  p75SCPSelfToOtherLatencyMs: number | null;
  addedPeers: number | null;
  droppedPeers: number | null;
  maxInboundPeers: number | null;
  maxOutboundPeers: number | null;
  /** Traffic over all links in its lists. */
  bytesReadPerSecond: number | null;
  bytesWrittenPerSecond: number | null;
  floodDuplicateRatio: number | null;
}

/** Traffic one way over a link. */
export interface ReportWay {
  from: string;
  to: string;
  countedBy: "receiver" | "sender";
  messages: bigint;
  bytes: bigint;
  messagesPerSecond: number | null;
  bytesPerSecond: number | null;
  gapRatio: number | null;
  /** Share of flood messages, and of their bytes, that `to` had already. */
  floodDuplicateRatio: number | null;
  floodDuplicateByteRatio: number | null;
  latencyMs: number | null;
}

/** What the network is without some nodes. `share`: of the nodes left, those in the largest component. */
export interface ReportRemoval {
  removed: number;
  /** Node ids taken away; of series, all up to this step. */
  nodesRemoved: string[];
  components: number;
  largest: number;
  cutOff: number;
  share: number;
  validatorsLeft: number;
  validatorsCutOff: number;
}

/** A figure of two surveys. */
export interface Delta {
  figure: string;
  before: number | null;
  after: number | null;
}

/** The whole report. Optional figures are null, not left out. */
export interface SurveyReport {
  schema: typeof REPORT_SCHEMA;
  survey: {
    nonce: number | null;
    surveyor: string | null;
    network: string | null;
    startedAt: string | null;
    stoppedAt: string | null;
    sliceSeconds: number | null;
    linkReports: SurveyDocument["linkReports"];
  };
  coverage: {
    /** Nodes of the graph: answered, or named by one that did. */
    nodes: number;
    links: number;
    asked: number;
    byState: Record<AskState | "listedOnly", number>;
    /** Nodes that were asked and that nobody names: they are not in the graph. */
    askedOutsideGraph: number;
    lateJoiners: number;
    /** Answered, but their lists are shorter than they say. */
    incompleteLists: number;
    linksByAgreement: Record<Agreement, number>;
  };
  /** What cannot be concluded from this survey, one sentence each. */
  limits: string[];
  graph: {
    density: number;
    degree: Distribution;
    inDegree: Distribution;
    outDegree: Distribution;
    distances: { hops: number; pairs: number }[];
    diameterHops: number;
    radiusHops: number;
    averageShortestPathHops: number;
    averageClustering: number;
    components: { nodes: number; nodeIds: string[] }[];
    articulationNodes: { nodeId: string; parts: number; cutOff: number }[];
    bridges: [string, string][];
    maxCoreness: number;
    coreness: Bar[];
  };
  nodes: ReportNode[];
  /** All links of the graph, ends in text order. */
  links: { ends: [string, string]; dialer: string | null; agreement: Agreement }[];
  removal: {
    byDegree: ReportRemoval[];
    byBetweenness: ReportRemoval[];
    organizations: {
      source: Organizations["source"];
      /** Nodes of the graph that belong to one. */
      nodes: number;
      each: (ReportRemoval & { organization: string })[];
    };
  };
  validators: {
    nodeIds: string[];
    hops: (number | null)[][];
    meanHops: number;
    maxHops: number;
    unconnectedPairs: number;
    linkedPairs: number;
    /** Pairs that depend on one node: without any one of `on` they have no path. */
    dependencies: { a: string; b: string; on: string[] }[];
    disjointPaths: { paths: number; atLeast: boolean; pairs: number }[] | null;
    weakest: { a: string; b: string; paths: number; cut: string[] | null }[] | null;
  };
  traffic: {
    /** Links that at least one end reported, where the file tells which. */
    links: { ends: [string, string]; ways: ReportWay[] }[];
    bytesPerSecond: Percentiles | null;
    messagesPerSecond: Percentiles | null;
    flood: Duplicates;
    fetch: Duplicates;
  };
  latency: {
    linkMs: Percentiles | null;
    scpFirstToSelfMs: Percentiles | null;
    scpSelfToOtherMs: Percentiles | null;
  };
  /** Most frequent first; versionStr is remote text, null for nodes of which none is known. */
  versions: { versionStr: string | null; nodes: number; validators: number }[];
  outliers: Outlier[];
  changes: null | {
    since: { startedAt: string | null; nonce: number | null };
    figures: Delta[];
    nodesCame: ({ nodeId: string } & NodeFacts)[];
    nodesWent: ({ nodeId: string } & NodeFacts)[];
    nodesChanged: ({ nodeId: string } & Change)[];
    linksCame: ({ ends: string[] } & LinkFacts)[];
    linksWent: ({ ends: string[] } & LinkFacts)[];
    linksChanged: ({ ends: string[] } & Change)[];
  };
}

/** An instant as documents write it; null when it is not known. */
export function instant(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
