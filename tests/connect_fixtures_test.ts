/** connectTarget over real sockets against what stellar-core did in the recorded sessions. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { toHex } from "../overlay/base/bytes.ts";
import { type Clock, systemClock } from "../overlay/base/clock.ts";
import { hintFor } from "../overlay/base/errors.ts";
import { LOCAL, PUBNET } from "../overlay/base/networks.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { LocalNode } from "../overlay/peer/local_node.ts";
import { systemResolver, TcpTransport } from "../overlay/transport/tcp.ts";
import { decodeMessage } from "../overlay/wire/messages.ts";
import { type ConnectPlan, type ConnectResult, connectTarget, usableAddresses } from "../survey/probe/connect.ts";
import type { VisitWants } from "../survey/probe/visit.ts";
import { loadSession, type Session, splitFrame } from "./kit/fixtures.ts";
import { framesOf, recordedHello, recordedRandom, recorderNode, startReplay } from "./kit/replay_server.ts";

interface Run {
  result: ConnectResult;
  received: Uint8Array[];
}

async function run(
  session: Session,
  local: (clock: Clock) => LocalNode,
  clock: Clock,
  plan: Partial<ConnectPlan> = {},
): Promise<Run> {
  const server = await startReplay(session);
  try {
    const node = local(clock);
    const result = await connectTarget({
      target: { address: { host: server.host, port: server.port } },
      text: `${server.host}:${server.port}`,
      network: [PUBNET, LOCAL].find((network) => network.passphrase === session.header.network),
      localFor: () => node,
      transport: new TcpTransport(),
      resolver: systemResolver,
      clock,
      random: recordedRandom(session),
      wants: {},
      timeouts: { connectMs: 2000, stageMs: 2000, peersMs: 300 },
      tryNetworks: false,
      ...plan,
    });
    return { result, received: server.received };
  } finally {
    server.close();
  }
}

/** As the recorder, at its time. */
function asRecorder(name: string, wants: Partial<VisitWants> = {}): Promise<Run> {
  const session = loadSession(name);
  const startedMs = systemClock.nowMs();
  const clock = {
    ...systemClock,
    wallMs: () => session.header.unixTime * 1000 + (systemClock.nowMs() - startedMs) % 1000,
  };
  return run(session, (at) => recorderNode(session, at), clock, { wants });
}

/** As a stranger, now: the recorded certificate may have expired since. */
function asStranger(name: string, clock: Clock, passphrase = LOCAL.passphrase): Promise<Run> {
  return run(loadSession(name), (at) => new LocalNode({ passphrase, clock: at, random: systemRandom }), clock);
}

function recordedPeers(name: string): string[] {
  const message = decodeMessage(splitFrame(framesOf(loadSession(name), "in", "peers")[0].bytes).message);
  return message.type === "peers" ? usableAddresses(message.peers) : [];
}

function assertIdentity(name: string, { result, received }: Run): void {
  const session = loadSession(name);
  const hello = recordedHello(session, "in");
  assert.equal(result.nodeId, session.hello!.peer);
  assert.equal(result.versionStr, "v26.1.0-dirty");
  assert.deepEqual(
    [result.overlayVersion, result.overlayMinVersion, result.ledgerVersion, result.listeningPort],
    [40, 38, 26, session.hello!.listeningPort],
  );
  assert.deepEqual([result.network, result.networkId], ["local", toHex(hello.networkId)]);
  assert.equal(result.certificate?.expiresAt, new Date(Number(hello.cert.expiration) * 1000).toISOString());
  assert.ok(received.length > 0);
}

function assertSameFrames(name: string, { received }: Run): void {
  const session = loadSession(name);
  for (const [i, type] of ["hello", "auth"].entries()) {
    assert.equal(toHex(received[i]), toHex(framesOf(session, "out", type)[0].bytes), `${type} of ${name}`);
  }
}

test("connect judges full: state full, no code, identity and peers kept", async () => {
  const done = await asRecorder("full");
  assertIdentity("full", done);
  assertSameFrames("full", done);
  const { result } = done;
  assert.deepEqual([result.state, result.code, result.remoteText], ["full", null, "peer rejected"]);
  assert.equal(result.hint, hintFor({ code: "peer_rejected", text: "" }));
  assert.deepEqual(result.peers, recordedPeers("full"));
  assert.ok(result.peers!.length > 0);
  assert.deepEqual(Object.keys(result.stagesMs), ["dns", "tcp", "hello", "auth", "peers"]);
});

for (const name of ["very-high-max", "cert-far-future", "caller-flood"]) {
  test(`connect judges ${name}: reachable, with the peers it offered`, async () => {
    const done = await asRecorder(name);
    assertIdentity(name, done);
    assertSameFrames(name, done);
    const { result } = done;
    assert.deepEqual([result.state, result.code, result.hint, result.remoteText], ["reachable", null, null, null]);
    assert.deepEqual(result.peers, recordedPeers(name));
    assert.ok(result.stagesMs.grant !== undefined);
    // The recorder's clock is ours: nothing of the certificate's hour was over.
    const { clockAheadMinMs, clockAheadMaxMs } = result.certificate!;
    assert.ok(clockAheadMinMs! <= 2000 && clockAheadMaxMs! >= -2000, `${clockAheadMinMs}..${clockAheadMaxMs}`);
  });
}

test("connect judges dropped-and-banned: dropped by its operator, identity kept", async () => {
  const done = await asRecorder("dropped-and-banned", { stay: true });
  assertIdentity("dropped-and-banned", done);
  assertSameFrames("dropped-and-banned", done);
  const { result } = done;
  assert.deepEqual([result.state, result.code, result.remoteText], ["dropped", "dropped_by_remote", "dropped by user"]);
  assert.match(result.hint!, /operator dropped us \(droppeer\); a ban may follow/);
  assert.deepEqual(result.peers, recordedPeers("dropped-and-banned"));
  assert.ok(result.scpMessages > 50);
});

const AT_HELLO: { name: string; code: ConnectResult["code"]; hint: RegExp; text: string }[] = [
  { name: "self", code: "connecting_to_self", hint: /same seed/, text: "connecting to self" },
  { name: "duplicate", code: "already_connected", hint: /fresh identity/, text: "already-connected peer: GCKWV" },
  ...["too-old", "too-new", "absurd-window"].map((name) => ({
    name,
    code: "wrong_version" as const,
    hint: /--overlay-min at most 40 and --overlay-version at least 38/,
    text: "wrong protocol version",
  })),
];

const inTenYears = { ...systemClock, wallMs: () => Date.UTC(2036, 10, 23) };

for (const { name, code, hint, text } of AT_HELLO) {
  test(`connect judges ${name} as the recorder`, async () => {
    const done = await asRecorder(name);
    assertIdentity(name, done);
    const { result } = done;
    assert.deepEqual([result.state, result.code, result.peers], ["refused", code, null]);
    assert.match(result.hint!, hint);
    // Our own node id is seen by ourselves, before the remote's word is read.
    assert.equal(result.remoteText, name === "self" ? null : text);
    if (name !== "self") assertSameFrames(name, done);
    else assert.equal(toHex(done.received[0]), toHex(framesOf(loadSession(name), "out", "hello")[0].bytes));
  });

  for (const [when, clock] of [["today", systemClock], ["in ten years", inTenYears]] as const) {
    test(`connect judges ${name} as a stranger, ${when}`, async () => {
      const done = await asStranger(name, clock);
      assertIdentity(name, done);
      const { result } = done;
      assert.deepEqual([result.state, result.code, result.remoteText], ["refused", code, text]);
      assert.match(result.hint!, hint);
      // The recorded certificate is reported, expired or not.
      const left = Date.parse(result.certificate!.expiresAt!) - clock.wallMs();
      assert.ok(Math.abs(result.certificate!.leftMs - left) < 5000);
      if (clock === inTenYears) assert.ok(result.certificate!.leftMs < 0);
    });
  }
}

for (const name of ["wrong-network", "banned", "cert-expired"]) {
  const verdict = ({ result }: Run, network: string) => {
    assert.deepEqual([result.state, result.code, result.remoteText, result.nodeId, result.peers, result.certificate], [
      "silent",
      "silent_close",
      null,
      null,
      null,
      null,
    ]);
    assert.match(result.detail!, new RegExp(`^closed without a byte \\d+ ms after our HELLO for network ${network}$`));
    const { hint } = result;
    for (
      const word of [
        "another network",
        "--network auto",
        "certificate looks expired",
        "clocks",
        "banned",
        "fresh identity",
      ]
    ) {
      assert.ok(hint!.includes(word), word);
    }
    assert.deepEqual(Object.keys(result.stagesMs), ["dns", "tcp"]);
    assert.equal(result.bytesRead, 0);
  };

  test(`connect gives ${name} the one verdict of a silent close, as the recorder`, async () => {
    const done = await asRecorder(name);
    verdict(done, name === "wrong-network" ? "pubnet" : "local");
    assert.deepEqual(done.received.map(toHex), framesOf(loadSession(name), "out").map((frame) => toHex(frame.bytes)));
  });

  test(`connect gives ${name} the one verdict of a silent close, as a stranger today`, async () => {
    const network = loadSession(name).header.network;
    verdict(await asStranger(name, systemClock, network), name === "wrong-network" ? "pubnet" : "local");
  });
}

test("connect tries the other known networks after a silent close when it may", async () => {
  const session = loadSession("wrong-network");
  const nodes = (network: { passphrase: string }) =>
    new LocalNode({ passphrase: network.passphrase, clock: systemClock, random: systemRandom });
  const { result } = await run(session, () => nodes(LOCAL), systemClock, {
    network: LOCAL,
    localFor: nodes,
    tryNetworks: true,
  });
  assert.deepEqual([result.state, result.code], ["silent", "silent_close"]);
  assert.deepEqual(result.attempts.map((a) => [a.network, a.code]), [
    ["local", "silent_close"],
    ["pubnet", "silent_close"],
    ["testnet", "silent_close"],
    ["futurenet", "silent_close"],
  ]);
});

test("connect with the network left open finds the one the node is on", async () => {
  // The node of `duplicate` answers anybody; its certificate proves its network.
  const session = loadSession("duplicate");
  const nodes = (network: { passphrase: string }) =>
    new LocalNode({ passphrase: network.passphrase, clock: systemClock, random: systemRandom });
  const { result } = await run(session, () => nodes(LOCAL), systemClock, { network: PUBNET, localFor: nodes });
  assert.deepEqual([result.state, result.code, result.network], ["other-network", "network_mismatch", "local"]);
  assert.equal(result.nodeId, session.hello!.peer);
  assert.match(result.hint!, /--network local/);
});
