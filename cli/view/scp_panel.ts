/** SCP slot by slot: a table of slots, and below it every validator of the chosen slot, the missing ones too. Pure. */
import type { SlotView, ValidatorProgress } from "../../survey/watch/scp_board.ts";
import { ms, shortId } from "../render/style.ts";
import {
  cell,
  cutRow,
  filterRows,
  fitColumns,
  type Listing,
  renderList,
  type Row,
  sortRows,
  type Tone,
  type ViewColumn,
} from "./cells.ts";
import type { ViewData } from "./collect.ts";
import type { ViewState } from "./state.ts";
import { fit, timeOfDay } from "./text.ts";

/** A validator of a slot; without progress it is missing. */
export interface SlotRow {
  validator: string;
  progress: ValidatorProgress | undefined;
}

type Stage = ValidatorProgress["stage"];
const STAGE_TONES: Record<Stage, Tone> = { nominate: "dim", prepare: "plain", confirm: "accent", externalize: "good" };
const NONE = "-";
const ORDER: readonly Stage[] = ["nominate", "prepare", "confirm", "externalize"];

const after = (value: number | undefined) => (value === undefined ? NONE : ms(value));

const SLOT_COLUMNS: readonly ViewColumn<SlotView>[] = [
  { title: "SLOT", width: 10, value: (s) => String(s.slot) },
  { title: "BEGAN", width: 8, value: (s) => timeOfDay(s.firstWallMs) },
  { title: "STATE", width: 8, value: slotState, tone: (s) => (s.decided ? "good" : "accent") },
  { title: "NOM", width: 4, align: "right", value: (s) => String(s.reached.nominate) },
  { title: "PREP", width: 4, align: "right", value: (s) => String(s.reached.prepare) },
  { title: "CONF", width: 4, align: "right", value: (s) => String(s.reached.confirm) },
  { title: "EXT", width: 4, align: "right", value: (s) => String(s.reached.externalize), tone: () => "good" },
  {
    title: "MISS",
    width: 4,
    align: "right",
    value: (s) => String(s.missing.length),
    tone: (s) => (s.missing.length > 0 ? "bad" : "dim"),
  },
  { title: "1ST EXT", width: 8, align: "right", value: (s) => (s.replayed ? NONE : after(s.firstMs.externalize)) },
  {
    title: "LAST EXT",
    width: 8,
    align: "right",
    drop: 1,
    value: (s) => (s.replayed ? NONE : after(s.lastMs.externalize)),
  },
  { title: "BY", width: 5, grow: 56, value: (s) => s.firstValidator ?? NONE },
];

function slotState(slot: SlotView): string {
  return slot.replayed ? "replayed" : slot.decided ? "decided" : "open";
}

function stageColumn(stage: Stage, title: string): ViewColumn<SlotRow> {
  const at = (row: SlotRow) => row.progress?.at[stage];
  return { title, width: 10, align: "right", value: (row) => after(at(row)), sort: at };
}

const VALIDATOR_COLUMNS: readonly ViewColumn<SlotRow>[] = [
  { title: "VALIDATOR", width: 12, grow: 56, value: (r) => r.validator },
  {
    title: "STAGE",
    width: 11,
    value: (r) => r.progress?.stage ?? "missing",
    tone: (r) => (r.progress === undefined ? "bad" : STAGE_TONES[r.progress.stage]),
    sort: (r) => (r.progress === undefined ? -1 : ORDER.indexOf(r.progress.stage)),
    descending: true,
  },
  stageColumn("nominate", "NOMINATE"),
  stageColumn("prepare", "PREPARE"),
  stageColumn("confirm", "CONFIRM"),
  stageColumn("externalize", "EXTERNALIZE"),
  {
    title: "COUNT",
    width: 5,
    align: "right",
    value: (r) => String(r.progress?.statements ?? 0),
    sort: (r) => r.progress?.statements ?? 0,
    descending: true,
  },
];
VALIDATOR_COLUMNS[5].width = 11;

/** The columns that the panel sorts by. */
export const SCP_COLUMNS = VALIDATOR_COLUMNS;

/** The panel in so many rows. */
export function scpPanel(data: ViewData, state: ViewState, size: { width: number; height: number }): Listing {
  const { width, height } = size;
  const slots = data.slots;
  if (slots.length === 0) {
    return renderList([], SLOT_COLUMNS, () => "", state.lists.scp, size, "no SCP statements yet");
  }
  const at = Math.max(0, state.slot === undefined ? 0 : slots.findIndex(({ slot }) => slot === state.slot));
  const slot = slots[at];
  const page = Math.max(1, Math.min(slots.length, Math.floor(height / 3)) - 1);
  const from = Math.max(0, Math.min(at - Math.floor(page / 2), slots.length - page));
  const rows = slotTable(slots.slice(from, from + page), slot, width);
  const rule = rows.length;
  rows.push([cell("─".repeat(width), "dim")], cutRow(slotLine(slot), width));
  const all: SlotRow[] = [
    ...slot.validators.map((progress) => ({ validator: progress.validator, progress })),
    ...slot.missing.map((validator) => ({ validator, progress: undefined })),
  ];
  const kept = sortRows(filterRows(all, VALIDATOR_COLUMNS, state.filter), VALIDATOR_COLUMNS, state.lists.scp);
  const listing = renderList(
    kept,
    VALIDATOR_COLUMNS,
    (r) => r.validator,
    state.lists.scp,
    { width, height: height - rows.length },
    "no validator matches the filter",
  );
  const chosen = kept[listing.chosen]?.validator;
  // The column may be too narrow for it.
  if (chosen !== undefined && width >= 64) {
    rows[rule] = [cell("── ", "dim"), cell(chosen, "title"), cell(" " + "─".repeat(width - 4 - chosen.length), "dim")];
  }
  return { ...listing, rows: [...rows, ...listing.rows] };
}

function slotTable(slots: readonly SlotView[], chosen: SlotView, width: number): Row[] {
  const fitted = fitColumns(SLOT_COLUMNS, width);
  const line = (mark: string, of: (column: ViewColumn<SlotView>) => { text: string; tone: Tone }): Row => {
    const row: Row = [cell(mark, "chosen")];
    for (const [i, { column, width }] of fitted.entries()) {
      const { text, tone } = of(column);
      row.push(cell(i === 0 ? "" : " "), cell(fit(text, width, column.align), tone));
    }
    return cutRow(row, width);
  };
  return [
    line(" ", (column) => ({ text: column.title, tone: "title" })),
    ...slots.map((slot) =>
      line(
        slot === chosen ? ">" : " ",
        (column) => ({ text: column.value(slot, column.width), tone: column.tone?.(slot) ?? "plain" }),
      )
    ),
  ];
}

/** The chosen slot in words, with as many missing validators as fit. */
function slotLine(slot: SlotView): Row {
  const row: Row = [cell(`slot ${slot.slot} `, "title"), cell(slotState(slot), slot.decided ? "good" : "accent")];
  const peers = Object.entries(slot.peerLagMs).sort((a, b) => a[1] - b[1]);
  if (slot.missing.length > 0) row.push(cell("  missing ", "bad"), cell(slot.missing.map(shortId).join(" ")));
  if (peers.length > 0) {
    row.push(cell("  told by ", "dim"), cell(peers.map(([peer, lag]) => `${shortId(peer)} +${ms(lag)}`).join(", ")));
  }
  return row;
}
