/** Tables: aligned and framed by nothing on a terminal, cut to its width; plain tab-separated full values on a pipe. */
import Table from "cli-table3";
import type { ChalkInstance } from "chalk";
import type { Io } from "../context.ts";

/** One column of a table. */
export interface Column<T> {
  title: string;
  /** The full value, without colour. */
  value: (row: T) => string;
  /** Colour for terminals. */
  paint?: (text: string, row: T) => string;
  align?: "left" | "right";
  /** Widest it may be on a terminal; longer values are cut with an ellipsis. */
  maxWidth?: number;
  /** Columns with a higher number disappear first when the terminal is narrow; 0 stays. */
  drop?: number;
  /** It may be cut to this width before another column disappears, and takes what room is left. One per table. */
  shrink?: number;
}

const BARE = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** The table as text, one line per row, with a title line. */
export function renderTable<T>(rows: readonly T[], columns: readonly Column<T>[], io: Io, c: ChalkInstance): string {
  if (!io.outIsTerminal) {
    const lines = [
      columns.map((column) => column.title),
      ...rows.map((row) => columns.map((column) => column.value(row))),
    ];
    return lines.map((cells) => cells.join("\t") + "\n").join("");
  }
  const width = io.columns ?? 100;
  let shown = [...columns];
  const widthOf = (column: Column<T>): number =>
    Math.min(
      column.maxWidth ?? Infinity,
      Math.max(column.title.length, ...rows.map((row) => column.value(row).length), 1),
    );
  const leastOf = (column: Column<T>) => Math.min(widthOf(column), column.shrink ?? Infinity);
  const total = () => shown.reduce((sum, column) => sum + leastOf(column) + 2, -2);
  while (total() > width) {
    const droppable = shown.filter((column) => (column.drop ?? 0) > 0);
    if (droppable.length === 0) break;
    const first = droppable.reduce((a, b) => ((b.drop ?? 0) > (a.drop ?? 0) ? b : a));
    shown = shown.filter((column) => column !== first);
  }
  const roomOf = (column: Column<T>) => {
    if (column.shrink === undefined) return widthOf(column);
    return Math.min(widthOf(column), Math.max(leastOf(column), width - total() + leastOf(column)));
  };
  const table = new Table({
    head: shown.map((column) => c.bold(column.title)),
    colAligns: shown.map((column) => column.align ?? "left"),
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    chars: BARE,
  });
  for (const row of rows) {
    table.push(shown.map((column) => {
      const text = cut(column.value(row), roomOf(column));
      return column.paint === undefined ? text : column.paint(text, row);
    }));
  }
  const text = table.toString().split("\n").map((line) => line.trimEnd()).join("\n") + "\n";
  const hidden = columns.length - shown.length;
  return hidden === 0 ? text : text + c.dim(`(${hidden} more columns on a wider terminal or a pipe)`) + "\n";
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : text.slice(0, Math.max(1, width - 1)) + "…";
}
