/**
 * A peer that does the protocol right until a test makes it do wrong: it shakes hands with an identity of its own, sends any
 * bytes at any point, and keeps what it was told and how its connection ended. It shares codecs and cryptography with the
 * engine, and none of its connections, peers or handshakes.
 */
import { Buffer } from "node:buffer";
import { connect, createServer, type Server, type Socket } from "node:net";
import { concatBytes, equalBytes, readUint32, toHex } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import {
  decodeMessage,
  encodeMessage,
  MessageType,
  type StellarMessage,
  txSetPreimage,
} from "../../overlay/wire/messages.ts";
import { errorCodeName } from "../../overlay/wire/types.ts";
import { Conditions } from "../interop/waiting.ts";
import { type FrameChoices, frameOf, type HelloChoices, HostileSession } from "./hostile_keys.ts";

/** Longest wait for anything the node does without a timer. */
export const PROMPT_MS = 20_000;

/** How a connection ended, as the wire shows it. */
export interface WireEnd {
  /** `ERR_AUTH unexpected MAC`; undefined when the node said nothing. */
  error: string | undefined;
  /** Whether it was closed in order or reset. */
  how: "eof" | "reset";
}

/** One connection. */
export class HostilePeer {
  readonly session: HostileSession;
  /** Our end of the TCP connection. */
  readonly local: Address;
  /** Messages of the node in order, ERROR_MSG included. */
  readonly received: StellarMessage[] = [];
  /** Bytes of the node's stream. */
  bytesReceived = 0;
  /** Frames whose sequence or MAC was wrong: the node must never send one. */
  readonly badFrames: string[] = [];
  end: WireEnd | undefined;
  /** Answers questions for items: from {@link items}, else with DONT_HAVE, as an honest peer does. */
  answersPings = true;
  /** SCP_QUORUMSET, TX_SET and GENERALIZED_TX_SET messages that this peer has. */
  readonly items: Uint8Array[] = [];
  /** Hashes the node asked for, hex. */
  readonly asked = new Set<string>();
  readonly #socket: Socket;
  readonly #called: boolean;
  readonly #changes = new Conditions();
  #error: string | undefined;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #sendSequence = 0n;
  #receiveSequence = 0n;
  /** Frames sent with a number, to be sent again. */
  readonly sent: Uint8Array[] = [];

  constructor(socket: Socket, called: boolean, choices: HelloChoices = {}) {
    this.session = new HostileSession(choices);
    this.#socket = socket;
    this.local = { host: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.#called = called;
    socket.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    socket.on("error", () => this.#ended("reset"));
    socket.on("end", () => this.#ended("eof"));
    socket.on("close", () => this.#ended("eof"));
  }

  /** Dials the node; resolves when TCP is connected. `from` is a loopback address, a new one each time when absent. */
  static dial(to: Address, choices: HelloChoices & { from?: string } = {}): Promise<HostilePeer> {
    return new Promise((resolve, reject) => {
      const localAddress = choices.from ?? freshAddress();
      const socket = connect({ host: to.host, port: to.port, localAddress, allowHalfOpen: true });
      socket.setNoDelay(true);
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.removeListener("error", reject);
        resolve(new HostilePeer(socket, true, choices));
      });
    });
  }

  get nodeIdText(): string {
    return this.session.identity.nodeIdText;
  }

  // ---- Sending ----

  /** Any bytes; resolves when the system took them. */
  write(...parts: Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) resolve();
      else this.#socket.write(concatBytes(...parts), () => resolve());
    });
  }

  /** The same bytes `chunk` by `chunk`, with a pause between; stops when the connection ends. */
  async drip(bytes: Uint8Array, chunk: number, pauseMs: number): Promise<void> {
    for (let at = 0; at < bytes.length && this.end === undefined; at += chunk) {
      await this.write(bytes.subarray(at, at + chunk));
      await pause(pauseMs);
    }
  }

  /** Sends HELLO without a number. */
  hello(): Promise<void> {
    return this.write(frameOf(encodeMessage({ type: "hello", hello: this.session.hello })));
  }

  /** A frame with the next number and the right MAC, not sent yet. */
  frame(message: StellarMessage | Uint8Array, choices: FrameChoices = {}): Uint8Array {
    const bytes = message instanceof Uint8Array ? message : encodeMessage(message);
    const sequence = this.#sendSequence++;
    const frame = frameOf(bytes, { sequence, key: this.session.sendKey, ...choices });
    this.sent.push(frame);
    if (this.sent.length > 8) this.sent.shift();
    return frame;
  }

  /** Messages as an honest peer sends them, in one write. */
  send(...messages: (StellarMessage | Uint8Array)[]): Promise<void> {
    return this.write(...messages.map((message) => this.frame(message)));
  }

  /** ERROR_MSG, which has no number and no MAC. */
  error(code: number, msg: string): Promise<void> {
    return this.write(frameOf(encodeMessage({ type: "errorMsg", error: { code, msg } })));
  }

  grant(numMessages = 200, numBytes = 300_000): Promise<void> {
    return this.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages, numBytes } });
  }

  // ---- The honest part ----

  /** HELLO of both sides: keys are known afterwards. */
  async greet(): Promise<void> {
    if (this.#called) await this.hello();
    await this.saw("HELLO", (m) => m.type === "hello");
    if (!this.#called) await this.hello();
  }

  /** The whole handshake up to the node's first grant. `grants` false keeps all credit from the node. */
  async shake(options: { flags?: number; grants?: boolean } = {}): Promise<this> {
    await this.greet();
    if (!this.#called) await this.saw("AUTH", (m) => m.type === "auth");
    await this.send({ type: "auth", auth: { flags: options.flags ?? 200 } });
    if (options.grants !== false) await this.grant();
    await this.saw("a grant", (m) => m.type === "sendMoreExtended");
    return this;
  }

  /** Asks for a quorum set nobody has and waits for the answer: the node still serves us. */
  async ping(): Promise<void> {
    const qSetHash = random.bytes(32);
    await this.send({ type: "getScpQuorumset", qSetHash });
    await this.saw("the answer to a query", (m) => m.type === "dontHave" && equalBytes(m.dontHave.reqHash, qSetHash));
  }

  /** Waits for a message; fails when the connection ends before. */
  async saw(what: string, wanted: (message: StellarMessage) => boolean): Promise<StellarMessage> {
    await this.until(what, () => this.received.some(wanted));
    return this.received.find(wanted)!;
  }

  /** Waits for any condition that a message or the end of the connection may bring about. */
  until(what: string, condition: () => boolean): Promise<void> {
    return this.#changes.until(PROMPT_MS, what, () => {
      if (condition()) return true;
      if (this.end !== undefined) {
        throw new Error(`ended (${this.end.error ?? "without a word"}, ${this.end.how}) while waiting for: ${what}`);
      }
      return false;
    });
  }

  /** How many messages of a type arrived. */
  count(type: StellarMessage["type"]): number {
    return this.received.filter((message) => message.type === type).length;
  }

  /** Waits for the end that the node makes. */
  async ended(limitMs = PROMPT_MS): Promise<WireEnd> {
    await this.#changes.until(limitMs, "the end of the connection", () => this.end !== undefined);
    this.close();
    return this.end!;
  }

  // ---- Reading ----

  /** Takes nothing from the socket any more: the node's bytes pile up. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Closes our direction only. */
  halfClose(): void {
    this.#socket.end();
  }

  /** Leaves, in order. */
  close(): void {
    this.#socket.end();
    this.#socket.destroy();
  }

  /** Leaves with a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #ended(how: WireEnd["how"]): void {
    if (this.end !== undefined) return;
    this.end = { error: this.#error, how };
    this.#socket.end();
    this.#changes.changed();
  }

  #onData(chunk: Uint8Array): void {
    this.bytesReceived += chunk.length;
    this.#unread.push(chunk);
    this.#unreadBytes += chunk.length;
    let known = this.#unread[0];
    while (this.#unreadBytes >= 4) {
      if (known.length < 4) known = this.#join();
      const end = 4 + (readUint32(known, 0) & 0x7fffffff);
      if (this.#unreadBytes < end) break;
      if (known.length < end) known = this.#join();
      const frame = new Uint8Array(known.subarray(0, end));
      known = known.subarray(end);
      if (known.length === 0) this.#unread.shift();
      else this.#unread[0] = known;
      this.#unreadBytes -= end;
      this.#onFrame(frame);
      known = this.#unread[0];
    }
    this.#changes.changed();
  }

  #join(): Uint8Array {
    const all = new Uint8Array(Buffer.concat(this.#unread));
    this.#unread = [all];
    return all;
  }

  #onFrame(frame: Uint8Array): void {
    const bytes = frame.subarray(16, frame.length - 32);
    const message = decodeMessage(bytes);
    const checked = message.type !== "errorMsg" && message.type !== "hello";
    if (checked && this.session.receiveKey !== undefined) {
      const sequence = new DataView(frame.buffer).getBigUint64(8);
      if (sequence !== this.#receiveSequence++) this.badFrames.push(`sequence ${sequence}`);
      const mac = primitives.macKey(this.session.receiveKey).mac(frame.subarray(8, frame.length - 32));
      if (!equalBytes(mac, frame.subarray(frame.length - 32))) this.badFrames.push(`MAC of ${message.type}`);
    }
    this.received.push(message);
    if (message.type === "hello") this.session.derive(message.hello, this.#called);
    else if (message.type === "errorMsg") {
      this.#error = `${errorCodeName(message.error.code)} ${message.error.msg}`;
    } else if (message.type === "getScpQuorumset") this.#onQuestion(MessageType.scpQuorumset, message.qSetHash);
    else if (message.type === "getTxSet") this.#onQuestion(MessageType.generalizedTxSet, message.txSetHash);
  }

  #onQuestion(type: number, reqHash: Uint8Array): void {
    this.asked.add(toHex(reqHash));
    const item = this.items.find((one) => equalBytes(primitives.sha256(concatBytes(...txSetPreimage(one))), reqHash));
    if (item !== undefined) void this.send(item);
    else if (this.answersPings && type === MessageType.scpQuorumset) {
      void this.send({ type: "dontHave", dontHave: { type, reqHash } });
    }
  }

  /** For messages of failed tests. */
  toString(): string {
    const types = this.received.map((m) => m.type).slice(-20).join(" ");
    return `${toHex(this.session.identity.nodeId).slice(0, 8)} received ${types}`;
  }
}

let dialed = 0;
/** A loopback address that no connection of this process had before, so that a log line by address is about one of them. */
function freshAddress(): string {
  const n = ++dialed;
  return `127.${100 + ((n >> 16) & 63)}.${(n >> 8) & 255}.${n & 255}`;
}

/** Where somebody listens. */
export interface Address {
  host: string;
  port: number;
}

/** A door for nodes that dial: every caller becomes a {@link HostilePeer} that has not said anything yet. */
export class HostileDoor {
  readonly address: Address;
  readonly #server: Server;
  readonly #callers: HostilePeer[] = [];
  readonly #changes = new Conditions();

  private constructor(server: Server, host: string) {
    this.#server = server;
    this.address = { host, port: (server.address() as { port: number }).port };
  }

  /** Opens a door on a loopback address. `choices` are those of every caller's session. */
  static open(host: string, choices: () => HelloChoices = () => ({})): Promise<HostileDoor> {
    return new Promise((resolve) => {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.setNoDelay(true);
        door.#callers.push(new HostilePeer(socket, false, choices()));
        door.#changes.changed();
      });
      let door: HostileDoor;
      server.listen(0, host, () => resolve(door = new HostileDoor(server, host)));
    });
  }

  /** The next caller, each given out once. */
  async next(): Promise<HostilePeer> {
    await this.#changes.until(PROMPT_MS, "a caller", () => this.#callers.length > 0);
    return this.#callers.shift()!;
  }

  close(): void {
    for (const caller of this.#callers) caller.close();
    this.#server.close();
  }
}

/** A real pause: for drips and floods, never for a verdict. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
