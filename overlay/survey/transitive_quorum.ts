/**
 * The transitive quorum: the nodes of our own quorum set, those of theirs, and so on. Without a list of surveyors these may
 * survey. Thresholds do not matter for it. Source: stellar-core QuorumTracker.cpp; survey.md sections 4 and 12.
 */
import { decodeMessage } from "../wire/messages.ts";
import type { ScpQuorumSet } from "../wire/types.ts";

/** Nodes of all learnt sets together, counted as often as they are named. Pubnet's hundred validators name about 3,000. */
const MAX_NAMED = 100_000;
/** Nodes that the quorum may have. */
const MAX_NODES = 5000;

/** Node ids are any text, always the same for the same node. */
export class TransitiveQuorum {
  readonly #roots: readonly string[];
  /** Latest quorum set of members, and its hash. BOUNDED: {@link MAX_NODES} sets, {@link MAX_NAMED} names. */
  readonly #sets = new Map<string, { hash: string; nodes: readonly string[] }>();
  #named = 0;
  #members: Set<string> | undefined;

  /** `roots`: the nodes of our own quorum set. Without any nobody is in the quorum, and nothing is learnt. */
  constructor(roots: Iterable<string>) {
    this.#roots = [...new Set(roots)];
  }

  /** Nodes in it. */
  get size(): number {
    return this.#all().size;
  }

  /** Whether there is a quorum set to begin with. */
  get configured(): boolean {
    return this.#roots.length > 0;
  }

  has(node: string): boolean {
    return this.#all().has(node);
  }

  /**
   * A node said which quorum set it has. `nodesOf` gives the nodes of it, or undefined while it is not known; it is called only
   * when the node is a member and its set is another one than before.
   */
  heard(node: string, hash: string, nodesOf: () => readonly string[] | undefined): void {
    if (!this.configured || !this.has(node)) return;
    const old = this.#sets.get(node);
    if (old?.hash === hash) return;
    const nodes = nodesOf();
    if (nodes === undefined) return;
    const named = this.#named + nodes.length - (old?.nodes.length ?? 0);
    if (named > MAX_NAMED) return;
    this.#named = named;
    this.#sets.set(node, { hash, nodes });
    this.#members = undefined;
  }

  #all(): Set<string> {
    if (this.#members !== undefined) return this.#members;
    const members = new Set(this.#roots);
    // A set grows while it is walked over.
    for (const node of members) {
      for (const next of this.#sets.get(node)?.nodes ?? []) if (members.size < MAX_NODES) members.add(next);
    }
    for (const [node, { nodes }] of this.#sets) {
      if (members.has(node)) continue;
      this.#sets.delete(node);
      this.#named -= nodes.length;
    }
    return this.#members = members;
  }
}

/** The nodes an SCP_QUORUMSET message names, at any level; `text` makes a node id's text. */
export function nodesOfQuorumSet(message: Uint8Array, text: (nodeId: Uint8Array) => string): string[] {
  const decoded = decodeMessage(message);
  const nodes = new Set<string>();
  const collect = (set: ScpQuorumSet) => {
    for (const node of set.validators) nodes.add(text(node));
    set.innerSets.forEach(collect);
  };
  if (decoded.type === "scpQuorumset") collect(decoded.qSet);
  return [...nodes];
}
