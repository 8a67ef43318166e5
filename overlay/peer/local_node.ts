/**
 * Who we are: identity, network, versions. One object serves all connections of a process.
 * Source: stellar-core Config.cpp, LocalNode; the fields of HELLO in handshake.md section 3.
 */
import { AuthContext } from "../auth/auth_context.ts";
import type { Clock } from "../base/clock.ts";
import { DEFAULT_PEER_PORT } from "../base/peer_address.ts";
import type { Random } from "../base/random.ts";
import { VERSION } from "../base/version.ts";
import { networkIdOf, primitives, type SigningKey } from "../crypto/primitives.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import type { Hello } from "../wire/types.ts";

/** Settings of a {@link LocalNode}; all have defaults but the network. */
export interface LocalNodeOptions {
  passphrase: string;
  clock: Clock;
  random: Random;
  /** 32-byte Ed25519 seed; a fresh identity when absent. */
  seed?: Uint8Array;
  /** 32-byte Curve25519 secret of this process; random when absent. */
  x25519Secret?: Uint8Array;
  /** Highest ledger protocol announced. Nobody checks it. */
  ledgerVersion?: number;
  /** Highest overlay version announced and accepted. */
  overlayVersion?: number;
  /** Lowest overlay version announced and accepted. */
  overlayMinVersion?: number;
  /** At most 100 bytes. */
  versionStr?: string;
  /** Port announced to peers, 1 to 65535. */
  listeningPort?: number;
  /** Seconds our certificates live. Source: stellar-core PeerAuth.cpp, 3600. */
  certLifetimeSeconds?: number;
}

/** Ledger protocol announced by default: that of the reference revision. */
export const DEFAULT_LEDGER_VERSION = 28;
/**
 * The window of a probe. stellar-core compares the two windows and nothing else, so a wide one is accepted by every
 * release, past and to come. Source: stellar-core Peer.cpp recvHello; recorded in fixtures `very-high-max`.
 */
export const WIDE_OVERLAY_WINDOW = { min: 1, max: 1000 };
/** Our side of every connection. */
export class LocalNode {
  readonly identity: SigningKey;
  /** 32 bytes. */
  readonly nodeId: Uint8Array;
  /** `G...` */
  readonly nodeIdText: string;
  readonly passphrase: string;
  readonly networkId: Uint8Array;
  readonly auth: AuthContext;
  readonly ledgerVersion: number;
  readonly overlayVersion: number;
  readonly overlayMinVersion: number;
  readonly versionStr: string;
  readonly listeningPort: number;

  constructor(options: LocalNodeOptions) {
    this.identity = primitives.signingKey(options.seed ?? options.random.bytes(32));
    this.nodeId = this.identity.publicKey;
    this.nodeIdText = encodeNodeId(this.nodeId);
    this.passphrase = options.passphrase;
    this.networkId = networkIdOf(options.passphrase);
    this.ledgerVersion = options.ledgerVersion ?? DEFAULT_LEDGER_VERSION;
    this.overlayVersion = options.overlayVersion ?? WIDE_OVERLAY_WINDOW.max;
    this.overlayMinVersion = options.overlayMinVersion ?? WIDE_OVERLAY_WINDOW.min;
    this.versionStr = options.versionStr ?? `stellar-overlay ${VERSION}`;
    this.listeningPort = options.listeningPort ?? DEFAULT_PEER_PORT;
    this.auth = new AuthContext({
      identity: this.identity,
      networkId: this.networkId,
      clock: options.clock,
      random: options.random,
      x25519Secret: options.x25519Secret,
      certLifetimeSeconds: options.certLifetimeSeconds,
    });
  }

  /** Our HELLO for one connection. */
  hello(nonce: Uint8Array): Hello {
    return {
      ledgerVersion: this.ledgerVersion,
      overlayVersion: this.overlayVersion,
      overlayMinVersion: this.overlayMinVersion,
      networkId: this.networkId,
      versionStr: this.versionStr,
      listeningPort: this.listeningPort,
      peerId: this.nodeId,
      cert: this.auth.cert(),
      nonce,
    };
  }
}
