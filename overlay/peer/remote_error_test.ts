import { test } from "node:test";
import assert from "node:assert/strict";
import type { FailureCode, Stage } from "../base/errors.ts";
import { ERROR_CODES, type ErrorCodeName, type Hello } from "../wire/types.ts";
import { failureOfRemoteError, type RemoteErrorContext } from "./remote_error.ts";

const remote = { overlayMinVersion: 38, overlayVersion: 40 } as Hello;
function context(stage: Stage = "auth"): RemoteErrorContext {
  return { stage, network: "net", listeningPort: 7, overlayVersion: 37, overlayMinVersion: 35, remote };
}

const TABLE: [ErrorCodeName, string, Stage, FailureCode][] = [
  ["ERR_CONF", "wrong protocol version", "auth", "wrong_version"],
  ["ERR_CONF", "wrong network passphrase", "auth", "wrong_passphrase"],
  ["ERR_CONF", "connecting to self", "auth", "connecting_to_self"],
  ["ERR_CONF", "already-connected peer: GCKWV", "auth", "already_connected"],
  ["ERR_CONF", "bad address", "auth", "bad_listening_port"],
  ["ERR_CONF", "flow control bytes disabled", "grant", "flow_control_refused"],
  ["ERR_CONF", "something new", "auth", "dropped_by_remote"],
  ["ERR_AUTH", "unexpected MAC", "grant", "auth_refused"],
  ["ERR_AUTH", "unexpected auth sequence", "live", "auth_refused"],
  ["ERR_LOAD", "peer rejected", "auth", "peer_rejected"],
  ["ERR_LOAD", "peer rejected", "grant", "peer_rejected"],
  ["ERR_LOAD", "preferred peer selected instead", "live", "dropped_by_remote"],
  ["ERR_MISC", "dropped by user", "live", "dropped_by_remote"],
  ["ERR_DATA", "received corrupt XDR", "live", "dropped_by_remote"],
  ["ERR_MISC", "wrong protocol version", "auth", "dropped_by_remote"],
];

test("every text of upstream has its failure, and every failure keeps the text", () => {
  for (const [code, msg, stage, expected] of TABLE) {
    const failure = failureOfRemoteError({ code: ERROR_CODES[code], msg }, context(stage));
    assert.equal(failure.code, expected, `${code} ${msg}`);
    assert.equal((failure as { text: string }).text, msg);
    if (failure.code === "dropped_by_remote") assert.deepEqual([failure.errorCode, failure.stage], [code, stage]);
  }
});

test("wrong_version carries both windows, and ours alone before HELLO", () => {
  const error = { code: ERROR_CODES.ERR_CONF, msg: "wrong protocol version" };
  const windows = { oursMin: 35, oursMax: 37, text: error.msg };
  assert.deepEqual(failureOfRemoteError(error, context()), {
    code: "wrong_version",
    remoteMin: 38,
    remoteMax: 40,
    ...windows,
  });
  assert.deepEqual(failureOfRemoteError(error, { ...context(), remote: undefined }), {
    code: "wrong_version",
    remoteMin: undefined,
    remoteMax: undefined,
    ...windows,
  });
});

test("an error code nobody knows keeps its number", () => {
  assert.deepEqual(failureOfRemoteError({ code: -7, msg: "" }, context()), {
    code: "dropped_by_remote",
    errorCode: "ERR_-7",
    text: "",
    stage: "auth",
  });
});
