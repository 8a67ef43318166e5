/** A strict reader of OpenMetrics 1.0 text, which throws at everything a scraper might not take. Source: the OpenMetrics specification. */
import assert from "node:assert/strict";

/** One sample line. */
export interface ParsedSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** One family with its samples. */
export interface ParsedFamily {
  type: string;
  unit: string | undefined;
  help: string | undefined;
  samples: ParsedSample[];
}

const SUFFIXES: Record<string, string[]> = {
  counter: ["_total"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  info: ["_info"],
};
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;

/** The families of a text by name. Throws an AssertionError that quotes the line. */
export function parseOpenMetrics(text: string): Map<string, ParsedFamily> {
  assert.ok(text.endsWith("\n# EOF\n"), "it ends with # EOF and a line feed");
  const lines = text.split("\n").slice(0, -2);
  const families = new Map<string, ParsedFamily>();
  let name = "", current: ParsedFamily | undefined;
  for (const line of lines) {
    assert.equal(line, line.trim(), `blanks around: ${line}`);
    const head = /^# (TYPE|UNIT|HELP) (\S+) (.*)$/.exec(line);
    if (head !== null) {
      const [, kind, family, rest] = head;
      if (kind === "TYPE") {
        assert.ok(!families.has(family), `a family twice: ${line}`);
        assert.ok(rest in SUFFIXES, `unknown type: ${line}`);
        families.set(name = family, current = { type: rest, unit: undefined, help: undefined, samples: [] });
        continue;
      }
      assert.ok(current !== undefined && family === name && current.samples.length === 0, `out of order: ${line}`);
      if (kind === "UNIT") {
        assert.ok(family.endsWith(`_${rest}`), `the name lacks the unit: ${line}`);
        current.unit = rest;
      } else current.help = rest;
      continue;
    }
    const match = SAMPLE.exec(line);
    assert.ok(match !== null && current !== undefined, `no sample: ${line}`);
    const [, sample, labels, value] = match;
    assert.ok(SUFFIXES[current.type].some((suffix) => sample === name + suffix), `not of family ${name}: ${line}`);
    assert.ok(/^(NaN|[+-]Inf|-?\d+(\.\d+)?([eE][+-]?\d+)?)$/.test(value), `no number: ${line}`);
    const number = value === "+Inf" ? Infinity : value === "-Inf" ? -Infinity : Number(value);
    if (current.type === "counter") assert.ok(number >= 0, `a counter below 0: ${line}`);
    current.samples.push({ name: sample, labels: parseLabels(labels, line), value: number });
  }
  for (const [family, { type, samples }] of families) {
    const keys = samples.map((sample) => sample.name + JSON.stringify(sample.labels));
    assert.equal(new Set(keys).size, keys.length, `${family} has a sample twice`);
    if (type === "histogram") checkHistogram(family, samples);
  }
  return families;
}

function parseLabels(text: string | undefined, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text === undefined ? "" : text.slice(1, -1);
  while (rest !== "") {
    const match = LABEL.exec(rest);
    assert.ok(match !== null && !(match[1] in labels), `labels: ${line}`);
    labels[match[1]] = match[2].replace(/\\(["\\n])/g, (_, c) => (c === "n" ? "\n" : c));
    rest = rest.slice(match[0].length);
  }
  return labels;
}

/** Buckets ascend, the last is +Inf and equals the count. */
function checkHistogram(family: string, samples: ParsedSample[]): void {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...rest } }) => JSON.stringify(rest));
  for (const [key, rows] of series) {
    const buckets = rows.filter((row) => row.name === `${family}_bucket`);
    const bounds = buckets.map((row) => (row.labels.le === "+Inf" ? Infinity : Number(row.labels.le)));
    assert.deepEqual(bounds, bounds.toSorted((a, b) => a - b), `${family}${key}: bounds ascend`);
    assert.deepEqual(
      buckets.map((row) => row.value),
      buckets.map((row) => row.value).toSorted((a, b) => a - b),
      `${family}${key}: counts ascend`,
    );
    const count = rows.filter((row) => row.name === `${family}_count`);
    assert.equal(bounds.at(-1), Infinity, `${family}${key}: the last bucket is +Inf`);
    assert.equal(count.length, 1);
    assert.equal(count[0].value, buckets.at(-1)!.value, `${family}${key}: the last bucket is the count`);
    assert.equal(rows.filter((row) => row.name === `${family}_sum`).length, 1);
  }
}
