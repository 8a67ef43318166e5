/** One node of the twin on paper, and the ways it may treat a caller. */
import type { Endpoint } from "../../overlay/transport/transport.ts";

/** How a node treats callers from outside the fleet. */
export const BEHAVIOURS = [
  /** Admits everybody. */
  "reachable",
  /** Gives AUTH and PEERS, then ERR_LOAD `peer rejected`. */
  "full",
  /** Admits everybody; each of its writes comes some hundred ms late. */
  "slow",
  /** Accepts TCP and never says a word. */
  "silent",
  /** Has banned everybody it does not know: closes after HELLO without a word. */
  "banning",
  /** Runs another network. */
  "other-network",
  /** Announces overlay versions that meet nobody's: HELLO, then ERR_CONF `wrong protocol version`. */
  "other-version",
  /** Another service listens there: HTTP, TLS or SSH. */
  "not-stellar",
] as const;
/** One of {@link BEHAVIOURS}. */
export type Behaviour = (typeof BEHAVIOURS)[number];

/** Whether a node takes part in the twin's network: it has connections, answers PEERS and relays. */
export function isLive(behaviour: Behaviour): boolean {
  return behaviour === "reachable" || behaviour === "full" || behaviour === "slow";
}

/** Entries of an address book. Upstream sends at most 50 at random, so a book of 50 is told completely. */
export const MAX_BOOK = 50;

/** Services that a "not-stellar" address may turn out to be. */
export type Service = "http" | "tls" | "ssh";

/** What a node does when the network is surveyed. One without a role sees START, passes everything on and answers. */
export const SURVEY_ROLES = [
  /** Permits nobody: neither answers nor passes survey messages on. */
  "opted-out",
  /** Is not there when the twin starts, and joins once a survey has begun: it never saw START. */
  "late",
  /** Stops once a survey has begun, and comes back without a memory of it. */
  "restarting",
] as const;
/** One of {@link SURVEY_ROLES}. */
export type SurveyRole = (typeof SURVEY_ROLES)[number];

/** One node of the twin. */
export interface TwinNodePlan {
  index: number;
  /** Unique; `node-17`, or the name in the topology file. */
  name: string;
  host: string;
  port: number;
  /** 32-byte Ed25519 seed. */
  seed: Uint8Array;
  behaviour: Behaviour;
  passphrase: string;
  versionStr: string;
  overlayVersion: number;
  overlayMinVersion: number;
  ledgerVersion: number;
  validator: boolean;
  /** How late a validator is with each statement, ms. */
  lagMs: number;
  /** How late a slow node is with each write, ms; 0 for all others. */
  answerDelayMs: number;
  /** What listens there when "not-stellar". */
  service: Service;
  /** What PEERS says, at most {@link MAX_BOOK} entries. */
  book: Endpoint[];
  /** Indices of the nodes it connects to when the twin starts. */
  links: number[];
  /** Only of nodes that take part in the network. */
  surveyRole?: SurveyRole;
  /** Ledgers it is behind the network when it judges survey messages; within 6 they are good. Default 0. */
  lagLedgers?: number;
}

/** The whole twin. */
export interface TwinPlan {
  passphrase: string;
  seed: string;
  nodes: TwinNodePlan[];
  /** Indices of the nodes to start a crawl from; all are reachable unless a topology file says otherwise. */
  seeds: number[];
  /** Node ids, `G...`, of those who may survey the network. Absent: nobody may, and nodes ignore survey messages. */
  surveyorKeys?: readonly string[];
}

/** Where a node listens. */
export function endpointOf(node: Endpoint): Endpoint {
  return { host: node.host, port: node.port };
}
