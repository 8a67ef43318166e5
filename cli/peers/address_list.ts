/**
 * Lists of addresses as others write them: what `peers export` writes, the JSON of a crawl, the JSON of stellar-core's `peers`,
 * a stellar-core configuration or lines of one, and plain lists. See docs/peers.md.
 */
import { type CoreConfig, parseCoreConfig } from "../../overlay/base/core_config.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { parseTarget, type PeerAddress } from "../../overlay/base/peer_address.ts";
import type { PeerType } from "../../overlay/db/peer_manager.ts";
import { targetsOfText, UsageError } from "../flags.ts";

/** An address of a list. What the list says nothing of is absent. */
export interface ListedPeer {
  address: PeerAddress;
  type?: PeerType;
  failures?: number;
  /** Ms since the Unix epoch. */
  nextAttemptAt?: number;
}

/** What a list holds. */
export interface PeerList {
  peers: ListedPeer[];
  /** The network that the list says it is of. */
  networkPassphrase?: string;
  /** Entries left out, a sentence each. */
  warnings: string[];
}

const HINT =
  "one host:port per line, CSV or JSON of peers export, the JSON of a crawl, or a stellar-core configuration";
const TYPES: readonly string[] = ["inbound", "outbound", "preferred"];

/** Reads a list; `source` names it in errors. @throws UsageError, OverlayError `config_invalid` */
export async function peersOfText(text: string, source: string): Promise<PeerList> {
  // A line of TOML may begin with [ too, but not a configuration that has what is looked for here.
  if (/^\s*(KNOWN_PEERS|PREFERRED_PEERS|NETWORK_PASSPHRASE|VALIDATORS)\s*=|^\s*\[\[VALIDATORS\]\]/m.test(text)) {
    return peersOfConfig(await parseCoreConfig(text, source));
  }
  if (/^\s*[[{]/.test(text)) return { peers: peersOfJson(text, source), warnings: [] };
  if (/^address,/.test(text)) return { peers: peersOfCsv(text, source), warnings: [] };
  return { peers: targetsOfText(text, source).map(({ address }) => ({ address })), warnings: [] };
}

function peersOfConfig({ knownPeers, preferredPeers, networkPassphrase, warnings }: CoreConfig): PeerList {
  const peers: ListedPeer[] = [
    ...knownPeers.map((address) => ({ address, type: "outbound" as const })),
    ...preferredPeers.map((address) => ({ address, type: "preferred" as const })),
  ];
  return { peers, networkPassphrase, warnings: [...warnings] };
}

function peersOfJson(text: string, source: string): ListedPeer[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${source}: ${(error as Error).message}`, HINT);
  }
  if (Array.isArray(document)) return document.map((entry, i) => peerOfJson(entry, `${source}: entry ${i + 1}`));
  const { schema, peers, authenticated_peers: ofCore } = document as Record<string, unknown>;
  if (typeof schema === "string" && schema.startsWith("stellar-overlay/crawl/")) {
    return targetsOfText(text, source).map(({ address }) => ({ address }));
  }
  if (typeof schema === "string" && schema.startsWith("stellar-overlay/peers/") && Array.isArray(peers)) {
    return peers.map((entry, i) => peerOfJson(entry, `${source}: peer ${i + 1}`));
  }
  if (typeof ofCore === "object" && ofCore !== null) {
    const { inbound, outbound } = ofCore as Record<string, unknown>;
    return [...listOf(outbound), ...listOf(inbound)].map((entry, i) => peerOfJson(entry, `${source}: peer ${i + 1}`));
  }
  throw new UsageError(`${source}: it is JSON, but none that holds addresses`, HINT);
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function peerOfJson(entry: unknown, where: string): ListedPeer {
  if (typeof entry === "string") return { address: addressOf(entry, where) };
  const { address, type, failures, nextAttemptAt } = (entry ?? {}) as Record<string, unknown>;
  if (typeof address !== "string") throw new UsageError(`${where}: it has no address`, HINT);
  const peer: ListedPeer = { address: addressOf(address, where) };
  const atMs = typeof nextAttemptAt === "string" ? Date.parse(nextAttemptAt) : NaN;
  // Only what a node's own book said; what crawls found has no type.
  if (typeof type === "string" && TYPES.includes(type)) {
    peer.type = type as PeerType;
    if (Number.isSafeInteger(failures) && Number(failures) >= 0) peer.failures = Number(failures);
    if (Number.isFinite(atMs)) peer.nextAttemptAt = atMs;
  }
  return peer;
}

/** The first two columns of the CSV of `peers export`: neither is ever quoted. */
function peersOfCsv(text: string, source: string): ListedPeer[] {
  const [head, ...rows] = text.split(/\r?\n/);
  const hasType = head.split(",")[1] === "type";
  return rows.flatMap((row, i) => {
    if (row === "") return [];
    const [address, type] = row.split(",", 2);
    const peer: ListedPeer = { address: addressOf(address, `${source} line ${i + 2}`) };
    if (hasType && TYPES.includes(type)) peer.type = type as PeerType;
    return peer;
  });
}

/** @throws UsageError */
function addressOf(text: string, where: string): PeerAddress {
  try {
    return parseTarget(text).address;
  } catch (error) {
    if (error instanceof OverlayError) throw new UsageError(`${where}: ${describeFailure(error.failure)}`, error.hint);
    throw error;
  }
}
