/**
 * What becomes of every message of an authenticated peer: ignored, flooded on, answered, kept, published. Source: stellar-core
 * Peer.cpp recvMessage and its handlers, OverlayManagerImpl.cpp (recvFloodedMsgID, broadcastMessage); flooding.md.
 */
import { equalBytes } from "../base/bytes.ts";
import { decodeNodeId } from "../crypto/strkey.ts";
import { OverlayError } from "../base/errors.ts";
import { Floodgate, type FloodId, floodIdOf } from "../flood/floodgate.ts";
import { MessageDispatcher, type ReadyEnvelope } from "../flood/message_dispatcher.ts";
import { ScpState } from "../flood/scp_state.ts";
import type { Peer } from "../peer/peer.ts";
import { encodeMessage, MessageType, type ReceivedMessage, type StellarMessage } from "../wire/messages.ts";
import type { OverlayContext } from "./overlay_context.ts";
import { OwnStatements } from "./own_statements.ts";
import type { CopyVerdict } from "./overlay_options.ts";
import type { AuthenticatedPeer } from "./peer_lists.ts";
import { UniqueTraffic } from "./seen_messages.ts";
import { type SubscribeOptions, Subscription } from "./subscription.ts";
import { TransactionTraffic } from "./transaction_traffic.ts";

/** Who decides about messages, where the embedding program does. */
export interface MessageFlowOptions {
  /** Whose SCP messages count; everybody's when absent. 32 bytes. */
  trusts?: (nodeId: Uint8Array) => boolean;
  /** Whether a TRANSACTION message is kept and offered to others; all are when absent. Keep its bytes only as a copy. */
  acceptTransaction?: (message: Uint8Array) => boolean;
  /** Fetch quorum sets though the node is no validator: who may survey depends on them. */
  quorumSets?: boolean;
  /** See `OverlayManagerOptions`. */
  fetchItems?: boolean | "quorumSets";
  relays?: boolean;
  /** The network is at `slot`. */
  onTracking(slot: number): void;
  /** A good and complete SCP message of another node came. */
  onEnvelope?(envelope: ReadyEnvelope): void;
  /** We broadcast an EXTERNALIZE of our own. */
  onExternalized?(slot: number): void;
}

/** See the head of this file. */
export class MessageFlow {
  readonly floodgate = new Floodgate();
  readonly scp: ScpState;
  readonly dispatcher: MessageDispatcher;
  readonly traffic: TransactionTraffic;
  /** See `OverlayManager.onSurveyMessage`. */
  onSurveyMessage: ((from: AuthenticatedPeer, message: ReceivedMessage) => void) | undefined;
  /** See `PeerObserver.onCopy`. */
  onCopy:
    | ((from: AuthenticatedPeer, message: ReceivedMessage, verdict: CopyVerdict) => Promise<void> | void)
    | undefined;
  readonly #context: OverlayContext;
  readonly #options: MessageFlowOptions;
  readonly #relays: boolean;
  /** Of the SCP_MESSAGE in work, for {@link onCopy}. */
  #verdict: CopyVerdict = {};
  readonly #counts: UniqueTraffic;
  readonly #own = new OwnStatements();
  /** BOUNDED: by the embedding program. */
  readonly #subscriptions = new Set<Subscription>();
  #firstTracked: number | undefined;
  #closed = false;

  constructor(context: OverlayContext, options: MessageFlowOptions) {
    this.#context = context;
    this.#options = options;
    this.#relays = options.relays ?? true;
    const { config, clock, random, local, ledger, lists, metrics } = context;
    this.#counts = new UniqueTraffic(metrics);
    this.scp = new ScpState({
      clock,
      networkId: local.networkId,
      ownNodeId: local.nodeId,
      trusts: options.trusts,
      ledgerNodes: config.ledgerNodes.map((nodeId) => decodeNodeId(nodeId)),
      slotsToRemember: config.maxSlotsToRemember,
      ledger,
      onTracking: (slot) => this.#onTracking(slot),
    });
    this.dispatcher = new MessageDispatcher({
      clock,
      random,
      scp: this.scp,
      peers: () => lists.members(),
      knownBy: (id) => this.floodgate.knownBy(id),
      ledger,
      // A watcher has no use for transaction sets, and without its own herder neither has a relay.
      fetchItems: options.fetchItems ?? (config.isValidator || (options.quorumSets ? "quorumSets" : false)),
      events: {
        onEnvelope: (envelope) => {
          metrics.count("scpStatements", envelope.envelope.statement.pledges.type);
          options.onEnvelope?.(envelope);
          if (this.#relays) this.relay(envelope.id, envelope.message);
        },
        onDiscarded: (id, reason) => {
          metrics.count("scpDiscards", reason);
          this.floodgate.forget(id);
          if (id === this.#verdict.id) this.#verdict.refusal = reason;
        },
        onFetched: (kind, ms) => metrics.observe("fetchTime", ms, kind),
      },
    });
    this.traffic = new TransactionTraffic(context, {
      floodgate: this.floodgate,
      counts: this.#counts,
      acceptTransaction: options.acceptTransaction,
      relay: (id, message, hash) => this.relay(id, message, hash),
      relays: this.#relays,
      ledgersClosed: () => this.ledgersClosed,
    });
  }

  /**
   * What flood records, adverts and transactions are dated by: ledgers closed since we know where the network is, 0 before.
   * The ledger's own number would make everything that came before the first one old at a stroke.
   */
  get ledgersClosed(): number {
    return this.#firstTracked === undefined ? 0 : this.scp.tracking! - this.#firstTracked + 1;
  }

  /** Begins to demand, if transactions are wanted. */
  start(): void {
    this.traffic.start();
  }

  /** Ends all subscriptions and timers; nothing is published or sent any more. */
  close(): void {
    this.#closed = true;
    for (const subscription of [...this.#subscriptions]) subscription.close();
    this.traffic.close();
    this.dispatcher.close();
  }

  /** See `OverlayManager.subscribe`. */
  subscribe(options: SubscribeOptions): Subscription {
    const { clock, metrics } = this.#context;
    const subscription = new Subscription(options, {
      clock,
      onClose: (closed) => {
        if (this.#subscriptions.delete(closed)) this.traffic.interest.count(closed, -1);
      },
      onMissed: () => void metrics.counters.subscriberOverflow++,
    });
    if (this.#closed) {
      subscription.close();
      return subscription;
    }
    this.#subscriptions.add(subscription);
    this.traffic.interest.count(subscription, 1);
    return subscription;
  }

  /** Takes a message. The promise settles when slow subscribers made room. @throws OverlayError `xdr_invalid` */
  receive(peer: Peer, message: ReceivedMessage): Promise<void> | void {
    const { onCopy } = this;
    if (onCopy === undefined) return this.#receive(peer, message);
    const member = this.#context.lists.of(peer);
    this.#verdict = {};
    const held = this.#receive(peer, message);
    if (member === undefined || peer.dropped !== undefined) return held;
    const verdict = this.#verdict;
    this.#verdict = {};
    const observed = onCopy(member, message, verdict);
    if (observed === undefined) return held;
    return held === undefined ? observed : Promise.all([held, observed]).then(() => {});
  }

  #receive(peer: Peer, message: ReceivedMessage): Promise<void> | void {
    const { type, bytes } = message;
    if (!this.traffic.interest.isUseful(type)) {
      this.#context.metrics.counters.ignoredMessages++;
      return;
    }
    const member = this.#context.lists.of(peer);
    if (member === undefined) return;
    switch (type) {
      case MessageType.transaction:
      case MessageType.floodAdvert:
      case MessageType.floodDemand:
        this.traffic.receive(member, message);
        break;
      case MessageType.scpMessage: {
        const id = floodIdOf(bytes);
        this.#verdict.id = id;
        const isNew = this.#counts.flood(member.metrics, id, bytes.length);
        if (!this.floodgate.addRecord(id, this.ledgersClosed, member.nodeId) || this.dispatcher.isProcessed(id)) return;
        this.dispatcher.receive(member, message, id);
        // It comes again when its record was cleared or forgotten; subscribers have it.
        if (!isNew) return;
        break;
      }
      case MessageType.timeSlicedSurveyRequest:
      case MessageType.timeSlicedSurveyResponse:
      case MessageType.timeSlicedSurveyStartCollecting:
      case MessageType.timeSlicedSurveyStopCollecting:
        this.#counts.flood(member.metrics, floodIdOf(bytes), bytes.length);
        this.onSurveyMessage?.(member, message);
        break;
      case MessageType.txSet:
      case MessageType.generalizedTxSet:
      case MessageType.scpQuorumset:
        this.#counts.fetch(member.metrics, bytes);
        this.dispatcher.receive(member, message);
        break;
      default:
        this.dispatcher.receive(member, message);
    }
    // What the message itself ended is not shown to anybody any more.
    if (peer.dropped === undefined) return this.#publish(member.nodeId, message);
  }

  /** See `OverlayManager.broadcast`; to all peers, or to some. Transactions are for all. */
  broadcast(message: StellarMessage, to?: Iterable<string>): string[] {
    if (!FLOODED.has(message.type)) {
      const reason = `a ${message.type} message is for one peer: use sendTo`;
      throw new OverlayError({ code: "invalid_argument", argument: "broadcast", reason });
    }
    if (this.#closed) return [];
    const bytes = encodeMessage(message);
    if (message.type === "transaction") return this.traffic.offer(bytes);
    const id = floodIdOf(bytes);
    if (
      message.type === "scpMessage" &&
      equalBytes(message.envelope.statement.nodeId, this.#context.local.nodeId)
    ) {
      const { envelope } = message, slot = Number(envelope.statement.slotIndex);
      this.#own.add(envelope, bytes);
      this.scp.remember({ id, slot, envelope, txSetHashes: [] }, bytes);
      if (envelope.statement.pledges.type === "externalize") this.#options.onExternalized?.(slot);
    }
    const { lists } = this.#context;
    return this.#tell(id, bytes, to === undefined ? lists.nodeIds() : Array.from(to).filter((id) => lists.member(id)));
  }

  /** Says our own latest statements again, to peers that were not told. Returns how many copies left. */
  rebroadcast(): number {
    return this.#own.latest.reduce((sent, message) => sent + this.relay(floodIdOf(message), message).length, 0);
  }

  /** See `OverlayManager.relay`; `from` is a node id. */
  relayFrom(from: string, message: ReceivedMessage): string[] {
    const id = floodIdOf(message.bytes);
    this.floodgate.addRecord(id, this.ledgersClosed, from);
    if (!this.#relays) return [];
    return this.relay(id, message.bytes.slice());
  }

  /** Floods a message; a transaction, whose hash is given, is advertised instead. Returns whom it goes to. */
  relay(id: FloodId, message: Uint8Array, transaction?: string): string[] {
    return this.#tell(id, message, this.#context.lists.nodeIds(), transaction);
  }

  #tell(id: FloodId, message: Uint8Array, to: Iterable<string>, transaction?: string): string[] {
    const { lists, metrics } = this.#context;
    metrics.counters.broadcasts++;
    const told = this.floodgate.broadcast(id, this.ledgersClosed, to);
    metrics.counters.relayedMessages += told.length;
    for (const nodeId of told) {
      // A peer that is too slow may be dropped by what is sent to it.
      const member = lists.member(nodeId);
      if (transaction !== undefined) member?.adverts.advertise(transaction);
      else member?.send(message);
    }
    return told;
  }

  #onTracking(slot: number): void {
    const { config, lists } = this.#context;
    this.#firstTracked ??= slot;
    const closed = this.ledgersClosed;
    this.dispatcher.slotsChanged();
    this.traffic.ledgerClosed(closed);
    const oldest = closed - config.maxSlotsToRemember + 1;
    this.floodgate.clearBelow(oldest);
    for (const member of lists.members()) member.adverts.clearBelow(oldest);
    this.#options.onTracking(slot);
  }

  #publish(from: string, message: ReceivedMessage): Promise<void> | undefined {
    let held: Promise<void>[] | undefined;
    for (const subscription of this.#subscriptions) {
      const wait = subscription.offer(from, message);
      if (wait !== undefined) (held ??= []).push(wait);
    }
    return held === undefined ? undefined : Promise.all(held).then(() => {});
  }
}

/** What travels from node to node. Source: stellar-core OverlayManagerImpl.cpp broadcastMessage. */
const FLOODED: ReadonlySet<StellarMessage["type"]> = new Set([
  "scpMessage",
  "transaction",
  "timeSlicedSurveyRequest",
  "timeSlicedSurveyResponse",
  "timeSlicedSurveyStartCollecting",
  "timeSlicedSurveyStopCollecting",
]);
