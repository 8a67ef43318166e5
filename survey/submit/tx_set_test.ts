/** Transaction sets of a real stellar-core, against the adverts and transactions of the same session. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { xdr } from "@stellar/stellar-base";
import { equalBytes, readUint32, toHex } from "../../overlay/base/bytes.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { initPrimitives, networkIdOf, sha256 } from "../../overlay/crypto/primitives.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import { decodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { decodeStellarValue } from "../../overlay/wire/types.ts";
import { loadSession, splitFrame } from "../../tests/kit/fixtures.ts";
import { bytesOf, payment, phasesOf } from "../../tests/kit/transaction_ledgers.ts";
import { inspectEnvelope } from "./envelope.ts";
import { LedgerBoard } from "./ledger_board.ts";
import { hashOn, signedPart } from "./tx_hash.ts";
import { envelopesOf } from "./tx_set.ts";

before(() => initPrimitives());

/** What stellar-core sent in the recorded session, by type. */
function received(...types: number[]): Uint8Array[] {
  const { frames } = loadSession("caller-flood");
  return frames.filter(({ dir, type }) => dir === "in" && type !== "hello").map(({ bytes }) =>
    splitFrame(bytes).message
  )
    .filter((message) => types.includes(readUint32(message, 0)));
}

test("envelopesOf finds the advertised transactions in the recorded transaction sets, by hash", () => {
  const sets = received(MessageType.generalizedTxSet, MessageType.txSet);
  assert.equal(sets.length, 12);
  const advertised = new Set(
    received(MessageType.floodAdvert).flatMap((message) => {
      const advert = decodeMessage(message);
      return advert.type === "floodAdvert" ? advert.txHashes.map(toHex) : [];
    }),
  );
  const sent = new Set(received(MessageType.transaction).map(transactionHash));
  assert.deepEqual([advertised.size, sent.size], [102, 102]);
  const inSets = new Set<string>();
  for (const set of sets) {
    for (const envelope of envelopesOf(set, xdr)) inSets.add(toHex(sha256(new Uint8Array(envelope.toXDR()))));
  }
  const both = [...inSets].filter((hash) => advertised.has(hash) && sent.has(hash));
  // The session began in the middle of a ledger and ended before the last transactions were in one.
  assert.ok(both.length > 60, `${both.length} of ${inSets.size}`);
});

test("the hashes of recorded transactions verify under their signatures, so they are what stellar-core signs", async () => {
  const networkId = networkIdOf(LOCAL.passphrase);
  for (const message of received(MessageType.transaction)) {
    const bytes = message.slice(4);
    const { view, refusal } = await inspectEnvelope(bytes, {
      network: LOCAL,
      wallMs: Date.UTC(2026, 10, 23),
      sorobanTxMaxBytes: 132_096,
    });
    assert.equal(refusal, undefined);
    assert.ok(view.signatures.every(({ network }) => network === "local"));
    assert.equal(view.advertHash, transactionHash(message));
    const part = signedPart(xdr.TransactionEnvelope.fromXDR(Buffer.from(bytes)));
    assert.equal(view.hash, toHex(hashOn(networkId, part)));
  }
});

test("LedgerBoard closes the recorded ledgers once each, with sets that were fetched in the session", () => {
  const board = new LedgerBoard();
  const sets = new Set(received(MessageType.generalizedTxSet).map((message) => toHex(sha256(message.subarray(4)))));
  const closed = [], externalized = new Map<number, Set<string>>();
  for (const message of received(MessageType.scpMessage)) {
    const decoded = decodeMessage(message);
    if (decoded.type !== "scpMessage") continue;
    const { pledges, slotIndex } = decoded.envelope.statement;
    if (pledges.type === "externalize") {
      const { txSetHash } = decodeStellarValue(pledges.externalize.commit.value);
      const slot = Number(slotIndex);
      externalized.set(slot, (externalized.get(slot) ?? new Set()).add(toHex(txSetHash)));
    }
    closed.push(...board.hear(decoded.envelope, Number(slotIndex)));
  }
  assert.deepEqual(
    closed.map(({ sequence }) => sequence).sort((a, b) => a - b),
    [...externalized.keys()].sort((a, b) => a - b),
  );
  for (const { sequence, txSetHash } of closed) assert.deepEqual([...externalized.get(sequence)!], [txSetHash]);
  assert.ok(closed.filter(({ txSetHash }) => sets.has(txSetHash!)).length >= 10);
});

test("LedgerBoard waits for the network, a majority, and validators that count", () => {
  const { frames } = loadSession("caller-flood");
  const envelopes = frames.filter(({ dir, type }) => dir === "in" && type === "scpMessage").flatMap(({ bytes }) => {
    const decoded = decodeMessage(splitFrame(bytes).message);
    return decoded.type === "scpMessage" && decoded.envelope.statement.pledges.type === "externalize"
      ? decoded.envelope
      : [];
  });
  const first = envelopes[0], { nodeId, slotIndex } = first.statement, slot = Number(slotIndex);
  assert.deepEqual(new LedgerBoard().hear(first, undefined), []);
  assert.deepEqual(new LedgerBoard().hear(first, slot - 1), []);
  assert.equal(new LedgerBoard().hear(first, slot).length, 1);
  assert.deepEqual(new LedgerBoard([new Uint8Array(32)]).hear(first, slot), []);
  assert.equal(new LedgerBoard([nodeId]).hear(first, slot).length, 1);
  // Another validator says something else about the ledger: nobody has a majority.
  const later = envelopes.find(({ statement }) =>
    statement.slotIndex !== slotIndex && !equalBytes(statement.nodeId, nodeId)
  )!;
  const split = new LedgerBoard();
  split.hear(first, undefined);
  assert.deepEqual(split.hear({ ...later, statement: { ...later.statement, slotIndex } }, slot), []);
});

test("envelopesOf reads made sets in order, parallel stages and sets of the old form", () => {
  const made = [1, 2, 3].map((n) => bytesOf(payment({ sequence: String(n) })));
  const head = new Uint8Array([0, 0, 0, 17, 0, 0, 0, 1, ...new Uint8Array(32)]);
  const found = envelopesOf(new Uint8Array([...head, ...phasesOf(made)]), xdr);
  assert.deepEqual(
    found.map((envelope) => toHex(envelope.toXDR())).sort(),
    made.map(toHex).sort(),
  );
  const envelopes = made.map((bytes) => xdr.TransactionEnvelope.fromXDR(Buffer.from(bytes)));
  const parallel = new xdr.ParallelTxsComponent({
    baseFee: null,
    executionStages: [[[envelopes[0]], [envelopes[1]]], [[envelopes[2]]]],
  });
  // deno-lint-ignore no-explicit-any
  const phase = new (xdr.TransactionPhase as any)(1, parallel);
  const set = new xdr.TransactionSetV1({ previousLedgerHash: Buffer.alloc(32), phases: [phase] });
  const inStages = envelopesOf(new Uint8Array([0, 0, 0, 17, 0, 0, 0, 1, ...set.toXDR()]), xdr);
  assert.deepEqual(inStages.map((envelope) => toHex(envelope.toXDR())), made.map(toHex));
  const old = new xdr.TransactionSet({ previousLedgerHash: Buffer.alloc(32), txes: envelopes });
  assert.equal(envelopesOf(new Uint8Array([0, 0, 0, 7, ...old.toXDR()]), xdr).length, 3);
});
