/**
 * Transactions as a relay treats them: adverts noticed, demanded, kept, advertised on, and served. Source: stellar-core Peer.cpp
 * (recvTransaction, recvFloodAdvert, recvFloodDemand), TxDemandsManager.cpp; flooding.md section 2.
 */
import { type Floodgate, type FloodId, floodIdOf } from "../flood/floodgate.ts";
import { transactionHash, TransactionPool } from "../flood/transaction_pool.ts";
import { TxDemandsManager } from "../flood/tx_demands.ts";
import { MessageType, type ReceivedMessage } from "../wire/messages.ts";
import type { OverlayContext } from "./overlay_context.ts";
import type { Member } from "./peer_lists.ts";
import { sampleName, type UniqueTraffic } from "./seen_messages.ts";
import { TransactionInterest } from "./transaction_interest.ts";

/** What it works with. */
export interface TransactionTrafficOptions {
  floodgate: Floodgate;
  counts: UniqueTraffic;
  /** See `OverlayManagerOptions.acceptTransaction`. */
  acceptTransaction: ((message: Uint8Array) => boolean) | undefined;
  /** Advertises a transaction to whoever does not know it. */
  relay(id: FloodId, message: Uint8Array, hash: string): string[];
  /** Whether what others sent is advertised on. */
  relays: boolean;
  /** See `MessageFlow.ledgersClosed`. */
  ledgersClosed(): number;
}

/** See the head of this file. */
export class TransactionTraffic {
  readonly interest: TransactionInterest;
  readonly transactions = new TransactionPool();
  readonly demands: TxDemandsManager;
  readonly #context: OverlayContext;
  readonly #options: TransactionTrafficOptions;
  #started = false;

  constructor(context: OverlayContext, options: TransactionTrafficOptions) {
    this.#context = context;
    this.#options = options;
    const { config, clock, random, ledger, lists, metrics } = context;
    this.interest = new TransactionInterest(config.isValidator, (pulls) => {
      if (!this.#started) return;
      if (pulls) this.demands.start();
      else this.demands.close();
    });
    this.demands = new TxDemandsManager({
      clock,
      random,
      limits: ledger,
      transactions: this.transactions,
      peers: () => lists.members(),
      periodMs: config.floodDemandPeriodMs,
      backoffMs: config.floodDemandBackoffMs,
      events: {
        onPulled: (ms) => metrics.observe("txPullLatency", ms),
        onPulledFrom: (nodeId, ms) => {
          metrics.observe("peerTxPullLatency", ms);
          lists.member(nodeId)?.metrics.pullLatency.add(clock.nowMs(), ms);
        },
        onTimeout: (nodeId) => {
          const member = lists.member(nodeId);
          if (member !== undefined) member.metrics.demandTimeouts++;
        },
      },
    });
  }

  /** Begins to demand, if transactions are wanted. */
  start(): void {
    this.#started = true;
    if (this.interest.pulls) this.demands.start();
  }

  /** Demands no more. */
  close(): void {
    this.#started = false;
    this.demands.close();
  }

  /** Offers a TRANSACTION message of our own, whose bytes are kept. Returns whom it is advertised to. */
  offer(message: Uint8Array): string[] {
    const hash = transactionHash(message);
    this.transactions.add(hash, message, this.#options.ledgersClosed());
    this.interest.setOwn(this.transactions.size > 0);
    return this.#options.relay(floodIdOf(message), message, hash);
  }

  /** A ledger closed, `closed` in all: transactions age. */
  ledgerClosed(closed: number): void {
    this.transactions.ledgerClosed(closed);
    if (this.transactions.size === 0) this.interest.setOwn(false);
  }

  /** Takes a TRANSACTION, FLOOD_ADVERT or FLOOD_DEMAND. @throws OverlayError `xdr_invalid` */
  receive(member: Member, message: ReceivedMessage): void {
    const { type, bytes } = message;
    const { counts } = this.#options;
    if (type === MessageType.transaction) {
      const id = floodIdOf(bytes);
      counts.flood(member.metrics, id, bytes.length);
      if (this.interest.pulls) this.#onTransaction(member, message, id);
      return;
    }
    counts.flood(member.metrics, sampleName(bytes), bytes.length);
    if (!this.interest.offers) return;
    if (type === MessageType.floodDemand) this.demands.answer(bytes, member);
    else {
      const { counters } = this.#context.metrics;
      counters.receivedAdvertHashes += member.adverts.receive(bytes, this.#options.ledgersClosed());
      this.demands.wake();
    }
  }

  #onTransaction(member: Member, message: ReceivedMessage, id: FloodId): void {
    const { bytes } = message;
    const { floodgate, acceptTransaction, relay, relays } = this.#options;
    // What is no transaction at all ends the connection, as upstream's decoder does.
    message.decode();
    const ledger = this.#options.ledgersClosed();
    floodgate.addRecord(id, ledger, member.nodeId);
    const hash = transactionHash(bytes);
    this.demands.received(hash, member.nodeId);
    if (this.transactions.knows(hash)) return;
    if (acceptTransaction?.(bytes) === false) {
      floodgate.forget(id);
      return;
    }
    const kept = bytes.slice();
    const result = this.transactions.add(hash, kept, ledger);
    if (result === "added" && relays) relay(id, kept, hash);
    else if (result === "full") floodgate.forget(id);
  }
}
