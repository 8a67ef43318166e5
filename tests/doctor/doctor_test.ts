/** What the confusion matrix does not show: doubt, budgets, one's own node, privacy, interruption. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FUTURENET, LOCAL, PUBNET, TESTNET } from "../../overlay/base/networks.ts";
import { equalBytes } from "../../overlay/base/bytes.ts";
import { doctorDocument, type Examined } from "../../survey/doctor/doctor.ts";
import type { Evidence } from "../../survey/doctor/evidence.ts";
import { nextQuestion } from "../../survey/doctor/next_question.ts";
import { diagnose } from "../../survey/doctor/verdict.ts";
import { PATIENT, Ward } from "../kit/doctor_patients.ts";

const finding = (examined: Examined, code: string) => examined.diagnosis.findings.find((entry) => entry.code === code);

test("doctor: a node that closes once while it starts is neither banning nor in another time", async () => {
  for (const identityGiven of [true, false]) {
    const ward = new Ward(3);
    ward.about = { identityGiven };
    ward.ledger.start(5, 120_000);
    let callers = 0;
    await ward.node({ handlers: { isBanned: () => callers++ === 0 } });
    const examined = await ward.examine();
    assert.equal(examined.diagnosis.verdict, "healthy_relay", JSON.stringify(examined.diagnosis));
  }
});

test("doctor: a banned identity and a wrong clock at once are both named", async () => {
  const ward = new Ward(4);
  ward.about = { identityGiven: true };
  ward.ledger.start(5, 120_000);
  await ward.node({ clockAheadMs: 7_200_000, handlers: { isBanned: (id) => equalBytes(id, ward.identity) } });
  const { diagnosis } = await ward.examine();
  assert.equal(diagnosis.verdict, "clock_skew_theirs");
  assert.ok(diagnosis.couldAlsoBe.includes("banned_as_well"));
});

test("doctor: without --network every known one is tried, and the one that answers is the node's", async () => {
  for (const network of [PUBNET, TESTNET, FUTURENET, LOCAL]) {
    const ward = new Ward(5);
    ward.about = { networks: [PUBNET, TESTNET, FUTURENET, LOCAL], networkGiven: false };
    await ward.node({ passphrase: network.passphrase, relays: false });
    const examined = await ward.examine();
    assert.equal(examined.diagnosis.verdict, "reachable_not_relaying");
    assert.equal(doctorDocument(examined).network, network.name);
    assert.equal(finding(examined, "network")!.ok, true);
  }
});

test("doctor: advertised addresses are tried within the budget, private ones never unless allowed", async () => {
  const book = [
    ...Array.from({ length: 20 }, (_, i) => ({ host: `9.9.${i}.9`, port: 11625 })),
    { host: "192.168.1.5", port: 11625 },
    { host: "127.0.0.1", port: 11625 },
    { host: "10.1.2.3", port: 11625 },
  ];
  for (const allowPrivate of [false, true]) {
    const ward = new Ward(6);
    ward.options = { allowPrivate, samplePeers: allowPrivate ? 40 : 10 };
    ward.ledger.start(5, 120_000);
    await ward.node({ book });
    for (const at of book) await ward.node({}, at);
    const { evidence } = await ward.examine();
    const dialed = Object.entries(ward.dialedMs).filter(([at]) => !at.startsWith(PATIENT.host));
    const isPrivate = (at: string) => /^(192\.168|127|10)\./.test(at);
    assert.equal(dialed.some(([at]) => isPrivate(at)), allowPrivate);
    assert.equal(dialed.length, allowPrivate ? 23 : 10);
    assert.equal(evidence.peers!.usable, allowPrivate ? 23 : 20);
    const times = dialed.flatMap(([, ms]) => ms).sort((a, b) => a - b);
    for (let i = 5; i < times.length; i++) {
      // Five a second; two of them may come together at the start, and delays differ.
      assert.ok(times[i] - times[i - 5] > 600, `too fast: ${times}`);
    }
  }
});

test("doctor: one's own node that answers with one's own identity is examined as a stranger sees it", async () => {
  const ward = new Ward(7);
  ward.about = { identityGiven: true, isOwn: true, expectsValidator: true };
  ward.ledger.start(5, 120_000);
  await ward.node({ validator: 0, local: { seed: ward.ledger.seeds[0] } });
  // The doctor asks with the validator's own seed.
  ward.seed.set(ward.ledger.seeds[0]);
  const examined = await ward.examine();
  assert.equal(examined.diagnosis.verdict, "healthy_validator", JSON.stringify(examined.diagnosis));
  assert.equal(finding(examined, "admission")!.ok, null);
});

test("doctor: --private says what an observation proves, and what it does not", async () => {
  const at = async (admit: (ward: Ward) => unknown) => {
    const ward = new Ward(8);
    ward.about = { private: true };
    await admit(ward);
    return finding(await ward.examine(), "private")!;
  };
  const hidden = await at((ward) => ward.fates.set(PATIENT.host, "swallowed"));
  assert.equal(hidden.ok, true);
  assert.match(hidden.evidence, /says nothing of other addresses/);
  assert.equal((await at((ward) => ward.node({}))).ok, false);
  assert.equal((await at((ward) => ward.serve(PATIENT, (socket) => socket.destroy()))).ok, false);
});

test("doctor: an announced port where another node answers is not the node's", async () => {
  const ward = new Ward(9);
  ward.ledger.start(5, 120_000);
  await ward.node({ local: { listeningPort: 12_000 } });
  await ward.node({}, { host: PATIENT.host, port: 12_000 });
  const examined = await ward.examine();
  assert.equal(examined.diagnosis.verdict, "port_unreachable_as_announced");
  assert.match(finding(examined, "announced_port")!.evidence, /another node answers there/);
});

test("doctor: interrupted, it says what was found and stops at once", async () => {
  const ward = new Ward(10);
  const leave = new AbortController();
  ward.options = { signal: leave.signal };
  ward.ledger.start(5, 120_000);
  await ward.node({ onLive: () => void ward.clock.setTimer(1000, () => leave.abort()) });
  const startedMs = ward.clock.nowMs();
  const examined = await ward.examine();
  assert.equal(examined.diagnosis.verdict, "interrupted");
  assert.equal(finding(examined, "hello")!.ok, true);
  assert.ok(ward.clock.nowMs() - startedMs < 3000);
});

test("nextQuestion never asks for more than its limit, whatever the answers are", async () => {
  // Answers by chance: the tree must end by itself.
  const { MAX_PROBES } = await import("../../survey/doctor/evidence.ts");
  const { SeededRandom } = await import("../../overlay/base/random.ts");
  const codes = [
    "silent_close",
    "closed_before_hello",
    "no_answer",
    "handshake_timeout",
    "wrong_version",
    "connecting_to_self",
    "already_connected",
    "dropped_by_remote",
    "connection_lost",
    "network_mismatch",
    "connect_refused",
    "bad_mac",
    undefined,
  ] as const;
  const ward = new Ward(11);
  ward.ledger.start(1, 0);
  await ward.node({});
  const hello = (await ward.examine()).evidence.probes[0].visit.hello!;
  let most = 0;
  for (let run = 0; run < 3000; run++) {
    const random = new SeededRandom(run);
    const yes = () => random.next() < 0.5;
    const evidence: Evidence = {
      case: {
        target: "x",
        port: 1,
        networks: yes() ? [LOCAL] : [PUBNET, TESTNET, LOCAL],
        networkGiven: yes(),
        identityGiven: yes(),
        expectedNodeId: undefined,
        isOwn: yes(),
        expectsValidator: yes(),
        narrowVersions: yes(),
        private: yes(),
      },
      dns: { hosts: ["1.1.1.1", "1.1.1.2"], ms: 1 },
      probes: [],
      peers: undefined,
      announced: undefined,
      interrupted: false,
    };
    for (let question = nextQuestion(evidence); question !== undefined; question = nextQuestion(evidence)) {
      const code = codes[random.int(codes.length)];
      const dead = code === "connect_refused";
      const known = !dead && (code === undefined || yes());
      evidence.probes.push({
        question,
        scp: undefined,
        visit: {
          to: question.to,
          state: dead
            ? "dead"
            : code === undefined
            ? "reachable"
            : code === "dropped_by_remote"
            ? "dropped"
            : "refused",
          // Facts that only the sentences need may be missing.
          failure: code === undefined ? undefined : { code, text: "", theirs: "", ours: "", address: "x" } as never,
          remoteText: undefined,
          startedAtMs: 0,
          durationMs: 1,
          stagesMs: dead ? {} : { tcp: 1, ...(known ? { hello: 1 } : {}) },
          hello: known ? hello : undefined,
          nodeId: known ? "G" : undefined,
          helloAtMs: known ? ward.clock.wallMs() : undefined,
          peers: undefined,
          rttMs: [],
          pingsLost: 0,
          scpMessages: 0,
          bytesRead: 0,
          bytesWritten: 0,
        },
      });
      diagnose(evidence);
    }
    most = Math.max(most, evidence.probes.length);
    diagnose(evidence);
  }
  assert.ok(most <= MAX_PROBES, `${most} probes`);
});
