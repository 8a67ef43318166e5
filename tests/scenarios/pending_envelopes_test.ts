/**
 * Upstream's scenarios about SCP messages that wait for what they refer to, at the dispatcher. FETCHING is an envelope that
 * waits, READY one that is handed on. Source: stellar-core PendingEnvelopesTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { compareBytes } from "../../overlay/base/bytes.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import { dispatcherOf, type FakePeer } from "../../overlay/flood/message_dispatcher_test_kit.ts";
import {
  emptySetValue,
  nominate,
  prepare,
  quorumSetOf,
  scpMessage,
  txSetOf,
  validators,
  value,
} from "../../overlay/flood/scp_state_test_kit.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { decodeStellarValue, encodeStellarValue } from "../../overlay/wire/types.ts";

const NAME = "scenario: PendingEnvelopes recvSCPEnvelope";
const [A, B] = validators(2);
const QSET = quorumSetOf([A, B]), TX_SET = txSetOf(1), OTHER_TX_SET = txSetOf(2);
const BOTH = [MessageType.getScpQuorumset, MessageType.getTxSet];

/** A node that received a nomination by A of these values from x. */
function fetching(quorumSetHash: Uint8Array, values: Uint8Array[], slot = 2, protocolVersion = 28) {
  const ledger = { closeTimeMs: 5000, protocolVersion };
  const node = dispatcherOf({ ledger }, { ledger });
  const [x] = node.peers, message = scpMessage(A, slot, nominate(quorumSetHash, ...values));
  const nominated = () => node.receive(x, message);
  nominated();
  return { ...node, x, message, again: nominated };
}
const status = ({ dispatcher, ready, discarded }: ReturnType<typeof dispatcherOf>) =>
  discarded.length > 0 ? `DISCARDED ${discarded}` : ready.length > 0 ? "READY" : dispatcher.waiting ? "FETCHING" : "-";

for (const order of ["quorum set first", "tx set first"]) {
  test(`${NAME}: FETCHING until quorum set and tx set are here, ${order}`, () => {
    const node = fetching(QSET.hash, [value(A, TX_SET.hash)]);
    assert.deepEqual([status(node), node.x.types()], ["FETCHING", BOTH]);
    const items = [QSET.message, TX_SET.message];
    if (order === "tx set first") items.reverse();
    node.receive(node.x, items[0]);
    node.again(); // changes nothing
    assert.equal(status(node), "FETCHING");
    node.receive(node.x, items[1]);
    assert.deepEqual([status(node), node.ready, node.dispatcher.waiting], ["READY", [node.message], 0]);
    assert.deepEqual(node.x.types(), [], "nothing was asked twice");
  });
}

test(`${NAME}: waits for the tx sets of all its values`, () => {
  const values = [value(A, TX_SET.hash), value(B, OTHER_TX_SET.hash)].sort(compareBytes);
  const node = fetching(QSET.hash, values);
  assert.deepEqual(node.x.types(), [...BOTH, MessageType.getTxSet]);
  for (const item of [QSET.message, OTHER_TX_SET.message]) node.receive(node.x, item);
  assert.equal(status(node), "FETCHING");
  node.receive(node.x, TX_SET.message);
  assert.equal(status(node), "READY");
});

test(`${NAME}: DISCARDED with an insane quorum set`, () => {
  const insane = encodeMessage({
    type: "scpQuorumset",
    qSet: { threshold: 3, validators: [A.publicKey, B.publicKey], innerSets: [] },
  });
  const node = fetching(sha256(insane.subarray(4)), [value(A, TX_SET.hash)]);
  node.receive(node.x, insane);
  assert.deepEqual([status(node), node.dispatcher.fetching], ["DISCARDED insane_quorum_set", {
    quorumSets: 0,
    txSets: 0,
  }]);
});

test(`${NAME}: tx sets of values that nobody signed are not fetched`, () => {
  const signed = decodeStellarValue(value(A, TX_SET.hash));
  const unsigned = encodeStellarValue({ ...signed, ext: { v: 0 } });
  const forged = value(A, TX_SET.hash);
  forged[forged.length - 1] ^= 1; // the signature is the end of a value
  for (const bad of [unsigned, forged]) {
    const node = fetching(QSET.hash, [bad]);
    assert.deepEqual([status(node), node.x.types(), node.gate.size], ["DISCARDED bad_value", [], 0]);
  }
});

test(`${NAME}: a StellarValue of an unknown kind is DISCARDED`, () => {
  const signed = decodeStellarValue(value(A, TX_SET.hash));
  const unknown = { v: "unknown" as const, discriminant: 3, body: new Uint8Array(0) };
  const node = fetching(QSET.hash, [encodeStellarValue({ ...signed, ext: unknown })]);
  assert.deepEqual([status(node), node.x.types()], ["DISCARDED bad_value", []]);
});

test(`${NAME}: values that propose the empty tx set are good from protocol 28 on, and have none to fetch`, () => {
  const empty = emptySetValue(A, TX_SET.hash);
  const before = fetching(QSET.hash, [empty], 2, 27);
  assert.deepEqual([status(before), before.x.types()], ["DISCARDED bad_value", []]);
  const since = fetching(QSET.hash, [empty], 2, 28);
  assert.deepEqual([status(since), since.x.types()], ["FETCHING", [MessageType.getScpQuorumset]]);
  since.receive(since.x, QSET.message);
  assert.equal(status(since), "READY");
});

test(`${NAME}: a malformed tx set is accepted as received`, () => {
  const malformed = encodeMessage({
    type: "generalizedTxSet",
    generalizedTxSet: { v: 1, previousLedgerHash: new Uint8Array(32), phases: Uint8Array.of(0, 0, 0, 1, 9, 9, 9, 9) },
  });
  const node = fetching(QSET.hash, [value(A, sha256(malformed.subarray(4)))]);
  node.receive(node.x, QSET.message);
  node.receive(node.x, malformed);
  assert.equal(status(node), "READY");
});

for (const quorumSet of ["with", "without"]) {
  test(`${NAME}: envelopes of slots outside the range are erased, ${quorumSet} a quorum set`, async () => {
    const node = fetching(QSET.hash, [value(A, TX_SET.hash)], 2);
    const late: [FakePeer, Uint8Array] = [
      node.x,
      scpMessage(B, 60, prepare(QSET.hash, 1, value(B, OTHER_TX_SET.hash))),
    ];
    node.receive(...late);
    if (quorumSet === "with") node.receive(node.x, QSET.message);
    assert.equal(node.dispatcher.waiting, 2);
    node.scp.track(50);
    assert.deepEqual([node.discarded, node.dispatcher.waiting], [["out_of_range"], 1]);
    node.x.types();
    await node.clock.advance(60_000);
    const asked = new Set(node.x.types());
    assert.ok(asked.has(MessageType.getTxSet), "the other one is still searched");
    assert.equal(asked.has(MessageType.getScpQuorumset), quorumSet === "without");
    node.receive(node.x, TX_SET.message);
    assert.equal(node.ready.length, 0, "what it waited for comes too late");
  });
}
