import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fixtureText } from "../../tests/kit/survey_files_kit.ts";
import { type Json, JsonSyntaxError, parseJson, printAsCore, printAsPython } from "./json_text.ts";

test("parseJson keeps whole numbers beyond 2^53, and leaves other numbers alone", () => {
  const text = '{"a": 18446744073709551615, "b": -9007199254740993, "c": 1e300, "d": 0.12345678901234567, "e": [1]}';
  assert.deepEqual(parseJson(text), {
    a: 18446744073709551615n,
    b: -9007199254740993n,
    c: 1e300,
    d: 0.12345678901234567,
    e: [1],
  });
});

test("parseJson names line and column of what is wrong", () => {
  const cases: [text: string, line: number, column: number, reason: RegExp][] = [
    ['{\n  "a": 1,\n  "b" 2\n}', 3, 7, /unexpected 2/],
    ['{\n  "a": 1,\n}', 3, 1, /unexpected }/],
    ["[1, 2,\n 3", 2, 3, /cut off/],
    ['{"a": nope}', 1, 7, /not JSON/],
    ['{"a": "x\ny"}', 1, 7, /not JSON/],
    ["{} {}", 1, 4, /more follows/],
    ["[01]", 1, 2, /not JSON/],
    ["[}", 1, 2, /unexpected }/],
    ["", 1, 1, /cut off/],
    ['["\\x"]', 1, 2, /not JSON/],
  ];
  for (const [text, line, column, reason] of cases) {
    assert.throws(() => parseJson(text), (error) => {
      assert.ok(error instanceof JsonSyntaxError, text);
      assert.deepEqual([error.line, error.column], [line, column], text);
      assert.match(error.reason, reason);
      return true;
    });
  }
});

test("parseJson finds a place in whatever is not JSON", () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom("", "}", "]", ",", ":", '"', "x", "1"),
      (text, at, put) => {
        const cut = at % (text.length + 1);
        const broken = text.slice(0, cut) + put + text.slice(cut + 1);
        try {
          JSON.parse(broken);
        } catch {
          assert.throws(() => parseJson(broken), (error) => error instanceof JsonSyntaxError && error.line >= 1);
        }
      },
    ),
  );
});

test("printAsCore prints every recorded answer of stellar-core byte for byte", () => {
  // All but metrics.json, which another printer writes.
  const names = ["bans", "info", "peers", "peers-fullkeys-true", "quorum", "quorum-fullkeys-true"]
    .concat("quorum-transitive-true", "scp-limit-2", "survey-result-before", "survey-result-during", "survey-result");
  let same = 0;
  for (const name of names) {
    const text = fixtureText(`http/${name}.json`);
    assert.equal(printAsCore(parseJson(text)), text, name);
    same++;
  }
  assert.equal(same, names.length);
});

test("printAsCore breaks an array of plain values at 74 columns, as jsoncpp does", () => {
  const id = "G".repeat(56);
  assert.equal(printAsCore({ backlog: [id] }), `{\n   "backlog" : [ "${id}" ]\n}\n`);
  assert.equal(printAsCore({ backlog: [id, id] }), `{\n   "backlog" : [\n      "${id}",\n      "${id}"\n   ]\n}\n`);
  assert.equal(printAsCore([]), "[]\n");
  assert.equal(printAsCore({ a: {} }), '{\n   "a" : {}\n}\n');
});

test("printAsCore and printAsPython print what parseJson reads back", () => {
  const arb = fc.letrec((tie) => ({
    json: fc.oneof(
      { maxDepth: 3 },
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.bigInt({ min: 9007199254740992n, max: 0xffffffffffffffffn }),
      fc.string({ unit: "grapheme" }),
      fc.array(tie("json"), { maxLength: 4 }),
      fc.dictionary(fc.string().filter((key) => key !== "__proto__"), tie("json"), {
        maxKeys: 4,
        noNullPrototype: true,
      }),
    ),
  })).json as fc.Arbitrary<Json>;
  fc.assert(fc.property(arb, (value) => {
    assert.deepEqual(parseJson(printAsCore(value)), value);
    assert.deepEqual(parseJson(printAsPython(value)), value);
  }));
  assert.equal(printAsPython({ a: [1, "é"], b: null }), '{"a": [1, "\\u00e9"], "b": null}');
});
