/**
 * A whole engine among independent validators over real TCP: six connectors in a Node process of their own, three that we dial
 * and three that dial us, for a minute of SCP messages and transactions in both directions under flow control. Every message
 * must reach everybody else exactly once, and the books must agree at both ends.
 *
 * INTEROP_SECONDS shortens it while somebody works on it; the suite runs it whole in both runtimes.
 */
import * as base from "@stellar/stellar-base";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import { after, before, test } from "node:test";
import { toHex } from "../../overlay/base/bytes.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { standalone } from "../../overlay/base/config.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { openDatabase } from "../../overlay/db/database.ts";
import { migrate } from "../../overlay/db/schema.ts";
import type { MetricsSnapshot } from "../../overlay/metrics/overlay_metrics.ts";
import { type OverlayEvent, OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { systemResolver, TcpTransport } from "../../overlay/transport/tcp.ts";
import {
  decodeMessage,
  messageEnumName,
  MessageType,
  type MessageTypeName,
  messageTypeName,
} from "../../overlay/wire/messages.ts";
import { type FrameTap, type TapDirection, TappedTransport } from "../kit/frame_tap.ts";
import { ConnectorProcess, type ConnectorStatus, type TypeSums, type ValidatorReport } from "./connector_process.ts";
import { leaderOf, nameOf, Speaker, txSetOf } from "./validator.mjs";
import { Conditions } from "./waiting.ts";

const PASSPHRASE = "Interop Engine Network ; 2025";
const CONNECTORS = 6;
/** The first ones are dialed by us, the others dial us. */
const DIALED = 3;
const PHASE_MS = 750;
const DURATION_MS = 1000 * Number(process.env.INTEROP_SECONDS ?? 60);
/** We are validator 0, connector i is validator i + 1. */
const PLAN = {
  passphrase: PASSPHRASE,
  validators: CONNECTORS + 1,
  firstSlot: 1000,
  slots: Math.floor(DURATION_MS / PHASE_MS / 4),
  phaseMs: PHASE_MS,
  transactionsPerPhase: 2,
  // An advert leaves when it holds 22 hashes, so 88 are demanded before anything is granted anew: 500,000 bytes.
  burst: 100,
  burstEverySlots: 2,
};
const PHASES = 4 * PLAN.slots;
/** No transaction of a burst is larger, bytes. */
const LARGE_TRANSACTION = 9000;
const WAIT_LIMIT_MS = 30_000;
const LIMIT = { timeout: DURATION_MS + 150_000 };
/** Theirs; offered to those that we dial. Nobody can be met at an address of documentation, so it is not kept. */
const THEIR_PEERS = ["127.12.13.14:1", "127.255.13.14:65535", "192.0.2.8:11625"];

let connectors: ConnectorProcess;
let engine: OverlayManager;
const events: OverlayEvent[] = [];
const changes = new Conditions();
/** Node id of the remote, from its HELLO. */
const tapOf = new Map<string, FrameTap>();
const transport = new TappedTransport(new TcpTransport(), (tap, direction, message) => {
  if (direction !== "read" || tap.sums.read.size > 1) return;
  const hello = base.xdr.StellarMessage.fromXDR(Buffer.from(message)).hello();
  tapOf.set(base.StrKey.encodeEd25519PublicKey(hello.peerId().ed25519()), tap);
});

before(async () => {
  connectors = await ConnectorProcess.start({
    passphrase: PASSPHRASE,
    window: { min: 35, max: 42 },
    ledgerVersion: 23,
    versionStr: "connector among validators",
    nodes: Array.from({ length: CONNECTORS }, (_, i) => ({
      seed: `d${i}`.repeat(32),
      host: `127.0.0.${10 + i}`,
      peers: THEIR_PEERS,
    })),
  });
  const database = await openDatabase(":memory:");
  migrate(database);
  engine = new OverlayManager({
    config: standalone({
      networkPassphrase: PASSPHRASE,
      isValidator: true,
      listeningPort: 0,
      noDial: true,
      startDelayMs: 1,
    }),
    transport,
    resolver: systemResolver,
    clock: systemClock,
    random: systemRandom,
    database,
    seed: new Uint8Array(32).fill(0xe7),
    log: (event) => {
      events.push(event);
      changes.changed();
    },
  });
  await engine.start();
});

after(async () => {
  await engine?.stop();
  await connectors?.stop();
});

/** Opens all connections; the connectors' side of them, by the index of the node. */
async function connectAll(): Promise<ConnectorStatus[]> {
  for (let i = 0; i < DIALED; i++) assert.ok(engine.connect({ host: `127.0.0.${10 + i}`, port: connectors.port }));
  const statuses: ConnectorStatus[] = [];
  for (let i = 0; i < CONNECTORS; i++) {
    // Those that dial come later, so that we have addresses to offer them.
    if (i === DIALED) await changes.until(WAIT_LIMIT_MS, "our dials", () => engine.counts.outbound === DIALED);
    if (i >= DIALED) await connectors.call("dial", { node: i, ...engine.listening! });
    const status = await connectors.next("connected", (one) => i < DIALED ? one.role === "accepted" : one.node === i);
    statuses[status.node] = status;
  }
  await changes.until(WAIT_LIMIT_MS, "all callers", () => engine.counts.inbound === CONNECTORS - DIALED);
  return statuses;
}

/** Speaks as validator 0 for the whole time; what was said, by name. */
async function speak(): Promise<{ scp: string[]; transactions: string[]; quorumSetHash: string }> {
  const signer = base.Keypair.fromRawEd25519Seed(Buffer.alloc(32, 0xe7));
  const speaker = new Speaker(base, PLAN, 0, signer);
  const quorumSet = decodeMessage(base.xdr.StellarMessage.scpQuorumset(speaker.quorumSet).toXDR());
  assert.ok(quorumSet.type === "scpQuorumset");
  const said = { scp: [] as string[], transactions: [] as string[], quorumSetHash: "" };
  said.quorumSetHash = engine.dispatcher.addQuorumSet(quorumSet.qSet);
  for (let slot = PLAN.firstSlot; slot < PLAN.firstSlot + PLAN.slots; slot++) {
    if (leaderOf(PLAN, slot) !== 0) continue;
    const { message, hash } = txSetOf(base, PLAN, slot);
    engine.dispatcher.txSets.set(toHex(hash), new Uint8Array(message.toXDR()));
  }
  const sets = new Conditions();
  const inbox = engine.subscribe({ types: ["generalizedTxSet"] });
  const listening = (async () => {
    for await (const _ of inbox) sets.changed();
  })();
  for (let number = 0; number < PHASES; number++) {
    await new Promise((resolve) => setTimeout(resolve, PHASE_MS));
    const { scpMessage, transactions } = speaker.phase(number);
    // As a node does, we speak of a set once we have it.
    const setHash = toHex(txSetOf(base, PLAN, PLAN.firstSlot + (number >> 2)).hash);
    await sets.until(WAIT_LIMIT_MS, "the set of a slot", () => engine.dispatcher.txSets.has(setHash));
    for (const message of [scpMessage, ...transactions]) {
      const bytes = new Uint8Array(message.toXDR());
      assert.equal(engine.broadcast(decodeMessage(bytes)).length, CONNECTORS);
      if (message === scpMessage) said.scp.push(nameOf(bytes));
      else said.transactions.push(nameOf(bytes.subarray(4)));
    }
  }
  inbox.close();
  await listening;
  return said;
}

/** Sums by stellar-base's names, as the connector reports them. */
function sumsOf(tap: FrameTap, direction: TapDirection): TypeSums {
  return Object.fromEntries([...tap.sums[direction]].map(([type, sum]) => [messageTypeName(type)!, { ...sum }]));
}

const total = (sums: TypeSums) =>
  Object.values(sums).reduce((sum, { count, bytes }) => ({ count: sum.count + count, bytes: sum.bytes + bytes }), {
    count: 0,
    bytes: 0,
  });

/** Everybody's counts at a moment when nothing is under way: a ping may always have left since, so it may take some tries. */
async function settled(connections: ConnectorStatus[]) {
  const look = () => connections.map(({ node }) => JSON.stringify(ends(tapOf.get(connectors.nodes[node].nodeId)!)));
  for (let attempt = 1;; attempt++) {
    // Answers come in order: behind a round trip nothing that was sent before is missing.
    await Promise.all(connections.map((to) => connectors.call("ping", to)));
    const ours = look();
    const statuses = await Promise.all(connections.map((to) => connectors.call("status", to)));
    const all = { ours, statuses, peers: engine.peers(), metrics: engine.metrics.snapshot() };
    const quiet = look().every((text, i) => text === ours[i]) &&
      statuses.every(({ traffic }, i) => JSON.stringify(sorted(traffic)) === ours[i]);
    if (quiet || attempt === 20) return all;
  }
}

/** The connection as its other end should see it. */
function ends(tap: FrameTap): { received: TypeSums; sent: TypeSums } {
  return sorted({ received: sumsOf(tap, "written"), sent: sumsOf(tap, "read") });
}

function sorted({ received, sent }: { received: TypeSums; sent: TypeSums }): { received: TypeSums; sent: TypeSums } {
  const byName = (sums: TypeSums) => Object.fromEntries(Object.entries(sums).sort(([a], [b]) => a < b ? -1 : 1));
  return { received: byName(received), sent: byName(sent) };
}

test(
  "an engine and six connectors: a minute of traffic, every message to everybody once, the same books at both ends",
  LIMIT,
  async () => {
    const connections = await connectAll();
    const cpuBefore = process.cpuUsage();
    const theirCpuBefore = await connectors.call<{ cpuMs: number }>("cpu");
    const startedMs = performance.now();

    const [said] = await Promise.all([speak(), connectors.call("validate", { plan: PLAN }, DURATION_MS + 100_000)]);
    const reportOf = (to: ConnectorStatus) => connectors.call<ValidatorReport>("report", to);
    const made = await Promise.all(connections.map(reportOf));
    const scp = [said.scp, ...made.map((report) => report.scpMade)];
    const transactions = [said.transactions, ...made.map((report) => report.transactionsMade)];
    const others = <T>(lists: T[][], i: number) => lists.filter((_, of) => of !== i + 1).flat().sort();
    try {
      for (const { node, connection } of connections) {
        const expected = { connection, transactions: others(transactions, node).length };
        await connectors.call("expectNetwork", expected, WAIT_LIMIT_MS);
      }
      await until("the end of all queues", () => {
        const { envelopes } = engine.dispatcher.counts;
        return envelopes === CONNECTORS * PHASES && engine.peers().every((peer) => peer.queuedMessages === 0);
      });
      for (const to of connections) {
        const scpMessages = others(scp, to.node).length - replacedFor(to);
        await connectors.call("expectNetwork", { connection: to.connection, scpMessages }, WAIT_LIMIT_MS);
      }
    } catch (error) {
      const reports = await Promise.all(connections.map(reportOf));
      throw new Error(missing(scp, transactions, reports), { cause: error });
    }
    const { ours, statuses, peers, metrics } = await settled(connections);
    const reports = await Promise.all(connections.map(reportOf));

    // Nobody was dropped, nobody sent what was not granted, and both sides know it.
    assert.deepEqual(events.filter(({ event }) => event !== "authenticated").map(({ event }) => event), [
      "listening",
      ...Array(DIALED).fill("dialing"),
      "syncGained",
    ]);
    assert.deepEqual([engine.counts.outbound, engine.counts.inbound], [DIALED, CONNECTORS - DIALED]);
    statuses.forEach((status, i) => {
      const tap = tapOf.get(connectors.nodes[i].nodeId)!;
      assert.equal(tap.role, i < DIALED ? "weCalledRemote" : "remoteCalledUs");
      assert.deepEqual(
        [status.error, status.closed, status.queued, status.badSignatures, status.overdrawn],
        [null, false, 0, 0, 0],
      );
      assert.deepEqual([tap.credit.read.overdrawn, tap.credit.written.overdrawn], [0, 0]);
      // The same books at both ends: what we granted and they used, and the other way round.
      assert.deepEqual([tap.credit.read.granted, tap.credit.written.granted], [status.granted, status.grants]);
      const { messages, bytes } = tap.credit.read.left;
      assert.deepEqual(status.credit, { messages, bytes });
      // More than the first grant was used in each direction.
      for (const book of [tap.credit.read, tap.credit.written]) assert.ok(book.granted.grants > 1);
    });

    // Each side ran out of credit in some burst and had to wait, if there was time for all bursts.
    if (PLAN.slots >= PLAN.burstEverySlots * PLAN.validators) {
      for (const status of statuses) {
        assert.ok(status.stalls > 0, `connector ${status.node} never waited for our credit`);
        assert.ok(tapOf.get(connectors.nodes[status.node].nodeId)!.credit.written.least.bytes < LARGE_TRANSACTION);
      }
    }

    // Counts and bytes by type at both ends, and by the engine's own counters.
    const sums: MetricsSnapshot["messages"] = {};
    statuses.forEach((status, i) => {
      assert.deepEqual(sorted(status.traffic), JSON.parse(ours[i]), `connector ${i}`);
      const { nodeId } = connectors.nodes[i];
      const peer = peers.find((peer) => peer.nodeId === nodeId)!, { received, sent } = status.traffic;
      assert.deepEqual(
        [peer.messagesRead, peer.bytesRead, peer.messagesWritten, peer.bytesWritten],
        [sent, received].flatMap((sums) => [total(sums).count, total(sums).bytes + 48 * total(sums).count]),
      );
      assert.ok(peer.latencyMs! > 0, "our pings were answered");
      const { messages, bytes } = status.granted, { grants } = status;
      const { flowControl: { localCapacity, localCapacityBytes, peerCapacity, peerCapacityBytes } } = peer;
      // What is not granted anew is less than a batch; what they granted and we did not use is our credit.
      const { read, written } = tapOf.get(nodeId)!.credit;
      assert.deepEqual([localCapacity.flood, localCapacityBytes.flood], [200, 300_000]);
      assert.ok(200 + read.used.messages - messages < 40 && 300_000 + read.used.bytes - bytes < 100_000);
      assert.deepEqual([Number(peerCapacity), Number(peerCapacityBytes)], [
        grants.messages - written.used.messages,
        grants.bytes - written.used.bytes,
      ]);
      for (const type of Object.keys({ ...received, ...sent })) {
        const sum = (sums[messageEnumName(MessageType[type as MessageTypeName])] ??= {
          read: 0,
          written: 0,
          bytesRead: 0,
          bytesWritten: 0,
        });
        sum.read += sent[type]?.count ?? 0;
        sum.bytesRead += sent[type]?.bytes ?? 0;
        sum.written += received[type]?.count ?? 0;
        sum.bytesWritten += received[type]?.bytes ?? 0;
      }
    });
    assert.deepEqual(metrics.messages, sums);
    assert.deepEqual(metrics.labelledCounters.outboundDrops, {});
    assert.deepEqual(metrics.labelledCounters.inboundDrops, {});

    // Every SCP message and every transaction of the others, once each; nothing of one's own.
    reports.forEach((report, i) => {
      // Save for statements that a newer one of their node and slot replaced while they waited for credit: PREPARE and CONFIRM.
      const got = new Set(report.scpReceived);
      const replaced = scp.flatMap((names, of) => of === i + 1 ? [] : names.filter((name) => !got.has(name)));
      assert.equal(replaced.length, replacedFor(connections[i]), `SCP messages at connector ${i}`);
      for (const name of replaced) {
        assert.ok([1, 2].includes(scp.find((names) => names.includes(name))!.indexOf(name) & 3));
      }
      assert.deepEqual([...report.scpReceived, ...replaced].sort(), others(scp, i));
      assert.deepEqual(report.transactionsReceived.slice().sort(), others(transactions, i), `transactions at ${i}`);
      const { echoes, duplicates, unknownDemands, unasked, refused, wrongItems, advertisedHashes } = report;
      assert.deepEqual([echoes, duplicates, unknownDemands, unasked, refused, wrongItems], [0, 0, 0, 0, 0, 0]);
      assert.equal(advertisedHashes, others(transactions, i).length);
    });
    assert.equal(scp.flat().length, PLAN.validators * PHASES);
    assert.equal(new Set([...scp.flat(), ...transactions.flat()]).size, scp.flat().length + transactions.flat().length);

    // Items: the engine fetched each from the only one that had it, and answered everybody else from its caches.
    const slots = Array.from({ length: PLAN.slots }, (_, i) => PLAN.firstSlot + i);
    const setHashes = slots.map((slot) => toHex(txSetOf(base, PLAN, slot).hash));
    reports.forEach((report, i) => {
      const foreign = setHashes.filter((_, at) => leaderOf(PLAN, slots[at]) !== i + 1).sort();
      assert.deepEqual(report.txSetsFetched.slice().sort(), foreign);
      const quorumSets = [said.quorumSetHash, ...connectors.nodes.map(({ quorumSetHash }) => quorumSetHash)];
      assert.deepEqual(report.quorumSetsFetched.slice().sort(), quorumSets.filter((_, at) => at !== i + 1).sort());
    });
    const { dispatcher, demands } = engine;
    assert.deepEqual([dispatcher.waiting, dispatcher.fetching], [0, { quorumSets: 0, txSets: 0 }]);
    assert.deepEqual([dispatcher.txSets.size, dispatcher.quorumSets.size], [PLAN.slots, PLAN.validators]);
    assert.deepEqual([dispatcher.counts.envelopes, dispatcher.counts.discarded], [CONNECTORS * PHASES, 0]);
    assert.equal(dispatcher.counts.answered, CONNECTORS * (PLAN.slots + PLAN.validators - 1) - leadByThem(slots));
    assert.equal(engine.scp.tracking, slots.at(-1));
    assert.deepEqual(
      [demands.counts.pulled, demands.counts.timeouts, demands.counts.abandoned, demands.counts.unknown],
      [
        transactions.slice(1).flat().length,
        0,
        0,
        0,
      ],
    );

    const theirs = transactions.slice(1).flat().length, own = said.transactions.length;
    const { counters } = metrics;
    assert.deepEqual(
      [counters.receivedAdvertHashes, counters.demandedHashes, counters.fulfilledDemands, counters.unknownDemands]
        .map(({ count }) => count),
      [theirs, theirs, theirs * (CONNECTORS - 1) + own * CONNECTORS, 0],
    );
    // Each message of a connector goes to all others, ours to all.
    assert.equal(
      counters.relayedMessages.count,
      (CONNECTORS * PHASES + theirs) * (CONNECTORS - 1) + (PHASES + own) * CONNECTORS,
    );
    const inEach = CONNECTORS * PLAN.slots;
    assert.deepEqual(metrics.labelledCounters.scpStatements, {
      nominate: inEach,
      prepare: inEach,
      confirm: inEach,
      externalize: inEach,
    });

    // PEERS: ours to those that dialed us, theirs into our book.
    connections.forEach(({ node }, i) => {
      const heard = statuses[i].peers;
      if (node < DIALED) assert.equal(heard, null);
      else for (let dialed = 0; dialed < DIALED; dialed++) assert.ok(heard!.includes(`127.0.0.${10 + dialed}:11625`));
    });
    for (const text of THEIR_PEERS) {
      const [host, port] = text.split(":");
      assert.equal(engine.peerManager.load({ host, port: Number(port) }).known, !host.startsWith("192.0.2."), text);
    }

    const seconds = (performance.now() - startedMs) / 1000;
    const ourCpu = process.cpuUsage(cpuBefore);
    const theirCpu = (await connectors.call<{ cpuMs: number }>("cpu")).cpuMs - theirCpuBefore.cpuMs;
    const percent = (ms: number) => `${(ms / 10 / seconds).toFixed(0)} %`;
    console.log(
      `${seconds.toFixed(1)} s, ${scp.flat().length} SCP messages and ${transactions.flat().length} transactions, ` +
        `${connections.reduce((sum, to) => sum + replacedFor(to), 0)} replaced; CPU: ours ${
          percent((ourCpu.user + ourCpu.system) / 1000)
        }, theirs ${percent(theirCpu)}; stalls: ` +
        statuses.map(({ stalls }) => stalls).join(),
    );
  },
);

/** Waits for something nobody tells about. */
async function until(what: string, condition: () => boolean): Promise<void> {
  for (const untilMs = performance.now() + WAIT_LIMIT_MS; !condition();) {
    if (performance.now() > untilMs) throw new Error(`waited ${WAIT_LIMIT_MS} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** SCP messages to a connector that a newer one replaced before they could leave. */
function replacedFor({ node }: ConnectorStatus): number {
  const { peer } = engine.authenticatedPeers().find(({ nodeId }) => nodeId === connectors.nodes[node].nodeId)!;
  assert.equal(peer.flowControl.discarded, 0);
  return peer.flowControl.replaced;
}

/** Which messages of whom did not reach whom, and where the engine stands. */
function missing(scp: string[][], transactions: string[][], reports: ValidatorReport[]): string {
  const lines: string[] = [];
  for (
    const [kind, made, received] of [
      ["SCP messages", scp, reports.map((report) => report.scpReceived)],
      ["transactions", transactions, reports.map((report) => report.transactionsReceived)],
    ] as const
  ) {
    made.forEach((names, of) => {
      received.forEach((list, at) => {
        const got = new Set(list);
        const lost = names.flatMap((name, number) => got.has(name) ? [] : [number]);
        if (of !== at + 1 && lost.length > 0) lines.push(`connector ${at} lacks ${kind} ${lost} of validator ${of}`);
      });
    });
  }
  const { demands, dispatcher, transactions: pool, scp: { tracking } } = engine;
  lines.push(JSON.stringify({ demands: demands.counts, dispatcher: dispatcher.counts, pool: pool.size, tracking }));
  for (const peer of engine.peers()) {
    lines.push(
      `${peer.nodeId} ${peer.flowControl.peerCapacity}, ${peer.flowControl.peerCapacityBytes} bytes, ${peer.queuedMessages} queued, ${peer.metrics.messageDrop}`,
    );
  }
  return lines.join("\n");
}

/** Questions for sets that the asker itself would have had to ask: none by the leader of a slot. */
function leadByThem(slots: number[]): number {
  return slots.filter((slot) => leaderOf(PLAN, slot) !== 0).length;
}
