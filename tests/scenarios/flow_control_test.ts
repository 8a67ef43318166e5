/**
 * Upstream's flow control scenarios with the same expectations: two Peers on a simulated network in virtual time, on TCP
 * where upstream's are. Ledger settings (largest transaction, largest transaction set) are given directly.
 * Source: stellar-core OverlayTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Account, Asset, Keypair, Operation, TransactionBuilder } from "@stellar/stellar-base";
import { toHex } from "../../overlay/base/bytes.ts";
import { sleep, systemClock } from "../../overlay/base/clock.ts";
import {
  automaticFloodBytes,
  DEFAULT_FLOW_CONTROL,
  type FlowControlLimits,
  flowControlProblem,
  maxTransactionBytesOf,
} from "../../overlay/connection/flow_control.ts";
import { ScpQueueRules } from "../../overlay/connection/scp_queue.ts";
import { isNewerScpMessage } from "../../overlay/flood/scp_statements.ts";
import type { LocalNodeOptions } from "../../overlay/peer/local_node.ts";
import { PASSPHRASE } from "../../overlay/peer/peer_test_remote.ts";
import { FaultyStream } from "../../overlay/transport/memory_faults.ts";
import { decodeMessage, encodeMessage, MessageType, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { ScpPledges } from "../../overlay/wire/types.ts";
import { eventually, loopback, type Side, tcp, tx } from "../kit/peer_pair.ts";

// ---- Messages ----

const hashes = (n: number) => Array.from({ length: n }, (_, i) => new Uint8Array(32).fill(i + 1));
const advert = (n: number) => encodeMessage({ type: "floodAdvert", txHashes: hashes(n) });
const demand = (n: number) => encodeMessage({ type: "floodDemand", txHashes: hashes(n) });

const HASH = new Uint8Array(32);
const VALUE = Uint8Array.of(1);
const pledges = {
  nominate: { type: "nominate", nominate: { quorumSetHash: HASH, votes: [VALUE], accepted: [] } },
  prepare: {
    type: "prepare",
    prepare: {
      quorumSetHash: HASH,
      ballot: { counter: 1, value: VALUE },
      prepared: null,
      preparedPrime: null,
      nC: 0,
      nH: 0,
    },
  },
  externalize: {
    type: "externalize",
    externalize: { commit: { counter: 1, value: VALUE }, nH: 1, commitQuorumSetHash: HASH },
  },
} satisfies Record<string, ScpPledges>;

function scp(validator: number, slot: number, kind: keyof typeof pledges): Uint8Array {
  return encodeMessage({
    type: "scpMessage",
    envelope: {
      statement: { nodeId: new Uint8Array(32).fill(validator), slotIndex: BigInt(slot), pledges: pledges[kind] },
      signature: new Uint8Array(64),
    },
  });
}

/** What waits in a queue of SCP messages: validator and kind. */
function waiting(side: Side): string[] {
  return side.flow.queueOf(MessageType.scpMessage).map((bytes) => {
    const message = decodeMessage(bytes);
    assert.ok(message.type === "scpMessage");
    const { nodeId, pledges } = message.envelope.statement;
    return `${nodeId[0]} ${pledges.type}`;
  });
}

// ---- flow control byte capacity ----

const SIZE = 90_000;
const V38 = { overlayVersion: 38, overlayMinVersion: 38 };
const V42 = { overlayVersion: 42, overlayMinVersion: 38 };

/** Upstream's two sub-checks: what one transaction takes on both sides, and what its processing gives back. */
async function oneTransaction(
  limits: Partial<FlowControlLimits>,
  granted: boolean,
  nodes: Partial<LocalNodeOptions>[] = [{}, {}],
) {
  const { clock, a, b } = await loopback({ limits, node: nodes[0] }, { limits, node: nodes[1] });
  const { floodMessages, floodBytes } = b.flow.limits;
  for (let round = 0; round < (granted ? 3 : 1); round++) {
    b.holds = true;
    assert.deepEqual(a.flow.credit, { messages: BigInt(floodMessages), bytes: BigInt(floodBytes) });
    a.peer.send(tx(SIZE));
    await clock.advance(100);
    // Basic capacity accounting.
    assert.deepEqual(a.flow.credit, { messages: BigInt(floodMessages - 1), bytes: BigInt(floodBytes - SIZE) });
    assert.deepEqual(b.flow.localCapacity, { messages: floodMessages - 1, bytes: floodBytes - SIZE });
    // Send more flow.
    b.finish();
    await clock.advance(100);
    assert.deepEqual(b.flow.localCapacity, { messages: floodMessages, bytes: floodBytes });
    const left = granted ? [floodMessages, floodBytes] : [floodMessages - 1, floodBytes - SIZE];
    assert.deepEqual(a.flow.credit, { messages: BigInt(left[0]), bytes: BigInt(left[1]) });
  }
  assert.deepEqual([a.reason, b.reason, b.received.length], [undefined, undefined, granted ? 3 : 1]);
}

test("scenario: flow control byte capacity: basic capacity accounting", () => oneTransaction({}, false));
test("scenario: flow control byte capacity: send more flow", () => oneTransaction({ batchMessages: 1 }, true));
test("scenario: flow control byte capacity: batch size is less than message size", () =>
  oneTransaction({ batchBytes: SIZE / 2 }, true));
test("scenario: flow control byte capacity: batch size is greater than message size", () => {
  const limits = { ...DEFAULT_FLOW_CONTROL, floodBytes: 2 * SIZE + 2000, batchBytes: 2 * SIZE };
  assert.match(flowControlProblem(limits) ?? "", /minus batch \(2000 bytes\) is below the largest transaction/);
});
test("scenario: flow control byte capacity: message count kicks in first", () =>
  oneTransaction({ floodMessages: 1, batchMessages: 1, totalMessages: 2 }, true));
test("scenario: flow control byte capacity: automatic calculation of byte configs", () =>
  oneTransaction({ floodBytes: automaticFloodBytes(maxTransactionBytesOf(SIZE)) }, false));
test("scenario: flow control byte capacity: mixed versions", async () => {
  for (const nodes of [[V38, V42], [V42, V38]]) {
    await oneTransaction({}, false, nodes);
    await oneTransaction({ batchBytes: SIZE / 2 }, true, nodes);
  }
});
test("scenario: flow control byte capacity: older versions", async () => {
  await oneTransaction({}, false, [V38, V38]);
  await oneTransaction({ batchBytes: SIZE / 2 }, true, [V38, V38]);
});

// ---- … transaction size upgrades: room for tx1, and not for tx2 ----

const TX1 = 110_000, TX2 = 130_000, FEE_BUMP = 1900;
const MAX1 = maxTransactionBytesOf(TX1), MAX2 = maxTransactionBytesOf(TX2);
const TIGHT = { floodBytes: MAX1 + 1000, batchBytes: 1000, maxTransactionBytes: MAX1 };
const UPGRADES = "scenario: flow control byte capacity: transaction size upgrades";

/** Bytes that wrapping a transaction in a fee bump with as many signatures as are allowed adds. */
function feeBumpBytes(): number {
  const [source, sponsor] = [Keypair.random(), Keypair.random()];
  const inner = new TransactionBuilder(new Account(source.publicKey(), "1"), {
    fee: "100",
    networkPassphrase: PASSPHRASE,
  })
    .addOperation(Operation.payment({ destination: sponsor.publicKey(), asset: Asset.native(), amount: "1" }))
    .setTimeout(0).build();
  inner.sign(source);
  const bump = TransactionBuilder.buildFeeBumpTransaction(sponsor, "200", inner, PASSPHRASE);
  for (let i = 0; i < 20; i++) bump.sign(Keypair.random());
  return bump.toEnvelope().toXDR().length - inner.toEnvelope().toXDR().length;
}

test(`${UPGRADES}: overlay buffer is big enough`, () => {
  const added = feeBumpBytes();
  assert.ok(added > 1440 && added < 2000, String(added));
  assert.ok(TX2 + added < MAX2);
});

test(`${UPGRADES}: no upgrade, drop messages over limit`, async () => {
  assert.equal(flowControlProblem({ ...DEFAULT_FLOW_CONTROL, ...TIGHT }), undefined);
  const { clock, a, b } = await loopback({ limits: TIGHT });
  a.peer.send(tx(TX1));
  a.peer.send(tx(TX2));
  assert.equal(a.flow.queued, 0);
  await clock.advance(1000);
  assert.deepEqual(b.received.map((m) => m.length), [TX1]);
  assert.deepEqual([a.flow.oversized, a.reason, b.reason], [1, undefined, undefined]);
});

test(`${UPGRADES}: fee bump is within limit`, async () => {
  const { clock, a, b } = await loopback({ limits: TIGHT });
  a.peer.send(tx(TX1 + FEE_BUMP));
  await clock.advance(1000);
  assert.deepEqual(b.received.map((m) => m.length), [TX1 + FEE_BUMP]);
});

async function upgraded() {
  const pair = await loopback({ limits: TIGHT });
  const { clock, a, b } = pair;
  for (const { peer } of [a, b]) peer.setMaxTransactionBytes(MAX2);
  await clock.advance(100);
  const increase = MAX2 - MAX1;
  for (const { flow } of [a, b]) {
    assert.equal(flow.localCapacity.bytes, TIGHT.floodBytes + increase);
    assert.deepEqual(flow.credit, { messages: 200n, bytes: BigInt(TIGHT.floodBytes + increase) });
  }
  return pair;
}

for (const section of ["upgrade increases limit", "both upgrade"]) {
  test(`${UPGRADES}: ${section}`, async () => {
    const { clock, a, b } = await upgraded();
    a.peer.send(tx(TX2));
    await clock.advance(100);
    assert.deepEqual(b.received.map((m) => m.length), [TX2]);
    assert.deepEqual([a.reason, b.reason], [undefined, undefined]);
  });
}

test(`${UPGRADES}: fee-bump for tx2 is within limit after upgrade`, async () => {
  const { clock, a, b } = await upgraded();
  a.peer.send(tx(TX2));
  a.peer.send(tx(TX2 + FEE_BUMP));
  await clock.advance(100);
  assert.deepEqual(b.received.map((m) => m.length), [TX2, TX2 + FEE_BUMP]);
});

test(`${UPGRADES}: upgrade decreases limit`, async () => {
  const { clock, a, b } = await upgraded();
  b.holds = true;
  a.peer.send(tx(TX1));
  a.peer.send(tx(TX2));
  await clock.advance(100);
  assert.deepEqual([b.received.length, a.flow.queued], [1, 1]);
  const written = [a, b].map(({ peer }) => peer.connection.counters.messagesWritten);
  for (const { peer } of [a, b]) peer.setMaxTransactionBytes(MAX1);
  await clock.advance(100);
  assert.deepEqual([a, b].map(({ peer }) => peer.connection.counters.messagesWritten), written, "no grants");
  b.holds = false;
  b.finish();
  await clock.advance(100);
  assert.deepEqual(b.received.map((m) => m.length), [TX1, TX2]);
  a.peer.send(tx(TX1, 1));
  a.peer.send(tx(TX2, 1));
  await clock.advance(100);
  assert.deepEqual(b.received.map((m) => m.length), [TX1, TX2, TX1]);
});

for (const section of ["acceptor eventually upgrades", "acceptor never upgrades, drop after timeout"]) {
  test(`${UPGRADES}: upgrade delayed: ${section}`, async () => {
    const { clock, a, b } = await loopback({ limits: TIGHT });
    a.peer.setMaxTransactionBytes(MAX2);
    a.peer.send(tx(TX2));
    await clock.advance(1000);
    assert.deepEqual([a.flow.queued, b.received.length], [1, 0]);
    if (section.includes("never")) {
      await clock.advance(55_000);
      assert.equal(a.reason, undefined);
      await clock.advance(9000);
      assert.equal(a.reason, "us: idle timeout (no new flood requests)");
    } else {
      b.peer.setMaxTransactionBytes(MAX2);
      await clock.advance(1000);
      assert.deepEqual([a.flow.queued, b.received.map((m) => m.length), a.reason], [0, [TX2], undefined]);
    }
  });
}

// ---- Reading throttle ----

test("scenario: flow control total byte capacity throttles non-flood traffic", async () => {
  const validators = Array.from({ length: 2777 }, () => new Uint8Array(32));
  const qset = encodeMessage({ type: "scpQuorumset", qSet: { threshold: 1, validators, innerSets: [] } });
  const limits = { totalBytes: 3 * qset.length - 1 };
  const { a, b, close } = await tcp({ limits, settings: { ping: false } });
  const full = b.flow.localCapacity;
  for (let burst = 1; burst <= 100; burst++) {
    b.holds = true;
    for (let i = 0; i < 4; i++) a.peer.send(qset);
    await eventually(() => b.peer.throttled, "throttled");
    assert.equal(b.received.length, 4 * burst - 1);
    assert.deepEqual(b.flow.localCapacity, full);
    b.holds = false;
    b.finish();
    await eventually(() => b.received.length === 4 * burst, "all of a burst");
    assert.ok(!b.peer.throttled);
    assert.deepEqual(b.flow.totalCapacity, { messages: 201, bytes: limits.totalBytes });
  }
  assert.deepEqual([a.reason, b.reason, b.peer.metrics.readThrottles], [undefined, undefined, 100]);
  assert.deepEqual([a.flow.credit, b.flow.localCapacity], [{ messages: 200n, bytes: 300_000n }, full]);
  a.peer.destroy();
  b.peer.destroy();
  await close();
});

// ---- Grants and capacity ----

test("scenario: loopback peer flow control activation: basic", async () => {
  const { a, b } = await loopback();
  for (const { flow } of [a, b]) {
    assert.deepEqual(flow.credit, { messages: 200n, bytes: 300_000n });
    assert.deepEqual(flow.localCapacity, { messages: 200, bytes: 300_000 });
  }
});

test("scenario: loopback peer flow control activation: bad peer: invalid value in the message", async () => {
  const { clock, a, b } = await loopback();
  b.peer.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 0, numBytes: 0 } });
  await clock.advance(100);
  assert.equal(a.reason, "us: invalid message SEND_MORE_EXTENDED");
  assert.match(b.reason ?? "", /^remote: error reading message header/);
});

test("scenario: loopback peer flow control activation: bad peer: invalid message type", async () => {
  const { clock, a, b } = await loopback();
  b.peer.send({ type: "sendMore", sendMore: { numMessages: 1 } });
  await clock.advance(100);
  assert.equal(a.reason, "us: unexpected message type SEND_MORE");
  assert.match(b.reason ?? "", /^remote: error reading message header/);
});

for (
  const [section, limits] of [
    ["bytes", { floodBytes: 1001 }],
    ["messages", { floodMessages: 1 }],
  ] as const
) {
  test(`scenario: drop peers that dont respect capacity: ${section}`, async () => {
    const { clock, a, b } = await loopback({}, { limits });
    b.holds = true;
    // A believes that it may send more.
    a.flow.granted({ numMessages: 10, numBytes: 10_000 });
    a.peer.send(tx(1000, 1));
    a.peer.send(tx(1000, 2));
    await clock.advance(100);
    assert.equal(b.reason, "us: unexpected flood message, peer at capacity");
    assert.equal(b.received.length, 1, "the second is not processed");
    assert.match(a.reason ?? "", /^remote: error reading message header/, "and no ERROR_MSG is sent");
  });
}

test("scenario: drop idle flow-controlled peers", async () => {
  const { clock, a, b } = await loopback({}, {
    limits: { floodMessages: 1, batchMessages: 2, batchBytes: 1_000_000 },
  });
  a.peer.send(tx(1000, 1));
  a.peer.send(tx(1000, 2));
  await clock.advance(55_000);
  assert.deepEqual([a.reason, b.received.length, a.flow.queued], [undefined, 1, 1]);
  await clock.advance(10_000);
  assert.equal(a.reason, "us: idle timeout (no new flood requests)");
});

for (const section of ["message capacity", "byte capacity"]) {
  test(`scenario: drop peers that overflow capacity: ${section}`, async () => {
    const { clock, a, b } = await loopback();
    const taken = section === "message capacity" ? 200 : 300_000;
    // 2^64 - 1 - taken, in parts that a number holds exactly.
    for (const part of [2 ** 63, 2 ** 63 - 2 ** 20, 2 ** 20 - taken - 1]) {
      const [numMessages, numBytes] = section === "message capacity" ? [part, 1] : [0, part];
      assert.equal(a.flow.granted({ numMessages, numBytes }), undefined);
    }
    assert.equal(a.flow.credit[section === "message capacity" ? "messages" : "bytes"], 2n ** 64n - 1n);
    b.peer.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 2, numBytes: 2 } });
    await clock.advance(100);
    assert.equal(a.reason, "us: Peer capacity overflow");
  });
}

// ---- outbound queue filtering: B grants nothing, so everything A sends it waits ----

async function filtering(limits: Partial<FlowControlLimits> = {}, lcl = 67) {
  const scpQueue = new ScpQueueRules(isNewerScpMessage, { slotsToRemember: 3 });
  scpQueue.track(lcl);
  const pair = await loopback({ limits, settings: { scpQueue } }, { limits: { floodMessages: 0 } });
  return { ...pair, lcl };
}
const FILTERING = "scenario: outbound queue filtering";

test(`${FILTERING}: SCP messages, slot too old`, async () => {
  const { a, lcl } = await filtering();
  assert.equal((lcl - 3) % 64, 0);
  for (const validator of [1, 2]) a.peer.send(scp(validator, lcl - 3, "externalize"));
  assert.equal(a.flow.queued, 2);
  a.peer.send(scp(3, lcl - 4, "externalize"));
  assert.equal(a.flow.queued, 2);
});

test(`${FILTERING}: SCP messages, checkpoint too old`, async () => {
  const { a } = await filtering({}, 130);
  for (const slot of [64, 65, 127]) a.peer.send(scp(1, slot, "externalize"));
  assert.equal(a.flow.queued, 0);
});

test(`${FILTERING}: txs, limit reached: trim based on message count`, async () => {
  const { a } = await filtering();
  a.flow.setQueueLimit(1000);
  for (let i = 0; i < 1010; i++) a.peer.send(tx(200, i));
  assert.equal(a.flow.queued, 9);
  assert.equal(a.flow.droppedByQueue.txs, 1001);
});

test(`${FILTERING}: txs, limit reached: trim based on byte count`, async () => {
  const { a } = await filtering({ queuedTransactionBytes: 300 });
  for (let i = 0; i < 3; i++) a.peer.send(tx(200, i));
  assert.equal(a.flow.queued, 1);
});

test(`${FILTERING}: obsolete SCP messages: only latest messages, no trimming`, async () => {
  const { a, lcl } = await filtering({ queuedTransactionBytes: 1 });
  for (const validator of [1, 2, 3]) a.peer.send(scp(validator, lcl, "externalize"));
  assert.deepEqual(waiting(a), ["1 externalize", "2 externalize", "3 externalize"]);
});

test(`${FILTERING}: obsolete SCP messages: trim obsolete messages: trim prepare, keep nomination`, async () => {
  const { a, lcl } = await filtering();
  for (const kind of ["nominate", "prepare", "externalize"] as const) a.peer.send(scp(1, lcl, kind));
  assert.deepEqual(waiting(a), ["1 nominate", "1 externalize"]);
});

test(
  `${FILTERING}: obsolete SCP messages: trim obsolete messages: trim prepare, keep messages from other nodes`,
  async () => {
    const { a, lcl } = await filtering();
    for (const validator of [1, 2, 3]) {
      for (const kind of ["prepare", "externalize"] as const) a.peer.send(scp(validator, lcl, kind));
    }
    assert.deepEqual(waiting(a), ["1 externalize", "2 externalize", "3 externalize"]);
  },
);

test(`${FILTERING}: advert demand limit reached: count-based`, async () => {
  const { a } = await filtering({ queuedTransactionBytes: 1 });
  a.flow.setQueueLimit(1000);
  const lengths = () => [MessageType.floodAdvert, MessageType.floodDemand].map((type) => a.flow.queueOf(type).length);
  for (let i = 0; i < 1010; i++) {
    a.peer.send(advert(1));
    a.peer.send(demand(1));
  }
  assert.deepEqual(lengths(), [9, 9]);
  a.peer.send(advert(2));
  a.peer.send(demand(2));
  assert.deepEqual(lengths(), [10, 10]);
});

// ---- Whole conversations ----

test("scenario: flow control when out of sync", async () => {
  // Out of sync a node looks at no transaction: it is done with each as soon as it came.
  const limits = { floodMessages: 1, batchMessages: 1, totalMessages: 2 };
  let seen = 0;
  const { clock, a, b } = await loopback({}, { limits, onMessage: () => void seen++ });
  for (let i = 0; i < 100; i++) a.peer.send(tx(500, i));
  await clock.advance(1000);
  assert.deepEqual([seen, a.flow.queued, a.reason, b.reason], [100, 0, undefined, undefined]);
  assert.deepEqual(a.flow.credit, { messages: 1n, bytes: 300_000n });
});

for (const batch of [1, 5]) {
  test(`scenario: overlay flow control${batch === 1 ? "" : ": tx batches"}`, { timeout: 60_000 }, async () => {
    const limits = {
      floodMessages: 1,
      batchMessages: 1,
      totalMessages: 2,
      batchBytes: 1000,
      floodBytes: 1000 + DEFAULT_FLOW_CONTROL.maxTransactionBytes,
    };
    assert.equal(flowControlProblem({ ...DEFAULT_FLOW_CONTROL, ...limits }), undefined);
    const nodes = Array.from({ length: 3 }, () => new PullNode());
    const links = [];
    for (const [from, to] of [[0, 1], [1, 2], [2, 0]]) {
      const link = await tcp({ limits, onMessage: nodes[from].handle }, { limits, onMessage: nodes[to].handle });
      nodes[from].sides.push(link.a);
      nodes[to].sides.push(link.b);
      links.push(link);
    }
    for (let i = 0; i < 200; i += batch) {
      nodes[i % 3].add(...Array.from({ length: batch }, (_, k) => tx(300, i + k)));
      if (i % 20 === 0) await sleep(systemClock, 0);
    }
    await eventually(() => nodes.every((node) => node.known.size === 200), "all 200 everywhere");
    await eventually(() => nodes.every((node) => node.demanded.size === 0), "every demand answered");
    for (const { a, b } of links) {
      assert.deepEqual([a.reason, b.reason], [undefined, undefined]);
      assert.equal(a.flow.discarded + b.flow.discarded, 0);
      a.peer.destroy();
      b.peer.destroy();
    }
    for (const { close } of links) await close();
  });
}

/** A node that advertises what it has, demands what it has not, and answers demands. */
class PullNode {
  readonly sides: Side[] = [];
  readonly known = new Map<string, Uint8Array>();
  readonly demanded = new Set<string>();

  /** New transactions: advertised to everybody in one message. */
  add(...transactions: Uint8Array[]): void {
    const txHashes = transactions.map(idOf);
    transactions.forEach((transaction, i) => {
      this.known.set(toHex(txHashes[i]), transaction);
      this.demanded.delete(toHex(txHashes[i]));
    });
    for (const { peer } of this.sides) peer.send({ type: "floodAdvert", txHashes });
  }

  readonly handle = (side: Side, received: ReceivedMessage): void => {
    const message = received.decode();
    if (message.type === "floodAdvert") {
      const wanted = message.txHashes.filter((hash) => !this.known.has(toHex(hash)) && !this.demanded.has(toHex(hash)));
      for (const hash of wanted) this.demanded.add(toHex(hash));
      if (wanted.length > 0) side.peer.send({ type: "floodDemand", txHashes: wanted });
    } else if (message.type === "floodDemand") {
      for (const hash of message.txHashes) side.peer.send(this.known.get(toHex(hash))!);
    } else if (message.type === "transaction") {
      const copy = received.bytes.slice();
      if (!this.known.has(toHex(idOf(copy)))) this.add(copy);
    }
  };
}

/** A stand-in for a transaction's hash: its tag. */
function idOf(transaction: Uint8Array): Uint8Array {
  const id = new Uint8Array(32);
  id.set(transaction.subarray(8, 12));
  return id;
}

test("scenario: Queue purging after write completion: p1 never reads", async () => {
  const { clock, a, b } = await loopback({ limits: { queuedTransactionBytes: 2000 } });
  assert.ok(a.socket instanceof FaultyStream);
  a.socket.set({ corked: true });
  for (let i = 0; i < 1000; i++) {
    a.peer.send(tx(200, i));
    await clock.advance(1);
  }
  assert.ok(a.flow.droppedByQueue.txs > 0);
  assert.equal(b.received.length, 0);
  assert.ok(a.flow.beingSent + a.flow.queued <= 10);
});

test("scenario: Queue purging after write completion: p1 received all txs", async () => {
  const { clock, a, b } = await loopback({ limits: { queuedTransactionBytes: 2000 } });
  for (let i = 0; i < 1000; i++) {
    a.peer.send(tx(200, i));
    await clock.advance(1);
  }
  await clock.advance(100);
  assert.equal(b.received.length, 1000);
  assert.deepEqual([a.flow.beingSent, a.flow.queued, a.flow.discarded], [0, 0, 0]);
});
