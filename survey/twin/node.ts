/**
 * One node of the twin: a listener, and peers that speak the real protocol with the node's own key. What the node does
 * with a caller follows from its behaviour in the plan.
 */
import { encodeText, fromHex, toHex } from "../../overlay/base/bytes.ts";
import type { Clock } from "../../overlay/base/clock.ts";
import { wireOfAddress } from "../../overlay/base/peer_address.ts";
import type { Random } from "../../overlay/base/random.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { Floodgate, type FloodId, floodIdOf } from "../../overlay/flood/floodgate.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer, type PeerHandlers, type PeerSettings } from "../../overlay/peer/peer.ts";
import type { Endpoint, Listener, Socket, Transport } from "../../overlay/transport/transport.ts";
import { encodeMessage, MessageType, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { isLive, type Service, type TwinNodePlan } from "./node_plan.ts";
import type { SignedEnvelope } from "./scp.ts";
import { SlowSocket } from "./slow_socket.ts";
import type { FleetSurvey } from "./survey_fleet.ts";
import { type SurveyedTwinNode, TwinSurvey } from "./survey_node.ts";

/** What a node asks of its twin. */
export interface Fleet {
  readonly clock: Clock;
  readonly random: Random;
  /** Slots below the last externalized one that nodes remember. */
  readonly rememberedSlots: number;
  /** The network as the host sees it. */
  transportFor(host: string): Transport;
  /** Whether a node id (`G...`) belongs to the twin. */
  isMember(nodeId: string): boolean;
  /** A node's identity exists from now on. */
  joined(nodeId: string): void;
  /** Whether all callers from a host belong to the twin. */
  isMemberHost(host: string): boolean;
  /** A statement of the twin's own validators. Nobody else's are accepted, so this stands for the check of the signature. */
  envelope(id: FloodId): SignedEnvelope | undefined;
  /** The SCP_QUORUMSET message for a hash (hex), if this node has it. */
  quorumSet(node: number, hash: string): Uint8Array | undefined;
  /** Undefined when the network cannot be surveyed. */
  readonly survey: FleetSurvey | undefined;
}

/** Watching is for strangers. Between two nodes of the twin nobody watches, so thousands of idle connections cost nothing. */
const MEMBER_SETTINGS: Partial<PeerSettings> = {
  checkMs: 2 ** 31 - 1,
  authenticationTimeoutMs: Infinity,
  idleTimeoutMs: Infinity,
  stragglerTimeoutMs: Infinity,
  noCreditTimeoutMs: Infinity,
  ping: false,
  scpStateFrom: undefined,
};
/** How long a dial inside the twin may take, ms. */
const DIAL_TIMEOUT_MS = 10_000;
/** Most statements noted per stranger before its first GET_SCP_STATE. */
const MAX_EARLY = 256;
/** Statements that may wait for a peer's credit. Who never grants gets no more, and is dropped by the rule of 60 s. */
const MAX_WAITING = 500;

/** What other services say, and whether they speak before they are spoken to. */
const GREETINGS: Record<Service, { first: boolean; bytes: Uint8Array }> = {
  http: {
    first: false,
    bytes: encodeText(
      "HTTP/1.1 400 Bad Request\r\nServer: nginx/1.27.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
  },
  // An alert: fatal, unexpected_message.
  tls: { first: false, bytes: fromHex("1503010002020a") },
  ssh: { first: true, bytes: encodeText("SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13.5\r\n") },
};

/** One running node. */
export class TwinNode {
  readonly plan: TwinNodePlan;
  readonly #fleet: Fleet;
  #local: LocalNode | undefined;
  #listener: Listener | undefined;
  #closed = false;
  /** All connections, also those that wait for their end. BOUNDED: by the callers; each leaves when its connection ended. */
  readonly #peers = new Set<Peer>();
  /** Streams without a protocol: silent nodes and other services. BOUNDED: by the callers, as above. */
  readonly #raw = new Set<Socket>();
  /** Peers whose HELLO was accepted, by node id. One per id. */
  readonly #byId = new Map<string, Peer>();
  /** Dials of our own that are not decided. */
  readonly #dials = new Map<Peer, (ok: boolean) => void>();
  readonly #floodgate = new Floodgate();
  /** Statements by slot: per validator the latest nomination and the latest ballot statement. BOUNDED: `rememberedSlots`. */
  readonly #slots = new Map<number, Map<string, SignedEnvelope>>();
  /** What strangers were sent before they asked for SCP state. BOUNDED: MAX_EARLY per stranger. */
  readonly #early = new Map<Peer, Set<FloodId>>();
  #externalized = 0;
  #peersMessage: WireAddress[] | undefined;
  #survey: TwinSurvey | undefined;

  constructor(plan: TwinNodePlan, fleet: Fleet) {
    this.plan = plan;
    this.#fleet = fleet;
  }

  /** The node's identity; it is made when first needed. */
  get local(): LocalNode {
    if (this.#local === undefined) {
      const { plan } = this;
      this.#local = new LocalNode({
        passphrase: plan.passphrase,
        clock: this.#fleet.clock,
        random: this.#fleet.random,
        seed: plan.seed,
        versionStr: plan.versionStr,
        overlayVersion: plan.overlayVersion,
        overlayMinVersion: plan.overlayMinVersion,
        ledgerVersion: plan.ledgerVersion,
        listeningPort: plan.port,
      });
      this.#fleet.joined(this.#local.nodeIdText);
    }
    return this.#local;
  }

  /** The node's part in surveys; undefined when the network cannot be surveyed, or the node takes no part in the network. */
  get survey(): TwinSurvey | undefined {
    const { survey, clock, random } = this.#fleet;
    if (survey === undefined || !isLive(this.plan.behaviour)) return undefined;
    const flood: SurveyedTwinNode["flood"] = (id, message, { from, to }) => {
      if (from !== undefined) this.#floodgate.addRecord(id, this.#externalized, from);
      const told = this.#floodgate.broadcast(id, this.#externalized, to ?? this.#authenticatedIds());
      for (const nodeId of told) this.#byId.get(nodeId)?.send(message);
      return told;
    };
    return this.#survey ??= new TwinSurvey({ plan: this.plan, local: this.local, clock, random, flood }, survey);
  }

  /** Every few seconds, when there are surveys. */
  tick(nowMs: number): void {
    this.#survey?.tick(nowMs);
  }

  /** Connections with a finished handshake. */
  get authenticated(): number {
    let count = 0;
    for (const peer of this.#byId.values()) if (peer.authenticated) count++;
    return count;
  }

  /**
   * Accepts callers from now on.
   * @throws OverlayError `port_in_use`, `listen_failed`
   */
  async listen(): Promise<void> {
    const { host, port } = this.plan;
    const listener = await this.#fleet.transportFor(host).listen({ host, port }, (socket) => this.#accept(socket));
    if (this.#closed) void listener.close();
    else this.#listener = listener;
  }

  /** Connects to another node of the twin; resolves to whether both are authenticated. */
  dial(to: Endpoint): Promise<boolean> {
    return new Promise((resolve) => {
      this.#fleet.transportFor(this.plan.host).dial(to, { timeoutMs: DIAL_TIMEOUT_MS }, {
        onFail: () => resolve(false),
        onConnect: (socket) => {
          if (this.#closed) {
            socket.destroy();
            resolve(false);
            return;
          }
          this.#dials.set(this.#peer("weCalledRemote", socket, MEMBER_SETTINGS), resolve);
        },
      });
    });
  }

  /** Sends a statement of our own, or hands on one that was received. */
  announce(envelope: SignedEnvelope): void {
    this.#remember(envelope);
    for (const id of this.#floodgate.broadcast(envelope.id, envelope.slot, this.#authenticatedIds())) {
      const peer = this.#byId.get(id)!;
      if (peer.flowControl.queued >= MAX_WAITING) continue;
      const early = this.#early.get(peer);
      if (early !== undefined && early.size < MAX_EARLY) early.add(envelope.id);
      peer.send(envelope.message);
    }
  }

  /** Says goodbye to strangers, accepts nobody any more; resolves when the port is free. {@link destroy} follows. */
  async close(): Promise<void> {
    this.#closed = true;
    const listener = this.#listener;
    this.#listener = undefined;
    // Source: stellar-core OverlayManagerImpl.cpp shutdown.
    for (const peer of [...this.#peers]) {
      if (peer.dropped === undefined && !this.#isFromMember(peer)) peer.sendErrorAndDrop("ERR_MISC", "shutdown");
    }
    await listener?.close();
  }

  /** Closes every connection at once. */
  destroy(): void {
    for (const peer of [...this.#peers]) peer.destroy();
    for (const socket of this.#raw) socket.destroy();
    this.#peers.clear();
    this.#raw.clear();
  }

  #accept(socket: Socket): void {
    const { behaviour, answerDelayMs, service } = this.plan;
    if (this.#closed) socket.destroy();
    else if (behaviour === "silent") this.#attachRaw(socket, () => {});
    else if (behaviour === "not-stellar") this.#serveOther(socket, service);
    else {
      const settings = this.#fleet.isMemberHost(socket.remote.host) ? MEMBER_SETTINGS : {
        scpStateFrom: Math.max(0, this.#externalized - 2),
      };
      const paced = answerDelayMs > 0 ? new SlowSocket(socket, this.#fleet.clock, answerDelayMs) : socket;
      this.#peer("remoteCalledUs", paced, settings);
    }
  }

  #attachRaw(socket: Socket, onData: () => void): void {
    this.#raw.add(socket);
    socket.attach({
      onData,
      onEnd: () => {
        this.#raw.delete(socket);
        socket.destroy();
      },
    });
  }

  #serveOther(socket: Socket, service: Service): void {
    const { first, bytes } = GREETINGS[service];
    let said = first;
    this.#attachRaw(socket, () => {
      if (said) return;
      said = true;
      socket.write(bytes);
      socket.shutdown();
    });
    if (first) socket.write(bytes);
  }

  #peer(role: "weCalledRemote" | "remoteCalledUs", socket: Socket, settings: Partial<PeerSettings>): Peer {
    const { clock, random } = this.#fleet;
    const peer = new Peer({ role, socket, local: this.local, clock, random, handlers: this.#handlers, settings });
    this.#peers.add(peer);
    return peer;
  }

  #authenticatedIds(): string[] {
    const nodes: string[] = [];
    for (const [id, peer] of this.#byId) if (peer.authenticated) nodes.push(id);
    return nodes;
  }

  #isFromMember(peer: Peer): boolean {
    return peer.nodeIdText !== undefined && this.#fleet.isMember(peer.nodeIdText);
  }

  readonly #handlers: PeerHandlers = {
    isBanned: (nodeId) => this.plan.behaviour === "banning" && !this.#fleet.isMember(encodeNodeId(nodeId)),
    duplicateOf: (peer, nodeId) => {
      const id = encodeNodeId(nodeId);
      const other = this.#byId.get(id);
      return other === undefined || other === peer ? undefined : id.slice(0, 5);
    },
    onHello: (peer) => {
      // A second connection of the same node comes this far, and is refused right after.
      if (!this.#byId.has(peer.nodeIdText!)) this.#byId.set(peer.nodeIdText!, peer);
    },
    peersToSend: () => this.#peersMessage ??= this.plan.book.map(wireEntry),
    admit: (peer) =>
      this.plan.behaviour !== "full" || this.#isFromMember(peer)
        ? undefined
        : { reason: "peer rejected", error: "ERR_LOAD", failure: { code: "peer_rejected", text: "peer rejected" } },
    onAuthenticated: (peer) => {
      if (!this.#isFromMember(peer)) this.#early.set(peer, new Set());
      this.survey?.admitted(peer);
      this.#decide(peer, true);
    },
    onMessage: (peer, message) => this.#onMessage(peer, message),
    onDropped: (peer, drop) => {
      if (this.#byId.get(peer.nodeIdText!) === peer) this.#byId.delete(peer.nodeIdText!);
      this.#early.delete(peer);
      this.#survey?.dropped(peer);
      this.#decide(peer, false);
      if (drop.by === "remote") this.#peers.delete(peer);
      // The socket of a peer we dropped lives until the remote closes its side, at most as long as upstream waits.
      else this.#fleet.clock.setTimer(5000, () => this.#peers.delete(peer));
    },
  };

  #decide(dialed: Peer, ok: boolean): void {
    this.#dials.get(dialed)?.(ok);
    this.#dials.delete(dialed);
  }

  #onMessage(peer: Peer, message: ReceivedMessage): void {
    switch (message.type) {
      case MessageType.scpMessage: {
        const id = floodIdOf(message.bytes);
        const envelope = this.#fleet.envelope(id);
        this.#survey?.flooded(peer, id, message.bytes.length);
        // Neither recorded nor handed on: upstream forgets what it discards.
        if (envelope === undefined || peer.nodeIdText === undefined) return;
        if (this.#floodgate.addRecord(envelope.id, envelope.slot, peer.nodeIdText)) this.announce(envelope);
        return;
      }
      case MessageType.timeSlicedSurveyRequest:
      case MessageType.timeSlicedSurveyResponse:
      case MessageType.timeSlicedSurveyStartCollecting:
      case MessageType.timeSlicedSurveyStopCollecting:
        this.#survey?.receive(peer, floodIdOf(message.bytes), message);
        return;
      case MessageType.getScpState: {
        const request = message.decode();
        if (request.type === "getScpState") this.#sendScpState(peer, request.ledgerSeq);
        return;
      }
      case MessageType.getScpQuorumset: {
        const reqHash = message.bytes.slice(4, 36);
        peer.send(
          this.#fleet.quorumSet(this.plan.index, toHex(reqHash)) ??
            encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }),
        );
        return;
      }
      case MessageType.getTxSet: {
        const type = this.plan.ledgerVersion >= 20 ? MessageType.generalizedTxSet : MessageType.txSet;
        peer.send(encodeMessage({ type: "dontHave", dontHave: { type, reqHash: message.bytes.slice(4, 36) } }));
        return;
      }
    }
  }

  #remember(envelope: SignedEnvelope): void {
    const { slot, kind, validator } = envelope;
    let statements = this.#slots.get(slot);
    if (statements === undefined) this.#slots.set(slot, statements = new Map());
    statements.set(`${kind === "nominate" ? "n" : "b"}${validator}`, envelope);
    if (kind !== "externalize") return;
    if (this.#survey !== undefined) {
      let count = 0;
      for (const statement of statements.values()) if (statement.kind === "externalize") count++;
      this.#survey.externalized(slot, count, validator === this.plan.index);
    }
    if (slot <= this.#externalized) return;
    this.#externalized = slot;
    const oldest = slot - this.#fleet.rememberedSlots + 1;
    for (const known of this.#slots.keys()) if (known < oldest) this.#slots.delete(known);
    this.#floodgate.clearBelow(oldest);
  }

  /**
   * Answers GET_SCP_STATE: by slot, nominations before ballot statements. The first answer leaves out what the peer was
   * sent while it was asking. Source: stellar-core HerderImpl.cpp sendSCPStateToPeer.
   */
  #sendScpState(peer: Peer, from: number): void {
    const early = this.#early.get(peer);
    this.#early.delete(peer);
    for (const slot of [...this.#slots.keys()].sort((a, b) => a - b)) {
      if (slot < from) continue;
      const statements = [...this.#slots.get(slot)!.values()];
      statements.sort((a, b) =>
        Number(b.kind === "nominate") - Number(a.kind === "nominate") || a.validator - b.validator
      );
      for (const envelope of statements) {
        if (early?.has(envelope.id)) continue;
        if (peer.nodeIdText !== undefined) this.#floodgate.addRecord(envelope.id, envelope.slot, peer.nodeIdText);
        peer.send(envelope.message);
      }
    }
  }
}

/** Book entries as PEERS carries them; ports that no socket has are kept as they are. */
function wireEntry(entry: Endpoint): WireAddress {
  const wire = wireOfAddress(entry);
  if (wire === null) throw new RangeError(`${entry.host} is not an IP address`);
  return { ...wire, numFailures: 0 };
}
