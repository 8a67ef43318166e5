/** The effects of `doctor` on its target: one question is one visit. */
import { OverlayError } from "../../overlay/base/errors.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import type { Random } from "../../overlay/base/random.ts";
import { LocalNode, WIDE_OVERLAY_WINDOW } from "../../overlay/peer/local_node.ts";
import type { Resolver, Transport } from "../../overlay/transport/transport.ts";
import { DEFAULT_VISIT_TIMEOUTS, visit, type VisitStage, type VisitTimeouts } from "../probe/visit.ts";
import type { Probe, Question } from "./evidence.ts";
import { ScpCollector } from "./scp_evidence.ts";

/** The world the probes act in. */
export interface ProbeWorld {
  transport: Transport;
  resolver: Resolver;
  clock: Clock;
  random: Random;
  /** Ours for one question. */
  localFor: (question: Question) => LocalNode;
  timeouts: Partial<VisitTimeouts>;
  /** Longest time to hear SCP messages, ms; a visit ends before it when nothing more can be learned. */
  listenMs: number;
  signal?: AbortSignal;
  onStage?: (question: Question, stage: VisitStage) => void;
}

/** Seconds that a certificate "of the far future" lives: a hundred years. */
const FUTURE_SECONDS = 3_153_600_000;
/** Round trips of a full probe. */
const PINGS = 2;

/** What our own nodes are made of. */
export interface Identities {
  clock: Clock;
  random: Random;
  /** Seed of the given identity; a fresh one when absent. */
  seed?: Uint8Array;
  /** Overlay versions to ask with; everything when absent. */
  versions?: { min: number; max: number };
  /** Port to announce. */
  listeningPort?: number;
}

/** Makes the {@link LocalNode} of each question: the same one for the same identity, network, certificate and versions. */
export function localNodes(options: Identities): ProbeWorld["localFor"] {
  const { clock, random, versions } = options;
  const seeds = { given: options.seed ?? random.bytes(32), fresh: random.bytes(32) };
  /** BOUNDED: by the networks tried, times two identities, two certificates and two windows. */
  const made = new Map<string, LocalNode>();
  return ({ network, identity, cert, versions: which }) => {
    const key = [network.passphrase, identity, cert, which].join("\0");
    let local = made.get(key);
    if (local === undefined) {
      const window = which === "wide" ? WIDE_OVERLAY_WINDOW : versions ?? WIDE_OVERLAY_WINDOW;
      local = new LocalNode({
        passphrase: network.passphrase,
        clock,
        random,
        seed: seeds[identity],
        certLifetimeSeconds: cert === "future" ? FUTURE_SECONDS : undefined,
        overlayVersion: window.max,
        overlayMinVersion: window.min,
        listeningPort: options.listeningPort,
      });
      made.set(key, local);
    }
    return local;
  };
}

/** Asks one question. Never throws for what the remote does. */
export async function ask(question: Question, world: ProbeWorld): Promise<Probe> {
  const { clock } = world;
  const local = world.localFor(question);
  const leave = new AbortController();
  const onAbort = () => leave.abort();
  if (world.signal?.aborted) onAbort();
  world.signal?.addEventListener("abort", onAbort, { once: true });
  // Not within the peer's own callback: it has not finished with the message yet.
  const leaveSoon = () => queueMicrotask(onAbort);
  const full = question.depth === "full";
  const timeouts = { ...DEFAULT_VISIT_TIMEOUTS, ...world.timeouts };
  const { patience } = question;
  let collector: ScpCollector | undefined;
  let settling: Timer | undefined;
  try {
    const result = await visit({
      to: question.to,
      local,
      transport: world.transport,
      clock,
      random: world.random,
      wants: full ? { pings: PINGS, listenMs: world.listenMs } : {},
      timeouts: { ...timeouts, connectMs: timeouts.connectMs, stageMs: timeouts.stageMs * patience },
      signal: leave.signal,
      observer: {
        onStage: (stage) => {
          world.onStage?.(question, stage);
          if (stage === "hello" && !full) leaveSoon();
        },
        onLive: (peer) => {
          collector = new ScpCollector(local.networkId, peer.nodeIdText!, clock.nowMs());
        },
        onMessage: (_, message) => {
          collector?.take(message, clock.wallMs());
          // PEERS and pings came long before a new slot could begin.
          if (collector?.complete && settling === undefined) settling = clock.setTimer(0, onAbort);
        },
      },
    });
    const scp = collector?.evidence(clock.nowMs());
    return { question, visit: result, scp };
  } finally {
    settling?.cancel();
    world.signal?.removeEventListener("abort", onAbort);
  }
}

/** The addresses of a name, or why there are none; `ms` is 0 for an address. */
export async function resolveTarget(
  host: string,
  world: Pick<ProbeWorld, "resolver" | "clock" | "signal" | "timeouts">,
): Promise<{ hosts: string[]; ms: number } | { failure: OverlayError["failure"] }> {
  const { clock, signal } = world;
  const limitMs = world.timeouts.connectMs ?? DEFAULT_VISIT_TIMEOUTS.connectMs;
  const startedMs = clock.nowMs();
  let timer: Timer | undefined;
  let stop = () => {};
  const ended = new Promise<never>((_, reject) => {
    stop = () => reject(new OverlayError({ code: "local_close", reason: "interrupted" }));
    timer = clock.setTimer(limitMs, () => {
      reject(new OverlayError({ code: "dns_failed", host, reason: `no answer in ${limitMs} ms` }));
    });
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
  const work = world.resolver.resolve(host);
  work.catch(() => {});
  try {
    const hosts = await Promise.race([work, ended]);
    const literal = hosts.length === 1 && hosts[0] === host;
    return { hosts, ms: literal ? 0 : Math.max(1, clock.nowMs() - startedMs) };
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    return { failure: error.failure };
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", stop);
  }
}
