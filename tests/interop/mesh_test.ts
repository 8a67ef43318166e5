/**
 * A crawl over a mesh of independent nodes: connectors in a Node process of their own, on many 127.x.y.z addresses and one
 * port. What the crawl reports must be that mesh and nothing else: nodes, addresses, advertised edges.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fromHex, toHex } from "../../overlay/base/bytes.ts";
import { systemClock } from "../../overlay/base/clock.ts";
import { SeededRandom, shuffle, systemRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { systemResolver, TcpTransport } from "../../overlay/transport/tcp.ts";
import { crawl } from "../../survey/crawl/crawler.ts";
import { type CrawlDocument, crawlDocument } from "../../survey/crawl/report.ts";
import { ConnectorProcess } from "./connector_process.ts";
import { within } from "./waiting.ts";

const PASSPHRASE = "Interop Mesh Network ; 2025";
const VERSION_STR = "connector in a mesh";
const CRAWL_LIMIT_MS = 20_000;
/** Bun's own limit is 5 s. */
const LIMIT = { timeout: 40_000 };

/** Nodes 0 to 25 know others; 26 to 28 advertise nothing; nobody knows 29. */
const TALKERS = 26, VISIBLE = 29, NODES = 30;
const HIDDEN = 29;
/** Node 5 listens on one more address, and gives other PEERS there. */
const TWICE = 5, SECOND_DOOR = NODES;
const DOORS = Array.from({ length: NODES + 1 }, (_, i) => `127.77.${i % 3}.${i + 2}`);
/** Nobody listens there. */
const NOBODY = "127.77.9.250";
/** Private: not to be dialled. */
const PRIVATE = "10.11.12.13:11625";

const random = new SeededRandom(20251123);
const SEEDS = DOORS.map(() => random.bytes(32));
SEEDS[SECOND_DOOR] = SEEDS[TWICE];

let mesh: ConnectorProcess;
let local: LocalNode;
const at = (host: string) => `${host}:${mesh.port}`;
const door = (i: number) => at(DOORS[i]);

before(async () => {
  mesh = await ConnectorProcess.start({
    passphrase: PASSPHRASE,
    window: { min: 35, max: 42 },
    ledgerVersion: 23,
    versionStr: VERSION_STR,
    nodes: DOORS.map((host, i) => ({ seed: toHex(SEEDS[i]), host })),
  });
  local = new LocalNode({
    passphrase: PASSPHRASE,
    clock: systemClock,
    random: systemRandom,
    seed: fromHex("c3".repeat(32)),
  });
});

after(async () => {
  await mesh?.stop();
});

/** What each door sends as PEERS: a ring of all talkers in random order, links to all others, and more. */
function randomMesh(seed: number): string[][] {
  const random = new SeededRandom(seed);
  const peers: string[][] = DOORS.map(() => []);
  const talkers = shuffle(random, Array.from({ length: TALKERS }, (_, i) => i));
  const someTalker = () => talkers[random.int(TALKERS)];
  talkers.forEach((from, i) => peers[from].push(door(talkers[(i + 1) % TALKERS])));
  for (const i of [26, 27, 28, SECOND_DOOR]) peers[someTalker()].push(door(i));
  peers[someTalker()].push(at(NOBODY));
  peers[someTalker()].push(PRIVATE);
  for (const i of talkers) {
    for (let more = random.int(6); more > 0; more--) peers[i].push(door(random.int(VISIBLE)));
  }
  // One knows everybody, and the one nobody knows has peers of its own.
  peers[talkers[random.int(TALKERS)]].push(...DOORS.slice(0, VISIBLE).map(at));
  peers[HIDDEN].push(door(someTalker()), door(26));
  peers[SECOND_DOOR].push(door(someTalker()), door(28));
  return peers.map((list) => shuffle(random, [...new Set(list)]));
}

async function crawlFrom(seed: number): Promise<CrawlDocument> {
  const report = await within(
    CRAWL_LIMIT_MS,
    "the crawl",
    crawl({
      network: { name: "custom", passphrase: PASSPHRASE },
      seeds: [door(seed)],
      local,
      transport: new TcpTransport(),
      resolver: systemResolver,
      clock: systemClock,
      random: systemRandom,
    }),
  );
  return crawlDocument(report);
}

/** The mesh as a perfect crawl from `seed` reports it. */
function truth(peers: string[][], seed: number) {
  const reached = new Set([seed]);
  const told = new Set([door(seed)]);
  for (const i of reached) {
    for (const address of peers[i]) {
      told.add(address);
      const to = DOORS.findIndex((host) => at(host) === address);
      if (to >= 0) reached.add(to);
    }
  }
  const nodes = new Map<string, { addresses: string[]; advertises: Set<string> }>();
  for (const i of reached) {
    const { nodeId } = mesh.nodes[i];
    const node = nodes.get(nodeId) ?? { addresses: [], advertises: new Set<string>() };
    node.addresses.push(door(i));
    for (const address of peers[i]) node.advertises.add(address);
    nodes.set(nodeId, node);
  }
  return {
    reached,
    nodes: [...nodes].sort(byKey).map(([nodeId, { addresses, advertises }]) => ({
      nodeId,
      addresses: addresses.sort(),
      state: "reachable",
      versionStr: VERSION_STR,
      overlayVersion: 42,
      overlayMinVersion: 35,
      advertises: [...advertises].sort(),
    })),
    edges: [...nodes].flatMap(([from, { advertises }]) => [...advertises].map((to) => `${from} ${to}`)).sort(),
    addresses: [...told].sort().map((address): [string, string] => [
      address,
      address === PRIVATE ? "skipped" : address === at(NOBODY) ? "dead" : "reachable",
    ]),
  };
}

function byKey(a: [string, unknown], b: [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

/** The same facts as a crawl told them. */
function found(document: CrawlDocument) {
  return {
    nodes: document.nodes.map((
      { nodeId, addresses, state, versionStr, overlayVersion, overlayMinVersion, advertises },
    ) => ({
      nodeId,
      addresses,
      state,
      versionStr,
      overlayVersion,
      overlayMinVersion,
      advertises,
    })),
    edges: document.edges.map(({ from, to, kind }) => {
      assert.equal(kind, "advertised");
      return `${from} ${to}`;
    }).sort(),
    addresses: document.addresses.map(({ address, state }): [string, string] => [address, state]).sort(byKey),
  };
}

/** Crawls from `seed` and compares with the truth, then asks the mesh what it saw of us. */
async function check(peers: string[][], seed: number): Promise<CrawlDocument> {
  await mesh.call("setPeers", { peers });
  const { reached, ...expected } = truth(peers, seed);
  const document = await crawlFrom(seed);
  assert.deepEqual(found(document), expected);
  assert.equal(document.run.complete, true);
  // Every door was used once, by us, and left in order.
  const doors: number[] = [];
  for (let i = 0; i < reached.size; i++) {
    const { node, nodeId, error } = await mesh.next("closed");
    doors.push(node);
    assert.deepEqual([nodeId, error], [local.nodeIdText, null]);
  }
  assert.deepEqual(doors.sort((a, b) => a - b), [...reached].sort((a, b) => a - b));
  return document;
}

for (const seed of [1, 2, 3]) {
  test(
    `a crawl finds exactly the mesh of connectors, the one nobody knows excepted (topology ${seed})`,
    LIMIT,
    async () => {
      const peers = randomMesh(seed);
      const document = await check(peers, 0);
      // All doors but the hidden one, the address where nobody listens and the private one.
      assert.deepEqual([document.nodes.length, document.addresses.length], [VISIBLE, VISIBLE + 1 + 2]);
      assert.ok(document.nodes.every(({ nodeId }) => nodeId !== mesh.nodes[HIDDEN].nodeId));
      assert.ok(document.nodes.every(({ rttMs }) => rttMs !== null && rttMs.median > 0));
      assert.equal(document.nodes.filter(({ advertises }) => advertises.length === 0).length, VISIBLE - TALKERS);
    },
  );
}

test("the same from the node nobody knows: it is found too", LIMIT, async () => {
  const document = await check(randomMesh(4), HIDDEN);
  assert.ok(document.nodes.some(({ nodeId }) => nodeId === mesh.nodes[HIDDEN].nodeId));
});

test("from a node that advertises nothing the crawl finds that node alone", LIMIT, async () => {
  const document = await check(randomMesh(5), 27);
  assert.deepEqual([document.nodes.length, document.edges.length], [1, 0]);
});
