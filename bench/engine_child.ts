/**
 * A process of the engine benchmarks: a whole node (`engine`), the floor that verifies or sends (`floor`), who sends to them
 * (`sender`), or peers that only read (`sinks`). Started by engine.ts.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { systemClock } from "../overlay/base/clock.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { networkIdOf, primitives } from "../overlay/crypto/primitives.ts";
import { envelopePreimage } from "../overlay/flood/scp_state_rules.ts";
import { validators } from "../overlay/flood/scp_state_test_kit.ts";
import { transactionHash } from "../overlay/flood/transaction_pool.ts";
import { hashText, packTxHashes, txHashesOf } from "../overlay/flood/tx_adverts_hashes.ts";
import type { OverlayManager } from "../overlay/manager/overlay_manager.ts";
import { decodeMessage, MessageType } from "../overlay/wire/messages.ts";
import { scpMessages, startEngine, TCP_WORLD, transactionMessage } from "../tests/kit/load_kit.ts";
import { cpuUs, Meter, serve } from "./children.ts";
import { floorDial, floorIdentity, floorListen, type FloorPeer, PASSPHRASE } from "./floor.ts";

const NETWORK_ID = networkIdOf(PASSPHRASE);
const KEYS = validators(100);
/** SEND_MORE_EXTENDED of more than any round sends. */
const LARGE_GRANT = Uint8Array.of(0, 0, 0, 20, 0x7f, 0, 0, 0, 0xf0, 0, 0, 0);
/** What the sender writes at once. */
const WRITE_BYTES = 256 * 1024;
/** Broadcasts between two turns of the event loop. */
const BURST = 10;

/** As in receive_child.ts: grants that no round uses up, with the default batches. */
const LARGE_FLOW = {
  floodMessages: 100_000_000,
  floodBytes: 4_000_000_000,
  totalMessages: 100_000_001,
  totalBytes: 4_200_000_000,
  batchMessages: 40,
  batchBytes: 100_000,
};

/** Validly signed SCP messages of a hundred validators, in turn; each newer than its validator's last. */
function signedScp(n: number, from: number): Uint8Array[] {
  const each = Math.ceil(n / KEYS.length), now = BigInt(Math.floor(systemClock.wallMs() / 1000));
  const byKey = KEYS.map((key) => scpMessages(key, 50_000_000, each, now, from, NETWORK_ID));
  return Array.from({ length: n }, (_, i) => byKey[i % KEYS.length][Math.floor(i / KEYS.length)]);
}

// ---- The node ----

let engine: OverlayManager;
/** Messages wanted of one round, and how many had been read before it. */
let wanted = 0, before = 0, startedCpu = 0, startedMs = 0;

const messagesRead = () => engine.peers().reduce((sum, peer) => sum + peer.messagesRead, 0);

const node = {
  async listen({ validator, connections }: { validator: boolean; connections: number }) {
    engine = await startEngine(TCP_WORLD, "127.0.0.1", {
      networkPassphrase: PASSPHRASE,
      isValidator: validator,
      maxAdditionalPeerConnections: connections,
      // Room for a round of transactions; a demand round every 10 ms asks for 1,000.
      maxTxSetSizeOps: 1_000_000,
      floodDemandPeriodMs: 10,
      flowControl: LARGE_FLOW,
      // Nothing but the round itself is to be measured.
      checkMs: 3_600_000,
    });
    return { port: engine.listening!.port };
  },
  peers: () => ({ peers: engine.peers().length }),
  /** The round is over when `n` messages more were read: each is processed, and its relays sent, before the next. */
  start({ n }: { n: number }) {
    // What the last round left would fill the pool.
    const ledger = (engine.scp.tracking ?? 0) + 100 * ++rounds;
    engine.transactions.ledgerClosed(ledger);
    engine.transactions.ledgerClosed(ledger + 50);
    wanted = n;
    before = messagesRead();
    startedMs = performance.now();
    startedCpu = cpuUs();
  },
  async result() {
    while (messagesRead() - before < wanted) await new Promise((resolve) => setTimeout(resolve, 2));
    const cpu = cpuUs() - startedCpu, seconds = (performance.now() - startedMs) / 1000;
    return { perSecond: wanted / seconds, cpuUs: cpu / wanted };
  },
  /** Sends `n` SCP messages to every peer; CPU per copy. */
  async broadcast({ n, from }: { n: number; from: number }) {
    const messages = signedScp(n, from).map((bytes) => decodeMessage(bytes));
    const copies = n * engine.peers().length, cpu = cpuUs(), startedMs = performance.now();
    const written = () => engine.peers().reduce((sum, peer) => sum + peer.messagesWritten, 0);
    const first = written();
    for (let i = 0; i < n; i++) {
      engine.broadcast(messages[i]);
      if (i % BURST === BURST - 1) await new Promise((resolve) => setImmediate(resolve));
    }
    if (written() - first !== copies) throw new Error("not every copy was sent");
    return { perSecond: copies / ((performance.now() - startedMs) / 1000), cpuUs: (cpuUs() - cpu) / copies };
  },
  rss: () => memory(),
};
let rounds = 0;

async function memory() {
  for (let i = 0; i < 5; i++) {
    (globalThis as { Bun?: { gc(force: boolean): void } }).Bun?.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { rss: process.memoryUsage().rss };
}

// ---- The floor ----

const meter = new Meter();
const accepted: FloorPeer[] = [];

const floor = {
  /** `verify`: checks the signature of every SCP message, which nobody can do without. */
  async listen({ verify }: { verify: boolean }) {
    const port = await floorListen(floorIdentity(true), (peer) => {
      accepted.push(peer);
      peer.onMessage = (type, chunk, start, end) => {
        if (verify && type === MessageType.scpMessage) {
          const message = chunk.subarray(start, end), signature = message.subarray(message.length - 64);
          const preimage = envelopePreimage(NETWORK_ID, message);
          if (!primitives.verify(message.subarray(8, 40), preimage, signature)) throw new Error("signature");
        }
        meter.hit();
      };
    });
    return { port };
  },
  peers: () => ({ peers: accepted.length }),
  start: ({ n }: { n: number }) => meter.start(n),
  result: () => meter.result(),
  /** The same bursts: one frame per copy, one write per peer and burst. */
  async broadcast({ n, from }: { n: number; from: number }) {
    const messages = signedScp(n, from);
    const frameBytes = messages[0].length + 48;
    const copies = n * accepted.length, cpu = cpuUs(), startedMs = performance.now();
    for (let i = 0; i < n; i += BURST) {
      for (const peer of accepted) {
        const frames = new Uint8Array(BURST * frameBytes);
        for (let k = 0; k < BURST; k++) peer.frame(messages[i + k], frames, k * frameBytes);
        peer.socket.write(frames);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { perSecond: copies / ((performance.now() - startedMs) / 1000), cpuUs: (cpuUs() - cpu) / copies };
  },
  rss: () => memory(),
};

// ---- Who sends ----

function dial(port: number, onMessage?: FloorPeer["onMessage"]): Promise<FloorPeer> {
  return new Promise((resolve) => {
    floorDial(port, { ...floorIdentity(true), afterAuth: LARGE_GRANT }, (peer) => {
      peer.onMessage = onMessage;
      resolve(peer);
    });
  });
}

let peer: FloorPeer | undefined;
let stream: Uint8Array<ArrayBuffer> = new Uint8Array(0);
/** Transactions that were advertised, by hash: demands are answered from here. */
let offered = new Map<string, Uint8Array>();
let number = 1;

function messagesOf(kind: string, n: number, from: number): Uint8Array[] {
  const transactions = (count: number) => Array.from({ length: count }, () => transactionMessage(number++, 400));
  switch (kind) {
    case "scp":
      return signedScp(n, from);
    case "transaction":
      return transactions(n);
    case "advert": {
      const hashes = () => Array.from({ length: 20 }, () => hashText(systemRandom.bytes(32)));
      return Array.from({ length: n }, () => packTxHashes("floodAdvert", hashes()));
    }
    default: {
      // A pull: of 21 messages one is the advert of the other twenty, which are sent when they are demanded.
      const adverts: Uint8Array[] = [];
      offered = new Map();
      for (let i = 0; i < n / 21; i++) {
        const hashes = transactions(20).map((message) => {
          const hash = transactionHash(message);
          offered.set(hash, message);
          return hash;
        });
        adverts.push(packTxHashes("floodAdvert", hashes));
      }
      return adverts;
    }
  }
}

const sender = {
  async prepare({ port, kind, n, from }: { port: number; kind: string; n: number; from: number }) {
    peer?.socket.destroy();
    peer = await dial(port, (type, chunk, start, end) => {
      if (type !== MessageType.floodDemand) return;
      const frames: Uint8Array[] = [];
      for (const hash of txHashesOf(chunk.subarray(start, end))) {
        const message = offered.get(hash);
        if (message !== undefined) frames.push(peer!.frame(message, new Uint8Array(message.length + 48), 0));
      }
      if (frames.length > 0) peer!.socket.write(Buffer.concat(frames));
    });
    const messages = messagesOf(kind, n, from);
    stream = new Uint8Array(messages.reduce((sum, message) => sum + message.length + 48, 0));
    let at = 0;
    for (const message of messages) {
      peer.frame(message, stream, at);
      at += message.length + 48;
    }
    return { bytes: messages[0].length };
  },
  send() {
    const { socket } = peer!;
    let at = 0;
    const more = () => {
      while (at < stream.length) if (!socket.write(stream.subarray(at, at += WRITE_BYTES))) return;
      socket.removeListener("drain", more);
    };
    socket.on("drain", more);
    more();
  },
};

const sinks = {
  /** `count` peers that grant everything and read everything. */
  async dial({ port, count }: { port: number; count: number }) {
    for (let i = 0; i < count; i++) await dial(port);
  },
};

const [, , which] = process.argv;
serve({ engine: node, floor, sender, sinks }[which as "engine"] as Parameters<typeof serve>[0]);
