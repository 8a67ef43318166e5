import { test } from "node:test";
import assert from "node:assert/strict";
import { encodeText, fromHex, toHex } from "../base/bytes.ts";
import { isFailure } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { blake2b as nobleBlake2b } from "@noble/hashes/blake2.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { blake2b } from "./blake2b.ts";
import * as chosen from "./primitives.ts";
import { initPrimitives, native, networkIdOf, type Primitives, selfCheck } from "./primitives.ts";
import { portable } from "./primitives_portable.ts";
import { HmacSha256, sha256Portable } from "./sha256.ts";

const both: Primitives[] = [native, portable];
const random = new SeededRandom(20261123);
const repeat = (byte: number, n: number) => new Uint8Array(n).fill(byte);

/** Around every limit: blocks of 64 and 128, padding, where implementations change, the scratch buffer. */
const LENGTHS = [
  ...Array.from({ length: 300 }, (_, n) => n),
  ...[383, 384, 385, 511, 512, 513, 999, 1000, 1001, 1024, 4095, 4096, 4097, 10_000, 70_000],
];
const big = random.bytes(80_000);

test("native and portable hash alike for any length, and leave views alone", () => {
  for (const n of LENGTHS) {
    const view = big.subarray(n % 7, (n % 7) + n), before = view.slice();
    assert.deepEqual(native.sha256(view), portable.sha256(view), `sha256 ${n}`);
    assert.deepEqual(native.blake2b256(view), portable.blake2b256(view), `blake2b256 ${n}`);
    assert.deepEqual(sha256Portable(view), portable.sha256(view), `sha256Portable ${n}`);
    assert.deepEqual(blake2b(view, 32), portable.blake2b256(view), `blake2b ${n}`);
    assert.deepEqual(view, before);
  }
});

test("blake2b makes every length of output", () => {
  for (let length = 1; length <= 64; length++) {
    const data = big.subarray(0, 5 * length);
    assert.deepEqual(blake2b(data, length), nobleBlake2b(data, { dkLen: length }));
  }
});

test("native and portable MACs are alike for any length of key and message, with keys used in turn", () => {
  const keys = [0, 1, 20, 32, 63, 64, 65, 131].map((n) => random.bytes(n));
  const natives = keys.map((key) => native.macKey(key)), portables = keys.map((key) => portable.macKey(key));
  for (const n of LENGTHS) {
    const view = big.subarray(n % 5, (n % 5) + n);
    for (let k = n % 3; k < keys.length; k += 3) {
      const want = portables[k].mac(view);
      assert.deepEqual(natives[k].mac(view), want, `key ${keys[k].length}, message ${n}`);
      assert.deepEqual(natives[k].mac(view), want, `key ${keys[k].length}, message ${n}, again`);
      if (keys[k].length <= 64) assert.deepEqual(new HmacSha256(keys[k]).mac(view), want);
    }
  }
});

test("no primitive lets waiting microtasks run, not even at its first use", async () => {
  const ran: string[] = [], data = new Uint8Array(5000);
  const during = async (name: string, act: () => unknown) => {
    let inside = true;
    queueMicrotask(() => void (inside && ran.push(name)));
    act();
    inside = false;
    await Promise.resolve();
  };
  await during("mac", () => native.macKey(new Uint8Array(32)).mac(data));
  await during("sha256", () => native.sha256(data));
  await during("blake2b256", () => native.blake2b256(data));
  assert.deepEqual(ran, []);
});

test("a MAC key keeps no view on its key, and each MAC is a new array", () => {
  for (const p of both) {
    const key = repeat(1, 32), mac = p.macKey(key), first = mac.mac(repeat(2, 5)), copy = first.slice();
    key.fill(9);
    const second = mac.mac(repeat(2, 5)), long = mac.mac(repeat(2, 3000));
    assert.deepEqual(second, copy);
    assert.deepEqual(first, copy);
    key.fill(1);
    assert.deepEqual(long, p.macKey(key).mac(repeat(2, 3000)));
  }
});

test("every result is a plain Uint8Array", () => {
  for (const p of both) {
    const key = p.signingKey(repeat(1, 32)), own = p.agreementKey(repeat(3, 32));
    const results = [p.sha256(big), p.sha256(big.subarray(0, 9)), p.blake2b256(big), p.macKey(repeat(1, 9)).mac(big)];
    for (const bytes of [...results, key.publicKey, key.sign(big), own.publicKey, own.agree(own.publicKey)!]) {
      assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
    }
  }
});

// RFC 4231: key, data, MAC. Test 5 is about truncation and left out.
const ASCII_6 = "Test Using Larger Than Block-Size Key - Hash Key First";
const ASCII_7 = "This is a test using a larger than block-size key and a larger than block-size data. " +
  "The key needs to be hashed before being used by the HMAC algorithm.";
const HMAC_VECTORS: [Uint8Array, Uint8Array, string][] = [
  [repeat(0x0b, 20), encodeText("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"],
  [
    encodeText("Jefe"),
    encodeText("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  [repeat(0xaa, 20), repeat(0xdd, 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"],
  [
    fromHex("0102030405060708090a0b0c0d0e0f10111213141516171819"),
    repeat(0xcd, 50),
    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  ],
  [repeat(0xaa, 131), encodeText(ASCII_6), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"],
  [repeat(0xaa, 131), encodeText(ASCII_7), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"],
];

test("macKey computes RFC 4231", () => {
  for (const p of both) {
    for (const [key, data, mac] of HMAC_VECTORS) assert.equal(toHex(p.macKey(key).mac(data)), mac);
  }
});

// RFC 8032 section 7.1: seed, public key, message, signature.
const ED25519_VECTORS = [
  [
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "",
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  ],
  [
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  ],
  [
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  ],
].map((row) => row.map(fromHex));

test("signingKey and verify compute RFC 8032", () => {
  for (const p of both) {
    for (const [seed, publicKey, message, signature] of ED25519_VECTORS) {
      const key = p.signingKey(seed);
      assert.deepEqual(key.publicKey, publicKey);
      assert.deepEqual(key.sign(message), signature);
      assert.equal(p.verify(publicKey, message, signature), true);
    }
  }
});

test("native and portable make and accept the same signatures", () => {
  for (let i = 0; i < 20; i++) {
    const seed = random.bytes(32), message = random.bytes(17 * i);
    const n = native.signingKey(seed), p = portable.signingKey(seed);
    assert.deepEqual(n.publicKey, p.publicKey);
    const signature = n.sign(message);
    assert.deepEqual(signature, p.sign(message));
    assert.equal(portable.verify(n.publicKey, message, signature), true);
    assert.equal(native.verify(p.publicKey, message, signature), true);
    const at = random.int(64);
    signature[at] ^= 1 << random.int(8);
    assert.equal(native.verify(n.publicKey, message, signature), false);
    assert.equal(portable.verify(n.publicKey, message, signature), false);
  }
});

const L = 2n ** 252n + 27742317777372353535851937790883648493n;
function littleEndian(n: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((n >> BigInt(8 * i)) & 0xffn));
}
function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduceRight((n, byte) => (n << 8n) | BigInt(byte), 0n);
}

test("verify is false, never a throw, for wrong lengths", () => {
  const [, publicKey, message, signature] = ED25519_VECTORS[2];
  for (const p of both) {
    for (const n of [0, 1, 31, 33, 63, 64, 65]) {
      assert.equal(p.verify(repeat(7, n), message, signature), false);
      if (n !== 64) assert.equal(p.verify(publicKey, message, repeat(7, n)), false);
    }
    assert.equal(p.verify(publicKey, message, Uint8Array.of(...signature, 0)), false);
    assert.equal(p.verify(publicKey, message, signature.subarray(0, 63)), false);
    assert.equal(p.verify(new Uint8Array(0), message, new Uint8Array(0)), false);
  }
});

test("verify refuses a scalar that is not canonical, as libsodium does", () => {
  const [, publicKey, message, signature] = ED25519_VECTORS[2];
  for (let k = 1n; k <= 15n; k++) {
    const scalar = numberOf(signature.subarray(32)) + k * L;
    if (scalar >= 2n ** 256n) break;
    const forged = signature.slice();
    forged.set(littleEndian(scalar), 32);
    for (const p of both) assert.equal(p.verify(publicKey, message, forged), false, `${p.name} ${k}`);
  }
});

/** A point of order 8 and all its multiples, computed by noble, in every spelling. */
function smallOrderPoints(): Uint8Array[] {
  const torsion = ed25519.Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
  const points = [ed25519.Point.ZERO.toBytes()];
  for (let n = 1n; n < 8n; n++) points.push(torsion.multiplyUnsafe(n).toBytes());
  const p = 2n ** 255n - 19n;
  const spellings = [...points, littleEndian(p), littleEndian(p + 1n)];
  return spellings.flatMap((point) => {
    const signed = point.slice();
    signed[31] ^= 0x80;
    return [point, signed];
  });
}

test("verify refuses keys and commitments of small order, as libsodium does", () => {
  const points = smallOrderPoints();
  assert.equal(new Set(points.map(toHex)).size, 14);
  const zero = new Uint8Array(32), one = littleEndian(1n);
  for (const key of points) {
    for (const commitment of points) {
      for (const scalar of [zero, one]) {
        // With a small-order key, 8 of these on average satisfy the bare equation.
        const signature = Uint8Array.of(...commitment, ...scalar);
        for (const message of [zero, one]) {
          for (const p of both) assert.equal(p.verify(key, message, signature), false);
        }
      }
    }
  }
});

test("verify refuses keys outside the curve and keys with a second spelling", () => {
  const [, , message, signature] = ED25519_VECTORS[2];
  let outside = 0;
  for (let y = 2n; y < 40n; y++) {
    const key = littleEndian(y);
    try {
      ed25519.Point.fromBytes(key);
    } catch {
      outside++;
    }
    for (const p of both) assert.equal(p.verify(key, message, signature), false);
  }
  assert.ok(outside > 5);
  for (let i = 0n; i < 19n; i++) {
    const key = littleEndian(2n ** 255n - 19n + i);
    for (const p of both) assert.equal(p.verify(key, message, signature), false);
  }
});

test("verify compares without cofactor: a key with a torsion part counts only where the challenge cancels it", () => {
  // A' = A + T with T of order 8. A signature made with A's scalar satisfies S·B = R + k·A, and R + k·A' only when 8 divides k.
  const torsion = ed25519.Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
  const { scalar, point } = ed25519.utils.getExtendedPublicKey(repeat(5, 32));
  const mixed = point.add(torsion).toBytes();
  const nonce = 123456789n, commitment = ed25519.Point.BASE.multiply(nonce).toBytes();
  let accepted = 0;
  for (let i = 0; i < 64; i++) {
    const message = Uint8Array.of(i);
    const k = numberOf(sha512(Uint8Array.of(...commitment, ...mixed, ...message))) % L;
    const signature = Uint8Array.of(...commitment, ...littleEndian((nonce + k * scalar) % L));
    const want = k % 8n === 0n;
    if (want) accepted++;
    for (const p of both) assert.equal(p.verify(mixed, message, signature), want, `${p.name} ${i}`);
    assert.equal(ed25519.verify(signature, message, mixed), true); // noble multiplies by the cofactor
  }
  assert.ok(accepted > 0);
});

test("agreementKey computes RFC 7748", () => {
  for (const p of both) {
    // Section 6.1: Bob's secret, Alice's public key.
    const bob = p.agreementKey(fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert.equal(toHex(bob.publicKey), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    const alice = fromHex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    assert.equal(toHex(bob.agree(alice)!), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    // Section 5.2: the first vector, and the second, whose coordinate has the top bit set.
    const first = p.agreementKey(fromHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"));
    assert.equal(
      toHex(first.agree(fromHex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))!),
      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    );
    const second = p.agreementKey(fromHex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"));
    assert.equal(
      toHex(second.agree(fromHex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"))!),
      "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    );
    // Section 5.2: a thousand iterations would take long with noble; one is enough.
    const base = p.agreementKey(fromHex("0900000000000000000000000000000000000000000000000000000000000000"));
    assert.equal(toHex(base.publicKey), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
  }
});

test("native and portable agree on shared points, in both directions and for spellings above the prime", () => {
  for (let i = 0; i < 12; i++) {
    const a = random.bytes(32), b = random.bytes(32);
    const shared = native.agreementKey(a).agree(portable.agreementKey(b).publicKey);
    assert.deepEqual(portable.agreementKey(b).agree(native.agreementKey(a).publicKey), shared);
    assert.deepEqual(native.agreementKey(a).publicKey, portable.agreementKey(a).publicKey);
  }
  const own = random.bytes(32);
  for (let i = 0n; i < 19n; i++) {
    for (const top of [0n, 2n ** 255n]) {
      const key = littleEndian(2n ** 255n - 19n + i + top);
      assert.deepEqual(native.agreementKey(own).agree(key), portable.agreementKey(own).agree(key), `p + ${i}`);
    }
  }
});

/** Source: libsodium x25519_ref10.c, the coordinates it refuses; with and without the ignored top bit. */
const SMALL_ORDER_COORDINATES = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

test("agree is null for points of small order and for wrong lengths", () => {
  for (const p of both) {
    const own = p.agreementKey(repeat(0x33, 32));
    for (const hex of SMALL_ORDER_COORDINATES) {
      const point = fromHex(hex);
      assert.equal(own.agree(point), null, hex);
      point[31] |= 0x80;
      assert.equal(own.agree(point), null, `${hex} with the top bit`);
    }
    for (const n of [0, 31, 33, 64]) assert.equal(own.agree(repeat(9, n)), null);
  }
});

test("seeds and secrets are copied, and only 32 bytes are one", () => {
  for (const p of both) {
    for (const n of [0, 31, 33, 64]) {
      assert.throws(() => p.signingKey(repeat(1, n)), isFailure("invalid_argument"));
      assert.throws(() => p.agreementKey(repeat(1, n)), isFailure("invalid_argument"));
    }
    const seed = repeat(1, 32), key = p.signingKey(seed), own = p.agreementKey(seed);
    const signature = key.sign(seed.slice()), shared = own.agree(own.publicKey);
    seed.fill(0);
    assert.deepEqual(key.sign(repeat(1, 32)), signature);
    assert.deepEqual(own.agree(own.publicKey), shared);
  }
});

test("selfCheck passes both implementations and names what is wrong", () => {
  for (const p of both) selfCheck(p);
  const broken: Primitives = { ...native, blake2b256: (data) => native.sha256(data) };
  assert.throws(() => selfCheck(broken), /BLAKE2b/);
  assert.throws(() => selfCheck({ ...native, verify: () => true }), /wrong message/);
});

test("initPrimitives falls back to the portable implementation and returns to the native one", async () => {
  const noCurves: Primitives = {
    ...native,
    signingKey: () => {
      throw new Error("unsupported");
    },
  };
  assert.equal((await initPrimitives(noCurves)).name, "portable");
  assert.equal(chosen.primitives, portable);
  assert.deepEqual(chosen.sha256(big), native.sha256(big));
  assert.equal((await initPrimitives()).name, "native");
  assert.equal(chosen.primitives, native);
});

test("networkIdOf hashes the passphrase", () => {
  assert.equal(
    toHex(networkIdOf("Test SDF Network ; September 2015")),
    "cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd472",
  );
});
