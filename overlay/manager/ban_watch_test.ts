import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { VirtualClock } from "../base/clock.ts";
import { BanManager } from "../db/ban_manager.ts";
import { openNodeDatabase } from "../db/schema.ts";
import { BanWatch } from "./ban_watch.ts";
import { memoryDatabase, World, WORLD_PASSPHRASE } from "./overlay_manager_test_kit.ts";

/** Two connections to one file, as two processes have them. */
async function twoConnections(use: (open: () => ReturnType<typeof openNodeDatabase>) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ban-watch-"));
  try {
    await use(() => openNodeDatabase(join(folder, "node.db"), { networkPassphrase: WORLD_PASSPHRASE }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a ban of another process drops a connected peer within a second, and keeps it out until it is lifted", async () => {
  await twoConnections(async (open) => {
    const world = new World();
    const node = await world.add([], {}, { database: await open() });
    const peer = await world.add([1]);
    const id = peer.local.nodeIdText;
    await world.clock.advance(10_000);
    assert.equal(node.peers().length, 1);
    const elsewhere = await open();
    const theirs = new BanManager(elsewhere, { clock: world.clock });
    theirs.ban(id, { reason: "too loud" });
    await world.clock.advance(1000);
    assert.equal(node.peers().length, 0);
    assert.deepEqual(world.eventsOf(node, "banned"), [{
      event: "banned",
      nodeId: id,
      untilAt: null,
      reason: "too loud",
    }]);
    await world.clock.advance(120_000);
    assert.equal(node.peers().length, 0);
    theirs.unban(id);
    await world.clock.advance(1_000_000);
    assert.deepEqual(world.eventsOf(node, "unbanned"), [{ event: "unbanned", nodeId: id, expired: false }]);
    assert.equal(node.peers().length, 1);
    elsewhere.close();
    await world.stop(node);
  });
});

test("rereadBans brings a ban into force at once", async () => {
  await twoConnections(async (open) => {
    const world = new World();
    const node = await world.add([], {}, { database: await open() });
    const peer = await world.add([1]);
    await world.clock.advance(10_000);
    const elsewhere = await open();
    assert.equal(node.rereadBans(), false);
    new BanManager(elsewhere, { clock: world.clock }).ban(peer.local.nodeIdText);
    assert.equal(node.rereadBans(), true);
    assert.equal(node.peers().length, 0);
    elsewhere.close();
    await world.stop(node);
  });
});

test("a ban drops a peer that is still in the handshake", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node, { messages: 0, bytes: 0 });
  const waiting = await world.remoteAtHello(node);
  assert.equal(node.pendingPeers()[0].stage, "gotHello");
  node.ban(waiting.node.nodeIdText);
  assert.deepEqual(node.pendingPeers(), []);
  assert.equal(node.peers()[0].nodeId, remote.node.nodeIdText);
  await world.stop(node);
});

test("a timed ban ends by itself, and says so", async () => {
  const world = new World();
  const node = await world.add([]);
  const peer = await world.add([1]);
  const id = peer.local.nodeIdText;
  await world.clock.advance(10_000);
  node.ban(id, { untilAt: world.clock.wallMs() + 30_000 });
  const other = (await world.make([])).local.nodeIdText;
  node.ban(other, { untilAt: world.clock.wallMs() + 60_000 });
  await world.clock.advance(30_001);
  assert.deepEqual(world.eventsOf(node, "unbanned"), [{ event: "unbanned", nodeId: id, expired: true }]);
  assert.deepEqual(node.banManager.list().map(({ nodeId }) => nodeId), [other]);
  await world.clock.advance(30_000);
  assert.equal(world.eventsOf(node, "unbanned").length, 2);
  await world.clock.advance(1_000_000);
  assert.equal(node.peers().length, 1);
  await world.stop(peer);
  await world.stop(node);
});

test("BanWatch waits for months, beyond what one timer holds", async () => {
  const clock = new VirtualClock();
  const database = await memoryDatabase();
  const banManager = new BanManager(database, { clock });
  const id = (await new World().make([])).local.nodeIdText, months = 90 * 86_400_000;
  banManager.ban(id, { untilAt: clock.wallMs() + months });
  const ended: number[] = [];
  const never = () => assert.fail();
  const watch = new BanWatch({
    clock,
    banManager,
    shared: false,
    onBanned: never,
    onUnbanned: () => void ended.push(clock.nowMs()),
    onError: never,
  });
  watch.start();
  await clock.advance(months + 1000);
  assert.deepEqual([ended, banManager.list()], [[months], []]);
  watch.close();
  await clock.advance(months);
  assert.equal(clock.pending, 0);
  database.close();
});

test("a database that fails is an event, at most once a minute, and the bans known before hold", async () => {
  await twoConnections(async (open) => {
    const world = new World();
    const database = await open();
    const node = await world.add([], {}, { database });
    const peer = await world.add([1]);
    await world.clock.advance(10_000);
    node.ban(peer.local.nodeIdText);
    database.close();
    await world.clock.advance(59_000);
    const failures = world.eventsOf(node, "databaseFailed");
    assert.deepEqual([failures.length, failures[0].failure.code], [1, "db_failed"]);
    await world.clock.advance(60_000);
    assert.equal(world.eventsOf(node, "databaseFailed").length, 2);
    assert.equal(node.peers().length, 0);
    await world.stop(peer);
    await world.stop(node);
  });
});
