/**
 * What validators said lately, for a node that takes no part: judges SCP messages as far as that is possible without a
 * ledger, remembers the latest statements of each node and slot, follows which slot the network is at, and knows what
 * GET_SCP_STATE is answered with. Source: stellar-core HerderImpl.cpp (recvSCPEnvelope, sendSCPStateToPeer),
 * PendingEnvelopes.cpp, Slot.cpp; flooding.md sections 3 and 4.
 */
import { equalBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { CHECKPOINT_FREQUENCY } from "../connection/scp_queue.ts";
import { primitives } from "../crypto/primitives.ts";
import { decodeMessage } from "../wire/messages.ts";
import type { ScpEnvelope, ScpPledges } from "../wire/types.ts";
import { type FloodId, REMEMBERED_LEDGERS } from "./floodgate.ts";
import { checkValue, envelopePreimage, statementProblem, valuesOf } from "./scp_state_rules.ts";
import { isNewerStatement } from "./scp_statements.ts";
import { inSlotRange, type SlotRange } from "./tracker.ts";
import { type HashText, hashText } from "./tx_adverts_hashes.ts";

/** Slots ahead of the next one that are taken; also slots in one answer. Source: stellar-core Herder.cpp LEDGER_VALIDITY_BRACKET. */
export const LEDGER_VALIDITY_BRACKET = 100;
/** How far ahead of our clock a close time may be. Source: stellar-core Herder.cpp MAX_TIME_SLIP_SECONDS. */
export const MAX_TIME_SLIP_SECONDS = 60;

/** Slots held beyond the remembered ones: the next, those ahead, and the checkpoint's. */
const MORE_SLOTS = 1 + LEDGER_VALIDITY_BRACKET + 1;
/** Nodes heard about one slot. Pubnet has about a hundred validators. Upstream's bound is its transitive quorum. */
const MAX_NODES_PER_SLOT = 2000;
/** Nodes counted when the current slot is looked for. */
const MAX_NODES = 5000;
/** Bytes of remembered messages. Pubnet needs about one MiB. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Verdicts on signatures remembered, of envelopes and of values each. */
const MAX_VERDICTS = 100_000;
/** First ledger protocol whose values may propose the empty transaction set. Source: wire.md, StellarValue.ext 2. */
const EMPTY_TX_SET_PROTOCOL = 28;
/** A ledger's number is a uint32. */
const MAX_SLOT = 0xffffffffn;

/** Why an SCP message is neither kept nor relayed. */
export type ScpRefusal =
  | "slot_too_old"
  | "slot_too_far"
  | "own"
  | "not_trusted"
  | "insane_statement"
  | "bad_signature"
  | "bad_value"
  | "close_time"
  | "full";

/** An SCP message that was found good. */
export interface JudgedEnvelope {
  readonly id: FloodId;
  readonly slot: number;
  readonly envelope: ScpEnvelope;
  /** Transaction sets its values refer to, each once; none for a value that proposes the empty set. */
  readonly txSetHashes: readonly HashText[];
}

/** The verdict on an SCP message. */
export type ScpVerdict = { accepted: true; judged: JudgedEnvelope } | { accepted: false; reason: ScpRefusal };

/** What an {@link ScpState} is made of. */
export interface ScpStateOptions {
  clock: Clock;
  networkId: Uint8Array;
  /** Our node id, 32 bytes: statements of ours that come back are refused. */
  ownNodeId?: Uint8Array;
  /** Whose statements count; upstream takes its transitive quorum. Default: anyone's, with the bounds of this file. */
  trusts?(nodeId: Uint8Array): boolean;
  /** Nodes whose externalizing tells where the network is, 32 bytes each; all when absent or empty. */
  ledgerNodes?: Iterable<Uint8Array>;
  /** Read at every use: values that propose the empty transaction set are good from protocol 28 on. Default: always. */
  ledger?: { readonly protocolVersion: number };
  /** The network is known to be at `slot`: higher than ever before. */
  onTracking?(slot: number): void;
  /** Ledgers whose statements are kept. Default {@link REMEMBERED_LEDGERS}. Source: stellar-core MAX_SLOTS_TO_REMEMBER. */
  slotsToRemember?: number;
  /** Default 32 MiB of messages. */
  maxBytes?: number;
  /** Default 2,000. */
  maxNodesPerSlot?: number;
}

interface Held {
  readonly pledges: ScpPledges;
  readonly message: Uint8Array;
}

/** Latest statements about one slot, by node (hex). BOUNDED: `maxNodesPerSlot` each. */
interface Slot {
  readonly nominations: Map<string, Held>;
  readonly ballots: Map<string, Held>;
}

/** See the head of this file. */
export class ScpState {
  readonly #options: ScpStateOptions;
  readonly #remembered: number;
  readonly #maxBytes: number;
  readonly #maxNodesPerSlot: number;
  /** BOUNDED: {@link range}, or as many while nobody knows where the network is; `maxBytes`. */
  readonly #slots = new Map<number, Slot>();
  #bytes = 0;
  /** Of {@link ScpStateOptions.ledgerNodes}; undefined: all. */
  readonly #ledgerNodes: ReadonlySet<string> | undefined;
  /** Highest slot each node that counts externalized and spoke about. BOUNDED: {@link MAX_NODES}, and by the slots remembered. */
  readonly #nodes = new Map<string, { externalized: number; heard: number }>();
  readonly #signatures = new Verdicts<boolean>();
  /** By SHA-256 of the value: its transaction set ("" for none), or undefined when the value is bad. */
  readonly #values = new Verdicts<{ txSetHash: HashText; closeTime: bigint } | undefined>();
  #tracking: number | undefined;
  /** Signatures verified: what the two caches did not spare. */
  verified = 0;

  constructor(options: ScpStateOptions) {
    this.#options = options;
    this.#remembered = options.slotsToRemember ?? REMEMBERED_LEDGERS;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#maxNodesPerSlot = options.maxNodesPerSlot ?? MAX_NODES_PER_SLOT;
    const ledgerNodes = new Set([...options.ledgerNodes ?? []].map(hashText));
    this.#ledgerNodes = ledgerNodes.size === 0 ? undefined : ledgerNodes;
  }

  /** The slot the network decided last, as far as known. */
  get tracking(): number | undefined {
    return this.#tracking;
  }

  /** Slots whose statements are taken and kept; all of them while the network's slot is not known. */
  get range(): SlotRange {
    if (this.#tracking === undefined) return {};
    const min = Math.max(1, this.#tracking - this.#remembered + 1);
    return { min, max: this.#tracking + 1 + LEDGER_VALIDITY_BRACKET, keep: checkpointStart(this.#tracking) };
  }

  /** Slots with statements. */
  get slots(): number {
    return this.#slots.size;
  }

  /** Bytes of remembered messages. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Statements remembered about a slot. */
  statements(slot: number): number {
    const entry = this.#slots.get(slot);
    return entry === undefined ? 0 : entry.nominations.size + entry.ballots.size;
  }

  /**
   * Says where the network is; what is out of range then is forgotten. It never goes back. A node with a ledger calls this;
   * for one without, more than half of the nodes heard (of `ledgerNodes`, when there are any) having externalized a slot say it.
   */
  track(slot: number): void {
    if (this.#tracking !== undefined && slot <= this.#tracking) return;
    this.#tracking = slot;
    const { range } = this;
    for (const [index, entry] of this.#slots) if (!inSlotRange(index, range)) this.#forget(index, entry);
    for (const [node, { heard }] of this.#nodes) if (heard < range.min!) this.#nodes.delete(node);
    this.#options.onTracking?.(slot);
  }

  /**
   * Judges the bytes of an SCP_MESSAGE, cheap checks first. A signature is verified once however often it comes. Nothing is
   * remembered of the statement until {@link remember}. Source: stellar-core HerderImpl.cpp recvSCPEnvelope.
   * @throws OverlayError `xdr_invalid` when it does not decode
   */
  judge(message: Uint8Array, id: FloodId): ScpVerdict {
    const decoded = decodeMessage(message);
    if (decoded.type !== "scpMessage") return { accepted: false, reason: "insane_statement" };
    const { envelope } = decoded, { statement } = envelope, { pledges } = statement;
    const slot = Number(statement.slotIndex);
    if (statement.slotIndex > MAX_SLOT) return { accepted: false, reason: "slot_too_far" };
    const { range } = this;
    if (!inSlotRange(slot, range)) {
      return { accepted: false, reason: slot < range.min! ? "slot_too_old" : "slot_too_far" };
    }
    if (statementProblem(pledges) !== undefined) return { accepted: false, reason: "insane_statement" };
    const { ownNodeId, trusts } = this.#options;
    if (ownNodeId !== undefined && equalBytes(ownNodeId, statement.nodeId)) return { accepted: false, reason: "own" };
    if (trusts !== undefined && !trusts(statement.nodeId)) return { accepted: false, reason: "not_trusted" };
    const node = hashText(statement.nodeId);
    if (!this.#hasRoom(slot, node, pledges, message.length)) return { accepted: false, reason: "full" };
    if (!this.#isSigned(message, id, statement.nodeId, envelope.signature)) {
      return { accepted: false, reason: "bad_signature" };
    }
    const latest = BigInt(Math.floor(this.#options.clock.wallMs() / 1000) + MAX_TIME_SLIP_SECONDS);
    const txSetHashes = new Set<HashText>();
    const emptyAllowed = (this.#options.ledger?.protocolVersion ?? Infinity) >= EMPTY_TX_SET_PROTOCOL;
    let plausible = false;
    for (const bytes of valuesOf(pledges)) {
      const value = this.#value(bytes);
      if (value === undefined) return { accepted: false, reason: "bad_value" };
      if (value.closeTime <= latest) plausible = true;
      if (value.txSetHash !== "") txSetHashes.add(value.txSetHash);
      else if (!emptyAllowed) return { accepted: false, reason: "bad_value" };
    }
    if (!plausible) return { accepted: false, reason: "close_time" };
    return { accepted: true, judged: { id, slot, envelope, txSetHashes: [...txSetHashes] } };
  }

  /**
   * Remembers a statement that {@link judge} accepted; `message` is its SCP_MESSAGE and is kept, not copied. False when a
   * newer one of its node is known, or there is no room any more. Also follows the network's slot.
   */
  remember(judged: JudgedEnvelope, message: Uint8Array): boolean {
    const { slot, envelope: { statement } } = judged;
    const { pledges } = statement, node = hashText(statement.nodeId);
    if (!inSlotRange(slot, this.range) || !this.#hasRoom(slot, node, pledges, message.length)) return false;
    let entry = this.#slots.get(slot);
    if (entry === undefined) {
      if (this.#slots.size >= this.#remembered + MORE_SLOTS) this.#evictSlot();
      this.#slots.set(slot, entry = { nominations: new Map(), ballots: new Map() });
    }
    const held = pledges.type === "nominate" ? entry.nominations : entry.ballots;
    const old = held.get(node);
    const newer = old === undefined || isNewerStatement(old.pledges, pledges);
    if (newer) {
      this.#bytes += message.length - (old?.message.length ?? 0);
      held.set(node, { pledges, message });
    }
    this.#follow(node, slot, pledges.type === "externalize");
    return newer;
  }

  /**
   * What GET_SCP_STATE(`from`) is answered with: messages to send now, slot by slot, nominations before ballots, ordered by
   * node; and those of the checkpoint's first ledger, to be sent later when it lies before the contiguous slots, whatever
   * `from` is. Source: stellar-core HerderImpl.cpp sendSCPStateToPeer, Slot.cpp processCurrentState.
   */
  stateFrom(from: number): { now: Uint8Array[]; later: Uint8Array[] } {
    const tracking = this.#tracking;
    const checkpoint = tracking === undefined ? undefined : checkpointStart(tracking);
    const delayed = tracking !== undefined && checkpoint! < Math.max(1, tracking - this.#remembered);
    const slots = [...this.#slots.keys()].filter((slot) => slot >= from && !(delayed && slot === checkpoint))
      .sort((a, b) => a - b).slice(0, LEDGER_VALIDITY_BRACKET);
    return {
      now: slots.flatMap((slot) => messagesOf(this.#slots.get(slot)!)),
      later: delayed && this.#slots.has(checkpoint!) ? messagesOf(this.#slots.get(checkpoint!)!) : [],
    };
  }

  /** A node that has a place keeps it; another needs room for its message. */
  #hasRoom(slot: number, node: string, pledges: ScpPledges, bytes: number): boolean {
    const entry = this.#slots.get(slot);
    const held = pledges.type === "nominate" ? entry?.nominations : entry?.ballots;
    const old = held?.get(node)?.message.length ?? 0;
    if (this.#bytes - old + bytes > this.#maxBytes) return false;
    return held === undefined || held.has(node) || held.size < this.#maxNodesPerSlot;
  }

  #isSigned(message: Uint8Array, id: FloodId, nodeId: Uint8Array, signature: Uint8Array): boolean {
    if (signature.length !== 64) return false;
    const known = this.#signatures.get(id);
    if (known !== undefined) return known.verdict;
    this.verified++;
    const good = primitives.verify(nodeId, envelopePreimage(this.#options.networkId, message), signature);
    this.#signatures.set(id, good);
    return good;
  }

  #value(bytes: Uint8Array): { txSetHash: HashText; closeTime: bigint } | undefined {
    const key = hashText(primitives.sha256(bytes));
    const known = this.#values.get(key);
    if (known !== undefined) return known.verdict;
    const checked = checkValue(this.#options.networkId, bytes);
    let verdict: { txSetHash: HashText; closeTime: bigint } | undefined;
    if (checked !== undefined) {
      const { value, signer, preimage } = checked;
      this.verified++;
      if (primitives.verify(signer.nodeId, preimage, signer.signature)) {
        const txSetHash = value.ext.v === 1 ? hashText(value.txSetHash) : "";
        verdict = { txSetHash, closeTime: value.closeTime };
      }
    }
    this.#values.set(key, verdict);
    return verdict;
  }

  #follow(node: string, slot: number, externalized: boolean): void {
    if (this.#ledgerNodes?.has(node) === false) return;
    let known = this.#nodes.get(node);
    if (known === undefined) {
      if (this.#nodes.size >= MAX_NODES) return;
      this.#nodes.set(node, known = { externalized: 0, heard: 0 });
    }
    known.heard = Math.max(known.heard, slot);
    if (!externalized || slot <= known.externalized) return;
    known.externalized = slot;
    if (slot <= (this.#tracking ?? 0)) return;
    const tracking = this.#tracking ?? 0, ahead: number[] = [];
    for (const other of this.#nodes.values()) if (other.externalized > tracking) ahead.push(other.externalized);
    const others = this.#nodes.size >> 1; // half of the nodes; one more makes a majority
    if (ahead.length > others) this.track(ahead.sort((a, b) => b - a)[others]);
  }

  /** Of too many slots the one that the fewest nodes speak about goes, so that inventing slots does not help. */
  #evictSlot(): void {
    let least: [number, Slot] | undefined;
    const speakers = (slot: Slot) => slot.nominations.size + slot.ballots.size;
    for (const entry of this.#slots) if (least === undefined || speakers(entry[1]) < speakers(least[1])) least = entry;
    if (least !== undefined) this.#forget(...least);
  }

  #forget(index: number, slot: Slot): void {
    for (const held of slot.nominations.values()) this.#bytes -= held.message.length;
    for (const held of slot.ballots.values()) this.#bytes -= held.message.length;
    this.#slots.delete(index);
  }
}

/** First ledger of the checkpoint that holds `ledger`. Source: stellar-core HistoryManager.h firstLedgerInCheckpointContaining. */
export function checkpointStart(ledger: number): number {
  return Math.max(1, ledger - (ledger % CHECKPOINT_FREQUENCY));
}

function messagesOf(slot: Slot): Uint8Array[] {
  return [slot.nominations, slot.ballots].flatMap((held) =>
    // Hex has the order of the bytes, which is upstream's order of nodes.
    [...held.keys()].sort().map((node) => held.get(node)!.message)
  );
}

/** Two generations of verdicts: when the young one is full it becomes the old one. BOUNDED: {@link MAX_VERDICTS}. */
class Verdicts<T> {
  #young = new Map<string, { verdict: T }>();
  #old = new Map<string, { verdict: T }>();

  get(key: string): { verdict: T } | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: string, verdict: T): void {
    if (this.#young.size >= MAX_VERDICTS / 2) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, { verdict });
  }
}
