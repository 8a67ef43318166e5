/**
 * What a program that surveys the network does through its node: `OverlayManager.survey` is one. Lower than stellar-core's HTTP
 * commands: which pages are asked for, and when, is the caller's plan; upstream's own plan is survey_backlog.ts.
 * Source: stellar-core SurveyManager.cpp; survey.md sections 1, 2 and 9.
 */
import type { SurveyTopology } from "../wire/survey_messages.ts";

/** Where a node is in the life of a survey. Source: stellar-core SurveyDataManager.h SurveyPhase. */
export type SurveyPhase = "inactive" | "collecting" | "reporting";

/** One page of one node's data: up to 25 entries of each list from an index on. An index beyond the list gives no entries. */
export interface SurveyPage {
  /** `G...` of the surveyed node. */
  readonly nodeId: string;
  readonly inboundIndex: number;
  readonly outboundIndex: number;
}

/** What a node knows of the survey it takes part in, whoever runs it. */
export interface SurveyState {
  readonly phase: SurveyPhase;
  /** Undefined while inactive, as all that follow. */
  readonly nonce: number | undefined;
  /** `G...` of who sent START. */
  readonly surveyorId: string | undefined;
  /** Instants of `Clock.nowMs`: collecting began, and ended. */
  readonly startedMs: number | undefined;
  readonly stoppedMs: number | undefined;
  /** When the phase ends by itself at the latest; the tick after it sees that. */
  readonly phaseEndsMs: number | undefined;
}

/** Whom a message of ours is sent to, and when it says it was. */
export interface SendOptions {
  /**
   * Ledger number of the message; the one we track when absent. Nodes take it within 6 of theirs, so a little less than ours
   * serves those that are behind, and a little more those that are ahead.
   */
  readonly ledgerNum?: number;
  /**
   * Node ids of peers; all when absent. A peer that is left out and sends the message to us shows that those in between
   * permit the survey: see {@link HeardSurveyMessage}.
   */
  readonly to?: Iterable<string>;
}

/** What came of {@link Surveyor.startCollecting}. `told`: node ids of the peers START went to. */
export type StartOutcome =
  | { readonly started: true; readonly ledgerNum: number; readonly told: string[] }
  /** `survey_active`: this node takes part in one, ours or another's. */
  | { readonly started: false; readonly reason: "survey_active" | LedgerRefusal };

/** `ledger_unknown`: no SCP traffic was heard yet; `ledger`: the number asked for is more than 6 away from it. */
export type LedgerRefusal = "ledger_unknown" | "ledger";

/** What came of {@link Surveyor.stopCollecting}. */
export type StopOutcome =
  | { readonly stopped: true; readonly ledgerNum: number; readonly told: string[] }
  | { readonly stopped: false; readonly reason: "no_survey" | "not_surveyor" | "not_collecting" | LedgerRefusal };

/** Why a page was not asked for. */
export type AskRefusal =
  | "not_reporting"
  /** The survey is another's. */
  | "not_surveyor"
  | LedgerRefusal
  /** We do not ask ourselves: see {@link Surveyor.own}. */
  | "self"
  /** A node can be asked once per ledger: relays refuse a second request. */
  | "asked_this_ledger";

/** What came of one page of {@link Surveyor.ask}. */
export type AskOutcome =
  | { readonly page: SurveyPage; readonly sent: true; readonly ledgerNum: number; readonly told: string[] }
  | { readonly page: SurveyPage; readonly sent: false; readonly reason: AskRefusal };

/** An answer to a request of ours. Each request has one at most. */
export type SurveyPageAnswer =
  & {
    readonly page: SurveyPage;
    /** Ledger number of the request. */
    readonly ledgerNum: number;
    /** `G...` of the peer that brought the answer first. */
    readonly from: string;
  }
  & (
    | { readonly kind: "page"; readonly topology: SurveyTopology }
    /** It does not open, or what it holds does not decode: a bad answer of the surveyed node, for its signature is right. */
    | { readonly kind: "bad"; readonly reason: "sealed_box" | "xdr_invalid" }
  );

/** What became of a survey message. */
export type SurveyVerdict =
  /** Passed on to the peers that do not know it. */
  | "relayed"
  /** A request to us, answered. */
  | "answered"
  /** An answer for us. */
  | "taken"
  /** The relaying peer was dropped. */
  | "bad_signature"
  /** Checks that failed, in words; nothing happens to anybody. */
  | SurveyRefusal;

/** Why a survey message is silently ignored. Source: survey.md section 4. */
export type SurveyRefusal =
  | "not_permitted"
  /** The ledger number is more than 6 away from ours, or ours is not known. */
  | "ledger"
  /** START during a survey; STOP without one that collects; REQUEST or RESPONSE outside of reporting. */
  | "phase"
  | "other_nonce"
  /** STOP by another than who sent START; a REQUEST to us by another. */
  | "other_surveyor"
  /** The limiter refused a request: a repeated one, or one too many. */
  | "limited"
  /** A response to a request that was not seen. */
  | "unknown_request"
  /** A second response. */
  | "answered_before"
  /** The request's key has small order: no answer can be sealed to it. */
  | "bad_key";

/** A survey message that came from a peer, with the verdict on it: for logs, and to see who relays what. */
export interface HeardSurveyMessage {
  readonly type: "start" | "stop" | "request" | "response";
  /** `G...` of the peer it came from. */
  readonly from: string;
  /** `G...` */
  readonly surveyorId: string;
  /** `G...`; of requests and responses. */
  readonly surveyedId: string | undefined;
  readonly nonce: number;
  readonly ledgerNum: number;
  readonly verdict: SurveyVerdict;
}

/** See the head of this file. */
export interface Surveyor {
  readonly phase: SurveyPhase;
  /** Of the survey this node takes part in. */
  readonly nonce: number | undefined;
  readonly state: SurveyState;
  /** Whether the survey is our own. */
  readonly isSurveyor: boolean;

  /**
   * Requests of ours with a ledger number (the tracked one when absent) that relays still pass on: 10 less those sent.
   * 0 while the ledger is unknown.
   */
  roomIn(ledgerNum?: number): number;

  /** Begins a survey with a nonce (uint32) of the caller's choice: this node collects, and START is flooded. */
  startCollecting(nonce: number, options?: SendOptions): StartOutcome;
  /** Ends collecting: our own data is frozen, and STOP is flooded. */
  stopCollecting(options?: SendOptions): StopOutcome;
  /**
   * Goes on with a survey of ours that this process did not begin: the state of a node is in memory only. `elapsedMs`: how long
   * the phase has lasted. Our own data is what this process saw; there is none when the phase is reporting. False while this
   * node takes part in a survey.
   */
  attach(survey: { nonce: number; phase: "collecting" | "reporting"; elapsedMs?: number }): boolean;
  /** Takes no part any more: erases data, key and records. Nobody is told. */
  leave(): void;

  /**
   * Sends a request for each page now, all sealed to one key. More than {@link roomIn} says are lost on the way, but not refused
   * here. Throws OverlayError `invalid_argument` for a node id or an index that is none.
   */
  ask(pages: readonly SurveyPage[], options?: SendOptions): AskOutcome[];
  /** Tells `listener` about answers until the returned function is called. */
  onAnswer(listener: (answer: SurveyPageAnswer) => void): () => void;
  /** Tells `listener` about every survey message of a peer until the returned function is called. */
  onHeard(listener: (heard: HeardSurveyMessage) => void): () => void;
  /** Our own data, frozen, with whole lists; undefined before reporting, and when we did not collect. */
  own(): SurveyTopology | undefined;
}
