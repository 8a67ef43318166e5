/**
 * What the last closed ledger decides about the overlay: sizes of queues, adverts and demands, the largest transaction, the
 * windows of query limits. One object per node, changed in place and read at every use. Source: stellar-core HerderImpl.cpp
 * (start, maybeHandleUpgrade), LedgerManager getLastMaxTxSetSizeOps; flow-control.md sections 2 and 8.
 */
import { flowControlLimits, type OverlayConfig } from "../base/config.ts";
import { OverlayError } from "../base/errors.ts";
import { type FlowControlLimits, maxTransactionBytesOf } from "../base/flow_limits.ts";
import type { TxFloodLimits } from "../flood/tx_adverts.ts";
import { MAX_MESSAGE_SIZE } from "../wire/record.ts";

/** The limits; their meaning is that of the settings of the same names in `OverlayConfig`. */
export interface LedgerLimits extends TxFloodLimits {
  /** Bytes; undefined before ledger protocol 20. */
  sorobanTxMaxBytes: number | undefined;
  /** Ledger protocol: decides which kind of transaction set a query is answered with. */
  protocolVersion: number;
}

/** What `setLedger` changes; what is left out stays. `sorobanTxMaxBytes: undefined` means a ledger without Soroban. */
export type LedgerChanges = Partial<
  Pick<
    LedgerLimits,
    "maxTxSetSizeOps" | "sorobanLedgerMaxTxCount" | "sorobanTxMaxBytes" | "closeTimeMs" | "protocolVersion"
  >
>;

/** The limits that a configuration starts with. */
export function initialLedgerLimits(config: OverlayConfig): LedgerLimits {
  return {
    maxTxSetSizeOps: config.maxTxSetSizeOps,
    sorobanLedgerMaxTxCount: config.sorobanLedgerMaxTxCount,
    sorobanTxMaxBytes: config.sorobanTxMaxBytes,
    closeTimeMs: config.closeTimeMs,
    protocolVersion: config.ledgerVersion,
    floodOpRate: config.floodOpRatePerLedger,
    floodSorobanRate: config.floodSorobanRatePerLedger,
  };
}

const UINT32_MAX = 0xffffffff;
/** The range of each limit. */
const RANGES = {
  maxTxSetSizeOps: [1, UINT32_MAX],
  sorobanLedgerMaxTxCount: [0, UINT32_MAX],
  sorobanTxMaxBytes: [1, MAX_MESSAGE_SIZE],
  closeTimeMs: [1, UINT32_MAX],
  protocolVersion: [0, UINT32_MAX],
} as const satisfies Record<keyof LedgerChanges, readonly [number, number]>;

/**
 * Puts `changes` into `limits`, all or none; returns whether anything changed.
 * @throws OverlayError `invalid_argument` for what is no whole number in its range
 */
export function changeLedgerLimits(limits: LedgerLimits, changes: LedgerChanges): boolean {
  const next = { ...limits };
  for (const key of Object.keys(RANGES) as (keyof LedgerChanges)[]) {
    if (!Object.hasOwn(changes, key)) continue;
    const value = changes[key];
    if (value === undefined) {
      if (key === "sorobanTxMaxBytes") next.sorobanTxMaxBytes = undefined;
      continue;
    }
    const [min, max] = RANGES[key];
    if (!Number.isInteger(value) || value < min || value > max) {
      const reason = `${value} is not a whole number from ${min} to ${max}`;
      throw new OverlayError({ code: "invalid_argument", argument: key, reason });
    }
    next[key] = value;
  }
  const changed = (Object.keys(RANGES) as (keyof LedgerChanges)[]).some((key) => next[key] !== limits[key]);
  Object.assign(limits, next);
  return changed;
}

/** The largest transaction message at these limits, bytes. */
export function largestTransaction(limits: Pick<LedgerLimits, "sorobanTxMaxBytes">): number {
  return maxTransactionBytesOf(limits.sorobanTxMaxBytes);
}

/**
 * The flow control of a peer that connects now. Flood bytes that are configured grow when the largest transaction outgrew
 * them, as those of a connected peer do; upstream's would not, and the new peer could never send such a transaction.
 */
export function flowControlNow(config: OverlayConfig, limits: LedgerLimits): FlowControlLimits {
  const largest = largestTransaction(limits);
  const now = flowControlLimits({ ...config, maxTxSetSizeOps: limits.maxTxSetSizeOps }, largest);
  return { ...now, floodBytes: Math.max(now.floodBytes, now.batchBytes + largest) };
}
