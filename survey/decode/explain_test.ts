/** Every byte of every recorded frame is explained; what is broken is named by byte and field. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, fromHex, toHex, writeUint32 } from "../../overlay/base/bytes.ts";
import { encodeMessage, messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import { arbMessage } from "../../tests/kit/arbitrary.ts";
import { allSessions, fixtureText, loadSession } from "../../tests/kit/fixtures.ts";
import { type Explanation, type Field, leavesOf, loadExplainer } from "./explain.ts";
import { beginsAsFrame, decodedText, explainFrames, guessValue, inputOf } from "./input.ts";
import { decodeInput } from "./items.ts";

const explainer = await loadExplainer();

/** The leaves lie side by side and cover everything. */
function assertCovered(explanation: Explanation, context: string): void {
  let at = explanation.offset;
  for (const leaf of leavesOf(explanation)) {
    assert.equal(leaf.offset, at, `${context} ${leaf.path}`);
    at += leaf.bytes;
  }
  assert.equal(at, explanation.offset + explanation.bytes, context);
}

function find(fields: readonly Field[], path: string): Field {
  const [first, ...rest] = path.split(".");
  const field = fields.find((candidate) => candidate.name === first)!;
  assert.ok(field, `${first} of ${fields.map((candidate) => candidate.name)}`);
  return rest.length === 0 ? field : find(field.fields, rest.join("."));
}

test("the recorded sessions decode: every frame, every byte has its field, every MAC is as the recorder found it", () => {
  for (const session of allSessions()) {
    const input = inputOf(new TextEncoder().encode(fixtureText(`${session.name}.ndjson`)));
    assert.equal(input.form, "session");
    const items = [...decodeInput(explainer, input, { path: session.name })].map((found) => {
      assert.ok("item" in found);
      return found.item;
    });
    assert.equal(items.length, session.frames.length);
    items.forEach((item, i) => {
      const frame = session.frames[i], context = `${session.name} frame ${i}`;
      assert.equal(item.explanation.problem, undefined, context);
      assert.deepEqual(item.bytes, frame.bytes);
      assert.equal(item.captured?.direction, frame.dir === "in" ? "received" : "sent");
      assert.equal(
        item.captured?.mac,
        frame.dir === "in" && frame.macOk === null ? null : frame.type === "hello" ? null : "ok",
      );
      assert.equal(
        item.title.toLowerCase().replaceAll("_", ""),
        frame.type.toLowerCase(),
      );
      assertCovered(item.explanation, context);
    });
  }
});

test("HELLO is explained with names, units and places", () => {
  const { fields } = explainer.frame(loadSession("full").frames[0].bytes, 1000);
  assert.equal(find(fields, "recordMark").text, "300 bytes follow, last fragment");
  assert.equal(find(fields, "message").text, "HELLO (13)");
  const expiration = find(fields, "message.hello.cert.expiration");
  assert.deepEqual([expiration.offset, expiration.bytes], [1164, 8]);
  assert.equal(expiration.text, "1795448886 (Unix seconds: 2026-11-23T15:48:06Z)");
  assert.match(find(fields, "message.hello.networkId").text!, /\(local\)$/);
  assert.equal(find(fields, "message.hello.peerId").text, loadSession("full").header.nodeId);
});

test("a transaction, and a transaction set inside its message, are explained to the last byte", () => {
  const frames = loadSession("caller-flood").frames;
  const of = (type: string) => explainer.frame(frames.find((frame) => frame.type === type)!.bytes);
  const transaction = of("transaction");
  const amount = find(transaction.fields, "message.transaction.v1.tx.operations.[0].body.paymentOp.amount");
  assert.deepEqual([amount.offset, amount.bytes, amount.text], [148, 8, "5000000"]);
  const set = leavesOf(of("generalizedTxSet"));
  assert.ok(set.filter((leaf) => leaf.path.endsWith("paymentOp.amount")).length >= 10);
});

test("a stream of frames is explained frame by frame, each at its place", () => {
  const frames = loadSession("survey").frames.slice(0, 40).map((frame) => frame.bytes);
  const found = [...explainFrames(explainer, concatBytes(...frames))];
  assert.equal(found.length, frames.length);
  let at = 0;
  for (const [i, explanation] of found.entries()) {
    assert.deepEqual([explanation.offset, explanation.bytes], [at, frames[i].length]);
    at += frames[i].length;
  }
});

test("any message is explained without a problem, and every byte of it has its field", () => {
  fc.assert(fc.property(arbMessage, (message) => {
    const bytes = encodeMessage(message);
    const explanation = explainer.value("StellarMessage", bytes);
    assert.equal(explanation.problem, undefined);
    assertCovered(explanation, message.type);
    assert.equal(
      explanation.fields[0].text,
      `${messageEnumName(MessageType[message.type])} (${MessageType[message.type]})`,
    );
  }));
});

test("a frame cut at any byte says where, and keeps the fields before the cut", () => {
  const { bytes } = loadSession("full").frames[0];
  for (let n = 1; n < bytes.length; n++) {
    const [explanation] = explainFrames(explainer, bytes.subarray(0, n));
    const { problem } = explanation;
    assert.ok(problem !== undefined && problem.offset <= n, String(n));
    if (n >= 4) assert.equal(explanation.fields[0].name, "recordMark");
    if (n >= 12) assert.equal(explanation.fields[1].name, "version");
    assert.ok(leavesOf(explanation).every((leaf) => leaf.offset + leaf.bytes <= bytes.length));
  }
});

test("damage is named by byte, field path and what was expected", () => {
  const broken = (change: (bytes: Uint8Array) => void) => {
    const bytes = loadSession("full").frames[0].bytes.slice();
    change(bytes);
    return explainer.frame(bytes, 100).problem;
  };
  // The public key type of peerId, behind versionStr.
  assert.deepEqual(broken((bytes) => writeUint32(bytes, 96, 7)), {
    offset: 196,
    path: "message.hello.peerId",
    reason: "unknown public key type 7",
  });
  assert.deepEqual(broken((bytes) => writeUint32(bytes, 64, 101)), {
    offset: 164,
    path: "message.hello.versionStr",
    reason: "101 bytes, at most 100 allowed",
  });
  assert.deepEqual(broken((bytes) => writeUint32(bytes, 172, 900)), {
    offset: 272,
    path: "message.hello.cert.sig",
    reason: "900 bytes, at most 64 allowed",
  });
  assert.deepEqual(broken((bytes) => writeUint32(bytes, 16, 99)), {
    offset: 116,
    path: "message",
    reason: "unknown message type 99",
  });
  assert.deepEqual(broken((bytes) => writeUint32(bytes, 4, 1)), {
    offset: 104,
    path: "version",
    reason: "1; only 0 exists",
  });
  assert.match(broken((bytes) => writeUint32(bytes, 0, 0x80000000))!.reason, /length 0; 1 to 16777216 are legal/);
  assert.match(explainer.value("StellarMessage", fromHex("00000000")).problem!.reason, /needs 4 bytes, 0 left/);
  const extra = explainer.value("Auth", fromHex("000000c8000000c8")).problem!;
  assert.deepEqual([extra.offset, extra.reason], [4, "4 bytes left over behind the value"]);
  const deep = explainer.value("TransactionEnvelope", fromHex("0000000200000000")).problem!;
  assert.match(deep.reason, /^TransactionEnvelope: /);
});

test("the form of an input is told by its look", () => {
  const { bytes } = loadSession("full").frames[2];
  const hex = toHex(bytes), base64 = Buffer.from(bytes).toString("base64");
  const utf8 = (text: string) => new TextEncoder().encode(text);
  for (
    const text of [hex, hex.toUpperCase(), `0x${hex}\n`, hex.replace(/(.{32})/g, "$1\n"), hex.replace(/(..)/g, "$1:")]
  ) {
    assert.deepEqual(inputOf(utf8(text)), { form: "hex", bytes });
  }
  assert.deepEqual(inputOf(utf8(base64)), { form: "base64", bytes });
  assert.deepEqual(inputOf(utf8(base64.replace(/(.{20})/, "$1\n"))), { form: "base64", bytes });
  assert.deepEqual(inputOf(bytes), { form: "bytes", bytes });
  assert.equal(beginsAsFrame(bytes), true);
  assert.equal(decodedText("node.cap"), undefined);
});

test("bytes without a type are explained as the first that fits, and the others are named", () => {
  const frame = loadSession("caller-flood").frames.find((found) => found.type === "transaction")!.bytes;
  const envelope = frame.subarray(20, frame.length - 32);
  assert.equal(guessValue(explainer, envelope).explanation.type, "TransactionEnvelope");
  assert.equal(guessValue(explainer, frame.subarray(16, frame.length - 32)).explanation.type, "StellarMessage");
  assert.equal(guessValue(explainer, frame.subarray(4)).explanation.type, "AuthenticatedMessage");
  assert.throws(() => guessValue(explainer, fromHex("ffffffffffffffff")), /as StellarMessage it fails at byte 0/);
});
