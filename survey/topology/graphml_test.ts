/** GraphML, against what networkx 3.6.1 wrote. tests/vectors/survey/README.md says how its files were made. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { answeredNode, documentOf, madeUpId, recordedDocument, reportOn } from "../../tests/kit/survey_files_kit.ts";
import { printFlat } from "./flatten.ts";
import { graphOfDocument } from "./graph_file.ts";
import { printGraphMl } from "./graphml.ts";
import { parseGraphMl, readGraphMl } from "./graphml_read.ts";
import { linksOf } from "./links.ts";

const [A, B, C] = [madeUpId(1), madeUpId(2), madeUpId(3)].sort();

function vector(name: string): string {
  return readFileSync(new URL(`../../tests/vectors/survey/${name}`, import.meta.url), "utf8");
}

/** Attributes of all nodes and edges as plain objects, without our `reportedBy`. */
function contents(text: string) {
  const graph = parseGraphMl(text, "x");
  const plain = (fields: ReadonlyMap<string, { value: unknown }>) =>
    Object.fromEntries(
      [...fields].filter(([name]) => name !== "reportedBy").map(([name, { value }]) => [name, value]).sort(),
    );
  return {
    directed: graph.directed,
    nodes: Object.fromEntries([...graph.nodes].map(([id, fields]) => [id, plain(fields)]).sort()),
    edges: Object.fromEntries(
      graph.edges.map((edge) => [`${edge.source} ${edge.target}`, plain(edge.attributes)]).sort(),
    ),
  };
}

test("printGraphMl gives the graph that OverlaySurvey.py makes of the recorded survey, attribute for attribute", () => {
  const theirs = contents(vector("recorded.graphml"));
  assert.equal(Object.keys(theirs.nodes).length, 6);
  assert.equal(Object.keys(theirs.edges).length, 11);
  assert.deepEqual(contents(printGraphMl(recordedDocument())), theirs);
});

test("readGraphMl takes the script's file: same links, and a report of each at the end that was dialed", () => {
  const document = readGraphMl(vector("recorded.graphml"), "x");
  assert.equal(document.linkReports, "unattributed");
  assert.deepEqual(
    linksOf(document).map((link) => [link.ends, link.dialer]),
    linksOf(recordedDocument()).map((link) => [link.ends, link.dialer]),
  );
  assert.ok([...document.nodes.values()].every((node) => node.outboundPeers.length === 0));
  assert.deepEqual(contents(printGraphMl(document)), contents(vector("recorded.graphml")));
  assert.ok(!printGraphMl(document).includes("reportedBy"));
});

test("readGraphMl takes an augmented file of networkx: odd texts, nested values, an attribute of two types", () => {
  const document = readGraphMl(vector("augmented.graphml"), "x");
  const ids = ["GA5GNKGVF6TNOVVT3FCEZ34L4IG4OPXNYOCXX522VB7HKMKO3DM676UR"]
    .concat(
      "GABMDKJDMFEW5SFDCBSGQSNVI3UXUM7XGJSKRQK2YGFOXXBHLA6WIEYO",
      "GAAZI4TCR3TY5OJHCTJC2A4QSY6CJWJH5IAJTGKIN2ER7LBNVKOCCWN7",
    );
  assert.equal(document.versions.get(ids[0]), "v1 <\"&'> \n");
  assert.deepEqual(document.attributes.get(ids[0]), {
    radar_index: 0.5,
    radar_geoData: '{"countryCode": "US"}',
    isTier1: true,
  });
  assert.deepEqual(document.attributes.get(ids[1]), { radar_index: 1 });
  assert.deepEqual(document.attributes.get(ids[2]), {});
  const node = document.nodes.get(ids[0])!;
  assert.deepEqual([node.data.isValidator, node.data.p75SCPFirstToSelfLatencyMs, node.absent], [true, 121, undefined]);
  const [peer] = node.inboundPeers;
  assert.deepEqual([peer.nodeId, peer.version, peer.bytesRead, peer.averageLatencyMs], [
    ids[1],
    "v2",
    2n ** 64n - 1n,
    7,
  ]);
  assert.ok(peer.absent!.includes("bytesWritten"));
  // Only one end has figures of its own, so the report is known to be its.
  assert.deepEqual(contents(printGraphMl(document)), contents(vector("augmented.graphml")));
  const flat = JSON.parse(printFlat(document));
  assert.deepEqual(flat.find((entry: { publicKey: string }) => entry.publicKey === ids[0]).radar_geoData, {
    countryCode: "US",
  });
});

test("graphOfDocument: of two reports of an edge the later node's counts, as the script's last processed side wins", () => {
  const both = documentOf(
    answeredNode(A, [], [reportOn(B, { bytesRead: 1n })]),
    answeredNode(B, [reportOn(A, { bytesRead: 2n })], []),
  );
  const [edge] = graphOfDocument(both).edges;
  assert.deepEqual([edge.source, edge.target, edge.attributes.bytesRead, edge.attributes.reportedBy], [
    A,
    B,
    2n,
    "target",
  ]);
});

test("readGraphMl gives a report to the end named by reportedBy, else to the only end that answered", () => {
  const one = documentOf(answeredNode(A, [], [reportOn(B)]));
  const text = printGraphMl(one);
  assert.deepEqual(readGraphMl(text, "x").nodes.get(A)!.outboundPeers, one.nodes.get(A)!.outboundPeers);
  const script = text.replace(/.*reportedBy.*\n|.*>source<.*\n/g, "");
  assert.deepEqual(readGraphMl(script, "x").nodes.get(A)!.outboundPeers, one.nodes.get(A)!.outboundPeers);
  assert.equal(readGraphMl(script, "x").nodes.has(B), false);
});

const HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">';

test("readGraphMl takes plain graphs: undirected, other names, defaults, CDATA, prefixes, any case of true", () => {
  const plain = readGraphMl(
    `\ufeff<?xml version="1.0"?>\n${HEAD}<graph edgedefault="undirected"><node id="n0"/><node id="n1"/><edge source="n0" target="n1"/></graph></graphml>`,
    "x",
  );
  assert.deepEqual(plain.looseLinks, [{ from: "n0", to: "n1", directed: false }]);
  assert.equal(plain.linkReports, "none");
  const rich = readGraphMl(
    `<g:graphml xmlns:g="http://graphml.graphdrawing.org/xmlns"><!-- a > b -->
<g:key id="k" for="node" attr.name="isTier1" attr.type="boolean"><g:default>false</g:default></g:key>
<g:key id="v" for="node" attr.name="version"/>
<g:graph edgedefault="directed"><g:node id="${A}"><g:data key="k">TRUE</g:data><g:data key="v"><![CDATA[<&amp;>]]></g:data></g:node>
<g:node id="${B}"><g:data key="v">&#65;&#x42;&apos;</g:data></g:node><g:edge source="${A}" target="${B}"/></g:graph></g:graphml>`,
    "x",
  );
  assert.deepEqual([rich.attributes.get(A), rich.attributes.get(B)], [{ isTier1: true }, { isTier1: false }]);
  assert.deepEqual([rich.versions.get(A), rich.versions.get(B)], ["<&amp;>", "AB'"]);
  assert.deepEqual(rich.looseLinks, [{ from: A, to: B, directed: true }]);
});

test("readGraphMl names what it does not take", () => {
  const graph = (inside: string, keys = "", kind = "directed") =>
    `${HEAD}${keys}<graph edgedefault="${kind}">${inside}</graph></graphml>`;
  const key = '<key id="b" for="edge" attr.name="bytesRead" attr.type="long"/>';
  const cases: [text: string, wanted: RegExp][] = [
    [`${HEAD}</graphml>`, /needs one graph, has 0/],
    [graph("<node/>"), /at node: needs an attribute id/],
    [graph('<node id="a"><graph edgedefault="directed"/></node>'), /node a: a graph inside a node/],
    [graph('<node id="a"><data key="q">1</data></node>'), /node a: no key q is declared/],
    [graph("<hyperedge/>"), /a link has two ends/],
    [graph('<edge source="a" target="b" directed="false"/>'), /edge a b: is undirected in a directed graph/],
    [
      graph('<edge source="a" target="b"><data key="b">x</data></edge>', key),
      /edge a b bytesRead: needs a whole number/,
    ],
    [
      graph('<edge source="a" target="b"><data key="b">-1</data></edge>', key),
      /edge a b bytesRead: needs a whole number below 2\^64/,
    ],
    [
      graph('<edge source="a" target="b"><data key="b">1</data></edge>', key, "undirected"),
      /link reports need a directed graph/,
    ],
    [graph('<node id="GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"/>'), /checksum/],
  ];
  for (const [text, wanted] of cases) assert.throws(() => readGraphMl(text, "x"), wanted);
});

test("a GraphML file with thousands of entities is read whole", () => {
  const document = documentOf(answeredNode(A, [], [reportOn(B)]));
  for (let i = 0; i < 3000; i++) document.attributes.set(madeUpId(i), { radar_name: `<"&'> ${i}` });
  const again = readGraphMl(printGraphMl(document), "x");
  assert.deepEqual(again.attributes, new Map([...document.attributes].sort(([a], [b]) => (a < b ? -1 : 1))));
});

test("printGraphMl writes what XML cannot hold as U+FFFD", () => {
  const document = documentOf(answeredNode(A, [reportOn(C, { version: "a\u0000b\ud800c\ufffe" })], []));
  assert.equal(readGraphMl(printGraphMl(document), "x").versions.get(C), "a\ufffdb\ufffdc\ufffd");
});
