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
  spreads: { kind: ItemKind; spread: SpreadReport }[];
  events: WatchEvent[];
}

/** Reads the model for `panel`, or for all of them. */
export function collect(model: WatchModel, panel: PanelName | "all"): ViewData {
  const wants = (name: PanelName) => panel === "all" || panel === name;
  const rows = model.peers();
  const { all, types } = model.traffic();
  return {
    startedMs: model.startedMs,
    nowMs: model.nowMs,
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
    spreads: wants("messages") ? ITEM_KINDS.map((kind) => ({ kind, spread: model.propagation.spreadOf(kind) })) : [],
    events: wants("events") ? model.events() : [],
  };
}
