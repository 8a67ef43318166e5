/**
 * Which messages were seen from anyone lately, for the counters of unique and duplicate traffic. Source: stellar-core
 * OverlayManagerImpl.cpp recordMessageMetric; survey.md section 8.
 */
import { primitives } from "../crypto/primitives.ts";
import type { OverlayMetrics } from "../metrics/overlay_metrics.ts";
import type { PeerMetrics } from "../peer/peer_metrics.ts";
import { hashText } from "../flood/tx_adverts_hashes.ts";

/** Messages remembered. Source: stellar-core OverlayManagerImpl.cpp, the cache of message metrics. */
export const SEEN_MESSAGES = 65_535;
/** Of a longer message only this much of its start and its end is hashed. */
const SAMPLE_BYTES = 2048;

/**
 * A name for a message that only these counters use. Of a long one its length, its start and its end are hashed: a
 * transaction set may have 10 MiB, and nobody may make us hash megabytes for a statistic. Upstream hashes all of it.
 */
export function sampleName(message: Uint8Array): string {
  if (message.length <= 2 * SAMPLE_BYTES) return hashText(primitives.sha256(message));
  const sample = new Uint8Array(2 * SAMPLE_BYTES);
  sample.set(message.subarray(0, SAMPLE_BYTES));
  sample.set(message.subarray(message.length - SAMPLE_BYTES), SAMPLE_BYTES);
  return `${message.length} ${hashText(primitives.sha256(sample))}`;
}

/** The memory. The one seen first goes first; upstream evicts at random. */
export class SeenMessages {
  /** BOUNDED: {@link SEEN_MESSAGES}. */
  readonly #names = new Set<string>();
  readonly #most: number;

  constructor(most: number = SEEN_MESSAGES) {
    this.#most = most;
  }

  get size(): number {
    return this.#names.size;
  }

  /** Whether the message is new; it is known from here on. */
  add(name: string): boolean {
    if (this.#names.has(name)) return false;
    if (this.#names.size >= this.#most) this.#names.delete(this.#names.values().next().value!);
    this.#names.add(name);
    return true;
  }
}

/** Counts unique and duplicate messages, per peer and in all. Bytes are those of StellarMessages. */
export class UniqueTraffic {
  readonly #metrics: OverlayMetrics;
  readonly #seen = new SeenMessages();

  constructor(metrics: OverlayMetrics) {
    this.#metrics = metrics;
  }

  /** A flood or survey message came; `name` is its flood id, or its {@link sampleName}. */
  flood(from: PeerMetrics, name: string, bytes: number): void {
    const { counters } = this.#metrics;
    const isNew = this.#seen.add(name);
    from.countFlood(isNew, bytes);
    if (isNew) {
      counters.uniqueFloodMessages++;
      counters.uniqueFloodBytes += bytes;
    } else {
      counters.duplicateFloodMessages++;
      counters.duplicateFloodBytes += bytes;
    }
  }

  /** A transaction set or quorum set came. */
  fetch(from: PeerMetrics, message: Uint8Array): void {
    const { counters } = this.#metrics;
    const bytes = message.length, isNew = this.#seen.add(sampleName(message));
    from.countFetch(isNew, bytes);
    if (isNew) {
      counters.uniqueFetchMessages++;
      counters.uniqueFetchBytes += bytes;
    } else {
      counters.duplicateFetchMessages++;
      counters.duplicateFetchBytes += bytes;
    }
  }
}
