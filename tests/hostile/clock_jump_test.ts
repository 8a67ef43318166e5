import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "../../overlay/manager/overlay_manager_test_kit.ts";

const YEAR_MS = 365 * 86_400_000;

test("a wall clock that jumps ends no connection, in either direction", async () => {
  const world = new World();
  const a = await world.add([]);
  const b = await world.add([1]);
  await world.clock.advance(10_000);
  assert.equal(a.peers().length, 1);
  const wallMs = world.clock.wallMs.bind(world.clock);
  for (const jumpMs of [10 * YEAR_MS, -10 * YEAR_MS]) {
    world.clock.wallMs = () => wallMs() + jumpMs;
    await world.clock.advance(120_000);
    assert.deepEqual([a.peers().length, b.peers().length], [1, 1]);
  }
  // Only what is dated by it expires: new certificates are made, and met with the same clock they hold.
  const c = await world.add([1]);
  await world.clock.advance(20_000);
  assert.ok(c.peers().length >= 1);
  for (const node of [a, b, c]) await world.stop(node);
});
