import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  compareBytes,
  concatBytes,
  decodeText,
  encodeText,
  equalBytes,
  equalConstantTime,
  escapeRemoteText,
  fromHex,
  isZero,
  readUint32,
  toHex,
  writeUint32,
} from "./bytes.ts";

const bytes = () => fc.uint8Array({ maxLength: 40 });

test("toHex and fromHex undo each other, in either case", () => {
  fc.assert(fc.property(bytes(), (b) => {
    const hex = toHex(b);
    assert.match(hex, /^([0-9a-f]{2})*$/);
    assert.deepEqual(fromHex(hex), b);
    assert.deepEqual(fromHex(hex.toUpperCase()), b);
  }));
});

test("fromHex refuses what is not hex", () => {
  for (const text of ["0", "0g", "0x00", " 00", "00 ", "--"]) assert.throws(() => fromHex(text), RangeError, text);
  assert.equal(fromHex("").length, 0);
});

test("equalBytes and equalConstantTime agree with the hex texts", () => {
  fc.assert(fc.property(bytes(), bytes(), (a, b) => {
    const expected = toHex(a) === toHex(b);
    assert.equal(equalBytes(a, b), expected);
    assert.equal(equalConstantTime(a, b), expected);
    assert.ok(equalBytes(a, a.slice()) && equalConstantTime(a, a.slice()));
  }));
});

test("equalConstantTime sees a flip of any bit", () => {
  const a = new Uint8Array(32).fill(0x5a);
  for (let bit = 0; bit < 256; bit++) {
    const b = a.slice();
    b[bit >> 3] ^= 1 << (bit & 7);
    assert.ok(!equalConstantTime(a, b) && !equalBytes(a, b));
  }
});

test("compareBytes orders as the hex texts do", () => {
  fc.assert(fc.property(bytes(), bytes(), (a, b) => {
    const x = toHex(a), y = toHex(b);
    assert.equal(Math.sign(compareBytes(a, b)), x < y ? -1 : x > y ? 1 : 0);
  }));
});

test("concatBytes joins its parts into an array of its own", () => {
  fc.assert(fc.property(fc.array(bytes(), { maxLength: 5 }), (parts) => {
    const all = concatBytes(...parts);
    assert.equal(toHex(all), parts.map(toHex).join(""));
    for (const part of parts) if (part.length > 0) assert.notEqual(part.buffer, all.buffer);
  }));
});

test("isZero looks at every byte", () => {
  assert.ok(isZero(new Uint8Array(32)));
  for (let i = 0; i < 32; i++) assert.ok(!isZero(new Uint8Array(32).fill(1, i, i + 1)));
});

test("readUint32 and writeUint32 are big-endian, unsigned and undo each other", () => {
  const at = new Uint8Array(6);
  writeUint32(at, 1, 0xfffefdfc);
  assert.equal(toHex(at), "00fffefdfc00");
  fc.assert(fc.property(fc.integer({ min: 0, max: 0xffffffff }), (n) => {
    writeUint32(at, 2, n);
    assert.equal(readUint32(at, 2), n);
  }));
});

test("decodeText is lenient, encodeText exact", () => {
  assert.equal(decodeText(encodeText("ä€😀")), "ä€😀");
  assert.equal(decodeText(Uint8Array.of(0x61, 0xff, 0x62)), "a\ufffdb");
});

test("escapeRemoteText leaves plain text alone", () => {
  for (const text of ["", "v26.1.0-dirty", "stellar-core 27.1.0 (0b7ee2) & <b>\"'$`", "größe 節點 😀👍🏽", "a b"]) {
    assert.equal(escapeRemoteText(text), text);
  }
});

test("escapeRemoteText makes everything visible that a terminal or a log would obey", () => {
  const table: [string, string][] = [
    ["a\nb\r\tc", "a\\x0ab\\x0d\\x09c"],
    ["\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"],
    ["\0", "\\x00"],
    ["\x7f\x80\x9b31m", "\\x7f\\x80\\x9b31m"],
    ["C:\\x1b", "C:\\\\x1b"],
    ["\u202egnp.exe", "\\u{202e}gnp.exe"],
    ["\u2066a\u2069", "\\u{2066}a\\u{2069}"],
    ["a\u200bb\u200fc\ufeff", "a\\u{200b}b\\u{200f}c\\u{feff}"],
    ["\u2028\u2029", "\\u{2028}\\u{2029}"],
    ["\u00ad", "\\xad"],
    ["\ufffd", "\\u{fffd}"],
    // Bytes that were no UTF-8, as XDR text keeps them; and halves of pairs.
    ["a\udc80\udcff", "a\\x80\\xff"],
    ["\ud83d.\ude00", "\\u{d83d}.\\u{de00}"],
  ];
  for (const [raw, shown] of table) assert.equal(escapeRemoteText(raw), shown);
});

test("escapeRemoteText leaves no control or invisible character in any text, on one line", () => {
  // deno-lint-ignore no-control-regex
  const bad = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }), (units) => {
      const shown = escapeRemoteText(String.fromCharCode(...units));
      assert.doesNotMatch(shown, bad);
      // No half of a surrogate pair: the text can be written as UTF-8 and read again.
      assert.equal(decodeText(encodeText(shown)), shown);
    }),
    { numRuns: 2000 },
  );
});
