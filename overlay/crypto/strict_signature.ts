/**
 * What libsodium refuses before it computes anything, so that every implementation below refuses it too: OpenSSL, BoringSSL
 * and noble differ here. Source: libsodium 1.0.18 ed25519_ref10 `ge25519_has_small_order`, `sc25519_is_canonical`,
 * `ge25519_is_canonical`; stellar-core PubKeyUtils::verifySig.
 */
import { fromHex } from "../base/bytes.ts";

/** Encodings of the points of order 1, 2, 4 and 8, without the sign bit. */
const SMALL_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map(fromHex);

/** Order of the base point, little-endian. */
const ORDER = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");

function hasSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER.some((p) => {
    for (let i = 0; i < 31; i++) if (p[i] !== point[i]) return false;
    return p[31] === (point[31] & 0x7f);
  });
}

/** Whether the coordinate is below 2^255 - 19, so that the point has no second spelling. */
function isCanonicalPoint(point: Uint8Array): boolean {
  if ((point[31] & 0x7f) !== 0x7f || point[0] < 0xed) return true;
  for (let i = 1; i < 31; i++) if (point[i] !== 0xff) return true;
  return false;
}

/** Whether the second half of the signature is below the group's order, so that nobody can make a second signature of it. */
function isCanonicalScalar(signature: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const byte = signature[32 + i];
    if (byte !== ORDER[i]) return byte < ORDER[i];
  }
  return false;
}

/**
 * Whether a key (32 bytes) and a signature (64 bytes) have the form a verification may go on with: right lengths, a canonical
 * scalar, a canonical key, and neither key nor commitment of small order.
 */
export function isStrictForm(publicKey: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && signature.length === 64 && isCanonicalScalar(signature) &&
    isCanonicalPoint(publicKey) && !hasSmallOrder(publicKey) && !hasSmallOrder(signature);
}
