/** Recorded sessions played to a whole engine in virtual time, each as one connection, at their recorded times. */
import { createHmac } from "node:crypto";
import { sessionKeys, sharedKey } from "../../overlay/auth/session_keys.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import type { Timer } from "../../overlay/base/clock.ts";
import type { VirtualClock } from "../../overlay/base/clock.ts";
import { type Random, SeededRandom } from "../../overlay/base/random.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import type { MemoryNetwork } from "../../overlay/transport/memory.ts";
import type { Endpoint, Socket, Transport } from "../../overlay/transport/transport.ts";
import type { Session, SessionFrame } from "./fixtures.ts";
import { FrameTap } from "./frame_tap.ts";
import { endedByRemote, recordedHello } from "./replay_server.ts";
import { FakeSocket } from "./transport_suite.ts";

/** A frame of stellar-core, on the clock that all sessions share. */
export interface Timed {
  atMs: number;
  /** Index of its session. */
  session: number;
  frame: SessionFrame;
}

/** The frames that stellar-core sent in all of `sessions`, in the order of their times. `startMs` of each session's zero. */
export function timeline(sessions: readonly Session[], startMs: readonly number[]): Timed[] {
  return sessions.flatMap(({ frames }, session) =>
    frames.filter(({ dir }) => dir === "in").map((frame) => ({ atMs: startMs[session] + frame.ms, session, frame }))
  ).sort((a, b) => a.atMs - b.atMs);
}

/** The remote end of a played session. */
export class PlayedPeer {
  readonly socket: FakeSocket;
  readonly tap: FrameTap;
  /** What the engine wrote: messages, their whole frames, and those messages that had come from here or gone here before. */
  readonly written: Uint8Array[] = [];
  readonly frames: Uint8Array[] = [];
  readonly repeated: Uint8Array[] = [];
  readonly #known = new Set<string>();
  #taken = 0;

  constructor(role: FrameTap["role"], remote: Endpoint) {
    this.socket = new FakeSocket(remote);
    this.tap = new FrameTap(role, remote, (_, direction, message, frame) => {
      const hex = toHex(message);
      if (direction === "written") {
        this.written.push(message);
        this.frames.push(frame);
        if (this.#known.has(hex)) this.repeated.push(message);
      }
      this.#known.add(hex);
    });
  }

  /** stellar-core sends. */
  feed(bytes: Uint8Array): void {
    this.collect();
    this.tap.push("read", bytes);
    this.socket.feed(bytes);
  }

  /** Takes what the engine wrote since the last time. */
  collect(): void {
    for (const chunk of this.socket.writes.slice(this.#taken)) this.tap.push("written", chunk);
    this.#taken = this.socket.writes.length;
  }
}

/** The engine's network: dials to a played peer's address meet it, everything else is `net`'s. */
export function playedTransport(
  net: MemoryNetwork,
  host: string,
  peers: readonly PlayedPeer[],
): Transport & { accept: ((socket: Socket) => void) | undefined } {
  const inner = net.transport(host);
  return {
    accept: undefined,
    dial(to, options, handlers) {
      const peer = peers.find(({ tap: { remote } }) => remote.host === to.host && remote.port === to.port);
      if (peer === undefined) return inner.dial(to, options, handlers);
      const timer: Timer = net.clock.setTimer(0, () => handlers.onConnect(peer.socket));
      return { cancel: () => timer.cancel() };
    },
    listen(at, onSocket) {
      this.accept = onSocket;
      return inner.listen(at, onSocket);
    },
  };
}

/** Randomness that gives `nonce` whenever 32 bytes are asked for, and a fixed sequence otherwise. */
export function nonceRandom(nonce: Uint8Array): Random {
  const random = new SeededRandom(7);
  return {
    next: () => random.next(),
    int: (below) => random.int(below),
    bytes: (n) => n === nonce.length ? nonce.slice() : random.bytes(n),
  };
}

/**
 * The recorded frames with MACs for our keys, when several recorders' sessions go to one node: `secret` is its Curve25519
 * secret, `nonce` that of all its connections. HELLO stays as it is: its certificate holds for whoever reads it.
 */
export function forOurKeys(
  sessions: readonly Session[],
  secret: Uint8Array,
  nonce: Uint8Array,
): (timed: Timed) => Uint8Array {
  const ours = primitives.agreementKey(secret);
  const keys = sessions.map((session) => {
    const remote = recordedHello(session, "in");
    const shared = sharedKey(ours, remote.cert.pubkey, "weCalledRemote")!;
    return sessionKeys(shared, nonce, remote.nonce, "weCalledRemote").receiveKey;
  });
  return ({ session, frame: { bytes, type } }) => {
    const frame = bytes.slice();
    if (type !== "hello") {
      const mac = createHmac("sha256", keys[session]).update(frame.subarray(8, frame.length - 32)).digest();
      frame.set(mac, frame.length - 32);
    }
    return frame;
  };
}

/**
 * Feeds `frames` at their times, as `translate` gives them, and ends each session that stellar-core ended; then lets
 * `lingerMs` pass.
 */
export async function play(
  clock: VirtualClock,
  sessions: readonly Session[],
  peers: readonly PlayedPeer[],
  frames: readonly Timed[],
  lingerMs: number,
  translate: (timed: Timed) => Uint8Array = ({ frame }) => frame.bytes.slice(),
): Promise<void> {
  await clock.advance(0);
  for (const timed of frames) {
    await clock.advance(Math.max(0, timed.atMs - clock.nowMs()));
    peers[timed.session].feed(translate(timed));
    await clock.advance(0);
  }
  sessions.forEach((session, i) => endedByRemote(session) && peers[i].socket.end());
  await clock.advance(lingerMs);
  for (const peer of peers) peer.collect();
}
