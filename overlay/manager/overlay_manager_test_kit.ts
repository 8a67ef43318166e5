/** A network in virtual time whose nodes are whole engines, and hand-driven remotes to speak with them. */
import { VirtualClock } from "../base/clock.ts";
import { type OverlayConfigChanges, pubnet } from "../base/config.ts";
import { SeededRandom } from "../base/random.ts";
import { type Database, openDatabase } from "../db/database.ts";
import { migrate } from "../db/schema.ts";
import { RawRemote, testNode } from "../peer/peer_test_remote.ts";
import { MemoryNetwork, type MemoryNetworkOptions } from "../transport/memory.ts";
import type { Socket } from "../transport/transport.ts";
import { decodeMessage, type StellarMessage } from "../wire/messages.ts";
import type { OverlayEvent } from "./overlay_event.ts";
import { OverlayManager, type OverlayManagerOptions } from "./overlay_manager.ts";

/** The passphrase of the statements that flood/scp_state_test_kit.ts signs. */
export const WORLD_PASSPHRASE = "scp state tests";

/** See the head of this file. */
export class World {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(5);
  readonly net: MemoryNetwork;
  readonly nodes: OverlayManager[] = [];
  readonly events: OverlayEvent[][] = [];
  #remotes = 0;

  constructor(options: Partial<MemoryNetworkOptions> = {}) {
    this.net = new MemoryNetwork({ clock: this.clock, delayMs: () => 10, ...options });
  }

  /** A validator at 11.0.0.n that knows the nodes with these numbers. It is not started. */
  async make(
    known: number[],
    changes: OverlayConfigChanges = {},
    options: Partial<OverlayManagerOptions> = {},
  ): Promise<OverlayManager> {
    const n = this.nodes.length + 1;
    const events: OverlayEvent[] = [];
    const node = new OverlayManager({
      config: pubnet({
        networkPassphrase: WORLD_PASSPHRASE,
        listeningHost: `11.0.0.${n}`,
        knownPeers: known.map((k) => ({ host: `11.0.0.${k}`, port: 11625 })),
        isValidator: true,
        ...changes,
      }),
      transport: this.net.transport(`11.0.0.${n}`),
      resolver: this.net,
      clock: this.clock,
      random: this.random,
      database: options.database ?? await memoryDatabase(),
      log: (event) => events.push(event),
      ...options,
    });
    this.nodes.push(node);
    this.events.push(events);
    return node;
  }

  /** The same, started. */
  async add(
    known: number[],
    changes: OverlayConfigChanges = {},
    options: Partial<OverlayManagerOptions> = {},
  ): Promise<OverlayManager> {
    const node = await this.make(known, changes, options);
    await node.start();
    return node;
  }

  /** The events of a node with this name. */
  eventsOf<E extends OverlayEvent["event"]>(node: OverlayManager, event: E): Extract<OverlayEvent, { event: E }>[] {
    const all = this.events[this.nodes.indexOf(node)];
    return all.filter((one): one is Extract<OverlayEvent, { event: E }> => one.event === event);
  }

  /** Stops a node; its promise needs virtual time. */
  async stop(node: OverlayManager): Promise<void> {
    await this.clock.run(node.stop());
  }

  /** A socket that dialed `node` and says nothing. */
  silent(node: OverlayManager): Promise<Socket> {
    const { host, port } = node.listening!;
    const connected = new Promise<Socket>((resolve, reject) => {
      const handlers = { onConnect: resolve, onFail: reject };
      this.net.transport(`12.0.0.${++this.#remotes}`).dial({ host, port }, { timeoutMs: 5000 }, handlers);
    });
    return this.clock.run(connected);
  }

  /** A hand-driven peer of `node` that dialed it and said HELLO, no more. */
  async remoteAtHello(node: OverlayManager): Promise<RawRemote> {
    const socket = await this.silent(node);
    const local = testNode(this.clock, this.#remotes, { passphrase: WORLD_PASSPHRASE });
    const remote = new RawRemote(socket, local, "weCalledRemote", this.clock);
    remote.hello();
    await this.clock.advance(50);
    return remote;
  }

  /** The same after the handshake; it grants unless told otherwise. */
  async remote(node: OverlayManager, grant = { messages: 1e6, bytes: 1e9 }): Promise<RawRemote> {
    const remote = await this.remoteAtHello(node);
    remote.auth();
    await this.clock.advance(50);
    if (grant.messages > 0) remote.grant(grant.messages, grant.bytes);
    await this.clock.advance(20);
    return remote;
  }

  /** For `broadcast`, which takes messages decoded. */
  decode(message: Uint8Array): StellarMessage {
    return decodeMessage(message);
  }
}

/** An empty database in memory with the newest schema. */
export async function memoryDatabase(): Promise<Database> {
  const database = await openDatabase(":memory:");
  migrate(database);
  return database;
}

/** A transaction of `bytes` bytes, different for each `n`. */
export function transactionOf(n: number, bytes = 200): StellarMessage & { type: "transaction" } {
  const transaction = new Uint8Array(bytes).fill(n);
  transaction.set([0, 0, 0, 2]);
  return { type: "transaction", transaction };
}
