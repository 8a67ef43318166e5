/**
 * The node: listens, dials, admits, floods, fetches, answers, and hands messages to the program that embeds it. Wiring only:
 * each decision is made in a module of its own. Source: stellar-core OverlayManagerImpl.cpp, Peer.cpp; peers.md, flooding.md.
 */
import type { DropOrder } from "../auth/handshake.ts";
import { toHex } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { flowControlLimits, type OverlayConfig, tickMs } from "../base/config.ts";
import type { Failure } from "../base/errors.ts";
import { formatAddress, kindOfIp, type PeerAddress, wireOfAddress } from "../base/peer_address.ts";
import type { Random } from "../base/random.ts";
import { ScpQueueRules } from "../connection/scp_queue.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import { BanManager } from "../db/ban_manager.ts";
import type { Database } from "../db/database.ts";
import { PeerManager, REALLY_DEAD_NUM_FAILURES_CUTOFF } from "../db/peer_manager.ts";
import { dialQuery, type PeerType, RandomPeerSource } from "../db/random_peer_source.ts";
import { Floodgate, type FloodId, floodIdOf } from "../flood/floodgate.ts";
import { MessageDispatcher } from "../flood/message_dispatcher.ts";
import { isNewerScpMessage } from "../flood/scp_statements.ts";
import { ScpState } from "../flood/scp_state.ts";
import { transactionHash, TransactionPool } from "../flood/transaction_pool.ts";
import { TxAdverts, type TxFloodLimits } from "../flood/tx_adverts.ts";
import { TxDemandsManager } from "../flood/tx_demands.ts";
import { OverlayMetrics } from "../metrics/overlay_metrics.ts";
import { LocalNode } from "../peer/local_node.ts";
import { type Drop, Peer, type PeerFaults, type PeerHandlers } from "../peer/peer.ts";
import type { Listener, Resolver, Socket, Transport } from "../transport/transport.ts";
import {
  encodeMessage,
  messageEnumName,
  MessageType,
  type ReceivedMessage,
  type StellarMessage,
} from "../wire/messages.ts";
import type { WireAddress } from "../wire/types.ts";
import { acceptDial, acceptPending, admit, PreferredPeers } from "./admission.ts";
import { planTick } from "./dial_plan.ts";
import { PeerResolution, type ResolvedPeers } from "./peer_resolution.ts";
import { type SubscribeOptions, Subscription } from "./subscription.ts";

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
  /** Whose SCP messages count; everybody's when absent. `G...` */
  trusts?: (nodeId: Uint8Array) => boolean;
  /** For tests: what is wrong with every connection of this node. */
  peerFaults?: PeerFaults;
  /** Told about events that people want in a log. */
  log?: (event: OverlayEvent) => void;
}

/** Something worth a line in a log. */
export type OverlayEvent =
  | { event: "listening"; address: string }
  | { event: "dialing"; address: string; reason: string }
  | { event: "dialFailed"; address: string; failure: Failure }
  | { event: "authenticated"; address: string; nodeId: string; role: Peer["role"]; versionStr: string }
  | { event: "dropped"; address: string; nodeId: string | undefined; by: Drop["by"]; reason: string; failure: Failure }
  | { event: "refused"; address: string; reason: string }
  | { event: "resolveFailed"; address: string; failure: Failure };

/** A peer as it stands. Times in ms. */
export interface PeerSnapshot {
  nodeId: string;
  address: string;
  role: Peer["role"];
  versionStr: string;
  overlayVersion: number;
  connectedMs: number;
  latencyMs: number | undefined;
  messagesRead: number;
  messagesWritten: number;
  bytesRead: number;
  bytesWritten: number;
}

/** Addresses offered in PEERS. Source: stellar-core Peer.cpp sendPeers. */
const PEERS_TO_SEND = 50;
/** Own messages that went out before a stop, ms. */
const GOODBYE_MS = 50;

/** What the node keeps per connection. */
interface Member {
  readonly peer: Peer;
  readonly nodeId: string;
  readonly address: PeerAddress;
  readonly preferred: boolean;
  readonly adverts: TxAdverts;
  readonly send: (message: Uint8Array) => boolean;
  readonly latencyMs: number | undefined;
}

/** See the head of this file. */
export class OverlayManager {
  readonly config: OverlayConfig;
  readonly local: LocalNode;
  readonly peerManager: PeerManager;
  readonly banManager: BanManager;
  readonly floodgate = new Floodgate();
  readonly scp: ScpState;
  readonly dispatcher: MessageDispatcher;
  readonly transactions = new TransactionPool();
  readonly demands: TxDemandsManager;
  readonly metrics: OverlayMetrics;
  readonly #options: OverlayManagerOptions;
  readonly #clock: Clock;
  readonly #limits: TxFloodLimits;
  readonly #preferred: PreferredPeers;
  readonly #scpQueue: ScpQueueRules;
  readonly #resolution: PeerResolution;
  readonly #sources: Record<PeerType, RandomPeerSource>;
  /** Authenticated peers by node id. BOUNDED: by the configured targets. */
  readonly #inbound = new Map<string, Member>();
  readonly #outbound = new Map<string, Member>();
  /** Connections before admission, and what is known of them. BOUNDED: by the pending slots. */
  readonly #pending = new Map<Peer, { address: PeerAddress | undefined }>();
  /** Dials under way, by address. BOUNDED: by the pending slots. */
  readonly #dialing = new Map<string, () => void>();
  /** Inbound connections whose socket has not closed. */
  #liveInbound = 0;
  readonly #subscriptions = new Set<Subscription>();
  #listener: Listener | undefined;
  #tick: Timer | undefined;
  #start: Timer | undefined;
  #outOfSyncSinceMs: number | undefined;
  #trackedAtMs: number;
  #stopping = false;

  constructor(options: OverlayManagerOptions) {
    const { config, clock, random, database } = options;
    this.#options = options;
    this.config = config;
    this.#clock = clock;
    this.#trackedAtMs = clock.nowMs();
    const { ledgerVersion, overlayVersion, overlayMinVersion, versionStr } = config;
    this.local = new LocalNode({
      passphrase: config.networkPassphrase,
      clock,
      random,
      seed: options.seed,
      x25519Secret: options.x25519Secret,
      ledgerVersion,
      overlayVersion,
      overlayMinVersion,
      versionStr,
      listeningPort: config.listeningPort === 0 ? undefined : config.listeningPort,
    });
    this.peerManager = new PeerManager(database, {
      clock,
      random,
      maxPeers: config.maxKnownPeers,
      allowPrivate: config.allowPrivate,
      allowLoopback: config.allowLoopback,
    });
    this.banManager = new BanManager(database, { clock });
    this.#preferred = new PreferredPeers(config.preferredPeerKeys);
    this.#scpQueue = new ScpQueueRules(isNewerScpMessage, { slotsToRemember: config.maxSlotsToRemember });
    this.#resolution = new PeerResolution({ clock, resolver: options.resolver, config });
    const source = (type: PeerType) => new RandomPeerSource(this.peerManager, dialQuery(type));
    this.#sources = { inbound: source("inbound"), outbound: source("outbound"), preferred: source("preferred") };
    const { maxTxSetSizeOps, sorobanLedgerMaxTxCount, closeTimeMs } = config;
    this.#limits = { maxTxSetSizeOps, sorobanLedgerMaxTxCount, closeTimeMs };
    this.metrics = new OverlayMetrics({ clock, typeName: messageEnumName, version: versionStr });
    this.scp = new ScpState({
      clock,
      networkId: this.local.networkId,
      ownNodeId: this.local.nodeId,
      trusts: options.trusts,
      onTracking: (slot) => this.#onTracking(slot),
    });
    this.dispatcher = new MessageDispatcher({
      clock,
      random,
      scp: this.scp,
      peers: () => this.#members(),
      knownBy: (id) => this.floodgate.knownBy(id),
      ledger: { closeTimeMs, protocolVersion: ledgerVersion },
      // A watcher has no use for transaction sets, and without its own herder neither has a relay.
      fetchItems: config.isValidator,
      events: {
        onEnvelope: (envelope) => this.#relay(envelope.id, envelope.message),
        onDiscarded: (id) => this.floodgate.forget(id),
      },
    });
    this.demands = new TxDemandsManager({
      clock,
      random,
      limits: this.#limits,
      transactions: this.transactions,
      peers: () => this.#members(),
      periodMs: config.floodDemandPeriodMs,
      backoffMs: config.floodDemandBackoffMs,
    });
  }

  // ---- Life ----

  /** Opens the door at once and begins to dial after the start delay. @throws OverlayError `port_in_use`, `connect_failed` */
  async start(): Promise<void> {
    const { config } = this;
    if (config.runStandalone) return;
    if (!config.noListen) {
      const at = { host: config.listeningHost, port: config.listeningPort };
      this.#listener = await this.#options.transport.listen(at, (socket) => this.#accept(socket));
      this.#log({ event: "listening", address: formatAddress(this.#listener.address) });
    }
    this.demands.start();
    this.#start = this.#clock.setTimer(config.startDelayMs, () => void this.#begin());
  }

  /** Where the door is; undefined without one. */
  get listening(): PeerAddress | undefined {
    return this.#listener?.address;
  }

  /** Says goodbye to everybody, ends all subscriptions and closes the database. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#start?.cancel();
    this.#tick?.cancel();
    this.#resolution[Symbol.dispose]();
    for (const cancel of this.#dialing.values()) cancel();
    this.#dialing.clear();
    const closing = this.#listener?.close();
    for (const peer of [...this.#pending.keys(), ...[...this.#members()].map((member) => member.peer)]) {
      peer.sendErrorAndDrop("ERR_MISC", "shutdown");
    }
    this.demands.close();
    this.dispatcher.close();
    for (const subscription of [...this.#subscriptions]) subscription.close();
    await new Promise<void>((resolve) => void this.#clock.setTimer(GOODBYE_MS, resolve));
    await closing;
    this.#options.database.close();
  }

  async #begin(): Promise<void> {
    this.#storeResolved(await this.#resolution.resolve(), true);
    if (this.#stopping) return;
    this.peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF);
    this.#resolution.trigger();
    this.#onTick();
  }

  /** Source: stellar-core OverlayManagerImpl.cpp storeConfigPeers, storePeerList. */
  #storeResolved(peers: ResolvedPeers, startup: boolean): void {
    for (const { peer, failure } of peers.failures) {
      this.#log({ event: "resolveFailed", address: formatAddress(peer), failure });
    }
    this.peerManager.storeConfigPeers(peers, { startup });
    this.#preferred.setAddresses(peers.preferred);
  }

  #onTick(): void {
    if (this.#stopping) return;
    const resolved = this.#resolution.take();
    if (resolved !== undefined) this.#storeResolved(resolved, false);
    this.banManager.refresh();
    this.metrics.tick();
    if (!this.config.noDial) {
      let connections: Map<string, "inbound" | "outbound"> | undefined;
      const plan = planTick(
        {
          nowMs: this.#clock.nowMs(),
          tracking: this.isTracking,
          outOfSyncSinceMs: this.#outOfSyncSinceMs,
          pendingOutbound: this.#pendingOf("weCalledRemote"),
          outbound: [...this.#outbound.values()],
          authenticatedInbound: this.#inbound.size,
        },
        this.config,
        {
          random: this.#options.random,
          randomPeers: (type, size, keep) => this.#sources[type].getRandomPeers(size, keep),
          connectionAt: (address) => (connections ??= this.#connectionsByAddress()).get(formatAddress(address)),
        },
      );
      this.#outOfSyncSinceMs = plan.outOfSyncSinceMs;
      for (const step of plan.steps) {
        if (step.do === "dial") this.#dial(step.address, step.reason);
        else this.#drop(step.peer.peer, step.drop);
      }
    }
    this.#tick = this.#clock.setTimer(tickMs(this.config), () => this.#onTick());
  }

  /** Whether a ledger was seen lately. A node that never heard of one has nothing to lose track of. */
  get isTracking(): boolean {
    return this.scp.tracking === undefined || this.#clock.nowMs() - this.#trackedAtMs < this.config.consensusStuckMs;
  }

  #onTracking(slot: number): void {
    this.#trackedAtMs = this.#clock.nowMs();
    this.#scpQueue.track(slot);
    this.dispatcher.slotsChanged();
    this.transactions.ledgerClosed(slot);
    const oldest = slot - this.config.maxSlotsToRemember + 1;
    this.floodgate.clearBelow(oldest);
    for (const member of this.#members()) member.adverts.clearBelow(oldest);
  }

  // ---- Connections ----

  /** Dials an address now, unless all pending slots are taken. Names are not resolved here. */
  connect(address: PeerAddress): boolean {
    return this.#dial(address, "asked for");
  }

  /** Drops a peer as an operator does. False when it is not connected. */
  disconnect(nodeId: string): boolean {
    const member = this.#member(nodeId);
    member?.peer.sendErrorAndDrop("ERR_MISC", "dropped by user");
    return member !== undefined;
  }

  /** Keeps a node out from its next HELLO on, and drops it if it is connected. */
  ban(nodeId: string, options: { untilAt?: number | null; reason?: string } = {}): void {
    this.banManager.ban(nodeId, options);
    this.disconnect(nodeId);
  }

  /** Lets a node in again. */
  unban(nodeId: string): boolean {
    return this.banManager.unban(nodeId);
  }

  /** The authenticated peers, those we dialed first. */
  peers(): PeerSnapshot[] {
    return [...this.#outbound.values(), ...this.#inbound.values()].map((member) => {
      const { peer } = member;
      const { messagesRead, messagesWritten, bytesRead, bytesWritten } = peer.connection.counters;
      return {
        nodeId: member.nodeId,
        address: formatAddress(member.address),
        role: peer.role,
        versionStr: peer.hello!.versionStr,
        overlayVersion: peer.hello!.overlayVersion,
        connectedMs: this.#clock.nowMs() - peer.times.startedMs,
        latencyMs: peer.latencyMs,
        messagesRead,
        messagesWritten,
        bytesRead,
        bytesWritten,
      };
    });
  }

  /** How many connections there are. */
  get counts(): { inbound: number; outbound: number; pending: number } {
    return {
      inbound: this.#inbound.size,
      outbound: this.#outbound.size,
      pending: this.#pending.size + this.#dialing.size,
    };
  }

  /** Connections in the handshake that one side dialed; those we are still dialing count too. */
  #pendingOf(role: Peer["role"]): number {
    let pending = role === "weCalledRemote" ? this.#dialing.size : 0;
    for (const peer of this.#pending.keys()) if (peer.role === role) pending++;
    return pending;
  }

  #accept(socket: Socket): void {
    const verdict = acceptPending(
      socket.remote.host,
      {
        pendingInbound: this.#pendingOf("remoteCalledUs"),
        liveInbound: this.#liveInbound,
        authenticatedInbound: this.#inbound.size,
        shuttingDown: this.#stopping,
      },
      this.config,
      (ip) => this.#preferred.hasHost(ip),
    );
    if (verdict.do === "refuse") {
      this.#log({ event: "refused", address: formatAddress(socket.remote), reason: verdict.reason });
      socket.destroy();
      return;
    }
    this.#liveInbound++;
    this.#open("remoteCalledUs", socket, undefined);
  }

  #dial(address: PeerAddress, reason: string): boolean {
    const text = formatAddress(address);
    if (this.#dialing.has(text)) return false;
    const state = { pendingOutbound: this.#pendingOf("weCalledRemote"), shuttingDown: this.#stopping };
    if (acceptDial(state, this.config).do === "refuse") return false;
    this.peerManager.update(address, { backoff: "increase" });
    this.#log({ event: "dialing", address: text, reason });
    const dialing = this.#options.transport.dial(address, { timeoutMs: this.config.connectTimeoutMs }, {
      onConnect: (socket) => {
        this.#dialing.delete(text);
        this.#open("weCalledRemote", socket, address);
      },
      onFail: (failure) => {
        this.#dialing.delete(text);
        this.#log({ event: "dialFailed", address: text, failure });
        this.peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF, address.host);
      },
    });
    this.#dialing.set(text, () => dialing.cancel());
    return true;
  }

  #open(role: Peer["role"], socket: Socket, address: PeerAddress | undefined): void {
    const { config } = this;
    const peer = new Peer({
      role,
      socket,
      local: this.local,
      clock: this.#clock,
      random: this.#options.random,
      handlers: this.#handlers,
      settings: {
        flowControl: { ...flowControlLimits(config) },
        checkMs: config.checkMs,
        authenticationTimeoutMs: config.authenticationTimeoutMs,
        idleTimeoutMs: config.idleTimeoutMs,
        stragglerTimeoutMs: config.stragglerTimeoutMs,
        noCreditTimeoutMs: config.noCreditTimeoutMs,
        closeDelayMs: config.closeDelayMs,
        scpStateFrom: this.scp.range.min,
        scpQueue: this.#scpQueue,
        faults: this.#options.peerFaults,
      },
    });
    // A drop inside the constructor has been handled already.
    if (peer.dropped === undefined) this.#pending.set(peer, { address });
  }

  readonly #handlers: PeerHandlers = {
    isBanned: (nodeId) => this.banManager.banned(encodeNodeId(nodeId)) !== undefined,
    duplicateOf: (peer, nodeId) => {
      const text = encodeNodeId(nodeId);
      if (this.#member(text) !== undefined) return text.slice(0, 5);
      for (const other of this.#pending.keys()) {
        if (other !== peer && other.state === "gotHello" && other.nodeIdText === text) return text.slice(0, 5);
      }
      return undefined;
    },
    recordAddress: (peer) => {
      const address = { host: peer.remote.host, port: peer.hello!.listeningPort };
      const pending = this.#pending.get(peer);
      if (pending !== undefined) pending.address = address;
      const preferred = this.#preferred.hasAddress(address);
      const type = preferred ? "preferred" : peer.role === "weCalledRemote" ? "outbound" : "inbound";
      this.peerManager.update(address, { type, preferredKnown: true });
    },
    peersToSend: (peer) => this.#peersFor(peer),
    admit: (peer) => this.#admit(peer),
    onAuthenticated: (peer) => {
      const { host, port } = this.#addressOf(peer);
      this.#log({
        event: "authenticated",
        address: formatAddress({ host, port }),
        nodeId: peer.nodeIdText!,
        role: peer.role,
        versionStr: peer.hello!.versionStr,
      });
    },
    onPeers: (peer, peers) => this.#onPeers(peer, peers),
    onMessage: (peer, message) => this.#onMessage(peer, message),
    onDropped: (peer, drop) => this.#onDropped(peer, drop),
  };

  /** Source: stellar-core Peer.cpp recvAuth, OverlayManagerImpl.cpp acceptAuthenticatedPeer. */
  #admit(peer: Peer): DropOrder | undefined {
    const address = this.#addressOf(peer);
    if (peer.role === "weCalledRemote") this.peerManager.update(address, { backoff: "reset" });
    const listed = (member: Member) => ({ nodeId: member.peer.nodeId!, address: member.address, peer: member.peer });
    const isPreferred = (who: { nodeId: Uint8Array; address: PeerAddress }) => this.#preferred.has(who);
    const verdict = admit(
      { nodeId: peer.nodeId!, address, role: peer.role },
      { inbound: [...this.#inbound.values()].map(listed), outbound: [...this.#outbound.values()].map(listed) },
      this.config,
      isPreferred,
    );
    if (verdict.do === "reject") return verdict.drop;
    if (verdict.do === "evict") this.#drop(verdict.victim.peer, verdict.drop);
    const member: Member = {
      peer,
      nodeId: peer.nodeIdText!,
      address,
      preferred: isPreferred({ nodeId: peer.nodeId!, address }),
      adverts: new TxAdverts({
        clock: this.#clock,
        limits: this.#limits,
        send: (message) => void peer.send(message),
        periodMs: this.config.floodAdvertPeriodMs,
      }),
      send: (message) => peer.send(message),
      get latencyMs() {
        return peer.latencyMs;
      },
    };
    this.#pending.delete(peer);
    (peer.role === "weCalledRemote" ? this.#outbound : this.#inbound).set(member.nodeId, member);
    return undefined;
  }

  #peersFor(peer: Peer): WireAddress[] {
    const exclude = { host: peer.remote.host, port: peer.hello!.listeningPort };
    const wire: WireAddress[] = [];
    for (const address of this.peerManager.getPeersToSend(PEERS_TO_SEND, exclude)) {
      const found = wireOfAddress(address);
      if (found !== null) wire.push({ ...found, numFailures: 0 });
    }
    return wire;
  }

  /** Source: stellar-core Peer.cpp recvPeers. */
  #onPeers(peer: Peer, peers: WireAddress[]): void {
    for (const { ip, port } of peers) {
      if (ip.length !== 4 || port < 1 || port > 65535) continue;
      const address = { host: ip.join("."), port };
      const kind = kindOfIp(address.host);
      if (kind === "private" && !this.config.allowPrivate) continue;
      if (kind === "loopback" && !this.config.allowLoopback) continue;
      if (address.host === peer.remote.host && port === this.local.listeningPort) continue;
      this.peerManager.ensureExists(address);
    }
  }

  #onDropped(peer: Peer, drop: Drop): void {
    if (peer.role === "remoteCalledUs") {
      // Its socket closes within the close delay; until then it keeps its slot.
      this.#clock.setTimer(drop.by === "remote" ? 0 : this.config.closeDelayMs, () => void this.#liveInbound--);
    }
    const address = this.#addressOf(peer);
    this.#pending.delete(peer);
    for (const list of [this.#inbound, this.#outbound]) {
      const member = peer.nodeIdText === undefined ? undefined : list.get(peer.nodeIdText);
      if (member?.peer !== peer) continue;
      list.delete(member.nodeId);
      member.adverts.close();
    }
    this.metrics.count(peer.role === "remoteCalledUs" ? "inboundDrops" : "outboundDrops", drop.reason);
    const { by, reason, failure } = drop;
    this.#log({ event: "dropped", address: formatAddress(address), nodeId: peer.nodeIdText, by, reason, failure });
    if (!this.#stopping) this.peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF, address.host);
  }

  #drop(peer: Peer, order: DropOrder): void {
    if (order.error === undefined) peer.close(order.reason, order.failure);
    else peer.sendErrorAndDrop(order.error, order.reason, order.failure);
  }

  #addressOf(peer: Peer): PeerAddress {
    const port = peer.hello?.listeningPort ?? peer.remote.port;
    return this.#pending.get(peer)?.address ?? { host: peer.remote.host, port };
  }

  /** Who dialed the connection with an address, pending or authenticated; outbound when there are two. */
  #connectionsByAddress(): Map<string, "inbound" | "outbound"> {
    const found = new Map<string, "inbound" | "outbound">();
    for (const { address } of this.#inbound.values()) found.set(formatAddress(address), "inbound");
    for (const [peer, { address }] of this.#pending) {
      if (address !== undefined && peer.role === "remoteCalledUs") found.set(formatAddress(address), "inbound");
    }
    for (const [peer, { address }] of this.#pending) {
      if (address !== undefined && peer.role === "weCalledRemote") found.set(formatAddress(address), "outbound");
    }
    for (const { address } of this.#outbound.values()) found.set(formatAddress(address), "outbound");
    for (const text of this.#dialing.keys()) found.set(text, "outbound");
    return found;
  }

  #member(nodeId: string): Member | undefined {
    return this.#outbound.get(nodeId) ?? this.#inbound.get(nodeId);
  }

  *#members(): Generator<Member> {
    yield* this.#outbound.values();
    yield* this.#inbound.values();
  }

  // ---- Messages ----

  /** An endless sequence of the messages that peers send; see {@link Subscription}. */
  subscribe(options: SubscribeOptions = {}): Subscription {
    const subscription = new Subscription(options, (closed) => this.#subscriptions.delete(closed));
    this.#subscriptions.add(subscription);
    return subscription;
  }

  /**
   * Floods a message to every peer that does not know it: a transaction is advertised, everything else sent. Returns the
   * node ids it goes to.
   */
  broadcast(message: StellarMessage): string[] {
    const bytes = encodeMessage(message);
    if (message.type !== "transaction") return this.#relay(floodIdOf(bytes), bytes);
    const hash = transactionHash(bytes);
    this.transactions.add(hash, bytes, this.scp.tracking ?? 0);
    return this.#relay(floodIdOf(bytes), bytes, hash);
  }

  /** Sends a message to one peer. False when it is not connected. */
  sendTo(nodeId: string, message: StellarMessage): boolean {
    return this.#member(nodeId)?.peer.send(message) ?? false;
  }

  /** Asks every peer for the SCP messages of slots from `ledgerSeq` on; 0 asks for everything. Returns how many were asked. */
  requestScpState(ledgerSeq: number): number {
    let asked = 0;
    for (const member of this.#members()) if (member.peer.send({ type: "getScpState", ledgerSeq })) asked++;
    return asked;
  }

  /** A watcher passes transactions on only if somebody here listens to them. */
  get #relaysTransactions(): boolean {
    if (this.config.isValidator) return true;
    for (const subscription of this.#subscriptions) if (subscription.wants(MessageType.transaction)) return true;
    return false;
  }

  #onMessage(peer: Peer, message: ReceivedMessage): Promise<void> | void {
    const member = peer.nodeIdText === undefined ? undefined : this.#member(peer.nodeIdText);
    if (member?.peer !== peer) return;
    const { type, bytes } = message;
    this.metrics.read(type, bytes.length);
    switch (type) {
      case MessageType.transaction:
      case MessageType.floodAdvert:
      case MessageType.floodDemand:
        if (!this.#relaysTransactions) return;
        this.#onTransactionTraffic(member, message);
        break;
      case MessageType.scpMessage: {
        const id = floodIdOf(bytes);
        const isNew = this.floodgate.addRecord(id, this.scp.tracking ?? 0, member.nodeId);
        if (!isNew) return;
        this.dispatcher.receive(member, message, id);
        break;
      }
      default:
        this.dispatcher.receive(member, message);
    }
    return this.#publish(member.nodeId, message);
  }

  #onTransactionTraffic(member: Member, message: ReceivedMessage): void {
    const { type, bytes } = message;
    const ledger = this.scp.tracking ?? 0;
    if (type === MessageType.floodAdvert) {
      member.adverts.receive(bytes, ledger);
      this.demands.wake();
    } else if (type === MessageType.floodDemand) this.demands.answer(bytes, member);
    else {
      const id = floodIdOf(bytes);
      this.floodgate.addRecord(id, ledger, member.nodeId);
      const hash = transactionHash(bytes);
      this.demands.received(hash, member.nodeId);
      const kept = bytes.slice();
      const result = this.transactions.add(hash, kept, ledger);
      if (result === "added") this.#relay(id, kept, hash);
      else if (result === "full") this.floodgate.forget(id);
    }
  }

  /** Floods a message; a transaction, whose hash is given, is advertised instead. */
  #relay(id: FloodId, message: Uint8Array, transaction?: string): string[] {
    const members = new Map<string, Member>();
    for (const member of this.#members()) members.set(member.nodeId, member);
    const told = this.floodgate.broadcast(id, this.scp.tracking ?? 0, members.keys());
    for (const nodeId of told) {
      const member = members.get(nodeId)!;
      if (transaction !== undefined) member.adverts.advertise(transaction);
      else member.send(message);
    }
    return told;
  }

  #publish(from: string, message: ReceivedMessage): Promise<void> | undefined {
    let held: Promise<void>[] | undefined;
    for (const subscription of this.#subscriptions) {
      const wait = subscription.offer(from, message);
      if (wait !== undefined) (held ??= []).push(wait);
    }
    return held === undefined ? undefined : Promise.all(held).then(() => {});
  }

  #log(event: OverlayEvent): void {
    this.#options.log?.(event);
  }

  /** One line for logs. */
  toString(): string {
    const { inbound, outbound, pending } = this.counts;
    return `${toHex(this.local.nodeId).slice(0, 8)}: ${outbound} outbound, ${inbound} inbound, ${pending} pending`;
  }
}
