import { test } from "node:test";
import assert from "node:assert/strict";
import { fromHex, toHex } from "../base/bytes.ts";
import { primitives } from "../crypto/primitives.ts";
import { decodeMessage, encodeMessage } from "../wire/messages.ts";
import {
  surveyCollecting,
  type TimeSlicedSurveyRequest,
  timeSlicedSurveyRequest,
  type TimeSlicedSurveyResponse,
  timeSlicedSurveyResponse,
} from "../wire/survey_messages.ts";
import { encode } from "../wire/xdr.ts";
import {
  isSignedSurveyMessage,
  isSurveyMessage,
  signRequest,
  signResponse,
  signStart,
  signStop,
  type SurveyMessage,
} from "./signatures.ts";

/** The vector of survey.md section 14. */
const A = primitives.signingKey(new Uint8Array(32).fill(0x11));
const B = primitives.signingKey(new Uint8Array(32).fill(0x22));
const ID_A = "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
const ID_B = "a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0";
const COLLECTING = `00000000${ID_A}deadbeef000003e8`;
const COLLECTING_SIGNATURE = "57fb0caaf554b363bf84046e5d5a1da1a8091e71279754d948385a3a1b6f3235" +
  "609e91f41d8da1494dab38c7a05747781e7e7472df10c4af5788e87f73659d0e";
const REQUEST = `00000000${ID_A}00000000${ID_B}000003e8` +
  "38ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c6700000001deadbeef0000000000000000";
const REQUEST_SIGNATURE = "bf9fed6658c421385fd3c689b14d5e98d84adf9d75faedf95cc420c54c6fbcc6" +
  "0577e877f820b9411a416ca9513f0624b6d9acc75c9886f96483fbb8aae94f0c";
const SEALED = "219e4d800da968d2a5fcb009c784f4746c7138edb9ee4844b739e830b05cf424" +
  "f2582a32e024d4d9b8b8da535255703ed5595f0639b03e250904ea70d8aa3030" +
  "bb1695608a7f5c68eedf28250627ec3584006280d0974790ba99294dfb05f8fb87f10c29";
const RESPONSE = `00000000${ID_A}00000000${ID_B}000003e80000000100000064${SEALED}deadbeef`;
const RESPONSE_SIGNATURE = "098e29d13fcba707dc8b5e3df45ab8d9074d0a60c8d9bf15e2ca0ca7d3914b2b" +
  "ec001230aa75139c1b782acf46017ea1a844c8265bc2d01ee8e116eda050ad05";

const collecting = { surveyorId: A.publicKey, nonce: 0xdeadbeef, ledgerNum: 1000 };
const request: TimeSlicedSurveyRequest = {
  request: {
    surveyorPeerId: A.publicKey,
    surveyedPeerId: B.publicKey,
    ledgerNum: 1000,
    encryptionKey: fromHex("38ab664bd86f77d7e66bdd9ae0792913a94fd8b33a1260027e4b46c1f4884c67"),
    commandType: "topology",
  },
  nonce: 0xdeadbeef,
  inboundPeersIndex: 0,
  outboundPeersIndex: 0,
};
const response: TimeSlicedSurveyResponse = {
  response: {
    surveyorPeerId: A.publicKey,
    surveyedPeerId: B.publicKey,
    ledgerNum: 1000,
    commandType: "topology",
    encryptedBody: fromHex(SEALED),
  },
  nonce: 0xdeadbeef,
};

const MESSAGES: [message: SurveyMessage, type: string, signature: string, signed: string, bytes: number][] = [
  [signStart(A, collecting), "00000017", COLLECTING_SIGNATURE, COLLECTING, 116],
  [signStop(A, collecting), "00000018", COLLECTING_SIGNATURE, COLLECTING, 116],
  [signRequest(A, request), "00000015", REQUEST_SIGNATURE, REQUEST, 196],
  [signResponse(B, response), "00000016", RESPONSE_SIGNATURE, RESPONSE, 260],
];

test("the signed bytes, signatures and messages are the vector's", () => {
  assert.equal(toHex(A.publicKey), ID_A);
  assert.equal(toHex(B.publicKey), ID_B);
  assert.equal(toHex(encode(surveyCollecting, collecting)), COLLECTING);
  assert.equal(toHex(encode(timeSlicedSurveyRequest, request)), REQUEST);
  assert.equal(toHex(encode(timeSlicedSurveyResponse, response)), RESPONSE);
  for (const [message, type, signature, signed, length] of MESSAGES) {
    const bytes = encodeMessage(message);
    assert.equal(toHex(bytes), `${type}00000040${signature}${signed}`);
    assert.equal(bytes.length, length);
    assert.ok(isSignedSurveyMessage(message), message.type);
  }
});

test("isSignedSurveyMessage refuses a message with any bit altered, another signer, and a signature that is too short", () => {
  for (const [message] of MESSAGES) {
    const bytes = encodeMessage(message);
    // From the signature on; what no longer decodes is not asked about.
    for (let i = 8; i < bytes.length; i++) {
      const altered = bytes.slice();
      altered[i] ^= 0x10;
      let decoded;
      try {
        decoded = decodeMessage(altered);
      } catch {
        continue;
      }
      assert.ok(isSurveyMessage(decoded) && !isSignedSurveyMessage(decoded), `${message.type}, byte ${i}`);
    }
  }
  assert.ok(!isSignedSurveyMessage(signStart(B, collecting)));
  assert.ok(!isSignedSurveyMessage(signRequest(B, request)));
  assert.ok(!isSignedSurveyMessage(signResponse(A, response)), "the surveyed node signs, not the surveyor");
  const short = { signature: new Uint8Array(63), startCollecting: collecting };
  assert.ok(!isSignedSurveyMessage({ type: "timeSlicedSurveyStartCollecting", surveyStart: short }));
});

test("a START's signature is good on the STOP of the same ledger, as upstream", () => {
  const { surveyStart } = signStart(A, collecting) as Extract<SurveyMessage, { surveyStart: unknown }>;
  const stop = { signature: surveyStart.signature, stopCollecting: collecting };
  assert.ok(isSignedSurveyMessage({ type: "timeSlicedSurveyStopCollecting", surveyStop: stop }));
});
