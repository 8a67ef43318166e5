/** What a node that is no validator does with transactions: nothing, until somebody here wants them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { floodIdOf } from "../flood/floodgate.ts";
import { transactionHash } from "../flood/transaction_pool.ts";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";
import { TransactionInterest } from "./transaction_interest.ts";

const HASH = new Uint8Array(32).fill(7);
const ADVERT = encodeMessage({ type: "floodAdvert", txHashes: [HASH] });
const DEMAND = encodeMessage({ type: "floodDemand", txHashes: [HASH] });

function hashOf(n: number): Uint8Array {
  return Uint8Array.from(transactionHash(encodeMessage(transactionOf(n))).match(/../g)!, (hex) => parseInt(hex, 16));
}

test("a watcher drops transactions, adverts and demands unread, counts them, and returns their credit", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node);
  // No more than their outer form is right.
  const broken = [[MessageType.transaction, 2], [MessageType.floodAdvert, 0], [MessageType.floodDemand, 0]].map((
    [type, word],
  ) => Uint8Array.of(0, 0, 0, type, 0, 0, 0, word));
  remote.received.length = 0;
  for (let i = 0; i < 40; i++) remote.send(broken[i % 3]);
  await world.clock.advance(100);
  assert.equal(node.metrics.counters.ignoredMessages, 40);
  assert.deepEqual(remote.received.filter((message) => message.type === "sendMoreExtended"), [
    { type: "sendMoreExtended", sendMoreExtended: { numMessages: 40, numBytes: 320 } },
  ]);
  const { uniqueFloodMessages, duplicateFloodMessages } = node.metrics.counters;
  assert.deepEqual([node.floodgate.size, node.transactions.size, uniqueFloodMessages, duplicateFloodMessages], [
    0,
    0,
    0,
    0,
  ]);
  assert.equal(node.counts.inbound, 1);
  assert.equal(node.metrics.messagesRead[MessageType.transaction], 14);
  await world.stop(node);
});

test("a validator reads the same messages, and ends a connection that sends what is no transaction", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node);
  remote.send(Uint8Array.of(0, 0, 0, MessageType.transaction, 0xff, 0xff, 0xff, 0xff));
  await world.clock.advance(100);
  assert.equal(node.counts.inbound, 0);
  assert.equal(world.eventsOf(node, "dropped")[0].reason, "received corrupt XDR");
  await world.stop(node);
});

test("a watcher demands what is advertised while a subscription wants transactions, and stops with it", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node);
  const demands = () => remote.received.filter((message) => message.type === "floodDemand").length;
  remote.send(ADVERT);
  await world.clock.advance(1000);
  assert.equal(demands(), 0);
  const inbox = node.subscribe({ types: ["transaction"] });
  remote.send(ADVERT);
  await world.clock.advance(1000);
  assert.equal(demands(), 1);
  remote.send(encodeMessage(transactionOf(1)));
  await world.clock.advance(100);
  assert.equal(inbox.counts.waiting.general, 1);
  assert.equal(node.transactions.size, 1);
  inbox.close();
  const { ignoredMessages } = node.metrics.counters;
  remote.send(encodeMessage({ type: "floodAdvert", txHashes: [hashOf(2)] }), encodeMessage(transactionOf(2)));
  await world.clock.advance(1000);
  assert.equal(node.metrics.counters.ignoredMessages, ignoredMessages + 2);
  assert.equal(demands(), 1);
  await world.stop(node);
});

test("a subscription without demand hears adverts and unasked transactions, and nothing is demanded or relayed", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node), other = await world.remote(node);
  const inbox = node.subscribe({ types: ["floodAdvert", "transaction"], demand: false });
  remote.send(ADVERT, DEMAND, encodeMessage(transactionOf(1)));
  await world.clock.advance(1000);
  assert.equal(inbox.counts.waiting.general, 2);
  const { ignoredMessages, receivedAdvertHashes } = node.metrics.counters;
  assert.deepEqual([ignoredMessages, receivedAdvertHashes], [1, 0], "the demand; no advert is kept");
  assert.ok(![...remote.types, ...other.types].some((type) => type === "floodDemand" || type === "floodAdvert"));
  await world.stop(node);
});

test("a watcher's own transaction is advertised and served, its return noticed, and the others stay ignored", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node), other = await world.remote(node);
  const own = transactionOf(9), hash = hashOf(9);
  assert.equal(node.broadcast(own).length, 2);
  await world.clock.advance(200);
  assert.deepEqual(remote.received.at(-1), { type: "floodAdvert", txHashes: [hash] });
  remote.send({ type: "floodDemand", txHashes: [hash, HASH] });
  await world.clock.advance(100);
  assert.deepEqual(remote.received.at(-1), own);
  node.metrics.tick();
  assert.deepEqual([node.metrics.counters.fulfilledDemands, node.metrics.counters.unknownDemands], [1, 1]);
  // A peer that has it tells us: it is not told again.
  other.send({ type: "floodAdvert", txHashes: [hash] }, encodeMessage(transactionOf(1)), ADVERT);
  await world.clock.advance(1000);
  assert.equal(node.metrics.counters.receivedAdvertHashes, 2);
  assert.equal(node.metrics.counters.ignoredMessages, 1, "the transaction of others");
  assert.ok(!other.types.includes("floodDemand"));
  // Four ledgers later it is gone, and with it the interest.
  node.scp.track(100);
  node.scp.track(104);
  other.send(ADVERT);
  await world.clock.advance(100);
  assert.equal(node.metrics.counters.ignoredMessages, 2);
  await world.stop(node);
});

test("wantTransactions makes a watcher relay, and undoes it", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false });
  const remote = await world.remote(node), other = await world.remote(node);
  node.wantTransactions(true);
  remote.send(encodeMessage(transactionOf(3)));
  await world.clock.advance(300);
  assert.ok(other.types.includes("floodAdvert"));
  node.wantTransactions(false);
  remote.send(encodeMessage(transactionOf(4)));
  await world.clock.advance(300);
  assert.equal(node.metrics.counters.ignoredMessages, 1);
  assert.ok(!node.floodgate.knownBy(floodIdOf(encodeMessage(transactionOf(4)))).size);
  await world.stop(node);
});

test("acceptTransaction keeps a transaction from being relayed, and lets it come again", async () => {
  const world = new World();
  const asked: number[] = [];
  const acceptTransaction = (message: Uint8Array) => {
    asked.push(message.at(-1)!);
    return message.at(-1) !== 5;
  };
  const node = await world.add([], {}, { acceptTransaction });
  const remote = await world.remote(node), other = await world.remote(node);
  remote.send(encodeMessage(transactionOf(5)), encodeMessage(transactionOf(6)), encodeMessage(transactionOf(5)));
  await world.clock.advance(300);
  assert.deepEqual(asked, [5, 6, 5]);
  assert.deepEqual(
    other.received.filter((message) => message.type === "floodAdvert").flatMap((message) => message.txHashes),
    [hashOf(6)],
  );
  await world.stop(node);
});

test("TransactionInterest says when demanding begins and ends, once each", () => {
  const told: boolean[] = [];
  const interest = new TransactionInterest(false, (pulls) => told.push(pulls));
  const useful = () =>
    [MessageType.transaction, MessageType.floodAdvert, MessageType.floodDemand, MessageType.scpMessage].map((type) =>
      interest.isUseful(type)
    );
  assert.deepEqual(useful(), [false, false, false, true]);
  const all = { listensTo: () => true, demands: true };
  interest.count(all, 1);
  interest.set(true);
  interest.count(all, -1);
  assert.deepEqual([interest.pulls, useful()], [true, [true, true, true, true]]);
  interest.set(false);
  assert.deepEqual([told, useful()], [[true, false], [false, false, false, true]]);
  interest.setOwn(true);
  assert.deepEqual([interest.offers, interest.pulls, useful()], [true, false, [false, true, true, true]]);
  interest.setOwn(false);
  const adverts = { listensTo: (type: number) => type === MessageType.floodAdvert, demands: false };
  interest.count(adverts, 1);
  assert.deepEqual([interest.offers, useful()], [false, [false, true, false, true]]);
  const validator = new TransactionInterest(true, () => assert.fail());
  validator.set(false);
  assert.deepEqual([validator.pulls, validator.isUseful(MessageType.transaction)], [true, true]);
});
