/** What of a plan matters to surveys: who may survey, who differs then, and nodes with many connections. Pure. */
import { type Random, shuffle } from "../../overlay/base/random.ts";
import { isLive, type SurveyRole, type TwinPlan } from "./node_plan.ts";
import { windowsMeet } from "./profiles.ts";

/** Who may survey a twin, and how many of its nodes differ. Seeds and validators never do. */
export interface TwinSurveyOptions {
  /** Node ids, `G...`; every node that has not opted out permits them. */
  surveyorKeys: readonly string[];
  /** Nodes that permit nobody. Default 0, as all that follow. */
  optOut?: number;
  /** Nodes that join once a survey has begun. */
  late?: number;
  /** Nodes that restart then. */
  restarting?: number;
  /** Nodes that are {@link LAG_LEDGERS} behind. */
  lagging?: number;
}

/** How far nodes lag that `lagging` draws: within the 6 ledgers that survey messages may be away. */
export const LAG_LEDGERS = 3;
/** Connections of a hub. */
const HUB_DEGREE = 60;
/** Share of its new connections that a hub dials, in turn. */
const DIALED_SHARES = [0, 1, 0.5];
/** Source: stellar-core Config.cpp TARGET_PEER_CONNECTIONS, MAX_ADDITIONAL_PEER_CONNECTIONS. */
const TARGET_PEERS = 8;
const ADDITIONAL_PEERS = 64;

/** Gives roles to nodes of a plan, each at most one. When there are fewer nodes than wanted, all of them have one. */
export function drawSurveyRoles(plan: TwinPlan, options: TwinSurveyOptions, random: Random): void {
  plan.surveyorKeys = options.surveyorKeys;
  const free = shuffle(
    random,
    plan.nodes.filter((node) =>
      isLive(node.behaviour) && !node.validator && !plan.seeds.includes(node.index) && node.surveyRole === undefined
    ),
  );
  const give = (role: SurveyRole, count = 0): void => {
    for (const node of free.splice(0, count)) node.surveyRole = role;
  };
  give("opted-out", options.optOut);
  give("late", options.late);
  give("restarting", options.restarting);
  for (const node of free.splice(0, options.lagging ?? 0)) node.lagLedgers = LAG_LEDGERS;
}

/**
 * Makes hubs of `count` nodes: {@link HUB_DEGREE} connections, as far as there are nodes that accept each other. First nodes
 * with a single connection move it to a hub, then hubs get connections on top. There are hubs that are dialed by many, hubs that
 * dial many, and hubs that do both; no other node gets more than a hub has.
 */
export function drawHubs(plan: TwinPlan, count: number, random: Random): void {
  if (count === 0) return;
  const { nodes } = plan;
  const neighbours = nodes.map((node) => new Set(node.links));
  for (const node of nodes) for (const to of node.links) neighbours[to].add(node.index);
  const unlink = (a: number, b: number): void => {
    nodes[a].links = nodes[a].links.filter((to) => to !== b);
    nodes[b].links = nodes[b].links.filter((to) => to !== a);
    neighbours[a].delete(b);
    neighbours[b].delete(a);
  };
  const live = nodes.filter((node) => isLive(node.behaviour)).map((node) => node.index);
  const hubs = shuffle(random, live.filter((i) => !plan.seeds.includes(i) && neighbours[i].size > 1)).slice(0, count);
  for (const [turn, hub] of hubs.entries()) {
    const dialedShare = DIALED_SHARES[turn % DIALED_SHARES.length];
    const others = shuffle(random, [...live]).sort((a, b) =>
      Number(neighbours[b].size === 1) - Number(neighbours[a].size === 1)
    );
    for (const other of others) {
      if (neighbours[hub].size >= HUB_DEGREE) break;
      if (other === hub || neighbours[hub].has(other) || neighbours[other].size >= HUB_DEGREE) continue;
      if (!windowsMeet(nodes[hub], nodes[other])) continue;
      const [only] = neighbours[other];
      if (neighbours[other].size === 1 && !hubs.includes(only) && neighbours[only].size > 1) unlink(other, only);
      const dials = random.next() < dialedShare;
      nodes[dials ? hub : other].links.push(dials ? other : hub);
      neighbours[hub].add(other);
      neighbours[other].add(hub);
    }
  }
}

/** How many peers each node says it wants: at least those it has. A full one wants no more than those. */
export function peerLimitsOf(plan: TwinPlan): { maxInbound: number; maxOutbound: number }[] {
  const inbound = plan.nodes.map(() => 0);
  for (const node of plan.nodes) for (const to of node.links) inbound[to]++;
  return plan.nodes.map(({ behaviour, links }, i) => ({
    maxInbound: behaviour === "full" ? inbound[i] : Math.max(ADDITIONAL_PEERS, inbound[i]),
    maxOutbound: Math.max(TARGET_PEERS, links.length),
  }));
}
