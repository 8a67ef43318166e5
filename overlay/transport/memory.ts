/**
 * A network inside one process: hosts with addresses of their own, links with delay, addresses that refuse, swallow or do
 * not exist. With a VirtualClock a whole network runs in milliseconds, and twice the same.
 */
import type { Clock, Timer } from "../base/clock.ts";
import { type Failure, OverlayError } from "../base/errors.ts";
import { type Random, SeededRandom } from "../base/random.ts";
import { FaultyStream, type StreamFaults } from "./memory_faults.ts";
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

/** What happens to a dial to an address where nothing listens. */
export type Fate = "refused" | "unreachable" | "swallowed";

/** Options of a {@link MemoryNetwork}. */
export interface MemoryNetworkOptions {
  clock: Clock;
  /** One-way delay in ms between two hosts; 0 by default. It must not change during a connection. */
  delayMs?: (from: string, to: string) => number;
  /** Fate of a dial that meets no listener; refused by default. */
  fate?: (to: Endpoint) => Fate;
  /** Host names and their addresses. */
  names?: Record<string, string[]>;
  /**
   * Faults of what `from` writes to `to`; undefined for a sound stream. Each is asked once per connection, for the caller's
   * direction and then for the other; the sockets handed out are then {@link FaultyStream}s.
   */
  faults?: (from: string, to: string) => Partial<StreamFaults> | undefined;
  /** Decides about the faults; a sequence of its own by default. */
  random?: Random;
}

/** The simulated network. Every host reaches it through {@link transport}. */
export class MemoryNetwork implements Resolver {
  readonly clock: Clock;
  readonly #delayMs: (from: string, to: string) => number;
  readonly #fate: (to: Endpoint) => Fate;
  readonly #names: Record<string, string[]>;
  readonly #listeners = new Map<string, (socket: Socket) => void>();
  readonly #faults: NonNullable<MemoryNetworkOptions["faults"]>;
  readonly #random: Random;
  readonly #cut = new Cut();
  #nextPort = 40_000;

  constructor(options: MemoryNetworkOptions) {
    this.clock = options.clock;
    this.#delayMs = options.delayMs ?? (() => 0);
    this.#fate = options.fate ?? (() => "refused");
    this.#names = options.names ?? {};
    this.#faults = options.faults ?? (() => undefined);
    this.#random = options.random ?? new SeededRandom(1);
  }

  /** The network as the host with address `host` sees it. */
  transport(host: string): Transport {
    return {
      dial: (to, options, handlers) => this.#dial(host, to, options.timeoutMs, handlers),
      listen: (at, onSocket) => this.#listen(at, onSocket),
    };
  }

  /**
   * Cuts the links between hosts for which `between` says so, until {@link heal} or the next partition. Nothing is closed:
   * what a connection sends across, its end included, waits and arrives after the heal, as TCP's retransmissions do; dials
   * across meet `fate`, those under way too.
   */
  partition(between: (from: string, to: string) => boolean, fate: Fate = "swallowed"): void {
    this.heal();
    this.#cut.between = between;
    this.#cut.fate = fate;
  }

  /** Ends the partition. */
  heal(): void {
    this.#cut.between = undefined;
    const held = [...this.#cut.held];
    this.#cut.held.clear();
    for (const socket of held) socket.healed();
  }

  resolve(host: string): Promise<string[]> {
    if (/^[0-9.]+$/.test(host) || host.includes(":")) return Promise.resolve([host]);
    const found = this.#names[host];
    if (found !== undefined) return Promise.resolve(found);
    return Promise.reject(new OverlayError({ code: "dns_failed", host, reason: "ENOTFOUND" }));
  }

  #listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Listener> {
    const port = at.port === 0 ? this.#nextPort++ : at.port;
    const key = keyOf({ host: at.host, port });
    if (this.#listeners.has(key)) return Promise.reject(new OverlayError({ code: "port_in_use", address: key }));
    this.#listeners.set(key, onSocket);
    return Promise.resolve({
      address: { host: at.host, port },
      close: () => {
        this.#listeners.delete(key);
        return Promise.resolve();
      },
    });
  }

  #dial(from: string, to: Endpoint, timeoutMs: number, handlers: DialHandlers): Dialing {
    const delayMs = this.#delayMs(from, to.host);
    let timer: Timer | undefined;
    const after = (ms: number, act: () => void) => void (timer = this.clock.setTimer(ms, act));
    const address = keyOf(to);
    const fail = (fate: Fate, passedMs: number) => {
      const answerMs = 2 * delayMs;
      if (fate === "refused" && answerMs <= timeoutMs) {
        after(answerMs - passedMs, () => handlers.onFail({ code: "connect_refused", address }));
      } else if (fate === "unreachable") {
        const failure: Failure = { code: "connect_unreachable", address, reason: "EHOSTUNREACH" };
        after(Math.max(0, delayMs - passedMs), () => handlers.onFail(failure));
      } else {
        after(timeoutMs - passedMs, () => handlers.onFail({ code: "connect_timeout", address, afterMs: timeoutMs }));
      }
    };
    const local = { host: from, port: this.#nextPort++ };
    const cut = this.#cut;
    if (cut.separates(from, to.host)) fail(cut.fate, 0);
    else if (!this.#listeners.has(address)) fail(this.#fate(to), 0);
    else if (2 * delayMs > timeoutMs) fail("swallowed", 0);
    else {
      after(2 * delayMs, () => {
        const accept = this.#listeners.get(address);
        if (accept === undefined || cut.separates(from, to.host)) {
          fail(accept === undefined ? this.#fate(to) : cut.fate, 2 * delayMs);
          return;
        }
        const near = new MemorySocket(this.clock, to, local, delayMs, cut);
        const far = new MemorySocket(this.clock, local, to, this.#delayMs(to.host, from), cut);
        near.other = far;
        far.other = near;
        const nearSocket = this.#faulty(near, from, to.host);
        accept(this.#faulty(far, to.host, from));
        handlers.onConnect(nearSocket);
      });
    }
    return { cancel: () => timer?.cancel() };
  }

  #faulty(socket: Socket, from: string, to: string): Socket {
    const faults = this.#faults(from, to);
    return faults === undefined ? socket : new FaultyStream(socket, this.clock, this.#random, faults);
  }
}

/** Aborts a simulated stream as a reset does: what is under way is lost, and both ends hear of it. */
export function resetStream(socket: Socket): void {
  if (socket instanceof FaultyStream) resetStream(socket.inner);
  else if (!(socket instanceof MemorySocket)) throw new TypeError("not a simulated stream");
  else socket.reset();
}

/** Which hosts are cut off from each other. */
class Cut {
  between: ((from: string, to: string) => boolean) | undefined;
  fate: Fate = "swallowed";
  /** Sockets with something under way that could not pass. BOUNDED: by the connections. */
  readonly held = new Set<MemorySocket>();

  separates(from: string, to: string): boolean {
    return this.between !== undefined && this.between(from, to);
  }
}

class MemorySocket implements Socket {
  other!: MemorySocket;
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #cut: Cut;
  /** What could not pass a cut, in order. BOUNDED: as {@link #held}. */
  #stuck: (Uint8Array | SocketEnd)[] = [];
  #handlers: SocketHandlers | null = null;
  #paused = false;
  /** What arrived while paused, in order. BOUNDED: by what the other side writes, as a test wants it. */
  readonly #held: (Uint8Array | SocketEnd)[] = [];
  #closed = false;
  #shut = false;
  #received = false;
  #wrote = false;
  /** The other side took bytes of ours. */
  #delivered = false;

  constructor(clock: Clock, readonly remote: Endpoint, readonly local: Endpoint, delayMs: number, cut: Cut) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#cut = cut;
  }

  attach(handlers: SocketHandlers): void {
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    if (this.#closed || this.#shut) return;
    this.#wrote = true;
    this.#send(bytes);
    if (onWritten !== undefined) this.#clock.setTimer(0, () => this.#closed ? undefined : onWritten());
  }

  get unsentBytes(): number {
    return 0;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#clock.setTimer(0, () => this.#giveHeld());
  }

  shutdown(): void {
    if (this.#closed || this.#shut) return;
    this.#shut = true;
    this.#send({ how: "eof", reason: "" });
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers = null;
    if (!this.#shut) this.#send({ how: "eof", reason: "" });
  }

  /** The cut is gone: what waited is on its way again, before anything that is sent from now on. */
  healed(): void {
    this.#clock.setTimer(this.#delayMs, () => {
      const stuck = this.#stuck;
      this.#stuck = [];
      for (const item of stuck) this.#arrive(item);
    });
  }

  #send(item: Uint8Array | SocketEnd): void {
    this.#clock.setTimer(this.#delayMs, () => this.#arrive(item));
  }

  #arrive(item: Uint8Array | SocketEnd): void {
    if (this.#stuck.length === 0 && !this.#cut.separates(this.local.host, this.remote.host)) {
      this.other.#receive(item);
      return;
    }
    this.#stuck.push(item);
    // While a heal is on its way to us already, its timer takes this along.
    if (this.#cut.between !== undefined) this.#cut.held.add(this);
  }

  /** Ends both sides at once. */
  reset(): void {
    const end: SocketEnd = { how: "reset", reason: "ECONNRESET" };
    for (const side of [this, this.other]) {
      side.#held.length = 0;
      side.#paused = false;
      side.#clock.setTimer(0, () => side.#receive(end));
    }
  }

  #giveHeld(): void {
    while (!this.#paused && this.#held.length > 0) this.#give(this.#held.shift()!);
  }

  #receive(item: Uint8Array | SocketEnd): void {
    if (this.#paused || this.#held.length > 0) this.#held.push(item);
    else this.#give(item);
  }

  #give(item: Uint8Array | SocketEnd): void {
    if (this.#closed || this.#handlers === null) return;
    if (item instanceof Uint8Array) {
      this.#received = true;
      this.other.#delivered = true;
      this.#handlers.onData(item);
      return;
    }
    const handlers = this.#handlers;
    this.#closed = true;
    this.#handlers = null;
    // A reset before the first byte counts as unread, as it does for TCP, where nobody can tell.
    const unread = !this.#received && this.#wrote && (item.how === "reset" || (item.how === "eof" && !this.#delivered));
    handlers.onEnd(unread ? { how: "unread", reason: "ECONNRESET" } : item);
    // Both directions are closed once the end was seen, as our TCP sockets do.
    this.#send({ how: "eof", reason: "" });
  }
}

function keyOf(at: Endpoint): string {
  return at.host.includes(":") ? `[${at.host}]:${at.port}` : `${at.host}:${at.port}`;
}
