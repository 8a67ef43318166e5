/**
 * Whether the node keeps up with the network: out of sync after `consensusStuckMs` without a new ledger, and then asking for
 * help every `outOfSyncRecoveryMs` until a new ledger is heard of. Source: stellar-core HerderImpl.cpp (trackingHeartBeat,
 * herderOutOfSync, startOutOfSyncTimer, outOfSyncRecovery); peers.md section 5, flooding.md section 4.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";

/** What the watch tells its owner. */
export interface SyncEvents {
  /** No new ledger for `silentMs`. */
  onLost(silentMs: number): void;
  /** Still lost: ask peers, say our own statements again. */
  onRecover(): void;
  /** A ledger was heard of, the first one, or one after the loss that lasted `outOfSyncMs`. */
  onGained(outOfSyncMs: number): void;
}

/** What it is made of. */
export interface SyncWatchOptions {
  clock: Clock;
  config: Pick<OverlayConfig, "consensusStuckMs" | "outOfSyncRecoveryMs">;
  events: SyncEvents;
}

/**
 * The watch. It runs while there is something to expect: a ledger was heard of, or peers are connected. A node that never had
 * a peer is not out of sync, it is alone.
 */
export class SyncWatch {
  readonly #options: SyncWatchOptions;
  #timer: Timer | undefined;
  #heardAtMs: number | undefined;
  #lostAtMs: number | undefined;
  #closed = false;

  constructor(options: SyncWatchOptions) {
    this.#options = options;
  }

  /** Whether the node lost the network, or cannot find it. */
  get outOfSync(): boolean {
    return this.#lostAtMs !== undefined;
  }

  /** A ledger higher than any before was heard of. */
  ledger(): void {
    if (this.#closed) return;
    const nowMs = this.#options.clock.nowMs();
    const first = this.#heardAtMs === undefined, lostAtMs = this.#lostAtMs;
    this.#heardAtMs = nowMs;
    this.#lostAtMs = undefined;
    this.#arm(this.#options.config.consensusStuckMs);
    if (first || lostAtMs !== undefined) this.#options.events.onGained(lostAtMs === undefined ? 0 : nowMs - lostAtMs);
  }

  /** A peer was authenticated: from now on ledgers are expected. */
  connected(): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#arm(this.#options.config.consensusStuckMs);
  }

  /** The last peer is gone. What was never heard of is no longer expected; what was heard of stays lost. */
  alone(): void {
    if (this.#heardAtMs !== undefined || this.#lostAtMs !== undefined) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Ends the watch. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(delayMs, () => this.#fire());
  }

  #fire(): void {
    const { clock, config, events } = this.#options;
    // First, so that an owner who closes the watch in a callback ends it.
    this.#arm(config.outOfSyncRecoveryMs);
    if (this.#lostAtMs === undefined) {
      this.#lostAtMs = clock.nowMs();
      events.onLost(config.consensusStuckMs);
    } else {
      events.onRecover();
    }
  }
}
