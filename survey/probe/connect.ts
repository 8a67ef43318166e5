/**
 * Everything one target tells: resolve, visit, try the other known networks after a silent close, and judge the result.
 * This is `connect` without its flags and its text.
 */
import { toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { describeFailure, type Failure, hintFor, OverlayError } from "../../overlay/base/errors.ts";
import { type Network, networkLabel, networkNameOf, NETWORKS } from "../../overlay/base/networks.ts";
import { addressOfWire, formatAddress, type Target } from "../../overlay/base/peer_address.ts";
import type { Random } from "../../overlay/base/random.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import type { PeerSettings } from "../../overlay/peer/peer.ts";
import type { Resolver, Transport } from "../../overlay/transport/transport.ts";
import type { Hello, WireAddress } from "../../overlay/wire/types.ts";
import { percentile } from "./statistics.ts";
import {
  DEFAULT_VISIT_TIMEOUTS,
  stateOfFailure,
  type Visit,
  visit,
  type VisitObserver,
  type VisitStage,
  type VisitState,
  type VisitTimeouts,
  type VisitWants,
} from "./visit.ts";

/** What a connect needs from its surroundings and its user. */
export interface ConnectPlan {
  target: Target;
  /** The target as the user wrote it. */
  text: string;
  /** Undefined: find out (`--network auto`). */
  network: Network | undefined;
  /** Our identity on a network. */
  localFor: (network: Network) => LocalNode;
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  wants: Partial<VisitWants>;
  timeouts: Partial<VisitTimeouts>;
  settings?: Partial<PeerSettings>;
  /** Try the other known networks after a silent close. */
  tryNetworks: boolean;
  signal?: AbortSignal;
  observer?: ConnectObserver;
}

/** Watches a connect while it happens. */
export interface ConnectObserver extends VisitObserver {
  onResolved?(addresses: string[], ms: number): void;
  /** A visit begins. */
  onTry?(address: string, network: Network): void;
}

/** What a certificate tells about the remote's clock: it lives one hour and is renewed when half of it is left. */
export interface CertificateFacts {
  /** RFC 3339 UTC; null for a year that has more than four digits. */
  expiresAt: string | null;
  /** Time left by our clock when HELLO arrived, ms; negative when expired. */
  leftMs: number;
  /** The remote's clock minus ours lies in this range, if it issues certificates as stellar-core does; null when it does not. */
  clockAheadMinMs: number | null;
  clockAheadMaxMs: number | null;
}

/** One row of `connect --json`. */
export interface ConnectResult {
  target: string;
  /** `ip:port` that was dialed, null when the name did not resolve. */
  address: string | null;
  state: VisitState;
  /** The failure's code, null when reachable or full. */
  code: Failure["code"] | null;
  /** What happened, in one sentence without remote text. */
  detail: string | null;
  /** What to try next. */
  hint: string | null;
  /** Text of the remote's ERROR_MSG. Hostile input. */
  remoteText: string | null;
  nodeId: string | null;
  versionStr: string | null;
  overlayVersion: number | null;
  overlayMinVersion: number | null;
  ledgerVersion: number | null;
  listeningPort: number | null;
  /** Name of the network the node is on, its id in hex when it has no known name; null when unknown. */
  network: string | null;
  networkId: string | null;
  certificate: CertificateFacts | null;
  /** Addresses of PEERS, in the order received; null when none were sent. */
  peers: string[] | null;
  /** Time of each stage, ms, counted from the one before it. */
  stagesMs: { dns?: number } & Partial<Record<VisitStage, number>>;
  rttMs: { min: number; median: number; p95: number; count: number; lost: number } | null;
  scpMessages: number;
  bytesRead: number;
  bytesWritten: number;
  startedAt: string;
  durationMs: number;
  /** Every dial that was made, in order. */
  attempts: { address: string; network: string; state: VisitState; code: Failure["code"] | null; durationMs: number }[];
}

/** Other addresses of a name that are tried after one that has no TCP connection. */
const MAX_ADDRESSES = 3;

/** Connects to one target. Never throws for what the remote or the network does. */
export async function connectTarget(plan: ConnectPlan): Promise<ConnectResult> {
  const { clock, target } = plan;
  const startedAtMs = clock.wallMs(), startedMs = clock.nowMs();
  const attempts: ConnectResult["attempts"] = [];
  const stagesMs: ConnectResult["stagesMs"] = {};
  const done = (
    address: string | null,
    network: Network | undefined,
    last: Visit | undefined,
    failure: Failure | undefined,
  ) =>
    resultOf({
      plan,
      address,
      network,
      visit: last,
      failure,
      stagesMs,
      attempts,
      startedAtMs,
      durationMs: clock.nowMs() - startedMs,
    });

  let hosts: string[];
  try {
    hosts = await resolveInTime(plan);
    // An address needs no look-up.
    const literal = hosts.length === 1 && hosts[0] === target.address.host;
    stagesMs.dns = literal ? 0 : round(clock.nowMs() - startedMs);
    plan.observer?.onResolved?.(hosts, stagesMs.dns);
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    return done(null, undefined, undefined, error.failure);
  }

  const attempt = async (host: string, network: Network): Promise<Visit> => {
    const to = { host, port: target.address.port };
    plan.observer?.onTry?.(formatAddress(to), network);
    const result = await visit({
      to,
      local: plan.localFor(network),
      transport: plan.transport,
      clock,
      random: plan.random,
      wants: plan.wants,
      timeouts: plan.timeouts,
      settings: plan.settings,
      signal: plan.signal,
      observer: plan.observer,
    });
    attempts.push({
      address: formatAddress(to),
      network: networkLabel(network),
      state: result.state,
      code: result.failure?.code ?? null,
      durationMs: result.durationMs,
    });
    return result;
  };

  const first = plan.network ?? NETWORKS[0];
  let host = hosts[0];
  let result = await attempt(host, first);
  for (const next of hosts.slice(1, MAX_ADDRESSES)) {
    if (result.state !== "dead" || plan.signal?.aborted) break;
    host = next;
    result = await attempt(host, first);
  }
  const address = formatAddress({ host, port: target.address.port });

  let network = first;
  if (result.failure?.code === "silent_close" && (plan.tryNetworks || plan.network === undefined)) {
    for (const other of NETWORKS) {
      if (other.passphrase === first.passphrase || plan.signal?.aborted) continue;
      const found = await attempt(host, other);
      if (found.hello === undefined) continue;
      if (plan.network === undefined) {
        result = found;
        network = other;
      } else {
        const failure: Failure = { code: "network_mismatch", ours: networkLabel(first), theirs: networkLabel(other) };
        result = { ...found, state: "other-network", failure };
        network = other;
      }
      break;
    }
  }

  let failure = result.failure;
  if (failure === undefined && target.nodeId !== undefined && result.nodeId !== target.nodeId) {
    failure = { code: "identity_mismatch", expected: target.nodeId, actual: result.nodeId ?? "unknown" };
    result = { ...result, state: "faulty", failure };
  }
  return done(address, network, result, failure);
}

/** Addresses of a host, unless `signal` or the time is up first: nobody waits for a resolver after Ctrl-C, or for ever. */
async function resolveInTime(plan: ConnectPlan): Promise<string[]> {
  const { clock, signal } = plan;
  const { host } = plan.target.address;
  const timeoutMs = plan.timeouts.connectMs ?? DEFAULT_VISIT_TIMEOUTS.connectMs;
  const work = plan.resolver.resolve(host);
  let stop = () => {};
  let timer: Timer | undefined;
  const ended = new Promise<never>((_, reject) => {
    stop = () => reject(new OverlayError({ code: "local_close", reason: "interrupted" }));
    timer = clock.setTimer(timeoutMs, () => {
      reject(new OverlayError({ code: "dns_failed", host, reason: `no answer in ${timeoutMs} ms` }));
    });
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", stop);
    work.catch(() => {});
  }
}

/** Whether a result is what was asked for: the node answered, whether or not it has a free slot. */
export function isSuccess(result: ConnectResult): boolean {
  return result.state === "reachable" || result.state === "full";
}

interface Parts {
  plan: ConnectPlan;
  address: string | null;
  network: Network | undefined;
  visit: Visit | undefined;
  failure: Failure | undefined;
  stagesMs: ConnectResult["stagesMs"];
  attempts: ConnectResult["attempts"];
  startedAtMs: number;
  durationMs: number;
}

function resultOf(parts: Parts): ConnectResult {
  const { visit: seen, failure } = parts;
  const hello = seen?.hello;
  const full = seen?.state === "full";
  const told: Failure | undefined = full ? { code: "peer_rejected", text: seen.remoteText ?? "" } : failure;
  const rtt = seen?.rttMs ?? [];
  const networkId = hello === undefined ? null : toHex(hello.networkId);
  return {
    target: parts.plan.text,
    address: parts.address,
    state: seen?.state ?? stateOfFailure(failure),
    code: failure?.code ?? null,
    detail: told === undefined ? null : describeFailure(readable(told)),
    hint: told === undefined ? null : hintFor(readable(told)),
    remoteText: seen?.remoteText ?? null,
    nodeId: seen?.nodeId ?? null,
    versionStr: hello?.versionStr ?? null,
    overlayVersion: hello?.overlayVersion ?? null,
    overlayMinVersion: hello?.overlayMinVersion ?? null,
    ledgerVersion: hello?.ledgerVersion ?? null,
    listeningPort: hello?.listeningPort ?? null,
    network: networkId === null ? null : networkOf(networkId, parts.network),
    networkId,
    certificate: hello === undefined ? null : certificateFacts(hello, seen!.helloAtMs ?? seen!.startedAtMs),
    peers: seen?.peers === undefined ? null : usableAddresses(seen.peers),
    stagesMs: { ...parts.stagesMs, ...rounded(seen?.stagesMs ?? {}) },
    rttMs: rtt.length === 0 ? null : {
      min: round(percentile(rtt, 0)),
      median: round(percentile(rtt, 0.5)),
      p95: round(percentile(rtt, 0.95)),
      count: rtt.length,
      lost: seen?.pingsLost ?? 0,
    },
    scpMessages: seen?.scpMessages ?? 0,
    bytesRead: seen?.bytesRead ?? 0,
    bytesWritten: seen?.bytesWritten ?? 0,
    startedAt: new Date(parts.startedAtMs).toISOString(),
    durationMs: round(parts.durationMs),
    attempts: parts.attempts.map((attempt) => ({ ...attempt, durationMs: round(attempt.durationMs) })),
  };
}

/** Network ids in a failure become names where they have one. */
function readable(failure: Failure): Failure {
  if (failure.code === "network_mismatch") {
    return { ...failure, ours: networkNameOf(failure.ours), theirs: networkNameOf(failure.theirs) };
  }
  if (failure.code === "silent_close" || failure.code === "wrong_passphrase") {
    const known = NETWORKS.find((network) => network.passphrase === failure.network);
    return { ...failure, network: known?.name ?? `'${failure.network}'` };
  }
  return failure;
}

function networkOf(networkId: string, tried: Network | undefined): string {
  const name = networkNameOf(networkId);
  return name === networkId && tried !== undefined && tried.name === "custom" ? tried.passphrase : name;
}

/** `ip:port` of the entries that can be dialed at all, as received. */
export function usableAddresses(peers: WireAddress[]): string[] {
  return peers.map((peer) => addressOfWire(peer.ip, peer.port)).filter((address) => address !== null).map(
    formatAddress,
  );
}

/**
 * What the certificate says about time. stellar-core issues it for 3600 s and again when less than 1800 s are left, so the
 * time left is between the two by the remote's own clock. Source: stellar-core PeerAuth.cpp getAuthCert.
 */
export function certificateFacts(hello: Hello, atMs: number): CertificateFacts {
  const expiresMs = Number(hello.cert.expiration) * 1000;
  const leftMs = Math.round(expiresMs - atMs);
  // Beyond a day it was not issued as stellar-core does, and tells nothing of the clock.
  const usual = Math.abs(leftMs) < 86_400_000;
  return {
    expiresAt: expiresMs < LAST_YEAR_MS ? new Date(expiresMs).toISOString() : null,
    leftMs,
    clockAheadMinMs: usual ? leftMs - 3600_000 : null,
    clockAheadMaxMs: usual ? leftMs - 1800_000 : null,
  };
}

/** The end of what RFC 3339 can write. */
const LAST_YEAR_MS = Date.UTC(10_000, 0, 1);

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function rounded(stages: Partial<Record<VisitStage, number>>): Partial<Record<VisitStage, number>> {
  return Object.fromEntries(Object.entries(stages).map(([stage, ms]) => [stage, round(ms)]));
}
