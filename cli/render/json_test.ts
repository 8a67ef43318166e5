import assert from "node:assert/strict";
import { test } from "node:test";
import { toJson } from "./json.ts";

test("toJson writes what a terminal would obey as escapes that mean the same", () => {
  const hostile = 'a\u001b[2J\u009b31m\u202eb\u200b\u007f\r\n"\\u2028';
  const text = toJson({ hostile }, 0);
  assert.ok(/^[\x20-\x7e]*$/.test(text), text);
  assert.deepEqual(JSON.parse(text), { hostile });
});

test("toJson keeps other text, writes bigints as strings, and lone surrogates as U+FFFD", () => {
  assert.equal(
    toJson({ name: "Gr\u00fc\u00dfe \u4f60\ud83d\ude00", n: 2n ** 64n, bad: "\udcff" }, 0),
    '{"name":"Gr\u00fc\u00dfe \u4f60\ud83d\ude00","n":"18446744073709551616","bad":"\ufffd"}',
  );
  assert.equal(toJson(undefined, 0), undefined);
});
