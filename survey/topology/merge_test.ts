import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareBytes } from "../../overlay/base/bytes.ts";
import { decodeNodeId, encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { arbNodeId } from "../../tests/kit/arbitrary.ts";
import { answeredNode, documentOf, madeUpId, recordedDocument, reportOn } from "../../tests/kit/survey_files_kit.ts";
import { compareNodeIds, isComplete, mergePage, nodesOf, sortPeers, versionsOf } from "./merge.ts";
import type { SurveyedNode } from "./types.ts";

test("compareNodeIds orders texts as their bytes are ordered, and so as stellar-core orders a list", () => {
  fc.assert(fc.property(arbNodeId, arbNodeId, (a, b) => {
    const order = compareNodeIds(encodeNodeId(a), encodeNodeId(b));
    assert.equal(Math.sign(order), Math.sign(compareBytes(a, b)));
  }));
  for (const node of recordedDocument().nodes.values()) {
    for (const list of [node.inboundPeers, node.outboundPeers]) assert.deepEqual(sortPeers([...list]), list);
  }
  assert.ok(decodeNodeId(madeUpId(3)).length === 32);
});

test("mergePage puts the pages of one node together in any order, repeated ones too", () => {
  const inbound = sortPeers(Array.from({ length: 60 }, (_, i) => reportOn(madeUpId(i), {}, BigInt(i))));
  const outbound = sortPeers(Array.from({ length: 30 }, (_, i) => reportOn(madeUpId(100 + i), {}, BigInt(i))));
  const whole = answeredNode(madeUpId(200), inbound, outbound);
  const page = (at: number): SurveyedNode => ({
    ...whole,
    inboundPeers: inbound.slice(at, at + 25),
    outboundPeers: outbound.slice(at, at + 25),
  });
  fc.assert(fc.property(fc.shuffledSubarray([0, 25, 50, 0, 25], { minLength: 5 }), (order) => {
    let node: SurveyedNode | undefined;
    for (const at of order) node = mergePage(node, page(at));
    assert.deepEqual(node, whole);
    assert.ok(isComplete(node!));
  }));
  assert.ok(!isComplete(mergePage(page(0), page(25))));
});

test("versionsOf: what peers report counts more than what was known before, the last report most", () => {
  const [a, b, c] = [madeUpId(1), madeUpId(2), madeUpId(3)].sort();
  const document = documentOf(
    answeredNode(a, [reportOn(c, { version: "first" })], []),
    answeredNode(b, [], [reportOn(c, { version: "last" })]),
  );
  document.versions.set(c, "before").set(a, "own");
  assert.deepEqual(versionsOf(document), new Map([[c, "last"], [a, "own"]]));
  assert.deepEqual(nodesOf(document), [a, b, c]);
});
