/**
 * We and an independent implementation, over real TCP: @stellarbeat/js-stellar-node-connector in a Node process of its own.
 * Handshake in both roles, PEERS, and both kinds of flooded messages under flow control in both directions.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, test } from "node:test";
import { fromHex, toHex } from "../../overlay/base/bytes.ts";
import { DEFAULT_FLOW_CONTROL } from "../../overlay/connection/flow_control.ts";
import { networkIdOf } from "../../overlay/crypto/primitives.ts";
import { encodeMessage } from "../../overlay/wire/messages.ts";
import { ConnectorProcess, type ConnectorStatus, type GrantSum } from "./connector_process.ts";
import { type OurContact, OurNode, type OurNodeOptions } from "./our_node.ts";

const PASSPHRASE = "Interop Test Network ; 2025";
const THEIR_WINDOW = { min: 35, max: 42 };
const THEIR_VERSION = "connector under Node";
const THEIR_PEERS = ["192.0.2.8:11625", "127.12.13.14:1", "203.0.113.255:65535"];
const OURS: OurNodeOptions = {
  passphrase: PASSPHRASE,
  seed: fromHex("a1".repeat(32)),
  host: "127.0.0.1",
  window: { min: 38, max: 41 },
  ledgerVersion: 24,
  versionStr: "stellar-overlay interop é 1",
  peers: ["1.2.3.4:11625", "127.99.0.1:65535", "198.51.100.7:1"],
};
const { floodMessages: GRANT, floodBytes: GRANT_BYTES, batchMessages: BATCH } = DEFAULT_FLOW_CONTROL;
/** More than four grants in each direction, more than two of each kind. */
const FLOOD = { scpMessages: 450, transactions: 430, bigEvery: 7 };
/** Under load signing takes its time; Bun's own limit is 5 s. */
const LIMIT = { timeout: 40_000 };

let connector: ConnectorProcess;
let ours: OurNode;

before(async () => {
  const node = { seed: "b2".repeat(32), host: "127.0.0.1", peers: THEIR_PEERS };
  connector = await ConnectorProcess.start({
    passphrase: PASSPHRASE,
    window: THEIR_WINDOW,
    ledgerVersion: 23,
    versionStr: THEIR_VERSION,
    nodes: [node],
  });
  ours = await OurNode.start(OURS);
});

after(async () => {
  await connector?.stop();
  await ours?.stop();
});

interface Pair {
  us: OurContact;
  them: ConnectorStatus;
}

async function weDial(): Promise<Pair> {
  const us = await ours.dial({ host: "127.0.0.1", port: connector.port });
  await us.live();
  return { us, them: await connector.next("connected") };
}

async function theyDial(): Promise<Pair> {
  await connector.call("dial", { node: 0, ...ours.address });
  const us = await ours.nextCaller();
  await us.live();
  return { us, them: await connector.next("connected") };
}

const ROLES: [name: string, connect: () => Promise<Pair>][] = [["we dial", weDial], ["the connector dials", theyDial]];

/** Ends a connection from our side; both ends must have been content until then. */
async function part({ us, them }: Pair): Promise<void> {
  assert.equal(us.dropped, undefined);
  const status = await connector.call("status", them);
  assert.deepEqual({ error: status.error, closed: status.closed }, { error: null, closed: false });
  us.peer.close("done");
  const closed = await connector.next("closed", ({ connection }) => connection === them.connection);
  assert.equal(closed.error, null);
}

for (const [name, connect] of ROLES) {
  test(`${name}: each side knows the other's node id, version string, window and network`, LIMIT, async () => {
    const pair = await connect();
    const { us, them } = pair;
    assert.equal(us.peer.nodeIdText, connector.nodes[0].nodeId);
    const { versionStr, overlayVersion, overlayMinVersion, ledgerVersion, networkId } = us.peer.hello!;
    assert.deepEqual([versionStr, overlayMinVersion, overlayVersion, ledgerVersion], [THEIR_VERSION, 35, 42, 23]);
    assert.equal(toHex(networkId), toHex(networkIdOf(PASSPHRASE)));
    assert.equal(them.nodeId, ours.local.nodeIdText);
    assert.deepEqual(them.info, {
      versionString: OURS.versionStr,
      overlayMinVersion: 38,
      overlayVersion: 41,
      ledgerVersion: 24,
      networkId: Buffer.from(networkIdOf(PASSPHRASE)).toString("base64"),
    });
    await part(pair);
  });

  test(`${name}: PEERS goes from the dialed side to the other, and only there`, LIMIT, async () => {
    const pair = await connect();
    const { us, them } = pair;
    // Answers come in order: behind a round trip in each direction nothing that was sent before is missing.
    await us.ping();
    await connector.call("ping", them);
    const status = await connector.call("status", them);
    assert.deepEqual(us.peers, us.peer.role === "weCalledRemote" ? THEIR_PEERS : undefined);
    assert.deepEqual(status.peers, us.peer.role === "weCalledRemote" ? null : OURS.peers);
    await part(pair);
  });

  test(`${name}: pings and quorum set requests are answered both ways`, LIMIT, async () => {
    const pair = await connect();
    const { us, them } = pair;
    for (let i = 0; i < 3; i++) {
      const rttMs = await us.ping();
      assert.ok(rttMs > 0 && rttMs < 2000, `${rttMs} ms`);
      assert.equal(us.peer.latencyMs, rttMs);
      const theirs = await connector.call<{ rttMs: number }>("ping", them);
      assert.ok(theirs.rttMs > 0 && theirs.rttMs < 2000, `${theirs.rttMs} ms`);
    }
    const qSetHash = connector.nodes[0].quorumSetHash;
    us.peer.send(encodeMessage({ type: "getScpQuorumset", qSetHash: fromHex(qSetHash) }));
    await us.until("their quorum set", () => us.quorumSetHash !== undefined);
    assert.equal(us.quorumSetHash, qSetHash);
    const status = await connector.call("status", them);
    // The initial GET_SCP_STATE reached it, and nothing but pings besides.
    assert.deepEqual(status.otherReceived, {
      getScpState: 1,
      getScpQuorumset: 4,
      dontHave: 3,
      ...(us.peer.role === "remoteCalledUs" ? { peers: 1 } : {}),
    });
    await part(pair);
  });

  test(
    `${name}: SCP messages and transactions far beyond one grant flow both ways at once, none lost`,
    LIMIT,
    async () => {
      const pair = await connect();
      const { us, them: { connection } } = pair;
      await connector.call("prepare", { connection, ...FLOOD, firstSlot: 1000 });
      const messages = us.prepare({ ...FLOOD, firstSlot: 2000 });
      const total = FLOOD.scpMessages + FLOOD.transactions;

      const theirFlow = connector.call("flow", { connection });
      us.flow(messages);
      // Nothing can have been granted within this tick: all but one grant waits.
      assert.equal(us.peer.flowControl.queued, total - GRANT);
      await Promise.all([theirFlow, connector.call("expect", { connection, ...FLOOD }), us.expect(FLOOD)]);
      await us.ping();
      await connector.call("ping", { connection });
      const status = await connector.call("status", { connection });
      const tallies = us.tallies();

      // The same messages in the same order at both ends, every signature good.
      assert.deepEqual(status.received, tallies.sent);
      assert.deepEqual(tallies.received, status.sent);
      for (const { scpMessage, transaction } of [tallies.sent, tallies.received]) {
        assert.deepEqual([scpMessage.count, transaction.count], [FLOOD.scpMessages, FLOOD.transactions]);
        assert.ok(transaction.bytes > GRANT_BYTES);
      }
      assert.deepEqual([us.badSignatures, status.badSignatures], [0, 0]);
      assert.deepEqual([us.peer.flowControl.queued, us.peer.flowControl.discarded, status.queued], [0, 0, 0]);
      assert.ok(status.stalls > 0, "the connector never had to wait for our credit");

      // The books agree: what one side granted, the other has spent or still holds.
      const spent = (side: typeof tallies.sent) => ({
        messages: side.scpMessage.count + side.transaction.count,
        bytes: side.scpMessage.bytes + side.transaction.bytes,
      });
      const ourCredit = us.peer.flowControl.credit;
      const weSpent = spent(tallies.sent), theySpent = spent(status.sent);
      assert.deepEqual(
        [status.grants.messages, status.grants.bytes],
        [Number(ourCredit.messages) + weSpent.messages, Number(ourCredit.bytes) + weSpent.bytes],
      );
      assert.deepEqual(
        [status.granted.messages, status.granted.bytes],
        [status.credit.messages + theySpent.messages, status.credit.bytes + theySpent.bytes],
      );
      // And each granted exactly what it had processed, but for the last messages, too few for a batch.
      const books: [GrantSum, typeof weSpent, number[]][] = [
        [status.grants, weSpent, status.lastFloodSizes],
        [status.granted, theySpent, us.floodSizes],
      ];
      for (const [granted, used, sizes] of books) {
        const open = used.messages + GRANT - granted.messages;
        assert.ok(open >= 0 && open < BATCH, `${open} messages not granted again`);
        const openBytes = sizes.slice(sizes.length - open).reduce((sum, size) => sum + size, 0);
        assert.equal(granted.bytes, used.bytes + GRANT_BYTES - openBytes);
        assert.ok(granted.grants > total / BATCH, `${granted.grants} grants`);
      }
      await part(pair);
    },
  );

  test(
    `${name}: we stop at exactly one grant while the connector processes nothing, and go on when it does`,
    LIMIT,
    async () => {
      const pair = await connect();
      const { us, them: { connection } } = pair;
      await connector.call("hold", { connection });
      us.flow(us.prepare({ scpMessages: GRANT + 130, transactions: 0, bigEvery: 0, firstSlot: 1 }));
      await connector.call("expect", { connection, scpMessages: GRANT, transactions: 0 });
      await us.ping(); // not under flow control, and behind everything that was sent
      const held = await connector.call("status", { connection });
      assert.deepEqual([held.received.scpMessage.count, us.peer.flowControl.queued], [GRANT, 130]);
      assert.equal(us.peer.flowControl.credit.messages, 0n);
      await connector.call("release", { connection });
      const done = await connector.call("expect", { connection, scpMessages: GRANT + 130, transactions: 0 });
      assert.deepEqual(done.received.scpMessage, us.tallies().sent.scpMessage);
      assert.equal(us.peer.flowControl.queued, 0);
      await part(pair);
    },
  );

  test(`${name}: large transactions are held back by bytes before the messages run out`, LIMIT, async () => {
    const pair = await connect();
    const { us, them: { connection } } = pair;
    const amount = { scpMessages: 0, transactions: 180, bigEvery: 1, firstSlot: 1 };
    await connector.call("prepare", { connection, ...amount });
    us.flow(us.prepare(amount));
    const { messages: left, bytes } = us.peer.flowControl.credit;
    assert.ok(
      left > 100n && bytes < 10_000n && us.peer.flowControl.queued > 120,
      `${left} messages, ${bytes} bytes left`,
    );
    const theirFlow = connector.call("flow", { connection });
    await Promise.all([theirFlow, us.expect(amount)]);
    const status = await connector.call("expect", { connection, ...amount });
    const tallies = us.tallies();
    assert.deepEqual([status.received, tallies.received], [tallies.sent, status.sent]);
    assert.ok(tallies.sent.transaction.bytes > 3 * GRANT_BYTES && status.stalls > 0);
    await part(pair);
  });
}

test("two connections at once between the same nodes, one in each role, do not disturb each other", LIMIT, async () => {
  const pairs = [await weDial(), await theyDial()];
  const amount = { scpMessages: 250, transactions: 10, bigEvery: 0 };
  await Promise.all(pairs.map(async ({ us, them: { connection } }, i) => {
    await connector.call("prepare", { connection, ...amount, firstSlot: 10_000 * i + 10_000 });
    us.flow(us.prepare({ ...amount, firstSlot: 10_000 * i + 15_000 }));
    await Promise.all([connector.call("flow", { connection }), us.expect(amount)]);
    const status = await connector.call("expect", { connection, ...amount });
    const tallies = us.tallies();
    assert.deepEqual([status.received, tallies.received], [tallies.sent, status.sent]);
  }));
  for (const pair of pairs) await part(pair);
});

test("PEERS from a connector that dialed us is a violation, and we drop it", LIMIT, async () => {
  const { us, them: { connection } } = await theyDial();
  await connector.call("sendPeers", { connection, peers: THEIR_PEERS });
  const { by, reason } = await us.end();
  assert.deepEqual({ by, reason }, { by: "us", reason: "received PEERS" });
  await connector.next("closed", (status) => status.connection === connection);
});

test("a window without a common version: we refuse the connector in both roles", LIMIT, async () => {
  const newer = await OurNode.start({ ...OURS, window: { min: 43, max: 50 } });
  try {
    const dialed = await newer.dial({ host: "127.0.0.1", port: connector.port });
    await connector.call("dial", { node: 0, ...newer.address });
    for (const contact of [dialed, await newer.nextCaller()]) {
      const { by, reason, error, failure } = await contact.end();
      assert.deepEqual([by, reason, error, failure.code], [
        "us",
        "wrong protocol version",
        "ERR_CONF",
        "version_mismatch",
      ]);
      assert.equal(contact.peer.nodeIdText, connector.nodes[0].nodeId);
      await connector.next("closed");
    }
  } finally {
    await newer.stop();
  }
});

test("another network: it closes without a word when we dial, and we when it dials", LIMIT, async () => {
  const foreign = await OurNode.start({ ...OURS, passphrase: "Some Other Network" });
  try {
    const dialed = await foreign.dial({ host: "127.0.0.1", port: connector.port });
    const refused = await dialed.end();
    assert.deepEqual([refused.by, refused.failure.code], ["remote", "silent_close"]);
    assert.equal((await connector.next("closed")).error, "Invalid auth cert");
    await connector.call("dial", { node: 0, ...foreign.address });
    const refusing = await (await foreign.nextCaller()).end();
    assert.deepEqual([refusing.by, refusing.reason, refusing.error], ["us", "failed to verify auth cert", undefined]);
    assert.equal((await connector.next("closed")).nodeId, undefined);
  } finally {
    await foreign.stop();
  }
});
