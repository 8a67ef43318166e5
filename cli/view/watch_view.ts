/**
 * The terminal view of a watch: ink paints what layout.ts lays out, takes the keys, and gives the terminal back. Loaded only when
 * a view opens: ink and react cost more than the rest of the tool's start.
 */
import type { Key as InkKey } from "ink";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import type { WatchModel } from "../../survey/watch/model.ts";
import { paint } from "../render/style.ts";
import type { Row, Tone } from "./cells.ts";
import { collect, type ViewData } from "./collect.ts";
import { layout, type ScreenSize } from "./layout.ts";
import { initialState, type Key, onKey, type PanelName, type Shown, type ViewState } from "./state.ts";

/** The streams of a terminal, both of one. */
export interface Terminal {
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
}

/** Least time between two pictures that nobody asked for by a key, ms. */
export const LEAST_REFRESH_MS = 250;

/** What a view needs. */
export interface WatchViewOptions {
  model: WatchModel;
  clock: Clock;
  terminal: Terminal;
  /** Whether it may colour: `io.outColour`. */
  colour: boolean;
  /** Shown at the top left: the network. */
  title: string;
  /** Ends the view: the tool's Ctrl-C and SIGTERM. */
  signal?: AbortSignal;
  /** Time between pictures, at least and by default {@link LEAST_REFRESH_MS}. */
  refreshMs?: number;
  /** The model's time is the clock's (default); false for a recording, whose records move it. */
  live?: boolean;
}

/** An open view. Disposing it gives the terminal back at once; doing it again does nothing. */
export interface WatchView extends Disposable {
  /** Settles when the terminal is given back: `"quit"` by a key, `"closed"` otherwise. Rejects when drawing failed. */
  readonly closed: Promise<"quit" | "closed">;
}

/** Opens the view on the alternate screen. Nothing else may write to the terminal until it is closed. */
export async function openWatchView(options: WatchViewOptions): Promise<WatchView> {
  const { model, clock, signal } = options;
  const { stdin, stdout } = options.terminal;
  // React's development build is slower, and prints advice.
  process.env.NODE_ENV ??= "production";
  const [{ createElement }, { Box, render, Text, useInput }] = await Promise.all([import("react"), import("ink")]);

  const colour = painter(options.colour);
  const refreshMs = Math.max(LEAST_REFRESH_MS, options.refreshMs ?? 0);
  let state = initialState();
  let shown: Shown = { keys: [], page: 1, columns: 0, slots: [] };
  let data: ViewData | undefined, before: ViewData | undefined, dataOf: PanelName | "all" | undefined;
  let timer: Timer | undefined;
  let isOpen = true;
  const { promise: closed, resolve, reject } = Promise.withResolvers<"quit" | "closed">();

  const size = (): ScreenSize => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 });

  const lines = (): string[] => {
    if (data === undefined || (dataOf !== state.panel && dataOf !== "all")) read();
    const frame = layout(data!, state, size(), options.title);
    shown = frame.shown;
    state = withOffset(state, frame.offset);
    return frame.rows.map(colour);
  };
  const read = (): void => {
    if (options.live !== false) model.tick(clock.nowMs());
    // What is held must be there for every panel.
    dataOf = state.paused ? "all" : state.panel;
    data = collect(model, dataOf, before);
    before = data;
  };

  const onInput = (input: string, key: InkKey): void => {
    for (const pressed of keysOf(input, key)) {
      const next = onKey(state, pressed, shown);
      if (next === "quit") return end("quit");
      if (next.paused !== state.paused) data = undefined;
      state = next;
    }
    draw();
  };
  const Screen = ({ rows }: { rows: string[] }) => {
    useInput(onInput, { isActive: stdin.isTTY === true });
    // An empty text takes no line.
    return createElement(
      Box,
      { flexDirection: "column" },
      ...rows.map((row, at) => createElement(Text, { key: at, wrap: "truncate" }, row === "" ? " " : row)),
    );
  };

  const draw = (): void => guard(() => app.rerender(createElement(Screen, { rows: lines() })));
  const refresh = (): void => {
    if (!isOpen) return;
    timer = clock.setTimer(refreshMs, refresh);
    if (state.paused) return;
    data = undefined;
    draw();
  };
  const end = (how: "quit" | "closed", error?: unknown): void => {
    if (!isOpen) return;
    isOpen = false;
    timer?.cancel();
    stdout.off("resize", draw);
    signal?.removeEventListener("abort", onAbort);
    app.unmount();
    app.cleanup();
    if (error === undefined) resolve(how);
    else reject(error);
  };
  const guard = (act: () => void): void => {
    if (!isOpen) return;
    try {
      act();
    } catch (error) {
      end("closed", error);
    }
  };
  const onAbort = () => end("closed");

  const app = render(createElement(Screen, { rows: lines() }), {
    stdin,
    stdout,
    interactive: true,
    alternateScreen: true,
    exitOnCtrlC: false,
    patchConsole: false,
    incrementalRendering: true,
  });
  stdout.on("resize", draw);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  if (isOpen) timer = clock.setTimer(refreshMs, refresh);
  return { closed, [Symbol.dispose]: () => end("closed") };
}

function withOffset(state: ViewState, offset: number): ViewState {
  const list = state.lists[state.panel];
  return list.offset === offset ? state : { ...state, lists: { ...state.lists, [state.panel]: { ...list, offset } } };
}

/** Colours a row. */
function painter(colour: boolean): (row: Row) => string {
  const c = paint(colour);
  const tones: Record<Tone, (text: string) => string> = {
    plain: (text) => text,
    dim: c.dim,
    good: c.green,
    warn: c.yellow,
    bad: c.red,
    accent: c.cyan,
    title: c.bold,
    chosen: c.bold.cyan,
  };
  return (row) => row.map(({ text, tone }) => (text === "" ? "" : tones[tone](text))).join("");
}

/** The keys of one piece of input; pasted text is one key per character. */
export function keysOf(input: string, key: InkKey): Key[] {
  if (key.ctrl) return input === "c" ? [{ name: "interrupt" }] : [];
  if (key.upArrow) return [{ name: "up" }];
  if (key.downArrow) return [{ name: "down" }];
  if (key.leftArrow) return [{ name: "left" }];
  if (key.rightArrow) return [{ name: "right" }];
  if (key.pageUp) return [{ name: "pageUp" }];
  if (key.pageDown) return [{ name: "pageDown" }];
  if (key.home) return [{ name: "home" }];
  if (key.end) return [{ name: "end" }];
  if (key.return) return [{ name: "enter" }];
  if (key.escape) return [{ name: "escape" }];
  if (key.tab) return [{ name: key.shift ? "backTab" : "tab" }];
  // Terminals send DEL for the backspace key.
  if (key.backspace || key.delete) return [{ name: "backspace" }];
  if (key.meta) return [];
  return [...input].filter((char) => !/\p{C}/u.test(char)).map((char) => ({ char }));
}
