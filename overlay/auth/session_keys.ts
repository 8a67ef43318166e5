/**
 * The two MAC keys of a connection, from both certificates' Curve25519 keys and both HELLOs' nonces. The key that both sides
 * share depends on who called, so neither it nor a cache of it may leave the role out. Source: stellar-core PeerAuth.cpp.
 */
import { concatBytes } from "../base/bytes.ts";
import { type AgreementKey, macKey } from "../crypto/primitives.ts";

/** Who opened the connection. Source: stellar-core Peer.h `PeerRole`. */
export type Role = "weCalledRemote" | "remoteCalledUs";

/** The keys as one side uses them, 32 bytes each. The other side has them exchanged. */
export interface SessionKeys {
  sendKey: Uint8Array;
  receiveKey: Uint8Array;
}

/** First byte of the expand step: whose messages the key is for. */
const CALLER_SENDS = 0;
const CALLED_SENDS = 1;
/** HKDF's counter of the one block that is made. */
const FIRST_BLOCK = 1;

const noSalt = new Uint8Array(32);

/**
 * HKDF-extract without salt over `agreed || caller's key || called one's key`: 32 bytes; null when `remotePublicKey` is no
 * usable key (not 32 bytes, small order). Costs one key agreement. Source: stellar-core PeerAuth.cpp getSharedKey.
 */
export function sharedKey(own: AgreementKey, remotePublicKey: Uint8Array, role: Role): Uint8Array | null {
  const agreed = own.agree(remotePublicKey);
  if (agreed === null) return null;
  return macKey(noSalt).mac(
    role === "weCalledRemote"
      ? concatBytes(agreed, own.publicKey, remotePublicKey)
      : concatBytes(agreed, remotePublicKey, own.publicKey),
  );
}

/**
 * HKDF-expand of both directions: the sender's nonce comes first. `shared` is from {@link sharedKey}, nonces are 32 bytes.
 * Source: stellar-core PeerAuth.cpp getSendingMacKey, getReceivingMacKey.
 */
export function sessionKeys(
  shared: Uint8Array,
  localNonce: Uint8Array,
  remoteNonce: Uint8Array,
  role: Role,
): SessionKeys {
  const key = macKey(shared);
  const expand = (direction: number, from: Uint8Array, to: Uint8Array) =>
    key.mac(concatBytes(Uint8Array.of(direction), from, to, Uint8Array.of(FIRST_BLOCK)));
  const weCalled = role === "weCalledRemote";
  return {
    sendKey: expand(weCalled ? CALLER_SENDS : CALLED_SENDS, localNonce, remoteNonce),
    receiveKey: expand(weCalled ? CALLED_SENDS : CALLER_SENDS, remoteNonce, localNonce),
  };
}
