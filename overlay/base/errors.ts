/**
 * Every way an operation of this project can fail, as data: a `code` that scripts may rely on, the facts, and a hint that
 * says what to try next. `OverlayError` carries one `Failure`; a crawl keeps the bare `Failure` as a row instead of throwing.
 */

/** Which part of a conversation an end happened in. `live` is after the first grant. */
export type Stage = "dns" | "tcp" | "hello" | "auth" | "grant" | "live";

/**
 * One failure. `code` is stable; all other fields are facts with units in their names. Text that came from a remote is
 * kept as received (bounded by the protocol to 100 bytes) and must be escaped before it is shown.
 */
export type Failure =
  // Before a byte was exchanged
  | { code: "bad_address"; text: string; reason: string }
  | { code: "dns_failed"; host: string; reason: string }
  | { code: "connect_refused"; address: string }
  | { code: "connect_unreachable"; address: string; reason: string }
  | { code: "connect_timeout"; address: string; afterMs: number }
  | { code: "connect_failed"; address: string; reason: string }
  // The remote ended the handshake without saying why
  | { code: "closed_before_hello"; afterMs: number; reset: boolean }
  | { code: "silent_close"; afterMs: number; network: string }
  | { code: "closed_after_hello"; stage: Stage; reset: boolean }
  | { code: "handshake_timeout"; stage: Stage; afterMs: number }
  // The remote said why (ERROR_MSG)
  | { code: "wrong_version"; remoteMin?: number; remoteMax?: number; oursMin: number; oursMax: number; text: string }
  | { code: "wrong_passphrase"; network: string; text: string }
  | { code: "connecting_to_self"; text: string }
  | { code: "already_connected"; text: string }
  | { code: "bad_listening_port"; port: number; text: string }
  | { code: "flow_control_refused"; text: string }
  | { code: "peer_rejected"; text: string }
  | { code: "dropped_by_remote"; errorCode: string; text: string; stage: Stage }
  | { code: "auth_refused"; text: string; stage: Stage }
  // We refused what the remote sent
  | { code: "network_mismatch"; ours: string; theirs: string }
  | { code: "version_mismatch"; remoteMin: number; remoteMax: number; oursMin: number; oursMax: number }
  | { code: "bad_cert"; reason: "signature" | "expired"; expiresAt: number }
  | { code: "bad_key"; reason: string }
  | { code: "identity_mismatch"; expected: string; actual: string }
  | { code: "bad_mac"; stage: Stage }
  | { code: "bad_sequence"; stage: Stage; expected: string; actual: string }
  | { code: "frame_oversized"; length: number; limit: number; stage: Stage }
  | { code: "frame_malformed"; reason: string; stage: Stage }
  | { code: "xdr_invalid"; path: string; reason: string }
  | { code: "protocol_violation"; reason: string; stage: Stage }
  | { code: "not_stellar"; looksLike: "http" | "tls" | "ssh" | "unknown"; firstBytes: string }
  | { code: "no_answer"; afterMs: number }
  // The connection lived and ended
  | { code: "connection_lost"; reset: boolean; reason: string }
  | { code: "idle_timeout"; afterMs: number }
  | { code: "straggling"; afterMs: number }
  | { code: "local_close"; reason: string }
  // A stellar-core's HTTP endpoint; `url` is what the user named, `command` the command's name
  | { code: "core_unreachable"; url: string; reason: string }
  | { code: "core_timeout"; url: string; command: string; afterMs: number }
  | { code: "core_connection_lost"; url: string; command: string; reason: string }
  | { code: "core_answer_too_large"; url: string; command: string; limitBytes: number }
  | { code: "core_http_status"; url: string; command: string; status: number }
  | { code: "core_unknown_command"; url: string; command: string }
  | { code: "core_exception"; url: string; command: string; text: string }
  | { code: "core_answer_invalid"; url: string; command: string; text: string }
  | { code: "core_not_ready"; url: string; text: string; waitedMs: number }
  | { code: "core_survey_lost"; url: string; reason: string }
  | { code: "not_stellar_core"; url: string; looksLike: "html" | "json" | "another protocol" | "something else" }
  // Storage, configuration and use of the tool
  | { code: "db_newer_schema"; path: string; found: number; supported: number }
  | { code: "db_failed"; path: string; reason: string }
  | { code: "config_invalid"; path: string; reason: string }
  | { code: "file_unreadable"; path: string; reason: string }
  | { code: "file_unwritable"; path: string; reason: string }
  | { code: "seed_invalid"; source: string; reason: string }
  | { code: "seed_file_exposed"; path: string; mode: string }
  | { code: "no_seeds"; network: string }
  | { code: "nothing_to_resume"; network: string }
  | { code: "run_in_progress"; run: number; sinceMs: number }
  // A survey. Instants are ISO 8601 text.
  | { code: "no_peer"; afterMs: number; tried: number; reason: string }
  | { code: "no_ledger"; afterMs: number; peers: number }
  | { code: "survey_active"; surveyorId: string | null; nonce: number | null; overAtLatest: string }
  | { code: "survey_ignored"; nonce: number; told: number; watched: number; waitedMs: number }
  | { code: "survey_no_answer"; nonce: number; asked: number; passedOn: boolean }
  | { code: "survey_over"; nonce: number; overAt: string }
  | { code: "survey_unknown"; which: string }
  | { code: "survey_in_progress"; nonce: number; sinceMs: number }
  | { code: "survey_not_ours"; nonce: number; surveyorId: string; ours: string }
  | { code: "port_in_use"; address: string }
  | { code: "subscriber_too_slow"; waitedMs: number; held: number }
  | { code: "listen_failed"; address: string; reason: string }
  | { code: "survey_file_invalid"; path: string; at: string; reason: string }
  // A transaction that is not sent
  | { code: "tx_unreadable"; reason: string }
  | { code: "tx_malformed"; field: string; reason: string }
  | { code: "tx_unsigned"; part: "transaction" | "fee bump" | "inner transaction" }
  | { code: "tx_wrong_network"; chosen: string; signedFor: string }
  | { code: "tx_bad_signature"; network: string; part: string }
  | { code: "tx_time_bounds"; problem: "expired" | "too early"; bound: string; nowAt: string }
  | { code: "tx_too_large"; bytes: number; limit: number }
  | { code: "capture_invalid"; path: string; offset: number; reason: string }
  | { code: "invalid_argument"; argument: string; reason: string };

/** The name of a failure, stable across releases. */
export type FailureCode = Failure["code"];

type Table<R> = { [C in FailureCode]: (failure: Extract<Failure, { code: C }>) => R };

const FACTS: Table<string> = {
  bad_address: (f) => `cannot parse peer address '${f.text}': ${f.reason}`,
  dns_failed: (f) => `could not resolve '${f.host}': ${f.reason}`,
  connect_refused: (f) => `${f.address} refused the TCP connection`,
  connect_unreachable: (f) => `${f.address} is unreachable (${f.reason})`,
  connect_timeout: (f) => `no TCP answer from ${f.address} within ${f.afterMs} ms`,
  connect_failed: (f) => `TCP connect to ${f.address} failed (${f.reason})`,
  closed_before_hello: (f) =>
    `${
      f.reset ? "reset" : "closed"
    } ${f.afterMs} ms after connecting, before it answered our HELLO, which it may not have read`,
  silent_close: (f) => `closed without a byte ${f.afterMs} ms after our HELLO for network ${f.network}`,
  closed_after_hello: (f) => `${f.reset ? "reset" : "closed"} without an ERROR_MSG during ${f.stage}`,
  handshake_timeout: (f) => `the handshake stopped at ${f.stage} for ${f.afterMs} ms`,
  wrong_version: (f) =>
    `refused our overlay versions ${f.oursMin}-${f.oursMax}` +
    (f.remoteMax === undefined ? "" : `; the peer announces ${f.remoteMin}-${f.remoteMax}`),
  wrong_passphrase: (f) => `refused our network ${f.network}`,
  connecting_to_self: () => "the peer has our own node id",
  already_connected: () => "the peer already has a connection with our node id",
  bad_listening_port: (f) => `refused our listening port ${f.port}`,
  flow_control_refused: () => "refused our AUTH flags",
  peer_rejected: () => "no free slot: the peer is full",
  dropped_by_remote: (f) => `the peer ended the connection: ${f.errorCode}`,
  auth_refused: (f) => `the peer could not authenticate our messages during ${f.stage}`,
  network_mismatch: (f) => `the peer runs network ${f.theirs}, not ${f.ours}`,
  version_mismatch: (f) => `overlay versions ${f.remoteMin}-${f.remoteMax} do not meet ours ${f.oursMin}-${f.oursMax}`,
  bad_cert: (f) =>
    f.reason === "expired"
      ? `the auth certificate expired at ${new Date(f.expiresAt * 1000).toISOString()}`
      : "the auth certificate's signature does not verify",
  bad_key: (f) => `unusable Curve25519 key: ${f.reason}`,
  identity_mismatch: (f) => `the node there is ${f.actual}, not ${f.expected}`,
  bad_mac: (f) => `unexpected MAC during ${f.stage}`,
  bad_sequence: (f) => `unexpected auth sequence during ${f.stage}: ${f.actual} instead of ${f.expected}`,
  frame_oversized: (f) => `frame of ${f.length} bytes during ${f.stage}, limit ${f.limit}`,
  frame_malformed: (f) => `malformed frame during ${f.stage}: ${f.reason}`,
  xdr_invalid: (f) => `at ${f.path}: ${f.reason}`,
  protocol_violation: (f) => f.reason,
  not_stellar: (f) =>
    `not a Stellar node${f.looksLike === "unknown" ? "" : `: it speaks ${f.looksLike.toUpperCase()}`}`,
  no_answer: (f) => `accepted the connection and said nothing for ${f.afterMs} ms`,
  connection_lost: (f) => `the connection ${f.reset ? "was reset" : "ended"} (${f.reason})`,
  idle_timeout: (f) => `nothing read or written for ${f.afterMs} ms`,
  straggling: (f) => `the peer did not take our data for ${f.afterMs} ms`,
  local_close: (f) => f.reason,
  core_unreachable: (f) => `no connection to ${f.url} (${f.reason})`,
  core_timeout: (f) => `${f.url} did not answer ${f.command} within ${f.afterMs} ms`,
  core_connection_lost: (f) => `${f.url} ended the connection without a whole answer to ${f.command} (${f.reason})`,
  core_answer_too_large: (f) => `the answer of ${f.url} to ${f.command} is longer than ${f.limitBytes} bytes`,
  core_http_status: (f) => `${f.url} answered ${f.command} with HTTP status ${f.status}`,
  core_unknown_command: (f) => `the stellar-core at ${f.url} does not know ${f.command}`,
  core_exception: (f) => `the stellar-core at ${f.url} refused ${f.command}`,
  core_answer_invalid: (f) => `the answer of ${f.url} to ${f.command} is none that stellar-core gives`,
  core_not_ready: (f) => `the stellar-core at ${f.url} was not in sync within ${f.waitedMs} ms`,
  core_survey_lost: (f) => `the stellar-core at ${f.url} has no survey to go on with: ${f.reason}`,
  not_stellar_core: (f) => `${f.url} is not the HTTP endpoint of a stellar-core: it answers with ${f.looksLike}`,
  db_newer_schema: (f) => `${f.path} has schema ${f.found}; this version reads up to ${f.supported}`,
  db_failed: (f) => `database ${f.path}: ${f.reason}`,
  config_invalid: (f) => `${f.path}: ${f.reason}`,
  file_unreadable: (f) => `cannot read ${f.path}: ${f.reason}`,
  file_unwritable: (f) => `cannot write ${f.path}: ${f.reason}`,
  seed_invalid: (f) => `no usable secret in ${f.source}: ${f.reason}`,
  seed_file_exposed: (f) => `${f.path} can be read by others (mode ${f.mode})`,
  no_seeds: (f) => `no usable seed address for network ${f.network}`,
  nothing_to_resume: (f) => `no interrupted crawl of network ${f.network} in the database`,
  run_in_progress: (f) => `run ${f.run} is still going: another process stored something ${f.sinceMs} ms ago`,
  no_peer: (f) => `no connection after ${f.afterMs} ms, ${f.tried} addresses tried: ${f.reason}`,
  no_ledger: (f) => `${f.peers} peers, and none of them told the network's ledger in ${f.afterMs} ms`,
  survey_active: (f) =>
    `another survey is active${f.surveyorId === null ? "" : `, of ${f.surveyorId}`}${
      f.nonce === null ? "" : `, nonce ${f.nonce}`
    }; it is over at ${f.overAtLatest} at the latest`,
  survey_ignored: (f) =>
    `nobody passed on the START of survey ${f.nonce}: sent to ${f.told} peers, not seen on ${f.watched} other connections in ${f.waitedMs} ms`,
  survey_no_answer: (f) =>
    `none of ${f.asked} nodes answered survey ${f.nonce}${f.passedOn ? ", though its START was passed on" : ""}`,
  survey_over: (f) => `the reporting phase of survey ${f.nonce} was over at ${f.overAt}`,
  survey_unknown: (f) => `no survey in the database: ${f.which}`,
  survey_in_progress: (f) =>
    `survey ${f.nonce} is driven by another process, which stored something ${f.sinceMs} ms ago`,
  survey_not_ours: (f) => `survey ${f.nonce} belongs to ${f.surveyorId}, and we are ${f.ours}`,
  port_in_use: (f) => `${f.address} is already in use`,
  subscriber_too_slow: (f) => `peers waited ${f.waitedMs} ms for a subscriber to take ${f.held} messages`,
  listen_failed: (f) => `cannot listen on ${f.address} (${f.reason})`,
  survey_file_invalid: (f) => `${f.path}${f.at === "" ? "" : ` at ${f.at}`}: ${f.reason}`,
  tx_unreadable: (f) => `no transaction envelope: ${f.reason}`,
  tx_malformed: (f) => `the transaction is malformed at ${f.field}: ${f.reason}`,
  tx_unsigned: (f) => `the ${f.part} has no signature`,
  tx_wrong_network: (f) => `the transaction is signed for ${f.signedFor}, not for ${f.chosen}`,
  tx_bad_signature: (f) =>
    `a signature of the ${f.part} names a key of the transaction, but is neither for ${f.network} nor for another known network`,
  tx_time_bounds: (f) =>
    f.problem === "expired"
      ? `the transaction was valid until ${f.bound}; it is ${f.nowAt}`
      : `the transaction is not valid before ${f.bound}; it is ${f.nowAt}`,
  tx_too_large: (f) => `the transaction has ${f.bytes} bytes, peers take at most ${f.limit}`,
  capture_invalid: (f) => `${f.path} at byte ${f.offset}: ${f.reason}`,
  invalid_argument: (f) => `${f.argument}: ${f.reason}`,
};

const CHECK_HTTP_PORT = "check host and port (stellar-core's HTTP_PORT, 11626 by default)";

const CHECK_PORT = "check host and port (stellar-core's PEER_PORT, 11625 by default)";

const HINTS: Table<string> = {
  bad_address: () => "write host:port, 1.2.3.4:11625 or [v6]:port; the port defaults to 11625",
  dns_failed: () => "check the spelling, or give the IP address",
  connect_refused: () => `nothing listens there: ${CHECK_PORT}, and that the node runs`,
  connect_unreachable: () => "no route to that address: check the network of this machine, VPN and firewall",
  connect_timeout: () => "a firewall may drop the packets, or the host is down; check the address, or raise --timeout",
  connect_failed: () => CHECK_PORT,
  closed_before_hello: () =>
    "the node has no free slot for new callers (MAX_PENDING_CONNECTIONS), or a proxy or firewall stands in front; try again later",
  silent_close: () =>
    "stellar-core closes like this for three causes: another network (try --network auto), our certificate looks expired to it " +
    "(compare both clocks; the certificate lives one hour), or our node id is banned (try without --seed-file: a fresh identity that gets in proves a ban)",
  closed_after_hello: () => "the node may be stopping or overloaded; try again, and look at its log",
  handshake_timeout: () => "the node is overloaded, or something between delays it; raise --timeout or try again later",
  wrong_version: (f) =>
    f.remoteMax === undefined
      ? "widen --overlay-min and --overlay-version"
      : `choose --overlay-min at most ${f.remoteMax} and --overlay-version at least ${f.remoteMin}, or leave both out`,
  wrong_passphrase: () => "choose the node's network with --network, or --network auto",
  connecting_to_self: () => "the peer uses the same seed; use another --seed-file, or none for a fresh identity",
  already_connected: () =>
    "another connection with this identity is open there; close it, or connect without --seed-file to get a fresh identity",
  bad_listening_port: () => "announce a port from 1 to 65535",
  flow_control_refused: () =>
    "the peer wants byte flow control (flag 200); this tool always sends it, so a proxy may alter frames",
  peer_rejected: () =>
    "the node works but has no free slot (MAX_ADDITIONAL_PEER_CONNECTIONS); its identity and addresses are known",
  dropped_by_remote: (f) =>
    f.text === "dropped by user"
      ? "its operator dropped us (droppeer); a ban may follow"
      : f.text === "shutdown"
      ? "the node is stopping; try again later"
      : "the text is the node's own; look at its log for the same moment",
  auth_refused: () =>
    "something between the two ends alters or repeats frames (a proxy?), or the implementations disagree",
  network_mismatch: (f) => `choose it with --network ${/^[a-z]+$/.test(f.theirs) ? f.theirs : "'" + f.theirs + "'"}`,
  version_mismatch: () => "leave --overlay-min and --overlay-version out to accept every released version",
  bad_cert: (f) =>
    f.reason === "expired"
      ? "compare the clocks of both machines: certificates live one hour"
      : "the node signs for another network, or something between alters its HELLO; try --network auto",
  bad_key: () => "the peer is broken or hostile",
  identity_mismatch: () => "another node answers at that address: check the address, or ask without the G... part",
  bad_mac: () => "something between the two ends alters frames, or the peer is broken",
  bad_sequence: () => "something between the two ends drops or repeats frames, or the peer is broken",
  frame_oversized: () => "the peer is not Stellar, broken or hostile",
  frame_malformed: () => "the peer is not Stellar, broken or hostile",
  xdr_invalid: () => "the bytes are cut or altered, or the message is of a protocol newer than this tool",
  protocol_violation: () => "the peer does not follow the overlay protocol",
  not_stellar: (f) =>
    f.looksLike === "http"
      ? "that is an HTTP port, perhaps stellar-core's admin port (11626); the peer port is 11625 by default"
      : `another service listens there: ${CHECK_PORT}`,
  no_answer: () => `nothing answers HELLO: ${CHECK_PORT}; a proxy that accepts for a dead node looks the same`,
  connection_lost: () => "try again; if it repeats, look at the node's log and at what stands between",
  idle_timeout: () => "the node or the way to it hangs; try again later",
  straggling: () => "the peer or the line is too slow for the traffic",
  local_close: () => "",
  core_unreachable: (f) =>
    f.reason === "ENOTFOUND" || f.reason.startsWith("EAI_")
      ? "the name does not resolve: check the spelling, or give the IP address"
      : `${CHECK_HTTP_PORT}, and that the node runs. It listens on 127.0.0.1 only, unless PUBLIC_HTTP_PORT = true: ` +
        "from another machine use a tunnel, ssh -L 11626:127.0.0.1:11626 HOST, and http://127.0.0.1:11626",
  core_timeout: () =>
    "the node answers between its other work: it may be busy (catching up, closing a ledger), or a firewall is in between. " +
    "Whether it carried the command out is not known; raise --timeout or try again",
  core_connection_lost: () =>
    `the node may be stopping. ${CHECK_HTTP_PORT}: 11625, the peers' port, ends like this too, and so does http against https`,
  core_answer_too_large: () => `${CHECK_HTTP_PORT}; a stellar-core's answer to this command is never that long`,
  core_http_status: (f) =>
    f.status >= 300 && f.status < 400
      ? "redirects are not followed: name the address it leads to"
      : f.status === 401 || f.status === 403
      ? "a proxy in front of the node wants to know who asks: use the node's own address, or a tunnel to it"
      : f.status === 502 || f.status === 503 || f.status === 504
      ? "a proxy in front of the node does not reach it: is the node running?"
      : `a proxy in front, or another program: ${CHECK_HTTP_PORT}. HTTP_QUERY_PORT is another endpoint`,
  core_unknown_command: () =>
    "time-sliced surveys came with stellar-core 21.1; a node with RUN_STANDALONE = true has no overlay commands",
  core_exception: () => "the text is the node's own; its log says more",
  core_answer_invalid: () =>
    `${CHECK_HTTP_PORT}; a proxy in front may alter answers, or this release says it otherwise`,
  core_not_ready: () =>
    "a survey carries the node's ledger number, and others ignore what is more than 6 ledgers off: wait until info says Synced!",
  core_survey_lost: () =>
    "a node keeps a survey in memory: a restart, or the end of the reporting phase, 3 hours after collecting, erases it. " +
    "What was collected so far is kept here",
  not_stellar_core: () => `${CHECK_HTTP_PORT}; horizon, stellar-rpc and HTTP_QUERY_PORT are other endpoints`,
  db_newer_schema: () => "update stellar-overlay, or choose another file with --db",
  db_failed: (f) =>
    f.reason.includes("locked")
      ? "another process has written for seconds and has not ended: try again, or stop it"
      : f.reason.includes("belongs to network")
      ? "choose the network with --network, or another file with --db"
      : "check the disk and the permissions, or choose another file with --db",
  config_invalid: () =>
    "see --help of the command for the form; for a stellar-core configuration its example file shows it",
  file_unreadable: () => "check the path and its permissions",
  file_unwritable: () => "check the folder, its permissions and the free space",
  seed_invalid: () => "the file holds one S... secret on a line of its own; stellar-core gen-seed makes one",
  seed_file_exposed: (f) => `make it private: chmod 600 ${f.path}`,
  no_seeds: () =>
    "give host:port arguments, --config stellar-core.cfg, or a --network with built-in seeds (pubnet, testnet, futurenet)",
  nothing_to_resume: () => "start one without --resume; `--db` chooses another database",
  run_in_progress: () =>
    "wait for it or stop it with Ctrl-C; a run whose process died can be resumed after ten seconds",
  no_peer: () => "try one of them with: connect HOST:PORT; a full node refuses new callers: give others, or more",
  no_ledger: () => "the peers may be out of sync or alone: look with: crawl --listen 10, or give other targets",
  survey_active: () => "wait for its end with --wait; nothing cancels a survey",
  survey_ignored: () =>
    "either the nodes do not permit us, or an earlier survey still blocks them. A node permits the keys in its SURVEYOR_KEYS, " +
    "and without that list the nodes of its transitive quorum; with a list exactly those keys, validators included. Put our " +
    "node id there, or drive a validator that is permitted with --via",
  survey_no_answer: (f) =>
    f.passedOn
      ? "they may have started after START, or lag more than 6 ledgers: go on later with: survey collect"
      : "by design nothing comes back without permission: put our node id into SURVEYOR_KEYS of the nodes, or use --via a permitted " +
        "validator; several targets (or --connections) show at START whether it is passed on",
  survey_over: () => "nodes have forgotten it; begin a new one with: survey run",
  survey_unknown: () => "see all with: survey status; another file is chosen with --db",
  survey_in_progress: () =>
    "wait for it, or stop it with Ctrl-C; it can be taken over ten seconds after its process died",
  survey_not_ours: () => "use the secret that began it (--seed-file, STELLAR_OVERLAY_SEED), or the node of its --via",
  port_in_use: () => "choose another port, or stop what listens there",
  subscriber_too_slow: () =>
    "take messages faster, ask for fewer types, raise guardedLimit, or accept losses with whenFull: 'drop'",
  listen_failed: (f) =>
    f.reason === "EACCES"
      ? "ports below 1024 need rights that this user lacks"
      : "the address must be one of this machine's; 0.0.0.0 means all of them",
  survey_file_invalid: () =>
    "docs/survey-files.md shows each form: survey.json, getsurveyresult's JSON, OverlaySurvey.py's JSON and GraphML, flattened JSON",
  tx_unreadable: () => "give one TransactionEnvelope as base64 or hex; lines that begin with # are comments",
  tx_malformed: () =>
    "compare with what made it: the text may be cut or altered, a transaction without its envelope, or of a protocol newer than this tool",
  tx_unsigned: () => "sign it first: validators take no transaction without a signature",
  tx_wrong_network: (f) =>
    /^[a-z]+$/.test(f.signedFor)
      ? `send it there with --network ${f.signedFor}, or sign it again for ${f.chosen}`
      : `sign it again for ${f.chosen}`,
  tx_bad_signature: () =>
    "it was altered after it was signed, or signed for a network this tool does not know: give its passphrase with --network",
  tx_time_bounds: (f) =>
    f.problem === "expired"
      ? "make it again with later time bounds, and compare the clock of this machine"
      : "wait until then, and compare the clock of this machine",
  tx_too_large: () => "split it into smaller transactions",
  capture_invalid: () => "docs/capture.md describes the format; decode explains single frames and XDR",
  invalid_argument: () => "see --help",
};

/** States the facts of a failure in one line, without the hint. Remote text is not included: see {@link remoteText}. */
export function describeFailure(failure: Failure): string {
  return (FACTS[failure.code] as (f: Failure) => string)(failure);
}

/** Says what to try next; empty when there is nothing to do. */
export function hintFor(failure: Failure): string {
  return (HINTS[failure.code] as (f: Failure) => string)(failure);
}

/** The text of the remote's ERROR_MSG when the failure has one. Hostile input: escape it before showing it. */
export function remoteText(failure: Failure): string | undefined {
  return "text" in failure && failure.code !== "bad_address" ? failure.text : undefined;
}

/** Ends the caller's operation. Carries one {@link Failure}; the message states its facts. */
export class OverlayError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure, options?: { cause?: unknown }) {
    super(`${failure.code}: ${describeFailure(failure)}`, options);
    this.name = "OverlayError";
    this.failure = failure;
  }
  get code(): FailureCode {
    return this.failure.code;
  }
  get hint(): string {
    return hintFor(this.failure);
  }
}

/** True when `error` is an {@link OverlayError} with this code; for `assert.throws` and `catch`. */
export function isFailure(code: FailureCode): (error: unknown) => error is OverlayError {
  return (error): error is OverlayError => error instanceof OverlayError && error.failure.code === code;
}
