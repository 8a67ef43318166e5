/** What a running node shows over HTTP beside its metrics: its peers, and whether it is well. */
import process from "node:process";
import type { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import { jsonPage, metricsPages, type Pages } from "../pages.ts";
import { networkNameOf } from "../../overlay/base/networks.ts";
import { toHex } from "../../overlay/base/bytes.ts";
import type { Clock } from "../../overlay/base/clock.ts";
import type { NodeObserver } from "./observer.ts";

/** How long a node may look for its first peers before it counts as unwell, ms. */
const STARTING_MS = 60_000;

/** Whether the node does what it is there for. */
export type Health = "ok" | "starting" | "no peers" | "out of sync";

/** The node's health. Without peers it is `starting` for a minute, then `no peers`; a node that dials nobody may wait for ever. */
export function healthOf(node: { peers: number; inSync: boolean; dials: boolean; uptimeMs: number }): Health {
  if (node.peers === 0 && node.dials) return node.uptimeMs < STARTING_MS ? "starting" : "no peers";
  return node.inSync ? "ok" : "out of sync";
}

/** What the process holds, bytes. The heap in use counts what was not collected yet. */
function memoryBytes(): Record<string, number> {
  const { rss, heapUsed, heapTotal } = process.memoryUsage();
  return { resident: rss, heapUsed, heapTotal };
}

function surveyPage(node: OverlayManager, clock: Clock) {
  const { phase, nonce, surveyorId, startedMs, stoppedMs, phaseEndsMs } = node.survey.state;
  const at = (ms: number | undefined) =>
    ms === undefined ? null : new Date(clock.wallMs() + ms - clock.nowMs()).toISOString();
  return {
    schema: "stellar-overlay/survey-state/1",
    phase,
    nonce: nonce ?? null,
    surveyorId: surveyorId ?? null,
    startedAt: at(startedMs),
    stoppedAt: at(stoppedMs),
    phaseEndsAt: at(phaseEndsMs),
  };
}

/** All pages of a node. */
export function nodePages(node: OverlayManager, observer: NodeObserver, clock: Clock): Pages {
  node.metrics.gauge("memoryBytes", memoryBytes);
  return {
    ...metricsPages(node.metrics),
    "/peers": {
      title: "the peers as stellar-core's `peers` shows them; ?fullkeys=true, ?compact=false",
      make: ({ query }) =>
        jsonPage(node.peersJson({
          fullKeys: query.get("fullkeys") === "true",
          compact: query.get("compact") !== "false",
        })),
    },
    "/survey": {
      title: "the survey the node takes part in",
      make: () => jsonPage(surveyPage(node, clock)),
    },
    "/health": {
      title: "status 200 while the node has peers and follows the network, else 503",
      make: () => {
        const { outbound, inbound, ledger, inSync, uptimeMs } = observer.status();
        const health = healthOf({ peers: outbound + inbound, inSync, dials: !node.config.noDial, uptimeMs });
        const network = networkNameOf(toHex(node.local.networkId));
        const body = {
          schema: "stellar-overlay/health/1",
          health,
          network,
          nodeId: node.local.nodeIdText,
          outbound,
          inbound,
          ledger,
          inSync,
          uptimeMs,
        };
        return jsonPage(body, health === "ok" ? 200 : 503);
      },
    },
  };
}
