/** A survey's report as one HTML page: opens offline, asks nothing of any host, runs no script. */
import { VERSION } from "../../overlay/base/version.ts";
import { OUTLIER_KINDS } from "../../survey/topology/outliers.ts";
import type { ReportNode, ReportRemoval, SurveyReport } from "../../survey/topology/report_types.ts";
import { html, type HtmlColumn, htmlTable } from "./html.ts";
import { bytes, ms } from "./style.ts";
import { groupDependencies, histogramClasses } from "./survey_report.ts";
import { barDrawing, graphDrawing, MAX_DRAWN_NODES, removalDrawing } from "./survey_report_svg.ts";

/** Validators up to which the page holds the matrix of hops. */
const MATRIX_LIMIT = 80;
/** Rows of the longest tables; the rest is in the JSON document. */
const ROWS = 200;

/** The page. */
export function renderSurveyHtml(report: SurveyReport): string {
  const names = new Map(report.nodes.map(({ nodeId, name }) => [nodeId, name ?? nodeId.slice(0, 8)]));
  const label = (nodeId: string) => names.get(nodeId) ?? nodeId.slice(0, 8);
  const node = <T>(title: string, nodeId: (row: T) => string, head = false): HtmlColumn<T> => ({
    title,
    head,
    value: (row) => label(nodeId(row)),
    hint: nodeId,
  });
  const title = pageTitle(report);
  const sections = [
    summary(report, title),
    section("graph", "The graph", graphPart(report)),
    section("nodes", "Nodes", nodesPart(report, node)),
    section("resilience", "What it stands on", resiliencePart(report, node)),
    section("validators", "Validators", validatorsPart(report, node, label)),
    section("traffic", "Traffic and latency", trafficPart(report, node)),
    section("versions", "Versions", versionsPart(report)),
    section("outliers", "To look at", outliersPart(report, node)),
    section("changes", "What changed", changesPart(report, node)),
    section(
      "limits",
      "What this cannot tell",
      `<ul>${report.limits.map((text) => `<li>${html(text)}</li>`).join("")}</ul>`,
    ),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="stellar-overlay ${html(VERSION)}">
<title>${html(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${sections.join("")}</main>
<footer><p>Made by stellar-overlay ${html(VERSION)}. Schema of the same figures as JSON: ${
    html(report.schema)
  }.</p></footer>
</body>
</html>
`;
}

type NodeColumn = <T>(title: string, nodeId: (row: T) => string, head?: boolean) => HtmlColumn<T>;

function pageTitle({ survey }: SurveyReport): string {
  return "Overlay survey" + (survey.network === null ? "" : ` of ${survey.network}`) +
    (survey.startedAt === null ? "" : `, ${survey.startedAt.slice(0, 16).replace("T", " ")} UTC`);
}

function section(id: string, title: string, body: string): string {
  return body === "" ? "" : `<section aria-labelledby="${id}"><h2 id="${id}">${html(title)}</h2>\n${body}</section>\n`;
}

function summary(report: SurveyReport, title: string): string {
  const { survey, coverage, graph, traffic, latency } = report;
  const card = (name: string, value: string, note = "") =>
    `<div class="card"><dt>${html(name)}</dt><dd>${html(value)}${
      note === "" ? "" : `<small>${html(note)}</small>`
    }</dd></div>`;
  const silent = coverage.nodes + coverage.askedOutsideGraph - coverage.byState.answered;
  const facts = [
    survey.nonce === null ? "" : `Nonce ${survey.nonce}`,
    survey.surveyor === null ? "" : `surveyor ${survey.surveyor}`,
    survey.sliceSeconds === null ? "slice of unknown length" : `slice of ${ms(survey.sliceSeconds * 1000)}`,
  ].filter((part) => part !== "").join(", ");
  return `<header><h1>${html(title)}</h1><p>${html(facts)}.</p></header>\n<dl class="cards">` + [
    card("Nodes", String(coverage.nodes), `${coverage.byState.answered} answered, ${silent} did not`),
    card("Links", String(coverage.links), linkNote(report)),
    card("Components", String(graph.components.length), `largest: ${graph.components[0]?.nodes ?? 0} nodes`),
    card("Diameter", `${graph.diameterHops} hops`, `radius ${graph.radiusHops}`),
    card("Mean distance", graph.averageShortestPathHops.toFixed(2), "hops between two nodes"),
    card("Peers per node", String(graph.degree.median), `median; ${graph.degree.min} to ${graph.degree.max}`),
    card("Clustering", graph.averageClustering.toFixed(3), `density ${graph.density.toFixed(3)}`),
    card("Highest coreness", String(graph.maxCoreness)),
    card("Articulation nodes", String(graph.articulationNodes.length), `${graph.bridges.length} bridges`),
    card(
      "Validators",
      String(report.validators.nodeIds.length),
      `${report.validators.dependencies.length} pairs hang on one node`,
    ),
    card("Known already", share(traffic.flood.messageRatio), "of flood messages received"),
    ...(latency.linkMs === null
      ? []
      : [card("Ping", `${latency.linkMs.p50} ms`, `median; p90 ${latency.linkMs.p90} ms`)]),
  ].join("") + `</dl>\n`;
}

function linkNote({ coverage, survey }: SurveyReport): string {
  const { both, oneEnd, denied, roles } = coverage.linksByAgreement;
  if (survey.linkReports !== "perSide") return "";
  return `${both} by both ends, ${oneEnd} by one` + (denied + roles > 0 ? `, ${denied + roles} in dispute` : "");
}

function graphPart(report: SurveyReport): string {
  const { graph } = report;
  const drawing = report.nodes.length > MAX_DRAWN_NODES
    ? `<p>The graph has more than ${MAX_DRAWN_NODES} nodes; it is not drawn.</p>`
    : graphDrawing(report);
  return drawing + `<div class="charts">` +
    barDrawing("degree", "Nodes by number of peers", histogramClasses(graph.degree.histogram, 8), "peers") +
    barDrawing(
      "distance",
      "Pairs of nodes by distance",
      graph.distances.map(({ hops, pairs }) => ({ label: String(hops), nodes: pairs })),
      "hops",
    ) +
    barDrawing("coreness", "Nodes by coreness", histogramClasses(graph.coreness, 8), "coreness") +
    barDrawing(
      "dialed",
      "Nodes by number of peers they dialed",
      histogramClasses(graph.outDegree.histogram, 8),
      "dialed",
    ) +
    `</div>\n`;
}

function nodesPart(report: SurveyReport, node: NodeColumn): string {
  const rows = [...report.nodes].sort((a, b) => b.betweenness - a.betweenness || b.degree - a.degree).slice(0, ROWS);
  if (rows.length === 0) return "";
  const named = rows.some((row) => row.organization !== null);
  return details(
    `All figures of ${
      rows.length === report.nodes.length ? "the" : `the first ${rows.length} of ${report.nodes.length}`
    } nodes, most central first`,
    htmlTable<ReportNode>("Nodes by betweenness", rows, [
      node("node", (row) => row.nodeId, true),
      ...(named ? [{ title: "organisation", value: (row: ReportNode) => row.organization ?? "" }] : []),
      {
        title: "state",
        value: (row) =>
          [
            row.state === "answered" ? "" : row.state === "listedOnly" ? "listed only" : row.state,
            row.isValidator === true ? "validator" : "",
          ].filter((part) => part !== "").join(", "),
      },
      { title: "version", value: (row) => (row.versionStr ?? "").slice(0, 40) },
      number("degree", (row) => String(row.degree)),
      number("in", (row) => String(row.inDegree)),
      number("out", (row) => String(row.outDegree)),
      number("betweenness", (row) => row.betweenness.toFixed(4)),
      number("closeness", (row) => row.closeness.toFixed(3)),
      number("clustering", (row) => row.clustering.toFixed(3)),
      number("core", (row) => String(row.coreness)),
      number("farthest", (row) => String(row.eccentricityHops)),
      number("lost sync", (row) => text(row.lostSyncCount)),
      number("SCP ms", (row) => text(row.p75SCPFirstToSelfLatencyMs)),
      number("duplicates", (row) => share(row.floodDuplicateRatio)),
    ]),
    rows.length <= 25,
  );
}

function resiliencePart(report: SurveyReport, node: NodeColumn): string {
  const { removal, graph } = report;
  const columns: HtmlColumn<ReportRemoval>[] = [
    number("removed", (row) => String(row.removed)),
    number("components", (row) => String(row.components)),
    number("largest", (row) => String(row.largest)),
    number("of the rest", (row) => share(row.share)),
    number("cut off", (row) => String(row.cutOff)),
    number("validators cut off", (row) => `${row.validatorsCutOff} of ${row.validatorsLeft}`),
  ];
  return removalDrawing([
    { name: "degree", kind: "one", rows: removal.byDegree },
    { name: "betweenness", kind: "two", rows: removal.byBetweenness },
  ]) +
    `<div class="pair">` + htmlTable("Without the top nodes by degree", removal.byDegree, columns) +
    htmlTable("Without the top nodes by betweenness", removal.byBetweenness, columns) + `</div>\n` +
    htmlTable("Without one organisation, the worst loss first", removal.organizations.each.slice(0, ROWS), [
      { title: "organisation", value: (row) => row.organization, head: true },
      ...columns,
    ]) +
    htmlTable("Nodes whose loss splits the graph", graph.articulationNodes.slice(0, ROWS), [
      node("node", (row) => row.nodeId, true),
      number("parts", (row) => String(row.parts)),
      number("nodes cut off", (row) => String(row.cutOff)),
    ]) +
    htmlTable("Links whose loss splits the graph", graph.bridges.slice(0, ROWS), [
      node("end", (row) => row[0], true),
      node("end", (row) => row[1]),
    ]);
}

function validatorsPart(report: SurveyReport, node: NodeColumn, label: (nodeId: string) => string): string {
  const { nodeIds, hops, dependencies, disjointPaths, weakest, ...rest } = report.validators;
  if (nodeIds.length < 2) return "";
  const numbers =
    `<p>${nodeIds.length} validators. ${rest.linkedPairs} of ${nodeIds.length * (nodeIds.length - 1) / 2} pairs ` +
    `are linked directly; the mean distance is ${rest.meanHops.toFixed(2)} hops, the longest ${rest.maxHops}` +
    (rest.unconnectedPairs > 0 ? `; ${rest.unconnectedPairs} pairs have no path.` : ".") + `</p>\n`;
  const matrix = nodeIds.length > MATRIX_LIMIT
    ? `<p>The matrix of hops is too large for a page; it is in the JSON document.</p>`
    : details(
      "Hops between validators",
      htmlTable("Hops between validators", nodeIds.map((nodeId, i) => ({ nodeId, i })), [
        node("", (row) => row.nodeId, true),
        ...nodeIds.map((nodeId, j): HtmlColumn<{ i: number }> => ({
          title: label(nodeId).slice(0, 6),
          number: true,
          value: ({ i }) => i === j ? "·" : text(hops[i][j]),
        })),
      ]),
      nodeIds.length <= 25,
    );
  return numbers + matrix +
    htmlTable("Validators that one node separates", groupDependencies(dependencies).slice(0, ROWS), [
      { title: "node", value: (row) => row.on.map(label).join(", "), head: true },
      number("pairs", (row) => String(row.pairs)),
      node("such as", (row) => row.a),
      node("and", (row) => row.b),
    ]) +
    htmlTable("Pairs by paths without a common node", disjointPaths ?? [], [
      number("paths", (row) => `${row.paths}${row.atLeast ? " or more" : ""}`),
      number("pairs", (row) => String(row.pairs)),
    ]) +
    htmlTable("The weakest pairs", weakest ?? [], [
      node("validator", (row) => row.a, true),
      node("validator", (row) => row.b),
      number("paths", (row) => String(row.paths)),
      { title: "smallest cut", value: (row) => row.cut === null ? "linked directly" : row.cut.map(label).join(", ") },
    ]);
}

function trafficPart(report: SurveyReport, node: NodeColumn): string {
  const { traffic, latency } = report;
  const rows = ([
    ["bytes per second, each way of a link", traffic.bytesPerSecond, (value: number) => bytes(Math.round(value))],
    ["messages per second, each way of a link", traffic.messagesPerSecond, (value: number) => value.toFixed(2)],
    ["ping, ms", latency.linkMs, String],
    ["SCP, first heard to own externalize, ms (p75 of each node)", latency.scpFirstToSelfMs, String],
    ["SCP, own externalize to others, ms (p75 of each node)", latency.scpSelfToOtherMs, String],
  ] as const).flatMap(([what, of, unit]) => of === null ? [] : [{ what, of, unit }]);
  const percentile = (key: "min" | "p50" | "p75" | "p90" | "p99" | "max") =>
    number<typeof rows[number]>(key, (row) => row.unit(row.of[key]));
  const total = (row: typeof traffic.links[number]) => row.ways[0].bytes + row.ways[1].bytes;
  const links = [...traffic.links].sort((a, b) => total(a) < total(b) ? 1 : total(a) > total(b) ? -1 : 0).slice(
    0,
    ROWS,
  );
  const flow = (way: typeof links[number]["ways"][number]) =>
    way.bytesPerSecond === null ? bytes(Number(way.bytes)) : `${bytes(Math.round(way.bytesPerSecond))}/s`;
  const messages = (way: typeof links[number]["ways"][number]) =>
    way.messagesPerSecond === null ? String(way.messages) : `${way.messagesPerSecond.toFixed(1)}/s`;
  return htmlTable("Percentiles", rows, [
    { title: "", value: (row) => row.what, head: true },
    number("count", (row) => String(row.of.count)),
    percentile("min"),
    percentile("p50"),
    percentile("p75"),
    percentile("p90"),
    percentile("p99"),
    percentile("max"),
  ]) + (links.length === 0 ? "" : details(
    `${links.length === traffic.links.length ? "All" : `The busiest ${links.length} of ${traffic.links.length}`} links`,
    htmlTable("Links by bytes", links, [
      node("a", (row) => row.ends[0], true),
      node("b", (row) => row.ends[1]),
      number("a to b", (row) => flow(row.ways[0])),
      number("b to a", (row) => flow(row.ways[1])),
      number("messages", (row) => messages(row.ways[0])),
      number("back", (row) => messages(row.ways[1])),
      number("duplicates at b", (row) => share(row.ways[0].floodDuplicateRatio)),
      number("at a", (row) => share(row.ways[1].floodDuplicateRatio)),
      number("ping ms", (row) => text(row.ways[0].latencyMs ?? row.ways[1].latencyMs)),
    ]),
    false,
  ));
}

function versionsPart(report: SurveyReport): string {
  const all = report.versions.reduce((sum, row) => sum + row.nodes, 0);
  return htmlTable("Versions", report.versions.slice(0, ROWS), [
    { title: "version", value: (row) => row.versionStr ?? "(not known)", head: true },
    number("nodes", (row) => String(row.nodes)),
    number("share", (row) => share(row.nodes / all)),
    number("validators", (row) => String(row.validators)),
  ]);
}

function outliersPart(report: SurveyReport, node: NodeColumn): string {
  // The farthest out of each kind, so that none hides another.
  const rows = OUTLIER_KINDS.flatMap((kind) => report.outliers.filter((row) => row.kind === kind).slice(0, 25));
  return htmlTable(
    rows.length < report.outliers.length ? `${rows.length} of ${report.outliers.length} findings` : "All findings",
    rows,
    [
      node("node", (row) => row.nodeId, true),
      { ...node("peer", (row: typeof rows[number]) => row.peer ?? ""), value: (row) => row.peer?.slice(0, 8) ?? "" },
      { title: "what", value: (row) => row.detail },
    ],
  );
}

function changesPart(report: SurveyReport, node: NodeColumn): string {
  const { changes } = report;
  if (changes === null) return "";
  const nodes = [
    ...changes.nodesCame.map(({ nodeId, versionStr }) => ({ nodeId, what: "came", version: versionStr ?? "" })),
    ...changes.nodesWent.map(({ nodeId, versionStr }) => ({ nodeId, what: "went", version: versionStr ?? "" })),
    ...changes.nodesChanged.filter(({ before, after }) => before.versionStr !== after.versionStr)
      .map(({ nodeId, before, after }) => ({
        nodeId,
        what: "changed version",
        version: `${before.versionStr ?? "(not known)"} to ${after.versionStr ?? "(not known)"}`,
      })),
  ].slice(0, ROWS);
  return `<p>Since ${html(changes.since.startedAt ?? "the earlier survey")}: ${changes.nodesCame.length} nodes came, ` +
    `${changes.nodesWent.length} went, ${changes.nodesChanged.length} changed; ${changes.linksCame.length} links came, ` +
    `${changes.linksWent.length} went, ${changes.linksChanged.length} changed.</p>\n` +
    htmlTable("Figures", changes.figures, [
      { title: "figure", value: (row) => row.figure, head: true },
      number("before", (row) => text(row.before)),
      number("after", (row) => text(row.after)),
    ]) +
    htmlTable("Nodes that came, went or changed version", nodes, [
      node("node", (row) => row.nodeId, true),
      { title: "what", value: (row) => row.what },
      { title: "version", value: (row) => row.version },
    ]);
}

function details(title: string, body: string, open: boolean): string {
  return `<details${open ? " open" : ""}><summary>${html(title)}</summary>\n${body}</details>\n`;
}

function number<T>(title: string, value: (row: T) => string): HtmlColumn<T> {
  return { title, value, number: true };
}

function text(value: number | null): string {
  return value === null ? "" : Number.isInteger(value) ? String(value) : value.toFixed(4);
}

function share(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`;
}

/** Colours meet a contrast of 4.5 to 1 for text in both schemes. */
const STYLE = `
:root{--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--card:#f6f8fa;--validator:#b35900;--answered:#0a62c4;--link:#57606a;--bad:#c4162a;--two:#b35900}
@media (prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e6edf3;--soft:#9aa4af;--line:#343c45;--card:#182028;--validator:#ffa657;--answered:#6cb6ff;--link:#8b949e;--bad:#ff7b72;--two:#ffa657}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}
main,footer{max-width:1100px;margin:0 auto;padding:0 16px}
h1{font-size:1.7rem;line-height:1.2;margin:1.4rem 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.2rem 0 .6rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}
header p{margin:0 0 1rem;color:var(--soft);overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(155px,1fr));gap:10px;margin:0}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:8px 12px}
.card dt{color:var(--soft);font-size:.85rem}
.card dd{margin:0;font-size:1.4rem;font-weight:600;font-variant-numeric:tabular-nums}
.card small{display:block;font-size:.8rem;font-weight:400;color:var(--soft);line-height:1.3}
figure{margin:0 0 1rem}
figcaption{color:var(--soft);font-size:.9rem}
.graph{width:100%;height:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}
.links{fill:none;stroke:var(--link);stroke-width:1;stroke-opacity:.32}
.links.many{stroke-opacity:.14;stroke-width:.8}
.links.denied{stroke:var(--bad);stroke-opacity:1;stroke-width:1.6;stroke-dasharray:5 3}
.v,.a,.u{stroke:var(--card);stroke-width:1}
.v{fill:var(--validator)}.a{fill:var(--answered)}.u{fill:var(--card);stroke:var(--fg);stroke-width:1.4}
.key{white-space:nowrap;margin-right:.9em}.key svg{height:.8em;vertical-align:-.05em}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px}
.chart{width:100%;max-width:620px;height:auto}
.chart text{fill:var(--fg);font-size:14px;text-anchor:middle}.chart text.end{text-anchor:end}
.bar{fill:var(--answered)}.axis,.grid{stroke:var(--line);fill:none}
polyline{fill:none;stroke-width:2.2}polyline.one{stroke:var(--answered)}polyline.two{stroke:var(--two);stroke-dasharray:6 3}
circle.one{fill:var(--answered)}circle.two{fill:var(--two)}
.scroll{overflow-x:auto;margin:0 0 1.2rem}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0;white-space:nowrap}
th,td{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
thead th{color:var(--soft);font-weight:600}
tbody th{font-weight:500}tbody [title]{font-family:ui-monospace,monospace}
.n{text-align:right}td.n{white-space:nowrap}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:0 24px}
summary{cursor:pointer;padding:.3rem 0;font-weight:600}
:focus-visible{outline:2px solid var(--answered);outline-offset:2px}
footer{color:var(--soft);font-size:.85rem;margin-top:2rem;padding-bottom:1.5rem}
@media print{details:not([open])>*{display:none}.scroll{overflow:visible}}
`.trim();
