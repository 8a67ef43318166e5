import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { modelNetwork, type NetworkModel } from "./planner_test_kit.ts";
import {
  type SessionEnd,
  type SessionGoal,
  type SessionOptions,
  type SessionProgress,
  SurveySession,
} from "./session.ts";
import { ModelBackend } from "./session_test_kit.ts";
import { type SurveyRunOptions, SurveyStore } from "./survey_store.ts";

const PASSPHRASE = "session tests";
const OPTIONS: SurveyRunOptions = { targets: ["127.0.0.1:1"], collectMs: 20 * 60_000, nodes: [] };

/** A network, a clock, a database; sessions come and go. */
class World {
  readonly clock = new VirtualClock();
  readonly model: NetworkModel;
  readonly progress: SessionProgress[] = [];
  readonly notices: string[] = [];
  store!: SurveyStore;
  id = 0;

  constructor(nodes = 120, seed = 1) {
    this.model = modelNetwork(new SeededRandom(seed), { nodes, target: 8, hubs: 3 });
  }

  async open(options: Partial<typeof OPTIONS> = {}): Promise<this> {
    this.store = await SurveyStore.open(":memory:", { networkPassphrase: PASSPHRASE, clock: this.clock });
    this.id = this.store.create({
      nonce: 7,
      surveyor: "GSURVEYOR",
      toolVersion: "0",
      owner: "one",
      options: { ...OPTIONS, ...options },
    });
    return this;
  }

  backend(options: Partial<ModelBackend["faults"]> = {}): ModelBackend {
    return new ModelBackend(this.clock, this.model, options);
  }

  session(
    backend: ModelBackend,
    options: Partial<SessionOptions> = {},
  ): { session: SurveySession; stop: AbortController; run(goal?: SessionGoal): Promise<SessionEnd> } {
    const stop = new AbortController();
    const session = new SurveySession({
      backend,
      store: this.store,
      surveyId: this.id,
      owner: "one",
      clock: this.clock,
      signal: stop.signal,
      onProgress: (progress) => this.progress.push(progress),
      onNotice: (notice) => this.notices.push(notice.text),
      ...options,
    });
    return { session, stop, run: (goal = "done") => this.clock.run(session.run(goal)) };
  }
}

test("SurveySession starts, collects for the time asked, stops, asks everybody and stores all", async () => {
  const world = await new World().open();
  const backend = world.backend();
  const { session, run } = world.session(backend);
  assert.equal(await run(), "reached");
  assert.deepEqual(backend.log.map(([what]) => what), ["ready", "start", "stop"]);
  const [, start, stop] = backend.log;
  assert.equal(stop[1] - start[1], 20 * 60_000);
  const { counts } = session;
  assert.deepEqual([counts.answered, counts.pending, counts.silent], [world.model.size, 0, 0]);
  const stored = new Map(world.store.nodes(world.id).map((node) => [node.nodeId, node.node]));
  assert.deepEqual([...stored.keys()].sort(), [...world.model.keys()].sort());
  for (const [id, node] of world.model) assert.deepEqual(stored.get(id), node);
  const survey = world.store.get(world.id)!;
  assert.deepEqual([survey.state, survey.passedOn, survey.stoppedAtMs! - survey.startedAtMs!], [
    "done",
    true,
    20 * 60_000,
  ]);
  assert.ok(Math.max(...backend.perTurn.values()) <= 10);
  const ledgers = Math.max(...backend.perTurn.keys()) - Math.min(...backend.perTurn.keys()) + 1;
  assert.ok(ledgers <= 1.2 * Math.ceil(counts.pages / 10), `${ledgers} ledgers for ${counts.pages} pages`);
  const steps = [...new Set(world.progress.map((progress) => progress.step))];
  assert.deepEqual(steps, ["connecting", "starting", "collecting", "stopping", "settling", "asking", "done"]);
});

test("SurveySession interrupted at any moment is gone on with by another process, and finds the same", async () => {
  for (const afterMs of [500, 60_000, 20 * 60_000 + 3000, 20 * 60_000 + 14_000, 20 * 60_000 + 40_000]) {
    const world = await new World().open();
    const first = world.session(world.backend());
    const running = first.session.run("done");
    await world.clock.advance(afterMs);
    first.stop.abort();
    assert.equal(await world.clock.run(running), "interrupted", `after ${afterMs}`);
    await world.clock.advance(30_000);
    const backend = world.backend({ known: true });
    const second = world.session(backend);
    assert.equal(await second.run(), "reached");
    assert.equal(second.session.counts.answered, world.model.size);
    const survey = world.store.get(world.id)!;
    assert.ok(survey.stoppedAtMs! - survey.startedAtMs! >= 20 * 60_000);
  }
});

test("SurveySession killed without notice loses no answer, and asks nothing in the ledger it came back in", async () => {
  const world = await new World().open();
  const backend = world.backend();
  const first = world.session(backend);
  void first.session.run("done");
  await world.clock.advance(20 * 60_000 + 10_000 + 22_000);
  const answered = world.store.nodes(world.id).filter((node) => node.state === "answered").length;
  assert.ok(answered >= 30, `${answered}`);
  // What a dead process leaves: the store as it is. The backend hears nothing any more.
  backend.dead = true;
  const next = world.backend({ known: true });
  const second = world.session(next);
  const cameBackIn = next.turn()!;
  assert.equal(await second.run(), "reached");
  assert.ok(Math.min(...next.perTurn.keys()) > cameBackIn);
  assert.equal(second.session.counts.answered, world.model.size);
  assert.ok(next.asked.length < world.model.size - answered + 60, "what was answered is not asked again");
  first.stop.abort();
});

test("SurveySession goes on within the reporting phase by the wall clock, and not after it", async () => {
  const world = await new World().open();
  await world.session(world.backend()).run("stopped");
  await world.clock.advance(2.5 * 3600_000);
  const { session, run } = world.session(world.backend({ known: true }));
  assert.equal(await run(), "reached");
  assert.equal(session.counts.answered, world.model.size);
  await world.clock.advance(3600_000);
  await assert.rejects(world.session(world.backend({ known: true })).run(), isFailure("survey_over"));
});

test("SurveySession ends with what it has when the reporting phase ends first", async () => {
  const world = await new World(200).open();
  await world.session(world.backend()).run("stopped");
  await world.clock.advance(3 * 3600_000 - 60_000);
  const { session, run } = world.session(world.backend({ known: true }));
  assert.equal(await run(), "timeUp");
  assert.ok(session.counts.answered > 0 && session.counts.pending > 0);
  assert.equal(world.store.get(world.id)!.state, "done");
});

test("SurveySession whose STOP is overdue takes the time at which the nodes stopped by themselves", async () => {
  const world = await new World().open();
  await world.session(world.backend()).run("started");
  await world.clock.advance(45 * 60_000);
  const backend = world.backend({ known: true });
  assert.equal(await world.session(backend).run(), "reached");
  assert.deepEqual(backend.log.map(([what]) => what), ["ready", "attach reporting"]);
  const survey = world.store.get(world.id)!;
  assert.equal(survey.stoppedAtMs! - survey.startedAtMs!, 30 * 60_000);
});

test("SurveySession keeps a survey that was ignored apart from one that another blocks", async () => {
  const world = await new World().open();
  await assert.rejects(world.session(world.backend({ ignored: true })).run(), isFailure("survey_ignored"));
  assert.equal(world.store.get(world.id)!.state, "ignored");
  const other = await new World().open();
  await assert.rejects(other.session(other.backend({ activeUntilMs: 3600_000 })).run(), isFailure("survey_active"));
  assert.deepEqual([other.store.get(other.id)!.state, other.store.get(other.id)!.startedAtMs], ["failed", undefined]);
});

test("SurveySession waits for the end of another survey when asked to", async () => {
  const world = await new World().open();
  const backend = world.backend({ activeUntilMs: 3600_000 });
  assert.equal(await world.session(backend, { wait: true }).run(), "reached");
  const starts = backend.log.filter(([what]) => what === "start").map(([, at]) => at);
  assert.equal(starts.length, 2);
  assert.ok(starts[1] >= 3600_000);
  assert.match(world.notices[0], /another survey is active: waiting, until 2026-01-01T01:00:00/);
});

test("SurveySession sends no START before the instant it is told", async () => {
  const world = await new World(20).open();
  const backend = world.backend();
  assert.equal(
    await world.session(backend, { notBeforeMs: world.clock.wallMs() + 7200_000 }).run("started"),
    "reached",
  );
  assert.ok(backend.log.find(([what]) => what === "start")![1] >= 7200_000);
  assert.equal(world.progress[0].step, "waiting");
});

test("SurveySession goes on though nobody passes START on, when forced", async () => {
  const world = await new World(20).open();
  const { session, run } = world.session(world.backend({ ignored: true }), { force: true });
  assert.equal(await run(), "reached");
  assert.deepEqual([session.survey.passedOn, session.counts.answered], [false, 20]);
});

test("SurveySession sends START once more when it may have died in between, and takes silence for yes", async () => {
  const world = await new World().open();
  const backend = world.backend();
  const first = world.session(backend);
  void first.session.run("done");
  // START is stored as begun and not yet answered for.
  while (backend.log.length < 2) await world.clock.advance(100);
  backend.dead = true;
  assert.equal(world.store.get(world.id)!.state, "starting");
  const next = world.backend({ known: true, ignored: true });
  assert.equal(await world.session(next).run(), "reached");
  assert.equal(world.store.get(world.id)!.state, "done");
  first.stop.abort();
});

test("SurveySession asks nodes that were silent again when told to", async () => {
  const world = await new World().open();
  const silent = [...world.model.keys()][5];
  await world.session(world.backend({ silent: new Set([silent]) })).run();
  const stateOf = () => world.store.nodes(world.id).find((node) => node.nodeId === silent)!.state;
  assert.equal(stateOf(), "silent");
  const again = world.backend({ known: true });
  await world.session(again).run();
  assert.deepEqual([stateOf(), again.asked.length], ["silent", 0]);
  await world.session(world.backend({ known: true }), { retry: true }).run();
  assert.equal(stateOf(), "answered");
});

test("SurveySession marks nodes that nobody names as late, and given ones without a way as unreachable", async () => {
  const world = await new World(40).open({ nodes: ["GELSEWHERE"] });
  const backend = world.backend({ neighbours: ["GLATE"] });
  await world.session(backend).run();
  const late = world.store.nodes(world.id).filter((node) => node.late).map(({ nodeId, state }) => [nodeId, state]);
  assert.deepEqual(late, [["GLATE", "silent"], ["GELSEWHERE", "unreachable"]]);
});

test("SurveySession ends when another process took the survey over, or it is another's", async () => {
  const world = await new World().open();
  const running = world.session(world.backend()).session.run("done");
  running.catch(() => {});
  await world.clock.advance(60_000);
  assert.throws(() => world.store.claim(world.id, "two"), isFailure("survey_in_progress"));
  world.store.claim(world.id, "two", true);
  await assert.rejects(world.clock.run(running), isFailure("survey_in_progress"));
  const other = world.backend({ known: true });
  Object.assign(other, { surveyorId: "GANOTHER" });
  await assert.rejects(world.session(other).run(), isFailure("survey_not_ours"));
});

test("SurveySession passes on a failure of the backend and of the database, and leaves no timer", async () => {
  const world = await new World().open();
  const backend = world.backend({ failsAfter: 30 });
  await assert.rejects(world.session(backend).run(), isFailure("connection_lost"));
  const closing = await new World().open();
  const { session } = closing.session(closing.backend());
  const running = session.run("done");
  running.catch(() => {});
  await closing.clock.advance(60_000);
  closing.store.close();
  await assert.rejects(closing.clock.run(running), isFailure("db_failed"));
  await closing.clock.advance(10_000);
  assert.equal(closing.clock.waiting, 0);
});
