/** Surveys of the network twin in virtual time, through connections of our own: what they find is the twin's truth. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { isFailure } from "../../overlay/base/errors.ts";
import { PEERS_PER_PAGE } from "../../overlay/survey/survey_data.ts";
import type { StoredNode } from "../../survey/topology/survey_store.ts";
import { isLive, type TwinPlan } from "../../survey/twin/node_plan.ts";
import { pairDelays, planTwin } from "../../survey/twin/plan.ts";
import { surveyTruth } from "../../survey/twin/survey_truth.ts";
import { TOPOLOGY_KINDS } from "../../survey/twin/topology.ts";
import { parseTopology } from "../../survey/twin/topology_file.ts";
import { nodeIdOf } from "../../survey/twin/truth.ts";
import { figures } from "../kit/sim_world.ts";
import {
  ALL_LIVE,
  assertSurveyTruth,
  expected,
  findings,
  surveyedPlan,
  SURVEYOR,
  SurveyTwinWorld,
} from "../kit/survey_twin_kit.ts";

// Deno hashes each of a hundred thousand messages several times as slowly as Bun: there three seeds, one of each kind.
const SEEDS = "Deno" in globalThis ? 3 : 10;

const idsOf = (plan: TwinPlan, is: (node: TwinPlan["nodes"][number]) => boolean): string[] =>
  plan.nodes.filter((node) => isLive(node.behaviour) && is(node)).map(nodeIdOf);

for (let seed = 1; seed <= SEEDS; seed++) {
  const topology = TOPOLOGY_KINDS[seed % TOPOLOGY_KINDS.length];
  test(`a survey of 300 nodes (${topology}, seed ${seed}) finds the truth, within 1.2 x ceil(pages / 10) ledgers`, async () => {
    const plan = surveyedPlan({
      nodes: 300,
      seed,
      topology,
      validators: 1,
      dials: 1,
      // In a ring, whose nodes have two connections, a hub's are all on top.
      hubs: topology === "ring" ? 1 : 2,
      // In one of them everybody takes part; else some are on other networks, silent, or no nodes at all.
      mix: seed === 10 ? ALL_LIVE : {},
      survey: { late: 5, optOut: (seed + 1) % 3, restarting: seed % 2, lagging: 20 },
    });
    await using twin = await SurveyTwinWorld.open(plan);
    const given = idsOf(plan, (node) => node.surveyRole === "late");
    const connections = plan.seeds.slice(0, 1 + seed % 3);
    const { id, session: { counts } } = await twin.survey({ nodes: given, connections });

    const truth = assertSurveyTruth(twin, id, { given, connections });
    // A hub may be behind a node that opted out; else there are lists of several pages, in either direction.
    const longest = (list: "inboundPeers" | "outboundPeers") =>
      Math.max(...truth.nodes.map(({ answer }) => answer?.[list].length ?? 0));
    if (seed % 3 === 2) {
      assert.ok(longest("inboundPeers") > PEERS_PER_PAGE && longest("outboundPeers") > PEERS_PER_PAGE);
    }
    // Nodes that do not answer take a request at least, too.
    const pages = truth.pages + counts.silent + counts.unreachable;
    const { requests, ledgers } = twin.relays;
    figures("survey of the twin", { seed, topology, answered: counts.answered, pages, requests, ledgers });
    assert.ok(ledgers <= 1.2 * Math.ceil(pages / 10), `${pages} pages took ${ledgers} ledgers`);
  });
}

test("what nodes of the twin report of their links is measured: pings, traffic, ages, latencies of SCP", async () => {
  const plan = surveyedPlan({ nodes: 40, seed: 5, topology: "random", validators: 5, mix: ALL_LIVE, hubs: 1 });
  await using twin = await SurveyTwinWorld.open(plan, { statements: undefined });
  const { id } = await twin.survey();
  assertSurveyTruth(twin, id);
  const delayMs = pairDelays(plan.seed, 1, 60);
  const planned = new Map(plan.nodes.map((node) => [nodeIdOf(node), node]));
  const answers = new Map(twin.store.nodes(id).map(({ nodeId, node }) => [nodeId, node!]));
  let links = 0;
  for (const [nodeId, { data, inboundPeers, outboundPeers }] of answers) {
    const self = planned.get(nodeId)!;
    for (
      const [peer, isDialed] of [
        ...inboundPeers.map((p) => [p, false] as const),
        ...outboundPeers.map((p) => [p, true] as const),
      ]
    ) {
      if (peer.nodeId === SURVEYOR) continue;
      links++;
      const other = planned.get(peer.nodeId)!;
      // A slow node is late with everything it writes to who dialed it, and what it writes meanwhile waits behind that.
      const slowMs = isDialed ? other.answerDelayMs : self.answerDelayMs;
      const rttMs = 2 * delayMs(self.host, other.host) + slowMs;
      const ms = peer.averageLatencyMs;
      assert.ok(ms >= Math.floor(rttMs) - 1 && ms <= rttMs + slowMs + 1, `${ms} of ${rttMs} ms`);
      // Connected before the surveyor came, which waits for two ledgers, and asked after 20 s of collecting.
      assert.ok(peer.secondsConnected >= 30n && peer.secondsConnected < 60n, `${peer.secondsConnected} s`);
      const back = [...answers.get(peer.nodeId)!.inboundPeers, ...answers.get(peer.nodeId)!.outboundPeers]
        .find((report) => report.nodeId === nodeId)!;
      // The slices of the two ends begin and end up to half a second apart.
      const gap = Number(peer.messagesRead - back.messagesWritten);
      assert.ok(
        peer.messagesRead >= 8n && Math.abs(gap) <= 8,
        `read ${peer.messagesRead}, written ${back.messagesWritten}`,
      );
      assert.ok(peer.bytesRead > 70n * peer.messagesRead && peer.bytesWritten > 70n * peer.messagesWritten);
      // On a link without detour statements go one way only.
      const floods = [peer, back].map((end) => end.uniqueFloodMessageRecv + end.duplicateFloodMessageRecv);
      assert.ok(floods[0] + floods[1] >= 4n * 5n * 3n && floods[0] < peer.messagesRead, `${floods} flood messages`);
    }
    // Each statement of the five validators comes once for the first time.
    const unique = [...inboundPeers, ...outboundPeers].reduce((sum, peer) => sum + peer.uniqueFloodMessageRecv, 0n);
    assert.ok(unique >= 4n * 5n * 3n && unique <= 4n * 5n * 6n, `${unique} unique messages`);
    // The first validator to externalize, and the last, have nothing to measure.
    if (data.isValidator) continue;
    assert.ok(data.p75SCPFirstToSelfLatencyMs > 0 && data.p75SCPFirstToSelfLatencyMs < 1500);
    assert.ok(data.p75SCPSelfToOtherLatencyMs > 0 && data.p75SCPSelfToOtherLatencyMs < 3000);
  }
  assert.equal(links, 2 * surveyTruth(plan).links.length);
});

test("a survey that is interrupted in the middle and gone on with elsewhere finds the same", async () => {
  const plan = surveyedPlan({
    nodes: 100,
    seed: 8,
    topology: "random",
    validators: 1,
    dials: 1,
    hubs: 1,
    survey: { late: 3, restarting: 1 },
  });
  await using twin = await SurveyTwinWorld.open(plan);
  const id = twin.create();
  const run = async (connections: number[], stopAfter: number): Promise<string> => {
    const stop = new AbortController();
    const backend = await twin.backend(id, connections);
    let answered = 0;
    const onNode = ({ state }: { state: string }) => {
      if (state === "answered" && ++answered === stopAfter) stop.abort();
    };
    const end = await twin.world.clock.run(twin.session(id, backend, { signal: stop.signal, onNode }).run("done"));
    await twin.close(backend);
    return end;
  };
  assert.equal(await run([0], 12), "interrupted");
  const before = twin.store.nodes(id).filter((node) => node.state === "answered").length;
  assert.ok(before > 5 && before < 30, `${before} answered`);
  // Another process, ten minutes later, with other connections: seed 0 still counts its old connection as a peer.
  await twin.world.clock.advance(600_000);
  assert.equal(await run([1, 2], Infinity), "reached");
  assertSurveyTruth(twin, id, { connections: [0, 1, 2] });
});

test("nobody answers who is not permitted, and the surveyor learns why", async () => {
  const plan = planTwin({
    nodes: 40,
    seed: 2,
    topology: "random",
    validators: 1,
    mix: ALL_LIVE,
    survey: { surveyorKeys: [nodeIdOf(planTwin({ nodes: 1, seed: 9, topology: "ring" }).nodes[0])] },
  });
  await using twin = await SurveyTwinWorld.open(plan);
  const watched = twin.create();
  const backend = await twin.backend(watched);
  const refused = twin.world.clock.run(twin.session(watched, backend).run("done"));
  await assert.rejects(refused, isFailure("survey_ignored"));
  await twin.close(backend);
  assert.equal(twin.store.get(watched)!.state, "ignored");
  // With one connection there is nobody to watch: all stay silent.
  const { id, session } = await twin.survey({ connections: [0] });
  assert.deepEqual([session.counts.answered, session.counts.silent], [0, 1]);
  assert.deepEqual(findings(twin.store.nodes(id)).links, []);
  assert.ok(twin.world.twin.nodes.every((node) => node.survey?.manager.phase === "inactive"));
});

const HOLES = JSON.stringify({
  nodes: [
    { name: "seed", validator: true },
    { name: "other seed" },
    { name: "a" },
    { name: "deaf", survey: "opted-out" },
    { name: "behind" },
    { name: "slow", lagLedgers: 3 },
    { name: "ahead", behaviour: "slow" },
    { name: "far", lagLedgers: 12 },
    { name: "beyond" },
    { name: "again", survey: "restarting" },
    { name: "cut" },
    { name: "new", survey: "late" },
    { name: "gone" },
    { name: "alone" },
  ],
  links: [
    ["a", "seed"],
    ["seed", "other seed"],
    ["deaf", "a"],
    ["behind", "deaf"],
    ["slow", "a"],
    ["slow", "ahead"],
    ["a", "far"],
    ["far", "beyond"],
    ["again", "a"],
    ["again", "cut"],
    ["new", "a"],
    ["new", "slow"],
    ["gone", "ahead"],
    ["alone", "gone"],
  ],
  seeds: ["seed", "other seed"],
});

test("holes in the network: who opted out, lags too far, restarted or came late, and who is behind them", async () => {
  const topology = parseTopology(HOLES, "holes");
  const plan = surveyedPlan({ nodes: 0, seed: 1, topology });
  const given = idsOf(plan, () => true);
  await using twin = await SurveyTwinWorld.open(plan);
  const { id } = await twin.survey({ nodes: given });
  assertSurveyTruth(twin, id, { given });
  const states = (nodes: readonly StoredNode[]) =>
    Object.fromEntries(plan.nodes.map((node) => {
      const found = nodes.find(({ nodeId }) => nodeId === nodeIdOf(node))!;
      return [node.name, found.late ? `${found.state}, late` : found.state];
    }));
  assert.deepEqual(states(twin.store.nodes(id)), {
    seed: "answered",
    "other seed": "answered",
    a: "answered",
    deaf: "silent",
    behind: "unreachable, late",
    slow: "answered",
    ahead: "answered",
    far: "silent",
    beyond: "unreachable, late",
    again: "unreachable, late",
    cut: "unreachable, late",
    new: "unreachable, late",
    gone: "answered",
    alone: "answered",
  });
});

test("a node that restarts while pages are asked for is silent, and nobody reaches who is behind it", async () => {
  const plan = surveyedPlan({ nodes: 0, seed: 1, topology: parseTopology(HOLES, "holes") });
  await using twin = await SurveyTwinWorld.open(plan);
  const id = twin.create();
  const backend = await twin.backend(id);
  const { clock } = twin.world;
  assert.equal(await clock.run(twin.session(id, backend).run("started")), "reached");
  await clock.advance(20_000);
  assert.equal(await clock.run(twin.session(id, backend).run("stopped")), "reached");
  await clock.advance(2000);
  const gone = plan.nodes.find((node) => node.name === "gone")!;
  assert.equal(await clock.run(twin.world.twin.restart(gone.index)), 2);
  assert.equal(await clock.run(twin.session(id, backend).run("done")), "reached");
  const found = findings(twin.store.nodes(id)), wanted = expected(surveyTruth(plan));
  const alone = nodeIdOf(plan.nodes.find((node) => node.name === "alone")!);
  assert.equal(found.states[nodeIdOf(gone)], "silent");
  assert.equal(found.states[alone], undefined);
  delete wanted.answers[nodeIdOf(gone)];
  delete wanted.answers[alone];
  assert.deepEqual(found.answers, wanted.answers);
});

test("a second survey waits until the nodes have forgotten the first, and finds those that came late in it", async () => {
  const plan = surveyedPlan({
    nodes: 40,
    seed: 3,
    topology: "tiered",
    validators: 1,
    survey: { late: 4, restarting: 2 },
  });
  const surveyPhaseMs = 90_000;
  await using twin = await SurveyTwinWorld.open(plan, { surveyPhaseMs });
  const phases = { collectMs: surveyPhaseMs, reportMs: surveyPhaseMs };
  const first = await twin.survey({ session: { phases } });
  assertSurveyTruth(twin, first.id);

  const early = twin.create();
  const backend = await twin.backend(early);
  await assert.rejects(
    twin.world.clock.run(twin.session(early, backend, { phases }).run("done")),
    isFailure("survey_ignored"),
  );
  await twin.close(backend);
  await twin.world.clock.advance(surveyPhaseMs);

  const second = await twin.survey({ session: { phases } });
  const settled = { ...plan, nodes: plan.nodes.map(({ surveyRole: _, ...node }) => node) };
  const found = findings(twin.store.nodes(second.id)), wanted = expected(surveyTruth(settled));
  assert.equal(Object.keys(found.answers).length, idsOf(plan, () => true).length);
  assert.deepEqual(found.links, wanted.links);
  assert.deepEqual(found.states, wanted.states);
  assert.deepEqual(found.answers, wanted.answers);
});
