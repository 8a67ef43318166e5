import { test } from "node:test";
import assert from "node:assert/strict";
import { concatBytes, fromHex, toHex, writeUint32 } from "../base/bytes.ts";
import { VirtualClock } from "../base/clock.ts";
import { type Failure, OverlayError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import type { Role } from "../auth/session_keys.ts";
import { DEFAULT_FLOW_CONTROL } from "../connection/flow_control.ts";
import { MemoryNetwork } from "../transport/memory.ts";
import type { Socket, SocketHandlers } from "../transport/transport.ts";
import { encodeMessage, MessageType, type ReceivedMessage, type StellarMessage } from "../wire/messages.ts";
import { ERROR_CODES, type Hello, type WireAddress } from "../wire/types.ts";
import type { LocalNode } from "./local_node.ts";
import { type Drop, Peer, type PeerHandlers, type PeerSettings } from "./peer.ts";
import { FakeSocket } from "../../tests/kit/transport_suite.ts";
import { bareFrame, RawRemote, splitStream, testNode } from "./peer_test_remote.ts";

/** A stream that a test can listen to and hold back. */
class Tap implements Socket {
  readonly writes: Uint8Array[] = [];
  /** Changes what is written; undefined writes nothing. */
  mangle: ((bytes: Uint8Array) => Uint8Array | undefined) | undefined;
  /** False: the system takes nothing more, so writes never complete. */
  takes = true;
  constructor(readonly inner: Socket) {}
  get remote() {
    return this.inner.remote;
  }
  get local() {
    return this.inner.local;
  }
  get unsentBytes() {
    return this.inner.unsentBytes;
  }
  attach(handlers: SocketHandlers) {
    this.inner.attach(handlers);
  }
  write(bytes: Uint8Array, onWritten?: () => void) {
    this.writes.push(bytes.slice());
    const sent = this.mangle ? this.mangle(bytes) : bytes;
    if (this.takes && sent !== undefined) this.inner.write(sent, onWritten);
    else if (this.takes) onWritten?.();
  }
  pause() {
    this.inner.pause();
  }
  resume() {
    this.inner.resume();
  }
  shutdown() {
    this.inner.shutdown();
  }
  destroy() {
    this.inner.destroy();
  }
  get frames(): string[] {
    return splitStream(concatBytes(...this.writes)).map(toHex);
  }
}

/** A Peer with all it told its owner. */
class Side {
  readonly messages: ReceivedMessage[] = [];
  readonly events: string[] = [];
  readonly drops: Drop[] = [];
  peers: WireAddress[] | undefined;
  readonly peer: Peer;
  readonly tap: Tap;

  constructor(socket: Socket, role: Role, local: LocalNode, clock: VirtualClock, options: Options = {}) {
    this.tap = new Tap(socket);
    options.tap?.(this.tap);
    this.peer = new Peer({
      role,
      socket: this.tap,
      local,
      clock,
      random: new SeededRandom(99),
      settings: options.settings,
      handlers: {
        onHello: () => this.note("hello"),
        recordAddress: () => this.note("address"),
        onAuthenticated: () => this.note("authenticated"),
        onFirstGrant: () => this.note("grant"),
        onPeers: (_, peers) => {
          this.note("peers");
          this.peers = peers;
        },
        onMessage: (_, message) => {
          assert.equal(this.drops.length, 0, "a message after the drop");
          this.messages.push(message);
        },
        onDropped: (_, drop) => void this.drops.push(drop),
        ...options.handlers,
      },
    });
  }
  note(event: string) {
    assert.equal(this.drops.length, 0, `${event} after the drop`);
    this.events.push(event);
  }
  get drop(): Drop | undefined {
    assert.ok(this.drops.length <= 1);
    return this.drops[0];
  }
  /** Who ended it, with which ERROR_MSG, and why. */
  get end(): string | undefined {
    const { drop } = this;
    return drop && `${drop.by}: ${drop.by === "us" && drop.error ? `${drop.error} ` : ""}${drop.reason}`;
  }
}

interface Options {
  settings?: Partial<PeerSettings>;
  handlers?: Partial<PeerHandlers>;
  tap?: (tap: Tap) => void;
}

const EOF = "remote: error reading message header: End of file";
const DELAY_MS = 10;

function network() {
  const clock = new VirtualClock();
  const net = new MemoryNetwork({ clock, delayMs: () => DELAY_MS });
  return { clock, net };
}

type Net = ReturnType<typeof network>;

/** Two connected streams: of the caller, and of the one called. */
async function streams({ clock, net }: Net): Promise<[Socket, Socket]> {
  let far: Socket | undefined;
  const listener = await net.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 0 }, (socket) => far = socket);
  return await new Promise((resolve, reject) => {
    net.transport("10.0.0.1").dial(listener.address, { timeoutMs: 1000 }, {
      onConnect: (near) => resolve([near, far!]),
      onFail: reject,
    });
    void clock.advance(100);
  });
}

/** A calls B. */
async function loopback(a: Options & { node?: Partial<Parameters<typeof testNode>[2]> } = {}, b: typeof a = {}) {
  const net = network();
  const { clock } = net;
  const nodes = [testNode(clock, 1, a.node), testNode(clock, 2, b.node)];
  let far: Side | undefined;
  const listener = await net.net.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 0 }, (socket) => {
    far = new Side(socket, "remoteCalledUs", nodes[1], clock, b);
  });
  const near = await clock.run(
    new Promise<Side>((resolve, reject) =>
      net.net.transport("10.0.0.1").dial(listener.address, { timeoutMs: 1000 }, {
        onConnect: (socket) => resolve(new Side(socket, "weCalledRemote", nodes[0], clock, a)),
        onFail: reject,
      })
    ),
  );
  return { clock, a: near, b: far! };
}

/** A Peer of ours and a remote driven by hand. */
async function withRaw(role: Role, options: Options & { node?: Parameters<typeof testNode>[2] } = {}) {
  const net = network();
  const { clock } = net;
  let far: Socket | undefined, near: Socket | undefined;
  let us: Side | undefined, them: RawRemote | undefined;
  const ours = testNode(clock, 1), theirs = testNode(clock, 2, options.node);
  const makeUs = (socket: Socket) => us = new Side(socket, role, ours, clock, options);
  const makeThem = (socket: Socket) =>
    them = new RawRemote(socket, theirs, role === "weCalledRemote" ? "remoteCalledUs" : "weCalledRemote", clock);
  const listener = await net.net.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 0 }, (socket) => {
    far = socket;
    if (role === "weCalledRemote") makeThem(socket);
    else makeUs(socket);
  });
  net.net.transport("10.0.0.1").dial(listener.address, { timeoutMs: 1000 }, {
    onConnect: (socket) => {
      near = socket;
      if (role === "weCalledRemote") makeUs(socket);
      else makeThem(socket);
    },
    onFail: () => assert.fail(),
  });
  await clock.advance(2 * DELAY_MS);
  assert.ok(far && near);
  await clock.advance(DELAY_MS);
  return { clock, us: us!, them: them! };
}

/** The same, authenticated on both sides; the remote has granted unless told otherwise. */
async function live(role: Role = "weCalledRemote", options: Parameters<typeof withRaw>[1] & { grants?: boolean } = {}) {
  const all = await withRaw(role, options);
  const { clock, us, them } = all;
  them.hello();
  await clock.advance(3 * DELAY_MS);
  them.auth();
  await clock.advance(3 * DELAY_MS);
  if (options.grants ?? true) them.grant();
  await clock.advance(3 * DELAY_MS);
  assert.equal(us.end, undefined);
  assert.ok(us.peer.authenticated);
  return all;
}

const settle = (clock: VirtualClock) => clock.advance(20 * DELAY_MS);
const scp = (n = 100) => concatBytes(Uint8Array.of(0, 0, 0, MessageType.scpMessage), new Uint8Array(n - 4));
const sendMore = (numMessages: number, numBytes: number): StellarMessage => ({
  type: "sendMoreExtended",
  sendMoreExtended: { numMessages, numBytes },
});

async function allTimersDead(clock: VirtualClock) {
  await clock.advance(10_000);
  assert.equal(clock.pending, 0, "timers of a dropped peer");
}

// ---- The vector of handshake.md section 8 ----

const VECTOR = {
  aHello:
    "800001300000000000000000000000000000000d0000001b0000002a00000029cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd4720000001c7374656c6c61722d636f72652032372e312e302028746573742d412900002d6900000000d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c97787377b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14000000006955c7100000004031eaa164bbcba4eb28c76a0f6fd8bacef9d46f90f07de2e6cad995a1c8ff7485038c0cbe7e2c386198fe6bac72a22d8b865280dfec324ba8222ff09f57c4f200aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0000000000000000000000000000000000000000000000000000000000000000",
  bHello:
    "800001300000000000000000000000000000000d0000001b0000002a00000029cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd4720000001c7374656c6c61722d636f72652032372e312e302028746573742d422900002dcd00000000a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b000000006955c74c000000404ae4d9345cdc74bfa3b990c63a9e77b4275536dd1b912784258aedb2aad06748b48c50d029ab06a1fb763b152a1efc08fab4aa4028b149b594a045b83b818604bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0000000000000000000000000000000000000000000000000000000000000000",
  aAuth:
    "8000003400000000000000000000000000000002000000c8d27a755f8671938d63358dcb605423a1881128e0ab778b60ff996b6750be79e4",
  bAuth:
    "8000003400000000000000000000000000000002000000c8d7d12cff80ce1c4eae8ad0cb1ffce6f2584933430cb3015b7b91420d6aef1a88",
  bPeers:
    "800000440000000000000000000000010000000500000001000000000808080800002d6900000000c5e022f471d8c05463eab1a3b34d19c0e20f1773087eda00341fb30bb9c1a126",
  bGrant:
    "8000003800000000000000000000000200000014000000c8000493e0576e275c9fb1ac07e688d91b33ae62e01d9375eca3c782e5c3593ef558fee58d",
  aGrant:
    "8000003800000000000000000000000100000014000000c8000493e0f6233f6ce6b74b4afaf8cd80db2f314c29efadfd238881cedd469aa4109ed770",
  aState:
    "800000340000000000000000000000020000000c00000000a4a370836139834b7b46938093e26b8f4148baf5f2643340c6acc23a600854eb",
  bRejects:
    "8000004800000000000000000000000000000000000000040000000d706565722072656a65637465640000000000000000000000000000000000000000000000000000000000000000000000",
};

/** A and B of the vector. Both clocks are one here, so B's certificate lives the minute longer. */
async function vector(b: Options = {}) {
  const clock = new VirtualClock({ epochMs: (1767229200 - 3600) * 1000 });
  const net = new MemoryNetwork({ clock });
  const node = (seed: number, secret: number, nonce: number, name: string, port: number, life: number) =>
    testNode(clock, 0, {
      seed: new Uint8Array(32).fill(seed),
      x25519Secret: new Uint8Array(32).fill(secret),
      random: { ...new SeededRandom(1), bytes: (n) => new Uint8Array(n).fill(nonce), next: () => 0, int: () => 0 },
      versionStr: `stellar-core 27.1.0 (test-${name})`,
      ledgerVersion: 27,
      overlayVersion: 42,
      overlayMinVersion: 41,
      listeningPort: port,
      certLifetimeSeconds: life,
    });
  let far: Side | undefined;
  const listener = await net.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 0 }, (socket) => {
    far = new Side(socket, "remoteCalledUs", node(0x22, 0x44, 0xbb, "B", 11725, 3660), clock, {
      ...b,
      handlers: { peersToSend: () => [{ ip: Uint8Array.of(8, 8, 8, 8), port: 11625, numFailures: 0 }], ...b.handlers },
    });
  });
  const near = await clock.run(
    new Promise<Side>((resolve) =>
      net.transport("10.0.0.1").dial(listener.address, { timeoutMs: 1000 }, {
        onFail: () => assert.fail(),
        onConnect: (socket) =>
          resolve(new Side(socket, "weCalledRemote", node(0x11, 0x33, 0xaa, "A", 11625, 3600), clock)),
      })
    ),
  );
  await clock.advance(100);
  return { a: near, b: far! };
}

test("the handshake vector: both sides send exactly its frames", async () => {
  const { a, b } = await vector();
  assert.deepEqual(a.tap.frames, [VECTOR.aHello, VECTOR.aAuth, VECTOR.aGrant, VECTOR.aState]);
  assert.deepEqual(b.tap.frames.slice(0, 4), [VECTOR.bHello, VECTOR.bAuth, VECTOR.bPeers, VECTOR.bGrant]);
  assert.equal(b.tap.frames.length, 5, "and GET_SCP_STATE");
  assert.deepEqual(a.events, ["hello", "address", "authenticated", "peers", "grant"]);
  assert.deepEqual(b.events, ["hello", "address", "authenticated", "grant"]);
});

test("the handshake vector: a full node gives AUTH and PEERS, then ERR_LOAD", async () => {
  const rejected: Failure = { code: "local_close", reason: "peer rejected" };
  const { a, b } = await vector({
    handlers: { admit: () => ({ reason: "peer rejected", error: "ERR_LOAD", failure: rejected }) },
  });
  assert.deepEqual(b.tap.frames, [VECTOR.bHello, VECTOR.bAuth, VECTOR.bPeers, VECTOR.bRejects]);
  assert.deepEqual([a.end, b.end], ["remote: ERR_LOAD (peer rejected)", "us: ERR_LOAD peer rejected"]);
  assert.deepEqual(a.drop?.failure, { code: "peer_rejected", text: "peer rejected" });
  assert.equal(a.peers?.length, 1);
  assert.deepEqual(b.events, ["hello", "address"]);
});

// ---- Handshake and connections: upstream's OverlayTests ----

test("loopback peer hello: both authenticated, both address books told", async () => {
  const { clock, a, b } = await loopback();
  await settle(clock);
  assert.deepEqual([a.peer.state, b.peer.state], ["gotAuth", "gotAuth"]);
  assert.deepEqual(a.events, ["hello", "address", "authenticated", "grant"]);
  assert.deepEqual(b.events, ["hello", "address", "authenticated", "grant"]);
  assert.deepEqual([a.peer.nodeIdText, b.peer.nodeIdText], [b.peer.local.nodeIdText, a.peer.local.nodeIdText]);
  assert.deepEqual([a.peer.stage, b.peer.stage], ["live", "live"]);
  assert.deepEqual(a.messages.map((m) => m.type), [MessageType.getScpState]);
});

test("loopback peer flow control activation: full credit on both sides", async () => {
  const { clock, a, b } = await loopback();
  await settle(clock);
  for (const { peer } of [a, b]) {
    assert.deepEqual(peer.flowControl.credit, { messages: 200n, bytes: 300_000n });
    assert.equal(peer.flowControl.blockedSinceMs, undefined);
  }
});

test("loopback peer with 0 port: neither authenticated", async () => {
  const { clock, a, b } = await loopback({}, { node: { listeningPort: 0 } });
  await settle(clock);
  assert.deepEqual([a.end, b.end], ["us: ERR_CONF bad address", "remote: ERR_CONF (bad address)"]);
  assert.deepEqual(a.events, ["hello"]);
  await allTimersDead(clock);
});

test("loopback peer send auth before hello: neither authenticated, no address", async () => {
  for (const role of ["weCalledRemote", "remoteCalledUs"] as const) {
    const { clock, us, them } = await withRaw(role);
    them.auth();
    await settle(clock);
    assert.equal(us.end, "us: ERR_MISC out-of-order AUTH message");
    assert.deepEqual(us.events, []);
    assert.equal(us.peer.times.authMs, undefined);
    assert.deepEqual(them.received.at(-1), {
      type: "errorMsg",
      error: { code: ERROR_CODES.ERR_MISC, msg: "out-of-order AUTH message" },
    });
    await allTimersDead(clock);
  }
});

test("failed auth: unexpected MAC, though both learned the address", async () => {
  // B's AUTH is bent on its way, as if A's key were wrong.
  const { clock, a, b } = await loopback({}, {
    tap: (tap) => {
      tap.mangle = (bytes) => {
        if (bytes.length > 300) return bytes;
        const bent = bytes.slice();
        bent[55] ^= 1;
        return bent;
      };
    },
  });
  await settle(clock);
  assert.deepEqual([a.end, b.end], ["us: ERR_AUTH unexpected MAC", "remote: ERR_AUTH (unexpected MAC)"]);
  assert.deepEqual(a.drop?.failure, { code: "bad_mac", stage: "auth" });
  assert.deepEqual(b.drop?.failure.code, "auth_refused");
  assert.ok(a.events.includes("address") && b.events.includes("address"));
  await allTimersDead(clock);
});

test("peers during auth: PEERS from the caller, and PEERS twice, even empty", async () => {
  const one: StellarMessage = { type: "peers", peers: [{ ip: Uint8Array.of(1, 2, 3, 4), port: 5, numFailures: 0 }] };
  const none: StellarMessage = { type: "peers", peers: [] };
  const called = await live("remoteCalledUs");
  called.them.send(one);
  await settle(called.clock);
  assert.equal(called.us.end, "us: received PEERS");
  for (const [first, second] of [[one, one], [none, one], [one, none]]) {
    const { clock, us, them } = await live("weCalledRemote");
    them.send(first, second);
    await settle(clock);
    assert.equal(us.end, "us: too many msgs PEERS");
    assert.deepEqual(us.events.filter((event) => event === "peers"), ["peers"]);
    assert.equal(them.types.includes("errorMsg"), false);
  }
});

test("reject non preferred peer: peer rejected after AUTH, addresses recorded in both books", async () => {
  const drop = {
    reason: "peer rejected",
    error: "ERR_LOAD" as const,
    failure: { code: "local_close" as const, reason: "" },
  };
  const inbound = await loopback({}, { handlers: { admit: () => drop } });
  await settle(inbound.clock);
  assert.deepEqual([inbound.a.end, inbound.b.end], ["remote: ERR_LOAD (peer rejected)", "us: ERR_LOAD peer rejected"]);
  const outbound = await loopback({ handlers: { admit: () => drop } });
  await settle(outbound.clock);
  assert.deepEqual([outbound.a.end, outbound.b.end], [
    "us: ERR_LOAD peer rejected",
    "remote: ERR_LOAD (peer rejected)",
  ]);
  for (const side of [inbound.a, inbound.b, outbound.a, outbound.b]) assert.ok(side.events.includes("address"));
});

test("reject peers with differing network passphrases: silent, no address", async () => {
  const { clock, a, b } = await loopback({ node: { passphrase: "another" } });
  await settle(clock);
  assert.deepEqual([a.end, b.end], [EOF, "us: failed to verify auth cert"]);
  assert.equal(a.drop?.failure.code, "silent_close");
  assert.equal(b.drop?.failure.code, "network_mismatch");
  assert.deepEqual([a.events, b.events], [[], []]);
  assert.equal(b.tap.writes.length, 0);
  await allTimersDead(clock);
});

test("reject peers with invalid cert: the other side had accepted us", async () => {
  const { clock, us, them } = await withRaw("weCalledRemote");
  const cert = them.node.auth.cert();
  them.hello({ cert: { ...cert, expiration: cert.expiration + 1n } });
  await settle(clock);
  assert.equal(us.end, "us: failed to verify auth cert");
  assert.deepEqual(us.drop?.failure, {
    code: "bad_cert",
    reason: "signature",
    expiresAt: Number(cert.expiration) + 1,
  });
  assert.deepEqual([us.events, them.types], [[], ["hello"]]);
});

test("reject banned peers: before anything else is said", async () => {
  const { clock, a, b } = await loopback({ handlers: { isBanned: () => true } });
  await settle(clock);
  assert.equal(a.end, "us: node is banned");
  assert.equal(b.end, EOF);
  assert.equal(b.drop?.failure.code, "closed_after_hello");
  assert.deepEqual([a.events, b.events], [[], ["hello", "address"]]);
  const called = await loopback({}, { handlers: { isBanned: () => true } });
  await settle(called.clock);
  assert.deepEqual([called.a.end, called.b.end, called.b.tap.writes.length], [EOF, "us: node is banned", 0]);
});

test("reject peers with incompatible overlay versions: wrong protocol version", async () => {
  for (const version of [43, 37]) {
    const window = { overlayVersion: 42, overlayMinVersion: 38 };
    const { clock, a, b } = await loopback({ node: window }, {
      node: { overlayVersion: version, overlayMinVersion: version },
    });
    await settle(clock);
    // B sees it first, but its HELLO and its ERROR_MSG arrive together: A judges the HELLO itself.
    assert.deepEqual([a.end, b.end], ["us: ERR_CONF wrong protocol version", "us: ERR_CONF wrong protocol version"]);
    assert.deepEqual(a.drop?.failure, {
      code: "version_mismatch",
      remoteMin: version,
      remoteMax: version,
      oursMin: 38,
      oursMax: 42,
    });
    assert.ok(!a.events.includes("address") && !b.events.includes("address"));
  }
});

test("a probe that accepts any version hears the refusal from the remote, with its window", async () => {
  const { clock, a } = await loopback({
    node: { overlayVersion: 37, overlayMinVersion: 35 },
    settings: { acceptAnyVersion: true },
  }, { node: { overlayVersion: 40, overlayMinVersion: 38 } });
  await settle(clock);
  assert.equal(a.end, "remote: ERR_CONF (wrong protocol version)");
  const text = "wrong protocol version";
  assert.deepEqual(a.drop?.failure, {
    code: "wrong_version",
    remoteMin: 38,
    remoteMax: 40,
    oursMin: 35,
    oursMax: 37,
    text,
  });
});

test("a probe whose window does not meet knows why the remote closed without a word", async () => {
  const { clock, us, them } = await withRaw("weCalledRemote", { settings: { acceptAnyVersion: true } });
  them.hello({ overlayMinVersion: 2000, overlayVersion: 2001 });
  await settle(clock);
  assert.equal(us.end, undefined);
  them.connection.shutdown();
  await settle(clock);
  assert.equal(us.drop?.failure.code, "version_mismatch");
});

test("reject peers who dont handshake quickly: idle timeout on both sides at the first check", async () => {
  for (const authenticationTimeoutMs of [2000, 5000]) {
    const settings = { authenticationTimeoutMs };
    const { clock, a, b } = await loopback({ settings, tap: (tap) => tap.mangle = () => undefined }, { settings });
    await clock.advance(4900);
    assert.deepEqual([a.end, b.end], [undefined, undefined]);
    await clock.advance(authenticationTimeoutMs + 3000);
    assert.deepEqual([a.end, b.end], ["us: idle timeout", "us: idle timeout"]);
    assert.deepEqual(a.drop?.failure, { code: "handshake_timeout", stage: "hello", afterMs: authenticationTimeoutMs });
    assert.deepEqual([a.events, b.events], [[], []]);
    await allTimersDead(clock);
  }
});

test("a handshake that drips in, a byte per second, is dropped at the first check", async () => {
  const { clock, us, them } = await withRaw("remoteCalledUs");
  const frame = bareFrame(encodeMessage({ type: "hello", hello: them.node.hello(them.nonce) }));
  for (let i = 0; i < 12 && us.end === undefined; i++) {
    them.raw(frame.slice(i, i + 1));
    await clock.advance(1000);
  }
  assert.equal(us.end, "us: idle timeout");
  assert.ok(clock.nowMs() < 11_000, String(clock.nowMs()));
});

test("reject peers with the same nodeid: connecting to self", async () => {
  const { clock, a, b } = await loopback({}, { node: { seed: new Uint8Array(32).fill(1) } });
  await settle(clock);
  assert.equal(a.end, "us: ERR_CONF connecting to self");
  assert.equal(b.drop?.reason.includes("connecting to self"), true);
  assert.ok(!a.events.includes("address"));
});

test("an echo server is seen as ourselves", async () => {
  const net = network();
  const [near, far] = await streams(net);
  const us = new Side(near, "weCalledRemote", testNode(net.clock, 1), net.clock);
  far.attach({ onData: (chunk) => far.write(chunk), onEnd: () => {} });
  await settle(net.clock);
  assert.equal(us.end, "us: ERR_CONF connecting to self");
  assert.deepEqual(us.drop?.failure, { code: "connecting_to_self", text: "" });
  await allTimersDead(net.clock);
});

test("a second connection of a node is refused with its name", async () => {
  const { clock, a, b } = await loopback({}, { handlers: { duplicateOf: () => "GABCD" } });
  await settle(clock);
  assert.equal(b.end, "us: ERR_CONF already-connected peer: GABCD");
  assert.equal(a.end, "remote: ERR_CONF (already*connected peer* GABCD)");
  assert.ok(b.events.includes("address"));
});

test("an expired certificate is accepted only by who asked for it, and only if it was signed", async () => {
  for (
    const [acceptExpiredCert, forged, end] of [
      [false, false, "us: failed to verify auth cert"],
      [true, false, undefined],
      [true, true, "us: failed to verify auth cert"],
    ] as const
  ) {
    const { clock, us, them } = await withRaw("weCalledRemote", {
      settings: { acceptExpiredCert },
      node: { certLifetimeSeconds: -10 },
    });
    const cert = them.node.auth.cert();
    them.hello(forged ? { cert: { ...cert, sig: cert.sig.slice().fill(7, 0, 1) } } : {});
    await settle(clock);
    assert.equal(us.end, end);
    assert.deepEqual(us.events, end === undefined ? ["hello", "address"] : []);
    if (forged) assert.equal((us.drop?.failure as { reason: string }).reason, "signature");
    us.peer.destroy();
  }
});

test("a small-order key is refused without a word", async () => {
  const { clock, us, them } = await withRaw("remoteCalledUs");
  const cert = them.node.auth.cert();
  const { issueCert } = await import("../auth/cert.ts");
  them.hello({ cert: issueCert(them.node.identity, them.node.networkId, new Uint8Array(32), cert.expiration) });
  await settle(clock);
  assert.equal(us.end, "us: Bad crypto request");
  assert.equal(us.tap.writes.length, 0);
});

test("messages before the end of the handshake end it without a word", async () => {
  const early = await withRaw("remoteCalledUs");
  early.them.send({ type: "getScpState", ledgerSeq: 0 });
  await settle(early.clock);
  assert.equal(early.us.end, "us: received GET_SCP_STATE before completed handshake");
  assert.deepEqual(early.us.drop?.failure, {
    code: "protocol_violation",
    reason: "received GET_SCP_STATE before completed handshake",
    stage: "hello",
  });
  assert.equal(early.us.tap.writes.length, 0);
  const later = await withRaw("remoteCalledUs");
  later.them.hello();
  await settle(later.clock);
  later.them.send({ type: "getScpState", ledgerSeq: 0 });
  await settle(later.clock);
  assert.equal(later.us.end, "us: received GET_SCP_STATE before completed handshake");
  // With a wrong MAC it does not come that far.
  const bad = await withRaw("remoteCalledUs");
  bad.them.hello();
  await settle(bad.clock);
  bad.them.raw(bareFrame(encodeMessage({ type: "getScpState", ledgerSeq: 0 })));
  await settle(bad.clock);
  assert.equal(bad.us.end, "us: ERR_AUTH unexpected MAC");
});

test("a second HELLO fails by its MAC, a second AUTH is out of order", async () => {
  const replayed = await withRaw("remoteCalledUs");
  replayed.them.hello();
  replayed.them.hello();
  await settle(replayed.clock);
  assert.equal(replayed.us.end, "us: ERR_AUTH unexpected MAC");
  const auth = await live();
  auth.them.auth();
  await settle(auth.clock);
  assert.equal(auth.us.end, "us: ERR_MISC out-of-order AUTH message");
});

test("AUTH with other flags: AUTH and PEERS are answered first", async () => {
  const { clock, us, them } = await withRaw("remoteCalledUs", {
    handlers: { peersToSend: () => [{ ip: Uint8Array.of(8, 8, 8, 8), port: 1, numFailures: 0 }] },
  });
  them.hello();
  await settle(clock);
  them.auth(0);
  await settle(clock);
  assert.equal(us.end, "us: ERR_CONF flow control bytes disabled");
  assert.deepEqual(them.types, ["hello", "auth", "peers", "errorMsg"]);
  assert.deepEqual([us.peer.times.authMs, us.events.includes("authenticated")], [undefined, false]);
});

// ---- ERROR_MSG and ends ----

test("the text of a received ERROR_MSG is filtered by bytes, as upstream does", async () => {
  const { clock, us, them } = await live();
  them.error(2, "a\u001b[31m\u202e\r\nb");
  await settle(clock);
  assert.equal(us.drop?.reason, "ERR_CONF (a**31m*****b)");
});

test("a received ERROR_MSG ends it in any state, without an answer, and nothing after it is looked at", async () => {
  const before = await withRaw("weCalledRemote");
  const count = before.us.tap.writes.length;
  before.them.error(ERROR_CODES.ERR_LOAD, "peer rejected");
  before.them.hello();
  await settle(before.clock);
  assert.equal(before.us.end, "remote: ERR_LOAD (peer rejected)");
  assert.equal(before.us.tap.writes.length, count);
  assert.equal(before.us.peer.hello, undefined);
  await allTimersDead(before.clock);

  const { clock, us, them } = await live();
  const writes = us.tap.writes.length;
  // One chunk: the error, then messages with good MACs.
  them.connection.send(encodeMessage({ type: "errorMsg", error: { code: 0, msg: "bye\u001b[2J-x" } }));
  for (let i = 0; i < 50; i++) them.connection.send(encodeMessage({ type: "getScpState", ledgerSeq: i }));
  await settle(clock);
  assert.equal(us.end, "remote: ERR_MISC (bye**2J*x)");
  assert.deepEqual(us.drop?.failure, {
    code: "dropped_by_remote",
    errorCode: "ERR_MISC",
    text: "bye\u001b[2J-x",
    stage: "live",
  });
  assert.deepEqual([us.messages.length, us.tap.writes.length], [0, writes]);
  assert.equal(us.peer.send({ type: "getScpState", ledgerSeq: 1 }), false);
  await allTimersDead(clock);
});

test("after our own drop nothing of the same chunk is processed, and the error goes out", async () => {
  const seen: ReceivedMessage[] = [];
  const { clock, us, them } = await live("weCalledRemote", {
    handlers: {
      onMessage: (peer, message) => {
        seen.push(message);
        peer.sendErrorAndDrop("ERR_MISC", "dropped by user");
        assert.equal(peer.send({ type: "getScpState", ledgerSeq: 1 }), false);
        assert.equal(peer.ping(), false);
      },
    },
  });
  for (let i = 0; i < 20; i++) them.connection.send(encodeMessage({ type: "getScpState", ledgerSeq: i }));
  await settle(clock);
  assert.equal(seen.length, 1);
  assert.equal(us.end, "us: ERR_MISC dropped by user");
  assert.deepEqual(them.received.at(-1), { type: "errorMsg", error: { code: 0, msg: "dropped by user" } });
  await allTimersDead(clock);
});

/** Knows which timers could still fire. */
class CountingClock extends VirtualClock {
  live = 0;
  override setTimer(delayMs: number, fire: () => void) {
    let open = true;
    const close = () => {
      if (open) this.live--;
      open = false;
    };
    this.live++;
    const timer = super.setTimer(delayMs, () => {
      close();
      fire();
    });
    return {
      cancel: () => {
        close();
        timer.cancel();
      },
    };
  }
}

test("a dropped peer has no timer left but the one that closes its socket", () => {
  const make = () => {
    const clock = new CountingClock();
    const socket = new FakeSocket();
    const { peer } = new Side(socket, "weCalledRemote", testNode(clock, 1), clock);
    assert.equal(clock.live, 1);
    return { clock, socket, peer };
  };
  const told = make();
  told.socket.feed(bareFrame(encodeMessage({ type: "errorMsg", error: { code: 4, msg: "peer rejected" } })));
  assert.deepEqual([told.clock.live, told.socket.isDestroyed], [0, true]);
  const ended = make();
  ended.socket.end();
  assert.equal(ended.clock.live, 0);
  const ours = make();
  ours.peer.close("enough");
  assert.deepEqual([ours.clock.live, ours.socket.isShutdown, ours.socket.isDestroyed], [1, true, false]);
  ours.socket.end();
  assert.equal(ours.clock.live, 0);
  const destroyed = make();
  destroyed.peer.destroy();
  assert.deepEqual([destroyed.clock.live, destroyed.socket.isDestroyed], [0, true]);
});

test("a dropped peer's socket is closed after the delay when the remote does not", async () => {
  const clock = new VirtualClock();
  const socket = new FakeSocket();
  const { peer } = new Side(socket, "weCalledRemote", testNode(clock, 1), clock);
  peer.close("enough");
  await clock.advance(4999);
  assert.equal(socket.isDestroyed, false);
  await clock.advance(1);
  assert.equal(socket.isDestroyed, true);
});

test("destroy closes at once a peer that was dropped before", async () => {
  const { clock, us, them } = await live();
  us.tap.takes = false;
  us.peer.close("enough");
  us.peer.close("again");
  assert.equal(us.end, "us: enough");
  await clock.advance(4000);
  us.peer.destroy();
  await allTimersDead(clock);
  assert.equal(them.ends.length, 1);
});

test("ends without ERROR_MSG are told by how far the connection came", async () => {
  const silent = await withRaw("weCalledRemote");
  silent.them.connection.shutdown();
  await settle(silent.clock);
  assert.equal(silent.us.drop?.failure.code, "silent_close");
  const unread = network();
  const [near, far] = await streams(unread);
  const us = new Side(near, "weCalledRemote", testNode(unread.clock, 1), unread.clock);
  far.destroy();
  await settle(unread.clock);
  assert.equal(us.drop?.failure.code, "closed_before_hello");
  const cut = await withRaw("weCalledRemote");
  cut.them.raw(Uint8Array.of(0x80, 0, 1, 0, 5));
  cut.them.connection.shutdown();
  await settle(cut.clock);
  assert.deepEqual(cut.us.drop?.failure, {
    code: "frame_malformed",
    reason: "the stream ended inside a frame",
    stage: "hello",
  });
  const after = await withRaw("weCalledRemote");
  after.them.hello();
  await settle(after.clock);
  after.them.connection.shutdown();
  await settle(after.clock);
  assert.deepEqual(after.us.drop?.failure, { code: "closed_after_hello", stage: "auth", reset: false });
  const late = await live();
  late.them.connection.shutdown();
  await settle(late.clock);
  assert.deepEqual([late.us.end, late.us.drop?.failure.code], [EOF, "connection_lost"]);
  await allTimersDead(late.clock);
});

// ---- Frames ----

test("what is not Stellar is called by its name", async () => {
  const text = (t: string) => new TextEncoder().encode(t);
  for (
    const [bytes, looksLike] of [
      [text("HTTP/1.1 400 Bad Request\r\n\r\n"), "http"],
      [text("SSH-2.0-OpenSSH_9.6\r\n"), "ssh"],
      [fromHex("15030300020246"), "tls"],
      [fromHex("160303007a"), "tls"],
      [text("220 mail.example ESMTP\r\n"), "unknown"],
    ] as const
  ) {
    const { clock, us, them } = await withRaw("weCalledRemote");
    them.raw(bytes);
    await settle(clock);
    assert.equal(us.end, "us: error during read");
    assert.deepEqual(us.drop?.failure, { code: "not_stellar", looksLike, firstBytes: toHex(bytes.slice(0, 4)) });
  }
});

test("lengths that are not allowed end it without a word, by our own state", async () => {
  const mark = (length: number) => {
    const bytes = new Uint8Array(4);
    writeUint32(bytes, 0, (length | 0x80000000) >>> 0);
    return bytes;
  };
  for (
    const [length, code] of [[0, "frame_malformed"], [4100, "frame_oversized"], [
      0x7fffffff,
      "frame_oversized",
    ]] as const
  ) {
    const { clock, us, them } = await withRaw("weCalledRemote");
    them.raw(mark(length));
    await settle(clock);
    assert.deepEqual([us.end, us.drop?.failure.code], ["us: error during read", code]);
    assert.deepEqual(them.types, ["hello"]);
  }
  const { clock, us, them } = await live();
  them.raw(mark(16_777_220));
  await settle(clock);
  assert.deepEqual(us.drop?.failure, { code: "frame_oversized", length: 16_777_220, limit: 16_777_216, stage: "live" });
});

test("corrupt XDR is answered with ERR_DATA, in the frame, in HELLO, and where we decode", async () => {
  const hello = await withRaw("remoteCalledUs");
  hello.them.raw(bareFrame(concatBytes(Uint8Array.of(0, 0, 0, 13), new Uint8Array(40))));
  await settle(hello.clock);
  assert.equal(hello.us.end, "us: ERR_DATA received corrupt XDR");
  assert.equal(hello.us.drop?.failure.code, "xdr_invalid");
  for (
    const message of [
      Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0),
      concatBytes(encodeMessage(sendMore(1, 1)), new Uint8Array(4)),
      Uint8Array.of(0, 0, 0, 5, 0, 0, 0, 101),
      // Bodies that nobody here would decode.
      Uint8Array.of(0, 0, 0, 8, 0, 0, 0, 1),
      Uint8Array.of(0, 0, 0, 18, 0, 0, 0, 1),
      concatBytes(Uint8Array.of(0, 0, 0, 7), new Uint8Array(32), Uint8Array.of(0, 0, 0, 2)),
      concatBytes(Uint8Array.of(0, 0, 0, 10), new Uint8Array(16)),
    ]
  ) {
    const { clock, us, them } = await live();
    them.send(message);
    await settle(clock);
    assert.equal(us.end, "us: ERR_DATA received corrupt XDR");
    assert.deepEqual(them.received.at(-1), { type: "errorMsg", error: { code: 1, msg: "received corrupt XDR" } });
  }
});

test("corrupt XDR goes before a wrong MAC, unless it is too long to look at", async () => {
  const wrong = (message: Uint8Array) => bareFrame(message);
  const corrupt = await live();
  corrupt.them.raw(wrong(concatBytes(Uint8Array.of(0, 0, 0, 12), new Uint8Array(8))));
  await settle(corrupt.clock);
  assert.equal(corrupt.us.end, "us: ERR_DATA received corrupt XDR");
  const fine = await live();
  fine.them.raw(wrong(encodeMessage({ type: "getScpState", ledgerSeq: 1 })));
  await settle(fine.clock);
  assert.equal(fine.us.end, "us: ERR_AUTH unexpected auth sequence");
  const large = await live();
  large.them.raw(wrong(concatBytes(Uint8Array.of(0, 0, 0, 10), new Uint8Array(8_000_000).fill(1))));
  await settle(large.clock);
  assert.equal(large.us.end, "us: ERR_AUTH unexpected auth sequence");
});

test("a quorum set of many megabytes is handed on undecoded, also while a ping is out", async () => {
  const { clock, us, them } = await live("weCalledRemote", { settings: { ping: false } });
  // A threshold, and 300000 validators that are there: decoding it would make as many objects.
  const hostile = new Uint8Array(16 + 300_000 * 36);
  hostile[3] = MessageType.scpQuorumset;
  writeUint32(hostile, 8, 300_000);
  us.peer.ping();
  const startedMs = performance.now();
  them.send(hostile);
  await settle(clock);
  assert.equal(us.end, undefined);
  assert.equal(us.messages.length, 1);
  assert.equal(us.messages[0].bytes.length, hostile.length);
  assert.ok(performance.now() - startedMs < 2000);
  us.peer.destroy();
});

test("messages are views on the chunk that was read", async () => {
  const { clock, us, them } = await live();
  them.connection.send(encodeMessage({ type: "getScpState", ledgerSeq: 1 }));
  them.connection.send(encodeMessage({ type: "getScpState", ledgerSeq: 2 }));
  await settle(clock);
  assert.equal(us.messages[0].bytes.buffer, us.messages[1].bytes.buffer);
  us.peer.destroy();
});

// ---- Flow control ----

test("bad peer: invalid grants and SEND_MORE, without ERROR_MSG", async () => {
  for (
    const [message, reason] of [
      [sendMore(0, 0), "invalid message SEND_MORE_EXTENDED"],
      [sendMore(7, 0), "invalid message SEND_MORE_EXTENDED"],
      [{ type: "sendMore", sendMore: { numMessages: 1 } }, "unexpected message type SEND_MORE"],
    ] as [StellarMessage, string][]
  ) {
    const { clock, us, them } = await live();
    them.send(message);
    await settle(clock);
    assert.equal(us.end, `us: ${reason}`);
    assert.ok(!them.types.includes("errorMsg"));
  }
});

test("drop peers that overflow capacity: messages and bytes", async () => {
  for (const which of ["messages", "bytes"]) {
    const { clock, us, them } = await live("weCalledRemote", { grants: false });
    for (const part of [2 ** 63, 2 ** 63 - 2048, 2046]) {
      us.peer.flowControl.granted(
        which === "messages" ? { numMessages: part, numBytes: 1 } : { numMessages: 0, numBytes: part },
      );
    }
    them.grant(2, 2);
    await settle(clock);
    assert.equal(us.end, "us: Peer capacity overflow");
  }
});

test("drop peers that dont respect capacity: bytes, messages", async () => {
  for (const change of [{ floodBytes: 101 }, { floodMessages: 0 }]) {
    const { clock, us, them } = await live("weCalledRemote", {
      settings: { flowControl: { ...DEFAULT_FLOW_CONTROL, ...change } },
    });
    them.send(scp(104));
    await settle(clock);
    assert.equal(us.end, "us: unexpected flood message, peer at capacity");
    assert.equal(us.messages.length, 0, "nothing of it is processed");
    assert.ok(!them.types.includes("errorMsg"));
  }
});

test("what was consumed is granted back after 40 messages or 100000 bytes, whatever becomes of them", async () => {
  const { clock, us, them } = await live();
  const grants = () => them.received.filter((m) => m.type === "sendMoreExtended");
  assert.deepEqual(grants(), [sendMore(200, 300_000)]);
  for (let i = 0; i < 39; i++) them.send(scp(100));
  await settle(clock);
  assert.equal(grants().length, 1);
  them.send(scp(104));
  await settle(clock);
  assert.deepEqual(grants()[1], sendMore(40, 39 * 100 + 104));
  them.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.transaction), new Uint8Array(99_996)));
  await settle(clock);
  assert.deepEqual(grants()[2], sendMore(1, 100_000));
  assert.equal(us.end, undefined);
  us.peer.destroy();
});

test("flood messages wait for credit, all others do not", async () => {
  const { clock, us, them } = await live("weCalledRemote", { grants: false });
  assert.ok(us.peer.send(scp(100)));
  assert.ok(us.peer.send({ type: "getScpState", ledgerSeq: 5 }));
  await settle(clock);
  assert.deepEqual(them.types.slice(-2), ["getScpState", "getScpState"]);
  assert.equal(us.peer.flowControl.queued, 1);
  assert.equal(us.peer.stage, "grant");
  them.grant(1, 100);
  await settle(clock);
  assert.equal(them.undecoded, 1);
  assert.equal(us.peer.flowControl.queued, 0);
  assert.deepEqual(us.peer.flowControl.credit, { messages: 0n, bytes: 0n });
  us.peer.destroy();
});

test("nothing is sent before authentication", async () => {
  const { us } = await withRaw("weCalledRemote");
  assert.equal(us.peer.send({ type: "getScpState", ledgerSeq: 5 }), false);
  assert.equal(us.peer.ping(), false);
  us.peer.destroy();
});

// ---- Timers ----

test("drop idle flow-controlled peers: no grant for 60 s", async () => {
  const { clock, us, them } = await live("weCalledRemote", { grants: false });
  // It reads, and answers pings: only credit is missing.
  while (clock.nowMs() < 59_000) {
    for (const message of them.received.splice(0)) {
      if (message.type === "getScpQuorumset") {
        them.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: message.qSetHash } });
      }
    }
    await clock.advance(1000);
  }
  assert.equal(us.end, undefined);
  await clock.advance(6000);
  assert.equal(us.end, "us: idle timeout (no new flood requests)");
  assert.ok(!them.types.includes("errorMsg"));
  await allTimersDead(clock);
});

test("a grant stops the clock of the missing credit, and a blocked message starts it again", async () => {
  const { clock, us, them } = await live("weCalledRemote", {
    settings: { idleTimeoutMs: 1e9, stragglerTimeoutMs: 1e9 },
  });
  await clock.advance(100_000);
  assert.equal(us.end, undefined);
  us.peer.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.scpMessage), new Uint8Array(400_000)));
  await clock.advance(59_000);
  assert.equal(us.end, undefined);
  them.grant(1, 100);
  await clock.advance(59_000);
  assert.equal(us.end, undefined);
  await clock.advance(7000);
  assert.equal(us.end, "us: idle timeout (no new flood requests)");
});

test("a silent authenticated peer is dropped after 30 s; one that answers pings stays", async () => {
  const silent = await live("weCalledRemote", { settings: { ping: false } });
  const startMs = silent.clock.nowMs();
  await silent.clock.advance(29_000);
  assert.equal(silent.us.end, undefined);
  await silent.clock.advance(7000);
  assert.equal(silent.us.end, "us: idle timeout");
  assert.deepEqual(silent.us.drop?.failure, { code: "idle_timeout", afterMs: 30_000 });
  assert.ok(silent.clock.nowMs() - startMs < 40_000);
  await allTimersDead(silent.clock);

  const answer: PeerHandlers["onMessage"] = (peer, message) => {
    if (message.type !== MessageType.getScpQuorumset) return;
    peer.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: message.bytes.slice(4, 36) } });
  };
  const { clock, a, b } = await loopback({ handlers: { onMessage: answer } }, { handlers: { onMessage: answer } });
  await clock.advance(600_000);
  assert.deepEqual([a.end, b.end], [undefined, undefined]);
  assert.equal(a.peer.latencyMs, 2 * DELAY_MS);
  a.peer.close("done");
  await clock.advance(1000);
  assert.equal(b.end, EOF);
  await allTimersDead(clock);
});

test("drop peers who straggle: our data is not taken although the peer keeps us busy", async () => {
  for (const stragglerTimeoutMs of [60_000, 120_000, 150_000]) {
    const { clock, us, them } = await live("weCalledRemote", { settings: { stragglerTimeoutMs } });
    us.tap.takes = false;
    for (let s = 0; us.end === undefined && s < 500; s++) {
      them.send({ type: "getTxSet", txSetHash: new Uint8Array(32) });
      await clock.advance(1000);
    }
    assert.equal(us.end, "us: straggling (cannot keep up)");
    assert.ok(clock.nowMs() >= stragglerTimeoutMs && clock.nowMs() < 3 * stragglerTimeoutMs);
    await allTimersDead(clock);
  }
});

test("a ping measures the round trip by any DONT_HAVE with its id, one at a time", async () => {
  const { clock, us, them } = await live("weCalledRemote", { settings: { ping: false } });
  const rtts: number[] = [];
  assert.ok(us.peer.ping((ms) => rtts.push(ms)));
  assert.ok(!us.peer.ping((ms) => rtts.push(ms)), "one at a time");
  await clock.advance(DELAY_MS);
  const asked = them.received.at(-1);
  assert.ok(asked?.type === "getScpQuorumset");
  const answer = (reqHash: Uint8Array, type: number = MessageType.txSet) =>
    them.send({ type: "dontHave", dontHave: { type, reqHash } });
  answer(new Uint8Array(32));
  await clock.advance(5);
  answer(asked.qSetHash);
  answer(asked.qSetHash);
  await settle(clock);
  assert.deepEqual(rtts, [2 * DELAY_MS + 5]);
  assert.equal(us.peer.latencyMs, 2 * DELAY_MS + 5);
  assert.equal(us.messages.length, 2, "the guess and the repetition belong to nobody here");
  us.peer.destroy();
});

test("a ping that is not answered stays the only one; who asks later joins it", async () => {
  const { clock, us, them } = await live();
  await clock.advance(20_000);
  assert.equal(them.types.filter((type) => type === "getScpQuorumset").length, 1);
  const rtts: number[] = [];
  assert.ok(us.peer.ping((ms) => rtts.push(ms)));
  const asked = them.received.find((m) => m.type === "getScpQuorumset");
  assert.ok(asked?.type === "getScpQuorumset");
  them.send({ type: "dontHave", dontHave: { type: 10, reqHash: asked.qSetHash } });
  await clock.advance(50);
  assert.equal(rtts.length, 1);
  us.peer.destroy();
});

test("a handler that finds corrupt XDR ends the connection with ERR_DATA", async () => {
  const { clock, us, them } = await live("weCalledRemote", {
    handlers: { onMessage: (_, message) => void message.decode() },
  });
  them.send(Uint8Array.of(0, 0, 0, MessageType.scpQuorumset, 0xff, 0xff, 0xff, 0xff));
  await settle(clock);
  assert.equal(us.end, "us: ERR_DATA received corrupt XDR");
});

test("the peer keeps no view on what it read: its HELLO and PEERS own their bytes", async () => {
  const { clock, us, them } = await live();
  them.send({ type: "peers", peers: [{ ip: Uint8Array.of(1, 2, 3, 4), port: 5, numFailures: 0 }] });
  await settle(clock);
  const hello = us.peer.hello as Hello;
  for (
    const bytes of [hello.peerId, hello.nonce, hello.networkId, hello.cert.sig, hello.cert.pubkey, us.peers![0].ip]
  ) {
    assert.equal(bytes.buffer.byteLength, bytes.length);
  }
  us.peer.destroy();
});

// ---- Messages still being processed ----

/** Promises that a test settles, in the order in which they were made. */
class Work {
  readonly open: { done: () => void; fail: (error: unknown) => void }[] = [];
  started = 0;
  readonly handle = (): Promise<void> => {
    this.started++;
    return new Promise((done, fail) => void this.open.push({ done, fail }));
  };
  finish(n = this.open.length): void {
    for (const { done } of this.open.splice(0, n)) done();
  }
}
const notFlood = (n: number) => encodeMessage({ type: "getScpState", ledgerSeq: n });
const full = { messages: DEFAULT_FLOW_CONTROL.floodMessages, bytes: DEFAULT_FLOW_CONTROL.floodBytes };

test("a message that is still being processed keeps its capacity, and nothing is granted for it before", async () => {
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", { handlers: { onMessage: work.handle } });
  const grants = () => them.received.filter((m) => m.type === "sendMoreExtended").length;
  for (let i = 0; i < 50; i++) them.send(scp(100));
  await settle(clock);
  assert.equal(work.started, 50);
  assert.deepEqual(us.peer.flowControl.localCapacity, { messages: 150, bytes: 295_000 });
  assert.deepEqual([grants(), us.peer.throttled], [1, false]);
  work.finish(39);
  await settle(clock);
  assert.equal(grants(), 1);
  work.finish(1);
  await settle(clock);
  assert.equal(grants(), 2);
  work.finish();
  await settle(clock);
  assert.deepEqual(us.peer.flowControl.localCapacity, full);
  us.peer.destroy();
});

test("reading pauses while 201 messages are being processed, and goes on in order when one is done", async () => {
  const seen: number[] = [];
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", {
    handlers: {
      onMessage: (_, message) => {
        seen.push(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(4));
        return work.handle();
      },
    },
  });
  for (let i = 0; i < 500; i++) them.connection.send(notFlood(i));
  await settle(clock);
  for (let i = 500; i < 1000; i++) them.connection.send(notFlood(i));
  await settle(clock);
  assert.deepEqual([work.started, us.peer.throttled, us.peer.metrics.readThrottles], [201, true, 1]);
  await clock.advance(1000);
  work.finish(1);
  await settle(clock);
  assert.deepEqual([work.started, us.peer.throttled], [202, true]);
  while (work.open.length > 0) {
    work.finish(50);
    await settle(clock);
  }
  assert.deepEqual(seen, Array.from({ length: 1000 }, (_, i) => i));
  assert.deepEqual([us.peer.throttled, us.peer.connection.paused], [false, false]);
  assert.deepEqual(us.peer.flowControl.totalCapacity, { messages: 201, bytes: 1_048_576 });
  assert.ok(us.peer.metrics.readThrottleMs >= 1000);
  assert.equal(us.end, undefined);
  us.peer.destroy();
});

test("reading pauses while 1 MiB is being processed, whatever its type", async () => {
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", { handlers: { onMessage: work.handle } });
  const txSet = new Uint8Array(600_000);
  txSet[3] = MessageType.txSet;
  txSet[39] = 1;
  for (let i = 0; i < 5; i++) them.send(txSet);
  await settle(clock);
  assert.deepEqual([work.started, us.peer.throttled], [2, true]);
  assert.deepEqual(us.peer.flowControl.localCapacity, full, "no flood message");
  while (work.open.length > 0) {
    work.finish();
    await settle(clock);
  }
  assert.equal(work.started, 5);
  assert.deepEqual(us.peer.flowControl.totalCapacity, { messages: 201, bytes: 1_048_576 });
  us.peer.destroy();
});

test("flood messages beyond the capacity are refused on receipt, before any processing, also while others are held", async () => {
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", { handlers: { onMessage: work.handle } });
  for (let i = 0; i < 250; i++) them.connection.send(scp(100));
  await settle(clock);
  assert.equal(us.end, "us: unexpected flood message, peer at capacity");
  assert.equal(work.started, 200);
  work.finish();
  await settle(clock);
  assert.deepEqual(us.peer.flowControl.localCapacity, full, "each gave back its own, and no more");
  assert.deepEqual(us.peer.flowControl.totalCapacity, { messages: 201, bytes: 1_048_576 });
});

test("after a drop nothing that is held is processed, and what settles late gives its capacity back and says nothing", async () => {
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", { handlers: { onMessage: work.handle } });
  for (let i = 0; i < 60; i++) them.connection.send(scp(100));
  for (let i = 0; i < 300; i++) them.connection.send(notFlood(i));
  await settle(clock);
  assert.deepEqual([work.started, us.peer.throttled], [201, true]);
  const writes = us.tap.writes.length;
  us.peer.close("enough");
  work.finish();
  await settle(clock);
  assert.deepEqual([work.started, us.tap.writes.length], [201, writes]);
  assert.deepEqual(us.peer.flowControl.localCapacity, full);
  assert.deepEqual(us.peer.flowControl.totalCapacity, { messages: 201, bytes: 1_048_576 });
  assert.equal(them.ends.length, 1);
  await allTimersDead(clock);
});

test("a promise that finds corrupt XDR ends the connection as a handler that throws, and gives its capacity back once", async () => {
  const { clock, us, them } = await live("weCalledRemote", {
    // deno-lint-ignore require-await
    handlers: { onMessage: async (_, message) => void message.decode() },
  });
  them.connection.send(scp(20));
  them.connection.send(scp(20));
  await settle(clock);
  assert.equal(us.end, "us: ERR_DATA received corrupt XDR");
  assert.deepEqual(us.peer.flowControl.localCapacity, full);
});

test("a promise that finds corrupt XDR ends the connection before what is held behind it is processed", async () => {
  const work = new Work();
  const { clock, us, them } = await live("weCalledRemote", { handlers: { onMessage: work.handle } });
  for (let i = 0; i < 300; i++) them.connection.send(notFlood(i));
  await settle(clock);
  assert.equal(work.started, 201);
  work.open[0].fail(new OverlayError({ code: "xdr_invalid", path: "x", reason: "bent" }));
  await settle(clock);
  assert.deepEqual([work.started, us.end], [201, "us: ERR_DATA received corrupt XDR"]);
  work.open.shift();
  work.finish();
  await settle(clock);
  assert.deepEqual(us.peer.flowControl.totalCapacity, { messages: 201, bytes: 1_048_576 });
});

test("a handler that throws gives the capacity back", async () => {
  const { clock, us, them } = await live("weCalledRemote", {
    handlers: { onMessage: (_, message) => void message.decode() },
  });
  them.send(scp(20));
  await settle(clock);
  assert.equal(us.end, "us: ERR_DATA received corrupt XDR");
  assert.deepEqual(us.peer.flowControl.localCapacity, full);
});

// ---- Outgoing queues ----

test("flood messages stay in the queue, being sent, until the system took them", async () => {
  const { clock, us } = await live();
  us.tap.takes = false;
  us.peer.send(scp(100));
  await settle(clock);
  us.peer.send(scp(100));
  await settle(clock);
  assert.deepEqual([us.peer.flowControl.beingSent, us.peer.flowControl.queued], [2, 0]);
  us.peer.destroy();
});

test("flood messages leave the queue when they were written", async () => {
  const { clock, us, them } = await live();
  for (let i = 0; i < 10; i++) us.peer.send(scp(100));
  await settle(clock);
  assert.deepEqual([us.peer.flowControl.beingSent, them.undecoded], [0, 10]);
  us.peer.destroy();
});

test("a peer that does not read is dropped once more waits for it than it may hold", async () => {
  const { clock, us } = await live("weCalledRemote", { settings: { maxUnsentBytes: 5_000_000 } });
  us.tap.takes = false;
  const qset = new Uint8Array(1_000_000);
  qset[3] = MessageType.scpQuorumset;
  let sent = 0;
  while (us.peer.send(qset) && sent < 100) {
    sent++;
    await clock.advance(100);
  }
  assert.equal(us.end, "us: straggling (cannot keep up)");
  assert.deepEqual(us.drop?.failure, { code: "straggling", afterMs: 400 });
  assert.equal(sent, 5);
  await allTimersDead(clock);
});

test("a larger largest transaction is granted at once to who is authenticated, and with the first grant to others", async () => {
  const { clock, us, them } = await live();
  us.peer.setMaxTransactionBytes(132_000);
  await settle(clock);
  assert.deepEqual(them.received.at(-1), sendMore(0, 29_600));
  us.peer.setMaxTransactionBytes(102_400);
  us.peer.setMaxTransactionBytes(102_400);
  await settle(clock);
  assert.deepEqual(them.received.at(-1), sendMore(0, 29_600));
  us.peer.destroy();
  const early = await withRaw("remoteCalledUs");
  early.us.peer.setMaxTransactionBytes(300_000);
  early.them.hello();
  await settle(early.clock);
  early.them.auth();
  await settle(early.clock);
  assert.deepEqual(early.them.received.find((m) => m.type === "sendMoreExtended"), sendMore(200, 400_000));
  early.us.peer.destroy();
});

// ---- Faults of ours, for tests ----

test("reject peers with invalid cert: our HELLO damaged by fault", async () => {
  const { clock, a, b } = await loopback({}, { settings: { faults: { damageCert: true } } });
  await settle(clock);
  assert.deepEqual([a.end, b.end], ["us: failed to verify auth cert", EOF]);
  assert.deepEqual([a.events, b.events], [[], ["hello", "address"]]);
});

test("failed auth: our receiving key damaged by fault", async () => {
  const { clock, a, b } = await loopback({ settings: { faults: { damageAuth: true } } });
  await settle(clock);
  assert.deepEqual([a.end, b.end], ["us: ERR_AUTH unexpected MAC", "remote: ERR_AUTH (unexpected MAC)"]);
  assert.ok(a.events.includes("address") && b.events.includes("address"));
});
