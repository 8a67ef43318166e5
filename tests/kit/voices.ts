/**
 * The little of a herder that tests of flooding need: validators that sign statements, the quorum sets and transaction sets
 * these refer to, and transactions; also what a node was sent.
 */
import assert from "node:assert/strict";
import { concatBytes } from "../../overlay/base/bytes.ts";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { networkIdOf, sha256, type SigningKey, signingKey } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { floodIdOf } from "../../overlay/flood/floodgate.ts";
import { txSetOf } from "../../overlay/flood/scp_state_test_kit.ts";
import { transactionHash } from "../../overlay/flood/transaction_pool.ts";
import { hashText } from "../../overlay/flood/tx_adverts_hashes.ts";
import type { OverlayManager } from "../../overlay/manager/overlay_manager.ts";
import type { OverlayMessage } from "../../overlay/manager/subscription.ts";
import {
  decodeMessage,
  encodeMessage,
  type MessageTypeName,
  type StellarMessage,
} from "../../overlay/wire/messages.ts";
import type { ScpQuorumSet } from "../../overlay/wire/types.ts";
import { type StatementKind, Validator } from "../../survey/twin/scp.ts";
import { PASSPHRASE } from "./engine_world.ts";

const NETWORK_ID = networkIdOf(PASSPHRASE);
/** Values close at the beginning of the virtual time, which is in the past of the real one. */
const CLOSE_TIME = BigInt(new VirtualClock().wallMs() / 1000);

/** A validator's voice, with a quorum set and a transaction set of its own. Nodes carry its messages. */
export class Voice {
  readonly key: SigningKey;
  /** `G...` */
  readonly id: string;
  readonly quorumSet: ScpQuorumSet;
  readonly txSet: { message: Uint8Array; hash: Uint8Array };
  readonly #validator: Validator;

  /** The same voice for the same number; `key` is a node's that speaks for itself. */
  constructor(n: number, options: { key?: SigningKey; quorumSet?: ScpQuorumSet } = {}) {
    this.key = options.key ?? signingKey(sha256(Uint8Array.of(n >> 8, n, 0x5c)));
    this.id = encodeNodeId(this.key.publicKey);
    this.quorumSet = options.quorumSet ?? { threshold: 1, validators: [this.key.publicKey], innerSets: [] };
    this.txSet = txSetOf(n);
    const { key, quorumSet } = this;
    this.#validator = new Validator({ index: n, lagMs: 0, key, networkId: NETWORK_ID, quorumSet });
  }

  /** A signed value: it refers to this validator's transaction set, unless another's hash is given. */
  value(slot: number, txSetHash = this.txSet.hash): Uint8Array {
    return this.#validator.propose(slot, CLOSE_TIME, txSetHash);
  }

  /** The SCP message about a value: its own, unless another is given. */
  says(slot: number, kind: StatementKind, value = this.value(slot)): StellarMessage {
    return decodeMessage(this.#validator.state(slot, kind, value).message);
  }

  /**
   * Says it through a node, as if the statement had just come there. The node's own voice is kept by the node; another's is
   * judged first.
   */
  sayAt(engine: OverlayManager, slot: number, kind: StatementKind, value?: Uint8Array): void {
    const message = this.says(slot, kind, value), bytes = encodeMessage(message);
    const verdict = engine.scp.judge(bytes, floodIdOf(bytes));
    if (verdict.accepted) engine.scp.remember(verdict.judged, bytes);
    else assert.equal(verdict.reason, "own");
    engine.broadcast(message);
  }

  /** Gives a node what the statements refer to. */
  equip(engine: OverlayManager, txSet = this.txSet): void {
    engine.dispatcher.addQuorumSet(this.quorumSet);
    engine.dispatcher.txSets.set(hashText(txSet.hash), txSet.message);
  }
}

/** A TRANSACTION that no other number makes; nobody with a ledger would take it. */
export function transaction(n: number): { message: StellarMessage; hash: string } {
  const body = concatBytes(Uint8Array.of(0, 0, 0, 2), sha256(Uint8Array.of(n >> 8, n)), new Uint8Array(200));
  const message: StellarMessage = { type: "transaction", transaction: body };
  return { message, hash: transactionHash(encodeMessage(message)) };
}

/** What a node is sent from here on, as it arrives. */
export function listen(engine: OverlayManager, ...types: MessageTypeName[]): OverlayMessage[] {
  const heard: OverlayMessage[] = [];
  const take = async () => {
    for await (const message of engine.subscribe({ types })) heard.push(message);
  };
  void take();
  return heard;
}
