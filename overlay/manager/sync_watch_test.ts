import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../base/clock.ts";
import { sha256 } from "../crypto/primitives.ts";
import { encodeMessage } from "../wire/messages.ts";
import { externalize, nominate, quorumSetOf, scpMessage, validators, value } from "../flood/scp_state_test_kit.ts";
import { World } from "./overlay_manager_test_kit.ts";
import { SyncWatch } from "./sync_watch.ts";

const CONFIG = { consensusStuckMs: 35_000, outOfSyncRecoveryMs: 10_000 };

function watched() {
  const clock = new VirtualClock();
  const told: string[] = [];
  const at = (what: string) => void told.push(`${clock.nowMs() / 1000} ${what}`);
  const watch = new SyncWatch({
    clock,
    config: CONFIG,
    events: {
      onLost: (ms) => at(`lost ${ms}`),
      onRecover: () => at("recover"),
      onGained: (ms) => at(`gained ${ms}`),
    },
  });
  return { clock, told, watch };
}

test("SyncWatch loses the network after 35 s without a ledger, recovers every 10 s, and gains it again", async () => {
  const { clock, told, watch } = watched();
  watch.ledger();
  await clock.advance(34_999);
  watch.ledger();
  await clock.advance(34_999);
  assert.deepEqual([told, watch.outOfSync], [["0 gained 0"], false]);
  await clock.advance(1);
  assert.equal(watch.outOfSync, true);
  await clock.advance(25_000);
  watch.ledger();
  assert.deepEqual(told.slice(1), ["69.999 lost 35000", "79.999 recover", "89.999 recover", "94.999 gained 25000"]);
  watch.close();
  await clock.advance(100_000);
  assert.equal(clock.pending, 0);
  watch.ledger();
  watch.connected();
  assert.deepEqual([told.length, clock.pending], [5, 0]);
});

test("SyncWatch expects ledgers from the first peer on, and no longer when it is alone without having heard one", async () => {
  const { clock, told, watch } = watched();
  await clock.advance(100_000);
  watch.connected();
  await clock.advance(30_000);
  watch.alone();
  await clock.advance(100_000);
  assert.deepEqual(told, []);
  watch.connected();
  await clock.advance(20_000);
  watch.connected();
  await clock.advance(15_000);
  watch.alone();
  await clock.advance(10_000);
  assert.deepEqual(told, ["265 lost 35000", "275 recover"], "what is lost stays lost");
  watch.close();
});

test("a node out of sync asks two random peers for SCP state every ten seconds, and says when it lost and found the network", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false, noDial: true });
  const remotes = [await world.remote(node), await world.remote(node), await world.remote(node)];
  for (const remote of remotes) {
    assert.deepEqual(remote.received.filter(({ type }) => type === "getScpState"), [
      { type: "getScpState", ledgerSeq: 0 },
    ], "every node asks right after authentication");
    remote.received.length = 0;
    remote.onMessage = (message) => {
      if (message.type !== "getScpQuorumset") return;
      remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
    };
  }
  const asked = () => remotes.map(({ received }) => received.filter(({ type }) => type === "getScpState").length);
  const keys = validators(3), hash = quorumSetOf(keys).hash;
  const say = (slot: number) => {
    for (const key of keys) remotes[0].send(scpMessage(key, slot, externalize(hash, value(key, hash))));
  };
  say(500);
  await world.clock.advance(1000);
  assert.deepEqual([node.ledgerSeq, node.outOfSync, node.isTracking], [500, false, true]);
  assert.deepEqual(world.eventsOf(node, "syncGained"), [{ event: "syncGained", ledgerSeq: 500, outOfSyncMs: 0 }]);
  await world.clock.advance(35_000);
  assert.deepEqual([node.outOfSync, node.isTracking], [true, false]);
  assert.deepEqual(world.eventsOf(node, "syncLost"), [{ event: "syncLost", ledgerSeq: 500, silentMs: 35_000 }]);
  assert.deepEqual(asked(), [0, 0, 0]);
  await world.clock.advance(10_000);
  assert.equal(asked().reduce((sum, n) => sum + n), 2);
  assert.ok(Math.max(...asked()) === 1, "two different ones");
  assert.deepEqual(remotes.flatMap(({ received }) => received).find(({ type }) => type === "getScpState"), {
    type: "getScpState",
    ledgerSeq: 489,
  });
  await world.clock.advance(50_000);
  assert.equal(asked().reduce((sum, n) => sum + n), 12);
  say(501);
  await world.clock.advance(1000);
  assert.equal(node.outOfSync, false);
  assert.equal(world.eventsOf(node, "syncGained").length, 2);
  const before = asked();
  await world.clock.advance(30_000);
  assert.deepEqual(asked(), before);
  await world.stop(node);
});

test("a node that hears of no ledger at all asks too, while it has peers", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false, noDial: true });
  const remote = await world.remote(node);
  remote.onMessage = (message) => {
    if (message.type !== "getScpQuorumset") return;
    remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
  };
  await world.clock.advance(60_000);
  assert.deepEqual(world.eventsOf(node, "syncLost"), [{ event: "syncLost", ledgerSeq: undefined, silentMs: 35_000 }]);
  assert.equal(remote.types.filter((type) => type === "getScpState").length, 3);
  assert.equal(node.isTracking, true);
  await world.stop(node);
});

test("our own statements answer GET_SCP_STATE, and while out of sync they reach peers that came later", async () => {
  const world = new World();
  const key = validators(1)[0];
  const node = await world.add([], { noDial: true }, { seed: sha256(Uint8Array.of(0, 0)) });
  const first = await world.remote(node);
  assert.deepEqual(node.local.nodeId, key.publicKey);
  node.scp.track(76);
  const hash = quorumSetOf([key]).hash;
  const own = [nominate(hash, value(key, hash)), externalize(hash, value(key, hash))].map((pledges) =>
    scpMessage(key, 77, pledges)
  );
  const statements = (remote: typeof first) =>
    remote.received.filter(({ type }) => type === "scpMessage").map((message) => encodeMessage(message));
  for (const message of own) node.broadcast(world.decode(message));
  await world.clock.advance(100);
  assert.deepEqual(statements(first), own);
  const late = await world.remote(node);
  for (const remote of [first, late]) {
    remote.onMessage = (message) => {
      if (message.type !== "getScpQuorumset") return;
      remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
    };
  }
  assert.deepEqual(statements(late), []);
  await world.clock.advance(44_000);
  assert.deepEqual(statements(late), [], "not before the node is out of sync");
  await world.clock.advance(12_000);
  assert.deepEqual(statements(late), own);
  assert.deepEqual(statements(first), own, "once each");
  late.send({ type: "getScpState", ledgerSeq: 0 });
  await world.clock.advance(100);
  assert.deepEqual(statements(late), [...own, ...own]);
  await world.stop(node);
});
