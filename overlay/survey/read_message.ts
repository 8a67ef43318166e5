/** What is read of a survey message before it is judged: its parts, who is in it, and whether its signature holds. */
import { encodeNodeId } from "../crypto/strkey.ts";
import type { StellarMessage } from "../wire/messages.ts";
import { isSignedSurveyMessage, isSurveyMessage, type SurveyMessage } from "./signatures.ts";
import type { HeardSurveyMessage } from "./surveyor.ts";

/** What a message says of itself. */
export type Told = Omit<HeardSurveyMessage, "from" | "verdict">;

function describe(message: SurveyMessage): Told {
  switch (message.type) {
    case "timeSlicedSurveyStartCollecting":
    case "timeSlicedSurveyStopCollecting": {
      const isStart = message.type === "timeSlicedSurveyStartCollecting";
      const { surveyorId, nonce, ledgerNum } = isStart
        ? message.surveyStart.startCollecting
        : message.surveyStop.stopCollecting;
      const type = isStart ? "start" : "stop";
      return { type, surveyorId: encodeNodeId(surveyorId), surveyedId: undefined, nonce, ledgerNum };
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

/** Reads a decoded message; undefined when it is no survey message. */
export function readSurveyMessage(decoded: StellarMessage): ReadSurveyMessage | undefined {
  return isSurveyMessage(decoded) ? new ReadSurveyMessage(decoded) : undefined;
}

/**
 * A survey message as it was read. Where many nodes share a process, one object serves all that receive the message: it is
 * decoded and described once, and its signature checked once, when the first node wants to know.
 */
export class ReadSurveyMessage {
  readonly told: Told;
  #signed: boolean | undefined;

  constructor(readonly decoded: SurveyMessage) {
    this.told = describe(decoded);
  }

  /** Whether the signature is by whom the message names. */
  get signed(): boolean {
    return this.#signed ??= isSignedSurveyMessage(this.decoded);
  }
}
