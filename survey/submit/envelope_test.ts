/** Transactions before they are sent: read, hashed as stellar-base hashes them, and refused for what is wrong. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { FeeBumpTransaction, Keypair, Operation, TransactionBuilder, xdr } from "@stellar/stellar-base";
import { fromHex, toHex } from "../../overlay/base/bytes.ts";
import { isFailure, OverlayError } from "../../overlay/base/errors.ts";
import { LOCAL, PUBNET, resolveNetwork, TESTNET } from "../../overlay/base/networks.ts";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { bytesOf, type Made, OTHER, PAYER, payment } from "../../tests/kit/transaction_ledgers.ts";
import { type EnvelopeOptions, inspectEnvelope } from "./envelope.ts";
import { bytesOfEnvelopeText } from "./envelope_text.ts";

before(() => initPrimitives());

const NOW_MS = Date.UTC(2026, 0, 1), NOW = NOW_MS / 1000;
const OPTIONS: EnvelopeOptions = { network: LOCAL, wallMs: NOW_MS, sorobanTxMaxBytes: 132_096 };
const inspect = (bytes: Uint8Array, options: Partial<EnvelopeOptions> = {}) =>
  inspectEnvelope(bytes, { ...OPTIONS, ...options });
const refusalOf = async (made: Made, options: Partial<EnvelopeOptions> = {}) =>
  (await inspect(bytesOf(payment(made)), options)).refusal;

async function malformedField(bytes: Uint8Array): Promise<string> {
  try {
    await inspect(bytes);
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "tx_malformed") return error.failure.field;
    throw error;
  }
  return assert.fail("it decodes");
}

test("bytesOfEnvelopeText reads base64 and hex however they are wrapped", () => {
  const bytes = bytesOf(payment());
  const base64 = Buffer.from(bytes).toString("base64"), hex = toHex(bytes);
  const wrapped = base64.replace(/.{40}/g, "$&\r\n  ");
  const forms = [
    base64,
    `# a comment\n\n${wrapped}\n# more\n`,
    `"${base64}"`,
    base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""),
    hex,
    `0x${hex.toUpperCase()}`,
    hex.replace(/.{32}/g, "$& "),
    `\ufeff${base64}`,
  ];
  for (const form of forms) assert.deepEqual(bytesOfEnvelopeText(form), bytes, form.slice(0, 40));
});

test("bytesOfEnvelopeText says what is wrong and never repeats the text", () => {
  const secret = PAYER.secret();
  const cases: [string, RegExp][] = [
    ["", /no text/],
    ["# only a comment", /no text/],
    ["AAAA!AAA", /'!' \(character 5/],
    ["00000", /odd number/],
    ["AAAAZ", /is cut/],
    ["AAA=AAAA", /goes on/],
    ["gr\u00fc\u00dfe", /outside of ASCII/],
    [secret, /secret seed/],
    ["A".repeat(2 ** 20 + 1), /more than/],
  ];
  for (const [text, reason] of cases) {
    assert.throws(() => bytesOfEnvelopeText(text), (error) => {
      assert.ok(isFailure("tx_unreadable")(error));
      assert.match(error.message, reason);
      assert.ok(!error.message.includes(secret));
      return true;
    });
  }
});

test("inspectEnvelope computes the hashes that stellar-base computes, on every network", async () => {
  for (const network of [LOCAL, PUBNET, TESTNET, resolveNetwork("a network of our own")]) {
    const tx = payment({ passphrase: network.passphrase });
    const { view, refusal } = await inspect(bytesOf(tx), { network });
    assert.equal(refusal, undefined);
    assert.equal(view.hash, tx.hash().toString("hex"));
    assert.equal(view.signatures[0].signer, PAYER.publicKey());
    const bump = TransactionBuilder.buildFeeBumpTransaction(OTHER, "400", tx, network.passphrase);
    bump.sign(OTHER);
    const bumped = await inspect(bytesOf(bump), { network });
    assert.equal(bumped.refusal, undefined);
    assert.equal(bumped.view.hash, bump.hash().toString("hex"));
    assert.equal(bumped.view.innerHash, tx.hash().toString("hex"));
    assert.deepEqual([bumped.view.kind, bumped.view.feeSource, bumped.view.fee], ["feeBump", OTHER.publicKey(), 800n]);
    // The old form of the same transaction has its hash and its signatures.
    const v1 = tx.toEnvelope().v1();
    const v0 = xdr.TransactionEnvelope.envelopeTypeTxV0(
      new xdr.TransactionV0Envelope({
        tx: new xdr.TransactionV0({
          sourceAccountEd25519: PAYER.rawPublicKey(),
          fee: v1.tx().fee(),
          seqNum: v1.tx().seqNum(),
          timeBounds: v1.tx().cond().timeBounds(),
          memo: v1.tx().memo(),
          operations: v1.tx().operations(),
          ext: xdr.TransactionV0Ext.fromXDR(Buffer.alloc(4)),
        }),
        signatures: v1.signatures(),
      }),
    );
    const old = await inspect(new Uint8Array(v0.toXDR()), { network });
    assert.deepEqual([old.refusal, old.view.kind, old.view.hash], [undefined, "v0", view.hash]);
    assert.notEqual(old.view.advertHash, view.advertHash);
  }
});

test("inspectEnvelope shows what a transaction is", async () => {
  const { view, warnings } = await inspect(bytesOf(payment({ operations: 3, maxTime: NOW + 60, fee: "200" })));
  assert.deepEqual(view.operations, Array(3).fill({ type: "payment", source: null }));
  assert.deepEqual([view.source, view.sequence, view.fee, view.maxTime, view.minTime, view.isSoroban, view.memo], [
    PAYER.publicKey(),
    42n,
    600n,
    BigInt(NOW + 60),
    null,
    false,
    null,
  ]);
  assert.deepEqual(warnings, []);
  const cheap = await inspect(bytesOf(payment({ operations: 3, fee: "33" })));
  assert.match(cheap.warnings.join(), /99 stroops is below the network's minimum of 300/);
  assert.match(cheap.warnings.join(), /no end of validity/);
});

test("inspectEnvelope refuses what is signed for another network, and names it", async () => {
  assert.deepEqual(await refusalOf({ passphrase: TESTNET.passphrase }, { network: PUBNET }), {
    code: "tx_wrong_network",
    chosen: "pubnet",
    signedFor: "testnet",
  });
  // An unknown network cannot be named.
  assert.equal((await refusalOf({ passphrase: "elsewhere" }))?.code, "tx_bad_signature");
  const network = resolveNetwork("elsewhere");
  assert.equal(await refusalOf({ passphrase: "elsewhere" }, { network }), undefined);
  // The inner transaction of a fee bump counts by itself.
  const inner = payment({ passphrase: TESTNET.passphrase });
  const bump = TransactionBuilder.buildFeeBumpTransaction(OTHER, "400", inner, LOCAL.passphrase) as FeeBumpTransaction;
  bump.sign(OTHER);
  assert.equal((await inspect(bytesOf(bump))).refusal?.code, "tx_wrong_network");
});

test("inspectEnvelope refuses unsigned, altered, expired, early and oversized transactions", async () => {
  assert.deepEqual(await refusalOf({ signers: [] }), { code: "tx_unsigned", part: "transaction" });
  const altered = bytesOf(payment());
  altered[40 + 3] ^= 1; // the fee
  assert.equal((await inspect(altered)).refusal?.code, "tx_bad_signature");
  assert.deepEqual(await refusalOf({ maxTime: NOW - 1 }), {
    code: "tx_time_bounds",
    problem: "expired",
    bound: "2025-12-31T23:59:59Z",
    nowAt: "2026-01-01T00:00:00Z",
  });
  assert.equal(await refusalOf({ maxTime: NOW }), undefined);
  const early = await refusalOf({ minTime: NOW + 60, maxTime: NOW + 120 });
  assert.ok(early?.code === "tx_time_bounds" && early.problem === "too early");
  assert.equal((await inspect(bytesOf(payment({ operations: 0 })))).refusal?.code, "tx_malformed");
  const wasm = (size: number) => payment({ extra: Operation.uploadContractWasm({ wasm: Buffer.alloc(size) }) });
  assert.equal((await inspect(bytesOf(wasm(133_000)))).refusal, undefined);
  const large = (await inspect(bytesOf(wasm(134_096)))).refusal;
  assert.ok(large?.code === "tx_too_large" && large.limit === 134_096 && large.bytes > large.limit);
  const signers = Array.from({ length: 20 }, (_, i) => Keypair.fromRawEd25519Seed(Buffer.alloc(32, i + 9)));
  const foreign = await inspect(bytesOf(payment({ signers })));
  assert.equal(foreign.refusal, undefined);
  assert.match(foreign.warnings.join(), /20 of 20 signatures are of no account/);
});

test("inspectEnvelope names the field where an envelope is malformed", async () => {
  const good = bytesOf(payment({ operations: 2, maxTime: NOW + 60 }));
  const changed = (at: number, ...values: number[]) => {
    const bytes = good.slice();
    bytes.set(values, at);
    return bytes;
  };
  assert.equal(await malformedField(changed(0, 0, 0, 0, 9)), "type");
  assert.equal(await malformedField(changed(4, 0, 0, 0, 7)), "v1.tx.sourceAccount.type");
  assert.equal(await malformedField(changed(52, 0, 0, 0, 7)), "v1.tx.cond.type");
  assert.equal(await malformedField(changed(72, 0, 0, 0, 7)), "v1.tx.memo.type");
  assert.equal(await malformedField(changed(76, 0, 0, 0, 101)), "v1.tx.operations");
  assert.equal(await malformedField(changed(80, 0, 0, 0, 2)), "v1.tx.operations[0].sourceAccount");
  assert.equal(await malformedField(changed(84, 0, 0, 0, 99)), "v1.tx.operations[0].body.type");
  assert.equal(await malformedField(good.subarray(0, 60)), "v1.tx.cond.timeBounds.minTime");
  assert.equal(await malformedField(good.subarray(0, good.length - 4)), "v1.signatures[0].signature");
  assert.equal(await malformedField(new Uint8Array([...good, 0, 0, 0, 0])), "envelope");
  assert.equal(await malformedField(new Uint8Array(0)), "type");
  // Every cut is noticed, and names some field.
  for (let n = 0; n < good.length; n++) assert.notEqual(await malformedField(good.subarray(0, n)), "");
  assert.equal(await malformedField(fromHex("deadbeef")), "type");
});
