/** A node for the survey that a test moves by hand, and the messages of others. */
import { VirtualClock } from "../base/clock.ts";
import { SeededRandom } from "../base/random.ts";
import { type SigningKey, signingKey } from "../crypto/primitives.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import { encodeMessage, MessageType, ReceivedMessage } from "../wire/messages.ts";
import type { SurveyRequest } from "../wire/survey_messages.ts";
import { signRequest, signResponse, signStart, signStop, type SurveyMessage } from "./signatures.ts";
import type { SurveyPeer } from "./survey_data.ts";
import type { SurveyEvent } from "./survey_event.ts";
import { SurveyManager, type SurveyNode } from "./survey_manager.ts";
import type { SurveyVerdict } from "./surveyor.ts";

/** An identity: 32 times `n` is its seed. */
export interface Identity {
  key: SigningKey;
  id: Uint8Array;
  text: string;
}

/** The identity with a number. */
export function identity(n: number): Identity {
  const key = signingKey(new Uint8Array(32).fill(n));
  return { key, id: key.publicKey, text: encodeNodeId(key.publicKey) };
}

/** A node in the middle: what it is told to relay and broadcast is noted. */
export class SurveyBench {
  readonly clock = new VirtualClock();
  readonly self = identity(1);
  ledger: number | undefined = 1000;
  /** `G...` of those who may survey. */
  permitted = new Set<string>();
  peers: SurveyPeer[] = [];
  readonly relayed: Uint8Array[] = [];
  readonly broadcast: { message: SurveyMessage; to: string[] | undefined }[] = [];
  readonly events: SurveyEvent[] = [];
  readonly verdicts: SurveyVerdict[] = [];
  /** Upstream's words of each drop of the peer that messages come from. */
  readonly drops: string[] = [];
  readonly manager: SurveyManager;
  readonly from: SurveyPeer = {
    nodeId: identity(99).text,
    role: "remoteCalledUs",
    peer: {
      nodeId: identity(99).id,
      hello: undefined,
      sendErrorAndDrop: (code, reason) => void this.drops.push(`${code} ${reason}`),
    },
    metrics: undefined as unknown as SurveyPeer["metrics"],
  };

  constructor(changes: Partial<SurveyNode> = {}) {
    this.manager = new SurveyManager({
      clock: this.clock,
      random: new SeededRandom(11),
      identity: this.self.key,
      settings: { isValidator: false, maxInbound: 64, maxOutbound: 8 },
      ledger: () => this.ledger,
      inSync: () => true,
      peers: () => this.peers,
      permits: (_, text) => this.permitted.has(text),
      relay: (_, message) => {
        this.relayed.push(message.bytes.slice());
        return [];
      },
      broadcast: (message, to) => {
        this.broadcast.push({ message, to: to === undefined ? undefined : [...to] });
        return [];
      },
      log: (event) => void this.events.push(event),
      count: (verdict) => void this.verdicts.push(verdict),
      ...changes,
    });
  }

  /** Hands over a message of a peer and says what became of it. */
  receive(message: SurveyMessage): SurveyVerdict {
    const bytes = encodeMessage(message);
    this.manager.receive(this.from, new ReceivedMessage(MessageType[message.type], bytes, this.clock.nowMs()));
    return this.verdicts.at(-1)!;
  }
}

/** What the messages below say unless told otherwise. */
export const NONCE = 0xabcdef01;

/** START by somebody. */
export function start(surveyor: Identity, ledgerNum = 1000, nonce = NONCE): SurveyMessage {
  return signStart(surveyor.key, { surveyorId: surveyor.id, nonce, ledgerNum });
}

/** STOP by somebody. */
export function stop(surveyor: Identity, ledgerNum = 1000, nonce = NONCE): SurveyMessage {
  return signStop(surveyor.key, { surveyorId: surveyor.id, nonce, ledgerNum });
}

/** What a request says. */
export interface RequestChanges extends Partial<Pick<SurveyRequest, "ledgerNum" | "encryptionKey">> {
  nonce?: number;
  inboundIndex?: number;
  outboundIndex?: number;
}

/** A request of somebody about somebody. */
export function request(surveyor: Identity, surveyed: Identity, changes: RequestChanges = {}): SurveyMessage {
  const { ledgerNum = 1000, encryptionKey = new Uint8Array(32).fill(9), nonce = NONCE } = changes;
  return signRequest(surveyor.key, {
    request: {
      surveyorPeerId: surveyor.id,
      surveyedPeerId: surveyed.id,
      ledgerNum,
      encryptionKey,
      commandType: "topology",
    },
    nonce,
    inboundPeersIndex: changes.inboundIndex ?? 0,
    outboundPeersIndex: changes.outboundIndex ?? 0,
  });
}

/** An answer of somebody to somebody. */
export function response(
  surveyor: Identity,
  surveyed: Identity,
  changes: { ledgerNum?: number; nonce?: number; encryptedBody?: Uint8Array } = {},
): SurveyMessage {
  const { ledgerNum = 1000, nonce = NONCE, encryptedBody = new Uint8Array(100).fill(3) } = changes;
  return signResponse(surveyed.key, {
    response: {
      surveyorPeerId: surveyor.id,
      surveyedPeerId: surveyed.id,
      ledgerNum,
      commandType: "topology",
      encryptedBody,
    },
    nonce,
  });
}

/** The same message with another signature. */
export function forged(message: SurveyMessage): SurveyMessage {
  const signature = new Uint8Array(64).fill(5);
  switch (message.type) {
    case "timeSlicedSurveyStartCollecting":
      return { ...message, surveyStart: { ...message.surveyStart, signature } };
    case "timeSlicedSurveyStopCollecting":
      return { ...message, surveyStop: { ...message.surveyStop, signature } };
    case "timeSlicedSurveyRequest":
      return { ...message, surveyRequest: { ...message.surveyRequest, requestSignature: signature } };
    case "timeSlicedSurveyResponse":
      return { ...message, surveyResponse: { ...message.surveyResponse, responseSignature: signature } };
  }
}
