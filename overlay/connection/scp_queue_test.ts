import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex, writeUint32 } from "../base/bytes.ts";
import { MessageType } from "../wire/messages.ts";
import { DEFAULT_FLOW_CONTROL, FlowControl } from "./flow_control.ts";
import { ScpQueueRules } from "./scp_queue.ts";

const { scpMessage: SCP } = MessageType;
const PREPARE = 0, EXTERNALIZE = 2, NOMINATE = 3;

/** A stand-in for an SCP_MESSAGE; `age` orders statements of one node, slot and kind. */
function scp(node: number, slot: number, kind: number, age = 0): Uint8Array {
  const bytes = new Uint8Array(56);
  writeUint32(bytes, 0, SCP);
  bytes.fill(node, 8, 40);
  writeUint32(bytes, 40, Math.floor(slot / 2 ** 32));
  writeUint32(bytes, 44, slot % 2 ** 32);
  writeUint32(bytes, 48, kind);
  writeUint32(bytes, 52, age);
  return bytes;
}
let compared = 0;
const newer = (old: Uint8Array, next: Uint8Array) => {
  compared++;
  return old[51] < next[51] || (old[51] === next[51] && old[55] < next[55]);
};

function flow(rules = new ScpQueueRules(newer)) {
  return new FlowControl(DEFAULT_FLOW_CONTROL, 0, rules);
}
const queue = (f: FlowControl, ...messages: Uint8Array[]) => messages.forEach((m) => f.enqueue(SCP, m, 0));
const left = (f: FlowControl) => f.queueOf(SCP).map(toHex);

test("ScpQueueRules remembers 12 slots and the first ledger of the current checkpoint", () => {
  const rules = new ScpQueueRules(newer);
  assert.ok(!rules.isForgotten(scp(1, 1, PREPARE)), "before the first ledger is known");
  for (const [ledger, oldest, kept] of [[5, 0, 1], [63, 52, 1], [64, 53, 64], [100, 89, 64], [127, 116, 64]]) {
    rules.track(ledger);
    assert.deepEqual([rules.oldestSlot, rules.keptSlot], [oldest, kept]);
  }
  for (const [slot, forgotten] of [[115, true], [116, false], [65, true], [64, false], [63, true], [2 ** 40, false]]) {
    assert.equal(rules.isForgotten(scp(1, Number(slot), PREPARE)), forgotten, String(slot));
  }
});

test("FlowControl replaces the first older statement of the same node, slot and kind in its place", () => {
  const f = flow();
  const [a1, b1, nominate, a2] = [
    scp(1, 9, PREPARE, 1),
    scp(2, 9, PREPARE, 1),
    scp(1, 9, NOMINATE, 1),
    scp(1, 9, PREPARE, 2),
  ];
  queue(f, a1, b1, nominate, a2);
  assert.deepEqual(left(f), [a2, b1, nominate].map(toHex));
  const other = scp(1, 10, EXTERNALIZE), last = scp(1, 9, EXTERNALIZE);
  queue(f, other, last);
  assert.deepEqual(left(f), [last, b1, nominate, other].map(toHex));
  assert.deepEqual([f.replaced, f.discarded, f.droppedByQueue.scp], [2, 0, 2]);
});

test("FlowControl replaces at most one statement per new message", () => {
  const f = flow();
  // The second is not newer than the first, so both stay.
  queue(f, scp(1, 9, PREPARE, 5), scp(1, 9, PREPARE, 4));
  const last = scp(1, 9, PREPARE, 6);
  queue(f, last);
  assert.deepEqual(left(f), [last, scp(1, 9, PREPARE, 4)].map(toHex));
});

test("FlowControl asks for a comparison only within one node, slot and kind", () => {
  const f = flow();
  compared = 0;
  for (let node = 1; node <= 50; node++) {
    queue(f, scp(node, 9, PREPARE), scp(node, 9, NOMINATE), scp(node, 10, PREPARE));
  }
  assert.equal(compared, 0);
  queue(f, scp(7, 9, PREPARE, 1));
  assert.equal(compared, 1);
});

test("FlowControl forgets slots only when an SCP message is added, and never what is being sent", () => {
  const rules = new ScpQueueRules(newer);
  const f = flow(rules);
  f.granted({ numMessages: 1, numBytes: 1000 });
  const old = [scp(1, 100, PREPARE), scp(2, 100, PREPARE), scp(3, 64, PREPARE)];
  queue(f, ...old);
  f.serve(0, 1, () => {});
  rules.track(120);
  assert.equal(f.queued, 2);
  const fresh = scp(1, 120, PREPARE);
  queue(f, fresh);
  assert.deepEqual(left(f), [old[0], old[2], fresh].map(toHex), "sent; first of the checkpoint; new");
  queue(f, scp(1, 108, PREPARE));
  assert.deepEqual([f.queued, f.discarded], [2, 2], "the new message itself is too old");
  f.written(1);
  assert.deepEqual([f.queued, f.beingSent], [2, 0]);
});

test("FlowControl does not replace what is being sent", () => {
  const f = flow();
  f.granted({ numMessages: 1, numBytes: 1000 });
  queue(f, scp(1, 9, PREPARE, 1));
  f.serve(0, 1, () => {});
  queue(f, scp(1, 9, PREPARE, 2), scp(1, 9, PREPARE, 3));
  assert.deepEqual(left(f), [scp(1, 9, PREPARE, 1), scp(1, 9, PREPARE, 3)].map(toHex));
});

test("property: a peer that never grants holds one statement per node, slot and kind of the remembered slots", () => {
  const statement = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(PREPARE, NOMINATE), fc.nat(3));
  fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), statement), { maxLength: 300 }), (steps) => {
    const rules = new ScpQueueRules(newer);
    const f = flow(rules);
    let ledger = 60, age = 0;
    for (const [closes, [node, kind, back]] of steps) {
      if (closes) rules.track(++ledger);
      queue(f, scp(node, ledger - back, kind, ++age % 256));
    }
    const seen = new Set(left(f).map((hex) => hex.slice(0, 104)));
    assert.ok(seen.size <= 4 * 2 * 13);
    for (const message of f.queueOf(SCP)) assert.ok(!rules.isForgotten(message));
  }));
});

test("FlowControl bounds the SCP queue also without rules, by messages and by bytes, oldest first", () => {
  const byCount = new FlowControl({ ...DEFAULT_FLOW_CONTROL, queuedScpMessages: 3 }, 0);
  queue(byCount, ...[1, 2, 3, 4, 5].map((n) => scp(n, 9, PREPARE)));
  assert.deepEqual(left(byCount), [3, 4, 5].map((n) => toHex(scp(n, 9, PREPARE))));
  assert.equal(byCount.discarded, 2);
  const byBytes = new FlowControl({ ...DEFAULT_FLOW_CONTROL, queuedScpBytes: 112 }, 0);
  queue(byBytes, ...[1, 2, 3].map((n) => scp(n, 9, PREPARE)));
  assert.deepEqual(left(byBytes), [2, 3].map((n) => toHex(scp(n, 9, PREPARE))));
});
