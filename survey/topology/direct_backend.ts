/**
 * A survey through overlay connections of our own: a watcher with a permitted identity that dials a few nodes, follows the
 * ledger by what validators say, and sends, hears and opens the survey's messages. Source: survey.md sections 4, 5, 9 and 12.
 */
import type { Clock } from "../../overlay/base/clock.ts";
import { configure, type OverlayConfig } from "../../overlay/base/config.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import type { Random } from "../../overlay/base/random.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { type OverlayEvent, OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { COLLECTING_MAX_MS, REPORTING_MS } from "../../overlay/survey/survey_data.ts";
import type { HeardSurveyMessage, Surveyor } from "../../overlay/survey/surveyor.ts";
import type { Resolver, Transport } from "../../overlay/transport/transport.ts";
import type {
  BackendNotice,
  OtherSurvey,
  PlannedPage,
  RunningSurvey,
  SurveyAnswer,
  SurveyBackend,
  SurveyStart,
  SurveyStop,
  UnsentPage,
} from "./backend.ts";
import { pause } from "./pause.ts";
import { nodeOfTopology } from "./topology_node.ts";
import type { SurveyedNode } from "./types.ts";

/**
 * Messages name a ledger below the one we track, that much: nodes up to 6 + 2 ledgers behind take them, as do those that are
 * ahead, and answers have four ledgers to come back. Requests for a page that was lost go further down each time, where there
 * is room, for nodes that lag more. Two requests to one node never name the same ledger: planner.ts keeps them further apart.
 */
export const LEDGER_MARGINS = [2, 3, 5];
const LEDGER_MARGIN = LEDGER_MARGINS[0];
/** Peers that START is tried with, one after the other. */
const MAX_ROUNDS = 4;
/** How often conditions are looked at, ms. */
const POLL_MS = 100;
/** Once a peer and the ledger are known: how long further peers are waited for, ms. */
const FURTHER_PEERS_MS = 5000;

/** What a direct backend is made of. Times in ms. */
export interface DirectBackendOptions {
  /** Network, and the targets as `preferredPeers` or `knownPeers`. Listening and the number of connections are set here. */
  config: OverlayConfig;
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  /** 32-byte Ed25519 seed of the surveyor. */
  seed: Uint8Array;
  /** Nonce of the survey to be driven: its messages are not another's. */
  nonce: number;
  /** Connections wanted at most. */
  connections: number;
  /** How long a first peer, and then the ledger, may take. */
  readyMs?: number;
  /** How long START is given to come back. */
  watchMs?: number;
  /** Everything the node tells its log. It must not throw. */
  log?: (event: OverlayEvent) => void;
}

/** See the head of this file. */
export class DirectBackend implements SurveyBackend {
  readonly kind = "direct";
  readonly turnMs: number;
  readonly lostAfterTurns = 2;
  readonly #options: Required<Omit<DirectBackendOptions, "log">>;
  readonly #node: OverlayManager;
  readonly #survey: Surveyor;
  /** Peers that brought something of our survey: they relay. BOUNDED: by the peers of this node. */
  readonly #relays = new Set<string>();
  readonly #notices = new Set<(notice: BackendNotice) => void>();
  readonly #off: (() => void)[] = [];
  #nonce: number;
  #other: OtherSurvey | undefined;
  /** Peers that sent our own START back. BOUNDED: by the peers of this node. */
  readonly #startFrom = new Set<string>();
  #failure: string | undefined;
  #tried = 0;
  #rotation = 0;
  #alone = false;
  #isReady = false;

  private constructor(options: DirectBackendOptions, node: OverlayManager) {
    this.#options = { readyMs: 30_000, watchMs: 6000, ...options };
    this.#node = node;
    this.#survey = node.survey;
    this.turnMs = node.config.closeTimeMs;
    this.#nonce = options.nonce;
    this.#off.push(
      this.#survey.onHeard((heard) => this.#onHeard(heard)),
      node.observe({
        onDropped: (peer) => {
          this.#relays.delete(peer.nodeId);
          this.#startFrom.delete(peer.nodeId);
        },
        onTick: () => this.#watchPeers(),
      }),
    );
  }

  /** Makes the node; nothing is dialed before {@link ready}. */
  static async open(options: DirectBackendOptions): Promise<DirectBackend> {
    const { connections, transport, resolver, clock, random, seed } = options;
    const config = configure(options.config, {
      isValidator: false,
      noListen: true,
      noDial: false,
      targetPeerConnections: connections,
      maxAdditionalPeerConnections: 0,
      // Nobody dials us, so the target is not a share of something.
      skipConnectionAdjustment: true,
      // Dials of ours would count in the answers as peers that came and went.
      dialBeyondTarget: false,
      startDelayMs: 1,
    });
    const database = await openNodeDatabase(":memory:", { networkPassphrase: config.networkPassphrase });
    let backend: DirectBackend | undefined = undefined as DirectBackend | undefined;
    const node = new OverlayManager({
      config,
      transport,
      resolver,
      clock,
      random,
      seed,
      database,
      log: (event) => {
        backend?.hear(event);
        options.log?.(event);
      },
    });
    backend = new DirectBackend({ ...options, config }, node);
    return backend;
  }

  get surveyorId(): string {
    return this.#node.local.nodeIdText;
  }

  get surveyorVersion(): string {
    return this.#node.local.versionStr;
  }

  /** The peers we are connected to, by node id. */
  peers(): string[] {
    return this.#node.peers().map((peer) => peer.nodeId);
  }

  /** Takes an event of the node: why nobody can be reached. */
  hear(event: OverlayEvent): void {
    if (event.event === "dialing") this.#tried++;
    else if (event.event === "dialFailed" || event.event === "resolveFailed") {
      this.#failure = `${event.address}: ${describeFailure(event.failure)}`;
    } else if (event.event === "dropped") this.#failure = `${event.address}: ${event.reason}`;
  }

  async ready(signal: AbortSignal): Promise<void> {
    const { clock, readyMs, connections } = this.#options;
    const beganMs = clock.nowMs();
    if (this.#isReady) return;
    await this.#node.start();
    let known = undefined as number | undefined;
    while (!signal.aborted && !this.#isReady) {
      const peers = this.#node.peers().length, afterMs = Math.round(clock.nowMs() - beganMs);
      if (peers > 0 && this.ledger() !== undefined) {
        known ??= clock.nowMs();
        this.#isReady = peers >= connections || clock.nowMs() - known >= FURTHER_PEERS_MS;
        if (this.#isReady) return;
      } else if (clock.nowMs() - beganMs >= readyMs) {
        if (peers > 0) throw new OverlayError({ code: "no_ledger", afterMs, peers });
        throw new OverlayError({ code: "no_peer", afterMs, tried: this.#tried, reason: this.#failure ?? "no answer" });
      }
      await pause(clock, POLL_MS, signal);
    }
  }

  ledger(): number | undefined {
    return this.#node.ledgerSeq;
  }

  turn(): number | undefined {
    return this.ledger();
  }

  roomInTurn(): number {
    const ledgerNum = this.#ledgerNum(LEDGER_MARGIN);
    return ledgerNum === undefined || this.#node.peers().length === 0 ? 0 : this.#survey.roomIn(ledgerNum);
  }

  async start(nonce: number, signal: AbortSignal): Promise<SurveyStart> {
    this.#nonce = nonce;
    this.#startFrom.clear();
    const active = this.#activeElsewhere();
    if (active !== undefined) return { kind: "active", other: active };
    const { clock, watchMs } = this.#options;
    const beganMs = clock.nowMs();
    const peers = this.peers();
    // One peer is told and the others are watched, then the next: one node that takes no part in surveys shall not decide.
    const rounds = peers.slice(0, MAX_ROUNDS).map((peer) => ({
      told: [peer],
      watched: peers.filter((other) => other !== peer),
    }));
    let passedOn = false, sentIn: number | undefined, told = 0;
    for (const round of rounds) {
      // A START of the same ledger would be the same bytes, which peers do not take twice.
      while (sentIn === this.ledger() && !signal.aborted) await pause(clock, POLL_MS, signal);
      // Interrupted in the middle: what was sent counts.
      if (signal.aborted && sentIn !== undefined) break;
      this.#survey.leave();
      const sent = this.#survey.startCollecting(nonce, { ledgerNum: this.#ledgerNum(LEDGER_MARGIN), to: round.told });
      if (!sent.started) {
        if (sent.reason === "survey_active") {
          return { kind: "active", other: this.#activeElsewhere() ?? this.#unknown() };
        }
        throw new OverlayError({ code: "no_ledger", afterMs: 0, peers: peers.length });
      }
      sentIn = this.ledger();
      told += sent.told.length;
      if (round.watched.length === 0) {
        this.#tell("only one connection: whether START is passed on cannot be seen before somebody answers");
        break;
      }
      const untilMs = clock.nowMs() + watchMs;
      while (this.#startFrom.size === 0 && clock.nowMs() < untilMs && !signal.aborted) {
        await pause(clock, POLL_MS, signal);
      }
      passedOn = this.#startFrom.size > 0;
      if (passedOn || signal.aborted) break;
    }
    const other = this.#heardOther();
    if (!passedOn && other !== undefined) {
      this.#survey.leave();
      return { kind: "active", other };
    }
    if (!passedOn && peers.length > 1 && !signal.aborted) {
      this.#survey.leave();
      const waitedMs = Math.round(clock.nowMs() - beganMs);
      return { kind: "ignored", told, watched: peers.length - 1, waitedMs };
    }
    return { kind: "started", passedOn, told };
  }

  stop(): Promise<SurveyStop> {
    const outcome = this.#survey.stopCollecting({ ledgerNum: this.#ledgerNum(LEDGER_MARGIN) });
    if (outcome.stopped) return Promise.resolve({ kind: "stopped", told: outcome.told.length });
    const reasons: Record<typeof outcome.reason, string> = {
      no_survey: "there is no survey here",
      not_surveyor: "the survey is another's",
      not_collecting: "the longest time of collecting is over, so the nodes stopped by themselves",
      ledger_unknown: "the network's ledger is not known",
      ledger: "the network's ledger is not known",
    };
    return Promise.resolve({ kind: "noSurvey", reason: reasons[outcome.reason] });
  }

  attach({ nonce, startedAtMs, stoppedAtMs }: RunningSurvey): Promise<void> {
    this.#nonce = nonce;
    const phase = stoppedAtMs === undefined ? "collecting" : "reporting";
    const elapsedMs = Math.max(0, this.#options.clock.wallMs() - (stoppedAtMs ?? startedAtMs));
    this.#survey.leave();
    if (!this.#survey.attach({ nonce, phase, elapsedMs })) {
      throw new OverlayError({
        code: "invalid_argument",
        argument: "survey",
        reason: "this node takes part in another",
      });
    }
    return Promise.resolve();
  }

  ask(pages: readonly PlannedPage[]): Promise<UnsentPage[]> {
    const unsent: UnsentPage[] = [];
    const peers = this.peers();
    for (const { attempt, ...page } of pages) {
      const lower = this.#ledgerNum(LEDGER_MARGINS[Math.min(attempt, LEDGER_MARGINS.length - 1)]);
      const hasRoom = lower !== undefined && this.#survey.roomIn(lower) > 0;
      const ledgerNum = hasRoom ? lower : this.#ledgerNum(LEDGER_MARGIN);
      const [outcome] = this.#survey.ask([page], { ledgerNum, to: this.#route(page.nodeId, attempt, peers) });
      if (!outcome.sent) unsent.push({ page, reason: outcome.reason });
      else if (outcome.told.length === 0) unsent.push({ page, reason: "no peer" });
    }
    return Promise.resolve(unsent);
  }

  onAnswer(listener: (answer: SurveyAnswer) => void): () => void {
    return this.#survey.onAnswer((answer) => {
      const { page, from } = answer;
      this.#relays.add(from);
      if (answer.kind === "page") listener({ page, kind: "page", node: nodeOfTopology(page.nodeId, answer.topology) });
      else listener({ page, kind: "bad", reason: answer.reason });
    });
  }

  onNotice(listener: (notice: BackendNotice) => void): () => void {
    this.#notices.add(listener);
    return () => void this.#notices.delete(listener);
  }

  own(): SurveyedNode | undefined {
    const own = this.#survey.own();
    return own === undefined ? undefined : nodeOfTopology(this.surveyorId, own);
  }

  seeds(): Promise<string[]> {
    return Promise.resolve(this.peers());
  }

  async close(): Promise<void> {
    for (const off of this.#off.splice(0)) off();
    await this.#node.stop();
  }

  /** The ledger number of a message, `margin` below ours. */
  #ledgerNum(margin: number): number | undefined {
    const ledger = this.ledger();
    return ledger === undefined ? undefined : Math.max(1, ledger - margin);
  }

  /**
   * Whom a request is sent to: the node itself when we are connected to it, else one peer that is known to relay, each in its
   * turn; all of them when none is known, and for a page that was lost.
   */
  #route(nodeId: string, attempt: number, peers: readonly string[]): string[] | undefined {
    if (attempt > 0) return undefined;
    if (peers.includes(nodeId)) return [nodeId];
    const relays = peers.filter((peer) => this.#relays.has(peer));
    return relays.length === 0 ? undefined : [relays[this.#rotation++ % relays.length]];
  }

  #onHeard({ type, from, surveyorId, nonce }: HeardSurveyMessage): void {
    if (surveyorId === this.surveyorId && nonce === this.#nonce) {
      this.#relays.add(from);
      if (type === "start") this.#startFrom.add(from);
      return;
    }
    const nowMs = this.#options.clock.wallMs();
    // Only START says when it began; whatever else is heard may come right after STOP.
    const overAtLatestMs = nowMs + REPORTING_MS + (type === "start" ? COLLECTING_MAX_MS : 0);
    const isNew = this.#other?.surveyorId !== surveyorId || this.#other.nonce !== nonce;
    if (isNew) this.#tell(`messages of another survey are passing by: ${type} of ${surveyorId}, nonce ${nonce}`);
    // The first sight of a phase says most about its end.
    const isLater = this.#other?.heard === "start" && type !== "start";
    if (isNew || isLater) this.#other = { surveyorId, nonce, heard: type, overAtLatestMs };
  }

  /** A survey of others: one that passed by, or one that this node takes part in. */
  #activeElsewhere(): OtherSurvey | undefined {
    const { clock } = this.#options;
    const { phase, nonce, surveyorId, phaseEndsMs } = this.#survey.state;
    if (phase === "inactive" || (surveyorId === this.surveyorId && nonce === this.#nonce)) {
      return this.#heardOther();
    }
    const untilMs = phaseEndsMs! + (phase === "collecting" ? REPORTING_MS : 0);
    return { surveyorId, nonce, heard: undefined, overAtLatestMs: clock.wallMs() + untilMs - clock.nowMs() };
  }

  /** A survey of others whose messages passed by, unless it is over by now. */
  #heardOther(): OtherSurvey | undefined {
    const other = this.#other;
    return other !== undefined && other.overAtLatestMs > this.#options.clock.wallMs() ? other : undefined;
  }

  #unknown(): OtherSurvey {
    const overAtLatestMs = this.#options.clock.wallMs() + COLLECTING_MAX_MS + REPORTING_MS;
    return { surveyorId: undefined, nonce: undefined, heard: undefined, overAtLatestMs };
  }

  #watchPeers(): void {
    const isAlone = this.#node.peers().length === 0;
    if (!this.#isReady || isAlone === this.#alone) return;
    this.#alone = isAlone;
    this.#tell(isAlone ? "all connections are lost; dialing again" : "connected again");
  }

  #tell(text: string): void {
    for (const listener of [...this.#notices]) listener({ text });
  }
}
