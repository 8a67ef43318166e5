/**
 * Upstream's scenarios of the survey, with whole engines in virtual time: D → A → B → C and B → E; the quorum is A and C; B has
 * a list of surveyors, A and E. Source: stellar-core SurveyManagerTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { sealBox } from "../../overlay/crypto/sealed_box.ts";
import { signResponse } from "../../overlay/survey/signatures.ts";
import { SurveyBacklog } from "../../overlay/survey/survey_backlog.ts";
import type { SurveyPageAnswer } from "../../overlay/survey/surveyor.ts";
import {
  surveyResponseBody,
  type SurveyTopology,
  type TimeSlicedPeerData,
} from "../../overlay/wire/survey_messages.ts";
import { encode } from "../../overlay/wire/xdr.ts";
import { type EngineNode, type EngineNodeOptions, EngineWorld, idOf } from "../kit/engine_world.ts";
import { ScpTraffic } from "../kit/scp_traffic.ts";

/** Places of the nodes. F comes late. */
const [A, B, C, D, E, F] = [0, 1, 2, 3, 4, 5];
const LINKS: [from: number, to: number][] = [[D, A], [A, B], [B, C], [B, E]];
const QUORUM = [A, C].map(idOf);
/** Both phases, ms. */
const PHASE_MS = 120_000;
const NONCE = 0xc0ffee;

/** See the head of this file. */
class Network implements AsyncDisposable {
  readonly world: EngineWorld;
  readonly backlogs = new Map<number, SurveyBacklog>();
  #traffic: ScpTraffic | undefined;

  constructor(phaseMs = PHASE_MS) {
    this.world = new EngineWorld({ config: { noDial: true, surveyPhaseMs: phaseMs } });
  }

  get nodes(): EngineNode[] {
    return this.world.nodes;
  }

  async add(index: number, options: EngineNodeOptions = {}): Promise<EngineNode> {
    const surveyorKeys = index === B ? [A, E].map(idOf) : [];
    // B too, for what A and C refer to travels through it.
    const isValidator = index <= C;
    return await this.world.add({ index, config: { surveyorKeys, quorumNodes: QUORUM, isValidator }, ...options });
  }

  async link(from: number, to: number): Promise<void> {
    this.nodes[from].dial(this.nodes[to]);
    await this.world.connected(this.nodes[from], this.nodes[to]);
  }

  /** The five nodes, connected and following the ledgers that A and C close. */
  async start(): Promise<this> {
    for (const index of [A, B, C, D, E]) await this.add(index);
    for (const [from, to] of LINKS) await this.link(from, to);
    this.#traffic = new ScpTraffic(this.world.clock, [A, C].map((index) => () => this.nodes[index]));
    this.#traffic.start();
    const tracks = () => [A, B, C, D, E].every((index) => this.nodes[index].engine.ledgerSeq !== undefined);
    await this.world.until(tracks, "every node knows the ledger");
    return this;
  }

  survey(index: number) {
    return this.nodes[index].engine.survey;
  }

  phases(...indexes: number[]): string[] {
    return indexes.map((index) => this.survey(index).phase);
  }

  backlog(index: number): SurveyBacklog {
    let backlog = this.backlogs.get(index);
    if (backlog === undefined) {
      backlog = new SurveyBacklog(this.survey(index), this.world.clock, idOf(index));
      this.backlogs.set(index, backlog);
    }
    return backlog;
  }

  /** A whole collecting of a node's survey, some ledgers long. */
  async collect(index: number, nonce = NONCE): Promise<void> {
    assert.equal(this.survey(index).startCollecting(nonce).started, true);
    await this.world.run(30_000);
    assert.equal(this.survey(index).stopCollecting().stopped, true);
    await this.world.run(2000);
  }

  /** Asks for the first page of nodes, and waits for the batch and its answers. */
  async askAll(index: number, ...asked: number[]): Promise<void> {
    for (const other of asked) {
      const page = { nodeId: idOf(other), inboundIndex: 0, outboundIndex: 0 };
      assert.equal(this.backlog(index).add(page), undefined);
    }
    await this.world.run(20_000);
  }

  result(index: number, of: number): SurveyTopology | null | undefined {
    return this.backlog(index).results.get(idOf(of));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#traffic?.stop();
    for (const backlog of this.backlogs.values()) backlog.stop();
    await this.world[Symbol.asyncDispose]();
  }
}

const idsOf = (peers: readonly TimeSlicedPeerData[]) => peers.map(({ peerStats }) => encodeNodeId(peerStats.id));
/** Node ids in the order of an answer. */
const sorted = (...indexes: number[]) => indexes.map(idOf).sort((a, b) => (a < b ? -1 : 1));

/** Compares who is connected to whom, and the counts that follow from it. */
function assertNeighbours(topology: SurveyTopology | null | undefined, inbound: number[], outbound: number[]): void {
  assert.ok(topology, "there is an answer");
  assert.deepEqual(idsOf(topology.inboundPeers), sorted(...inbound));
  assert.deepEqual(idsOf(topology.outboundPeers), sorted(...outbound));
  const { nodeData } = topology;
  assert.deepEqual([nodeData.totalInboundPeerCount, nodeData.totalOutboundPeerCount], [
    inbound.length,
    outbound.length,
  ]);
  assert.deepEqual([nodeData.maxInboundPeerCount, nodeData.maxOutboundPeerCount], [64, 8]);
}

test("scenario: topology encrypted response memory check, V2", () => {
  const peer: TimeSlicedPeerData = {
    peerStats: {
      id: new Uint8Array(32).fill(7),
      versionStr: "v".repeat(100),
      messagesRead: 2n ** 64n - 1n,
      messagesWritten: 2n ** 64n - 1n,
      bytesRead: 2n ** 64n - 1n,
      bytesWritten: 2n ** 64n - 1n,
      secondsConnected: 2n ** 64n - 1n,
      uniqueFloodBytesRecv: 2n ** 64n - 1n,
      duplicateFloodBytesRecv: 2n ** 64n - 1n,
      uniqueFetchBytesRecv: 2n ** 64n - 1n,
      duplicateFetchBytesRecv: 2n ** 64n - 1n,
      uniqueFloodMessageRecv: 2n ** 64n - 1n,
      duplicateFloodMessageRecv: 2n ** 64n - 1n,
      uniqueFetchMessageRecv: 2n ** 64n - 1n,
      duplicateFetchMessageRecv: 2n ** 64n - 1n,
    },
    averageLatencyMs: 2 ** 32 - 1,
  };
  const most = 2 ** 32 - 1;
  const peers = Array.from({ length: 25 }, () => peer);
  const body = encode(surveyResponseBody, {
    inboundPeers: peers,
    outboundPeers: peers,
    nodeData: {
      addedAuthenticatedPeers: most,
      droppedAuthenticatedPeers: most,
      totalInboundPeerCount: most,
      totalOutboundPeerCount: most,
      p75SCPFirstToSelfLatencyMs: most,
      p75SCPSelfToOtherLatencyMs: most,
      lostSyncCount: most,
      isValidator: true,
      maxInboundPeerCount: most,
      maxOutboundPeerCount: most,
    },
  });
  const key = new Uint8Array(32).fill(9);
  const encryptedBody = sealBox(key, body, new Uint8Array(32).fill(5))!;
  assert.deepEqual([body.length, encryptedBody.length], [12_452, 12_500]);
  assert.ok(encryptedBody.length < 64_000);
});

const TOPOLOGY = "topology survey";

test(`scenario: ${TOPOLOGY}: 5 normal nodes (A->B->C B->E)`, async () => {
  await using network = await new Network().start();
  await network.collect(A);
  const backlog = network.backlog(A);
  assert.equal(backlog.start(), true);
  assert.equal(backlog.start(), false, "it runs already");
  assert.deepEqual([...backlog.results.keys()], [idOf(A)]);
  await network.askAll(A, B);
  // What B says of its neighbours is how A learns of them.
  assertNeighbours(network.result(A, A), [D], [B]);
  assertNeighbours(network.result(A, B), [A], [C, E]);
  await network.askAll(A, C, E);
  assertNeighbours(network.result(A, C), [B], []);
  assertNeighbours(network.result(A, E), [B], []);
  assert.deepEqual(backlog.badResponseNodes, []);

  // The two ends of a link measured the same traffic, up to what was under way when each began and stopped.
  const from = network.result(A, A)!.outboundPeers[0].peerStats, to = network.result(A, B)!.inboundPeers[0].peerStats;
  assert.ok(from.messagesWritten > 20n && from.bytesWritten > 5000n);
  for (const [written, read] of [["messagesWritten", "messagesRead"], ["messagesRead", "messagesWritten"]] as const) {
    const difference = Number(from[written] - to[read]);
    assert.ok(Math.abs(difference) <= 10, `${written}: ${from[written]} and ${to[read]}`);
  }
  // What B got from A was new to it, what it got of A's own statements from others was not.
  assert.ok(to.uniqueFloodMessageRecv > 10n && to.uniqueFloodBytesRecv > 2000n);
  assert.equal(to.versionStr, network.nodes[A].engine.config.versionStr);
  assert.ok(to.secondsConnected >= 30n && to.secondsConnected < 60n);
  assert.deepEqual(network.result(A, B)!.inboundPeers[0].averageLatencyMs, 20, "a link takes 10 ms one way");
  // D asked nobody and was not asked.
  assert.equal(network.result(A, D), undefined);
  assert.equal(network.survey(D).phase, "reporting");
});

test(`scenario: ${TOPOLOGY}: D is not in transitive quorum, so A doesn't respond or relay to B`, async () => {
  await using network = await new Network().start();
  await network.collect(D);
  assert.deepEqual(network.phases(A, B, C, D, E), ["inactive", "inactive", "inactive", "reporting", "inactive"]);
  assert.equal(network.backlog(D).start(), true);
  await network.askAll(D, A, B);
  assert.deepEqual([...network.backlog(D).results.keys()].sort(), [A, B, D].map(idOf).sort());
  assert.deepEqual([network.result(D, A), network.result(D, B)], [null, null]);
  assertNeighbours(network.result(D, D), [], [A]);
  const ignored = network.nodes[A].events.filter(({ event }) => event === "surveyIgnored");
  assert.equal(ignored.length, 4, "START, STOP and two requests");
  for (const event of ignored) assert.equal((event as { reason?: string }).reason, "not_permitted");
  assert.ok(network.nodes[A].has(network.nodes[D]), "nobody is dropped for it");
  assert.equal(network.nodes[B].events.filter(({ event }) => event.startsWith("survey")).length, 0);
});

test(`scenario: ${TOPOLOGY}: B does not have C in SURVEYOR_KEYS, so B doesn't respond or relay to A`, async () => {
  await using network = await new Network().start();
  await network.collect(C);
  assert.deepEqual(network.phases(A, B, C), ["inactive", "inactive", "reporting"]);
  assert.equal(network.backlog(C).start(), true);
  await network.askAll(C, A, B);
  assert.deepEqual([network.result(C, A), network.result(C, B)], [null, null]);
  assertNeighbours(network.result(C, C), [B], []);
  assert.equal(network.nodes[A].events.filter(({ event }) => event.startsWith("survey")).length, 0);
});

test(`scenario: ${TOPOLOGY}: A (surveyor) filters out unknown responses`, async () => {
  await using network = await new Network().start();
  await network.collect(A);
  assert.equal(network.backlog(A).start(), true);
  const answers: SurveyPageAnswer[] = [];
  network.survey(A).onAnswer((answer) => answers.push(answer));
  const { engine, key } = network.nodes[B];
  const response = signResponse(key, {
    response: {
      surveyorPeerId: network.nodes[A].key.publicKey,
      surveyedPeerId: key.publicKey,
      ledgerNum: engine.ledgerSeq!,
      commandType: "topology",
      encryptedBody: new Uint8Array(100),
    },
    nonce: NONCE,
  });
  assert.ok(engine.sendTo(idOf(A), response));
  await network.world.run(1000);
  assert.deepEqual(answers, []);
  assert.deepEqual([...network.backlog(A).results.keys()], [idOf(A)]);
  assert.deepEqual(network.backlog(A).badResponseNodes, []);
  const ignored = network.nodes[A].events.find(({ event }) => event === "surveyIgnored");
  assert.deepEqual([(ignored as { reason?: string }).reason, network.nodes[A].has(network.nodes[B])], [
    "unknown_request",
    true,
  ]);
});

test("scenario: survey request process order: request processed fifo", async () => {
  await using network = await new Network().start();
  await network.collect(A);
  const backlog = network.backlog(A);
  assert.equal(backlog.start(), true);
  // Nineteen nodes that do not exist, in an order of their own.
  const added = Array.from({ length: 19 }, (_, i) => idOf(1000 + ((i * 7) % 19)));
  for (const nodeId of added) assert.equal(backlog.add({ nodeId, inboundIndex: 0, outboundIndex: 0 }), undefined);
  const sent = () => [...backlog.results.keys()].filter((nodeId) => nodeId !== idOf(A));
  const batches: number[] = [];
  for (let step = 0; step < 40; step++) {
    assert.deepEqual(sent(), added.slice(0, sent().length), "the oldest first");
    assert.deepEqual(backlog.backlog, added.slice(sent().length), "and the newest are left");
    if (batches.at(-1) !== sent().length) batches.push(sent().length);
    await network.world.run(1000);
  }
  assert.deepEqual(batches, [0, 10, 19]);
});

test("scenario: Time sliced static topology survey: Normal static topology survey", async () => {
  await using network = await new Network().start();
  const all = [A, B, C, D, E];
  const each = (phase: string) => all.map(() => phase);
  assert.deepEqual(network.phases(...all), each("inactive"));
  assert.equal(network.survey(A).startCollecting(NONCE).started, true);
  await network.world.run(1000);
  assert.deepEqual(network.phases(...all), each("collecting"));
  assert.deepEqual(all.map((index) => network.survey(index).nonce), all.map(() => NONCE));
  assert.deepEqual(all.map((index) => network.survey(index).state.surveyorId), all.map(() => idOf(A)));

  // Another's survey fails where it begins, and changes nothing.
  assert.deepEqual(network.survey(B).startCollecting(NONCE + 1), { started: false, reason: "survey_active" });
  assert.deepEqual(network.survey(B).stopCollecting(), { stopped: false, reason: "not_surveyor" });
  await network.world.run(29_000);
  assert.deepEqual(network.phases(...all), each("collecting"));
  assert.equal(network.survey(A).stopCollecting().stopped, true);
  await network.world.run(1000);
  assert.deepEqual(network.phases(...all), each("reporting"));
  assert.deepEqual(all.map((index) => network.survey(index).nonce), all.map(() => NONCE));
  assert.deepEqual(network.survey(A).stopCollecting(), { stopped: false, reason: "not_collecting" });

  const backlog = network.backlog(A);
  assert.equal(backlog.start(), true);
  assert.equal(backlog.add({ nodeId: idOf(B), inboundIndex: 0, outboundIndex: 0 }), undefined);
  assert.equal(backlog.add({ nodeId: idOf(B), inboundIndex: 0, outboundIndex: 0 }), "queued_already");
  assert.equal(backlog.add({ nodeId: idOf(A), inboundIndex: 0, outboundIndex: 0 }), "self");
  await network.askAll(A, C, D, E);
  assertNeighbours(network.result(A, A), [D], [B]);
  assertNeighbours(network.result(A, B), [A], [C, E]);
  assertNeighbours(network.result(A, C), [B], []);
  assertNeighbours(network.result(A, D), [], [A]);
  assertNeighbours(network.result(A, E), [B], []);
  for (const index of all) {
    const { nodeData } = network.result(A, index)!;
    assert.equal(nodeData.isValidator, index <= C, `${index}`);
    assert.deepEqual([nodeData.addedAuthenticatedPeers, nodeData.droppedAuthenticatedPeers], [0, 0]);
    assert.equal(nodeData.lostSyncCount, 0);
  }
  // Indices (1, 1) at B leave nobody inbound and one peer outbound. The entry holds the latest page.
  assert.equal(backlog.add({ nodeId: idOf(B), inboundIndex: 1, outboundIndex: 1 }), undefined);
  assert.equal(network.result(A, B), undefined);
  await network.world.run(20_000);
  const second = network.result(A, B)!;
  assert.deepEqual([idsOf(second.inboundPeers), idsOf(second.outboundPeers)], [[], sorted(C, E).slice(1)]);
  assert.deepEqual([second.nodeData.totalInboundPeerCount, second.nodeData.totalOutboundPeerCount], [1, 2]);

  // A START from B in the reporting phase fails too.
  assert.equal(network.survey(B).startCollecting(NONCE + 1).started, false);
  await network.world.until(() => network.phases(...all).every((phase) => phase === "inactive"), "all end", PHASE_MS);
  assert.deepEqual(all.map((index) => network.survey(index).nonce), all.map(() => undefined));
  await network.world.run(20_000);
  assert.equal(backlog.running, false);
  assert.ok(network.result(A, B), "results stay readable");

  // A second survey begins, and nobody stops it: collecting ends by itself.
  assert.equal(network.survey(A).startCollecting(NONCE + 2).started, true);
  await network.world.run(PHASE_MS - 5000);
  assert.deepEqual(network.phases(...all), each("collecting"));
  await network.world.run(10_000);
  assert.deepEqual(network.phases(...all), each("reporting"));
  assert.deepEqual(all.map((index) => network.survey(index).nonce), all.map(() => NONCE + 2));
});

test("scenario: Time sliced dynamic topology survey", async () => {
  await using network = await new Network(6 * 60_000).start();
  assert.equal(network.survey(A).startCollecting(NONCE).started, true);
  await network.world.run(10_000);
  // F comes and dials B, E goes.
  await network.add(F);
  await network.link(F, B);
  await network.world.until(() => network.nodes[F].engine.ledgerSeq !== undefined, "F knows the ledger");
  const [b, e] = [network.nodes[B], network.nodes[E]];
  assert.ok(e.engine.disconnect(idOf(B)));
  await network.world.until(() => !b.has(e), "E is gone");
  await network.world.run(5000);
  assert.deepEqual(network.phases(A, B, C, D, E, F), [
    ...["collecting", "collecting", "collecting", "collecting", "collecting"],
    "inactive",
  ]);
  assert.equal(network.survey(A).stopCollecting().stopped, true);
  await network.world.run(1000);
  // E missed STOP: it goes on collecting, also when it is back.
  await network.link(B, E);
  await network.world.run(5000);
  assert.deepEqual(network.phases(A, B, C, D, E, F), [
    ...["reporting", "reporting", "reporting", "reporting"],
    ...["collecting", "inactive"],
  ]);
  assert.equal(network.backlog(A).start(), true);
  await network.askAll(A, B, C, E, F);
  // B names only who was there all the time; E, back on a new connection, is not.
  assertNeighbours(network.result(A, B), [A], [C]);
  const { addedAuthenticatedPeers, droppedAuthenticatedPeers } = network.result(A, B)!.nodeData;
  assert.deepEqual([addedAuthenticatedPeers, droppedAuthenticatedPeers], [1, 1]);
  assertNeighbours(network.result(A, C), [B], []);
  assert.deepEqual([network.result(A, E), network.result(A, F)], [null, null]);

  // F's own survey: everybody ignores it, F alone collects.
  assert.equal(network.survey(F).startCollecting(NONCE + 1).started, true);
  await network.world.run(2000);
  assert.deepEqual(network.phases(A, B, C, D, E, F), [
    ...["reporting", "reporting", "reporting", "reporting"],
    ...["collecting", "collecting"],
  ]);
  assert.equal(network.survey(E).nonce, NONCE);
  const all = [A, B, C, D, E, F];
  const over = () => network.phases(...all).every((phase) => phase === "inactive");
  await network.world.until(over, "all end", 13 * 60_000);
});
