/**
 * How many queries of one kind are answered. What is above is ignored, never punished.
 * Source: stellar-core Peer.cpp QueryInfo, process; flooding.md section 5.
 */

/** Ledgers in a window. Source: stellar-core Config.cpp MAX_SLOTS_TO_REMEMBER. */
const WINDOW_LEDGERS = 12;
/** Answers per second of a window. Source: stellar-core Peer.cpp QUERY_RESPONSE_MULTIPLIER. */
const ANSWERS_PER_SECOND = 5;
/** GET_SCP_STATE answered per window, whatever its length. Source: stellar-core Peer.cpp GET_SCP_STATE_MAX_RATE. */
export const GET_SCP_STATE_PER_WINDOW = 10;

/** Length of a window: twelve ledgers, in whole seconds. */
export function queryWindowMs(closeTimeMs: number): number {
  return Math.floor((closeTimeMs * WINDOW_LEDGERS) / 1000) * 1000;
}

/** GET_TX_SET, and likewise GET_SCP_QUORUMSET, answered per window: 5 per second. */
export function queriesPerWindow(closeTimeMs: number): number {
  return (queryWindowMs(closeTimeMs) / 1000) * ANSWERS_PER_SECOND;
}

/** Length of a window for ledgers of 5 s. */
export const QUERY_WINDOW_MS = queryWindowMs(5000);
/** GET_TX_SET and GET_SCP_QUORUMSET answered per window for ledgers of 5 s. */
export const QUERIES_PER_WINDOW = queriesPerWindow(5000);

/** Counts the queries of one kind of one peer in fixed windows; one starts with the first query after the previous ended. */
export class QueryLimiter {
  readonly #limit: number;
  readonly #windowMs: number;
  #startedMs = -Infinity;
  #count = 0;

  constructor(limit: number, windowMs: number) {
    this.#limit = limit;
    this.#windowMs = windowMs;
  }

  /** Queries allowed in the current window. */
  get allowed(): number {
    return this.#count;
  }

  /** Counts one query; whether it is to be answered. The limits may have changed since the last one. */
  allow(nowMs: number, limit = this.#limit, windowMs = this.#windowMs): boolean {
    if (nowMs - this.#startedMs >= windowMs) {
      this.#startedMs = nowMs;
      this.#count = 0;
    }
    if (this.#count >= limit) return false;
    this.#count++;
    return true;
  }
}

/** The limiters of one peer. `closeTimeMs` is the expected time between ledgers at each call. */
export class PeerQueryLimits {
  readonly #txSet = new QueryLimiter(QUERIES_PER_WINDOW, QUERY_WINDOW_MS);
  readonly #quorumSet = new QueryLimiter(QUERIES_PER_WINDOW, QUERY_WINDOW_MS);
  readonly #scpState = new QueryLimiter(GET_SCP_STATE_PER_WINDOW, QUERY_WINDOW_MS);

  /** Whether this GET_TX_SET is to be answered. */
  allowTxSet(nowMs: number, closeTimeMs: number): boolean {
    return this.#txSet.allow(nowMs, queriesPerWindow(closeTimeMs), queryWindowMs(closeTimeMs));
  }

  /** Whether this GET_SCP_QUORUMSET is to be answered; pings count too. */
  allowQuorumSet(nowMs: number, closeTimeMs: number): boolean {
    return this.#quorumSet.allow(nowMs, queriesPerWindow(closeTimeMs), queryWindowMs(closeTimeMs));
  }

  /** Whether this GET_SCP_STATE is to be answered. */
  allowScpState(nowMs: number, closeTimeMs: number): boolean {
    return this.#scpState.allow(nowMs, GET_SCP_STATE_PER_WINDOW, queryWindowMs(closeTimeMs));
  }

  /** GET_SCP_STATE allowed in the current window. */
  get scpStateAllowed(): number {
    return this.#scpState.allowed;
  }
}
