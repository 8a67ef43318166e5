/** Lines for a stellar-core configuration, from whatever knows peers that accept us. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { count } from "./style.ts";

/** A peer that accepted us. */
export interface GoodPeer {
  /** `host:port`. */
  address: string;
  nodeId: string | null;
  rttMs: number | null;
  /** Text of the remote. */
  versionStr: string | null;
  /** More for the comment. */
  note?: string;
}

/**
 * `KNOWN_PEERS=[...]`, in the order given, below a comment: "N nodes TITLE". One line per node; addresses that stellar-core
 * cannot read, which are those of IPv6, are left out and counted. Source: stellar-core PeerBareAddress.cpp.
 */
export function renderKnownPeers(peers: readonly GoodPeer[], title: string): string {
  const seen = new Set<string>();
  const distinct = peers.filter(({ nodeId, address }) => {
    const key = nodeId ?? address;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  const usable = distinct.filter(({ address }) => !address.startsWith("["));
  const left = distinct.length - usable.length;
  const lines = usable.map(({ address, nodeId, rttMs, versionStr, note }) => {
    const facts = [
      nodeId ?? "",
      rttMs === null ? "" : `${rttMs.toFixed(1)} ms`,
      note ?? "",
      escapeRemoteText(versionStr ?? ""),
    ].filter((fact) => fact !== "");
    return `  "${address}",${facts.length === 0 ? "" : ` # ${facts.join(", ")}`}\n`;
  });
  const without = left === 0 ? "" : `# ${count(left, "node")} left out: stellar-core does not read IPv6 addresses\n`;
  return `# ${count(usable.length, "node")} ${title}\n${without}KNOWN_PEERS=[\n${lines.join("")}]\n`;
}
