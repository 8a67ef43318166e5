/**
 * Validators that close ledgers in a {@link SimWorld}: real signed statements about transaction sets that exist, and quorum
 * sets that their nodes answer with; everything else fetches them.
 */
import { concatBytes, encodeText } from "../../overlay/base/bytes.ts";
import { type Clock, type Timer } from "../../overlay/base/clock.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";
import { hashText } from "../../overlay/flood/tx_adverts_hashes.ts";
import { decodeMessage, encodeMessage } from "../../overlay/wire/messages.ts";
import { encodeStellarValue, type ScpQuorumSet } from "../../overlay/wire/types.ts";
import {
  quorumSetOf,
  type SignedEnvelope,
  type StatementKind,
  Validator,
  valuePreimage,
} from "../../survey/twin/scp.ts";
import type { EngineNode } from "./engine_world.ts";
import { NETWORK_ID } from "./sim_world.ts";

/** Time of a statement after its slot began, ms. */
const AT_MS: Record<StatementKind, number> = { nominate: 0, prepare: 700, confirm: 1400, externalize: 2100 };

/** One statement, by what it says. */
export interface Said {
  slot: number;
  kind: StatementKind;
  /** Index of the node in the world. */
  by: number;
  /** Signature in hex: names the statement. */
  name: string;
}

/** See the head of this file. */
export class ScpTraffic {
  /** Statements said so far. BOUNDED: by the test. */
  readonly said: Said[] = [];
  readonly #clock: Clock;
  readonly #ledgerMs: number;
  readonly #kinds: readonly StatementKind[];
  readonly #phases: (slot: number) => Uint8Array;
  readonly #voices: { node: () => EngineNode; validator: Validator; quorumSet: ScpQuorumSet }[];
  #slot: number;
  #closeTime = 0n;
  /** BOUNDED: the statements of a slot, and the next slot. */
  #timers: Timer[] = [];
  #timer: Timer | undefined;

  /** `nodes` are asked for at every use: a node that was stopped says nothing, one that took its place speaks for it. */
  constructor(
    clock: Clock,
    nodes: readonly (() => EngineNode)[],
    options: {
      ledgerMs?: number;
      firstSlot?: number;
      kinds?: readonly StatementKind[];
      lagMs?: (at: number) => number;
      /** Encoded phases of a slot's transaction set; none by default. */
      phases?: (slot: number) => Uint8Array;
    } = {},
  ) {
    this.#clock = clock;
    this.#ledgerMs = options.ledgerMs ?? 5000;
    this.#slot = options.firstSlot ?? 1000;
    this.#kinds = options.kinds ?? ["nominate", "prepare", "confirm", "externalize"];
    this.#phases = options.phases ?? (() => new Uint8Array(4));
    const ids = nodes.map((node) => node().key.publicKey);
    this.#voices = nodes.map((node, at) => {
      const quorumSet = quorumSetOf(ids, at);
      const lagMs = options.lagMs?.(at) ?? 30 * at;
      const { key, index } = node();
      return { node, quorumSet, validator: new Validator({ index, lagMs, key, networkId: NETWORK_ID, quorumSet }) };
    });
  }

  /** The slot that is being closed. */
  get slot(): number {
    return this.#slot;
  }

  /** Statements of one slot. */
  get perSlot(): number {
    return this.#voices.length * this.#kinds.length;
  }

  /** Begins to close slots, the first now. */
  start(): void {
    this.#closeSlot();
  }

  /** Closes no more. */
  stop(): void {
    this.#timer?.cancel();
    for (const timer of this.#timers) timer.cancel();
  }

  #closeSlot(): void {
    const slot = this.#slot;
    const proposer = this.#voices[slot % this.#voices.length];
    const { key, engine } = proposer.node();
    const previousLedgerHash = sha256(concatBytes(NETWORK_ID, encodeText(`ledger ${slot - 1}`)));
    const txSet = encodeMessage({
      type: "generalizedTxSet",
      generalizedTxSet: { v: 1, previousLedgerHash, phases: this.#phases(slot) },
    });
    const txSetHash = sha256(txSet.subarray(4));
    engine.dispatcher.txSets.set(hashText(txSetHash), txSet);
    const now = BigInt(Math.floor(this.#clock.wallMs() / 1000));
    this.#closeTime = now > this.#closeTime ? now : this.#closeTime + 1n;
    const lcValueSignature = {
      nodeId: key.publicKey,
      signature: key.sign(valuePreimage(NETWORK_ID, txSetHash, this.#closeTime)),
    };
    const value = encodeStellarValue({
      txSetHash,
      closeTime: this.#closeTime,
      upgrades: [],
      ext: { v: 1, lcValueSignature },
    });
    this.#timers = this.#voices.flatMap((voice) =>
      this.#kinds.map((kind) =>
        this.#clock.setTimer(AT_MS[kind] + voice.validator.lagMs, () => {
          this.#say(voice, voice.validator.state(slot, kind, value));
        })
      )
    );
    this.#timer = this.#clock.setTimer(this.#ledgerMs, () => {
      this.#slot++;
      this.#closeSlot();
    });
  }

  #say(voice: { node: () => EngineNode; quorumSet: ScpQuorumSet }, envelope: SignedEnvelope): void {
    const { engine, index } = voice.node();
    const message = decodeMessage(envelope.message);
    if (message.type !== "scpMessage") return;
    engine.dispatcher.addQuorumSet(voice.quorumSet);
    engine.broadcast(message);
    this.said.push({ slot: envelope.slot, kind: envelope.kind, by: index, name: nameOf(envelope.message) });
  }
}

/** Names an SCP_MESSAGE by its signature. */
export function nameOf(message: Uint8Array): string {
  return hashText(message.subarray(message.length - 64));
}
