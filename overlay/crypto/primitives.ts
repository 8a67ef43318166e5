/**
 * Hashes, MACs, signatures and key agreement, by the fastest way this runtime has. `node:crypto` is native everywhere for the
 * curves; for hashing, entering it costs more than hashing a short message, so that part differs per runtime.
 * The portable implementation (noble) lives in primitives_portable.ts and is loaded only when somebody asks for it.
 */
import { Buffer } from "node:buffer";
import * as crypto from "node:crypto";
import { encodeText, equalBytes, fromHex, isZero } from "../base/bytes.ts";
import { OverlayError } from "../base/errors.ts";
import { blake2b } from "./blake2b.ts";
import { HmacSha256, INNER_PAD, keyBlock, OUTER_PAD, sha256Portable } from "./sha256.ts";
import { isStrictForm } from "./strict_signature.ts";

/** An HMAC-SHA256 key, ready to use for many messages. Source: stellar-core SHA.cpp hmacSha256. */
export interface MacKey {
  /** HMAC-SHA256 of `data`: 32 new bytes. */
  mac(data: Uint8Array): Uint8Array;
}

/** An Ed25519 key pair. Source: stellar-core SecretKey.cpp. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The signature of `message`: 64 new bytes, always the same for the same message. */
  sign(message: Uint8Array): Uint8Array;
}

/** A Curve25519 key pair. Source: stellar-core Curve25519.cpp. */
export interface AgreementKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The shared point: 32 new bytes; null when the remote key is not 32 bytes or has small order (all-zero result). */
  agree(remotePublicKey: Uint8Array): Uint8Array | null;
}

/**
 * One implementation of all cryptography of the overlay, besides the sealed box. Both agree on every input, valid or not:
 * signatures as libsodium 1.0.18 verifies them (strict form, then the equation without cofactor).
 */
export interface Primitives {
  readonly name: "native" | "portable";
  /** SHA-256: 32 new bytes. */
  sha256(data: Uint8Array): Uint8Array;
  /** BLAKE2b with 32 bytes of output. Source: stellar-core BLAKE2.cpp. */
  blake2b256(data: Uint8Array): Uint8Array;
  /** Prepares an HMAC key of any length. It keeps no view on `key`. */
  macKey(key: Uint8Array): MacKey;
  /**
   * Makes an Ed25519 key pair of its seed (32 bytes).
   * @throws OverlayError `invalid_argument` for another length
   */
  signingKey(seed: Uint8Array): SigningKey;
  /** Whether `signature` is by `publicKey` over `message`. Wrong lengths and malformed points are false, never a throw. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /**
   * Makes a Curve25519 key pair of its secret (32 bytes, clamped on use).
   * @throws OverlayError `invalid_argument` for another length
   */
  agreementKey(secret: Uint8Array): AgreementKey;
}

/**
 * Refuses a seed or secret that is not 32 bytes.
 * @throws OverlayError `invalid_argument`
 */
export function checkSecretLength(what: string, secret: Uint8Array): void {
  if (secret.length !== 32) {
    throw new OverlayError({
      code: "invalid_argument",
      argument: what,
      reason: `${secret.length} bytes instead of 32`,
    });
  }
}

// ---- Hashing ----

/** The part of Bun's API used here, so that its types are not needed. */
interface BunHashing {
  SHA256: {
    hash(data: Uint8Array, into: Uint8Array): Uint8Array;
    new (): { update(data: Uint8Array): unknown; digest(into: Uint8Array): Uint8Array };
  };
  CryptoHasher: { hash(algorithm: "blake2b256", data: Uint8Array, into: Uint8Array): Uint8Array };
}
const runtime = globalThis as unknown as { Bun?: BunHashing; Deno?: unknown };
const bun = runtime.Bun;
const isDeno = runtime.Deno !== undefined;
// Node has it from 20.12 on.
const hashOnce = (crypto as { hash?: (algorithm: string, data: Uint8Array, encoding: "buffer") => Uint8Array }).hash;

// Deno loads a part of node:crypto at the first hash, and runs waiting microtasks meanwhile: once, in the middle of a frame that
// was being composed, which then left without its MAC. So the first hash is now.
if (isDeno) crypto.createHash("sha256").update(new Uint8Array(1)).digest();

/** Up to this many bytes our own SHA-256 is quicker than a call into `node:crypto`. Measured on Deno 2.9 and Node 20. */
const OWN_SHA256_BYTES = isDeno ? 200 : 0;
/** The same for HMAC, where the own one starts behind the key block. */
const OWN_HMAC_BYTES = isDeno ? 1000 : 119;
/** Longer messages are hashed in pieces instead of being copied behind the key block. */
const SCRATCH_BYTES = 4096;

/** Own bytes instead of a Buffer, which would compare as another type and may pin a shared slab. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function digestOf(data: Uint8Array): Uint8Array {
  return hashOnce && !isDeno ? hashOnce("sha256", data, "buffer") : crypto.createHash("sha256").update(data).digest();
}

// Shared by all keys: [64 bytes of `scratchOwner`'s inner key block | message].
const scratch = new Uint8Array(64 + SCRATCH_BYTES);
let scratchOwner: BunMacKey | undefined;

/** HMAC by hand over Bun's one-shot hash: 1.3 times as quick as its keyed hasher, which also cannot be reused. */
class BunMacKey implements MacKey {
  readonly #inner: Uint8Array;
  /** The outer key block, then the inner hash of the message at work. */
  readonly #outer = new Uint8Array(96);
  readonly #innerHash = this.#outer.subarray(64);

  constructor(key: Uint8Array) {
    this.#inner = keyBlock(key, INNER_PAD);
    this.#outer.set(keyBlock(key, OUTER_PAD));
  }

  mac(data: Uint8Array): Uint8Array {
    if (data.length <= SCRATCH_BYTES) {
      if (scratchOwner !== this) {
        scratch.set(this.#inner);
        scratchOwner = this;
      }
      scratch.set(data, 64);
      bun!.SHA256.hash(scratch.subarray(0, 64 + data.length), this.#innerHash);
    } else {
      const hasher = new bun!.SHA256();
      hasher.update(this.#inner);
      hasher.update(data);
      hasher.digest(this.#innerHash);
    }
    return bun!.SHA256.hash(this.#outer, new Uint8Array(32));
  }
}

/** Deno and Node: short messages by our own SHA-256, long ones by `node:crypto`. */
class NodeMacKey implements MacKey {
  readonly #short: HmacSha256;
  readonly #key: Uint8Array;
  /** Made when the first long message comes. */
  #long: ((data: Uint8Array) => Uint8Array) | undefined;

  constructor(key: Uint8Array) {
    this.#short = new HmacSha256(key);
    this.#key = key;
  }

  mac(data: Uint8Array): Uint8Array {
    if (data.length <= OWN_HMAC_BYTES) return this.#short.mac(data);
    this.#long ??= isDeno && hashOnce ? hashedTwice(this.#key, hashOnce) : hmacOf(this.#key);
    return plain(this.#long(data));
  }
}

function hmacOf(key: Uint8Array): (data: Uint8Array) => Uint8Array {
  const object = crypto.createSecretKey(key);
  return (data) => crypto.createHmac("sha256", object).update(data).digest();
}

/** Deno's Hmac object costs more than two one-shot hashes. */
function hashedTwice(key: Uint8Array, hash: NonNullable<typeof hashOnce>): (data: Uint8Array) => Uint8Array {
  const inner = keyBlock(key, INNER_PAD), outer = new Uint8Array(96);
  outer.set(keyBlock(key, OUTER_PAD));
  return (data) => {
    const message = new Uint8Array(64 + data.length);
    message.set(inner);
    message.set(data, 64);
    outer.set(hash("sha256", message, "buffer"), 64);
    return hash("sha256", outer, "buffer");
  };
}

// ---- Curves ----

type Curve = "Ed25519" | "X25519";
const PKCS8: Record<Curve, Uint8Array> = {
  Ed25519: fromHex("302e020100300506032b657004220420"),
  X25519: fromHex("302e020100300506032b656e04220420"),
};

function privateKeyOf(curve: Curve, secret: Uint8Array): crypto.KeyObject {
  return crypto.createPrivateKey({ key: Buffer.concat([PKCS8[curve], secret]), format: "der", type: "pkcs8" });
}

function rawPublicKey(key: crypto.KeyObject): Uint8Array {
  return plain(
    crypto.createPublicKey(key as unknown as crypto.PublicKeyInput).export({ format: "der", type: "spki" }).subarray(
      12,
    ),
  );
}

/** A raw public key as `node:crypto` takes it. JWK, because Node 20 needs 75 us for the DER form. */
function publicJwk(curve: Curve, raw: Uint8Array): crypto.JsonWebKeyInput {
  const x = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("base64url");
  return { key: { kty: "OKP", crv: curve, x }, format: "jwk" };
}

/** The implementation on the runtime's own cryptography. */
export const native: Primitives = {
  name: "native",
  sha256: (data) => {
    if (bun) return bun.SHA256.hash(data, new Uint8Array(32));
    return data.length <= OWN_SHA256_BYTES ? sha256Portable(data) : plain(digestOf(data));
  },
  blake2b256: (data) => bun ? bun.CryptoHasher.hash("blake2b256", data, new Uint8Array(32)) : blake2b(data, 32),
  macKey: (key) => {
    const short = key.length > 64 ? native.sha256(key) : key.slice();
    return bun ? new BunMacKey(short) : new NodeMacKey(short);
  },
  signingKey: (seed) => {
    checkSecretLength("Ed25519 seed", seed);
    const key = privateKeyOf("Ed25519", seed);
    return { publicKey: rawPublicKey(key), sign: (message) => plain(crypto.sign(null, message, key)) };
  },
  verify: (publicKey, message, signature) => {
    if (!isStrictForm(publicKey, signature)) return false;
    try {
      return crypto.verify(
        null,
        message,
        publicJwk("Ed25519", publicKey) as crypto.VerifyKeyObjectInput & crypto.JsonWebKeyInput,
        signature,
      );
    } catch {
      return false; // not a point of the curve
    }
  },
  agreementKey: (secret) => {
    checkSecretLength("Curve25519 secret", secret);
    const privateKey = privateKeyOf("X25519", secret);
    return {
      publicKey: rawPublicKey(privateKey),
      agree: (remotePublicKey) => {
        if (remotePublicKey.length !== 32) return null;
        try {
          const publicKey = crypto.createPublicKey(publicJwk("X25519", remotePublicKey));
          const shared = plain(crypto.diffieHellman({ privateKey, publicKey }));
          return isZero(shared) ? null : shared;
        } catch {
          return null; // all three runtimes throw on an all-zero result
        }
      },
    };
  },
};

// ---- The choice ----

/** The implementation in use: {@link native}, until {@link initPrimitives} finds that it does not work here. */
export let primitives: Primitives = native;

/**
 * Checks `candidate` and uses it; when it fails, uses the portable implementation. Call it once, at start: an engine in a
 * runtime whose `node:crypto` lacks the curves (FIPS builds, bundles for other hosts) works from then on.
 * @throws Error when neither computes the known answers
 */
export async function initPrimitives(candidate: Primitives = native): Promise<Primitives> {
  try {
    selfCheck(candidate);
    primitives = candidate;
  } catch {
    const { portable } = await import("./primitives_portable.ts");
    selfCheck(portable);
    primitives = portable;
  }
  return primitives;
}

/**
 * Computes one known answer per primitive: RFC 8032 test 1, RFC 7748 section 6.1, RFC 4231 test 2, "abc".
 * @throws Error naming the primitive that is wrong, or whatever it throws
 */
export function selfCheck(p: Primitives): void {
  const expect = (what: string, actual: Uint8Array | null, hex: string) => {
    if (actual === null || !equalBytes(actual, fromHex(hex))) {
      throw new Error(`${p.name} ${what} computes a wrong answer`);
    }
  };
  const abc = encodeText("abc");
  expect("SHA-256", p.sha256(abc), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect("BLAKE2b", p.blake2b256(abc), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  const mac = p.macKey(encodeText("Jefe")).mac(encodeText("what do ya want for nothing?"));
  expect("HMAC", mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  const key = p.signingKey(fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  const signature = key.sign(new Uint8Array(0));
  expect(
    "Ed25519",
    signature,
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  if (!p.verify(key.publicKey, new Uint8Array(0), signature)) {
    throw new Error(`${p.name} Ed25519 refuses its own signature`);
  }
  if (p.verify(key.publicKey, abc, signature)) throw new Error(`${p.name} Ed25519 accepts a wrong message`);
  const bob = p.agreementKey(fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  const alicePublicKey = fromHex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  expect("X25519", bob.agree(alicePublicKey), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

/** {@link Primitives.sha256} of the implementation in use. */
export function sha256(data: Uint8Array): Uint8Array {
  return primitives.sha256(data);
}

/** {@link Primitives.blake2b256} of the implementation in use. */
export function blake2b256(data: Uint8Array): Uint8Array {
  return primitives.blake2b256(data);
}

/** {@link Primitives.macKey} of the implementation in use. */
export function macKey(key: Uint8Array): MacKey {
  return primitives.macKey(key);
}

/** {@link Primitives.signingKey} of the implementation in use. Throws OverlayError `invalid_argument`. */
export function signingKey(seed: Uint8Array): SigningKey {
  return primitives.signingKey(seed);
}

/** {@link Primitives.verify} of the implementation in use. */
export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return primitives.verify(publicKey, message, signature);
}

/** {@link Primitives.agreementKey} of the implementation in use. Throws OverlayError `invalid_argument`. */
export function agreementKey(secret: Uint8Array): AgreementKey {
  return primitives.agreementKey(secret);
}

/** A network's id: SHA-256 of its passphrase. Source: stellar-core ApplicationImpl.cpp. */
export function networkIdOf(passphrase: string): Uint8Array {
  return primitives.sha256(encodeText(passphrase));
}
