import assert from "node:assert/strict";
import { test } from "node:test";
import { answeredNode, documentOf, madeUpId, recordedDocument, reportOn } from "../../tests/kit/survey_files_kit.ts";
import { linksOf } from "./links.ts";

const [A, B, C] = [madeUpId(1), madeUpId(2), madeUpId(3)].sort();

test("linksOf finds each link of the recorded survey once, with both ends' reports agreeing", () => {
  const links = linksOf(recordedDocument());
  assert.equal(links.length, 11);
  for (const link of links) {
    assert.equal(link.reports.length, 2);
    assert.equal(link.direction, "known");
    assert.deepEqual(link.disagreements, []);
    // The two ends saw START and STOP moments apart.
    for (const flow of link.flows) assert.ok(flow.gapRatio! < 0.03, `${flow.from} ${flow.gapRatio}`);
  }
});

test("linksOf tells who dialed, and what went each way by each end's count", () => {
  const [link] = linksOf(documentOf(
    answeredNode(A, [], [reportOn(B, { bytesWritten: 1000n, bytesRead: 50n })]),
    answeredNode(B, [reportOn(A, { bytesWritten: 50n, bytesRead: 750n })], []),
  ));
  assert.deepEqual([link.ends, link.dialer, link.direction], [[A, B], A, "known"]);
  assert.deepEqual(link.flows, [
    { from: A, to: B, written: 1000n, read: 750n, gapRatio: 0.25 },
    { from: B, to: A, written: 50n, read: 50n, gapRatio: 0 },
  ]);
});

test("linksOf: a link that the other end, with complete lists, does not name is marked", () => {
  const lying = documentOf(answeredNode(A, [], [reportOn(B)]), answeredNode(B, [], []));
  assert.deepEqual(linksOf(lying)[0].disagreements, ["missing"]);
  assert.equal(linksOf(lying)[0].flows[0].gapRatio, undefined);
  // Its lists are not complete: the link may be on a page that is not here.
  const paging = documentOf(answeredNode(A, [], [reportOn(B)]), answeredNode(B, [], [], { numTotalInboundPeers: 40 }));
  assert.deepEqual(linksOf(paging)[0].disagreements, []);
  // It gave no answer.
  assert.deepEqual(linksOf(documentOf(answeredNode(A, [], [reportOn(B)])))[0].disagreements, []);
  // The file keeps one report of each link.
  assert.deepEqual(linksOf({ ...lying, linkReports: "onePerLink" })[0].disagreements, []);
});

test("linksOf marks contradicting directions, repetition and a node that names itself", () => {
  const both = linksOf(documentOf(answeredNode(A, [], [reportOn(B)]), answeredNode(B, [], [reportOn(A)])));
  assert.deepEqual([both[0].direction, both[0].dialer, both[0].disagreements], ["disputed", undefined, ["direction"]]);
  const twice = linksOf(documentOf(answeredNode(A, [reportOn(B)], [reportOn(B)])));
  assert.equal(twice.length, 1);
  assert.deepEqual(twice[0].disagreements, ["direction", "repeated"]);
  const self = linksOf(documentOf(answeredNode(A, [reportOn(A)], [])));
  assert.deepEqual(self[0].disagreements, ["self"]);
});

test("linksOf joins loose links with reported ones", () => {
  const document = documentOf(answeredNode(A, [], [reportOn(B)]));
  document.looseLinks = [{ from: B, to: A, directed: false }, { from: C, to: A, directed: true }];
  const links = linksOf(document);
  assert.deepEqual(links.map((link) => [link.ends, link.dialer, link.reports.length]), [[[A, B], A, 1], [
    [A, C],
    C,
    0,
  ]]);
  document.looseLinks = [{ from: B, to: C, directed: false }];
  assert.deepEqual([linksOf(document)[1].direction, linksOf(document)[1].flows], ["unknown", []]);
});
