import { test } from "node:test";
import assert from "node:assert/strict";
import { fromHex, toHex } from "../base/bytes.ts";
import { agreementKey, networkIdOf, signingKey } from "../crypto/primitives.ts";
import { certHash, certPreimage, checkCert, issueCert } from "./cert.ts";

const repeat = (byte: number, n = 32) => new Uint8Array(n).fill(byte);
const networkId = networkIdOf("Test SDF Network ; September 2015");

// handshake.md section 8.
const NODES = [
  {
    seed: 0x11,
    secret: 0x33,
    expiration: 1767229200,
    nodeId: "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
    pubkey: "7b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14",
    preimage:
      "cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd47200000003000000006955c7107b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14",
    hash: "a86ff74c0d72a35e95f6ddc398bb7c65ee24bb602d8980ec41d00038244895a1",
    sig:
      "31eaa164bbcba4eb28c76a0f6fd8bacef9d46f90f07de2e6cad995a1c8ff7485038c0cbe7e2c386198fe6bac72a22d8b865280dfec324ba8222ff09f57c4f200",
  },
  {
    seed: 0x22,
    secret: 0x44,
    expiration: 1767229260,
    nodeId: "a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
    pubkey: "ff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b",
    preimage:
      "cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd47200000003000000006955c74cff2ee45601ec1b67310c7790404585ae697331eee1c1f8cf2419731c1fff3e6b",
    hash: "54c853889f43026f565ba05e7ad64ea7c3c89fa8e30980c36880120b51dda5f9",
    sig:
      "4ae4d9345cdc74bfa3b990c63a9e77b4275536dd1b912784258aedb2aad06748b48c50d029ab06a1fb763b152a1efc08fab4aa4028b149b594a045b83b818604",
  },
];

test("issueCert makes the certificates of the handshake's test vector, step by step", () => {
  for (const node of NODES) {
    const identity = signingKey(repeat(node.seed)), key = agreementKey(repeat(node.secret));
    assert.equal(toHex(identity.publicKey), node.nodeId);
    assert.equal(toHex(key.publicKey), node.pubkey);
    assert.equal(toHex(certPreimage(networkId, key.publicKey, BigInt(node.expiration))), node.preimage);
    assert.equal(toHex(certHash(networkId, key.publicKey, BigInt(node.expiration))), node.hash);
    const cert = issueCert(identity, networkId, key.publicKey, node.expiration);
    assert.deepEqual(cert, { pubkey: key.publicKey, expiration: BigInt(node.expiration), sig: fromHex(node.sig) });
    assert.deepEqual(issueCert(identity, networkId, key.publicKey, BigInt(node.expiration)), cert);
    assert.equal(checkCert(cert, identity.publicKey, networkId, node.expiration - 3600), "ok");
  }
});

const identity = signingKey(repeat(1));
const cert = issueCert(identity, networkId, repeat(2), 1000);
const check = (change: Partial<typeof cert>, peerId = identity.publicKey, id = networkId, now = 500) =>
  checkCert({ ...cert, ...change }, peerId, id, now);

test("checkCert accepts the second of the expiration and no later one", () => {
  assert.equal(check({}, undefined, undefined, 999), "ok");
  assert.equal(check({}, undefined, undefined, 1000), "ok");
  assert.equal(check({}, undefined, undefined, 1000.9), "ok");
  assert.equal(check({}, undefined, undefined, 1001), "expired");
});

test("checkCert sees that any field, the node or the network is another", () => {
  assert.equal(check({}), "ok");
  assert.equal(check({ pubkey: repeat(3) }), "signature");
  assert.equal(check({ expiration: 1001n }), "signature");
  assert.equal(check({}, signingKey(repeat(9)).publicKey), "signature");
  assert.equal(check({}, undefined, networkIdOf("another")), "signature");
  for (let at = 0; at < 64; at++) {
    const sig = cert.sig.slice();
    sig[at] ^= 1;
    assert.equal(check({ sig }), "signature");
  }
});

test("checkCert calls any length but 64 bytes a wrong signature", () => {
  for (const n of [0, 32, 63]) assert.equal(check({ sig: cert.sig.slice(0, n) }), "signature");
  assert.equal(check({ sig: Uint8Array.of(...cert.sig, 0) }), "signature");
});

test("checkCert says expired before it looks at the signature", () => {
  assert.equal(check({ sig: new Uint8Array(0) }, undefined, undefined, 2000), "expired");
});

test("a certificate may last to the end of uint64", () => {
  for (const expiration of [2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    const far = issueCert(identity, networkId, repeat(2), expiration);
    assert.equal(checkCert(far, identity.publicKey, networkId, 1e9), "ok");
    assert.equal(
      toHex(certPreimage(networkId, far.pubkey, expiration)).slice(72, 88),
      expiration.toString(16).padStart(16, "0"),
    );
  }
  const zero = issueCert(identity, networkId, repeat(2), 0);
  assert.equal(checkCert(zero, identity.publicKey, networkId, 1), "expired");
});
