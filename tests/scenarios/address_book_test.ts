/**
 * stellar-core's scenarios of dialing and of the address book, played by whole engines.
 * Source: stellar-core OverlayTests.cpp.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerAddress } from "../../overlay/base/peer_address.ts";
import type { PeerRecord } from "../../overlay/db/peer_manager.ts";
import { EngineWorld } from "../kit/engine_world.ts";

const SEEDS = [1, 2, 3, 4, 5];
/** Nobody is there. */
const DEAD: PeerAddress = { host: "11.9.9.9", port: 11625 };

for (const seed of SEEDS) {
  test(`scenario: connecting to saturated nodes, seed ${seed}`, async () => {
    await using world = new EngineWorld({ seed });
    const head = await world.add({
      config: { noDial: true, targetPeerConnections: 0, maxAdditionalPeerConnections: 1 },
    });
    const config = { knownPeers: [head.address], targetPeerConnections: 1, maxAdditionalPeerConnections: 1 };
    // Ends of connections: each counts at both of its nodes.
    const ends = () => world.nodes.reduce((sum, node) => sum + node.engine.peers().length, 0);
    for (const [expected, limitMs] of [[2, 3000], [4, 20_000], [6, 30_000]]) {
      await world.add({ config });
      await world.until(() => ends() === expected, `${expected} ends`, limitMs);
    }
    assert.equal(world.islands().length, 1);
    assert.equal(head.engine.counts.inbound, 1);
    await world.stop(head);
    world.nodes.shift();
    // Three nodes with a place in and a place out each: only a ring has six ends.
    await world.until(() => ends() === 6, "the others in a ring", 30_000);
    assert.deepEqual(world.nodes.map(({ engine }) => [engine.counts.inbound, engine.counts.outbound]), [
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
  });

  test(`scenario: inbounds nodes can be promoted to ouboundvalid, seed ${seed}`, async () => {
    await using world = new EngineWorld({ seed });
    const addresses = await world.addresses(3);
    const one = await world.add({ config: { knownPeers: [addresses[1]] } });
    const two = await world.add();
    const three = await world.add({ config: { knownPeers: [addresses[0]] } });
    const known = () => world.nodes.map((node) => world.nodes.map((other) => node.knows(other) ?? "-").join(" "));
    await world.run(2001);
    assert.deepEqual(known(), ["- outbound -", "- - -", "outbound - -"]);
    await world.until(() => one.has(two) && one.has(three), "the configured connections", 5000);
    assert.deepEqual([one.knows(two), two.knows(one), three.knows(one), one.knows(three)], [
      "outbound",
      "inbound",
      "outbound",
      "inbound",
    ]);
    const everybody = ["- outbound outbound", "outbound - outbound", "outbound outbound -"];
    await world.until(() => known().join() === everybody.join(), "all dialed by all", 30_000);
  });
}

/** A record of an address that once answered; it is due now, or not within a test. */
function failed(numFailures: number, due: boolean): PeerRecord {
  return { type: "outbound", numFailures, nextAttemptAt: due ? 0 : Number.MAX_SAFE_INTEGER };
}

test("scenario: database is purged at overlay start", async () => {
  await using world = new EngineWorld();
  const counts = [118, 119, 120, 121, 122];
  const at = (port: number): PeerAddress => ({ ...DEAD, port });
  const node = await world.add({
    before: ({ peerManager }) => counts.forEach((n) => peerManager.store(at(n), failed(n, false))),
  });
  assert.deepEqual(counts.map((n) => node.failures(at(n))), counts);
  await world.run(2000);
  assert.deepEqual(counts.map((n) => node.failures(at(n))), [118, 119, undefined, undefined, undefined]);
});

test("scenario: peer numfailures resets after good connection", async () => {
  await using world = new EngineWorld();
  const live = await world.add();
  const node = await world.add({ before: ({ peerManager }) => peerManager.store(live.address, failed(119, true)) });
  await world.run(1000);
  assert.equal(node.failures(live), 119);
  await world.run(3000);
  assert.equal(node.has(live), true);
  assert.equal(node.failures(live), 0);
});

for (const fate of ["refused", "unreachable", "swallowed"] as const) {
  test(`scenario: peer is purged from database after few failures, a dial is ${fate}`, async () => {
    await using world = new EngineWorld({ fate: () => fate });
    const node = await world.add({ before: ({ peerManager }) => peerManager.store(DEAD, failed(119, true)) });
    await world.run(1000);
    assert.equal(node.failures(DEAD), 119);
    await world.run(fate === "swallowed" ? 7000 : 4000);
    assert.equal(node.failures(DEAD), undefined);
    assert.deepEqual(node.events.map(({ event }) => event), ["listening", "dialing", "dialFailed"]);
  });
}
