import { test } from "node:test";
import assert from "node:assert/strict";
import { sleep, VirtualClock } from "../base/clock.ts";
import { isFailure } from "../base/errors.ts";
import { dial, Recorded, testTransport } from "../../tests/kit/transport_suite.ts";
import { MemoryNetwork, resetStream } from "./memory.ts";

for (const delayMs of [0, 40]) {
  testTransport(`MemoryNetwork with ${delayMs} ms of delay`, () => {
    const clock = new VirtualClock();
    const network = new MemoryNetwork({
      clock,
      delayMs: () => delayMs,
      fate: ({ host }) => host === "10.0.0.9" ? "swallowed" : "refused",
    });
    const transport = network.transport("10.0.0.1");
    return {
      transport,
      host: "10.0.0.1",
      unanswered: { transport, to: { host: "10.0.0.9", port: 1 } },
      listenAndReset: (answers) =>
        transport.listen({ host: "10.0.0.1", port: 0 }, (socket) => {
          socket.attach({
            onEnd: () => {},
            onData: () => {
              if (answers) socket.write(Uint8Array.of(1));
              clock.setTimer(delayMs, () => resetStream(socket));
            },
          });
        }),
      run: (work) => clock.run(work),
      sleep: (ms) => sleep(clock, ms),
    };
  });
}

test("MemoryNetwork gives an address the fate it was made with", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, fate: () => "unreachable", delayMs: () => 10 });
  const outcome = await clock.run(dial(network.transport("10.0.0.1"), { host: "10.0.0.2", port: 5 }));
  assert.deepEqual(outcome, { code: "connect_unreachable", address: "10.0.0.2:5", reason: "EHOSTUNREACH" });
  assert.equal(clock.nowMs(), 10);
});

test("MemoryNetwork takes the link's delay each way", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, delayMs: (from) => from === "10.0.0.1" ? 30 : 50 });
  const far: Recorded[] = [];
  await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 7 }, (socket) => {
    far.push(new Recorded(socket));
    socket.write(Uint8Array.of(1));
  });
  const near = await clock.run(dial(network.transport("10.0.0.1"), { host: "10.0.0.2", port: 7 }));
  assert.ok(near instanceof Recorded);
  assert.equal(clock.nowMs(), 60);
  near.socket.write(Uint8Array.of(2));
  await clock.run(far[0].received(1));
  assert.equal(clock.nowMs(), 90);
  await clock.run(near.received(1));
  assert.equal(clock.nowMs(), 110);
});

test("MemoryNetwork fails a dial whose round trip is longer than its timeout", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, delayMs: () => 200 });
  await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 7 }, () => {});
  const outcome = await clock.run(dial(network.transport("10.0.0.1"), { host: "10.0.0.2", port: 7 }, 399));
  assert.deepEqual(outcome, { code: "connect_timeout", address: "10.0.0.2:7", afterMs: 399 });
});

test("MemoryNetwork resolves the names it knows, and addresses to themselves", async () => {
  const network = new MemoryNetwork({ clock: new VirtualClock(), names: { "a.example": ["10.0.0.1", "10.0.0.2"] } });
  assert.deepEqual(await network.resolve("a.example"), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(await network.resolve("10.9.9.9"), ["10.9.9.9"]);
  await assert.rejects(network.resolve("b.example"), isFailure("dns_failed"));
});

test("MemoryNetwork keeps the order of what arrived while paused and what arrives meanwhile", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock });
  const transport = network.transport("10.0.0.1");
  const far: Recorded[] = [];
  const listener = await transport.listen(
    { host: "10.0.0.1", port: 0 },
    (socket) => void far.push(new Recorded(socket)),
  );
  const near = await clock.run(dial(transport, listener.address));
  assert.ok(near instanceof Recorded);
  far[0].socket.pause();
  near.socket.write(Uint8Array.of(1));
  await clock.advance(1);
  near.socket.write(Uint8Array.of(2));
  far[0].socket.resume();
  near.socket.write(Uint8Array.of(3));
  await clock.advance(1);
  assert.deepEqual([...far[0].bytes], [1, 2, 3]);
});

test("MemoryNetwork.partition holds what is sent across until the heal, in order, and lets the rest pass", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, delayMs: () => 10 });
  const far: Recorded[] = [];
  for (const host of ["10.0.0.2", "10.0.0.3"]) {
    await network.transport(host).listen({ host, port: 7 }, (socket) => far.push(new Recorded(socket)));
  }
  const from = network.transport("10.0.0.1");
  const across = await clock.run(dial(from, { host: "10.0.0.2", port: 7 }));
  const beside = await clock.run(dial(from, { host: "10.0.0.3", port: 7 }));
  assert.ok(across instanceof Recorded && beside instanceof Recorded);
  across.socket.write(Uint8Array.of(1));
  network.partition((a, b) => a === "10.0.0.2" || b === "10.0.0.2");
  across.socket.write(Uint8Array.of(2));
  beside.socket.write(Uint8Array.of(9));
  await clock.advance(600_000);
  assert.deepEqual(far.map((socket) => [...socket.bytes]), [[], [9]]);
  // Sent right before and after the heal: still behind what waited.
  across.socket.write(Uint8Array.of(3));
  await clock.advance(5);
  network.heal();
  across.socket.write(Uint8Array.of(4));
  await clock.advance(20);
  assert.deepEqual([...far[0].bytes], [1, 2, 3, 4]);
  // An end waits as well.
  network.partition(() => true);
  across.socket.destroy();
  await clock.advance(60_000);
  assert.equal(far[0].ends, 0);
  network.heal();
  await clock.advance(10);
  assert.equal(far[0].end?.how, "eof");
});

test("MemoryNetwork.partition gives dials across their fate, those under way too", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, delayMs: () => 10 });
  await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 7 }, () => {});
  const dialAcross = () => dial(network.transport("10.0.0.1"), { host: "10.0.0.2", port: 7 });
  const underWay = dialAcross();
  await clock.advance(5);
  network.partition(() => true);
  const code = async (dialed: ReturnType<typeof dialAcross>) => {
    const outcome = await clock.run(dialed);
    return outcome instanceof Recorded ? "connected" : outcome.code;
  };
  assert.equal(await code(underWay), "connect_timeout");
  network.partition(() => true, "refused");
  assert.equal(await code(dialAcross()), "connect_refused");
  network.partition(() => true, "unreachable");
  assert.equal(await code(dialAcross()), "connect_unreachable");
  network.heal();
  assert.equal(await code(dialAcross()), "connected");
});

test("MemoryNetwork: a listener that closes while a dial is under way refuses it", async () => {
  const clock = new VirtualClock();
  const network = new MemoryNetwork({ clock, delayMs: () => 10 });
  const listener = await network.transport("10.0.0.2").listen({ host: "10.0.0.2", port: 7 }, () => assert.fail());
  const dialed = dial(network.transport("10.0.0.1"), { host: "10.0.0.2", port: 7 });
  await clock.advance(5);
  await listener.close();
  assert.deepEqual(await clock.run(dialed), { code: "connect_refused", address: "10.0.0.2:7" });
});
