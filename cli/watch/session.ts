/** A watch from its start to its end: database, peers, lines, pages, summary. */
import type { Clock } from "../../overlay/base/clock.ts";
import type { OverlayConfig } from "../../overlay/base/config.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { Network } from "../../overlay/base/networks.ts";
import { networkLabel } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { nodeHere } from "../processes.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { passes, type WatchFilter } from "../../survey/watch/filter.ts";
import type { RecordQueue } from "../../survey/watch/record_queue.ts";
import { WatchStore } from "../../survey/watch/watch_store.ts";
import { Watcher, type WatchTarget } from "../../survey/watch/watcher.ts";
import { loadMessageJson, type MessageJson } from "../../survey/watch/xdr_json.ts";
import { type CliContext, EXIT, type ExitCode } from "../context.ts";
import { errorText } from "../errors.ts";
import type { HttpDoor } from "../http_door.ts";
import type { OutputQueue } from "../output_queue.ts";
import { lineStyle, summaryLine, summaryTables, watchJson, watchLine, watchSummary } from "../render/watch_lines.ts";
import { every } from "../run/log.ts";
import { NodeObserver } from "../run/observer.ts";

/** What a watch is made of. Times in ms. */
export interface WatchRun {
  network: Network;
  config: OverlayConfig;
  warnings: readonly string[];
  targets: readonly WatchTarget[];
  filter: WatchFilter;
  /** 32-byte Ed25519 seed; a fresh identity when absent. */
  seed: Uint8Array | undefined;
  /** Absent: nothing is kept. */
  databasePath: string | undefined;
  metricsAt: { host: string; port: number } | undefined;
  demand: boolean;
  form: "text" | "json";
  /** Print a line per record. */
  lines: boolean;
  /** Open the view of the whole screen; the context's terminal must be there. */
  view: boolean;
  decode: boolean;
  summary: boolean;
  limitMs: number | undefined;
  limitMessages: number | undefined;
  untilSlot: number | undefined;
  /** Curve25519 secret to use; random when absent. */
  x25519Secret?: Uint8Array;
  /** Hears our node id, 32 bytes, before anybody is dialled. */
  onNodeId?: (nodeId: Uint8Array) => void;
}

/** Time between two saves of what was measured. */
const SAVE_MS = 30_000;
/** Notes kept while the view is open. */
const MAX_NOTES = 100;
/** How long the last lines may take to reach their reader, ms. */
const FLUSH_MS = 2000;

/** Runs it. Throws what keeps it from starting. */
export async function watchPeers(run: WatchRun, ctx: CliContext): Promise<ExitCode> {
  const { clock, io } = ctx;
  for (const warning of run.warnings) io.err(`${warning}\n`);
  const decode = run.decode ? await loadMessageJson() : undefined;
  const database = await openNodeDatabase(run.databasePath ?? ":memory:", {
    networkPassphrase: run.network.passphrase,
  });
  const ending = new Ending(ctx.signal);
  const notes = new Notes(io.err);
  const watcher = new Watcher({
    config: run.config,
    targets: run.targets,
    transport: ctx.transport,
    resolver: ctx.resolver,
    clock,
    random: ctx.random,
    database,
    seed: run.seed,
    x25519Secret: run.x25519Secret,
    demand: run.demand,
    log: (event) => observer.hear(event),
  });
  run.onNodeId?.(watcher.node.local.nodeId);
  const observer = new NodeObserver(watcher.node, clock);
  using _uncaught = ctx.onUncaught((error) => {
    ending.failure ??= error;
    ending.end();
  });
  const out = io.openQueue(clock, (gone) => {
    if (gone.fd !== 1 && gone.code !== "EIO") return;
    ending.readerGone = true;
    ending.end();
  });
  const records = run.lines || run.limitMessages !== undefined
    ? watcher.records({ wants: (record) => passes(run.filter, record) })
    : undefined;
  let door: HttpDoor | undefined;
  try {
    if (run.metricsAt !== undefined) door = await openPages(run.metricsAt, watcher, observer, clock, notes.say);
    await watcher.start();
  } catch (error) {
    await door?.close();
    await watcher.stop();
    throw error;
  }
  const store = run.databasePath === undefined ? undefined : saving(
    () =>
      new WatchStore(database, {
        startedAt: clock.wallMs(),
        options: { targets: run.targets.map(({ text }) => text), demand: run.demand },
      }),
    notes.say,
  );
  if (!run.lines && !run.view && io.errIsTerminal) {
    io.err(`watching ${run.targets.length} peers of ${networkLabel(run.network)}; Ctrl-C ends it\n`);
  }

  const stopListening = watcher.listen((record) => {
    if (run.untilSlot === undefined || (record.kind !== "ledger" && record.kind !== "syncGained")) return;
    if (record.ledgerSeq >= run.untilSlot) ending.end();
  });
  const limit = run.limitMs === undefined ? undefined : clock.setTimer(run.limitMs, () => ending.end());
  {
    using _second = every(clock, 1000, () => observer.measure());
    using _save = every(clock, SAVE_MS, () => store?.save(watcher));
    const { nodeIdText: nodeId } = watcher.node.local;
    using _here = nodeHere(database, { nodeId, command: "watch", startedAt: clock.wallMs() }, (error) => {
      notes.say(`the database does not say that a watch runs with it: ${error}\n`);
    });
    void ending.ended.then(() => records?.close());
    using _view = run.view ? await openView(run, { watcher, notes, ending, ctx }) : undefined;
    if (records !== undefined) await show(records, run, { watcher, decode, out, ending, ctx });
    await ending.ended;
  }
  limit?.cancel();
  stopListening();

  watcher.model.tick(clock.nowMs());
  store?.save(watcher);
  const wanted = new Map(run.targets.map(({ text, nodeId }) => [text, nodeId]));
  const reached =
    watcher.model.peers().filter(({ target, connections, nodeId }) =>
      connections > 0 && (wanted.get(target) ?? nodeId) === nodeId
    ).length;
  // Before the goodbyes, which change the picture.
  const text = !run.summary
    ? ""
    : run.form === "json"
    ? summaryLine(watcher.model, clock.wallMs())
    : (run.lines ? "\n" : "") + summaryTables(watcher.model, io);
  await Promise.all([quietly(watcher.stop()), door?.close()]);
  if (!ending.readerGone) await print(out, text);
  await out.flush(FLUSH_MS);
  const { failure } = ending;
  if (failure instanceof OverlayError) {
    io.err(errorText(failure));
    return EXIT.failed;
  }
  if (failure !== undefined) throw failure;
  if (ending.readerGone) return EXIT.ok;
  return reached === 0 ? EXIT.failed : reached < run.targets.length ? EXIT.partial : EXIT.ok;
}

/** What ends a watch. */
class Ending {
  failure: unknown;
  readerGone = false;
  over = false;
  readonly ended: Promise<void>;
  #resolve!: () => void;

  constructor(signal: AbortSignal) {
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
    if (signal.aborted) this.end();
    signal.addEventListener("abort", () => this.end(), { once: true });
  }

  end(): void {
    this.over = true;
    this.#resolve();
  }
}

/** The view of the whole screen. What ends it ends the watch, and the other way round. */
async function openView(
  run: WatchRun,
  parts: { watcher: Watcher; notes: Notes; ending: Ending; ctx: CliContext },
): Promise<Disposable> {
  const { watcher, notes, ending, ctx } = parts;
  const { openWatchView } = await import("../view/watch_view.ts");
  const view = await openWatchView({
    model: watcher.model,
    clock: ctx.clock,
    terminal: ctx.io.terminal!,
    colour: ctx.io.outColour,
    title: networkLabel(run.network),
    signal: ctx.signal,
  });
  notes.hold();
  view.closed.then(() => ending.end(), (error) => {
    ending.failure ??= error;
    ending.end();
  });
  return {
    [Symbol.dispose]: () => {
      view[Symbol.dispose]();
      notes.tell();
    },
  };
}

/** What is said on stderr; while the view has the terminal it waits. BOUNDED: {@link MAX_NOTES}, the newest. */
class Notes {
  readonly #err: (text: string) => void;
  #held: string[] | undefined;

  constructor(err: (text: string) => void) {
    this.#err = err;
  }

  readonly say = (text: string): void => {
    if (this.#held === undefined) return this.#err(text);
    if (this.#held.length >= MAX_NOTES) this.#held.shift();
    this.#held.push(text);
  };

  hold(): void {
    this.#held ??= [];
  }

  tell(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const text of held) this.#err(text);
  }
}

/** Prints records until there are no more. */
async function show(
  records: RecordQueue,
  run: WatchRun,
  parts: { watcher: Watcher; decode: MessageJson | undefined; out: OutputQueue; ending: Ending; ctx: CliContext },
): Promise<void> {
  const { watcher, decode, out, ending, ctx } = parts;
  const style = lineStyle(ctx.io);
  let messages = 0;
  for await (const record of records) {
    if (ending.readerGone || ctx.signal.aborted) break;
    const isMessage = record.kind === "message";
    if (run.lines) {
      const body = isMessage ? decode?.(record.message.bytes) : undefined;
      const text = run.form === "json"
        ? watchJson(record, watcher.model.startedMs, body)
        : watchLine(record, style, body);
      await print(out, text);
    }
    if (isMessage && ++messages === run.limitMessages) {
      ending.end();
      break;
    }
  }
}

/** Writes a text; a reader that is slow is waited for, and meanwhile the records wait in their queue. */
async function print(out: OutputQueue, text: string): Promise<void> {
  if (text === "") return;
  while (!out.write(1, text)) {
    out.takeLost();
    if (out.hasRoom) return;
    await out.flush(FLUSH_MS);
  }
}

interface Saver {
  save(watcher: Watcher): void;
}

/** A store whose failure is told once and ends nothing. */
function saving(open: () => WatchStore, err: (text: string) => void): Saver | undefined {
  let failed = false;
  const guard = <T>(act: () => T): T | undefined => {
    try {
      if (!failed) return act();
    } catch (error) {
      if (!(error instanceof OverlayError) || error.failure.code !== "db_failed") throw error;
      failed = true;
      err(`${errorText(error)}  the watch goes on; what it measures is not kept\n`);
    }
    return undefined;
  };
  const store = guard(open);
  return store && { save: (watcher) => guard(() => store.save(watcher.model)) };
}

/** A database that failed may fail to close too; that is no reason to lose the summary. */
async function quietly(stopping: Promise<void>): Promise<void> {
  try {
    await stopping;
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
  }
}

async function openPages(
  at: { host: string; port: number },
  watcher: Watcher,
  observer: NodeObserver,
  clock: Clock,
  err: (text: string) => void,
): Promise<HttpDoor> {
  const [{ openHttpDoor }, { answerWith, jsonPage }, { nodePages }] = await Promise.all([
    import("../http_door.ts"),
    import("../pages.ts"),
    import("../run/pages.ts"),
  ]);
  const pages = {
    ...nodePages(watcher.node, observer, clock),
    "/watch": {
      title: "peers, slots, rates and propagation so far (the summary of stellar-overlay/watch/1)",
      make: () => jsonPage(watchSummary(watcher.model, clock.wallMs())),
    },
  };
  const door = await openHttpDoor(at, answerWith(pages), {
    clock,
    onError: (error) => err(`a page could not be made: ${error}\n`),
  });
  err(`metrics at http://${formatAddress(door.address)}/\n`);
  return door;
}
