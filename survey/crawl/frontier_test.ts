import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../overlay/base/random.ts";
import { type AddressPolicy, type Entry, Frontier, skipCode, splitAddress, textOfWire } from "./frontier.ts";

const STRICT: AddressPolicy = { allowPrivate: false, allowLoopback: false, ownAddresses: new Set(["5.6.7.8:11625"]) };
const OPEN: AddressPolicy = { ...STRICT, allowPrivate: true, allowLoopback: true };

function frontierOf(policy = STRICT, room = Infinity): Frontier {
  return new Frontier({ policy, takeAddress: () => room-- > 0 });
}

function learn(frontier: Frontier, address: string, depth = 1): Entry | undefined {
  const learned = frontier.learn({ address, ...splitAddress(address) }, { source: "advertised", depth, wallMs: 0 });
  if (learned?.isNew && learned.entry.skip === undefined) frontier.push(learned.entry);
  return learned?.entry;
}

test("skipCode: what the address policy forbids", () => {
  const rows: [host: string, port: number, strict: string | undefined, open: string | undefined][] = [
    ["8.8.8.8", 11625, undefined, undefined],
    ["2600::1", 11625, undefined, undefined],
    ["8.8.8.8", 0, "bad_port", "bad_port"],
    ["8.8.8.8", 70_000, "bad_port", "bad_port"],
    ["10.1.2.3", 1, "private_address", undefined],
    ["172.16.0.1", 1, "private_address", undefined],
    ["192.168.0.1", 1, "private_address", undefined],
    ["100.64.0.1", 1, "private_address", undefined],
    ["fd00::1", 1, "private_address", undefined],
    ["127.0.0.1", 1, "loopback_address", undefined],
    ["::1", 1, "loopback_address", undefined],
    ["0.0.0.0", 1, "unroutable_address", "unroutable_address"],
    ["224.0.0.1", 1, "unroutable_address", "unroutable_address"],
    ["255.255.255.255", 1, "unroutable_address", "unroutable_address"],
    ["169.254.1.1", 1, "unroutable_address", "unroutable_address"],
    ["ff02::1", 1, "unroutable_address", "unroutable_address"],
    ["::", 1, "unroutable_address", "unroutable_address"],
    ["5.6.7.8", 11625, "own_address", "own_address"],
    ["5.6.7.8", 11626, undefined, undefined],
  ];
  for (const [host, port, strict, open] of rows) {
    assert.equal(skipCode(host, port, STRICT), strict, `${host} ${port}`);
    assert.equal(skipCode(host, port, OPEN), open, `${host} ${port}`);
  }
});

test("textOfWire and splitAddress agree, also for ports nobody can dial", () => {
  const v6 = new Uint8Array(16);
  v6[0] = 0x26;
  v6[15] = 1;
  for (
    const [ip, port, text] of [[new Uint8Array([1, 2, 3, 4]), 0, "1.2.3.4:0"], [v6, 70_000, "[2600::1]:70000"]] as const
  ) {
    const at = textOfWire({ ip, port, numFailures: 0 });
    assert.equal(at.address, text);
    assert.deepEqual(splitAddress(text), { host: at.host, port });
  }
});

test("Frontier knows an address once, with its shortest depth, and keeps skipped ones out of the queue", () => {
  const frontier = frontierOf();
  const entry = learn(frontier, "1.2.3.4:11625", 5)!;
  assert.equal(learn(frontier, "1.2.3.4:11625", 2), entry);
  assert.equal(entry.depth, 2);
  assert.equal(learn(frontier, "10.0.0.1:11625")!.skip, "private_address");
  assert.deepEqual([frontier.size, frontier.queued], [2, 1]);
  frontier.learn({ address: "1.2.3.4:11625", host: "1.2.3.4", port: 11625 }, { source: "seed", depth: 0, wallMs: 0 });
  assert.deepEqual([entry.source, entry.depth], ["seed", 0]);
});

test("Frontier takes no more addresses than there is room for", () => {
  const frontier = frontierOf(STRICT, 3);
  const taken = Array.from({ length: 5 }, (_, i) => learn(frontier, `1.2.3.${i}:1`) !== undefined);
  assert.deepEqual(taken, [true, true, true, false, false]);
  assert.equal(frontier.size, 3);
  assert.notEqual(learn(frontier, "1.2.3.0:1"), undefined, "known ones are still found");
});

test("Frontier gives urgent entries first, then in order; later ones when their time has come", () => {
  const frontier = frontierOf();
  const [a, b, c, d] = [1, 2, 3, 4].map((i) => learn(frontier, `1.2.3.${i}:1`)!);
  assert.equal(frontier.next(0), a);
  frontier.pushAt(a, 100);
  assert.equal(frontier.next(0), b);
  frontier.pushFirst(b);
  assert.equal(frontier.next(0), b);
  frontier.pushAt(b, 50);
  assert.equal(frontier.nextDueMs, 50);
  assert.equal(frontier.next(0), c);
  assert.equal(frontier.next(60), d);
  assert.equal(frontier.next(60), b);
  assert.equal(frontier.next(99), undefined);
  assert.equal(frontier.queued, 1);
  assert.equal(frontier.next(100), a);
  assert.equal(frontier.queued, 0);
});

test("Frontier lets one parked entry go per visit that ended", () => {
  const frontier = frontierOf();
  const entries = [1, 2, 3].map((i) => learn(frontier, `1.2.3.4:${i}`)!);
  for (const _ of entries) frontier.park(frontier.next(0)!, "1.2.3.4");
  assert.deepEqual([frontier.next(0), frontier.queued], [undefined, 3]);
  for (const entry of entries) {
    frontier.unpark("1.2.3.4");
    assert.equal(frontier.next(0), entry);
  }
  frontier.unpark("1.2.3.4");
  assert.equal(frontier.queued, 0);
});

test("Frontier gives every entry out exactly as often as it was put in, by time", () => {
  const random = new SeededRandom(9);
  const frontier = frontierOf();
  for (let i = 0; i < 5000; i++) learn(frontier, `1.${i >> 8}.${i & 255}.1:1`);
  const due: Entry[][] = Array.from({ length: 1001 }, () => []);
  let given = 0;
  for (let entry = frontier.next(0); entry !== undefined; entry = frontier.next(0)) {
    given++;
    const atMs = 1 + random.int(1000);
    frontier.pushAt(entry, atMs);
    due[atMs].push(entry);
  }
  assert.equal(given, 5000);
  for (let nowMs = 1; nowMs <= 1000; nowMs++) {
    for (const entry of due[nowMs]) assert.equal(frontier.next(nowMs), entry);
    assert.equal(frontier.next(nowMs), undefined);
  }
  assert.equal(frontier.queued, 0);
});

test("Frontier takes so many addresses of a host and a subnet; seeds, visited ones and this machine are exempt", () => {
  const frontier = new Frontier({ policy: OPEN, takeAddress: () => true, addressesPerHost: 2, addressesPerSubnet: 3 });
  const skipOf = (address: string, source: "seed" | "advertised" | "database" = "advertised", visited = false) =>
    frontier.learn({ address, ...splitAddress(address) }, { source, depth: 1, wallMs: 0, visited })!.entry.skip;
  assert.deepEqual(["1.2.3.4:1", "1.2.3.4:2", "1.2.3.4:3", "1.2.3.4:1"].map((a) => skipOf(a)), [
    undefined,
    undefined,
    "too_many_on_host",
    undefined,
  ]);
  assert.equal(skipOf("1.2.3.4:4", "database"), "too_many_on_host");
  assert.equal(skipOf("1.2.3.4:5", "seed"), undefined);
  assert.equal(skipOf("1.2.3.5:1"), undefined);
  assert.equal(skipOf("1.2.3.6:1"), "too_many_on_subnet");
  assert.equal(skipOf("1.2.3.6:2", "advertised", true), undefined);
  assert.deepEqual(
    ["[2600:1:1::1]:1", "[2600:1:1::2]:1", "[2600:1:1::3]:1", "[2600:1:1:9::4]:1"].map((a) => skipOf(a)),
    [
      undefined,
      undefined,
      undefined,
      "too_many_on_subnet",
    ],
  );
  for (let port = 1; port < 10; port++) assert.equal(skipOf(`127.0.0.1:${port}`), undefined);
});
