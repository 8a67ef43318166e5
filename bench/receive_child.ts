/** A receiver (`floor` or `ours`) or the sender of the receive benchmark. Started by receive.ts. */
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { DEFAULT_FLOW_CONTROL } from "../overlay/connection/flow_control.ts";
import { LocalNode } from "../overlay/peer/local_node.ts";
import { Peer } from "../overlay/peer/peer.ts";
import { TcpTransport } from "../overlay/transport/tcp.ts";
import { encodeMessage } from "../overlay/wire/messages.ts";
import { Meter, serve } from "./children.ts";
import { floorDial, floorIdentity, floorListen, type FloorPeer, grantOf, PASSPHRASE } from "./floor.ts";

/** What the sender writes at once when no credit holds it back. */
const WRITE_BYTES = 256 * 1024;

/**
 * Grants that no round uses up. Batches stay at their defaults, so the engine still sends a grant for every 40 messages or
 * 100,000 bytes it processed: that work is measured too.
 */
const LARGE_GRANTS = {
  ...DEFAULT_FLOW_CONTROL,
  floodMessages: 100_000_000,
  floodBytes: 4_000_000_000,
  totalMessages: 100_000_001,
  totalBytes: 5_000_000_000,
};

const meter = new Meter();
const receiver = {
  start: ({ n }: { n: number }) => meter.start(n),
  result: () => meter.result(),
};

async function oursListen({ credit }: { credit: boolean }): Promise<{ port: number }> {
  const local = new LocalNode({ passphrase: PASSPHRASE, clock: systemClock, random: systemRandom });
  const settings = { scpStateFrom: undefined, ping: false, ...(credit ? {} : { flowControl: LARGE_GRANTS }) };
  const listener = await new TcpTransport().listen({ host: "127.0.0.1", port: 0 }, (socket) => {
    new Peer({
      role: "remoteCalledUs",
      socket,
      local,
      clock: systemClock,
      random: systemRandom,
      settings,
      handlers: {
        onMessage: () => meter.hit(),
        onDropped(_, drop) {
          if (drop.by === "us") throw new Error(drop.reason);
        },
      },
    });
  });
  return { port: listener.address.port };
}

async function floorReceive(): Promise<{ port: number }> {
  const port = await floorListen(floorIdentity(true), (peer) => (peer.onMessage = () => meter.hit()));
  return { port };
}

/** The message of a kind, as StellarMessage bytes. */
async function messageOf(kind: string): Promise<Uint8Array> {
  const hash = () => systemRandom.bytes(32);
  if (kind === "advert") return encodeMessage({ type: "floodAdvert", txHashes: Array.from({ length: 20 }, hash) });
  if (kind === "scp") {
    return encodeMessage({
      type: "scpMessage",
      envelope: {
        statement: {
          nodeId: hash(),
          slotIndex: 50_000_000n,
          pledges: {
            type: "externalize",
            externalize: { commit: { counter: 1, value: systemRandom.bytes(152) }, nH: 1, commitQuorumSetHash: hash() },
          },
        },
        signature: systemRandom.bytes(64),
      },
    });
  }
  // A payment of two operations, made by stellar-base because the connector decodes it with stellar-base.
  const { Account, Asset, Keypair, Operation, TransactionBuilder } = await import("@stellar/stellar-base");
  const [from, to] = [Keypair.random(), Keypair.random()];
  const payment = () => Operation.payment({ destination: to.publicKey(), asset: Asset.native(), amount: "1" });
  const tx = new TransactionBuilder(new Account(from.publicKey(), "1"), { fee: "100", networkPassphrase: PASSPHRASE })
    .addOperation(payment()).addOperation(payment()).setTimeout(0).build();
  tx.sign(from);
  return encodeMessage({ type: "transaction", transaction: new Uint8Array(tx.toEnvelope().toXDR()) });
}

let peer: FloorPeer | undefined;
let stream = new Uint8Array(0);
let frameBytes = 0;
/** Messages and bytes the receiver lets us send. */
let credit = { messages: 0, bytes: 0 };
let onCredit: (() => void) | undefined;

const sender = {
  /** Dials, and prepares the bytes of `n` messages with their sequences and MACs. */
  async prepare({ port, kind, n }: { port: number; kind: string; n: number }) {
    peer?.socket.destroy();
    credit = { messages: 0, bytes: 0 };
    const ready = await new Promise<FloorPeer>((resolve) => {
      floorDial(port, floorIdentity(true), (dialed) => {
        dialed.onMessage = (type, chunk, start) => {
          const grant = grantOf(type, chunk, start);
          if (grant === undefined) return;
          credit.messages += grant.messages;
          credit.bytes += grant.bytes;
          onCredit?.();
        };
        resolve(dialed);
      });
    });
    peer = ready;
    const message = await messageOf(kind);
    frameBytes = message.length + 48;
    stream = new Uint8Array(n * frameBytes);
    for (let i = 0; i < n; i++) ready.frame(message, stream, i * frameBytes);
    return { bytes: message.length };
  },
  /** Writes them: all at once in large pieces, or only what the receiver granted. */
  send({ obey }: { obey: boolean }) {
    const { socket } = peer!;
    let at = 0;
    if (obey) {
      const more = () => {
        const size = frameBytes - 48;
        const n = Math.min(credit.messages, Math.floor(credit.bytes / size), (stream.length - at) / frameBytes);
        if (n === 0) return;
        credit.messages -= n;
        credit.bytes -= n * size;
        socket.write(stream.subarray(at, at += n * frameBytes));
      };
      onCredit = more;
      more();
      return;
    }
    onCredit = undefined;
    const more = () => {
      while (at < stream.length) if (!socket.write(stream.subarray(at, at += WRITE_BYTES))) return;
      socket.removeListener("drain", more);
    };
    socket.on("drain", more);
    more();
  },
};

const [, , which] = process.argv;
if (which === "sender") serve(sender);
else serve({ ...receiver, listen: which === "floor" ? floorReceive : oursListen });
