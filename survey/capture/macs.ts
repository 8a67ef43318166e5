/** Checks the MACs of captured frames, where the capture holds the secret of our side. */
import { equalBytes, readUint32, toHex } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { type Role, sessionKeys, sharedKey } from "../../overlay/auth/session_keys.ts";
import { type AgreementKey, agreementKey, type MacKey, macKey } from "../../overlay/crypto/primitives.ts";
import { decodeMessage, MessageType } from "../../overlay/wire/messages.ts";
import type { Hello } from "../../overlay/wire/types.ts";
import type { CaptureRecord, FrameRecord } from "./format.ts";

/** Secrets kept. */
const MAX_SECRETS = 1000;

interface Session {
  role: Role;
  ours: Hello | undefined;
  theirs: Hello | undefined;
  keys: { sent: MacKey; received: MacKey } | undefined;
  next: { sent: bigint; received: bigint };
}

/** What is wrong with a frame's authentication; `ok` and null (none there, or it cannot be told) are fine. */
export type MacVerdict = "ok" | "sequence" | "mac" | null;

/** Follows the connections of a capture. BOUNDED: one entry per open connection, {@link MAX_SECRETS} secrets. */
export class MacChecker {
  /** Our secrets by the public key in our HELLO's certificate. */
  readonly #secrets = new Map<string, AgreementKey>();
  readonly #sessions = new Map<number, Session>();

  /** Takes the next record; for a frame it says whether its sequence number and MAC are right. */
  add(record: CaptureRecord): MacVerdict {
    switch (record.type) {
      case "start":
        this.#sessions.clear();
        this.#secrets.clear();
        return null;
      case "secrets": {
        if (this.#secrets.size >= MAX_SECRETS) return null;
        const key = agreementKey(record.secrets.x25519Secret);
        this.#secrets.set(toHex(key.publicKey), key);
        return null;
      }
      case "open":
        this.#sessions.set(record.open.connection, {
          role: record.open.role,
          ours: undefined,
          theirs: undefined,
          keys: undefined,
          next: { sent: 0n, received: 0n },
        });
        return null;
      case "end":
        this.#sessions.delete(record.end.connection);
        return null;
      case "frame":
        return this.#frame(record.frame);
      default:
        return null;
    }
  }

  #frame({ connection, direction, bytes }: FrameRecord): MacVerdict {
    const session = this.#sessions.get(connection);
    if (session === undefined || bytes.length < 52) return null;
    const type = readUint32(bytes, 16);
    if (type === MessageType.hello) {
      this.#hello(session, direction === "sent", bytes);
      return null;
    }
    if (type === MessageType.errorMsg || session.keys === undefined) return null;
    const sequence = (BigInt(readUint32(bytes, 8)) << 32n) | BigInt(readUint32(bytes, 12));
    if (sequence !== session.next[direction]) return "sequence";
    session.next[direction]++;
    const mac = session.keys[direction].mac(bytes.subarray(8, bytes.length - 32));
    return equalBytes(mac, bytes.subarray(bytes.length - 32)) ? "ok" : "mac";
  }

  #hello(session: Session, ours: boolean, frame: Uint8Array): void {
    let message;
    try {
      message = decodeMessage(frame.subarray(16, frame.length - 32));
    } catch (error) {
      if (error instanceof OverlayError) return;
      throw error;
    }
    if (message.type !== "hello") return;
    // As the engine: the first HELLO of either side counts.
    if (ours) session.ours ??= message.hello;
    else session.theirs ??= message.hello;
    if (session.ours === undefined || session.theirs === undefined || session.keys !== undefined) return;
    const own = this.#secrets.get(toHex(session.ours.cert.pubkey));
    const shared = own && sharedKey(own, session.theirs.cert.pubkey, session.role);
    if (!shared) return;
    const keys = sessionKeys(shared, session.ours.nonce, session.theirs.nonce, session.role);
    session.keys = { sent: macKey(keys.sendKey), received: macKey(keys.receiveKey) };
  }
}
