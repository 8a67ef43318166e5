/** A transaction before it is sent, and what became of it: as text and as JSON. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, hintFor, remoteText } from "../../overlay/base/errors.ts";
import { type Network, networkLabel } from "../../overlay/base/networks.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import { networkIdOf } from "../../overlay/crypto/primitives.ts";
import { type Inspection, instant, type SignatureView, type TransactionView } from "../../survey/submit/envelope.ts";
import { type SubmitEvent, type SubmitPeer, type SubmitResult, verdictOf } from "../../survey/submit/submit.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { count, ms, paint } from "./style.ts";
import { renderTable } from "./table.ts";

/** A transaction and the network it is meant for. */
export interface About {
  network: Network;
  envelope: Inspection;
}

/** Stroops of one lumen. */
const STROOPS = 10_000_000n;

/** The transaction, a line per property. */
export function renderEnvelope({ network, envelope }: About, io: Io): string {
  const { view } = envelope;
  const c = paint(io.outColour);
  const rows: [string, string][] = [
    ["network", escapeRemoteText(networkLabel(network))],
    ["hash", c.bold(view.hash)],
    ...view.innerHash === null ? [] : [["inner hash", view.innerHash] as [string, string]],
    ["advertised as", view.advertHash],
    ["kind", `${KINDS[view.kind]}, ${view.sizeBytes} bytes${view.isSoroban ? ", Soroban" : ""}`],
    ["source", view.source],
    ...view.feeSource === null ? [] : [["fee paid by", view.feeSource] as [string, string]],
    ["fee", `at most ${lumens(view.fee)} XLM (${view.fee} stroops)`],
    ["sequence", String(view.sequence)],
    ["operations", operationsText(view)],
    ...view.memo === null ? [] : [["memo", escapeRemoteText(view.memo)] as [string, string]],
    ["valid", validity(view)],
    ...view.preconditions.map((text): [string, string] => ["condition", text]),
    ["signatures", signaturesText(view.signatures)],
    ...view.kind === "feeBump" ? [["inner signatures", signaturesText(view.innerSignatures)] as [string, string]] : [],
  ];
  return rows.map(([name, value]) => `${c.dim(name.padEnd(17))}${value}\n`).join("");
}

const KINDS: Record<TransactionView["kind"], string> = {
  v0: "transaction of the old form",
  v1: "transaction",
  feeBump: "fee bump",
};

function lumens(stroops: bigint): string {
  const rest = (stroops % STROOPS).toString().padStart(7, "0").replace(/0+$/, "");
  return `${stroops / STROOPS}${rest === "" ? "" : `.${rest}`}`;
}

function operationsText({ operations }: TransactionView): string {
  const counts = new Map<string, number>();
  for (const { type } of operations) counts.set(type, 1 + (counts.get(type) ?? 0));
  const parts = [...counts].map(([type, times]) => times === 1 ? type : `${times} x ${type}`);
  return `${operations.length}: ${parts.join(", ")}`;
}

function validity({ minTime, maxTime }: TransactionView): string {
  const from = minTime === null ? "" : `from ${instant(minTime)} `;
  return maxTime === null ? `${from}without end` : `${from}until ${instant(maxTime)}`;
}

function signaturesText(signatures: readonly SignatureView[]): string {
  if (signatures.length === 0) return "none";
  return signatures.map(({ hint, signer, network }) => {
    if (signer === null) return `${hint}: of no account it names`;
    return network === null ? `${signer} for no known network` : `${signer} for ${escapeRemoteText(network)}`;
  }).join(`\n${" ".repeat(17)}`);
}

/** One line of progress. */
export function progressLine(event: SubmitEvent): string | undefined {
  if (event.event === "ledger") {
    const { sequence, transactions, found } = event;
    return `ledger ${sequence} closed with ${count(transactions, "transaction")}${found ? ": ours is one" : ""}`;
  }
  const { peer } = event;
  const who = peer.nodeId === null ? peer.address : `${peer.address} (${peer.nodeId.slice(0, 5)})`;
  switch (event.event) {
    case "connected":
      return `connected to ${who}, ${escapeRemoteText(peer.versionStr ?? "")}`;
    case "advertised":
      return undefined;
    case "pushed":
      return `sent to ${who} unasked`;
    case "demanded":
      return `${who} asked for it`;
    case "told":
      return `${who} told us of it`;
    case "dropped":
    case "failed":
      return `${who}: ${failureText(peer)}`;
  }
}

function failureText({ failure }: SubmitPeer): string {
  if (failure === null) return "";
  const text = remoteText(failure);
  return describeFailure(failure) + (text === undefined ? "" : ` (${escapeRemoteText(text)})`);
}

/** What became of it. */
export function renderSubmit(result: SubmitResult, io: Io): string {
  const c = paint(io.outColour);
  const { ledger, outcome } = result;
  const { detail } = verdictOf(result);
  const colour = outcome === "included" ? c.green : outcome === "not-included" ? c.yellow : c.red;
  const closed = ledger === null
    ? ""
    : `, closed ${instant(ledger.closeTime)}, number ${ledger.position + 1} of ${ledger.size} in its set, seen after ${
      ms(ledger.seenMs)
    }`;
  const time = (value: number | null | undefined) => value === null || value === undefined ? "" : ms(value);
  const table = renderTable(
    result.peers,
    [
      { title: "address", value: (peer) => peer.address },
      { title: "node", value: (peer) => peer.nodeId ?? "", maxWidth: 8, drop: 2 },
      { title: "connected", value: (peer) => time(peer.connectedMs), align: "right", drop: 1 },
      { title: "asked", value: (peer) => time(peer.demandedMs[0]), align: "right" },
      { title: "pushed", value: (peer) => time(peer.pushedMs), align: "right", drop: 3 },
      { title: "told us", value: (peer) => time(peer.toldUsMs[0]), align: "right" },
      { title: "failure", value: (peer) => peer.failure?.code ?? "" },
    ],
    io,
    c,
  );
  return `\n${colour(outcome)}: ${escapeRemoteText(detail)}${closed}\n\n${table}`;
}

/** The document `stellar-overlay/submit/1`; without a result nothing was sent. */
export function renderSubmitJson({ network, envelope }: About, result: SubmitResult | undefined): string {
  const { view, warnings, refusal } = envelope;
  const verdict = result === undefined ? undefined : verdictOf(result);
  const round = (value: number | null) => value === null ? null : Math.round(value * 10) / 10;
  const document = {
    schema: "stellar-overlay/submit/1",
    network: networkLabel(network),
    networkId: toHex(networkIdOf(network.passphrase)),
    transaction: {
      ...view,
      minTime: view.minTime === null ? null : instant(view.minTime),
      maxTime: view.maxTime === null ? null : instant(view.maxTime),
    },
    warnings,
    sent: result !== undefined && result.outcome !== "not-connected",
    outcome: result?.outcome ?? (refusal === undefined ? "not-sent" : "invalid"),
    end: result?.end ?? null,
    code: refusal?.code ?? null,
    detail: verdict?.detail ?? (refusal === undefined ? null : describeFailure(refusal)),
    next: verdict?.next ?? (refusal === undefined ? null : hintFor(refusal)),
    ledger: result === undefined || result.ledger === null ? null : {
      sequence: result.ledger.sequence,
      closeTime: instant(result.ledger.closeTime),
      txSetHash: result.ledger.txSetHash,
      position: result.ledger.position,
      transactions: result.ledger.size,
      validators: result.ledger.validators,
      seenMs: round(result.ledger.seenMs),
    },
    ledgersSearched: result?.ledgersSearched ?? [],
    ledgersUnreadable: result?.ledgersUnreadable ?? [],
    setsMissing: result?.setsMissing ?? 0,
    lastLedger: result?.lastLedger ?? null,
    peers: (result?.peers ?? []).map(({ failure, ...peer }) => ({
      ...peer,
      connectedMs: round(peer.connectedMs),
      advertisedMs: round(peer.advertisedMs),
      pushedMs: round(peer.pushedMs),
      demandedMs: peer.demandedMs.map(round),
      toldUsMs: peer.toldUsMs.map(round),
      droppedMs: round(peer.droppedMs),
      code: failure?.code ?? null,
      detail: failure === null ? null : describeFailure(failure),
      remoteText: failure === null ? null : remoteText(failure) ?? null,
    })),
    startedAt: result === undefined ? null : new Date(result.startedAtMs).toISOString(),
    durationMs: result === undefined ? null : round(result.durationMs),
  };
  return toJson(document) + "\n";
}
