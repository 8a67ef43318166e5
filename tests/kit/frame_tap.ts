/**
 * A second opinion about a stream: cuts both directions into frames on its own, counts StellarMessages by type, and keeps the
 * books of flow control, without the engine's decoders and counters.
 */
import { readUint32 } from "../../overlay/base/bytes.ts";
import type { DialHandlers, Dialing, Endpoint, Listener } from "../../overlay/transport/transport.ts";
import type { Socket, SocketHandlers, Transport } from "../../overlay/transport/transport.ts";
import { MessageType } from "../../overlay/wire/messages.ts";

/** Cuts a stream into frames, record mark included. */
export class FrameSplitter {
  #rest: Uint8Array = new Uint8Array(0);

  /** The frames that `chunk` completes, in copies. */
  push(chunk: Uint8Array): Uint8Array[] {
    const all = new Uint8Array(this.#rest.length + chunk.length);
    all.set(this.#rest);
    all.set(chunk, this.#rest.length);
    const frames: Uint8Array[] = [];
    let at = 0;
    while (all.length - at >= 4) {
      const end = at + 4 + (readUint32(all, at) & 0x7fffffff);
      if (end > all.length) break;
      frames.push(all.slice(at, end));
      at = end;
    }
    this.#rest = all.slice(at);
    return frames;
  }
}

/** Messages and bytes of StellarMessages. */
export interface Sum {
  count: number;
  bytes: number;
}

/** What a side may still send: granted minus used. */
export class CreditBook {
  readonly granted = { grants: 0, messages: 0, bytes: 0 };
  readonly used = { messages: 0, bytes: 0 };
  /** Flood messages that were sent without credit. */
  overdrawn = 0;
  /** The least that was left, in messages and in bytes, after a flood message. */
  readonly least = { messages: Infinity, bytes: Infinity };

  grant(messages: number, bytes: number): void {
    this.granted.grants++;
    this.granted.messages += messages;
    this.granted.bytes += bytes;
  }

  use(bytes: number): void {
    this.used.messages++;
    this.used.bytes += bytes;
    const { messages: leftMessages, bytes: leftBytes } = this.left;
    if (leftMessages < 0 || leftBytes < 0) this.overdrawn++;
    this.least.messages = Math.min(this.least.messages, leftMessages);
    this.least.bytes = Math.min(this.least.bytes, leftBytes);
  }

  get left(): { messages: number; bytes: number } {
    return { messages: this.granted.messages - this.used.messages, bytes: this.granted.bytes - this.used.bytes };
  }
}

const FLOOD_TYPES: ReadonlySet<number> = new Set([
  MessageType.scpMessage,
  MessageType.transaction,
  MessageType.floodAdvert,
  MessageType.floodDemand,
]);

/** One direction: `read` is what the remote sent, `written` what we sent. */
export type TapDirection = "read" | "written";

/** Told about every StellarMessage, and the frame that it came in. */
export type TapListener = (tap: FrameTap, direction: TapDirection, message: Uint8Array, frame: Uint8Array) => void;

/** One stream. */
export class FrameTap {
  readonly role: "weCalledRemote" | "remoteCalledUs";
  readonly remote: Endpoint;
  /** By message type. */
  readonly sums: Record<TapDirection, Map<number, Sum>> = { read: new Map(), written: new Map() };
  /** Bytes of the stream. */
  readonly bytes: Record<TapDirection, number> = { read: 0, written: 0 };
  /** What the remote may send, and what we may send. */
  readonly credit: Record<TapDirection, CreditBook> = { read: new CreditBook(), written: new CreditBook() };
  readonly #splitters: Record<TapDirection, FrameSplitter> = {
    read: new FrameSplitter(),
    written: new FrameSplitter(),
  };
  readonly #onMessage: TapListener | undefined;

  constructor(role: FrameTap["role"], remote: Endpoint, onMessage?: TapListener) {
    this.role = role;
    this.remote = remote;
    this.#onMessage = onMessage;
  }

  /** Takes bytes of one direction. */
  push(direction: TapDirection, chunk: Uint8Array): void {
    this.bytes[direction] += chunk.length;
    for (const frame of this.#splitters[direction].push(chunk)) {
      // Mark, version and sequence before it, the MAC behind it.
      const message = frame.subarray(16, frame.length - 32);
      const type = readUint32(message, 0);
      let sum = this.sums[direction].get(type);
      if (sum === undefined) this.sums[direction].set(type, sum = { count: 0, bytes: 0 });
      sum.count++;
      sum.bytes += message.length;
      if (FLOOD_TYPES.has(type)) this.credit[direction].use(message.length);
      else if (type === MessageType.sendMoreExtended) {
        this.credit[direction === "read" ? "written" : "read"].grant(readUint32(message, 4), readUint32(message, 8));
      }
      this.#onMessage?.(this, direction, message, frame);
    }
  }
}

/** A transport whose streams are looked at. */
export class TappedTransport implements Transport {
  /** All streams, in the order in which they were opened. */
  readonly taps: FrameTap[] = [];
  readonly #inner: Transport;
  readonly #onMessage: TapListener | undefined;

  constructor(inner: Transport, onMessage?: TapListener) {
    this.#inner = inner;
    this.#onMessage = onMessage;
  }

  dial(to: Endpoint, options: { timeoutMs: number }, handlers: DialHandlers): Dialing {
    return this.#inner.dial(to, options, {
      onConnect: (socket) => handlers.onConnect(this.#tap("weCalledRemote", socket)),
      onFail: (failure) => handlers.onFail(failure),
    });
  }

  listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Listener> {
    return this.#inner.listen(at, (socket) => onSocket(this.#tap("remoteCalledUs", socket)));
  }

  #tap(role: FrameTap["role"], socket: Socket): Socket {
    const tap = new FrameTap(role, socket.remote, this.#onMessage);
    this.taps.push(tap);
    return new TappedSocket(socket, tap);
  }
}

class TappedSocket implements Socket {
  readonly #inner: Socket;
  readonly #tap: FrameTap;

  constructor(inner: Socket, tap: FrameTap) {
    this.#inner = inner;
    this.#tap = tap;
  }

  get remote(): Endpoint {
    return this.#inner.remote;
  }
  get local(): Endpoint {
    return this.#inner.local;
  }
  get unsentBytes(): number {
    return this.#inner.unsentBytes;
  }
  attach(handlers: SocketHandlers): void {
    this.#inner.attach({
      onData: (chunk) => {
        this.#tap.push("read", chunk);
        handlers.onData(chunk);
      },
      onEnd: (end) => handlers.onEnd(end),
    });
  }
  write(bytes: Uint8Array, onWritten?: () => void): void {
    this.#tap.push("written", bytes);
    this.#inner.write(bytes, onWritten);
  }
  pause(): void {
    this.#inner.pause();
  }
  resume(): void {
    this.#inner.resume();
  }
  shutdown(): void {
    this.#inner.shutdown();
  }
  destroy(): void {
    this.#inner.destroy();
  }
}
