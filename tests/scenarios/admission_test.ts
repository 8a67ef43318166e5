/**
 * stellar-core's scenarios of admission and of pending slots, between whole engines.
 * Source: stellar-core OverlayTests.cpp.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { OverlayConfigChanges } from "../../overlay/base/config.ts";
import { type EngineNode, EngineWorld, idOf } from "../kit/engine_world.ts";

type Direction = "inbound" | "outbound";
/** The nodes by index: A, B, and C where there is one. */
const A = 0, B = 1, C = 2;

/** Nodes A, B, C, of which B has settings. `meet` connects one with B, in the direction that B sees. */
async function around(direction: Direction, config: OverlayConfigChanges) {
  const world = new EngineWorld({ config: { noDial: true } });
  const nodes: EngineNode[] = [];
  for (const index of [A, B, C]) nodes.push(await world.add({ config: index === B ? config : {} }));
  const [a, b, c] = nodes;
  const meet = async (other: EngineNode) => {
    if (direction === "inbound") other.dial(b);
    else b.dial(other);
    await world.run(1000);
  };
  /** Both sides have booked the other: who dialed as outbound, who was dialed as inbound. */
  const assertBooked = (...others: EngineNode[]) => {
    for (const other of others) {
      const [dialer, dialed] = direction === "inbound" ? [other, b] : [b, other];
      assert.deepEqual([dialer.knows(dialed), dialed.knows(dialer)], ["outbound", "inbound"], String(other));
      assert.equal(dialer.failures(dialed), 0); // AUTH came, so the dial has succeeded whatever follows
    }
  };
  return { world, a, b, c, meet, assertBooked, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** Room for one peer of the direction. */
const one = (direction: Direction): OverlayConfigChanges =>
  direction === "inbound"
    ? { targetPeerConnections: 0, maxAdditionalPeerConnections: 1 }
    : { targetPeerConnections: 1, maxAdditionalPeerConnections: 0 };

const REJECTED = ["us: peer rejected"];

for (const direction of ["inbound", "outbound"] as const) {
  test(`scenario: reject non preferred peer, ${direction}, between engines`, async () => {
    const strict = { preferredPeersOnly: true, preferredPeerKeys: [idOf(99)] };
    await using net = await around(direction, strict);
    const { a, b } = net;
    await net.meet(a);
    assert.deepEqual([b.reasons(a), a.reasons(b)], [REJECTED, ["remote: ERR_LOAD (peer rejected)"]]);
    assert.deepEqual([a.engine.peers(), b.engine.peers()], [[], []]);
    net.assertBooked(a);
  });

  test(`scenario: accept preferred peer even when strict, ${direction}, between engines`, async () => {
    await using net = await around(direction, { preferredPeersOnly: true, preferredPeerKeys: [idOf(A)] });
    const { a, b } = net;
    await net.meet(a);
    assert.deepEqual([a.has(b), b.has(a), a.drops(), b.drops()], [true, true, [], []]);
    net.assertBooked(a);
  });

  test(`scenario: reject peers beyond max, ${direction}, between engines`, async () => {
    await using net = await around(direction, one(direction));
    const { a, b, c } = net;
    await net.meet(a);
    await net.meet(c);
    assert.deepEqual([a.has(b), b.has(a), c.has(b), b.has(c)], [true, true, false, false]);
    assert.deepEqual([b.reasons(c), b.reasons(a)], [REJECTED, []]);
    net.assertBooked(a, c);
  });

  const preferring = { ...one(direction), preferredPeerKeys: [idOf(C)] };
  test(`scenario: reject peers beyond max - preferred peer wins, preferred connects first, ${direction}, between engines`, async () => {
    await using net = await around(direction, preferring);
    const { a, b, c } = net;
    await net.meet(c);
    await net.meet(a);
    assert.deepEqual([c.has(b), b.has(c), a.has(b), b.has(a)], [true, true, false, false]);
    assert.deepEqual([b.reasons(a), b.reasons(c)], [REJECTED, []]);
    net.assertBooked(a, c);
  });

  test(`scenario: reject peers beyond max - preferred peer wins, preferred connects second, ${direction}, between engines`, async () => {
    await using net = await around(direction, preferring);
    const { a, b, c } = net;
    await net.meet(a);
    assert.equal(b.has(a), true);
    await net.meet(c);
    assert.deepEqual([c.has(b), b.has(c), a.has(b), b.has(a)], [true, true, false, false]);
    assert.deepEqual(b.reasons(), ["us: preferred peer selected instead"]);
    assert.deepEqual(a.reasons(), ["remote: ERR_LOAD (preferred peer selected instead)"]);
    net.assertBooked(a, c);
  });
}

/** Room for three connections in the handshake. */
const THREE_PENDING: OverlayConfigChanges = { maxInboundPendingConnections: 3, maxOutboundPendingConnections: 3 };

/** B and four others. What the first two say to B never arrives. */
async function crowded(config: OverlayConfigChanges) {
  const world = new EngineWorld({ config: { noDial: true } });
  const b = await world.add({ config: { ...THREE_PENDING, ...config } });
  const others: EngineNode[] = [];
  for (let i = 0; i < 4; i++) others.push(await world.add());
  for (const mute of others.slice(0, 2)) world.spoil(mute, b, { corked: true });
  // Names of the configuration are known by then.
  await world.run(3000);
  return { world, b, others, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const refusals = (node: EngineNode) => node.events.filter(({ event }) => event === "refused");

test("scenario: allow inbound pending peers up to max, between engines", async () => {
  await using net = await crowded({});
  const { world, b, others } = net;
  for (const other of others) other.dial(b);
  await world.run(30);
  assert.deepEqual(b.engine.counts, { inbound: 0, outbound: 0, pending: 3 });
  await world.run(1000);
  assert.deepEqual(others.map((other) => b.has(other)), [false, false, true, false]);
  assert.equal(refusals(b).length, 1);
  assert.deepEqual([others[3].drops()[0].by, others[3].drops()[0].failure.code], ["remote", "closed_before_hello"]);
  assert.equal(b.engine.counts.pending, 2);
  await world.run(5000);
  assert.deepEqual(b.reasons(), ["us: idle timeout", "us: idle timeout"]);
  assert.deepEqual(b.engine.counts, { inbound: 1, outbound: 0, pending: 0 });
  assert.deepEqual(others.map((other) => b.knows(other)), [undefined, undefined, "inbound", undefined]);
});

test("scenario: allow inbound pending peers over max if possibly preferred, between engines", async () => {
  await using net = await crowded({ preferredPeers: [{ host: "11.0.0.5", port: 17 }] });
  const { world, b, others } = net;
  assert.equal(others[3].address.host, "11.0.0.5");
  for (const other of others) other.dial(b);
  await world.run(30);
  assert.equal(b.engine.counts.pending, 4);
  await world.run(6000);
  assert.deepEqual(refusals(b), []);
  assert.deepEqual(others.map((other) => b.has(other)), [false, false, true, true]);
  assert.deepEqual(b.reasons(), ["us: idle timeout", "us: idle timeout"]);
  assert.deepEqual(others.map((other) => b.knows(other)), [undefined, undefined, "inbound", "inbound"]);
});

test("scenario: allow outbound pending peers up to max, between engines", async () => {
  await using net = await crowded({});
  const { world, b, others } = net;
  assert.deepEqual(others.map((other) => b.engine.connect(other.address)), [true, true, true, false]);
  await world.run(1000);
  assert.deepEqual(others.map((other) => b.has(other)), [false, false, true, false]);
  await world.run(5000);
  assert.deepEqual(b.reasons(), ["us: idle timeout", "us: idle timeout"]);
  assert.deepEqual(b.engine.counts, { inbound: 0, outbound: 1, pending: 0 });
  assert.equal(b.knows(others[2]), "outbound");
  // The two attempts are booked and failed; nobody tried the fourth.
  assert.deepEqual(others.map((other) => b.failures(other)), [1, 1, 0, undefined]);
  assert.deepEqual(others[3].events.map(({ event }) => event), ["listening"]);
});
