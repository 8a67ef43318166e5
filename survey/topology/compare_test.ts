import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nodeIdOf, surveyOf } from "../../tests/kit/survey_documents.ts";
import { applyDiff, diffSnapshots, type Snapshot, snapshotOf } from "./compare.ts";
import { surveyGraph } from "./graph.ts";

const arbSnapshot: fc.Arbitrary<Snapshot> = fc.record({
  order: fc.integer({ min: 1, max: 12 }),
  pairs: fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 30 }),
  silent: fc.array(fc.nat(11)),
  versions: fc.array(fc.constantFrom("v26", "v27", ""), { minLength: 12, maxLength: 12 }),
  lostSync: fc.array(fc.nat(2), { minLength: 12, maxLength: 12 }),
}).map(({ order, pairs, silent, versions, lostSync }) => {
  const links = new Map(
    pairs.filter(([a, b]) => a !== b && a < order && b < order).map((
      [a, b],
    ) => [[a, b].sort().join(), [a, b] as const]),
  );
  return snapshotOf(surveyGraph(surveyOf(order, [...links.values()], {
    silent,
    data: (i) => ({ lostSyncCount: lostSync[i], isValidator: lostSync[i] === 1 }),
    peer: (_, of) => ({ version: versions[of] }),
  })));
});

test("applyDiff(diffSnapshots(a, b), a) equals b", () => {
  fc.assert(fc.property(arbSnapshot, arbSnapshot, (a, b) => {
    assert.deepEqual(applyDiff(diffSnapshots(a, b), a), b);
  }));
});

test("diffSnapshots of equal surveys is empty", () => {
  fc.assert(fc.property(arbSnapshot, (a) => {
    const diff = diffSnapshots(a, structuredClone(a));
    assert.deepEqual([diff.nodes, diff.links].map(({ came, went, changed }) => came.size + went.size + changed.size), [
      0,
      0,
    ]);
  }));
});

test("diffSnapshots names what came, went and changed", () => {
  const before = surveyOf(3, [[0, 1], [1, 2]]);
  const after = surveyOf(4, [[1, 0], [1, 3]], { silent: [3], peer: (_, of) => of === 0 ? { version: "v28" } : {} });
  after.states.delete(nodeIdOf(2));
  after.nodes.delete(nodeIdOf(2));
  const { nodes, links } = diffSnapshots(snapshotOf(surveyGraph(before)), snapshotOf(surveyGraph(after)));
  assert.deepEqual([...nodes.came.keys()], [nodeIdOf(3)]);
  assert.deepEqual([...nodes.went.keys()], [nodeIdOf(2)]);
  assert.deepEqual(nodes.changed.get(nodeIdOf(0)), {
    before: { versionStr: "v27.0.0", numInboundPeers: 0, numOutboundPeers: 1 },
    after: { versionStr: "v28", numInboundPeers: 1, numOutboundPeers: 0 },
  });
  const key = (a: number, b: number) => JSON.stringify([nodeIdOf(a), nodeIdOf(b)]);
  assert.deepEqual([...links.came.keys()], [key(1, 3)]);
  assert.deepEqual([...links.went.keys()], [key(1, 2)]);
  assert.deepEqual(links.changed.get(key(0, 1)), { before: { dialer: nodeIdOf(0) }, after: { dialer: nodeIdOf(1) } });
});
