/** The peers of a watch: a table, and below it all that is known of the chosen one. Pure. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, hintFor } from "../../overlay/base/errors.ts";
import { messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import type { PeerState } from "../../survey/watch/model.ts";
import type { PeerLagReport } from "../../survey/watch/propagation.ts";
import { bytes, ms, shortId } from "../render/style.ts";
import {
  cell,
  cutRow,
  filterRows,
  type Listing,
  renderList,
  type Row,
  sortRows,
  type Tone,
  type ViewColumn,
} from "./cells.ts";
import type { PeerRow, ViewData } from "./collect.ts";
import type { ViewState } from "./state.ts";
import { percent, shortCount, shortRate, span, wrapCells } from "./text.ts";

const STATE_TONES: Record<PeerState, Tone> = { connected: "good", dialing: "accent", waiting: "dim", dropped: "bad" };
const NONE = "-";

const lag = (of: PeerLagReport | undefined) => of?.medianMs ?? undefined;
const msOr = (value: number | null | undefined) => (value === null || value === undefined ? NONE : ms(value));

/** The columns, the most wanted first to stay. */
export function peerColumns(data: Pick<ViewData, "nowMs">): ViewColumn<PeerRow>[] {
  return [
    { title: "PEER", width: 16, grow: 48, value: (r) => escapeRemoteText(r.peer.target) },
    {
      title: "STATE",
      width: 9,
      value: (r) => r.peer.state,
      tone: (r) => STATE_TONES[r.peer.state],
    },
    {
      title: "FOR",
      width: 6,
      align: "right",
      drop: 5,
      value: (r) => span(data.nowMs - r.peer.sinceMs),
      sort: (r) => r.peer.sinceMs,
    },
    {
      title: "NODE",
      width: 5,
      drop: 4,
      value: (r) => (r.peer.nodeId === undefined ? NONE : shortId(r.peer.nodeId)),
      sort: (r) => r.peer.nodeId,
    },
    { title: "RTT", width: 8, align: "right", value: (r) => msOr(r.peer.rttMs), sort: (r) => r.peer.rttMs },
    {
      title: "CR IN",
      width: 5,
      align: "right",
      value: (r) => (r.peer.creditGiven === undefined ? NONE : shortCount(r.peer.creditGiven.messages)),
      sort: (r) => r.peer.creditGiven?.messages,
    },
    {
      title: "BYTES IN",
      width: 8,
      align: "right",
      drop: 7,
      value: (r) => (r.peer.creditGiven === undefined ? NONE : bytes(r.peer.creditGiven.bytes)),
      sort: (r) => r.peer.creditGiven?.bytes,
    },
    {
      title: "CR OUT",
      width: 6,
      align: "right",
      value: (r) => (r.peer.creditHeld === undefined ? NONE : shortCount(r.peer.creditHeld.messages)),
      sort: (r) => r.peer.creditHeld?.messages,
    },
    {
      title: "BYTES OUT",
      width: 9,
      align: "right",
      drop: 7,
      value: (r) => (r.peer.creditHeld === undefined ? NONE : bytes(r.peer.creditHeld.bytes)),
      sort: (r) => r.peer.creditHeld?.bytes,
    },
    {
      title: "QUEUE",
      width: 5,
      align: "right",
      drop: 6,
      value: (r) => shortCount(r.peer.queued),
      sort: (r) => r.peer.queued,
      descending: true,
    },
    {
      title: "MSG/S",
      width: 5,
      align: "right",
      value: (r) => shortRate(r.measures.traffic.messagesPerSecond),
      sort: (r) => r.measures.traffic.messagesPerSecond,
      descending: true,
    },
    {
      title: "BYTES/S",
      width: 8,
      align: "right",
      drop: 3,
      value: (r) => bytes(Math.round(r.measures.traffic.bytesPerSecond)),
      sort: (r) => r.measures.traffic.bytesPerSecond,
      descending: true,
    },
    {
      title: "DUP",
      width: 4,
      align: "right",
      value: (r) => (r.peer.nodeId === undefined ? NONE : percent(r.measures.duplicateShare)),
      sort: (r) => (r.peer.nodeId === undefined ? undefined : r.measures.duplicateShare),
      descending: true,
    },
    {
      title: "FIRST",
      width: 5,
      align: "right",
      drop: 2,
      value: (r) => (r.peer.nodeId === undefined ? NONE : percent(r.measures.firstShare)),
      sort: (r) => (r.peer.nodeId === undefined ? undefined : r.measures.firstShare),
      descending: true,
    },
    {
      title: "LAG",
      width: 8,
      align: "right",
      value: (r) => msOr(lag(r.measures.lag)),
      sort: (r) => lag(r.measures.lag),
    },
    {
      title: "LAG 95%",
      width: 8,
      align: "right",
      drop: 8,
      value: (r) => msOr(r.measures.lag?.p95Ms),
      sort: (r) => r.measures.lag?.p95Ms ?? undefined,
    },
    {
      title: "VERSION",
      width: 14,
      grow: 40,
      drop: 9,
      value: (r) => escapeRemoteText(r.peer.versionStr ?? NONE),
    },
  ];
}

/** Lines of detail below the table. */
const DETAIL = 5;

/** The panel in so many rows. */
export function peersPanel(data: ViewData, state: ViewState, size: { width: number; height: number }): Listing {
  const columns = peerColumns(data);
  const more = ({ peer }: PeerRow) =>
    [peer.nodeId, peer.address, peer.failure?.code, escapeRemoteText(peer.reason ?? "")].join(" ");
  const rows = sortRows(filterRows(data.peers, columns, state.filter, more), columns, state.lists.peers);
  const detail = size.height >= 14 && rows.length > 0 ? DETAIL + 1 : 0;
  const empty = data.peers.length === 0 ? "no peers yet" : "no peer matches the filter";
  const list = { ...size, height: size.height - detail };
  const listing = renderList(rows, columns, (r) => r.peer.target, state.lists.peers, list, empty);
  if (detail === 0) return listing;
  while (listing.rows.length < list.height) listing.rows.push([]);
  listing.rows.push([cell("─".repeat(size.width), "dim")], ...peerDetail(rows[listing.chosen], data, size.width));
  return listing;
}

/** All that is known of one peer, in {@link DETAIL} lines. */
export function peerDetail({ peer, measures }: PeerRow, data: ViewData, width: number): Row[] {
  const words = (...parts: (string | undefined)[]) => parts.filter((part) => part !== undefined).join("  ");
  const credit = (of: { messages: number; bytes: number } | undefined) =>
    of === undefined ? NONE : `${of.messages} messages, ${bytes(of.bytes)}`;
  const lags = (of: PeerLagReport | undefined) =>
    of === undefined
      ? NONE
      : `${msOr(of.medianMs)} median, ${msOr(of.p95Ms)} 95%, first with ${of.first} of ${of.copies}`;
  const types = [...measures.types].sort((a, b) => b[1] - a[1]).map(([type, count]) =>
    `${messageEnumName(MessageType[type])} ${shortCount(count)}`
  );
  const version = peer.versionStr === undefined ? undefined : escapeRemoteText(peer.versionStr);
  const overlay = peer.overlayVersion === undefined ? undefined : `overlay ${peer.overlayVersion}`;
  const rows: Row[] = [
    [cell(words(peer.nodeId ?? escapeRemoteText(peer.target), escapeRemoteText(peer.address)), "title")],
    [cell(words(
      overlay,
      `connected ${peer.connections} of ${Math.max(peer.attempts, peer.connections)}`,
      `${shortCount(measures.traffic.messages)} messages, ${bytes(measures.traffic.bytes)}`,
      // May be long.
      version,
    ))],
  ];
  if (peer.state === "connected") {
    rows.push(
      [cell(`credit in ${credit(peer.creditGiven)}; out ${credit(peer.creditHeld)}; queued ${peer.queued}`)],
      [cell(`lag of SCP ${lags(measures.lag)}; of adverts ${msOr(lag(measures.advertLag))}`)],
      [cell(types.join("  ") || "no messages yet", "dim")],
    );
  } else {
    const failure = peer.failure;
    const why = [
      failure === undefined ? undefined : `${escapeRemoteText(describeFailure(failure))} (${failure.code})`,
      peer.reason === undefined ? undefined : escapeRemoteText(peer.reason),
    ].filter((part) => part !== undefined).join("; ");
    const next = peer.nextDialAtMs === undefined ? undefined : `next dial in ${span(peer.nextDialAtMs - data.nowMs)}`;
    const hint = failure === undefined ? "" : hintFor(failure);
    for (const line of wrapCells(why, width, 2)) rows.push([cell(line, "bad")]);
    const last = words(next, hint === "" ? undefined : `hint: ${escapeRemoteText(hint)}`);
    for (const line of wrapCells(last, width, DETAIL - rows.length)) rows.push([cell(line, "dim")]);
  }
  while (rows.length < DETAIL) rows.push([]);
  return rows.slice(0, DETAIL).map((row) => cutRow(row, width));
}
