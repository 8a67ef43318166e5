/**
 * stellar-core's scenarios of silence, slowness and too many questions, between whole engines.
 * Source: stellar-core OverlayTests.cpp.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineWorld } from "../kit/engine_world.ts";
import { Voice } from "../kit/voices.ts";

for (const [section, limitMs] of [["2 seconds timeout", 2000], ["5 seconds timeout", 5000]] as const) {
  test(`scenario: reject peers who dont handshake quickly, ${section}`, async () => {
    await using world = new EngineWorld({ config: { noDial: true, authenticationTimeoutMs: limitMs } });
    const a = await world.add(), b = await world.add();
    world.spoil(a, b, { corked: true });
    a.dial(b);
    const tookMs = await world.until(() => b.drops().length > 0, "B dropped A", limitMs + 5000);
    assert.ok(tookMs >= limitMs);
    assert.deepEqual(b.reasons(), ["us: idle timeout"]);
    assert.equal(b.drops()[0].failure.code, "handshake_timeout");
    await world.run(1000);
    assert.deepEqual([a.engine.counts.pending, b.engine.counts.pending], [0, 0]);
    assert.deepEqual([a.failures(b), b.knows(a)], [1, undefined]); // A's attempt, and nothing else
  });
}

for (
  const [section, limitMs] of [["60 seconds straggle timeout", 60_000], ["120 seconds straggle timeout", 120_000], [
    "150 seconds straggle timeout",
    150_000,
  ]] as const
) {
  test(`scenario: drop peers who straggle, ${section}`, async () => {
    await using world = new EngineWorld({ config: { noDial: true } });
    const a = await world.add(), b = await world.add({ config: { stragglerTimeoutMs: limitMs } });
    a.dial(b);
    await world.connected(a, b);
    world.spoil(b, a, { straggling: true });
    const startMs = world.clock.nowMs();
    for (let n = 0; b.drops().length === 0 && world.clock.nowMs() - startMs < 3 * limitMs; n++) {
      a.engine.sendTo(b.id, { type: "getTxSet", txSetHash: new Uint8Array(32).fill(n) });
      await world.run(1000);
    }
    assert.ok(world.clock.nowMs() - startMs >= limitMs / 2, "not at once");
    assert.deepEqual(b.reasons(), ["us: straggling (cannot keep up)"]);
    await world.run(20_000);
    assert.deepEqual(a.drops().map(({ by }) => by), ["remote"]);
  });
}

test("scenario: GET_SCP_STATE rate limiting, between engines", async () => {
  await using world = new EngineWorld({ config: { noDial: true, consensusStuckMs: 3_600_000 } });
  const a = await world.add(), b = await world.add();
  // Out of sync they would ask of their own accord. One statement to answer with: every request that is served brings it once.
  new Voice(1).sayAt(b.engine, 5, "externalize");
  a.dial(b);
  await world.connected(a, b);
  const windowMs = 12 * b.engine.config.closeTimeMs;
  await world.run(windowMs + 1000); // both asked once after the handshake
  const served = () => a.engine.metrics.snapshot().messages["SCP_MESSAGE"]?.read ?? 0;
  const ask = async (times: number) => {
    const before = served(), over = b.engine.dispatcher.counts.overLimit;
    for (let n = 0; n < times; n++) a.engine.sendTo(b.id, { type: "getScpState", ledgerSeq: 0 });
    await world.run(1000);
    return { served: served() - before, ignored: b.engine.dispatcher.counts.overLimit - over };
  };
  assert.deepEqual(await ask(10), { served: 10, ignored: 0 });
  assert.deepEqual(await ask(5), { served: 0, ignored: 5 });
  await world.run(windowMs + 1000);
  assert.deepEqual(await ask(1), { served: 1, ignored: 0 });
  assert.deepEqual(await ask(10), { served: 9, ignored: 1 });
  assert.deepEqual([a.drops(), b.drops(), a.has(b)], [[], [], true]);
});
