/** Who may survey a node, and what the survey of a whole node measures and sends. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { pubnet } from "../base/config.ts";
import { decodeNodeId, encodeNodeId } from "../crypto/strkey.ts";
import {
  externalize,
  nominate,
  quorumSetOf,
  scpMessage,
  txSetOf,
  validators,
  value,
} from "../flood/scp_state_test_kit.ts";
import type { RawRemote } from "../peer/peer_test_remote.ts";
import { isSurveyMessage } from "../survey/signatures.ts";
import { identity, NONCE, request, start, stop } from "../survey/survey_test_kit.ts";
import { decodeMessage } from "../wire/messages.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";
import { SurveyPermission } from "./survey_wiring.ts";

const [SELF, ONE, TWO] = [1, 2, 3].map(identity);

/** Which of self, one and two may survey a node with these settings. */
function permitted(
  changes: { surveyorKeys?: string[]; quorumNodes?: string[] },
  permits?: (nodeId: Uint8Array) => boolean,
): boolean[] {
  const permission = new SurveyPermission(pubnet(changes), SELF.id, permits);
  return [SELF, ONE, TWO].map(({ id }) => permission.has(id));
}

test("SurveyPermission: the list of surveyors, else the program's word, else the quorum, else nobody", () => {
  assert.deepEqual(permitted({}), [false, false, false]);
  assert.deepEqual(permitted({ quorumNodes: [ONE.text] }), [false, true, false]);
  assert.deepEqual(permitted({ surveyorKeys: [TWO.text], quorumNodes: [ONE.text] }), [false, false, true]);
  assert.deepEqual(permitted({ surveyorKeys: ["$self"], quorumNodes: [ONE.text] }), [true, false, false]);
  const onlyTwo = (nodeId: Uint8Array) => nodeId[0] === TWO.id[0];
  assert.deepEqual(permitted({ quorumNodes: [ONE.text] }, onlyTwo), [false, false, true]);
  assert.deepEqual(permitted({ surveyorKeys: [ONE.text] }, () => true), [false, true, false]);
});

/** Survey messages that a remote got. */
const surveys = (remote: RawRemote) => remote.received.filter(isSurveyMessage).map(({ type }) => type);

test("a watcher learns the transitive quorum from SCP traffic: it fetches quorum sets, and no transaction sets", async () => {
  const world = new World();
  const [first, second, third] = validators(3);
  const name = (key: typeof first) => encodeNodeId(key.publicKey);
  const node = await world.add([], { isValidator: false, quorumNodes: [name(first)] });
  const remote = await world.remote(node), other = await world.remote(node);
  const sets = [quorumSetOf([first, second]), quorumSetOf([second, third])];
  const asked: string[] = [];
  for (const peer of [remote, other]) {
    peer.onMessage = (message) => {
      if (message.type === "getTxSet") asked.push(message.type);
      if (message.type !== "getScpQuorumset") return;
      const found = sets.find(({ hash }) => hash.join() === message.qSetHash.join());
      if (found !== undefined) {
        asked.push("quorum set");
        peer.send(found.message);
      } else peer.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
    };
  }
  const may = async (key: typeof first, nonce: number) => {
    const surveyor = { key, id: key.publicKey, text: name(key) };
    remote.send(start(surveyor, node.ledgerSeq!, nonce));
    await world.clock.advance(100);
    const did = node.survey.nonce === nonce;
    node.survey.leave();
    return did;
  };
  node.scp.track(999);
  assert.deepEqual([await may(first, 1), await may(second, 2), await may(third, 3)], [true, false, false]);
  const set = txSetOf(1);
  remote.send(scpMessage(first, 1000, nominate(sets[0].hash, value(first, set.hash))));
  await world.clock.advance(3000);
  assert.deepEqual([await may(second, 4), await may(third, 5)], [true, false]);
  remote.send(scpMessage(second, 1000, nominate(sets[1].hash, value(second, set.hash))));
  await world.clock.advance(3000);
  assert.deepEqual([await may(third, 6), node.survey.phase], [true, "inactive"]);
  assert.deepEqual(asked, ["quorum set", "quorum set"]);
  assert.ok(other.types.includes("scpMessage"), "and it relays them");
  await world.stop(node);
});

test("the SCP latencies are those of EXTERNALIZE statements that came while collecting", async () => {
  const world = new World();
  const node = await world.add([], { isValidator: false, surveyorKeys: ["$self"] });
  const remote = await world.remote(node);
  const keys = validators(4), quorum = quorumSetOf(keys), set = txSetOf(1);
  const say = (at: number, slot: number) =>
    remote.send(scpMessage(keys[at], slot, externalize(quorum.hash, value(keys[at], set.hash))));
  for (let at = 0; at < 4; at++) say(at, 1000);
  await world.clock.advance(100);
  assert.equal(node.ledgerSeq, 1000);
  assert.equal(node.survey.startCollecting(NONCE).started, true);
  // The third of four makes a majority, 70 ms after the first; the fourth comes 200 ms after the first.
  for (let slot = 1001; slot <= 1004; slot++) {
    say(0, slot);
    await world.clock.advance(30);
    say(1, slot);
    await world.clock.advance(40);
    say(2, slot);
    await world.clock.advance(130);
    say(3, slot);
    await world.clock.advance(4800);
  }
  assert.equal(node.ledgerSeq, 1004);
  assert.equal(node.survey.stopCollecting().stopped, true);
  const { nodeData, inboundPeers } = node.survey.own()!;
  assert.deepEqual([nodeData.p75SCPFirstToSelfLatencyMs, nodeData.p75SCPSelfToOtherLatencyMs], [70, 200]);
  assert.deepEqual([nodeData.lostSyncCount, nodeData.isValidator], [0, false]);
  const [{ peerStats }] = inboundPeers;
  assert.deepEqual([peerStats.uniqueFloodMessageRecv, peerStats.duplicateFloodMessageRecv], [16n, 0n]);
  assert.deepEqual(encodeNodeId(peerStats.id), remote.node.nodeIdText);
  await world.stop(node);
});

test("what is reported of a peer is what that peer's own connection counted, from START to STOP", async () => {
  const world = new World();
  const node = await world.add([], { surveyorKeys: [ONE.text] });
  const remote = await world.remote(node), other = await world.remote(node);
  remote.onMessage = (message) => {
    if (message.type === "getScpQuorumset") {
      remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
    }
  };
  node.scp.track(1000);
  await world.clock.advance(100);
  remote.send(start(ONE));
  await world.clock.advance(100);
  const { messagesRead, messagesWritten, bytesRead, bytesWritten } = remote.connection.counters;
  const before = { messagesRead, messagesWritten, bytesRead, bytesWritten };
  for (let n = 0; n < 50; n++) {
    remote.send(transactionOf(n), transactionOf(n));
    other.send(transactionOf(n));
    await world.clock.advance(500);
  }
  remote.send(stop(ONE));
  await world.clock.advance(5);
  const after = remote.connection.counters;
  // STOP has left the remote and is under way: it is counted at its sender only.
  await world.clock.advance(200);
  const own = node.survey.own()!.inboundPeers.find(({ peerStats }) =>
    encodeNodeId(peerStats.id) === remote.node.nodeIdText
  )!;
  const { peerStats } = own;
  assert.deepEqual(
    [peerStats.messagesRead, peerStats.bytesRead].map(Number),
    [after.messagesWritten - before.messagesWritten, after.bytesWritten - before.bytesWritten],
  );
  assert.deepEqual(
    [peerStats.messagesWritten, peerStats.bytesWritten].map(Number),
    [after.messagesRead - before.messagesRead, after.bytesRead - before.bytesRead],
  );
  // STOP itself is new too.
  assert.deepEqual([peerStats.uniqueFloodMessageRecv, peerStats.duplicateFloodMessageRecv], [51n, 50n]);
  assert.deepEqual([peerStats.uniqueFloodBytesRecv, peerStats.duplicateFloodBytesRecv], [
    50n * 204n + 116n,
    50n * 204n,
  ]);
  assert.equal(own.averageLatencyMs, 20);
  await world.stop(node);
});

test("a node that loses the network while collecting says so", async () => {
  const world = new World();
  const node = await world.add([], { surveyorKeys: [ONE.text] });
  const remote = await world.remote(node);
  remote.onMessage = (message) => {
    if (message.type === "getScpQuorumset") {
      remote.send({ type: "dontHave", dontHave: { type: 10, reqHash: message.qSetHash } });
    }
  };
  node.scp.track(1000);
  remote.send(start(ONE));
  await world.clock.advance(36_000);
  assert.equal(node.outOfSync, true);
  remote.send(stop(ONE));
  await world.clock.advance(100);
  assert.equal(node.survey.own()!.nodeData.lostSyncCount, 1);
  await world.stop(node);
});

test("messages of our own go to the peers that are named, and to the others when they bring them", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node), other = await world.remote(node);
  node.scp.track(1000);
  const heard: string[] = [];
  node.survey.onHeard(({ type, verdict, from }) => heard.push(`${type} ${verdict} ${from}`));
  const id = remote.node.nodeIdText;
  assert.deepEqual(node.survey.startCollecting(NONCE, { to: [id, SELF.text] }), {
    started: true,
    ledgerNum: 1000,
    told: [id],
  });
  await world.clock.advance(50);
  assert.deepEqual([surveys(remote), surveys(other)], [["timeSlicedSurveyStartCollecting"], []]);
  // Somebody permits us: it comes back from where we did not send it.
  other.send(remote.received.find(isSurveyMessage)!);
  await world.clock.advance(50);
  assert.deepEqual(heard, [`start phase ${other.node.nodeIdText}`]);
  assert.deepEqual(surveys(other), []);
  await world.stop(node);
});

test("an answer goes to every peer, also to the one that brought the request, and is never an answer twice", async () => {
  const world = new World();
  const node = await world.add([], { surveyorKeys: [ONE.text] });
  const [a, b] = [await world.remote(node), await world.remote(node)];
  node.scp.track(1000);
  const self = { ...identity(7), id: decodeNodeId(node.local.nodeIdText) };
  const asked = request(ONE, self);
  a.send(start(ONE), stop(ONE), asked);
  await world.clock.advance(50);
  b.send(asked);
  await world.clock.advance(50);
  assert.deepEqual(surveys(a), ["timeSlicedSurveyResponse"]);
  assert.deepEqual(surveys(b), [
    "timeSlicedSurveyStartCollecting",
    "timeSlicedSurveyStopCollecting",
    "timeSlicedSurveyResponse",
  ]);
  assert.deepEqual(world.eventsOf(node, "surveyAnswered").map(({ inbound, outbound }) => [inbound, outbound]), [[
    2,
    0,
  ]]);
  await world.stop(node);
});

test("a program's own handler takes the survey's messages instead, until it gives them back", async () => {
  const world = new World();
  const node = await world.add([], { surveyorKeys: [ONE.text] });
  const remote = await world.remote(node);
  node.scp.track(1000);
  const taken: string[] = [];
  node.onSurveyMessage = (_, message) => taken.push(decodeMessage(message.bytes).type);
  remote.send(start(ONE));
  await world.clock.advance(50);
  assert.deepEqual([taken, node.survey.phase], [["timeSlicedSurveyStartCollecting"], "inactive"]);
  node.onSurveyMessage = undefined;
  remote.send(start(ONE));
  await world.clock.advance(50);
  assert.deepEqual([taken.length, node.survey.phase], [1, "collecting"]);
  await world.stop(node);
});
