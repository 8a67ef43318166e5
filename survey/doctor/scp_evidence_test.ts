import assert from "node:assert/strict";
import { test } from "node:test";
import { sha256, signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { encodeText } from "../../overlay/base/bytes.ts";
import { MessageType, ReceivedMessage } from "../../overlay/wire/messages.ts";
import { quorumSetOf, Validator } from "../twin/scp.ts";
import { ScpCollector } from "./scp_evidence.ts";

const NETWORK_ID = sha256(encodeText("a network"));
const KEYS = [1, 2, 3].map((n) => signingKey(new Uint8Array(32).fill(n)));
const IDS = KEYS.map((key) => key.publicKey);
const VALIDATORS = KEYS.map((key, index) =>
  new Validator({ index, lagMs: 0, key, networkId: NETWORK_ID, quorumSet: quorumSetOf(IDS, 0) })
);
/** Our wall clock in all of this, ms. */
const WALL_MS = 1_800_000_000_000;

/** An EXTERNALIZE of a validator, received at `atMs`; its ledger closed `agoMs` before our wall clock. */
function statement(validator: number, slot: number, atMs: number, agoMs = 3000): ReceivedMessage {
  const value = VALIDATORS[validator].propose(slot, BigInt((WALL_MS - agoMs) / 1000));
  const { message } = VALIDATORS[validator].state(slot, "externalize", value);
  return new ReceivedMessage(MessageType.scpMessage, message, atMs);
}

function collector(): ScpCollector {
  return new ScpCollector(NETWORK_ID, encodeNodeId(IDS[0]), 0);
}

test("ScpCollector tells the peer's own statements from those of others, and the time they carry", () => {
  const heard = collector();
  for (const validator of [0, 1, 2]) heard.take(statement(validator, 7, 100), WALL_MS);
  assert.deepEqual(heard.evidence(5000), {
    messages: 3,
    badSignatures: 0,
    otherSigners: 2,
    ownSlot: 7n,
    slot: 7n,
    advancing: false,
    closeTimeOffsetMs: -3000,
    listenedMs: 5000,
  });
  assert.equal(heard.complete, false);
});

test("ScpCollector counts what is not signed as it should be, and believes none of it", () => {
  const heard = collector();
  const forged = statement(1, 7, 100);
  forged.bytes[forged.bytes.length - 1] ^= 1;
  heard.take(forged, WALL_MS);
  const elsewhere = new ScpCollector(sha256(encodeText("another network")), encodeNodeId(IDS[0]), 0);
  elsewhere.take(statement(1, 7, 100), WALL_MS);
  for (const each of [heard, elsewhere]) {
    const { badSignatures, otherSigners, slot } = each.evidence(1);
    assert.deepEqual([badSignatures, otherSigners, slot], [1, 0, undefined]);
  }
});

test("ScpCollector sees a ledger move only by what comes after the replay, and is then complete", () => {
  const heard = collector();
  for (const slot of [5, 6, 7]) for (const validator of [0, 1]) heard.take(statement(validator, slot, slot), WALL_MS);
  assert.equal(heard.evidence(1).advancing, false, "the memory of the past ascends too");
  heard.take(statement(1, 8, 4000), WALL_MS);
  assert.equal(heard.evidence(1).advancing, false, "one signer alone");
  heard.take(statement(0, 8, 4100), WALL_MS);
  assert.equal(heard.evidence(1).advancing, true);
  assert.equal(heard.complete, true);
});

test("ScpCollector: one signer far ahead sets neither the slot nor the time", () => {
  const heard = collector();
  for (const validator of [0, 1]) heard.take(statement(validator, 7, 100), WALL_MS);
  heard.take(statement(2, 1_000_000, 3000, -9_000_000), WALL_MS);
  const { slot, closeTimeOffsetMs, advancing } = heard.evidence(1);
  assert.deepEqual([slot, closeTimeOffsetMs, advancing], [7n, -3000, false]);
});
