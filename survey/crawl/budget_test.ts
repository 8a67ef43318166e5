import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../overlay/base/random.ts";
import { Budget, type BudgetLimits, DEFAULT_BUDGET, type Place, placeOf } from "./budget.ts";

const USE = { held: false, bytes: 0, heldMs: 0 };

/** A budget with only the limits given. */
function budgetOf(limits: Partial<BudgetLimits>): Budget {
  const none = Object.fromEntries(Object.keys(DEFAULT_BUDGET).map((name) => [name, Infinity]));
  return new Budget({ ...none, ...limits }, 0);
}

test("placeOf counts by address and /24, and each port of this machine alone", () => {
  assert.deepEqual(placeOf("1.2.3.4", 11625), { host: "1.2.3.4", subnet: "1.2.3.0/24" });
  assert.deepEqual(placeOf("2001:db8:1:2::3", 1), { host: "2001:db8:1:2::3", subnet: "2001:db8:1::/48" });
  assert.equal(placeOf("127.0.0.1", 1).subnet, undefined);
  assert.notEqual(placeOf("127.0.0.1", 1).host, placeOf("127.0.0.1", 2).host);
});

test("Budget holds back what exceeds concurrency, host and subnet, and says what to wait for", () => {
  const budget = budgetOf({ concurrency: 4, perHost: 1, perSubnet: 2 });
  const a = placeOf("1.2.3.4", 1), b = placeOf("1.2.3.5", 1), c = placeOf("1.2.3.6", 1), d = placeOf("9.9.9.9", 1);
  const e = placeOf("8.8.8.8", 1), f = placeOf("7.7.7.7", 1);
  assert.deepEqual(budget.tryTake(a, 0), { kind: "ok" });
  assert.deepEqual(budget.tryTake(a, 0), { kind: "busy", key: "1.2.3.4" });
  assert.deepEqual(budget.tryTake(b, 0), { kind: "ok" });
  assert.deepEqual(budget.tryTake(c, 0), { kind: "busy", key: "1.2.3.0/24" });
  assert.deepEqual(budget.tryTake(d, 0), { kind: "ok" });
  assert.deepEqual(budget.tryTake(e, 0), { kind: "ok" });
  assert.equal(budget.full, true);
  assert.deepEqual(budget.tryTake(f, 0), { kind: "full" });
  budget.release(a, USE);
  assert.deepEqual(budget.tryTake(c, 0), { kind: "ok" });
  assert.deepEqual(budget.snapshot(0).used.peakConcurrency, 4);
});

test("Budget lets no second see more dials than the rate and one", () => {
  for (const rate of [1, 7, 50, 400]) {
    const budget = budgetOf({ dialsPerSecond: rate });
    const dials: number[] = [];
    let nowMs = 0;
    while (nowMs < 5000) {
      const take = budget.tryTake(placeOf(`1.1.1.${dials.length & 255}`, 1), nowMs);
      if (take.kind === "ok") dials.push(nowMs);
      else if (take.kind === "wait") nowMs += take.waitMs;
      else assert.fail(take.kind);
    }
    assert.ok(Math.abs(dials.length - 5 * rate) <= Math.max(2, rate * 0.02), `${rate}: ${dials.length}`);
    for (let from = 0, to = 0; to < dials.length; to++) {
      while (dials[to] - dials[from] >= 1000) from++;
      assert.ok(to - from + 1 <= rate + Math.max(1, rate * 0.02), `${rate}`);
    }
  }
});

test("Budget ends at dials, time, bytes and held seconds", () => {
  const place = placeOf("1.2.3.4", 1);
  const dials = budgetOf({ maxDials: 1 });
  dials.tryTake(place, 0);
  assert.deepEqual(dials.tryTake(place, 0), { kind: "exhausted", limit: "maxDials" });
  assert.deepEqual(budgetOf({ maxSeconds: 2 }).tryTake(place, 2000), { kind: "exhausted", limit: "maxSeconds" });
  const bytes = budgetOf({ maxBytes: 100 });
  bytes.tryTake(place, 0);
  bytes.addBytes(60);
  assert.equal(bytes.overrun, undefined);
  bytes.release(place, { ...USE, bytes: 40 });
  assert.equal(bytes.overrun, "maxBytes");
  const held = budgetOf({ maxHeldSeconds: 1 });
  held.tryTake(place, 0);
  held.release(place, { ...USE, heldMs: 1000 });
  assert.deepEqual(held.tryTake(place, 0), { kind: "exhausted", limit: "maxHeldSeconds" });
});

test("Budget moves held visits out of the concurrency, up to the nodes to listen to", () => {
  const budget = budgetOf({ concurrency: 1, listenNodes: 1 });
  const a = placeOf("1.1.1.1", 1), b = placeOf("2.2.2.2", 1);
  budget.tryTake(a, 0);
  assert.equal(budget.tryHold(), true);
  assert.deepEqual(budget.tryTake(b, 0), { kind: "ok" });
  assert.equal(budget.tryHold(), false);
  budget.release(a, { ...USE, held: true });
  assert.deepEqual([budget.active, budget.held], [1, 0]);
  assert.equal(budget.tryHold(), true);
});

test("Budget remembers no more addresses than it may, and reports limits and use", () => {
  const budget = budgetOf({ maxAddresses: 2 });
  assert.deepEqual([budget.takeAddress(), budget.takeAddress(), budget.takeAddress()], [true, true, false]);
  budget.hit("maxAddresses");
  budget.end(1500);
  const snapshot = budget.snapshot(9999);
  assert.deepEqual(snapshot.limitsHit, ["maxAddresses"]);
  assert.equal(snapshot.used.seconds, 1.5);
  assert.equal(snapshot.used.addresses, 2);
});

test("Budget agrees with plain counting under random use", () => {
  const random = new SeededRandom(4);
  const limits = { concurrency: 6, perHost: 2, perSubnet: 3 };
  const budget = budgetOf(limits);
  const places = Array.from({ length: 12 }, (_, i) => placeOf(`10.0.${i >> 2}.${i & 3}`, 1));
  const open: Place[] = [];
  const count = (key: "host" | "subnet", value: string | undefined) =>
    open.filter((place) => place[key] === value).length;
  for (let step = 0; step < 5000; step++) {
    if (random.next() < 0.45 && open.length > 0) budget.release(open.splice(random.int(open.length), 1)[0], USE);
    else {
      const place = places[random.int(places.length)];
      const fits = open.length < 6 && count("host", place.host) < 2 && count("subnet", place.subnet) < 3;
      assert.equal(budget.tryTake(place, 0).kind === "ok", fits);
      if (fits) open.push(place);
    }
    assert.equal(budget.active, open.length);
  }
});
