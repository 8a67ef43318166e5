/**
 * What recorded sessions imply for a node that hears them: worked out from their frames with stellar-base and Node's crypto, by
 * the rules of the protocol and without the engine. Several sessions may be heard at once, on one clock.
 */
import * as base from "@stellar/stellar-base";
import { Buffer } from "node:buffer";
import { createHash, createPublicKey, verify } from "node:crypto";
import { splitFrame } from "./fixtures.ts";
import type { Timed } from "./session_player.ts";

type Counts = Record<string, { count: number; bytes: number }>;

/** How the node listens. */
export interface Listening {
  passphrase: string;
  /** Whether an SCP message waits for its quorum set and transaction sets, as a validator has it. */
  fetches: boolean;
  /** When the rounds of demands begin, and how long after the last frame the node is looked at, ms. */
  demandPeriodMs: number;
  lingerMs: number;
}

/** See {@link implied}. */
export interface Implied {
  /** Messages and StellarMessage bytes by type, as stellar-base names it. */
  byType: Counts;
  /** The same of flooded and of fetched messages, first copies and others apart. */
  flood: Record<"unique" | "duplicate", { count: number; bytes: number }>;
  fetch: Record<"unique" | "duplicate", { count: number; bytes: number }>;
  scp: {
    /** Different SCP messages. */
    distinct: number;
    /** How often one came that was neither remembered as known nor had been processed: what subscribers see. */
    fresh: number;
    /** Those that are good and complete, in the order in which they become so; hex. */
    ready: string[];
    /** Those that wait for items at the end. */
    waiting: number;
    /** Statements in {@link ready} by kind. */
    kinds: Record<string, number>;
    discards: Record<string, number>;
  };
  adverts: { hashes: number; distinct: Set<string> };
  /** Hashes that a round finds advertised and the transaction not here. */
  demanded: Set<string>;
  /** Different transactions by hash, hex. */
  transactions: Map<string, Buffer>;
  /** Of these, how many were not yet kept for four ledgers at the end. */
  keptTransactions: number;
  /** Of {@link demanded}, those that came. */
  pulled: number;
  /** The ledger that the network is at. */
  tracked: number | undefined;
  /** Per session: what a node grants that processes every message at once. */
  grants: { messages: number; bytes: number }[][];
  /** Items that came and that a message needs, by kind. */
  items: { quorumSets: number; txSets: number };
}

const FLOOD = new Set(["scpMessage", "transaction", "floodAdvert", "floodDemand"]);
const SURVEY = /^timeSliced/;
const FETCHED = new Set(["txSet", "generalizedTxSet", "scpQuorumset"]);
const REMEMBERED = 12;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

/** Whether `key` signed, by Node's own Ed25519. */
function isSigned(key: Buffer, preimage: Buffer, signature: Buffer): boolean {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key]);
  return verify(null, preimage, createPublicKey({ key: der, format: "der", type: "spki" }), signature);
}

interface Statement {
  hex: string;
  slot: number;
  node: string;
  kind: string;
  externalizes: boolean;
  needs: { quorumSet: string; txSets: string[] };
}

/** Reads an SCP_MESSAGE, and throws when it or one of its values is not signed. */
function readStatement(networkId: Buffer, message: Buffer): Statement {
  const envelope = base.xdr.StellarMessage.fromXDR(message).envelope(), statement = envelope.statement();
  const node = statement.nodeId().ed25519();
  const preimage = Buffer.concat([networkId, Buffer.from([0, 0, 0, 1]), statement.toXDR()]);
  if (!isSigned(node, preimage, envelope.signature())) throw new Error("an SCP message with a wrong signature");
  const pledges = statement.pledges();
  let quorumSet: Buffer, values: Buffer[];
  const kind = pledges.switch().name;
  switch (kind) {
    case "scpStNominate": {
      const nominate = pledges.nominate();
      quorumSet = nominate.quorumSetHash();
      values = [...nominate.votes(), ...nominate.accepted()];
      break;
    }
    case "scpStPrepare": {
      const prepare = pledges.prepare();
      quorumSet = prepare.quorumSetHash();
      values = [prepare.ballot(), prepare.prepared(), prepare.preparedPrime()].flatMap((b) => b ? [b.value()] : []);
      break;
    }
    case "scpStConfirm":
      quorumSet = pledges.confirm().quorumSetHash();
      values = [pledges.confirm().ballot().value()];
      break;
    default:
      quorumSet = pledges.externalize().commitQuorumSetHash();
      values = [pledges.externalize().commit().value()];
  }
  const txSets = values.map((bytes) => {
    const value = base.xdr.StellarValue.fromXDR(bytes);
    const signed = value.ext().lcValueSignature();
    const preimage = Buffer.concat([
      networkId,
      Buffer.from([0, 0, 0, 4]),
      value.txSetHash(),
      value.closeTime().toXDR(),
    ]);
    if (!isSigned(signed.nodeId().ed25519(), preimage, signed.signature())) {
      throw new Error("a value without signature");
    }
    return value.txSetHash().toString("hex");
  });
  return {
    hex: message.toString("hex"),
    slot: Number(statement.slotIndex().toString()),
    node: node.toString("hex"),
    kind: kind.replace("scpSt", "").toLowerCase(),
    externalizes: kind === "scpStExternalize",
    needs: { quorumSet: quorumSet.toString("hex"), txSets: [...new Set(txSets)] },
  };
}

/** Follows `frames`, in the order of their times, of any number of sessions. */
export function implied(frames: readonly Timed[], sessions: number, listening: Listening): Implied {
  return new Model(frames, sessions, listening).result;
}

class Model {
  readonly result: Implied;
  readonly #networkId: Buffer;
  readonly #fetches: boolean;
  /** Flood records: message and the count of ledgers when it was made. */
  readonly #records = new Map<string, number>();
  /** Messages that were ready, by slot. */
  readonly #processed = new Map<string, number>();
  readonly #seen = new Set<string>();
  readonly #distinctScp = new Set<string>();
  readonly #waiting = new Map<string, Statement>();
  readonly #items = new Set<string>();
  readonly #externalized = new Map<string, number>();
  readonly #heard = new Set<string>();
  readonly #pool = new Map<string, number>();
  readonly #arrivedAt = new Map<string, number>();
  readonly #advertisedAt = new Map<string, number>();
  readonly #open: { messages: number; bytes: number }[];
  #firstTracked: number | undefined;

  constructor(frames: readonly Timed[], sessions: number, listening: Listening) {
    this.#networkId = sha256(Buffer.from(listening.passphrase));
    this.#fetches = listening.fetches;
    this.#open = Array.from({ length: sessions }, () => ({ messages: 0, bytes: 0 }));
    const nothing = () => ({ unique: { count: 0, bytes: 0 }, duplicate: { count: 0, bytes: 0 } });
    this.result = {
      byType: {},
      flood: nothing(),
      fetch: nothing(),
      scp: { distinct: 0, fresh: 0, ready: [], waiting: 0, kinds: {}, discards: {} },
      adverts: { hashes: 0, distinct: new Set() },
      demanded: new Set(),
      transactions: new Map(),
      keptTransactions: 0,
      pulled: 0,
      tracked: undefined,
      grants: Array.from({ length: sessions }, () => [{ messages: 200, bytes: 300_000 }]),
      items: { quorumSets: 0, txSets: 0 },
    };
    for (const frame of frames) this.#take(frame);
    this.#finish((frames.at(-1)?.atMs ?? 0) + listening.lingerMs, listening.demandPeriodMs);
  }

  #take({ atMs, session, frame }: Timed): void {
    const { result } = this;
    const message = Buffer.from(splitFrame(frame.bytes).message), hex = message.toString("hex");
    const parsed = base.xdr.StellarMessage.fromXDR(message), { type } = frame;
    if (parsed.switch().name !== type) throw new Error(`line ${frame.line} is not ${type}`);
    add(result.byType[type] ??= { count: 0, bytes: 0 }, message.length);
    if (FLOOD.has(type) || SURVEY.test(type)) add(result.flood[this.#isNew(hex)], message.length);
    if (FETCHED.has(type)) add(result.fetch[this.#isNew(hex)], message.length);
    if (FLOOD.has(type)) this.#giveBack(session, message.length);
    switch (type) {
      case "scpMessage":
        this.#onScp(message);
        break;
      case "floodAdvert":
        for (const hash of parsed.floodAdvert().txHashes() as unknown as Buffer[]) {
          const text = hash.toString("hex");
          result.adverts.hashes++;
          result.adverts.distinct.add(text);
          if (!this.#advertisedAt.has(text)) this.#advertisedAt.set(text, atMs);
        }
        break;
      case "transaction": {
        const hash = sha256(parsed.transaction().toXDR()).toString("hex");
        this.#records.set(hex, this.#records.get(hex) ?? this.#ledgersClosed);
        if (this.#arrivedAt.has(hash)) break;
        this.#arrivedAt.set(hash, atMs);
        result.transactions.set(hash, message);
        this.#pool.set(hash, this.#ledgersClosed);
        break;
      }
      case "scpQuorumset":
        this.#onItem(sha256(parsed.qSet().toXDR()).toString("hex"), "quorumSets");
        break;
      case "generalizedTxSet":
        this.#onItem(sha256(parsed.generalizedTxSet().toXDR()).toString("hex"), "txSets");
        break;
    }
  }

  #isNew(hex: string): "unique" | "duplicate" {
    if (this.#seen.has(hex)) return "duplicate";
    this.#seen.add(hex);
    return "unique";
  }

  /** flow-control.md section 3. */
  #giveBack(session: number, bytes: number): void {
    const open = this.#open[session];
    open.messages++;
    open.bytes += bytes;
    if (open.messages < 40 && open.bytes < 100_000) return;
    this.result.grants[session].push({ ...open });
    open.messages = open.bytes = 0;
  }

  get #ledgersClosed(): number {
    return this.#firstTracked === undefined ? 0 : this.result.tracked! - this.#firstTracked + 1;
  }

  /** flooding.md section 3. */
  #inRange(slot: number): boolean {
    const { tracked } = this.result;
    if (tracked === undefined) return true;
    const checkpoint = Math.max(1, tracked - tracked % 64);
    return slot === checkpoint || (slot >= Math.max(1, tracked - REMEMBERED + 1) && slot <= tracked + 101);
  }

  #onScp(message: Buffer): void {
    const { scp } = this.result;
    const statement = readStatement(this.#networkId, message);
    this.#distinctScp.add(statement.hex);
    const known = this.#records.has(statement.hex) || this.#processed.has(statement.hex);
    if (!this.#records.has(statement.hex)) this.#records.set(statement.hex, this.#ledgersClosed);
    if (known) return;
    scp.fresh++;
    if (this.#inRange(statement.slot)) this.#advance(statement);
    else this.#discard(statement, statement.slot < this.result.tracked! ? "slot_too_old" : "slot_too_far");
  }

  #advance(statement: Statement): void {
    const { quorumSet, txSets } = statement.needs;
    if (this.#fetches && ![quorumSet, ...txSets].every((hash) => this.#items.has(hash))) {
      this.#waiting.set(statement.hex, statement);
      return;
    }
    this.#waiting.delete(statement.hex);
    this.#processed.set(statement.hex, statement.slot);
    const { scp } = this.result;
    scp.ready.push(statement.hex);
    scp.kinds[statement.kind] = (scp.kinds[statement.kind] ?? 0) + 1;
    this.#follow(statement);
  }

  #discard(statement: Statement, reason: string): void {
    const { discards } = this.result.scp;
    discards[reason] = (discards[reason] ?? 0) + 1;
    this.#records.delete(statement.hex);
  }

  /** An item counts when somebody waits for it. */
  #onItem(hash: string, kind: "quorumSets" | "txSets"): void {
    if (this.#items.has(hash)) return;
    // The last one that waits goes first. Source: stellar-core Tracker.cpp pop.
    const waiting = [...this.#waiting.values()].filter(({ needs }) =>
      needs.quorumSet === hash || needs.txSets.includes(hash)
    ).reverse();
    if (waiting.length === 0) return;
    this.#items.add(hash);
    this.result.items[kind]++;
    for (const statement of waiting) if (this.#waiting.has(statement.hex)) this.#advance(statement);
  }

  /** The network is at the highest slot that more than half of the nodes heard have externalized. */
  #follow({ node, slot, externalizes }: Statement): void {
    const { result } = this;
    this.#heard.add(node);
    if (!externalizes) return;
    this.#externalized.set(node, Math.max(slot, this.#externalized.get(node) ?? 0));
    const majority = Math.floor(this.#heard.size / 2) + 1;
    const highest = [...this.#externalized.values()].sort((a, b) => b - a)[majority - 1];
    if (highest === undefined || highest <= (result.tracked ?? 0)) return;
    this.#firstTracked ??= highest;
    result.tracked = highest;
    const oldest = this.#ledgersClosed - REMEMBERED + 1;
    for (const [hex, made] of this.#records) if (made < oldest) this.#records.delete(hex);
    for (const [hex, slot] of this.#processed) if (!this.#inRange(slot)) this.#processed.delete(hex);
    for (const statement of [...this.#waiting.values()]) {
      if (this.#inRange(statement.slot)) continue;
      this.#waiting.delete(statement.hex);
      this.#discard(statement, "out_of_range");
    }
  }

  #finish(endMs: number, periodMs: number): void {
    const { result } = this;
    result.scp.distinct = this.#distinctScp.size;
    result.scp.waiting = this.#waiting.size;
    for (const [hash, advertisedMs] of this.#advertisedAt) {
      const roundMs = Math.ceil(advertisedMs / periodMs) * periodMs;
      const arrivedMs = this.#arrivedAt.get(hash);
      if (roundMs > endMs || (arrivedMs !== undefined && arrivedMs <= roundMs)) continue;
      result.demanded.add(hash);
      if (arrivedMs !== undefined) result.pulled++;
    }
    for (const made of this.#pool.values()) if (this.#ledgersClosed - made < 4) result.keptTransactions++;
  }
}

function add(sum: { count: number; bytes: number }, bytes: number): void {
  sum.count++;
  sum.bytes += bytes;
}
