/**
 * The network falls apart into two halves and comes together again. What heals it is stellar-core's rule for nodes out of
 * sync: the half without validators gives up peers for addresses that may know more; the other half has no reason to.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parsePeerAddress } from "../../overlay/base/peer_address.ts";
import { ScpTraffic } from "../kit/scp_traffic.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 30, MINUTE = 60_000, CUT_MINUTES = 5, CREDIT = 60;
/** The first nodes take eight callers, so that the others have to find each other. A small credit is used up soon. */
const CONFIG = {
  targetPeerConnections: 4,
  maxAdditionalPeerConnections: 8,
  flowControl: { floodMessages: CREDIT, totalMessages: CREDIT + 1, batchMessages: CREDIT / 3 },
};
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

for (const seed of [1, 2, 3]) {
  // Across the cut, dials are refused in one run, and time out in the others.
  const fate = seed === 2 ? "refused" : "swallowed";
  test(`a partition heals: ${fate} dials, seed ${seed}`, async () => {
    await using world = new SimWorld({ seed, config: CONFIG });
    const knownPeers = await world.addresses(3);
    for (let i = 0; i < NODES; i++) await world.add({ config: { knownPeers } });
    // Validators, and the three known addresses, are in the west.
    const west = world.nodes.slice(0, NODES / 2), east = world.nodes.slice(NODES / 2);
    const scp = new ScpTraffic(world.clock, [0, 5, 10].map((i) => () => world.nodes[i]), {
      ledgerMs: 10_000,
      kinds: ["nominate", "externalize"],
    });
    scp.start();
    await world.run(2 * MINUTE);
    assert.ok(world.whole);
    const slotsOf = (nodes: typeof west) => nodes.map(({ engine }) => engine.scp.tracking ?? 0);
    assert.ok(slotsOf(world.nodes).every((slot) => slot >= scp.slot - 1), "all follow the ledgers");
    const side = new Map(world.nodes.map((node, i) => [node.address.host, i < NODES / 2]));
    const ids = new Map(world.nodes.map((node) => [node.id, side.get(node.address.host)]));
    const linksOf = (nodes: typeof west) =>
      nodes.reduce((sum, node) => {
        const here = side.get(node.address.host);
        return sum + node.engine.peers().filter((peer) => ids.get(peer.nodeId) !== here).length;
      }, 0);
    const across = () => linksOf(world.nodes);
    const links = across();
    assert.ok(links > 20, `${links}`);

    /** Of each address across the cut, by who dialed it: dials, failures counted, and when the next one is due. */
    const dials = new Map<string, { times: number; failures: number; dueAt: number }>();
    const slotAtCut = scp.slot;
    let tooEarly = 0, cut = true;
    world.onEvent = (node, event) => {
      if (!cut || event.event !== "dialing") return;
      const address = parsePeerAddress(event.address);
      if (side.get(address.host) === side.get(node.address.host)) return;
      const pair = `${node.index} ${event.address}`, last = dials.get(pair);
      const { numFailures: failures, nextAttemptAt: dueAt } = node.engine.peerManager.load(address).record;
      if (last !== undefined && (world.clock.wallMs() < last.dueAt || failures !== last.failures + 1)) tooEarly++;
      dials.set(pair, { times: 1 + (last?.times ?? 0), failures, dueAt });
    };
    world.net.partition((a, b) => side.get(a) !== side.get(b), fate);
    // Silence in both directions ends a connection. The east is silent at once; what the west sends counts as written, as it
    // does for TCP, until the credit is used up;
    // questions for items need none, and one now and then goes to a peer that cannot hear it.
    const eastMs = await world.eventually(() => linksOf(east) === 0, "the east has dropped the west", 45_000);
    assert.ok(eastMs >= 30_000);
    const goneMs = eastMs + await world.eventually(() => across() === 0, "the west has dropped the east", 5 * MINUTE);
    assert.ok((world.drops.get("idle timeout") ?? 0) >= links, `${[...world.drops]}`);
    await world.run(CUT_MINUTES * MINUTE - goneMs);
    assert.equal(across(), 0);
    assert.ok(slotsOf(west).every((slot) => slot >= scp.slot - 1), "the west goes on");
    assert.ok(slotsOf(east).every((slot) => slot <= slotAtCut), "the east hears nothing");
    assert.ok(east.every(({ engine }) => !engine.isTracking) && west.every(({ engine }) => engine.isTracking));
    // Books back off: who is out of sync tries others all the time, but none before its time, which doubles on average.
    assert.equal(tooEarly, 0);
    const times = [...dials.values()].map((dial) => dial.times);
    assert.ok(times.length > NODES && Math.max(...times) >= 2, `${times}`);
    cut = false;
    world.check();

    world.net.heal();
    const healedMs = await world.eventually(() => world.whole, "the halves are one again", 15 * MINUTE);
    const syncMs = await world.eventually(
      () => slotsOf(east).every((slot) => slot >= scp.slot - 1),
      "the east has caught up",
      2 * MINUTE,
    );
    // A transaction of each half crosses.
    const counts = () => world.nodes.map(({ engine }) => engine.transactions.size);
    for (const node of [west[7], east[7]]) {
      node.engine.broadcast({ type: "transaction", transaction: world.transaction() });
    }
    await world.eventually(() => counts().every((count) => count === 2), "both transactions are everywhere", 5000);
    assert.ok(east.every(({ engine }) => engine.isTracking));
    world.check();
    figures("partition", {
      seed,
      fate,
      links,
      goneMs,
      dialed: times.length,
      healedMs,
      syncMs,
      across: across(),
    });
    scp.stop();
    await world.finish();
  });
}
