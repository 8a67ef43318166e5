/**
 * Everything a node counts. The hot path is `metrics.counters.name++` and `metrics.read(type, bytes)`: numbers in plain
 * fields, no look-up by label. The tables of this file are the list of names: in JSON as they stand here, in the text
 * exposition as `stellar_overlay_` and the name in snake case. `core` is the counterpart in stellar-core's `metrics`.
 * Source: stellar-core OverlayMetrics.cpp.
 */
import type { Clock } from "../base/clock.ts";
import {
  CONTENT_TYPES,
  type ExpositionFormat,
  type Family,
  type HistogramSample,
  renderExposition,
} from "./exposition.ts";
import { BOUNDS, EXPORTED_BOUNDS, Histogram, type HistogramSummary } from "./histogram.ts";

interface Definition {
  help: string;
  /** Name in stellar-core, when it has one. */
  core?: string;
  /** Label of a family that has one value per label. */
  label?: string;
}

/** Counters: they only grow. Each has a rate over 1, 5 and 15 minutes in JSON. */
export const COUNTERS = {
  inboundAttempts: { help: "Inbound connections accepted by the listener", core: "overlay.inbound.attempt" },
  inboundEstablished: { help: "Inbound peers authenticated", core: "overlay.inbound.establish" },
  inboundRejected: { help: "Inbound connections refused before a byte was read", core: "overlay.inbound.reject" },
  outboundAttempts: { help: "Dials", core: "overlay.outbound.attempt" },
  outboundEstablished: { help: "Outbound peers authenticated", core: "overlay.outbound.establish" },
  outboundCancelled: { help: "Dials given up before they connected", core: "overlay.outbound.cancel" },
  idleTimeouts: { help: "Peers dropped for silence", core: "overlay.timeout.idle" },
  stragglerTimeouts: { help: "Peers dropped because they did not keep up", core: "overlay.timeout.straggler" },
  readErrors: {
    help: "Reads that failed: broken frames, authenticated peers that vanished",
    core: "overlay.error.read",
  },
  writeErrors: { help: "Writes that failed", core: "overlay.error.write" },
  asyncReads: { help: "Chunks read from sockets", core: "overlay.async.read" },
  asyncWrites: { help: "Writes handed to sockets", core: "overlay.async.write" },
  droppedMessages: { help: "Messages thrown away before they were sent", core: "overlay.message.drop" },
  readThrottles: { help: "Times reading paused for lack of capacity", core: "overlay.connection.read-throttle" },
  floodThrottles: { help: "Times a message waited for credit", core: "overlay.connection.flood-throttle" },
  uniqueFloodMessages: { help: "Flooded messages that were new" },
  duplicateFloodMessages: { help: "Flooded messages that were known" },
  uniqueFloodBytes: { help: "Bytes of flooded messages that were new", core: "overlay.flood.unique-recv" },
  duplicateFloodBytes: { help: "Bytes of flooded messages that were known", core: "overlay.flood.duplicate-recv" },
  uniqueFetchMessages: { help: "Fetched items that were new" },
  duplicateFetchMessages: { help: "Fetched items that were known" },
  uniqueFetchBytes: { help: "Bytes of fetched items that were new", core: "overlay.fetch.unique-recv" },
  duplicateFetchBytes: { help: "Bytes of fetched items that were known", core: "overlay.fetch.duplicate-recv" },
  broadcasts: { help: "Messages given to the flood gate to broadcast", core: "overlay.message.broadcast" },
  relayedMessages: { help: "Copies of flooded messages sent to peers", core: "overlay.flood.broadcast" },
  advertisedHashes: { help: "Transaction hashes advertised", core: "overlay.flood.advertised" },
  receivedAdvertHashes: { help: "Transaction hashes received in adverts" },
  demandedHashes: { help: "Transaction hashes demanded", core: "overlay.flood.demanded" },
  demandTimeouts: { help: "Hashes demanded again from another peer", core: "overlay.demand.timeout" },
  abandonedDemands: { help: "Demanded transactions that never came", core: "overlay.flood.abandoned-demands" },
  fulfilledDemands: { help: "Hashes demanded from us and sent", core: "overlay.flood.fulfilled" },
  unknownDemands: { help: "Hashes demanded from us that we lack", core: "overlay.flood.unfulfilled-unknown" },
  bannedDemands: { help: "Hashes demanded from us that were thrown out", core: "overlay.flood.unfulfilled-banned" },
  fetchRetries: { help: "Times the next peer was asked for an item", core: "overlay.item-fetcher.next-peer" },
  queriesOverLimit: { help: "Queries ignored because the peer sent too many" },
  ignoredMessages: { help: "Messages dropped undecoded: a watcher has no use for them" },
  subscriberOverflow: { help: "Messages that a slow subscriber missed" },
} as const satisfies Record<string, Definition>;
/** Name of a counter. */
export type CounterName = keyof typeof COUNTERS;

/** Counters with one value per label value. BOUNDED: {@link MAX_LABELS} each, the rest is counted as "other". */
export const LABELLED_COUNTERS = {
  inboundDrops: { help: "Inbound peers dropped, by reason", core: "overlay.inbound.drop", label: "reason" },
  outboundDrops: { help: "Outbound peers dropped, by reason", core: "overlay.outbound.drop", label: "reason" },
  outboundFailures: { help: "Dials that did not connect, by reason", label: "reason" },
  scpStatements: { help: "SCP messages accepted, by kind", core: "overlay.recv.scp-*", label: "kind" },
  scpDiscards: { help: "SCP messages not relayed, by reason", label: "reason" },
  surveyMessages: { help: "Survey messages received, by what became of them", label: "verdict" },
  queueDiscards: {
    help: "Messages thrown away while they waited for credit, by queue",
    core: "overlay.outbound-queue.drop-*",
    label: "queue",
  },
} as const satisfies Record<string, Definition>;
/** Name of a counter with labels. */
export type LabelledCounterName = keyof typeof LABELLED_COUNTERS;

/** Gauges: asked for when a snapshot is made. One with a label gives a value per label value. */
export const GAUGES = {
  pendingPeers: { help: "Connections in the handshake", core: "overlay.connection.pending", label: "direction" },
  authenticatedPeers: {
    help: "Authenticated peers",
    core: "overlay.connection.authenticated",
    label: "direction",
  },
  liveInbound: { help: "Inbound connections whose socket is not closed", core: "overlay.inbound.live" },
  floodRecords: { help: "Messages in the flood gate", core: "overlay.memory.flood-known" },
  queuedMessages: { help: "Messages waiting for credit, by queue", label: "queue" },
  demandRecords: { help: "Transactions with a demand under way" },
  transactions: { help: "Transactions held to answer demands" },
  fetchingItems: { help: "Items being searched", label: "kind" },
  waitingEnvelopes: { help: "SCP messages waiting for items" },
  cachedItems: { help: "Items held to answer queries", label: "kind" },
  cachedBytes: { help: "Bytes held to answer queries", label: "kind" },
  trackedLedger: { help: "Last ledger the network is known to have closed" },
  inSync: { help: "1 while new ledgers are heard of" },
  memoryBytes: { help: "Memory of the process: resident, and of it the heap in use and all of it", label: "kind" },
  surveyPhase: { help: "0 outside of a survey, 1 while collecting, 2 while reporting" },
} as const satisfies Record<string, Definition>;
/** Name of a gauge. */
export type GaugeName = keyof typeof GAUGES;

/** Distributions of times. Milliseconds in code and JSON, seconds in the text exposition. */
export const HISTOGRAMS = {
  connectionLatency: { help: "Round trip of pings", core: "overlay.connection.latency" },
  handshakeTime: { help: "From the TCP connection to authentication" },
  writeQueueDelay: { help: "From being written to being handed to the socket", core: "overlay.delay.write-queue" },
  asyncWriteDelay: { help: "Until the system took a write", core: "overlay.delay.async-write" },
  outboundQueueDelay: { help: "Wait for credit, by queue", core: "overlay.outbound-queue.*", label: "queue" },
  txPullLatency: { help: "From the first demand to the transaction", core: "overlay.flood.tx-pull-latency" },
  peerTxPullLatency: {
    help: "From the demand to the transaction of the same peer",
    core: "overlay.flood.peer-tx-pull-latency",
  },
  fetchTime: { help: "From the first question to the item, by kind", core: "overlay.fetch.*", label: "kind" },
} as const satisfies Record<string, Definition>;
/** Name of a histogram. */
export type HistogramName = keyof typeof HISTOGRAMS;

/** Label values per family. Reasons are failure codes, of which there are some fifty. */
export const MAX_LABELS = 100;
/** Message types are counted by number below this; higher ones do not exist. */
const TYPES = 32;
const PREFIX = "stellar_overlay_";

/** A value that is asked for, or one per label value. */
export type GaugeSource = () => number | Record<string, number>;

/** Per message type. */
export interface TypeCounts {
  read: number;
  written: number;
  bytesRead: number;
  bytesWritten: number;
}

/** A counter in JSON. Rates are per second, exponentially weighted as medida's meters are. */
export interface CounterJson {
  count: number;
  rate1m: number;
  rate5m: number;
  rate15m: number;
}

/** All metrics as JSON. */
export interface MetricsSnapshot {
  schema: "stellar-overlay/metrics/1";
  /** UTC, ISO 8601. */
  at: string;
  uptimeSeconds: number;
  /** By upstream's enum name, those that occurred. */
  messages: Record<string, TypeCounts>;
  counters: Record<CounterName, CounterJson>;
  labelledCounters: Record<LabelledCounterName, Record<string, number>>;
  /** Gauges that have a source. */
  gauges: Partial<Record<GaugeName, number | Record<string, number>>>;
  /** Milliseconds. */
  histograms: Record<HistogramName, HistogramSummary | Record<string, HistogramSummary>>;
}

/** What {@link OverlayMetrics} is made of. */
export interface OverlayMetricsOptions {
  clock: Clock;
  /** Upstream's enum name of a message type: `messageEnumName`. */
  typeName(type: number): string;
  /** Shown as a label of `stellar_overlay_info`. */
  version?: string;
}

const keysOf = <T extends object>(table: T) => Object.keys(table) as (keyof T & string)[];

/** See the head of this file. */
export class OverlayMetrics {
  readonly #options: OverlayMetricsOptions;
  readonly #startedMs: number;
  /** Increment these directly. */
  readonly counters: Record<CounterName, number>;
  /** By message type. */
  readonly messagesRead: number[] = new Array(TYPES).fill(0);
  readonly bytesRead: number[] = new Array(TYPES).fill(0);
  readonly messagesWritten: number[] = new Array(TYPES).fill(0);
  readonly bytesWritten: number[] = new Array(TYPES).fill(0);
  readonly #labelled: Record<LabelledCounterName, Map<string, number>>;
  /** By label value; "" in a family without label. BOUNDED: {@link MAX_LABELS}. */
  readonly #histograms: Record<HistogramName, Map<string, Histogram>>;
  readonly #gauges = new Map<GaugeName, GaugeSource>();
  readonly #collectors: (() => void)[] = [];
  readonly #rates: Record<CounterName, Rates>;

  constructor(options: OverlayMetricsOptions) {
    this.#options = options;
    this.#startedMs = options.clock.nowMs();
    this.counters = perName(COUNTERS, () => 0);
    this.#labelled = perName(LABELLED_COUNTERS, () => new Map());
    this.#histograms = perName(HISTOGRAMS, () => new Map());
    this.#rates = perName(COUNTERS, () => new Rates(this.#startedMs));
  }

  /** Counts a received message of `bytes` StellarMessage bytes. */
  read(type: number, bytes: number): void {
    this.messagesRead[type & (TYPES - 1)]++;
    this.bytesRead[type & (TYPES - 1)] += bytes;
  }

  /** Counts a message handed to the writer. */
  written(type: number, bytes: number): void {
    this.messagesWritten[type & (TYPES - 1)]++;
    this.bytesWritten[type & (TYPES - 1)] += bytes;
  }

  /** Counts under a label. `value` must come from a closed set: a failure code, a queue; never text of a remote. */
  count(name: LabelledCounterName, value: string, by = 1): void {
    const counts = this.#labelled[name];
    const key = counts.has(value) || counts.size < MAX_LABELS ? value : "other";
    counts.set(key, (counts.get(key) ?? 0) + by);
  }

  /** Sets what somebody else counts under a label; see {@link onCollect}. `value` as in {@link count}. */
  setCount(name: LabelledCounterName, value: string, total: number): void {
    this.count(name, value, total - (this.#labelled[name].get(value) ?? 0));
  }

  /** `collect` brings in counters that others keep; called before every tick, snapshot and exposition. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  /** Adds a time in ms; `label` in families that have one. */
  observe(name: HistogramName, ms: number, label = "", nowMs: number = this.#options.clock.nowMs()): void {
    const family = this.#histograms[name];
    let histogram = family.get(label);
    if (histogram === undefined) {
      if (family.size >= MAX_LABELS) return;
      family.set(label, histogram = new Histogram());
    }
    histogram.observe(ms, nowMs);
  }

  /** Says where a gauge's value comes from. */
  gauge(name: GaugeName, source: GaugeSource): void {
    this.#gauges.set(name, source);
  }

  /** Brings the rates up to now. Call it every few seconds; a snapshot does it too. */
  tick(): void {
    for (const collect of this.#collectors) collect();
    const nowMs = this.#options.clock.nowMs();
    for (const name of keysOf(COUNTERS)) this.#rates[name].update(this.counters[name], nowMs);
  }

  /** Everything as JSON. */
  snapshot(): MetricsSnapshot {
    this.tick();
    const { clock } = this.#options, nowMs = clock.nowMs();
    return {
      schema: "stellar-overlay/metrics/1",
      at: new Date(clock.wallMs()).toISOString(),
      uptimeSeconds: (nowMs - this.#startedMs) / 1000,
      messages: Object.fromEntries(this.#types().map((type) => [this.#options.typeName(type), this.#typeCounts(type)])),
      counters: perName(COUNTERS, (name) => ({ count: this.counters[name], ...this.#rates[name].json() })),
      labelledCounters: perName(LABELLED_COUNTERS, (name) => Object.fromEntries(this.#labelled[name])),
      gauges: Object.fromEntries([...this.#gauges].map(([name, source]) => [name, source()])),
      histograms: perName(HISTOGRAMS, (name) => {
        const family = this.#histograms[name];
        if (!("label" in HISTOGRAMS[name])) return (family.get("") ?? new Histogram()).summary(nowMs);
        return Object.fromEntries([...family].map(([label, histogram]) => [label, histogram.summary(nowMs)]));
      }),
    };
  }

  /** Everything as text, with the Content-Type to send it under. */
  exposition(format: ExpositionFormat = "openmetrics"): { contentType: string; text: string } {
    this.tick();
    return { contentType: CONTENT_TYPES[format], text: renderExposition(this.#families(), format) };
  }

  *#families(): Generator<Family> {
    const version = this.#options.version;
    if (version !== undefined) {
      const samples = [{ labels: { version }, value: 1 }];
      yield { type: "info", name: PREFIX.slice(0, -1), help: "This program", samples };
    }
    const uptime = (this.#options.clock.nowMs() - this.#startedMs) / 1000;
    yield {
      type: "gauge",
      name: `${PREFIX}uptime_seconds`,
      unit: "seconds",
      help: "Time since the node started",
      samples: [{ value: uptime }],
    };
    for (const [field, name, help, unit] of TYPE_FAMILIES) {
      const samples = this.#types().map((type) => ({
        labels: { type: this.#options.typeName(type) },
        value: this[field][type],
      }));
      yield { type: "counter", name: PREFIX + name, help, unit, samples };
    }
    for (const name of keysOf(COUNTERS)) {
      yield { ...headOf(name, COUNTERS[name]), type: "counter", samples: [{ value: this.counters[name] }] };
    }
    for (const name of keysOf(LABELLED_COUNTERS)) {
      const { label } = LABELLED_COUNTERS[name];
      const samples = [...this.#labelled[name]].map(([text, value]) => ({ labels: { [label]: text }, value }));
      yield { ...headOf(name, LABELLED_COUNTERS[name]), type: "counter", samples };
    }
    for (const name of keysOf(GAUGES)) {
      const value = this.#gauges.get(name)?.();
      if (value === undefined) continue;
      const definition: Definition = GAUGES[name];
      const samples = typeof value === "number"
        ? [{ value }]
        : Object.entries(value).map(([text, one]) => ({ labels: { [definition.label ?? "label"]: text }, value: one }));
      yield { ...headOf(name, definition), type: "gauge", samples };
    }
    for (const name of keysOf(HISTOGRAMS)) {
      const definition: Definition = HISTOGRAMS[name];
      const samples = [...this.#histograms[name]].map(([text, histogram]) =>
        histogramSample(histogram, definition.label === undefined ? undefined : { [definition.label]: text })
      );
      yield {
        type: "histogram",
        name: `${PREFIX}${snakeCase(name)}_seconds`,
        unit: "seconds",
        help: helpOf(definition),
        samples,
      };
    }
  }

  #types(): number[] {
    return this.messagesRead.flatMap((read, type) => read + this.messagesWritten[type] > 0 ? [type] : []);
  }

  #typeCounts(type: number): TypeCounts {
    return {
      read: this.messagesRead[type],
      written: this.messagesWritten[type],
      bytesRead: this.bytesRead[type],
      bytesWritten: this.bytesWritten[type],
    };
  }
}

const TYPE_FAMILIES = [
  ["messagesRead", "messages_read", "Messages received, by type (stellar-core: overlay.message.read)", undefined],
  ["messagesWritten", "messages_written", "Messages sent, by type (stellar-core: overlay.message.write)", undefined],
  ["bytesRead", "read_bytes", "StellarMessage bytes received, by type (stellar-core: overlay.byte.read)", "bytes"],
  ["bytesWritten", "written_bytes", "StellarMessage bytes sent, by type (stellar-core: overlay.byte.write)", "bytes"],
] as const;

function perName<N extends string, V>(table: Record<N, unknown>, make: (name: N) => V): Record<N, V> {
  return Object.fromEntries(Object.keys(table).map((name) => [name, make(name as N)])) as Record<N, V>;
}

function headOf(name: string, definition: Definition): { name: string; help: string; unit?: string } {
  const unit = name.endsWith("Bytes") ? "bytes" : undefined;
  return { name: PREFIX + snakeCase(name), help: helpOf(definition), unit };
}

function helpOf({ help, core }: Definition): string {
  return core === undefined ? help : `${help} (stellar-core: ${core})`;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

/** Cumulative, in seconds. */
function histogramSample(histogram: Histogram, labels: Record<string, string> | undefined): HistogramSample {
  const buckets: HistogramSample["buckets"] = [];
  let below = 0, at = 0;
  for (const exported of EXPORTED_BOUNDS) {
    for (; at <= exported; at++) below += histogram.buckets[at];
    buckets.push({ le: BOUNDS[exported] / 1000, count: below });
  }
  return { labels, buckets, count: histogram.count, sum: histogram.sum / 1000 };
}

/** How much a sample counts after some time, over 1, 5 and 15 minutes; of the time that was asked for last. */
let weights: { elapsedMs: number; of: number[] } = { elapsedMs: 0, of: [0, 0, 0] };

/** Rates of a counter, sampled every 5 s and weighted over 1, 5 and 15 minutes. Source: medida's EWMA. */
class Rates {
  static readonly INTERVAL_MS = 5000;
  #seen = 0;
  #lastMs: number;
  /** Per second; undefined before the first sample. */
  #rates: [number, number, number] | undefined;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
  }

  update(count: number, nowMs: number): void {
    const elapsedMs = nowMs - this.#lastMs;
    if (elapsedMs < Rates.INTERVAL_MS) return;
    const perSecond = ((count - this.#seen) * 1000) / elapsedMs;
    this.#seen = count;
    this.#lastMs = nowMs;
    const rates = this.#rates;
    if (rates === undefined) {
      this.#rates = [perSecond, perSecond, perSecond];
      return;
    }
    // All counters are brought up to date together: what they share is computed once.
    if (elapsedMs !== weights.elapsedMs) {
      weights = { elapsedMs, of: [1, 5, 15].map((minutes) => 1 - Math.exp(-elapsedMs / (minutes * 60_000))) };
    }
    for (let i = 0; i < rates.length; i++) rates[i] += weights.of[i] * (perSecond - rates[i]);
  }

  json(): { rate1m: number; rate5m: number; rate15m: number } {
    const [rate1m, rate5m, rate15m] = this.#rates ?? [0, 0, 0];
    return { rate1m, rate5m, rate15m };
  }
}
