/**
 * Whom to ask for which page of its lists, and when: as many requests per turn as relays pass on, each node once per turn, new
 * nodes as soon as somebody names them, lost pages again some turns later, a bounded number of times. Pure: turns come from
 * outside, and are ledgers when we ask ourselves. Source: survey.md sections 4, 5, 6 and 9.
 *
 * Requests are taken longest way first: a page that may need most further turns goes before one that needs fewer. So retries
 * and long lists do not pile up at the end, and a survey of n pages takes about n / 10 ledgers.
 */
import type { PlannedPage, SurveyAnswer, SurveyPage } from "./backend.ts";
import { mergePage } from "./merge.ts";
import type { AskState, SurveyedNode } from "./types.ts";

/** Entries of each list that one answer holds at most. Source: stellar-core SurveyManager.cpp. */
export const PAGE_ENTRIES = 25;

/** How a node came to be asked: `peer`: connected to the surveyor; `given`: by the user; `named`: in the list of one that answered. */
export type NodeOrigin = "peer" | "given" | "named";

/** How to plan. */
export interface PlannerOptions {
  /** `G...`; is not asked. */
  surveyorId: string;
  /** Turns after which an answer counts as lost. */
  lostAfterTurns: number;
  /** Requests for one page at most. */
  attempts?: number;
  /** Turns between the loss of a page and the next request, times the number of losses before this one. */
  backoffTurns?: number;
  /** Nodes that are taken in at most; further names are counted only. */
  maxNodes?: number;
  /** Pages of one node at most: bounds what a node that lies about the length of its lists costs. */
  maxPages?: number;
}

/** A node as it is stored, and as a planner begins with it. */
export interface PlannedNode {
  readonly nodeId: string;
  readonly origin: NodeOrigin;
  /** What is known of it; undefined before its first answer. */
  readonly node: SurveyedNode | undefined;
  /** Indices of the pages that were answered: 0 for the entries 0 to 24, 1 for 25 to 49. */
  readonly answeredPages: readonly number[];
  readonly state: AskState;
  /** Why its answers were bad, if one was. */
  readonly badReason: string | undefined;
  /** Requests sent for it, all pages. */
  readonly requests: number;
}

/** How far it is. */
export interface PlanCounts {
  /** Nodes asked at least once. */
  readonly asked: number;
  readonly answered: number;
  readonly silent: number;
  readonly unreachable: number;
  readonly bad: number;
  /** Not asked yet, or still waited for. Nodes that answered and have further pages count as answered. */
  readonly pending: number;
  /** Requests, repeated ones included, and answers that came. */
  readonly requests: number;
  readonly pages: number;
  /** Requests that are still to come as far as known, retries not counted. */
  readonly pagesLeft: number;
}

const DEFAULTS = { attempts: 3, backoffTurns: 1, maxNodes: 20_000, maxPages: 40 };

interface Entry {
  readonly nodeId: string;
  origin: NodeOrigin;
  /** Whether somebody who answered has it in a list: a relay is connected to it. */
  named: boolean;
  node: SurveyedNode | undefined;
  readonly answered: Set<number>;
  /** The page that is wanted now; undefined when nothing is. */
  page: number | undefined;
  /** Requests for that page so far. */
  attempts: number;
  /** The turn of the last of them, while it is waited for. */
  waitingSince: number | undefined;
  /** Not to be asked before this turn. */
  dueTurn: number;
  lastTurn: number | undefined;
  requests: number;
  badReason: string | undefined;
  /** The page at which its lists ended, whatever length it told. */
  lastPage: number;
}

/** See the head of this file. */
export class SurveyPlanner {
  readonly #options: Required<PlannerOptions>;
  /** In the order they became known. BOUNDED by `maxNodes`. */
  readonly #entries = new Map<string, Entry>();
  /** Those that want or wait for a page. BOUNDED as the entries are. */
  readonly #open = new Set<Entry>();
  #requests = 0;
  #pages = 0;
  #dropped = 0;

  constructor(options: PlannerOptions) {
    this.#options = { ...DEFAULTS, ...withoutUndefined(options) };
  }

  /** Names not taken in because there were `maxNodes` already. */
  get dropped(): number {
    return this.#dropped;
  }

  /** A node to ask. False when it is known, is the surveyor, or is one too many. */
  add(nodeId: string, origin: NodeOrigin): boolean {
    if (nodeId === this.#options.surveyorId) return false;
    const known = this.#entries.get(nodeId);
    if (known !== undefined) {
      // What says most about a way to it counts.
      if (origin === "named") known.named = true;
      else if (origin === "peer") known.origin = "peer";
      return false;
    }
    if (this.#entries.size >= this.#options.maxNodes) {
      this.#dropped++;
      return false;
    }
    const entry: Entry = {
      nodeId,
      origin,
      named: origin === "named",
      node: undefined,
      answered: new Set(),
      page: 0,
      attempts: 0,
      waitingSince: undefined,
      dueTurn: -Infinity,
      lastTurn: undefined,
      requests: 0,
      badReason: undefined,
      lastPage: Infinity,
    };
    this.#entries.set(nodeId, entry);
    this.#open.add(entry);
    return true;
  }

  /**
   * Goes on from what is stored: pending nodes and missing pages are asked for anew, with all their attempts; nodes that were
   * given up only with `retry`.
   */
  restore(nodes: readonly PlannedNode[], options: { retry?: boolean } = {}): void {
    for (const { nodeId, origin } of nodes) this.add(nodeId, origin);
    for (const stored of nodes) {
      const entry = this.#entries.get(stored.nodeId);
      if (entry === undefined) continue;
      entry.node = stored.node;
      entry.requests = stored.requests;
      entry.badReason = stored.badReason;
      for (const page of stored.answeredPages) entry.answered.add(page);
      this.#requests += stored.requests;
      this.#pages += entry.answered.size;
      const isGivenUp = stored.state === "silent" || stored.state === "unreachable" || stored.state === "bad";
      if (isGivenUp && !options.retry) this.#want(entry, undefined);
      else this.#want(entry, this.#nextPage(entry));
      if (stored.node !== undefined) this.#learn(stored.node);
    }
  }

  /** The requests of this turn: at most `room`. They count as sent; see {@link unsent}. */
  next(turn: number, room: number): PlannedPage[] {
    this.#expire(turn);
    if (room <= 0) return [];
    const ready = [...this.#open].filter((entry) =>
      entry.waitingSince === undefined && entry.dueTurn <= turn && entry.lastTurn !== turn
    );
    // Array sort is stable: of equals the one known longest goes first.
    ready.sort((a, b) => this.#turnsLeft(b) - this.#turnsLeft(a));
    return ready.slice(0, room).map((entry) => {
      const attempt = entry.attempts++;
      entry.requests++;
      this.#requests++;
      entry.waitingSince = entry.lastTurn = turn;
      return { ...pageOf(entry.nodeId, entry.page!), attempt };
    });
  }

  /** A request of {@link next} that was not sent after all: it may go in the next turn. */
  unsent({ nodeId, inboundIndex }: SurveyPage): void {
    const entry = this.#entries.get(nodeId);
    if (entry?.waitingSince === undefined || entry.page !== inboundIndex / PAGE_ENTRIES) return;
    entry.dueTurn = entry.waitingSince + 1;
    entry.waitingSince = undefined;
    entry.attempts--;
    entry.requests--;
    this.#requests--;
  }

  /**
   * Takes an answer in, a late one too. `fresh`: nodes that were not known before. Undefined when it answers no page that was
   * asked for, or one that was answered before.
   */
  answer(answer: SurveyAnswer): { readonly node: PlannedNode; readonly fresh: string[] } | undefined {
    const entry = this.#entries.get(answer.page.nodeId);
    const page = answer.page.inboundIndex / PAGE_ENTRIES;
    const isAsked = entry !== undefined && entry.requests > 0 &&
      answer.page.outboundIndex === answer.page.inboundIndex &&
      Number.isInteger(page) && page >= 0 && page < this.#options.maxPages;
    if (!isAsked || entry.answered.has(page)) return undefined;
    if (answer.kind === "bad") {
      entry.badReason = answer.reason;
      if (entry.page === page && entry.waitingSince !== undefined) this.#lost(entry, entry.waitingSince + 1);
      return { node: this.#stored(entry), fresh: [] };
    }
    entry.answered.add(page);
    this.#pages++;
    entry.node = mergePage(entry.node, answer.node);
    const { inboundPeers, outboundPeers } = answer.node;
    // A node whose list ends before the length it tells is not asked for the rest of it.
    const isEnd = inboundPeers.length < PAGE_ENTRIES && outboundPeers.length < PAGE_ENTRIES;
    if (isEnd) entry.lastPage = Math.min(entry.lastPage, page);
    if (entry.page === page || entry.page === undefined || entry.answered.has(entry.page)) {
      this.#want(entry, this.#nextPage(entry));
    }
    return { node: this.#stored(entry), fresh: this.#learn(answer.node) };
  }

  /** Whether nothing is wanted or waited for any more, in this turn. */
  isDone(turn: number): boolean {
    this.#expire(turn);
    return this.#open.size === 0;
  }

  /** All nodes, in the order they became known. */
  *nodes(): Iterable<PlannedNode> {
    for (const entry of this.#entries.values()) yield this.#stored(entry);
  }

  /** What is known of one. */
  node(nodeId: string): PlannedNode | undefined {
    const entry = this.#entries.get(nodeId);
    return entry === undefined ? undefined : this.#stored(entry);
  }

  /**
   * Nodes that were asked in vain and that no list of an answer names, though they exist: connected to the surveyor, or given
   * by the user. Every list holds the peers of the whole slice, so they had none of those that answered for so long: they
   * joined after START, or left.
   */
  lateJoiners(): string[] {
    return [...this.#entries.values()].filter((entry) => {
      const state = this.#stateOf(entry);
      return !entry.named && (state === "silent" || state === "unreachable");
    }).map((entry) => entry.nodeId);
  }

  /** How far it is. */
  counts(): PlanCounts {
    const counts = { answered: 0, silent: 0, unreachable: 0, bad: 0, pending: 0 };
    let asked = 0, pagesLeft = 0;
    for (const entry of this.#entries.values()) {
      counts[this.#stateOf(entry)]++;
      if (entry.requests > 0) asked++;
      if (entry.page === undefined) continue;
      for (let page = 0; page < this.#pagesOf(entry); page++) if (!entry.answered.has(page)) pagesLeft++;
    }
    return { asked, ...counts, requests: this.#requests, pages: this.#pages, pagesLeft };
  }

  #learn({ inboundPeers, outboundPeers }: SurveyedNode): string[] {
    return [...inboundPeers, ...outboundPeers].map(({ nodeId }) => nodeId).filter((id) => this.add(id, "named"));
  }

  /** Pages without an answer count as lost when their time is over. */
  #expire(turn: number): void {
    const { lostAfterTurns } = this.#options;
    for (const entry of this.#open) {
      const since = entry.waitingSince;
      if (since !== undefined && turn >= since + lostAfterTurns) this.#lost(entry, since + lostAfterTurns);
    }
  }

  #lost(entry: Entry, atTurn: number): void {
    entry.waitingSince = undefined;
    // A bad answer comes again most likely: one more request is enough.
    const limit = entry.badReason === undefined ? this.#options.attempts : Math.min(2, this.#options.attempts);
    if (entry.attempts < limit) entry.dueTurn = atTurn + this.#options.backoffTurns * (entry.attempts - 1);
    // A node that never answered is given up; one that did may still have other pages.
    else if (entry.answered.size === 0) this.#want(entry, undefined);
    else this.#want(entry, this.#nextPage(entry, entry.page! + 1));
  }

  /** The first missing page from `from` on. */
  #nextPage(entry: Entry, from = 0): number | undefined {
    for (let page = from; page < this.#pagesOf(entry); page++) if (!entry.answered.has(page)) return page;
    return undefined;
  }

  #want(entry: Entry, page: number | undefined): void {
    entry.page = page;
    entry.attempts = 0;
    entry.waitingSince = undefined;
    entry.dueTurn = -Infinity;
    if (page === undefined) this.#open.delete(entry);
    else this.#open.add(entry);
  }

  /** How many pages it has; 1 before it said so. */
  #pagesOf({ node, lastPage }: Entry): number {
    if (node === undefined) return 1;
    const longest = Math.max(node.data.numTotalInboundPeers, node.data.numTotalOutboundPeers);
    return Math.min(this.#options.maxPages, lastPage + 1, Math.max(1, Math.ceil(longest / PAGE_ENTRIES)));
  }

  /** Turns that a node may still take, if everything that can be lost is. */
  #turnsLeft(entry: Entry): number {
    const { attempts, backoffTurns, lostAfterTurns } = this.#options;
    let turns = 0;
    for (let i = entry.attempts; i < attempts; i++) {
      turns += lostAfterTurns + (i > entry.attempts ? backoffTurns * (i - 1) : 0);
    }
    return turns + Math.max(0, this.#pagesOf(entry) - entry.page! - 1);
  }

  #stateOf(entry: Entry): AskState {
    if (entry.answered.size > 0) return "answered";
    if (entry.page !== undefined) return "pending";
    if (entry.badReason !== undefined) return "bad";
    return entry.named || entry.origin === "peer" ? "silent" : "unreachable";
  }

  #stored(entry: Entry): PlannedNode {
    const { nodeId, origin, node, badReason, requests } = entry;
    const answeredPages = [...entry.answered].sort((a, b) => a - b);
    return { nodeId, origin, node, answeredPages, state: this.#stateOf(entry), badReason, requests };
  }
}

function pageOf(nodeId: string, page: number): SurveyPage {
  return { nodeId, inboundIndex: page * PAGE_ENTRIES, outboundIndex: page * PAGE_ENTRIES };
}

function withoutUndefined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
