/**
 * Whose clock is wrong, as far as two sources tell: the certificate (lives one hour, is renewed when half is left) compares the
 * node's clock with ours, and close times in SCP compare the network's time with ours. Pure.
 * Source: stellar-core PeerAuth.cpp getAuthCert; Herder.h MAX_TIME_SLIP_SECONDS.
 */
import { certificateFacts } from "../probe/connect.ts";
import type { Evidence } from "./evidence.ts";
import { isHello, isRefused } from "./next_question.ts";
import { mainProbe, STALE_MS } from "./signs.ts";

/** What is known of the two clocks. */
export interface Clocks {
  /** Undefined: nothing is wrong that could be seen. */
  whose: "ours" | "theirs" | "unknown" | undefined;
  /** How far the wrong clock is ahead, ms; a bound unless `exact`. Of `unknown`: theirs minus ours. */
  aheadMs: number | undefined;
  exact: boolean;
  /** A node that never renews its certificate would look the same. */
  renewal: boolean;
  /** Their clock minus ours lies in this range, ms; undefined without a usual certificate. */
  theirsAhead: { minMs: number; maxMs: number } | undefined;
  /** The network's time minus ours, ms; undefined without a live SCP. */
  networkAheadMs: number | undefined;
}

/** stellar-core accepts close times this far ahead of its clock: a clock that is off by more breaks consensus. */
export const MAX_TIME_SLIP_MS = 60_000;
/** The life of stellar-core's certificates: ours looks expired to a clock that is ahead by more. */
const CERT_LIFE_MS = 3_600_000;

/** Compares the clocks. */
export function clocks(evidence: Evidence): Clocks {
  const met = evidence.probes.filter(isHello);
  const main = mainProbe(evidence) ?? met.at(-1);
  const none: Clocks = {
    whose: undefined,
    aheadMs: undefined,
    exact: false,
    renewal: false,
    theirsAhead: undefined,
    networkAheadMs: undefined,
  };
  if (main === undefined) return none;
  const { hello, helloAtMs } = main.visit;
  const facts = certificateFacts(hello!, helloAtMs!);
  // A usual certificate within a day tells both bounds; beyond a day only that something is far off.
  const theirsAhead = facts.clockAheadMinMs === null
    ? facts.leftMs < 0 ? { minMs: -Infinity, maxMs: facts.leftMs - CERT_LIFE_MS / 2 } : undefined
    : { minMs: facts.clockAheadMinMs, maxMs: facts.clockAheadMaxMs! };
  const networkAheadMs = networkTime(evidence);
  const known = { ...none, theirsAhead, networkAheadMs };

  const oursOff = networkAheadMs !== undefined && Math.abs(networkAheadMs) > MAX_TIME_SLIP_MS;
  if (oursOff) return { ...known, whose: "ours", aheadMs: -networkAheadMs, exact: true };
  // Our certificate was taken for expired: the node's clock is ahead of ours by an hour at least.
  const refused = met.some((probe) => probe.question.cert === "future" && isRefused(evidence.probes, probe));
  const low = Math.max(theirsAhead?.minMs ?? -Infinity, refused ? CERT_LIFE_MS : -Infinity);
  const high = theirsAhead?.maxMs ?? Infinity;
  const ahead = low > MAX_TIME_SLIP_MS, behind = high < -MAX_TIME_SLIP_MS;
  if (!ahead && !behind) return known;
  return {
    ...known,
    whose: networkAheadMs === undefined ? "unknown" : "theirs",
    aheadMs: ahead ? low : high,
    renewal: behind && !ahead,
  };
}

/** The network's time, when the ledger is moving while we listen, or its time lies in our future. */
function networkTime(evidence: Evidence): number | undefined {
  const scp = mainProbe(evidence)?.scp;
  const offsetMs = scp?.closeTimeOffsetMs;
  if (scp === undefined || offsetMs === undefined) return undefined;
  return scp.advancing || offsetMs > -STALE_MS ? offsetMs : undefined;
}
