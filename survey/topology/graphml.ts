/**
 * Writing GraphML as networkx does, so that OverlaySurvey.py's `analyze`, `augment`, `flatten` and `simulate` take our
 * files. Source: graphml.graphdrawing.org, networkx readwrite/graphml.py.
 */
import { type AttributedGraph, graphOfDocument, type GraphValue } from "./graph_file.ts";
import type { SurveyDocument } from "./types.ts";

const HEAD = `<?xml version='1.0' encoding='utf-8'?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
`;

type GraphMlType = "string" | "boolean" | "long" | "double";

/** The GraphML of a document. */
export function printGraphMl(document: SurveyDocument): string {
  return printGraph(graphOfDocument(document));
}

/** The text of a graph. Nested values become JSON texts, as the script's `augment` writes them. */
export function printGraph(graph: AttributedGraph): string {
  const keys = new KeyTable();
  const body: string[] = [];
  const nodeTypes = numberTypes([...graph.nodes.values()]),
    edgeTypes = numberTypes(graph.edges.map((e) => e.attributes));
  const data = (
    kind: "node" | "edge",
    types: ReadonlyMap<string, GraphMlType>,
    attributes: Record<string, GraphValue>,
  ) => {
    for (const [name, value] of Object.entries(attributes)) {
      const type = typeof value === "number" ? types.get(name)! : typeOf(value);
      const text = typeof value === "object" ? JSON.stringify(value) : String(value);
      body.push(`      <data key="${keys.idOf(kind, name, type)}">${escapeXml(text)}</data>`);
    }
  };
  for (const [id, attributes] of graph.nodes) {
    body.push(`    <node id="${escapeXml(id)}">`);
    data("node", nodeTypes, attributes);
    body.push("    </node>");
  }
  for (const { source, target, attributes } of graph.edges) {
    body.push(`    <edge source="${escapeXml(source)}" target="${escapeXml(target)}">`);
    data("edge", edgeTypes, attributes);
    body.push("    </edge>");
  }
  const graphTag = `  <graph edgedefault="${graph.directed ? "directed" : "undirected"}">`;
  return HEAD + [...keys.lines, graphTag, ...body, "  </graph>", "</graphml>", ""].join("\n");
}

/** The `key` elements. An attribute whose values have different types gets a key for each, as networkx does. */
class KeyTable {
  readonly lines: string[] = [];
  /** BOUNDED by the attributes of the graph times their types. */
  readonly #ids = new Map<string, string>();

  idOf(kind: "node" | "edge", name: string, type: GraphMlType): string {
    const key = `${kind} ${type} ${name}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      this.#ids.set(key, id = `d${this.#ids.size}`);
      this.lines.push(`  <key id="${id}" for="${kind}" attr.name="${escapeXml(name)}" attr.type="${type}" />`);
    }
    return id;
  }
}

/** Whether an attribute's numbers are all whole, `long`, or not, `double`. */
function numberTypes(owners: readonly Record<string, GraphValue>[]): Map<string, GraphMlType> {
  const types = new Map<string, GraphMlType>();
  for (const attributes of owners) {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "number") {
        types.set(name, Number.isSafeInteger(value) ? types.get(name) ?? "long" : "double");
      }
    }
  }
  return types;
}

function typeOf(value: GraphValue): GraphMlType {
  return typeof value === "boolean" ? "boolean" : typeof value === "bigint" ? "long" : "string";
}

// deno-lint-ignore no-control-regex
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Text for XML 1.0; what it cannot hold (control characters, halves of pairs) becomes U+FFFD. */
function escapeXml(text: string): string {
  return (text.isWellFormed() ? text : text.toWellFormed()).replace(NOT_XML, "\ufffd")
    .replace(/[&<>"\r\n\t]/g, (c) => ENTITIES[c]);
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  // A reader would turn them into blanks or newlines.
  "\r": "&#13;",
  "\n": "&#10;",
  "\t": "&#9;",
};
