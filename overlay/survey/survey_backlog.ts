/**
 * Upstream's way of asking: nodes wait in a queue, at most ten requests leave every 15 s, and the latest answer of each node is
 * kept. What the HTTP commands `surveytopologytimesliced`, `stopsurvey` and `getsurveyresult` of stellar-core do. A plan of one's
 * own asks through the {@link Surveyor} itself. Source: stellar-core SurveyManager.cpp; survey.md sections 9 and 10.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { SurveyTopology } from "../wire/survey_messages.ts";
import { MAX_REQUESTS_PER_LEDGER } from "./message_limiter.ts";
import type { Surveyor, SurveyPage, SurveyPageAnswer } from "./surveyor.ts";

/** Between two batches, ms: three ledgers of 5 s. Source: stellar-core SurveyManager.cpp SURVEY_THROTTLE_TIMEOUT_SEC. */
export const BATCH_INTERVAL_MS = 15_000;

/** Why a node was not queued. */
export type QueueRefusal = "not_running" | "queued_already" | "self";

/** See the head of this file. Results stay readable until the next start. */
export class SurveyBacklog {
  readonly #surveyor: Surveyor;
  readonly #clock: Clock;
  readonly #self: string;
  /** First in, first out, by node. BOUNDED: by who adds, as all of this. */
  readonly #queue = new Map<string, SurveyPage>();
  readonly #results = new Map<string, SurveyTopology | null>();
  readonly #bad = new Set<string>();
  #timer: Timer | undefined;
  #unlisten: (() => void) | undefined;

  /** `self`: our node id, `G...`. */
  constructor(surveyor: Surveyor, clock: Clock, self: string) {
    this.#surveyor = surveyor;
    this.#clock = clock;
    this.#self = self;
  }

  /** Whether batches leave: upstream's `surveyInProgress`. */
  get running(): boolean {
    return this.#timer !== undefined;
  }

  /** Nodes that were not asked yet, in their order. */
  get backlog(): string[] {
    return [...this.#queue.keys()];
  }

  /** Nodes whose answers could not be read. */
  get badResponseNodes(): string[] {
    return [...this.#bad];
  }

  /** Latest page of each node that was asked, ours first; null before it answered. */
  get results(): ReadonlyMap<string, SurveyTopology | null> {
    return this.#results;
  }

  /**
   * Begins: what an earlier run found is erased, our own data is the first result. False when it runs, or our own survey is not
   * reporting.
   */
  start(): boolean {
    const { phase, isSurveyor } = this.#surveyor;
    if (this.running || phase !== "reporting" || !isSurveyor) return false;
    this.#queue.clear();
    this.#results.clear();
    this.#bad.clear();
    const own = this.#surveyor.own();
    if (own !== undefined) this.#results.set(this.#self, own);
    this.#unlisten = this.#surveyor.onAnswer((answer) => this.#onAnswer(answer));
    this.#batch();
    return true;
  }

  /** Queues a node; undefined when it was. What it answered before is erased: save a page before the next is asked for. */
  add(page: SurveyPage): QueueRefusal | undefined {
    if (!this.running) return "not_running";
    if (page.nodeId === this.#self) return "self";
    if (this.#queue.has(page.nodeId)) return "queued_already";
    this.#queue.set(page.nodeId, page);
    this.#results.delete(page.nodeId);
    this.#bad.delete(page.nodeId);
    return undefined;
  }

  /** Asks no more, and takes no answers. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#queue.clear();
  }

  /** Source: stellar-core SurveyManager.cpp topOffRequests. */
  #batch(): void {
    if (this.#surveyor.phase !== "reporting") {
      this.stop();
      return;
    }
    for (const page of [...this.#queue.values()].slice(0, MAX_REQUESTS_PER_LEDGER)) {
      this.#queue.delete(page.nodeId);
      this.#surveyor.ask([page]);
      this.#results.set(page.nodeId, null);
    }
    this.#timer = this.#clock.setTimer(BATCH_INTERVAL_MS, () => this.#batch());
  }

  #onAnswer(answer: SurveyPageAnswer): void {
    const { nodeId } = answer.page;
    if (answer.kind === "page") this.#results.set(nodeId, answer.topology);
    else this.#bad.add(nodeId);
  }
}
