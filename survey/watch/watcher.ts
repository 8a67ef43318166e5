/**
 * Stays connected to chosen peers and tells what they say, every copy of every message. It is a node of the overlay that
 * listens nowhere, dials nobody else, and passes nothing on: what it relayed, the other peers would not send it any more, and
 * it would measure itself.
 */
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { configure, type OverlayConfig } from "../../overlay/base/config.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { formatAddress, type PeerAddress, type Target } from "../../overlay/base/peer_address.ts";
import type { Random } from "../../overlay/base/random.ts";
import type { Database } from "../../overlay/db/database.ts";
import { type OverlayEvent, OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import type { AuthenticatedPeer } from "../../overlay/manager/peer_lists.ts";
import type { Drop, Peer } from "../../overlay/peer/peer.ts";
import type { Resolver, Transport } from "../../overlay/transport/transport.ts";
import { Budget, type Place, placeOf } from "../crawl/budget.ts";
import { WatchModel } from "./model.ts";
import { Propagation } from "./propagation.ts";
import { RecordMaker, type WatchEvent, type WatchRecord } from "./records.ts";
import { RecordQueue, type RecordQueueOptions } from "./record_queue.ts";

/** One peer to watch. */
export interface WatchTarget extends Target {
  /** As the user wrote it; no two targets have the same. */
  text: string;
}

/** What a watch is made of. Times in ms. */
export interface WatcherOptions {
  /** The network's configuration: passphrase, ledger nodes, limits. Its peers, door and targets are replaced. */
  config: OverlayConfig;
  targets: readonly WatchTarget[];
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  /** Address book and bans; the watch closes it when it stops. */
  database: Database;
  /** 32-byte Ed25519 seed; a fresh identity when absent. */
  seed?: Uint8Array;
  /** 32-byte Curve25519 secret; random when absent. */
  x25519Secret?: Uint8Array;
  /** Demand advertised transactions, and fetch the transaction sets and quorum sets that statements refer to. */
  demand?: boolean;
  /** Between two status records of every peer. */
  statusMs?: number;
  /** Told about everything else that the engine logs. */
  log?: (event: OverlayEvent) => void;
}

/** First pause before a target is dialed again; it doubles up to the last, and a quarter more or less is left to chance. */
export const FIRST_PAUSE_MS = 2000;
export const LAST_PAUSE_MS = 120_000;
/** A connection that stood so long makes the pauses short again. */
const STABLE_MS = 30_000;
/** Least pause after a peer said that it is full, or that it has us already. */
const REFUSED_PAUSE_MS = 10_000;
const STATUS_MS = 1000;

/** A target and how its connection stands. */
interface Row {
  readonly target: WatchTarget;
  /** Where it is dialed now, or was dialed last. */
  address: PeerAddress;
  attempts: number;
  pauseMs: number;
  timer: Timer | undefined;
  place: Place | undefined;
  /** Set while a connection or a dial exists. */
  busy: boolean;
  peer: Peer | undefined;
  connectedMs: number | undefined;
}

/** See the head of this file. */
export class Watcher {
  readonly node: OverlayManager;
  /** What a view shows; fed by this watch. */
  readonly model: WatchModel;
  readonly propagation = new Propagation();
  readonly #options: WatcherOptions;
  readonly #clock: Clock;
  readonly #maker = new RecordMaker(this.propagation);
  readonly #budget: Budget;
  /** BOUNDED: by the targets. */
  readonly #rows: Row[];
  /** Row by the address it is dialed at. */
  readonly #dialing = new Map<string, Row>();
  /** BOUNDED: by the parts built on the watch. */
  readonly #listeners = new Set<(record: WatchRecord) => void>();
  readonly #queues = new Set<RecordQueue>();
  #status: Timer | undefined;
  #ledger: number | undefined;
  #stopping = false;
  /** Wall time at the clock's zero: one clock stamps everything, also when somebody sets the machine's. */
  readonly #wallOffsetMs: number;
  readonly #stopWatching: () => void;

  constructor(options: WatcherOptions) {
    const { clock, config, targets, demand = false } = options;
    this.#options = options;
    this.#clock = clock;
    this.#wallOffsetMs = clock.wallMs() - clock.nowMs();
    this.model = new WatchModel({ startedMs: clock.nowMs(), propagation: this.propagation });
    this.#budget = new Budget(
      { maxSeconds: Infinity, maxDials: Infinity, maxBytes: Infinity, maxHeldSeconds: Infinity },
      clock.nowMs(),
    );
    this.#rows = targets.map((target) => ({
      target,
      address: target.address,
      attempts: 0,
      pauseMs: FIRST_PAUSE_MS,
      timer: undefined,
      place: undefined,
      busy: false,
      peer: undefined,
      connectedMs: undefined,
    }));
    const most = Math.max(1, targets.length);
    this.node = new OverlayManager({
      config: configure(config, {
        noListen: true,
        noDial: true,
        isValidator: false,
        knownPeers: [],
        preferredPeers: [],
        targetPeerConnections: most,
        // The target is lowered to a third of it; nobody can dial us.
        maxAdditionalPeerConnections: 3 * most,
        maxPendingConnections: 8 * most + 64,
        maxOutboundPendingConnections: most + 8,
        maxInboundPendingConnections: 1,
      }),
      transport: options.transport,
      resolver: options.resolver,
      clock,
      random: options.random,
      database: options.database,
      seed: options.seed,
      x25519Secret: options.x25519Secret,
      relays: false,
      // Who asks waits: without an answer a statement would not count, so nothing is asked that nobody wants to see.
      fetchItems: demand,
      log: (event) => this.#onEvent(event),
    });
    if (demand) this.node.wantTransactions(true);
    this.#stopWatching = this.node.observe({
      onAuthenticated: (member) => this.#onAuthenticated(member),
      onClosed: (peer, drop) => this.#onClosed(peer, drop),
      onCopy: (member, message, verdict) => {
        const wallMs = this.#wallOf(message.receivedAtMs);
        const record = this.#maker.message(member.nodeId, message, wallMs, verdict);
        if (record === undefined) return;
        const held = this.#tell(record);
        const ledgerSeq = Math.max(this.node.ledgerSeq ?? -1, this.model.board.decided ?? -1);
        if (ledgerSeq > (this.#ledger ?? -1)) {
          this.#ledger = ledgerSeq;
          this.#emit({ kind: "ledger", ledgerSeq });
        }
        return held;
      },
    });
  }

  /** Dials the targets. @throws OverlayError as `OverlayManager.start` */
  async start(): Promise<void> {
    await this.node.start();
    if (this.#stopping) return;
    this.#status = this.#clock.setTimer(this.#options.statusMs ?? STATUS_MS, () => this.#tellStatus());
    for (const row of this.#rows) void this.#dial(row);
  }

  /** Goodbye to all; the database is closed, all sequences end. Again gives the same promise. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#status?.cancel();
      for (const row of this.#rows) row.timer?.cancel();
    }
    await this.node.stop();
    this.#stopWatching();
    for (const queue of [...this.#queues]) queue.close();
  }

  /** Calls `listener` with every record, at once; its bytes are those of the read buffer. Until the function is called. */
  listen(listener: (record: WatchRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** An endless sequence of the records from now on; see {@link RecordQueue}. */
  records(options: Omit<RecordQueueOptions, "clock" | "onClose"> = {}): RecordQueue {
    const queue = new RecordQueue({
      ...options,
      clock: this.#clock,
      onClose: () => void this.#queues.delete(queue),
    });
    if (this.#stopping) queue.close();
    else this.#queues.add(queue);
    return queue;
  }

  // ---- Targets ----

  async #dial(row: Row): Promise<void> {
    row.timer = undefined;
    if (this.#stopping || row.busy) return;
    row.busy = true;
    row.attempts++;
    try {
      const { host, port } = row.target.address;
      // A name that moved is found at the next attempt; one with several addresses is tried at each in turn.
      const hosts = await this.#options.resolver.resolve(host);
      row.address = { host: hosts[(row.attempts - 1) % hosts.length], port };
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      row.busy = false;
      this.#emit({
        kind: "dialFailed",
        target: row.target.text,
        address: formatAddress(row.address),
        failure: error.failure,
      });
      return this.#later(row);
    }
    this.#take(row);
  }

  /** Waits for its turn: no more dials at once and per second than a crawl makes. */
  #take(row: Row): void {
    if (this.#stopping) return;
    const place = placeOf(row.address.host, row.address.port);
    const take = this.#budget.tryTake(place, this.#clock.nowMs());
    if (take.kind !== "ok") {
      const waitMs = take.kind === "wait" ? take.waitMs : 100;
      row.timer = this.#clock.setTimer(waitMs, () => this.#take(row));
      return;
    }
    row.place = place;
    const address = formatAddress(row.address);
    if (
      this.#dialing.has(address) || this.#rows.some((other) => other !== row && other.peer && at(other) === address)
    ) {
      // Two names of one address: one connection is enough.
      this.#release(row);
      row.busy = false;
      return this.#later(row, LAST_PAUSE_MS);
    }
    this.#dialing.set(address, row);
    this.#emit({ kind: "dialing", target: row.target.text, address, attempt: row.attempts });
    if (this.node.connect(row.address)) return;
    this.#ended(row);
    this.#later(row);
  }

  #later(row: Row, leastMs = 0): void {
    if (this.#stopping) return;
    const pauseMs = Math.max(leastMs, row.pauseMs);
    row.pauseMs = Math.min(LAST_PAUSE_MS, row.pauseMs * 2);
    const delayMs = Math.round(pauseMs * (0.75 + this.#options.random.next() / 2));
    this.#emit({ kind: "waiting", target: row.target.text, address: formatAddress(row.address), delayMs });
    row.timer = this.#clock.setTimer(delayMs, () => void this.#dial(row));
  }

  #release(row: Row): void {
    if (row.place !== undefined) this.#budget.release(row.place, { held: false, bytes: 0, heldMs: 0 });
    row.place = undefined;
  }

  #ended(row: Row): void {
    this.#dialing.delete(formatAddress(row.address));
    this.#release(row);
    row.busy = false;
    row.peer = undefined;
  }

  #rowOf(peer: Peer): Row | undefined {
    return this.#rows.find((row) => row.peer === peer) ?? this.#dialing.get(formatAddress(peer.remote));
  }

  #onAuthenticated(member: AuthenticatedPeer): void {
    const { peer } = member;
    const row = this.#rowOf(peer);
    if (row !== undefined) {
      this.#dialing.delete(formatAddress(row.address));
      this.#release(row);
      row.peer = peer;
      row.connectedMs = this.#clock.nowMs();
    }
    const { versionStr, overlayVersion } = peer.hello!;
    this.#emit({
      kind: "connected",
      peer: member.nodeId,
      address: formatAddress(peer.remote),
      target: row?.target.text,
      versionStr,
      overlayVersion,
    });
    const wanted = row?.target.nodeId;
    if (wanted === undefined || wanted === member.nodeId) return;
    // Not who it was said to be.
    peer.sendErrorAndDrop("ERR_MISC", "not the node that was asked for", {
      code: "local_close",
      reason: `it is ${member.nodeId}, not ${wanted}`,
    });
  }

  #onClosed(peer: Peer, drop: Drop): void {
    const row = this.#rowOf(peer);
    const nowMs = this.#clock.nowMs();
    const authenticated = row?.peer === peer;
    const connectedMs = authenticated ? nowMs - row!.connectedMs! : 0;
    if (row !== undefined) this.#ended(row);
    this.#emit({
      kind: "dropped",
      peer: peer.nodeIdText,
      address: formatAddress(peer.remote),
      target: row?.target.text,
      by: drop.by,
      reason: drop.reason,
      failure: drop.failure,
      authenticated,
      connectedMs,
    });
    if (row === undefined) return;
    if (connectedMs >= STABLE_MS) row.pauseMs = FIRST_PAUSE_MS;
    this.#later(row, !authenticated || connectedMs < STABLE_MS ? REFUSED_PAUSE_MS : 0);
  }

  #onEvent(event: OverlayEvent): void {
    this.#options.log?.(event);
    switch (event.event) {
      case "dialFailed": {
        const row = this.#dialing.get(event.address);
        if (row === undefined) return;
        this.#ended(row);
        this.#emit({
          kind: "dialFailed",
          target: row.target.text,
          address: event.address,
          failure: event.failure,
        });
        return this.#later(row);
      }
      case "syncLost":
        return this.#emit({ kind: "syncLost", ledgerSeq: event.ledgerSeq, silentMs: event.silentMs });
      case "syncGained":
        return this.#emit({ kind: "syncGained", ledgerSeq: event.ledgerSeq, outOfSyncMs: event.outOfSyncMs });
    }
  }

  #tellStatus(): void {
    const nowMs = this.#clock.nowMs(), wallMs = this.#wallOf(nowMs);
    for (const snapshot of this.node.peers()) {
      const { flowControl, metrics } = snapshot;
      this.#tell({
        kind: "status",
        atMs: nowMs,
        wallMs,
        peer: snapshot.nodeId,
        address: snapshot.address,
        versionStr: snapshot.versionStr,
        overlayVersion: snapshot.overlayVersion,
        connectedMs: snapshot.connectedMs,
        rttMs: snapshot.latencyMs,
        creditGiven: { messages: flowControl.localCapacity.flood, bytes: flowControl.localCapacityBytes.flood },
        creditHeld: { messages: Number(flowControl.peerCapacity), bytes: Number(flowControl.peerCapacityBytes) },
        queued: snapshot.queuedMessages,
        uniqueFlood: metrics.uniqueFloodMessageRecv,
        duplicateFlood: metrics.duplicateFloodMessageRecv,
      });
    }
    this.model.tick(nowMs);
    this.#status = this.#clock.setTimer(this.#options.statusMs ?? STATUS_MS, () => this.#tellStatus());
  }

  // ---- Records ----

  #wallOf(atMs: number): number {
    return atMs + this.#wallOffsetMs;
  }

  /** Adds the times of now to an event. */
  #emit(event: DistributiveOmit<WatchEvent, "atMs" | "wallMs">): void {
    const atMs = this.#clock.nowMs();
    void this.#tell({ ...event, atMs, wallMs: this.#wallOf(atMs) } as WatchEvent);
  }

  #tell(record: WatchRecord): Promise<void> | undefined {
    this.model.apply(record);
    for (const listener of this.#listeners) listener(record);
    let held: Promise<void>[] | undefined;
    for (const queue of this.#queues) {
      const wait = queue.push(record);
      if (wait !== undefined) (held ??= []).push(wait);
    }
    return held === undefined ? undefined : held.length === 1 ? held[0] : Promise.all(held).then(() => {});
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function at(row: Row): string {
  return formatAddress(row.address);
}

/** Why a target is not connected, in a sentence; may hold text of the remote. */
export function reasonOf(event: Extract<WatchEvent, { kind: "dropped" | "dialFailed" }>): string {
  return event.kind === "dropped" ? event.reason : describeFailure(event.failure);
}
