/** What a program that embeds the node can do and hears: observers, the survey's hook, sending, settings that are passed on. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { NOT_APPLICABLE, pubnet } from "../base/config.ts";
import { isFailure } from "../base/errors.ts";
import { encodeMessage, type ReceivedMessage, type StellarMessage } from "../wire/messages.ts";
import type { Drop } from "../peer/peer.ts";
import { transactionOf, World } from "./overlay_manager_test_kit.ts";
import type { AuthenticatedPeer } from "./peer_lists.ts";
import type { OverlayManager } from "./overlay_manager.ts";

/** A START of the survey, with a signature nobody made. */
function surveyStart(nonce: number): StellarMessage {
  const startCollecting = { surveyorId: new Uint8Array(32).fill(1), nonce, ledgerNum: 5 };
  return {
    type: "timeSlicedSurveyStartCollecting",
    surveyStart: { signature: new Uint8Array(64), startCollecting },
  };
}

test("observe tells about admitted peers, their end and every tick, until it is undone", async () => {
  const world = new World();
  const node = await world.add([]);
  const told: string[] = [];
  const undo = node.observe({
    onAuthenticated: (peer) => {
      told.push(`in ${peer.nodeId}`);
      assert.ok(node.authenticatedPeers().includes(peer) && peer.metrics.snapshot(0).messageRead > 0);
    },
    onDropped: (peer, drop: Drop) => {
      told.push(`out ${peer.nodeId} ${drop.reason}`);
      assert.equal(peer.send({ type: "getScpState", ledgerSeq: 1 }), false);
    },
    onTick: (nowMs) => void told.push(`tick ${nowMs}`),
  });
  const remote = await world.remote(node);
  const id = remote.node.nodeIdText;
  await world.remoteAtHello(node);
  node.disconnect(id);
  await world.clock.advance(5000);
  assert.deepEqual(told, [`in ${id}`, `out ${id} dropped by user`, "tick 2000", "tick 5000"]);
  undo();
  await world.clock.advance(10_000);
  assert.equal(told.length, 4);
  await world.stop(node);
});

test("onSurveyMessage gets survey messages, relay passes them on once, and nothing is relayed without it", async () => {
  const world = new World();
  const node = await world.add([]);
  const [a, b, c] = [await world.remote(node), await world.remote(node), await world.remote(node)];
  const surveys = (remote: typeof a) => remote.received.filter(({ type }) => type.startsWith("timeSliced"));
  const inbox = node.subscribe({ types: ["timeSlicedSurveyStartCollecting"] });
  a.send(surveyStart(1));
  await world.clock.advance(50);
  assert.deepEqual([surveys(b), inbox.counts.waiting.general], [[], 1]);

  const heard: [AuthenticatedPeer, StellarMessage][] = [], told: string[][] = [];
  node.onSurveyMessage = (from, message: ReceivedMessage) => {
    heard.push([from, message.decode()]);
    told.push(node.relay(from, message));
  };
  a.send(surveyStart(2));
  await world.clock.advance(50);
  b.send(surveyStart(2));
  await world.clock.advance(50);
  assert.deepEqual(heard.map(([from]) => from.nodeId), [a.node.nodeIdText, b.node.nodeIdText]);
  assert.deepEqual(heard[0][1], surveyStart(2));
  assert.deepEqual(told.map((ids) => ids.length), [2, 0]);
  assert.deepEqual([surveys(a), surveys(b), surveys(c)], [[], [surveyStart(2)], [surveyStart(2)]]);

  // A handler that ends the connection keeps the message from subscribers.
  node.onSurveyMessage = (from) => from.peer.sendErrorAndDrop("ERR_MISC", "Survey has invalid signature");
  a.send(surveyStart(3), surveyStart(4));
  await world.clock.advance(50);
  assert.equal(inbox.counts.waiting.general, 3);
  assert.equal(node.counts.inbound, 2);
  assert.equal(node.metrics.counters.uniqueFloodMessages, 3);
  await world.stop(node);
});

test("broadcast floods survey messages of our own, and refuses what is for one peer", async () => {
  const world = new World();
  const node = await world.add([]);
  const a = await world.remote(node);
  assert.deepEqual(node.broadcast(surveyStart(1)), [a.node.nodeIdText]);
  assert.deepEqual(node.broadcast(surveyStart(1)), []);
  for (const message of [{ type: "getScpState", ledgerSeq: 1 }, { type: "floodAdvert", txHashes: [] }] as const) {
    assert.throws(() => node.broadcast(message as StellarMessage), isFailure("invalid_argument"));
  }
  await world.clock.advance(50);
  assert.deepEqual(a.received.at(-1), surveyStart(1));
  await world.stop(node);
});

test("requestScpState asks all, or some", async () => {
  const world = new World();
  const node = await world.add([]);
  const remotes = [await world.remote(node), await world.remote(node), await world.remote(node)];
  for (const remote of remotes) remote.received.length = 0;
  assert.equal(node.requestScpState(3), 3);
  assert.equal(node.requestScpState(4, { peers: 2 }), 2);
  assert.equal(node.requestScpState(4, { peers: 9 }), 3);
  await world.clock.advance(50);
  assert.equal(remotes.flatMap(({ types }) => types).filter((type) => type === "getScpState").length, 8);
  await world.stop(node);
});

test("subscriptions that miss messages are counted in the metrics", async () => {
  const world = new World();
  const node = await world.add([]);
  const remote = await world.remote(node);
  const inbox = node.subscribe({ types: ["transaction"], generalLimit: 2 });
  for (let i = 1; i <= 5; i++) remote.send(transactionOf(i));
  await world.clock.advance(50);
  assert.deepEqual([inbox.counts.missed, node.metrics.counters.subscriberOverflow], [3, 3]);
  await world.stop(node);
});

test("maxBatchWriteCount and maxBatchWriteBytes reach the writes of a connection", async () => {
  const writes = async (changes: Parameters<typeof pubnet>[0], messages: StellarMessage[]) => {
    const world = new World();
    const node = await world.add([], changes);
    const remote = await world.remote(node);
    const { counters } = node.authenticatedPeers()[0].peer.connection;
    const before = counters.writes;
    for (const message of messages) node.sendTo(remote.node.nodeIdText, message);
    await world.clock.advance(50);
    assert.equal(remote.received.filter(({ type }) => type === messages[0].type).length >= messages.length, true);
    const done = counters.writes - before;
    await world.stop(node);
    return done;
  };
  const small = Array.from({ length: 10 }, (): StellarMessage => ({ type: "getScpState", ledgerSeq: 1 }));
  assert.equal(await writes({}, small), 1);
  // The first batch leaves at once; what is full while it is being written waits as whole batches.
  assert.equal(await writes({ maxBatchWriteCount: 4 }, small), 3);
  assert.equal(await writes({ maxBatchWriteCount: 1 }, small), 10);
  assert.equal(await writes({ maxBatchWriteBytes: 3 * 56 }, small), 4);
});

test("maxSlotsToRemember decides which statements are kept and asked for", async () => {
  const world = new World();
  const node = await world.add([], { maxSlotsToRemember: 3 });
  node.scp.track(100);
  assert.equal(node.scp.range.min, 98);
  const remote = await world.remote(node);
  assert.deepEqual(remote.received.find(({ type }) => type === "getScpState"), { type: "getScpState", ledgerSeq: 98 });
  await world.stop(node);
});

test("every setting is used by the engine, or says that it is not applicable", () => {
  const folder = (name: string): string[] =>
    readdirSync(new URL(`../${name}/`, import.meta.url)).filter((file) =>
      file.endsWith(".ts") && !file.includes("_test")
    )
      .map((file) => readFileSync(new URL(`../${name}/${file}`, import.meta.url), "utf8"));
  // Of the rules only what computes something from settings counts, not what checks them.
  const rules = readFileSync(new URL("../base/config_rules.ts", import.meta.url), "utf8");
  const computed = rules.match(/export function (adjust|flowControlLimits|maxTransactionBytes|tickMs)\b[\s\S]*?\n}/g)!;
  assert.equal(computed.length, 4);
  const text = [...["manager", "connection", "peer", "flood", "db"].flatMap(folder), ...computed].join("\n");
  const config = pubnet();
  const settings = [...Object.keys(config), ...Object.keys(config.flowControl)];
  const unused = settings.filter((key) => !new RegExp(`\\b${key}\\b`).test(text));
  assert.deepEqual(unused.sort(), [...NOT_APPLICABLE].sort());
});

test("a message for a subscriber is its own copy, and encodes as it came", async () => {
  const world = new World();
  const node: OverlayManager = await world.add([]);
  const remote = await world.remote(node);
  const inbox = node.subscribe({ types: ["transaction"] });
  remote.send(transactionOf(1));
  await world.clock.advance(50);
  const { value } = await inbox.next();
  assert.deepEqual(encodeMessage(value.message.decode()), encodeMessage(transactionOf(1)));
  await world.stop(node);
});
