import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, fromHex, toHex } from "../base/bytes.ts";
import { SeededRandom } from "../base/random.ts";
import { agreementKey, macKey, networkIdOf, signingKey } from "../crypto/primitives.ts";
import { encodeNodeId } from "../crypto/strkey.ts";
import { decodeMessage, encodeMessage } from "../wire/messages.ts";
import { checkCert, issueCert } from "./cert.ts";
import { type Role, sessionKeys, sharedKey } from "./session_keys.ts";

const repeat = (byte: number, n = 32) => new Uint8Array(n).fill(byte);

// handshake.md section 8.
const K = "a746a9c2f2fe91489dfc962079be58db33c1c52a85bd035967590b91646e7195";
const K_AB = "5ae89ec04c9d3ac3b2bdfbe0234a45355cb18acb52ca36f09f237b4801a19023";
const K_BA = "d5e13239ab16303c7bdd7edace33b77257397e09360d3070011a39756fec070f";
const a = agreementKey(repeat(0x33)), b = agreementKey(repeat(0x44));
const nonceA = repeat(0xaa), nonceB = repeat(0xbb);

test("both sides derive the keys of the handshake's test vector, mirrored", () => {
  assert.equal(
    toHex(a.agree(b.publicKey)!),
    "3c528e9fd39731b15d10de8feb5f71d3f65b73c993581dedb03315a9ed177730",
  );
  const ofA = sharedKey(a, b.publicKey, "weCalledRemote")!, ofB = sharedKey(b, a.publicKey, "remoteCalledUs")!;
  assert.equal(toHex(ofA), K);
  assert.equal(toHex(ofB), K);
  const keysA = sessionKeys(ofA, nonceA, nonceB, "weCalledRemote");
  const keysB = sessionKeys(ofB, nonceB, nonceA, "remoteCalledUs");
  assert.deepEqual([toHex(keysA.sendKey), toHex(keysA.receiveKey)], [K_AB, K_BA]);
  assert.deepEqual([toHex(keysB.sendKey), toHex(keysB.receiveKey)], [K_BA, K_AB]);
});

test("the keys make the MACs of the test vector's frames", () => {
  // key, sequence (8 bytes) || message, MAC
  const frames = [
    [K_AB, "000000000000000000000002000000c8", "d27a755f8671938d63358dcb605423a1881128e0ab778b60ff996b6750be79e4"],
    [K_BA, "000000000000000000000002000000c8", "d7d12cff80ce1c4eae8ad0cb1ffce6f2584933430cb3015b7b91420d6aef1a88"],
    [
      K_BA,
      "00000000000000010000000500000001000000000808080800002d6900000000",
      "c5e022f471d8c05463eab1a3b34d19c0e20f1773087eda00341fb30bb9c1a126",
    ],
    [
      K_BA,
      "000000000000000200000014000000c8000493e0",
      "576e275c9fb1ac07e688d91b33ae62e01d9375eca3c782e5c3593ef558fee58d",
    ],
    [
      K_AB,
      "000000000000000100000014000000c8000493e0",
      "f6233f6ce6b74b4afaf8cd80db2f314c29efadfd238881cedd469aa4109ed770",
    ],
  ];
  for (const [key, input, mac] of frames) assert.equal(toHex(macKey(fromHex(key)).mac(fromHex(input))), mac);
});

test("the HELLO of the test vector holds our certificate, and encodes to its bytes", () => {
  const networkId = networkIdOf("Test SDF Network ; September 2015"), identity = signingKey(repeat(0x11));
  const message = encodeMessage({
    type: "hello",
    hello: {
      ledgerVersion: 27,
      overlayVersion: 42,
      overlayMinVersion: 41,
      networkId,
      versionStr: "stellar-core 27.1.0 (test-A)",
      listeningPort: 11625,
      peerId: identity.publicKey,
      cert: issueCert(identity, networkId, a.publicKey, 1767229200),
      nonce: nonceA,
    },
  });
  assert.equal(
    toHex(message),
    "0000000d0000001b0000002a00000029cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd4720000001c7374656c6c61722d636f72652032372e312e302028746573742d412900002d6900000000d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c97787377b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14000000006955c7100000004031eaa164bbcba4eb28c76a0f6fd8bacef9d46f90f07de2e6cad995a1c8ff7485038c0cbe7e2c386198fe6bac72a22d8b865280dfec324ba8222ff09f57c4f200aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  );
});

test("both sides derive mirrored keys for any secrets and nonces, as HKDF does", () => {
  const random = new SeededRandom(3);
  for (let i = 0; i < 10; i++) {
    const caller = agreementKey(random.bytes(32)), called = agreementKey(random.bytes(32));
    const callerNonce = random.bytes(32), calledNonce = random.bytes(32);
    const shared = sharedKey(caller, called.publicKey, "weCalledRemote")!;
    assert.deepEqual(sharedKey(called, caller.publicKey, "remoteCalledUs"), shared);
    const one = sessionKeys(shared, callerNonce, calledNonce, "weCalledRemote");
    const other = sessionKeys(shared, calledNonce, callerNonce, "remoteCalledUs");
    assert.deepEqual(one, { sendKey: other.receiveKey, receiveKey: other.sendKey });
    const input = concatBytes(caller.agree(called.publicKey)!, caller.publicKey, called.publicKey);
    assert.deepEqual(extract(sha256, input), shared);
    const info = concatBytes(Uint8Array.of(0), callerNonce, calledNonce);
    assert.deepEqual(expand(sha256, shared, info, 32), one.sendKey);
    // The same two nodes with the roles exchanged share another key.
    assert.notDeepEqual(sharedKey(caller, called.publicKey, "remoteCalledUs"), shared);
  }
});

test("sharedKey is null for keys of small order and wrong lengths", () => {
  for (const role of ["weCalledRemote", "remoteCalledUs"] as const) {
    assert.equal(sharedKey(a, new Uint8Array(32), role), null);
    assert.equal(sharedKey(a, Uint8Array.of(1, ...new Uint8Array(31)), role), null);
    assert.equal(sharedKey(a, new Uint8Array(31), role), null);
  }
});

const FIXTURES = new URL("../../tests/fixtures/", import.meta.url);
interface Line {
  kind: "header" | "frame" | "note";
  [field: string]: unknown;
}
const sessions = ["", "watch/"].flatMap((folder) =>
  readdirSync(new URL(folder, FIXTURES)).filter((name) => name.endsWith(".ndjson")).map((name) => folder + name)
);
assert.ok(sessions.length >= 15);

test("keys, certificates and MACs of every recorded session with stellar-core come out", () => {
  let derived = 0, macs = 0;
  for (const name of sessions) {
    const lines = readFileSync(new URL(name, FIXTURES), "utf8").trim().split("\n").map((line) =>
      JSON.parse(line) as Line
    );
    const header = lines[0] as unknown as Record<string, string>;
    const frames = lines.filter((line) => line.kind === "frame") as unknown as Record<string, string>[];
    const note = lines.find((line) => line.kind === "note" && "ecdh" in line) as unknown as Record<string, string>;
    const networkId = networkIdOf(header.network), identity = signingKey(fromHex(header.ed25519Seed));
    const own = agreementKey(fromHex(header.x25519Secret));
    assert.equal(encodeNodeId(identity.publicKey), header.nodeId, name);

    const helloOf = (dir: string) => {
      const frame = frames.find((f) => f.dir === dir && f.type === "hello");
      if (!frame) return undefined;
      const bytes = fromHex(frame.hex), message = decodeMessage(bytes.subarray(16, bytes.length - 32));
      assert.ok(message.type === "hello");
      return message.hello;
    };
    const sent = helloOf("out")!, received = helloOf("in");
    if (name !== "wrong-network.ndjson") {
      assert.deepEqual(issueCert(identity, networkId, own.publicKey, Number(header.certExpiration)), sent.cert, name);
    }
    const unixTime = Number(header.unixTime);
    const expected = name === "cert-expired.ndjson" ? "expired" : "ok";
    if (name !== "wrong-network.ndjson") {
      assert.equal(checkCert(sent.cert, identity.publicKey, networkId, unixTime), expected);
    }
    if (!received) continue;
    assert.equal(checkCert(received.cert, received.peerId, networkId, unixTime), "ok", name);

    const role: Role = header.role === "initiator" ? "weCalledRemote" : "remoteCalledUs";
    const shared = sharedKey(own, received.cert.pubkey, role)!;
    const keys = sessionKeys(shared, fromHex(header.nonce), received.nonce, role);
    if (note) {
      assert.equal(encodeNodeId(received.peerId), note.peer, name);
      assert.equal(toHex(own.agree(received.cert.pubkey)!), note.ecdh, name);
      assert.equal(toHex(shared), note.sharedKey, name);
      assert.deepEqual([toHex(keys.sendKey), toHex(keys.receiveKey)], [note.sendKey, note.recvKey], name);
      derived++;
    }
    const send = macKey(keys.sendKey), receive = macKey(keys.receiveKey);
    for (const frame of frames) {
      if (frame.type === "hello" || frame.type === "errorMsg") continue;
      const bytes = fromHex(frame.hex), end = bytes.length - 32;
      const key = frame.dir === "out" ? send : receive;
      assert.deepEqual(key.mac(bytes.subarray(8, end)), bytes.slice(end), `${name} ${frame.type} at ${frame.ms} ms`);
      macs++;
    }
  }
  assert.ok(derived >= 12 && macs > 2000, `${derived} sessions, ${macs} MACs`);
});
