import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { CONTENT_TYPES, type Family, formatFor, renderExposition } from "./exposition.ts";
import { BOUNDS, EXPORTED_BOUNDS, Histogram, WINDOW_MS } from "./histogram.ts";
import { COUNTERS, GAUGES, HISTOGRAMS, MAX_LABELS, OverlayMetrics } from "./overlay_metrics.ts";

test("BOUNDS ascend from 0.1 ms to 100 s, and a third or so is exported", () => {
  for (let i = 1; i < BOUNDS.length; i++) assert.ok(BOUNDS[i] > BOUNDS[i - 1]);
  assert.deepEqual([BOUNDS[0], BOUNDS.at(-1)], [0.1, 100_000]);
  const exported = EXPORTED_BOUNDS.map((i) => BOUNDS[i]);
  assert.deepEqual(exported.slice(0, 4), [0.1, 0.2, 0.5, 1]);
  assert.equal(exported.at(-1), 100_000);
});

test("Histogram gives percentiles within a bucket of the truth", () => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 90_000, noNaN: true }), { minLength: 1 }), (values) => {
    const histogram = new Histogram();
    for (const value of values) histogram.observe(value, 0);
    const summary = histogram.summary(0), sorted = values.toSorted((a, b) => a - b);
    for (const [share, found] of [[0.5, summary.p50], [0.75, summary.p75], [0.99, summary.p99]]) {
      const truth = sorted[Math.ceil(share * sorted.length) - 1];
      const bucket = BOUNDS.findIndex((bound) => bound >= truth);
      assert.ok(found >= (BOUNDS[bucket - 1] ?? 0) && found <= BOUNDS[bucket] && found <= summary.max);
    }
    assert.deepEqual([summary.count, summary.windowCount, summary.max], [values.length, values.length, sorted.at(-1)]);
  }));
});

test("Histogram forgets what is older than its window, but for count, sum and buckets", () => {
  const histogram = new Histogram();
  histogram.observe(1000, 0);
  histogram.observe(10, WINDOW_MS - 1);
  assert.equal(histogram.summary(WINDOW_MS - 1).windowCount, 2);
  const { count, sum, windowCount, max } = histogram.summary(WINDOW_MS);
  assert.deepEqual([count, sum, windowCount, max], [2, 1010, 1, 10]);
  assert.equal(histogram.summary(3 * WINDOW_MS).p99, 0);
  histogram.observe(NaN, 0);
  histogram.observe(Infinity, 0);
  histogram.observe(-5, 0);
  assert.deepEqual([histogram.count, histogram.sum, histogram.buckets[0]], [3, 1010, 1]);
});

const FAMILIES: Family[] = [
  { type: "counter", name: "a", help: 'say "x"\\\n', samples: [{ labels: { reason: 'q"b\\s\nn' }, value: 2 }] },
  { type: "gauge", name: "b_seconds", unit: "seconds", help: "B", samples: [{ value: -Infinity }] },
  {
    type: "histogram",
    name: "c",
    help: "C",
    samples: [{ labels: { queue: "scp" }, buckets: [{ le: 0.5, count: 1 }, { le: 1, count: 2 }], count: 3, sum: 4.5 }],
  },
  { type: "info", name: "d", help: "D", samples: [{ labels: { version: "1" }, value: 1 }] },
];

test("renderExposition writes OpenMetrics", () => {
  assert.equal(
    renderExposition(FAMILIES, "openmetrics"),
    [
      "# TYPE a counter",
      '# HELP a say \\"x\\"\\\\\\n',
      'a_total{reason="q\\"b\\\\s\\nn"} 2',
      "# TYPE b_seconds gauge",
      "# UNIT b_seconds seconds",
      "# HELP b_seconds B",
      "b_seconds -Inf",
      "# TYPE c histogram",
      "# HELP c C",
      'c_bucket{queue="scp",le="0.5"} 1',
      'c_bucket{queue="scp",le="1.0"} 2',
      'c_bucket{queue="scp",le="+Inf"} 3',
      'c_sum{queue="scp"} 4.5',
      'c_count{queue="scp"} 3',
      "# TYPE d info",
      "# HELP d D",
      'd_info{version="1"} 1',
      "# EOF",
      "",
    ].join("\n"),
  );
});

test("renderExposition writes the older Prometheus text: families named like their samples, no unit, no end mark", () => {
  const text = renderExposition(FAMILIES, "prometheus");
  assert.ok(text.startsWith('# TYPE a_total counter\n# HELP a_total say "x"\\\\\\n\na_total{'));
  assert.match(text, /# TYPE d_info gauge/);
  assert.doesNotMatch(text, /# UNIT|# EOF/);
});

test("renderExposition refuses names that no scraper takes", () => {
  assert.throws(
    () => renderExposition([{ type: "gauge", name: "a b", help: "", samples: [] }], "openmetrics"),
    RangeError,
  );
  const samples = [{ labels: { "a-b": "" }, value: 1 }];
  assert.throws(() => renderExposition([{ type: "gauge", name: "a", help: "", samples }], "openmetrics"), RangeError);
});

test("formatFor chooses by the Accept header", () => {
  assert.equal(formatFor("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), "openmetrics");
  assert.equal(formatFor("text/plain"), "prometheus");
  assert.equal(formatFor(undefined), "prometheus");
});

function metricsOf() {
  const clock = new VirtualClock();
  return { clock, metrics: new OverlayMetrics({ clock, typeName: (type) => `TYPE_${type}`, version: "0.1" }) };
}

test("OverlayMetrics counts, and shows the same in JSON and as text", async () => {
  const { clock, metrics } = metricsOf();
  metrics.read(11, 300);
  metrics.read(11, 100);
  metrics.written(8, 50);
  metrics.counters.demandedHashes += 600;
  metrics.count("inboundDrops", "idle_timeout");
  metrics.observe("txPullLatency", 250);
  metrics.observe("outboundQueueDelay", 3, "scp");
  metrics.gauge("floodRecords", () => 7);
  metrics.gauge("authenticatedPeers", () => ({ inbound: 2, outbound: 3 }));
  await clock.advance(60_000);
  const json = metrics.snapshot();
  assert.deepEqual(json.messages, {
    TYPE_8: { read: 0, written: 1, bytesRead: 0, bytesWritten: 50 },
    TYPE_11: { read: 2, written: 0, bytesRead: 400, bytesWritten: 0 },
  });
  assert.deepEqual(json.counters.demandedHashes, { count: 600, rate1m: 10, rate5m: 10, rate15m: 10 });
  assert.deepEqual(json.labelledCounters.inboundDrops, { idle_timeout: 1 });
  assert.deepEqual(json.gauges, { floodRecords: 7, authenticatedPeers: { inbound: 2, outbound: 3 } });
  assert.deepEqual([json.uptimeSeconds, json.at], [60, "2026-01-01T00:01:00.000Z"]);
  assert.equal(JSON.parse(JSON.stringify(json)).histograms.outboundQueueDelay.scp.count, 1);
  const { text, contentType } = metrics.exposition();
  assert.equal(contentType, CONTENT_TYPES.openmetrics);
  for (
    const line of [
      'stellar_overlay_messages_read_total{type="TYPE_11"} 2',
      'stellar_overlay_read_bytes_total{type="TYPE_11"} 400',
      "stellar_overlay_demanded_hashes_total 600",
      'stellar_overlay_inbound_drops_total{reason="idle_timeout"} 1',
      "stellar_overlay_flood_records 7",
      'stellar_overlay_authenticated_peers{direction="inbound"} 2',
      'stellar_overlay_tx_pull_latency_seconds_bucket{le="0.2"} 0',
      'stellar_overlay_tx_pull_latency_seconds_bucket{le="0.5"} 1',
      "stellar_overlay_tx_pull_latency_seconds_sum 0.25",
      'stellar_overlay_outbound_queue_delay_seconds_count{queue="scp"} 1',
      'stellar_overlay_info{version="0.1"} 1',
    ]
  ) assert.ok(text.includes(`\n${line}\n`), line);
  assert.ok(text.endsWith("# EOF\n"));
});

test("OverlayMetrics rates fade when nothing happens", async () => {
  const { clock, metrics } = metricsOf();
  metrics.counters.broadcasts = 50;
  await clock.advance(5000);
  assert.equal(metrics.snapshot().counters.broadcasts.rate1m, 10);
  await clock.advance(60_000);
  const { rate1m, rate15m } = metrics.snapshot().counters.broadcasts;
  assert.ok(Math.abs(rate1m - 10 / Math.E) < 1e-9 && rate15m > 9);
});

test("OverlayMetrics bounds the labels a remote may cause", () => {
  const { metrics } = metricsOf();
  for (let i = 0; i < 3 * MAX_LABELS; i++) {
    metrics.count("scpDiscards", `reason ${i}`);
    metrics.observe("fetchTime", 1, `kind ${i}`);
  }
  const { labelledCounters, histograms } = metrics.snapshot();
  assert.ok(Object.keys(labelledCounters.scpDiscards).length <= MAX_LABELS + 1);
  assert.equal(labelledCounters.scpDiscards.other, 2 * MAX_LABELS);
  assert.equal(Object.keys(histograms.fetchTime).length, MAX_LABELS);
});

test("OverlayMetrics families have unique names, a help line and samples below their own head", () => {
  const { metrics } = metricsOf();
  for (const name of Object.keys(GAUGES)) metrics.gauge(name as keyof typeof GAUGES, () => 1);
  for (const name of Object.keys(HISTOGRAMS)) metrics.observe(name as keyof typeof HISTOGRAMS, 1);
  for (const format of ["openmetrics", "prometheus"] as const) {
    const seen = new Set<string>();
    let family = "";
    for (const line of metrics.exposition(format).text.trimEnd().split("\n")) {
      const head = /^# TYPE (\S+) (counter|gauge|histogram|info)$/.exec(line);
      if (head !== null) {
        family = head[1];
        assert.ok(!seen.has(family), family);
        seen.add(family);
      } else if (!line.startsWith("#")) {
        assert.match(line, /^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \S+$/);
        assert.ok(line.startsWith(family), line);
      }
    }
    assert.ok(seen.size >= Object.keys(COUNTERS).length + Object.keys(GAUGES).length + Object.keys(HISTOGRAMS).length);
  }
});
