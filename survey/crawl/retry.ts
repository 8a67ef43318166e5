/** Which failures may pass, and how long to wait for it. */
import type { Failure, FailureCode } from "../../overlay/base/errors.ts";
import type { Random } from "../../overlay/base/random.ts";

/** True: the same dial may succeed a little later. False: the answer would be the same, and asking again only costs the node. */
const MAY_PASS: { readonly [C in FailureCode]: boolean } = {
  bad_address: false,
  dns_failed: false, // see below: some reasons pass
  connect_refused: false,
  connect_unreachable: false,
  connect_timeout: true,
  connect_failed: true, // this machine's own troubles, such as no free port or descriptor
  closed_before_hello: true, // no free pending slot just now
  silent_close: false, // another network, a clock, a ban
  closed_after_hello: true,
  handshake_timeout: true,
  wrong_version: false,
  wrong_passphrase: false,
  connecting_to_self: false,
  already_connected: true, // we ourselves, by another address of the same node
  bad_listening_port: false,
  flow_control_refused: false,
  peer_rejected: false,
  dropped_by_remote: false,
  auth_refused: false,
  network_mismatch: false,
  version_mismatch: false,
  bad_cert: false,
  bad_key: false,
  identity_mismatch: false,
  bad_mac: false,
  bad_sequence: false,
  frame_oversized: false,
  frame_malformed: false,
  xdr_invalid: false,
  protocol_violation: false,
  not_stellar: false,
  no_answer: false,
  connection_lost: true,
  idle_timeout: false,
  straggling: false,
  local_close: false,
  db_newer_schema: false,
  db_failed: false,
  config_invalid: false,
  file_unreadable: false,
  file_unwritable: false,
  seed_invalid: false,
  seed_file_exposed: false,
  no_seeds: false,
  nothing_to_resume: false,
  run_in_progress: false,
  no_peer: false,
  no_ledger: false,
  survey_active: false,
  survey_ignored: false,
  survey_no_answer: false,
  survey_over: false,
  survey_unknown: false,
  survey_in_progress: false,
  survey_not_ours: false,
  port_in_use: false,
  subscriber_too_slow: false,
  listen_failed: false,
  survey_file_invalid: false,
  core_unreachable: false,
  core_timeout: false,
  core_connection_lost: false,
  core_answer_too_large: false,
  core_http_status: false,
  core_unknown_command: false,
  core_exception: false,
  core_answer_invalid: false,
  core_not_ready: false,
  core_survey_lost: false,
  not_stellar_core: false,
  tx_unreadable: false,
  tx_malformed: false,
  tx_unsigned: false,
  tx_wrong_network: false,
  tx_bad_signature: false,
  tx_time_bounds: false,
  tx_too_large: false,
  capture_invalid: false,
  invalid_argument: false,
};

/** Reasons of a name server that is busy, not of a name that does not exist. */
const DNS_MAY_PASS = /EAI_AGAIN|TRY_AGAIN|ETIMEOUT|ETIMEDOUT|ESERVFAIL|SERVFAIL/i;

/** Whether the same dial may succeed a little later. */
export function retryable(failure: Failure): boolean {
  if (failure.code === "dns_failed") return DNS_MAY_PASS.test(failure.reason);
  return MAY_PASS[failure.code];
}

/** Longest wait between two attempts, ms. */
export const MAX_BACKOFF_MS = 60_000;

/** Wait after the `attempt`-th attempt failed, ms: doubling, plus or minus half, so that retries do not come in waves. */
export function backoffMs(attempt: number, baseMs: number, random: Random): number {
  return Math.min(MAX_BACKOFF_MS, baseMs * 2 ** (attempt - 1)) * (0.5 + random.next());
}
