/**
 * The recorded survey of real stellar-core nodes (tests/fixtures/survey.ndjson): its messages are signed and encode as recorded,
 * its answers open; an engine in the way passes all of it on; and an engine with the recorder's identity sends what the recorder
 * sent, byte for byte, and takes the answers.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { toHex } from "../overlay/base/bytes.ts";
import { type Random, SeededRandom } from "../overlay/base/random.ts";
import { agreementKey } from "../overlay/crypto/primitives.ts";
import { openSealedBox } from "../overlay/crypto/sealed_box.ts";
import { encodeNodeId } from "../overlay/crypto/strkey.ts";
import { World } from "../overlay/manager/overlay_manager_test_kit.ts";
import { isSignedSurveyMessage, isSurveyMessage, type SurveyMessage } from "../overlay/survey/signatures.ts";
import type { SurveyPageAnswer } from "../overlay/survey/surveyor.ts";
import { decodeMessage, encodeMessage } from "../overlay/wire/messages.ts";
import { surveyResponseBody } from "../overlay/wire/survey_messages.ts";
import { decode, encode } from "../overlay/wire/xdr.ts";
import { allSessions, loadSession, splitFrame } from "./kit/fixtures.ts";

/** A survey message of the recording. */
interface Recorded {
  dir: "in" | "out";
  bytes: Uint8Array;
  message: SurveyMessage;
}

function recordedIn(name: string): Recorded[] {
  return loadSession(name).frames.filter(({ type }) => type.startsWith("timeSlicedSurvey")).map((frame) => {
    const bytes = splitFrame(frame.bytes).message, message = decodeMessage(bytes);
    assert.ok(isSurveyMessage(message));
    return { dir: frame.dir, bytes, message };
  });
}

const { header, surveys, hello } = loadSession("survey");
const RECORDED = recordedIn("survey");
const [START, STOP] = RECORDED;
const REQUESTS = RECORDED.filter(({ message }) => message.type === "timeSlicedSurveyRequest");
const RESPONSES = RECORDED.filter(({ message }) => message.type === "timeSlicedSurveyResponse");

const requestOf = ({ message }: Recorded) =>
  message.type === "timeSlicedSurveyRequest" ? message.surveyRequest.request : assert.fail();
const responseOf = ({ message }: Recorded) =>
  message.type === "timeSlicedSurveyResponse" ? message.surveyResponse.response : assert.fail();
const startOf = ({ message }: Recorded) =>
  message.type === "timeSlicedSurveyStartCollecting" ? message.surveyStart.startCollecting : assert.fail();
const stopOf = ({ message }: Recorded) =>
  message.type === "timeSlicedSurveyStopCollecting" ? message.surveyStop.stopCollecting : assert.fail();
const hexOf = (message: Uint8Array) => toHex(message);

test("every recorded survey message is signed, and encodes as it was recorded", () => {
  const all = allSessions().flatMap(({ name }) => recordedIn(name));
  assert.equal(all.length, 12, "START, STOP, five requests, five responses; no other session has any");
  for (const { bytes, message } of all) {
    assert.equal(hexOf(encodeMessage(message)), hexOf(bytes));
    assert.ok(isSignedSurveyMessage(message), message.type);
  }
});

test("every recorded answer opens with the recorder's secret, and holds what the recorder read", () => {
  const key = agreementKey(header.x25519Secret);
  assert.equal(surveys.length, RESPONSES.length);
  for (const recorded of RESPONSES) {
    const { response } = responseOf(recorded);
    const note = surveys.find(({ survey }) => survey === encodeNodeId(response.surveyedPeerId))!;
    const plain = openSealedBox(key, response.encryptedBody)!;
    assert.equal(hexOf(plain), hexOf(note.plain));
    const body = decode(surveyResponseBody, plain);
    assert.deepEqual([body.inboundPeers.length, body.outboundPeers.length], [note.inbound, note.outbound]);
    assert.equal(hexOf(encode(surveyResponseBody, body)), hexOf(plain));
    for (const list of [body.inboundPeers, body.outboundPeers]) {
      const ids = list.map(({ peerStats }) => hexOf(peerStats.id));
      assert.deepEqual(ids, [...ids].sort(), "sorted by node id");
    }
  }
});

test("an engine between the recorder and stellar-core passes the whole survey on, each message once and as it came", async () => {
  const world = new World();
  const node = await world.add([], { surveyorKeys: [header.nodeId] });
  const [recorder, core, third] = [await world.remote(node), await world.remote(node), await world.remote(node)];
  const got = (remote: typeof third) =>
    remote.received.filter(isSurveyMessage).map((message) => hexOf(encodeMessage(message)));
  for (const recorded of [START, STOP, ...REQUESTS, ...RESPONSES]) {
    const { message, dir, bytes } = recorded;
    const ledger = message.type === "timeSlicedSurveyResponse"
      ? responseOf(recorded).response.ledgerNum
      : message.type === "timeSlicedSurveyRequest"
      ? requestOf(recorded).request.ledgerNum
      : (message.type === "timeSlicedSurveyStartCollecting" ? startOf(recorded) : stopOf(recorded)).ledgerNum;
    node.scp.track(ledger);
    (dir === "out" ? recorder : core).send(bytes);
    await world.clock.advance(50);
    // Again by the same, and by another.
    (dir === "out" ? recorder : core).send(bytes);
    third.send(bytes);
    await world.clock.advance(50);
  }
  const hex = (list: Recorded[]) => list.map(({ bytes }) => hexOf(bytes));
  assert.deepEqual(got(third), hex([START, STOP, ...REQUESTS, ...RESPONSES]));
  assert.deepEqual(got(core), hex([START, STOP, ...REQUESTS]));
  assert.deepEqual(got(recorder), hex(RESPONSES));
  assert.equal(node.survey.phase, "reporting");
  assert.equal(node.counts.inbound, 3);
  await world.stop(node);
});

test("an engine with the recorder's identity sends what the recorder sent, and reads what the recorder read", async () => {
  const world = new World();
  const random = new SeededRandom(3);
  // The first 32 bytes asked for after collecting began are the key that answers are sealed to.
  let takesKey = false;
  const ours: Random = {
    next: () => random.next(),
    int: (below) => random.int(below),
    bytes: (n) => n === 32 && takesKey ? header.x25519Secret.slice() : random.bytes(n),
  };
  const node = await world.add([], {}, { seed: header.ed25519Seed, random: ours });
  assert.equal(node.local.nodeIdText, header.nodeId);
  const core = await world.remote(node);
  const sent = () => core.received.filter(isSurveyMessage).map((message) => hexOf(encodeMessage(message)));
  const answers: SurveyPageAnswer[] = [];
  node.survey.onAnswer((answer) => answers.push(answer));

  const start = startOf(START), stop = stopOf(STOP);
  node.scp.track(start.ledgerNum);
  assert.equal(node.survey.startCollecting(start.nonce).started, true);
  await world.clock.advance(25_000);
  node.scp.track(stop.ledgerNum);
  assert.equal(node.survey.stopCollecting().stopped, true);
  takesKey = true;
  for (const recorded of REQUESTS) {
    const { request, inboundPeersIndex, outboundPeersIndex } = requestOf(recorded);
    node.scp.track(request.ledgerNum);
    const nodeId = encodeNodeId(request.surveyedPeerId);
    const [outcome] = node.survey.ask([{ nodeId, inboundIndex: inboundPeersIndex, outboundIndex: outboundPeersIndex }]);
    assert.equal(outcome.sent, true);
    takesKey = false;
  }
  await world.clock.advance(50);
  assert.deepEqual(sent(), [START, STOP, ...REQUESTS].map(({ bytes }) => hexOf(bytes)));

  for (const { bytes } of RESPONSES) core.send(bytes, bytes);
  await world.clock.advance(50);
  assert.equal(answers.length, RESPONSES.length, "each once");
  for (const answer of answers) {
    const note = surveys.find(({ survey }) => survey === answer.page.nodeId)!;
    assert.ok(answer.kind === "page");
    assert.equal(hexOf(encode(surveyResponseBody, answer.topology)), hexOf(note.plain));
  }
  assert.ok(answers.some(({ page }) => page.nodeId === hello!.peer));
  assert.deepEqual(core.types.filter((type) => type === "errorMsg"), []);
  await world.stop(node);
});
