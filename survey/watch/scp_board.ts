/**
 * SCP slot by slot: which validator nominated, prepared, confirmed and externalized, when, and who is missing. Fed with the
 * statements that the node took (their signatures hold), in any order. Pure: time comes with the statements.
 */
import type { ScpPledges } from "../../overlay/wire/types.ts";
import { percentile } from "../probe/statistics.ts";
import type { WatchMessage } from "./records.ts";

/** The statements of a slot in the order a validator makes them. */
export const STAGES = ["nominate", "prepare", "confirm", "externalize"] as const;
type Stage = ScpPledges["type"];

/** Slots kept; the lowest goes. */
export const MAX_SLOTS = 64;
/** Validators on the board. Pubnet has about a hundred; anybody can make keys. */
export const MAX_VALIDATORS = 1000;
/** A validator is usual when it spoke about at least half of as many decided slots before. */
const USUAL_SLOTS = 10;
/** A slot that nobody has spoken about for so long is over, and what is missing then is missing, ms. */
const SILENT_MS = 2000;
/** A slot's number is a ledger's. */
const MAX_SLOT = 0xffffffffn;

/** One validator and one slot. Times in ms after the slot's first statement; undefined: not seen. */
export interface ValidatorProgress {
  validator: string;
  /** First time of each kind of statement, whichever peer brought it. */
  at: Partial<Record<Stage, number>>;
  /** The furthest kind. */
  stage: Stage;
  /** Statements seen, each counted once. */
  statements: number;
}

/** One slot. */
export interface SlotView {
  slot: number;
  /** Instant of its first statement on the watch's clock, and on the wall clock, ms. */
  firstAtMs: number;
  firstWallMs: number;
  /** How many validators got at least so far. */
  reached: Record<Stage, number>;
  /** First and last time of each kind, ms after the slot's first statement. */
  firstMs: Partial<Record<Stage, number>>;
  lastMs: Partial<Record<Stage, number>>;
  /** Who externalized first. */
  firstValidator: string | undefined;
  /** In order of arrival. */
  validators: ValidatorProgress[];
  /** Usual validators that have not been heard about this slot, ascending. */
  missing: string[];
  /** Whether a majority of the usual validators externalized; it had begun before we could see it from the start. */
  decided: boolean;
  /** Its statements were told from memory, for the slot was over when we came: its times say nothing. */
  replayed: boolean;
  /** By peer: time after the slot's first EXTERNALIZE until the peer brought one, ms. */
  peerLagMs: Record<string, number>;
}

/** A validator over all slots kept. */
export interface ValidatorView {
  validator: string;
  lastSlot: number;
  /** Of the decided slots kept, those it spoke about, and those it did not since we know it. */
  heardSlots: number;
  missedSlots: number;
  /** Decided slots in a row, up to the last, that it said nothing about. */
  missingStreak: number;
  /** Median time of its EXTERNALIZE after the slot's first, ms. */
  medianLagMs: number | null;
}

interface Node {
  at: Partial<Record<Stage, number>>;
  stage: Stage;
  statements: number;
}

interface Slot {
  readonly slot: number;
  readonly firstAtMs: number;
  readonly firstWallMs: number;
  lastAtMs: number;
  replayed: boolean;
  /** BOUNDED: {@link MAX_VALIDATORS}. */
  readonly nodes: Map<string, Node>;
  firstExternalizeMs: number | undefined;
  /** By peer. BOUNDED: by the peers. */
  readonly peerAtMs: Map<string, number>;
  /** Who was usual when the slot began. */
  readonly usual: readonly string[];
  decided: boolean;
}

/** No network closes ledgers faster, ms: slots that begin closer together were over when we heard of them. */
const TOLD_TOGETHER_MS = 300;

/** See the head of this file. */
export class ScpBoard {
  /** BOUNDED: {@link MAX_SLOTS}. */
  readonly #slots = new Map<number, Slot>();
  /** First slot each validator spoke about. BOUNDED: {@link MAX_VALIDATORS}. */
  readonly #validators = new Map<string, { firstSlot: number; lastSlot: number }>();
  readonly #maxSlots: number;
  #decided: number | undefined;

  constructor(options: { maxSlots?: number } = {}) {
    this.#maxSlots = options.maxSlots ?? MAX_SLOTS;
  }

  /** The highest decided slot. */
  get decided(): number | undefined {
    return this.#decided;
  }

  /** Takes a message; what is no statement, or one the node refused, is left alone. */
  apply(record: WatchMessage): void {
    const { scp, copy, atMs, wallMs, peer } = record;
    if (scp === undefined || scp.refusal !== undefined || scp.slot > MAX_SLOT) return;
    const number = Number(scp.slot);
    const slot = this.#slotAt(number, atMs, wallMs);
    if (slot === undefined) return;
    const known = this.#know(scp.validator, number);
    if (!known) return;
    let node = slot.nodes.get(scp.validator);
    if (node === undefined) slot.nodes.set(scp.validator, node = { at: {}, stage: scp.statement, statements: 0 });
    slot.lastAtMs = Math.max(slot.lastAtMs, atMs);
    // Without ranks every copy counts as a statement of its own.
    if (copy === undefined || copy.rank === 1) node.statements++;
    node.at[scp.statement] ??= atMs - slot.firstAtMs;
    if (STAGES.indexOf(scp.statement) > STAGES.indexOf(node.stage)) node.stage = scp.statement;
    if (scp.statement !== "externalize") return;
    slot.firstExternalizeMs ??= atMs;
    if (!slot.peerAtMs.has(peer)) slot.peerAtMs.set(peer, atMs);
    this.#decide(slot);
  }

  /** The slots kept, highest first; at most `most`. */
  slots(most: number = this.#maxSlots): SlotView[] {
    return [...this.#slots.values()].sort((a, b) => b.slot - a.slot).slice(0, most).map((slot) => this.#view(slot));
  }

  /** One slot. */
  slot(slot: number): SlotView | undefined {
    const found = this.#slots.get(slot);
    return found && this.#view(found);
  }

  /** Whether nothing more is to be expected of a slot: the next one is decided, or it is silent. */
  isOver(slot: number, nowMs: number): boolean {
    const found = this.#slots.get(slot);
    if (found === undefined) return true;
    return (this.#decided ?? 0) > slot || (found.decided && nowMs - found.lastAtMs >= SILENT_MS);
  }

  /** Every validator heard, those with the longest silence first. */
  validators(): ValidatorView[] {
    const decided = [...this.#slots.values()].filter((slot) => slot.decided).sort((a, b) => b.slot - a.slot);
    return [...this.#validators].map(([validator, { firstSlot, lastSlot }]) => {
      const since = decided.filter((slot) => slot.slot >= firstSlot);
      const heard = since.filter((slot) => slot.nodes.has(validator));
      const streak = since.findIndex((slot) => slot.nodes.has(validator));
      const lags = heard.flatMap((slot) => {
        const at = slot.nodes.get(validator)!.at.externalize;
        return at === undefined || slot.replayed ? [] : [at - (slot.firstExternalizeMs! - slot.firstAtMs)];
      });
      return {
        validator,
        lastSlot,
        heardSlots: heard.length,
        missedSlots: since.length - heard.length,
        missingStreak: streak < 0 ? since.length : streak,
        medianLagMs: lags.length === 0 ? null : percentile(lags, 0.5),
      };
    }).sort((a, b) => b.missingStreak - a.missingStreak || (a.validator < b.validator ? -1 : 1));
  }

  #slotAt(number: number, atMs: number, wallMs: number): Slot | undefined {
    let slot = this.#slots.get(number);
    if (slot !== undefined) return slot;
    if (this.#slots.size >= this.#maxSlots) {
      const lowest = Math.min(...this.#slots.keys());
      if (number < lowest) return undefined;
      this.#slots.delete(lowest);
    }
    // Older than what is decided already: told from memory.
    const replayed = number <= (this.#decided ?? -1);
    // The next one begins too soon after it: an answer to GET_SCP_STATE goes through the slots in ascending order.
    const before = this.#slots.get(number - 1);
    if (before !== undefined && atMs - before.firstAtMs < TOLD_TOGETHER_MS) before.replayed = true;
    slot = {
      slot: number,
      firstAtMs: atMs,
      firstWallMs: wallMs,
      lastAtMs: atMs,
      replayed,
      nodes: new Map(),
      firstExternalizeMs: undefined,
      peerAtMs: new Map(),
      usual: this.#usual(number),
      decided: false,
    };
    this.#slots.set(number, slot);
    return slot;
  }

  #know(validator: string, slot: number): boolean {
    const known = this.#validators.get(validator);
    if (known !== undefined) {
      known.firstSlot = Math.min(known.firstSlot, slot);
      known.lastSlot = Math.max(known.lastSlot, slot);
      return true;
    }
    if (this.#validators.size >= MAX_VALIDATORS) return false;
    this.#validators.set(validator, { firstSlot: slot, lastSlot: slot });
    return true;
  }

  /** Validators that spoke about at least half of the last decided slots below `below`. */
  #usual(below: number): string[] {
    const before = [...this.#slots.values()].filter((slot) => slot.decided && slot.slot < below)
      .sort((a, b) => b.slot - a.slot).slice(0, USUAL_SLOTS);
    if (before.length === 0) return [];
    const counts = new Map<string, number>();
    for (const { nodes } of before) for (const node of nodes.keys()) counts.set(node, (counts.get(node) ?? 0) + 1);
    return [...counts].filter(([, count]) => count * 2 >= before.length).map(([node]) => node).sort();
  }

  /** Decided: more than half of the usual validators, or of those heard when nobody is usual yet, externalized. */
  #decide(slot: Slot): void {
    if (slot.decided) return;
    let externalized = 0;
    for (const node of slot.nodes.values()) if (node.stage === "externalize") externalized++;
    const all = Math.max(slot.usual.length, slot.nodes.size);
    if (externalized * 2 <= all) return;
    slot.decided = true;
    if (slot.slot > (this.#decided ?? -1)) this.#decided = slot.slot;
  }

  #view(slot: Slot): SlotView {
    const reached = { nominate: 0, prepare: 0, confirm: 0, externalize: 0 };
    const firstMs: Partial<Record<Stage, number>> = {}, lastMs: Partial<Record<Stage, number>> = {};
    let firstValidator: string | undefined;
    for (const [validator, node] of slot.nodes) {
      for (const stage of STAGES) {
        if (STAGES.indexOf(node.stage) >= STAGES.indexOf(stage)) reached[stage]++;
        const at = node.at[stage];
        if (at === undefined) continue;
        if (firstMs[stage] === undefined || at < firstMs[stage]!) {
          firstMs[stage] = at;
          if (stage === "externalize") firstValidator = validator;
        }
        lastMs[stage] = Math.max(lastMs[stage] ?? at, at);
      }
    }
    const peerLagMs: Record<string, number> = {};
    for (const [peer, atMs] of slot.peerAtMs) peerLagMs[peer] = atMs - slot.firstExternalizeMs!;
    return {
      slot: slot.slot,
      firstAtMs: slot.firstAtMs,
      firstWallMs: slot.firstWallMs,
      reached,
      firstMs,
      lastMs,
      firstValidator,
      validators: [...slot.nodes].map(([validator, node]) => ({ validator, ...node, at: { ...node.at } })),
      missing: slot.usual.filter((validator) => !slot.nodes.has(validator)),
      decided: slot.decided,
      replayed: slot.replayed,
      peerLagMs,
    };
  }
}
