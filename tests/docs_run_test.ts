/** docs/run.md lists the log's events and the metrics as they are. UPDATE_DOCS=1 writes the table of metrics anew. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { EVENT_LEVELS } from "../cli/run/events.ts";
import { VirtualClock } from "../overlay/base/clock.ts";
import {
  type GaugeName,
  GAUGES,
  type HistogramName,
  HISTOGRAMS,
  LABELLED_COUNTERS,
  type LabelledCounterName,
  OverlayMetrics,
} from "../overlay/metrics/overlay_metrics.ts";
import { parseOpenMetrics } from "./kit/openmetrics.ts";

const PAGE = join(dirname(fileURLToPath(import.meta.url)), "..", "docs", "run.md");

/** Rows of the first table after a marker, cells trimmed. */
function tableAfter(text: string, marker: string): string[][] {
  const lines = text.slice(text.indexOf(`<!-- ${marker} -->`)).split("\n");
  const start = lines.findIndex((line) => line.startsWith("|"));
  const end = lines.findIndex((line, i) => i > start && !line.startsWith("|"));
  return lines.slice(start + 2, end).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** One row per family, from an exposition in which everything has a value. */
function metricsRows(): string[][] {
  const clock = new VirtualClock();
  const metrics = new OverlayMetrics({ clock, typeName: (type) => `TYPE_${type}`, version: "0" });
  metrics.read(0, 1);
  metrics.written(0, 1);
  for (const name of Object.keys(LABELLED_COUNTERS) as LabelledCounterName[]) metrics.count(name, "x");
  for (const name of Object.keys(GAUGES) as GaugeName[]) {
    metrics.gauge(name, () => ("label" in GAUGES[name] ? { x: 1 } : 1));
  }
  for (const name of Object.keys(HISTOGRAMS) as HistogramName[]) {
    metrics.observe(name, 1, "label" in HISTOGRAMS[name] ? "x" : "");
  }
  return [...parseOpenMetrics(metrics.exposition("openmetrics").text)].map(([name, { type, help, samples }]) => {
    const [, meaning, core] = /^(.*?)(?: \(stellar-core: (.*)\))?$/.exec(help ?? "")!;
    const labels = Object.keys(samples[0].labels).filter((label) => label !== "le").map((label) => `{${label}}`).join(
      "",
    );
    const suffix = type === "counter" ? "_total" : type === "info" ? "_info" : "";
    return [`\`${name}${suffix}${labels}\``, type, meaning, core === undefined ? "" : `\`${core}\``];
  });
}

test("docs/run.md lists every event of the log with its level, and none that does not exist", () => {
  const rows = tableAfter(readFileSync(PAGE, "utf8"), "events");
  const listed = Object.fromEntries(rows.map(([event, level]) => [event.replaceAll("`", ""), level]));
  assert.deepEqual(listed, { ...EVENT_LEVELS });
});

test("docs/run.md lists every metric with its type, labels, meaning and counterpart in stellar-core", () => {
  const rows = metricsRows(), text = readFileSync(PAGE, "utf8");
  if (process.env.UPDATE_DOCS) {
    const [head, tail] = [text.split("<!-- metrics -->")[0], text.split("<!-- /metrics -->")[1]];
    const table = [["Name", "Type", "Meaning", "stellar-core"], ["---", "---", "---", "---"], ...rows]
      .map((cells) => `| ${cells.join(" | ")} |`).join("\n");
    writeFileSync(PAGE, `${head}<!-- metrics -->\n\n${table}\n\n<!-- /metrics -->${tail}`);
    return;
  }
  assert.deepEqual(tableAfter(text, "metrics"), rows, "run it once with UPDATE_DOCS=1, then deno fmt docs/run.md");
});
