/** Every form a survey has: what it can hold comes back, and what is wrong is named. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFailure, OverlayError } from "../../overlay/base/errors.ts";
import {
  answeredNode,
  arbDocument,
  canonical,
  documentOf,
  fixtureText,
  madeUpId,
  recordedDocument,
  reportOn,
} from "../../tests/kit/survey_files_kit.ts";
import { FORMATS, lossesOf, printSurvey, type ReadableFormat, readSurvey, surveyFiles } from "./formats.ts";
import { graphOfDocument, type GraphValue } from "./graph_file.ts";
import { linksOf } from "./links.ts";
import { parseSurveyResult, printSurveyResult, resultOfDocument } from "./survey_result.ts";
import type { SurveyDocument } from "./types.ts";

const READABLE = FORMATS.filter((format): format is ReadableFormat => !format.endsWith("-csv"));

function again(document: SurveyDocument, format: ReadableFormat): SurveyDocument {
  const read = readSurvey(printSurvey(document, format), "again");
  assert.equal(read.format, format);
  return read.document;
}

test("getsurveyresult: the recorded answers come back byte for byte", () => {
  for (const name of ["survey-result-before", "survey-result-during", "survey-result"]) {
    const text = fixtureText(`http/${name}.json`);
    assert.equal(printSurveyResult(parseSurveyResult(text, name)), text);
  }
  const before = parseSurveyResult(fixtureText("http/survey-result-before.json"), "before");
  assert.deepEqual(before, { surveyInProgress: false, backlog: null, badResponseNodes: null });
});

test("getsurveyresult: states of the recorded survey", () => {
  const document = recordedDocument();
  assert.equal(document.nodes.size, 6);
  assert.deepEqual([...document.states].filter(([, state]) => state !== "answered"), [
    ["GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7", "silent"],
  ]);
  const result = resultOfDocument(document, true);
  assert.equal(printSurveyResult(result), fixtureText("http/survey-result.json"));
});

test("getsurveyresult: backlog, bad nodes and 64-bit counters survive", () => {
  const [a, b] = [madeUpId(1), madeUpId(2)];
  const text = fixtureText("http/survey-result.json")
    .replace('"backlog" : null', `"backlog" : [ "${a}" ]`)
    .replace('"badResponseNodes" : null', `"badResponseNodes" : [ "${b}" ]`)
    .replace('"bytesRead" : 109288', '"bytesRead" : 18446744073709551615');
  const result = parseSurveyResult(text, "x");
  assert.equal(printSurveyResult(result), text);
  const node = [...result.topology!.values()][0]!;
  assert.equal(node.inboundPeers[0].bytesRead, 0xffffffffffffffffn);
  const { document } = readSurvey(text, "x");
  assert.deepEqual([document.states.get(a), document.states.get(b)], ["pending", "bad"]);
  const { topology, backlog } = resultOfDocument(document);
  assert.deepEqual([backlog, topology!.has(a), topology!.get(b)], [[a], false, null]);
});

test("survey.json holds any document", () => {
  fc.assert(
    fc.property(arbDocument, (document) => {
      assert.deepEqual(canonical(again(document, "survey")), canonical(document));
    }),
    { numRuns: 150 },
  );
});

test("getsurveyresult and the script's JSON hold all answers of any document", () => {
  fc.assert(
    fc.property(arbDocument, (document) => {
      const wanted = canonical(document).nodes;
      assert.deepEqual(canonical(again(document, "script")).nodes, wanted);
      const result = again(document, "result");
      assert.deepEqual(canonical(result).nodes, wanted);
      for (const [id, state] of document.states) {
        assert.equal(result.states.get(id), state === "unreachable" ? "silent" : state);
      }
    }),
    { numRuns: 100 },
  );
});

/** Values as texts: GraphML knows no difference between 64-bit and other whole numbers; XML 1.0 lacks some characters. */
function plain(attributes: Record<string, GraphValue>): [string, string][] {
  // deno-lint-ignore no-control-regex
  const text = (value: string) => value.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
  return Object.entries(attributes).map(([name, value]): [string, string] => [name, text(String(value))]).sort();
}

test("GraphML holds the graph of any document", () => {
  fc.assert(
    fc.property(arbDocument, (document) => {
      const before = graphOfDocument(document), after = graphOfDocument(again(document, "graphml"));
      assert.equal(after.directed, before.directed);
      assert.deepEqual([...after.nodes.keys()], [...before.nodes.keys()]);
      for (const [id, attributes] of before.nodes) assert.deepEqual(plain(after.nodes.get(id)!), plain(attributes));
      assert.deepEqual(
        after.edges.map(({ source, target, attributes }) => [source, target, plain(attributes)]),
        before.edges.map(({ source, target, attributes }) => [source, target, plain(attributes)]),
      );
    }),
    { numRuns: 100 },
  );
});

test("flattened JSON holds the undirected graph and the nodes' attributes of any document", () => {
  fc.assert(
    fc.property(arbDocument, (document) => {
      const after = again(document, "flat");
      assert.deepEqual(linksOf(after).map((link) => link.ends), linksOf(document).map((link) => link.ends));
      const before = graphOfDocument(document).nodes;
      for (const [id, attributes] of graphOfDocument(after).nodes) {
        assert.deepEqual(Object.keys(attributes).sort(), Object.keys(before.get(id)!).sort());
      }
    }),
    { numRuns: 100 },
  );
});

test("flattened JSON: attributes that hold JSON are unfolded, versions never; the script's own unfolded versions are read", () => {
  const [a, b] = [madeUpId(1), madeUpId(2)];
  const document = documentOf(answeredNode(a, [], [reportOn(b, { version: "[1]" })]));
  document.attributes.set(b, { radar_geoData: '{"countryCode": "US"}', radar_name: "[not JSON" });
  const flat = JSON.parse(printSurvey(document, "flat")).find((entry: { publicKey: string }) => entry.publicKey === b);
  assert.deepEqual(
    [flat.version, flat.radar_geoData, flat.radar_name],
    ["[1]", { countryCode: "US" }, "[not JSON"],
  );
  for (const [version, text] of [[25, "25"], [true, "true"], [[1], "[1]"], [null, undefined]]) {
    const read = readSurvey(JSON.stringify([{ publicKey: a, peers: [], version }]), "x").document;
    assert.equal(read.versions.get(a), text);
  }
});

test("writing what was read gives the same text, in every form", () => {
  fc.assert(
    fc.property(arbDocument, fc.constantFrom(...READABLE), (document, format) => {
      const once = printSurvey(document, format);
      const read = readSurvey(once, "x").document;
      assert.equal(printSurvey(read, format), once);
    }),
    { numRuns: 200 },
  );
});

test("surveyFiles names the five files of --out", () => {
  const files = surveyFiles(recordedDocument());
  assert.deepEqual(files.map((file) => file.name), [
    "result.json",
    "survey.json",
    "graph.graphml",
    "nodes.csv",
    "links.csv",
  ]);
  assert.ok(files.every((file) => file.text.length > 1000));
});

test("lossesOf says what a form leaves out of the recorded survey", () => {
  const document = recordedDocument();
  assert.deepEqual(lossesOf(document, "survey"), []);
  assert.deepEqual(lossesOf(document, "result"), []);
  assert.deepEqual(lossesOf(document, "graphml"), [
    "11 second reports of links",
    "1 state of a node that did not answer",
  ]);
  assert.deepEqual(lossesOf(document, "flat"), [
    "22 reports of links",
    "11 links' directions",
    "1 state of a node that did not answer",
  ]);
});

test("lossesOf counts only reports that GraphML drops, and loose links that a result drops", () => {
  const [a, b, c] = [madeUpId(1), madeUpId(2), madeUpId(3)];
  const document = documentOf(
    answeredNode(a, [], [reportOn(b), reportOn(c)]),
    answeredNode(b, [reportOn(a)], []),
  );
  document.looseLinks = [{ from: b, to: c, directed: true }];
  document.lateJoiners.add(c);
  assert.deepEqual(lossesOf(document, "graphml"), ["1 second report of a link", "1 late joiner's mark"]);
  assert.deepEqual(lossesOf(document, "script"), ["1 link that nobody reported", "1 late joiner's mark"]);
  assert.deepEqual(lossesOf(document, "survey"), []);
});

test("readSurvey names file, place and reason of what is wrong", () => {
  const id = madeUpId(1);
  const good = fixtureText("http/survey-result.json");
  const survey = printSurvey(recordedDocument(), "survey");
  const cases: [text: string, wanted: RegExp][] = [
    ["", /^survey_file_invalid: f: the file is empty/],
    ["  hello", /none of the forms/],
    ['{\n "topology": {,\n}', /f at line 2, column 15: unexpected ,/],
    ['{"exception": "no survey"}', /f at exception: stellar-core answered with an error: no survey/],
    ['{"a": 1}', /JSON, but none of the forms/],
    [
      '{"schema": "stellar-overlay/crawl/1"}',
      /f at schema: needs stellar-overlay\/survey-data\/1, not "stellar-overlay\/crawl\/1"/,
    ],
    ['{"topology": {"GABC": null}}', /f at topology.GABC: needs a node id: 4 characters/],
    [`{"topology": {"${id.slice(0, 55)}A": null}}`, /checksum/],
    [good.replace('"lostSyncCount" : 0', '"lostSyncCount" : -1'), /lostSyncCount: needs a whole number below 2\^32/],
    [
      good.replace('"bytesRead" : 109288', '"bytesRead" : 18446744073709551616'),
      /inboundPeers\[0\].bytesRead: needs a whole number below 2\^64/,
    ],
    [good.replace('"isValidator" : true', '"isValidator" : 1'), /isValidator: needs true or false/],
    [good.replace(/"version" : "[^"]*"/, '"version" : 3'), /version: needs a text/],
    [good.replace(/"nodeId" : "[^"]*",/, ""), /inboundPeers\[0\]: needs a nodeId/],
    [`{"${id}": {"inboundPeers": {"${madeUpId(2)}": {"nodeId": "${id}"}}}}`, /differs from its key/],
    ['[{"peers": []}]', /f at \[0\]: needs a publicKey/],
    [`[{"publicKey": "${id}", "peers": [true]}]`, /\[0\].peers\[0\]: needs a text/],
    [survey.replace('"state": "silent"', '"state": "asleep"'), /state: needs one of answered, silent/],
    [survey.replace('"dialed": "nodeDialedPeer"', '"dialed": "yes"'), /reports\[\d\].dialed: needs one of/],
    [survey.replace('"bytesRead": "109288"', '"bytesRead": "1e5"'), /bytesRead: needs a whole number below 2\^64/],
    [survey.replace('"startedAt": null', '"startedAt": "today"'), /startedAt: needs a time such as/],
    ["<html></html>", /XML, but not GraphML/],
    ["<graphml>\n<graph>\n</graphml>", /line \d+, column \d+: this is not XML/],
    // The library's validator lets this pass, its parser does not.
    ["<?xml version='1.0?>\n<graphml/>", /this is not GraphML: Pi Tag is not closed/],
    ["<graphml></graph", /f at line 1: this is not XML|line 1, column \d+: this is not XML/],
    ["<?a", /f at line 1: this is not XML/],
    ['<!DOCTYPE g [<!ENTITY a "b">]><graphml/>', /DOCTYPE/],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(() => readSurvey(text, "f"), (error) => {
      assert.ok(isFailure("survey_file_invalid")(error), `${text.slice(0, 60)}: ${error}`);
      assert.match((error as OverlayError).message, wanted);
      return true;
    });
  }
});

test("readSurvey refuses what is nested without end, in every form", () => {
  const deep = (n: number) => "[".repeat(n) + "]".repeat(n);
  const xml = (n: number) => `<graphml><graph>${"<a>".repeat(n)}${"</a>".repeat(n)}</graph></graphml>`;
  const texts = [10_000, 1_000_000].flatMap((n) => [
    deep(n),
    `{"topology": ${deep(n)}}`,
    `[{"publicKey": "a", "peers": [], "x": ${deep(n)}}]`,
  ]);
  for (const text of [...texts, xml(200), xml(20_000)]) {
    assert.throws(() => readSurvey(text, "f"), isFailure("survey_file_invalid"));
  }
});

test("readSurvey never throws anything but survey_file_invalid, whatever is cut out of a file", () => {
  const texts = READABLE.map((format) => printSurvey(recordedDocument(), format));
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(300),
      fc.constantFrom("", "0", '"', "<", "{}"),
      (text, at, length, put) => {
        const start = Math.floor(at * text.length);
        try {
          readSurvey(text.slice(0, start) + put + text.slice(start + length), "f");
        } catch (error) {
          if (!isFailure("survey_file_invalid")(error)) throw error;
        }
      },
    ),
    { numRuns: 150 },
  );
});
