import assert from "node:assert/strict";
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { VirtualClock } from "../../overlay/base/clock.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { SeededRandom, systemRandom } from "../../overlay/base/random.ts";
import { encodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { MemoryNetwork } from "../../overlay/transport/memory.ts";
import { temporaryFolder } from "../../tests/kit/tool.ts";
import { UsageError } from "../flags.ts";
import { identityOf } from "./identity.ts";
import { listenAddress, type NodeFlags, nodeSettings, startWarnings } from "./settings.ts";

const transport = new MemoryNetwork({ clock: new VirtualClock() }).transport("11.0.0.1");
const settings = (flags: Partial<NodeFlags>) => nodeSettings({ dial: true, ...flags }, transport);
const folder = temporaryFolder();
const SEED = new Uint8Array(32).fill(7);

function configFile(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}
const TESTNET_CONFIG = configFile(
  "testnet.cfg",
  `NETWORK_PASSPHRASE="Test SDF Network ; September 2015"
PEER_PORT=21625
TARGET_PEER_CONNECTIONS=5
KNOWN_PEERS=["10.0.0.1:11625"]
PREFERRED_PEERS=["10.0.0.2"]
NODE_IS_VALIDATOR=true
NODE_SEED="${encodeSecretSeed(SEED)} self"
`,
);

test("nodeSettings: a watcher of pubnet unless said otherwise; local is on this machine only", async () => {
  const pub = await settings({});
  assert.deepEqual([pub.network.name, pub.config.isValidator, pub.config.listeningHost], ["pubnet", false, "0.0.0.0"]);
  assert.ok(pub.config.knownPeers.length > 10);
  assert.deepEqual([pub.config.allowPrivate, pub.config.allowLoopback], [false, false]);
  const { config } = await settings({ network: "local" });
  assert.deepEqual([config.listeningHost, config.allowPrivate, config.allowLoopback], ["127.0.0.1", false, true]);
  const custom = await settings({ network: "my own network", allowPrivate: true });
  assert.deepEqual([custom.config.networkPassphrase, custom.config.knownPeers], ["my own network", []]);
  assert.equal(custom.config.allowPrivate, true);
});

test("nodeSettings: who may survey is nobody, unless --surveyor-key or the configuration says so", async () => {
  const key = encodeNodeId(SEED), other = encodeNodeId(new Uint8Array(32).fill(8));
  assert.deepEqual((await settings({})).config.surveyorKeys, []);
  assert.deepEqual((await settings({})).config.quorumNodes, []);
  assert.deepEqual((await settings({ surveyorKey: [key, "self"] })).config.surveyorKeys, [key, "$self"]);
  const path = configFile(
    "survey.cfg",
    `NETWORK_PASSPHRASE="x"\nSURVEYOR_KEYS=["$self"]\n[QUORUM_SET]\nVALIDATORS=["${other}"]\n`,
  );
  const { config } = await settings({ config: path });
  assert.deepEqual([config.surveyorKeys, config.quorumNodes], [["$self"], [other]]);
  assert.deepEqual((await settings({ config: path, surveyorKey: [key] })).config.surveyorKeys, [key]);
  const secret = encodeSecretSeed(SEED);
  await assert.rejects(settings({ surveyorKey: [secret] }), (error: Error) => {
    return error instanceof UsageError && !error.message.includes(secret);
  });
});

test("nodeSettings: flags go before the configuration, the configuration before the preset", async () => {
  const read = (await settings({ config: TESTNET_CONFIG })).config;
  assert.deepEqual([read.listeningPort, read.targetPeerConnections, read.isValidator], [21625, 5, true]);
  assert.deepEqual(read.knownPeers, [{ host: "10.0.0.1", port: 11625 }]);
  const { config } = await settings({
    config: TESTNET_CONFIG,
    listen: "127.0.0.1:5000",
    target: 3,
    watcher: true,
    peer: ["10.0.0.9:1"],
    prefer: ["10.0.0.8"],
  });
  assert.deepEqual([config.listeningHost, config.listeningPort, config.targetPeerConnections], ["127.0.0.1", 5000, 3]);
  assert.deepEqual([config.maxAdditionalPeerConnections, config.isValidator], [24, false]);
  assert.deepEqual(config.knownPeers.map((peer) => peer.host), ["10.0.0.1", "10.0.0.9"]);
  assert.deepEqual(config.preferredPeers.map((peer) => peer.host), ["10.0.0.2", "10.0.0.8"]);
  const own = await settings({ network: "testnet", peer: ["1.2.3.4"] });
  assert.deepEqual(own.config.knownPeers, [{ host: "1.2.3.4", port: 11625 }], "instead of the network's own");
});

test("nodeSettings: what excludes each other, and what cannot be, is a usage error", async () => {
  const wrong: [Partial<NodeFlags>, RegExp][] = [
    [{ validator: true, watcher: true }, /--validator and --watcher/],
    [{ listen: false, dial: false }, /--no-listen and --no-dial/],
    [{ network: "tesnet" }, /no network of that name/],
    [{ network: "pubnet", config: TESTNET_CONFIG }, /is not the NETWORK_PASSPHRASE/],
    [{ peer: ["1.2.3.4:0"] }, /--peer: .*port 0/],
    [{ prefer: ["http://a"] }, /--prefer: .*URL/],
    [{ listen: "core.example.org:1" }, /--listen core.example.org:1: a name cannot be listened on/],
    [{ listen: "70000" }, /above 65535/],
  ];
  for (const [flags, message] of wrong) {
    await assert.rejects(settings(flags), (error: Error) => error instanceof UsageError && message.test(error.message));
  }
  const broken = configFile("broken.cfg", 'NETWORK_PASSPHRASE="x"\nPEER_PORT="11625"\n');
  await assert.rejects(settings({ config: broken }), (error: Error) => {
    return isFailure("config_invalid")(error) && /line 2: PEER_PORT is not a whole number/.test(error.message);
  });
  await assert.rejects(settings({ config: join(folder, "none.cfg") }), isFailure("file_unreadable"));
});

test("nodeSettings tells which limits were lowered", async () => {
  const { config, warnings } = await settings({ network: "local", target: 20, maxInbound: 6 });
  assert.equal(config.targetPeerConnections, 5);
  assert.match(warnings[0], /^the limit of 20 outbound peers is lowered to 5/);
});

test("nodeSettings: port 0 becomes a free port, since it is announced", async () => {
  const { config } = await settings({ network: "local", listen: "11.0.0.1:0" });
  assert.ok(config.listeningPort > 0);
});

test("listenAddress reads host and port in every usual form", () => {
  const defaults = { host: "0.0.0.0", port: 11625 };
  const forms: [string, string, number][] = [
    ["1.2.3.4:5", "1.2.3.4", 5],
    ["1.2.3.4", "1.2.3.4", 11625],
    ["5", "0.0.0.0", 5],
    [":5", "0.0.0.0", 5],
    ["0", "0.0.0.0", 0],
    ["127.0.0.1:0", "127.0.0.1", 0],
    ["[::]:5", "::", 5],
    ["[::1]:0", "::1", 0],
    ["localhost:5", "127.0.0.1", 5],
  ];
  for (const [text, host, port] of forms) assert.deepEqual(listenAddress("--listen", text, defaults), { host, port });
});

test("identityOf: file, configuration, or fresh; --new-seed makes a private file once", async () => {
  const random = new SeededRandom(3);
  assert.equal(identityOf({ configSeed: true }, undefined, random).origin, "fresh");
  const { core } = await settings({ config: TESTNET_CONFIG });
  const configured = identityOf({ configSeed: true, config: TESTNET_CONFIG }, core, random);
  assert.deepEqual([configured.origin, configured.seed], ["configuration", SEED]);
  assert.equal(identityOf({ configSeed: false }, core, random).origin, "fresh");

  const seedFile = join(folder, "new", "node.seed");
  assert.throws(() => identityOf({ seedFile, configSeed: true }, core, random), UsageError);
  const made = identityOf({ seedFile, newSeed: true, configSeed: true }, core, systemRandom);
  assert.deepEqual([made.origin, statSync(seedFile).mode & 0o777], ["new seed file", 0o600]);
  const text = readFileSync(seedFile, "utf8");
  const again = identityOf({ seedFile, newSeed: true, configSeed: true }, core, systemRandom);
  assert.deepEqual([again.origin, again.seed, readFileSync(seedFile, "utf8")], ["seed file", made.seed, text]);
  chmodSync(seedFile, 0o644);
  assert.throws(() => identityOf({ seedFile, configSeed: true }, core, random), isFailure("seed_file_exposed"));
  assert.throws(() => identityOf({ newSeed: true, configSeed: true }, undefined, random), UsageError);
  const unwritable = join(TESTNET_CONFIG, "node.seed");
  assert.throws(
    () => identityOf({ seedFile: unwritable, newSeed: true, configSeed: true }, core, random),
    isFailure("file_unwritable"),
  );
});

test("startWarnings: a borrowed identity, nobody to dial, a door nobody can reach", async () => {
  const fresh = { seed: SEED, origin: "fresh", path: undefined } as const;
  const { config } = await settings({ network: "testnet" });
  assert.deepEqual(startWarnings(config, fresh, 0), []);
  assert.match(startWarnings(config, { ...fresh, origin: "configuration", path: "x.cfg" }, 0)[0], /identity of x\.cfg/);
  const local = (await settings({ network: "local" })).config;
  assert.match(startWarnings(local, fresh, 0)[0], /nobody to dial: give --peer/);
  assert.deepEqual(startWarnings(local, fresh, 3), []);
  const hidden = (await settings({ network: "testnet", listen: "127.0.0.1" })).config;
  assert.match(startWarnings(hidden, fresh, 0)[0], /nobody on the internet can reach 127\.0\.0\.1/);
});
