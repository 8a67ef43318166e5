/** What the panels show, read out of the model at one moment: a paused view goes on showing it. */
import type { PeerMeasures, WatchModel, WatchPeer } from "../../survey/watch/model.ts";
import type { SpreadReport } from "../../survey/watch/propagation.ts";
import type { Traffic } from "../../survey/watch/rates.ts";
import { ITEM_KINDS, type ItemKind, type WatchEvent } from "../../survey/watch/records.ts";
import type { SlotView, ValidatorView } from "../../survey/watch/scp_board.ts";
import type { MessageTypeName } from "../../overlay/wire/messages.ts";
import type { PanelName } from "./state.ts";

/** A peer with its measures. */
export interface PeerRow {
  peer: WatchPeer;
  measures: PeerMeasures;
}

/** The spreads are counted anew after so long: that takes longer than all the rest. */
export const SPREAD_MS = 1000;

/** One moment of a watch. Lists of panels that were not asked for are empty. */
export interface ViewData {
  startedMs: number;
  nowMs: number;
  ledger: number | undefined;
  inSync: boolean;
  missed: number;
  targets: number;
  connected: number;
  all: Traffic;
  peers: PeerRow[];
  slots: SlotView[];
  validators: ValidatorView[];
  types: { type: MessageTypeName; traffic: Traffic }[];
  /** With the model's time when they were counted; see {@link SPREAD_MS}. */
  spreadsAtMs: number;
  spreads: { kind: ItemKind; spread: SpreadReport }[];
  events: WatchEvent[];
}

/** Reads the model for `panel`, or for all of them. `before` is what was read last. */
export function collect(model: WatchModel, panel: PanelName | "all", before?: ViewData): ViewData {
  const wants = (name: PanelName) => panel === "all" || panel === name;
  const rows = model.peers();
  const { all, types } = model.traffic();
  const { nowMs } = model;
  const keep = before !== undefined && before.spreads.length > 0 && nowMs - before.spreadsAtMs < SPREAD_MS;
  const spreads = () => ITEM_KINDS.map((kind) => ({ kind, spread: model.propagation.spreadOf(kind) }));
  return {
    startedMs: model.startedMs,
    nowMs,
    ledger: model.ledger,
    inSync: model.inSync,
    missed: model.missed,
    targets: rows.length,
    connected: model.connected,
    all,
    // The model's rows live on.
    peers: wants("peers") ? rows.map((peer) => ({ peer: { ...peer }, measures: model.measures(peer) })) : [],
    slots: wants("scp") ? model.slots() : [],
    validators: wants("validators") ? model.validators() : [],
    types,
    spreadsAtMs: keep ? before.spreadsAtMs : nowMs,
    spreads: !wants("messages") ? [] : keep ? before.spreads : spreads(),
    events: wants("events") ? model.events() : [],
  };
}
