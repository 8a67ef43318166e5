/**
 * Which of two SCP statements is newer. Source: stellar-core NominationProtocol.cpp and BallotProtocol.cpp
 * isNewerStatement, Slot.cpp isNewerNominationOrBallotSt; wire.md section 4.
 */
import { compareBytes } from "../base/bytes.ts";
import { OverlayError } from "../base/errors.ts";
import { decodeMessage } from "../wire/messages.ts";
import { SCP_STATEMENT_TYPES, type ScpBallot, type ScpNomination, type ScpPledges } from "../wire/types.ts";

/**
 * Whether `next` is newer than `old`; both are pledges of one node for one slot. Nominations and ballot statements are
 * never compared with each other.
 */
export function isNewerStatement(old: ScpPledges, next: ScpPledges): boolean {
  if (old.type === "nominate" || next.type === "nominate") {
    return old.type === "nominate" && next.type === "nominate" && isNewerNomination(old.nominate, next.nominate);
  }
  if (old.type === "prepare" && next.type === "prepare") {
    const a = old.prepare, b = next.prepare;
    const order = compareBallots(a.ballot, b.ballot) || compareBallots(a.prepared, b.prepared) ||
      compareBallots(a.preparedPrime, b.preparedPrime) || a.nH - b.nH;
    return order < 0;
  }
  if (old.type === "confirm" && next.type === "confirm") {
    const a = old.confirm, b = next.confirm;
    return (compareBallots(a.ballot, b.ballot) || a.nPrepared - b.nPrepared || a.nH - b.nH) < 0;
  }
  return SCP_STATEMENT_TYPES[old.type] < SCP_STATEMENT_TYPES[next.type];
}

/** Orders ballots by counter, then value; no ballot comes first. */
export function compareBallots(a: ScpBallot | null, b: ScpBallot | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return a.counter - b.counter || compareBytes(a.value, b.value);
}

function isNewerNomination(old: ScpNomination, next: ScpNomination): boolean {
  return includes(next.votes, old.votes) && includes(next.accepted, old.accepted) &&
    (next.votes.length > old.votes.length || next.accepted.length > old.accepted.length);
}

/** Whether the ascending list `all` holds every value of the ascending list `some`. */
function includes(all: Uint8Array[], some: Uint8Array[]): boolean {
  if (some.length > all.length) return false;
  let at = 0;
  for (const value of some) {
    while (at < all.length && compareBytes(all[at], value) < 0) at++;
    if (at === all.length || compareBytes(all[at++], value) !== 0) return false;
  }
  return true;
}

/** Pledges of messages that were compared; null of what is no SCP_MESSAGE. BOUNDED: gone with the message's array. */
const pledgesOf = new WeakMap<Uint8Array, ScpPledges | null>();

/**
 * The comparison that `ScpQueueRules` needs: of two SCP_MESSAGEs of one node and slot. Each array is decoded once, for all
 * peers it is queued for.
 */
export function isNewerScpMessage(old: Uint8Array, next: Uint8Array): boolean {
  const before = decoded(old), after = decoded(next);
  return before !== null && after !== null && isNewerStatement(before, after);
}

function decoded(message: Uint8Array): ScpPledges | null {
  let pledges = pledgesOf.get(message);
  if (pledges === undefined) {
    pledges = null;
    try {
      const read = decodeMessage(message);
      if (read.type === "scpMessage") pledges = read.envelope.statement.pledges;
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
    }
    pledgesOf.set(message, pledges);
  }
  return pledges;
}
