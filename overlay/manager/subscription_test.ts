import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { isFailure } from "../base/errors.ts";
import { MessageType, ReceivedMessage } from "../wire/messages.ts";
import { channelOf, type SubscribeOptions, Subscription, type SubscriptionOwner } from "./subscription.ts";

const open = (options: SubscribeOptions = {}, owner: Partial<SubscriptionOwner> = {}) =>
  new Subscription(options, { clock: new VirtualClock(), onClose: () => {}, ...owner });

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
  const subscription = open({});
  for (const m of [advert(1), message(MessageType.scpQuorumset, 2), scp(3), advert(4), scp(5)]) {
    subscription.offer("G", m);
  }
  const marks: number[] = [];
  for (let i = 0; i < 5; i++) marks.push((await subscription.next()).value.message.bytes[7]);
  assert.deepEqual(marks, [3, 5, 2, 1, 4]);
});

test("Subscription: an overflowing general channel loses no SCP message, and says how many it missed", async () => {
  const subscription = open({ generalLimit: 10 });
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
  const subscription = open({ guardedLimit: 2 });
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
  const subscription = open({ types: ["scpMessage"] });
  subscription.offer("G", advert());
  const original = scp(7);
  subscription.offer("G", original);
  original.bytes[7] = 0;
  assert.equal((await subscription.next()).value.message.bytes[7], 7);
  assert.equal(subscription.counts.waiting.general, 0);
});

test("Subscription.close ends a waiting reader and releases held senders; what waits is still delivered", async () => {
  let closed = 0;
  const subscription = open({ guardedLimit: 1 }, { onClose: () => closed++ });
  subscription.offer("G", scp());
  const held = subscription.offer("G", scp())!;
  subscription.close();
  await held;
  assert.equal((await subscription.next()).done, false);
  assert.equal((await subscription.next()).done, false);
  assert.equal((await subscription.next()).done, true);
  assert.equal(closed, 1);
  const empty = open({});
  const reading = empty.next();
  empty.close();
  assert.equal((await reading).done, true);
});

test("Subscription: the place of a gap is told by the next message of its channel, and the sums agree", async () => {
  const subscription = open({ generalLimit: 2 });
  for (let i = 0; i < 5; i++) subscription.offer("G", advert(i));
  assert.deepEqual([(await subscription.next()).value.message.bytes[7], subscription.counts.untold], [0, 3]);
  subscription.offer("G", advert(5));
  const told: number[][] = [];
  for (let i = 0; i < 2; i++) {
    const { value } = await subscription.next();
    told.push([value.message.bytes[7], value.missedBefore]);
  }
  assert.deepEqual(told, [[1, 0], [5, 3]]);
  const { missed, untold } = subscription.counts;
  assert.deepEqual([missed, untold], [3, 0]);
});

test("Subscription bounds bytes as well as messages, and always has a place for one", async () => {
  const large = new ReceivedMessage(MessageType.generalizedTxSet, new Uint8Array(1000), 0);
  const subscription = open({ guardedBytes: 900, generalBytes: 20 });
  assert.equal(subscription.offer("G", large), undefined);
  let released = false;
  subscription.offer("G", large)!.then(() => (released = true));
  assert.deepEqual([subscription.counts.held, subscription.counts.waitingBytes], [1, 2000]);
  await subscription.next();
  await Promise.resolve();
  assert.deepEqual([released, subscription.counts.held], [true, 0]);
  for (let i = 0; i < 5; i++) subscription.offer("G", advert(i));
  assert.deepEqual([subscription.counts.waiting.general, subscription.counts.missed], [2, 3]);
});

test("Subscription that lets a sender wait too long is ended: senders go on, the reader gets the rest and the reason", async () => {
  const clock = new VirtualClock();
  let closed = 0;
  const subscription = open({ guardedLimit: 2, patienceMs: 1000 }, { clock, onClose: () => closed++ });
  const sent: Promise<void>[] = [];
  const offer = (mark: number) => void sent.push(subscription.offer("G", scp(mark)) ?? Promise.resolve());
  for (let i = 0; i < 3; i++) offer(i);
  await clock.advance(900);
  // Taking one message lets the first sender go; the next one has its own time.
  assert.equal((await subscription.next()).value.message.bytes[7], 0);
  offer(3);
  await clock.advance(999);
  assert.deepEqual([closed, subscription.counts.held], [0, 1]);
  await clock.advance(1);
  assert.deepEqual([closed, subscription.counts.held], [1, 0]);
  await Promise.all(sent);
  assert.equal(subscription.offer("G", scp(4)), undefined);
  const rest: number[] = [];
  await assert.rejects(async () => {
    for await (const { message } of subscription) rest.push(message.bytes[7]);
  }, isFailure("subscriber_too_slow"));
  assert.deepEqual(rest, [1, 2, 3]);
  assert.equal((await subscription.next()).done, true);
});

test("Subscription does not keep what is held beyond 64 MiB, however short the time", () => {
  let closed = 0;
  const subscription = open({ guardedLimit: 1 }, { onClose: () => closed++ });
  const set = new ReceivedMessage(MessageType.txSet, new Uint8Array(10 * 1024 * 1024), 0);
  for (let i = 0; i < 7; i++) subscription.offer("G", set);
  assert.equal(closed, 0);
  subscription.offer("G", set);
  assert.equal(closed, 1);
});

test('Subscription with whenFull "drop" holds nobody back, and tells what it missed by channel', async () => {
  const subscription = open({ guardedLimit: 2, whenFull: "drop" });
  for (let i = 0; i < 5; i++) assert.equal(subscription.offer("G", scp(i)), undefined);
  subscription.offer("G", message(MessageType.scpQuorumset, 9));
  assert.deepEqual([subscription.counts.missedGuarded, subscription.counts.missed], [3, 0]);
  for (let i = 0; i < 2; i++) await subscription.next();
  subscription.offer("G", scp(5));
  assert.equal((await subscription.next()).value.missedBefore, 3);
  assert.equal((await subscription.next()).value.missedBefore, 0);
});

test("Subscription serves several waiting readers in the order they came", async () => {
  const subscription = open();
  const readers = [subscription.next(), subscription.next(), subscription.next()];
  subscription.offer("G", scp(1));
  subscription.offer("G", advert(2));
  subscription.close();
  const results = await Promise.all(readers);
  assert.deepEqual(results.map(({ done, value }) => done ? "end" : value.message.bytes[7]), [1, 2, "end"]);
});

test("Subscription: a loop that is left keeps nothing", async () => {
  const subscription = open({ guardedLimit: 1 });
  let released = 0;
  for (let i = 0; i < 5; i++) subscription.offer("G", scp(i))?.then(() => released++);
  for (let i = 0; i < 5; i++) subscription.offer("G", advert(i));
  for await (const _ of subscription) break;
  assert.deepEqual([released, subscription.counts.waitingBytes, subscription.wants(MessageType.scpMessage)], [
    4,
    0,
    false,
  ]);
});

/** What producers and the consumer do, in any order. */
const arbSteps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant("offer" as const),
      from: fc.integer({ min: 0, max: 3 }),
      type: fc.constantFrom(MessageType.scpMessage, MessageType.scpQuorumset, MessageType.floodAdvert),
      times: fc.integer({ min: 1, max: 8 }),
      size: fc.integer({ min: 1, max: 60 }),
    }),
    fc.record({ do: fc.constant("take" as const), times: fc.integer({ min: 1, max: 12 }) }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 400 }) }),
  ),
  { maxLength: 60, size: "max" },
);
const arbOptions = fc.record({
  generalLimit: fc.integer({ min: 1, max: 6 }),
  generalBytes: fc.integer({ min: 1, max: 200 }),
  guardedLimit: fc.integer({ min: 1, max: 6 }),
  guardedBytes: fc.integer({ min: 1, max: 200 }),
  whenFull: fc.constantFrom("wait" as const, "drop" as const),
});

test("Subscription under random producers and a random consumer: order, exact losses, bounds, no sender left behind", async () => {
  await fc.assert(
    fc.asyncProperty(arbOptions, arbSteps, async (options, steps) => {
      const clock = new VirtualClock();
      const subscription = open({ ...options, patienceMs: 1000 }, { clock });
      // Each sender numbers its messages per type, as one peer's stream does. A mark never wraps: 60 x 8 < 2^16.
      const next = new Map<string, number>();
      const accepted = { scp: 0, fetch: 0, general: 0 };
      const missed = { scp: 0, fetch: 0, general: 0 }, told = { scp: 0, fetch: 0, general: 0 };
      const behind: Record<string, string[]> = { scp: [], fetch: [], general: [] };
      const lastSeen = new Map<string, number>();
      let taken = 0, held = 0, ended = false;
      const see = ({ done, value }: Awaited<ReturnType<Subscription["next"]>>) => {
        assert.equal(done, false);
        const key = `${value.from} ${value.type}`, mark = value.message.bytes[4] * 256 + value.message.bytes[5];
        const before = lastSeen.get(key) ?? -1;
        assert.ok(mark > before, "the order of a sender's messages is kept");
        if (value.channel !== "general" && options.whenFull === "wait") assert.equal(mark, before + 1, "none is lost");
        lastSeen.set(key, mark);
        told[value.channel as "scp"] += value.missedBefore;
        accepted[value.channel as "scp"]--;
        taken++;
      };
      const total = () => accepted.scp + accepted.fetch + accepted.general;
      for (const step of steps) {
        if (step.do === "wait") await clock.advance(step.ms);
        else if (step.do === "take") {
          for (let i = 0; i < step.times && total() > 0; i++) see(await subscription.next());
        } else {
          for (let i = 0; i < step.times && subscription.wants(step.type); i++) {
            const from = `G${step.from}`, key = `${from} ${step.type}`, mark = next.get(key) ?? 0;
            next.set(key, mark + 1);
            const bytes = new Uint8Array(6 + step.size);
            bytes.set([0, 0, 0, step.type, mark >> 8, mark & 255]);
            const before = subscription.counts;
            const waits = subscription.offer(from, new ReceivedMessage(step.type, bytes, 0));
            const after = subscription.counts, channel = channelOf(step.type);
            // A place is never given past one that waits for it.
            if (behind[channel].length > 0 && subscription.wants(step.type)) assert.notEqual(waits, undefined);
            if (waits !== undefined) {
              held++;
              behind[channel].push(key + mark);
              waits.then(() => {
                held--;
                assert.equal(behind[channel].shift(), key + mark, "senders go on in the order they came");
              });
            }
            if (after.missed + after.missedGuarded > before.missed + before.missedGuarded) missed[channel]++;
            else accepted[channel]++;
          }
        }
        await Promise.resolve();
        const { counts } = subscription;
        assert.equal(counts.held, held);
        for (const channel of ["scp", "fetch"] as const) {
          if (subscription.wants(MessageType.scpMessage)) {
            assert.ok(behind[channel].length < Math.max(1, accepted[channel]));
          }
        }
        assert.equal(counts.delivered, taken);
        assert.deepEqual(counts.waiting, accepted);
        assert.equal(missed.general, counts.missed);
        assert.equal(missed.scp + missed.fetch, counts.missedGuarded);
        assert.ok(counts.waiting.general <= options.generalLimit);
        if (subscription.wants(MessageType.scpMessage)) {
          const { scp, fetch } = counts.waiting;
          assert.ok(scp + fetch - counts.held <= 2 * options.guardedLimit);
          if (options.whenFull === "drop") assert.equal(counts.delayed, 0);
        } else {
          ended = true;
        }
      }
      // Everything that was taken in comes out, and every gap but those at the very end was told.
      subscription.close();
      while (total() > 0) see(await subscription.next());
      const sum = (by: typeof told) => by.scp + by.fetch + by.general;
      assert.equal(sum(told) + subscription.counts.untold, sum(missed));
      await Promise.resolve();
      assert.equal(held, 0);
      if (ended) await assert.rejects(() => subscription.next(), isFailure("subscriber_too_slow"));
      assert.equal((await subscription.next()).done, true);
    }),
    { numRuns: 200 },
  );
});
