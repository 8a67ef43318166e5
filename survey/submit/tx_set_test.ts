/** Transaction sets of a real stellar-core, against the adverts and transactions of the same session. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { xdr } from "@stellar/stellar-base";
import { equalBytes, readUint32, toHex } from "../../overlay/base/bytes.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { initPrimitives, networkIdOf, sha256 } from "../../overlay/crypto/primitives.ts";
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

test("transactions of a real network: adverts name them by advertHash, and their signatures verify under hash", async () => {
  const advertised = new Set(
    received(MessageType.floodAdvert).flatMap((message) => {
      const advert = decodeMessage(message);
      return advert.type === "floodAdvert" ? advert.txHashes.map(toHex) : [];
    }),
  );
  const transactions = received(MessageType.transaction).map((message) => message.slice(4));
  assert.equal(transactions.length, 102);
  const hashes = await Promise.all(transactions.map(advertHashOf));
  assert.deepEqual(new Set(hashes), advertised);
});

test("envelopesOf gives every transaction of the recorded sets, whole and rightly signed", async () => {
  // All twelve belong to ledgers from before the session, so none of its adverts is about them.
  const sets = received(MessageType.generalizedTxSet, MessageType.txSet);
  const envelopes = sets.flatMap((set) => envelopesOf(set, xdr));
  assert.deepEqual([sets.length, envelopes.length], [12, 171]);
  for (const envelope of envelopes) await advertHashOf(new Uint8Array(envelope.toXDR()));
  // The set's bytes hold nothing but head, counts and these envelopes.
  for (const set of sets) {
    const inside = envelopesOf(set, xdr).reduce((sum, envelope) => sum + envelope.toXDR().length, 0);
    assert.ok(set.length - inside <= 96, `${set.length} - ${inside}`);
  }
});

/** Its advert hash, once it was seen to be signed for the recorded network under the hash that we compute. */
async function advertHashOf(bytes: Uint8Array): Promise<string> {
  const options = { network: LOCAL, wallMs: Date.UTC(2026, 10, 23), sorobanTxMaxBytes: 132_096 };
  const { view, refusal } = await inspectEnvelope(bytes, options);
  assert.equal(refusal, undefined);
  assert.ok(view.signatures.length > 0 && view.signatures.every(({ network }) => network === "local"));
  const part = signedPart(xdr.TransactionEnvelope.fromXDR(Buffer.from(bytes)));
  assert.equal(view.hash, toHex(hashOn(networkIdOf(LOCAL.passphrase), part)));
  return view.advertHash;
}

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
