import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { StrKey } from "@stellar/stellar-base";
import { fromHex, toHex } from "../base/bytes.ts";
import { isFailure, OverlayError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { decodeNodeId, decodeSecretSeed, encodeNodeId, encodeSecretSeed } from "./strkey.ts";

const ID = "GCA2X6UYKHCDTATC4J5G5JFBFSX7CBZZVSDXZRFEKLLHYUOVWMUROCFN";
const ID_BYTES = "81abfa9851c4398262e27a6ea4a12caff10739ac877cc4a452d67c51d5b32917";
const SEED_BYTES = fromHex("83c874d33e8bff73caaa762c79cd1ed101d727c7f20fe4972c67e67978292f23");

test("encodeNodeId writes the id of a recorded node", () => {
  assert.equal(encodeNodeId(fromHex(ID_BYTES)), ID);
  assert.equal(toHex(decodeNodeId(ID)), ID_BYTES);
});

test("strkeys agree with stellar-base for random keys and both extremes", () => {
  const random = new SeededRandom(1);
  const keys = [
    new Uint8Array(32),
    new Uint8Array(32).fill(255),
    ...Array.from({ length: 200 }, () => random.bytes(32)),
  ];
  for (const key of keys) {
    const id = encodeNodeId(key), seed = encodeSecretSeed(key);
    assert.equal(id, StrKey.encodeEd25519PublicKey(Buffer.from(key)));
    assert.equal(seed, StrKey.encodeEd25519SecretSeed(Buffer.from(key)));
    assert.deepEqual(decodeNodeId(id), key);
    assert.deepEqual(decodeSecretSeed(seed, "test"), key);
  }
});

test("decodeNodeId refuses every text with one other character, and whatever stellar-base refuses", () => {
  for (let i = 0; i < 56; i++) {
    for (const c of "A7gl01=- é\u0000") {
      const text = ID.slice(0, i) + c + ID.slice(i + 1);
      if (text === ID) continue;
      assert.throws(() => decodeNodeId(text), isFailure("invalid_argument"), text);
      assert.equal(StrKey.isValidEd25519PublicKey(text), false);
    }
  }
  const wrong = [
    "",
    "G",
    ID.slice(1),
    ID + "A",
    ID + "=",
    " " + ID.slice(1),
    ID.toLowerCase(),
    ID + "\n",
    "😀".repeat(28),
  ];
  for (const text of wrong) assert.throws(() => decodeNodeId(text), isFailure("invalid_argument"), text);
});

test("other kinds of key are refused", () => {
  const seed = encodeSecretSeed(SEED_BYTES);
  assert.throws(() => decodeNodeId(seed), /secret seed/);
  assert.throws(() => decodeSecretSeed(ID, "file"), /public key/);
  for (const text of [StrKey.encodeSha256Hash(Buffer.alloc(32)), StrKey.encodePreAuthTx(Buffer.alloc(32))]) {
    assert.throws(() => decodeNodeId(text), isFailure("invalid_argument"));
    assert.throws(() => decodeSecretSeed(text, "file"), isFailure("seed_invalid"));
  }
});

test("the error of decodeSecretSeed names the source and quotes nothing of the secret", () => {
  const seed = encodeSecretSeed(SEED_BYTES);
  const other = seed[20] === "A" ? "B" : "A";
  for (const text of [seed.slice(0, 55), seed + "A", seed.toLowerCase(), seed.slice(0, 20) + other + seed.slice(21)]) {
    assert.throws(() => decodeSecretSeed(text, "node.seed"), (error) => {
      assert.ok(error instanceof OverlayError && error.code === "seed_invalid");
      assert.match(error.message, /node\.seed/);
      for (let i = 0; i + 4 <= text.length; i++) assert.ok(!error.message.includes(text.slice(i, i + 4)));
      return true;
    });
  }
  assert.throws(() => decodeNodeId(seed), (error) => !String(error).includes(seed.slice(0, 4)));
});

test("encodeNodeId and encodeSecretSeed take 32 bytes only", () => {
  for (const n of [0, 31, 33]) {
    assert.throws(() => encodeNodeId(new Uint8Array(n)), isFailure("invalid_argument"));
    assert.throws(() => encodeSecretSeed(new Uint8Array(n)), isFailure("invalid_argument"));
  }
});

test("decodeNodeId names the argument it is told", () => {
  assert.throws(() => decodeNodeId("G", "--node"), /--node: 1 characters instead of 56/);
});
