/**
 * What hostile peers may try, and which test shows what comes of it. First every way a connection is ended, then every item
 * of the list of inputs that an implementation must survive, in our words. A row names cases of this folder, which run over
 * real sockets against `run`, tests elsewhere where sockets cannot show it, or why nothing can.
 */
import { FLOODING } from "./flooding_cases.ts";
import { FLOW, PATIENCE } from "./flow_cases.ts";
import { FRAMING, SLOWNESS, XDR } from "./framing_cases.ts";
import { HANDSHAKE, SLOTS } from "./handshake_cases.ts";
import { ENDING, PEERS } from "./peers_cases.ts";
import type { Case } from "./world.ts";

/** The cases that wait for no timer and need no node of their own. */
export const BATTERY: Record<string, Case> = { ...FRAMING, ...XDR, ...HANDSHAKE, ...FLOW, ...FLOODING };

/** Every case by its name; those that wait for a timer of the node come first. */
export const CASES: Record<string, Case> = { ...PATIENCE, ...SLOWNESS, ...SLOTS, ...PEERS, ...ENDING, ...BATTERY };

/** A test of another file, by the start of its name. */
export interface Elsewhere {
  file: string;
  test: string;
}

/** One row. */
export interface Row {
  part: Part;
  /** What is tried, or how a connection ends. */
  item: string;
  /** Names in {@link CASES}. */
  cases?: readonly string[];
  elsewhere?: readonly Elsewhere[];
  /** Why no socket test shows it, or what differs here on purpose. */
  note?: string;
}

/** Parts of the list. */
export const PARTS = [
  "drop reasons",
  "framing",
  "XDR",
  "handshake and MAC",
  "flow control",
  "flooding, fetching, queries",
  "PEERS",
  "survey",
  "time and shutdown",
] as const;
/** One of {@link PARTS}. */
export type Part = (typeof PARTS)[number];

const PEER = "overlay/peer/peer_test.ts";
const RECORD = "overlay/wire/record_test.ts";
const XDR_TEST = "overlay/wire/xdr_test.ts";
const SHAPE = "overlay/wire/shape_test.ts";

const SURVEY = "tests/hostile/survey_test.ts";

/** See the head of this file. */
export const ROWS: readonly Row[] = [
  // ---- Every reason for a drop ----
  row("drop reasons", "closed without a byte: no inbound slot is free", ["all pending slots taken by silence"]),
  {
    part: "drop reasons",
    item: "closed without a byte: the caller's address is unknown",
    note:
      "a socket that died before it was accepted has no address; no caller can time that. TcpTransport.listen destroys it",
  },
  {
    part: "drop reasons",
    item: "all pending inbound connections are taken; all outbound connections taken",
    elsewhere: [
      { file: "overlay/manager/admission_test.ts", test: "scenario: allow inbound pending peers up to max" },
      { file: "overlay/manager/admission_test.ts", test: "scenario: allow outbound pending peers up to max" },
    ],
    note: "upstream loses a slot between two threads; here the check and the registration are one step",
  },
  row(
    "drop reasons",
    "unable to connect",
    ["an address where nobody listens"],
    "logged as dialFailed: there is no peer yet",
  ),
  row("drop reasons", "error reading message header, error reading message body", ["connect and close, in every way"]),
  {
    part: "drop reasons",
    item: "short read of message header, short read of message body",
    note: "the system gives a short read only together with an end, which has the reason above",
  },
  row(
    "drop reasons",
    "error during write, error during async_write",
    ["connect and close, in every way"],
    "a failed write and a failed read are one event of the socket: the reason is that of reading",
  ),
  row("drop reasons", "error during read", ["lengths before authentication", "lengths after authentication"]),
  row("drop reasons", "ERR_DATA received corrupt XDR", [
    "lengths that are not whole words, or too short",
    "bodies shorter and longer than their message",
    "message types that do not exist",
    "unknown arms at every level",
    "counts beyond a bound or beyond the data",
    "padding and flags",
    "deep recursion",
  ], "transactions, and transaction sets behind their count, are not looked into"),
  {
    part: "drop reasons",
    item: "ERR_DATA crypto error",
    note: "upstream's MAC code may throw; ours computes or compares, and a MAC of any bytes is possible",
  },
  row("drop reasons", "ERR_AUTH unexpected auth sequence", ["frames replayed, reordered, left out, doubled"]),
  {
    part: "drop reasons",
    item: "ERR_AUTH receive mac key is zero",
    note: "a key of zeros is an HMAC-SHA256 that nobody can aim at",
  },
  row("drop reasons", "ERR_AUTH unexpected MAC", ["frames altered", "AUTH with a wrong MAC, a wrong number, or twice"]),
  row("drop reasons", "received unexpected HELLO", ["a second HELLO"]),
  row("drop reasons", "failed to verify auth cert", ["certificates that do not hold"]),
  row("drop reasons", "node is banned", ["a banned id"]),
  row("drop reasons", "Bad crypto request", ["Curve25519 points of small order"]),
  {
    part: "drop reasons",
    item: "failed to determine remote address",
    note: "a socket that died between HELLO and its answer; here the address is taken when it is accepted",
  },
  row("drop reasons", "ERR_CONF wrong protocol version", ["overlay versions"]),
  row("drop reasons", "ERR_CONF connecting to self", [
    "the node's own id",
    "a dialed node that sends our own HELLO back",
  ]),
  row("drop reasons", "ERR_CONF wrong network passphrase", ["another network's id under a certificate for ours"]),
  row("drop reasons", "ERR_CONF bad address", ["listening ports"]),
  row("drop reasons", "ERR_CONF already-connected peer: XXXXX", ["one id from many addresses at once"]),
  row("drop reasons", "ERR_MISC out-of-order AUTH message", [
    "AUTH before HELLO",
    "AUTH with a wrong MAC, a wrong number, or twice",
  ]),
  row("drop reasons", "ERR_CONF flow control bytes disabled", ["AUTH with other flags"]),
  row("drop reasons", "ERR_LOAD peer rejected", ["a full node, and preferred peers"]),
  row("drop reasons", "ERR_LOAD preferred peer selected instead", ["a full node, and preferred peers"]),
  {
    part: "drop reasons",
    item: "ERR_LOAD random disconnect due to out of sync",
    elsewhere: [
      { file: "overlay/manager/dial_plan_test.ts", test: "outOfSyncStep starts a clock" },
      { file: "overlay/manager/dial_plan_test.ts", test: "scenario: disconnected topology recovery, regular peers" },
    ],
    note: "takes 95 s without a ledger: shown in virtual time",
  },
  row("drop reasons", "received <TYPE> before completed handshake", [
    "every other message before the end of the handshake",
  ]),
  row("drop reasons", "received PEERS", ["PEERS from who dialed"]),
  row("drop reasons", "too many msgs PEERS", ["PEERS twice", "empty PEERS count"]),
  row("drop reasons", "unexpected message type SEND_MORE, invalid message SEND_MORE_EXTENDED", [
    "SEND_MORE, and grants of nothing",
  ]),
  {
    part: "drop reasons",
    item: "Peer capacity overflow",
    elsewhere: [{ file: PEER, test: "drop peers that overflow capacity" }],
    note: "takes 2^32 grants: shown with a credit that is nearly full",
  },
  row("drop reasons", "unexpected flood message, peer at capacity", ["flood messages above the byte capacity"]),
  row("drop reasons", "idle timeout", ["saying nothing", "an authenticated peer that falls silent"]),
  {
    part: "drop reasons",
    item: "idle timeout (no new flood requests)",
    elsewhere: [{ file: PEER, test: "drop idle flow-controlled peers" }],
    note: "60 s, which no setting of stellar-core shortens: shown in virtual time",
  },
  row("drop reasons", "straggling (cannot keep up)", [
    "a peer that keeps the node busy and gives it nothing to say",
    "a peer that asks and takes nothing",
  ]),
  row("drop reasons", "ERR_MISC dropped by user", ["an operator drops and bans a peer"]),
  row("drop reasons", "ERR_MISC shutdown", ["shutdown at every stage of the handshake"]),
  row("drop reasons", "ERR_xxxx (<text>), received", [
    "ERROR_MSG by anybody",
    "a dialed node that gives PEERS and then rejects",
  ]),

  // ---- Hostile inputs: framing ----
  row("framing", "lengths 0, 0xFFFFFFFF, 0x7FFFFFFF, 16 MiB + 4 authenticated, 4100 unauthenticated", [
    "lengths before authentication",
    "lengths after authentication",
    "the longest legal frames",
  ]),
  elsewhere("framing", "no memory for a declared length: refused before a byte of the body is held", [
    { file: RECORD, test: "RecordDecoder stops at a length that is not allowed" },
    { file: RECORD, test: "RecordDecoder holds no more than twice what arrived" },
  ]),
  row("framing", "length no multiple of 4; bodies too short or too long; bytes behind a message", [
    "lengths that are not whole words, or too short",
    "bodies shorter and longer than their message",
  ]),
  row("framing", "a byte per second, also inside the header", [
    "slow drips",
    "an authenticated peer that falls silent",
  ]),
  row("framing", "half-open sockets, connect and say nothing, connect and close", [
    "saying nothing",
    "saying nothing after HELLO",
    "connect and close, in every way",
  ]),
  row("framing", "bit 31 cleared or set at will", ["bit 31 at will"]),
  row("framing", "thousands of frames in one segment, one frame over thousands", [
    "thousands of frames in one segment",
    "one frame over thousands of segments",
  ]),

  // ---- XDR ----
  row("XDR", "unknown arms at every level; types that are retired or unused", [
    "message types that do not exist",
    "unknown arms at every level",
  ]),
  {
    ...row("XDR", "counts above a bound, and within it but beyond the data; padding; optional flags", [
      "counts beyond a bound or beyond the data",
      "padding and flags",
    ]),
    elsewhere: [{ file: XDR_TEST, test: "a count of 2^32-1 fails before anything is allocated" }],
  },
  {
    ...row("XDR", "deep recursion", ["deep recursion"], "transactions stay encoded: nothing recurses into them"),
    elsewhere: [
      { file: XDR_TEST, test: "nesting ends at MAX_NESTING" },
      { file: SHAPE, test: "checkShape looks into quorum sets as deep as they decode" },
    ],
  },
  {
    ...row("XDR", "huge but legal messages", ["huge but legal", "the longest legal frames"]),
    elsewhere: [{ file: SHAPE, test: "checkShape reads a quorum set of 16 MiB in little time" }],
  },

  // ---- Handshake and MAC ----
  row("handshake and MAC", "AUTH with wrong MAC or number, before HELLO, twice", [
    "AUTH with a wrong MAC, a wrong number, or twice",
    "AUTH before HELLO",
    "a dialed node whose AUTH is wrong",
  ]),
  row("handshake and MAC", "two HELLO, HELLO or AUTH after authentication, other messages before AUTH", [
    "a second HELLO",
    "every other message before the end of the handshake",
  ]),
  row("handshake and MAC", "frames replayed, reordered, dropped, doubled, altered", [
    "frames replayed, reordered, left out, doubled",
    "frames altered",
  ]),
  elsewhere("handshake and MAC", "MACs compared in constant time", [
    { file: "overlay/base/bytes_test.ts", test: "equalConstantTime sees a flip of any bit" },
  ]),
  row("handshake and MAC", "forged ERROR_MSG; its text in a log", ["ERROR_MSG by anybody"]),
  row("handshake and MAC", "certificates expired, of the far future, of another network, with a short signature", [
    "certificates that do not hold",
    "certificates that hold for ever",
  ]),
  row("handshake and MAC", "points that are zero, of small order, in another form", [
    "Curve25519 points of small order",
    "a Curve25519 point in another form",
  ], "another form of a good point is taken, as libsodium takes it"),
  row("handshake and MAC", "our own id; one id from many addresses; a banned id", [
    "the node's own id",
    "one id from many addresses at once",
    "a banned id",
  ]),
  row("handshake and MAC", "version windows that are empty or extreme; ports; version texts", [
    "overlay versions",
    "listening ports",
    "version texts",
  ]),
  row("handshake and MAC", "pretending to be preferred", ["a full node, and preferred peers"]),
  row("handshake and MAC", "pending slots exhausted; sockets that are still closing count", [
    "all pending slots taken by silence",
  ]),

  // ---- Flow control ----
  row("flow control", "flood messages before any grant", ["flood messages before any grant"]),
  {
    ...row(
      "flow control",
      "flood messages above the capacity",
      ["flood messages above the byte capacity"],
      "above the message count only while messages are held in processing, which `run` never does",
    ),
    elsewhere: [
      { file: PEER, test: "drop peers that dont respect capacity" },
      { file: PEER, test: "flood messages beyond the capacity are refused on receipt" },
    ],
  },
  {
    ...row("flow control", "SEND_MORE, grants of nothing, huge, tiny, repeated, before authentication, none at all", [
      "SEND_MORE, and grants of nothing",
      "grants that are huge, tiny, or of bytes only",
      "never granting",
    ]),
    elsewhere: [{ file: PEER, test: "drop peers that overflow capacity" }],
  },
  row("flow control", "reading slowly or not at all", ["never reading", "a peer that asks and takes nothing"]),
  {
    ...row("flow control", "every way of discarding returns the capacity once", [
      "every flood message gives its capacity back once",
    ]),
    elsewhere: [{ file: PEER, test: "after a drop nothing that is held is processed" }],
  },
  row("flow control", "control and fetch traffic does not starve behind flood limits", ["never granting"]),
  {
    part: "flow control",
    item: "load shed after 5 s in the scheduler",
    note:
      "one thread reads and processes in the same turn: no message waits between the two, and what is not read waits in the sender's socket. There is nothing to shed",
  },

  // ---- Flooding, fetching, queries ----
  {
    ...row(
      "flooding, fetching, queries",
      "adverts of nothing, of too much, of the same by all; demands for nothing and for all",
      [
        "adverts of hashes that never come",
        "demands for what nobody has, and for one transaction over and over",
      ],
    ),
    elsewhere: [{ file: "overlay/flood/tx_adverts_test.ts", test: "TxAdverts holds no more than its limits" }],
  },
  row("flooding, fetching, queries", "transactions of unknown accounts, with bad signatures, around nothing", [
    "transactions that mean nothing",
  ]),
  row(
    "flooding, fetching, queries",
    "SCP messages: far slots, absurd times, bad values, unsigned, insane, of strangers",
    [
      "SCP messages of every bad kind, and a good one",
      "insane quorum sets",
    ],
    "without `trusts` nobody is a stranger: a good message of an unknown node is relayed",
  ),
  {
    ...row("flooding, fetching, queries", "items and DONT_HAVE that nobody asked for; wrong items; answers of others", [
      "items and DONT_HAVE that nobody asked for",
      "answers to a question that somebody else was asked, and wrong answers",
    ]),
    elsewhere: [
      {
        file: "overlay/flood/message_dispatcher_test.ts",
        test: "MessageDispatcher takes DONT_HAVE from the asked peer only",
      },
    ],
  },
  row("flooding, fetching, queries", "query floods", ["query floods", "SCP state above its limit"]),
  row("flooding, fetching, queries", "a ping never answered, and guesses of its id", ["a ping that is never answered"]),
  elsewhere("flooding, fetching, queries", "every map keyed by remote input has a bound", [
    { file: "overlay/flood/floodgate_test.ts", test: "Floodgate holds no more records than its bound" },
    { file: "overlay/flood/tx_demands_test.ts", test: "TxDemandsManager forgets the oldest demands" },
    { file: "overlay/flood/item_fetcher_test.ts", test: "ItemFetcher refuses what is above its bounds" },
    { file: "overlay/flood/scp_state_test.ts", test: "ScpState holds no more than its bounds" },
    { file: "overlay/flood/transaction_pool_test.ts", test: "TransactionPool is bounded" },
  ]),

  // ---- PEERS ----
  row("PEERS", "from the wrong side, twice, empty", ["PEERS from who dialed", "PEERS twice", "empty PEERS count"]),
  row(
    "PEERS",
    "addresses that lead nowhere, ports that do not exist, IPv6, our own",
    ["entries that lead nowhere"],
    "upstream stores multicast, broadcast and 0.0.0.0",
  ),
  {
    ...row("PEERS", "thousands of invented addresses; gossip about configured peers", [
      "many announced addresses",
      "entries that lead nowhere",
    ]),
    elsewhere: [
      { file: "overlay/db/peer_manager_test.ts", test: "a full book evicts the inbound record with most failures" },
      { file: "overlay/db/peer_manager_test.ts", test: "a full book without inbound records keeps what is configured" },
      { file: "overlay/db/peer_manager_test.ts", test: "ensureExists never changes a record" },
    ],
  },

  // ---- Survey, in virtual time: whole engines ----
  surveyed(
    "bad signatures: the relaying peer is dropped with ERR_MISC `Survey has invalid signature`",
    "a wrong signature ends the connection",
  ),
  surveyed("valid signatures of strangers", "what a stranger signs rightly"),
  surveyed("START replayed as STOP", "START replayed as STOP is a STOP"),
  surveyed(
    "ledger numbers 7 away, near 0 and near 2^32 - 1; near-future ones are taken",
    "ledger numbers count from 6 behind",
  ),
  surveyed("a second START during a survey; STOP by another surveyor", "a second START, and a STOP by another"),
  surveyed("a response without a request; a second response", "a response without a request"),
  surveyed("a request of another command type", "a request with another command type"),
  surveyed("an encryption key of small order; index 2^32 - 1", "keys of small order get no answer"),
  surveyed(
    "answers that do not open, or open to garbage, trailing bytes or too many peers",
    "answers to us that do not open",
  ),
  surveyed("floods of distinct validly signed requests", "of a flood of signed requests 10"),

  // ---- Time and shutdown ----
  elsewhere("time and shutdown", "jumps of the wall clock", [
    { file: "tests/hostile/clock_jump_test.ts", test: "a wall clock that jumps ends no connection" },
  ]),
  {
    ...row("time and shutdown", "nothing is processed after a drop began; timers of a dropped peer are dead", [
      "nothing is processed after a drop began",
    ]),
    elsewhere: [
      { file: PEER, test: "after our own drop nothing of the same chunk is processed" },
      { file: PEER, test: "a dropped peer has no timer left" },
    ],
  },
  {
    ...row("time and shutdown", "shutdown in the handshake, while dialing, while a resolver runs", [
      "shutdown at every stage of the handshake",
      "shutdown while dialing and while a dialed node is silent",
    ]),
    elsewhere: [
      { file: "overlay/manager/peer_resolution_test.ts", test: "PeerResolution does nothing once disposed" },
    ],
  },
  row("time and shutdown", "a dialed node that stays silent", ["a dialed node that says nothing"]),
];

function row(part: Part, item: string, cases: string[], note?: string): Row {
  return { part, item, cases, ...(note !== undefined && { note }) };
}

function elsewhere(part: Part, item: string, tests: Elsewhere[]): Row {
  return { part, item, elsewhere: tests };
}

/** Of the survey: shown between whole engines in virtual time, and once against `run` in tests/cli/run_test.ts. */
function surveyed(item: string, test: string): Row {
  return { part: "survey", item, elsewhere: [{ file: SURVEY, test }] };
}
