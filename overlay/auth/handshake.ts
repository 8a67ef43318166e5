/**
 * HELLO and AUTH as a pure state machine for both roles: state and message in, next state and effects out. The order of the
 * checks and every answer are upstream's, silent drops included.
 * Source: stellar-core Peer.cpp recvHello, recvAuth, recvMessage; handshake.md sections 2 to 4.
 */
import { equalBytes, toHex } from "../base/bytes.ts";
import type { Failure } from "../base/errors.ts";
import { messageEnumName, MessageType, type StellarMessage } from "../wire/messages.ts";
import { AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED, type ErrorCodeName, type Hello } from "../wire/types.ts";
import type { Role } from "./session_keys.ts";

/** The MAC keys of one connection, 32 bytes each. */
export interface SessionKeys {
  sendKey: Uint8Array;
  receiveKey: Uint8Array;
}

/** Where a connection stands. Names are upstream's states; CONNECTING happens before there is a socket. */
export type HandshakeState =
  | { at: "connected" }
  | { at: "gotHello"; remote: Hello }
  | { at: "gotAuth"; remote: Hello }
  | { at: "closing"; remote?: Hello };

/** What the handshake asks of its surroundings. */
export interface HandshakeLocal {
  role: Role;
  nodeId: Uint8Array;
  networkId: Uint8Array;
  overlayVersion: number;
  overlayMinVersion: number;
  /** Certificate check with our network id and clock. */
  checkCert(hello: Hello): "ok" | "expired" | "signature";
  /** Go on although the remote's certificate has expired. A probe wants to hear what else the peer says; a node never does. */
  acceptExpiredCert: boolean;
  /** Go on although the windows do not meet, so that the remote says so itself. For a probe, as above. */
  acceptAnyVersion: boolean;
  /** The socket knows the remote's IP; false when it died meanwhile. */
  remoteAddressKnown: boolean;
  isBanned(nodeId: Uint8Array): boolean;
  /** Undefined when the remote's Curve25519 key is unusable. */
  deriveKeys(hello: Hello): SessionKeys | undefined;
  /** Short name of a peer, pending after HELLO or authenticated, that already has this node id. */
  duplicateOf(nodeId: Uint8Array): string | undefined;
}

/** Something for the owner of the connection to do, in the order given. */
export type HandshakeEffect =
  | { do: "setKeys"; keys: SessionKeys }
  /** Send our HELLO. The initiator has sent it when TCP connected; only the acceptor gets this. */
  | { do: "sendHello" }
  | { do: "sendAuth" }
  /** Send PEERS if there is at least one address to offer. */
  | { do: "sendPeers" }
  /** The address book learns (remote IP, hello.listeningPort). */
  | { do: "recordAddress" }
  /** Both AUTHs are through and the flags are right: decide about admission, then grant and ask for SCP state. */
  | { do: "authenticated" }
  | { do: "drop"; drop: DropOrder };

/** How to end a connection: with an ERROR_MSG or silently. */
export interface DropOrder {
  /** Upstream's text, for ERROR_MSG and log alike. */
  reason: string;
  /** Absent: nothing is sent. */
  error?: ErrorCodeName;
  failure: Failure;
}

/** Result of one step. */
export interface HandshakeStep {
  state: HandshakeState;
  effects: HandshakeEffect[];
}

/** The state of a new connection. The initiator sends HELLO when it enters it. */
export const INITIAL_STATE: HandshakeState = { at: "connected" };

/** Types that are handed to the handshake in any state; every other type needs state gotAuth. */
export function isHandshakeType(type: number): boolean {
  return type === MessageType.hello || type === MessageType.auth || type === MessageType.errorMsg;
}

/** What happens when a message that is not part of the handshake arrives before its end. */
export function beforeHandshake(type: number): DropOrder {
  const reason = `received ${messageEnumName(type)} before completed handshake`;
  return { reason, failure: { code: "protocol_violation", reason, stage: "auth" } };
}

/** Takes HELLO or AUTH, whose frame checks have passed. */
export function onHandshakeMessage(
  state: HandshakeState,
  message: StellarMessage,
  local: HandshakeLocal,
): HandshakeStep {
  switch (state.at) {
    case "connected":
      if (message.type === "hello") return onHello(message.hello, local);
      if (message.type === "auth") return outOfOrderAuth(state);
      return dropped(state, beforeHandshake(MessageType[message.type]));
    case "gotHello":
      if (message.type === "hello") return unexpectedHello(state);
      if (message.type === "auth") return onAuth(state.remote, message.auth.flags, local);
      return dropped(state, beforeHandshake(MessageType[message.type]));
    case "gotAuth":
      if (message.type === "hello") return unexpectedHello(state);
      if (message.type === "auth") return outOfOrderAuth(state);
      return { state, effects: [] };
    case "closing":
      return { state, effects: [] };
    default:
      return state satisfies never;
  }
}

/** A pair of overlay versions, as HELLO announces it. */
type Window = Pick<Hello, "overlayVersion" | "overlayMinVersion">;

/** Whether two nodes with these versions can talk. Source: stellar-core Peer.cpp recvHello. */
export function windowsMeet(remote: Window, ours: Window): boolean {
  return remote.overlayMinVersion <= remote.overlayVersion && remote.overlayVersion >= ours.overlayMinVersion &&
    remote.overlayMinVersion <= ours.overlayVersion;
}

function onHello(hello: Hello, local: HandshakeLocal): HandshakeStep {
  const silent = (reason: string, failure: Failure): HandshakeStep => ({
    state: { at: "closing", remote: hello },
    effects: [{ do: "drop", drop: { reason, failure } }],
  });

  const cert = local.checkCert(hello);
  if (cert === "signature" || (cert === "expired" && !local.acceptExpiredCert)) {
    return silent(
      "failed to verify auth cert",
      !equalBytes(hello.networkId, local.networkId)
        ? { code: "network_mismatch", ours: toHex(local.networkId), theirs: toHex(hello.networkId) }
        : { code: "bad_cert", reason: cert, expiresAt: Number(hello.cert.expiration) },
    );
  }
  if (local.isBanned(hello.peerId)) {
    return silent("node is banned", { code: "local_close", reason: "node is banned" });
  }
  const keys = local.deriveKeys(hello);
  if (keys === undefined) {
    return silent("Bad crypto request", { code: "bad_key", reason: "small-order or malformed point" });
  }

  const effects: HandshakeEffect[] = [{ do: "setKeys", keys }];
  if (!local.remoteAddressKnown) {
    const reason = "failed to determine remote address";
    effects.push({ do: "drop", drop: { reason, failure: { code: "connection_lost", reset: true, reason } } });
    return { state: { at: "closing", remote: hello }, effects };
  }
  if (local.role === "remoteCalledUs") effects.push({ do: "sendHello" });
  const refuse = (reason: string, failure: Failure): HandshakeStep => ({
    state: { at: "closing", remote: hello },
    effects: [...effects, { do: "drop", drop: { reason, error: "ERR_CONF", failure } }],
  });

  const { overlayVersion: remoteMax, overlayMinVersion: remoteMin } = hello;
  const { overlayVersion: oursMax, overlayMinVersion: oursMin } = local;
  if (!local.acceptAnyVersion && !windowsMeet(hello, local)) {
    return refuse("wrong protocol version", { code: "version_mismatch", remoteMin, remoteMax, oursMin, oursMax });
  }
  if (equalBytes(hello.peerId, local.nodeId)) {
    return refuse("connecting to self", { code: "connecting_to_self", text: "" });
  }
  if (!equalBytes(hello.networkId, local.networkId)) {
    return refuse("wrong network passphrase", {
      code: "network_mismatch",
      ours: toHex(local.networkId),
      theirs: toHex(hello.networkId),
    });
  }
  if (hello.listeningPort < 1 || hello.listeningPort > 65535) {
    return refuse("bad address", {
      code: "protocol_violation",
      reason: `listening port ${hello.listeningPort}`,
      stage: "hello",
    });
  }
  effects.push({ do: "recordAddress" });
  const duplicate = local.duplicateOf(hello.peerId);
  if (duplicate !== undefined) {
    return refuse(`already-connected peer: ${duplicate}`, { code: "already_connected", text: "" });
  }
  if (local.role === "weCalledRemote") effects.push({ do: "sendAuth" });
  return { state: { at: "gotHello", remote: hello }, effects };
}

function onAuth(remote: Hello, flags: number, local: HandshakeLocal): HandshakeStep {
  const effects: HandshakeEffect[] = [];
  if (local.role === "remoteCalledUs") effects.push({ do: "sendAuth" }, { do: "sendPeers" });
  if (flags !== AUTH_MSG_FLAG_FLOW_CONTROL_BYTES_REQUESTED) {
    const reason = "flow control bytes disabled";
    effects.push({
      do: "drop",
      drop: { reason, error: "ERR_CONF", failure: { code: "protocol_violation", reason, stage: "auth" } },
    });
    return { state: { at: "closing", remote }, effects };
  }
  effects.push({ do: "authenticated" });
  return { state: { at: "gotAuth", remote }, effects };
}

function unexpectedHello(state: HandshakeState): HandshakeStep {
  const reason = "received unexpected HELLO";
  return dropped(state, { reason, failure: { code: "protocol_violation", reason, stage: "auth" } });
}

function outOfOrderAuth(state: HandshakeState): HandshakeStep {
  const reason = "out-of-order AUTH message";
  return dropped(state, { reason, error: "ERR_MISC", failure: { code: "protocol_violation", reason, stage: "auth" } });
}

function dropped(state: HandshakeState, drop: DropOrder): HandshakeStep {
  const remote = "remote" in state ? state.remote : undefined;
  return { state: { at: "closing", remote }, effects: [{ do: "drop", drop }] };
}
