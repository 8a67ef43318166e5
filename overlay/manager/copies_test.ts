/** What an observer of copies hears: everything that peers send, also what nobody else here is shown; and a node that does not relay. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { floodIdOf } from "../flood/floodgate.ts";
import { nominate, quorumSetOf, scpMessage, validators, value } from "../flood/scp_state_test_kit.ts";
import { encodeMessage, messageTypeName } from "../wire/messages.ts";
import type { CopyVerdict, OverlayManager } from "./overlay_manager.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";

const keys = validators(2);
const quorum = quorumSetOf(keys);
const STATEMENT = scpMessage(keys[0], 1000, nominate(quorum.hash, value(keys[0], new Uint8Array(32).fill(1))));
const FORGED = STATEMENT.slice();
FORGED[FORGED.length - 1] ^= 1;
const TRANSACTION = encodeMessage(transactionOf(1));
const ADVERT = encodeMessage({ type: "floodAdvert", txHashes: [new Uint8Array(32).fill(7)] });

function copiesOf(node: OverlayManager) {
  const heard: { from: string; type: string; verdict: CopyVerdict }[] = [];
  const stop = node.observe({
    onCopy: (peer, message, verdict) =>
      void heard.push({ from: peer.nodeId, type: messageTypeName(message.type)!, verdict }),
  });
  return { heard, stop };
}

test("onCopy hears every copy of every peer: repeated, forged, and of types the node ignores", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false }, { fetchItems: false });
  const a = await world.remote(node), b = await world.remote(node);
  const { heard, stop } = copiesOf(node);
  for (const remote of [a, b]) remote.send(STATEMENT, STATEMENT, FORGED, TRANSACTION, ADVERT);
  await world.clock.advance(100);
  assert.equal(node.metrics.counters.ignoredMessages, 4);
  assert.equal(heard.length, 10);
  assert.equal(new Set(heard.map(({ from }) => from)).size, 2);
  const id = floodIdOf(STATEMENT);
  for (const { type, verdict } of heard) {
    if (type !== "scpMessage") assert.deepEqual(verdict, {});
    else if (verdict.id === id) assert.equal(verdict.refusal, undefined);
    else assert.deepEqual(verdict, { id: floodIdOf(FORGED), refusal: "bad_signature" });
  }
  stop();
  a.send(STATEMENT);
  await world.clock.advance(100);
  assert.equal(heard.length, 10);
  await world.stop(node);
});

test("what ends the connection is no copy, and a promise of onCopy holds the sender's credit back", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node);
  let release = () => {};
  const heard: number[] = [];
  node.observe({
    onCopy: (_, message) => {
      heard.push(message.type);
      return new Promise<void>((resolve) => (release = resolve));
    },
  });
  remote.received.length = 0;
  // One more than a batch, so that a grant would be due.
  const credit = node.config.flowControl.batchMessages;
  for (let i = 0; i < credit; i++) remote.send(ADVERT);
  await world.clock.advance(100);
  assert.equal(heard.length, credit);
  assert.ok(!remote.types.includes("sendMoreExtended"));
  release();
  remote.send(Uint8Array.of(0, 0, 0, 11, 9, 9, 9, 9));
  await world.clock.advance(100);
  assert.equal(node.counts.inbound, 0, "corrupt XDR");
  assert.equal(heard.length, credit);
  await world.stop(node);
});

test("a node that does not relay passes nothing on, and still sends what it broadcasts itself", async () => {
  for (const relays of [true, false]) {
    const world = new World();
    const node = await world.add([], { isValidator: true }, { relays, fetchItems: false });
    const a = await world.remote(node), b = await world.remote(node);
    b.received.length = 0;
    a.send(STATEMENT, TRANSACTION);
    await world.clock.advance(1000);
    assert.equal(b.types.includes("scpMessage"), relays);
    assert.equal(b.types.includes("floodAdvert"), relays);
    assert.equal(node.transactions.size, 1);
    b.received.length = 0;
    assert.equal(node.broadcast(transactionOf(2)).length, 2);
    await world.clock.advance(1000);
    assert.ok(b.types.includes("floodAdvert"));
    await world.stop(node);
  }
});
