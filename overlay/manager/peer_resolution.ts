/**
 * Keeps the configured names resolved: once at start, then in the background every ten minutes, sooner while a name fails.
 * Source: stellar-core OverlayManagerImpl.cpp resolvePeers, triggerPeerResolution, tick; peers.md section 8.
 */
import type { Clock, Timer } from "../base/clock.ts";
import type { OverlayConfig } from "../base/config.ts";
import { type Failure, OverlayError } from "../base/errors.ts";
import { formatAddress, type PeerAddress } from "../base/peer_address.ts";
import type { Resolver } from "../transport/transport.ts";

/** A name that could not be resolved. */
export interface ResolutionFailure {
  /** As configured. */
  peer: PeerAddress;
  failure: Failure;
}

/** Configured peers with IP addresses. No address twice within a list. */
export interface ResolvedPeers {
  known: PeerAddress[];
  preferred: PeerAddress[];
  /** The entries left out. */
  failures: ResolutionFailure[];
}

/** Where resolution stands between two runs. */
export interface RetryState {
  /** Whether a failed run is repeated sooner; once false, always false. */
  retrying: boolean;
  /** Failed runs so far. */
  failedRuns: number;
}

/** Before the first run. */
export const INITIAL_RETRY_STATE: RetryState = { retrying: true, failedRuns: 0 };

/**
 * The wait until the next run: the interval, or the number of failed runs times the step while that is no longer. The first
 * run without a failure, or a wait above the interval, ends retrying for good. Source: stellar-core OverlayManagerImpl.cpp tick.
 */
export function afterRun(
  state: RetryState,
  failed: boolean,
  config: Pick<OverlayConfig, "resolveIntervalMs" | "resolveRetryMs">,
): { state: RetryState; delayMs: number } {
  const delayMs = config.resolveIntervalMs;
  if (!state.retrying) return { state, delayMs };
  if (!failed) return { state: { ...state, retrying: false }, delayMs };
  const failedRuns = state.failedRuns + 1;
  const retryMs = failedRuns * config.resolveRetryMs;
  if (retryMs > delayMs) return { state: { retrying: false, failedRuns }, delayMs };
  return { state: { retrying: true, failedRuns }, delayMs: retryMs };
}

/** What a {@link PeerResolution} depends on. */
export interface PeerResolutionOptions {
  clock: Clock;
  resolver: Resolver;
  config: Pick<OverlayConfig, "knownPeers" | "preferredPeers" | "resolveIntervalMs" | "resolveRetryMs">;
}

/**
 * Resolves the configured peers in the background. A tick calls {@link take}; the wait for the next run starts there, as
 * upstream's does. One run at a time.
 */
export class PeerResolution {
  readonly #options: PeerResolutionOptions;
  #state: RetryState = INITIAL_RETRY_STATE;
  #running = false;
  #result: ResolvedPeers | undefined;
  #timer: Timer | undefined;
  #disposed = false;

  constructor(options: PeerResolutionOptions) {
    this.#options = options;
  }

  /** Resolves once, outside the schedule: for start. Never rejects; a bad entry is left out. */
  resolve(): Promise<ResolvedPeers> {
    return resolvePeers(this.#options.resolver, this.#options.config);
  }

  /** Starts a run, unless one is under way, or has a result that was not taken, or this is disposed. */
  trigger(): void {
    if (this.#running || this.#result !== undefined || this.#disposed) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#running = true;
    this.resolve().then((result) => {
      this.#running = false;
      if (!this.#disposed) this.#result = result;
    });
  }

  /** The result of the run that ended since the last call, if one did; schedules the next run. */
  take(): ResolvedPeers | undefined {
    const result = this.#result;
    if (result === undefined) return undefined;
    this.#result = undefined;
    const { clock, config } = this.#options;
    const { state, delayMs } = afterRun(this.#state, result.failures.length > 0, config);
    this.#state = state;
    this.#timer = clock.setTimer(delayMs, () => this.trigger());
    return result;
  }

  /** Ends the schedule. A run under way ends unheard. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#result = undefined;
    this.#timer?.cancel();
  }
}

/**
 * The IP addresses of configured peers: the first that the resolver names, so IPv4 when a name has both. Upstream knows IPv4
 * only. Never rejects.
 */
export async function resolvePeers(
  resolver: Resolver,
  peers: { knownPeers: readonly PeerAddress[]; preferredPeers: readonly PeerAddress[] },
): Promise<ResolvedPeers> {
  const failures: ResolutionFailure[] = [];
  const list = async (entries: readonly PeerAddress[]): Promise<PeerAddress[]> => {
    const found = await Promise.all(entries.map(async (peer) => {
      try {
        const [host] = await resolver.resolve(peer.host);
        if (host !== undefined) return { host, port: peer.port };
        failures.push({ peer, failure: { code: "dns_failed", host: peer.host, reason: "no addresses found" } });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const failure: Failure = error instanceof OverlayError
          ? error.failure
          : { code: "dns_failed", host: peer.host, reason };
        failures.push({ peer, failure });
      }
      return undefined;
    }));
    const addresses = found.filter((address) => address !== undefined);
    return [...new Map(addresses.map((address) => [formatAddress(address), address])).values()];
  };
  const [known, preferred] = await Promise.all([list(peers.knownPeers), list(peers.preferredPeers)]);
  return { known, preferred, failures };
}
