import { test } from "node:test";
import assert from "node:assert/strict";
import { networkIdOf, networkNameOf, NETWORKS, PUBNET, resolveNetwork, TESTNET } from "./networks.ts";
import { formatAddress, looksLikeNodeId, parsePeerAddress } from "./peer_address.ts";

test("networkNameOf names every built-in network by the hash of its passphrase", () => {
  for (const network of NETWORKS) assert.equal(networkNameOf(networkIdOf(network.passphrase)), network.name);
  assert.equal(networkNameOf(networkIdOf(TESTNET.passphrase).toUpperCase()), "testnet");
  assert.equal(networkNameOf("00ff"), "00ff");
  assert.equal(networkNameOf("constructor"), "constructor");
});

test("networkIdOf gives the published ids", () => {
  assert.equal(networkIdOf(PUBNET.passphrase), "7ac33997544e3175d266bd022439b22cdb16508c01163f26e5cb2a3e1045a979");
  assert.equal(networkIdOf(TESTNET.passphrase), "cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd472");
});

test("resolveNetwork takes a name, an alias or a passphrase", () => {
  for (const network of NETWORKS) {
    assert.equal(resolveNetwork(network.name), network);
    assert.equal(resolveNetwork(network.name.toUpperCase()), network);
    assert.equal(resolveNetwork(network.passphrase), network);
  }
  assert.equal(resolveNetwork("public"), PUBNET);
  assert.equal(resolveNetwork("mainnet"), PUBNET);
  assert.deepEqual(resolveNetwork("My Net ; 2026"), { name: "custom", passphrase: "My Net ; 2026", seeds: [] });
  assert.equal(resolveNetwork("constructor").name, "custom");
});

test("seeds are canonical addresses with distinct node ids", () => {
  for (const network of NETWORKS) {
    for (const seed of network.seeds) {
      assert.equal(formatAddress(parsePeerAddress(seed.address)), seed.address);
      assert.ok(looksLikeNodeId(seed.nodeId), seed.nodeId);
    }
    assert.equal(new Set(network.seeds.map((seed) => seed.nodeId)).size, network.seeds.length);
    assert.equal(new Set(network.seeds.map((seed) => seed.address)).size, network.seeds.length);
  }
  assert.equal(PUBNET.seeds.length, 21);
});
