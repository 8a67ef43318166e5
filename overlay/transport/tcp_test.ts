import { test } from "node:test";
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type Clock, systemClock } from "../base/clock.ts";
import { isFailure } from "../base/errors.ts";
import { dial, Recorded, testTransport } from "../../tests/kit/transport_suite.ts";
import { systemResolver, TcpTransport } from "./tcp.ts";
import type { Listener } from "./transport.ts";

// Its timers fire before any answer of the network can be heard.
const impatient: Clock = {
  ...systemClock,
  setTimer: (_, fire) => {
    let open = true;
    queueMicrotask(() => open && fire());
    return { cancel: () => void (open = false) };
  },
};

function listenAndReset(answers: boolean): Promise<Listener> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => {
      if (answers) socket.write(Uint8Array.of(1));
      setTimeout(() => socket.resetAndDestroy(), 20);
    });
  });
  return new Promise((resolve) =>
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      const { port } = server.address() as { port: number };
      resolve({
        address: { host: "127.0.0.1", port },
        close: () => Promise.resolve(void server.close()),
      });
    })
  );
}

testTransport("TcpTransport", () => ({
  transport: new TcpTransport(),
  host: "127.0.0.1",
  unanswered: { transport: new TcpTransport({ clock: impatient }), to: { host: "127.0.0.1", port: 9 } },
  listenAndReset,
  run: (work) => work,
  sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
}));

test("TcpTransport dials from the address it was given", async () => {
  const far: Recorded[] = [];
  const listener = await new TcpTransport().listen(
    { host: "127.0.0.1", port: 0 },
    (socket) => void far.push(new Recorded(socket)),
  );
  const near = await dial(new TcpTransport({ localHost: "127.0.0.7" }), listener.address);
  assert.ok(near instanceof Recorded);
  near.socket.write(Uint8Array.of(1));
  while (far.length === 0) await new Promise((done) => setTimeout(done, 5));
  assert.equal(far[0].socket.remote.host, "127.0.0.7");
  near.socket.destroy();
  await far[0].ended();
  await listener.close();
});

test("TcpTransport reports an address that is not this machine's", async () => {
  await assert.rejects(
    new TcpTransport().listen({ host: "192.0.2.1", port: 0 }, () => {}),
    isFailure("listen_failed"),
  );
});

test("TcpTransport counts what a remote that does not read leaves unsent", async () => {
  const far: Recorded[] = [];
  const listener = await new TcpTransport().listen({ host: "127.0.0.1", port: 0 }, (socket) => {
    far.push(new Recorded(socket));
    socket.pause();
  });
  const near = await dial(new TcpTransport(), listener.address);
  assert.ok(near instanceof Recorded);
  let taken = 0;
  for (let i = 0; i < 32; i++) near.socket.write(new Uint8Array(1024 * 1024), () => taken++);
  await new Promise((done) => setTimeout(done, 200));
  assert.ok(near.socket.unsentBytes > 1024 * 1024, String(near.socket.unsentBytes));
  assert.ok(taken < 32);
  far[0].socket.resume();
  await far[0].received(32 * 1024 * 1024);
  near.socket.destroy();
  await far[0].ended();
  await listener.close();
});

test("systemResolver gives addresses as they are, names once per address, and dns_failed otherwise", async () => {
  assert.deepEqual(await systemResolver.resolve("127.0.0.1"), ["127.0.0.1"]);
  assert.deepEqual(await systemResolver.resolve("::1"), ["::1"]);
  const local = await systemResolver.resolve("localhost");
  assert.ok(local.includes("127.0.0.1") || local.includes("::1"));
  assert.equal(new Set(local).size, local.length);
  await assert.rejects(systemResolver.resolve("no-such-name.invalid"), isFailure("dns_failed"));
});
