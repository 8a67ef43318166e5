/**
 * What the engine needs from a network: streams that are dialed or accepted. TCP (tcp.ts) and a simulated network
 * (memory.ts) implement it; both pass the same tests. All callbacks are synchronous and never run inside the call that
 * caused them.
 */
import type { Failure } from "../base/errors.ts";

/** Where a stream ends: `host` is an IP address (IPv6 without brackets). */
export interface Endpoint {
  host: string;
  port: number;
}

/** How a stream ended. */
export interface SocketEnd {
  /**
   * `eof`: the remote closed it in order. `reset`: the remote, or something on the path, aborted it. `unread`: the remote
   * closed it without having read what we sent. `error`: this machine could not go on.
   */
  how: "eof" | "reset" | "unread" | "error";
  /** The system's word for it, such as ECONNRESET; empty for an orderly end. */
  reason: string;
}

/** Receives what happens to a stream. */
export interface SocketHandlers {
  /** Bytes arrived. The chunk belongs to the receiver; it is not reused. */
  onData(chunk: Uint8Array): void;
  /** The stream ended, and not by our own {@link Socket.destroy}. Called once; nothing follows it. */
  onEnd(end: SocketEnd): void;
}

/** A stream of bytes in both directions. */
export interface Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  /** Names the receiver. Must be called in the same tick in which the socket was handed out. */
  attach(handlers: SocketHandlers): void;
  /** Sends bytes; the array must not be changed afterwards. `onWritten` is called when the system took all of them. */
  write(bytes: Uint8Array, onWritten?: () => void): void;
  /** Bytes written that the system has not taken yet. */
  readonly unsentBytes: number;
  /** Stops {@link SocketHandlers.onData} until {@link resume}; the remote is slowed down by its own system. */
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes our direction. {@link SocketHandlers.onEnd} still follows. */
  shutdown(): void;
  /** Closes both directions at once. No handler is called afterwards. */
  destroy(): void;
}

/** Outcome of a dial: exactly one of the two is called, unless it was cancelled. */
export interface DialHandlers {
  onConnect(socket: Socket): void;
  /** `connect_refused`, `connect_unreachable`, `connect_timeout` or `connect_failed`. */
  onFail(failure: Failure): void;
}

/** A dial under way. */
export interface Dialing {
  /** Gives up; no handler is called afterwards. */
  cancel(): void;
}

/** An open door. */
export interface Listener {
  /** What it is bound to, with the port the system chose when 0 was asked for. */
  readonly address: Endpoint;
  /** Accepts no more. Streams that were accepted stay. */
  close(): Promise<void>;
}

/** A way to reach peers. */
export interface Transport {
  dial(to: Endpoint, options: { timeoutMs: number }, handlers: DialHandlers): Dialing;
  /**
   * Accepts streams at `at`.
   * @throws OverlayError `port_in_use`, `listen_failed`
   */
  listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Listener>;
}

/** Finds the addresses of a host name. */
export interface Resolver {
  /**
   * IP addresses of `host`, IPv4 first. An IP address resolves to itself.
   * @throws OverlayError `dns_failed`
   */
  resolve(host: string): Promise<string[]>;
}
