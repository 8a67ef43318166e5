/**
 * The address book of a node: what we know of each (IP, listening port), when to dial it again, which addresses to dial or to
 * offer, and, for people, how the last dials ended. Everything is committed when a call returns. Source: stellar-core PeerManager.cpp; peers.md sections 1 and 2.
 */
import type { Clock } from "../base/clock.ts";
import { compareAddresses, isDialable, type PeerAddress } from "../base/peer_address.ts";
import { type Random, shuffle } from "../base/random.ts";
import type { Database, SqlRow } from "./database.ts";
import { type PeerQuery, type PeerType, RandomPeerSource, sendQuery } from "./random_peer_source.ts";

export { type PeerQuery, type PeerType, REALLY_DEAD_NUM_FAILURES_CUTOFF } from "./random_peer_source.ts";

/** What the book holds of one address. */
export interface PeerRecord {
  type: PeerType;
  /** Dials since the last success. */
  numFailures: number;
  /** Not dialed before; ms since the Unix epoch. */
  nextAttemptAt: number;
}

/**
 * `hardReset`: no failures, due now; for configured peers at start. `increase`: one failure more, before every dial. `reset`:
 * no failures, due after the shortest backoff; when our dial authenticated. Source: PeerManager.h BackOffUpdate.
 */
export type BackoffUpdate = "hardReset" | "increase" | "reset";

/** What was seen of an address. */
export interface PeerObservation {
  /** How it was met; absent leaves the type. See {@link observedType}. */
  type?: PeerType;
  /** Whether `type` rules out that it is preferred: true after HELLO, false for names of the configuration. */
  preferredKnown?: boolean;
  backoff?: BackoffUpdate;
}

/** How a node's last dial of an address ended. Instants are ms since the Unix epoch. */
export interface DialOutcome {
  /** When it ended. */
  at: number;
  /** Code of the failure; null: the node there admitted us. */
  code: string | null;
  /** When a dial last ended well; null: never. */
  admittedAt: number | null;
  /** Who answered last, strkey text; null: nobody ever did. */
  nodeId: string | null;
  /** The last round trip measured, ms. */
  rttMs: number | null;
}

/** An address with all that the book holds of it. */
export interface PeerEntry {
  address: PeerAddress;
  record: PeerRecord;
  /** Null before the first dial ended. */
  outcome: DialOutcome | null;
}

/** What an address book depends on. */
export interface PeerManagerOptions {
  /** Its wall clock. */
  clock: Clock;
  random: Random;
  /** Most records; see {@link PeerManager}. Upstream has no limit. */
  maxPeers?: number;
  /** Offer private addresses too. Source: Config.h ALLOW_PRIVATE_ADDRESSES_FOR_TESTING. */
  allowPrivate?: boolean;
  /** Offer addresses of this machine too. */
  allowLoopback?: boolean;
}

/** Records a book keeps unless told otherwise: several times the addresses of the public network. */
export const DEFAULT_MAX_KNOWN_PEERS = 10_000;
/** Rows of one random load. Source: PeerManager.cpp BATCH_SIZE. */
const BATCH_SIZE = 1000;
const SECONDS_PER_BACKOFF = 10;
const MAX_BACKOFF_EXPONENT = 10;

/** The column `type`. Source: PeerManager.h PeerType. */
const TYPES: readonly PeerType[] = ["inbound", "outbound", "preferred"];

/**
 * How long to wait before the next dial after `numFailures`, ms: 1 to 10 x 2^min(failures, 10) whole seconds, by a random
 * 32-bit number. Source: stellar-core PeerManager.cpp computeBackoff.
 */
export function backoffMs(numFailures: number, random: Random): number {
  const range = SECONDS_PER_BACKOFF * 2 ** Math.min(MAX_BACKOFF_EXPONENT, numFailures);
  return 1000 * (random.int(2 ** 32) % range + 1);
}

/**
 * The type of a record after an observation. Preferred always wins; outbound raises inbound, and lowers preferred when it is
 * known not to be; inbound only lowers preferred to outbound. Source: stellar-core PeerManager.cpp getTypeUpdate, update.
 */
export function observedType(stored: PeerType, observed: PeerType, preferredKnown: boolean): PeerType {
  switch (observed) {
    case "preferred":
      return "preferred";
    case "outbound":
      if (stored === "preferred") return preferredKnown ? "outbound" : "preferred";
      return "outbound";
    case "inbound":
      return stored === "preferred" ? "outbound" : stored;
    default:
      return observed satisfies never;
  }
}

/**
 * The book, over the table `peers`. Every method throws `db_failed`.
 *
 * BOUNDED: `maxPeers` records. A new address in a full book takes the place of the inbound one with the most failures, the
 * oldest of these. When none is inbound, a new inbound address is not stored, a new outbound or preferred one takes the place
 * of an outbound one by the same order; preferred records are never evicted, and a preferred address is always stored. So
 * gossip, which only ever adds inbound records, cannot push out or change what is configured or was reached.
 */
export class PeerManager {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #maxPeers: number;
  readonly #policy: { allowPrivate: boolean; allowLoopback: boolean };
  readonly #outboundToSend: RandomPeerSource;
  readonly #inboundToSend: RandomPeerSource;
  /** Records; counted anew when another process wrote to the file, and before anything is evicted. */
  #count: number;
  #dataVersion: number;

  /** `db` has the newest schema. */
  constructor(db: Database, options: PeerManagerOptions) {
    this.#db = db;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#maxPeers = options.maxPeers ?? DEFAULT_MAX_KNOWN_PEERS;
    this.#policy = { allowPrivate: options.allowPrivate ?? false, allowLoopback: options.allowLoopback ?? false };
    this.#outboundToSend = new RandomPeerSource(this, sendQuery("anyOutbound"));
    this.#inboundToSend = new RandomPeerSource(this, sendQuery("inbound"));
    this.#dataVersion = this.#readDataVersion();
    this.#count = this.count();
  }

  /** Records in the book. */
  count(): number {
    return Number(this.#db.prepare("SELECT count(*) AS n FROM peers").get()!.n);
  }

  /** The record of an address. An unknown one reads as inbound, without failures, due now, `known` false. */
  load(address: PeerAddress): { record: PeerRecord; known: boolean } {
    const row = this.#db.prepare("SELECT type, num_failures, next_attempt_at FROM peers WHERE host = ? AND port = ?")
      .get(address.host, address.port);
    if (row !== undefined) return { record: toRecord(row), known: true };
    return { record: { type: "inbound", numFailures: 0, nextAttemptAt: this.#now() }, known: false };
  }

  /** Stores a record as it is, new or not. False when the book is full and has no place for it. */
  store(address: PeerAddress, record: PeerRecord): boolean {
    const { changes } = this.#db.prepare(
      "UPDATE peers SET type = ?, num_failures = ?, next_attempt_at = ? WHERE host = ? AND port = ?",
    ).run(TYPES.indexOf(record.type), record.numFailures, record.nextAttemptAt, address.host, address.port);
    return changes > 0 || this.#insert(address, record);
  }

  /** Adds addresses that are not known yet, as inbound, due now; known ones stay as they are. Returns how many were added. */
  ensureExists(...addresses: PeerAddress[]): number {
    return this.#together(addresses.length > 1, () => {
      let added = 0;
      for (const address of addresses) {
        const { record, known } = this.load(address);
        if (!known && this.#insert(address, record)) added++;
      }
      return added;
    });
  }

  /** Applies an observation to the record of an address, which is added when it is unknown. Returns the record as it is now. */
  update(address: PeerAddress, seen: PeerObservation): PeerRecord {
    const { record } = this.load(address);
    if (seen.type !== undefined) record.type = observedType(record.type, seen.type, seen.preferredKnown ?? false);
    switch (seen.backoff) {
      case undefined:
        break;
      case "hardReset":
        record.numFailures = 0;
        record.nextAttemptAt = this.#now();
        break;
      case "increase":
      case "reset":
        record.numFailures = seen.backoff === "reset" ? 0 : record.numFailures + 1;
        record.nextAttemptAt = this.#now() + backoffMs(record.numFailures, this.#random);
        break;
      default:
        seen.backoff satisfies never;
    }
    this.store(address, record);
    return record;
  }

  /**
   * Stores resolved addresses of the configuration. `startup` makes them due now and without failures; later resolutions only
   * set the type. Source: stellar-core OverlayManagerImpl.cpp storePeerList, storeConfigPeers.
   */
  storeConfigPeers(
    peers: { known: readonly PeerAddress[]; preferred: readonly PeerAddress[] },
    options: { startup: boolean },
  ): void {
    const backoff = options.startup ? "hardReset" : undefined;
    this.#together(true, () => {
      for (const address of peers.known) this.update(address, { type: "outbound", backoff });
      for (const address of peers.preferred) this.update(address, { type: "preferred", backoff });
    });
  }

  /**
   * Matching addresses in random order: the larger of `size` and 1000 records from a random place of the book, or all when
   * there are fewer. Source: PeerManager.cpp loadRandomPeers.
   */
  loadRandomPeers(query: PeerQuery, size: number): PeerAddress[] {
    const limit = Math.max(size, BATCH_SIZE);
    const [from, to] = query.type === "anyOutbound" ? [1, 2] : [TYPES.indexOf(query.type), TYPES.indexOf(query.type)];
    const filter = [
      from,
      to,
      query.maxNumFailures ?? Number.MAX_SAFE_INTEGER,
      query.dueOnly ? this.#now() : Number.MAX_SAFE_INTEGER,
    ];
    const where = "type BETWEEN ? AND ? AND num_failures <= ? AND next_attempt_at <= ?";
    const count = Number(this.#db.prepare(`SELECT count(*) AS n FROM peers WHERE ${where}`).get(...filter)!.n);
    if (count === 0) return [];
    const offset = this.#random.int(Math.max(0, count - limit) + 1);
    // An order makes a seeded run repeat; which one does not matter.
    const rows = this.#db.prepare(`SELECT host, port FROM peers WHERE ${where} ORDER BY rowid LIMIT ? OFFSET ?`)
      .all(...filter, limit, offset);
    return shuffle(this.#random, rows.map(toAddress));
  }

  /**
   * Up to `size` addresses for PEERS: those with at most 10 failures that we once reached, filled up with others. Never
   * `exclude`, which is the receiver's own. Addresses that the receiver cannot reach are left out: upstream leaves out the
   * private ones only. Source: PeerManager.cpp getPeersToSend.
   */
  getPeersToSend(size: number, exclude?: PeerAddress): PeerAddress[] {
    const keep = (address: PeerAddress) =>
      isDialable(address.host, this.#policy) && (exclude === undefined || compareAddresses(address, exclude) !== 0);
    const peers = this.#outboundToSend.getRandomPeers(size, keep);
    return peers.length < size ? [...peers, ...this.#inboundToSend.getRandomPeers(size - peers.length, keep)] : peers;
  }

  /** Deletes records with at least `minNumFailures`, of one host only when `host` is given. Returns how many. */
  removePeersWithManyFailures(minNumFailures: number, host?: string): number {
    const { changes } = host === undefined
      ? this.#db.prepare("DELETE FROM peers WHERE num_failures >= ?").run(minNumFailures)
      : this.#db.prepare("DELETE FROM peers WHERE num_failures >= ? AND host = ?").run(minNumFailures, host);
    this.#count = Math.max(0, this.#count - changes);
    return changes;
  }

  /**
   * Notes how a dial of an address in the book ended; `code` null is "it admitted us". What is left out of node id and round
   * trip stays as it was. An address that is not in the book stays out of it.
   */
  noteDial(address: PeerAddress, ended: { code: string | null; nodeId?: string; rttMs?: number }): void {
    const now = this.#now();
    this.#db.prepare(
      `UPDATE peers SET outcome_at = ?, outcome_code = ?, admitted_at = coalesce(?, admitted_at),
         node_id = coalesce(?, node_id), rtt_ms = coalesce(?, rtt_ms) WHERE host = ? AND port = ?`,
    ).run(
      now,
      ended.code,
      ended.code === null ? now : null,
      ended.nodeId ?? null,
      ended.rttMs ?? null,
      address.host,
      address.port,
    );
  }

  /** Notes the last round trip to an address in the book, ms. */
  noteRtt(address: PeerAddress, rttMs: number): void {
    this.#db.prepare("UPDATE peers SET rtt_ms = ? WHERE host = ? AND port = ?").run(rttMs, address.host, address.port);
  }

  /** Deletes records, of any type. Returns how many there were. */
  forget(...addresses: PeerAddress[]): number {
    return this.#together(addresses.length > 1, () => {
      let forgotten = 0;
      for (const { host, port } of addresses) {
        forgotten += this.#db.prepare("DELETE FROM peers WHERE host = ? AND port = ?").run(host, port).changes;
      }
      this.#count = Math.max(0, this.#count - forgotten);
      return forgotten;
    });
  }

  /** The whole book, in stellar-core's order of addresses: port, then host. */
  all(): { address: PeerAddress; record: PeerRecord }[] {
    return this.entries().map(({ address, record }) => ({ address, record }));
  }

  /** The same with how the last dials ended. */
  entries(): PeerEntry[] {
    return this.#db.prepare("SELECT * FROM peers ORDER BY port, host").all().map(toEntry);
  }

  /** One address, if the book has it. */
  entry(address: PeerAddress): PeerEntry | undefined {
    const row = this.#db.prepare("SELECT * FROM peers WHERE host = ? AND port = ?").get(address.host, address.port);
    return row === undefined ? undefined : toEntry(row);
  }

  #insert(address: PeerAddress, record: PeerRecord): boolean {
    const insert = () => {
      this.#db.prepare("INSERT INTO peers (type, num_failures, next_attempt_at, host, port) VALUES (?, ?, ?, ?, ?)")
        .run(TYPES.indexOf(record.type), record.numFailures, record.nextAttemptAt, address.host, address.port);
      this.#count++;
      return true;
    };
    const version = this.#readDataVersion();
    if (version !== this.#dataVersion) {
      this.#dataVersion = version;
      this.#count = this.count();
    }
    if (this.#count < this.#maxPeers) return insert();
    return this.#db.transaction(() => {
      this.#count = this.count();
      while (this.#count >= this.#maxPeers) {
        if (this.#evict(0) || (record.type !== "inbound" && this.#evict(1))) this.#count--;
        else if (record.type === "preferred") break;
        else return false;
      }
      return insert();
    });
  }

  #evict(type: number): boolean {
    return this.#db.prepare(
      `DELETE FROM peers WHERE rowid =
         (SELECT rowid FROM peers WHERE type = ? ORDER BY num_failures DESC, rowid LIMIT 1)`,
    ).run(type).changes > 0;
  }

  /** Grows with the commits of other connections. Source: SQLite, PRAGMA data_version. */
  #readDataVersion(): number {
    return Number(this.#db.prepare("PRAGMA data_version").get()!.data_version);
  }

  /** Several changes in one commit. */
  #together<T>(many: boolean, fn: () => T): T {
    return many ? this.#db.transaction(fn) : fn();
  }

  #now(): number {
    return Math.floor(this.#clock.wallMs());
  }
}

function toAddress(row: SqlRow): PeerAddress {
  return { host: row.host as string, port: row.port as number };
}

function toRecord(row: SqlRow): PeerRecord {
  return {
    type: TYPES[row.type as number],
    numFailures: row.num_failures as number,
    nextAttemptAt: row.next_attempt_at as number,
  };
}

function toEntry(row: SqlRow): PeerEntry {
  return { address: toAddress(row), record: toRecord(row), outcome: toOutcome(row) };
}

function toOutcome(row: SqlRow): DialOutcome | null {
  if (row.outcome_at === null) return null;
  return {
    at: row.outcome_at as number,
    code: row.outcome_code as string | null,
    admittedAt: row.admitted_at as number | null,
    nodeId: row.node_id as string | null,
    rttMs: row.rtt_ms as number | null,
  };
}
