/** docs/json.md names every field of a survey's report and every kind of outlier. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { OUTLIER_KINDS } from "../survey/topology/outliers.ts";
import { surveyReport } from "../survey/topology/report.ts";
import { nodeIdOf, surveyOf } from "./kit/survey_documents.ts";

const DOCS = readFileSync(new URL("../docs/json.md", import.meta.url), "utf8");
const SECTION = /## `stellar-overlay\/survey-report\/1`[\s\S]*?\n## /.exec(DOCS)![0];

function keysOf(value: unknown, keys = new Set<string>()): Set<string> {
  if (typeof value !== "object" || value === null) return keys;
  for (const [key, item] of Object.entries(value)) {
    if (!Array.isArray(value)) keys.add(key);
    keysOf(item, keys);
  }
  return keys;
}

test("docs/json.md names every field of survey-report/1, and none that is not there", async () => {
  const links: [number, number][] = [[0, 1], [1, 2], [2, 0], [2, 3], [3, 4]];
  const report = await surveyReport(surveyOf(5, links, { data: () => ({ isValidator: true }) }), {
    since: surveyOf(4, [[1, 0], [1, 2], [2, 0], [1, 3]], { peer: () => ({ version: "v28" }) }),
    organizations: { source: "file", of: new Map([[nodeIdOf(0), "Zero"]]), names: new Map() },
  });
  const fields = keysOf(report);
  const named = new Set([...SECTION.matchAll(/"(\w+)":/g)].map(([, name]) => name));
  assert.deepEqual([...fields].filter((name) => !named.has(name)), []);
  assert.deepEqual([...named].filter((name) => !fields.has(name)), []);
  assert.deepEqual(OUTLIER_KINDS.filter((kind) => !SECTION.includes(`\`${kind}\``)), []);
});
