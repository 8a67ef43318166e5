/**
 * Listens to every stream of a transport, below the engine and unknown to it: each frame becomes a record before the engine
 * sees it. Times come from the recorder's clock, which stands still during a callback, so that whoever is captured reads
 * exactly the times that are recorded, and a replay gives him the same.
 */
import { concatBytes, readUint32 } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { ipVersion } from "../../overlay/base/peer_address.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { Role } from "../../overlay/auth/session_keys.ts";
import type {
  Endpoint,
  Resolver,
  Socket,
  SocketEnd,
  SocketHandlers,
  Transport,
} from "../../overlay/transport/transport.ts";
import { decodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { MAX_MESSAGE_SIZE } from "../../overlay/wire/record.ts";
import type { CaptureRecord, Direction } from "./format.ts";

/** Difference of the wall clock to what the monotonic one says that counts as a step, ms. */
const WALL_STEP_MS = 1000;

/** Hears each record when it happens. */
export type RecordSink = (record: CaptureRecord, atUs: bigint) => void;

/** What a {@link CaptureRecorder} is made of. */
export interface RecorderOptions {
  clock: Clock;
  sink: RecordSink;
  tool: string;
  command: string;
  /** Passphrase; empty when there is not one. */
  network: string;
  /**
   * Time begins with the first dial, listen or {@link CaptureRecorder.begin} and moves only when a callback or timer begins:
   * who is captured then reads nothing but recorded times, and a replay is exact. Otherwise it runs, and only stands still in
   * callbacks.
   */
  still?: boolean;
}

interface DueTimer {
  atUs: number;
  order: number;
  fire: () => void;
}

/**
 * Makes records and numbers connections. As a {@link Clock} it counts whole microseconds from its making, and stands still
 * while a timer or a socket callback runs.
 */
export class CaptureRecorder implements Clock {
  readonly #clock: Clock;
  readonly #sink: RecordSink;
  readonly #still: boolean;
  #startedMs: number;
  #begun = false;
  #held: number | undefined;
  #lastUs = 0;
  /** Timers that have not fired, while time is still. BOUNDED: by whoever sets them. */
  readonly #timers = new Set<DueTimer>();
  #nextDueUs = Infinity;
  #orders = 0;
  #connections = 0;
  /** Wall time is `wallMs` at `atUs`. */
  #wall: { wallMs: number; atUs: number };

  constructor(options: RecorderOptions) {
    this.#clock = options.clock;
    this.#sink = options.sink;
    this.#still = options.still ?? false;
    this.#startedMs = options.clock.nowMs();
    this.#wall = { wallMs: Math.floor(options.clock.wallMs()), atUs: 0 };
    const { tool, command, network } = options;
    this.record({ type: "start", start: { wallMs: BigInt(this.#wall.wallMs), tool, command, network } });
  }

  /** Time begins now, unless it has begun. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    if (this.#still) this.#startedMs = this.#clock.nowMs();
  }

  /** Now, in whole microseconds since the start. */
  get atUs(): bigint {
    return BigInt(this.#nowUs());
  }

  nowMs(): number {
    return this.#nowUs() / 1000;
  }

  wallMs(): number {
    return this.#wall.wallMs + (this.#nowUs() - this.#wall.atUs) / 1000;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    if (!this.#still) return this.#clock.setTimer(delayMs, () => this.hold(fire));
    const due: DueTimer = {
      atUs: this.#nowUs() + Math.round(Math.max(0, delayMs) * 1000),
      order: this.#orders++,
      fire,
    };
    this.#timers.add(due);
    this.#nextDueUs = Math.min(this.#nextDueUs, due.atUs);
    const arm = (waitMs: number): Timer =>
      this.#clock.setTimer(waitMs, () => {
        this.hold(() => {});
        // The system's timers may be a little early.
        if (this.#timers.has(due)) timer = arm((due.atUs - this.#freshUs()) / 1000 + 0.5);
      });
    let timer = arm(delayMs);
    return {
      cancel: () => {
        timer.cancel();
        this.#timers.delete(due);
      },
    };
  }

  /** Runs `act` with the time standing still; before it, when time is still, what timers have fallen due. */
  hold(act: () => void): void {
    if (this.#held !== undefined) return act();
    this.begin();
    const nowUs = this.#freshUs();
    this.#fireUntil(nowUs);
    this.#at(nowUs, act);
  }

  #at(atUs: number, act: () => void): void {
    this.#held = atUs;
    const wallMs = Math.floor(this.#clock.wallMs());
    if (Math.abs(wallMs - this.wallMs()) > WALL_STEP_MS) {
      this.#wall = { wallMs, atUs };
      this.record({ type: "wall", wall: { atUs: BigInt(atUs), wallMs: BigInt(wallMs) } });
    }
    try {
      act();
    } finally {
      this.#held = undefined;
      this.#lastUs = Math.max(this.#lastUs, atUs);
    }
  }

  /** Each at the very time it was set for, in the order of a {@link VirtualClock}: a replay has no other. */
  #fireUntil(nowUs: number): void {
    while (this.#nextDueUs <= nowUs) {
      let first: DueTimer | undefined;
      let nextUs = Infinity;
      for (const timer of this.#timers) {
        if (
          first === undefined || timer.atUs < first.atUs || (timer.atUs === first.atUs && timer.order < first.order)
        ) {
          if (first !== undefined) nextUs = Math.min(nextUs, first.atUs);
          first = timer;
        } else nextUs = Math.min(nextUs, timer.atUs);
      }
      if (first === undefined || first.atUs > nowUs) {
        this.#nextDueUs = first === undefined ? Infinity : first.atUs;
        return;
      }
      this.#nextDueUs = nextUs;
      this.#timers.delete(first);
      const { atUs, fire } = first;
      this.#at(atUs, () => {
        try {
          fire();
        } catch (error) {
          // It is the timer's failure, not that of whose callback comes next.
          queueMicrotask(() => {
            throw error;
          });
        }
      });
    }
  }

  /** A number for a new connection. */
  nextConnection(): number {
    return ++this.#connections;
  }

  /** Hands a record on. */
  record(record: CaptureRecord): void {
    this.#sink(record, this.atUs);
  }

  /** Writes down the secret of one of our identities: with it the MACs of the capture can be checked, and forged. */
  secrets(nodeId: Uint8Array, x25519Secret: Uint8Array): void {
    this.record({ type: "secrets", secrets: { atUs: this.atUs, nodeId, x25519Secret } });
  }

  #nowUs(): number {
    return this.#held ?? (this.#still ? this.#lastUs : this.#freshUs());
  }

  #freshUs(): number {
    // Never backwards, whatever the clock below does.
    const freshUs = Math.max(this.#lastUs, Math.round((this.#clock.nowMs() - this.#startedMs) * 1000));
    if (!this.#still) this.#lastUs = freshUs;
    return freshUs;
  }
}

/** `inner`, with all its streams captured. */
export function captureTransport(inner: Transport, recorder: CaptureRecorder): Transport {
  return {
    dial(to, options, handlers) {
      recorder.begin();
      const connection = recorder.nextConnection(), dialledUs = recorder.atUs;
      return inner.dial(to, options, {
        onConnect: (socket) =>
          recorder.hold(() =>
            handlers.onConnect(new CapturedSocket(socket, recorder, connection, "weCalledRemote", dialledUs))
          ),
        onFail: (failure) =>
          recorder.hold(() => {
            const { host: remoteHost, port: remotePort } = to;
            recorder.record({
              type: "dialFailed",
              dialFailed: {
                connection,
                atUs: recorder.atUs,
                remoteHost,
                remotePort,
                dialledUs,
                failure: JSON.stringify(failure),
              },
            });
            handlers.onFail(failure);
          }),
      });
    },
    listen(at, onSocket) {
      recorder.begin();
      return inner.listen(
        at,
        (socket) =>
          recorder.hold(() =>
            onSocket(new CapturedSocket(socket, recorder, recorder.nextConnection(), "remoteCalledUs"))
          ),
      );
    },
  };
}

/** `inner`, whose answers are recorded and move the recorder's time. An address needs no look-up. */
export function captureResolver(inner: Resolver, recorder: CaptureRecorder): Resolver {
  return {
    async resolve(host) {
      recorder.begin();
      if (ipVersion(host) !== 0) return await inner.resolve(host);
      const told = (addresses: string, reason: string) =>
        recorder.hold(() =>
          recorder.record({ type: "resolved", resolved: { atUs: recorder.atUs, host, addresses, reason } })
        );
      try {
        const addresses = await inner.resolve(host);
        told(addresses.slice(0, MAX_ADDRESSES).join(" "), "");
        return addresses;
      } catch (error) {
        told(
          "",
          error instanceof OverlayError && error.failure.code === "dns_failed" ? error.failure.reason : String(error),
        );
        throw error;
      }
    },
  };
}

/** Addresses of one name that are recorded. */
const MAX_ADDRESSES = 64;

/** A stream whose frames are recorded. */
class CapturedSocket implements Socket {
  readonly #inner: Socket;
  readonly #recorder: CaptureRecorder;
  readonly #connection: number;
  readonly #received = new FrameSplitter();
  readonly #sent = new FrameSplitter();
  #identified = false;
  #over = false;

  constructor(inner: Socket, recorder: CaptureRecorder, connection: number, role: Role, dialledUs = recorder.atUs) {
    this.#inner = inner;
    this.#recorder = recorder;
    this.#connection = connection;
    const { remote, local } = inner;
    recorder.record({
      type: "open",
      open: {
        connection,
        atUs: recorder.atUs,
        dialledUs,
        role,
        remoteHost: remote.host,
        remotePort: remote.port,
        localHost: local.host,
        localPort: local.port,
      },
    });
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
      onData: (chunk) =>
        this.#recorder.hold(() => {
          this.#split(this.#received, "received", chunk);
          handlers.onData(chunk);
        }),
      onEnd: (end: SocketEnd) =>
        this.#recorder.hold(() => {
          this.#end("remote", end.how, end.reason);
          handlers.onEnd(end);
        }),
    });
  }

  write(bytes: Uint8Array, onWritten?: () => void): void {
    if (!this.#over) this.#split(this.#sent, "sent", bytes);
    this.#inner.write(bytes, onWritten === undefined ? undefined : () => this.#recorder.hold(onWritten));
  }

  pause(): void {
    this.#inner.pause();
  }
  resume(): void {
    this.#inner.resume();
  }

  shutdown(): void {
    this.#end("us", "shutdown", "");
    this.#inner.shutdown();
  }

  destroy(): void {
    this.#end("us", "destroy", "");
    this.#inner.destroy();
  }

  #split(splitter: FrameSplitter, direction: Direction, chunk: Uint8Array): void {
    // What comes after the end is read by nobody.
    if (this.#over) return;
    splitter.push(chunk, (bytes, whole) => {
      if (whole && direction === "received" && !this.#identified) this.#identify(bytes);
      this.#bytes(whole ? "frame" : "raw", direction, bytes);
    });
  }

  #bytes(type: "frame" | "raw", direction: Direction, bytes: Uint8Array): void {
    const fields = { connection: this.#connection, atUs: this.#recorder.atUs, direction, bytes };
    this.#recorder.record(type === "frame" ? { type, frame: fields } : { type, raw: fields });
  }

  #identify(frame: Uint8Array): void {
    this.#identified = true;
    const nodeId = nodeIdOfHello(frame);
    if (nodeId === undefined) return;
    const identity = { connection: this.#connection, atUs: this.#recorder.atUs, nodeId };
    this.#recorder.record({ type: "identity", identity });
  }

  #end(by: "us" | "remote", how: string, reason: string): void {
    if (this.#over) return;
    for (const [splitter, direction] of [[this.#received, "received"], [this.#sent, "sent"]] as const) {
      const left = splitter.rest();
      if (left.length > 0) this.#bytes("raw", direction, left);
    }
    this.#over = true;
    this.#recorder.record({
      type: "end",
      end: { connection: this.#connection, atUs: this.#recorder.atUs, by, how, reason },
    });
  }
}

/** Node id in the HELLO that a frame holds; undefined when it holds something else. */
function nodeIdOfHello(frame: Uint8Array): Uint8Array | undefined {
  if (frame.length < 52 || readUint32(frame, 16) !== MessageType.hello) return undefined;
  try {
    const message = decodeMessage(frame.subarray(16, frame.length - 32));
    return message.type === "hello" ? message.hello.peerId : undefined;
  } catch (error) {
    if (error instanceof OverlayError) return undefined;
    throw error;
  }
}

/**
 * Cuts a stream into whole frames, marks included, byte by byte as they came. From an illegal length on everything is handed
 * on as it comes. BOUNDED: holds what arrived of one frame, at most 16 MiB.
 */
export class FrameSplitter {
  #parts: Uint8Array[] = [];
  #bytes = 0;
  /** Bytes of the frame under way; 4 while its mark is not complete. */
  #wanted = 4;
  #lost = false;

  /** Takes the next bytes. `take` gets copies, and whether they are a whole frame. */
  push(chunk: Uint8Array, take: (bytes: Uint8Array, whole: boolean) => void): void {
    if (this.#lost) {
      take(chunk.slice(), false);
      return;
    }
    let at = 0;
    while (at < chunk.length) {
      const part = chunk.subarray(at, at + this.#wanted - this.#bytes);
      // A copy: the owner of a chunk may use its memory again.
      this.#parts.push(part.slice());
      this.#bytes += part.length;
      at += part.length;
      if (this.#bytes < this.#wanted) return;
      if (this.#wanted === 4) {
        const mark = this.#joined();
        const length = readUint32(mark, 0) & 0x7fffffff;
        if (length === 0 || length > MAX_MESSAGE_SIZE) {
          this.#lost = true;
          this.#parts = [];
          this.#bytes = 0;
          take(concatBytes(mark, chunk.subarray(at)), false);
          return;
        }
        this.#parts = [mark];
        this.#wanted = 4 + length;
        continue;
      }
      const frame = this.#joined();
      this.#parts = [];
      this.#bytes = 0;
      this.#wanted = 4;
      take(frame, true);
    }
  }

  /** What is left of a frame that did not become whole; empty between two frames. */
  rest(): Uint8Array {
    const left = this.#joined();
    this.#parts = [];
    this.#bytes = 0;
    this.#wanted = 4;
    return left;
  }

  #joined(): Uint8Array {
    return this.#parts.length === 1 ? this.#parts[0] : concatBytes(...this.#parts);
  }
}
