/** The catalogue is whole: every row has a test or a reason, every case a row, and every test it names exists. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../kit/tool.ts";
import { CASES, PARTS, ROWS } from "./catalogue.ts";

test("every row of the catalogue has a test, or says why nothing can show it", () => {
  for (const { item, cases = [], elsewhere = [], note } of ROWS) {
    assert.ok(cases.length + elsewhere.length > 0 || note !== undefined, item);
    for (const name of cases) assert.ok(name in CASES, `${item}: no case '${name}'`);
  }
  assert.equal(new Set(ROWS.map(({ part, item }) => `${part}: ${item}`)).size, ROWS.length);
  assert.deepEqual([...new Set(ROWS.map(({ part }) => part))], [...PARTS]);
});

test("every case of the hostile tests is in a row", () => {
  const named = new Set(ROWS.flatMap(({ cases = [] }) => cases));
  assert.deepEqual(Object.keys(CASES).filter((name) => !named.has(name)), []);
});

test("every test elsewhere that the catalogue names exists", () => {
  for (const { file, test: name } of ROWS.flatMap(({ elsewhere = [] }) => elsewhere)) {
    assert.ok(name !== "" && readFileSync(join(ROOT, file), "utf8").includes(`test("${name}`), `${file}: ${name}`);
  }
});

test("every reason for a drop in the engine's source is a row of the catalogue", () => {
  const sources = [
    "auth/handshake.ts",
    "peer/peer.ts",
    "manager/admission.ts",
    "manager/dial_plan.ts",
    "manager/overlay_manager.ts",
  ]
    .map((file) => readFileSync(join(ROOT, "overlay", file), "utf8")).join("\n");
  const rows = ROWS.filter(({ part }) => part === "drop reasons").map(({ item }) => item).join("\n");
  const patterns = [
    /reason = "([^"]+)"/g,
    /reason: "([^"]+)"/g,
    /silent\(\s*"([^"]+)"/g,
    /refuse\("([^"]+)"/g,
    /#violation\("([^"]+)"\)/g,
    /load\("([^"]+)"/g,
    /sendErrorAndDrop\("ERR_\w+", "([^"]+)"/g,
  ];
  const reasons = new Set(patterns.flatMap((pattern) => [...sources.matchAll(pattern)].map((match) => match[1])));
  const facts = [...reasons].filter((reason) => NO_DROPS.has(reason));
  assert.equal(facts.length, NO_DROPS.size, "the list of other texts is up to date");
  assert.ok(reasons.size > 20, `${reasons.size}`);
  assert.deepEqual([...reasons].filter((reason) => !NO_DROPS.has(reason) && !rows.includes(reason)), []);
});

/** Texts of the same form that are facts of a failure, or why somebody is admitted. */
const NO_DROPS: ReadonlySet<string> = new Set([
  "small-order or malformed point",
  "length 0",
  "the stream ended inside a frame",
  "the node is stopping",
]);
