/** Attacks on HELLO, AUTH and the MAC of every later message; and on the slots for connections. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { concatBytes, fromHex } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { encodeMessage, messageEnumName, MessageType, type StellarMessage } from "../../overlay/wire/messages.ts";
import { textOfBytes } from "../../overlay/wire/xdr.ts";
import { frameOf, type HelloChoices, HostileIdentity } from "../kit/hostile_keys.ts";
import { pause, PROMPT_MS } from "../kit/hostile_peer.ts";
import { assertDropped, assertKept } from "../kit/hostile_target.ts";
import { assertServes, caller, type Case, each, greeted, live, NETWORK_ID, nobodysHash } from "./world.ts";

const AUTH: StellarMessage = { type: "auth", auth: { flags: 200 } };
const SEQUENCE = { wire: "ERR_AUTH unexpected auth sequence", failure: "bad_sequence" } as const;
const MAC = { wire: "ERR_AUTH unexpected MAC", failure: "bad_mac" } as const;
const CERT = { reason: "failed to verify auth cert", failure: "bad_cert" } as const;

/** A message of every type but HELLO, AUTH and ERROR_MSG. */
function everyOther(): StellarMessage[] {
  const hash = nobodysHash(), nodeId = nobodysHash(), signature = new Uint8Array(64);
  const collecting = { surveyorId: nodeId, nonce: 1, ledgerNum: 1 };
  return [
    { type: "dontHave", dontHave: { type: MessageType.txSet, reqHash: hash } },
    { type: "peers", peers: [] },
    { type: "getTxSet", txSetHash: hash },
    { type: "transaction", transaction: new Uint8Array([0, 0, 0, 2, 0, 0, 0, 0]) },
    { type: "getScpQuorumset", qSetHash: hash },
    { type: "scpQuorumset", qSet: { threshold: 1, validators: [hash], innerSets: [] } },
    { type: "getScpState", ledgerSeq: 0 },
    { type: "sendMore", sendMore: { numMessages: 1 } },
    { type: "floodAdvert", txHashes: [hash] },
    { type: "floodDemand", txHashes: [hash] },
    { type: "sendMoreExtended", sendMoreExtended: { numMessages: 1, numBytes: 1 } },
    { type: "timeSlicedSurveyStartCollecting", surveyStart: { signature, startCollecting: collecting } },
  ];
}

export const HANDSHAKE: Record<string, Case> = {
  "AUTH with a wrong MAC, a wrong number, or twice": async (world) => {
    const wrongMac = await greeted(world.main);
    await wrongMac.write(wrongMac.frame(AUTH, { mac: random.bytes(32) }));
    await assertDropped(world.main, wrongMac, MAC);
    const zeroMac = await greeted(world.main);
    await zeroMac.write(frameOf(encodeMessage(AUTH)));
    await assertDropped(world.main, zeroMac, MAC);
    const wrongNumber = await greeted(world.main);
    await wrongNumber.write(wrongNumber.frame(AUTH, { sequence: 5n }));
    await assertDropped(world.main, wrongNumber, SEQUENCE);
    const twice = await live(world.main);
    await twice.send(AUTH);
    await assertDropped(world.main, twice, {
      wire: "ERR_MISC out-of-order AUTH message",
      failure: "protocol_violation",
    });
  },

  "AUTH before HELLO": async (world) => {
    const peer = await caller(world.main);
    await peer.write(frameOf(encodeMessage(AUTH)));
    await assertDropped(world.main, peer, {
      wire: "ERR_MISC out-of-order AUTH message",
      failure: "protocol_violation",
    });
    assert.equal(peer.count("hello"), 0);
  },

  "AUTH with other flags": async (world) => {
    await each([0, 100, 201, -1, 0x7fffffff], async (flags) => {
      const peer = await greeted(world.main);
      await peer.send({ type: "auth", auth: { flags } });
      await assertDropped(world.main, peer, {
        wire: "ERR_CONF flow control bytes disabled",
        failure: "protocol_violation",
      });
      // The answer came first.
      assert.equal(peer.count("auth"), 1);
      assert.equal(peer.count("sendMoreExtended"), 0);
    });
  },

  "a second HELLO": async (world) => {
    const bare = await greeted(world.main);
    await bare.hello();
    await assertDropped(world.main, bare, MAC);
    const later = await live(world.main);
    await later.hello();
    await assertDropped(world.main, later, SEQUENCE);
    // With a number and a MAC it passes the MAC layer, and is refused without a word.
    for (const peer of [await greeted(world.main), await live(world.main)]) {
      await peer.send({ type: "hello", hello: peer.session.hello });
      await assertDropped(world.main, peer, { reason: "received unexpected HELLO", failure: "protocol_violation" });
    }
  },

  "every other message before the end of the handshake": async (world) => {
    await each(everyOther(), async (message) => {
      const reason = `received ${messageEnumName(MessageType[message.type])} before completed handshake`;
      const early = await caller(world.main);
      await early.write(frameOf(encodeMessage(message)));
      await assertDropped(world.main, early, { reason, failure: "protocol_violation" });
      assert.equal(early.bytesReceived, 0);
      const half = await greeted(world.main);
      await half.send(message);
      await assertDropped(world.main, half, { reason, failure: "protocol_violation" });
      const unsigned = await greeted(world.main);
      await unsigned.write(frameOf(encodeMessage(message)));
      await assertDropped(world.main, unsigned, MAC);
    });
  },

  "frames replayed, reordered, left out, doubled": async (world) => {
    const query = (): StellarMessage => ({ type: "getScpQuorumset", qSetHash: nobodysHash() });
    const replayed = await live(world.main);
    await replayed.ping();
    await replayed.write(replayed.sent.at(-1)!);
    await assertDropped(world.main, replayed, SEQUENCE);
    const reordered = await live(world.main);
    const first = reordered.frame(query()), second = reordered.frame(query());
    await reordered.write(second, first);
    await assertDropped(world.main, reordered, SEQUENCE);
    const leftOut = await live(world.main);
    leftOut.frame(query());
    await leftOut.send(query());
    await assertDropped(world.main, leftOut, SEQUENCE);
    const doubled = await live(world.main);
    const frame = doubled.frame(query());
    await doubled.write(frame, frame);
    await assertDropped(world.main, doubled, SEQUENCE);
    assert.equal(doubled.count("dontHave"), 1);
    // A frame of another connection that has the number of this one.
    const [one, other] = [await live(world.main), await live(world.main)];
    await other.write(other.frame(query(), { key: one.session.sendKey }));
    await assertDropped(world.main, other, MAC);
    await assertKept(world.main, one);
    one.close();
  },

  "frames altered": async (world) => {
    await each([16, 20, 40, 52, 83], async (at) => {
      const peer = await live(world.main);
      const frame = peer.frame({ type: "getScpQuorumset", qSetHash: nobodysHash() });
      frame[at === 16 ? 19 : at] ^= at === 16 ? 15 : 1; // GET_SCP_QUORUMSET becomes GET_TX_SET
      await peer.write(frame);
      await assertDropped(world.main, peer, MAC);
    });
    const high = await live(world.main);
    await high.write(high.frame({ type: "getScpState", ledgerSeq: 1 }, { sequence: 2n ** 32n + 2n }));
    await assertDropped(world.main, high, SEQUENCE);
  },

  "ERROR_MSG by anybody": async (world) => {
    const evil = '\u001b[31mred\r\n{"event":"authenticated"} \u0007\u202e';
    const states = [caller, greeted, live];
    for (const state of states) {
      const [victim, bystander] = [await state(world.main), await live(world.main)];
      await victim.error(2, evil);
      assert.equal((await victim.ended()).error, undefined);
      const line = await world.main.log.drop(victim);
      assert.equal(line.by, "remote");
      assert.equal(line.reason, "ERR_CONF (**31mred****event***authenticated** ****)");
      await assertKept(world.main, bystander);
      bystander.close();
    }
    // Any code, and the longest text of bytes that are no UTF-8.
    const odd = await live(world.main);
    await odd.error(77, textOfBytes(new Uint8Array(100).fill(0xff)));
    assert.equal((await odd.ended()).error, undefined);
    const line = await world.main.log.drop(odd);
    assert.match(line.reason, /^ERR_77 \(\*+\)$/);
  },

  "certificates that do not hold": async (world) => {
    const now = BigInt(Math.floor(Date.now() / 1000));
    const silent = async (choices: HelloChoices, failure: "bad_cert" | "network_mismatch" = "bad_cert") => {
      const peer = await caller(world.main, choices);
      await peer.hello();
      await assertDropped(world.main, peer, { reason: CERT.reason, failure });
      assert.equal(peer.bytesReceived, 0);
    };
    await silent({ expiration: now - 60n });
    await silent({ expiration: 0n });
    await silent({ passphrase: "Public Global Stellar Network ; September 2015" }, "network_mismatch");
    const identity = new HostileIdentity(), pubkey = random.bytes(32);
    const good = identity.cert(NETWORK_ID, pubkey);
    await each(
      [0, 1, 63],
      (length) => silent({ identity, hello: { cert: { ...good, sig: good.sig.subarray(0, length) } } }),
    );
    await silent({ identity, hello: { cert: { ...good, pubkey: random.bytes(32) } } });
    await silent({ identity, hello: { cert: { ...good, expiration: good.expiration + 1n } } });
    await silent({ hello: { cert: good } }); // somebody else's
    // A certificate of another network under our own network id.
    await silent({ identity, hello: { cert: identity.cert(new Uint8Array(32), pubkey) } });
  },

  "certificates that hold for ever": async (world) => {
    await each([500_000_000_000n, 2n ** 63n, 2n ** 64n - 1n], async (expiration) => {
      const peer = await live(world.main, { expiration });
      await assertKept(world.main, peer);
      peer.close();
    });
  },

  "Curve25519 points of small order": async (world) => {
    const points = [
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    await each(points, async (point) => {
      const peer = await caller(world.main, { pubkey: fromHex(point) });
      await peer.hello();
      await assertDropped(world.main, peer, { reason: "Bad crypto request", failure: "bad_key" });
      assert.equal(peer.bytesReceived, 0);
    });
  },

  "a Curve25519 point in another form": async (world) => {
    // The base point 9 as p + 9, and with the top bit set: agreeing on it gives the node's own public key.
    const forms = ["f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "09" + "00".repeat(30) + "80"];
    await each(forms, async (form) => {
      const peer = await live(world.main, { pubkey: fromHex(form), agree: (theirs) => theirs });
      await assertKept(world.main, peer);
      peer.close();
    });
  },

  "the node's own id": async (world) => {
    const first = await greeted(world.main);
    const theirs = await first.saw("HELLO", (m) => m.type === "hello") as StellarMessage & { type: "hello" };
    first.close();
    const { peerId, cert } = theirs.hello;
    const echo = await caller(world.main, { hello: { peerId, cert } });
    await echo.hello();
    assert.equal((await echo.ended()).error, "ERR_CONF connecting to self");
    assert.equal(echo.count("hello"), 1);
    await world.main.log.until(
      "the log line",
      () => world.main.log.drops.some((line) => line.reason === "connecting to self" && line.by === "us"),
    );
  },

  "one id from many addresses at once": async (world) => {
    const identity = new HostileIdentity();
    const name = `already-connected peer: ${identity.nodeIdText.slice(0, 5)}`;
    const peers = await Promise.all(
      Array.from({ length: 12 }, (_, i) => caller(world.main, { identity, from: `127.0.0.${30 + i}` })),
    );
    await Promise.all(peers.map((peer) => peer.hello()));
    // Which one is first is not said; one is, and all others are refused while it is pending.
    const refused = () => peers.filter((peer) => peer.count("errorMsg") > 0);
    const untilMs = Date.now() + PROMPT_MS;
    while (refused().length < peers.length - 1 && Date.now() < untilMs) await pause(10);
    const winner = peers.filter((peer) => !refused().includes(peer));
    assert.equal(winner.length, 1);
    for (const peer of peers) {
      if (peer === winner[0]) continue;
      await assertDropped(world.main, peer, { wire: `ERR_CONF ${name}`, failure: "already_connected" });
    }
    await winner[0].send(AUTH);
    await winner[0].saw("a grant", (m) => m.type === "sendMoreExtended");
    await assertKept(world.main, winner[0]);
    const late = await caller(world.main, { identity, from: "127.0.0.60" });
    await late.hello();
    await assertDropped(world.main, late, { wire: `ERR_CONF ${name}`, failure: "already_connected" });
    // The id is free again when its connection is gone.
    winner[0].close();
    await world.main.log.drop(winner[0]);
    const again = await live(world.main, { identity });
    await again.ping();
    again.close();
  },

  "a banned id": async (world) => {
    const identity = new HostileIdentity();
    const before = await live(world.main, { identity });
    before.close();
    await world.main.log.drop(before);
    await world.main.ban(identity.nodeIdText);
    await each(["127.0.0.1", "127.0.0.61"], async (from) => {
      const peer = await caller(world.main, { identity, from });
      await peer.hello();
      await assertDropped(world.main, peer, { reason: "node is banned", failure: "local_close" });
      assert.equal(peer.bytesReceived, 0);
    });
  },

  "overlay versions": async (world) => {
    const max = 0xffffffff;
    await each([[42, 43], [0, 0], [max, max], [34, 1], [41, max]], async ([overlayVersion, overlayMinVersion]) => {
      const peer = await greeted(world.main, { hello: { overlayVersion, overlayMinVersion } });
      await assertDropped(world.main, peer, { wire: "ERR_CONF wrong protocol version", failure: "version_mismatch" });
    });
    await each([[max, 0], [42, 42], [max, 1]], async ([overlayVersion, overlayMinVersion]) => {
      const peer = await live(world.main, { hello: { overlayVersion, overlayMinVersion, ledgerVersion: max } });
      await assertKept(world.main, peer);
      peer.close();
    });
  },

  "another network's id under a certificate for ours": async (world) => {
    const peer = await greeted(world.main, { hello: { networkId: random.bytes(32) } });
    await assertDropped(world.main, peer, { wire: "ERR_CONF wrong network passphrase", failure: "network_mismatch" });
  },

  "listening ports": async (world) => {
    await each([0, -1, 65_536, -0x80000000, 0x7fffffff], async (listeningPort) => {
      const peer = await greeted(world.main, { hello: { listeningPort } });
      assert.equal((await peer.ended()).error, "ERR_CONF bad address");
      await world.main.log.until(
        "the log line",
        () => world.main.log.drops.some((line) => line.nodeId === peer.nodeIdText && line.reason === "bad address"),
      );
    });
    await each([1, 65_535], async (listeningPort) => {
      const peer = await live(world.main, { hello: { listeningPort } });
      await assertKept(world.main, peer);
      peer.close();
    });
  },

  "version texts": async (world) => {
    const texts = [
      "",
      "\u001b[2J\u001b[31m\r\nforged line",
      "\u202eright to left\u0000",
      textOfBytes(new Uint8Array(100).fill(0xfe)),
      textOfBytes(concatBytes(Uint8Array.of(0xc3), new Uint8Array(60).fill(0x28))),
      "v".repeat(100),
    ];
    await each(texts, async (versionStr) => {
      const peer = await live(world.main, { hello: { versionStr } });
      await assertKept(world.main, peer);
      peer.close();
    });
  },
};

export const SLOTS: Record<string, Case> = {
  "a full node, and preferred peers": async (world) => {
    const { crowded, preferred } = world;
    const [low, high] = [new HostileIdentity(), new HostileIdentity()].sort((a, b) =>
      Buffer.compare(a.nodeId, b.nodeId)
    );
    const first = await live(crowded, { identity: low }), second = await live(crowded, { identity: high });
    const rejected = { wire: "ERR_LOAD peer rejected", failure: "local_close" } as const;
    const third = await greeted(crowded);
    await third.send(AUTH);
    await assertDropped(crowded, third, rejected);
    assert.equal(third.count("auth"), 1, "AUTH is answered before the verdict");
    // Whoever announces the preferred address from another IP is nobody.
    const pretender = await greeted(crowded, { from: "127.0.0.70", hello: { listeningPort: preferred.port } });
    await pretender.send(AUTH);
    await assertDropped(crowded, pretender, rejected);
    const elsewhere = await greeted(crowded, { from: preferred.from, hello: { listeningPort: preferred.port - 1 } });
    await elsewhere.send(AUTH);
    await assertDropped(crowded, elsewhere, rejected);
    // From its IP it is: the address is as good as that, and no better. The lowest node id goes. Like upstream, the node
    // reads its preferred addresses two seconds after its start.
    while (!(await crowded.book()).has(`${preferred.from}:${preferred.port}`)) await pause(100);
    const evicted = { wire: "ERR_LOAD preferred peer selected instead", failure: "local_close" } as const;
    const byAddress = await live(crowded, { from: preferred.from, hello: { listeningPort: preferred.port } });
    await assertDropped(crowded, first, evicted);
    const byKey = await live(crowded, { identity: preferred.key });
    await assertDropped(crowded, second, evicted);
    await assertKept(crowded, byAddress);
    await assertKept(crowded, byKey);
    // All are preferred: nobody has to go.
    const late = await greeted(crowded, {
      identity: new HostileIdentity(),
      from: preferred.from,
      hello: { listeningPort: preferred.port },
    });
    await late.send(AUTH);
    await assertDropped(crowded, late, rejected);
    byAddress.close();
    byKey.close();
    await crowded.log.drop(byAddress);
    await crowded.log.drop(byKey);
    await assertServes(crowded);
  },

  "all pending slots taken by silence": async (world) => {
    const { slots, pendingSlots } = world;
    await assertServes(slots);
    while ((await slots.gauges()).liveInbound > 0) await pause(50);
    const silent = await Promise.all(
      Array.from({ length: pendingSlots }, (_, i) => caller(slots, { from: `127.0.0.${80 + i % 20}` })),
    );
    // More are closed at once, without a byte.
    await each(["127.0.0.1", "127.0.0.2", "127.0.0.3"], async (from) => {
      const more = await caller(slots, { from });
      assert.equal((await more.ended()).error, undefined);
      assert.equal(more.bytesReceived, 0);
    });
    await slots.log.until("the refusals", () => slots.log.refused.length >= 3);
    for (const peer of silent) {
      await assertDropped(slots, peer, { reason: "idle timeout", failure: "handshake_timeout" });
    }
    // Their sockets count until they are closed for sure: 5 s after the drop.
    const early = await caller(slots);
    assert.equal((await early.ended()).error, undefined);
    assert.equal(early.bytesReceived, 0);
    const until = Date.now() + 15_000;
    let served = false;
    while (!served && Date.now() < until) {
      const peer = await caller(slots);
      served = await peer.shake().then(() => true, () => false);
      peer.close();
      if (!served) await pause(250);
    }
    assert.ok(served, "the slots are free again");
  },
};
