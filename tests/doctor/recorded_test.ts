/**
 * The refusals of real stellar-core nodes, replayed to the doctor: each recording gives its verdict. A recording answers one
 * connection; the doctor makes several. The server answers each as that stellar-core would have: the recorded way to the
 * caller who met it, a recorded acceptance to one that differs in what was refused. All recordings have one session key, so
 * that what was recorded for one identity verifies for any.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../overlay/base/clock.ts";
import { LOCAL, PUBNET } from "../../overlay/base/networks.ts";
import { equalBytes } from "../../overlay/base/bytes.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { LocalNode, WIDE_OVERLAY_WINDOW } from "../../overlay/peer/local_node.ts";
import { systemResolver, TcpTransport } from "../../overlay/transport/tcp.ts";
import type { Transport } from "../../overlay/transport/transport.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import { examine, type Examined } from "../../survey/doctor/doctor.ts";
import type { Case } from "../../survey/doctor/evidence.ts";
import type { Verdict } from "../../survey/doctor/verdict.ts";
import { WrongClock } from "../kit/doctor_patients.ts";
import { loadSession, type Session } from "../kit/fixtures.ts";
import { recordedHello, recordedRandom, startReplay } from "../kit/replay_server.ts";

/** Accepts everybody, and ends before the first SCP message. */
const ACCEPTS = loadSession("very-high-max");
const SILENCE = loadSession("banned");

interface Recorded {
  name: string;
  verdict: Verdict;
  about?: Partial<Case>;
  /** How the node answers a HELLO. `asGiven`: the caller has the recorder's identity. */
  answers: (session: Session, hello: Hello, asGiven: boolean) => Session;
  /** Seconds since the epoch by the doctor's clock; the recording's by default. */
  doctorSeconds?: number;
  /** Codes of findings that must be false. */
  fails: string[];
}

const toAll = (session: Session) => session;
const toGiven = (session: Session, _: Hello, asGiven: boolean) => asGiven ? session : ACCEPTS;
const toWindow = (session: Session, hello: Hello) =>
  hello.overlayVersion === recordedHello(session, "out").overlayVersion ? session : ACCEPTS;
const flood = loadSession("caller-flood");
let droppedOnce = false;

const RECORDED: readonly Recorded[] = [
  { name: "full", verdict: "full", answers: toAll, fails: ["admission"] },
  { name: "self", verdict: "own_identity", answers: toGiven, fails: ["admission", "relaying"] },
  { name: "duplicate", verdict: "duplicate_identity", answers: toGiven, fails: ["admission", "relaying"] },
  { name: "too-old", verdict: "version_window", answers: toWindow, fails: ["versions", "relaying"] },
  { name: "too-new", verdict: "version_window", answers: toWindow, fails: ["versions", "relaying"] },
  { name: "absurd-window", verdict: "version_window", answers: toWindow, fails: ["versions", "relaying"] },
  {
    name: "wrong-network",
    verdict: "wrong_network",
    about: { networks: [PUBNET] },
    // stellar-core checks the certificate with its own network, so every other one is the same silence.
    answers: (session, hello) =>
      equalBytes(hello.networkId, recordedHello(ACCEPTS, "out").networkId) ? ACCEPTS : session,
    fails: ["network"],
  },
  { name: "banned", verdict: "banned_identity", answers: toGiven, fails: ["ban"] },
  {
    name: "cert-expired",
    verdict: "clock_skew_ours",
    // Our clock stands so that the certificate we make has expired by the recorded 100 s; who accepts it speaks SCP.
    doctorSeconds: flood.header.unixTime - 3700,
    answers: (session, hello) => Number(hello.cert.expiration) < flood.header.unixTime ? session : flood,
    fails: ["clock"],
  },
  // Accepted in the recording, which ends before the first SCP message.
  { name: "cert-far-future", verdict: "reachable_not_relaying", answers: toAll, fails: ["relaying"] },
  { name: "very-high-max", verdict: "reachable_not_relaying", answers: toAll, fails: ["relaying"] },
  {
    name: "dropped-and-banned",
    verdict: "banned_identity",
    answers: (session, _, asGiven) => {
      if (!asGiven) return ACCEPTS;
      if (droppedOnce) return SILENCE;
      droppedOnce = true;
      return session;
    },
    fails: ["ban", "admission"],
  },
  { name: "caller-flood", verdict: "healthy_validator", answers: toAll, fails: [] },
];

async function replay(recorded: Recorded): Promise<Examined> {
  const session = loadSession(recorded.name);
  const { header } = session;
  const given = recordedHello(session, "out").peerId;
  const server = await startReplay((hello) => recorded.answers(session, hello, equalBytes(hello.peerId, given)));
  try {
    const wallMs = (recorded.doctorSeconds ?? header.unixTime) * 1000;
    const clock = new WrongClock(systemClock, wallMs - systemClock.wallMs());
    const out = recordedHello(session, "out");
    const narrow = { min: out.overlayMinVersion, max: out.overlayVersion };
    const fresh = new SeededRandom(5).bytes(32);
    // The node is asked at the port it announced when it was recorded; the server has another.
    const port = session.hello?.listeningPort ?? recordedHello(ACCEPTS, "in").listeningPort;
    const tcp = new TcpTransport();
    const transport: Transport = {
      dial: (to, options, handlers) => {
        assert.equal(to.host, server.host);
        return tcp.dial({ host: server.host, port: server.port }, options, handlers);
      },
      listen: (at, onSocket) => tcp.listen(at, onSocket),
    };
    return await examine({
      host: server.host,
      transport,
      resolver: systemResolver,
      clock,
      random: new SeededRandom(1),
      localFor: ({ network, identity, cert, versions }) => {
        const window = versions === "wide" ? WIDE_OVERLAY_WINDOW : narrow;
        return new LocalNode({
          passphrase: network.passphrase,
          clock,
          random: recordedRandom(session),
          seed: identity === "given" ? header.ed25519Seed : fresh,
          x25519Secret: header.x25519Secret,
          certLifetimeSeconds: cert === "future" ? 39_600 : undefined,
          overlayVersion: window.max,
          overlayMinVersion: window.min,
          listeningPort: out.listeningPort,
        });
      },
      timeouts: { connectMs: 5000, stageMs: 5000, pingMs: 500 },
      listenMs: 700,
      samplePeers: 0,
      allowPrivate: false,
      about: {
        target: `${server.host}:${port}`,
        port,
        networks: [LOCAL],
        networkGiven: true,
        identityGiven: true,
        expectedNodeId: undefined,
        isOwn: false,
        expectsValidator: false,
        narrowVersions: true,
        private: false,
        ...recorded.about,
      },
    });
  } finally {
    server.close();
  }
}

for (const recorded of RECORDED) {
  test(`doctor: the recorded ${recorded.name} is ${recorded.verdict}`, async () => {
    const { diagnosis, evidence } = await replay(recorded);
    const seen = () =>
      JSON.stringify(diagnosis, null, 1) +
      evidence.probes.map(({ question: q, visit }) =>
        `\n${q.network.name} ${q.identity} ${q.cert} ${q.versions} ${q.depth}: ${visit.state} ${visit.failure?.code}`
      ).join("");
    assert.equal(diagnosis.verdict, recorded.verdict, seen());
    const failed = diagnosis.findings.filter(({ ok }) => ok === false);
    assert.deepEqual(failed.map(({ code }) => code).sort(), [...recorded.fails].sort(), seen());
  });
}
