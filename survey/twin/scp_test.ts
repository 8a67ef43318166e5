import { test } from "node:test";
import assert from "node:assert/strict";
import { compareBytes, toHex } from "../../overlay/base/bytes.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { floodIdOf } from "../../overlay/flood/floodgate.ts";
import { decodeMessage } from "../../overlay/wire/messages.ts";
import { decodeStellarValue, quorumSetHashOf, scpQuorumSet, scpStatement } from "../../overlay/wire/types.ts";
import { encode } from "../../overlay/wire/xdr.ts";
import { knowsQuorumSet, quorumSetOf, scpPreimage, STATEMENT_KINDS, Validator, valuePreimage } from "./scp.ts";

const networkId = primitives.sha256(new TextEncoder().encode("Standalone Network ; February 2017"));
const keys = Array.from({ length: 4 }, (_, i) => primitives.signingKey(new Uint8Array(32).fill(i + 1)));
const ids = keys.map((key) => key.publicKey);

test("Validator.state signs each kind of statement, in bytes that never change", () => {
  const validator = new Validator({ index: 3, lagMs: 0, key: keys[0], networkId, quorumSet: quorumSetOf(ids, 0) });
  const value = validator.propose(77, 1767225600n);
  for (const kind of STATEMENT_KINDS) {
    const made = validator.state(77, kind, value);
    assert.deepEqual(validator.state(77, kind, value), made);
    assert.equal(made.id, floodIdOf(made.message));
    const message = decodeMessage(made.message);
    assert.ok(message.type === "scpMessage");
    const { statement, signature } = message.envelope;
    assert.equal(statement.slotIndex, 77n);
    assert.equal(statement.pledges.type, kind);
    assert.equal(toHex(quorumSetHashOf(statement.pledges)), toHex(validator.quorumSetHash));
    assert.ok(primitives.verify(ids[0], scpPreimage(networkId, encode(scpStatement, statement)), signature));
  }
});

test("Validator.propose signs the value", () => {
  const validator = new Validator({ index: 0, lagMs: 0, key: keys[1], networkId, quorumSet: quorumSetOf(ids, 1) });
  const value = decodeStellarValue(validator.propose(77, 1767225600n));
  assert.ok(value.ext.v === 1);
  const { nodeId, signature } = value.ext.lcValueSignature;
  assert.deepEqual(nodeId, ids[1]);
  assert.ok(primitives.verify(nodeId, valuePreimage(networkId, value.txSetHash, value.closeTime), signature));
});

test("quorumSetOf gives sane sets: two thirds of all, or oneself and a majority of the others", () => {
  for (let n = 1; n <= 4; n++) {
    for (let at = 0; at < n; at++) {
      const set = quorumSetOf(ids.slice(0, n), at);
      const entries = set.validators.length + set.innerSets.length;
      assert.ok(set.threshold >= 1 && set.threshold <= entries);
      const all = [...set.validators, ...set.innerSets.flatMap((inner) => inner.validators)];
      assert.deepEqual(all.sort(compareBytes), ids.slice(0, n).sort(compareBytes));
    }
  }
  const validator = new Validator({ index: 0, lagMs: 0, key: keys[2], networkId, quorumSet: quorumSetOf(ids, 2) });
  const message = decodeMessage(validator.quorumSetMessage);
  assert.ok(message.type === "scpQuorumset" && message.qSet.innerSets.length === 1);
  assert.deepEqual(primitives.sha256(encode(scpQuorumSet, message.qSet)), validator.quorumSetHash);
  assert.ok(knowsQuorumSet(2, 2) && knowsQuorumSet(0, 2) && !knowsQuorumSet(1, 2));
});
