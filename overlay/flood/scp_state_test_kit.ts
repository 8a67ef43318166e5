/** Validators that sign: statements, values and items for the tests of this folder. */
import { Buffer } from "node:buffer";
import { VirtualClock } from "../base/clock.ts";
import { concatBytes } from "../base/bytes.ts";
import { networkIdOf, sha256, type SigningKey, signingKey } from "../crypto/primitives.ts";
import { encodeMessage } from "../wire/messages.ts";
import {
  encodeStellarValue,
  type ScpPledges,
  type ScpQuorumSet,
  type ScpStatement,
  scpStatement,
  type StellarValue,
} from "../wire/types.ts";
import { encode, uint64 } from "../wire/xdr.ts";
import { floodIdOf } from "./floodgate.ts";
import { type ScpState, type ScpVerdict } from "./scp_state.ts";

export const NETWORK_ID = networkIdOf("scp state tests");
const TYPE = (n: number) => Uint8Array.of(0, 0, 0, n);

/** Keys with ascending node ids. */
export function validators(count: number): SigningKey[] {
  const keys = Array.from({ length: count }, (_, i) => signingKey(sha256(Uint8Array.of(i >> 8, i))));
  return keys.sort((a, b) => (Buffer.compare(a.publicKey, b.publicKey)));
}

/** A signed value for `txSetHash`; closes at the virtual epoch unless said otherwise. */
export function value(
  key: SigningKey,
  txSetHash: Uint8Array,
  closeTime?: bigint,
  networkId: Uint8Array = NETWORK_ID,
): Uint8Array {
  closeTime ??= BigInt(new VirtualClock().wallMs() / 1000);
  const signed = concatBytes(networkId, TYPE(4), txSetHash, encode(uint64, closeTime));
  const lcValueSignature = { nodeId: key.publicKey, signature: key.sign(signed) };
  const content: StellarValue = { txSetHash, closeTime, upgrades: [], ext: { v: 1, lcValueSignature } };
  return encodeStellarValue(content);
}

/** A signed value that proposes the empty set in place of `txSetHash`. */
export function emptySetValue(key: SigningKey, txSetHash: Uint8Array): Uint8Array {
  const closeTime = BigInt(new VirtualClock().wallMs() / 1000);
  const signed = concatBytes(NETWORK_ID, TYPE(4), txSetHash, encode(uint64, closeTime));
  const lcValueSignature = { nodeId: key.publicKey, signature: key.sign(signed) };
  const proposedValue = {
    txSetHash,
    previousLedgerHash: new Uint8Array(32),
    previousLedgerVersion: 28,
    lcValueSignature,
  };
  return encodeStellarValue({ txSetHash: new Uint8Array(32), closeTime, upgrades: [], ext: { v: 2, proposedValue } });
}

/** A signed SCP_MESSAGE. */
export function scpMessage(
  key: SigningKey,
  slot: number | bigint,
  pledges: ScpPledges,
  networkId: Uint8Array = NETWORK_ID,
): Uint8Array {
  const statement: ScpStatement = { nodeId: key.publicKey, slotIndex: BigInt(slot), pledges };
  const signature = key.sign(concatBytes(networkId, TYPE(1), encode(scpStatement, statement)));
  return encodeMessage({ type: "scpMessage", envelope: { statement, signature } });
}

/** Nominates one value. */
export function nominate(quorumSetHash: Uint8Array, ...votes: Uint8Array[]): ScpPledges {
  return { type: "nominate", nominate: { quorumSetHash, votes, accepted: [] } };
}

/** Prepares ballot `counter` of a value. */
export function prepare(quorumSetHash: Uint8Array, counter: number, of: Uint8Array): ScpPledges {
  const ballot = { counter, value: of };
  return { type: "prepare", prepare: { quorumSetHash, ballot, prepared: null, preparedPrime: null, nC: 0, nH: 0 } };
}

/** Externalizes a value. */
export function externalize(commitQuorumSetHash: Uint8Array, of: Uint8Array): ScpPledges {
  return { type: "externalize", externalize: { commit: { counter: 1, value: of }, nH: 1, commitQuorumSetHash } };
}

/** A quorum set, its message and its hash. */
export function quorumSetOf(keys: SigningKey[]): { set: ScpQuorumSet; message: Uint8Array; hash: Uint8Array } {
  const set = { threshold: keys.length, validators: keys.map((key) => key.publicKey), innerSets: [] };
  const message = encodeMessage({ type: "scpQuorumset", qSet: set });
  return { set, message, hash: sha256(message.subarray(4)) };
}

/** A GENERALIZED_TX_SET and its hash, one per number or per 32 bytes. */
export function txSetOf(n: number | Uint8Array): { message: Uint8Array; hash: Uint8Array } {
  const previousLedgerHash = typeof n === "number" ? new Uint8Array(32).fill(n) : n;
  const generalizedTxSet = { v: 1 as const, previousLedgerHash, phases: new Uint8Array(4) };
  const message = encodeMessage({ type: "generalizedTxSet", generalizedTxSet });
  return { message, hash: sha256(message.subarray(4)) };
}

/** Judges and, when it is good, remembers; the reason or "new" or "old". */
export function offer(state: ScpState, message: Uint8Array): string {
  const verdict: ScpVerdict = state.judge(message, floodIdOf(message));
  if (!verdict.accepted) return verdict.reason;
  return state.remember(verdict.judged, message) ? "new" : "old";
}
