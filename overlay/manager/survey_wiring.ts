/**
 * The survey of a node: what the survey needs of the node, what it hears of it, and who may survey. Source: stellar-core
 * SurveyManager.cpp surveyorPermitted; survey.md section 12.
 */
import { decodeNodeId } from "../crypto/strkey.ts";
import type { ReadyEnvelope } from "../flood/message_dispatcher.ts";
import { hashText } from "../flood/tx_adverts_hashes.ts";
import { SurveyManager } from "../survey/survey_manager.ts";
import { nodesOfQuorumSet, TransitiveQuorum } from "../survey/transitive_quorum.ts";
import { quorumSetHashOf } from "../wire/types.ts";
import type { OverlayContext } from "./overlay_context.ts";
import type { MessageFlow } from "./message_flow.ts";

/** Our own id in a list of surveyors. */
const SELF = "$self";

/**
 * Who may survey: exactly the nodes of `surveyorKeys`; without those whoever the embedding program permits; without that the
 * transitive quorum of `quorumNodes`; without those nobody.
 */
export class SurveyPermission {
  /** Node ids as one character per byte, as all node ids here. */
  readonly quorum: TransitiveQuorum;
  readonly #keys: ReadonlySet<string>;
  readonly #permits: ((nodeId: Uint8Array) => boolean) | undefined;

  /** `permits` is the embedding program's; see `OverlayManagerOptions.permitsSurveyor`. */
  constructor(
    config: OverlayContext["config"],
    ownNodeId: Uint8Array,
    permits: ((nodeId: Uint8Array) => boolean) | undefined,
  ) {
    this.#keys = new Set(config.surveyorKeys.map((key) => hashText(key === SELF ? ownNodeId : decodeNodeId(key))));
    this.#permits = permits;
    const byQuorum = this.#keys.size === 0 && permits === undefined;
    this.quorum = new TransitiveQuorum(byQuorum ? config.quorumNodes.map((key) => hashText(decodeNodeId(key))) : []);
  }

  has(nodeId: Uint8Array): boolean {
    const node = hashText(nodeId);
    if (this.#keys.size > 0) return this.#keys.has(node);
    return this.#permits?.(nodeId) ?? this.quorum.has(node);
  }
}

/** Makes the survey of a node. */
export function surveyOf(
  context: OverlayContext,
  flow: MessageFlow,
  node: { permission: SurveyPermission; inSync(): boolean },
): SurveyManager {
  const { config, clock, random, local, lists, metrics } = context;
  return new SurveyManager({
    clock,
    random,
    identity: local.identity,
    settings: {
      isValidator: config.isValidator,
      maxInbound: config.maxAdditionalPeerConnections,
      maxOutbound: config.targetPeerConnections,
      phaseMs: config.surveyPhaseMs === 0 ? undefined : config.surveyPhaseMs,
    },
    ledger: () => flow.scp.tracking,
    inSync: node.inSync,
    peers: () => lists.members(),
    permits: (nodeId) => node.permission.has(nodeId),
    relay: (from, message) => flow.relayFrom(from.nodeId, message),
    broadcast: (message, to) => flow.broadcast(message, to),
    log: context.log,
    count: (verdict) => metrics.count("surveyMessages", verdict),
  });
}

/** What the survey learns of a good SCP message: who has externalized, and who is whose quorum. */
export function hearEnvelope(
  { envelope: { statement }, slot }: ReadyEnvelope,
  nowMs: number,
  parts: { survey: SurveyManager; quorum: TransitiveQuorum; quorumSet(hash: string): Uint8Array | undefined },
): void {
  const { nodeId, pledges } = statement;
  if (pledges.type === "externalize") parts.survey.scpTiming.heard(slot, nowMs);
  if (!parts.quorum.configured) return;
  const hash = hashText(quorumSetHashOf(pledges));
  parts.quorum.heard(hashText(nodeId), hash, () => {
    const set = parts.quorumSet(hash);
    return set === undefined ? undefined : nodesOfQuorumSet(set, hashText);
  });
}
