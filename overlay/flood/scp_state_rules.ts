/**
 * What can be said about one SCP statement, value or quorum set by looking at nothing else: is it sane, what does it refer to,
 * what was signed. Source: stellar-core BallotProtocol.cpp, NominationProtocol.cpp, QuorumSetUtils.cpp; wire.md section 4.
 */
import { compareBytes, concatBytes, equalBytes, isZero } from "../base/bytes.ts";
import { OverlayError } from "../base/errors.ts";
import {
  decodeStellarValue,
  type LedgerCloseValueSignature,
  type ScpPledges,
  type ScpQuorumSet,
  type StellarValue,
} from "../wire/types.ts";
import { encode, uint64 } from "../wire/xdr.ts";
import { compareBallots } from "./scp_statements.ts";

/** Levels of a quorum set below the root. Source: stellar-core QuorumSetUtils.cpp MAXIMUM_QUORUM_NESTING_LEVEL. */
export const MAX_QUORUM_NESTING = 4;
/** Nodes of a quorum set. Source: stellar-core QuorumSetUtils.cpp. */
export const MAX_QUORUM_NODES = 1000;
/**
 * No sane quorum set is larger: 1,000 nodes of 36 bytes, and at most as many innermost sets of 12 bytes, each in three
 * others of its own, and the root.
 */
export const MAX_SANE_QUORUM_SET_BYTES = MAX_QUORUM_NODES * (36 + 12 * MAX_QUORUM_NESTING) + 12;

/** What is wrong with a quorum set, in upstream's words; undefined when it is sane. Source: QuorumSetUtils.cpp isQuorumSetSane. */
export function quorumSetProblem(set: ScpQuorumSet): string | undefined {
  const seen = new Set<string>();
  const problem = levelProblem(set, 0, seen);
  if (problem !== undefined) return problem;
  if (seen.size < 1 || seen.size > MAX_QUORUM_NODES) {
    return "Total number of nodes in a quorum must be within 1 and 1000";
  }
  return undefined;
}

function levelProblem(set: ScpQuorumSet, depth: number, seen: Set<string>): string | undefined {
  if (depth > MAX_QUORUM_NESTING) return "Maximum quorum nesting level exceeded";
  if (set.threshold < 1) return "Threshold must be greater than 0";
  if (set.threshold > set.validators.length + set.innerSets.length) return "Threshold exceeds total number of entries";
  for (const node of set.validators) {
    const key = String.fromCharCode(...node);
    if (seen.has(key)) return "Duplicate node found in quorum configuration";
    seen.add(key);
  }
  for (const inner of set.innerSets) {
    const problem = levelProblem(inner, depth + 1, seen);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/**
 * What is wrong with a statement; undefined when it is sane.
 * Source: stellar-core BallotProtocol.cpp isStatementSane, NominationProtocol.cpp isSane.
 */
export function statementProblem(pledges: ScpPledges): string | undefined {
  switch (pledges.type) {
    case "nominate": {
      const { votes, accepted } = pledges.nominate;
      if (votes.length + accepted.length === 0) return "nomination without a value";
      if (!isAscending(votes) || !isAscending(accepted)) return "nomination with values out of order";
      return undefined;
    }
    case "prepare": {
      const { ballot, prepared, preparedPrime, nC, nH } = pledges.prepare;
      if (ballot.counter === 0) return "ballot counter 0";
      if (prepared !== null && preparedPrime !== null) {
        const lessAndIncompatible = compareBallots(preparedPrime, prepared) <= 0 &&
          !equalBytes(preparedPrime.value, prepared.value);
        if (!lessAndIncompatible) return "preparedPrime is not below prepared, or compatible with it";
      }
      if (nH !== 0 && (prepared === null || nH > prepared.counter)) return "nH above prepared";
      if (nC !== 0 && (nH === 0 || ballot.counter < nH || nH < nC)) return "nC, nH and the ballot out of order";
      return undefined;
    }
    case "confirm": {
      const { ballot, nCommit, nH } = pledges.confirm;
      if (ballot.counter === 0) return "ballot counter 0";
      return nH <= ballot.counter && nCommit <= nH ? undefined : "nCommit, nH and the ballot out of order";
    }
    case "externalize": {
      const { commit, nH } = pledges.externalize;
      if (commit.counter === 0) return "ballot counter 0";
      return nH >= commit.counter ? undefined : "nH below the committed ballot";
    }
  }
}

function isAscending(values: Uint8Array[]): boolean {
  for (let i = 1; i < values.length; i++) if (compareBytes(values[i - 1], values[i]) >= 0) return false;
  return true;
}

/** The values a statement speaks about, as encoded. Source: stellar-core Slot.cpp getStatementValues. */
export function valuesOf(pledges: ScpPledges): Uint8Array[] {
  switch (pledges.type) {
    case "nominate":
      return [...pledges.nominate.votes, ...pledges.nominate.accepted];
    case "prepare": {
      const { ballot, prepared, preparedPrime } = pledges.prepare;
      return [ballot.counter === 0 ? null : ballot, prepared, preparedPrime].flatMap((b) =>
        b === null ? [] : [b.value]
      );
    }
    case "confirm":
      return [pledges.confirm.ballot.value];
    case "externalize":
      return [pledges.externalize.commit.value];
  }
}

const ENVELOPE_TYPE_SCP = Uint8Array.of(0, 0, 0, 1);
const ENVELOPE_TYPE_SCPVALUE = Uint8Array.of(0, 0, 0, 4);

/**
 * What the signature of an SCP_MESSAGE is made over, from the message's bytes: network id, envelope type, statement.
 * `message` is type, statement, length of the signature, and the 64 bytes of it.
 */
export function envelopePreimage(networkId: Uint8Array, message: Uint8Array): Uint8Array {
  return concatBytes(networkId, ENVELOPE_TYPE_SCP, message.subarray(4, message.length - 68));
}

/** A decoded value whose form is right. Its signature was not verified. */
export interface CheckedValue {
  value: StellarValue;
  signer: LedgerCloseValueSignature;
  /** What `signer.signature` is made over. */
  preimage: Uint8Array;
}

/**
 * Decodes a value and checks its form: signed, and an outer hash of zeros exactly when it proposes an empty set instead.
 * Undefined when it is not usable. Source: stellar-core HerderImpl.cpp checkStellarValueSignature, PendingEnvelopes.cpp.
 */
export function checkValue(networkId: Uint8Array, bytes: Uint8Array): CheckedValue | undefined {
  let value: StellarValue;
  try {
    value = decodeStellarValue(bytes);
  } catch (error) {
    if (error instanceof OverlayError) return undefined;
    throw error;
  }
  const { ext } = value;
  if (ext.v !== 1 && ext.v !== 2) return undefined;
  if ((ext.v === 2) !== isZero(value.txSetHash)) return undefined;
  const signer = ext.v === 1 ? ext.lcValueSignature : ext.proposedValue.lcValueSignature;
  if (signer.signature.length !== 64) return undefined;
  const txSetHash = ext.v === 1 ? value.txSetHash : ext.proposedValue.txSetHash;
  const preimage = concatBytes(networkId, ENVELOPE_TYPE_SCPVALUE, txSetHash, encode(uint64, value.closeTime));
  return { value, signer, preimage };
}
