import { test } from "node:test";
import assert from "node:assert/strict";
import { readUint32 } from "../base/bytes.ts";
import { isFailure } from "../base/errors.ts";
import { sha256 } from "../crypto/primitives.ts";
import { encodeMessage, MessageType, type StellarMessage } from "../wire/messages.ts";
import { dispatcherOf } from "./message_dispatcher_test_kit.ts";
import { externalize, prepare, quorumSetOf, scpMessage, txSetOf, validators, value } from "./scp_state_test_kit.ts";
import { hashText } from "./tx_adverts_hashes.ts";

const KEYS = validators(3), [A, B, C] = KEYS;
const QSET = quorumSetOf(KEYS), TX_SET = txSetOf(1), VALUE = value(A, TX_SET.hash);

test("MessageDispatcher relays an envelope once its quorum set and transaction set came", () => {
  const { peers: [x, y], receive, ready, scp, dispatcher, gate } = dispatcherOf();
  const message = scpMessage(A, 5, externalize(QSET.hash, VALUE));
  receive(y, message);
  receive(x, message);
  assert.deepEqual([x.types(), y.types()], [[], [MessageType.getScpQuorumset, MessageType.getTxSet]]); // y had it first
  assert.deepEqual([ready.length, dispatcher.waiting, scp.slots], [0, 1, 0]);
  receive(y, QSET.message);
  assert.equal(ready.length, 0);
  receive(x, TX_SET.message);
  assert.deepEqual(ready, [message]);
  assert.deepEqual(dispatcher.fetching, { quorumSets: 0, txSets: 0 });
  assert.deepEqual([dispatcher.waiting, scp.statements(5), gate.size], [0, 1, 1]);
  const next = scpMessage(B, 5, externalize(QSET.hash, VALUE));
  receive(x, next); // everything is here already
  assert.deepEqual([ready, x.types()], [[message, next], []]);
});

test("MessageDispatcher answers from its caches, and DONT_HAVE otherwise", () => {
  const { peers: [x, y], receive } = dispatcherOf();
  receive(y, scpMessage(A, 5, externalize(QSET.hash, VALUE)));
  receive(y, QSET.message);
  receive(y, TX_SET.message);
  receive(x, { type: "getTxSet", txSetHash: TX_SET.hash });
  receive(x, { type: "getScpQuorumset", qSetHash: QSET.hash });
  assert.deepEqual(x.sent.splice(0), [TX_SET.message, QSET.message]);
  const reqHash = new Uint8Array(32).fill(1);
  receive(x, { type: "getTxSet", txSetHash: reqHash });
  receive(x, { type: "getScpQuorumset", qSetHash: reqHash });
  assert.deepEqual(x.sent, [
    encodeMessage({ type: "dontHave", dontHave: { type: MessageType.generalizedTxSet, reqHash } }),
    encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }),
  ]);
});

test("MessageDispatcher names the legacy type in DONT_HAVE before ledger protocol 20", () => {
  const { peers: [x], receive } = dispatcherOf({ ledger: { closeTimeMs: 5000, protocolVersion: 19 } });
  receive(x, { type: "getTxSet", txSetHash: new Uint8Array(32) });
  assert.equal(readUint32(x.sent[0], 4), MessageType.txSet);
});

test("scenario: GET_SCP_STATE rate limiting, at the dispatcher", async () => {
  const { clock, peers: [x, y], receive, dispatcher } = dispatcherOf({ fetchItems: false });
  receive(y, scpMessage(A, 5, prepare(QSET.hash, 1, VALUE)));
  const ask = (n: number) => {
    for (let i = 0; i < n; i++) receive(x, { type: "getScpState", ledgerSeq: 0 });
    return x.types().length;
  };
  assert.equal(ask(10), 10);
  assert.equal(ask(5), 0);
  assert.deepEqual([dispatcher.counts.answered, dispatcher.counts.overLimit], [10, 5]);
  await clock.advance(61_000);
  assert.equal(ask(1), 1);
  assert.equal(dispatcher.counts.answered, 11);
});

test("MessageDispatcher answers 300 queries of each kind in a window, then none", () => {
  const { peers: [x, y], receive, dispatcher } = dispatcherOf();
  for (let i = 0; i < 310; i++) receive(x, { type: "getTxSet", txSetHash: new Uint8Array(32) });
  for (let i = 0; i < 310; i++) receive(x, { type: "getScpQuorumset", qSetHash: new Uint8Array(32) });
  assert.deepEqual([x.sent.length, dispatcher.counts.overLimit], [600, 20]);
  receive(y, { type: "getTxSet", txSetHash: new Uint8Array(32) });
  assert.equal(y.sent.length, 1); // by peer
});

test("MessageDispatcher sends the checkpoint 2 s after the rest, unless it is closed", async () => {
  for (const close of [false, true]) {
    const { clock, peers: [x, y], receive, scp, dispatcher } = dispatcherOf({ fetchItems: false });
    scp.track(70);
    receive(y, scpMessage(A, 64, prepare(QSET.hash, 1, VALUE)));
    receive(y, scpMessage(A, 100, prepare(QSET.hash, 1, VALUE)));
    scp.track(90);
    receive(x, { type: "getScpState", ledgerSeq: 0 });
    assert.equal(x.types().length, 1);
    if (close) dispatcher.close();
    await clock.advance(1999);
    assert.equal(x.types().length, 0);
    await clock.advance(1);
    assert.equal(x.types().length, close ? 0 : 1);
  }
});

test("MessageDispatcher takes DONT_HAVE from the asked peer only, either type of transaction set, and ignores unknown types", () => {
  const { peers: [x, y], receive, dispatcher } = dispatcherOf();
  receive(y, scpMessage(A, 5, externalize(QSET.hash, VALUE)));
  y.types();
  const dontHave = (type: number, reqHash: Uint8Array): StellarMessage => ({
    type: "dontHave",
    dontHave: { type, reqHash },
  });
  receive(x, dontHave(MessageType.txSet, TX_SET.hash));
  receive(y, dontHave(77, TX_SET.hash));
  receive(y, dontHave(MessageType.scpQuorumset, TX_SET.hash));
  assert.deepEqual([x.types(), dispatcher.counts.dontHaveReceived], [[], 0]);
  receive(y, dontHave(MessageType.txSet, TX_SET.hash));
  assert.deepEqual([x.types(), dispatcher.counts.dontHaveReceived], [[MessageType.getTxSet], 1]);
});

test("MessageDispatcher ignores items nobody waits for, and keeps none of them", () => {
  const { peers: [x, y], receive, dispatcher } = dispatcherOf();
  receive(x, QSET.message);
  receive(x, TX_SET.message);
  receive(y, scpMessage(A, 5, externalize(QSET.hash, VALUE)));
  receive(x, txSetOf(2).message);
  receive(x, quorumSetOf([A]).message);
  assert.equal(dispatcher.counts.unwanted, 4);
  assert.deepEqual([dispatcher.quorumSets.size, dispatcher.txSets.size], [0, 0]);
});

test("MessageDispatcher discards the envelopes of an insane quorum set, so that they flood again", () => {
  const { peers: [x], receive, discarded, dispatcher, gate } = dispatcherOf();
  const insane = encodeMessage({
    type: "scpQuorumset",
    qSet: { threshold: 2, validators: [A.publicKey], innerSets: [] },
  });
  receive(x, scpMessage(A, 5, externalize(sha256(insane.subarray(4)), VALUE)));
  assert.equal(gate.size, 1);
  receive(x, insane);
  assert.deepEqual(discarded, ["insane_quorum_set"]);
  assert.deepEqual(dispatcher.fetching, { quorumSets: 0, txSets: 0 });
  assert.deepEqual([gate.size, dispatcher.waiting], [0, 0]);
});

test("MessageDispatcher drops what waits for slots that are gone", async () => {
  const { clock, peers: [x], receive, scp, discarded, dispatcher } = dispatcherOf();
  receive(x, scpMessage(A, 5, externalize(QSET.hash, VALUE)));
  receive(x, scpMessage(B, 100, externalize(QSET.hash, VALUE)));
  scp.track(99);
  assert.deepEqual([discarded, dispatcher.waiting], [["out_of_range"], 1]);
  scp.track(500);
  assert.deepEqual(dispatcher.fetching, { quorumSets: 0, txSets: 0 });
  x.types();
  await clock.advance(60_000);
  assert.deepEqual(x.types(), []);
});

test("MessageDispatcher discards what is refused, and throws on what does not decode", () => {
  const { peers: [x], receive, discarded, dispatcher, gate } = dispatcherOf();
  const message = scpMessage(C, 5, externalize(QSET.hash, VALUE));
  message[message.length - 1] ^= 1;
  receive(x, message);
  assert.deepEqual([discarded, gate.size, dispatcher.counts.discarded], [["bad_signature"], 0, 1]);
  assert.throws(() => receive(x, message.subarray(0, 100)), isFailure("xdr_invalid"));
  assert.throws(() => receive(x, Uint8Array.of(0, 0, 0, 12)), isFailure("xdr_invalid"));
  assert.ok(!receive(x, { type: "floodAdvert", txHashes: [] }));
});

test("MessageDispatcher moves the network's slot on while it processes what waited", () => {
  const { peers: [x], receive, scp, ready, dispatcher } = dispatcherOf();
  for (const key of KEYS) receive(x, scpMessage(key, 40, externalize(QSET.hash, VALUE)));
  receive(x, scpMessage(A, 3, prepare(QSET.hash, 1, VALUE)));
  receive(x, QSET.message);
  receive(x, TX_SET.message); // last in, first out: slot 3, then 40 three times
  assert.deepEqual([scp.tracking, ready.length, dispatcher.waiting], [40, 4, 0]);
});

test("MessageDispatcher.addQuorumSet keeps a set of our own", () => {
  const { peers: [x], receive, dispatcher } = dispatcherOf();
  assert.equal(dispatcher.addQuorumSet(QSET.set), hashText(QSET.hash));
  receive(x, { type: "getScpQuorumset", qSetHash: QSET.hash });
  assert.deepEqual(x.sent, [QSET.message]);
});

test("MessageDispatcher hands an envelope on once, also when it comes again after its flood record was cleared", () => {
  const { peers: [x, y], receive, ready, scp, dispatcher, gate, discarded } = dispatcherOf({ fetchItems: false });
  const message = scpMessage(A, 5, externalize(QSET.hash, VALUE));
  receive(x, message);
  gate.clearBelow(100);
  receive(y, message);
  assert.deepEqual([ready.length, discarded, gate.size, dispatcher.processed], [1, [], 1, 1]);
  scp.track(17);
  assert.equal(dispatcher.processed, 0);
  receive(y, message);
  assert.deepEqual([ready.length, discarded], [1, ["slot_too_old"]]);
});
