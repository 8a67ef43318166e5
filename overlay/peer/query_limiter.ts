/**
 * How many queries of one kind are answered. What is above is ignored, never punished.
 * Source: stellar-core Peer.cpp QueryInfo; flooding.md section 5.
 */

/** Length of a window for ledgers of 5 s: twelve of them. Source: stellar-core Peer.cpp. */
export const QUERY_WINDOW_MS = 60_000;
/** GET_TX_SET and GET_SCP_QUORUMSET answered per window: 5 per second. Source: stellar-core Peer.cpp QUERY_RESPONSE_MULTIPLIER. */
export const QUERIES_PER_WINDOW = 300;

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

  /** Counts one query; whether it is to be answered. */
  allow(nowMs: number): boolean {
    if (nowMs - this.#startedMs >= this.#windowMs) {
      this.#startedMs = nowMs;
      this.#count = 0;
    }
    return ++this.#count <= this.#limit;
  }
}
