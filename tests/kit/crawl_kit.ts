/** Crawls in virtual time: of the network twin, and of a small fleet of well-behaved or hostile nodes that counts its callers. */
import assert from "node:assert/strict";
import { toHex } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { LOCAL, TESTNET } from "../../overlay/base/networks.ts";
import { wireOfAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer } from "../../overlay/peer/peer.ts";
import { MemoryNetwork, type MemoryNetworkOptions } from "../../overlay/transport/memory.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { crawl, type CrawlOptions, type CrawlReport } from "../../survey/crawl/crawler.ts";
import { crawlDocument } from "../../survey/crawl/report.ts";
import type { TwinPlan } from "../../survey/twin/node_plan.ts";
import { pairDelays } from "../../survey/twin/plan.ts";
import { seedAddresses, type TwinTruth, twinTruth } from "../../survey/twin/truth.ts";
import { Twin, type TwinSettings } from "../../survey/twin/twin.ts";

/** A simulated place to crawl from. */
export interface CrawlWorld {
  clock: VirtualClock;
  random: SeededRandom;
  network: MemoryNetwork;
  /** Options of a crawl from host 127.9.9.9, with what `more` says on top. */
  options(more: Partial<CrawlOptions> & Pick<CrawlOptions, "seeds">): CrawlOptions;
  /** Runs a crawl to its end. */
  crawl(more: Partial<CrawlOptions> & Pick<CrawlOptions, "seeds">): Promise<CrawlReport>;
}

/** Where the crawls come from. */
export const CRAWLER_HOST = "127.9.9.9";

/** Makes the place; the same seed gives the same run. */
export function crawlWorld(seed: number, more: Omit<MemoryNetworkOptions, "clock"> = {}): CrawlWorld {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const network = new MemoryNetwork({ clock, ...more });
  const local = new LocalNode({ passphrase: LOCAL.passphrase, clock, random });
  const onTestnet = new LocalNode({ passphrase: TESTNET.passphrase, clock, random });
  const world: CrawlWorld = {
    clock,
    random,
    network,
    options: (options) => ({
      network: LOCAL,
      local,
      otherNetworks: [{ name: "testnet", local: onTestnet }],
      transport: network.transport(CRAWLER_HOST),
      resolver: network,
      clock,
      random,
      budget: { dialsPerSecond: Infinity },
      ...options,
    }),
    crawl: (options) => clock.run(crawl(world.options(options))),
  };
  return world;
}

/** A running twin with a place to crawl it from. */
export interface TwinWorld extends CrawlWorld {
  plan: TwinPlan;
  twin: Twin;
  seeds: string[];
}

/** Starts a twin in virtual time; each pair of hosts has a delay of 1 to 60 ms. */
export async function twinWorld(plan: TwinPlan, settings: Partial<TwinSettings> = {}): Promise<TwinWorld> {
  const world = crawlWorld(7, { delayMs: pairDelays(plan.seed, 1, 60) });
  const { clock, network } = world;
  const twin = new Twin(plan, {
    clock,
    random: new SeededRandom(11),
    transportFor: (host) => network.transport(host),
    ...settings,
  });
  await clock.run(twin.start());
  return { ...world, plan, twin, seeds: seedAddresses(plan) };
}

/**
 * What truth and document are compared by. The truth knows no entries with unusable ports and no codes of skipped addresses:
 * both are left out. `listened` compares who validates.
 */
export function comparable(report: CrawlReport, listened: boolean): TwinTruth {
  const document = crawlDocument(report);
  const bad = new Set(document.addresses.filter((row) => row.code === "bad_port").map((row) => row.address));
  const byText = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;
  return {
    nodes: document.nodes.map((row) => ({
      nodeId: row.nodeId,
      addresses: row.addresses,
      state: row.state as TwinTruth["nodes"][number]["state"],
      versionStr: row.versionStr!,
      overlayVersion: row.overlayVersion!,
      overlayMinVersion: row.overlayMinVersion!,
      ledgerVersion: row.ledgerVersion!,
      validating: listened ? row.validating ?? false : false,
      advertises: row.advertises.filter((address) => !bad.has(address)),
    })),
    addresses: document.addresses.filter((row) => !bad.has(row.address)).map((row) => ({
      address: row.address,
      state: row.state as TwinTruth["addresses"][number]["state"],
      code: (row.state === "skipped" ? null : row.code) as TwinTruth["addresses"][number]["code"],
    })).sort((a, b) => byText(a.address, b.address)),
    edges: document.edges.filter((edge) => !bad.has(edge.to)).sort((a, b) =>
      byText(a.from, b.from) || byText(a.to, b.to)
    ),
  };
}

/** The truth of a plan, without who validates unless `listened`. */
export function comparableTruth(plan: TwinPlan, listened: boolean): TwinTruth {
  const truth = twinTruth(plan);
  if (!listened) { for (const node of truth.nodes) node.validating = false; }
  return truth;
}

/** Fails with the first difference when a crawl did not find the truth. */
export function assertTruth(report: CrawlReport, plan: TwinPlan, listened: boolean): void {
  const found = comparable(report, listened), truth = comparableTruth(plan, listened);
  assert.deepEqual(found.addresses, truth.addresses);
  assert.deepEqual(found.nodes, truth.nodes);
  assert.deepEqual(found.edges, truth.edges);
}

/** One node of a {@link FakeFleet}. */
export interface FakeNode extends Endpoint {
  /** Address book, told to each caller in turn. */
  peers: () => Endpoint[];
  /** Nodes with the same word are one node, which lets each caller in once at a time. */
  identity?: string;
}

/** A fleet that admits everybody and counts who came. */
export class FakeFleet {
  /** When each caller was accepted, ms. */
  readonly acceptedMs: number[] = [];
  readonly peakByHost = new Map<string, number>();
  readonly peakBySubnet = new Map<string, number>();
  peak = 0;
  #open = 0;
  readonly #openBy = new Map<string, number>();

  constructor(world: CrawlWorld, nodes: FakeNode[]) {
    const shared = new Map<string, { local: LocalNode; callers: Map<string, Peer> }>();
    for (const node of nodes) {
      const known = node.identity === undefined ? undefined : shared.get(node.identity);
      const callers = known?.callers ?? new Map<string, Peer>();
      const local = known?.local ?? new LocalNode({
        passphrase: LOCAL.passphrase,
        clock: world.clock,
        random: world.random,
        listeningPort: node.port,
        versionStr: "fake",
        overlayVersion: 41,
        overlayMinVersion: 38,
      });
      if (node.identity !== undefined) shared.set(node.identity, { local, callers });
      void world.network.transport(node.host).listen(node, (socket) => {
        this.#count(node.host, 1);
        this.acceptedMs.push(world.clock.nowMs());
        new Peer({
          role: "remoteCalledUs",
          socket,
          local,
          clock: world.clock,
          random: world.random,
          handlers: {
            duplicateOf: (peer, nodeId) => {
              const other = callers.get(toHex(nodeId));
              return other === undefined || other === peer ? undefined : "other";
            },
            onHello: (peer) => {
              const id = toHex(peer.nodeId!);
              if (node.identity !== undefined && !callers.has(id)) callers.set(id, peer);
            },
            peersToSend: () => node.peers().map((at): WireAddress => ({ ...wireOfAddress(at)!, numFailures: 0 })),
            onMessage: (peer, message) => {
              if (message.type !== 9) return;
              peer.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.bytes.slice(4, 36) } });
            },
            onDropped: (peer) => {
              this.#count(node.host, -1);
              if (peer.nodeId !== undefined && callers.get(toHex(peer.nodeId)) === peer) {
                callers.delete(toHex(peer.nodeId));
              }
            },
          },
        });
      });
    }
  }

  /** Most callers accepted within any second. */
  get busiestSecond(): number {
    let most = 0;
    for (let from = 0, to = 0; to < this.acceptedMs.length; to++) {
      while (this.acceptedMs[to] - this.acceptedMs[from] >= 1000) from++;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }

  #count(host: string, by: number): void {
    const subnet = host.slice(0, host.lastIndexOf("."));
    this.#open += by;
    this.peak = Math.max(this.peak, this.#open);
    for (const [key, peaks] of [[host, this.peakByHost], [subnet, this.peakBySubnet]] as const) {
      const open = (this.#openBy.get(key) ?? 0) + by;
      this.#openBy.set(key, open);
      peaks.set(key, Math.max(peaks.get(key) ?? 0, open));
    }
  }
}

/** How many of a list of states are in one. */
export function countOf(counts: readonly { state: string; count: number }[], state: string): number {
  return counts.find((row) => row.state === state)?.count ?? 0;
}
