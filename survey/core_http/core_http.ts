/**
 * A running stellar-core through its HTTP endpoint: the commands that concern the overlay, with what their answers mean. The
 * node answers on its main thread, between its other work, so requests go one at a time, in order.
 * Source: stellar-core CommandHandler.cpp, lib/http/server.cpp.
 */
import type { Clock } from "../../overlay/base/clock.ts";
import { type Failure, OverlayError } from "../../overlay/base/errors.ts";
import { Field } from "../topology/fields.ts";
import { type Json, JsonSyntaxError, parseJson } from "../topology/json_text.ts";
import { readSurveyResult, type SurveyResult } from "../topology/survey_result.ts";
import {
  type AddAnswer,
  BOOTING,
  type ConnectAnswer,
  type PeerCommandAnswer,
  readAdd,
  readConnect,
  readPeerCommand,
  readStart,
  readStop,
  readStopSurvey,
  refusalOf,
  type Refused,
  type StartAnswer,
  type StopAnswer,
} from "./answers.ts";
import type { CoreUrl } from "./core_url.ts";
import { type CoreInfo, type CorePeers, readBans, readInfo, readPeers, readYou } from "./documents.ts";
import { httpGet, type HttpOutcome } from "./http_get.ts";

/** Bounds of answers, bytes. */
export const CORE_LIMITS = {
  /** A sentence. */
  text: 64 * 1024,
  /** info, peers, quorum, scp, bans, metrics: some thousand entries. */
  document: 16 * 1024 * 1024,
  /** getsurveyresult: about 800 bytes a link, so some hundred thousand links. */
  surveyResult: 128 * 1024 * 1024,
} as const;

/** How to talk to it. */
export interface CoreHttpOptions {
  clock: Clock;
  /** For each request; 15 s unless given. */
  timeoutMs?: number;
  /** Bounds unless those of {@link CORE_LIMITS}. */
  limits?: Partial<Record<keyof typeof CORE_LIMITS, number>>;
  /** The way out; that of {@link httpGet} unless given. */
  get?: typeof httpGet;
}

/** Per request. */
export interface CallOptions {
  /** Ends the wait: OverlayError `local_close`. The node may still carry the command out. */
  signal?: AbortSignal;
  timeoutMs?: number;
}

type Query = Record<string, string | number | boolean | undefined>;

/**
 * See the head of this file. Every method rejects with OverlayError `core_unreachable`, `core_timeout`, `core_connection_lost`,
 * `core_answer_too_large`, `core_http_status`, `core_unknown_command`, `core_answer_invalid`, `not_stellar_core`,
 * `core_not_ready` (the node is booting) or `local_close`; those that give a document also with `core_exception`.
 */
export class CoreHttp {
  readonly #url: CoreUrl;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #limits: Record<keyof typeof CORE_LIMITS, number>;
  readonly #httpGet: typeof httpGet;
  /** The request before; the next one waits for it. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(url: CoreUrl, options: CoreHttpOptions) {
    this.#url = url;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs ?? 15_000;
    this.#limits = { ...CORE_LIMITS, ...options.limits };
    this.#httpGet = options.get ?? httpGet;
  }

  /** The endpoint, for messages. */
  get url(): string {
    return this.#url.text;
  }

  /** What the node is, and how it stands. */
  info(options?: CallOptions): Promise<CoreInfo> {
    return this.#document("info", {}, readInfo, options);
  }

  /** Its peers. Without full keys an id is its first five characters. */
  peers(options: { fullKeys?: boolean } & CallOptions = {}): Promise<CorePeers> {
    return this.#document("peers", { fullkeys: options.fullKeys }, readPeers, options);
  }

  /** Its SCP state of the last `limit` ledgers. `you`: its node id, or "self" without full keys. */
  scp(options: { fullKeys?: boolean; limit?: number } & CallOptions = {}): Promise<{ you: string; document: Json }> {
    const read = (document: Field) => ({ you: readYou(document), document: document.value });
    return this.#document("scp", { fullkeys: options.fullKeys, limit: options.limit }, read, options);
  }

  /** Its quorum set and how it stands; `transitive`: that of all it depends on. As the node prints it. */
  async quorum(options: { node?: string; fullKeys?: boolean; transitive?: boolean } & CallOptions = {}): Promise<Json> {
    const { node, fullKeys, transitive } = options;
    return await this.#document(
      "quorum",
      { node: nameOf(node), fullkeys: fullKeys, transitive },
      (d) => d.value,
      options,
    );
  }

  /** Its metrics; `enable` names the wanted ones. As the node prints them. */
  async metrics(options: { enable?: readonly string[] } & CallOptions = {}): Promise<Json> {
    return await this.#document("metrics", { enable: nameOf(options.enable?.join(",")) }, (d) => d.value, options);
  }

  /** Node ids it has banned. */
  bans(options?: CallOptions): Promise<string[]> {
    return this.#document("bans", {}, readBans, options);
  }

  /** Takes a ban back. `node`: a node id, `$alias` or `@prefix`. */
  async unban(node: string, options?: CallOptions): Promise<PeerCommandAnswer> {
    return await this.#sentence("unban", { node: nameOf(node) }, (body) => readPeerCommand(body, node), options);
  }

  /** Drops an authenticated peer, and bans it when `ban`. A node that is not connected cannot be banned this way. */
  async dropPeer(node: string, ban: boolean, options?: CallOptions): Promise<PeerCommandAnswer> {
    const query = { node: nameOf(node), ban: ban ? 1 : undefined };
    return await this.#sentence("droppeer", query, (body) => readPeerCommand(body, node), options);
  }

  /** Dials a peer, when there is room. */
  async connect(host: string, port: number, options?: CallOptions): Promise<ConnectAnswer> {
    return await this.#sentence("connect", { peer: nameOf(host), port }, readConnect, options);
  }

  /** Begins a survey of this node: START is flooded. `nonce`: uint32. */
  startSurveyCollecting(nonce: number, options?: CallOptions): Promise<StartAnswer> {
    return this.#sentence("startsurveycollecting", { nonce }, readStart, options);
  }

  /** Ends collecting: STOP is flooded if the survey is this node's and still collects. */
  stopSurveyCollecting(options?: CallOptions): Promise<StopAnswer> {
    return this.#sentence("stopsurveycollecting", {}, readStop, options);
  }

  /**
   * Puts a node on the list of those to be asked, and erases what it answered before. Never while the survey still collects:
   * that erases the node's own survey.
   */
  async surveyTopologyTimeSliced(
    node: string,
    inboundIndex: number,
    outboundIndex: number,
    options?: CallOptions,
  ): Promise<AddAnswer> {
    const query = { node: nameOf(node), inboundpeerindex: inboundIndex, outboundpeerindex: outboundIndex };
    return await this.#sentence("surveytopologytimesliced", query, readAdd, options);
  }

  /** Ends the loop of requests. The survey in the network goes on, and results stay readable. */
  async stopSurvey(options?: CallOptions): Promise<void> {
    const answer: { kind: "stopped" } | Refused = await this.#sentence("stopsurvey", {}, readStopSurvey, options);
    if (answer.kind === "exception") {
      throw this.#error({ code: "core_exception", command: "stopsurvey", text: answer.text });
    }
  }

  /** What was answered so far: see {@link SurveyResult}. */
  getSurveyResult(options?: CallOptions): Promise<SurveyResult> {
    return this.#document("getsurveyresult", {}, readSurveyResult, options, "surveyResult");
  }

  async #sentence<A>(
    command: string,
    query: Query,
    read: (body: string) => A | undefined,
    options: CallOptions | undefined,
  ): Promise<A> {
    const body = await this.#get(command, query, "text", options);
    const answer = read(body);
    if (answer === undefined) throw this.#error({ code: "core_answer_invalid", command, text: body.slice(0, 200) });
    return answer;
  }

  async #document<A>(
    command: string,
    query: Query,
    read: (document: Field) => A,
    options: CallOptions | undefined,
    limit: keyof typeof CORE_LIMITS = "document",
  ): Promise<A> {
    const body = await this.#get(command, query, limit, options);
    const refused = body.length < 10_000 ? refusalOf(body) : undefined;
    if (refused !== undefined) throw this.#error({ code: "core_exception", command, text: refused.text });
    try {
      return read(new Field(parseJson(body), ""));
    } catch (error) {
      if (error instanceof JsonSyntaxError) {
        throw this.#error({ code: "core_answer_invalid", command, text: error.message }, error);
      }
      if (!(error instanceof OverlayError) || error.failure.code !== "survey_file_invalid") throw error;
      const { at, reason } = error.failure;
      // JSON of something else is what a wrong port most often gives.
      if (command === "info" && at === "") throw this.#error({ code: "not_stellar_core", looksLike: "json" }, error);
      throw this.#error({ code: "core_answer_invalid", command, text: at === "" ? reason : `${at}: ${reason}` }, error);
    }
  }

  /** The body of an answer with status 200 that is not "try again later". */
  async #get(
    command: string,
    query: Query,
    limit: keyof typeof CORE_LIMITS,
    options: CallOptions = {},
  ): Promise<string> {
    const before = this.#last;
    const run = (async () => {
      await before;
      return await this.#httpGet(
        { ...this.#url, path: `${this.#url.prefix}/${command}${queryText(query)}` },
        { timeoutMs: options.timeoutMs ?? this.#timeoutMs, maxBytes: this.#limits[limit] },
        this.#clock,
        options.signal,
      );
    })();
    this.#last = run;
    const outcome = await run;
    if (outcome.kind !== "answer") {
      const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
      throw this.#error(failureOf(outcome, command, { timeoutMs, maxBytes: this.#limits[limit] }));
    }
    const { status, contentType, body } = outcome;
    if (body.startsWith("<b>Welcome to stellar-core!</b>")) {
      throw this.#error({ code: "core_unknown_command", command });
    }
    if (status !== 200) throw this.#error({ code: "core_http_status", command, status });
    // stellar-core calls all its answers JSON, sentences too.
    if (/^text\/html/i.test(contentType) || /^\s*<(!doctype|html)/i.test(body)) {
      throw this.#error({ code: "not_stellar_core", looksLike: "html" });
    }
    if (refusalOf(body.slice(0, 200))?.text === BOOTING) {
      throw this.#error({ code: "core_not_ready", text: BOOTING, waitedMs: 0 });
    }
    return body;
  }

  #error(failure: WithoutUrl<CoreFailure>, cause?: unknown): OverlayError {
    const full = failure.code === "local_close" ? failure : { ...failure, url: this.#url.text };
    return new OverlayError(full as Failure, { cause });
  }
}

type CoreFailure = Extract<Failure, { code: `core_${string}` | "not_stellar_core" | "local_close" }>;
type WithoutUrl<F> = F extends unknown ? Omit<F, "url"> : never;

function failureOf(
  outcome: Exclude<HttpOutcome, { kind: "answer" }>,
  command: string,
  bounds: { timeoutMs: number; maxBytes: number },
): WithoutUrl<CoreFailure> {
  switch (outcome.kind) {
    case "unreachable":
      return { code: "core_unreachable", reason: outcome.reason };
    case "lost":
      return { code: "core_connection_lost", command, reason: outcome.reason };
    case "notHttp":
      return { code: "not_stellar_core", looksLike: "another protocol" };
    case "timeout":
      return { code: "core_timeout", command, afterMs: bounds.timeoutMs };
    case "tooLarge":
      return { code: "core_answer_too_large", command, limitBytes: bounds.maxBytes };
    case "aborted":
      return { code: "local_close", reason: `interrupted while waiting for ${command}` };
  }
}

function queryText(query: Query): string {
  const parts = Object.entries(query).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/**
 * A name that can stand in a query: the node undoes the escapes before it looks for `&` and `=`, so those cannot be sent, nor
 * can `?`, `+` or a blank. @throws OverlayError `invalid_argument`
 */
function nameOf<T extends string | undefined>(name: T): T {
  if (name !== undefined && !/^[\w.,:$@-]{1,200}$/.test(name)) {
    throw new OverlayError({
      code: "invalid_argument",
      argument: "name",
      reason: `stellar-core cannot be asked for it`,
    });
  }
  return name;
}
