import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { Io } from "../context.ts";
import { type PeerRow, PEERS_SCHEMA } from "../peers/book.ts";
import { type PeersReport } from "../peers/change_book.ts";
import type { PeerFacts } from "../peers/show.ts";
import {
  PEER_COLUMNS,
  type PeerListing,
  renderPeerFacts,
  renderPeers,
  renderPeersCsv,
  renderPeersForConfig,
  renderPeersReport,
  renderPeersText,
} from "./peers.ts";

const AT = "2026-01-02T03:04:05.006Z";
const HEAD = { at: AT, network: "testnet", database: "/x.sqlite" };
const HOSTILE = '=1+1,"\x1b[2J\n\udc80';
const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));
const pipe = { outIsTerminal: false, outColour: false } as Io;
const terminal = (columns: number) => ({ outIsTerminal: true, outColour: false, columns }) as Io;
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/;

const PEER: PeerRow = {
  address: "101.102.103.104:11625",
  type: "preferred",
  failures: 0,
  nextAttemptAt: "2026-01-02T03:09:05.006Z",
  lastOutcome: "reachable",
  lastCode: null,
  lastTriedAt: "2026-01-02T03:03:05.006Z",
  lastAdmittedAt: "2026-01-02T03:03:05.006Z",
  lastSeenAt: "2026-01-01T03:04:05.006Z",
  nodeId: node(1),
  versionStr: HOSTILE,
  rttMs: 12.345,
  visits: { tried: 10, admitted: 9 },
  banned: false,
};
const DEAD: PeerRow = {
  ...PEER,
  address: `[2001:db8::1]:11625`,
  type: "crawled",
  failures: 3,
  nextAttemptAt: null,
  lastOutcome: "silent",
  lastCode: "closed_before_hello",
  lastAdmittedAt: null,
  nodeId: null,
  versionStr: null,
  rttMs: null,
  visits: { tried: 1, admitted: 0 },
};
const NEW: PeerRow = {
  ...DEAD,
  address: "1.2.3.4:11625",
  type: "inbound",
  lastOutcome: null,
  lastCode: null,
  lastTriedAt: null,
};
const listing = (...peers: PeerRow[]): PeerListing => ({
  schema: PEERS_SCHEMA,
  action: "list",
  ...HEAD,
  total: 7,
  peers,
});

test("renderPeers fits 80 columns with what matters, shows more on wider ones, and everything on a pipe", () => {
  for (const columns of [80, 100, 120, 200]) {
    const lines = renderPeers(listing(PEER, DEAD, NEW), terminal(columns)).trimEnd().split("\n");
    for (const line of lines.slice(0, 4)) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.match(lines[1], /^101\.102\.103\.104:11625 +preferred +reachable/);
    assert.doesNotMatch(lines.join("\n"), CONTROL);
    assert.match(lines.at(-1)!, /^3 addresses of 7, 1 admitted us when last tried; database \/x\.sqlite of testnet$/);
  }
  const wide = renderPeers(listing(PEER, DEAD, NEW), terminal(300)).split("\n");
  assert.match(
    wide[0],
    /address +type +last outcome +rtt ms +fails +next +tried +node +admitted +seen +version +banned/,
  );
  assert.match(wide[1], /12\.3 +0 +in 5 min +60 s +GAAQC +9\/10 +24 h +=1\+1,"\\x1b\[2J\\x0a\\x80$/);
  assert.match(wide[2], /crawled +silent: closed_before_hello +3 +60 s +0\/1/);
  const rows = renderPeers(listing(PEER), pipe).trimEnd().split("\n").map((line) => line.split("\t"));
  assert.deepEqual(rows[1].slice(0, 8), [
    PEER.address,
    "preferred",
    "reachable",
    "12.3",
    "0",
    PEER.nextAttemptAt!,
    PEER.lastTriedAt!,
    node(1),
  ]);
  assert.equal(renderPeers(listing(), terminal(80)), "");
});

test("renderPeersText and renderPeersCsv carry hostile text harmlessly", () => {
  assert.equal(
    renderPeersText(listing(PEER, NEW)),
    `# 2 addresses of database /x.sqlite of testnet, ${AT}\n${PEER.address} # preferred, reachable, ${
      node(1)
    }\n1.2.3.4:11625 # inbound\n`,
  );
  const csv = renderPeersCsv(listing(PEER));
  const [head, row, end] = csv.split("\r\n");
  assert.deepEqual([head, end], [PEER_COLUMNS.join(","), ""]);
  assert.match(row, /,9,false,"'=1\+1,""\\x1b\[2J\\x0a\\x80"$/);
  assert.doesNotMatch(csv, CONTROL);
});

test("renderPeersForConfig: those that admit us, one per node, no banned one, no IPv6, as stellar-core reads them", () => {
  const other = { ...PEER, nodeId: node(2), versionStr: "v1" };
  const text = renderPeersForConfig(
    listing(
      { ...other, address: "1.1.1.1:1" },
      { ...other, address: "1.1.1.2:1" },
      { ...PEER, banned: true },
      { ...PEER, address: "[::2]:1", nodeId: node(3) },
      { ...PEER, address: "1.1.1.3:1", nodeId: null, rttMs: null, versionStr: null, visits: { tried: 0, admitted: 0 } },
      DEAD,
    ),
  );
  assert.equal(
    text,
    "# 2 nodes of testnet that admitted us when last tried, best first\n" +
      "# 1 node left out: stellar-core does not read IPv6 addresses\n" +
      `KNOWN_PEERS=[\n  "1.1.1.1:1", # ${node(2)}, 12.3 ms, admitted us in 9 of 10 crawls, v1\n  "1.1.1.3:1",\n]\n`,
  );
});

test("renderPeerFacts tells all, within the terminal, and escapes what remotes said", () => {
  const facts: PeerFacts = {
    schema: PEERS_SCHEMA,
    action: "show",
    ...HEAD,
    target: PEER.address,
    peers: [PEER],
    nodes: [{
      nodeId: node(1),
      firstSeenAt: AT,
      lastSeenAt: AT,
      hello: {
        versionStr: HOSTILE,
        overlayVersion: 41,
        overlayMinVersion: 38,
        ledgerVersion: 26,
        listeningPort: 11625,
        networkId: "",
      },
      ban: { nodeId: node(1), until: null, reason: HOSTILE, createdAt: AT, by: "ops" },
    }],
    visits: [{
      at: AT,
      run: 3,
      address: PEER.address,
      attempt: 2,
      state: "full",
      code: "peer_rejected",
      detail: "no free slot",
      remoteText: HOSTILE,
      nodeId: node(1),
      durationMs: 5,
      stagesMs: { tcp: 1.5, hello: 2 },
      rttMs: null,
      peers: 12,
    }],
  };
  const text = renderPeerFacts(facts, terminal(80));
  assert.doesNotMatch(text.replaceAll("\n", ""), CONTROL);
  for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
  const plain = renderPeerFacts(facts, pipe);
  assert.match(plain, /^ {2}type {10}preferred \(configured as preferred\)$/m);
  assert.match(plain, /^ {2}crawls {8}admitted us in 9 of 10$/m);
  assert.match(plain, /^ {2}banned {8}for ever by ops: =1/m);
  assert.match(
    plain,
    /full; no free slot \(peer_rejected\); "=1.*"; tcp 1\.50 ms, hello 2\.00 ms; 12 addresses; run 3, attempt 2$/m,
  );
});

test("renderPeersReport names each address of a short list, and only the trouble of a long one", () => {
  const row = (i: number, change: "added" | "skipped" | "changed" | "failed", code: string | null = null) => ({
    address: `1.0.0.${i}:1`,
    stored: change === "failed" ? null : `1.0.0.${i}:1`,
    change,
    type: "outbound" as const,
    code,
  });
  const report = (changes: PeersReport["changes"], dryRun = false): PeersReport => ({
    schema: PEERS_SCHEMA,
    action: "import",
    ...HEAD,
    dryRun,
    changes,
    counts: { added: changes.length },
    addresses: 9,
  });
  const some = [
    row(1, "added"),
    row(2, "changed"),
    row(3, "skipped", "private_address"),
    row(4, "failed", "dns_failed"),
  ];
  assert.equal(
    renderPeersReport(report(some), pipe),
    "1.0.0.1:1 is added (outbound)\n1.0.0.2:1 is outbound now\n" +
      "1.0.0.3:1 is skipped (private_address): --allow-private takes it\n" +
      "1.0.0.4:1 is not added: its name does not resolve (dns_failed)\n" +
      "4 added; 9 addresses in the node's address book, database /x.sqlite of testnet\n",
  );
  const many = [...Array.from({ length: 30 }, (_, i) => row(i, "added")), row(99, "skipped", "unroutable_address")];
  assert.deepEqual(renderPeersReport(report(many, true), pipe).split("\n").slice(0, 2), [
    "1.0.0.99:1 would be skipped (unroutable_address)",
    "dry run, nothing is changed: 31 added; 9 addresses in the node's address book, database /x.sqlite of testnet",
  ]);
});
