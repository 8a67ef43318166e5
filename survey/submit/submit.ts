/**
 * Sends one transaction into the network as any node would: a watcher with a few peers advertises it, serves whoever demands
 * it, and follows the ledgers until one has it. The engine does all of that; this says what happened, and when to stop.
 */
import type { OverlayConfig, OverlayConfigChanges } from "../../overlay/base/config.ts";
import type { Failure } from "../../overlay/base/errors.ts";
import { describeFailure, OverlayError, remoteText } from "../../overlay/base/errors.ts";
import { formatAddress, ipVersion, type PeerAddress } from "../../overlay/base/peer_address.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import { equalBytes, fromHex } from "../../overlay/base/bytes.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import {
  type OverlayEvent,
  OverlayManager,
  type OverlayManagerOptions,
} from "../../overlay/manager/overlay_manager.ts";
import type { AuthenticatedPeer } from "../../overlay/manager/peer_lists.ts";
import { encodeMessage, type StellarMessage } from "../../overlay/wire/messages.ts";
import type { Envelope } from "./envelope.ts";
import { type ClosedLedger, LedgerBoard } from "./ledger_board.ts";
import { signedPart } from "./tx_hash.ts";
import { envelopesOf } from "./tx_set.ts";

/** Peers that are remembered in a result, those that failed included. */
const MAX_PEERS = 200;
/** Times kept per peer and kind. */
const MAX_TIMES = 20;
/** From one dial of a named peer that is not connected to the next, ms. */
const REDIAL_MS = 10_000;

/** What to send, and how. */
export interface SubmitPlan {
  envelope: Envelope;
  /** Send it without being asked, to every peer as it comes. */
  push: boolean;
  /** Longest wait for its ledger, ms. */
  timeoutMs: number;
  /** Peers to send it through, and nobody else; empty: those that the configuration and its address book lead to. */
  named: readonly PeerAddress[];
}

/** How it ended. */
export type SubmitOutcome =
  /** It is in a ledger. */
  | "included"
  /** Somebody has it, and no ledger that was looked at. */
  | "not-included"
  /** Peers were told, and none asked for it. */
  | "not-asked"
  /** Every peer that took it ended the connection with an error. */
  | "refused"
  /** No peer let us in. */
  | "not-connected";

/** Why it ended then. */
export type SubmitEnd = "included" | "timeout" | "expired" | "alone" | "interrupted";

/** One peer, or an address where none could be had. Times in ms since the start; null: it did not happen. */
export interface SubmitPeer {
  address: string;
  /** `G...`; null when it never said. */
  nodeId: string | null;
  /** Text of the remote. */
  versionStr: string | null;
  connectedMs: number | null;
  /** When it was told that there is a transaction; the advert leaves within 100 ms. */
  advertisedMs: number | null;
  pushedMs: number | null;
  /** When it asked for it. BOUNDED: {@link MAX_TIMES}. */
  demandedMs: number[];
  /** When it told us of it, by an advert or by sending it: it had it from somebody else, or passes it on. BOUNDED as above. */
  toldUsMs: number[];
  droppedMs: number | null;
  failure: Failure | null;
}

/** What became of it. */
export interface SubmitResult {
  outcome: SubmitOutcome;
  end: SubmitEnd;
  ledger: (ClosedLedger & { position: number; size: number; seenMs: number }) | null;
  /** Ledgers whose transactions were looked through, oldest first. BOUNDED: by the timeout, one per ledger. */
  ledgersSearched: number[];
  /** Ledgers whose set could not be read: a protocol newer than stellar-base. */
  ledgersUnreadable: number[];
  /** Transaction sets that no peer had given when it ended. */
  setsMissing: number;
  /** The last ledger known. */
  lastLedger: number | null;
  peers: SubmitPeer[];
  startedAtMs: number;
  durationMs: number;
}

/** Something worth a line of progress. */
export type SubmitEvent =
  | { event: "connected" | "advertised" | "pushed" | "demanded" | "told" | "dropped"; peer: SubmitPeer }
  | { event: "failed"; peer: SubmitPeer }
  | { event: "ledger"; sequence: number; transactions: number; found: boolean };

/** What it runs on. */
export interface SubmitContext extends Pick<OverlayManagerOptions, "transport" | "resolver" | "random" | "database"> {
  clock: Clock;
  config: OverlayConfig;
  seed?: Uint8Array;
  signal: AbortSignal;
  onEvent?(event: SubmitEvent): void;
}

/**
 * The configuration of the node that sends: a watcher that listens nowhere, dials at once, and holds `peers` peers. It
 * relays no transactions of others. With `named` peers it has no first ones of its own and dials nobody else.
 */
export function submitChanges(peers: number, named: boolean): OverlayConfigChanges {
  return {
    isValidator: false,
    noListen: true,
    startDelayMs: 1,
    targetPeerConnections: peers,
    skipConnectionAdjustment: true,
    ...(named && { noDial: true, knownPeers: [], preferredPeers: [] }),
  };
}

/** Sends it, and waits. Never throws for what peers do. The database is closed at the end. */
export async function submit(plan: SubmitPlan, context: SubmitContext): Promise<SubmitResult> {
  const { xdr } = await import("@stellar/stellar-base");
  return await new Submission(plan, context, xdr).run();
}

class Submission {
  readonly #plan: SubmitPlan;
  readonly #context: SubmitContext;
  readonly #xdr: Parameters<typeof envelopesOf>[1];
  readonly #node: OverlayManager;
  readonly #board: LedgerBoard;
  readonly #message: StellarMessage & { type: "transaction" };
  readonly #hash: Uint8Array;
  readonly #startedMs: number;
  readonly #startedAtMs: number;
  /** By node id, or by address while there is none. BOUNDED: {@link MAX_PEERS}. */
  readonly #peers = new Map<string, SubmitPeer>();
  /** Last dial of each named peer. BOUNDED: by their number. */
  readonly #dials = new Map<string, { atMs: number; ip?: PeerAddress }>();
  readonly #firstPeers: number;
  readonly #searched: number[] = [];
  readonly #unreadable: number[] = [];
  #ledger: SubmitResult["ledger"] = null;
  #failures = 0;
  #end: SubmitEnd | undefined;
  #finish!: () => void;
  readonly #finished = new Promise<void>((resolve) => (this.#finish = resolve));

  constructor(plan: SubmitPlan, context: SubmitContext, xdr: Parameters<typeof envelopesOf>[1]) {
    this.#plan = plan;
    this.#context = context;
    this.#xdr = xdr;
    const { clock, config } = context;
    const { named } = plan;
    this.#firstPeers = named.length > 0 ? named.length : config.knownPeers.length + config.preferredPeers.length;
    this.#startedMs = clock.nowMs();
    this.#startedAtMs = clock.wallMs();
    this.#message = { type: "transaction", transaction: plan.envelope.bytes };
    this.#hash = fromHex(plan.envelope.view.advertHash);
    this.#board = new LedgerBoard(config.ledgerNodes.map((nodeId) => decodeNodeId(nodeId)));
    this.#node = new OverlayManager({
      config,
      clock,
      transport: context.transport,
      resolver: context.resolver,
      random: context.random,
      database: context.database,
      seed: context.seed,
      // So that a ledger's transactions are here when its validators say that it is closed.
      fetchItems: true,
      // The transactions of others are neither asked for nor passed on.
      acceptTransaction: () => false,
      log: (event) => this.#onLog(event),
    });
  }

  async run(): Promise<SubmitResult> {
    const { clock, signal } = this.#context;
    const interrupt = () => this.#finishAs("interrupted");
    if (signal.aborted) interrupt();
    signal.addEventListener("abort", interrupt, { once: true });
    const limit: Timer = clock.setTimer(this.#plan.timeoutMs, () => this.#finishAs("timeout"));
    const node = this.#node;
    // For as long as we run: the ledgers that a node catches up on when it joins would make it old at once.
    node.transactions.add(this.#plan.envelope.view.advertHash, encodeMessage(this.#message), Number.MAX_SAFE_INTEGER);
    // The node begins to notice adverts and demands with its first broadcast: now, to nobody.
    node.broadcast(this.#message);
    const unobserve = node.observe({
      onAuthenticated: (peer) => this.#onPeer(peer),
      onDropped: (peer, { failure }) => this.#onDropped(peer, failure),
      onTick: (nowMs) => void this.#dialNamed(nowMs),
      onEnvelope: ({ envelope }) => this.#onLedgers(this.#board.hear(envelope, node.ledgerSeq)),
    });
    const heard = this.#listen();
    await node.start();
    await this.#finished;
    limit.cancel();
    signal.removeEventListener("abort", interrupt);
    unobserve();
    const durationMs = this.#nowMs();
    const setsMissing = node.dispatcher.fetching.txSets, lastLedger = node.ledgerSeq ?? null;
    await node.stop();
    await heard;
    return {
      outcome: this.#outcome(),
      end: this.#end!,
      ledger: this.#ledger,
      ledgersSearched: this.#searched,
      ledgersUnreadable: this.#unreadable,
      setsMissing,
      lastLedger,
      peers: [...this.#peers.values()],
      startedAtMs: this.#startedAtMs,
      durationMs,
    };
  }

  #nowMs(): number {
    return this.#context.clock.nowMs() - this.#startedMs;
  }

  #finishAs(end: SubmitEnd): void {
    this.#end ??= end;
    this.#finish();
  }

  #tell(event: SubmitEvent): void {
    this.#context.onEvent?.(event);
  }

  // ---- Peers ----

  /** Dials the named peers that are not connected; the node itself dials nobody then. */
  async #dialNamed(nowMs: number): Promise<void> {
    for (const target of this.#plan.named) {
      const text = formatAddress(target), last = this.#dials.get(text);
      if (last !== undefined && nowMs - last.atMs < REDIAL_MS) continue;
      if (last?.ip !== undefined && this.#node.authenticatedPeers().some(({ address }) => isAt(address, last.ip!))) {
        continue;
      }
      const dial: { atMs: number; ip?: PeerAddress } = { atMs: nowMs };
      this.#dials.set(text, dial);
      try {
        const [host] = ipVersion(target.host) === 0 ? await this.#context.resolver.resolve(target.host) : [target.host];
        if (this.#end !== undefined) return;
        dial.ip = { host, port: target.port };
        this.#node.connect(dial.ip);
      } catch (error) {
        if (!(error instanceof OverlayError)) throw error;
        this.#onLog({ event: "resolveFailed", address: text, failure: error.failure });
      }
    }
  }

  #onPeer(member: AuthenticatedPeer): void {
    const address = formatAddress(member.address), { nodeId } = member;
    let peer = this.#peers.get(nodeId);
    const again = peer !== undefined;
    if (peer === undefined) {
      if (this.#peers.size >= MAX_PEERS) return;
      peer = newPeer(address, nodeId);
      this.#peers.set(nodeId, peer);
      // A dial to it that failed before is history.
      this.#peers.delete(address);
    }
    peer.versionStr = member.peer.hello?.versionStr ?? null;
    peer.connectedMs = this.#nowMs();
    peer.droppedMs = null;
    peer.failure = null;
    this.#tell({ event: "connected", peer });
    // Whoever was told keeps its record in the floodgate, but a new connection may be a new process.
    if (again) member.send({ type: "floodAdvert", txHashes: [this.#hash] });
    else this.#node.broadcast(this.#message);
    peer.advertisedMs ??= this.#nowMs();
    this.#tell({ event: "advertised", peer });
    if (!this.#plan.push) return;
    member.send(encodeMessage(this.#message));
    peer.pushedMs ??= this.#nowMs();
    this.#tell({ event: "pushed", peer });
  }

  #onDropped({ nodeId }: AuthenticatedPeer, failure: Failure): void {
    const peer = this.#peers.get(nodeId);
    if (peer === undefined || this.#end !== undefined) return;
    peer.droppedMs = this.#nowMs();
    peer.failure = failure;
    this.#tell({ event: "dropped", peer });
  }

  #onLog(event: OverlayEvent): void {
    if (this.#end !== undefined) return;
    if (event.event !== "dialFailed" && event.event !== "resolveFailed" && event.event !== "dropped") return;
    const { address, failure } = event, nodeId = "nodeId" in event ? event.nodeId ?? null : null;
    // We had no slot for it: the node calls a few more than it needs.
    if (failure.code === "local_close") return;
    const known = nodeId === null ? undefined : this.#peers.get(nodeId);
    if (known?.connectedMs === undefined || known.connectedMs === null) this.#onFailed(address, nodeId, failure);
    // The lists of the node are as they will be once this event is over.
    this.#context.clock.setTimer(0, () => this.#endIfAlone());
  }

  #onFailed(address: string, nodeId: string | null, failure: Failure): void {
    this.#failures++;
    let peer = this.#peers.get(address);
    if (peer === undefined) {
      if (this.#peers.size >= MAX_PEERS) return;
      this.#peers.set(address, peer = newPeer(address, nodeId));
    }
    const repeated = peer.failure?.code === failure.code;
    peer.nodeId ??= nodeId;
    peer.failure = failure;
    if (!repeated) this.#tell({ event: "failed", peer });
  }

  /** Nobody is connected, nobody is being called, and everybody we began with has failed or dropped us. */
  #endIfAlone(): void {
    const { inbound, outbound, pending } = this.#node.counts;
    if (this.#end !== undefined || inbound + outbound + pending > 0) return;
    const dropped = [...this.#peers.values()].filter((peer) => peer.connectedMs !== null).length;
    if (this.#failures + dropped >= this.#firstPeers) this.#finishAs("alone");
  }

  async #listen(): Promise<void> {
    const types = ["floodAdvert", "floodDemand", "transaction"] as const;
    for await (const { from, message } of this.#node.subscribe({ types, demand: false })) {
      const peer = this.#peers.get(from);
      if (peer === undefined) continue;
      const atMs = message.receivedAtMs - this.#startedMs;
      if (message.type === 8) {
        if (transactionHash(message.bytes) === this.#plan.envelope.view.advertHash) this.#told(peer, atMs);
        continue;
      }
      const body = message.decode();
      const hashes = body.type === "floodAdvert" || body.type === "floodDemand" ? body.txHashes : [];
      if (!hashes.some((hash) => equalBytes(hash, this.#hash))) continue;
      if (body.type === "floodAdvert") this.#told(peer, atMs);
      else this.#note(peer, peer.demandedMs, atMs, "demanded");
    }
  }

  #told(peer: SubmitPeer, atMs: number): void {
    this.#note(peer, peer.toldUsMs, atMs, "told");
  }

  #note(peer: SubmitPeer, times: number[], atMs: number, event: "demanded" | "told"): void {
    if (times.length >= MAX_TIMES) return;
    times.push(atMs);
    this.#tell({ event, peer });
  }

  // ---- Ledgers ----

  #onLedgers(closed: readonly ClosedLedger[]): void {
    for (const ledger of closed) {
      this.#search(ledger);
      const { maxTime } = this.#plan.envelope.view;
      if (this.#ledger !== null) return this.#finishAs("included");
      if (maxTime !== null && ledger.closeTime > maxTime) return this.#finishAs("expired");
    }
  }

  #search(ledger: ClosedLedger): void {
    if (this.#end !== undefined) return;
    const { sequence, txSetHash } = ledger;
    const message = txSetHash === null ? undefined : this.#node.dispatcher.txSets.get(txSetHash);
    let position = -1, size = 0;
    if (message !== undefined) {
      try {
        const { signedPart: wanted } = this.#plan.envelope;
        const envelopes = envelopesOf(message, this.#xdr);
        size = envelopes.length;
        position = envelopes.findIndex((envelope) => equalBytes(signedPart(envelope), wanted));
      } catch {
        this.#unreadable.push(sequence);
        return;
      }
    }
    this.#searched.push(sequence);
    if (position >= 0) this.#ledger = { ...ledger, position, size, seenMs: this.#nowMs() };
    this.#tell({ event: "ledger", sequence, transactions: size, found: position >= 0 });
  }

  #outcome(): SubmitOutcome {
    if (this.#ledger !== null) return "included";
    const connected = [...this.#peers.values()].filter((peer) => peer.connectedMs !== null);
    if (connected.length === 0) return "not-connected";
    const took = connected.filter((peer) => peer.demandedMs.length > 0 || peer.pushedMs !== null);
    if (took.length > 0 && took.every(isRefusal)) return "refused";
    const told = connected.some((peer) => peer.toldUsMs.length > 0);
    return took.length > 0 || told ? "not-included" : "not-asked";
  }
}

function isAt(address: PeerAddress, ip: PeerAddress): boolean {
  return address.host === ip.host && address.port === ip.port;
}

/** Whether a peer ended the connection and said that what we sent is wrong. */
function isRefusal({ failure }: SubmitPeer): boolean {
  return failure?.code === "dropped_by_remote" && failure.errorCode === "ERR_DATA";
}

function newPeer(address: string, nodeId: string | null): SubmitPeer {
  return {
    address,
    nodeId,
    versionStr: null,
    connectedMs: null,
    advertisedMs: null,
    pushedMs: null,
    demandedMs: [],
    toldUsMs: [],
    droppedMs: null,
    failure: null,
  };
}

/** What happened, in one sentence, and what to do next. */
export function verdictOf(result: SubmitResult): { detail: string; next: string | null } {
  const { outcome, end, ledger, peers, ledgersSearched, ledgersUnreadable, setsMissing, lastLedger } = result;
  const connected = peers.filter((peer) => peer.connectedMs !== null);
  const seconds = `${Math.round(result.durationMs / 100) / 10} s`;
  switch (outcome) {
    case "included":
      return {
        detail: `included in ledger ${ledger!.sequence}`,
        next: "whether it succeeded is in that ledger's results",
      };
    case "not-connected": {
      const failed = peers.find((peer) => peer.failure !== null)?.failure;
      const why = failed === undefined || failed === null ? "" : `: ${describeFailure(failed)}`;
      return {
        detail: `no peer let us in within ${seconds}${why}`,
        next: "nothing was sent; try other peers with --peer, or look at one with: connect HOST:PORT",
      };
    }
    case "refused": {
      const failure = peers.find(isRefusal)!.failure!;
      const text = remoteText(failure);
      return {
        detail: `every peer that took it ended the connection with ERR_DATA${text === undefined ? "" : ` (${text})`}`,
        next: "the peers could not read it: it may use a protocol newer than theirs",
      };
    }
    case "not-asked":
      return {
        detail: `${connected.length} peers were told in ${seconds}, and none asked for it`,
        next: lastLedger === null
          ? "no ledger was seen to close either: these peers may be out of sync; try others with --peer, or send it unasked with --push"
          : "they may know it already, or be full of better paying ones; look up its hash, then try --push or other peers",
      };
    case "not-included": {
      const looked = ledgersSearched.length === 0
        ? "no ledger was seen to close"
        : `it is in none of ${ledgersSearched.length} ledgers (${ledgersSearched[0]} to ${ledgersSearched.at(-1)})`;
      const blind = setsMissing + ledgersUnreadable.length > 0
        ? `; ${setsMissing + ledgersUnreadable.length} transaction sets could not be looked into`
        : "";
      const asked = connected.filter((peer) => peer.demandedMs.length > 0 || peer.pushedMs !== null).length;
      return {
        detail: `${asked} of ${connected.length} peers took it, and ${looked}${blind}`,
        next: end === "expired"
          ? "its time bounds have passed: it can never be included; make it again"
          : end === "interrupted"
          ? "it may still be included; look up its hash later"
          : "it may still be included: do not sign another one yet. Its fee may be too low, its sequence number or signatures wrong: validators drop such ones silently",
      };
    }
  }
}
