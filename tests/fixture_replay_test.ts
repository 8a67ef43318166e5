/** Our side of every recorded session, with the recorder's secrets: same frames out, every frame in accepted. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { sessionKeys, sharedKey } from "../overlay/auth/session_keys.ts";
import { concatBytes, readUint32, toHex } from "../overlay/base/bytes.ts";
import { VirtualClock } from "../overlay/base/clock.ts";
import { Connection } from "../overlay/connection/connection.ts";
import { DEFAULT_FLOW_CONTROL } from "../overlay/connection/flow_control.ts";
import { primitives } from "../overlay/crypto/primitives.ts";
import { type Drop, Peer } from "../overlay/peer/peer.ts";
import { decodeMessage, encodeMessage, type ReceivedMessage } from "../overlay/wire/messages.ts";
import type { WireAddress } from "../overlay/wire/types.ts";
import { allSessions, loadSession, type Session, splitFrame } from "./kit/fixtures.ts";
import { endedByRemote, framesOf, recordedHello, recordedRandom, recorderNode } from "./kit/replay_server.ts";
import { FakeSocket } from "./kit/transport_suite.ts";

/** The drops the README tells of; every other session lived until the recorder left. */
const ENDS: Record<string, { by: Drop["by"]; reason: string; failure: object }> = {
  "full": {
    by: "remote",
    reason: "ERR_LOAD (peer rejected)",
    failure: { code: "peer_rejected", text: "peer rejected" },
  },
  // Both sides see it; ours is first, since it does not wait for a message.
  "self": { by: "us", reason: "connecting to self", failure: { code: "connecting_to_self", text: "" } },
  "duplicate": {
    by: "remote",
    reason: "ERR_CONF (already*connected peer* GCKWV)",
    failure: { code: "already_connected", text: "already-connected peer: GCKWV" },
  },
  "too-old": wrongVersion(35, 37),
  "too-new": wrongVersion(55, 60),
  "absurd-window": wrongVersion(35, 30),
  "wrong-network": silent("Public Global Stellar Network ; September 2015"),
  "banned": silent("Standalone Network ; February 2017"),
  "cert-expired": silent("Standalone Network ; February 2017"),
  "dropped-and-banned": {
    by: "remote",
    reason: "ERR_MISC (dropped by user)",
    failure: { code: "dropped_by_remote", errorCode: "ERR_MISC", text: "dropped by user", stage: "live" },
  },
};

function wrongVersion(oursMin: number, oursMax: number) {
  const text = "wrong protocol version";
  const failure = { code: "wrong_version", remoteMin: 38, remoteMax: 40, oursMin, oursMax, text };
  return { by: "remote" as const, reason: `ERR_CONF (${text})`, failure };
}

function silent(network: string) {
  const reason = "error reading message header: End of file";
  return { by: "remote" as const, reason, failure: { code: "silent_close", afterMs: 0, network } };
}

/** What our side does in one session. */
interface Replay {
  peer: Peer;
  /** Frames we sent. */
  sent: Uint8Array[];
  messages: { bytes: string; message: ReceivedMessage }[];
  peers: WireAddress[] | undefined;
  drop: Drop | undefined;
  helloSeen: boolean;
}

/** Takes the grant, GET_SCP_STATE and PEERS the recorder sent as our settings, so that these frames can be compared too. */
async function replay(session: Session): Promise<Replay> {
  const { header } = session;
  const clock = new VirtualClock({ epochMs: header.unixTime * 1000 });
  const socket = new FakeSocket();
  const sentOf = (type: string) =>
    framesOf(session, "out", type).map((frame) => decodeMessage(splitFrame(frame.bytes).message));
  const [grant] = sentOf("sendMoreExtended"), [state] = sentOf("getScpState"), [peers] = sentOf("peers");
  const first = grant?.type === "sendMoreExtended" ? grant.sendMoreExtended : undefined;
  const result: Partial<Replay> = { messages: [], helloSeen: false };
  const peer = new Peer({
    role: header.role === "initiator" ? "weCalledRemote" : "remoteCalledUs",
    socket,
    local: recorderNode(session, clock),
    clock,
    random: recordedRandom(session),
    settings: {
      ping: false,
      acceptAnyVersion: true,
      scpStateFrom: state?.type === "getScpState" ? state.ledgerSeq : undefined,
      flowControl: {
        ...DEFAULT_FLOW_CONTROL,
        floodMessages: first?.numMessages ?? 200,
        floodBytes: first?.numBytes ?? 300_000,
      },
    },
    handlers: {
      onHello: () => void (result.helloSeen = true),
      onPeers: (_, heard) => void (result.peers = heard),
      peersToSend: () => peers?.type === "peers" ? peers.peers : [],
      onMessage: (_, message) => void result.messages!.push({ bytes: toHex(message.bytes), message }),
      onDropped: (_, drop) => void (result.drop = drop),
    },
  });
  const startMs = framesOf(session, "in")[0]?.ms ?? 0;
  for (const frame of framesOf(session, "in")) {
    await clock.advance(Math.max(0, frame.ms - startMs - clock.nowMs()));
    socket.feed(frame.bytes.slice());
    // Our answer leaves before the next frame is played.
    await clock.advance(0);
  }
  if (endedByRemote(session)) socket.end();
  const all = concatBytes(...socket.writes);
  const sent: Uint8Array[] = [];
  for (let at = 0; at < all.length;) {
    const end = at + 4 + (readUint32(all, at) & 0x7fffffff);
    sent.push(all.slice(at, end));
    at = end;
  }
  const alive = result.drop === undefined;
  peer.destroy();
  await clock.advance(60_000);
  assert.equal(clock.pending, 0, "timers of a dropped peer are dead");
  if (alive) result.drop = undefined;
  return { ...result, peer, sent } as Replay;
}

for (const session of allSessions()) {
  test(`our side of ${session.name} is the recorder's, and takes every frame`, async () => {
    const done = await replay(session);
    const expected = ENDS[session.name];
    const { drop } = done;
    assert.deepEqual(drop && { by: drop.by, reason: drop.reason, failure: drop.failure }, expected);

    // Byte for byte: HELLO, AUTH, and where both were sent PEERS, the first grant and GET_SCP_STATE.
    const types = ["hello", "auth", "peers", "sendMoreExtended", "getScpState"];
    const recorded = framesOf(session, "out").filter((frame, i, all) =>
      types.includes(frame.type) && all.findIndex((other) => other.type === frame.type) === i
    );
    const hello = recorded.find((frame) => frame.type === "hello")!;
    const auth = recorded.find((frame) => frame.type === "auth");
    assert.equal(toHex(done.sent[0]), toHex(hello.bytes));
    if (auth !== undefined && session.name !== "self") {
      assert.deepEqual(
        done.sent.slice(0, recorded.length).map(toHex),
        recorded.map((frame) => toHex(frame.bytes)),
        recorded.map((frame) => frame.type).join(),
      );
    }

    // Every message that is not the peer's own business came through, whole.
    const own = new Set(["hello", "auth", "peers", "sendMoreExtended", "errorMsg"]);
    const others = framesOf(session, "in").filter((frame) => !own.has(frame.type));
    assert.equal(done.messages.length, others.length);
    others.forEach((frame, i) => {
      const bytes = toHex(splitFrame(frame.bytes).message);
      assert.equal(done.messages[i].bytes, bytes);
      assert.equal(toHex(encodeMessage(decodeMessage(splitFrame(frame.bytes).message))), bytes);
      assert.ok(frame.macOk);
    });
    const peers = framesOf(session, "in", "peers");
    assert.equal(
      done.peers === undefined ? undefined : toHex(encodeMessage({ type: "peers", peers: done.peers })),
      peers.length === 0 ? undefined : toHex(splitFrame(peers[0].bytes).message),
    );

    assert.equal(done.helloSeen, session.hello !== undefined);
    assert.equal(done.peer.nodeIdText, session.hello?.peer);
    assert.equal(done.peer.hello?.versionStr, session.hello?.version);
  });

  const { header, hello: note } = session;
  if (note === undefined) continue;
  test(`the keys of ${session.name} are those of the recorder's notes`, () => {
    const role = header.role === "initiator" ? "weCalledRemote" : "remoteCalledUs";
    const key = primitives.agreementKey(header.x25519Secret);
    const remote = recordedHello(session, "in");
    assert.equal(toHex(key.agree(remote.cert.pubkey)!), toHex(note.ecdh));
    const shared = sharedKey(key, remote.cert.pubkey, role)!;
    assert.equal(toHex(shared), toHex(note.sharedKey));
    const { sendKey, receiveKey } = sessionKeys(shared, header.nonce, remote.nonce, role);
    assert.deepEqual([toHex(sendKey), toHex(receiveKey)], [toHex(note.sendKey), toHex(note.recvKey)]);
  });
}

test("the AUTH of self, which we would not send, comes out of the keys all the same", () => {
  const session = loadSession("self");
  const clock = new VirtualClock({ epochMs: session.header.unixTime * 1000 });
  const remote = recordedHello(session, "in");
  const keys = recorderNode(session, clock).auth.sessionKeys(
    "weCalledRemote",
    session.header.nonce,
    remote.cert.pubkey,
    remote.nonce,
  )!;
  const socket = new FakeSocket();
  const connection = new Connection(socket, clock, { onMessage() {}, onProblem() {}, onEnd() {} });
  connection.setKeys({ send: primitives.macKey(keys.sendKey), receive: primitives.macKey(keys.receiveKey) });
  connection.send(encodeMessage({ type: "auth", auth: { flags: 200 } }));
  connection.flush();
  assert.equal(toHex(socket.writes[0]), toHex(framesOf(session, "out", "auth")[0].bytes));
});

test("a frame of a recording that is played twice, left out or bent ends the session", async () => {
  const session = loadSession("caller-flood");
  const at = session.frames.findIndex((frame) => frame.dir === "in" && frame.type === "scpMessage");
  const bent = { ...session.frames[at], bytes: session.frames[at].bytes.slice() };
  bent.bytes[30] ^= 1; // in the node id: decodes all the same
  const variants: [Session["frames"], string][] = [
    [session.frames.toSpliced(at, 0, session.frames[at]), "unexpected auth sequence"],
    [session.frames.toSpliced(at, 1), "unexpected auth sequence"],
    [session.frames.toSpliced(at, 1, bent), "unexpected MAC"],
  ];
  for (const [frames, reason] of variants) {
    const { drop, sent } = await replay({ ...session, frames });
    assert.deepEqual([drop?.by, drop?.reason, drop?.error], ["us", reason, "ERR_AUTH"]);
    const last = decodeMessage(splitFrame(sent.at(-1)!).message);
    assert.deepEqual(last, { type: "errorMsg", error: { code: 3, msg: reason } });
  }
});
