/**
 * Everything a view of a watch shows, as one reducer: `apply` takes the records as they come, `tick` moves time, and the
 * getters give the state. It reads no clock and does nothing else, so that a recording gives the same picture as a live node.
 */
import type { Failure } from "../../overlay/base/errors.ts";
import type { MessageTypeName } from "../../overlay/wire/messages.ts";
import type { PeerLagReport, Propagation, PropagationReport } from "./propagation.ts";
import { Rates, type Traffic } from "./rates.ts";
import type { WatchEvent, WatchMessage, WatchPeerStatus, WatchRecord } from "./records.ts";
import { ScpBoard, type SlotView, type ValidatorView } from "./scp_board.ts";

/** Events kept for the log. */
export const MAX_EVENTS = 500;
/** Rows of peers: targets, and nodes that were connected without being one. */
export const MAX_ROWS = 1000;

/** Where a target stands. */
export type PeerState = "waiting" | "dialing" | "connected" | "dropped";

/** One target, or one node. */
export interface WatchPeer {
  /** The address as the user gave it; that of the connection otherwise. */
  target: string;
  address: string;
  /** `G...` once it was connected; it stays after a drop. */
  nodeId: string | undefined;
  state: PeerState;
  /** When the state began. */
  sinceMs: number;
  /** While waiting: when it is dialed again. */
  nextDialAtMs: number | undefined;
  attempts: number;
  /** Times it was connected. */
  connections: number;
  /** Text of the remote: escape it. */
  versionStr: string | undefined;
  overlayVersion: number | undefined;
  rttMs: number | undefined;
  /** What it may still send us; what we may still send it. Flood messages and bytes. */
  creditGiven: { messages: number; bytes: number } | undefined;
  creditHeld: { messages: number; bytes: number } | undefined;
  queued: number;
  lastMessageMs: number | undefined;
  /** Why it was dropped or not reached; may hold text of the remote: escape it. */
  reason: string | undefined;
  failure: Failure | undefined;
}

/** The measures of a peer at one moment. */
export interface PeerMeasures {
  traffic: Traffic;
  types: ReadonlyMap<MessageTypeName, number>;
  /** Copies of things that another peer, or itself, had brought before; share of all copies, 0 to 1. */
  duplicates: number;
  duplicateShare: number;
  /** Its SCP statements behind the first copy; undefined before the first. */
  lag: PeerLagReport | undefined;
  /** The same of adverts. */
  advertLag: PeerLagReport | undefined;
  /** Share of the things it brought that it brought first, 0 to 1. */
  firstShare: number;
}

/** See the head of this file. */
export class WatchModel {
  readonly startedMs: number;
  readonly board = new ScpBoard();
  readonly rates: Rates;
  readonly propagation: Propagation;
  /** Rows by target. BOUNDED: {@link MAX_ROWS}. */
  readonly #rows = new Map<string, WatchPeer>();
  /** The row of each node. */
  readonly #byNode = new Map<string, WatchPeer>();
  /** Copies that were not the first, by peer. */
  readonly #duplicates = new Map<string, { copies: number; duplicates: number }>();
  /** Newest last. BOUNDED: {@link MAX_EVENTS}. */
  readonly #events: WatchEvent[] = [];
  #nowMs: number;
  #ledger: number | undefined;
  #inSync = true;
  #missed = 0;

  /** `propagation` is the one that the records' maker feeds. */
  constructor(options: { startedMs: number; propagation: Propagation }) {
    this.startedMs = this.#nowMs = options.startedMs;
    this.propagation = options.propagation;
    this.rates = new Rates(options.startedMs);
  }

  /** Takes one record. */
  apply(record: WatchRecord): void {
    if (record.atMs > this.#nowMs) this.#nowMs = record.atMs;
    if (record.kind === "message") return this.#onMessage(record);
    if (record.kind === "status") return this.#onStatus(record);
    this.#onEvent(record);
  }

  /** Time passes without records. */
  tick(nowMs: number): void {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** The last ledger the network closed, as far as statements say. */
  get ledger(): number | undefined {
    return this.#ledger ?? this.board.decided;
  }

  get inSync(): boolean {
    return this.#inSync;
  }

  /** Records that the reader of the iterable missed. */
  get missed(): number {
    return this.#missed;
  }

  /** Targets in the order they were given, then others. The rows are live: read them, do not change them. */
  peers(): WatchPeer[] {
    return [...this.#rows.values()];
  }

  get connected(): number {
    let count = 0;
    for (const row of this.#rows.values()) if (row.state === "connected") count++;
    return count;
  }

  /** The measures of a row's node. */
  measures(peer: WatchPeer): PeerMeasures {
    const id = peer.nodeId ?? "";
    const { copies, duplicates } = this.#duplicates.get(id) ?? { copies: 0, duplicates: 0 };
    return {
      traffic: this.rates.peer(id, this.#nowMs),
      types: this.rates.peerTypes(id),
      duplicates,
      duplicateShare: copies === 0 ? 0 : duplicates / copies,
      lag: this.propagation.lagOf("scp", id),
      advertLag: this.propagation.lagOf("advert", id),
      firstShare: copies === 0 ? 0 : (copies - duplicates) / copies,
    };
  }

  /** Highest first. */
  slots(most?: number): SlotView[] {
    return this.board.slots(most);
  }

  validators(): ValidatorView[] {
    return this.board.validators();
  }

  /** All messages, and by type. */
  traffic(): { all: Traffic; types: { type: MessageTypeName; traffic: Traffic }[] } {
    return { all: this.rates.all(this.#nowMs), types: this.rates.types(this.#nowMs) };
  }

  /** Newest first. */
  events(most: number = MAX_EVENTS): WatchEvent[] {
    return this.#events.slice(-most).reverse();
  }

  propagationReport(): PropagationReport {
    return this.propagation.report();
  }

  #onMessage(record: WatchMessage): void {
    const { peer, type, bytes, atMs, copy } = record;
    this.rates.add(peer, type, bytes, atMs);
    this.board.apply(record);
    const row = this.#byNode.get(peer);
    if (row !== undefined) row.lastMessageMs = atMs;
    if (copy === undefined) return;
    let counts = this.#duplicates.get(peer);
    if (counts === undefined) this.#duplicates.set(peer, counts = { copies: 0, duplicates: 0 });
    counts.copies++;
    if (copy.rank !== 1) counts.duplicates++;
  }

  #onStatus(record: WatchPeerStatus): void {
    const row = this.#byNode.get(record.peer);
    if (row === undefined) return;
    const { rttMs, creditGiven, creditHeld, queued, versionStr, overlayVersion } = record;
    Object.assign(row, { rttMs, creditGiven, creditHeld, queued, versionStr, overlayVersion });
  }

  #onEvent(event: WatchEvent): void {
    const { atMs } = event;
    switch (event.kind) {
      case "ledger":
        if (event.ledgerSeq > (this.#ledger ?? -1)) this.#ledger = event.ledgerSeq;
        // A line per ledger would bury everything else.
        return;
      case "missed":
        this.#missed += event.records;
        break;
      case "syncLost":
        this.#inSync = false;
        break;
      case "syncGained":
        this.#inSync = true;
        if (event.ledgerSeq > (this.#ledger ?? -1)) this.#ledger = event.ledgerSeq;
        break;
      case "dialing": {
        const row = this.#row(event.target, event.address, atMs);
        if (row !== undefined) {
          Object.assign(row, { address: event.address, attempts: event.attempt, nextDialAtMs: undefined });
          this.#to(row, "dialing", atMs);
        }
        break;
      }
      case "connected": {
        this.propagation.connected(event.peer, atMs);
        const row = this.#row(event.target ?? event.address, event.address, atMs);
        if (row !== undefined) {
          const { peer, versionStr, overlayVersion, address } = event;
          Object.assign(row, {
            nodeId: peer,
            versionStr,
            overlayVersion,
            address,
            reason: undefined,
            failure: undefined,
          });
          row.connections++;
          this.#byNode.set(peer, row);
          this.#to(row, "connected", atMs);
        }
        break;
      }
      case "dropped":
      case "dialFailed": {
        if (event.kind === "dropped" && event.authenticated && event.peer !== undefined) {
          this.propagation.dropped(event.peer);
        }
        const row = this.#row(event.target ?? event.address, event.address, atMs);
        if (row !== undefined) {
          row.reason = event.kind === "dropped" ? event.reason : undefined;
          row.failure = event.failure;
          row.creditGiven = row.creditHeld = row.rttMs = undefined;
          row.queued = 0;
          this.#to(row, "dropped", atMs);
        }
        break;
      }
      case "waiting": {
        const row = this.#row(event.target, event.address, atMs);
        if (row !== undefined) {
          row.nextDialAtMs = atMs + event.delayMs;
          this.#to(row, "waiting", atMs);
        }
        break;
      }
      default:
        event satisfies never;
    }
    if (this.#events.length >= MAX_EVENTS) this.#events.shift();
    this.#events.push(event);
  }

  #to(row: WatchPeer, state: PeerState, atMs: number): void {
    if (row.state === state) return;
    row.state = state;
    row.sinceMs = atMs;
  }

  #row(target: string, address: string, atMs: number): WatchPeer | undefined {
    let row = this.#rows.get(target);
    if (row !== undefined || this.#rows.size >= MAX_ROWS) return row;
    row = {
      target,
      address,
      nodeId: undefined,
      state: "waiting",
      sinceMs: atMs,
      nextDialAtMs: undefined,
      attempts: 0,
      connections: 0,
      versionStr: undefined,
      overlayVersion: undefined,
      rttMs: undefined,
      creditGiven: undefined,
      creditHeld: undefined,
      queued: 0,
      lastMessageMs: undefined,
      reason: undefined,
      failure: undefined,
    };
    this.#rows.set(target, row);
    return row;
  }
}
