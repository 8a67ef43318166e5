/**
 * The transactions of a transaction set, whatever shape its phases have. Source: Stellar-ledger.x `TransactionSet`,
 * `GeneralizedTransactionSet`; docs of CAP-42 and CAP-63 for discounted fees and parallel stages.
 */
import type { xdr as Xdr } from "@stellar/stellar-base";
import { readUint32 } from "../../overlay/base/bytes.ts";
import { MessageType } from "../../overlay/wire/messages.ts";

/**
 * The envelopes in a TX_SET or GENERALIZED_TX_SET message, in the order of the set. `xdr` is stellar-base's. Throws what
 * stellar-base throws when the set does not decode: a protocol newer than it knows.
 */
export function envelopesOf(message: Uint8Array, xdr: typeof Xdr): Xdr.TransactionEnvelope[] {
  const body = Buffer.from(message.subarray(4));
  if (readUint32(message, 0) === MessageType.txSet) return xdr.TransactionSet.fromXDR(body).txes();
  return xdr.GeneralizedTransactionSet.fromXDR(body).v1TxSet().phases().flatMap(envelopesOfPhase);
}

function envelopesOfPhase(phase: Xdr.TransactionPhase): Xdr.TransactionEnvelope[] {
  if ((phase.switch() as unknown as number) === 0) {
    return phase.v0Components().flatMap((component) => component.txsMaybeDiscountedFee().txes());
  }
  return phase.parallelTxsComponent().executionStages().flat(2);
}
