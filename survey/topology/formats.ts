/** The forms a survey may have as a file: which one a text is, reading it, writing it, and what a form cannot hold. */
import { printLinksCsv, printNodesCsv } from "./csv.ts";
import { Field, invalid } from "./fields.ts";
import { printFlat, readFlat } from "./flatten.ts";
import { printGraphMl } from "./graphml.ts";
import { readGraphMl } from "./graphml_read.ts";
import { linksOf } from "./links.ts";
import { nodesOf } from "./merge.ts";
import { printScriptResult, readScriptResult } from "./script_result.ts";
import { printSurveyFile, readSurveyFile, SURVEY_SCHEMA } from "./survey_file.ts";
import {
  documentOfResult,
  parseJsonFile,
  printSurveyResult,
  readSurveyResult,
  resultOfDocument,
} from "./survey_result.ts";
import type { SurveyDocument } from "./types.ts";

/**
 * Forms that can be written. `survey`: our survey.json. `result`: getsurveyresult. `script`: OverlaySurvey.py's result.
 * `graphml`, `flat`: what its name says. The two CSV forms are not read back.
 */
export const FORMATS = ["survey", "result", "script", "graphml", "flat", "nodes-csv", "links-csv"] as const;
/** A form that can be written. */
export type SurveyFormat = (typeof FORMATS)[number];
/** A form that can be read. */
export type ReadableFormat = Exclude<SurveyFormat, "nodes-csv" | "links-csv">;

/** What {@link readSurvey} found. */
export interface ReadSurvey {
  format: ReadableFormat;
  document: SurveyDocument;
}

/**
 * Reads a survey in whichever form it is. `path` names the file in errors.
 * @throws OverlayError `survey_file_invalid` naming file, place and what is wrong
 */
export function readSurvey(text: string, path: string): ReadSurvey {
  const start = text.slice(0, 1000).replace(/^\ufeff?\s*/, "");
  if (start === "") throw invalid(path, "", "the file is empty");
  if (start.startsWith("<")) return { format: "graphml", document: readGraphMl(text, path) };
  if (!/^[[{]/.test(start)) {
    throw invalid(path, "", "this is none of the forms a survey has: it begins neither as JSON nor as XML");
  }
  const file = new Field(parseJsonFile(text.replace(/^\ufeff/, ""), path), path);
  if (Array.isArray(file.value)) return { format: "flat", document: readFlat(file) };
  const fields = file.object();
  const schema = fields.get("schema");
  if (schema !== undefined) {
    if (schema.value === SURVEY_SCHEMA) return { format: "survey", document: readSurveyFile(file) };
    throw schema.fail(`needs ${SURVEY_SCHEMA}, not ${JSON.stringify(String(schema.value).slice(0, 60))}`);
  }
  if (["topology", "surveyInProgress", "exception"].some((name) => fields.has(name))) {
    return { format: "result", document: documentOfResult(readSurveyResult(file)) };
  }
  const nodes = [...fields.values()];
  if (nodes.every(({ value }) => value !== null && typeof value === "object" && "inboundPeers" in value)) {
    return { format: "script", document: readScriptResult(file) };
  }
  throw invalid(path, "", "this is JSON, but none of the forms a survey has");
}

const PRINTERS: Record<SurveyFormat, (document: SurveyDocument) => string> = {
  survey: printSurveyFile,
  result: (document) => printSurveyResult(resultOfDocument(document)),
  script: printScriptResult,
  graphml: printGraphMl,
  flat: printFlat,
  "nodes-csv": printNodesCsv,
  "links-csv": printLinksCsv,
};

/** The text of a document in a form. */
export function printSurvey(document: SurveyDocument, format: SurveyFormat): string {
  return PRINTERS[format](document);
}

/** The files of `--out DIR`, by their names. */
export const SURVEY_FILES: Readonly<Record<string, SurveyFormat>> = {
  "result.json": "result",
  "survey.json": "survey",
  "graph.graphml": "graphml",
  "nodes.csv": "nodes-csv",
  "links.csv": "links-csv",
};

/** All files of a survey, each with its text. */
export function surveyFiles(document: SurveyDocument): { name: string; text: string }[] {
  return Object.entries(SURVEY_FILES).map(([name, format]) => ({ name, text: printSurvey(document, format) }));
}

/** What of a document a form leaves out, one sentence each; empty when it holds everything. */
export function lossesOf(document: SurveyDocument, format: SurveyFormat): string[] {
  if (format === "survey") return [];
  const losses: string[] = [];
  const count = (n: number, one: string, many: string) => {
    if (n > 0) losses.push(n === 1 ? `1 ${one}` : `${n} ${many}`);
  };
  const links = linksOf(document);
  const graph = new Set(nodesOf(document));
  const reports = links.reduce((sum, link) => sum + link.reports.length, 0);
  if (format === "flat") {
    count(reports, "report of a link", "reports of links");
    count(links.filter((link) => link.dialer !== undefined).length, "link's direction", "links' directions");
  }
  if (format === "graphml") {
    const kept = links.reduce((n, link) => n + new Set(link.reports.map(dialerOf)).size, 0);
    count(reports - kept, "second report of a link", "second reports of links");
  }
  if (format === "result" || format === "script") {
    count(document.looseLinks.length, "link that nobody reported", "links that nobody reported");
  }
  if (format === "script" || format === "flat" || format === "graphml") {
    const lost = [...document.states].filter(([id, state]) => state !== "answered" || !graph.has(id)).length;
    count(lost, "state of a node that did not answer", "states of nodes that did not answer");
  }
  if (format === "result") {
    const merged = [...document.states.values()].filter((state) => state === "unreachable").length;
    count(
      merged,
      "unreachable node, shown as one without an answer",
      "unreachable nodes, shown as ones without an answer",
    );
  }
  if (format !== "flat" && format !== "graphml") {
    count(document.attributes.size, "node's foreign attributes", "nodes' foreign attributes");
  }
  if (format !== "nodes-csv") count(document.lateJoiners.size, "late joiner's mark", "late joiners' marks");
  return losses;
}

function dialerOf(report: { by: string; peer: string; list: "inbound" | "outbound" }): string {
  return report.list === "inbound" ? report.peer : report.by;
}
