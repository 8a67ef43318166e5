/**
 * fast-check arbitraries of the wire types. All values are in the form that decoding gives, so
 * `decode(encode(value))` must be deeply equal to them.
 */
import fc from "fast-check";
import { textOfBytes } from "../../overlay/wire/xdr.ts";
import {
  type AuthCert,
  encodeStellarValue,
  ERROR_CODES,
  type Hello,
  type ScpBallot,
  type ScpEnvelope,
  type ScpPledges,
  type ScpQuorumSet,
  type ScpStatement,
  type StellarValue,
  type StellarValueExt,
  type WireAddress,
} from "../../overlay/wire/types.ts";
import type {
  PeerStats,
  SignedSurveyRequest,
  SignedSurveyResponse,
  SignedSurveyStart,
  SignedSurveyStop,
  SurveyCollecting,
  SurveyTopology,
  TimeSlicedNodeData,
  TimeSlicedPeerData,
} from "../../overlay/wire/survey_messages.ts";
import { MessageType, type MessageTypeName, type StellarMessage } from "../../overlay/wire/messages.ts";

type Arb<T> = fc.Arbitrary<T>;

/** `fc.record` that makes the plain objects decoding makes. */
function record<T>(fields: { [K in keyof T]: Arb<T[K]> }): Arb<T> {
  return fc.record(fields, { noNullPrototype: true }) as Arb<T>;
}

/** `min` to `max` arbitrary bytes. Not a Buffer, not a view on something larger. */
export function arbBytes(min: number, max = min): Arb<Uint8Array> {
  return fc.uint8Array({ minLength: min, maxLength: max });
}

/** Arbitrary bytes of whole XDR words. */
export function arbWords(maxWords: number): Arb<Uint8Array> {
  return fc.nat(maxWords).chain((words) => arbBytes(4 * words));
}

export const arbHash: Arb<Uint8Array> = arbBytes(32);
export const arbNodeId: Arb<Uint8Array> = arbHash;
/** Mostly 64 bytes, sometimes any legal length. */
export const arbSignature: Arb<Uint8Array> = fc.oneof({ weight: 4, arbitrary: arbBytes(64) }, arbBytes(0, 64));
/** All of the range, its ends and small numbers often. */
export const arbUint32: Arb<number> = fc.oneof(
  fc.nat(200),
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.constantFrom(0, 0xffffffff),
);
export const arbInt32: Arb<number> = fc.integer({ min: -0x80000000, max: 0x7fffffff });
export const arbUint64: Arb<bigint> = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });

/** Text of an XDR string: readable text, UTF-8 of any kind, and bytes that are no UTF-8, at most `maxBytes`. */
export function arbText(maxBytes: number): Arb<string> {
  const readable = fc.string({ unit: "grapheme", maxLength: Math.floor(maxBytes / 4) })
    .filter((text) => new TextEncoder().encode(text).length <= maxBytes);
  return fc.oneof(readable, arbBytes(0, maxBytes).map(textOfBytes));
}

export const arbAuthCert: Arb<AuthCert> = record({ pubkey: arbHash, expiration: arbUint64, sig: arbSignature });

export const arbHello: Arb<Hello> = record({
  ledgerVersion: arbUint32,
  overlayVersion: arbUint32,
  overlayMinVersion: arbUint32,
  networkId: arbHash,
  versionStr: arbText(100),
  listeningPort: arbInt32,
  peerId: arbNodeId,
  cert: arbAuthCert,
  nonce: arbHash,
});

export const arbWireAddress: Arb<WireAddress> = record({
  ip: fc.oneof(arbBytes(4), arbBytes(16)),
  port: arbUint32,
  numFailures: arbUint32,
});

// ---- SCP ----

export const arbStellarValueExt: Arb<StellarValueExt> = fc.oneof(
  record({ v: fc.constant(0 as const) }),
  record({
    v: fc.constant(1 as const),
    lcValueSignature: record({ nodeId: arbNodeId, signature: arbSignature }),
  }),
  record({
    v: fc.constant(2 as const),
    proposedValue: record({
      txSetHash: arbHash,
      previousLedgerHash: arbHash,
      previousLedgerVersion: arbUint32,
      lcValueSignature: record({ nodeId: arbNodeId, signature: arbSignature }),
    }),
  }),
  record({
    v: fc.constant("unknown" as const),
    discriminant: fc.integer({ min: 3, max: 0xffffffff }),
    body: arbWords(20),
  }),
);

export const arbStellarValue: Arb<StellarValue> = record({
  txSetHash: arbHash,
  closeTime: arbUint64,
  upgrades: fc.array(arbBytes(0, 128), { maxLength: 6 }),
  ext: arbStellarValueExt,
});

/** The opaque value inside SCP: an encoded StellarValue, or anything. */
export const arbScpValue: Arb<Uint8Array> = fc.oneof(arbStellarValue.map(encodeStellarValue), arbBytes(0, 60));

export const arbScpBallot: Arb<ScpBallot> = record({ counter: arbUint32, value: arbScpValue });

export const arbScpPledges: Arb<ScpPledges> = fc.oneof(
  record({
    type: fc.constant("prepare" as const),
    prepare: record({
      quorumSetHash: arbHash,
      ballot: arbScpBallot,
      prepared: fc.option(arbScpBallot),
      preparedPrime: fc.option(arbScpBallot),
      nC: arbUint32,
      nH: arbUint32,
    }),
  }),
  record({
    type: fc.constant("confirm" as const),
    confirm: record({
      ballot: arbScpBallot,
      nPrepared: arbUint32,
      nCommit: arbUint32,
      nH: arbUint32,
      quorumSetHash: arbHash,
    }),
  }),
  record({
    type: fc.constant("externalize" as const),
    externalize: record({ commit: arbScpBallot, nH: arbUint32, commitQuorumSetHash: arbHash }),
  }),
  record({
    type: fc.constant("nominate" as const),
    nominate: record({
      quorumSetHash: arbHash,
      votes: fc.array(arbScpValue, { maxLength: 4 }),
      accepted: fc.array(arbScpValue, { maxLength: 4 }),
    }),
  }),
);

export const arbScpStatement: Arb<ScpStatement> = record(
  { nodeId: arbNodeId, slotIndex: arbUint64, pledges: arbScpPledges },
);

export const arbScpEnvelope: Arb<ScpEnvelope> = record(
  { statement: arbScpStatement, signature: arbSignature },
);

/** Quorum sets of up to `depth` levels below the root; sane or not. */
export function arbScpQuorumSet(depth = 3): Arb<ScpQuorumSet> {
  return record({
    threshold: arbUint32,
    validators: fc.array(arbNodeId, { maxLength: 4 }),
    innerSets: depth === 0 ? fc.constant([]) : fc.array(arbScpQuorumSet(depth - 1), { maxLength: 2 }),
  });
}

// ---- Survey ----

export const arbSurveyCollecting: Arb<SurveyCollecting> = record(
  { surveyorId: arbNodeId, nonce: arbUint32, ledgerNum: arbUint32 },
);
export const arbSignedSurveyStart: Arb<SignedSurveyStart> = record(
  { signature: arbSignature, startCollecting: arbSurveyCollecting },
);
export const arbSignedSurveyStop: Arb<SignedSurveyStop> = record(
  { signature: arbSignature, stopCollecting: arbSurveyCollecting },
);

export const arbSignedSurveyRequest: Arb<SignedSurveyRequest> = record({
  requestSignature: arbSignature,
  request: record({
    request: record({
      surveyorPeerId: arbNodeId,
      surveyedPeerId: arbNodeId,
      ledgerNum: arbUint32,
      encryptionKey: arbHash,
      commandType: fc.constant("topology" as const),
    }),
    nonce: arbUint32,
    inboundPeersIndex: arbUint32,
    outboundPeersIndex: arbUint32,
  }),
});

export const arbSignedSurveyResponse: Arb<SignedSurveyResponse> = record({
  responseSignature: arbSignature,
  response: record({
    response: record({
      surveyorPeerId: arbNodeId,
      surveyedPeerId: arbNodeId,
      ledgerNum: arbUint32,
      commandType: fc.constant("topology" as const),
      encryptedBody: arbBytes(0, 200),
    }),
    nonce: arbUint32,
  }),
});

export const arbPeerStats: Arb<PeerStats> = record({
  id: arbNodeId,
  versionStr: arbText(100),
  messagesRead: arbUint64,
  messagesWritten: arbUint64,
  bytesRead: arbUint64,
  bytesWritten: arbUint64,
  secondsConnected: arbUint64,
  uniqueFloodBytesRecv: arbUint64,
  duplicateFloodBytesRecv: arbUint64,
  uniqueFetchBytesRecv: arbUint64,
  duplicateFetchBytesRecv: arbUint64,
  uniqueFloodMessageRecv: arbUint64,
  duplicateFloodMessageRecv: arbUint64,
  uniqueFetchMessageRecv: arbUint64,
  duplicateFetchMessageRecv: arbUint64,
});

export const arbTimeSlicedPeerData: Arb<TimeSlicedPeerData> = record(
  { peerStats: arbPeerStats, averageLatencyMs: arbUint32 },
);

export const arbTimeSlicedNodeData: Arb<TimeSlicedNodeData> = record({
  addedAuthenticatedPeers: arbUint32,
  droppedAuthenticatedPeers: arbUint32,
  totalInboundPeerCount: arbUint32,
  totalOutboundPeerCount: arbUint32,
  p75SCPFirstToSelfLatencyMs: arbUint32,
  p75SCPSelfToOtherLatencyMs: arbUint32,
  lostSyncCount: arbUint32,
  isValidator: fc.boolean(),
  maxInboundPeerCount: arbUint32,
  maxOutboundPeerCount: arbUint32,
});

export const arbSurveyTopology: Arb<SurveyTopology> = record({
  inboundPeers: fc.array(arbTimeSlicedPeerData, { maxLength: 3 }),
  outboundPeers: fc.array(arbTimeSlicedPeerData, { maxLength: 3 }),
  nodeData: arbTimeSlicedNodeData,
});

// ---- Messages ----

/** Something that the codec of an envelope takes: its type, then words that are not looked at. */
export const arbOpaqueEnvelope: Arb<Uint8Array> = fc.tuple(fc.constantFrom(0, 2, 5), arbWords(40))
  .map(([kind, words]) => Uint8Array.from([0, 0, 0, kind, ...words]));

/** `count` whole words and a count that fits them, as a stand-in for encoded entries. */
const arbEntries: Arb<{ count: number; words: Uint8Array }> = arbWords(40).chain((words) =>
  fc.integer({ min: Math.min(1, words.length), max: words.length / 4 }).map((count) => ({ count, words }))
);

function message<N extends MessageTypeName, F extends string, T>(
  type: N,
  field: F,
  value: Arb<T>,
): Arb<StellarMessage> {
  return value.map((v) => ({ type, [field]: v }) as unknown as StellarMessage);
}

/** One arbitrary per message type. Enum fields hold values upstream knows; transactions are opaque stand-ins. */
export const arbMessages: { [N in MessageTypeName]: Arb<StellarMessage> } = {
  errorMsg: message(
    "errorMsg",
    "error",
    record({ code: fc.constantFrom(...Object.values(ERROR_CODES)), msg: arbText(100) }),
  ),
  auth: message("auth", "auth", record({ flags: arbInt32 })),
  dontHave: message(
    "dontHave",
    "dontHave",
    record({ type: fc.constantFrom(...Object.values(MessageType)), reqHash: arbHash }),
  ),
  peers: message("peers", "peers", fc.array(arbWireAddress, { maxLength: 100, size: "small" })),
  getTxSet: message("getTxSet", "txSetHash", arbHash),
  txSet: message(
    "txSet",
    "txSet",
    fc.tuple(arbHash, arbEntries).map(([previousLedgerHash, e]) => ({
      previousLedgerHash,
      txCount: e.count,
      txs: e.words,
    })),
  ),
  transaction: message("transaction", "transaction", arbOpaqueEnvelope),
  getScpQuorumset: message("getScpQuorumset", "qSetHash", arbHash),
  scpQuorumset: message("scpQuorumset", "qSet", arbScpQuorumSet()),
  scpMessage: message("scpMessage", "envelope", arbScpEnvelope),
  getScpState: message("getScpState", "ledgerSeq", arbUint32),
  hello: message("hello", "hello", arbHello),
  sendMore: message("sendMore", "sendMore", record({ numMessages: arbUint32 })),
  generalizedTxSet: message(
    "generalizedTxSet",
    "generalizedTxSet",
    fc.tuple(arbHash, arbEntries).map(([previousLedgerHash, e]) => ({
      v: 1 as const,
      previousLedgerHash,
      phases: Uint8Array.from([0, 0, 0, e.count, ...e.words]),
    })),
  ),
  floodAdvert: message("floodAdvert", "txHashes", fc.array(arbHash, { maxLength: 1000, size: "small" })),
  floodDemand: message("floodDemand", "txHashes", fc.array(arbHash, { maxLength: 1000, size: "small" })),
  sendMoreExtended: message(
    "sendMoreExtended",
    "sendMoreExtended",
    record({ numMessages: arbUint32, numBytes: arbUint32 }),
  ),
  timeSlicedSurveyRequest: message("timeSlicedSurveyRequest", "surveyRequest", arbSignedSurveyRequest),
  timeSlicedSurveyResponse: message("timeSlicedSurveyResponse", "surveyResponse", arbSignedSurveyResponse),
  timeSlicedSurveyStartCollecting: message("timeSlicedSurveyStartCollecting", "surveyStart", arbSignedSurveyStart),
  timeSlicedSurveyStopCollecting: message("timeSlicedSurveyStopCollecting", "surveyStop", arbSignedSurveyStop),
};

/** Any message, every type equally often. */
export const arbMessage: Arb<StellarMessage> = fc.oneof(...Object.values(arbMessages));
