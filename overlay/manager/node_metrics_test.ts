/** Every metric moves in a busy run, by what really happens; and their names are stellar-core's. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  externalize,
  nominate,
  quorumSetOf,
  scpMessage,
  txSetOf,
  validators,
  value,
} from "../flood/scp_state_test_kit.ts";
import { sha256 } from "../crypto/primitives.ts";
import { COUNTERS, GAUGES, HISTOGRAMS, LABELLED_COUNTERS, OverlayMetrics } from "../metrics/overlay_metrics.ts";
import type { Drop, Peer } from "../peer/peer.ts";
import type { RawRemote } from "../peer/peer_test_remote.ts";
import { encodeMessage, messageEnumName, type StellarMessage } from "../wire/messages.ts";
import { countDrop, dropLabel } from "./node_metrics.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";
import type { OverlayManager } from "./overlay_manager.ts";

/** What was above zero in any snapshot so far. A family counts label by label. */
class Moved {
  readonly names = new Set<string>();

  look(node: OverlayManager): void {
    const { counters, labelledCounters, gauges, histograms } = node.metrics.snapshot();
    for (const [name, { count }] of Object.entries(counters)) if (count > 0) this.names.add(name);
    for (const family of [labelledCounters, gauges]) {
      for (const [name, value] of Object.entries(family)) {
        if (typeof value === "number") this.#take(name, value);
        else for (const [label, one] of Object.entries(value)) this.#take(`${name}.${label}`, one);
      }
    }
    for (const [name, value] of Object.entries(histograms)) {
      if (typeof value.count === "number") this.#take(name, value.count);
      else for (const [label, one] of Object.entries(value)) this.#take(`${name}.${label}`, one.count);
    }
  }

  #take(name: string, value: number): void {
    if (value > 0) this.names.add(name);
  }
}

/** Families whose every label must move. */
const LABELS: Record<string, string[]> = {
  inboundDrops: ["idle_timeout", "handshake_timeout", "connection_lost", "straggling", "dropped_by_user"],
  outboundDrops: ["dropped_by_remote"],
  outboundFailures: ["connect_refused"],
  scpStatements: ["nominate", "externalize"],
  scpDiscards: ["bad_signature", "out_of_range"],
  queueDiscards: ["advert", "txs", "demand", "scp"],
  surveyMessages: ["not_permitted", "phase"],
  pendingPeers: ["inbound", "outbound"],
  authenticatedPeers: ["inbound", "outbound"],
  queuedMessages: ["scp", "advert", "txs", "demand"],
  fetchingItems: ["quorumSet", "txSet"],
  cachedItems: ["quorumSet", "txSet"],
  cachedBytes: ["quorumSet", "txSet"],
  outboundQueueDelay: ["scp", "txs", "advert", "demand"],
  fetchTime: ["quorumSet", "txSet"],
};
/** The network in memory loses no write: {@link countDrop} has a test of its own. The process's memory is told by `run`. */
const ELSEWHERE = new Set(["writeErrors", "memoryBytes"]);

/** Answers pings, so that the connection stays. */
function answerPings(remote: RawRemote, more: (message: StellarMessage) => boolean = () => false): void {
  remote.onMessage = (message) => {
    if (message.type !== "getScpQuorumset" || more(message)) return;
    remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
  };
}

test("every metric moves in a busy run", async () => {
  const moved = new Moved();
  const world = new World({ fate: (to) => to.host === "11.0.0.98" ? "swallowed" : "refused" });
  const node = await world.add([2, 98, 99], {
    maxInboundPendingConnections: 2,
    stragglerTimeoutMs: 40_000,
    // Out of sync two random peers are asked for SCP state: less often than a straggler is found, whoever is asked.
    outOfSyncRecoveryMs: 50_000,
    maxTxSetSizeOps: 20,
  });
  const other = await world.add([]);
  await world.clock.advance(2500);
  moved.look(node);
  await world.clock.advance(10_000);
  const keys = validators(3), quorum = quorumSetOf(keys), set = txSetOf(1);
  const a = await world.remote(node), b = await world.remote(node);
  let bring = false;
  for (const remote of [a, b]) {
    answerPings(remote, (message) => {
      if (message.type !== "getScpQuorumset" || encodeMessage(message).join() !== ask.join()) return false;
      if (bring) remote.send(quorum.message, set.message);
      return true;
    });
  }
  const ask = encodeMessage({ type: "getScpQuorumset", qSetHash: quorum.hash });

  // Consensus: statements wait for their quorum set and transaction set, and are then flooded; one has a bad signature.
  const inbox = node.subscribe({ types: ["getScpState", "transaction"], generalLimit: 1 });
  const say = (slot: number, from: RawRemote) => {
    for (const key of keys) {
      from.send(scpMessage(key, slot, nominate(quorum.hash, value(key, set.hash))));
      from.send(scpMessage(key, slot, externalize(quorum.hash, value(key, set.hash))));
    }
  };
  const forged = scpMessage(keys[0], 1000, nominate(quorum.hash, value(keys[0], set.hash)));
  forged[forged.length - 1] ^= 1;
  a.send(forged);
  say(1000, a);
  await world.clock.advance(2000);
  moved.look(node);
  bring = true;
  await world.clock.advance(5000);
  say(1000, b);
  b.send(quorum.message, set.message);
  await world.clock.advance(500);
  assert.equal(node.ledgerSeq, 1000);
  moved.look(node);

  // Surveys: ours, which comes back, and that of somebody who may not.
  const startCollecting = { surveyorId: keys[0].publicKey, nonce: 1, ledgerNum: 1000 };
  a.send({ type: "timeSlicedSurveyStartCollecting", surveyStart: { signature: new Uint8Array(64), startCollecting } });
  node.survey.startCollecting(7);
  await world.clock.advance(500);
  b.send(b.received.find(({ type }) => type === "timeSlicedSurveyStartCollecting")!);
  await world.clock.advance(100);
  moved.look(node);

  // Transactions: offered by two, brought by the second; ours; thrown out after four ledgers.
  const hashes = (ns: number[]) => ns.map((n) => hashOf(n));
  for (const remote of [a, b]) remote.send({ type: "floodAdvert", txHashes: hashes([1, 2]) });
  await world.clock.advance(300);
  moved.look(node);
  await world.clock.advance(1500);
  b.send(transactionOf(1), transactionOf(1));
  node.broadcast(transactionOf(3));
  await world.clock.advance(500);
  a.send({ type: "floodDemand", txHashes: hashes([3, 77]) });
  await world.clock.advance(100);
  moved.look(node);
  node.scp.track(1001);
  node.scp.track(1010);
  a.send({ type: "floodDemand", txHashes: hashes([3]) });
  for (let i = 0; i < 12; i++) a.send({ type: "getScpState", ledgerSeq: 0 });
  await world.clock.advance(61_000);
  assert.equal(inbox.counts.waiting.general, 1);
  moved.look(node);

  // What waits for credit is bounded: a peer that never grants loses transactions, adverts and demands.
  const stuck = await world.remote(node, { messages: 0, bytes: 0 });
  answerPings(stuck);
  const id = stuck.node.nodeIdText;
  say(1011, a);
  for (let i = 0; i < 25; i++) {
    node.broadcast(transactionOf(100 + i));
    node.sendTo(id, transactionOf(100 + i));
    if (i === 10) {
      await world.clock.advance(150);
      stuck.send({ type: "floodAdvert", txHashes: [hashOf(50)] });
      await world.clock.advance(300);
      moved.look(node);
    }
  }
  await world.clock.advance(300);
  for (let i = 0; i < 25; i++) node.sendTo(id, { type: "floodDemand", txHashes: [hashOf(i)] });
  // A newer statement replaces the one that waits.
  node.scp.track(1030);
  say(1031, a);
  await world.clock.advance(500);
  moved.look(node);
  // Statements that wait for items leave with their slots.
  for (const remote of [a, b]) answerPings(remote);
  a.send(scpMessage(keys[0], 1031, nominate(new Uint8Array(32).fill(9), value(keys[0], set.hash))));
  await world.clock.advance(100);
  node.scp.track(1090);

  // Ends: silence in the handshake and afterwards, no writes, a lost connection, one we drop, one that finds no slot.
  await world.remote(node);
  for (let i = 0; i < 3; i++) await world.remoteAtHello(node);
  moved.look(node);
  await world.clock.advance(11_000);
  const slow = await world.remote(node);
  for (let s = 0; s < 9; s++) {
    await world.clock.advance(10_000);
    slow.send({ type: "dontHave", dontHave: { type: 10, reqHash: new Uint8Array(32) } });
  }
  (await world.remote(node)).socket.destroy();
  node.disconnect(b.node.nodeIdText);
  await world.clock.advance(1000);
  moved.look(node);
  await world.stop(other);
  node.connect({ host: "11.0.0.98", port: 1 });
  await world.clock.advance(100);
  moved.look(node);
  await world.stop(node);
  moved.look(node);

  // A watcher ignores transactions; a slow reader of SCP messages stops the reading.
  const watcher = await world.add([], {
    isValidator: false,
    flowControl: { totalMessages: 3, floodMessages: 2, batchMessages: 1 },
  });
  const peer = await world.remote(watcher);
  watcher.subscribe({ types: ["dontHave"], guardedLimit: 0 });
  const nothing: StellarMessage = { type: "dontHave", dontHave: { type: 10, reqHash: new Uint8Array(32) } };
  peer.send(transactionOf(1), nothing, nothing, nothing, nothing);
  await world.clock.advance(100);
  moved.look(watcher);
  await world.stop(watcher);

  const expected = [
    ...Object.keys(COUNTERS),
    ...[LABELLED_COUNTERS, GAUGES, HISTOGRAMS].flatMap((table) =>
      Object.keys(table).flatMap((name) => LABELS[name]?.map((label) => `${name}.${label}`) ?? name)
    ),
  ];
  assert.deepEqual(expected.filter((name) => !moved.names.has(name) && !ELSEWHERE.has(name)), []);
});

test("messages are counted by type in both directions, the handshake's included", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node);
  await world.clock.advance(1000);
  const { messages } = node.metrics.snapshot();
  const bytes = remote.received.reduce((sum, message) => sum + encodeMessage(message).length, 0);
  assert.deepEqual(messages.HELLO.read, 1);
  assert.deepEqual([messages.AUTH.written, messages.SEND_MORE_EXTENDED.read, messages.GET_SCP_STATE.written], [
    1,
    1,
    1,
  ]);
  assert.equal(Object.values(messages).reduce((sum, type) => sum + type.written, 0), remote.received.length);
  assert.equal(Object.values(messages).reduce((sum, type) => sum + type.bytesWritten, 0), bytes);
  const { counters } = node.authenticatedPeers()[0].peer.connection;
  assert.equal(Object.values(messages).reduce((sum, type) => sum + type.read, 0), counters.messagesRead);
  await world.stop(node);
});

test("a message seen from anyone is a duplicate from everyone, per peer and in all", async () => {
  const world = new World();
  const node = await world.add([]);
  const a = await world.remote(node), b = await world.remote(node);
  const advert: StellarMessage = { type: "floodAdvert", txHashes: [hashOf(1)] }, set = txSetOf(3).message;
  a.send(advert, transactionOf(1), set);
  await world.clock.advance(50);
  b.send(advert, transactionOf(1), transactionOf(2), set, set);
  await world.clock.advance(50);
  const [first, second] = [a, b].map(({ node: { nodeIdText } }) =>
    node.peers().find(({ nodeId }) => nodeId === nodeIdText)!.metrics
  );
  const flood = (m: typeof first) => [m.uniqueFloodMessageRecv, m.duplicateFloodMessageRecv];
  const fetch = (m: typeof first) => [m.uniqueFetchMessageRecv, m.duplicateFetchMessageRecv];
  assert.deepEqual([flood(first), flood(second), fetch(first), fetch(second)], [[2, 0], [1, 2], [1, 0], [0, 2]]);
  const transaction = encodeMessage(transactionOf(1)).length, offer = encodeMessage(advert).length;
  assert.deepEqual([first.uniqueFloodBytesRecv, second.duplicateFloodBytesRecv, second.duplicateFetchBytesRecv], [
    transaction + offer,
    transaction + offer,
    2 * set.length,
  ]);
  const { counters } = node.metrics;
  assert.deepEqual(
    [counters.uniqueFloodMessages, counters.duplicateFloodMessages, counters.uniqueFetchBytes],
    [3, 2, set.length],
  );
  await world.stop(node);
});

test("countDrop names drops by code, never by text of the remote", () => {
  const metrics = new OverlayMetrics({ clock: new World().clock, typeName: messageEnumName });
  const peer = { role: "remoteCalledUs" } as Peer;
  const drop = (failure: Drop["failure"], by: Drop["by"] = "remote", reason = "evil text"): Drop => ({
    by,
    reason,
    failure,
  });
  countDrop(metrics, peer, drop({ code: "connection_lost", reset: false, reason: "EPIPE" }), true);
  countDrop(metrics, peer, drop({ code: "connection_lost", reset: true, reason: "ECONNRESET" }), true);
  countDrop(metrics, peer, drop({ code: "frame_malformed", reason: "x", stage: "live" }, "us"), true);
  const { writeErrors, readErrors } = metrics.counters;
  assert.deepEqual([writeErrors, readErrors], [1, 2]);
  assert.deepEqual(metrics.snapshot().labelledCounters.inboundDrops, { connection_lost: 2, frame_malformed: 1 });
  assert.equal(dropLabel(drop({ code: "local_close", reason: "" }, "us", "peer rejected")), "peer_rejected");
  assert.equal(dropLabel(drop({ code: "local_close", reason: "" }, "us", "something else")), "local_close");
});

test("the names of stellar-core's metrics are those of a recorded node, and what we lack is known", () => {
  const recorded = readFileSync(new URL("../../tests/fixtures/http/metrics.json", import.meta.url), "utf8");
  const theirs = new Set([...recorded.matchAll(/"(overlay\.[^"]+)"/g)].map((match) => match[1]));
  const ours = [COUNTERS, LABELLED_COUNTERS, GAUGES, HISTOGRAMS].flatMap((table) =>
    Object.values(table).flatMap((entry) => "core" in entry ? entry.core : [])
  );
  const covers = (pattern: string, name: string) =>
    pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
  assert.deepEqual(ours.filter((pattern) => ![...theirs].some((name) => covers(pattern, name))), []);
  const perType = /^overlay\.(message\.(read|write)|byte\.(read|write)|recv\.|send\.|recv-transaction\.)/;
  const lacking = [...theirs].filter((name) => !perType.test(name) && !ours.some((pattern) => covers(pattern, name)));
  assert.deepEqual(lacking.sort(), [
    // A transaction queue's, and test builds'.
    "overlay.flood.irrelevant-txs",
    "overlay.flood.relevant-txs",
    "overlay.flood.tx-batch-size",
  ]);
});

/** The hash of `transactionOf(n)`. */
function hashOf(n: number): Uint8Array {
  return sha256(encodeMessage(transactionOf(n)).subarray(4));
}
