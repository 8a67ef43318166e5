/**
 * Plays a capture to the engine: a transport whose peers are the recorded ones, at their recorded times, and the clock that
 * goes with it. Whatever is built on a transport and a clock runs on it unchanged and sees the same messages at the same
 * instants. What a recorded peer signed cannot be signed again, so its session key is replaced by one of ours, and
 * {@link playingPrimitives} lets the certificate pass that says so. MACs are made anew; sequence numbers stay.
 */
import { concatBytes, equalBytes, readUint32, toHex, writeUint32 } from "../../overlay/base/bytes.ts";
import { type Clock, sleep, type Timer, VirtualClock } from "../../overlay/base/clock.ts";
import { type Failure, OverlayError } from "../../overlay/base/errors.ts";
import { formatAddress, ipVersion } from "../../overlay/base/peer_address.ts";
import { isSigned } from "../../overlay/auth/cert.ts";
import { type Role, sessionKeys, sharedKey } from "../../overlay/auth/session_keys.ts";
import {
  type AgreementKey,
  agreementKey,
  type MacKey,
  macKey,
  type Primitives,
} from "../../overlay/crypto/primitives.ts";
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
} from "../../overlay/transport/transport.ts";
import { decodeMessage, encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import type { CaptureRecord, DialFailedRecord, OpenRecord, ResolvedRecord } from "./format.ts";
import { timeOf } from "./source.ts";
import { FrameSplitter } from "./tap.ts";

/** In place of a recorded signature: no Ed25519 signature has a second half that large. */
const PLAYED_SIGNATURE = new Uint8Array(64).fill(0xff);

/** `native` for a process that plays: the certificates of played peers count as signed. Everything else is checked as ever. */
export function playingPrimitives(native: Primitives): Primitives {
  return {
    ...native,
    verify: (publicKey, message, signature) =>
      equalBytes(signature, PLAYED_SIGNATURE) || native.verify(publicKey, message, signature),
  };
}

/** The recorded time, moved by a {@link VirtualClock}: whole microseconds, and the wall time that was recorded. */
export class PlayClock implements Clock {
  readonly virtual = new VirtualClock({ epochMs: 0 });
  #wall = { atUs: 0, wallMs: 0 };

  nowMs(): number {
    return this.#nowUs() / 1000;
  }

  wallMs(): number {
    return this.#wall.wallMs + (this.#nowUs() - this.#wall.atUs) / 1000;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    return this.virtual.setTimer(delayMs, fire);
  }

  /** The wall time is `wallMs` at `atUs`, as was recorded. */
  setWall(atUs: number, wallMs: number): void {
    this.#wall = { atUs, wallMs };
  }

  #nowUs(): number {
    return Math.round(this.virtual.nowMs() * 1000);
  }
}

/**
 * Moves the time of a player until `work` settles: as fast as it goes, or `speed` times as fast as `real`. Time begins to
 * move when somebody dials or listens. When all is played, `onPlayed` is called once, and time goes on until `work` ends.
 */
export async function drive<T>(
  player: Player,
  work: Promise<T>,
  options: { speed: number; real: Clock; onPlayed: () => void },
): Promise<T> {
  const { speed, real, onPlayed } = options;
  const { virtual } = player.clock;
  let settled = false, played = false;
  const watched = work.finally(() => void (settled = true));
  watched.catch(() => {});
  await Promise.race([player.wanted, watched.catch(() => {})]);
  player.start();
  void player.finished.then(() => {
    played = true;
    onPlayed();
  });
  const startedMs = real.nowMs(), fromMs = virtual.nowMs();
  while (!settled) {
    if (Number.isFinite(speed)) {
      await sleep(real, PACE_MS);
      await virtual.advance(Math.max(0, fromMs + (real.nowMs() - startedMs) * speed - virtual.nowMs()));
    } else {
      await virtual.advance(STEP_MS);
      // What still goes on then waits for this machine, not for recorded time.
      if (played) await sleep(real, 1);
    }
  }
  return await watched;
}

/** Recorded time moved at once, and real time between two moves, ms. */
const STEP_MS = 50;
const PACE_MS = 10;

/** What is known of a recorded connection before it is dialled. */
interface Recorded {
  number: number;
  open: OpenRecord;
  socket: PlayedSocket | undefined;
  /** Received bytes that waited for a dial that came late. BOUNDED: by what was recorded of the connection. */
  early: ((socket: PlayedSocket) => void)[];
}

/** Plays the records of one start. */
export class Player implements Transport, Resolver {
  readonly clock = new PlayClock();
  readonly #records: Iterator<CaptureRecord>;
  readonly #random: { bytes(n: number): Uint8Array };
  /** Outbound connections that were opened and wait for their dial, and dials that wait, by address. */
  readonly #opened = new Map<string, (Recorded | DialFailedRecord)[]>();
  readonly #dials = new Map<string, { handlers: DialHandlers }[]>();
  readonly #connections = new Map<number, Recorded>();
  /** Look-ups that were played or wait for it, by name. */
  readonly #resolved = new Map<string, ResolvedRecord[]>();
  readonly #asking = new Map<string, ((found: ResolvedRecord) => void)[]>();
  readonly #listeners = new Set<(socket: Socket) => void>();
  #next: IteratorResult<CaptureRecord>;
  /** Settles when everything was played. */
  readonly finished: Promise<void>;
  /** Settles when somebody dials or listens: before that nothing needs to be played. */
  readonly wanted: Promise<void>;
  #finish!: () => void;
  #want!: () => void;

  /** `records` begins with a start; playing ends before the next one. @throws OverlayError `capture_invalid` */
  constructor(records: Iterator<CaptureRecord>, random: { bytes(n: number): Uint8Array }, path: string) {
    this.#records = records;
    this.#random = random;
    const first = records.next();
    if (first.done || first.value.type !== "start") {
      throw new OverlayError({ code: "capture_invalid", path, offset: 0, reason: "its first record is no start" });
    }
    this.clock.setWall(0, Number(first.value.start.wallMs));
    this.finished = new Promise((resolve) => (this.#finish = resolve));
    this.wanted = new Promise((resolve) => (this.#want = resolve));
    this.#next = records.next();
  }

  /** Begins to play: from now on timers of the clock do the rest. */
  start(): void {
    this.#arm();
  }

  dial(to: Endpoint, _options: { timeoutMs: number }, handlers: DialHandlers): Dialing {
    this.#want();
    const key = formatAddress(to), dial = { handlers };
    const waiting = this.#dials.get(key) ?? [];
    waiting.push(dial);
    this.#dials.set(key, waiting);
    // Never inside of the call: the port's rule.
    const timer = this.clock.setTimer(0, () => this.#match(key));
    return {
      cancel: () => {
        timer.cancel();
        const at = waiting.indexOf(dial);
        if (at >= 0) waiting.splice(at, 1);
      },
    };
  }

  /** As recorded, at its time. A name that was not looked up then has no addresses. */
  async resolve(host: string): Promise<string[]> {
    this.#want();
    if (ipVersion(host) !== 0) return [host];
    const found = this.#resolved.get(host)?.shift() ?? await new Promise<ResolvedRecord>((resolve) => {
      const asking = this.#asking.get(host) ?? [];
      asking.push(resolve);
      this.#asking.set(host, asking);
      void this.finished.then(() => resolve({ atUs: 0n, host, addresses: "", reason: "not in the capture" }));
    });
    if (found.addresses !== "") return found.addresses.split(" ");
    throw new OverlayError({ code: "dns_failed", host, reason: found.reason });
  }

  listen(at: Endpoint, onSocket: (socket: Socket) => void): Promise<Listener> {
    this.#want();
    this.#listeners.add(onSocket);
    return Promise.resolve({
      address: at,
      close: () => {
        this.#listeners.delete(onSocket);
        return Promise.resolve();
      },
    });
  }

  /** Plays what falls on one instant, then waits for the next. */
  #arm(): void {
    const next = this.#next;
    if (next.done || next.value.type === "start") {
      this.clock.setTimer(0, () => this.#finish());
      return;
    }
    const atUs = Number(timeOf(next.value)!);
    this.clock.setTimer(Math.max(0, atUs / 1000 - this.clock.virtual.nowMs()), () => {
      this.#playInstant(BigInt(atUs));
      this.#arm();
    });
  }

  #playInstant(atUs: bigint): void {
    while (!this.#next.done && this.#next.value.type !== "start" && timeOf(this.#next.value)! <= atUs) {
      const record = this.#next.value;
      this.#next = this.#records.next();
      // Frames that came in one chunk are given in one chunk.
      const received: Uint8Array[] = [];
      const direct = record.type === "frame" ? record.frame : record.type === "raw" ? record.raw : undefined;
      if (direct?.direction === "received") {
        const parts = [{ frame: record.type === "frame", bytes: direct.bytes }];
        received.push(direct.bytes);
        while (!this.#next.done) {
          const following = this.#next.value;
          const more = following.type === "frame"
            ? following.frame
            : following.type === "raw"
            ? following.raw
            : undefined;
          if (more?.connection !== direct.connection || more.direction !== "received" || more.atUs !== direct.atUs) {
            break;
          }
          parts.push({ frame: following.type === "frame", bytes: more.bytes });
          this.#next = this.#records.next();
        }
        this.#on(direct.connection, (socket) => socket.deliver(parts));
      } else this.#play(record);
    }
  }

  #play(record: CaptureRecord): void {
    switch (record.type) {
      case "wall":
        this.clock.setWall(Number(record.wall.atUs), Number(record.wall.wallMs));
        return;
      case "open": {
        const { open } = record;
        const recorded: Recorded = { number: open.connection, open, socket: undefined, early: [] };
        this.#connections.set(open.connection, recorded);
        if (open.role === "weCalledRemote") this.#offer(open, recorded);
        else {
          const [listener] = this.#listeners;
          if (listener !== undefined) listener(this.#socketOf(recorded));
        }
        return;
      }
      case "resolved": {
        const { host } = record.resolved;
        const asking = this.#asking.get(host)?.shift();
        if (asking !== undefined) asking(record.resolved);
        else this.#resolved.set(host, [...(this.#resolved.get(host) ?? []), record.resolved]);
        return;
      }
      case "dialFailed":
        this.#offer(record.dialFailed, record.dialFailed);
        return;
      case "frame": {
        const { bytes } = record.frame;
        this.#on(record.frame.connection, (socket) => socket.recordedSent(bytes));
        return;
      }
      case "end": {
        const { connection, by, how, reason } = record.end;
        if (by === "remote") this.#on(connection, (socket) => socket.end({ how: how as SocketEnd["how"], reason }));
        // What was never dialled needs to be kept no longer, unless a late dial wants it.
        if (this.#connections.get(connection)?.socket !== undefined) this.#connections.delete(connection);
        return;
      }
    }
  }

  #on(connection: number, act: (socket: PlayedSocket) => void): void {
    const recorded = this.#connections.get(connection);
    if (recorded === undefined) return;
    if (recorded.socket !== undefined) act(recorded.socket);
    else if (recorded.open.role === "weCalledRemote") recorded.early.push(act);
  }

  #offer(at: { remoteHost: string; remotePort: number }, what: Recorded | DialFailedRecord): void {
    const key = formatAddress({ host: at.remoteHost, port: at.remotePort });
    const list = this.#opened.get(key) ?? [];
    list.push(what);
    this.#opened.set(key, list);
    this.#match(key);
  }

  #match(key: string): void {
    const opened = this.#opened.get(key), dials = this.#dials.get(key);
    while (opened !== undefined && dials !== undefined && opened.length > 0 && dials.length > 0) {
      const what = opened.shift()!, { handlers } = dials.shift()!;
      if ("failure" in what) {
        handlers.onFail(failureOf(what, key));
        continue;
      }
      const socket = this.#socketOf(what);
      handlers.onConnect(socket);
      for (const act of what.early.splice(0)) act(socket);
    }
  }

  #socketOf(recorded: Recorded): PlayedSocket {
    recorded.socket = new PlayedSocket(recorded.open, this.#random.bytes(32), this.clock);
    return recorded.socket;
  }
}

function failureOf(record: DialFailedRecord, address: string): Failure {
  try {
    const failure = JSON.parse(record.failure);
    if (typeof failure?.code === "string") return failure;
  } catch {
    // A file of somebody else's making.
  }
  return { code: "connect_failed", address, reason: "recorded" };
}

/** The recorded remote's end of one connection. */
class PlayedSocket implements Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint;
  readonly unsentBytes = 0;
  readonly #clock: Clock;
  /** Our role as recorded; the played remote has the other. */
  readonly #role: Role;
  readonly #key: AgreementKey;
  readonly #written = new FrameSplitter();
  #handlers: SocketHandlers | null = null;
  #closed = false;
  /** What came while reading was paused. BOUNDED: by the recording. */
  #held: (Uint8Array | SocketEnd)[] = [];
  #paused = false;
  #theirs: Hello | undefined;
  #ours: Hello | undefined;
  #mac: MacKey | undefined;
  /** Quorum sets asked for: recorded questions, and those of whoever is played to, in their order. */
  readonly #asked: { recorded: string[]; now: Uint8Array[] } = { recorded: [], now: [] };
  /** The question of now, by the recorded one. BOUNDED: by the questions without an answer. */
  readonly #pairs = new Map<string, Uint8Array>();

  constructor(open: OpenRecord, secret: Uint8Array, clock: Clock) {
    this.remote = { host: open.remoteHost, port: open.remotePort };
    this.local = { host: open.localHost, port: open.localPort };
    this.#role = open.role;
    this.#key = agreementKey(secret);
    this.#clock = clock;
  }

  attach(handlers: SocketHandlers): void {
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    if (this.#closed) return;
    this.#written.push(bytes, (frame, whole) => {
      if (whole) this.#onWritten(frame);
    });
    if (onWritten !== undefined) queueMicrotask(() => this.#closed ? undefined : onWritten());
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#clock.setTimer(0, () => {
      while (!this.#paused && this.#held.length > 0) this.#give(this.#held.shift()!);
    });
  }

  shutdown(): void {
    // Nobody is there to close the other direction.
    this.#clock.setTimer(0, () => this.end({ how: "eof", reason: "" }));
  }

  destroy(): void {
    this.#closed = true;
    this.#handlers = null;
  }

  /** Recorded bytes of one chunk. */
  deliver(parts: { frame: boolean; bytes: Uint8Array }[]): void {
    this.#receive(concatBytes(...parts.map(({ frame, bytes }) => frame ? this.#renewed(bytes) : bytes)));
  }

  end(end: SocketEnd): void {
    this.#receive(end);
  }

  /** A recorded frame of ours. */
  recordedSent(frame: Uint8Array): void {
    if (frame.length < 84 || readUint32(frame, 16) !== MessageType.getScpQuorumset) return;
    this.#asked.recorded.push(toHex(frame.subarray(20, 52)));
    this.#pair();
  }

  #pair(): void {
    const { recorded, now } = this.#asked;
    while (recorded.length > 0 && now.length > 0) this.#pairs.set(recorded.shift()!, now.shift()!);
  }

  #receive(item: Uint8Array | SocketEnd): void {
    if (this.#paused || this.#held.length > 0) this.#held.push(item);
    else this.#give(item);
  }

  #give(item: Uint8Array | SocketEnd): void {
    if (this.#closed) return;
    if (item instanceof Uint8Array) {
      this.#handlers?.onData(item);
      return;
    }
    const handlers = this.#handlers;
    this.destroy();
    handlers?.onEnd(item);
  }

  #onWritten(frame: Uint8Array): void {
    if (frame.length < 52) return;
    const type = readUint32(frame, 16);
    if (type === MessageType.hello) {
      this.#theirs ??= helloOf(frame);
      this.#agree();
    } else if (type === MessageType.getScpQuorumset && frame.length >= 84) {
      this.#asked.now.push(frame.slice(20, 52));
      this.#pair();
    }
  }

  /** A recorded frame with a MAC of now. */
  #renewed(frame: Uint8Array): Uint8Array {
    if (frame.length < 52 || readUint32(frame, 4) !== 0) return frame;
    const type = readUint32(frame, 16);
    if (type === MessageType.hello) return this.#renewedHello(frame);
    if (type === MessageType.errorMsg || this.#mac === undefined) return frame;
    const renewed = frame.slice();
    // DONT_HAVE: type 4, type asked for 4, hash 32.
    if (type === MessageType.dontHave && frame.length === 88) this.#answer(renewed, 24);
    renewed.set(this.#mac.mac(renewed.subarray(8, renewed.length - 32)), renewed.length - 32);
    return renewed;
  }

  #answer(frame: Uint8Array, at: number): void {
    const key = toHex(frame.subarray(at, at + 32)), now = this.#pairs.get(key);
    if (now === undefined) return;
    frame.set(now, at);
    this.#pairs.delete(key);
  }

  #renewedHello(frame: Uint8Array): Uint8Array {
    const hello = helloOf(frame);
    if (hello === undefined || this.#ours !== undefined) return frame;
    // A certificate that was not signed for the listener's network stays as bad as it was recorded.
    if (this.#theirs !== undefined && !isSigned(hello.cert, hello.peerId, this.#theirs.networkId)) return frame;
    this.#ours = { ...hello, cert: { ...hello.cert, pubkey: this.#key.publicKey, sig: PLAYED_SIGNATURE } };
    const message = encodeMessage({ type: "hello", hello: this.#ours });
    const renewed = new Uint8Array(message.length + 48);
    writeUint32(renewed, 0, (message.length + 44) | 0x80000000);
    renewed.set(frame.subarray(4, 16), 4);
    renewed.set(message, 16);
    this.#agree();
    return renewed;
  }

  #agree(): void {
    if (this.#ours === undefined || this.#theirs === undefined || this.#mac !== undefined) return;
    const role: Role = this.#role === "weCalledRemote" ? "remoteCalledUs" : "weCalledRemote";
    const shared = sharedKey(this.#key, this.#theirs.cert.pubkey, role);
    if (shared === null) return;
    this.#mac = macKey(sessionKeys(shared, this.#ours.nonce, this.#theirs.nonce, role).sendKey);
  }
}

function helloOf(frame: Uint8Array): Hello | undefined {
  try {
    const message = decodeMessage(frame.subarray(16, frame.length - 32));
    return message.type === "hello" ? message.hello : undefined;
  } catch (error) {
    if (error instanceof OverlayError) return undefined;
    throw error;
  }
}
