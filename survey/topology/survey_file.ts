/**
 * survey.json, our own document of a survey: everything that is known, each link once with what both its ends say, units in the
 * names, derived figures beside the measured ones. docs/survey-files.md describes every field.
 */
import type { Field } from "./fields.ts";
import { nodeFields, peerFields, readNodeData, readPeerData } from "./fields.ts";
import { type Json, printPretty } from "./json_text.ts";
import { type LinkReport, linksOf } from "./links.ts";
import { nodesOf, sortPeers, versionsOf } from "./merge.ts";
import { ratesOf, sliceSecondsOf } from "./rates.ts";
import { type AskState, emptyDocument, type SurveyDocument, type SurveyedNode } from "./types.ts";

/** The `schema` of survey.json. */
export const SURVEY_SCHEMA = "stellar-overlay/survey-data/1";

const STATES: readonly AskState[] = ["answered", "silent", "unreachable", "bad", "pending"];
const LINK_REPORTS = ["perSide", "onePerLink", "unattributed", "none"] as const;

/** The text of survey.json. Nodes and links are sorted by node id as text. */
export function printSurveyFile(document: SurveyDocument): string {
  const links = linksOf(document), slice = sliceSecondsOf(document);
  const states = [...document.states.values()];
  const ids = [...new Set([...nodesOf(document), ...document.states.keys(), ...document.lateJoiners])].sort();
  const versions = versionsOf(document);
  return printPretty({
    schema: SURVEY_SCHEMA,
    survey: {
      nonce: document.nonce ?? null,
      surveyor: document.surveyor ?? null,
      network: document.network ?? null,
      startedAt: isoOf(document.startedAtMs),
      stoppedAt: isoOf(document.stoppedAtMs),
      sliceSeconds: slice ?? null,
      linkReports: document.linkReports,
    },
    counts: {
      nodes: nodesOf(document).length,
      links: links.length,
      linksWithDisagreement: links.filter((link) => link.disagreements.length > 0).length,
      asked: states.length,
      ...Object.fromEntries(STATES.map((state) => [state, states.filter((one) => one === state).length])),
      lateJoiners: document.lateJoiners.size,
    },
    nodes: ids.map((id) => nodeEntry(document, id, versions.get(id))),
    links: links.map((link) => ({
      ends: link.ends,
      dialer: link.dialer ?? null,
      direction: link.direction,
      disagreements: link.disagreements,
      reports: link.reports.map((report) => reportEntry(report, slice)),
      flows: link.flows.map(({ from, to, written, read, gapRatio }) => ({
        from,
        to,
        bytesWrittenByFrom: written ?? null,
        bytesReadByTo: read ?? null,
        gapRatio: gapRatio ?? null,
      })),
    })),
  });
}

function nodeEntry(document: SurveyDocument, id: string, version: string | undefined): Json {
  const node = document.nodes.get(id);
  return {
    nodeId: id,
    state: document.states.get(id) ?? null,
    isLateJoiner: document.lateJoiners.has(id),
    version: version ?? null,
    figures: node === undefined ? null : nodeFields(node.data, node.absent),
    listed: node === undefined
      ? null
      : { inboundPeers: node.inboundPeers.length, outboundPeers: node.outboundPeers.length },
    attributes: document.attributes.get(id) ?? null,
  };
}

function reportEntry({ by, list, data }: LinkReport, slice: number | undefined): Json {
  const { averageLatencyMs, ...counters } = peerFields(data);
  const rates = Object.entries(ratesOf(data, slice)).map(([name, value]) => [name, value ?? null]);
  return {
    by,
    dialed: list === "outbound" ? "nodeDialedPeer" : "peerDialedNode",
    peerVersion: data.absent?.includes("version") ? null : data.version,
    // 64-bit numbers are strings in all our documents, small ones too.
    ...counters,
    medianPingMs: averageLatencyMs ?? null,
    ...Object.fromEntries(rates),
  };
}

/** The document in a parsed survey.json; derived figures are not read. @throws OverlayError `survey_file_invalid` */
export function readSurveyFile(file: Field): SurveyDocument {
  const document = emptyDocument();
  const fields = file.object();
  const head = need(file, fields, "survey").object();
  const given = <T>(name: string, read: (field: Field) => T): T | undefined => {
    const field = head.get(name);
    return field === undefined || field.value === null ? undefined : read(field);
  };
  document.nonce = given("nonce", (field) => field.uint32());
  document.surveyor = given("surveyor", (field) => field.nodeName());
  document.network = given("network", (field) => field.text());
  document.startedAtMs = given("startedAt", (field) => field.instant());
  document.stoppedAtMs = given("stoppedAt", (field) => field.instant());
  if (document.startedAtMs === undefined || document.stoppedAtMs === undefined) {
    document.sliceMs = given("sliceSeconds", (field) => {
      if (typeof field.value !== "number" || !(field.value > 0)) throw field.fail("needs a number above 0");
      return Math.round(field.value * 1000);
    });
  }
  document.linkReports = given("linkReports", (field) => field.oneOf(LINK_REPORTS)) ?? "perSide";
  for (const entry of need(file, fields, "nodes").array()) readNode(document, entry);
  for (const entry of need(file, fields, "links").array()) readLink(document, entry);
  for (const node of document.nodes.values()) {
    sortPeers(node.inboundPeers);
    sortPeers(node.outboundPeers);
  }
  for (const key of ["nonce", "surveyor", "network", "startedAtMs", "stoppedAtMs", "sliceMs"] as const) {
    if (document[key] === undefined) delete document[key];
  }
  return document;
}

function readNode(document: SurveyDocument, entry: Field): void {
  const fields = entry.object();
  const id = need(entry, fields, "nodeId").nodeName();
  const has = (name: string) => fields.has(name) && fields.get(name)!.value !== null ? fields.get(name) : undefined;
  const state = has("state")?.oneOf(STATES);
  if (state !== undefined) document.states.set(id, state);
  if (has("isLateJoiner")?.boolean()) document.lateJoiners.add(id);
  const version = has("version")?.text();
  if (version !== undefined) document.versions.set(id, version);
  const figures = has("figures");
  if (figures !== undefined) {
    document.nodes.set(id, { nodeId: id, ...readNodeData(figures.object()), inboundPeers: [], outboundPeers: [] });
  }
  const attributes = has("attributes");
  if (attributes !== undefined) {
    const values = [...attributes.object()].map(([name, field]) => [name, field.attribute()] as const);
    document.attributes.set(id, Object.fromEntries(values));
  }
}

function readLink(document: SurveyDocument, entry: Field): void {
  const fields = entry.object();
  const ends = need(entry, fields, "ends").array().map((end) => end.nodeName());
  if (ends.length !== 2) throw entry.fail("needs two ends");
  const reports = need(entry, fields, "reports").array();
  if (reports.length === 0) {
    const dialer = fields.get("dialer");
    const by = dialer === undefined || dialer.value === null ? undefined : dialer.nodeName();
    const [from, to] = by === ends[1] ? [ends[1], ends[0]] : ends;
    document.looseLinks.push({ from, to, directed: by !== undefined });
  }
  for (const report of reports) {
    const values = report.object();
    const byField = need(report, values, "by");
    const by = byField.nodeName();
    if (!ends.includes(by)) throw byField.fail("is neither end of the link");
    const node: SurveyedNode | undefined = document.nodes.get(by);
    if (node === undefined) throw byField.fail(`${by} has no figures among the nodes`);
    const peer = by === ends[0] ? ends[1] : ends[0];
    const ping = values.get("medianPingMs"), version = values.get("peerVersion");
    if (ping !== undefined && ping.value !== null) values.set("averageLatencyMs", ping);
    const text = version === undefined || version.value === null ? undefined : version.text();
    const dialed = need(report, values, "dialed").oneOf(["nodeDialedPeer", "peerDialedNode"]);
    node[dialed === "nodeDialedPeer" ? "outboundPeers" : "inboundPeers"].push(readPeerData(values, peer, text));
  }
}

function need(owner: Field, fields: ReadonlyMap<string, Field>, name: string): Field {
  const field = fields.get(name);
  if (field === undefined) throw owner.fail(`needs ${name}`);
  return field;
}

function isoOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
