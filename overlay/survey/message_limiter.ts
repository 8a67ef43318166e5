/**
 * How many requests a node passes on: 10 surveyors a ledger, 10 nodes each, every pair once, and one response to each. Requests
 * are filed under the ledger number they carry. Source: stellar-core SurveyMessageLimiter.cpp; survey.md sections 4 and 5.
 */

/** Ledgers a message may be away from ours, either way. Source: stellar-core SurveyManager.cpp NUM_LEDGERS_BEFORE_IGNORE. */
export const NUM_LEDGERS_BEFORE_IGNORE = 6;
/**
 * Surveyors per ledger, surveyed nodes per surveyor and ledger, and requests that upstream sends per batch.
 * Source: stellar-core SurveyManager.cpp MAX_REQUEST_LIMIT_PER_LEDGER.
 */
export const MAX_REQUESTS_PER_LEDGER = 10;

/** What the limiter reads of a request or response. Node ids as any text, always the same for the same node. */
export interface LimitedMessage {
  readonly ledgerNum: number;
  readonly surveyor: string;
  readonly surveyed: string;
}

/** Why a message is refused. `validation`: the caller's own checks failed. */
export type LimiterRefusal = "ledger" | "limited" | "unknown_request" | "answered_before" | "validation";

/** What a {@link SurveyMessageLimiter} is made of. */
export interface LimiterOptions {
  /** The ledger the network is at; undefined while unknown: everything is refused then. */
  ledger(): number | undefined;
  /** Our own id: our requests have no limit. */
  self: string;
  /** Default {@link NUM_LEDGERS_BEFORE_IGNORE}. */
  window?: number;
  /** Default {@link MAX_REQUESTS_PER_LEDGER}. */
  limit?: number;
}

/** See the head of this file. */
export class SurveyMessageLimiter {
  readonly #options: LimiterOptions;
  readonly #window: number;
  readonly #limit: number;
  /**
   * By ledger, surveyor and surveyed node: whether a response was seen. BOUNDED: {@link clearOldLedgers} at every closed ledger
   * keeps those in the window, `limit` surveyors each with `limit` nodes; what we ask ourselves is bounded by who asks.
   */
  readonly #records = new Map<number, Map<string, Map<string, boolean>>>();

  constructor(options: LimiterOptions) {
    this.#options = options;
    this.#window = options.window ?? NUM_LEDGERS_BEFORE_IGNORE;
    this.#limit = options.limit ?? MAX_REQUESTS_PER_LEDGER;
  }

  /** Ledgers with records. */
  get ledgers(): number {
    return this.#records.size;
  }

  /**
   * Whether a ledger number is near enough to ours. Sums wrap at 2^32 as upstream's do; ahead at least one is allowed.
   * Source: stellar-core SurveyMessageLimiter.cpp surveyLedgerNumValid.
   */
  ledgerOk(ledgerNum: number): boolean {
    const local = this.#options.ledger();
    if (local === undefined) return false;
    return uint32(ledgerNum + this.#window) >= local && ledgerNum <= uint32(local + Math.max(this.#window, 1));
  }

  /** How many nodes a surveyor has asked in a ledger. */
  requests(ledgerNum: number, surveyor: string): number {
    return this.#records.get(ledgerNum)?.get(surveyor)?.size ?? 0;
  }

  /** Whether this request was recorded. */
  has({ ledgerNum, surveyor, surveyed }: LimitedMessage): boolean {
    return this.#records.get(ledgerNum)?.get(surveyor)?.has(surveyed) ?? false;
  }

  /** Records a request that the limits allow and `validate` finds good; undefined when it was. A refused one leaves no trace. */
  addRequest(request: LimitedMessage, validate: () => boolean): LimiterRefusal | undefined {
    const { ledgerNum, surveyor, surveyed } = request;
    if (!this.ledgerOk(ledgerNum)) return "ledger";
    const surveyors = this.#records.get(ledgerNum);
    const asked = surveyors?.get(surveyor);
    const isSelf = surveyor === this.#options.self;
    const full = (asked ?? surveyors)?.size ?? 0;
    if (full >= this.#limit && !isSelf) return "limited";
    if (asked?.has(surveyed)) return "limited";
    if (!validate()) return "validation";
    let ledger = surveyors;
    if (ledger === undefined) this.#records.set(ledgerNum, ledger = new Map());
    if (asked === undefined) ledger.set(surveyor, new Map([[surveyed, false]]));
    else asked.set(surveyed, false);
    return undefined;
  }

  /** Marks the request of a response as answered, once, when `validate` finds the response good; undefined when it was. */
  recordResponse(response: LimitedMessage, validate: () => boolean): LimiterRefusal | undefined {
    const { ledgerNum, surveyor, surveyed } = response;
    if (!this.ledgerOk(ledgerNum)) return "ledger";
    const asked = this.#records.get(ledgerNum)?.get(surveyor);
    const answered = asked?.get(surveyed);
    if (answered === undefined) return "unknown_request";
    if (answered) return "answered_before";
    if (!validate()) return "validation";
    asked!.set(surveyed, true);
    return undefined;
  }

  /** A ledger closed: what no message can belong to any more is erased. */
  clearOldLedgers(lastClosedLedger: number): void {
    for (const ledgerNum of this.#records.keys()) {
      if (uint32(ledgerNum + this.#window) < lastClosedLedger) this.#records.delete(ledgerNum);
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#records.clear();
  }
}

function uint32(n: number): number {
  return n >>> 0;
}
