/** Messages and bytes per type and peer, in all and per second over the last seconds. Pure: time comes with the messages. */
import type { MessageTypeName } from "../../overlay/wire/messages.ts";

/** Seconds that a rate looks back. */
export const RATE_SECONDS = 10;

/** Counts of one kind of traffic. */
export interface Traffic {
  messages: number;
  bytes: number;
  /** Per second, over the last {@link RATE_SECONDS} whole seconds or as many as there were. */
  messagesPerSecond: number;
  bytesPerSecond: number;
}

/** A counter with a ring of seconds. BOUNDED: {@link RATE_SECONDS} + 1 cells. */
export class RateCounter {
  messages = 0;
  bytes = 0;
  readonly #seconds = new Float64Array(RATE_SECONDS + 1).fill(-1);
  readonly #messages = new Float64Array(RATE_SECONDS + 1);
  readonly #bytes = new Float64Array(RATE_SECONDS + 1);
  readonly #sinceMs: number;

  constructor(sinceMs: number) {
    this.#sinceMs = sinceMs;
  }

  add(atMs: number, bytes: number): void {
    this.messages++;
    this.bytes += bytes;
    const second = Math.floor(atMs / 1000), at = second % (RATE_SECONDS + 1);
    if (this.#seconds[at] !== second) {
      this.#seconds[at] = second;
      this.#messages[at] = 0;
      this.#bytes[at] = 0;
    }
    this.#messages[at]++;
    this.#bytes[at] += bytes;
  }

  /** The counts, and the rates over the whole seconds before `nowMs`. */
  traffic(nowMs: number): Traffic {
    const now = Math.floor(nowMs / 1000);
    let messages = 0, bytes = 0;
    for (let i = 0; i < this.#seconds.length; i++) {
      const age = now - this.#seconds[i];
      if (this.#seconds[i] < 0 || age < 1 || age > RATE_SECONDS) continue;
      messages += this.#messages[i];
      bytes += this.#bytes[i];
    }
    const seconds = Math.min(RATE_SECONDS, Math.max(1, now - Math.floor(this.#sinceMs / 1000)));
    return {
      messages: this.messages,
      bytes: this.bytes,
      messagesPerSecond: messages / seconds,
      bytesPerSecond: bytes / seconds,
    };
  }
}

/** All counters of a watch. BOUNDED: by the message types, and by the peers that were connected. */
export class Rates {
  readonly #startedMs: number;
  readonly #all: RateCounter;
  readonly #types = new Map<MessageTypeName, RateCounter>();
  readonly #peers = new Map<string, RateCounter>();
  readonly #peerTypes = new Map<string, Map<MessageTypeName, number>>();

  constructor(startedMs: number) {
    this.#startedMs = startedMs;
    this.#all = new RateCounter(startedMs);
  }

  add(peer: string, type: MessageTypeName, bytes: number, atMs: number): void {
    this.#all.add(atMs, bytes);
    let of = this.#types.get(type);
    if (of === undefined) this.#types.set(type, of = new RateCounter(atMs));
    of.add(atMs, bytes);
    let from = this.#peers.get(peer);
    if (from === undefined) {
      this.#peers.set(peer, from = new RateCounter(atMs));
      this.#peerTypes.set(peer, new Map());
    }
    from.add(atMs, bytes);
    const types = this.#peerTypes.get(peer)!;
    types.set(type, (types.get(type) ?? 0) + 1);
  }

  all(nowMs: number): Traffic {
    return this.#all.traffic(nowMs);
  }

  /** By type, the most frequent first. */
  types(nowMs: number): { type: MessageTypeName; traffic: Traffic }[] {
    return [...this.#types].map(([type, counter]) => ({ type, traffic: counter.traffic(nowMs) }))
      .sort((a, b) => b.traffic.messages - a.traffic.messages);
  }

  peer(peer: string, nowMs: number): Traffic {
    return (this.#peers.get(peer) ?? new RateCounter(this.#startedMs)).traffic(nowMs);
  }

  /** Messages of a peer by type. */
  peerTypes(peer: string): ReadonlyMap<MessageTypeName, number> {
    return this.#peerTypes.get(peer) ?? new Map();
  }
}
