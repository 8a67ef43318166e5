/** docs/embedding.md names what the code has. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as library from "../mod.ts";
import { ROOT } from "./kit/tool.ts";

const text = readFileSync(join(ROOT, "docs/embedding.md"), "utf8");

test("docs/embedding.md lists every event, and none that does not exist", () => {
  const source = ["manager/overlay_event.ts", "survey/survey_event.ts"]
    .map((file) => readFileSync(join(ROOT, "overlay", file), "utf8")).join("\n");
  const events = [...source.matchAll(/event: "(\w+)"/g)].map((match) => match[1]);
  const table = text.slice(text.indexOf("## Events"));
  const listed = [...table.matchAll(/^\| (`[^|]+)\|/gm)].flatMap((row) =>
    [...row[1].matchAll(/`(\w+)`/g)].map((match) => match[1])
  );
  assert.deepEqual(listed.sort(), events.sort());
});

test("docs/embedding.md names only methods and exports that exist", () => {
  const example = /```ts\n([\s\S]*?)```/.exec(text)![1];
  for (const name of /import \{([^}]+)\}/.exec(example)![1].split(",").map((name) => name.trim()).filter(Boolean)) {
    assert.ok(name in library, name);
  }
  const members = [library.OverlayManager, library.SurveyManager].flatMap((made) =>
    Object.getOwnPropertyNames(made.prototype)
  );
  const calls = [...text.replace(example, "").matchAll(/`(?:node\.)?(\w+)(?:\(| = \()/g)].map((match) => match[1]);
  const elsewhere = new Set(["snapshot", "exposition"]);
  assert.deepEqual(calls.filter((name) => !members.includes(name) && !elsewhere.has(name)), []);
  assert.ok(calls.length > 10);
});
