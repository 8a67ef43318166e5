/** Nodes and links one should look at, each with the reason. */
import type { SurveyGraph } from "./graph.ts";
import { type LinkTraffic, percentiles } from "./traffic.ts";

/** One thing to look at. */
export interface Outlier {
  kind: (typeof OUTLIER_KINDS)[number];
  /** The node concerned: of a link, the end that reported. */
  nodeId: string;
  /** The other end of the link; null for kinds about a node. */
  peer: string | null;
  /** The figure that is out of line, in the unit that `detail` names; of `denied` and `roles`, how many such links the node has. */
  value: number;
  /** What is seen, without remote text. */
  detail: string;
}

/** All kinds in the order they are listed: first those about the truth of reports, then nodes, then links. */
export const OUTLIER_KINDS = [
  "denied",
  "roles",
  "oddEntry",
  "mismatch",
  "lostSync",
  "noPeers",
  "fewPeers",
  "slowScp",
  "peerChurn",
  "allDuplicates",
  "slowLink",
] as const;

/** Fewer peers than this are few: stellar-core dials 8 of its own. */
const FEW_PEERS = 5;
/** Flood messages a link must have carried before "all duplicates" means something. */
const LEAST_FLOOD_MESSAGES = 20n;
/** Counters of both ends may differ so far without being listed: they are frozen seconds apart. */
const USUAL_GAP = 0.25;
/** Below so many bytes a difference says nothing. */
const LEAST_GAP_BYTES = 100_000n;

/** All outliers, by kind, the farthest out first. */
export function findOutliers(graph: SurveyGraph, traffic: readonly LinkTraffic[]): Outlier[] {
  const found = [...ofReports(graph, traffic), ...ofNodes(graph), ...ofLinks(traffic)];
  const farther = (a: Outlier, b: Outlier) => a.kind === "fewPeers" ? a.value - b.value : b.value - a.value;
  return found.sort((a, b) =>
    OUTLIER_KINDS.indexOf(a.kind) - OUTLIER_KINDS.indexOf(b.kind) || farther(a, b) || (a.nodeId < b.nodeId ? -1 : 1)
  );
}

function* ofReports(graph: SurveyGraph, traffic: readonly LinkTraffic[]): Generator<Outlier> {
  const suspects = graph.links.filter(({ agreement }) => agreement === "denied" || agreement === "roles");
  // Who is wrong cannot be told; one that lies stands in many such links.
  const counts = new Map<string, number>();
  for (const { reports } of suspects) counts.set(reports[0].by, (counts.get(reports[0].by) ?? 0) + 1);
  for (const { ends, reports, agreement } of suspects) {
    const nodeId = reports[0].by, peer = ends[0] === nodeId ? ends[1] : ends[0];
    const detail = agreement === "denied"
      ? "the other end answered in full without this link"
      : "reports differ on who dialed";
    yield { kind: agreement as "denied" | "roles", nodeId, peer, value: counts.get(nodeId)!, detail };
  }
  for (const { nodeId, peer, reason } of graph.oddEntries) {
    const detail = reason === "self" ? "lists itself as a peer" : "lists the same peer twice";
    yield { kind: "oddEntry", nodeId, peer, value: 1, detail };
  }
  for (const { from, to, written, read, gapRatio } of traffic.flatMap(({ link }) => link.flows)) {
    if (gapRatio === undefined || gapRatio <= USUAL_GAP) continue;
    if (written! < LEAST_GAP_BYTES && read! < LEAST_GAP_BYTES) continue;
    const detail = `bytes written to the peer and read by it differ by ${Math.round(gapRatio * 100)} %`;
    yield { kind: "mismatch", nodeId: from, peer: to, value: gapRatio, detail };
  }
}

function* ofNodes(graph: SurveyGraph): Generator<Outlier> {
  const answered = graph.nodes.filter((node) => node.data !== undefined);
  const slow = farFence(answered.map((node) => node.data!.p75SCPFirstToSelfLatencyMs));
  const churn = farFence(answered.map((node) => node.data!.droppedAuthenticatedPeers));
  for (const { nodeId, data } of answered) {
    const about = (kind: Outlier["kind"], value: number, detail: string) => ({
      kind,
      nodeId,
      peer: null,
      value,
      detail,
    });
    const lost = data!.lostSyncCount;
    if (lost > 0) yield about("lostSync", lost, `lost sync ${lost === 1 ? "once" : `${lost} times`} during the slice`);
    const peers = data!.numTotalInboundPeers + data!.numTotalOutboundPeers;
    if (peers === 0) yield about("noPeers", 0, "no peer stayed connected for the whole slice");
    else if (peers < FEW_PEERS) {
      yield about("fewPeers", peers, `${peers} ${peers === 1 ? "peer" : "peers"} connected for the whole slice`);
    }
    const scpMs = data!.p75SCPFirstToSelfLatencyMs;
    if (scpMs > slow) yield about("slowScp", scpMs, `externalizes ${scpMs} ms after the first it hears of (p75)`);
    const dropped = data!.droppedAuthenticatedPeers;
    if (dropped > churn) yield about("peerChurn", dropped, `dropped ${dropped} authenticated peers during the slice`);
  }
}

function* ofLinks(traffic: readonly LinkTraffic[]): Generator<Outlier> {
  const ways = traffic.flatMap((link) => link.ways);
  const slow = farFence(ways.flatMap(({ latencyMs }) => latencyMs ?? []));
  for (const { from: peer, to: nodeId, flood, latencyMs } of ways) {
    if (flood !== undefined && flood.uniqueMessages === 0n && flood.duplicateMessages >= LEAST_FLOOD_MESSAGES) {
      const value = Number(flood.duplicateMessages);
      const detail = `all ${value} flood messages from this peer were known already`;
      yield { kind: "allDuplicates", nodeId, peer, value, detail };
    }
    if (latencyMs !== undefined && latencyMs > slow) {
      yield { kind: "slowLink", nodeId, peer, value: latencyMs, detail: `median ping ${latencyMs} ms` };
    }
  }
}

/** Tukey's far fence: three interquartile ranges above the upper quartile. Infinity for fewer than eight values. */
function farFence(values: readonly number[]): number {
  if (values.length < 8) return Infinity;
  const upper = percentiles(values)!.p75;
  const lower = -percentiles(values.map((value) => -value))!.p75;
  return upper + 3 * Math.max(upper - lower, 1);
}
