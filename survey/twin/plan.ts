/**
 * The network twin on paper: who is where, how each node behaves, whom it advertises, to whom it connects. Pure: the same
 * options give the same plan, so what a perfect crawl must find is known beforehand (truth.ts).
 */
import { encodeText, readUint32, toHex } from "../../overlay/base/bytes.ts";
import { LOCAL, TESTNET } from "../../overlay/base/networks.ts";
import { parsePeerAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom, shuffle } from "../../overlay/base/random.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import { drawHubs, drawSurveyRoles, type TwinSurveyOptions } from "./survey_roles.ts";
import { drawTopology, type TopologyKind } from "./topology.ts";
import {
  type Behaviour,
  BEHAVIOURS,
  endpointOf,
  isLive,
  type Service,
  type TwinNodePlan,
  type TwinPlan,
} from "./node_plan.ts";
import type { TopologyFile } from "./topology_file.ts";
import { FUTURE_RELEASE, MEETS_MOST, pickRelease, type Release } from "./profiles.ts";

/** Shares of the behaviours, in any unit, and of unused addresses per node. */
export type TwinMix = Record<Behaviour, number> & { dead: number };

/** A mix in which everything happens and most nodes still answer. */
export const DEFAULT_MIX: TwinMix = {
  reachable: 0.5,
  full: 0.24,
  slow: 0.04,
  silent: 0.06,
  banning: 0.04,
  "other-network": 0.05,
  "other-version": 0.03,
  "not-stellar": 0.04,
  dead: 0.2,
};

/** What a plan is made of. */
export interface TwinOptions {
  /** Nodes; ignored when `topology` is a file. */
  nodes: number;
  /** Everything random follows from it. */
  seed: string | number;
  topology: TopologyKind | TopologyFile;
  mix?: Partial<TwinMix>;
  /** Validators; by default {@link defaultValidators}. A topology file names its own. */
  validators?: number;
  /** `loopback`: an address of 127.0.0.0/8 for each node. `ports`: all on 127.0.0.1, with ports from `port` upward. */
  hosts?: "loopback" | "ports";
  /** Default 11625. */
  port?: number;
  /** Connections that a node makes; in a ring it is one. Default 2, above 500 nodes 1. */
  dials?: number;
  /** Nodes with up to 60 connections, in either direction: their lists take several pages of a survey. Default 0. */
  hubs?: number;
  /** Who may survey, and nodes that differ then; the rest of the network is the same without it. */
  survey?: TwinSurveyOptions;
}

/** Validators of a twin of this size: each of their statements crosses every connection, so a large twin has few. */
export function defaultValidators(nodes: number): number {
  return nodes > 500 ? 3 : Math.min(7, Math.ceil(nodes / 5));
}

/** The most nodes a plan can have: the addresses from 127.0.0.2 on, with some left for unused ones. */
export const MAX_NODES = 40_000;

const SEEDS = 3;
const SERVICES: Service[] = ["http", "tls", "ssh"];

/** Plans a twin. The options are taken as valid; a topology file comes from `parseTopology`. */
export function planTwin(options: TwinOptions): TwinPlan {
  const seed = String(options.seed);
  const random = new SeededRandom(readUint32(sha256(encodeText(`twin plan\0${seed}`)), 0));
  const file = typeof options.topology === "object" ? options.topology : undefined;
  const count = file?.nodes.length ?? options.nodes;
  const port = options.port ?? 11625;
  const place = (index: number): Endpoint =>
    options.hosts === "ports" ? { host: "127.0.0.1", port: port + index } : { host: loopbackHost(index), port };
  const node = (index: number, behaviour: Behaviour, validator: boolean, release: Release): TwinNodePlan => ({
    index,
    name: `node-${index}`,
    ...place(index),
    seed: sha256(encodeText(`twin node\0${seed}\0${index}`)),
    behaviour,
    passphrase: behaviour === "other-network" ? TESTNET.passphrase : LOCAL.passphrase,
    ...release,
    validator,
    lagMs: validator ? random.int(800) : 0,
    answerDelayMs: behaviour === "slow" ? 150 + random.int(250) : 0,
    service: SERVICES[random.int(SERVICES.length)],
    book: [],
    links: [],
  });
  const plan: TwinPlan = { passphrase: LOCAL.passphrase, seed, nodes: [], seeds: [] };
  const drawSurvey = (): TwinPlan => {
    const drawn = new SeededRandom(readUint32(sha256(encodeText(`twin survey\0${seed}`)), 0));
    drawHubs(plan, options.hubs ?? 0, drawn);
    if (options.survey !== undefined) drawSurveyRoles(plan, options.survey, drawn);
    return plan;
  };
  if (file !== undefined) {
    placeFile(plan, file, node);
    return drawSurvey();
  }

  const kind = options.topology as TopologyKind;
  const mix = { ...DEFAULT_MIX, ...options.mix };
  const wanted = Math.min(count, options.validators ?? defaultValidators(count));
  // In tiers the validators are the top; elsewhere they are spread evenly.
  const validators = new Set(
    Array.from({ length: wanted }, (_, i) => kind === "tiered" ? i : Math.floor((i * count) / wanted)),
  );
  plan.seeds = Array.from({ length: Math.min(SEEDS, count) }, (_, i) => i);
  const behaviours = drawBehaviours(count, mix, plan.seeds, validators, random);
  for (const [i, behaviour] of behaviours.entries()) {
    const release = behaviour === "other-version"
      ? FUTURE_RELEASE
      : i < SEEDS || validators.has(i)
      ? MEETS_MOST
      : pickRelease(random);
    plan.nodes.push(node(i, behaviour, validators.has(i), release));
  }
  const dead = Array.from({ length: Math.ceil(count * mix.dead) }, (_, i) => place(count + i));
  drawTopology(plan, kind, dead, random, options.dials);
  return drawSurvey();
}

/** 127.0.0.2 upward, without the first and last address of each block of 256. */
function loopbackHost(index: number): string {
  const at = index + 1;
  const block = Math.floor(at / 254);
  return `127.${block >> 8}.${block & 255}.${1 + (at % 254)}`;
}

function drawBehaviours(
  count: number,
  mix: TwinMix,
  seeds: number[],
  validators: ReadonlySet<number>,
  random: SeededRandom,
): Behaviour[] {
  const result: Behaviour[] = new Array(count).fill("reachable");
  const total = BEHAVIOURS.reduce((sum, behaviour) => sum + mix[behaviour], 0);
  const drawn: Behaviour[] = [];
  for (const behaviour of BEHAVIOURS) {
    if (behaviour === "reachable" || mix[behaviour] <= 0) continue;
    const share = Math.round((count * mix[behaviour]) / total);
    // A twin of some size shows every kind at least once.
    const least = count >= 20 ? 1 : 0;
    for (let i = 0; i < Math.max(share, least); i++) drawn.push(behaviour);
  }
  const free = shuffle(
    random,
    Array.from({ length: count }, (_, i) => i).filter((i) => !seeds.includes(i) && !validators.has(i)),
  );
  for (const [i, behaviour] of shuffle(random, drawn).entries()) if (i < free.length) result[free[i]] = behaviour;
  // Some validators have no free slot; their statements reach callers through others.
  if (mix.full > 0) {
    for (const i of validators) if (!seeds.includes(i) && random.next() < 0.25) result[i] = "full";
  }
  return result;
}

function placeFile(
  plan: TwinPlan,
  file: TopologyFile,
  node: (index: number, behaviour: Behaviour, validator: boolean, release: Release) => TwinNodePlan,
): void {
  const indexOf = new Map(file.nodes.map((entry, i) => [entry.name, i]));
  plan.nodes = file.nodes.map((entry, i) => {
    const behaviour = entry.behaviour ?? "reachable";
    const release = behaviour === "other-version" ? FUTURE_RELEASE : MEETS_MOST;
    return {
      ...node(i, behaviour, entry.validator ?? false, {
        versionStr: entry.versionStr ?? release.versionStr,
        overlayVersion: entry.overlayVersion ?? release.overlayVersion,
        overlayMinVersion: entry.overlayMinVersion ?? release.overlayMinVersion,
        ledgerVersion: entry.ledgerVersion ?? release.ledgerVersion,
      }),
      name: entry.name,
      ...(entry.survey === undefined ? {} : { surveyRole: entry.survey }),
      ...(entry.lagLedgers === undefined ? {} : { lagLedgers: entry.lagLedgers }),
    };
  });
  for (const [i, entry] of file.nodes.entries()) {
    plan.nodes[i].book = (entry.book ?? []).map((text) => {
      const index = indexOf.get(text);
      return index === undefined ? parsePeerAddress(text) : endpointOf(plan.nodes[index]);
    });
  }
  for (const [from, to] of file.links ?? []) plan.nodes[indexOf.get(from)!].links.push(indexOf.get(to)!);
  plan.seeds = file.seeds?.map((name) => indexOf.get(name)!) ??
    plan.nodes.filter((entry) => isLive(entry.behaviour)).slice(0, SEEDS).map((entry) => entry.index);
}

/**
 * Delays for a MemoryNetwork: each pair of hosts has its own, between `minMs` and `maxMs`, the same in both directions and
 * in every run with this seed.
 */
export function pairDelays(seed: string | number, minMs: number, maxMs: number): (from: string, to: string) => number {
  /** BOUNDED: by the pairs of hosts that meet in one simulation. */
  const known = new Map<string, number>();
  return (from, to) => {
    const pair = from < to ? `${from} ${to}` : `${to} ${from}`;
    let delayMs = known.get(pair);
    if (delayMs === undefined) {
      const share = readUint32(sha256(encodeText(`twin delay\0${seed}\0${pair}`)), 0) / 2 ** 32;
      known.set(pair, delayMs = minMs + share * (maxMs - minMs));
    }
    return delayMs;
  };
}

/** A short name of a plan, for logs: the hash of everything that callers can see of it. */
export function planDigest(plan: TwinPlan): string {
  const visible = plan.nodes.map((node) => ({ ...node, seed: toHex(node.seed) }));
  return toHex(sha256(encodeText(JSON.stringify([plan.passphrase, plan.seeds, visible])))).slice(0, 16);
}
