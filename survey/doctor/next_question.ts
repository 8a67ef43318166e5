/**
 * The decision tree of `doctor`: what is known so far in, the next question to the target out. Pure. Each branch costs as few
 * connections as tell its causes apart; docs/doctor.md draws it.
 */
import type { Failure } from "../../overlay/base/errors.ts";
import { type Network, networkIdOf, NETWORKS } from "../../overlay/base/networks.ts";
import { certificateFacts } from "../probe/connect.ts";
import { type Evidence, MAX_HOSTS, MAX_PROBES, type Probe, type Question } from "./evidence.ts";

/** The next question; undefined when more questions would tell nothing more. */
export function nextQuestion(evidence: Evidence): Question | undefined {
  const { dns, probes, case: about } = evidence;
  if ("failure" in dns || evidence.interrupted || probes.length >= MAX_PROBES) return undefined;
  const hosts = dns.hosts.slice(0, MAX_HOSTS);
  const last = probes.at(-1);
  if (last === undefined || probes.every(isDead)) {
    const host = hosts[probes.length];
    if (host === undefined) return undefined;
    return {
      to: { host, port: about.port },
      network: about.networks[0],
      identity: "given",
      cert: "now",
      versions: "own",
      depth: "full",
      patience: 1,
    };
  }
  const alive = probes.filter((probe) => !isDead(probe));
  const first = alive[0];
  const ask = (change: Partial<Question>): Question | undefined => {
    const question = { ...first.question, ...change };
    return alive.some((probe) => sameQuestion(probe.question, question)) ? undefined : question;
  };
  // The host stopped answering in between: what it said before stands.
  if (isDead(last)) return undefined;

  switch (codeOf(last)) {
    case "closed_before_hello":
      // A node at its limit of pending callers has room a moment later.
      return alive.filter((probe) => codeOf(probe) === "closed_before_hello").length < 2
        ? { ...last.question }
        : undefined;
    case "no_answer":
    case "handshake_timeout":
    case "closed_after_hello":
      return last.question.depth === "full" ? ask({ ...last.question, patience: 3 }) : undefined;
  }
  if (alive.some(isHello)) return afterHello(evidence, alive, ask);
  return codeOf(last) === "silent_close" ? afterSilence(evidence, alive, ask) : undefined;
}

/** Why it is silent: the ban, the clocks, or the network. */
function afterSilence(
  { case: about }: Evidence,
  alive: Probe[],
  ask: (change: Partial<Question>) => Question | undefined,
): Question | undefined {
  const { question } = alive[0];
  const others = otherNetworks(about.networks, question.network);
  if (about.networkGiven) {
    return (about.identityGiven ? ask({ identity: "fresh", depth: "hello" }) : undefined) ??
      ask({ identity: "fresh", cert: "future", depth: "hello" }) ??
      firstOf(others, (network) => ask({ network, identity: "fresh", depth: "hello" }));
  }
  return firstOf(others, (network) => ask({ network })) ??
    firstOf(
      [question.network, ...others],
      (network) => ask({ network, identity: "fresh", cert: "future", depth: "hello" }),
    );
}

/** It said who it is. What else must be asked? */
function afterHello(
  { case: about }: Evidence,
  alive: Probe[],
  ask: (change: Partial<Question>) => Question | undefined,
): Question | undefined {
  const last = alive.at(-1)!, { question } = last;
  const ours = { network: question.network, patience: 1 } as const;
  if (question.depth === "hello") {
    const silent = alive.filter((probe) => isUsual(probe, question) && codeOf(probe) === "silent_close");
    const doubtful = question.cert === "now" ? question.identity === "fresh" : !clockExplains(last);
    // A node that closed once may have been starting: a ban, or a time that does not fit, is believed the second time only.
    if (silent.length === 1 && doubtful) return { ...silent[0].question };
    // A fresh identity came in with a usual certificate: the ban, or the network, is proved.
    if (question.cert === "now") return undefined;
    // The certificate's time is what let it in, unless a fresh identity alone does; then the ledger tells whose clock is wrong.
    return (about.identityGiven ? ask({ ...ours, identity: "fresh", cert: "now", depth: "hello" }) : undefined) ??
      ask({ ...ours, identity: "given", cert: "future", depth: "full" });
  }
  switch (codeOf(last)) {
    case "wrong_version":
    case "version_mismatch":
      return about.narrowVersions ? ask({ ...ours, versions: "wide" }) : undefined;
    case "connecting_to_self":
      return ask({ ...ours, identity: "fresh" });
    case "already_connected":
      // Without an identity of the user's it is our own last connection, whose end it has not seen yet.
      return about.identityGiven ? ask({ ...ours, identity: "fresh" }) : askOnceMore(alive);
    case "network_mismatch": {
      const theirs = about.networkGiven ? undefined : networkOfHello(last);
      return theirs === undefined ? undefined : ask({ network: theirs });
    }
    case "dropped_by_remote":
    case "connection_lost":
    case "peer_rejected":
      return askOnceMore(alive);
    case "silent_close":
      // It let us in before, or a fresh identity with another certificate: a ban, if a fresh one gets in as it is.
      if (about.identityGiven || wasDropped(alive)) {
        const fresh = ask({ ...ours, identity: "fresh", cert: "now", depth: "hello" });
        if (fresh !== undefined) return fresh;
      }
      if (alive.some((probe) => probe.question.cert === "now" && isHello(probe))) return undefined;
      // A fresh identity with the usual certificate did not get in, or the given one did not even with the future one.
      return ask({ ...ours, identity: "given", cert: "future", depth: "full" }) ??
        ask({ ...ours, identity: "fresh", cert: "future", depth: "full" });
  }
  return undefined;
}

/** The same question a second time, and not a third. */
function askOnceMore(alive: Probe[]): Question | undefined {
  const { question } = alive.at(-1)!;
  const times = alive.filter((probe) => sameQuestion(probe.question, question)).length;
  return times < 2 ? { ...question } : undefined;
}

/** Asked as the user is, with nothing changed, on the network of `question`. */
export function isUsual(probe: Probe, question: Question): boolean {
  const { identity, cert, network } = probe.question;
  return identity === "given" && cert === "now" && network.passphrase === question.network.passphrase;
}

/** Whether we, as we are, were met by silence on the network of `probe`, the last time we asked. */
export function isRefused(probes: readonly Probe[], probe: Pick<Probe, "question">): boolean {
  const last = probes.findLast((other) => isUsual(other, probe.question));
  return last !== undefined && codeOf(last) === "silent_close";
}

/** Whether its clock, as its certificate shows it, can be so far ahead that our certificate looks expired there. */
function clockExplains(probe: Probe): boolean {
  const { hello, helloAtMs } = probe.visit;
  const { clockAheadMaxMs } = certificateFacts(hello!, helloAtMs!);
  return clockAheadMaxMs === null || clockAheadMaxMs >= CERT_LIFE_MS;
}

/** The life of our certificates. Source: stellar-core PeerAuth.cpp. */
const CERT_LIFE_MS = 3_600_000;

/** No TCP connection. */
export function isDead(probe: Probe): boolean {
  return probe.visit.state === "dead";
}

/** It answered our HELLO with its own, and the certificate in it holds. */
export function isHello(probe: Probe): boolean {
  return probe.visit.hello !== undefined;
}

/** How it ended; undefined when we got what we asked for, or it is full. */
export function codeOf(probe: Probe): Failure["code"] | undefined {
  const { failure } = probe.visit;
  return failure?.code === "local_close" ? undefined : failure?.code;
}

/** Whether an earlier connection of ours was admitted and then ended by the node. */
export function wasDropped(probes: readonly Probe[]): boolean {
  return probes.some((probe) => probe.visit.state === "dropped");
}

/** The known network whose HELLO came, when it is another than we asked for. */
function networkOfHello(probe: Probe): Network | undefined {
  const { failure } = probe.visit;
  if (failure?.code !== "network_mismatch") return undefined;
  return NETWORKS.find((network) => networkIdOf(network.passphrase) === failure.theirs);
}

/** Networks to try beside `asked`: those of the case, then the other known ones. */
function otherNetworks(networks: readonly Network[], asked: Network): Network[] {
  const all = [...networks, ...NETWORKS];
  return all.filter((network, at) =>
    network.passphrase !== asked.passphrase && all.findIndex((other) => other.passphrase === network.passphrase) === at
  );
}

function firstOf(
  networks: readonly Network[],
  ask: (network: Network) => Question | undefined,
): Question | undefined {
  for (const network of networks) {
    const question = ask(network);
    if (question !== undefined) return question;
  }
  return undefined;
}

function sameQuestion(a: Question, b: Question): boolean {
  return a.to.host === b.to.host && a.to.port === b.to.port && a.network.passphrase === b.network.passphrase &&
    a.identity === b.identity && a.cert === b.cert && a.versions === b.versions && a.depth === b.depth &&
    a.patience === b.patience;
}
