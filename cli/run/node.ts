/** A node from its start to its end: database, log, pages, signals. The engine does the rest. */
import { toHex } from "../../overlay/base/bytes.ts";
import type { Clock } from "../../overlay/base/clock.ts";
import type { OverlayConfig } from "../../overlay/base/config.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { type Network, networkLabel } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { VERSION } from "../../overlay/base/version.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { loadTransactionCheck } from "../../overlay/flood/transaction_check.ts";
import { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { type CliContext, EXIT, type ExitCode } from "../context.ts";
import type { HttpDoor } from "../http_door.ts";
import { nodeHere } from "../processes.ts";
import type { CommandEvent, Level } from "./events.ts";
import type { Identity } from "./identity.ts";
import { every, RunLog } from "./log.ts";
import { NodeObserver } from "./observer.ts";
import { startWarnings } from "./settings.ts";

/** What a run is made of. Times in ms. */
export interface NodeRun {
  network: Network;
  config: OverlayConfig;
  warnings: readonly string[];
  identity: Identity;
  /** Absent: nothing is kept. */
  databasePath: string | undefined;
  /** Where to serve pages. */
  metricsAt: { host: string; port: number } | undefined;
  log: { format: "text" | "json"; level: Level };
  /** Between two status lines in the log; 0: none. */
  statusMs: number;
  /** Length of the run; absent: until it is interrupted. */
  limitMs: number | undefined;
  /** Curve25519 secret to use; random when absent. */
  x25519Secret?: Uint8Array;
  /** Hears our node id, 32 bytes, before the node starts. */
  onNodeId?: (nodeId: Uint8Array) => void;
}

/** Period of the rate, of the terminal's status line, and of notices about lines left out. */
const SECOND_MS = 1000;

/** Runs the node. Throws what keeps it from starting; later failures are logged and end it in order with status 1. */
export async function runNode(run: NodeRun, ctx: CliContext): Promise<ExitCode> {
  const { clock } = ctx;
  const { network, config } = run;
  const database = await openNodeDatabase(run.databasePath ?? ":memory:", { networkPassphrase: network.passphrase });
  const ending = new Ending(ctx.signal);
  const log = new RunLog(ctx.io, clock, run.log, () => ending.end("nobody reads the log any more"));
  // Only who may pass transactions on needs the check; it takes a moment to load.
  const acceptTransaction = config.isValidator ? await loadTransactionCheck() : undefined;
  const node = new OverlayManager({
    config,
    acceptTransaction,
    transport: ctx.transport,
    resolver: ctx.resolver,
    clock,
    random: ctx.random,
    database,
    seed: run.identity.seed,
    x25519Secret: run.x25519Secret,
    log: (event) => {
      observer.hear(event);
      log.log(event);
    },
  });
  run.onNodeId?.(node.local.nodeId);
  const observer = new NodeObserver(node, clock);
  // What a timer or a socket of the engine throws, such as a database that fails, ends the node in order.
  using _uncaught = ctx.onUncaught((error) => {
    ending.failure ??= error;
    ending.end("something failed");
  });
  using _hangup = ctx.onHangup(() => {
    const changed = node.rereadBans();
    log.log({ event: "bansReread", bans: node.banManager.list().length, changed });
  });

  let door: HttpDoor | undefined;
  try {
    const addresses = node.peerManager.count();
    log.log(startingEvent(run, node, addresses));
    for (const text of [...run.warnings, ...startWarnings(config, run.identity, addresses)]) {
      log.log({ event: "warning", text });
    }
    if (run.metricsAt !== undefined) {
      door = await openPages(run.metricsAt, node, observer, log, clock);
      log.log({ event: "metrics", url: `http://${formatAddress(door.address)}/` });
    }
    await node.start();
  } catch (error) {
    await Promise.all([log.close(), door?.close()]);
    database.close();
    throw error;
  }

  const { nodeIdText: nodeId } = node.local;
  const here = nodeHere(database, { nodeId, command: "run", startedAt: clock.wallMs() }, (error) => {
    log.log({ event: "warning", text: `the database does not say that this node runs with it: ${error}` });
  });
  const reason = await work(run, ctx, { ending, log, observer });
  here[Symbol.dispose]();
  const { failure } = ending;
  if (failure !== undefined) log.log(failedEvent(failure));
  if (reason === "nobody reads the log any more") log.say(`${reason} (stdout is closed): stopping\n`);
  log.log({ event: "ending", reason });
  try {
    await Promise.all([node.stop(), door?.close()]);
  } catch (error) {
    if (failure === undefined) throw error;
    // The database that failed may fail to close too.
  }
  const { authenticatedOutbound, authenticatedInbound } = observer;
  log.log({ event: "stopped", reason, authenticatedOutbound, authenticatedInbound, ...observer.status() });
  await log.close();
  if (failure === undefined) return EXIT.ok;
  // A bug's stack belongs on stderr, whatever form the log has.
  if (!(failure instanceof OverlayError)) throw failure;
  return EXIT.failed;
}

/** What ends a run: the first reason counts. */
class Ending {
  failure: unknown;
  readonly reason: Promise<string>;
  #resolve!: (reason: string) => void;

  constructor(signal: AbortSignal) {
    this.reason = new Promise((resolve) => (this.#resolve = resolve));
    if (signal.aborted) this.end("interrupted");
    signal.addEventListener("abort", () => this.end("interrupted"), { once: true });
  }

  end(reason: string): void {
    this.#resolve(reason);
  }
}

/** The middle of a run: everything periodic, until it ends. Returns why. */
async function work(
  run: NodeRun,
  { clock }: CliContext,
  parts: { ending: Ending; log: RunLog; observer: NodeObserver },
): Promise<string> {
  const { ending, log, observer } = parts;
  using _second = every(clock, SECOND_MS, () => {
    observer.measure();
    log.tick();
    log.show(observer.status());
  });
  using _minute = run.statusMs === 0
    ? undefined
    : every(clock, run.statusMs, () => log.log({ event: "status", ...observer.status() }));
  const limit = run.limitMs === undefined
    ? undefined
    : clock.setTimer(run.limitMs, () => ending.end("the time of --for is over"));
  const reason = await ending.reason;
  limit?.cancel();
  return reason;
}

async function openPages(
  at: { host: string; port: number },
  node: OverlayManager,
  observer: NodeObserver,
  log: RunLog,
  clock: Clock,
): Promise<HttpDoor> {
  const [{ openHttpDoor }, { answerWith }, { nodePages }] = await Promise.all([
    import("../http_door.ts"),
    import("../pages.ts"),
    import("./pages.ts"),
  ]);
  const onError = (error: unknown) => log.log({ event: "warning", text: `a page could not be made: ${error}` });
  return await openHttpDoor(at, answerWith(nodePages(node, observer, clock)), { clock, onError });
}

function startingEvent(run: NodeRun, node: OverlayManager, addresses: number): CommandEvent {
  const { config, identity } = run;
  return {
    event: "starting",
    version: VERSION,
    network: networkLabel(run.network),
    networkId: toHex(node.local.networkId),
    nodeId: node.local.nodeIdText,
    identity: identity.origin,
    identityFile: identity.path ?? null,
    mode: config.isValidator ? "validator" : "watcher",
    listen: config.noListen ? null : formatAddress({ host: config.listeningHost, port: config.listeningPort }),
    announcedPort: node.local.listeningPort,
    dials: !config.noDial,
    targetPeers: config.targetPeerConnections,
    maxInbound: config.maxAdditionalPeerConnections,
    knownPeers: config.knownPeers.map(formatAddress),
    preferredPeers: config.preferredPeers.map(formatAddress),
    database: run.databasePath ?? null,
    addresses,
    bans: node.banManager.list().length,
  };
}

function failedEvent(error: unknown): CommandEvent {
  if (!(error instanceof OverlayError)) return { event: "failed", code: null, detail: String(error), hint: null };
  const { code, hint } = error;
  return { event: "failed", code, detail: describeFailure(error.failure), hint: hint === "" ? null : hint };
}
