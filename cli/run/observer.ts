/** Looks at a running node: its status and its totals. */
import type { Clock } from "../../overlay/base/clock.ts";
import type { OverlayEvent, OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import type { NodeStatus } from "./events.ts";

/** Counts what the log tells, and makes statuses. */
export class NodeObserver {
  readonly #node: OverlayManager;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #lastMs: number;
  #lastRead = 0;
  #rate = 0;
  authenticatedOutbound = 0;
  authenticatedInbound = 0;

  constructor(node: OverlayManager, clock: Clock) {
    this.#node = node;
    this.#clock = clock;
    this.#startedMs = this.#lastMs = clock.nowMs();
  }

  /** Counts an event. */
  hear(event: OverlayEvent): void {
    if (event.event !== "authenticated") return;
    if (event.role === "weCalledRemote") this.authenticatedOutbound++;
    else this.authenticatedInbound++;
  }

  /** Measures the rate of messages since the call before. */
  measure(): void {
    this.#node.metrics.tick();
    const nowMs = this.#clock.nowMs(), read = sum(this.#node.metrics.messagesRead);
    if (nowMs > this.#lastMs) this.#rate = ((read - this.#lastRead) * 1000) / (nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#lastRead = read;
  }

  /** How the node stands. */
  status(): NodeStatus {
    const { metrics, counts, ledgerSeq, outOfSync } = this.#node;
    metrics.tick();
    return {
      ...counts,
      ledger: ledgerSeq ?? null,
      inSync: !outOfSync,
      messagesPerSecond: Math.round(this.#rate * 10) / 10,
      messagesRead: sum(metrics.messagesRead),
      messagesWritten: sum(metrics.messagesWritten),
      bytesRead: sum(metrics.bytesRead),
      bytesWritten: sum(metrics.bytesWritten),
      uptimeMs: Math.round(this.#clock.nowMs() - this.#startedMs),
    };
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
