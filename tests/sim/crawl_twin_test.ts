/** The crawl against the network twin in virtual time: it finds exactly what is there, within its budget, also in two halves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import type { StoredVisit } from "../../overlay/db/stored.ts";
import { CrawlStore } from "../../overlay/db/crawl_store.ts";
import { type CrawlProgress, type CrawlSink, storeSink } from "../../survey/crawl/crawler.ts";
import { crawlDocument, viewOf, visitRecord } from "../../survey/crawl/report.ts";
import { visitFromStored } from "../../survey/crawl/visit_record.ts";
import { planTwin, type TwinOptions } from "../../survey/twin/plan.ts";
import type { TopologyFile } from "../../survey/twin/topology_file.ts";
import { assertTruth, countOf, crawlWorld, FakeFleet, type FakeNode, twinWorld } from "../kit/crawl_kit.ts";

const NODES = 60;
const SEEDS = Array.from({ length: 10 }, (_, i) => i + 1);

/** A chain of groups in which every group is known to one node of the group before. */
function drawnByHand(seed: number): TopologyFile {
  const group = 4 + seed;
  const name = (i: number) => `n${i}`;
  const behaviours = ["reachable", "full", "slow", "reachable", "other-network", "banning", "silent"] as const;
  return {
    nodes: Array.from({ length: NODES }, (_, i) => ({
      name: name(i),
      behaviour: i % group === 0 ? "reachable" : behaviours[(i * seed) % behaviours.length],
      validator: i % group === 0 && i < 5 * group,
      book: [
        ...Array.from({ length: group }, (_, k) => Math.floor(i / group) * group + k).filter((k) => k < NODES).map(
          name,
        ),
        ...(i % group === 0 && i + group < NODES ? [name(i + group)] : []),
        ...(i % 7 === 0 ? ["10.1.2.3:11625", "127.44.4.4:11625", "[fd00::1]:11625", "224.0.0.1:11625"] : []),
      ],
    })),
    links: Array.from({ length: Math.ceil(NODES / group) - 1 }, (_, i) => [name(i * group), name((i + 1) * group)]),
    seeds: [name(0)],
  };
}

for (const kind of ["ring", "random", "tiered", "file"] as const) {
  for (const seed of SEEDS) {
    test(`crawl finds the truth of a ${kind} twin, seed ${seed}`, async () => {
      const topology: TwinOptions["topology"] = kind === "file" ? drawnByHand(seed) : kind;
      const world = await twinWorld(planTwin({ nodes: NODES, seed, topology }), { ledgerMs: 2000 });
      const listen = { ms: 9000, nodes: 8 };
      const report = await world.crawl({ seeds: world.seeds, listen });
      assert.equal(report.complete, true);
      assertTruth(report, world.plan, true);
      const { nodes, run, quorumSets, validators, missingValidators } = crawlDocument(report);
      assert.deepEqual(run.limitsHit, []);
      assert.ok(nodes.every((node) => node.state !== "reachable" || node.rttMs !== null));
      assert.ok(nodes.filter((node) => node.relaying !== null).length <= listen.nodes);
      // Lags lie around what the plan gave (at most 320 ms at this speed) and the way: nothing replayed is among them.
      for (const node of nodes) assert.ok(node.lagMs === null || node.lagMs < 1500, String(node.lagMs));
      assert.ok(nodes.filter((node) => node.validating).every((node) => node.lagMs !== null), "a lag is missing");
      // Every statement's quorum set was found: a node that lacks it says so, and another is asked.
      const fetched = new Set(quorumSets.map(({ hash }) => hash));
      assert.ok(validators.length > 0 && validators.every((row) => fetched.has(row.quorumSetHash)));
      assert.deepEqual(missingValidators, []);
      await world.clock.run(world.twin.stop());
    });
  }
}

test("crawl is done as soon as the last visit is, without listening, and does not follow other networks", async () => {
  const world = await twinWorld(planTwin({ nodes: NODES, seed: "quick", topology: "random", mix: { silent: 0 } }));
  const report = await world.crawl({ seeds: world.seeds });
  assertTruth(report, world.plan, false);
  assert.ok(report.durationMs < 10_000, String(report.durationMs));
  const { nodes, quorumSets } = crawlDocument(report);
  assert.ok(nodes.every((node) => node.validating === null && node.relaying === null));
  assert.deepEqual(quorumSets, []);
  assert.ok(
    nodes.some((node) => node.state === "other-network" && node.network === "testnet" && node.advertises.length === 0),
  );
  const off = await world.crawl({ seeds: world.seeds, otherNetworks: [] });
  assert.ok(crawlDocument(off).nodes.every((node) => node.state !== "other-network"));
});

test("crawl that is stopped keeps what it has, and a resumed one completes to the same truth", async () => {
  for (const stopAfter of [1, 7, 25, 60]) {
    const plan = planTwin({ nodes: NODES, seed: stopAfter, topology: "ring" });
    const world = await twinWorld(plan);
    const stop = new AbortController();
    const stored: StoredVisit[] = [];
    let told = 0;
    const first = await world.crawl({
      seeds: world.seeds,
      budget: { dialsPerSecond: 20 },
      signal: stop.signal,
      store: { recordVisit: (visit) => stored.push(JSON.parse(JSON.stringify(visit))) },
      onVisit: () => {
        assert.equal(stored.length, told + 1, "stored before it is told");
        if (++told === stopAfter) stop.abort();
      },
    });
    assert.equal(first.interrupted, true);
    assert.equal(first.complete, false);
    assert.equal(first.addresses.reduce((n, entry) => n + entry.outcomes.length, 0), stored.length);
    const before = stored.length;
    const second = await world.crawl({
      seeds: world.seeds,
      resume: stored.map(visitFromStored),
      resumedStartMs: first.startedAtMs,
    });
    assert.equal(second.complete, true);
    assertTruth(second, plan, false);
    assert.ok(second.budget.used.dials < 2 * second.addresses.length);
    const kept = second.addresses.reduce((n, entry) => n + entry.outcomes.length, 0);
    assert.ok(kept > before, "earlier outcomes are kept");
  }
});

test("crawl stays within its budget, as the nodes themselves count it", async () => {
  const world = crawlWorld(3, { delayMs: () => 20 });
  const at = (i: number): Endpoint => ({ host: `10.0.${i >> 6}.${1 + ((i & 63) >> 2)}`, port: 11000 + (i & 3) });
  const count = 400;
  const nodes: FakeNode[] = Array.from({ length: count }, (_, i) => ({
    ...at(i),
    peers: () => Array.from({ length: 50 }, (_, k) => at((i + 1 + k * 7) % count)),
  }));
  const fleet = new FakeFleet(world, nodes);
  const budget = { concurrency: 12, dialsPerSecond: 40, perHost: 2, perSubnet: 5 };
  const report = await world.crawl({ seeds: [formatAddress(at(0))], allowPrivate: true, budget });
  assert.equal(report.complete, true);
  assert.equal(countOf(crawlDocument(report).run.counts.nodesByState, "reachable"), count);
  assert.equal(fleet.acceptedMs.length, count);
  assert.ok(fleet.peak <= 12, String(fleet.peak));
  assert.ok(fleet.busiestSecond <= 41, String(fleet.busiestSecond));
  assert.ok(fleet.busiestSecond >= 35, `the rate is used: ${fleet.busiestSecond}`);
  assert.equal(Math.max(...fleet.peakByHost.values()) <= 2, true);
  assert.equal(Math.max(...fleet.peakBySubnet.values()) <= 5, true);
  const { used } = report.budget;
  assert.equal(used.dials, count);
  assert.ok(used.peakPerHost <= 2 && used.peakPerSubnet <= 5 && used.peakConcurrency <= 12);
  assert.ok(used.bytes > count * 1000 && used.heldSeconds > 0);
});

test("crawl finds both addresses of one node, though the node lets us in once at a time", async () => {
  for (const listenMs of [0, 5000]) {
    const world = crawlWorld(2, { delayMs: () => 15 });
    const book = [1, 2, 3].map((i) => ({ host: `127.0.3.${i}`, port: 11625 }));
    const twice = book.map((at, i) => ({ ...at, peers: () => book, identity: i === 0 ? undefined : "one" }));
    new FakeFleet(world, twice);
    const report = await world.crawl({ seeds: ["127.0.3.1"], listen: { ms: listenMs, nodes: 3 }, retries: 0 });
    const { nodes, addresses } = crawlDocument(report);
    const node = nodes.find((row) => row.addresses.length === 2)!;
    assert.deepEqual(node.addresses, ["127.0.3.2:11625", "127.0.3.3:11625"]);
    assert.equal(node.state, "reachable");
    const outcomes = addresses.map((row) => row.outcomes.map((outcome) => outcome.code)).sort((a, b) =>
      a.length - b.length
    );
    assert.deepEqual(outcomes, [[null], [null], ["already_connected", null]]);
  }
});

test("crawl tells its progress, and is done at the end", async () => {
  const world = await twinWorld(planTwin({ nodes: NODES, seed: 6, topology: "random" }));
  const told: CrawlProgress[] = [];
  const report = await world.crawl({
    seeds: world.seeds,
    budget: { dialsPerSecond: 20 },
    onProgress: (progress) => told.push(progress),
  });
  const last = told.at(-1)!;
  const { counts } = crawlDocument(report).run;
  assert.deepEqual([last.queued, last.inFlight], [0, 0]);
  assert.equal(last.done, counts.addresses - counts.skipped);
  assert.equal(last.reachable, countOf(counts.nodesByState, "reachable"));
  assert.ok(told.length > 5 && told.length < report.durationMs / 100 + 3);
  assert.ok(told.some(({ ratePerSecond, etaMs }) => ratePerSecond > 10 && ratePerSecond < 25 && etaMs! > 0));
});

test("crawl is resumed from its database to the same truth", async () => {
  const plan = planTwin({ nodes: NODES, seed: 8, topology: "random" });
  const world = await twinWorld(plan);
  using store = await CrawlStore.open(":memory:", { networkPassphrase: plan.passphrase, clock: world.clock });
  const runId = store.startRun({ toolVersion: "0", options: null, versions: null, seeds: world.seeds, budget: null });
  const stop = new AbortController();
  world.clock.setTimer(1200, () => stop.abort());
  const sink = storeSink(store, runId);
  const first = await world.crawl({
    seeds: world.seeds,
    budget: { dialsPerSecond: 25 },
    signal: stop.signal,
    store: sink,
  });
  assert.equal(first.interrupted, true);
  const { visits, pending } = store.loadRun(runId)!;
  assert.ok(visits.length > 5 && pending.length > 5, `${visits.length} ${pending.length}`);
  const resume = visits.map(visitFromStored);
  const second = await world.crawl({ seeds: world.seeds, resume, store: sink, listen: { ms: 9000 } });
  assertTruth(second, plan, true);
  assert.ok(store.observations(runId).length > 0);
});

test("crawl against nodes that invent addresses stays bounded and says which limit ended it", async () => {
  const world = crawlWorld(5, { fate: () => "swallowed", delayMs: () => 1 });
  let invented = 0;
  const hostile: FakeNode[] = Array.from({ length: 50 }, (_, i) => ({
    host: `127.0.1.${i + 1}`,
    port: 11625,
    peers: () =>
      Array.from({ length: 100 }, (_, k) => {
        if (k < 50) return { host: `127.0.1.${k + 1}`, port: 11625 };
        invented++;
        return {
          host: `127.${64 + (invented >> 16)}.${(invented >> 8) & 255}.${invented & 255}`,
          port: 1 + (invented % 65_000),
        };
      }),
  }));
  new FakeFleet(world, hostile);
  const report = await world.crawl({
    seeds: ["127.0.1.1"],
    budget: { dialsPerSecond: Infinity, maxDials: 300, maxAddresses: 1000, concurrency: 100 },
  });
  assert.equal(report.complete, false);
  assert.deepEqual(new Set(report.budget.limitsHit), new Set(["maxDials", "maxAddresses"]));
  assert.equal(report.addresses.length, 1000);
  assert.equal(report.budget.used.dials, 300);
  const { run, edges } = crawlDocument(report);
  assert.equal(countOf(run.counts.nodesByState, "reachable"), 50);
  assert.equal(edges.length, 50 * 100, "what nodes say is kept in full");

  const all = await world.crawl({
    seeds: ["127.0.1.1"],
    retries: 0,
    timeouts: { connectMs: 1000 },
    budget: { dialsPerSecond: Infinity, concurrency: 500 },
  });
  assert.equal(all.complete, true);
  assert.equal(all.addresses.length, 2550);
  const { peersQuality, topAdvertisers } = viewOf(all).summary;
  assert.equal(peersQuality.entries, 2550);
  assert.equal(peersQuality.dead, 2500);
  assert.equal(topAdvertisers[0].aliveShare, 0.5);
});

test("crawl ends at its time, bytes and held seconds, and leaves what it holds", async () => {
  const world = await twinWorld(planTwin({ nodes: NODES, seed: 1, topology: "ring" }));
  const limits = [{ maxSeconds: 2 }, { maxBytes: 30_000 }, { maxHeldSeconds: 1 }];
  for (const limit of limits) {
    const budget = { dialsPerSecond: Infinity, ...limit };
    const report = await world.crawl({ seeds: world.seeds, budget, listen: { ms: 60_000, nodes: 2 } });
    assert.deepEqual(report.budget.limitsHit, Object.keys(limit));
    assert.equal(report.complete, false);
    assert.equal(report.interrupted, false);
    assert.ok(report.durationMs < 5000, `${Object.keys(limit)}: ${report.durationMs}`);
  }
});

test("crawl resolves names, keeps failures to resolve, and checks the node a seed names", async () => {
  const plan = planTwin({ nodes: 8, seed: 2, topology: "ring" });
  const world = await twinWorld(plan);
  const [first] = plan.nodes;
  const resolver = {
    resolve: (host: string) =>
      host === "seed.example" ? Promise.resolve([first.host, "::1"]) : world.network.resolve(host),
  };
  const other = `G${"A".repeat(55)}`;
  const report = await world.crawl({
    seeds: [
      "seed.example",
      "gone.example:1",
      "10.0.0.1:11625",
      "1.2.3.4:0",
      `${other}@${formatAddress(plan.nodes[1])}`,
    ],
    resolver,
  });
  const rows = new Map(crawlDocument(report).addresses.map((row) => [row.address, row]));
  assert.equal(rows.get(formatAddress(first))!.state, "reachable");
  assert.equal(rows.get("[::1]:11625"), undefined, "IPv6 of a name that has IPv4 is not used");
  assert.equal(rows.get("gone.example:1")!.code, "dns_failed");
  assert.equal(rows.get("10.0.0.1:11625")!.code, "private_address");
  assert.equal(rows.get("1.2.3.4:0")!.code, "bad_address");
  const wrong = rows.get(formatAddress(plan.nodes[1]))!;
  assert.deepEqual([wrong.state, wrong.code], ["faulty", "identity_mismatch"]);
  assert.equal(report.usableSeeds, 2);
  assert.equal(crawlDocument(report).run.seeds.length, 5);
});

test("crawl without a usable seed ends at once", async () => {
  const world = crawlWorld(1);
  for (const seeds of [[], ["10.0.0.1"], ["nowhere.example"]]) {
    const report = await world.crawl({ seeds });
    assert.equal(report.usableSeeds, 0);
    assert.equal(report.budget.used.dials, 0);
    assert.equal(report.complete, true);
  }
});

test("visitRecord and the document are valid JSON whatever a remote says", async () => {
  const topology: TopologyFile = { nodes: [{ name: "a", versionStr: "\u001b[31mred\udcff\u202e" }], seeds: ["a"] };
  const world = await twinWorld(planTwin({ nodes: 1, seed: 1, topology }));
  const lines: string[] = [];
  const report = await world.crawl({
    seeds: world.seeds,
    onVisit: (visit) => lines.push(JSON.stringify(visitRecord(visit))),
  });
  const [line] = lines.map((text) => JSON.parse(text));
  assert.equal(line.type, "visit");
  // Bytes that are no UTF-8 are one replacement character each; all else is as received.
  assert.equal(line.versionStr, `\u001b[31mred${"\ufffd".repeat(4)}`);
  assert.equal(line.final, true);
  const document = JSON.parse(JSON.stringify(crawlDocument(report)));
  assert.equal(document.schema, "stellar-overlay/crawl/1");
  assert.equal(document.nodes[0].versionStr, line.versionStr);
  assert.equal(document.budget.limits.dialsPerSecond, null, "no limit is null");
});

test("crawl ends when its store fails, and reports all it has", async () => {
  const world = await twinWorld(planTwin({ nodes: 20, seed: 4, topology: "ring" }));
  let stored = 0, told = 0;
  const store = {
    recordVisit: () => {
      if (++stored === 5) throw new Error("disk full");
    },
  };
  const report = await world.crawl({ seeds: world.seeds, store, onVisit: () => told++ });
  assert.deepEqual(report.failure, { code: "db_failed", path: "", reason: "disk full" });
  assert.deepEqual([report.complete, report.interrupted, stored], [false, false, 5]);
  const outcomes = report.addresses.reduce((n, entry) => n + entry.outcomes.length, 0);
  assert.equal(outcomes, told);
  assert.ok(told >= 5);
  const { run, nodes } = crawlDocument(report);
  assert.equal(run.failure!.code, "db_failed");
  assert.ok(nodes.length > 0);
});

test("crawl rejects when a callback throws, and calls nobody after that", async () => {
  const world = await twinWorld(planTwin({ nodes: 20, seed: 4, topology: "ring" }));
  let told = 0;
  const onVisit = () => {
    told++;
    throw new Error("not mine");
  };
  await assert.rejects(world.crawl({ seeds: world.seeds, onVisit }), /not mine/);
  await world.clock.advance(60_000);
  assert.equal(told, 1);
});

test("crawl keeps what it heard of consensus when it is killed, and shows it after it was resumed", async () => {
  const plan = planTwin({ nodes: NODES, seed: 9, topology: "tiered" });
  const world = await twinWorld(plan, { ledgerMs: 2000 });
  using store = await CrawlStore.open(":memory:", { networkPassphrase: plan.passphrase, clock: world.clock });
  const runId = store.startRun({ toolVersion: "0", options: null, versions: null, seeds: world.seeds, budget: null });
  // A killed process stores nothing more: its sink is deaf from then on.
  let alive = true;
  const sink = storeSink(store, runId);
  const mortal: CrawlSink = {
    recordVisit: (visit) => alive && sink.recordVisit(visit),
    recordScp: (news) => alive && sink.recordScp!(news),
  };
  world.clock.setTimer(9000, () => alive = false);
  await world.crawl({ seeds: world.seeds, listen: { ms: 20_000, nodes: 8 }, store: mortal });
  const { visits, scp } = store.loadRun(runId)!;
  assert.ok(
    scp.heard.length > 2 && scp.quorumSets.length > 0 && scp.observations.length > 0 && scp.listeners.length > 0,
  );
  const resume = visits.map(visitFromStored);
  // The second part does not listen at all.
  const second = await world.crawl({ seeds: world.seeds, resume, resumeScp: scp, store: sink });
  const { validators, quorumSets, nodes } = crawlDocument(second);
  assert.deepEqual(validators.map((row) => row.nodeId).sort(), scp.heard.map((row) => row.nodeId));
  assert.deepEqual(quorumSets.map(({ hash }) => hash), scp.quorumSets.map(({ hash }) => hash));
  assert.ok(validators.some((row) => row.validating && row.lagSlots > 0));
  assert.equal(nodes.filter((node) => node.relaying !== null).length, scp.listeners.length);
});

test("crawl dials a bounded number of addresses per host and per subnet, seeds and this machine excepted", async () => {
  const world = crawlWorld(4, { fate: () => "refused" });
  const book: Endpoint[] = [
    ...Array.from({ length: 40 }, (_, i) => ({ host: "10.1.1.1", port: 1000 + i })),
    ...Array.from({ length: 40 }, (_, i) => ({ host: `10.2.2.${i + 1}`, port: 1000 })),
    ...Array.from({ length: 5 }, (_, i) => ({ host: "127.0.4.4", port: 1000 + i })),
  ];
  new FakeFleet(world, [{ host: "127.0.1.1", port: 11625, peers: () => book }]);
  const seeds = ["127.0.1.1", "10.1.1.1:1039", "10.1.1.1:2000"];
  const budget = { dialsPerSecond: Infinity, addressesPerHost: 3, addressesPerSubnet: 10 };
  const stored: StoredVisit[] = [];
  const store = { recordVisit: (visit: StoredVisit) => stored.push(visit) };
  const options = { seeds, allowPrivate: true, budget, store };
  const first = await world.crawl(options);
  const second = await world.crawl({ ...options, resume: stored.map(visitFromStored) });
  for (const report of [first, second]) {
    assert.equal(report.complete, true);
    const rows = crawlDocument(report).addresses;
    const dialled = (start: string) =>
      rows.filter((row) => row.address.startsWith(start) && row.state !== "skipped").length;
    assert.deepEqual(["10.1.1.1:", "10.2.2.", "127.0.4.4:"].map(dialled), [5, 10, 5]);
    const codes = rows.filter((row) => row.state === "skipped").map((row) => row.code);
    assert.equal(codes.filter((code) => code === "too_many_on_host").length, 36);
    assert.equal(codes.filter((code) => code === "too_many_on_subnet").length, 30);
    assert.equal(rows.find((row) => row.address === "10.1.1.1:1039")!.state, "dead");
    assert.equal(rows.length, 87);
  }
  assert.equal(second.budget.used.dials, 0);
});

test("crawl that began with remembered addresses goes on with them", async () => {
  const plan = planTwin({ nodes: NODES, seed: 3, topology: "ring" });
  const world = await twinWorld(plan);
  using store = await CrawlStore.open(":memory:", { networkPassphrase: plan.passphrase, clock: world.clock });
  const seeds = world.seeds.map((target) => ({ target, source: "database" as const }));
  const runId = store.startRun({ toolVersion: "0", options: null, versions: null, seeds, budget: null });
  const stop = new AbortController();
  let told = 0;
  const onVisit = () => ++told === 1 && stop.abort();
  const sink = storeSink(store, runId);
  await world.crawl({ seeds, signal: stop.signal, onVisit, store: sink });
  store.finishRun(runId, "interrupted");
  const { run, visits } = store.loadRun(runId)!;
  assert.deepEqual(run.seeds, seeds);
  store.claimRun(runId, "me");
  const second = await world.crawl({ seeds: run.seeds, resume: visits.map(visitFromStored), store: sink });
  assertTruth(second, plan, false);
  for (const { target } of seeds) {
    assert.equal(second.addresses.find((entry) => entry.address === target)!.source, "database");
  }
});
