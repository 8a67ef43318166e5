/**
 * A survey's life over a backend: START, collecting, STOP, asking, done; stored after every step and every answer, so that it is
 * gone on with by another process, on another day, as long as the nodes remember it. Source: survey.md sections 1, 2 and 9.
 */
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { isFailure, OverlayError } from "../../overlay/base/errors.ts";
import { COLLECTING_MAX_MS, REPORTING_MS } from "../../overlay/survey/survey_data.ts";
import type { BackendNotice, OtherSurvey, RunningSurvey, SurveyAnswer, SurveyBackend } from "./backend.ts";
import { pause } from "./pause.ts";
import { type NodeOrigin, type PlanCounts, type PlannedNode, SurveyPlanner } from "./planner.ts";
import type { StoredSurvey, SurveyStore } from "./survey_store.ts";

/** From STOP to the first request: STOP floods the network, and requests to nodes that still collect are lost. */
export const SETTLE_MS = 10_000;
/** How often the turn is looked at, ms. */
const POLL_MS = 250;
/** Time between two signs of life in the database, ms. */
const ALIVE_MS = 2000;
/** Requests so close before the end of the reporting phase would not be answered any more. */
const END_MARGIN_MS = 30_000;

/** What a session is made of. Times in ms. */
export interface SessionOptions {
  backend: SurveyBackend;
  store: SurveyStore;
  /** The survey in the store; it must belong to `owner`. */
  surveyId: number;
  owner: string;
  clock: Clock;
  /** Ends the work at the next moment at which nothing is lost. */
  signal: AbortSignal;
  /** Longest phases of the nodes: upstream's unless given. */
  phases?: { collectMs: number; reportMs: number };
  settleMs?: number;
  /** Requests for one page at most. */
  attempts?: number;
  /** Asks nodes again that were given up. */
  retry?: boolean;
  /** Another survey is active: waits for its end instead of giving up. */
  wait?: boolean;
  /** START is not sent before this instant, ms since the Unix epoch: an earlier survey of ours blocks the network until then. */
  notBeforeMs?: number;
  /** START was not seen to be passed on: goes on all the same. */
  force?: boolean;
  onProgress?: (progress: SessionProgress) => void;
  onNotice?: (notice: BackendNotice) => void;
  /** Told about every node whose state changed. */
  onNode?: (node: PlannedNode) => void;
}

/** What a session is doing. */
export type SessionStep =
  | "connecting"
  | "waiting"
  | "starting"
  | "collecting"
  | "stopping"
  | "settling"
  | "asking"
  | "done";

/** Where a session is. */
export interface SessionProgress {
  readonly step: SessionStep;
  readonly nonce: number;
  readonly ledger: number | undefined;
  readonly counts: PlanCounts;
  /** Nodes that became known in the last turn. */
  readonly fresh: number;
  /** To the end of the step; while collecting, to STOP. Undefined when not known. */
  readonly leftMs: number | undefined;
}

/** How far to go: to START, to STOP, or to the end. */
export type SessionGoal = "started" | "stopped" | "done";

/** How a session ended. `interrupted`: by its signal; everything is stored. `timeUp`: the reporting phase ended before the work. */
export type SessionEnd = "reached" | "interrupted" | "timeUp";

/** See the head of this file. One use. */
export class SurveySession {
  readonly #options: SessionOptions;
  readonly #planner: SurveyPlanner;
  readonly #phases: { collectMs: number; reportMs: number };
  #survey: StoredSurvey;
  #step: SessionStep = "connecting";
  #fresh = { turn: undefined as number | undefined, nodes: 0 };
  /** A failure in a listener, to be thrown where the session waits. */
  #failure: unknown;
  #pumping: Promise<void> | undefined;
  #askedBefore: number | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const survey = options.store.get(options.surveyId);
    if (survey === undefined) throw new OverlayError({ code: "survey_unknown", which: String(options.surveyId) });
    this.#survey = survey;
    this.#phases = options.phases ?? { collectMs: COLLECTING_MAX_MS, reportMs: REPORTING_MS };
    this.#planner = new SurveyPlanner({
      surveyorId: survey.surveyor,
      lostAfterTurns: options.backend.lostAfterTurns,
      attempts: options.attempts,
    });
    this.#planner.restore(options.store.nodes(survey.id), { retry: options.retry });
  }

  /** The survey as it is stored now. */
  get survey(): StoredSurvey {
    return this.#survey;
  }

  /** How far the asking is. */
  get counts(): PlanCounts {
    return this.#planner.counts();
  }

  /**
   * Goes on with the survey up to the goal. Closing the backend is the caller's.
   * @throws OverlayError `no_peer`, `no_ledger`, `survey_active`, `survey_ignored`, `survey_over`, `survey_in_progress`,
   * `survey_not_ours`, `db_failed`, and what the backend throws
   */
  async run(goal: SessionGoal): Promise<SessionEnd> {
    const { backend, clock, store, owner, onNotice } = this.#options;
    let beat: Timer | undefined;
    const alive = () => {
      this.#guard(() => {
        if (!store.touch(this.#survey.id, owner)) {
          throw new OverlayError({ code: "survey_in_progress", nonce: this.#survey.nonce, sinceMs: 0 });
        }
      });
      beat = clock.setTimer(ALIVE_MS, alive);
    };
    alive();
    const offAnswer = backend.onAnswer((answer) => this.#guard(() => this.#onAnswer(answer)));
    const offNotice = backend.onNotice((notice) => onNotice?.(notice));
    try {
      return await this.#run(goal);
    } catch (error) {
      if (this.#options.signal.aborted && isFailure("local_close")(error)) return "interrupted";
      throw error;
    } finally {
      beat?.cancel();
      offAnswer();
      offNotice();
    }
  }

  async #run(goal: SessionGoal): Promise<SessionEnd> {
    const { backend, clock, signal } = this.#options;
    this.#assertNotOver();
    const { notBeforeMs } = this.#options;
    if (notBeforeMs !== undefined) await this.#waitUntil("waiting", notBeforeMs);
    if (signal.aborted) return "interrupted";
    this.#show("connecting");
    await backend.ready(signal);
    if (signal.aborted) return "interrupted";
    if (backend.surveyorId !== this.#survey.surveyor) {
      const { nonce, surveyor } = this.#survey;
      throw new OverlayError({ code: "survey_not_ours", nonce, surveyorId: surveyor, ours: backend.surveyorId });
    }
    this.#change({ version: backend.surveyorVersion });

    if (this.#survey.state === "starting") {
      if (!await this.#start()) return "interrupted";
    } else {
      await this.#attach();
    }
    if (goal === "started") return signal.aborted ? "interrupted" : "reached";
    if (this.#survey.stoppedAtMs === undefined) {
      const endsAtMs = this.#survey.startedAtMs! + this.#survey.options.collectMs;
      await this.#waitUntil("collecting", goal === "stopped" ? clock.wallMs() : endsAtMs);
      if (signal.aborted) return "interrupted";
      await this.#stop();
    }
    if (goal === "stopped") return signal.aborted ? "interrupted" : "reached";
    await this.#waitUntil("settling", this.#survey.stoppedAtMs! + (this.#options.settleMs ?? SETTLE_MS));
    if (signal.aborted) return "interrupted";
    return await this.#ask();
  }

  /** The reporting phase ends then on every node, ms since the Unix epoch. Undefined before START. */
  get overAtMs(): number | undefined {
    return overAtMs(this.#survey, this.#phases);
  }

  #assertNotOver(): void {
    const overAt = this.overAtMs;
    if (overAt === undefined || this.#options.clock.wallMs() < overAt) return;
    throw new OverlayError({ code: "survey_over", nonce: this.#survey.nonce, overAt: new Date(overAt).toISOString() });
  }

  async #start(): Promise<boolean> {
    const { backend, clock, signal, wait, force, onNotice } = this.#options;
    const { nonce } = this.#survey;
    // A process that died here may have sent START or not. Sent once more, only nodes that did not have it take notice.
    const isAgain = this.#survey.startedAtMs !== undefined;
    while (true) {
      this.#show("starting");
      // Before it is sent: a survey of which nothing is stored is one that nobody can go on with.
      if (!isAgain) this.#change({ startedAtMs: clock.wallMs() });
      const outcome = await backend.start(nonce, signal);
      // A stellar-core that has our survey from then says that one is active.
      const isOurs = isAgain && (outcome.kind === "ignored" || backend.kind === "via");
      if (outcome.kind === "started" || isOurs || (force && outcome.kind === "ignored")) {
        this.#change({ state: "collecting", passedOn: outcome.kind === "started" && outcome.passedOn });
        return true;
      }
      if (outcome.kind === "ignored") {
        this.#change({ state: "ignored", endedAtMs: clock.wallMs() });
        const { told, watched, waitedMs } = outcome;
        throw new OverlayError({ code: "survey_ignored", nonce, told, watched, waitedMs });
      }
      if (!isAgain) this.#change({ startedAtMs: undefined });
      if (signal.aborted) return false;
      const failure = activeFailure(outcome.other);
      if (!wait) {
        this.#change({ state: "failed", endedAtMs: clock.wallMs() });
        throw new OverlayError(failure);
      }
      onNotice?.({ text: `another survey is active: waiting, until ${failure.overAtLatest} at the latest` });
      await this.#waitUntil("waiting", outcome.other.overAtLatestMs);
      if (signal.aborted) return false;
    }
  }

  async #attach(): Promise<void> {
    const { backend, clock, signal } = this.#options;
    const { startedAtMs, stoppedAtMs } = this.#survey;
    const nodesStoppedAtMs = (startedAtMs ?? 0) + this.#phases.collectMs;
    if (stoppedAtMs === undefined && clock.wallMs() >= nodesStoppedAtMs) {
      // Nobody sent STOP: the nodes went on by themselves.
      this.#change({ stoppedAtMs: nodesStoppedAtMs, state: "asking" });
    }
    await backend.attach(this.#running(), signal);
    if (this.#survey.own === undefined) this.#change({ own: backend.own() });
    // An earlier process may have asked in this turn, and its requests count on the relays.
    this.#askedBefore = backend.turn();
  }

  async #stop(): Promise<void> {
    const { backend, clock, signal } = this.#options;
    this.#show("stopping");
    const sentAtMs = clock.wallMs();
    const outcome = await backend.stop(signal);
    if (outcome.kind === "noSurvey") {
      if (sentAtMs < this.#survey.startedAtMs! + this.#phases.collectMs) {
        this.#options.onNotice?.({ text: `STOP was not sent: ${outcome.reason}` });
      }
    }
    const stoppedAtMs = Math.min(sentAtMs, this.#survey.startedAtMs! + this.#phases.collectMs);
    this.#change({ stoppedAtMs, state: "asking", own: backend.own() });
  }

  async #ask(): Promise<SessionEnd> {
    const { backend, clock, signal, store } = this.#options;
    const add = (ids: readonly string[], origin: NodeOrigin) => {
      for (const id of ids) this.#planner.add(id, origin);
    };
    add(await backend.seeds(signal), "peer");
    add(this.#survey.options.nodes, "given");
    const known = this.#survey.own;
    if (known !== undefined) add([...known.inboundPeers, ...known.outboundPeers].map((peer) => peer.nodeId), "peer");
    if (this.#survey.state !== "asking") this.#change({ state: "asking" });
    store.putNodes(this.#survey.id, [...this.#planner.nodes()]);

    while (true) {
      this.#rethrow();
      if (signal.aborted) return await this.#pause("interrupted");
      if (clock.wallMs() >= this.overAtMs! - END_MARGIN_MS) return await this.#pause("timeUp");
      await this.#pump();
      this.#takeOwn();
      const turn = backend.turn();
      if (turn !== undefined && this.#planner.isDone(turn)) break;
      this.#show("asking");
      await pause(clock, POLL_MS, signal);
    }
    this.#storeStates();
    this.#change({ state: "done", endedAtMs: clock.wallMs() });
    this.#show("done");
    return "reached";
  }

  /** The surveyor's own data: at once in direct mode, with the first request through a stellar-core. */
  #takeOwn(): void {
    if (this.#survey.own !== undefined) return;
    const own = this.#options.backend.own();
    if (own === undefined) return;
    this.#change({ own });
    for (const { nodeId } of [...own.inboundPeers, ...own.outboundPeers]) this.#planner.add(nodeId, "peer");
  }

  /** Waits for what is being sent, and stores what is known. */
  async #pause(end: "interrupted" | "timeUp"): Promise<SessionEnd> {
    await this.#pumping;
    this.#storeStates();
    if (end === "timeUp") this.#change({ state: "done", endedAtMs: this.#options.clock.wallMs() });
    return end;
  }

  /** Sends what may be sent now. Of calls that meet one works; the others wait for it. */
  async #pump(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping;
    const { backend, signal, store } = this.#options;
    const turn = backend.turn();
    if (turn === undefined || turn === this.#askedBefore || signal.aborted) return;
    if (this.#fresh.turn !== turn) this.#fresh = { turn, nodes: 0 };
    const pages = this.#planner.next(turn, backend.roomInTurn());
    if (pages.length === 0) return;
    // Before they leave: what a killed process asked counts when it is gone on with.
    this.#putNodes(pages.map((page) => page.nodeId));
    const sending = backend.ask(pages, signal).then((unsent) => {
      for (const { page } of unsent) this.#planner.unsent(page);
      if (unsent.length > 0) store.putNodes(this.#survey.id, this.#nodesOf(unsent.map(({ page }) => page.nodeId)));
    }).finally(() => void (this.#pumping = undefined));
    this.#pumping = sending.catch(() => {});
    await sending;
  }

  #onAnswer(answer: SurveyAnswer): void {
    const taken = this.#planner.answer(answer);
    if (taken === undefined) return;
    this.#fresh.nodes += taken.fresh.length;
    this.#putNodes([taken.node.nodeId, ...taken.fresh]);
    this.#options.onNode?.(taken.node);
    if (this.#step !== "asking") return;
    this.#show("asking");
    // New nodes and further pages go while there is room in this turn; failures show where the session waits.
    this.#pump().catch((error) => void (this.#failure ??= error));
  }

  #nodesOf(ids: readonly string[]): PlannedNode[] {
    return ids.flatMap((id) => this.#planner.node(id) ?? []);
  }

  #putNodes(ids: readonly string[]): void {
    this.#options.store.putNodes(this.#survey.id, this.#nodesOf(ids));
  }

  /** States of nodes that were given up change without an answer. */
  #storeStates(): void {
    const { backend, store } = this.#options;
    const turn = backend.turn();
    if (turn !== undefined) this.#planner.isDone(turn);
    const late = new Set(this.#planner.lateJoiners());
    store.putNodes(
      this.#survey.id,
      [...this.#planner.nodes()].map((node) => ({ ...node, late: late.has(node.nodeId) })),
    );
  }

  async #waitUntil(step: SessionStep, atMs: number): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      this.#rethrow();
      const leftMs = atMs - clock.wallMs();
      if (leftMs <= 0) return;
      this.#show(step, leftMs);
      // In steps: progress is shown, and the wall clock may jump.
      await pause(clock, Math.min(leftMs, 1000), signal);
    }
  }

  #running(): RunningSurvey {
    const { nonce, startedAtMs, stoppedAtMs } = this.#survey;
    // Of a survey that was begun elsewhere, it is known only since when it reports.
    return { nonce, startedAtMs: startedAtMs ?? stoppedAtMs!, stoppedAtMs };
  }

  #change(change: Parameters<SurveyStore["change"]>[1]): void {
    const { store } = this.#options;
    store.change(this.#survey.id, change);
    this.#survey = store.get(this.#survey.id)!;
  }

  #show(step: SessionStep, leftMs?: number): void {
    const { backend, onProgress } = this.#options;
    const planner = this.#planner;
    this.#step = step;
    onProgress?.({
      step,
      nonce: this.#survey.nonce,
      ledger: backend.ledger(),
      fresh: this.#fresh.nodes,
      // Counted only when they are drawn.
      get counts() {
        return planner.counts();
      },
      // Ten a turn; what is found on the way is not known yet.
      get leftMs() {
        return step === "asking" ? Math.ceil(planner.counts().pagesLeft / 10) * backend.turnMs : leftMs;
      },
    });
  }

  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.#failure ??= error;
    }
  }

  #rethrow(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** When the nodes have forgotten a survey at the latest, ms since the Unix epoch. Undefined before START. */
export function overAtMs(
  { startedAtMs, stoppedAtMs }: Pick<StoredSurvey, "startedAtMs" | "stoppedAtMs">,
  phases: { collectMs: number; reportMs: number } = { collectMs: COLLECTING_MAX_MS, reportMs: REPORTING_MS },
): number | undefined {
  if (stoppedAtMs !== undefined) return stoppedAtMs + phases.reportMs;
  return startedAtMs === undefined ? undefined : startedAtMs + phases.collectMs + phases.reportMs;
}

function activeFailure({ surveyorId, nonce, overAtLatestMs }: OtherSurvey) {
  return {
    code: "survey_active" as const,
    surveyorId: surveyorId ?? null,
    nonce: nonce ?? null,
    overAtLatest: new Date(overAtLatestMs).toISOString(),
  };
}
