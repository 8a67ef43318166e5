import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { nodeId, viewScene } from "../../tests/kit/watch_view_kit.ts";
import { collect, SPREAD_MS } from "./collect.ts";
import { HELP } from "./help.ts";
import { type Frame, frameText, layout, type ScreenSize } from "./layout.ts";
import { initialState, type ListState, type PanelName, PANELS, type ViewState } from "./state.ts";
import { widthOf } from "./text.ts";

const FRAMES = join(dirname(fileURLToPath(import.meta.url)), "../../tests/cli/watch_view");
const SIZES: readonly ScreenSize[] = [{ columns: 80, rows: 24 }, { columns: 120, rows: 40 }, {
  columns: 200,
  rows: 60,
}];
const SMALL = SIZES[0];

function stateOf(panel: PanelName, list: Partial<ListState> = {}, more: Partial<ViewState> = {}): ViewState {
  const state = initialState();
  return { ...state, ...more, panel, lists: { ...state.lists, [panel]: { ...state.lists[panel], ...list } } };
}

/** A frame holds exactly the terminal. */
function checkSize(frame: Frame, { columns, rows }: ScreenSize): string[] {
  const lines = frame.rows.map((row) => row.map(({ text }) => text).join(""));
  assert.equal(lines.length, rows);
  for (const line of lines) {
    assert.ok(widthOf(line) <= columns, `${widthOf(line)} cells in ${columns}: ${line}`);
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e]/);
  }
  return lines;
}

const frame = (scene: ReturnType<typeof viewScene>, state: ViewState, size: ScreenSize) =>
  layout(collect(scene.model, state.panel), state, size, "testnet");

const city = viewScene({ peers: 6, validators: 20, slots: 5, silent: 2 });

for (const size of SIZES) {
  for (const panel of PANELS) {
    const name = `${panel}_${size.columns}x${size.rows}`;
    test(`layout draws ${name} as recorded`, () => {
      const made = frame(city, stateOf(panel), size);
      checkSize(made, size);
      const path = join(FRAMES, `${name}.txt`);
      // Set to record the frames anew, after looking at them.
      if ((process.env.WRITE_FRAMES ?? "") !== "") writeFileSync(path, frameText(made));
      assert.equal(frameText(made), readFileSync(path, "utf8"));
    });
  }
}

test("layout fills every size without a row too wide, and says when a terminal is too small", () => {
  for (const panel of PANELS) {
    for (let columns = 1; columns <= 210; columns += 7) {
      for (const rows of [1, 9, 10, 13, 24, 61]) {
        checkSize(frame(city, stateOf(panel), { columns, rows }), { columns, rows });
      }
    }
  }
  assert.match(frameText(frame(city, stateOf("peers"), { columns: 39, rows: 24 })), /^needs 40x10\n/);
});

test("layout shows every panel of a watch that has seen nothing", () => {
  const empty = viewScene({ peers: 0, validators: 0, slots: 0 });
  const said = PANELS.map((panel) => checkSize(frame(empty, stateOf(panel), SMALL), SMALL).join("\n"));
  for (
    const [at, text] of ["no peers yet", "no SCP statements yet", "no validator heard yet", "no messages yet"].entries()
  ) {
    assert.ok(said[at].includes(text), said[at]);
  }
  assert.ok(said[4].includes("nothing happened yet"));
});

test("layout shows what peers say of themselves only escaped, and cuts wide characters whole", () => {
  const hostile = viewScene({
    peers: 6,
    validators: 3,
    slots: 2,
    versionStr: "\u001b[2J\u001b]0;owned\u0007\r\n\u202e\u200b日本語のバージョン👩‍👩‍👧‍👦é\u009b31m" + "語".repeat(60),
  });
  for (const size of SIZES) {
    for (const panel of PANELS) {
      const text = checkSize(frame(hostile, stateOf(panel), size), size).join("\n");
      if (panel === "peers" || panel === "events") assert.ok(text.includes("\\x1b[2J"), text);
    }
  }
  const dropped = frame(hostile, stateOf("peers", { cursor: "core4.example.org:11625" }), SMALL);
  assert.match(checkSize(dropped, SMALL).join("\n"), /connect_timeout[^]*\\x1b\[2J/);
});

test("layout scrolls 100 peers so that the chosen one is on the screen", () => {
  const many = viewScene({ peers: 100, validators: 4, slots: 2 });
  const top = frame(many, stateOf("peers"), SMALL);
  assert.equal(top.shown.keys.length, 100);
  assert.equal(top.offset, 0);
  const end = frame(many, stateOf("peers", { cursor: top.shown.keys[99] }), SMALL);
  assert.equal(end.offset, 100 - end.shown.page);
  const lines = checkSize(end, SMALL);
  assert.match(lines[1], /87-100 of 100/);
  assert.ok(lines.some((line) => line.startsWith(">core99.")));
  // Going up one keeps the picture where it is.
  const up = frame(many, stateOf("peers", { cursor: top.shown.keys[98], offset: end.offset }), SMALL);
  assert.equal(up.offset, end.offset);
  // A larger terminal shows more, from no further down than there are rows.
  const large = frame(many, stateOf("peers", { cursor: top.shown.keys[99], offset: end.offset }), SIZES[2]);
  assert.equal(large.offset, 100 - large.shown.page);
});

test("layout lists 200 validators of a slot with the missing ones at the end", () => {
  const many = viewScene({ peers: 2, validators: 200, slots: 3, silent: 7 });
  const made = frame(many, stateOf("scp"), SIZES[1]);
  assert.equal(made.shown.keys.length, 200);
  assert.deepEqual(
    made.shown.keys.slice(-7).toSorted(),
    Array.from({ length: 7 }, (_, at) => nodeId(5000 + at)).toSorted(),
  );
  assert.deepEqual(made.shown.slots, [60002, 60001, 60000]);
  assert.match(checkSize(made, SIZES[1]).join("\n"), />60002 .* 193 +193 +193 +193 +7 /);
  const older = frame(many, stateOf("scp", {}, { slot: 60001 }), SIZES[1]);
  assert.match(checkSize(older, SIZES[1]).join("\n"), />60001 .* 200 +200 +200 +200 +0 /);
  const last = frame(many, stateOf("scp", { cursor: made.shown.keys[199] }), SIZES[1]);
  assert.match(checkSize(last, SIZES[1]).join("\n"), /\n>G\w+ missing /);
});

test("layout sorts by any column, the wanted order first, unknown values last, and turns it round", () => {
  const titles = ["PEER", "STATE", "FOR", "NODE", "RTT"];
  const rtt = titles.indexOf("RTT");
  const order = (list: Partial<ListState>) =>
    frame(city, stateOf("peers", list), SIZES[2]).shown.keys.map((key) => key.slice(4, 5)).join("");
  assert.equal(order({}), "012345");
  assert.equal(order({ reverse: true }), "543210");
  assert.equal(order({ sort: rtt }), "012354");
  assert.equal(order({ sort: rtt, reverse: true }), "532104");
  assert.match(frameText(frame(city, stateOf("peers", { sort: rtt }), SMALL)), /RTT ↑/);
  for (const panel of PANELS) {
    const { columns, keys } = frame(city, stateOf(panel), SMALL).shown;
    for (let sort = 0; sort < columns; sort++) {
      const sorted = frame(city, stateOf(panel, { sort }), SMALL);
      checkSize(sorted, SMALL);
      assert.deepEqual(sorted.shown.keys.toSorted(), keys.toSorted());
    }
  }
});

test("layout filters rows by any text in them, also by what a narrow terminal does not show", () => {
  const keys = (panel: PanelName, filter: string) => frame(city, stateOf(panel, {}, { filter }), SMALL).shown.keys;
  assert.deepEqual(keys("peers", "CORE3"), ["core3.example.org:11625"]);
  assert.deepEqual(keys("peers", "waiting"), ["core4.example.org:11625"]);
  assert.deepEqual(keys("peers", nodeId(1002).slice(10, 30)), ["core2.example.org:11625"]);
  assert.equal(keys("scp", "missing").length, 2);
  assert.deepEqual(keys("messages", "advert"), ["floodAdvert"]);
  assert.equal(keys("events", "dropped").length, 1);
  assert.deepEqual(keys("events", "no such text"), []);
  const text = frameText(frame(city, stateOf("peers", {}, { filter: "\u001b[31mx" }), SMALL));
  assert.match(text, /no peer matches the filter[^]*filter: \\x1b\[31mx {2}Esc clears it/);
});

test("layout says when it is held, what was not shown, and that sync is lost", () => {
  const scene = viewScene({ peers: 1, validators: 1, slots: 1 });
  scene.model.apply({ kind: "missed", records: 12, atMs: 6000, wallMs: 6000 });
  scene.model.apply({ kind: "syncLost", ledgerSeq: 60_000, silentMs: 40_000, atMs: 6000, wallMs: 6000 });
  const lines = checkSize(frame(scene, stateOf("events", {}, { paused: true }), SIZES[1]), SIZES[1]);
  assert.match(lines[0], /^testnet {2}ledger 60000 out of sync {2}1\/1 peers .* 12 not shown .*PAUSED$/);
  assert.match(lines[3], /syncLost +nothing new for 40s since ledger 60000/);
});

test("help fits into 80x24", () => {
  const lines = checkSize(frame(city, stateOf("peers", {}, { help: true }), SMALL), SMALL);
  assert.ok(HELP.length <= SMALL.rows - 3);
  assert.ok(!lines.join("\n").includes("…"));
});

test("collect counts the spreads anew once a second of the model's time", () => {
  const { model } = viewScene({ peers: 2, validators: 3, slots: 2 });
  const first = collect(model, "messages");
  model.propagation.see("scp", "another", nodeId(1000), model.nowMs);
  model.tick(model.nowMs + SPREAD_MS - 1);
  const second = collect(model, "messages", first);
  assert.equal(second.spreads, first.spreads);
  model.tick(model.nowMs + 1);
  const third = collect(model, "messages", second);
  assert.equal(third.spreads[0].spread.distinct, first.spreads[0].spread.distinct + 1);
});
