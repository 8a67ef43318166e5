/** Bans that somebody may not mean: of oneself, of preferred peers, of the validators of one's own configuration. */
import type { CoreConfig } from "../../overlay/base/core_config.ts";
import { formatAddress } from "../../overlay/base/peer_address.ts";
import type { RunningNode } from "../../overlay/db/running_nodes.ts";

/** What is known of the nodes around. */
export interface Surroundings {
  core: CoreConfig | undefined;
  /** Path of the configuration. */
  config: string | undefined;
  running: readonly Pick<RunningNode, "nodeId" | "command" | "pid">[];
  /** Id of the stellar-core that is asked. */
  self?: string;
  /** The node last met at `host:port`. */
  nodeAt(address: string): string | undefined;
}

/** A sentence for each node of `nodeIds` that is close to us. */
export function banWarnings(nodeIds: readonly string[], around: Surroundings): string[] {
  const { core, config, running, self } = around;
  const known = new Map<string, string>();
  const note = (nodeId: string | undefined, what: string) => {
    if (nodeId !== undefined && !known.has(nodeId)) known.set(nodeId, what);
  };
  note(self, "is this stellar-core itself");
  for (const { nodeId, command, pid } of running) {
    note(nodeId, `is the node that runs here (${command}, process ${pid})`);
  }
  if (core !== undefined) {
    for (const [nodeId, name] of core.names) if (name === "self") note(nodeId, `is the node of ${config} itself`);
    for (const nodeId of core.preferredPeerKeys) note(nodeId, `is one of the PREFERRED_PEER_KEYS of ${config}`);
    for (const address of core.preferredPeers) {
      const text = formatAddress(address);
      note(around.nodeAt(text), `was last met at ${text}, a preferred peer of ${config}`);
      for (const validator of core.validators) {
        if (validator.address !== undefined && formatAddress(validator.address) === text) {
          note(validator.nodeId, `is validator ${validator.name}, a preferred peer of ${config}`);
        }
      }
    }
    for (const { nodeId, name } of core.validators) note(nodeId, `is validator ${name} of ${config}`);
  }
  return [...new Set(nodeIds)].flatMap((nodeId) => {
    const what = known.get(nodeId);
    return what === undefined ? [] : [`${nodeId} ${what}; a ban goes before everything else`];
  });
}
