/** stellar-core's scenarios of the handshake, between whole engines. Source: stellar-core OverlayTests.cpp. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { OverlayConfigChanges } from "../../overlay/base/config.ts";
import { RawRemote, testNode } from "../../overlay/peer/peer_test_remote.ts";
import type { PeerType } from "../../overlay/db/random_peer_source.ts";
import type { Socket } from "../../overlay/transport/transport.ts";
import { type EngineNode, type EngineNodeOptions, EngineWorld, idOf, PASSPHRASE, seedOf } from "../kit/engine_world.ts";

/** Nobody dials of its own accord. */
const QUIET: OverlayConfigChanges = { noDial: true };

/** A calls B, and two seconds pass. */
async function call(aOptions: EngineNodeOptions = {}, bOptions: EngineNodeOptions = {}) {
  const world = new EngineWorld({ config: QUIET });
  const a = await world.add(aOptions), b = await world.add(bOptions);
  a.dial(b);
  await world.run(2000);
  return { world, a, b, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/**
 * What the books say of the other side. Who dials has booked an attempt before anything is known, as stellar-core's connectTo
 * has; upstream's loopback peers do not dial, so where nothing else follows its tests find no record at all.
 */
function books(a: EngineNode, b: EngineNode): (PeerType | "attempt" | undefined)[] {
  const about = (node: EngineNode, other: EngineNode) => {
    const type = node.knows(other);
    return type === "inbound" && node.failures(other)! > 0 ? "attempt" : type;
  };
  return [about(a, b), about(b, a)];
}

function assertClosed(a: EngineNode, b: EngineNode): void {
  for (const node of [a, b]) {
    assert.deepEqual(node.engine.counts, { inbound: 0, outbound: 0, pending: 0 }, String(node));
    assert.equal(node.drops().length, 1, String(node));
  }
}

test("scenario: loopback peer hello", async () => {
  await using pair = await call();
  const { a, b } = pair;
  assert.deepEqual([a.has(b), b.has(a)], [true, true]);
  assert.deepEqual(books(a, b), ["outbound", "inbound"]);
  assert.deepEqual(a.engine.peers().map(({ role, address }) => [role, address]), [[
    "weCalledRemote",
    "11.0.0.2:11625",
  ]]);
  assert.deepEqual(b.engine.peers().map(({ role, address }) => [role, address]), [[
    "remoteCalledUs",
    "11.0.0.1:11625",
  ]]);
  assert.deepEqual([a.failures(b), b.failures(a)], [0, 0]);
});

/** An engine and a remote that a test drives; `calls` says who dials. */
async function withRaw(calls: "engine" | "remote", greet: (remote: RawRemote) => void) {
  const world = new EngineWorld({ config: QUIET });
  const node = await world.add();
  const host = "11.9.9.9", local = testNode(world.clock, 9, { passphrase: PASSPHRASE, listeningPort: 11625 });
  const transport = world.memory!.transport(host);
  let remote: RawRemote | undefined;
  const open = (socket: Socket) => {
    const role = calls === "engine" ? "remoteCalledUs" as const : "weCalledRemote" as const;
    remote = new RawRemote(socket, local, role, world.clock);
    greet(remote);
  };
  if (calls === "remote") {
    transport.dial(node.address, { timeoutMs: 5000 }, {
      onConnect: open,
      onFail: (failure) => assert.fail(failure.code),
    });
  } else {
    await transport.listen({ host, port: 11625 }, open);
    node.dial({ host, port: 11625 });
  }
  await world.run(2000);
  return {
    node,
    remote: remote!,
    address: { host, port: 11625 },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

for (const calls of ["engine", "remote"] as const) {
  test(`scenario: loopback peer with 0 port, the ${calls} dials`, async () => {
    await using pair = await withRaw(calls, (remote) => {
      if (calls === "remote") remote.hello({ listeningPort: 0 });
      else remote.onMessage = ({ type }) => void (type === "hello" && remote.hello({ listeningPort: 0 }));
    });
    const { node, remote, address } = pair;
    assert.deepEqual(node.reasons(), ["us: bad address"]);
    assert.ok(!remote.types.includes("auth"));
    assert.deepEqual(remote.received.at(-1), { type: "errorMsg", error: { code: 2, msg: "bad address" } });
    assert.equal(node.knows({ ...address, port: 0 }), undefined);
  });

  test(`scenario: loopback peer send auth before hello, the ${calls} dials`, async () => {
    await using pair = await withRaw(calls, (remote) => remote.auth());
    const { node, remote, address } = pair;
    assert.deepEqual(node.reasons(), ["us: out-of-order AUTH message"]);
    assert.ok(!remote.types.includes("auth"));
    assert.deepEqual(remote.received.at(-1), {
      type: "errorMsg",
      error: { code: 0, msg: "out-of-order AUTH message" },
    });
    // The dial itself is booked, and nothing more.
    assert.equal(node.failures(address), calls === "engine" ? 1 : undefined);
    assert.equal(node.engine.peerManager.count(), calls === "engine" ? 1 : 0);
  });
}

test("scenario: failed auth", async () => {
  await using pair = await call({ peerFaults: { damageAuth: true } });
  const { a, b } = pair;
  assertClosed(a, b);
  assert.deepEqual([a.reasons(), b.reasons()], [["us: unexpected MAC"], ["remote: ERR_AUTH (unexpected MAC)"]]);
  assert.deepEqual([a.knows(b), b.knows(a)], ["outbound", "inbound"]);
  assert.equal(a.failures(b), 1);
});

test("scenario: peers during auth, inbound", async () => {
  await using pair = await call({}, {
    before: (engine) => engine.peerManager.ensureExists({ host: "11.9.9.9", port: 1 }),
  });
  const { world, a, b } = pair;
  assert.equal(a.knows({ host: "11.9.9.9", port: 1 }), "inbound"); // by PEERS
  assert.equal(a.engine.sendTo(b.id, { type: "peers", peers: [] }), true);
  await world.run(1000);
  assertClosed(a, b);
  assert.deepEqual(b.reasons(), ["us: received PEERS"]);
});

test("scenario: peers during auth, outbound", async () => {
  await using pair = await call({}, {
    before: (engine) => engine.peerManager.ensureExists({ host: "11.9.9.9", port: 1 }),
  });
  const { world, a, b } = pair;
  assert.equal(b.engine.sendTo(a.id, { type: "peers", peers: [] }), true);
  await world.run(1000);
  assertClosed(a, b);
  assert.deepEqual(a.reasons(), ["us: too many msgs PEERS"]);
});

test("scenario: reject peers with differing network passphrases", async () => {
  await using pair = await call({ config: { networkPassphrase: "another network" } });
  const { a, b } = pair;
  assertClosed(a, b);
  assert.deepEqual(b.reasons(), ["us: failed to verify auth cert"]);
  assert.deepEqual([a.drops()[0].by, a.drops()[0].failure.code], ["remote", "silent_close"]);
  assert.deepEqual(books(a, b), ["attempt", undefined]);
});

test("scenario: reject peers with invalid cert", async () => {
  await using pair = await call({}, { peerFaults: { damageCert: true } });
  const { a, b } = pair;
  assertClosed(a, b);
  assert.deepEqual(a.reasons(), ["us: failed to verify auth cert"]);
  assert.equal(b.drops()[0].by, "remote");
  assert.deepEqual(books(a, b), ["attempt", "inbound"]);
});

test("scenario: reject banned peers", async () => {
  await using pair = await call({
    before: (engine) => engine.ban(idOf(1)),
  });
  const { a, b } = pair;
  assertClosed(a, b);
  assert.deepEqual(a.reasons(), ["us: node is banned"]);
  assert.equal(b.drops()[0].by, "remote");
  assert.deepEqual(books(a, b), ["attempt", "inbound"]);
});

for (const [section, version] of [["cfg2 above", 43], ["cfg2 below", 34]] as const) {
  test(`scenario: reject peers with incompatible overlay versions, ${section}`, async () => {
    const window = { overlayVersion: 42, overlayMinVersion: 35 };
    await using pair = await call({ config: window }, {
      config: { overlayVersion: version, overlayMinVersion: version },
    });
    const { a, b } = pair;
    assertClosed(a, b);
    assert.deepEqual(a.reasons(), ["us: wrong protocol version"]);
    assert.match(b.reasons()[0], /wrong protocol version/);
    assert.deepEqual(books(a, b), ["attempt", undefined]);
  });
}

for (const [section, first] of [["inbound", 0], ["outbound", 1]] as const) {
  test(`scenario: reject peers with the same nodeid, ${section}`, async () => {
    await using world = new EngineWorld({ config: QUIET });
    const nodes = [await world.add({ seed: seedOf(7) }), await world.add({ seed: seedOf(7) })];
    const [initiator, acceptor] = [nodes[first], nodes[1 - first]];
    initiator.dial(acceptor);
    await world.run(2000);
    assertClosed(initiator, acceptor);
    assert.match(initiator.reasons()[0], /connecting to self/);
    assert.deepEqual(books(initiator, acceptor), ["attempt", undefined]);
  });
}
