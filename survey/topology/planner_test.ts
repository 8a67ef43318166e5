import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../../overlay/base/random.ts";
import type { PlannedPage, SurveyAnswer } from "./backend.ts";
import { PAGE_ENTRIES, SurveyPlanner } from "./planner.ts";
import { modelNetwork, modelNode, modelPeer, type NetworkModel, pageOfModel } from "./planner_test_kit.ts";

const OPTIONS = { surveyorId: "S", lostAfterTurns: 2 };

function answerOf(model: NetworkModel, page: PlannedPage): SurveyAnswer {
  return { page, kind: "page", node: pageOfModel(model, page) };
}

/** A run of turns. `answers`: what comes of a request, at once, later by so many turns, or never (undefined). */
function run(
  planner: SurveyPlanner,
  model: NetworkModel,
  fate: (page: PlannedPage, turn: number) => number | undefined,
  options: { room?: number; limit?: number } = {},
): { turns: number; perTurn: PlannedPage[][] } {
  const { room = 10, limit = 2000 } = options;
  const perTurn: PlannedPage[][] = [];
  const later = new Map<number, PlannedPage[]>();
  for (let turn = 0; turn < limit; turn++) {
    const sent: PlannedPage[] = [];
    perTurn.push(sent);
    for (const page of later.get(turn) ?? []) planner.answer(answerOf(model, page));
    while (true) {
      const pages = planner.next(turn, room - sent.length);
      if (pages.length === 0) break;
      sent.push(...pages);
      for (const page of pages) {
        const after = fate(page, turn);
        if (after === 0) planner.answer(answerOf(model, page));
        else if (after !== undefined) later.set(turn + after, [...later.get(turn + after) ?? [], page]);
      }
    }
    if (planner.isDone(turn)) return { turns: turn + (sent.length > 0 ? 1 : 0), perTurn };
  }
  throw new Error("it does not end");
}

test("SurveyPlanner finds a whole network from one node, 10 requests per turn, in 1.2 x ceil(pages / 10) turns", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const model = modelNetwork(new SeededRandom(seed), { nodes: 300, target: 8, hubs: 3 });
    const planner = new SurveyPlanner(OPTIONS);
    planner.add([...model.keys()][0], "peer");
    const { turns, perTurn } = run(planner, model, () => 0);
    const { pages, answered, pending } = planner.counts();
    assert.deepEqual([answered, pending], [model.size, 0]);
    assert.ok(perTurn.every((sent) => sent.length <= 10));
    assert.ok(turns <= Math.floor(1.2 * Math.ceil(pages / 10)), `seed ${seed}: ${turns} turns for ${pages} pages`);
    for (const { nodeId, node } of planner.nodes()) assert.deepEqual(node, model.get(nodeId));
  }
});

test("SurveyPlanner keeps the bound with silent nodes and lost pages: requests count, none is repeated too often", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new SeededRandom(seed);
    const model = modelNetwork(random, { nodes: 300, target: 8, hubs: 3 });
    const ids = [...model.keys()];
    const silent = new Set(ids.slice(1).filter(() => random.next() < 0.05));
    const planner = new SurveyPlanner(OPTIONS);
    planner.add(ids[0], "peer");
    const requests = new Map<string, number>();
    const { turns } = run(planner, model, ({ nodeId, inboundIndex }) => {
      const key = `${nodeId} ${inboundIndex}`;
      requests.set(key, (requests.get(key) ?? 0) + 1);
      return silent.has(nodeId) || random.next() < 0.05 ? undefined : random.next() < 0.2 ? 1 : 0;
    });
    const counts = planner.counts();
    assert.ok(Math.max(...requests.values()) <= 3);
    assert.ok(
      turns <= 1.2 * Math.ceil(counts.requests / 10),
      `seed ${seed}: ${turns} turns, ${counts.requests} requests`,
    );
    assert.ok(counts.silent >= silent.size && counts.silent <= silent.size + 2, `${counts.silent} of ${silent.size}`);
    assert.equal(counts.answered + counts.silent, model.size);
  }
});

test("SurveyPlanner, for any network, loss, delay and room: bounded turns, once per node and turn, everything ends in a state", () => {
  const property = fc.property(
    fc.record({
      seed: fc.integer({ min: 0, max: 1e6 }),
      nodes: fc.integer({ min: 1, max: 80 }),
      hubs: fc.integer({ min: 0, max: 3 }),
      loss: fc.constantFrom(0, 0.1, 0.5, 1),
      late: fc.constantFrom(0, 0.3),
      room: fc.integer({ min: 1, max: 10 }),
    }),
    ({ seed, nodes, hubs, loss, late, room }) => {
      const random = new SeededRandom(seed);
      const model = modelNetwork(random, { nodes, target: 3, hubs });
      const planner = new SurveyPlanner(OPTIONS);
      planner.add([...model.keys()][0], "peer");
      const { turns, perTurn } = run(
        planner,
        model,
        () => random.next() < loss ? undefined : random.next() < late ? 1 + random.int(4) : 0,
        { room },
      );
      for (const sent of perTurn) {
        assert.ok(sent.length <= room);
        assert.equal(new Set(sent.map((page) => page.nodeId)).size, sent.length, "a node once per turn");
      }
      const counts = planner.counts();
      assert.deepEqual([counts.pending, counts.pagesLeft], [0, 0]);
      assert.equal(counts.answered + counts.silent, [...planner.nodes()].length);
      if (loss === 0 && late === 0) {
        assert.equal(counts.answered, model.size);
        // One page of a node per turn: the longest list is a bound of its own.
        const longest = Math.max(...[...planner.nodes()].map((node) => node.answeredPages.length));
        assert.ok(turns <= Math.ceil(counts.pages / room) + longest, `${turns} turns, ${counts.pages} pages`);
      }
      // All three attempts and their waits, for the longest chain, and the work itself.
      const longest = Math.max(...[...model.values()].map((node) => node.inboundPeers.length)) / PAGE_ENTRIES + 1;
      assert.ok(turns <= Math.ceil(counts.requests / room) + 8 * (longest + nodes), "it ends");
    },
  );
  fc.assert(property, { numRuns: 60 });
});

test("SurveyPlanner repeats a lost page in later turns, further apart each time, and then calls the node silent", () => {
  const planner = new SurveyPlanner(OPTIONS);
  planner.add("A", "peer");
  const asked: number[] = [];
  for (let turn = 100; turn < 130; turn++) {
    for (const page of planner.next(turn, 10)) {
      assert.equal(page.attempt, asked.length);
      asked.push(turn);
    }
  }
  assert.deepEqual(asked, [100, 102, 105]);
  assert.ok(planner.isDone(130));
  assert.equal(planner.node("A")!.state, "silent");
});

test("SurveyPlanner takes a late answer of a node that it gave up", () => {
  const planner = new SurveyPlanner(OPTIONS);
  planner.add("A", "given");
  for (let turn = 0; turn < 20; turn++) planner.next(turn, 10);
  assert.equal(planner.node("A")!.state, "unreachable");
  assert.deepEqual(planner.lateJoiners(), ["A"]);
  const page = { nodeId: "A", inboundIndex: 0, outboundIndex: 0 };
  const taken = planner.answer({ page, kind: "page", node: modelNode("A", { inboundPeers: [modelPeer("B")] }) });
  assert.deepEqual(taken!.fresh, ["B"]);
  assert.deepEqual([planner.node("A")!.state, planner.lateJoiners()], ["answered", []]);
  assert.equal(planner.answer({ page, kind: "page", node: modelNode("A") }), undefined, "a second answer");
});

test("SurveyPlanner keeps silent, unreachable, bad and answered apart", () => {
  const planner = new SurveyPlanner(OPTIONS);
  planner.add("A", "peer");
  planner.add("peer", "peer");
  planner.add("given", "given");
  planner.add("S", "given");
  for (let turn = 0; turn < 30; turn++) {
    for (const page of planner.next(turn, 10)) {
      if (page.nodeId === "A") {
        const node = modelNode("A", { outboundPeers: ["named", "broken"].map(modelPeer) });
        planner.answer({ page, kind: "page", node });
      }
      if (page.nodeId === "broken") planner.answer({ page, kind: "bad", reason: "sealed_box" });
    }
  }
  const states = Object.fromEntries([...planner.nodes()].map(({ nodeId, state }) => [nodeId, state]));
  assert.deepEqual(states, { A: "answered", peer: "silent", given: "unreachable", named: "silent", broken: "bad" });
  assert.deepEqual(planner.lateJoiners(), ["peer", "given"]);
  assert.deepEqual([planner.node("broken")!.requests, planner.node("broken")!.badReason], [2, "sealed_box"]);
});

test("SurveyPlanner does not follow a node that lies about the length of its lists", () => {
  const planner = new SurveyPlanner({ ...OPTIONS, maxPages: 40 });
  planner.add("short", "peer");
  planner.add("endless", "peer");
  let requests = 0;
  for (let turn = 0; turn < 500 && !planner.isDone(turn); turn++) {
    for (const page of planner.next(turn, 10)) {
      requests++;
      const inboundPeers = page.nodeId === "short"
        ? [modelPeer("x")]
        : Array.from({ length: PAGE_ENTRIES }, (_, i) => modelPeer(`y${i}`));
      const node = modelNode(page.nodeId, { inboundPeers });
      node.data.numTotalInboundPeers = 0xffffffff;
      if (page.nodeId === "short" || page.nodeId === "endless") planner.answer({ page, kind: "page", node });
    }
  }
  assert.equal(planner.node("short")!.answeredPages.length, 1);
  assert.equal(planner.node("endless")!.answeredPages.length, 40);
  assert.equal(requests, 1 + 40 + 26 * 3);
});

test("SurveyPlanner ignores answers to what was not asked, and names beyond its limit", () => {
  const planner = new SurveyPlanner({ ...OPTIONS, maxNodes: 2 });
  planner.add("A", "peer");
  const page = { nodeId: "A", inboundIndex: 0, outboundIndex: 0 };
  assert.equal(planner.answer({ page, kind: "page", node: modelNode("A") }), undefined, "not asked yet");
  planner.next(1, 10);
  for (const wrong of [{ inboundIndex: 7 }, { inboundIndex: 25 }, { outboundIndex: 25 }, { nodeId: "B" }]) {
    assert.equal(planner.answer({ page: { ...page, ...wrong }, kind: "page", node: modelNode("A") }), undefined);
  }
  const node = modelNode("A", { inboundPeers: ["B", "C", "D"].map(modelPeer) });
  assert.deepEqual(planner.answer({ page, kind: "page", node })!.fresh, ["B"]);
  assert.equal(planner.dropped, 2);
});

test("SurveyPlanner asks in the next turn what could not be sent, without counting it", () => {
  const planner = new SurveyPlanner(OPTIONS);
  planner.add("A", "peer");
  const [page] = planner.next(1, 10);
  planner.unsent(page);
  assert.deepEqual([planner.counts().requests, planner.next(1, 10)], [0, []]);
  assert.deepEqual(planner.next(2, 10), [page]);
});

test("SurveyPlanner restored from what it stored goes on to the same result", () => {
  const model = modelNetwork(new SeededRandom(3), { nodes: 60, target: 6, hubs: 2 });
  const first = new SurveyPlanner(OPTIONS);
  first.add([...model.keys()][0], "peer");
  for (let turn = 0; turn < 4; turn++) {
    for (const page of first.next(turn, 10)) {
      if (page.nodeId !== [...model.keys()][2]) first.answer(answerOf(model, page));
    }
  }
  const second = new SurveyPlanner(OPTIONS);
  second.restore([...first.nodes()]);
  const before = second.counts();
  assert.deepEqual({ ...before, pagesLeft: 0 }, { ...first.counts(), pagesLeft: 0 });
  run(second, model, () => 0);
  assert.equal(second.counts().answered, model.size);
  for (const { nodeId, node } of second.nodes()) assert.deepEqual(node, model.get(nodeId));
});

test("SurveyPlanner asks nodes that were given up again only when told to", () => {
  const first = new SurveyPlanner(OPTIONS);
  first.add("A", "peer");
  for (let turn = 0; turn < 20; turn++) first.next(turn, 10);
  const again = new SurveyPlanner(OPTIONS), retried = new SurveyPlanner(OPTIONS);
  again.restore([...first.nodes()]);
  retried.restore([...first.nodes()], { retry: true });
  assert.deepEqual([again.next(1, 10).length, retried.next(1, 10).length], [0, 1]);
});
