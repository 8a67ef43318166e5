/**
 * A stellar-core as its HTTP commands show it during a survey, over a known network: phases, the list of nodes to ask, batches
 * every 15 s, results with their quirks. For what it answers see survey.md section 10; behaviour follows stellar-core
 * SurveyManager.cpp and SurveyDataManager.cpp at v26 (`head`), or v22, where some errors are exceptions.
 */
import { type Clock, systemClock, type Timer } from "../../overlay/base/clock.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { SeededRandom } from "../../overlay/base/random.ts";
import { nodeFields } from "../../survey/topology/fields.ts";
import { type Json, printAsCore } from "../../survey/topology/json_text.ts";
import { sortPeers } from "../../survey/topology/merge.ts";
import { modelNetwork, modelNode, modelPeer, type NetworkModel } from "../../survey/topology/planner_test_kit.ts";
import { peerJson } from "../../survey/topology/survey_result.ts";
import type { CoreReply, CoreRequest } from "./core_http_server.ts";

const COLLECTING_MS = 30 * 60_000, REPORTING_MS = 3 * 3600_000;
const BATCH = 10, PAGE = 25;

/** How the node and its network are. Times in ms. */
export interface CoreModelOptions {
  clock?: Clock;
  network: NetworkModel;
  /** The node that is driven; a member of the network. */
  self: string;
  batchMs?: number;
  /** From a batch to the answers to it. */
  answerMs?: number;
  release?: "head" | "v22";
  passphrase?: string;
  /** Nodes that do not answer. */
  silent?: Iterable<string>;
  /** Nodes whose answer does not open. */
  bad?: Iterable<string>;
  /** Answers to the n-th request to a node, counted from 1, come this much later. */
  delay?: (nodeId: string, nth: number) => number;
  /** Ledgers are this long. */
  ledgerMs?: number;
}

interface Entry {
  scalars: { [key: string]: Json };
  inboundPeers: Json[];
  outboundPeers: Json[];
}

/** See the head of this file. */
export class CoreSurveyModel {
  /** Replaced in a test that needs it. */
  state = "Synced!";
  booting = false;
  readonly silent: Set<string>;
  readonly bad: Set<string>;
  /** Requests that left, in order, with the time. */
  readonly sent: { nodeId: string; inboundIndex: number; outboundIndex: number; atMs: number }[] = [];
  /** Longest list of nodes to ask. */
  longestBacklog = 0;
  /** Who surveys: us, or another node of the network. */
  surveyor: "self" | "other" = "self";
  phase: "inactive" | "collecting" | "reporting" = "inactive";
  nonce: number | undefined;
  readonly #clock: Clock;
  readonly #options: Required<Omit<CoreModelOptions, "clock" | "silent" | "bad">>;
  #startedOnMs: number;
  #phaseSinceMs = 0;
  #looping = false;
  /** Stands for the key pair: answers to another one's requests do not open. */
  #key = 0;
  #timer: Timer | undefined;
  /** undefined: before the first survey. An entry is null, `{}` (null here with `emptied`), or an answer. */
  #topology: Map<string, Entry | null> | undefined;
  readonly #emptied = new Set<string>();
  #queue: string[] = [];
  #indices = new Map<string, [number, number]>();
  #badNodes = new Set<string>();
  #printedBacklog = false;
  #requests = new Map<string, number>();

  constructor(options: CoreModelOptions) {
    this.#clock = options.clock ?? systemClock;
    this.silent = new Set(options.silent);
    this.bad = new Set(options.bad);
    this.#options = {
      batchMs: 15_000,
      answerMs: 800,
      release: "head",
      passphrase: "Standalone Network ; February 2017",
      delay: () => 0,
      ledgerMs: 5000,
      ...options,
    };
    this.#startedOnMs = this.#clock.wallMs() - 3_600_000;
  }

  /** Another process: the survey is gone. */
  restart(): void {
    this.#startedOnMs = this.#clock.wallMs();
    this.phase = "inactive";
    this.nonce = undefined;
    this.#stopLoop();
    this.#topology = undefined;
    this.#queue = [];
    this.#badNodes.clear();
    this.#printedBacklog = false;
  }

  /** A survey of another node reaches this one. */
  foreignSurvey(phase: "collecting" | "reporting"): void {
    this.phase = phase;
    this.nonce = 99;
    this.surveyor = "other";
    this.#phaseSinceMs = this.#clock.nowMs();
  }

  /** Answers a request, as the node would. */
  readonly answer = (request: CoreRequest): CoreReply => {
    if (this.booting) return '{"error": "Core is booting, try again later"}';
    try {
      return this.#answer(request);
    } catch (error) {
      return `{"exception": "${(error as Error).message}"}`;
    }
  };

  /** Stops its timer. */
  close(): void {
    this.#stopLoop();
  }

  #answer({ command, query }: CoreRequest): CoreReply {
    this.#tick();
    const number = (name: string): number => {
      const text = query.get(name);
      if (text === undefined) throw new Error(`'${name}' argument is required!`);
      if (!/^\d+$/.test(text) || Number(text) > 0xffffffff) throw new Error(`Failed to parse '${name}' argument`);
      return Number(text);
    };
    const { self } = this.#options;
    switch (command) {
      case "info":
        return printAsCore(this.#info());
      case "scp":
        return printAsCore({ you: query.get("fullkeys") === "true" ? self : "self", scp: null, queue: null });
      case "peers":
        return printAsCore(this.#peers());
      case "startsurveycollecting": {
        const nonce = number("nonce");
        if (this.phase !== "inactive") {
          return "Failed to start survey collecting. Another survey is active on the network.";
        }
        this.phase = "collecting";
        this.surveyor = "self";
        this.nonce = nonce;
        this.#phaseSinceMs = this.#clock.nowMs();
        return "Requested network to start survey collecting.";
      }
      case "stopsurveycollecting":
        if (this.phase === "inactive") {
          return "Failed to stop survey collecting. No survey is active on the network.";
        }
        if (this.phase === "collecting" && this.surveyor === "self") this.#report();
        return "Requested network to stop survey collecting.";
      case "surveytopologytimesliced": {
        const node = query.get("node");
        if (node === undefined) throw new Error("'node' argument is required!");
        if (!/^G[A-Z2-7]{55}$/.test(node)) throw new Error("bad public key");
        const indices: [number, number] = [number("inboundpeerindex"), number("outboundpeerindex")];
        const began = this.#beginLoop();
        this.#add(node, indices);
        return `Adding node.${began ? "Survey started " : "Survey already running!"}`;
      }
      case "stopsurvey":
        this.#stopLoop();
        return "survey stopped";
      case "getsurveyresult":
        return printAsCore(this.#result());
      default:
        return {
          status: 404,
          contentType: "text/html",
          body: "<b>Welcome to stellar-core!</b><p>...</p>",
        };
    }
  }

  #info(): Json {
    const wallMs = this.#clock.wallMs();
    const { ledgerMs, passphrase } = this.#options;
    return {
      info: {
        build: "stellar-core model",
        ledger: {
          age: 2,
          closeTime: Math.floor(wallMs / 1000) - 2,
          num: 1000 + Math.floor(this.#clock.nowMs() / ledgerMs),
        },
        network: passphrase,
        peers: { authenticated_count: 3, pending_count: 0 },
        startedOn: new Date(this.#startedOnMs).toISOString().replace(/\.\d+Z/, "Z"),
        state: this.state,
      },
    };
  }

  #peers(): Json {
    const node = this.#options.network.get(this.#options.self)!;
    const list = (peers: typeof node.inboundPeers): Json =>
      peers.length === 0 ? null : peers.map((peer) => ({
        address: "127.0.0.1:11625",
        id: peer.nodeId,
        elapsed: 5,
        latency: 3,
        olver: 40,
        ver: peer.version,
      }));
    return {
      authenticated_peers: { inbound: list(node.inboundPeers), outbound: list(node.outboundPeers) },
      pending_peers: { inbound: null, outbound: null },
    };
  }

  #tick(): void {
    const passedMs = this.#clock.nowMs() - this.#phaseSinceMs;
    if (this.phase === "collecting" && passedMs > COLLECTING_MS) this.#report();
    else if (this.phase === "reporting" && passedMs > REPORTING_MS) {
      this.phase = "inactive";
      this.nonce = undefined;
    }
  }

  #report(): void {
    this.phase = "reporting";
    this.#phaseSinceMs = this.#clock.nowMs();
  }

  #logOrThrow(message: string): void {
    if (this.#options.release === "v22") throw new Error(message);
  }

  #beginLoop(): boolean {
    if (this.#looping) return false;
    this.#looping = true;
    this.#topology = undefined;
    this.#emptied.clear();
    this.#badNodes.clear();
    this.#queue = [];
    this.#printedBacklog = false;
    this.#key++;
    if (this.phase === "collecting") {
      // An inconsistency: the survey's state is erased.
      this.phase = "inactive";
      this.nonce = undefined;
    } else if (this.phase === "reporting") this.#put(this.#options.self, 0, 0, Infinity);
    if (this.phase !== "reporting") this.#logOrThrow("the surveying node didn't have finalized surveying data.");
    this.#batch();
    return true;
  }

  #stopLoop(): void {
    this.#looping = false;
    this.#timer?.cancel();
  }

  #add(node: string, indices: [number, number]): void {
    if (!this.#looping) {
      this.#logOrThrow(`Cannot add node ${node} to survey backlog because survey is not running`);
      return;
    }
    if (this.#queue.includes(node) || node === this.#options.self) {
      this.#logOrThrow("addPeerToBacklog failed: Peer is already in the backlog, or peer is self.");
    } else {
      this.#badNodes.delete(node);
      this.#topology ??= new Map();
      // clear() of a null stays null, of an object leaves an empty one.
      if (this.#topology.get(node)) this.#emptied.add(node);
      this.#topology.set(node, null);
      this.#queue.push(node);
      this.longestBacklog = Math.max(this.longestBacklog, this.#queue.length);
    }
    this.#indices.set(node, indices);
  }

  #batch(): void {
    this.#tick();
    if (!this.#looping || this.phase !== "reporting") return this.#stopLoop();
    for (const nodeId of this.#queue.splice(0, BATCH)) {
      const [inboundIndex, outboundIndex] = this.#indices.get(nodeId)!;
      this.sent.push({ nodeId, inboundIndex, outboundIndex, atMs: this.#clock.nowMs() });
      const nth = (this.#requests.get(nodeId) ?? 0) + 1;
      this.#requests.set(nodeId, nth);
      const key = this.#key, nonce = this.nonce;
      // Nodes answer him only who sent START.
      if (this.surveyor !== "self" || this.silent.has(nodeId) || !this.#options.network.has(nodeId)) continue;
      this.#clock.setTimer(this.#options.answerMs + this.#options.delay(nodeId, nth), () => {
        if (!this.#looping || this.nonce !== nonce) return;
        if (key !== this.#key || this.bad.has(nodeId)) this.#badNodes.add(nodeId);
        else this.#put(nodeId, inboundIndex, outboundIndex, PAGE);
      });
    }
    this.#timer = this.#clock.setTimer(this.#options.batchMs, () => this.#batch());
  }

  #put(nodeId: string, inboundIndex: number, outboundIndex: number, length: number): void {
    const node = this.#options.network.get(nodeId)!;
    this.#topology ??= new Map();
    const entry = this.#topology.get(nodeId) ?? { scalars: {}, inboundPeers: [], outboundPeers: [] };
    entry.scalars = nodeFields(node.data);
    // Appended, whatever was there.
    entry.inboundPeers.push(...node.inboundPeers.slice(inboundIndex, inboundIndex + length).map(peerJson));
    entry.outboundPeers.push(...node.outboundPeers.slice(outboundIndex, outboundIndex + length).map(peerJson));
    this.#topology.set(nodeId, entry);
    this.#emptied.delete(nodeId);
  }

  #result(): Json {
    const list = (items: readonly string[], wasThere: boolean): Json =>
      items.length > 0 ? [...items].sort() : wasThere ? [] : null;
    if (this.#queue.length > 0) this.#printedBacklog = true;
    const result: { [key: string]: Json } = {
      surveyInProgress: this.#looping,
      backlog: list(this.#queue, this.#printedBacklog),
      badResponseNodes: list([...this.#badNodes], false),
    };
    if (this.#topology !== undefined) {
      result.topology = Object.fromEntries(
        [...this.#topology].map(([id, entry]): [string, Json] => {
          if (entry === null) return [id, this.#emptied.has(id) ? {} : null];
          const peers = (list: Json[]): Json => list.length === 0 ? null : list;
          return [id, {
            ...entry.scalars,
            inboundPeers: peers(entry.inboundPeers),
            outboundPeers: peers(entry.outboundPeers),
          }];
        }),
      );
    }
    return result;
  }
}

/** A network as {@link modelNetwork} makes it, with node ids that have a good checksum. */
export function coreNetwork(
  random: SeededRandom,
  shape: { nodes: number; target: number; hubs: number },
): NetworkModel {
  const model = modelNetwork(random, shape);
  const ids = new Map([...model.keys()].map((id) => [id, encodeNodeId(random.bytes(32))]));
  const renamed = (peers: readonly { nodeId: string }[]) =>
    sortPeers(peers.map((peer) => modelPeer(ids.get(peer.nodeId)!)));
  return new Map([...model.values()].map((node) => {
    const nodeId = ids.get(node.nodeId)!;
    return [
      nodeId,
      modelNode(nodeId, { inboundPeers: renamed(node.inboundPeers), outboundPeers: renamed(node.outboundPeers) }),
    ];
  }));
}
