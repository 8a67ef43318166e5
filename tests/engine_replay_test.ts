/**
 * Every recorded session of a real stellar-core played to a whole engine in virtual time, as a watcher and as a validator: what
 * it counts, keeps, relays, grants and says about the end is what the recording implies by the protocol's rules
 * (kit/recording_model.ts), which are followed there without the engine. The five of watch/ are also played to one engine at once.
 */
import * as base from "@stellar/stellar-base";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { toHex } from "../overlay/base/bytes.ts";
import { VirtualClock } from "../overlay/base/clock.ts";
import { type OverlayConfig, standalone } from "../overlay/base/config.ts";
import type { Failure } from "../overlay/base/errors.ts";
import { DEFAULT_PEER_PORT } from "../overlay/base/peer_address.ts";
import { openDatabase } from "../overlay/db/database.ts";
import { migrate } from "../overlay/db/schema.ts";
import { dropLabel } from "../overlay/manager/node_metrics.ts";
import { type OverlayEvent, OverlayManager } from "../overlay/manager/overlay_manager.ts";
import type { Subscription } from "../overlay/manager/subscription.ts";
import { RawRemote, testNode } from "../overlay/peer/peer_test_remote.ts";
import { MemoryNetwork } from "../overlay/transport/memory.ts";
import type { Transport } from "../overlay/transport/transport.ts";
import {
  decodeMessage,
  encodeMessage,
  messageEnumName,
  MessageType,
  type MessageTypeName,
} from "../overlay/wire/messages.ts";
import { loadSession, type Session, sessionNames, splitFrame } from "./kit/fixtures.ts";
import { type FrameTap, type Sum, TappedTransport } from "./kit/frame_tap.ts";
import { type Implied, implied } from "./kit/recording_model.ts";
import { endedByRemote, framesOf, recordedHello } from "./kit/replay_server.ts";
import {
  forOurKeys,
  nonceRandom,
  play,
  PlayedPeer,
  playedTransport,
  type Timed,
  timeline,
} from "./kit/session_player.ts";

const HOST = "127.0.0.1";
/** Our listening address in the network in memory. */
const OUR_DOOR = "198.51.100.1";
/** A third node, to which the engine relays. */
const LISTENER = "198.51.100.9";
const LINGER_MS = 150;
/** Long enough for everything that waits for a message in one test; Bun's own limit is 5 s. */
const LIMIT = { timeout: 60_000 };

type Mode = "watcher" | "validator";

/** A played engine at the end, before it is stopped. */
interface Played {
  engine: OverlayManager;
  peers: PlayedPeer[];
  /** The third node, and what it sent. */
  listener: RawRemote;
  listenerTap: FrameTap;
  events: OverlayEvent[];
  inbox: Subscription;
  expected: Implied;
  dispose(): Promise<void>;
}

interface Setup {
  passphrase: string;
  epochMs: number;
  /** Session by session: when it begins. */
  startMs: number[];
  seed: Uint8Array;
  x25519Secret: Uint8Array;
  nonce: Uint8Array;
  config: Partial<OverlayConfig>;
  translate?: (timed: Timed) => Uint8Array;
}

async function playTo(mode: Mode, sessions: Session[], setup: Setup): Promise<Played> {
  const clock = new VirtualClock({ epochMs: setup.epochMs });
  const net = new MemoryNetwork({ clock });
  const peers = sessions.map(({ header, hello }, i) => {
    const role = header.role === "initiator" ? "weCalledRemote" : "remoteCalledUs";
    const port = role === "weCalledRemote" ? hello?.listeningPort ?? 21_620 + i : 40_000 + i;
    return new PlayedPeer(role, { host: HOST, port });
  });
  const transport = playedTransport(net, OUR_DOOR, peers);
  const database = await openDatabase(":memory:");
  migrate(database);
  const events: OverlayEvent[] = [];
  const options = { networkPassphrase: setup.passphrase, listeningHost: OUR_DOOR, noDial: true };
  const engine = new OverlayManager({
    // A window that cannot work is part of one recording, so these settings are not checked.
    config: {
      ...standalone({ ...options, isValidator: mode === "validator", allowLoopback: mode === "validator" }),
      ...setup.config,
    },
    transport,
    resolver: net,
    clock,
    random: nonceRandom(setup.nonce),
    database,
    seed: setup.seed,
    x25519Secret: setup.x25519Secret,
    log: (event) => void events.push(event),
  });
  const inbox = engine.subscribe();
  await engine.start();
  const listenerTransport = new TappedTransport(net.transport(LISTENER));
  const listener = await connectListener(listenerTransport, clock, setup.passphrase, engine);

  for (const [i, peer] of peers.entries()) {
    const dialedMs = setup.startMs[i];
    clock.setTimer(dialedMs, () => {
      if (peer.tap.role === "weCalledRemote") engine.connect(peer.tap.remote);
      else transport.accept!(peer.socket);
    });
  }
  const frames = timeline(sessions, setup.startMs);
  await play(clock, sessions, peers, frames, LINGER_MS, setup.translate);
  const expected = implied(heard(engine, sessions, frames), sessions.length, {
    passphrase: setup.passphrase,
    fetches: mode === "validator",
    demandPeriodMs: engine.config.floodDemandPeriodMs,
    lingerMs: LINGER_MS,
  });
  const dispose = () => clock.run(engine.stop());
  const listenerTap = listenerTransport.taps[0];
  return { engine, peers, listener, listenerTap, events, inbox, expected, dispose };
}

/** Frames behind a HELLO that we refuse are not looked at any more. */
function heard(engine: OverlayManager, sessions: Session[], frames: Timed[]): Timed[] {
  const refused = sessions.map((session) => ownRefusal(session, engine.local) !== undefined);
  return frames.filter(({ session, frame }) => !refused[session] || frame.type === "hello");
}

/** Dials the engine, grants without end, answers pings. */
async function connectListener(
  transport: Transport,
  clock: VirtualClock,
  passphrase: string,
  engine: OverlayManager,
): Promise<RawRemote> {
  let listener: RawRemote | undefined;
  const { overlayMinVersion, overlayVersion } = engine.local;
  const node = testNode(clock, 9, { passphrase, overlayMinVersion, overlayVersion });
  transport.dial(engine.listening!, { timeoutMs: 1000 }, {
    onConnect: (socket) => {
      const remote = listener = new RawRemote(socket, node, "weCalledRemote", clock);
      remote.onMessage = (message) => {
        if (message.type === "hello") remote.auth();
        else if (message.type === "auth") remote.grant(1_000_000, 1_000_000_000);
        else if (message.type === "getScpQuorumset") {
          const dontHave = { type: MessageType.scpQuorumset, reqHash: message.qSetHash };
          remote.send({ type: "dontHave", dontHave });
        }
      };
      remote.hello();
    },
    onFail: (failure) => assert.fail(failure.code),
  });
  await clock.advance(0);
  return listener!;
}

// ---- What a recording implies about its end ----

interface Ending {
  by: "us" | "remote";
  reason: string;
  code: Failure["code"];
}

type Window = Pick<OverlayConfig, "overlayMinVersion" | "overlayVersion">;

/** The end that we make on HELLO, in the order of handshake.md section 4. */
function ownRefusal(session: Session, ours: Window): Ending | undefined {
  if (session.hello === undefined) return undefined;
  const { overlayMinVersion: min, overlayVersion: max } = recordedHello(session, "in");
  if (session.hello.peer === session.header.nodeId) {
    return { by: "us", reason: "connecting to self", code: "connecting_to_self" };
  }
  const meets = ours.overlayMinVersion <= ours.overlayVersion && min <= max && ours.overlayMinVersion <= max &&
    min <= ours.overlayVersion;
  return meets ? undefined : { by: "us", reason: "wrong protocol version", code: "version_mismatch" };
}

/** With a window that is none the third node is refused too. */
const canMeetAnybody = ({ overlayMinVersion, overlayVersion }: Window) => overlayMinVersion <= overlayVersion;

/** What the words of an ERROR_MSG mean. */
const MEANINGS: [RegExp, Failure["code"]][] = [
  [/^peer rejected$/, "peer_rejected"],
  [/^already-connected peer: /, "already_connected"],
  [/^dropped by user$/, "dropped_by_remote"],
];

function endingOf(session: Session, ours: Window): Ending | undefined {
  const refusal = ownRefusal(session, ours);
  if (refusal !== undefined || !endedByRemote(session)) return refusal;
  const last = framesOf(session, "in").at(-1);
  if (last === undefined) {
    return { by: "remote", reason: "error reading message header: End of file", code: "silent_close" };
  }
  const error = base.xdr.StellarMessage.fromXDR(Buffer.from(splitFrame(last.bytes).message)).error();
  const text = error.msg().toString(), name = error.code().name.replace(/[A-Z]/g, (c) => "_" + c).toUpperCase();
  const meaning = MEANINGS.find(([words]) => words.test(text));
  assert.ok(meaning !== undefined, text);
  return { by: "remote", reason: `${name} (${text.replace(/[^A-Za-z0-9 ]/g, "*")})`, code: meaning[1] };
}

/** Addresses that the book should have, and as what. */
function bookOf(sessions: Session[], peers: PlayedPeer[], engine: OverlayManager): Map<string, string> {
  const book = new Map<string, string>();
  if (canMeetAnybody(engine.local)) book.set(`${LISTENER}:${DEFAULT_PEER_PORT}`, "inbound");
  const { allowLoopback } = engine.config, ourPort = engine.local.listeningPort;
  sessions.forEach((session, i) => {
    const { role, remote } = peers[i].tap;
    // Whom we dialed is in the book for it, and becomes outbound by a HELLO that we take; it tells where a caller listens.
    const taken = session.hello !== undefined && ownRefusal(session, engine.local) === undefined;
    if (role === "weCalledRemote") book.set(`${HOST}:${remote.port}`, taken ? "outbound" : "inbound");
    else if (session.hello !== undefined) book.set(`${HOST}:${session.hello.listeningPort}`, "inbound");
    for (const frame of framesOf(session, "in", "peers")) {
      const message = base.xdr.StellarMessage.fromXDR(Buffer.from(splitFrame(frame.bytes).message));
      for (const peer of message.peers()) {
        const address = `${[...(peer.ip().value() as Buffer)].join(".")}:${peer.port()}`;
        if (address.startsWith("127.") && !allowLoopback) continue;
        // Addresses of documentation lead nowhere: we do not keep them, where upstream does.
        if (/^(192\.0\.2|198\.51\.100|203\.0\.113)\./.test(address)) continue;
        if (address === `${HOST}:${ourPort}` || book.has(address)) continue;
        book.set(address, "inbound");
      }
    }
  });
  return book;
}

// ---- Comparisons ----

const typesOf = (byType: Implied["byType"]) =>
  Object.entries(byType).map(([name, sum]) =>
    [messageEnumName(MessageType[name as MessageTypeName]), sum.count, sum.bytes] as const
  ).sort(([a], [b]) => a < b ? -1 : 1);

/** What an engine counts, against what the sessions and its third node sent it. */
async function check(sessions: Session[], played: Played): Promise<void> {
  const { engine, peers, listener, listenerTap, events, inbox, expected } = played;
  const { scp, adverts, transactions } = expected;
  const { messages, counters, labelledCounters, gauges } = engine.metrics.snapshot();
  const count = (...names: (keyof typeof counters)[]) => names.map((name) => counters[name].count);

  // Messages and bytes by type; what the third node sent comes on top.
  const read = Object.entries(messages).flatMap(([name, { read, bytesRead }]) => {
    const type = Object.values(MessageType).find((type) => messageEnumName(type) === name)!;
    const { count, bytes } = listenerTap.sums.written.get(type) ?? { count: 0, bytes: 0 };
    return read === count ? [] : [[name, read - count, bytesRead - bytes] as const];
  });
  assert.deepEqual(read.sort(([a], [b]) => a < b ? -1 : 1), typesOf(expected.byType));
  // By connection the same, and the bytes of the stream, 48 around each message.
  for (const [i, peer] of peers.entries()) {
    const snapshot = engine.peers().find(({ nodeId }) => nodeId === sessions[i].hello?.peer);
    if (snapshot === undefined) continue;
    const total = (sums: Map<number, Sum>) => [...sums.values()].reduce((sum, { count }) => sum + count, 0);
    assert.deepEqual(
      [snapshot.messagesRead, snapshot.bytesRead, snapshot.messagesWritten, snapshot.bytesWritten],
      [total(peer.tap.sums.read), peer.tap.bytes.read, total(peer.tap.sums.written), peer.tap.bytes.written],
    );
  }

  // Flooded and fetched, new and known.
  assert.deepEqual(
    count("uniqueFloodMessages", "uniqueFloodBytes", "duplicateFloodMessages", "duplicateFloodBytes"),
    [expected.flood.unique, expected.flood.duplicate].flatMap(({ count, bytes }) => [count, bytes]),
  );
  assert.deepEqual(
    count("uniqueFetchMessages", "uniqueFetchBytes", "duplicateFetchMessages", "duplicateFetchBytes"),
    [expected.fetch.unique, expected.fetch.duplicate].flatMap(({ count, bytes }) => [count, bytes]),
  );

  // SCP: what was good, what waits, what was thrown away, where the network is.
  assert.deepEqual(labelledCounters.scpStatements, scp.kinds);
  assert.deepEqual(labelledCounters.scpDiscards, scp.discards);
  assert.deepEqual([gauges.waitingEnvelopes, engine.dispatcher.counts.envelopes], [scp.waiting, scp.ready.length]);
  assert.deepEqual([engine.ledgerSeq, gauges.trackedLedger], [expected.tracked, expected.tracked ?? 0]);
  assert.deepEqual(gauges.cachedItems, { quorumSet: expected.items.quorumSets, txSet: expected.items.txSets });

  // Transactions: adverts, demands, the pool.
  assert.deepEqual(count("receivedAdvertHashes"), [adverts.hashes]);
  const { demandedHashes, timeouts, pulled } = engine.demands.counts;
  assert.deepEqual([demandedHashes - timeouts, pulled], [expected.demanded.size, expected.pulled]);
  assert.equal(gauges.transactions, expected.keptTransactions);

  // What is relayed: to the third node every good SCP message once, and an advert of every transaction once.
  const relayed = listener.received.flatMap((message) => message.type === "scpMessage" ? [message] : []);
  assert.deepEqual(relayed.map((message) => toHex(encodeMessage(message))), scp.ready);
  const advertised = listener.received.flatMap((message) => message.type === "floodAdvert" ? message.txHashes : []);
  assert.deepEqual(advertised.map(toHex).sort(), [...transactions.keys()].sort());
  assert.deepEqual([listener.problems, listener.undecoded], [[], 0]);
  peers.forEach((peer, i) => checkWritten(sessions[i], peer, scp.ready));

  // Subscribers: every message but the peer's own business, SCP messages once; all of it decodes.
  const shown = new Map<string, number>();
  const { waiting, missed } = inbox.counts;
  assert.equal(missed, 0);
  for (let left = waiting.scp + waiting.fetch + waiting.general; left > 0; left--) {
    const { value } = await inbox.next();
    value.message.decode();
    if (value.from === listener.node.nodeIdText) continue;
    shown.set(value.type, (shown.get(value.type) ?? 0) + 1);
  }
  const own = new Set(["hello", "auth", "peers", "sendMoreExtended", "errorMsg"]);
  const published = Object.entries(expected.byType).flatMap(([type, { count }]) =>
    own.has(type) ? [] : [[type, type === "scpMessage" ? scp.fresh : count] as const]
  );
  assert.deepEqual([...shown].sort(), published.sort());

  // Credit: what we granted is what a node grants that processes at once; it is all there again; nothing was overdrawn.
  for (const [i, peer] of peers.entries()) {
    const snapshot = engine.peers().find(({ nodeId }) => nodeId === sessions[i].hello?.peer);
    const authenticated = framesOf(sessions[i], "in", "auth").length > 0;
    const grants = grantsIn(peer);
    assert.deepEqual(grants, authenticated ? expected.grants[i] : []);
    const { read, written } = peer.tap.credit;
    assert.deepEqual([read.overdrawn, written.overdrawn], [0, 0]);
    if (snapshot === undefined) continue;
    const { flowControl: state } = snapshot;
    assert.deepEqual([state.localCapacity, state.localCapacityBytes.flood], [{ reading: 201, flood: 200 }, 300_000]);
    assert.deepEqual([Number(state.peerCapacity), Number(state.peerCapacityBytes)], [
      written.left.messages,
      written.left.bytes,
    ]);
  }

  // The address book, and the ends.
  const book = bookOf(sessions, peers, engine);
  for (const [address, type] of book) {
    const at = address.lastIndexOf(":");
    const { record, known } = engine.peerManager.load({
      host: address.slice(0, at),
      port: Number(address.slice(at + 1)),
    });
    assert.deepEqual([address, known, record.type], [address, true, type]);
  }
  assert.equal(engine.peerManager.count(), book.size);
  const endings = sessions.map((session) => endingOf(session, engine.local));
  const drops = events.flatMap((event) => event.event === "dropped" && event.address.startsWith(HOST) ? [event] : []);
  assert.deepEqual(
    drops.map(({ by, reason, failure }) => ({ by, reason, code: failure.code })),
    endings.filter((ending) => ending !== undefined),
  );
  const role = sessions[0].header.role === "initiator" ? "outboundDrops" : "inboundDrops";
  assert.deepEqual(labelledCounters[role], Object.fromEntries(drops.map((drop) => [dropLabel(drop), 1])));
  const alive = endings.filter((ending) => ending === undefined).length;
  assert.equal(engine.counts.inbound + engine.counts.outbound, alive + (canMeetAnybody(engine.local) ? 1 : 0));
}

/**
 * The engine sends good SCP messages only, and none twice or back to where it came from, unless the peer asked for the state
 * from its slot on.
 */
function checkWritten(session: Session, peer: PlayedPeer, ready: string[]): void {
  const good = new Set(ready);
  const parsed = (message: Uint8Array) => base.xdr.StellarMessage.fromXDR(Buffer.from(message));
  const asked = framesOf(session, "in", "getScpState").map(({ bytes }) =>
    Number(parsed(splitFrame(bytes).message).getScpLedgerSeq())
  );
  const isScp = (message: Uint8Array) => message[3] === MessageType.scpMessage;
  for (const message of peer.written.filter(isScp)) assert.ok(good.has(toHex(message)));
  for (const message of peer.repeated.filter(isScp)) {
    const slot = Number(parsed(message).envelope().statement().slotIndex().toString());
    assert.ok(asked.some((from) => slot >= from), `slot ${slot}`);
  }
}

function grantsIn(peer: PlayedPeer): { messages: number; bytes: number }[] {
  return peer.written.flatMap((message) => {
    const decoded = base.xdr.StellarMessage.fromXDR(Buffer.from(message));
    if (decoded.switch().name !== "sendMoreExtended") return [];
    const grant = decoded.sendMoreExtendedMessage();
    return [{ messages: grant.numMessages(), bytes: grant.numBytes() }];
  });
}

// ---- One session each, as its recorder ----

function asRecorder(session: Session): Setup {
  const { header } = session;
  const { ledgerVersion, overlayVersion, overlayMinVersion, versionStr, listeningPort } = recordedHello(session, "out");
  return {
    passphrase: header.network,
    epochMs: header.unixTime * 1000,
    startMs: [0],
    seed: header.ed25519Seed,
    x25519Secret: header.x25519Secret,
    nonce: header.nonce,
    config: { ledgerVersion, overlayVersion, overlayMinVersion, versionStr, listeningPort },
  };
}

/** The engine's first frames are the recorder's, byte for byte, as far as both say the same. */
function checkFrames(session: Session, peer: PlayedPeer, engine: OverlayManager): void {
  const { header } = session;
  // An engine's certificates live for an hour; two recorders made others.
  if (header.certExpiration - header.unixTime !== 3600) return;
  const refused = ownRefusal(session, engine.local) !== undefined;
  const types = refused ? ["hello"] : ["hello", "auth", "sendMoreExtended", "getScpState"];
  // A caller gets PEERS, and our book is not the recorder's: what follows has other sequence numbers or another content.
  if (header.role === "acceptor") types.splice(2);
  const recorded = types.flatMap((type) => framesOf(session, "out", type).slice(0, 1));
  assert.deepEqual(peer.frames.slice(0, recorded.length).map(toHex), recorded.map((frame) => toHex(frame.bytes)));
}

for (const name of sessionNames()) {
  for (const mode of ["watcher", "validator"] as const) {
    test(`an engine that hears ${name} as a ${mode} counts what the recording implies`, LIMIT, async () => {
      const session = loadSession(name);
      const played = await playTo(mode, [session], asRecorder(session));
      await check([session], played);
      const [peer] = played.peers;
      checkFrames(session, peer, played.engine);
      // The recorder kept the same rule of grants, but counted survey messages as flooded ones.
      const theirs = framesOf(session, "out", "sendMoreExtended").map((frame) => {
        const message = decodeMessage(splitFrame(frame.bytes).message);
        assert.ok(message.type === "sendMoreExtended");
        const { numMessages, numBytes } = message.sendMoreExtended;
        return { messages: numMessages, bytes: numBytes };
      });
      const surveyed = framesOf(session, "in", "timeSlicedSurveyResponse").length > 0;
      if (!surveyed) assert.deepEqual(grantsIn(peer), theirs);
      await played.dispose();
    });
  }
}

// ---- The five of watch/ at once, to a node of its own ----

const WATCH = [1, 2, 3, 4, 5].map((n) => `watch/peer-${n}`);
const NONCE = new Uint8Array(32).fill(0x31);
const SECRET = new Uint8Array(32).fill(0x32);

for (const mode of ["watcher", "validator"] as const) {
  test(
    `five peers at once, as a ${mode}: 346 SCP messages and 318 transactions, each relayed once`,
    LIMIT,
    async () => {
      const sessions = WATCH.map(loadSession);
      const epochMs = Math.floor(Math.min(...sessions.map(({ header }) => header.startedAtMs!)));
      const played = await playTo(mode, sessions, {
        passphrase: sessions[0].header.network,
        epochMs,
        startMs: sessions.map(({ header }) => header.startedAtMs! - epochMs),
        seed: new Uint8Array(32).fill(0x33),
        x25519Secret: SECRET,
        nonce: NONCE,
        config: {},
        translate: forOurKeys(sessions, SECRET, NONCE),
      });
      const { engine, expected } = played;
      await check(sessions, played);
      // Counted independently by the one who recorded them.
      assert.deepEqual([expected.scp.distinct, expected.scp.fresh, expected.transactions.size], [346, 346, 318]);
      assert.equal(engine.counts.outbound, 5);
      if (mode === "watcher") {
        assert.equal(expected.tracked, 23);
        assert.deepEqual([expected.scp.ready.length, expected.scp.discards], [346, {}]);
      } else {
        // Nobody asked for sets when this was recorded: nothing is complete.
        assert.deepEqual([expected.tracked, expected.scp.ready.length, expected.scp.waiting], [undefined, 0, 346]);
      }
      await played.dispose();
    },
  );
}
