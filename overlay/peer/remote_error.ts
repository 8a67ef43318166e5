/**
 * What a received ERROR_MSG means. The texts are upstream's; a text nobody knows keeps its code. ERROR_MSG is never
 * authenticated, so this informs people and decides nothing else.
 * Source: stellar-core Peer.cpp, OverlayManagerImpl.cpp; limits.md section 2.
 */
import type { Failure, Stage } from "../base/errors.ts";
import { ERROR_CODES, errorCodeName, type ErrorMsg, type Hello } from "../wire/types.ts";

/** What the connection knew when the message arrived. */
export interface RemoteErrorContext {
  stage: Stage;
  network: string;
  listeningPort: number;
  overlayVersion: number;
  overlayMinVersion: number;
  remote: Hello | undefined;
}

/** The failure that stands for a received ERROR_MSG. */
export function failureOfRemoteError(error: ErrorMsg, context: RemoteErrorContext): Failure {
  const text = error.msg;
  const { stage } = context;
  switch (error.code) {
    case ERROR_CODES.ERR_CONF:
      if (text === "wrong protocol version") {
        return {
          code: "wrong_version",
          remoteMin: context.remote?.overlayMinVersion,
          remoteMax: context.remote?.overlayVersion,
          oursMin: context.overlayMinVersion,
          oursMax: context.overlayVersion,
          text,
        };
      }
      if (text === "wrong network passphrase") return { code: "wrong_passphrase", network: context.network, text };
      if (text === "connecting to self") return { code: "connecting_to_self", text };
      if (text.startsWith("already-connected peer") || text.startsWith("already connected")) {
        return { code: "already_connected", text };
      }
      if (text === "bad address") return { code: "bad_listening_port", port: context.listeningPort, text };
      if (text === "flow control bytes disabled") return { code: "flow_control_refused", text };
      break;
    case ERROR_CODES.ERR_AUTH:
      return { code: "auth_refused", text, stage };
    case ERROR_CODES.ERR_LOAD:
      // Upstream sends it at admission, after its AUTH and PEERS, and when it makes room for another peer later.
      if (stage !== "live") return { code: "peer_rejected", text };
      break;
  }
  return { code: "dropped_by_remote", errorCode: errorCodeName(error.code), text, stage };
}
