import { test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { type Clock, systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { LOCAL, TESTNET } from "../../overlay/base/networks.ts";
import { addressOfWire, formatAddress } from "../../overlay/base/peer_address.ts";
import { type Random, SeededRandom } from "../../overlay/base/random.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Endpoint, Transport } from "../../overlay/transport/transport.ts";
import { type StellarMessage } from "../../overlay/wire/messages.ts";
import { quorumSetHashOf, scpQuorumSet, scpStatement } from "../../overlay/wire/types.ts";
import { encode } from "../../overlay/wire/xdr.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import { type Visit, visit, type VisitPlan } from "../../survey/probe/visit.ts";
import { pairDelays, planDigest, planTwin } from "../../survey/twin/plan.ts";
import type { TwinPlan } from "../../survey/twin/node_plan.ts";
import { scpPreimage } from "../../survey/twin/scp.ts";
import { TOPOLOGY_KINDS } from "../../survey/twin/topology.ts";
import { parseTopology } from "../../survey/twin/topology_file.ts";
import { nodeIdOf, seedAddresses, type TwinTruth, twinTruth } from "../../survey/twin/truth.ts";
import { Twin } from "../../survey/twin/twin.ts";

interface World {
  clock: Clock;
  random: Random;
  transport: Transport;
}

function localOn(world: World, passphrase: string): LocalNode {
  return new LocalNode({ passphrase, clock: world.clock, random: world.random });
}

function visitAt(world: World, to: Endpoint, local: LocalNode, more: Partial<VisitPlan> = {}): Promise<Visit> {
  return visit({ ...world, to, local, ...more });
}

/** A crawl in its simplest form: every address once, the other network after a silent close. */
async function crawl(world: World, seeds: readonly string[], timeouts: VisitPlan["timeouts"] = {}): Promise<TwinTruth> {
  const truth: TwinTruth = { nodes: [], addresses: [], edges: [] };
  const met = new Set(seeds);
  const queue = [...seeds];
  const one = async (address: string): Promise<void> => {
    const at = address.lastIndexOf(":");
    const to = { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
    if (!to.host.startsWith("127.")) {
      truth.addresses.push({ address, state: "skipped", code: null });
      return;
    }
    let result = await visitAt(world, to, localOn(world, LOCAL.passphrase), { timeouts });
    if (result.failure?.code === "silent_close") {
      const other = await visitAt(world, to, localOn(world, TESTNET.passphrase), { timeouts });
      if (other.hello !== undefined) {
        result = {
          ...other,
          state: "other-network",
          failure: { code: "network_mismatch", ours: "", theirs: "" },
          peers: [],
        };
      }
    }
    truth.addresses.push({ address, state: result.state, code: result.failure?.code ?? null });
    const { hello, nodeId } = result;
    if (hello === undefined || nodeId === undefined) return;
    const usable = (result.peers ?? []).map((peer) => addressOfWire(peer.ip, peer.port)).filter((found) =>
      found !== null
    );
    const advertises = [...new Set(usable.map(formatAddress))].sort();
    const { versionStr, overlayVersion, overlayMinVersion, ledgerVersion } = hello;
    truth.nodes.push({
      nodeId,
      addresses: [address],
      state: result.state,
      versionStr,
      overlayVersion,
      overlayMinVersion,
      ledgerVersion,
      validating: false,
      advertises,
    });
    for (const to of advertises) {
      truth.edges.push({ from: nodeId, to, kind: "advertised" });
      if (!met.has(to)) queue.push(to);
      met.add(to);
    }
  };
  while (queue.length > 0) await Promise.all(queue.splice(0).map(one));
  const order = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;
  truth.nodes.sort((a, b) => order(a.nodeId, b.nodeId));
  truth.addresses.sort((a, b) => order(a.address, b.address));
  truth.edges.sort((a, b) => order(a.from, b.from) || order(a.to, b.to));
  return truth;
}

/** Who validates is heard, not asked: the simple crawl above does not listen. */
function withoutVoices(truth: TwinTruth): TwinTruth {
  return { ...truth, nodes: truth.nodes.map((node) => ({ ...node, validating: false })) };
}

function memoryTwin(plan: TwinPlan, options: { ledgerMs?: number } = {}) {
  const clock = new VirtualClock();
  const random = new SeededRandom(7);
  const network = new MemoryNetwork({ clock, delayMs: pairDelays(7, 1, 40) });
  const twin = new Twin(plan, { clock, random, transportFor: (host) => network.transport(host), ...options });
  return { clock, twin, world: { clock, random, transport: network.transport("198.51.100.7") } };
}

for (const topology of TOPOLOGY_KINDS) {
  test(`a visit to each node of a ${topology} twin finds the truth`, async () => {
    const plan = planTwin({ nodes: 60, seed: `visit ${topology}`, topology });
    const { clock, twin, world } = memoryTwin(plan);
    const start = await clock.run(twin.start());
    assert.equal(start.failedLinks, 0);
    const found = await clock.run(crawl(world, seedAddresses(plan)));
    const truth = twinTruth(plan);
    assert.deepEqual(found, withoutVoices(truth));
    for (const node of plan.nodes) {
      assert.ok(
        truth.addresses.some((entry) => entry.address === formatAddress(node)),
        `${node.name} is not in the truth`,
      );
    }
    await clock.run(twin.stop());
  });

  test(`all validators of a ${topology} twin are heard at any node that admits callers`, async () => {
    const ledgerMs = 5000;
    const plan = planTwin({ nodes: 60, seed: `listen ${topology}`, topology });
    const { clock, twin, world } = memoryTwin(plan, { ledgerMs });
    await clock.run(twin.start());
    const validators = plan.nodes.filter((node) => node.validator);
    assert.equal(validators.length, 7);
    const networkId = localOn(world, LOCAL.passphrase).networkId;
    for (const behaviour of ["reachable", "slow"]) {
      // Not a validator itself: everything it says was relayed.
      const to = plan.nodes.findLast((node) => node.behaviour === behaviour && !node.validator)!;
      const heard = new Map<string, Set<string>>(), seen = new Set<string>();
      const quorumSets = new Map<string, string>(), answers: StellarMessage[] = [];
      const result = await clock.run(visitAt(world, to, localOn(world, LOCAL.passphrase), {
        wants: { listenMs: 2 * ledgerMs },
        observer: {
          onMessage: (peer, received) => {
            const message = received.decode();
            if (message.type === "scpQuorumset" || message.type === "dontHave") answers.push(message);
            if (message.type !== "scpMessage") return;
            const text = toHex(received.bytes);
            assert.ok(!seen.has(text), "the same statement twice");
            seen.add(text);
            const { statement, signature } = message.envelope;
            const signed = scpPreimage(networkId, encode(scpStatement, statement));
            assert.ok(primitives.verify(statement.nodeId, signed, signature), "the signature does not verify");
            const id = toHex(statement.nodeId);
            heard.set(id, (heard.get(id) ?? new Set()).add(statement.pledges.type));
            const qSetHash = quorumSetHashOf(statement.pledges);
            if (!quorumSets.has(toHex(qSetHash))) peer.send({ type: "getScpQuorumset", qSetHash });
            quorumSets.set(toHex(qSetHash), id);
          },
        },
      }));
      assert.equal(result.state, "reachable");
      for (const node of validators) {
        const kinds = heard.get(toHex(primitives.signingKey(node.seed).publicKey));
        assert.deepEqual([...kinds ?? []].sort(), ["confirm", "externalize", "nominate", "prepare"], node.name);
      }
      assert.equal(answers.length, quorumSets.size);
      for (const answer of answers) {
        if (answer.type === "scpQuorumset") {
          assert.ok(quorumSets.has(toHex(primitives.sha256(encode(scpQuorumSet, answer.qSet)))));
        }
      }
      assert.ok(answers.some((answer) => answer.type === "scpQuorumset"));
    }
    await clock.run(twin.stop());
  });
}

test("GET_SCP_STATE is answered with the latest statements of each validator, by slot, and again when asked again", async () => {
  const plan = planTwin({ nodes: 20, seed: 3, topology: "random" });
  const { clock, twin, world } = memoryTwin(plan, { ledgerMs: 60_000 });
  await clock.run(twin.start());
  await clock.advance(90_000); // the first slot and the statements of the second are done
  const kinds: string[] = [];
  const result = clock.run(visitAt(world, plan.nodes[0], localOn(world, LOCAL.passphrase), {
    wants: { listenMs: 2000 },
    observer: {
      onLive: (peer) => void clock.setTimer(1000, () => peer.send({ type: "getScpState", ledgerSeq: twin.slot })),
      onMessage: (_, received) => {
        const message = received.decode();
        if (message.type !== "scpMessage") return;
        kinds.push(
          `${message.envelope.statement.slotIndex - BigInt(twin.slot)} ${message.envelope.statement.pledges.type}`,
        );
      },
    },
  }));
  await result;
  const times = (n: number, text: string): string[] => new Array(n).fill(text);
  assert.deepEqual(kinds, [
    ...times(4, "-1 nominate"),
    ...times(4, "-1 externalize"),
    ...times(4, "0 nominate"),
    ...times(4, "0 externalize"),
    ...times(4, "0 nominate"),
    ...times(4, "0 externalize"),
  ]);
  await clock.run(twin.stop());
});

test("pings, GET_TX_SET and a second connection of the same identity are answered as upstream does", async () => {
  const plan = planTwin({ nodes: 3, seed: 5, topology: "ring" });
  const { clock, twin, world } = memoryTwin(plan);
  await clock.run(twin.start());
  const local = localOn(world, LOCAL.passphrase);
  const answers: StellarMessage[] = [];
  const ending = new AbortController();
  const first = visitAt(world, plan.nodes[0], local, {
    wants: { stay: true },
    signal: ending.signal,
    observer: {
      onLive: (peer) => void peer.send({ type: "getTxSet", txSetHash: new Uint8Array(32).fill(9) }),
      onMessage: (_, received) => {
        const message = received.decode();
        if (message.type === "dontHave") answers.push(message);
      },
    },
  });
  await clock.advance(1000);
  const second = await clock.run(visitAt(world, plan.nodes[0], local));
  assert.equal(second.failure?.code, "already_connected");
  ending.abort();
  assert.equal((await clock.run(first)).state, "reachable");
  assert.deepEqual(answers, [{ type: "dontHave", dontHave: { type: 17, reqHash: new Uint8Array(32).fill(9) } }]);
  const pinged = await clock.run(visitAt(world, plan.nodes[0], local, { wants: { pings: 3 } }));
  assert.equal(pinged.rttMs.length, 3);
  await clock.run(twin.stop());
});

test("stop tells strangers, and leaves neither a listener nor a slot", async () => {
  const plan = planTwin({ nodes: 20, seed: 9, topology: "tiered" });
  const { clock, twin, world } = memoryTwin(plan);
  await clock.run(twin.start());
  const staying = visitAt(world, plan.nodes[0], localOn(world, LOCAL.passphrase), { wants: { stay: true } });
  await clock.advance(7000);
  const slot = twin.slot;
  const [visited] = await clock.run(Promise.all([staying, twin.stop()]));
  assert.equal(visited.remoteText, "shutdown");
  await clock.advance(30_000);
  assert.equal(twin.slot, slot);
  assert.equal(twin.nodes.reduce((sum, node) => sum + node.authenticated, 0), 0);
  assert.equal(
    (await clock.run(visitAt(world, plan.nodes[0], localOn(world, LOCAL.passphrase)))).failure?.code,
    "connect_refused",
  );
});

test("the same seed gives the same plan and truth, another seed another", () => {
  const make = (seed: string) => planTwin({ nodes: 60, seed, topology: "tiered" });
  assert.equal(planDigest(make("a")), planDigest(make("a")));
  assert.deepEqual(twinTruth(make("a")), twinTruth(make("a")));
  assert.notEqual(planDigest(make("a")), planDigest(make("b")));
});

test("a twin drawn in a file behaves as drawn", async () => {
  const file = parseTopology(
    JSON.stringify({
      nodes: [
        { name: "alice", validator: true, versionStr: "v1", book: ["bob", "carol", "10.1.2.3:11625", "127.9.9.9:1"] },
        { name: "bob", behaviour: "full", validator: true, book: ["dave"] },
        { name: "carol", behaviour: "banning", book: ["erin"] },
        { name: "dave", behaviour: "not-stellar" },
        { name: "erin", validator: true },
      ],
      links: [["alice", "bob"]],
      seeds: ["alice"],
    }),
    "file.json",
  );
  const plan = planTwin({ nodes: 0, seed: 1, topology: file });
  const truth = twinTruth(plan);
  const { clock, twin, world } = memoryTwin(plan);
  await clock.run(twin.start());
  assert.deepEqual(await clock.run(crawl(world, seedAddresses(plan))), withoutVoices(truth));
  await clock.run(twin.stop());
  const byId = (i: number) => truth.nodes.find((node) => node.nodeId === nodeIdOf(plan.nodes[i]));
  assert.equal(byId(0)?.validating && byId(1)?.validating, true);
  assert.equal(byId(2), undefined);
  assert.equal(byId(4), undefined);
  assert.deepEqual(truth.addresses, [
    { address: "10.1.2.3:11625", state: "skipped", code: null },
    { address: "127.0.0.2:11625", state: "reachable", code: null },
    { address: "127.0.0.3:11625", state: "full", code: null },
    { address: "127.0.0.4:11625", state: "silent", code: "silent_close" },
    { address: "127.0.0.5:11625", state: "not-stellar", code: "not_stellar" },
    { address: "127.9.9.9:1", state: "dead", code: "connect_refused" },
  ]);
});

test("a twin over TCP answers as one in memory does", async () => {
  // Below the range that the system takes outgoing ports from.
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const hosts = process.platform === "linux" ? "loopback" : "ports";
  const plan = planTwin({ nodes: 20, seed: "tcp", topology: "random", hosts, port });
  const clock = systemClock, random = new SeededRandom(1);
  const transportFor = (host: string) =>
    new TcpTransport({ clock, localHost: hosts === "loopback" ? host : undefined });
  const twin = new Twin(plan, { clock, random, transportFor, ledgerMs: 500 });
  const start = await twin.start();
  try {
    assert.equal(start.failedLinks, 0);
    const world = { clock, random, transport: new TcpTransport({ clock }) };
    const found = await crawl(world, seedAddresses(plan), { stageMs: 1200 });
    assert.deepEqual(found, withoutVoices(twinTruth(plan)));
    const heard = await visitAt(world, plan.nodes[1], localOn(world, LOCAL.passphrase), {
      wants: { firstScpMs: 2000 },
    });
    assert.ok(heard.scpMessages > 0);
  } finally {
    await twin.stop();
  }
});
