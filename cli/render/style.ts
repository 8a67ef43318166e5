/** Colour and numbers of text output. Colour is decided once, by the stream it goes to. */
import { stripVTControlCharacters } from "node:util";
import { Chalk, type ChalkInstance } from "chalk";
import type { VisitState } from "../../survey/probe/visit.ts";

/** A chalk that colours, or leaves text alone. */
export function paint(colour: boolean): ChalkInstance {
  return new Chalk({ level: colour ? 1 : 0 });
}

/** Colour of a node's state: the same in every table. */
export function paintState(c: ChalkInstance, state: VisitState | string): string {
  switch (state) {
    case "reachable":
      return c.green(state);
    case "full":
      return c.cyan(state);
    case "heard":
    case "skipped":
      return c.dim(state);
    case "dead":
    case "silent":
      return c.yellow(state);
    default:
      return c.red(state);
  }
}

/** `0.42 ms`, `81.3 ms`, `2.41 s`, `47 min`. */
export function ms(value: number): string {
  const size = Math.abs(value);
  if (size < 10) return `${value.toFixed(2)} ms`;
  if (size < 1000) return `${value.toFixed(1)} ms`;
  if (size < 120_000) return `${(value / 1000).toFixed(2)} s`;
  if (size < 2 * 3600_000) return `${Math.round(value / 60_000)} min`;
  if (size < 2 * 86_400_000) return `${Math.round(value / 3600_000)} h`;
  return `${Math.round(value / 86_400_000)} days`;
}

/** `812 B`, `12.3 kB`, `4.5 MB`. */
export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  if (value < 1_000_000) return `${(value / 1000).toFixed(1)} kB`;
  return `${(value / 1_000_000).toFixed(1)} MB`;
}

/** `1 address`, `2 addresses`. */
export function count(value: number, one: string, many = one + "s"): string {
  return `${value} ${value === 1 ? one : many}`;
}

/** The first characters of a node id, for narrow places; upstream shows five. */
export function shortId(nodeId: string): string {
  return nodeId.slice(0, 5);
}

/** Breaks a line at blanks so that it fits `width`; continuation lines begin with `indent` blanks. Colour codes take no room. */
export function wrap(line: string, width: number | undefined, indent: number): string {
  if (width === undefined) return line;
  const rows: string[] = [];
  let row = "", used = 0;
  for (const word of line.split(/(?<=\S) (?=\S)/)) {
    const size = stripVTControlCharacters(word).length;
    if (used > 0 && used + 1 + size > width) {
      rows.push(row);
      row = " ".repeat(indent) + word;
      used = indent + size;
    } else {
      row += (used > 0 ? " " : "") + word;
      used += (used > 0 ? 1 : 0) + size;
    }
  }
  return [...rows, row].join("\n");
}
