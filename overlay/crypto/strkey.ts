/**
 * The text forms of keys: version byte, 32 bytes, CRC16-XModem (low byte first), all in base32: 56 characters without padding.
 * A node id begins with G, a secret seed with S. Source: SEP-23; stellar-core StrKey.cpp, crc16.cpp.
 */
import { OverlayError } from "../base/errors.ts";

const NODE_ID = 6 << 3;
const SECRET_SEED = 18 << 3;
const LENGTH = 56;

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Every ten bits as two characters. */
const PAIRS = Array.from({ length: 1024 }, (_, i) => ALPHABET[i >> 5] + ALPHABET[i & 31]);

/** Value of a character code; 32 for those outside the alphabet. */
const DIGITS = new Uint8Array(128).fill(32);
for (let i = 0; i < 32; i++) DIGITS[ALPHABET.charCodeAt(i)] = i;

/** CRC16-XModem (polynomial 0x1021, start 0) of every single byte. */
const CRC = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc;
});

function crcStep(crc: number, byte: number): number {
  return ((crc << 8) & 0xffff) ^ CRC[(crc >> 8) ^ byte];
}

// 35 bytes are seven groups of 40 bits.
const work = new Uint8Array(35);

function encodeKey(version: number, key: Uint8Array): string {
  work[0] = version;
  work.set(key, 1);
  let crc = 0;
  for (let i = 0; i < 33; i++) crc = crcStep(crc, work[i]);
  work[33] = crc;
  work[34] = crc >> 8;
  let text = "";
  for (let i = 0; i < 35; i += 5) {
    const b1 = work[i + 1], b2 = work[i + 2], b3 = work[i + 3];
    text += PAIRS[(work[i] << 2) | (b1 >> 6)] + PAIRS[((b1 & 63) << 4) | (b2 >> 4)] +
      PAIRS[((b2 & 15) << 6) | (b3 >> 2)] + PAIRS[((b3 & 3) << 8) | work[i + 4]];
  }
  return text;
}

/** The 32 bytes behind `text`, or what is wrong with it, without quoting any of it. */
function decodeKey(version: number, text: string): Uint8Array | string {
  const letter = version === NODE_ID ? "G" : "S";
  if (version === NODE_ID && /^S[A-Z2-7]{55}$/.test(text)) return "that is a secret seed (S...), not a node id (G...)";
  if (version === SECRET_SEED && /^G[A-Z2-7]{55}$/.test(text)) {
    return "that is a public key (G...), not a secret seed (S...)";
  }
  if (text.length !== LENGTH) return `${text.length} characters instead of ${LENGTH}`;
  const bytes = new Uint8Array(35);
  for (let i = 0, at = 0, bits = 0, held = 0; i < LENGTH; i++) {
    const code = text.charCodeAt(i), digit = code < 128 ? DIGITS[code] : 32;
    if (digit === 32) return `character ${i + 1} is not one of A-Z and 2-7`;
    held = ((held << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
    }
  }
  if (bytes[0] !== version) return `it does not begin as a key of the form ${letter}... does`;
  let crc = 0;
  for (let i = 0; i < 33; i++) crc = crcStep(crc, bytes[i]);
  if (bytes[33] !== (crc & 0xff) || bytes[34] !== crc >> 8) return "the checksum does not fit: a character is wrong";
  return bytes.slice(1, 33);
}

function checkLength(what: string, key: Uint8Array): void {
  if (key.length !== 32) {
    throw new OverlayError({ code: "invalid_argument", argument: what, reason: `${key.length} bytes instead of 32` });
  }
}

/**
 * The text of a node id: 32 bytes to "G...".
 * @throws OverlayError `invalid_argument` for another length
 */
export function encodeNodeId(nodeId: Uint8Array): string {
  checkLength("node id", nodeId);
  return encodeKey(NODE_ID, nodeId);
}

/**
 * The node id of a text: "G..." to 32 bytes. `argument` names the place it came from in the error.
 * @throws OverlayError `invalid_argument` for anything but the exact 56 characters
 */
export function decodeNodeId(text: string, argument = "node id"): Uint8Array {
  const key = decodeKey(NODE_ID, text);
  if (typeof key === "string") throw new OverlayError({ code: "invalid_argument", argument, reason: key });
  return key;
}

/**
 * The text of an Ed25519 seed: 32 bytes to "S...". Secret.
 * @throws OverlayError `invalid_argument` for another length
 */
export function encodeSecretSeed(seed: Uint8Array): string {
  checkLength("secret seed", seed);
  const text = encodeKey(SECRET_SEED, seed);
  work.fill(0);
  return text;
}

/**
 * The Ed25519 seed of a text: "S..." to 32 bytes. `source` names the file or variable it came from.
 * @throws OverlayError `seed_invalid`; the reason never quotes the text
 */
export function decodeSecretSeed(text: string, source: string): Uint8Array {
  const seed = decodeKey(SECRET_SEED, text);
  if (typeof seed === "string") throw new OverlayError({ code: "seed_invalid", source, reason: seed });
  return seed;
}
