import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, readUint32, toHex } from "../base/bytes.ts";
import { VirtualClock } from "../base/clock.ts";
import { primitives } from "../crypto/primitives.ts";
import { splitFrame } from "../../tests/kit/fixtures.ts";
import { FakeSocket } from "../../tests/kit/transport_suite.ts";
import type { SocketEnd } from "../transport/transport.ts";
import { encodeMessage, MessageType } from "../wire/messages.ts";
import { ERROR_CODES } from "../wire/types.ts";
import { AUTHENTICATED_OVERHEAD, Connection, type FrameProblem, WIRE_OVERHEAD } from "./connection.ts";

const KEY_A = new Uint8Array(32).fill(0xa), KEY_B = new Uint8Array(32).fill(0xb);
const ZEROS = new Uint8Array(32);
const ask = (n: number) => encodeMessage({ type: "getScpState", ledgerSeq: n });
const error = (msg: string) => encodeMessage({ type: "errorMsg", error: { code: ERROR_CODES.ERR_MISC, msg } });

class End {
  readonly clock = new VirtualClock();
  readonly socket = new FakeSocket();
  readonly messages: { type: number; bytes: Uint8Array; atMs: number }[] = [];
  readonly problems: FrameProblem[] = [];
  readonly ends: SocketEnd[] = [];
  readonly written: number[] = [];
  overflows = 0;
  readonly connection: Connection;
  onEach: (() => void) | undefined;

  constructor(keys?: { send: Uint8Array; receive: Uint8Array }) {
    this.connection = new Connection(this.socket, this.clock, {
      onMessage: (type, bytes, atMs) => {
        this.messages.push({ type, bytes, atMs });
        this.onEach?.();
      },
      onProblem: (problem) => void this.problems.push(problem),
      onEnd: (end) => void this.ends.push(end),
      onWritten: (last) => void this.written.push(last),
      onOverflow: () => void this.overflows++,
    });
    if (keys !== undefined) {
      this.connection.setKeys({ send: primitives.macKey(keys.send), receive: primitives.macKey(keys.receive) });
    }
  }
  /** All bytes written, as frames. */
  get frames(): Uint8Array[] {
    const all = concatBytes(...this.socket.writes);
    const frames: Uint8Array[] = [];
    for (let at = 0; at < all.length;) {
      const end = at + 4 + (readUint32(all, at) & 0x7fffffff);
      frames.push(all.slice(at, end));
      at = end;
    }
    return frames;
  }
}

const a = () => new End({ send: KEY_A, receive: KEY_B });
const b = () => new End({ send: KEY_B, receive: KEY_A });
const tick = () => new Promise<void>((done) => setImmediate(done));

/** Frames that A sends for `messages`. */
async function framesOf(...messages: Uint8Array[]): Promise<Uint8Array[]> {
  const sender = a();
  for (const message of messages) sender.connection.send(message);
  await tick();
  return sender.frames;
}

/** A frame made by hand. */
function frameOf(
  message: Uint8Array,
  more: { v?: number; sequence?: bigint; mac?: Uint8Array; key?: Uint8Array } = {},
): Uint8Array {
  const frame = new Uint8Array(WIRE_OVERHEAD + message.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, (0x80000000 | (frame.length - 4)) >>> 0);
  view.setUint32(4, more.v ?? 0);
  view.setBigUint64(8, more.sequence ?? 0n);
  frame.set(message, 16);
  const mac = more.mac ?? (more.key && primitives.macKey(more.key).mac(frame.subarray(8, 16 + message.length))) ??
    ZEROS;
  frame.set(mac, 16 + message.length);
  return frame;
}

test("Connection numbers and signs what it sends, and the other side takes it, for any chunking", async () => {
  const frames = await framesOf(...Array.from({ length: 20 }, (_, i) => ask(i)));
  frames.forEach((frame, i) => {
    const { mark, v, sequence, message, mac } = splitFrame(frame);
    assert.deepEqual([mark, v, sequence], [(0x80000000 | (frame.length - 4)) >>> 0, 0, BigInt(i)]);
    assert.equal(toHex(message), toHex(ask(i)));
    assert.equal(toHex(mac), toHex(primitives.macKey(KEY_A).mac(frame.subarray(8, frame.length - 32))));
    assert.equal(frame.length, message.length + WIRE_OVERHEAD);
  });
  const stream = concatBytes(...frames);
  fc.assert(fc.property(fc.array(fc.nat(stream.length), { maxLength: 20 }), (cuts) => {
    const end = b();
    let at = 0;
    for (const next of [...cuts.sort((x, y) => x - y), stream.length]) {
      if (next > at) end.socket.feed(stream.slice(at, next));
      at = next;
    }
    assert.deepEqual(end.problems, []);
    assert.deepEqual(end.messages.map((m) => toHex(m.bytes)), Array.from({ length: 20 }, (_, i) => toHex(ask(i))));
    assert.deepEqual(end.connection.counters.bytesRead, stream.length);
    assert.deepEqual(end.connection.counters.messagesRead, 20);
  }));
});

test("Connection ignores bit 31 of the record mark", async () => {
  const [first, second] = await framesOf(ask(1), ask(2));
  second[0] &= 0x7f;
  const end = b();
  end.socket.feed(concatBytes(first, second));
  assert.equal(end.messages.length, 2);
});

test("Connection refuses a replayed, skipped or reordered frame by its sequence", async () => {
  const [f0, f1, f2] = await framesOf(ask(0), ask(1), ask(2));
  for (
    const [order, expected, actual] of [
      [[f0, f0], 1n, 0n],
      [[f0, f2], 1n, 2n],
      [[f1, f0], 0n, 1n],
    ] as [Uint8Array[], bigint, bigint][]
  ) {
    const end = b();
    for (const frame of order) end.socket.feed(frame.slice());
    const [problem] = end.problems;
    assert.ok(problem.kind === "sequence");
    assert.deepEqual([problem.expected, problem.actual], [expected, actual]);
    assert.equal(end.problems.length, 1);
  }
});

test("Connection looks at the sequence before the MAC, and at both words of it", () => {
  for (const sequence of [1n, 2n ** 32n, 2n ** 64n - 1n]) {
    const end = b();
    end.socket.feed(frameOf(ask(0), { sequence }));
    const [problem] = end.problems;
    assert.ok(problem.kind === "sequence" && problem.actual === sequence);
  }
});

test("Connection refuses a frame with any bit of message or MAC changed, and reads nothing after it", async () => {
  const [frame, next] = await framesOf(ask(7), ask(8));
  for (let at = 12 + 4; at < frame.length; at++) {
    const bent = frame.slice();
    bent[at] ^= 1;
    const end = b();
    end.socket.feed(concatBytes(bent, next));
    end.socket.feed(next);
    const [problem, ...more] = end.problems;
    // A flip in the type may make it one that does not exist, or ERROR_MSG, which has no MAC.
    const type = readUint32(bent, 16);
    if (type === MessageType.errorMsg) continue;
    assert.ok(problem.kind === "mac" || (problem.kind === "corrupt" && at < 20), `${at} ${problem.kind}`);
    assert.deepEqual([more.length, end.messages.length], [0, 0]);
  }
});

test("Connection calls a frame corrupt before it looks at sequence or MAC", () => {
  const bad: [string, Uint8Array][] = [
    ["version 1", frameOf(ask(0), { v: 1, sequence: 9n })],
    ["no such type", frameOf(Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0), { sequence: 9n })],
    ["type 25", frameOf(Uint8Array.of(0, 0, 0, 25), { sequence: 9n })],
    ["type -1", frameOf(Uint8Array.of(255, 255, 255, 255), { sequence: 9n })],
    ["length not a multiple of four", frameOf(Uint8Array.of(0, 0, 0, 2, 0, 0, 0), { sequence: 9n })],
    ["too short for a message", frameOf(new Uint8Array(0))],
    ["a record of 4 bytes", Uint8Array.of(0x80, 0, 0, 4, 0, 0, 0, 0)],
  ];
  for (const [what, frame] of bad) {
    for (const end of [b(), new End()]) {
      end.socket.feed(frame);
      assert.deepEqual(end.problems.map((p) => p.kind), ["corrupt"], what);
      assert.equal(end.messages.length, 0);
    }
  }
});

test("Connection reports a length that is not allowed, by its own state", () => {
  const large = frameOf(new Uint8Array(4097 - AUTHENTICATED_OVERHEAD + 3));
  const early = b();
  early.socket.feed(large);
  assert.deepEqual(early.problems.map((p) => p.kind === "badLength" && [p.length, p.limit]), [[4100, 4096]]);
  const late = b();
  late.connection.allowLargeFrames();
  late.socket.feed(frameOf(concatBytes(ask(0).slice(0, 4), new Uint8Array(8000)), { key: KEY_A }));
  assert.deepEqual(late.problems, []);
  assert.equal(late.messages[0].bytes.length, 8004);
  const zero = b();
  zero.socket.feed(Uint8Array.of(0x80, 0, 0, 0));
  assert.deepEqual(zero.problems.map((p) => p.kind === "badLength" && [p.length, toHex(p.header)]), [[0, "80000000"]]);
});

test("Connection never authenticates ERROR_MSG, and it takes no number", async () => {
  const [f0, e, f1] = await framesOf(ask(0), error("shutdown"), ask(1));
  const { sequence, mac } = splitFrame(e);
  assert.equal(sequence, 0n);
  assert.deepEqual(mac, ZEROS);
  assert.equal(splitFrame(f1).sequence, 1n);
  const end = b();
  end.socket.feed(concatBytes(f0, frameOf(error("anybody"), { sequence: 77n, mac: KEY_B }), f1));
  assert.deepEqual(end.messages.map((m) => m.type), [
    MessageType.getScpState,
    MessageType.errorMsg,
    MessageType.getScpState,
  ]);
});

test("Connection checks nothing before it has keys, and HELLO as any message after", () => {
  const end = new End();
  const hello = concatBytes(Uint8Array.of(0, 0, 0, MessageType.hello), new Uint8Array(300));
  end.socket.feed(frameOf(hello, { sequence: 5n, mac: KEY_A }));
  assert.equal(end.messages.length, 1);
  end.connection.setKeys({ send: primitives.macKey(KEY_B), receive: primitives.macKey(KEY_A) });
  end.socket.feed(frameOf(hello));
  assert.deepEqual(end.problems.map((p) => p.kind), ["mac"]);
});

test("Connection sends HELLO and anything before the keys without sequence and MAC", async () => {
  const end = new End();
  end.connection.send(ask(1));
  await tick();
  const keyed = a();
  keyed.connection.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.hello), new Uint8Array(300)));
  keyed.connection.send(ask(1));
  await tick();
  for (const frame of [end.frames[0], keyed.frames[0]]) {
    assert.equal(splitFrame(frame).sequence, 0n);
    assert.deepEqual(splitFrame(frame).mac, ZEROS);
  }
  assert.equal(splitFrame(keyed.frames[1]).sequence, 0n);
  assert.notDeepEqual(splitFrame(keyed.frames[1]).mac, ZEROS);
});

test("Connection lets no frame leave half made, whatever runs while its MAC is computed", async () => {
  const end = new End(), key = primitives.macKey(KEY_A);
  const send = {
    mac: (data: Uint8Array) => {
      end.connection.flush();
      return key.mac(data);
    },
  };
  end.connection.setKeys({ send, receive: primitives.macKey(KEY_B) });
  end.connection.send(ask(1));
  end.connection.send(ask(2));
  await tick();
  const other = b();
  for (const frame of end.frames) other.socket.feed(frame.slice());
  assert.deepEqual([other.problems, other.messages.length], [[], 2]);
});

test("Connection writes the messages of one tick at once", async () => {
  const end = a();
  for (let i = 0; i < 10; i++) end.connection.send(ask(i));
  assert.equal(end.socket.writes.length, 0);
  await tick();
  assert.equal(end.socket.writes.length, 1);
  assert.equal(end.frames.length, 10);
  assert.deepEqual(
    [end.connection.counters.messagesWritten, end.connection.counters.bytesWritten],
    [10, end.socket.writes[0].length],
  );
});

test("Connection has one write under way, and what is sent meanwhile leaves in the next", async () => {
  const end = a();
  end.socket.takes = false;
  let flushed = 0;
  end.connection.onFlushed = () => flushed++;
  end.connection.send(ask(0));
  end.connection.flush();
  for (let i = 1; i < 5; i++) {
    end.connection.send(ask(i));
    await tick();
  }
  assert.equal(end.socket.writes.length, 1);
  assert.ok(end.connection.unsentBytes > 4 * WIRE_OVERHEAD);
  end.socket.take();
  assert.equal(end.socket.writes.length, 2);
  assert.equal(flushed, 0);
  end.socket.take();
  assert.equal(flushed, 1);
  assert.deepEqual(end.frames.map((f) => splitFrame(f).sequence), [0n, 1n, 2n, 3n, 4n]);
  assert.equal(end.connection.unsentBytes, 0);
});

test("Connection does not change bytes it has handed out, small or large", async () => {
  const end = a();
  end.socket.takes = false;
  const sent: string[] = [];
  for (const size of [8, 300, 5000, 8, 70_000, 8]) {
    end.connection.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.scpQuorumset), new Uint8Array(size).fill(size)));
    end.connection.flush();
    sent.push(toHex(end.socket.writes.at(-1)!));
    end.socket.take();
  }
  assert.deepEqual(end.socket.writes.map(toHex), sent);
  await tick();
});

test("Connection writes a batch of a megabyte without waiting for the end of the tick", () => {
  const end = a();
  for (let i = 0; i < 11; i++) {
    end.connection.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.transaction), new Uint8Array(100_000)));
  }
  assert.equal(end.socket.writes.length, 1);
  assert.ok(end.socket.writes[0].length >= 1024 * 1024);
});

test("Connection keeps the times upstream's rules look at", async () => {
  const end = a();
  const { clock, connection, socket } = end;
  const [frame] = await framesOf(ask(0));
  await clock.advance(100);
  socket.feed(frame.slice(0, 3));
  assert.equal(connection.lastReadMs, 0, "part of a header is no read");
  socket.feed(frame.slice(3, 4));
  assert.equal(connection.lastReadMs, 100);
  await clock.advance(100);
  socket.feed(frame.slice(4, 30));
  assert.equal(connection.lastReadMs, 100, "part of a body is no read");
  socket.feed(frame.slice(30));
  assert.equal(connection.lastReadMs, 200);

  socket.takes = false;
  connection.send(ask(0));
  await clock.advance(50);
  assert.deepEqual([connection.lastHandedMs, connection.lastWriteMs], [200, 0]);
  connection.send(ask(1));
  await clock.advance(50);
  assert.equal(connection.lastHandedMs, 200, "the second waits for the first");
  socket.take();
  assert.deepEqual([connection.lastHandedMs, connection.lastWriteMs], [250, 300]);
});

test("Connection reads nothing after a shutdown in the middle of a chunk, and sends what was queued", async () => {
  const frames = await framesOf(ask(0), ask(1), ask(2));
  const end = b();
  end.onEach = () => {
    end.connection.send(error("dropped"));
    end.connection.shutdown();
    end.connection.send(ask(9));
  };
  end.socket.feed(concatBytes(...frames));
  end.socket.feed(frames[1]);
  await tick();
  assert.equal(end.messages.length, 1);
  assert.ok(end.socket.isShutdown);
  assert.deepEqual(end.frames.map((f) => readUint32(f, 16)), [MessageType.errorMsg]);
  end.socket.end();
  assert.equal(end.ends.length, 1, "the end of the remote's side is still told");
});

test("Connection says nothing after destroy", async () => {
  const [frame] = await framesOf(ask(0));
  const end = b();
  end.socket.takes = false;
  let flushed = 0;
  end.connection.onFlushed = () => flushed++;
  end.connection.send(ask(0));
  end.connection.flush();
  end.connection.destroy();
  end.connection.send(ask(1));
  end.socket.take();
  end.socket.feed(frame);
  end.socket.end();
  await tick();
  assert.deepEqual([end.messages.length, end.ends.length, flushed, end.socket.writes.length], [0, 0, 0, 1]);
});

test("Connection hands on views on the chunk: no copy of what came in one piece", async () => {
  const [frame] = await framesOf(ask(0));
  const end = b();
  end.socket.feed(frame);
  assert.equal(end.messages[0].bytes.buffer, frame.buffer);
});

test("Connection tells which messages the system took, by their number", async () => {
  const end = a();
  end.socket.takes = false;
  end.connection.send(ask(0));
  end.connection.send(ask(1));
  await tick();
  end.connection.send(ask(2));
  await tick();
  assert.deepEqual(end.written, []);
  end.socket.take();
  assert.deepEqual(end.written, [2]);
  end.socket.take();
  assert.deepEqual(end.written, [2, 3]);
  assert.deepEqual([end.connection.counters.writes, end.connection.counters.messagesWritten], [2, 3]);
});

test("Connection keeps full batches apart while a write is under way, and sends all of them at a shutdown", async () => {
  const large = (n: number) => {
    const bytes = new Uint8Array(600_000);
    bytes[3] = MessageType.transaction;
    bytes[4] = n;
    return bytes;
  };
  for (const shutdown of [false, true]) {
    const end = a();
    end.socket.takes = false;
    for (let n = 0; n < 7; n++) {
      end.connection.send(large(n));
      await end.clock.advance(10);
    }
    const waiting = end.connection.unsentBytes;
    assert.ok(waiting > 6 * 600_000 && end.socket.writes.length === 1);
    if (shutdown) end.connection.shutdown();
    else {
      for (const handed of [0, 20, 40, 60]) {
        assert.equal(end.connection.lastHandedMs, handed);
        end.socket.take();
      }
      assert.deepEqual(end.written, [1, 3, 5, 7]);
      assert.equal(end.connection.unsentBytes, 0);
      assert.ok(end.connection.writeQueueDelays.percentile(1, 70) === 60);
    }
    assert.deepEqual(end.frames.map((frame) => frame[20]), [0, 1, 2, 3, 4, 5, 6]);
    assert.deepEqual(end.frames.map((frame) => splitFrame(frame).sequence), [0n, 1n, 2n, 3n, 4n, 5n, 6n]);
  }
});

test("Connection says when more waits for the system than it may", async () => {
  const end = a();
  end.socket.takes = false;
  end.connection.maxUnsentBytes = 3 * (ask(0).length + WIRE_OVERHEAD);
  for (let i = 0; i < 3; i++) {
    end.connection.send(ask(i));
    await tick();
  }
  assert.equal(end.overflows, 0);
  end.connection.send(ask(3));
  assert.equal(end.overflows, 1);
  end.socket.take();
  end.socket.take();
  end.connection.send(ask(4));
  assert.equal(end.overflows, 1);
});

test("Connection paused holds what was read, in order, and goes on where it stopped", async () => {
  const messages = Array.from({ length: 10 }, (_, i) => ask(i));
  const stream = concatBytes(...await framesOf(...messages));
  for (const cut of [0, 5, 200, stream.length]) {
    const end = b();
    end.onEach = () => end.connection.pause();
    end.socket.feed(stream.slice(0, cut));
    end.socket.feed(stream.slice(cut));
    for (let n = 1; n <= 10; n++) {
      assert.deepEqual(end.messages.map((m) => toHex(m.bytes)), messages.slice(0, n).map(toHex));
      assert.ok(end.socket.paused && end.connection.paused);
      end.connection.resume();
    }
    assert.equal(end.messages.length, 10);
    assert.ok(!end.socket.paused && !end.connection.paused);
    assert.deepEqual(end.problems, []);
  }
});

test("Connection that pauses and resumes inside a handler reads on as if nothing was", async () => {
  const stream = concatBytes(...await framesOf(...Array.from({ length: 10 }, (_, i) => ask(i))));
  const end = b();
  end.onEach = () => {
    end.connection.pause();
    if (end.messages.length !== 5) end.connection.resume();
  };
  end.socket.feed(stream);
  assert.equal(end.messages.length, 5);
  end.connection.resume();
  assert.equal(end.messages.length, 10);
  assert.ok(!end.socket.paused);
});

test("Connection checks held frames when it hands them on: a bad one ends it there", async () => {
  const frames = await framesOf(ask(0), ask(1), ask(2), ask(3));
  frames[2][20] ^= 1;
  const end = b();
  end.connection.pause();
  end.socket.feed(concatBytes(...frames));
  assert.deepEqual([end.messages.length, end.problems.length, end.connection.counters.messagesRead], [0, 0, 0]);
  end.connection.resume();
  assert.deepEqual([end.messages.length, end.problems.map((p) => p.kind)], [2, ["mac"]]);

  const cut = b();
  cut.connection.pause();
  cut.socket.feed(concatBytes(frames[0], Uint8Array.of(0x80, 0, 0, 0)));
  assert.equal(cut.problems.length, 0);
  cut.connection.resume();
  assert.deepEqual([cut.messages.length, cut.problems.map((p) => p.kind)], [1, ["badLength"]]);
});

test("Connection hands on what is held before an orderly end, and nothing before a reset", async () => {
  const stream = concatBytes(...await framesOf(ask(0), ask(1)));
  const ends: ["eof" | "reset", number][] = [["eof", 2], ["reset", 0]];
  for (const [how, handed] of ends) {
    const end = b();
    end.connection.pause();
    end.socket.feed(stream.slice());
    end.socket.end({ how, reason: "" });
    assert.equal(end.ends.length, how === "reset" ? 1 : 0);
    end.connection.resume();
    assert.deepEqual([end.messages.length, end.ends.map((e) => e.how)], [handed, [how]]);
  }
});

test("Connection forgets what is held at a shutdown, and still hears the remote's end", async () => {
  const end = b();
  end.connection.pause();
  end.socket.feed(concatBytes(...await framesOf(ask(0), ask(1))));
  end.connection.shutdown();
  assert.ok(!end.socket.paused);
  end.connection.resume();
  end.socket.end();
  assert.deepEqual([end.messages.length, end.ends.length], [0, 1]);
});

test("Connection hands a held message on once, also when the handler throws", async () => {
  const end = b();
  end.connection.pause();
  end.socket.feed(concatBytes(...await framesOf(ask(0), ask(1))));
  end.onEach = () => {
    end.onEach = undefined;
    throw new Error("the owner's");
  };
  assert.throws(() => end.connection.resume(), /the owner's/);
  assert.ok(end.connection.paused);
  end.connection.resume();
  assert.deepEqual(end.messages.map((m) => toHex(m.bytes)), [ask(0), ask(1)].map(toHex));
});
