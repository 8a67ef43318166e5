/** A remote that a test drives by hand: it knows how to shake hands, and does what no Peer would. */
import { concatBytes, readUint32 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { Connection, type FrameProblem, WIRE_OVERHEAD } from "../connection/connection.ts";
import { primitives } from "../crypto/primitives.ts";
import type { Role } from "../auth/session_keys.ts";
import type { Socket, SocketEnd } from "../transport/transport.ts";
import { decodeMessage, encodeMessage, type StellarMessage } from "../wire/messages.ts";
import type { Hello } from "../wire/types.ts";
import { LocalNode, type LocalNodeOptions } from "./local_node.ts";

export const PASSPHRASE = "Test SDF Network ; September 2015";

/** A node that is the same in every run. */
export function testNode(clock: Clock, n: number, more: Partial<LocalNodeOptions> = {}): LocalNode {
  const seed = new Uint8Array(32).fill(n);
  return new LocalNode({
    passphrase: PASSPHRASE,
    clock,
    random: new SeededRandom(n),
    seed,
    x25519Secret: seed,
    ...more,
  });
}

/** The hand-driven remote. */
export class RawRemote {
  readonly received: StellarMessage[] = [];
  /** Messages that were stand-ins. */
  undecoded = 0;
  readonly problems: FrameProblem[] = [];
  readonly ends: SocketEnd[] = [];
  readonly connection: Connection;
  readonly nonce = new Uint8Array(32).fill(0x77);
  theirHello: Hello | undefined;
  onMessage: ((message: StellarMessage) => void) | undefined;

  constructor(readonly socket: Socket, readonly node: LocalNode, readonly role: Role, clock: Clock) {
    this.connection = new Connection(socket, clock, {
      onMessage: (_, bytes) => {
        let message: StellarMessage;
        try {
          message = decodeMessage(bytes);
        } catch {
          this.undecoded++;
          return;
        }
        this.received.push(message);
        if (message.type === "hello") this.#derive(message.hello);
        this.onMessage?.(message);
      },
      onProblem: (problem) => void this.problems.push(problem),
      onEnd: (end) => void this.ends.push(end),
    });
    this.connection.allowLargeFrames();
  }

  #derive(hello: Hello): void {
    this.theirHello = hello;
    const keys = this.node.auth.sessionKeys(this.role, this.nonce, hello.cert.pubkey, hello.nonce);
    if (keys === null) return;
    this.connection.setKeys({ send: primitives.macKey(keys.sendKey), receive: primitives.macKey(keys.receiveKey) });
  }

  /** Types received, in order. */
  get types(): string[] {
    return this.received.map((message) => message.type);
  }

  send(...messages: (StellarMessage | Uint8Array)[]): void {
    for (const message of messages) {
      this.connection.send(message instanceof Uint8Array ? message : encodeMessage(message));
    }
    this.connection.flush();
  }

  hello(change: Partial<Hello> = {}): void {
    this.send({ type: "hello", hello: { ...this.node.hello(this.nonce), ...change } });
  }

  auth(flags = 200): void {
    this.send({ type: "auth", auth: { flags } });
  }

  grant(numMessages = 200, numBytes = 300_000): void {
    this.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages, numBytes } });
  }

  error(code: number, msg: string): void {
    this.send({ type: "errorMsg", error: { code, msg } });
  }

  /** Bytes that are no message of ours. */
  raw(...parts: Uint8Array[]): void {
    this.socket.write(concatBytes(...parts));
  }
}

/** A frame without sequence and MAC around `message`. */
export function bareFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(message.length + WIRE_OVERHEAD);
  new DataView(frame.buffer).setUint32(0, (0x80000000 | (frame.length - 4)) >>> 0);
  frame.set(message, 16);
  return frame;
}

/** Splits a stream into frames. */
export function splitStream(stream: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < stream.length;) {
    const end = at + 4 + (readUint32(stream, at) & 0x7fffffff);
    frames.push(stream.slice(at, end));
    at = end;
  }
  return frames;
}
