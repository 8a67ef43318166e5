/** A network drawn by hand: the JSON document of `simulate --topology FILE`, read and checked. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { ipVersion, parsePeerAddress } from "../../overlay/base/peer_address.ts";
import { type Behaviour, BEHAVIOURS, isLive, MAX_BOOK, SURVEY_ROLES, type SurveyRole } from "./node_plan.ts";

/** One node of a {@link TopologyFile}. */
export interface TopologyNode {
  /** Unique in the file; has no ':'. */
  name: string;
  /** Default "reachable". */
  behaviour?: Behaviour;
  /** Signs SCP statements. Only a node that takes part in the network can: reachable, full or slow. */
  validator?: boolean;
  /** At most 100 bytes. */
  versionStr?: string;
  overlayVersion?: number;
  overlayMinVersion?: number;
  ledgerVersion?: number;
  /** Address book, at most 50 entries: names, or `ip:port` for addresses outside the fleet. */
  book?: string[];
  /** What it does when the network is surveyed. Only a node that takes part in the network has a role. */
  survey?: SurveyRole;
  /** Ledgers it is behind when it judges survey messages. */
  lagLedgers?: number;
}

/** A whole network. */
export interface TopologyFile {
  nodes: TopologyNode[];
  /** Connections the nodes make among themselves at start: the first one dials. */
  links?: [string, string][];
  /** Names whose addresses are printed to start a crawl from; by default the first three nodes that take part. */
  seeds?: string[];
}

const NODE_FIELDS = new Set([
  "name",
  "behaviour",
  "validator",
  "versionStr",
  "overlayVersion",
  "overlayMinVersion",
  "ledgerVersion",
  "book",
  "survey",
  "lagLedgers",
]);

/**
 * Reads and checks the document. `path` is named in failures.
 * @throws OverlayError `config_invalid` saying which field is wrong
 */
export function parseTopology(text: string, path: string): TopologyFile {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new OverlayError({ code: "config_invalid", path, reason: `not JSON: ${(error as Error).message}` }, {
      cause: error,
    });
  }
  return checkTopology(document, path);
}

/**
 * Checks a document of any origin.
 * @throws OverlayError `config_invalid` saying which field is wrong
 */
export function checkTopology(document: unknown, path: string): TopologyFile {
  const check = (ok: boolean, reason: string): void => {
    if (!ok) throw new OverlayError({ code: "config_invalid", path, reason });
  };
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const noOther = (value: Record<string, unknown>, known: Set<string>, at: string): void => {
    for (const field of Object.keys(value)) check(known.has(field), `${at}${field}: no such field`);
  };

  check(isObject(document), "the document must be an object with nodes");
  const file = document as Record<string, unknown>;
  noOther(file, new Set(["nodes", "links", "seeds"]), "");
  check(Array.isArray(file.nodes) && file.nodes.length > 0, "nodes: must be a list of at least one node");
  const nodes = file.nodes as unknown[];
  const byName = new Map<string, TopologyNode>();
  for (const [i, node] of nodes.entries()) {
    const at = `nodes[${i}].`;
    check(isObject(node), `nodes[${i}]: must be an object`);
    const { name, behaviour, validator, versionStr, book, survey, ...numbers } = node as Record<string, unknown>;
    noOther(node as Record<string, unknown>, NODE_FIELDS, at);
    check(typeof name === "string" && name !== "" && !name.includes(":"), `${at}name: must be a text without ':'`);
    check(!byName.has(name as string), `${at}name: '${name}' is taken`);
    check(
      behaviour === undefined || BEHAVIOURS.includes(behaviour as Behaviour),
      `${at}behaviour: one of ${BEHAVIOURS.join(", ")}`,
    );
    check(validator === undefined || typeof validator === "boolean", `${at}validator: must be true or false`);
    check(
      validator !== true || isLive((behaviour ?? "reachable") as Behaviour),
      `${at}validator: a node that is ${behaviour} takes no part in the network`,
    );
    check(
      survey === undefined || SURVEY_ROLES.includes(survey as SurveyRole),
      `${at}survey: one of ${SURVEY_ROLES.join(", ")}`,
    );
    check(
      survey === undefined || isLive((behaviour ?? "reachable") as Behaviour),
      `${at}survey: a node that is ${behaviour} takes no part in the network`,
    );
    check(
      versionStr === undefined ||
        (typeof versionStr === "string" && new TextEncoder().encode(versionStr).length <= 100),
      `${at}versionStr: must be a text of at most 100 bytes`,
    );
    for (const [field, value] of Object.entries(numbers)) {
      check(
        Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff,
        `${at}${field}: must be a uint32`,
      );
    }
    check(
      book === undefined ||
        (Array.isArray(book) && book.length <= MAX_BOOK && book.every((entry) => typeof entry === "string")),
      `${at}book: must be a list of at most ${MAX_BOOK} texts`,
    );
    byName.set(name as string, node as unknown as TopologyNode);
  }
  for (const [i, node] of (nodes as TopologyNode[]).entries()) {
    for (const [j, entry] of (node.book ?? []).entries()) {
      const at = `nodes[${i}].book[${j}]`;
      if (!entry.includes(":")) check(byName.has(entry), `${at}: no node is named '${entry}'`);
      else check(isIpAddress(entry), `${at}: '${entry}' is not ip:port`);
    }
  }
  check(file.links === undefined || Array.isArray(file.links), "links: must be a list of pairs of names");
  const pairs = new Set<string>();
  for (const [i, link] of ((file.links ?? []) as unknown[]).entries()) {
    check(Array.isArray(link) && link.length === 2, `links[${i}]: must be a pair of names`);
    const [from, to] = link as [string, string];
    for (const name of [from, to]) {
      check(byName.has(name), `links[${i}]: no node is named '${name}'`);
      check(isLive(byName.get(name)!.behaviour ?? "reachable"), `links[${i}]: '${name}' takes no part in the network`);
    }
    check(from !== to, `links[${i}]: '${from}' cannot connect to itself`);
    const pair = JSON.stringify([from, to].sort());
    check(!pairs.has(pair), `links[${i}]: '${from}' and '${to}' are linked already`);
    pairs.add(pair);
  }
  check(
    file.seeds === undefined ||
      (Array.isArray(file.seeds) && file.seeds.length > 0 && file.seeds.every((name) => byName.has(name))),
    "seeds: must be a list of names of nodes",
  );
  return document as TopologyFile;
}

function isIpAddress(text: string): boolean {
  try {
    return ipVersion(parsePeerAddress(text).host) !== 0;
  } catch {
    return false;
  }
}
