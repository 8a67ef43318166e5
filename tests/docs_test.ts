/** What the documents say of the code is true: failure codes, exit statuses, versions. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { EXIT } from "../cli/context.ts";
import { VERSION } from "../overlay/base/version.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

test("docs/failures.md lists every failure code, and none that does not exist", () => {
  const union = /export type Failure =[\s\S]*?;\n\n/.exec(read("overlay/base/errors.ts"))![0];
  const codes = new Set([...union.matchAll(/code: "(\w+)"/g)].map((match) => match[1]));
  const table = read("docs/failures.md").split("\n").filter((line) => line.startsWith("| `"));
  const listed = new Set(
    table.flatMap((line) => [...line.split("|")[1].matchAll(/`(\w+)`/g)].map((match) => match[1])),
  );
  assert.deepEqual([...codes].filter((code) => !listed.has(code)), []);
  assert.deepEqual([...listed].filter((code) => !codes.has(code)), []);
});

test("docs/exit-codes.md lists every exit status", () => {
  const listed = [...read("docs/exit-codes.md").matchAll(/^\| (\d+) +\|/gm)].map((match) => Number(match[1]));
  assert.deepEqual(listed.sort((a, b) => a - b), Object.values(EXIT).sort((a, b) => a - b));
});

test("package.json, deno.json and the tool name one version", () => {
  assert.equal(JSON.parse(read("package.json")).version, VERSION);
  assert.equal(JSON.parse(read("deno.json")).version, VERSION);
});

test("README.md names only commands, scripts and files that exist", () => {
  const readme = read("README.md");
  const scripts = Object.keys(JSON.parse(read("package.json")).scripts);
  for (const [, script] of readme.matchAll(/npm run ([\w:]+)/g)) {
    assert.ok(scripts.includes(script), `npm run ${script}`);
  }
  for (const [, path] of readme.matchAll(/\]\(((?:docs|bench|tests)\/[^)#]+)\)/g)) {
    assert.ok(read(path).length > 0, path);
  }
});
