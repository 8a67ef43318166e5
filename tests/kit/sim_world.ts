/**
 * Networks for simulations: an {@link EngineWorld} in virtual time with a {@link WireTap} on all links, and the rules that
 * hold in every network at any time. One seed makes one run.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import type { VirtualClock } from "../../overlay/base/clock.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { initPrimitives, native, networkIdOf, primitives } from "../../overlay/crypto/primitives.ts";
import type { OverlayEvent } from "../../overlay/manager/overlay_manager.ts";
import type { MemoryNetwork } from "../../overlay/transport/memory.ts";
import {
  type EngineNode,
  type EngineNodeOptions,
  EngineWorld,
  type EngineWorldOptions,
  PASSPHRASE,
} from "./engine_world.ts";
import { WireTap } from "./wire_tap.ts";

export const NETWORK_ID = networkIdOf(PASSPHRASE);

/** Upstream's texts of drops. Source: limits.md section 2. */
const REASONS = [
  /^all (pending inbound connections are|outbound connections) taken$/,
  /^error reading message header: .+$/,
  /^error during (read|write|async_write)$/,
  /^(received corrupt XDR|crypto error|unexpected auth sequence|receive mac key is zero|unexpected MAC)$/,
  /^(received unexpected HELLO|failed to verify auth cert|node is banned|Bad crypto request|failed to determine remote address)$/,
  /^(wrong protocol version|connecting to self|wrong network passphrase|bad address)$/,
  /^already-connected peer: [A-Z2-7]{5}$/,
  /^(out-of-order AUTH message|flow control bytes disabled)$/,
  /^(peer rejected|preferred peer selected instead|random disconnect due to out of sync)$/,
  /^received [A-Z0-9_]+ before completed handshake$/,
  /^(received PEERS|too many msgs PEERS)$/,
  /^(unexpected message type SEND_MORE|invalid message SEND_MORE_EXTENDED|Peer capacity overflow)$/,
  /^unexpected flood message, peer at capacity$/,
  /^idle timeout( \(no new flood requests\))?$/,
  /^straggling \(cannot keep up\)$/,
  /^(Survey has invalid signature|dropped by user|shutdown)$/,
];

/** Whether a drop's reason is one that stellar-core knows. An ERROR_MSG's text has stars for all but letters, digits and blanks. */
export function isDocumentedReason(reason: string): boolean {
  const remote = /^ERR_(?:MISC|DATA|CONF|AUTH|LOAD) \((.*)\)$/.exec(reason);
  const text = remote === null ? reason : remote[1].replace("already*connected peer* ", "already-connected peer: ");
  return REASONS.some((known) => known.test(text));
}

/** See the head of this file. */
export class SimWorld extends EngineWorld {
  readonly virtual: VirtualClock;
  readonly net: MemoryNetwork;
  readonly tap = new WireTap();
  /** Drops by reason, over all nodes. */
  readonly drops = new Map<string, number>();
  /** Told about every event. */
  onEvent: ((node: EngineNode, event: OverlayEvent) => void) | undefined;
  readonly #stopped = new Set<EngineNode>();
  readonly #seeds = new Map<EngineNode, Uint8Array>();
  #transactions = 0;

  /** Links take 25 ms each way unless told otherwise. */
  constructor(options: Omit<EngineWorldOptions, "tcp" | "sound"> & { seed: number }) {
    super({ delayMs: () => 25, ...options, sound: true });
    this.virtual = this.clock as VirtualClock;
    this.net = this.memory!;
  }

  /** Identities follow from the seed, so that runs of different seeds differ in everything. */
  override async add(options: EngineNodeOptions = {}): Promise<EngineNode> {
    const index = options.index ?? this.nodes.length;
    const { host } = await this.addressOf(index);
    const seed = options.seed ?? this.random.bytes(32);
    const node = await super.add({
      ...options,
      seed,
      index,
      transport: this.tap.transport(host, options.transport ?? this.net.transport(host)),
      log: (event) => {
        if (event.event === "dropped") this.drops.set(event.reason, (this.drops.get(event.reason) ?? 0) + 1);
        this.onEvent?.(this.nodes[index], event);
      },
    });
    this.#seeds.set(node, seed);
    return node;
  }

  /** The identity of a node, to start it again with, here or elsewhere. */
  seedOf(node: EngineNode): Uint8Array {
    return this.#seeds.get(node)!;
  }

  override async stop(node: EngineNode): Promise<void> {
    this.#stopped.add(node);
    await super.stop(node);
  }

  /** Nodes that have not stopped. */
  get running(): EngineNode[] {
    return this.nodes.filter((node) => !this.#stopped.has(node));
  }

  /** Stops all nodes at once and gives their sockets the time to close. Nothing may be left to happen then. */
  async finish(): Promise<void> {
    const { running } = this;
    for (const node of running) this.#stopped.add(node);
    await this.virtual.run(Promise.all(running.map((node) => super.stop(node))));
    await this.virtual.advance(10_000);
    assert.equal(this.virtual.waiting, 0, "timers are left behind");
  }

  /** A transaction envelope of `bytes` bytes, a multiple of 4, that no other call makes. */
  transaction(bytes = 200): Uint8Array {
    const transaction = this.random.bytes(bytes);
    transaction.set([0, 0, 0, 2, ++this.#transactions >> 16, this.#transactions >> 8 & 255, this.#transactions & 255]);
    return transaction;
  }

  /** {@link until}, looking once a second: for what costs to look at, and takes minutes. */
  async eventually(holds: () => boolean, what: string, limitMs = 60_000): Promise<number> {
    const startMs = this.clock.nowMs();
    while (!holds()) {
      assert.ok(this.clock.nowMs() - startMs < limitMs, `not within ${limitMs} ms: ${what}; ${this.nodes.join("; ")}`);
      await this.virtual.advance(1000);
    }
    return this.clock.nowMs() - startMs;
  }

  /** Whether every running node reaches every other one. */
  get whole(): boolean {
    return this.islands().length === 1;
  }

  /** The rules that hold at any time: limits, one connection per pair, books, reasons, and what the tap watches. */
  check(): void {
    const real = new Set(this.nodes.map((node) => formatAddress(node.address)));
    for (const { engine, address: { host } } of this.running) {
      const { inbound, outbound } = engine.counts, { config } = engine;
      assert.ok(outbound <= config.targetPeerConnections, `${host} has ${outbound} outbound peers`);
      assert.ok(inbound <= config.maxAdditionalPeerConnections, `${host} has ${inbound} inbound peers`);
      const ids = engine.peers().map((peer) => peer.nodeId);
      assert.equal(new Set(ids).size, ids.length, `${host} has two connections with one node`);
      assert.ok(!ids.includes(engine.local.nodeIdText), `${host} is connected with itself`);
      const book = engine.peerManager.all();
      assert.ok(book.length <= config.maxKnownPeers, `${host} knows ${book.length} addresses`);
      for (const { address } of book) {
        const text = formatAddress(address);
        assert.ok(real.has(text), `${host} knows ${text}, where nobody ever was`);
      }
    }
    for (const reason of this.drops.keys()) assert.ok(isDocumentedReason(reason), `a drop for "${reason}"`);
    assert.deepEqual(this.tap.violations, []);
  }

  /** With no handshake under way: who holds a connection is held by the other end, which has it in the other direction. */
  checkLinks(): void {
    const peersOf = new Map(
      this.running.map((node) => [node.id, new Map(node.engine.peers().map((peer) => [peer.nodeId, peer.role]))]),
    );
    for (const [id, peers] of peersOf) {
      for (const [other, role] of peers) {
        const mirrored = role === "weCalledRemote" ? "remoteCalledUs" : "weCalledRemote";
        assert.equal(peersOf.get(other)?.get(id), mirrored, `${id} and ${other}`);
      }
    }
  }
}

/** Verdicts kept. */
const MAX_VERDICTS = 50_000;

/**
 * Lets all nodes of this process share the outcome of a signature check: a hundred nodes check each statement, and one check
 * says what all would find. The key is everything that the outcome depends on. Gives the way back.
 */
export async function shareVerdicts(): Promise<() => Promise<unknown>> {
  const before = primitives;
  const known = new Map<string, boolean>();
  await initPrimitives({
    ...native,
    verify: (publicKey, message, signature) => {
      const key = latin1(publicKey) + latin1(signature) + latin1(message);
      let verdict = known.get(key);
      if (verdict === undefined) {
        if (known.size >= MAX_VERDICTS) known.clear();
        known.set(key, verdict = native.verify(publicKey, message, signature));
      }
      return verdict;
    },
  });
  return () => initPrimitives(before);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** Prints what a run measured, when SIM_FIGURES is set. */
export function figures(what: string, values: Record<string, unknown>): void {
  if (process.env.SIM_FIGURES) console.log(`${what}: ${JSON.stringify(values)}`);
}
