/** What a field's value says, with its unit: names from the .x files in, one line of text out. */
import { toHex } from "../../overlay/base/bytes.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { addressOfWire } from "../../overlay/base/peer_address.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { messageEnumName } from "../../overlay/wire/messages.ts";
import { AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED, errorCodeName } from "../../overlay/wire/types.ts";

const NODE_IDS = new Set([
  "peerId",
  "nodeId",
  "surveyorId",
  "surveyorPeerId",
  "surveyedPeerId",
  "id",
  "validators",
  "validator",
]);
/** Units of plain numbers. */
const UNITS: Record<string, string> = {
  numMessages: "messages",
  numBytes: "bytes",
  averageLatencyMs: "ms",
  p75SCPFirstToSelfLatencyMs: "ms",
  p75SCPSelfToOtherLatencyMs: "ms",
  secondsConnected: "s",
  bytesRead: "bytes",
  bytesWritten: "bytes",
  messagesRead: "messages",
  messagesWritten: "messages",
  uniqueFloodBytesRecv: "bytes",
  duplicateFloodBytesRecv: "bytes",
  uniqueFetchBytesRecv: "bytes",
  duplicateFetchBytesRecv: "bytes",
  txCount: "transactions",
};
/** Bytes up to which opaque data is shown whole; longer data shows its beginning. */
const SHOWN_BYTES = 64;

/** Text of a value under its name. `hasFields`: its fields are shown below it, so only what they do not say is needed. */
export function fieldText(name: string, value: unknown, hasFields = false): string | undefined {
  if (value === null) return "absent";
  if (value instanceof Uint8Array) return bytesText(name, value);
  if (Array.isArray(value)) return value.length === 1 ? "1 entry" : `${value.length} entries`;
  if (typeof value === "number" || typeof value === "bigint") return numberText(name, value);
  if (typeof value === "string") return hasFields ? value : JSON.stringify(value);
  if (typeof value === "object") {
    // A union says which arm it has.
    const type = (value as { type?: unknown }).type;
    if (typeof type === "string") return type;
    const { v } = value as { v?: unknown };
    if (typeof v === "number" || typeof v === "string") return `arm ${v}`;
    return undefined;
  }
  return String(value);
}

function bytesText(name: string, bytes: Uint8Array): string {
  if (NODE_IDS.has(name) && bytes.length === 32) return encodeNodeId(bytes);
  if (name === "networkId" && bytes.length === 32) {
    const hex = toHex(bytes), known = networkNameOf(hex);
    return known === hex ? hex : `${hex} (${known})`;
  }
  if (name === "ip" && (bytes.length === 4 || bytes.length === 16)) {
    return addressOfWire(bytes, 1)?.host ?? toHex(bytes);
  }
  if (name === "pubkey" || name === "encryptionKey") return `${toHex(bytes)} (Curve25519)`;
  return bytes.length <= SHOWN_BYTES
    ? `${toHex(bytes)}${bytes.length === 32 ? "" : ` (${bytes.length} bytes)`}`
    : `${toHex(bytes.subarray(0, 32))}… (${bytes.length} bytes)`;
}

function numberText(name: string, value: number | bigint): string {
  if (name === "expiration" || name === "closeTime") {
    const ms = Number(value) * 1000;
    return ms < 8.64e15 ? `${value} (Unix seconds: ${new Date(ms).toISOString().replace(".000Z", "Z")})` : `${value}`;
  }
  if (name === "code" && typeof value === "number") return `${value} (${errorCodeName(value)})`;
  if (name === "type" && typeof value === "number") return `${value} (${messageEnumName(value)})`;
  if (name === "flags") {
    const usual = value === AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED;
    return usual ? `${value} (flow control in bytes)` : String(value);
  }
  const unit = UNITS[name];
  return unit === undefined ? String(value) : `${value} ${unit}`;
}
