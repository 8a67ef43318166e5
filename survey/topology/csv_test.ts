import assert from "node:assert/strict";
import { test } from "node:test";
import { answeredNode, documentOf, madeUpId, recordedDocument, reportOn } from "../../tests/kit/survey_files_kit.ts";
import { LINK_COLUMNS, NODE_COLUMNS, printLinksCsv, printNodesCsv } from "./csv.ts";
import { ratesOf } from "./rates.ts";

const [A, B, C, D] = [1, 2, 3, 4].map(madeUpId).sort();

/** Rows of a CSV text as objects by column; written for these tests, by RFC 4180. */
function parseCsv(text: string): Record<string, string>[] {
  assert.ok(text.endsWith("\r\n"));
  const rows: string[][] = [[]];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y;
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    assert.ok(match !== null, `not CSV: ${text.slice(0, 80)}`);
    rows[rows.length - 1].push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (match[3] !== ",") rows.push([]);
  }
  assert.deepEqual(rows.pop(), []);
  const [head, ...body] = rows;
  for (const row of body) assert.equal(row.length, head.length);
  return body.map((row) => Object.fromEntries(head.map((name, i) => [name, row[i]])));
}

test("printLinksCsv gives both reports of a link, with rates over the slice and what the other end says", () => {
  const document = documentOf(
    answeredNode(A, [], [
      reportOn(B, { bytesWritten: 3000n, bytesRead: 1500n, messagesRead: 45n, duplicateFloodMessageRecv: 300n }),
    ]),
    answeredNode(B, [reportOn(A, { bytesRead: 2400n, bytesWritten: 2n ** 64n - 1n })], [reportOn(C)]),
  );
  document.startedAtMs = Date.parse("2026-01-01T00:00:00Z");
  document.stoppedAtMs = document.startedAtMs + 30_000;
  document.looseLinks = [{ from: D, to: C, directed: true }];
  const rows = parseCsv(printLinksCsv(document));
  assert.deepEqual(Object.keys(rows[0]), [...LINK_COLUMNS]);
  const [first, second, third, loose] = rows;
  assert.deepEqual([first.nodeId, first.peerId, first.dialed, first.otherEnd], [A, B, "nodeDialedPeer", "reported"]);
  assert.deepEqual([second.nodeId, second.peerId, second.dialed, second.otherEnd], [
    B,
    A,
    "peerDialedNode",
    "reported",
  ]);
  assert.deepEqual([third.nodeId, third.peerId, third.otherEnd], [B, C, "noAnswer"]);
  assert.deepEqual([loose.nodeId, loose.peerId, loose.dialed, loose.bytesRead], [D, C, "nodeDialedPeer", ""]);
  assert.equal(first.bytesWrittenPerSecond, "100");
  assert.equal(first.messagesReadPerSecond, "1.5");
  assert.equal(first.duplicateFloodMessageRatio, "0.75");
  assert.equal(first.sentGapRatio, "0.2");
  assert.equal(second.receivedGapRatio, "0.2");
  assert.equal(second.bytesWritten, "18446744073709551615");
  assert.equal(first.medianPingMs, "12");
  assert.equal(rows.length, 4);
});

test("printLinksCsv leaves empty what cannot be told", () => {
  const report = reportOn(B, {
    uniqueFetchBytesRecv: 0n,
    duplicateFetchBytesRecv: 0n,
    absent: ["version", "bytesRead"],
  });
  const [row] = parseCsv(printLinksCsv(documentOf(answeredNode(A, [], [report]))));
  assert.deepEqual(
    [row.peerVersion, row.bytesRead, row.bytesReadPerSecond, row.messagesReadPerSecond, row.duplicateFetchBytesRatio],
    ["", "", "", "", ""],
  );
  assert.equal(row.duplicateFloodBytesRatio, "0.5");
});

test("printNodesCsv has a row for every node of the graph and every node asked", () => {
  const document = recordedDocument();
  const rows = parseCsv(printNodesCsv(document));
  assert.deepEqual(Object.keys(rows[0]), [...NODE_COLUMNS]);
  assert.equal(rows.length, 7);
  assert.equal(rows.reduce((sum, row) => sum + Number(row.links), 0), 22);
  for (const row of rows) {
    const node = document.nodes.get(row.nodeId);
    assert.equal(row.state, node === undefined ? "silent" : "answered");
    assert.equal(row.isValidator, node === undefined ? "" : String(node.data.isValidator));
    assert.equal(row.numTotalInboundPeers, node === undefined ? "" : String(node.data.numTotalInboundPeers));
    const lists = node === undefined ? [] : [...node.inboundPeers, ...node.outboundPeers];
    const bytes = lists.reduce((sum, peer) => sum + peer.bytesRead, 0n);
    assert.equal(row.bytesRead, node === undefined ? "" : String(bytes));
    // The recorded answer does not say how long the slice was.
    assert.equal(row.bytesReadPerSecond, "");
  }
});

test("printNodesCsv adds a node's reports up", () => {
  const document = documentOf(
    answeredNode(A, [reportOn(B, { duplicateFloodBytesRecv: 500n })], [reportOn(C, { bytesRead: 300n })]),
  );
  document.sliceMs = 8000;
  document.lateJoiners.add(D);
  const rows = parseCsv(printNodesCsv(document));
  const row = rows.find((one) => one.nodeId === A)!;
  assert.deepEqual([row.links, row.bytesRead, row.bytesReadPerSecond], ["2", "400", "50"]);
  assert.equal(row.duplicateFloodBytesRatio, "0.75");
  const late = rows.find((one) => one.nodeId === D)!;
  assert.deepEqual([late.isLateJoiner, late.state, late.links, late.bytesRead], ["true", "", "0", ""]);
});

test("CSV: text from a remote is one line, quoted, and no formula", () => {
  const evil = ['=HYPERLINK("http://x")', "+1", "@x", "-1", 'a,"b"', "a\r\nb\u001b[31m"];
  for (const version of evil) {
    const text = printLinksCsv(documentOf(answeredNode(A, [], [reportOn(B, { version })])));
    assert.equal(text.split("\r\n").length, 3);
    // deno-lint-ignore no-control-regex
    assert.ok(!/[\u0000-\u0009\u000b\u000c\u000e-\u001f]/.test(text));
    assert.doesNotMatch(parseCsv(text)[0].peerVersion, /^[=+@-]/);
  }
});

test("ratesOf: nothing per second without a slice, no ratio of nothing", () => {
  const none = reportOn(A, {}, 0n);
  assert.deepEqual(Object.values(ratesOf(none, undefined)).filter((value) => value !== undefined), []);
  assert.equal(ratesOf(none, 60).bytesReadPerSecond, 0);
  assert.equal(ratesOf(reportOn(A, { bytesRead: 1000n }), 3).bytesReadPerSecond, 333.333);
});
