import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { MessageType, messageTypeName, ReceivedMessage } from "../../overlay/wire/messages.ts";
import { RecordQueue } from "./record_queue.ts";
import type { WatchMessage, WatchRecord } from "./records.ts";

function message(type: number, mark = 0): WatchMessage {
  const bytes = Uint8Array.of(0, 0, 0, type, mark);
  const received = new ReceivedMessage(type, bytes, 1);
  return { kind: "message", atMs: 1, wallMs: 1, peer: "A", type: messageTypeName(type)!, bytes: 5, message: received };
}
const scp = (mark = 0) => message(MessageType.scpMessage, mark);
const advert = () => message(MessageType.floodAdvert);
const label = (record: WatchRecord | undefined) =>
  record?.kind === "message" ? `${record.type} ${record.message.bytes[4]}` : record?.kind;

test("records come out in order and own their bytes", async () => {
  const queue = new RecordQueue({ clock: new VirtualClock(), wants: (record) => record.kind === "message" });
  const first = scp(1);
  queue.push(first);
  first.message.bytes[4] = 9;
  queue.push({ kind: "syncGained", atMs: 1, wallMs: 1, ledgerSeq: 1, outOfSyncMs: 0 });
  const waiting = [await queue.next(), queue.next()] as const;
  assert.equal(label(waiting[0].value), "scpMessage 1");
  queue.push(scp(2));
  assert.equal(label((await waiting[1]).value), "scpMessage 2");
  queue.close();
  assert.equal((await queue.next()).done, true);
});

test("a full queue holds the senders of SCP messages, misses others, and says how many", async () => {
  const queue = new RecordQueue({ clock: new VirtualClock(), maxRecords: 4 });
  for (let i = 0; i < 4; i++) assert.equal(queue.push(scp(i)), undefined);
  let released = false;
  void queue.push(scp(4))!.then(() => (released = true));
  assert.equal(queue.push(advert()), undefined);
  assert.equal(queue.push(advert()), undefined);
  assert.equal(queue.missed, 2);
  const out: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++) out.push(label((await queue.next()).value));
  await Promise.resolve();
  assert.equal(released, true, "half of the room is free");
  queue.push(scp(5));
  for (let i = 0; i < 4; i++) out.push(label((await queue.next()).value));
  assert.deepEqual(out, [
    "scpMessage 0",
    "scpMessage 1",
    "scpMessage 2",
    "scpMessage 3",
    "scpMessage 4",
    "missed",
    "scpMessage 5",
  ]);
});

test("nobody waits longer than the patience: then SCP messages are missed too, until there is room", async () => {
  const clock = new VirtualClock();
  const queue = new RecordQueue({ clock, maxRecords: 2, patienceMs: 1000 });
  queue.push(scp());
  queue.push(scp());
  let released = false;
  void queue.push(scp())!.then(() => (released = true));
  await clock.advance(999);
  assert.equal(released, false);
  await clock.advance(1);
  assert.equal(released, true);
  assert.equal(queue.push(scp()), undefined);
  assert.equal(queue.missed, 1);
  await queue.next();
  await queue.next();
  queue.push(scp(7));
  assert.equal(queue.missed, 1);
  await queue.return();
  assert.deepEqual([queue.length, clock.waiting], [0, 0]);
});
