/** What a node is made of, and who listens to it. */
import type { Clock } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";
import type { Random } from "../base/random.ts";
import type { Database } from "../db/database.ts";
import type { ReadyEnvelope } from "../flood/message_dispatcher.ts";
import type { Drop, PeerFaults } from "../peer/peer.ts";
import type { Resolver, Transport } from "../transport/transport.ts";
import type { OverlayEvent } from "./overlay_event.ts";
import type { AuthenticatedPeer } from "./peer_lists.ts";

/** What a node is made of. */
export interface OverlayManagerOptions {
  /** Whole and adjusted: `pubnet()`, `standalone({...})`, `fromCoreConfig`. */
  config: OverlayConfig;
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  /** Holds the address book and the bans. The node closes it when it stops. */
  database: Database;
  /** 32-byte Ed25519 seed; a fresh identity when absent. */
  seed?: Uint8Array;
  /** 32-byte Curve25519 secret; random when absent. */
  x25519Secret?: Uint8Array;
  /** Whose SCP messages count; everybody's when absent. 32 bytes. */
  trusts?: (nodeId: Uint8Array) => boolean;
  /** Whether a TRANSACTION message of a peer is kept and offered to others; all are when absent. */
  acceptTransaction?: (message: Uint8Array) => boolean;
  /**
   * Who may survey this node and the network through it, when `config.surveyorKeys` is empty; for a program that knows the
   * transitive quorum itself. 32 bytes. When absent, the transitive quorum of `config.quorumNodes` decides.
   */
  permitsSurveyor?: (nodeId: Uint8Array) => boolean;
  /**
   * Fetch the transaction sets and quorum sets that SCP messages name, as a validator does; default: when the node is one.
   * For a watcher that looks into ledgers: what it has fetched is in `dispatcher.txSets`.
   */
  fetchItems?: boolean;
  /** For tests: what is wrong with every connection of this node. */
  peerFaults?: PeerFaults;
  /** Told about events that people want in a log. It must not throw. */
  log?: (event: OverlayEvent) => void;
}

/** What a part that is built on the node hears, the survey for one. Every method is optional and must not throw. */
export interface PeerObserver {
  /** A peer was admitted. */
  onAuthenticated?(peer: AuthenticatedPeer): void;
  /** An admitted peer is gone; nothing of it follows. */
  onDropped?(peer: AuthenticatedPeer, drop: Drop): void;
  /** An SCP message of another node is good and everything it names that this node fetches is here. Each comes once. */
  onEnvelope?(envelope: ReadyEnvelope): void;
  /** The node's tick, every three seconds from the start delay on. */
  onTick?(nowMs: number): void;
}
