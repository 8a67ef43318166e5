/** What the nodes of a twin that can be surveyed have in common: whom they permit, and messages that are read once for all. */
import { OldestFirst } from "../../overlay/base/oldest.ts";
import type { FloodId } from "../../overlay/flood/floodgate.ts";
import { type ReadSurveyMessage, readSurveyMessage } from "../../overlay/survey/read_message.ts";
import type { SurveyEvent } from "../../overlay/survey/survey_event.ts";
import { ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { TwinPlan } from "./node_plan.ts";
import { peerLimitsOf } from "./survey_roles.ts";

/** What all nodes of a twin that can be surveyed share. */
export interface FleetSurvey {
  /** Whether a node id (`G...`) is one of the plan's surveyors. */
  permits(nodeId: string): boolean;
  /**
   * A survey message with an id, for as long as it travels: what one node decodes and checks serves all. Undefined when it is no
   * survey message. @throws OverlayError `xdr_invalid`
   */
  shared(id: FloodId, message: ReceivedMessage): SharedMessage | undefined;
  /** How many EXTERNALIZE statements make a node externalize a slot: more than half of the validators. */
  readonly majority: number;
  /** Length of either phase, ms; upstream's when absent. */
  readonly phaseMs: number | undefined;
  readonly limits: readonly { maxInbound: number; maxOutbound: number }[];
  onEvent(node: number, event: SurveyEvent): void;
}

/** A survey message that travels through the twin. */
export interface SharedMessage {
  readonly id: FloodId;
  /** With bytes that stay as they are. */
  readonly message: ReceivedMessage;
  readonly read: ReadSurveyMessage;
}

/** Messages kept while they travel. */
const MAX_SHARED = 256;

/** The common part of a plan's nodes; `surveyorKeys` are those of the plan. */
export function fleetSurvey(
  plan: TwinPlan,
  surveyorKeys: readonly string[],
  options: Pick<FleetSurvey, "phaseMs" | "onEvent">,
): FleetSurvey {
  const permitted = new Set(surveyorKeys);
  const validators = plan.nodes.filter((node) => node.validator).length;
  /** BOUNDED: {@link MAX_SHARED}, the oldest goes first. */
  const known = new Map<FloodId, SharedMessage>();
  const oldest = new OldestFirst(known);
  return {
    ...options,
    permits: (nodeId) => permitted.has(nodeId),
    shared: (id, { type, bytes, receivedAtMs }) => {
      const shared = known.get(id);
      if (shared !== undefined) return shared;
      const message = new ReceivedMessage(type, bytes.slice(), receivedAtMs);
      const read = readSurveyMessage(message.decode());
      if (read === undefined) return undefined;
      if (known.size >= MAX_SHARED) known.delete(oldest.next()!);
      else oldest.rest();
      const fresh = { id, message, read };
      known.set(id, fresh);
      return fresh;
    },
    majority: Math.floor(validators / 2) + 1,
    limits: peerLimitsOf(plan),
  };
}
