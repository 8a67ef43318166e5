/**
 * Hostile peers over real sockets against `run`: every case of the catalogue. All of them run against the same few nodes, at
 * the same time, and each is told on its own. Afterwards the nodes still serve, and hold no more memory than before.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { CASES } from "./catalogue.ts";
import { startWorld } from "./nodes.ts";
import { assertServes, type World } from "./world.ts";

/** Cases at work at once. */
const AT_ONCE = 12;
const LIMIT = { timeout: 100_000 };

const world = startWorld();
const results = runAll();
after(async () => await (await world)[Symbol.asyncDispose]());

/** Starts every case in its turn; a result is a promise that never rejects. */
function runAll(): Map<string, Promise<unknown>> {
  const results = new Map<string, Promise<unknown>>();
  const settle = new Map<string, (error: unknown) => void>();
  const only = process.env.HOSTILE_CASE;
  const names = Object.keys(CASES).filter((name) => only === undefined || name.includes(only));
  for (const name of names) results.set(name, new Promise((resolve) => settle.set(name, resolve)));
  const queue = [...names];
  const work = async (world: World) => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      const done = settle.get(name)!;
      await CASES[name](world).then(() => done(undefined), (error) => done(error ?? new Error("failed")));
    }
  };
  void world.then((world) => {
    for (let i = 0; i < AT_ONCE; i++) void work(world);
  }, (error) => settle.forEach((done) => done(error)));
  return results;
}

for (const [name, result] of results) {
  test(`hostile: ${name}`, LIMIT, async () => {
    const error = await result;
    if (error !== undefined) throw error;
  });
}

test("hostile: afterwards every node serves an honest peer", LIMIT, async () => {
  await Promise.all(results.values());
  const { main, impatient, crowded } = await world;
  for (const node of [main, impatient, crowded]) {
    await assertServes(node);
    assert.equal(node.strayOutput(), "", "nothing but lines of JSON was printed");
  }
});
