/** A watcher in virtual time: dials, pauses, identities, slow readers, demand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { standalone } from "../../overlay/base/config.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { planTwin } from "../twin/plan.ts";
import { Twin } from "../twin/twin.ts";
import type { WatchRecord } from "./records.ts";
import { FIRST_PAUSE_MS, LAST_PAUSE_MS, Watcher, type WatcherOptions, type WatchTarget } from "./watcher.ts";

function world() {
  const clock = new VirtualClock();
  const net = new MemoryNetwork({
    clock,
    delayMs: () => 5,
    names: { "name.example": ["127.0.0.2"] },
  });
  const names = ["a", "b", "c"];
  const plan = planTwin({
    nodes: 3,
    seed: 1,
    topology: {
      nodes: names.map((name) => ({ name, validator: true })),
      links: [["a", "b"], ["b", "c"]],
    },
  });
  const twin = new Twin(plan, { clock, random: new SeededRandom(2), transportFor: (host) => net.transport(host) });
  const watch = async (targets: (WatchTarget | string)[], more: Partial<WatcherOptions> = {}) => {
    const watcher = new Watcher({
      config: standalone({}),
      targets: targets.map((target) =>
        typeof target === "string" ? { text: target, address: { host: target, port: 11625 } } : target
      ),
      transport: net.transport("198.51.100.1"),
      resolver: net,
      clock,
      random: new SeededRandom(3),
      database: await openNodeDatabase(":memory:", { networkPassphrase: LOCAL.passphrase }),
      ...more,
    });
    const records: WatchRecord[] = [];
    watcher.listen((record) => void records.push(record));
    await watcher.start();
    const of = <K extends WatchRecord["kind"]>(kind: K) =>
      records.filter((record): record is Extract<WatchRecord, { kind: K }> => record.kind === kind);
    return { watcher, records, of };
  };
  return { clock, net, plan, twin, watch };
}

test("a target that is down is dialed again, later each time, and is connected when it comes", async () => {
  const { clock, twin, watch } = world();
  const { watcher, of } = await watch(["127.0.0.2"]);
  await clock.advance(600_000);
  const pauses = of("waiting").map(({ delayMs }) => delayMs);
  for (const [i, pause] of pauses.entries()) {
    const base = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** i);
    assert.ok(pause >= 0.75 * base && pause <= 1.25 * base, `${i}: ${pause}`);
  }
  assert.ok(of("dialing").length >= 8 && of("dialing").length <= 12);
  assert.deepEqual(watcher.model.peers().map(({ state, failure }) => [state, failure?.code]), [
    ["waiting", "connect_refused"],
  ]);
  await clock.run(twin.start());
  await clock.advance(1.25 * LAST_PAUSE_MS + 1000);
  assert.equal(watcher.model.connected, 1);
  // It goes and comes back: the connection stood long enough to begin with short pauses.
  const before = of("waiting").length;
  await clock.advance(60_000);
  watcher.node.disconnect(watcher.model.peers()[0].nodeId!);
  await clock.advance(100);
  assert.equal(watcher.model.connected, 0);
  await clock.advance(4000);
  assert.equal(of("waiting").length, before + 1);
  assert.equal(watcher.model.connected, 1);
  assert.equal(watcher.model.peers()[0].connections, 2);
  await clock.run(watcher.stop());
  await clock.run(twin.stop());
});

test("a watch that is stopped leaves no timer behind, and its sequences end", async () => {
  const { clock, watch } = world();
  const { watcher } = await watch(["127.0.0.2", "127.0.0.3"]);
  const queue = watcher.records();
  await clock.advance(3000);
  await clock.run(watcher.stop());
  assert.equal(clock.waiting, 0);
  let records = 0;
  for await (const _ of queue) records++;
  assert.ok(records > 0);
  assert.equal((await watcher.records().next()).done, true);
});

test("names are resolved; one address is connected once; whoever is not the node that was asked for is dropped", async () => {
  const { clock, twin, watch } = world();
  await clock.run(twin.start());
  const other = twin.nodes[2].local.nodeIdText;
  const { watcher, of } = await watch([
    "name.example",
    "127.0.0.2",
    "gone.example",
    { text: "wrong", address: { host: "127.0.0.3", port: 11625 }, nodeId: other },
    { text: "right", address: { host: "127.0.0.4", port: 11625 }, nodeId: other },
  ]);
  await clock.advance(5000);
  const states = Object.fromEntries(watcher.model.peers().map(({ target, state }) => [target, state]));
  assert.equal(states["right"], "connected");
  assert.equal(states["wrong"], "waiting");
  assert.equal([states["name.example"], states["127.0.0.2"]].filter((state) => state === "connected").length, 1);
  assert.ok(of("dialFailed").some(({ target, failure }) => target === "gone.example" && failure.code === "dns_failed"));
  const [dropped] = of("dropped");
  assert.deepEqual([dropped.target, dropped.by, dropped.reason], ["wrong", "us", "not the node that was asked for"]);
  assert.equal(of("connected").filter(({ address }) => address === "127.0.0.2:11625").length, 1);
  await clock.run(watcher.stop());
  await clock.run(twin.stop());
});

test("every record comes out of the iterable, SCP messages also for a reader that comes late", async () => {
  const { clock, twin, watch } = world();
  await clock.run(twin.start());
  const { watcher, of } = await watch(["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
  const queue = watcher.records({ maxRecords: 20, wants: (record) => record.kind === "message" });
  const before = of("message").length;
  // Two slots that nobody reads: 3 peers, 3 validators, 4 statements. The patience is longer than that.
  await clock.advance(10_000);
  const read: WatchRecord[] = [];
  const reading = (async () => {
    for await (const record of queue) read.push(record);
  })();
  await clock.advance(30_000);
  const scp = (records: WatchRecord[]) => records.filter((record) => record.kind === "message" && record.scp).length;
  assert.equal(scp(read), scp(of("message").slice(before)));
  assert.ok(scp(read) >= 3 * 3 * 4 * 7);
  assert.equal(watcher.model.connected, 3);
  await clock.run(watcher.stop());
  await reading;
  await clock.run(twin.stop());
});

test("status records tell round trip and credit; the model's board and rates follow", async () => {
  const { clock, twin, watch } = world();
  await clock.run(twin.start());
  const { watcher, of } = await watch(["127.0.0.2", "127.0.0.3"]);
  await clock.advance(30_000);
  const status = of("status").at(-1)!;
  assert.equal(status.rttMs, 10);
  assert.ok(status.creditGiven.messages > 0 && status.creditGiven.messages <= 200);
  assert.ok(status.creditHeld.bytes > 0);
  const { model } = watcher;
  assert.deepEqual(model.slots(2).map(({ reached }) => reached.externalize), [3, 3]);
  const [row] = model.peers();
  assert.equal(row.rttMs, 10);
  const { traffic, lag, duplicates } = model.measures(row);
  // Three validators, four statements, every five seconds.
  assert.ok(traffic.messagesPerSecond > 2 && traffic.messagesPerSecond < 4, String(traffic.messagesPerSecond));
  assert.ok(lag!.copies >= 60);
  const [, other] = model.peers();
  assert.equal(duplicates + model.measures(other).duplicates, lag!.copies);
  await clock.run(watcher.stop());
  await clock.run(twin.stop());
});
