/**
 * The crawl: visits every address it learns, as soon as the budget lets it, and keeps all that was seen. Event-driven: it acts
 * when a visit ends, when PEERS arrive and when the one timer it has fires. All time comes from the clock.
 */
import { toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { type Failure, OverlayError } from "../../overlay/base/errors.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { formatAddress, kindOfIp, parseTarget, type Target } from "../../overlay/base/peer_address.ts";
import type { Random } from "../../overlay/base/random.ts";
import type { CrawlStore } from "../../overlay/db/crawl_store.ts";
import type { StoredScp, StoredVisit } from "../../overlay/db/stored.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import type { Peer, PeerSettings } from "../../overlay/peer/peer.ts";
import type { Resolver, Transport } from "../../overlay/transport/transport.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { DEFAULT_VISIT_TIMEOUTS, type Visit, visit, type VisitObserver, type VisitTimeouts } from "../probe/visit.ts";
import { Budget, type BudgetLimits, type BudgetSnapshot, type LimitName } from "./budget.ts";
import { type AddressSource, type Entry, Frontier, splitAddress, textOfWire } from "./frontier.ts";
import { backoffMs, retryable } from "./retry.ts";
import { ScpObserver, type ScpSnapshot } from "./scp_observer.ts";
import { type CrawlVisit, recordOf, storedOf } from "./visit_record.ts";

/** Where a crawl starts. */
export interface CrawlSeed {
  /** `[G...@]host[:port]`, a name or an IP address. */
  target: string;
  /** "database" for addresses remembered from earlier runs: they start visits, but are not what the user asked for. */
  source?: "seed" | "database";
}

/** A network with our identity on it. */
export interface NetworkSide {
  /** Short name, as reports show it. */
  name: string;
  local: LocalNode;
}

/** Takes what must survive this process. What it throws ends the crawl, which then reports what it has. */
export interface CrawlSink {
  /** Called for each finished visit, before anybody else hears of it. */
  recordVisit(visit: StoredVisit): void;
  /** Called at most once a second and at the end, with what was heard of consensus since the last call. */
  recordScp?(news: StoredScp): void;
}

/** How long to listen to consensus, and to how many nodes. */
export interface ListenOptions {
  /** From the grant on; 0 leaves at once. */
  ms: number;
  /** Nodes held in all: the first that admit us. */
  nodes: number;
}

/** Where a crawl stands. */
export interface CrawlProgress {
  /** Addresses that need no further visit, skipped ones not counted. */
  done: number;
  /** Addresses waiting for a visit. */
  queued: number;
  inFlight: number;
  /** Finished visits per second over the last seconds. */
  ratePerSecond: number;
  /** Distinct nodes that admitted us. */
  reachable: number;
  /** Time the queue needs at this rate; undefined while the rate is unknown. */
  etaMs: number | undefined;
}

/** What a crawl needs and how it goes about it. */
export interface CrawlOptions {
  network: { name: string; passphrase: string };
  seeds: readonly (string | CrawlSeed)[];
  /** Our identity on the network. */
  local: LocalNode;
  /** Networks to try after a silent close; empty switches that off. */
  otherNetworks?: readonly NetworkSide[];
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  budget?: Partial<BudgetLimits>;
  listen?: Partial<ListenOptions>;
  /** Round trips measured per visit; default 1. */
  pings?: number;
  timeouts?: Partial<VisitTimeouts>;
  settings?: Partial<PeerSettings>;
  /** Further attempts after a failure that may pass; default 1. */
  retries?: number;
  /** Wait before the first of them, ms; default 1000. */
  backoffMs?: number;
  allowPrivate?: boolean;
  /** `host:port` of our own doors. */
  ownAddresses?: readonly string[];
  store?: CrawlSink;
  /** Number of the run in the database, for the report. */
  runId?: number;
  /** Visits of the interrupted run that this one continues. Budgets begin anew. */
  resume?: readonly CrawlVisit[];
  /** What that run heard of consensus. */
  resumeScp?: StoredScp;
  /** When the interrupted run began, ms since the epoch. */
  resumedStartMs?: number;
  /** Stop: no new visits, those under way leave with what they know. */
  signal?: AbortSignal;
  onVisit?(visit: CrawlVisit): void;
  /** Called at most ten times a second, and at the end. */
  onProgress?(progress: CrawlProgress): void;
}

/** All that a crawl found; `crawlDocument` makes JSON of it. */
export interface CrawlReport {
  runId: number | undefined;
  network: { name: string; passphrase: string; networkId: string };
  /** As given. */
  seeds: string[];
  /** Distinct addresses of seeds that may be dialled; 0: there was nothing to start from. */
  usableSeeds: number;
  /** What was asked for, defaults filled in: for the record. */
  options: {
    listenMs: number;
    listenNodes: number;
    pings: number;
    retries: number;
    backoffMs: number;
    allowPrivate: boolean;
    otherNetworks: string[];
    connectTimeoutMs: number;
    stageTimeoutMs: number;
    overlayVersion: number;
    overlayMinVersion: number;
    versionStr: string;
    resumed: boolean;
  };
  /** Our own node id. */
  nodeId: string;
  /** Wall time, ms since the epoch. */
  startedAtMs: number;
  endedAtMs: number;
  durationMs: number;
  /** Everything learned was visited. */
  complete: boolean;
  /** The signal ended it. */
  interrupted: boolean;
  /** What ended it early: the sink failed, and holds nothing from then on. This report does. */
  failure: Failure | undefined;
  budget: BudgetSnapshot;
  /** All addresses in the order learned. */
  addresses: Entry[];
  /** Undefined when nobody ever listened. */
  scp: ScpSnapshot | undefined;
}

/** Addresses taken of one host name. */
const MAX_ADDRESSES_PER_NAME = 4;
const PROGRESS_MS = 100;
/** What is heard of consensus is stored at most so often. */
const SCP_FLUSH_MS = 1000;

/** The sink that writes to a run of a database. */
export function storeSink(store: CrawlStore, runId: number): CrawlSink {
  return {
    recordVisit: (visit) => void store.recordVisit(runId, visit),
    recordScp: (news) => store.recordScp(runId, news),
  };
}

/**
 * Crawls. The promise rejects only when a callback throws; what remotes do is in the report, and so is a sink that fails:
 * `failure` with code `db_failed`.
 */
export function crawl(options: CrawlOptions): Promise<CrawlReport> {
  return new Promise((resolve, reject) => new Crawl(options, resolve, reject));
}

/** The moving parts of one crawl. */
class Crawl {
  readonly #options: CrawlOptions;
  readonly #clock: Clock;
  readonly #sides: readonly NetworkSide[];
  readonly #listen: ListenOptions;
  readonly #retries: number;
  readonly #backoffMs: number;
  readonly #pings: number;
  readonly #timeouts: VisitTimeouts;
  readonly #budget: Budget;
  readonly #frontier: Frontier;
  readonly #scp: ScpObserver | undefined;
  readonly #resolve: (report: CrawlReport) => void;
  readonly #reject: (error: unknown) => void;
  readonly #startedMs: number;
  readonly #startedAtMs: number;
  readonly #leave = new AbortController();
  readonly #onAbort = () => this.#interrupt();
  readonly #reachable = new Set<string>();
  /** Until when nodes are held, by node id. BOUNDED: by the nodes held. */
  readonly #heldUntilMs = new Map<string, number>();
  #listenersLeft: number;
  #resolving = 0;
  #inFlight = 0;
  #visitsDone = 0;
  #addressesDone = 0;
  /** BOUNDED: by the seeds. */
  readonly #usableSeeds = new Set<string>();
  #starting = true;
  #stopping = false;
  #interrupted = false;
  #failure: Failure | undefined;
  #scpFlush: Timer | undefined;
  #finished = false;
  #wake: Timer | undefined;
  #wakeAtMs = Infinity;
  #lifetime: Timer | undefined;
  #progressAtMs = -Infinity;
  /** Finished visits at some past instants, oldest first. BOUNDED: eleven. */
  readonly #samples: { atMs: number; done: number }[] = [];

  constructor(options: CrawlOptions, resolve: (report: CrawlReport) => void, reject: (error: unknown) => void) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    const clock = this.#clock = options.clock;
    this.#startedMs = clock.nowMs();
    this.#startedAtMs = options.resumedStartMs ?? clock.wallMs();
    this.#sides = options.otherNetworks ?? [];
    this.#listen = { ms: options.listen?.ms ?? 0, nodes: options.listen?.nodes ?? options.budget?.listenNodes ?? 8 };
    this.#listenersLeft = this.#listen.nodes;
    this.#retries = options.retries ?? 1;
    this.#backoffMs = options.backoffMs ?? 1000;
    this.#pings = options.pings ?? 1;
    this.#timeouts = { ...DEFAULT_VISIT_TIMEOUTS, ...options.timeouts };
    this.#budget = new Budget({ ...options.budget, listenNodes: this.#listen.nodes }, this.#startedMs);
    this.#frontier = new Frontier({
      policy: {
        allowPrivate: options.allowPrivate ?? false,
        allowLoopback: options.allowPrivate ?? false,
        ownAddresses: new Set(options.ownAddresses),
      },
      takeAddress: () => this.#budget.takeAddress(),
      addressesPerHost: this.#budget.limits.addressesPerHost,
      addressesPerSubnet: this.#budget.limits.addressesPerSubnet,
    });
    const { resumeScp: resume } = options;
    if (this.#listen.ms > 0 || (resume !== undefined && resume.listeners.length > 0)) {
      const onChange = options.store?.recordScp === undefined ? undefined : () => this.#flushScpSoon();
      this.#scp = new ScpObserver({ networkId: options.local.networkId, clock, resume, onChange });
    }
    try {
      this.#begin();
    } catch (error) {
      this.#fail(error);
    }
  }

  #begin(): void {
    const { signal } = this.#options;
    const seeds = this.#options.seeds.map((seed) => typeof seed === "string" ? { target: seed } : seed);
    // Whether this machine may be visited must be known before the first address is judged.
    const parsed = seeds.map((seed) => ({ seed, target: parseSeed(seed) }));
    // Remembered addresses open it only when nothing else was named: then the network is one of this machine.
    const remembered = parsed.every(({ seed }) => seed.source === "database");
    for (const { seed, target } of parsed) {
      if ((remembered || seed.source !== "database") && "address" in target) {
        this.#allowLoopbackFor(target.address.host);
      }
    }
    if (this.#options.resume !== undefined) {
      // What a seed is must be known before others tell its address.
      for (const { seed, target } of parsed) {
        if (!("address" in target) || kindOfIp(target.address.host) === null) continue;
        const how = { source: seed.source ?? "seed", depth: 0, wallMs: this.#clock.wallMs() } as const;
        this.#frontier.learn({ address: formatAddress(target.address), ...target.address }, how);
      }
      this.#replay(this.#options.resume);
    }
    for (const { seed, target } of parsed) {
      const source = seed.source ?? "seed";
      if ("code" in target) this.#badSeed(seed.target, target);
      else if (kindOfIp(target.address.host) !== null) this.#addSeed(target.address, source, target.nodeId);
      else this.#resolveSeed(target, source, 1);
    }
    const { maxSeconds } = this.#budget.limits;
    if (maxSeconds !== Infinity) {
      this.#lifetime = this.#clock.setTimer(maxSeconds * 1000, () => this.#stop("maxSeconds", true));
    }
    if (signal?.aborted) this.#interrupt();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
    // The caller's promise exists only after this constructor: a crawl without work must not end inside it.
    queueMicrotask(() => {
      this.#starting = false;
      this.#progress(true);
      this.#pump();
    });
  }

  // ---- Seeds ----

  #allowLoopbackFor(host: string): void {
    if (kindOfIp(host) === "loopback") this.#frontier.policy.allowLoopback = true;
  }

  #addSeed(at: { host: string; port: number }, source: AddressSource, expected: string | undefined): void {
    const learned = this.#learn({ address: formatAddress(at), ...at }, source, 0);
    if (learned === undefined) return;
    if (expected !== undefined) learned.expected = expected;
    if (learned.skip === undefined) this.#usableSeeds.add(learned.address);
  }

  #badSeed(text: string, failure: Failure): void {
    const how = { source: "seed" as const, depth: 0, wallMs: this.#clock.wallMs(), skip: "bad_address" as const };
    this.#frontier.learn({ address: text, host: text, port: 0 }, how);
    this.#report(
      outcomeWithoutDial(text, this.#options.network.name, this.#clock.wallMs(), "skipped", failure),
      undefined,
    );
  }

  #resolveSeed(target: Target, source: AddressSource, attempt: number): void {
    const { host, port } = target.address;
    const startedMs = this.#clock.nowMs(), startedAtMs = this.#clock.wallMs();
    this.#resolving++;
    let open = true;
    const settle = (act: () => void) => {
      if (!open) return;
      open = false;
      timer.cancel();
      this.#resolving--;
      if (this.#finished) return;
      try {
        act();
        this.#pump();
      } catch (error) {
        this.#fail(error);
      }
    };
    const fail = (failure: Failure) =>
      settle(() => {
        if (!this.#stopping && retryable(failure) && attempt <= this.#retries) {
          this.#resolving++;
          this.#clock.setTimer(backoffMs(attempt, this.#backoffMs, this.#options.random), () => {
            this.#resolving--;
            if (!this.#finished) this.#resolveSeed(target, source, attempt + 1);
          });
          return;
        }
        const address = formatAddress(target.address);
        const at = { address, host, port };
        const entry = this.#frontier.learn(at, { source, depth: 0, wallMs: startedAtMs, skip: null })?.entry;
        const outcome = outcomeWithoutDial(address, this.#options.network.name, startedAtMs, "dead", failure);
        this.#addressesDone++;
        this.#report({ ...outcome, attempt, durationMs: this.#clock.nowMs() - startedMs }, entry);
      });
    const timer = this.#clock.setTimer(
      this.#timeouts.connectMs,
      () => fail({ code: "dns_failed", host, reason: "ETIMEOUT" }),
    );
    this.#options.resolver.resolve(host).then(
      (ips) =>
        settle(() => {
          // IPv4 first, as the resolver has it; IPv6 only of names that have nothing else.
          const ipv4 = ips.filter((ip) => !ip.includes(":"));
          for (const ip of (ipv4.length > 0 ? ipv4 : ips).slice(0, MAX_ADDRESSES_PER_NAME)) {
            if (source === "seed") this.#allowLoopbackFor(ip);
            this.#addSeed({ host: ip, port }, source, target.nodeId);
          }
        }),
      (error) =>
        fail(
          error instanceof OverlayError && error.failure.code === "dns_failed"
            ? error.failure
            : { code: "dns_failed", host, reason: String(error?.code ?? error?.message ?? error) },
        ),
    );
  }

  // ---- Addresses ----

  /** Takes an address and queues it when it is new and may be dialled. Undefined when the table is full. */
  #learn(at: { address: string; host: string; port: number }, source: AddressSource, depth: number): Entry | undefined {
    const learned = this.#frontier.learn(at, { source, depth, wallMs: this.#clock.wallMs() });
    if (learned?.isNew && learned.entry.skip === undefined) this.#frontier.push(learned.entry);
    return learned?.entry;
  }

  /** Takes what a node advertises; returns its texts. */
  #learnPeers(from: Entry, nodeId: string, peers: readonly WireAddress[]): string[] {
    const texts: string[] = [];
    for (const peer of peers) {
      const at = textOfWire(peer);
      const entry = this.#learn(at, "advertised", from.depth + 1);
      entry?.advertisedBy.add(nodeId);
      // The entry's own text, so that a popular address is held once.
      texts.push(entry?.address ?? at.address);
    }
    return texts;
  }

  /** Takes the visits of an interrupted run as if they had just been made, and queues what they left to do. */
  #replay(visits: readonly CrawlVisit[]): void {
    const wallMs = this.#clock.wallMs();
    for (const visit of visits) {
      const { host, port } = splitAddress(visit.address);
      const known = this.#frontier.get(visit.address);
      const source = known?.source ?? (visit.depth === 0 ? "seed" : "advertised");
      const how = { source, depth: visit.depth, wallMs: visit.startedAtMs, visited: true } as const;
      const named = kindOfIp(host) === null;
      const at = { address: visit.address, host, port };
      const entry = this.#frontier.learn(at, named ? { ...how, skip: null } : how)?.entry;
      if (entry === undefined) continue;
      entry.outcomes.push(visit);
      entry.visits = Math.max(entry.visits, visit.attempt);
      if (visit.network === this.#options.network.name && visit.state !== "interrupted") entry.attempts++;
      if (visit.state === "reachable" && visit.nodeId !== undefined) this.#reachable.add(visit.nodeId);
    }
    // After all visits, so that the limits on addresses hold for those that were not visited.
    for (const visit of visits) {
      if (visit.nodeId === undefined) continue;
      for (const address of visit.peers ?? []) {
        const to = { address, ...splitAddress(address) };
        const known = this.#frontier.learn(to, { source: "advertised", depth: visit.depth + 1, wallMs })?.entry;
        known?.advertisedBy.add(visit.nodeId);
      }
    }
    for (const entry of this.#frontier.entries()) {
      if (entry.skip !== undefined) continue;
      const last = entry.outcomes.at(-1);
      if (last !== undefined && (last.retryAtMs === undefined || kindOfIp(entry.host) === null)) {
        this.#addressesDone++;
        continue;
      }
      if (last?.failure?.code === "silent_close") {
        // It was about to be asked for its network.
        const tried = entry.outcomes.filter((outcome) => outcome.network !== this.#options.network.name).length;
        if (tried < this.#sides.length) entry.probe = tried;
      }
      this.#frontier.push(entry);
    }
  }

  // ---- The loop ----

  /** Starts what may start now; sets the timer for what may start later; ends the crawl when nothing is left. */
  #pump(): void {
    if (this.#finished || this.#starting) return;
    const nowMs = this.#clock.nowMs();
    // With all places taken, the end of a visit is what to wait for.
    let wakeAtMs = Infinity;
    while (!this.#stopping && !this.#budget.full) {
      const entry = this.#frontier.next(nowMs);
      if (entry === undefined) {
        wakeAtMs = this.#frontier.nextDueMs ?? Infinity;
        break;
      }
      const freeAtMs = (this.#heldBehind(entry) ?? -Infinity) + this.#backoffMs;
      if (freeAtMs > nowMs) {
        this.#frontier.pushAt(entry, freeAtMs);
        continue;
      }
      const take = this.#budget.tryTake(entry.place, nowMs);
      if (take.kind === "ok") this.#start(entry);
      else if (take.kind === "busy") this.#frontier.park(entry, take.key);
      else {
        this.#frontier.pushFirst(entry);
        if (take.kind === "exhausted") this.#stop(take.limit, false);
        else if (take.kind === "wait") wakeAtMs = nowMs + take.waitMs;
        break;
      }
    }
    if (!this.#stopping) this.#wakeAt(wakeAtMs, nowMs);
    if (this.#inFlight === 0 && (this.#stopping || (this.#resolving === 0 && this.#frontier.queued === 0))) {
      this.#finish();
    }
  }

  /** Until when we hold, at another of its addresses, the node that refused us here because of that. */
  #heldBehind(entry: Entry): number | undefined {
    if (entry.attempts === 0 || this.#heldUntilMs.size === 0) return undefined;
    const last = entry.outcomes.at(-1);
    if (last?.nodeId === undefined || last.failure?.code !== "already_connected") return undefined;
    return this.#heldUntilMs.get(last.nodeId);
  }

  #wakeAt(atMs: number, nowMs: number): void {
    // A timer that is set for an earlier time stays: it finds the new one when it fires.
    if (atMs >= this.#wakeAtMs) return;
    this.#wake?.cancel();
    this.#wakeAtMs = atMs;
    this.#wake = this.#clock.setTimer(Math.max(0, atMs - nowMs), () => {
      this.#wakeAtMs = Infinity;
      this.#guarded(() => this.#pump());
    });
  }

  #start(entry: Entry): void {
    const side: NetworkSide = entry.probe === undefined
      ? { name: this.#options.network.name, local: this.#options.local }
      : this.#sides[entry.probe];
    const own = entry.probe === undefined;
    entry.state = "inFlight";
    entry.visits++;
    if (own) entry.attempts++;
    this.#inFlight++;
    const track: Track = { entry, side, own, peers: undefined, held: false, countedBytes: 0 };
    const { transport, random, settings } = this.#options;
    visit({
      to: { host: entry.host, port: entry.port },
      local: side.local,
      transport,
      clock: this.#clock,
      random,
      settings,
      wants: { pings: own ? this.#pings : 0 },
      timeouts: this.#timeouts,
      signal: this.#leave.signal,
      observer: own ? this.#observer(track) : undefined,
    }).then(
      (found) => this.#guarded(() => this.#onVisit(track, found)),
      // A visit resolves whatever the remote does: this is a fault of ours.
      (error) => this.#fail(error),
    );
  }

  #observer(track: Track): VisitObserver {
    return {
      onPeers: (peer, peers) =>
        this.#guarded(() => {
          track.peers = this.#learnPeers(track.entry, peer.nodeIdText!, peers);
          this.#pump();
        }),
      onLive: this.#scp === undefined ? undefined : (peer) => this.#onLive(track, peer),
      onMessage: this.#scp === undefined ? undefined : (peer, message) => {
        if (!track.held) return;
        const { type, bytes } = message;
        track.countedBytes += bytes.length;
        this.#budget.addBytes(bytes.length);
        if (type === MessageType.scpMessage) {
          this.#scp!.onScpMessage(peer.nodeIdText!, bytes, message.receivedAtMs, this.#clock.wallMs());
        } else if (type === MessageType.scpQuorumset) this.#scp!.onQuorumSet(peer.nodeIdText!, bytes);
        else if (type === MessageType.dontHave) this.#scp!.onDontHave(peer.nodeIdText!, bytes);
        this.#checkOverrun();
      },
    };
  }

  /** A node admitted us: it is held to listen if there is a place. */
  #onLive(track: Track, peer: Peer): number {
    const nodeId = peer.nodeIdText!;
    // Another node than its seed promised is not one to listen to.
    if (track.entry.expected !== undefined && track.entry.expected !== nodeId) return 0;
    if (
      this.#listen.ms === 0 || this.#stopping || this.#listenersLeft === 0 || this.#scp!.has(nodeId) ||
      !this.#budget.tryHold()
    ) return 0;
    this.#listenersLeft--;
    track.held = true;
    this.#reachable.add(nodeId);
    this.#heldUntilMs.set(nodeId, this.#clock.nowMs() + this.#listen.ms);
    this.#scp!.addPeer({ nodeId, askQuorumSet: (hash) => peer.send({ type: "getScpQuorumset", qSetHash: hash }) });
    // It left the concurrency: another visit may begin.
    this.#guarded(() => this.#pump());
    return this.#listen.ms;
  }

  #onVisit(track: Track, found: Visit): void {
    if (this.#finished) return;
    const { entry, side, own } = track;
    this.#inFlight--;
    this.#visitsDone++;
    this.#budget.release(entry.place, {
      held: track.held,
      bytes: Math.max(0, found.bytesRead + found.bytesWritten - track.countedBytes),
      heldMs: found.stagesMs.tcp === undefined ? 0 : found.durationMs - found.stagesMs.tcp,
    });
    this.#frontier.unpark(entry.place.host);
    if (entry.place.subnet !== undefined) this.#frontier.unpark(entry.place.subnet);
    const record = recordOf(found, {
      address: entry.address,
      depth: entry.depth,
      attempt: entry.visits,
      network: side.name,
      peers: own ? track.peers : undefined,
      listened: track.held,
    });
    if (track.held) {
      this.#scp!.removePeer(record.nodeId!);
      this.#heldUntilMs.delete(record.nodeId!);
      // Whoever leaves early makes room for another.
      if (record.failure !== undefined) this.#listenersLeft++;
    }
    const left = record.failure?.code === "local_close" && this.#leave.signal.aborted;
    if (left) {
      if (own) entry.attempts--;
      this.#frontier.pushFirst(entry);
      // Without a HELLO there is nothing to keep.
      if (record.hello !== undefined) {
        record.state = "interrupted";
        record.retryAtMs = this.#clock.wallMs();
        this.#report(record, entry);
      }
    } else {
      if (own) this.#afterOwn(entry, record);
      else this.#afterProbe(entry, record, side);
      this.#report(record, entry);
    }
    this.#checkOverrun();
    this.#pump();
  }

  /** Decides what follows a visit with the crawl's own network, and says so in the record. */
  #afterOwn(entry: Entry, record: CrawlVisit): void {
    const isOther = entry.expected !== undefined && record.nodeId !== undefined && record.nodeId !== entry.expected;
    if (isOther && record.failure === undefined) {
      record.state = "faulty";
      record.failure = { code: "identity_mismatch", expected: entry.expected!, actual: record.nodeId! };
    }
    const { failure } = record;
    if (failure === undefined && record.peers === undefined && this.#leave.signal.aborted) {
      // Left while PEERS may have been on their way.
      this.#again(entry, record, 0);
      return;
    }
    if (failure?.code === "network_mismatch") {
      // HELLO named it by its id; a visit under its own network proves the identity.
      record.failure = {
        code: "network_mismatch",
        ours: this.#options.network.name,
        theirs: this.#nameOf(failure.theirs),
      };
      const known = this.#sides.findIndex((side) => toHex(side.local.networkId) === failure.theirs);
      if (known >= 0 && entry.probe === undefined) {
        entry.probeOnly = true;
        this.#probe(entry, record, known);
        return;
      }
    } else if ((failure?.code === "silent_close" || failure?.code === "wrong_passphrase") && this.#sides.length > 0) {
      this.#probe(entry, record, 0);
      return;
    } else if (failure !== undefined && retryable(failure)) {
      const ours = failure.code === "already_connected";
      // That one we cause ourselves, by another address of the same node: it always gets its second chance.
      if (entry.attempts <= (ours ? Math.max(1, this.#retries) : this.#retries)) {
        const waitMs = backoffMs(entry.attempts, this.#backoffMs, this.#options.random);
        this.#again(entry, record, waitMs);
        return;
      }
    }
    this.#done(entry);
  }

  /** Decides what follows a visit with another network. */
  #afterProbe(entry: Entry, record: CrawlVisit, side: NetworkSide): void {
    if (record.hello !== undefined && record.nodeId !== undefined) {
      record.state = "other-network";
      record.failure = { code: "network_mismatch", ours: this.#options.network.name, theirs: side.name };
      this.#done(entry);
      return;
    }
    if (!entry.probeOnly && entry.probe! + 1 < this.#sides.length) this.#probe(entry, record, entry.probe! + 1);
    else this.#done(entry);
  }

  #probe(entry: Entry, record: CrawlVisit, index: number): void {
    entry.probe = index;
    record.retryAtMs = this.#clock.wallMs();
    this.#frontier.pushFirst(entry);
  }

  #again(entry: Entry, record: CrawlVisit, waitMs: number): void {
    record.retryAtMs = this.#clock.wallMs() + waitMs;
    this.#frontier.pushAt(entry, this.#clock.nowMs() + waitMs);
  }

  #done(entry: Entry): void {
    entry.state = "done";
    this.#addressesDone++;
  }

  #nameOf(networkIdHex: string): string {
    return this.#sides.find((side) => toHex(side.local.networkId) === networkIdHex)?.name ??
      networkNameOf(networkIdHex);
  }

  /** Stores a finished visit, then tells it. */
  #report(record: CrawlVisit, entry: Entry | undefined): void {
    entry?.outcomes.push(record);
    if (record.state === "reachable") this.#reachable.add(record.nodeId!);
    if (record.state !== "skipped") this.#store((sink) => sink.recordVisit(storedOf(record)));
    this.#options.onVisit?.(record);
    this.#progress(false);
  }

  /** Lets the sink store something. When that fails the crawl ends, and its report is all that is left. */
  #store(act: (sink: CrawlSink) => void): void {
    const { store } = this.#options;
    if (store === undefined || this.#failure !== undefined) return;
    try {
      act(store);
    } catch (error) {
      this.#failure = error instanceof OverlayError
        ? error.failure
        : { code: "db_failed", path: "", reason: error instanceof Error ? error.message : String(error) };
      this.#stopping = true;
      this.#leave.abort();
      // Whoever stores is in the middle of something.
      queueMicrotask(() => this.#guarded(() => this.#pump()));
    }
  }

  #flushScpSoon(): void {
    if (this.#finished) return;
    this.#scpFlush ??= this.#clock.setTimer(SCP_FLUSH_MS, () => this.#flushScp());
  }

  #flushScp(): void {
    this.#scpFlush?.cancel();
    this.#scpFlush = undefined;
    const news = this.#options.store?.recordScp === undefined ? undefined : this.#scp?.takeChanges();
    if (news !== undefined) this.#store((sink) => sink.recordScp!(news));
  }

  // ---- The end ----

  #interrupt(): void {
    if (this.#stopping && this.#leave.signal.aborted) return;
    this.#interrupted = true;
    this.#stopping = true;
    this.#leave.abort();
    this.#guarded(() => this.#pump());
  }

  /** A limit is reached: nothing new begins; what is under way goes on, or leaves as well. */
  #stop(limit: LimitName, leave: boolean): void {
    if (this.#finished) return;
    this.#budget.hit(limit);
    this.#stopping = true;
    if (leave) {
      this.#leave.abort();
      this.#guarded(() => this.#pump());
    }
  }

  #checkOverrun(): void {
    const limit = this.#budget.overrun;
    if (limit !== undefined && !this.#leave.signal.aborted) this.#stop(limit, true);
  }

  #finish(): void {
    if (this.#finished) return;
    this.#flushScp();
    const snapshot = this.#scp?.snapshot();
    this.#release();
    const { options, startedAtMs } = { options: this.#options, startedAtMs: this.#startedAtMs };
    const nowMs = this.#clock.nowMs();
    this.#budget.end(nowMs);
    const budget = this.#budget.snapshot(nowMs);
    this.#progress(true);
    const { local } = options;
    this.#resolve({
      runId: options.runId,
      network: { ...options.network, networkId: toHex(local.networkId) },
      seeds: options.seeds.map((seed) => typeof seed === "string" ? seed : seed.target),
      usableSeeds: this.#usableSeeds.size,
      options: {
        listenMs: this.#listen.ms,
        listenNodes: this.#listen.nodes,
        pings: this.#pings,
        retries: this.#retries,
        backoffMs: this.#backoffMs,
        allowPrivate: options.allowPrivate ?? false,
        otherNetworks: this.#sides.map((side) => side.name),
        connectTimeoutMs: this.#timeouts.connectMs,
        stageTimeoutMs: this.#timeouts.stageMs,
        overlayVersion: local.overlayVersion,
        overlayMinVersion: local.overlayMinVersion,
        versionStr: local.versionStr,
        resumed: options.resume !== undefined,
      },
      nodeId: local.nodeIdText,
      startedAtMs,
      endedAtMs: this.#clock.wallMs(),
      durationMs: nowMs - this.#startedMs,
      complete: !this.#interrupted && this.#failure === undefined && budget.limitsHit.length === 0,
      interrupted: this.#interrupted,
      failure: this.#failure,
      budget,
      addresses: [...this.#frontier.entries()],
      scp: snapshot,
    });
  }

  /** Runs what may throw only by the fault of the caller's own functions. */
  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#finished) return;
    this.#release();
    this.#stopping = true;
    this.#leave.abort();
    this.#reject(error);
  }

  #release(): void {
    this.#finished = true;
    this.#wake?.cancel();
    this.#scpFlush?.cancel();
    this.#lifetime?.cancel();
    this.#scp?.close();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  #progress(force: boolean): void {
    const { onProgress } = this.#options;
    if (onProgress === undefined) return;
    const nowMs = this.#clock.nowMs();
    if (!force && nowMs - this.#progressAtMs < PROGRESS_MS) return;
    this.#progressAtMs = nowMs;
    const samples = this.#samples;
    if (samples.length === 0 || nowMs - samples.at(-1)!.atMs >= 500) {
      samples.push({ atMs: nowMs, done: this.#visitsDone });
      if (samples.length > 11) samples.shift();
    }
    const spanMs = nowMs - samples[0].atMs;
    const ratePerSecond = spanMs === 0 ? 0 : (this.#visitsDone - samples[0].done) * 1000 / spanMs;
    const queued = this.#frontier.queued;
    onProgress({
      done: this.#addressesDone,
      queued,
      inFlight: this.#inFlight,
      ratePerSecond,
      reachable: this.#reachable.size,
      etaMs: ratePerSecond === 0 ? undefined : (queued + this.#inFlight) * 1000 / ratePerSecond,
    });
  }
}

/** One visit under way. */
interface Track {
  entry: Entry;
  side: NetworkSide;
  /** Made with the crawl's own network. */
  own: boolean;
  peers: string[] | undefined;
  held: boolean;
  countedBytes: number;
}

function parseSeed(seed: CrawlSeed): Target | Extract<Failure, { code: "bad_address" }> {
  try {
    return parseTarget(seed.target);
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "bad_address") return error.failure;
    throw error;
  }
}

/** An outcome that needed no connection. */
function outcomeWithoutDial(
  address: string,
  network: string,
  startedAtMs: number,
  state: "dead" | "skipped",
  failure: Failure,
): CrawlVisit {
  return {
    address,
    depth: 0,
    attempt: 1,
    network,
    startedAtMs,
    durationMs: 0,
    state,
    failure,
    remoteText: undefined,
    nodeId: undefined,
    authenticated: false,
    hello: undefined,
    stagesMs: {},
    rttMs: [],
    pingsLost: 0,
    peers: undefined,
    retryAtMs: undefined,
    listened: false,
    scpMessages: 0,
    bytesRead: 0,
    bytesWritten: 0,
  };
}
