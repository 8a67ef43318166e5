import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { encodeMessage } from "../wire/messages.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";

/** The keys of an object and of the objects in it, in their order. */
function shapeOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.entries(value).map(([key, one]) => [key, shapeOf(one)]);
}

test("peersJson has the shape, the order of keys and the nulls of a recorded stellar-core's answer", async () => {
  const fixture = (name: string) =>
    JSON.parse(readFileSync(new URL(`../../tests/fixtures/http/${name}.json`, import.meta.url), "utf8"));
  const world = new World();
  const node = await world.add([2]);
  await world.add([]);
  await world.clock.advance(10_000);
  await world.remote(node);
  for (const [name, fullKeys] of [["peers", false], ["peers-fullkeys-true", true]] as const) {
    const recorded = fixture(name), ours = node.peersJson({ fullKeys });
    assert.deepEqual(Object.keys(ours), Object.keys(recorded));
    assert.deepEqual(ours.pending_peers, recorded.pending_peers);
    for (const direction of ["inbound", "outbound"] as const) {
      const [theirs] = recorded.authenticated_peers[direction], [peer] = ours.authenticated_peers[direction]!;
      // Overlay 42 shows the byte total too; the recording is of 40.
      const bytes = (peer.flow_control as { local_capacity_bytes: Record<string, number> }).local_capacity_bytes;
      assert.ok(bytes.reading >= 16_777_220);
      delete bytes.reading;
      assert.deepEqual(shapeOf(peer), shapeOf(theirs));
      assert.equal(peer.id.length, theirs.id.length);
      assert.match(peer.address, /^1[12]\.0\.0\.\d+:11625$/);
    }
  }
  const lonely = await world.add([]);
  assert.deepEqual(lonely.peersJson(), {
    authenticated_peers: { inbound: null, outbound: null },
    pending_peers: { inbound: null, outbound: null },
  });
});

test("peersJson with compact=false adds the counters, and lists are ordered by node id", async () => {
  const world = new World();
  const node = await world.add([]);
  const remotes = [await world.remote(node), await world.remote(node), await world.remote(node)];
  const [first] = remotes;
  first.onMessage = (message) => {
    if (message.type !== "getScpQuorumset") return;
    void world.clock.setTimer(
      20,
      () => first.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } }),
    );
  };
  first.send(transactionOf(1), transactionOf(1));
  await world.clock.advance(7000);
  const list = node.peersJson({ fullKeys: true, compact: false }).authenticated_peers.inbound!;
  assert.deepEqual(list.map(({ id }) => id), remotes.map(({ node: { nodeIdText } }) => nodeIdText).sort());
  const peer = list.find(({ id }) => id === first.node.nodeIdText)!;
  assert.deepEqual(Object.keys(peer), [
    "address",
    "async_read",
    "async_write",
    "byte_read",
    "byte_write",
    "duplicate_fetch_message_recv",
    "duplicate_flood_message_recv",
    "elapsed",
    "flow_control",
    "id",
    "latency",
    "message_delay_in_async_write_p75",
    "message_delay_in_write_queue_p75",
    "message_drop",
    "message_read",
    "message_write",
    "olver",
    "pull_mode",
    "unique_fetch_message_recv",
    "unique_flood_message_recv",
    "ver",
  ]);
  assert.deepEqual(peer.pull_mode, { demand_timeouts: 0, pull_latency: 0 });
  assert.deepEqual([peer.unique_flood_message_recv, peer.duplicate_flood_message_recv], [1, 1]);
  assert.deepEqual([peer.latency, peer.elapsed], [40, 7]);
  assert.equal(list.find(({ id }) => id !== first.node.nodeIdText)!.latency, 86_400_000);
  assert.deepEqual(Object.keys(peer.flow_control), [
    "local_capacity",
    "local_capacity_bytes",
    "outbound_queue_delay_advert_p75",
    "outbound_queue_delay_demand_p75",
    "outbound_queue_delay_scp_p75",
    "outbound_queue_delay_txs_p75",
    "peer_capacity",
    "peer_capacity_bytes",
  ]);
  assert.deepEqual(JSON.parse(JSON.stringify(peer)), peer, "plain JSON");
});

test("peers() has the pull latency and demand timeouts of each peer", async () => {
  const world = new World();
  const node = await world.add([]);
  const a = await world.remote(node), b = await world.remote(node);
  const message = encodeMessage(transactionOf(1));
  const hash = await crypto.subtle.digest("SHA-256", message.slice(4));
  for (const remote of [a, b]) remote.send({ type: "floodAdvert", txHashes: [new Uint8Array(hash)] });
  await world.clock.advance(2000);
  for (const remote of [a, b]) remote.send(message);
  await world.clock.advance(100);
  const pulls = node.peers().map(({ metrics }) => [metrics.demandTimeouts, metrics.pullLatencyP75]);
  pulls.sort(([one], [other]) => one - other);
  assert.deepEqual(pulls.map(([timeouts]) => timeouts), [0, 1]);
  assert.ok(pulls[0][1] > pulls[1][1] && pulls[1][1] > 1000, String(pulls));
});

test("pendingPeers shows dials and both stages of the handshake", async () => {
  const world = new World({ fate: () => "swallowed" });
  const node = await world.add([]);
  node.connect({ host: "11.0.0.50", port: 5000 });
  const hello = await world.remoteAtHello(node);
  const silent = await world.silent(node);
  await world.clock.advance(500);
  const [dialing, gotHello, connected] = node.pendingPeers();
  assert.deepEqual([dialing.address, dialing.role, dialing.stage], ["11.0.0.50:5000", "weCalledRemote", "dialing"]);
  assert.deepEqual([gotHello.stage, gotHello.nodeId], ["gotHello", hello.node.nodeIdText]);
  assert.deepEqual([connected.stage, connected.address], ["connected", `12.0.0.2:${silent.local.port}`]);
  assert.ok(dialing.sinceMs >= 500 && node.counts.pending === 3);
  assert.deepEqual(node.peersJson().pending_peers.outbound, ["11.0.0.50:5000"]);
  assert.equal(node.peersJson().pending_peers.inbound!.length, 2);
});
