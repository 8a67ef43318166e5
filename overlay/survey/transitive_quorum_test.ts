import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "../base/bytes.ts";
import { encodeMessage } from "../wire/messages.ts";
import { nodesOfQuorumSet, TransitiveQuorum } from "./transitive_quorum.ts";

test("TransitiveQuorum has the nodes of our quorum set, of theirs, and so on", () => {
  const quorum = new TransitiveQuorum(["a", "b", "a"]);
  assert.deepEqual([quorum.size, quorum.has("a"), quorum.has("c")], [2, true, false]);
  // A stranger's set is not asked for.
  quorum.heard("c", "1", () => assert.fail());
  quorum.heard("a", "2", () => ["b", "c"]);
  quorum.heard("c", "1", () => ["d", "c"]);
  assert.deepEqual(["a", "b", "c", "d", "e"].map((node) => quorum.has(node)), [true, true, true, true, false]);
});

test("TransitiveQuorum follows a set that changes, and forgets whom nobody names any more", () => {
  const quorum = new TransitiveQuorum(["a"]);
  quorum.heard("a", "1", () => ["b"]);
  quorum.heard("b", "9", () => ["c"]);
  quorum.heard("a", "1", () => assert.fail("the same set again"));
  quorum.heard("a", "2", () => undefined);
  assert.ok(quorum.has("c"), "the new set is not known yet");
  quorum.heard("a", "2", () => ["d"]);
  assert.deepEqual(["a", "b", "c", "d"].map((node) => quorum.has(node)), [true, false, false, true]);
  // b comes back, and has to say its set again.
  quorum.heard("d", "3", () => ["b"]);
  assert.deepEqual(["b", "c"].map((node) => quorum.has(node)), [true, false]);
});

test("TransitiveQuorum without a quorum set has nobody", () => {
  const quorum = new TransitiveQuorum([]);
  quorum.heard("a", "1", () => ["a"]);
  assert.deepEqual([quorum.configured, quorum.has("a"), quorum.size], [false, false, 0]);
});

test("TransitiveQuorum is bounded, whatever members say", () => {
  const quorum = new TransitiveQuorum(["a"]);
  const names = (tag: string) => Array.from({ length: 1000 }, (_, i) => `${tag} ${i}`);
  quorum.heard("a", "1", () => names("x"));
  for (let i = 0; i < 1000; i++) quorum.heard(`x ${i}`, "1", () => names(`y ${i}`));
  assert.equal(quorum.size, 5000);
});

test("TransitiveQuorum agrees with a search through all that was said, if it is said again", () => {
  const arb = fc.array(fc.tuple(fc.nat(9), fc.array(fc.nat(9), { maxLength: 3 })), { maxLength: 30 });
  fc.assert(fc.property(arb, (said) => {
    const sets = new Map<string, string[]>();
    const quorum = new TransitiveQuorum(["0", "1"]);
    for (const [node, nodes] of said) sets.set(`${node}`, nodes.map(String));
    for (let round = 0; round < 12; round++) {
      for (const [node, nodes] of sets) quorum.heard(node, nodes.join(), () => nodes);
    }
    const expected = new Set(["0", "1"]);
    for (const node of expected) for (const next of sets.get(node) ?? []) expected.add(next);
    for (let node = 0; node < 10; node++) assert.equal(quorum.has(`${node}`), expected.has(`${node}`), `${node}`);
  }));
});

test("nodesOfQuorumSet names the nodes of all levels once", () => {
  const node = (n: number) => new Uint8Array(32).fill(n);
  const inner = { threshold: 1, validators: [node(2), node(3)], innerSets: [] };
  const qSet = {
    threshold: 1,
    validators: [node(1), node(2)],
    innerSets: [{ threshold: 1, validators: [], innerSets: [inner] }],
  };
  const found = nodesOfQuorumSet(encodeMessage({ type: "scpQuorumset", qSet }), toHex);
  assert.deepEqual(found.map((hex) => hex.slice(0, 2)), ["01", "02", "03"]);
});
