/**
 * How connections begin: accepted at our door or dialed by us, each within its pending slots. Source: stellar-core
 * PeerDoor.cpp, OverlayManagerImpl.cpp (maybeAddInboundConnection, connectToImpl, addOutboundConnection); peers.md section 6.
 */
import type { Role } from "../auth/session_keys.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import type { ScpQueueRules } from "../connection/scp_queue.ts";
import type { TrafficMeter } from "../connection/traffic_meter.ts";
import { REALLY_DEAD_NUM_FAILURES_CUTOFF } from "../db/peer_manager.ts";
import { Peer, type PeerFaults, type PeerHandlers } from "../peer/peer.ts";
import type { Listener, Socket } from "../transport/transport.ts";
import { acceptDial, acceptPending } from "./admission.ts";
import { flowControlNow } from "./ledger_limits.ts";
import type { OverlayContext } from "./overlay_context.ts";

/** What every connection is given. */
export interface PeerDoorOptions {
  handlers: PeerHandlers;
  meter: TrafficMeter;
  scpQueue: ScpQueueRules;
  /** Ledger to ask SCP state from after authentication. */
  scpStateFrom(): number;
  /** For tests. */
  faults: PeerFaults | undefined;
}

/** See the head of this file. */
export class PeerDoor {
  readonly #context: OverlayContext;
  readonly #options: PeerDoorOptions;
  #listener: Listener | undefined;

  constructor(context: OverlayContext, options: PeerDoorOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Where the door is; undefined while it is closed. */
  get address(): PeerAddress | undefined {
    return this.#listener?.address;
  }

  /** Opens the door. @throws OverlayError `port_in_use`, `listen_failed` */
  async open(): Promise<void> {
    const { config, transport } = this.#context;
    const at = { host: config.listeningHost, port: config.listeningPort };
    const listener = await transport.listen(at, (socket) => this.#accept(socket));
    // Stopped while the system was asked for the port.
    if (this.#context.stopping) return await listener.close();
    this.#listener = listener;
    this.#context.log({ event: "listening", address: formatAddress(listener.address) });
  }

  /** Closes the door and gives up all dials. Connections stay. */
  async close(): Promise<void> {
    const { lists, metrics } = this.#context;
    for (const dial of lists.dialing.values()) {
      dial.cancel();
      metrics.counters.outboundCancelled++;
    }
    lists.dialing.clear();
    await this.#listener?.close();
    this.#listener = undefined;
  }

  /** Dials an address; false when a slot is missing, the address is being dialed already, or the node stops. */
  dial(address: PeerAddress, reason: string): boolean {
    const { config, clock, lists, metrics, peerManager, transport, stored, log, stopping } = this.#context;
    const text = formatAddress(address);
    if (lists.dialing.has(text)) return false;
    const state = { pendingOutbound: lists.pendingOf("weCalledRemote"), shuttingDown: stopping };
    if (acceptDial(state, config).do === "refuse") return false;
    stored(() => peerManager.update(address, { backoff: "increase" }));
    metrics.counters.outboundAttempts++;
    log({ event: "dialing", address: text, reason });
    const dialing = transport.dial(address, { timeoutMs: config.connectTimeoutMs }, {
      onConnect: (socket) => {
        lists.dialing.delete(text);
        this.#begin("weCalledRemote", socket, address);
      },
      onFail: (failure) => {
        lists.dialing.delete(text);
        metrics.count("outboundFailures", failure.code);
        log({ event: "dialFailed", address: text, failure });
        stored(() => peerManager.noteDial(address, { code: failure.code }));
        stored(() => peerManager.removePeersWithManyFailures(REALLY_DEAD_NUM_FAILURES_CUTOFF, address.host));
      },
    });
    lists.dialing.set(text, { address, startedMs: clock.nowMs(), cancel: () => dialing.cancel() });
    return true;
  }

  #accept(socket: Socket): void {
    const { config, lists, metrics, preferred, stopping, log } = this.#context;
    metrics.counters.inboundAttempts++;
    const verdict = acceptPending(
      socket.remote.host,
      {
        pendingInbound: lists.pendingOf("remoteCalledUs"),
        liveInbound: lists.liveInbound,
        authenticatedInbound: lists.inbound.size,
        shuttingDown: stopping,
      },
      config,
      (ip) => preferred.hasHost(ip),
    );
    if (verdict.do === "refuse") {
      metrics.counters.inboundRejected++;
      log({ event: "refused", address: formatAddress(socket.remote), reason: verdict.reason });
      socket.destroy();
      return;
    }
    this.#begin("remoteCalledUs", socket, undefined);
  }

  #begin(role: Role, socket: Socket, address: PeerAddress | undefined): void {
    const { config, clock, random, local, ledger, lists } = this.#context;
    const { handlers, meter, scpQueue, scpStateFrom, faults } = this.#options;
    const peer = new Peer({
      role,
      socket,
      local,
      clock,
      random,
      handlers,
      meter,
      settings: {
        flowControl: flowControlNow(config, ledger),
        maxBatchBytes: config.maxBatchWriteBytes,
        maxBatchMessages: config.maxBatchWriteCount,
        checkMs: config.checkMs,
        authenticationTimeoutMs: config.authenticationTimeoutMs,
        idleTimeoutMs: config.idleTimeoutMs,
        stragglerTimeoutMs: config.stragglerTimeoutMs,
        noCreditTimeoutMs: config.noCreditTimeoutMs,
        closeDelayMs: config.closeDelayMs,
        scpStateFrom: scpStateFrom(),
        scpQueue,
        faults,
      },
    });
    // A drop inside the constructor has been handled already.
    if (peer.dropped === undefined) lists.pending.set(peer, { address });
  }
}
