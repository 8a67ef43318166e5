import assert from "node:assert/strict";
import { test } from "node:test";
import { BANNED_LEDGERS, TRANSACTION_LEDGERS, transactionHash, TransactionPool } from "./transaction_pool.ts";

const message = (n: number, length = 100) => new Uint8Array(length).fill(n);

test("TransactionPool keeps a transaction for its ledgers, then refuses it for a while", () => {
  const pool = new TransactionPool();
  assert.equal(pool.add("a", message(1), 10), "added");
  assert.equal(pool.add("a", message(1), 10), "known");
  pool.ledgerClosed(10 + TRANSACTION_LEDGERS - 1);
  assert.ok(pool.get("a") !== undefined);
  pool.ledgerClosed(10 + TRANSACTION_LEDGERS);
  assert.equal(pool.get("a"), undefined);
  assert.equal(pool.add("a", message(1), 15), "known");
  pool.ledgerClosed(10 + TRANSACTION_LEDGERS + BANNED_LEDGERS);
  assert.equal(pool.add("a", message(1), 30), "added");
});

test("TransactionPool.ban throws out what is here, and refuses what is not", () => {
  const pool = new TransactionPool();
  pool.add("a", message(1), 10);
  pool.ban(["a", "b"], 11);
  assert.deepEqual([pool.size, pool.bytes, pool.get("a")], [0, 0, undefined]);
  for (const hash of ["a", "b"]) assert.deepEqual([pool.knows(hash), pool.add(hash, message(1), 12)], [true, "known"]);
  pool.ledgerClosed(11 + BANNED_LEDGERS);
  assert.equal(pool.add("b", message(1), 21), "added");
});

test("TransactionPool is bounded in transactions and bytes, and balances", () => {
  const pool = new TransactionPool({ maxTransactions: 3, maxBytes: 1000 });
  for (let i = 0; i < 5; i++) assert.equal(pool.add(String(i), message(i), 1), i < 3 ? "added" : "full");
  pool.ledgerClosed(1 + TRANSACTION_LEDGERS);
  assert.deepEqual([pool.size, pool.bytes], [0, 0]);
  assert.equal(pool.add("big", message(9, 1001), 9), "full");
  assert.equal(pool.add("fits", message(9, 1000), 9), "added");
});

test("transactionHash is the SHA-256 of the envelope, without the message type", async () => {
  const { createHash } = await import("node:crypto");
  const bytes = message(7);
  assert.equal(transactionHash(bytes), createHash("sha256").update(bytes.subarray(4)).digest("hex"));
});
