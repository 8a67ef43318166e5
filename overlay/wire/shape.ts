/**
 * Whether a message is corrupt, found without making an object of it: upstream decodes every message as it comes and drops
 * the sender of one that does not decode; we hand most of them on undecoded, and some have megabytes. What is inside of
 * transactions, and inside of transaction sets behind their count, is not looked at.
 * Source: stellar-core TCPPeer.cpp recvMessage, Peer.cpp recvAuthenticatedMessage.
 */
import { readUint32 } from "../base/bytes.ts";
import { OverlayError } from "../base/errors.ts";
import { countTxHashes, decodeMessage, isTransactionKind, MessageType } from "./messages.ts";
import { MAX_NESTING } from "./xdr.ts";

/** Lengths of the messages that have only one; any bytes of that length decode. */
const LENGTHS: Record<number, number> = {
  [MessageType.dontHave]: 40,
  [MessageType.getTxSet]: 36,
  [MessageType.getScpQuorumset]: 36,
  [MessageType.getScpState]: 8,
  [MessageType.sendMore]: 8,
  [MessageType.sendMoreExtended]: 12,
};

/**
 * Refuses a corrupt message. HELLO, AUTH, ERROR_MSG, PEERS and SCP_MESSAGE are decoded by whoever handles them, and pass.
 * `message` is a StellarMessage of whole words whose type exists.
 * @throws OverlayError `xdr_invalid`
 */
export function checkShape(message: Uint8Array): void {
  const type = readUint32(message, 0), length = LENGTHS[type];
  if (length !== undefined) {
    if (message.length !== length) decodeMessage(message);
    return;
  }
  switch (type) {
    case MessageType.floodAdvert:
    case MessageType.floodDemand:
      if (countTxHashes(message) < 0) decodeMessage(message);
      return;
    case MessageType.transaction:
      if (message.length < 8 || !isTransactionKind(readUint32(message, 4))) decodeMessage(message.subarray(0, 8));
      return;
    case MessageType.txSet:
      checkEntries(message, 36, "txSet");
      return;
    case MessageType.generalizedTxSet:
      if (message.length < 44 || readUint32(message, 4) !== 1) decodeMessage(message.subarray(0, 44));
      checkEntries(message, 40, "generalizedTxSet");
      return;
    case MessageType.scpQuorumset: {
      const end = skipQuorumSet(message, 4, 1);
      if (end !== message.length) corrupt("qSet", `${message.length - end} bytes left over`);
      return;
    }
    case MessageType.timeSlicedSurveyRequest:
    case MessageType.timeSlicedSurveyResponse:
    case MessageType.timeSlicedSurveyStartCollecting:
    case MessageType.timeSlicedSurveyStopCollecting:
      decodeMessage(message);
  }
}

function corrupt(path: string, reason: string): never {
  throw new OverlayError({ code: "xdr_invalid", path, reason });
}

/** The count at `at` must fit what follows: no entry takes less than a word. */
function checkEntries(message: Uint8Array, at: number, path: string): void {
  if (message.length < at + 4) corrupt(path, `needs ${at + 4} bytes, ${message.length} left`);
  const count = readUint32(message, at), left = message.length - at - 4;
  if (count * 4 > left) corrupt(path, `${count} entries do not fit into ${left} bytes`);
  if (count === 0 && left > 0) corrupt(path, `${left} bytes left over`);
}

/** Where the quorum set at `at` ends. `level` is 1 for the root; a set and its list of inner sets count as two nestings. */
function skipQuorumSet(message: Uint8Array, at: number, level: number): number {
  if (2 * level > MAX_NESTING) corrupt("qSet", `nested deeper than ${MAX_NESTING}`);
  const word = () => {
    if (at + 4 > message.length) corrupt("qSet", "needs 4 bytes, 0 left");
    at += 4;
    return readUint32(message, at - 4);
  };
  word(); // threshold
  const validators = word();
  if (validators * 36 > message.length - at) corrupt("qSet.validators", `${validators} entries do not fit`);
  for (let i = 0; i < validators; i++, at += 36) {
    const kind = readUint32(message, at);
    if (kind !== 0) corrupt("qSet.validators", `unknown public key type ${kind | 0}`);
  }
  const innerSets = word();
  if (innerSets * 12 > message.length - at) corrupt("qSet.innerSets", `${innerSets} entries do not fit`);
  for (let i = 0; i < innerSets; i++) at = skipQuorumSet(message, at, level + 1);
  return at;
}
