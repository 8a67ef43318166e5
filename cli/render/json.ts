/** JSON for machines: valid UTF-8 whatever a remote sent, bigints as strings. */

/**
 * Text of a value. Lone surrogates, which stand for bytes that were not UTF-8, become U+FFFD: JSON cannot carry them.
 * `indent` 0 gives one line.
 */
export function toJson(value: unknown, indent = 2): string {
  const text = JSON.stringify(
    value,
    (_, item) => typeof item === "bigint" ? String(item) : typeof item === "string" ? wellFormed(item) : item,
    indent === 0 ? undefined : indent,
  );
  return text;
}

function wellFormed(text: string): string {
  return text.isWellFormed() ? text : text.toWellFormed();
}
