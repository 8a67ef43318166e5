/**
 * What one peer says about the ledger while we listen: whose statements it passes on, whether it makes its own, whether slots
 * go forward, and which time they carry. A signature proves a key and nothing else, so all of it is the peer's own word: a
 * doctor examines the node that is there, it does not find out what the network's ledger is.
 * Source: wire.md section 4; flooding.md sections 3 and 4.
 */
import { concatBytes } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { primitives } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { MessageType, type ReceivedMessage } from "../../overlay/wire/messages.ts";
import { decodeStellarValue, type ScpPledges } from "../../overlay/wire/types.ts";

/** What was heard. */
export interface ScpEvidence {
  /** SCP messages, and those of them whose signature is not what it should be. */
  messages: number;
  badSignatures: number;
  /** Signers other than the peer. */
  otherSigners: number;
  /** The highest slot the peer itself spoke about. */
  ownSlot: bigint | undefined;
  /** The highest slot that two signers spoke about, or the only one there is. */
  slot: bigint | undefined;
  /** A new slot began while we listened. */
  advancing: boolean;
  /** Close time of the newest slot that has one minus our wall clock when it was heard, ms. Negative: it is past. */
  closeTimeOffsetMs: number | undefined;
  /** How long we listened since the peer was live, ms. */
  listenedMs: number;
}

/** Signatures checked: twenty validators for fifty slots. What comes after them tells nothing new. */
const MAX_MESSAGES = 5000;
/** Signers told apart. */
const MAX_SIGNERS = 1000;
/** What comes later than this after the first statement is no memory of the past. Source: flooding.md section 4. */
const REPLAY_MS = 2000;

/** Collects {@link ScpEvidence} from the messages of one peer. */
export class ScpCollector {
  readonly #preimageHead: Uint8Array;
  readonly #nodeId: string;
  readonly #liveMs: number;
  #messages = 0;
  #badSignatures = 0;
  #firstMs: number | undefined;
  #ownSlot: bigint | undefined;
  #advancing = false;
  #closeTime: { slot: bigint; offsetMs: number } | undefined;
  /** Highest slot by signer. BOUNDED: MAX_SIGNERS. */
  readonly #slots = new Map<string, bigint>();

  /** `networkId` has 32 bytes, `nodeId` is the peer's `G...`; it is live since `nowMs`. */
  constructor(networkId: Uint8Array, nodeId: string, nowMs: number) {
    this.#preimageHead = concatBytes(networkId, new Uint8Array([0, 0, 0, 1])); // ENVELOPE_TYPE_SCP
    this.#nodeId = nodeId;
    this.#liveMs = nowMs;
  }

  /** Takes any message of the peer; `wallMs` is our wall clock now. */
  take(message: ReceivedMessage, wallMs: number): void {
    if (message.type !== MessageType.scpMessage || this.#messages >= MAX_MESSAGES) return;
    this.#messages++;
    const decoded = decodedOf(message);
    if (decoded?.type !== "scpMessage") return;
    const { statement, signature } = decoded.envelope;
    // SCP_MESSAGE: type, statement, then 4 bytes of length and 64 of signature.
    const signed = concatBytes(this.#preimageHead, message.bytes.subarray(4, message.bytes.length - 68));
    if (signature.length !== 64 || !primitives.verify(statement.nodeId, signed, signature)) {
      this.#badSignatures++;
      return;
    }
    const { slotIndex: slot } = statement;
    const signer = encodeNodeId(statement.nodeId);
    const nowMs = message.receivedAtMs;
    this.#firstMs ??= nowMs;
    const before = this.#newest();
    if (signer === this.#nodeId && (this.#ownSlot === undefined || slot > this.#ownSlot)) this.#ownSlot = slot;
    const known = this.#slots.get(signer);
    if (known === undefined ? this.#slots.size < MAX_SIGNERS : slot > known) this.#slots.set(signer, slot);
    const after = this.#newest();
    if (before !== undefined && after! > before && nowMs - this.#firstMs >= REPLAY_MS) this.#advancing = true;
    this.#noteCloseTime(slot, statement.pledges, wallMs);
  }

  /** Everything a healthy validator can show has been seen: there is no need to stay. */
  get complete(): boolean {
    return this.#advancing && this.#ownSlot !== undefined && this.#others > 0 && this.#closeTime !== undefined;
  }

  /** What was heard so far. */
  evidence(nowMs: number): ScpEvidence {
    return {
      messages: this.#messages,
      badSignatures: this.#badSignatures,
      otherSigners: this.#others,
      ownSlot: this.#ownSlot,
      slot: this.#newest(),
      advancing: this.#advancing,
      closeTimeOffsetMs: this.#closeTime?.offsetMs,
      listenedMs: Math.max(0, nowMs - this.#liveMs),
    };
  }

  get #others(): number {
    return this.#slots.size - (this.#slots.has(this.#nodeId) ? 1 : 0);
  }

  /** The second highest of the signers' slots, so that one liar does not set it; the only one when there is one. */
  #newest(): bigint | undefined {
    let first: bigint | undefined, second: bigint | undefined;
    for (const slot of this.#slots.values()) {
      if (first === undefined || slot > first) [first, second] = [slot, first];
      else if (second === undefined || slot > second) second = slot;
    }
    return second ?? first;
  }

  #noteCloseTime(slot: bigint, pledges: ScpPledges, wallMs: number): void {
    const newest = this.#newest();
    if (newest === undefined || slot > newest || (this.#closeTime !== undefined && slot <= this.#closeTime.slot)) {
      return;
    }
    const value = ballotValue(pledges);
    if (value === undefined) return;
    try {
      const offsetMs = Number(decodeStellarValue(value).closeTime) * 1000 - wallMs;
      this.#closeTime = { slot, offsetMs };
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
    }
  }
}

/** The value a statement decides about; a nomination has not decided. */
function ballotValue(pledges: ScpPledges): Uint8Array | undefined {
  switch (pledges.type) {
    case "prepare":
      return pledges.prepare.ballot.value;
    case "confirm":
      return pledges.confirm.ballot.value;
    case "externalize":
      return pledges.externalize.commit.value;
    default:
      return undefined;
  }
}

function decodedOf(message: ReceivedMessage): ReturnType<ReceivedMessage["decode"]> | undefined {
  try {
    return message.decode();
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    return undefined;
  }
}
