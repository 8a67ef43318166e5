/** The bytes of a transaction envelope from the text people have: base64 or hex, with blanks, line breaks and comments. */
import { fromHex } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";

/** Longest text that is looked at, characters: twice the largest transaction in hex, with room for comments. */
const MAX_TEXT = 1024 * 1024;

/**
 * Reads one envelope. Lines that begin with `#` are comments; quotes around the whole, `0x` before hex and the URL-safe form
 * of base64 are understood. The text itself is never repeated in an error: it may be a secret by mistake.
 * @throws OverlayError `tx_unreadable`
 */
export function bytesOfEnvelopeText(text: string): Uint8Array {
  if (text.length > MAX_TEXT) throw unreadable(`the text has more than ${MAX_TEXT} characters`);
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => !line.trimStart().startsWith("#"));
  const packed = lines.join("\n").replace(/\s+/g, "").replace(/^(["'])(.*)\1$/, "$2");
  if (packed === "") throw unreadable("there is no text");
  if (/^S[A-Z2-7]{55}$/.test(packed)) throw unreadable("that looks like a secret seed; keep it to yourself");
  const hex = packed.replace(/^0x/i, "");
  if (/^[0-9a-f]+$/i.test(hex)) {
    if (hex.length % 2 !== 0) throw unreadable(`an odd number of hex digits, ${hex.length}`);
    return fromHex(hex.toLowerCase());
  }
  const base64 = packed.replaceAll("-", "+").replaceAll("_", "/");
  const strange = /[^A-Za-z0-9+/=]/.exec(base64);
  if (strange !== null) {
    const character = /[!-~]/.test(strange[0]) ? `'${strange[0]}'` : "a character outside of ASCII";
    throw unreadable(`neither hex nor base64 has ${character} (character ${strange.index + 1} without blanks)`);
  }
  const digits = base64.replace(/=+$/, "");
  if (digits.includes("=")) throw unreadable("base64 goes on behind its '=': is it more than one transaction?");
  if (digits.length % 4 === 1) throw unreadable(`base64 of ${digits.length} digits is cut`);
  return new Uint8Array(Buffer.from(digits, "base64"));
}

function unreadable(reason: string): OverlayError {
  return new OverlayError({ code: "tx_unreadable", reason });
}
