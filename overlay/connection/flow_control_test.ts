import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import { DEFAULT_FLOW_CONTROL, FlowControl, type FlowControlLimits } from "./flow_control.ts";

const { scpMessage: SCP, transaction: TX, floodDemand: DEMAND, floodAdvert: ADVERT } = MessageType;
const FLOOD = [SCP, TX, DEMAND, ADVERT];

function flow(change: Partial<FlowControlLimits> = {}, nowMs = 0): FlowControl {
  return new FlowControl({ ...DEFAULT_FLOW_CONTROL, ...change }, nowMs);
}

/** A stand-in of `length` bytes that can be told from others by `tag`. */
function message(type: number, length: number, tag = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes[3] = type;
  bytes[length - 1] = tag;
  return bytes;
}
const hashes = (type: "floodAdvert" | "floodDemand", n: number) =>
  encodeMessage({ type, txHashes: Array.from({ length: n }, () => new Uint8Array(32)) });

test("FlowControl starts as upstream: full local capacity, no credit, blocked since its creation", () => {
  const f = flow({}, 77);
  assert.deepEqual(f.firstGrant(), { numMessages: 200, numBytes: 300_000 });
  assert.deepEqual(f.localCapacity, { messages: 200, bytes: 300_000 });
  assert.deepEqual(f.credit, { messages: 0n, bytes: 0n });
  assert.equal(f.blockedSinceMs, 77);
  assert.ok(!f.throttled);
});

test("FlowControl grants back what was consumed at 40 messages", () => {
  const f = flow();
  for (let i = 1; i <= 39; i++) {
    assert.ok(f.begin(SCP, 100 + i));
    assert.equal(f.end(SCP, 100 + i), undefined);
  }
  assert.ok(f.begin(ADVERT, 8));
  assert.deepEqual(f.end(ADVERT, 8), { numMessages: 40, numBytes: 39 * 100 + 39 * 20 + 8 });
  assert.ok(f.begin(SCP, 1));
  assert.equal(f.end(SCP, 1), undefined);
});

test("FlowControl grants back what was consumed at 100000 bytes, not one less", () => {
  const f = flow();
  f.begin(TX, 99_999);
  assert.equal(f.end(TX, 99_999), undefined);
  f.begin(TX, 1);
  assert.deepEqual(f.end(TX, 1), { numMessages: 2, numBytes: 100_000 });
  f.begin(TX, 150_000);
  assert.deepEqual(f.end(TX, 150_000), { numMessages: 1, numBytes: 150_000 });
});

test("FlowControl with a batch of one grants after each message; messages that are no flood count for nothing", () => {
  const f = flow({ batchMessages: 1 });
  f.begin(TX, 500);
  assert.deepEqual(f.end(TX, 500), { numMessages: 1, numBytes: 500 });
  for (
    const type of [MessageType.peers, MessageType.scpQuorumset, MessageType.generalizedTxSet, MessageType.dontHave]
  ) {
    assert.ok(f.begin(type, 10_000_000));
    assert.deepEqual(f.localCapacity, { messages: 200, bytes: 300_000 });
    assert.equal(f.end(type, 10_000_000), undefined);
  }
});

test("FlowControl refuses a flood message above either capacity, and then takes nothing of either", () => {
  const byMessages = flow({ floodMessages: 1 });
  assert.ok(byMessages.begin(SCP, 10));
  const full = byMessages.localCapacity;
  assert.ok(!byMessages.begin(SCP, 10));
  assert.deepEqual(byMessages.localCapacity, full);

  const byBytes = flow({ floodBytes: 101 });
  assert.ok(byBytes.begin(TX, 100));
  assert.ok(!byBytes.begin(TX, 2));
  assert.deepEqual(byBytes.localCapacity, { messages: 199, bytes: 1 });
  assert.ok(byBytes.begin(TX, 1));
  assert.ok(byBytes.begin(MessageType.peers, 100), "no flood message");

  const byTotal = flow({ totalMessages: 1 });
  assert.ok(byTotal.begin(MessageType.peers, 8));
  assert.ok(!byTotal.begin(SCP, 8));
  assert.deepEqual(byTotal.localCapacity, { messages: 200, bytes: 300_000 });
});

test("FlowControl gives a refused message nothing back: capacities end where they began", () => {
  const f = flow({ floodMessages: 3, floodBytes: 100 });
  const taken: number[] = [];
  for (const bytes of [50, 40, 20, 10, 1]) if (f.begin(TX, bytes)) taken.push(bytes);
  assert.deepEqual(taken, [50, 40, 10]);
  for (const bytes of taken) f.end(TX, bytes);
  assert.deepEqual(f.localCapacity, { messages: 3, bytes: 100 });
});

test("FlowControl is throttled while 201 messages or 1 MiB are being processed", () => {
  const f = flow();
  for (let i = 0; i < 200; i++) f.begin(MessageType.dontHave, 40);
  assert.ok(!f.throttled);
  f.begin(MessageType.dontHave, 40);
  assert.ok(f.throttled);
  f.end(MessageType.dontHave, 40);
  assert.ok(!f.throttled);
  const g = flow();
  g.begin(MessageType.generalizedTxSet, 1_048_575);
  assert.ok(!g.throttled);
  g.begin(MessageType.dontHave, 40);
  assert.ok(g.throttled);
});

test("property: granted minus received never exceeds the capacity, and nothing a well-behaved peer sends is refused", () => {
  const limits = fc.record({
    floodMessages: fc.integer({ min: 1, max: 50 }),
    floodBytes: fc.integer({ min: 1000, max: 20_000 }),
    batchMessages: fc.integer({ min: 1, max: 50 }),
    batchBytes: fc.integer({ min: 1, max: 20_000 }),
  });
  const commands = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 4, max: 3000 }), fc.constantFrom(...FLOOD)), {
    maxLength: 200,
  });
  fc.assert(fc.property(limits, commands, (change, steps) => {
    const f = flow(change);
    // What the peer may still send, by the grants it was told.
    const first = f.firstGrant();
    let messages = first.numMessages, bytes = first.numBytes;
    const waiting: [number, number][] = [];
    for (const [sends, size, type] of steps) {
      if (sends) {
        if (messages < 1 || bytes < size) continue;
        assert.ok(f.begin(type, size), "it had the credit");
        messages--;
        bytes -= size;
        waiting.push([type, size]);
      } else {
        const next = waiting.shift();
        if (next === undefined) continue;
        const grant = f.end(...next);
        if (grant === undefined) continue;
        messages += grant.numMessages;
        bytes += grant.numBytes;
      }
      assert.ok(messages <= change.floodMessages && bytes <= change.floodBytes);
      assert.ok(messages <= f.localCapacity.messages && bytes <= f.localCapacity.bytes);
    }
  }));
});

test("FlowControl refuses the grants upstream refuses", () => {
  const f = flow();
  for (const numMessages of [0, 1, 200]) {
    assert.equal(f.granted({ numMessages, numBytes: 0 }), "invalid message SEND_MORE_EXTENDED");
  }
  assert.deepEqual(f.credit, { messages: 0n, bytes: 0n });
  assert.equal(f.blockedSinceMs, 0, "an invalid grant does not stop the clock");
  assert.equal(f.granted({ numMessages: 0, numBytes: 5 }), undefined);
  assert.equal(f.granted({ numMessages: 200, numBytes: 300_000 }), undefined);
  assert.deepEqual(f.credit, { messages: 200n, bytes: 300_005n });
  assert.equal(f.blockedSinceMs, undefined);
});

test("FlowControl refuses a grant that would pass 2^64-1, and takes nothing of it", () => {
  for (const which of ["messages", "bytes"] as const) {
    const f = flow();
    // 2^64 - 1 in numbers that a double holds; on the wire it would take 2^32 grants.
    const big = (n: number) => which === "messages" ? { numMessages: n, numBytes: 1 } : { numMessages: 0, numBytes: n };
    for (const part of [2 ** 63, 2 ** 63 - 2048, 2044]) assert.equal(f.granted(big(part)), undefined);
    const { credit } = f;
    assert.ok(credit[which] > 2n ** 64n - 10n);
    assert.equal(f.granted({ numMessages: 9, numBytes: 9 }), "Peer capacity overflow");
    assert.deepEqual(f.credit, credit);
  }
});

test("FlowControl sends by priority, and a message short of credit does not hold back the next queue", () => {
  const f = flow();
  const advert = hashes("floodAdvert", 1), demand = hashes("floodDemand", 1);
  const big = message(SCP, 1000), tx = message(TX, 200);
  f.enqueue(ADVERT, advert);
  f.enqueue(DEMAND, demand);
  f.enqueue(TX, tx);
  f.enqueue(SCP, big);
  assert.deepEqual(f.next(5), []);
  assert.equal(f.blockedSinceMs, 5);
  f.granted({ numMessages: 10, numBytes: 280 });
  assert.equal(f.blockedSinceMs, undefined);
  assert.deepEqual(f.next(6), [tx, demand, advert]);
  assert.equal(f.blockedSinceMs, 6, "the large one is short of bytes");
  assert.deepEqual(f.credit, { messages: 7n, bytes: 0n });
  f.granted({ numMessages: 1, numBytes: 1000 });
  assert.deepEqual(f.next(7), [big]);
  assert.equal(f.blockedSinceMs, undefined);
  assert.equal(f.queued, 0);
});

test("FlowControl with no message credit moves nothing; with one message, one", () => {
  const f = flow();
  f.granted({ numMessages: 0, numBytes: 1_000_000 });
  f.enqueue(SCP, message(SCP, 10, 1));
  f.enqueue(SCP, message(SCP, 10, 2));
  assert.deepEqual(f.next(0), []);
  f.granted({ numMessages: 1, numBytes: 1 });
  assert.deepEqual(f.next(0).map((m) => m[9]), [1]);
  assert.equal(f.queued, 1);
});

test("FlowControl keeps the order within a queue", () => {
  const f = flow();
  for (let tag = 0; tag < 20; tag++) f.enqueue(TX, message(TX, 10, tag));
  f.granted({ numMessages: 7, numBytes: 1000 });
  f.granted({ numMessages: 100, numBytes: 1000 });
  assert.deepEqual(f.next(0).map((m) => m[9]), Array.from({ length: 20 }, (_, i) => i));
});

test("FlowControl clears the transaction queue above its message or byte limit, the new one included", () => {
  const byCount = flow({ queuedTransactions: 1000 });
  for (let i = 0; i < 1010; i++) byCount.enqueue(TX, message(TX, 10));
  assert.equal(byCount.queued, 9);
  assert.equal(byCount.discarded, 1001);
  const byBytes = flow({ queuedTransactionBytes: 150 });
  for (let i = 0; i < 3; i++) byBytes.enqueue(TX, message(TX, 100));
  assert.equal(byBytes.queued, 1);
  // Exactly the limit is not above it.
  const exact = flow({ queuedTransactions: 2, queuedTransactionBytes: 200 });
  exact.enqueue(TX, message(TX, 100));
  exact.enqueue(TX, message(TX, 100));
  assert.equal(exact.queued, 2);
});

test("FlowControl counts adverts and demands by hashes, and clears each queue by itself", () => {
  const f = flow({ queuedTransactions: 1000 });
  for (let i = 0; i < 1010; i++) {
    f.enqueue(ADVERT, hashes("floodAdvert", 1));
    f.enqueue(DEMAND, hashes("floodDemand", 1));
  }
  assert.equal(f.queued, 18);
  f.enqueue(ADVERT, hashes("floodAdvert", 2));
  f.enqueue(DEMAND, hashes("floodDemand", 2));
  assert.equal(f.queued, 20);
  f.enqueue(ADVERT, hashes("floodAdvert", 1000));
  assert.equal(f.queued, 10);
  // What was sent no longer counts.
  f.granted({ numMessages: 100, numBytes: 1_000_000 });
  f.next(0);
  f.enqueue(DEMAND, hashes("floodDemand", 1000));
  assert.equal(f.queued, 1);
});

test("FlowControl never clears SCP messages, and never queues a transaction above the largest size", () => {
  const f = flow({ queuedTransactions: 5, queuedTransactionBytes: 1 });
  for (let i = 0; i < 50; i++) f.enqueue(SCP, message(SCP, 100));
  assert.equal(f.queued, 50);
  const g = flow({ maxTransactionBytes: 100 });
  g.enqueue(TX, message(TX, 101));
  g.enqueue(TX, message(TX, 100));
  assert.equal(g.queued, 1);
  assert.throws(() => g.enqueue(MessageType.peers, message(MessageType.peers, 8)), RangeError);
});

test("property: credit used never exceeds credit granted", () => {
  const command = fc.oneof(
    fc.record({ grant: fc.record({ numMessages: fc.nat(20), numBytes: fc.integer({ min: 1, max: 3000 }) }) }),
    fc.record({ size: fc.integer({ min: 9, max: 2000 }), type: fc.constantFrom(SCP, TX) }),
  );
  fc.assert(fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
    const f = flow();
    let messages = 0, bytes = 0;
    for (const step of commands) {
      if ("grant" in step) {
        f.granted(step.grant);
        messages += step.grant.numMessages;
        bytes += step.grant.numBytes;
      } else f.enqueue(step.type, message(step.type, step.size));
      for (const sent of f.next(0)) {
        messages--;
        bytes -= sent.length;
      }
      assert.ok(messages >= 0 && bytes >= 0);
      assert.deepEqual(f.credit, { messages: BigInt(messages), bytes: BigInt(bytes) });
    }
  }));
});
