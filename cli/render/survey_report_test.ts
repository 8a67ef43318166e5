import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../overlay/base/random.ts";
import { surveyReport } from "../../survey/topology/report.ts";
import type { SurveyReport } from "../../survey/topology/report_types.ts";
import { nodeIdOf, surveyOf } from "../../tests/kit/survey_documents.ts";
import type { Io } from "../context.ts";
import { histogramClasses, renderSurveyReport } from "./survey_report.ts";
import { renderSurveyHtml } from "./survey_report_html.ts";

const HOSTILE = `v1\x1b[2J\n"><script>alert(1)</script><img src=http://evil.example/x>&amp;'\udc80`;
const NAME = "<b>Org & Co</b>";

/** A network with everything a report has a place for: validators, cut nodes, liars, silent nodes, hostile versions. */
function network(order: number, linksPerNode: number, seed: number) {
  const random = new SeededRandom(seed);
  const links = new Map<string, [number, number]>();
  for (let i = 1; i < order - 3; i++) {
    for (let j = 0; j < linksPerNode; j++) {
      const other = random.int(i);
      links.set(`${other} ${i}`, [i, other]);
    }
  }
  links.set("tail", [order - 3, order - 4]);
  links.set("tip", [order - 2, order - 3]);
  const document = surveyOf(order, [...links.values()], {
    silent: [5, 9],
    data: (i) => ({ isValidator: i % 7 === 0 || i === order - 2, lostSyncCount: i === 8 ? 2 : 0 }),
    peer: (_, of) => ({ version: of % 3 === 0 ? HOSTILE : "v27.0.0", bytesRead: BigInt(random.int(10_000_000)) }),
  });
  const liar = document.nodes.get(nodeIdOf(2))!;
  liar.outboundPeers.push({ ...liar.inboundPeers[0], nodeId: nodeIdOf(order - 4) });
  return document;
}

async function report(order = 40): Promise<SurveyReport> {
  const of = new Map([[nodeIdOf(0), NAME], [nodeIdOf(1), NAME], [nodeIdOf(7), HOSTILE]]);
  const names = new Map([[nodeIdOf(0), HOSTILE]]);
  return await surveyReport(network(order, 3, 1), {
    since: network(order - 3, 2, 2),
    organizations: { source: "file", of, names },
  });
}

function terminal(columns: number | undefined): Io {
  return { outIsTerminal: columns !== undefined, columns, outColour: false } as Io;
}

/** Whether any character of a text moves a cursor or is no character. */
// deno-lint-ignore no-control-regex
const WILD = /[\x00-\x09\x0b-\x1f\x7f-\x9f]|[\ud800-\udfff]/;

test("renderSurveyReport fits 80 columns and lets no remote text out", async () => {
  const text = renderSurveyReport(await report(), terminal(80), 10);
  for (const line of text.split("\n")) assert.ok(line.length <= 80, `${line.length}: ${line}`);
  assert.ok(!WILD.test(text));
  for (
    const title of [
      "Graph",
      "Peers per node",
      "Most central nodes",
      "Nodes whose loss splits the graph",
      "Links whose loss splits the graph",
      "Without the top nodes by degree",
      "Without one organisation",
      "Validators",
      "Validators that one node separates",
      "Traffic and latency",
      "Busiest links",
      "Versions",
      "To look at",
      "Since 2026-01-01T12:00:00.000Z",
      "What this cannot tell",
    ]
  ) assert.ok(text.includes(`\n${title}`), title);
});

test("renderSurveyReport on a pipe prints whole node ids, and --top bounds the tables", async () => {
  const made = await report();
  const text = renderSurveyReport(made, terminal(undefined), 3);
  const central = text.slice(text.indexOf("Most central"), text.indexOf("Nodes whose loss")).trim().split("\n");
  assert.equal(central.length, 2 + 3);
  for (const row of central.slice(2)) assert.match(row, /^G[A-Z2-7]{55}\t\d+\t/);
  assert.ok(!WILD.test(text.replaceAll("\t", " ")));
});

test("renderSurveyHtml: one page that asks nothing of any host, runs nothing, and shows remote text as text", async () => {
  const made = await report();
  const page = renderSurveyHtml(made);
  assert.ok(page.startsWith("<!doctype html>"));
  assert.ok(page.includes(`content="default-src 'none'; style-src 'unsafe-inline'"`));
  for (const [tag] of page.matchAll(/<[^>]*>/g)) {
    assert.ok(!/^<(script|img|link|iframe|object|embed|form)|\s(src|href|action|on\w+)=/i.test(tag), tag);
  }
  assert.ok(!/url\(|@import/.test(page));
  assert.ok(!WILD.test(page));
  assert.ok(page.includes("&#60;b&#62;Org &#38; Co&#60;/b&#62;"));
  // Every element is closed in order: hostile text broke out of none.
  const open: string[] = [];
  for (
    const [, close, name, empty] of page.replace(/<style>[\s\S]*?<\/style>/, "").matchAll(
      /<(\/?)([a-z0-9]+)(?:"[^"]*"|[^>"])*?(\/?)>/g,
    )
  ) {
    if (["meta"].includes(name) || empty === "/") continue;
    if (close === "") open.push(name);
    else assert.equal(open.pop(), name);
  }
  assert.deepEqual(open, []);
  // A drawing says in words what it shows.
  for (const [svg] of page.matchAll(/<svg (?![^>]*aria-hidden)[\s\S]*?<\/svg>/g)) {
    assert.match(
      svg,
      /^<svg [^>]*role="img" aria-labelledby="\S+ \S+"><title id="\S+">[^<]+<\/title><desc id="\S+">[^<]+<\/desc>/,
    );
  }
  assert.equal([...page.matchAll(/<table/g)].length, [...page.matchAll(/<caption>/g)].length);
  // The drawing has every node once, and shows the lie.
  const drawing = /<svg class="graph"[\s\S]*?<\/svg>/.exec(page)![0];
  assert.equal([...drawing.matchAll(/<(?:rect|circle) class="[vau]"/g)].length, made.nodes.length);
  assert.ok(drawing.includes('class="links denied"'));
  assert.ok(!/NaN|Infinity|undefined|\[object/.test(page));
});

test("renderSurveyHtml of 500 nodes with 5000 links stays below 1 MB", async () => {
  const page = renderSurveyHtml(await surveyReport(network(500, 10, 3)));
  assert.ok(page.length < 1_000_000, `${page.length} characters`);
});

test("histogramClasses puts counts into classes of equal width and loses none", () => {
  const bars = [{ value: 1, nodes: 4 }, { value: 2, nodes: 1 }, { value: 9, nodes: 2 }];
  assert.deepEqual(histogramClasses(bars, 12).map(({ nodes }) => nodes), [4, 1, 0, 0, 0, 0, 0, 0, 2]);
  assert.deepEqual(histogramClasses(bars, 3), [
    { label: "1-3", nodes: 5 },
    { label: "4-6", nodes: 0 },
    { label: "7-9", nodes: 2 },
  ]);
  assert.deepEqual(histogramClasses([], 3), []);
});
