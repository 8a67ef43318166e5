/**
 * The port between a survey and the network it asks: through overlay connections of our own (direct_backend.ts) or through a
 * stellar-core's HTTP endpoints (http_backend.ts). A backend sends and receives; which page is asked for, and when, is
 * planner.ts, and the survey's life is session.ts. Every wait of a backend is on its Clock.
 */
import type { SurveyPage } from "../../overlay/survey/surveyor.ts";
import type { SurveyedNode } from "./types.ts";

export type { SurveyPage } from "../../overlay/survey/surveyor.ts";

/** A survey that was begun, as it is stored: enough to go on with it in another process. */
export interface RunningSurvey {
  /** uint32 */
  readonly nonce: number;
  /** Instants of `Clock.wallMs`, Unix ms: START and STOP were sent. */
  readonly startedAtMs: number;
  readonly stoppedAtMs: number | undefined;
}

/** Another survey than ours, as far as it shows. */
export interface OtherSurvey {
  readonly surveyorId: string | undefined;
  readonly nonce: number | undefined;
  /** The last message of it that was heard; undefined when there was none: a node only said that a survey is active. */
  readonly heard: "start" | "stop" | "request" | "response" | undefined;
  /** Unix ms at which its reporting phase is over at the latest everywhere, as far as what was heard tells. */
  readonly overAtLatestMs: number;
}

/** What came of {@link SurveyBackend.start}. */
export type SurveyStart =
  /**
   * START was sent. `passedOn`: a neighbour it was not sent to had it relayed, so nodes in between permit us; false: could not
   * be seen (one connection only, or a backend that does not see messages).
   */
  | { readonly kind: "started"; readonly passedOn: boolean; readonly told: number }
  /** Nothing was begun by us: another survey is going on. */
  | { readonly kind: "active"; readonly other: OtherSurvey }
  /**
   * START was sent, and did not come back though it should have: as far as it shows we are not permitted, or a survey whose
   * messages are over still blocks the network. `told`: peers it went to; `watched`: connections it could have come back on.
   */
  | { readonly kind: "ignored"; readonly told: number; readonly watched: number; readonly waitedMs: number };

/** What came of {@link SurveyBackend.stop}. */
export type SurveyStop =
  | { readonly kind: "stopped"; readonly told: number }
  /** There is no survey of ours to stop, as `reason` says in words: it stopped by itself, or the node was restarted. */
  | { readonly kind: "noSurvey"; readonly reason: string };

/** A page to ask for now. */
export interface PlannedPage extends SurveyPage {
  /** How often this page was asked for before: 0 the first time. */
  readonly attempt: number;
}

/** A page that was not sent, and can be asked for again in a later turn. */
export interface UnsentPage {
  readonly page: SurveyPage;
  /** In words. */
  readonly reason: string;
}

/** An answer to a page asked for. A `page` holds the node's figures and the part of its lists that the page covers. */
export type SurveyAnswer =
  & { readonly page: SurveyPage }
  & (
    | { readonly kind: "page"; readonly node: SurveyedNode }
    /** The answer does not open, or does not decode. */
    | { readonly kind: "bad"; readonly reason: string }
  );

/** Something to tell the user that changes no result. */
export interface BackendNotice {
  /** One sentence; remote text in it is escaped. */
  readonly text: string;
  readonly hint?: string;
}

/** See the head of this file. Methods reject with OverlayError when the survey cannot go on through this backend. */
export interface SurveyBackend {
  readonly kind: "direct" | "via";
  /** `G...` of the surveyor: ourselves, or the stellar-core that is driven. Known once {@link ready} resolved. */
  readonly surveyorId: string;
  /** Version string of the surveyor's node, when known. */
  readonly surveyorVersion: string | undefined;

  /**
   * Resolves when the network's ledger is known and there is somebody to send to. Rejects with `no_ledger` or the failure of
   * the connections after the backend's own time limit.
   */
  ready(signal: AbortSignal): Promise<void>;
  /** Ledger of the network as last seen, for display and for planning. */
  ledger(): number | undefined;
  /**
   * The current turn: requests of one turn count towards `roomInTurn`, a node is asked at most once in it, and turns grow.
   * Direct: the ledger number. Via: the number of the batch that the node sends every 15 s. Undefined while unknown.
   */
  turn(): number | undefined;
  /** Requests that can still be asked for in this turn. Direct: 10 less those sent. Via: 10 less those queued. Throws what its methods reject with. */
  roomInTurn(): number;
  /** Typical length of a turn in ms, for estimates. */
  readonly turnMs: number;
  /** Turns after which a page without an answer counts as lost. Direct: 2 ledgers. Via: what its polling needs. */
  readonly lostAfterTurns: number;

  /** Sends START. Waits as long as it takes to see whether it is passed on. */
  start(nonce: number, signal: AbortSignal): Promise<SurveyStart>;
  /** Sends STOP. */
  stop(signal: AbortSignal): Promise<SurveyStop>;
  /**
   * Goes on with a survey that this process did not begin. Phase: collecting without `stoppedAtMs`, else reporting. Via: looks
   * whether the node still knows a survey, and rejects if not.
   */
  attach(survey: RunningSurvey, signal: AbortSignal): Promise<void>;
  /** Asks for pages, each of another node. Resolves when they are sent or queued; gives back those that were not. */
  ask(pages: readonly PlannedPage[], signal: AbortSignal): Promise<UnsentPage[]>;
  /** Tells `listener` of answers, each page's first only, until the returned function is called. */
  onAnswer(listener: (answer: SurveyAnswer) => void): () => void;
  onNotice(listener: (notice: BackendNotice) => void): () => void;
  /** The surveyor's own data with whole lists, once reporting began and where there is any. */
  own(): SurveyedNode | undefined;
  /** Node ids to begin with: the surveyor's authenticated peers. */
  seeds(signal: AbortSignal): Promise<string[]>;
  /** Ends connections and timers; a survey in the network goes on. Never rejects. */
  close(): Promise<void>;
}
