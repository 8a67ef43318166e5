/**
 * One visit to one address: dial, handshake, PEERS, and what else was asked for, then leave. `connect` shows it, `crawl`
 * makes thousands of it. A visit never throws for what a remote does: its result says how far it came and why it ended.
 */
import { isSigned } from "../../overlay/auth/cert.ts";
import { windowsMeet } from "../../overlay/auth/handshake.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { type Failure, type Stage } from "../../overlay/base/errors.ts";
import type { Random } from "../../overlay/base/random.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import { DEFAULT_PEER_SETTINGS, type Drop, Peer, type PeerSettings } from "../../overlay/peer/peer.ts";
import type { Endpoint, Transport } from "../../overlay/transport/transport.ts";
import { QUERIES_PER_WINDOW, QUERY_WINDOW_MS, QueryLimiter } from "../../overlay/peer/query_limiter.ts";
import { encodeMessage, MessageType, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { Hello, WireAddress } from "../../overlay/wire/types.ts";

/** How a visit ended, in one word. */
export type VisitState =
  /** Handshake complete and the peer admitted us. */
  | "reachable"
  /** Handshake complete, no free slot: identity and addresses are known. */
  | "full"
  /** It answered and said why it does not want us. */
  | "refused"
  /** It admitted us and ended the connection before we had what we asked for. */
  | "dropped"
  /** TCP works; it closed or stayed silent without a reason. */
  | "silent"
  /** It speaks the protocol of another network. */
  | "other-network"
  /** It breaks the protocol. */
  | "faulty"
  /** Something else listens there. */
  | "not-stellar"
  /** No TCP connection. */
  | "dead"
  /** We left before it could answer. */
  | "interrupted";

/** What a visit is asked for beyond HELLO, AUTH, the first grant and PEERS. */
export interface VisitWants {
  /** Round trips to measure after the grant. */
  pings: number;
  /** Time to stay after the grant and hear SCP messages, ms; 0 leaves at once. */
  listenMs: number;
  /** Wait up to this long after the grant for the first SCP message, ms; 0 does not wait. */
  firstScpMs: number;
  /** Stay until the peer or the caller ends it. */
  stay: boolean;
}

/** Limits of a visit, ms. */
export interface VisitTimeouts {
  connectMs: number;
  /** Silence allowed in each handshake stage: HELLO, AUTH, first grant. */
  stageMs: number;
  /** Wait for PEERS after the first grant. Upstream sends PEERS before it, others may not. */
  peersMs: number;
  /** Wait for the answer to one ping. */
  pingMs: number;
}

/** Values that suit the public network. */
export const DEFAULT_VISIT_TIMEOUTS: VisitTimeouts = { connectMs: 5000, stageMs: 5000, peersMs: 500, pingMs: 3000 };

/** Watches a visit while it happens. */
export interface VisitObserver {
  /** A stage was reached, `ms` after the visit began. */
  onStage?(stage: VisitStage, ms: number): void;
  /** PEERS arrived. The visit may go on for long after it. */
  onPeers?(peer: Peer, peers: WireAddress[]): void;
  /**
   * The peer is authenticated, admitted us and gave credit: messages may be sent to it. A number is a time to stay and hear
   * SCP messages from now on, ms, which lengthens `wants.listenMs`.
   */
  onLive?(peer: Peer): number | void;
  /** A message of the live peer, PEERS and ping answers excepted. */
  onMessage?(peer: Peer, message: ReceivedMessage): void;
}

/** Named instants of a visit, in order. */
export type VisitStage = "tcp" | "hello" | "auth" | "grant" | "peers" | "scp";

/** Who and what takes part in a visit. */
export interface VisitPlan {
  to: Endpoint;
  local: LocalNode;
  transport: Transport;
  clock: Clock;
  random: Random;
  wants?: Partial<VisitWants>;
  timeouts?: Partial<VisitTimeouts>;
  /** Settings of the peer; the probe's own are laid over upstream's. */
  settings?: Partial<PeerSettings>;
  /** Leave with what is known. */
  signal?: AbortSignal;
  observer?: VisitObserver;
}

/** The result of a visit. */
export interface Visit {
  to: Endpoint;
  state: VisitState;
  /** Absent when reachable or full. */
  failure: Failure | undefined;
  /** The remote's ERROR_MSG text, also when full. */
  remoteText: string | undefined;
  /** Wall time when the dial began, ms since the epoch. */
  startedAtMs: number;
  /** Length of the visit, ms. */
  durationMs: number;
  /** Time to reach each stage after the one before it, ms. */
  stagesMs: Partial<Record<VisitStage, number>>;
  /** The remote's HELLO: its certificate is signed, by the rules of its own network when that is not ours. */
  hello: Hello | undefined;
  /** `G...` of the remote. */
  nodeId: string | undefined;
  /** Wall time when HELLO arrived, ms since the epoch. */
  helloAtMs: number | undefined;
  /** PEERS as received; undefined when none came. */
  peers: WireAddress[] | undefined;
  /** Round trips, ms, in order. */
  rttMs: number[];
  /** Pings that were not answered in time. */
  pingsLost: number;
  /** SCP messages received. */
  scpMessages: number;
  bytesRead: number;
  bytesWritten: number;
}

/** The state that a failure means; undefined failure is "reachable". */
export function stateOfFailure(failure: Failure | undefined): VisitState {
  if (failure === undefined) return "reachable";
  switch (failure.code) {
    case "peer_rejected":
      return "full";
    case "bad_address":
    case "dns_failed":
    case "connect_refused":
    case "connect_unreachable":
    case "connect_timeout":
    case "connect_failed":
      return "dead";
    case "closed_before_hello":
    case "silent_close":
    case "closed_after_hello":
    case "handshake_timeout":
    case "no_answer":
      return "silent";
    case "network_mismatch":
    case "wrong_passphrase":
      return "other-network";
    case "not_stellar":
      return "not-stellar";
    case "wrong_version":
    case "version_mismatch":
    case "connecting_to_self":
    case "already_connected":
    case "bad_listening_port":
    case "flow_control_refused":
    case "auth_refused":
      return "refused";
    case "dropped_by_remote":
      return failure.stage === "live" || failure.stage === "grant" ? "dropped" : "refused";
    case "connection_lost":
    case "idle_timeout":
    case "straggling":
      return "dropped";
    case "local_close":
      return "interrupted";
    default:
      return "faulty";
  }
}

/** Wait for the ERROR_MSG of a remote whose version window does not meet ours, ms. It comes right behind its HELLO. */
const REFUSAL_WAIT_MS = 500;

/** How long a peer we left may take to close its side, ms. */
const CLOSE_DELAY_MS = 1000;

/** A HELLO of another network, if its certificate is right there. */
function signedElsewhere(hello: Hello | undefined): Hello | undefined {
  return hello !== undefined && isSigned(hello.cert, hello.peerId, hello.networkId) ? hello : undefined;
}

/** Makes one visit. The promise always resolves. */
export function visit(plan: VisitPlan): Promise<Visit> {
  return new Promise((resolve) => new Visitor(plan, resolve));
}

/** The moving parts of one visit. */
class Visitor {
  readonly #plan: VisitPlan;
  readonly #wants: VisitWants;
  readonly #timeouts: VisitTimeouts;
  readonly #done: (visit: Visit) => void;
  readonly #visit: Visit;
  readonly #startedMs: number;
  #lastStageMs: number;
  #peer: Peer | undefined;
  #deadline: Timer | undefined;
  #listening: Timer | undefined;
  #cancelDial: (() => void) | undefined;
  #live = false;
  #waitsForPeers = true;
  #waitsForScp: boolean;
  #waitsForListen: boolean;
  #pingsLeft: number;
  #finished = false;
  readonly #pongs = new QueryLimiter(QUERIES_PER_WINDOW, QUERY_WINDOW_MS);
  readonly #txSetAnswers = new QueryLimiter(QUERIES_PER_WINDOW, QUERY_WINDOW_MS);
  readonly #onAbort = () => this.#leave();

  constructor(plan: VisitPlan, done: (visit: Visit) => void) {
    const { clock } = plan;
    this.#plan = plan;
    this.#wants = { pings: 0, listenMs: 0, firstScpMs: 0, stay: false, ...plan.wants };
    this.#timeouts = { ...DEFAULT_VISIT_TIMEOUTS, ...plan.timeouts };
    this.#done = done;
    this.#startedMs = this.#lastStageMs = clock.nowMs();
    this.#waitsForScp = this.#wants.firstScpMs > 0;
    this.#waitsForListen = this.#wants.listenMs > 0;
    this.#pingsLeft = this.#wants.pings;
    this.#visit = {
      to: plan.to,
      state: "dead",
      failure: undefined,
      remoteText: undefined,
      startedAtMs: clock.wallMs(),
      durationMs: 0,
      stagesMs: {},
      hello: undefined,
      nodeId: undefined,
      helloAtMs: undefined,
      peers: undefined,
      rttMs: [],
      pingsLost: 0,
      scpMessages: 0,
      bytesRead: 0,
      bytesWritten: 0,
    };
    if (plan.signal?.aborted) {
      this.#leave();
      return;
    }
    plan.signal?.addEventListener("abort", this.#onAbort, { once: true });
    const dialing = plan.transport.dial(plan.to, { timeoutMs: this.#timeouts.connectMs }, {
      onFail: (failure) => this.#finish(failure),
      onConnect: (socket) => this.#onConnect(socket),
    });
    this.#cancelDial = () => dialing.cancel();
  }

  #onConnect(socket: Parameters<Parameters<Transport["dial"]>[2]["onConnect"]>[0]): void {
    const plan = this.#plan;
    this.#cancelDial = undefined;
    this.#stage("tcp");
    this.#peer = new Peer({
      role: "weCalledRemote",
      socket,
      local: plan.local,
      clock: plan.clock,
      random: plan.random,
      settings: {
        ...DEFAULT_PEER_SETTINGS,
        // Our own deadlines are stricter and say more; upstream's checks stay as a net below them.
        authenticationTimeoutMs: this.#timeouts.stageMs + 1000,
        acceptExpiredCert: true,
        acceptAnyVersion: true,
        closeDelayMs: CLOSE_DELAY_MS,
        ping: this.#wants.stay,
        scpStateFrom: this.#waitsForScp || this.#waitsForListen || this.#wants.stay ? 0 : undefined,
        ...plan.settings,
      },
      handlers: {
        onHello: (_, hello) => {
          this.#visit.hello = hello;
          this.#visit.helloAtMs = plan.clock.wallMs();
          this.#stage("hello");
          // A remote whose window does not meet ours says so at once, if it says it at all.
          this.#stageDeadline(windowsMeet(hello, plan.local) ? undefined : REFUSAL_WAIT_MS);
        },
        onAuthenticated: () => {
          this.#stage("auth");
          this.#stageDeadline();
        },
        onPeers: (_, peers) => {
          this.#visit.peers = peers;
          this.#waitsForPeers = false;
          this.#stage("peers");
          this.#plan.observer?.onPeers?.(this.#peer!, peers);
          this.#leaveIfDone();
        },
        onFirstGrant: (peer) => this.#onLive(peer),
        onMessage: (peer, message) => this.#onMessage(peer, message),
        onDropped: (_, drop) => this.#onDropped(drop),
      },
    });
    this.#stageDeadline();
  }

  #onLive(peer: Peer): void {
    const { clock } = this.#plan;
    this.#live = true;
    this.#stage("grant");
    this.#deadline?.cancel();
    if (this.#waitsForPeers) {
      this.#deadline = clock.setTimer(this.#timeouts.peersMs, () => {
        this.#waitsForPeers = false;
        this.#leaveIfDone();
      });
    }
    const stayMs = this.#plan.observer?.onLive?.(peer) ?? 0;
    if (stayMs > 0) {
      // Asked after authentication already when the plan said so.
      if (!this.#waitsForListen && !this.#waitsForScp) peer.send({ type: "getScpState", ledgerSeq: 0 });
      this.#waitsForListen = true;
    }
    const waitMs = Math.max(this.#wants.listenMs, this.#wants.firstScpMs, stayMs);
    if (waitMs > 0) {
      this.#listening = clock.setTimer(waitMs, () => {
        this.#waitsForScp = this.#waitsForListen = false;
        this.#leaveIfDone();
      });
    }
    this.#pingNext();
    this.#leaveIfDone();
  }

  #pingNext(): void {
    const peer = this.#peer;
    if (peer === undefined || this.#pingsLeft <= 0 || this.#finished) return;
    const lost = this.#plan.clock.setTimer(this.#timeouts.pingMs, () => {
      // A peer that does not answer one ping will not answer the next: it is asked no more.
      this.#visit.pingsLost++;
      this.#pingsLeft = 0;
      this.#leaveIfDone();
    });
    const asked = peer.ping((rttMs) => {
      lost.cancel();
      if (this.#pingsLeft <= 0) return;
      this.#visit.rttMs.push(rttMs);
      this.#pingsLeft--;
      this.#pingNext();
      this.#leaveIfDone();
    });
    if (!asked) {
      lost.cancel();
      this.#pingsLeft = 0;
    }
  }

  #onMessage(peer: Peer, message: ReceivedMessage): void {
    const nowMs = message.receivedAtMs;
    if (message.type === MessageType.scpMessage) {
      this.#visit.scpMessages++;
      if (this.#visit.scpMessages === 1) this.#stage("scp");
      this.#waitsForScp = false;
    } else if (message.type === MessageType.getScpQuorumset && this.#pongs.allow(nowMs)) {
      // The peer's ping: answering keeps its picture of us alive. Source: flooding.md section 6.
      const reqHash = message.bytes.slice(4, 36);
      peer.send(encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }));
    } else if (message.type === MessageType.getTxSet && this.#txSetAnswers.allow(nowMs)) {
      const reqHash = message.bytes.slice(4, 36);
      peer.send(encodeMessage({ type: "dontHave", dontHave: { type: MessageType.generalizedTxSet, reqHash } }));
    }
    this.#plan.observer?.onMessage?.(peer, message);
    this.#leaveIfDone();
  }

  #onDropped(drop: Drop): void {
    const { failure } = drop;
    if (drop.by === "remote" && "text" in failure) this.#visit.remoteText = failure.text;
    this.#finish(this.#wrongVersion(failure) ?? failure);
  }

  /** Windows that do not meet explain any wordless end before the first grant, whichever side noticed. */
  #wrongVersion(failure: Failure): Failure | undefined {
    const { hello } = this.#visit, { local } = this.#plan;
    if (this.#live || hello === undefined || windowsMeet(hello, local)) return undefined;
    switch (failure.code) {
      case "version_mismatch":
      case "closed_after_hello":
      case "handshake_timeout":
        return {
          code: "wrong_version",
          remoteMin: hello.overlayMinVersion,
          remoteMax: hello.overlayVersion,
          oursMin: local.overlayMinVersion,
          oursMax: local.overlayVersion,
          text: "",
        };
    }
    return undefined;
  }

  /** Time to the stage, counted from the one before it. */
  #stage(stage: VisitStage): void {
    const nowMs = this.#plan.clock.nowMs();
    this.#visit.stagesMs[stage] = nowMs - this.#lastStageMs;
    this.#lastStageMs = nowMs;
    this.#plan.observer?.onStage?.(stage, nowMs - this.#startedMs);
  }

  #stageDeadline(limitMs = this.#timeouts.stageMs): void {
    const afterMs = Math.min(limitMs, this.#timeouts.stageMs);
    this.#deadline?.cancel();
    this.#deadline = this.#plan.clock.setTimer(afterMs, () => {
      const peer = this.#peer!;
      const stage: Stage = peer.stage;
      const heard = peer.connection.counters.bytesRead > 0;
      peer.close(
        "handshake timeout",
        heard ? { code: "handshake_timeout", stage, afterMs } : { code: "no_answer", afterMs },
      );
    });
  }

  #leaveIfDone(): void {
    if (!this.#live || this.#wants.stay) return;
    if (this.#waitsForPeers || this.#waitsForScp || this.#waitsForListen || this.#pingsLeft > 0) return;
    this.#leave();
  }

  /** Ends the visit from our side with what is known. */
  #leave(): void {
    if (this.#finished) return;
    const failure: Failure | undefined = this.#live ? undefined : { code: "local_close", reason: "interrupted" };
    this.#cancelDial?.();
    this.#finish(failure);
  }

  #finish(failure: Failure | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#deadline?.cancel();
    this.#listening?.cancel();
    this.#plan.signal?.removeEventListener("abort", this.#onAbort);
    const { clock } = this.#plan;
    const visit = this.#visit;
    const peer = this.#peer;
    if (peer !== undefined) {
      if (visit.hello === undefined && failure?.code === "network_mismatch") visit.hello = signedElsewhere(peer.hello);
      visit.nodeId = visit.hello && peer.nodeIdText;
      visit.bytesRead = peer.connection.counters.bytesRead;
      visit.bytesWritten = peer.connection.counters.bytesWritten;
      if (peer.dropped === undefined) peer.close("done");
    }
    visit.state = stateOfFailure(failure);
    // ERROR_MSG is not authenticated: without AUTH nobody has proved to be the node of the HELLO.
    if (visit.state === "full" && visit.stagesMs.auth === undefined) visit.state = "refused";
    visit.failure = visit.state === "full" ? undefined : failure;
    visit.durationMs = clock.nowMs() - this.#startedMs;
    this.#done(visit);
  }
}
