import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./overlay_manager_test_kit.ts";

const at = (n: number) => ({ host: `11.0.0.${n}`, port: 11625 });

test("the address book keeps how each dial ended: admitted, full, banned there, nobody there", async () => {
  const world = new World();
  const open = await world.add([]);
  const full = await world.add([], { maxAdditionalPeerConnections: 0, targetPeerConnections: 1 });
  const strict = await world.add([]);
  const node = await world.add([1, 2, 3, 99]);
  strict.ban(node.local.nodeIdText);
  await world.clock.advance(9000);
  const outcome = (n: number) => node.peerManager.entry(at(n))?.outcome ?? null;
  const admitted = outcome(1)!;
  assert.deepEqual([admitted.code, admitted.nodeId], [null, open.local.nodeIdText]);
  assert.equal(admitted.admittedAt, admitted.at);
  const refused = outcome(2)!;
  assert.deepEqual([refused.code, refused.nodeId, refused.admittedAt], ["peer_rejected", full.local.nodeIdText, null]);
  assert.deepEqual([outcome(3)!.code, outcome(3)!.admittedAt, outcome(3)!.nodeId], ["silent_close", null, null]);
  assert.equal(outcome(99)!.code, "connect_refused");
  // What a caller's address is like is not known from its call.
  assert.equal(open.peerManager.entry(at(4))?.outcome, null);
  await world.stop(node);
});

test("an admission stays on record when the connection ends, with its round trip; a ban of our own is no outcome", async () => {
  const world = new World();
  const remote = await world.add([]);
  const node = await world.add([1]);
  await world.clock.advance(30_000);
  const before = node.peerManager.entry(at(1))!.outcome!;
  assert.deepEqual([before.code, before.rttMs], [null, null]);
  node.ban(remote.local.nodeIdText);
  await world.clock.advance(60_000);
  const after = node.peerManager.entry(at(1))!.outcome!;
  // Dialed again and dropped at its HELLO meanwhile.
  assert.ok(node.peerManager.load(at(1)).record.numFailures > 0);
  assert.deepEqual(after, { ...before, rttMs: after.rttMs });
  assert.ok(after.rttMs! >= 20 && after.rttMs! < 60, `${after.rttMs} ms over two links of 10 ms`);
  await world.stop(node);
});
