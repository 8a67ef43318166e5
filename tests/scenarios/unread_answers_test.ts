/** A peer that asks and never reads: what waits for it is bounded, also what flow control does not limit. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { toHex, writeUint32 } from "../../overlay/base/bytes.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import { validators } from "../../overlay/flood/scp_state_test_kit.ts";
import { hashText } from "../../overlay/flood/tx_adverts_hashes.ts";
import type { OverlayEvent } from "../../overlay/manager/overlay_manager.ts";
import { DEFAULT_PEER_SETTINGS } from "../../overlay/peer/peer.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { counterOf, dialPeer, scpMessages, startEngine, TCP_WORLD, until } from "../kit/load_kit.ts";

const MIB = 1024 * 1024;

test("a peer that asks 300 times for a set of 10 MiB and never reads is dropped at the bound, not at 3 GiB", {
  timeout: 60_000,
}, async () => {
  const events: OverlayEvent[] = [];
  const engine = await startEngine(TCP_WORLD, "127.0.0.1", { closeDelayMs: 200 }, {
    log: (event) => events.push(event),
  });
  try {
    const set = new Uint8Array(10 * MIB);
    writeUint32(set, 0, MessageType.generalizedTxSet);
    const txSetHash = sha256(set.subarray(4));
    engine.dispatcher.txSets.set(hashText(txSetHash), set);
    const peer = await dialPeer(TCP_WORLD, engine, "127.0.0.1");
    peer.connection.pause();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 300; i++) peer.send(encodeMessage({ type: "getTxSet", txSetHash }));
    await until("the engine drops the peer", () => events.some((event) => event.event === "dropped"));
    const grown = process.memoryUsage().rss - before;
    const dropped = events.find((event) => event.event === "dropped")!;
    assert.equal(dropped.event === "dropped" && dropped.failure.code, "straggling");
    // The last answer is the one that went beyond the bound.
    const { answered } = engine.dispatcher.counts;
    assert.ok((answered - 1) * set.length <= DEFAULT_PEER_SETTINGS.maxUnsentBytes + 16 * MIB, `${answered} answers`);
    assert.ok(grown < 3 * DEFAULT_PEER_SETTINGS.maxUnsentBytes, `${Math.round(grown / MIB)} MiB`);
    // Others are served meanwhile.
    const other = await dialPeer(TCP_WORLD, engine, "127.0.0.1");
    other.destroy();
    peer.destroy();
  } finally {
    await engine.stop();
  }
});

test("SCP messages for a peer that never reads wait within its queue, and newer ones take the place of older", {
  timeout: 60_000,
}, async () => {
  const engine = await startEngine(TCP_WORLD, "127.0.0.1");
  try {
    const newest = new Map<string, number>();
    const deaf = await dialPeer(TCP_WORLD, engine, "127.0.0.1", {
      onMessage: (_, { type, bytes }) => {
        if (type === MessageType.scpMessage) newest.set(toHex(bytes.subarray(8, 40)), counterOf(bytes));
      },
    });
    deaf.connection.pause();
    const talker = await dialPeer(TCP_WORLD, engine, "127.0.0.1");
    const now = BigInt(Math.floor(systemClock.wallMs() / 1000));
    const keys = validators(20), COUNT = 100;
    const messages = keys.map((key) => scpMessages(key, 5, COUNT, now));
    for (let i = 0; i < COUNT; i++) for (const own of messages) talker.send(own[i]);
    await until("the engine judged all", () => engine.dispatcher.counts.envelopes === keys.length * COUNT);
    const sent = engine.peers().find(({ nodeId }) => nodeId === deaf.local.nodeIdText)!.messagesWritten;
    // 200 by its credit, and what is no flood message: HELLO, AUTH, the grant, PEERS, GET_SCP_STATE, pings.
    assert.ok(sent >= 200 && sent < 220, `${sent} messages`);
    deaf.connection.resume();
    const all = () => newest.size === keys.length && [...newest.values()].every((counter) => counter === COUNT);
    await until("it reads again and is given the newest of every validator", all);
    assert.ok(deaf.connection.counters.messagesRead < 300);
    deaf.destroy();
    talker.destroy();
  } finally {
    await engine.stop();
  }
});
