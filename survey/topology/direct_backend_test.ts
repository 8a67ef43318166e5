import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { DirectWorld } from "../../tests/kit/direct_survey_kit.ts";

test("DirectBackend finds the true graph of a network of whole engines, within the relays' limit", async () => {
  await using world = new DirectWorld();
  await world.build(24);
  const { session, backend, done } = await world.survey({ targets: [0, 5, 9] });
  assert.equal(await done("done"), "reached");
  assert.equal(session.survey.passedOn, true);
  assert.deepEqual({ ...session.counts, requests: 0, pages: 0 }, {
    asked: 24,
    answered: 24,
    silent: 0,
    unreachable: 0,
    bad: 0,
    pending: 0,
    requests: 0,
    pages: 0,
    pagesLeft: 0,
  });
  const found = world.foundLinks();
  assert.deepEqual(found, world.trueLinks(backend));
  assert.equal(session.survey.own?.outboundPeers.length, 3);
  assert.equal(session.counts.requests, session.counts.pages, "no request was lost");
  assert.deepEqual(world.answersByLedger().map((answers) => answers <= 10), [true, true, true]);
});

test("DirectBackend tells a survey that nobody passes on from one that is", async () => {
  await using world = new DirectWorld({ permitted: false });
  await world.build(8);
  const { session, done } = await world.survey({ targets: [0, 3] });
  await assert.rejects(done("done"), isFailure("survey_ignored"));
  assert.equal(session.survey.state, "ignored");
  assert.ok(world.nodes.every((node) => node.engine.survey.phase === "inactive"));
});

test("DirectBackend with one connection cannot see whether it is permitted, says so, and gets no answer", async () => {
  await using world = new DirectWorld({ permitted: false });
  await world.build(6);
  const { session, done } = await world.survey({ targets: [0] });
  assert.equal(await done("done"), "reached");
  assert.deepEqual([session.survey.passedOn, session.counts.answered, session.counts.silent], [false, 0, 1]);
  assert.match(world.notices[0], /only one connection/);
});

test("DirectBackend is not misled by one node that takes no part", async () => {
  for (const optedOut of [0, 3]) {
    await using world = new DirectWorld({ optedOut: [optedOut] });
    await world.build(10);
    const { session, done } = await world.survey({ targets: [0, 3, 6] });
    assert.equal(await done("done"), "reached");
    assert.deepEqual([session.survey.passedOn, session.counts.answered, session.counts.silent], [true, 9, 1]);
  }
});

test("DirectBackend recognises another survey that is active, by its messages and by having taken part", async () => {
  await using world = new DirectWorld({ alsoPermits: [2] });
  await world.build(8);
  const first = world.nodes[2].engine.survey;
  const { done, backend } = await world.survey({ targets: [0, 5] });
  const running = done("done");
  running.catch(() => {});
  await world.until(() => backend.ledger() !== undefined);
  first.startCollecting(99);
  await assert.rejects(running, (error: unknown) => {
    assert.ok(isFailure("survey_active")(error));
    const failure = (error as { failure: { surveyorId: string; nonce: number; overAtLatest: string } }).failure;
    assert.deepEqual([failure.surveyorId, failure.nonce], [world.nodes[2].id, 99]);
    const leftMs = Date.parse(failure.overAtLatest) - world.clock.wallMs();
    assert.ok(leftMs > 3.4 * 3600_000 && leftMs <= 3.5 * 3600_000, `${leftMs}`);
    return true;
  });
  assert.match(world.notices[0], /messages of another survey are passing by: start of G.*, nonce 99/);
});

test("DirectBackend in another process goes on with a survey, with a new key", async () => {
  await using world = new DirectWorld();
  await world.build(12);
  const first = await world.survey({ targets: [0, 5] });
  await first.done("stopped");
  await world.run(first.backend.close());
  await world.run(sleep(world.clock, 60_000));
  const second = await world.survey({ targets: [3, 7], again: true });
  assert.equal(await second.done("done"), "reached");
  assert.equal(second.session.counts.answered, 12);
  assert.deepEqual(world.foundLinks(), world.trueLinks(first.backend));
});

test("DirectBackend reaches nodes 8 ledgers behind at once, and up to 11 behind when it asks again", async () => {
  for (const [lag, attempts, answered] of [[8, 1, 10], [9, 1, 9], [9, 2, 10], [11, 3, 10], [12, 3, 9]]) {
    await using world = new DirectWorld({ laggards: [7] });
    await world.build(10);
    const survey = await world.survey({ targets: [0, 5] });
    // It has seen START and STOP.
    assert.equal(await survey.done("stopped"), "reached");
    await world.lag(7, lag);
    assert.equal(await survey.done("done", { again: true, attempts }), "reached");
    const { counts } = survey.session;
    assert.equal(counts.answered, answered, `lag ${lag}, ${attempts} attempts`);
    assert.equal(
      counts.requests - counts.pages,
      answered === 10 ? attempts - 1 : attempts,
      "none was refused and repeated",
    );
  }
});

test("DirectBackend says why it cannot begin: nobody there, or no ledger", async () => {
  await using world = new DirectWorld();
  await world.build(2, { silent: true });
  const { done } = await world.survey({ targets: [0] });
  await assert.rejects(done("started"), isFailure("no_ledger"));
  const nobody = await world.survey({ addresses: [{ host: "11.9.9.9", port: 1 }] });
  await assert.rejects(nobody.done("started"), (error: unknown) => {
    assert.ok(isFailure("no_peer")(error));
    assert.match(String(error), /11\.9\.9\.9:1: .*refused|nothing listens/);
    return true;
  });
});
