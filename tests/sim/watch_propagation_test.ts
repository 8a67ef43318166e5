/**
 * A watch of a twin whose links have known delays: the order in which the peers brought a statement, and how late each was, is
 * what the shortest ways through the network say; in virtual time to the digit, in real time within 5 ms or a tenth.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, sleep, systemClock, VirtualClock } from "../../overlay/base/clock.ts";
import { standalone } from "../../overlay/base/config.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { planTwin } from "../../survey/twin/plan.ts";
import { Twin } from "../../survey/twin/twin.ts";
import type { WatchMessage } from "../../survey/watch/records.ts";
import { Watcher } from "../../survey/watch/watcher.ts";

const WATCHER = "198.51.100.1";
const LIMIT = { timeout: 60_000 };

/** A tree, so that no copy meets another on its way: node i hangs at a random earlier one. Two validators. */
function planOf(nodes: number, random: SeededRandom) {
  const names = Array.from({ length: nodes }, (_, i) => `n${i}`);
  return planTwin({
    nodes,
    seed: 3,
    topology: {
      nodes: names.map((name, i) => ({ name, validator: i < 2 })),
      links: names.slice(1).map((name, i) => [name, names[random.int(i + 1)]] as [string, string]),
    },
  });
}

/** Shortest times between all nodes, over links with `delayMs`. */
function ways(hosts: string[], links: [number, number][], delayMs: (a: string, b: string) => number): number[][] {
  const d = hosts.map((_, i) => hosts.map((_, j) => i === j ? 0 : Infinity));
  for (const [a, b] of links) d[a][b] = d[b][a] = delayMs(hosts[a], hosts[b]);
  for (let k = 0; k < hosts.length; k++) {
    for (let i = 0; i < hosts.length; i++) {
      for (let j = 0; j < hosts.length; j++) d[i][j] = Math.min(d[i][j], d[i][k] + d[k][j]);
    }
  }
  return d;
}

/** Watches for `slots` slots; gives the copies of each statement and what they should be, ms behind the first. */
async function watchTwin(
  clock: Clock,
  seed: number,
  options: { nodes: number; lowMs: number; stepMs: number; steps: number; ledgerMs: number; slots: number },
  run: <T>(work: Promise<T>) => Promise<T>,
) {
  const random = new SeededRandom(seed);
  const plan = planOf(options.nodes, random);
  const hosts = plan.nodes.map(({ host }) => host);
  // Every link has a delay of its own; the watcher's links too.
  const delays = new Map<string, number>();
  const delayMs = (a: string, b: string) => {
    const key = [a, b].sort().join(" ");
    if (!delays.has(key)) delays.set(key, options.lowMs + options.stepMs * random.int(options.steps));
    return delays.get(key)!;
  };
  const net = new MemoryNetwork({ clock, delayMs });
  const twin = new Twin(plan, {
    clock,
    random: new SeededRandom(11),
    transportFor: (host) => net.transport(host),
    ledgerMs: options.ledgerMs,
  });
  await run(twin.start());
  const database = await openNodeDatabase(":memory:", { networkPassphrase: LOCAL.passphrase });
  const watcher = new Watcher({
    config: standalone({}),
    targets: plan.nodes.map((node) => {
      const address = { host: node.host, port: node.port };
      return { text: formatAddress(address), address };
    }),
    transport: net.transport(WATCHER),
    resolver: net,
    clock,
    random: new SeededRandom(5),
    database,
  });
  const byId = new Map<string, WatchMessage[]>();
  const connected = new Map<string, string>();
  let freshFrom = Infinity;
  watcher.listen((record) => {
    if (record.kind === "connected") connected.set(record.peer, record.target!);
    if (record.kind !== "message" || record.scp === undefined) return;
    const slot = Number(record.scp.slot);
    // What was under way while we connected is left out.
    if (connected.size === plan.nodes.length && freshFrom === Infinity) freshFrom = slot + 2;
    if (slot < freshFrom || slot >= freshFrom + options.slots) return;
    const id = record.id!();
    byId.set(id, [...byId.get(id) ?? [], record]);
  });
  await run(watcher.start());
  await run((async () => {
    while (watcher.model.ledger === undefined || watcher.model.ledger < freshFrom + options.slots + 1) {
      await sleep(clock, 200);
    }
  })());
  const d = ways(
    hosts,
    plan.nodes.flatMap(({ index, links }) => links.map((to) => [index, to] as [number, number])),
    delayMs,
  );
  const indexOf = (target: string) => plan.nodes.findIndex((node) => formatAddress(node) === target);
  const statements = [...byId.values()].map((copies) => {
    const validator = twin.nodes.findIndex((node) => node.local.nodeIdText === copies[0].scp!.validator);
    const at = copies.map(({ peer }) => {
      const i = indexOf(connected.get(peer)!);
      return d[validator][i] + delayMs(hosts[i], WATCHER);
    });
    const first = Math.min(...at);
    return { copies, expected: at.map((ms) => ms - first) };
  });
  const report = watcher.model.propagationReport();
  await run(watcher.stop());
  await run(twin.stop());
  return { statements, report, plan };
}

test("in virtual time order and delays are exact", LIMIT, async () => {
  for (const seed of [1, 2, 3]) {
    const clock = new VirtualClock();
    const options = { nodes: 9, lowMs: 1, stepMs: 1.5, steps: 40, ledgerMs: 5000, slots: 4 };
    const { statements, report } = await watchTwin(clock, seed, options, (work) => clock.run(work));
    assert.ok(statements.length >= 4 * 2 * 4, String(statements.length));
    for (const { copies, expected } of statements) {
      assert.equal(copies.length, 9);
      for (const [i, { copy }] of copies.entries()) {
        assert.equal(copy!.rank, i + 1);
        assert.ok(Math.abs(copy!.behindMs - expected[i]) < 1e-6, `${copy!.behindMs} is not ${expected[i]}`);
      }
    }
    assert.equal(report.peers.now, 9);
  }
});

test(
  "in real time the order is exact and delays are within 5 ms or a tenth, for the median of all slots",
  LIMIT,
  async () => {
    // Steps of 15 ms: what a busy machine adds in passing does not change the order of a median.
    const options = { nodes: 5, lowMs: 2, stepMs: 15, steps: 8, ledgerMs: 600, slots: 5 };
    const { statements } = await watchTwin(systemClock, 4, options, (work) => work);
    const byWay = new Map<string, { expected: number; seen: number[] }>();
    for (const { copies, expected } of statements) {
      for (const [i, { copy, peer, scp }] of copies.entries()) {
        const key = `${scp!.validator} ${peer}`;
        const way = byWay.get(key) ?? { expected: expected[i], seen: [] };
        way.seen.push(copy!.behindMs);
        byWay.set(key, way);
      }
    }
    assert.equal(byWay.size, 2 * 5);
    const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];
    for (const { expected, seen } of byWay.values()) {
      assert.ok(Math.abs(median(seen) - expected) <= Math.max(5, expected / 10), `${median(seen)} is not ${expected}`);
    }
    for (const validator of new Set([...byWay.keys()].map((key) => key.split(" ")[0]))) {
      const rows = [...byWay].filter(([key]) => key.startsWith(validator)).map(([, way]) => way);
      const order = (by: (way: { expected: number; seen: number[] }) => number) =>
        [...rows.keys()].sort((a, b) => by(rows[a]) - by(rows[b]));
      const distinct = new Set(rows.map(({ expected }) => expected)).size === rows.length;
      if (distinct) assert.deepEqual(order((way) => median(way.seen)), order((way) => way.expected));
    }
  },
);
