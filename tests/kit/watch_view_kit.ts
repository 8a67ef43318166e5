/** Models of a watch for tests of its view: made of records alone, on a clock that stands still. */
import { VirtualClock } from "../../overlay/base/clock.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import type { MessageTypeName, ReceivedMessage } from "../../overlay/wire/messages.ts";
import { WatchModel } from "../../survey/watch/model.ts";
import { Propagation } from "../../survey/watch/propagation.ts";
import type { ItemKind, WatchMessage } from "../../survey/watch/records.ts";
import { STAGES } from "../../survey/watch/scp_board.ts";

/** What the model has seen. */
export interface ViewScene {
  peers: number;
  validators: number;
  slots: number;
  /** Text that peers say of themselves. */
  versionStr?: string;
  /** Validators that say nothing about the last slot. */
  silent?: number;
}

const WALL_MS = Date.UTC(2026, 10, 25, 12, 0, 0);
const SLOT_MS = 5000;

/** A node id. */
export function nodeId(seed: number): string {
  return encodeNodeId(new SeededRandom(seed).bytes(32));
}

/** A model that has seen the scene, and the clock at its end. */
export function viewScene(scene: ViewScene): { model: WatchModel; clock: VirtualClock } {
  const clock = new VirtualClock({ epochMs: WALL_MS });
  const propagation = new Propagation();
  const model = new WatchModel({ startedMs: 0, propagation });
  const peers = Array.from({ length: scene.peers }, (_, at) => ({
    target: `core${at}.example.org:11625`,
    address: `192.0.2.${at % 250}:11625`,
    id: nodeId(1000 + at),
  }));
  const validators = Array.from({ length: scene.validators }, (_, at) => nodeId(5000 + at));
  const times = (atMs: number) => ({ atMs, wallMs: WALL_MS + atMs });
  const up = peers.filter((_, at) => at % 5 !== 4);
  for (const [at, { target, address, id }] of peers.entries()) {
    model.apply({ kind: "dialing", target, address, attempt: 1, ...times(at) });
    if (at % 5 === 4) {
      model.apply({
        kind: "dropped",
        peer: undefined,
        address,
        target,
        by: "remote",
        reason: scene.versionStr ?? "peer rejected",
        failure: { code: "connect_timeout", address, afterMs: 5000 },
        authenticated: false,
        connectedMs: 0,
        ...times(at + 40),
      });
      model.apply({ kind: "waiting", target, address, delayMs: 30_000, ...times(at + 41) });
      continue;
    }
    const versionStr = scene.versionStr ?? `stellar-core 25.0.${at} (abcdef)`;
    model.apply({ kind: "connected", peer: id, address, target, versionStr, overlayVersion: 39, ...times(at + 30) });
  }
  const say = (peer: string, type: MessageTypeName, bytes: number, atMs: number, more: Partial<WatchMessage> = {}) =>
    model.apply({ kind: "message", peer, type, bytes, message: {} as ReceivedMessage, ...times(atMs), ...more });
  const see = (kind: ItemKind, key: string, peer: string, atMs: number) => propagation.see(kind, key, peer, atMs);
  for (let slot = 0; slot < scene.slots; slot++) {
    for (const [stage, statement] of STAGES.entries()) {
      for (const [at, validator] of validators.entries()) {
        if (slot === scene.slots - 1 && at < (scene.silent ?? 0)) continue;
        for (const [rank, { id }] of up.entries()) {
          // Later peers are later; every statement goes by in its own millisecond.
          const atMs = 1000 + slot * SLOT_MS + stage * 800 + at * 2 + rank * 3;
          const copy = see("scp", `${slot} ${statement} ${validator}`, id, atMs);
          say(id, "scpMessage", 300, atMs, { scp: { validator, slot: BigInt(60_000 + slot), statement }, copy });
        }
      }
    }
    for (const [rank, { id }] of up.entries()) {
      const atMs = 4500 + slot * SLOT_MS + rank;
      const copy = see("txSet", `set ${slot}`, id, atMs);
      say(id, "generalizedTxSet", 20_000, atMs, { copy });
      say(id, "floodAdvert", 680, atMs + 1, { advert: { hashes: 20, fresh: 20 } });
    }
    model.apply({ kind: "ledger", ledgerSeq: 60_000 + slot, ...times(4900 + slot * SLOT_MS) });
  }
  const endMs = Math.max(1000, scene.slots * SLOT_MS);
  for (const [at, { address, id }] of up.entries()) {
    model.apply({
      kind: "status",
      peer: id,
      address,
      versionStr: scene.versionStr ?? `stellar-core 25.0.${at} (abcdef)`,
      overlayVersion: 39,
      connectedMs: endMs,
      rttMs: 12.5 + at * 7.25,
      creditGiven: { messages: 180 - at, bytes: 290_000 - 1000 * at },
      creditHeld: { messages: 150, bytes: 250_000 },
      queued: at % 3,
      uniqueFlood: 100,
      duplicateFlood: 50,
      ...times(endMs),
    });
  }
  model.tick(endMs);
  return { model, clock };
}
