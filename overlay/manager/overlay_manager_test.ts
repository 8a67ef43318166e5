import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./overlay_manager_test_kit.ts";

test("OverlayManager: nodes find each other from one known address, through PEERS", async () => {
  const world = new World();
  await world.add([]);
  for (let i = 0; i < 4; i++) await world.add([1]);
  await world.clock.advance(60_000);
  for (const node of world.nodes) assert.equal(node.peers().length, 4, String(node));
  assert.deepEqual(world.nodes[0].counts.inbound + world.nodes[0].counts.outbound, 4);
});

test("OverlayManager: a transaction reaches every node, each body once, by adverts and demands", async () => {
  const world = new World();
  await world.add([]);
  for (let i = 0; i < 5; i++) await world.add([1]);
  await world.clock.advance(60_000);
  const subscriptions = world.nodes.map((node) => node.subscribe({ types: ["transaction"] }));
  const transaction = new Uint8Array(200).fill(1);
  transaction.set([0, 0, 0, 2]);
  const told = world.nodes[3].broadcast({ type: "transaction", transaction });
  assert.equal(told.length, 5);
  await world.clock.advance(5000);
  assert.deepEqual(subscriptions.map(({ counts }) => counts.waiting.general), [1, 1, 1, 0, 1, 1]);
  assert.deepEqual(world.nodes.map((node) => node.transactions.size), [1, 1, 1, 1, 1, 1]);
});

test("OverlayManager: a banned node is dropped and stays out; unban lets it in again", async () => {
  const world = new World();
  const a = await world.add([]);
  const b = await world.add([1]);
  await world.clock.advance(10_000);
  assert.equal(a.peers().length, 1);
  a.ban(b.local.nodeIdText, { reason: "test" });
  await world.clock.advance(120_000);
  assert.equal(a.peers().length, 0);
  assert.ok(
    world.events[1].some((event) => event.event === "dropped" && event.reason === "ERR_MISC (dropped by user)"),
  );
  a.unban(b.local.nodeIdText);
  await world.clock.advance(600_000);
  assert.equal(a.peers().length, 1);
});

test("OverlayManager: sendTo, requestScpState and subscribe speak with one peer", async () => {
  const world = new World();
  const a = await world.add([]);
  const b = await world.add([1]);
  await world.clock.advance(10_000);
  const inbox = a.subscribe({ types: ["getScpState", "timeSlicedSurveyStartCollecting"] });
  assert.equal(b.sendTo(a.local.nodeIdText, { type: "getScpState", ledgerSeq: 7 }), true);
  assert.equal(b.sendTo(b.local.nodeIdText, { type: "getScpState", ledgerSeq: 7 }), false);
  assert.equal(b.requestScpState(9), 1);
  await world.clock.advance(1000);
  const first = (await inbox.next()).value;
  assert.deepEqual([first.from, first.type, first.message.decode()], [b.local.nodeIdText, "getScpState", {
    type: "getScpState",
    ledgerSeq: 7,
  }]);
  assert.equal((await inbox.next()).value.message.decode().ledgerSeq, 9);
});

test("OverlayManager.stop says shutdown to every peer, ends subscriptions and frees the port", async () => {
  const world = new World();
  const a = await world.add([]);
  await world.add([1]);
  await world.clock.advance(10_000);
  const inbox = a.subscribe();
  const stopped = a.stop();
  await world.clock.run(stopped);
  while (!(await inbox.next()).done);
  await world.clock.advance(100);
  assert.ok(world.events[1].some((event) => event.event === "dropped" && event.reason === "ERR_MISC (shutdown)"));
  await world.net.transport("11.0.0.1").listen({ host: "11.0.0.1", port: 11625 }, () => {});
});

test("OverlayManager: a full node offers its addresses and rejects, and the callers find others", async () => {
  const world = new World();
  await world.add([], { maxAdditionalPeerConnections: 1, targetPeerConnections: 1 });
  for (let i = 0; i < 3; i++) await world.add([1], { maxAdditionalPeerConnections: 2, targetPeerConnections: 2 });
  await world.clock.advance(300_000);
  assert.ok(world.nodes[0].counts.inbound <= 1);
  for (const node of world.nodes.slice(1)) assert.ok(node.peers().length >= 1, String(node));
  assert.ok(world.events.flat().some((event) => event.event === "dropped" && /peer rejected/.test(event.reason)));
});
