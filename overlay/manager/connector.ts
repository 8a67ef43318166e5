/**
 * Whom the node dials of its own accord: resolves the configured names, fills the address book, and at every tick does what
 * the dial plan says. Source: stellar-core OverlayManagerImpl.cpp (start, storeConfigPeers, tick); peers.md sections 3 and 4.
 */
import type { Timer } from "../base/clock.ts";
import { tickMs } from "../base/config.ts";
import { formatAddress } from "../base/peer_address.ts";
import { REALLY_DEAD_NUM_FAILURES_CUTOFF } from "../db/peer_manager.ts";
import { dialQuery, type PeerType, RandomPeerSource } from "../db/random_peer_source.ts";
import type { Resolver } from "../transport/transport.ts";
import { planTick } from "./dial_plan.ts";
import type { OverlayContext } from "./overlay_context.ts";
import type { PeerDoor } from "./peer_door.ts";
import { dropAs } from "./peer_owner.ts";
import { PeerResolution, type ResolvedPeers } from "./peer_resolution.ts";

/** What it works with. */
export interface ConnectorOptions {
  resolver: Resolver;
  door: PeerDoor;
  /** Whether a new ledger was seen lately. */
  isTracking(): boolean;
  /** Called at the end of every tick. */
  onTick(nowMs: number): void;
}

/** See the head of this file. */
export class Connector {
  readonly #context: OverlayContext;
  readonly #options: ConnectorOptions;
  readonly #resolution: PeerResolution;
  readonly #sources: Record<PeerType, RandomPeerSource>;
  #timer: Timer | undefined;
  #outOfSyncSinceMs: number | undefined;

  constructor(context: OverlayContext, options: ConnectorOptions) {
    this.#context = context;
    this.#options = options;
    const { clock, config, peerManager } = context;
    this.#resolution = new PeerResolution({ clock, resolver: options.resolver, config });
    const source = (type: PeerType) => new RandomPeerSource(peerManager, dialQuery(type));
    this.#sources = { inbound: source("inbound"), outbound: source("outbound"), preferred: source("preferred") };
  }

  /** Begins after the start delay. */
  start(): void {
    const { clock, config } = this.#context;
    this.#timer = clock.setTimer(config.startDelayMs, () => void this.#begin());
  }

  /** No tick follows; a resolution under way ends unheard. */
  close(): void {
    this.#timer?.cancel();
    this.#resolution[Symbol.dispose]();
  }

  async #begin(): Promise<void> {
    const { peerManager, stored } = this.#context;
    const resolved = await this.#resolution.resolve();
    if (this.#context.stopping) return;
    this.#storeResolved(resolved, true);
    stored(() => peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF));
    this.#resolution.trigger();
    this.#tick();
  }

  /** Source: stellar-core OverlayManagerImpl.cpp storeConfigPeers, storePeerList. */
  #storeResolved(peers: ResolvedPeers, startup: boolean): void {
    const { peerManager, preferred, stored, log } = this.#context;
    for (const { peer, failure } of peers.failures) {
      log({ event: "resolveFailed", address: formatAddress(peer), failure });
    }
    stored(() => peerManager.storeConfigPeers(peers, { startup }));
    preferred.setAddresses(peers.preferred);
  }

  #tick(): void {
    const { clock, config, stored } = this.#context;
    const resolved = this.#resolution.take();
    if (resolved !== undefined) this.#storeResolved(resolved, false);
    if (!config.noDial) stored(() => this.#dialAsPlanned());
    this.#options.onTick(clock.nowMs());
    // Whoever heard the tick may have stopped the node.
    if (!this.#context.stopping) this.#timer = clock.setTimer(tickMs(config), () => this.#tick());
  }

  #dialAsPlanned(): void {
    const { clock, config, lists, random } = this.#context;
    const plan = planTick(
      {
        nowMs: clock.nowMs(),
        tracking: this.#options.isTracking(),
        outOfSyncSinceMs: this.#outOfSyncSinceMs,
        pendingOutbound: lists.pendingOf("weCalledRemote"),
        outbound: [...lists.outbound.values()],
        authenticatedInbound: lists.inbound.size,
      },
      config,
      {
        random,
        randomPeers: (type, size, keep) => this.#sources[type].getRandomPeers(size, keep),
        connectionAt: (address) => lists.connectionAt(address),
      },
    );
    this.#outOfSyncSinceMs = plan.outOfSyncSinceMs;
    for (const step of plan.steps) {
      if (step.do === "dial") this.#options.door.dial(step.address, step.reason);
      else dropAs(step.peer.peer, step.drop);
    }
  }
}
