/** Attacks with adverts, demands, transactions, SCP messages, items and queries. None of them ends a connection. */
import assert from "node:assert/strict";
import { equalBytes, toHex } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import {
  externalize,
  nominate,
  prepare,
  quorumSetOf,
  scpMessage,
  txSetOf,
  value,
} from "../../overlay/flood/scp_state_test_kit.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { encodeStellarValue } from "../../overlay/wire/types.ts";
import type { HostilePeer } from "../kit/hostile_peer.ts";
import { assertKept } from "../kit/hostile_target.ts";
import {
  bigTxSet,
  type Case,
  each,
  goodEnvelope,
  junkHashes,
  junkTransaction,
  live,
  NETWORK_ID,
  nextSlot,
  nobodysHash,
  nowSeconds,
  rawMessage,
  relayedTo,
  validator,
  word,
} from "./world.ts";

/** Whether a peer was sent this very message. */
function has(peer: HostilePeer, message: Uint8Array): boolean {
  return relayedTo(peer).some((relayed) => equalBytes(relayed, message));
}

/** The last word of a peer was taken, and what it caused has been sent to the others. */
async function settled(...peers: HostilePeer[]): Promise<void> {
  for (const peer of peers) await peer.ping();
}

export const FLOODING: Record<string, Case> = {
  "adverts of hashes that never come": async (world) => {
    const peers = await Promise.all(Array.from({ length: 4 }, () => live(world.main)));
    const same = junkHashes(1000);
    for (let i = 0; i < 60; i++) {
      for (const peer of peers) {
        await peer.send(
          { type: "floodAdvert", txHashes: junkHashes(1000) },
          { type: "floodAdvert", txHashes: same },
        );
      }
    }
    for (const peer of peers) {
      await assertKept(world.main, peer);
      peer.close();
    }
  },

  "demands for what nobody has, and for one transaction over and over": async (world) => {
    const owner = await live(world.main), greedy = await live(world.main, { grants: false });
    const transaction = junkTransaction(400), hash = sha256(transaction.subarray(4));
    await owner.send(transaction);
    await owner.ping();
    await greedy.send({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 25, numBytes: 1_000_000 } });
    for (let i = 0; i < 100; i++) {
      await greedy.send(
        { type: "floodDemand", txHashes: junkHashes(1000) },
        { type: "floodDemand", txHashes: Array(10).fill(hash) },
      );
    }
    await assertKept(world.main, greedy);
    // The asker pays with its credit, of which its own adverts took some.
    assert.ok(greedy.count("transaction") > 0 && greedy.count("transaction") <= 25, `${greedy.count("transaction")}`);
    owner.close();
    greedy.close();
  },

  "transactions that mean nothing": async (world) => {
    const peer = await live(world.main);
    const fill = (kind: number, length: number) => {
      const body = random.bytes(length);
      body.set(word(kind));
      return rawMessage(MessageType.transaction, body);
    };
    for (let i = 0; i < 50; i++) {
      // Every envelope type, fee bumps around nothing, and accounts that do not exist.
      await peer.send(fill(0, 120), fill(2, 120), fill(5, 200), fill(2, 4), fill(5, 40), fill(2, 100_000));
    }
    await assertKept(world.main, peer);
    peer.close();
  },

  "SCP messages of every bad kind, and a good one": async (world) => {
    const attacker = await live(world.main), observer = await live(world.main);
    const key = validator(), stranger = validator();
    const slot = nextSlot();
    const quorumSet = quorumSetOf([key]), txSet = txSetOf(nobodysHash());
    const content = value(key, txSet.hash, nowSeconds(), NETWORK_ID);
    const good = scpMessage(key, slot, nominate(quorumSet.hash, content), NETWORK_ID);
    const unsigned = encodeStellarValue({
      txSetHash: txSet.hash,
      closeTime: nowSeconds(),
      upgrades: [],
      ext: { v: 0 },
    });
    const bad = {
      "another network": scpMessage(key, slot, nominate(quorumSet.hash, content), nobodysHash()),
      "a signature of another node": scpMessage(key, slot, externalize(quorumSet.hash, content), nobodysHash()),
      "a slot beyond 32 bits": scpMessage(key, 2n ** 40n, nominate(quorumSet.hash, content), NETWORK_ID),
      "the highest slot": scpMessage(key, 2n ** 64n - 1n, nominate(quorumSet.hash, content), NETWORK_ID),
      "no vote": scpMessage(key, slot, nominate(quorumSet.hash), NETWORK_ID),
      "votes out of order": scpMessage(key, slot, nominate(quorumSet.hash, content, content), NETWORK_ID),
      "ballot 0": scpMessage(key, slot, prepare(quorumSet.hash, 0, content), NETWORK_ID),
      "a close time in a thousand years": scpMessage(
        key,
        slot,
        nominate(quorumSet.hash, value(key, txSet.hash, nowSeconds() + 31_536_000_000n, NETWORK_ID)),
        NETWORK_ID,
      ),
      "the last close time": scpMessage(
        key,
        slot,
        nominate(quorumSet.hash, value(key, txSet.hash, 2n ** 64n - 1n, NETWORK_ID)),
        NETWORK_ID,
      ),
      "a value that does not decode": scpMessage(key, slot, nominate(quorumSet.hash, random.bytes(7)), NETWORK_ID),
      "an empty value": scpMessage(key, slot, nominate(quorumSet.hash, new Uint8Array(0)), NETWORK_ID),
      "an unsigned value": scpMessage(key, slot, nominate(quorumSet.hash, unsigned), NETWORK_ID),
      "a value signed for another network": scpMessage(
        stranger,
        slot,
        nominate(quorumSet.hash, value(key, txSet.hash, nowSeconds(), nobodysHash())),
        NETWORK_ID,
      ),
    };
    for (const message of Object.values(bad)) await attacker.send(message);
    attacker.items.push(quorumSet.message, txSet.message);
    await attacker.send(good);
    await observer.until("the good message", () => has(observer, good));
    await settled(attacker, observer);
    for (const [what, message] of Object.entries(bad)) assert.ok(!has(observer, message), what);
    await assertKept(world.main, attacker);
    attacker.close();
    observer.close();
  },

  "insane quorum sets": async (world) => {
    const attacker = await live(world.main), observer = await live(world.main);
    const twice = nobodysHash();
    const nested = (depth: number): Parameters<typeof hashOf>[0] => ({
      threshold: 1,
      validators: depth === 0 ? [nobodysHash()] : [],
      innerSets: depth === 0 ? [] : [nested(depth - 1)],
    });
    const insane = [
      { threshold: 0, validators: [nobodysHash()], innerSets: [] },
      { threshold: 3, validators: [nobodysHash()], innerSets: [] },
      { threshold: 1, validators: [twice, twice], innerSets: [] },
      { threshold: 1, validators: junkHashes(1001), innerSets: [] },
      nested(5),
    ];
    const txSet = txSetOf(nobodysHash()), slot = nextSlot();
    const refused: Uint8Array[] = [];
    for (const qSet of insane) {
      const key = validator();
      const { message, hash } = hashOf(qSet);
      attacker.items.push(message);
      const envelope = scpMessage(
        key,
        slot,
        nominate(hash, value(key, txSet.hash, nowSeconds(), NETWORK_ID)),
        NETWORK_ID,
      );
      refused.push(envelope);
      await attacker.send(envelope);
      await attacker.until("the question for it", () => attacker.asked.has(toHex(hash)));
    }
    const key = validator(), sane = hashOf(nested(4));
    attacker.items.push(sane.message, txSet.message);
    const good = scpMessage(
      key,
      slot,
      nominate(sane.hash, value(key, txSet.hash, nowSeconds(), NETWORK_ID)),
      NETWORK_ID,
    );
    await attacker.send(good);
    await observer.until("the one with a sane quorum set", () => has(observer, good));
    await settled(attacker, observer);
    for (const message of refused) assert.ok(!has(observer, message));
    await assertKept(world.main, attacker);
    attacker.close();
    observer.close();
  },

  "items and DONT_HAVE that nobody asked for": async (world) => {
    const peer = await live(world.main);
    await peer.send(
      bigTxSet(100),
      rawMessage(MessageType.generalizedTxSet, word(1), nobodysHash(), word(0)),
      quorumSetOf([validator()]).message,
      bigTxSet(16 * 1024 * 1024 - 44),
    );
    await each([0, 3, 6, 7, 10, 17, 25, -1, 0x7fffffff], async (type) => {
      await peer.send({ type: "dontHave", dontHave: { type, reqHash: nobodysHash() } });
    });
    await assertKept(world.main, peer);
    peer.close();
  },

  "answers to a question that somebody else was asked, and wrong answers": async (world) => {
    const asked = await live(world.main), meddler = await live(world.main), observer = await live(world.main);
    const { message, quorumSet, txSet } = goodEnvelope();
    await asked.send(message);
    await asked.until(
      "both questions",
      () => asked.asked.has(toHex(quorumSet.hash)) && asked.asked.has(toHex(txSet.hash)),
    );
    // Neither DONT_HAVE of somebody who was not asked nor other items end the search.
    await meddler.send(
      { type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: quorumSet.hash } },
      { type: "dontHave", dontHave: { type: MessageType.txSet, reqHash: txSet.hash } },
      quorumSetOf([validator()]).message,
      txSetOf(nobodysHash()).message,
    );
    await settled(meddler, observer);
    assert.ok(!has(observer, message));
    // Right answers are taken from anybody.
    await meddler.send(quorumSet.message, txSet.message);
    await observer.until("the message", () => has(observer, message));
    for (const peer of [asked, meddler, observer]) {
      await assertKept(world.main, peer);
      peer.close();
    }
  },

  "query floods": async (world) => {
    const peer = await live(world.main);
    const queries = 330;
    for (let i = 0; i < queries; i++) await peer.send({ type: "getTxSet", txSetHash: nobodysHash() });
    for (let i = 0; i < 30; i++) await peer.send({ type: "getScpState", ledgerSeq: 0xffffffff });
    await peer.ping();
    // 5 per second of a window of 60 s, and no DONT_HAVE above.
    assert.equal(peer.count("dontHave"), 300 + 1);
    for (let i = 0; i < queries; i++) await peer.send({ type: "getScpQuorumset", qSetHash: nobodysHash() });
    const other = await live(world.main);
    await other.ping();
    await peer.until("the answers within the limit", () => peer.count("dontHave") >= 600);
    await other.ping();
    assert.equal(peer.count("dontHave"), 600);
    // The limit is the peer's own, and it is no offence: its other messages count as before.
    assert.deepEqual([peer.end, world.main.log.about(peer)], [undefined, []]);
    const marker = junkTransaction(), hash = sha256(marker.subarray(4));
    await peer.send(marker);
    await other.until(
      "the advert of its transaction",
      () => other.received.some((m) => m.type === "floodAdvert" && m.txHashes.some((one) => equalBytes(one, hash))),
    );
    peer.close();
    other.close();
  },

  "SCP state above its limit": async (world) => {
    const peer = await live(world.main), sender = await live(world.main);
    const { message, quorumSet, txSet } = goodEnvelope();
    sender.items.push(quorumSet.message, txSet.message);
    await sender.send(message);
    await peer.until("the message itself", () => has(peer, message));
    await peer.grant(100_000, 100_000_000);
    const before = relayedTo(peer).filter((one) => equalBytes(one, message)).length;
    for (let i = 0; i < 25; i++) await peer.send({ type: "getScpState", ledgerSeq: 1 });
    await assertKept(world.main, peer);
    assert.equal(relayedTo(peer).filter((one) => equalBytes(one, message)).length - before, 10);
    peer.close();
    sender.close();
  },

  "nothing is processed after a drop began": async (world) => {
    const observer = await live(world.main), peer = await live(world.main);
    const marker = junkTransaction(), hash = sha256(marker.subarray(4));
    const envelope = goodEnvelope().message;
    // One segment: an offence, then good messages.
    await peer.write(peer.frame({ type: "peers", peers: [] }), peer.frame(marker), peer.frame(envelope));
    const line = await world.main.log.drop(peer);
    assert.equal(line.reason, "received PEERS");
    await peer.ended();
    const later = junkTransaction(), laterHash = sha256(later.subarray(4));
    const other = await live(world.main);
    await other.send(later);
    const seen = (wanted: Uint8Array) =>
      observer.received.some((m) => m.type === "floodAdvert" && m.txHashes.some((one) => equalBytes(one, wanted)));
    await observer.until("a later transaction", () => seen(laterHash));
    assert.ok(!seen(hash) && !has(observer, envelope));
    observer.close();
    other.close();
  },
};

function hashOf(qSet: { threshold: number; validators: Uint8Array[]; innerSets: Parameters<typeof hashOf>[0][] }): {
  message: Uint8Array;
  hash: Uint8Array;
} {
  const message = encodeMessage({ type: "scpQuorumset", qSet });
  return { message, hash: sha256(message.subarray(4)) };
}
