/** What the cases of this folder share: the nodes under attack, and peers in a known state. */
import assert from "node:assert/strict";
import { concatBytes, readUint32 } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { networkIdOf, type SigningKey, signingKey } from "../../overlay/crypto/primitives.ts";
import {
  externalize,
  nominate,
  quorumSetOf,
  scpMessage,
  txSetOf,
  value,
} from "../../overlay/flood/scp_state_test_kit.ts";
import { encodeMessage, MessageType, type StellarMessage } from "../../overlay/wire/messages.ts";
import { type HelloChoices, HOSTILE_PASSPHRASE } from "../kit/hostile_keys.ts";
import { HostileDoor, HostilePeer } from "../kit/hostile_peer.ts";
import type { Target } from "../kit/hostile_target.ts";
import type { RunTarget } from "./nodes.ts";

/** The nodes under attack. */
export interface World {
  /** Defaults, but that it is a validator: it pulls transactions and fetches what SCP messages refer to. */
  readonly main: RunTarget;
  /** Drops for silence after 2 s and for straggling after 2 s, at its checks every 5 s. */
  readonly impatient: RunTarget;
  /** At most two inbound peers; one address and one node id are preferred. */
  readonly crowded: RunTarget;
  /** Few pending slots. */
  readonly slots: RunTarget;
  /** Dials {@link doors}, one after the other, and allows no private or loopback address in PEERS. */
  readonly dialer: RunTarget;
  readonly doors: { readonly [name in DoorName]: HostileDoor };
  readonly preferred: { readonly from: string; readonly port: number; readonly key: HelloChoices["identity"] };
  /** Inbound pending slots of {@link slots}. */
  readonly pendingSlots: number;
}

/** Doors that {@link World.dialer} knows, by what waits behind them. */
export const DOORS = ["twice", "empty", "entries", "silent", "echo", "badAuth", "rejects"] as const;
export type DoorName = typeof DOORS[number];

/** One case: an attack, and what must come of it. */
export type Case = (world: World) => Promise<void>;

export const NETWORK_ID = networkIdOf(HOSTILE_PASSPHRASE);

/** A peer that dialed `target` and said nothing yet. */
export function caller(target: Target, choices: HelloChoices & { from?: string } = {}): Promise<HostilePeer> {
  return HostilePeer.dial(target.address, choices);
}

/** A peer with the HELLOs exchanged. */
export async function greeted(target: Target, choices: HelloChoices & { from?: string } = {}): Promise<HostilePeer> {
  const peer = await caller(target, choices);
  await peer.greet();
  return peer;
}

/** A peer that is authenticated and has given credit. */
export async function live(
  target: Target,
  options: HelloChoices & { from?: string; grants?: boolean } = {},
): Promise<HostilePeer> {
  return await (await caller(target, options)).shake({ grants: options.grants });
}

/** An honest peer gets in, is answered, and leaves. */
export async function assertServes(target: Target, from?: string): Promise<void> {
  const peer = await live(target, { from });
  await peer.ping();
  peer.close();
}

// ---- Traffic ----

/** A validator that nobody trusts. */
export function validator(): SigningKey {
  return signingKey(random.bytes(32));
}

/** Now, as a close time. */
export function nowSeconds(): bigint {
  return BigInt(Math.floor(Date.now() / 1000));
}

/** The slot the network of {@link World.main} is at. */
let ledger = 1000, slots = 0;

/** A slot that the node takes messages of. */
export function nextSlot(): number {
  // It looks 100 slots ahead.
  return ledger + 1 + (slots++ % 90);
}

/** A quorum set, a transaction set, and a good SCP_MESSAGE that refers to both. */
export function goodEnvelope(): {
  message: Uint8Array;
  quorumSet: ReturnType<typeof quorumSetOf>;
  txSet: ReturnType<typeof txSetOf>;
} {
  const key = validator(), quorumSet = quorumSetOf([key]), txSet = txSetOf(nobodysHash());
  const content = value(key, txSet.hash, nowSeconds(), NETWORK_ID);
  return { message: scpMessage(key, nextSlot(), nominate(quorumSet.hash, content), NETWORK_ID), quorumSet, txSet };
}

/** The network's own validators, more than all others that the attacks make up. */
const VALIDATORS = Array.from({ length: 100 }, validator);

/** The network externalizes its next `count` slots. */
export async function closeLedgers(target: Target, count: number): Promise<void> {
  const quorumSet = quorumSetOf(VALIDATORS), txSet = txSetOf(nobodysHash());
  const peer = await live(target);
  peer.items.push(quorumSet.message, txSet.message);
  for (let slot = ledger + 1; slot <= ledger + count; slot++) {
    await peer.send(...VALIDATORS.map((key) => {
      const content = value(key, txSet.hash, nowSeconds(), NETWORK_ID);
      return scpMessage(key, slot, externalize(quorumSet.hash, content), NETWORK_ID);
    }));
    await peer.ping();
  }
  peer.close();
  ledger += count;
}

/**
 * A well-formed TRANSACTION that means nothing, unsigned, with `bytes` of envelope (at least 96): it uploads random bytes as a
 * contract. Only what decodes is passed on.
 */
export function junkTransaction(bytes = 300): Uint8Array {
  const head = [2, 0, ...words(random.bytes(32)), 100, 0, 1, 0, 0, 1, 0, 24, 2], tail = [0, 0, 0];
  const code = random.bytes((bytes & ~3) - 4 * (head.length + tail.length + 1));
  const transaction = concatBytes(...[...head, code.length].map(word), code, ...tail.map(word));
  return encodeMessage({ type: "transaction", transaction });
}

function words(bytes: Uint8Array): number[] {
  return Array.from({ length: bytes.length / 4 }, (_, i) => readUint32(bytes, 4 * i));
}

/** `n` hashes that nobody knows. */
export function junkHashes(n: number): Uint8Array[] {
  return Array.from({ length: n }, () => random.bytes(32));
}

/** The bytes of a message type with an arbitrary body. */
export function rawMessage(type: number, ...body: Uint8Array[]): Uint8Array {
  return concatBytes(word(type), ...body);
}

/** A uint32. */
export function word(n: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, n >>> 0);
  return bytes;
}

/** A TX_SET of `bytes` bytes that claims `n` envelopes. */
export function bigTxSet(bytes: number, n = 1): Uint8Array {
  const message = new Uint8Array(bytes);
  message.set(word(MessageType.txSet));
  message.set(word(n), 36);
  return message;
}

/** A quorum set of nested sets, as a message. Levels below the root. */
export function nestedQuorumSet(levels: number): Uint8Array {
  const message = new Uint8Array(4 + 12 * levels + 48);
  message.set(word(MessageType.scpQuorumset));
  for (let i = 0; i < levels; i++) message.set(word(1), 4 + 12 * i + 8);
  message.set(word(1), 4 + 12 * levels + 4); // the innermost set has one validator
  return message;
}

/** How many messages the node granted, its first grant included. */
export function granted(peer: HostilePeer): { messages: number; bytes: number } {
  let messages = 0, bytes = 0;
  for (const message of peer.received) {
    if (message.type !== "sendMoreExtended") continue;
    messages += message.sendMoreExtended.numMessages;
    bytes += message.sendMoreExtended.numBytes;
  }
  return { messages, bytes };
}

/** The SCP messages a peer was sent, encoded. */
export function relayedTo(peer: HostilePeer): Uint8Array[] {
  return peer.received.filter((m): m is StellarMessage & { type: "scpMessage" } => m.type === "scpMessage")
    .map((m) => encodeMessage(m));
}

/** A hash nobody has. */
export function nobodysHash(): Uint8Array {
  return random.bytes(32);
}

/** Runs several attacks of one case at once. */
export async function each<T>(items: readonly T[], attack: (item: T) => Promise<void>): Promise<void> {
  await Promise.all(items.map(async (item, i) => {
    try {
      await attack(item);
    } catch (error) {
      const what = typeof item === "object" ? `number ${i}` : String(item);
      throw new assert.AssertionError({ message: `${what}: ${(error as Error).message}` });
    }
  }));
}
