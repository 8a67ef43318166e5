/** A survey's report as text: readable at 80 columns, full values on a pipe. */
import type { ChalkInstance } from "chalk";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { Outlier } from "../../survey/topology/outliers.ts";
import type { Bar, Delta, ReportNode, ReportRemoval, SurveyReport } from "../../survey/topology/report_types.ts";
import type { Percentiles } from "../../survey/topology/traffic.ts";
import type { Io } from "../context.ts";
import { bytes, count, ms, paint, wrap } from "./style.ts";
import { type Column, renderTable } from "./table.ts";

/** Validators up to which the matrix of hops fits 80 columns. */
const MATRIX_LIMIT = 18;
/** Width of the longest bar of a histogram. */
const BAR_WIDTH = 40;

/** The whole report. Tables end after `top` rows. */
export function renderSurveyReport(report: SurveyReport, io: Io, top: number): string {
  const c = paint(io.outColour);
  const show = new Show(report, io, c, top);
  return [
    show.head(),
    show.graph(),
    show.degrees(),
    show.nodes(),
    show.cuts(),
    show.removal(),
    show.validators(),
    show.traffic(),
    show.versions(),
    show.outliers(),
    show.changes(),
    show.limits(),
  ].join("");
}

class Show {
  readonly #names: Map<string, string>;

  constructor(readonly report: SurveyReport, readonly io: Io, readonly c: ChalkInstance, readonly top: number) {
    this.#names = new Map(report.nodes.flatMap(({ nodeId, name }) => name === null ? [] : [[nodeId, name]]));
  }

  head(): string {
    const { survey, coverage } = this.report;
    const what = [
      `Survey${survey.nonce === null ? "" : ` ${survey.nonce}`}` +
      (survey.network === null ? "" : ` of ${escapeRemoteText(survey.network)}`),
      survey.startedAt === null ? "" : `started ${survey.startedAt}`,
      survey.sliceSeconds === null ? "" : `slice ${ms(survey.sliceSeconds * 1000)}`,
    ].filter((part) => part !== "").join(", ");
    const states = (["silent", "unreachable", "bad", "pending", "listedOnly"] as const)
      .filter((state) => coverage.byState[state] > 0)
      .map((state) => `${coverage.byState[state]} ${STATE_WORDS[state]}`);
    const { both, oneEnd, denied, roles } = coverage.linksByAgreement;
    const agreement = this.report.survey.linkReports !== "perSide" ? "" : `: ${
      [
        `${both} reported by both ends`,
        `${oneEnd} by one`,
        ...(denied > 0 ? [this.c.yellow(`${denied} denied by the other end`)] : []),
        ...(roles > 0 ? [this.c.yellow(`${roles} with ends that differ on who dialed`)] : []),
      ].join(", ")
    }`;
    return this.c.bold(what) + "\n" + this.#lines([
      `${count(coverage.nodes, "node")}: ${[`${coverage.byState.answered} answered`, ...states].join(", ")}` +
      (coverage.lateJoiners > 0 ? `; ${coverage.lateJoiners} joined late` : "") +
      (coverage.incompleteLists > 0 ? `; ${count(coverage.incompleteLists, "list")} not whole` : ""),
      `${count(coverage.links, "link")}${agreement}`,
    ]);
  }

  graph(): string {
    const { graph } = this.report;
    const parts = graph.components.length === 1
      ? "one component"
      : `${graph.components.length} components (${graph.components.slice(0, 8).map((part) => part.nodes).join(", ")}${
        graph.components.length > 8 ? ", ..." : ""
      } nodes); distances are of the largest`;
    return this.#title("Graph") + this.#lines([
      `diameter ${count(graph.diameterHops, "hop")}, radius ${graph.radiusHops}, mean distance ` +
      `${graph.averageShortestPathHops.toFixed(3)}; ${parts}`,
      `clustering ${graph.averageClustering.toFixed(4)}, density ${graph.density.toFixed(4)}, highest coreness ` +
      `${graph.maxCoreness}, ${count(graph.articulationNodes.length, "articulation node")}, ${
        count(graph.bridges.length, "bridge")
      }`,
    ]);
  }

  degrees(): string {
    const { degree, inDegree, outDegree } = this.report.graph;
    if (degree.histogram.length === 0) return "";
    const line = (name: string, of: typeof degree) =>
      `${name}: ${of.min} to ${of.max}, median ${of.median}, mean ${of.mean.toFixed(2)}`;
    return this.#title("Peers per node") + this.#lines([
      `${line("degree", degree)}; ${line("dialed by", inDegree)}; ${line("dialed", outDegree)}`,
    ]) + histogramText(degree.histogram, this.c);
  }

  nodes(): string {
    const rows = [...this.report.nodes].sort((a, b) => b.betweenness - a.betweenness || b.degree - a.degree)
      .slice(0, this.top);
    if (rows.length === 0) return "";
    return this.#title("Most central nodes", rows.length, this.report.nodes.length) + this.#table(rows, [
      this.#id("node", (row) => row.nodeId),
      number("degree", (row) => String(row.degree)),
      number("in", (row) => String(row.inDegree)),
      number("out", (row) => String(row.outDegree)),
      number("betweenness", (row) => row.betweenness.toFixed(4)),
      number("closeness", (row) => row.closeness.toFixed(4), 4),
      number("clustering", (row) => row.clustering.toFixed(4), 5),
      number("core", (row) => String(row.coreness), 3),
      number("dup", (row) => share(row.floodDuplicateRatio), 2),
      { title: "", value: (row: ReportNode) => traits(row) },
    ]);
  }

  cuts(): string {
    const { articulationNodes, bridges } = this.report.graph;
    let text = "";
    if (articulationNodes.length > 0) {
      const rows = articulationNodes.slice(0, this.top);
      text += this.#title("Nodes whose loss splits the graph", rows.length, articulationNodes.length) +
        this.#table(rows, [
          this.#id("node", (row) => row.nodeId),
          number("parts", (row) => String(row.parts)),
          number("nodes cut off", (row) => String(row.cutOff)),
        ]);
    }
    if (bridges.length > 0) {
      const rows = bridges.slice(0, this.top);
      text += this.#title("Links whose loss splits the graph", rows.length, bridges.length) +
        this.#table(rows, [this.#id("end", (row) => row[0]), this.#id("end", (row) => row[1])]);
    }
    return text;
  }

  removal(): string {
    const { byDegree, byBetweenness, organizations } = this.report.removal;
    let text = "";
    for (const [title, rows] of [["degree", byDegree], ["betweenness", byBetweenness]] as const) {
      if (rows.length > 0) {
        text += this.#title(`Without the top nodes by ${title}`) + this.#table(rows, this.#removalColumns());
      }
    }
    const each = organizations.each.slice(0, this.top);
    if (each.length > 0) {
      text += this.#title("Without one organisation", each.length, organizations.each.length) +
        this.#table(each, [
          {
            title: "organisation",
            value: (row) => escapeRemoteText(row.organization),
            maxWidth: 24,
          },
          ...this.#removalColumns(),
        ]);
    }
    return text;
  }

  validators(): string {
    const { validators } = this.report;
    const { nodeIds, hops, dependencies, disjointPaths, weakest } = validators;
    if (nodeIds.length < 2) return "";
    const pairs = nodeIds.length * (nodeIds.length - 1) / 2;
    let text = this.#title("Validators") + this.#lines([
      `${nodeIds.length} validators, ${
        count(pairs, "pair")
      }: ${validators.linkedPairs} linked directly, mean distance ` +
      `${validators.meanHops.toFixed(2)}, longest ${count(validators.maxHops, "hop")}` +
      (validators.unconnectedPairs > 0 ? `, ${validators.unconnectedPairs} without a path` : ""),
      ...(disjointPaths === null ? [] : [
        `paths without a common node: ${
          disjointPaths.map(({ paths, atLeast, pairs }) =>
            `${paths}${atLeast ? " or more" : ""}: ${count(pairs, "pair")}`
          )
            .join("; ")
        }`,
      ]),
    ]);
    if (nodeIds.length <= MATRIX_LIMIT) {
      text += this.#table(nodeIds.map((nodeId, i) => ({ nodeId, i })), [
        this.#id("hops to", (row) => row.nodeId),
        ...nodeIds.map((nodeId, j): Column<{ i: number }> => ({
          title: this.io.outIsTerminal ? nodeId.slice(1, 3) : nodeId,
          value: ({ i }) => i === j ? "." : String(hops[i][j] ?? "-"),
          align: "right",
        })),
      ]);
    } else text += this.#lines([`the matrix of hops is in --json and --html`]);
    const groups = groupDependencies(dependencies);
    const alone = groups.slice(0, this.top);
    if (alone.length > 0) {
      text += this.#title("Validators that one node separates", alone.length, groups.length) + this.#table(alone, [
        { title: "node", value: (row) => row.on.map((nodeId) => this.#label(nodeId)).join(" "), maxWidth: 34 },
        number("pairs", (row) => String(row.pairs)),
        this.#id("such as", (row) => row.a),
        this.#id("and", (row) => row.b),
      ]);
    } else if (validators.unconnectedPairs === 0) {
      text += this.#lines(["no two validators depend on one single node to reach each other"]);
    }
    const weak = (weakest ?? []).filter((row) => row.paths > 1).slice(0, this.top);
    if (weak.length > 0) {
      text += this.#title("Validators with the fewest separate paths between them") + this.#table(weak, [
        this.#id("validator", (row) => row.a),
        this.#id("validator", (row) => row.b),
        number("paths", (row) => String(row.paths)),
        {
          title: "smallest cut",
          value: (row) => row.cut === null ? "linked" : row.cut.map((nodeId) => this.#label(nodeId)).join(" "),
          maxWidth: 44,
        },
      ]);
    }
    return text;
  }

  traffic(): string {
    const { traffic, latency } = this.report;
    const rows: { what: string; of: Percentiles; unit: (value: number) => string }[] = [];
    const add = (what: string, of: Percentiles | null, unit: (value: number) => string) => {
      if (of !== null) rows.push({ what, of, unit });
    };
    add("bytes/s, each way of a link", traffic.bytesPerSecond, (value) => bytes(Math.round(value)));
    add("messages/s, each way of a link", traffic.messagesPerSecond, (value) => value.toFixed(2));
    add("ping, ms", latency.linkMs, String);
    add("SCP first heard to own, ms", latency.scpFirstToSelfMs, String);
    add("SCP own to others, ms", latency.scpSelfToOtherMs, String);
    let text = "";
    if (rows.length > 0) {
      text += this.#title("Traffic and latency") + this.#table(rows, [
        { title: "", value: (row) => row.what },
        ...(["p50", "p75", "p90", "p99", "max"] as const).map((key) =>
          number<typeof rows[number]>(key, (row) => row.unit(row.of[key]))
        ),
      ]);
    }
    if (traffic.flood.messageRatio !== undefined) {
      text += this.#lines([
        `flood messages received that were known already: ${share(traffic.flood.messageRatio)} ` +
        `(${share(traffic.flood.byteRatio ?? null)} of bytes)` +
        (traffic.fetch.messageRatio === undefined ? "" : `; fetched items: ${share(traffic.fetch.messageRatio)}`),
      ]);
    }
    const total = (row: typeof traffic.links[number]) => row.ways[0].bytes + row.ways[1].bytes;
    const busiest = [...traffic.links].sort((a, b) => total(a) < total(b) ? 1 : total(a) > total(b) ? -1 : 0)
      .slice(0, this.top);
    if (busiest.length > 0) {
      const rated = this.report.survey.sliceSeconds !== null;
      const flow = (way: typeof busiest[number]["ways"][number]) =>
        rated && way.bytesPerSecond !== null ? bytes(Math.round(way.bytesPerSecond)) + "/s" : bytes(Number(way.bytes));
      const messages = (way: typeof busiest[number]["ways"][number]) =>
        rated && way.messagesPerSecond !== null ? way.messagesPerSecond.toFixed(1) + "/s" : String(way.messages);
      text += this.#title("Busiest links", busiest.length, traffic.links.length) + this.#table(busiest, [
        this.#id("a", (row) => row.ends[0]),
        this.#id("b", (row) => row.ends[1]),
        number("a to b", (row) => flow(row.ways[0])),
        number("b to a", (row) => flow(row.ways[1])),
        number("messages", (row) => messages(row.ways[0]), 3),
        number("back", (row) => messages(row.ways[1]), 3),
        number("dup at b", (row) => share(row.ways[0].floodDuplicateRatio), 1),
        number("dup at a", (row) => share(row.ways[1].floodDuplicateRatio), 1),
      ]);
    }
    return text;
  }

  versions(): string {
    const rows = this.report.versions.slice(0, this.top);
    if (rows.length === 0) return "";
    const all = this.report.versions.reduce((sum, row) => sum + row.nodes, 0);
    return this.#title("Versions", rows.length, this.report.versions.length) + this.#table(rows, [
      {
        title: "version",
        value: (row) => row.versionStr === null ? "(not known)" : escapeRemoteText(row.versionStr),
        maxWidth: 48,
      },
      number("nodes", (row) => String(row.nodes)),
      number("share", (row) => share(row.nodes / all)),
      number("validators", (row) => String(row.validators)),
    ]);
  }

  outliers(): string {
    const { outliers } = this.report;
    if (outliers.length === 0) return "";
    const kinds = [...new Set(outliers.map((row) => row.kind))];
    const rows = kinds.flatMap((kind) => outliers.filter((row) => row.kind === kind).slice(0, this.top));
    return this.#title("To look at", rows.length, outliers.length) + this.#table<Outlier>(rows, [
      this.#id("node", (row) => row.nodeId),
      this.#id("peer", (row) => row.peer ?? ""),
      { title: "what", value: (row) => row.detail, maxWidth: 52 },
    ]);
  }

  changes(): string {
    const { changes } = this.report;
    if (changes === null) return "";
    const from = changes.since.startedAt ?? "the earlier survey";
    const differ = changes.figures.filter((row) => row.before !== row.after);
    let text = this.#title(`Since ${from}`) + this.#lines([
      `nodes: ${changes.nodesCame.length} came, ${changes.nodesWent.length} went, ${changes.nodesChanged.length} changed; ` +
      `links: ${changes.linksCame.length} came, ${changes.linksWent.length} went, ${changes.linksChanged.length} changed`,
    ]);
    if (differ.length > 0) {
      text += this.#table<Delta>(differ, [
        { title: "figure", value: (row) => row.figure },
        number("before", (row) => figure(row.before)),
        number("after", (row) => figure(row.after)),
        number("change", (row) => delta(row)),
      ]);
    }
    const nodes = [
      ...changes.nodesCame.map(({ nodeId, versionStr }) => ({
        nodeId,
        what: `came${versionStr ? `, ${versionStr}` : ""}`,
      })),
      ...changes.nodesWent.map(({ nodeId, versionStr }) => ({
        nodeId,
        what: `went${versionStr ? `, ${versionStr}` : ""}`,
      })),
      ...changes.nodesChanged.flatMap(({ nodeId, before, after }) =>
        "versionStr" in after || "versionStr" in before
          ? [{ nodeId, what: `${before.versionStr ?? "(not known)"} -> ${after.versionStr ?? "(not known)"}` }]
          : []
      ),
    ];
    const rows = nodes.slice(0, this.top);
    if (rows.length > 0) {
      text += this.#title("Nodes that came, went or changed version", rows.length, nodes.length) + this.#table(rows, [
        this.#id("node", (row) => row.nodeId),
        { title: "what", value: (row) => escapeRemoteText(row.what), maxWidth: 60 },
      ]);
    }
    return text;
  }

  limits(): string {
    return this.#title("What this cannot tell") + this.#lines(this.report.limits.map((text) => `- ${text}`));
  }

  #removalColumns(): Column<ReportRemoval>[] {
    return [
      number("removed", (row) => String(row.removed)),
      number("components", (row) => String(row.components)),
      number("largest", (row) => String(row.largest)),
      number("of the rest", (row) => share(row.share)),
      number("cut off", (row) => String(row.cutOff)),
      number("validators cut off", (row) => `${row.validatorsCutOff} of ${row.validatorsLeft}`, 1),
    ];
  }

  #title(text: string, shown?: number, all?: number): string {
    const note = shown !== undefined && all !== undefined && shown < all
      ? ` (${shown} of ${all}; more with --top)`
      : "";
    return `\n${this.c.bold(text)}${this.c.dim(note)}\n`;
  }

  #lines(lines: string[]): string {
    return lines.map((line) => wrap(`  ${line}`, this.io.outIsTerminal ? this.io.columns : undefined, 4) + "\n").join(
      "",
    );
  }

  #table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
    return renderTable(rows, columns, this.io, this.c);
  }

  /** A node: short on a terminal, with its name when it has one; the whole id on a pipe. */
  #id<T>(title: string, nodeId: (row: T) => string): Column<T> {
    return { title, value: (row) => this.#label(nodeId(row)), maxWidth: 12 };
  }

  #label(nodeId: string): string {
    if (!this.io.outIsTerminal) return escapeRemoteText(nodeId);
    const name = this.#names.get(nodeId);
    return escapeRemoteText(name === undefined ? nodeId.slice(0, 8) : name.slice(0, 12));
  }
}

/** Pairs by the nodes they depend on, the most pairs first. */
export function groupDependencies(dependencies: SurveyReport["validators"]["dependencies"]) {
  const groups = new Map<string, { on: string[]; pairs: number; a: string; b: string }>();
  for (const { a, b, on } of dependencies) {
    const key = JSON.stringify(on);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { on, pairs: 1, a, b });
    else group.pairs++;
  }
  return [...groups.values()].sort((x, y) => y.pairs - x.pairs);
}

const STATE_WORDS = {
  silent: "silent",
  unreachable: "not reachable by relay",
  bad: "with a bad answer",
  pending: "pending",
  listedOnly: "listed by others only",
};

function number<T>(title: string, value: (row: T) => string, drop = 0): Column<T> {
  return { title, value, align: "right", drop };
}

function traits(row: ReportNode): string {
  return [
    row.isValidator === true ? "validator" : "",
    row.isArticulation ? "cut" : "",
    row.state === "answered" ? "" : row.state === "listedOnly" ? "listed only" : row.state,
  ].filter((part) => part !== "").join(", ");
}

function share(value: number | null): string {
  return value === null ? "-" : `${(100 * value).toFixed(1)} %`;
}

function figure(value: number | null): string {
  return value === null ? "-" : Number.isInteger(value) ? String(value) : value.toFixed(4);
}

function delta({ before, after }: Delta): string {
  if (before === null || after === null) return "";
  return (after > before ? "+" : "") + figure(after - before);
}

/** Bars of at most a dozen classes of equal width. */
export function histogramText(bars: readonly Bar[], c: ChalkInstance): string {
  const classes = histogramClasses(bars, 12);
  const most = Math.max(...classes.map(({ nodes }) => nodes));
  const width = Math.max(...classes.map(({ label }) => label.length));
  return classes.map(({ label, nodes }) => {
    const eighths = Math.round(nodes / most * BAR_WIDTH * 8);
    const bar = "█".repeat(eighths >> 3) + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths & 7];
    return `  ${label.padStart(width)} ${c.cyan(bar || (nodes > 0 ? "▏" : ""))} ${nodes}\n`;
  }).join("");
}

/** Counts put together in at most `limit` classes of equal width, empty ones included. */
export function histogramClasses(bars: readonly Bar[], limit: number): { label: string; nodes: number }[] {
  if (bars.length === 0) return [];
  const low = bars[0].value, high = bars[bars.length - 1].value;
  const size = Math.max(1, Math.ceil((high - low + 1) / limit));
  const classes: { label: string; nodes: number }[] = [];
  for (let from = low; from <= high; from += size) {
    const to = Math.min(from + size - 1, high);
    const nodes = bars.filter(({ value }) => value >= from && value <= to).reduce((sum, bar) => sum + bar.nodes, 0);
    classes.push({ label: from === to ? String(from) : `${from}-${to}`, nodes });
  }
  return classes;
}
