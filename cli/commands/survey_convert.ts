/** `survey convert`: a survey's file in another form, and under other names. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { SurveyFormat } from "../../survey/topology/formats.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { duration, readTextFile, UsageError } from "../flags.ts";
import { openOutFile } from "../io.ts";

/** What the command line says. */
export interface SurveyConvertFlags {
  to: ConvertTarget;
  out?: string;
  anonymize?: string;
  versions?: "release" | "drop";
  slice?: number;
}

const TARGETS = {
  graphml: ["graphml"],
  csv: ["nodes-csv", "links-csv"],
  json: ["survey"],
  flat: ["flat"],
  result: ["result"],
  script: ["script"],
  "nodes-csv": ["nodes-csv"],
  "links-csv": ["links-csv"],
  all: ["result", "survey", "graphml", "nodes-csv", "links-csv"],
} as const satisfies Record<string, readonly SurveyFormat[]>;

/** A word of `--to`. */
export type ConvertTarget = keyof typeof TARGETS;

/** Adds the command to `survey`. */
export function addSurveyConvert(parent: Command, start: Start): void {
  parent.command("convert")
    .description("Write a survey's file in another form, or under made-up names.")
    .argument(
      "<file>",
      "survey.json, getsurveyresult's JSON, OverlaySurvey.py's JSON or GraphML, flattened JSON; '-': stdin",
    )
    .addOption(
      new Option("--to <form>", "what to write").choices(Object.keys(TARGETS)).makeOptionMandatory(),
    )
    .option("-o, --out <path>", "write there: a file, or for csv and all a folder (default: stdout)")
    .option(
      "--anonymize <seed>",
      "replace node ids by ones made from the seed, drop names and addresses; 'random': a fresh seed",
    )
    .addOption(
      new Option(
        "--versions <how>",
        "with --anonymize: keep version strings as releases, or drop them (default: release)",
      )
        .choices(["release", "drop"]),
    )
    .option("--slice <time>", "length of the collecting phase, for rates, when the file does not say", duration)
    .addHelpText(
      "after",
      `
Forms: json (survey.json, holds everything), result (getsurveyresult), script and graphml (OverlaySurvey.py), flat
(supercluster), csv (nodes.csv and links.csv), all. docs/survey-files.md describes every field.
The form of the input is recognised. What the output cannot hold is told on stderr.`,
    )
    .action((file: string, flags: SurveyConvertFlags) => start((ctx) => runSurveyConvert(file, flags, ctx)));
}

/** Runs the command. */
export async function runSurveyConvert(file: string, flags: SurveyConvertFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  const formats: readonly SurveyFormat[] = TARGETS[flags.to];
  if (formats.length > 1 && flags.out === undefined) {
    const hint = flags.to === "csv"
      ? "give --out FOLDER, or write one with --to nodes-csv or links-csv"
      : "give --out FOLDER";
    throw new UsageError(`--to ${flags.to} makes ${formats.length} files`, hint);
  }
  if (flags.versions !== undefined && flags.anonymize === undefined) {
    throw new UsageError("--versions belongs to --anonymize");
  }
  if (flags.slice === 0) throw new UsageError("--slice 0: rates need a time above zero");
  if (flags.anonymize === "") throw new UsageError("--anonymize: the seed is empty");

  const [
    { readSurvey, printSurvey, lossesOf, SURVEY_FILES },
    { linksOf },
    { nodesOf },
    { sliceMsOf },
    { anonymized },
  ] = await Promise.all([
    import("../../survey/topology/formats.ts"),
    import("../../survey/topology/links.ts"),
    import("../../survey/topology/merge.ts"),
    import("../../survey/topology/types.ts"),
    import("../survey/anonymized.ts"),
  ]);
  const text = file === "-" ? await io.readInput() : readTextFile(file);
  const { format, document: found } = readSurvey(text, file === "-" ? "stdin" : file);
  let document = found;
  if (flags.slice !== undefined) {
    const known = sliceMsOf(document);
    if (known !== undefined && known !== flags.slice) {
      io.err(`note: the file says that the slice took ${known / 1000} s; --slice is not used\n`);
    } else document = { ...document, sliceMs: flags.slice };
  }
  if (flags.anonymize !== undefined) {
    document = anonymized(document, flags.anonymize, ctx, { versions: flags.versions });
  }

  io.err(
    `read ${NAMES[format]}: ${nodesOf(document).length} nodes, ${document.nodes.size} of them answered, ` +
      `${linksOf(document).length} links\n`,
  );
  for (const to of formats) {
    const losses = lossesOf(document, to);
    if (losses.length > 0) io.err(`note: ${NAMES[to]} leaves out ${losses.join(", ")}\n`);
  }
  if (formats.length === 1 && flags.out === undefined) {
    const printed = printSurvey(document, formats[0]);
    io.out(printed.endsWith("\n") ? printed : printed + "\n");
    return EXIT.ok;
  }
  if (formats.length > 1) makeFolder(flags.out!);
  const nameOf = Object.fromEntries(Object.entries(SURVEY_FILES).map(([name, form]) => [form, name]));
  for (const to of formats) {
    const path = formats.length === 1 ? flags.out! : join(flags.out!, nameOf[to]);
    const out = openOutFile(path, { live: false });
    try {
      out.write(printSurvey(document, to));
    } catch (error) {
      out.abandon();
      throw error;
    }
    out.finish();
    io.err(`wrote ${path}\n`);
  }
  return EXIT.ok;
}

const NAMES: Record<SurveyFormat, string> = {
  survey: "survey.json",
  result: "getsurveyresult's JSON",
  script: "OverlaySurvey.py's JSON",
  graphml: "GraphML",
  flat: "flattened JSON",
  "nodes-csv": "nodes.csv",
  "links-csv": "links.csv",
};

/** @throws OverlayError `file_unwritable` */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
  }
}
