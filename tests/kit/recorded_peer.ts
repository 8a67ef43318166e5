/**
 * A peer on a real socket that says what stellar-core said in a recorded session, with keys of its own: whoever connects can
 * shake hands with it, and gets the recorded messages one by one as far as its credit goes.
 */
import { systemClock } from "../../overlay/base/clock.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer } from "../../overlay/peer/peer.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import { MessageType } from "../../overlay/wire/messages.ts";
import type { Session } from "./fixtures.ts";
import { splitFrame } from "./fixtures.ts";
import { framesOf } from "./replay_server.ts";

/** What belongs to a connection and not to what a node has to say. */
const OWN_BUSINESS = new Set(["hello", "auth", "sendMoreExtended", "peers", "errorMsg", "getScpState"]);

/** A listening one. */
export interface RecordedPeer {
  nodeId: string;
  /** `127.0.0.1:port` */
  address: string;
  /** The messages that each caller gets, in order. */
  messages: Uint8Array[];
  /** Types of the messages that callers sent, pings included. */
  received: number[];
  close(): Promise<void>;
}

/** Starts one for `session`. */
export async function startRecordedPeer(session: Session): Promise<RecordedPeer> {
  const local = new LocalNode({ passphrase: session.header.network, clock: systemClock, random: systemRandom });
  const messages = framesOf(session, "in").filter(({ type }) => !OWN_BUSINESS.has(type))
    .map(({ bytes }) => splitFrame(bytes).message.slice());
  const received: number[] = [];
  const peers = new Set<Peer>();
  const listener = await new TcpTransport().listen({ host: "127.0.0.1", port: 0 }, (socket) => {
    const peer = new Peer({
      role: "remoteCalledUs",
      socket,
      local,
      clock: systemClock,
      random: systemRandom,
      handlers: {
        onAuthenticated: () => {
          for (const message of messages) peer.send(message);
        },
        onMessage: (_, { type, bytes }) => {
          received.push(type);
          // The ping's answer is all that it knows.
          if (type !== MessageType.getScpQuorumset) return;
          const dontHave = { type: MessageType.scpQuorumset, reqHash: bytes.slice(4, 36) };
          peer.send({ type: "dontHave", dontHave });
        },
        onDropped: () => void peers.delete(peer),
      },
      settings: { ping: false, scpStateFrom: undefined },
    });
    peers.add(peer);
  });
  return {
    nodeId: local.nodeIdText,
    address: `127.0.0.1:${listener.address.port}`,
    messages,
    received,
    close: async () => {
      for (const peer of peers) peer.destroy();
      await listener.close();
    },
  };
}
