/** `doctor --self` in virtual time: what a caller does is what is told of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { LOCAL, PUBNET, TESTNET } from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import type { PeerSettings } from "../../overlay/peer/peer.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { callerFindings } from "../../survey/doctor/caller_findings.ts";
import { type CallerReport, listenToCallers, type SelfReport } from "../../survey/doctor/self.ts";
import { type Visit, visit } from "../../survey/probe/visit.ts";
import { WrongClock } from "../kit/doctor_patients.ts";

const AT = { host: "10.0.0.1", port: 11_625 };

/** Listens, lets `call` happen, and gives the report. */
async function scene(
  call: (world: {
    clock: VirtualClock;
    network: MemoryNetwork;
    random: SeededRandom;
    caller: (options?: { passphrase?: string; aheadMs?: number; settings?: Partial<PeerSettings> }) => Promise<Visit>;
  }) => Promise<unknown>,
  more: { ownHosts?: string[]; maxCallers?: number } = {},
): Promise<SelfReport> {
  const clock = new VirtualClock(), random = new SeededRandom(1);
  const network = new MemoryNetwork({ clock, delayMs: () => 5 });
  const node = (passphrase: string, at = clock as ConstructorParameters<typeof LocalNode>[0]["clock"]) =>
    new LocalNode({ passphrase, clock: at, random });
  const locals = new Map([LOCAL, PUBNET, TESTNET].map(({ passphrase }) => [passphrase, node(passphrase)]));
  const checker = node(LOCAL.passphrase);
  const stop = new AbortController();
  const done = listenToCallers({
    at: AT,
    transport: network.transport(AT.host),
    clock,
    random,
    networks: [LOCAL, PUBNET, TESTNET],
    localFor: (on) => locals.get(on.passphrase)!,
    checkerFor: () => checker,
    ownHosts: more.ownHosts ?? [],
    stayMs: 3000,
    maxCallers: more.maxCallers ?? Infinity,
    forMs: undefined,
    signal: stop.signal,
  });
  await clock.advance(500);
  const caller = async (
    options: { passphrase?: string; aheadMs?: number; settings?: Partial<PeerSettings> } = {},
  ) => {
    const theirs = new WrongClock(clock, options.aheadMs ?? 0);
    return await visit({
      to: AT,
      local: node(options.passphrase ?? LOCAL.passphrase, theirs),
      transport: network.transport("10.0.0.9"),
      clock: theirs,
      random,
      wants: { pings: 1, listenMs: 1000 },
      settings: options.settings,
    });
  };
  await clock.run(call({ clock, network, random, caller }));
  await clock.advance(20_000);
  if (more.maxCallers === undefined) stop.abort();
  const report = await clock.run(done);
  await clock.advance(20_000);
  assert.equal(clock.waiting, 0, "timers are left behind");
  return report;
}

const wrong = (caller: CallerReport) =>
  callerFindings(caller).filter((finding) => finding.ok === false).map((finding) => finding.code);

test("doctor --self: a caller that does everything right, and its ping is answered", async () => {
  let seen: Visit | undefined;
  const { callers } = await scene(async ({ caller }) => seen = await caller());
  assert.deepEqual(seen!.rttMs, [10]);
  assert.equal(callers.length, 1);
  const [caller] = callers;
  assert.deepEqual(wrong(caller), []);
  assert.equal(caller.helloAccepted, true);
  assert.equal(caller.macOk, true);
  assert.deepEqual(caller.granted, { messages: "200", bytes: "300000" });
  assert.equal(caller.rttMs, 10);
  assert.deepEqual(caller.messages, { GET_SCP_QUORUMSET: 1, GET_SCP_STATE: 1 });
  assert.equal(caller.network, "local");
});

test("doctor --self: answers on the caller's network", async () => {
  const { callers } = await scene(async ({ caller }) => await caller({ passphrase: TESTNET.passphrase }));
  assert.deepEqual(callers.map((entry) => [entry.network, entry.helloAccepted]), [["testnet", true]]);
});

test("doctor --self: a caller of an unknown network is told from one with a bad certificate", async () => {
  const { callers } = await scene(async ({ caller }) => {
    await caller({ passphrase: "a network of one's own" });
    await caller({ settings: { faults: { damageCert: true } } });
  });
  assert.deepEqual(callers.map(wrong), [["network"], ["certificate"]]);
});

test("doctor --self: a caller whose clock is ahead closes after our HELLO, and its certificate shows why", async () => {
  const { callers } = await scene(async ({ caller }) =>
    await caller({ aheadMs: 7_200_000, settings: { acceptExpiredCert: false } })
  );
  assert.deepEqual(wrong(callers[0]), ["clock", "our_hello"]);
  assert.match(callerFindings(callers[0]).find((entry) => entry.code === "our_hello")!.evidence, /banned us|clocks/);
});

test("doctor --self: silence, other services and hang-ups are no HELLO; the door stays open", async () => {
  const { callers } = await scene(async ({ clock, network, caller }) => {
    const dial = (
      act: (socket: Parameters<Parameters<ReturnType<MemoryNetwork["transport"]>["dial"]>[2]["onConnect"]>[0]) => void,
    ) =>
      new Promise<void>((resolve) =>
        network.transport("10.0.0.8").dial(AT, { timeoutMs: 1000 }, {
          onFail: () => resolve(),
          onConnect: (socket) => {
            socket.attach({ onData() {}, onEnd() {} });
            act(socket);
            resolve();
          },
        })
      );
    await dial(() => {});
    await dial((socket) => socket.write(encodeText("GET / HTTP/1.1\r\n\r\n")));
    await dial((socket) => socket.destroy());
    await dial((socket) => socket.write(new Uint8Array([0x80, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])));
    await clock.advance(6000);
    await caller();
  });
  const codes = callers.map((entry) => entry.end.code);
  assert.ok(codes.includes("no_answer") && codes.includes("not_stellar") && codes.includes("closed_before_hello"));
  assert.equal(callers.length, 5);
  assert.deepEqual(wrong(callers.at(-1)!), []);
});

test("doctor --self: its own port is dialed, is no caller, and a dead one is told; --callers ends it", async () => {
  const report = await scene(async ({ caller }) => await caller(), { ownHosts: [AT.host, "10.0.0.77"], maxCallers: 1 });
  assert.deepEqual(report.ownDials.map((dial) => [dial.address, dial.ok, dial.code]), [
    ["10.0.0.1:11625", true, null],
    ["10.0.0.77:11625", false, "connect_refused"],
  ]);
  assert.equal(report.callers.length, 1);
});
