import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { viewScene } from "../../tests/kit/watch_view_kit.ts";
import { collect } from "./collect.ts";
import { frameText, layout, type ScreenSize } from "./layout.ts";
import { initialState, type ViewState } from "./state.ts";
import { openWatchView, type Terminal, type WatchView, type WatchViewOptions } from "./watch_view.ts";

/** A terminal: keeps what it is sent, and shows it as one would that has no wide characters. */
class FakeTerminal {
  text = "";
  raw = false;
  #lines: string[] = [""];
  #row = 0;
  #column = 0;
  readonly stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 });
  readonly stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (raw: boolean) => void (this.raw = raw),
    ref: () => {},
    unref: () => {},
  });

  constructor() {
    this.stdout.setEncoding("utf8").on("data", (text: string) => this.#show(text));
  }

  get streams(): Terminal {
    return this as unknown as Terminal;
  }

  /** What stands on the screen. */
  get screen(): string {
    return this.#lines.map((line) => line.trimEnd() + "\n").join("");
  }

  /** Waits until the screen shows `wanted`. */
  async sees(wanted: RegExp): Promise<string> {
    for (let turn = 0; !wanted.test(this.screen); turn++) {
      assert.ok(turn < 5000, `never saw ${wanted} in\n${this.screen}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return this.screen;
  }

  #show(text: string): void {
    this.text += text;
    for (const [piece, digits, letter] of text.matchAll(/\u001b\[[?]?([\d;]*)([A-Za-z])|[^]/g)) {
      const by = Number(digits || 1);
      if (letter === "A") this.#row = Math.max(0, this.#row - by);
      else if (letter === "B") this.#row += by;
      else if (letter === "E") [this.#row, this.#column] = [this.#row + by, 0];
      else if (letter === "G") this.#column = by - 1;
      else if (letter === "H") this.#row = this.#column = 0;
      else if (letter === "K") this.#lines[this.#row] = digits === "2" ? "" : this.#line().slice(0, this.#column);
      else if (letter === "J") this.#lines = digits === "2" ? [""] : this.#lines.slice(0, this.#row + 1);
      else if (letter !== undefined) assert.match(letter, /[hlm]/, `unknown escape ${JSON.stringify(piece)}`);
      else if (piece === "\n") [this.#row, this.#column] = [this.#row + 1, 0];
      else {
        const line = this.#line();
        this.#lines[this.#row] = line.slice(0, this.#column) + piece + line.slice(this.#column + 1);
        this.#column++;
      }
    }
    while (this.#lines.length <= this.#row) this.#lines.push("");
  }

  /** The line of the cursor, at least as long as it stands. */
  #line(): string {
    while (this.#lines.length <= this.#row) this.#lines.push("");
    return this.#lines[this.#row].padEnd(this.#column);
  }

  resize(columns: number, rows: number): void {
    Object.assign(this.stdout, { columns, rows });
    this.stdout.emit("resize");
  }
}

const ENTER = "\u001b[?1049h", LEAVE = "\u001b[?1049l", SHOW_CURSOR = "\u001b[?25h";

async function open(
  more: Partial<WatchViewOptions> = {},
): Promise<{ terminal: FakeTerminal; view: WatchView; scene: ReturnType<typeof viewScene>; clock: VirtualClock }> {
  const terminal = new FakeTerminal(), clock = new VirtualClock();
  const scene = viewScene({ peers: 6, validators: 20, slots: 5, silent: 2 });
  const view = await openWatchView({
    model: scene.model,
    clock,
    terminal: terminal.streams,
    colour: false,
    title: "testnet",
    live: false,
    ...more,
  });
  return { terminal, view, scene, clock };
}

/** The frame that layout makes. */
function textOf({ model }: ReturnType<typeof viewScene>, state: ViewState, size: ScreenSize): string {
  return frameText(layout(collect(model, state.panel), state, size, "testnet"));
}

/** The terminal is as it was. */
function restored({ text, raw }: FakeTerminal): void {
  assert.ok(text.includes(LEAVE) && text.includes(SHOW_CURSOR), JSON.stringify(text));
  assert.ok(text.lastIndexOf(LEAVE) > text.lastIndexOf(ENTER));
  assert.equal(raw, false);
}

test("openWatchView draws on the alternate screen, obeys keys, and gives the terminal back at q", async () => {
  const { terminal, view, scene, clock } = await open();
  await terminal.sees(/\[1 Peers\][^]*core0\.example\.org[^]*q quit/);
  assert.ok(terminal.text.startsWith(ENTER));
  assert.equal(terminal.screen, textOf(scene, initialState(), { columns: 80, rows: 24 }));
  assert.equal(terminal.raw, true);
  terminal.stdin.write("\t");
  await terminal.sees(/\[2 SCP\][^]*slot 60004 decided/);
  terminal.stdin.write("\u001b[D");
  await terminal.sees(/slot 60003 decided/);
  terminal.stdin.write("/miss");
  await terminal.sees(/filter: miss_/);
  terminal.stdin.write("\r");
  await terminal.sees(/filter: miss {2}Esc clears it/);
  terminal.stdin.write("?");
  await terminal.sees(/end the watch/);
  terminal.stdin.write("q");
  assert.equal(await view.closed, "quit");
  restored(terminal);
  // No colour when told: no SGR at all.
  assert.doesNotMatch(terminal.text, /\u001b\[[\d;]*m/);
  assert.equal(clock.waiting, 0);
  assert.equal(terminal.stdout.listenerCount("resize"), 0);
  // Again does nothing.
  view[Symbol.dispose]();
});

test("openWatchView lays out anew when the terminal changes its size, and follows the model by the clock unless held", async () => {
  const { terminal, view, scene, clock } = await open();
  await terminal.sees(/q quit/);
  terminal.resize(120, 40);
  // Columns that did not fit before.
  await terminal.sees(/BYTES\/S/);
  assert.equal(terminal.screen, textOf(scene, initialState(), { columns: 120, rows: 40 }));
  terminal.resize(80, 24);
  await terminal.sees(/MSG\/S {2}DUP FIRST[^]*q quit[^\n]*\n$/);
  assert.equal(terminal.screen, textOf(scene, initialState(), { columns: 80, rows: 24 }));
  const event = (address: string) =>
    scene.model.apply({ kind: "dialing", target: address, address, attempt: 1, atMs: 26_000, wallMs: 0 });
  event("192.0.2.250:1");
  await clock.advance(250);
  await terminal.sees(/192\.0\.2\.250:1 /);
  terminal.stdin.write("p");
  await terminal.sees(/PAUSED/);
  event("192.0.2.251:1");
  await clock.advance(1000);
  terminal.stdin.write("5");
  // The panel is another one, the moment is not.
  const held = await terminal.sees(/\[5 Events\][^]*192\.0\.2\.250:1, attempt/);
  assert.ok(!held.includes("192.0.2.251:1"));
  terminal.stdin.write("p");
  await terminal.sees(/192\.0\.2\.251:1, attempt/);
  view[Symbol.dispose]();
  assert.equal(await view.closed, "closed");
  restored(terminal);
});

test("openWatchView colours when it may, and ends with Ctrl-C, with the signal, and with an error", async () => {
  const coloured = await open({ colour: true });
  await coloured.terminal.sees(/q quit/);
  assert.match(coloured.terminal.text, /\u001b\[32mconnected/);
  coloured.terminal.stdin.write("\u0003");
  assert.equal(await coloured.view.closed, "quit");
  restored(coloured.terminal);

  const stop = new AbortController();
  const stopped = await open({ signal: stop.signal });
  await stopped.terminal.sees(/q quit/);
  stop.abort();
  assert.equal(await stopped.view.closed, "closed");
  restored(stopped.terminal);

  const broken = await open();
  await broken.terminal.sees(/q quit/);
  broken.scene.model.peers = () => {
    throw new Error("no peers today");
  };
  const failed = assert.rejects(broken.view.closed, /no peers today/);
  await broken.clock.advance(250);
  await failed;
  restored(broken.terminal);
  assert.equal(broken.clock.waiting, 0);
});
