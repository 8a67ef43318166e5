/** A survey as text and as JSON. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { SessionProgress, SessionStep } from "../../survey/topology/session.ts";
import type { PlannedNode } from "../../survey/topology/planner.ts";
import type { Io } from "../context.ts";
import type { SurveyOutcome } from "../survey/result.ts";
import { toJson } from "./json.ts";
import { count, ms, paint } from "./style.ts";

const STEPS: Record<SessionStep, string> = {
  connecting: "connecting",
  waiting: "waiting for another survey to end",
  starting: "START sent, watching whether it is passed on",
  collecting: "collecting",
  stopping: "sending STOP",
  settling: "STOP is spreading",
  asking: "asking",
  done: "done",
};

/** One line about where a session is; plain text, a terminal cuts it. */
export function progressLine(progress: SessionProgress, finishing: boolean): string {
  const { step, ledger, leftMs, nonce } = progress;
  const parts = [finishing ? "finishing" : STEPS[step]];
  if (step === "asking" || step === "done") {
    const { asked, answered, pending, silent, bad, unreachable, pages, pagesLeft } = progress.counts;
    parts.push(`${asked} asked, ${answered} answered, ${pending} pending`);
    if (silent + unreachable + bad > 0) parts.push(`${silent + unreachable} silent, ${bad} bad`);
    parts.push(`${count(pages, "page")}, ${pagesLeft} to come`);
    if (step === "asking") parts.push(`${progress.fresh} new in this ledger`);
  }
  if (leftMs !== undefined && step !== "done") parts.push(`${step === "asking" ? "about " : ""}${time(leftMs)} left`);
  if (ledger !== undefined) parts.push(`ledger ${ledger}`);
  parts.push(`nonce ${nonce}`);
  return `survey: ${parts.join("; ")}`;
}

/** The document of `--json`. */
export function surveyDocument(outcome: SurveyOutcome): Record<string, unknown> {
  const { nonce, phase, asked, answered, silent, bad, links, files, others, end, ...rest } = outcome;
  const { startedAtMs, stoppedAtMs, overAtMs, via, ...counts } = rest;
  return {
    schema: "stellar-overlay/survey/1",
    nonce,
    phase,
    asked,
    answered,
    silent,
    bad,
    links,
    files,
    ...counts,
    via: via ?? null,
    startedAt: instant(startedAtMs),
    stoppedAt: instant(stoppedAtMs),
    overAtLatest: instant(overAtMs),
    end: end ?? null,
    others: others.map(({ nodeId, state, late, reason }) => ({
      nodeId,
      state,
      isLateJoiner: late,
      reason: reason ?? null,
    })),
  };
}

/** The text of `--json`. */
export function renderSurveyJson(outcome: SurveyOutcome): string {
  return toJson(surveyDocument(outcome)) + "\n";
}

/** A line of `--ndjson` about a node. */
export function nodeLine(node: PlannedNode): string {
  const { nodeId, state, answeredPages, badReason, requests } = node;
  const { inboundPeers, outboundPeers, data } = node.node ?? {};
  const line = {
    type: "node",
    nodeId,
    state,
    requests,
    pages: answeredPages.length,
    inbound: inboundPeers?.length ?? null,
    outbound: outboundPeers?.length ?? null,
    totalInbound: data?.numTotalInboundPeers ?? null,
    totalOutbound: data?.numTotalOutboundPeers ?? null,
    reason: badReason ?? null,
  };
  return toJson(line, 0) + "\n";
}

/** The last line of `--ndjson`. */
export function surveyLine(outcome: SurveyOutcome): string {
  return toJson({ type: "survey", ...surveyDocument(outcome) }, 0) + "\n";
}

/** Nodes without an answer that are listed one by one. */
const LISTED = 20;

/** What a command needs to find a survey again. */
export interface CommandAt {
  /** The network as a flag's value. */
  word: string;
  /** The file of --db, when one was given. */
  db: string | undefined;
}

/** The text of a survey's end. */
export function renderSurvey(outcome: SurveyOutcome, io: Io, at: CommandAt): string {
  const c = paint(io.outColour);
  const { nonce, phase, startedAtMs, stoppedAtMs, overAtMs } = outcome;
  const rows: string[] = [`${c.bold(`survey ${nonce}`)} of ${escapeRemoteText(outcome.network)}: ${phase}`];
  const row = (title: string, text: string) => rows.push(`  ${title.padEnd(12)}${text}`);
  row("surveyor", outcome.surveyor + (outcome.via === undefined ? "" : `, through ${escapeRemoteText(outcome.via)}`));
  if (startedAtMs !== undefined) {
    const end = stoppedAtMs === undefined
      ? ", not stopped yet"
      : ` to ${instant(stoppedAtMs)}, ${ms(stoppedAtMs - startedAtMs)}`;
    row("slice", `${instant(startedAtMs)}${end}`);
  }
  if (overAtMs !== undefined) {
    row("over", `${instant(overAtMs)} at the latest; until then it blocks every other survey of the network`);
  }
  if (outcome.asked > 0) {
    row("answered", `${c.green(String(outcome.answered))} of ${count(outcome.asked, "node")} asked`);
    const none = [
      [outcome.silent, "silent"],
      [outcome.unreachable, "unreachable"],
      [outcome.bad, "bad"],
      [outcome.pending, "pending"],
    ].filter(([n]) => n !== 0).map(([n, what]) => `${n} ${what}`);
    if (none.length > 0) row("no answer", c.yellow(none.join(", ")));
    if (outcome.lateJoiners > 0) {
      row("late", `${count(outcome.lateJoiners, "node")} that no answer names: joined after START, or left`);
    }
    if (outcome.incomplete > 0) {
      row("incomplete", `${count(outcome.incomplete, "node")} with lists that did not come whole`);
    }
    row("links", String(outcome.links));
    row("requests", `${outcome.requests}, ${count(outcome.pages, "page")} came`);
  }
  for (const { nodeId, state, late, reason } of outcome.others.slice(0, LISTED)) {
    rows.push(`    ${c.dim(nodeId)} ${state}${late ? ", late" : ""}${reason === undefined ? "" : ` (${reason})`}`);
  }
  if (outcome.others.length > LISTED) rows.push(`    and ${outcome.others.length - LISTED} more: --json lists all`);
  const files = Object.values(outcome.files);
  if (files.length > 0) row("files", files.join(" "));
  for (const hint of nextSteps(outcome, at)) row("next", hint);
  return rows.join("\n") + "\n";
}

/** Commands that make sense now. */
export function nextSteps(outcome: SurveyOutcome, at: CommandAt): string[] {
  const collect = goOnWith("collect", outcome, at);
  switch (outcome.phase) {
    case "starting":
      return outcome.startedAtMs === undefined ? [] : [collect];
    case "collecting":
      return [`${collect}: waits, sends STOP, asks everybody`, `${goOnWith("stop", outcome, at)}: sends STOP now`];
    case "asking":
      return [collect];
    case "done": {
      const file = at.db === undefined ? "" : ` --db-file ${at.db}`;
      const report = `survey report --db ${outcome.nonce} --network ${at.word}${file}`;
      const missing = outcome.silent + outcome.unreachable + outcome.bad + outcome.pending + outcome.incomplete > 0;
      return [report, ...(missing ? [`${collect} --retry: asks those again that did not answer`] : [])];
    }
    default:
      return [];
  }
}

/** A command that goes on with a survey. */
export function goOnWith(command: string, { nonce }: { nonce: number }, { word, db }: CommandAt): string {
  return `survey ${command} --network ${word} --nonce ${nonce}${db === undefined ? "" : ` --db ${db}`}`;
}

/** UTC, or null. */
export function instant(atMs: number | undefined): string | null {
  return atMs === undefined ? null : new Date(atMs).toISOString();
}

/** `2:05` min, `1:02:03` h. */
function time(leftMs: number): string {
  const s = Math.ceil(leftMs / 1000);
  const parts = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, i) => i === 0 ? String(part) : String(part).padStart(2, "0")).join(":");
}
