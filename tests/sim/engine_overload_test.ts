/**
 * Transactions flood the network far above what links and subscribers take: queues and adverts are thrown away, subscribers
 * miss general messages and know how many, and every SCP statement still reaches everybody, in order of slots.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sleep } from "../../overlay/base/clock.ts";
import type { SubscribeOptions, Subscription, SubscriptionCounts } from "../../overlay/manager/subscription.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import type { EngineNode } from "../kit/engine_world.ts";
import { nameOf, ScpTraffic } from "../kit/scp_traffic.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 14, FLOODERS = 4, SLOTS = 3, LEDGER_MS = 5000, BURST = 40, BURST_MS = 500;
/** Links carry 20 messages per round trip of 200 ms, and 100 transactions or hashes wait. Demands are for more than that. */
const CONFIG = {
  targetPeerConnections: 4,
  maxAdditionalPeerConnections: 10,
  maxTxSetSizeOps: 100,
  sorobanLedgerMaxTxCount: 500,
  flowControl: { floodMessages: 20, totalMessages: 21, batchMessages: 4 },
};
/** Subscribers of each node: one that keeps up, one that is too slow for general messages, one that is slow with SCP. */
const READERS: { readMs: number; options: SubscribeOptions }[] = [
  { readMs: 0, options: {} },
  { readMs: 20, options: { generalLimit: 16 } },
  { readMs: 300, options: { types: ["scpMessage"], guardedLimit: 1 } },
];
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

/** What one subscriber saw. */
interface Log {
  node: EngineNode;
  subscription: Subscription;
  /** Names of SCP statements, in order. */
  said: string[];
  general: number;
  /** Sum of `missedBefore`. */
  told: number;
}

for (const seed of [1, 2, 3]) {
  test(`SCP survives a flood of transactions above every capacity, seed ${seed}`, async () => {
    await using world = new SimWorld({ seed, delayMs: () => 100, config: CONFIG });
    const knownPeers = await world.addresses(3);
    for (let i = 0; i < NODES; i++) await world.add({ config: { knownPeers } });
    await world.run(20_000);
    assert.ok(world.whole);

    const logs = world.nodes.flatMap((node) =>
      READERS.map(({ readMs, options }): Log => {
        const subscription = node.engine.subscribe(options);
        const log: Log = { node, subscription, said: [], general: 0, told: 0 };
        void (async () => {
          for await (const { channel, type, message, missedBefore } of subscription) {
            log.told += missedBefore;
            if (channel === "general") log.general++;
            if (type === "scpMessage") log.said.push(nameOf(message.bytes));
            if (readMs > 0) await sleep(world.clock, readMs);
          }
        })();
        return log;
      })
    );
    const scp = new ScpTraffic(world.clock, [0, 4, 8].map((i) => () => world.nodes[i]), {
      ledgerMs: LEDGER_MS,
    });
    scp.start();
    const flooders = world.nodes.slice(-FLOODERS);
    let sent = 0;
    for (let ms = 0; ms < SLOTS * LEDGER_MS; ms += BURST_MS) {
      for (const node of flooders) {
        for (let n = 0; n < BURST; n++, sent++) {
          node.engine.broadcast({ type: "transaction", transaction: world.transaction(600) });
        }
      }
      await world.run(BURST_MS);
    }
    scp.stop();
    await world.run(30_000);

    // Every general queue was too small, and no SCP queue.
    const discards = { scp: 0, txs: 0, demand: 0, advert: 0 } as Record<string, number>;
    for (const { engine } of world.nodes) {
      for (const [queue, n] of Object.entries(engine.metrics.snapshot().labelledCounters.queueDiscards)) {
        discards[queue] += n;
      }
    }
    assert.equal(discards.scp, 0);
    for (const queue of ["txs", "demand", "advert"]) assert.ok(discards[queue] > 100, JSON.stringify(discards));
    // Nobody was dropped for it.
    for (const reason of world.drops.keys()) assert.doesNotMatch(reason, /capacity|idle|straggling|SEND_MORE/);

    const orderOf = new Map(scp.said.map(({ name, slot }) => [name, slot]));
    for (const { node, subscription, said, general, told } of logs) {
      // Every statement of the others came, once and in order of slots. Own ones may come back.
      const own = new Set(scp.said.filter(({ by }) => by === node.index).map(({ name }) => name));
      const others = said.filter((name) => !own.has(name));
      const wanted = scp.said.map(({ name }) => name).filter((name) => !own.has(name));
      assert.deepEqual([...others].sort(), wanted.sort(), String(node));
      const slots = others.map((name) => orderOf.get(name)!);
      assert.deepEqual(slots, [...slots].sort((a, b) => a - b), String(node));
      const { missed, waiting, delivered } = subscription.counts;
      assert.deepEqual(waiting, { scp: 0, fetch: 0, general: 0 });
      assert.ok(delivered >= general + said.length && told <= missed);
    }
    const sumOf = (reader: number, of: (counts: SubscriptionCounts) => number) =>
      logs.filter((_, i) => i % READERS.length === reader).reduce((sum, log) => sum + of(log.subscription.counts), 0);
    assert.equal(sumOf(0, ({ missed }) => missed), 0);
    assert.ok(sumOf(1, ({ missed }) => missed) > 1000);
    assert.ok(sumOf(2, ({ delayed }) => delayed) > 0 && sumOf(2, ({ missed }) => missed) === 0);
    figures("overload", {
      seed,
      sent,
      discards,
      bodies: world.tap.total(MessageType.transaction),
      missed: sumOf(1, ({ missed }) => missed),
      delayed: sumOf(2, ({ delayed }) => delayed),
      statements: scp.said.length,
    });
    // One more general message, and every subscriber knows the exact number.
    world.nodes[NODES - 1].engine.broadcast({ type: "transaction", transaction: world.transaction() });
    await world.run(20_000);
    for (const { subscription, told } of logs) assert.equal(told, subscription.counts.missed);
    // The number is right: what the slow one got and missed is what the one beside it got.
    for (let at = 0; at < logs.length; at += READERS.length) {
      const [all, slow] = [logs[at], logs[at + 1]];
      assert.equal(slow.general + slow.told, all.general, String(all.node));
    }
    world.check();
    await world.finish();
  });
}
