/** The recorded sessions of tests/fixtures, with hex turned into bytes. Their README says what each one holds. */
import { readdirSync, readFileSync } from "node:fs";
import { fromHex } from "../../overlay/base/bytes.ts";

const ROOT = new URL("../fixtures/", import.meta.url);

/** The recorder: who it was and the secrets that make its frames repeatable. */
export interface SessionHeader {
  /** `initiator` dialled stellar-core, `acceptor` was dialled by it. */
  role: "initiator" | "acceptor";
  /** Network passphrase. */
  network: string;
  ed25519Seed: Uint8Array;
  x25519Secret: Uint8Array;
  nonce: Uint8Array;
  /** "G..." of the recorder. */
  nodeId: string;
  /** Unix seconds. */
  certExpiration: number;
  /** Unix seconds when the session began. */
  unixTime: number;
  /** Milliseconds since 1970 that `ms` of the frames counts from; only in watch/. */
  startedAtMs?: number;
}

/** One frame, either way. */
export interface SessionFrame {
  /** Its line in the file, from 1. */
  line: number;
  /** `out` was sent by the recorder, `in` by stellar-core. */
  dir: "in" | "out";
  /** Milliseconds since the start. */
  ms: number;
  /** Message type as stellar-base names it. */
  type: string;
  /** Whether the recorder found the MAC right; null where the protocol has none, undefined for `out`. */
  macOk: boolean | null | undefined;
  /** The frame with its 4-byte record mark. */
  bytes: Uint8Array;
}

/** What the recorder worked out after HELLO. */
export interface HelloNote {
  line: number;
  /** "G..." of the remote. */
  peer: string;
  certOk: boolean;
  version: string;
  overlay: number;
  overlayMin: number;
  ledgerVersion: number;
  listeningPort: number;
  ecdh: Uint8Array;
  sharedKey: Uint8Array;
  /** Key of the MACs the recorder sends. */
  sendKey: Uint8Array;
  /** Key of the MACs the recorder receives. */
  recvKey: Uint8Array;
}

/** An opened survey answer. */
export interface SurveyNote {
  line: number;
  /** "G..." of the node that answered. */
  survey: string;
  sigOk: boolean;
  /** The encoded SurveyResponseBody. */
  plain: Uint8Array;
  inbound: number;
  outbound: number;
}

/** One recorded connection. */
export interface Session {
  /** The file below tests/fixtures without its ending, such as `watch/peer-1`. */
  name: string;
  header: SessionHeader;
  frames: SessionFrame[];
  /** Absent when stellar-core closed before HELLO. */
  hello: HelloNote | undefined;
  surveys: SurveyNote[];
}

/** Names of all sessions, sorted. */
export function sessionNames(): string[] {
  const names: string[] = [];
  for (const folder of ["", "watch/"]) {
    for (const file of readdirSync(new URL(folder, ROOT))) {
      if (file.endsWith(".ndjson")) names.push(folder + file.slice(0, -".ndjson".length));
    }
  }
  return names.sort();
}

const sessions = new Map<string, Session>();

/** One session by its name. Loaded once: treat it as constant. */
export function loadSession(name: string): Session {
  let session = sessions.get(name);
  if (session === undefined) sessions.set(name, session = parse(name, fixtureText(`${name}.ndjson`)));
  return session;
}

/** All sessions. */
export function allSessions(): Session[] {
  return sessionNames().map(loadSession);
}

/** Text of one fixture file, such as `http/info.json`. */
export function fixtureText(path: string): string {
  return readFileSync(new URL(path, ROOT), "utf8");
}

/** Splits a frame of AuthenticatedMessage v0. The parts are views. */
export function splitFrame(
  frame: Uint8Array,
): { mark: number; v: number; sequence: bigint; message: Uint8Array; mac: Uint8Array } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  return {
    mark: view.getUint32(0),
    v: view.getUint32(4),
    sequence: view.getBigUint64(8),
    message: frame.subarray(16, frame.length - 32),
    mac: frame.subarray(frame.length - 32),
  };
}

// Fields of a line that hold bytes as hex.
const HEX_FIELDS = ["ed25519Seed", "x25519Secret", "nonce", "ecdh", "sharedKey", "sendKey", "recvKey", "plain"];

function parse(name: string, text: string): Session {
  let header: SessionHeader | undefined;
  let hello: HelloNote | undefined;
  const frames: SessionFrame[] = [];
  const surveys: SurveyNote[] = [];
  text.trimEnd().split("\n").forEach((json, index) => {
    const { kind, hex, ...fields } = JSON.parse(json);
    for (const field of HEX_FIELDS) if (field in fields) fields[field] = fromHex(fields[field]);
    const line = index + 1;
    if (kind === "header") header = fields;
    else if (kind === "frame") frames.push({ line, macOk: undefined, ...fields, bytes: fromHex(hex) });
    else if (kind === "note" && "survey" in fields) surveys.push({ line, ...fields });
    else if (kind === "note" && "peer" in fields) hello = { line, ...fields };
    else throw new Error(`${name}.ndjson:${line}: unknown line`);
  });
  if (header === undefined) throw new Error(`${name}.ndjson has no header`);
  return { name, header, frames, hello, surveys };
}
