/**
 * Whether transactions concern this node. A validator relays them always. A watcher has no use for TRANSACTION, FLOOD_ADVERT
 * and FLOOD_DEMAND until somebody here wants them: then its flags are set once, and every message costs one look at a table.
 */
import { MessageType } from "../wire/messages.ts";
import type { Subscription } from "./subscription.ts";

/** The types that a watcher may ignore. */
const TYPES = [MessageType.transaction, MessageType.floodAdvert, MessageType.floodDemand] as const;

/** See the head of this file. */
export class TransactionInterest {
  readonly #always: boolean;
  readonly #onPulls: (pulls: boolean) => void;
  /** By message type; every type exists. */
  readonly #useful: boolean[] = new Array(32).fill(true);
  /** Subscriptions that listen to each of {@link TYPES}, and those that want transactions demanded. */
  readonly #listeners = new Map<number, number>(TYPES.map((type) => [type, 0]));
  #pullers = 0;
  #asked = false;
  #own = false;
  #pulls: boolean;

  /** `onPulls` is told when {@link pulls} changes. */
  constructor(isValidator: boolean, onPulls: (pulls: boolean) => void) {
    this.#always = this.#pulls = isValidator;
    this.#onPulls = onPulls;
    this.#update();
  }

  /** Whether advertised transactions are demanded, kept and advertised to others. */
  get pulls(): boolean {
    return this.#pulls;
  }

  /** Whether demands are answered, and adverts noticed: also a watcher that offers a transaction of its own does. */
  get offers(): boolean {
    return this.#pulls || this.#own;
  }

  /** Whether somebody here has a use for messages of this type. */
  isUseful(type: number): boolean {
    return this.#useful[type & 31];
  }

  /** Somebody wants transactions, or no longer does, subscriptions and own transactions apart. */
  set(wanted: boolean): void {
    this.#asked = wanted;
    this.#update();
  }

  /** Whether a transaction of our own is offered to peers. */
  setOwn(held: boolean): void {
    if (held === this.#own) return;
    this.#own = held;
    this.#update();
  }

  /** Counts a subscription in (1) or out (-1). */
  count(subscription: Pick<Subscription, "listensTo" | "demands">, by: 1 | -1): void {
    for (const type of TYPES) {
      if (subscription.listensTo(type)) this.#listeners.set(type, this.#listeners.get(type)! + by);
    }
    if (subscription.demands) this.#pullers += by;
    this.#update();
  }

  #update(): void {
    const pulls = this.#always || this.#asked || this.#pullers > 0;
    for (const type of TYPES) {
      const needed = type === MessageType.transaction ? pulls : pulls || this.#own;
      this.#useful[type] = needed || this.#listeners.get(type)! > 0;
    }
    if (pulls === this.#pulls) return;
    this.#pulls = pulls;
    this.#onPulls(pulls);
  }
}
