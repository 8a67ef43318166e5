/**
 * One remote node on one connection: drives the handshake, keeps credit, watches for silence, answers pings, and hands every
 * other message to its owner. Source: stellar-core Peer.cpp, TCPPeer.cpp; handshake.md, flow-control.md, flooding.md 6, 7.
 */
import {
  beforeHandshake,
  type DropOrder,
  type HandshakeEffect,
  type HandshakeLocal,
  type HandshakeState,
  INITIAL_STATE,
  isHandshakeType,
  onHandshakeMessage,
  windowsMeet,
} from "../auth/handshake.ts";
import { isSigned } from "../auth/cert.ts";
import type { Role } from "../auth/session_keys.ts";
import { equalBytes, readUint32 } from "../base/bytes.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { type Failure, OverlayError, type Stage } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { Connection, type FrameProblem } from "../connection/connection.ts";
import { DEFAULT_FLOW_CONTROL, FlowControl, type FlowControlLimits, type Grant } from "../connection/flow_control.ts";
import type { ScpQueueRules } from "../connection/scp_queue.ts";
import type { TrafficMeter } from "../connection/traffic_meter.ts";
import { primitives } from "../crypto/primitives.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import type { Endpoint, Socket, SocketEnd } from "../transport/transport.ts";
import {
  decodeMessage,
  encodeMessage,
  isFloodType,
  MessageType,
  ReceivedMessage,
  type StellarMessage,
} from "../wire/messages.ts";
import { checkShape } from "../wire/shape.ts";
import {
  AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED,
  type AuthCert,
  ERROR_CODES,
  type ErrorCodeName,
  errorCodeName,
  type Hello,
  type WireAddress,
} from "../wire/types.ts";
import { bytesOfText } from "../wire/xdr.ts";
import type { LocalNode } from "./local_node.ts";
import { PeerMetrics } from "./peer_metrics.ts";
import { failureOfRemoteError } from "./remote_error.ts";

/** How and by whom a connection was ended. */
export interface Drop {
  by: "us" | "remote";
  /** Upstream's log text for this drop. Text from an ERROR_MSG is filtered as upstream filters it. */
  reason: string;
  /** The ERROR_MSG code that was sent or received, if one was. */
  error?: ErrorCodeName | string;
  failure: Failure;
}

/** Timers and sizes of a peer. Source: stellar-core Config.cpp; limits.md section 1. */
export interface PeerSettings {
  flowControl: FlowControlLimits;
  /** Trims the queue of SCP messages; shared by all peers. Undefined keeps what waits, up to the limits. */
  scpQueue: ScpQueueRules | undefined;
  /**
   * Bytes the system has not taken above which the peer is dropped as straggling at once. Upstream has no such limit: a
   * peer that reads slowly holds whatever was sent to it in 120 s.
   */
  maxUnsentBytes: number;
  /** Bytes, and messages, joined into one write to the socket. */
  maxBatchBytes: number;
  maxBatchMessages: number;
  /** Period of the recurring check, ms. */
  checkMs: number;
  /** Silence in both directions that ends an unauthenticated connection at a check, ms. */
  authenticationTimeoutMs: number;
  /** The same for an authenticated one, ms. */
  idleTimeoutMs: number;
  /** Age of the last message handed to the socket that ends a connection at a check, ms. */
  stragglerTimeoutMs: number;
  /** Time without send credit that ends a connection at a check, ms. */
  noCreditTimeoutMs: number;
  /** How long a dropped socket may take to close, ms. */
  closeDelayMs: number;
  /** Ping at every check while authenticated. */
  ping: boolean;
  /** Ledger to ask SCP state from after authentication; 0 means everything; undefined does not ask. */
  scpStateFrom: number | undefined;
  /** Go on after an expired certificate; see `HandshakeLocal.acceptExpiredCert`. */
  acceptExpiredCert: boolean;
  /** Go on although the version windows do not meet; see `HandshakeLocal.acceptAnyVersion`. */
  acceptAnyVersion: boolean;
  /** For tests: what a broken remote would do. Source: stellar-core LoopbackPeer.cpp. */
  faults: PeerFaults | undefined;
}

/** Damage that a test asks for. */
export interface PeerFaults {
  /** The certificate in our HELLO ends a second before or after what was signed. */
  damageCert?: boolean;
  /** Our receiving MAC key is wrong. */
  damageAuth?: boolean;
}

/** stellar-core's values. */
export const DEFAULT_PEER_SETTINGS: PeerSettings = {
  flowControl: DEFAULT_FLOW_CONTROL,
  scpQueue: undefined,
  maxUnsentBytes: 64 * 1024 * 1024,
  maxBatchBytes: 1024 * 1024,
  maxBatchMessages: 1024,
  checkMs: 5000,
  authenticationTimeoutMs: 2000,
  idleTimeoutMs: 30_000,
  stragglerTimeoutMs: 120_000,
  noCreditTimeoutMs: 60_000,
  closeDelayMs: 5000,
  ping: true,
  scpStateFrom: 0,
  acceptExpiredCert: false,
  acceptAnyVersion: false,
  faults: undefined,
};

/** Longest refused message that is decoded to tell corrupt XDR from a wrong MAC: nobody may make us decode megabytes for it. */
const MAX_DECODED_REFUSAL = 4096;

/** What a peer asks of its owner and tells it. Only `onMessage` and `onDropped` must be there. */
export interface PeerHandlers {
  isBanned?(nodeId: Uint8Array): boolean;
  /** Short name of another peer with this node id; the connection is refused then. */
  duplicateOf?(peer: Peer, nodeId: Uint8Array): string | undefined;
  /** The remote's HELLO has arrived and its certificate holds. The connection may still be refused. */
  onHello?(peer: Peer, hello: Hello): void;
  /** The address book should learn (remote IP, listening port). */
  recordAddress?(peer: Peer): void;
  /** Addresses for PEERS; asked when the remote called us. */
  peersToSend?(peer: Peer): WireAddress[];
  /** Decides about admission after AUTH; undefined admits. */
  admit?(peer: Peer): DropOrder | undefined;
  /** Both sides are authenticated and the peer is admitted; our first grant is on its way. */
  onAuthenticated?(peer: Peer): void;
  /** The peer's first grant arrived: it has admitted us. */
  onFirstGrant?(peer: Peer): void;
  /** PEERS arrived, legally. */
  onPeers?(peer: Peer, peers: WireAddress[]): void;
  /**
   * Any other message of an authenticated peer, ping answers excepted. A promise says that the message is still being
   * processed: until it settles the peer does not get its capacity back, and reading pauses when the total is used up.
   */
  onMessage(peer: Peer, message: ReceivedMessage): void | Promise<void>;
  /** The connection ended. Called once; nothing follows. */
  onDropped(peer: Peer, drop: Drop): void;
}

/** What a peer is made of. */
export interface PeerOptions {
  role: Role;
  socket: Socket;
  local: LocalNode;
  clock: Clock;
  random: Random;
  handlers: PeerHandlers;
  settings?: Partial<PeerSettings>;
  /** Told about every message read and written, with the times they took; shared by all peers of a node. */
  meter?: TrafficMeter;
}

/** Instants of a connection on the monotonic clock, ms. */
export interface PeerTimes {
  startedMs: number;
  helloMs?: number;
  authMs?: number;
  firstGrantMs?: number;
}

/** One remote node. */
export class Peer {
  readonly role: Role;
  readonly local: LocalNode;
  readonly connection: Connection;
  readonly flowControl: FlowControl;
  readonly times: PeerTimes;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #handlers: PeerHandlers;
  readonly #settings: PeerSettings;
  readonly #meter: TrafficMeter | undefined;
  readonly #nonce: Uint8Array;
  #state: HandshakeState = INITIAL_STATE;
  #remoteHello: Hello | undefined;
  #drop: Drop | undefined;
  #peersReceived = false;
  #checkTimer: Timer | undefined;
  #closeTimer: Timer | undefined;
  #ping: { id: Uint8Array; sentMs: number; done: ((rttMs: number) => void) | undefined } | undefined;
  #latencyMs: number | undefined;
  #throttledSinceMs: number | undefined;
  #metrics: PeerMetrics | undefined;
  #nodeIdText: string | undefined;

  /** Takes over the socket. The initiator's HELLO leaves in this tick. */
  constructor(options: PeerOptions) {
    this.role = options.role;
    this.local = options.local;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#handlers = options.handlers;
    this.#settings = { ...DEFAULT_PEER_SETTINGS, ...options.settings };
    this.#nonce = options.local.auth.newNonce();
    this.times = { startedMs: options.clock.nowMs() };
    this.#meter = options.meter;
    const { flowControl, scpQueue, maxUnsentBytes, maxBatchBytes, maxBatchMessages } = this.#settings;
    this.flowControl = new FlowControl(flowControl, this.times.startedMs, scpQueue);
    this.flowControl.meter = options.meter;
    this.connection = new Connection(options.socket, options.clock, {
      onMessage: (type, bytes, atMs) => this.#onMessage(type, bytes, atMs),
      onProblem: (problem) => this.#onProblem(problem),
      onEnd: (end) => this.#onEnd(end),
      onWritten: (last) => this.flowControl.written(last),
      onOverflow: () => this.#straggling(Math.round(this.#clock.nowMs() - this.connection.lastHandedMs)),
    });
    this.connection.maxUnsentBytes = maxUnsentBytes;
    this.connection.maxBatchBytes = maxBatchBytes;
    this.connection.maxBatchMessages = maxBatchMessages;
    this.connection.meter = options.meter;
    this.#armCheck();
    if (this.role === "weCalledRemote") this.#sendHello();
  }

  /** Where the handshake stands. */
  get state(): HandshakeState["at"] {
    return this.#state.at;
  }

  get authenticated(): boolean {
    return this.#state.at === "gotAuth";
  }

  /** The remote's HELLO as it came, kept also when it was refused; `PeerHandlers.onHello` tells when its certificate holds. */
  get hello(): Hello | undefined {
    return this.#remoteHello;
  }

  /** Node id of the remote, 32 bytes. */
  get nodeId(): Uint8Array | undefined {
    return this.#remoteHello?.peerId;
  }

  /** `G...` of the remote. */
  get nodeIdText(): string | undefined {
    if (this.#nodeIdText === undefined && this.#remoteHello !== undefined) {
      this.#nodeIdText = encodeNodeId(this.#remoteHello.peerId);
    }
    return this.#nodeIdText;
  }

  get remote(): Endpoint {
    return this.connection.remote;
  }

  /** How the connection ended; undefined while it lives. */
  get dropped(): Drop | undefined {
    return this.#drop;
  }

  /** Last ping, ms. */
  get latencyMs(): number | undefined {
    return this.#latencyMs;
  }

  /** Upstream's counters of this peer. */
  get metrics(): PeerMetrics {
    return (this.#metrics ??= new PeerMetrics(this.connection, this.flowControl, this.times.startedMs));
  }

  /** Whether reading is paused because too much is being processed. */
  get throttled(): boolean {
    return this.#throttledSinceMs !== undefined;
  }

  /** Which part of the conversation we are in. */
  get stage(): Stage {
    if (this.times.firstGrantMs !== undefined) return "live";
    if (this.times.authMs !== undefined) return "grant";
    return this.#remoteHello === undefined ? "hello" : "auth";
  }

  /**
   * Sends a message: flood messages wait for the peer's credit, all others leave at once. After a drop, or before
   * authentication, nothing is sent. Returns whether it was taken.
   */
  send(message: StellarMessage | Uint8Array): boolean {
    if (this.#state.at !== "gotAuth") return false;
    const bytes = message instanceof Uint8Array ? message : encodeMessage(message);
    const type = readUint32(bytes, 0);
    if (isFloodType(type)) {
      const nowMs = this.#clock.nowMs();
      this.flowControl.enqueue(type, bytes, nowMs);
      this.#serveQueues(nowMs);
    } else {
      this.connection.send(bytes);
    }
    return true;
  }

  /**
   * The network's largest transaction changed to `bytes` (`maxTransactionBytesOf`). When it grew, an authenticated peer is
   * granted the difference at once. Source: stellar-core Peer.cpp handleMaxTxSizeIncrease.
   */
  setMaxTransactionBytes(bytes: number): void {
    if (this.#drop !== undefined) return;
    const numBytes = this.flowControl.setMaxTransactionBytes(bytes);
    if (numBytes > 0) this.#grant({ numMessages: 0, numBytes });
  }

  /**
   * Measures a round trip with an unknown quorum set hash, as upstream does. One ping at a time: `done` joins one that is
   * under way and has no listener yet. False when that is not possible, or the peer is not authenticated.
   * Source: stellar-core Peer.cpp pingPeer.
   */
  ping(done?: (rttMs: number) => void): boolean {
    if (this.#state.at !== "gotAuth") return false;
    if (this.#ping !== undefined) {
      if (done === undefined || this.#ping.done !== undefined) return false;
      this.#ping.done = done;
      return true;
    }
    const id = this.#random.bytes(32);
    this.#ping = { id, sentMs: this.#clock.nowMs(), done };
    this.connection.send(encodeMessage({ type: "getScpQuorumset", qSetHash: id }));
    this.connection.flush();
    return true;
  }

  /** Ends the connection with an ERROR_MSG. */
  sendErrorAndDrop(error: ErrorCodeName, reason: string, failure?: Failure): void {
    this.#dropBy({ reason, error, failure: failure ?? { code: "local_close", reason } });
  }

  /** Ends the connection without a word. */
  close(reason: string, failure?: Failure): void {
    this.#dropBy({ reason, failure: failure ?? { code: "local_close", reason } });
  }

  #sendHello(): void {
    const bytes = helloMessage(this.local, this.#nonce);
    this.connection.send(this.#settings.faults?.damageCert ? withDamagedCert(bytes) : bytes);
    this.connection.flush();
  }

  #onMessage(type: number, bytes: Uint8Array, atMs: number): void {
    if (this.#drop !== undefined) return;
    this.#meter?.read(type, bytes.length);
    if (isHandshakeType(type)) {
      this.#onHandshake(type, bytes, atMs);
      return;
    }
    if (this.#state.at !== "gotAuth") {
      const { reason } = beforeHandshake(type);
      this.#violation(reason);
      return;
    }
    if (!this.flowControl.begin(type, bytes.length)) {
      this.#violation("unexpected flood message, peer at capacity");
      return;
    }
    let pending: void | Promise<void> = undefined;
    try {
      pending = this.#dispatch(type, bytes, atMs);
    } finally {
      if (pending === undefined) this.#processed(type, bytes.length);
    }
    if (pending !== undefined) this.#wait(pending, type, bytes.length);
  }

  /** Gives a message's capacity back: exactly once, whatever became of the message and of the connection. */
  #processed(type: number, bytes: number): void {
    const grant = this.flowControl.end(type, bytes);
    if (grant !== undefined && this.#drop === undefined) this.#grant(grant);
  }

  #grant(grant: Grant): void {
    this.connection.send(encodeMessage({ type: "sendMoreExtended", sendMoreExtended: grant }));
  }

  /** The owner is still at work on a message. */
  #wait(pending: Promise<void>, type: number, bytes: number): void {
    if (this.#drop === undefined && this.#throttledSinceMs === undefined && this.flowControl.throttled) {
      this.#throttledSinceMs = this.#clock.nowMs();
      this.metrics.readThrottles++;
      this.connection.pause();
    }
    const done = () => {
      this.#processed(type, bytes);
      this.#unthrottle();
    };
    pending.then(done, (error) => {
      // A drop comes first: what is held behind this message must not be processed any more.
      try {
        this.#handlerFailed(error);
      } finally {
        done();
      }
    });
  }

  #unthrottle(): void {
    if (this.#throttledSinceMs === undefined || this.#drop !== undefined || this.flowControl.throttled) return;
    this.metrics.readThrottleMs += this.#clock.nowMs() - this.#throttledSinceMs;
    this.#throttledSinceMs = undefined;
    this.connection.resume();
  }

  /** Corrupt XDR is the peer's fault; any other error is the owner's. */
  #handlerFailed(error: unknown): void {
    if (!(error instanceof OverlayError) || error.failure.code !== "xdr_invalid") throw error;
    this.#corrupt(error.failure);
  }

  #dispatch(type: number, bytes: Uint8Array, atMs: number): void | Promise<void> {
    const message = new ReceivedMessage(type, bytes, atMs);
    switch (type) {
      case MessageType.sendMore:
        this.#violation("unexpected message type SEND_MORE");
        return;
      case MessageType.sendMoreExtended: {
        const decoded = this.#decode(message);
        if (decoded?.type === "sendMoreExtended") this.#onGrant(decoded.sendMoreExtended, atMs);
        return;
      }
      case MessageType.peers: {
        const decoded = this.#decode(message);
        if (decoded?.type === "peers") this.#onPeers(decoded.peers);
        return;
      }
      case MessageType.dontHave:
        if (this.#ping !== undefined && this.#isPong(message)) return;
        break;
    }
    try {
      checkShape(bytes);
      return this.#handlers.onMessage(this, message);
    } catch (error) {
      this.#handlerFailed(error);
    }
  }

  /** Decodes a message whose type the engine itself understands; a failure ends the connection. */
  #decode(message: ReceivedMessage): StellarMessage | undefined {
    try {
      return message.decode();
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      this.#corrupt(error.failure);
      return undefined;
    }
  }

  #onHandshake(type: number, bytes: Uint8Array, atMs: number): void {
    let message: StellarMessage;
    try {
      message = decodeMessage(bytes);
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      this.#corrupt(error.failure);
      return;
    }
    if (type === MessageType.errorMsg) {
      if (message.type === "errorMsg") this.#onRemoteError(message.error.code, message.error.msg);
      return;
    }
    if (message.type === "hello" && this.#remoteHello === undefined) {
      this.#remoteHello = message.hello;
      this.times.helloMs = atMs;
    }
    const step = onHandshakeMessage(this.#state, message, this.#handshakeLocal());
    if (step.state.at === "gotAuth") this.times.authMs ??= atMs;
    // A state of "closing" is set by the drop itself, after the effects that precede it were performed.
    if (step.state.at !== "closing") this.#state = step.state;
    for (const effect of step.effects) this.#perform(effect);
  }

  #handshakeLocal(): HandshakeLocal {
    const { local } = this;
    return {
      role: this.role,
      nodeId: local.nodeId,
      networkId: local.networkId,
      overlayVersion: local.overlayVersion,
      overlayMinVersion: local.overlayMinVersion,
      acceptExpiredCert: this.#settings.acceptExpiredCert,
      acceptAnyVersion: this.#settings.acceptAnyVersion,
      remoteAddressKnown: this.remote.host !== "",
      checkCert: ({ cert, peerId }) => {
        const verdict = local.auth.verifyCert(cert, peerId);
        // The time is looked at first, so of an expired one nobody knows yet whether it was signed at all.
        if (verdict !== "expired" || !this.#settings.acceptExpiredCert) return verdict;
        return isSigned(cert, peerId, local.networkId) ? "expired" : "signature";
      },
      isBanned: (nodeId) => this.#handlers.isBanned?.(nodeId) ?? false,
      deriveKeys: (hello) =>
        local.auth.sessionKeys(this.role, this.#nonce, hello.cert.pubkey, hello.nonce) ?? undefined,
      duplicateOf: (nodeId) => this.#handlers.duplicateOf?.(this, nodeId),
    };
  }

  #perform(effect: HandshakeEffect): void {
    if (this.#drop !== undefined) return;
    switch (effect.do) {
      case "setKeys":
        if (this.#settings.faults?.damageAuth) effect.keys.receiveKey[0] ^= 1;
        this.connection.setKeys({
          send: primitives.macKey(effect.keys.sendKey),
          receive: primitives.macKey(effect.keys.receiveKey),
        });
        this.#handlers.onHello?.(this, this.#remoteHello!);
        return;
      case "sendHello":
        this.#sendHello();
        return;
      case "sendAuth":
        this.connection.send(AUTH_MESSAGE);
        return;
      case "sendPeers": {
        const peers = this.#handlers.peersToSend?.(this) ?? [];
        if (peers.length > 0) this.connection.send(encodeMessage({ type: "peers", peers }));
        return;
      }
      case "recordAddress":
        this.#handlers.recordAddress?.(this);
        return;
      case "authenticated":
        this.#authenticated();
        return;
      case "drop":
        this.#dropBy(effect.drop);
        return;
      default:
        effect satisfies never;
    }
  }

  #authenticated(): void {
    this.connection.allowLargeFrames();
    const refusal = this.#handlers.admit?.(this);
    if (refusal !== undefined) {
      this.#dropBy(refusal);
      return;
    }
    this.#grant(this.flowControl.firstGrant());
    const from = this.#settings.scpStateFrom;
    if (from !== undefined) this.connection.send(encodeMessage({ type: "getScpState", ledgerSeq: from }));
    this.#handlers.onAuthenticated?.(this);
  }

  #onGrant(grant: { numMessages: number; numBytes: number }, atMs: number): void {
    const nowMs = this.#clock.nowMs();
    const problem = this.flowControl.granted(grant, nowMs);
    if (problem !== undefined) {
      this.#violation(problem);
      return;
    }
    if (this.times.firstGrantMs === undefined) {
      this.times.firstGrantMs = atMs;
      this.#handlers.onFirstGrant?.(this);
    }
    this.#serveQueues(nowMs);
  }

  #serveQueues(nowMs: number): void {
    if (this.#drop !== undefined) return;
    this.flowControl.serve(nowMs, this.connection.counters.messagesWritten + 1, this.#sendFlood);
  }

  readonly #sendFlood = (message: Uint8Array): void => this.connection.send(message);

  #onPeers(peers: WireAddress[]): void {
    if (this.role === "remoteCalledUs") {
      this.#violation("received PEERS");
      return;
    }
    if (this.#peersReceived) {
      this.#violation("too many msgs PEERS");
      return;
    }
    this.#peersReceived = true;
    this.#handlers.onPeers?.(this, peers);
  }

  /**
   * DONT_HAVE of any type is the answer. Upstream would also take the quorum set with that hash, which nobody can make for
   * a random id, so we do not hash what may be megabytes. Source: stellar-core Peer.cpp maybeProcessPingResponse.
   */
  #isPong(message: ReceivedMessage): boolean {
    const ping = this.#ping!;
    if (message.bytes.length !== 40 || !equalBytes(message.bytes.subarray(8, 40), ping.id)) return false;
    this.#ping = undefined;
    this.#latencyMs = message.receivedAtMs - ping.sentMs;
    this.metrics.latency.add(message.receivedAtMs, this.#latencyMs);
    this.#meter?.pinged(this.#latencyMs);
    ping.done?.(this.#latencyMs);
    return true;
  }

  #onRemoteError(code: number, text: string): void {
    const failure = failureOfRemoteError({ code, msg: text }, {
      stage: this.stage,
      network: this.local.passphrase,
      listeningPort: this.local.listeningPort,
      overlayVersion: this.local.overlayVersion,
      overlayMinVersion: this.local.overlayMinVersion,
      remote: this.#remoteHello,
    });
    const name = errorCodeName(code);
    // Source: stellar-core Peer.cpp recvError: every byte that is no letter, digit or blank becomes a star.
    const filtered = String.fromCharCode(...bytesOfText(text)).replace(/[^A-Za-z0-9 ]/g, "*");
    this.#end({ by: "remote", reason: `${name} (${filtered})`, error: name, failure });
  }

  #onProblem(problem: FrameProblem): void {
    if (this.#drop !== undefined) return;
    const stage = this.stage;
    switch (problem.kind) {
      case "badLength":
        this.#dropBy({ reason: "error during read", failure: this.#badLength(problem) });
        return;
      case "corrupt":
        this.#corrupt({ code: "frame_malformed", reason: problem.reason, stage });
        return;
      case "sequence":
      case "mac": {
        // Upstream decodes a frame before it checks its MAC, so corrupt XDR wins over a wrong MAC.
        try {
          if (problem.message.length <= MAX_DECODED_REFUSAL) decodeMessage(problem.message);
        } catch (error) {
          if (!(error instanceof OverlayError)) throw error;
          this.#corrupt(error.failure);
          return;
        }
        if (problem.kind === "mac") {
          this.#dropBy({ reason: "unexpected MAC", error: "ERR_AUTH", failure: { code: "bad_mac", stage } });
          return;
        }
        const { expected, actual } = problem;
        this.#dropBy({
          reason: "unexpected auth sequence",
          error: "ERR_AUTH",
          failure: { code: "bad_sequence", stage, expected: String(expected), actual: String(actual) },
        });
        return;
      }
    }
  }

  #badLength(problem: Extract<FrameProblem, { kind: "badLength" }>): Failure {
    const { length, limit, header } = problem;
    // Before any valid frame, what stands there may be another service's greeting. Every Stellar sender sets bit 31.
    if (this.#remoteHello === undefined && this.connection.counters.messagesRead === 0) {
      const text = String.fromCharCode(...header);
      const tls = (header[0] === 0x15 || header[0] === 0x16) && header[1] === 3;
      const looksLike = tls ? "tls" : text === "HTTP" ? "http" : text === "SSH-" ? "ssh" : "unknown";
      if (looksLike !== "unknown" || header[0] < 0x80) {
        return {
          code: "not_stellar",
          looksLike,
          firstBytes: [...header].map((b) => b.toString(16).padStart(2, "0")).join(""),
        };
      }
    }
    return length === 0
      ? { code: "frame_malformed", reason: "length 0", stage: this.stage }
      : { code: "frame_oversized", length, limit, stage: this.stage };
  }

  #corrupt(failure: Failure): void {
    this.#dropBy({ reason: "received corrupt XDR", error: "ERR_DATA", failure });
  }

  #violation(reason: string): void {
    this.#dropBy({ reason, failure: { code: "protocol_violation", reason, stage: this.stage } });
  }

  #onEnd(end: SocketEnd): void {
    if (this.#drop !== undefined) {
      this.#closeTimer?.cancel();
      return;
    }
    const part = this.connection.inBody ? "body" : "header";
    const reason = `error reading message ${part}: ${end.reason === "" ? "End of file" : end.reason}`;
    this.#end({ by: "remote", reason, failure: this.#failureOfEnd(end) });
  }

  #failureOfEnd(end: SocketEnd): Failure {
    const reset = end.how === "reset" || end.how === "unread";
    // Who called is admitted when the first grant came; who was called knows it by its own decision.
    if (this.times.firstGrantMs !== undefined || (this.role === "remoteCalledUs" && this.authenticated)) {
      return { code: "connection_lost", reset, reason: end.reason === "" ? "end of stream" : end.reason };
    }
    const hello = this.#remoteHello;
    if (hello !== undefined) {
      if (windowsMeet(hello, this.local)) return { code: "closed_after_hello", stage: this.stage, reset };
      const { overlayMinVersion: remoteMin, overlayVersion: remoteMax } = hello;
      const { overlayMinVersion: oursMin, overlayVersion: oursMax } = this.local;
      return { code: "version_mismatch", remoteMin, remoteMax, oursMin, oursMax };
    }
    if (this.connection.counters.bytesRead > 0) {
      return { code: "frame_malformed", reason: "the stream ended inside a frame", stage: "hello" };
    }
    const afterMs = Math.round(this.#clock.nowMs() - this.times.startedMs);
    if (this.role === "remoteCalledUs" || end.how === "unread") return { code: "closed_before_hello", afterMs, reset };
    return { code: "silent_close", afterMs, network: this.local.passphrase };
  }

  #armCheck(): void {
    this.#checkTimer = this.#clock.setTimer(this.#settings.checkMs, () => {
      this.#check();
      if (this.#drop === undefined) this.#armCheck();
    });
  }

  /** Source: stellar-core Peer.cpp recurrentTimerExpired; handshake.md section 7. */
  #check(): void {
    const nowMs = this.#clock.nowMs();
    const settings = this.#settings;
    const limitMs = this.authenticated ? settings.idleTimeoutMs : settings.authenticationTimeoutMs;
    const { lastReadMs, lastWriteMs, lastHandedMs } = this.connection;
    const blockedMs = this.flowControl.blockedSinceMs;
    if (nowMs - lastReadMs >= limitMs && nowMs - lastWriteMs >= limitMs) {
      const failure: Failure = this.authenticated
        ? { code: "idle_timeout", afterMs: limitMs }
        : { code: "handshake_timeout", stage: this.stage, afterMs: limitMs };
      this.#dropBy({ reason: "idle timeout", failure });
    } else if (blockedMs !== undefined && nowMs - blockedMs >= settings.noCreditTimeoutMs) {
      const afterMs = settings.noCreditTimeoutMs;
      this.#dropBy({ reason: "idle timeout (no new flood requests)", failure: { code: "idle_timeout", afterMs } });
    } else if (nowMs - lastHandedMs >= settings.stragglerTimeoutMs) {
      this.#straggling(settings.stragglerTimeoutMs);
    } else if (settings.ping && this.authenticated) {
      this.ping();
    }
  }

  /** Our messages are not taken for too long, or too many wait. */
  #straggling(afterMs: number): void {
    this.#dropBy({ reason: "straggling (cannot keep up)", failure: { code: "straggling", afterMs } });
  }

  #dropBy(order: DropOrder): void {
    if (this.#drop !== undefined) return;
    if (order.error !== undefined) {
      const error = { code: ERROR_CODES[order.error], msg: order.reason };
      this.connection.send(encodeMessage({ type: "errorMsg", error }));
    }
    this.#end({ by: "us", reason: order.reason, error: order.error, failure: order.failure });
  }

  #end(drop: Drop): void {
    if (this.#drop !== undefined) return;
    this.#drop = drop;
    this.#state = { at: "closing", remote: this.#remoteHello };
    this.#checkTimer?.cancel();
    this.#ping = undefined;
    this.connection.shutdown();
    if (drop.by === "remote") this.connection.destroy();
    else this.#closeTimer = this.#clock.setTimer(this.#settings.closeDelayMs, () => this.connection.destroy());
    this.#handlers.onDropped(this, drop);
  }

  /** Frees the socket at once, without waiting for the remote to close its side. */
  destroy(): void {
    this.close("destroyed");
    this.#closeTimer?.cancel();
    this.connection.destroy();
  }

  /** One line for logs: address, node and state. */
  toString(): string {
    const { host, port } = this.remote;
    return `${host}:${port} ${this.nodeIdText?.slice(0, 5) ?? "?"} ${this.#state.at}`;
  }
}

/** HELLO of a node as encoded for its current certificate. BOUNDED: one per node, gone with it. */
const encodedHellos = new WeakMap<LocalNode, { cert: AuthCert; bytes: Uint8Array }>();

/** Our HELLO with `nonce`, its last 32 bytes and all that differs between connections. The next call changes the result. */
function helloMessage(local: LocalNode, nonce: Uint8Array): Uint8Array {
  const hello = local.hello(nonce);
  let kept = encodedHellos.get(local);
  if (kept?.cert !== hello.cert) {
    kept = { cert: hello.cert, bytes: encodeMessage({ type: "hello", hello }) };
    encodedHellos.set(local, kept);
  }
  kept.bytes.set(nonce, kept.bytes.length - 32);
  return kept.bytes;
}

/** The same HELLO with another expiration than was signed: its lowest bit is flipped. */
function withDamagedCert(hello: Uint8Array): Uint8Array {
  const bytes = hello.slice();
  // At the end: 8 bytes of expiration, 4 of length, 64 of signature, 32 of nonce.
  bytes[bytes.length - 32 - 64 - 4 - 1] ^= 1;
  return bytes;
}

const AUTH_MESSAGE = encodeMessage({ type: "auth", auth: { flags: AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED } });
