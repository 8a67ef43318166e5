/**
 * What a watch sees, as data: one record per message of a peer, and one per thing that happens to the connections. Everything
 * here is made the same way from a live node, from a recording, and in tests.
 */
import { readUint32 } from "../../overlay/base/bytes.ts";
import type { Failure } from "../../overlay/base/errors.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { type FloodId, floodIdOf } from "../../overlay/flood/floodgate.ts";
import type { DiscardReason } from "../../overlay/flood/message_dispatcher.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import { txHashesOf } from "../../overlay/flood/tx_adverts_hashes.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import {
  MessageType,
  type MessageTypeName,
  messageTypeName,
  type ReceivedMessage,
  txSetPreimage,
} from "../../overlay/wire/messages.ts";
import { SCP_STATEMENT_TYPES, type ScpPledges } from "../../overlay/wire/types.ts";
import type { Propagation } from "./propagation.ts";

/** Kinds of things whose way through the network is measured. */
export const ITEM_KINDS = ["scp", "advert", "transaction", "txSet"] as const;
/** One of {@link ITEM_KINDS}: an SCP statement, a transaction hash that was advertised, a TRANSACTION, a transaction set. */
export type ItemKind = typeof ITEM_KINDS[number];

/** The statement of an SCP_MESSAGE, read without decoding the rest. */
export interface ScpHead {
  /** `G...` of who said it. */
  validator: string;
  /** The ledger it is about. */
  slot: bigint;
  statement: ScpPledges["type"];
  /**
   * Why the node did not take it, `bad_signature` for one; undefined when it did. Only what it took counts on the board: a
   * peer can make up the rest.
   */
  refusal?: DiscardReason;
}

/** Where one copy of a thing stands among the copies of all peers. */
export interface Copy {
  /** 1 for the first copy, 2 for the second peer that brought it, ...; 0: this peer had brought it before. */
  rank: number;
  /** Time after the first copy, ms. */
  behindMs: number;
}

/** Every record has its instant on the node's monotonic clock, and on the wall clock, ms. */
interface Timed {
  atMs: number;
  wallMs: number;
}

/** A peer sent a message. */
export interface WatchMessage extends Timed {
  kind: "message";
  /** `G...` of the peer. */
  peer: string;
  type: MessageTypeName;
  /** Of the StellarMessage. */
  bytes: number;
  /** Decoded when `decode()` is called. Its bytes are a view on the read buffer, unless the record came out of the iterable. */
  message: ReceivedMessage;
  /** Of an SCP_MESSAGE. */
  scp?: ScpHead;
  /** Of what is measured, adverts excepted. */
  copy?: Copy;
  /** Of a FLOOD_ADVERT: its hashes, and how many of them no peer had advertised before. */
  advert?: { hashes: number; fresh: number };
  /**
   * Names the message, hex: of an SCP_MESSAGE its BLAKE2b-256 as stellar-core's flood map has it, of a TRANSACTION and a
   * transaction set the SHA-256 that the network knows it by.
   */
  id?(): string;
}

/** A peer as it stands; one per peer and second. */
export interface WatchPeerStatus extends Timed {
  kind: "status";
  peer: string;
  address: string;
  versionStr: string;
  overlayVersion: number;
  connectedMs: number;
  /** Last ping, ms; undefined while unknown. */
  rttMs: number | undefined;
  /** What it may still send us, and what we may still send it: flood messages and bytes. */
  creditGiven: { messages: number; bytes: number };
  creditHeld: { messages: number; bytes: number };
  /** Messages that wait for its credit. */
  queued: number;
  /** Flood messages that nobody, or somebody, had sent before. */
  uniqueFlood: number;
  duplicateFlood: number;
}

/** What happens to the connections, and to our sight of the network. `target` is the address as the user gave it. */
export type WatchEvent =
  & Timed
  & (
    | { kind: "dialing"; target: string; address: string; attempt: number }
    | {
      kind: "connected";
      peer: string;
      address: string;
      target: string | undefined;
      versionStr: string;
      overlayVersion: number;
    }
    /** A connection ended that had been authenticated, or was refused before (`peer` undefined before HELLO). */
    | {
      kind: "dropped";
      peer: string | undefined;
      address: string;
      target: string | undefined;
      by: "us" | "remote";
      /** May hold text of the remote: escape it. */
      reason: string;
      failure: Failure;
      authenticated: boolean;
      connectedMs: number;
    }
    /** No connection came about: DNS, TCP. */
    | { kind: "dialFailed"; target: string; address: string; failure: Failure }
    /** The next dial of a target that is not connected. */
    | { kind: "waiting"; target: string; address: string; delayMs: number }
    | { kind: "syncLost"; ledgerSeq: number | undefined; silentMs: number }
    | { kind: "syncGained"; ledgerSeq: number; outOfSyncMs: number }
    /** The network closed a ledger, as far as statements say. */
    | { kind: "ledger"; ledgerSeq: number }
    /** Records that a slow reader of the iterable missed; the analyses missed nothing. */
    | { kind: "missed"; records: number }
  );

/** One of all. */
export type WatchRecord = WatchMessage | WatchPeerStatus | WatchEvent;

const STATEMENTS: readonly (ScpPledges["type"] | undefined)[] = (() => {
  const names: ScpPledges["type"][] = [];
  for (const [name, number] of Object.entries(SCP_STATEMENT_TYPES)) names[number] = name as ScpPledges["type"];
  return names;
})();

/** Least length of an SCP_MESSAGE: type, key type, node id, slot, statement type. */
const SCP_HEAD_BYTES = 52;
/** Names of validators remembered: making one costs a checksum and 56 characters. */
const MAX_NAMES = 5000;

/** Makes message records. One per watch, for it remembers names. */
export class RecordMaker {
  readonly #propagation: Propagation | undefined;
  /** Strkey by raw bytes. BOUNDED: {@link MAX_NAMES}, then it starts anew. */
  readonly #names = new Map<string, string>();

  /** With `propagation` every copy is counted there, and records have `copy` and `advert`. */
  constructor(propagation?: Propagation) {
    this.#propagation = propagation;
  }

  /**
   * The record of one message. `id` is the flood id of an SCP_MESSAGE, when the caller has it. Undefined for a type that does
   * not exist.
   */
  message(
    peer: string,
    message: ReceivedMessage,
    wallMs: number,
    options: { id?: FloodId; refusal?: DiscardReason } = {},
  ): WatchMessage | undefined {
    const { bytes, type, receivedAtMs: atMs } = message;
    const name = messageTypeName(type);
    if (name === undefined) return undefined;
    const record: WatchMessage = { kind: "message", atMs, wallMs, peer, type: name, bytes: bytes.length, message };
    const propagation = this.#propagation;
    switch (type) {
      case MessageType.scpMessage: {
        const scp = this.scpHead(bytes);
        if (scp === undefined) break;
        if (options.refusal !== undefined) scp.refusal = options.refusal;
        record.scp = scp;
        const id = options.id ?? floodIdOf(bytes);
        record.id = () => hexOf(id);
        // What is not signed by whom it names is nobody's statement.
        if (options.refusal !== "bad_signature") record.copy = propagation?.see("scp", id, peer, atMs);
        break;
      }
      case MessageType.transaction: {
        const hash = transactionHash(bytes);
        record.id = () => hash;
        record.copy = propagation?.see("transaction", hash, peer, atMs);
        break;
      }
      case MessageType.txSet:
      case MessageType.generalizedTxSet: {
        const hash = txSetHash(bytes);
        record.id = () => hash;
        record.copy = propagation?.see("txSet", hash, peer, atMs);
        break;
      }
      case MessageType.floodAdvert: {
        const hashes = txHashesOf(bytes);
        let fresh = 0;
        for (const hash of hashes) if (propagation?.see("advert", hash, peer, atMs).rank === 1) fresh++;
        record.advert = { hashes: hashes.length, fresh };
        break;
      }
    }
    return record;
  }

  /** Who speaks about which slot; undefined when the bytes are no SCP_MESSAGE. */
  scpHead(bytes: Uint8Array): ScpHead | undefined {
    if (bytes.length < SCP_HEAD_BYTES || readUint32(bytes, 0) !== MessageType.scpMessage) return undefined;
    const statement = STATEMENTS[readUint32(bytes, 48)];
    if (statement === undefined || readUint32(bytes, 4) !== 0) return undefined;
    const slot = (BigInt(readUint32(bytes, 40)) << 32n) | BigInt(readUint32(bytes, 44));
    return { validator: this.#nameOf(bytes.subarray(8, 40)), slot, statement };
  }

  #nameOf(nodeId: Uint8Array): string {
    const key = String.fromCharCode(...nodeId);
    let name = this.#names.get(key);
    if (name === undefined) {
      if (this.#names.size >= MAX_NAMES) this.#names.clear();
      this.#names.set(key, name = encodeNodeId(nodeId));
    }
    return name;
  }
}

/** The hash of a TX_SET or GENERALIZED_TX_SET, hex. */
function txSetHash(message: Uint8Array): string {
  const parts = txSetPreimage(message);
  if (parts.length === 1) return toHex(primitives.sha256(parts[0]));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return toHex(primitives.sha256(whole));
}

function hexOf(id: FloodId): string {
  return toHex(Uint8Array.from(id, (char) => char.charCodeAt(0)));
}
