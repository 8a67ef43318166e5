/** Surveys of the network twin in virtual time, and the comparison of what one found with the twin's truth. */
import assert from "node:assert/strict";
import { standalone } from "../../overlay/base/config.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { MAX_REQUESTS_PER_LEDGER } from "../../overlay/survey/message_limiter.ts";
import { DirectBackend } from "../../survey/topology/direct_backend.ts";
import { linksOf } from "../../survey/topology/links.ts";
import { type SessionOptions, SurveySession } from "../../survey/topology/session.ts";
import { type StoredNode, SurveyStore } from "../../survey/topology/survey_store.ts";
import { emptyDocument, type SurveyedNode } from "../../survey/topology/types.ts";
import { endpointOf, type TwinPlan } from "../../survey/twin/node_plan.ts";
import type { TwinSurveyOptions } from "../../survey/twin/survey_roles.ts";
import { planTwin, type TwinOptions } from "../../survey/twin/plan.ts";
import { type SurveyTruth, surveyTruth, type SurveyTruthState } from "../../survey/twin/survey_truth.ts";
import type { TwinSettings } from "../../survey/twin/twin.ts";
import { type TwinWorld, twinWorld } from "./crawl_kit.ts";

/** The identity that surveys. */
export const SURVEYOR_SEED = new Uint8Array(32).fill(0x5a);
export const SURVEYOR = encodeNodeId(signingKey(SURVEYOR_SEED).publicKey);
/** Collecting, ms: late and restarting nodes need 11 s. */
const COLLECT_MS = 20_000;

/** A mix in which every node takes part in the network. */
export const ALL_LIVE = {
  silent: 0,
  banning: 0,
  "other-network": 0,
  "other-version": 0,
  "not-stellar": 0,
  dead: 0,
};

/** A plan that {@link SURVEYOR} may survey. */
export function surveyedPlan(
  options: Omit<TwinOptions, "survey"> & { survey?: Partial<TwinSurveyOptions> },
): TwinPlan {
  return planTwin({ ...options, survey: { surveyorKeys: [SURVEYOR], ...options.survey } });
}

/** What the relays were heard to do. */
class RelayWatch {
  /** Pages asked for, by the ledger number of the request. */
  readonly asked = new Map<number, Set<string>>();
  /** Requests that a limiter refused though it did not have them. */
  readonly refused: string[] = [];
  /** Most requests that one node took with one ledger number. */
  most = 0;

  watch(world: TwinWorld): void {
    for (const node of world.twin.nodes) {
      const taken = new Map<number, Set<string>>();
      node.survey?.manager.onHeard(({ type, ledgerNum, surveyedId, verdict }) => {
        if (type !== "request") return;
        const known = at(taken, ledgerNum);
        at(this.asked, ledgerNum).add(surveyedId!);
        if (verdict === "relayed" || verdict === "answered") known.add(surveyedId!);
        else if (verdict === "limited" && !known.has(surveyedId!)) {
          this.refused.push(`${node.plan.name}: ${surveyedId} in ${ledgerNum}`);
        }
        this.most = Math.max(this.most, known.size);
      });
    }
  }

  get requests(): number {
    return [...this.asked.values()].reduce((sum, nodes) => sum + nodes.size, 0);
  }

  /** Ledgers from the first request to the last, both included. */
  get ledgers(): number {
    return this.asked.size === 0 ? 0 : Math.max(...this.asked.keys()) - Math.min(...this.asked.keys()) + 1;
  }
}

/** A twin and surveys of it by {@link SURVEYOR}, all in one store. */
export class SurveyTwinWorld implements AsyncDisposable {
  readonly relays = new RelayWatch();
  #backends: DirectBackend[] = [];
  #surveys = 0;

  private constructor(readonly world: TwinWorld, readonly store: SurveyStore) {}

  static async open(plan: TwinPlan, settings: Partial<TwinSettings> = {}): Promise<SurveyTwinWorld> {
    const world = await twinWorld(plan, { statements: ["externalize"], ...settings });
    const { clock } = world;
    const store = await SurveyStore.open(":memory:", { networkPassphrase: plan.passphrase, clock });
    const result = new SurveyTwinWorld(world, store);
    result.relays.watch(world);
    // The ledger is known to all before anybody comes.
    await clock.advance(2 * world.twin.ledgerMs);
    return result;
  }

  /** A survey that is to begin. `nodes`: node ids to ask beside those that are found. */
  create(options: { nodes?: string[]; collectMs?: number } = {}): number {
    const { nodes = [], collectMs = COLLECT_MS } = options;
    const nonce = 1000 + ++this.#surveys;
    const owner = "test", toolVersion = "0";
    return this.store.create({
      nonce,
      surveyor: SURVEYOR,
      toolVersion,
      owner,
      options: { targets: [], collectMs, nodes },
    });
  }

  /** Connections of a new process, as it were, with some nodes of the twin (indices; the seeds by default). */
  async backend(surveyId: number, connections: readonly number[] = this.world.plan.seeds): Promise<DirectBackend> {
    const { plan, network, clock } = this.world;
    const backend = await DirectBackend.open({
      config: standalone({
        networkPassphrase: plan.passphrase,
        preferredPeers: connections.map((index) => endpointOf(plan.nodes[index])),
        closeTimeMs: this.world.twin.ledgerMs,
      }),
      transport: network.transport(`127.9.0.${this.#backends.length + 1}`),
      resolver: network,
      clock,
      random: new SeededRandom(this.#backends.length + 1),
      seed: SURVEYOR_SEED,
      nonce: this.store.get(surveyId)!.nonce,
      connections: connections.length,
    });
    this.#backends.push(backend);
    return backend;
  }

  /** Drives a survey over a backend. */
  session(surveyId: number, backend: DirectBackend, more: Partial<SessionOptions> = {}): SurveySession {
    const { clock } = this.world, { store } = this;
    const signal = new AbortController().signal;
    return new SurveySession({ backend, store, surveyId, owner: "test", clock, signal, ...more });
  }

  /** A whole survey from START to its end; its id. */
  async survey(
    options: { nodes?: string[]; connections?: readonly number[]; session?: Partial<SessionOptions> } = {},
  ): Promise<{ id: number; session: SurveySession }> {
    const id = this.create(options);
    const backend = await this.backend(id, options.connections);
    const session = this.session(id, backend, options.session);
    assert.equal(await this.world.clock.run(session.run("done")), "reached");
    await this.close(backend);
    return { id, session };
  }

  async close(backend: DirectBackend): Promise<void> {
    await this.world.clock.run(backend.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#backends) await this.close(backend);
    await this.world.clock.run(this.world.twin.stop());
    this.store.close();
  }
}

/** What is compared: states, who joined late, lists of node ids, figures, and links with who dialed. */
export interface Findings {
  states: Record<string, string>;
  late: string[];
  answers: Record<string, unknown>;
  /** `dialer > dialed`, sorted. */
  links: string[];
}

/** What a survey found, without the surveyor. */
export function findings(nodes: readonly StoredNode[]): Findings {
  const document = emptyDocument();
  const states: Findings["states"] = {}, answers: Findings["answers"] = {};
  for (const { nodeId, state, node } of nodes) {
    states[nodeId] = state;
    if (node === undefined) continue;
    document.nodes.set(nodeId, node);
    answers[nodeId] = answerOf(node);
  }
  const links = linksOf(document).filter(({ ends }) => !ends.includes(SURVEYOR));
  for (const { ends, disagreements, dialer } of links) {
    assert.deepEqual(disagreements, [], ends.join(" "));
    assert.ok(dialer !== undefined);
  }
  return {
    states: sorted(states),
    late: nodes.filter((node) => node.late).map((node) => node.nodeId).sort(),
    answers: sorted(answers),
    links: links.map(({ ends, dialer }) => `${dialer} > ${ends.find((end) => end !== dialer)}`).sort(),
  };
}

function answerOf({ data, inboundPeers, outboundPeers }: SurveyedNode): unknown {
  const surveyors = inboundPeers.filter((peer) => peer.nodeId === SURVEYOR).length;
  const ids = (peers: SurveyedNode["inboundPeers"]) =>
    peers.map((peer) => peer.nodeId).filter((id) => id !== SURVEYOR).sort();
  return {
    inboundPeers: ids(inboundPeers),
    outboundPeers: ids(outboundPeers),
    numTotalInboundPeers: data.numTotalInboundPeers - surveyors,
    numTotalOutboundPeers: data.numTotalOutboundPeers,
    addedAuthenticatedPeers: data.addedAuthenticatedPeers,
    droppedAuthenticatedPeers: data.droppedAuthenticatedPeers,
    lostSyncCount: data.lostSyncCount,
    isValidator: data.isValidator,
    maxInboundPeerCount: data.maxInboundPeerCount,
    maxOutboundPeerCount: data.maxOutboundPeerCount,
  };
}

/** What must be found when all nodes of `given` were asked by their ids, and the others only when an answer names them. */
export function expected(truth: SurveyTruth, given: ReadonlySet<string> = new Set()): Findings {
  const words: Record<SurveyTruthState, string> = {
    answers: "answered",
    silent: "silent",
    unseen: "unreachable",
    late: "unreachable",
  };
  const met = truth.nodes.filter(({ state, nodeId }) => state === "answers" || state === "silent" || given.has(nodeId));
  const answers: Findings["answers"] = {};
  for (const { nodeId, isValidator, answer } of truth.nodes) {
    if (answer === undefined) continue;
    answers[nodeId] = {
      ...answer,
      isValidator,
      numTotalInboundPeers: answer.inboundPeers.length,
      numTotalOutboundPeers: answer.outboundPeers.length,
    };
  }
  return {
    states: sorted(Object.fromEntries(met.map(({ nodeId, state }) => [nodeId, words[state]]))),
    // From outside, who joined late and who stands behind nodes that pass nothing on look the same.
    late: met.filter(({ state }) => state === "late" || state === "unseen").map(({ nodeId }) => nodeId).sort(),
    answers: sorted(answers),
    links: truth.links.map(({ from, to }) => `${from} > ${to}`).sort(),
  };
}

/** Fails unless the survey found the truth, and kept to the relays' limits on the way. */
export function assertSurveyTruth(
  twin: SurveyTwinWorld,
  surveyId: number,
  options: { given?: readonly string[]; connections?: readonly number[] } = {},
): SurveyTruth {
  const truth = surveyTruth(twin.world.plan, options.connections);
  const nodes = twin.store.nodes(surveyId);
  const found = findings(nodes), wanted = expected(truth, new Set(options.given));
  assert.deepEqual(found.states, wanted.states);
  assert.deepEqual(found.links, wanted.links);
  assert.deepEqual(found.answers, wanted.answers);
  assert.deepEqual(found.late, wanted.late);
  assert.deepEqual(twin.relays.refused, []);
  assert.ok(twin.relays.most <= MAX_REQUESTS_PER_LEDGER, `a node took ${twin.relays.most} requests of a ledger`);
  const versions = new Map(truth.nodes.map((node) => [node.nodeId, node.versionStr]));
  for (const { node } of nodes) {
    for (const peer of [...node?.inboundPeers ?? [], ...node?.outboundPeers ?? []]) {
      if (peer.nodeId !== SURVEYOR) assert.equal(peer.version, versions.get(peer.nodeId));
    }
  }
  return truth;
}

function at<T>(map: Map<number, Set<T>>, key: number): Set<T> {
  let set = map.get(key);
  if (set === undefined) map.set(key, set = new Set());
  return set;
}

function sorted<T>(record: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1));
}
