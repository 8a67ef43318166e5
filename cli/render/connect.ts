/** What `connect` shows: stages as they happen, a block per target or a table of many, and the JSON document. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { messageEnumName } from "../../overlay/wire/messages.ts";
import type { ConnectObserver, ConnectResult } from "../../survey/probe/connect.ts";
import type { Io } from "../context.ts";
import type { Progress } from "../progress.ts";
import { toJson } from "./json.ts";
import { bytes, count, ms, paint, paintState, wrap } from "./style.ts";
import { renderTable } from "./table.ts";

/** Targets that get a block of their own; more make a table. */
const MAX_BLOCKS = 3;
const STAGES = ["dns", "tcp", "hello", "auth", "peers", "grant", "scp"] as const;

/** Shows on stderr how far a target is, and the traffic of one that stays. */
export function stageObserver(
  target: string,
  single: boolean,
  stay: boolean,
  progress: Progress,
  clock: Clock,
): ConnectObserver {
  if (!single && !stay) return {};
  const counts = new Map<string, number>();
  let since = 0, total = 0;
  let timer: Timer | undefined;
  const report = () => {
    const types = [...counts].sort((a, b) => b[1] - a[1]).map(([type, n]) => `${n} ${type}`).join(", ");
    progress.log(
      `${new Date(clock.wallMs()).toISOString()} ${target}: ${count(since, "message")}${
        types === "" ? "" : ` (${types})`
      }, ${bytes(total)} in all`,
    );
    counts.clear();
    since = 0;
    timer = clock.setTimer(5000, report);
  };
  return {
    onTry: (address, network) => progress.show(() => `${target}: dialing ${address} (${network.name})`),
    onResolved: (addresses, elapsed) => progress.show(() => `${target}: ${addresses[0]} (dns ${ms(elapsed)})`),
    onStage: (stage, elapsed) => progress.show(() => `${target}: ${stage} after ${ms(elapsed)}`),
    onLive: () => {
      if (!stay) return;
      progress.log(`${target}: connected; Ctrl-C ends it`);
      timer ??= clock.setTimer(5000, report);
    },
    onMessage: (_, message) => {
      since++;
      total += message.bytes.length;
      const type = messageEnumName(message.type);
      counts.set(type, (counts.get(type) ?? 0) + 1);
    },
  };
}

/** `{ schema, results }`, one line for each nesting level that people read. */
export function renderConnectJson(results: readonly ConnectResult[]): string {
  return toJson({ schema: "stellar-overlay/connect/1", results }) + "\n";
}

/** One NDJSON line. */
export function connectLine(result: ConnectResult): string {
  return toJson({ type: "connect", ...result }, 0) + "\n";
}

/** Text for people. */
export function renderConnect(results: readonly ConnectResult[], io: Io, options: { peers: boolean }): string {
  if (results.length <= MAX_BLOCKS) return results.map((result) => block(result, io, options.peers)).join("\n");
  return overview(results, io) + (options.peers ? results.map((result) => block(result, io, true)).join("\n") : "");
}

function block(result: ConnectResult, io: Io, listPeers: boolean): string {
  const c = paint(io.outColour);
  const lines: string[] = [];
  const title = result.address === null || result.address === result.target ? "" : c.dim(` (${result.address})`);
  lines.push(
    `${c.bold(escapeRemoteText(result.target))}${title}  ${paintState(c, result.state)}${
      result.code === null ? "" : c.dim(` ${result.code}`)
    }`,
  );
  const width = io.outIsTerminal ? io.columns : undefined;
  const row = (name: string, value: string) => lines.push(wrap(`  ${c.dim(name.padEnd(12))} ${value}`, width, 15));
  const reached = STAGES.filter((stage) =>
    result.stagesMs[stage] !== undefined && !(stage === "dns" && result.stagesMs.dns === 0)
  );
  if (reached.length > 0) {
    row(
      "stages",
      reached.map((stage) => `${stage} ${ms(result.stagesMs[stage]!)}`).join(c.dim(" · ")),
    );
  }
  if (result.nodeId !== null) row("node id", result.nodeId);
  if (result.versionStr !== null) row("version", escapeRemoteText(result.versionStr));
  if (result.overlayVersion !== null) {
    row("overlay", `${result.overlayMinVersion}-${result.overlayVersion}, ledger protocol ${result.ledgerVersion}`);
  }
  if (result.network !== null) row("network", escapeRemoteText(result.network));
  if (result.listeningPort !== null) row("listens on", `port ${result.listeningPort}`);
  if (result.certificate !== null) row("certificate", certificateText(result));
  if (result.peers !== null) row("peers", `${count(result.peers.length, "address", "addresses")} offered`);
  else if (result.state === "reachable") row("peers", "none offered");
  if (result.rttMs !== null) {
    const { min, median, p95, count: n, lost } = result.rttMs;
    row("ping", `min ${ms(min)}, median ${ms(median)}, p95 ${ms(p95)} (${n}${lost > 0 ? `, ${lost} lost` : ""})`);
  }
  if (result.state === "reachable") {
    row("scp", result.scpMessages > 0 ? count(result.scpMessages, "message") : "no message in the time waited");
  }
  if (result.remoteText !== null) row("it said", `"${escapeRemoteText(result.remoteText)}"`);
  if (result.attempts.length > 1) {
    row(
      "tried",
      result.attempts.map((attempt) => `${escapeRemoteText(attempt.network)}: ${attempt.code ?? attempt.state}`).join(
        c.dim(" · "),
      ),
    );
  }
  if (result.detail !== null) row(result.state === "full" ? "full" : "why", escapeRemoteText(result.detail));
  if (result.hint !== null && result.hint !== "") row("hint", result.hint);
  if (listPeers && result.peers !== null) { for (const peer of result.peers) lines.push(`    ${peer}`); }
  return lines.join("\n") + "\n";
}

function certificateText(result: ConnectResult): string {
  const { expiresAt, leftMs, clockAheadMinMs, clockAheadMaxMs } = result.certificate!;
  if (expiresAt === null) return "expires in another age; its implementation counts time otherwise";
  const left = leftMs < 0 ? `expired ${ms(-leftMs)} ago` : `expires in ${ms(leftMs)}`;
  const clock = clockAheadMinMs === null || clockAheadMaxMs === null
    ? "; not issued as stellar-core does"
    : clockAheadMinMs > 1000
    ? `; its clock is at least ${ms(clockAheadMinMs)} ahead of ours`
    : clockAheadMaxMs < -1000
    ? `; its clock is at least ${ms(-clockAheadMaxMs)} behind ours`
    : "";
  return `${left} (${expiresAt})${clock}`;
}

function overview(results: readonly ConnectResult[], io: Io): string {
  const c = paint(io.outColour);
  const text = (value: string | number | null) => value === null ? "" : escapeRemoteText(String(value));
  const table = renderTable(
    results,
    [
      { title: "target", value: (r) => text(r.target), maxWidth: 40 },
      { title: "state", value: (r) => r.state, paint: (t) => paintState(c, t) },
      { title: "code", value: (r) => text(r.code) },
      { title: "node", value: (r) => (io.outIsTerminal ? r.nodeId?.slice(0, 5) : r.nodeId) ?? "" },
      { title: "version", value: (r) => text(r.versionStr), maxWidth: 34, drop: 2 },
      {
        title: "overlay",
        value: (r) => r.overlayVersion === null ? "" : `${r.overlayMinVersion}-${r.overlayVersion}`,
        drop: 3,
      },
      { title: "rtt ms", value: (r) => r.rttMs === null ? "" : r.rttMs.median.toFixed(1), align: "right", drop: 1 },
      { title: "peers", value: (r) => r.peers === null ? "" : String(r.peers.length), align: "right", drop: 4 },
    ],
    io,
    c,
  );
  const byState = new Map<string, number>();
  for (const result of results) byState.set(result.state, (byState.get(result.state) ?? 0) + 1);
  const summary = [...byState].sort((a, b) => b[1] - a[1]).map(([state, n]) => `${n} ${paintState(c, state)}`).join(
    ", ",
  );
  const hints = new Map<string, string>();
  for (const result of results) if (result.code !== null && result.hint) hints.set(result.code, result.hint);
  const notes = [...hints].map(([code, hint]) => `  ${c.dim(code)}: ${hint}\n`).join("");
  return `${table}\n${count(results.length, "target")}: ${summary}\n${io.outIsTerminal ? notes : ""}`;
}
