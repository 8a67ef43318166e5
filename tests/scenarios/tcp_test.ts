/**
 * Upstream's scenarios about the TCP connection itself, over real sockets on this machine. Source: stellar-core
 * TCPPeerTests.cpp.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { writeUint32 } from "../../overlay/base/bytes.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { bareFrame, RawRemote, testNode } from "../../overlay/peer/peer_test_remote.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { OverlayEvent } from "../../overlay/manager/overlay_manager.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { type EngineNode, EngineWorld } from "../kit/engine_world.ts";
import { eventually, Side, type SideOptions, tcp, tx } from "../kit/peer_pair.ts";

const GET_TX_SET = encodeMessage({ type: "getTxSet", txSetHash: new Uint8Array(32).fill(3) });

/** A Peer of ours that a hand-driven remote dialed over TCP; both are authenticated. */
async function underFire(options: SideOptions = {}) {
  let us: Side | undefined;
  const transport = new TcpTransport();
  const settings = { ping: false, ...options.settings };
  const listener = await transport.listen({ host: "127.0.0.1", port: 0 }, (socket) => {
    us = new Side(socket, "remoteCalledUs", 2, systemClock, { ...options, settings });
  });
  const them = await new Promise<RawRemote>((resolve, reject) =>
    transport.dial(listener.address, { timeoutMs: 5000 }, {
      onFail: reject,
      onConnect: (socket) => resolve(new RawRemote(socket, testNode(systemClock, 1), "weCalledRemote", systemClock)),
    })
  );
  them.hello();
  await eventually(() => them.theirHello !== undefined, "HELLO");
  them.auth();
  await eventually(() => them.types.includes("sendMoreExtended"), "a grant");
  const close = async () => {
    us!.peer.destroy();
    them.connection.destroy();
    await listener.close();
  };
  return { us: us!, them, close };
}

/** A node that takes part, and one without any place for a connection. */
async function withoutPlaces() {
  const world = new EngineWorld({ tcp: true, config: { noDial: true } });
  const config = { targetPeerConnections: 0, maxAdditionalPeerConnections: 0 };
  return { world, p0: await world.add(), p1: await world.add({ config }) };
}
const happened = ({ events }: EngineNode, event: OverlayEvent["event"]) =>
  events.filter((one) => one.event === event).length;

test("scenario: TCPPeer lifetime: p0 connects to p1, but p1 can't accept", async () => {
  const { world, p0, p1 } = await withoutPlaces();
  await using _ = world;
  p0.dial(p1);
  await world.until(() => happened(p0, "dropped") === 1 && happened(p1, "refused") === 1, "it is refused");
  assert.deepEqual([happened(p0, "dialing"), happened(p0, "authenticated")], [1, 0]);
  for (const { engine } of [p0, p1]) assert.deepEqual(engine.counts, { inbound: 0, outbound: 0, pending: 0 });
});

test("scenario: TCPPeer lifetime: p1 connects to p0, but p1 can't initiate", async () => {
  const { world, p0, p1 } = await withoutPlaces();
  await using _ = world;
  assert.equal(p1.engine.connect(p0.address), false);
  assert.equal(happened(p1, "dialing"), 0);
  assert.equal(p1.failures(p0), undefined, "and it is no failure of the address");
  for (const { engine } of [p0, p1]) assert.deepEqual(engine.counts, { inbound: 0, outbound: 0, pending: 0 });
});

test("scenario: TCPPeer can communicate", async () => {
  const { a, b, close } = await tcp({ settings: { ping: false } });
  const before = a.peer.connection.counters.messagesWritten;
  a.peer.send(GET_TX_SET);
  a.peer.sendErrorAndDrop("ERR_DATA", "done with you");
  await eventually(() => b.drop !== undefined, "the end at the other side");
  assert.equal(a.peer.connection.counters.messagesWritten, before + 2);
  assert.deepEqual(b.types, [MessageType.getTxSet]);
  assert.deepEqual([a.reason, b.reason], ["us: done with you", "remote: ERR_DATA (done with you)"]);
  assert.ok(!a.peer.send(GET_TX_SET) && !b.peer.send(GET_TX_SET));
  await close();
});

/** Sends bytes and a good message behind them; gives what became of the connection. */
async function malformed(bytes: (them: RawRemote) => Uint8Array) {
  const { us, them, close } = await underFire();
  const read = us.peer.connection.counters.messagesRead;
  them.raw(bytes(them), bareFrame(GET_TX_SET));
  await eventually(() => us.drop !== undefined && them.ends.length === 1, "the drop");
  const errors = them.received.flatMap((message) => message.type === "errorMsg" ? [message.error.msg] : []);
  const more = us.peer.connection.counters.messagesRead - read;
  const { reason, received } = us;
  await close();
  return { reason, errors, more, received: received.length };
}

test("scenario: TCPPeer read malformed messages: message size is over limit", async () => {
  const mark = new Uint8Array(4);
  writeUint32(mark, 0, 0x80000000 | (32 * 1024 * 1024));
  const { reason, errors, more, received } = await malformed(() => mark);
  assert.deepEqual([reason, errors, more, received], ["us: error during read", [], 0, 0]);
});

test("scenario: TCPPeer read malformed messages: bad auth sequence", async () => {
  const { reason, errors, more, received } = await malformed(() => bareFrame(GET_TX_SET));
  assert.deepEqual([reason, errors], ["us: unexpected auth sequence", ["unexpected auth sequence"]]);
  assert.deepEqual([more, received], [1, 0], "the message behind it is not read");
});

test("scenario: TCPPeer read malformed messages: corrupt xdr", async () => {
  const garbage = new Uint8Array(4 + 255).fill(0xa5);
  writeUint32(garbage, 0, 0x80000000 | 255);
  const { reason, errors, more, received } = await malformed(() => garbage);
  assert.deepEqual([reason, errors], ["us: received corrupt XDR", ["received corrupt XDR"]]);
  assert.deepEqual([more, received], [1, 0], "the message behind it is not read");
});

test("scenario: TCPPeer drop at capacity", async () => {
  const { us, them, close } = await underFire({ limits: { floodMessages: 1, totalMessages: 2 } });
  us.holds = true; // the main thread is slow
  them.send(tx(1000, 1), tx(1000, 2));
  await eventually(() => us.drop !== undefined && them.ends.length === 1, "the drop");
  assert.equal(us.reason, "us: unexpected flood message, peer at capacity");
  assert.equal(us.received.length, 1);
  assert.ok(!them.types.includes("errorMsg"));
  await close();
});
