/**
 * Reads a capture as it streams in: whole records in order, and notices where something is unknown, damaged or cut. Damage
 * costs the record it is in: reading goes on at the next record that is whole.
 */
import { concatBytes, readUint32 } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { decode } from "../../overlay/wire/xdr.ts";
import {
  CAPTURE_HEADER_BYTES,
  CAPTURE_VERSION,
  type CaptureRecord,
  checksumHolds,
  isCapture,
  MAX_PAYLOAD_BYTES,
  PAYLOADS,
  RECORD_HEAD_BYTES,
  RECORD_OVERHEAD,
  RECORD_SYNC,
  recordTypeName,
} from "./format.ts";

/** Something in the file that is no record. Offsets are bytes from the start of the file. */
export type CaptureNotice =
  /** A record of a type this version does not know. */
  | { kind: "unknown"; offset: number; type: number }
  /** Bytes that make no whole record; reading went on behind them. */
  | { kind: "damaged"; offset: number; bytes: number; reason: string }
  /** The file ends inside a record: its writer was stopped, or is at work. */
  | { kind: "truncated"; offset: number; bytes: number };

/** What reading finds, in the order of the file. */
export type CaptureItem = { offset: number; end: number; record: CaptureRecord } | { notice: CaptureNotice };

/** A notice in one line. */
export function noticeText(notice: CaptureNotice): string {
  switch (notice.kind) {
    case "unknown":
      return `record of unknown type ${notice.type} at byte ${notice.offset} passed over`;
    case "damaged":
      return `${notice.bytes} damaged bytes at byte ${notice.offset} passed over: ${notice.reason}`;
    case "truncated":
      return `the file ends inside a record: its last ${notice.bytes} bytes, from byte ${notice.offset}, are left out`;
  }
}

/**
 * Finds records in chunks of any size. BOUNDED: holds what arrived of one record, at most {@link MAX_PAYLOAD_BYTES} and a
 * chunk.
 */
export class CaptureScanner {
  readonly #path: string;
  #held: Uint8Array = new Uint8Array(0);
  /** Chunks behind `#held` that are not joined yet. */
  #later: Uint8Array[] = [];
  #laterBytes = 0;
  /** Bytes needed before it is worth to look again. */
  #wanted = CAPTURE_HEADER_BYTES;
  /** Offset in the file of `#held[0]`. */
  #offset = 0;
  #headerRead = false;
  #damage: { offset: number; reason: string } | undefined;

  /** `path` is for error messages. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Takes the next bytes and yields what they complete.
   * @throws OverlayError `capture_invalid` when it is no capture, or one of a newer version
   */
  *push(chunk: Uint8Array): Generator<CaptureItem> {
    this.#later.push(chunk);
    this.#laterBytes += chunk.length;
    if (this.#held.length + this.#laterBytes < this.#wanted) return;
    this.#join();
    if (!this.#headerRead) this.#readHeader();
    yield* this.#scan(false);
  }

  /** The file has no more bytes. */
  *finish(): Generator<CaptureItem> {
    this.#join();
    if (!this.#headerRead) this.#readHeader();
    yield* this.#scan(true);
    const start = this.#damage?.offset ?? this.#offset;
    const left = this.#held.length + this.#offset - start;
    if (left > 0) yield { notice: { kind: "truncated", offset: start, bytes: left } };
  }

  #join(): void {
    this.#held = this.#held.length === 0 && this.#later.length === 1
      ? this.#later[0]
      : concatBytes(this.#held, ...this.#later);
    this.#later = [];
    this.#laterBytes = 0;
  }

  #readHeader(): void {
    const bytes = this.#held;
    if (!isCapture(bytes)) throw this.#invalid(0, "it does not begin as a capture of stellar-overlay");
    if (bytes.length < CAPTURE_HEADER_BYTES) throw this.#invalid(0, "the file ends inside its header");
    const version = readUint32(bytes, 8);
    if (version === 0 || version > CAPTURE_VERSION) {
      throw this.#invalid(8, `format version ${version}; this program reads up to ${CAPTURE_VERSION}`);
    }
    this.#headerRead = true;
    this.#consume(CAPTURE_HEADER_BYTES);
  }

  *#scan(last: boolean): Generator<CaptureItem> {
    let at = 0;
    const bytes = this.#held;
    this.#wanted = RECORD_OVERHEAD;
    while (bytes.length - at >= RECORD_OVERHEAD) {
      const problem = headProblem(bytes, at);
      if (problem !== undefined) {
        at = this.#lookBehind(at, problem);
        continue;
      }
      const end = at + RECORD_OVERHEAD + readUint32(bytes, at + 8);
      if (end > bytes.length) {
        // Behind damage, or at the end of the file, such a head may be damage itself that hides whole records behind it.
        if (last && this.#hidesRecord(at)) {
          at = this.#lookBehind(at, "its length leads beyond the file");
          continue;
        }
        this.#wanted = end - at;
        break;
      }
      if (!checksumHolds(bytes, at, end)) {
        at = this.#lookBehind(at, "its checksum is wrong");
        continue;
      }
      yield* this.#endOfDamage(this.#offset + at);
      yield this.#item(at, end);
      at = end;
    }
    this.#consume(at);
  }

  #item(at: number, end: number): CaptureItem {
    const offset = this.#offset + at;
    const type = readUint32(this.#held, at + 4), name = recordTypeName(type);
    if (name === undefined) return { notice: { kind: "unknown", offset, type } };
    try {
      const body = decode(PAYLOADS[name], this.#held.subarray(at + RECORD_HEAD_BYTES, end - 4), name);
      return { offset, end: this.#offset + end, record: { type: name, [name]: body } as unknown as CaptureRecord };
    } catch (error) {
      if (!(error instanceof OverlayError) || error.failure.code !== "xdr_invalid") throw error;
      const { path, reason } = error.failure;
      return { notice: { kind: "damaged", offset, bytes: end - at, reason: `${path}: ${reason}` } };
    }
  }

  /** Whether a whole record stands somewhere behind `at`. */
  #hidesRecord(at: number): boolean {
    const bytes = this.#held;
    for (let next = nextSync(bytes, at + 4); next < bytes.length; next = nextSync(bytes, next + 4)) {
      if (bytes.length - next < RECORD_OVERHEAD || headProblem(bytes, next) !== undefined) continue;
      const end = next + RECORD_OVERHEAD + readUint32(bytes, next + 8);
      if (end <= bytes.length && checksumHolds(bytes, next, end)) return true;
    }
    return false;
  }

  /** Damage at `at`: returns where the next record may begin. */
  #lookBehind(at: number, reason: string): number {
    this.#damage ??= { offset: this.#offset + at, reason };
    // The last three bytes may be the beginning of a sync word.
    return Math.min(nextSync(this.#held, at + 1), this.#held.length - 3);
  }

  *#endOfDamage(offset: number): Generator<CaptureItem> {
    const damage = this.#damage;
    this.#damage = undefined;
    if (damage === undefined) return;
    yield {
      notice: { kind: "damaged", offset: damage.offset, bytes: offset - damage.offset, reason: damage.reason },
    };
  }

  #consume(n: number): void {
    this.#offset += n;
    this.#held = this.#held.subarray(n);
  }

  #invalid(offset: number, reason: string): OverlayError {
    return new OverlayError({ code: "capture_invalid", path: this.#path, offset, reason });
  }
}

/** What is wrong with the head of a record; undefined when it may be one. */
function headProblem(bytes: Uint8Array, at: number): string | undefined {
  if (readUint32(bytes, at) !== RECORD_SYNC) return "no record begins there";
  const length = readUint32(bytes, at + 8);
  if (length > MAX_PAYLOAD_BYTES) return `its length is ${length}`;
  return undefined;
}

/** Where the next sync word stands, from `at` on; the length of `bytes` when there is none. */
function nextSync(bytes: Uint8Array, at: number): number {
  for (let i = bytes.indexOf(RECORD_SYNC >>> 24, at); i >= 0; i = bytes.indexOf(RECORD_SYNC >>> 24, i + 1)) {
    if (i + 4 > bytes.length) break;
    if (readUint32(bytes, i) === RECORD_SYNC) return i;
  }
  return bytes.length;
}

/** Everything in a capture that comes in chunks. @throws OverlayError `capture_invalid` */
export function* readCapture(chunks: Iterable<Uint8Array>, path: string): Generator<CaptureItem> {
  const scanner = new CaptureScanner(path);
  for (const chunk of chunks) yield* scanner.push(chunk);
  yield* scanner.finish();
}
