/**
 * What all connections of one identity share: its Curve25519 key, its current certificate, and what was already computed for
 * the nodes it met. Source: stellar-core PeerAuth.cpp, PeerAuth.h.
 */
import { Buffer } from "node:buffer";
import type { Clock } from "../base/clock.ts";
import { concatBytes } from "../base/bytes.ts";
import type { Random } from "../base/random.ts";
import { type AgreementKey, agreementKey, type SigningKey } from "../crypto/primitives.ts";
import type { AuthCert } from "../wire/types.ts";
import { certPreimage, type CertVerdict, isExpired, isSigned, issueCert } from "./cert.ts";
import { type Role, type SessionKeys, sessionKeys, sharedKey } from "./session_keys.ts";

/** Life of a certificate. Source: stellar-core PeerAuth.cpp `expirationLimit`. */
export const CERT_LIFETIME_SECONDS = 3600;
/** Shared keys kept. Source: stellar-core PeerAuth.cpp, its cache size of 0xffff. */
export const MAX_SHARED_KEYS = 65_535;
/** Verified certificates kept. A node makes one per half hour, so this covers a network many times as large as pubnet. */
export const MAX_VERIFIED_CERTS = 16_384;

/** A text with one character per byte: a quick and exact key for a Map. */
function textKey(...parts: Uint8Array[]): string {
  const all = concatBytes(...parts);
  return Buffer.from(all.buffer, all.byteOffset, all.length).toString("latin1");
}

/** A map that forgets what was not asked for lately. BOUNDED: two generations; when the young one is full the old one goes. */
export class RecentMap<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  readonly #half: number;

  /** Holds at most `max` entries (2 or more), and at least the last `max / 2` that were used. */
  constructor(max: number) {
    this.#half = Math.max(1, Math.floor(max / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): V | undefined {
    let value = this.#young.get(key);
    if (value === undefined) {
      value = this.#old.get(key);
      if (value !== undefined) {
        this.#old.delete(key);
        this.set(key, value);
      }
    }
    return value;
  }

  /** `key` must not be in the map. */
  set(key: string, value: V): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}

/** What an {@link AuthContext} is made of. */
export interface AuthContextOptions {
  /** Signs the certificates; its public key is the node id. */
  identity: SigningKey;
  /** 32 bytes. */
  networkId: Uint8Array;
  /** Its wall time dates certificates. */
  clock: Clock;
  /** For the Curve25519 secret and nonces. */
  random: Random;
  /** Curve25519 secret, 32 bytes; a new random one when left out. Give it only in tests and simulations. */
  x25519Secret?: Uint8Array;
  /** Default {@link CERT_LIFETIME_SECONDS}. */
  certLifetimeSeconds?: number;
}

/** The authentication state of one identity; one per process is enough, each has its own Curve25519 key. */
export class AuthContext {
  readonly identity: SigningKey;
  readonly networkId: Uint8Array;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #lifetimeSeconds: number;
  readonly #key: AgreementKey;
  #cert: AuthCert | undefined;
  /** Certificates whose signature verified; the key holds everything the signature depends on. BOUNDED: MAX_VERIFIED_CERTS. */
  readonly #verified = new RecentMap<true>(MAX_VERIFIED_CERTS);
  /** Shared keys by role and remote key: the role changes the key. BOUNDED: MAX_SHARED_KEYS. */
  readonly #shared = new RecentMap<Uint8Array>(MAX_SHARED_KEYS);

  /** @throws OverlayError `invalid_argument` when `x25519Secret` is not 32 bytes */
  constructor(options: AuthContextOptions) {
    this.identity = options.identity;
    this.networkId = options.networkId;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#lifetimeSeconds = options.certLifetimeSeconds ?? CERT_LIFETIME_SECONDS;
    this.#key = agreementKey(options.x25519Secret ?? options.random.bytes(32));
  }

  /** Our Curve25519 public key, 32 bytes: the `pubkey` of every certificate of this context. */
  get publicKey(): Uint8Array {
    return this.#key.publicKey;
  }

  /**
   * Our certificate for a HELLO sent now. The same one until less than half of its life is left, then a new one for the same
   * key. Source: stellar-core PeerAuth.cpp getAuthCert.
   */
  cert(): AuthCert {
    const nowSeconds = this.#nowSeconds();
    if (this.#cert === undefined || this.#cert.expiration < nowSeconds + Math.floor(this.#lifetimeSeconds / 2)) {
      this.#cert = issueCert(this.identity, this.networkId, this.publicKey, nowSeconds + this.#lifetimeSeconds);
    }
    return this.#cert;
  }

  /** 32 random bytes: the nonce of one connection's HELLO. */
  newNonce(): Uint8Array {
    return this.#random.bytes(32);
  }

  /**
   * Checks a received certificate as `checkCert` does. A signature that verified once is not verified again; the time always is.
   */
  verifyCert(cert: AuthCert, peerId: Uint8Array): CertVerdict {
    if (isExpired(cert, this.#nowSeconds())) return "expired";
    if (cert.sig.length !== 64) return "signature";
    const key = textKey(cert.sig, peerId, certPreimage(this.networkId, cert.pubkey, cert.expiration));
    if (this.#verified.get(key)) return "ok";
    if (!isSigned(cert, peerId, this.networkId)) return "signature";
    this.#verified.set(key, true);
    return "ok";
  }

  /**
   * The MAC keys of a connection; null when `remotePublicKey` (from the remote's certificate) is unusable, which upstream
   * answers by dropping with `Bad crypto request`. Nonces are 32 bytes. Source: stellar-core Peer.cpp recvHello.
   */
  sessionKeys(
    role: Role,
    localNonce: Uint8Array,
    remotePublicKey: Uint8Array,
    remoteNonce: Uint8Array,
  ): SessionKeys | null {
    const key = (role === "weCalledRemote" ? "+" : "-") + textKey(remotePublicKey);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      const made = sharedKey(this.#key, remotePublicKey, role);
      if (made === null) return null;
      this.#shared.set(key, made);
      shared = made;
    }
    return sessionKeys(shared, localNonce, remoteNonce, role);
  }

  /** Entries held: for tests and metrics. */
  get cached(): { certs: number; sharedKeys: number } {
    return { certs: this.#verified.size, sharedKeys: this.#shared.size };
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.wallMs() / 1000);
  }
}
