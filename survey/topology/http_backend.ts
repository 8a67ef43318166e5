/**
 * A survey through a running stellar-core: its HTTP commands ask, it sends. For operators whose validator is permitted
 * already. The node sends up to 10 requests every 15 s and keeps all state in memory; what it does not say is found out:
 * whether it was restarted, whether its survey is gone, whether somebody else uses it at the same time.
 * Source: stellar-core SurveyManager.cpp, CommandHandler.cpp; survey.md sections 9 and 10.
 */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { describeFailure, type Failure, isFailure, OverlayError } from "../../overlay/base/errors.ts";
import { looksLikeNodeId } from "../../overlay/base/peer_address.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import { COLLECTING_MAX_MS, REPORTING_MS } from "../../overlay/survey/survey_data.ts";
import type { CoreHttp } from "../core_http/core_http.ts";
import type { CoreInfo } from "../core_http/documents.ts";
import type {
  BackendNotice,
  PlannedPage,
  RunningSurvey,
  SurveyAnswer,
  SurveyBackend,
  SurveyStart,
  SurveyStop,
  UnsentPage,
} from "./backend.ts";
import { HttpPages } from "./http_pages.ts";
import { pause } from "./pause.ts";
import type { SurveyResult } from "./survey_result.ts";
import type { SurveyedNode } from "./types.ts";

/** How to drive the node; times in ms. */
export interface HttpBackendOptions {
  core: CoreHttp;
  clock: Clock;
  /** Passphrase that the node must have; any when absent. */
  network?: string;
  /** Between two batches of the node: 3 times 5 s, unless the network's close time is accelerated. */
  batchMs?: number;
  /** To wait for a node that is booting or not in sync. */
  readyMs?: number;
  /** To bear with a node that does not answer, once the survey is under way. */
  patienceMs?: number;
}

/** A survey that began this long before the node did was lost with the process before; clocks and dials take some time. */
const RESTART_MARGIN_MS = 10_000;

/** Answers to requests of an earlier loop come no later: relays forget a request after 6 ledgers. */
const STALE_ANSWERS_MS = 45_000;

/** Part of the time that polling may take: a big result costs the node time on its main thread. */
const POLL_SHARE = 0.05;

/** For the node to end its loop when we leave. */
const LEAVE_MS = 3000;

/** Failures that may be over in a moment: the node is busy, or is being restarted. */
const PASSING: ReadonlySet<Failure["code"]> = new Set([
  "core_unreachable",
  "core_timeout",
  "core_connection_lost",
  "core_http_status",
  "core_answer_invalid",
  "core_not_ready",
  "not_stellar_core",
]);

/** The node is on the list already. Releases up to v22 and test builds say so; later ones say "Adding node." and log it. */
const QUEUED_ALREADY = /already in the backlog|already queued/;

/** See the head of this file. */
export class HttpBackend implements SurveyBackend {
  readonly kind = "via";
  readonly turnMs: number;
  /** Asked for in one turn, sent at its end, answered in the next. */
  readonly lostAfterTurns = 2;
  readonly #core: CoreHttp;
  readonly #clock: Clock;
  readonly #options: Required<Omit<HttpBackendOptions, "core" | "clock" | "network">> & { network: string | undefined };
  readonly #closing = new AbortController();
  readonly #answerListeners = new Set<(answer: SurveyAnswer) => void>();
  readonly #noticeListeners = new Set<(notice: BackendNotice) => void>();
  #self = "";
  #pages = new HttpPages("");
  #info: CoreInfo | undefined;
  #infoAtMs = -Infinity;
  #phase: "none" | "collecting" | "reporting" = "none";
  /** Clock.nowMs at which reporting began at the latest. */
  #reportingSinceMs = 0;
  /** The node is in its loop of requests, as far as known. */
  #looping = false;
  /** A loop of this survey ran before, here or in another process. */
  #loopedBefore = false;
  #loopSinceMs = 0;
  #own: SurveyedNode | undefined;
  #turn = 0;
  #turnSinceMs: number;
  #pollTookMs = 0;
  #pulse: Timer | undefined;
  #fatal: OverlayError | undefined;
  /** Since when no request got through; undefined while they do. */
  #failingSinceMs: number | undefined;
  #saidOthers = false;

  constructor(options: HttpBackendOptions) {
    this.#core = options.core;
    this.#clock = options.clock;
    this.#options = {
      batchMs: options.batchMs ?? 15_000,
      readyMs: options.readyMs ?? 60_000,
      patienceMs: options.patienceMs ?? 60_000,
      network: options.network,
    };
    this.turnMs = this.#options.batchMs;
    this.#turnSinceMs = this.#clock.nowMs();
  }

  get surveyorId(): string {
    return this.#self;
  }

  get surveyorVersion(): string | undefined {
    return this.#info?.build;
  }

  /** Passphrase of the node's network, once {@link ready} resolved. Remote text. */
  get network(): string | undefined {
    return this.#info?.network;
  }

  /**
   * Resolves when the node is in sync, or when interrupted. Rejects with `core_not_ready` when it is not after the time limit, with
   * `network_mismatch`, or with what keeps it from being reached.
   */
  async ready(signal: AbortSignal): Promise<void> {
    try {
      await this.#ready(signal);
    } catch (error) {
      if (!signal.aborted || !isFailure("local_close")(error)) throw error;
    }
  }

  async #ready(signal: AbortSignal): Promise<void> {
    const untilMs = this.#clock.nowMs() + this.#options.readyMs;
    for (;;) {
      let state: string;
      try {
        const info = await this.#readInfo(signal);
        const { network } = this.#options;
        if (network !== undefined && info.network !== network) {
          throw new OverlayError({ code: "network_mismatch", ours: network, theirs: escapeRemoteText(info.network) });
        }
        if (info.state === "Synced!") break;
        state = info.state;
      } catch (error) {
        if (!(error instanceof OverlayError) || error.failure.code !== "core_not_ready") throw error;
        state = error.failure.text;
      }
      const { readyMs } = this.#options;
      if (this.#clock.nowMs() >= untilMs) {
        throw new OverlayError({ code: "core_not_ready", url: this.#core.url, text: state, waitedMs: readyMs });
      }
      await this.#pause(Math.min(2000, readyMs), signal);
    }
    const { you } = await this.#core.scp({ fullKeys: true, limit: 0, ...this.#call(signal) });
    if (!isNodeId(you)) {
      throw new OverlayError({ code: "core_answer_invalid", url: this.#core.url, command: "scp", text: `you: ${you}` });
    }
    if (this.#self !== you) this.#pages = new HttpPages(you);
    this.#self = you;
    this.#schedule();
  }

  ledger(): number | undefined {
    return this.#info?.ledger;
  }

  turn(): number {
    const { batchMs } = this.#options;
    // With nothing queued, or a node that is gone, nobody tells when the next batch is due: time does.
    const passed = Math.floor((this.#clock.nowMs() - this.#turnSinceMs) / batchMs);
    if ((this.#pages.queued === 0 || this.#fatal !== undefined) && passed > 0) {
      this.#turn += passed;
      this.#turnSinceMs += passed * batchMs;
    }
    return this.#turn;
  }

  /** Throws what keeps the survey from going on: nothing is sent after it. */
  roomInTurn(): number {
    if (this.#fatal !== undefined) throw this.#fatal;
    return this.#pages.room;
  }

  async start(nonce: number, signal: AbortSignal): Promise<SurveyStart> {
    const info = await this.#readInfo(signal);
    let unsure = false;
    for (;;) {
      try {
        const answer = await this.#core.startSurveyCollecting(nonce, this.#call(signal));
        if (answer.kind === "exception") throw this.#refused("startsurveycollecting", answer.text);
        if (answer.kind === "active" && !unsure) return { kind: "active", other: this.#otherSurvey() };
        if (answer.kind === "active") {
          this.#notice(
            "the node did not answer the first request to start in time, and says now that a survey is active: taken for ours",
          );
        }
        break;
      } catch (error) {
        // The node may have carried it out. Asked again, it says that a survey is active if so.
        const code = error instanceof OverlayError ? error.failure.code : undefined;
        if (unsure || (code !== "core_timeout" && code !== "core_connection_lost")) throw error;
        unsure = true;
      }
    }
    this.#phase = "collecting";
    return { kind: "started", passedOn: false, told: info.authenticatedPeers };
  }

  async stop(signal: AbortSignal): Promise<SurveyStop> {
    if (this.#fatal !== undefined) return { kind: "noSurvey", reason: reasonOf(this.#fatal) };
    const untilMs = this.#clock.nowMs() + this.#options.patienceMs;
    for (;;) {
      try {
        // A restarted node may take part in somebody else's survey by now, and would say "Requested" all the same.
        const info = await this.#readInfo(signal);
        if (this.#fatal !== undefined) return { kind: "noSurvey", reason: reasonOf(this.#fatal) };
        const answer = await this.#core.stopSurveyCollecting(this.#call(signal));
        if (answer.kind === "exception") throw this.#refused("stopsurveycollecting", answer.text);
        if (answer.kind === "none") {
          this.#fatal = this.#lost("it knows of no survey");
          return { kind: "noSurvey", reason: reasonOf(this.#fatal) };
        }
        this.#phase = "reporting";
        this.#reportingSinceMs = this.#clock.nowMs();
        return { kind: "stopped", told: info.authenticatedPeers };
      } catch (error) {
        if (!(error instanceof OverlayError) || !isPassing(error) || this.#clock.nowMs() >= untilMs) throw error;
        this.#failing(error);
        await this.#pause(Math.min(5000, this.#options.batchMs), signal);
      }
    }
  }

  /** The node knows the nonce; ours only names the survey. Rejects with `core_survey_lost`. */
  async attach(survey: RunningSurvey, signal: AbortSignal): Promise<void> {
    const info = await this.#readInfo(signal);
    const wallMs = this.#clock.wallMs();
    if (info.uptimeMs !== undefined && wallMs - info.uptimeMs > survey.startedAtMs + RESTART_MARGIN_MS) {
      throw this.#lost(`the node was restarted ${Math.round(info.uptimeMs / 1000)} s ago, after the survey began`);
    }
    const endMs = survey.startedAtMs + COLLECTING_MAX_MS;
    const reportingAtMs = Math.min(survey.stoppedAtMs ?? endMs, endMs);
    if (wallMs > reportingAtMs + REPORTING_MS) throw this.#lost("its reporting phase is over");
    this.#phase = survey.stoppedAtMs === undefined ? "collecting" : "reporting";
    this.#reportingSinceMs = this.#clock.nowMs() - Math.max(0, wallMs - reportingAtMs);
    this.#loopedBefore = true;
    if (this.#phase === "collecting") return;
    const result = await this.#core.getSurveyResult(this.#call(signal));
    this.#looping = result.surveyInProgress;
    if (this.#looping) this.#take(result);
  }

  async ask(pages: readonly PlannedPage[], signal: AbortSignal): Promise<UnsentPage[]> {
    const unsent: UnsentPage[] = [];
    if (this.#fatal !== undefined) throw this.#fatal;
    if (this.#phase !== "reporting") {
      // The node would erase its survey.
      throw new OverlayError({ code: "invalid_argument", argument: "ask", reason: "collecting has not ended" });
    }
    for (const [i, page] of pages.entries()) {
      if (this.#fatal !== undefined) throw this.#fatal;
      const refusal = this.#pages.refusal(page);
      if (refusal !== undefined) {
        unsent.push({ page, reason: refusal });
        continue;
      }
      try {
        await this.#askOne(page, signal);
        this.#worked();
      } catch (error) {
        if (!(error instanceof OverlayError)) throw error;
        const isInterrupted = signal.aborted && error.failure.code === "local_close";
        if (!isInterrupted) {
          if (!isPassing(error)) throw error;
          this.#failing(error);
          if (this.#fatal !== undefined) throw this.#fatal;
        }
        const reason = describeFailure(error.failure);
        unsent.push(...pages.slice(i).map((page) => ({ page, reason })));
        break;
      }
    }
    this.#schedule();
    return unsent;
  }

  onAnswer(listener: (answer: SurveyAnswer) => void): () => void {
    this.#answerListeners.add(listener);
    return () => void this.#answerListeners.delete(listener);
  }

  onNotice(listener: (notice: BackendNotice) => void): () => void {
    this.#noticeListeners.add(listener);
    return () => void this.#noticeListeners.delete(listener);
  }

  own(): SurveyedNode | undefined {
    return this.#own;
  }

  async seeds(signal: AbortSignal): Promise<string[]> {
    const { authenticated } = await this.#core.peers({ fullKeys: true, ...this.#call(signal) });
    return [...new Set(authenticated.map((peer) => peer.id))].filter((id) => id !== this.#self && isNodeId(id));
  }

  /** Also ends the node's loop of requests, if it is ours: nothing is asked in its name after we left. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#pulse?.cancel();
    if (this.#phase === "reporting" && this.#looping && this.#fatal === undefined) {
      try {
        await this.#core.stopSurvey({ timeoutMs: LEAVE_MS });
        this.#notice("the node's loop of requests was ended; getsurveyresult still shows its latest answers");
      } catch {
        this.#notice("the node did not confirm the end of its loop of requests", "stopsurvey ends it");
      }
    }
    this.#answerListeners.clear();
    this.#noticeListeners.clear();
  }

  async #askOne(page: PlannedPage, signal: AbortSignal): Promise<void> {
    const { nodeId, inboundIndex, outboundIndex } = page;
    const answer = await this.#core.surveyTopologyTimeSliced(
      nodeId,
      inboundIndex,
      outboundIndex,
      this.#call(signal),
    );
    if (answer.kind === "exception" && !QUEUED_ALREADY.test(answer.text)) {
      // Some releases throw where others only log that there is no survey.
      if (!this.#looping) await this.#loopBegan(signal);
      throw this.#refused("surveytopologytimesliced", answer.text);
    }
    // On the list by a request of ours whose answer did not reach us, or by somebody else's: the answer is as good.
    const began = answer.kind === "exception" ? !this.#looping : answer.began;
    if (began && this.#looping) this.#loopEnded();
    this.#pages.asked(page, this.turn());
    if (began) await this.#loopBegan(signal);
    this.#looping = true;
  }

  /**
   * A loop began with a request of ours. If the node has a survey that reports, its own data is among the results at once;
   * if not, the loop ended as it began, and nothing will ever be asked.
   */
  async #loopBegan(signal: AbortSignal): Promise<void> {
    this.#loopSinceMs = this.#clock.nowMs();
    const result = await this.#core.getSurveyResult(this.#call(signal));
    if (!result.surveyInProgress || !result.topology?.get(this.#self)) {
      await this.#readInfo(signal);
      throw this.#fatal ??= this.#lost(
        "it does not report: it was restarted, the survey is not its own, or reporting is over",
      );
    }
    this.#looping = true;
    this.#take(result);
  }

  /** The node left its loop, and we did not ask it to. */
  #loopEnded(): void {
    this.#looping = false;
    this.#loopedBefore = true;
    this.#pages.loopEnded();
    if (this.#clock.nowMs() - this.#reportingSinceMs > REPORTING_MS - RESTART_MARGIN_MS) {
      this.#fatal ??= this.#lost("its reporting phase is over");
      return;
    }
    this.#notice(
      "the node's loop of requests was ended by somebody else (stopsurvey); it begins again with the next request",
    );
  }

  #take(result: SurveyResult): void {
    const trustBad = !this.#loopedBefore || this.#clock.nowMs() - this.#loopSinceMs > STALE_ANSWERS_MS;
    const { answers, sent } = this.#pages.take(result, { trustBad });
    this.#own = result.topology?.get(this.#self) ?? this.#own;
    if (sent) {
      this.#turn++;
      this.#turnSinceMs = this.#clock.nowMs();
    }
    for (const answer of answers) for (const listener of this.#answerListeners) listener(answer);
    if (this.#pages.others > 0 && !this.#saidOthers) {
      this.#saidOthers = true;
      this.#notice(
        `somebody else asks through this node too: ${this.#pages.others} of the nodes on its list are not ours`,
        "answers still come, at a slower pace; a page asked for by both may be lost",
      );
    }
  }

  async #readInfo(signal?: AbortSignal): Promise<CoreInfo> {
    const info = await this.#core.info(this.#call(signal));
    const before = this.#info;
    this.#info = info;
    this.#infoAtMs = this.#clock.nowMs();
    if (before !== undefined && before.startedOn !== info.startedOn && this.#phase !== "none") {
      const uptime = info.uptimeMs === undefined ? "" : ` ${Math.round(info.uptimeMs / 1000)} s ago`;
      this.#fatal ??= this.#lost(`the node was restarted${uptime}, and its survey is gone`);
      this.#notice(describeFailure(this.#fatal.failure), this.#fatal.hint);
    }
    return info;
  }

  /** Looks after the node in the background: answers, its ledger, whether it is still the same process. */
  async #beat(): Promise<void> {
    try {
      const nowMs = this.#clock.nowMs();
      if (this.#expectsAnswers()) {
        const result = await this.#core.getSurveyResult(this.#call());
        this.#pollTookMs = this.#clock.nowMs() - nowMs;
        this.#take(result);
        if (this.#looping && !result.surveyInProgress) {
          await this.#readInfo();
          if (this.#fatal === undefined) this.#loopEnded();
        }
      }
      if (nowMs - this.#infoAtMs >= this.#options.batchMs) await this.#readInfo();
      this.#worked();
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      const { code } = error.failure;
      if (isPassing(error)) this.#failing(error);
      else if (code !== "local_close") this.#fatal ??= error;
    }
    this.#pulse = undefined;
    this.#schedule();
  }

  #expectsAnswers(): boolean {
    return this.#looping && (this.#pages.queued > 0 || this.#pages.waitsSince(this.turn() - 2 * this.lostAfterTurns));
  }

  #schedule(): void {
    if (this.#pulse !== undefined || this.#closing.signal.aborted || this.#fatal !== undefined) return;
    const delayMs = Math.max(this.#options.batchMs / 3, this.#pollTookMs / POLL_SHARE);
    this.#pulse = this.#clock.setTimer(delayMs, () => void this.#beat());
  }

  /** A request did not get through. After `patienceMs` of that the survey cannot go on. */
  #failing(error: OverlayError): void {
    const nowMs = this.#clock.nowMs();
    if (this.#failingSinceMs === undefined) {
      this.#failingSinceMs = nowMs;
      this.#notice(`${describeFailure(error.failure)}; trying on`, error.hint);
    } else if (nowMs - this.#failingSinceMs >= this.#options.patienceMs) this.#fatal ??= error;
  }

  #worked(): void {
    if (this.#failingSinceMs !== undefined) this.#notice(`${this.#core.url} answers again`);
    this.#failingSinceMs = undefined;
  }

  #notice(text: string, hint?: string): void {
    for (const listener of this.#noticeListeners) listener({ text, ...(hint !== undefined && { hint }) });
  }

  /** Nothing is known of it but that it is there: it may have begun just now. */
  #otherSurvey() {
    return {
      surveyorId: undefined,
      nonce: undefined,
      heard: undefined,
      overAtLatestMs: this.#clock.wallMs() + COLLECTING_MAX_MS + REPORTING_MS,
    };
  }

  #call(signal?: AbortSignal): { signal: AbortSignal } {
    return { signal: signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]) };
  }

  #refused(command: string, text: string): OverlayError {
    return new OverlayError({ code: "core_exception", url: this.#core.url, command, text });
  }

  #lost(reason: string): OverlayError {
    return new OverlayError({ code: "core_survey_lost", url: this.#core.url, reason });
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const both = this.#call(signal).signal;
    await pause(this.#clock, ms, both);
    if (both.aborted) throw new OverlayError({ code: "local_close", reason: "interrupted" });
  }
}

function isNodeId(text: string): boolean {
  if (!looksLikeNodeId(text)) return false;
  try {
    decodeNodeId(text);
    return true;
  } catch {
    return false;
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof OverlayError && PASSING.has(error.failure.code);
}

function reasonOf({ failure }: OverlayError): string {
  return failure.code === "core_survey_lost" ? failure.reason : describeFailure(failure);
}
