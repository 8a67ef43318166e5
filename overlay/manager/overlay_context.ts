/** What the parts of one node share. */
import type { Clock } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";
import type { Random } from "../base/random.ts";
import type { BanManager } from "../db/ban_manager.ts";
import type { PeerManager } from "../db/peer_manager.ts";
import type { OverlayMetrics } from "../metrics/overlay_metrics.ts";
import type { LocalNode } from "../peer/local_node.ts";
import type { Transport } from "../transport/transport.ts";
import type { PreferredPeers } from "./admission.ts";
import type { LedgerLimits } from "./ledger_limits.ts";
import type { OverlayEvent } from "./overlay_event.ts";
import type { PeerLists } from "./peer_lists.ts";

/** See the head of this file. */
export interface OverlayContext {
  readonly config: OverlayConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly local: LocalNode;
  readonly peerManager: PeerManager;
  readonly banManager: BanManager;
  readonly metrics: OverlayMetrics;
  /** Changed in place by `setLedger`. */
  readonly ledger: LedgerLimits;
  readonly lists: PeerLists;
  readonly preferred: PreferredPeers;
  /** Set at the first call of `stop`: nothing new begins. */
  stopping: boolean;
  log(event: OverlayEvent): void;
  /**
   * Runs what touches the database. Its failure (`db_failed`: a full disk, a lock that stays) is logged, and the result is
   * undefined: a node must not die of its address book.
   */
  stored<T>(act: () => T): T | undefined;
}
