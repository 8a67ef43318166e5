/** Captures survive writing and reading, tearing at any byte, and damage anywhere. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, writeUint32 } from "../../overlay/base/bytes.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { arbBytes, arbHash, arbText, arbUint32, arbUint64 } from "../../tests/kit/arbitrary.ts";
import {
  CAPTURE_HEADER_BYTES,
  CAPTURE_MAGIC,
  type CaptureRecord,
  encodeCaptureHeader,
  encodeRecord,
  frameRecord,
  MAX_PAYLOAD_BYTES,
  RECORD_SYNC,
  RECORD_TYPES,
} from "./format.ts";
import { type CaptureItem, type CaptureNotice, noticeText, readCapture } from "./reader.ts";

const rec = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
const direction = fc.constantFrom("received" as const, "sent" as const);
const word = arbText(40);
/** Payload bytes that may look like records themselves. */
const arbPayload = fc.oneof(
  arbBytes(0, 80),
  arbBytes(0, 20).map((bytes) => frameRecord(4, bytes)),
  arbBytes(0, 8).map((bytes) => concatBytes(Uint8Array.of(0x53, 0x4f, 0x52, 0x63), bytes)),
);

const arbRecord: fc.Arbitrary<CaptureRecord> = fc.oneof(
  rec({
    type: fc.constant("start" as const),
    start: rec({ wallMs: arbUint64, tool: word, command: word, network: word }),
  }),
  rec({
    type: fc.constant("open" as const),
    open: rec({
      connection: arbUint32,
      atUs: arbUint64,
      dialledUs: arbUint64,
      role: fc.constantFrom("weCalledRemote" as const, "remoteCalledUs" as const),
      remoteHost: word,
      remotePort: arbUint32,
      localHost: word,
      localPort: arbUint32,
    }),
  }),
  rec({
    type: fc.constant("dialFailed" as const),
    dialFailed: rec({
      connection: arbUint32,
      atUs: arbUint64,
      remoteHost: word,
      remotePort: arbUint32,
      dialledUs: arbUint64,
      failure: word,
    }),
  }),
  rec({
    type: fc.constant("frame" as const),
    frame: rec({ connection: arbUint32, atUs: arbUint64, direction, bytes: arbPayload }),
  }),
  rec({
    type: fc.constant("raw" as const),
    raw: rec({ connection: arbUint32, atUs: arbUint64, direction, bytes: arbPayload }),
  }),
  rec({
    type: fc.constant("end" as const),
    end: rec({
      connection: arbUint32,
      atUs: arbUint64,
      by: fc.constantFrom("us" as const, "remote" as const),
      how: word,
      reason: word,
    }),
  }),
  rec({
    type: fc.constant("secrets" as const),
    secrets: rec({ atUs: arbUint64, nodeId: arbHash, x25519Secret: arbHash }),
  }),
  rec({ type: fc.constant("wall" as const), wall: rec({ atUs: arbUint64, wallMs: arbUint64 }) }),
  rec({ type: fc.constant("lost" as const), lost: rec({ atUs: arbUint64, records: arbUint32, bytes: arbUint64 }) }),
  rec({
    type: fc.constant("identity" as const),
    identity: rec({ connection: arbUint32, atUs: arbUint64, nodeId: arbHash }),
  }),
  rec({
    type: fc.constant("resolved" as const),
    resolved: rec({ atUs: arbUint64, host: word, addresses: word, reason: word }),
  }),
);

function fileOf(records: readonly CaptureRecord[]): { bytes: Uint8Array; ends: number[] } {
  const parts = [encodeCaptureHeader(), ...records.map(encodeRecord)];
  let at = 0;
  return { bytes: concatBytes(...parts), ends: parts.map((part) => (at += part.length)) };
}

function* chunked(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes.length === 0 ? bytes.length : sizes[i % sizes.length];
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

function read(bytes: Uint8Array, sizes: readonly number[] = []) {
  const items: CaptureItem[] = [...readCapture(chunked(bytes, sizes), "test")];
  return {
    records: items.flatMap((item) => "record" in item ? [item.record] : []),
    notices: items.flatMap((item) => "notice" in item ? [item.notice] : []),
  };
}

const arbSizes = fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 4 });

test("a capture gives back its records for any chunking", () => {
  fc.assert(fc.property(fc.array(arbRecord, { maxLength: 8 }), arbSizes, (records, sizes) => {
    const found = read(fileOf(records).bytes, sizes);
    assert.deepEqual(found.records, records);
    assert.deepEqual(found.notices, []);
  }));
});

test("a capture cut at any byte gives all records that are whole, and says where it was cut", () => {
  fc.assert(
    fc.property(fc.array(arbRecord, { maxLength: 4 }), arbSizes, (records, sizes) => {
      const { bytes, ends } = fileOf(records);
      for (let n = CAPTURE_HEADER_BYTES; n < bytes.length; n++) {
        const found = read(bytes.subarray(0, n), sizes);
        const whole = ends.filter((end) => end <= n).length - 1;
        // A frame inside the cut record may itself look like a record: docs/capture.md allows that for damage, never before it.
        assert.deepEqual(found.records.slice(0, whole), records.slice(0, whole));
        if (ends.includes(n)) assert.deepEqual(found.notices, []);
        else assert.equal(found.notices.length > 0, true);
      }
    }),
    { numRuns: 30 },
  );
});

test("a byte changed anywhere costs at most the record it is in, and is reported with its offset", () => {
  fc.assert(
    fc.property(
      fc.array(arbRecord, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      arbSizes,
      (records, where, change, sizes) => {
        const { bytes, ends } = fileOf(records);
        const at = CAPTURE_HEADER_BYTES + where % (bytes.length - CAPTURE_HEADER_BYTES);
        bytes[at] ^= change;
        const hit = ends.findIndex((end) => at < end) - 1;
        const found = read(bytes, sizes);
        assert.deepEqual(found.records.slice(0, hit), records.slice(0, hit));
        const behind = records.slice(hit + 1);
        assert.deepEqual(behind.length === 0 ? [] : found.records.slice(-behind.length), behind);
        assert.equal((found.notices[0] as { offset: number }).offset, ends[hit]);
      },
    ),
  );
});

test("an unknown record type is passed over with a notice", () => {
  const known = encodeRecord({ type: "wall", wall: { atUs: 1n, wallMs: 2n } });
  const { records, notices } = read(concatBytes(encodeCaptureHeader(), frameRecord(999, new Uint8Array(8)), known));
  assert.equal(records.length, 1);
  assert.deepEqual(notices, [{ kind: "unknown", offset: 16, type: 999 }]);
});

test("what is no capture, or a newer one, is refused with the reason", () => {
  assert.throws(
    () => read(new TextEncoder().encode("<html>not a capture at all</html>")),
    isFailure("capture_invalid"),
  );
  assert.throws(() => read(new Uint8Array(0)), isFailure("capture_invalid"));
  assert.throws(() => read(encodeCaptureHeader().subarray(0, 15)), /ends inside its header/);
  const newer = encodeCaptureHeader();
  writeUint32(newer, 8, 2);
  assert.throws(() => read(newer), /format version 2; this program reads up to 1/);
});

test("notices are one line each", () => {
  const notices: CaptureNotice[] = [
    { kind: "unknown", offset: 1, type: 99 },
    { kind: "damaged", offset: 1, bytes: 2, reason: "x" },
    { kind: "truncated", offset: 1, bytes: 2 },
  ];
  for (const notice of notices) assert.match(noticeText(notice), /^[^\n]*byte 1[^\n]*$/);
  assert.equal(RECORD_SYNC, 0x534f5263);
});

test("docs/capture.md lists every record type with its number and its fields in order, and the figures as they are", () => {
  const page = readFileSync(new URL("../../docs/capture.md", import.meta.url), "utf8");
  const source = readFileSync(new URL("./format.ts", import.meta.url), "utf8");
  const rows = [...page.slice(page.indexOf("| Type |")).matchAll(/^\| (\d+) +\| (\w+) +\| (.*?) *\|$/gm)];
  assert.deepEqual(Object.fromEntries(rows.map(([, number, name]) => [name, Number(number)])), { ...RECORD_TYPES });
  for (const [, , name, text] of rows) {
    if (name === "raw") continue;
    const [, fields] = new RegExp(`\\n  ${name}: struct\\(\\{([^}]*)\\}`).exec(source)!;
    const names = fields.split(",").map((field) => field.split(":")[0].trim()).filter((field) => field !== "");
    let at = 0;
    for (const field of names) {
      const found = text.slice(at).search(new RegExp(`\\b${field}\\b`));
      assert.ok(found >= 0, `${name}.${field}`);
      at += found + field.length;
    }
  }
  assert.ok(page.includes(MAX_PAYLOAD_BYTES.toLocaleString("en")));
  assert.ok(page.includes(Array.from(CAPTURE_MAGIC, (byte) => byte.toString(16).padStart(2, "0")).join(" ")));
});
