/**
 * The recorded remote of one connection, for one caller: it answers the caller's HELLO with the recorded one, in our identity,
 * and then says what was recorded, when it was said, within the caller's credit. What the caller asks for is answered from the
 * recording too. A recorded refusal, silent or not, comes where it came.
 */
import { readUint32, toHex } from "../../overlay/base/bytes.ts";
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { Connection } from "../../overlay/connection/connection.ts";
import { macKey, sha256 } from "../../overlay/crypto/primitives.ts";
import type { LocalNode } from "../../overlay/peer/local_node.ts";
import type { Endpoint, Listener, Socket, Transport } from "../../overlay/transport/transport.ts";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { decodeMessage, encodeMessage, isFloodType, MessageType, txSetPreimage } from "../../overlay/wire/messages.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import type { CaptureRecord } from "./format.ts";

/** One thing the recorded remote said or did. */
type Line = { message: Uint8Array } | { end: true };

/** A line, and when it may come. */
interface Cue {
  line: Line;
  type: number;
  /** HELLO and AUTH of the caller that must have come before. */
  afterHandshakes: number;
  /** ms behind the last of them, in the recording. */
  delayMs: number;
}

/** The part that was recorded, ready to be acted. */
export interface Part {
  hello: Hello | undefined;
  cues: Cue[];
  /** Tx sets and quorum sets by hash, as whole messages. */
  items: Map<string, Uint8Array>;
  remote: string;
}

/**
 * The part of a connection's remote; of the first connection on which it spoke, when `connection` is not given. Its HELLO is
 * apart. @throws OverlayError `invalid_argument` when there is no such connection
 */
export function partOf(records: Iterable<CaptureRecord>, connection?: number): Part {
  const opened: number[] = [];
  const all: CaptureRecord[] = [];
  for (const record of records) {
    if (record.type === "start" && all.length > 0) break;
    all.push(record);
    if (record.type === "open") opened.push(record.open.connection);
  }
  const spoke = (n: number) =>
    all.some((record) =>
      record.type === "frame" && record.frame.connection === n && record.frame.direction === "received"
    );
  const chosen = connection ?? opened.find(spoke) ?? opened[0];
  if (chosen === undefined || !opened.includes(chosen)) {
    const reason = opened.length === 0 ? "the capture has no connection" : `the capture has ${opened.join(", ")}`;
    throw new OverlayError({ code: "invalid_argument", argument: "--connection", reason });
  }
  const part: Part = { hello: undefined, cues: [], items: new Map(), remote: "?" };
  let handshakes = 0, handshakeMs = 0;
  const cue = (line: Line, type: number, atUs: bigint) => {
    const delayMs = Math.max(0, Number(atUs) / 1000 - handshakeMs);
    part.cues.push({ line, type, afterHandshakes: handshakes, delayMs });
  };
  for (const record of all) {
    if (record.type === "open" && record.open.connection === chosen) {
      part.remote = `${record.open.remoteHost}:${record.open.remotePort}`;
    } else if (record.type === "end" && record.end.connection === chosen && record.end.by === "remote") {
      cue({ end: true }, -1, record.end.atUs);
    } else if (record.type === "frame" && record.frame.connection === chosen && record.frame.bytes.length >= 52) {
      const { direction, atUs, bytes } = record.frame;
      const type = readUint32(bytes, 16), message = bytes.slice(16, bytes.length - 32);
      if (direction === "sent") {
        if (type !== MessageType.hello && type !== MessageType.auth) continue;
        handshakes++;
        handshakeMs = Number(atUs) / 1000;
      } else {
        if (type === MessageType.hello) {
          const decoded = decodeMessage(message);
          if (decoded.type === "hello") part.hello ??= decoded.hello;
        }
        const hash = itemHash(type, message);
        if (hash !== undefined) part.items.set(hash, message);
        cue({ message }, type, atUs);
      }
    }
  }
  // We are called now, whoever called then: our HELLO and AUTH answer the caller's.
  for (const each of part.cues) {
    if (each.type === MessageType.hello) each.afterHandshakes = Math.max(each.afterHandshakes, 1);
    else if (each.type === MessageType.auth) each.afterHandshakes = Math.max(each.afterHandshakes, 2);
  }
  let least = 1;
  for (const each of part.cues) each.afterHandshakes = least = Math.max(least, each.afterHandshakes);
  return part;
}

function itemHash(type: number, message: Uint8Array): string | undefined {
  switch (type) {
    case MessageType.txSet:
    case MessageType.generalizedTxSet:
      return toHex(sha256(concatBytes(...txSetPreimage(message))));
    case MessageType.scpQuorumset:
      return toHex(sha256(message.subarray(4)));
  }
  return undefined;
}

/** What a {@link PartServer} is made of. */
export interface PartServerOptions {
  part: Part;
  /** Our identity on the recorded network. */
  local: LocalNode;
  transport: Transport;
  listen: Endpoint;
  clock: Clock;
  /** Times the recorded speed; Infinity waits for nothing but the caller. */
  speed: number;
}

/** What became of a performance. */
export interface Performance {
  /** Messages said, of how many. */
  said: number;
  of: number;
  /** Who left first, and a word on why. */
  end: string;
}

/** Acts a part for the first caller; others are closed. */
export class PartServer {
  readonly #options: PartServerOptions;
  readonly #nonce: Uint8Array;
  readonly #cues: readonly Cue[];
  #listener: Listener | undefined;
  #connection: Connection | undefined;
  #next = 0;
  #said = 0;
  #handshakes = 0;
  #handshakeMs = 0;
  #credit = { messages: 0, bytes: 0 };
  #timer: Timer | undefined;
  #over = false;
  readonly finished: Promise<Performance>;
  #finish!: (performance: Performance) => void;

  constructor(options: PartServerOptions) {
    this.#options = options;
    this.#cues = options.part.cues;
    this.#nonce = options.local.auth.newNonce();
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** @throws OverlayError `port_in_use`, `listen_failed` */
  async start(): Promise<Endpoint> {
    const { transport, listen } = this.#options;
    this.#listener = await transport.listen(listen, (socket) => this.#onSocket(socket));
    return this.#listener.address;
  }

  /** Ends at once. */
  async stop(): Promise<void> {
    this.#end("stopped");
    await this.#listener?.close();
  }

  #onSocket(socket: Socket): void {
    if (this.#connection !== undefined) {
      socket.attach({ onData: () => {}, onEnd: () => {} });
      socket.destroy();
      return;
    }
    this.#connection = new Connection(socket, this.#options.clock, {
      onMessage: (type, message) => this.#onMessage(type, message),
      onProblem: (problem) => this.#end(`the caller's frame is wrong: ${problem.kind}`),
      onEnd: () => this.#end("the caller left"),
    });
  }

  #onMessage(type: number, message: Uint8Array): void {
    if (this.#over) return;
    switch (type) {
      case MessageType.hello:
        this.#onHello(message);
        return;
      case MessageType.auth:
        this.#connection!.allowLargeFrames();
        this.#handshake();
        return;
      case MessageType.errorMsg:
        this.#end("the caller sent ERROR_MSG");
        return;
      case MessageType.sendMoreExtended:
        this.#credit.messages += readUint32(message, 4);
        this.#credit.bytes += readUint32(message, 8);
        this.#play();
        return;
      case MessageType.getTxSet:
        this.#answer(MessageType.generalizedTxSet, message);
        return;
      case MessageType.getScpQuorumset:
        this.#answer(MessageType.scpQuorumset, message);
        return;
    }
  }

  #onHello(bytes: Uint8Array): void {
    const { local, part } = this.#options;
    const message = decodeMessage(bytes);
    if (message.type !== "hello") return;
    const keys = local.auth.sessionKeys("remoteCalledUs", this.#nonce, message.hello.cert.pubkey, message.hello.nonce);
    if (keys !== null && part.hello !== undefined) {
      this.#connection!.setKeys({ send: macKey(keys.sendKey), receive: macKey(keys.receiveKey) });
    }
    this.#handshake();
  }

  #handshake(): void {
    this.#handshakes++;
    this.#handshakeMs = this.#options.clock.nowMs();
    this.#play();
  }

  /** Answers from the recording; what is not in it, the recorded node did not have. */
  #answer(type: number, message: Uint8Array): void {
    const reqHash = message.slice(4, 36);
    const item = this.#options.part.items.get(toHex(reqHash));
    this.#connection!.send(item ?? encodeMessage({ type: "dontHave", dontHave: { type, reqHash } }));
  }

  /** Says all that is due. */
  #play(): void {
    this.#timer?.cancel();
    const { clock, speed } = this.#options;
    while (!this.#over && this.#next < this.#cues.length) {
      const cue = this.#cues[this.#next];
      if (cue.afterHandshakes > this.#handshakes) return;
      const current = cue.afterHandshakes === this.#handshakes;
      const waitMs = current ? this.#handshakeMs + cue.delayMs / speed - clock.nowMs() : 0;
      if (waitMs > 0) {
        this.#timer = clock.setTimer(waitMs, () => this.#play());
        return;
      }
      if (!this.#perform(cue)) return;
      this.#next++;
    }
  }

  /** False: the caller's credit is used up. */
  #perform({ line, type }: Cue): boolean {
    const connection = this.#connection!;
    if ("end" in line) {
      this.#end("the recorded remote left");
      return true;
    }
    let { message } = line;
    if (isFloodType(type)) {
      if (this.#credit.messages < 1 || this.#credit.bytes < message.length) return false;
      this.#credit.messages--;
      this.#credit.bytes -= message.length;
    }
    if (type === MessageType.hello) message = this.#helloMessage();
    connection.send(message);
    this.#said++;
    if (type === MessageType.errorMsg) this.#end("the recorded remote left with ERROR_MSG");
    return true;
  }

  #helloMessage(): Uint8Array {
    const { local, part } = this.#options;
    const { ledgerVersion, overlayVersion, overlayMinVersion, versionStr, listeningPort } = part.hello!;
    const hello: Hello = {
      ...local.hello(this.#nonce),
      ledgerVersion,
      overlayVersion,
      overlayMinVersion,
      versionStr,
      listeningPort,
    };
    return encodeMessage({ type: "hello", hello });
  }

  #end(end: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    const connection = this.#connection;
    connection?.shutdown();
    this.#options.clock.setTimer(CLOSE_MS, () => {
      connection?.destroy();
      void this.#listener?.close();
      this.#finish({ said: this.#said, of: this.#cues.filter(({ line }) => "message" in line).length, end });
    });
  }
}

/** Time for our last words to leave, ms. */
const CLOSE_MS = 300;
