/**
 * The two names of a transaction: the hash people know it by, which is what its signers sign and depends on the network, and
 * the hash peers advertise it by, which covers its signatures and does not. Source: stellar-core TransactionFrame.cpp
 * (getContentsHash), FeeBumpTransactionFrame.cpp, Peer.cpp recvTransaction; Stellar-transaction.x
 * `TransactionSignaturePayload`.
 */
import type { xdr } from "@stellar/stellar-base";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";

const ENVELOPE_TYPE_TX = Uint8Array.of(0, 0, 0, 2);
const ENVELOPE_TYPE_TX_FEE_BUMP = Uint8Array.of(0, 0, 0, 5);
/** An old transaction is signed as the new one that it means: its source is a plain key. */
const KEY_TYPE_ED25519 = new Uint8Array(4);

/** What is signed, without the network id in front: envelope type and transaction. It is the same whoever signed. */
export function signedPart(envelope: xdr.TransactionEnvelope): Uint8Array {
  switch (envelope.switch().name) {
    case "envelopeTypeTxV0":
      return concatBytes(ENVELOPE_TYPE_TX, KEY_TYPE_ED25519, envelope.v0().tx().toXDR());
    case "envelopeTypeTx":
      return concatBytes(ENVELOPE_TYPE_TX, envelope.v1().tx().toXDR());
    default:
      return concatBytes(ENVELOPE_TYPE_TX_FEE_BUMP, envelope.feeBump().tx().toXDR());
  }
}

/** The same of the transaction inside a fee bump. */
export function innerSignedPart(envelope: xdr.TransactionEnvelope): Uint8Array {
  return concatBytes(ENVELOPE_TYPE_TX, envelope.feeBump().tx().innerTx().v1().tx().toXDR());
}

/** The hash on a network, whose id is 32 bytes. */
export function hashOn(networkId: Uint8Array, part: Uint8Array): Uint8Array {
  return primitives.sha256(concatBytes(networkId, part));
}
