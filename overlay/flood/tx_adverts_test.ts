import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { sha256 } from "../crypto/primitives.ts";
import { encodeMessage, MAX_TX_HASHES } from "../wire/messages.ts";
import { ADVERT_HISTORY_SIZE, maxAdvertSize, TxAdverts, type TxFloodLimits } from "./tx_adverts.ts";
import { hashBytes, hashText, packTxHashes, txHashesOf } from "./tx_adverts_hashes.ts";

const LIMIT = 200;
const hashOf = (i: number) => hashText(sha256(new TextEncoder().encode(String(i))));
const hashesOf = (from: number, count: number) => Array.from({ length: count }, (_, i) => hashOf(from + i));
const advertOf = (hashes: string[]) => packTxHashes("floodAdvert", hashes);

function setUp(changes: Partial<TxFloodLimits> = {}) {
  const clock = new VirtualClock(), sent: string[][] = [];
  const limits = { maxTxSetSizeOps: LIMIT, sorobanLedgerMaxTxCount: 100, closeTimeMs: 5000, ...changes };
  const adverts = new TxAdverts({ clock, limits, send: (message) => sent.push(txHashesOf(message)) });
  return { clock, sent, limits, adverts };
}

function popAll(adverts: TxAdverts): string[] {
  const popped: string[] = [];
  for (let hash = adverts.pop(); hash !== undefined; hash = adverts.pop()) popped.push(hash);
  return popped;
}

test("packTxHashes makes what the codec makes, and txHashesOf reads it back", () => {
  const hashes = hashesOf(0, 3);
  const message = packTxHashes("floodDemand", hashes);
  assert.deepEqual(message, encodeMessage({ type: "floodDemand", txHashes: hashes.map(hashBytes) }));
  assert.deepEqual(txHashesOf(message), hashes);
  assert.deepEqual(txHashesOf(message.subarray(0, 50)), []);
  assert.throws(() => packTxHashes("floodAdvert", new Array(1001).fill(hashOf(1))), RangeError);
});

test("maxAdvertSize is upstream's formula", () => {
  assert.equal(maxAdvertSize({ maxTxSetSizeOps: 1000, sorobanLedgerMaxTxCount: 100, closeTimeMs: 5000 }), 22);
  assert.equal(maxAdvertSize({ maxTxSetSizeOps: 1, sorobanLedgerMaxTxCount: 0, closeTimeMs: 5000 }), 1);
  assert.equal(maxAdvertSize({ maxTxSetSizeOps: 0, sorobanLedgerMaxTxCount: 0, closeTimeMs: 5000 }), 1);
  assert.equal(maxAdvertSize({ maxTxSetSizeOps: 1e6, sorobanLedgerMaxTxCount: 0, closeTimeMs: 5000 }), 1000);
});

test("scenario: advert queue, incoming adverts", () => {
  const { adverts } = setUp();
  const fresh = hashesOf(0, LIMIT);
  adverts.receive(advertOf(fresh), 1);
  assert.equal(adverts.size, LIMIT);
  adverts.retryLater(hashesOf(LIMIT, LIMIT));
  assert.equal(adverts.size, LIMIT);
  assert.deepEqual(popAll(adverts), fresh); // the hashes to retry were dropped first
  assert.equal(adverts.size, 0);

  const half = LIMIT / 2;
  adverts.receive(advertOf(hashesOf(0, half)), 1);
  adverts.retryLater(hashesOf(LIMIT, half));
  assert.equal(adverts.size, LIMIT);
  assert.deepEqual(popAll(adverts), [...hashesOf(LIMIT, half), ...hashesOf(0, half)]);
});

test("scenario: advert queue, outgoing adverts, flush advert after some time", async () => {
  const { clock, sent, adverts } = setUp();
  assert.ok(adverts.advertise(hashOf(0)));
  await clock.advance(50);
  adverts.advertise(hashOf(1));
  await clock.advance(49);
  assert.deepEqual([sent.length, adverts.outgoingSize], [0, 2]);
  await clock.advance(1);
  assert.deepEqual(sent, [[hashOf(0), hashOf(1)]]);
  assert.equal(adverts.outgoingSize, 0);
});

test("scenario: advert queue, outgoing adverts, flush advert when at capacity", async () => {
  const { clock, sent, limits, adverts } = setUp();
  const most = maxAdvertSize(limits);
  for (let i = 0; i < most - 1; i++) adverts.advertise(hashOf(i));
  assert.deepEqual([sent.length, adverts.outgoingSize], [0, most - 1]);
  adverts.advertise(hashOf(most));
  assert.deepEqual([sent.length, adverts.outgoingSize], [1, 0]);
  await clock.advance(1000);
  assert.equal(sent.length, 1);
});

test("scenario: advert queue, outgoing adverts, ensure outgoing queue is capped", () => {
  const { sent, limits, adverts } = setUp({ maxTxSetSizeOps: MAX_TX_HASHES * 100 });
  assert.ok(maxAdvertSize(limits) <= MAX_TX_HASHES);
  for (let i = 0; i < MAX_TX_HASHES; i++) adverts.advertise(hashOf(i));
  assert.equal(adverts.outgoingSize, 0);
  assert.deepEqual(sent.map((hashes) => hashes.length), [MAX_TX_HASHES]);
});

test("TxAdverts does not advertise what the peer advertised, until that is forgotten", () => {
  const { adverts } = setUp();
  adverts.receive(advertOf([hashOf(1)]), 10);
  adverts.receive(advertOf([hashOf(2)]), 11);
  assert.ok(!adverts.advertise(hashOf(1)));
  assert.ok(adverts.advertise(hashOf(3)));
  adverts.clearBelow(11);
  assert.ok(adverts.advertise(hashOf(1)));
  assert.ok(!adverts.advertise(hashOf(2)));
  adverts.receive(advertOf([hashOf(2)]), 12); // seen again: counts from now
  adverts.clearBelow(12);
  assert.ok(adverts.seen(hashOf(2)));
});

test("TxAdverts.close ends its timer", async () => {
  const { clock, sent, adverts } = setUp();
  adverts.advertise(hashOf(1));
  adverts.close();
  await clock.advance(1000);
  assert.equal(sent.length, 0);
});

test("TxAdverts.receive ignores what is no advert", () => {
  const { adverts } = setUp();
  assert.equal(adverts.receive(new Uint8Array(5), 1), 0);
  assert.equal(adverts.receive(packTxHashes("floodAdvert", []), 1), 0);
  assert.equal(adverts.size, 0);
});

test("TxAdverts holds no more than its limits under a flood of junk, and keeps the newest", () => {
  const { adverts } = setUp();
  let n = 0;
  for (let round = 0; round < 60; round++) {
    adverts.receive(advertOf(hashesOf(n, 1000)), 5);
    n += 1000;
    assert.ok(adverts.size <= LIMIT && adverts.historySize <= ADVERT_HISTORY_SIZE);
  }
  assert.equal(adverts.historySize, ADVERT_HISTORY_SIZE);
  assert.deepEqual(popAll(adverts), hashesOf(n - LIMIT, LIMIT));
});

test("TxAdverts pops what two plain lists would, whatever happens", () => {
  const command = fc.oneof(
    fc.record({ do: fc.constant("receive" as const), from: fc.nat(500), count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ do: fc.constant("retry" as const), from: fc.nat(500), count: fc.nat(30) }),
    fc.record({ do: fc.constant("pop" as const), count: fc.nat(40) }),
  );
  fc.assert(fc.property(fc.array(command), (commands) => {
    const { adverts } = setUp({ maxTxSetSizeOps: 50 });
    const incoming: string[] = [], retry: string[] = [];
    for (const c of commands) {
      if (c.do === "pop") {
        for (let i = 0; i < c.count; i++) assert.equal(adverts.pop(), retry.shift() ?? incoming.shift());
      } else {
        const hashes = hashesOf(c.from, c.count);
        (c.do === "receive" ? incoming : retry).push(...hashes);
        if (c.do === "receive") adverts.receive(advertOf(hashes), 1);
        else adverts.retryLater(hashes);
        while (incoming.length + retry.length > 50) retry.length > 0 ? retry.shift() : incoming.shift();
      }
      assert.equal(adverts.size, incoming.length + retry.length);
    }
  }));
});
