import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import {
  FUTURENET,
  LOCAL,
  type Network,
  networkLabel,
  NETWORKS,
  PUBNET,
  TESTNET,
} from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { Peer } from "../../overlay/peer/peer.ts";
import { testNode } from "../../overlay/peer/peer_test_remote.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import {
  certificateFacts,
  type ConnectPlan,
  type ConnectResult,
  connectTarget,
  isSuccess,
  usableAddresses,
} from "./connect.ts";

const PORT = 11625;

/** A network where 10.0.0.2 and the hosts named by `nodes` run a node of the given network. */
async function world(nodes: Record<string, Network> = { "10.0.0.2": TESTNET }, names: Record<string, string[]> = {}) {
  const clock = new VirtualClock();
  const net = new MemoryNetwork({ clock, names, delayMs: () => 5 });
  for (const [host, network] of Object.entries(nodes)) {
    const local = testNode(clock, 50, { passphrase: network.passphrase });
    await net.transport(host).listen({ host, port: PORT }, (socket) => {
      new Peer({
        role: "remoteCalledUs",
        socket,
        local,
        clock,
        random: new SeededRandom(1),
        handlers: {
          peersToSend: () => [
            { ip: Uint8Array.of(8, 8, 8, 8), port: 11625, numFailures: 0 },
            { ip: Uint8Array.of(8, 8, 4, 4), port: 0, numFailures: 0 },
          ],
          onMessage: () => {},
          onDropped: () => {},
        },
      });
    });
  }
  const connect = (host: string, plan: Partial<ConnectPlan> = {}): Promise<ConnectResult> =>
    connectTarget({
      target: { address: { host, port: PORT } },
      text: `${host}:${PORT}`,
      network: TESTNET,
      localFor: (network) => testNode(clock, 1, { passphrase: network.passphrase }),
      transport: net.transport("10.0.0.1"),
      resolver: net,
      clock,
      random: new SeededRandom(2),
      wants: {},
      timeouts: {},
      tryNetworks: false,
      ...plan,
    });
  return { clock, net, connect, run: (host: string, plan?: Partial<ConnectPlan>) => clock.run(connect(host, plan)) };
}

test("connectTarget tells all about a node that admits us", async () => {
  const { run } = await world();
  const result = await run("10.0.0.2");
  assert.ok(isSuccess(result));
  assert.deepEqual([result.state, result.code, result.detail, result.hint], ["reachable", null, null, null]);
  assert.deepEqual([result.address, result.network, result.listeningPort], ["10.0.0.2:11625", "testnet", 11625]);
  assert.deepEqual(result.peers, ["8.8.8.8:11625"], "port 0 cannot be dialed");
  assert.deepEqual(result.stagesMs, { dns: 0, tcp: 10, hello: 10, auth: 10, peers: 0, grant: 0 });
  assert.equal(result.startedAt, "2026-01-01T00:00:00.000Z");
  assert.deepEqual(result.attempts.map((a) => [a.address, a.network, a.state, a.code]), [
    ["10.0.0.2:11625", "testnet", "reachable", null],
  ]);
});

test("connectTarget tries the other addresses of a name that have no TCP connection", async () => {
  const { run } = await world({ "10.0.0.2": TESTNET }, {
    "n.example": ["10.0.0.8", "10.0.0.9", "10.0.0.2", "10.0.0.7"],
  });
  const result = await run("n.example");
  assert.equal(result.address, "10.0.0.2:11625");
  assert.deepEqual(result.attempts.map((a) => a.code), ["connect_refused", "connect_refused", null]);
  assert.ok(result.stagesMs.dns !== undefined);
});

test("connectTarget reports a name that does not resolve", async () => {
  const { run } = await world();
  const result = await run("nowhere.example");
  assert.deepEqual([result.state, result.code, result.address, result.attempts], ["dead", "dns_failed", null, []]);
  assert.ok(!isSuccess(result));
});

test("connectTarget finds out the network when it is left open", async () => {
  const { run } = await world({ "10.0.0.2": FUTURENET });
  const result = await run("10.0.0.2", { network: undefined });
  assert.deepEqual([result.state, result.code, result.network], ["reachable", null, "futurenet"]);
  assert.deepEqual(result.attempts.map((a) => [a.network, a.code]), [
    ["pubnet", "silent_close"],
    ["testnet", "silent_close"],
    ["futurenet", null],
  ]);
});

test("connectTarget names the network of a node that is on another one, when it may try", async () => {
  const { run } = await world({ "10.0.0.2": LOCAL });
  const result = await run("10.0.0.2", { network: PUBNET, tryNetworks: true });
  assert.deepEqual([result.state, result.code, result.network], ["other-network", "network_mismatch", "local"]);
  assert.match(result.detail!, /runs network local, not pubnet/);
  assert.match(result.hint!, /--network local/);
  assert.equal(result.attempts.length, NETWORKS.length);
  const silent = await run("10.0.0.2", { network: PUBNET });
  assert.deepEqual([silent.state, silent.code, silent.attempts.length], ["silent", "silent_close", 1]);
});

test("connectTarget refuses another identity than the one asked for", async () => {
  const { run } = await world();
  const address = { host: "10.0.0.2", port: PORT };
  const { nodeId } = await run("10.0.0.2");
  assert.equal((await run("10.0.0.2", { target: { address, nodeId: nodeId! } })).state, "reachable");
  const expected = "GABMDKJDMFEW5SFDCBSGQSNVI3UXUM7XGJSKRQK2YGFOXXBHLA6WIEYO";
  const wrong = await run("10.0.0.2", { target: { address, nodeId: expected } });
  assert.deepEqual([wrong.state, wrong.code, wrong.nodeId], ["faulty", "identity_mismatch", nodeId]);
});

test("connectTarget that is aborted waits for nobody, a resolver included", async () => {
  const { clock, connect } = await world();
  const abort = new AbortController();
  const pending = connect("n.example", { resolver: { resolve: () => new Promise(() => {}) }, signal: abort.signal });
  abort.abort();
  const result = await clock.run(pending);
  assert.deepEqual([result.state, result.code], ["interrupted", "local_close"]);
  const before = await clock.run(connect("10.0.0.2", { signal: AbortSignal.abort() }));
  assert.deepEqual([before.state, before.code], ["interrupted", "local_close"]);
});

test("connectTarget lets an error through that is none of ours", async () => {
  const { run } = await world();
  await assert.rejects(run("x", { resolver: { resolve: () => Promise.reject(new TypeError("bug")) } }), TypeError);
  const failure = { code: "dns_failed", host: "x", reason: "EAI_AGAIN" } as const;
  const result = await run("x", { resolver: { resolve: () => Promise.reject(new OverlayError(failure)) } });
  assert.match(result.detail!, /EAI_AGAIN/);
});

test("certificateFacts bound the remote's clock, and take any expiration", () => {
  const hello = (expiration: bigint) => ({ cert: { expiration } }) as Hello;
  assert.deepEqual(certificateFacts(hello(10_000n), 7_000_000), {
    expiresAt: "1970-01-01T02:46:40.000Z",
    leftMs: 3_000_000,
    clockAheadMinMs: -600_000,
    clockAheadMaxMs: 1_200_000,
  });
  assert.equal(certificateFacts(hello(0n), 0).leftMs, 0);
  // What RFC 3339 cannot write, and what was not issued as stellar-core does, tells nothing.
  const far = certificateFacts(hello(2n ** 64n - 1n), 0);
  assert.deepEqual([far.expiresAt, far.clockAheadMinMs, far.clockAheadMaxMs], [null, null, null]);
});

test("usableAddresses keeps order and repetitions, and leaves out what cannot be dialed", () => {
  const at = (port: number, ...ip: number[]) => ({ ip: Uint8Array.from(ip), port, numFailures: 0 });
  assert.deepEqual(usableAddresses([at(2, 1, 1, 1, 1), at(70_000, 1, 1, 1, 1), at(1, 9, 9, 9, 9), at(2, 1, 1, 1, 1)]), [
    "1.1.1.1:2",
    "9.9.9.9:1",
    "1.1.1.1:2",
  ]);
});

test("networkLabel is the name, or the passphrase of a network that has none", () => {
  assert.equal(networkLabel(PUBNET), "pubnet");
  assert.equal(networkLabel({ name: "custom", passphrase: "Mine ; 2026", seeds: [] }), "Mine ; 2026");
});
