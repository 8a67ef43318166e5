/** A watcher that looks into ledgers: with `fetchItems` it has the transaction sets that good SCP messages name. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { initPrimitives } from "../crypto/primitives.ts";
import type { ReadyEnvelope } from "../flood/message_dispatcher.ts";
import { EngineWorld } from "../../tests/kit/engine_world.ts";
import { ScpTraffic } from "../../tests/kit/scp_traffic.ts";

before(() => initPrimitives());

for (const fetchItems of [true, false, undefined]) {
  test(`observers hear each good SCP message once; fetchItems ${fetchItems}: with its transaction set or not`, async () => {
    await using world = new EngineWorld();
    const validator = await world.add();
    const watcher = await world.add({
      config: { isValidator: false, knownPeers: [validator.address] },
      fetchItems,
    });
    await world.connected(validator, watcher);
    const heard: ReadyEnvelope[] = [];
    const { engine } = watcher;
    const unobserve = engine.observe({
      onEnvelope: (envelope) => {
        heard.push(envelope);
        for (const hash of envelope.txSetHashes) assert.equal(engine.dispatcher.txSets.has(hash), fetchItems === true);
      },
    });
    const traffic = new ScpTraffic(world.clock, [() => validator]);
    traffic.start();
    await world.run(9000);
    traffic.stop();
    assert.equal(heard.length, 8, "two slots of four statements");
    assert.equal(new Set(heard.map(({ id }) => id)).size, 8);
    assert.equal(engine.metrics.counters.ignoredMessages, 0);
    unobserve();
  });
}
