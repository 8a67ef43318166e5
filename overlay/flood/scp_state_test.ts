import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../base/clock.ts";
import type { ScpBallot, ScpPledges, ScpQuorumSet } from "../wire/types.ts";
import { checkpointStart, ScpState, type ScpStateOptions } from "./scp_state.ts";
import { MAX_SANE_QUORUM_SET_BYTES, quorumSetProblem, statementProblem } from "./scp_state_rules.ts";
import {
  externalize,
  NETWORK_ID,
  nominate,
  offer,
  prepare,
  scpMessage,
  validators,
  value,
} from "./scp_state_test_kit.ts";
import { encode } from "../wire/xdr.ts";
import { scpQuorumSet } from "../wire/types.ts";

const QSET = new Uint8Array(32).fill(9), TX_SET = new Uint8Array(32).fill(7);
const KEYS = validators(5), [A, B, C] = KEYS, VALUE = value(A, TX_SET);

function stateOf(options: Partial<ScpStateOptions> = {}): ScpState {
  return new ScpState({ clock: new VirtualClock(), networkId: NETWORK_ID, ...options });
}

test("quorumSetProblem finds each defect and accepts the largest sane set", () => {
  const node = (n: number) => new Uint8Array(32).fill(n & 255, 0, 1).fill(n >> 8, 1, 2);
  const leaf = (n: number): ScpQuorumSet => ({ threshold: 1, validators: [node(n)], innerSets: [] });
  const nest = (set: ScpQuorumSet, levels: number): ScpQuorumSet =>
    levels === 0 ? set : { threshold: 1, validators: [], innerSets: [nest(set, levels - 1)] };
  assert.equal(quorumSetProblem(nest(leaf(1), 4)), undefined);
  assert.match(quorumSetProblem(nest(leaf(1), 5))!, /nesting/);
  assert.match(quorumSetProblem({ ...leaf(1), threshold: 0 })!, /greater than 0/);
  assert.match(quorumSetProblem({ ...leaf(1), threshold: 2 })!, /exceeds/);
  assert.match(quorumSetProblem({ threshold: 1, validators: [node(1)], innerSets: [leaf(1)] })!, /Duplicate/);
  const many = (count: number) => Array.from({ length: count }, (_, i) => node(i));
  assert.equal(quorumSetProblem({ threshold: 1, validators: many(1000), innerSets: [] }), undefined);
  assert.match(quorumSetProblem({ threshold: 1, validators: many(1001), innerSets: [] })!, /within 1 and 1000/);
  const largest = { threshold: 1, validators: [], innerSets: many(1000).map((_, i) => nest(leaf(i), 3)) };
  assert.equal(quorumSetProblem(largest), undefined);
  assert.equal(encode(scpQuorumSet, largest).length, MAX_SANE_QUORUM_SET_BYTES);
});

test("statementProblem accepts what upstream does, and nothing else", () => {
  const ballot = (counter: number, n = 1): ScpBallot => ({ counter, value: Uint8Array.of(n) });
  const prep = (prepared: ScpBallot | null, preparedPrime: ScpBallot | null, nC: number, nH: number, counter = 3) =>
    statementProblem({
      type: "prepare",
      prepare: { quorumSetHash: QSET, ballot: ballot(counter), prepared, preparedPrime, nC, nH },
    } as ScpPledges) === undefined;
  assert.ok(prep(null, null, 0, 0));
  assert.ok(!prep(null, null, 0, 0, 0));
  assert.ok(prep(ballot(2), ballot(1, 0), 1, 2));
  assert.ok(!prep(ballot(2), ballot(1), 0, 0), "compatible");
  assert.ok(!prep(ballot(1), ballot(2, 0), 0, 0), "above");
  assert.ok(!prep(null, null, 0, 1));
  assert.ok(!prep(ballot(2), null, 0, 3));
  assert.ok(!prep(ballot(2), null, 2, 1));
  assert.ok(!prep(ballot(2), null, 1, 0));
  const conf = (counter: number, nCommit: number, nH: number) =>
    statementProblem({
      type: "confirm",
      confirm: { ballot: ballot(counter), nPrepared: 0, nCommit, nH, quorumSetHash: QSET },
    }) === undefined;
  assert.deepEqual([conf(2, 1, 2), conf(0, 0, 0), conf(2, 1, 3), conf(2, 2, 1)], [true, false, false, false]);
  const ext = (counter: number, nH: number) =>
    statementProblem({
      type: "externalize",
      externalize: { commit: ballot(counter), nH, commitQuorumSetHash: QSET },
    }) === undefined;
  assert.deepEqual([ext(1, 1), ext(0, 1), ext(2, 1)], [true, false, false]);
  const nom = (votes: number[], accepted: number[]) =>
    statementProblem({
      type: "nominate",
      nominate: {
        quorumSetHash: QSET,
        votes: votes.map((n) => Uint8Array.of(n)),
        accepted: accepted.map((n) => Uint8Array.of(n)),
      },
    }) === undefined;
  assert.deepEqual([nom([1, 2], []), nom([], [1]), nom([], []), nom([2, 1], []), nom([1, 1], [])], [
    true,
    true,
    false,
    false,
    false,
  ]);
});

test("ScpState verifies an envelope once, however often it comes", () => {
  const state = stateOf(), message = scpMessage(A, 5, externalize(QSET, VALUE));
  assert.equal(offer(state, message), "new");
  assert.equal(state.verified, 2); // the envelope and its value
  assert.equal(offer(state, message), "old");
  assert.equal(offer(state, scpMessage(B, 5, externalize(QSET, VALUE))), "new");
  assert.equal(state.verified, 3); // the value is known
  const forged = message.slice();
  forged[forged.length - 1] ^= 1;
  for (let i = 0; i < 3; i++) assert.equal(offer(state, forged), "bad_signature");
  assert.equal(state.verified, 4);
});

test("ScpState refuses with upstream's reasons", () => {
  const state = stateOf({ ownNodeId: A.publicKey, trusts: (id) => id[0] !== C.publicKey[0] });
  state.track(100);
  const ok = prepare(QSET, 1, VALUE);
  assert.equal(offer(state, scpMessage(A, 100, ok)), "own");
  assert.equal(offer(state, scpMessage(C, 100, ok)), "not_trusted");
  assert.equal(offer(state, scpMessage(B, 88, ok)), "slot_too_old");
  assert.equal(offer(state, scpMessage(B, 89, ok)), "new");
  assert.equal(offer(state, scpMessage(B, 64, ok)), "new"); // the checkpoint's first ledger
  assert.equal(offer(state, scpMessage(B, 201, ok)), "new");
  assert.equal(offer(state, scpMessage(B, 202, ok)), "slot_too_far");
  assert.equal(offer(state, scpMessage(B, 2n ** 63n, ok)), "slot_too_far");
  assert.equal(offer(state, scpMessage(B, 100, prepare(QSET, 0, VALUE))), "insane_statement");
  assert.equal(offer(state, scpMessage(B, 100, prepare(QSET, 1, Uint8Array.of(1, 2, 3)))), "bad_value");
  const altered = VALUE.slice();
  altered[0] ^= 1;
  assert.equal(offer(state, scpMessage(B, 100, prepare(QSET, 1, altered))), "bad_value");
  const soon = BigInt(new VirtualClock().wallMs() / 1000) + 60n;
  assert.equal(offer(state, scpMessage(B, 100, prepare(QSET, 1, value(A, TX_SET, soon + 1n)))), "close_time");
  assert.equal(offer(state, scpMessage(B, 100, prepare(QSET, 1, value(A, TX_SET, soon)))), "new");
});

test("ScpState keeps the newest statement of each node, nominations and ballots apart", () => {
  const state = stateOf(), other = value(B, TX_SET);
  const messages = {
    nomination: scpMessage(A, 7, nominate(QSET, VALUE)),
    prepare1: scpMessage(A, 7, prepare(QSET, 1, VALUE)),
    prepare2: scpMessage(A, 7, prepare(QSET, 2, other)),
    externalize: scpMessage(A, 7, externalize(QSET, VALUE)),
  };
  assert.equal(offer(state, messages.prepare2), "new");
  assert.equal(offer(state, messages.prepare1), "old");
  assert.equal(offer(state, messages.nomination), "new");
  assert.deepEqual(state.stateFrom(0).now, [messages.nomination, messages.prepare2]);
  assert.equal(offer(state, messages.externalize), "new");
  assert.deepEqual(state.stateFrom(7).now, [messages.nomination, messages.externalize]);
  assert.deepEqual(state.stateFrom(8).now, []);
  assert.equal(state.bytes, messages.nomination.length + messages.externalize.length);
});

test("ScpState.stateFrom answers slot by slot, nominations first, ordered by node, 100 slots at most", () => {
  const state = stateOf(), expected: Uint8Array[] = [];
  state.track(100);
  const messages = [...Array(112)].map((_, i) => {
    const slot = 200 - i;
    const of = (
      key: typeof A,
    ) => [scpMessage(key, slot, nominate(QSET, VALUE)), scpMessage(key, slot, prepare(QSET, 1, VALUE))];
    return [of(B), of(A)];
  });
  for (const [b, a] of messages) for (const message of [...b, ...a]) offer(state, message);
  for (const [b, a] of messages.toReversed().slice(0, 100)) expected.push(a[0], b[0], a[1], b[1]);
  assert.deepEqual(state.stateFrom(0).now, expected);
});

test("ScpState.stateFrom sends the checkpoint later when it lies before the contiguous slots", () => {
  const state = stateOf();
  state.track(70);
  const first = scpMessage(A, 64, prepare(QSET, 1, VALUE)), last = scpMessage(A, 70, prepare(QSET, 1, VALUE));
  offer(state, first);
  offer(state, last);
  assert.deepEqual(state.stateFrom(0), { now: [first, last], later: [] });
  state.track(76); // 64 is still one of the last twelve and one more
  assert.deepEqual(state.stateFrom(0), { now: [first, last], later: [] });
  state.track(77);
  assert.deepEqual(state.stateFrom(0), { now: [last], later: [first] });
  assert.deepEqual(state.stateFrom(1000), { now: [], later: [first] }); // as upstream, whatever was asked for
  state.track(128);
  assert.deepEqual([state.stateFrom(0), state.bytes], [{ now: [], later: [] }, 0]);
  assert.deepEqual([1, 63, 64, 127, 128].map(checkpointStart), [1, 1, 64, 64, 128]);
});

test("ScpState follows the slot that more than half of the nodes externalized, and forgets what is behind", () => {
  const heard: number[] = [], state = stateOf({ onTracking: (slot) => heard.push(slot) });
  for (const key of KEYS) offer(state, scpMessage(key, 20, prepare(QSET, 1, VALUE)));
  offer(state, scpMessage(A, 20, externalize(QSET, VALUE)));
  offer(state, scpMessage(B, 20, externalize(QSET, VALUE)));
  assert.equal(state.tracking, undefined);
  offer(state, scpMessage(C, 21, externalize(QSET, VALUE)));
  assert.deepEqual(heard, [20]);
  state.track(10); // never back
  assert.equal(state.tracking, 20);
  state.track(60);
  assert.deepEqual([state.slots, state.bytes], [0, 0]);
});

test("ScpState with ledgerNodes: strangers, however many, do not move the network's slot", () => {
  const known = KEYS.slice(0, 3), state = stateOf({ ledgerNodes: known.map((key) => key.publicKey) });
  const says = (key: (typeof KEYS)[0], slot: number) =>
    assert.equal(offer(state, scpMessage(key, slot, externalize(QSET, VALUE))), "new");
  for (const stranger of validators(20).slice(5)) says(stranger, 4_000_000_000);
  assert.equal(state.tracking, undefined);
  says(A, 50);
  assert.equal(state.tracking, 50);
  says(B, 51);
  assert.equal(state.tracking, 50);
  says(C, 51);
  assert.equal(state.tracking, 51);
});

test("ScpState holds no more than its bounds", () => {
  const state = stateOf({ maxNodesPerSlot: 2 }), keys = validators(4);
  const verdicts = keys.map((key) => offer(state, scpMessage(key, 5, prepare(QSET, 1, VALUE))));
  assert.deepEqual(verdicts, ["new", "new", "full", "full"]);
  assert.equal(offer(state, scpMessage(keys[0], 5, prepare(QSET, 2, VALUE))), "new"); // who has a place keeps it
  for (let slot = 1000; slot < 1300; slot++) offer(state, scpMessage(keys[0], slot, prepare(QSET, 1, VALUE)));
  assert.ok(state.slots <= 114);
  assert.equal(state.statements(5), 2); // more nodes speak about it than about the invented ones
  const message = scpMessage(A, 1, prepare(QSET, 1, VALUE)), small = stateOf({ maxBytes: 2 * message.length });
  assert.deepEqual(KEYS.slice(0, 3).map((key) => offer(small, scpMessage(key, 1, prepare(QSET, 1, VALUE)))), [
    "new",
    "new",
    "full",
  ]);
});
