/** What a perfect crawl of a twin finds, in the shape of the crawl document: the yardstick for every crawler. */
import type { FailureCode } from "../../overlay/base/errors.ts";
import { formatAddress, kindOfIp } from "../../overlay/base/peer_address.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { SkipCode } from "../crawl/frontier.ts";
import type { VisitState } from "../probe/visit.ts";
import { type Behaviour, isLive, type TwinNodePlan, type TwinPlan } from "./node_plan.ts";
import { windowsMeet } from "./profiles.ts";
import { componentsOf } from "./topology.ts";

/** A node whose identity a crawl learns. */
export interface TruthNode {
  nodeId: string;
  /** `ip:port`; a node of the twin has one. */
  addresses: string[];
  state: VisitState;
  versionStr: string;
  overlayVersion: number;
  overlayMinVersion: number;
  ledgerVersion: number;
  /** Its SCP statements can be heard at a node that admits the crawler. */
  validating: boolean;
  /** Entries of its PEERS, `ip:port` or `[v6]:port`, sorted; empty when they are not to be followed. */
  advertises: string[];
}

/** An address a crawl meets, as a seed or in PEERS. */
export interface TruthAddress {
  address: string;
  /** `skipped`: not dialed, by policy. */
  state: VisitState | "skipped";
  /** Null when reachable or full; when skipped, as {@link TruthOptions.skipCodes} says. */
  code: FailureCode | SkipCode | null;
}

/** An entry of somebody's PEERS. */
export interface TruthEdge {
  from: string;
  to: string;
  kind: "advertised";
}

/** The result of a perfect crawl. Nodes are ordered by id, addresses and edges by their text. */
export interface TwinTruth {
  nodes: TruthNode[];
  addresses: TruthAddress[];
  edges: TruthEdge[];
}

/** What the crawler is allowed to do. Loopback is taken as allowed: the twin lives there. */
export interface TruthOptions {
  /** It dials private addresses too. Nothing of the twin is there, so they are dead, for a reason that depends on the machine. */
  allowPrivate?: boolean;
  /**
   * Say why an address is skipped, and list entries with ports that no socket has as well: exactly what our own crawl
   * document holds. Without it skipped addresses have no code, and such entries are left out everywhere.
   */
  skipCodes?: boolean;
}

/** Result of a visit to a node of each behaviour by a crawler that tries other known networks after a silent close. */
const OUTCOMES: Record<Behaviour, { state: VisitState; code: FailureCode | null; identified: boolean }> = {
  reachable: { state: "reachable", code: null, identified: true },
  slow: { state: "reachable", code: null, identified: true },
  full: { state: "full", code: null, identified: true },
  silent: { state: "silent", code: "no_answer", identified: false },
  banning: { state: "silent", code: "silent_close", identified: false },
  "other-network": { state: "other-network", code: "network_mismatch", identified: true },
  "other-version": { state: "refused", code: "wrong_version", identified: true },
  "not-stellar": { state: "not-stellar", code: "not_stellar", identified: false },
};

/** Node id of a planned node, `G...`. */
export function nodeIdOf(node: TwinNodePlan): string {
  return encodeNodeId(primitives.signingKey(node.seed).publicKey);
}

/** The addresses to start from: `ip:port` of the plan's seeds. */
export function seedAddresses(plan: TwinPlan): string[] {
  return plan.seeds.map((index) => formatAddress(plan.nodes[index]));
}

/** What a perfect crawl from `seeds` (`ip:port`) finds. */
export function twinTruth(
  plan: TwinPlan,
  seeds: readonly string[] = seedAddresses(plan),
  options: TruthOptions = {},
): TwinTruth {
  const nodeAt = new Map(plan.nodes.map((node) => [formatAddress(node), node]));
  const books = new Map<TwinNodePlan, string[]>();
  const met = new Set(seeds);
  // The set grows while it is walked: that is the crawl.
  for (const address of met) {
    const node = nodeAt.get(address);
    if (node === undefined || !isLive(node.behaviour) || books.has(node)) continue;
    const told = node.book.filter((entry) => options.skipCodes === true || hasUsablePort(entry.port));
    const entries = [...new Set(told.map(formatAddress))].sort();
    books.set(node, entries);
    for (const entry of entries) met.add(entry);
  }

  const visited = [...met].sort();
  const found = visited.map((address) => nodeAt.get(address)).filter((node) => node !== undefined);
  const heard = validatorsHeard(plan, found);
  const nodes: TruthNode[] = [], edges: TruthEdge[] = [];
  for (const node of found) {
    const { state, identified } = OUTCOMES[node.behaviour];
    if (!identified) continue;
    const nodeId = nodeIdOf(node);
    const { versionStr, overlayVersion, overlayMinVersion, ledgerVersion } = node;
    const advertises = books.get(node) ?? [];
    nodes.push({
      nodeId,
      addresses: [formatAddress(node)],
      state,
      versionStr,
      overlayVersion,
      overlayMinVersion,
      ledgerVersion,
      validating: heard.has(node),
      advertises,
    });
    for (const to of advertises) edges.push({ from: nodeId, to, kind: "advertised" });
  }
  const byText = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;
  return {
    nodes: nodes.sort((a, b) => byText(a.nodeId, b.nodeId)),
    addresses: visited.map((address) => addressTruth(address, nodeAt.get(address), options)),
    edges: edges.sort((a, b) => byText(a.from, b.from) || byText(a.to, b.to)),
  };
}

function addressTruth(address: string, node: TwinNodePlan | undefined, options: TruthOptions): TruthAddress {
  if (node !== undefined) {
    const { state, code } = OUTCOMES[node.behaviour];
    return { address, state, code };
  }
  const skipped = (code: SkipCode): TruthAddress => ({
    address,
    state: "skipped",
    code: options.skipCodes ? code : null,
  });
  const colon = address.lastIndexOf(":");
  if (!hasUsablePort(Number(address.slice(colon + 1)))) return skipped("bad_port");
  const kind = kindOfIp(address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"));
  if (kind === "loopback" || kind === "public") return { address, state: "dead", code: "connect_refused" };
  if (kind !== "private" && kind !== "sharedNat" && kind !== "benchmark") return skipped("unroutable_address");
  return options.allowPrivate ? { address, state: "dead", code: null } : skipped("private_address");
}

/** Whether a socket can have the port. PEERS carries any uint32. */
function hasUsablePort(port: number): boolean {
  return port >= 1 && port <= 65535;
}

/** Validators whose statements reach a node that was visited and admits callers. */
function validatorsHeard(plan: TwinPlan, visited: TwinNodePlan[]): Set<TwinNodePlan> {
  const links = plan.nodes.map((node) => node.links.filter((to) => windowsMeet(node, plan.nodes[to])));
  const component = componentsOf(links);
  const ears = new Set(
    visited.filter((node) => isLive(node.behaviour) && node.behaviour !== "full").map((node) => component[node.index]),
  );
  return new Set(plan.nodes.filter((node) => node.validator && ears.has(component[node.index])));
}
