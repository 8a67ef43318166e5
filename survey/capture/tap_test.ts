/** The tap records what passes, byte by byte, with the times the engine saw; the writer survives a slow and a full disk. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer } from "../../overlay/peer/peer.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { temporaryFolder } from "../../tests/kit/tool.ts";
import { loadSession, sessionNames } from "../../tests/kit/fixtures.ts";
import { visit } from "../probe/visit.ts";
import { type CaptureRecord, encodeRecord } from "./format.ts";
import { MacChecker } from "./macs.ts";
import { readCapture } from "./reader.ts";
import { CaptureRecorder, captureTransport, FrameSplitter } from "./tap.ts";
import { CaptureWriter, openCapture, readChunks } from "./writer.ts";

const folder = temporaryFolder();

function recordsOf(path: string): CaptureRecord[] {
  return [...readCapture(readChunks(path), path)].flatMap((item) => "record" in item ? [item.record] : []);
}

test("FrameSplitter gives back a stream byte for byte, whatever the chunks, marks without their high bit included", () => {
  const arbFrame = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.boolean()).map(([body, high]) =>
    concatBytes(Uint8Array.of(high ? 0x80 : 0, 0, 0, body.length), body)
  );
  fc.assert(
    fc.property(
      fc.array(arbFrame, { maxLength: 6 }),
      fc.constantFrom(new Uint8Array(0), Uint8Array.of(0x80, 0, 0), new TextEncoder().encode("HTTP/1.1 400 Bad")),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 4 }),
      (frames, tail, sizes) => {
        const stream = concatBytes(...frames, tail);
        const splitter = new FrameSplitter();
        const whole: Uint8Array[] = [], raw: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; at += sizes[i++ % sizes.length]) {
          splitter.push(
            stream.subarray(at, at + sizes[i % sizes.length]),
            (bytes, isFrame) => (isFrame ? whole : raw).push(bytes),
          );
        }
        raw.push(splitter.rest());
        assert.deepEqual(whole, frames);
        assert.deepEqual(concatBytes(...raw), tail);
      },
    ),
  );
});

/** A visit to a node in memory, captured; the node sends two SCP-like messages 30 ms apart. */
async function capturedVisit(withSecrets: boolean) {
  const clock = new VirtualClock(), random = new SeededRandom(7);
  const network = new MemoryNetwork({ clock, delayMs: () => 10 });
  const node = (seed: number, x25519Secret?: Uint8Array) =>
    new LocalNode({ passphrase: LOCAL.passphrase, clock, random, seed: new Uint8Array(32).fill(seed), x25519Secret });
  await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 11625 }, (socket) => {
    new Peer({
      role: "remoteCalledUs",
      socket,
      local: node(2),
      clock,
      random,
      handlers: {
        onMessage: (peer, message) => {
          if (message.type !== MessageType.getScpQuorumset) return;
          const reqHash = message.bytes.slice(4, 36);
          peer.send(encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }));
        },
        onDropped: () => {},
      },
    });
  });
  const records: CaptureRecord[] = [];
  const recorder = new CaptureRecorder({
    clock,
    sink: (record) => records.push(record),
    tool: "test",
    command: "connect",
    network: LOCAL.passphrase,
  });
  const secret = new Uint8Array(32).fill(9);
  const local = node(1, secret);
  if (withSecrets) recorder.secrets(local.nodeId, secret);
  const result = await clock.run(visit({
    to: { host: "10.0.0.2", port: 11625 },
    local,
    transport: captureTransport(network.transport("10.0.0.1"), recorder),
    clock: recorder,
    random,
    wants: { pings: 2 },
  }));
  return { records, result };
}

test("the tap records a whole conversation below the engine: every byte it read and wrote, its identity and its end", async () => {
  const { records, result } = await capturedVisit(false);
  assert.equal(result.state, "reachable");
  const bytes = (direction: string) =>
    records.reduce(
      (sum, r) => sum + (r.type === "frame" && r.frame.direction === direction ? r.frame.bytes.length : 0),
      0,
    );
  assert.deepEqual([bytes("received"), bytes("sent")], [result.bytesRead, result.bytesWritten]);
  assert.deepEqual(records.map((r) => r.type).filter((type) => type !== "frame"), ["start", "open", "identity", "end"]);
  const end = records.at(-1)!;
  assert.ok(end.type === "end" && end.end.by === "us" && end.end.how === "shutdown");
  assert.equal(records.some((r) => r.type === "secrets"), false);
});

test("MacChecker finds every MAC of a captured conversation right when the secret is in it, and an altered one wrong", async () => {
  const { records } = await capturedVisit(true);
  const verdicts = (list: CaptureRecord[]) => {
    const checker = new MacChecker();
    return list.map((record) => checker.add(record)).filter((verdict) => verdict !== null);
  };
  const all = verdicts(records);
  assert.ok(all.length > 8 && all.every((verdict) => verdict === "ok"), all.join());
  const last = records.findLastIndex((record) => record.type === "frame");
  const altered = structuredClone(records[last]);
  if (altered.type === "frame") altered.frame.bytes[altered.frame.bytes.length - 1] ^= 1;
  assert.equal(verdicts(records.with(last, altered)).filter((verdict) => verdict === "mac").length, 1);
  assert.deepEqual(verdicts((await capturedVisit(false)).records), []);
});

test("a capture file holds what was recorded, grows by the next one, and loses a torn end only", async () => {
  const path = join(folder, "grow.cap");
  const { records } = await capturedVisit(false);
  const write = async (list: CaptureRecord[]) => {
    const opened = openCapture(path, { secret: false });
    const writer = new CaptureWriter(opened.output, { onFailure: (reason) => assert.fail(reason) });
    for (const record of list) writer.add(record, 0n);
    await writer.close(0n);
    return opened;
  };
  assert.deepEqual(await write(records).then(({ cut, appended }) => ({ cut, appended })), { cut: 0, appended: false });
  assert.deepEqual(recordsOf(path), records);
  writeFileSync(path, readFileSync(path).subarray(0, -5));
  const again = await write(records);
  assert.equal(again.appended, true);
  assert.equal(again.cut, encodeRecord(records.at(-1)!).length - 5);
  assert.deepEqual(recordsOf(path), [...records.slice(0, -1), ...records]);
});

test("a file that is no capture is left alone, and one with secrets is readable by its owner only", () => {
  const other = join(folder, "other.txt");
  writeFileSync(other, "my thesis, the only copy of it");
  assert.throws(() => openCapture(other, { secret: true }), isFailure("capture_invalid"));
  assert.equal(readFileSync(other, "utf8"), "my thesis, the only copy of it");
  assert.throws(() => openCapture(join(folder, "no/such/folder.cap"), { secret: false }), isFailure("file_unwritable"));
  const path = join(folder, "secret.cap");
  openCapture(path, { secret: false }).output.close();
  chmodSync(path, 0o644);
  openCapture(path, { secret: true }).output.close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("a full disk is told once, and nothing else fails", async () => {
  if (!existsSync("/dev/full")) return;
  const record: CaptureRecord = { type: "wall", wall: { atUs: 1n, wallMs: 2n } };
  assert.throws(() => openCapture("/dev/full", { secret: false }), isFailure("file_unwritable"));
  const told: string[] = [];
  let writes = 0;
  const writer = new CaptureWriter({
    write: (_, done) =>
      setImmediate(() => ++writes === 2 ? done(Object.assign(new Error("full"), { code: "ENOSPC" })) : done()),
    close: () => {},
  }, { onFailure: (reason) => told.push(reason) });
  for (let i = 0; i < 5; i++) {
    writer.add(record, 1n);
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  }
  await writer.close(1n);
  assert.deepEqual(told, ["ENOSPC"]);
  assert.equal(writes, 2);
  assert.equal(writer.failed, true);
});

test("a disk that does not keep up loses records, and the file says how many", async () => {
  const written: Uint8Array[] = [];
  const waiting: (() => void)[] = [];
  const writer = new CaptureWriter({
    write: (bytes, done) => {
      written.push(bytes);
      waiting.push(done);
    },
    close: () => {},
  }, { maxWaitingBytes: 200, onFailure: (reason) => assert.fail(reason) });
  const record: CaptureRecord = { type: "wall", wall: { atUs: 1n, wallMs: 2n } };
  const size = encodeRecord(record).length;
  writer.add(record, 1n);
  await Promise.resolve();
  for (let i = 0; i < 10; i++) writer.add(record, 5n);
  const fits = Math.floor(200 / size);
  waiting.shift()!();
  writer.add(record, 7n);
  const closed = writer.close(8n);
  while (waiting.length > 0) waiting.shift()!();
  await closed;
  const expected = [
    ...Array(1 + fits).fill(record),
    { type: "lost", lost: { atUs: 7n, records: 10 - fits, bytes: BigInt((10 - fits) * size) } },
    record,
  ];
  assert.deepEqual(concatBytes(...written), concatBytes(...expected.map(encodeRecord)));
});

test("the recorder's clock stands still in a callback, runs on behind it, and writes a step of the wall clock down", async () => {
  let nowMs = 100, wallMs = 5_000_000;
  const records: CaptureRecord[] = [];
  const recorder = new CaptureRecorder({
    clock: { nowMs: () => (nowMs += 0.3337), wallMs: () => wallMs, setTimer: () => ({ cancel: () => {} }) },
    sink: (record) => records.push(record),
    tool: "",
    command: "",
    network: "",
  });
  recorder.hold(() => {
    const first = recorder.nowMs();
    assert.equal(recorder.nowMs(), first);
    assert.equal(BigInt(Math.round(first * 1000)), recorder.atUs);
  });
  assert.ok(recorder.nowMs() < recorder.nowMs());
  wallMs += 3600_000;
  recorder.hold(() => assert.ok(Math.abs(recorder.wallMs() - wallMs) < 1));
  assert.deepEqual(records.map((record) => record.type), ["start", "wall"]);
  await Promise.resolve();
});

test("the recorded sessions are whole frames for the splitter", () => {
  for (const name of sessionNames()) {
    const { frames } = loadSession(name);
    const splitter = new FrameSplitter();
    const found: Uint8Array[] = [];
    splitter.push(concatBytes(...frames.map((frame) => frame.bytes)), (bytes, whole) => {
      assert.ok(whole);
      found.push(bytes);
    });
    assert.deepEqual(found, frames.map((frame) => frame.bytes));
  }
});
