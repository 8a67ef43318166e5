/**
 * StellarMessage: a table of its types, the codec of the whole union, and `ReceivedMessage`, which decodes only when asked.
 * Types 1, 4, 14, 15 and 25 and above do not exist: corrupt XDR. Source: Stellar-overlay.x; wire.md sections 2 and 3.
 */
import { readUint32, toHex } from "../base/bytes.ts";
import { type Codec, decode, encode, readTraced, rest, struct, uint32, vector, XdrError } from "./xdr.ts";
import {
  type Auth,
  auth,
  type DontHave,
  dontHave,
  type ErrorMsg,
  errorMsg,
  hash,
  type Hello,
  hello,
  type ScpEnvelope,
  scpEnvelope,
  type ScpQuorumSet,
  scpQuorumSet,
  type SendMore,
  sendMore,
  type SendMoreExtended,
  sendMoreExtended,
  type WireAddress,
  wireAddress,
} from "./types.ts";
import {
  type SignedSurveyRequest,
  signedSurveyRequest,
  type SignedSurveyResponse,
  signedSurveyResponse,
  type SignedSurveyStart,
  signedSurveyStart,
  type SignedSurveyStop,
  signedSurveyStop,
} from "./survey_messages.ts";

/** Wire numbers of the message types. Source: Stellar-overlay.x `MessageType`. */
export const MessageType = {
  errorMsg: 0,
  auth: 2,
  dontHave: 3,
  peers: 5,
  getTxSet: 6,
  txSet: 7,
  transaction: 8,
  getScpQuorumset: 9,
  scpQuorumset: 10,
  scpMessage: 11,
  getScpState: 12,
  hello: 13,
  sendMore: 16,
  generalizedTxSet: 17,
  floodAdvert: 18,
  floodDemand: 19,
  sendMoreExtended: 20,
  timeSlicedSurveyRequest: 21,
  timeSlicedSurveyResponse: 22,
  timeSlicedSurveyStartCollecting: 23,
  timeSlicedSurveyStopCollecting: 24,
} as const;
export type MessageTypeName = keyof typeof MessageType;

const NAMES: (MessageTypeName | undefined)[] = [];
for (const name of Object.keys(MessageType) as MessageTypeName[]) NAMES[MessageType[name]] = name;

/** Name of a wire number, or undefined when no such type exists. */
export function messageTypeName(type: number): MessageTypeName | undefined {
  return NAMES[type];
}

/** Upstream's enum name, as its logs and ERROR_MSG texts have it: `SCP_MESSAGE`, `GET_SCP_STATE`. */
export function messageEnumName(type: number): string {
  const name = NAMES[type];
  if (name === undefined) return `TYPE_${type}`;
  return name.replace(/[A-Z]/g, (c) => "_" + c).toUpperCase();
}

/** Most addresses in one PEERS. */
export const MAX_PEERS = 100;
/** Most hashes in one FLOOD_ADVERT or FLOOD_DEMAND. */
export const MAX_TX_HASHES = 1000;

/** Legacy transaction set. The envelopes stay encoded. Source: Stellar-ledger.x `TransactionSet`. */
export interface TransactionSet {
  previousLedgerHash: Uint8Array;
  /** How many envelopes `txs` claims to hold. */
  txCount: number;
  /** The encoded envelopes, one after the other. */
  txs: Uint8Array;
}
const encodedTransactionSet: Codec<TransactionSet> = struct({ previousLedgerHash: hash, txCount: uint32, txs: rest });
const transactionSet: Codec<TransactionSet> = {
  read: (r) => {
    const set = encodedTransactionSet.read(r);
    checkCount(set.txCount, set.txs.length);
    return set;
  },
  write: (w, set) => {
    checkCount(set.txCount, set.txs.length);
    encodedTransactionSet.write(w, set);
  },
};

/** Refuses a count of encoded entries that `numBytes` cannot hold; no XDR type takes less than one word. */
function checkCount(count: number, numBytes: number): void {
  if (count * 4 > numBytes) throw new XdrError(`${count} entries do not fit into ${numBytes} bytes`);
  if (count === 0 && numBytes > 0) throw new XdrError(`${numBytes} bytes left over`);
}

/** Transaction set since ledger protocol 20. The phases stay encoded. Source: Stellar-ledger.x `GeneralizedTransactionSet`. */
export interface GeneralizedTransactionSet {
  v: 1;
  previousLedgerHash: Uint8Array;
  /** The encoded `TransactionPhase phases<>`, its count included. */
  phases: Uint8Array;
}
const generalizedTransactionSet: Codec<GeneralizedTransactionSet> = {
  read: (r) => {
    const v = r.uint32();
    if (v !== 1) throw new XdrError(`unknown transaction set version ${v | 0}`);
    const set: GeneralizedTransactionSet = { v, previousLedgerHash: hash.read(r), phases: rest.read(r) };
    checkPhases(set.phases);
    return set;
  },
  write: (w, value) => {
    checkPhases(value.phases);
    w.uint32(1);
    hash.write(w, value.previousLedgerHash);
    rest.write(w, value.phases);
  },
};

function checkPhases(phases: Uint8Array): void {
  if (phases.length < 4) throw new XdrError(`needs 4 bytes, ${phases.length} left`);
  checkCount(readUint32(phases, 0), phases.length - 4);
}

const ENVELOPE_TX_V0 = 0, ENVELOPE_TX = 2, ENVELOPE_TX_FEE_BUMP = 5;
const transactionEnvelope: Codec<Uint8Array> = {
  read: (r) => checkEnvelope(rest.read(r)),
  write: (w, value) => rest.write(w, checkEnvelope(value)),
};

function checkEnvelope(envelope: Uint8Array): Uint8Array {
  if (envelope.length < 4) throw new XdrError(`needs 4 bytes, ${envelope.length} left`);
  const kind = readUint32(envelope, 0);
  if (!isTransactionKind(kind)) throw new XdrError(`unknown transaction envelope type ${kind | 0}`);
  return envelope;
}

/** Whether an envelope that begins with this word is a transaction. Source: Stellar-transaction.x `TransactionEnvelope`. */
export function isTransactionKind(kind: number): boolean {
  return kind === ENVELOPE_TX_V0 || kind === ENVELOPE_TX || kind === ENVELOPE_TX_FEE_BUMP;
}

/** One message between peers. The envelopes of transactions and transaction sets stay encoded. */
export type StellarMessage =
  | { type: "errorMsg"; error: ErrorMsg }
  | { type: "auth"; auth: Auth }
  | { type: "dontHave"; dontHave: DontHave }
  | { type: "peers"; peers: WireAddress[] }
  | { type: "getTxSet"; txSetHash: Uint8Array }
  | { type: "txSet"; txSet: TransactionSet }
  | { type: "transaction"; transaction: Uint8Array }
  | { type: "getScpQuorumset"; qSetHash: Uint8Array }
  | { type: "scpQuorumset"; qSet: ScpQuorumSet }
  | { type: "scpMessage"; envelope: ScpEnvelope }
  | { type: "getScpState"; ledgerSeq: number }
  | { type: "hello"; hello: Hello }
  | { type: "sendMore"; sendMore: SendMore }
  | { type: "generalizedTxSet"; generalizedTxSet: GeneralizedTransactionSet }
  | { type: "floodAdvert"; txHashes: Uint8Array[] }
  | { type: "floodDemand"; txHashes: Uint8Array[] }
  | { type: "sendMoreExtended"; sendMoreExtended: SendMoreExtended }
  | { type: "timeSlicedSurveyRequest"; surveyRequest: SignedSurveyRequest }
  | { type: "timeSlicedSurveyResponse"; surveyResponse: SignedSurveyResponse }
  | { type: "timeSlicedSurveyStartCollecting"; surveyStart: SignedSurveyStart }
  | { type: "timeSlicedSurveyStopCollecting"; surveyStop: SignedSurveyStop };

/** Each type's field in {@link StellarMessage} and the codec of that field. */
// deno-lint-ignore no-explicit-any
const ARMS: { [N in MessageTypeName]: [field: string, codec: Codec<any>] } = {
  errorMsg: ["error", errorMsg],
  auth: ["auth", auth],
  dontHave: ["dontHave", dontHave],
  peers: ["peers", vector(wireAddress, MAX_PEERS)],
  getTxSet: ["txSetHash", hash],
  txSet: ["txSet", transactionSet],
  transaction: ["transaction", transactionEnvelope],
  getScpQuorumset: ["qSetHash", hash],
  scpQuorumset: ["qSet", scpQuorumSet],
  scpMessage: ["envelope", scpEnvelope],
  getScpState: ["ledgerSeq", uint32],
  hello: ["hello", hello],
  sendMore: ["sendMore", sendMore],
  generalizedTxSet: ["generalizedTxSet", generalizedTransactionSet],
  floodAdvert: ["txHashes", vector(hash, MAX_TX_HASHES)],
  floodDemand: ["txHashes", vector(hash, MAX_TX_HASHES)],
  sendMoreExtended: ["sendMoreExtended", sendMoreExtended],
  timeSlicedSurveyRequest: ["surveyRequest", signedSurveyRequest],
  timeSlicedSurveyResponse: ["surveyResponse", signedSurveyResponse],
  timeSlicedSurveyStartCollecting: ["surveyStart", signedSurveyStart],
  timeSlicedSurveyStopCollecting: ["surveyStop", signedSurveyStop],
};

/** Source: Stellar-overlay.x `StellarMessage`. The cursor's range must end where the message ends. */
export const stellarMessage: Codec<StellarMessage> = {
  read: (r) => {
    const number = r.uint32();
    const type = NAMES[number];
    if (type === undefined) throw new XdrError(`unknown message type ${number | 0}`);
    const [field, codec] = ARMS[type];
    try {
      return { type, [field]: readTraced(r, field, codec) } as unknown as StellarMessage;
    } catch (error) {
      if (error instanceof XdrError) error.path.unshift(field);
      throw error;
    }
  },
  write: (w, message) => {
    w.uint32(MessageType[message.type]);
    const [field, codec] = ARMS[message.type];
    try {
      codec.write(w, (message as unknown as Record<string, unknown>)[field]);
    } catch (error) {
      if (error instanceof XdrError) error.path.unshift(field);
      throw error;
    }
  },
};

/**
 * Decodes the bytes of one StellarMessage.
 * @throws OverlayError `xdr_invalid`
 */
export function decodeMessage(bytes: Uint8Array): StellarMessage {
  return decode(stellarMessage, bytes);
}

/** Encodes one StellarMessage. */
export function encodeMessage(message: StellarMessage): Uint8Array {
  return encode(stellarMessage, message);
}

/** Whether a type is under flow control. Source: stellar-core OverlayManagerImpl.cpp isFloodMessage. */
export function isFloodType(type: number): boolean {
  return type === MessageType.scpMessage || type === MessageType.transaction || type === MessageType.floodAdvert ||
    type === MessageType.floodDemand;
}

/**
 * A message as it came from a peer: its type is known, its body is decoded when somebody asks. `bytes` is a view on the
 * chunk that was read; copy it to keep it beyond the callback.
 */
export class ReceivedMessage {
  #decoded: StellarMessage | undefined;

  constructor(
    /** Wire number, one of {@link MessageType}. */
    readonly type: number,
    /** The StellarMessage: type and body, without sequence and MAC. Its length is what flow control counts. */
    readonly bytes: Uint8Array,
    /** When it was read, on the engine's monotonic clock. */
    readonly receivedAtMs: number,
  ) {}

  /**
   * The decoded message, decoded at the first call.
   * @throws OverlayError `xdr_invalid`
   */
  decode(): StellarMessage {
    return (this.#decoded ??= decodeMessage(this.bytes));
  }
}

/** How many hashes a FLOOD_ADVERT or FLOOD_DEMAND carries, read without decoding it; -1 when the bytes are not one. */
export function countTxHashes(message: Uint8Array): number {
  if (message.length < 8) return -1;
  const type = readUint32(message, 0);
  if (type !== MessageType.floodAdvert && type !== MessageType.floodDemand) return -1;
  const count = readUint32(message, 4);
  return count <= MAX_TX_HASHES && message.length === 8 + 32 * count ? count : -1;
}

/** Identity of a transaction set from the bytes of a TX_SET or GENERALIZED_TX_SET message: what its hash is made of. */
export function txSetPreimage(message: Uint8Array): Uint8Array[] {
  const body = message.subarray(4);
  return readUint32(message, 0) === MessageType.txSet ? [body.subarray(0, 32), body.subarray(36)] : [body];
}

/** A one-line form for logs: type and, where it has one, the hash that names it. */
export function messageLabel(message: StellarMessage): string {
  const name = messageEnumName(MessageType[message.type]);
  if (message.type === "getTxSet") return `${name} ${toHex(message.txSetHash).slice(0, 8)}`;
  if (message.type === "getScpQuorumset") return `${name} ${toHex(message.qSetHash).slice(0, 8)}`;
  if (message.type === "scpMessage") {
    return `${name} slot ${message.envelope.statement.slotIndex} ${message.envelope.statement.pledges.type}`;
  }
  return name;
}
