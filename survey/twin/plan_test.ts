import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { BEHAVIOURS, isLive, MAX_BOOK } from "./node_plan.ts";
import { pairDelays, planTwin } from "./plan.ts";
import { windowsMeet } from "./profiles.ts";
import { componentsOf, TOPOLOGY_KINDS } from "./topology.ts";
import { twinTruth } from "./truth.ts";

test("planTwin keeps its promises for any size, seed, shape and mix", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const mix = fc.record(Object.fromEntries([...BEHAVIOURS, "dead"].map((name) => [name, share])), {
    requiredKeys: ["reachable"],
  });
  const options = fc.record({
    nodes: fc.integer({ min: 1, max: 120 }),
    seed: fc.string(),
    topology: fc.constantFrom(...TOPOLOGY_KINDS),
    validators: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
    mix: fc.option(mix, { nil: undefined }),
  });
  fc.assert(
    fc.property(options, (o) => {
      const plan = planTwin({ ...o, mix: o.mix && { ...o.mix, reachable: 0.1 + o.mix.reachable } });
      assert.equal(plan.nodes.length, o.nodes);
      assert.equal(new Set(plan.nodes.map(formatAddress)).size, o.nodes);
      const truth = twinTruth(plan);
      const met = new Set(truth.addresses.map((entry) => entry.address));
      for (const node of plan.nodes) {
        assert.ok(met.has(formatAddress(node)), `${node.name} cannot be found`);
        assert.ok(node.book.length <= MAX_BOOK);
        assert.ok(!node.validator || isLive(node.behaviour));
        assert.ok(node.links.length === 0 || isLive(node.behaviour));
        for (const to of node.links) {
          assert.ok(isLive(plan.nodes[to].behaviour) && to !== node.index);
          assert.ok(windowsMeet(node, plan.nodes[to]));
          assert.ok(!plan.nodes[to].links.includes(node.index));
        }
      }
      for (const seed of plan.seeds) assert.equal(plan.nodes[seed].behaviour, "reachable");
      assert.equal(
        truth.nodes.filter((node) => node.validating).length,
        plan.nodes.filter((node) => node.validator).length,
      );
      if (o.validators !== undefined) {
        assert.equal(plan.nodes.filter((n) => n.validator).length, Math.min(o.nodes, o.validators));
      }
    }),
    { numRuns: 150 },
  );
});

test("planTwin shows every behaviour from 20 nodes on, and joins all that take part", () => {
  for (const topology of TOPOLOGY_KINDS) {
    const plan = planTwin({ nodes: 300, seed: "all", topology });
    assert.deepEqual(new Set(plan.nodes.map((node) => node.behaviour)), new Set(BEHAVIOURS));
    const component = componentsOf(plan.nodes.map((node) => node.links));
    const live = plan.nodes.filter((node) => isLive(node.behaviour));
    assert.equal(new Set(live.map((node) => component[node.index])).size, 1);
  }
});

test("planTwin counts loopback addresses upward without the ends of a block, or ports", () => {
  const hosts = planTwin({ nodes: 600, seed: 1, topology: "ring" }).nodes.map((node) => node.host);
  assert.deepEqual([hosts[0], hosts[252], hosts[253], hosts[506], hosts[507]], [
    "127.0.0.2",
    "127.0.0.254",
    "127.0.1.1",
    "127.0.1.254",
    "127.0.2.1",
  ]);
  const plan = planTwin({ nodes: 3, seed: 1, topology: "ring", hosts: "ports", port: 5000 });
  assert.deepEqual(plan.nodes.map(formatAddress), ["127.0.0.1:5000", "127.0.0.1:5001", "127.0.0.1:5002"]);
});

test("twinTruth lists what a crawl must not follow or dial", () => {
  const plan = planTwin({ nodes: 300, seed: "truth", topology: "random" });
  const truth = twinTruth(plan);
  const states = new Set(truth.addresses.map((entry) => entry.state));
  for (
    const state of [
      "reachable",
      "full",
      "silent",
      "dead",
      "skipped",
      "refused",
      "other-network",
      "not-stellar",
    ] as const
  ) {
    assert.ok(states.has(state), state);
  }
  assert.ok(
    !truth.addresses.some((entry) => entry.address.startsWith("127.77.")),
    "another network's book was followed",
  );
  assert.ok(!truth.addresses.some((entry) => /:(0|70000)$/.test(entry.address)));
  assert.ok(truth.addresses.some((entry) => entry.address.startsWith("[fd00::")));
  assert.equal(truth.edges.length, truth.nodes.reduce((sum, node) => sum + node.advertises.length, 0));
  const codes = twinTruth(plan, undefined, { skipCodes: true });
  const skipped = new Set(codes.addresses.filter((entry) => entry.state === "skipped").map((entry) => entry.code));
  assert.deepEqual(skipped, new Set(["private_address", "bad_port"]));
  assert.ok(codes.edges.length > truth.edges.length);
  const wide = twinTruth(plan, undefined, { allowPrivate: true });
  assert.ok(!wide.addresses.some((entry) => entry.state === "skipped"));
  assert.deepEqual(twinTruth(plan, ["127.200.0.1:1"]).addresses, [
    { address: "127.200.0.1:1", state: "dead", code: "connect_refused" },
  ]);
});

test("pairDelays are fixed by the seed, within bounds and the same in both directions", () => {
  const a = pairDelays(1, 5, 50), b = pairDelays(1, 5, 50);
  for (let i = 0; i < 50; i++) {
    const ms = a("127.0.0.2", `127.0.0.${i}`);
    assert.ok(ms >= 5 && ms <= 50);
    assert.equal(b(`127.0.0.${i}`, "127.0.0.2"), ms);
  }
});
