import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { arbMessage } from "../../tests/kit/arbitrary.ts";
import { concatBytes } from "../base/bytes.ts";
import { isFailure } from "../base/errors.ts";
import { decodeMessage, encodeMessage, MessageType } from "./messages.ts";
import { checkShape } from "./shape.ts";
import { MAX_NESTING } from "./xdr.ts";

/** Types that pass unseen. */
const ELSEWHERE: ReadonlySet<string> = new Set(["hello", "auth", "errorMsg", "peers", "scpMessage"]);

function verdict(act: () => unknown): "good" | "corrupt" {
  try {
    act();
    return "good";
  } catch (error) {
    if (isFailure("xdr_invalid")(error)) return "corrupt";
    throw error;
  }
}

test("checkShape agrees with decoding on any message, and on what is cut, lengthened or altered in it", () => {
  const changes = fc.record({
    message: arbMessage,
    cut: fc.nat(12),
    more: fc.nat(3),
    at: fc.nat(4000),
    word: fc.oneof(fc.constantFrom(0, 1, 2, 0xffffffff), fc.integer({ min: 0, max: 0xffffffff })),
    alter: fc.boolean(),
  });
  let corrupt = 0;
  fc.assert(
    fc.property(changes, ({ message, cut, more, at, word, alter }) => {
      if (ELSEWHERE.has(message.type)) return;
      const whole = encodeMessage(message);
      const bytes = concatBytes(whole.subarray(0, Math.max(4, whole.length - 4 * cut)), new Uint8Array(4 * more));
      const words = bytes.length / 4 - 1;
      if (alter && words > 0) new DataView(bytes.buffer).setUint32(4 + 4 * (at % words), word);
      const expected = verdict(() => decodeMessage(bytes));
      if (expected === "corrupt") corrupt++;
      assert.equal(verdict(() => checkShape(bytes)), expected, message.type);
    }),
    { numRuns: 5000 },
  );
  assert.ok(corrupt > 500, `${corrupt}`);
});

test("checkShape looks into quorum sets as deep as they decode, and no deeper", () => {
  const word = (n: number) => Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
  const nested = (levels: number) => {
    const bytes = new Uint8Array(4 + 12 * levels);
    bytes.set(word(MessageType.scpQuorumset));
    for (let i = 0; i < levels - 1; i++) bytes.set(word(1), 4 + 12 * i + 8);
    return bytes;
  };
  for (const levels of [1, 2, MAX_NESTING / 2]) {
    checkShape(nested(levels));
    decodeMessage(nested(levels));
  }
  for (const levels of [MAX_NESTING / 2 + 1, 100_000, 1_300_000]) {
    assert.equal(verdict(() => checkShape(nested(levels))), "corrupt", `${levels}`);
  }
});

test("checkShape reads a quorum set of 16 MiB in little time and makes nothing of it", () => {
  const bytes = new Uint8Array(16 * 1024 * 1024 - 48);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MessageType.scpQuorumset);
  view.setUint32(12, Math.floor((bytes.length - 16) / 12));
  checkShape(bytes.subarray(0, 16 + 12 * Math.floor((bytes.length - 16) / 12)));
});
