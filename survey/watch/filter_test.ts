import assert from "node:assert/strict";
import { test } from "node:test";
import { OverlayError } from "../../overlay/base/errors.ts";
import { ReceivedMessage } from "../../overlay/wire/messages.ts";
import { passes, slotsOf, typesOf, type WatchFilter } from "./filter.ts";
import type { WatchMessage, WatchRecord } from "./records.ts";

const scp: WatchMessage = {
  kind: "message",
  atMs: 0,
  wallMs: 0,
  peer: "GPEER",
  type: "scpMessage",
  bytes: 0,
  message: new ReceivedMessage(11, new Uint8Array(), 0),
  scp: { validator: "GVALID", slot: 100n, statement: "prepare" },
};
const advert: WatchMessage = { ...scp, type: "floodAdvert", scp: undefined };

test("typesOf reads types and statements as people write them", () => {
  assert.deepEqual([...typesOf(["SCP_MESSAGE", "floodAdvert", "txset"]).types!], [
    "scpMessage",
    "floodAdvert",
    "txSet",
    "generalizedTxSet",
  ]);
  const both = typesOf(["externalize", "tx"]);
  assert.deepEqual([[...both.types!], [...both.statements!]], [["scpMessage", "transaction"], ["externalize"]]);
  assert.equal(typesOf(["scp", "externalize"]).statements, undefined, "all of them");
  assert.throws(
    () => typesOf(["nonsense"]),
    (error) => error instanceof OverlayError && error.code === "invalid_argument",
  );
});

test("slotsOf reads one slot and ranges", () => {
  assert.deepEqual(slotsOf("100"), { from: 100n, to: 100n });
  assert.deepEqual(slotsOf("100-200"), { from: 100n, to: 200n });
  assert.deepEqual(slotsOf("-200"), { from: 0n, to: 200n });
  assert.deepEqual(slotsOf("100-"), { from: 100n, to: 0xffffffffffffffffn });
  for (const wrong of ["", "-", "x", "9-3", "1.5"]) assert.throws(() => slotsOf(wrong), OverlayError, wrong);
});

test("passes asks everything of a message, and nothing of an event", () => {
  const table: [WatchFilter, WatchRecord, boolean][] = [
    [{}, scp, true],
    [{ types: new Set(["scpMessage"]) }, advert, false],
    [{ peers: ["GP"] }, scp, true],
    [{ peers: ["GX", "GP"] }, scp, true],
    [{ peers: ["GX"] }, scp, false],
    [{ validators: ["GVAL"] }, scp, true],
    [{ validators: ["GX"] }, scp, false],
    [{ validators: ["G"] }, advert, false],
    [{ slots: { from: 100n, to: 100n } }, scp, true],
    [{ slots: { from: 101n, to: 200n } }, scp, false],
    [{ slots: { from: 0n, to: 200n } }, advert, false],
    [{ statements: new Set(["externalize"]) }, scp, false],
    [{ statements: new Set(["prepare"]) }, scp, true],
    [{ types: new Set(["transaction"]) }, { kind: "syncLost", atMs: 0, wallMs: 0, ledgerSeq: 1, silentMs: 1 }, true],
    [{}, { kind: "ledger", atMs: 0, wallMs: 0, ledgerSeq: 1 }, false],
  ];
  for (const [i, [filter, record, expected]] of table.entries()) assert.equal(passes(filter, record), expected, `${i}`);
});
