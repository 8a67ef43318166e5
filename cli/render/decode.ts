/** Explained bytes as an indented tree with offsets, as a hex dump with the field of every range, or as JSON. */
import type { ChalkInstance } from "chalk";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { type Field, leavesOf } from "../../survey/decode/explain.ts";
import type { DecodedItem } from "../../survey/decode/items.ts";
import { count } from "./style.ts";

/** Bytes in one row of a dump. */
const ROW_BYTES = 16;
const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));
const MAC_TEXT = { ok: "MAC right", mac: "MAC WRONG", sequence: "SEQUENCE WRONG" };

/** One item for people. */
export function renderItem(item: DecodedItem, c: ChalkInstance, hex: boolean): string {
  const { explanation } = item;
  const lines = [c.bold(heading(item))];
  if (hex) lines.push(...dump(item, c));
  else for (const field of explanation.fields) lines.push(...tree(field, 1, c));
  const { problem } = explanation;
  if (problem !== undefined) {
    const path = problem.path === "" ? explanation.type : problem.path;
    lines.push(c.red(`  ! byte ${problem.offset}, at ${path}: ${escapeRemoteText(problem.reason)}`));
  }
  if (item.others !== undefined && item.others.length > 0) {
    lines.push(c.dim(`  (could also be ${item.others.join(", ")}: choose with --type)`));
  }
  return lines.join("\n") + "\n";
}

function heading({ n, title, explanation, captured }: DecodedItem): string {
  const place = `${explanation.type === title ? "" : `${explanation.type} `}at byte ${explanation.offset}`;
  const what = `#${n} ${title}, ${place}, ${count(explanation.bytes, "byte")}`;
  if (captured === undefined) return what;
  const mac = captured.mac === null ? "" : `, ${MAC_TEXT[captured.mac]}`;
  return `${what}, connection ${captured.connection} ${captured.direction} at ${captured.ms.toFixed(3)} ms${mac}`;
}

function tree(field: Field, depth: number, c: ChalkInstance): string[] {
  const at = c.dim(String(field.offset).padStart(8));
  const text = field.text === undefined ? "" : `  ${escapeRemoteText(field.text)}`;
  const lines = [`${at}${"  ".repeat(depth)}${c.cyan(field.name)}${text}`];
  for (const inner of field.fields) lines.push(...tree(inner, depth + 1, c));
  return lines;
}

function dump(item: DecodedItem, c: ChalkInstance): string[] {
  const lines: string[] = [];
  for (const leaf of leavesOf(item.explanation)) {
    const from = leaf.offset - item.explanation.offset;
    for (let at = 0; at < leaf.bytes; at += ROW_BYTES) {
      const row = item.bytes.subarray(from + at, from + Math.min(at + ROW_BYTES, leaf.bytes));
      const digits = Array.from(row, (byte) => HEX[byte]).join(" ").padEnd(3 * ROW_BYTES);
      const what = at > 0
        ? ""
        : `${c.cyan(leaf.path)}${leaf.text === undefined ? "" : `  ${escapeRemoteText(leaf.text)}`}`;
      lines.push(`${c.dim((leaf.offset + at).toString(16).padStart(8, "0"))}  ${digits} ${what}`.trimEnd());
    }
  }
  return lines;
}

/** One item for programs. */
export function itemJson({ n, title, explanation, captured, others }: DecodedItem): Record<string, unknown> {
  const { type, offset, bytes, fields, problem } = explanation;
  return {
    n,
    type,
    title,
    offset,
    bytes,
    ...captured,
    ...(others === undefined ? {} : { others }),
    problem: problem ?? null,
    fields: fields.map(fieldJson),
  };
}

function fieldJson({ name, offset, bytes, text, fields }: Field): Record<string, unknown> {
  return {
    name,
    offset,
    bytes,
    text: text ?? null,
    ...(fields.length === 0 ? {} : { fields: fields.map(fieldJson) }),
  };
}
