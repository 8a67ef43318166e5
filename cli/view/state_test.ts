import assert from "node:assert/strict";
import { test } from "node:test";
import { initialState, type Key, MAX_FILTER, onKey, type Shown, type ViewState } from "./state.ts";

const SHOWN: Shown = { keys: ["a", "b", "c", "d", "e"], page: 2, columns: 2, slots: [12, 11, 10] };

function press(state: ViewState, ...keys: (string | Key)[]): ViewState {
  for (const key of keys) {
    const next = onKey(state, typeof key === "string" ? { char: key } : key, SHOWN);
    assert.ok(next !== "quit");
    state = next;
  }
  return state;
}
const named = (name: Extract<Key, { name: string }>["name"]) => ({ name }) as Key;

test("onKey ends the view with q and Ctrl-C; while typing q is a letter", () => {
  assert.equal(onKey(initialState(), { char: "q" }, SHOWN), "quit");
  assert.equal(onKey(initialState(), { name: "interrupt" }, SHOWN), "quit");
  const typing = press(initialState(), "/", "q");
  assert.equal(typing.filter, "q");
  assert.equal(onKey(typing, { name: "interrupt" }, SHOWN), "quit");
});

test("onKey changes panels by number and in turn, round both ends", () => {
  assert.equal(press(initialState(), "4").panel, "messages");
  assert.equal(press(initialState(), "6").panel, "peers");
  assert.equal(press(initialState(), named("tab")).panel, "scp");
  assert.equal(press(initialState(), named("backTab")).panel, "events");
  assert.equal(press(initialState(), "5", named("tab")).panel, "peers");
});

test("onKey moves in the list, stops at its ends, and at the top follows what comes", () => {
  const cursor = (...keys: (string | Key)[]) => press(initialState(), ...keys).lists.peers.cursor;
  assert.equal(cursor(named("down")), "b");
  assert.equal(cursor("j", "j", "k"), "b");
  assert.equal(cursor(named("down"), named("up")), undefined);
  assert.equal(cursor(named("pageDown"), named("pageDown"), named("pageDown")), "e");
  assert.equal(cursor("G"), "e");
  assert.equal(cursor("G", named("home")), undefined);
  // The chosen row has gone: the next step begins at the top.
  const gone = { ...initialState() };
  gone.lists.peers.cursor = "x";
  assert.equal(press(gone, "j").lists.peers.cursor, "b");
});

test("onKey sorts by each column in turn and then as before, each panel for itself", () => {
  const sorts = [1, 2, 3].map((times) => press(initialState(), ...Array(times).fill("s")).lists.peers.sort);
  assert.deepEqual(sorts, [0, 1, undefined]);
  assert.equal(press(initialState(), "S").lists.peers.sort, 1);
  const state = press(initialState(), "s", "r", "2");
  assert.deepEqual([state.lists.peers.sort, state.lists.peers.reverse], [0, true]);
  assert.deepEqual([state.lists.scp.sort, state.lists.scp.reverse], [undefined, false]);
});

test("onKey types a filter: Enter keeps it, Escape drops it, Backspace takes a character", () => {
  const typed = press(initialState(), "/", "a", "é", "👍", named("backspace"));
  assert.deepEqual([typed.filter, typed.typing], ["aé", true]);
  assert.deepEqual(press(typed, named("enter")).filter, "aé");
  assert.equal(press(typed, named("enter"), named("escape")).filter, "");
  assert.deepEqual(press(typed, named("escape")), { ...initialState() });
  assert.equal(press(initialState(), "/", ..."x".repeat(MAX_FILTER + 5)).filter.length, MAX_FILTER);
});

test("onKey chooses slots in the SCP panel alone; the newest is followed", () => {
  assert.equal(press(initialState(), named("left")).slot, undefined);
  assert.equal(press(initialState(), "2", named("left")).slot, 11);
  assert.equal(press(initialState(), "2", "h", "h", "h", "h").slot, 10);
  assert.equal(press(initialState(), "2", "h", "l").slot, undefined);
});

test("onKey holds the picture, and shows help until the next question mark", () => {
  assert.equal(press(initialState(), "p").paused, true);
  assert.equal(press(initialState(), "p", " ").paused, false);
  assert.equal(press(initialState(), "?").help, true);
  assert.equal(press(initialState(), "?", "s").lists.peers.sort, undefined);
  assert.equal(press(initialState(), "?", named("escape")).help, false);
});
