/** What the survey's part of a node tells the log. */
import type { HeardSurveyMessage, SurveyRefusal } from "./surveyor.ts";

/** Node ids are `G...`. Nothing here is free text of a remote. */
export type SurveyEvent =
  /** The node collects for a survey; `from` is the peer that brought START, undefined for our own. */
  | { event: "surveyStarted"; nonce: number; surveyorId: string; ledgerNum: number; from: string | undefined }
  /**
   * Collecting is over and the data frozen, by STOP, or by itself after the longest time. `inbound`, `outbound`: peers that were
   * connected all the time.
   */
  | {
    event: "surveyStopped";
    nonce: number;
    surveyorId: string;
    by: "message" | "time";
    inbound: number;
    outbound: number;
  }
  /** The reporting phase is over, or the program left the survey; everything is erased. */
  | { event: "surveyEnded"; nonce: number; surveyorId: string }
  /** A request was answered: `inbound` and `outbound` are how many peers of each list the answer names. */
  | {
    event: "surveyAnswered";
    nonce: number;
    surveyorId: string;
    ledgerNum: number;
    inboundIndex: number;
    outboundIndex: number;
    inbound: number;
    outbound: number;
  }
  /** A survey message was ignored. */
  | {
    event: "surveyIgnored";
    message: HeardSurveyMessage["type"];
    from: string;
    surveyorId: string;
    surveyedId: string | undefined;
    nonce: number;
    ledgerNum: number;
    reason: SurveyRefusal;
  };
