import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OldestFirst } from "./oldest.ts";

test("OldestFirst gives what keys().next() gives, whatever else happens to the map", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("put" as const), key: fc.integer({ min: 0, max: 40 }) }) },
    fc.record({ do: fc.constant("delete" as const), key: fc.integer({ min: 0, max: 40 }) }),
    { weight: 3, arbitrary: fc.record({ do: fc.constant("evict" as const) }) },
    fc.record({ do: fc.constant("clear" as const) }),
    fc.record({ do: fc.constant("rest" as const) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
    const map = new Map<number, number>(), oldest = new OldestFirst(map);
    for (const [i, step] of steps.entries()) {
      switch (step.do) {
        case "put":
          // An entry that is put again moves to the end.
          map.delete(step.key);
          map.set(step.key, i);
          break;
        case "delete":
          map.delete(step.key);
          break;
        case "clear":
          map.clear();
          break;
        case "rest":
          oldest.rest();
          break;
        case "evict": {
          const expected = map.keys().next().value;
          const key = oldest.next();
          assert.equal(key, expected);
          if (key !== undefined) map.delete(key);
        }
      }
    }
  }));
});

test("OldestFirst costs no more in a large full map than in a small one", () => {
  // Walking over the deleted places would take more than 50 us each, 10 s in all; the limit is generous for a busy machine.
  const map = new Map<number, number>(), oldest = new OldestFirst(map), SIZE = 50_000, TURNS = 200_000;
  for (let i = 0; i < SIZE; i++) map.set(i, i);
  let steps = 0;
  const counted = new OldestFirst({
    keys: () => {
      const keys = map.keys();
      steps++;
      return keys;
    },
  });
  for (let i = 0; i < TURNS; i++) {
    map.delete(counted.next()!);
    map.set(SIZE + i, i);
  }
  assert.equal(map.keys().next().value, TURNS);
  assert.equal(steps, 1, "one walk");
  assert.equal(oldest.next(), TURNS);
});
