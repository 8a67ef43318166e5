/** Attacks on credit, in both directions, and on the patience of a node. */
import assert from "node:assert/strict";
import { encodeMessage, type StellarMessage } from "../../overlay/wire/messages.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import { pause } from "../kit/hostile_peer.ts";
import { assertDropped, assertKept } from "../kit/hostile_target.ts";
import { DIALER_PASSPHRASE } from "./nodes.ts";
import {
  assertServes,
  bigTxSet,
  caller,
  type Case,
  each,
  goodEnvelope,
  granted,
  greeted,
  junkHashes,
  junkTransaction,
  live,
  nobodysHash,
  validator,
} from "./world.ts";
import { nominate, scpMessage } from "../../overlay/flood/scp_state_test_kit.ts";

const grantOf = (numMessages: number, numBytes: number): StellarMessage => ({
  type: "sendMoreExtended",
  sendMoreExtended: { numMessages, numBytes },
});

export const FLOW: Record<string, Case> = {
  "flood messages before any grant": async (world) => {
    const early = await greeted(world.main);
    await early.send({ type: "floodAdvert", txHashes: junkHashes(1) });
    const reason = "received FLOOD_ADVERT before completed handshake";
    await assertDropped(world.main, early, { reason, failure: "protocol_violation" });
    // Right behind AUTH, the grant still on its way: the capacity is there, so nothing is wrong with it.
    const eager = await greeted(world.main);
    await eager.write(
      eager.frame({ type: "auth", auth: { flags: 200 } }),
      eager.frame({ type: "floodAdvert", txHashes: junkHashes(3) }),
      eager.frame(junkTransaction()),
    );
    await eager.saw("a grant", (m) => m.type === "sendMoreExtended");
    await assertKept(world.main, eager);
    eager.close();
  },

  "flood messages above the byte capacity": async (world) => {
    const key = validator();
    const tooLarge = [
      junkTransaction(300_100),
      junkTransaction(2_000_000),
      scpMessage(key, 5, nominate(nobodysHash(), new Uint8Array(300_000))),
    ];
    const watcher = await live(world.main);
    await each(tooLarge, async (message) => {
      const peer = await live(world.main);
      await peer.send(message);
      const reason = "unexpected flood message, peer at capacity";
      await assertDropped(world.main, peer, { reason, failure: "protocol_violation" });
    });
    // Nothing of such a message was processed: no advert of it ever leaves. Exactly the capacity is legal.
    const exact = await live(world.main);
    await exact.send(junkTransaction(300_000 - 4));
    await assertKept(world.main, exact);
    await watcher.ping();
    exact.close();
    watcher.close();
  },

  "every flood message gives its capacity back once": async (world) => {
    const peer = await live(world.main, { grants: false });
    const key = validator();
    const same = junkTransaction(), envelope = goodEnvelope().message;
    const unsigned = envelope.slice();
    unsigned[unsigned.length - 1] ^= 1;
    const kinds: (() => Uint8Array)[] = [
      () => junkTransaction(), // new
      () => same, // known
      () => encodeMessage({ type: "floodAdvert", txHashes: junkHashes(5) }),
      () => encodeMessage({ type: "floodDemand", txHashes: junkHashes(5) }),
      () => scpMessage(key, 5, nominate(nobodysHash()), nobodysHash()), // insane
      () => unsigned, // wrong signature, again and again
      () => scpMessage(key, 4_000_000_000, nominate(nobodysHash(), nobodysHash()), nobodysHash()), // a slot far away
    ];
    const rounds = 100;
    let bytes = 0;
    for (let i = 0; i < rounds; i++) {
      const messages = kinds.map((make) => make());
      for (const message of messages) bytes += message.length;
      await peer.send(...messages);
    }
    await assertKept(world.main, peer);
    const sent = rounds * kinds.length, first = { messages: 200, bytes: 300_000 };
    const back = granted(peer);
    back.messages -= first.messages;
    back.bytes -= first.bytes;
    // Up to 39 messages or 99,999 bytes are not acknowledged yet; never more than was sent.
    assert.ok(back.messages <= sent && back.messages > sent - 40, `${back.messages} of ${sent} messages`);
    assert.ok(back.bytes <= bytes && back.bytes > bytes - 100_000, `${back.bytes} of ${bytes} bytes`);
    peer.close();
  },

  "SEND_MORE, and grants of nothing": async (world) => {
    const old = await live(world.main);
    await old.send({ type: "sendMore", sendMore: { numMessages: 200 } });
    await assertDropped(world.main, old, {
      reason: "unexpected message type SEND_MORE",
      failure: "protocol_violation",
    });
    await each([0, 1, 0xffffffff], async (numMessages) => {
      const peer = await live(world.main);
      await peer.send(grantOf(numMessages, 0));
      const reason = "invalid message SEND_MORE_EXTENDED";
      await assertDropped(world.main, peer, { reason, failure: "protocol_violation" });
    });
    const early = await caller(world.main);
    await early.hello();
    await early.saw("HELLO", (m) => m.type === "hello");
    await early.send(grantOf(1, 1));
    const reason = "received SEND_MORE_EXTENDED before completed handshake";
    await assertDropped(world.main, early, { reason, failure: "protocol_violation" });
  },

  "grants that are huge, tiny, or of bytes only": async (world) => {
    const peer = await live(world.main, { grants: false });
    await peer.send(...Array.from({ length: 2000 }, () => grantOf(0xffffffff, 0xffffffff)));
    await assertKept(world.main, peer);
    await peer.send(grantOf(0, 1), grantOf(0, 0xffffffff));
    await assertKept(world.main, peer);
    const tiny = await live(world.main, { grants: false });
    await tiny.send(grantOf(1, 1));
    for (let i = 0; i < 50; i++) await tiny.send(grantOf(i % 2, 1));
    await assertKept(world.main, tiny);
    peer.close();
    tiny.close();
  },

  "never granting": async (world) => {
    const miser = await live(world.main, { grants: false });
    const { message, quorumSet, txSet } = goodEnvelope();
    const other = await live(world.main);
    other.items.push(quorumSet.message, txSet.message);
    await other.send(message);
    await other.until("the node to fetch what it refers to", () => other.count("getTxSet") > 0);
    await assertKept(world.main, other);
    // No flood message comes, and all others do.
    await assertKept(world.main, miser);
    assert.deepEqual([miser.count("scpMessage"), miser.count("floodAdvert")], [0, 0]);
    assert.ok(miser.count("dontHave") > 0);
    assert.equal(miser.count("getScpState"), 1);
    miser.close();
    other.close();
  },

  "never reading": async (world) => {
    const deaf = await live(world.main);
    deaf.pause();
    const query = (): StellarMessage => ({ type: "getScpState", ledgerSeq: 0 });
    for (let i = 0; i < 300; i++) await deaf.send(query(), { type: "getTxSet", txSetHash: nobodysHash() });
    await deaf.send(bigTxSet(1_000_000));
    await assertServes(world.main);
    deaf.resume();
    await assertKept(world.main, deaf);
    deaf.close();
  },
};

export const PATIENCE: Record<string, Case> = {
  "an authenticated peer that falls silent": async (world) => {
    const peer = await live(world.impatient);
    peer.answersPings = false;
    await assertDropped(world.impatient, peer, { reason: "idle timeout", failure: "idle_timeout" });
    const dripping = await live(world.impatient);
    dripping.answersPings = false;
    const done = dripping.drip(dripping.frame(bigTxSet(200)), 4, 500);
    await assertDropped(world.impatient, dripping, { reason: "idle timeout", failure: "idle_timeout" });
    await done;
  },

  "a peer that keeps the node busy and gives it nothing to say": async (world) => {
    const peer = await live(world.impatient);
    const busy = async () => {
      while (peer.end === undefined) {
        await peer.send({ type: "dontHave", dontHave: { type: 6, reqHash: nobodysHash() } });
        await pause(300);
      }
    };
    const done = busy();
    await assertDropped(world.impatient, peer, { reason: "straggling (cannot keep up)", failure: "straggling" });
    await done;
  },

  "a peer that asks and takes nothing": async (world) => {
    const { impatient } = world;
    const peer = await live(impatient, { grants: false }), other = await live(impatient);
    const transaction = junkTransaction(100_000), hash = sha256(transaction.subarray(4));
    await other.send(transaction);
    await peer.send(grantOf(0xffffffff, 0xffffffff));
    await peer.ping();
    peer.pause();
    const before = await impatient.residentBytes();
    let most = before;
    // Demands of 32 bytes that are worth 100 kB each: a megabyte and a half a time.
    for (let i = 0; impatient.log.about(peer).length === 0; i++) {
      await peer.send({ type: "floodDemand", txHashes: Array(15).fill(hash) });
      await pause(20);
      most = Math.max(most, await impatient.residentBytes());
    }
    const line = await impatient.log.drop(peer);
    assert.deepEqual([line.by, line.reason], ["us", "straggling (cannot keep up)"]);
    assert.ok(most - before < 256 * 1024 * 1024, `${most - before} bytes more`);
    peer.close();
    other.close();
    await assertServes(impatient);
  },

  "a ping that is never answered": async (world) => {
    // A node that fetches nothing: all it asks are pings.
    const node = world.dialer;
    const peer = await live(node, { passphrase: DIALER_PASSPHRASE });
    peer.answersPings = false;
    await peer.until("the node's ping", () => peer.count("getScpQuorumset") > 0);
    // Guesses of its id change nothing.
    const guess = nobodysHash();
    await peer.send(
      { type: "dontHave", dontHave: { type: 10, reqHash: guess } },
      { type: "scpQuorumset", qSet: { threshold: 1, validators: [guess], innerSets: [] } },
    );
    // Two more checks go by.
    const since = Date.now();
    while (Date.now() - since < 11_000) {
      await pause(500);
      await assertKept(node, peer);
    }
    assert.equal(peer.count("getScpQuorumset"), 1);
    peer.close();
  },
};
