/** `survey status`: where surveys are, from the database alone; nothing is sent. */
import { networkLabel } from "../../overlay/base/networks.ts";
import { OWNER_TIMEOUT_MS } from "../../overlay/db/crawl_store.ts";
import { documentOfStored } from "../../survey/topology/stored_document.ts";
import type { StoredSurvey } from "../../survey/topology/survey_store.ts";
import { type CliContext, EXIT, type ExitCode } from "../context.ts";
import type { SurveyStatusFlags } from "../commands/survey.ts";
import { isGone } from "../owner.ts";
import { toJson } from "../render/json.ts";
import { renderSurvey, surveyDocument } from "../render/survey.ts";
import { findSurvey } from "./archive.ts";
import { resultOf } from "./result.ts";
import { networkOfFlags, networkWord, openSurveyStore } from "./settings.ts";

/** Surveys that are told about unless one is named. */
const SHOWN = 5;

/** Runs the command. */
export async function status(flags: SurveyStatusFlags, ctx: CliContext): Promise<ExitCode> {
  const { io, clock } = ctx;
  const network = await networkOfFlags(flags);
  using store = await openSurveyStore(network, flags, ctx);
  const surveys = flags.nonce === undefined ? store.list(SHOWN) : [findSurvey(store, String(flags.nonce))];
  const outcomes = surveys.map((survey) => {
    const document = documentOfStored(store, survey, networkLabel(network));
    const outcome = resultOf({ store, survey, document, files: {}, end: undefined, via: survey.options.via });
    return { survey, outcome, isDriven: isDriven(survey, clock.wallMs()) };
  });
  if (flags.json) {
    const rows = outcomes.map(({ outcome, isDriven, survey }) => {
      const { schema: _, files: __, end: ___, ...rest } = surveyDocument(outcome);
      return { ...rest, isDriven, createdAt: new Date(survey.createdAtMs).toISOString() };
    });
    io.out(toJson({ schema: "stellar-overlay/survey-status/1", network: networkLabel(network), surveys: rows }) + "\n");
    return EXIT.ok;
  }
  if (outcomes.length === 0) {
    io.out(`no survey of ${networkWord(network)} in the database\n`);
    io.err("  hint: begin one with: survey run; another network is chosen with --network\n");
    return EXIT.ok;
  }
  for (const { outcome, isDriven } of outcomes) {
    io.out(renderSurvey(outcome, io, { word: networkWord(network), db: flags.db }));
    if (isDriven) io.out("  driven by another process just now\n");
  }
  return EXIT.ok;
}

function isDriven(survey: StoredSurvey, nowMs: number): boolean {
  return survey.owner !== undefined && !isGone(survey.owner) && nowMs - survey.updatedAtMs <= OWNER_TIMEOUT_MS;
}
