/** What the user chose in the view, and what each key does to it. Pure. */

/** The panels, in the order of their keys 1 to 5. */
export const PANELS = ["peers", "scp", "validators", "messages", "events"] as const;
/** One of {@link PANELS}. */
export type PanelName = typeof PANELS[number];

/** Longest filter, characters. */
export const MAX_FILTER = 60;

/** The list of one panel: how it is sorted, and where the user is in it. */
export interface ListState {
  /** Index of the column sorted by; undefined: the panel's own order. */
  sort: number | undefined;
  reverse: boolean;
  /** Key of the chosen row; undefined: the first, whichever that is. */
  cursor: string | undefined;
  /** First row shown. */
  offset: number;
}

/** Everything the user chose. */
export interface ViewState {
  panel: PanelName;
  lists: Record<PanelName, ListState>;
  /** Rows hold this text; empty: all rows. */
  filter: string;
  /** The filter is being typed. */
  typing: boolean;
  paused: boolean;
  help: boolean;
  /** The slot shown in the SCP panel; undefined: the newest. */
  slot: number | undefined;
}

/** The state at the start. */
export function initialState(): ViewState {
  const list = (): ListState => ({ sort: undefined, reverse: false, cursor: undefined, offset: 0 });
  const lists = { peers: list(), scp: list(), validators: list(), messages: list(), events: list() };
  return { panel: "peers", lists, filter: "", typing: false, paused: false, help: false, slot: undefined };
}

/** A key: a character, or the name of one without. */
export type Key =
  | { char: string }
  | { name: "up" | "down" | "left" | "right" | "pageUp" | "pageDown" | "home" | "end" }
  | { name: "enter" | "escape" | "tab" | "backTab" | "backspace" | "interrupt" };

/** What the last frame showed of the current panel, for keys that move in it. */
export interface Shown {
  /** Keys of the rows, all of them, in order. */
  keys: readonly string[];
  /** Rows on one screen. */
  page: number;
  /** Columns to sort by. */
  columns: number;
  /** Slots, highest first. */
  slots: readonly number[];
}

/** The state after a key; `"quit"` ends the view. */
export function onKey(state: ViewState, key: Key, shown: Shown): ViewState | "quit" {
  if ("name" in key && key.name === "interrupt") return "quit";
  if (state.typing) return onTyping(state, key);
  if ("char" in key) return onChar(state, key.char, shown);
  if (state.help) return key.name === "escape" || key.name === "enter" ? { ...state, help: false } : state;
  switch (key.name) {
    case "tab":
      return toPanel(state, PANELS.indexOf(state.panel) + 1);
    case "backTab":
      return toPanel(state, PANELS.indexOf(state.panel) - 1);
    case "up":
      return move(state, shown, -1);
    case "down":
      return move(state, shown, 1);
    case "pageUp":
      return move(state, shown, -shown.page);
    case "pageDown":
      return move(state, shown, shown.page);
    case "home":
      return withList(state, { cursor: undefined });
    case "end":
      return withList(state, { cursor: shown.keys.at(-1) });
    case "left":
    case "right":
      return state.panel === "scp" ? moveSlot(state, shown.slots, key.name === "left" ? 1 : -1) : state;
    case "escape":
      return { ...withList(state, { cursor: undefined }), filter: "", slot: undefined };
    default:
      return state;
  }
}

function onTyping(state: ViewState, key: Key): ViewState {
  if ("char" in key) return { ...state, filter: (state.filter + key.char).slice(0, MAX_FILTER) };
  switch (key.name) {
    case "enter":
      return { ...state, typing: false };
    case "escape":
      return { ...state, typing: false, filter: "" };
    case "backspace":
      return { ...state, filter: [...state.filter].slice(0, -1).join("") };
    default:
      return state;
  }
}

function onChar(state: ViewState, char: string, shown: Shown): ViewState | "quit" {
  if (char === "q") return "quit";
  if (char === "?") return { ...state, help: !state.help };
  if (char >= "1" && char <= String(PANELS.length)) return toPanel(state, Number(char) - 1);
  if (state.help) return state;
  const list = state.lists[state.panel];
  switch (char) {
    case "/":
      return { ...state, typing: true };
    case "p":
    case " ":
      return { ...state, paused: !state.paused };
    case "s":
      return withList(state, { sort: nextSort(list.sort, shown.columns, 1), reverse: false });
    case "S":
      return withList(state, { sort: nextSort(list.sort, shown.columns, -1), reverse: false });
    case "r":
      return withList(state, { reverse: !list.reverse });
    case "k":
      return move(state, shown, -1);
    case "j":
      return move(state, shown, 1);
    case "g":
      return withList(state, { cursor: undefined });
    case "G":
      return withList(state, { cursor: shown.keys.at(-1) });
    case "h":
      return onKey(state, { name: "left" }, shown);
    case "l":
      return onKey(state, { name: "right" }, shown);
    default:
      return state;
  }
}

function withList(state: ViewState, change: Partial<ListState>): ViewState {
  return { ...state, lists: { ...state.lists, [state.panel]: { ...state.lists[state.panel], ...change } } };
}

function toPanel(state: ViewState, index: number): ViewState {
  return { ...state, help: false, panel: PANELS[(index + PANELS.length) % PANELS.length] };
}

/** The columns in turn, and between the last and the first the panel's own order. */
function nextSort(sort: number | undefined, columns: number, step: 1 | -1): number | undefined {
  const at = ((sort ?? -1) + 1 + step + columns + 1) % (columns + 1);
  return at === 0 ? undefined : at - 1;
}

function move(state: ViewState, shown: Shown, by: number): ViewState {
  const { keys } = shown, list = state.lists[state.panel];
  if (keys.length === 0) return state;
  const from = list.cursor === undefined ? 0 : Math.max(0, keys.indexOf(list.cursor));
  const to = Math.min(keys.length - 1, Math.max(0, from + by));
  // The first row is not held on to: the list goes on following what comes to its top.
  return withList(state, { cursor: to === 0 ? undefined : keys[to] });
}

function moveSlot(state: ViewState, slots: readonly number[], by: 1 | -1): ViewState {
  if (slots.length === 0) return state;
  const from = state.slot === undefined ? 0 : Math.max(0, slots.indexOf(state.slot));
  const to = Math.min(slots.length - 1, Math.max(0, from + by));
  return { ...state, slot: to === 0 ? undefined : slots[to] };
}
