/**
 * Listens on the links of a simulated network, independently of the engine: what each node sends and receives by type, and
 * whether the rules that every pair of nodes must keep are kept: no flood message without credit, none twice to one node.
 */
import { readUint32 } from "../../overlay/base/bytes.ts";
import type { Socket, SocketHandlers, Transport } from "../../overlay/transport/transport.ts";
import { isFloodType, messageEnumName, MessageType } from "../../overlay/wire/messages.ts";
import { MAX_MESSAGE_SIZE, RecordDecoder } from "../../overlay/wire/record.ts";

/** Bytes of an AuthenticatedMessage before the message, and after it. */
const BEFORE = 12;
const AFTER = 32;
/** Violations kept in words; more are only counted. */
const MAX_WORDS = 20;

/** Messages by type, as one host saw them. */
export interface TapCounts {
  sent: Record<number, number>;
  received: Record<number, number>;
}

/** Sees one message when it arrives: its bytes are a view. */
export type Heard = (from: string, to: string, type: number, message: Uint8Array) => void;

/** The listener. Hosts are IPs: one node per host. */
export class WireTap {
  /** What broke a rule, in words. */
  readonly violations: string[] = [];
  violationCount = 0;
  /** Called for every message that arrives. */
  onHeard: Heard | undefined;
  readonly #counts = new Map<string, TapCounts>();
  /**
   * SCP and TRANSACTION messages sent from one host to another, with how often each may still be sent. BOUNDED: by what is
   * sent between two calls of {@link rotate}.
   */
  #young = new Map<string, Map<number, number>>();
  #old = new Map<string, Map<number, number>>();
  /** GET_SCP_STATE that arrived, by asker and answerer: each allows every message once more. */
  readonly #asked = new Map<string, number>();

  /** The transport of `host`, listened to. */
  transport(host: string, inner: Transport): Transport {
    return {
      dial: (to, options, handlers) =>
        inner.dial(to, options, { ...handlers, onConnect: (socket) => handlers.onConnect(this.#tapped(host, socket)) }),
      listen: (at, onSocket) => inner.listen(at, (socket) => onSocket(this.#tapped(host, socket))),
    };
  }

  /** What a host sent and received. */
  of(host: string): TapCounts {
    let counts = this.#counts.get(host);
    if (counts === undefined) this.#counts.set(host, counts = { sent: {}, received: {} });
    return counts;
  }

  /** Messages of a type received by all. */
  total(type: number): number {
    let sum = 0;
    for (const { received } of this.#counts.values()) sum += received[type] ?? 0;
    return sum;
  }

  /** Forgets the older half of the sent messages; call it when no message of that time is flooded any more. */
  rotate(): void {
    this.#old = this.#young;
    this.#young = new Map();
  }

  #tapped(host: string, socket: Socket): Socket {
    return new TappedSocket(socket, new Link(this, host, socket.remote.host));
  }

  broken(what: string): void {
    this.violationCount++;
    if (this.violations.length < MAX_WORDS) this.violations.push(what);
  }

  /** GET_SCP_STATE of `asker` arrived at `answerer`. */
  asked(asker: string, answerer: string): void {
    const pair = `${answerer} ${asker}`;
    this.#asked.set(pair, (this.#asked.get(pair) ?? 0) + 1);
  }

  /** `from` sends `to` an SCP message or a transaction. */
  sent(from: string, to: string, type: number, message: Uint8Array): void {
    const pair = `${from} ${to}`, key = keyOf(message);
    let seen = this.#young.get(pair);
    if (seen === undefined) this.#young.set(pair, seen = new Map());
    const times = 1 + (seen.get(key) ?? this.#old.get(pair)?.get(key) ?? 0);
    seen.set(key, times);
    const allowed = 1 + (type === MessageType.scpMessage ? this.#asked.get(pair) ?? 0 : 0);
    if (times > allowed) this.broken(`${from} sent ${to} a ${messageEnumName(type)} ${times} times`);
  }
}

/** One host's end of one connection. */
class Link {
  readonly #tap: WireTap;
  readonly #counts: TapCounts;
  /** What we were granted and have not used. */
  #messages = 0;
  #bytes = 0;
  readonly incoming = decoder((type, message) => this.#received(type, message));
  readonly outgoing = decoder((type, message) => this.#sent(type, message));

  constructor(tap: WireTap, readonly host: string, readonly remote: string) {
    this.#tap = tap;
    this.#counts = tap.of(host);
  }

  #received(type: number, message: Uint8Array): void {
    const { received } = this.#counts;
    received[type] = (received[type] ?? 0) + 1;
    if (type === MessageType.sendMoreExtended) {
      this.#messages += readUint32(message, 4);
      this.#bytes += readUint32(message, 8);
    } else if (type === MessageType.getScpState) {
      this.#tap.asked(this.remote, this.host);
    }
    this.#tap.onHeard?.(this.remote, this.host, type, message);
  }

  #sent(type: number, message: Uint8Array): void {
    const { sent } = this.#counts;
    sent[type] = (sent[type] ?? 0) + 1;
    if (!isFloodType(type)) return;
    this.#messages--;
    this.#bytes -= message.length;
    if (this.#messages < 0 || this.#bytes < 0) {
      this.#tap.broken(`${this.host} sent ${this.remote} a ${messageEnumName(type)} without credit`);
    }
    if (type === MessageType.scpMessage || type === MessageType.transaction) {
      this.#tap.sent(this.host, this.remote, type, message);
    }
  }
}

class TappedSocket implements Socket {
  constructor(readonly inner: Socket, readonly link: Link) {}

  get remote() {
    return this.inner.remote;
  }
  get local() {
    return this.inner.local;
  }
  get unsentBytes() {
    return this.inner.unsentBytes;
  }
  attach(handlers: SocketHandlers): void {
    this.inner.attach({
      onData: (chunk) => {
        // The engine answers in here, and what it says must find the grant counted.
        this.link.incoming.push(chunk);
        handlers.onData(chunk);
      },
      onEnd: (end) => handlers.onEnd(end),
    });
  }
  write(bytes: Uint8Array, onWritten?: () => void): void {
    this.link.outgoing.push(bytes);
    this.inner.write(bytes, onWritten);
  }
  pause(): void {
    this.inner.pause();
  }
  resume(): void {
    this.inner.resume();
  }
  shutdown(): void {
    this.inner.shutdown();
  }
  destroy(): void {
    this.inner.destroy();
  }
}

function decoder(onMessage: (type: number, message: Uint8Array) => void): RecordDecoder {
  const decoder = new RecordDecoder({
    onRecord: (chunk, start, end) => {
      if (end - start < BEFORE + 4 + AFTER) return;
      const message = chunk.subarray(start + BEFORE, end - AFTER);
      onMessage(readUint32(message, 0), message);
    },
    onBadLength: () => {},
  });
  decoder.maxBytes = MAX_MESSAGE_SIZE;
  return decoder;
}

/** 52 bits of the last 16 bytes, which are a signature's in both kinds, mixed with the length. */
function keyOf(message: Uint8Array): number {
  const at = message.length - 12;
  return (readUint32(message, at) & 0xfffff) * 0x100000000 + ((readUint32(message, at + 4) ^ message.length) >>> 0);
}
