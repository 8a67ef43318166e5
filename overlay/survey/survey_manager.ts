/**
 * The time-sliced survey as a node lives it: judges the four messages in upstream's order, passes them on, collects, answers; and
 * as a surveyor lives it. A wrong signature ends the connection that brought it, every other failed check is silent.
 * Source: stellar-core SurveyManager.cpp; survey.md.
 */
import type { Clock } from "../base/clock.ts";
import { OverlayError } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import { type AgreementKey, agreementKey, type SigningKey } from "../crypto/primitives.ts";
import { openSealedBox, sealBox } from "../crypto/sealed_box.ts";
import { decodeNodeId, encodeNodeId } from "../crypto/strkey.ts";
import type { ReceivedMessage } from "../wire/messages.ts";
import {
  surveyResponseBody,
  type SurveyTopology,
  type TimeSlicedSurveyRequest,
  type TimeSlicedSurveyResponse,
} from "../wire/survey_messages.ts";
import { decode, encode } from "../wire/xdr.ts";
import { MAX_REQUESTS_PER_LEDGER, SurveyMessageLimiter } from "./message_limiter.ts";
import { type ReadSurveyMessage, readSurveyMessage, type Told } from "./read_message.ts";
import { ScpTiming } from "./scp_timing.ts";
import { signRequest, signResponse, signStart, signStop, type SurveyMessage } from "./signatures.ts";
import { SurveyDataManager, type SurveyPeer, type SurveySettings } from "./survey_data.ts";
import type { SurveyEvent } from "./survey_event.ts";
import type {
  AskOutcome,
  AskRefusal,
  HeardSurveyMessage,
  LedgerRefusal,
  SendOptions,
  StartOutcome,
  StopOutcome,
  Surveyor,
  SurveyPage,
  SurveyPageAnswer,
  SurveyPhase,
  SurveyState,
  SurveyVerdict,
} from "./surveyor.ts";

/** The node that lives the survey: what is asked of it, and done through it. */
export interface SurveyNode {
  readonly clock: Clock;
  /** Makes the keys of sealed boxes. */
  readonly random: Random;
  readonly identity: SigningKey;
  readonly settings: SurveySettings;
  /** The ledger the network is at, as far as known. */
  ledger(): number | undefined;
  /** Whether the node follows the network. */
  inSync(): boolean;
  /** The authenticated peers. */
  peers(): Iterable<SurveyPeer>;
  /** Whether a node (32 bytes, and as `G...`) may survey; not asked about ourselves. */
  permits(nodeId: Uint8Array, text: string): boolean;
  /** Passes a received message on, byte for byte, to whoever does not know it. */
  relay(from: SurveyPeer, message: ReceivedMessage): string[];
  /** Floods a message of ours to all peers, or to some. */
  broadcast(message: SurveyMessage, to: Iterable<string> | undefined): string[];
  log(event: SurveyEvent): void;
  /** Counts a message of a peer by what became of it. */
  count(verdict: SurveyVerdict): void;
}

/** Upstream's text of the one check that is not silent. Source: stellar-core SurveyManager.cpp dropPeerIfSigInvalid. */
export const INVALID_SIGNATURE = "Survey has invalid signature";

/** See the head of this file. */
export class SurveyManager implements Surveyor {
  readonly #node: SurveyNode;
  readonly #self: string;
  readonly #limiter: SurveyMessageLimiter;
  readonly #data: SurveyDataManager;
  /** How late this node and others externalize: told by its owner. */
  readonly scpTiming: ScpTiming;
  /** Pages asked for, by ledger number and node. BOUNDED: as the limiter's records of our own requests. */
  readonly #asked = new Map<number, Map<string, SurveyPage>>();
  /** BOUNDED: by the embedding program, as the next. */
  readonly #answerListeners = new Set<(answer: SurveyPageAnswer) => void>();
  readonly #heardListeners = new Set<(heard: HeardSurveyMessage) => void>();
  /** What answers are sealed to: made with the first request, erased with the survey. */
  #key: AgreementKey | undefined;

  constructor(node: SurveyNode) {
    this.#node = node;
    this.#self = encodeNodeId(node.identity.publicKey);
    this.#limiter = new SurveyMessageLimiter({ ledger: () => node.ledger(), self: this.#self });
    this.#data = new SurveyDataManager(node.settings);
    this.scpTiming = new ScpTiming({
      firstToSelf: (ms) => this.#data.firstToSelf(ms),
      selfToOther: (ms) => this.#data.selfToOther(ms),
    });
  }

  get phase(): SurveyPhase {
    return this.#data.phase;
  }

  get nonce(): number | undefined {
    return this.#data.nonce;
  }

  get state(): SurveyState {
    return this.#data.state;
  }

  get isSurveyor(): boolean {
    return this.#data.surveyorId === this.#self;
  }

  /** Ledger numbers whose requests are remembered. */
  get rememberedLedgers(): number {
    return this.#limiter.ledgers;
  }

  // ---- What the node tells ----

  /** The tick. Source: stellar-core SurveyManager.cpp updateSurveyPhase. */
  tick(nowMs: number): void {
    const { nonce, surveyorId } = this.#data;
    const change = this.#data.update(nowMs);
    if (change === "stopped") this.#logStopped("time");
    else if (change === "ended") this.#ended(nonce!, surveyorId!);
  }

  /** A peer was admitted. */
  authenticated(): void {
    this.#data.added();
  }

  /** An admitted peer is gone. */
  dropped(peer: SurveyPeer): void {
    this.#data.dropped(peer);
  }

  /** The node lost track of the network. */
  lostSync(): void {
    this.#data.lostSync();
  }

  /** The network closed a ledger. Source: stellar-core SurveyManager.cpp clearOldLedgers. */
  ledgerClosed(ledger: number): void {
    this.#limiter.clearOldLedgers(ledger);
    for (const ledgerNum of this.#asked.keys()) {
      if (this.#limiter.requests(ledgerNum, this.#self) === 0) this.#asked.delete(ledgerNum);
    }
  }

  /**
   * Takes a survey message of an authenticated peer, and passes it on if it is good. `known` is the same message as another
   * node of this process read it.
   * @throws OverlayError `xdr_invalid` when it does not decode
   */
  receive(from: SurveyPeer, message: ReceivedMessage, known?: ReadSurveyMessage): void {
    const read = known ?? readSurveyMessage(message.decode());
    if (read === undefined) return;
    const { told } = read;
    const verdict = this.#judge(from, read, message);
    this.#node.count(verdict);
    const heard: HeardSurveyMessage = { ...told, from: from.nodeId, verdict };
    if (verdict === "bad_signature") from.peer.sendErrorAndDrop("ERR_MISC", INVALID_SIGNATURE);
    else if (verdict !== "relayed" && verdict !== "answered" && verdict !== "taken") {
      const { type, ...about } = told;
      this.#node.log({ event: "surveyIgnored", message: type, ...about, from: from.nodeId, reason: verdict });
    }
    for (const listener of [...this.#heardListeners]) listener(heard);
  }

  #judge(from: SurveyPeer, read: ReadSurveyMessage, message: ReceivedMessage): SurveyVerdict {
    const { decoded } = read;
    switch (decoded.type) {
      case "timeSlicedSurveyStartCollecting":
        return this.#onStart(from, decoded, read, message);
      case "timeSlicedSurveyStopCollecting":
        return this.#onStop(from, decoded, read, message);
      case "timeSlicedSurveyRequest":
        return this.#onRequest(from, decoded, read, message);
      case "timeSlicedSurveyResponse":
        return this.#onResponse(from, decoded, read, message);
    }
  }

  /** Source: stellar-core SurveyManager.cpp relayStartSurveyCollecting. */
  #onStart(from: SurveyPeer, signed: StartMessage, read: ReadSurveyMessage, message: ReceivedMessage): SurveyVerdict {
    const { told } = read;
    if (!this.#permits(signed.surveyStart.startCollecting.surveyorId, told.surveyorId)) return "not_permitted";
    if (!this.#limiter.ledgerOk(told.ledgerNum)) return "ledger";
    if (this.#data.phase !== "inactive") return "phase";
    if (!read.signed) return "bad_signature";
    this.#start(told, from.nodeId);
    this.#node.relay(from, message);
    return "relayed";
  }

  /** Source: stellar-core SurveyManager.cpp relayStopSurveyCollecting. */
  #onStop(from: SurveyPeer, signed: StopMessage, read: ReadSurveyMessage, message: ReceivedMessage): SurveyVerdict {
    const { told } = read;
    if (!this.#permits(signed.surveyStop.stopCollecting.surveyorId, told.surveyorId)) return "not_permitted";
    if (!this.#limiter.ledgerOk(told.ledgerNum)) return "ledger";
    if (!read.signed) return "bad_signature";
    const { phase, nonce, surveyorId } = this.#data;
    if (phase !== "collecting") return "phase";
    if (nonce !== told.nonce) return "other_nonce";
    if (surveyorId !== told.surveyorId) return "other_surveyor";
    this.#data.stop(told, this.#node.clock.nowMs());
    this.#logStopped("message");
    this.#node.relay(from, message);
    return "relayed";
  }

  /** Source: stellar-core SurveyManager.cpp relayOrProcessRequest. */
  #onRequest(
    from: SurveyPeer,
    signed: RequestMessage,
    read: ReadSurveyMessage,
    message: ReceivedMessage,
  ): SurveyVerdict {
    const { told } = read;
    const { request } = signed.surveyRequest;
    if (!this.#permits(request.request.surveyorPeerId, told.surveyorId)) return "not_permitted";
    let failed: SurveyVerdict | undefined;
    const refusal = this.#limiter.addRequest(limitedOf(told), () => {
      failed = this.#reportingProblem(told.nonce) ?? (read.signed ? undefined : "bad_signature");
      return failed === undefined;
    });
    if (refusal !== undefined) return refusal === "validation" ? failed! : refusal;
    if (told.surveyedId === this.#self) return this.#answer(request, told);
    this.#node.relay(from, message);
    return "relayed";
  }

  /** Source: stellar-core SurveyManager.cpp relayOrProcessResponse. */
  #onResponse(
    from: SurveyPeer,
    signed: ResponseMessage,
    read: ReadSurveyMessage,
    message: ReceivedMessage,
  ): SurveyVerdict {
    const { told } = read;
    let failed: SurveyVerdict | undefined;
    const refusal = this.#limiter.recordResponse(limitedOf(told), () => {
      failed = this.#reportingProblem(told.nonce) ?? (read.signed ? undefined : "bad_signature");
      return failed === undefined;
    });
    if (refusal !== undefined) return refusal === "validation" ? failed! : refusal;
    if (told.surveyorId === this.#self) return this.#take(signed.surveyResponse.response, told, from);
    this.#node.relay(from, message);
    return "relayed";
  }

  #permits(nodeId: Uint8Array, text: string): boolean {
    return text === this.#self || this.#node.permits(nodeId, text);
  }

  #reportingProblem(nonce: number): "phase" | "other_nonce" | undefined {
    if (this.#data.phase !== "reporting") return "phase";
    return this.#data.nonce === nonce ? undefined : "other_nonce";
  }

  // ---- The surveyed node ----

  #start(survey: { nonce: number; surveyorId: string; ledgerNum: number }, from: string | undefined): void {
    const { clock, log } = this.#node;
    const { nonce, surveyorId, ledgerNum } = survey;
    this.#data.start({ nonce, surveyorId }, clock.nowMs(), this.#node.peers(), this.#node.inSync());
    log({ event: "surveyStarted", nonce, surveyorId, ledgerNum, from });
  }

  #logStopped(by: "message" | "time"): void {
    const { nodeData } = this.#data.whole()!;
    this.#node.log({
      event: "surveyStopped",
      nonce: this.#data.nonce!,
      surveyorId: this.#data.surveyorId!,
      by,
      inbound: nodeData.totalInboundPeerCount,
      outbound: nodeData.totalOutboundPeerCount,
    });
  }

  #ended(nonce: number, surveyorId: string): void {
    this.#key = undefined;
    this.#asked.clear();
    this.#node.log({ event: "surveyEnded", nonce, surveyorId });
  }

  /** Source: stellar-core SurveyManager.cpp processTimeSlicedTopologyRequest. */
  #answer(asked: TimeSlicedSurveyRequest, told: Told): SurveyVerdict {
    if (told.surveyorId !== this.#data.surveyorId) return "other_surveyor";
    const { inboundPeersIndex: inboundIndex, outboundPeersIndex: outboundIndex, request } = asked;
    const page = this.#data.page(inboundIndex, outboundIndex);
    if (page === undefined) return "phase";
    const { identity, random } = this.#node;
    const encryptedBody = sealBox(request.encryptionKey, encode(surveyResponseBody, page), random.bytes(32));
    if (encryptedBody === undefined) return "bad_key";
    const { surveyorPeerId, surveyedPeerId, ledgerNum, commandType } = request;
    const response = { surveyorPeerId, surveyedPeerId, ledgerNum, commandType, encryptedBody };
    this.#node.broadcast(signResponse(identity, { response, nonce: asked.nonce }), undefined);
    const { nonce, surveyorId } = told;
    const inbound = page.inboundPeers.length, outbound = page.outboundPeers.length;
    this.#node.log({
      event: "surveyAnswered",
      nonce,
      surveyorId,
      ledgerNum,
      inboundIndex,
      outboundIndex,
      inbound,
      outbound,
    });
    return "answered";
  }

  // ---- The surveyor ----

  roomIn(ledgerNum = this.#node.ledger()): number {
    if (ledgerNum === undefined) return 0;
    return Math.max(0, MAX_REQUESTS_PER_LEDGER - this.#limiter.requests(ledgerNum, this.#self));
  }

  startCollecting(nonce: number, options: SendOptions = {}): StartOutcome {
    if (this.#data.phase !== "inactive") return { started: false, reason: "survey_active" };
    const ledgerNum = this.#ledgerFor(options);
    if (typeof ledgerNum !== "number") return { started: false, reason: ledgerNum.reason };
    const { identity } = this.#node;
    // Signed before anything changes: a nonce that is no uint32 must leave no survey behind.
    const message = signStart(identity, { surveyorId: identity.publicKey, nonce, ledgerNum });
    this.#start({ nonce, surveyorId: this.#self, ledgerNum }, undefined);
    return { started: true, ledgerNum, told: this.#node.broadcast(message, options.to) };
  }

  stopCollecting(options: SendOptions = {}): StopOutcome {
    const { phase, nonce } = this.#data;
    if (phase === "inactive") return { stopped: false, reason: "no_survey" };
    if (!this.isSurveyor) return { stopped: false, reason: "not_surveyor" };
    if (phase !== "collecting") return { stopped: false, reason: "not_collecting" };
    const ledgerNum = this.#ledgerFor(options);
    if (typeof ledgerNum !== "number") return { stopped: false, reason: ledgerNum.reason };
    const { identity, clock } = this.#node;
    const message = signStop(identity, { surveyorId: identity.publicKey, nonce: nonce!, ledgerNum });
    this.#data.stop({ nonce: nonce!, surveyorId: this.#self }, clock.nowMs());
    this.#logStopped("message");
    return { stopped: true, ledgerNum, told: this.#node.broadcast(message, options.to) };
  }

  attach({ nonce, phase, elapsedMs = 0 }: Parameters<Surveyor["attach"]>[0]): boolean {
    const { clock } = this.#node;
    const survey = { nonce, surveyorId: this.#self };
    const begunMs = clock.nowMs() - elapsedMs;
    return phase === "reporting"
      ? this.#data.resume(survey, begunMs)
      : this.#data.start(survey, begunMs, this.#node.peers(), this.#node.inSync());
  }

  leave(): void {
    const { nonce, surveyorId } = this.#data;
    if (nonce === undefined) return;
    this.#data.reset();
    this.#limiter.clear();
    this.#ended(nonce, surveyorId!);
  }

  ask(pages: readonly SurveyPage[], options: SendOptions = {}): AskOutcome[] {
    return pages.map((page) => this.#ask(page, options));
  }

  #ask(page: SurveyPage, options: SendOptions): AskOutcome {
    const refused = (reason: AskRefusal): AskOutcome => ({ page, sent: false, reason });
    const surveyedPeerId = decodeNodeId(page.nodeId);
    const { phase, nonce } = this.#data;
    if (phase !== "reporting") return refused("not_reporting");
    if (!this.isSurveyor) return refused("not_surveyor");
    if (page.nodeId === this.#self) return refused("self");
    const ledgerNum = this.#ledgerFor(options);
    if (typeof ledgerNum !== "number") return refused(ledgerNum.reason);
    const { identity, random } = this.#node;
    this.#key ??= agreementKey(random.bytes(32));
    const message = signRequest(identity, {
      request: {
        surveyorPeerId: identity.publicKey,
        surveyedPeerId,
        ledgerNum,
        encryptionKey: this.#key.publicKey,
        commandType: "topology",
      },
      nonce: nonce!,
      inboundPeersIndex: page.inboundIndex,
      outboundPeersIndex: page.outboundIndex,
    });
    const limited = { ledgerNum, surveyor: this.#self, surveyed: page.nodeId };
    if (this.#limiter.addRequest(limited, () => true) !== undefined) return refused("asked_this_ledger");
    const asked = this.#asked.get(ledgerNum);
    if (asked === undefined) this.#asked.set(ledgerNum, new Map([[page.nodeId, page]]));
    else asked.set(page.nodeId, page);
    return { page, sent: true, ledgerNum, told: this.#node.broadcast(message, options.to) };
  }

  /** An answer to us. Source: stellar-core SurveyManager.cpp processTimeSlicedTopologyResponse. */
  #take({ response }: TimeSlicedSurveyResponse, told: Told, from: SurveyPeer): SurveyVerdict {
    const page = this.#asked.get(told.ledgerNum)?.get(told.surveyedId!);
    // The request may be of an earlier run of ours, and have come back to us.
    if (page === undefined || this.#key === undefined) return "unknown_request";
    const head = { page, ledgerNum: told.ledgerNum, from: from.nodeId };
    const plain = openSealedBox(this.#key, response.encryptedBody);
    let answer: SurveyPageAnswer;
    if (plain === undefined) answer = { ...head, kind: "bad", reason: "sealed_box" };
    else {
      const topology = decodedBody(plain);
      answer = topology === undefined
        ? { ...head, kind: "bad", reason: "xdr_invalid" }
        : { ...head, kind: "page", topology };
    }
    for (const listener of [...this.#answerListeners]) listener(answer);
    return "taken";
  }

  onAnswer(listener: (answer: SurveyPageAnswer) => void): () => void {
    this.#answerListeners.add(listener);
    return () => void this.#answerListeners.delete(listener);
  }

  onHeard(listener: (heard: HeardSurveyMessage) => void): () => void {
    this.#heardListeners.add(listener);
    return () => void this.#heardListeners.delete(listener);
  }

  own(): SurveyTopology | undefined {
    return this.#data.whole();
  }

  #ledgerFor(options: SendOptions): number | { reason: LedgerRefusal } {
    const ledgerNum = options.ledgerNum ?? this.#node.ledger();
    if (ledgerNum === undefined || this.#node.ledger() === undefined) return { reason: "ledger_unknown" };
    return this.#limiter.ledgerOk(ledgerNum) ? ledgerNum : { reason: "ledger" };
  }
}

type Of<T extends SurveyMessage["type"]> = Extract<SurveyMessage, { type: T }>;
type StartMessage = Of<"timeSlicedSurveyStartCollecting">;
type StopMessage = Of<"timeSlicedSurveyStopCollecting">;
type RequestMessage = Of<"timeSlicedSurveyRequest">;
type ResponseMessage = Of<"timeSlicedSurveyResponse">;

function limitedOf({ ledgerNum, surveyorId, surveyedId }: Told) {
  return { ledgerNum, surveyor: surveyorId, surveyed: surveyedId! };
}

/** The body of an opened answer; undefined when it is none, or more. */
function decodedBody(plain: Uint8Array): SurveyTopology | undefined {
  try {
    return decode(surveyResponseBody, plain);
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "xdr_invalid") return undefined;
    throw error;
  }
}
