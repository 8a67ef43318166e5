import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toHex } from "../base/bytes.ts";
import { isFailure } from "../base/errors.ts";
import { blake2b } from "./blake2b.ts";
import { agreementKey, native } from "./primitives.ts";
import { portable } from "./primitives_portable.ts";
import { boxKey, openSealedBox, SEAL_BYTES, sealBox } from "./sealed_box.ts";

/** The vector of survey.md section 14; the box was opened with libsodium. */
const RECIPIENT = agreementKey(new Uint8Array(32).fill(0x55));
const EPHEMERAL = new Uint8Array(32).fill(0x66);
const CONTENT = fromHex(
  "00000002000000000000000000000003000000010000000c00000008000000790000007000000000000000010000004000000008",
);
const SEALED = "219e4d800da968d2a5fcb009c784f4746c7138edb9ee4844b739e830b05cf424" +
  "f2582a32e024d4d9b8b8da535255703ed5595f0639b03e250904ea70d8aa3030" +
  "bb1695608a7f5c68eedf28250627ec3584006280d0974790ba99294dfb05f8fb87f10c29";

/** Points of order 1, 2, 4, 8 in their canonical and other encodings. */
const SMALL_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map(fromHex);

test("sealBox gives the vector's box, step by step, and openSealedBox opens it", () => {
  const ephemeral = agreementKey(EPHEMERAL);
  assert.equal(toHex(RECIPIENT.publicKey), "38ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67");
  assert.equal(toHex(ephemeral.publicKey), SEALED.slice(0, 64));
  const nonce = blake2b(fromHex(toHex(ephemeral.publicKey) + toHex(RECIPIENT.publicKey)), 24);
  assert.equal(toHex(nonce), "cddd77d1b2df37aa8a8ed684ce49af72a1a8a78774ccea69");
  const shared = ephemeral.agree(RECIPIENT.publicKey)!;
  assert.equal(toHex(shared), "559ed2171b98fa0c0f417b78b5c5a43e971990d7605860038d940284d3245142");
  assert.equal(toHex(boxKey(shared)), "b6ef1ad8e5f6be50ef861f19399ec05ec370ff39763d6ef2847a52495aad9bb4");
  const sealed = sealBox(RECIPIENT.publicKey, CONTENT, EPHEMERAL)!;
  assert.equal(toHex(sealed), SEALED);
  assert.equal(toHex(openSealedBox(RECIPIENT, sealed)!), toHex(CONTENT));
});

test("openSealedBox works with keys of either implementation", () => {
  const secret = new Uint8Array(32).fill(0x55), sealed = fromHex(SEALED);
  for (const implementation of [native, portable]) {
    assert.deepEqual(openSealedBox(implementation.agreementKey(secret), sealed), CONTENT, implementation.name);
  }
});

test("openSealedBox gives back what sealBox was given, from views too, and nothing to anybody else", () => {
  const secret = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(
      secret,
      secret,
      secret,
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(7),
      (own, other, ephemeral, content, at) => {
        const key = agreementKey(own), stranger = agreementKey(other);
        const sealed = sealBox(key.publicKey, content, ephemeral)!;
        assert.equal(sealed.length, content.length + SEAL_BYTES);
        const shifted = new Uint8Array(sealed.length + at + 3);
        shifted.set(sealed, at);
        assert.deepEqual(openSealedBox(key, shifted.subarray(at, at + sealed.length)), content);
        if (toHex(stranger.publicKey) !== toHex(key.publicKey)) {
          assert.equal(
            openSealedBox(stranger, sealed),
            undefined,
          );
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("openSealedBox refuses a box with any byte altered or missing", () => {
  const sealed = fromHex(SEALED);
  for (let i = 0; i < sealed.length; i++) {
    const altered = sealed.slice();
    altered[i] ^= 1;
    assert.equal(openSealedBox(RECIPIENT, altered), undefined, `byte ${i}`);
    assert.equal(openSealedBox(RECIPIENT, sealed.subarray(0, i)), undefined, `${i} bytes`);
  }
  assert.equal(openSealedBox(RECIPIENT, new Uint8Array(200)), undefined);
});

test("sealBox refuses keys of small order and of a wrong length, and boxes with such keys do not open", () => {
  for (const key of SMALL_ORDER) {
    assert.equal(sealBox(key, CONTENT, EPHEMERAL), undefined, toHex(key));
    const box = fromHex(toHex(key) + SEALED.slice(64));
    assert.equal(openSealedBox(RECIPIENT, box), undefined, toHex(key));
  }
  assert.equal(sealBox(new Uint8Array(31).fill(9), CONTENT, EPHEMERAL), undefined);
  assert.throws(() => sealBox(RECIPIENT.publicKey, CONTENT, new Uint8Array(31)), isFailure("invalid_argument"));
});

test("a box may be empty, and as large as the protocol allows", () => {
  for (const length of [0, 1, 64_000 - SEAL_BYTES]) {
    const content = new Uint8Array(length).fill(7);
    assert.deepEqual(openSealedBox(RECIPIENT, sealBox(RECIPIENT.publicKey, content, EPHEMERAL)!), content);
  }
});
