import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { VirtualClock } from "../base/clock.ts";
import { isFailure } from "../base/errors.ts";
import {
  addressOfWire,
  DEFAULT_PEER_PORT,
  formatAddress,
  kindOfIp,
  parsePeerAddress,
  type PeerAddress,
  wireOfAddress,
} from "../base/peer_address.ts";
import { type Random, SeededRandom } from "../base/random.ts";
import { type Database, openDatabase } from "./database.ts";
import {
  backoffMs,
  type BackoffUpdate,
  observedType,
  PeerManager,
  type PeerManagerOptions,
  type PeerQuery,
  type PeerRecord,
  type PeerType,
} from "./peer_manager.ts";
import { migrate } from "./schema.ts";

const TYPES: PeerType[] = ["inbound", "outbound", "preferred"];

/** A book in memory with everything it depends on. */
async function makeBook(options: Partial<PeerManagerOptions> = {}, path = ":memory:") {
  const clock = new VirtualClock();
  const db: Database = await openDatabase(path);
  migrate(db);
  const book = new PeerManager(db, { clock, random: new SeededRandom(5), allowLoopback: true, ...options });
  return { clock, db, book, [Symbol.dispose]: () => db.close() };
}

const localhost = (port: number): PeerAddress => ({ host: "127.0.0.1", port });

function record(type: PeerType, numFailures = 0, nextAttemptAt = 0): PeerRecord {
  return { type, numFailures, nextAttemptAt };
}

test("scenario: toXdr, toXdr", () => {
  assert.deepEqual(wireOfAddress({ host: "1.25.50.200", port: 256 }), { ip: Uint8Array.of(1, 25, 50, 200), port: 256 });
  assert.deepEqual(addressOfWire(Uint8Array.of(1, 25, 50, 200), 256), { host: "1.25.50.200", port: 256 });
});

for (const type of TYPES) {
  test(`scenario: toXdr, database roundtrip, ${type}`, async () => {
    using made = await makeBook();
    const { book, clock } = made;
    const address = { host: "1.25.50.200", port: 256 };
    const stored = record(type, 3, clock.wallMs() + 7000);
    assert.equal(book.store(address, stored), true);
    assert.deepEqual(book.load(address), { record: stored, known: true });
    const changed = record(type, 1, clock.wallMs() - 1);
    assert.equal(book.store(address, changed), true);
    assert.deepEqual(book.all(), [{ address, record: changed }]);
  });
}

test("scenario: private addresses", () => {
  assert.equal(kindOfIp("1.2.3.4"), "public");
  for (const ip of ["10.1.2.3", "172.17.1.2", "192.168.1.2"]) assert.equal(kindOfIp(ip), "private");
});

test("scenario: create peer record, empty", () => {
  // An address here is a host and a port; the empty one has no text.
  assert.throws(() => parsePeerAddress(""), isFailure("bad_address"));
});

test("scenario: create peer record, empty ip", () => {
  assert.throws(() => parsePeerAddress(":80"), isFailure("bad_address"));
});

test("scenario: create peer record, random string", async () => {
  // The record itself does not judge the text, here as upstream.
  using made = await makeBook();
  assert.equal(made.book.store({ host: "some random string", port: 80 }, record("inbound")), true);
  assert.equal(made.book.load({ host: "some random string", port: 80 }).known, true);
});

test("scenario: create peer record, valid data", () => {
  assert.deepEqual(parsePeerAddress("127.0.0.1:80"), { host: "127.0.0.1", port: 80 });
  assert.equal(formatAddress({ host: "127.0.0.1", port: 80 }), "127.0.0.1:80");
});

for (
  const [name, texts] of [
    ["empty", [""]],
    ["random string", ["some random string"]],
    ["invalid ipv4", ["127.0.0.256", "256.256.256.256"]],
    ["ipv4 mask", ["127.0.0.1/24"]],
    ["invalid ipv6", ["10000:db8:1::1", "2001:db8:1::1::1"]],
    ["ipv6 mask", ["2001:db8:1::1/64"]],
    ["empty port", ["127.0.0.2:"]],
    ["invalid port", ["127.0.0.2:-1", "127.0.0.2:0", "127.0.0.2:65536", "127.0.0.2:65537"]],
  ] as const
) {
  test(`scenario: parse peer record, ${name}`, () => {
    for (const text of texts) assert.throws(() => parsePeerAddress(text), isFailure("bad_address"), text);
  });
}

test("scenario: parse peer record, valid ipv6", () => {
  // On purpose: upstream knows IPv4 only and refuses it.
  assert.deepEqual(parsePeerAddress("2001:db8::1"), { host: "2001:db8::1", port: DEFAULT_PEER_PORT });
});

test("scenario: parse peer record, default port", () => {
  assert.deepEqual(parsePeerAddress("127.0.0.2"), { host: "127.0.0.2", port: 11625 });
});

test("scenario: parse peer record, different default port", () => {
  assert.deepEqual(parsePeerAddress("127.0.0.2", 10), { host: "127.0.0.2", port: 10 });
});

test("scenario: parse peer record, valid port", () => {
  for (const port of [1, 1234, 65534, 65535]) assert.equal(parsePeerAddress(`127.0.0.2:${port}`).port, port);
});

test("scenario: loadRandomPeers", async () => {
  using made = await makeBook();
  const { book, clock } = made;
  const now = clock.wallMs();
  const records = new Map<number, PeerRecord>();
  for (const nextAttemptAt of [now - 1000, now, now + 1000]) {
    for (const numFailures of [0, 1]) {
      for (const type of TYPES) {
        const port = records.size + 1;
        records.set(port, { type, numFailures, nextAttemptAt });
        book.store(localhost(port), records.get(port)!);
      }
    }
  }
  assert.equal(records.size, 18);
  for (const dueOnly of [false, true]) {
    for (const maxNumFailures of [undefined, 0, 1]) {
      for (const type of [...TYPES, "anyOutbound"] as PeerQuery["type"][]) {
        const ports = book.loadRandomPeers({ dueOnly, maxNumFailures, type }, 1000).map(({ port }) => port);
        const expected = [...records].filter(([, stored]) =>
          (!dueOnly || stored.nextAttemptAt <= now) &&
          (maxNumFailures === undefined || stored.numFailures <= maxNumFailures) &&
          (type === "anyOutbound" ? stored.type !== "inbound" : stored.type === type)
        ).map(([port]) => port);
        assert.deepEqual(ports.sort((a, b) => a - b), expected, `${dueOnly} ${maxNumFailures} ${type}`);
      }
    }
  }
});

test("loadRandomPeers takes max(size, 1000) rows from a random place", async () => {
  using made = await makeBook();
  const { book, db } = made;
  db.transaction(() => {
    for (let i = 0; i < 2500; i++) book.store({ host: `1.2.${i >> 8}.${i & 255}`, port: 1 }, record("inbound"));
  });
  const query: PeerQuery = { dueOnly: true, type: "inbound" };
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const found = book.loadRandomPeers(query, 50).map(formatAddress);
    assert.equal(new Set(found).size, 1000);
    for (const address of found) seen.add(address);
  }
  assert.ok(seen.size > 2000, `${seen.size} of 2500 seen`);
  assert.equal(book.loadRandomPeers(query, 2000).length, 2000);
  assert.equal(book.loadRandomPeers(query, 3000).length, 2500);
});

/** Upstream's rows: counts of good inbound, failed inbound, good outbound and failed outbound; then [asked, given]. */
const TO_SEND: [name: string, counts: [number, number, number, number], asked: [number, number][]][] = [
  ["no peers", [0, 0, 0, 0], [[0, 0], [10, 0], [50, 0]]],
  ["less than requested, only inbound", [8, 0, 0, 0], [[10, 8], [50, 8]]],
  ["less than requested, only outbound", [0, 0, 8, 0], [[10, 8], [50, 8]]],
  ["less than requested, mixed", [4, 0, 4, 0], [[10, 8], [50, 8]]],
  ["as many, only inbound", [8, 0, 0, 0], [[8, 8]]],
  ["as many, only outbound", [0, 0, 8, 0], [[8, 8]]],
  ["as many, mixed", [4, 0, 4, 0], [[8, 8]]],
  ["more, only inbound", [50, 0, 0, 0], [[30, 30]]],
  ["more, only outbound", [0, 0, 50, 0], [[30, 30]]],
  ["more, mixed", [25, 0, 25, 0], [[30, 30]]],
  ["more but half failed, only inbound", [25, 25, 0, 0], [[30, 25]]],
  ["more but half failed, only outbound", [0, 0, 25, 25], [[30, 25]]],
  ["more but half failed, mixed", [13, 12, 13, 12], [[30, 26]]],
];
for (const [name, counts, asked] of TO_SEND) {
  test(`scenario: getPeersToSend, ${name}`, async () => {
    using made = await makeBook();
    const { book } = made;
    const [inbound, failedInbound, outbound] = counts;
    let port = 1;
    const next = (count: number, make: (address: PeerAddress) => void) => {
      for (let i = 0; i < count; i++) make(localhost(port++));
    };
    next(inbound, (address) => book.ensureExists(address));
    next(failedInbound, (address) => book.store(address, record("inbound", 11)));
    next(outbound, (address) => book.update(address, { type: "outbound" }));
    next(counts[3], (address) => book.store(address, record("outbound", 11)));
    for (const [size, expected] of asked) {
      const sent = book.getPeersToSend(size, { host: "127.0.0.255", port: 1 });
      assert.equal(sent.length, expected);
      assert.equal(new Set(sent.map(formatAddress)).size, expected);
      const types = sent.map((address) => book.load(address).record.type);
      assert.equal(types.indexOf("inbound") === -1 || types.lastIndexOf("outbound") < types.indexOf("inbound"), true);
      for (const address of sent) assert.ok(book.load(address).record.numFailures <= 10);
    }
  });
}

test("getPeersToSend leaves out the receiver and what it cannot reach", async () => {
  const hosts = ["1.2.3.4", "10.0.0.1", "127.0.0.1", "224.0.0.1", "2600::1"];
  for (const options of [{ allowLoopback: false }, { allowPrivate: true, allowLoopback: true }]) {
    using made = await makeBook(options);
    made.book.ensureExists(...hosts.flatMap((host) => [{ host, port: 1 }, { host, port: 2 }]));
    const sent = made.book.getPeersToSend(50, { host: "1.2.3.4", port: 1 }).map(formatAddress);
    const expected = ["1.2.3.4:2", "[2600::1]:1", "[2600::1]:2"];
    if (options.allowPrivate) expected.push("10.0.0.1:1", "10.0.0.1:2", "127.0.0.1:1", "127.0.0.1:2");
    assert.deepEqual(sent.sort(), expected.sort());
  }
});

test("scenario: purge peer table", async () => {
  using made = await makeBook();
  const { book } = made;
  for (const n of [1, 2, 3, 4, 5]) book.store(localhost(n), record("inbound", n));
  book.store({ host: "127.0.0.2", port: 2 }, record("outbound", 2));
  assert.equal(book.removePeersWithManyFailures(3), 3);
  assert.deepEqual([1, 2, 3, 4, 5].map((n) => book.load(localhost(n)).known), [true, true, false, false, false]);
  assert.equal(book.removePeersWithManyFailures(3, "127.0.0.1"), 0);
  assert.equal(book.load(localhost(2)).known, true);
  assert.equal(book.removePeersWithManyFailures(2, "127.0.0.1"), 1);
  assert.equal(book.load(localhost(2)).known, false);
  assert.equal(book.load({ host: "127.0.0.2", port: 2 }).known, true);
});

const FOUR = [2011, 2012, 2013, 2014].map(localhost);
const THREE = [64000, 64001, 64002].map(localhost);

test("scenario: storeConfigPeers() adds", async () => {
  using made = await makeBook();
  const { book, clock } = made;
  book.store(FOUR[0], record("preferred", 5, clock.wallMs() + 1e6));
  book.storeConfigPeers({ known: THREE, preferred: FOUR }, { startup: true });
  const now = clock.wallMs();
  assert.deepEqual(book.all(), [
    ...FOUR.map((address) => ({ address, record: record("preferred", 0, now) })),
    ...THREE.map((address) => ({ address, record: record("outbound", 0, now) })),
  ]);
});

test("scenario: storeConfigPeers() update type", async () => {
  using made = await makeBook();
  const { book } = made;
  book.store(FOUR[0], record("inbound", 4, 7));
  book.store(THREE[0], record("inbound", 5, 8));
  book.store(THREE[1], record("preferred", 6, 9));
  book.storeConfigPeers({ known: THREE, preferred: FOUR }, { startup: false });
  assert.deepEqual(book.load(FOUR[0]).record, record("preferred", 4, 7));
  assert.deepEqual(book.load(THREE[0]).record, record("outbound", 5, 8));
  // A later resolution knows nothing of preference, so it does not lower it.
  assert.deepEqual(book.load(THREE[1]).record, record("preferred", 6, 9));
});

test("observedType is the table of peers.md section 1", () => {
  const table: [observed: PeerType, preferredKnown: boolean, results: PeerType[]][] = [
    ["preferred", true, ["preferred", "preferred", "preferred"]],
    ["preferred", false, ["preferred", "preferred", "preferred"]],
    ["outbound", false, ["outbound", "outbound", "preferred"]],
    ["outbound", true, ["outbound", "outbound", "outbound"]],
    ["inbound", true, ["inbound", "outbound", "outbound"]],
    ["inbound", false, ["inbound", "outbound", "outbound"]],
  ];
  for (const [observed, known, results] of table) {
    assert.deepEqual(TYPES.map((stored) => observedType(stored, observed, known)), results, `${observed} ${known}`);
  }
});

test("backoffMs is 1 to 10 x 2^min(10, failures) seconds, by a random 32-bit number", () => {
  const drawn = (value: number): Random => ({
    bytes: () => new Uint8Array(),
    next: () => 0,
    int: (below) => value % below,
  });
  const spans = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 10_240, 10_240];
  spans.forEach((seconds, failures) => {
    assert.equal(backoffMs(failures, drawn(0)), 1000);
    assert.equal(backoffMs(failures, drawn(seconds - 1)), seconds * 1000);
    assert.equal(backoffMs(failures, drawn(seconds)), 1000);
    assert.equal(backoffMs(failures, drawn(2 ** 32 - 1)), 1000 * ((2 ** 32 - 1) % seconds + 1));
  });
  const random = new SeededRandom(1);
  const seen = new Set(Array.from({ length: 500 }, () => backoffMs(0, random)));
  assert.deepEqual([...seen].sort((a, b) => a - b), Array.from({ length: 10 }, (_, i) => 1000 * (i + 1)));
});

test("update counts a failure before each dial and clears them on success", async () => {
  using made = await makeBook();
  const { book, clock } = made;
  const address = localhost(5);
  for (let failures = 1; failures <= 3; failures++) {
    const { numFailures, nextAttemptAt } = book.update(address, { backoff: "increase" });
    assert.equal(numFailures, failures);
    const waitMs = nextAttemptAt - clock.wallMs();
    assert.ok(waitMs >= 1000 && waitMs <= 10_000 * 2 ** failures, String(waitMs));
  }
  assert.deepEqual(book.load(address), { record: book.all()[0].record, known: true });
  const reset = book.update(address, { type: "outbound", preferredKnown: true, backoff: "reset" });
  assert.equal(reset.type, "outbound");
  assert.equal(reset.numFailures, 0);
  assert.ok(reset.nextAttemptAt > clock.wallMs() && reset.nextAttemptAt <= clock.wallMs() + 10_000);
  assert.deepEqual(book.update(address, { backoff: "hardReset" }), record("outbound", 0, clock.wallMs()));
  assert.deepEqual(book.update(localhost(6), { type: "inbound" }), record("inbound", 0, clock.wallMs()));
});

test("ensureExists never changes a record, and counts what it added", async () => {
  using made = await makeBook();
  const { book, clock } = made;
  book.store(localhost(1), record("preferred", 3, 17));
  book.store(localhost(2), record("inbound", 9, 18));
  assert.equal(book.ensureExists(localhost(1), localhost(2), localhost(3), localhost(3)), 1);
  assert.equal(book.ensureExists(localhost(3)), 0);
  assert.deepEqual(book.all().map((entry) => entry.record), [
    record("preferred", 3, 17),
    record("inbound", 9, 18),
    record("inbound", 0, clock.wallMs()),
  ]);
});

test("a full book evicts the inbound record with most failures, the oldest first, for gossip", async () => {
  using made = await makeBook({ maxPeers: 5 });
  const { book } = made;
  book.store(localhost(1), record("outbound", 100));
  book.store(localhost(2), record("inbound", 1));
  book.store(localhost(3), record("inbound", 2));
  book.store(localhost(4), record("inbound", 2));
  book.store(localhost(5), record("preferred", 100));
  const ports = () => book.all().map(({ address }) => address.port);
  book.ensureExists(localhost(6));
  assert.deepEqual(ports(), [1, 2, 4, 5, 6]);
  book.ensureExists(localhost(7));
  assert.deepEqual(ports(), [1, 2, 5, 6, 7]);
  book.ensureExists(...Array.from({ length: 1000 }, (_, i) => localhost(100 + i)));
  assert.deepEqual(ports(), [1, 5, 1097, 1098, 1099]);
  assert.deepEqual(book.load(localhost(1)).record, record("outbound", 100));
});

test("a full book without inbound records keeps what is configured and reached", async () => {
  using made = await makeBook({ maxPeers: 3 });
  const { book } = made;
  book.store(localhost(1), record("outbound", 1));
  book.store(localhost(2), record("outbound", 7));
  book.store(localhost(3), record("preferred", 9));
  const ports = () => book.all().map(({ address }) => address.port);
  assert.equal(book.ensureExists(localhost(4)), 0);
  assert.equal(book.store(localhost(4), record("inbound")), false);
  book.update(localhost(4), { type: "inbound" });
  assert.deepEqual(ports(), [1, 2, 3]);
  book.update(localhost(4), { type: "outbound" });
  assert.deepEqual(ports(), [1, 3, 4]);
  book.update(localhost(5), { type: "preferred" });
  book.update(localhost(6), { type: "preferred" });
  assert.deepEqual(ports(), [3, 5, 6]);
  assert.equal(book.store(localhost(7), record("outbound")), false);
  book.update(localhost(8), { type: "preferred" });
  assert.deepEqual(ports(), [3, 5, 6, 8]);
});

/** The book as a Map: what the documentation says, written a second time. */
class Model {
  readonly peers = new Map<string, { address: PeerAddress; record: PeerRecord; order: number }>();
  #order = 0;
  constructor(readonly maxPeers: number) {}

  store(address: PeerAddress, stored: PeerRecord): void {
    const key = formatAddress(address);
    const known = this.peers.get(key);
    if (known) return void (known.record = stored);
    while (this.peers.size >= this.maxPeers) {
      const inbound = this.#worst("inbound");
      const victim = inbound ?? (stored.type === "inbound" ? undefined : this.#worst("outbound"));
      if (victim !== undefined) this.peers.delete(victim);
      else if (stored.type === "preferred") break;
      else return;
    }
    // As SQLite numbers rows: one above the highest there is.
    this.#order = Math.max(0, ...[...this.peers.values()].map(({ order }) => order)) + 1;
    this.peers.set(key, { address, record: stored, order: this.#order });
  }

  #worst(type: PeerType): string | undefined {
    return [...this.peers].filter(([, peer]) => peer.record.type === type)
      .sort(([, a], [, b]) => b.record.numFailures - a.record.numFailures || a.order - b.order)[0]?.[0];
  }
}

type Command =
  | { do: "ensure"; ports: number[] }
  | { do: "update"; port: number; type?: PeerType; preferredKnown: boolean; backoff?: BackoffUpdate }
  | { do: "config"; known: number[]; preferred: number[]; startup: boolean }
  | { do: "remove"; min: number; host?: string }
  | { do: "advance"; ms: number };

test("PeerManager agrees with a Map under random commands", async () => {
  const arbPort = fc.integer({ min: 1, max: 12 });
  const arbPorts = fc.array(arbPort, { maxLength: 4 });
  const arbCommand: fc.Arbitrary<Command> = fc.oneof(
    fc.record({ do: fc.constant("ensure" as const), ports: arbPorts }),
    fc.record({
      do: fc.constant("update" as const),
      port: arbPort,
      type: fc.option(fc.constantFrom(...TYPES), { nil: undefined }),
      preferredKnown: fc.boolean(),
      backoff: fc.option(fc.constantFrom<BackoffUpdate>("hardReset", "increase", "increase", "reset"), {
        nil: undefined,
      }),
    }),
    fc.record({ do: fc.constant("config" as const), known: arbPorts, preferred: arbPorts, startup: fc.boolean() }),
    fc.record({
      do: fc.constant("remove" as const),
      min: fc.integer({ min: 1, max: 4 }),
      host: fc.option(fc.constantFrom("1.0.0.0", "1.0.0.1"), { nil: undefined }),
    }),
    fc.record({ do: fc.constant("advance" as const), ms: fc.nat(5000) }),
  );
  const addressOf = (port: number): PeerAddress => ({ host: `1.0.0.${port % 2}`, port });
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbCommand, { maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      async (commands, maxPeers) => {
        using made = await makeBook({ maxPeers, random: new SeededRandom(9) });
        const { book, clock } = made;
        const random = new SeededRandom(9);
        const model = new Model(maxPeers);
        const update = (address: PeerAddress, type?: PeerType, known = false, backoff?: BackoffUpdate) => {
          const now = clock.wallMs();
          const stored = { ...(model.peers.get(formatAddress(address))?.record ?? record("inbound", 0, now)) };
          if (type !== undefined) stored.type = observedType(stored.type, type, known);
          if (backoff !== undefined) {
            stored.numFailures = backoff === "increase" ? stored.numFailures + 1 : 0;
            stored.nextAttemptAt = now + (backoff === "hardReset" ? 0 : backoffMs(stored.numFailures, random));
          }
          model.store(address, stored);
        };
        for (const command of commands) {
          switch (command.do) {
            case "ensure":
              book.ensureExists(...command.ports.map(addressOf));
              for (const port of command.ports) {
                const address = addressOf(port);
                if (!model.peers.has(formatAddress(address))) {
                  model.store(
                    address,
                    record("inbound", 0, clock.wallMs()),
                  );
                }
              }
              break;
            case "update": {
              const { port, type, preferredKnown, backoff } = command;
              book.update(addressOf(port), { type, preferredKnown, backoff });
              update(addressOf(port), type, preferredKnown, backoff);
              break;
            }
            case "config": {
              const known = command.known.map(addressOf), preferred = command.preferred.map(addressOf);
              book.storeConfigPeers({ known, preferred }, { startup: command.startup });
              const backoff = command.startup ? "hardReset" : undefined;
              for (const address of known) update(address, "outbound", false, backoff);
              for (const address of preferred) update(address, "preferred", false, backoff);
              break;
            }
            case "remove":
              book.removePeersWithManyFailures(command.min, command.host);
              for (const [key, { address, record }] of model.peers) {
                const matches = command.host === undefined || address.host === command.host;
                if (matches && record.numFailures >= command.min) model.peers.delete(key);
              }
              break;
            case "advance":
              await clock.advance(command.ms);
              break;
          }
          const expected = [...model.peers.values()].sort((a, b) => a.address.port - b.address.port)
            .map(({ address, record }) => ({ address, record }));
          assert.deepEqual(book.all(), expected);
          assert.equal(book.count(), expected.length);
        }
      },
    ),
    { numRuns: 150 },
  );
});

test("PeerManager keeps its records in the file, and a reader sees each at once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "peer-manager-"));
  try {
    const path = join(folder, "x.sqlite");
    {
      using made = await makeBook({}, path);
      using readerDb = await openDatabase(path, { readonly: true });
      const reader = new PeerManager(readerDb, { clock: made.clock, random: new SeededRandom(1) });
      for (let port = 1; port <= 20; port++) {
        made.book.update(localhost(port), { type: "outbound", backoff: "increase" });
        assert.deepEqual(reader.all(), made.book.all());
      }
      assert.throws(() => reader.ensureExists(localhost(99)), isFailure("db_failed"));
    }
    using again = await makeBook({}, path);
    assert.equal(again.book.count(), 20);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("PeerManager writes and reads thousands of records in a second", async () => {
  const folder = mkdtempSync(join(tmpdir(), "peer-manager-"));
  try {
    using made = await makeBook({}, join(folder, "x.sqlite"));
    const { book } = made;
    const startedAt = performance.now();
    for (let i = 0; i < 100; i++) {
      book.ensureExists(...Array.from({ length: 100 }, (_, k) => ({ host: `2.0.${i}.${k}`, port: 11625 })));
    }
    for (let i = 0; i < 3000; i++) {
      book.update({ host: `2.0.${i % 100}.${i % 97}`, port: 11625 }, { backoff: "increase" });
    }
    for (let i = 0; i < 100; i++) book.getPeersToSend(50);
    const elapsedMs = performance.now() - startedAt;
    // The goal is one second; a loaded machine gets more before this fails.
    assert.ok(elapsedMs < 5000, `${elapsedMs} ms`);
    assert.equal(book.count(), 10_000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("PeerManager notes how dials ended beside the record, of addresses in the book only, and forgets on request", async () => {
  using made = await makeBook();
  const { book, clock } = made;
  book.noteDial(localhost(1), { code: null });
  assert.equal(book.count(), 0);
  book.update(localhost(1), { type: "outbound", backoff: "increase" });
  assert.equal(book.entry(localhost(1))?.outcome, null);
  const at = clock.wallMs();
  book.noteDial(localhost(1), { code: null, nodeId: "GA" });
  book.noteRtt(localhost(1), 12.5);
  const admitted = { at, code: null, admittedAt: at, nodeId: "GA", rttMs: 12.5 };
  assert.deepEqual(book.entry(localhost(1))?.outcome, admitted);
  await clock.advance(1000);
  book.noteDial(localhost(1), { code: "connect_timeout" });
  assert.deepEqual(book.entries()[0].outcome, { ...admitted, at: at + 1000, code: "connect_timeout" });
  // An outcome is no part of the record: backoff and type stay.
  assert.equal(book.load(localhost(1)).record.numFailures, 1);
  book.store(localhost(1), record("preferred"));
  assert.equal(book.entry(localhost(1))?.outcome?.code, "connect_timeout");
  assert.equal(book.forget(localhost(1), localhost(2)), 1);
  assert.deepEqual([book.count(), book.entry(localhost(1))], [0, undefined]);
});

test("PeerManager keeps its bound when another process writes the book", async () => {
  const folder = mkdtempSync(join(tmpdir(), "peer-manager-"));
  try {
    const path = join(folder, "x.sqlite");
    using made = await makeBook({ maxPeers: 10 }, path);
    using other = await makeBook({ maxPeers: 10 }, path);
    other.book.ensureExists(...Array.from({ length: 10 }, (_, i) => localhost(i + 1)));
    assert.equal(made.book.ensureExists(localhost(50)), 1, "in place of another");
    assert.equal(made.book.count(), 10);
    other.book.forget(...other.book.all().map(({ address }) => address));
    assert.equal(made.book.ensureExists(localhost(60), localhost(61)), 2);
    assert.equal(made.book.count(), 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
