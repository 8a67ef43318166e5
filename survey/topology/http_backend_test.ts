import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure, OverlayError } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import {
  CoreHttpServer,
  parseTarget,
  recorded,
  RECORDED_NOBODY,
  RECORDED_SELF,
  recordedNode,
} from "../../tests/kit/core_http_server.ts";
import { type CoreModelOptions, coreNetwork, CoreSurveyModel } from "../../tests/kit/core_survey_model.ts";
import { CoreHttp, type CoreHttpOptions } from "../core_http/core_http.ts";
import { parseCoreUrl } from "../core_http/core_url.ts";
import type { HttpOutcome } from "../core_http/http_get.ts";
import type { PlannedPage, SurveyAnswer } from "./backend.ts";
import { HttpBackend, type HttpBackendOptions } from "./http_backend.ts";
import { type SessionEnd, type SessionOptions, SurveySession } from "./session.ts";
import { type StoredSurvey, SurveyStore } from "./survey_store.ts";
import { parseSurveyResult } from "./survey_result.ts";
import type { NetworkModel } from "./planner_test_kit.ts";

const PASSPHRASE = "Standalone Network ; February 2017";
const MINUTES = 60_000, HOURS = 3600_000;

/** A node in virtual time, and a backend that drives it. */
class World {
  readonly clock = new VirtualClock();
  readonly network: NetworkModel;
  readonly self: string;
  readonly model: CoreSurveyModel;
  /** While set, every request ends so; `afterwards`: the node has carried it out. */
  outage: { outcome: HttpOutcome; afterwards?: boolean } | undefined;
  readonly requests: string[] = [];
  readonly notices: string[] = [];
  readonly answers: SurveyAnswer[] = [];
  readonly core: CoreHttp;
  readonly #never = new AbortController();

  constructor(options: Partial<CoreModelOptions> = {}, shape = { nodes: 40, target: 6, hubs: 1 }, seed = 1) {
    this.network = options.network ?? coreNetwork(new SeededRandom(seed), shape);
    this.self = options.self ?? [...this.network.keys()][3];
    this.model = new CoreSurveyModel({ clock: this.clock, network: this.network, self: this.self, ...options });
    const get: CoreHttpOptions["get"] = (to) => {
      this.requests.push(to.path.slice(1));
      if (this.outage !== undefined) {
        if (this.outage.afterwards) this.model.answer(parseTarget(to.path));
        return Promise.resolve(this.outage.outcome);
      }
      const reply = this.model.answer(parseTarget(to.path));
      return Promise.resolve(
        typeof reply === "string"
          ? { kind: "answer", status: 200, contentType: "application/json", body: reply }
          : { kind: "answer", contentType: "", ...reply },
      );
    };
    this.core = new CoreHttp(parseCoreUrl("http://127.0.0.1:11626"), { clock: this.clock, get });
  }

  get signal(): AbortSignal {
    return this.#never.signal;
  }

  backend(options: Partial<HttpBackendOptions> = {}): HttpBackend {
    const backend = new HttpBackend({ core: this.core, clock: this.clock, network: PASSPHRASE, ...options });
    backend.onNotice(({ text }) => this.notices.push(text));
    backend.onAnswer((answer) => this.answers.push(answer));
    return backend;
  }

  /** A backend whose survey reports. */
  async reporting(options: Partial<HttpBackendOptions> = {}): Promise<HttpBackend> {
    const backend = this.backend(options);
    await this.run(backend.ready(this.signal));
    assert.deepEqual((await this.run(backend.start(7, this.signal))).kind, "started");
    await this.clock.advance(5 * MINUTES);
    assert.deepEqual((await this.run(backend.stop(this.signal))).kind, "stopped");
    return backend;
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.run(work);
  }

  /** A page of the i-th node that is not the surveyor. */
  page(i: number, index = 0): PlannedPage {
    const nodeId = [...this.network.keys()].filter((id) => id !== this.self)[i];
    return { nodeId, inboundIndex: index, outboundIndex: index, attempt: 0 };
  }

  commands(): string[] {
    return this.requests.map((request) => request.split("?")[0]);
  }
}

/** A whole survey as the tool runs it: session, database, backend. */
async function survey(
  world: World,
  options: Partial<SessionOptions> & { backend?: HttpBackend } = {},
): Promise<
  { end: SessionEnd; store: SurveyStore; survey: StoredSurvey; session: SurveySession; backend: HttpBackend }
> {
  const backend = options.backend ?? world.backend();
  const store = await SurveyStore.open(":memory:", { networkPassphrase: PASSPHRASE, clock: world.clock });
  const surveyId = store.create({
    nonce: 7,
    surveyor: world.self,
    toolVersion: "0",
    owner: "one",
    options: { targets: [], via: world.core.url, collectMs: 10 * MINUTES, nodes: [] },
  });
  const session = new SurveySession({
    store,
    surveyId,
    owner: "one",
    clock: world.clock,
    signal: new AbortController().signal,
    ...options,
    backend,
  });
  const end = await world.run(session.run("done"));
  return { end, store, survey: store.get(surveyId)!, session, backend };
}

/** Lists found equal those of the network. */
function assertFound(
  world: World,
  store: SurveyStore,
  surveyId: number,
  except: ReadonlySet<string> = new Set(),
): void {
  const found = new Map(
    store.nodes(surveyId).flatMap((node) => node.node === undefined ? [] : [[node.nodeId, node.node]]),
  );
  const expected = [...world.network.keys()].filter((id) => id !== world.self && !except.has(id));
  assert.deepEqual([...found.keys()].sort(), expected.sort());
  for (const [id, node] of found) assert.deepEqual(node, world.network.get(id), id);
}

test("a survey through a stellar-core finds its network, page by page, ten requests a batch", async () => {
  // Hubs that everybody dials: their inbound lists have several pages.
  const world = new World({}, { nodes: 90, target: 5, hubs: 2 });
  const silent = world.page(20).nodeId, bad = world.page(21).nodeId;
  world.model.silent.add(silent);
  world.model.bad.add(bad);
  const { end, store, survey: stored, session, backend } = await survey(world);
  assert.equal(end, "reached");
  const except = new Set([silent, bad]);
  assertFound(world, store, stored.id, except);
  assert.deepEqual(stored.own, world.network.get(world.self));
  assert.equal(stored.version, "stellar-core model");
  const states = new Map(store.nodes(stored.id).map((node) => [node.nodeId, node.state]));
  assert.equal(states.get(silent), "silent");
  assert.equal(states.get(bad), "bad");
  const { silent: silents, bad: bads, pages } = session.counts;
  assert.deepEqual({ silents, bads }, { silents: 1, bads: 1 });
  // Every page once: no answer was taken for another page's.
  const wanted = [...world.network.values()].filter((node) => node.nodeId !== world.self && !except.has(node.nodeId))
    .reduce(
      (sum, { data }) =>
        sum + Math.max(1, Math.ceil(Math.max(data.numTotalInboundPeers, data.numTotalOutboundPeers) / 25)),
      0,
    );
  assert.equal(pages, wanted);
  assert.ok(wanted > 92, `several pages of a node: ${wanted}`);
  assert.ok(world.model.longestBacklog <= 10, `backlog of ${world.model.longestBacklog}`);
  assert.equal(world.commands().filter((command) => command === "startsurveycollecting").length, 1);
  assert.equal(world.commands().filter((command) => command === "stopsurveycollecting").length, 1);
  // The pace is the node's: a batch of ten goes every 15 s until there is nothing left but retries.
  const requests = world.model.sent.length;
  assert.ok(requests <= wanted + 2 * 3, `${requests} requests for ${wanted} pages`);
  const times = [...new Set(world.model.sent.map((request) => request.atMs))];
  assert.ok(times.slice(0, 8).every((at, i) => i === 0 || at - times[i - 1] <= 15_001), times.join(" "));
  await world.run(backend.close());
});

test("results of every seed are the network's", async () => {
  for (const seed of [2, 3, 4, 5]) {
    const world = new World({ release: seed % 2 === 0 ? "v22" : "head" }, { nodes: 35, target: 4, hubs: 2 }, seed);
    const { end, store, survey: stored, backend } = await survey(world);
    assert.equal(end, "reached");
    assertFound(world, store, stored.id);
    await world.run(backend.close());
    world.model.close();
    store.close();
    await world.clock.advance(5 * MINUTES);
    assert.equal(world.clock.waiting, 0, "no timer is left behind");
  }
});

test("late answers to an earlier request are not taken for the page that was asked for since", async () => {
  const network = coreNetwork(new SeededRandom(6), { nodes: 70, target: 3, hubs: 1 });
  const hub = [...network.keys()][0];
  const { inboundPeers } = network.get(hub)!;
  assert.ok(inboundPeers.length > 50);
  const world = new World({ network, delay: (_, nth) => nth === 1 ? 25_000 : 0 });
  const backend = await world.reporting();
  const page = (index: number) => ({ nodeId: hub, inboundIndex: index, outboundIndex: index, attempt: 0 });
  const inbound = () => world.answers.map((answer) => answer.kind === "page" && answer.node.inboundPeers);
  // Leaves at 15 s; asked again, leaves at 30 s, answered at once.
  await world.run(backend.ask([page(0)], world.signal));
  await world.clock.advance(20_000);
  await world.run(backend.ask([page(0)], world.signal));
  await world.clock.advance(16_000);
  assert.deepEqual(inbound(), [inboundPeers.slice(0, 25)]);
  // The next page is on the list when the first answer of all comes at last, at 41 s.
  await world.run(backend.ask([page(25)], world.signal));
  await world.clock.advance(8000);
  assert.equal((await world.core.getSurveyResult()).topology!.get(hub)!.inboundPeers.length, 25);
  assert.equal(world.answers.length, 1);
  // Its own answer is appended to that; only that part is its.
  await world.clock.advance(10_000);
  assert.equal((await world.core.getSurveyResult()).topology!.get(hub)!.inboundPeers.length, 50);
  assert.deepEqual(inbound(), [inboundPeers.slice(0, 25), inboundPeers.slice(25, 50)]);
  assert.deepEqual(world.answers.map(({ page }) => page.inboundIndex), [0, 25]);
  await world.run(backend.close());
});

test("lists that two answers were appended to hold every peer once", async () => {
  const world = new World({ delay: (_, nth) => nth === 1 ? 15_500 : 0 });
  const backend = await world.reporting();
  const page = world.page(5), node = world.network.get(page.nodeId)!;
  assert.ok(node.inboundPeers.length < 25 && node.outboundPeers.length < 25);
  await world.run(backend.ask([page], world.signal));
  await world.clock.advance(20_000);
  await world.run(backend.ask([page], world.signal));
  // Both answers come at 31 s, between two looks at the result.
  await world.clock.advance(20_000);
  const doubled = (await world.core.getSurveyResult()).topology!.get(page.nodeId)!;
  assert.equal(doubled.outboundPeers.length, 2 * node.outboundPeers.length);
  assert.deepEqual(world.answers, [{ page, kind: "page", node }]);
  await world.run(backend.close());
});

test("another survey on the network is told, with when it is over at the latest", async () => {
  const world = new World();
  world.model.foreignSurvey("collecting");
  const backend = world.backend();
  await world.run(backend.ready(world.signal));
  const outcome = await world.run(backend.start(7, world.signal));
  assert.ok(outcome.kind === "active");
  assert.deepEqual(outcome.other, {
    surveyorId: undefined,
    nonce: undefined,
    heard: undefined,
    overAtLatestMs: world.clock.wallMs() + 30 * MINUTES + 3 * HOURS,
  });
  await assert.rejects(world.run(survey(world)), isFailure("survey_active"));
  assert.ok(!world.commands().includes("stopsurveycollecting"), "the other survey is not touched");
  await world.run(backend.close());
});

test("a node that was restarted while it collected: nothing is stopped, and nothing is asked", async () => {
  const world = new World();
  const backend = world.backend();
  await world.run(backend.ready(world.signal));
  await world.run(backend.start(7, world.signal));
  await world.clock.advance(2 * MINUTES);
  world.model.restart();
  // Somebody else's survey came since: "Requested" would be no sign.
  world.model.foreignSurvey("collecting");
  const outcome = await world.run(backend.stop(world.signal));
  assert.ok(outcome.kind === "noSurvey");
  assert.match(outcome.reason, /restarted/);
  assert.ok(world.notices.some((text) => /restarted/.test(text)));
  await assert.rejects(world.run(backend.ask([world.page(0)], world.signal)), isFailure("core_survey_lost"));
  assert.ok(!world.commands().includes("stopsurveycollecting"));
  assert.ok(!world.commands().includes("surveytopologytimesliced"));
  await world.run(backend.close());
});

test("a node that is restarted while it asks: the survey ends with what is known, and says why", async () => {
  for (const foreign of [false, true]) {
    const world = new World();
    const backend = await world.reporting();
    await world.run(backend.ask([world.page(0), world.page(1)], world.signal));
    await world.clock.advance(20_000);
    assert.equal(world.answers.length, 2);
    await world.run(backend.ask([world.page(2)], world.signal));
    world.model.restart();
    if (foreign) world.model.foreignSurvey("reporting");
    await world.clock.advance(20_000);
    assert.throws(() => backend.roomInTurn(), isFailure("core_survey_lost"));
    await assert.rejects(world.run(backend.ask([world.page(3)], world.signal)), isFailure("core_survey_lost"));
    assert.equal(world.answers.length, 2);
    await world.run(backend.close());
  }
});

test("asking a node that has no survey is noticed with the first request", async () => {
  for (const release of ["head", "v22"] as const) {
    const world = new World({ release });
    const backend = await world.reporting();
    // Ended by itself between STOP and the first request: three hours are over.
    await world.clock.advance(3 * HOURS + 1000);
    const asking = world.run(backend.ask([world.page(0), world.page(1)], world.signal));
    await assert.rejects(asking, isFailure("core_survey_lost"), release);
    assert.equal(world.commands().filter((command) => command === "surveytopologytimesliced").length, 1);
    await world.run(backend.close());
  }
});

test("the end of the reporting phase ends the survey", async () => {
  const world = new World();
  const backend = await world.reporting();
  await world.run(backend.ask([world.page(0)], world.signal));
  await world.clock.advance(3 * HOURS - 20_000);
  world.model.silent.add(world.page(1).nodeId);
  await world.run(backend.ask([world.page(1)], world.signal));
  await world.clock.advance(MINUTES);
  assert.throws(
    () => backend.roomInTurn(),
    (error) => isFailure("core_survey_lost")(error) && /over/.test(error.message),
  );
  await world.run(backend.close());
});

test("nothing is asked before collecting ended: it would erase the node's survey", async () => {
  const world = new World();
  const backend = world.backend();
  await world.run(backend.ready(world.signal));
  await world.run(backend.start(7, world.signal));
  await assert.rejects(world.run(backend.ask([world.page(0)], world.signal)), isFailure("invalid_argument"));
  assert.ok(!world.commands().includes("surveytopologytimesliced"));
  await world.run(backend.close());
});

test("STOP without a survey is told", async () => {
  const world = new World();
  const backend = world.backend();
  await world.run(backend.ready(world.signal));
  const outcome = await world.run(backend.stop(world.signal));
  assert.deepEqual(outcome, { kind: "noSurvey", reason: "it knows of no survey" });
  await world.run(backend.close());
});

test("a loop that somebody ended begins again, and answers to the old key are no bad answers", async () => {
  const world = new World({ delay: (_, nth) => nth === 1 ? 3000 : 6000 });
  const backend = await world.reporting();
  await world.run(backend.ask([world.page(0)], world.signal));
  // The batch leaves at 15 s; stopsurvey comes before its answer, which then, at 18.8 s, meets another key.
  await world.clock.advance(15_500);
  world.model.answer({ command: "stopsurvey", query: new Map() });
  assert.deepEqual(await world.run(backend.ask([world.page(1), world.page(0)], world.signal)), []);
  assert.ok(world.notices.some((text) => /ended by somebody else/.test(text)));
  await world.clock.advance(4000);
  assert.deepEqual((await world.core.getSurveyResult()).badResponseNodes, [world.page(0).nodeId]);
  // The second batch leaves at 30.5 s; answers come at 34.3 s and 37.3 s, and until then the node stays marked.
  await world.clock.advance(17_000);
  assert.deepEqual(world.answers.map((answer) => [answer.kind, answer.page.nodeId]), [["page", world.page(1).nodeId]]);
  await world.clock.advance(8000);
  assert.deepEqual(world.answers.map((answer) => answer.kind), ["page", "page"]);
  await world.run(backend.close());
});

test("an answer that does not open is told as bad, once, and not while the node waits to be asked again", async () => {
  const world = new World();
  const page = world.page(0);
  world.model.bad.add(page.nodeId);
  const backend = await world.reporting();
  const kinds = () => world.answers.map((answer) => answer.kind);
  await world.run(backend.ask([page], world.signal));
  await world.clock.advance(25_000);
  assert.deepEqual(kinds(), ["bad"]);
  world.model.bad.delete(page.nodeId);
  await world.run(backend.ask([page], world.signal));
  await world.clock.advance(25_000);
  assert.deepEqual(kinds(), ["bad", "page"]);
  await world.run(backend.close());
});

test("a node that is on the list already is not asked twice, and an answer to it counts", async () => {
  for (const release of ["head", "v22"] as const) {
    const world = new World({ release });
    const backend = await world.reporting();
    const page = world.page(0);
    await world.run(backend.ask([world.page(5)], world.signal));
    await world.clock.advance(16_000);
    // Carried out, though the answer was lost on the way.
    world.outage = { outcome: { kind: "timeout" }, afterwards: true };
    const unsent = await world.run(backend.ask([page, world.page(1)], world.signal));
    assert.deepEqual(unsent.map(({ page }) => page.nodeId), [page.nodeId, world.page(1).nodeId]);
    world.outage = undefined;
    assert.deepEqual(await world.run(backend.ask([page], world.signal)), [], release);
    // And while it is known to wait it is not even tried.
    const again = await world.run(backend.ask([page], world.signal));
    assert.match(again[0].reason, /has not sent/);
    await world.clock.advance(20_000);
    assert.equal(world.answers.filter((answer) => answer.page.nodeId === page.nodeId).length, 1, release);
    assert.equal(world.model.sent.filter((request) => request.nodeId === page.nodeId).length, 1);
    await world.run(backend.close());
  }
});

test("somebody else who asks through the same node takes room, and is told once", async () => {
  const world = new World();
  const backend = await world.reporting();
  await world.run(backend.ask([world.page(0)], world.signal));
  for (let i = 10; i < 17; i++) {
    const query = new Map([["node", world.page(i).nodeId], ["inboundpeerindex", "0"], ["outboundpeerindex", "0"]]);
    world.model.answer({ command: "surveytopologytimesliced", query });
  }
  await world.clock.advance(6000);
  assert.equal(backend.roomInTurn(), 2);
  await world.clock.advance(30_000);
  assert.equal(backend.roomInTurn(), 10);
  assert.equal(world.notices.filter((text) => /somebody else asks/.test(text)).length, 1);
  assert.deepEqual(world.answers.map((answer) => answer.page.nodeId), [world.page(0).nodeId]);
  await world.run(backend.close());
});

test("a node that does not answer for a while is borne with; for too long it is not", async () => {
  const world = new World();
  const backend = await world.reporting();
  await world.run(backend.ask([world.page(0)], world.signal));
  world.outage = { outcome: { kind: "unreachable", reason: "ECONNREFUSED" } };
  await world.clock.advance(30_000);
  const unsent = await world.run(backend.ask([world.page(1), world.page(2)], world.signal));
  assert.equal(unsent.length, 2);
  world.outage = undefined;
  await world.clock.advance(10_000);
  assert.deepEqual(world.answers.map((answer) => answer.page.nodeId), [world.page(0).nodeId]);
  assert.deepEqual(world.notices.map((text) => /trying on$/.test(text) ? "failing" : text.replace(/http:\S+/, "URL")), [
    "failing",
    "URL answers again",
  ]);
  world.outage = { outcome: { kind: "timeout" } };
  await world.run(backend.ask([world.page(3)], world.signal));
  await world.clock.advance(70_000);
  assert.throws(() => backend.roomInTurn(), isFailure("core_timeout"));
  await world.run(backend.close());
});

test("START whose answer was lost is asked for once more, and is known by the node's being active", async () => {
  const world = new World();
  const backend = world.backend();
  await world.run(backend.ready(world.signal));
  const get = world.model.answer;
  let lost = 0;
  // The answer to the first START is lost; the node has carried it out.
  const flaky = new CoreHttp(parseCoreUrl("http://127.0.0.1:11626"), {
    clock: world.clock,
    get: (to) => {
      const body = get(parseTarget(to.path)) as string;
      if (to.path.startsWith("/startsurvey") && lost++ === 0) return Promise.resolve({ kind: "timeout" });
      return Promise.resolve({ kind: "answer", status: 200, contentType: "application/json", body });
    },
  });
  const second = world.backend({ core: flaky });
  await world.run(second.ready(world.signal));
  assert.equal((await world.run(second.start(7, world.signal))).kind, "started");
  assert.ok(world.notices.some((text) => /taken for ours/.test(text)));
  assert.equal(world.model.nonce, 7);
  await world.run(second.close());
  await world.run(backend.close());
});

test("ready waits for a node that is booting or not in sync, and says which network it is on", async () => {
  const world = new World();
  world.model.booting = true;
  world.model.state = "Catching up";
  const backend = world.backend();
  const waiting = backend.ready(world.signal);
  await world.clock.advance(10_000);
  world.model.booting = false;
  await world.clock.advance(10_000);
  world.model.state = "Synced!";
  await world.run(waiting);
  assert.equal(backend.surveyorId, world.self);
  assert.equal(backend.network, PASSPHRASE);
  assert.ok(backend.ledger()! >= 1000);
  const own = world.network.get(world.self)!;
  const neighbours = new Set([...own.inboundPeers, ...own.outboundPeers].map((peer) => peer.nodeId));
  assert.deepEqual((await world.run(backend.seeds(world.signal))).sort(), [...neighbours].sort());
  await world.run(backend.close());

  world.model.state = "Joining SCP";
  await assert.rejects(
    world.run(world.backend().ready(world.signal)),
    (error) => isFailure("core_not_ready")(error) && (error.failure as { text: string }).text === "Joining SCP",
  );
  world.model.state = "Synced!";
  await assert.rejects(
    world.run(world.backend({ network: "another" }).ready(world.signal)),
    isFailure("network_mismatch"),
  );
  world.outage = { outcome: { kind: "unreachable", reason: "ECONNREFUSED" } };
  await assert.rejects(world.run(world.backend().ready(world.signal)), isFailure("core_unreachable"));
});

test("attach goes on where the node still has the survey, and refuses where it cannot", async () => {
  const world = new World();
  const first = await world.reporting();
  await world.run(first.ask([world.page(0)], world.signal));
  await world.clock.advance(20_000);
  await world.run(first.close());
  const running = {
    nonce: 7,
    startedAtMs: world.clock.wallMs() - 5 * MINUTES - 20_000,
    stoppedAtMs: world.clock.wallMs() - 20_000,
  };
  assert.equal(world.commands().at(-1), "stopsurvey");

  await world.clock.advance(HOURS);
  const second = world.backend();
  await world.run(second.ready(world.signal));
  await world.run(second.attach(running, world.signal));
  await world.run(second.ask([world.page(1)], world.signal));
  await world.clock.advance(20_000);
  assert.deepEqual(
    world.answers.map((answer) => answer.page.nodeId),
    [world.page(0), world.page(1)].map((page) => page.nodeId),
  );
  assert.deepEqual(second.own(), world.network.get(world.self));
  await world.run(second.close());

  const third = world.backend();
  await world.run(third.ready(world.signal));
  await world.clock.advance(2 * HOURS);
  await assert.rejects(world.run(third.attach(running, world.signal)), isFailure("core_survey_lost"));
  world.model.restart();
  await world.clock.advance(MINUTES);
  const later = { nonce: 7, startedAtMs: world.clock.wallMs() - 10 * MINUTES, stoppedAtMs: undefined };
  const fourth = world.backend();
  await world.run(fourth.ready(world.signal));
  await assert.rejects(
    world.run(fourth.attach(later, world.signal)),
    (error) => isFailure("core_survey_lost")(error) && /restarted 60 s ago/.test(error.message),
  );
  for (const backend of [third, fourth]) await world.run(backend.close());
});

test("leaving ends the node's loop of requests, and leaves a survey that collects alone", async () => {
  const world = new World();
  const backend = await world.reporting();
  await world.run(backend.ask([world.page(0)], world.signal));
  await world.run(backend.close());
  assert.equal(world.commands().at(-1), "stopsurvey");
  assert.ok(world.notices.some((text) => /loop of requests was ended/.test(text)));
  await world.clock.advance(MINUTES);
  assert.equal(world.model.sent.length, 0, "the node asks nobody after we left");

  const other = new World();
  const collecting = other.backend();
  await other.run(collecting.ready(other.signal));
  await other.run(collecting.start(7, other.signal));
  await other.run(collecting.close());
  assert.equal(other.commands().at(-1), "startsurveycollecting");
  assert.equal(other.model.phase, "collecting");
});

test("an interrupted session is gone on with by another process, through the same node", async () => {
  const world = new World({}, { nodes: 60, target: 5, hubs: 1 });
  const store = await SurveyStore.open(":memory:", { networkPassphrase: PASSPHRASE, clock: world.clock });
  const surveyId = store.create({
    nonce: 7,
    surveyor: world.self,
    toolVersion: "0",
    owner: "one",
    options: { targets: [], via: world.core.url, collectMs: 10 * MINUTES, nodes: [] },
  });
  const stop = new AbortController();
  const options = { store, surveyId, owner: "one", clock: world.clock };
  const first = world.backend();
  const running = new SurveySession({ ...options, backend: first, signal: stop.signal }).run("done");
  await world.clock.advance(11 * MINUTES);
  assert.ok(world.answers.length > 5 && world.answers.length < 59, `${world.answers.length} answers`);
  stop.abort();
  assert.equal(await world.run(running), "interrupted");
  await world.run(first.close());
  await world.clock.advance(10 * MINUTES);

  const second = world.backend();
  const session = new SurveySession({ ...options, backend: second, signal: world.signal });
  assert.equal(await world.run(session.run("done")), "reached");
  assertFound(world, store, surveyId);
  assert.deepEqual(store.get(surveyId)!.own, world.network.get(world.self));
  assert.equal(world.commands().filter((command) => command === "startsurveycollecting").length, 1);
  await world.run(second.close());
});

test("interrupting while the node hangs ends the session at once", async () => {
  const world = new World();
  const hanging = new CoreHttp(parseCoreUrl("http://127.0.0.1:11626"), {
    clock: world.clock,
    get: (_to, _bounds, _clock, signal) =>
      new Promise((resolve) => signal!.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true })),
  });
  const stop = new AbortController();
  const backend = world.backend({ core: hanging });
  const running = survey(world, { backend, signal: stop.signal });
  await world.clock.advance(1000);
  stop.abort();
  assert.equal((await world.run(running)).end, "interrupted");
  await world.run(backend.close());
});

test(
  "the recorded survey comes out as stellar-core recorded it, over a real connection",
  { timeout: 60_000 },
  async () => {
    await using server = await new CoreHttpServer(recordedNode()).open();
    const core = new CoreHttp(parseCoreUrl(server.url), { clock: systemClock });
    const backend = new HttpBackend({ core, clock: systemClock, network: PASSPHRASE, batchMs: 60 });
    const store = await SurveyStore.open(":memory:", { networkPassphrase: PASSPHRASE });
    const surveyId = store.create({
      nonce: 7,
      surveyor: RECORDED_SELF,
      toolVersion: "0",
      owner: "one",
      options: { targets: [], via: server.url, collectMs: 1, nodes: [RECORDED_NOBODY] },
    });
    const session = new SurveySession({
      backend,
      store,
      surveyId,
      owner: "one",
      clock: systemClock,
      signal: new AbortController().signal,
      settleMs: 1,
    });
    assert.equal(await session.run("done"), "reached");
    await backend.close();

    const expected = parseSurveyResult(recorded("survey-result.json"), "survey-result.json").topology!;
    const own = store.get(surveyId)!.own;
    assert.deepEqual(own, expected.get(RECORDED_SELF));
    const found = new Map(store.nodes(surveyId).map((node) => [node.nodeId, node]));
    for (const [id, node] of expected) {
      if (id !== RECORDED_SELF) assert.deepEqual(found.get(id)?.node ?? null, node, id);
    }
    assert.equal(found.get(RECORDED_NOBODY)?.state, "unreachable");
    // Connected to the node when its peers were recorded, not in the survey: joined later.
    const recorder = "GCKWVKJT4RHYNDLECJC72Z4XV57J2DVYBI2WERT2X3ZSKP7TZYFMN6ST";
    assert.equal(found.get(recorder)?.state, "silent");
    assert.deepEqual([...found.keys()].filter((id) => !expected.has(id)), [recorder]);
    assert.deepEqual(
      new Set(server.requests.map((request) => request.split("?")[0])),
      new Set([
        "info",
        "scp",
        "startsurveycollecting",
        "stopsurveycollecting",
        "peers",
        "surveytopologytimesliced",
        "getsurveyresult",
        "stopsurvey",
      ]),
    );
  },
);

test("failures of the node are OverlayErrors with a next step", async () => {
  const world = new World();
  world.outage = { outcome: { kind: "unreachable", reason: "ECONNREFUSED" } };
  const error = await world.run(world.backend().ready(world.signal)).catch((error) => error);
  assert.ok(error instanceof OverlayError && error.hint.includes("HTTP_PORT"));
});
