/**
 * A network of whole engines: nodes with address books, bans and dial plans of their own. In virtual time on links that a
 * test may spoil, or in real time over TCP on this machine; the same scenario runs on both.
 */
import assert from "node:assert/strict";
import { type Clock, sleep, systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { configure, type OverlayConfigChanges, standalone } from "../../overlay/base/config.ts";
import { formatAddress, type PeerAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { type SigningKey, signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { openDatabase } from "../../overlay/db/database.ts";
import type { PeerType } from "../../overlay/db/random_peer_source.ts";
import { migrate } from "../../overlay/db/schema.ts";
import {
  type OverlayEvent,
  OverlayManager,
  type OverlayManagerOptions,
} from "../../overlay/manager/overlay_manager.ts";
import { MemoryNetwork, type MemoryNetworkOptions } from "../../overlay/transport/memory.ts";
import { FaultyStream, type StreamFaults } from "../../overlay/transport/memory_faults.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Resolver, Socket, Transport } from "../../overlay/transport/transport.ts";

/** The network all nodes are of, unless a test says otherwise. */
export const PASSPHRASE = "Standalone Network ; February 2017";
/** Port of the nodes in virtual time; each has a host of its own there. */
const PORT = 11625;
/** How often a condition is looked at, ms. */
const STEP_MS = 100;
const REAL_STEP_MS = 5;

export interface EngineWorldOptions {
  /** Over TCP on 127.0.0.1 in real time, instead of in memory in virtual time. */
  tcp?: boolean;
  /** Of everything random; the same seed gives the same run in virtual time. */
  seed?: number;
  /** One-way delay in memory, ms; 10 by default. */
  delayMs?: MemoryNetworkOptions["delayMs"];
  /** Fate of a dial to an address in memory where nobody listens; refused by default. */
  fate?: MemoryNetworkOptions["fate"];
  /** Links without {@link EngineWorld.spoil}: cheaper, for networks of a hundred nodes. */
  sound?: boolean;
  /** For every node; those of a node go first. */
  config?: OverlayConfigChanges;
}

/** What a node is made of; engine options go first. */
export interface EngineNodeOptions extends Partial<Omit<OverlayManagerOptions, "config" | "clock">> {
  config?: OverlayConfigChanges;
  /** Its place; an earlier node there must have stopped. Default: the next one. */
  index?: number;
  /** Done with the engine before it starts. */
  before?: (engine: OverlayManager) => void;
}

/** A connection that ended, as one side saw it. */
export type DroppedEvent = Extract<OverlayEvent, { event: "dropped" }>;

/** An engine and what it was heard to say. */
export class EngineNode {
  readonly events: OverlayEvent[] = [];
  /** Streams this node writes, by where they go: those still open and those that ended. BOUNDED: by the test. */
  readonly streams: FaultyStream[] = [];

  constructor(
    readonly index: number,
    readonly engine: OverlayManager,
    readonly address: PeerAddress,
    readonly key: SigningKey,
  ) {}

  get id(): string {
    return this.engine.local.nodeIdText;
  }

  /** How this node's connections ended, in order: all, or those with another node. */
  drops(other?: EngineNode): DroppedEvent[] {
    return this.events.filter((event): event is DroppedEvent =>
      event.event === "dropped" && (other === undefined || event.nodeId === other.id || isAt(event.address, other))
    );
  }

  /** {@link drops} in words: "us: idle timeout". */
  reasons(other?: EngineNode): string[] {
    return this.drops(other).map(({ by, reason }) => `${by}: ${reason}`);
  }

  /** How the address book knows another node; undefined when it does not. */
  knows(other: EngineNode | PeerAddress): PeerType | undefined {
    const { record, known } = this.engine.peerManager.load("engine" in other ? other.address : other);
    return known ? record.type : undefined;
  }

  /** Failures the address book holds against an address; undefined when it does not know it. */
  failures(other: EngineNode | PeerAddress): number | undefined {
    const { record, known } = this.engine.peerManager.load("engine" in other ? other.address : other);
    return known ? record.numFailures : undefined;
  }

  /** Whether the peers of this node, authenticated and admitted, include another. */
  has(other: EngineNode): boolean {
    return this.engine.peers().some((peer) => peer.nodeId === other.id);
  }

  /** Dials another node now. */
  dial(other: EngineNode | PeerAddress): void {
    const address = "engine" in other ? other.address : other;
    assert.ok(this.engine.connect(address), `${this} cannot dial ${formatAddress(address)}`);
  }

  toString(): string {
    return `node ${this.index} (${this.engine})`;
  }
}

/** See the head of this file. Use with `await using`, so that everything stops. */
export class EngineWorld implements AsyncDisposable {
  readonly clock: Clock;
  readonly random: SeededRandom;
  /** By index. */
  readonly nodes: EngineNode[] = [];
  /** In memory only. */
  readonly memory: MemoryNetwork | undefined;
  readonly #virtual: VirtualClock | undefined;
  readonly #options: EngineWorldOptions;
  readonly #tcp = new TcpTransport();
  /** Ports taken for nodes over TCP, by index. */
  readonly #ports: number[] = [];
  /** Faults of links to come: "from>to" by host. */
  readonly #faults = new Map<string, Partial<StreamFaults>>();
  readonly #stopped = new Set<EngineNode>();

  constructor(options: EngineWorldOptions = {}) {
    this.#options = options;
    this.random = new SeededRandom(options.seed ?? 1);
    if (options.tcp) {
      this.clock = systemClock;
    } else {
      this.clock = this.#virtual = new VirtualClock();
      const { delayMs = () => 10, fate } = options;
      this.memory = new MemoryNetwork({ clock: this.clock, delayMs, fate });
    }
  }

  /** Where the node with an index is, whether it exists or not. */
  async addressOf(index: number): Promise<PeerAddress> {
    if (this.#virtual !== undefined) return { host: hostOf(index), port: PORT };
    this.#ports[index] ??= await freePort(this.#tcp);
    return { host: "127.0.0.1", port: this.#ports[index] };
  }

  /** The addresses of the first `count` nodes. */
  addresses(count: number): Promise<PeerAddress[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => this.addressOf(index)));
  }

  /**
   * A node that has started: it listens, and begins to dial after the start delay. It knows nobody unless told; its identity
   * follows from its index.
   */
  async add(options: EngineNodeOptions = {}): Promise<EngineNode> {
    const { config: changes = {}, index = this.nodes.length, before, ...engineOptions } = options;
    const address = await this.addressOf(index);
    const database = options.database ?? await openDatabase(":memory:");
    migrate(database);
    const seed = options.seed ?? seedOf(index);
    const config = configure(standalone(), {
      networkPassphrase: PASSPHRASE,
      isValidator: true,
      listeningHost: address.host,
      listeningPort: address.port,
      ...this.#options.config,
      ...changes,
    });
    let node: EngineNode | undefined = undefined;
    const engine = new OverlayManager({
      config,
      clock: this.clock,
      random: this.random,
      transport: this.#transportOf(address.host, () => node!),
      resolver: this.memory ?? LITERAL,
      ...engineOptions,
      seed,
      database,
      log: (event) => {
        node!.events.push(event);
        options.log?.(event);
      },
    });
    node = new EngineNode(index, engine, address, signingKey(seed));
    this.nodes[index] = node;
    before?.(engine);
    await engine.start();
    return node;
  }

  /** Lets time pass, ms. */
  async run(ms: number): Promise<void> {
    if (this.#virtual !== undefined) await this.#virtual.advance(ms);
    else await sleep(this.clock, ms);
  }

  /** Lets time pass until something holds, and says how long that took, ms. Fails when it does not within `limitMs`. */
  async until(holds: () => boolean, what: string, limitMs = 60_000): Promise<number> {
    const startMs = this.clock.nowMs();
    while (!holds()) {
      if (this.clock.nowMs() - startMs >= limitMs) {
        assert.fail(`not within ${limitMs} ms: ${what}; ${this.nodes.map(String).join("; ")}`);
      }
      await this.run(this.#virtual === undefined ? REAL_STEP_MS : STEP_MS);
    }
    return this.clock.nowMs() - startMs;
  }

  /** Waits until two nodes have admitted each other. */
  async connected(a: EngineNode, b: EngineNode, limitMs?: number): Promise<void> {
    await this.until(() => a.has(b) && b.has(a), `${a} and ${b} are connected`, limitMs);
  }

  /** Faults of what `from` writes to `to`: of streams to come, and of those that are open. In memory only. */
  spoil(from: EngineNode | PeerAddress, to: EngineNode | PeerAddress, faults: Partial<StreamFaults>): void {
    assert.ok(this.memory !== undefined && !this.#options.sound, "only links in memory can be spoiled");
    const [fromHost, toHost] = [from, to].map((end) => "engine" in end ? end.address.host : end.host);
    const key = `${fromHost}>${toHost}`;
    this.#faults.set(key, { ...this.#faults.get(key), ...faults });
    if (!("engine" in from)) return;
    for (const stream of from.streams) if (stream.remote.host === toHost) stream.set(faults);
  }

  /** Groups of nodes that can reach each other over connections, the largest first. Nodes that stopped are left out. */
  islands(): EngineNode[][] {
    const left = new Map(this.nodes.filter((node) => !this.#stopped.has(node)).map((node) => [node.id, node]));
    const islands: EngineNode[][] = [];
    for (const [id, first] of left) {
      left.delete(id);
      const island = [first];
      for (const node of island) {
        for (const { nodeId } of node.engine.peers()) {
          const next = left.get(nodeId);
          if (next === undefined) continue;
          left.delete(nodeId);
          island.push(next);
        }
      }
      islands.push(island);
    }
    return islands.sort((a, b) => b.length - a.length);
  }

  /** Stops one node. */
  async stop(node: EngineNode): Promise<void> {
    if (this.#stopped.has(node)) return;
    this.#stopped.add(node);
    const stopped = node.engine.stop();
    await (this.#virtual === undefined ? stopped : this.#virtual.run(stopped));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) await this.stop(node);
  }

  #transportOf(host: string, node: () => EngineNode): Transport {
    if (this.memory === undefined) return this.#tcp;
    const transport = this.memory.transport(host);
    if (this.#options.sound) return transport;
    const wrap = (socket: Socket): Socket => {
      const stream = new FaultyStream(
        socket,
        this.clock,
        this.random,
        this.#faults.get(`${host}>${socket.remote.host}`),
      );
      node().streams.push(stream);
      return stream;
    };
    return {
      dial: (to, options, handlers) =>
        transport.dial(to, options, { ...handlers, onConnect: (socket) => handlers.onConnect(wrap(socket)) }),
      listen: (at, onSocket) => transport.listen(at, (socket) => onSocket(wrap(socket))),
    };
  }
}

/** The identity of a node. */
export function seedOf(index: number): Uint8Array {
  const seed = new Uint8Array(32).fill(0x40);
  seed.set([index >> 8, index & 0xff]);
  return seed;
}

/** The node id of the node with an index, `G...`. */
export function idOf(index: number): string {
  return encodeNodeId(signingKey(seedOf(index)).publicKey);
}

/** Tests over TCP have addresses only. */
const LITERAL: Resolver = { resolve: (host) => Promise.resolve([host]) };

function hostOf(index: number): string {
  const n = index + 1;
  return `11.0.${n >> 8}.${n & 0xff}`;
}

function isAt(address: string, node: EngineNode): boolean {
  // Over TCP all nodes share a host, and a caller's port is not its listening port.
  return address === formatAddress(node.address) ||
    (node.address.host !== "127.0.0.1" && address.startsWith(`${node.address.host}:`));
}

async function freePort(tcp: TcpTransport): Promise<number> {
  const listener = await tcp.listen({ host: "127.0.0.1", port: 0 }, (socket) => socket.destroy());
  await listener.close();
  return listener.address.port;
}
