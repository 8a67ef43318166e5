/**
 * Signatures of the four survey messages: Ed25519 with the node key over the XDR of the inner structure, without a hash, a
 * network id or a type. So START and STOP of one survey and ledger have the same signature, and all are valid on any network;
 * upstream is so, and we are compatible. Source: stellar-core SurveyManager.cpp; survey.md section 3.
 */
import { primitives, type SigningKey } from "../crypto/primitives.ts";
import type { StellarMessage } from "../wire/messages.ts";
import {
  type SurveyCollecting,
  surveyCollecting,
  type TimeSlicedSurveyRequest,
  timeSlicedSurveyRequest,
  type TimeSlicedSurveyResponse,
  timeSlicedSurveyResponse,
} from "../wire/survey_messages.ts";
import { encode } from "../wire/xdr.ts";

/** One of the four. */
export type SurveyMessage = Extract<StellarMessage, { type: `timeSlicedSurvey${string}` }>;

/** START, signed by its surveyor. */
export function signStart(key: SigningKey, startCollecting: SurveyCollecting): SurveyMessage {
  const signature = key.sign(encode(surveyCollecting, startCollecting));
  return { type: "timeSlicedSurveyStartCollecting", surveyStart: { signature, startCollecting } };
}

/** STOP, signed by its surveyor. */
export function signStop(key: SigningKey, stopCollecting: SurveyCollecting): SurveyMessage {
  const signature = key.sign(encode(surveyCollecting, stopCollecting));
  return { type: "timeSlicedSurveyStopCollecting", surveyStop: { signature, stopCollecting } };
}

/** REQUEST, signed by the surveyor. */
export function signRequest(key: SigningKey, request: TimeSlicedSurveyRequest): SurveyMessage {
  const requestSignature = key.sign(encode(timeSlicedSurveyRequest, request));
  return { type: "timeSlicedSurveyRequest", surveyRequest: { requestSignature, request } };
}

/** RESPONSE, signed by the surveyed node. */
export function signResponse(key: SigningKey, response: TimeSlicedSurveyResponse): SurveyMessage {
  const responseSignature = key.sign(encode(timeSlicedSurveyResponse, response));
  return { type: "timeSlicedSurveyResponse", surveyResponse: { responseSignature, response } };
}

/** Whether the signature is by whom the message names. */
export function isSignedSurveyMessage(message: SurveyMessage): boolean {
  switch (message.type) {
    case "timeSlicedSurveyStartCollecting": {
      const { signature, startCollecting } = message.surveyStart;
      return primitives.verify(startCollecting.surveyorId, encode(surveyCollecting, startCollecting), signature);
    }
    case "timeSlicedSurveyStopCollecting": {
      const { signature, stopCollecting } = message.surveyStop;
      return primitives.verify(stopCollecting.surveyorId, encode(surveyCollecting, stopCollecting), signature);
    }
    case "timeSlicedSurveyRequest": {
      const { requestSignature, request } = message.surveyRequest;
      const signed = encode(timeSlicedSurveyRequest, request);
      return primitives.verify(request.request.surveyorPeerId, signed, requestSignature);
    }
    case "timeSlicedSurveyResponse": {
      const { responseSignature, response } = message.surveyResponse;
      const signed = encode(timeSlicedSurveyResponse, response);
      return primitives.verify(response.response.surveyedPeerId, signed, responseSignature);
    }
  }
}

/** Whether a message is one of the four. */
export function isSurveyMessage(message: StellarMessage): message is SurveyMessage {
  return message.type.startsWith("timeSlicedSurvey");
}
