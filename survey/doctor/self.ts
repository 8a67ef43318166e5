/**
 * `doctor --self`: listens and tells how this machine looks to whoever calls, and whether its own port answers from here.
 * An acceptor speaks second, so the network is the caller's, when we know it. Source: handshake.md sections 2 to 4.
 */
import { toHex } from "../../overlay/base/bytes.ts";
import { isExpired, isSigned } from "../../overlay/auth/cert.ts";
import { windowsMeet } from "../../overlay/auth/handshake.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { describeFailure, type Failure, OverlayError } from "../../overlay/base/errors.ts";
import { type Network, networkIdOf, networkLabel, networkNameOf } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { Random } from "../../overlay/base/random.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import { type Drop, Peer } from "../../overlay/peer/peer.ts";
import { QUERIES_PER_WINDOW, QUERY_WINDOW_MS, QueryLimiter } from "../../overlay/peer/query_limiter.ts";
import type { Endpoint, Listener, Socket, Transport } from "../../overlay/transport/transport.ts";
import { decodeMessage, encodeMessage, messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import { RECORD_HEADER_BYTES } from "../../overlay/wire/record.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import { type CertificateFacts, certificateFacts } from "../probe/connect.ts";
import { PeekedSocket } from "./peeked_socket.ts";
import { visit } from "../probe/visit.ts";

/** What one caller did, as it happened. */
export interface CallerReport {
  address: string;
  startedAt: string;
  durationMs: number;
  nodeId: string | null;
  versionStr: string | null;
  overlayVersion: number | null;
  overlayMinVersion: number | null;
  ledgerVersion: number | null;
  listeningPort: number | null;
  /** Name of its network, or the id in hex; and whether it is one we could answer on. */
  network: string | null;
  networkKnown: boolean | null;
  /** Its certificate: the signature first, then its time by our clock. */
  certificate: "ok" | "expired" | "signature" | null;
  certificateTimes: CertificateFacts | null;
  versionsMeet: boolean | null;
  /** It sent AUTH with a right MAC: our HELLO and certificate were accepted. Null before HELLO. */
  helloAccepted: boolean | null;
  /** Null when no authenticated frame came. */
  macOk: boolean | null;
  /** Its first grant. */
  granted: { messages: string; bytes: string } | null;
  rttMs: number | null;
  /** Messages it sent after the handshake, by type. */
  messages: Record<string, number>;
  /** How it ended. */
  end: { by: "us" | "remote"; code: Failure["code"]; detail: string; remoteText: string | null };
}

/** A dial to our own port. */
export interface OwnDial {
  address: string;
  ok: boolean;
  code: Failure["code"] | null;
  /** What happened, in one sentence. */
  detail: string;
}

/** What listening needs. */
export interface SelfOptions {
  at: Endpoint;
  transport: Transport;
  clock: Clock;
  random: Random;
  /** The networks to answer on; the first for callers whose network we do not know. */
  networks: readonly Network[];
  /** Who we are on a network, with the port announced that we listen on. */
  localFor: (network: Network, listeningPort: number) => LocalNode;
  /** Identity of the dials to ourselves. */
  checkerFor: (network: Network) => LocalNode;
  /** Hosts on which our own port should answer. */
  ownHosts: readonly string[];
  /** Time a caller is kept after it was admitted, ms. */
  stayMs: number;
  /** End after so many callers. */
  maxCallers: number;
  /** End after this time, ms. */
  forMs: number | undefined;
  signal: AbortSignal;
  onListening?: (at: Endpoint, nodeId: string) => void;
  onOwnDials?: (dials: OwnDial[]) => void;
  onCaller?: (caller: CallerReport) => void;
}

/** What was seen. */
export interface SelfReport {
  listen: string;
  nodeId: string;
  ownDials: OwnDial[];
  /** BOUNDED: MAX_REPORTS. */
  callers: CallerReport[];
}

/** Callers at once; who comes beyond is closed at once, as a node without a free slot does. */
const MAX_CALLERS = 32;
/** Reports kept; later ones are only told as they happen. */
const MAX_REPORTS = 1000;
/** Silence allowed before the first record of a caller, ms. Source: stellar-core's check every 5 s. */
const FIRST_WAIT_MS = 5000;
const OWN_DIAL_MS = 3000;

/**
 * Listens until the signal, the time or the number of callers ends it.
 * @throws OverlayError `port_in_use`, `listen_failed`
 */
export async function listenToCallers(options: SelfOptions): Promise<SelfReport> {
  const { transport, clock, signal } = options;
  const room = new WaitingRoom(options);
  const listener = await transport.listen(options.at, (socket) => room.accept(socket));
  const nodeId = room.open(listener);
  const report: SelfReport = { listen: formatAddress(listener.address), nodeId, ownDials: [], callers: room.reports };
  options.onListening?.(listener.address, nodeId);
  report.ownDials = await Promise.all(
    options.ownHosts.map((host) => dialOurselves(host, listener.address.port, nodeId, options)),
  );
  options.onOwnDials?.(report.ownDials);
  await new Promise<void>((resolve) => {
    const timer = options.forMs === undefined ? undefined : clock.setTimer(options.forMs, resolve);
    room.onEnough = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted || room.enough) resolve();
    room.onClose = () => timer?.cancel();
  });
  await listener.close();
  room.close();
  return report;
}

async function dialOurselves(host: string, port: number, nodeId: string, options: SelfOptions): Promise<OwnDial> {
  const { clock, random, transport } = options;
  const to = { host, port };
  const leave = new AbortController();
  const stop = () => leave.abort();
  options.signal.addEventListener("abort", stop, { once: true });
  const seen = await visit({
    to,
    local: options.checkerFor(options.networks[0]),
    transport,
    clock,
    random,
    timeouts: { connectMs: OWN_DIAL_MS, stageMs: OWN_DIAL_MS },
    signal: leave.signal,
    observer: { onStage: (stage) => stage === "hello" ? queueMicrotask(stop) : undefined },
  });
  options.signal.removeEventListener("abort", stop);
  const address = formatAddress(to);
  const { failure } = seen;
  if (seen.nodeId === nodeId) return { address, ok: true, code: null, detail: "answers with our node id" };
  if (seen.nodeId !== undefined) {
    return { address, ok: false, code: null, detail: `another node answers: ${seen.nodeId}` };
  }
  const code = failure?.code ?? null;
  return { address, ok: false, code, detail: failure === undefined ? "no HELLO" : describeFailure(failure) };
}

/** The callers that are here. */
class WaitingRoom {
  readonly reports: CallerReport[] = [];
  onEnough = () => {};
  onClose = () => {};
  readonly #options: SelfOptions;
  readonly #checkerId: string;
  #port = 0;
  #told = 0;
  #closed = false;
  /** BOUNDED: MAX_CALLERS. */
  readonly #callers = new Set<() => void>();

  constructor(options: SelfOptions) {
    this.#options = options;
    this.#checkerId = options.checkerFor(options.networks[0]).nodeIdText;
  }

  /** The door is open: tells who we are. */
  open(listener: Listener): string {
    this.#port = listener.address.port;
    return this.#local(this.#options.networks[0]).nodeIdText;
  }

  get enough(): boolean {
    return this.#told >= this.#options.maxCallers;
  }

  close(): void {
    this.#closed = true;
    this.onClose();
    for (const leave of [...this.#callers]) leave();
  }

  #local(network: Network): LocalNode {
    return this.#options.localFor(network, this.#port);
  }

  accept(socket: Socket): void {
    if (this.#closed || this.#callers.size >= MAX_CALLERS) return socket.destroy();
    const { clock } = this.#options;
    const startedMs = clock.nowMs(), startedAt = new Date(clock.wallMs()).toISOString();
    const begin = { address: formatAddress(socket.remote), startedAt };
    const done = (rest: Omit<CallerReport, "address" | "startedAt" | "durationMs">) => {
      this.#callers.delete(leave);
      const report = { ...begin, durationMs: Math.round(clock.nowMs() - startedMs), ...rest };
      if (report.nodeId === this.#checkerId) return;
      this.#told++;
      if (this.reports.length < MAX_REPORTS) this.reports.push(report);
      this.#options.onCaller?.(report);
      if (this.enough) this.onEnough();
    };
    let leave = () => {
      timer.cancel();
      this.#callers.delete(leave);
      socket.destroy();
    };
    const wordless = (failure: Failure, by: "us" | "remote") => {
      timer.cancel();
      socket.destroy();
      done({ ...NOTHING, end: { by, code: failure.code, detail: describeFailure(failure), remoteText: null } });
    };
    const timer = clock.setTimer(FIRST_WAIT_MS, () => wordless({ code: "no_answer", afterMs: FIRST_WAIT_MS }, "us"));
    new PeekedSocket(socket, clock, (peeked, bytes, end) => {
      timer.cancel();
      if (bytes.length === 0) {
        const afterMs = Math.round(clock.nowMs() - startedMs);
        return wordless({ code: "closed_before_hello", afterMs, reset: end?.how === "reset" }, "remote");
      }
      this.#callers.delete(leave);
      const call = new Call(peeked, this.#localOf(helloIn(bytes)), this.#options, done);
      leave = () => call.leave();
      this.#callers.add(leave);
    });
    this.#callers.add(leave);
  }

  /** Who we are for a caller: the node of its network when we know it. */
  #localOf(hello: Hello | undefined): LocalNode {
    const { networks } = this.#options;
    const id = hello === undefined ? undefined : toHex(hello.networkId);
    return this.#local(networks.find((network) => networkIdOf(network.passphrase) === id) ?? networks[0]);
  }
}

const NOTHING: Omit<CallerReport, "address" | "startedAt" | "durationMs" | "end"> = {
  nodeId: null,
  versionStr: null,
  overlayVersion: null,
  overlayMinVersion: null,
  ledgerVersion: null,
  listeningPort: null,
  network: null,
  networkKnown: null,
  certificate: null,
  certificateTimes: null,
  versionsMeet: null,
  helloAccepted: null,
  macOk: null,
  granted: null,
  rttMs: null,
  messages: {},
};

/** The HELLO in the first record; undefined when it is something else. */
function helloIn(record: Uint8Array): Hello | undefined {
  try {
    // Record mark, version, sequence; the MAC of a HELLO is empty.
    const message = decodeMessage(record.subarray(RECORD_HEADER_BYTES + 12, record.length - 32));
    return message.type === "hello" ? message.hello : undefined;
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    return undefined;
  }
}

/** One conversation. */
class Call {
  readonly #peer: Peer;
  readonly #options: SelfOptions;
  readonly #done: (rest: Omit<CallerReport, "address" | "startedAt" | "durationMs">) => void;
  /** BOUNDED: by the message types. */
  readonly #messages = new Map<string, number>();
  #granted: CallerReport["granted"] = null;
  readonly #pongs = new QueryLimiter(QUERIES_PER_WINDOW, QUERY_WINDOW_MS);
  #rttMs: number | null = null;
  #stay: Timer | undefined;

  constructor(
    socket: Socket,
    local: LocalNode,
    options: SelfOptions,
    done: (rest: Omit<CallerReport, "address" | "startedAt" | "durationMs">) => void,
  ) {
    this.#options = options;
    this.#done = done;
    const { clock, random } = options;
    this.#peer = new Peer({
      role: "remoteCalledUs",
      socket,
      local,
      clock,
      random,
      settings: {
        acceptExpiredCert: true,
        acceptAnyVersion: true,
        ping: false,
        scpStateFrom: undefined,
        closeDelayMs: 1000,
      },
      handlers: {
        onAuthenticated: () => {
          this.#stay = clock.setTimer(options.stayMs, () => this.leave());
        },
        onFirstGrant: (peer) => {
          const { messages, bytes } = peer.flowControl.credit;
          this.#granted = { messages: String(messages), bytes: String(bytes) };
          peer.ping((rttMs) => void (this.#rttMs = Math.round(rttMs * 1000) / 1000));
        },
        onMessage: (peer, message) => {
          // Its ping: answering keeps its picture of us alive. Source: flooding.md section 6.
          if (message.type === MessageType.getScpQuorumset && this.#pongs.allow(message.receivedAtMs)) {
            const reqHash = message.bytes.slice(4, 36);
            peer.send(encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }));
          }
          const type = messageEnumName(message.type);
          this.#messages.set(type, (this.#messages.get(type) ?? 0) + 1);
        },
        onDropped: (_, drop) => this.#dropped(drop),
      },
    });
  }

  /** Ends it from our side: enough was seen. */
  leave(): void {
    this.#peer.close("done");
  }

  #dropped(drop: Drop): void {
    this.#stay?.cancel();
    const { hello, times, nodeIdText, local } = this.#peer;
    const { failure } = drop;
    const end = {
      by: drop.by,
      code: failure.code,
      detail: failure.code === "local_close" ? "we ended it: enough was seen" : describeFailure(failure),
      remoteText: drop.by === "remote" && "text" in failure ? failure.text : null,
    };
    if (hello === undefined) return this.#done({ ...NOTHING, end });
    const wallMs = this.#options.clock.wallMs();
    const signed = isSigned(hello.cert, hello.peerId, hello.networkId);
    const network = this.#options.networks.find(({ passphrase }) => networkIdOf(passphrase) === toHex(hello.networkId));
    this.#done({
      nodeId: nodeIdText ?? encodeNodeId(hello.peerId),
      versionStr: hello.versionStr,
      overlayVersion: hello.overlayVersion,
      overlayMinVersion: hello.overlayMinVersion,
      ledgerVersion: hello.ledgerVersion,
      listeningPort: hello.listeningPort,
      network: network === undefined ? networkNameOf(toHex(hello.networkId)) : networkLabel(network),
      networkKnown: network !== undefined,
      certificate: !signed ? "signature" : isExpired(hello.cert, wallMs / 1000) ? "expired" : "ok",
      certificateTimes: signed ? certificateFacts(hello, wallMs) : null,
      versionsMeet: windowsMeet(hello, local),
      helloAccepted: times.authMs !== undefined,
      macOk: failure.code === "bad_mac" || failure.code === "bad_sequence"
        ? false
        : times.authMs === undefined
        ? null
        : true,
      granted: this.#granted,
      rttMs: this.#rttMs,
      messages: Object.fromEntries([...this.#messages].sort(([a], [b]) => a < b ? -1 : 1)),
      end,
    });
  }
}
