/** The numbers of a peer's flow control: their shape, and what follows from the network's largest transaction. */

/** Sizes of our side. Defaults: `DEFAULT_FLOW_CONTROL` of flow_control.ts, and a configuration's. */
export interface FlowControlLimits {
  /** Flood messages the peer may have sent that we have not processed. */
  floodMessages: number;
  /** Their bytes, counted on StellarMessages. */
  floodBytes: number;
  /** Messages of any type in processing before we stop reading. */
  totalMessages: number;
  /** Bytes of any type in processing before we stop reading. */
  totalBytes: number;
  /** Processed flood messages after which we grant that many again. */
  batchMessages: number;
  /** Processed flood bytes after which we grant that many again. */
  batchBytes: number;
  /** Transactions not written yet; also hashes in such adverts, and in such demands: `maxTxSetSizeOps` of the last ledger. */
  queuedTransactions: number;
  /** Bytes of transactions not written yet. */
  queuedTransactionBytes: number;
  /** SCP messages waiting for the peer's credit. Upstream has no such limit. */
  queuedScpMessages: number;
  /** Their bytes. Upstream has no such limit. */
  queuedScpBytes: number;
  /** Larger transactions are never sent. */
  maxTransactionBytes: number;
}

/** Largest classic transaction, bytes: `maxTxSize` is never below. Source: stellar-core Peer.h MAX_CLASSIC_TX_SIZE_BYTES. */
export const MAX_CLASSIC_TX_BYTES = 102_400;
/** Room above the network's limit for a fee bump. Source: stellar-core Herder.cpp FLOW_CONTROL_BYTES_EXTRA_BUFFER. */
export const EXTRA_TX_BYTES = 2000;
/** `floodBytes` unless configured. Source: stellar-core OverlayManagerImpl.cpp INITIAL_PEER_FLOOD_READING_CAPACITY_BYTES. */
export const AUTOMATIC_FLOOD_BYTES = 300_000;
/** `batchBytes` unless configured. */
export const AUTOMATIC_BATCH_BYTES = 100_000;

/** The flood bytes a peer may send when they are not configured. Source: flow-control.md section 2. */
export function automaticFloodBytes(maxTransactionBytes: number): number {
  return Math.max(AUTOMATIC_FLOOD_BYTES, maxTransactionBytes + AUTOMATIC_BATCH_BYTES);
}

/** The largest transaction message of a network: `sorobanTxMaxBytes` is its `txMaxSizeBytes`, undefined before protocol 20. */
export function maxTransactionBytesOf(sorobanTxMaxBytes: number | undefined): number {
  return Math.max(MAX_CLASSIC_TX_BYTES, sorobanTxMaxBytes === undefined ? 0 : sorobanTxMaxBytes + EXTRA_TX_BYTES);
}
