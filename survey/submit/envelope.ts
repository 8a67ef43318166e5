/**
 * A transaction before it is sent: what it is, for which network it is signed, and what forbids to send it. Validators judge
 * it again, by their ledger; here only what cannot be right in any ledger is refused.
 */
import type { FeeBumpTransaction, Transaction, xdr as Xdr } from "@stellar/stellar-base";
import { equalBytes, toHex } from "../../overlay/base/bytes.ts";
import { maxTransactionBytesOf } from "../../overlay/base/flow_limits.ts";
import { type Failure, OverlayError } from "../../overlay/base/errors.ts";
import { type Network, networkLabel, NETWORKS } from "../../overlay/base/networks.ts";
import { networkIdOf, primitives, verify } from "../../overlay/crypto/primitives.ts";
import { decodeNodeId, encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { hashOn, innerSignedPart, signedPart } from "./tx_hash.ts";
import { findXdrFault, type XdrCursor, type XdrType } from "./xdr_fault.ts";

/** Lowest fee per operation, stroops. Source: stellar-core's genesis base fee, which no network has changed. */
const MIN_BASE_FEE = 100n;

/** One signature and what can be said of it without a ledger. */
export interface SignatureView {
  /** Last four bytes of the signer's key, hex. */
  hint: string;
  /** The account of the transaction whose key it is, `G...`; null when none fits: another signer of an account, or nobody. */
  signer: string | null;
  /** The network it is for; null when that cannot be told. */
  network: string | null;
}

/** A transaction as people look at it. Amounts of 64 bits are bigints; instants Unix seconds. */
export interface TransactionView {
  /** What it is known by on the chosen network, hex. */
  hash: string;
  /** What peers advertise it by: SHA-256 of the envelope, hex. */
  advertHash: string;
  kind: "v0" | "v1" | "feeBump";
  /** Hash of the transaction in a fee bump, hex. */
  innerHash: string | null;
  /** `G...` or `M...`. */
  source: string;
  /** Who pays for a fee bump. */
  feeSource: string | null;
  /** The most it may cost, stroops. */
  fee: bigint;
  sequence: bigint;
  memo: string | null;
  operations: { type: string; source: string | null }[];
  minTime: bigint | null;
  maxTime: bigint | null;
  /** Further preconditions, a phrase each. */
  preconditions: string[];
  isSoroban: boolean;
  sizeBytes: number;
  signatures: SignatureView[];
  /** Of the transaction in a fee bump. */
  innerSignatures: SignatureView[];
}

/** A transaction that may be sent. */
export interface Envelope {
  /** The TransactionEnvelope. */
  bytes: Uint8Array;
  view: TransactionView;
  /** What people should know before it is sent, a sentence each. */
  warnings: string[];
  /** See {@link signedPart}: finds it in a transaction set, whoever else signed. */
  signedPart: Uint8Array;
}

/** What is known of the network it is sent to. */
export interface EnvelopeOptions {
  network: Network;
  /** Now, ms since the Unix epoch. */
  wallMs: number;
  /** `txMaxSizeBytes` of Soroban's settings; `OverlayConfig.sorobanTxMaxBytes`. */
  sorobanTxMaxBytes: number | undefined;
}

/** An envelope that decodes, and what forbids to send it: undefined when nothing does. */
export type Inspection = Envelope & { refusal: Failure | undefined };

/**
 * Decodes an envelope and looks at it.
 * @throws OverlayError `tx_malformed` when there is nothing to show; everything else is `refusal`
 */
export async function inspectEnvelope(bytes: Uint8Array, options: EnvelopeOptions): Promise<Inspection> {
  const { xdr, TransactionBuilder, FeeBumpTransaction, cereal, extractBaseAddress } = await import(
    "@stellar/stellar-base"
  );
  const keyOf = (account: string) => decodeNodeId(extractBaseAddress(account));
  const envelope = decodeEnvelope(bytes, xdr, cereal as unknown as Cereal);
  const { network } = options;
  let read: Transaction | FeeBumpTransaction;
  try {
    read = TransactionBuilder.fromXDR(envelope, network.passphrase);
  } catch (error) {
    throw malformed("envelope", error instanceof Error ? error.message : String(error));
  }
  const bump = read instanceof FeeBumpTransaction ? read : undefined;
  const tx = read instanceof FeeBumpTransaction ? read.innerTransaction : read;
  const part = signedPart(envelope);
  const innerPart = bump === undefined ? undefined : innerSignedPart(envelope);
  const networks = [network, ...NETWORKS.filter((known) => known.passphrase !== network.passphrase)];
  const judge = (signatures: Xdr.DecoratedSignature[], signed: Uint8Array, signers: Signers) =>
    signatures.map((signature) => judgeSignature(signature, signed, signers, networks));
  const txSigners = signersOf(tx, keyOf);
  const outer = judge(read.signatures, part, bump === undefined ? txSigners : keysOf([bump.feeSource], keyOf));
  const inner = innerPart === undefined ? [] : judge(tx.signatures, innerPart, txSigners);
  const id = networkIdOf(network.passphrase);
  const view: TransactionView = {
    hash: toHex(hashOn(id, part)),
    advertHash: toHex(primitives.sha256(bytes)),
    kind: bump !== undefined ? "feeBump" : envelope.switch().name === "envelopeTypeTxV0" ? "v0" : "v1",
    innerHash: innerPart === undefined ? null : toHex(hashOn(id, innerPart)),
    source: tx.source,
    feeSource: bump?.feeSource ?? null,
    fee: BigInt(read.fee),
    sequence: BigInt(tx.sequence),
    memo: memoOf(tx),
    operations: operationsOf(tx),
    minTime: bound(tx.timeBounds?.minTime),
    maxTime: bound(tx.timeBounds?.maxTime),
    preconditions: preconditionsOf(tx),
    isSoroban: tx.operations.some(({ type }) => SOROBAN.has(type)),
    sizeBytes: bytes.length,
    signatures: outer.map(({ view }) => view),
    innerSignatures: inner.map(({ view }) => view),
  };
  const refusal = refusalOf(view, { outer, inner }, options);
  return { bytes, view, signedPart: part, warnings: warningsOf(view, { outer, inner }), refusal };
}

interface Cereal {
  XdrReader: new (bytes: Uint8Array) => XdrCursor;
}

function decodeEnvelope(bytes: Uint8Array, xdr: typeof Xdr, cereal: Cereal): Xdr.TransactionEnvelope {
  const buffer = Buffer.from(bytes);
  try {
    return xdr.TransactionEnvelope.fromXDR(buffer);
  } catch (error) {
    const fault = findXdrFault(xdr.TransactionEnvelope as unknown as XdrType, new cereal.XdrReader(buffer));
    if (fault !== undefined) throw malformed(fault.field, fault.reason, error);
    throw malformed("envelope", error instanceof Error ? error.message : String(error), error);
  }
}

function malformed(field: string, reason: string, cause?: unknown): OverlayError {
  return new OverlayError({ code: "tx_malformed", field, reason }, { cause });
}

// ---- Signatures ----

/** Keys that may have signed, by node id text. */
type Signers = ReadonlyMap<string, Uint8Array>;

/** The key of an account, `G...` or `M...`. */
type KeyOf = (account: string) => Uint8Array;

interface Judged {
  view: SignatureView;
  /** Names a key of the transaction, and is that key's for no network we know. */
  bad: boolean;
}

/** The accounts a transaction names, and the keys it asks for: without a ledger nobody knows who else may sign. */
function signersOf(tx: Transaction, keyOf: KeyOf): Signers {
  const accounts = [tx.source, ...tx.operations.flatMap(({ source }) => source ?? [])];
  const keys = new Map(keysOf(accounts, keyOf));
  // The types say string; what is there is the XDR.
  for (const extra of (tx.extraSigners ?? []) as unknown as Xdr.SignerKey[]) {
    if (extra.switch().name !== "signerKeyTypeEd25519") continue;
    const key = new Uint8Array(extra.ed25519());
    keys.set(encodeNodeId(key), key);
  }
  return keys;
}

function keysOf(accounts: readonly string[], keyOf: KeyOf): Signers {
  return new Map(accounts.map((account) => {
    const key = keyOf(account);
    return [encodeNodeId(key), key];
  }));
}

function judgeSignature(
  decorated: Xdr.DecoratedSignature,
  part: Uint8Array,
  signers: Signers,
  networks: readonly Network[],
): Judged {
  const hint = new Uint8Array(decorated.hint()), signature = new Uint8Array(decorated.signature());
  let signer: string | null = null;
  for (const [name, key] of signers) {
    if (!equalBytes(key.subarray(28), hint)) continue;
    signer = name;
    const network = signature.length !== 64
      ? undefined
      : networks.find(({ passphrase }) => verify(key, hashOn(networkIdOf(passphrase), part), signature));
    if (network !== undefined) {
      return { view: { hint: toHex(hint), signer, network: networkLabel(network) }, bad: false };
    }
  }
  return { view: { hint: toHex(hint), signer, network: null }, bad: signer !== null };
}

// ---- Verdicts ----

interface Signed {
  outer: Judged[];
  inner: Judged[];
}

function refusalOf(view: TransactionView, signed: Signed, options: EnvelopeOptions): Failure | undefined {
  if (view.operations.length === 0) {
    return { code: "tx_malformed", field: "operations", reason: "a transaction needs at least one" };
  }
  const limit = maxTransactionBytesOf(view.isSoroban ? options.sorobanTxMaxBytes : undefined);
  if (view.sizeBytes > limit) return { code: "tx_too_large", bytes: view.sizeBytes, limit };
  const bump = view.kind === "feeBump";
  return refusalOfSignatures(signed.outer, bump ? "fee bump" : "transaction", options.network) ??
    (bump ? refusalOfSignatures(signed.inner, "inner transaction", options.network) : undefined) ??
    refusalOfTime(view, options.wallMs);
}

function refusalOfSignatures(
  signatures: readonly Judged[],
  part: "transaction" | "fee bump" | "inner transaction",
  network: Network,
): Failure | undefined {
  if (signatures.length === 0) return { code: "tx_unsigned", part };
  const chosen = networkLabel(network);
  const networks = signatures.flatMap(({ view }) => view.network ?? []);
  if (networks.length > 0 && !networks.includes(chosen)) {
    return { code: "tx_wrong_network", chosen, signedFor: networks[0] };
  }
  if (networks.length === 0 && signatures.some(({ bad }) => bad)) {
    return { code: "tx_bad_signature", network: chosen, part };
  }
  return undefined;
}

function refusalOfTime({ minTime, maxTime }: TransactionView, wallMs: number): Failure | undefined {
  const now = BigInt(Math.floor(wallMs / 1000)), nowAt = instant(now);
  if (maxTime !== null && maxTime < now) {
    return { code: "tx_time_bounds", problem: "expired", bound: instant(maxTime), nowAt };
  }
  if (minTime !== null && minTime > now) {
    return { code: "tx_time_bounds", problem: "too early", bound: instant(minTime), nowAt };
  }
  return undefined;
}

function warningsOf(view: TransactionView, { outer, inner }: Signed): string[] {
  const warnings: string[] = [];
  const all = [...outer, ...inner];
  const foreign = all.filter(({ view: { signer } }) => signer === null).length;
  if (foreign > 0) {
    warnings.push(
      `${foreign} of ${all.length} signatures are of no account the transaction names: only a ledger knows whether they count`,
    );
  }
  if (all.some(({ bad }) => bad)) {
    warnings.push(
      "a signature names a key of the transaction and does not verify: validators refuse useless signatures",
    );
  }
  const lowest = MIN_BASE_FEE * BigInt(view.operations.length + (view.kind === "feeBump" ? 1 : 0));
  if (view.fee < lowest) {
    warnings.push(`the fee of ${view.fee} stroops is below the network's minimum of ${lowest}: validators refuse it`);
  }
  if (view.maxTime === null) {
    warnings.push("it has no end of validity: it may be included at any later time, until its sequence number is used");
  }
  return warnings;
}

// ---- What it is ----

const SOROBAN: ReadonlySet<string> = new Set(["invokeHostFunction", "extendFootprintTtl", "restoreFootprint"]);

function operationsOf(tx: Transaction): TransactionView["operations"] {
  return tx.operations.map(({ type, source }) => ({ type, source: source ?? null }));
}

function memoOf(tx: Transaction): string | null {
  const { type, value } = tx.memo;
  if (type === "none" || value === null) return null;
  if (typeof value === "string") return `${type} ${value}`;
  return type === "text" ? `text ${value.toString("utf8")}` : `${type} ${toHex(new Uint8Array(value))}`;
}

/** 0 means no bound. */
function bound(text: string | undefined): bigint | null {
  const seconds = BigInt(text ?? "0");
  return seconds === 0n ? null : seconds;
}

function preconditionsOf(tx: Transaction): string[] {
  const found: string[] = [];
  const { ledgerBounds } = tx;
  if (ledgerBounds !== undefined && ledgerBounds.minLedger > 0) found.push(`from ledger ${ledgerBounds.minLedger}`);
  if (ledgerBounds !== undefined && ledgerBounds.maxLedger > 0) found.push(`before ledger ${ledgerBounds.maxLedger}`);
  if (tx.minAccountSequence !== undefined) found.push(`account sequence at least ${tx.minAccountSequence}`);
  const age = BigInt(tx.minAccountSequenceAge?.toString() ?? "0");
  if (age > 0n) found.push(`account sequence unchanged for ${age} s`);
  if ((tx.minAccountSequenceLedgerGap ?? 0) > 0) {
    found.push(`account sequence unchanged for ${tx.minAccountSequenceLedgerGap} ledgers`);
  }
  if ((tx.extraSigners?.length ?? 0) > 0) found.push(`${tx.extraSigners!.length} extra signers`);
  return found;
}

/** An instant for people; one beyond the calendar stays a number. */
export function instant(unixSeconds: bigint): string {
  const ms = Number(unixSeconds) * 1000;
  return ms <= 8.64e15 ? new Date(ms).toISOString().replace(".000Z", "Z") : `second ${unixSeconds}`;
}
