import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { temporaryFolder } from "../../tests/kit/tool.ts";
import type { PlannedNode } from "./planner.ts";
import { modelNode, modelPeer } from "./planner_test_kit.ts";
import { documentOfStored } from "./stored_document.ts";
import { KEEP_SURVEYS, SurveyStore } from "./survey_store.ts";

const PASSPHRASE = "survey store tests";
const NEW = { nonce: 7, surveyor: "GS", toolVersion: "0", options: { targets: ["a:1"], collectMs: 5, nodes: [] } };

async function open(clock = new VirtualClock(), path = ":memory:"): Promise<SurveyStore> {
  return await SurveyStore.open(path, { networkPassphrase: PASSPHRASE, clock });
}

function planned(nodeId: string, change: Partial<PlannedNode> = {}): PlannedNode {
  return {
    nodeId,
    origin: "named",
    node: undefined,
    answeredPages: [],
    state: "pending",
    badReason: undefined,
    requests: 0,
    ...change,
  };
}

test("SurveyStore gives back what it was given, 64-bit counters and hostile versions included, in order", async () => {
  const path = join(temporaryFolder(), "surveys.sqlite");
  const peer = { ...modelPeer("GB"), bytesRead: 2n ** 64n - 1n, version: "v\u0000\ud800\u202e" };
  const nodes = [
    planned("GZ", {
      origin: "peer",
      state: "answered",
      answeredPages: [0, 2],
      requests: 3,
      node: modelNode("GZ", { inboundPeers: [peer] }),
    }),
    planned("GA", { origin: "given", state: "bad", badReason: "sealed_box", requests: 2 }),
    planned("GM"),
  ];
  const own = modelNode("GS", { outboundPeers: [modelPeer("GZ")] });
  {
    using store = await open(undefined, path);
    const id = store.create(NEW);
    store.putNodes(id, nodes);
    store.putNodes(id, [{ ...planned("GM", { state: "silent", requests: 3 }), late: true }]);
    store.change(id, {
      state: "done",
      startedAtMs: 1000,
      stoppedAtMs: 2000.4,
      passedOn: true,
      own,
      version: "x\u0000y",
    });
    store.addNodes(id, ["GX", "GX"]);
  }
  using store = await open(undefined, path);
  const survey = store.find()!;
  assert.deepEqual(survey.options.nodes, ["GX"]);
  assert.deepEqual([survey.state, survey.startedAtMs, survey.stoppedAtMs, survey.passedOn], ["done", 1000, 2000, true]);
  assert.deepEqual([survey.own, survey.version], [own, "x\u0000y"]);
  assert.deepEqual(store.nodes(survey.id), [
    { ...nodes[0], late: false },
    { ...nodes[1], late: false },
    { ...planned("GM", { state: "silent", requests: 3 }), late: true },
  ]);
  const document = documentOfStored(store, survey, "local");
  assert.deepEqual([...document.nodes.keys()], ["GS", "GZ"]);
  assert.deepEqual([...document.states], [["GZ", "answered"], ["GA", "bad"], ["GM", "silent"]]);
  assert.deepEqual([...document.lateJoiners], ["GM"]);
});

test("SurveyStore lets one process drive a survey, and another once it is silent for ten seconds, or known to be gone", async () => {
  const clock = new VirtualClock();
  using store = await open(clock);
  const id = store.create({ ...NEW, owner: "one" });
  store.claim(id, "one");
  assert.throws(() => store.claim(id, "two"), isFailure("survey_in_progress"));
  await clock.advance(8000);
  assert.ok(store.touch(id, "one"));
  await clock.advance(8000);
  assert.throws(() => store.claim(id, "two"), isFailure("survey_in_progress"));
  store.claim(id, "two", true);
  assert.equal(store.touch(id, "one"), false);
  store.release(id, "one");
  assert.throws(() => store.claim(id, "three"), isFailure("survey_in_progress"));
  await clock.advance(10_001);
  store.claim(id, "three");
  store.release(id, "three");
  store.claim(id, "four");
});

test("SurveyStore finds the newest survey that was under way, any by its nonce, and forgets the oldest", async () => {
  using store = await open();
  const first = store.create({ ...NEW, nonce: 1 });
  store.putNodes(first, [planned("GA")]);
  store.change(store.create({ ...NEW, nonce: 2 }), { state: "ignored" });
  assert.deepEqual([store.find()?.nonce, store.find(2)?.nonce, store.find(3)], [1, 2, undefined]);
  for (let i = 0; i < KEEP_SURVEYS; i++) store.create({ ...NEW, nonce: 100 + i });
  assert.deepEqual([store.list().length, store.list(1)[0].nonce], [KEEP_SURVEYS, 99 + KEEP_SURVEYS]);
  assert.deepEqual([store.find(1), store.nodes(first)], [undefined, []]);
  store.remove(store.find()!.id);
  assert.equal(store.list().length, KEEP_SURVEYS - 1);
});
