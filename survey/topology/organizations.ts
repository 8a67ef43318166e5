/** Which organisation runs a node: from a file the user gives, a stellar-core configuration, or attributes of an augmented graph. */
import { parseCoreConfig } from "../../overlay/base/core_config.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { SurveyDocument } from "./types.ts";

/** Organisation by node id, and names of nodes where the source has them. BOUNDED by the file. */
export interface Organizations {
  /** Where it comes from, for the report. */
  source: "file" | "configuration" | "attributes" | "none";
  of: Map<string, string>;
  names: Map<string, string>;
}

/**
 * Reads a mapping. JSON: an object of node id to organisation, or a list of objects with `nodeId` or `publicKey`, and
 * `organization`, `homeDomain` or `name`. A stellar-core configuration: home domains of its VALIDATORS. Else CSV: node id,
 * organisation; a first line without a node id names the columns.
 * @throws OverlayError `config_invalid` saying what is wrong where; those of `parseCoreConfig`
 */
export async function parseOrganizations(text: string, path: string): Promise<Organizations> {
  const invalid = (reason: string) => new OverlayError({ code: "config_invalid", path, reason });
  const start = text.trimStart();
  // A configuration may begin with a table in brackets, as a JSON list does.
  if (/^\s*(\[\[?[A-Z_.]+\]\]?\s*$|[A-Z_]+\s*=)/m.test(text) && !start.startsWith("{")) {
    return await ofConfiguration(text, path);
  }
  const rows = start.startsWith("{") || start.startsWith("[") ? jsonRows(text, invalid) : csvRows(text, invalid);
  if (rows.length === 0) throw invalid("it names no node");
  const of = new Map<string, string>();
  for (const { nodeId, organization, where } of rows) {
    const before = of.get(nodeId);
    if (before !== undefined && before !== organization) {
      throw invalid(`${where}: ${nodeId} belongs to '${before}' already`);
    }
    of.set(nodeId, organization);
  }
  return { source: "file", of, names: new Map() };
}

async function ofConfiguration(text: string, path: string): Promise<Organizations> {
  const { validators } = await parseCoreConfig(text, path);
  if (validators.length === 0) {
    throw new OverlayError({ code: "config_invalid", path, reason: "it has no VALIDATORS with a HOME_DOMAIN" });
  }
  return {
    source: "configuration",
    of: new Map(validators.map(({ nodeId, homeDomain }) => [nodeId, homeDomain])),
    names: new Map(validators.map(({ nodeId, name }) => [nodeId, name])),
  };
}

interface Row {
  nodeId: string;
  organization: string;
  where: string;
}

function jsonRows(text: string, invalid: (reason: string) => OverlayError): Row[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw invalid(`not JSON: ${(error as Error).message}`);
  }
  if (Array.isArray(document)) {
    return document.map((entry, i) => {
      const { nodeId, publicKey, organization, homeDomain, name } = Object(entry) as Record<string, unknown>;
      const id = nodeId ?? publicKey, of = organization ?? homeDomain ?? name;
      if (typeof id !== "string" || typeof of !== "string" || of === "") {
        throw invalid(`entry ${i + 1}: needs nodeId and organization`);
      }
      return { nodeId: id, organization: of, where: `entry ${i + 1}` };
    });
  }
  return Object.entries(document as Record<string, unknown>).map(([nodeId, organization]) => {
    if (typeof organization !== "string" || organization === "") throw invalid(`${nodeId}: must be a name`);
    return { nodeId, organization, where: nodeId };
  });
}

function csvRows(text: string, invalid: (reason: string) => OverlayError): Row[] {
  let idAt = 0, nameAt = 1;
  const rows: Row[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const where = `line ${i + 1}`;
    const cells = csvCells(line);
    if (rows.length === 0 && !cells.some((cell) => /^G[A-Z2-7]{55}$/.test(cell))) {
      const titles = cells.map((cell) => cell.toLowerCase().replace(/[^a-z]/g, ""));
      const find = (names: string[]) => titles.findIndex((title) => names.includes(title));
      const id = find(["nodeid", "publickey", "node", "id"]);
      const name = find(["organization", "organisation", "homedomain", "name"]);
      if (id === -1 || name === -1) throw invalid(`${where}: neither a node id nor columns nodeId and organization`);
      [idAt, nameAt] = [id, name];
      continue;
    }
    const nodeId = cells[idAt] ?? "", organization = cells[nameAt] ?? "";
    if (nodeId === "") throw invalid(`${where}: has no node id`);
    // A node without an organisation is its own affair.
    if (organization !== "") rows.push({ nodeId, organization, where });
  }
  return rows;
}

/** Cells of one line; quoted ones may hold commas and doubled quotes. */
function csvCells(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)]
    .map(([, quoted, bare]) => quoted !== undefined ? quoted.replaceAll('""', '"') : bare.trim());
}

/** What an augmented graph says: `radar_organizationId`, else `radar_homeDomain`; names from `radar_name`. */
export function organizationsOfAttributes(document: SurveyDocument): Organizations {
  const of = new Map<string, string>(), names = new Map<string, string>();
  for (const [nodeId, attributes] of document.attributes) {
    const text = (key: string) => {
      const value = attributes[key];
      return typeof value === "string" && value !== "" ? value : undefined;
    };
    // The id is a hash; the home domain says the same in words when each organisation has one.
    const organization = text("radar_homeDomain") ?? text("radar_organizationId");
    if (organization !== undefined) of.set(nodeId, organization);
    const name = text("radar_name");
    if (name !== undefined) names.set(nodeId, name);
  }
  return { source: of.size === 0 ? "none" : "attributes", of, names };
}
