/** What somebody hands to `decode`: captures, recorded sessions, hex, base64 or plain bytes, told apart by their look. */
import { Buffer } from "node:buffer";
import { readUint32 } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { MAX_MESSAGE_SIZE } from "../../overlay/wire/record.ts";
import { isCapture } from "../capture/format.ts";
import { isSessionText } from "../capture/session_file.ts";
import type { Explainer, Explanation } from "./explain.ts";

/** How an input was understood. */
export type InputForm = "capture" | "session" | "hex" | "base64" | "bytes";

/** Bytes of an input, and what they were written in. Captures and sessions stay as they are. */
export interface DecodeInput {
  form: InputForm;
  bytes: Uint8Array;
}

/** Types that are tried, in this order, for bytes that are no frames. */
const GUESSES = [
  "StellarMessage",
  "AuthenticatedMessage",
  "TransactionEnvelope",
  "SCPEnvelope",
  "SCPStatement",
  "StellarValue",
  "SCPQuorumSet",
  "GeneralizedTransactionSet",
  "TransactionSet",
] as const;

/** Tells the form of a file's content, or of stdin. */
export function inputOf(bytes: Uint8Array): DecodeInput {
  if (isCapture(bytes)) return { form: "capture", bytes };
  const text = asText(bytes);
  if (text === undefined) return { form: "bytes", bytes };
  if (isSessionText(text)) return { form: "session", bytes };
  return decodedText(text) ?? { form: "bytes", bytes };
}

/** Bytes of an argument in hex or base64; undefined when it is neither. */
export function decodedText(text: string): DecodeInput | undefined {
  // Offsets, spaces, colons and 0x of other tools' dumps are no digits.
  const dense = text.replace(/^0x/i, "").replace(/[\s:]/g, "");
  if (dense === "") return undefined;
  if (/^[0-9a-f]+$/i.test(dense) && dense.length % 2 === 0) {
    return { form: "hex", bytes: new Uint8Array(Buffer.from(dense, "hex")) };
  }
  const base64 = dense.replace(/-/g, "+").replace(/_/g, "/");
  if (/^[0-9a-z+/]+={0,2}$/i.test(base64) && base64.replace(/=+$/, "").length % 4 !== 1) {
    return { form: "base64", bytes: new Uint8Array(Buffer.from(base64, "base64")) };
  }
  return undefined;
}

/** Text of bytes that are printable ASCII; undefined otherwise. */
function asText(bytes: Uint8Array): string | undefined {
  for (const byte of bytes.subarray(0, 4096)) {
    if (byte > 0x7e || (byte < 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return undefined;
  }
  return new TextDecoder().decode(bytes);
}

/** Whether bytes begin with a record mark as every Stellar sender writes it, in front of an AuthenticatedMessage. */
export function beginsAsFrame(bytes: Uint8Array): boolean {
  if (bytes.length < 8 || bytes[0] < 0x80) return false;
  const length = readUint32(bytes, 0) & 0x7fffffff;
  return length > 0 && length <= MAX_MESSAGE_SIZE && readUint32(bytes, 4) === 0;
}

/** The frames of a stream, one explanation each, until one cannot be read. Generated: a stream may be long. */
export function* explainFrames(explainer: Explainer, bytes: Uint8Array, base = 0): Generator<Explanation> {
  let at = 0;
  while (at < bytes.length) {
    const rest = bytes.subarray(at);
    const length = rest.length < 4 ? rest.length : 4 + (readUint32(rest, 0) & 0x7fffffff);
    const explanation = explainer.frame(rest.subarray(0, Math.min(rest.length, length)), base + at);
    yield explanation;
    // A message that does not decode does not hide the frames behind it; a mark that is wrong does.
    if (length <= 4 || length > rest.length) return;
    at += length;
  }
}

/** An explanation of bytes whose type nobody named, and the other types they could be. */
export interface Guess {
  explanation: Explanation;
  others: string[];
}

/**
 * Explains bytes that are no frames as the first type that fits them wholly.
 * @throws OverlayError `invalid_argument` when none fits
 */
export function guessValue(explainer: Explainer, bytes: Uint8Array): Guess {
  const fits = GUESSES.map((type) => explainer.value(type, bytes)).filter((found) => found.problem === undefined);
  if (fits.length === 0) {
    const tried = explainer.value("StellarMessage", bytes).problem!;
    const where = `as StellarMessage it fails at byte ${tried.offset}: ${tried.reason}`;
    throw new OverlayError({
      code: "invalid_argument",
      argument: "input",
      reason: `${bytes.length} bytes that are no frame and none of ${
        GUESSES.join(", ")
      }; ${where}. Name it with --type`,
    });
  }
  return { explanation: fits[0], others: fits.slice(1).map((found) => found.type) };
}
