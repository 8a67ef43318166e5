import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeIdOf, plainPeer, surveyOf } from "../../tests/kit/survey_documents.ts";
import { surveyGraph } from "./graph.ts";
import { findOutliers } from "./outliers.ts";
import { linkTraffic } from "./traffic.ts";

const n = nodeIdOf;
/** Links with their agreement, nodes by number. */
function agreements(document: ReturnType<typeof surveyOf>): Record<string, string> {
  const number = (id: string) => [...Array(20).keys()].find((i) => n(i) === id);
  return Object.fromEntries(
    surveyGraph(document).links.map(({ ends, agreement }) => [ends.map(number).join("-"), agreement]),
  );
}

test("surveyGraph: links of either side, directions, and nodes that only others know", () => {
  const graph = surveyGraph(surveyOf(4, [[0, 1], [2, 0], [2, 3]], { silent: [3] }));
  assert.deepEqual(graph.nodes.map(({ nodeId, state }) => [nodeId, state]), [
    [n(0), "answered"],
    [n(1), "answered"],
    [n(2), "answered"],
    [n(3), "silent"],
  ]);
  assert.deepEqual(graph.simple.edges, [[0, 1], [0, 2], [2, 3]]);
  assert.deepEqual(graph.links.map(({ dialer }) => dialer), [n(0), n(2), n(2)]);
  assert.deepEqual(graph.inDegree, [1, 1, 0, 1]);
  assert.deepEqual(graph.outDegree, [1, 0, 2, 0]);
  assert.equal(graph.nodes[3].versionStr, "v27.0.0");
  assert.equal(graph.nodes[3].data, undefined);
});

test("surveyGraph: a link the other end denies is flagged only when that end answered in full", () => {
  const document = surveyOf(5, [[0, 1], [1, 2], [0, 4]], { silent: [4] });
  const liar = document.nodes.get(n(0))!;
  liar.outboundPeers.push(plainPeer(n(2)), plainPeer(n(3)));
  // Node 3 says that it has a peer more than its list shows.
  document.nodes.get(n(3))!.data.numTotalInboundPeers = 1;
  assert.deepEqual(agreements(document), {
    "0-1": "both",
    "1-2": "both",
    "0-2": "denied",
    "0-3": "oneEnd",
    "0-4": "oneEnd",
  });
  const graph = surveyGraph(document);
  const found = findOutliers(graph, linkTraffic(graph, 1000)).filter(({ kind }) => kind === "denied");
  assert.deepEqual(found.map(({ nodeId, peer }) => [nodeId, peer]), [[n(0), n(2)]]);
});

test("surveyGraph: ends that differ on who dialed, a node that lists itself, a peer listed twice", () => {
  const document = surveyOf(3, [[0, 1], [1, 2]]);
  document.nodes.get(n(1))!.inboundPeers = [];
  document.nodes.get(n(1))!.outboundPeers.push(plainPeer(n(0)));
  document.nodes.get(n(2))!.inboundPeers.push(plainPeer(n(2)), plainPeer(n(1)));
  assert.deepEqual(agreements(document), { "0-1": "roles", "1-2": "both" });
  const graph = surveyGraph(document);
  assert.deepEqual(graph.oddEntries, [
    { nodeId: n(2), peer: n(1), reason: "repeated" },
    { nodeId: n(2), peer: n(2), reason: "self" },
  ]);
  assert.deepEqual(graph.inDegree, [0, 0, 1]);
  assert.deepEqual(graph.simple.edges, [[0, 1], [1, 2]]);
});

test("linkTraffic: the receiver's count each way, rates over the slice, duplicates, the gap between both ends", () => {
  const document = surveyOf(3, [[0, 1], [1, 2]], {
    silent: [2],
    peer: (by, of) =>
      by === 0 ? { bytesWritten: 10_000n, bytesRead: 2000n, messagesRead: 20n, averageLatencyMs: 30 } : of === 0
        ? {
          bytesRead: 8000n,
          bytesWritten: 2000n,
          messagesRead: 50n,
          uniqueFloodMessageRecv: 30n,
          duplicateFloodMessageRecv: 10n,
        }
        : { bytesRead: 700n, bytesWritten: 900n, messagesWritten: 9n, averageLatencyMs: 0 },
  });
  const [first, second] = linkTraffic(surveyGraph(document), 10).map(({ ways }) => ways);
  const { flood, ...there } = first[0];
  assert.deepEqual(there, {
    from: n(0),
    to: n(1),
    countedBy: "receiver",
    messages: 50n,
    bytes: 8000n,
    messagesPerSecond: 5,
    bytesPerSecond: 800,
    gapRatio: 0.2,
    latencyMs: 80,
  });
  assert.equal(flood!.messageRatio, 0.25);
  assert.deepEqual([first[1].bytes, first[1].latencyMs, first[1].gapRatio], [2000n, 30, 0]);
  // Node 2 is silent: what goes to it is as node 1 sent it, and what it measured is not known.
  assert.deepEqual(second[0], {
    from: n(1),
    to: n(2),
    countedBy: "sender",
    messages: 9n,
    bytes: 900n,
    messagesPerSecond: 0.9,
    bytesPerSecond: 90,
  });
  assert.deepEqual([second[1].countedBy, second[1].bytes, second[1].latencyMs], ["receiver", 700n, undefined]);
});

test("findOutliers: lost sync, few peers, only duplicates, counters of two ends that do not fit, slow links", () => {
  const ring = [...Array(12).keys()].map((i): [number, number] => [i, (i + 1) % 12]);
  const chords = [...Array(12).keys()].flatMap((i): [number, number][] => [[i, (i + 3) % 12], [i, (i + 5) % 12]]);
  const document = surveyOf(14, [...ring, ...chords, [12, 0]], {
    data: (i) => ({
      ...(i === 4 && { lostSyncCount: 3 }),
      ...(i === 5 && { p75SCPFirstToSelfLatencyMs: 9000 }),
      ...(i === 6 && { droppedAuthenticatedPeers: 70 }),
    }),
    peer: (by, of) => ({
      ...(by === 2 && of === 3 && { uniqueFloodMessageRecv: 0n }),
      ...(by === 7 && of === 8 && { bytesWritten: 5_000_000n }),
      ...(by === 9 && of === 10 && { averageLatencyMs: 900 }),
    }),
  });
  const graph = surveyGraph(document);
  const found = findOutliers(graph, linkTraffic(graph, 1000)).map(({ kind, nodeId, peer }) => [kind, nodeId, peer]);
  assert.deepEqual(found, [
    ["mismatch", n(7), n(8)],
    ["lostSync", n(4), null],
    ["noPeers", n(13), null],
    ["fewPeers", n(12), null],
    ["slowScp", n(5), null],
    ["peerChurn", n(6), null],
    ["allDuplicates", n(2), n(3)],
    ["slowLink", n(9), n(10)],
  ]);
});
