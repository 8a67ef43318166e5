/** Reading GraphML: what networkx, and so OverlaySurvey.py, writes, and plain graphs of other tools. Source: graphml.graphdrawing.org. */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import { Field, invalid } from "./fields.ts";
import { documentOfGraph, type ParsedGraph } from "./graph_file.ts";
import type { Json } from "./json_text.ts";
import type { SurveyDocument } from "./types.ts";

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
    const place = `line ${line + skipped}` + (col === undefined ? "" : `, column ${col}`);
    throw invalid(path, place, `this is not XML: ${msg}`);
  }
  let parsed: Element;
  try {
    parsed = parser.parse(body);
  } catch (error) {
    // What the validator lets pass: elements nested too deep, odd names.
    throw invalid(path, "", `this is not GraphML: ${(error as Error).message}`, error);
  }
  const root = parsed.graphml as Element | undefined;
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
