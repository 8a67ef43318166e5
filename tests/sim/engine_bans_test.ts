/** A banned node stays out, whatever it tries, for as long as the ban lasts, and for nobody but those who banned it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { EngineNode } from "../kit/engine_world.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 12, HOUR = 3600_000;
/** Pings are rarer than usual: hours pass. */
const CONFIG = { targetPeerConnections: 4, checkMs: 30_000, idleTimeoutMs: 100_000 };
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

/** A network of which the last node is the one in question. */
async function network(seed: number) {
  const world = new SimWorld({ seed, config: CONFIG });
  const knownPeers = await world.addresses(2);
  for (let i = 0; i < NODES; i++) await world.add({ config: { knownPeers } });
  await world.run(60_000);
  const outcast = world.nodes[NODES - 1], others = world.nodes.slice(0, NODES - 1);
  assert.ok(outcast.engine.peers().length > 0);
  return { world, outcast, others, knownPeers };
}

/** Lets time pass; fails when one of `by` ever has a peer with the node's identity. */
async function staysOut(world: SimWorld, node: EngineNode, by: readonly EngineNode[], ms: number): Promise<void> {
  const untilMs = world.clock.nowMs() + ms;
  let admitted = 0;
  world.onEvent = (at, event) => {
    if (event.event === "authenticated" && event.nodeId === node.id && by.includes(at)) admitted++;
  };
  while (world.clock.nowMs() < untilMs) {
    await world.run(30_000);
    for (const other of by) assert.ok(!other.has(node), `${other} has the banned node`);
  }
  world.onEvent = undefined;
  assert.equal(admitted, 0);
}

const dialsOf = (node: EngineNode) => node.events.filter((event) => event.event === "dialing").length;

for (const seed of [1, 2, 3]) {
  test(`a node that all ban is out for an hour, at a new address too, and comes back after unban, seed ${seed}`, async () => {
    const { world, outcast, others, knownPeers } = await network(seed);
    await using _ = world;
    for (const node of others) node.engine.ban(outcast.id, { reason: "simulation" });
    const before = { dials: dialsOf(outcast), refused: world.drops.get("node is banned") ?? 0 };
    await world.run(1000);
    assert.equal(outcast.engine.peers().length, 0);
    assert.ok(outcast.reasons().includes("remote: ERR_MISC (dropped by user)"));
    await staysOut(world, outcast, others, HOUR / 2);
    // The same identity at another address, with an empty book.
    const seedOfOutcast = world.seedOf(outcast);
    await world.stop(outcast);
    const moved = await world.add({ seed: seedOfOutcast, config: { knownPeers } });
    assert.equal(moved.id, outcast.id);
    // Its old address is not banned: another identity is welcome there.
    const heir = await world.add({ index: NODES - 1, config: { knownPeers } });
    await staysOut(world, moved, others, HOUR / 2);
    assert.ok(heir.engine.peers().length > 0 && !heir.engine.banManager.banned(heir.id));
    const refused = (world.drops.get("node is banned") ?? 0) - before.refused;
    const dials = dialsOf(outcast) - before.dials + dialsOf(moved);
    assert.ok(refused >= dials && dials >= 10, `${dials} dials, ${refused} refused`);
    // The heir never banned anybody, so it may have taken the mover in; nobody else had it.
    for (const node of others) assert.equal(node.engine.unban(moved.id), true);
    const backMs = await world.eventually(() => others.some((node) => node.has(moved)), "it is back", 3 * HOUR);
    world.check();
    figures("bans by all", { seed, dials, refused, backMs });
    await world.finish();
  });

  test(`a node that some ban has the others as its peers, and timed bans end by themselves, seed ${seed}`, async () => {
    const { world, outcast, others } = await network(seed);
    await using _ = world;
    const strict = others.filter((_, i) => i % 3 === 0), mild = others.filter((_, i) => i % 3 !== 0);
    const untilAt = world.clock.wallMs() + HOUR;
    for (const node of strict) node.engine.ban(outcast.id, { untilAt, reason: "for an hour" });
    await world.run(1000);
    await staysOut(world, outcast, strict, HOUR - 30_000);
    const friends = mild.filter((node) => node.has(outcast)).length;
    assert.ok(friends >= 3 && outcast.engine.peers().length === friends, `${friends} friends`);
    assert.ok(strict.every((node) => node.engine.banManager.banned(outcast.id) !== undefined));
    await world.run(30_000);
    assert.ok(strict.every((node) => node.engine.banManager.banned(outcast.id) === undefined));
    // Now a call is answered again. Whether somebody calls of his own accord is a question of free slots.
    const [strictOne] = strict;
    if (!strictOne.has(outcast)) {
      outcast.dial(strictOne);
      await world.run(1000);
    }
    const ends = strictOne.drops(outcast).map(({ reason }) => reason).slice(-1);
    assert.ok(strictOne.has(outcast) || /peer rejected/.test(`${ends}`), `${ends}`);
    world.check();
    figures("bans by some", { seed, friends });
    await world.finish();
  });
}
