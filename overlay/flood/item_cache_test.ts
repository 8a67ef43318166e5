import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { ItemCache } from "./item_cache.ts";

test("ItemCache drops what was not used for the longest time", () => {
  const cache = new ItemCache({ maxItems: 2, maxBytes: 100 });
  cache.set("a", new Uint8Array(10));
  cache.set("b", new Uint8Array(10));
  cache.get("a");
  cache.set("c", new Uint8Array(10));
  assert.deepEqual(["a", "b", "c"].map((hash) => cache.has(hash)), [true, false, true]);
});

test("ItemCache refuses an item larger than itself and keeps the others", () => {
  const cache = new ItemCache({ maxItems: 5, maxBytes: 100 });
  cache.set("a", new Uint8Array(60));
  assert.ok(!cache.set("b", new Uint8Array(101)));
  assert.ok(cache.has("a"));
  cache.set("c", new Uint8Array(41));
  assert.deepEqual([cache.has("a"), cache.bytes], [false, 41]);
});

test("ItemCache stays within both bounds and counts its bytes", () => {
  const command = fc.record({ hash: fc.constantFrom(..."abcdef"), size: fc.nat(60), remove: fc.boolean() });
  fc.assert(fc.property(fc.array(command), (commands) => {
    const cache = new ItemCache({ maxItems: 3, maxBytes: 100 });
    for (const { hash, size, remove } of commands) {
      if (remove) cache.delete(hash);
      else assert.ok(cache.set(hash, new Uint8Array(size)) && cache.has(hash));
      const held = [..."abcdef"].flatMap((h) => cache.has(h) ? [cache.get(h)!.length] : []);
      assert.equal(cache.size, held.length);
      assert.equal(cache.bytes, held.reduce((a, b) => a + b, 0));
      assert.ok(cache.size <= 3 && cache.bytes <= 100);
    }
    cache.clear();
    assert.deepEqual([cache.size, cache.bytes], [0, 0]);
  }));
});
