/**
 * Flattened JSON, the topology supercluster takes: a list of nodes with their peers, without direction and without link
 * figures. Source: stellar-core scripts/OverlaySurvey.py flatten; supercluster StellarNetworkData.fs.
 */
import { Field } from "./fields.ts";
import { documentOfGraph, graphOfDocument, type GraphValue, type ParsedGraph } from "./graph_file.ts";
import { type Json, printAsPython } from "./json_text.ts";
import type { SurveyDocument } from "./types.ts";

/** The text of a document's flattened form: one line, nodes and peers sorted as texts. */
export function printFlat(document: SurveyDocument): string {
  const { nodes, edges } = graphOfDocument(document);
  const peers = new Map([...nodes.keys()].map((id) => [id, new Set<string>()]));
  for (const { source, target } of edges) {
    peers.get(source)!.add(target);
    peers.get(target)!.add(source);
  }
  const list = [...nodes].map(([id, attributes]) => ({
    publicKey: id,
    peers: [...peers.get(id)!].sort(),
    ...Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [name, name === "version" ? value : unfold(value)]),
    ),
  }));
  return printAsPython(list);
}

/** A text that holds a JSON object or list becomes that: GraphML carries `radar_geoData` so. */
function unfold(value: GraphValue): Json {
  if (typeof value !== "string" || !/^[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** The document in a parsed flattened file; all its links are loose. @throws OverlayError `survey_file_invalid` */
export function readFlat(file: Field): SurveyDocument {
  const graph: ParsedGraph = { directed: false, nodes: new Map(), edges: [] };
  const seen = new Set<string>();
  for (const entry of file.array()) {
    const fields = entry.object();
    const key = fields.get("publicKey"), peers = fields.get("peers");
    if (key === undefined) throw entry.fail("needs a publicKey");
    const id = key.nodeName();
    const attributes = [...fields].filter(([name]) => name !== "publicKey" && name !== "peers");
    graph.nodes.set(
      id,
      new Map(attributes.map(([name, field]) => [name, new Field(field.value, file.path, `${id} ${name}`)])),
    );
    for (const peer of peers?.array() ?? []) {
      const other = peer.nodeName();
      // Both ends name the link.
      const [source, target] = id < other ? [id, other] : [other, id];
      if (seen.has(`${source}\n${target}`)) continue;
      seen.add(`${source}\n${target}`);
      graph.edges.push({ source, target, attributes: new Map() });
    }
  }
  return documentOfGraph(graph, file.path);
}
