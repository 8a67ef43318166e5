/**
 * The addresses of a crawl and the order of their visits: one queue, never levels. It knows each address once, who
 * advertised it, and which ones wait for a time or for a busy host. No operation looks at more than one entry or the top of a
 * heap.
 */
import { addressOfWire, formatAddress, kindOfIp, parsePeerAddress } from "../../overlay/base/peer_address.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { type Place, placeOf } from "./budget.ts";
import type { CrawlVisit } from "./visit_record.ts";

/** Why an address is not dialled. */
export type SkipCode =
  | "bad_address"
  | "bad_port"
  | "private_address"
  | "loopback_address"
  | "unroutable_address"
  | "own_address"
  /** Its IP address has as many addresses in this crawl as a crawl dials. */
  | "too_many_on_host"
  /** The same of its /24 or /48. */
  | "too_many_on_subnet";

/** Where an address was first learned. */
export type AddressSource = "seed" | "advertised" | "database";

/** Which addresses may be dialled. */
export interface AddressPolicy {
  /** Also private, carrier-NAT and benchmark ranges. */
  allowPrivate: boolean;
  /** Also this machine. */
  allowLoopback: boolean;
  /** `host:port` of our own doors. */
  ownAddresses: ReadonlySet<string>;
}

/** One address and what the crawl knows of it. */
export interface Entry {
  /** `host:port`, `[v6]:port`. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  source: AddressSource;
  /** Steps from a seed, by the shortest way seen. */
  depth: number;
  /** Visits begun with the crawl's own network. */
  attempts: number;
  /** Visits begun, other networks included. */
  visits: number;
  /** Node ids that sent it in PEERS, each once, in order. */
  readonly advertisedBy: Set<string>;
  /** Finished visits in order. */
  readonly outcomes: CrawlVisit[];
  /** Set when the address is not to be dialled. */
  readonly skip: SkipCode | undefined;
  /** Wall time it was learned, ms since the epoch. */
  readonly learnedAtMs: number;
  readonly place: Place;
  state: "queued" | "waiting" | "parked" | "inFlight" | "done";
  /** Node that a seed's writer expects here. */
  expected: string | undefined;
  /** Index into the list of other networks to try; undefined: our own. */
  probe: number | undefined;
  /** The only other network worth a try, when the node named it. */
  probeOnly: boolean;
}

/** For entries that are never dialled. */
const NOWHERE: Place = { host: "", subnet: undefined };

/** Why `host:port` is not dialled under a policy; undefined when it is. `host` is an IP address. */
export function skipCode(host: string, port: number, policy: AddressPolicy): SkipCode | undefined {
  if (!(port >= 1 && port <= 65535)) return "bad_port";
  switch (kindOfIp(host)) {
    case "public":
      break;
    case "private":
    case "sharedNat":
    case "benchmark":
      if (!policy.allowPrivate) return "private_address";
      break;
    case "loopback":
      if (!policy.allowLoopback) return "loopback_address";
      break;
    default:
      return "unroutable_address";
  }
  return policy.ownAddresses.size > 0 && policy.ownAddresses.has(formatAddress({ host, port }))
    ? "own_address"
    : undefined;
}

/** Text of an address in PEERS, also when its port is not usable. */
export function textOfWire(wire: WireAddress): { address: string; host: string; port: number } {
  const host = addressOfWire(wire.ip, 1)!.host;
  return { address: formatAddress({ host, port: wire.port }), host, port: wire.port };
}

/** Reads {@link Entry.address} back, also one with port 0 or above 65535. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1));
  return { host: parsePeerAddress(`${address.slice(0, colon)}:1`).host, port };
}

interface Due {
  atMs: number;
  order: number;
  entry: Entry;
}

/** Options of a {@link Frontier}. */
export interface FrontierOptions {
  policy: AddressPolicy;
  /** Asked before each new address is remembered; false: no room. */
  takeAddress: () => boolean;
  /** Addresses queued at one host and in one subnet; see {@link BudgetLimits}. No limit unless given. */
  addressesPerHost?: number;
  addressesPerSubnet?: number;
}

/** The queue. */
export class Frontier {
  /** Read at each new address. */
  readonly policy: AddressPolicy;
  readonly #takeAddress: () => boolean;
  readonly #addressesPerHost: number;
  readonly #addressesPerSubnet: number;
  /** Addresses to dial by host and by subnet, seeds not counted. BOUNDED: by the addresses. */
  readonly #atPlace = new Map<string, number>();
  /** All addresses. BOUNDED: by `takeAddress`. */
  readonly #entries = new Map<string, Entry>();
  /** Entries to visit now, from `#head` on. BOUNDED: each entry is in one place at a time. */
  #ready: Entry[] = [];
  #head = 0;
  /** Entries to visit before those. */
  #urgent: Entry[] = [];
  /** Entries whose time has not come: a binary heap by time, then order. */
  readonly #due: Due[] = [];
  #order = 0;
  /** Entries that wait for a busy host or subnet. */
  readonly #parked = new Map<string, { list: Entry[]; head: number }>();
  #parkedCount = 0;

  constructor(options: FrontierOptions) {
    this.policy = options.policy;
    this.#takeAddress = options.takeAddress;
    this.#addressesPerHost = options.addressesPerHost ?? Infinity;
    this.#addressesPerSubnet = options.addressesPerSubnet ?? Infinity;
  }

  /** Addresses known, skipped ones included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Entries that wait for their visit in any way. */
  get queued(): number {
    return this.#ready.length - this.#head + this.#urgent.length + this.#due.length + this.#parkedCount;
  }

  get(address: string): Entry | undefined {
    return this.#entries.get(address);
  }

  entries(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /**
   * Takes an address; a known one only gets shallower, and may turn out to be a seed. Without `skip` the policy decides on
   * `host`, which must be an IP address then; `skip: null` takes an address that is not dialled as such (a name). Undefined
   * when there is no room. `visited`: it was dialled in an earlier part of this crawl, so no count can forbid it. The caller
   * queues a new entry that is not skipped.
   */
  learn(
    at: { address: string; host: string; port: number },
    how: { source: AddressSource; depth: number; wallMs: number; skip?: SkipCode | null; visited?: boolean },
  ): { entry: Entry; isNew: boolean } | undefined {
    const known = this.#entries.get(at.address);
    if (known !== undefined) {
      if (how.depth < known.depth) known.depth = how.depth;
      if (how.source === "seed") known.source = "seed";
      return { entry: known, isNew: false };
    }
    if (!this.#takeAddress()) return undefined;
    let skip = how.skip === undefined ? skipCode(at.host, at.port, this.policy) : how.skip ?? undefined;
    const place = skip === undefined && how.skip === undefined ? placeOf(at.host, at.port) : NOWHERE;
    if (how.source !== "seed" && place.subnet !== undefined) {
      skip = this.#count(place.host, place.subnet, how.visited ?? false);
    }
    const entry: Entry = {
      address: at.address,
      host: at.host,
      port: at.port,
      source: how.source,
      depth: how.depth,
      attempts: 0,
      visits: 0,
      advertisedBy: new Set(),
      outcomes: [],
      skip,
      learnedAtMs: how.wallMs,
      place,
      state: "done",
      expected: undefined,
      probe: undefined,
      probeOnly: false,
    };
    this.#entries.set(entry.address, entry);
    return { entry, isNew: true };
  }

  /** Counts an address at its host and subnet; gives the code when they have enough of them. */
  #count(host: string, subnet: string, always: boolean): SkipCode | undefined {
    const atHost = this.#atPlace.get(host) ?? 0, inSubnet = this.#atPlace.get(subnet) ?? 0;
    if (!always && atHost >= this.#addressesPerHost) return "too_many_on_host";
    if (!always && inSubnet >= this.#addressesPerSubnet) return "too_many_on_subnet";
    this.#atPlace.set(host, atHost + 1).set(subnet, inSubnet + 1);
    return undefined;
  }

  /** Queues an entry behind all that are ready. */
  push(entry: Entry): void {
    entry.state = "queued";
    this.#ready.push(entry);
  }

  /** Queues an entry before all others: it was taken and could not start, or is only half done. */
  pushFirst(entry: Entry): void {
    entry.state = "queued";
    this.#urgent.push(entry);
  }

  /** Queues an entry for a later time. */
  pushAt(entry: Entry, atMs: number): void {
    entry.state = "waiting";
    const heap = this.#due;
    const due = { atMs, order: this.#order++, entry };
    let i = heap.length;
    heap.push(due);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!earlier(due, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = due;
  }

  /** Lets an entry wait until {@link unpark} is called for `key`. */
  park(entry: Entry, key: string): void {
    entry.state = "parked";
    const parked = this.#parked.get(key);
    if (parked === undefined) this.#parked.set(key, { list: [entry], head: 0 });
    else parked.list.push(entry);
    this.#parkedCount++;
  }

  /** One visit with this key ended: one entry that waited for it may be tried again. */
  unpark(key: string): void {
    const parked = this.#parked.get(key);
    if (parked === undefined) return;
    this.pushFirst(parked.list[parked.head++]);
    this.#parkedCount--;
    if (parked.head === parked.list.length) this.#parked.delete(key);
  }

  /** The next entry to visit, taken from the queue; undefined when none is ready. */
  next(nowMs: number): Entry | undefined {
    while (this.#due.length > 0 && this.#due[0].atMs <= nowMs) this.push(this.#popDue());
    if (this.#urgent.length > 0) return this.#urgent.pop();
    if (this.#head === this.#ready.length) return undefined;
    const entry = this.#ready[this.#head++];
    if (this.#head > 1024 && this.#head * 2 > this.#ready.length) {
      this.#ready = this.#ready.slice(this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** When the first entry that waits for its time falls due. */
  get nextDueMs(): number | undefined {
    return this.#due.length === 0 ? undefined : this.#due[0].atMs;
  }

  #popDue(): Entry {
    const heap = this.#due;
    const { entry } = heap[0];
    const last = heap.pop()!;
    if (heap.length > 0) {
      let i = 0;
      while (true) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && earlier(heap[child + 1], heap[child])) child++;
        if (!earlier(heap[child], last)) break;
        heap[i] = heap[child];
        i = child;
      }
      heap[i] = last;
    }
    return entry;
  }
}

function earlier(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
