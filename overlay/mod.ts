/** The engine: wire, crypto, handshake, transport, connections and peers of the Stellar overlay. */
export { escapeRemoteText, fromHex, toHex } from "./base/bytes.ts";
export { type Clock, systemClock, type Timer, VirtualClock } from "./base/clock.ts";
export {
  describeFailure,
  type Failure,
  type FailureCode,
  hintFor,
  isFailure,
  OverlayError,
  type Stage,
} from "./base/errors.ts";
export { type Network, networkNameOf, NETWORKS, resolveNetwork } from "./base/networks.ts";
export { formatAddress, parsePeerAddress, parseTarget, type PeerAddress, type Target } from "./base/peer_address.ts";
export { type Random, SeededRandom, systemRandom } from "./base/random.ts";
export { VERSION } from "./base/version.ts";
export { AuthContext } from "./auth/auth_context.ts";
export type { Role } from "./auth/session_keys.ts";
export { Connection } from "./connection/connection.ts";
export {
  DEFAULT_FLOW_CONTROL,
  FlowControl,
  type FlowControlLimits,
  type FlowControlState,
  type Grant,
} from "./connection/flow_control.ts";
export type { TrafficMeter } from "./connection/traffic_meter.ts";
export { decodeNodeId, decodeSecretSeed, encodeNodeId, encodeSecretSeed } from "./crypto/strkey.ts";
export { LocalNode, type LocalNodeOptions } from "./peer/local_node.ts";
export {
  DEFAULT_PEER_SETTINGS,
  type Drop,
  Peer,
  type PeerHandlers,
  type PeerOptions,
  type PeerSettings,
} from "./peer/peer.ts";
export { MemoryNetwork } from "./transport/memory.ts";
export { systemResolver, TcpTransport } from "./transport/tcp.ts";
export type { Dialing, Endpoint, Listener, Resolver, Socket, Transport } from "./transport/transport.ts";
export {
  decodeMessage,
  encodeMessage,
  messageEnumName,
  MessageType,
  type MessageTypeName,
  ReceivedMessage,
  type StellarMessage,
} from "./wire/messages.ts";
export * from "./wire/survey_messages.ts";
export * from "./wire/types.ts";
export { type Codec, decode, encode } from "./wire/xdr.ts";
export {
  configure,
  fromCoreConfig,
  futurenet,
  type OverlayConfig,
  type OverlayConfigChanges,
  pubnet,
  standalone,
  testnet,
} from "./base/config.ts";
export { type CoreConfig, readCoreConfig } from "./base/core_config.ts";
export { flowControlProblem } from "./connection/flow_control.ts";
export { ScpQueueRules } from "./connection/scp_queue.ts";
export { type Ban, BanManager } from "./db/ban_manager.ts";
export { type Database, openDatabase } from "./db/database.ts";
export { PeerManager } from "./db/peer_manager.ts";
export { openNodeDatabase } from "./db/schema.ts";
export { loadTransactionCheck, type TransactionCheck } from "./flood/transaction_check.ts";
export { Floodgate } from "./flood/floodgate.ts";
export { type MetricsSnapshot, OverlayMetrics } from "./metrics/overlay_metrics.ts";
export {
  type OverlayEvent,
  OverlayManager,
  type OverlayManagerOptions,
  type PeerObserver,
  type PeerSnapshot,
} from "./manager/overlay_manager.ts";
export type { LedgerChanges, LedgerLimits } from "./manager/ledger_limits.ts";
export type { AuthenticatedPeer } from "./manager/peer_lists.ts";
export {
  type CorePeerJson,
  type CorePeersJson,
  corePeersJson,
  type PendingPeerSnapshot,
} from "./manager/peer_snapshot.ts";
export { SurveyBacklog } from "./survey/survey_backlog.ts";
export { SurveyManager } from "./survey/survey_manager.ts";
export type {
  AskOutcome,
  HeardSurveyMessage,
  StartOutcome,
  StopOutcome,
  Surveyor,
  SurveyPage,
  SurveyPageAnswer,
  SurveyPhase,
  SurveyState,
} from "./survey/surveyor.ts";
export { type OverlayMessage, type SubscribeOptions, Subscription } from "./manager/subscription.ts";
export type { PeerFaults } from "./peer/peer.ts";
export { PeerMetrics, type PeerMetricsSnapshot } from "./peer/peer_metrics.ts";
