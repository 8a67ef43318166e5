import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { isFailure, OverlayError } from "../base/errors.ts";
import { concatBytes, fromHex, toHex, writeUint32 } from "../base/bytes.ts";
import { decode, encode, MAX_NESTING } from "./xdr.ts";
import {
  decodeStellarValue,
  encodeStellarValue,
  errorCodeName,
  quorumSetHashOf,
  scpPledges,
  type ScpQuorumSet,
  scpQuorumSet,
  stellarValue,
} from "./types.ts";
import { surveyResponseBody } from "./survey_messages.ts";
import {
  countTxHashes,
  decodeMessage,
  encodeMessage,
  isFloodType,
  MAX_PEERS,
  MAX_TX_HASHES,
  messageEnumName,
  messageLabel,
  MessageType,
  type MessageTypeName,
  messageTypeName,
  ReceivedMessage,
  type StellarMessage,
  txSetPreimage,
} from "./messages.ts";
import {
  arbMessage,
  arbMessages,
  arbScpPledges,
  arbStellarValue,
  arbSurveyTopology,
} from "../../tests/kit/arbitrary.ts";

function refused(run: () => unknown, message: string | RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof OverlayError && error.code === "xdr_invalid", String(error));
    if (typeof message === "string") assert.equal(error.message, `xdr_invalid: at ${message}`);
    else assert.match(error.message, message);
    return true;
  });
}

const types = Object.keys(MessageType) as MessageTypeName[];
const words = (...numbers: number[]) => {
  const bytes = new Uint8Array(4 * numbers.length);
  numbers.forEach((n, i) => writeUint32(bytes, 4 * i, n));
  return bytes;
};
const hash32 = new Uint8Array(32).fill(7);

for (const type of types) {
  test(`${type} survives encode and decode, and no cut or extended form of it is accepted`, () => {
    fc.assert(
      fc.property(arbMessages[type], (message) => {
        const bytes = encodeMessage(message);
        const decoded = decodeMessage(bytes);
        assert.deepEqual(decoded, message);
        assert.deepEqual(encodeMessage(decoded), bytes);
        assert.equal(bytes.length % 4, 0);
      }),
      { numRuns: 50 },
    );
    // The bodies that stay encoded end where their frame ends, so a cut between words can only be seen by who decodes them.
    const headBytes = { transaction: 8, txSet: 40, generalizedTxSet: 44 } as Partial<Record<MessageTypeName, number>>;
    const decodedBytes = headBytes[type] ?? Infinity;
    const cuts = (message: StellarMessage) => {
      const bytes = encodeMessage(message);
      for (let n = 0; n < bytes.length; n++) {
        if (n >= decodedBytes && n % 4 === 0) continue;
        assert.throws(() => decodeMessage(bytes.subarray(0, n)), isFailure("xdr_invalid"), `${n} of ${bytes.length}`);
      }
      for (const more of [1, 2, 3, 4, 32]) {
        if (decodedBytes < Infinity && more % 4 === 0) continue;
        assert.throws(() => decodeMessage(concatBytes(bytes, new Uint8Array(more))), isFailure("xdr_invalid"));
      }
    };
    fc.assert(fc.property(arbMessages[type], cuts), { numRuns: 5 });
  });
}

test("any message survives encode and decode", () => {
  fc.assert(fc.property(arbMessage, (message) => assert.deepEqual(decodeMessage(encodeMessage(message)), message)));
});

test("decodeMessage refuses the numbers that are no message type", () => {
  for (const number of [1, 4, 14, 15, 25, 26, 100, 0x7fffffff]) {
    assert.equal(messageTypeName(number), undefined);
    refused(() => decodeMessage(words(number)), `(top): unknown message type ${number}`);
    refused(() => decodeMessage(words(number, 0, 0, 0)), `(top): unknown message type ${number}`);
  }
  refused(() => decodeMessage(words(0xffffffff)), "(top): unknown message type -1");
  refused(() => decodeMessage(new Uint8Array(0)), "(top): needs 4 bytes, 0 left");
});

test("MessageType, its names and upstream's names agree", () => {
  for (const type of types) assert.equal(messageTypeName(MessageType[type]), type);
  assert.equal(messageEnumName(11), "SCP_MESSAGE");
  assert.equal(messageEnumName(12), "GET_SCP_STATE");
  assert.equal(messageEnumName(9), "GET_SCP_QUORUMSET");
  assert.equal(messageEnumName(23), "TIME_SLICED_SURVEY_START_COLLECTING");
  assert.equal(messageEnumName(14), "TYPE_14");
  assert.deepEqual(types.filter((type) => isFloodType(MessageType[type])), [
    "transaction",
    "scpMessage",
    "floodAdvert",
    "floodDemand",
  ]);
  assert.equal(errorCodeName(4), "ERR_LOAD");
  assert.equal(errorCodeName(-5), "ERR_-5");
});

test("sizes are those of the protocol description", () => {
  const size = (message: StellarMessage) => encodeMessage(message).length;
  const request = {
    surveyorPeerId: hash32,
    surveyedPeerId: hash32,
    ledgerNum: 1,
    encryptionKey: hash32,
    commandType: "topology" as const,
  };
  const signature = new Uint8Array(64);
  const cert = { pubkey: hash32, expiration: 1n, sig: signature };
  const hello = {
    ledgerVersion: 1,
    overlayVersion: 2,
    overlayMinVersion: 3,
    networkId: hash32,
    versionStr: "x".repeat(100),
    listeningPort: 11625,
    peerId: hash32,
    cert,
    nonce: hash32,
  };
  assert.equal(size({ type: "errorMsg", error: { code: 0, msg: "x".repeat(99) } }), 112);
  assert.equal(size({ type: "auth", auth: { flags: 200 } }), 8);
  assert.equal(size({ type: "dontHave", dontHave: { type: 6, reqHash: hash32 } }), 40);
  const v4 = { ip: new Uint8Array(4), port: 1, numFailures: 0 },
    v6 = { ip: new Uint8Array(16), port: 1, numFailures: 0 };
  assert.equal(size({ type: "peers", peers: [v4, v6] }), 8 + 16 + 28);
  assert.equal(size({ type: "hello", hello }), 332);
  assert.equal(size({ type: "floodAdvert", txHashes: Array(MAX_TX_HASHES).fill(hash32) }), 32_008);
  assert.equal(size({ type: "sendMoreExtended", sendMoreExtended: { numMessages: 1, numBytes: 1 } }), 12);
  const sliced = { request, nonce: 1, inboundPeersIndex: 0, outboundPeersIndex: 0 };
  assert.equal(
    size({ type: "timeSlicedSurveyRequest", surveyRequest: { requestSignature: signature, request: sliced } }),
    196,
  );
  const startCollecting = { surveyorId: hash32, nonce: 1, ledgerNum: 1 };
  assert.equal(size({ type: "timeSlicedSurveyStartCollecting", surveyStart: { signature, startCollecting } }), 116);
  const { encryptionKey: _, ...answer } = request;
  const response = { response: { ...answer, encryptedBody: new Uint8Array(64_000) }, nonce: 1 };
  assert.equal(
    size({ type: "timeSlicedSurveyResponse", surveyResponse: { responseSignature: signature, response } }),
    160 + 64_000,
  );
});

test("a failure names the field from the message down", () => {
  const fixed = new Uint8Array(4 * 4 + 32 + 4 + 4 + 36 + 32 + 8);
  writeUint32(fixed, 0, MessageType.hello);
  const cut = concatBytes(fixed, words(64), new Uint8Array(12));
  refused(() => decodeMessage(cut), "hello.cert.sig: needs 64 bytes, 12 left");
  const peers = words(MessageType.peers, 2, 0, 0x7f000001, 11625, 0, 2, 0, 0, 0);
  refused(() => decodeMessage(peers), "peers[1].ip: unknown address type 2");
  refused(
    () => encodeMessage({ type: "peers", peers: [{ ip: new Uint8Array(5), port: 1, numFailures: 0 }] }),
    "peers[0].ip: 5 bytes instead of 4 or 16",
  );
  refused(
    () => decodeMessage(words(MessageType.scpMessage, 1)),
    "envelope.statement.nodeId: unknown public key type 1",
  );
  const survey = concatBytes(words(MessageType.timeSlicedSurveyStartCollecting, 65), new Uint8Array(200));
  refused(() => decodeMessage(survey), "surveyStart.signature: 65 bytes, at most 64 allowed");
});

test("vectors have the bounds of the .x file", () => {
  const peer = { ip: new Uint8Array(4), port: 1, numFailures: 0 };
  const peers = (n: number): StellarMessage => ({ type: "peers", peers: Array(n).fill(peer) });
  assert.deepEqual(decodeMessage(encodeMessage(peers(MAX_PEERS))), peers(MAX_PEERS));
  refused(() => encodeMessage(peers(MAX_PEERS + 1)), "peers: 101 entries, at most 100 allowed");
  refused(
    () => decodeMessage(concatBytes(words(5, 101), new Uint8Array(101 * 16))),
    "peers: 101 entries, at most 100 allowed",
  );

  for (const type of ["floodAdvert", "floodDemand"] as const) {
    const hashes = (n: number): StellarMessage => ({ type, txHashes: Array(n).fill(hash32) });
    assert.deepEqual(decodeMessage(encodeMessage(hashes(MAX_TX_HASHES))), hashes(MAX_TX_HASHES));
    refused(() => encodeMessage(hashes(1001)), "txHashes: 1001 entries, at most 1000 allowed");
    const long = concatBytes(words(MessageType[type], 1001), new Uint8Array(1001 * 32));
    refused(() => decodeMessage(long), "txHashes: 1001 entries, at most 1000 allowed");
  }

  refused(
    () => decodeMessage(words(MessageType.scpQuorumset, 1, 0xffffffff)),
    "qSet.validators: 4294967295 entries do not fit into 0 bytes",
  );
  refused(() => decodeMessage(words(MessageType.errorMsg, 0, 101)), "error.msg: 101 bytes, at most 100 allowed");
  refused(
    () => encodeMessage({ type: "errorMsg", error: { code: 0, msg: "€".repeat(34) } }),
    "error.msg: 102 bytes, at most 100 allowed",
  );

  const value = { txSetHash: hash32, closeTime: 1n, ext: { v: 0 as const } };
  refused(
    () => encodeStellarValue({ ...value, upgrades: Array(7).fill(hash32) }),
    "stellarValue.upgrades: 7 entries, at most 6 allowed",
  );
  refused(
    () => encodeStellarValue({ ...value, upgrades: [new Uint8Array(129)] }),
    "stellarValue.upgrades[0]: 129 bytes, at most 128 allowed",
  );
  refused(() => decode(surveyResponseBody, words(2, 26)), "inboundPeers: 26 entries, at most 25 allowed");
  refused(() => decode(surveyResponseBody, words(1)), "(top): unknown survey response type 1");
});

test("ERROR_MSG and DONT_HAVE keep numbers that have no name", () => {
  const error: StellarMessage = { type: "errorMsg", error: { code: -7, msg: "\udcff\u001b[2J" } };
  assert.deepEqual(decodeMessage(encodeMessage(error)), error);
  const dontHave: StellarMessage = { type: "dontHave", dontHave: { type: 99, reqHash: hash32 } };
  assert.deepEqual(decodeMessage(encodeMessage(dontHave)), dontHave);
});

test("unknown SCP statement types and survey commands are refused", () => {
  const statement = concatBytes(words(11, 0), hash32, words(0, 5));
  refused(() => decodeMessage(concatBytes(statement, words(4))), "envelope.statement.pledges: unknown value 4");
  const request = concatBytes(words(21, 0, 0), hash32, words(0), hash32, words(9), hash32);
  refused(
    () => decodeMessage(concatBytes(request, words(0))),
    "surveyRequest.request.request.commandType: unknown value 0",
  );
});

/** Quorum sets inside each other; each level nests twice, as a structure and as an entry of `innerSets`. */
function nestedQuorumSet(levels: number): Uint8Array {
  const body = new Uint8Array(12 * levels);
  for (let i = 0; i < levels; i++) {
    writeUint32(body, 12 * i, 1);
    writeUint32(body, 12 * i + 8, i === levels - 1 ? 0 : 1);
  }
  return concatBytes(words(MessageType.scpQuorumset), body);
}

test("SCP_QUORUMSET nested up to the limit decodes; one deeper and much deeper is refused without a stack overflow", () => {
  const levels = MAX_NESTING / 2;
  const most = nestedQuorumSet(levels);
  const message = decodeMessage(most);
  assert.ok(message.type === "scpQuorumset");
  let depth = 0;
  for (let set: ScpQuorumSet | undefined = message.qSet; set !== undefined; set = set.innerSets[0]) depth++;
  assert.equal(depth, levels);
  assert.deepEqual(encodeMessage(message), most);

  for (const deeper of [levels + 1, 100_000, 1_000_000]) {
    refused(
      () => decodeMessage(nestedQuorumSet(deeper)),
      /^xdr_invalid: at qSet\.innerSets.{1,150}: nested deeper than 1500$/,
    );
  }
  const endless: ScpQuorumSet = { threshold: 1, validators: [], innerSets: [] };
  endless.innerSets.push(endless);
  assert.throws(() => encode(scpQuorumSet, endless), isFailure("xdr_invalid"));
});

test("TRANSACTION takes the three envelope types only", () => {
  for (const kind of [0, 2, 5]) {
    const message = decodeMessage(words(8, kind, 1, 2));
    assert.deepEqual(message, { type: "transaction", transaction: words(kind, 1, 2) });
    assert.deepEqual(encodeMessage(message), words(8, kind, 1, 2));
  }
  for (const kind of [1, 3, 4, 6]) {
    refused(() => decodeMessage(words(8, kind, 1)), `transaction: unknown transaction envelope type ${kind}`);
    refused(
      () => encodeMessage({ type: "transaction", transaction: words(kind) }),
      `transaction: unknown transaction envelope type ${kind}`,
    );
  }
  refused(() => decodeMessage(words(8)), "transaction: needs 4 bytes, 0 left");
  refused(() => decodeMessage(concatBytes(words(8, 2), new Uint8Array(2))), "transaction: 6 bytes are not whole words");
});

test("transaction sets must have room for the entries they count", () => {
  const txSet = concatBytes(words(7), hash32);
  refused(
    () => decodeMessage(concatBytes(txSet, words(0xffffffff))),
    "txSet: 4294967295 entries do not fit into 0 bytes",
  );
  refused(() => decodeMessage(concatBytes(txSet, words(0, 1))), "txSet: 4 bytes left over");
  assert.deepEqual(decodeMessage(concatBytes(txSet, words(0))), {
    type: "txSet",
    txSet: { previousLedgerHash: hash32, txCount: 0, txs: new Uint8Array(0) },
  });
  refused(
    () => encodeMessage({ type: "txSet", txSet: { previousLedgerHash: hash32, txCount: 1, txs: new Uint8Array(0) } }),
    /do not fit/,
  );

  const set = concatBytes(words(17, 1), hash32);
  refused(() => decodeMessage(set), "generalizedTxSet: needs 4 bytes, 0 left");
  refused(() => decodeMessage(concatBytes(set, words(3, 0))), "generalizedTxSet: 3 entries do not fit into 4 bytes");
  refused(
    () => decodeMessage(concatBytes(words(17, 2), hash32, words(0))),
    "generalizedTxSet: unknown transaction set version 2",
  );
  const empty: StellarMessage = {
    type: "generalizedTxSet",
    generalizedTxSet: { v: 1, previousLedgerHash: hash32, phases: words(0) },
  };
  assert.deepEqual(decodeMessage(encodeMessage(empty)), empty);
  const bad = { v: 1 as const, previousLedgerHash: hash32, phases: new Uint8Array(0) };
  refused(
    () => encodeMessage({ type: "generalizedTxSet", generalizedTxSet: bad }),
    "generalizedTxSet: needs 4 bytes, 0 left",
  );
});

test("txSetPreimage leaves out the legacy set's count", () => {
  const legacy = concatBytes(words(7), hash32, words(1, 2, 3));
  assert.equal(toHex(concatBytes(...txSetPreimage(legacy))), toHex(concatBytes(hash32, words(2, 3))));
  const general = concatBytes(words(17, 1), hash32, words(0));
  assert.equal(toHex(concatBytes(...txSetPreimage(general))), toHex(general.subarray(4)));
});

test("countTxHashes agrees with decoding", () => {
  for (const type of ["floodAdvert", "floodDemand"] as const) {
    for (const n of [0, 1, 1000]) {
      const bytes = encodeMessage({ type, txHashes: Array(n).fill(hash32) });
      assert.equal(countTxHashes(bytes), n);
      assert.equal(countTxHashes(bytes.subarray(0, bytes.length - 1)), -1);
    }
  }
  assert.equal(countTxHashes(concatBytes(words(18, 1001), new Uint8Array(32 * 1001))), -1);
  assert.equal(countTxHashes(concatBytes(words(5, 0))), -1);
  assert.equal(countTxHashes(new Uint8Array(7)), -1);
});

test("StellarValue survives encode and decode in every arm", () => {
  fc.assert(
    fc.property(arbStellarValue, (value) => assert.deepEqual(decodeStellarValue(encodeStellarValue(value)), value)),
  );
});

test("an ext arm of StellarValue that we do not know stays opaque", () => {
  const value = concatBytes(hash32, words(0, 77, 0));
  const unknown = concatBytes(value, words(3, 0xdeadbeef, 5));
  const decoded = decodeStellarValue(unknown);
  assert.deepEqual(decoded.ext, { v: "unknown", discriminant: 3, body: words(0xdeadbeef, 5) });
  assert.equal(decoded.closeTime, 77n);
  assert.deepEqual(encodeStellarValue(decoded), unknown);
  const bare = concatBytes(value, words(0xffffffff));
  assert.deepEqual(encodeStellarValue(decodeStellarValue(bare)), bare);
  refused(
    () => decodeStellarValue(concatBytes(unknown, new Uint8Array(1))),
    "stellarValue.ext: 9 bytes are not whole words",
  );
  refused(() => decodeStellarValue(concatBytes(value, words(0, 1))), "stellarValue: 4 bytes left over");
  for (const discriminant of [0, 1, 2, -1, 2 ** 32]) {
    const wrong = { ...decoded, ext: { v: "unknown" as const, discriminant, body: new Uint8Array(0) } };
    assert.throws(() => encode(stellarValue, wrong), isFailure("xdr_invalid"));
  }
});

test("SurveyResponseBody survives encode and decode", () => {
  fc.assert(
    fc.property(arbSurveyTopology, (body) => {
      const bytes = encode(surveyResponseBody, body);
      assert.deepEqual(decode(surveyResponseBody, bytes), body);
    }),
    { numRuns: 50 },
  );
});

test("SurveyResponseBody at its largest takes 12,452 bytes", () => {
  const counters = ["messagesRead", "messagesWritten", "bytesRead", "bytesWritten", "secondsConnected"];
  for (const kind of ["Flood", "Fetch"]) {
    for (const what of ["Bytes", "Message"]) counters.push(`unique${kind}${what}Recv`, `duplicate${kind}${what}Recv`);
  }
  const stats = {
    id: hash32,
    versionStr: "x".repeat(100),
    ...Object.fromEntries(counters.map((name) => [name, 0xffffffffffffffffn])),
  };
  const topology = fc.sample(arbSurveyTopology, { numRuns: 1, seed: 1 })[0];
  const peers = Array(25).fill({ peerStats: stats, averageLatencyMs: 1 });
  assert.equal(encode(surveyResponseBody, { ...topology, inboundPeers: peers, outboundPeers: peers }).length, 12_452);
});

test("quorumSetHashOf names the hash of each statement", () => {
  fc.assert(fc.property(arbScpPledges, (pledges) => {
    const hash = quorumSetHashOf(pledges);
    assert.equal(hash.length, 32);
    assert.ok(toHex(encode(scpPledges, pledges)).includes(toHex(hash)));
  }));
});

test("a vector of many empty values decodes without an object for each", () => {
  const count = 500_000;
  const head = concatBytes(words(11, 0), hash32, words(0, 1, 3), hash32, words(count));
  const message = decodeMessage(concatBytes(head, new Uint8Array(4 * count), words(0, 0)));
  assert.ok(message.type === "scpMessage" && message.envelope.statement.pledges.type === "nominate");
  const { votes } = message.envelope.statement.pledges.nominate;
  assert.equal(votes.length, count);
  assert.equal(votes[0], votes[count - 1]);
});

test("ReceivedMessage decodes when asked, once", () => {
  const received = new ReceivedMessage(12, words(12, 5), 1000);
  assert.deepEqual(received.decode(), { type: "getScpState", ledgerSeq: 5 });
  assert.equal(received.decode(), received.decode());
  const broken = new ReceivedMessage(12, words(12), 1000);
  assert.throws(() => broken.decode(), isFailure("xdr_invalid"));
  assert.throws(() => broken.decode(), isFailure("xdr_invalid"));
});

test("messageLabel names type and item", () => {
  assert.equal(messageLabel({ type: "getTxSet", txSetHash: fromHex("ab".repeat(32)) }), "GET_TX_SET abababab");
  assert.equal(
    messageLabel({ type: "getScpQuorumset", qSetHash: fromHex("cd".repeat(32)) }),
    "GET_SCP_QUORUMSET cdcdcdcd",
  );
  assert.equal(messageLabel({ type: "auth", auth: { flags: 200 } }), "AUTH");
  const pledges = {
    type: "externalize" as const,
    externalize: { commit: { counter: 1, value: hash32 }, nH: 1, commitQuorumSetHash: hash32 },
  };
  const envelope = { statement: { nodeId: hash32, slotIndex: 42n, pledges }, signature: hash32 };
  assert.equal(messageLabel({ type: "scpMessage", envelope }), "SCP_MESSAGE slot 42 externalize");
});
