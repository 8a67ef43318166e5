/**
 * Nodes that misbehave on purpose, over real sockets: each does one thing wrong at one point of the handshake. They are
 * built on the engine's lower layers, so that everything up to that point is right.
 */
import { createServer, type Server, type Socket as NetSocket } from "node:net";
import { systemClock as clock } from "../../overlay/base/clock.ts";
import { writeUint32 } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { Connection } from "../../overlay/connection/connection.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { LocalNode, type LocalNodeOptions } from "../../overlay/peer/local_node.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Socket } from "../../overlay/transport/transport.ts";
import { decodeMessage, encodeMessage, MessageType, type StellarMessage } from "../../overlay/wire/messages.ts";
import { ERROR_CODES, type ErrorCodeName, type Hello } from "../../overlay/wire/types.ts";

/** Passphrase of all fake nodes unless told otherwise. */
export const PASSPHRASE = "Standalone Network ; February 2017";

/** Something that listens and can be closed. */
export interface FakeServer extends AsyncDisposable {
  /** `127.0.0.1:port` */
  address: string;
  port: number;
}

/** A plain TCP server that does `serve` with each caller. */
export function rawServer(serve: (socket: NetSocket) => void): Promise<FakeServer> {
  const sockets = new Set<NetSocket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    serve(socket);
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const port = (server.address() as { port: number }).port;
      resolve({
        address: `127.0.0.1:${port}`,
        port,
        [Symbol.asyncDispose]: () =>
          new Promise((done) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => done());
          }),
      });
    });
  });
}

/** One caller of a fake node, and the tools to answer it. */
export class Caller {
  readonly connection: Connection;
  readonly local: LocalNode;
  readonly #nonce = random.bytes(32);
  /** The caller has left. */
  gone = false;
  #ended = false;

  constructor(readonly socket: Socket, local: LocalNode, script: Script) {
    this.local = local;
    this.connection = new Connection(socket, clock, {
      onMessage: (type, bytes) => {
        if (type === MessageType.hello) {
          const message = decodeMessage(bytes);
          if (message.type === "hello") script.onHello?.(this, message.hello);
        } else if (type === MessageType.auth) script.onAuth?.(this);
        else script.onMessage?.(this, decodeMessage(bytes));
      },
      onProblem: () => this.end(),
      onEnd: () => {
        this.gone = true;
        this.connection.destroy();
      },
    });
    script.onConnect?.(this);
  }

  /** Our HELLO, changed as wanted. */
  sendHello(change: Partial<Hello> = {}): void {
    this.send({ type: "hello", hello: { ...this.local.hello(this.#nonce), ...change } });
  }

  /** Computes the MAC keys with the caller's HELLO and uses them from now on. */
  agree(hello: Hello): void {
    const keys = this.local.auth.sessionKeys("remoteCalledUs", this.#nonce, hello.cert.pubkey, hello.nonce)!;
    this.connection.setKeys({ send: primitives.macKey(keys.sendKey), receive: primitives.macKey(keys.receiveKey) });
    this.sendKey = keys.sendKey;
  }
  /** For frames made by hand. */
  sendKey: Uint8Array = new Uint8Array(32);

  send(message: StellarMessage): void {
    this.connection.send(encodeMessage(message));
  }

  sendError(code: ErrorCodeName, msg: string): void {
    this.send({ type: "errorMsg", error: { code: ERROR_CODES[code], msg } });
    this.end();
  }

  /** Bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.connection.flush();
    this.socket.write(bytes);
  }

  /** An authenticated frame with a sequence number and MAC key of one's own. */
  sendFrame(message: StellarMessage, sequence: number, key: Uint8Array): void {
    const bytes = encodeMessage(message);
    const frame = new Uint8Array(bytes.length + 48);
    writeUint32(frame, 0, (bytes.length + 44) | 0x80000000);
    writeUint32(frame, 12, sequence);
    frame.set(bytes, 16);
    frame.set(primitives.macKey(key).mac(frame.subarray(8, 16 + bytes.length)), 16 + bytes.length);
    this.sendRaw(frame);
  }

  /** AUTH with these flags. */
  sendAuth(flags = 200): void {
    this.send({ type: "auth", auth: { flags } });
  }

  /** Grants credit: the sign that the caller was admitted. */
  grant(): void {
    this.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 200, numBytes: 300_000 } });
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.connection.shutdown();
  }
}

/** What a fake node does at each point. */
export interface Script {
  onConnect?(caller: Caller): void;
  onHello?(caller: Caller, hello: Hello): void;
  onAuth?(caller: Caller): void;
  onMessage?(caller: Caller, message: StellarMessage): void;
}

/** A node that follows a script. */
export async function fakeNode(
  script: Script,
  options: Partial<LocalNodeOptions> = {},
): Promise<FakeServer & { local: LocalNode }> {
  const local = new LocalNode({ passphrase: PASSPHRASE, clock, random, versionStr: "fake node 1.0", ...options });
  const callers = new Set<Caller>();
  const listener = await new TcpTransport().listen({ host: "127.0.0.1", port: 0 }, (socket) => {
    callers.add(new Caller(socket, local, script));
  });
  return {
    local,
    port: listener.address.port,
    address: `127.0.0.1:${listener.address.port}`,
    [Symbol.asyncDispose]: async () => {
      for (const caller of callers) caller.connection.destroy();
      await listener.close();
    },
  };
}

/** The script of a node that does everything right, to be varied. */
export const HONEST: Required<Pick<Script, "onHello" | "onAuth" | "onMessage">> = {
  onHello(caller, hello) {
    caller.agree(hello);
    caller.sendHello();
  },
  onAuth(caller) {
    caller.sendAuth();
    caller.send({ type: "peers", peers: [{ ip: Uint8Array.of(192, 0, 2, 8), port: 11625, numFailures: 0 }] });
    caller.grant();
  },
  onMessage(caller, message) {
    if (message.type === "getScpQuorumset") {
      caller.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: message.qSetHash } });
    }
  },
};
