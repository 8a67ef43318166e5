/** The codecs against every frame that stellar-core and the recorder exchanged. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { toHex } from "../overlay/base/bytes.ts";
import { decode, encode } from "../overlay/wire/xdr.ts";
import { decodeStellarValue, encodeStellarValue, hello, type ScpPledges } from "../overlay/wire/types.ts";
import { surveyResponseBody } from "../overlay/wire/survey_messages.ts";
import {
  decodeMessage,
  encodeMessage,
  MessageType,
  type MessageTypeName,
  ReceivedMessage,
} from "../overlay/wire/messages.ts";
import { allSessions, sessionNames, splitFrame } from "./kit/fixtures.ts";

/** Every value a statement carries. */
function valuesOf(pledges: ScpPledges): Uint8Array[] {
  switch (pledges.type) {
    case "prepare":
      return [pledges.prepare.ballot, pledges.prepare.prepared, pledges.prepare.preparedPrime].flatMap((b) =>
        b === null ? [] : [b.value]
      );
    case "confirm":
      return [pledges.confirm.ballot.value];
    case "externalize":
      return [pledges.externalize.commit.value];
    case "nominate":
      return [...pledges.nominate.votes, ...pledges.nominate.accepted];
  }
}

test("all twenty sessions load", () => {
  assert.equal(sessionNames().length, 20);
  assert.ok(sessionNames().includes("watch/peer-5"));
  for (const session of allSessions()) {
    assert.equal(session.header.ed25519Seed.length, 32);
    assert.equal(session.header.nonce.length, 32);
    assert.ok(session.frames.length > 0);
    if (session.hello !== undefined) assert.equal(session.hello.recvKey.length, 32);
  }
});

const seenTypes = new Set<string>();
const seenStatements = new Set<string>();

for (const session of allSessions()) {
  test(`every frame of ${session.name} decodes and encodes to the same bytes`, () => {
    for (const frame of session.frames) {
      const where = `${session.name}.ndjson:${frame.line}`;
      const { mark, v, sequence, message, mac } = splitFrame(frame.bytes);
      assert.equal(mark, (0x80000000 | (frame.bytes.length - 4)) >>> 0, where);
      assert.equal(v, 0, where);
      if (frame.type === "hello" || frame.type === "errorMsg") {
        assert.equal(sequence, 0n, where);
        assert.equal(toHex(mac), "00".repeat(32), where);
      }
      const decoded = decodeMessage(message);
      assert.equal(decoded.type, frame.type, where);
      assert.equal(toHex(encodeMessage(decoded)), toHex(message), where);
      assert.deepEqual(
        new ReceivedMessage(MessageType[frame.type as MessageTypeName], message, frame.ms).decode(),
        decoded,
      );
      seenTypes.add(decoded.type);

      if (decoded.type === "scpMessage") {
        const { pledges } = decoded.envelope.statement;
        seenStatements.add(pledges.type);
        for (const value of valuesOf(pledges)) {
          const stellarValue = decodeStellarValue(value);
          assert.notEqual(stellarValue.ext.v, "unknown", where);
          assert.equal(toHex(encodeStellarValue(stellarValue)), toHex(value), where);
        }
      }
    }
  });
}

test("the sessions hold every statement type and the message types of a live node", () => {
  assert.deepEqual([...seenStatements].sort(), ["confirm", "externalize", "nominate", "prepare"]);
  const absent = Object.keys(MessageType).filter((type) => !seenTypes.has(type));
  assert.deepEqual(absent, ["txSet", "sendMore"]);
});

test("the recorder's notes agree with the decoded HELLO of stellar-core", () => {
  for (const session of allSessions()) {
    if (session.hello === undefined) continue;
    const frame = session.frames.find((f) => f.dir === "in" && f.type === "hello")!;
    const message = decode(hello, splitFrame(frame.bytes).message.subarray(4));
    assert.equal(message.versionStr, session.hello.version);
    assert.equal(message.overlayVersion, session.hello.overlay);
    assert.equal(message.overlayMinVersion, session.hello.overlayMin);
    assert.equal(message.ledgerVersion, session.hello.ledgerVersion);
    assert.equal(message.listeningPort, session.hello.listeningPort);
  }
});

test("the opened survey answers decode and encode to the same bytes", () => {
  const notes = allSessions().flatMap((session) => session.surveys);
  assert.equal(notes.length, 5);
  for (const note of notes) {
    const body = decode(surveyResponseBody, note.plain);
    assert.equal(body.inboundPeers.length, note.inbound);
    assert.equal(body.outboundPeers.length, note.outbound);
    assert.equal(toHex(encode(surveyResponseBody, body)), toHex(note.plain));
    for (const peer of [...body.inboundPeers, ...body.outboundPeers]) {
      assert.ok(/^(v26\.1\.0-dirty|stellar-overlay recorder)$/.test(peer.peerStats.versionStr));
    }
  }
});
