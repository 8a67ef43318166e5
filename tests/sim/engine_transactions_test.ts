/** A transaction is advertised once, demanded once and sent once per node, also where some peers advertise and never deliver. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 40, TRANSACTIONS = 30;
/** The first nodes take twelve callers, so that the others have to find each other. */
const CONFIG = { targetPeerConnections: 5, maxAdditionalPeerConnections: 12 };
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

for (const seed of [1, 2, 3]) {
  for (const liars of [0, 10]) {
    test(`a transaction's body reaches every engine exactly once, ${liars} of 40 never deliver, seed ${seed}`, async () => {
      await using world = new SimWorld({ seed, config: CONFIG });
      const knownPeers = await world.addresses(3);
      for (let i = 0; i < NODES; i++) {
        // A liar takes part in everything, but leaves every FLOOD_DEMAND unanswered.
        const lies = i >= 3 && i < 3 + liars;
        await world.add({ config: { knownPeers }, before: (engine) => lies && (engine.demands.answer = () => {}) });
      }
      await world.run(30_000);
      assert.ok(world.whole && world.nodes.every(({ engine }) => engine.counts.outbound >= 3));
      const hostOf = new Map(world.nodes.map((node) => [node.address.host, node]));
      const bodies = new Map<string, Map<string, number>>();
      world.tap.onHeard = (_from, to, type, message) => {
        if (type !== MessageType.transaction) return;
        const hash = transactionHash(message);
        const counts = bodies.get(hash) ?? new Map<string, number>();
        bodies.set(hash, counts.set(to, 1 + (counts.get(to) ?? 0)));
      };
      const subscriptions = world.nodes.map(({ engine }) => engine.subscribe({ types: ["transaction"] }));
      const honest = world.nodes.filter((_, i) => i < 3 || i >= 3 + liars);
      const origin = new Map<string, string>();
      for (let n = 0; n < TRANSACTIONS; n++) {
        const from = honest[world.random.int(honest.length)];
        const transaction = world.transaction();
        const told = from.engine.broadcast({ type: "transaction", transaction });
        assert.equal(told.length, from.engine.peers().length);
        origin.set(transactionHash(new Uint8Array([0, 0, 0, 8, ...transaction])), from.address.host);
        await world.run(50);
      }
      const startedMs = world.clock.nowMs();
      const all = () => world.nodes.every(({ engine }) => engine.transactions.size === TRANSACTIONS);
      const tookMs = await world.until(all, "every node has every transaction");
      await world.run(startedMs + 90_000 - world.clock.nowMs());
      for (const [hash, host] of origin) {
        const counts = bodies.get(hash)!;
        for (const at of hostOf.keys()) assert.equal(counts.get(at) ?? 0, at === host ? 0 : 1, `${hash} at ${at}`);
      }
      const delivered = subscriptions.map(({ counts }) => counts.waiting.general);
      const own = world.nodes.map(({ address }) => [...origin.values()].filter((host) => host === address.host).length);
      assert.deepEqual(delivered, own.map((count) => TRANSACTIONS - count));
      const timeouts = world.nodes.reduce((sum, { engine }) => sum + engine.demands.counts.timeouts, 0);
      // Without liars nobody waits for a second peer; with them somebody must.
      assert.equal(timeouts > 0, liars > 0);
      // The records of demands are gone again.
      assert.deepEqual(world.nodes.map(({ engine }) => engine.demands.size), world.nodes.map(() => 0));
      world.check();
      figures("transactions", { seed, liars, tookMs, timeouts, adverts: world.tap.total(MessageType.floodAdvert) });
      await world.finish();
    });
  }
}
