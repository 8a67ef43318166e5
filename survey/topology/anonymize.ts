/**
 * A survey made fit to share: node ids replaced, names and addresses dropped, graph and figures unchanged. It hides names, not
 * shape: who knows a node's degree, neighbours or traffic may find it again. docs/survey-files.md says what remains.
 */
import { encodeText } from "../../overlay/base/bytes.ts";
import { NETWORKS } from "../../overlay/base/networks.ts";
import { macKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { sortPeers } from "./merge.ts";
import { emptyDocument, type PeerData, sliceMsOf, type SurveyDocument } from "./types.ts";

/** Seeds shorter than this can be found by trying: node ids are public, so a guess is easily checked. */
export const SAFE_SEED_LENGTH = 16;

/** What {@link anonymize} may keep. */
export interface AnonymizeOptions {
  /** `release` (default): version strings cut down to their release, `v22.1.0`; what has none becomes `other`. `drop`: all become `other`. */
  versions?: "release" | "drop";
}

/** The id a node gets: HMAC-SHA256 of its id with the seed as key, as a node id. The same seed gives the same id in every file. */
export function anonymousIds(seed: string): (nodeId: string) => string {
  const key = macKey(encodeText(seed));
  // BOUNDED by the nodes of the documents it is used on.
  const known = new Map<string, string>();
  return (nodeId) => {
    let id = known.get(nodeId);
    if (id === undefined) {
      known.set(nodeId, id = encodeNodeId(key.mac(encodeText(`stellar-overlay anonymize\n${nodeId}`))));
    }
    return id;
  };
}

/** The release in a version string, without commit, build or name. */
export function releaseOf(version: string): string {
  const release = /\bv?(\d+\.\d+\.\d+(?:[-.]?(?:rc|alpha|beta)\.?\d*)?)/.exec(version);
  return release === null ? "other" : `v${release[1]}`;
}

/**
 * The document under other names. Dropped: foreign attributes (`radar_*` names, places and addresses), the nonce, a network
 * that is not a well-known one, the instants (the length of the slice stays). Everything is sorted anew, so that the order of
 * entries tells nothing.
 */
export function anonymize(document: SurveyDocument, seed: string, options: AnonymizeOptions = {}): SurveyDocument {
  const idOf = anonymousIds(seed);
  const drop = options.versions === "drop";
  const versionOf = (version: string) => drop ? "other" : releaseOf(version);
  const peerOf = (peer: PeerData): PeerData => ({
    ...peer,
    nodeId: idOf(peer.nodeId),
    version: peer.absent?.includes("version") ? "" : versionOf(peer.version),
  });
  const result = emptyDocument();
  const sorted = <V>(map: ReadonlyMap<string, V>): [string, V][] =>
    [...map].map(([id, value]): [string, V] => [idOf(id), value]).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [nodeId, node] of sorted(document.nodes)) {
    result.nodes.set(nodeId, {
      ...node,
      nodeId,
      inboundPeers: sortPeers(node.inboundPeers.map(peerOf)),
      outboundPeers: sortPeers(node.outboundPeers.map(peerOf)),
    });
  }
  result.states = new Map(sorted(document.states));
  result.lateJoiners = new Set([...document.lateJoiners].map(idOf).sort());
  for (const [id, version] of sorted(document.versions)) result.versions.set(id, versionOf(version));
  result.looseLinks = document.looseLinks
    .map(({ from, to, directed }) => {
      const [a, b] = [idOf(from), idOf(to)];
      return directed || a < b ? { from: a, to: b, directed } : { from: b, to: a, directed };
    })
    .sort((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1));
  result.linkReports = document.linkReports;
  const known = NETWORKS.find(({ name, passphrase }) => [name, passphrase].includes(document.network ?? ""));
  if (known !== undefined) result.network = known.name;
  if (document.surveyor !== undefined) result.surveyor = idOf(document.surveyor);
  const sliceMs = sliceMsOf(document);
  if (sliceMs !== undefined) result.sliceMs = sliceMs;
  return result;
}
