/** The primitives on noble's JavaScript: a second opinion for tests, and the fallback of {@link initPrimitives}. */
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { blake2b } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, isZero } from "../base/bytes.ts";
import { checkSecretLength, type Primitives } from "./primitives.ts";
import { isStrictForm } from "./strict_signature.ts";

const { Point } = ed25519;

/** A little-endian number. */
function numberOf(bytes: Uint8Array): bigint {
  let n = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) n = (n << 8n) | BigInt(bytes[i]);
  return n;
}

/** The implementation without native code. Ten times as slow at the curves. */
export const portable: Primitives = {
  name: "portable",
  sha256: (data) => sha256(data),
  blake2b256: (data) => blake2b(data, { dkLen: 32 }),
  macKey: (key) => {
    const keyed = hmac.create(sha256, key);
    return { mac: (data) => keyed.clone().update(data).digest() };
  },
  signingKey: (seed) => {
    checkSecretLength("Ed25519 seed", seed);
    const secret = seed.slice();
    return { publicKey: ed25519.getPublicKey(secret), sign: (message) => ed25519.sign(message, secret) };
  },
  verify: (publicKey, message, signature) => {
    if (!isStrictForm(publicKey, signature)) return false;
    try {
      // noble's own verify multiplies by the cofactor; libsodium and the native one compare the encoded point.
      const commitment = signature.subarray(0, 32);
      const k = numberOf(sha512(concatBytes(commitment, publicKey, message))) % Point.Fn.ORDER;
      const point = Point.BASE.multiplyUnsafe(numberOf(signature.subarray(32)))
        .subtract(Point.fromBytes(publicKey).multiplyUnsafe(k));
      return equalBytes(point.toBytes(), commitment);
    } catch {
      return false; // not a point of the curve
    }
  },
  agreementKey: (secret) => {
    checkSecretLength("Curve25519 secret", secret);
    const own = secret.slice();
    return {
      publicKey: x25519.getPublicKey(own),
      agree: (remotePublicKey) => {
        if (remotePublicKey.length !== 32) return null;
        try {
          const shared = x25519.getSharedSecret(own, remotePublicKey);
          return isZero(shared) ? null : shared;
        } catch {
          return null; // noble throws on an all-zero result
        }
      },
    };
  },
};
