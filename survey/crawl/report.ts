/**
 * A crawl as JSON and in short. All keys are camelCase with the unit in the name, node ids are `G...`, hashes lower-case hex,
 * 64-bit numbers strings, times RFC 3339 UTC. Text from remotes is as received, made valid Unicode: escape it before showing.
 */
import { describeFailure, hintFor } from "../../overlay/base/errors.ts";
import { VERSION } from "../../overlay/base/version.ts";
import { percentile } from "../probe/statistics.ts";
import type { BudgetLimits, BudgetSnapshot, LimitName } from "./budget.ts";
import type { CrawlReport } from "./crawler.ts";
import type { AddressSource, Entry, SkipCode } from "./frontier.ts";
import type { QuorumSetJson, ScpSnapshot } from "./scp_observer.ts";
import { bestOutcome, codeOf, type CrawlState, type CrawlVisit } from "./visit_record.ts";

/** The document's name and version. */
export const CRAWL_SCHEMA = "stellar-overlay/crawl/1";

/** What edges mean. */
export const EDGES_NOTE =
  "edges are address-book entries told in PEERS, not connections: they say whom a node has heard of";

/** What a node can be in a report: as an address, or known from its statements only. */
export type NodeState = CrawlState | "heard";

/** Round trips, ms. */
export interface RttMs {
  min: number;
  median: number;
  p95: number;
}

/** A node of the document. */
export interface NodeRow {
  nodeId: string;
  addresses: string[];
  state: NodeState;
  code: string | null;
  hint: string | null;
  versionStr: string | null;
  overlayVersion: number | null;
  overlayMinVersion: number | null;
  ledgerVersion: number | null;
  listeningPort: number | null;
  /** Name of its network, or the id in hex; null when only heard of. */
  network: string | null;
  /** AUTH came through at one address at least: it holds the key of its id. */
  authenticated: boolean;
  /** It sent statements of others; null: not listened to. */
  relaying: boolean | null;
  /** Its own statements keep up; null: nobody was listened to. */
  validating: boolean | null;
  lastSlot: string | null;
  lastStatement: string | null;
  /** Median time behind the first EXTERNALIZE of a slot. */
  lagMs: number | null;
  lagSlots: number;
  quorumSetHash: string | null;
  rttMs: RttMs | null;
  certExpiresAt: string | null;
  advertises: string[];
  advertisedBy: number;
  firstSeenAt: string;
}

/** One visit to an address. */
export interface OutcomeRow {
  at: string;
  state: CrawlState;
  code: string | null;
  durationMs: number;
  nodeId: string | null;
  attempt: number;
  /** Network whose HELLO was sent. */
  network: string;
  hint: string | null;
  detail: string | null;
  remoteText: string | null;
}

/** An address of the document. */
export interface AddressRow {
  address: string;
  source: AddressSource;
  /** Best state of all outcomes; "queued" when the crawl ended before its visit. */
  state: CrawlState | "queued";
  code: string | null;
  advertisedByCount: number;
  /** The first {@link MAX_ADVERTISERS} of them; the edges have all. */
  advertisedBy: string[];
  outcomes: OutcomeRow[];
}

/** Numbers of a crawl, counted the way a sceptical reader would: each step apart. */
export interface CrawlCounts {
  addresses: number;
  /** Distinct addresses found in PEERS. */
  advertised: number;
  /** Not dialled by policy. */
  skipped: number;
  /** Distinct addresses dialled, and dials made. */
  dialled: number;
  visits: number;
  /** Addresses where TCP answered. */
  reached: number;
  /** Addresses where HELLO arrived with a valid certificate. */
  identified: number;
  /** Addresses where AUTH came through. */
  authenticated: number;
  /** Not visited when the crawl ended. */
  queued: number;
  nodes: number;
  edges: number;
  validators: number;
  /** Most frequent first. */
  addressesByState: StateCount<AddressRow["state"]>[];
  /** Most frequent first. */
  nodesByState: StateCount<NodeState>[];
}

/** How many are in a state. */
export interface StateCount<S extends string> {
  state: S;
  count: number;
}

/** A quorum set of the document. */
export interface QuorumSetRow extends QuorumSetJson {
  /** Lower-case hex. */
  hash: string;
}

/** One edge: `from` told `to` in PEERS. */
export interface EdgeRow {
  from: string;
  to: string;
  kind: "advertised";
}

/** A node that was heard in consensus. */
export interface ValidatorRow {
  nodeId: string;
  validating: boolean;
  lastSlot: string;
  lastStatement: string;
  lagMs: number | null;
  lagSlots: number;
  quorumSetHash: string;
  /** It answered at an address of this crawl. */
  reached: boolean;
}

/** The whole document. */
export interface CrawlDocument {
  schema: typeof CRAWL_SCHEMA;
  run: {
    id: number | null;
    network: string;
    networkId: string;
    nodeId: string;
    startedAt: string;
    endedAt: string;
    durationMs: number;
    complete: boolean;
    interrupted: boolean;
    /** What ended the crawl early, when something did: its database failed. */
    failure: { code: string; detail: string; hint: string | null } | null;
    tool: { name: string; version: string };
    seeds: string[];
    options: CrawlReport["options"];
    limitsHit: LimitName[];
    counts: CrawlCounts;
  };
  budget: { limits: { [L in keyof BudgetLimits]: number | null }; used: BudgetSnapshot["used"] };
  nodes: NodeRow[];
  addresses: AddressRow[];
  edges: EdgeRow[];
  validators: ValidatorRow[];
  /** Named in quorum sets and not heard. */
  missingValidators: string[];
  /** By hash. */
  quorumSets: QuorumSetRow[];
  note: string;
}

/** Advertisers listed per address. */
export const MAX_ADVERTISERS = 20;

/** A report with what follows from it, so that document and summary count once. */
export interface CrawlView {
  report: CrawlReport;
  nodes: NodeRow[];
  edges: EdgeRow[];
  counts: CrawlCounts;
  summary: CrawlSummary;
}

/** Builds what document and summary share. */
export function viewOf(report: CrawlReport): CrawlView {
  const nodes = nodeRows(report);
  const edges = edgeRows(nodes);
  const counts = countsOf(report, nodes, edges);
  return { report, nodes, edges, counts, summary: summarise(report, nodes, counts) };
}

/** The JSON document of a crawl. */
export function crawlDocument(view: CrawlView | CrawlReport): CrawlDocument {
  const { report, nodes, edges, counts } = "report" in view ? view : viewOf(view);
  const { budget, failure, scp } = report;
  return {
    schema: CRAWL_SCHEMA,
    run: {
      id: report.runId ?? null,
      network: report.network.name,
      networkId: report.network.networkId,
      nodeId: report.nodeId,
      startedAt: timeText(report.startedAtMs),
      endedAt: timeText(report.endedAtMs),
      durationMs: round(report.durationMs),
      complete: report.complete,
      interrupted: report.interrupted,
      failure: failure === undefined ? null : {
        code: failure.code,
        detail: wellFormed(describeFailure(failure)),
        hint: hintFor(failure) || null,
      },
      tool: { name: "stellar-overlay", version: VERSION },
      seeds: report.seeds.map(wellFormed),
      options: report.options,
      limitsHit: budget.limitsHit,
      counts,
    },
    budget: {
      limits: Object.fromEntries(
        Object.entries(budget.limits).map(([name, limit]) => [name, Number.isFinite(limit) ? limit : null]),
      ) as CrawlDocument["budget"]["limits"],
      used: budget.used,
    },
    nodes,
    addresses: report.addresses.map(addressRow),
    edges,
    validators: validatorRows(scp, nodes),
    missingValidators: scp?.missing ?? [],
    quorumSets: [...(scp?.quorumSets ?? [])].sort(byKey).map(([hash, set]) => ({ hash, ...set })),
    note: EDGES_NOTE,
  };
}

/** One NDJSON line for a finished visit. */
export function visitRecord(visit: CrawlVisit): Record<string, unknown> {
  const { hello } = visit;
  return {
    type: "visit",
    address: wellFormed(visit.address),
    ...outcomeRow(visit),
    depth: visit.depth,
    final: visit.retryAtMs === undefined,
    retryAt: visit.retryAtMs === undefined ? null : timeText(visit.retryAtMs),
    authenticated: visit.authenticated,
    versionStr: hello === undefined ? null : wellFormed(hello.versionStr),
    overlayVersion: hello?.overlayVersion ?? null,
    overlayMinVersion: hello?.overlayMinVersion ?? null,
    ledgerVersion: hello?.ledgerVersion ?? null,
    listeningPort: hello?.listeningPort ?? null,
    networkId: hello?.networkId ?? null,
    certExpiresAt: hello === undefined ? null : secondsText(hello.certExpiresAt),
    peers: visit.peers ?? null,
    stagesMs: Object.fromEntries(Object.entries(visit.stagesMs).map(([stage, ms]) => [stage, round(ms)])),
    rttMs: rttOf(visit.rttMs),
    pingsLost: visit.pingsLost,
    listened: visit.listened,
    scpMessages: visit.scpMessages,
    bytesRead: visit.bytesRead,
    bytesWritten: visit.bytesWritten,
  };
}

// ---- Nodes and edges ----

interface NodeFacts {
  proven: { address: string; visit: CrawlVisit }[];
  claimed: { address: string; visit: CrawlVisit }[];
  visits: CrawlVisit[];
  advertises: Set<string>;
  rttMs: number[];
  advertisers: Set<string>;
}

/** Rows of all nodes, by node id. */
function nodeRows(report: CrawlReport): NodeRow[] {
  const facts = new Map<string, NodeFacts>();
  for (const entry of report.addresses) {
    const told = new Set<string>();
    for (const visit of entry.outcomes) {
      if (visit.nodeId === undefined) continue;
      let node = facts.get(visit.nodeId);
      if (node === undefined) {
        node = { proven: [], claimed: [], visits: [], advertises: new Set(), rttMs: [], advertisers: new Set() };
        facts.set(visit.nodeId, node);
      }
      node.visits.push(visit);
      (visit.authenticated ? node.proven : node.claimed).push({ address: entry.address, visit });
      for (const address of visit.peers ?? []) node.advertises.add(address);
      for (const rttMs of visit.rttMs) node.rttMs.push(rttMs);
      told.add(visit.nodeId);
    }
    for (const nodeId of told) for (const from of entry.advertisedBy) facts.get(nodeId)!.advertisers.add(from);
  }
  const { scp } = report;
  const rows: NodeRow[] = [];
  for (const [nodeId, node] of facts) rows.push(nodeRow(report, nodeId, node));
  for (const nodeId of scp?.nodes.keys() ?? []) if (!facts.has(nodeId)) rows.push(heardRow(scp!, nodeId));
  return rows.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

function nodeRow(report: CrawlReport, nodeId: string, node: NodeFacts): NodeRow {
  // Whoever only claims an id, by a copied HELLO, must not give addresses to a node that proved it elsewhere.
  const from = node.proven.length > 0 ? node.proven : node.claimed;
  const best = bestOutcome(from.map(({ visit }) => visit))!;
  const hello = best.hello!;
  const { scp } = report;
  const own = hello.networkId === report.network.networkId;
  return {
    nodeId,
    addresses: [...new Set(from.map(({ address }) => address))].sort(),
    state: best.state,
    code: codeOf(best),
    hint: best.failure === undefined ? null : hintFor(best.failure) || null,
    versionStr: wellFormed(hello.versionStr),
    overlayVersion: hello.overlayVersion,
    overlayMinVersion: hello.overlayMinVersion,
    ledgerVersion: hello.ledgerVersion,
    listeningPort: hello.listeningPort,
    network: own ? report.network.name : best.network === report.network.name ? hello.networkId : best.network,
    authenticated: node.proven.length > 0,
    ...consensusOf(scp, nodeId, own),
    rttMs: rttOf(node.rttMs),
    certExpiresAt: secondsText(hello.certExpiresAt),
    advertises: [...node.advertises].sort(),
    advertisedBy: node.advertisers.size,
    firstSeenAt: timeText(Math.min(...from.map(({ visit }) => visit.startedAtMs))),
  };
}

function consensusOf(scp: ScpSnapshot | undefined, nodeId: string, own: boolean) {
  const heard = scp?.nodes.get(nodeId);
  const listening = scp !== undefined && scp.listened.length > 0;
  return {
    relaying: listening && scp.listened.includes(nodeId) ? scp.relaying.has(nodeId) : null,
    validating: listening && own ? heard?.validating ?? false : null,
    lastSlot: heard === undefined ? null : String(heard.lastSlot),
    lastStatement: heard?.lastStatement ?? null,
    lagMs: heard === undefined || heard.lagsMs.length === 0 ? null : round(percentile(heard.lagsMs, 0.5)),
    lagSlots: heard?.lagsMs.length ?? 0,
    quorumSetHash: heard?.quorumSetHash ?? null,
  };
}

/** A node known from its statements only. */
function heardRow(scp: ScpSnapshot, nodeId: string): NodeRow {
  return {
    nodeId,
    addresses: [],
    state: "heard",
    code: null,
    hint: null,
    versionStr: null,
    overlayVersion: null,
    overlayMinVersion: null,
    ledgerVersion: null,
    listeningPort: null,
    network: null,
    authenticated: false,
    ...consensusOf(scp, nodeId, true),
    rttMs: null,
    certExpiresAt: null,
    advertises: [],
    advertisedBy: 0,
    firstSeenAt: timeText(scp.nodes.get(nodeId)!.firstHeardAtMs),
  };
}

function edgeRows(nodes: readonly NodeRow[]): EdgeRow[] {
  const edges: EdgeRow[] = [];
  for (const node of nodes) for (const to of node.advertises) edges.push({ from: node.nodeId, to, kind: "advertised" });
  return edges;
}

function validatorRows(scp: ScpSnapshot | undefined, nodes: readonly NodeRow[]): ValidatorRow[] {
  if (scp === undefined) return [];
  return nodes.filter((node) => scp.nodes.has(node.nodeId)).map((node) => ({
    nodeId: node.nodeId,
    validating: node.validating ?? false,
    lastSlot: node.lastSlot!,
    lastStatement: node.lastStatement!,
    lagMs: node.lagMs,
    lagSlots: node.lagSlots,
    quorumSetHash: node.quorumSetHash!,
    reached: node.addresses.length > 0,
  }));
}

// ---- Addresses ----

/** The state that stands for an address, with its code. */
export function addressState(entry: Entry): { state: AddressRow["state"]; code: string | null } {
  const best = bestOutcome(entry.outcomes);
  if (best !== undefined) return { state: best.state, code: codeOf(best) };
  return entry.skip === undefined ? { state: "queued", code: null } : { state: "skipped", code: entry.skip };
}

function addressRow(entry: Entry): AddressRow {
  const advertisers = [];
  for (const nodeId of entry.advertisedBy) {
    if (advertisers.length === MAX_ADVERTISERS) break;
    advertisers.push(nodeId);
  }
  return {
    address: wellFormed(entry.address),
    source: entry.source,
    ...addressState(entry),
    advertisedByCount: entry.advertisedBy.size,
    advertisedBy: advertisers,
    outcomes: entry.outcomes.length === 0 && entry.skip !== undefined
      ? [skipRow(entry, entry.skip)]
      : entry.outcomes.map(outcomeRow),
  };
}

const SKIP_DETAILS: Record<SkipCode, [detail: string, hint: string]> = {
  bad_address: ["it is no address", "write host:port, 1.2.3.4:11625 or [v6]:port"],
  bad_port: ["its port is not between 1 and 65535", "the node that advertises it tells what cannot be dialled"],
  private_address: ["it lies in a private range", "--allow-private dials such addresses"],
  loopback_address: ["it means the machine itself", "name a seed on this machine to crawl this machine"],
  unroutable_address: [
    "it lies in a range that no node can have",
    "the node that advertises it tells what cannot be dialled",
  ],
  own_address: ["it is our own address", "we do not visit ourselves"],
  too_many_on_host: [
    "its IP address has more addresses than a crawl dials",
    "name it as a seed to visit it; the limit is addressesPerHost",
  ],
  too_many_on_subnet: [
    "its /24 or /48 has more addresses than a crawl dials",
    "name it as a seed to visit it; the limit is addressesPerSubnet",
  ],
};

function skipRow(entry: Entry, code: SkipCode): OutcomeRow {
  const [detail, hint] = SKIP_DETAILS[code];
  return {
    at: timeText(entry.learnedAtMs),
    state: "skipped",
    code,
    durationMs: 0,
    nodeId: null,
    attempt: 0,
    network: "",
    hint,
    detail,
    remoteText: null,
  };
}

function outcomeRow(visit: CrawlVisit): OutcomeRow {
  const { failure } = visit;
  return {
    at: timeText(visit.startedAtMs),
    state: visit.state,
    code: codeOf(visit),
    durationMs: round(visit.durationMs),
    nodeId: visit.nodeId ?? null,
    attempt: visit.attempt,
    network: visit.network,
    hint: failure === undefined ? null : hintFor(failure) || null,
    detail: failure === undefined ? null : wellFormed(describeFailure(failure)),
    remoteText: visit.remoteText === undefined ? null : wellFormed(visit.remoteText),
  };
}

// ---- Numbers ----

function countsOf(report: CrawlReport, nodes: readonly NodeRow[], edges: readonly EdgeRow[]): CrawlCounts {
  const counts: CrawlCounts = {
    addresses: report.addresses.length,
    advertised: 0,
    skipped: 0,
    dialled: 0,
    visits: 0,
    reached: 0,
    identified: 0,
    authenticated: 0,
    queued: 0,
    nodes: nodes.length,
    edges: edges.length,
    validators: 0,
    addressesByState: [],
    nodesByState: [],
  };
  for (const entry of report.addresses) {
    const { state } = addressState(entry);
    if (entry.advertisedBy.size > 0) counts.advertised++;
    if (state === "skipped") counts.skipped++;
    else if (state === "queued") counts.queued++;
    else if (entry.outcomes.some((visit) => visit.failure?.code !== "dns_failed")) counts.dialled++;
    counts.visits += entry.outcomes.length;
    if (entry.outcomes.some((visit) => visit.stagesMs.tcp !== undefined)) counts.reached++;
    if (entry.outcomes.some((visit) => visit.hello !== undefined)) counts.identified++;
    if (entry.outcomes.some((visit) => visit.authenticated)) counts.authenticated++;
  }
  for (const node of nodes) {
    if (node.validating) counts.validators++;
  }
  counts.addressesByState = groups(report.addresses, (entry) => addressState(entry).state)
    .map(([state, count]) => ({ state, count }));
  counts.nodesByState = groups(nodes, (node) => node.state).map(([state, count]) => ({ state, count }));
  return counts;
}

/** What the PEERS of a node, or of all nodes, are worth. */
export interface PeersQuality {
  /** Distinct addresses told. */
  entries: number;
  dialled: number;
  /** Reachable or full. */
  alive: number;
  dead: number;
  private: number;
  /** Port or range that nobody can dial. */
  unusable: number;
  otherNetwork: number;
  /** Everything else: silent, refused, not Stellar, not visited. */
  other: number;
}

/** The short form that people read. */
export interface CrawlSummary {
  counts: CrawlCounts;
  /** Version texts of nodes of this network, most frequent first. Hostile texts. */
  versions: { versionStr: string; nodes: number }[];
  /** Overlay windows, newest first. */
  overlayVersions: { overlayVersion: number; overlayMinVersion: number; nodes: number }[];
  ledgerVersions: { ledgerVersion: number; nodes: number }[];
  /** Over the median of each node that answered a ping; null when none did. */
  rttMs: { nodes: number; p50: number; p90: number; p99: number } | null;
  /** Nodes by the number of addresses told, most first; at most ten. */
  topAdvertisers: { nodeId: string; entries: number; dialled: number; alive: number; aliveShare: number | null }[];
  /** By lag, then by slot; empty without listening. */
  validators: ValidatorRow[];
  missingValidators: string[];
  peersQuality: PeersQuality;
  /** Codes of failed addresses, most frequent first. */
  codes: { code: string; addresses: number }[];
}

const MAX_TOP = 10;

function summarise(report: CrawlReport, nodes: readonly NodeRow[], counts: CrawlCounts): CrawlSummary {
  const byAddress = new Map<string, Quality>();
  const codes: Record<string, number> = {};
  for (const entry of report.addresses) {
    const { state, code } = addressState(entry);
    byAddress.set(entry.address, qualityOf(state, code));
    if (code !== null) tally(codes, code);
  }
  const told = new Set<string>();
  const top = nodes.filter((node) => node.advertises.length > 0).map((node) => {
    const quality = peersQuality(node.advertises, byAddress);
    for (const address of node.advertises) told.add(address);
    const { entries, dialled, alive } = quality;
    return { nodeId: node.nodeId, entries, dialled, alive, aliveShare: dialled === 0 ? null : round(alive / dialled) };
  });
  top.sort((a, b) => b.entries - a.entries || b.alive - a.alive || (a.nodeId < b.nodeId ? -1 : 1));
  const ours = nodes.filter((node) => node.network === report.network.name && node.versionStr !== null);
  const medians = nodes.flatMap((node) => node.rttMs === null ? [] : [node.rttMs.median]);
  const validators = validatorRows(report.scp, nodes);
  validators.sort((a, b) => (a.lagMs ?? Infinity) - (b.lagMs ?? Infinity) || (a.nodeId < b.nodeId ? -1 : 1));
  return {
    counts,
    versions: groups(ours, (node) => node.versionStr!).map(([versionStr, n]) => ({ versionStr, nodes: n })),
    overlayVersions: groups(ours, (node) => `${node.overlayVersion} ${node.overlayMinVersion}`)
      .map(([key, n]) => {
        const [overlayVersion, overlayMinVersion] = key.split(" ").map(Number);
        return { overlayVersion, overlayMinVersion, nodes: n };
      })
      .sort((a, b) => b.overlayVersion - a.overlayVersion || b.overlayMinVersion - a.overlayMinVersion),
    ledgerVersions: groups(ours, (node) => String(node.ledgerVersion))
      .map(([version, n]) => ({ ledgerVersion: Number(version), nodes: n }))
      .sort((a, b) => b.ledgerVersion - a.ledgerVersion),
    rttMs: medians.length === 0 ? null : {
      nodes: medians.length,
      p50: round(percentile(medians, 0.5)),
      p90: round(percentile(medians, 0.9)),
      p99: round(percentile(medians, 0.99)),
    },
    topAdvertisers: top.slice(0, MAX_TOP),
    validators,
    missingValidators: report.scp?.missing ?? [],
    peersQuality: peersQuality(told, byAddress),
    codes: Object.entries(codes).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
      .map(([code, addresses]) => ({ code, addresses })),
  };
}

/** How an address counts in {@link PeersQuality}. */
type Quality = { kind: Exclude<keyof PeersQuality, "entries" | "dialled">; dialled: boolean };

function qualityOf(state: AddressRow["state"], code: string | null): Quality {
  switch (state) {
    case "reachable":
    case "full":
      return { kind: "alive", dialled: true };
    case "dead":
      return { kind: "dead", dialled: true };
    case "other-network":
      return { kind: "otherNetwork", dialled: true };
    case "skipped":
      return {
        kind: code === "private_address" || code === "loopback_address"
          ? "private"
          : code === "too_many_on_host" || code === "too_many_on_subnet"
          ? "other"
          : "unusable",
        dialled: false,
      };
    case "queued":
      return { kind: "other", dialled: false };
    default:
      return { kind: "other", dialled: true };
  }
}

function peersQuality(addresses: Iterable<string>, byAddress: ReadonlyMap<string, Quality>): PeersQuality {
  const quality: PeersQuality = {
    entries: 0,
    dialled: 0,
    alive: 0,
    dead: 0,
    private: 0,
    unusable: 0,
    otherNetwork: 0,
    other: 0,
  };
  for (const address of addresses) {
    const found = byAddress.get(address);
    quality.entries++;
    quality[found?.kind ?? "other"]++;
    if (found?.dialled) quality.dialled++;
  }
  return quality;
}

function groups<T, K extends string>(items: readonly T[], keyOf: (item: T) => K): [key: K, count: number][] {
  const counts = new Map<K, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function tally(into: Record<string, number>, key: string): void {
  into[key] = (into[key] ?? 0) + 1;
}

function rttOf(samples: readonly number[]): RttMs | null {
  if (samples.length === 0) return null;
  return {
    min: round(percentile(samples, 0)),
    median: round(percentile(samples, 0.5)),
    p95: round(percentile(samples, 0.95)),
  };
}

// ---- Text ----

/** Text of a remote as JSON may hold it: what is no Unicode becomes U+FFFD. */
export function wellFormed(text: string): string {
  return text.toWellFormed();
}

/** RFC 3339 UTC with milliseconds. */
export function timeText(wallMs: number): string {
  return new Date(Math.round(wallMs)).toISOString();
}

/** A certificate may name any 64-bit second; those beyond the calendar give null. */
function secondsText(seconds: number): string | null {
  return seconds > 0 && seconds < 253_402_300_800 ? new Date(seconds * 1000).toISOString() : null;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function byKey(a: [string, unknown], b: [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}
