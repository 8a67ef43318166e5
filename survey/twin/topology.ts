/**
 * Draws who advertises whom and who connects to whom, then repairs both: every node of the plan can be found from the seeds
 * by following the books of nodes that answer, and the connections join all nodes that take part.
 */
import { type Random, shuffle } from "../../overlay/base/random.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import { endpointOf, isLive, MAX_BOOK, type TwinPlan } from "./node_plan.ts";
import { windowsMeet } from "./profiles.ts";

/** `ring`: each knows the next few. `random`: each knows some. `tiered`: validators, a middle, leaves. */
export type TopologyKind = "ring" | "random" | "tiered";
/** All kinds. */
export const TOPOLOGY_KINDS: readonly TopologyKind[] = ["ring", "random", "tiered"];

/** Neighbours a node of a ring knows. */
const RING_REACH = 8;
/** Above this size a node has one connection of its own less, so that the whole twin starts in seconds. */
const LARGE = 500;
/** Room left in a book for entries that the repair adds. */
const DRAWN_BOOK = MAX_BOOK - 10;

/**
 * Fills `book` and `links` of every node. `dead` are addresses where nobody listens; `dials` is how many connections a node
 * makes, if the kind does not say.
 */
export function drawTopology(
  plan: TwinPlan,
  kind: TopologyKind,
  dead: Endpoint[],
  random: Random,
  dials = plan.nodes.length > LARGE ? 1 : 2,
): void {
  const count = plan.nodes.length;
  const books = plan.nodes.map((node) =>
    node.behaviour === "other-network" ? new Set<number>() : drawBook(plan, kind, node.index, random)
  );
  const links = drawLinks(plan, kind, random, dials);
  joinComponents(plan, links, random);
  for (const [a, targets] of links.entries()) {
    for (const b of targets) {
      plan.nodes[a].links.push(b);
      if (books[a].size < MAX_BOOK) books[a].add(b);
    }
  }
  repairReach(plan, books, random);
  const strangers = plan.nodes.filter((node) => node.behaviour === "other-network");
  for (const node of plan.nodes) {
    const entries = [...books[node.index]].map((i) => endpointOf(plan.nodes[i]));
    if (node.behaviour === "other-network") {
      // Known only to a network that is not ours: who follows this book leaves the network.
      for (const other of strangers) if (other !== node && entries.length < 3) entries.push(endpointOf(other));
      entries.push({ host: "127.77.0.1", port: node.port });
    } else if (isLive(node.behaviour)) {
      addStrayEntries(entries, node, count, dead, random);
    } else entries.length = 0;
    node.book = shuffle(random, entries);
  }
}

/** Entries that no crawl should stumble over: dead, private, and forms that cannot be dialed. */
function addStrayEntries(entries: Endpoint[], node: Endpoint, count: number, dead: Endpoint[], random: Random): void {
  const add = (entry: Endpoint): void => {
    const known = entries.some((other) => other.host === entry.host && other.port === entry.port);
    if (entries.length < MAX_BOOK && !known) entries.push(entry);
  };
  if (dead.length > 0) { for (let i = random.int(4); i > 0; i--) add(dead[random.int(dead.length)]); }
  if (count < 4) return;
  const chance = (share: number): boolean => random.next() < share;
  if (chance(0.12)) add({ host: `10.${random.int(256)}.${random.int(256)}.${1 + random.int(254)}`, port: 11625 });
  if (chance(0.08)) add({ host: `192.168.${random.int(256)}.${1 + random.int(254)}`, port: 11625 });
  if (chance(0.04)) add({ host: `fd00::${(1 + random.int(0xfffe)).toString(16)}`, port: 11625 });
  if (chance(0.04)) add({ host: node.host, port: 0 });
  if (chance(0.02)) add({ host: node.host, port: 70_000 });
}

function sample(random: Random, from: readonly number[], n: number, into: Set<number>, self: number): void {
  for (let tries = 0, added = 0; tries < 4 * n && added < n && into.size < DRAWN_BOOK && from.length > 0; tries++) {
    const pick = from[random.int(from.length)];
    if (pick === self || into.has(pick)) continue;
    into.add(pick);
    added++;
  }
}

/** Tiers as ranges of indices: the validators are first. */
function tiersOf(plan: TwinPlan): { top: number[]; middle: number[]; leaves: number[] } {
  const count = plan.nodes.length;
  const validators = plan.nodes.filter((node) => node.validator).length;
  const top = Math.min(count, Math.max(3, validators));
  const middle = Math.min(count - top, Math.max(1, Math.round(count / 5)));
  const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  return { top: range(0, top), middle: range(top, top + middle), leaves: range(top + middle, count) };
}

function drawBook(plan: TwinPlan, kind: TopologyKind, self: number, random: Random): Set<number> {
  const count = plan.nodes.length;
  const book = new Set<number>();
  switch (kind) {
    case "ring":
      for (let step = 1; step <= Math.min(RING_REACH, count - 1); step++) book.add((self + step) % count);
      break;
    case "random": {
      const n = Math.min(count - 1, 6 + random.int(24));
      for (let tries = 0; book.size < n && tries < 4 * n; tries++) {
        const pick = random.int(count);
        if (pick !== self) book.add(pick);
      }
      break;
    }
    case "tiered": {
      const { top, middle, leaves } = tiersOf(plan);
      if (self < top.length) {
        sample(random, top, top.length, book, self);
        sample(random, middle, 24, book, self);
      } else if (self < top.length + middle.length) {
        sample(random, top, 6, book, self);
        sample(random, middle, 10, book, self);
        sample(random, leaves, 14, book, self);
      } else {
        sample(random, top, 2, book, self);
        sample(random, middle, 6, book, self);
        sample(random, leaves, 4, book, self);
      }
      break;
    }
  }
  return book;
}

/** Who dials whom, one direction per pair. */
function drawLinks(plan: TwinPlan, kind: TopologyKind, random: Random, own: number): Set<number>[] {
  const { nodes } = plan;
  const links = nodes.map(() => new Set<number>());
  const live = nodes.filter((node) => isLive(node.behaviour)).map((node) => node.index);
  const link = (a: number, b: number): boolean => {
    if (a === b || links[a].has(b) || links[b].has(a) || !windowsMeet(nodes[a], nodes[b])) return false;
    links[a].add(b);
    return true;
  };
  const some = (a: number, from: readonly number[], n: number): void => {
    for (let tries = 0, made = 0; tries < 20 && made < n && from.length > 0; tries++) {
      if (link(a, from[random.int(from.length)])) made++;
    }
  };
  if (kind === "ring") {
    for (const [at, a] of live.entries()) {
      for (let step = 1; step < live.length; step++) if (link(a, live[(at + step) % live.length])) break;
    }
  } else if (kind === "random") {
    for (const [at, a] of live.entries()) some(a, live.slice(0, at), own);
  } else {
    const tiers = tiersOf(plan);
    const alive = (tier: number[]) => tier.filter((i) => isLive(nodes[i].behaviour));
    const top = alive(tiers.top), middle = alive(tiers.middle), leaves = alive(tiers.leaves);
    for (const a of top) for (const b of top) if (a < b) link(a, b);
    for (const a of middle) some(a, top, own);
    for (const a of leaves) some(a, middle.length > 0 ? middle : top, own);
  }
  return links;
}

/** Component of each node by its connections; a node without any is alone. */
export function componentsOf(links: readonly Iterable<number>[]): number[] {
  const parent = links.map((_, i) => i);
  const root = (i: number): number => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  for (const [a, targets] of links.entries()) for (const b of targets) parent[root(a)] = root(b);
  return parent.map((_, i) => root(i));
}

/** Connects what is apart, as far as overlay versions allow. */
function joinComponents(plan: TwinPlan, links: Set<number>[], random: Random): void {
  const live = shuffle(random, plan.nodes.filter((node) => isLive(node.behaviour)).map((node) => node.index));
  for (let joined = true; joined;) {
    joined = false;
    const component = componentsOf(links);
    const main = component[plan.seeds[0]];
    const inMain = live.filter((i) => component[i] === main);
    const done = new Set<number>();
    for (const a of live) {
      if (component[a] === main || done.has(component[a])) continue;
      const b = inMain.find((i) => windowsMeet(plan.nodes[a], plan.nodes[i]));
      if (b === undefined) continue;
      links[a].add(b);
      done.add(component[a]);
      joined = true;
    }
  }
}

/** Adds entries until every node is found from the seeds by books of nodes that answer PEERS. */
function repairReach(plan: TwinPlan, books: Set<number>[], random: Random): void {
  const { nodes } = plan;
  const found = new Set(plan.seeds);
  const tellers: number[] = [];
  const follow = (from: number): void => {
    const queue = [from];
    for (let at = 0; at < queue.length; at++) {
      const i = queue[at];
      if (!isLive(nodes[i].behaviour)) continue;
      tellers.push(i);
      for (const next of books[i]) {
        if (found.has(next)) continue;
        found.add(next);
        queue.push(next);
      }
    }
  };
  for (const seed of plan.seeds) follow(seed);
  // Nodes that answer come first: one entry for them often brings many others.
  const missing = [...nodes.keys()].sort((a, b) =>
    Number(isLive(nodes[b].behaviour)) - Number(isLive(nodes[a].behaviour)) || a - b
  );
  for (const i of missing) {
    if (found.has(i)) continue;
    const start = random.int(tellers.length);
    for (let step = 0; step < tellers.length; step++) {
      const teller = tellers[(start + step) % tellers.length];
      if (books[teller].size >= MAX_BOOK) continue;
      books[teller].add(i);
      break;
    }
    found.add(i);
    follow(i);
  }
}
