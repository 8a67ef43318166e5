/** The auth certificate: a node's signature over the Curve25519 key of its process. Source: stellar-core PeerAuth.cpp. */
import { writeUint32 } from "../base/bytes.ts";
import { sha256, type SigningKey, verify } from "../crypto/primitives.ts";
import type { AuthCert } from "../wire/types.ts";

/** Source: Stellar-ledger-entries.x `EnvelopeType`. */
const ENVELOPE_TYPE_AUTH = 3;

/** What a check of a certificate found: `expired` is looked at first. */
export type CertVerdict = "ok" | "expired" | "signature";

/**
 * What the certificate's hash is made of, 76 bytes: networkId (32), int32 3, uint64 expiration, pubkey (32).
 * Source: stellar-core PeerAuth.cpp.
 */
export function certPreimage(networkId: Uint8Array, pubkey: Uint8Array, expiration: bigint): Uint8Array {
  const bytes = new Uint8Array(76);
  bytes.set(networkId);
  writeUint32(bytes, 32, ENVELOPE_TYPE_AUTH);
  writeUint32(bytes, 36, Number(expiration >> 32n));
  writeUint32(bytes, 40, Number(expiration & 0xffffffffn));
  bytes.set(pubkey, 44);
  return bytes;
}

/** The 32 bytes that are signed: SHA-256 of {@link certPreimage}. */
export function certHash(networkId: Uint8Array, pubkey: Uint8Array, expiration: bigint): Uint8Array {
  return sha256(certPreimage(networkId, pubkey, expiration));
}

/**
 * Signs `pubkey` (Curve25519, 32 bytes) for `networkId` (32 bytes) until `expirationSeconds`, whole Unix seconds.
 * Source: stellar-core PeerAuth.cpp makeAuthCert.
 */
export function issueCert(
  identity: SigningKey,
  networkId: Uint8Array,
  pubkey: Uint8Array,
  expirationSeconds: bigint | number,
): AuthCert {
  const expiration = BigInt(expirationSeconds);
  return { pubkey: pubkey.slice(), expiration, sig: identity.sign(certHash(networkId, pubkey, expiration)) };
}

/** Whether a certificate's time is over at `nowSeconds` (Unix, fractions are cut); its last second still counts. */
export function isExpired(cert: AuthCert, nowSeconds: number): boolean {
  return cert.expiration < Math.floor(nowSeconds);
}

/** Whether `peerId` signed the certificate for `networkId`; any length but 64 is no signature. Costs one verification. */
export function isSigned(cert: AuthCert, peerId: Uint8Array, networkId: Uint8Array): boolean {
  return cert.sig.length === 64 && verify(peerId, certHash(networkId, cert.pubkey, cert.expiration), cert.sig);
}

/**
 * Checks the certificate of a HELLO against its `peerId` and our `networkId`. A certificate of another network is `signature`.
 * No expiration is too far away. Source: stellar-core PeerAuth.cpp verifyRemoteAuthCert.
 */
export function checkCert(cert: AuthCert, peerId: Uint8Array, networkId: Uint8Array, nowSeconds: number): CertVerdict {
  if (isExpired(cert, nowSeconds)) return "expired";
  return isSigned(cert, peerId, networkId) ? "ok" : "signature";
}
