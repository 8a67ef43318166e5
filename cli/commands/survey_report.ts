/** `survey report`: what a survey tells, from any file a survey may be in, or from the database. */
import type { Command } from "commander";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { SurveyDocument } from "../../survey/topology/types.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { duration, readTextFile, UsageError, wholeNumber } from "../flags.ts";
import { openOutFile, type OutFile } from "../io.ts";

/** What the command line says. */
export interface SurveyReportFlags {
  db?: string;
  /** Whose database, and which file when not the usual one. */
  network?: string;
  dbFile?: string;
  since?: string;
  organizations?: string;
  slice?: number;
  top: number;
  html?: string;
  json?: boolean;
}

/** Surveys kept elsewhere than in a file named on the command line: the database. */
export interface SurveyArchive {
  /**
   * The survey that `which` means ("latest", or a nonce), and the one before it on the same network when there is one.
   * @throws OverlayError when there is none
   */
  open(
    which: string,
    ctx: CliContext,
    flags: { network?: string; dbFile?: string },
  ): Promise<{ document: SurveyDocument; before?: SurveyDocument }>;
}

/** Adds the command below `survey`. Without an archive there is no `--db`. */
export function addSurveyReport(parent: Command, start: Start, archive?: SurveyArchive): void {
  const command = parent.command("report")
    .description("Tell what a survey shows: paths, centrality, cut nodes, resilience, traffic, outliers, changes.")
    .argument(
      "[file]",
      "survey.json, getsurveyresult's JSON, OverlaySurvey.py's JSON or GraphML, flattened JSON; - is stdin",
    )
    .option("--since <file>", "say what changed since that survey (same forms)")
    .option(
      "--organizations <file>",
      "who runs which node: JSON or CSV of node id and name, or a stellar-core configuration",
    )
    .option("--slice <time>", "length of the collecting phase, for files that do not tell it", duration)
    .option("--top <n>", "rows of each table", wholeNumber(1, 100_000), 10)
    .option("--html <file>", "also write one page with drawings that opens offline")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/survey-report/1)");
  if (archive !== undefined) {
    command.option("--db <which>", "a survey of the database: latest, or its nonce; compares with the one before it")
      .option("-n, --network <name>", "with --db: the network (default: pubnet)")
      .option(
        "--db-file <file>",
        "with --db: the database file (default: one per network in the user's data directory)",
      );
  }
  command.action((file: string | undefined, flags: SurveyReportFlags) =>
    start((ctx) => runSurveyReport(file, flags, ctx, archive))
  );
}

/** Runs the command. */
export async function runSurveyReport(
  file: string | undefined,
  flags: SurveyReportFlags,
  ctx: CliContext,
  archive?: SurveyArchive,
): Promise<ExitCode> {
  const { io } = ctx;
  if ((file === undefined) === (flags.db === undefined)) {
    const or = archive === undefined ? "" : ", or --db latest";
    throw new UsageError(
      file === undefined ? `no survey named` : "a file and --db exclude each other",
      `give a file${or}`,
    );
  }
  const [{ surveyReport }, { parseOrganizations }] = await Promise.all([
    import("../../survey/topology/report.ts"),
    import("../../survey/topology/organizations.ts"),
  ]);
  // Opened first: a wrong path shows before the work.
  const page: OutFile | undefined = flags.html === undefined ? undefined : openOutFile(flags.html, { live: false });
  try {
    const { document, before }: { document: SurveyDocument; before?: SurveyDocument } = file === undefined
      ? await archive!.open(flags.db!, ctx, flags)
      : { document: await readSurveyFile(file, ctx) };
    const since = flags.since === undefined ? before : await readSurveyFile(flags.since, ctx);
    const organizations = flags.organizations === undefined
      ? undefined
      : await parseOrganizations(readTextFile(flags.organizations), flags.organizations);
    const sliceSeconds = flags.slice === undefined ? undefined : flags.slice / 1000;
    const report = await surveyReport(document, {
      ...(since && { since }),
      ...(organizations && { organizations }),
      ...(sliceSeconds && { sliceSeconds }),
    });
    if (page !== undefined) {
      const { renderSurveyHtml } = await import("../render/survey_report_html.ts");
      page.write(renderSurveyHtml(report));
      page.finish();
      io.err(`wrote ${flags.html}\n`);
    }
    if (flags.json) {
      const { toJson } = await import("../render/json.ts");
      io.out(toJson(report) + "\n");
    } else {
      const { renderSurveyReport } = await import("../render/survey_report.ts");
      io.out(renderSurveyReport(report, io, flags.top));
    }
    return EXIT.ok;
  } catch (error) {
    page?.abandon();
    throw error;
  }
}

/** A survey that holds at least one node. @throws OverlayError `survey_file_invalid`, `file_unreadable` */
async function readSurveyFile(path: string, ctx: CliContext): Promise<SurveyDocument> {
  const [{ readSurvey }, { nodesOf }] = await Promise.all([
    import("../../survey/topology/formats.ts"),
    import("../../survey/topology/merge.ts"),
  ]);
  const name = path === "-" ? "stdin" : path;
  const { document } = readSurvey(path === "-" ? await ctx.io.readInput() : readTextFile(path), name);
  if (nodesOf(document).length === 0) {
    throw new OverlayError({ code: "survey_file_invalid", path: name, at: "", reason: "it holds no node" });
  }
  return document;
}
