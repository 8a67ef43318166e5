import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { nodeIdOf, surveyOf } from "../../tests/kit/survey_documents.ts";
import { fixtureText } from "../../tests/kit/survey_files_kit.ts";
import { ROOT } from "../../tests/kit/tool.ts";
import { readSurvey } from "./formats.ts";
import { surveyReport } from "./report.ts";
import { documentOfResult, parseSurveyResult } from "./survey_result.ts";

const n = nodeIdOf;

test("surveyReport of the recorded survey has networkx's figures, by node id", async () => {
  // tests/vectors/graph_figures.json, computed by tests/tasks/graph_figures.py with networkx from the same file.
  const vectors = JSON.parse(readFileSync(join(ROOT, "tests", "vectors", "graph_figures.json"), "utf8"));
  const expected = vectors.graphs["tests/fixtures/http/survey-result.json"];
  const recorded = documentOfResult(parseSurveyResult(fixtureText("http/survey-result.json"), "survey-result.json"));
  const report = await surveyReport(recorded);
  // networkx saw one node more: it was asked, gave no answer, and nobody names it. The script's graph has it not, nor has ours.
  assert.equal(report.coverage.askedOutsideGraph, 1);
  const outside = expected.degree.indexOf(0);
  const kept = (list: number[]) => list.filter((_, i) => i !== outside);
  assert.equal(report.nodes.length, expected.order - 1);
  assert.deepEqual(report.nodes.map(({ degree }) => degree), kept(expected.degree));
  assert.deepEqual(report.nodes.map(({ coreness }) => coreness), kept(expected.coreness));
  assert.deepEqual(report.nodes.map(({ clustering }) => clustering), kept(expected.clustering));
  assert.equal(report.graph.diameterHops, expected.diameter);
  assert.equal(report.graph.averageShortestPathHops, expected.averageShortestPath);
  assert.equal(report.coverage.byState.answered, 6);
  assert.equal(report.coverage.linksByAgreement.denied, 0);
  assert.equal(report.survey.sliceSeconds, null);
  assert.equal(report.traffic.bytesPerSecond, null);
  assert.ok(report.limits.some((text) => text.includes("--slice")));
});

test("surveyReport: two groups that one node joins, without it and without an organisation", async () => {
  // 0-1-2 and 4-5-6 are triangles, 3 joins them; 0, 6 and 5 are validators; 7 is silent behind 6.
  const links: [number, number][] = [[0, 1], [1, 2], [0, 2], [2, 3], [3, 4], [4, 5], [5, 6], [4, 6], [6, 7]];
  const document = surveyOf(8, links, { silent: [7], data: (i) => ({ isValidator: [0, 5, 6].includes(i) }) });
  const organizations = {
    source: "file" as const,
    of: new Map([[n(2), "two"], [n(4), "two"], [n(1), "one"], [n(99), "elsewhere"]]),
    names: new Map(),
  };
  const report = await surveyReport(document, { organizations });
  assert.deepEqual(report.graph.articulationNodes, [
    { nodeId: n(3), parts: 2, cutOff: 3 },
    { nodeId: n(4), parts: 2, cutOff: 3 },
    { nodeId: n(2), parts: 2, cutOff: 2 },
    { nodeId: n(6), parts: 2, cutOff: 1 },
  ]);
  assert.deepEqual(report.graph.bridges, [[n(2), n(3)], [n(3), n(4)], [n(6), n(7)]]);
  assert.deepEqual(report.validators.nodeIds, [n(0), n(5), n(6)]);
  assert.deepEqual(report.validators.hops, [[0, 4, 4], [4, 0, 1], [4, 1, 0]]);
  assert.deepEqual(report.validators.dependencies, [
    { a: n(0), b: n(5), on: [n(2), n(3), n(4)] },
    { a: n(0), b: n(6), on: [n(2), n(3), n(4)] },
  ]);
  assert.deepEqual(report.validators.disjointPaths, [
    { paths: 1, atLeast: false, pairs: 2 },
    { paths: 2, atLeast: false, pairs: 1 },
  ]);
  assert.deepEqual(report.validators.weakest![0], { a: n(0), b: n(5), paths: 1, cut: [n(2)] });
  assert.deepEqual(report.removal.organizations.each, [{
    organization: "two",
    removed: 2,
    nodesRemoved: [n(2), n(4)],
    components: 3,
    largest: 3,
    cutOff: 3,
    share: 0.5,
    validatorsLeft: 3,
    validatorsCutOff: 1,
  }, {
    organization: "one",
    removed: 1,
    nodesRemoved: [n(1)],
    components: 1,
    largest: 7,
    cutOff: 0,
    share: 1,
    validatorsLeft: 3,
    validatorsCutOff: 0,
  }]);
  // Twelve pairs pass 3, and as many 4: the first in order goes first.
  const [first] = report.removal.byBetweenness;
  assert.deepEqual([first.nodesRemoved, first.components, first.largest], [[n(3)], 2, 4]);
  assert.deepEqual(report.removal.byDegree.map(({ removed }) => removed), [1, 2, 3]);
  assert.deepEqual(report.coverage.byState, {
    answered: 7,
    silent: 1,
    unreachable: 0,
    bad: 0,
    pending: 0,
    listedOnly: 0,
  });
  assert.ok(report.limits.some((text) => text.startsWith("1 of 8 known nodes gave no answer")));
  assert.deepEqual(report.graph.degree, {
    min: 1,
    median: 2,
    mean: 2.25,
    max: 3,
    histogram: [{ value: 1, nodes: 1 }, { value: 2, nodes: 4 }, { value: 3, nodes: 3 }],
  });
});

test("surveyReport since an earlier survey: figures of both, nodes and links that differ", async () => {
  const before = surveyOf(3, [[0, 1], [1, 2], [0, 2]]), after = surveyOf(4, [[0, 1], [1, 2], [2, 3]]);
  const { changes } = await surveyReport(after, { since: before });
  const figure = (name: string) => changes!.figures.find((row) => row.figure === name);
  assert.deepEqual(figure("diameterHops"), { figure: "diameterHops", before: 1, after: 3 });
  assert.deepEqual(figure("averageClustering"), { figure: "averageClustering", before: 1, after: 0 });
  assert.deepEqual(changes!.nodesCame.map(({ nodeId }) => nodeId), [n(3)]);
  assert.deepEqual(changes!.linksCame.map(({ ends }) => ends), [[n(2), n(3)]]);
  assert.deepEqual(changes!.linksWent.map(({ ends }) => ends), [[n(0), n(2)]]);
  assert.equal(changes!.since.startedAt, "2026-01-01T12:00:00.000Z");
});

test("surveyReport of a survey that nobody answered says so, and every figure is a number", async () => {
  const report = await surveyReport(surveyOf(3, [], { silent: [0, 1, 2] }));
  assert.equal(report.nodes.length, 0);
  assert.equal(report.coverage.askedOutsideGraph, 3);
  assert.ok(report.limits.some((text) => text.startsWith("No node answered")));
  const strange = JSON.stringify(
    report,
    (_, value) =>
      typeof value === "bigint"
        ? String(value)
        : typeof value === "number" && !Number.isFinite(value)
        ? "NOT FINITE"
        : value,
  );
  assert.ok(!strange.includes("NOT FINITE"));
});

test("surveyReport of the script's GraphML has the same graph, and claims nothing about ends it does not know", async () => {
  const json = await surveyReport(documentOfResult(parseSurveyResult(fixtureText("http/survey-result.json"), "json")));
  const graphMl = readFileSync(join(ROOT, "tests", "vectors", "survey", "recorded.graphml"), "utf8");
  const report = await surveyReport(readSurvey(graphMl, "recorded.graphml").document);
  const graphOf = ({ nodes, graph }: typeof report) => [
    graph,
    nodes.map((
      { nodeId, degree, inDegree, betweenness, closeness, coreness },
    ) => [nodeId, degree, inDegree, betweenness, closeness, coreness]),
  ];
  assert.deepEqual(graphOf(report), graphOf(json));
  assert.deepEqual(report.coverage.linksByAgreement, { both: 0, oneEnd: 0, denied: 0, roles: 0, unknown: 11 });
  assert.deepEqual(report.traffic.links, []);
  assert.equal(report.latency.linkMs!.count, 11);
  assert.ok(report.limits.some((text) => text.includes("both ends' reports")));
});
