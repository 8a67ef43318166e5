/** A backend over a network that is data: ledgers every five seconds, ten requests in each, answers after a moment. */
import type { Clock } from "../../overlay/base/clock.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type {
  BackendNotice,
  PlannedPage,
  RunningSurvey,
  SurveyAnswer,
  SurveyBackend,
  SurveyPage,
  SurveyStart,
  SurveyStop,
  UnsentPage,
} from "./backend.ts";
import { pause } from "./pause.ts";
import { type NetworkModel, pageOfModel } from "./planner_test_kit.ts";

const LEDGER_MS = 5000;
const ANSWER_MS = 300;

/** See the head of this file. */
export class ModelBackend implements SurveyBackend {
  readonly kind = "direct";
  readonly surveyorId = "GSURVEYOR";
  readonly surveyorVersion = "model 1";
  readonly turnMs = LEDGER_MS;
  readonly lostAfterTurns = 2;
  /** What happened, with the time. */
  readonly log: [what: string, atMs: number][] = [];
  readonly asked: SurveyPage[] = [];
  readonly perTurn = new Map<number, number>();
  readonly faults: {
    /** The survey was begun by another process. */
    known: boolean;
    ignored: boolean;
    activeUntilMs: number;
    silent: ReadonlySet<string>;
    /** Connected to us, unknown to the model. */
    neighbours: string[];
    /** Requests after which every further one fails. */
    failsAfter: number;
  };
  /** Nothing reaches its listeners any more, as when its process died. */
  dead = false;
  #reporting = false;
  readonly #listeners = new Set<(answer: SurveyAnswer) => void>();

  constructor(readonly clock: Clock, readonly model: NetworkModel, faults: Partial<ModelBackend["faults"]> = {}) {
    this.faults = {
      known: false,
      ignored: false,
      activeUntilMs: 0,
      silent: new Set(),
      neighbours: [],
      failsAfter: Infinity,
      ...faults,
    };
  }

  async ready(signal: AbortSignal): Promise<void> {
    this.#note("ready");
    await pause(this.clock, 1000, signal);
  }
  ledger(): number {
    return 1000 + Math.floor(this.clock.nowMs() / LEDGER_MS);
  }
  turn(): number | undefined {
    return this.ledger();
  }
  roomInTurn(): number {
    return 10 - (this.perTurn.get(this.ledger()) ?? 0);
  }

  async start(_nonce: number, signal: AbortSignal): Promise<SurveyStart> {
    this.#note("start");
    if (this.clock.nowMs() < this.faults.activeUntilMs) {
      const overAtLatestMs = this.clock.wallMs() - this.clock.nowMs() + this.faults.activeUntilMs;
      return { kind: "active", other: { surveyorId: "GX", nonce: 1, heard: "stop", overAtLatestMs } };
    }
    await pause(this.clock, 500, signal);
    if (this.dead) return await new Promise(() => {});
    if (this.faults.ignored) return { kind: "ignored", told: 1, watched: 1, waitedMs: 500 };
    return { kind: "started", passedOn: true, told: 1 };
  }
  stop(): Promise<SurveyStop> {
    this.#note("stop");
    this.#reporting = true;
    return Promise.resolve({ kind: "stopped", told: 1 });
  }
  attach(survey: RunningSurvey): Promise<void> {
    this.#reporting = survey.stoppedAtMs !== undefined;
    this.#note(`attach ${this.#reporting ? "reporting" : "collecting"}`);
    return Promise.resolve();
  }

  ask(pages: readonly PlannedPage[]): Promise<UnsentPage[]> {
    if (!this.#reporting) throw new Error("asked before reporting");
    const turn = this.ledger();
    this.perTurn.set(turn, (this.perTurn.get(turn) ?? 0) + pages.length);
    this.asked.push(...pages);
    if (this.asked.length > this.faults.failsAfter) {
      return Promise.reject(new OverlayError({ code: "connection_lost", reset: false, reason: "end" }));
    }
    for (const page of pages) {
      if (this.faults.silent.has(page.nodeId) || !this.model.has(page.nodeId)) continue;
      this.clock.setTimer(ANSWER_MS, () => {
        if (this.dead) return;
        for (const listener of this.#listeners) {
          listener({ page, kind: "page", node: pageOfModel(this.model, page) });
        }
      });
    }
    return Promise.resolve([]);
  }
  onAnswer(listener: (answer: SurveyAnswer) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
  onNotice(_listener: (notice: BackendNotice) => void): () => void {
    return () => {};
  }
  own(): undefined {
    return undefined;
  }
  seeds(): Promise<string[]> {
    return Promise.resolve([[...this.model.keys()][0], ...this.faults.neighbours]);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  #note(what: string): void {
    this.log.push([what, this.clock.nowMs()]);
  }
}
