/** Attacks on framing and XDR. */
import { concatBytes } from "../../overlay/base/bytes.ts";
import { systemRandom as random } from "../../overlay/base/random.ts";
import { encodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import { frameOf, HostileSession } from "../kit/hostile_keys.ts";
import { pause } from "../kit/hostile_peer.ts";
import { assertDropped, assertKept } from "../kit/hostile_target.ts";
import {
  bigTxSet,
  caller,
  type Case,
  each,
  greeted,
  junkHashes,
  live,
  nestedQuorumSet,
  NETWORK_ID,
  nobodysHash,
  nowSeconds,
  rawMessage,
  validator,
  word,
} from "./world.ts";
import assert from "node:assert/strict";
import { prepare, scpMessage, value } from "../../overlay/flood/scp_state_test_kit.ts";

const CORRUPT = "ERR_DATA received corrupt XDR";

/** A record mark; bit 31 is set unless the length has it. */
function mark(length: number): Uint8Array {
  return word((length | 0x80000000) >>> 0);
}

/** An ending inside of what an honest peer would send. */
async function corrupt(world: Parameters<Case>[0], message: Uint8Array): Promise<void> {
  const peer = await live(world.main);
  await peer.send(message);
  await assertDropped(world.main, peer, { wire: CORRUPT, failure: "xdr_invalid" });
}

export const FRAMING: Record<string, Case> = {
  "lengths before authentication": async (world) => {
    const oversized = [0x7fffffff, 4100, 4097, 16 * 1024 * 1024 + 4, 16 * 1024 * 1024];
    await each(oversized, async (length) => {
      const peer = await caller(world.main);
      await peer.write(mark(length));
      await assertDropped(world.main, peer, { reason: "error during read", failure: "frame_oversized" });
      assert.equal(peer.bytesReceived, 0);
    });
    const zero = await caller(world.main);
    await zero.write(mark(0));
    await assertDropped(world.main, zero, { reason: "error during read", failure: "frame_malformed" });
    // Bit 31 clear: the same verdict, though such a start looks like another service.
    const clear = await caller(world.main);
    await clear.write(word(0x7fffffff));
    await assertDropped(world.main, clear, { reason: "error during read", failure: "not_stellar" });
    // HELLO has been exchanged, and our own state is still below GOT_AUTH.
    const half = await greeted(world.main);
    await half.write(mark(4100));
    await assertDropped(world.main, half, { reason: "error during read", failure: "frame_oversized" });
  },

  "lengths after authentication": async (world) => {
    await each([0, 16 * 1024 * 1024 + 4, 16 * 1024 * 1024 + 1, 0x7fffffff], async (length) => {
      const peer = await live(world.main);
      await peer.write(mark(length));
      const failure = length === 0 ? "frame_malformed" : "frame_oversized";
      await assertDropped(world.main, peer, { reason: "error during read", failure });
    });
  },

  "the longest legal frames": async (world) => {
    // Exactly 4096 before authentication: read, and refused for what it holds.
    const early = await caller(world.main);
    await early.write(frameOf(rawMessage(MessageType.hello, new Uint8Array(4096 - 48))));
    await assertDropped(world.main, early, { wire: CORRUPT, failure: "xdr_invalid" });
    // Exactly 16 MiB afterwards: a transaction set nobody asked for.
    const late = await live(world.main);
    await late.send(bigTxSet(16 * 1024 * 1024 - 44));
    await assertKept(world.main, late);
    late.close();
  },

  "lengths that are not whole words, or too short": async (world) => {
    await each([45, 49, 50, 51, 4, 12, 47, 1], async (length) => {
      const peer = await caller(world.main);
      await peer.write(mark(length), new Uint8Array(length));
      await assertDropped(world.main, peer, { wire: CORRUPT, failure: "frame_malformed" });
      const grown = await live(world.main);
      await grown.write(mark(length), new Uint8Array(length));
      await assertDropped(world.main, grown, { wire: CORRUPT, failure: "frame_malformed" });
    });
  },

  "bodies shorter and longer than their message": async (world) => {
    const early = await caller(world.main);
    const hello = encodeMessage({ type: "hello", hello: early.session.hello });
    await early.write(frameOf(concatBytes(hello, new Uint8Array(4))));
    await assertDropped(world.main, early, { wire: CORRUPT, failure: "xdr_invalid" });
    const cut = await caller(world.main);
    await cut.write(frameOf(hello.subarray(0, hello.length - 4)));
    await assertDropped(world.main, cut, { wire: CORRUPT, failure: "xdr_invalid" });
    const hash = nobodysHash();
    const messages = [
      encodeMessage({ type: "getScpQuorumset", qSetHash: hash }),
      encodeMessage({ type: "getTxSet", txSetHash: hash }),
      encodeMessage({ type: "getScpState", ledgerSeq: 1 }),
      encodeMessage({ type: "dontHave", dontHave: { type: 6, reqHash: hash } }),
      encodeMessage({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 1, numBytes: 1 } }),
      encodeMessage({ type: "floodAdvert", txHashes: [hash] }),
      encodeMessage({ type: "floodDemand", txHashes: [hash] }),
      encodeMessage({ type: "peers", peers: [] }),
    ];
    await each(messages, async (message) => {
      await corrupt(world, concatBytes(message, new Uint8Array(4)));
      await corrupt(world, message.subarray(0, message.length - 4));
    });
  },

  "connect and close, in every way": async (world) => {
    const { log } = world.main;
    const left = async (peer: Awaited<ReturnType<typeof caller>>, reason: RegExp) => {
      const line = await log.drop(peer);
      assert.equal(line.by, "remote");
      assert.match(line.reason, reason);
    };
    const atOnce = await caller(world.main);
    const { local } = atOnce;
    atOnce.close();
    await log.until(
      "the end of who closed at once",
      () => log.drops.some((line) => line.address === `${local.host}:${local.port}` && line.by === "remote"),
    );
    const half = await live(world.main);
    half.halfClose();
    // Our direction is closed; the node closes its own, and says nothing.
    assert.equal((await half.ended()).error, undefined);
    await left(half, /^error reading message header: End of file$/);
    const inBody = await live(world.main);
    await inBody.write(mark(1000), new Uint8Array(10));
    inBody.halfClose();
    assert.equal((await inBody.ended()).error, undefined);
    await left(inBody, /^error reading message body: End of file$/);
    const reset = await live(world.main);
    reset.reset();
    await left(reset, /^error reading message header: /);
  },

  "bit 31 at will": async (world) => {
    const peer = await caller(world.main);
    await peer.write(frameOf(encodeMessage({ type: "hello", hello: peer.session.hello }), { lastFragment: false }));
    await peer.saw("HELLO", (m) => m.type === "hello");
    await peer.write(peer.frame({ type: "auth", auth: { flags: 200 } }, { lastFragment: false }));
    for (let i = 0; i < 20; i++) {
      const query = { type: "getScpQuorumset", qSetHash: nobodysHash() } as const;
      await peer.write(peer.frame(query, { lastFragment: i % 3 === 0 }));
    }
    await assertKept(world.main, peer);
    // It does not switch off the MAC check either.
    await peer.write(
      peer.frame({ type: "getScpState", ledgerSeq: 1 }, { lastFragment: false, mac: new Uint8Array(32) }),
    );
    await assertDropped(world.main, peer, { wire: "ERR_AUTH unexpected MAC", failure: "bad_mac" });
  },

  "thousands of frames in one segment": async (world) => {
    const peer = await live(world.main);
    const frames = Array.from(
      { length: 4000 },
      () => peer.frame({ type: "dontHave", dontHave: { type: MessageType.txSet, reqHash: nobodysHash() } }),
    );
    await peer.write(...frames);
    await assertKept(world.main, peer);
    peer.close();
  },

  "one frame over thousands of segments": async (world) => {
    const peer = await live(world.main);
    // An answer in the middle of the frame would be our own fault.
    peer.answersPings = false;
    const frame = peer.frame(bigTxSet(60_000));
    for (let at = 0; at < frame.length; at += 20) {
      await peer.write(frame.subarray(at, at + 20));
      if (at % 2000 === 0) await pause(0);
    }
    await assertKept(world.main, peer);
    peer.close();
  },
};

/** Connections that take their time. */
export const SLOWNESS: Record<string, Case> = {
  "slow drips": async (world) => {
    const hello = (peer: { session: HostileSession }) =>
      frameOf(encodeMessage({ type: "hello", hello: peer.session.hello }));
    const idle = { reason: "idle timeout", failure: "handshake_timeout" } as const;
    const patient = async () => {
      // A handshake in pieces that is done before the check is as good as any.
      const peer = await caller(world.main);
      await peer.drip(hello(peer), 40, 20);
      await peer.saw("HELLO", (m) => m.type === "hello");
      await peer.drip(peer.frame({ type: "auth", auth: { flags: 200 } }), 7, 5);
      await peer.saw("a grant", (m) => m.type === "sendMoreExtended");
      await assertKept(world.main, peer);
      peer.close();
    };
    const drippingBody = async () => {
      const peer = await caller(world.impatient);
      const frame = hello(peer);
      await peer.write(frame.subarray(0, 4));
      const done = peer.drip(frame.subarray(4), 1, 1000);
      await assertDropped(world.impatient, peer, idle);
      await done;
      assert.equal(peer.bytesReceived, 0);
    };
    const drippingHeader = async () => {
      const peer = await caller(world.impatient);
      const done = peer.drip(mark(308), 1, 2500);
      await assertDropped(world.impatient, peer, idle);
      await done;
    };
    await Promise.all([patient(), drippingBody(), drippingHeader()]);
  },

  "saying nothing": async (world) => {
    const silent = await caller(world.impatient);
    await assertDropped(world.impatient, silent, { reason: "idle timeout", failure: "handshake_timeout" });
    assert.equal(silent.bytesReceived, 0);
  },

  "saying nothing after HELLO": async (world) => {
    const silent = await greeted(world.impatient);
    await assertDropped(world.impatient, silent, { reason: "idle timeout", failure: "handshake_timeout" });
  },
};

/** Where a hash stands in a message: overwritten to make it unknown. */
function withWord(message: Uint8Array, at: number, n: number): Uint8Array {
  const changed = message.slice();
  changed.set(word(n), at);
  return changed;
}

export const XDR: Record<string, Case> = {
  "message types that do not exist": async (world) => {
    await each([1, 4, 14, 15, 25, 26, 0x7fffffff, 0xffffffff], async (type) => {
      const early = await caller(world.main);
      await early.write(frameOf(rawMessage(type, new Uint8Array(40))));
      await assertDropped(world.main, early, { wire: CORRUPT, failure: "frame_malformed" });
      const late = await live(world.main);
      await late.send(rawMessage(type, new Uint8Array(40)));
      await assertDropped(world.main, late, { wire: CORRUPT, failure: "frame_malformed" });
    });
    await each([1, 0xffffffff], async (version) => {
      const peer = await caller(world.main);
      await peer.write(frameOf(encodeMessage({ type: "hello", hello: peer.session.hello }), { version }));
      await assertDropped(world.main, peer, { wire: CORRUPT, failure: "frame_malformed" });
    });
  },

  "unknown arms at every level": async (world) => {
    const key = validator();
    const quorumSet = encodeMessage({
      type: "scpQuorumset",
      qSet: { threshold: 1, validators: [nobodysHash()], innerSets: [] },
    });
    const envelope = scpMessage(
      key,
      5,
      prepare(nobodysHash(), 1, value(key, nobodysHash(), nowSeconds(), NETWORK_ID)),
      NETWORK_ID,
    );
    const peers = encodeMessage({
      type: "peers",
      peers: [{ ip: Uint8Array.of(127, 0, 0, 9), port: 1, numFailures: 0 }],
    });
    await each([
      withWord(quorumSet, 12, 1), // the validator's key type
      withWord(envelope, 4, 1), // the node's key type
      withWord(envelope, 48, 4), // the statement's type
      withWord(peers, 8, 2), // the address's type
      rawMessage(MessageType.transaction, word(1), new Uint8Array(60)),
      rawMessage(MessageType.transaction, word(7), new Uint8Array(60)),
      rawMessage(MessageType.transaction),
      rawMessage(MessageType.generalizedTxSet, word(2), new Uint8Array(36)),
      rawMessage(MessageType.generalizedTxSet, word(0), new Uint8Array(36)),
      // Survey: a signature of 64 zeros, then a surveyor whose key type is 9.
      rawMessage(
        MessageType.timeSlicedSurveyStartCollecting,
        word(64),
        new Uint8Array(64),
        word(9),
        new Uint8Array(40),
      ),
    ], (message) => corrupt(world, message));
    // HELLO: the node id's key type, 32 + 4 + 4 bytes from the end of the fixed part.
    const peer = await caller(world.main);
    const hello = encodeMessage({ type: "hello", hello: peer.session.hello });
    const at = 4 + 12 + 32 + 4 + 12 + 4; // type, versions, network, "hostile 1.0" padded, port
    await peer.write(frameOf(withWord(hello, at, 1)));
    await assertDropped(world.main, peer, { wire: CORRUPT, failure: "xdr_invalid" });
  },

  "counts beyond a bound or beyond the data": async (world) => {
    const hash = nobodysHash();
    const validators = encodeMessage({
      type: "scpQuorumset",
      qSet: { threshold: 1, validators: [hash], innerSets: [] },
    });
    await each([
      rawMessage(MessageType.floodAdvert, word(1001), ...junkHashes(1001)),
      rawMessage(MessageType.floodDemand, word(1001), ...junkHashes(1001)),
      rawMessage(MessageType.floodAdvert, word(1000), ...junkHashes(10)),
      rawMessage(MessageType.floodAdvert, word(0xffffffff), ...junkHashes(1)),
      rawMessage(MessageType.floodDemand, word(0xffffffff), ...junkHashes(1)),
      rawMessage(MessageType.peers, word(101), ...Array(101).fill(new Uint8Array(16))),
      rawMessage(MessageType.peers, word(0xffffffff), new Uint8Array(16)),
      withWord(validators, 8, 0xffffffff),
      withWord(validators, 8, 2),
      withWord(validators, validators.length - 4, 0xffffffff),
      rawMessage(MessageType.txSet, hash, word(0xffffffff), new Uint8Array(8)),
      rawMessage(MessageType.txSet, hash, word(0), new Uint8Array(8)),
      rawMessage(MessageType.generalizedTxSet, word(1), hash, word(0xffffffff), new Uint8Array(8)),
      // An SCP envelope: key type, node, slot, NOMINATE, its quorum set, and a count of votes.
      rawMessage(MessageType.scpMessage, word(0), hash, new Uint8Array(8), word(3), hash, word(0xffffffff)),
      // A survey response whose encrypted body claims 64,001 bytes.
      rawMessage(
        MessageType.timeSlicedSurveyResponse,
        word(64),
        new Uint8Array(64 + 36 + 36 + 4),
        word(1),
        word(64_001),
      ),
    ], (message) => corrupt(world, message));
    await each([101, 0xffffffff], async (length) => {
      const early = await caller(world.main);
      const hello = encodeMessage({ type: "hello", hello: early.session.hello });
      await early.write(frameOf(withWord(hello, 48, length)));
      await assertDropped(world.main, early, { wire: CORRUPT, failure: "xdr_invalid" });
      const error = await live(world.main);
      await error.write(frameOf(rawMessage(MessageType.errorMsg, word(0), word(length), new Uint8Array(104))));
      await assertDropped(world.main, error, { wire: CORRUPT, failure: "xdr_invalid" });
    });
  },

  "padding and flags": async (world) => {
    // "hostile 1.0" takes 11 bytes; the twelfth is padding.
    const early = await caller(world.main);
    const hello = encodeMessage({ type: "hello", hello: early.session.hello });
    hello[4 + 12 + 32 + 4 + 11] = 1;
    await early.write(frameOf(hello));
    await assertDropped(world.main, early, { wire: CORRUPT, failure: "xdr_invalid" });
    const error = await live(world.main);
    await error.write(frameOf(rawMessage(MessageType.errorMsg, word(0), word(1), Uint8Array.of(65, 0, 1, 0))));
    await assertDropped(world.main, error, { wire: CORRUPT, failure: "xdr_invalid" });
    // An optional's flag of 2 is a true bool: the envelope decodes, and is refused for its signature without a word.
    const key = validator(), content = value(key, nobodysHash(), nowSeconds(), NETWORK_ID);
    const ballot = { counter: 1, value: content };
    const pledges = {
      type: "prepare",
      prepare: {
        quorumSetHash: nobodysHash(),
        ballot: { counter: 2, value: content },
        prepared: ballot,
        preparedPrime: null,
        nC: 0,
        nH: 0,
      },
    } as const;
    const envelope = scpMessage(key, 5, pledges, NETWORK_ID);
    const flagAt = 4 + 36 + 8 + 4 + 32 + 4 + 4 + ((content.length + 3) & ~3);
    assert.deepEqual(envelope.subarray(flagAt, flagAt + 4), word(1));
    const peer = await live(world.main);
    await peer.send(withWord(envelope, flagAt, 2));
    await assertKept(world.main, peer);
    peer.close();
  },

  "deep recursion": async (world) => {
    const peer = await live(world.main);
    // Insane, but within what XDR decodes: ignored, as nobody asked for it.
    await peer.send(nestedQuorumSet(6), nestedQuorumSet(400));
    await assertKept(world.main, peer);
    await each([1600, 5000, 1_000_000], async (levels) => {
      const deep = await live(world.main);
      await deep.send(nestedQuorumSet(levels));
      await assertDropped(world.main, deep, { wire: CORRUPT, failure: "xdr_invalid" });
    });
    await assertKept(world.main, peer);
    peer.close();
  },

  "huge but legal": async (world) => {
    const peer = await live(world.main);
    const nodes = Array.from({ length: 1000 }, () => random.bytes(32));
    await peer.send(
      { type: "floodAdvert", txHashes: junkHashes(1000) },
      { type: "floodDemand", txHashes: junkHashes(1000) },
      { type: "scpQuorumset", qSet: { threshold: 1000, validators: nodes, innerSets: [] } },
      { type: "scpQuorumset", qSet: { threshold: 1, validators: [...nodes, ...nodes, ...nodes], innerSets: [] } },
      bigTxSet(16 * 1024 * 1024 - 44),
    );
    await assertKept(world.main, peer);
    peer.close();
  },
};
