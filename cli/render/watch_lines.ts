/** What `watch` prints: a line of text or of JSON per record, and the table at the end. */
import type { ChalkInstance } from "chalk";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, remoteText } from "../../overlay/base/errors.ts";
import { messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import type { WatchModel, WatchPeer } from "../../survey/watch/model.ts";
import {
  ITEM_KINDS,
  type ItemKind,
  type WatchEvent,
  type WatchMessage,
  type WatchRecord,
} from "../../survey/watch/records.ts";
import type { XdrJson } from "../../survey/watch/xdr_json.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { bytes, count, ms, paint, shortId } from "./style.ts";
import { type Column, renderTable } from "./table.ts";

/** The shape of the JSON lines; see docs/json.md. */
export const WATCH_SCHEMA = "stellar-overlay/watch/1";

/** One record as NDJSON. `body` is the decoded message, when it was asked for. `startedMs`: the watch's zero on its clock. */
export function watchJson(record: WatchRecord, startedMs: number, body?: XdrJson): string {
  const head = {
    schema: WATCH_SCHEMA,
    type: record.kind,
    at: new Date(record.wallMs).toISOString(),
    atMs: round(record.atMs - startedMs),
  };
  return toJson({ ...head, ...(record.kind === "message" ? messageFields(record, body) : eventFields(record)) }, 0) +
    "\n";
}

function messageFields(record: WatchMessage, body: XdrJson | undefined) {
  const { peer, type, bytes, scp, copy, advert } = record;
  return {
    peer,
    message: messageEnumName(MessageType[type]),
    bytes,
    ...(record.id === undefined ? {} : { id: record.id() }),
    ...(copy === undefined ? {} : { rank: copy.rank, behindMs: round(copy.behindMs) }),
    ...(scp === undefined ? {} : {
      slot: String(scp.slot),
      validator: scp.validator,
      statement: scp.statement,
      refusal: scp.refusal ?? null,
    }),
    ...(advert === undefined ? {} : { hashes: advert.hashes, newHashes: advert.fresh }),
    ...(body === undefined ? {} : { body }),
  };
}

function eventFields(record: Exclude<WatchRecord, WatchMessage>): Record<string, unknown> {
  const { kind: _kind, atMs: _atMs, wallMs: _wallMs, ...fields } = record;
  if (!("failure" in fields)) return Object.fromEntries(Object.entries(fields).map(([key, v]) => [key, v ?? null]));
  const { failure, ...rest } = fields;
  return {
    ...Object.fromEntries(Object.entries(rest).map(([key, v]) => [key, v ?? null])),
    code: failure.code,
    detail: describeFailure(failure),
    remoteText: remoteText(failure) ?? null,
  };
}

/** A thousandth of a millisecond is more than any clock here tells. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

/** How lines are drawn. */
export interface LineStyle {
  c: ChalkInstance;
  /** Ids and hashes whole, as on a pipe, or their beginnings. */
  whole: boolean;
  /** Longest line; undefined: any. */
  width: number | undefined;
}

/** The style that fits where stdout goes. */
export function lineStyle(io: Io): LineStyle {
  return { c: paint(io.outColour), whole: !io.outIsTerminal, width: io.outIsTerminal ? io.columns ?? 100 : undefined };
}

/** One record as a line of text, and under it the body when there is one. */
export function watchLine(record: WatchRecord, style: LineStyle, body?: XdrJson): string {
  const { c, whole, width } = style;
  const at = new Date(record.wallMs).toISOString();
  // A narrow terminal needs its columns for what is said.
  const time = whole ? at : at.slice(11, 23);
  const text = record.kind === "message" ? messageSentence(record, whole) : eventSentence(record, whole);
  if (text === undefined) return "";
  const room = width === undefined ? Infinity : width - time.length - 1;
  const shown = text.length > room ? `${text.slice(0, Math.max(1, room - 1))}…` : text;
  const line = `${c.dim(time)} ${record.kind === "message" ? shown : paintEvent(c, record, shown)}\n`;
  if (body === undefined) return line;
  return line + toJson(body).split("\n").map((row) => `  ${row}\n`).join("");
}

function paintEvent(c: ChalkInstance, event: WatchRecord, text: string): string {
  switch (event.kind) {
    case "connected":
    case "syncGained":
      return c.green(text);
    case "dropped":
    case "dialFailed":
    case "syncLost":
    case "missed":
      return c.yellow(text);
    default:
      return c.dim(text);
  }
}

function messageSentence(record: WatchMessage, whole: boolean): string {
  const id = (text: string) => whole ? text : shortId(text);
  const hash = (text: string) => whole ? text : text.slice(0, 8);
  const { scp, copy, advert, type } = record;
  const name = messageEnumName(MessageType[type]);
  const who = id(record.peer);
  const place = copy === undefined
    ? ""
    : copy.rank === 1
    ? " first"
    : copy.rank === 0
    ? ` again, +${copy.behindMs.toFixed(1)} ms`
    : ` #${copy.rank} +${copy.behindMs.toFixed(1)} ms`;
  if (scp !== undefined) {
    const refusal = scp.refusal === undefined ? "" : ` (${scp.refusal.replaceAll("_", " ")})`;
    return `${who} ${name} ${scp.slot} ${scp.statement} of ${id(scp.validator)}${place}${refusal}`;
  }
  if (advert !== undefined) return `${who} ${name} ${count(advert.hashes, "hash", "hashes")}, ${advert.fresh} new`;
  if (record.id !== undefined) return `${who} ${name} ${hash(record.id())}${place}, ${bytes(record.bytes)}`;
  return `${who} ${name} ${bytes(record.bytes)}`;
}

function eventSentence(record: Exclude<WatchRecord, WatchMessage>, whole: boolean): string | undefined {
  const id = (text: string) => whole ? text : shortId(text);
  switch (record.kind) {
    case "status":
    case "ledger":
      return undefined;
    case "dialing":
      return `* dialing ${place(record.target, record.address)}${
        record.attempt > 1 ? `, attempt ${record.attempt}` : ""
      }`;
    case "connected":
      return `* connected to ${id(record.peer)} at ${place(record.target, record.address)}: ${
        escapeRemoteText(record.versionStr)
      }, overlay ${record.overlayVersion}`;
    case "dropped": {
      const said = remoteText(record.failure);
      const text = said === undefined || said === "" || record.reason.includes(said)
        ? ""
        : `, "${escapeRemoteText(said)}"`;
      const who = record.peer === undefined ? "" : `${id(record.peer)} at `;
      return `* ${who}${place(record.target, record.address)} ${record.by === "us" ? "dropped" : "left"}${
        record.authenticated ? ` after ${ms(record.connectedMs)}` : " before it took us"
      }: ${escapeRemoteText(record.reason)} (${record.failure.code})${text}${ownReason(record)}`;
    }
    case "dialFailed":
      return `* no connection to ${record.target}: ${
        escapeRemoteText(describeFailure(record.failure))
      } (${record.failure.code})`;
    case "waiting":
      return `* ${record.target} is dialed again in ${ms(record.delayMs)}`;
    case "syncLost":
      return record.ledgerSeq === undefined
        ? `* no ledger heard of in ${ms(record.silentMs)}`
        : `* no ledger after ${record.ledgerSeq} in ${ms(record.silentMs)}`;
    case "syncGained":
      return `* the network is at ledger ${record.ledgerSeq}`;
    case "missed":
      return `* ${count(record.records, "record")} not shown: their reader did not keep up`;
    default:
      return record satisfies never;
  }
}

/** What stands behind an end that we made; nothing when the reason says it already. */
function ownReason({ failure, reason }: Extract<WatchEvent, { kind: "dropped" }>): string {
  if (failure.code !== "local_close" || failure.reason === reason) return "";
  return `: ${escapeRemoteText(failure.reason)}`;
}

function place(target: string | undefined, address: string): string {
  return target === undefined || target === address || target === address.replace(/:\d+$/, "")
    ? address
    : `${target} (${address})`;
}

// ---- The end ----

const KIND_TITLES: Record<ItemKind, string> = {
  scp: "SCP statements",
  advert: "advertised hashes",
  transaction: "transactions",
  txSet: "transaction sets",
};

/** All of a watch as one document. */
export function watchSummary(model: WatchModel, wallMs: number): Record<string, unknown> {
  const report = model.propagationReport();
  const { all, types } = model.traffic();
  return {
    schema: WATCH_SCHEMA,
    type: "summary",
    at: new Date(wallMs).toISOString(),
    durationMs: round(model.nowMs - model.startedMs),
    ledger: model.ledger ?? null,
    inSync: model.inSync,
    missedRecords: model.missed,
    messages: all.messages,
    bytes: all.bytes,
    types: types.map(({ type, traffic }) => ({
      message: messageEnumName(MessageType[type]),
      messages: traffic.messages,
      bytes: traffic.bytes,
    })),
    peers: model.peers().map((peer) => {
      const measures = model.measures(peer);
      return {
        target: peer.target,
        address: peer.address,
        nodeId: peer.nodeId ?? null,
        state: peer.state,
        connections: peer.connections,
        attempts: peer.attempts,
        versionStr: peer.versionStr ?? null,
        rttMs: peer.rttMs === undefined ? null : round(peer.rttMs),
        reason: peer.failure === undefined ? null : peer.reason ?? describeFailure(peer.failure),
        code: peer.failure?.code ?? null,
        messages: measures.traffic.messages,
        bytes: measures.traffic.bytes,
        duplicates: measures.duplicates,
      };
    }),
    propagation: Object.fromEntries(
      ITEM_KINDS.map((kind) => [kind, {
        ...roundAll(report.kinds[kind]),
        peers: report.peerLags[kind].map(roundAll),
      }]),
    ),
    slots: model.slots().map((slot) => ({
      slot: String(slot.slot),
      firstAt: new Date(slot.firstWallMs).toISOString(),
      decided: slot.decided,
      replayed: slot.replayed,
      nominated: slot.reached.nominate,
      prepared: slot.reached.prepare,
      confirmed: slot.reached.confirm,
      externalized: slot.reached.externalize,
      firstMs: roundAll(slot.firstMs),
      missing: slot.missing,
    })),
    validators: model.validators().map((validator) => ({
      ...roundAll(validator),
      lastSlot: String(validator.lastSlot),
    })),
  };
}

function roundAll<T extends object>(object: T): T {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key, typeof value === "number" ? round(value) : value]),
  ) as T;
}

/** The same as one line of JSON. */
export function summaryLine(model: WatchModel, wallMs: number): string {
  return toJson(watchSummary(model, wallMs), 0) + "\n";
}

/** The same as tables. */
export function summaryTables(model: WatchModel, io: Io): string {
  const c = paint(io.outColour);
  const { all } = model.traffic();
  const report = model.propagationReport();
  const peers = model.peers();
  const seconds = Math.max(0.001, (model.nowMs - model.startedMs) / 1000);
  const parts = [
    `${ms(model.nowMs - model.startedMs)}: ${count(all.messages, "message")}, ${bytes(all.bytes)} from ${
      count(report.peers.ever, "peer")
    }${model.ledger === undefined ? "" : `; last ledger ${model.ledger}`}${
      model.missed === 0 ? "" : `; ${model.missed} records not shown`
    }\n`,
    peerTable(model, peers, io, c),
  ];
  const types = model.traffic().types;
  if (types.length > 0) {
    parts.push(
      "\n",
      renderTable(
        types,
        [
          { title: "type", value: ({ type }) => messageEnumName(MessageType[type]) },
          { title: "messages", value: ({ traffic }) => String(traffic.messages), align: "right" },
          { title: "per second", value: ({ traffic }) => (traffic.messages / seconds).toFixed(1), align: "right" },
          { title: "bytes", value: ({ traffic }) => String(traffic.bytes), align: "right" },
        ],
        io,
        c,
      ),
    );
  }
  for (const kind of ITEM_KINDS) {
    const spread = report.kinds[kind], rows = report.peerLags[kind];
    if (spread.distinct === 0) continue;
    const times = spread.complete === 0
      ? ""
      : `, spread median ${ms(spread.spreadMedianMs!)}, p95 ${ms(spread.spreadP95Ms!)}`;
    const from = report.peers.now < 2 ? "" : `; ${spread.complete} from all ${report.peers.now} peers${times}`;
    parts.push(`\n${spread.distinct} ${KIND_TITLES[kind]}${from}\n`);
    if (report.peers.ever < 2) continue;
    parts.push(renderTable(
      rows,
      [
        { title: "peer", value: ({ peer }) => io.outIsTerminal ? shortId(peer) : peer },
        { title: "copies", value: (row) => String(row.copies), align: "right" },
        { title: "first", value: (row) => String(row.first), align: "right" },
        { title: "median ms behind", value: (row) => fixed(row.medianMs), align: "right" },
        { title: "p95 ms", value: (row) => fixed(row.p95Ms), align: "right" },
        { title: "max ms", value: (row) => fixed(row.maxMs), align: "right", drop: 1 },
        { title: "again", value: (row) => String(row.repeated), align: "right", drop: 2 },
      ],
      io,
      c,
    ));
  }
  const silent = model.validators().filter((validator) => validator.missingStreak > 0);
  if (silent.length > 0) {
    parts.push(`\n${count(silent.length, "validator")} silent in the last decided slots:\n`);
    parts.push(renderTable(
      silent,
      [
        { title: "validator", value: ({ validator }) => io.outIsTerminal ? shortId(validator) : validator },
        { title: "last slot", value: (row) => String(row.lastSlot), align: "right" },
        { title: "missing slots in a row", value: (row) => String(row.missingStreak), align: "right" },
      ],
      io,
      c,
    ));
  }
  return parts.join("");
}

function peerTable(model: WatchModel, peers: WatchPeer[], io: Io, c: ChalkInstance): string {
  const columns: Column<WatchPeer>[] = [
    { title: "target", value: (peer) => peer.target, maxWidth: 40 },
    {
      title: "node",
      value: (peer) => peer.nodeId === undefined ? "-" : io.outIsTerminal ? shortId(peer.nodeId) : peer.nodeId,
    },
    {
      title: "state",
      value: (peer) => peer.state,
      paint: (text, peer) => peer.state === "connected" ? c.green(text) : c.yellow(text),
    },
    { title: "rtt", value: (peer) => peer.rttMs === undefined ? "-" : ms(peer.rttMs), align: "right", drop: 3 },
    { title: "messages", value: (peer) => String(model.measures(peer).traffic.messages), align: "right" },
    {
      title: "duplicates",
      value: (peer) => `${Math.round(100 * model.measures(peer).duplicateShare)} %`,
      align: "right",
      drop: 2,
    },
    {
      title: "why",
      value: (peer) =>
        peer.failure === undefined || peer.state === "connected"
          ? ""
          : `${escapeRemoteText(peer.reason ?? describeFailure(peer.failure))} (${peer.failure.code})`,
      maxWidth: 60,
      drop: 4,
    },
  ];
  return renderTable(peers, columns, io, c);
}

function fixed(value: number | null): string {
  return value === null ? "-" : value.toFixed(1);
}

/** Whether an event belongs into the lines whatever the filter says. */
export function isEvent(record: WatchRecord): record is WatchEvent {
  return record.kind !== "message" && record.kind !== "status";
}
