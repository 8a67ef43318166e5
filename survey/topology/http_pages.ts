/**
 * Which pages a stellar-core was told to ask for, and what its `getsurveyresult` says of them. Pure.
 *
 * The node keeps one entry per surveyed node. Asking again empties it; every answer that then comes fills in the figures and
 * appends to both lists. So an entry is an answer to the page asked for last, except that an answer to an earlier request may
 * come late: its peers are known already, and are taken out. Source: stellar-core SurveyManager.cpp addPeerToBacklog,
 * populatePeerResults, topOffRequests.
 */
import type { SurveyAnswer, SurveyPage } from "./backend.ts";
import type { SurveyResult } from "./survey_result.ts";
import type { PeerData, SurveyedNode } from "./types.ts";

/** Requests the node sends in one batch. Source: stellar-core SurveyManager.cpp MAX_REQUEST_LIMIT_PER_LEDGER. */
export const BATCH_REQUESTS = 10;

/** What a result told. */
export interface PagesStep {
  readonly answers: readonly SurveyAnswer[];
  /** All that were queued have left: the node sent a batch. */
  readonly sent: boolean;
}

interface Waiting {
  readonly page: SurveyPage;
  /** Turn in which it was asked for. */
  readonly turn: number;
}

/** See the head of this file. */
export class HttpPages {
  readonly #self: string;
  /** Asked for and not sent yet, as far as known. BOUNDED: callers ask for {@link room} at most. */
  readonly #queued = new Set<string>();
  /** Asked for and not answered; the latest page of each node. BOUNDED by the nodes asked. */
  readonly #waiting = new Map<string, Waiting>();
  /** Peers that answers named, `i` or `o` before the id. BOUNDED by the nodes asked and the pages asked for. */
  readonly #named = new Map<string, Set<string>>();
  #others = 0;

  /** `self`: the surveyor. */
  constructor(self: string) {
    this.#self = self;
  }

  /** Requests that still fit into the next batch. */
  get room(): number {
    return Math.max(0, BATCH_REQUESTS - this.#queued.size - this.#others);
  }

  /** Queued by us, as far as known. */
  get queued(): number {
    return this.#queued.size;
  }

  /** Nodes on the list that we did not put there. */
  get others(): number {
    return this.#others;
  }

  /** Whether a page asked for in `turn` or later is not answered yet. */
  waitsSince(turn: number): boolean {
    for (const waiting of this.#waiting.values()) if (waiting.turn >= turn) return true;
    return false;
  }

  /** Why a page must not be asked for now; undefined when it may. Asking twice would change the indices of the request that waits. */
  refusal(page: SurveyPage): string | undefined {
    if (page.nodeId === this.#self) return "it is the surveyor itself";
    if (this.#queued.has(page.nodeId)) return "the node has not sent the last request to it yet";
    return undefined;
  }

  /** A page was asked for. */
  asked(page: SurveyPage, turn: number): void {
    this.#queued.add(page.nodeId);
    this.#waiting.set(page.nodeId, { page, turn });
  }

  /** The node's loop of requests ended: what was not answered is lost. */
  loopEnded(): void {
    this.#queued.clear();
    this.#waiting.clear();
    this.#others = 0;
  }

  /**
   * Takes in a result. `trustBad`: false while answers to requests of an earlier loop may come, which its new key does not
   * open; their nodes are asked again like silent ones.
   */
  take(result: SurveyResult, options: { trustBad: boolean }): PagesStep {
    const backlog = new Set(result.backlog ?? []);
    const before = this.#queued.size;
    for (const nodeId of this.#queued) if (!backlog.has(nodeId)) this.#queued.delete(nodeId);
    this.#others = [...backlog].filter((nodeId) => !this.#queued.has(nodeId)).length;
    const bad = new Set(result.badResponseNodes ?? []);
    const answers: SurveyAnswer[] = [];
    for (const [nodeId, { page }] of this.#waiting) {
      const entry = result.topology?.get(nodeId);
      const node = entry === undefined || entry === null ? undefined : this.#part(page, entry);
      if (node !== undefined) answers.push({ page, kind: "page", node });
      else if (bad.has(nodeId) && options.trustBad && !backlog.has(nodeId)) {
        answers.push({ page, kind: "bad", reason: "the surveyor's stellar-core could not open or decode the answer" });
      } else continue;
      this.#waiting.delete(nodeId);
    }
    return { answers, sent: before > 0 && this.#queued.size === 0 };
  }

  /** What of an entry belongs to a page; undefined while it holds only what an earlier page held. */
  #part({ nodeId, inboundIndex, outboundIndex }: SurveyPage, entry: SurveyedNode): SurveyedNode | undefined {
    let named = this.#named.get(nodeId);
    if (named === undefined) this.#named.set(nodeId, named = new Set());
    const inboundPeers = take(entry.inboundPeers, "i", inboundIndex, named);
    const outboundPeers = take(entry.outboundPeers, "o", outboundIndex, named);
    const { numTotalInboundPeers, numTotalOutboundPeers } = entry.data;
    const isLater = inboundIndex > 0 || outboundIndex > 0;
    const hasMore = inboundIndex < numTotalInboundPeers || outboundIndex < numTotalOutboundPeers;
    const isStale = entry.inboundPeers.length + entry.outboundPeers.length > 0;
    if (isLater && hasMore && isStale && inboundPeers.length + outboundPeers.length === 0) return undefined;
    for (const peer of inboundPeers) named.add("i" + peer.nodeId);
    for (const peer of outboundPeers) named.add("o" + peer.nodeId);
    return { ...entry, inboundPeers, outboundPeers };
  }
}

/** A list without what is twice in it, and beyond the first page without what an earlier page held. */
function take(peers: readonly PeerData[], list: "i" | "o", index: number, named: ReadonlySet<string>): PeerData[] {
  const seen = new Set<string>();
  return peers.filter(({ nodeId }) => {
    if (seen.has(nodeId) || (index > 0 && named.has(list + nodeId))) return false;
    seen.add(nodeId);
    return true;
  });
}
