import { test } from "node:test";
import assert from "node:assert/strict";
import {
  describeFailure,
  type Failure,
  type FailureCode,
  hintFor,
  isFailure,
  OverlayError,
  remoteText,
} from "./errors.ts";

type Samples = { [C in FailureCode]: Extract<Failure, { code: C }>[] };

const address = "192.0.2.1:11625";
const url = "http://192.0.2.1:11626";
const text = "REMOTE \x1b[2J";
/** At least one of every code: the compiler knows when one is missing. */
const SAMPLES: Samples = {
  bad_address: [{ code: "bad_address", text: "x:y", reason: "no port" }],
  dns_failed: [{ code: "dns_failed", host: "a.example", reason: "ENOTFOUND" }],
  connect_refused: [{ code: "connect_refused", address }],
  connect_unreachable: [{ code: "connect_unreachable", address, reason: "EHOSTUNREACH" }],
  connect_timeout: [{ code: "connect_timeout", address, afterMs: 5000 }],
  listen_failed: [{ code: "listen_failed", address, reason: "EADDRNOTAVAIL" }],
  connect_failed: [{ code: "connect_failed", address, reason: "EMFILE" }],
  closed_before_hello: [{ code: "closed_before_hello", afterMs: 12, reset: true }],
  silent_close: [{ code: "silent_close", afterMs: 12, network: "pubnet" }],
  closed_after_hello: [
    { code: "closed_after_hello", stage: "auth", reset: true },
    { code: "closed_after_hello", stage: "auth", reset: false },
  ],
  handshake_timeout: [{ code: "handshake_timeout", stage: "auth", afterMs: 5000 }],
  wrong_version: [
    { code: "wrong_version", remoteMin: 38, remoteMax: 40, oursMin: 35, oursMax: 37, text },
    { code: "wrong_version", oursMin: 35, oursMax: 37, text },
  ],
  wrong_passphrase: [{ code: "wrong_passphrase", network: "pubnet", text }],
  connecting_to_self: [{ code: "connecting_to_self", text }],
  already_connected: [{ code: "already_connected", text }],
  bad_listening_port: [{ code: "bad_listening_port", port: 0, text }],
  flow_control_refused: [{ code: "flow_control_refused", text }],
  peer_rejected: [{ code: "peer_rejected", text }],
  dropped_by_remote: [
    { code: "dropped_by_remote", errorCode: "ERR_MISC", text: "dropped by user", stage: "live" },
    { code: "dropped_by_remote", errorCode: "ERR_MISC", text: "shutdown", stage: "live" },
    { code: "dropped_by_remote", errorCode: "ERR_MISC", text, stage: "live" },
  ],
  auth_refused: [{ code: "auth_refused", text, stage: "auth" }],
  network_mismatch: [
    { code: "network_mismatch", ours: "pubnet", theirs: "testnet" },
    { code: "network_mismatch", ours: "pubnet", theirs: "My Network ; 2026" },
  ],
  version_mismatch: [{ code: "version_mismatch", remoteMin: 38, remoteMax: 40, oursMin: 35, oursMax: 37 }],
  bad_cert: [
    { code: "bad_cert", reason: "expired", expiresAt: 1795445160 },
    { code: "bad_cert", reason: "signature", expiresAt: 18446744073709552000 },
  ],
  bad_key: [{ code: "bad_key", reason: "small order" }],
  identity_mismatch: [{ code: "identity_mismatch", expected: "GA", actual: "GB" }],
  bad_mac: [{ code: "bad_mac", stage: "auth" }],
  bad_sequence: [{ code: "bad_sequence", stage: "auth", expected: "1", actual: "2" }],
  frame_oversized: [{ code: "frame_oversized", length: 5000, limit: 4096, stage: "hello" }],
  frame_malformed: [{ code: "frame_malformed", reason: "length 0", stage: "hello" }],
  xdr_invalid: [{ code: "xdr_invalid", path: "hello.cert.sig", reason: "needs 64 bytes, 12 left" }],
  protocol_violation: [{ code: "protocol_violation", reason: "received PEERS", stage: "live" }],
  not_stellar: (["http", "tls", "ssh", "unknown"] as const).map((looksLike) => ({
    code: "not_stellar",
    looksLike,
    firstBytes: "48545450",
  })),
  no_answer: [{ code: "no_answer", afterMs: 5000 }],
  connection_lost: [
    { code: "connection_lost", reset: true, reason: "ECONNRESET" },
    { code: "connection_lost", reset: false, reason: "end of stream" },
  ],
  idle_timeout: [{ code: "idle_timeout", afterMs: 30_000 }],
  straggling: [{ code: "straggling", afterMs: 120_000 }],
  local_close: [{ code: "local_close", reason: "interrupted" }],
  db_newer_schema: [{ code: "db_newer_schema", path: "/x", found: 3, supported: 2 }],
  db_failed: ["another process keeps it locked", "it belongs to network 'a', not 'b'", "it cannot be written"].map(
    (reason) => ({ code: "db_failed", path: "/x", reason }),
  ),
  config_invalid: [{ code: "config_invalid", path: "/x", reason: "line 1" }],
  file_unreadable: [{ code: "file_unreadable", path: "/x", reason: "no such file" }],
  file_unwritable: [{ code: "file_unwritable", path: "/x", reason: "no space" }],
  seed_invalid: [{ code: "seed_invalid", source: "/x", reason: "checksum" }],
  seed_file_exposed: [{ code: "seed_file_exposed", path: "/x", mode: "644" }],
  no_seeds: [{ code: "no_seeds", network: "local" }],
  nothing_to_resume: [{ code: "nothing_to_resume", network: "pubnet" }],
  run_in_progress: [{ code: "run_in_progress", run: 3, sinceMs: 400 }],
  no_peer: [{ code: "no_peer", afterMs: 30_000, tried: 2, reason: "127.0.0.1:1: refused" }],
  no_ledger: [{ code: "no_ledger", afterMs: 30_000, peers: 2 }],
  survey_active: [
    { code: "survey_active", surveyorId: "GA", nonce: 7, overAtLatest: "2026-01-01T00:00:00.000Z" },
    { code: "survey_active", surveyorId: null, nonce: null, overAtLatest: "2026-01-01T00:00:00.000Z" },
  ],
  survey_ignored: [{ code: "survey_ignored", nonce: 7, told: 2, watched: 1, waitedMs: 12_000 }],
  survey_no_answer: [
    { code: "survey_no_answer", nonce: 7, asked: 3, passedOn: true },
    { code: "survey_no_answer", nonce: 7, asked: 3, passedOn: false },
  ],
  survey_over: [{ code: "survey_over", nonce: 7, overAt: "2026-01-01T00:00:00.000Z" }],
  survey_unknown: [{ code: "survey_unknown", which: "latest" }],
  survey_in_progress: [{ code: "survey_in_progress", nonce: 7, sinceMs: 900 }],
  survey_not_ours: [{ code: "survey_not_ours", nonce: 7, surveyorId: "GA", ours: "GB" }],
  port_in_use: [{ code: "port_in_use", address }],
  core_unreachable: ["ECONNREFUSED", "ENOTFOUND"].map((reason) => ({ code: "core_unreachable", url, reason })),
  core_timeout: [{ code: "core_timeout", url, command: "info", afterMs: 5000 }],
  core_connection_lost: [{ code: "core_connection_lost", url, command: "info", reason: "ECONNRESET" }],
  core_answer_too_large: [{ code: "core_answer_too_large", url, command: "info", limitBytes: 65_536 }],
  core_http_status: [302, 401, 404, 500, 502].map((status) => ({
    code: "core_http_status",
    url,
    command: "info",
    status,
  })),
  core_unknown_command: [{ code: "core_unknown_command", url, command: "getsurveyresult" }],
  core_exception: [{ code: "core_exception", url, command: "surveytopologytimesliced", text }],
  core_answer_invalid: [{ code: "core_answer_invalid", url, command: "getsurveyresult", text }],
  core_not_ready: [{ code: "core_not_ready", url, text, waitedMs: 60_000 }],
  core_survey_lost: [{ code: "core_survey_lost", url, reason: "the node was restarted" }],
  not_stellar_core: [{ code: "not_stellar_core", url, looksLike: "html" }],
  subscriber_too_slow: [{ code: "subscriber_too_slow", waitedMs: 20_000, held: 200 }],
  capture_invalid: [{ code: "capture_invalid", path: "node.cap", offset: 8, reason: "format version 9" }],
  survey_file_invalid: [
    { code: "survey_file_invalid", path: "survey.json", at: "nodes[0].state", reason: "needs a text" },
    { code: "survey_file_invalid", path: "survey.json", at: "", reason: "the file is empty" },
  ],
  tx_unreadable: [{ code: "tx_unreadable", reason: "there is no text" }],
  tx_malformed: [{ code: "tx_malformed", field: "v1.tx.memo.type", reason: "unknown" }],
  tx_unsigned: [{ code: "tx_unsigned", part: "transaction" }, { code: "tx_unsigned", part: "inner transaction" }],
  tx_wrong_network: [
    { code: "tx_wrong_network", chosen: "pubnet", signedFor: "testnet" },
    { code: "tx_wrong_network", chosen: "pubnet", signedFor: "a network of its own" },
  ],
  tx_bad_signature: [{ code: "tx_bad_signature", network: "pubnet", part: "transaction" }],
  tx_time_bounds: [
    { code: "tx_time_bounds", problem: "expired", bound: "2026-01-01T00:00:00Z", nowAt: "2026-01-02T00:00:00Z" },
    { code: "tx_time_bounds", problem: "too early", bound: "2026-01-02T00:00:00Z", nowAt: "2026-01-01T00:00:00Z" },
  ],
  tx_too_large: [{ code: "tx_too_large", bytes: 200_000, limit: 102_400 }],
  invalid_argument: [{ code: "invalid_argument", argument: "--timeout", reason: "not a number" }],
};

// Our own decisions: there is nothing to try.
const WITHOUT_HINT: FailureCode[] = ["local_close"];

test("every code states its facts and a next step, in one line and without remote text", () => {
  for (const failure of Object.values(SAMPLES).flat()) {
    const facts = describeFailure(failure), hint = hintFor(failure);
    assert.match(facts, /\S/, failure.code);
    assert.equal(hint === "", WITHOUT_HINT.includes(failure.code), failure.code);
    for (const line of [facts, hint]) {
      assert.doesNotMatch(line, /undefined|NaN|null|\[object|\n|\x1b|REMOTE/, `${failure.code}: ${line}`);
    }
  }
});

test("facts hold the numbers and names of the failure", () => {
  for (const failure of Object.values(SAMPLES).flat()) {
    const facts = describeFailure(failure);
    for (
      const key of [
        "address",
        "host",
        "url",
        "command",
        "path",
        "remoteMin",
        "oursMax",
        "limit",
        "length",
        "expected",
      ] as const
    ) {
      if (key in failure) {
        const value = String((failure as unknown as Record<string, unknown>)[key]);
        assert.ok(value === "undefined" || facts.includes(value), `${failure.code} lacks ${key}`);
      }
    }
  }
});

test("remoteText gives the text of ERROR_MSG, and nothing that a user wrote", () => {
  for (const failure of Object.values(SAMPLES).flat()) {
    const own = failure.code === "bad_address" || !("text" in failure);
    assert.equal(remoteText(failure), own ? undefined : (failure as { text: string }).text, failure.code);
  }
});

test("the hint of silent_close names the three causes and what tells them apart", () => {
  const hint = hintFor(SAMPLES.silent_close[0]);
  for (const word of ["network", "--network auto", "certificate", "clock", "banned", "--seed-file", "fresh identity"]) {
    assert.ok(hint.includes(word), word);
  }
});

test("the hint of wrong_version gives the window that would meet", () => {
  assert.match(hintFor(SAMPLES.wrong_version[0]), /--overlay-min at most 40 and --overlay-version at least 38/);
});

test("OverlayError carries its failure, cause, code and hint", () => {
  const cause = new Error("below");
  const error = new OverlayError(SAMPLES.connect_refused[0], { cause });
  assert.equal(error.message, `connect_refused: ${address} refused the TCP connection`);
  assert.deepEqual([error.name, error.code, error.cause], ["OverlayError", "connect_refused", cause]);
  assert.equal(error.hint, hintFor(SAMPLES.connect_refused[0]));
  assert.ok(isFailure("connect_refused")(error));
  assert.ok(!isFailure("connect_timeout")(error) && !isFailure("connect_refused")(cause));
});
