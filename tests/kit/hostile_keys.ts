/**
 * HELLO, certificate, session keys and frames written down once more from the protocol's description, so that a test of the
 * engine does not rest on the engine's own handshake. Only codecs and cryptography are shared with it.
 * Source: handshake of stellar-core PeerAuth.cpp, Peer.cpp sendHello; framing of TCPPeer.cpp, Hmac.cpp.
 */
import { concatBytes, writeUint32 } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { networkIdOf, primitives, type SigningKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { AuthCert, Hello } from "../../overlay/wire/types.ts";

/** A node identity that signs what it is told to. */
export class HostileIdentity {
  readonly signer: SigningKey;
  readonly nodeId: Uint8Array;
  /** `G...` */
  readonly nodeIdText: string;

  constructor(seed: Uint8Array = random.bytes(32)) {
    this.signer = primitives.signingKey(seed);
    this.nodeId = this.signer.publicKey;
    this.nodeIdText = encodeNodeId(this.nodeId);
  }

  /** A certificate for any key, network and time. */
  cert(networkId: Uint8Array, pubkey: Uint8Array, expiration = soon()): AuthCert {
    const preimage = new Uint8Array(76);
    preimage.set(networkId);
    writeUint32(preimage, 32, 3);
    new DataView(preimage.buffer).setBigUint64(36, expiration);
    preimage.set(pubkey, 44);
    return { pubkey, expiration, sig: this.signer.sign(primitives.sha256(preimage)) };
  }
}

/** An hour from now, Unix seconds. */
export function soon(): bigint {
  return BigInt(Math.floor(Date.now() / 1000) + 3600);
}

/** Everything of a HELLO that a hostile peer may choose. */
export interface HelloChoices {
  identity?: HostileIdentity;
  passphrase?: string;
  /** Curve25519 public key of the certificate; with another one than our own `agree` must know the shared point. */
  pubkey?: Uint8Array;
  /** The point shared with the node's key. */
  agree?: (theirs: Uint8Array) => Uint8Array;
  expiration?: bigint;
  /** Changes of fields; a certificate given here is taken as it is. */
  hello?: Partial<Hello>;
}

/** One connection's secrets: its HELLO, and the MAC keys once the other HELLO is known. */
export class HostileSession {
  readonly identity: HostileIdentity;
  readonly hello: Hello;
  readonly #agree: (theirs: Uint8Array) => Uint8Array;
  sendKey: Uint8Array = new Uint8Array(32);
  receiveKey: Uint8Array | undefined;

  constructor(choices: HelloChoices = {}) {
    this.identity = choices.identity ?? new HostileIdentity();
    const networkId = networkIdOf(choices.passphrase ?? HOSTILE_PASSPHRASE);
    const key = primitives.agreementKey(random.bytes(32));
    this.#agree = choices.agree ?? ((theirs) => key.agree(theirs)!);
    this.hello = {
      ledgerVersion: 28,
      overlayVersion: 42,
      overlayMinVersion: 41,
      networkId,
      versionStr: "hostile 1.0",
      listeningPort: 20_000 + random.int(20_000),
      peerId: this.identity.nodeId,
      cert: this.identity.cert(networkId, choices.pubkey ?? key.publicKey, choices.expiration),
      nonce: random.bytes(32),
      ...choices.hello,
    };
  }

  /** Derives the MAC keys; `called` says that we dialed. */
  derive(theirs: Hello, called: boolean): void {
    const ours = this.hello;
    const [a, b] = called ? [ours, theirs] : [theirs, ours];
    const shared = this.#agree(theirs.cert.pubkey);
    const extract = primitives.macKey(new Uint8Array(32)).mac(concatBytes(shared, a.cert.pubkey, b.cert.pubkey));
    const expand = primitives.macKey(extract);
    const aToB = expand.mac(concatBytes(Uint8Array.of(0), a.nonce, b.nonce, Uint8Array.of(1)));
    const bToA = expand.mac(concatBytes(Uint8Array.of(1), b.nonce, a.nonce, Uint8Array.of(1)));
    [this.sendKey, this.receiveKey] = called ? [aToB, bToA] : [bToA, aToB];
  }
}

/** Passphrase of the local network. */
export const HOSTILE_PASSPHRASE = "Standalone Network ; February 2017";

/** What of a frame may be wrong. */
export interface FrameChoices {
  /** Absent: a bare frame with sequence 0 and a MAC of zeros. */
  sequence?: bigint;
  key?: Uint8Array;
  mac?: Uint8Array;
  /** Bit 31 of the record mark; set by every honest sender. */
  lastFragment?: boolean;
  /** Length in the record mark; that of the body when absent. */
  length?: number;
  /** Discriminant of AuthenticatedMessage. */
  version?: number;
}

/** A frame around the bytes of a StellarMessage. */
export function frameOf(message: Uint8Array, choices: FrameChoices = {}): Uint8Array {
  const frame = new Uint8Array(message.length + 48);
  const mark = (choices.length ?? frame.length - 4) | (choices.lastFragment === false ? 0 : 0x80000000);
  writeUint32(frame, 0, mark >>> 0);
  writeUint32(frame, 4, choices.version ?? 0);
  new DataView(frame.buffer).setBigUint64(8, choices.sequence ?? 0n);
  frame.set(message, 16);
  if (choices.mac !== undefined) frame.set(choices.mac, 16 + message.length);
  else if (choices.key !== undefined) {
    frame.set(primitives.macKey(choices.key).mac(frame.subarray(8, 16 + message.length)), 16 + message.length);
  }
  return frame;
}
