import assert from "node:assert/strict";
import { test } from "node:test";
import { configure, pubnet } from "../base/config.ts";
import { isFailure } from "../base/errors.ts";
import { maxAdvertSize } from "../flood/tx_adverts.ts";
import { encodeMessage } from "../wire/messages.ts";
import { changeLedgerLimits, flowControlNow, initialLedgerLimits, largestTransaction } from "./ledger_limits.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";

test("changeLedgerLimits takes all changes or none, and an absent Soroban limit means no Soroban", () => {
  const limits = initialLedgerLimits(pubnet());
  assert.equal(largestTransaction(limits), 134_096);
  assert.equal(changeLedgerLimits(limits, { maxTxSetSizeOps: 1000 }), false);
  assert.equal(changeLedgerLimits(limits, { maxTxSetSizeOps: 2000, closeTimeMs: undefined }), true);
  assert.deepEqual([limits.maxTxSetSizeOps, limits.closeTimeMs], [2000, 5000]);
  assert.throws(
    () => changeLedgerLimits(limits, { maxTxSetSizeOps: 5, closeTimeMs: 0 }),
    isFailure("invalid_argument"),
  );
  assert.throws(() => changeLedgerLimits(limits, { sorobanTxMaxBytes: 1.5 }), isFailure("invalid_argument"));
  assert.equal(limits.maxTxSetSizeOps, 2000);
  changeLedgerLimits(limits, { sorobanTxMaxBytes: undefined });
  assert.equal(largestTransaction(limits), 102_400);
});

test("flowControlNow has room for the largest transaction of the moment, configured bytes included", () => {
  const limits = initialLedgerLimits(pubnet());
  assert.deepEqual([flowControlNow(pubnet(), limits).floodBytes, flowControlNow(pubnet(), limits).batchBytes], [
    300_000,
    100_000,
  ]);
  limits.sorobanTxMaxBytes = 498_000;
  assert.deepEqual(flowControlNow(pubnet(), limits).floodBytes, 600_000);
  const given = configure(pubnet(), { flowControl: { floodBytes: 200_000, batchBytes: 50_000 } });
  assert.equal(flowControlNow(given, limits).floodBytes, 550_000);
  assert.equal(flowControlNow(given, initialLedgerLimits(given)).floodBytes, 200_000);
});

test("setLedger reaches every connected peer at once, those in the handshake, and those that come later", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node);
  const waiting = await world.remoteAtHello(node);
  const grants = (from: typeof remote) =>
    from.received.flatMap((message) => message.type === "sendMoreExtended" ? [message.sendMoreExtended] : []);
  assert.deepEqual(grants(remote), [{ numMessages: 200, numBytes: 300_000 }]);

  node.setLedger({ sorobanTxMaxBytes: 298_000, maxTxSetSizeOps: 3 });
  await world.clock.advance(50);
  assert.deepEqual(grants(remote).slice(1), [{ numMessages: 0, numBytes: 300_000 - 134_096 }]);
  waiting.auth();
  await world.clock.advance(50);
  assert.deepEqual(grants(waiting), [{ numMessages: 200, numBytes: 400_000 }]);
  const later = await world.remote(node);
  assert.deepEqual(grants(later), [{ numMessages: 200, numBytes: 400_000 }]);
  for (const { peer } of node.authenticatedPeers()) {
    const { queuedTransactions, maxTransactionBytes } = peer.flowControl.limits;
    assert.deepEqual([queuedTransactions, maxTransactionBytes], [3, 300_000]);
  }
  const { limits } = world.eventsOf(node, "ledgerLimits")[0];
  assert.deepEqual([limits.sorobanTxMaxBytes, limits.maxTxSetSizeOps, limits.closeTimeMs], [298_000, 3, 5000]);

  // A decrease takes nothing back, and a larger transaction is not queued any more.
  node.setLedger({ sorobanTxMaxBytes: 1000 });
  await world.clock.advance(50);
  assert.equal(grants(remote).length, 2);
  node.sendTo(remote.node.nodeIdText, transactionOf(1, 102_396));
  node.sendTo(remote.node.nodeIdText, transactionOf(2, 102_400));
  await world.clock.advance(50);
  assert.deepEqual(remote.types.filter((type) => type === "transaction").length, 1);
  await world.stop(node);
});

test("setLedger sizes adverts and the query windows of the dispatcher", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node);
  const adverts = () =>
    remote.received.filter((message) => message.type === "floodAdvert").map((m) => m.txHashes.length);
  const offer = async (n: number, from: number) => {
    for (let i = 0; i < n; i++) node.broadcast(transactionOf(from + i));
    await world.clock.advance(150);
  };
  await offer(22, 1);
  assert.deepEqual(adverts(), [22], "ceil(1100 x 100 / 5000)");
  node.setLedger({ maxTxSetSizeOps: 100, sorobanLedgerMaxTxCount: 0, closeTimeMs: 2000 });
  await offer(12, 100);
  assert.deepEqual(adverts(), [22, 5, 5, 2], "ceil(100 x 100 / 2000)");

  // A window of 12 x 1 s answers 60 quorum set queries; the protocol decides how an unknown transaction set is called.
  node.setLedger({ closeTimeMs: 1000, protocolVersion: 19 });
  const query = encodeMessage({ type: "getScpQuorumset", qSetHash: new Uint8Array(32) });
  for (let i = 0; i < 70; i++) remote.send(query);
  remote.send({ type: "getTxSet", txSetHash: new Uint8Array(32) });
  await world.clock.advance(100);
  const answers = remote.received.flatMap((message) => message.type === "dontHave" ? [message.dontHave.type] : []);
  assert.deepEqual([answers.filter((type) => type === 10).length, answers.at(-1)], [60, 7]);
  node.metrics.tick();
  assert.equal(node.metrics.counters.queriesOverLimit, 10);
  await world.stop(node);
});

test("the flood rates of the configuration size adverts", () => {
  const limits = initialLedgerLimits(pubnet({ floodOpRatePerLedger: 0.5, floodSorobanRatePerLedger: 2 }));
  assert.equal(maxAdvertSize(limits), Math.ceil((500 + 200) * 100 / 5000));
});
