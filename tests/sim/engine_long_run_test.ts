/**
 * A day of thirty engines: ledgers, transactions, nodes that go and come back, a name that moves, certificates that expire 24
 * times. Connections stay, and nothing that a node remembers grows. Periods are longer than usual, in proportion, so that a
 * day costs seconds.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { OverlayConfigChanges } from "../../overlay/base/config.ts";
import { type EngineNode, type EngineNodeOptions } from "../kit/engine_world.ts";
import { ScpTraffic } from "../kit/scp_traffic.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";
import { OverlayError } from "../../overlay/base/errors.ts";

const NODES = 30, MINUTE = 60_000, HOUR = 60 * MINUTE, HOURS = 24, LEDGER_MS = 20 * MINUTE;
const VALIDATORS = [3, 4];
const CONFIG: OverlayConfigChanges = {
  targetPeerConnections: 3,
  maxAdditionalPeerConnections: 9,
  checkMs: 5 * MINUTE,
  idleTimeoutMs: 12 * MINUTE,
  stragglerTimeoutMs: 25 * MINUTE,
  noCreditTimeoutMs: 25 * MINUTE,
  authenticationTimeoutMs: 59_000,
  closeTimeMs: LEDGER_MS,
  consensusStuckMs: 3 * LEDGER_MS,
  outOfSyncReconnectMs: 15 * MINUTE,
  outOfSyncRecoveryMs: 5 * MINUTE,
};
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

for (const seed of [1, 2, 3]) {
  test(`a day of 30 engines keeps connections and leaves nothing behind, seed ${seed}`, async () => {
    await using world = new SimWorld({ seed, config: CONFIG });
    // Three names are all that nodes are told; each stands for one node.
    const names = new Map<string, string>();
    for (const [i, { host }] of (await world.addresses(3)).entries()) names.set(`seed${i}.example`, host);
    let resolved = 0;
    const options: EngineNodeOptions = {
      config: { knownPeers: [...names.keys()].map((host) => ({ host, port: 11625 })) },
      resolver: {
        resolve: (host) => {
          resolved++;
          const found = names.get(host);
          if (found !== undefined) return Promise.resolve([found]);
          return Promise.reject(new OverlayError({ code: "dns_failed", host, reason: "ENOTFOUND" }));
        },
      },
    };
    for (let i = 0; i < NODES; i++) await world.add(options);
    const scp = new ScpTraffic(world.clock, VALIDATORS.map((i) => () => world.nodes[i]), {
      ledgerMs: LEDGER_MS,
      kinds: ["nominate", "externalize"],
    });
    scp.start();
    await world.run(HOUR);
    assert.ok(world.whole);
    world.check();

    // Nodes of the second half come and go; the others are there all day.
    const stable = world.nodes.slice(0, NODES / 2);
    const stableIds = new Set(stable.map((node) => node.id));
    const standing = linksAmong(stable, stableIds);
    let churned = 0, transactions = 0;
    const early = new Set(world.drops.keys());
    const hour = async (n: number): Promise<void> => {
      const index = NODES / 2 + world.random.int(NODES / 2), node = world.nodes[index];
      await world.stop(node);
      await world.run(10 * MINUTE);
      const back = await world.add({ ...options, index, seed: world.seedOf(node) });
      churned++;
      if (n === 6) {
        // A name moves to a node that was not there before; the old one stays where it is.
        const moved = await world.add(options);
        names.set("seed1.example", moved.address.host);
      }
      const untilMs = (n + 1) * HOUR;
      while (world.clock.nowMs() + LEDGER_MS / 2 <= untilMs) {
        const { running } = world;
        running[world.random.int(running.length)].engine.broadcast({
          type: "transaction",
          transaction: world.transaction(),
        });
        transactions++;
        await world.run(LEDGER_MS / 2);
      }
      await world.run(untilMs - world.clock.nowMs());
      world.tap.rotate();
      assert.ok(back.engine.peers().length > 0, `${back} came back`);
      assert.ok(world.whole, `hour ${n}: ${world.islands().map((island) => island.length)}`);
      world.check();
      sizes(world, scp, world.nodes.length + churned);
    };
    for (let n = 1; n < HOURS; n++) await hour(n);

    // Connections between nodes that stayed have lasted the day, though all their certificates have expired since.
    const now = linksAmong(stable, stableIds);
    for (const link of standing.keys()) {
      assert.ok(now.get(link)! >= (HOURS - 1) * HOUR, `${link}: ${now.get(link)} ms`);
    }
    assert.ok(standing.size >= 15, `${standing.size} links among the stable`);
    for (const { engine } of world.running) {
      const { expiration } = engine.local.auth.cert();
      assert.ok(Number(expiration) * 1000 > world.clock.wallMs());
    }
    // Nothing else ended one than a node that stopped, or a slot or a peer that was there already.
    const reasons = [...world.drops.keys()].filter((reason) => !early.has(reason));
    assert.deepEqual(reasons.filter((reason) => !/shutdown|rejected|already|to self/.test(reason)), []);
    // Everybody knows where the name points now, and follows the ledgers.
    const moved = world.nodes[NODES];
    for (const node of world.running) {
      assert.ok(node === moved || node.knows(moved) !== undefined, `${node} knows the moved seed`);
      assert.ok(node.engine.scp.tracking! >= scp.slot - 1, `${node} follows`);
    }
    // One run at start, then one per ten minutes for each name, per node.
    assert.ok(
      resolved > 0.9 * NODES * 3 * 6 * HOURS && resolved < 1.1 * (NODES + 1) * 3 * (6 * HOURS + 2),
      `${resolved}`,
    );
    figures("long run", {
      seed,
      churned,
      transactions,
      slots: scp.slot - 1000,
      links: standing.size,
      resolved,
      drops: Object.fromEntries([...world.drops].filter(([reason]) => !/already/.test(reason))),
      messages: Array.from({ length: 25 }, (_, type) => world.tap.total(type)).reduce((sum, n) => sum + n, 0),
      timers: world.virtual.waiting,
      sizes: sizes(world, scp, world.nodes.length + churned),
    });
    scp.stop();
    await world.finish();
  });
}

/** Age of the connections among some nodes, by the two node ids. */
function linksAmong(nodes: readonly EngineNode[], ids: ReadonlySet<string>): Map<string, number> {
  const links = new Map<string, number>();
  for (const node of nodes) {
    for (const { nodeId, connectedMs, role } of node.engine.peers()) {
      if (role === "weCalledRemote" && ids.has(nodeId)) {
        links.set(`${node.id.slice(0, 5)} ${nodeId.slice(0, 5)}`, connectedMs);
      }
    }
  }
  return links;
}

/** What each node remembers is within what its bounds leave of this traffic; gives the largest of each. */
function sizes(world: SimWorld, scp: ScpTraffic, lives: number): Record<string, number> {
  const { maxSlotsToRemember } = world.nodes[0].engine.config;
  // The remembered slots, the one that is being closed, and the first one of the checkpoint.
  const slots = maxSlotsToRemember + 2;
  const most: Record<string, number> = {
    // SCP statements and two transactions per ledger; and for a node that has just come, what it was told of the ledgers before,
    // since a record lives by the ledger that it was made in.
    floodRecords: slots * (scp.perSlot + 2) + slots * scp.perSlot,
    // Those of four ledgers and of this one.
    transactions: 10,
    demands: 1,
    waiting: 0,
    fetching: 0,
    processed: slots * scp.perSlot,
    slots,
    quorumSets: VALIDATORS.length,
    txSets: scp.slot - 1000 + 1,
    // One per role and per life of a node: each start makes a new key.
    sharedKeys: 2 * lives,
    addresses: world.nodes.length,
    pending: 0,
  };
  const largest: Record<string, number> = {};
  for (const { engine } of world.running) {
    const { quorumSets, txSets } = engine.dispatcher.fetching;
    const found: Record<string, number> = {
      floodRecords: engine.floodgate.size,
      transactions: engine.transactions.size,
      demands: engine.demands.size,
      waiting: engine.dispatcher.waiting,
      fetching: quorumSets + txSets,
      processed: engine.dispatcher.processed,
      slots: engine.scp.slots,
      quorumSets: engine.dispatcher.quorumSets.size,
      txSets: engine.dispatcher.txSets.size,
      sharedKeys: engine.local.auth.cached.sharedKeys,
      addresses: engine.peerManager.count(),
      pending: engine.counts.pending,
    };
    for (const [what, size] of Object.entries(found)) {
      assert.ok(size <= most[what], `${engine}: ${what} ${size}, at most ${most[what]}`);
      largest[what] = Math.max(largest[what] ?? 0, size);
    }
  }
  // Timers: a few per node, one per end of a connection, and the validators'.
  const ends = world.running.reduce((sum, { engine }) => sum + engine.counts.inbound + engine.counts.outbound, 0);
  const timers = 6 * world.running.length + ends + scp.perSlot + 1;
  assert.ok(world.virtual.waiting <= timers, `${world.virtual.waiting} timers, at most ${timers}`);
  assert.ok(world.virtual.pending <= 4 * timers, `${world.virtual.pending} timers held`);
  return largest;
}
