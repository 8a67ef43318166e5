/** Drawings of a survey's report: the graph, histograms, and the network under removal, as inline SVG. */
import { layoutGraph } from "../../survey/topology/layout.ts";
import { simpleGraph } from "../../survey/topology/graph.ts";
import type { ReportNode, ReportRemoval, SurveyReport } from "../../survey/topology/report_types.ts";
import { html } from "./html.ts";

/** More nodes than this are not drawn: nothing could be told apart. */
export const MAX_DRAWN_NODES = 2000;
/** More links than this are drawn as a thinner veil. */
const MANY_LINKS = 1500;

const WIDTH = 1000, HEIGHT = 760, MARGIN = 24;

/**
 * The graph. Squares are validators, full circles nodes that answered, rings nodes that did not; size follows the degree. A
 * link whose ends contradict each other is dashed. Each node has its names as a title.
 */
export function graphDrawing(report: SurveyReport): string {
  const { nodes, links } = report;
  if (nodes.length === 0 || nodes.length > MAX_DRAWN_NODES) return "";
  const index = new Map(nodes.map(({ nodeId }, i) => [nodeId, i]));
  const pairs = links.map(({ ends }): [number, number] => [index.get(ends[0])!, index.get(ends[1])!]);
  const places = layoutGraph(simpleGraph(nodes.length, pairs)).map(({ x, y }) => ({
    x: Math.round(10 * (MARGIN + x * (WIDTH - 2 * MARGIN))) / 10,
    y: Math.round(10 * (MARGIN + y * (HEIGHT - 2 * MARGIN))) / 10,
  }));
  const line = ([a, b]: [number, number]) => `M${places[a].x} ${places[a].y}L${places[b].x} ${places[b].y}`;
  const disputed = (i: number) => links[i].agreement === "denied" || links[i].agreement === "roles";
  const usual = pairs.filter((_, i) => !disputed(i)).map(line).join("");
  const odd = pairs.filter((_, i) => disputed(i)).map(line).join("");
  const size = Math.max(0.45, Math.min(1, Math.sqrt(120 / nodes.length)));
  const marks = nodes.map((node, i) => mark(node, places[i].x, places[i].y, size)).join("\n");
  const answered = nodes.filter(({ state }) => state === "answered").length;
  const summary = `${nodes.length} nodes and ${links.length} links; ${answered} nodes answered, ` +
    `${report.validators.nodeIds.length} are validators. Nodes that are linked are drawn near each other.`;
  return `<figure><svg class="graph" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="graph-title graph-text">` +
    `<title id="graph-title">The overlay as surveyed</title><desc id="graph-text">${html(summary)}</desc>` +
    `<path class="links${links.length > MANY_LINKS ? " many" : ""}" d="${usual}"/>` +
    (odd === "" ? "" : `<path class="links denied" d="${odd}"/>`) +
    `<g>${marks}</g></svg><figcaption><span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><rect class="v" x="1" y="1" ` +
    `width="10" height="10"/></svg> validator</span> <span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><circle class="a" ` +
    `cx="6" cy="6" r="5"/></svg> answered</span> <span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><circle class="u" ` +
    `cx="6" cy="6" r="4.5"/></svg> gave no answer</span>` +
    (odd === ""
      ? ""
      : ` <span class="key"><svg viewBox="0 0 24 12" aria-hidden="true"><path class="links denied" d="M0 6L24 6"/></svg> ` +
        `in dispute</span>`) +
    ` Size: number of peers. Point at a node for its id.</figcaption></figure>\n`;
}

function mark(node: ReportNode, x: number, y: number, size: number): string {
  const radius = Math.round(10 * size * (4 + 1.6 * Math.sqrt(node.degree))) / 10;
  const label = [
    node.name,
    node.nodeId,
    node.organization,
    node.versionStr,
    `${node.degree} peers`,
    node.state === "answered" ? null : STATE_TEXT[node.state],
  ].filter((part) => part !== null).map(html).join("\n");
  const title = `<title>${label}</title>`;
  if (node.isValidator === true) {
    const side = Math.round(18 * radius) / 10;
    return `<rect class="v" x="${round(x - side / 2)}" y="${
      round(y - side / 2)
    }" width="${side}" height="${side}">${title}</rect>`;
  }
  return `<circle class="${node.state === "answered" ? "a" : "u"}" cx="${x}" cy="${y}" r="${radius}">${title}</circle>`;
}

const STATE_TEXT: Record<string, string> = {
  silent: "gave no answer",
  unreachable: "not reachable by relay",
  bad: "gave a bad answer",
  pending: "not asked yet",
  listedOnly: "listed by others only",
};

/** Bars, each with its count above and its class below. */
export function barDrawing(
  id: string,
  title: string,
  bars: readonly { label: string; nodes: number }[],
  unit: string,
): string {
  if (bars.length === 0) return "";
  const width = 440, height = 220, base = height - 38, step = (width - 20) / bars.length;
  const most = Math.max(...bars.map(({ nodes }) => nodes), 1);
  const shapes = bars.map(({ label, nodes }, i) => {
    const tall = round(nodes / most * (base - 30)),
      x = round(10 + i * step + step * 0.1),
      middle = round(10 + (i + 0.5) * step);
    return `<rect class="bar" x="${x}" y="${round(base - tall)}" width="${round(step * 0.8)}" height="${tall}"/>` +
      `<text x="${middle}" y="${round(base - tall - 5)}">${nodes}</text><text x="${middle}" y="${base + 17}">${
        html(label)
      }</text>`;
  });
  const spoken = bars.map(({ label, nodes }) => `${label}: ${nodes}`).join(", ");
  return `<figure><svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-t ${id}-d">` +
    `<title id="${id}-t">${html(title)}</title><desc id="${id}-d">${html(spoken)}</desc>${shapes.join("")}` +
    `<path class="axis" d="M10 ${base}H${width - 10}"/><text x="${width / 2}" y="${height - 2}">${
      html(unit)
    }</text></svg>` +
    `<figcaption>${html(title)}</figcaption></figure>\n`;
}

/** Share of the remaining nodes that hang together, as the best connected nodes go. */
export function removalDrawing(
  series: readonly { name: string; kind: string; rows: readonly ReportRemoval[] }[],
): string {
  const all = series.flatMap(({ rows }) => rows);
  if (all.length === 0) return "";
  const width = 460, height = 240, left = 58, base = height - 40, right = width - 12, top = 12;
  const most = Math.max(...all.map(({ removed }) => removed));
  const x = (removed: number) => round(left + removed / most * (right - left));
  const y = (share: number) => round(base - share * (base - top));
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) =>
    `<path class="grid" d="M${left} ${y(share)}H${right}"/><text class="end" x="${left - 6}" y="${y(share) + 4}">${
      100 * share
    } %</text>`
  ).join("");
  const lines = series.map(({ kind, rows }) => {
    const points = rows.map(({ removed, share }) => `${x(removed)},${y(share)}`);
    const dots = rows.map(({ removed, share }) =>
      `<circle class="${kind}" cx="${x(removed)}" cy="${y(share)}" r="3.5"/>`
    );
    return `<polyline class="${kind}" points="${points.join(" ")}"/>${dots.join("")}`;
  }).join("");
  const spoken = series.map(({ name, rows }) =>
    `By ${name}: ${rows.map(({ removed, share }) => `${removed} removed, ${Math.round(100 * share)} %`).join("; ")}.`
  ).join(" ");
  const keys = series.map(({ name, kind }) =>
    `<span class="key"><svg viewBox="0 0 24 12" aria-hidden="true"><polyline class="${kind}" points="0,6 24,6"/></svg> by ${
      html(name)
    }</span>`
  ).join(" ");
  return `<figure><svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="removal-t removal-d">` +
    `<title id="removal-t">Nodes still connected as the top nodes go</title><desc id="removal-d">${
      html(spoken)
    }</desc>${grid}${lines}` +
    `<text x="${left}" y="${base + 18}">0</text><text x="${right - 8}" y="${base + 18}">${most}</text>` +
    `<text x="${(left + right) / 2}" y="${height - 6}">nodes removed</text></svg>` +
    `<figcaption>Share of the remaining nodes in the largest component. ${keys}</figcaption></figure>\n`;
}

function round(value: number): number {
  return Math.round(10 * value) / 10;
}
