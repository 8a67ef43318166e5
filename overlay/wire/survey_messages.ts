/**
 * The time-sliced survey's messages and the body of its sealed answer. The signature comes first in every signed form; it
 * covers the XDR of the inner structure. Source: Stellar-overlay.x.
 */
import { bool, type Codec, constant, enumeration, struct, text, uint32, uint64, varOpaque, vector } from "./xdr.ts";
import { hash, nodeId, signature } from "./types.ts";

/** Source: Stellar-overlay.x `TimeSlicedSurveyStartCollectingMessage` and `…StopCollectingMessage`, which are alike. */
export interface SurveyCollecting {
  surveyorId: Uint8Array;
  /** Names the survey. */
  nonce: number;
  ledgerNum: number;
}
export const surveyCollecting: Codec<SurveyCollecting> = struct({
  surveyorId: nodeId,
  nonce: uint32,
  ledgerNum: uint32,
});

/** Source: Stellar-overlay.x `SignedTimeSlicedSurveyStartCollectingMessage`. */
export interface SignedSurveyStart {
  signature: Uint8Array;
  startCollecting: SurveyCollecting;
}
export const signedSurveyStart: Codec<SignedSurveyStart> = struct({ signature, startCollecting: surveyCollecting });

/** Source: Stellar-overlay.x `SignedTimeSlicedSurveyStopCollectingMessage`. */
export interface SignedSurveyStop {
  signature: Uint8Array;
  stopCollecting: SurveyCollecting;
}
export const signedSurveyStop: Codec<SignedSurveyStop> = struct({ signature, stopCollecting: surveyCollecting });

const commandType = enumeration({ topology: 1 });

/** Source: Stellar-overlay.x `SurveyRequestMessage`. */
export interface SurveyRequest {
  surveyorPeerId: Uint8Array;
  surveyedPeerId: Uint8Array;
  ledgerNum: number;
  /** Curve25519 key the answer is sealed to. */
  encryptionKey: Uint8Array;
  commandType: "topology";
}
export const surveyRequest: Codec<SurveyRequest> = struct({
  surveyorPeerId: nodeId,
  surveyedPeerId: nodeId,
  ledgerNum: uint32,
  encryptionKey: hash,
  commandType,
});

/** Source: Stellar-overlay.x `TimeSlicedSurveyRequestMessage`. */
export interface TimeSlicedSurveyRequest {
  request: SurveyRequest;
  nonce: number;
  /** First inbound peer wanted. */
  inboundPeersIndex: number;
  /** First outbound peer wanted. */
  outboundPeersIndex: number;
}
export const timeSlicedSurveyRequest: Codec<TimeSlicedSurveyRequest> = struct({
  request: surveyRequest,
  nonce: uint32,
  inboundPeersIndex: uint32,
  outboundPeersIndex: uint32,
});

/** Source: Stellar-overlay.x `SignedTimeSlicedSurveyRequestMessage`. */
export interface SignedSurveyRequest {
  requestSignature: Uint8Array;
  request: TimeSlicedSurveyRequest;
}
export const signedSurveyRequest: Codec<SignedSurveyRequest> = struct({
  requestSignature: signature,
  request: timeSlicedSurveyRequest,
});

/** Source: Stellar-overlay.x `SurveyResponseMessage`. */
export interface SurveyResponse {
  surveyorPeerId: Uint8Array;
  surveyedPeerId: Uint8Array;
  ledgerNum: number;
  commandType: "topology";
  /** A sealed box holding a {@link SurveyResponseBody}, at most 64,000 bytes. */
  encryptedBody: Uint8Array;
}
export const surveyResponse: Codec<SurveyResponse> = struct({
  surveyorPeerId: nodeId,
  surveyedPeerId: nodeId,
  ledgerNum: uint32,
  commandType,
  encryptedBody: varOpaque(64000),
});

/** Source: Stellar-overlay.x `TimeSlicedSurveyResponseMessage`. */
export interface TimeSlicedSurveyResponse {
  response: SurveyResponse;
  nonce: number;
}
export const timeSlicedSurveyResponse: Codec<TimeSlicedSurveyResponse> = struct({
  response: surveyResponse,
  nonce: uint32,
});

/** Source: Stellar-overlay.x `SignedTimeSlicedSurveyResponseMessage`. */
export interface SignedSurveyResponse {
  responseSignature: Uint8Array;
  response: TimeSlicedSurveyResponse;
}
export const signedSurveyResponse: Codec<SignedSurveyResponse> = struct({
  responseSignature: signature,
  response: timeSlicedSurveyResponse,
});

/** One connection as a surveyed node saw it. Counters are differences over the slice. Source: Stellar-overlay.x `PeerStats`. */
export interface PeerStats {
  id: Uint8Array;
  versionStr: string;
  messagesRead: bigint;
  messagesWritten: bigint;
  bytesRead: bigint;
  bytesWritten: bigint;
  /** Seconds since the connection was made, not limited to the slice. */
  secondsConnected: bigint;
  uniqueFloodBytesRecv: bigint;
  duplicateFloodBytesRecv: bigint;
  uniqueFetchBytesRecv: bigint;
  duplicateFetchBytesRecv: bigint;
  uniqueFloodMessageRecv: bigint;
  duplicateFloodMessageRecv: bigint;
  uniqueFetchMessageRecv: bigint;
  duplicateFetchMessageRecv: bigint;
}
export const peerStats: Codec<PeerStats> = struct({
  id: nodeId,
  versionStr: text(100),
  messagesRead: uint64,
  messagesWritten: uint64,
  bytesRead: uint64,
  bytesWritten: uint64,
  secondsConnected: uint64,
  uniqueFloodBytesRecv: uint64,
  duplicateFloodBytesRecv: uint64,
  uniqueFetchBytesRecv: uint64,
  duplicateFetchBytesRecv: uint64,
  uniqueFloodMessageRecv: uint64,
  duplicateFloodMessageRecv: uint64,
  uniqueFetchMessageRecv: uint64,
  duplicateFetchMessageRecv: uint64,
});

/** Source: Stellar-overlay.x `TimeSlicedPeerData`. */
export interface TimeSlicedPeerData {
  peerStats: PeerStats;
  /** Median ping in ms; the field's name is upstream's. */
  averageLatencyMs: number;
}
export const timeSlicedPeerData: Codec<TimeSlicedPeerData> = struct({ peerStats, averageLatencyMs: uint32 });

/** Source: Stellar-overlay.x `TimeSlicedNodeData`. */
export interface TimeSlicedNodeData {
  addedAuthenticatedPeers: number;
  droppedAuthenticatedPeers: number;
  totalInboundPeerCount: number;
  totalOutboundPeerCount: number;
  p75SCPFirstToSelfLatencyMs: number;
  p75SCPSelfToOtherLatencyMs: number;
  lostSyncCount: number;
  isValidator: boolean;
  maxInboundPeerCount: number;
  maxOutboundPeerCount: number;
}
export const timeSlicedNodeData: Codec<TimeSlicedNodeData> = struct({
  addedAuthenticatedPeers: uint32,
  droppedAuthenticatedPeers: uint32,
  totalInboundPeerCount: uint32,
  totalOutboundPeerCount: uint32,
  p75SCPFirstToSelfLatencyMs: uint32,
  p75SCPSelfToOtherLatencyMs: uint32,
  lostSyncCount: uint32,
  isValidator: bool,
  maxInboundPeerCount: uint32,
  maxOutboundPeerCount: uint32,
});

/** Source: Stellar-overlay.x `TopologyResponseBodyV2`. */
export interface SurveyTopology {
  /** At most 25 per answer. */
  inboundPeers: TimeSlicedPeerData[];
  /** At most 25 per answer. */
  outboundPeers: TimeSlicedPeerData[];
  nodeData: TimeSlicedNodeData;
}

/** What a sealed answer holds. Its only arm is SURVEY_TOPOLOGY_RESPONSE_V2. Source: Stellar-overlay.x `SurveyResponseBody`. */
export const surveyResponseBody: Codec<SurveyTopology> = constant(
  2,
  struct({
    inboundPeers: vector(timeSlicedPeerData, 25),
    outboundPeers: vector(timeSlicedPeerData, 25),
    nodeData: timeSlicedNodeData,
  }),
  "survey response type",
);
