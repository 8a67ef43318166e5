/**
 * Transaction hashes inside FLOOD_ADVERT and FLOOD_DEMAND. A hash is a hex text wherever one is kept or looked up, and 32
 * packed bytes inside a message; texts are made one at a time, when somebody needs that one.
 * Source: Stellar-overlay.x `FloodAdvert`, `FloodDemand`.
 */
import { Buffer } from "node:buffer";
import { writeUint32 } from "../base/bytes.ts";
import { countTxHashes, MAX_TX_HASHES, MessageType } from "../wire/messages.ts";

/** A 32-byte hash as 64 lower-case hex digits: a map key that every log shows as it is. */
export type HashText = string;

/** Where the first hash of a FLOOD_ADVERT or FLOOD_DEMAND starts: after its type and the count. */
export const FIRST_HASH_AT = 8;

/** The same memory as a Buffer, whose hex conversions are native. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Lower-case hex of 32 bytes, or of any other number. */
export function hashText(bytes: Uint8Array): HashText {
  return asBuffer(bytes).toString("hex");
}

/** The 32 bytes of a hash. */
export function hashBytes(hash: HashText): Uint8Array {
  const bytes = new Uint8Array(32);
  asBuffer(bytes).write(hash, "hex");
  return bytes;
}

/** All hashes of a FLOOD_ADVERT or FLOOD_DEMAND in order; none when the bytes are neither. */
export function txHashesOf(message: Uint8Array): HashText[] {
  const count = countTxHashes(message), buffer = asBuffer(message);
  const hashes: HashText[] = [];
  for (let i = 0; i < count; i++) {
    hashes.push(buffer.toString("hex", FIRST_HASH_AT + 32 * i, FIRST_HASH_AT + 32 * (i + 1)));
  }
  return hashes;
}

/**
 * The FLOOD_ADVERT or FLOOD_DEMAND with these hashes.
 * @throws RangeError for more than 1,000, the limit of the wire
 */
export function packTxHashes(type: "floodAdvert" | "floodDemand", hashes: readonly HashText[]): Uint8Array {
  if (hashes.length > MAX_TX_HASHES) throw new RangeError(`${hashes.length} hashes in one message`);
  const message = new Uint8Array(FIRST_HASH_AT + 32 * hashes.length);
  writeUint32(message, 0, MessageType[type]);
  writeUint32(message, 4, hashes.length);
  const buffer = asBuffer(message);
  for (let i = 0; i < hashes.length; i++) buffer.write(hashes[i], FIRST_HASH_AT + 32 * i, "hex");
  return message;
}
