/**
 * The types below the messages, in the order of Stellar-types.x, Stellar-overlay.x, Stellar-SCP.x and Stellar-ledger.x.
 * Hashes, keys and ids are raw bytes here; their text forms live in crypto/strkey.ts.
 */
import {
  type Codec,
  constant,
  decode,
  encode,
  enumeration,
  int32,
  lazy,
  opaque,
  optional,
  rest,
  struct,
  text,
  uint32,
  uint64,
  varOpaque,
  vector,
  XdrError,
} from "./xdr.ts";

/** 32 bytes: a SHA-256 hash or any other 256-bit value. */
export const hash: Codec<Uint8Array> = opaque(32);

/** A node id: the 32 bytes of its Ed25519 public key. Source: Stellar-types.x `PublicKey`, whose only arm is ed25519. */
export const nodeId: Codec<Uint8Array> = constant(0, hash, "public key type");

/** `opaque<64>`. Verification asks for exactly 64 bytes; the codec does not. */
export const signature: Codec<Uint8Array> = varOpaque(64);

// ---- Stellar-overlay.x ----

/** Why the sender of an ERROR_MSG ends the connection. */
export const ERROR_CODES = { ERR_MISC: 0, ERR_DATA: 1, ERR_CONF: 2, ERR_AUTH: 3, ERR_LOAD: 4 } as const;
export type ErrorCodeName = keyof typeof ERROR_CODES;

/** Source: Stellar-overlay.x `Error`. */
export interface ErrorMsg {
  /** One of {@link ERROR_CODES}; other numbers are possible, since upstream does not check them on decode. */
  code: number;
  /** At most 100 bytes, from the remote: escape before showing. */
  msg: string;
}
export const errorMsg: Codec<ErrorMsg> = struct({ code: int32, msg: text(100) });

/** Name of an error code; a number that has none reads `ERR_<number>`. */
export function errorCodeName(code: number): string {
  for (const [name, number] of Object.entries(ERROR_CODES)) if (number === code) return name;
  return `ERR_${code}`;
}

/** Binds the process's Curve25519 key to the node's identity for a while. Source: Stellar-overlay.x `AuthCert`. */
export interface AuthCert {
  /** Curve25519 public key, 32 bytes. */
  pubkey: Uint8Array;
  /** Unix seconds. */
  expiration: bigint;
  /** Ed25519 signature by the node key, 64 bytes when valid. */
  sig: Uint8Array;
}
export const authCert: Codec<AuthCert> = struct({ pubkey: hash, expiration: uint64, sig: signature });

/** The first message of either side. Source: Stellar-overlay.x `Hello`; note that the maximum version precedes the minimum. */
export interface Hello {
  /** Highest ledger protocol of the build. */
  ledgerVersion: number;
  overlayVersion: number;
  overlayMinVersion: number;
  /** SHA-256 of the network passphrase. */
  networkId: Uint8Array;
  /** At most 100 bytes, from the remote: escape before showing. */
  versionStr: string;
  /** TCP port the sender listens on; signed on the wire. */
  listeningPort: number;
  peerId: Uint8Array;
  cert: AuthCert;
  /** 32 random bytes of this connection. */
  nonce: Uint8Array;
}
export const hello: Codec<Hello> = struct({
  ledgerVersion: uint32,
  overlayVersion: uint32,
  overlayMinVersion: uint32,
  networkId: hash,
  versionStr: text(100),
  listeningPort: int32,
  peerId: nodeId,
  cert: authCert,
  nonce: hash,
});

/** The only legal value of AUTH.flags. Source: Stellar-overlay.x. */
export const AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED = 200;

/** Source: Stellar-overlay.x `Auth`. */
export interface Auth {
  flags: number;
}
export const auth: Codec<Auth> = struct({ flags: int32 });

/** Answer to a query whose item the sender lacks. Source: Stellar-overlay.x `DontHave`. */
export interface DontHave {
  /** A message type number; unknown numbers are accepted. */
  type: number;
  reqHash: Uint8Array;
}
export const dontHave: Codec<DontHave> = struct({ type: int32, reqHash: hash });

/** An address as peers exchange it. Source: Stellar-overlay.x `PeerAddress`. */
export interface WireAddress {
  /** 4 bytes (IPv4) or 16 bytes (IPv6). */
  ip: Uint8Array;
  /** Any uint32; only 1 to 65535 is usable. */
  port: number;
  /** Always sent as 0 and ignored. */
  numFailures: number;
}
const ipv4 = opaque(4), ipv6 = opaque(16);
const ipAddress: Codec<Uint8Array> = {
  read: (r) => {
    const kind = r.uint32();
    if (kind === 0) return ipv4.read(r);
    if (kind === 1) return ipv6.read(r);
    throw new XdrError(`unknown address type ${kind | 0}`);
  },
  write: (w, value) => {
    if (value.length !== 4 && value.length !== 16) throw new XdrError(`${value.length} bytes instead of 4 or 16`);
    w.uint32(value.length === 4 ? 0 : 1);
    w.raw(value);
  },
};
/** Codec of {@link WireAddress}; any port and count is legal on the wire. */
export const wireAddress: Codec<WireAddress> = struct({ ip: ipAddress, port: uint32, numFailures: uint32 });

/** Source: Stellar-overlay.x `SendMore`. Still decodes; receiving it is a violation. */
export interface SendMore {
  numMessages: number;
}
export const sendMore: Codec<SendMore> = struct({ numMessages: uint32 });

/** Grants the peer room for more flood traffic. Source: Stellar-overlay.x `SendMoreExtended`. */
export interface SendMoreExtended {
  /** Messages granted. */
  numMessages: number;
  /** Bytes granted, counted on StellarMessage bytes. */
  numBytes: number;
}
export const sendMoreExtended: Codec<SendMoreExtended> = struct({ numMessages: uint32, numBytes: uint32 });

// ---- Stellar-SCP.x ----

/** Source: Stellar-SCP.x `SCPBallot`. */
export interface ScpBallot {
  counter: number;
  /** An encoded StellarValue. */
  value: Uint8Array;
}
export const scpValue: Codec<Uint8Array> = varOpaque();
export const scpBallot: Codec<ScpBallot> = struct({ counter: uint32, value: scpValue });

/** Source: Stellar-SCP.x `SCPNomination`. */
export interface ScpNomination {
  quorumSetHash: Uint8Array;
  votes: Uint8Array[];
  accepted: Uint8Array[];
}
export const scpNomination: Codec<ScpNomination> = struct({
  quorumSetHash: hash,
  votes: vector(scpValue),
  accepted: vector(scpValue),
});

/** Source: Stellar-SCP.x `SCPStatement.pledges.prepare`. */
export interface ScpPrepare {
  quorumSetHash: Uint8Array;
  ballot: ScpBallot;
  prepared: ScpBallot | null;
  preparedPrime: ScpBallot | null;
  nC: number;
  nH: number;
}
export const scpPrepare: Codec<ScpPrepare> = struct({
  quorumSetHash: hash,
  ballot: scpBallot,
  prepared: optional(scpBallot),
  preparedPrime: optional(scpBallot),
  nC: uint32,
  nH: uint32,
});

/** Source: Stellar-SCP.x `SCPStatement.pledges.confirm`. */
export interface ScpConfirm {
  ballot: ScpBallot;
  nPrepared: number;
  nCommit: number;
  nH: number;
  quorumSetHash: Uint8Array;
}
export const scpConfirm: Codec<ScpConfirm> = struct({
  ballot: scpBallot,
  nPrepared: uint32,
  nCommit: uint32,
  nH: uint32,
  quorumSetHash: hash,
});

/** Source: Stellar-SCP.x `SCPStatement.pledges.externalize`. */
export interface ScpExternalize {
  commit: ScpBallot;
  nH: number;
  commitQuorumSetHash: Uint8Array;
}
export const scpExternalize: Codec<ScpExternalize> = struct({
  commit: scpBallot,
  nH: uint32,
  commitQuorumSetHash: hash,
});

/** What a validator says about a slot. */
export type ScpPledges =
  | { type: "prepare"; prepare: ScpPrepare }
  | { type: "confirm"; confirm: ScpConfirm }
  | { type: "externalize"; externalize: ScpExternalize }
  | { type: "nominate"; nominate: ScpNomination };

/** Wire numbers of the statement types. Source: Stellar-SCP.x `SCPStatementType`. */
export const SCP_STATEMENT_TYPES = { prepare: 0, confirm: 1, externalize: 2, nominate: 3 } as const;
const statementType = enumeration(SCP_STATEMENT_TYPES);

/** Codec of {@link ScpPledges}. */
export const scpPledges: Codec<ScpPledges> = {
  read: (r) => {
    const type = statementType.read(r);
    switch (type) {
      case "prepare":
        return { type, prepare: scpPrepare.read(r) };
      case "confirm":
        return { type, confirm: scpConfirm.read(r) };
      case "externalize":
        return { type, externalize: scpExternalize.read(r) };
      case "nominate":
        return { type, nominate: scpNomination.read(r) };
    }
  },
  write: (w, value) => {
    statementType.write(w, value.type);
    switch (value.type) {
      case "prepare":
        return scpPrepare.write(w, value.prepare);
      case "confirm":
        return scpConfirm.write(w, value.confirm);
      case "externalize":
        return scpExternalize.write(w, value.externalize);
      case "nominate":
        return scpNomination.write(w, value.nominate);
    }
  },
};

/** Source: Stellar-SCP.x `SCPStatement`. */
export interface ScpStatement {
  nodeId: Uint8Array;
  /** Equals the ledger sequence number. */
  slotIndex: bigint;
  pledges: ScpPledges;
}
export const scpStatement: Codec<ScpStatement> = struct({ nodeId, slotIndex: uint64, pledges: scpPledges });

/** A signed statement. Source: Stellar-SCP.x `SCPEnvelope`. */
export interface ScpEnvelope {
  statement: ScpStatement;
  signature: Uint8Array;
}
export const scpEnvelope: Codec<ScpEnvelope> = struct({ statement: scpStatement, signature });

/** The quorum set hash a statement refers to. */
export function quorumSetHashOf(pledges: ScpPledges): Uint8Array {
  switch (pledges.type) {
    case "prepare":
      return pledges.prepare.quorumSetHash;
    case "confirm":
      return pledges.confirm.quorumSetHash;
    case "externalize":
      return pledges.externalize.commitQuorumSetHash;
    case "nominate":
      return pledges.nominate.quorumSetHash;
  }
}

/** Source: Stellar-SCP.x `SCPQuorumSet`. XDR sets no bound on its size; see `quorumSetProblem` for sanity. */
export interface ScpQuorumSet {
  threshold: number;
  validators: Uint8Array[];
  innerSets: ScpQuorumSet[];
}
export const scpQuorumSet: Codec<ScpQuorumSet> = struct({
  threshold: uint32,
  validators: vector(nodeId),
  innerSets: vector(lazy(() => scpQuorumSet)),
});

// ---- Stellar-ledger.x ----

/** Source: Stellar-ledger.x `LedgerCloseValueSignature`. */
export interface LedgerCloseValueSignature {
  nodeId: Uint8Array;
  signature: Uint8Array;
}
export const ledgerCloseValueSignature: Codec<LedgerCloseValueSignature> = struct({ nodeId, signature });

/**
 * The `ext` of a StellarValue. An arm this version does not know stays opaque: its body is the rest of the value, so that
 * a network with newer values can still be watched.
 */
export type StellarValueExt =
  | { v: 0 }
  | { v: 1; lcValueSignature: LedgerCloseValueSignature }
  | {
    v: 2;
    proposedValue: {
      txSetHash: Uint8Array;
      previousLedgerHash: Uint8Array;
      previousLedgerVersion: number;
      lcValueSignature: LedgerCloseValueSignature;
    };
  }
  | { v: "unknown"; discriminant: number; body: Uint8Array };

const proposedValue = struct({
  txSetHash: hash,
  previousLedgerHash: hash,
  previousLedgerVersion: uint32,
  lcValueSignature: ledgerCloseValueSignature,
});

const stellarValueExt: Codec<StellarValueExt> = {
  read: (r) => {
    const v = r.uint32();
    if (v === 0) return { v };
    if (v === 1) return { v, lcValueSignature: ledgerCloseValueSignature.read(r) };
    if (v === 2) return { v, proposedValue: proposedValue.read(r) };
    return { v: "unknown", discriminant: v, body: rest.read(r) };
  },
  write: (w, value) => {
    if (value.v === "unknown" && value.discriminant < 3) throw new XdrError(`arm ${value.discriminant} is known`);
    uint32.write(w, value.v === "unknown" ? value.discriminant : value.v);
    if (value.v === 1) ledgerCloseValueSignature.write(w, value.lcValueSignature);
    else if (value.v === 2) proposedValue.write(w, value.proposedValue);
    else if (value.v === "unknown") rest.write(w, value.body);
  },
};

/** What validators agree on. Travels inside SCP as an opaque value. Source: Stellar-ledger.x `StellarValue`. */
export interface StellarValue {
  txSetHash: Uint8Array;
  /** Unix seconds. */
  closeTime: bigint;
  /** Encoded LedgerUpgrade values, at most 6 of at most 128 bytes. */
  upgrades: Uint8Array[];
  ext: StellarValueExt;
}
export const stellarValue: Codec<StellarValue> = struct({
  txSetHash: hash,
  closeTime: uint64,
  upgrades: vector(varOpaque(128), 6),
  ext: stellarValueExt,
});

/**
 * Decodes the value inside a ballot or nomination.
 * @throws OverlayError `xdr_invalid`
 */
export function decodeStellarValue(bytes: Uint8Array): StellarValue {
  return decode(stellarValue, bytes, "stellarValue");
}

/** Encodes a value for a ballot or nomination. */
export function encodeStellarValue(value: StellarValue): Uint8Array {
  return encode(stellarValue, value, "stellarValue");
}
