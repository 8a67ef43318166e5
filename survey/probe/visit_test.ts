import { test } from "node:test";
import assert from "node:assert/strict";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import type { Failure } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { RawRemote, testNode } from "../../overlay/peer/peer_test_remote.ts";
import { MemoryNetwork, resetStream } from "../../overlay/transport/memory.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import { MessageType, type StellarMessage } from "../../overlay/wire/messages.ts";
import { stateOfFailure, type Visit, visit, type VisitPlan, type VisitStage } from "./visit.ts";

const DELAY_MS = 10;
const TO: Endpoint = { host: "10.0.0.2", port: 11625 };
const PEERS: StellarMessage = { type: "peers", peers: [{ ip: Uint8Array.of(1, 2, 3, 4), port: 5, numFailures: 0 }] };
const scp = concatBytes(Uint8Array.of(0, 0, 0, MessageType.scpMessage), new Uint8Array(96));

/** A network with one remote, which does `serve` with each caller; it is told when a message came. */
function world(serve: (remote: RawRemote, message: StellarMessage | undefined) => void, nodeOptions = {}) {
  const clock = new VirtualClock();
  const net = new MemoryNetwork({ clock, delayMs: () => DELAY_MS });
  const remotes: RawRemote[] = [];
  const node = testNode(clock, 2, nodeOptions);
  void net.transport(TO.host).listen(TO, (socket) => {
    const remote = new RawRemote(socket, node, "remoteCalledUs", clock);
    remotes.push(remote);
    remote.onMessage = (message) => serve(remote, message);
    serve(remote, undefined);
  });
  return {
    clock,
    remotes,
    visit: (plan: Partial<VisitPlan> = {}): Promise<Visit> =>
      visit({
        to: TO,
        local: testNode(clock, 1),
        transport: net.transport("10.0.0.1"),
        clock,
        random: new SeededRandom(5),
        ...plan,
      }),
    async run(plan: Partial<VisitPlan> = {}): Promise<Visit> {
      const result = await clock.run(this.visit(plan));
      const at = clock.nowMs();
      await clock.advance(20_000);
      assert.equal(clock.pending, 0, "timers of a finished visit");
      assert.ok(at < 60_000);
      return result;
    },
  };
}

/** A remote that shakes hands as stellar-core does, then does `then`. */
function core(then: (remote: RawRemote) => void, more?: (remote: RawRemote, message: StellarMessage) => void) {
  return (remote: RawRemote, message: StellarMessage | undefined) => {
    if (message?.type === "hello") remote.hello();
    else if (message?.type === "auth") {
      remote.auth();
      then(remote);
    } else if (message !== undefined) more?.(remote, message);
  };
}

test("visit leaves with HELLO, grant and PEERS as soon as it has them", async () => {
  const all = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
  }));
  const seen: [VisitStage, number][] = [];
  const result = await all.run({ observer: { onStage: (stage, ms) => void seen.push([stage, ms]) } });
  assert.deepEqual([result.state, result.failure], ["reachable", undefined]);
  assert.deepEqual(result.peers, PEERS.type === "peers" ? PEERS.peers : []);
  assert.equal(result.nodeId, all.remotes[0].node.nodeIdText);
  assert.equal(result.hello?.listeningPort, 11625);
  assert.deepEqual(seen, [["tcp", 20], ["hello", 40], ["auth", 60], ["peers", 60], ["grant", 60]]);
  assert.equal(result.durationMs, 60);
  assert.deepEqual(result.stagesMs, { tcp: 20, hello: 20, auth: 20, peers: 0, grant: 0 });
  assert.equal(all.remotes[0].ends[0].how, "eof");
  assert.deepEqual(all.remotes[0].types, ["hello", "auth", "sendMoreExtended"]);
});

test("visit waits a moment for PEERS that come after the first grant", async () => {
  const late = world(core((remote) => {
    remote.grant();
    late.clock.setTimer(300, () => remote.send(PEERS));
  }));
  const result = await late.run();
  assert.deepEqual([result.state, result.peers?.length, result.durationMs], ["reachable", 1, 360]);
  const never = world(core((remote) => remote.grant()));
  const without = await never.run();
  assert.deepEqual([without.state, without.peers, without.durationMs], ["reachable", undefined, 560]);
  const empty = world(core((remote) => {
    remote.send({ type: "peers", peers: [] });
    remote.grant();
  }));
  assert.deepEqual((await empty.run()).peers, []);
});

test("visit of a full node: PEERS or not, its identity is kept", async () => {
  for (const gives of [true, false]) {
    const all = world(core((remote) => {
      if (gives) remote.send(PEERS);
      remote.error(4, "peer rejected");
      remote.connection.shutdown();
    }));
    const result = await all.run();
    assert.deepEqual([result.state, result.failure, result.remoteText], ["full", undefined, "peer rejected"]);
    assert.equal(result.peers?.length, gives ? 1 : undefined);
    assert.equal(result.nodeId, all.remotes[0].node.nodeIdText);
  }
});

test("visit whose remote stops tells at which stage, and ends by its own deadline", async () => {
  const table: [string, (remote: RawRemote, message: StellarMessage | undefined) => void, Failure][] = [
    ["silent", () => {}, { code: "no_answer", afterMs: 5000 }],
    [
      "half a frame",
      (remote, message) => message?.type === "hello" && remote.raw(Uint8Array.of(0x80, 0, 1, 0, 0)),
      { code: "handshake_timeout", stage: "hello", afterMs: 5000 },
    ],
    [
      "after HELLO",
      (remote, message) => message?.type === "hello" && remote.hello(),
      { code: "handshake_timeout", stage: "auth", afterMs: 5000 },
    ],
    ["after AUTH", core(() => {}), { code: "handshake_timeout", stage: "grant", afterMs: 5000 }],
  ];
  for (const [what, serve, failure] of table) {
    const result = await world(serve).run();
    assert.deepEqual([result.state, result.failure], ["silent", failure], what);
    assert.ok(result.durationMs <= 5100, what);
  }
});

test("visit whose remote ends it tells how far it came", async () => {
  const end = (remote: RawRemote) => remote.connection.shutdown();
  const table: [string, (remote: RawRemote, message: StellarMessage | undefined) => void, string, string][] = [
    ["close after reading HELLO", (r, m) => m?.type === "hello" && end(r), "silent", "silent_close"],
    ["close at once", (r, m) => m === undefined && r.socket.destroy(), "silent", "closed_before_hello"],
    ["reset at HELLO", (r, m) => m?.type === "hello" && resetStream(r.socket), "silent", "closed_before_hello"],
    [
      "half-close after its HELLO",
      (r, m) => {
        if (m?.type !== "hello") return;
        r.hello();
        end(r);
      },
      "silent",
      "closed_after_hello",
    ],
    ["half-close after AUTH", core(end), "silent", "closed_after_hello"],
    [
      "half-close after the grant",
      core((r) => {
        r.grant();
        end(r);
      }),
      "dropped",
      "connection_lost",
    ],
    [
      "drop by its operator",
      core((r) => {
        r.grant();
        r.error(0, "dropped by user");
        end(r);
      }),
      "dropped",
      "dropped_by_remote",
    ],
  ];
  for (const [what, serve, state, code] of table) {
    const result = await world(serve).run();
    assert.deepEqual([result.state, result.failure?.code], [state, code], what);
  }
});

test("visit that is aborted leaves with what it has, in every stage", async () => {
  const stages: [string, number, (remote: RawRemote, message: StellarMessage | undefined) => void, boolean][] = [
    ["dial", 5, () => {}, false],
    ["hello", 100, () => {}, false],
    ["auth", 100, (remote, message) => message?.type === "hello" && remote.hello(), true],
    ["grant", 100, core(() => {}), true],
  ];
  for (const [what, afterMs, serve, identity] of stages) {
    const all = world(serve);
    const abort = new AbortController();
    all.clock.setTimer(afterMs, () => abort.abort());
    const result = await all.run({ signal: abort.signal });
    assert.deepEqual(
      [result.state, result.failure],
      ["interrupted", { code: "local_close", reason: "interrupted" }],
      what,
    );
    assert.equal(result.nodeId !== undefined, identity, what);
    assert.equal(result.durationMs, afterMs, what);
  }
  const live = world(core((remote) => remote.grant()));
  const abort = new AbortController();
  live.clock.setTimer(1000, () => abort.abort());
  const stayed = await live.run({ signal: abort.signal, wants: { stay: true } });
  assert.deepEqual([stayed.state, stayed.durationMs], ["reachable", 1000]);
});

test("visit that is aborted before it begins dials nobody", async () => {
  const all = world(() => assert.fail("dialled"));
  const result = await all.run({ signal: AbortSignal.abort() });
  assert.deepEqual([result.state, result.stagesMs], ["interrupted", {}]);
});

test("visit measures as many round trips as asked, and stops at the first that is lost", async () => {
  const answering = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
  }, (remote, message) => {
    if (message.type === "getScpQuorumset") {
      remote.send({ type: "dontHave", dontHave: { type: MessageType.scpQuorumset, reqHash: message.qSetHash } });
    }
  }));
  const result = await answering.run({ wants: { pings: 5 } });
  assert.deepEqual(result.rttMs, [20, 20, 20, 20, 20]);
  assert.equal(result.pingsLost, 0);
  const deaf = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
  }));
  const lost = await deaf.run({ wants: { pings: 5 } });
  assert.deepEqual([lost.state, lost.rttMs, lost.pingsLost, lost.durationMs], ["reachable", [], 1, 3060]);
});

test("visit waits for the first SCP message when asked, and no longer than told", async () => {
  const all = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
    all.clock.setTimer(700, () => remote.send(scp));
  }));
  const result = await all.run({ wants: { firstScpMs: 2000 } });
  assert.deepEqual([result.scpMessages, result.stagesMs.scp], [1, 700]);
  assert.ok(all.remotes[0].types.includes("getScpState"));
  const none = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
  }));
  const without = await none.run({ wants: { firstScpMs: 2000 } });
  assert.deepEqual([without.state, without.scpMessages, without.durationMs], ["reachable", 0, 2060]);
});

test("visit answers a flood of queries up to upstream's limit, and ends in time", async () => {
  const all = world(core((remote) => {
    remote.send(PEERS);
    remote.grant();
    const flood = () => {
      for (let i = 0; i < 500; i++) {
        remote.connection.send(
          concatBytes(Uint8Array.of(0, 0, 0, MessageType.getScpQuorumset), new Uint8Array(32).fill(i)),
        );
        remote.connection.send(concatBytes(Uint8Array.of(0, 0, 0, MessageType.getTxSet), new Uint8Array(32).fill(i)));
      }
      if (remote.ends.length === 0) all.clock.setTimer(100, flood);
    };
    flood();
  }));
  const result = await all.run({ wants: { listenMs: 3000 } });
  assert.deepEqual([result.state, result.durationMs], ["reachable", 3060]);
  const answers = all.remotes[0].received.filter((message) => message.type === "dontHave");
  assert.equal(answers.length, 600);
});

test("visit of a node that floods before its grant ends by the deadline of the stage", async () => {
  const all = world(core((remote) => {
    const flood = () => {
      for (let i = 0; i < 20; i++) remote.connection.send(scp);
      if (remote.ends.length === 0) all.clock.setTimer(50, flood);
    };
    flood();
  }));
  const result = await all.run();
  assert.deepEqual(result.failure, { code: "handshake_timeout", stage: "grant", afterMs: 5000 });
});

test("visit shows no identity that nobody signed, and the one of another network when that signed it", async () => {
  const forged = world((remote, message) => {
    if (message?.type === "hello") remote.hello({ cert: { ...remote.node.auth.cert(), sig: new Uint8Array(64) } });
  });
  const bad = await forged.run();
  assert.deepEqual([bad.state, bad.failure?.code, bad.hello, bad.nodeId], ["faulty", "bad_cert", undefined, undefined]);
  const other = world((remote, message) => {
    if (message?.type === "hello") remote.hello();
  }, { passphrase: "another" });
  const found = await other.run();
  assert.deepEqual([found.state, found.failure?.code], ["other-network", "network_mismatch"]);
  assert.equal(found.nodeId, other.remotes[0].node.nodeIdText);
  const claimed = world((remote, message) => {
    if (message?.type === "hello") remote.hello({ networkId: new Uint8Array(32) });
  }, { passphrase: "another" });
  assert.equal((await claimed.run()).nodeId, undefined);
});

test("visit whose window does not meet the remote's is refused with wrong_version, whatever the remote does", async () => {
  const wrong = (text: string) => ({
    code: "wrong_version",
    remoteMin: 2000,
    remoteMax: 2001,
    oursMin: 1,
    oursMax: 1000,
    text,
  });
  const hello = (remote: RawRemote) => remote.hello({ overlayMinVersion: 2000, overlayVersion: 2001 });
  const said = await world((remote, message) => {
    if (message?.type !== "hello") return;
    hello(remote);
    remote.error(2, "wrong protocol version");
  }).run();
  assert.deepEqual([said.state, said.failure], ["refused", wrong("wrong protocol version")]);
  assert.equal(said.remoteText, "wrong protocol version");
  const closed = await world((remote, message) => {
    if (message?.type !== "hello") return;
    hello(remote);
    remote.connection.shutdown();
  }).run();
  assert.deepEqual([closed.state, closed.failure, closed.remoteText], ["refused", wrong(""), undefined]);
  const mute = await world((remote, message) => void (message?.type === "hello" && hello(remote))).run();
  assert.deepEqual([mute.state, mute.failure, mute.durationMs], ["refused", wrong(""), 540]);
  const lenient = world((remote, message) => {
    if (message?.type === "hello") hello(remote);
    if (message?.type !== "auth") return;
    remote.auth();
    remote.send(PEERS);
    remote.grant();
  });
  assert.equal((await lenient.run()).state, "reachable");
});

test("visit goes on after an expired certificate", async () => {
  const all = world(
    core((remote) => {
      remote.send(PEERS);
      remote.grant();
    }),
    { certLifetimeSeconds: -1000 },
  );
  const result = await all.run();
  assert.equal(result.state, "reachable");
  assert.ok(Number(result.hello!.cert.expiration) * 1000 < result.helloAtMs!);
});

test("visit of a dead address is dead, with the dial's failure", async () => {
  const all = world(() => {});
  const result = await all.run({ to: { host: "10.0.0.3", port: 1 } });
  assert.deepEqual([result.state, result.failure], ["dead", { code: "connect_refused", address: "10.0.0.3:1" }]);
});

test("stateOfFailure: what a failure of each kind says about the node", () => {
  const stage = "auth" as const;
  const table: [Failure | undefined, string][] = [
    [undefined, "reachable"],
    [{ code: "peer_rejected", text: "" }, "full"],
    [{ code: "dns_failed", host: "", reason: "" }, "dead"],
    [{ code: "silent_close", afterMs: 1, network: "" }, "silent"],
    [{ code: "network_mismatch", ours: "", theirs: "" }, "other-network"],
    [{ code: "not_stellar", looksLike: "http", firstBytes: "" }, "not-stellar"],
    [{ code: "wrong_version", oursMin: 1, oursMax: 2, text: "" }, "refused"],
    [{ code: "dropped_by_remote", errorCode: "ERR_MISC", text: "", stage }, "refused"],
    [{ code: "dropped_by_remote", errorCode: "ERR_MISC", text: "", stage: "live" }, "dropped"],
    [{ code: "connection_lost", reset: false, reason: "" }, "dropped"],
    [{ code: "local_close", reason: "" }, "interrupted"],
    [{ code: "bad_mac", stage }, "faulty"],
  ];
  for (const [failure, state] of table) assert.equal(stateOfFailure(failure), state);
});
