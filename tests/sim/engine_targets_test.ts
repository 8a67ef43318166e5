/** A hundred engines that know three addresses find their peers, and keep their limits on the way. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 100, SEEDS = 3;
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

for (const seed of [1, 2, 3]) {
  test(`100 engines reach their connection targets from three addresses, seed ${seed}`, async () => {
    await using world = new SimWorld({ seed, delayMs: farAndNear });
    const knownPeers = await world.addresses(SEEDS);
    for (let i = 0; i < NODES; i++) await world.add({ config: { knownPeers } });
    const outbound = () => world.nodes.map(({ engine }) => engine.counts.outbound);
    const targetMs = await world.until(() => outbound().every((count) => count === 8), "all have 8 outbound peers");
    world.check();
    const rejected = world.drops.get("peer rejected") ?? 0;
    // Promotion goes on: every address is tried once, and who answers is let go when all slots are taken.
    await world.run(25_000);
    world.check();
    world.checkLinks();
    assert.ok(world.whole);
    assert.ok(outbound().every((count) => count === 8), `${outbound()}`);
    const inbound = world.nodes.map(({ engine }) => engine.counts.inbound).sort((a, b) => a - b);
    assert.equal(inbound.reduce((sum, count) => sum + count, 0), 8 * NODES);
    // The three that everybody dials first fill up; the others share what is left.
    assert.deepEqual(
      world.nodes.map(({ engine }) => engine.counts.inbound === 64),
      world.nodes.map((_, i) => i < SEEDS),
    );
    // One dial gives 50 addresses: after half a minute hardly anybody misses anybody.
    const books = world.nodes.map(({ engine }) => engine.peerManager.count());
    assert.ok(books.every((count) => count >= 0.9 * NODES), `${books}`);
    figures("targets", {
      seed,
      targetMs,
      inbound: { least: inbound[0], median: inbound[NODES / 2], p90: inbound[0.9 * NODES], most: inbound[NODES - 1] },
      rejected,
      drops: [...world.drops.values()].reduce((sum, n) => sum + n, 0),
    });
    await world.finish();
  });
}

/** 5 to 120 ms, the same both ways. */
function farAndNear(a: string, b: string): number {
  const mix = [...`${a < b ? a + b : b + a}`].reduce((sum, c) => (31 * sum + c.charCodeAt(0)) >>> 0, 7);
  return 5 + mix % 116;
}
