/** A node that stops leaves nothing behind, whatever it was doing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, systemClock } from "../base/clock.ts";
import { standalone } from "../base/config.ts";
import { isFailure } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import { systemResolver, TcpTransport } from "../transport/tcp.ts";
import type { Socket, Transport } from "../transport/transport.ts";
import { encodeMessage } from "../wire/messages.ts";
import { type OverlayEvent, OverlayManager } from "./overlay_manager.ts";
import { memoryDatabase, World } from "./overlay_manager_test_kit.ts";

/** A transport that knows which of its sockets were not closed. */
function counted(transport: Transport): { transport: Transport; open: Set<Socket> } {
  const open = new Set<Socket>();
  const watch = (socket: Socket) => {
    open.add(socket);
    const destroy = socket.destroy.bind(socket);
    socket.destroy = () => {
      open.delete(socket);
      destroy();
    };
    return socket;
  };
  return {
    open,
    transport: {
      dial: (to, options, handlers) =>
        transport.dial(to, options, { ...handlers, onConnect: (socket) => handlers.onConnect(watch(socket)) }),
      listen: (at, onSocket) => transport.listen(at, (socket) => onSocket(watch(socket))),
    },
  };
}

/** A clock that knows which of its timers neither fired nor were cancelled. */
function countedClock(clock: Clock): Clock & { live: number } {
  return {
    live: 0,
    nowMs: () => clock.nowMs(),
    wallMs: () => clock.wallMs(),
    setTimer(delayMs, fire) {
      let live = true;
      const end = () => {
        if (live) this.live--;
        live = false;
      };
      this.live++;
      const timer = clock.setTimer(delayMs, () => {
        end();
        fire();
      });
      return {
        cancel: () => {
          end();
          timer.cancel();
        },
      };
    },
  };
}

/** Stops the node and looks at what is left. */
async function stopsClean(
  world: World,
  node: OverlayManager,
  { open, clock }: { open: Set<Socket>; clock: { live: number } },
): Promise<void> {
  await world.stop(node);
  assert.equal(clock.live, 0, "timers");
  assert.equal(open.size, 0, "sockets");
  assert.deepEqual(node.counts, { inbound: 0, outbound: 0, pending: 0 });
  assert.throws(() => node.banManager.ban(node.local.nodeIdText), isFailure("db_failed"), "the database is closed");
  const told = world.events[world.nodes.indexOf(node)].length;
  await world.clock.advance(3_600_000);
  assert.deepEqual(world.events[world.nodes.indexOf(node)].slice(told), []);
}

test("stop: dialing, in both stages of the handshake, and with authenticated peers", async () => {
  const world = new World({ fate: () => "swallowed" });
  const { transport, open } = counted(world.net.transport("11.0.0.1"));
  const clock = countedClock(world.clock);
  const node = await world.add([77, 78], {}, { transport, clock });
  // Somebody who accepts and says nothing.
  const held: Socket[] = [];
  await world.net.transport("11.0.0.78").listen({ host: "11.0.0.78", port: 11625 }, (socket) => void held.push(socket));
  await world.clock.advance(2100);
  const remotes = [await world.remote(node), await world.remoteAtHello(node)];
  await world.silent(node);
  assert.ok(node.counts.pending >= 3 && node.counts.inbound === 1 && held.length === 1);
  assert.equal(open.size, 4);
  const dropped = await world.remote(node);
  node.disconnect(dropped.node.nodeIdText);
  assert.ok(clock.live > 5);
  await stopsClean(world, node, { open, clock });
  assert.deepEqual(
    remotes.map(({ received }) => received.at(-1)),
    [0, 1].map(() => ({ type: "errorMsg", error: { code: 0, msg: "shutdown" } })),
  );
  assert.equal(node.metrics.counters.outboundCancelled, 1);
});

test("stop: while the resolver runs, before and after its answer, and while the start delay runs", async () => {
  for (const waitMs of [100, 2500]) {
    const world = new World();
    let answer = (_: string[]) => {};
    const resolve = () => new Promise<string[]>((done) => (answer = done));
    const { transport, open } = counted(world.net.transport("11.0.0.1"));
    const clock = countedClock(world.clock);
    const node = await world.add([5], {}, { transport, resolver: { resolve: () => resolve() }, clock });
    await world.clock.advance(waitMs);
    await stopsClean(world, node, { open, clock });
    answer(["11.0.0.5"]);
    await world.clock.advance(60_000);
    assert.deepEqual(world.events[0].map(({ event }) => event), ["listening", "stopping"]);
    assert.equal(clock.live, 0);
  }
});

test("stop: while the system is asked for the port; the door is closed again", async () => {
  const world = new World();
  let closed = 0, ready = () => {};
  const transport: Transport = {
    ...world.net.transport("11.0.0.1"),
    listen: async (at) => {
      await new Promise<void>((resolve) => (ready = resolve));
      return { address: at, close: () => Promise.resolve(void closed++) };
    },
  };
  const node = await world.make([], {}, { transport });
  const started = node.start(), stopped = node.stop();
  ready();
  await started;
  await world.clock.run(stopped);
  assert.deepEqual([closed, node.listening], [1, undefined]);
  await world.clock.advance(60_000);
  assert.equal(world.clock.pending, 0);
});

test("start that fails leaves nothing open, and stop gives one promise however often", async () => {
  const world = new World();
  await world.add([], { noDial: true });
  const { transport, open } = counted(world.net.transport("11.0.0.2"));
  const node = await world.make([], { listeningHost: "11.0.0.1" }, { transport });
  await assert.rejects(world.clock.run(node.start()), isFailure("port_in_use"));
  assert.equal(open.size, 0);
  assert.throws(() => node.ban(node.local.nodeIdText), isFailure("db_failed"));
  assert.equal(node.stop(), node.stop());
  await node.start();
  assert.equal(node.listening, undefined);
  assert.deepEqual([node.connect({ host: "11.0.0.1", port: 11625 }), node.rereadBans()], [false, false]);
  await world.stop(world.nodes[0]);
});

test("nothing reaches subscribers once stop was called, nor behind the message that ended its connection", async () => {
  const world = new World();
  const node = await world.add([]);
  const dropped = await world.remote(node), remote = await world.remote(node);
  const inbox = node.subscribe();
  const query = encodeMessage({ type: "getScpState", ledgerSeq: 5 });
  const broken = query.slice(0, 6);
  dropped.send(query, Uint8Array.of(...broken.slice(0, 4), 0, 0, 0, 0, 0, 0, 0, 0), query);
  await world.clock.advance(100);
  assert.equal(world.eventsOf(node, "dropped")[0].reason, "received corrupt XDR");
  assert.equal(inbox.counts.waiting.general, 1);
  remote.send(query);
  await world.clock.advance(5);
  const stopped = node.stop();
  remote.send(query);
  await world.clock.run(stopped);
  await world.clock.advance(100);
  assert.equal(inbox.counts.waiting.general, 1);
  assert.equal((await inbox.next()).done, false, "what was there before is still given");
  assert.equal((await inbox.next()).done, true);
  assert.equal((await node.subscribe().next()).done, true);
  assert.deepEqual(node.broadcast({ type: "transaction", transaction: Uint8Array.of(0, 0, 0, 2) }), []);
});

test("over TCP: the goodbye arrives, and the port is free at once", async () => {
  const make = async (events: OverlayEvent[]) =>
    new OverlayManager({
      config: standalone({ listeningPort: 0, noDial: true }),
      transport: new TcpTransport(),
      resolver: systemResolver,
      clock: systemClock,
      random: systemRandom,
      database: await memoryDatabase(),
      log: (event) => events.push(event),
    });
  const events: OverlayEvent[] = [], others: OverlayEvent[] = [];
  const node = await make(events), other = await make(others);
  await Promise.all([node.start(), other.start()]);
  const until = async (holds: () => boolean) => {
    for (let i = 0; i < 500 && !holds(); i++) await new Promise<void>((done) => void systemClock.setTimer(10, done));
    assert.ok(holds());
  };
  const { port } = node.listening!;
  other.connect({ host: "127.0.0.1", port });
  await until(() => other.peers().length === 1 && node.peers().length === 1);
  await node.stop();
  await until(() => others.some((event) => event.event === "dropped" && event.reason === "ERR_MISC (shutdown)"));
  const listener = await new TcpTransport().listen({ host: "127.0.0.1", port }, () => {});
  await listener.close();
  await other.stop();
});
