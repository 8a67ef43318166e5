/**
 * Recorded sessions as NDJSON: a header with the recorder's secrets, then frames in hex. They become the records of a capture,
 * so that everything that reads captures reads them.
 */
import { fromHex } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { decodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { CaptureRecord, Direction } from "./format.ts";

/** Whether text begins as a recorded session does. */
export function isSessionText(text: string): boolean {
  return /^\s*\{[^\n]*"kind"\s*:\s*"header"/.test(text.slice(0, 4096));
}

/** What a header says, as far as it is used. */
interface Header {
  role: "initiator" | "acceptor";
  network: string;
  x25519Secret: Uint8Array;
  nodeId: Uint8Array;
  startedAtMs: number;
}

/**
 * The records of a session. Its times are milliseconds; the end is written down where the remote's last word or silence
 * shows it. @throws OverlayError `capture_invalid` whose offset is the byte at which the line begins
 */
export function recordsOfSession(text: string, path: string): CaptureRecord[] {
  const records: CaptureRecord[] = [];
  const connection = 1;
  let header: Header | undefined;
  let cut = false, offset = 0, lastUs = 0n, last: { direction: Direction; type: string } | undefined, received = 0;
  for (const line of text.split("\n")) {
    const at = offset;
    offset += new TextEncoder().encode(line).length + 1;
    if (line.trim() === "") continue;
    const fail = (reason: string): never => {
      throw new OverlayError({ code: "capture_invalid", path, offset: at, reason });
    };
    // deno-lint-ignore no-explicit-any
    let fields: any;
    try {
      fields = JSON.parse(line);
    } catch (error) {
      // The last line of a recording that was stopped may be cut.
      if (offset > text.length && header !== undefined) {
        cut = true;
        break;
      }
      fail((error as Error).message);
    }
    if (fields.kind === "header") {
      header = headerOf(fields, fail);
      records.push(
        {
          type: "start",
          start: { wallMs: BigInt(header.startedAtMs), tool: "recorded session", command: "", network: header.network },
        },
        { type: "secrets", secrets: { atUs: 0n, nodeId: header.nodeId, x25519Secret: header.x25519Secret } },
        {
          type: "open",
          open: {
            connection,
            atUs: 0n,
            dialledUs: 0n,
            role: header.role === "initiator" ? "weCalledRemote" : "remoteCalledUs",
            remoteHost: "127.0.0.1",
            remotePort: 0,
            localHost: "127.0.0.1",
            localPort: 0,
          },
        },
      );
    } else if (header === undefined) fail("the first line is no header");
    else if (fields.kind === "frame") {
      const { dir, ms, hex, type } = fields;
      if ((dir !== "in" && dir !== "out") || typeof ms !== "number" || typeof hex !== "string") fail("no frame");
      const direction: Direction = dir === "in" ? "received" : "sent";
      if (direction === "received") received++;
      lastUs = BigInt(Math.round(ms * 1000));
      last = { direction, type: String(type) };
      let bytes: Uint8Array;
      try {
        bytes = fromHex(hex);
      } catch {
        bytes = fail("hex of a frame is no hex");
      }
      records.push({ type: "frame", frame: { connection, atUs: lastUs, direction, bytes } });
    }
  }
  if (header === undefined) {
    throw new OverlayError({ code: "capture_invalid", path, offset: 0, reason: "no header line" });
  }
  // The recordings do not say who closed; without an answer, or with an ERROR_MSG last, it was stellar-core.
  if (!cut && (received === 0 || last?.type === "errorMsg")) {
    records.push({ type: "end", end: { connection, atUs: lastUs, by: "remote", how: "eof", reason: "" } });
  }
  return records;
}

// deno-lint-ignore no-explicit-any
function headerOf(fields: any, fail: (reason: string) => never): Header {
  const { role, network, x25519Secret, nodeId, startedAtMs, unixTime } = fields;
  if (role !== "initiator" && role !== "acceptor") fail("header: role is neither initiator nor acceptor");
  if (typeof network !== "string") fail("header: network is no text");
  if (typeof startedAtMs !== "number" && typeof unixTime !== "number") fail("header: no time");
  try {
    return {
      role,
      network,
      x25519Secret: fromHex(x25519Secret),
      nodeId: decodeNodeId(nodeId),
      startedAtMs: Math.floor(startedAtMs ?? unixTime * 1000),
    };
  } catch {
    return fail("header: nodeId or x25519Secret is none");
  }
}
