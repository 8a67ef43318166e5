import { test } from "node:test";
import assert from "node:assert/strict";
import { Account, Asset, Keypair, Operation, TransactionBuilder } from "@stellar/stellar-base";
import { concatBytes } from "../base/bytes.ts";
import { loadSession, splitFrame } from "../../tests/kit/fixtures.ts";
import { framesOf } from "../../tests/kit/replay_server.ts";
import { loadTransactionCheck } from "./transaction_check.ts";

function message(): Uint8Array {
  const key = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 1));
  const destination = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 2)).publicKey();
  const transaction = new TransactionBuilder(new Account(key.publicKey(), "1"), {
    fee: "100",
    networkPassphrase: "test",
  })
    .addOperation(Operation.payment({ destination, asset: Asset.native(), amount: "1" })).setTimeout(0).build();
  transaction.sign(key);
  return concatBytes(new Uint8Array([0, 0, 0, 8]), new Uint8Array(transaction.toEnvelope().toXDR()));
}

test("loadTransactionCheck accepts transactions of a recorded stellar-core and refuses every damaged structure", async () => {
  const check = await loadTransactionCheck();
  const recorded = framesOf(loadSession("caller-flood"), "in", "transaction").map(({ bytes }) =>
    splitFrame(bytes).message
  );
  assert.ok(recorded.length > 50);
  assert.ok(recorded.every(check));
  const good = message();
  assert.ok(check(good));
  for (let end = 4; end < good.length; end++) assert.equal(check(good.subarray(0, end)), false, `cut at ${end}`);
  assert.equal(check(concatBytes(good, new Uint8Array(4))), false);
  const unknownOperation = good.slice();
  // From the end: one signature, the extension point, and the payment with its type first.
  const at = good.length - 76 - 4 - (4 + 36 + 4 + 8);
  assert.deepEqual([...good.subarray(at, at + 4)], [0, 0, 0, 1]);
  unknownOperation[at + 3] = 200;
  assert.equal(check(unknownOperation), false);
});
