import { test } from "node:test";
import assert from "node:assert/strict";
import { encodeMessage } from "../wire/messages.ts";
import type { ScpBallot, ScpPledges } from "../wire/types.ts";
import { compareBallots, isNewerScpMessage, isNewerStatement } from "./scp_statements.ts";

const HASH = new Uint8Array(32);
const value = (n: number) => Uint8Array.of(n);
const ballot = (counter: number, n = 0): ScpBallot => ({ counter, value: value(n) });
const prepare = (
  at: ScpBallot,
  prepared: ScpBallot | null = null,
  preparedPrime: ScpBallot | null = null,
  nH = 0,
): ScpPledges => ({
  type: "prepare",
  prepare: { quorumSetHash: HASH, ballot: at, prepared, preparedPrime, nC: 0, nH },
});
const confirm = (at: ScpBallot, nPrepared = 0, nH = 0): ScpPledges => ({
  type: "confirm",
  confirm: { ballot: at, nPrepared, nCommit: 0, nH, quorumSetHash: HASH },
});
const externalize = (counter: number): ScpPledges => ({
  type: "externalize",
  externalize: { commit: ballot(counter), nH: counter, commitQuorumSetHash: HASH },
});
const nominate = (votes: number[], accepted: number[] = []): ScpPledges => ({
  type: "nominate",
  nominate: { quorumSetHash: HASH, votes: votes.map(value), accepted: accepted.map(value) },
});

test("isNewerStatement orders ballot statements by kind, then by their fields in upstream's order", () => {
  const ascending = [
    prepare(ballot(1)),
    prepare(ballot(1), ballot(1)),
    prepare(ballot(1), ballot(1), null, 1),
    prepare(ballot(1), ballot(1, 1), ballot(1)),
    prepare(ballot(1, 1)),
    prepare(ballot(2)),
    confirm(ballot(1)),
    confirm(ballot(1), 0, 1),
    confirm(ballot(1), 1, 0),
    confirm(ballot(1, 1)),
    confirm(ballot(2)),
    externalize(1),
  ];
  ascending.forEach((old, i) =>
    ascending.forEach((next, j) => assert.equal(isNewerStatement(old, next), j > i, `${i} and ${j}`))
  );
});

test("isNewerStatement calls no externalize newer than another, and compares no nomination with a ballot", () => {
  assert.ok(!isNewerStatement(externalize(1), externalize(2)));
  for (const other of [prepare(ballot(1)), confirm(ballot(1)), externalize(1)]) {
    assert.ok(!isNewerStatement(nominate([1]), other));
    assert.ok(!isNewerStatement(other, nominate([1])));
  }
});

test("isNewerStatement wants a nomination to hold all that was there, and more", () => {
  for (
    const [old, next, newer] of [
      [nominate([1]), nominate([1]), false],
      [nominate([1]), nominate([1, 2]), true],
      [nominate([2]), nominate([1, 2, 3]), true],
      [nominate([1]), nominate([1], [1]), true],
      [nominate([1], [1]), nominate([1, 2]), false],
      [nominate([1, 3]), nominate([1, 2, 4]), false],
      [nominate([1, 2]), nominate([1]), false],
      [nominate([]), nominate([1]), true],
    ] as const
  ) assert.equal(isNewerStatement(old, next), newer);
});

test("compareBallots orders by counter, then value; no ballot comes first", () => {
  assert.ok(compareBallots(null, ballot(0)) < 0 && compareBallots(ballot(0), null) > 0);
  assert.equal(compareBallots(null, null), 0);
  assert.ok(compareBallots(ballot(2, 0), ballot(1, 9)) > 0);
  assert.ok(compareBallots(ballot(1, 0), ballot(1, 9)) < 0);
});

test("isNewerScpMessage reads the statements of encoded messages, and calls nothing newer that is none", () => {
  const message = (pledges: ScpPledges) =>
    encodeMessage({
      type: "scpMessage",
      envelope: { statement: { nodeId: HASH, slotIndex: 5n, pledges }, signature: new Uint8Array(64) },
    });
  const old = message(prepare(ballot(1))), next = message(externalize(1));
  for (let round = 0; round < 2; round++) {
    assert.ok(isNewerScpMessage(old, next));
    assert.ok(!isNewerScpMessage(next, old));
  }
  assert.ok(!isNewerScpMessage(old, next.subarray(0, 60)));
  assert.ok(!isNewerScpMessage(encodeMessage({ type: "getScpState", ledgerSeq: 1 }), next));
});
