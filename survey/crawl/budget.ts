/**
 * What a crawl may take from the network it looks at, in one object: every limit is enforced here and nowhere else, and what
 * was used is counted here. The caller asks before each dial and tells the end of each visit.
 */
import { kindOfIp, subnet24 } from "../../overlay/base/peer_address.ts";

/** The limits of a crawl. Infinity switches one off. */
export interface BudgetLimits {
  /** Visits under way at once; nodes held to listen are not counted here but by {@link listenNodes}. */
  concurrency: number;
  /** Dials per second, averaged over a short moment. The default leaves this machine's own addresses alone; a given rate does not. */
  dialsPerSecond: number;
  /** Visits at once to one IP address. On this machine's own addresses each port is a host of its own. */
  perHost: number;
  /** Visits at once to one /24 (IPv6: /48). This machine's own addresses are exempt. */
  perSubnet: number;
  /** Dials in all. */
  maxDials: number;
  /** Length of the crawl. */
  maxSeconds: number;
  /** Bytes read and written in all, frames included, TCP headers not. */
  maxBytes: number;
  /** Connection seconds in all: the sum over all connections of the time they took a slot of the other side. */
  maxHeldSeconds: number;
  /** Nodes held at once to listen. */
  listenNodes: number;
  /** Addresses remembered. */
  maxAddresses: number;
  /**
   * Addresses dialled at one IP address in the whole crawl, so that nobody can send us to scan a machine's ports. Seeds and
   * this machine are exempt.
   */
  addressesPerHost: number;
  /** Addresses dialled in one /24 (IPv6: /48) in the whole crawl. Seeds and this machine are exempt. */
  addressesPerSubnet: number;
}

/** Values that an operator of the visited nodes would call polite. */
export const DEFAULT_BUDGET: BudgetLimits = {
  concurrency: 40,
  dialsPerSecond: 50,
  perHost: 4,
  perSubnet: 8,
  maxDials: 20_000,
  maxSeconds: 1800,
  maxBytes: 1_073_741_824,
  maxHeldSeconds: 36_000,
  listenNodes: 8,
  maxAddresses: 200_000,
  addressesPerHost: 16,
  addressesPerSubnet: 256,
};

/** A limit that can end a crawl before its work is done. */
export type LimitName = "maxDials" | "maxSeconds" | "maxBytes" | "maxHeldSeconds" | "maxAddresses";

/** Where a visit counts. Made once per address by {@link placeOf}. */
export interface Place {
  host: string;
  /** Undefined: exempt. */
  subnet: string | undefined;
}

/** The answer to a wish to dial. */
export type Take =
  | { kind: "ok" }
  /** The rate is used up: ask again after this time. */
  | { kind: "wait"; waitMs: number }
  /** All places are taken: ask again when any visit ended. */
  | { kind: "full" }
  /** The host or its subnet is busy: ask again when a visit with this key ended. */
  | { kind: "busy"; key: string }
  /** Never again in this crawl. */
  | { kind: "exhausted"; limit: LimitName };

/** What was used. */
export interface BudgetUse {
  dials: number;
  seconds: number;
  bytes: number;
  heldSeconds: number;
  peakConcurrency: number;
  peakPerHost: number;
  peakPerSubnet: number;
  listenNodes: number;
  addresses: number;
}

/** Limits and use as they go into the report. */
export interface BudgetSnapshot {
  limits: BudgetLimits;
  used: BudgetUse;
  limitsHit: LimitName[];
}

/** Seconds of the rate that may be taken at once: enough for a timer that fires late, too little to be felt. */
const BURST_SECONDS = 0.02;

/** The keys under which visits to an address are counted. */
export function placeOf(host: string, port: number): Place {
  if (kindOfIp(host) === "loopback") return { host: `${host} ${port}`, subnet: undefined };
  return { host, subnet: subnet24(host) };
}

/** Enforces and counts. Pure bookkeeping: time comes in as an argument. */
export class Budget {
  readonly limits: BudgetLimits;
  readonly #startedMs: number;
  readonly #burst: number;
  readonly #pacesOwnMachine: boolean;
  #tokens: number;
  #tokensAtMs: number;
  #active = 0;
  #held = 0;
  #dials = 0;
  #bytes = 0;
  #heldMs = 0;
  #addresses = 0;
  #heldInAll = 0;
  #peakActive = 0;
  #peakHost = 0;
  #peakSubnet = 0;
  #endedMs: number | undefined;
  /** Visits under way by host and by subnet. BOUNDED: by the visits under way. */
  readonly #busy = new Map<string, number>();
  readonly #hit = new Set<LimitName>();

  constructor(limits: Partial<BudgetLimits>, nowMs: number) {
    this.limits = { ...DEFAULT_BUDGET, ...limits };
    this.#pacesOwnMachine = limits.dialsPerSecond !== undefined;
    this.#startedMs = this.#tokensAtMs = nowMs;
    this.#burst = Math.max(1, this.limits.dialsPerSecond * BURST_SECONDS);
    this.#tokens = this.#burst;
  }

  /** Visits under way, held ones excepted. */
  get active(): number {
    return this.#active;
  }

  /** Nodes held to listen. */
  get held(): number {
    return this.#held;
  }

  /** Whether no visit can start before another ended. */
  get full(): boolean {
    return this.#active >= this.limits.concurrency;
  }

  /** The limit that ended the crawl, if one did. */
  exhausted(nowMs: number): LimitName | undefined {
    const { limits } = this;
    if (this.#dials >= limits.maxDials) return "maxDials";
    if (nowMs - this.#startedMs >= limits.maxSeconds * 1000) return "maxSeconds";
    return this.overrun;
  }

  /** A limit on what connections take; they must end now, those under way included. */
  get overrun(): LimitName | undefined {
    if (this.#bytes >= this.limits.maxBytes) return "maxBytes";
    if (this.#heldMs >= this.limits.maxHeldSeconds * 1000) return "maxHeldSeconds";
    return undefined;
  }

  /** Asks to dial; "ok" takes the place, which {@link release} gives back. */
  tryTake(place: Place, nowMs: number): Take {
    const limit = this.exhausted(nowMs);
    if (limit !== undefined) return { kind: "exhausted", limit };
    const { limits } = this;
    if (this.#active >= limits.concurrency) return { kind: "full" };
    const atHost = this.#busy.get(place.host) ?? 0;
    if (atHost >= limits.perHost) return { kind: "busy", key: place.host };
    const inSubnet = place.subnet === undefined ? 0 : this.#busy.get(place.subnet) ?? 0;
    if (place.subnet !== undefined && inSubnet >= limits.perSubnet) return { kind: "busy", key: place.subnet };
    if (limits.dialsPerSecond !== Infinity && (place.subnet !== undefined || this.#pacesOwnMachine)) {
      const gained = (nowMs - this.#tokensAtMs) * limits.dialsPerSecond / 1000;
      this.#tokens = Math.min(this.#burst, this.#tokens + gained);
      this.#tokensAtMs = nowMs;
      // A timer may fire a hair early; so little is no reason to wait once more.
      if (this.#tokens < 1 - 1e-6) {
        return { kind: "wait", waitMs: Math.max((1 - this.#tokens) * 1000 / limits.dialsPerSecond, 0.01) };
      }
      this.#tokens--;
    }
    this.#dials++;
    this.#active++;
    this.#busy.set(place.host, atHost + 1);
    if (place.subnet !== undefined) this.#busy.set(place.subnet, inSubnet + 1);
    if (this.#active > this.#peakActive) this.#peakActive = this.#active;
    if (atHost + 1 > this.#peakHost) this.#peakHost = atHost + 1;
    if (inSubnet + 1 > this.#peakSubnet && place.subnet !== undefined) this.#peakSubnet = inSubnet + 1;
    return { kind: "ok" };
  }

  /** Asks to hold a visit under way to listen; true moves it out of the concurrency until {@link release}. */
  tryHold(): boolean {
    if (this.#held >= this.limits.listenNodes) return false;
    this.#held++;
    this.#heldInAll++;
    this.#active--;
    return true;
  }

  /** A visit ended. `heldMs` is how long its connection lived. */
  release(place: Place, use: { held: boolean; bytes: number; heldMs: number }): void {
    if (use.held) this.#held--;
    else this.#active--;
    this.#leave(place.host);
    if (place.subnet !== undefined) this.#leave(place.subnet);
    this.#bytes += use.bytes;
    this.#heldMs += use.heldMs;
  }

  /** Bytes of a visit that is still under way; {@link release} gets only the rest. */
  addBytes(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Asks for room for one more address. */
  takeAddress(): boolean {
    if (this.#addresses >= this.limits.maxAddresses) {
      this.#hit.add("maxAddresses");
      return false;
    }
    this.#addresses++;
    return true;
  }

  /** Notes that a limit cut the crawl short. */
  hit(limit: LimitName): void {
    this.#hit.add(limit);
  }

  /** Stops the clock of {@link BudgetUse.seconds}. */
  end(nowMs: number): void {
    this.#endedMs = nowMs;
  }

  snapshot(nowMs: number): BudgetSnapshot {
    return {
      limits: { ...this.limits },
      used: {
        dials: this.#dials,
        seconds: round3(((this.#endedMs ?? nowMs) - this.#startedMs) / 1000),
        bytes: this.#bytes,
        heldSeconds: round3(this.#heldMs / 1000),
        peakConcurrency: this.#peakActive,
        peakPerHost: this.#peakHost,
        peakPerSubnet: this.#peakSubnet,
        listenNodes: this.#heldInAll,
        addresses: this.#addresses,
      },
      limitsHit: [...this.#hit],
    };
  }

  #leave(key: string): void {
    const left = this.#busy.get(key)! - 1;
    if (left === 0) this.#busy.delete(key);
    else this.#busy.set(key, left);
  }
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}
