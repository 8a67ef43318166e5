/** The remote side of a recorded session on a real socket, and the recorder's own side as a LocalNode. */
import { createServer, type Socket as NetSocket } from "node:net";
import { concatBytes, readUint32 } from "../../overlay/base/bytes.ts";
import type { Clock } from "../../overlay/base/clock.ts";
import { type Random, systemRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { decodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import { type Session, type SessionFrame, splitFrame } from "./fixtures.ts";

/** The frames of a session that went one way, of one type if it is given. */
export function framesOf(session: Session, dir: "in" | "out", type?: string): SessionFrame[] {
  return session.frames.filter((frame) => frame.dir === dir && (type === undefined || frame.type === type));
}

/** The HELLO of one side. */
export function recordedHello(session: Session, dir: "in" | "out"): Hello {
  const message = decodeMessage(splitFrame(framesOf(session, dir, "hello")[0].bytes).message);
  if (message.type !== "hello") throw new Error(`${session.name} has no HELLO`);
  return message.hello;
}

/** Randomness whose bytes are the recorder's nonce. */
export function recordedRandom(session: Session): Random {
  return { ...systemRandom, bytes: (n) => session.header.nonce.slice(0, n) };
}

/** The recorder as it was; `clock` must stand at the session's `unixTime` for its certificate to come out the same. */
export function recorderNode(session: Session, clock: Clock): LocalNode {
  const { header } = session;
  const hello = recordedHello(session, "out");
  return new LocalNode({
    passphrase: header.network,
    clock,
    random: recordedRandom(session),
    seed: header.ed25519Seed,
    x25519Secret: header.x25519Secret,
    certLifetimeSeconds: header.certExpiration - header.unixTime,
    ledgerVersion: hello.ledgerVersion,
    overlayVersion: hello.overlayVersion,
    overlayMinVersion: hello.overlayMinVersion,
    versionStr: hello.versionStr,
    listeningPort: hello.listeningPort,
  });
}

/** Whether stellar-core ended the session: with ERROR_MSG, or without having sent a byte. */
export function endedByRemote(session: Session): boolean {
  const sent = framesOf(session, "in");
  return sent.length === 0 || sent.at(-1)!.type === "errorMsg";
}

/** A server that plays a session. */
export interface ReplayServer {
  host: string;
  port: number;
  /** All frames received, of all callers. */
  received: Uint8Array[];
  close(): void;
}

/**
 * Plays what stellar-core sent in `session` to everybody who connects. A frame waits until as many HELLO and AUTH arrived
 * as it had before it in the recording; nothing that arrives is checked. It closes where stellar-core did. A function
 * chooses the session by the caller's HELLO, which must be well-formed.
 */
export function startReplay(session: Session | ((hello: Hello) => Session)): Promise<ReplayServer> {
  const received: Uint8Array[] = [];
  const sockets = new Set<NetSocket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    play(session, socket, received);
  });
  return new Promise((resolve) =>
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      const { port } = server.address() as { port: number };
      resolve({
        host: "127.0.0.1",
        port,
        received,
        close: () => {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    })
  );
}

function play(chosen: Session | ((hello: Hello) => Session), socket: NetSocket, received: Uint8Array[]): void {
  let session = typeof chosen === "function" ? undefined : chosen;
  let next = 0;
  let handshakes = 0;
  let rest: Uint8Array = new Uint8Array(0);
  const advance = (session: Session) => {
    const { frames } = session;
    let open = handshakes;
    const ready: Uint8Array[] = [];
    for (let i = 0; i < frames.length; i++) {
      const { dir, type, bytes } = frames[i];
      if (dir === "out") {
        if ((type === "hello" || type === "auth") && --open < 0) break;
      } else if (i >= next) {
        ready.push(bytes);
        next = i + 1;
      }
    }
    if (ready.length > 0) socket.write(concatBytes(...ready));
    const left = frames.slice(next).some((frame) => frame.dir === "in");
    if (!left && handshakes > 0 && endedByRemote(session)) socket.end();
  };
  socket.on("data", (chunk: Uint8Array) => {
    rest = concatBytes(rest, chunk);
    while (rest.length >= 4) {
      const end = 4 + (readUint32(rest, 0) & 0x7fffffff);
      if (rest.length < end) return;
      const frame = rest.slice(0, end);
      rest = rest.slice(end);
      received.push(frame);
      const type = frame.length >= 20 ? readUint32(frame, 16) : -1;
      if (type !== MessageType.hello && type !== MessageType.auth) continue;
      handshakes++;
      if (session === undefined) {
        const message = decodeMessage(splitFrame(frame).message);
        if (message.type !== "hello") throw new Error("the first frame is no HELLO");
        session = (chosen as (hello: Hello) => Session)(message.hello);
      }
      advance(session);
    }
  });
}
