import { test } from "node:test";
import assert from "node:assert/strict";
import { concatBytes, writeUint32 } from "../base/bytes.ts";
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { dial, Recorded } from "../../tests/kit/transport_suite.ts";
import { MemoryNetwork, resetStream } from "./memory.ts";
import { FaultyStream, type StreamFaults } from "./memory_faults.ts";

/** Two ends; what the near one writes suffers. */
async function pair(faults: Partial<StreamFaults>, seed = 1) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({
    clock,
    random: new SeededRandom(seed),
    faults: (from) => from === "10.0.0.1" ? faults : undefined,
  });
  const accepted: Recorded[] = [];
  const listener = await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 0 }, (socket) => {
    accepted.push(new Recorded(socket));
  });
  const near = await clock.run(dial(network.transport("10.0.0.1"), listener.address));
  assert.ok(near instanceof Recorded && near.socket instanceof FaultyStream);
  return { clock, near: near.socket, nearEnd: near, far: accepted[0] };
}

/** A frame of 20 bytes whose body is all `n`. */
function frame(n: number): Uint8Array {
  const bytes = new Uint8Array(20).fill(n);
  writeUint32(bytes, 0, 0x80000010);
  return bytes;
}
const frames = (...ns: number[]) => concatBytes(...ns.map(frame));
/** The bodies that arrived, by their first byte. */
function arrived(far: Recorded): number[] {
  const { bytes } = far;
  assert.equal(bytes.length % 20, 0);
  return Array.from({ length: bytes.length / 20 }, (_, i) => bytes[20 * i + 4]);
}

test("FaultyStream without faults hands on every frame, for any chunking", async () => {
  const { clock, near, far } = await pair({});
  const stream = frames(...Array.from({ length: 30 }, (_, i) => i));
  let written = 0, writes = 0;
  for (let at = 0; at < stream.length; at += 7, writes++) near.write(stream.slice(at, at + 7), () => written++);
  await clock.advance(1);
  assert.deepEqual(far.bytes, stream);
  assert.equal(written, writes);
  near.shutdown();
  await clock.advance(1);
  assert.equal(far.end?.how, "eof");
});

test("FaultyStream corked holds everything back and completes no write until it is uncorked", async () => {
  const { clock, near, far } = await pair({ corked: true });
  let written = 0;
  near.write(frames(1, 2), () => written++);
  await clock.advance(60_000);
  assert.deepEqual([far.length, written, near.depth, near.unsentBytes], [0, 0, 2, 40]);
  near.set({ corked: false });
  await clock.advance(1);
  assert.deepEqual([arrived(far), written, near.depth], [[1, 2], 1, 0]);
});

test("FaultyStream corked loses what waits at a shutdown, so that the other side hears of it", async () => {
  const { clock, near, far } = await pair({ corked: true });
  near.write(frames(1, 2));
  near.shutdown();
  await clock.advance(1);
  assert.deepEqual([far.length, far.end?.how], [0, "eof"]);
});

test("FaultyStream straggling delivers a third of a message per second, in order, and completes the write at its end", async () => {
  const { clock, near, far } = await pair({ straggling: true });
  let writtenAtMs: number | undefined;
  near.write(frames(...Array.from({ length: 100 }, (_, i) => i)), () => writtenAtMs = clock.nowMs());
  await clock.advance(60_000);
  const early = arrived(far).length;
  assert.ok(early > 5 && early < 50 && writtenAtMs === undefined, String(early));
  await clock.advance(600_000);
  assert.deepEqual(arrived(far), Array.from({ length: 100 }, (_, i) => i));
  assert.ok(writtenAtMs !== undefined && writtenAtMs > 150_000);
});

test("FaultyStream duplicates, reorders, damages and drops with its probabilities, the same for the same seed", async () => {
  const all = Array.from({ length: 200 }, (_, i) => i);
  const run = async (faults: Partial<StreamFaults>) => {
    const results = [];
    for (let round = 0; round < 2; round++) {
      const { clock, near, far } = await pair(faults, 7);
      near.write(frames(...all));
      await clock.advance(1);
      results.push({ far, counts: near.counts });
    }
    assert.deepEqual(results[0].far.bytes, results[1].far.bytes);
    return results[0];
  };
  const sorted = (ns: number[]) => ns.toSorted((a, b) => a - b);

  const twice = await run({ duplicate: 0.2 });
  assert.ok(twice.counts.duplicated > 20 && twice.counts.duplicated < 100);
  assert.deepEqual([...new Set(arrived(twice.far))], all);
  assert.equal(arrived(twice.far).length, 200 + twice.counts.duplicated);

  const mixed = await run({ reorder: 0.2 });
  assert.ok(mixed.counts.reordered > 20);
  assert.notDeepEqual(arrived(mixed.far), all);
  assert.deepEqual(sorted(arrived(mixed.far)), all);

  const lossy = await run({ drop: 0.2 });
  assert.equal(arrived(lossy.far).length, 200 - lossy.counts.dropped);
  assert.ok(lossy.counts.dropped > 20);

  const bent = await run({ damage: 0.2 });
  assert.equal(bent.far.length, 4000);
  const sound = frames(...all);
  const flips = bent.far.bytes.reduce((sum, byte, i) => sum + ((byte ^ sound[i]) === 0 ? 0 : 1), 0);
  assert.ok(bent.counts.damaged > 20);
  assert.equal(flips, bent.counts.damaged);
});

test("FaultyStream keeps as many frames as its depth until more come or the end", async () => {
  const { clock, near, far } = await pair({ maxQueueDepth: 2 });
  let written = 0;
  near.write(frames(1, 2), () => written++);
  await clock.advance(1);
  assert.deepEqual([far.length, written], [0, 1]);
  near.write(frames(3), () => written++);
  await clock.advance(1);
  assert.deepEqual([arrived(far), written], [[1], 2]);
  near.shutdown();
  await clock.advance(1);
  assert.deepEqual([arrived(far), far.end?.how], [[1, 2, 3], "eof"]);
});

test("FaultyStream hands on what is no frame as it is, and nothing after destroy", async () => {
  const { clock, near, far } = await pair({});
  near.write(new TextEncoder().encode("GET / HTTP/1.1\r\n"));
  await clock.advance(1);
  assert.equal(far.length, 16);
  near.set({ corked: true });
  near.write(frames(1));
  near.destroy();
  near.set({ corked: false });
  near.write(frames(2));
  await clock.advance(1);
  assert.deepEqual([far.length, far.end?.how], [16, "eof"]);
});

test("FaultyStream can be reset as any simulated stream", async () => {
  const { clock, near, nearEnd, far } = await pair({});
  far.socket.write(Uint8Array.of(1));
  near.write(frames(1));
  await clock.advance(1);
  resetStream(near);
  await clock.advance(1);
  assert.deepEqual([nearEnd.end?.how, far.end?.how], ["reset", "reset"]);
});
