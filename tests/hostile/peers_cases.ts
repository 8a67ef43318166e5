/** Attacks with PEERS, by nodes that are dialed, and the end of a node. */
import assert from "node:assert/strict";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { encodeMessage, type StellarMessage } from "../../overlay/wire/messages.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { frameOf } from "../kit/hostile_keys.ts";
import { assertDropped, assertKept } from "../kit/hostile_target.ts";
import { DIALER_PASSPHRASE, RunTarget } from "./nodes.ts";
import { caller, type Case, each, greeted, live } from "./world.ts";

function entry(ip: number[], port: number, numFailures = 0): WireAddress {
  return { ip: Uint8Array.from(ip), port, numFailures };
}

export const PEERS: Record<string, Case> = {
  "PEERS from who dialed": async (world) => {
    await each([[], [entry([127, 0, 0, 99], 11625)]], async (peers) => {
      const peer = await live(world.main);
      await peer.send({ type: "peers", peers });
      await assertDropped(world.main, peer, { reason: "received PEERS", failure: "protocol_violation" });
    });
  },

  "PEERS twice": async (world) => {
    const peer = await world.doors.twice.next();
    await peer.shake();
    await peer.send({ type: "peers", peers: [entry([127, 0, 0, 99], 11625)] });
    await peer.ping();
    await peer.send({ type: "peers", peers: [] });
    await assertDropped(world.dialer, peer, { reason: "too many msgs PEERS", failure: "protocol_violation" });
  },

  "empty PEERS count": async (world) => {
    const peer = await world.doors.empty.next();
    await peer.shake();
    await peer.send({ type: "peers", peers: [] });
    await assertKept(world.dialer, peer);
    await peer.send({ type: "peers", peers: [] });
    await assertDropped(world.dialer, peer, { reason: "too many msgs PEERS", failure: "protocol_violation" });
  },

  "entries that lead nowhere": async (world) => {
    const peer = await world.doors.entries.next();
    const configured = { host: world.doors.silent.address.host, port: world.doors.silent.address.port };
    await peer.shake();
    const entries = [
      entry([10, 1, 2, 3], 11625),
      entry([172, 16, 0, 1], 11625),
      entry([192, 168, 1, 1], 11625),
      entry([127, 0, 0, 1], 11625),
      entry([127, 200, 0, 2], 11625),
      entry([0, 0, 0, 0], 11625),
      entry([224, 0, 0, 1], 11625),
      entry([239, 255, 255, 255], 11625),
      entry([255, 255, 255, 255], 11625),
      entry([169, 254, 1, 1], 11625),
      entry([127, 0, 0, 1], world.dialer.address.port), // ourselves
      entry([8, 8, 8, 8], 0),
      entry([8, 8, 8, 8], 65_536),
      entry([8, 8, 8, 8], 0xffffffff),
      entry(Array(16).fill(0x20), 11625), // IPv6
      entry([127, 0, 0, 1], configured.port, 0xffffffff), // a configured one, with failures of the gossip's choice
    ];
    await peer.send({ type: "peers", peers: [...entries, ...Array(100 - entries.length).fill(entries[0])] });
    await assertKept(world.dialer, peer);
    const known = await world.dialer.book();
    const configuredDoors = new Set(Object.values(world.doors).map(({ address }) => `127.0.0.1:${address.port}`));
    const learned = [...known.keys()].filter((address) => !configuredDoors.has(address) && address !== "127.0.0.1:1");
    // Callers and doors announced their ports: 20,000 to 39,999.
    assert.deepEqual(learned.filter((address) => !/^127\.(1\d\d|0)\.\d+\.\d+:[23]\d{4}$/.test(address)), []);
    assert.ok(known.get(`127.0.0.1:${configured.port}`)!.numFailures <= 2);
    assert.equal(known.get(`127.0.0.1:${configured.port}`)!.type, "outbound");
    peer.close();
  },

  "a dialed node that says nothing": async (world) => {
    const peer = await world.doors.silent.next();
    await peer.saw("its HELLO", (m) => m.type === "hello");
    assert.equal((await peer.ended()).error, undefined);
    await world.dialer.log.until(
      "the log line",
      () =>
        world.dialer.log.drops.some((drop) =>
          drop.address === `127.0.0.1:${world.doors.silent.address.port}` && drop.reason === "idle timeout"
        ),
    );
  },

  "a dialed node that sends our own HELLO back": async (world) => {
    const peer = await world.doors.echo.next();
    const hello = await peer.saw("its HELLO", (m) => m.type === "hello");
    await peer.write(frameOf(encodeMessage(hello)));
    assert.equal((await peer.ended()).error, "ERR_CONF connecting to self");
  },

  "a dialed node whose AUTH is wrong": async (world) => {
    const peer = await world.doors.badAuth.next();
    await peer.greet();
    await peer.saw("its AUTH", (m) => m.type === "auth");
    const auth: StellarMessage = { type: "auth", auth: { flags: 200 } };
    await peer.write(peer.frame(auth, { mac: random.bytes(32) }));
    await assertDropped(world.dialer, peer, { wire: "ERR_AUTH unexpected MAC", failure: "bad_mac" });
  },

  "a dialed node that gives PEERS and then rejects": async (world) => {
    const peer = await world.doors.rejects.next();
    await peer.greet();
    await peer.saw("its AUTH", (m) => m.type === "auth");
    await peer.send({ type: "auth", auth: { flags: 200 } }, { type: "peers", peers: [] });
    await peer.error(4, "peer rejected");
    assert.equal((await peer.ended()).error, undefined);
    const line = await world.dialer.log.drop(peer);
    assert.deepEqual([line.by, line.reason, line.failure], ["remote", "ERR_LOAD (peer rejected)", "peer_rejected"]);
  },

  "an address where nobody listens": async (world) => {
    await world.dialer.log.until(
      "the failed dial",
      () =>
        world.dialer.log.dialFailures.some((line) =>
          line.address === "127.0.0.1:1" && line.failure === "connect_refused"
        ),
    );
  },

  "many announced addresses": async () => {
    // A node of the local network may learn loopback addresses; nothing listens at any of them.
    await using node = await RunTarget.start(["TARGET_PEER_CONNECTIONS = 1", "KNOWN_PEERS = []"], [
      "--no-dial",
      "--listen",
      "127.0.0.1:0",
    ]);
    const ports = new Set<number>();
    for (let i = 0; i < 40; i++) {
      const listeningPort = 1000 + i;
      ports.add(listeningPort);
      const peer = await live(node, { from: `127.1.0.${i + 1}`, hello: { listeningPort } });
      peer.close();
      await node.log.drop(peer);
    }
    const known = await node.book();
    assert.equal(known.size, ports.size);
  },
};

export const ENDING: Record<string, Case> = {
  "an operator drops and bans a peer": async (world) => {
    const peer = await live(world.main);
    await world.main.ban(peer.nodeIdText);
    await assertDropped(world.main, peer, { wire: "ERR_MISC dropped by user", failure: "local_close" });
  },

  "shutdown at every stage of the handshake": async () => {
    const node = await RunTarget.start([], ["--no-dial", "--listen", "127.0.0.1:0"]);
    const peers = [await caller(node), await greeted(node), await live(node)];
    const deaf = await live(node);
    deaf.pause();
    node.terminate();
    const goodbye = { wire: "ERR_MISC shutdown", failure: "local_close" } as const;
    for (const peer of peers) await assertDropped(node, peer, goodbye);
    assert.equal(await node.stopped(), 0);
    assert.equal(node.strayOutput(), "");
    deaf.close();
  },

  "shutdown while dialing and while a dialed node is silent": async () => {
    const { HostileDoor } = await import("../kit/hostile_peer.ts");
    const door = await HostileDoor.open("127.0.0.1", () => ({ passphrase: DIALER_PASSPHRASE }));
    const node = await RunTarget.start(
      [`KNOWN_PEERS = ["127.0.0.1:${door.address.port}"]`],
      ["--no-listen"],
      DIALER_PASSPHRASE,
    );
    const peer = await door.next();
    await peer.saw("its HELLO", (m) => m.type === "hello");
    node.terminate();
    assert.equal((await peer.ended()).error, "ERR_MISC shutdown");
    assert.equal(await node.stopped(), 0);
    door.close();
  },
};
