/**
 * The validators of the twin: they agree on a value per slot without asking each other, and sign the statements that real
 * validators would have sent on the way there. Source: wire.md section 4; stellar-core HerderImpl.cpp, HerderSCPDriver.cpp.
 */
import { compareBytes, concatBytes, encodeText, writeUint32 } from "../../overlay/base/bytes.ts";
import { sha256, type SigningKey } from "../../overlay/crypto/primitives.ts";
import { type FloodId, floodIdOf } from "../../overlay/flood/floodgate.ts";
import { encodeMessage } from "../../overlay/wire/messages.ts";
import {
  encodeStellarValue,
  type ScpPledges,
  type ScpQuorumSet,
  scpQuorumSet,
  scpStatement,
} from "../../overlay/wire/types.ts";
import { encode } from "../../overlay/wire/xdr.ts";

/** Source: Stellar-ledger-entries.x `EnvelopeType`. */
const ENVELOPE_TYPE_SCP = 1;
const ENVELOPE_TYPE_SCPVALUE = 4;

/** The statements of a slot in the order a validator sends them. */
export const STATEMENT_KINDS = ["nominate", "prepare", "confirm", "externalize"] as const;
export type StatementKind = (typeof STATEMENT_KINDS)[number];

/** A statement that was signed and encoded once, and is sent in these bytes by everybody. */
export interface SignedEnvelope {
  readonly id: FloodId;
  /** Index of the validator's node. */
  readonly validator: number;
  readonly slot: number;
  readonly kind: StatementKind;
  /** The SCP_MESSAGE. */
  readonly message: Uint8Array;
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeUint32(bytes, 0, value);
  return bytes;
}

function uint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/** Bytes a validator signs for an SCP statement: networkId || int32 1 || XDR(statement). */
export function scpPreimage(networkId: Uint8Array, statement: Uint8Array): Uint8Array {
  return concatBytes(networkId, int32(ENVELOPE_TYPE_SCP), statement);
}

/** Bytes a validator signs for a value: networkId || int32 4 || txSetHash || closeTime (Unix seconds). */
export function valuePreimage(networkId: Uint8Array, txSetHash: Uint8Array, closeTime: bigint): Uint8Array {
  return concatBytes(networkId, int32(ENVELOPE_TYPE_SCPVALUE), txSetHash, uint64(closeTime));
}

/** One validator's voice. */
export class Validator {
  readonly index: number;
  readonly lagMs: number;
  readonly quorumSetHash: Uint8Array;
  /** The SCP_QUORUMSET message that answers for {@link quorumSetHash}. */
  readonly quorumSetMessage: Uint8Array;
  readonly #key: SigningKey;
  readonly #networkId: Uint8Array;

  constructor(
    options: { index: number; lagMs: number; key: SigningKey; networkId: Uint8Array; quorumSet: ScpQuorumSet },
  ) {
    this.index = options.index;
    this.lagMs = options.lagMs;
    this.#key = options.key;
    this.#networkId = options.networkId;
    this.quorumSetHash = sha256(encode(scpQuorumSet, options.quorumSet));
    this.quorumSetMessage = encodeMessage({ type: "scpQuorumset", qSet: options.quorumSet });
  }

  /** A value for `slot`, signed by this validator: an encoded StellarValue of the signed kind. Nobody has its default set. */
  propose(slot: number, closeTime: bigint, txSetHash = sha256(encodeText(`twin transaction set ${slot}`))): Uint8Array {
    const signature = this.#key.sign(valuePreimage(this.#networkId, txSetHash, closeTime));
    const lcValueSignature = { nodeId: this.#key.publicKey, signature };
    return encodeStellarValue({ txSetHash, closeTime, upgrades: [], ext: { v: 1, lcValueSignature } });
  }

  /** This validator's statement of a kind about `value`. Costs one signature. */
  state(slot: number, kind: StatementKind, value: Uint8Array): SignedEnvelope {
    const statement = { nodeId: this.#key.publicKey, slotIndex: BigInt(slot), pledges: this.#pledges(kind, value) };
    const signature = this.#key.sign(scpPreimage(this.#networkId, encode(scpStatement, statement)));
    const message = encodeMessage({ type: "scpMessage", envelope: { statement, signature } });
    return { id: floodIdOf(message), validator: this.index, slot, kind, message };
  }

  #pledges(kind: StatementKind, value: Uint8Array): ScpPledges {
    const quorumSetHash = this.quorumSetHash;
    const ballot = { counter: 1, value };
    switch (kind) {
      case "nominate":
        return { type: kind, nominate: { quorumSetHash, votes: [value], accepted: [] } };
      case "prepare":
        return { type: kind, prepare: { quorumSetHash, ballot, prepared: null, preparedPrime: null, nC: 0, nH: 0 } };
      case "confirm":
        return { type: kind, confirm: { ballot, nPrepared: 1, nCommit: 1, nH: 1, quorumSetHash } };
      case "externalize":
        return { type: kind, externalize: { commit: ballot, nH: 1, commitQuorumSetHash: quorumSetHash } };
    }
  }
}

/**
 * The quorum set of validator `at` of `all` (node ids). Most share one, two thirds of all; each third validator has one of
 * its own: itself and a majority of the others.
 */
export function quorumSetOf(all: readonly Uint8Array[], at: number): ScpQuorumSet {
  if (at % 3 === 2) {
    const others = all.filter((_, i) => i !== at).sort(compareBytes);
    const inner = { threshold: Math.floor(others.length / 2) + 1, validators: others, innerSets: [] };
    return { threshold: 2, validators: [all[at]], innerSets: [inner] };
  }
  return { threshold: Math.ceil((2 * all.length) / 3), validators: [...all].sort(compareBytes), innerSets: [] };
}

/** Whether a node has the quorum set of a validator: its own always, of the others two in three. */
export function knowsQuorumSet(node: number, validator: number): boolean {
  return node === validator || (node + validator) % 3 !== 0;
}
