/**
 * GraphML as networkx writes and reads it, so that OverlaySurvey.py's `analyze`, `augment`, `flatten` and `simulate` take our
 * files and we take theirs. Source: graphml.graphdrawing.org, networkx readwrite/graphml.py.
 */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { Field, invalid } from "./fields.ts";
import {
  type AttributedGraph,
  documentOfGraph,
  graphOfDocument,
  type GraphValue,
  type ParsedGraph,
} from "./graph_file.ts";
import type { Json } from "./json_text.ts";
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

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  textNodeName: "#text",
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  removeNSPrefix: true,
  // Ours below: the parser's limits are made for documents with fewer of them, and DTDs are refused.
  processEntities: false,
  cdataPropName: "#cdata",
  isArray: (name: string) => LISTS.has(name),
});
const LISTS = new Set(["key", "graph", "node", "edge", "data", "hyperedge", "default"]);

/** An element as the parser gives it: attributes with `@`, children by name. */
interface Element {
  [name: string]: string | Element | Element[] | undefined;
}

/**
 * The document in a GraphML text. `path` names it in errors.
 * @throws OverlayError `survey_file_invalid`
 */
export function readGraphMl(text: string, path: string): SurveyDocument {
  return documentOfGraph(parseGraphMl(text, path), path);
}

/** The graph in a GraphML text. @throws OverlayError `survey_file_invalid` */
export function parseGraphMl(text: string, path: string): ParsedGraph {
  const body = text.replace(/^\ufeff?\s*/, "");
  if (/<!DOCTYPE/i.test(body.slice(0, 10_000))) {
    throw invalid(path, "its head", "a document type (DOCTYPE) is not read");
  }
  const checked = XMLValidator.validate(body);
  if (checked !== true) {
    const { line, col, msg } = checked.err;
    const skipped = text.slice(0, text.length - body.length).split("\n").length - 1;
    throw invalid(path, `line ${line + skipped}, column ${col}`, `this is not XML: ${msg}`);
  }
  const root = (parser.parse(body) as Element).graphml as Element | undefined;
  if (root === undefined) throw invalid(path, "its root", "this is XML, but not GraphML");
  const graphs = children(root, "graph");
  if (graphs.length !== 1) throw invalid(path, "graphml", `needs one graph, has ${graphs.length}`);
  const [graph] = graphs;
  if (children(graph, "hyperedge").length > 0) throw invalid(path, "hyperedge", "a link has two ends");
  const keys = new Map(children(root, "key").map((key) => [attribute(key, "id", path, "key"), key]));
  const directed = attributeOr(graph, "edgedefault") === "directed";
  const nodes: ParsedGraph["nodes"] = new Map();
  for (const node of children(graph, "node")) {
    const id = nodeName(node, "id", path, "node");
    if (children(node, "graph").length > 0) throw invalid(path, `node ${id}`, "a graph inside a node is not read");
    nodes.set(id, dataOf(node, "node", keys, path, `node ${id}`));
  }
  const edges = children(graph, "edge").map((edge) => {
    const source = nodeName(edge, "source", path, "edge"), target = nodeName(edge, "target", path, "edge");
    const at = `edge ${source} ${target}`;
    const own = attributeOr(edge, "directed");
    if (own !== undefined && (own === "true") !== directed) {
      throw invalid(
        path,
        at,
        own === "true" ? "is directed in an undirected graph" : "is undirected in a directed graph",
      );
    }
    for (const end of [source, target]) if (!nodes.has(end)) nodes.set(end, new Map());
    return { source, target, attributes: dataOf(edge, "edge", keys, path, at) };
  });
  return { directed, nodes, edges };
}

/** Attributes of a node or edge, defaults of the keys included. */
function dataOf(
  owner: Element,
  kind: "node" | "edge",
  keys: ReadonlyMap<string, Element>,
  path: string,
  at: string,
): Map<string, Field> {
  const fields = new Map<string, Field>();
  const put = (key: Element, text: string) => {
    const name = attribute(key, "attr.name", path, "key");
    const place = `${at} ${name}`;
    fields.set(name, new Field(valueOf(text, attributeOr(key, "attr.type") ?? "string", path, place), path, place));
  };
  for (const key of keys.values()) {
    const [standard] = children(key, "default");
    const owner = attributeOr(key, "for");
    if (standard !== undefined && (owner === kind || owner === "all")) put(key, textOf(standard, path, at));
  }
  for (const data of children(owner, "data")) {
    const id = attribute(data, "key", path, at);
    const key = keys.get(id);
    if (key === undefined) throw invalid(path, at, `no key ${id} is declared`);
    // yEd's drawings are of no interest.
    if (attributeOr(key, "yfiles.type") === undefined) put(key, textOf(data, path, at));
  }
  return fields;
}

/** A value by its declared type. Numbers are read exactly. */
function valueOf(text: string, type: string, path: string, at: string): Json {
  switch (type) {
    case "boolean": {
      const lower = text.trim().toLowerCase();
      if (lower === "true" || lower === "1") return true;
      if (lower === "false" || lower === "0") return false;
      throw invalid(path, at, "needs true or false");
    }
    case "int":
    case "integer":
    case "long": {
      if (!/^\s*-?\d{1,40}\s*$/.test(text)) throw invalid(path, at, "needs a whole number");
      const number = BigInt(text.trim());
      return BigInt(Number.MIN_SAFE_INTEGER) <= number && number <= BigInt(Number.MAX_SAFE_INTEGER)
        ? Number(number)
        : number;
    }
    case "float":
    case "double": {
      const number = Number(text);
      if (text.trim() === "" || !Number.isFinite(number)) throw invalid(path, at, "needs a number");
      return number;
    }
    default:
      return text;
  }
}

function children(element: Element | string, name: string): Element[] {
  const found = typeof element === "string" ? undefined : element[name];
  return Array.isArray(found) ? found : found === undefined || typeof found === "string" ? [] : [found];
}

function attributeOr(element: Element, name: string): string | undefined {
  const value = element[`@${name}`];
  return typeof value === "string" ? decodeEntities(value) : undefined;
}

function attribute(element: Element, name: string, path: string, at: string): string {
  const value = attributeOr(element, name);
  if (value === undefined) throw invalid(path, at, `needs an attribute ${name}`);
  return value;
}

function nodeName(element: Element, name: string, path: string, at: string): string {
  return new Field(attribute(element, name, path, at), path, `${at} ${name}`).nodeName();
}

function textOf(element: Element | string, path: string, at: string): string {
  if (typeof element === "string") return decodeEntities(element);
  const text = element["#text"] ?? "", literal = element["#cdata"] ?? "";
  if (typeof text !== "string" || typeof literal !== "string") throw invalid(path, at, "needs a text");
  return decodeEntities(text) + literal;
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g, (all, decimal, hex, name) => {
    if (name !== undefined) return NAMED[name];
    const code = decimal !== undefined ? Number(decimal) : parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
