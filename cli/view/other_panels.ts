/** The panels that are one list: validators, messages by type with the spread of things, events. Pure. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, remoteText } from "../../overlay/base/errors.ts";
import { messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import type { WatchEvent } from "../../survey/watch/records.ts";
import type { ValidatorView } from "../../survey/watch/scp_board.ts";
import { bytes, ms, shortId } from "../render/style.ts";
import {
  cell,
  cutRow,
  filterRows,
  type Listing,
  renderList,
  type Row,
  sortRows,
  type Tone,
  type ViewColumn,
} from "./cells.ts";
import type { ViewData } from "./collect.ts";
import type { ViewState } from "./state.ts";
import { fit, percent, shortCount, shortRate, span, timeOfDay, wrapCells } from "./text.ts";

interface Size {
  width: number;
  height: number;
}
const NONE = "-";

/** Columns of the validators. */
export const VALIDATOR_COLUMNS: readonly ViewColumn<ValidatorView>[] = [
  { title: "VALIDATOR", width: 20, grow: 56, value: (v) => v.validator },
  {
    title: "LAST SLOT",
    width: 10,
    align: "right",
    value: (v) => String(v.lastSlot),
    sort: (v) => v.lastSlot,
    descending: true,
  },
  {
    title: "HEARD",
    width: 6,
    align: "right",
    value: (v) => String(v.heardSlots),
    sort: (v) => v.heardSlots,
    descending: true,
  },
  {
    title: "MISSED",
    width: 6,
    align: "right",
    value: (v) => String(v.missedSlots),
    sort: (v) => v.missedSlots,
    descending: true,
    tone: (v) => (v.missedSlots > 0 ? "warn" : "plain"),
  },
  {
    title: "SILENT FOR",
    width: 10,
    align: "right",
    value: (v) => (v.missingStreak === 0 ? NONE : `${v.missingStreak} ${v.missingStreak === 1 ? "slot" : "slots"}`),
    sort: (v) => v.missingStreak,
    descending: true,
    tone: (v) => (v.missingStreak > 0 ? "bad" : "dim"),
  },
  {
    title: "EXT LAG",
    width: 9,
    align: "right",
    value: (v) => (v.medianLagMs === null ? NONE : ms(v.medianLagMs)),
    sort: (v) => v.medianLagMs ?? undefined,
  },
];

/** Validators over all slots kept. */
export function validatorsPanel(data: ViewData, state: ViewState, size: Size): Listing {
  const list = state.lists.validators;
  const rows = sortRows(filterRows(data.validators, VALIDATOR_COLUMNS, state.filter), VALIDATOR_COLUMNS, list);
  const empty = data.validators.length === 0 ? "no validator heard yet" : "no validator matches the filter";
  const listing = renderList(
    rows,
    VALIDATOR_COLUMNS,
    (v) => v.validator,
    list,
    { ...size, height: size.height - 1 },
    empty,
  );
  while (listing.rows.length < size.height - 1) listing.rows.push([]);
  // Columns may be too narrow for it.
  listing.rows.push([cell(rows[listing.chosen]?.validator ?? "", "title")]);
  return listing;
}

type TypeRow = ViewData["types"][number];

/** Columns of the message types. */
export function typeColumns(data: Pick<ViewData, "all" | "types">): ViewColumn<TypeRow>[] {
  const most = Math.max(1e-9, ...data.types.map(({ traffic }) => traffic.messagesPerSecond));
  return [
    { title: "TYPE", width: 36, value: (r) => messageEnumName(MessageType[r.type]) },
    {
      title: "MSG/S",
      width: 6,
      align: "right",
      value: (r) => shortRate(r.traffic.messagesPerSecond),
      sort: (r) => r.traffic.messagesPerSecond,
      descending: true,
    },
    {
      title: "BYTES/S",
      width: 8,
      align: "right",
      value: (r) => bytes(Math.round(r.traffic.bytesPerSecond)),
      sort: (r) => r.traffic.bytesPerSecond,
      descending: true,
    },
    {
      title: "MESSAGES",
      width: 8,
      align: "right",
      value: (r) => shortCount(r.traffic.messages),
      sort: (r) => r.traffic.messages,
      descending: true,
    },
    {
      title: "SHARE",
      width: 5,
      align: "right",
      value: (r) => percent(data.all.messages === 0 ? 0 : r.traffic.messages / data.all.messages),
      sort: (r) => r.traffic.messages,
      descending: true,
    },
    {
      title: "BYTES",
      width: 8,
      align: "right",
      value: (r) => bytes(r.traffic.bytes),
      sort: (r) => r.traffic.bytes,
      descending: true,
    },
    {
      title: "",
      width: 5,
      grow: 40,
      drop: 1,
      value: (r, width) => "█".repeat(Math.round((r.traffic.messagesPerSecond / most) * width)),
      tone: () => "accent",
      sort: (r) => r.traffic.messagesPerSecond,
      descending: true,
    },
  ];
}

const SPREAD_TITLES: Record<ViewData["spreads"][number]["kind"], string> = {
  scp: "SCP statements",
  advert: "adverts",
  transaction: "transactions",
  txSet: "transaction sets",
};

/** Rates by type, and how long things take to reach all our peers. */
export function messagesPanel(data: ViewData, state: ViewState, size: Size): Listing {
  const columns = typeColumns(data), list = state.lists.messages;
  const rows = sortRows(filterRows(data.types, columns, state.filter), columns, list);
  const lower = size.height >= 12 ? data.spreads.length + 2 : 0;
  const upper = { ...size, height: size.height - lower };
  const empty = data.types.length === 0 ? "no messages yet" : "no type matches the filter";
  const listing = renderList(rows, columns, (r) => r.type, list, upper, empty);
  if (lower === 0) return listing;
  while (listing.rows.length < upper.height) listing.rows.push([]);
  listing.rows.push([cell("─".repeat(size.width), "dim")], ...spreadTable(data).map((row) => cutRow(row, size.width)));
  return listing;
}

function spreadTable(data: ViewData): Row[] {
  const line = (cells: string[], tone: Tone): Row => [
    cell(" "),
    cell(fit(cells[0], 17), tone),
    ...cells.slice(1).map((text) => cell(fit(text, 10, "right"), tone)),
  ];
  const time = (value: number | null) => (value === null ? NONE : ms(value));
  return [
    line(["TO ALL PEERS", "THINGS", "COPIES", "COMPLETE", "MEDIAN", "95%", "LONGEST"], "title"),
    ...data.spreads.map(({ kind, spread }) =>
      line([
        SPREAD_TITLES[kind],
        shortCount(spread.distinct),
        shortCount(spread.copies),
        shortCount(spread.complete),
        time(spread.spreadMedianMs),
        time(spread.spreadP95Ms),
        time(spread.spreadMaxMs),
      ], "plain")
    ),
  ];
}

/** An event in words; nothing of the remote's is in it unescaped. */
export function eventText(event: WatchEvent): string {
  const safe = escapeRemoteText;
  const named = (e: { target?: string; address: string }) =>
    e.target === undefined || e.target === e.address ? safe(e.address) : `${safe(e.target)} (${safe(e.address)})`;
  switch (event.kind) {
    case "dialing":
      return `${named(event)}, attempt ${event.attempt}`;
    case "connected":
      return `${named(event)} is ${shortId(event.peer)}, ${safe(event.versionStr)}, overlay ${event.overlayVersion}`;
    case "dropped": {
      const who = event.peer === undefined ? "" : ` ${shortId(event.peer)}`;
      const long = event.authenticated ? ` after ${span(event.connectedMs)}` : "";
      const said = remoteText(event.failure) ?? "";
      const text = said === "" || event.reason.includes(said) ? "" : `, "${safe(said)}"`;
      return `${named(event)}${who} by ${event.by}${long}: ${safe(event.reason)} (${event.failure.code})${text}`;
    }
    case "dialFailed": {
      const why = `${safe(describeFailure(event.failure))} (${event.failure.code})`;
      // Most failures name the address themselves.
      return why.includes(safe(event.target)) ? why : `${named(event)}: ${why}`;
    }
    case "waiting":
      return `${named(event)}, next dial in ${span(event.delayMs)}`;
    case "syncLost":
      return `nothing new for ${span(event.silentMs)}${
        event.ledgerSeq === undefined ? "" : ` since ledger ${event.ledgerSeq}`
      }`;
    case "syncGained":
      return `at ledger ${event.ledgerSeq}, after ${span(event.outOfSyncMs)}`;
    case "ledger":
      return String(event.ledgerSeq);
    case "missed":
      return `${event.records} records were not shown; all are counted`;
    default:
      return event satisfies never;
  }
}

const EVENT_TONES: Record<WatchEvent["kind"], Tone> = {
  dialing: "dim",
  connected: "good",
  dropped: "bad",
  dialFailed: "bad",
  waiting: "dim",
  syncLost: "bad",
  syncGained: "good",
  ledger: "plain",
  missed: "warn",
};

/** Columns of the events. */
export const EVENT_COLUMNS: readonly ViewColumn<WatchEvent>[] = [
  { title: "TIME UTC", width: 8, value: (e) => timeOfDay(e.wallMs), sort: (e) => e.atMs, descending: true },
  { title: "EVENT", width: 10, value: (e) => e.kind, tone: (e) => EVENT_TONES[e.kind] },
  { title: "WHAT", width: 20, grow: 400, value: eventText },
];

/** Lines for the whole text of the chosen event. */
const EVENT_LINES = 3;

/** The log, newest first; below it the chosen event in full. */
export function eventsPanel(data: ViewData, state: ViewState, size: Size): Listing {
  const list = state.lists.events;
  const more = (e: WatchEvent) => ("peer" in e && e.peer !== undefined ? e.peer : "");
  const rows = sortRows(filterRows(data.events, EVENT_COLUMNS, state.filter, more), EVENT_COLUMNS, list);
  const empty = data.events.length === 0 ? "nothing happened yet" : "no event matches the filter";
  const lower = size.height >= 12 && rows.length > 0 ? EVENT_LINES + 1 : 0;
  const upper = { ...size, height: size.height - lower };
  // Events have no name of their own; the instant, the kind and the text make one.
  const listing = renderList(rows, EVENT_COLUMNS, (e) => `${e.atMs} ${e.kind} ${eventText(e)}`, list, upper, empty);
  if (lower === 0) return listing;
  while (listing.rows.length < upper.height) listing.rows.push([]);
  const whole = wrapCells(eventText(rows[listing.chosen]), size.width, EVENT_LINES);
  listing.rows.push([cell("─".repeat(size.width), "dim")], ...whole.map((line) => [cell(line)]));
  return listing;
}
