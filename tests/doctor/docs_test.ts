/** docs/doctor.md and docs/json.md say what the doctor says. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FINDING_CODES } from "../../survey/doctor/findings.ts";
import { VERDICTS } from "../../survey/doctor/verdict.ts";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("docs/doctor.md lists every verdict with its exit status", () => {
  const rows = [...read("docs/doctor.md").matchAll(/^\| `(\w+)` +\| (\d+) +\|/gm)].map((
    [, name, status],
  ) => [name, Number(status)]);
  const status = { healthy: 0, attention: 3, broken: 1 };
  const wanted = Object.entries(VERDICTS).map((
    [name, severity],
  ) => [name, name === "interrupted" ? 130 : status[severity]]);
  assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(wanted));
});

test("docs/json.md names every finding", () => {
  const text = read("docs/json.md");
  for (const code of FINDING_CODES) assert.match(text, new RegExp(`\\b${code}\\b`));
});
