/** The log of `run`: one line of text or of JSON per event. */
import type { ChalkInstance } from "chalk";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, type Failure, remoteText } from "../../overlay/base/errors.ts";
import { type CommandEvent, type Level, levelOf, type NodeStatus, type RunEvent } from "../run/events.ts";
import { toJson } from "./json.ts";
import { bytes, count, ms, shortId } from "./style.ts";

/** The shape of the JSON lines; see docs/json.md. */
export const RUN_SCHEMA = "stellar-overlay/run/1";

/**
 * One event as NDJSON: schema, type, time and level, then the event's own fields. A failure becomes `code`, `detail` and
 * `remoteText`, as in the other documents; text of remotes is as received.
 */
export function logJson(event: RunEvent, wallMs: number): string {
  const { event: type, ...fields } = event;
  const head = { schema: RUN_SCHEMA, type, at: new Date(wallMs).toISOString(), level: levelOf(event) };
  return toJson({ ...head, ...Object.fromEntries(Object.entries(fields).flatMap(jsonFields)) }, 0) + "\n";
}

function jsonFields([name, value]: [string, unknown]): [string, unknown][] {
  if (name === "untilAt") return [[name, typeof value === "number" ? new Date(value).toISOString() : null]];
  if (name !== "failure") return [[name, value ?? null]];
  const failure = value as Failure;
  return [
    ["code", failure.code],
    ["detail", describeFailure(failure)],
    ["remoteText", remoteText(failure) ?? null],
  ];
}

/** One event as text: UTC time, level, sentence. What takes several sentences has a line for each. */
export function logText(event: RunEvent, wallMs: number, c: ChalkInstance): string {
  const level = levelOf(event);
  const head = `${c.dim(new Date(wallMs).toISOString())} ${paintLevel(c, level)} `;
  return sentencesOf(event).map((sentence) => `${head}${sentence}\n`).join("");
}

function paintLevel(c: ChalkInstance, level: Level): string {
  const text = level.padEnd(5);
  return level === "error" ? c.red(text) : level === "warn" ? c.yellow(text) : level === "debug" ? c.dim(text) : text;
}

type Sentences = { readonly [E in RunEvent["event"]]: (event: Extract<RunEvent, { event: E }>) => string | string[] };

const SENTENCES: Sentences = {
  starting: startingSentences,
  warning: (e) => escapeRemoteText(e.text),
  metrics: (e) => `metrics at ${e.url}`,
  status: (e) => statusSentence(e),
  suppressed: (e) => `${count(e.count, "more line")} of '${e.what}' left out in ${ms(e.periodMs)}`,
  linesLost: (e) => `${count(e.count, "log line")} lost: their reader did not keep up`,
  bansReread: (e) => `bans read again: ${count(e.bans, "ban")}${e.changed ? "" : ", nothing new"}`,
  failed: (e) => {
    const code = e.code === null ? "" : ` (${e.code})`;
    return [`failed: ${escapeRemoteText(e.detail)}${code}`, ...(e.hint === null ? [] : [`hint: ${e.hint}`])];
  },
  ending: (e) => `stopping: ${e.reason}`,
  stopped: (e) => [
    `stopped after ${ms(e.uptimeMs)}: ${e.reason}`,
    `peers: ${e.authenticatedOutbound} outbound and ${e.authenticatedInbound} inbound authenticated in all`,
    `received ${count(e.messagesRead, "message")}, ${bytes(e.bytesRead)}; sent ${
      count(e.messagesWritten, "message")
    }, ${bytes(e.bytesWritten)}${e.ledger === null ? "" : `; last ledger ${e.ledger}`}`,
  ],
  listening: (e) => `listening on ${e.address}`,
  dialing: (e) => `dialing ${e.address} (${e.reason})`,
  // The failure of a dial names the address.
  dialFailed: (e) => `no connection: ${describeFailure(e.failure)} (${e.failure.code})`,
  authenticated: (e) =>
    `peer ${e.nodeId} at ${e.address}: ${e.role === "weCalledRemote" ? "outbound" : "inbound"}, ${
      escapeRemoteText(e.versionStr)
    }`,
  dropped: (e) => {
    const who = e.nodeId === undefined ? e.address : `${shortId(e.nodeId)} at ${e.address}`;
    const text = remoteText(e.failure);
    const said = text === undefined || text === "" || e.reason.includes(text) ? "" : `, "${escapeRemoteText(text)}"`;
    return `${who} ${e.by === "us" ? "dropped" : "left"}: ${escapeRemoteText(e.reason)} (${e.failure.code})${said}`;
  },
  refused: (e) => `caller ${e.address} refused: ${e.reason}`,
  resolveFailed: (e) => `cannot resolve ${e.address}: ${describeFailure(e.failure)} (${e.failure.code})`,
  banned: (e) => {
    const until = e.untilAt === null ? "" : ` until ${new Date(e.untilAt).toISOString()}`;
    return `${e.nodeId} is banned${until}${e.reason === "" ? "" : `: ${escapeRemoteText(e.reason)}`}`;
  },
  unbanned: (e) => `${e.nodeId} is banned no more${e.expired ? ": the time is over" : ""}`,
  syncLost: (e) =>
    e.ledgerSeq === undefined
      ? `no ledger heard of in ${ms(e.silentMs)}`
      : `out of sync: no ledger after ${e.ledgerSeq} in ${ms(e.silentMs)}`,
  syncGained: (e) =>
    `the network is at ledger ${e.ledgerSeq}${
      e.outOfSyncMs === 0 ? "" : `; we were out of sync for ${ms(e.outOfSyncMs)}`
    }`,
  ledgerLimits: (e) => `limits of the ledger: ${toJson(e.limits, 0)}`,
  databaseFailed: (e) => `the node goes on without its database: ${describeFailure(e.failure)} (${e.failure.code})`,
  surveyStarted: (e) =>
    `survey ${surveyName(e)} collects${
      e.from === undefined ? "" : `; START for ledger ${e.ledgerNum} by ${shortId(e.from)}`
    }`,
  surveyStopped: (e) =>
    `survey ${surveyName(e)} reports${e.by === "time" ? ", for no STOP came" : ""}: ${
      count(e.outbound, "outbound peer")
    } and ${e.inbound} inbound stayed all the time`,
  surveyEnded: (e) => `survey ${surveyName(e)} is over`,
  surveyAnswered: (e) =>
    `survey ${
      surveyName(e)
    } answered for ledger ${e.ledgerNum}: ${e.inbound} inbound from ${e.inboundIndex}, ${e.outbound} outbound from ${e.outboundIndex}`,
  surveyIgnored: (e) =>
    `survey ${surveyName(e)}: ${e.message}${
      e.surveyedId === undefined ? "" : ` about ${shortId(e.surveyedId)}`
    } for ledger ${e.ledgerNum} from ${shortId(e.from)} ignored (${e.reason})`,
  stopping: () => "the engine stops",
};

function sentencesOf(event: RunEvent): string[] {
  const make = SENTENCES[event.event] as ((event: RunEvent) => string | string[]) | undefined;
  if (make === undefined) return [unknownSentence(event)];
  const made = make(event);
  return typeof made === "string" ? [made] : made;
}

/** An event that a newer engine sends: its name and its fields. */
function unknownSentence(event: RunEvent): string {
  const { event: name, ...fields } = event as RunEvent & Record<string, unknown>;
  const pairs = Object.entries(fields).map(([key, value]) =>
    ` ${key}=${escapeRemoteText(typeof value === "string" ? value : toJson(value, 0) ?? "")}`
  );
  return name + pairs.join("");
}

/** `0xdeadbeef of GABCD`. */
function surveyName({ nonce, surveyorId }: { nonce: number; surveyorId: string }): string {
  return `0x${nonce.toString(16).padStart(8, "0")} of ${shortId(surveyorId)}`;
}

const IDENTITY: Record<Extract<CommandEvent, { event: "starting" }>["identity"], string> = {
  "fresh": "fresh; another one at the next start, unless --seed-file names a file",
  "seed file": "of",
  "new seed file": "new, kept in",
  "configuration": "NODE_SEED of",
};

function startingSentences(e: Extract<CommandEvent, { event: "starting" }>): string[] {
  const work = e.mode === "watcher"
    ? "watcher: relays SCP messages, takes no transactions"
    : "validator's relay: SCP messages, transaction sets and transactions; it does not vote";
  const peers = (name: string, list: string[]) =>
    list.length === 0 ? [] : [list.length <= 3 ? `${name} ${list.join(", ")}` : `${list.length} ${name}`];
  const targets = [...peers("preferred", e.preferredPeers), ...peers("known", e.knownPeers)];
  return [
    `stellar-overlay ${e.version} on ${e.network}; ${work}`,
    `node id ${e.nodeId} (${IDENTITY[e.identity]}${e.identityFile === null ? "" : ` ${e.identityFile}`})`,
    e.database === null
      ? "no database: addresses and bans are forgotten at the end"
      : `database ${e.database}: ${count(e.addresses, "address", "addresses")}, ${count(e.bans, "ban")}`,
    e.listen === null
      ? `not listening; peers are told port ${e.announcedPort}`
      : `takes up to ${count(e.maxInbound, "inbound peer")} at ${e.listen}`,
    e.dials
      ? `dials up to ${count(e.targetPeers, "peer")}; starts with: ${targets.join("; ") || "the address book"}`
      : "dials nobody",
  ].map(escapeRemoteText);
}

/** `8 outbound, 3 inbound, 1 pending; ledger 61234567; 412.0 messages/s; up 47 min`. */
export function statusSentence(status: NodeStatus): string {
  const ledger = status.ledger === null
    ? "no ledger yet"
    : `ledger ${status.ledger}${status.inSync ? "" : " (out of sync)"}`;
  return `${status.outbound} outbound, ${status.inbound} inbound, ${status.pending} pending; ${ledger}; ${
    status.messagesPerSecond.toFixed(1)
  } messages/s; up ${uptime(status.uptimeMs)}`;
}

/** The same for a line of at most `width` characters: whole, shorter, or only the peers. */
export function statusLine(status: NodeStatus, width: number): string {
  const { outbound, inbound, pending, ledger } = status;
  const rate = `${status.messagesPerSecond.toFixed(status.messagesPerSecond < 100 ? 1 : 0)} msg/s`;
  const short = `${outbound} out ${inbound} in ${pending} pend`;
  const ledgerText = ledger === null ? "no ledger" : `#${ledger}${status.inSync ? "" : "!"}`;
  const forms = [
    statusSentence(status),
    `${short} | ${ledgerText} | ${rate} | ${uptime(status.uptimeMs)}`,
    `${short} | ${ledgerText}`,
    short,
    `${outbound}/${inbound}/${pending}`,
  ];
  return forms.find((form) => form.length <= width) ?? "";
}

function uptime(value: number): string {
  const seconds = Math.floor(value / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}
