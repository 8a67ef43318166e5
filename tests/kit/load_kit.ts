/** Whole engines and plain peers for load: over real TCP on 127.0.0.1, or on a simulated network in virtual time. */
import { readUint32, writeUint32 } from "../../overlay/base/bytes.ts";
import { type Clock, sleep, systemClock } from "../../overlay/base/clock.ts";
import { type OverlayConfigChanges, standalone } from "../../overlay/base/config.ts";
import { type Random, systemRandom } from "../../overlay/base/random.ts";
import type { SigningKey } from "../../overlay/crypto/primitives.ts";
import { type Database, openDatabase } from "../../overlay/db/database.ts";
import { migrate } from "../../overlay/db/schema.ts";
import { NETWORK_ID, prepare, scpMessage, value } from "../../overlay/flood/scp_state_test_kit.ts";
import { OverlayManager, type OverlayManagerOptions } from "../../overlay/manager/overlay_manager.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer, type PeerHandlers, type PeerSettings } from "../../overlay/peer/peer.ts";
import { systemResolver, TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Transport } from "../../overlay/transport/transport.ts";
import { packTxHashes } from "../../overlay/flood/tx_adverts_hashes.ts";
import { MessageType } from "../../overlay/wire/messages.ts";

/** The network of the SCP test kit, so that its messages are validly signed here. */
export const LOAD_PASSPHRASE = "scp state tests";

/** Where engines and peers live. */
export interface LoadWorld {
  clock: Clock;
  random: Random;
  /** The way out of a host. */
  transport(host: string): Transport;
}

/** Real sockets. */
export const TCP_WORLD: LoadWorld = {
  clock: systemClock,
  random: systemRandom,
  transport: (host) => new TcpTransport({ localHost: host }),
};

/** Starts an engine that dials nobody unless `changes` say otherwise. Its database is in memory unless given. */
export async function startEngine(
  world: LoadWorld,
  host: string,
  changes: OverlayConfigChanges = {},
  options: Partial<OverlayManagerOptions> = {},
): Promise<OverlayManager> {
  const engine = new OverlayManager({
    config: standalone({
      networkPassphrase: LOAD_PASSPHRASE,
      listeningHost: host,
      listeningPort: 0,
      startDelayMs: 1,
      noDial: true,
      ...changes,
    }),
    transport: world.transport(host),
    resolver: systemResolver,
    clock: world.clock,
    random: world.random,
    database: options.database ?? await memoryDatabase(),
    ...options,
  });
  await engine.start();
  return engine;
}

/** An empty database of the newest schema. */
export async function memoryDatabase(): Promise<Database> {
  const database = await openDatabase(":memory:");
  migrate(database);
  return database;
}

/** A peer with an identity of its own that dialed `engine` and was admitted; fails when it was not. */
export function dialPeer(
  world: LoadWorld,
  engine: OverlayManager,
  host: string,
  handlers: Partial<PeerHandlers> = {},
  settings: Partial<PeerSettings> = {},
  listeningPort = 11625,
): Promise<Peer> {
  const local = new LocalNode({
    passphrase: LOAD_PASSPHRASE,
    clock: world.clock,
    random: world.random,
    listeningPort,
  });
  return new Promise((resolve, reject) => {
    world.transport(host).dial(engine.listening!, { timeoutMs: 5000 }, {
      onConnect: (socket) => {
        const peer: Peer = new Peer({
          role: "weCalledRemote",
          socket,
          local,
          clock: world.clock,
          random: world.random,
          settings: { scpStateFrom: undefined, ...settings },
          handlers: {
            onMessage: () => {},
            ...handlers,
            onDropped: (dropped, drop) => {
              reject(new Error(drop.reason));
              handlers.onDropped?.(dropped, drop);
            },
            onFirstGrant: (granted) => {
              resolve(peer);
              handlers.onFirstGrant?.(granted);
            },
          },
        });
      },
      onFail: (failure) => reject(new Error(failure.code)),
    });
  });
}

/** Validly signed SCP messages of one validator, each newer than the one before; `from` is the first one's counter. */
export function scpMessages(
  key: SigningKey,
  slot: number,
  count: number,
  closeTime: bigint,
  from = 1,
  networkId: Uint8Array = NETWORK_ID,
): Uint8Array[] {
  const voted = value(key, new Uint8Array(32).fill(2), closeTime, networkId);
  const quorumSetHash = new Uint8Array(32).fill(1);
  return Array.from(
    { length: count },
    (_, i) => scpMessage(key, slot, prepare(quorumSetHash, from + i, voted), networkId),
  );
}

/** Ballot counter of such a message: it follows type, node id (type and key), slot, pledge type and quorum set hash. */
export function counterOf(message: Uint8Array): number {
  return readUint32(message, 4 + 36 + 8 + 4 + 32);
}

/** A TRANSACTION message of `size` bytes that no other number gives. */
export function transactionMessage(number: number, size = 200): Uint8Array {
  const message = new Uint8Array(size);
  writeUint32(message, 0, MessageType.transaction);
  writeUint32(message, 4, 2);
  writeUint32(message, 8, number);
  return message;
}

/** A FLOOD_ADVERT of one hash. */
export function advertMessage(number: number): Uint8Array {
  return packTxHashes("floodAdvert", [number.toString(16).padStart(64, "0")]);
}

/** Waits until `holds`, looking after every pause of `everyMs`; fails after `limitMs`. */
export async function until(what: string, holds: () => boolean, limitMs = 30_000, everyMs = 5): Promise<void> {
  const endMs = systemClock.nowMs() + limitMs;
  while (!holds()) {
    if (systemClock.nowMs() > endMs) throw new Error(`not in ${limitMs} ms: ${what}`);
    await sleep(systemClock, everyMs);
  }
}
