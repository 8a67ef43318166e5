import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, readUint32, toHex, writeUint32 } from "../base/bytes.ts";
import { MAX_MESSAGE_SIZE, MAX_UNAUTH_MESSAGE_SIZE, RecordDecoder, type RecordSink } from "./record.ts";

class Sink implements RecordSink {
  readonly records: Uint8Array[] = [];
  /** The chunk that each record is a view on. */
  readonly chunks: Uint8Array[] = [];
  bad: { length: number; limit: number; header: string } | undefined;
  onEach: (() => void) | undefined;

  onRecord(chunk: Uint8Array, start: number, end: number): void {
    this.chunks.push(chunk);
    this.records.push(chunk.slice(start, end));
    this.onEach?.();
  }
  onBadLength(length: number, limit: number, header: Uint8Array): void {
    assert.equal(this.bad, undefined, "told once");
    this.bad = { length, limit, header: toHex(header) };
  }
}

function frame(body: Uint8Array, mark = 0x80000000): Uint8Array {
  const header = new Uint8Array(4);
  writeUint32(header, 0, (body.length | mark) >>> 0);
  return concatBytes(header, body);
}

function decoder(maxBytes = MAX_UNAUTH_MESSAGE_SIZE): { sink: Sink; decoder: RecordDecoder } {
  const sink = new Sink();
  const made = new RecordDecoder(sink);
  made.maxBytes = maxBytes;
  return { sink, decoder: made };
}

/** Cuts `bytes` at the given places. */
function cut(bytes: Uint8Array, at: number[]): Uint8Array[] {
  const places = [0, ...at.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.slice(places[i], end));
}

const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 12 });

test("RecordDecoder yields the same records for any chunking, whatever bit 31 says", () => {
  fc.assert(fc.property(bodies, fc.array(fc.nat(), { maxLength: 30 }), fc.boolean(), (all, at, last) => {
    const { sink, decoder: d } = decoder();
    const stream = concatBytes(...all.map((body) => frame(body, last ? 0x80000000 : 0)));
    for (const chunk of cut(stream, at)) d.push(chunk);
    assert.deepEqual(sink.records, all);
    assert.ok(d.atBoundary);
    assert.equal(d.steps, 2 * all.length);
  }));
});

test("RecordDecoder takes one byte at a time", () => {
  const { sink, decoder: d } = decoder();
  const body = Uint8Array.from({ length: 300 }, (_, i) => i);
  for (const byte of concatBytes(frame(body), frame(body))) d.push(Uint8Array.of(byte));
  assert.deepEqual(sink.records, [body, body]);
});

test("RecordDecoder counts a header and a body as a step each, and nothing between", () => {
  const { decoder: d } = decoder();
  const steps: number[] = [];
  for (const byte of frame(new Uint8Array(5))) {
    d.push(Uint8Array.of(byte));
    steps.push(d.steps);
  }
  assert.deepEqual(steps, [0, 0, 0, 1, 1, 1, 1, 1, 2]);
});

test("RecordDecoder hands on thousands of frames of one chunk as views on it", () => {
  const { sink, decoder: d } = decoder();
  const one = frame(new Uint8Array(48).fill(3));
  const chunk = new Uint8Array(one.length * 5000);
  for (let i = 0; i < 5000; i++) chunk.set(one, i * one.length);
  d.push(chunk);
  assert.equal(sink.records.length, 5000);
  assert.ok(sink.chunks.every((of) => of === chunk));
});

test("RecordDecoder stops at a length that is not allowed, before it holds any of the body", () => {
  const table: [string, number, number | undefined][] = [
    ["80000000", MAX_UNAUTH_MESSAGE_SIZE, 0],
    ["00000000", MAX_UNAUTH_MESSAGE_SIZE, 0],
    ["ffffffff", MAX_UNAUTH_MESSAGE_SIZE, 0x7fffffff],
    ["7fffffff", MAX_MESSAGE_SIZE, 0x7fffffff],
    ["80001001", MAX_UNAUTH_MESSAGE_SIZE, 4097],
    ["80001000", MAX_UNAUTH_MESSAGE_SIZE, undefined],
    ["00001000", MAX_UNAUTH_MESSAGE_SIZE, undefined],
    ["81000001", MAX_MESSAGE_SIZE, 16_777_217],
    ["81000004", MAX_MESSAGE_SIZE, 16_777_220],
    ["81000000", MAX_MESSAGE_SIZE, undefined],
    ["48545450", MAX_UNAUTH_MESSAGE_SIZE, 0x48545450],
  ];
  for (const [header, limit, length] of table) {
    for (const whole of [true, false]) {
      const { sink, decoder: d } = decoder(limit);
      const bytes = Uint8Array.from(header.match(/../g)!, (byte) => parseInt(byte, 16));
      // Once with a record and more behind it in the same chunk, once byte by byte.
      const stream = concatBytes(frame(Uint8Array.of(1)), bytes, new Uint8Array(50));
      if (whole) d.push(stream);
      else for (const byte of stream) d.push(Uint8Array.of(byte));
      d.push(frame(Uint8Array.of(2)));
      const expected = length === undefined ? undefined : { length, limit, header };
      assert.deepEqual(sink.bad, expected, header);
      assert.equal(sink.records.length, 1, header);
    }
  }
});

test("RecordDecoder takes a record of exactly the limit", () => {
  for (const limit of [MAX_UNAUTH_MESSAGE_SIZE, MAX_MESSAGE_SIZE]) {
    const { sink, decoder: d } = decoder(limit);
    const stream = frame(new Uint8Array(limit).fill(0x5a));
    for (let at = 0; at < stream.length; at += 65_536) d.push(stream.slice(at, at + 65_536));
    assert.equal(sink.records.length, 1);
    assert.equal(sink.records[0].length, limit);
    assert.ok(sink.records[0].every((byte) => byte === 0x5a));
  }
});

test("RecordDecoder looks at the limit when a header is complete, also in the middle of a chunk", () => {
  const { sink, decoder: d } = decoder();
  sink.onEach = () => d.maxBytes = MAX_MESSAGE_SIZE;
  d.push(concatBytes(frame(new Uint8Array(8)), frame(new Uint8Array(5000))));
  assert.deepEqual(sink.records.map((r) => r.length), [8, 5000]);
});

test("RecordDecoder throws away the rest of a chunk when it is stopped by a record", () => {
  for (const size of [8, 300]) {
    const { sink, decoder: d } = decoder();
    sink.onEach = () => d.stop();
    const stream = concatBytes(...Array.from({ length: 10 }, () => frame(new Uint8Array(size))));
    d.push(stream.slice(0, 7));
    d.push(stream.slice(7));
    d.push(stream);
    assert.equal(sink.records.length, 1);
    assert.equal(sink.bad, undefined);
  }
});

test("RecordDecoder holds no more than twice what arrived of a body that claims 16 MiB and drips", () => {
  const { sink, decoder: d } = decoder(MAX_MESSAGE_SIZE);
  let largest = 0, sum = 0;
  const Native = globalThis.Uint8Array;
  class Counting extends Native {
    // deno-lint-ignore no-explicit-any
    constructor(...args: any[]) {
      // @ts-ignore any form of the native constructor
      super(...args);
      if (typeof args[0] === "number") {
        largest = Math.max(largest, args[0]);
        sum += args[0];
      }
    }
  }
  const header = new Native(4);
  writeUint32(header, 0, (MAX_MESSAGE_SIZE | 0x80000000) >>> 0);
  const piece = new Native(1000);
  try {
    globalThis.Uint8Array = Counting as unknown as Uint8ArrayConstructor;
    d.push(header);
    assert.ok(sum <= 65_536, `${sum} bytes for a header`);
    for (let arrived = 1000; arrived <= 1_000_000; arrived += 1000) {
      d.push(piece);
      assert.ok(largest <= Math.max(65_536, 2 * arrived + 2000), `${largest} bytes for ${arrived}`);
    }
  } finally {
    globalThis.Uint8Array = Native;
  }
  assert.equal(sink.records.length, 0);
  assert.ok(!d.atBoundary);
  assert.equal(readUint32(header, 0), 0x81000000);
});
