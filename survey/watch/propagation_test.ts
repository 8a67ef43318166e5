import assert from "node:assert/strict";
import { test } from "node:test";
import { MEMORY_MS, Propagation, SETTLE_MS } from "./propagation.ts";
import { Sample } from "./sample.ts";

test("see gives rank and delay, and counts a peer's second copy apart", () => {
  const propagation = new Propagation();
  for (const peer of ["A", "B", "C"]) propagation.connected(peer, 0);
  assert.deepEqual(propagation.see("scp", "x", "B", 100), { rank: 1, behindMs: 0 });
  assert.deepEqual(propagation.see("scp", "x", "A", 107), { rank: 2, behindMs: 7 });
  assert.deepEqual(propagation.see("scp", "x", "B", 108), { rank: 0, behindMs: 8 });
  assert.deepEqual(propagation.see("scp", "x", "C", 130), { rank: 3, behindMs: 30 });
  propagation.see("scp", "y", "A", 200);
  assert.deepEqual(propagation.copiesOf("scp", "x"), [
    { peer: "B", behindMs: 0 },
    { peer: "A", behindMs: 7 },
    { peer: "C", behindMs: 30 },
  ]);
  const { kinds, peerLags, peers } = propagation.report();
  assert.deepEqual(peers, { now: 3, ever: 3 });
  assert.deepEqual(kinds.scp, {
    distinct: 2,
    copies: 4,
    complete: 1,
    spreadMedianMs: 30,
    spreadP95Ms: 30,
    spreadMaxMs: 30,
  });
  assert.equal(kinds.advert.distinct, 0);
  assert.deepEqual(peerLags.scp.map(({ peer, copies, first, repeated }) => [peer, copies, first, repeated]), [
    ["B", 1, 1, 1],
    ["A", 2, 1, 0],
    ["C", 1, 0, 0],
  ]);
});

test("a thing is complete with the copies of those that were connected when it was first seen and still are", () => {
  const propagation = new Propagation();
  propagation.connected("A", 0);
  propagation.connected("B", 0);
  propagation.see("scp", "x", "A", 10);
  assert.equal(propagation.report().kinds.scp.complete, 0);
  propagation.dropped("B");
  assert.equal(propagation.report().kinds.scp.complete, 1);
  // What a peer tells from memory is no measure of the network, and nobody waits for it.
  propagation.connected("C", 10 + MEMORY_MS + 1);
  assert.equal(propagation.report().kinds.scp.complete, 1);
  propagation.see("scp", "x", "C", 5000);
  const { kinds, peerLags } = propagation.report();
  assert.equal(kinds.scp.spreadMaxMs, 0);
  const late = peerLags.scp.find(({ peer }) => peer === "C")!;
  assert.deepEqual([late.copies, late.remembered, late.medianMs], [1, 1, null]);
});

test("memory is bounded, and what is forgotten stays counted", () => {
  const propagation = new Propagation({ maxItems: 100 });
  propagation.connected("A", 0);
  propagation.connected("B", 0);
  for (let i = 0; i < 1000; i++) {
    propagation.see("advert", `${i}`, "A", i * 10);
    propagation.see("advert", `${i}`, "B", i * 10 + 3);
  }
  const { advert } = propagation.report().kinds;
  assert.deepEqual([advert.distinct, advert.copies, advert.complete, advert.spreadMedianMs], [1000, 2000, 1000, 3]);
  assert.equal(propagation.copiesOf("advert", "899"), undefined);
  assert.equal(propagation.copiesOf("advert", "900")!.length, 2);
});

test("what settled does not change by later connections and drops", () => {
  const propagation = new Propagation();
  propagation.connected("A", 0);
  propagation.connected("B", 0);
  propagation.see("scp", "x", "A", 10);
  propagation.see("scp", "y", "A", 10 + SETTLE_MS);
  propagation.dropped("B");
  assert.equal(propagation.report().kinds.scp.complete, 1, "only y, which is open");
});

test("Sample is exact up to its size and a sample of all beyond, the same each time", () => {
  const make = () => {
    const sample = new Sample(100);
    for (let i = 0; i < 10_000; i++) sample.add(i);
    return sample;
  };
  const exact = new Sample(100);
  for (let i = 0; i < 100; i++) exact.add(i);
  assert.deepEqual([exact.percentile(0.5), exact.percentile(0.95), exact.max], [50, 95, 99]);
  const a = make(), b = make();
  assert.deepEqual(a.values, b.values);
  assert.deepEqual([a.count, a.values.length, a.max], [10_000, 100, 9999]);
  const median = a.percentile(0.5)!;
  assert.ok(median > 3500 && median < 6500, String(median));
});
