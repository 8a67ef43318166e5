import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageType, ReceivedMessage } from "../wire/messages.ts";
import { channelOf, Subscription } from "./subscription.ts";

const message = (type: number, mark = 0) => new ReceivedMessage(type, Uint8Array.of(0, 0, 0, type, 0, 0, 0, mark), 0);
const scp = (mark = 0) => message(MessageType.scpMessage, mark);
const advert = (mark = 0) => message(MessageType.floodAdvert, mark);

test("channelOf separates SCP and fetch answers from the rest", () => {
  assert.equal(channelOf(MessageType.scpMessage), "scp");
  assert.equal(channelOf(MessageType.generalizedTxSet), "fetch");
  assert.equal(channelOf(MessageType.dontHave), "fetch");
  assert.equal(channelOf(MessageType.transaction), "general");
});

test("Subscription delivers SCP first, then fetch answers, then the rest, each in order", async () => {
  const subscription = new Subscription({}, () => {});
  for (const m of [advert(1), message(MessageType.scpQuorumset, 2), scp(3), advert(4), scp(5)]) {
    subscription.offer("G", m);
  }
  const marks: number[] = [];
  for (let i = 0; i < 5; i++) marks.push((await subscription.next()).value.message.bytes[7]);
  assert.deepEqual(marks, [3, 5, 2, 1, 4]);
});

test("Subscription: an overflowing general channel loses no SCP message, and says how many it missed", async () => {
  const subscription = new Subscription({ generalLimit: 10 }, () => {});
  for (let i = 0; i < 1000; i++) {
    subscription.offer("G", advert());
    if (i % 10 === 0) subscription.offer("G", scp());
  }
  const { missed, waiting } = subscription.counts;
  assert.deepEqual([missed, waiting.general, waiting.scp], [990, 10, 100]);
  for (let i = 0; i < 110; i++) await subscription.next();
  subscription.offer("G", advert());
  assert.equal((await subscription.next()).value.missedBefore, 990);
  subscription.offer("G", advert());
  assert.equal((await subscription.next()).value.missedBefore, 0);
});

test("Subscription holds back the senders of SCP messages instead of losing one", async () => {
  const subscription = new Subscription({ guardedLimit: 2 }, () => {});
  assert.equal(subscription.offer("G", scp()), undefined);
  assert.equal(subscription.offer("G", scp()), undefined);
  let released = false;
  subscription.offer("G", scp())!.then(() => (released = true));
  await Promise.resolve();
  assert.equal(released, false);
  await subscription.next();
  await Promise.resolve();
  assert.equal(released, true);
  assert.equal(subscription.counts.delayed, 1);
});

test("Subscription gives only the types asked for, and its own copy of the bytes", async () => {
  const subscription = new Subscription({ types: ["scpMessage"] }, () => {});
  subscription.offer("G", advert());
  const original = scp(7);
  subscription.offer("G", original);
  original.bytes[7] = 0;
  assert.equal((await subscription.next()).value.message.bytes[7], 7);
  assert.equal(subscription.counts.waiting.general, 0);
});

test("Subscription.close ends a waiting reader and releases held senders; what waits is still delivered", async () => {
  let closed = 0;
  const subscription = new Subscription({ guardedLimit: 1 }, () => closed++);
  subscription.offer("G", scp());
  const held = subscription.offer("G", scp())!;
  subscription.close();
  await held;
  assert.equal((await subscription.next()).done, false);
  assert.equal((await subscription.next()).done, false);
  assert.equal((await subscription.next()).done, true);
  assert.equal(closed, 1);
  const empty = new Subscription({}, () => {});
  const reading = empty.next();
  empty.close();
  assert.equal((await reading).done, true);
});
