/**
 * Watches consensus through the nodes a crawl holds: who validates, at which slot, how far behind the first, with which quorum
 * set, and who relays. Every distinct message is verified once. Replayed statements (answers to GET_SCP_STATE) tell slots and
 * quorum sets, never lags. Source: flooding.md sections 3 to 5, wire.md section 4.
 */
import { concatBytes, readUint32, toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
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
  /** How long after the first EXTERNALIZE of a slot by anyone its own arrived, ms; one per slot decided while we listened. */
  lagsMs: number[];
  /** Whether its statements keep up with the others'. */
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
  /** Nodes named in quorum sets that were not heard. */
  missing: string[];
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
/** Slots a validator may be behind the median and still count as validating. */
const BEHIND_SLOTS = 3n;
/** EXTERNALIZE arrivals kept in all. */
const MAX_ARRIVALS = 50_000;

interface Listener {
  peer: ScpPeer;
  startedMs: number;
  firstMessageMs: number | undefined;
  questions: number;
}

interface Node {
  nodeId: string;
  lastSlot: bigint;
  lastStatement: ScpPledges["type"];
  quorumSetHash: string;
  firstHeardAtMs: number;
}

interface Slot {
  slot: bigint;
  firstMs: number;
  firstWallMs: number;
  firstNodeId: string;
  /** Decided while we listened. */
  live: boolean;
  /** By node, then by the peer that brought it: ms after `firstMs`. */
  arrivals: Map<string, Map<string, number>>;
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
  readonly #options: Required<ScpObserverOptions>;
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
  /** Highest slot known to be decided before we could tell. */
  #decidedBefore = -1n;
  /** A peer whose replay is over. */
  #established = false;
  /** Quorum sets by hash. BOUNDED: MAX_QUORUM_SETS together with the fetches. */
  readonly #quorumSets = new Map<string, QuorumSetJson>();
  readonly #fetches = new Map<string, Fetch>();
  #messages = 0;
  #distinct = 0;
  #badSignatures = 0;

  constructor(options: ScpObserverOptions) {
    this.#options = { replayMs: 1500, fetchTimeoutMs: 1500, ...options };
    this.#preimageHead = concatBytes(options.networkId, new Uint8Array([0, 0, 0, 1])); // ENVELOPE_TYPE_SCP
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
    });
    this.#listened.add(peer.nodeId);
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
    if (!this.#established && receivedAtMs - listener.firstMessageMs >= this.#options.replayMs) {
      this.#established = true;
    }
    const key = String.fromCharCode(...primitives.sha256(message));
    let seen = this.#young.get(key);
    if (seen === undefined) {
      seen = this.#old.get(key);
      if (seen === undefined) {
        seen = this.#firstSight(message, receivedAtMs, receivedWallMs, from);
        this.#distinct++;
      }
      if (this.#young.size >= MAX_SEEN / 2) {
        this.#old = this.#young;
        this.#young = new Map();
      }
      this.#young.set(key, seen);
    }
    if (seen === null) return;
    if (seen.node.nodeId !== from) this.#relaying.add(from);
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
    const heard = [...this.#nodes.values()];
    const slotsSorted = heard.map((node) => node.lastSlot).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    const median = slotsSorted.length === 0 ? 0n : slotsSorted[slotsSorted.length >> 1];
    const nodes = new Map<string, ScpNode>();
    for (const node of heard) {
      nodes.set(node.nodeId, { ...node, lagsMs: [], validating: node.lastSlot >= median - BEHIND_SLOTS });
    }
    const live = [...this.#slots.values()].filter((slot) => slot.live).sort((a, b) => (a.slot < b.slot ? -1 : 1));
    const observations: ScpObservation[] = [];
    for (const slot of live) {
      for (const [nodeId, byPeer] of slot.arrivals) {
        const lagMs = Math.min(...byPeer.values());
        nodes.get(nodeId)?.lagsMs.push(lagMs);
        observations.push({
          nodeId,
          slot: slot.slot,
          firstAtMs: slot.firstWallMs + lagMs,
          lagsMs: Object.fromEntries(byPeer),
        });
      }
    }
    const named = new Set<string>();
    for (const set of this.#quorumSets.values()) collectValidators(set, named);
    return {
      listened: [...this.#listened],
      relaying: new Set(this.#relaying),
      nodes,
      quorumSets: new Map(this.#quorumSets),
      unknownQuorumSets: [...this.#fetches.keys()].sort(),
      missing: [...named].filter((nodeId) => !this.#nodes.has(nodeId)).sort(),
      slots: live.map(({ slot, firstWallMs, firstNodeId }) => ({ slot, firstAtMs: firstWallMs, firstNodeId })),
      observations,
      messages: this.#messages,
      distinctMessages: this.#distinct,
      badSignatures: this.#badSignatures,
    };
  }

  /** Decodes and verifies a message that was not seen before. */
  #firstSight(message: Uint8Array, atMs: number, wallMs: number, from: string): Seen | null {
    const decoded = decodeMessage(message);
    if (decoded.type !== "scpMessage") return null;
    const { statement, signature } = decoded.envelope;
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
    const nodeId = encodeNodeId(statement.nodeId);
    const quorumSetHash = toHex(quorumSetHashOf(statement.pledges));
    const { slotIndex: slot, pledges } = statement;
    let node = this.#nodes.get(nodeId);
    if (node === undefined) {
      if (this.#nodes.size >= MAX_NODES) return null;
      node = { nodeId, lastSlot: slot, lastStatement: pledges.type, quorumSetHash, firstHeardAtMs: wallMs };
      this.#nodes.set(nodeId, node);
    } else if (
      slot > node.lastSlot || (slot === node.lastSlot && progress(pledges.type) >= progress(node.lastStatement))
    ) {
      node.lastSlot = slot;
      node.lastStatement = pledges.type;
      node.quorumSetHash = quorumSetHash;
    }
    this.#want(quorumSetHash, quorumSetHashOf(pledges), from);
    return { node, slot: pledges.type === "externalize" ? this.#slotOf(slot, atMs, wallMs, nodeId) : undefined };
  }

  /** The slot of an EXTERNALIZE; its first one decides whether it is live. */
  #slotOf(slot: bigint, atMs: number, wallMs: number, nodeId: string): Slot {
    let entry = this.#slots.get(slot);
    if (entry === undefined) {
      // Until one peer's replay is over, a decided slot may have been decided before we came.
      if (!this.#established && slot > this.#decidedBefore) this.#decidedBefore = slot;
      const live = slot > this.#decidedBefore;
      entry = { slot, firstMs: atMs, firstWallMs: wallMs, firstNodeId: nodeId, live, arrivals: new Map() };
      if (this.#slots.size >= MAX_SLOTS) {
        const [oldest, dropped] = this.#slots.entries().next().value!;
        this.#slots.delete(oldest);
        for (const byPeer of dropped.arrivals.values()) this.#arrivals -= byPeer.size;
      }
      this.#slots.set(slot, entry);
    }
    return entry;
  }

  #arrived(slot: Slot, nodeId: string, listener: Listener, atMs: number): void {
    // A peer that we joined after the decision may be telling its memory.
    if (!slot.live || listener.startedMs > slot.firstMs || this.#arrivals >= MAX_ARRIVALS) return;
    let byPeer = slot.arrivals.get(nodeId);
    if (byPeer === undefined) slot.arrivals.set(nodeId, byPeer = new Map());
    if (byPeer.has(listener.peer.nodeId)) return;
    byPeer.set(listener.peer.nodeId, atMs - slot.firstMs);
    this.#arrivals++;
  }

  #want(key: string, hash: Uint8Array, from: string): void {
    if (this.#quorumSets.has(key) || this.#fetches.has(key)) return;
    if (this.#quorumSets.size + this.#fetches.size >= MAX_QUORUM_SETS) return;
    const fetch: Fetch = {
      hash: hash.slice(),
      holders: new Set([from]),
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
