/**
 * `doctor <host:port>` without its flags and its text: asks one question after the other until the decision tree has no more,
 * samples the addresses the node advertises, tries the port it announces, and judges.
 */
import { sleep } from "../../overlay/base/clock.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import type { Failure } from "../../overlay/base/errors.ts";
import { networkIdOf, networkLabel, networkNameOf } from "../../overlay/base/networks.ts";
import {
  addressOfWire,
  formatAddress,
  isDialable,
  kindOfIp,
  type PeerAddress,
} from "../../overlay/base/peer_address.ts";
import { shuffle } from "../../overlay/base/random.ts";
import type { WireAddress } from "../../overlay/wire/types.ts";
import { Budget, placeOf } from "../crawl/budget.ts";
import type { VisitState } from "../probe/visit.ts";
import type { Case, Evidence, PeersSample, Probe, Question } from "./evidence.ts";
import { describeQuestion } from "./findings.ts";
import { nextQuestion } from "./next_question.ts";
import { ask, type ProbeWorld, resolveTarget } from "./probes.ts";
import type { ScpEvidence } from "./scp_evidence.ts";
import { mainProbe } from "./signs.ts";
import { diagnose, type Diagnosis } from "./verdict.ts";

/** What an examination needs. */
export interface Examination extends ProbeWorld {
  host: string;
  about: Case;
  /** Addresses of PEERS to try; 0 tries none. */
  samplePeers: number;
  /** Dial private addresses of PEERS too. */
  allowPrivate: boolean;
  /** Told what happens, in a few words. */
  onStep?: (text: string) => void;
}

/** What came out. */
export interface Examined {
  diagnosis: Diagnosis;
  evidence: Evidence;
  startedAtMs: number;
  durationMs: number;
}

/** Pause between two connections to the target, ms, so that it has seen the end of the one before. */
const SPACING_MS = 500;
const OWN_MACHINE_SPACING_MS = 100;
/** Budget for the sampled addresses, within the polite one of a crawl. */
const SAMPLE_BUDGET = { concurrency: 4, dialsPerSecond: 5, perHost: 1, perSubnet: 2 };
/** Longest time the sample may take, ms. */
const SAMPLE_LIMIT_MS = 30_000;

/** Examines one target. Never throws for what the remote or the network does. */
export async function examine(options: Examination): Promise<Examined> {
  const { clock, about, onStep } = options;
  const startedAtMs = clock.wallMs(), startedMs = clock.nowMs();
  onStep?.(`resolving ${options.host}`);
  const evidence: Evidence = {
    case: about,
    dns: await resolveTarget(options.host, options),
    probes: [],
    peers: undefined,
    announced: undefined,
    interrupted: false,
  };
  const pause = () => pauseFor(evidence, options);
  for (let question = nextQuestion(evidence); question !== undefined; question = nextQuestion(evidence)) {
    if (evidence.probes.length > 0) await pause();
    if (stopped(evidence, options)) break;
    onStep?.(`asking ${formatAddress(question.to)} (${describeQuestion({ question })})`);
    evidence.probes.push(await ask(question, options));
    if (stopped(evidence, options)) break;
  }
  const main = mainProbe(evidence);
  if (main !== undefined && !stopped(evidence, options)) {
    const announced = announcedQuestion(main);
    if (announced !== undefined) {
      onStep?.(`trying the announced port ${announced.to.port}`);
      await pause();
      evidence.announced = await ask(announced, options);
    }
    if (main.visit.peers !== undefined && options.samplePeers > 0) {
      evidence.peers = await samplePeers(main, main.visit.peers, options);
    }
    stopped(evidence, options);
  }
  return { diagnosis: diagnose(evidence), evidence, startedAtMs, durationMs: clock.nowMs() - startedMs };
}

function stopped(evidence: Evidence, { signal }: Examination): boolean {
  return evidence.interrupted ||= signal?.aborted ?? false;
}

async function pauseFor(evidence: Evidence, { clock }: Examination): Promise<void> {
  const last = evidence.probes.at(-1);
  const own = last !== undefined && kindOfIp(last.question.to.host) === "loopback";
  await sleep(clock, own ? OWN_MACHINE_SPACING_MS : SPACING_MS);
}

/** The port the node announces, when it is another than the one that answered. */
function announcedQuestion(main: Probe): Question | undefined {
  const { hello } = main.visit, { question } = main;
  const port = hello!.listeningPort;
  if (port === question.to.port || port < 1 || port > 65535) return undefined;
  return { ...question, to: { host: question.to.host, port }, identity: "fresh", depth: "hello" };
}

/** Tries some of the addresses it advertises: whether a node answers HELLO there. */
async function samplePeers(main: Probe, peers: WireAddress[], options: Examination): Promise<PeersSample> {
  const { clock, random } = options;
  const { to } = main.question;
  const policy = {
    allowPrivate: options.allowPrivate,
    // Who asks a node on this machine may be sent to others on it.
    allowLoopback: options.allowPrivate || kindOfIp(to.host) === "loopback",
  };
  const own = formatAddress(to);
  const known = new Map<string, PeerAddress>();
  for (const { ip, port } of peers) {
    const address = addressOfWire(ip, port);
    if (address === null || !isDialable(address.host, policy) || formatAddress(address) === own) continue;
    known.set(formatAddress(address), address);
  }
  const chosen = shuffle(random, [...known.values()]).slice(0, options.samplePeers);
  const sample: PeersSample = { offered: peers.length, usable: known.size, tried: [] };
  const budget = new Budget({ ...SAMPLE_BUDGET, maxDials: options.samplePeers }, clock.nowMs());
  const untilMs = clock.nowMs() + SAMPLE_LIMIT_MS;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < chosen.length && !options.signal?.aborted && clock.nowMs() < untilMs) {
      const address = chosen[next++];
      const place = placeOf(address.host, address.port);
      for (;;) {
        const take = budget.tryTake(place, clock.nowMs());
        if (take.kind === "ok") break;
        if (take.kind === "exhausted" || clock.nowMs() >= untilMs) return;
        await sleep(clock, take.kind === "wait" ? take.waitMs : 50);
      }
      options.onStep?.(`trying advertised addresses: ${sample.tried.length}/${chosen.length}`);
      const question: Question = {
        ...main.question,
        to: address,
        identity: "fresh",
        cert: "now",
        depth: "hello",
        patience: 1,
      };
      const probe = await ask(question, { ...options, onStage: undefined });
      budget.release(place, {
        held: false,
        bytes: probe.visit.bytesRead + probe.visit.bytesWritten,
        heldMs: probe.visit.durationMs,
      });
      if (options.signal?.aborted && probe.visit.hello === undefined) return;
      const answered = probe.visit.hello !== undefined;
      sample.tried.push({
        address: formatAddress(address),
        answered,
        code: answered ? null : probe.visit.failure?.code ?? null,
      });
    }
  };
  await Promise.all(Array.from({ length: SAMPLE_BUDGET.concurrency }, worker));
  return sample;
}

/** `stellar-overlay/doctor/1`. */
export interface DoctorDocument extends Diagnosis {
  schema: "stellar-overlay/doctor/1";
  target: string;
  address: string | null;
  nodeId: string | null;
  versionStr: string | null;
  overlayVersion: number | null;
  overlayMinVersion: number | null;
  ledgerVersion: number | null;
  listeningPort: number | null;
  /** Name of the network it runs, or its id in hex. */
  network: string | null;
  peers: PeersSample | null;
  /** What it said about the ledger; null when it did not come that far. */
  scp:
    | {
      [K in keyof ScpEvidence]:
        | Exclude<ScpEvidence[K], undefined>
        | (undefined extends ScpEvidence[K] ? null : never);
    }
    | null;
  /** Every connection to the target, in order. */
  attempts: {
    address: string;
    network: string;
    identity: Question["identity"];
    certificate: Question["cert"];
    versions: Question["versions"];
    depth: Question["depth"];
    state: VisitState;
    code: Failure["code"] | null;
    remoteText: string | null;
    durationMs: number;
  }[];
  startedAt: string;
  durationMs: number;
}

/** The document of an examination. */
export function doctorDocument({ diagnosis, evidence, startedAtMs, durationMs }: Examined): DoctorDocument {
  const main = mainProbe(evidence), hello = main?.visit.hello;
  const shown = main ?? evidence.probes.findLast((probe) => probe.visit.state !== "dead") ?? evidence.probes[0];
  const attempts = evidence.announced === undefined ? evidence.probes : [...evidence.probes, evidence.announced];
  return {
    schema: "stellar-overlay/doctor/1",
    target: evidence.case.target,
    verdict: diagnosis.verdict,
    couldAlsoBe: diagnosis.couldAlsoBe,
    findings: diagnosis.findings,
    next: diagnosis.next,
    address: shown === undefined ? null : formatAddress(shown.question.to),
    nodeId: main?.visit.nodeId ?? null,
    versionStr: hello?.versionStr ?? null,
    overlayVersion: hello?.overlayVersion ?? null,
    overlayMinVersion: hello?.overlayMinVersion ?? null,
    ledgerVersion: hello?.ledgerVersion ?? null,
    listeningPort: hello?.listeningPort ?? null,
    network: hello === undefined ? null : nameOf(toHex(hello.networkId), main!),
    peers: evidence.peers ?? null,
    scp: main?.scp === undefined ? null : scpFacts(main.scp),
    attempts: attempts.map(({ question, visit }) => ({
      address: formatAddress(question.to),
      network: networkLabel(question.network),
      identity: question.identity,
      certificate: question.cert,
      versions: question.versions,
      depth: question.depth,
      state: visit.state,
      code: visit.failure?.code ?? null,
      remoteText: visit.remoteText ?? null,
      durationMs: round(visit.durationMs),
    })),
    startedAt: new Date(startedAtMs).toISOString(),
    durationMs: round(durationMs),
  };
}

/** With a null where nothing was heard: JSON has no undefined. */
function scpFacts(scp: ScpEvidence): DoctorDocument["scp"] {
  const { ownSlot = null, slot = null, closeTimeOffsetMs = null, ...rest } = scp;
  return { ...rest, ownSlot, slot, closeTimeOffsetMs, listenedMs: round(scp.listenedMs) };
}

function nameOf(networkId: string, main: Probe): string {
  const { network } = main.question;
  return networkIdOf(network.passphrase) === networkId ? networkLabel(network) : networkNameOf(networkId);
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
