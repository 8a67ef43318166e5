/** The findings of an examination: one line per question of the tree, with what was seen. Pure. */
import { escapeRemoteText, toHex } from "../../overlay/base/bytes.ts";
import { describeFailure } from "../../overlay/base/errors.ts";
import { networkLabel, networkNameOf } from "../../overlay/base/networks.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import { clocks, MAX_TIME_SLIP_MS } from "./clocks.ts";
import type { Evidence, Probe } from "./evidence.ts";
import { codeOf, isDead, isHello, isRefused, isUsual } from "./next_question.ts";
import { answering, isStale, mainProbe, portAnswers, sampleIsPoor, SLOW_MS, slowStage } from "./signs.ts";

/** What a finding is about, in the order of the tree. */
export const FINDING_CODES = [
  "dns",
  "tcp",
  "hello",
  "network",
  "ban",
  "versions",
  "identity",
  "clock",
  "admission",
  "speed",
  "relaying",
  "ledger",
  "validating",
  "peers",
  "announced_port",
  "private",
] as const;
/** One of {@link FINDING_CODES}. */
export type FindingCode = (typeof FINDING_CODES)[number];

/** One finding. */
export interface Finding {
  code: FindingCode;
  /** Null: seen, and neither good nor bad; or it could not be found out. */
  ok: boolean | null;
  /** What was seen, in one sentence. Text of the remote in it is escaped. */
  evidence: string;
}

/** All findings that the evidence allows. */
export function findingsOf(evidence: Evidence): Finding[] {
  const found: Finding[] = [];
  const add = (code: FindingCode, ok: boolean | null, text: string) => found.push({ code, ok, evidence: text });
  const { dns, probes, case: about } = evidence;
  if ("failure" in dns) add("dns", false, describeFailure(dns.failure));
  else {
    if (dns.ms > 0) add("dns", true, `resolves to ${dns.hosts.join(", ")} in ${Math.round(dns.ms)} ms`);
    tcp(evidence, add);
    if (probes.some((probe) => !isDead(probe))) talk(evidence, add);
  }
  if (about.private) privacy(evidence, add);
  return found;
}

type Add = (code: FindingCode, ok: boolean | null, text: string) => void;

function tcp({ probes }: Evidence, add: Add): void {
  const dead = probes.filter((probe) => isDead(probe) && probe.visit.failure !== undefined);
  const open = probes.find((probe) => probe.visit.stagesMs.tcp !== undefined);
  if (open !== undefined) {
    add(
      "tcp",
      true,
      `${at(open)} accepts in ${ms(open.visit.stagesMs.tcp!)}${dead.length > 0 ? `; ${told(dead)}` : ""}`,
    );
  } else if (dead.length > 0) add("tcp", false, told(dead));
}

function told(probes: readonly Probe[]): string {
  return [...new Set(probes.map((probe) => describeFailure(probe.visit.failure!)))].join("; ");
}

function at(probe: Probe): string {
  return formatAddress(probe.question.to);
}

/** How a probe differs from the first one, in words. */
export function describeQuestion({ question }: Pick<Probe, "question">): string {
  const parts = [
    networkLabel(question.network),
    ...(question.identity === "fresh" ? ["fresh identity"] : []),
    ...(question.cert === "future" ? ["certificate of the far future"] : []),
    ...(question.versions === "wide" ? ["every overlay version"] : []),
    ...(question.patience > 1 ? ["more patience"] : []),
  ];
  return escapeRemoteText(parts.join(", "));
}

function talk(evidence: Evidence, add: Add): void {
  const { probes, case: about } = evidence;
  const alive = probes.filter((probe) => !isDead(probe));
  const main = mainProbe(evidence);
  if (main === undefined) {
    add("hello", false, silence(alive));
    return;
  }
  const { hello, nodeId, stagesMs } = main.visit;
  const window = `${hello!.overlayMinVersion}-${hello!.overlayVersion}`;
  add(
    "hello",
    true,
    `${nodeId}, ${escapeRemoteText(hello!.versionStr)}, ledger protocol ${hello!.ledgerVersion}, after ${
      ms(stagesMs.hello!)
    }`,
  );
  const name = networkNameOf(toHex(hello!.networkId));
  const label = name === toHex(hello!.networkId) && toHex(hello!.networkId) === askedId(main)
    ? networkLabel(main.question.network)
    : name;
  const right = !about.networkGiven || main.question.network.passphrase === about.networks[0].passphrase &&
      main.visit.state !== "other-network";
  add(
    "network",
    right,
    `it runs ${escapeRemoteText(label)}${right ? "" : `, not ${escapeRemoteText(networkLabel(about.networks[0]))}`}`,
  );
  ban(alive, about.identityGiven, add);
  versions(alive, window, add);
  if (about.expectedNodeId !== undefined) {
    add(
      "identity",
      nodeId === about.expectedNodeId,
      nodeId === about.expectedNodeId ? "the node that was named" : `not ${about.expectedNodeId}`,
    );
  }
  clock(evidence, add);
  admission(evidence, main, add);
  if (stagesMs.grant !== undefined) live(evidence, main, add);
  if (stagesMs.auth !== undefined) peers(evidence, main, add);
  announcedPort(evidence, main, add);
}

/** It admitted us. */
function live(evidence: Evidence, main: Probe, add: Add): void {
  const { stagesMs } = main.visit;
  const late = slowStage(evidence);
  const rtt = main.visit.rttMs.length === 0 ? "" : `, a round trip ${ms(Math.min(...main.visit.rttMs))}`;
  add(
    "speed",
    late === undefined,
    late === undefined
      ? `HELLO ${ms(stagesMs.hello!)}, AUTH ${ms(stagesMs.auth!)}${rtt}`
      : `${late.stage} took ${ms(late.ms)}; stellar-core gives up after ${SLOW_MS} ms of silence`,
  );
  ledger(main, evidence.case.expectsValidator, add);
}

function announcedPort(evidence: Evidence, main: Probe, add: Add): void {
  const port = portAnswers(evidence);
  if (port !== undefined) {
    const announced = main.visit.hello!.listeningPort;
    const same = announced === main.question.to.port;
    add(
      "announced_port",
      port,
      same
        ? `it announces port ${announced}, where it answered`
        : port
        ? `it announces port ${announced}, and answers there too`
        : `it announces port ${announced}: ${announcedFailure(evidence)}`,
    );
  }
}

/** Why no HELLO came: each reason once, with all the ways we asked. */
function silence(alive: readonly Probe[]): string {
  /** BOUNDED: by the probes. */
  const reasons = new Map<string, string[]>();
  for (const probe of alive) {
    const { failure } = probe.visit;
    if (failure === undefined || failure.code === "local_close") continue;
    const reason = failure.code === "silent_close"
      ? "reads our HELLO and closes without a byte"
      : describeFailure(readable(probe));
    const asked = reasons.get(reason) ?? [];
    reasons.set(reason, asked);
    const as = describeQuestion(probe);
    if (!asked.includes(as)) asked.push(as);
  }
  if (reasons.size === 0) return "no HELLO yet";
  return [...reasons].map(([reason, asked]) => `${reason} (asked on ${asked.join("; ")})`).join("; then ");
}

function askedId(probe: Probe): string | undefined {
  const { failure, hello } = probe.visit;
  return failure?.code === "network_mismatch" ? undefined : toHex(hello!.networkId);
}

function announcedFailure({ announced }: Evidence): string {
  if (announced === undefined) return "no such port exists";
  const { failure, nodeId } = announced.visit;
  return nodeId !== undefined
    ? `another node answers there, ${nodeId}`
    : failure === undefined
    ? "nobody answers there"
    : describeFailure(failure);
}

function ban(alive: readonly Probe[], identityGiven: boolean, add: Add): void {
  const fresh = alive.find((probe) =>
    probe.question.identity === "fresh" && probe.question.cert === "now" && isHello(probe)
  );
  const usual = fresh === undefined ? undefined : alive.filter((probe) => isUsual(probe, fresh.question));
  if (fresh !== undefined && usual!.some((probe) => codeOf(probe) === "silent_close")) {
    return isRefused(alive, fresh)
      ? add("ban", false, "closes without a byte for this identity, and answers HELLO to a fresh one")
      : add("ban", true, "closed once without a byte for this identity, and answered it later");
  }
  const letIn = alive.some((probe) => probe.question.identity === "given" && isHello(probe));
  if (identityGiven && letIn) add("ban", true, "it answers HELLO to the given identity");
}

const REFUSES_VERSIONS: readonly string[] = ["wrong_version", "version_mismatch"];

function versions(alive: readonly Probe[], window: string, add: Add): void {
  const refused = alive.find((probe) => REFUSES_VERSIONS.includes(codeOf(probe) ?? ""));
  if (refused === undefined) {
    add("versions", true, `overlay ${window} meets ours`);
    return;
  }
  const wide = alive.find((probe) => probe.question.versions === "wide" && probe.visit.stagesMs.auth !== undefined);
  const hint = wide === undefined ? "" : "; a HELLO with every version is accepted";
  add("versions", false, `${describeFailure(refused.visit.failure!)}${hint}`);
}

function clock(evidence: Evidence, add: Add): void {
  const time = clocks(evidence);
  const parts: string[] = [];
  const refused = evidence.probes.some((probe) =>
    probe.question.cert === "future" && isHello(probe) && isRefused(evidence.probes, probe)
  );
  if (refused) parts.push("it answers only to a certificate of the far future: to its clock ours has expired");
  if (time.theirsAhead !== undefined) {
    const { minMs, maxMs } = time.theirsAhead;
    parts.push(
      minMs > MAX_TIME_SLIP_MS
        ? `its certificate puts its clock at least ${span(minMs)} ahead of ours`
        : maxMs < -MAX_TIME_SLIP_MS
        ? `its certificate has expired or nearly so: its clock is at least ${span(-maxMs)} behind ours`
        : "its certificate fits our clock",
    );
  }
  if (time.networkAheadMs !== undefined) {
    const off = time.networkAheadMs;
    parts.push(
      Math.abs(off) > MAX_TIME_SLIP_MS
        ? `the ledger's close time is ${span(Math.abs(off))} ${off > 0 ? "ahead of" : "behind"} our clock`
        : "the ledger's close time fits our clock",
    );
  }
  if (parts.length > 0) add("clock", time.whose === undefined && !refused, parts.join("; "));
}

function admission(evidence: Evidence, main: Probe, add: Add): void {
  const { state, remoteText, failure, stagesMs } = main.visit;
  const text = remoteText === undefined ? "" : ` ("${escapeRemoteText(remoteText)}")`;
  const dropped = evidence.probes.find((probe) => probe.visit.state === "dropped");
  const own = evidence.probes.find((probe) => codeOf(probe) === "connecting_to_self");
  const twice = evidence.case.identityGiven
    ? evidence.probes.find((probe) => codeOf(probe) === "already_connected")
    : undefined;
  if (own !== undefined) add("admission", evidence.case.isOwn ? null : false, describeFailure(own.visit.failure!));
  if (twice !== undefined) add("admission", false, describeFailure(twice.visit.failure!));
  if (dropped !== undefined) {
    const said = dropped.visit.remoteText === undefined ? "" : ` ("${escapeRemoteText(dropped.visit.remoteText)}")`;
    add("admission", false, `it admitted us, and ended it after ${ms(dropped.visit.durationMs)}${said}`);
  } else if (stagesMs.grant !== undefined) add("admission", true, "it admitted us and granted credit");
  else if (state === "full") add("admission", false, `authenticated, then no free slot${text}`);
  else if (failure !== undefined && failure.code !== "local_close" && !REFUSES_VERSIONS.includes(failure.code)) {
    add("admission", false, `${describeFailure(readable(main))}${text}`);
  }
}

function ledger(main: Probe, expectsValidator: boolean, add: Add): void {
  const { scp } = main;
  if (scp === undefined) return;
  const listened = `in ${ms(scp.listenedMs)}`;
  if (scp.messages === 0) {
    add("relaying", false, `no SCP message ${listened}`);
    return;
  }
  const bad = scp.badSignatures > 0 ? `, ${scp.badSignatures} of them with a bad signature` : "";
  add(
    "relaying",
    scp.otherSigners > 0,
    `${scp.messages} SCP messages${bad} of ${scp.otherSigners} other signer${
      scp.otherSigners === 1 ? "" : "s"
    } ${listened}`,
  );
  if (scp.slot !== undefined) {
    const age = scp.closeTimeOffsetMs === undefined
      ? ""
      : scp.closeTimeOffsetMs <= 0
      ? `, its close time ${span(-scp.closeTimeOffsetMs)} ago`
      : `, its close time ${span(scp.closeTimeOffsetMs)} from now`;
    add("ledger", !isStale(scp), `slot ${scp.slot}${scp.advancing ? ", and a new one while we listened" : ""}${age}`);
  }
  const own = scp.ownSlot !== undefined;
  add(
    "validating",
    own ? true : expectsValidator ? false : null,
    own ? `its own statements, up to slot ${scp.ownSlot}` : "no statement of its own",
  );
}

function peers(evidence: Evidence, main: Probe, add: Add): void {
  const { peers: sample } = evidence;
  const offered = main.visit.peers?.length ?? 0;
  if (sample === undefined || sample.tried.length === 0) {
    add(
      "peers",
      null,
      offered === 0 ? "it advertised no address" : `it advertised ${offered} addresses; none was tried`,
    );
    return;
  }
  const poor = sampleIsPoor(sample);
  add(
    "peers",
    poor ? false : sample.tried.length > 0 ? true : null,
    `${
      answering(sample)
    } of ${sample.tried.length} sampled addresses answer (${sample.offered} advertised, ${sample.usable} that may be dialed from here)`,
  );
}

/** What the observation says about a node that should be private. An absence proves nothing; an answer does. */
function privacy({ dns, probes }: Evidence, add: Add): void {
  if ("failure" in dns) {
    return add("private", null, "the name does not resolve here, which proves nothing of its addresses");
  }
  const alive = probes.filter((probe) => !isDead(probe));
  if (probes.length === 0) return add("private", null, "nothing was tried");
  if (alive.some(isHello)) {
    return add("private", false, "it answers HELLO to a stranger from here: its node id and address are public");
  }
  if (alive.length > 0) {
    return add(
      "private",
      false,
      "the port accepts connections from here, though no HELLO came: something is reachable",
    );
  }
  add(
    "private",
    true,
    "no TCP connection from here to this address: that says nothing of other addresses, IPv6 or other places, and an absence in crawls proves nothing either",
  );
}

/** A failure with the network's name where it has one. */
function readable(probe: Probe): NonNullable<Probe["visit"]["failure"]> {
  const failure = probe.visit.failure!;
  if (failure.code === "network_mismatch") {
    return { ...failure, ours: networkNameOf(failure.ours), theirs: networkNameOf(failure.theirs) };
  }
  if (failure.code === "silent_close" || failure.code === "wrong_passphrase") {
    return { ...failure, network: networkLabel(probe.question.network) };
  }
  return failure;
}

function ms(value: number): string {
  return value < 10
    ? `${value.toFixed(1)} ms`
    : value < 10_000
    ? `${Math.round(value)} ms`
    : `${(value / 1000).toFixed(1)} s`;
}

/** `12 s`, `5 min`, `3 h`, `40 days`. */
function span(value: number): string {
  if (!Number.isFinite(value)) return "a day";
  if (value < 120_000) return `${Math.round(value / 1000)} s`;
  if (value < 7_200_000) return `${Math.round(value / 60_000)} min`;
  return value < 172_800_000 ? `${Math.round(value / 3_600_000)} h` : `${Math.round(value / 86_400_000)} days`;
}
