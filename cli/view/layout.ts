/** The screen of a watch: one moment, the user's choices and a size in, rows of cells out. Pure; the ink layer only paints them. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { bytes } from "../render/style.ts";
import { type Cell, cell, cutRow, type Listing, type Row, spread, type ViewColumn } from "./cells.ts";
import type { ViewData } from "./collect.ts";
import { HELP } from "./help.ts";
import {
  EVENT_COLUMNS,
  eventsPanel,
  messagesPanel,
  typeColumns,
  VALIDATOR_COLUMNS,
  validatorsPanel,
} from "./other_panels.ts";
import { peerColumns, peersPanel } from "./peers_panel.ts";
import { SCP_COLUMNS, scpPanel } from "./scp_panel.ts";
import { type PanelName, PANELS, type Shown, type ViewState } from "./state.ts";
import { shortRate, span } from "./text.ts";

/** A terminal. */
export interface ScreenSize {
  columns: number;
  rows: number;
}

/** One frame. */
export interface Frame {
  /** Exactly as many as the terminal has; none wider than it. */
  rows: Row[];
  shown: Shown;
  /** First row of the list; the next frame begins from it. */
  offset: number;
}

/** Least terminal that is laid out; below it a frame says so. */
export const LEAST: ScreenSize = { columns: 40, rows: 10 };

const TITLES: Record<PanelName, string> = {
  peers: "Peers",
  scp: "SCP",
  validators: "Validators",
  messages: "Messages",
  events: "Events",
};

const PANEL: Record<PanelName, (data: ViewData, state: ViewState, size: { width: number; height: number }) => Listing> =
  {
    peers: peersPanel,
    scp: scpPanel,
    validators: validatorsPanel,
    messages: messagesPanel,
    events: eventsPanel,
  };

/** Lays out one frame. `title` names what is watched. */
export function layout(data: ViewData, state: ViewState, size: ScreenSize, title: string): Frame {
  const { columns: width, rows: height } = size;
  const nothing: Shown = { keys: [], page: 1, columns: 0, slots: [] };
  if (width < LEAST.columns || height < LEAST.rows) {
    const text = `needs ${LEAST.columns}x${LEAST.rows}`;
    return { rows: padRows([cutRow([cell(text)], Math.max(1, width))], height), shown: nothing, offset: 0 };
  }
  const columns = columnsOf(state.panel, data);
  const body = { width, height: height - 3 };
  const listing = PANEL[state.panel](data, state, body);
  const middle = state.help ? helpRows(body.height) : listing.rows;
  const rows = [
    headLine(data, state, width, title),
    tabLine(state, listing, columns, width),
    ...padRows(middle.slice(0, body.height), body.height),
    footLine(state, width),
  ].map((row) => cutRow(row, width));
  const shown: Shown = {
    keys: listing.keys,
    page: listing.page,
    columns: columns.length,
    slots: data.slots.map(({ slot }) => slot),
  };
  return { rows, shown, offset: listing.offset };
}

// deno-lint-ignore no-explicit-any
function columnsOf(panel: PanelName, data: ViewData): readonly ViewColumn<any>[] {
  switch (panel) {
    case "peers":
      return peerColumns(data);
    case "scp":
      return SCP_COLUMNS;
    case "validators":
      return VALIDATOR_COLUMNS;
    case "messages":
      // The last one is a bar.
      return typeColumns(data).slice(0, -1);
    case "events":
      return EVENT_COLUMNS;
  }
}

function headLine(data: ViewData, state: ViewState, width: number, title: string): Row {
  const { all } = data;
  const left: Row = [
    cell(escapeRemoteText(title), "title"),
    cell(`  ledger ${data.ledger ?? "-"}`),
    data.inSync ? cell("") : cell(" out of sync", "bad"),
    cell(`  ${data.connected}/${data.targets} peers`, data.connected === 0 ? "warn" : "plain"),
    cell(`  ${shortRate(all.messagesPerSecond)} msg/s ${bytes(Math.round(all.bytesPerSecond))}/s`),
    data.missed === 0 ? cell("") : cell(`  ${data.missed} not shown`, "warn"),
  ];
  const right: Cell[] = [
    cell(state.paused ? "PAUSED" : span(data.nowMs - data.startedMs), state.paused ? "warn" : "dim"),
  ];
  return spread(left, right, width);
}

function tabLine(state: ViewState, listing: Listing, columns: readonly ViewColumn<unknown>[], width: number): Row {
  const left: Row = [];
  for (const [at, name] of PANELS.entries()) {
    const text = `${at + 1} ${TITLES[name]}`;
    left.push(name === state.panel ? cell(`[${text}]`, "chosen") : cell(` ${text} `, "dim"));
  }
  const { sort, reverse } = state.lists[state.panel];
  const { keys, offset, page } = listing;
  const parts: string[] = [];
  if (sort !== undefined || reverse) {
    const down = sort === undefined ? reverse : (columns[sort]?.descending === true) !== reverse;
    parts.push(`${sort === undefined ? "order" : columns[sort]?.title ?? ""} ${down ? "↓" : "↑"}`);
  }
  if (keys.length > page) parts.push(`${offset + 1}-${Math.min(keys.length, offset + page)} of ${keys.length}`);
  return spread(left, [cell(parts.join("  "), "dim")], width);
}

function footLine(state: ViewState, width: number): Row {
  if (state.typing) {
    return [
      cell("filter: ", "accent"),
      cell(`${escapeRemoteText(state.filter)}_`),
      cell("  Enter keeps it, Esc clears it", "dim"),
    ];
  }
  const slots = state.panel === "scp" ? "  ←→ slot" : "";
  const keys = `q quit  ? help  Tab panel  ↑↓ row${slots}  s sort  r reverse  / filter  p ${
    state.paused ? "go on" : "pause"
  }`;
  if (state.filter === "") return [cell(keys, "dim")];
  return spread([cell("filter: ", "accent"), cell(escapeRemoteText(state.filter)), cell("  Esc clears it", "dim")], [
    cell("q quit  ? help", "dim"),
  ], width);
}

function helpRows(height: number): Row[] {
  return HELP.slice(0, height).map(([key, what]) => [cell(` ${key.padEnd(12)}`, "accent"), cell(what)]);
}

function padRows(rows: Row[], height: number): Row[] {
  return Array.from({ length: Math.max(0, height) }, (_, at) => rows[at] ?? []);
}

/** The frame as plain text, one line per row, without blanks at the ends. */
export function frameText(frame: Frame): string {
  return frame.rows.map((row) => row.map(({ text }) => text).join("").trimEnd() + "\n").join("");
}
