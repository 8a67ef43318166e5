/**
 * What `doctor` asks and what it learned: plain data between the effects (probes.ts) and the decisions (next_question.ts,
 * findings.ts, verdict.ts), which are pure and tested as tables.
 */
import type { Failure } from "../../overlay/base/errors.ts";
import type { Network } from "../../overlay/base/networks.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import type { Visit } from "../probe/visit.ts";
import type { ScpEvidence } from "./scp_evidence.ts";

/** One question to the target: who we are this time, and how far to go. */
export interface Question {
  to: Endpoint;
  network: Network;
  /** `given` is the identity the user named (a fresh one when none was), `fresh` one nobody can have banned. */
  identity: "given" | "fresh";
  /** `future`: a certificate that no clock takes for expired. No expiration is too far away for stellar-core. */
  cert: "now" | "future";
  /** `own`: the overlay versions the user asked about; `wide`: every version there is. */
  versions: "own" | "wide";
  /** `hello` leaves when the HELLO is there, `full` stays for AUTH, PEERS and SCP. */
  depth: "hello" | "full";
  /** Multiplies all handshake timeouts. */
  patience: 1 | 3;
}

/** A question and what came of it. */
export interface Probe {
  question: Question;
  visit: Visit;
  /** What it said about the ledger; undefined when it did not come that far. */
  scp: ScpEvidence | undefined;
}

/** What became of the addresses that the target advertised. */
export interface PeersSample {
  /** Entries of PEERS, and how many of them may be dialed from here. */
  offered: number;
  usable: number;
  /** Each address that was tried: whether a node answered HELLO there. */
  tried: { address: string; answered: boolean; code: Failure["code"] | null }[];
}

/** Who the user asked about and how; constant while the doctor works. */
export interface Case {
  /** The target as the user wrote it. */
  target: string;
  port: number;
  /** The networks to try, in order; the first alone counts as right when the user named one. */
  networks: readonly Network[];
  networkGiven: boolean;
  /** The user named an identity: bans can be told from other silence. */
  identityGiven: boolean;
  /** `G...` that must answer. */
  expectedNodeId: string | undefined;
  /** The target is the user's own node: it is expected to have the given identity. */
  isOwn: boolean;
  /** The node should validate. */
  expectsValidator: boolean;
  /** The user's own versions are narrower than everything. */
  narrowVersions: boolean;
  /** The node should not be reachable. */
  private: boolean;
}

/** All that is known. */
export interface Evidence {
  case: Case;
  /** Addresses of the target's name, at most {@link MAX_HOSTS}; a failure when there are none. */
  dns: { hosts: string[]; ms: number } | { failure: Failure };
  /** In the order they were made. BOUNDED: MAX_PROBES. */
  probes: Probe[];
  peers: PeersSample | undefined;
  /** The dial to the port the target announces, when that is not the one we dialed. */
  announced: Probe | undefined;
  /** The user ended it. */
  interrupted: boolean;
}

/** Addresses of one name that are tried. */
export const MAX_HOSTS = 3;
/** Connections to the target itself, the announced port excepted. */
export const MAX_PROBES = 14;
