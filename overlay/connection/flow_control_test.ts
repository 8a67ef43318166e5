import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import {
  automaticFloodBytes,
  DEFAULT_FLOW_CONTROL,
  FlowControl,
  type FlowControlLimits,
  flowControlProblem,
  maxTransactionBytesOf,
} from "./flow_control.ts";

const { scpMessage: SCP, transaction: TX, floodDemand: DEMAND, floodAdvert: ADVERT } = MessageType;
const FLOOD = [SCP, TX, DEMAND, ADVERT];

function flow(change: Partial<FlowControlLimits> = {}, nowMs = 0): FlowControl {
  return new FlowControl({ ...DEFAULT_FLOW_CONTROL, ...change }, nowMs);
}

/** Everything that may be sent now; it is written at once unless told otherwise. */
function next(f: FlowControl, nowMs: number, written = true): Uint8Array[] {
  const sent: Uint8Array[] = [];
  f.serve(nowMs, 1, (message) => void sent.push(message));
  if (written) f.written(sent.length);
  return sent;
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
  f.enqueue(ADVERT, advert, 0);
  f.enqueue(DEMAND, demand, 0);
  f.enqueue(TX, tx, 0);
  f.enqueue(SCP, big, 0);
  assert.deepEqual(next(f, 5), []);
  assert.equal(f.blockedSinceMs, 5);
  f.granted({ numMessages: 10, numBytes: 280 });
  assert.equal(f.blockedSinceMs, undefined);
  assert.deepEqual(next(f, 6), [tx, demand, advert]);
  assert.equal(f.blockedSinceMs, 6, "the large one is short of bytes");
  assert.deepEqual(f.credit, { messages: 7n, bytes: 0n });
  f.granted({ numMessages: 1, numBytes: 1000 });
  assert.deepEqual(next(f, 7), [big]);
  assert.equal(f.blockedSinceMs, undefined);
  assert.equal(f.queued, 0);
});

test("FlowControl with no message credit moves nothing; with one message, one", () => {
  const f = flow();
  f.granted({ numMessages: 0, numBytes: 1_000_000 });
  f.enqueue(SCP, message(SCP, 10, 1), 0);
  f.enqueue(SCP, message(SCP, 10, 2), 0);
  assert.deepEqual(next(f, 0), []);
  f.granted({ numMessages: 1, numBytes: 1 });
  assert.deepEqual(next(f, 0).map((m) => m[9]), [1]);
  assert.equal(f.queued, 1);
});

test("FlowControl keeps the order within a queue", () => {
  const f = flow();
  for (let tag = 0; tag < 20; tag++) f.enqueue(TX, message(TX, 10, tag), 0);
  f.granted({ numMessages: 7, numBytes: 1000 });
  f.granted({ numMessages: 100, numBytes: 1000 });
  assert.deepEqual(next(f, 0).map((m) => m[9]), Array.from({ length: 20 }, (_, i) => i));
});

test("FlowControl clears the transaction queue above its message or byte limit, the new one included", () => {
  const byCount = flow({ queuedTransactions: 1000 });
  for (let i = 0; i < 1010; i++) byCount.enqueue(TX, message(TX, 10), 0);
  assert.equal(byCount.queued, 9);
  assert.equal(byCount.discarded, 1001);
  const byBytes = flow({ queuedTransactionBytes: 150 });
  for (let i = 0; i < 3; i++) byBytes.enqueue(TX, message(TX, 100), 0);
  assert.equal(byBytes.queued, 1);
  // Exactly the limit is not above it.
  const exact = flow({ queuedTransactions: 2, queuedTransactionBytes: 200 });
  exact.enqueue(TX, message(TX, 100), 0);
  exact.enqueue(TX, message(TX, 100), 0);
  assert.equal(exact.queued, 2);
});

test("FlowControl counts adverts and demands by hashes, and clears each queue by itself", () => {
  const f = flow({ queuedTransactions: 1000 });
  for (let i = 0; i < 1010; i++) {
    f.enqueue(ADVERT, hashes("floodAdvert", 1), 0);
    f.enqueue(DEMAND, hashes("floodDemand", 1), 0);
  }
  assert.equal(f.queued, 18);
  f.enqueue(ADVERT, hashes("floodAdvert", 2), 0);
  f.enqueue(DEMAND, hashes("floodDemand", 2), 0);
  assert.equal(f.queued, 20);
  f.enqueue(ADVERT, hashes("floodAdvert", 1000), 0);
  assert.equal(f.queued, 10);
  // What was sent no longer counts.
  f.granted({ numMessages: 100, numBytes: 1_000_000 });
  next(f, 0);
  f.enqueue(DEMAND, hashes("floodDemand", 1000), 0);
  assert.equal(f.queued, 1);
});

test("FlowControl never clears SCP messages, and never queues a transaction above the largest size", () => {
  const f = flow({ queuedTransactions: 5, queuedTransactionBytes: 1 });
  for (let i = 0; i < 50; i++) f.enqueue(SCP, message(SCP, 100), 0);
  assert.equal(f.queued, 50);
  const g = flow({ maxTransactionBytes: 100 });
  g.enqueue(TX, message(TX, 101), 0);
  g.enqueue(TX, message(TX, 100), 0);
  assert.equal(g.queued, 1);
  assert.throws(() => g.enqueue(MessageType.peers, message(MessageType.peers, 8), 0), RangeError);
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
      } else f.enqueue(step.type, message(step.type, step.size), 0);
      for (const sent of next(f, 0)) {
        messages--;
        bytes -= sent.length;
      }
      assert.ok(messages >= 0 && bytes >= 0);
      assert.deepEqual(f.credit, { messages: BigInt(messages), bytes: BigInt(bytes) });
    }
  }));
});

test("FlowControl keeps messages in the queue until they were written, and counts them against its limits", () => {
  const f = flow({ queuedTransactions: 3, queuedTransactionBytes: 1000 });
  f.granted({ numMessages: 100, numBytes: 100_000 });
  for (let tag = 0; tag < 3; tag++) f.enqueue(TX, message(TX, 100, tag), 0);
  assert.equal(next(f, 0, false).length, 3);
  assert.deepEqual([f.queued, f.beingSent], [0, 3]);
  assert.equal(next(f, 0, false).length, 0, "nothing is sent twice");
  f.enqueue(TX, message(TX, 100, 3), 0);
  assert.deepEqual([f.queued, f.beingSent, f.discarded], [0, 0, 4], "the fourth clears all of them");
  // Those on their way complete, and touch nothing that came later.
  f.enqueue(TX, message(TX, 100, 4), 0);
  f.serve(0, 4, () => {});
  f.written(3);
  assert.equal(f.beingSent, 1);
  f.written(4);
  assert.equal(f.beingSent, 0);
  for (let tag = 0; tag < 3; tag++) f.enqueue(TX, message(TX, 300, tag), 0);
  assert.deepEqual([f.queued, f.discarded], [3, 4], "bytes were given back");
});

test("FlowControl gives hashes and bytes back in the order of writing, over many rounds", () => {
  const f = flow({ queuedTransactions: 300 });
  f.granted({ numMessages: 1e6, numBytes: 1e9 });
  let number = 1;
  const sent: number[] = [];
  for (let round = 0; round < 500; round++) {
    f.enqueue(ADVERT, hashes("floodAdvert", 2), 0);
    f.enqueue(TX, message(TX, 20, round % 256), 0);
    f.serve(0, number, (m) => {
      number++;
      if (m[3] === TX) sent.push(m[19]);
    });
    if (round % 100 === 99) f.written(number - 1 - 50);
  }
  assert.equal(f.discarded, 0);
  assert.deepEqual(sent, Array.from({ length: 500 }, (_, i) => i % 256));
  assert.equal(f.beingSent, 50);
  f.written(number - 1);
  assert.equal(f.beingSent, 0);
});

test("FlowControl stamps the missing credit anew at every attempt that fails, also for what is being sent", () => {
  const f = flow({}, 0);
  f.granted({ numMessages: 1, numBytes: 1000 });
  f.enqueue(TX, message(TX, 600), 1);
  assert.equal(next(f, 1, false).length, 1);
  assert.equal(f.blockedSinceMs, undefined);
  // Nothing waits, but the credit left over does not cover the message on its way again.
  next(f, 2, false);
  assert.equal(f.blockedSinceMs, 2);
  next(f, 3, false);
  assert.equal(f.blockedSinceMs, 3);
  f.granted({ numMessages: 1, numBytes: 1 }, 10);
  assert.deepEqual([f.blockedSinceMs, f.timesBlocked, f.blockedMs], [undefined, 2, 7]);
  next(f, 11, false);
  assert.equal(f.blockedSinceMs, 11, "401 bytes of credit");
  f.written(1);
  f.granted({ numMessages: 0, numBytes: 1 }, 12);
  next(f, 12);
  assert.equal(f.blockedSinceMs, undefined);
});

test("FlowControl spends a credit beyond 2^53 exactly", () => {
  const f = flow();
  f.granted({ numMessages: 3, numBytes: 2 ** 60 });
  f.enqueue(SCP, message(SCP, 1001), 0);
  assert.equal(next(f, 0).length, 1);
  assert.deepEqual(f.credit, { messages: 2n, bytes: 2n ** 60n - 1001n });
  f.granted({ numMessages: 2 ** 32 - 1, numBytes: 2 ** 32 - 1 });
  assert.deepEqual(f.credit, { messages: 2n ** 32n + 1n, bytes: 2n ** 60n - 1001n + 2n ** 32n - 1n });
});

test("FlowControl takes a new queue limit at run time, looked at when something is added", () => {
  const f = flow({ queuedTransactions: 10 });
  for (let i = 0; i < 8; i++) f.enqueue(TX, message(TX, 10), 0);
  f.setQueueLimit(5);
  assert.equal(f.queued, 8);
  f.enqueue(TX, message(TX, 10), 0);
  assert.equal(f.queued, 0);
  f.setQueueLimit(20);
  for (let i = 0; i < 20; i++) f.enqueue(TX, message(TX, 10), 0);
  assert.equal(f.queued, 20);
  assert.equal(DEFAULT_FLOW_CONTROL.queuedTransactions, 10_000, "the limits given are not changed");
});

test("FlowControl grants the increase of the largest transaction, and takes nothing back for a decrease", () => {
  const f = flow();
  f.firstGrant();
  assert.equal(f.setMaxTransactionBytes(132_000), 29_600);
  assert.deepEqual(f.localCapacity, { messages: 200, bytes: 329_600 });
  assert.equal(f.limits.floodBytes, 329_600);
  assert.equal(f.setMaxTransactionBytes(132_000), 0);
  f.enqueue(TX, message(TX, 132_000), 0);
  f.enqueue(TX, message(TX, 132_001), 0);
  assert.deepEqual([f.queued, f.oversized], [1, 1]);
  assert.equal(f.setMaxTransactionBytes(102_400), 0);
  assert.deepEqual([f.queued, f.localCapacity.bytes], [1, 329_600]);
  f.enqueue(TX, message(TX, 132_000), 0);
  assert.equal(f.queued, 1);
});

test("FlowControl before the first grant makes room for one transaction above a batch, and grants it then", () => {
  const f = flow();
  assert.equal(f.setMaxTransactionBytes(150_000), 0);
  assert.equal(f.limits.floodBytes, 300_000);
  assert.equal(f.setMaxTransactionBytes(250_000), 0);
  assert.deepEqual(f.firstGrant(), { numMessages: 200, numBytes: automaticFloodBytes(250_000) });
  assert.equal(f.localCapacity.bytes, 350_000);
});

test("the largest transaction and the flood bytes of a network are upstream's", () => {
  assert.equal(maxTransactionBytesOf(undefined), 102_400);
  assert.equal(maxTransactionBytesOf(71_680), 102_400);
  assert.equal(maxTransactionBytesOf(132_096), 134_096);
  assert.equal(automaticFloodBytes(102_400), 300_000);
  assert.equal(automaticFloodBytes(200_001), 300_001);
});

test("limits that cannot work are refused with a sentence", () => {
  assert.equal(flowControlProblem(DEFAULT_FLOW_CONTROL), undefined);
  for (
    const [change, words] of [
      [{ totalMessages: 200 }, "reading capacity"],
      [{ batchMessages: 201 }, "201 messages"],
      [{ batchBytes: 300_001 }, "300001 bytes"],
      [{ batchBytes: 197_601 }, "largest transaction"],
    ] as const
  ) assert.match(flowControlProblem({ ...DEFAULT_FLOW_CONTROL, ...change }) ?? "", new RegExp(words));
  assert.equal(flowControlProblem({ ...DEFAULT_FLOW_CONTROL, batchBytes: 197_600 }), undefined);
});

test("FlowControl shows upstream's flow_control, with the time messages waited", () => {
  const f = flow();
  f.enqueue(SCP, message(SCP, 100), 1000);
  f.enqueue(SCP, message(SCP, 100), 1200);
  f.enqueue(ADVERT, hashes("floodAdvert", 1), 1300);
  next(f, 1300);
  f.begin(TX, 500);
  f.begin(MessageType.peers, 50);
  f.granted({ numMessages: 200, numBytes: 300_000 }, 2000);
  next(f, 2000);
  assert.deepEqual(f.state(2000), {
    localCapacity: { reading: 199, flood: 199 },
    peerCapacity: 197n,
    localCapacityBytes: { reading: 1_048_576 + 16_777_220 - 550, flood: 299_500 },
    peerCapacityBytes: 299_760n,
    outboundQueueDelayP75: { scp: 1000, txs: 0, advert: 700, demand: 0 },
  });
  assert.deepEqual(f.totalCapacity, { messages: 199, bytes: 1_048_576 - 550 });
});

test("property: what is being sent and what waits is exactly what was queued and not written", () => {
  const step = fc.oneof(
    fc.record({ type: fc.constantFrom(...FLOOD), size: fc.integer({ min: 9, max: 200 }) }),
    fc.record({ grant: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ write: fc.integer({ min: 1, max: 10 }) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const f = flow();
    let queued = 0, sent = 0, written = 0;
    for (const s of steps) {
      if ("type" in s) {
        f.enqueue(s.type, message(s.type, s.size), 0);
        queued++;
      } else if ("grant" in s) f.granted({ numMessages: s.grant, numBytes: 200 * s.grant });
      else f.written(written = Math.min(sent, written + s.write));
      f.serve(0, sent + 1, () => void sent++);
      assert.deepEqual([f.queued, f.beingSent], [queued - sent, sent - written]);
    }
  }));
});
