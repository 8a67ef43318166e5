/** What a survey came to, as data: what `--json` prints, and what the text output tells. */
import { linksOf } from "../../survey/topology/links.ts";
import { isComplete } from "../../survey/topology/merge.ts";
import { overAtMs, type SessionEnd } from "../../survey/topology/session.ts";
import type { StoredSurvey, SurveyRunState, SurveyStore } from "../../survey/topology/survey_store.ts";
import type { AskState, SurveyDocument } from "../../survey/topology/types.ts";

/** See the head of this file. Counts are of nodes unless they say otherwise. */
export interface SurveyOutcome {
  readonly nonce: number;
  readonly phase: SurveyRunState;
  /** Asked at least once. */
  readonly asked: number;
  readonly answered: number;
  readonly silent: number;
  readonly bad: number;
  /** Links that at least one answer names. */
  readonly links: number;
  /** Paths of the files of `--out`, by name. */
  readonly files: Readonly<Record<string, string>>;
  readonly unreachable: number;
  readonly pending: number;
  /** Of those that answered, those with further pages that did not come. */
  readonly incomplete: number;
  readonly lateJoiners: number;
  /** Requests sent, repeated ones included, and pages that came. */
  readonly requests: number;
  readonly pages: number;
  readonly network: string;
  readonly surveyor: string;
  readonly via: string | undefined;
  readonly passedOn: boolean;
  readonly startedAtMs: number | undefined;
  readonly stoppedAtMs: number | undefined;
  readonly overAtMs: number | undefined;
  readonly end: SessionEnd | undefined;
  /** Nodes that did not answer, in the order they became known. */
  readonly others: readonly { nodeId: string; state: AskState; late: boolean; reason: string | undefined }[];
}

/** Makes it from what is stored. */
export function resultOf(of: {
  store: SurveyStore;
  survey: StoredSurvey;
  document: SurveyDocument;
  files: Record<string, string>;
  end: SessionEnd | undefined;
  phases?: { collectMs: number; reportMs: number };
  via?: string;
}): SurveyOutcome {
  const { store, survey, document } = of;
  const nodes = store.nodes(survey.id);
  const count = (state: AskState) => nodes.filter((node) => node.state === state).length;
  return {
    nonce: survey.nonce,
    phase: survey.state,
    asked: nodes.filter((node) => node.requests > 0).length,
    answered: count("answered"),
    silent: count("silent"),
    bad: count("bad"),
    links: linksOf(document).length,
    files: of.files,
    unreachable: count("unreachable"),
    pending: count("pending"),
    incomplete: nodes.filter(({ node }) => node !== undefined && !isComplete(node)).length,
    lateJoiners: document.lateJoiners.size,
    requests: nodes.reduce((sum, node) => sum + node.requests, 0),
    pages: nodes.reduce((sum, node) => sum + node.answeredPages.length, 0),
    network: document.network!,
    surveyor: survey.surveyor,
    via: of.via,
    passedOn: survey.passedOn,
    startedAtMs: survey.startedAtMs,
    stoppedAtMs: survey.stoppedAtMs,
    overAtMs: overAtMs(survey, of.phases),
    end: of.end,
    others: nodes.filter((node) => node.state !== "answered").map(({ nodeId, state, late, badReason }) => ({
      nodeId,
      state,
      late,
      reason: badReason,
    })),
  };
}
