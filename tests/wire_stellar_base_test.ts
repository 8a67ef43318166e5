/**
 * The codecs against stellar-base's XDR: same bytes for the same values, field by field, in both directions. Values come
 * from our arbitraries, and from stellar-base's own type definitions filled at random, transactions included.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  Account,
  Asset,
  FeeBumpTransaction,
  Keypair,
  Memo,
  Networks,
  Operation,
  Transaction,
  TransactionBuilder,
  xdr,
} from "@stellar/stellar-base";
import { concatBytes, toHex } from "../overlay/base/bytes.ts";
import { SeededRandom } from "../overlay/base/random.ts";
import { bytesOfText, type Codec, decode, encode } from "../overlay/wire/xdr.ts";
import * as types from "../overlay/wire/types.ts";
import * as survey from "../overlay/wire/survey_messages.ts";
import {
  decodeMessage,
  encodeMessage,
  MessageType,
  type MessageTypeName,
  stellarMessage,
  txSetPreimage,
} from "../overlay/wire/messages.ts";
import * as arb from "./kit/arbitrary.ts";

// stellar-base's types describe neither its type definitions nor random access by name.
// deno-lint-ignore no-explicit-any
type Any = any;
const base = xdr as Any;

/** What a js-xdr definition is. Its classes are told apart by what they hold. */
function kindOf(type: Any): string {
  if (type.structName) return "struct";
  if (type.unionName) return "union";
  if (type.enumName) return "enum";
  if ("_childType" in type) return "_maxLength" in type ? "vector" : "_length" in type ? "array" : "option";
  if ("_maxLength" in type) return typeof type.readString === "function" ? "string" : "varOpaque";
  if ("_length" in type) return "opaque";
  return type.name;
}

/** A random value of a js-xdr definition. Below `depth` 0 vectors are empty, options absent, unions take their plainest arm. */
function randomBase(type: Any, random: SeededRandom, depth: number): Any {
  const bytes = (n: number) => Buffer.from(random.bytes(n));
  switch (kindOf(type)) {
    case "struct":
      return new type(
        Object.fromEntries(type._fields.map(([name, t]: [string, Any]) => [name, randomBase(t, random, depth - 1)])),
      );
    case "union": {
      let switches = [...type._switches.keys()];
      if (depth <= 0) {
        const plain = switches.filter((key) => type._arms[type._switches.get(key)] === undefined);
        switches = [plain[0] ?? switches[0]];
      }
      const key = switches[random.int(switches.length)];
      const arm = type._arms[type._switches.get(key)];
      return new type(key, arm === undefined ? undefined : randomBase(arm, random, depth - 1));
    }
    case "enum":
      return type.values()[random.int(type.values().length)];
    case "vector": {
      const count = depth <= 0 ? 0 : random.int(Math.min(type._maxLength, 3) + 1);
      return Array.from({ length: count }, () => randomBase(type._childType, random, depth - 1));
    }
    case "array":
      return Array.from({ length: type._length }, () => randomBase(type._childType, random, depth - 1));
    case "option":
      return depth <= 0 || random.next() < 0.3 ? undefined : randomBase(type._childType, random, depth - 1);
    case "string":
    case "varOpaque":
      return bytes(random.int(Math.min(type._maxLength, 70) + 1));
    case "opaque":
      return bytes(type._length);
    case "Bool":
      return random.next() < 0.5;
    case "Int":
      return random.int(2 ** 32) | 0;
    case "UnsignedInt":
      return random.int(2 ** 32);
    case "Hyper":
      return new xdr.Int64(bytes(8).readBigInt64BE().toString());
    case "UnsignedHyper":
      return new xdr.Uint64(bytes(8).readBigUInt64BE().toString());
    default:
      throw new Error(`no random value for ${kindOf(type)}`);
  }
}

/** Our field names where they are not stellar-base's. */
const OUR_FIELD: Record<string, string> = {
  p75ScpFirstToSelfLatencyMs: "p75SCPFirstToSelfLatencyMs",
  p75ScpSelfToOtherLatencyMs: "p75SCPSelfToOtherLatencyMs",
};

/** Our field of each message where it is not the name of stellar-base's arm. */
const OUR_ARM: Record<string, string> = {
  getScpLedgerSeq: "ledgerSeq",
  sendMoreMessage: "sendMore",
  sendMoreExtendedMessage: "sendMoreExtended",
  floodAdvert: "txHashes",
  floodDemand: "txHashes",
  signedTimeSlicedSurveyRequestMessage: "surveyRequest",
  signedTimeSlicedSurveyResponseMessage: "surveyResponse",
  signedTimeSlicedSurveyStartCollectingMessage: "surveyStart",
  signedTimeSlicedSurveyStopCollectingMessage: "surveyStop",
};

/** Builds stellar-base's object of `type` from our value by the names of its fields. */
function toBase(type: Any, ours: Any): Any {
  switch (type.structName ?? type.unionName) {
    case "PublicKey":
      return xdr.PublicKey.publicKeyTypeEd25519(Buffer.from(ours));
    case "Curve25519Public":
      return new base.Curve25519Public({ key: Buffer.from(ours) });
    case "PeerAddressIp":
      return ours.length === 4
        ? base.PeerAddressIp.iPv4(Buffer.from(ours))
        : base.PeerAddressIp.iPv6(Buffer.from(ours));
    case "FloodAdvert":
    case "FloodDemand":
      return new type({ txHashes: ours.map((hash: Uint8Array) => Buffer.from(hash)) });
    case "TransactionEnvelope":
      return xdr.TransactionEnvelope.fromXDR(Buffer.from(ours));
    case "TransactionSet":
    case "GeneralizedTransactionSet":
      return fromOurSet(type, ours);
    case "SurveyResponseBody":
      return base.SurveyResponseBody.surveyTopologyResponseV2(toBase(base.TopologyResponseBodyV2, ours));
    case "StellarValueExt":
      if (ours.v === 0) return base.StellarValueExt.stellarValueBasic();
      return base.StellarValueExt.stellarValueSigned(toBase(base.LedgerCloseValueSignature, ours.lcValueSignature));
    case "ScpStatementPledges": {
      const key = "scpSt" + ours.type[0].toUpperCase() + ours.type.slice(1);
      const armType = type._arms[type._switches.get(base.ScpStatementType[key]())];
      return type[key](toBase(armType, ours[ours.type]));
    }
    case "StellarMessage": {
      const arm = type._switches.get(base.MessageType[ours.type]());
      return type[ours.type](toBase(type._arms[arm], ours[OUR_ARM[arm] ?? arm]));
    }
  }
  switch (kindOf(type)) {
    case "struct": {
      const names = type._fields.map(([name]: [string]) => OUR_FIELD[name] ?? name);
      assert.deepEqual(Object.keys(ours), names, type.structName);
      return new type(
        Object.fromEntries(
          type._fields.map(([name, t]: [string, Any], i: number) => [name, toBase(t, ours[names[i]])]),
        ),
      );
    }
    case "enum":
      if (type.enumName === "SurveyMessageCommandType") return type.timeSlicedSurveyTopology();
      return type.fromValue(ours);
    case "vector":
      return ours.map((item: Any) => toBase(type._childType, item));
    case "option":
      return ours === null ? undefined : toBase(type._childType, ours);
    case "string":
      return Buffer.from(bytesOfText(ours));
    case "varOpaque":
    case "opaque":
      return Buffer.from(ours);
    case "UnsignedHyper":
      return new xdr.Uint64(ours.toString());
    case "Bool":
    case "Int":
    case "UnsignedInt":
      return ours;
    default:
      throw new Error(`no way from ours to ${type.structName ?? type.unionName ?? kindOf(type)}`);
  }
}

/** A transaction set from the parts we keep encoded, each read by stellar-base on its own. */
function fromOurSet(type: Any, ours: Any): Any {
  if (type.structName === "TransactionSet") {
    const count = new Uint8Array(4);
    new DataView(count.buffer).setUint32(0, ours.txCount);
    return type.fromXDR(Buffer.from(concatBytes(ours.previousLedgerHash, count, ours.txs)));
  }
  const v1 = base.TransactionSetV1.fromXDR(Buffer.from(concatBytes(ours.previousLedgerHash, ours.phases)));
  return new type(ours.v, v1);
}

const hexOf = (object: Any) => toHex(object.toXDR());

/** Our value gives stellar-base's bytes, and stellar-base reads ours. */
function oursAgrees<T>(codec: Codec<T>, type: Any, value: T): void {
  const bytes = encode(codec, value);
  assert.equal(hexOf(toBase(type, value)), toHex(bytes));
  assert.equal(hexOf(type.fromXDR(Buffer.from(bytes))), toHex(bytes));
}

/** What stellar-base made decodes to a value whose fields are stellar-base's, and encodes to the same bytes. */
function theirsAgrees<T>(codec: Codec<T>, type: Any, object: Any): void {
  const hex = hexOf(object);
  const value = decode(codec, new Uint8Array(object.toXDR()));
  assert.equal(toHex(encode(codec, value)), hex);
  assert.equal(hexOf(toBase(type, value)), hex);
}

function compare<T>(name: string, codec: Codec<T>, arbitrary: fc.Arbitrary<T>, numRuns = 100): void {
  test(`${name}: our values encode to stellar-base's bytes, and its values decode to our fields`, () => {
    const type = base[name];
    fc.assert(fc.property(arbitrary, (value) => oursAgrees(codec, type, value)), { numRuns });
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 12 }), (seed, depth) => {
        theirsAgrees(codec, type, randomBase(type, new SeededRandom(seed), depth));
      }),
      { numRuns },
    );
  });
}

const known = arb.arbStellarValue.filter((value) => value.ext.v === 0 || value.ext.v === 1);

compare("AuthCert", types.authCert, arb.arbAuthCert);
compare("Hello", types.hello, arb.arbHello);
compare("PeerAddress", types.wireAddress, arb.arbWireAddress);
compare("ScpBallot", types.scpBallot, arb.arbScpBallot);
compare("ScpStatement", types.scpStatement, arb.arbScpStatement);
compare("ScpEnvelope", types.scpEnvelope, arb.arbScpEnvelope);
compare("ScpQuorumSet", types.scpQuorumSet, arb.arbScpQuorumSet());
compare("StellarValue", types.stellarValue, known);
compare("PeerStats", survey.peerStats, arb.arbPeerStats);
compare("TimeSlicedPeerData", survey.timeSlicedPeerData, arb.arbTimeSlicedPeerData);
compare("TimeSlicedNodeData", survey.timeSlicedNodeData, arb.arbTimeSlicedNodeData);
compare("SurveyResponseBody", survey.surveyResponseBody, arb.arbSurveyTopology, 50);
compare("SignedTimeSlicedSurveyRequestMessage", survey.signedSurveyRequest, arb.arbSignedSurveyRequest);
compare("SignedTimeSlicedSurveyResponseMessage", survey.signedSurveyResponse, arb.arbSignedSurveyResponse);
compare("SignedTimeSlicedSurveyStartCollectingMessage", survey.signedSurveyStart, arb.arbSignedSurveyStart);
compare("SignedTimeSlicedSurveyStopCollectingMessage", survey.signedSurveyStop, arb.arbSignedSurveyStop);

for (const statement of ["prepare", "confirm", "externalize", "nominate"] as const) {
  const name = "ScpStatementPledges";
  const wanted = arb.arbScpPledges.filter((pledges) => pledges.type === statement);
  test(`${name} ${statement}: our values encode to stellar-base's bytes`, () => {
    fc.assert(fc.property(wanted, (pledges) => oursAgrees(types.scpPledges, base[name], pledges)), { numRuns: 50 });
  });
}

/** A random envelope as stellar-base defines it: any operation, contract calls included. */
const arbEnvelope: fc.Arbitrary<xdr.TransactionEnvelope> = fc.tuple(fc.integer(), fc.integer({ min: 0, max: 14 }))
  .map(([seed, depth]) => randomBase(base.TransactionEnvelope, new SeededRandom(seed), depth));

const source = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 7));
const target = Keypair.fromRawEd25519Seed(Buffer.alloc(32, 8)).publicKey();

/** A signed payment, and the same as a fee bump. */
function realTransactions(amount: number): (Transaction | FeeBumpTransaction)[] {
  const account = new Account(source.publicKey(), "12345");
  const transaction = new TransactionBuilder(account, { fee: "100", networkPassphrase: Networks.TESTNET })
    .addOperation(Operation.payment({ destination: target, asset: Asset.native(), amount: `${amount}` }))
    .addMemo(Memo.text("überweisung"))
    .setTimeout(300)
    .build();
  transaction.sign(source);
  const bump = TransactionBuilder.buildFeeBumpTransaction(source, "200", transaction, Networks.TESTNET);
  bump.sign(source);
  return [transaction, bump];
}

/** Replaces the opaque stand-ins of the arbitraries by what stellar-base can read. */
const messages: { [N in MessageTypeName]: fc.Arbitrary<Any> } = {
  ...arb.arbMessages,
  transaction: arbEnvelope.map((envelope) => ({ type: "transaction", transaction: new Uint8Array(envelope.toXDR()) })),
  txSet: fc.tuple(arb.arbHash, fc.array(arbEnvelope, { maxLength: 3 })).map(([previousLedgerHash, envelopes]) => ({
    type: "txSet",
    txSet: {
      previousLedgerHash,
      txCount: envelopes.length,
      txs: concatBytes(...envelopes.map((e) => new Uint8Array(e.toXDR()))),
    },
  })),
  generalizedTxSet: fc.tuple(fc.integer(), fc.integer({ min: 0, max: 14 })).map(([seed, depth]) => {
    const v1 = new Uint8Array(randomBase(base.TransactionSetV1, new SeededRandom(seed), depth).toXDR());
    return {
      type: "generalizedTxSet",
      generalizedTxSet: { v: 1, previousLedgerHash: v1.slice(0, 32), phases: v1.slice(32) },
    };
  }),
};

test("stellar-base knows the same message types", () => {
  const theirs = Object.fromEntries(base.MessageType.values().map((v: Any) => [v.name, v.value]));
  assert.deepEqual(theirs, { ...MessageType });
});

for (const type of Object.keys(MessageType) as MessageTypeName[]) {
  test(`StellarMessage ${type}: our values encode to stellar-base's bytes, and its values decode to our fields`, () => {
    fc.assert(fc.property(messages[type], (message) => oursAgrees(stellarMessage, base.StellarMessage, message)), {
      numRuns: 60,
    });
    const armType = base.StellarMessage._arms[base.StellarMessage._switches.get(base.MessageType[type]())];
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 14 }), (seed, depth) => {
        const object = base.StellarMessage[type](randomBase(armType, new SeededRandom(seed), depth));
        theirsAgrees(stellarMessage, base.StellarMessage, object);
      }),
      { numRuns: 60 },
    );
  });
}

test("real signed transactions pass through TRANSACTION, TX_SET and GENERALIZED_TX_SET unchanged", () => {
  const envelopes = [1, 2, 3].flatMap(realTransactions).map((transaction) => transaction.toEnvelope());
  for (const envelope of envelopes) {
    const object = xdr.StellarMessage.transaction(envelope);
    theirsAgrees(stellarMessage, base.StellarMessage, object);
    const message = decodeMessage(new Uint8Array(object.toXDR()));
    assert.ok(message.type === "transaction");
    assert.equal(toHex(message.transaction), hexOf(envelope));
    const again = TransactionBuilder.fromXDR(Buffer.from(message.transaction).toString("base64"), Networks.TESTNET);
    assert.equal(hexOf(again.toEnvelope()), hexOf(envelope));
  }

  const previousLedgerHash = Buffer.alloc(32, 9);
  const legacy = xdr.StellarMessage.txSet(new xdr.TransactionSet({ previousLedgerHash, txes: envelopes }));
  theirsAgrees(stellarMessage, base.StellarMessage, legacy);
  const legacyBytes = new Uint8Array(legacy.toXDR());
  const decoded = decodeMessage(legacyBytes);
  assert.ok(decoded.type === "txSet" && decoded.txSet.txCount === envelopes.length);
  assert.equal(
    toHex(concatBytes(...txSetPreimage(legacyBytes))),
    toHex(concatBytes(previousLedgerHash, decoded.txSet.txs)),
  );

  const component = base.TxSetComponent.txsetCompTxsMaybeDiscountedFee(
    new base.TxSetComponentTxsMaybeDiscountedFee({ baseFee: new xdr.Int64("100"), txes: envelopes }),
  );
  const parallel = new base.ParallelTxsComponent({
    baseFee: undefined,
    executionStages: [[envelopes.slice(0, 2)], [envelopes.slice(2)]],
  });
  const phases = [new base.TransactionPhase(0, [component]), new base.TransactionPhase(1, parallel)];
  const set = new base.GeneralizedTransactionSet(1, new base.TransactionSetV1({ previousLedgerHash, phases }));
  const general = base.StellarMessage.generalizedTxSet(set);
  theirsAgrees(stellarMessage, base.StellarMessage, general);
  assert.equal(toHex(concatBytes(...txSetPreimage(new Uint8Array(general.toXDR())))), hexOf(set));
});

test("AuthenticatedMessage holds our message bytes between its sequence and its MAC", () => {
  fc.assert(fc.property(messages.scpMessage, arb.arbUint64, arb.arbHash, (message, sequence, mac) => {
    const inner = new base.AuthenticatedMessageV0({
      sequence: new xdr.Uint64(sequence.toString()),
      message: toBase(base.StellarMessage, message),
      mac: new base.HmacSha256Mac({ mac: Buffer.from(mac) }),
    });
    const bytes = new Uint8Array(new base.AuthenticatedMessage(0, inner).toXDR());
    assert.equal(toHex(bytes.subarray(12, bytes.length - 32)), toHex(encodeMessage(message)));
    assert.equal(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(4), sequence);
    assert.deepEqual(bytes.subarray(bytes.length - 32), mac);
  }));
});

test("StellarValue with the empty tx set arm, which stellar-base does not know, is made of the parts it knows", () => {
  fc.assert(fc.property(arb.arbStellarValue.filter((value) => value.ext.v === 2), (value) => {
    assert.ok(value.ext.v === 2);
    const { proposedValue: p } = value.ext;
    const signed = { ...value, ext: { v: 1 as const, lcValueSignature: p.lcValueSignature } };
    const signature = hexOf(toBase(base.LedgerCloseValueSignature, p.lcValueSignature));
    const prefix = hexOf(toBase(base.StellarValue, signed)).slice(0, -(signature.length + 8));
    const version = p.previousLedgerVersion.toString(16).padStart(8, "0");
    const expected = prefix + "00000002" + toHex(p.txSetHash) + toHex(p.previousLedgerHash) + version + signature;
    assert.equal(toHex(types.encodeStellarValue(value)), expected);
  }));
});
