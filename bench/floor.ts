/**
 * The floor: what any implementation has to do, and nothing else. A hand-written HELLO and AUTH on node:net with the same
 * primitives as the engine, and a loop that takes frames apart and checks their MACs. No limits, no timers, no flow control,
 * no errors that say why: a number to compare with, not a peer to use. A frame is its length (4 bytes, bit 31 set), version 0
 * (4), sequence (8), the message, MAC (32).
 */
import { connect, createServer, type Socket } from "node:net";
import { randomFillSync } from "node:crypto";
import { type MacKey, networkIdOf, primitives, type SigningKey } from "../overlay/crypto/primitives.ts";

/** All benchmarks talk on this network. */
export const PASSPHRASE = "Standalone Network ; February 2017";
const NETWORK_ID = networkIdOf(PASSPHRASE);
const VERSION_TEXT = new TextEncoder().encode("floor of the overlay");
const ZERO_SALT = new Uint8Array(32);
const HELLO = 13, AUTH = 2, SEND_MORE_EXTENDED = 20;

type Bytes = Uint8Array<ArrayBuffer>;

/** An identity with its certificate; `hello` is the whole frame, complete but for the nonce. */
export interface FloorIdentity {
  hello: Bytes;
  nonceAt: number;
  publicKey: Uint8Array;
  agree(remote: Uint8Array): Uint8Array | null;
  /** A message to follow our AUTH, such as the first grant; undefined sends none. */
  afterAuth?: Uint8Array;
  /** Shared keys and verified certificates by remote key; undefined computes everything anew. */
  cache: Map<string, Uint8Array> | undefined;
}

/** Makes an identity: two keys and a signature. */
export function floorIdentity(cached: boolean): FloorIdentity {
  const random = () => randomFillSync(new Uint8Array(32));
  const signer: SigningKey = primitives.signingKey(random());
  const { publicKey, agree } = primitives.agreementKey(random());
  const expiration = Math.floor(Date.now() / 1000) + 3600;
  const preimage = new Uint8Array(76);
  preimage.set(NETWORK_ID);
  preimage[35] = 3;
  new DataView(preimage.buffer).setUint32(40, expiration);
  preimage.set(publicKey, 44);
  const sig = signer.sign(primitives.sha256(preimage));

  const padded = (VERSION_TEXT.length + 3) & ~3;
  const length = 12 + 4 + 12 + 32 + 4 + padded + 4 + 36 + 32 + 8 + 68 + 32 + 32;
  const hello = new Uint8Array(4 + length);
  const view = new DataView(hello.buffer);
  view.setUint32(0, (length | 0x80000000) >>> 0);
  let at = 16;
  const word = (value: number) => {
    view.setUint32(at, value);
    at += 4;
  };
  const raw = (bytes: Uint8Array) => {
    hello.set(bytes, at);
    at += bytes.length;
  };
  [HELLO, 28, 1000, 1].forEach(word);
  raw(NETWORK_ID);
  word(VERSION_TEXT.length);
  raw(VERSION_TEXT);
  at += padded - VERSION_TEXT.length;
  [11625, 0].forEach(word);
  raw(signer.publicKey);
  raw(publicKey);
  [0, expiration, 64].forEach(word);
  raw(sig);
  return { hello, nonceAt: at, publicKey, agree, cache: cached ? new Map() : undefined };
}

/** One connection after the floor's fashion. `onAuth` is called once, when both sides are authenticated. */
export class FloorPeer {
  sendKey!: MacKey;
  receiveKey!: MacKey;
  /** Sequence of the next message we send. */
  sendSequence = 0;
  /** Called with every message after AUTH: `chunk[start..end)` is the StellarMessage. */
  onMessage: ((type: number, chunk: Bytes, start: number, end: number) => void) | undefined;
  readonly socket: Socket;
  readonly #identity: FloorIdentity;
  readonly #weCalled: boolean;
  readonly #onAuth: (peer: FloorPeer) => void;
  readonly #nonce: Bytes = randomFillSync(new Uint8Array(32));
  #receiveSequence = 0;
  #rest: Bytes | undefined;

  constructor(socket: Socket, identity: FloorIdentity, weCalled: boolean, onAuth: (peer: FloorPeer) => void) {
    this.socket = socket;
    this.#identity = identity;
    this.#weCalled = weCalled;
    this.#onAuth = onAuth;
    socket.on("data", (chunk: Bytes) => this.#onData(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)));
    socket.on("error", () => {});
    if (weCalled) this.#sendHello();
  }

  #sendHello(): void {
    const frame = this.#identity.hello.slice();
    frame.set(this.#nonce, this.#identity.nonceAt);
    this.socket.write(frame);
  }

  /** Sends one message with sequence and MAC. */
  send(message: Uint8Array): void {
    this.socket.write(this.frame(message, new Uint8Array(message.length + 48), 0));
  }

  /** Writes the frame of `message` into `into` at `at`; returns `into`. */
  frame(message: Uint8Array, into: Bytes, at: number): Bytes {
    const view = new DataView(into.buffer, into.byteOffset);
    const macAt = at + 16 + message.length;
    view.setUint32(at, (message.length + 44 | 0x80000000) >>> 0);
    view.setUint32(at + 12, this.sendSequence++);
    into.set(message, at + 16);
    into.set(this.sendKey.mac(into.subarray(at + 8, macAt)), macAt);
    return into;
  }

  #onData(chunk: Bytes): void {
    let at = 0;
    if (this.#rest !== undefined) {
      const rest = this.#rest;
      // Only the one frame that straddles two chunks is put together.
      const header = rest.length >= 4 ? rest : joined(rest, chunk.subarray(0, 4 - rest.length));
      const missing = header.length < 4 ? 4 : frameLength(header, 0) - rest.length;
      const whole = joined(rest, chunk.subarray(0, missing));
      if (header.length < 4 || missing > chunk.length) {
        this.#rest = whole;
        return;
      }
      this.#rest = undefined;
      at = missing;
      this.#onFrame(whole, 4, whole.length);
    }
    while (at + 4 <= chunk.length) {
      const end = at + frameLength(chunk, at);
      if (end > chunk.length) break;
      this.#onFrame(chunk, at + 4, end);
      at = end;
    }
    if (at < chunk.length) this.#rest = chunk.slice(at);
  }

  #onFrame(chunk: Bytes, start: number, end: number): void {
    const type = chunk[start + 15];
    if (type === HELLO) return this.#onHello(chunk, start + 16);
    if (type === 0) return this.socket.destroy() as unknown as void;
    const sequence =
      ((chunk[start + 8] << 24) | (chunk[start + 9] << 16) | (chunk[start + 10] << 8) | chunk[start + 11]) >>> 0;
    if (sequence !== this.#receiveSequence++) throw new Error("sequence");
    const macAt = end - 32;
    const mac = this.receiveKey.mac(chunk.subarray(start + 4, macAt));
    let difference = 0;
    for (let i = 0; i < 32; i++) difference |= mac[i] ^ chunk[macAt + i];
    if (difference !== 0) throw new Error("MAC");
    if (type === AUTH) {
      const { afterAuth } = this.#identity;
      if (!this.#weCalled) this.#sendAuth(afterAuth);
      else if (afterAuth !== undefined) this.send(afterAuth);
      this.#onAuth(this);
    } else this.onMessage?.(type, chunk, start + 12, macAt);
  }

  /** AUTH, and `more` in the same write. */
  #sendAuth(more?: Uint8Array): void {
    const auth = Uint8Array.of(0, 0, 0, AUTH, 0, 0, 0, 200);
    if (more === undefined) return this.send(auth);
    const both = this.frame(auth, new Uint8Array(56 + 48 + more.length), 0);
    this.socket.write(this.frame(more, both, 56));
  }

  /** `at`: where the fields of HELLO begin. */
  #onHello(chunk: Bytes, at: number): void {
    const view = new DataView(chunk.buffer, chunk.byteOffset);
    const idAt = at + 12 + 32 + 4 + ((view.getUint32(at + 44) + 3) & ~3) + 8;
    const peerId = chunk.subarray(idAt, idAt + 32);
    const remoteKey = chunk.subarray(idAt + 32, idAt + 64);
    const sigAt = idAt + 76;
    const nonce = chunk.subarray(sigAt + 64, sigAt + 96);
    const { cache } = this.#identity;
    const cacheKey = cache === undefined
      ? ""
      : String.fromCharCode(this.#weCalled ? 1 : 0, ...chunk.subarray(idAt, sigAt + 64));
    let shared = cache?.get(cacheKey);
    if (shared === undefined) {
      const preimage = new Uint8Array(76);
      preimage.set(NETWORK_ID);
      preimage[35] = 3;
      preimage.set(chunk.subarray(idAt + 64, idAt + 72), 36);
      preimage.set(remoteKey, 44);
      const hash = primitives.sha256(preimage);
      if (!primitives.verify(peerId, hash, chunk.subarray(sigAt, sigAt + 64))) throw new Error("certificate");
      const ikm = new Uint8Array(96);
      ikm.set(this.#identity.agree(remoteKey)!);
      ikm.set(this.#weCalled ? this.#identity.publicKey : remoteKey, 32);
      ikm.set(this.#weCalled ? remoteKey : this.#identity.publicKey, 64);
      shared = primitives.macKey(ZERO_SALT).mac(ikm);
      cache?.set(cacheKey, shared);
    }
    const key = primitives.macKey(shared);
    const expand = (direction: number, from: Uint8Array, to: Uint8Array) => {
      const info = new Uint8Array(66);
      info[0] = direction;
      info.set(from, 1);
      info.set(to, 33);
      info[65] = 1;
      return primitives.macKey(key.mac(info));
    };
    this.sendKey = expand(this.#weCalled ? 0 : 1, this.#nonce, nonce);
    this.receiveKey = expand(this.#weCalled ? 1 : 0, nonce, this.#nonce);
    if (this.#weCalled) this.#sendAuth();
    else this.#sendHello();
  }
}

/** Length of the frame at `at`, its header included. */
function frameLength(chunk: Uint8Array, at: number): number {
  return 4 + (((chunk[at] & 0x7f) << 24) | (chunk[at + 1] << 16) | (chunk[at + 2] << 8) | chunk[at + 3]);
}

function joined(a: Bytes, b: Bytes): Bytes {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Dials 127.0.0.1 unless `host` says otherwise. */
export function floorDial(
  port: number,
  identity: FloorIdentity,
  onAuth: (peer: FloorPeer) => void,
  host = "127.0.0.1",
): Socket {
  const socket = connect({ host, port, noDelay: true });
  socket.once("connect", () => new FloorPeer(socket, identity, true, onAuth));
  return socket;
}

/** Accepts on 127.0.0.1; resolves to the port. */
export function floorListen(identity: FloorIdentity, onAuth: (peer: FloorPeer) => void): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer({ noDelay: true }, (socket) => void new FloorPeer(socket, identity, false, onAuth));
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}

/** The first grant every node sends after AUTH: 200 messages, 300,000 bytes. */
export const FIRST_GRANT = Uint8Array.of(0, 0, 0, SEND_MORE_EXTENDED, 0, 0, 0, 200, 0, 4, 0x93, 0xe0);

/** A SEND_MORE_EXTENDED's two numbers, or undefined for another message. */
export function grantOf(
  type: number,
  chunk: Uint8Array,
  start: number,
): { messages: number; bytes: number } | undefined {
  if (type !== SEND_MORE_EXTENDED) return undefined;
  const view = new DataView(chunk.buffer, chunk.byteOffset + start);
  return { messages: view.getUint32(4), bytes: view.getUint32(8) };
}
