/** What was captured comes again: to the engine in recorded time, to a caller as the recorded remote, and through the proxy. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readUint32 } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { LOCAL, PUBNET } from "../../overlay/base/networks.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { initPrimitives, native } from "../../overlay/crypto/primitives.ts";
import { LocalNode } from "../../overlay/peer/local_node.ts";
import { Peer } from "../../overlay/peer/peer.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import type { Transport } from "../../overlay/transport/transport.ts";
import { encodeMessage, isFloodType, MessageType } from "../../overlay/wire/messages.ts";
import { fixtureText, loadSession, sessionNames } from "../../tests/kit/fixtures.ts";
import { type Visit, visit, type VisitWants } from "../probe/visit.ts";
import type { CaptureRecord } from "./format.ts";
import { MacChecker } from "./macs.ts";
import { drive, Player, playingPrimitives } from "./player.ts";
import { Proxy } from "./proxy.ts";
import { partOf, PartServer, type Performance } from "./server.ts";
import { recordsOfSession } from "./session_file.ts";
import { CaptureRecorder, captureTransport } from "./tap.ts";
import { CaptureView } from "./view.ts";

const LARGE_SET = {
  threshold: 1,
  validators: Array.from({ length: 300 }, (_, i) => new Uint8Array(32).fill(i)),
  innerSets: [],
};
const TO = { host: "10.0.0.2", port: 11625 };
const PROXY = { host: "10.0.0.3", port: 21000 };

before(async () => void await initPrimitives(playingPrimitives(native)));
after(async () => void await initPrimitives());

function world(delayMs = 10) {
  const clock = new VirtualClock({ epochMs: Date.UTC(2026, 10, 25) }), random = new SeededRandom(7);
  const network = new MemoryNetwork({ clock, delayMs: () => delayMs });
  const node = (seed: number, passphrase = LOCAL.passphrase) =>
    new LocalNode({ passphrase, clock, random, seed: new Uint8Array(32).fill(seed), listeningPort: 11600 + seed });
  return { clock, random, network, node };
}

/** A node that answers pings and says an ERR_MISC after 400 ms. */
async function listen({ clock, random, network, node }: ReturnType<typeof world>, passphrase?: string): Promise<void> {
  await network.transport(TO.host).listen(TO, (socket) => {
    const peer: Peer = new Peer({
      role: "remoteCalledUs",
      socket,
      local: node(2, passphrase),
      clock,
      random,
      handlers: {
        peersToSend: () => [{ ip: Uint8Array.of(192, 0, 2, 9), port: 11625, numFailures: 0 }],
        onMessage: (from, message) => {
          if (message.type !== MessageType.getScpQuorumset) return;
          const reqHash = message.bytes.slice(4, 36);
          from.send(encodeMessage({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash } }));
        },
        // More than anybody reads before AUTH.
        onAuthenticated: (from) => void from.send({ type: "scpQuorumset", qSet: LARGE_SET }),
        onDropped: () => {},
      },
    });
    clock.setTimer(400, () => peer.sendErrorAndDrop("ERR_MISC", "dropped by user"));
  });
}

/** Everything of a visit that a second meeting can repeat. */
function facts({ hello, ...rest }: Visit) {
  const { nonce: _n, cert, ...said } = hello ?? { nonce: undefined, cert: undefined };
  return { ...rest, said, expiration: cert?.expiration };
}

for (
  const [name, wants, passphrase] of [
    ["a whole visit with pings", { pings: 3 }, undefined],
    ["one that the remote ends", { stay: true }, undefined],
    ["one of another network", {}, PUBNET.passphrase],
  ] as [string, Partial<VisitWants>, string | undefined][]
) {
  test(`Player gives the engine the same visit again, to the microsecond: ${name}`, async () => {
    const place = world();
    await listen(place, passphrase);
    const records: CaptureRecord[] = [];
    const recorder = new CaptureRecorder({
      clock: place.clock,
      sink: (record) => records.push(record),
      tool: "t",
      command: "connect",
      network: LOCAL.passphrase,
    });
    const live = await place.clock.run(visit({
      to: TO,
      local: place.node(1),
      transport: captureTransport(place.network.transport("10.0.0.1"), recorder),
      clock: recorder,
      random: place.random,
      wants,
    }));
    const player = new Player(records[Symbol.iterator](), new SeededRandom(3), "test");
    const random = new SeededRandom(99);
    const again = visit({
      to: TO,
      local: new LocalNode({
        passphrase: LOCAL.passphrase,
        clock: player.clock,
        random,
        seed: new Uint8Array(32).fill(5),
      }),
      transport: player,
      clock: player.clock,
      random,
      wants,
    });
    const real = {
      nowMs: () => 0,
      wallMs: () => 0,
      setTimer: (_: number, fire: () => void) => (setImmediate(fire), { cancel() {} }),
    };
    const played = await drive(player, again, { speed: Infinity, real, onPlayed: () => {} });
    const sizes = { bytesWritten: 0, bytesRead: 0 };
    assert.deepEqual({ ...facts(played), ...sizes }, { ...facts(live), ...sizes });
    assert.equal(played.bytesRead, live.bytesRead);
  });
}

/** Visits the recorded remote of a session in memory. */
async function meet(
  name: string,
  wants: Partial<VisitWants>,
  speed = 1,
): Promise<{ result: Visit; performance: Performance }> {
  const { clock, random, network, node } = world();
  const part = partOf(recordsOfSession(fixtureText(`${name}.ndjson`), name));
  const server = new PartServer({
    part,
    local: node(2),
    transport: network.transport(TO.host),
    listen: TO,
    clock,
    speed,
  });
  await server.start();
  const to = TO, local = node(1);
  // What the caller granted and the remote has not used, as the caller's own wire shows it.
  let credit = 0;
  const sink = (record: CaptureRecord) => {
    if (record.type !== "frame") return;
    const { bytes, direction } = record.frame, type = readUint32(bytes, 16);
    if (direction === "sent" && type === MessageType.sendMoreExtended) credit += readUint32(bytes, 20);
    if (direction === "received" && isFloodType(type)) assert.ok(--credit >= 0, "a flood message without credit");
  };
  const recorder = new CaptureRecorder({ clock, sink, tool: "", command: "", network: "" });
  const transport = captureTransport(network.transport("10.0.0.1"), recorder);
  const result = await clock.run(
    visit({ to, local, transport, clock, random, wants }),
    { limitMs: 120_000 },
  );
  return { result, performance: await clock.run(server.finished, { limitMs: 120_000 }) };
}

const VERDICTS: Record<string, [state: string, code: string | undefined]> = {
  full: ["full", undefined],
  self: ["refused", "connecting_to_self"],
  duplicate: ["refused", "already_connected"],
  "too-old": ["refused", "wrong_version"],
  "too-new": ["refused", "wrong_version"],
  "absurd-window": ["refused", "wrong_version"],
  "wrong-network": ["silent", "silent_close"],
  banned: ["silent", "silent_close"],
  "cert-expired": ["silent", "silent_close"],
  "very-high-max": ["reachable", undefined],
  "cert-far-future": ["reachable", undefined],
  "caller-flood": ["reachable", undefined],
};

for (const [name, verdict] of Object.entries(VERDICTS)) {
  test(`PartServer is the recorded remote of ${name}: ${verdict.join(" ")}`, async () => {
    const { result, performance } = await meet(name, {});
    assert.deepEqual([result.state, result.failure?.code], verdict);
    const { hello } = loadSession(name);
    if (hello !== undefined) {
      assert.equal(result.hello?.versionStr, hello.version);
      assert.equal(result.hello?.listeningPort, hello.listeningPort);
    }
    assert.ok(performance.said <= performance.of);
  });
}

test("PartServer says all that was recorded, within the caller's credit, and leaves where the remote left", async () => {
  const flood = await meet("caller-flood", { listenMs: 14_000 });
  assert.equal(flood.performance.said, flood.performance.of);
  assert.equal(flood.performance.of, loadSession("caller-flood").frames.filter((frame) => frame.dir === "in").length);
  assert.equal(flood.result.scpMessages, 269);
  // All at once: more than one grant's worth, which an engine would end the connection for.
  const atOnce = await meet("caller-flood", { listenMs: 3000 }, Infinity);
  assert.equal(atOnce.result.failure, undefined);
  assert.deepEqual([atOnce.performance.said, atOnce.result.scpMessages], [flood.performance.of, 269]);
  const dropped = await meet("dropped-and-banned", { stay: true });
  assert.deepEqual([dropped.result.state, dropped.result.remoteText], ["dropped", "dropped by user"]);
});

/** A visit through the proxy, everything captured. */
async function throughProxy(passphrase?: string, change?: (transport: Transport) => Transport) {
  const place = world(5);
  await listen(place, passphrase);
  const { clock, random, network, node } = place;
  const records: CaptureRecord[] = [], problems: string[] = [];
  const recorder = new CaptureRecorder({
    clock,
    sink: (record) => records.push(record),
    tool: "t",
    command: "proxy",
    network: LOCAL.passphrase,
  });
  const secret = new Uint8Array(32).fill(4);
  const local = new LocalNode({
    passphrase: LOCAL.passphrase,
    clock: recorder,
    random,
    seed: new Uint8Array(32).fill(3),
    x25519Secret: secret,
  });
  recorder.secrets(local.nodeId, secret);
  let open = -1;
  const proxy = new Proxy({
    listen: PROXY,
    to: TO,
    local,
    transport: captureTransport((change ?? ((same) => same))(network.transport(PROXY.host)), recorder),
    clock: recorder,
    onProblem: (text) => problems.push(text),
    onClosed: (left) => (open = left),
  });
  await proxy.start();
  const result = await clock.run(
    visit({
      to: PROXY,
      local: node(1),
      transport: network.transport("10.0.0.1"),
      clock,
      random,
      wants: { pings: 2, stay: true },
    }),
  );
  const stopping = proxy.stop();
  await clock.run(stopping, { limitMs: 20_000 });
  return { result, records, problems, open, local, clock };
}

test("Proxy: the caller meets the node's versions and words in the proxy's identity; every MAC on both sides is right", async () => {
  const { result, records, problems, open, local } = await throughProxy();
  assert.equal(result.nodeId, local.nodeIdText);
  assert.equal(result.hello?.listeningPort, 11602);
  assert.deepEqual([result.state, result.remoteText, result.peers?.length], ["dropped", "dropped by user", 1]);
  assert.equal(result.rttMs.length, 2);
  assert.deepEqual([problems, open], [[], 0]);
  const macs = new MacChecker();
  const verdicts = records.map((record) => macs.add(record)).filter((verdict) => verdict !== null);
  assert.ok(verdicts.length > 10 && verdicts.every((verdict) => verdict === "ok"));
  // What came in on one side left on the other, in the same order.
  const view = new CaptureView();
  const events = records.map((record) => view.add(record)).filter((event) => event?.type === "message");
  const side = (connection: number, direction: string) =>
    events.filter((event) => event!.connection === connection && event!.direction === direction)
      .map((event) => event!.message);
  assert.deepEqual(side(1, "received"), side(2, "sent"));
  assert.deepEqual(side(2, "received"), side(1, "sent"));
  assert.ok(side(2, "received").includes("SCP_QUORUMSET") && side(2, "received").includes("SEND_MORE_EXTENDED"));
  assert.ok(side(2, "received").includes("ERROR_MSG"));
});

test("Proxy: a node on another network, a dead node and a damaged frame end the pair with a reason", async () => {
  const other = await throughProxy(PUBNET.passphrase);
  assert.equal(other.result.state, "silent");
  // The node does not know our network and says nothing: what its caller would have seen.
  assert.deepEqual([other.problems, other.open], [[], 0]);
  const dead = await throughProxy(undefined, (inner) => ({
    listen: inner.listen.bind(inner),
    dial: (_, options, handlers) => inner.dial({ host: "10.9.9.9", port: 1 }, options, handlers),
  }));
  assert.match(dead.problems.join(), /^the node is not reached: /);
  const damaged = await throughProxy(undefined, (inner) => ({
    listen: inner.listen.bind(inner),
    dial: (to, options, handlers) =>
      inner.dial(to, options, {
        ...handlers,
        onConnect: (socket) => {
          const attach = socket.attach.bind(socket);
          let chunks = 0;
          socket.attach = (receiver) =>
            attach({
              ...receiver,
              onData: (chunk) => {
                const copy = chunk.slice();
                if (++chunks === 2) copy[copy.length - 1] ^= 1;
                receiver.onData(copy);
              },
              onEnd: (end) => receiver.onEnd(end),
            });
          handlers.onConnect(socket);
        },
      }),
  }));
  assert.match(damaged.problems.join(), /^the node's MAC is wrong/);
  assert.equal(damaged.open, 0);
});

test("recorded sessions become records: every frame, with right MACs", () => {
  for (const name of sessionNames()) {
    const session = loadSession(name);
    const records = recordsOfSession(fixtureText(`${name}.ndjson`), name);
    const macs = new MacChecker(), view = new CaptureView();
    let ok = 0, frames = 0;
    for (const record of records) {
      const verdict = macs.add(record);
      assert.notEqual(verdict, "mac");
      assert.notEqual(verdict, "sequence");
      if (verdict === "ok") ok++;
      const event = view.add(record);
      if (event?.type === "message") {
        frames++;
        assert.equal(event.problem, undefined);
      }
    }
    assert.equal(frames, session.frames.length);
    assert.ok(ok >= session.frames.filter((frame) => frame.macOk === true).length);
  }
});

test("a recorded session that is none is refused with the byte of its line", () => {
  const [header, frame] = fixtureText("full.ndjson").split("\n");
  const refused = (text: string, pattern: RegExp) => assert.throws(() => recordsOfSession(text, "x"), pattern);
  refused("", /no header line/);
  refused(`${frame}\n`, /the first line is no header/);
  refused(`${header}\nnot json\n{}\n`, new RegExp(`at byte ${header.length + 1}: `));
  refused(`${header}\n{"kind":"frame","dir":"up","ms":1,"hex":""}\n`, /no frame/);
  refused(`${header}\n{"kind":"frame","dir":"in","ms":1,"hex":"xyz"}\n`, /hex of a frame is no hex/);
  assert.equal(recordsOfSession(`${header}\n${frame}\n${frame.slice(0, 50)}`, "x").length, 4);
});
