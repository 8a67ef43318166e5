/**
 * Messages as a live network carries them: signed SCP envelopes of all four kinds and signed transactions, made with
 * stellar-base. Both sides of the interop tests use it, each with its own copy of stellar-base (`base`), so this file imports
 * nothing but Node's modules.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

/** SHA-256. */
export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest();
}

/** A quorum set of `validators` (raw public keys), all but one of them needed. */
export function quorumSetOf(base, validators) {
  const { xdr } = base;
  return new xdr.ScpQuorumSet({
    threshold: Math.max(1, validators.length - 1),
    validators: validators.map((key) => xdr.PublicKey.publicKeyTypeEd25519(Buffer.from(key))),
    innerSets: [],
  });
}

/** Signed value of a slot, as validators nominate it. Source: Stellar-ledger.x `StellarValue`. */
function stellarValue(base, signer, networkId, txSetHash, closeTime) {
  const { xdr } = base;
  const time = xdr.Uint64.fromString(String(closeTime));
  // Source: stellar-core HerderImpl.cpp signStellarValue: network, ENVELOPE_TYPE_SCPVALUE (4), tx set hash, close time.
  const kind = Buffer.from([0, 0, 0, 4]);
  const signature = signer.sign(Buffer.concat([networkId, kind, txSetHash, time.toXDR()]));
  const value = new xdr.StellarValue({
    txSetHash,
    closeTime: time,
    upgrades: [],
    ext: xdr.StellarValueExt.stellarValueSigned(
      new xdr.LedgerCloseValueSignature({ nodeId: signer.xdrPublicKey(), signature }),
    ),
  });
  return value.toXDR();
}

/** The four SCP_MESSAGEs of `signer` about one slot: nominate, prepare, confirm, externalize. */
export function slotMessages(base, { signer, passphrase, slot, quorumSetHash, txSetHash }) {
  const { xdr } = base;
  const networkId = sha256(Buffer.from(passphrase));
  const value = stellarValue(base, signer, networkId, txSetHash, 1_700_000_000 + slot * 5);
  const counter = 1 + (slot % 3);
  const ballot = new xdr.ScpBallot({ counter, value });
  return [
    xdr.ScpStatementPledges.scpStNominate(new xdr.ScpNomination({ quorumSetHash, votes: [value], accepted: [] })),
    xdr.ScpStatementPledges.scpStPrepare(
      new xdr.ScpStatementPrepare({ quorumSetHash, ballot, prepared: ballot, preparedPrime: null, nC: 0, nH: 0 }),
    ),
    xdr.ScpStatementPledges.scpStConfirm(
      new xdr.ScpStatementConfirm({ ballot, nPrepared: 1, nCommit: 1, nH: 1, quorumSetHash }),
    ),
    xdr.ScpStatementPledges.scpStExternalize(
      new xdr.ScpStatementExternalize({ commit: ballot, nH: counter, commitQuorumSetHash: quorumSetHash }),
    ),
  ].map((pledges) => {
    const slotIndex = xdr.Uint64.fromString(String(slot));
    const statement = new xdr.ScpStatement({ nodeId: signer.xdrPublicKey(), slotIndex, pledges });
    // Source: stellar-core HerderImpl.cpp signEnvelope: network, ENVELOPE_TYPE_SCP (1), statement; not hashed first.
    const signature = signer.sign(Buffer.concat([networkId, Buffer.from([0, 0, 0, 1]), statement.toXDR()]));
    return xdr.StellarMessage.scpMessage(new xdr.ScpEnvelope({ statement, signature }));
  });
}

/** `count` different SCP_MESSAGEs by `signer`: nominate, prepare, confirm and externalize of slot after slot. */
export function scpMessages(base, { signer, passphrase, count, firstSlot, quorumSetHash }) {
  const messages = [];
  for (let slot = firstSlot; messages.length < count; slot++) {
    const txSetHash = sha256(Buffer.from(`tx set of ${slot}`));
    messages.push(...slotMessages(base, { signer, passphrase, slot, quorumSetHash, txSetHash }));
  }
  return messages.slice(0, count);
}

/**
 * `count` different TRANSACTIONs by `signer`, the first one numbered `first`; every `bigEvery`-th carries 100 payments and
 * takes some 6,000 bytes.
 */
export function transactionMessages(base, { signer, passphrase, count, bigEvery, first = 0 }) {
  const { Account, Asset, Memo, Operation, TransactionBuilder, xdr } = base;
  const account = new Account(signer.publicKey(), String(123_456_789_000 + first));
  const payment = Operation.payment({ destination: signer.publicKey(), asset: Asset.native(), amount: "0.0000001" });
  const messages = [];
  for (let i = 0; i < count; i++) {
    const builder = new TransactionBuilder(account, {
      fee: "100",
      networkPassphrase: passphrase,
      memo: Memo.text(`nr ${first + i}`),
    });
    const operations = bigEvery > 0 && i % bigEvery === 0 ? 100 : 1;
    for (let n = 0; n < operations; n++) builder.addOperation(payment);
    const transaction = builder.setTimeout(0).build();
    transaction.sign(signer);
    messages.push(xdr.StellarMessage.transaction(transaction.toEnvelope()));
  }
  return messages;
}

/** Hash and signature of a TRANSACTION's envelope: what `Keypair.verify` and our own primitives are asked. */
export function transactionProof(base, envelopeBase64, passphrase) {
  const transaction = base.TransactionBuilder.fromXDR(envelopeBase64, passphrase);
  return { source: transaction.source, hash: transaction.hash(), signature: transaction.signatures[0].signature() };
}

/** Counts messages of one type and folds their bytes, in order, into one hash: equal tallies mean equal streams. */
export class Tally {
  count = 0;
  bytes = 0;
  #hash = createHash("sha256");

  /** Takes one StellarMessage's bytes. */
  add(bytes) {
    this.count++;
    this.bytes += bytes.length;
    this.#hash.update(bytes);
  }

  /** Plain data, the hash in hex. */
  get state() {
    return { count: this.count, bytes: this.bytes, digest: this.#hash.copy().digest("hex") };
  }
}
