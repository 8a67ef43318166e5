import { test } from "node:test";
import assert from "node:assert/strict";
import { VirtualClock } from "../base/clock.ts";
import { isFailure } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { fromHex } from "../base/bytes.ts";
import { agreementKey, networkIdOf, signingKey } from "../crypto/primitives.ts";
import { AuthContext, RecentMap } from "./auth_context.ts";
import { checkCert } from "./cert.ts";
import { sessionKeys, sharedKey } from "./session_keys.ts";

const repeat = (byte: number, n = 32) => new Uint8Array(n).fill(byte);
const networkId = networkIdOf("Test SDF Network ; September 2015");
const START_SECONDS = 1_767_225_600; // 2026-01-01, where VirtualClock begins

function make(
  seed: number,
  options: { clock?: VirtualClock; x25519Secret?: Uint8Array; certLifetimeSeconds?: number } = {},
) {
  const clock = options.clock ?? new VirtualClock();
  const identity = signingKey(repeat(seed));
  return new AuthContext({ ...options, identity, networkId, clock, random: new SeededRandom(seed) });
}

test("AuthContext makes the certificate of the handshake's test vector", () => {
  const context = make(0x11, { x25519Secret: repeat(0x33) });
  const cert = context.cert();
  assert.equal(cert.expiration, 1767229200n);
  assert.deepEqual(
    cert.sig,
    fromHex(
      "31eaa164bbcba4eb28c76a0f6fd8bacef9d46f90f07de2e6cad995a1c8ff7485038c0cbe7e2c386198fe6bac72a22d8b865280dfec324ba8222ff09f57c4f200",
    ),
  );
});

test("AuthContext.cert re-issues for the same key once less than half of the life is left", async () => {
  const clock = new VirtualClock(), context = make(1, { clock });
  const first = context.cert();
  assert.equal(first.expiration, BigInt(START_SECONDS + 3600));
  await clock.advance(1_800_999);
  assert.equal(context.cert(), first);
  await clock.advance(1);
  const second = context.cert();
  assert.equal(second.expiration, BigInt(START_SECONDS + 1801 + 3600));
  assert.deepEqual(second.pubkey, first.pubkey);
  assert.equal(checkCert(second, context.identity.publicKey, networkId, START_SECONDS), "ok");
});

test("AuthContext.cert follows the lifetime it is given", async () => {
  const clock = new VirtualClock(), context = make(1, { clock, certLifetimeSeconds: 100 });
  const first = context.cert();
  assert.equal(first.expiration, BigInt(START_SECONDS + 100));
  await clock.advance(50_000);
  assert.equal(context.cert(), first);
  await clock.advance(1_000);
  assert.equal(context.cert().expiration, BigInt(START_SECONDS + 151));
});

test("AuthContext takes its key and nonces from its Random", () => {
  const one = make(1), same = make(1), other = make(2);
  assert.deepEqual(one.publicKey, same.publicKey);
  assert.notDeepEqual(one.publicKey, other.publicKey);
  const nonce = one.newNonce();
  assert.equal(nonce.length, 32);
  assert.deepEqual(same.newNonce(), nonce);
  assert.notDeepEqual(one.newNonce(), nonce);
  assert.throws(() => make(1, { x25519Secret: new Uint8Array(31) }), isFailure("invalid_argument"));
});

test("AuthContext.verifyCert answers from its cache only for exactly the same certificate of the same node", async () => {
  const clock = new VirtualClock(), context = make(1, { clock }), remote = make(2, { clock });
  const cert = remote.cert(), peerId = remote.identity.publicKey;
  assert.equal(context.verifyCert(cert, peerId), "ok");
  assert.equal(context.verifyCert({ ...cert, sig: cert.sig.slice() }, peerId.slice()), "ok");
  assert.equal(context.cached.certs, 1);
  assert.equal(context.verifyCert({ ...cert, pubkey: repeat(7) }, peerId), "signature");
  assert.equal(context.verifyCert({ ...cert, expiration: cert.expiration + 1n }, peerId), "signature");
  assert.equal(context.verifyCert(cert, signingKey(repeat(9)).publicKey), "signature");
  assert.equal(context.verifyCert({ ...cert, sig: cert.sig.subarray(0, 63) }, peerId), "signature");
  assert.equal(context.verifyCert({ ...cert, sig: repeat(1, 64) }, peerId), "signature");
  assert.equal(context.cached.certs, 1);
  await clock.advance(3_600_999);
  assert.equal(context.verifyCert(cert, peerId), "ok");
  await clock.advance(1);
  assert.equal(context.verifyCert(cert, peerId), "expired");
});

test("RecentMap holds at most its maximum, and keeps what is asked for", () => {
  const map = new RecentMap<number>(10);
  map.set("kept", -1);
  for (let i = 0; i < 1000; i++) {
    map.set(`key ${i}`, i);
    assert.ok(map.size <= 10);
    assert.equal(map.get("kept"), -1);
    for (let k = 0; k < 3; k++) assert.equal(map.get(`key ${i - k}`), i - k < 0 ? undefined : i - k);
  }
  assert.equal(map.get("key 0"), undefined);
  const smallest = new RecentMap<number>(1);
  for (let i = 0; i < 5; i++) smallest.set(`${i}`, i);
  assert.ok(smallest.size <= 2);
});

test("AuthContext.sessionKeys mirrors the other side's, and both roles differ", () => {
  const a = make(1), b = make(2), nonceA = a.newNonce(), nonceB = b.newNonce();
  for (let round = 0; round < 2; round++) { // the second round answers from the cache
    const keysA = a.sessionKeys("weCalledRemote", nonceA, b.cert().pubkey, nonceB)!;
    const keysB = b.sessionKeys("remoteCalledUs", nonceB, a.cert().pubkey, nonceA)!;
    assert.deepEqual(keysA, { sendKey: keysB.receiveKey, receiveKey: keysB.sendKey });
    // Both dial each other: the same keys, the other role, another shared key.
    const crossedA = a.sessionKeys("remoteCalledUs", nonceA, b.cert().pubkey, nonceB)!;
    const crossedB = b.sessionKeys("weCalledRemote", nonceB, a.cert().pubkey, nonceA)!;
    assert.deepEqual(crossedA, { sendKey: crossedB.receiveKey, receiveKey: crossedB.sendKey });
    assert.notDeepEqual(crossedA, keysA);
    assert.notDeepEqual(crossedA.sendKey, keysA.receiveKey);
  }
  assert.deepEqual(a.cached.sharedKeys, 2);
});

test("AuthContext.sessionKeys derives from the cached key what it derives without one", () => {
  const secret = repeat(0x33), a = make(1, { x25519Secret: secret }), remote = agreementKey(repeat(0x44)).publicKey;
  for (const n of [1, 2, 3]) {
    const shared = sharedKey(agreementKey(secret), remote, "weCalledRemote")!;
    assert.deepEqual(
      a.sessionKeys("weCalledRemote", repeat(n), remote, repeat(9)),
      sessionKeys(shared, repeat(n), repeat(9), "weCalledRemote"),
    );
  }
});

test("AuthContext.sessionKeys is null for a key of small order, and keeps nothing of it", () => {
  const a = make(1);
  assert.equal(a.sessionKeys("weCalledRemote", repeat(1), new Uint8Array(32), repeat(2)), null);
  assert.equal(a.sessionKeys("remoteCalledUs", repeat(1), new Uint8Array(32), repeat(2)), null);
  assert.equal(a.cached.sharedKeys, 0);
});
