/**
 * Upstream's scenarios about SCP messages between nodes, with whole engines: what is answered, remembered, fetched and passed
 * on. Consensus is not ours: the validators of these tests externalize one value per slot, and sign that.
 * Source: stellar-core HerderTests.cpp, QuorumTrackerTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { toHex } from "../../overlay/base/bytes.ts";
import { type SigningKey, signingKey } from "../../overlay/crypto/primitives.ts";
import { txSetOf } from "../../overlay/flood/scp_state_test_kit.ts";
import { hashText } from "../../overlay/flood/tx_adverts_hashes.ts";
import type { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { decodeMessage } from "../../overlay/wire/messages.ts";
import { quorumSetHashOf, type ScpQuorumSet } from "../../overlay/wire/types.ts";
import { type EngineNode, EngineWorld, seedOf } from "../kit/engine_world.ts";
import { Voice } from "../kit/voices.ts";

const CORE = 3;
const KEYS = Array.from({ length: 6 }, (_, i) => signingKey(seedOf(i)));
const setOf = (...keys: SigningKey[]): ScpQuorumSet => ({
  threshold: keys.length,
  validators: keys.map((key) => key.publicKey),
  innerSets: [],
});

/** Three validators that all know each other, and others around them; nobody dials but the test. */
class Network {
  readonly world = new EngineWorld({ sound: true, config: { noDial: true } });
  readonly voices = KEYS.map((key, n) => new Voice(n, { key, quorumSet: setOf(...KEYS.slice(0, CORE)) }));

  get nodes(): EngineNode[] {
    return this.world.nodes;
  }

  async add(index: number, ...others: number[]): Promise<EngineNode> {
    const node = await this.world.add({ index });
    for (const other of others) await this.link(index, other);
    return node;
  }

  async core(): Promise<void> {
    for (let i = 0; i < CORE; i++) await this.add(i, ...Array.from({ length: i }, (_, other) => other));
  }

  async link(from: number, to: number): Promise<void> {
    this.nodes[from].dial(this.nodes[to]);
    await this.world.connected(this.nodes[from], this.nodes[to]);
  }

  /** Validator `index` says what it externalized; its node knows all that this refers to. */
  externalize(index: number, slot: number): void {
    const voice = this.voices[index], txSet = txSetOf(slot), { engine } = this.nodes[index];
    voice.equip(engine, txSet);
    // The first validator's value: all of them agree.
    voice.sayAt(engine, slot, "externalize", this.voices[0].value(slot, txSet.hash));
  }

  /** The core closes ledgers, one a second. */
  async close(from: number, to: number): Promise<void> {
    for (let slot = from; slot <= to; slot++) {
      for (let i = 0; i < CORE; i++) this.externalize(i, slot);
      await this.world.run(1000);
    }
  }
}

/** The slots up to `last` that a node remembers statements of all core validators about. */
function remembered(node: EngineNode, last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1).filter((slot) => node.engine.scp.statements(slot) === CORE);
}
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test("scenario: SCP State", async () => {
  const network = new Network();
  await using world = network.world;
  await network.core();
  await network.close(1, 5);
  assert.deepEqual(network.nodes.map(({ engine }) => engine.scp.tracking), [5, 5, 5]);
  for (const node of [...network.nodes]) await world.stop(node);
  // Two come back. Their herders restore what they said last; nobody is connected yet.
  for (const index of [0, 1]) {
    await network.add(index);
    network.externalize(index, 5);
  }
  const fresh = await network.add(2, 0, 1);
  await world.until(() => fresh.engine.scp.tracking === 5, "the fresh node closes their ledger", 10_000);
  assert.equal(fresh.engine.scp.statements(5), 2);
  const { txSets } = fresh.engine.dispatcher;
  assert.deepEqual([txSets.size, txSets.has(hashText(txSetOf(5).hash))], [1, true]);
  assert.equal(fresh.engine.scp.slots, 1, "only what they said last");
});

test("scenario: SCP checkpoint, GC old checkpoints", async () => {
  const network = new Network();
  await using _ = network.world;
  await network.core();
  await network.close(1, 80);
  for (const node of network.nodes) assert.deepEqual(remembered(node, 80), [64, ...range(69, 80)]);
  await network.close(81, 128);
  for (const node of network.nodes) assert.deepEqual(remembered(node, 128), range(117, 128), "64 is the past");
  await network.close(129, 141);
  for (const node of network.nodes) assert.deepEqual(remembered(node, 141), [128, ...range(130, 141)]);
});

for (
  const [name, others] of [["Out of sync node receives checkpoint", [3]], ["Two out of sync nodes", [3, 4]]] as const
) {
  test(`scenario: SCP checkpoint, ${name}`, async () => {
    const network = new Network();
    await using world = network.world;
    await network.core();
    for (const index of others) await network.add(index, 0);
    await network.close(1, 55);
    const behind = others.map((index) => network.nodes[index]);
    for (const node of behind) {
      assert.equal(node.engine.scp.tracking, 55);
      node.engine.disconnect(network.nodes[0].id);
    }
    await network.close(56, 80);
    for (const node of behind) assert.equal(node.engine.scp.tracking, 55);
    // The first is back; the second only finds the first.
    for (const index of others) await network.link(index, index === 3 ? 0 : 3);
    await world.until(() => behind.every(({ engine }) => engine.scp.tracking === 80), "the recent ones arrive", 1000);
    assert.deepEqual(behind.flatMap((node) => remembered(node, 68)), [], "the checkpoint comes later");
    await world.run(3000);
    for (const node of behind) assert.deepEqual(remembered(node, 80), [64, ...range(69, 80)]);
  });
}

// ---- Whose statements are passed on ----

/** The transitive quorum of a node as far as it heard the others' quorum sets. Source: stellar-core QuorumTracker.cpp. */
function transitiveQuorum(engine: OverlayManager, own: ScpQuorumSet): Set<string> {
  const heard = new Map<string, ScpQuorumSet>([[toHex(engine.local.nodeId), own]]);
  for (const bytes of engine.scp.stateFrom(0).now) {
    const message = decodeMessage(bytes);
    if (message.type !== "scpMessage") continue;
    const { nodeId, pledges } = message.envelope.statement;
    const item = engine.dispatcher.quorumSets.get(hashText(quorumSetHashOf(pledges)));
    const decoded = item && decodeMessage(item);
    if (decoded?.type === "scpQuorumset") heard.set(toHex(nodeId), decoded.qSet);
  }
  const quorum = new Set<string>([toHex(engine.local.nodeId)]);
  for (const id of quorum) for (const next of heard.get(id)?.validators ?? []) quorum.add(toHex(next));
  return quorum;
}

test("scenario: In quorum filtering", async () => {
  const network = new Network(), { voices, nodes } = network;
  await using world = network.world;
  const core = KEYS.slice(0, CORE), [outsider, dependency] = [3, 4];
  const own = new Map(range(0, CORE - 1).map((i) => [i, setOf(...core)]));
  const trusts = (index: number) => (nodeId: Uint8Array) => {
    const node = nodes[index];
    return transitiveQuorum(node.engine, own.get(index)!).has(toHex(nodeId));
  };
  for (let i = 0; i < CORE; i++) {
    await world.add({ index: i, trusts: trusts(i) });
    for (let other = 0; other < i; other++) await network.link(i, other);
  }
  // The outsider trusts the core and one more, whose messages come through it; it is connected to the first node only.
  voices[outsider] = new Voice(outsider, { key: KEYS[outsider], quorumSet: setOf(...core, KEYS[dependency]) });
  voices[dependency] = new Voice(dependency, { key: KEYS[dependency], quorumSet: setOf(...core) });
  await network.add(outsider, 0);
  await network.add(dependency, outsider);
  const round = async (slot: number) => {
    for (const index of [0, 1, 2, outsider, dependency]) {
      network.externalize(index, slot);
      await world.run(1000);
    }
    return nodes.slice(0, CORE).map(({ engine }) => engine.scp.statements(slot));
  };
  assert.deepEqual(await round(1), [3, 3, 3]);
  assert.ok(nodes[0].engine.dispatcher.counts.discarded > 0, "they came, and went no further");
  // The first node adds the outsider to its quorum set, and says so with its next statement.
  own.set(0, setOf(...core, KEYS[outsider]));
  voices[0] = new Voice(0, { key: KEYS[0], quorumSet: own.get(0)! });
  assert.deepEqual(await round(2), [5, 5, 5]);
});
