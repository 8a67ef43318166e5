/**
 * Random messages of a peer that shook hands: whatever it sends, the node goes on and serves its other peers. Every message
 * is valid XDR of any type but HELLO, AUTH and ERROR_MSG, and is followed by half a second of virtual time.
 * FUZZ_MESSAGES sets how many, FUZZ_SEED repeats a run. Source: stellar-core OverlayFuzzTarget.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { SeededRandom } from "../../overlay/base/random.ts";
import { MessageType, type MessageTypeName, type StellarMessage } from "../../overlay/wire/messages.ts";
import { STATEMENT_KINDS } from "../../survey/twin/scp.ts";
import { arbMessages } from "../kit/arbitrary.ts";
import { EngineWorld } from "../kit/engine_world.ts";
import { listen, transaction, Voice } from "../kit/voices.ts";

const COUNT = Number(process.env.FUZZ_MESSAGES ?? 2000);
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32));
const STEP_MS = 500;
const SAMPLES = 150;
/** The honest peer is looked at once in so many messages. */
const ROUND = 100;

/** Messages to choose from, by type. */
function samples(seed: number): StellarMessage[][] {
  const never: MessageTypeName[] = ["hello", "auth", "errorMsg"];
  const types = (Object.keys(MessageType) as MessageTypeName[]).filter((type) => !never.includes(type));
  return types.map((type) => fc.sample(arbMessages[type], { seed, numRuns: SAMPLES }));
}

test(`fuzz: random messages of an authenticated peer harm nobody, seed ${SEED}`, { timeout: 60_000 }, async () => {
  const random = new SeededRandom(SEED), pick = <T>(of: readonly T[]): T => of[random.int(of.length)];
  const honestVoices = [0, 1, 2].map((n) => new Voice(n)), hostileVoices = [3, 4].map((n) => new Voice(n));
  const trusted = new Set([...honestVoices, ...hostileVoices].map(({ key }) => String(key.publicKey)));
  await using world = new EngineWorld({ seed: SEED, sound: true, config: { noDial: true } });
  const target = await world.add({ trusts: (nodeId) => trusted.has(String(nodeId)) });
  const honest = await world.add(), hostile = await world.add();
  honest.dial(target);
  await world.connected(honest, target);
  const close = (slot: number) => {
    for (const voice of honestVoices) voice.sayAt(honest.engine, slot, "externalize");
  };
  for (const voice of honestVoices) voice.equip(honest.engine);
  // The target must know the majority before the others speak.
  close(1);
  await world.until(() => target.engine.scp.tracking === 1, "the target knows its slot");
  // Of what the hostile statements refer to, half can be had.
  hostileVoices[0].equip(hostile.engine);
  const answers = listen(honest.engine, "dontHave", "scpQuorumset");
  const byType = samples(SEED);
  let sent = 0, connections = 0;

  for (let n = 0; n < COUNT; n++) {
    if (!hostile.has(target)) {
      if (hostile.engine.counts.pending === 0) hostile.dial(target);
      await world.until(() => hostile.has(target) && target.has(hostile), "the hostile peer is back");
      connections++;
    }
    const slot = target.engine.scp.tracking! + random.int(130) - 20;
    const message = random.next() < 0.15 && slot > 0
      ? pick(hostileVoices).says(slot, pick(STATEMENT_KINDS))
      : pick(pick(byType));
    if (hostile.engine.sendTo(target.id, message)) sent++;
    await world.run(STEP_MS);
    if (n % ROUND !== ROUND - 1) continue;

    const round = Math.floor(n / ROUND) + 2, what = `after ${n + 1} messages`;
    const given = transaction(2 * round), taken = transaction(2 * round + 1);
    honest.engine.broadcast(given.message);
    target.engine.broadcast(taken.message);
    close(round);
    answers.length = 0;
    honest.engine.sendTo(target.id, { type: "getScpQuorumset", qSetHash: random.bytes(32) });
    await world.run(3000);
    assert.ok(honest.has(target) && target.has(honest), what);
    assert.ok(target.engine.transactions.knows(given.hash), `transactions come in ${what}`);
    assert.ok(honest.engine.transactions.knows(taken.hash), `and go out ${what}`);
    assert.equal(target.engine.scp.tracking, round, `its slot is known ${what}`);
    assert.equal(answers.length, 1, `its question is answered ${what}`);
  }

  assert.deepEqual([target.reasons(honest), honest.reasons()], [[], []], "the honest peer never lost its connection");
  assert.ok(sent > 0.9 * COUNT, `${sent} of ${COUNT} messages were sent`);
  const drops = new Set(target.reasons(hostile));
  assert.ok(connections > 1 && drops.size >= 3, `the hostile peer was let go: ${[...drops]}`);
  // What is remembered of it goes with the ledgers: at most 12 of them, and the current one.
  const { floodgate, dispatcher } = target.engine, most = 14 * ROUND;
  assert.ok(floodgate.size < most && dispatcher.waiting < most, `${floodgate.size} and ${dispatcher.waiting}`);
});
