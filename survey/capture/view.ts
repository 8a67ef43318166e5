/**
 * What a capture says, event by event, in plain fields: the one form that live connections, the proxy and a replay give, from
 * the same records, so that they cannot differ.
 */
import { readUint32, toHex } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { addressOfWire, formatAddress } from "../../overlay/base/peer_address.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import { concatBytes } from "../../overlay/base/bytes.ts";
import {
  decodeMessage,
  messageEnumName,
  MessageType,
  type StellarMessage,
  txSetPreimage,
} from "../../overlay/wire/messages.ts";
import { errorCodeName, quorumSetHashOf } from "../../overlay/wire/types.ts";
import type { CaptureRecord, Direction, FrameRecord } from "./format.ts";
import { MacChecker } from "./macs.ts";

/** One event. `type` says which; docs/json.md lists the fields of each. */
export interface ViewEvent {
  type: "start" | "open" | "message" | "raw" | "end" | "dialFailed" | "resolved" | "lost" | "clockStepped";
  /** RFC 3339 UTC, by the clock of the program that captured. */
  at: string;
  /** Since that program began to capture, ms with three decimals. */
  ms: number;
  connection?: number;
  /** `host:port` of the remote. */
  address?: string;
  /** Remote, as soon as its HELLO said so. */
  nodeId?: string | null;
  direction?: Direction;
  [field: string]: unknown;
}

/** What is shown. */
export interface ViewFilter {
  direction?: Direction;
  /** Upstream's names, such as SCP_MESSAGE; all when empty. */
  messages?: ReadonlySet<string>;
  connection?: number;
}

interface Remote {
  address: string;
  nodeId: string | null;
  role: string;
  openedUs: bigint;
  received: number;
  sent: number;
}

/** Turns records into events. BOUNDED: one entry per open connection. */
export class CaptureView {
  readonly #filter: ViewFilter;
  readonly #macs = new MacChecker();
  readonly #remotes = new Map<number, Remote>();
  #wall = { atUs: 0n, wallMs: 0n };
  #network = "";

  constructor(filter: ViewFilter = {}) {
    this.#filter = filter;
  }

  /** Passphrase of the capture at hand; empty when it names none. */
  get network(): string {
    return this.#network;
  }

  /** The event of a record; undefined when it has none, or is not wanted. */
  add(record: CaptureRecord): ViewEvent | undefined {
    const verdict = this.#macs.add(record);
    const event = this.#event(record, verdict);
    if (event === undefined) return undefined;
    const { connection, direction, messages } = this.#filter;
    if (connection !== undefined && event.connection !== undefined && event.connection !== connection) return undefined;
    if (direction !== undefined && event.direction !== undefined && event.direction !== direction) return undefined;
    if (messages !== undefined && messages.size > 0) {
      if (event.type !== "message" || !messages.has(event.message as string)) return undefined;
    }
    return event;
  }

  #event(record: CaptureRecord, verdict: ReturnType<MacChecker["add"]>): ViewEvent | undefined {
    switch (record.type) {
      case "start": {
        const { wallMs, tool, command, network } = record.start;
        this.#wall = { atUs: 0n, wallMs };
        this.#remotes.clear();
        this.#network = network;
        return { type: "start", ...this.#time(0n), tool, command, network };
      }
      case "open": {
        const { connection, atUs, role, remoteHost: host, remotePort: port } = record.open;
        const address = formatAddress({ host, port });
        this.#remotes.set(connection, { address, nodeId: null, role, openedUs: atUs, received: 0, sent: 0 });
        return { type: "open", ...this.#time(atUs), connection, address, role };
      }
      case "dialFailed": {
        const { connection, atUs, dialledUs, remoteHost: host, remotePort: port, failure } = record.dialFailed;
        return {
          type: "dialFailed",
          ...this.#time(atUs),
          connection,
          address: formatAddress({ host, port }),
          afterMs: msOf(atUs - dialledUs),
          failure: parsed(failure),
        };
      }
      case "identity": {
        const remote = this.#remotes.get(record.identity.connection);
        if (remote !== undefined) remote.nodeId = encodeNodeId(record.identity.nodeId);
        return undefined;
      }
      case "frame":
        return this.#message(record.frame, verdict);
      case "raw": {
        const { connection, atUs, direction, bytes } = record.raw;
        const beginning = toHex(bytes.subarray(0, 64));
        return { type: "raw", ...this.#of(connection, atUs), direction, bytes: bytes.length, beginning };
      }
      case "end": {
        const { connection, atUs, by, how, reason } = record.end;
        const remote = this.#remotes.get(connection);
        const event: ViewEvent = {
          type: "end",
          ...this.#of(connection, atUs),
          by,
          how,
          reason,
          durationMs: remote === undefined ? null : msOf(atUs - remote.openedUs),
          received: remote?.received ?? 0,
          sent: remote?.sent ?? 0,
        };
        this.#remotes.delete(connection);
        return event;
      }
      case "wall":
        this.#wall = record.wall;
        return { type: "clockStepped", ...this.#time(record.wall.atUs) };
      case "lost":
        return {
          type: "lost",
          ...this.#time(record.lost.atUs),
          records: record.lost.records,
          bytes: record.lost.bytes,
        };
      case "resolved": {
        const { atUs, host, addresses, reason } = record.resolved;
        const found = addresses === "" ? [] : addresses.split(" ");
        return { type: "resolved", ...this.#time(atUs), host, addresses: found, reason };
      }
      case "secrets":
        return undefined;
    }
  }

  #message(frame: FrameRecord, verdict: ReturnType<MacChecker["add"]>): ViewEvent {
    const { connection, atUs, direction, bytes } = frame;
    const remote = this.#remotes.get(connection);
    if (remote !== undefined) remote[direction]++;
    const whole = bytes.length >= 52;
    const body = bytes.subarray(16, bytes.length - 32);
    let fields: Record<string, unknown> = {}, problem: string | undefined;
    try {
      const message = decodeMessage(body);
      fields = summaryOf(message, body);
      if (message.type === "hello" && direction === "received" && remote !== undefined) {
        remote.nodeId ??= encodeNodeId(message.hello.peerId);
      }
    } catch (error) {
      if (!(error instanceof OverlayError) || error.failure.code !== "xdr_invalid") throw error;
      problem = `${error.failure.path}: ${error.failure.reason}`;
    }
    return {
      type: "message",
      ...this.#of(connection, atUs),
      direction,
      message: whole ? messageEnumName(readUint32(bytes, 16)) : "?",
      bytes: bytes.length,
      sequence: whole ? String((BigInt(readUint32(bytes, 8)) << 32n) | BigInt(readUint32(bytes, 12))) : null,
      mac: verdict,
      ...fields,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #of(connection: number, atUs: bigint) {
    const remote = this.#remotes.get(connection);
    return {
      ...this.#time(atUs),
      connection,
      address: remote?.address ?? "?",
      nodeId: remote?.nodeId ?? null,
    };
  }

  #time(atUs: bigint): { at: string; ms: number } {
    const wallMs = Number(this.#wall.wallMs) + Math.floor(Number(atUs - this.#wall.atUs) / 1000);
    const inRange = Math.abs(wallMs) <= 8.64e15;
    return { at: inRange ? new Date(wallMs).toISOString() : "?", ms: msOf(atUs) };
  }
}

function msOf(us: bigint): number {
  return Number(us) / 1000;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return { code: "unknown", text: json };
  }
}

/** What a message says beyond its type, in a few fields. Text of the remote is as it came: escape it to show it. */
export function summaryOf(message: StellarMessage, bytes: Uint8Array): Record<string, unknown> {
  switch (message.type) {
    case "hello": {
      const { hello } = message;
      return {
        peerId: encodeNodeId(hello.peerId),
        versionStr: hello.versionStr,
        overlayVersion: hello.overlayVersion,
        overlayMinVersion: hello.overlayMinVersion,
        ledgerVersion: hello.ledgerVersion,
        listeningPort: hello.listeningPort,
        network: networkNameOf(toHex(hello.networkId)),
      };
    }
    case "errorMsg":
      return { code: errorCodeName(message.error.code), text: message.error.msg };
    case "auth":
      return { flags: message.auth.flags };
    case "dontHave":
      return { of: messageEnumName(message.dontHave.type), hash: toHex(message.dontHave.reqHash) };
    case "peers": {
      const addresses = message.peers.map((peer) => addressOfWire(peer.ip, peer.port)).filter((found) =>
        found !== null
      );
      return { count: message.peers.length, addresses: addresses.map(formatAddress) };
    }
    case "getTxSet":
      return { hash: toHex(message.txSetHash) };
    case "txSet":
      return { hash: toHex(sha256(concatBytes(...txSetPreimage(bytes)))), transactions: message.txSet.txCount };
    case "generalizedTxSet":
      return {
        hash: toHex(sha256(concatBytes(...txSetPreimage(bytes)))),
        previousLedgerHash: toHex(message.generalizedTxSet.previousLedgerHash),
      };
    case "transaction":
      return { envelopeSha256: toHex(sha256(message.transaction)) };
    case "getScpQuorumset":
      return { hash: toHex(message.qSetHash) };
    case "scpQuorumset":
      return {
        hash: toHex(sha256(bytes.subarray(4))),
        threshold: message.qSet.threshold,
        validators: message.qSet.validators.length,
        innerSets: message.qSet.innerSets.length,
      };
    case "scpMessage": {
      const { statement } = message.envelope;
      return {
        slot: String(statement.slotIndex),
        statement: statement.pledges.type,
        validator: encodeNodeId(statement.nodeId),
        quorumSetHash: toHex(quorumSetHashOf(statement.pledges)),
      };
    }
    case "getScpState":
      return { ledgerSeq: message.ledgerSeq };
    case "sendMore":
      return { numMessages: message.sendMore.numMessages };
    case "sendMoreExtended":
      return { ...message.sendMoreExtended };
    case "floodAdvert":
    case "floodDemand":
      return { count: message.txHashes.length };
    case "timeSlicedSurveyRequest":
      return surveyFields(message.surveyRequest.request.request, message.surveyRequest.request.nonce);
    case "timeSlicedSurveyResponse":
      return surveyFields(message.surveyResponse.response.response, message.surveyResponse.response.nonce);
    case "timeSlicedSurveyStartCollecting": {
      const { surveyorId, nonce, ledgerNum } = message.surveyStart.startCollecting;
      return { surveyor: encodeNodeId(surveyorId), nonce, ledgerNum };
    }
    case "timeSlicedSurveyStopCollecting": {
      const { surveyorId, nonce, ledgerNum } = message.surveyStop.stopCollecting;
      return { surveyor: encodeNodeId(surveyorId), nonce, ledgerNum };
    }
  }
}

function surveyFields(
  of: { surveyorPeerId: Uint8Array; surveyedPeerId: Uint8Array; ledgerNum: number },
  nonce: number,
) {
  return {
    surveyor: encodeNodeId(of.surveyorPeerId),
    surveyed: encodeNodeId(of.surveyedPeerId),
    ledgerNum: of.ledgerNum,
    nonce,
  };
}

/** Types that are named by `--type` of a view, as upstream spells them. */
export const MESSAGE_NAMES: readonly string[] = Object.values(MessageType).map(messageEnumName);
