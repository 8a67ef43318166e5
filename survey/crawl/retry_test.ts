import assert from "node:assert/strict";
import { test } from "node:test";
import type { Failure, FailureCode } from "../../overlay/base/errors.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { backoffMs, MAX_BACKOFF_MS, retryable } from "./retry.ts";

const PASS: FailureCode[] = [
  "connect_timeout",
  "connect_failed",
  "closed_before_hello",
  "closed_after_hello",
  "handshake_timeout",
  "already_connected",
  "connection_lost",
];
const STAY: FailureCode[] = [
  "bad_address",
  "connect_refused",
  "connect_unreachable",
  "silent_close",
  "wrong_version",
  "wrong_passphrase",
  "connecting_to_self",
  "bad_listening_port",
  "flow_control_refused",
  "peer_rejected",
  "dropped_by_remote",
  "auth_refused",
  "network_mismatch",
  "version_mismatch",
  "bad_cert",
  "bad_key",
  "identity_mismatch",
  "bad_mac",
  "bad_sequence",
  "frame_oversized",
  "frame_malformed",
  "xdr_invalid",
  "protocol_violation",
  "not_stellar",
  "no_answer",
  "idle_timeout",
  "straggling",
  "local_close",
];

test("retryable: a table of all that a visit can end with", () => {
  for (const code of PASS) assert.equal(retryable({ code } as Failure), true, code);
  for (const code of STAY) assert.equal(retryable({ code } as Failure), false, code);
});

test("retryable: a name server may be busy, a name that does not exist stays so", () => {
  const dns = (reason: string) => retryable({ code: "dns_failed", host: "x", reason });
  assert.deepEqual(["EAI_AGAIN", "ETIMEOUT", "queryA ESERVFAIL x"].map(dns), [true, true, true]);
  assert.deepEqual(["ENOTFOUND", "ENODATA", "EAI_NONAME"].map(dns), [false, false, false]);
});

test("backoffMs doubles, within half and one and a half, up to a bound", () => {
  const random = new SeededRandom(1);
  for (let attempt = 1; attempt < 30; attempt++) {
    const middle = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** (attempt - 1));
    for (let i = 0; i < 50; i++) {
      const waitMs = backoffMs(attempt, 1000, random);
      assert.ok(waitMs >= 0.5 * middle && waitMs < 1.5 * middle);
    }
  }
});
