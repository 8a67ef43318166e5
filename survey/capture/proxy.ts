/**
 * Stands between two nodes and passes on what they say. Each meets the proxy's identity with the other's versions; MACs and
 * sequence numbers are made anew for each side, everything else passes as it came: credit, PEERS, ERROR_MSG. The proxy keeps no
 * rules of its own: it is a Connection on either side, never a Peer.
 */
import { equalBytes, readUint32 } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import type { Role } from "../../overlay/auth/session_keys.ts";
import { Connection, type FrameProblem } from "../../overlay/connection/connection.ts";
import { macKey } from "../../overlay/crypto/primitives.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import type { Dialing, Endpoint, Listener, Socket, Transport } from "../../overlay/transport/transport.ts";
import { decodeMessage, encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import type { Hello } from "../../overlay/wire/types.ts";

/** Pairs at once; more callers are closed. */
const MAX_PAIRS = 64;
/** Bytes waiting for one side at which the other is read no further. */
const HIGH_WATER_BYTES = 4 * 1024 * 1024;
/** How long a side may take to close, ms. */
const CLOSE_DELAY_MS = 5000;
const DIAL_TIMEOUT_MS = 5000;

/** What a {@link Proxy} is made of. */
export interface ProxyOptions {
  /** Where callers come. */
  listen: Endpoint;
  /** Whom they meet. */
  to: Endpoint;
  /** The identity both sides see. */
  local: LocalNode;
  transport: Transport;
  clock: Clock;
  /** Hears what ended a pair from our side, in words. May hold remote text: escape it. */
  onProblem: (text: string) => void;
  /** A pair is over, `open` are left. */
  onClosed?: (open: number) => void;
}

/** A listening proxy. */
export class Proxy {
  readonly #options: ProxyOptions;
  /** BOUNDED: {@link MAX_PAIRS}. */
  readonly #pairs = new Set<Pair>();
  #listener: Listener | undefined;

  constructor(options: ProxyOptions) {
    this.#options = options;
  }

  /** Where it listens, with the port the system chose. @throws OverlayError `port_in_use`, `listen_failed` */
  async start(): Promise<Endpoint> {
    this.#listener = await this.#options.transport.listen(this.#options.listen, (socket) => this.#onSocket(socket));
    return this.#listener.address;
  }

  /** Takes no more callers and closes both sides of every pair in order; resolves when they are closed. */
  async stop(): Promise<void> {
    await this.#listener?.close();
    await Promise.all([...this.#pairs].map((pair) => pair.close()));
  }

  #onSocket(socket: Socket): void {
    if (this.#pairs.size >= MAX_PAIRS) {
      socket.attach({ onData: () => {}, onEnd: () => {} });
      socket.destroy();
      this.#options.onProblem(`a caller was closed: ${MAX_PAIRS} are connected`);
      return;
    }
    const pair = new Pair(socket, this.#options, () => {
      this.#pairs.delete(pair);
      this.#options.onClosed?.(this.#pairs.size);
    });
    this.#pairs.add(pair);
  }
}

/** One side of a pair. */
interface Side {
  name: string;
  role: Role;
  connection: Connection;
  nonce: Uint8Array;
  hello: Hello | undefined;
  ended: boolean;
}

/** A caller and the node it meets. */
class Pair {
  readonly #options: ProxyOptions;
  readonly #onClosed: () => void;
  readonly #front: Side;
  #back: Side | undefined;
  #dialing: Dialing | undefined;
  #ready = false;
  #closing = false;
  #timer: Timer | undefined;
  readonly #closed: Promise<void>;
  #resolve!: () => void;

  constructor(socket: Socket, options: ProxyOptions, onClosed: () => void) {
    this.#options = options;
    this.#onClosed = onClosed;
    this.#closed = new Promise((resolve) => (this.#resolve = resolve));
    this.#front = this.#sideOf("caller", "remoteCalledUs", socket);
  }

  /** Closes both sides after what was sent. */
  close(): Promise<void> {
    this.#end(undefined);
    return this.#closed;
  }

  #sideOf(name: string, role: Role, socket: Socket): Side {
    const side: Side = {
      name,
      role,
      nonce: this.#options.local.auth.newNonce(),
      hello: undefined,
      ended: false,
      connection: new Connection(socket, this.#options.clock, {
        onMessage: (type, message) => this.#onMessage(side, type, message),
        onProblem: (problem) => this.#end(`the ${name}'s ${problemText(problem)}`),
        onEnd: () => {
          side.ended = true;
          side.connection.destroy();
          this.#end(undefined);
        },
      }),
    };
    side.connection.onFlushed = () => this.#other(side)?.connection.resume();
    return side;
  }

  #other(side: Side): Side | undefined {
    return side === this.#front ? this.#back : this.#front;
  }

  #onMessage(from: Side, type: number, message: Uint8Array): void {
    if (this.#closing) return;
    if (type === MessageType.hello && from.hello === undefined) {
      this.#onHello(from, message);
      return;
    }
    const to = this.#other(from);
    if (to === undefined || (!this.#ready && type !== MessageType.errorMsg)) {
      this.#end(`the ${from.name} sent a message before the handshake`);
      return;
    }
    // A node takes large frames once it has seen AUTH, and so do we.
    if (type === MessageType.auth) from.connection.allowLargeFrames();
    to.connection.send(message);
    if (to.connection.unsentBytes > HIGH_WATER_BYTES) from.connection.pause();
  }

  #onHello(from: Side, message: Uint8Array): void {
    const { local } = this.#options;
    let hello: Hello;
    try {
      const decoded = decodeMessage(message);
      if (decoded.type !== "hello") return;
      hello = decoded.hello;
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      this.#end(`the ${from.name}'s HELLO is corrupt: ${describeFailure(error.failure)}`);
      return;
    }
    if (!equalBytes(hello.networkId, local.networkId)) {
      const network = networkNameOf(toHex(hello.networkId));
      this.#end(`the ${from.name} is on network ${network}: choose it with --network`);
      return;
    }
    const verdict = local.auth.verifyCert(hello.cert, hello.peerId);
    if (verdict !== "ok") {
      this.#end(`the ${from.name}'s certificate does not hold (${verdict})`);
      return;
    }
    from.hello = hello;
    if (from === this.#front) this.#dial();
    else this.#join();
  }

  #dial(): void {
    const { transport, to } = this.#options;
    this.#dialing = transport.dial(to, { timeoutMs: DIAL_TIMEOUT_MS }, {
      onFail: (failure) => this.#end(`the node is not reached: ${describeFailure(failure)}`),
      onConnect: (socket) => {
        this.#dialing = undefined;
        this.#back = this.#sideOf("node", "weCalledRemote", socket);
        if (this.#closing) {
          this.#back.connection.destroy();
          this.#back.ended = true;
          this.#done();
          return;
        }
        this.#sendHello(this.#back, this.#front.hello!);
      },
    });
  }

  /** Both have said HELLO: from here on everything passes. */
  #join(): void {
    const { local } = this.#options;
    for (const side of [this.#front, this.#back!]) {
      const { cert, nonce } = side.hello!;
      const keys = local.auth.sessionKeys(side.role, side.nonce, cert.pubkey, nonce);
      if (keys === null) {
        this.#end(`the ${side.name}'s key is unusable`);
        return;
      }
      // The caller's HELLO must leave without a MAC, which it does in any case.
      side.connection.setKeys({ send: macKey(keys.sendKey), receive: macKey(keys.receiveKey) });
    }
    this.#ready = true;
    this.#sendHello(this.#front, this.#back!.hello!);
  }

  /** Our HELLO with the versions and the port of the one who stands behind us. */
  #sendHello(side: Side, behind: Hello): void {
    const { ledgerVersion, overlayVersion, overlayMinVersion, versionStr, listeningPort } = behind;
    const hello: Hello = {
      ...this.#options.local.hello(side.nonce),
      ledgerVersion,
      overlayVersion,
      overlayMinVersion,
      versionStr,
      listeningPort,
    };
    side.connection.send(encodeMessage({ type: "hello", hello }));
  }

  /** Ends the pair: what was sent still leaves. */
  #end(problem: string | undefined): void {
    if (this.#closing) {
      this.#done();
      return;
    }
    this.#closing = true;
    if (problem !== undefined) this.#options.onProblem(problem);
    this.#dialing?.cancel();
    for (const side of this.#sides()) if (!side.ended) side.connection.shutdown();
    this.#timer = this.#options.clock.setTimer(CLOSE_DELAY_MS, () => {
      for (const side of this.#sides()) {
        side.connection.destroy();
        side.ended = true;
      }
      this.#done();
    });
    this.#done();
  }

  #sides(): Side[] {
    return this.#back === undefined ? [this.#front] : [this.#front, this.#back];
  }

  #done(): void {
    if (!this.#closing || this.#sides().some((side) => !side.ended)) return;
    this.#timer?.cancel();
    this.#onClosed();
    this.#resolve();
  }
}

function problemText(problem: FrameProblem): string {
  switch (problem.kind) {
    case "badLength":
      return `frame has an illegal length (${problem.length})`;
    case "corrupt":
      return `frame is malformed: ${problem.reason}`;
    case "sequence":
      return `sequence number is ${problem.actual} instead of ${problem.expected}`;
    case "mac":
      return `MAC is wrong (message type ${readUint32(problem.message, 0)})`;
  }
}
