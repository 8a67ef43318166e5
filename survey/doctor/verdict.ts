/**
 * From evidence to a diagnosis: one verdict, what it could be as well, and one next step. Pure. The order of the questions is
 * the order in which one cause hides another; docs/doctor.md holds the whole list.
 */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { describeFailure, type Failure, hintFor } from "../../overlay/base/errors.ts";
import { networkLabel, networkNameOf } from "../../overlay/base/networks.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import { type Clocks, clocks } from "./clocks.ts";
import type { Evidence, Probe } from "./evidence.ts";
import { type Finding, findingsOf } from "./findings.ts";
import { codeOf, isDead, isHello, isRefused, wasDropped } from "./next_question.ts";
import { isStale, mainProbe, portAnswers, sampleIsPoor, slowStage } from "./signs.ts";

/** Every verdict there is, and whether the node talks to us: `healthy`, with something to mend (`attention`), or not. */
export const VERDICTS = {
  healthy_validator: "healthy",
  healthy_relay: "healthy",
  reachable_not_relaying: "attention",
  stale_ledger: "attention",
  not_validating: "attention",
  slow: "attention",
  peers_poor: "attention",
  port_unreachable_as_announced: "attention",
  full: "attention",
  own_identity: "attention",
  duplicate_identity: "attention",
  dropped_by_operator: "attention",
  drops_after_admission: "attention",
  clock_skew_ours: "broken",
  clock_skew_theirs: "broken",
  clock_skew: "broken",
  dns_failed: "broken",
  tcp_refused: "broken",
  tcp_timeout: "broken",
  unreachable: "broken",
  not_stellar: "broken",
  closes_before_hello: "broken",
  silent: "broken",
  wrong_network: "broken",
  refuses_silently: "broken",
  banned_identity: "broken",
  version_window: "broken",
  wrong_identity: "broken",
  bad_cert: "broken",
  protocol_fault: "broken",
  handshake_unfinished: "broken",
  refused: "broken",
  interrupted: "broken",
} as const;
/** One of {@link VERDICTS}. */
export type Verdict = keyof typeof VERDICTS;

/** A cause that the protocol does not tell apart from the verdict's own. */
export const CAUSES = {
  address_wrong: "the address is wrong",
  host_down: "the host is down",
  firewall: "a firewall stands in between",
  node_not_running: "the node does not run",
  pending_slots_full: "the node has no free slot for new callers (MAX_PENDING_CONNECTIONS)",
  address_filtered: "our IP address is filtered",
  proxy_without_backend: "a proxy or port forwarding accepts for a node that is not there",
  node_hangs: "the node hangs, or is too busy to read",
  other_service: "another service listens there and waits for its own protocol",
  unknown_network: "it runs a network whose passphrase we do not know",
  banned_as_well: "our identity is banned as well",
  clock_skew_ours: "our clock is wrong",
  clock_skew_theirs: "its clock is wrong",
  cert_not_renewed: "it does not renew its certificate",
  preferred_peers_only: "it admits its preferred peers only (PREFERRED_PEERS_ONLY)",
  altered_in_transit: "something in between alters what is sent",
  broken_implementation: "its implementation is broken",
  overloaded: "the node is overloaded",
  stopping: "the node is stopping or starting",
  out_of_sync: "the node is out of sync or still catching up",
  no_peers: "the node has no peers of its own",
  network_halted: "the network itself does not close ledgers",
  listened_too_short: "ledgers of this network take longer than we listened",
  watcher_by_choice: "the node is configured as a watcher (NODE_IS_VALIDATOR)",
  own_second_connection: "another process uses our identity",
  slow_line: "the line between is slow",
  old_address_book: "the node has met few others and never forgot the dead ones",
  local_firewall: "our own network does not let us out to those addresses",
  nat: "a NAT or port forwarding has another port outside than inside",
  made_room: "it made room for a preferred peer, or looks for better peers while out of sync",
} as const;
/** One of {@link CAUSES}. */
export type Cause = keyof typeof CAUSES;

/** The result of an examination. */
export interface Diagnosis {
  verdict: Verdict;
  /** What the wire does not tell apart from the verdict. */
  couldAlsoBe: Cause[];
  findings: Finding[];
  /** What to do, in one sentence. Text of the remote in it is escaped. */
  next: string;
}

type Named = Pick<Diagnosis, "verdict" | "couldAlsoBe" | "next">;

/** Judges what is known. */
export function diagnose(evidence: Evidence): Diagnosis {
  const findings = findingsOf(evidence);
  const named = judge(evidence);
  return { ...named, findings };
}

function says(verdict: Verdict, next: string, couldAlsoBe: Cause[] = []): Named {
  return { verdict, couldAlsoBe, next };
}

function judge(evidence: Evidence): Named {
  const { dns, probes, case: about } = evidence;
  if ("failure" in dns) {
    if (evidence.interrupted) return says("interrupted", "Run it again and let it finish.");
    return says("dns_failed", "Check the spelling of the name, or give the IP address.");
  }
  const alive = probes.filter((probe) => !isDead(probe));
  if (alive.length === 0) {
    return evidence.interrupted || probes.length === 0 ? interrupted() : noTcp(probes[0], about.port);
  }
  const met = alive.filter(isHello);
  if (met.length === 0) return unknown(evidence, alive);

  const banned = ban(evidence, alive);
  if (banned !== undefined) return banned;
  const time = clocks(evidence);
  const future = met.find((probe) => probe.question.cert === "future" && isRefused(alive, probe));
  if (future !== undefined) return clockVerdict(evidence, time);
  const [asked] = about.networks;
  const elsewhere = met.find((probe) => probe.visit.hello !== undefined && isElsewhere(evidence, probe));
  if (about.networkGiven && elsewhere !== undefined) {
    const theirs = networkNameOf(toHex(elsewhere.visit.hello!.networkId));
    return says(
      "wrong_network",
      `The node is on ${theirs}, not on ${
        networkLabel(asked)
      }: give both the same NETWORK_PASSPHRASE, or ask with --network ${theirs}.`,
    );
  }
  return metVerdict(evidence, met, time);
}

function interrupted(): Named {
  return says("interrupted", "Run it again and let it finish.");
}

/** Nobody accepted TCP. */
function noTcp(first: Probe, port: number): Named {
  switch (first.visit.failure?.code) {
    case "connect_refused":
      return says(
        "tcp_refused",
        `Start the node, or correct the port: nothing listens on ${port} there (stellar-core's PEER_PORT, 11625 by default).`,
        ["node_not_running", "address_wrong", "firewall"],
      );
    case "connect_timeout":
      return says(
        "tcp_timeout",
        `Check the address, and let TCP port ${port} in at the node's firewall or cloud security group.`,
        ["firewall", "host_down", "address_wrong"],
      );
    default:
      return says("unreachable", "Check the route to that address: this machine's network, VPN and firewall.", [
        "firewall",
        "host_down",
      ]);
  }
}

/** It accepted TCP, and no HELLO that holds came. */
function unknown(evidence: Evidence, alive: Probe[]): Named {
  const last = alive.at(-1)!, { failure } = last.visit;
  const { networks: [asked], networkGiven } = evidence.case;
  switch (failure?.code) {
    case "not_stellar":
      return says("not_stellar", sentence(hintFor(failure)));
    case "closed_before_hello":
      return says(
        "closes_before_hello",
        "Try again later; if it stays so, ask its operator about MAX_PENDING_CONNECTIONS and about filters for our IP address.",
        ["pending_slots_full", "address_filtered", "proxy_without_backend"],
      );
    case "no_answer":
      return says("silent", "Look at the node's log and load, and check that the port is its PEER_PORT.", [
        "node_hangs",
        "proxy_without_backend",
        "other_service",
      ]);
    case "silent_close":
      return evidence.interrupted ? interrupted() : says(
        "refuses_silently",
        networkGiven
          ? `Compare the NETWORK_PASSPHRASE of both: it reads our HELLO and closes, on ${
            networkLabel(asked)
          } as on every known network, for a fresh identity and any certificate.`
          : "Name its passphrase with --network: it reads our HELLO and closes on every known network, for any identity and certificate.",
        ["unknown_network", "stopping", "broken_implementation"],
      );
    case "bad_cert":
    case "bad_key":
    case "network_mismatch":
      return says(
        "bad_cert",
        "Look for a proxy that alters HELLO between here and there; without one, its implementation signs wrongly.",
        ["altered_in_transit", "broken_implementation"],
      );
    case undefined:
    case "local_close":
      return interrupted();
    default:
      return fault(failure!);
  }
}

function fault(failure: Failure): Named {
  return says("protocol_fault", sentence(`report this to its developers: ${describeFailure(failure)}`), [
    "broken_implementation",
    "altered_in_transit",
  ]);
}

/** The given identity is refused where a fresh one is not. */
function ban(evidence: Evidence, alive: Probe[]): Named | undefined {
  if (!evidence.case.identityGiven && !wasDropped(alive)) return undefined;
  const proof = alive.find(({ question, visit }) =>
    question.identity === "fresh" && question.cert === "now" && visit.hello !== undefined &&
    isRefused(alive, { question })
  );
  if (proof === undefined) return undefined;
  return says(
    "banned_identity",
    "Ask the node's operator to lift the ban (stellar-core: unban?node=G...), or use another node id.",
  );
}

function clockVerdict(evidence: Evidence, time: Clocks): Named {
  const given = evidence.probes.filter(({ question }) => question.identity === "given" && question.cert === "future");
  const alsoBanned: Cause[] = evidence.case.identityGiven && given.some((probe) => codeOf(probe) === "silent_close")
    ? ["banned_as_well"]
    : [];
  switch (time.whose) {
    case "ours":
      return says(
        "clock_skew_ours",
        `Set the clock of this machine${by(time)} (NTP), then run doctor again.`,
        alsoBanned,
      );
    case "theirs":
      return says(
        "clock_skew_theirs",
        `Set the clock of the node's machine${by(time)} (NTP): auth certificates live one hour.`,
        time.renewal ? ["cert_not_renewed", ...alsoBanned] : alsoBanned,
      );
    default:
      return says(
        "clock_skew",
        "Compare the clocks of both machines with NTP: auth certificates live one hour.",
        ["clock_skew_ours", "clock_skew_theirs", ...(time.renewal ? ["cert_not_renewed" as const] : []), ...alsoBanned],
      );
  }
}

function by(time: Clocks): string {
  if (time.aheadMs === undefined) return "";
  const minutes = Math.round(Math.abs(time.aheadMs) / 60_000);
  if (minutes === 0) return "";
  return `, which is ${time.exact ? "about" : "at least"} ${minutes} min ${time.aheadMs > 0 ? "ahead" : "behind"}`;
}

function isElsewhere(evidence: Evidence, probe: Probe): boolean {
  const { networks: [asked] } = evidence.case;
  return probe.question.network.passphrase !== asked.passphrase || probe.visit.failure?.code === "network_mismatch" ||
    probe.visit.failure?.code === "wrong_passphrase";
}

/** It said who it is. The last full conversation decides, unless an earlier one was refused for who we are. */
function metVerdict(evidence: Evidence, met: Probe[], time: Clocks): Named {
  const { case: about } = evidence;
  const main = mainProbe(evidence)!;
  const { hello, nodeId } = main.visit;
  if (about.expectedNodeId !== undefined && nodeId !== about.expectedNodeId) {
    return says("wrong_identity", `Correct the address or the node id: ${nodeId} answers there.`);
  }
  const codes = met.map(codeOf);
  if (codes.includes("wrong_version") || codes.includes("version_mismatch")) {
    return says(
      "version_window",
      about.narrowVersions
        ? `Run a release whose overlay versions meet ${hello!.overlayMinVersion}-${
          hello!.overlayVersion
        }: the older side must upgrade.`
        : `It announces overlay versions ${hello!.overlayMinVersion}-${
          hello!.overlayVersion
        }, which meet no release: upgrade this tool, or correct the node.`,
    );
  }
  if (codes.includes("connecting_to_self") && !about.isOwn) {
    return says(
      "own_identity",
      "Give the two nodes different seeds: this one answers with the identity you asked with.",
    );
  }
  if (codes.includes("already_connected") && about.identityGiven) {
    return says(
      "duplicate_identity",
      "Nothing to mend if your node is connected there now; otherwise find the other process that uses its seed.",
      ["own_second_connection"],
    );
  }
  const last = met.at(-1)!, { failure } = last.visit;
  if (main.visit.state === "full") {
    return says(
      "full",
      "Try again later, or ask its operator to raise MAX_ADDITIONAL_PEER_CONNECTIONS or to prefer you.",
      [
        "preferred_peers_only",
      ],
    );
  }
  if (wasDropped(met)) return droppedVerdict(met);
  switch (failure?.code) {
    case undefined:
    case "local_close":
      break;
    case "handshake_timeout":
    case "closed_after_hello":
    case "no_answer":
      return says("handshake_unfinished", "Look at the node's log and load for this minute.", [
        "overloaded",
        "stopping",
        "altered_in_transit",
      ]);
    case "network_mismatch":
    case "wrong_passphrase": {
      const id = networkNameOf(toHex(hello!.networkId));
      return says("wrong_network", `The node is on the network with id ${id}: name its passphrase with --network.`);
    }
    case "bad_cert":
    case "bad_key":
      return says("bad_cert", sentence(hintFor(failure)), ["altered_in_transit", "broken_implementation"]);
    case "dropped_by_remote":
    case "already_connected":
    case "connecting_to_self":
    case "peer_rejected":
      if (failure.code === "connecting_to_self" && about.isOwn) break;
      return says("refused", sentence(refusal(failure)));
    default:
      return fault(failure!);
  }
  if (evidence.interrupted) return interrupted();
  return healthVerdict(evidence, main, time);
}

function refusal(failure: Failure): string {
  const text = "text" in failure && failure.text !== "" ? ` "${escapeRemoteText(failure.text)}"` : "";
  return `it refused us${text}: look at its log for this moment`;
}

function droppedVerdict(met: Probe[]): Named {
  const failure = met.find((probe) => probe.visit.state === "dropped")!.visit.failure!;
  if (failure.code === "dropped_by_remote" && failure.text === "dropped by user") {
    return says(
      "dropped_by_operator",
      "Ask the node's operator why: droppeer ended our connection, without a ban so far.",
    );
  }
  const text = "text" in failure && failure.text !== "" ? ` ("${escapeRemoteText(failure.text)}")` : "";
  return says(
    "drops_after_admission",
    `Look at the node's log: it admitted us and then ended the connection${text}.`,
    ["made_room", "overloaded", "stopping", "broken_implementation"],
  );
}

/** The handshake is complete: what else is wrong, the worst first. */
function healthVerdict(evidence: Evidence, main: Probe, time: Clocks): Named {
  if (time.whose !== undefined) return clockVerdict(evidence, time);
  const { scp } = main, { case: about } = evidence;
  if (scp === undefined || scp.otherSigners === 0) {
    return says(
      "reachable_not_relaying",
      "Ask its operator whether it is in sync (stellar-core: info): a connection to it brings you no ledgers.",
      ["out_of_sync", "no_peers", "network_halted", "listened_too_short"],
    );
  }
  if (isStale(scp)) {
    return says(
      "stale_ledger",
      "Ask its operator whether it is in sync (stellar-core: info): what it tells of the ledger is old.",
      ["out_of_sync", "network_halted", "no_peers"],
    );
  }
  const validates = scp.ownSlot !== undefined && scp.slot !== undefined && scp.ownSlot >= scp.slot - BEHIND_SLOTS;
  if (about.expectsValidator && !validates) {
    return says(
      "not_validating",
      "Check NODE_IS_VALIDATOR, NODE_SEED and the node's sync state: no statement of its own arrives.",
      [
        "watcher_by_choice",
        "out_of_sync",
      ],
    );
  }
  const late = slowStage(evidence);
  if (late !== undefined) {
    return says(
      "slow",
      `Look at the node's load: its ${late.stage} took ${
        Math.round(late.ms)
      } ms, and stellar-core gives up on a handshake that is silent for 2 s.`,
      ["overloaded", "slow_line"],
    );
  }
  if (portAnswers(evidence) === false) {
    const port = main.visit.hello!.listeningPort;
    return says(
      "port_unreachable_as_announced",
      `Set PEER_PORT and the port forwarding to one port: it announces ${port}, where others will not find it.`,
      ["nat", "firewall"],
    );
  }
  if (evidence.peers !== undefined && sampleIsPoor(evidence.peers)) {
    return says("peers_poor", "Use other nodes to find peers: hardly any address it advertises answers.", [
      "old_address_book",
      "local_firewall",
    ]);
  }
  return validates
    ? says("healthy_validator", "Nothing to do: it admits us, relays the current ledger and validates.")
    : says(
      "healthy_relay",
      "Nothing to do: it admits us and relays the current ledger; it makes no statements of its own.",
    );
}

/** Slots a validator may be behind the newest and still count as validating. As in the crawl's report. */
const BEHIND_SLOTS = 3n;

/** A hint as a sentence. */
function sentence(text: string): string {
  const full = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(full) ? full : `${full}.`;
}
