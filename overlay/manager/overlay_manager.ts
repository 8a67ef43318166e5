/**
 * The node: listens, dials, admits, floods, fetches, answers, and hands messages to the program that embeds it. Wiring only:
 * each decision is made in a module of its own. Source: stellar-core OverlayManagerImpl.cpp; peers.md, flooding.md.
 */
import { toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";
import { OverlayError } from "../base/errors.ts";
import type { PeerAddress } from "../base/peer_address.ts";
import { shuffle } from "../base/random.ts";
import { ScpQueueRules } from "../connection/scp_queue.ts";
import { type Ban, BanManager } from "../db/ban_manager.ts";
import { PeerManager } from "../db/peer_manager.ts";
import type { Floodgate } from "../flood/floodgate.ts";
import type { MessageDispatcher } from "../flood/message_dispatcher.ts";
import { isNewerScpMessage } from "../flood/scp_statements.ts";
import type { ScpState } from "../flood/scp_state.ts";
import type { TransactionPool } from "../flood/transaction_pool.ts";
import type { TxDemandsManager } from "../flood/tx_demands.ts";
import { OverlayMetrics } from "../metrics/overlay_metrics.ts";
import { LocalNode } from "../peer/local_node.ts";
import type { SurveyManager } from "../survey/survey_manager.ts";
import { messageEnumName, type ReceivedMessage, type StellarMessage } from "../wire/messages.ts";
import { PreferredPeers } from "./admission.ts";
import { BanWatch } from "./ban_watch.ts";
import { Connector } from "./connector.ts";
import { changeLedgerLimits, initialLedgerLimits, largestTransaction, type LedgerChanges } from "./ledger_limits.ts";
import { MessageFlow } from "./message_flow.ts";
import { collectFrom, PeerTotals, trafficMeter } from "./node_metrics.ts";
import type { OverlayContext } from "./overlay_context.ts";
import type { OverlayEvent } from "./overlay_event.ts";
import type { OverlayManagerOptions, PeerObserver } from "./overlay_options.ts";
import { PeerDoor } from "./peer_door.ts";
import { type AuthenticatedPeer, PeerLists } from "./peer_lists.ts";
import { peerHandlers } from "./peer_owner.ts";
import {
  type CorePeersJson,
  corePeersJson,
  type PeerSnapshot,
  pendingOf,
  type PendingPeerSnapshot,
  snapshotOf,
} from "./peer_snapshot.ts";
import type { SubscribeOptions, Subscription } from "./subscription.ts";
import { hearEnvelope, surveyOf, SurveyPermission } from "./survey_wiring.ts";
import { SyncWatch } from "./sync_watch.ts";

export type { OverlayEvent } from "./overlay_event.ts";
export type { CopyVerdict, OverlayManagerOptions, PeerObserver } from "./overlay_options.ts";
export type { PeerSnapshot } from "./peer_snapshot.ts";

/** Peers asked for SCP state while out of sync. Source: stellar-core HerderImpl.cpp getMoreSCPState. */
const RECOVERY_PEERS = 2;
/** How long goodbyes may take to leave, and how long they are given to travel, ms. */
const MAX_GOODBYE_MS = 1000;
const GOODBYE_MS = 50;
/** Least time between two events about a failing database, ms. */
const DATABASE_EVENT_MS = 60_000;

/** See the head of this file. */
export class OverlayManager {
  readonly config: OverlayConfig;
  readonly local: LocalNode;
  readonly peerManager: PeerManager;
  readonly banManager: BanManager;
  readonly metrics: OverlayMetrics;
  /** The survey this node takes part in, and what it takes to run one. It takes what {@link onSurveyMessage} would. */
  readonly survey: SurveyManager;
  readonly #options: OverlayManagerOptions;
  readonly #clock: Clock;
  readonly #context: OverlayContext;
  readonly #lists = new PeerLists();
  readonly #door: PeerDoor;
  readonly #flow: MessageFlow;
  readonly #totals: PeerTotals;
  readonly #connector: Connector;
  readonly #sync: SyncWatch;
  readonly #bans: BanWatch;
  /** BOUNDED: by the parts that are built on the node. */
  readonly #observers = new Set<PeerObserver>();
  #databaseFailedMs = -Infinity;
  #stopped: Promise<void> | undefined;

  constructor(options: OverlayManagerOptions) {
    const { config, clock, random, database, transport } = options;
    this.#options = options;
    this.config = config;
    this.#clock = clock;
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
    this.metrics = new OverlayMetrics({ clock, typeName: messageEnumName, version: versionStr });
    this.#context = {
      config,
      clock,
      random,
      transport,
      local: this.local,
      peerManager: this.peerManager,
      banManager: this.banManager,
      metrics: this.metrics,
      ledger: initialLedgerLimits(config),
      lists: this.#lists,
      preferred: new PreferredPeers(config.preferredPeerKeys),
      stopping: false,
      log: (event) => options.log?.(event),
      stored: (act) => this.#stored(act),
    };
    const scpQueue = new ScpQueueRules(isNewerScpMessage, { slotsToRemember: config.maxSlotsToRemember });
    const permission = new SurveyPermission(config, this.local.nodeId, options.permitsSurveyor);
    const { quorum } = permission;
    this.#flow = new MessageFlow(this.#context, {
      trusts: options.trusts,
      acceptTransaction: options.acceptTransaction,
      quorumSets: quorum.configured,
      fetchItems: options.fetchItems,
      relays: options.relays,
      onTracking: (slot) => {
        scpQueue.track(slot);
        this.#sync.ledger();
        this.survey.ledgerClosed(slot);
        this.survey.scpTiming.externalized(slot, clock.nowMs());
      },
      onEnvelope: (envelope) => {
        const quorumSet = (hash: string) => this.dispatcher.quorumSets.get(hash);
        hearEnvelope(envelope, clock.nowMs(), { survey: this.survey, quorum, quorumSet });
      },
      onExternalized: (slot) => this.survey.scpTiming.externalized(slot, clock.nowMs()),
    });
    const inSync = () => !this.#sync.outOfSync && this.ledgerSeq !== undefined;
    this.survey = surveyOf(this.#context, this.#flow, { permission, inSync });
    this.onSurveyMessage = undefined;
    this.#sync = new SyncWatch({
      clock,
      config,
      events: {
        onLost: (silentMs) => {
          this.survey.lostSync();
          this.#log({ event: "syncLost", ledgerSeq: this.ledgerSeq, silentMs });
        },
        onRecover: () => this.#recover(),
        onGained: (outOfSyncMs) => this.#log({ event: "syncGained", ledgerSeq: this.ledgerSeq!, outOfSyncMs }),
      },
    });
    this.#bans = new BanWatch({
      clock,
      banManager: this.banManager,
      shared: database.path !== ":memory:",
      onBanned: (ban) => this.#onBanned(ban),
      onUnbanned: (nodeId, expired) => this.#log({ event: "unbanned", nodeId, expired }),
      onError: (error) => this.#onStoreFailed(error),
    });
    this.#totals = new PeerTotals(this.#lists);
    collectFrom(this.metrics, {
      lists: this.#lists,
      flow: this.#flow,
      totals: this.#totals,
      inSync,
      survey: this.survey,
    });
    this.#door = new PeerDoor(this.#context, {
      handlers: peerHandlers(this.#context, {
        onMessage: (peer, message) => this.#flow.receive(peer, message),
        onAuthenticated: (member) => {
          this.#sync.connected();
          this.survey.authenticated();
          for (const observer of this.#observers) observer.onAuthenticated?.(member);
        },
        onDropped: (peer, member, drop) => {
          for (const observer of this.#observers) observer.onClosed?.(peer, drop);
          if (member === undefined) return;
          this.#totals.ended(peer);
          this.survey.dropped(member);
          if (this.#lists.size === 0) this.#sync.alone();
          for (const observer of this.#observers) observer.onDropped?.(member, drop);
        },
      }),
      meter: trafficMeter(this.metrics),
      scpQueue,
      scpStateFrom: () => this.scp.range.min ?? 0,
      faults: options.peerFaults,
    });
    this.#connector = new Connector(this.#context, {
      resolver: options.resolver,
      door: this.#door,
      isTracking: () => this.isTracking,
      onTick: (nowMs) => {
        this.metrics.tick();
        this.survey.tick(nowMs);
        for (const observer of this.#observers) observer.onTick?.(nowMs);
      },
    });
  }

  /** Who has which flooded message. */
  get floodgate(): Floodgate {
    return this.#flow.floodgate;
  }

  /** What validators said lately. A program that follows the ledger itself calls `scp.track`. */
  get scp(): ScpState {
    return this.#flow.scp;
  }

  /** Queries and fetching. */
  get dispatcher(): MessageDispatcher {
    return this.#flow.dispatcher;
  }

  /** What demands are answered from. */
  get transactions(): TransactionPool {
    return this.#flow.traffic.transactions;
  }

  /** Which transaction is demanded from whom. */
  get demands(): TxDemandsManager {
    return this.#flow.traffic.demands;
  }

  // ---- Life ----

  /**
   * Opens the door at once and begins to dial after the start delay. When it fails, the node is stopped and nothing is open,
   * the database neither. @throws OverlayError `port_in_use`, `listen_failed`
   */
  async start(): Promise<void> {
    const { config } = this;
    if (config.runStandalone || this.#context.stopping) return;
    try {
      if (!config.noListen) await this.#door.open();
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.#context.stopping) return;
    this.#flow.start();
    this.#bans.start();
    this.#connector.start();
  }

  /** Where the door is; undefined without one. */
  get listening(): PeerAddress | undefined {
    return this.#door.address;
  }

  /**
   * Says goodbye to everybody, ends all subscriptions and closes the database. When the promise resolves, no timer runs and no
   * socket is open. At any time, also while the node starts; again gives the same promise.
   */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  async #stop(): Promise<void> {
    this.#context.stopping = true;
    this.#log({ event: "stopping" });
    this.#connector.close();
    this.#sync.close();
    this.#bans.close();
    // Before the peers go: nothing is delivered from here on.
    this.#flow.close();
    const closed = this.#door.close();
    const { pending, closing } = this.#lists;
    for (const peer of [...pending.keys(), ...[...this.#lists.members()].map((member) => member.peer)]) {
      peer.sendErrorAndDrop("ERR_MISC", "shutdown");
    }
    const untilMs = this.#clock.nowMs() + MAX_GOODBYE_MS;
    do {
      await new Promise<void>((resolve) => void this.#clock.setTimer(GOODBYE_MS, resolve));
    } while (this.#clock.nowMs() < untilMs && [...closing.keys()].some((peer) => peer.connection.unsentBytes > 0));
    for (const [peer, timer] of closing) {
      timer.cancel();
      peer.destroy();
    }
    closing.clear();
    await closed;
    this.#options.database.close();
  }

  // ---- The network's state ----

  /** The last ledger the network is known to have closed; undefined while unknown. */
  get ledgerSeq(): number | undefined {
    return this.scp.tracking;
  }

  /**
   * Whether a ledger was seen lately. A node that never heard of one has nothing to lose track of: it asks for SCP state, but
   * lets no peer go for it.
   */
  get isTracking(): boolean {
    return this.ledgerSeq === undefined || !this.#sync.outOfSync;
  }

  /** Whether the node, though it has or had peers, heard of no new ledger for `consensusStuckMs`. */
  get outOfSync(): boolean {
    return this.#sync.outOfSync;
  }

  /** Source: stellar-core HerderImpl.cpp outOfSyncRecovery. */
  #recover(): void {
    this.#flow.rebroadcast();
    this.requestScpState(this.scp.range.min ?? 0, { peers: RECOVERY_PEERS });
  }

  /**
   * Tells what the last closed ledger decides. It reaches every peer at once: a larger transaction is granted to all, queues,
   * adverts, demands and query windows follow at their next use. A decrease takes no credit back.
   * Source: stellar-core HerderImpl.cpp maybeHandleUpgrade. @throws OverlayError `invalid_argument`
   */
  setLedger(changes: LedgerChanges): void {
    const { ledger } = this.#context;
    if (!changeLedgerLimits(ledger, changes)) return;
    const largest = largestTransaction(ledger);
    for (const peer of [...this.#lists.pending.keys(), ...[...this.#lists.members()].map((member) => member.peer)]) {
      peer.flowControl.setQueueLimit(ledger.maxTxSetSizeOps);
      peer.setMaxTransactionBytes(largest);
    }
    this.#log({ event: "ledgerLimits", limits: { ...ledger } });
  }

  // ---- Connections ----

  /** Dials an address now, unless all pending slots are taken. Names are not resolved here. */
  connect(address: PeerAddress): boolean {
    return this.#door.dial(address, "asked for");
  }

  /** Drops a peer as an operator does. False when it is not connected. */
  disconnect(nodeId: string): boolean {
    const member = this.#lists.member(nodeId);
    member?.peer.sendErrorAndDrop("ERR_MISC", "dropped by user");
    return member !== undefined;
  }

  /**
   * Keeps a node out from its next HELLO on, and drops it if it is connected. `untilAt`: ms since the Unix epoch, forever
   * when absent. @throws OverlayError `invalid_argument`, `db_failed`
   */
  ban(nodeId: string, options: { untilAt?: number | null; reason?: string } = {}): void {
    this.banManager.ban(nodeId, options);
    this.#bans.changed();
    this.disconnect(nodeId);
  }

  /** Lets a node in again. False when it was not banned. @throws OverlayError `db_failed` */
  unban(nodeId: string): boolean {
    const held = this.banManager.unban(nodeId);
    this.#bans.changed();
    return held;
  }

  /**
   * Looks at once for bans that another process changed; without this call that happens every 500 ms. Returns whether any
   * did. Banned peers are dropped.
   */
  rereadBans(): boolean {
    return !this.#context.stopping && this.#bans.check();
  }

  #onBanned(ban: Ban): void {
    const { nodeId, untilAt, reason } = ban;
    this.#log({ event: "banned", nodeId, untilAt, reason });
    this.disconnect(nodeId);
    for (const peer of [...this.#lists.pending.keys()]) if (peer.nodeIdText === nodeId) peer.close("node is banned");
  }

  /** The authenticated peers, those we dialed first. */
  peers(): PeerSnapshot[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#lists.members()].map((member) => snapshotOf(member, nowMs));
  }

  /** The connections that are not authenticated yet, dials included. */
  pendingPeers(): PendingPeerSnapshot[] {
    return pendingOf(this.#lists, this.#clock.nowMs());
  }

  /** All of them in the JSON of stellar-core's `peers?fullkeys=...&compact=...`. */
  peersJson(options: { fullKeys?: boolean; compact?: boolean } = {}): CorePeersJson {
    return corePeersJson({ peers: this.peers(), pending: this.pendingPeers() }, options);
  }

  /** How many connections there are. */
  get counts(): { inbound: number; outbound: number; pending: number } {
    const { inbound, outbound, pending, dialing } = this.#lists;
    return { inbound: inbound.size, outbound: outbound.size, pending: pending.size + dialing.size };
  }

  /** The authenticated peers themselves, with their counters. */
  authenticatedPeers(): AuthenticatedPeer[] {
    return [...this.#lists.members()];
  }

  /** Tells `observer` about peers and ticks until the returned function is called. */
  observe(observer: PeerObserver): () => void {
    this.#observers.add(observer);
    this.#watchCopies();
    return () => {
      this.#observers.delete(observer);
      this.#watchCopies();
    };
  }

  #watchCopies(): void {
    const watching = [...this.#observers].filter((observer) => observer.onCopy !== undefined);
    this.#flow.onCopy = watching.length === 0 ? undefined : (from, message, verdict) => {
      let held: Promise<void>[] | undefined;
      for (const observer of watching) {
        const wait = observer.onCopy!(from, message, verdict);
        if (wait !== undefined) (held ??= []).push(wait);
      }
      return held === undefined ? undefined : held.length === 1 ? held[0] : Promise.all(held).then(() => {});
    };
  }

  // ---- Messages ----

  /**
   * An endless sequence of the messages that peers send; see {@link Subscription}. A watcher (`isValidator` false) hears no
   * transactions, adverts and demands unless a subscription asks for them.
   */
  subscribe(options: SubscribeOptions = {}): Subscription {
    return this.#flow.subscribe(options);
  }

  /** Makes a watcher demand and relay transactions as a validator does, or ends that. Subscriptions decide for themselves. */
  wantTransactions(wanted: boolean): void {
    this.#flow.traffic.interest.set(wanted);
  }

  /**
   * Floods an SCP message, a transaction or a survey message to every peer that does not know it: a transaction is advertised
   * and then sent to whoever demands it, also by a watcher; everything else is sent. An SCP message of our own is kept, to
   * answer GET_SCP_STATE and to be said again while out of sync. Returns the node ids it goes to.
   * @throws OverlayError `invalid_argument` for any other type, `xdr_invalid`
   */
  broadcast(message: StellarMessage): string[] {
    return this.#flow.broadcast(message);
  }

  /**
   * Passes a received message on, byte for byte, to every peer that neither sent it nor was told: for survey messages, which
   * their handler judges first. `from` is the peer it came from.
   */
  relay(from: Pick<AuthenticatedPeer, "nodeId">, message: ReceivedMessage): string[] {
    return this.#flow.relayFrom(from.nodeId, message);
  }

  /** Sends a message to one peer. False when it is not connected. */
  sendTo(nodeId: string, message: StellarMessage): boolean {
    return this.#lists.member(nodeId)?.send(message) ?? false;
  }

  /**
   * Asks peers for the SCP messages of slots from `ledgerSeq` on; 0 asks for everything. All are asked, or as many random
   * ones as `peers` says. Returns how many were.
   */
  requestScpState(ledgerSeq: number, options: { peers?: number } = {}): number {
    const all = [...this.#lists.members()];
    const asked = options.peers === undefined ? all : shuffle(this.#options.random, all).slice(0, options.peers);
    return asked.filter((member) => member.send({ type: "getScpState", ledgerSeq })).length;
  }

  /**
   * Takes the survey's messages (types 21 to 24) of authenticated peers in place of {@link survey}, before subscribers see them;
   * undefined gives them back to it. The bytes are those of the read buffer: copy what is kept. Nothing is relayed unless the
   * handler calls {@link relay}; a handler that drops the peer keeps the message from subscribers.
   */
  set onSurveyMessage(handler: ((from: AuthenticatedPeer, message: ReceivedMessage) => void) | undefined) {
    this.#flow.onSurveyMessage = handler ?? ((from, message) => this.survey.receive(from, message));
  }

  #log(event: OverlayEvent): void {
    this.#context.log(event);
  }

  #stored<T>(act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      this.#onStoreFailed(error);
      return undefined;
    }
  }

  #onStoreFailed(error: unknown): void {
    if (!(error instanceof OverlayError) || error.failure.code !== "db_failed") throw error;
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#databaseFailedMs < DATABASE_EVENT_MS) return;
    this.#databaseFailedMs = nowMs;
    this.#log({ event: "databaseFailed", failure: error.failure });
  }

  /** One line for logs. */
  toString(): string {
    const { inbound, outbound, pending } = this.counts;
    return `${toHex(this.local.nodeId).slice(0, 8)}: ${outbound} outbound, ${inbound} inbound, ${pending} pending`;
  }
}
