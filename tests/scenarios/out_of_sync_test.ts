/**
 * stellar-core's scenarios of two islands that do not know of each other, played by whole engines.
 * Source: stellar-core OverlayTests.cpp.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type EngineNode, EngineWorld } from "../kit/engine_world.ts";
import { Voice } from "../kit/voices.ts";

const LARGE = [0, 1, 2, 3], SMALL = [4, 5, 6];

/** Seven nodes that know all addresses and have one outbound place each: two rings, of four and of three. */
class Islands {
  readonly large: EngineNode[];
  readonly small: EngineNode[];
  #slot = 10;

  private constructor(readonly world: EngineWorld) {
    this.large = LARGE.map((index) => world.nodes[index]);
    this.small = SMALL.map((index) => world.nodes[index]);
  }

  static async make(list: "knownPeers" | "preferredPeers", seed: number): Promise<Islands> {
    const world = new EngineWorld({ seed });
    const config = {
      [list]: await world.addresses(7),
      targetPeerConnections: 1,
      maxAdditionalPeerConnections: 8,
      // Nobody has the items that the statements name; a watcher relays without them.
      isValidator: false,
    };
    for (const index of [...LARGE, ...SMALL]) await world.add({ index, config });
    const islands = new Islands(world);
    // Before the first tick, so that it finds every outbound place taken.
    for (const ring of [islands.large, islands.small]) {
      ring.forEach((node, i) => node.dial(ring[(i + 1) % ring.length]));
    }
    await world.run(1000);
    // Ledger 10 is everybody's; after it only four of seven are needed, and three are not enough.
    islands.#close(world.nodes);
    await world.run(1000);
    assert.deepEqual(islands.sizes, [4, 3]);
    for (const node of world.nodes) assert.deepEqual([node.engine.scp.tracking, node.engine.isTracking], [10, true]);
    return islands;
  }

  get sizes(): number[] {
    return this.world.islands().map((island) => island.length);
  }

  /** Seconds in which the large island goes on, a ledger every five, until something holds. */
  async live(seconds: number, until: () => boolean = () => false): Promise<number> {
    let passed = 0;
    for (; passed < seconds && !until(); passed += 5) {
      this.#slot++;
      this.#close(this.large);
      await this.world.run(5000);
    }
    return passed;
  }

  get outOfSync(): EngineNode[] {
    return this.world.nodes.filter(({ engine }) => !engine.isTracking);
  }

  /** Nodes let go because of it, and by whom. */
  get letGo(): string[] {
    return this.world.nodes.flatMap((node) =>
      node.reasons().filter((reason) => reason === "us: random disconnect due to out of sync").map(() =>
        `${node.index}`
      )
    );
  }

  #close(nodes: EngineNode[]): void {
    for (const node of nodes) {
      node.engine.scp.track(this.#slot);
      node.engine.broadcast(new Voice(node.index, { key: node.key }).says(this.#slot, "externalize"));
    }
  }
}

for (const seed of [1, 2, 3]) {
  test(`scenario: disconnected topology recovery, regular peers, between engines, seed ${seed}`, async () => {
    const islands = await Islands.make("knownPeers", seed);
    await using world = islands.world;
    await islands.live(40);
    assert.deepEqual(islands.outOfSync, islands.small);
    assert.deepEqual([islands.sizes, islands.letGo], [[4, 3], []]);
    const seconds = await islands.live(180, () => islands.sizes.length === 1 && islands.outOfSync.length === 0);
    assert.ok(seconds >= 60, `nobody is let go before 60 s are over, and after ${seconds} s they had joined`);
    assert.deepEqual([islands.sizes, islands.outOfSync.length], [[7], 0], `${world.nodes.join("; ")}`);
    assert.ok(islands.letGo.length > 0);
    for (const index of islands.letGo) assert.ok(SMALL.includes(Number(index)), "a node in sync lets nobody go");
  });
}

test("scenario: disconnected topology recovery, preferred peers, between engines", async () => {
  const islands = await Islands.make("preferredPeers", 1);
  await using world = islands.world;
  await islands.live(40);
  assert.deepEqual(islands.outOfSync, islands.small);
  await islands.live(180);
  assert.deepEqual(islands.outOfSync, islands.small);
  assert.deepEqual([islands.sizes, islands.letGo], [[4, 3], []]);
  assert.deepEqual(world.nodes.flatMap((node) => node.reasons()), []);
});
