/**
 * The survey of one node of the twin: the engine's own SurveyManager on a node that is lighter than an OverlayManager. What it
 * reports is measured on the node's real connections.
 */
import type { Clock } from "../../overlay/base/clock.ts";
import type { Random } from "../../overlay/base/random.ts";
import { type FloodId, floodIdOf } from "../../overlay/flood/floodgate.ts";
import { SeenMessages } from "../../overlay/manager/seen_messages.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import type { Peer } from "../../overlay/peer/peer.ts";
import type { SurveyPeer } from "../../overlay/survey/survey_data.ts";
import { SurveyManager } from "../../overlay/survey/survey_manager.ts";
import { encodeMessage, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { TwinNodePlan } from "./node_plan.ts";
import type { FleetSurvey, SharedMessage } from "./survey_fleet.ts";

/** What the survey of a node needs of it. */
export interface SurveyedTwinNode {
  readonly plan: TwinNodePlan;
  readonly local: LocalNode;
  readonly clock: Clock;
  readonly random: Random;
  /** Floods a message to whoever of all authenticated peers, or of some, does not know it; `from` has it. */
  flood(id: FloodId, message: Uint8Array, options: { from?: string; to?: Iterable<string> }): string[];
}

/** Messages remembered to tell unique from duplicate traffic. Upstream's 65,535 would be much for thousands of nodes. */
const SEEN_MESSAGES = 4096;
/** Between two pings of a peer, ms: stellar-core Peer.cpp recurrentTimerExpired. Nodes of the twin ping only while they collect. */
const PING_MS = 5000;

/** See the head of this file. */
export class TwinSurvey {
  readonly manager: SurveyManager;
  readonly #node: SurveyedTwinNode;
  /** BOUNDED: the authenticated peers. */
  readonly #peers = new Map<Peer, SurveyPeer>();
  readonly #seen = new SeenMessages(SEEN_MESSAGES);
  readonly #fleet: FleetSurvey;
  #tracked: number | undefined;
  #pingedMs = -Infinity;
  /** The message that is judged. */
  #judged: SharedMessage | undefined;

  constructor(node: SurveyedTwinNode, fleet: FleetSurvey) {
    const { plan, local, clock, random } = node;
    this.#node = node;
    this.#fleet = fleet;
    this.manager = new SurveyManager({
      clock,
      random,
      identity: local.identity,
      settings: { isValidator: plan.validator, ...fleet.limits[plan.index], phaseMs: fleet.phaseMs },
      ledger: () => this.#tracked,
      inSync: () => this.#tracked !== undefined,
      peers: () => this.#peers.values(),
      permits: (_, text) => plan.surveyRole !== "opted-out" && fleet.permits(text),
      relay: (from) => node.flood(this.#judged!.id, this.#judged!.message.bytes, { from: from.nodeId }),
      broadcast: (message, to) => {
        const bytes = encodeMessage(message);
        return node.flood(floodIdOf(bytes), bytes, { to });
      },
      log: (event) => fleet.onEvent(plan.index, event),
      count: () => {},
    });
  }

  admitted(peer: Peer): void {
    this.#peers.set(peer, { nodeId: peer.nodeIdText!, role: peer.role, peer, metrics: peer.metrics });
    this.manager.authenticated();
  }

  dropped(peer: Peer): void {
    const known = this.#peers.get(peer);
    if (known === undefined) return;
    this.#peers.delete(peer);
    this.manager.dropped(known);
  }

  /** A flood message came, which the survey reports as unique or duplicate. */
  flooded(peer: Peer, id: FloodId, bytes: number): void {
    peer.metrics.countFlood(this.#seen.add(id), bytes);
  }

  /** A survey message came. @throws OverlayError `xdr_invalid` */
  receive(peer: Peer, id: FloodId, message: ReceivedMessage): void {
    const from = this.#peers.get(peer);
    if (from === undefined) return;
    this.flooded(peer, id, message.bytes.length);
    const shared = this.#judged = this.#fleet.shared(id, message);
    if (shared !== undefined) this.manager.receive(from, shared.message, shared.read);
  }

  /** A validator externalized a slot, as the `count`-th that this node knows of; `own`: itself. */
  externalized(slot: number, count: number, own: boolean): void {
    const nowMs = this.#node.clock.nowMs();
    const { scpTiming } = this.manager;
    if (!own) scpTiming.heard(slot, nowMs);
    if (own || (!this.#node.plan.validator && count >= this.#fleet.majority)) scpTiming.externalized(slot, nowMs);
    const ledger = slot - (this.#node.plan.lagLedgers ?? 0);
    if (count < this.#fleet.majority || ledger <= (this.#tracked ?? -1)) return;
    this.#tracked = ledger;
    this.manager.ledgerClosed(ledger);
  }

  /** Every few seconds. */
  tick(nowMs: number): void {
    this.manager.tick(nowMs);
    if (this.manager.phase !== "collecting" || nowMs - this.#pingedMs < PING_MS) return;
    this.#pingedMs = nowMs;
    for (const peer of this.#peers.keys()) peer.ping();
  }
}
