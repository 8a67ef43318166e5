import { test } from "node:test";
import assert from "node:assert/strict";
import { TOPOLOGY_KINDS } from "../../survey/twin/topology.ts";
import { nodeIdOf } from "../../survey/twin/truth.ts";
import { ALL_LIVE, assertSurveyTruth, surveyedPlan, SurveyTwinWorld } from "../kit/survey_twin_kit.ts";
import { figures } from "../kit/sim_world.ts";

const NODES = 300;

for (let seed = 1; seed <= 10; seed++) {
  const topology = TOPOLOGY_KINDS[seed % TOPOLOGY_KINDS.length];
  test(`a survey of a twin of 300 nodes (${topology}, seed ${seed}) finds its truth within 1.2 x pages / 10 ledgers`, async () => {
    const plan = surveyedPlan({
      nodes: NODES,
      seed,
      topology,
      validators: 1,
      dials: 1,
      hubs: 2,
      mix: seed % 2 === 0 ? ALL_LIVE : {},
      survey: { late: 5, optOut: seed % 3, restarting: seed % 2, lagging: 20 },
    });
    await using twin = await SurveyTwinWorld.open(plan);
    const given = plan.nodes.filter((node) => node.surveyRole === "late").map(nodeIdOf);
    const connections = plan.seeds.slice(0, 1 + seed % 3);
    const { id, session } = await twin.survey({ nodes: given, connections });
    const truth = assertSurveyTruth(twin, id, { given, connections });
    const { counts } = session;
    // Those that do not answer are asked once at least.
    const pages = truth.pages + counts.silent + counts.unreachable;
    figures("survey", { seed, topology, pages, requests: twin.relays.requests, ledgers: twin.relays.ledgers, counts });
    assert.ok(
      twin.relays.ledgers <= 1.2 * Math.ceil(pages / 10),
      `${pages} pages in ${twin.relays.ledgers} ledgers`,
    );
  });
}
