import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isFailure } from "../../overlay/base/errors.ts";
import { nodeIdOf, surveyOf } from "../../tests/kit/survey_documents.ts";
import { ROOT, temporaryFolder } from "../../tests/kit/tool.ts";
import { type CliContext, EXIT } from "../context.ts";
import { UsageError } from "../flags.ts";
import { runSurveyReport, type SurveyArchive, type SurveyReportFlags } from "./survey_report.ts";

const RECORDED = join(ROOT, "tests", "fixtures", "http", "survey-result.json");

async function run(file: string | undefined, flags: Partial<SurveyReportFlags>, archive?: SurveyArchive, input = "") {
  let out = "", err = "";
  const io = {
    out: (text: string) => out += text,
    err: (text: string) => err += text,
    readInput: () => Promise.resolve(input),
  };
  const status = await runSurveyReport(file, { top: 10, ...flags }, { io } as unknown as CliContext, archive);
  return { status, out, err };
}

test("survey report --json: one document, 64-bit numbers as texts; rates once the slice is known", async () => {
  const { status, out } = await run(RECORDED, { json: true, slice: 20_000 });
  const report = JSON.parse(out);
  assert.equal(status, EXIT.ok);
  assert.equal(report.schema, "stellar-overlay/survey-report/1");
  assert.equal(report.nodes.length, 6);
  assert.equal(report.links.length, 11);
  const [way] = report.traffic.links[0].ways;
  assert.match(way.bytes, /^\d+$/);
  assert.equal(way.bytesPerSecond, Number(way.bytes) / 20);
  const without = JSON.parse((await run("-", { json: true }, undefined, readFileSync(RECORDED, "utf8"))).out);
  assert.equal(without.traffic.links[0].ways[0].bytesPerSecond, null);
});

test("survey report FILE --since FILE --organizations FILE --html FILE", async () => {
  const folder = temporaryFolder();
  const organizations = join(folder, "organizations.csv"), html = join(folder, "report.html");
  const first = JSON.parse((await run(RECORDED, { json: true })).out).nodes[0].nodeId;
  writeFileSync(organizations, `${first},Example\n`);
  const { out, err } = await run(RECORDED, { since: RECORDED, organizations, html });
  assert.match(out, /Without one organisation[\s\S]*Example\t1\t/);
  assert.match(out, /0 came, 0 went, 0 changed; links: 0 came, 0 went, 0 changed/);
  assert.equal(err, `wrote ${html}\n`);
  assert.match(readFileSync(html, "utf8"), /^<!doctype html>[\s\S]*<\/html>\n$/);
});

test("survey report --db asks the archive, and compares with the survey before", async () => {
  const asked: string[] = [];
  const archive: SurveyArchive = {
    open: (which) => {
      asked.push(which);
      return Promise.resolve({ document: surveyOf(3, [[0, 1], [1, 2]]), before: surveyOf(2, [[0, 1]]) });
    },
  };
  const report = JSON.parse((await run(undefined, { db: "latest", json: true }, archive)).out);
  assert.deepEqual(asked, ["latest"]);
  assert.deepEqual(report.changes.nodesCame.map((node: { nodeId: string }) => node.nodeId), [nodeIdOf(2)]);
});

test("survey report: wrong usage, files without a survey; an older page stays when the report fails", async () => {
  await assert.rejects(() => run(undefined, {}), UsageError);
  await assert.rejects(() => run(RECORDED, { db: "latest" }), UsageError);
  const before = join(ROOT, "tests", "fixtures", "http", "survey-result-before.json");
  await assert.rejects(() => run(before, {}), isFailure("survey_file_invalid"));
  await assert.rejects(() => run("/nonexistent/survey.json", {}), isFailure("file_unreadable"));
  await assert.rejects(() => run(RECORDED, { html: "/nonexistent/page.html" }), isFailure("file_unwritable"));
  const html = join(temporaryFolder(), "report.html");
  writeFileSync(html, "older");
  await assert.rejects(() => run("-", { html }, undefined, "nonsense"), isFailure("survey_file_invalid"));
  assert.equal(readFileSync(html, "utf8"), "older");
  assert.equal(existsSync(`${html}.part`), false);
});
