import { test } from "node:test";
import assert from "node:assert/strict";
import { isFailure } from "../base/errors.ts";
import { agreementKey } from "../crypto/primitives.ts";
import { openSealedBox, sealBox } from "../crypto/sealed_box.ts";
import { encodeMessage } from "../wire/messages.ts";
import { surveyResponseBody, type SurveyTopology } from "../wire/survey_messages.ts";
import { decode, encode } from "../wire/xdr.ts";
import { isSignedSurveyMessage, type SurveyMessage } from "./signatures.ts";
import { forged, identity, NONCE, request, response, start, stop, SurveyBench } from "./survey_test_kit.ts";
import type { HeardSurveyMessage, SurveyPageAnswer } from "./surveyor.ts";

const [SURVEYOR, OTHER, STRANGER, SURVEYED] = [2, 3, 4, 5].map(identity);

/** A node that permits two surveyors, at a phase of the first one's survey. */
function bench(phase: "inactive" | "collecting" | "reporting" = "inactive"): SurveyBench {
  const made = new SurveyBench();
  made.permitted = new Set([SURVEYOR.text, OTHER.text]);
  if (phase !== "inactive") assert.equal(made.receive(start(SURVEYOR)), "relayed");
  if (phase === "reporting") assert.equal(made.receive(stop(SURVEYOR)), "relayed");
  assert.equal(made.manager.phase, phase);
  made.relayed.length = made.verdicts.length = 0;
  return made;
}

/** Hands `message` over: the verdict, whether it was relayed byte for byte, and whether its peer was dropped. */
function outcome(made: SurveyBench, message: SurveyMessage): string {
  const before = made.relayed.length, drops = made.drops.length;
  const verdict = made.receive(message);
  if (made.relayed.length > before) assert.deepEqual(made.relayed.at(-1), encodeMessage(message));
  assert.equal(made.relayed.length > before, verdict === "relayed");
  assert.deepEqual(
    made.drops.slice(drops),
    verdict === "bad_signature" ? ["ERR_MISC Survey has invalid signature"] : [],
    "silent, but for a wrong signature",
  );
  return verdict;
}

test("START: permission, ledger, phase, signature, in this order", () => {
  const far = 2000;
  assert.equal(outcome(bench("collecting"), forged(start(STRANGER, far))), "not_permitted");
  assert.equal(outcome(bench("collecting"), forged(start(OTHER, far))), "ledger");
  assert.equal(outcome(bench("collecting"), forged(start(OTHER))), "phase");
  assert.equal(outcome(bench("reporting"), start(SURVEYOR)), "phase");
  const made = bench();
  assert.equal(outcome(made, forged(start(SURVEYOR))), "bad_signature");
  assert.equal(made.manager.phase, "inactive");
  assert.equal(outcome(made, start(SURVEYOR)), "relayed");
  assert.deepEqual([made.manager.phase, made.manager.nonce, made.manager.isSurveyor], ["collecting", NONCE, false]);
  assert.deepEqual(made.events.map(({ event }) => event), ["surveyStarted"]);
});

test("STOP: permission, ledger, signature, then phase, nonce and surveyor", () => {
  const far = 2000;
  assert.equal(outcome(bench(), forged(stop(STRANGER, far))), "not_permitted");
  assert.equal(outcome(bench(), forged(stop(OTHER, far))), "ledger");
  assert.equal(outcome(bench(), forged(stop(OTHER))), "bad_signature");
  assert.equal(outcome(bench(), stop(SURVEYOR)), "phase");
  assert.equal(outcome(bench("reporting"), stop(SURVEYOR)), "phase");
  const made = bench("collecting");
  assert.equal(outcome(made, stop(OTHER)), "other_surveyor");
  assert.equal(outcome(made, stop(SURVEYOR, 1000, NONCE + 1)), "other_nonce");
  assert.equal(made.manager.phase, "collecting");
  assert.equal(outcome(made, stop(SURVEYOR, 1006)), "relayed");
  assert.equal(made.manager.phase, "reporting");
});

test("REQUEST: permission, ledger, limiter, phase and nonce, signature, in this order", () => {
  const far = { ledgerNum: 2000 };
  assert.equal(outcome(bench("reporting"), forged(request(STRANGER, SURVEYED, far))), "not_permitted");
  assert.equal(outcome(bench(), forged(request(SURVEYOR, SURVEYED, far))), "ledger");
  assert.equal(outcome(bench(), forged(request(SURVEYOR, SURVEYED))), "phase");
  assert.equal(outcome(bench("collecting"), request(SURVEYOR, SURVEYED)), "phase");
  const made = bench("reporting");
  assert.equal(outcome(made, forged(request(SURVEYOR, SURVEYED, { nonce: 1 }))), "other_nonce");
  assert.equal(outcome(made, forged(request(SURVEYOR, SURVEYED))), "bad_signature");
  assert.equal(outcome(made, request(SURVEYOR, SURVEYED)), "relayed", "what was refused left no record");
  assert.equal(outcome(made, forged(request(SURVEYOR, SURVEYED, { nonce: 1 }))), "limited");
  assert.equal(outcome(made, request(SURVEYOR, SURVEYED, { ledgerNum: 1001 })), "relayed");
  // Who runs the survey does not matter to a relay, only the nonce.
  assert.equal(outcome(made, request(OTHER, SURVEYED)), "relayed");
});

test("RESPONSE: ledger, request seen, no response yet, phase and nonce, signature, in this order", () => {
  const made = bench("reporting");
  assert.equal(outcome(made, forged(response(SURVEYOR, SURVEYED, { ledgerNum: 2000 }))), "ledger");
  assert.equal(outcome(made, forged(response(SURVEYOR, SURVEYED, { nonce: 1 }))), "unknown_request");
  outcome(made, request(SURVEYOR, SURVEYED));
  assert.equal(outcome(made, forged(response(SURVEYOR, SURVEYED, { nonce: 1 }))), "other_nonce");
  assert.equal(outcome(made, forged(response(SURVEYOR, SURVEYED))), "bad_signature");
  assert.equal(outcome(made, response(SURVEYOR, SURVEYED)), "relayed");
  assert.equal(outcome(made, forged(response(SURVEYOR, SURVEYED, { nonce: 1 }))), "answered_before");
  // No permission is asked for: only where the request passed does its response.
  made.permitted.clear();
  outcome(made, request(SURVEYOR, STRANGER));
  assert.equal(outcome(made, response(SURVEYOR, STRANGER)), "unknown_request");
});

test("a request to us is answered, sealed, with the ledger of the request, and not relayed", () => {
  const made = bench("reporting");
  const key = agreementKey(new Uint8Array(32).fill(6));
  const asked = request(SURVEYOR, made.self, {
    ledgerNum: 1003,
    encryptionKey: key.publicKey,
    inboundIndex: 2 ** 32 - 1,
  });
  assert.equal(outcome(made, asked), "answered");
  assert.equal(outcome(made, asked), "limited");
  assert.equal(made.broadcast.length, 1);
  const { message, to } = made.broadcast[0];
  assert.ok(to === undefined && message.type === "timeSlicedSurveyResponse" && isSignedSurveyMessage(message));
  const { response: said, nonce } = message.surveyResponse.response;
  assert.deepEqual([said.surveyorPeerId, said.surveyedPeerId, said.ledgerNum, nonce], [
    SURVEYOR.id,
    made.self.id,
    1003,
    NONCE,
  ]);
  const body = decode(surveyResponseBody, openSealedBox(key, said.encryptedBody)!);
  assert.deepEqual(body, { ...made.manager.own()!, inboundPeers: [], outboundPeers: [] });
});

test("a request to us by another than who sent START, or with a key of small order, has no answer", () => {
  const made = bench("reporting");
  assert.equal(outcome(made, request(OTHER, made.self)), "other_surveyor");
  assert.equal(outcome(made, request(SURVEYOR, made.self, { encryptionKey: new Uint8Array(32) })), "bad_key");
  assert.deepEqual(made.broadcast, []);
});

test("while the ledger is not known nothing is accepted, and no survey can begin", () => {
  const made = bench();
  made.ledger = undefined;
  assert.equal(outcome(made, start(SURVEYOR)), "ledger");
  assert.deepEqual(made.manager.startCollecting(1), { started: false, reason: "ledger_unknown" });
  assert.equal(made.manager.roomIn(), 0);
});

/** A surveyor whose survey reports, and the requests it sends. */
function surveyor(): SurveyBench {
  const made = new SurveyBench();
  assert.deepEqual(made.manager.startCollecting(NONCE), { started: true, ledgerNum: 1000, told: [] });
  assert.deepEqual(made.manager.stopCollecting(), { stopped: true, ledgerNum: 1000, told: [] });
  made.broadcast.length = 0;
  return made;
}

const page = (node: { text: string }, inboundIndex = 0, outboundIndex = 0) => ({
  nodeId: node.text,
  inboundIndex,
  outboundIndex,
});

/** The key that the surveyor's requests ask answers to be sealed to. */
function keyOf({ message }: SurveyBench["broadcast"][number]): Uint8Array {
  return message.type === "timeSlicedSurveyRequest"
    ? message.surveyRequest.request.request.encryptionKey
    : assert.fail();
}

const EMPTY: SurveyTopology = {
  inboundPeers: [],
  outboundPeers: [],
  nodeData: {
    addedAuthenticatedPeers: 3,
    droppedAuthenticatedPeers: 1,
    totalInboundPeerCount: 12,
    totalOutboundPeerCount: 8,
    p75SCPFirstToSelfLatencyMs: 121,
    p75SCPSelfToOtherLatencyMs: 112,
    lostSyncCount: 0,
    isValidator: true,
    maxInboundPeerCount: 64,
    maxOutboundPeerCount: 8,
  },
};

test("ask sends signed requests, all sealed to one key, one per node and ledger", () => {
  const made = surveyor();
  const { manager } = made;
  assert.equal(manager.roomIn(), 10);
  const outcomes = manager.ask([page(SURVEYED, 25, 50), page(STRANGER), page(SURVEYED, 50), page(made.self)]);
  assert.deepEqual(outcomes.map((one) => one.sent ? one.ledgerNum : one.reason), [
    1000,
    1000,
    "asked_this_ledger",
    "self",
  ]);
  assert.deepEqual([manager.roomIn(), manager.roomIn(1001)], [8, 10]);
  assert.equal(made.broadcast.length, 2);
  assert.deepEqual(keyOf(made.broadcast[0]), keyOf(made.broadcast[1]));
  const first = made.broadcast[0].message;
  assert.ok(first.type === "timeSlicedSurveyRequest" && isSignedSurveyMessage(first));
  const { inboundPeersIndex, outboundPeersIndex, nonce } = first.surveyRequest.request;
  assert.deepEqual([inboundPeersIndex, outboundPeersIndex, nonce], [25, 50, NONCE]);
  // Another ledger number, and chosen peers.
  const [later] = manager.ask([page(SURVEYED, 50)], { ledgerNum: 998, to: ["GA"] });
  assert.deepEqual([later.sent && later.ledgerNum, made.broadcast.at(-1)!.to], [998, ["GA"]]);
  const [tooFar] = manager.ask([page(SURVEYED)], { ledgerNum: 993 });
  assert.deepEqual(tooFar.sent === false && tooFar.reason, "ledger");
  assert.throws(() => manager.ask([{ nodeId: "G", inboundIndex: 0, outboundIndex: 0 }]), isFailure("invalid_argument"));
});

test("answers are opened and told with the page they are for; bad ones are told as bad; each request has one", () => {
  const made = surveyor();
  const answers: SurveyPageAnswer[] = [];
  const undo = made.manager.onAnswer((answer) => answers.push(answer));
  const nodes = [10, 11, 12, 13, 14].map(identity);
  made.manager.ask(nodes.map((node) => page(node, 25)));
  const key = keyOf(made.broadcast[0]);
  const good = encode(surveyResponseBody, EMPTY);
  const longer = new Uint8Array([...good, 0, 0, 0, 0]);
  const tooMany = good.slice();
  tooMany[7] = 26;
  const seal = (content: Uint8Array) => sealBox(key, content, new Uint8Array(32).fill(8))!;
  const bodies = [seal(good), seal(longer), seal(tooMany), seal(good).slice(0, -1), new Uint8Array(0)];
  nodes.forEach((node, i) => {
    assert.equal(outcome(made, response(made.self, node, { encryptedBody: bodies[i] })), "taken");
    assert.equal(outcome(made, response(made.self, node, { encryptedBody: seal(good) })), "answered_before");
  });
  assert.deepEqual(
    answers.map((answer) => answer.kind === "bad" ? answer.reason : answer.topology),
    [EMPTY, "xdr_invalid", "xdr_invalid", "sealed_box", "sealed_box"],
  );
  assert.deepEqual(answers.map((answer) => answer.page), nodes.map((node) => page(node, 25)));
  assert.deepEqual([answers[0].ledgerNum, answers[0].from], [1000, made.from.nodeId]);
  assert.equal(outcome(made, response(made.self, SURVEYED)), "unknown_request");
  undo();
  made.ledger = 1001;
  made.manager.ask([page(SURVEYED)]);
  assert.equal(outcome(made, response(made.self, SURVEYED, { ledgerNum: 1001 })), "taken");
  assert.equal(answers.length, 5);
});

test("answers that come more than six ledgers later are lost", () => {
  const made = surveyor();
  made.manager.ask([page(SURVEYED)]);
  made.ledger = 1006;
  made.manager.ledgerClosed(1006);
  made.ledger = 1007;
  made.manager.ledgerClosed(1007);
  assert.equal(outcome(made, response(made.self, SURVEYED)), "ledger");
});

test("our own messages that come back change nothing, and are told as heard", () => {
  const made = surveyor();
  const heard: HeardSurveyMessage[] = [];
  const undo = made.manager.onHeard((one) => heard.push(one));
  made.manager.ask([page(SURVEYED)]);
  for (const message of [start(made.self), stop(made.self), made.broadcast[0].message]) outcome(made, message);
  assert.deepEqual(heard.map(({ type, verdict }) => [type, verdict]), [
    ["start", "phase"],
    ["stop", "phase"],
    ["request", "limited"],
  ]);
  assert.deepEqual(heard[2], {
    type: "request",
    from: made.from.nodeId,
    surveyorId: made.self.text,
    surveyedId: SURVEYED.text,
    nonce: NONCE,
    ledgerNum: 1000,
    verdict: "limited",
  });
  undo();
  outcome(made, start(OTHER));
  assert.equal(heard.length, 3);
});

test("a survey of ours begins once, and only its surveyor asks and stops", () => {
  const made = bench("reporting");
  assert.deepEqual(made.manager.startCollecting(5), { started: false, reason: "survey_active" });
  assert.deepEqual(made.manager.stopCollecting(), { stopped: false, reason: "not_surveyor" });
  assert.deepEqual(made.manager.ask([page(SURVEYED)]), [{ page: page(SURVEYED), sent: false, reason: "not_surveyor" }]);
  const fresh = bench();
  assert.deepEqual(fresh.manager.stopCollecting(), { stopped: false, reason: "no_survey" });
  assert.deepEqual(fresh.manager.ask([page(SURVEYED)]), [{
    page: page(SURVEYED),
    sent: false,
    reason: "not_reporting",
  }]);
  assert.throws(() => fresh.manager.startCollecting(2 ** 32));
  assert.equal(fresh.manager.phase, "inactive", "a nonce that is none leaves nothing behind");
  assert.equal(fresh.manager.startCollecting(0).started, true);
  assert.equal(fresh.manager.own(), undefined);
  assert.equal(fresh.manager.stopCollecting({ ledgerNum: 1006 }).stopped, true);
  assert.deepEqual(fresh.manager.stopCollecting(), { stopped: false, reason: "not_collecting" });
  assert.equal(fresh.manager.own()!.nodeData.totalInboundPeerCount, 0);
});

test("attach goes on with a survey of another process, and leave forgets it", async () => {
  const made = new SurveyBench();
  await made.clock.advance(3600_000);
  const { manager } = made;
  assert.equal(manager.attach({ nonce: NONCE, phase: "reporting", elapsedMs: 60_000 }), true);
  assert.equal(manager.attach({ nonce: NONCE, phase: "reporting" }), false);
  assert.deepEqual([manager.phase, manager.isSurveyor, manager.own()], ["reporting", true, undefined]);
  assert.equal(manager.state.phaseEndsMs, 3600_000 - 60_000 + 3 * 3600_000);
  assert.deepEqual(manager.ask([page(SURVEYED)]).map(({ sent }) => sent), [true]);
  manager.leave();
  assert.equal(manager.phase, "inactive");
  assert.equal(outcome(made, response(made.self, SURVEYED)), "unknown_request");
  assert.equal(manager.attach({ nonce: NONCE, phase: "collecting", elapsedMs: 1000 }), true);
  assert.equal(manager.stopCollecting().stopped, true);
  assert.equal(made.broadcast.at(-1)!.message.type, "timeSlicedSurveyStopCollecting");
  manager.leave();
  manager.leave();
  assert.deepEqual(made.events.map(({ event }) => event).filter((event) => event === "surveyEnded").length, 2);
});

test("the tick ends phases, and with the survey its key and requests", async () => {
  const made = new SurveyBench({ settings: { isValidator: false, maxInbound: 1, maxOutbound: 1, phaseMs: 60_000 } });
  made.manager.startCollecting(NONCE);
  await made.clock.advance(60_000);
  made.manager.tick(made.clock.nowMs());
  assert.equal(made.manager.phase, "collecting");
  await made.clock.advance(1);
  made.manager.tick(made.clock.nowMs());
  assert.equal(made.manager.phase, "reporting");
  made.manager.ask([page(SURVEYED)]);
  await made.clock.advance(60_001);
  made.manager.tick(made.clock.nowMs());
  assert.equal(made.manager.phase, "inactive");
  assert.equal(outcome(made, response(made.self, SURVEYED)), "phase");
  assert.deepEqual(made.events.map((event) => event.event === "surveyStopped" ? event.by : event.event), [
    "surveyStarted",
    "time",
    "surveyEnded",
    "surveyIgnored",
  ]);
});
