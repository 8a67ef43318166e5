import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex } from "../base/bytes.ts";
import { Floodgate, floodIdOf } from "./floodgate.ts";

test("floodIdOf is the BLAKE2b-256 of the message, one character per byte", () => {
  const id = floodIdOf(new TextEncoder().encode("abc"));
  const expected = fromHex("bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  assert.deepEqual(Uint8Array.from(id, (c) => c.charCodeAt(0)), expected);
});

test("Floodgate.addRecord says whether a message is new, and remembers every sender", () => {
  const gate = new Floodgate();
  assert.equal(gate.addRecord("m", 5, "A"), true);
  assert.equal(gate.addRecord("m", 6, "B"), false);
  assert.deepEqual([...gate.knownBy("m")], ["A", "B"]);
  assert.deepEqual(gate.broadcast("m", 6, ["A", "B", "C"]), ["C"]);
});

test("Floodgate.broadcast makes a record of our own message and tells each node once", () => {
  const gate = new Floodgate();
  assert.deepEqual(gate.broadcast("m", 5, ["A", "B"]), ["A", "B"]);
  assert.deepEqual(gate.broadcast("m", 5, ["A", "B", "C"]), ["C"]);
  assert.equal(gate.addRecord("m", 5, "D"), false);
  assert.deepEqual(gate.broadcast("m", 5, ["A", "D"]), []);
});

test("Floodgate.forget lets a discarded message flood again", () => {
  const gate = new Floodgate();
  gate.addRecord("m", 5, "A");
  gate.forget("m");
  gate.forget("never seen");
  assert.equal(gate.knownBy("m").size, 0);
  assert.equal(gate.addRecord("m", 5, "B"), true);
  assert.deepEqual(gate.broadcast("m", 5, ["A", "B"]), ["A"]);
});

test("Floodgate.clearBelow goes by the ledger at creation, not by later sightings", () => {
  const gate = new Floodgate();
  gate.addRecord("old", 4, "A");
  gate.addRecord("old", 9, "B");
  gate.addRecord("edge", 5, "A");
  gate.clearBelow(5);
  assert.equal(gate.size, 1);
  assert.equal(gate.knownBy("edge").size, 1);
});

test("Floodgate never names a node twice for a message that was not forgotten", () => {
  const ids = fc.constantFrom("m", "n"), nodes = fc.subarray(["A", "B", "C", "D"]);
  const command = fc.oneof(
    fc.record({ do: fc.constant("add" as const), id: ids, from: fc.constantFrom("A", "B", "C", "D") }),
    fc.record({ do: fc.constant("broadcast" as const), id: ids, nodes }),
    fc.record({ do: fc.constant("forget" as const), id: ids }),
  );
  fc.assert(fc.property(fc.array(command), (commands) => {
    const gate = new Floodgate(), model = new Map<string, Set<string>>();
    for (const c of commands) {
      if (c.do === "forget") {
        gate.forget(c.id);
        model.delete(c.id);
        continue;
      }
      const isNew = !model.has(c.id);
      const told = model.get(c.id) ?? new Set();
      model.set(c.id, told);
      if (c.do === "add") {
        assert.equal(gate.addRecord(c.id, 1, c.from), isNew);
        told.add(c.from);
      } else {
        assert.deepEqual(gate.broadcast(c.id, 1, c.nodes), c.nodes.filter((node) => !told.has(node)));
        for (const node of c.nodes) told.add(node);
      }
    }
    assert.equal(gate.size, model.size);
  }));
});

test("Floodgate holds no more records than its bound, and forgets the oldest", () => {
  const gate = new Floodgate(3);
  for (const id of ["a", "b", "c"]) assert.equal(gate.addRecord(id, 1, "X"), true);
  assert.equal(gate.addRecord("a", 1, "Y"), false);
  assert.equal(gate.addRecord("d", 1, "X"), true);
  assert.equal(gate.size, 3);
  assert.deepEqual([...gate.knownBy("a")], []);
  assert.deepEqual([...gate.knownBy("b")], ["X"]);
  assert.deepEqual(gate.broadcast("e", 1, ["X"]), ["X"]);
  assert.equal(gate.size, 3);
});
