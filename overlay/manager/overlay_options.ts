/** What a node is made of, and who listens to it. */
import type { Clock } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";
import type { Random } from "../base/random.ts";
import type { Database } from "../db/database.ts";
import type { FloodId } from "../flood/floodgate.ts";
import type { DiscardReason } from "../flood/message_dispatcher.ts";
import type { Drop, Peer, PeerFaults } from "../peer/peer.ts";
import type { Resolver, Transport } from "../transport/transport.ts";
import type { ReceivedMessage } from "../wire/messages.ts";
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
   * False: nothing that others said is passed on. For a node that measures: a peer does not send what it got from us, so that
   * relaying would change what is measured. What the node itself broadcasts leaves all the same. Default true.
   */
  relays?: boolean;
  /**
   * What is fetched that SCP messages refer to: quorum sets and transaction sets, quorum sets only, or nothing. By default a
   * validator fetches all, and a watcher the quorum sets when it needs them to know who may survey.
   */
  fetchItems?: boolean | "quorumSets";
  /** For tests: what is wrong with every connection of this node. */
  peerFaults?: PeerFaults;
  /** Told about events that people want in a log. It must not throw. */
  log?: (event: OverlayEvent) => void;
}

/** What the node found out about a copy of an SCP_MESSAGE; of other types nothing. */
export interface CopyVerdict {
  /** Its name in the flood map. */
  id?: FloodId;
  /** Why it is neither kept nor relayed; undefined when it was taken, now or before, or waits for items. */
  refusal?: DiscardReason;
}

/** What a part that is built on the node hears, the survey for one. Every method is optional and must not throw. */
export interface PeerObserver {
  /** A peer was admitted. */
  onAuthenticated?(peer: AuthenticatedPeer): void;
  /** An admitted peer is gone; nothing of it follows. */
  onDropped?(peer: AuthenticatedPeer, drop: Drop): void;
  /** A connection ended, authenticated or not; of an admitted peer {@link onDropped} comes next. */
  onClosed?(peer: Peer, drop: Drop): void;
  /**
   * A peer sent a message, the node's own work on it is done, and it did not end the connection. Every copy of every peer is
   * told, also those that subscribers do not get because the message was known or is ignored; ping answers, grants and PEERS
   * are not. The bytes are those of the read buffer: copy what is kept. While a promise is pending, the message counts as
   * unprocessed. Costs nothing while no observer has it.
   */
  onCopy?(peer: AuthenticatedPeer, message: ReceivedMessage, verdict: CopyVerdict): Promise<void> | void;
  /** The node's tick, every three seconds from the start delay on. */
  onTick?(nowMs: number): void;
}
