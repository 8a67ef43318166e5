/**
 * What follows from the settings of a node, and which settings cannot work together. Pure.
 * Source: stellar-core Config.cpp adjust, OverlayManagerImpl.cpp, HerderImpl.cpp start.
 */
import type { OverlayConfig } from "./config.ts";
import { OverlayError } from "./errors.ts";
import {
  AUTOMATIC_BATCH_BYTES,
  automaticFloodBytes,
  type FlowControlLimits,
  maxTransactionBytesOf,
} from "./flow_limits.ts";
import { formatAddress, ipVersion, looksLikeNodeId } from "./peer_address.ts";

/** Preferred callers' extra pending slots. Source: stellar-core Config.h POSSIBLY_PREFERRED_EXTRA. */
export const POSSIBLY_PREFERRED_EXTRA = 2;
/** Outbound target while nobody dialed us, and the ratio of {@link adjust}. Source: stellar-core OverlayManager.h MIN_INBOUND_FACTOR. */
export const MIN_INBOUND_FACTOR = 3;
/** What an error calls a configuration without a name. */
export const UNNAMED = "the configuration";
const UINT16_MAX = 0xffff;
const UINT32_MAX = 0xffffffff;

/** What {@link adjust} did. */
export interface Adjusted {
  config: OverlayConfig;
  /** One sentence per limit that was lowered. */
  notes: string[];
}

/**
 * Settles the numbers of connections: -1 becomes 8 x target; the target is lowered to `maxAdditional / 3 + 3`; when all
 * together exceed the file handles of the process, pending ones shrink first, then all in proportion; and the pending limit
 * is split by direction where the split is not given. Source: stellar-core Config.cpp adjust.
 */
export function adjust(config: OverlayConfig, options: { fileHandles?: number } = {}): Adjusted {
  const notes: string[] = [];
  let target = config.targetPeerConnections, additional = config.maxAdditionalPeerConnections;
  let pending = config.maxPendingConnections;
  if (additional === -1) additional = Math.min(UINT16_MAX, target * 8);
  const most = Math.trunc(additional / MIN_INBOUND_FACTOR) + MIN_INBOUND_FACTOR;
  if (target > most) {
    notes.push(
      `the target of ${target} outbound peers is lowered to ${most}: at most ${additional} peers may dial us.`,
    );
    target = most;
  }
  const before = { target, additional, pending };
  const handles = Math.min(UINT16_MAX, options.fileHandles ?? UINT16_MAX);
  const total = target + additional;
  let outbound = config.maxOutboundPendingConnections, inbound = config.maxInboundPendingConnections;
  if (total > 0) {
    const outboundRate = target / total;
    const atLeastOne = (value: number) => Math.max(1, Math.min(UINT16_MAX, Math.ceil(value)));
    if (total + pending > handles) pending = total >= handles ? 1 : handles - total;
    if (total + pending > handles) {
      const required = total + Math.max(config.maxPendingConnections, 1);
      target = atLeastOne((handles * target) / required);
      additional = atLeastOne((handles * additional) / required);
      pending = target + additional >= handles ? 1 : handles - target - additional;
    }
    const share = atLeastOne(pending * outboundRate);
    if (outbound === 0) outbound = share;
    if (inbound === 0) inbound = Math.max(1, pending - share);
  } else {
    outbound = inbound = 0;
  }
  for (
    const [name, was, is] of [
      ["outbound peers", before.target, target],
      ["inbound peers", before.additional, additional],
      ["pending connections", before.pending, pending],
    ] as const
  ) {
    if (was !== is) notes.push(`the limit of ${was} ${name} becomes ${is}: this process may open ${handles} files.`);
  }
  return {
    config: {
      ...config,
      targetPeerConnections: target,
      maxAdditionalPeerConnections: additional,
      maxPendingConnections: pending,
      maxOutboundPendingConnections: outbound,
      maxInboundPendingConnections: inbound,
    },
    notes,
  };
}

/** Throws `config_invalid` with every sentence of {@link validateConfig}, if there is one. `path` names the origin. */
export function checkConfig(config: OverlayConfig, path: string = UNNAMED): void {
  const problems = validateConfig(config);
  if (problems.length > 0) throw new OverlayError({ code: "config_invalid", path, reason: problems.join(" ") });
}

/** Why `config` cannot work, a sentence each; empty when it can. Source: stellar-core Config.cpp, HerderImpl.cpp start. */
export function validateConfig(config: OverlayConfig): string[] {
  const problems: string[] = [];
  const refuse = (when: boolean, sentence: string) => void (when && problems.push(sentence));
  /** True when every one of `keys` is a whole number in range, so that rules between them make sense. */
  const whole = <K extends string>(object: Record<K, unknown>, min: number, max: number, ...keys: K[]): boolean =>
    keys.filter((key) => {
      const value = object[key] as number;
      const wrong = !Number.isInteger(value) || value < min || value > max;
      refuse(wrong, `${key} is ${value}: it must be a whole number from ${min} to ${max}.`);
      return wrong;
    }).length === 0;

  refuse(config.networkPassphrase === "", "networkPassphrase is empty: every network has one.");
  const tooLong = new TextEncoder().encode(config.versionStr).length > 100;
  refuse(tooLong, "versionStr is longer than the 100 bytes that HELLO holds.");
  if (whole(config, 1, UINT32_MAX, "overlayMinVersion", "overlayVersion")) {
    const { overlayMinVersion: min, overlayVersion: max } = config;
    refuse(min > max, `overlayMinVersion ${min} exceeds overlayVersion ${max}: no version is left to speak.`);
  }
  whole(config, 0, UINT32_MAX, "ledgerVersion", "sorobanLedgerMaxTxCount");
  whole(config, 1, UINT32_MAX, "maxTxSetSizeOps", "maxBatchWriteCount", "maxBatchWriteBytes", "maxSlotsToRemember");
  if (config.sorobanTxMaxBytes !== undefined) whole(config, 1, MAX_MESSAGE_BYTES, "sorobanTxMaxBytes");
  for (const key of ["floodOpRatePerLedger", "floodSorobanRatePerLedger"] as const) {
    const value = config[key];
    refuse(!(value > 0 && value < Infinity), `${key} is ${value}: a rate must be above 0.`);
  }
  whole(config, 0, UINT32_MAX, "surveyPhaseMs");
  whole(config, 0, UINT16_MAX, "listeningPort");
  refuse(ipVersion(config.listeningHost) === 0, `listeningHost '${config.listeningHost}' is not an IP address.`);
  for (const key of TIMES) {
    const value = config[key];
    refuse(!(value > 0 && value < Infinity), `${key} is ${value}: a time must be above 0 ms and end.`);
  }
  problems.push(...connectionProblems(config, whole), ...flowControlProblems(config, whole));
  return problems;
}

/** The largest transaction message that travels, bytes. Source: stellar-core HerderImpl.cpp getMaxTxSize. */
export function maxTransactionBytes(config: Pick<OverlayConfig, "sorobanTxMaxBytes">): number {
  return maxTransactionBytesOf(config.sorobanTxMaxBytes);
}

/**
 * The flow control limits of a new peer. `largestTransaction` is the network's present limit in bytes. Automatic byte limits
 * are 300,000 and 100,000, the first raised to `largestTransaction` + 100,000 when that is more.
 * Source: stellar-core OverlayManagerImpl.cpp getFlowControlFloodByteCapacity, getFlowControlBytesBatch.
 */
export function flowControlLimits(
  config: Pick<OverlayConfig, "flowControl" | "maxTxSetSizeOps" | "sorobanTxMaxBytes">,
  largestTransaction: number = maxTransactionBytes(config),
): FlowControlLimits {
  const { outboundTxQueueBytes, ...limits } = config.flowControl;
  const automatic = limits.floodBytes === 0 && limits.batchBytes === 0;
  return {
    ...limits,
    ...(automatic && {
      floodBytes: automaticFloodBytes(largestTransaction),
      batchBytes: AUTOMATIC_BATCH_BYTES,
    }),
    queuedTransactions: config.maxTxSetSizeOps,
    queuedTransactionBytes: outboundTxQueueBytes,
    maxTransactionBytes: largestTransaction,
  };
}

/** Period of the connector's tick, ms. Source: stellar-core OverlayManagerImpl.cpp tick: PEER_AUTHENTICATION_TIMEOUT + 1 s. */
export function tickMs(config: Pick<OverlayConfig, "authenticationTimeoutMs">): number {
  return config.authenticationTimeoutMs + 1000;
}

/** Body of the largest message. Source: stellar-core Peer.h MAX_MESSAGE_SIZE. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Every setting that is a time. */
const TIMES = [
  "closeTimeMs",
  "authenticationTimeoutMs",
  "idleTimeoutMs",
  "stragglerTimeoutMs",
  "noCreditTimeoutMs",
  "checkMs",
  "closeDelayMs",
  "connectTimeoutMs",
  "startDelayMs",
  "resolveIntervalMs",
  "resolveRetryMs",
  "outOfSyncReconnectMs",
  "consensusStuckMs",
  "outOfSyncRecoveryMs",
  "floodTxPeriodMs",
  "floodSorobanTxPeriodMs",
  "floodAdvertPeriodMs",
  "floodDemandPeriodMs",
  "floodDemandBackoffMs",
] as const satisfies readonly (keyof OverlayConfig)[];

type Whole = <K extends string>(object: Record<K, unknown>, min: number, max: number, ...keys: K[]) => boolean;

function connectionProblems(config: OverlayConfig, whole: Whole): string[] {
  const problems: string[] = [];
  const limits = ["targetPeerConnections", "maxAdditionalPeerConnections", "maxPendingConnections"] as const;
  if (
    whole(config, 0, UINT16_MAX, ...limits, "maxOutboundPendingConnections", "maxInboundPendingConnections") &&
    config.targetPeerConnections + config.maxAdditionalPeerConnections > 0
  ) {
    const { maxOutboundPendingConnections: outbound, maxInboundPendingConnections: inbound } = config;
    if (outbound === 0 || inbound === 0) {
      problems.push(`maxPendingConnections is split into ${outbound} out and ${inbound} in: each needs at least 1.`);
    }
    // The split itself may be one above: each direction gets at least one.
    const most = config.maxPendingConnections;
    if (outbound + inbound > Math.max(1, most) + 1) {
      problems.push(
        `${outbound} outbound and ${inbound} inbound pending connections exceed maxPendingConnections ${most}.`,
      );
    }
  }
  const nobody = config.preferredPeers.length === 0 && config.preferredPeerKeys.length === 0;
  if (config.preferredPeersOnly && nobody) {
    problems.push("preferredPeersOnly is set and nobody is preferred: no peer could ever be admitted.");
  }
  for (const list of ["preferredPeers", "knownPeers"] as const) {
    for (const address of config[list]) {
      const wrong = !Number.isInteger(address.port) || address.port < 1 || address.port > UINT16_MAX ||
        address.host === "";
      if (wrong) problems.push(`${list} has ${formatAddress(address)}, which is not an address.`);
    }
  }
  for (const list of ["preferredPeerKeys", "surveyorKeys", "quorumNodes"] as const) {
    const allowed = list === "surveyorKeys" ? "$self" : undefined;
    const wrong = config[list].filter((key) => key !== allowed && !looksLikeNodeId(key)).length;
    // The entries are not quoted: a secret may stand there by mistake.
    if (wrong > 0) {
      problems.push(`${list} has ${wrong} ${wrong === 1 ? "entry" : "entries"} that are no node ids (G...).`);
    }
  }
  if (whole(config, 1, 10_000_000, "maxKnownPeers")) {
    const configured = config.preferredPeers.length + config.knownPeers.length;
    if (configured > config.maxKnownPeers) {
      problems.push(`maxKnownPeers ${config.maxKnownPeers} has no room for the ${configured} configured addresses.`);
    }
  }
  return problems;
}

function flowControlProblems(config: OverlayConfig, whole: Whole): string[] {
  const { flowControl } = config;
  const counted = whole(flowControl, 1, UINT32_MAX, "totalMessages", "totalBytes", "floodMessages", "batchMessages");
  const queues = whole(flowControl, 1, UINT32_MAX, "outboundTxQueueBytes", "queuedScpMessages", "queuedScpBytes");
  if (!whole(flowControl, 0, UINT32_MAX, "floodBytes", "batchBytes") || !counted || !queues) return [];
  const problems: string[] = [];
  const { totalMessages, floodMessages, batchMessages } = flowControl;
  if (batchMessages > floodMessages) {
    problems.push(
      `flowControl.batchMessages ${batchMessages} exceeds floodMessages ${floodMessages}: no grant would follow.`,
    );
  }
  if (totalMessages <= floodMessages) {
    problems.push(`flowControl.totalMessages ${totalMessages} must exceed floodMessages ${floodMessages}.`);
  }
  const { floodBytes, batchBytes, maxTransactionBytes: largest } = flowControlLimits(config);
  if (batchBytes > floodBytes) {
    problems.push(`flowControl.batchBytes ${batchBytes} exceeds floodBytes ${floodBytes}; both 0 means automatic.`);
  } else if (batchBytes === 0) {
    problems.push(`flowControl.batchBytes is 0 while floodBytes is ${floodBytes}: give both, or 0 for both.`);
  } else if (floodBytes - batchBytes < largest) {
    const room = floodBytes - batchBytes;
    problems.push(
      `flowControl.floodBytes - batchBytes is ${room}: a transaction of ${largest} bytes could wait for a grant forever.`,
    );
  }
  return problems;
}
