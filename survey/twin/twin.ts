/**
 * The network twin: a fleet of nodes in one process, each with its own key and address, on a network given from outside
 * (TCP on loopback addresses, or a MemoryNetwork). Validators close a slot every few seconds; the nodes relay it.
 */
import { toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { sleep } from "../../overlay/base/clock.ts";
import type { Random } from "../../overlay/base/random.ts";
import { type FloodId, REMEMBERED_LEDGERS } from "../../overlay/flood/floodgate.ts";
import type { Transport } from "../../overlay/transport/transport.ts";
import type { SurveyEvent } from "../../overlay/survey/survey_event.ts";
import { type Fleet, TwinNode } from "./node.ts";
import { endpointOf, type SurveyRole, type TwinNodePlan, type TwinPlan } from "./node_plan.ts";
import {
  knowsQuorumSet,
  quorumSetOf,
  type SignedEnvelope,
  STATEMENT_KINDS,
  type StatementKind,
  Validator,
} from "./scp.ts";
import { type FleetSurvey, fleetSurvey } from "./survey_fleet.ts";

/** Where and how a twin runs. */
export interface TwinSettings {
  clock: Clock;
  random: Random;
  /** The network as a host sees it: `memory.transport`, or a TCP transport that dials from that host. */
  transportFor: (host: string) => Transport;
  /** Time between two slots, ms; default 5000. */
  ledgerMs?: number;
  /** What validators say of a slot; everything by default. EXTERNALIZE alone makes a large simulation cheaper. */
  statements?: readonly StatementKind[];
  /** First slot that is closed. */
  firstSlot?: number;
  /** A slot was externalized by the last of the validators. */
  onSlot?: (slot: number) => void;
  /** Length of either phase of a survey, ms; upstream's 30 minutes and 3 hours when absent. */
  surveyPhaseMs?: number;
  /** A survey began: a node saw the first START of it. */
  onSurvey?: (survey: { nonce: number; surveyorId: string }) => void;
  /** Late nodes have joined and others have restarted, after the first survey began. */
  onMembersChanged?: (change: MembersChange) => void;
}

/** What happened after a survey began. */
export interface MembersChange {
  joined: number;
  restarted: number;
  /** Connections that were made, and those that did not come about. */
  links: number;
  failedLinks: number;
}

/** What a start did. */
export interface TwinStart {
  /** Nodes that listen. */
  nodes: number;
  /** Connections between them that stand, and those that did not come about. */
  links: number;
  failedLinks: number;
  tookMs: number;
}

/** Time of a statement after its slot began, for 5 s between slots. The measure is pubnet's: most of a slot is waiting. */
const KIND_AT_MS: Record<StatementKind, number> = { nominate: 0, prepare: 300, confirm: 550, externalize: 800 };
const USUAL_LEDGER_MS = 5000;
/** A large twin keeps fewer slots than upstream: each costs a record per node and statement. */
const LARGE = 300;
const LARGE_REMEMBERED_SLOTS = 3;
/** Listeners opened, and dials made, at the same time. The second stays below the backlog of one listener. */
const LISTENS_AT_ONCE = 256;
const DIALS_AT_ONCE = 64;
/** Time for the last words to leave, ms. */
const GOODBYE_MS = 20;
/** Period of the surveys' tick, ms. Source: stellar-core OverlayManagerImpl.cpp PEER_IP_RESOLVE_DELAY's timer, survey.md section 2. */
const TICK_MS = 3000;
/** From the first START to the nodes that join or restart, ms, and at least in ledgers: the START has reached everybody. */
const CHANGE_AFTER_MS = 3000;
const CHANGE_AFTER_LEDGERS = 2;
/** How long a node that restarts is away, ms. */
const RESTART_MS = 500;

/** A running twin. */
export class Twin implements Fleet {
  readonly plan: TwinPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly #nodes: TwinNode[];
  readonly ledgerMs: number;
  readonly rememberedSlots: number;
  readonly #transportFor: (host: string) => Transport;
  readonly #transports = new Map<string, Transport>();
  readonly #statements: readonly StatementKind[];
  readonly #onSlot: ((slot: number) => void) | undefined;
  readonly #members = new Set<string>();
  readonly #memberHosts: Set<string>;
  /** BOUNDED: the statements of `rememberedSlots` + 1 slots. */
  readonly #envelopes = new Map<FloodId, SignedEnvelope>();
  readonly survey: FleetSurvey | undefined;
  readonly #onMembersChanged: TwinSettings["onMembersChanged"];
  /** The surveys' tick, and what is to happen after the first START. */
  #tickTimer: Timer | undefined;
  #changeTimer: Timer | undefined;
  #validators: Validator[] = [];
  /** Quorum sets by hash, and the validators that use them. */
  readonly #quorumSets = new Map<string, { message: Uint8Array; users: number[] }>();
  /** Timers of the current slot and of the next. */
  #timers: Timer[] = [];
  #slot: number;
  #surveyNonce: number | undefined;
  #closeTime = 0;
  #stopped = false;

  constructor(plan: TwinPlan, settings: TwinSettings) {
    this.plan = plan;
    this.clock = settings.clock;
    this.random = settings.random;
    this.ledgerMs = settings.ledgerMs ?? USUAL_LEDGER_MS;
    this.rememberedSlots = plan.nodes.length > LARGE ? LARGE_REMEMBERED_SLOTS : REMEMBERED_LEDGERS;
    this.#transportFor = settings.transportFor;
    this.#onSlot = settings.onSlot;
    this.#statements = settings.statements ?? STATEMENT_KINDS;
    this.#slot = settings.firstSlot ?? 1000;
    this.#onMembersChanged = settings.onMembersChanged;
    this.survey = plan.surveyorKeys === undefined ? undefined : fleetSurvey(plan, plan.surveyorKeys, {
      phaseMs: settings.surveyPhaseMs,
      onEvent: (_node, event) => this.#onSurveyEvent(event, settings.onSurvey),
    });
    this.#nodes = plan.nodes.map((node) => new TwinNode(node, this));
    // When all share one address, a stranger may come from it as well.
    this.#memberHosts = new Set(plan.nodes.map((node) => node.host));
    if (this.#memberHosts.size < plan.nodes.length) this.#memberHosts.clear();
  }

  /** By index. A node that restarts is another object then. */
  get nodes(): readonly TwinNode[] {
    return this.#nodes;
  }

  /** The slot that is being closed, or was closed last. */
  get slot(): number {
    return this.#slot;
  }

  /**
   * Opens all listeners, makes the connections of the plan, and starts the validators.
   * @throws OverlayError `port_in_use`, `listen_failed`; nothing is left open then
   */
  async start(): Promise<TwinStart> {
    const startedMs = this.clock.nowMs();
    // Who is late for surveys is late only where there can be one.
    const nodes = this.nodes.filter(({ plan }) => this.survey === undefined || plan.surveyRole !== "late");
    try {
      for (let at = 0; at < nodes.length; at += LISTENS_AT_ONCE) {
        await Promise.all(nodes.slice(at, at + LISTENS_AT_ONCE).map((node) => node.listen()));
      }
    } catch (error) {
      for (const node of nodes) {
        void node.close();
        node.destroy();
      }
      throw error;
    }
    const present = new Set(nodes.map(({ plan }) => plan.index));
    const result = await this.#connect((from, to) => present.has(from) && present.has(to));
    this.#startValidators();
    if (this.survey !== undefined && !this.#stopped) this.#tick();
    return { nodes: nodes.length, ...result, tookMs: this.clock.nowMs() - startedMs };
  }

  /** Ends everything: strangers are told `shutdown`. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#tickTimer?.cancel();
    this.#changeTimer?.cancel();
    for (const node of this.nodes) void node.close();
    await sleep(this.clock, GOODBYE_MS);
    for (const node of this.nodes) node.destroy();
  }

  /** Makes the connections of the plan for which `wanted` says so. */
  async #connect(wanted: (from: number, to: number) => boolean): Promise<{ links: number; failedLinks: number }> {
    const pairs = this.plan.nodes.flatMap((node) => node.links.map((to) => [node.index, to] as const))
      .filter(([from, to]) => wanted(from, to));
    let next = 0, links = 0;
    const worker = async (): Promise<void> => {
      while (next < pairs.length && !this.#stopped) {
        const [from, to] = pairs[next++];
        if (await this.nodes[from].dial(endpointOf(this.plan.nodes[to]))) links++;
      }
    };
    await Promise.all(Array.from({ length: Math.min(DIALS_AT_ONCE, pairs.length) }, worker));
    return { links, failedLinks: pairs.length - links };
  }

  #startValidators(): void {
    const indices = this.plan.nodes.filter((node) => node.validator).map((node) => node.index);
    if (indices.length === 0 || this.#stopped) return;
    const locals = indices.map((index) => this.nodes[index].local);
    const ids = locals.map((local) => local.nodeId);
    this.#validators = locals.map((local, at) =>
      new Validator({
        index: indices[at],
        lagMs: this.plan.nodes[indices[at]].lagMs,
        key: local.identity,
        networkId: local.networkId,
        quorumSet: quorumSetOf(ids, at),
      })
    );
    for (const { index, quorumSetHash, quorumSetMessage } of this.#validators) {
      const hash = toHex(quorumSetHash);
      const known = this.#quorumSets.get(hash);
      if (known === undefined) this.#quorumSets.set(hash, { message: quorumSetMessage, users: [index] });
      else known.users.push(index);
    }
    this.#closeSlot();
  }

  /** Begins a slot: one validator proposes, then each makes its statements, as late as it always is. */
  #closeSlot(): void {
    const slot = this.#slot;
    this.#closeTime = Math.max(Math.floor(this.clock.wallMs() / 1000), this.#closeTime + 1);
    const value = this.#validators[slot % this.#validators.length].propose(slot, BigInt(this.#closeTime));
    // Slots that follow each other faster also happen faster.
    const scale = Math.min(1, this.ledgerMs / USUAL_LEDGER_MS);
    let left = this.#validators.length;
    this.#timers = [];
    for (const validator of this.#validators) {
      for (const kind of this.#statements) {
        const atMs = scale * (KIND_AT_MS[kind] + validator.lagMs);
        this.#timers.push(this.clock.setTimer(atMs, () => {
          const envelope = validator.state(slot, kind, value);
          this.#envelopes.set(envelope.id, envelope);
          this.nodes[validator.index].announce(envelope);
          if (kind === "externalize" && --left === 0) this.#onSlot?.(slot);
        }));
      }
    }
    this.#timers.push(this.clock.setTimer(this.ledgerMs, () => {
      this.#slot = slot + 1;
      for (const [id, envelope] of this.#envelopes) {
        if (envelope.slot <= slot - this.rememberedSlots) this.#envelopes.delete(id);
      }
      this.#closeSlot();
    }));
  }

  // ---- Surveys ----

  #onSurveyEvent(event: SurveyEvent, onSurvey: TwinSettings["onSurvey"]): void {
    if (event.event !== "surveyStarted" || this.#surveyNonce === event.nonce) return;
    const { nonce, surveyorId } = event;
    this.#surveyNonce = nonce;
    onSurvey?.({ nonce, surveyorId });
    if (this.#changeTimer !== undefined || this.#stopped) return;
    const afterMs = Math.max(CHANGE_AFTER_MS, CHANGE_AFTER_LEDGERS * this.ledgerMs);
    this.#changeTimer = this.clock.setTimer(afterMs, () => void this.#changeMembers());
  }

  #tick(): void {
    this.#tickTimer = this.clock.setTimer(TICK_MS, () => {
      const nowMs = this.clock.nowMs();
      for (const node of this.nodes) node.tick(nowMs);
      this.#tick();
    });
  }

  /** What the plan lets happen once a survey has begun: late nodes join, others restart. */
  async #changeMembers(): Promise<void> {
    const having = (role: SurveyRole) => this.plan.nodes.filter((node) => node.surveyRole === role);
    const late = having("late"), restarting = having("restarting");
    if (late.length + restarting.length === 0) return;
    await Promise.all(restarting.map((node) => this.#end(node.index)));
    if (restarting.length > 0) await sleep(this.clock, RESTART_MS);
    const came = new Set<number>();
    const listen = async ({ index }: TwinNodePlan): Promise<void> => {
      // An address that somebody else took since: the node stays away.
      if (!this.#stopped && await this.nodes[index].listen().then(() => true, () => false)) came.add(index);
    };
    await Promise.all([...late, ...restarting].map(listen));
    if (this.#stopped) return;
    const result = await this.#connect((from, to) => came.has(from) || came.has(to));
    const cameOf = (nodes: TwinNodePlan[]): number => nodes.filter(({ index }) => came.has(index)).length;
    this.#onMembersChanged?.({ joined: cameOf(late), restarted: cameOf(restarting), ...result });
  }

  /** Ends a node at once; one that remembers nothing is in its place, and does not listen yet. */
  async #end(index: number): Promise<void> {
    const ended = this.nodes[index];
    const closed = ended.close();
    ended.destroy();
    await closed;
    this.#nodes[index] = new TwinNode(this.plan.nodes[index], this);
  }

  /** Restarts a node: its connections are lost, those of the plan are made again. Returns how many were. */
  async restart(index: number): Promise<number> {
    await this.#end(index);
    await sleep(this.clock, RESTART_MS);
    if (this.#stopped) return 0;
    await this.nodes[index].listen();
    return (await this.#connect((from, to) => from === index || to === index)).links;
  }

  transportFor(host: string): Transport {
    let transport = this.#transports.get(host);
    if (transport === undefined) this.#transports.set(host, transport = this.#transportFor(host));
    return transport;
  }

  isMember(nodeId: string): boolean {
    return this.#members.has(nodeId);
  }

  joined(nodeId: string): void {
    this.#members.add(nodeId);
  }

  isMemberHost(host: string): boolean {
    return this.#memberHosts.has(host);
  }

  envelope(id: FloodId): SignedEnvelope | undefined {
    return this.#envelopes.get(id);
  }

  quorumSet(node: number, hash: string): Uint8Array | undefined {
    const found = this.#quorumSets.get(hash);
    return found?.users.some((validator) => knowsQuorumSet(node, validator)) ? found.message : undefined;
  }
}
