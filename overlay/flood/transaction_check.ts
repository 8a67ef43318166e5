/**
 * Whether a transaction is well-formed: a relay does not judge transactions, but must not pass on one that does not decode,
 * because stellar-core drops whoever sends it one (`received corrupt XDR`). The transaction types are not ours to write, so
 * the check is stellar-base's decoder, loaded when it is wanted.
 */

/** Says whether the transaction in a TRANSACTION message is well-formed. */
export type TransactionCheck = (message: Uint8Array) => boolean;

/**
 * Loads the check; about 80 ms, once. It knows the types of ledger protocol 26: a transaction that uses newer ones counts as
 * malformed. Use it as `OverlayManagerOptions.acceptTransaction`: what it refuses is neither kept nor offered, and its sender
 * stays.
 */
export async function loadTransactionCheck(): Promise<TransactionCheck> {
  const { xdr } = await import("@stellar/stellar-base");
  return (message) => {
    try {
      // A Buffer over a copy: the decoder's fields are views.
      xdr.TransactionEnvelope.fromXDR(Buffer.from(message.subarray(4)));
      return true;
    } catch {
      return false;
    }
  };
}
