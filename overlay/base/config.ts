/**
 * Every setting of the engine, with its unit, stellar-core's key and stellar-core's default; the presets of the networks; and
 * what a stellar-core configuration says about them. What follows from settings, and which cannot work: config_rules.ts.
 * Source: stellar-core Config.h, Config.cpp; limits.md section 1.
 */
import { adjust, checkConfig, UNNAMED } from "./config_rules.ts";
import type { CoreConfig } from "./core_config.ts";
import { OverlayError } from "./errors.ts";
import { FUTURENET, LOCAL, type Network, PUBNET, resolveNetwork, TESTNET } from "./networks.ts";
import { DEFAULT_PEER_PORT, parsePeerAddress, type PeerAddress } from "./peer_address.ts";
import { VERSION } from "./version.ts";

export {
  adjust,
  type Adjusted,
  checkConfig,
  flowControlLimits,
  maxTransactionBytes,
  MIN_INBOUND_FACTOR,
  POSSIBLY_PREFERRED_EXTRA,
  tickMs,
  validateConfig,
} from "./config_rules.ts";

/** How much a peer may send before we grant more, and how much waits for a peer. */
export interface FlowControlConfig {
  /** Messages of any type in processing before we stop reading. PEER_READING_CAPACITY, 201. */
  totalMessages: number;
  /** Bytes of any type in processing before we stop reading. PEER_TOTAL_READING_CAPACITY_BYTES, 1,048,576. */
  totalBytes: number;
  /** Flood messages a peer may have sent that we have not processed. PEER_FLOOD_READING_CAPACITY, 200. */
  floodMessages: number;
  /** Their bytes; 0 together with `batchBytes` 0 is automatic. PEER_FLOOD_READING_CAPACITY_BYTES, 0. */
  floodBytes: number;
  /** Processed flood messages after which we grant that many again. FLOW_CONTROL_SEND_MORE_BATCH_SIZE, 40. */
  batchMessages: number;
  /** Processed flood bytes after which we do; see `floodBytes`. FLOW_CONTROL_SEND_MORE_BATCH_SIZE_BYTES, 0. */
  batchBytes: number;
  /** Bytes of transactions that wait for one peer. OUTBOUND_TX_QUEUE_BYTE_LIMIT, 3,145,728. */
  outboundTxQueueBytes: number;
  /** SCP messages that wait for one peer. Ours: upstream has no limit. 10,000. */
  queuedScpMessages: number;
  /** Bytes of SCP messages that wait for one peer. Ours. 33,554,432. */
  queuedScpBytes: number;
}

/** Every setting of a node. Presets and {@link fromCoreConfig} give whole ones; change them with {@link configure}. */
export interface OverlayConfig {
  // What the network is

  /** Nodes of other passphrases are refused. NETWORK_PASSPHRASE, no default. */
  networkPassphrase: string;
  /** Highest ledger protocol announced; nobody checks it. Upstream's build decides, 28 at the reference revision. */
  ledgerVersion: number;
  /** Highest overlay version announced and accepted. OVERLAY_PROTOCOL_VERSION in Config.cpp, 42. */
  overlayVersion: number;
  /**
   * Lowest overlay version announced and accepted. 35 here, upstream 41 (OVERLAY_PROTOCOL_MIN_VERSION): every version since 35
   * speaks the byte flow control that we need, so a node serves peers that upstream's newest release no longer does.
   */
  overlayMinVersion: number;
  /** Version text in HELLO, at most 100 bytes of UTF-8. Upstream's build decides. */
  versionStr: string;
  /** `maxTxSetSize` of the last closed ledger, operations: bounds the queues per peer. The ledger decides; 1,000 on pubnet. */
  maxTxSetSizeOps: number;
  /** `ledgerMaxTxCount` of Soroban's settings: sizes adverts and demands. The ledger decides; 100. */
  sorobanLedgerMaxTxCount: number;
  /** `txMaxSizeBytes` of Soroban's settings, bytes; undefined before protocol 20. The ledger decides; 132,096. */
  sorobanTxMaxBytes: number | undefined;
  /** Time between two ledgers, ms: sizes adverts, demands and query windows. The ledger decides; 5,000. */
  closeTimeMs: number;

  // Who we are and where we listen

  /**
   * False makes a watcher: flood messages it has no use for are dropped before they cost anything. NODE_IS_VALIDATOR, false.
   * It changes nothing on the wire but the survey's answer.
   */
  isValidator: boolean;
  /** Neither listen, dial, nor resolve names. RUN_STANDALONE, false. */
  runStandalone: boolean;
  /** Dial nobody of our own accord; `connect` still does. Ours, false. */
  noDial: boolean;
  /** Open no door. HELLO still announces `listeningPort`, or 11625 for 0. Ours, false. */
  noListen: boolean;
  /** IP address to listen on. Upstream listens on all of IPv4: "0.0.0.0". */
  listeningHost: string;
  /** TCP port to listen on and to announce; 0 lets the system choose. PEER_PORT, 11625. */
  listeningPort: number;

  // Whom we connect to

  /** Most authenticated peers that we dialed. TARGET_PEER_CONNECTIONS, 8; see {@link adjust}. */
  targetPeerConnections: number;
  /** Most authenticated peers that dialed us; -1 until {@link adjust}. MAX_ADDITIONAL_PEER_CONNECTIONS, -1: 8 x target = 64. */
  maxAdditionalPeerConnections: number;
  /** Aim at the whole target although nobody dialed us. ARTIFICIALLY_SKIP_CONNECTION_ADJUSTMENT_FOR_TESTING, false. */
  skipConnectionAdjustment: boolean;
  /**
   * Dial addresses that never answered also when no outbound slot is free, to learn who answers. Ours: upstream always does.
   * A node that measures the network leaves others alone. true.
   */
  dialBeyondTarget: boolean;
  /** Most connections in the handshake, both directions. MAX_PENDING_CONNECTIONS, 500. */
  maxPendingConnections: number;
  /** Of these, dialed by us; 0 and 0 until {@link adjust}. MAX_OUTBOUND_PENDING_CONNECTIONS, 0: 56. */
  maxOutboundPendingConnections: number;
  /** Of these, dialed by others. MAX_INBOUND_PENDING_CONNECTIONS, 0: 444. */
  maxInboundPendingConnections: number;
  /** Dialed first, admitted always, never evicted; names are resolved. PREFERRED_PEERS, none. */
  preferredPeers: readonly PeerAddress[];
  /** Dialed like peers that answered before; names are resolved. KNOWN_PEERS, none; presets name the network's first peers. */
  knownPeers: readonly PeerAddress[];
  /** Strkey node ids that count as preferred wherever they connect from. PREFERRED_PEER_KEYS, none. */
  preferredPeerKeys: readonly string[];
  /** Admit preferred peers only. PREFERRED_PEERS_ONLY, false. */
  preferredPeersOnly: boolean;
  /** Addresses kept in the book. Ours: upstream has no limit. 10,000. */
  maxKnownPeers: number;
  /** Send, store and dial private addresses of PEERS. ALLOW_PRIVATE_ADDRESSES_FOR_TESTING, false. */
  allowPrivate: boolean;
  /** Send, store and dial addresses of this machine in PEERS. ALLOW_LOCALHOST_FOR_TESTING, false. */
  allowLoopback: boolean;

  // Who may survey

  /**
   * Strkey node ids whose surveys we answer and pass on, or "$self" for our own, whatever it is: alone it opts out. Empty means
   * the transitive quorum of `quorumNodes`. SURVEYOR_KEYS, none.
   */
  surveyorKeys: readonly string[];
  /**
   * Strkey node ids that say where the network is: its ledger is the highest that more than half of those of them that were
   * heard have externalized. Empty means everybody's word counts, and then a stranger with many invented validators may
   * lead a node astray. Ours (upstream's quorum set decides). Presets: the network's first validators; from a
   * configuration: its `quorumNodes`, else the preset's.
   */
  ledgerNodes: readonly string[];
  /**
   * Strkey node ids of our own quorum set, at any level. They decide only who may survey when `surveyorKeys` is empty; without
   * either nobody may. QUORUM_SET and VALIDATORS, none.
   */
  quorumNodes: readonly string[];
  /**
   * Length of a survey's collecting and of its reporting phase, ms; 0 means upstream's 30 minutes and 3 hours.
   * ARTIFICIALLY_SET_SURVEY_PHASE_DURATION_FOR_TESTING (minutes), 0.
   */
  surveyPhaseMs: number;

  // Timers, ms

  /** Silence that ends an unauthenticated connection; one second more is the period of the tick. PEER_AUTHENTICATION_TIMEOUT, 2,000. */
  authenticationTimeoutMs: number;
  /** Silence in both directions that ends an authenticated one. PEER_TIMEOUT, 30,000. */
  idleTimeoutMs: number;
  /** Age of the oldest unsent message that ends a connection. PEER_STRAGGLER_TIMEOUT, 120,000. */
  stragglerTimeoutMs: number;
  /** Time without send credit that ends a connection. Peer.h PEER_SEND_MODE_IDLE_TIMEOUT, 60,000. */
  noCreditTimeoutMs: number;
  /** Period at which a connection checks these limits. Peer.cpp, 5,000. */
  checkMs: number;
  /** How long a dropped socket may take to close. TCPPeer.cpp, 5,000. */
  closeDelayMs: number;
  /** How long a TCP connect may take. Upstream drops an unfinished dial at the first check: 5,000. */
  connectTimeoutMs: number;
  /** From start to the first tick. OverlayManagerImpl.cpp start, 2,000. */
  startDelayMs: number;
  /** From one resolution of the configured names to the next. OverlayManagerImpl.cpp PEER_IP_RESOLVE_DELAY, 600,000. */
  resolveIntervalMs: number;
  /** Step by which retries of a failed resolution move apart. PEER_IP_RESOLVE_RETRY_DELAY, 10,000. */
  resolveRetryMs: number;
  /** Out of sync with all slots taken for longer: a random outbound peer goes. OUT_OF_SYNC_RECONNECT_DELAY, 60,000. */
  outOfSyncReconnectMs: number;
  /** Without a new ledger for longer, the node is out of sync. Herder.cpp CONSENSUS_STUCK_TIMEOUT, 35,000. */
  consensusStuckMs: number;
  /** Out of sync, SCP state is asked for this often. Herder.cpp OUT_OF_SYNC_RECOVERY_TIMER, 10,000. */
  outOfSyncRecoveryMs: number;

  // Flow

  flowControl: FlowControlConfig;
  /** Messages joined into one write to a socket. MAX_BATCH_WRITE_COUNT, 1,024. */
  maxBatchWriteCount: number;
  /** Bytes joined into one write. MAX_BATCH_WRITE_BYTES, 1,048,576. */
  maxBatchWriteBytes: number;
  /**
   * Period at which a transaction queue offers transactions. FLOOD_TX_PERIOD_MS, 200. Not applicable here: the engine has no
   * queue and offers each transaction when it comes; for a program that embeds one.
   */
  floodTxPeriodMs: number;
  /** The same for Soroban transactions; not applicable either. FLOOD_SOROBAN_TX_PERIOD_MS, 200. */
  floodSorobanTxPeriodMs: number;
  /** Share of `maxTxSetSizeOps` that is advertised per ledger. FLOOD_OP_RATE_PER_LEDGER, 1.0. */
  floodOpRatePerLedger: number;
  /** Share of `sorobanLedgerMaxTxCount` that is. FLOOD_SOROBAN_RATE_PER_LEDGER, 1.0. */
  floodSorobanRatePerLedger: number;
  /** Longest wait of a hash for its advert. FLOOD_ADVERT_PERIOD_MS, 100. */
  floodAdvertPeriodMs: number;
  /** Period of demands. FLOOD_DEMAND_PERIOD_MS, 200. */
  floodDemandPeriodMs: number;
  /** Step by which demands for one hash move apart. FLOOD_DEMAND_BACKOFF_DELAY_MS, 500. */
  floodDemandBackoffMs: number;
  /** Ledgers whose SCP messages and flood records are kept. MAX_SLOTS_TO_REMEMBER, 12. */
  maxSlotsToRemember: number;
}

/** Settings that the engine itself does not use: see each. */
export const NOT_APPLICABLE: readonly (keyof OverlayConfig)[] = ["floodTxPeriodMs", "floodSorobanTxPeriodMs"];

/** Settings to change; `flowControl` may be given in part. */
export type OverlayConfigChanges = Partial<Omit<OverlayConfig, "flowControl">> & {
  flowControl?: Partial<FlowControlConfig>;
};

/** stellar-core's values, without a network and without peers; not adjusted yet. */
const DEFAULTS: Omit<OverlayConfig, "networkPassphrase"> = {
  ledgerVersion: 28,
  overlayVersion: 42,
  overlayMinVersion: 35,
  versionStr: `stellar-overlay ${VERSION}`,
  maxTxSetSizeOps: 1000,
  sorobanLedgerMaxTxCount: 100,
  // Source: stellar-core soroban-settings/testnet_settings_upgrade.json tx_max_size_bytes.
  sorobanTxMaxBytes: 132_096,
  closeTimeMs: 5000,
  isValidator: false,
  runStandalone: false,
  noDial: false,
  noListen: false,
  listeningHost: "0.0.0.0",
  listeningPort: DEFAULT_PEER_PORT,
  targetPeerConnections: 8,
  maxAdditionalPeerConnections: -1,
  skipConnectionAdjustment: false,
  dialBeyondTarget: true,
  maxPendingConnections: 500,
  maxOutboundPendingConnections: 0,
  maxInboundPendingConnections: 0,
  preferredPeers: [],
  knownPeers: [],
  preferredPeerKeys: [],
  preferredPeersOnly: false,
  maxKnownPeers: 10_000,
  allowPrivate: false,
  allowLoopback: false,
  surveyorKeys: [],
  ledgerNodes: [],
  quorumNodes: [],
  surveyPhaseMs: 0,
  authenticationTimeoutMs: 2000,
  idleTimeoutMs: 30_000,
  stragglerTimeoutMs: 120_000,
  noCreditTimeoutMs: 60_000,
  checkMs: 5000,
  closeDelayMs: 5000,
  connectTimeoutMs: 5000,
  startDelayMs: 2000,
  resolveIntervalMs: 600_000,
  resolveRetryMs: 10_000,
  outOfSyncReconnectMs: 60_000,
  consensusStuckMs: 35_000,
  outOfSyncRecoveryMs: 10_000,
  flowControl: {
    totalMessages: 201,
    totalBytes: 1_048_576,
    floodMessages: 200,
    floodBytes: 0,
    batchMessages: 40,
    batchBytes: 0,
    outboundTxQueueBytes: 3_145_728,
    queuedScpMessages: 10_000,
    queuedScpBytes: 32 * 1024 * 1024,
  },
  maxBatchWriteCount: 1024,
  maxBatchWriteBytes: 1_048_576,
  floodTxPeriodMs: 200,
  floodSorobanTxPeriodMs: 200,
  floodOpRatePerLedger: 1,
  floodSorobanRatePerLedger: 1,
  floodAdvertPeriodMs: 100,
  floodDemandPeriodMs: 200,
  floodDemandBackoffMs: 500,
  maxSlotsToRemember: 12,
};

/** The public network; its tier 1 validators are the known peers. Throws `config_invalid` when `changes` cannot work. */
export function pubnet(changes: OverlayConfigChanges = {}): OverlayConfig {
  return configure(unadjusted(PUBNET), changes);
}

/** The test network, as {@link pubnet}. */
export function testnet(changes: OverlayConfigChanges = {}): OverlayConfig {
  return configure(unadjusted(TESTNET), changes);
}

/** The network of coming protocol versions, as {@link pubnet}. */
export function futurenet(changes: OverlayConfigChanges = {}): OverlayConfig {
  return configure(unadjusted(FUTURENET), changes);
}

/**
 * A network of its own on this machine or in this house: passphrase "Standalone Network ; February 2017" unless changed, no
 * first peers, private and loopback addresses allowed, listening on 127.0.0.1. Throws as {@link pubnet}.
 */
export function standalone(changes: OverlayConfigChanges = {}): OverlayConfig {
  const local = { listeningHost: "127.0.0.1", allowPrivate: true, allowLoopback: true };
  return configure({ ...unadjusted(LOCAL), ...local }, changes);
}

/**
 * `config` with `changes`, adjusted and checked. Limits that {@link adjust} derives from a changed one are derived anew unless
 * they are given too. A change that is undefined changes nothing. `path` names the origin in an error. Throws `config_invalid`.
 */
export function configure(
  config: OverlayConfig,
  changes: OverlayConfigChanges,
  options: { path?: string; fileHandles?: number } = {},
): OverlayConfig {
  const given = withoutUndefined(changes);
  const changed = (...keys: (keyof OverlayConfig)[]) => keys.some((key) => given[key] !== undefined);
  const derived: OverlayConfigChanges = {};
  // Another network has other validators.
  if (changed("networkPassphrase") && given.networkPassphrase !== config.networkPassphrase) derived.ledgerNodes = [];
  if (changed("targetPeerConnections")) derived.maxAdditionalPeerConnections = -1;
  if (changed("targetPeerConnections", "maxAdditionalPeerConnections", "maxPendingConnections")) {
    derived.maxOutboundPendingConnections = derived.maxInboundPendingConnections = 0;
  }
  const flowControl = { ...config.flowControl, ...withoutUndefined(given.flowControl ?? {}) };
  const merged: OverlayConfig = { ...config, ...derived, ...given, flowControl };
  // Soroban's limit is the one setting whose absence means something.
  if (Object.hasOwn(changes, "sorobanTxMaxBytes")) merged.sorobanTxMaxBytes = changes.sorobanTxMaxBytes;
  const { config: adjusted } = adjust(merged, options);
  checkConfig(adjusted, options.path);
  return adjusted;
}

/**
 * The settings of a stellar-core configuration; what it leaves out has our default. Its peers are the only ones: a network's
 * first peers are not added. `changes` go first. Throws `config_invalid`.
 */
export function fromCoreConfig(
  core: CoreConfig,
  changes: OverlayConfigChanges = {},
  options: { path?: string; fileHandles?: number } = {},
): OverlayConfig {
  const passphrase = changes.networkPassphrase ?? core.networkPassphrase;
  if (passphrase === undefined) {
    const reason = "it has no NETWORK_PASSPHRASE";
    throw new OverlayError({ code: "config_invalid", path: options.path ?? UNNAMED, reason });
  }
  const { outboundTxQueueBytes, ...capacity } = core.flowControl;
  const said = {
    networkPassphrase: passphrase,
    isValidator: core.nodeIsValidator,
    listeningPort: core.peerPort,
    targetPeerConnections: core.targetPeerConnections,
    maxAdditionalPeerConnections: core.maxAdditionalPeerConnections,
    maxPendingConnections: core.maxPendingConnections,
    preferredPeers: core.preferredPeers,
    knownPeers: core.knownPeers,
    preferredPeerKeys: core.preferredPeerKeys,
    preferredPeersOnly: core.preferredPeersOnly,
    surveyorKeys: core.surveyorKeys,
    quorumNodes: core.quorumNodes.filter((key) => key !== "$self"),
    authenticationTimeoutMs: core.authenticationTimeoutMs,
    idleTimeoutMs: core.idleTimeoutMs,
    stragglerTimeoutMs: core.stragglerTimeoutMs,
    ...core.settings,
    flowControl: { ...capacity, ...(outboundTxQueueBytes === undefined ? {} : { outboundTxQueueBytes }) },
  };
  const flowControl = { ...said.flowControl, ...withoutUndefined(changes.flowControl ?? {}) };
  const network = resolveNetwork(passphrase);
  const { quorumNodes } = said;
  const own = {
    ...unadjusted(network),
    knownPeers: [],
    ...(quorumNodes.length > 0 ? { ledgerNodes: quorumNodes } : {}),
  };
  return configure(own, { ...said, ...withoutUndefined(changes), flowControl }, options);
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

function unadjusted(network: Network): OverlayConfig {
  const knownPeers = network.seeds.map((seed) => parsePeerAddress(seed.address));
  const ledgerNodes = network.seeds.map((seed) => seed.nodeId);
  return { ...DEFAULTS, networkPassphrase: network.passphrase, knownPeers, ledgerNodes };
}
