import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import { SeededRandom } from "../base/random.ts";
import type { PeerType } from "../db/random_peer_source.ts";
import { type DialState, type OutboundPeer, outboundTarget, outOfSyncStep, planTick } from "./dial_plan.ts";

const CONFIG = {
  targetPeerConnections: 8,
  skipConnectionAdjustment: false,
  dialBeyondTarget: true,
  maxOutboundPendingConnections: 56,
  outOfSyncReconnectMs: 60_000,
};

const address = (port: number): PeerAddress => ({ host: "10.0.0.1", port });

function outbound(count: number, preferred = 0): OutboundPeer[] {
  return Array.from({ length: count }, (_, i) => ({ address: address(60_000 + i), preferred: i < preferred }));
}

function state(fields: Partial<DialState<OutboundPeer>> = {}): DialState<OutboundPeer> {
  return {
    nowMs: 1_000_000,
    tracking: true,
    outOfSyncSinceMs: undefined,
    pendingOutbound: 0,
    outbound: [],
    authenticatedInbound: 1,
    ...fields,
  };
}

/** Addresses enough for everything: preferred ports from 1,000, outbound from 2,000, inbound from 3,000. */
function sources(
  stock: Partial<Record<PeerType, number[]>> = {},
  connections: Record<number, "inbound" | "outbound"> = {},
) {
  const asked: [PeerType, number][] = [];
  const range = (from: number) => Array.from({ length: 200 }, (_, i) => from + i);
  const all = { preferred: range(1000), outbound: range(2000), inbound: range(3000), ...stock };
  return {
    asked,
    random: new SeededRandom(3),
    randomPeers(type: PeerType, size: number, keep: (address: PeerAddress) => boolean) {
      asked.push([type, size]);
      return all[type].map(address).filter(keep).slice(0, size);
    },
    connectionAt: (at: PeerAddress) => connections[at.port],
  };
}

/** Dials per type in the order of the plan, and drops. */
function summary(fields: Partial<DialState<OutboundPeer>>, config = CONFIG, from = sources()): string {
  const { steps } = planTick(state(fields), config, from);
  const runs: string[] = [];
  let last = "", count = 0;
  for (const step of [...steps, undefined]) {
    const name = step === undefined ? "" : step.do === "dial" ? step.type : "drop";
    if (name !== last) {
      if (last !== "") runs.push(`${last} ${count}`);
      last = name;
      count = 0;
    }
    count++;
  }
  return runs.join(", ");
}

test("planTick dials by type in upstream's order and numbers", () => {
  const none = { preferred: [], outbound: [], inbound: [] };
  // Fields, stock, and the result of steps 4 to 9 of peers.md section 4.
  const table: [Partial<DialState<OutboundPeer>>, Partial<Record<PeerType, number[]>>, string][] = [
    // 8 preferred; no authenticated slot changes, so 8 outbound; 40 pending slots are left for promotion.
    [{}, {}, "preferred 8, outbound 8, inbound 40"],
    [{}, { preferred: [] }, "outbound 8, inbound 48"],
    [{}, { preferred: [], outbound: [] }, "inbound 50"],
    [{}, { preferred: [1], outbound: [2] }, "preferred 1, outbound 1, inbound 50"],
    [{}, none, ""],
    // Nobody dialed us: 3 instead of 8.
    [{ authenticatedInbound: 0 }, {}, "preferred 3, outbound 3, inbound 50"],
    [{ authenticatedInbound: 0, outbound: outbound(3, 3) }, {}, "inbound 50"],
    // All slots taken: preferred addresses for those of non-preferred peers, and still promotion.
    [{ outbound: outbound(8, 3) }, {}, "preferred 5, inbound 50"],
    [{ outbound: outbound(8, 8) }, {}, "inbound 50"],
    [{ outbound: outbound(6, 2) }, {}, "preferred 6, outbound 2, inbound 48"],
    // Pending slots: one stays for promotion, unless it is the last.
    [{ pendingOutbound: 53 }, { preferred: [] }, "outbound 2, inbound 1"],
    [{ pendingOutbound: 55 }, { preferred: [] }, "outbound 1"],
    [{ pendingOutbound: 55, outbound: outbound(8) }, { preferred: [] }, "inbound 1"],
    [{ pendingOutbound: 53 }, {}, "preferred 3"],
    [{ pendingOutbound: 56 }, {}, ""],
    [{ pendingOutbound: 99 }, {}, ""],
  ];
  for (const [fields, stock, expected] of table) {
    assert.equal(summary(fields, CONFIG, sources(stock)), expected, JSON.stringify([fields, expected]));
  }
});

test("planTick leaves addresses that never answered alone when they are to fill free slots only", () => {
  const config = { ...CONFIG, dialBeyondTarget: false };
  const table: [Partial<DialState<OutboundPeer>>, Partial<Record<PeerType, number[]>>, string][] = [
    [{ outbound: outbound(8, 8) }, {}, ""],
    [{}, {}, "preferred 8, outbound 8"],
    [{}, { preferred: [1, 2], outbound: [] }, "preferred 2, inbound 6"],
    [{ outbound: outbound(6) }, { preferred: [], outbound: [] }, "inbound 2"],
    // Dials under way may take the slots.
    [{ outbound: outbound(6), pendingOutbound: 1 }, { preferred: [], outbound: [] }, "inbound 1"],
    [{ outbound: outbound(6), pendingOutbound: 2 }, { preferred: [], outbound: [] }, ""],
  ];
  for (const [fields, stock, expected] of table) {
    assert.equal(summary(fields, config, sources(stock)), expected, JSON.stringify([fields, expected]));
  }
});

test("planTick asks for at most 50 addresses of a type", () => {
  const from = sources();
  const config = { ...CONFIG, targetPeerConnections: 500, maxOutboundPendingConnections: 1000 };
  assert.equal(summary({}, config, from), "preferred 50, outbound 50, inbound 50");
  assert.deepEqual(from.asked.map(([, size]) => size), [50, 50, 50]);
});

test("planTick skips connected addresses, but promotes inbound connections", () => {
  const from = sources(
    { preferred: [1, 2, 3], outbound: [4, 5, 6], inbound: [7, 8, 9] },
    { 1: "inbound", 2: "outbound", 4: "inbound", 5: "outbound", 7: "inbound", 8: "outbound" },
  );
  const { steps } = planTick(state(), CONFIG, from);
  assert.deepEqual(steps.map((step) => step.do === "dial" && step.address.port), [3, 6, 7, 9]);
});

test("planTick dials no address twice, even if two sources give it", () => {
  const from = sources({ preferred: [1, 2], outbound: [2, 3, 3], inbound: [1, 3, 4] });
  const { steps } = planTick(state(), CONFIG, from);
  assert.deepEqual(steps.map((step) => step.do === "dial" && step.address.port), [1, 2, 3, 4]);
});

test("planTick gives a reason for every step", () => {
  const lost = state({ outbound: outbound(8, 2), tracking: false, outOfSyncSinceMs: 1_000_000 - 60_001 });
  const { steps } = planTick(lost, CONFIG, sources());
  assert.ok(steps.some((step) => step.do === "drop"));
  for (const step of steps) assert.match(step.reason, /^[a-z0-9].{15,}[^.]$/);
});

test("outboundTarget is 3 while nobody dialed us, and never above the target", () => {
  assert.equal(outboundTarget(0, CONFIG), 3);
  assert.equal(outboundTarget(1, CONFIG), 8);
  assert.equal(outboundTarget(0, { ...CONFIG, targetPeerConnections: 1 }), 1);
  assert.equal(outboundTarget(0, { ...CONFIG, targetPeerConnections: 0 }), 0);
  assert.equal(outboundTarget(0, { ...CONFIG, skipConnectionAdjustment: true }), 8);
});

test("the tick makes 5 connections from 7 addresses and a target of 5", () => {
  // What `broadcast() broadcasts` starts with: nobody dialed in, and the adjustment is off.
  const config = { ...CONFIG, targetPeerConnections: 5, skipConnectionAdjustment: true };
  const from = sources({ preferred: [], outbound: [1, 2, 3, 4, 5, 6, 7], inbound: [] });
  assert.equal(summary({ authenticatedInbound: 0 }, config, from), "outbound 5");
});

test("outOfSyncStep starts a clock, drops after more than the delay, and starts again", () => {
  const random = new SeededRandom(1);
  const step = (nowMs: number, outOfSyncSinceMs: number | undefined, fields = {}) =>
    outOfSyncStep(
      { nowMs, outOfSyncSinceMs, tracking: false, mayDrop: true, candidates: ["a"], ...fields },
      60_000,
      random,
    );
  assert.deepEqual(step(5, undefined), { sinceMs: 5 });
  assert.deepEqual(step(60_005, 5), { sinceMs: 5 });
  assert.deepEqual(step(60_006, 5), { sinceMs: 60_006, drop: "a" });
  assert.deepEqual(step(60_006, 5, { candidates: [] }), { sinceMs: 60_006 });
  assert.deepEqual(step(60_006, 5, { mayDrop: false }), { sinceMs: 5 });
  assert.deepEqual(step(90_000, 5, { tracking: true }), { sinceMs: undefined });
  const seen = new Set(Array.from({ length: 100 }, () => step(60_006, 5, { candidates: ["a", "b", "c"] }).drop));
  assert.deepEqual([...seen].sort(), ["a", "b", "c"]);
});

test("scenario: disconnected topology recovery, regular peers: a tick lets one go and dials in its place", () => {
  const since = 1_000_000 - 60_001;
  const lost = { outbound: outbound(8, 3), tracking: false, outOfSyncSinceMs: since };
  const plan = planTick(state(lost), CONFIG, sources({ preferred: [] }));
  const [first] = plan.steps;
  assert.equal(first.do, "drop");
  if (first.do === "drop") {
    assert.equal(first.peer.preferred, false);
    assert.deepEqual([first.drop.error, first.drop.reason], ["ERR_LOAD", "random disconnect due to out of sync"]);
  }
  assert.equal(plan.outOfSyncSinceMs, 1_000_000);
  assert.equal(summary(lost, CONFIG, sources({ preferred: [] })), "drop 1, outbound 1, inbound 50");
  // The address that was just left may be dialed again, as it is not connected any more.
  const one = outbound(8, 7);
  const { port } = one[7].address;
  const again = planTick(
    state({ ...lost, outbound: one }),
    CONFIG,
    sources({ preferred: [], outbound: [port], inbound: [] }, { [port]: "outbound" }),
  );
  assert.deepEqual(again.steps.map((step) => step.do === "dial" ? step.address.port : step.do), ["drop", port]);
});

test("scenario: disconnected topology recovery, preferred peers: nobody is let go", () => {
  const lost = { outbound: outbound(8, 8), tracking: false, outOfSyncSinceMs: 0 };
  const plan = planTick(state(lost), CONFIG, sources());
  assert.ok(plan.steps.every((step) => step.do === "dial"));
  assert.equal(plan.outOfSyncSinceMs, 1_000_000);
});

test("planTick lets nobody go while a slot is free, or new preferred peers take all pending slots", () => {
  const lost = { tracking: false, outOfSyncSinceMs: 0 };
  assert.equal(summary({ ...lost, outbound: outbound(7) }).includes("drop"), false);
  assert.equal(summary({ ...lost, outbound: outbound(8), pendingOutbound: 50 }), "preferred 6");
  assert.equal(planTick(state({ ...lost, pendingOutbound: 56 }), CONFIG, sources()).outOfSyncSinceMs, 0);
  assert.equal(planTick(state({ outOfSyncSinceMs: 5 }), CONFIG, sources()).outOfSyncSinceMs, undefined);
});

test("planTick never exceeds the pending slots, for any state", () => {
  fc.assert(
    fc.property(
      fc.record({
        target: fc.nat(20),
        most: fc.nat(80),
        pendingOutbound: fc.nat(80),
        count: fc.nat(20),
        preferred: fc.nat(20),
        inbound: fc.nat(2),
        tracking: fc.boolean(),
        since: fc.option(fc.nat(1_000_000), { nil: undefined }),
        stock: fc.record({
          preferred: fc.array(fc.integer({ min: 1, max: 90 })),
          outbound: fc.array(fc.integer({ min: 1, max: 90 })),
          inbound: fc.array(fc.integer({ min: 1, max: 90 })),
        }),
        connected: fc.dictionary(fc.integer({ min: 1, max: 90 }).map(String), fc.constantFrom("inbound", "outbound")),
      }),
      (c) => {
        const config = { ...CONFIG, targetPeerConnections: c.target, maxOutboundPendingConnections: c.most };
        const from = sources(c.stock, c.connected as Record<number, "inbound" | "outbound">);
        const before = state({
          pendingOutbound: c.pendingOutbound,
          outbound: outbound(c.count, c.preferred),
          authenticatedInbound: c.inbound,
          tracking: c.tracking,
          outOfSyncSinceMs: c.since,
        });
        const { steps } = planTick(before, config, from);
        const dials = steps.flatMap((step) => step.do === "dial" ? step : []);
        assert.ok(dials.length <= Math.max(0, c.most - c.pendingOutbound));
        assert.equal(new Set(dials.map((step) => formatAddress(step.address))).size, dials.length);
        assert.ok(steps.filter((step) => step.do === "drop").length <= 1);
        for (const { address, type } of dials) {
          const connection = c.connected[String(address.port)];
          assert.ok(connection === undefined || (connection === "inbound" && type === "inbound"));
        }
      },
    ),
  );
});
