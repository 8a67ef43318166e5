/**
 * TCP over node:net, the only door to sockets and DNS. No delay on, half-open streams kept, so that the end of the remote's
 * direction is seen before ours is closed. Source: stellar-core TCPPeer.cpp, PeerDoor.cpp (options, backlog 100).
 */
import { lookup } from "node:dns";
import { connect, createServer, isIP, type Socket as NetSocket } from "node:net";
import { type Clock, systemClock } from "../base/clock.ts";
import { type Failure, OverlayError } from "../base/errors.ts";
import { kindOfIp, wireOfAddress } from "../base/peer_address.ts";
import { connectErrorOf, HIDES_CONNECT_ERRORS } from "./refusal.ts";
import type {
  DialHandlers,
  Dialing,
  Endpoint,
  Listener,
  Resolver,
  Socket,
  SocketEnd,
  SocketHandlers,
  Transport,
} from "./transport.ts";

/** Connections the system queues before we accept them. Source: stellar-core PeerDoor.cpp LISTEN_QUEUE_LIMIT. */
const BACKLOG = 100;

/**
 * Shortest and longest wait after an orderly end on a stream that never carried a byte to us, ms. If the remote closed
 * without reading our bytes, its system answers them with a reset within a round trip; if it read them, nothing follows.
 * The dial took one round trip, so the wait in between is twice that.
 */
const UNREAD_PROBE_MS = 60;
const MAX_UNREAD_PROBE_MS = 1000;

/** The real network. */
export class TcpTransport implements Transport {
  readonly #clock: Clock;
  readonly #localHost: string | undefined;

  /** `localHost`: address to dial from, for machines and simulations that have several. */
  constructor(options: { clock?: Clock; localHost?: string } = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#localHost = options.localHost;
  }

  dial(to: Endpoint, options: { timeoutMs: number }, handlers: DialHandlers): Dialing {
    const address = endpointText(to);
    const startedMs = this.#clock.nowMs();
    const socket = connect({
      host: to.host,
      port: to.port,
      localAddress: this.#localHost,
      allowHalfOpen: true,
      noDelay: true,
    });
    let open = true;
    const finish = (): boolean => {
      const first = open;
      open = false;
      timer.cancel();
      return first;
    };
    const onError = (error: NodeJS.ErrnoException) => {
      socket.destroy();
      const fail = (reason: string) => {
        if (finish()) handlers.onFail(dialFailure(reason, address, options.timeoutMs));
      };
      const reason = errorCode(error);
      const bytes = HIDES_CONNECT_ERRORS && reason === "ECONNREFUSED" ? wireOfAddress(to) : null;
      // On this machine's own addresses nothing but a refusal is possible.
      if (bytes === null || kindOfIp(to.host) === "loopback") return fail(reason);
      const patienceMs = Math.min(options.timeoutMs, 2 * (this.#clock.nowMs() - startedMs) + 100);
      connectErrorOf(bytes.ip, to.port, patienceMs, this.#clock).then((truth) => fail(truth ?? reason));
    };
    const timer = this.#clock.setTimer(options.timeoutMs, () => {
      if (finish()) handlers.onFail({ code: "connect_timeout", address, afterMs: options.timeoutMs });
      socket.destroy();
    });
    socket.once("error", onError);
    socket.once("connect", () => {
      if (!finish()) return;
      socket.removeListener("error", onError);
      handlers.onConnect(
        new TcpSocket(socket, this.#clock, { dialed: to, connectMs: this.#clock.nowMs() - startedMs }),
      );
    });
    return {
      cancel: () => {
        finish();
        socket.on("error", () => {});
        socket.destroy();
      },
    };
  }

  listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        // A caller that is gone already has no address; upstream closes such a socket without a byte.
        if (socket.remoteAddress === undefined) {
          socket.on("error", () => {});
          socket.destroy();
          return;
        }
        onSocket(new TcpSocket(socket, this.#clock));
      });
      // Later errors, such as no descriptor left for an accept, change nothing: the promise is settled.
      server.on("error", (error: NodeJS.ErrnoException) => {
        const address = endpointText(at);
        reject(
          new OverlayError(
            error.code === "EADDRINUSE"
              ? { code: "port_in_use", address }
              : { code: "listen_failed", address, reason: error.code ?? error.message },
            { cause: error },
          ),
        );
      });
      server.listen({ host: at.host, port: at.port, backlog: BACKLOG }, () => {
        const bound = server.address();
        const port = bound !== null && typeof bound === "object" ? bound.port : at.port;
        resolve({
          address: { host: at.host, port },
          close: () => {
            // Its callback would wait until every accepted stream ended.
            server.close();
            return new Promise((done) => setImmediate(done));
          },
        });
      });
    });
  }
}

class TcpSocket implements Socket {
  readonly remote: Endpoint;
  #local: Endpoint | undefined;
  readonly #socket: NetSocket;
  readonly #clock: Clock;
  #handlers: SocketHandlers | null = null;
  #received = false;
  #sent = false;
  #ended = false;
  #closing = false;
  readonly #probeMs: number;

  constructor(socket: NetSocket, clock: Clock, ours?: { dialed: Endpoint; connectMs: number }) {
    this.#socket = socket;
    this.#clock = clock;
    this.#probeMs = Math.min(MAX_UNREAD_PROBE_MS, Math.max(UNREAD_PROBE_MS, 2 * (ours?.connectMs ?? 0)));
    this.remote = ours?.dialed ?? { host: plainHost(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 };
  }

  /** Asked of the system at the first use: empty when the stream has ended by then. */
  get local(): Endpoint {
    const socket = this.#socket;
    return (this.#local ??= { host: plainHost(socket.localAddress ?? ""), port: socket.localPort ?? 0 });
  }

  attach(handlers: SocketHandlers): void {
    this.#handlers = handlers;
    const socket = this.#socket;
    socket.on("data", (chunk: Uint8Array) => {
      this.#received = true;
      // A plain view: subarrays of a Buffer cost more in every runtime.
      if (!this.#ended) handlers.onData(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    });
    socket.on("error", (error: NodeJS.ErrnoException) => this.#end(endOf(error)));
    socket.on("end", () => this.#onOrderlyEnd());
    socket.on("close", () => this.#end({ how: "eof", reason: "" }));
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    if (this.#ended || this.#closing) return;
    this.#sent = true;
    this.#socket.write(
      bytes,
      onWritten === undefined ? undefined : (error) => error || this.#ended ? undefined : onWritten(),
    );
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  shutdown(): void {
    if (this.#ended || this.#closing) return;
    this.#closing = true;
    this.#socket.end();
  }

  destroy(): void {
    this.#ended = true;
    this.#handlers = null;
    this.#socket.destroy();
  }

  #onOrderlyEnd(): void {
    if (this.#ended) return;
    if (this.#received || !this.#sent || this.#closing) {
      this.#end({ how: "eof", reason: "" });
      return;
    }
    // The remote closed without a byte: did it read ours? A reset on the way says no, and so does a write that fails at once.
    this.#clock.setTimer(this.#probeMs, () => {
      if (this.#ended) return;
      this.#socket.write(new Uint8Array(1), (error) => {
        this.#end(error ? { how: "unread", reason: errorCode(error) } : { how: "eof", reason: "" });
      });
    });
  }

  #end(end: SocketEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    const handlers = this.#handlers;
    this.#handlers = null;
    this.#socket.destroy();
    // An abort before the first byte: our bytes were not read.
    handlers?.onEnd(end.how === "reset" && !this.#received && this.#sent ? { ...end, how: "unread" } : end);
  }
}

/** Host names through the system's resolver (getaddrinfo), IPv4 addresses first. Source: peers.md section 8. */
export const systemResolver: Resolver = {
  resolve(host) {
    if (isIP(host) !== 0) return Promise.resolve([host]);
    return new Promise((resolve, reject) => {
      lookup(host, { all: true }, (error, found) => {
        if (error || found.length === 0) {
          const reason = error === null ? "no addresses found" : errorCode(error);
          reject(new OverlayError({ code: "dns_failed", host, reason }, { cause: error }));
          return;
        }
        const hosts = found.map((entry) => entry.address);
        resolve([...new Set([...hosts.filter((ip) => isIP(ip) === 4), ...hosts.filter((ip) => isIP(ip) === 6)])]);
      });
    });
  },
};

function dialFailure(reason: string, address: string, timeoutMs: number): Failure {
  switch (reason) {
    case "ECONNREFUSED":
      return { code: "connect_refused", address };
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ENETDOWN":
    case "EHOSTDOWN":
    case "EADDRNOTAVAIL":
    case "EACCES":
    case "EPERM":
      return { code: "connect_unreachable", address, reason };
    case "ETIMEDOUT":
      return { code: "connect_timeout", address, afterMs: timeoutMs };
    default:
      return { code: "connect_failed", address, reason };
  }
}

function endOf(error: NodeJS.ErrnoException): SocketEnd {
  const reason = errorCode(error);
  return {
    how: reason === "ECONNRESET" || reason === "EPIPE" || reason === "ECONNABORTED" ? "reset" : "error",
    reason,
  };
}

function errorCode(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

/** IPv4 callers of a dual-stack listener appear as ::ffff:a.b.c.d. */
function plainHost(host: string): string {
  return host.startsWith("::ffff:") && host.includes(".") ? host.slice(7) : host;
}

function endpointText(at: Endpoint): string {
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}
