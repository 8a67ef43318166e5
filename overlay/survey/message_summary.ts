/** What a survey message says of itself: for the limiter, for logs, and for whoever watches surveys pass by. */
import { encodeNodeId } from "../crypto/strkey.ts";
import type { LimitedMessage } from "./message_limiter.ts";
import type { SurveyMessage } from "./signatures.ts";
import type { HeardSurveyMessage } from "./surveyor.ts";

/** Node ids as `G...`. */
export type SurveySummary = Omit<HeardSurveyMessage, "from" | "verdict">;

/** The summary of a message. Nothing of it is checked. */
export function summaryOf(message: SurveyMessage): SurveySummary {
  switch (message.type) {
    case "timeSlicedSurveyStartCollecting": {
      const { surveyorId, nonce, ledgerNum } = message.surveyStart.startCollecting;
      return { type: "start", surveyorId: encodeNodeId(surveyorId), surveyedId: undefined, nonce, ledgerNum };
    }
    case "timeSlicedSurveyStopCollecting": {
      const { surveyorId, nonce, ledgerNum } = message.surveyStop.stopCollecting;
      return { type: "stop", surveyorId: encodeNodeId(surveyorId), surveyedId: undefined, nonce, ledgerNum };
    }
    case "timeSlicedSurveyRequest": {
      const { nonce, request } = message.surveyRequest.request;
      return { type: "request", ...pairOf(request), nonce, ledgerNum: request.ledgerNum };
    }
    case "timeSlicedSurveyResponse": {
      const { nonce, response } = message.surveyResponse.response;
      return { type: "response", ...pairOf(response), nonce, ledgerNum: response.ledgerNum };
    }
  }
}

function pairOf(ids: { surveyorPeerId: Uint8Array; surveyedPeerId: Uint8Array }) {
  return { surveyorId: encodeNodeId(ids.surveyorPeerId), surveyedId: encodeNodeId(ids.surveyedPeerId) };
}

/** A request or response as the limiter files it. */
export function limitedOf({ ledgerNum, surveyorId, surveyedId }: SurveySummary): LimitedMessage {
  return { ledgerNum, surveyor: surveyorId, surveyed: surveyedId! };
}
