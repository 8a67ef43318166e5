/**
 * What hostile peers may try with survey messages, against a whole engine in virtual time: limits.md section 3, "Survey", and the
 * drop reason `Survey has invalid signature`.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { fromHex, writeUint32 } from "../../overlay/base/bytes.ts";
import { agreementKey } from "../../overlay/crypto/primitives.ts";
import { openSealedBox, sealBox } from "../../overlay/crypto/sealed_box.ts";
import type { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { World } from "../../overlay/manager/overlay_manager_test_kit.ts";
import type { RawRemote } from "../../overlay/peer/peer_test_remote.ts";
import { isSurveyMessage, type SurveyMessage } from "../../overlay/survey/signatures.ts";
import {
  forged,
  type Identity,
  identity,
  NONCE,
  request,
  response,
  start,
  stop,
} from "../../overlay/survey/survey_test_kit.ts";
import type { SurveyPageAnswer } from "../../overlay/survey/surveyor.ts";
import { encodeMessage } from "../../overlay/wire/messages.ts";
import { surveyResponseBody } from "../../overlay/wire/survey_messages.ts";
import { decode, encode } from "../../overlay/wire/xdr.ts";

const LEDGER = 1000;
/** Those that the node permits: the surveyor first. */
const PERMITTED = Array.from({ length: 15 }, (_, i) => identity(100 + i));
const [SURVEYOR, RIVAL] = PERMITTED;
const STRANGER = identity(200);
const BOX_KEY = agreementKey(new Uint8Array(32).fill(77));

/** A node with a bad peer, whose messages it judges, and a witness, who sees what it passes on. */
class Field {
  readonly world = new World();
  node!: OverlayManager;
  self!: Identity;
  bad!: RawRemote;
  witness!: RawRemote;

  static async open(ledger = LEDGER): Promise<Field> {
    const field = new Field();
    field.self = identity(50);
    const surveyorKeys = PERMITTED.map(({ text }) => text);
    field.node = await field.world.add([], { surveyorKeys }, { seed: new Uint8Array(32).fill(50) });
    field.node.scp.track(ledger);
    field.bad = await field.world.remote(field.node);
    field.witness = await field.world.remote(field.node);
    return field;
  }

  async send(...messages: (SurveyMessage | Uint8Array)[]): Promise<void> {
    this.bad.send(...messages);
    await this.world.clock.advance(100);
  }

  /** Survey messages that the witness got since the last call. */
  passedOn(): SurveyMessage[] {
    const passed = this.witness.received.filter(isSurveyMessage);
    this.witness.received.length = 0;
    return passed;
  }

  /** Sends, and expects that nobody else learns of it and that everybody stays. */
  async ignored(what: string, ...messages: SurveyMessage[]): Promise<void> {
    const { phase, nonce } = this.node.survey;
    await this.send(...messages);
    assert.deepEqual(this.passedOn(), [], what);
    assert.deepEqual([this.node.survey.phase, this.node.survey.nonce], [phase, nonce], what);
    assert.equal(this.node.counts.inbound, 2, what);
    assert.ok(!this.bad.types.some((type) => type === "errorMsg"), what);
  }

  /** Brings the node's part in the surveyor's survey to its reporting phase. */
  async report(): Promise<void> {
    await this.send(start(SURVEYOR), stop(SURVEYOR));
    assert.equal(this.node.survey.phase, "reporting");
    this.passedOn();
  }

  async close(): Promise<void> {
    await this.world.stop(this.node);
  }
}

test("a wrong signature ends the connection of the peer that relayed it, with upstream's words, for each of the four", async () => {
  const table: [string, (field: Field) => Promise<void>, SurveyMessage][] = [
    ["START", () => Promise.resolve(), start(SURVEYOR)],
    ["STOP", () => Promise.resolve(), stop(SURVEYOR)],
    ["REQUEST", (field) => field.report(), request(SURVEYOR, RIVAL)],
    ["RESPONSE", async (field) => {
      await field.report();
      await field.send(request(SURVEYOR, RIVAL));
      field.passedOn();
    }, response(SURVEYOR, RIVAL)],
  ];
  for (const [name, prepare, message] of table) {
    const field = await Field.open();
    await prepare(field);
    const { phase } = field.node.survey;
    await field.send(forged(message), message);
    assert.deepEqual(field.passedOn(), [], `${name}: nothing of the connection is processed any more`);
    assert.deepEqual([field.node.counts.inbound, field.node.survey.phase], [1, phase], name);
    assert.deepEqual(field.bad.received.at(-1), {
      type: "errorMsg",
      error: { code: 0, msg: "Survey has invalid signature" },
    });
    const [dropped] = field.world.eventsOf(field.node, "dropped");
    assert.deepEqual([dropped.by, dropped.reason], ["us", "Survey has invalid signature"]);
    assert.equal(field.node.metrics.snapshot().labelledCounters.surveyMessages.bad_signature, 1);
    await field.close();
  }
});

test("what a stranger signs rightly is ignored, and not passed on", async () => {
  const field = await Field.open();
  await field.ignored("START", start(STRANGER));
  await field.ignored("STOP", stop(STRANGER));
  await field.report();
  await field.ignored(
    "STOP while reporting, REQUEST",
    stop(STRANGER),
    request(STRANGER, RIVAL),
    request(STRANGER, field.self),
  );
  await field.ignored("RESPONSE", response(STRANGER, RIVAL));
  await field.close();
});

test("START replayed as STOP is a STOP, as upstream: anybody who saw START can send it", async () => {
  const field = await Field.open();
  const first = start(SURVEYOR);
  assert.ok(first.type === "timeSlicedSurveyStartCollecting");
  const { signature, startCollecting: stopCollecting } = first.surveyStart;
  await field.send(first, { type: "timeSlicedSurveyStopCollecting", surveyStop: { signature, stopCollecting } });
  assert.deepEqual(field.passedOn().map(({ type }) => type), [
    "timeSlicedSurveyStartCollecting",
    "timeSlicedSurveyStopCollecting",
  ]);
  assert.equal(field.node.survey.phase, "reporting");
  // Both once more, and the START of a ledger later: nothing begins anew.
  await field.ignored("replays", first, start(SURVEYOR, LEDGER + 1));
  await field.close();
});

test("ledger numbers count from 6 behind to 6 ahead, and do not wrap into that", async () => {
  const last = 2 ** 32 - 1;
  for (const ledgerNum of [LEDGER - 7, LEDGER + 7, 0, 1, last, last - 6]) {
    const field = await Field.open();
    await field.ignored(`START for ${ledgerNum}`, start(SURVEYOR, ledgerNum));
    await field.report();
    await field.ignored(`REQUEST for ${ledgerNum}`, request(SURVEYOR, RIVAL, { ledgerNum }));
    await field.ignored(`RESPONSE for ${ledgerNum}`, response(SURVEYOR, RIVAL, { ledgerNum }));
    await field.close();
  }
  for (const ledgerNum of [LEDGER - 6, LEDGER + 6]) {
    const field = await Field.open();
    await field.send(start(SURVEYOR, ledgerNum), stop(SURVEYOR, ledgerNum), request(SURVEYOR, RIVAL, { ledgerNum }));
    await field.send(response(SURVEYOR, RIVAL, { ledgerNum }));
    assert.equal(field.passedOn().length, 4, `${ledgerNum}`);
    await field.close();
  }
  // Near the beginning of all ledgers, where n + 6 of a huge number is small.
  const early = await Field.open(2);
  for (const ledgerNum of [last, last - 5]) await early.ignored(`START for ${ledgerNum}`, start(SURVEYOR, ledgerNum));
  await early.send(start(SURVEYOR, 0));
  assert.equal(early.passedOn().length, 1);
  await early.close();
});

test("a second START, and a STOP by another or of another nonce, change nothing", async () => {
  const field = await Field.open();
  await field.send(start(SURVEYOR));
  field.passedOn();
  await field.ignored("START", start(SURVEYOR), start(RIVAL), start(SURVEYOR, LEDGER, 1));
  await field.ignored("STOP", stop(RIVAL), stop(SURVEYOR, LEDGER, 1));
  assert.equal(field.node.survey.phase, "collecting");
  await field.close();
});

test("a response without a request, and a second response, go nowhere", async () => {
  const field = await Field.open();
  await field.report();
  await field.ignored("without a request", response(SURVEYOR, RIVAL));
  await field.send(request(SURVEYOR, RIVAL), response(SURVEYOR, RIVAL));
  assert.equal(field.passedOn().length, 2);
  await field.ignored("the same again", response(SURVEYOR, RIVAL));
  await field.ignored("another", response(SURVEYOR, RIVAL, { encryptedBody: new Uint8Array(200) }));
  await field.ignored(
    "of another nonce",
    request(SURVEYOR, STRANGER, { nonce: 1 }),
    response(SURVEYOR, STRANGER, { nonce: 1 }),
  );
  await field.close();
});

test("a request with another command type is corrupt XDR, as in every version since the first survey went", async () => {
  for (const commandType of [0, 2, 2 ** 31]) {
    const field = await Field.open();
    await field.report();
    const bytes = encodeMessage(request(SURVEYOR, RIVAL));
    // Type, length and signature, two node ids, ledger number, key; then nonce and indices end the message.
    writeUint32(bytes, bytes.length - 16, commandType);
    await field.send(bytes);
    assert.deepEqual(field.passedOn(), []);
    assert.deepEqual(field.bad.received.at(-1), { type: "errorMsg", error: { code: 1, msg: "received corrupt XDR" } });
    await field.close();
  }
});

test("keys of small order get no answer, and are passed on like any other; indexes beyond the lists get empty ones", async () => {
  const field = await Field.open();
  await field.report();
  const small = [
    "00".repeat(32),
    "01" + "00".repeat(31),
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ].map(fromHex);
  for (const [i, encryptionKey] of small.entries()) {
    const ledgerNum = LEDGER + i;
    await field.ignored("to us", request(SURVEYOR, field.self, { encryptionKey, ledgerNum }));
    assert.ok(!field.bad.types.includes("timeSlicedSurveyResponse"));
    await field.send(request(SURVEYOR, RIVAL, { encryptionKey, ledgerNum }));
    assert.equal(field.passedOn().length, 1);
  }
  const index = 2 ** 32 - 1;
  const asked = { encryptionKey: BOX_KEY.publicKey, ledgerNum: LEDGER - 1, inboundIndex: index, outboundIndex: index };
  await field.send(request(SURVEYOR, field.self, asked));
  const [answer] = field.passedOn();
  assert.ok(answer?.type === "timeSlicedSurveyResponse");
  const plain = openSealedBox(BOX_KEY, answer.surveyResponse.response.response.encryptedBody)!;
  const body = decode(surveyResponseBody, plain);
  assert.deepEqual([body.inboundPeers.length, body.outboundPeers.length, body.nodeData.totalInboundPeerCount], [
    0,
    0,
    2,
  ]);
  await field.close();
});

test("answers to us that do not open, hold garbage, more than a body or too many peers are bad ones of that node", async () => {
  const field = await Field.open();
  const { node } = field;
  assert.equal(node.survey.startCollecting(NONCE).started, true);
  assert.equal(node.survey.stopCollecting().stopped, true);
  const answers: SurveyPageAnswer[] = [];
  node.survey.onAnswer((answer) => answers.push(answer));
  const nodes = PERMITTED.slice(0, 7);
  node.survey.ask(nodes.map(({ text }) => ({ nodeId: text, inboundIndex: 0, outboundIndex: 0 })));
  await field.world.clock.advance(100);
  const asked = field.witness.received.find((message) => message.type === "timeSlicedSurveyRequest");
  assert.ok(asked?.type === "timeSlicedSurveyRequest");
  const { encryptionKey } = asked.surveyRequest.request.request;
  const seal = (content: Uint8Array) => sealBox(encryptionKey, content, new Uint8Array(32).fill(3))!;
  const good = encode(surveyResponseBody, node.survey.own()!);
  const count = good.slice(), type = good.slice();
  writeUint32(count, 4, 2 ** 32 - 1);
  writeUint32(type, 0, 1);
  const bodies = [
    new Uint8Array(0),
    new Uint8Array(64_000).fill(1),
    seal(new Uint8Array(1000).fill(0xff)),
    seal(new Uint8Array([...good, 0, 0, 0, 0])),
    seal(count),
    seal(type),
    seal(good),
  ];
  for (const [i, encryptedBody] of bodies.entries()) {
    await field.send(response(field.self, nodes[i], { encryptedBody }));
  }
  assert.deepEqual(answers.map((answer) => answer.kind === "bad" ? answer.reason : answer.kind), [
    "sealed_box",
    "sealed_box",
    "xdr_invalid",
    "xdr_invalid",
    "xdr_invalid",
    "xdr_invalid",
    "page",
  ]);
  assert.deepEqual(answers.map(({ page }) => page.nodeId), nodes.map(({ text }) => text));
  assert.equal(node.counts.inbound, 2);
  // A body above the protocol's bound is no message at all.
  const long = encodeMessage(response(field.self, RIVAL, { encryptedBody: new Uint8Array(64_000) }));
  writeUint32(long, long.length - 64_000 - 8, 64_001);
  await field.send(long);
  assert.equal(node.counts.inbound, 1);
  await field.close();
});

test("of a flood of signed requests 10 surveyors' 10 nodes each are passed on per ledger number, and no memory is left", async () => {
  const field = await Field.open();
  await field.report();
  const surveyed = Array.from({ length: 14 }, (_, i) => identity(1 + i));
  const flood = PERMITTED.flatMap((surveyor) => surveyed.map((node) => request(surveyor, node)));
  await field.send(...flood, ...flood);
  assert.equal(field.passedOn().length, 100);
  for (const ahead of [-6, 6]) {
    await field.send(...PERMITTED.map((one) => request(one, RIVAL, { ledgerNum: LEDGER + ahead })));
  }
  assert.equal(field.passedOn().length, 20);
  assert.equal(field.node.metrics.snapshot().labelledCounters.surveyMessages.limited, 2 * 15 * 14 - 100 + 2 * 5);
  // Six ledgers later there is room again.
  field.node.scp.track(LEDGER + 7);
  await field.ignored("the old ledger", request(SURVEYOR, surveyed[13]));
  await field.send(request(SURVEYOR, surveyed[13], { ledgerNum: LEDGER + 7 }));
  assert.equal(field.passedOn().length, 1);
  assert.equal(field.node.counts.inbound, 2);
  await field.close();
});
