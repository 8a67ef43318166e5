/** Rows of cells, and tables of them: columns of fixed width that leave one by one when the terminal is narrow. Pure. */
import type { ListState } from "./state.ts";
import { cut, fit, widthOf } from "./text.ts";

/** What a cell says beside its text; a painter makes colours of it, and without colour it is left out. */
export type Tone = "plain" | "dim" | "good" | "warn" | "bad" | "accent" | "title" | "chosen";

/** A piece of a row. */
export interface Cell {
  text: string;
  tone: Tone;
}

/** One line of the screen. */
export type Row = Cell[];

/** A cell. */
export function cell(text: string, tone: Tone = "plain"): Cell {
  return { text, tone };
}

/** Cells a row takes. */
export function rowWidth(row: Row): number {
  return row.reduce((sum, { text }) => sum + widthOf(text), 0);
}

/** The row, cut at `width`. */
export function cutRow(row: Row, width: number): Row {
  const short: Row = [];
  let left = width;
  for (const { text, tone } of row) {
    if (left <= 0) break;
    const part = cut(text, left);
    short.push({ text: part, tone });
    left -= widthOf(part);
  }
  return short;
}

/** `left`, and `right` at the end of the line when both fit. */
export function spread(left: Row, right: Row, width: number): Row {
  const room = width - rowWidth(left) - rowWidth(right);
  return room < 1 ? cutRow(left, width) : [...left, cell(" ".repeat(room)), ...right];
}

/** A column. `R` is what a row of the list is made of. */
export interface ViewColumn<R> {
  title: string;
  /** Cells; with `grow` the least. */
  width: number;
  /** Takes room that is left, up to so many cells. */
  grow?: number;
  align?: "left" | "right";
  /** Leaves earlier the higher it is; 0 and undefined: never. */
  drop?: number;
  /** The text, for a column of so many cells. Remote text in it is escaped. */
  value(row: R, width: number): string;
  tone?(row: R): Tone;
  /** What it sorts by; without it the text. Undefined goes last. */
  sort?(row: R): number | string | undefined;
  /** Sorts from the highest. */
  descending?: boolean;
}

/** A list as shown. */
export interface Listing {
  /** Title row and rows; never more than asked for. */
  rows: Row[];
  /** Keys of all rows in order. */
  keys: string[];
  /** Index of the chosen row; -1 without rows. */
  chosen: number;
  /** First row shown. */
  offset: number;
  /** Rows on one screen. */
  page: number;
}

/** Rows that hold `filter` in a column or in `more`, whatever the case of letters. */
export function filterRows<R>(
  rows: readonly R[],
  columns: readonly ViewColumn<R>[],
  filter: string,
  more: (row: R) => string = () => "",
): R[] {
  if (filter === "") return [...rows];
  const wanted = filter.toLowerCase();
  const text = (row: R) => [...columns.map((column) => column.value(row, 0)), more(row)].join(" ").toLowerCase();
  return rows.filter((row) => text(row).includes(wanted));
}

/** Rows as `list` sorts them; equal ones keep their order. */
export function sortRows<R>(rows: readonly R[], columns: readonly ViewColumn<R>[], list: ListState): R[] {
  const column = list.sort === undefined ? undefined : columns[list.sort];
  if (column === undefined) return list.reverse ? [...rows].reverse() : [...rows];
  const sign = (column.descending === true) !== list.reverse ? -1 : 1;
  const key = (row: R) => (column.sort === undefined ? column.value(row, column.width) : column.sort(row));
  const keyed = rows.map((row) => ({ row, key: key(row) }));
  keyed.sort((a, b) => {
    if (a.key === undefined || b.key === undefined) return Number(a.key === undefined) - Number(b.key === undefined);
    return a.key === b.key ? 0 : (a.key < b.key ? -1 : 1) * sign;
  });
  return keyed.map(({ row }) => row);
}

/** Columns that fit `width`, with the width of each. A blank stands between two, and a mark before the first. */
export function fitColumns<R>(
  columns: readonly ViewColumn<R>[],
  width: number,
): { column: ViewColumn<R>; width: number }[] {
  let shown = [...columns];
  const total = () => shown.reduce((sum, column) => sum + column.width + 1, 0);
  while (total() > width) {
    const most = Math.max(...shown.map((column) => column.drop ?? 0));
    if (most === 0) break;
    shown = shown.filter((column) => column.drop !== most);
  }
  let room = Math.max(0, width - total());
  return shown.map((column) => {
    const more = Math.min(room, Math.max(0, (column.grow ?? column.width) - column.width));
    room -= more;
    return { column, width: column.width + more };
  });
}

/** One screen of a list. `height` counts the title row. */
export function renderList<R>(
  rows: readonly R[],
  columns: readonly ViewColumn<R>[],
  keyOf: (row: R) => string,
  list: ListState,
  size: { width: number; height: number },
  empty: string,
): Listing {
  const page = Math.max(1, size.height - 1);
  const keys = rows.map(keyOf);
  const found = list.cursor === undefined ? 0 : keys.indexOf(list.cursor);
  const chosen = rows.length === 0 ? -1 : Math.max(0, found);
  let offset = Math.min(list.offset, Math.max(0, rows.length - page));
  if (chosen >= 0) offset = Math.max(chosen - page + 1, Math.min(offset, chosen));
  const fitted = fitColumns(columns, size.width);
  const sortedBy = list.sort === undefined ? undefined : columns[list.sort];
  const title: Row = [cell(" ")];
  for (const [at, { column, width }] of fitted.entries()) {
    if (at > 0) title.push(cell(" "));
    title.push(cell(fit(column.title, width, column.align), column === sortedBy ? "accent" : "title"));
  }
  const lines: Row[] = [title];
  for (const [at, row] of rows.slice(offset, offset + page).entries()) {
    const isChosen = offset + at === chosen;
    const line: Row = [cell(isChosen ? ">" : " ", "chosen")];
    for (const [i, { column, width }] of fitted.entries()) {
      if (i > 0) line.push(cell(" "));
      line.push(cell(fit(column.value(row, width), width, column.align), column.tone?.(row) ?? "plain"));
    }
    lines.push(line);
  }
  if (rows.length === 0) lines.push([cell(` ${empty}`, "dim")]);
  return { rows: lines.slice(0, size.height).map((row) => cutRow(row, size.width)), keys, chosen, offset, page };
}
