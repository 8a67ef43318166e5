/**
 * libsodium's `crypto_box_seal`: bytes that only the owner of a Curve25519 key can read, from a sender nobody can name. Each box
 * has a key pair of its own. Source: stellar-core Curve25519.h curve25519Encrypt, curve25519Decrypt; survey.md section 7.
 */
import { hsalsa, xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { concatBytes } from "../base/bytes.ts";
import { blake2b } from "./blake2b.ts";
import { type AgreementKey, agreementKey } from "./primitives.ts";

/** What a box is longer than its content: the key of the box, and the tag. */
export const SEAL_BYTES = 32 + 16;

/** "expand 32-byte k", as Salsa20 takes it. */
const SIGMA = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
const NO_INPUT = new Uint32Array(4);

/**
 * Seals `content` to a Curve25519 key. `ephemeralSecret`: 32 new random bytes, used for this box only. Undefined when the
 * recipient's key is not 32 bytes or has small order, so that anybody could read the box.
 * Throws OverlayError `invalid_argument` when the secret is not 32 bytes.
 */
export function sealBox(
  recipientKey: Uint8Array,
  content: Uint8Array,
  ephemeralSecret: Uint8Array,
): Uint8Array | undefined {
  const ephemeral = agreementKey(ephemeralSecret);
  const shared = ephemeral.agree(recipientKey);
  if (shared === null) return undefined;
  const nonce = blake2b(concatBytes(ephemeral.publicKey, recipientKey), 24);
  return concatBytes(ephemeral.publicKey, xsalsa20poly1305(boxKey(shared), nonce).encrypt(content));
}

/** The content of a box sealed to `key`; undefined when it was altered, is too short, or is for another key. */
export function openSealedBox(key: AgreementKey, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < SEAL_BYTES) return undefined;
  const ephemeralKey = sealed.subarray(0, 32);
  const shared = key.agree(ephemeralKey);
  if (shared === null) return undefined;
  const nonce = blake2b(concatBytes(ephemeralKey, key.publicKey), 24);
  try {
    return xsalsa20poly1305(boxKey(shared), nonce).decrypt(sealed.subarray(32));
  } catch {
    return undefined; // the tag is wrong
  }
}

/** The box's symmetric key of the shared point: HSalsa20 of 16 zero bytes. */
export function boxKey(shared: Uint8Array): Uint8Array {
  const view = new DataView(shared.buffer, shared.byteOffset, 32);
  const words = Uint32Array.from({ length: 8 }, (_, i) => view.getUint32(4 * i, true));
  const out = new Uint32Array(8);
  hsalsa(SIGMA, words, NO_INPUT, out);
  const key = new Uint8Array(32), to = new DataView(key.buffer);
  out.forEach((word, i) => to.setUint32(4 * i, word, true));
  return key;
}
