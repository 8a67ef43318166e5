/** JSON for machines: valid UTF-8 whatever a remote sent, harmless on a terminal, bigints as strings. */

/** What JSON may hold as it is, and a terminal obeys or hides: DEL, C1 controls, bidirectional and invisible characters. */
const OBEYED = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Text of a value. Lone surrogates, which stand for bytes that were not UTF-8, become U+FFFD: JSON cannot carry them.
 * Characters that a terminal obeys are written as \uNNNN, which means the same. `indent` 0 gives one line.
 */
export function toJson(value: unknown, indent = 2): string {
  const text = JSON.stringify(
    value,
    (_, item) => typeof item === "bigint" ? String(item) : typeof item === "string" ? wellFormed(item) : item,
    indent === 0 ? undefined : indent,
  );
  // Undefined has no JSON. Outside of strings no such character can stand.
  return text?.replace(OBEYED, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function wellFormed(text: string): string {
  return text.isWellFormed() ? text : text.toWellFormed();
}
