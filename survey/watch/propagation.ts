/**
 * When each peer brought each thing: who was first, how far behind the others were, and how long until all had it. One clock
 * stamps all copies, so no peer's clock matters. Pure: time comes with the copies.
 */
import { OldestFirst } from "../../overlay/base/oldest.ts";
import { type Copy, ITEM_KINDS, type ItemKind } from "./records.ts";
import { Sample } from "./sample.ts";

/** Things remembered per kind, to know their later copies. Pubnet makes about 1,000 statements a ledger. */
export const MAX_ITEMS = 30_000;
/** A thing is settled, and its spread counted, this long after its first copy; a later copy still counts for its peer. */
export const SETTLE_MS = 30_000;
/**
 * A thing that was first seen longer than this before a peer was connected comes out of the peer's memory (GET_SCP_STATE is
 * answered with the last slots): that copy says nothing about the network, and its lag does not count. Peers that are connected
 * together, as at the start, count as connected at once.
 */
export const MEMORY_MS = 2000;
/** Peers told apart in one watch; of more only the first. */
export const MAX_PEERS = 1000;
/** Lags kept per peer and kind. */
const LAG_SAMPLE = 2048;

interface Item {
  readonly firstMs: number;
  /** Index of each peer that brought it, in order, and its lag. BOUNDED: {@link MAX_PEERS}. */
  readonly peers: number[];
  readonly lags: number[];
  /** The longest lag that counts. */
  spreadMs: number;
  settled: boolean;
}

/** The spreads of a kind. Times in ms. */
export interface SpreadReport {
  /** Things seen. */
  distinct: number;
  /** Copies of them, the repeated ones of a peer apart. */
  copies: number;
  /** Things that every peer brought that was connected then and stayed until they were settled. */
  complete: number;
  /** First to last copy of the complete ones: median and 95th percentile; null without any. */
  spreadMedianMs: number | null;
  spreadP95Ms: number | null;
  spreadMaxMs: number | null;
}

/** One peer and one kind. Times in ms behind the first copy. */
export interface PeerLagReport {
  peer: string;
  /** Things it brought. */
  copies: number;
  /** Copies of a thing that this peer itself had brought before. */
  repeated: number;
  /** Things it brought first, among several peers or alone. */
  first: number;
  /** Copies out of its memory, see {@link MEMORY_MS}: their lags are not in the percentiles. */
  remembered: number;
  medianMs: number | null;
  p95Ms: number | null;
  maxMs: number | null;
}

/** All that was measured. */
export interface PropagationReport {
  /** Peers connected now, and all that were. */
  peers: { now: number; ever: number };
  kinds: Record<ItemKind, SpreadReport>;
  /** By kind; peers in order of their median. */
  peerLags: Record<ItemKind, PeerLagReport[]>;
}

class Kind {
  /** BOUNDED: {@link MAX_ITEMS}; the oldest goes. */
  readonly items = new Map<string, Item>();
  readonly oldest = new OldestFirst(this.items);
  /** First items that are not settled, in order. BOUNDED: as `items`. */
  readonly open: Item[] = [];
  openFrom = 0;
  distinct = 0;
  copies = 0;
  complete = 0;
  readonly spreads = new Sample();
  /** By peer index. BOUNDED: {@link MAX_PEERS}. */
  readonly lags: { copies: number; repeated: number; first: number; remembered: number; sample: Sample }[] = [];
}

/** See the head of this file. */
export class Propagation {
  readonly #kinds: Record<ItemKind, Kind>;
  readonly #maxItems: number;
  /** Index by node id; a peer that comes back is the same. BOUNDED: {@link MAX_PEERS}. */
  readonly #peers = new Map<string, number>();
  /** When each of the connected ones was connected, by index. */
  readonly #connected = new Map<number, number>();

  constructor(options: { maxItems?: number } = {}) {
    this.#maxItems = options.maxItems ?? MAX_ITEMS;
    this.#kinds = Object.fromEntries(ITEM_KINDS.map((kind) => [kind, new Kind()])) as Record<ItemKind, Kind>;
  }

  /** A peer is connected from here on: a thing is complete only with its copy. */
  connected(peer: string, atMs: number): void {
    const index = this.#indexOf(peer);
    if (index !== undefined) this.#connected.set(index, atMs);
  }

  /** It is gone; what it brought stays. */
  dropped(peer: string): void {
    const index = this.#peers.get(peer);
    if (index !== undefined) this.#connected.delete(index);
  }

  /** One copy of the thing `key`; copies come in the order of `atMs`. */
  see(kind: ItemKind, key: string, peer: string, atMs: number): Copy {
    const of = this.#kinds[kind];
    const index = this.#indexOf(peer);
    let item = of.items.get(key);
    if (item === undefined) {
      this.#settle(of, atMs);
      if (of.items.size >= this.#maxItems) this.#evict(of);
      else of.oldest.rest();
      item = { firstMs: atMs, peers: [], lags: [], spreadMs: 0, settled: false };
      of.items.set(key, item);
      of.open.push(item);
      of.distinct++;
    }
    const behindMs = atMs - item.firstMs;
    if (index === undefined) return { rank: 0, behindMs };
    const lags = of.lags[index] ??= { copies: 0, repeated: 0, first: 0, remembered: 0, sample: new Sample(LAG_SAMPLE) };
    if (item.peers.includes(index)) {
      lags.repeated++;
      return { rank: 0, behindMs };
    }
    item.peers.push(index);
    item.lags.push(behindMs);
    of.copies++;
    lags.copies++;
    if (item.peers.length === 1) lags.first++;
    if (this.#isRemembered(item, index)) lags.remembered++;
    else {
      lags.sample.add(behindMs);
      item.spreadMs = behindMs;
    }
    return { rank: item.peers.length, behindMs };
  }

  /** When each peer brought a thing, ms behind the first; undefined when it is not known any more. */
  copiesOf(kind: ItemKind, key: string): { peer: string; behindMs: number }[] | undefined {
    const item = this.#kinds[kind].items.get(key);
    if (item === undefined) return undefined;
    const names = [...this.#peers.keys()];
    return item.peers.map((index, at) => ({ peer: names[index], behindMs: item.lags[at] }));
  }

  /** The measures of one peer and kind, for a view that asks often; undefined before its first copy. */
  lagOf(kind: ItemKind, peer: string): PeerLagReport | undefined {
    const index = this.#peers.get(peer);
    return index === undefined ? undefined : this.#lagReport(this.#kinds[kind], peer, index);
  }

  /** All measures; what is not settled yet counts as it stands. */
  report(): PropagationReport {
    const kinds = {} as Record<ItemKind, SpreadReport>, peerLags = {} as Record<ItemKind, PeerLagReport[]>;
    for (const name of ITEM_KINDS) {
      const kind = this.#kinds[name];
      kinds[name] = this.#spreadReport(kind);
      peerLags[name] = [...this.#peers].flatMap(([peer, index]) => this.#lagReport(kind, peer, index) ?? [])
        .sort((a, b) => (a.medianMs ?? Infinity) - (b.medianMs ?? Infinity) || b.first - a.first);
    }
    return { peers: { now: this.#connected.size, ever: this.#peers.size }, kinds, peerLags };
  }

  #indexOf(peer: string): number | undefined {
    let index = this.#peers.get(peer);
    if (index === undefined) {
      if (this.#peers.size >= MAX_PEERS) return undefined;
      this.#peers.set(peer, index = this.#peers.size);
    }
    return index;
  }

  /** Counts the spreads of what is old enough. */
  #settle(kind: Kind, nowMs: number): void {
    const { open } = kind;
    while (kind.openFrom < open.length && nowMs - open[kind.openFrom].firstMs >= SETTLE_MS) {
      this.#count(kind, open[kind.openFrom++]);
    }
    if (kind.openFrom > 1024 && kind.openFrom * 2 > open.length) {
      open.splice(0, kind.openFrom);
      kind.openFrom = 0;
    }
  }

  #count(kind: Kind, item: Item): void {
    if (item.settled) return;
    item.settled = true;
    if (!this.#isComplete(item)) return;
    kind.complete++;
    kind.spreads.add(item.spreadMs);
  }

  #isRemembered(item: Item, index: number): boolean {
    const connectedMs = this.#connected.get(index);
    return connectedMs !== undefined && item.firstMs < connectedMs - MEMORY_MS;
  }

  #isComplete(item: Item): boolean {
    for (const index of this.#connected.keys()) {
      if (!this.#isRemembered(item, index) && !item.peers.includes(index)) return false;
    }
    return this.#connected.size > 0;
  }

  /** The oldest thing is forgotten; its open entry is the oldest too. */
  #evict(kind: Kind): void {
    const key = kind.oldest.next()!;
    this.#count(kind, kind.items.get(key)!);
    kind.items.delete(key);
    while (kind.openFrom < kind.open.length && kind.open[kind.openFrom].settled) kind.openFrom++;
  }

  #spreadReport(kind: Kind): SpreadReport {
    const open = kind.open.slice(kind.openFrom).filter((item) => !item.settled && this.#isComplete(item));
    const all = new Sample(kind.spreads.values.length + open.length);
    for (const value of kind.spreads.values) all.add(value);
    for (const item of open) all.add(item.spreadMs);
    const none = all.count === 0;
    return {
      distinct: kind.distinct,
      copies: kind.copies,
      complete: kind.complete + open.length,
      spreadMedianMs: all.percentile(0.5) ?? null,
      spreadP95Ms: all.percentile(0.95) ?? null,
      spreadMaxMs: none ? null : Math.max(kind.spreads.max, all.max),
    };
  }

  #lagReport(kind: Kind, peer: string, index: number): PeerLagReport | undefined {
    const lags = kind.lags[index];
    if (lags === undefined) return undefined;
    const { copies, repeated, first, remembered, sample } = lags;
    return {
      peer,
      copies,
      repeated,
      first,
      remembered,
      medianMs: sample.percentile(0.5) ?? null,
      p95Ms: sample.percentile(0.95) ?? null,
      maxMs: sample.count === 0 ? null : sample.max,
    };
  }
}
