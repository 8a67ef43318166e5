/**
 * Watches consensus through the nodes a crawl holds: who validates, at which slot, how far behind the first, with which quorum
 * set, and who relays. Every distinct message is verified once. Replayed statements (answers to GET_SCP_STATE) tell slots and
 * quorum sets, never lags. Source: flooding.md sections 3 to 5, wire.md section 4.
 *
 * A signature proves a key and nothing else: a hostile peer can make keys, and let them sign any slot. Who decides what the
 * network's slot is, is therefore chosen in three steps, each time the question is asked:
 *
 * 1. A signer is *trusted* when at least half of the peers that relay statements of others brought its statements. stellar-core
 *    relays only what its transitive quorum says (PendingEnvelopes::recvSCPEnvelope), so invented signers come from the peers
 *    that invented them, and from those only.
 * 2. The *core* are the trusted signers that a fetched quorum set of another trusted signer names; all trusted ones while there
 *    are none.
 * 3. The *current slot* is the highest one that at least half of the core, and at least two of them, have decided.
 *
 * A node is `validating` when it is trusted, or is itself a peer we listened to, and its latest slot is near the current one.
 * Which slots were decided before we came, the first EXTERNALIZE of a slot, hence all lags, and the nodes that are missing follow
 * from trusted signers only. Who controls half of the nodes we listen to can still deceive us.
 */
import { concatBytes, fromHex, readUint32, toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import type { StoredObservation, StoredScp } from "../../overlay/db/stored.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { decodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { quorumSetHashOf, type ScpPledges, type ScpQuorumSet } from "../../overlay/wire/types.ts";

/** A quorum set as JSON has it. */
export interface QuorumSetJson {
  threshold: number;
  /** `G...` each. */
  validators: string[];
  innerSets: QuorumSetJson[];
}

/** A node we listen to. */
export interface ScpPeer {
  /** `G...` */
  nodeId: string;
  /** Sends GET_SCP_QUORUMSET; false when that is not possible any more. */
  askQuorumSet(hash: Uint8Array): boolean;
}

/** Options of a {@link ScpObserver}. */
export interface ScpObserverOptions {
  /** 32 bytes. */
  networkId: Uint8Array;
  clock: Clock;
  /**
   * From the first message of a peer on, what it sends in this time may be its memory of decided slots. Source:
   * flooding.md section 4: the replay has no end mark.
   */
  replayMs?: number;
  /** Wait for a quorum set before another peer is asked. Source: stellar-core Tracker.cpp MS_TO_WAIT_FOR_FETCH_REPLY. */
  fetchTimeoutMs?: number;
  /** What the interrupted run heard that this one continues. */
  resume?: StoredScp;
  /** Called when there is something new for {@link ScpObserver.takeChanges}. */
  onChange?: () => void;
}

/** What is known of a node from its statements. */
export interface ScpNode {
  nodeId: string;
  /** Highest slot it spoke about. */
  lastSlot: bigint;
  /** Its latest statement about that slot. */
  lastStatement: ScpPledges["type"];
  /** Lower-case hex. */
  quorumSetHash: string;
  /** Wall time of its first statement we saw, ms since the epoch. */
  firstHeardAtMs: number;
  /** How long after the first EXTERNALIZE of a slot its own arrived, ms; one per slot decided while we listened. */
  lagsMs: number[];
  /** Whether its statements keep up with the network's; see the head of this file. */
  validating: boolean;
}

/** When a node's EXTERNALIZE of a slot arrived, by the peer that brought it. */
export interface ScpObservation {
  nodeId: string;
  slot: bigint;
  /** Wall time, ms since the epoch. */
  firstAtMs: number;
  /** By peer, ms after the slot's first EXTERNALIZE. */
  lagsMs: Record<string, number>;
  /** Lower-case hex: the quorum set it named last. */
  quorumSetHash: string;
}

/** All that was observed. */
export interface ScpSnapshot {
  /** Nodes we listened to, in order. */
  listened: string[];
  /** Nodes that sent us statements of others. */
  relaying: Set<string>;
  /** Nodes by id. */
  nodes: Map<string, ScpNode>;
  /** Fetched quorum sets by hash. */
  quorumSets: Map<string, QuorumSetJson>;
  /** Hashes nobody answered for. */
  unknownQuorumSets: string[];
  /** Nodes named in quorum sets of trusted signers that were not heard. */
  missing: string[];
  /** What the network is at; undefined when nobody was heard. */
  currentSlot: bigint | undefined;
  /** Slots decided while we listened, ascending. */
  slots: { slot: bigint; firstAtMs: number; firstNodeId: string }[];
  observations: ScpObservation[];
  messages: number;
  distinctMessages: number;
  badSignatures: number;
}

/** Distinct messages remembered. A validator sends about five per slot. */
const MAX_SEEN = 100_000;
/** Anyone can sign statements with invented keys; pubnet has about a hundred validators. */
const MAX_NODES = 5000;
/** Slots kept: about an hour and a half of pubnet. */
const MAX_SLOTS = 1024;
const MAX_QUORUM_SETS = 5000;
/** Questions to one peer; upstream answers 300 a minute. Source: flooding.md section 5, query limits. */
const MAX_QUESTIONS = 250;
/** Largest sane quorum set: 1,000 nodes and their sets. Source: stellar-core QuorumSetUtils.cpp. */
const MAX_QUORUM_SET_BYTES = 100_000;
/** Slots a validator may be behind the current one and still count as validating. */
const BEHIND_SLOTS = 3n;
/** Slots beyond the current one that nobody can be at. */
const AHEAD_SLOTS = 1000n;
/** Signers, and quorum sets to fetch, that one peer may be the first to tell. Pubnet has some two hundred of each. */
const MAX_NEW_PER_PEER = 500;
/** The slot far ones are measured from is computed at most so often, ms. */
const CURRENT_MS = 1000;
/** EXTERNALIZE arrivals kept in all. */
const MAX_ARRIVALS = 50_000;

interface Listener {
  peer: ScpPeer;
  startedMs: number;
  firstMessageMs: number | undefined;
  questions: number;
  /** Signers and quorum sets it was the first to tell. */
  newSigners: number;
  newSets: number;
}

interface Node {
  nodeId: string;
  lastSlot: bigint;
  lastStatement: ScpPledges["type"];
  quorumSetHash: string;
  firstHeardAtMs: number;
  /** Peers that brought its statements. BOUNDED: by the nodes held in all. */
  readonly heardFrom: Set<string>;
}

/** When a peer brought an EXTERNALIZE, and since when we listened to it. */
interface Arrival {
  atMs: number;
  listeningSinceMs: number;
}

interface Slot {
  slot: bigint;
  /** By node, then by the peer that brought it. */
  arrivals: Map<string, Map<string, Arrival>>;
}

/** A slot decided while we listened. */
interface LiveSlot extends Slot {
  /** The first EXTERNALIZE of a trusted signer. */
  firstMs: number;
  firstNodeId: string;
}

/** What is believed now; see the head of this file. */
interface Belief {
  trusted: Set<string>;
  current: bigint | undefined;
}

/** A distinct message: the node that said it, and the slot it externalises, if it does. */
interface Seen {
  node: Node;
  slot: Slot | undefined;
}

interface Fetch {
  hash: Uint8Array;
  /** Peers that brought statements with it. */
  holders: Set<string>;
  asked: Set<string>;
  current: string | undefined;
  timer: Timer | undefined;
}

/** See the head of this file. */
export class ScpObserver {
  readonly #options: Required<Omit<ScpObserverOptions, "resume">>;
  readonly #preimageHead: Uint8Array;
  /** BOUNDED: by the nodes held at once. */
  readonly #listeners = new Map<string, Listener>();
  /** BOUNDED: by the nodes held in all. */
  readonly #listened = new Set<string>();
  readonly #relaying = new Set<string>();
  /** Two generations of distinct messages; `null` when the signature is bad. BOUNDED: MAX_SEEN. */
  #young = new Map<string, Seen | null>();
  #old = new Map<string, Seen | null>();
  /** BOUNDED: MAX_NODES. */
  readonly #nodes = new Map<string, Node>();
  /** BOUNDED: MAX_SLOTS, the oldest entry goes. */
  readonly #slots = new Map<bigint, Slot>();
  #arrivals = 0;
  /** When the replay of a peer was over for the first time: a slot decided after that was decided while we listened. */
  #establishedMs = Infinity;
  /** Wall time at the clock's zero. */
  readonly #wallOffsetMs: number;
  #current: { atMs: number; slot: bigint | undefined } | undefined;
  /** What is not stored yet. BOUNDED: as the things they name. */
  readonly #changed = {
    listeners: new Set<string>(),
    nodes: new Set<string>(),
    slots: new Set<bigint>(),
    sets: new Set<string>(),
  };
  /** Observations of the run that is continued. BOUNDED: by what that run stored. */
  readonly #earlier: readonly StoredObservation[];
  /** Quorum sets by hash. BOUNDED: MAX_QUORUM_SETS together with the fetches. */
  readonly #quorumSets = new Map<string, QuorumSetJson>();
  readonly #fetches = new Map<string, Fetch>();
  #messages = 0;
  #distinct = 0;
  #badSignatures = 0;

  constructor(options: ScpObserverOptions) {
    this.#options = { replayMs: 1500, fetchTimeoutMs: 1500, ...options, onChange: options.onChange ?? (() => {}) };
    this.#wallOffsetMs = options.clock.wallMs() - options.clock.nowMs();
    this.#preimageHead = concatBytes(options.networkId, new Uint8Array([0, 0, 0, 1])); // ENVELOPE_TYPE_SCP
    const { resume } = options;
    this.#earlier = resume?.observations ?? [];
    for (const { nodeId, relaying } of resume?.listeners ?? []) {
      this.#listened.add(nodeId);
      if (relaying) this.#relaying.add(nodeId);
    }
    for (const node of resume?.heard ?? []) {
      this.#nodes.set(node.nodeId, {
        nodeId: node.nodeId,
        lastSlot: node.slot,
        lastStatement: node.statement as ScpPledges["type"],
        quorumSetHash: node.quorumSetHash,
        firstHeardAtMs: node.firstHeardAt,
        heardFrom: new Set(node.heardFrom),
      });
    }
    for (const { hash, set } of resume?.quorumSets ?? []) this.#quorumSets.set(hash, set as QuorumSetJson);
  }

  /** Whether this node is listened to now. */
  has(nodeId: string): boolean {
    return this.#listeners.has(nodeId);
  }

  /** Begins to listen to a peer, which was or will be asked for its SCP state. */
  addPeer(peer: ScpPeer): void {
    this.#listeners.set(peer.nodeId, {
      peer,
      startedMs: this.#options.clock.nowMs(),
      firstMessageMs: undefined,
      questions: 0,
      newSigners: 0,
      newSets: 0,
    });
    this.#listened.add(peer.nodeId);
    this.#change("listeners", peer.nodeId);
    // Sets that nobody of an earlier run had.
    for (const node of this.#nodes.values()) this.#want(node.quorumSetHash, fromHex(node.quorumSetHash), undefined);
    for (const [key, fetch] of this.#fetches) if (fetch.current === undefined) this.#askNext(key, fetch);
  }

  /** The peer is gone; what it was asked is asked elsewhere. */
  removePeer(nodeId: string): void {
    if (!this.#listeners.delete(nodeId)) return;
    for (const [key, fetch] of this.#fetches) if (fetch.current === nodeId) this.#askNext(key, fetch);
  }

  /** Stops all timers. The snapshot stays. */
  close(): void {
    this.#listeners.clear();
    for (const fetch of this.#fetches.values()) fetch.timer?.cancel();
  }

  /**
   * Takes the bytes of an SCP_MESSAGE (the StellarMessage) that the peer `from` sent.
   * @throws OverlayError `xdr_invalid` when it does not decode
   */
  onScpMessage(from: string, message: Uint8Array, receivedAtMs: number, receivedWallMs: number): void {
    const listener = this.#listeners.get(from);
    if (listener === undefined) return;
    this.#messages++;
    listener.firstMessageMs ??= receivedAtMs;
    if (this.#establishedMs === Infinity && receivedAtMs - listener.firstMessageMs >= this.#options.replayMs) {
      this.#establishedMs = receivedAtMs;
    }
    const key = String.fromCharCode(...primitives.sha256(message));
    let seen = this.#young.get(key);
    if (seen === undefined) {
      seen = this.#old.get(key);
      if (seen === undefined) {
        seen = this.#firstSight(message, receivedWallMs, listener);
        // Not remembered: another peer may bring it.
        if (seen === undefined) return;
        this.#distinct++;
      }
      if (this.#young.size >= MAX_SEEN / 2) {
        this.#old = this.#young;
        this.#young = new Map();
      }
      this.#young.set(key, seen);
    }
    if (seen === null) return;
    if (seen.node.nodeId !== from && !this.#relaying.has(from)) {
      this.#relaying.add(from);
      this.#change("listeners", from);
    }
    if (!seen.node.heardFrom.has(from)) {
      seen.node.heardFrom.add(from);
      this.#change("nodes", seen.node.nodeId);
    }
    this.#fetches.get(seen.node.quorumSetHash)?.holders.add(from);
    if (seen.slot !== undefined) this.#arrived(seen.slot, seen.node.nodeId, listener, receivedAtMs);
  }

  /** Takes the bytes of an SCP_QUORUMSET; false when nobody waits for it. */
  onQuorumSet(_from: string, message: Uint8Array): boolean {
    if (message.length > MAX_QUORUM_SET_BYTES) return false;
    // The message is the type and the XDR of the set.
    const key = toHex(primitives.sha256(message.subarray(4)));
    const fetch = this.#fetches.get(key);
    if (fetch === undefined) return false;
    const decoded = decodeMessage(message);
    if (decoded.type !== "scpQuorumset") return false;
    fetch.timer?.cancel();
    this.#fetches.delete(key);
    this.#quorumSets.set(key, quorumSetJson(decoded.qSet));
    this.#change("sets", key);
    return true;
  }

  /** Takes the bytes of a DONT_HAVE: it counts only from the peer that was asked last. */
  onDontHave(from: string, message: Uint8Array): void {
    if (message.length !== 40 || readUint32(message, 4) !== MessageType.scpQuorumset) return;
    const key = toHex(message.subarray(8, 40));
    const fetch = this.#fetches.get(key);
    if (fetch !== undefined && fetch.current === from) this.#askNext(key, fetch);
  }

  /** What is known now. */
  snapshot(): ScpSnapshot {
    const { trusted, current } = this.#believe();
    const nodes = new Map<string, ScpNode>();
    for (const { heardFrom: _, ...node } of this.#nodes.values()) {
      const keepsUp = current !== undefined && node.lastSlot >= current - BEHIND_SLOTS &&
        node.lastSlot <= current + AHEAD_SLOTS;
      const known = trusted.has(node.nodeId) || this.#listened.has(node.nodeId);
      nodes.set(node.nodeId, { ...node, lagsMs: [], validating: known && keepsUp });
    }
    const live = this.#liveSlots(trusted, current);
    const observations = live.flatMap((slot) => this.#observationsOf(slot));
    const own = new Set(observations.map(({ nodeId, slot }) => `${nodeId} ${slot}`));
    for (const { nodeId, lagsMs } of observations) nodes.get(nodeId)!.lagsMs.push(Math.min(...Object.values(lagsMs)));
    for (const seen of this.#earlier) {
      const lags = Object.values(seen.lagsMs);
      if (lags.length === 0 || own.has(`${seen.nodeId} ${seen.slot}`)) continue;
      nodes.get(seen.nodeId)?.lagsMs.push(Math.min(...lags));
    }
    const named = new Set<string>();
    for (const nodeId of trusted) {
      const set = this.#quorumSets.get(this.#nodes.get(nodeId)!.quorumSetHash);
      if (set !== undefined) collectValidators(set, named);
    }
    return {
      listened: [...this.#listened],
      relaying: new Set(this.#relaying),
      nodes,
      quorumSets: new Map(this.#quorumSets),
      unknownQuorumSets: [...this.#fetches.keys()].sort(),
      missing: [...named].filter((nodeId) => !this.#nodes.has(nodeId)).sort(),
      currentSlot: current,
      slots: live.map(({ slot, firstMs, firstNodeId }) => ({ slot, firstAtMs: this.#wallOf(firstMs), firstNodeId })),
      observations,
      messages: this.#messages,
      distinctMessages: this.#distinct,
      badSignatures: this.#badSignatures,
    };
  }

  /** What changed since the last call, for the database; undefined when nothing did. */
  takeChanges(): StoredScp | undefined {
    const { listeners, nodes, slots, sets } = this.#changed;
    if (listeners.size + nodes.size + slots.size + sets.size === 0) return undefined;
    const observations: StoredObservation[] = [];
    if (slots.size > 0) {
      const { trusted, current } = this.#believe();
      for (const slot of this.#liveSlots(trusted, current)) {
        if (!slots.has(slot.slot)) continue;
        for (const { firstAtMs, ...seen } of this.#observationsOf(slot)) {
          observations.push({ ...seen, firstAt: firstAtMs, statement: "externalize" });
        }
      }
    }
    const changes: StoredScp = {
      listeners: [...listeners].map((nodeId) => ({ nodeId, relaying: this.#relaying.has(nodeId) })),
      heard: [...nodes].map((nodeId) => {
        const node = this.#nodes.get(nodeId)!;
        return {
          nodeId,
          slot: node.lastSlot,
          statement: node.lastStatement,
          quorumSetHash: node.quorumSetHash,
          firstHeardAt: node.firstHeardAtMs,
          heardFrom: [...node.heardFrom],
        };
      }),
      observations,
      quorumSets: [...sets].map((hash) => ({ hash, set: this.#quorumSets.get(hash)! })),
    };
    for (const changed of [listeners, nodes, slots, sets]) changed.clear();
    return changes;
  }

  #change<K extends "listeners" | "nodes" | "sets">(kind: K, key: string): void {
    this.#changed[kind].add(key);
    this.#options.onChange();
  }

  #wallOf(ms: number): number {
    return this.#wallOffsetMs + ms;
  }

  /** Whom to trust, and the slot they are at: the head of this file says how. */
  #believe(): Belief {
    const enough = Math.max(1, Math.ceil(this.#relaying.size / 2));
    const trusted = new Set<string>();
    for (const node of this.#nodes.values()) if (node.heardFrom.size >= enough) trusted.add(node.nodeId);
    const users = new Map<string, string[]>();
    for (const nodeId of trusted) {
      const { quorumSetHash } = this.#nodes.get(nodeId)!;
      const list = users.get(quorumSetHash);
      if (list === undefined) users.set(quorumSetHash, [nodeId]);
      else list.push(nodeId);
    }
    const core = new Set<string>();
    for (const [hash, by] of users) {
      const set = this.#quorumSets.get(hash);
      if (set === undefined) continue;
      const named = new Set<string>();
      collectValidators(set, named);
      for (const nodeId of named) if (trusted.has(nodeId) && by.some((id) => id !== nodeId)) core.add(nodeId);
    }
    const slots = [...core.size > 0 ? core : trusted].map((nodeId) => {
      const { lastSlot, lastStatement } = this.#nodes.get(nodeId)!;
      return lastStatement === "externalize" ? lastSlot : lastSlot - 1n;
    });
    slots.sort((a, b) => (a > b ? -1 : a < b ? 1 : 0));
    const half = Math.max(Math.ceil(slots.length / 2), Math.min(2, slots.length));
    const current = slots.length === 0 ? undefined : slots[half - 1];
    this.#current = { atMs: this.#options.clock.nowMs(), slot: current };
    return { trusted, current };
  }

  /** Slots decided while we listened, ascending. */
  #liveSlots(trusted: ReadonlySet<string>, current: bigint | undefined): LiveSlot[] {
    const found: LiveSlot[] = [];
    let decidedBefore = -1n;
    for (const slot of this.#slots.values()) {
      if (current !== undefined && slot.slot > current + AHEAD_SLOTS) continue;
      let firstMs = Infinity, firstNodeId = "";
      for (const [nodeId, byPeer] of slot.arrivals) {
        if (!trusted.has(nodeId)) continue;
        for (const { atMs } of byPeer.values()) if (atMs < firstMs) [firstMs, firstNodeId] = [atMs, nodeId];
      }
      if (firstMs === Infinity) continue;
      // Until one peer's replay is over, a decided slot may have been decided before we came.
      if (firstMs < this.#establishedMs && slot.slot > decidedBefore) decidedBefore = slot.slot;
      found.push({ ...slot, firstMs, firstNodeId });
    }
    return found.filter(({ slot }) => slot > decidedBefore).sort((a, b) => (a.slot < b.slot ? -1 : 1));
  }

  #observationsOf(slot: LiveSlot): ScpObservation[] {
    const found: ScpObservation[] = [];
    for (const [nodeId, byPeer] of slot.arrivals) {
      const lagsMs: Record<string, number> = {};
      let lagMs = Infinity;
      for (const [peer, { atMs, listeningSinceMs }] of byPeer) {
        // A peer that we joined after the decision may be telling its memory; what came before it is an invention.
        if (listeningSinceMs > slot.firstMs || atMs < slot.firstMs) continue;
        lagsMs[peer] = atMs - slot.firstMs;
        lagMs = Math.min(lagMs, lagsMs[peer]);
      }
      if (lagMs === Infinity) continue;
      const { quorumSetHash } = this.#nodes.get(nodeId)!;
      found.push({ nodeId, slot: slot.slot, firstAtMs: this.#wallOf(slot.firstMs + lagMs), lagsMs, quorumSetHash });
    }
    return found;
  }

  /** Decodes and verifies a message that was not seen before; undefined when its bringer told too many new signers. */
  #firstSight(message: Uint8Array, wallMs: number, by: Listener): Seen | null | undefined {
    const decoded = decodeMessage(message);
    if (decoded.type !== "scpMessage") return null;
    const { statement, signature } = decoded.envelope;
    const nodeId = encodeNodeId(statement.nodeId);
    let node = this.#nodes.get(nodeId);
    if (node === undefined && (by.newSigners >= MAX_NEW_PER_PEER || this.#nodes.size >= MAX_NODES)) return undefined;
    if (signature.length !== 64) {
      this.#badSignatures++;
      return null;
    }
    // The message is: type, XDR of the statement, length of the signature, signature.
    const signed = concatBytes(this.#preimageHead, message.subarray(4, message.length - 68));
    if (!primitives.verify(statement.nodeId, signed, signature)) {
      this.#badSignatures++;
      return null;
    }
    const quorumSetHash = toHex(quorumSetHashOf(statement.pledges));
    const { slotIndex: slot, pledges } = statement;
    if (node === undefined) {
      const lastStatement = pledges.type;
      by.newSigners++;
      node = { nodeId, lastSlot: slot, lastStatement, quorumSetHash, firstHeardAtMs: wallMs, heardFrom: new Set() };
      this.#nodes.set(nodeId, node);
      this.#change("nodes", nodeId);
    } else if (
      slot > node.lastSlot || (slot === node.lastSlot && progress(pledges.type) >= progress(node.lastStatement))
    ) {
      node.lastSlot = slot;
      node.lastStatement = pledges.type;
      node.quorumSetHash = quorumSetHash;
      this.#change("nodes", nodeId);
    }
    this.#want(quorumSetHash, quorumSetHashOf(pledges), by);
    return { node, slot: pledges.type === "externalize" ? this.#slotOf(slot) : undefined };
  }

  /** The slot of an EXTERNALIZE. */
  #slotOf(slot: bigint): Slot {
    let entry = this.#slots.get(slot);
    if (entry === undefined) {
      entry = { slot, arrivals: new Map() };
      if (this.#slots.size >= MAX_SLOTS) this.#dropFarthest();
      this.#slots.set(slot, entry);
    }
    return entry;
  }

  /** Makes room for a slot: of all the one farthest from where the network is, so that inventions go first. */
  #dropFarthest(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#current === undefined || nowMs - this.#current.atMs >= CURRENT_MS) this.#believe();
    const current = this.#current!.slot ?? 0n;
    let farthest: Slot | undefined, most = -1n;
    for (const slot of this.#slots.values()) {
      const distance = slot.slot > current ? slot.slot - current : current - slot.slot;
      if (distance > most) [most, farthest] = [distance, slot];
    }
    this.#slots.delete(farthest!.slot);
    this.#changed.slots.delete(farthest!.slot);
    for (const byPeer of farthest!.arrivals.values()) this.#arrivals -= byPeer.size;
  }

  #arrived(slot: Slot, nodeId: string, listener: Listener, atMs: number): void {
    if (this.#arrivals >= MAX_ARRIVALS) return;
    let byPeer = slot.arrivals.get(nodeId);
    if (byPeer === undefined) slot.arrivals.set(nodeId, byPeer = new Map());
    if (byPeer.has(listener.peer.nodeId)) return;
    byPeer.set(listener.peer.nodeId, { atMs, listeningSinceMs: listener.startedMs });
    this.#arrivals++;
    // Before that it is a replay, which is not stored.
    if (this.#establishedMs !== Infinity) {
      this.#changed.slots.add(slot.slot);
      this.#options.onChange();
    }
  }

  #want(key: string, hash: Uint8Array, by: Listener | undefined): void {
    if (this.#quorumSets.has(key) || this.#fetches.has(key)) return;
    if (this.#quorumSets.size + this.#fetches.size >= MAX_QUORUM_SETS) return;
    if (by !== undefined && by.newSets++ >= MAX_NEW_PER_PEER) return;
    const fetch: Fetch = {
      hash: hash.slice(),
      holders: new Set(by === undefined ? [] : [by.peer.nodeId]),
      asked: new Set(),
      current: undefined,
      timer: undefined,
    };
    this.#fetches.set(key, fetch);
    this.#askNext(key, fetch);
  }

  /** Asks a peer that was not asked yet: first one that relayed a statement with this hash, then any other. */
  #askNext(key: string, fetch: Fetch): void {
    fetch.timer?.cancel();
    fetch.timer = fetch.current = undefined;
    const next = this.#candidate(fetch, fetch.holders) ?? this.#candidate(fetch, this.#listeners.keys());
    if (next === undefined) return;
    next.questions++;
    fetch.current = next.peer.nodeId;
    fetch.timer = this.#options.clock.setTimer(this.#options.fetchTimeoutMs, () => this.#askNext(key, fetch));
  }

  /** The first of `ids` that takes the question. */
  #candidate(fetch: Fetch, ids: Iterable<string>): Listener | undefined {
    for (const id of ids) {
      const listener = this.#listeners.get(id);
      if (listener === undefined || fetch.asked.has(id) || listener.questions >= MAX_QUESTIONS) continue;
      fetch.asked.add(id);
      if (listener.peer.askQuorumSet(fetch.hash)) return listener;
    }
    return undefined;
  }
}

/** Order of the statements of one slot. */
function progress(type: ScpPledges["type"]): number {
  return type === "nominate" ? 0 : type === "prepare" ? 1 : type === "confirm" ? 2 : 3;
}

/** A quorum set as JSON has it: the order of the wire is kept, since the hash depends on it. */
export function quorumSetJson(set: ScpQuorumSet): QuorumSetJson {
  return {
    threshold: set.threshold,
    validators: set.validators.map(encodeNodeId),
    innerSets: set.innerSets.map(quorumSetJson),
  };
}

function collectValidators(set: QuorumSetJson, into: Set<string>): void {
  for (const validator of set.validators) into.add(validator);
  for (const inner of set.innerSets) collectValidators(inner, into);
}
