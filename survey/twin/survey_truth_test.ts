import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isLive, type TwinPlan } from "./node_plan.ts";
import { planTwin } from "./plan.ts";
import { windowsMeet } from "./profiles.ts";
import { peerLimitsOf } from "./survey_roles.ts";
import { surveyTruth } from "./survey_truth.ts";
import { componentsOf, TOPOLOGY_KINDS } from "./topology.ts";
import { parseTopology } from "./topology_file.ts";

const KEY = "GDW6AUTBXTOC7FIKUO5BOO3OGLK4SF7ZPOBLMQHMZDI45J2Z6VXRB5NR";

/** Node by name to state, and for those that answer `dialers < name > dialed`. */
function told(plan: TwinPlan, connections?: number[]): Record<string, string> {
  const truth = surveyTruth(plan, connections);
  const names = new Map(truth.nodes.map((node) => [node.nodeId, node.name]));
  const list = (ids: string[]) => ids.map((id) => names.get(id)).sort().join(" ");
  return Object.fromEntries(truth.nodes.map(({ name, state, answer }) => [
    name,
    answer === undefined ? state : `${list(answer.inboundPeers)} < ${name} > ${list(answer.outboundPeers)}`.trim(),
  ]));
}

const DRAWN = JSON.stringify({
  nodes: [
    { name: "seed", validator: true },
    { name: "a" },
    { name: "deaf", survey: "opted-out" },
    { name: "behind" },
    { name: "slow", lagLedgers: 3 },
    { name: "far", lagLedgers: 12 },
    { name: "beyond" },
    { name: "again", survey: "restarting" },
    { name: "cut" },
    { name: "new", survey: "late" },
  ],
  links: [
    ["a", "seed"],
    ["a", "deaf"],
    ["behind", "deaf"],
    ["slow", "a"],
    ["a", "far"],
    ["far", "beyond"],
    ["again", "a"],
    ["again", "cut"],
    ["new", "a"],
    ["seed", "new"],
  ],
});

function drawn(): TwinPlan {
  const topology = parseTopology(DRAWN, "drawn");
  return planTwin({ nodes: 0, seed: 1, topology, survey: { surveyorKeys: [KEY] } });
}

test("surveyTruth: START and requests go through nodes that permit, are near the ledger and stay", () => {
  assert.deepEqual(told(drawn()), {
    seed: "a < seed >",
    a: "slow < a > deaf far seed",
    deaf: "silent",
    behind: "unseen",
    slow: "< slow > a",
    far: "silent",
    beyond: "unseen",
    // It was a peer at START and at STOP, but of another connection.
    again: "unseen",
    cut: "unseen",
    new: "late",
  });
  const { nodes, links, pages } = surveyTruth(drawn());
  const a = nodes.find((node) => node.name === "a")!.answer!;
  assert.deepEqual([a.addedAuthenticatedPeers, a.droppedAuthenticatedPeers], [2, 1]);
  assert.deepEqual([links.length, pages], [4, 3]);
});

test("surveyTruth depends on where the surveyor is connected", () => {
  const plan = drawn();
  const at = (name: string) => plan.nodes.findIndex((node) => node.name === name);
  assert.equal(told(plan, [at("beyond")]).beyond, "far < beyond >");
  assert.equal(told(plan, [at("beyond")]).a, "unseen");
  const both = surveyTruth(plan, [at("beyond"), at("a")]);
  assert.equal(both.nodes.filter((node) => node.state === "answers").length, 4);
  // Who opted out is known, for we are connected to it.
  assert.equal(told(plan, [at("deaf")]).deaf, "silent");
});

test("surveyTruth counts the pages of long lists", () => {
  for (const [peers, pages] of [[24, 1], [25, 1], [26, 2], [50, 2], [51, 3]]) {
    const names = Array.from({ length: peers }, (_, i) => `n${i}`);
    const document = {
      nodes: [{ name: "hub" }, ...names.map((name) => ({ name }))],
      links: names.map((name) => ["hub", name]),
      seeds: ["n0"],
    };
    const plan = planTwin({
      nodes: 0,
      seed: 1,
      topology: parseTopology(JSON.stringify(document), "hub"),
      survey: { surveyorKeys: [KEY] },
    });
    assert.equal(surveyTruth(plan).pages, pages + peers);
  }
});

test("planTwin draws hubs and roles for any network, and changes nothing else", () => {
  const options = fc.record({
    nodes: fc.integer({ min: 1, max: 200 }),
    seed: fc.nat(),
    topology: fc.constantFrom(...TOPOLOGY_KINDS),
    dials: fc.constantFrom(1, 2, 5),
    hubs: fc.nat(4),
    survey: fc.record({
      surveyorKeys: fc.constant([KEY]),
      late: fc.nat(20),
      optOut: fc.nat(20),
      restarting: fc.nat(20),
      lagging: fc.nat(20),
    }),
  });
  fc.assert(
    fc.property(options, ({ hubs, survey, ...base }) => {
      const plan = planTwin({ ...base, hubs, survey });
      const live = plan.nodes.filter((node) => isLive(node.behaviour));
      const component = componentsOf(plan.nodes.map((node) => node.links));
      const without = planTwin(base);
      const before = componentsOf(without.nodes.map((node) => node.links));
      assert.ok(new Set(live.map((n) => component[n.index])).size <= new Set(live.map((n) => before[n.index])).size);
      for (const node of plan.nodes) {
        for (const to of node.links) {
          assert.ok(isLive(node.behaviour) && isLive(plan.nodes[to].behaviour) && to !== node.index);
          assert.ok(windowsMeet(node, plan.nodes[to]) && !plan.nodes[to].links.includes(node.index));
        }
        assert.equal(new Set(node.links).size, node.links.length);
        if (node.surveyRole === undefined && node.lagLedgers === undefined) continue;
        assert.ok(isLive(node.behaviour) && !node.validator && !plan.seeds.includes(node.index));
      }
      const free = live.filter((node) => !node.validator && !plan.seeds.includes(node.index)).length;
      const { late, optOut, restarting, lagging } = survey;
      const given = plan.nodes.filter((node) => node.surveyRole ?? node.lagLedgers).length;
      assert.equal(given, Math.min(free, late + optOut + restarting + lagging));
      const bare = plan.nodes.map(({ surveyRole: _, lagLedgers: __, ...node }) => node);
      if (hubs === 0) assert.deepEqual(bare, without.nodes);
    }),
    { numRuns: 60 },
  );
});

test("planTwin's hubs have 60 connections in a network of some size: dialed, dialing, or both", () => {
  for (const topology of TOPOLOGY_KINDS) {
    for (const dials of [1, 2]) {
      const plan = planTwin({ nodes: 300, seed: 4, topology, dials, hubs: 3 });
      const inbound = plan.nodes.map((node) => plan.nodes.filter((other) => other.links.includes(node.index)).length);
      const hubs = plan.nodes.filter((node) => node.links.length + inbound[node.index] === 60);
      assert.equal(hubs.length, 3, topology);
      const dialed = hubs.map((hub) => hub.links.length).sort((a, b) => a - b);
      assert.ok(dialed[0] <= 25 && dialed[1] > 15 && dialed[1] < 45 && dialed[2] > 45, `${topology}: ${dialed}`);
      for (const [i, limits] of peerLimitsOf(plan).entries()) {
        assert.ok(limits.maxInbound >= inbound[i] && limits.maxOutbound >= plan.nodes[i].links.length);
      }
    }
  }
});
