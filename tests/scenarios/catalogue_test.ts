/** The catalogue of stellar-core's scenarios, the tests that show them and docs/parity.md say the same. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CATALOGUE, type Scenario } from "./catalogue.ts";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** Holes of one template that are filled in all combinations; none of ours has more. */
const MAX_HOLES = 3;

const ROWS: Scenario[] = CATALOGUE.flatMap((group) => [...group.scenarios]);

/** A name as its words, so that the marks between sections do not matter: those of a name itself may be the same. */
function words(name: string): string {
  return name.replace(/ \/ |[,:;] /g, " ").replace(/[:;,]$/, "").trim().toLowerCase();
}

/** Whether a test with these words shows the scenario with these. */
function startsWith(testWords: string, rowWords: string): boolean {
  return testWords === rowWords || testWords.startsWith(`${rowWords} `);
}

interface NamedTest {
  file: string;
  /** As it stands in the source. */
  source: string;
  /** The names it can have, as words: a hole stands for any quoted text of the same file. */
  names: Set<string>;
}

/** Every test called `scenario: …` in the sources. */
function namedTests(): NamedTest[] {
  const found: NamedTest[] = [];
  for (const folder of ["overlay", "survey", "tests", "cli"]) {
    for (const path of readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })) {
      if (!path.endsWith("_test.ts") || path.endsWith("catalogue_test.ts")) continue;
      const text = readFileSync(join(ROOT, folder, path), "utf8");
      const constants = new Map<string, string>();
      for (const [, name, , value] of text.matchAll(/\bconst (\w+)(: string)? = ["`]([^"`\n]*)["`];/g)) {
        constants.set(name, value);
      }
      for (const [, , raw] of text.matchAll(/\btest\(\s*(["`])((?:(?!\1).)*)\1/g)) {
        let source = raw;
        for (let depth = 0; depth < 4; depth++) {
          source = source.replace(/\$\{(\w+)\}/g, (hole, name) => constants.get(name) ?? hole);
        }
        if (!source.startsWith("scenario: ")) continue;
        found.push({ file: `${folder}/${path}`, source, names: fill(source.slice("scenario: ".length), text) });
      }
    }
  }
  return found;
}

/** The names of a template that begin a row of the catalogue. */
function fill(template: string, text: string): Set<string> {
  const parts = template.split(/\$\{[^}]*\}/);
  if (parts.length === 1) return new Set([words(template)]);
  assert.ok(parts.length - 1 <= MAX_HOLES, `too many holes in ${template}`);
  const quoted = [...new Set(Array.from(text.matchAll(/["`]([^"`\n$]{0,80})["`]/g), (match) => match[1]))];
  const rowWords = ROWS.map((row) => words(row.name));
  // A start that no row has cannot be completed to one.
  const possible = (start: string) =>
    rowWords.some((row) => row.startsWith(start.trim()) || start.trim().startsWith(row));
  let starts = [parts[0]];
  for (const part of parts.slice(1)) {
    starts = starts.flatMap((start) => ["", ...quoted].map((value) => start + value + part))
      .filter((start) => possible(words(start)));
  }
  return new Set(starts.map(words));
}

/** The names that one of the description's short forms means: "too high / too low", "account(s)". */
function alternatives(name: string): string[] {
  const [, start, , second] = /^(.* )(\S+ \S+) \/ (\S+ \S+)$/.exec(name) ?? [];
  if (start !== undefined) return [name.slice(0, name.indexOf(" / ")), start + second];
  const optional = /^(.*?)\((\w+)\)( .*)?$/.exec(name);
  if (optional === null) return [name];
  const [, before, letters, after = ""] = optional;
  // Letters are an ending, which may be left out; a word makes a second name.
  return letters === "s" ? [before + after] : [before.trimEnd() + after, before + letters + after];
}

const TESTS = namedTests();
/** Tests of a scenario; a case is shown by the tests of its sections too. */
const testsOf = (row: Scenario) =>
  TESTS.filter((named) => [...named.names].some((name) => startsWith(name, words(row.name))));

test("catalogue: every scenario is shown by a test, or says why it cannot apply", () => {
  const missing = ROWS.filter((row) => row.notHere === undefined && testsOf(row).length === 0);
  assert.deepEqual(missing.map((row) => row.name), []);
});

test("catalogue: what has a test has no excuse", () => {
  const excused = ROWS.filter((row) => row.notHere !== undefined);
  assert.deepEqual(excused.filter((row) => testsOf(row).length > 0).map((row) => row.name), []);
});

test("catalogue: no test is called a scenario without being one, and no name stands twice", () => {
  const strays = TESTS.filter(({ names }) =>
    ![...names].some((name) => ROWS.some((row) => startsWith(name, words(row.name))))
  );
  assert.deepEqual(strays.map(({ file, source }) => `${file}: ${source}`), []);
  const seen = ROWS.map((row) => words(row.name));
  assert.deepEqual(seen.filter((name, i) => seen.indexOf(name) !== i), []);
});

test("catalogue: docs/parity.md gives the reason of every scenario that does not apply", () => {
  const parity = readFileSync(join(ROOT, "docs/parity.md"), "utf8").replace(/\s+/g, " ");
  const section = /## Scenarios that do not apply (.*?)( ## |$)/.exec(parity)?.[1] ?? "";
  const unsaid = ROWS.filter(({ name, notHere }) =>
    notHere !== undefined && !(section.includes(notHere) && section.includes(`\`${name.split(" / ")[0]}\``))
  );
  assert.deepEqual(unsaid.map((row) => row.name), []);
});

test("catalogue: it covers the tables of the protocol's description, where that is at hand", () => {
  const path = [join(ROOT, "../shared"), join(ROOT, "../../shared")]
    .map((shared) => join(shared, "protocol/scenarios.md")).find(existsSync);
  if (path === undefined) return;
  const text = readFileSync(path, "utf8");
  const tables = text.slice(text.indexOf("## Handshake")).split("\n").filter((line) => /^\|(?! ?-|---)/.test(line));
  // Names stand in italics. One that ends in dots is the start of a name, and dots at its head repeat the name before.
  const named = tables.flatMap((line) => [...line.matchAll(/(?<!\*)\*([^*|]+)\*(?!\*)/g)].map((match) => match[1]));
  assert.ok(named.length > 100, "the tables are not where they were");
  const known = ROWS.map((row) => ` ${words(row.name)} `);
  const missing = named.filter((name) => {
    const covered = (one: string) => {
      const wanted = words(one.replaceAll("…", ""));
      return known.some((row) => row.includes(one.endsWith("…") ? ` ${wanted}` : ` ${wanted} `));
    };
    return !covered(name) && !alternatives(name).every(covered);
  });
  assert.deepEqual([...new Set(missing)], []);
});
