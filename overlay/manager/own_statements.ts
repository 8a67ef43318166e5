/**
 * The latest SCP messages of this node itself, to be said again while the network stands still. Source: stellar-core
 * HerderImpl.cpp outOfSyncRecovery, SCP getLatestMessagesSend.
 */
import type { ScpEnvelope } from "../wire/types.ts";

/** Of the highest slot we spoke about: one nomination and one ballot message. BOUNDED: two messages. */
export class OwnStatements {
  #slot = -1n;
  #nomination: Uint8Array | undefined;
  #ballot: Uint8Array | undefined;

  /** Takes an SCP_MESSAGE of ours. One of an older slot than the last is of no use any more. */
  add(envelope: ScpEnvelope, message: Uint8Array): void {
    const { slotIndex, pledges } = envelope.statement;
    if (slotIndex < this.#slot) return;
    if (slotIndex > this.#slot) this.#nomination = this.#ballot = undefined;
    this.#slot = slotIndex;
    if (pledges.type === "nominate") this.#nomination = message;
    else this.#ballot = message;
  }

  /** Nomination first. */
  get latest(): Uint8Array[] {
    return [this.#nomination, this.#ballot].filter((message) => message !== undefined);
  }
}
