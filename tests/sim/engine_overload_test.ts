/**
 * Transactions flood the network far above what links and subscribers take: queues and adverts are thrown away, subscribers
 * miss general messages and know how many, and every SCP statement still reaches everybody, in order of slots.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sleep } from "../../overlay/base/clock.ts";
import type { Subscription } from "../../overlay/manager/subscription.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import { nameOf, ScpTraffic } from "../kit/scp_traffic.ts";
import { figures, shareVerdicts, SimWorld } from "../kit/sim_world.ts";

const NODES = 14, FLOODERS = 4, SLOTS = 6, BODY_BYTES = 12_000, BURST = 250;
let restore: () => Promise<unknown>;
before(async () => void (restore = await shareVerdicts()));
after(() => restore());

/** What one subscriber saw. */
interface Log {
  subscription: Subscription;
  slots: number[];
  names: Set<string>;
  general: number;
  /** Sum of `missedBefore`. */
  told: number;
}

for (const seed of [2]) {
  test(`SCP survives a flood of transactions above every capacity, seed ${seed}`, async () => {
    await using world = new SimWorld({
      seed,
      delayMs: () => 40,
      config: { targetPeerConnections: 4, maxAdditionalPeerConnections: 10, maxTxSetSizeOps: 100 },
    });
    const knownPeers = await world.addresses(3);
    for (let i = 0; i < NODES; i++) await world.add({ config: { knownPeers } });
    await world.run(20_000);
    assert.ok(world.whole);

    // One subscriber reads at once, one takes 20 ms for each message: slower than messages come.
    let twice = 0;
    const logs = world.nodes.flatMap((node, i) =>
      [0, 20].map((readMs): Log => {
        const subscription = node.engine.subscribe(readMs === 0 ? {} : { generalLimit: 16, guardedLimit: 2 });
        const log: Log = { subscription, slots: [], names: new Set(), general: 0, told: 0 };
        void (async () => {
          for await (const { channel, type, message, missedBefore } of subscription) {
            log.told += missedBefore;
            if (channel === "general") log.general++;
            if (type === "scpMessage") {
              const name = nameOf(message.bytes);
              if (log.names.has(name)) twice++;
              log.names.add(name);
              const decoded = message.decode();
              if (decoded.type === "scpMessage") log.slots.push(Number(decoded.envelope.statement.slotIndex));
            }
            if (readMs > 0) await sleep(world.clock, readMs);
          }
        })();
        return log;
      })
    );
    const scp = new ScpTraffic(world.clock, [0, 4, 8].map((i) => () => world.nodes[i]));
    scp.start();
    const flooders = world.nodes.slice(-FLOODERS);
    let sent = 0;
    const burst = (): void => {
      for (const node of flooders) {
        for (let n = 0; n < BURST; n++, sent++) {
          node.engine.broadcast({ type: "transaction", transaction: world.transaction(BODY_BYTES) });
        }
      }
    };
    for (let slot = 0; slot < SLOTS; slot++) {
      burst();
      await world.run(5000);
    }
    scp.stop();
    await world.run(20_000);

    // The flood was above every capacity.
    const discards: Record<string, number> = {};
    for (const { engine } of world.nodes) {
      for (const [queue, n] of Object.entries(engine.metrics.snapshot().labelledCounters.queueDiscards)) {
        discards[queue] = (discards[queue] ?? 0) + n;
      }
    }
    figures("overload", {
      seed,
      sent,
      discards,
      bodies: world.tap.total(MessageType.transaction),
      adverts: world.tap.total(MessageType.floodAdvert),
      held: world.nodes.map(({ engine }) => engine.transactions.size),
      missed: logs.map(({ subscription }) => subscription.counts.missed),
      delayed: logs.map(({ subscription }) => subscription.counts.delayed),
      drops: [...world.drops],
      twice,
      scp: world.nodes.map(({ engine }) => engine.metrics.snapshot().labelledCounters.scpDiscards),
      scpGot: logs.map((l) => l.names.size), said: scp.said.length,
    });

    // Nobody was dropped, for credit or otherwise, once the network stood.
    for (const reason of world.drops.keys()) {
      assert.doesNotMatch(reason, /capacity|idle|straggling/);
    }
    for (const [at, { subscription, slots, names, general, told }] of logs.entries()) {
      const node = world.nodes[at >> 1];
      // Every statement of the others, in order of slots.
      for (const said of scp.said) {
        if (said.by === node.index) continue;
        assert.ok(names.has(said.name), `${node} missed ${said.kind} of ${said.by} in slot ${said.slot}`);
      }
      assert.deepEqual(slots, [...slots].sort((a, b) => a - b), `log ${at} ${JSON.stringify(subscription.counts)}`);
      const { missed, waiting, delivered } = subscription.counts;
      assert.deepEqual(waiting, { scp: 0, fetch: 0, general: 0 });
      assert.ok(delivered >= general + names.size);
      // What it missed is what it was told, but for what came after the last message that found room.
      assert.ok(told <= missed);
      if (at % 2 === 1) assert.ok(missed > 0, `${node}: the slow subscriber missed nothing`);
    }
    // One more general message, and every subscriber knows the exact number.
    world.nodes[NODES - 1].engine.broadcast({ type: "transaction", transaction: world.transaction() });
    await world.run(20_000);
    for (const { subscription, told } of logs) assert.equal(told, subscription.counts.missed);
    world.check();
    await world.finish();
  });
}
