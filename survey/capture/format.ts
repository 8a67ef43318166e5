/**
 * The capture file: raw frames of overlay connections with direction, time and peer, as docs/capture.md describes it byte by
 * byte. A file is a header and self-delimiting records whose payloads are XDR. It is only ever appended to; a torn end loses
 * the last record and nothing else, and a record of an unknown type is passed over.
 */
import { crc32 } from "node:zlib";
import { readUint32, writeUint32 } from "../../overlay/base/bytes.ts";
import type { Role } from "../../overlay/auth/session_keys.ts";
import {
  type Codec,
  encode,
  enumeration,
  opaque,
  struct,
  text,
  uint32,
  uint64,
  varOpaque,
} from "../../overlay/wire/xdr.ts";
import { hash } from "../../overlay/wire/types.ts";

/** First bytes of a file. The first is no text, and CR LF shows what a text transfer did to it. */
export const CAPTURE_MAGIC = Uint8Array.of(0x89, 0x53, 0x4f, 0x43, 0x41, 0x50, 0x0d, 0x0a);
/** The version that is written, and the highest one that is read. */
export const CAPTURE_VERSION = 1;
/** Bytes of the header: magic, version, flags (0). */
export const CAPTURE_HEADER_BYTES = 16;

/** Word before every record, "SORc": where reading goes on behind damage. */
export const RECORD_SYNC = 0x534f5263;
/** Bytes before a payload: sync, type, length. */
export const RECORD_HEAD_BYTES = 12;
/** Bytes around a payload: the head and the CRC. */
export const RECORD_OVERHEAD = 16;
/** Longest payload: a frame of the longest message, and what stands around it. */
export const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024 + 64 * 1024;

/** Wire numbers of the record types. Unknown ones are passed over. */
export const RECORD_TYPES = {
  start: 1,
  open: 2,
  dialFailed: 3,
  frame: 4,
  raw: 5,
  end: 6,
  secrets: 7,
  wall: 8,
  lost: 9,
  identity: 10,
  resolved: 11,
} as const;
/** Name of a record type. */
export type RecordTypeName = keyof typeof RECORD_TYPES;

/** A process began to capture. All times until the next one count from here. */
export interface StartRecord {
  /** Wall time, ms since the Unix epoch. */
  wallMs: bigint;
  /** Name and version of the program. */
  tool: string;
  /** Subcommand, such as `connect`. */
  command: string;
  /** Network passphrase; empty when several or none were used. */
  network: string;
}

/** A stream was dialled or accepted. */
export interface OpenRecord {
  /** Names the connection in later records; never used twice after one start. */
  connection: number;
  atUs: bigint;
  /** When the dial began; for an accepted stream the same as `atUs`. */
  dialledUs: bigint;
  role: Role;
  remoteHost: string;
  remotePort: number;
  localHost: string;
  localPort: number;
}

/** A dial brought no stream. */
export interface DialFailedRecord {
  connection: number;
  atUs: bigint;
  remoteHost: string;
  remotePort: number;
  /** When the dial began. */
  dialledUs: bigint;
  /** The failure as JSON: its code and facts (docs/failures.md). */
  failure: string;
}

/** Which way bytes went, seen from the program that captured. */
export type Direction = "received" | "sent";

/** One whole frame, its 4-byte record mark included: received when its last byte was read, sent when handed to the system. */
export interface FrameRecord {
  connection: number;
  atUs: bigint;
  direction: Direction;
  bytes: Uint8Array;
}

/** Bytes that are no frame: another protocol, an illegal length, or a frame that the end of the stream cut. */
export interface RawRecord {
  connection: number;
  atUs: bigint;
  direction: Direction;
  bytes: Uint8Array;
}

/** A stream is over. */
export interface EndRecord {
  connection: number;
  atUs: bigint;
  by: "us" | "remote";
  /** `eof`, `reset`, `unread`, `error` of the remote or the system; `shutdown`, `destroy` of ours. */
  how: string;
  /** The system's word for it; empty for an orderly end. */
  reason: string;
}

/** Keys of the program that captured. Only written on request: who has it can forge messages of these sessions. */
export interface SecretsRecord {
  atUs: bigint;
  /** Of our identity. */
  nodeId: Uint8Array;
  /** Curve25519 secret; its public key stands in our HELLOs. */
  x25519Secret: Uint8Array;
}

/** The wall clock was stepped: from here on wall time is `wallMs` + (time - `atUs`). */
export interface WallRecord {
  atUs: bigint;
  wallMs: bigint;
}

/** Records that could not be written, because the disk was slower than the network. */
export interface LostRecord {
  atUs: bigint;
  records: number;
  bytes: bigint;
}

/** The remote said who it is in its HELLO; not yet proved at that moment. */
export interface IdentityRecord {
  connection: number;
  atUs: bigint;
  nodeId: Uint8Array;
}

/** A name was looked up. */
export interface ResolvedRecord {
  atUs: bigint;
  host: string;
  /** IP addresses, a blank between two; empty when there were none. */
  addresses: string;
  /** The system's word when there were none. */
  reason: string;
}

/** One record, by the name of its type. Times are microseconds since the last start, on a monotonic clock. */
export type CaptureRecord =
  | { type: "start"; start: StartRecord }
  | { type: "open"; open: OpenRecord }
  | { type: "dialFailed"; dialFailed: DialFailedRecord }
  | { type: "frame"; frame: FrameRecord }
  | { type: "raw"; raw: RawRecord }
  | { type: "end"; end: EndRecord }
  | { type: "secrets"; secrets: SecretsRecord }
  | { type: "wall"; wall: WallRecord }
  | { type: "lost"; lost: LostRecord }
  | { type: "identity"; identity: IdentityRecord }
  | { type: "resolved"; resolved: ResolvedRecord };

const direction: Codec<Direction> = enumeration({ received: 0, sent: 1 });
const role: Codec<Role> = enumeration({ weCalledRemote: 0, remoteCalledUs: 1 });
const by: Codec<"us" | "remote"> = enumeration({ us: 0, remote: 1 });
const host = text(255), word = text(1000);
const bytes = varOpaque(MAX_PAYLOAD_BYTES - 64);

/** Codec of each payload, its fields in the order of the file. */
// deno-lint-ignore no-explicit-any
export const PAYLOADS: { [N in RecordTypeName]: Codec<any> } = {
  start: struct({ wallMs: uint64, tool: word, command: word, network: word }),
  open: struct({
    connection: uint32,
    atUs: uint64,
    dialledUs: uint64,
    role,
    remoteHost: host,
    remotePort: uint32,
    localHost: host,
    localPort: uint32,
  }),
  dialFailed: struct({
    connection: uint32,
    atUs: uint64,
    remoteHost: host,
    remotePort: uint32,
    dialledUs: uint64,
    failure: word,
  }),
  frame: struct({ connection: uint32, atUs: uint64, direction, bytes }),
  raw: struct({ connection: uint32, atUs: uint64, direction, bytes }),
  end: struct({ connection: uint32, atUs: uint64, by, how: word, reason: word }),
  secrets: struct({ atUs: uint64, nodeId: hash, x25519Secret: opaque(32) }),
  wall: struct({ atUs: uint64, wallMs: uint64 }),
  lost: struct({ atUs: uint64, records: uint32, bytes: uint64 }),
  identity: struct({ connection: uint32, atUs: uint64, nodeId: hash }),
  resolved: struct({ atUs: uint64, host, addresses: text(4000), reason: word }),
};

const NAMES: (RecordTypeName | undefined)[] = [];
for (const name of Object.keys(RECORD_TYPES) as RecordTypeName[]) NAMES[RECORD_TYPES[name]] = name;

/** Name of a record type's number; undefined when this version knows none. */
export function recordTypeName(type: number): RecordTypeName | undefined {
  return NAMES[type];
}

/** The 16 bytes a file begins with. */
export function encodeCaptureHeader(): Uint8Array {
  const header = new Uint8Array(CAPTURE_HEADER_BYTES);
  header.set(CAPTURE_MAGIC);
  writeUint32(header, 8, CAPTURE_VERSION);
  return header;
}

/** Whether bytes begin as a capture does, whatever its version. */
export function isCapture(bytes: Uint8Array): boolean {
  return bytes.length >= CAPTURE_MAGIC.length && CAPTURE_MAGIC.every((byte, i) => bytes[i] === byte);
}

/** The bytes of one record. */
export function encodeRecord(record: CaptureRecord): Uint8Array {
  const body = (record as unknown as Record<string, unknown>)[record.type];
  return frameRecord(RECORD_TYPES[record.type], encode(PAYLOADS[record.type], body, record.type));
}

/** A payload with head and CRC. */
export function frameRecord(type: number, payload: Uint8Array): Uint8Array {
  const record = new Uint8Array(payload.length + RECORD_OVERHEAD);
  writeUint32(record, 0, RECORD_SYNC);
  writeUint32(record, 4, type);
  writeUint32(record, 8, payload.length);
  record.set(payload, RECORD_HEAD_BYTES);
  writeUint32(record, record.length - 4, crc32(record.subarray(4, record.length - 4)));
  return record;
}

/** Whether the CRC of a whole record, `bytes[at..end)`, is right. */
export function checksumHolds(bytes: Uint8Array, at: number, end: number): boolean {
  return crc32(bytes.subarray(at + 4, end - 4)) === readUint32(bytes, end - 4);
}
