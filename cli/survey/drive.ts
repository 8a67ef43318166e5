/** Drives a survey to a goal, whichever command asks for it: backend, session, progress, result. */
import { join } from "node:path";
import { OverlayError } from "../../overlay/base/errors.ts";
import { networkLabel } from "../../overlay/base/networks.ts";
import type { SurveyBackend } from "../../survey/topology/backend.ts";
import { surveyFiles } from "../../survey/topology/formats.ts";
import { type SessionEnd, type SessionGoal, SurveySession } from "../../survey/topology/session.ts";
import { documentOfStored } from "../../survey/topology/stored_document.ts";
import type { StoredSurvey, SurveyStore } from "../../survey/topology/survey_store.ts";
import { type CliContext, EXIT, type ExitCode } from "../context.ts";
import { errorText, hintLine } from "../errors.ts";
import { openOutFile } from "../io.ts";
import { isGone, ownerOf } from "../owner.ts";
import { goOnWith, nodeLine, renderSurvey, renderSurveyJson, surveyLine } from "../render/survey.ts";
import { anonymized } from "./anonymized.ts";
import { resultOf } from "./result.ts";
import { SessionLines } from "./session_lines.ts";
import { networkWord, phasesOf, type Where } from "./settings.ts";

/** How results come out. */
export interface OutputFlags {
  out?: string;
  anonymize?: string;
  json?: boolean;
  ndjson?: boolean;
  /** Named in hints. */
  db?: string;
}

/** One drive. */
export interface Drive {
  goal: SessionGoal;
  where: Where;
  store: SurveyStore;
  survey: StoredSurvey;
  backend: SurveyBackend;
  output: OutputFlags;
  /** Asks nodes again that were given up. */
  retry?: boolean;
  wait?: boolean;
  /** START is not sent before, ms since the Unix epoch. */
  notBeforeMs?: number;
  /** Goes on though START was not seen to be passed on. */
  force?: boolean;
  settleMs?: number;
}

/** Drives it, prints what is known at the end, whatever the end, and gives the exit status. Closes the backend. */
export async function drive(run: Drive, ctx: CliContext): Promise<ExitCode> {
  const { store, survey, backend, output } = run;
  const owner = ownerOf(ctx.clock);
  let end: SessionEnd | undefined, failure: OverlayError | undefined;
  try {
    store.claim(survey.id, owner, isGone(survey.owner));
    const lines = new SessionLines(ctx);
    try {
      const session = new SurveySession({
        backend,
        store,
        surveyId: survey.id,
        owner,
        clock: ctx.clock,
        signal: ctx.signal,
        phases: phasesOf(run.where),
        settleMs: run.settleMs,
        retry: run.retry,
        wait: run.wait,
        notBeforeMs: run.notBeforeMs,
        force: run.force,
        onProgress: (progress) => lines.show(progress),
        onNotice: (notice) => lines.notice(notice),
        onNode: (node) => {
          if (output.ndjson) ctx.io.out(nodeLine(node));
        },
      });
      end = await session.run(run.goal);
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      failure = error;
    } finally {
      lines.close();
    }
  } finally {
    // What a backend leaves behind is told too.
    backend.onNotice(({ text, hint }) => ctx.io.err(`${text}\n${hint === undefined ? "" : hintLine(hint)}`));
    await backend.close();
  }
  try {
    return finish(run, end, failure, ctx);
  } finally {
    // Last: files and results belong to this process too. What never began leaves no trace.
    const left = store.get(survey.id);
    if (left?.state === "starting" && left.startedAtMs === undefined) store.remove(survey.id);
    else store.release(survey.id, owner);
  }
}

function finish(run: Drive, end: SessionEnd | undefined, failure: OverlayError | undefined, ctx: CliContext): ExitCode {
  const { store, output, goal, where } = run;
  const survey = store.get(run.survey.id)!;
  const document = documentOfStored(store, survey, networkLabel(where.network));
  const asked = goal === "done" && (survey.startedAtMs ?? survey.stoppedAtMs) !== undefined &&
    survey.state !== "ignored";
  const files = asked ? writeFiles(document, output, ctx) : {};
  const outcome = resultOf({ store, survey, document, files, end, phases: phasesOf(where), via: survey.options.via });
  const at = { word: networkWord(where.network), db: output.db };
  if (output.json) ctx.io.out(renderSurveyJson(outcome));
  else if (output.ndjson) ctx.io.out(surveyLine(outcome));
  else if (failure === undefined || asked) ctx.io.out(renderSurvey(outcome, ctx.io, at));
  if (failure !== undefined) {
    ctx.io.err(errorText(failure));
    return outcome.answered > 0 ? EXIT.partial : EXIT.failed;
  }
  if (end === "interrupted") {
    const isBegun = outcome.phase !== "starting" || outcome.startedAtMs !== undefined;
    const next = isBegun
      ? `go on with: ${goOnWith("collect", outcome, at)}`
      : "nothing was sent; the next run begins anew";
    ctx.io.err(`interrupted; ${next}\n`);
    return EXIT.interrupted;
  }
  if (goal !== "done") return EXIT.ok;
  if (outcome.answered === 0) {
    const { nonce, asked: numAsked, passedOn } = outcome;
    ctx.io.err(errorText(new OverlayError({ code: "survey_no_answer", nonce, asked: numAsked, passedOn })));
    return EXIT.failed;
  }
  if (end === "timeUp") {
    ctx.io.err(`the reporting phase is over: ${outcome.pending} nodes were not asked to the end\n`);
    return EXIT.partial;
  }
  return EXIT.ok;
}

function writeFiles(
  found: ReturnType<typeof documentOfStored>,
  output: OutputFlags,
  ctx: CliContext,
): Record<string, string> {
  if (output.out === undefined) return {};
  const document = output.anonymize === undefined ? found : anonymized(found, output.anonymize, ctx);
  const files: Record<string, string> = {};
  for (const { name, text } of surveyFiles(document)) {
    const path = join(output.out, name);
    const file = openOutFile(path, { live: false });
    try {
      file.write(text);
    } catch (error) {
      file.abandon();
      throw error;
    }
    file.finish();
    files[name] = path;
  }
  return files;
}
