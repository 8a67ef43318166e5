import { test } from "node:test";
import assert from "node:assert/strict";
import type { Failure } from "../base/errors.ts";
import { MessageType, type MessageTypeName, type StellarMessage } from "../wire/messages.ts";
import type { Hello } from "../wire/types.ts";
import {
  beforeHandshake,
  type HandshakeLocal,
  type HandshakeState,
  INITIAL_STATE,
  isHandshakeType,
  onHandshakeMessage,
  windowsMeet,
} from "./handshake.ts";

const OUR_ID = new Uint8Array(32).fill(1), THEIR_ID = new Uint8Array(32).fill(2);
const OUR_NET = new Uint8Array(32).fill(0xaa), OTHER_NET = new Uint8Array(32).fill(0xbb);
const KEYS = { sendKey: new Uint8Array(32).fill(3), receiveKey: new Uint8Array(32).fill(4) };

function local(change: Partial<HandshakeLocal> = {}): HandshakeLocal {
  return {
    role: "weCalledRemote",
    nodeId: OUR_ID,
    networkId: OUR_NET,
    overlayVersion: 42,
    overlayMinVersion: 38,
    acceptExpiredCert: false,
    acceptAnyVersion: false,
    remoteAddressKnown: true,
    checkCert: () => "ok",
    isBanned: () => false,
    deriveKeys: () => KEYS,
    duplicateOf: () => undefined,
    ...change,
  };
}

function hello(change: Partial<Hello> = {}): Hello {
  return {
    ledgerVersion: 27,
    overlayVersion: 40,
    overlayMinVersion: 38,
    networkId: OUR_NET,
    versionStr: "v27",
    listeningPort: 11625,
    peerId: THEIR_ID,
    cert: { pubkey: new Uint8Array(32), expiration: 1000n, sig: new Uint8Array(64) },
    nonce: new Uint8Array(32),
    ...change,
  };
}

const helloMessage = (change: Partial<Hello> = {}): StellarMessage => ({ type: "hello", hello: hello(change) });
const authMessage = (flags = 200): StellarMessage => ({ type: "auth", auth: { flags } });
const ROLES = ["weCalledRemote", "remoteCalledUs"] as const;

/** Effects in short: a drop shows its ERROR_MSG code, its text and its failure's code. */
function step(
  state: HandshakeState,
  message: StellarMessage,
  ours: HandshakeLocal,
): [string, string[], Failure | undefined] {
  const { state: next, effects } = onHandshakeMessage(state, message, ours);
  let failure: Failure | undefined;
  const short = effects.map((effect) => {
    if (effect.do !== "drop") return effect.do;
    failure = effect.drop.failure;
    return `drop ${effect.drop.error ?? "-"} ${effect.drop.reason}: ${failure.code}`;
  });
  if ("remote" in next && next.remote !== undefined && message.type === "hello" && state.at === "connected") {
    assert.deepEqual(next.remote, message.hello);
  }
  return [next.at, short, failure];
}

test("the messages of a good handshake, for the one who called", () => {
  const ours = local();
  assert.deepEqual(step(INITIAL_STATE, helloMessage(), ours).slice(0, 2), ["gotHello", [
    "setKeys",
    "recordAddress",
    "sendAuth",
  ]]);
  const state: HandshakeState = { at: "gotHello", remote: hello() };
  assert.deepEqual(step(state, authMessage(), ours).slice(0, 2), ["gotAuth", ["authenticated"]]);
});

test("the messages of a good handshake, for the one who was called", () => {
  const ours = local({ role: "remoteCalledUs" });
  assert.deepEqual(step(INITIAL_STATE, helloMessage(), ours).slice(0, 2), ["gotHello", [
    "setKeys",
    "sendHello",
    "recordAddress",
  ]]);
  const state: HandshakeState = { at: "gotHello", remote: hello() };
  assert.deepEqual(step(state, authMessage(), ours).slice(0, 2), ["gotAuth", [
    "sendAuth",
    "sendPeers",
    "authenticated",
  ]]);
});

/** One row of handshake.md section 3: what is wrong with the HELLO, and how it is answered. */
interface Row {
  what: string;
  ours?: Partial<HandshakeLocal>;
  theirs?: Partial<Hello>;
  drop: string;
  /** How far it came: nothing was done, keys are set, our HELLO went out, or the address was recorded as well. */
  after: 0 | 1 | 2 | 3;
}
const ROWS: Row[] = [
  {
    what: "cert",
    ours: { checkCert: () => "signature" },
    drop: "drop - failed to verify auth cert: bad_cert",
    after: 0,
  },
  { what: "banned", ours: { isBanned: () => true }, drop: "drop - node is banned: local_close", after: 0 },
  { what: "key", ours: { deriveKeys: () => undefined }, drop: "drop - Bad crypto request: bad_key", after: 0 },
  {
    what: "address",
    ours: { remoteAddressKnown: false },
    drop: "drop - failed to determine remote address: connection_lost",
    after: 1,
  },
  {
    what: "version",
    theirs: { overlayVersion: 37, overlayMinVersion: 36 },
    drop: "drop ERR_CONF wrong protocol version: version_mismatch",
    after: 2,
  },
  { what: "self", theirs: { peerId: OUR_ID }, drop: "drop ERR_CONF connecting to self: connecting_to_self", after: 2 },
  {
    what: "network",
    theirs: { networkId: OTHER_NET },
    drop: "drop ERR_CONF wrong network passphrase: network_mismatch",
    after: 2,
  },
  { what: "port", theirs: { listeningPort: 0 }, drop: "drop ERR_CONF bad address: protocol_violation", after: 2 },
  {
    what: "duplicate",
    ours: { duplicateOf: () => "GABCD" },
    drop: "drop ERR_CONF already-connected peer: GABCD: already_connected",
    after: 3,
  },
];

function before(role: (typeof ROLES)[number], after: Row["after"]): string[] {
  const done = ["setKeys", ...(role === "remoteCalledUs" ? ["sendHello"] : []), "recordAddress"];
  if (after === 0) return [];
  if (after === 1) return ["setKeys"];
  return after === 2 ? done.slice(0, -1) : done;
}

for (const role of ROLES) {
  for (const row of ROWS) {
    test(`HELLO with a wrong ${row.what} is answered as upstream does when ${role}`, () => {
      const ours = local({ role, ...row.ours });
      const [at, effects] = step(INITIAL_STATE, helloMessage(row.theirs), ours);
      assert.equal(at, "closing");
      assert.deepEqual(effects, [...before(role, row.after), row.drop]);
    });
  }

  test(`of two faults in a HELLO the first in upstream's order is answered when ${role}`, () => {
    for (let first = 0; first < ROWS.length; first++) {
      for (let second = first + 1; second < ROWS.length; second++) {
        const a = ROWS[first], b = ROWS[second];
        const ours = local({ role, ...b.ours, ...a.ours });
        const [, effects] = step(INITIAL_STATE, helloMessage({ ...b.theirs, ...a.theirs }), ours);
        let drop = a.drop;
        // A certificate that does not verify, on a HELLO that names another network, is told by what the user can do.
        if (a.what === "cert" && b.what === "network") drop = "drop - failed to verify auth cert: network_mismatch";
        assert.deepEqual(effects, [...before(role, a.after), drop], `${a.what} before ${b.what}`);
      }
    }
  });

  test(`AUTH is checked as upstream does when ${role}`, () => {
    const ours = local({ role });
    const replies = role === "remoteCalledUs" ? ["sendAuth", "sendPeers"] : [];
    for (const flags of [0, 199, 201, -200]) {
      assert.deepEqual(step({ at: "gotHello", remote: hello() }, authMessage(flags), ours).slice(0, 2), [
        "closing",
        [...replies, "drop ERR_CONF flow control bytes disabled: protocol_violation"],
      ]);
    }
    const early = ["closing", ["drop ERR_MISC out-of-order AUTH message: protocol_violation"]];
    assert.deepEqual(step(INITIAL_STATE, authMessage(), ours).slice(0, 2), early);
    assert.deepEqual(step({ at: "gotAuth", remote: hello() }, authMessage(), ours).slice(0, 2), early);
  });

  test(`a second HELLO is never looked at when ${role}`, () => {
    const ours = local({ role, checkCert: () => assert.fail(), deriveKeys: () => assert.fail() });
    for (const at of ["gotHello", "gotAuth"] as const) {
      assert.deepEqual(step({ at, remote: hello() }, helloMessage(), ours).slice(0, 2), [
        "closing",
        ["drop - received unexpected HELLO: protocol_violation"],
      ]);
    }
  });

  test(`nothing happens after the end when ${role}`, () => {
    for (const message of [helloMessage(), authMessage()]) {
      assert.deepEqual(step({ at: "closing" }, message, local({ role })).slice(0, 2), ["closing", []]);
    }
  });
}

test("any other message before AUTH ends the connection without a word", () => {
  const names = Object.keys(MessageType) as MessageTypeName[];
  for (const name of names) {
    const type = MessageType[name];
    assert.equal(isHandshakeType(type), name === "hello" || name === "auth" || name === "errorMsg");
    if (isHandshakeType(type)) continue;
    const message = { type: name } as StellarMessage;
    for (const state of [INITIAL_STATE, { at: "gotHello" as const, remote: hello() }]) {
      const [at, [drop]] = step(state, message, local());
      assert.equal(at, "closing");
      assert.match(drop, /^drop - received [A-Z_]+ before completed handshake: protocol_violation$/);
    }
  }
  assert.equal(beforeHandshake(MessageType.scpMessage).reason, "received SCP_MESSAGE before completed handshake");
  assert.equal(beforeHandshake(MessageType.getScpQuorumset).error, undefined);
});

test("the windows meet when each side's highest reaches the other's lowest, and theirs is a window", () => {
  const table: [number, number, boolean][] = [
    // their lowest, their highest
    [38, 42, true],
    [42, 50, true],
    [43, 50, false],
    [30, 38, true],
    [30, 37, false],
    [0, 0xffffffff, true],
    [0, 0, false],
    [41, 40, false],
    [0xffffffff, 0, false],
    [40, 40, true],
  ];
  for (const [overlayMinVersion, overlayVersion, meet] of table) {
    const theirs = { overlayMinVersion, overlayVersion };
    assert.equal(windowsMeet(theirs, local()), meet, `${overlayMinVersion}-${overlayVersion}`);
    const [at, , failure] = step(INITIAL_STATE, helloMessage(theirs), local());
    assert.equal(at, meet ? "gotHello" : "closing");
    if (!meet) {
      assert.deepEqual(failure, {
        code: "version_mismatch",
        remoteMin: overlayMinVersion,
        remoteMax: overlayVersion,
        oursMin: 38,
        oursMax: 42,
      });
    }
    assert.equal(step(INITIAL_STATE, helloMessage(theirs), local({ acceptAnyVersion: true }))[0], "gotHello");
  }
});

test("listening ports outside 1 to 65535 are refused", () => {
  for (
    const [listeningPort, at] of [[1, "gotHello"], [65535, "gotHello"], [0, "closing"], [65536, "closing"], [
      -1,
      "closing",
    ]] as const
  ) {
    assert.equal(step(INITIAL_STATE, helloMessage({ listeningPort }), local())[0], at);
  }
});

test("an expired certificate is passed over only by who asked for it, a wrong signature never", () => {
  const go = (verdict: "expired" | "signature", acceptExpiredCert: boolean) =>
    step(INITIAL_STATE, helloMessage(), local({ acceptExpiredCert, checkCert: () => verdict }));
  assert.equal(go("expired", true)[0], "gotHello");
  assert.deepEqual(go("expired", false)[2], { code: "bad_cert", reason: "expired", expiresAt: 1000 });
  for (const accept of [true, false]) {
    assert.deepEqual(go("signature", accept)[2], { code: "bad_cert", reason: "signature", expiresAt: 1000 });
  }
});
