import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../overlay/base/clock.ts";
import { type AsyncWrite, OutputQueue, type ReaderGone } from "./output_queue.ts";

type Done = Parameters<AsyncWrite>[2];

/** A queue whose writes a test answers. */
function queueOf(maxBytes?: number) {
  const clock = new VirtualClock();
  const writes: { fd: number; text: string; done: Done }[] = [];
  const gone: ReaderGone[] = [];
  const write: AsyncWrite = (fd, bytes, done) => void writes.push({ fd, text: new TextDecoder().decode(bytes), done });
  const queue = new OutputQueue(write, { clock, onGone: (one) => gone.push(one), maxBytes });
  const texts = () => writes.map(({ fd, text }) => `${fd}:${text}`);
  return { clock, writes, gone, queue, texts };
}

test("OutputQueue has one write under way, joins what waits, and keeps the order of both streams", () => {
  const { writes, queue, texts } = queueOf();
  for (const text of ["a", "b", "c"]) queue.write(1, text);
  queue.write(2, "status");
  queue.write(1, "d");
  assert.deepEqual(texts(), ["1:a"]);
  writes[0].done(null, 1);
  writes[1].done(null, 2);
  writes[2].done(null, 6);
  assert.deepEqual(texts(), ["1:a", "1:bc", "2:status", "1:d"]);
});

test("OutputQueue goes on where a short write ended, and tries a full pipe again", async () => {
  const { clock, writes, queue, texts } = queueOf();
  queue.write(1, "hello");
  writes[0].done(null, 2);
  writes[1].done({ code: "EAGAIN" }, 0);
  assert.equal(writes.length, 2);
  await clock.advance(100);
  assert.deepEqual(texts(), ["1:hello", "1:llo", "1:llo"]);
});

test("OutputQueue is bounded: a reader that stands still costs lines, which are counted, and nothing else", () => {
  const { writes, queue } = queueOf(10);
  assert.equal(queue.write(1, "123456"), true);
  assert.equal(queue.write(1, "123456"), false);
  assert.equal(queue.write(1, "1234"), true);
  assert.equal(queue.hasRoom, false);
  writes[0].done(null, 6);
  writes[1].done(null, 4);
  assert.equal(queue.hasRoom, true);
  assert.deepEqual([queue.takeLost(), queue.takeLost()], [1, 0]);
});

test("OutputQueue says once that a reader has gone, and drops what waits for it", () => {
  const { writes, gone, queue, texts } = queueOf();
  queue.write(1, "a");
  queue.write(1, "b");
  queue.write(2, "c");
  writes[0].done({ code: "EPIPE" }, 0);
  assert.deepEqual(gone, [{ fd: 1, code: "EPIPE" }]);
  assert.deepEqual(texts(), ["1:a", "2:c"]);
  assert.equal(queue.write(1, "d"), false);
  writes[1].done(null, 1);
  queue.write(2, "e");
  assert.deepEqual(texts(), ["1:a", "2:c", "2:e"]);
});

test("OutputQueue outlives a full disk", () => {
  const { writes, gone, queue } = queueOf();
  queue.write(1, "a");
  writes[0].done({ code: "ENOSPC" }, 0);
  assert.deepEqual([gone.length, queue.takeLost()], [0, 1]);
  assert.equal(queue.write(1, "b"), true);
});

test("OutputQueue.flush waits for the last byte, but not for ever", async () => {
  const { clock, writes, queue } = queueOf();
  await queue.flush(1000);
  queue.write(1, "a");
  let flushed = 0;
  void queue.flush(1000).then(() => flushed++);
  writes[0].done(null, 1);
  await clock.advance(0);
  assert.equal(flushed, 1);
  queue.write(1, "b");
  void queue.flush(1000).then(() => flushed++);
  await clock.advance(999);
  assert.equal(flushed, 1);
  await clock.advance(1);
  assert.equal(flushed, 2);
});
