import assert from "node:assert/strict";
import { test } from "node:test";
import { ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { WatchMessage } from "./records.ts";
import { ScpBoard } from "./scp_board.ts";

type Statement = NonNullable<WatchMessage["scp"]>["statement"];

function said(
  board: ScpBoard,
  atMs: number,
  slot: number,
  validator: string,
  statement: Statement,
  peer = "P",
  rank = 1,
) {
  board.apply({
    kind: "message",
    atMs,
    wallMs: atMs,
    peer,
    type: "scpMessage",
    bytes: 1,
    message: new ReceivedMessage(11, new Uint8Array(), atMs),
    scp: { validator, slot: BigInt(slot), statement },
    copy: { rank, behindMs: 0 },
  });
}

test("a slot shows who got how far, when, and who brought it how late", () => {
  const board = new ScpBoard();
  said(board, 1000, 7, "A", "nominate");
  said(board, 1010, 7, "B", "nominate");
  said(board, 1300, 7, "A", "prepare");
  said(board, 1500, 7, "A", "confirm");
  said(board, 1700, 7, "A", "externalize");
  said(board, 1720, 7, "A", "externalize", "Q", 2);
  assert.equal(board.decided, undefined, "one of two");
  said(board, 1750, 7, "B", "externalize");
  assert.equal(board.decided, 7);
  const slot = board.slot(7)!;
  assert.deepEqual(slot.reached, { nominate: 2, prepare: 2, confirm: 2, externalize: 2 });
  assert.deepEqual(slot.firstMs, { nominate: 0, prepare: 300, confirm: 500, externalize: 700 });
  assert.deepEqual(slot.lastMs.externalize, 750);
  assert.equal(slot.firstValidator, "A");
  assert.deepEqual(slot.peerLagMs, { P: 0, Q: 20 });
  assert.equal(slot.validators.find(({ validator }) => validator === "A")!.statements, 4);
});

test("a validator that is usually heard and says nothing is missing, with the length of its silence", () => {
  const board = new ScpBoard();
  for (let slot = 1; slot <= 6; slot++) {
    for (const validator of ["A", "B", "C"]) {
      if (validator === "C" && slot >= 4) continue;
      said(board, slot * 5000, slot, validator, "externalize");
    }
  }
  assert.deepEqual(board.slot(6)!.missing, ["C"]);
  assert.deepEqual(board.slot(3)!.missing, []);
  const [worst] = board.validators();
  assert.deepEqual([worst.validator, worst.missingStreak, worst.missedSlots, worst.lastSlot], ["C", 3, 3, 3]);
});

test("refused statements, slots beyond a ledger's number, and old slots change nothing; slots are bounded", () => {
  const board = new ScpBoard({ maxSlots: 3 });
  board.apply({
    kind: "message",
    atMs: 0,
    wallMs: 0,
    peer: "P",
    type: "scpMessage",
    bytes: 1,
    message: new ReceivedMessage(11, new Uint8Array(), 0),
    scp: { validator: "A", slot: 1n, statement: "externalize", refusal: "bad_signature" },
  });
  assert.equal(board.slots().length, 0);
  for (const slot of [5, 6, 7, 8]) said(board, slot, slot, "A", "externalize");
  said(board, 9, 4, "A", "externalize");
  assert.deepEqual(board.slots().map(({ slot }) => slot), [8, 7, 6]);
  assert.deepEqual(board.slots(1).map(({ slot }) => slot), [8]);
});

test("slots that begin at once one after the other were told from memory; the last of them may be the current one", () => {
  const board = new ScpBoard();
  for (const slot of [7, 8, 9]) said(board, slot - 6, slot, "A", "externalize");
  said(board, 1000, 10, "A", "nominate");
  assert.deepEqual([7, 8, 9, 10].map((slot) => board.slot(slot)!.replayed), [true, true, false, false]);
});

test("slots told after a later one was decided are marked as told from memory", () => {
  const board = new ScpBoard();
  said(board, 1, 10, "A", "externalize");
  said(board, 2, 9, "A", "externalize");
  assert.deepEqual([board.slot(10)!.replayed, board.slot(9)!.replayed], [false, true]);
});
