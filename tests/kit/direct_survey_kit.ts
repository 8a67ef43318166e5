/** A network of whole engines in virtual time, whose ledgers close, and surveyors of our own that dial into it. */
import type { VirtualClock } from "../../overlay/base/clock.ts";
import { standalone } from "../../overlay/base/config.ts";
import type { PeerAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { DirectBackend } from "../../survey/topology/direct_backend.ts";
import {
  type SessionEnd,
  type SessionGoal,
  type SessionOptions,
  SurveySession,
} from "../../survey/topology/session.ts";
import { SurveyStore } from "../../survey/topology/survey_store.ts";
import { type EngineNode, EngineWorld, idOf, PASSPHRASE, seedOf } from "./engine_world.ts";
import { Voice } from "./voices.ts";

const LEDGER_MS = 5000;
const SURVEYOR_SEED = seedOf(60_000);
const SURVEYOR = encodeNodeId(signingKey(SURVEYOR_SEED).publicKey);
/** Collecting in these tests, ms. */
const COLLECT_MS = 60_000;

/** Who permits whom. */
export interface DirectWorldOptions {
  /** Whether the nodes permit the surveyor; all do. */
  permitted?: boolean;
  /** Nodes that permit nobody. */
  optedOut?: number[];
  /** Nodes that everybody permits too. */
  alsoPermits?: number[];
  /** Nodes that believe their own ledger only: see {@link DirectWorld.lag}. */
  laggards?: number[];
}

/** A survey under way. */
export interface DirectSurvey {
  session: SurveySession;
  backend: DirectBackend;
  stop: AbortController;
  /** Drives it up to the goal; `again`: with a new session over the same backend. */
  done(goal: SessionGoal, options?: { again?: boolean; attempts?: number }): Promise<SessionEnd>;
}

/** See the head of this file. */
export class DirectWorld implements AsyncDisposable {
  readonly world = new EngineWorld({ seed: 3, sound: true });
  readonly clock = this.world.clock as VirtualClock;
  readonly notices: string[] = [];
  readonly voice = new Voice(1);
  readonly #options: DirectWorldOptions;
  readonly #lags = new Map<number, number>();
  readonly #backends: DirectBackend[] = [];
  #store: SurveyStore | undefined;
  #id = 0;
  #surveyors = 0;
  #slot = 1000;
  #closing = true;

  constructor(options: DirectWorldOptions = {}) {
    this.#options = options;
  }

  get nodes(): EngineNode[] {
    return this.world.nodes;
  }

  /** A ring with chords. `silent`: nobody says anything about ledgers. */
  async build(count: number, options: { silent?: boolean } = {}): Promise<void> {
    const { permitted = true, optedOut = [], alsoPermits = [] } = this.#options;
    const keys = [permitted ? SURVEYOR : idOf(59_999), ...alsoPermits.map(idOf)];
    const addresses = await this.world.addresses(count);
    for (let i = 0; i < count; i++) {
      const known = i === 0 ? [] : [...new Set([i - 1, (i * 7) % i, i >> 1])].map((k) => addresses[k]);
      await this.world.add({
        config: {
          knownPeers: known,
          targetPeerConnections: 4,
          surveyorKeys: optedOut.includes(i) ? [idOf(59_999)] : keys,
          startDelayMs: 100,
        },
        ...(this.#options.laggards?.includes(i) ? { trusts: () => false } : {}),
        before: (engine) => this.voice.equip(engine),
      });
    }
    // Until everybody has the peers that it wants.
    await this.clock.advance(120_000);
    if (options.silent) return;
    const close = () => {
      if (!this.#closing) return;
      this.#slot++;
      // Told to all by their own ledger, as a validator's node knows it, and said by a voice for who only listens.
      for (const node of this.nodes) node.engine.scp.track(this.#slot - (this.#lags.get(node.index) ?? 0));
      this.voice.sayAt(this.nodes[0].engine, this.#slot, "externalize");
      this.clock.setTimer(LEDGER_MS, close);
    };
    close();
    await this.clock.advance(LEDGER_MS);
  }

  /** Lets a laggard fall behind by so many ledgers, and stay that far behind. */
  async lag(index: number, ledgers: number): Promise<void> {
    this.#lags.set(index, ledgers);
    await this.clock.advance(ledgers * LEDGER_MS);
  }

  /** A surveyor that dials these nodes. */
  async survey(
    options: { targets?: number[]; addresses?: PeerAddress[]; again?: boolean; session?: Partial<SessionOptions> },
  ): Promise<DirectSurvey> {
    const targets = options.addresses ?? (options.targets ?? []).map((index) => this.nodes[index].address);
    this.#store ??= await SurveyStore.open(":memory:", { networkPassphrase: PASSPHRASE, clock: this.clock });
    const store = this.#store;
    if (!options.again) {
      this.#id = store.create({
        nonce: 5 + this.#surveyors,
        surveyor: SURVEYOR,
        toolVersion: "0",
        owner: "test",
        options: { targets: [], collectMs: COLLECT_MS, nodes: [] },
      });
    }
    const backend = await DirectBackend.open({
      config: standalone({ networkPassphrase: PASSPHRASE, preferredPeers: targets }),
      transport: this.world.memory!.transport(`12.0.0.${++this.#surveyors}`),
      resolver: this.world.memory!,
      clock: this.clock,
      random: new SeededRandom(this.#surveyors),
      seed: SURVEYOR_SEED,
      nonce: store.get(this.#id)!.nonce,
      connections: targets.length,
    });
    this.#backends.push(backend);
    const stop = new AbortController();
    const surveyId = this.#id;
    const make = (attempts?: number) =>
      new SurveySession({
        attempts,
        backend,
        store,
        surveyId,
        owner: "test",
        clock: this.clock,
        signal: stop.signal,
        onNotice: (notice) => this.notices.push(notice.text),
        ...options.session,
      });
    const survey: DirectSurvey = {
      session: make(),
      backend,
      stop,
      done: (goal, { again = false, attempts } = {}) => {
        if (again) survey.session = make(attempts);
        return this.run(survey.session.run(goal));
      },
    };
    return survey;
  }

  /** Lets time pass until a promise settles. */
  run<T>(promise: Promise<T>): Promise<T> {
    return this.clock.run(promise);
  }

  /** Lets time pass until something holds. */
  async until(holds: () => boolean): Promise<void> {
    await this.world.until(holds, "the condition", 120_000);
  }

  /** Who dialed whom according to the answers: each link as `dialer>dialed`, only those that both ends report or may report. */
  foundLinks(): string[] {
    const links = new Set<string>();
    for (const { node } of this.#store!.nodes(this.#id)) {
      for (const peer of node?.outboundPeers ?? []) links.add(`${node!.nodeId}>${peer.nodeId}`);
      for (const peer of node?.inboundPeers ?? []) links.add(`${peer.nodeId}>${node!.nodeId}`);
    }
    return [...links].sort();
  }

  /** The connections there are, those of a surveyor's backend included. */
  trueLinks(backend: DirectBackend): string[] {
    const links = this.nodes.flatMap((node) =>
      node.engine.peers().filter((peer) => peer.role === "weCalledRemote").map((peer) => `${node.id}>${peer.nodeId}`)
    );
    const own = this.#store!.get(this.#id)!.own?.outboundPeers ?? [];
    return [...links, ...own.map((peer) => `${backend.surveyorId}>${peer.nodeId}`)].sort();
  }

  /** How many requests were answered by ledger number. */
  answersByLedger(): number[] {
    const answers = new Map<number, number>();
    for (const event of this.nodes.flatMap((node) => node.events)) {
      if (event.event === "surveyAnswered") answers.set(event.ledgerNum, (answers.get(event.ledgerNum) ?? 0) + 1);
    }
    return [...answers.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = false;
    for (const backend of this.#backends) await this.run(backend.close());
    this.#store?.close();
    await this.world[Symbol.asyncDispose]();
  }
}
