/** docs/survey-files.md names every field of survey.json and every column of the CSV files. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { LINK_COLUMNS, NODE_COLUMNS } from "../survey/topology/csv.ts";
import { FORMATS, printSurvey, SURVEY_FILES } from "../survey/topology/formats.ts";
import { recordedDocument } from "./kit/survey_files_kit.ts";

const DOCS = readFileSync(new URL("../docs/survey-files.md", import.meta.url), "utf8");

function keysOf(value: unknown, keys = new Set<string>()): Set<string> {
  if (Array.isArray(value)) { for (const item of value) keysOf(item, keys); }
  else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      keys.add(key);
      keysOf(item, keys);
    }
  }
  return keys;
}

test("docs/survey-files.md names every field, column, form and file", () => {
  const names = keysOf(JSON.parse(printSurvey(recordedDocument(), "survey")));
  assert.ok(names.size > 50);
  for (const name of [...NODE_COLUMNS, ...LINK_COLUMNS]) names.add(name);
  for (const name of names) assert.ok(DOCS.includes(`\`${name}\``) || DOCS.includes(`"${name}":`), name);
  for (const format of FORMATS) if (format !== "survey") assert.ok(DOCS.includes(`\`${format}\``), format);
  for (const file of Object.keys(SURVEY_FILES)) assert.ok(DOCS.includes(`\`${file}\``), file);
});
