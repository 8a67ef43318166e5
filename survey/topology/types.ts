/**
 * What a surveyor learned of a network. Field names of a node and of its peers are those of `getsurveyresult`, so that they
 * mean the same in every file. Source: stellar-core SurveyManager.cpp processTimeSlicedTopologyResponse, recordTimeSlicedLinkData.
 */

/** A surveyed node's own figures over the slice, the time between START and STOP as that node saw them. All are uint32. */
export interface NodeData {
  /** Peers authenticated during the slice. */
  addedAuthenticatedPeers: number;
  /** Authenticated peers lost during the slice. */
  droppedAuthenticatedPeers: number;
  /** Length of the whole inbound list: only peers connected during the whole slice count. */
  numTotalInboundPeers: number;
  /** Length of the whole outbound list. */
  numTotalOutboundPeers: number;
  /** 75th percentile in ms: first EXTERNALIZE seen for a slot, to the node's own externalize. */
  p75SCPFirstToSelfLatencyMs: number;
  /** 75th percentile in ms: EXTERNALIZE of others that came after the node's own. */
  p75SCPSelfToOtherLatencyMs: number;
  /** Times the node lost sync; 1 more when it was out of sync at START. */
  lostSyncCount: number;
  /** Configuration of the node: NODE_IS_VALIDATOR. */
  isValidator: boolean;
  /** Configuration: MAX_ADDITIONAL_PEER_CONNECTIONS. */
  maxInboundPeerCount: number;
  /** Configuration: TARGET_PEER_CONNECTIONS. */
  maxOutboundPeerCount: number;
}

/**
 * One connection as one of its two ends reported it: what that end read from and wrote to the peer named here. All counters
 * are differences over the slice and 64 bits wide, except that `secondsConnected` counts from the connection's beginning.
 */
export interface PeerData {
  /** The peer, "G...". */
  nodeId: string;
  /** The peer's version string from its HELLO: remote text, escape before showing. */
  version: string;
  messagesRead: bigint;
  messagesWritten: bigint;
  /** Wire bytes, the 4-byte headers included. */
  bytesRead: bigint;
  bytesWritten: bigint;
  secondsConnected: bigint;
  /** Flood messages the end had not seen before from anyone, as bytes of StellarMessage. */
  uniqueFloodBytesRecv: bigint;
  duplicateFloodBytesRecv: bigint;
  /** Transaction sets and quorum sets the end had not seen before. */
  uniqueFetchBytesRecv: bigint;
  duplicateFetchBytesRecv: bigint;
  uniqueFloodMessageRecv: bigint;
  duplicateFloodMessageRecv: bigint;
  uniqueFetchMessageRecv: bigint;
  duplicateFetchMessageRecv: bigint;
  /** Median ping in ms, whatever its name says; 0 without samples. uint32. */
  averageLatencyMs: number;
  /** Fields a foreign file did not have; they are 0 or "" here, mean nothing, and are left out when written. */
  absent?: readonly string[];
}

/** One node's answer, or what was merged of its pages so far. */
export interface SurveyedNode {
  /** "G...". */
  nodeId: string;
  data: NodeData;
  /** Peers that dialed this node. */
  inboundPeers: PeerData[];
  /** Peers this node dialed. */
  outboundPeers: PeerData[];
  /** Fields of `data` a foreign file did not have; they are 0 or false here, mean nothing, and are left out when written. */
  absent?: readonly string[];
}

/**
 * What became of asking a node. `answered`: at least its first page came. `silent`: asked, nothing came. `unreachable`: asked,
 * and no relay can have passed it on. `bad`: an answer came that could not be opened or read. `pending`: not asked yet, or
 * still waited for.
 */
export type AskState = "answered" | "silent" | "unreachable" | "bad" | "pending";

/** A link that a file names without anybody's report of it. */
export interface LooseLink {
  /** The one that dialed, when `directed`. */
  from: string;
  to: string;
  /** Whether the file says who dialed whom. */
  directed: boolean;
}

/** A value that a node attribute of a foreign file may have. */
export type Attribute = string | number | boolean | AttributeObject;
/** Nested attribute values, as in the `radar_geoData` of a flattened file. */
export type AttributeObject = { [key: string]: Attribute | null } | (Attribute | null)[];

/**
 * A survey as files hold it and analysis reads it. What a file did not say is undefined or empty.
 * BOUNDED by what was surveyed or read: maps hold nodes that were asked or named by one that answered.
 */
export interface SurveyDocument {
  /** Names the survey on the network. uint32. */
  nonce?: number;
  /** Node id of the surveyor. */
  surveyor?: string;
  /** Network name or passphrase. */
  network?: string;
  /** START and STOP by the surveyor's clock, Unix ms; their difference is the slice. */
  startedAtMs?: number;
  stoppedAtMs?: number;
  /** Length of the slice in ms where the two instants are not known but it is. See {@link sliceMsOf}. */
  sliceMs?: number;
  /** Nodes that answered, by node id. */
  nodes: Map<string, SurveyedNode>;
  /** What became of every node that was asked or is to be asked, by node id. */
  states: Map<string, AskState>;
  /** Nodes known to have joined after START: they can neither answer nor relay in this survey. */
  lateJoiners: Set<string>;
  /**
   * Version strings known otherwise than from a peer list, by node id: the surveyor's own, a HELLO's. Remote text. The nodes
   * here belong to the graph even when nothing else names them.
   */
  versions: Map<string, string>;
  /** Node attributes that are not the survey's, passed through: `radar_*`, `isTier1`. By node id, then by attribute. */
  attributes: Map<string, Record<string, Attribute>>;
  /** Links that no list holds, from files that keep no reports; see also `linksOf`, which gives all links. */
  looseLinks: LooseLink[];
  /**
   * What a link missing from a list means. `perSide`: lists are what their node reported, so it means the node did not see it.
   * `onePerLink`: the file kept one report of each link, in the list of the end that made it. `unattributed`: one report of
   * each link, and who made it is known only where one end answered; otherwise it stands at the end that was dialed. `none`:
   * the file has no reports.
   */
  linkReports: "perSide" | "onePerLink" | "unattributed" | "none";
}

/** A document that holds nothing yet. */
export function emptyDocument(): SurveyDocument {
  return {
    nodes: new Map(),
    states: new Map(),
    lateJoiners: new Set(),
    versions: new Map(),
    attributes: new Map(),
    looseLinks: [],
    linkReports: "perSide",
  };
}

/** Length of the slice in ms, when the document tells it. */
export function sliceMsOf(document: SurveyDocument): number | undefined {
  const { startedAtMs, stoppedAtMs, sliceMs } = document;
  return startedAtMs !== undefined && stoppedAtMs !== undefined && stoppedAtMs > startedAtMs
    ? stoppedAtMs - startedAtMs
    : sliceMs;
}

/** The figures of a node that are numbers: all but `isValidator`. */
export const NODE_NUMBERS = [
  "addedAuthenticatedPeers",
  "droppedAuthenticatedPeers",
  "numTotalInboundPeers",
  "numTotalOutboundPeers",
  "p75SCPFirstToSelfLatencyMs",
  "p75SCPSelfToOtherLatencyMs",
  "lostSyncCount",
  "maxInboundPeerCount",
  "maxOutboundPeerCount",
] as const satisfies readonly (keyof NodeData)[];

/** The 64-bit counters of a peer. */
export const PEER_COUNTERS = [
  "messagesRead",
  "messagesWritten",
  "bytesRead",
  "bytesWritten",
  "secondsConnected",
  "uniqueFloodBytesRecv",
  "duplicateFloodBytesRecv",
  "uniqueFetchBytesRecv",
  "duplicateFetchBytesRecv",
  "uniqueFloodMessageRecv",
  "duplicateFloodMessageRecv",
  "uniqueFetchMessageRecv",
  "duplicateFetchMessageRecv",
] as const satisfies readonly (keyof PeerData)[];
