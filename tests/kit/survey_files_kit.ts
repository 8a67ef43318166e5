/** Survey documents to test files with: the recorded one, small ones, and arbitrary ones. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { sortPeers } from "../../survey/topology/merge.ts";
import { documentOfResult, parseSurveyResult } from "../../survey/topology/survey_result.ts";
import {
  type AskState,
  type Attribute,
  emptyDocument,
  type NodeData,
  type PeerData,
  type SurveyDocument,
  type SurveyedNode,
} from "../../survey/topology/types.ts";
import { arbUint32, arbUint64 } from "./arbitrary.ts";

/** Text of a recorded file below tests/fixtures. */
export function fixtureText(path: string): string {
  return readFileSync(new URL(`../fixtures/${path}`, import.meta.url), "utf8");
}

/** Six nodes that answered, eleven links, one silent node: recorded from a stellar-core. */
export function recordedDocument(): SurveyDocument {
  return documentOfResult(parseSurveyResult(fixtureText("http/survey-result.json"), "survey-result.json"));
}

/** A node id made from a number. */
export function madeUpId(n: number): string {
  return encodeNodeId(Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? n * 37 : i === 1 ? n >> 3 : 7 * n + i)));
}

/** A report on a peer; every counter is `base` unless given. */
export function reportOn(nodeId: string, given: Partial<PeerData> = {}, base = 100n): PeerData {
  return {
    nodeId,
    version: "v26.1.0",
    messagesRead: base,
    messagesWritten: base,
    bytesRead: base,
    bytesWritten: base,
    secondsConnected: base,
    uniqueFloodBytesRecv: base,
    duplicateFloodBytesRecv: base,
    uniqueFetchBytesRecv: base,
    duplicateFetchBytesRecv: base,
    uniqueFloodMessageRecv: base,
    duplicateFloodMessageRecv: base,
    uniqueFetchMessageRecv: base,
    duplicateFetchMessageRecv: base,
    averageLatencyMs: 12,
    ...given,
  };
}

/** A node that answered; its totals are the lengths of its lists unless given. */
export function answeredNode(
  nodeId: string,
  inboundPeers: PeerData[],
  outboundPeers: PeerData[],
  given: Partial<NodeData> = {},
): SurveyedNode {
  const data: NodeData = {
    addedAuthenticatedPeers: 1,
    droppedAuthenticatedPeers: 2,
    numTotalInboundPeers: inboundPeers.length,
    numTotalOutboundPeers: outboundPeers.length,
    p75SCPFirstToSelfLatencyMs: 121,
    p75SCPSelfToOtherLatencyMs: 112,
    lostSyncCount: 0,
    isValidator: false,
    maxInboundPeerCount: 64,
    maxOutboundPeerCount: 8,
    ...given,
  };
  return { nodeId, data, inboundPeers, outboundPeers };
}

/** A document of these nodes, all answered. */
export function documentOf(...nodes: SurveyedNode[]): SurveyDocument {
  const document = emptyDocument();
  for (const node of nodes) {
    document.nodes.set(node.nodeId, node);
    document.states.set(node.nodeId, "answered");
  }
  return document;
}

const arbVersion = fc.oneof(
  fc.constantFrom(
    "v26.1.0",
    "stellar-core 22.0.0 (abcdef)",
    "v26.1.0-dirty",
    "",
    "<&>\"'",
    '=1+1,"\r\n\t',
    "25",
    "[]",
    '{"a": 1}',
    "]]>",
    "\\n",
  ),
  fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => text.isWellFormed()),
);

function arbPeer(nodeId: string): fc.Arbitrary<PeerData> {
  return fc.record({
    nodeId: fc.constant(nodeId),
    version: arbVersion,
    messagesRead: arbUint64,
    messagesWritten: arbUint64,
    bytesRead: arbUint64,
    bytesWritten: arbUint64,
    secondsConnected: arbUint64,
    uniqueFloodBytesRecv: arbUint64,
    duplicateFloodBytesRecv: arbUint64,
    uniqueFetchBytesRecv: arbUint64,
    duplicateFetchBytesRecv: arbUint64,
    uniqueFloodMessageRecv: arbUint64,
    duplicateFloodMessageRecv: arbUint64,
    uniqueFetchMessageRecv: arbUint64,
    duplicateFetchMessageRecv: arbUint64,
    averageLatencyMs: arbUint32,
  }, { noNullPrototype: true });
}

const arbData: fc.Arbitrary<NodeData> = fc.record({
  addedAuthenticatedPeers: arbUint32,
  droppedAuthenticatedPeers: arbUint32,
  numTotalInboundPeers: arbUint32,
  numTotalOutboundPeers: arbUint32,
  p75SCPFirstToSelfLatencyMs: arbUint32,
  p75SCPSelfToOtherLatencyMs: arbUint32,
  lostSyncCount: arbUint32,
  isValidator: fc.boolean(),
  maxInboundPeerCount: arbUint32,
  maxOutboundPeerCount: arbUint32,
}, { noNullPrototype: true });

const arbAttributes: fc.Arbitrary<Record<string, Attribute>> = fc.dictionary(
  fc.constantFrom("radar_name", "radar_index", "radar_geoData", "isTier1", "radar <odd>"),
  fc.oneof(
    arbVersion,
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value === 0 ? 0.5 : value),
    fc.boolean(),
  ),
  { minKeys: 1, noNullPrototype: true },
);

const IDS = Array.from({ length: 9 }, (_, i) => madeUpId(i));

function arbList(): fc.Arbitrary<PeerData[]> {
  return fc.subarray(IDS, { maxLength: 5 }).chain((ids) => fc.tuple(...ids.map(arbPeer))).map((peers) =>
    sortPeers(peers)
  );
}

/** Documents of up to nine nodes, in every state, with links that agree and links that do not. */
export const arbDocument: fc.Arbitrary<SurveyDocument> = fc.record({
  answers: fc.subarray(IDS).chain((ids) =>
    fc.tuple(
      ...ids.map((id) =>
        fc.record({ nodeId: fc.constant(id), data: arbData, inboundPeers: arbList(), outboundPeers: arbList() }, {
          noNullPrototype: true,
        })
      ),
    )
  ),
  others: fc.array(
    fc.tuple(fc.integer({ min: 20, max: 25 }), fc.constantFrom<AskState>("silent", "unreachable", "bad", "pending")),
    { maxLength: 4 },
  ),
  late: fc.subarray(IDS, { maxLength: 2 }),
  versions: fc.array(fc.tuple(fc.constantFrom(...IDS), arbVersion), { maxLength: 2 }),
  attributes: fc.array(fc.tuple(fc.constantFrom(...IDS), arbAttributes), { maxLength: 3 }),
  loose: fc.array(fc.tuple(fc.integer({ min: 10, max: 13 }), fc.integer({ min: 14, max: 17 }), fc.boolean()), {
    maxLength: 3,
  }),
  head: fc.record({
    nonce: arbUint32,
    surveyor: fc.constantFrom(...IDS),
    network: fc.constantFrom("pubnet", "Our own network ; 2026"),
    startedAtMs: fc.integer({ min: 1_600_000_000_000, max: 1_700_000_000_000 }),
    stoppedAtMs: fc.integer({ min: 1_700_000_000_001, max: 1_800_000_000_000 }),
  }, { requiredKeys: [], noNullPrototype: true }),
}).map(({ answers, others, late, versions, attributes, loose, head }) => {
  const document: SurveyDocument = { ...documentOf(...answers as SurveyedNode[]), ...head };
  for (const [n, state] of others) document.states.set(madeUpId(n), state);
  document.lateJoiners = new Set(late);
  document.versions = new Map(versions);
  document.attributes = new Map(attributes);
  const pairs = new Map(loose.map(([a, b, directed]) => [`${a} ${b}`, [madeUpId(a), madeUpId(b), directed] as const]));
  document.looseLinks = [...pairs.values()].map(([from, to, directed]) =>
    directed || from < to ? { from, to, directed } : { from: to, to: from, directed }
  );
  return document;
});

/** A document with everything in one order, and without versions that its reports say again: equal ones are deeply equal. */
export function canonical(document: SurveyDocument): SurveyDocument {
  const sorted = <V>(map: ReadonlyMap<string, V>) => new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
  const nodes = sorted(document.nodes);
  const reported = new Set<string>();
  for (const [id, node] of nodes) {
    const inboundPeers = sortPeers([...node.inboundPeers]), outboundPeers = sortPeers([...node.outboundPeers]);
    for (const peer of [...inboundPeers, ...outboundPeers]) {
      if (!peer.absent?.includes("version")) reported.add(peer.nodeId);
    }
    nodes.set(id, { ...node, inboundPeers, outboundPeers });
  }
  return {
    ...document,
    nodes,
    states: sorted(document.states),
    lateJoiners: new Set([...document.lateJoiners].sort()),
    versions: new Map([...sorted(document.versions)].filter(([id]) => !reported.has(id))),
    attributes: sorted(document.attributes),
    looseLinks: [...document.looseLinks].sort((a, b) => (`${a.from}${a.to}` < `${b.from}${b.to}` ? -1 : 1)),
  };
}
