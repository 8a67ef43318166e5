import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_FLOW_CONTROL } from "../connection/flow_control.ts";
import {
  adjust,
  configure,
  flowControlLimits,
  fromCoreConfig,
  futurenet,
  maxTransactionBytes,
  type OverlayConfig,
  type OverlayConfigChanges,
  pubnet,
  standalone,
  testnet,
  tickMs,
  validateConfig,
} from "./config.ts";
import { parseCoreConfig } from "./core_config.ts";
import { isFailure, OverlayError } from "./errors.ts";
import { FUTURENET, LOCAL, PUBNET, TESTNET } from "./networks.ts";
import { formatAddress } from "./peer_address.ts";

const NODE = PUBNET.seeds[0].nodeId;

function pendingOf(config: OverlayConfig): [number, number, number] {
  return [config.maxPendingConnections, config.maxOutboundPendingConnections, config.maxInboundPendingConnections];
}

test("the presets are whole, valid, and have the passphrase and first peers of their network", () => {
  for (
    const [preset, network] of [[pubnet, PUBNET], [testnet, TESTNET], [futurenet, FUTURENET], [
      standalone,
      LOCAL,
    ]] as const
  ) {
    const config = preset();
    assert.deepEqual(validateConfig(config), []);
    assert.equal(config.networkPassphrase, network.passphrase);
    assert.deepEqual(config.knownPeers.map(formatAddress), network.seeds.map((seed) => seed.address));
    assert.equal(Object.values(config).filter((value) => value === undefined).length, 0);
  }
  assert.deepEqual([standalone().allowPrivate, standalone().listeningHost, pubnet().allowPrivate], [
    true,
    "127.0.0.1",
    false,
  ]);
});

test("the presets have upstream's connection limits: 8 out, 64 in, 500 pending as 56 and 444", () => {
  const config = pubnet();
  assert.deepEqual([config.targetPeerConnections, config.maxAdditionalPeerConnections], [8, 64]);
  assert.deepEqual(pendingOf(config), [500, 56, 444]);
  assert.equal(tickMs(config), 3000);
  assert.deepEqual([config.overlayMinVersion, config.overlayVersion], [35, 42]);
});

test("configure derives anew what follows from a change, and keeps what is given", () => {
  const small = pubnet({ targetPeerConnections: 5 });
  assert.equal(small.maxAdditionalPeerConnections, 40);
  assert.deepEqual(pendingOf(small), [500, 56, 444]);
  const given = pubnet({ targetPeerConnections: 2, maxAdditionalPeerConnections: 1, maxInboundPendingConnections: 3 });
  assert.deepEqual([given.targetPeerConnections, given.maxAdditionalPeerConnections], [2, 1]);
  assert.deepEqual(pendingOf(given), [500, 334, 3]);
  const again = configure(given, { maxPendingConnections: 9 });
  assert.deepEqual(pendingOf(again), [9, 6, 3]);
  const { flowControl, sorobanTxMaxBytes } = pubnet({
    isValidator: undefined,
    sorobanTxMaxBytes: undefined,
    flowControl: { floodMessages: 10, batchMessages: 5, totalBytes: undefined },
  });
  assert.deepEqual([flowControl.floodMessages, flowControl.totalMessages, flowControl.totalBytes], [
    10,
    201,
    1_048_576,
  ]);
  assert.equal(sorobanTxMaxBytes, undefined);
  assert.equal(pubnet({ isValidator: undefined }).isValidator, false);
});

test("adjust lowers the target to a third of the inbound limit plus 3, and says so", () => {
  const raw = { ...pubnet(), targetPeerConnections: 20, maxAdditionalPeerConnections: 10 };
  const { config, notes } = adjust(raw);
  assert.equal(config.targetPeerConnections, 6);
  assert.match(notes.join(), /20 outbound peers is lowered to 6: at most 10 peers may dial us/);
  assert.deepEqual(adjust(pubnet()).notes, []);
  const huge = adjust({ ...pubnet(), targetPeerConnections: 60_000, maxAdditionalPeerConnections: -1 });
  assert.match(huge.notes[0], /60000 outbound peers is lowered to 21848: at most 65535/);
  assert.deepEqual([huge.config.maxAdditionalPeerConnections, huge.config.targetPeerConnections], [48_870, 16_293]);
});

test("adjust splits the pending limit by direction, each at least 1, and none when nobody may connect", () => {
  const split = (target: number, additional: number, pending: number) =>
    pendingOf(pubnet({
      targetPeerConnections: target,
      maxAdditionalPeerConnections: additional,
      maxPendingConnections: pending,
    }));
  assert.deepEqual(split(8, 64, 500), [500, 56, 444]);
  assert.deepEqual(split(0, 1, 10), [10, 1, 9]);
  assert.deepEqual(split(3, 0, 500), [500, 500, 1]);
  assert.deepEqual(split(1, 1, 0), [0, 1, 1]);
  assert.deepEqual(split(0, 0, 500), [500, 0, 0]);
});

test("adjust fits all connections into the file handles: pending first, then all in proportion", () => {
  const raw = { ...pubnet(), maxOutboundPendingConnections: 0, maxInboundPendingConnections: 0 };
  const fit = (fileHandles: number) => adjust(raw, { fileHandles });
  assert.deepEqual(pendingOf(fit(572).config), [500, 56, 444]);
  assert.deepEqual(pendingOf(fit(172).config), [100, 12, 88]);
  assert.match(fit(172).notes.join(), /500 pending connections becomes 100: this process may open 172 files/);
  assert.deepEqual(pendingOf(fit(73).config), [1, 1, 1]);
  const tiny = fit(72).config;
  assert.deepEqual([tiny.targetPeerConnections, tiny.maxAdditionalPeerConnections], [2, 9]);
  assert.deepEqual(pendingOf(tiny), [61, 7, 54]);
});

test("adjust gives a valid configuration for any limits", () => {
  const small = fc.oneof(fc.nat(20), fc.nat(65_535));
  fc.assert(
    fc.property(
      small,
      fc.oneof(fc.constant(-1), small),
      small,
      fc.integer({ min: 3, max: 70_000 }),
      (t, a, p, handles) => {
        const raw = {
          ...pubnet(),
          targetPeerConnections: t,
          maxAdditionalPeerConnections: a,
          maxPendingConnections: p,
          maxOutboundPendingConnections: 0,
          maxInboundPendingConnections: 0,
        };
        const { config } = adjust(raw, { fileHandles: handles });
        assert.deepEqual(validateConfig(config), []);
        const sum = config.targetPeerConnections + config.maxAdditionalPeerConnections;
        // Rounding up may cost a handle per limit.
        if (sum > 0) assert.ok(sum + config.maxPendingConnections <= Math.min(65_535, handles) + 3);
      },
    ),
  );
});

test("flowControlLimits are upstream's: automatic bytes follow the largest transaction", () => {
  assert.equal(maxTransactionBytes({ sorobanTxMaxBytes: undefined }), 102_400);
  assert.equal(maxTransactionBytes({ sorobanTxMaxBytes: 50_000 }), 102_400);
  assert.equal(maxTransactionBytes(pubnet()), 134_096);
  const classic = flowControlLimits(pubnet({ sorobanTxMaxBytes: undefined, maxTxSetSizeOps: 10_000 }));
  for (const [name, value] of Object.entries(classic)) {
    assert.equal(value, DEFAULT_FLOW_CONTROL[name as keyof typeof DEFAULT_FLOW_CONTROL], name);
  }
  assert.deepEqual(Object.keys(classic).sort(), Object.keys(DEFAULT_FLOW_CONTROL).sort());
  assert.equal(flowControlLimits(pubnet(), 200_000).floodBytes, 300_000);
  assert.equal(flowControlLimits(pubnet(), 200_001).floodBytes, 300_001);
  const given = flowControlLimits(pubnet({ flowControl: { floodBytes: 500_000, batchBytes: 50_000 } }), 400_000);
  assert.deepEqual([given.floodBytes, given.batchBytes, given.maxTransactionBytes], [500_000, 50_000, 400_000]);
});

test("impossible combinations are refused with a sentence each", () => {
  const table: [OverlayConfigChanges, RegExp][] = [
    [{ networkPassphrase: "" }, /networkPassphrase is empty/],
    [{ versionStr: "x".repeat(101) }, /longer than the 100 bytes/],
    [{ overlayMinVersion: 43 }, /overlayMinVersion 43 exceeds overlayVersion 42/],
    [{ overlayVersion: 0 }, /overlayVersion is 0/],
    [{ overlayVersion: 2 ** 32 }, /overlayVersion is 4294967296/],
    [{ listeningPort: 65_536 }, /listeningPort is 65536/],
    [{ listeningPort: -1 }, /listeningPort is -1/],
    [{ listeningPort: 1.5 }, /listeningPort is 1.5/],
    [{ listeningHost: "localhost" }, /'localhost' is not an IP address/],
    [{ targetPeerConnections: -1, maxAdditionalPeerConnections: 3 }, /targetPeerConnections is -1/],
    [{ maxPendingConnections: -1 }, /maxPendingConnections is -1/],
    [{ maxOutboundPendingConnections: 400, maxInboundPendingConnections: 400 }, /400 outbound and 400 inbound.*500/],
    [{ preferredPeersOnly: true }, /nobody is preferred/],
    [{ preferredPeers: [{ host: "1.2.3.4", port: 0 }] }, /preferredPeers has 1\.2\.3\.4:0/],
    [{ preferredPeerKeys: [NODE, "SECRET"] }, /preferredPeerKeys has 1 entry that are no node ids/],
    [{ surveyorKeys: ["", ""] }, /surveyorKeys has 2 entries/],
    [{ maxKnownPeers: 2 }, /maxKnownPeers 2 has no room for the 21 configured/],
    [{ idleTimeoutMs: 0 }, /idleTimeoutMs is 0/],
    [{ authenticationTimeoutMs: Infinity }, /authenticationTimeoutMs is Infinity/],
    [{ floodDemandPeriodMs: -5 }, /floodDemandPeriodMs is -5/],
    [{ checkMs: NaN }, /checkMs is NaN/],
    [{ maxTxSetSizeOps: 0 }, /maxTxSetSizeOps is 0/],
    [{ maxBatchWriteCount: 0 }, /maxBatchWriteCount is 0/],
    [{ flowControl: { batchMessages: 201 } }, /batchMessages 201 exceeds floodMessages 200/],
    [{ flowControl: { floodMessages: 201 } }, /totalMessages 201 must exceed floodMessages 201/],
    [{ flowControl: { batchBytes: 1 } }, /batchBytes 1 exceeds floodBytes 0/],
    [{ flowControl: { floodBytes: 300_000 } }, /batchBytes is 0 while floodBytes is 300000/],
    [{ flowControl: { floodBytes: 200_000, batchBytes: 100_000 } }, /is 100000: a transaction of 134096 bytes/],
    [{ flowControl: { floodMessages: 0 } }, /floodMessages is 0/],
    [{ flowControl: { floodBytes: 2 ** 32 } }, /floodBytes is 4294967296/],
  ];
  for (const [changes, sentence] of table) {
    assert.throws(() => pubnet(changes), (error: OverlayError) => {
      assert.ok(isFailure("config_invalid")(error), String(error));
      assert.match(error.message, sentence);
      return true;
    });
  }
  const both = { ...pubnet(), listeningPort: -1, idleTimeoutMs: 0 };
  assert.equal(validateConfig(both).length, 2);
  for (const sentence of validateConfig(both)) assert.match(sentence, /^[a-z].*\.$/);
  assert.throws(() => configure(both, {}, { path: "x.cfg" }), /config_invalid: x\.cfg: listeningPort .*idleTimeoutMs/);
  assert.throws(() => pubnet({ preferredPeerKeys: ["SECRET"] }), (error: Error) => !error.message.includes("SECRET"));
});

test("fromCoreConfig takes what the file says and defaults for the rest", async () => {
  const core = await parseCoreConfig(
    `NETWORK_PASSPHRASE = "Public Global Stellar Network ; September 2015"
     PEER_PORT = 11700
     TARGET_PEER_CONNECTIONS = 20
     MAX_PENDING_CONNECTIONS = 80
     KNOWN_PEERS = ["a.example", "1.2.3.4:17"]
     PREFERRED_PEERS = ["b.example:18"]
     PREFERRED_PEER_KEYS = ["${NODE}"]
     PREFERRED_PEERS_ONLY = true
     SURVEYOR_KEYS = ["$self", "${NODE}"]
     NODE_SEED = "SDQVDISRYN2JXBS7ICL7QJAEKB3HWBJFP2QECXG7GZICAHBK4UNJCWK2 self"
     NODE_IS_VALIDATOR = true
     PEER_TIMEOUT = 60
     PEER_FLOOD_READING_CAPACITY = 150
     OUTBOUND_TX_QUEUE_BYTE_LIMIT = 1000000`,
    "x.cfg",
  );
  const config = fromCoreConfig(core, { closeDelayMs: 1000, flowControl: { batchMessages: 30 } });
  assert.deepEqual([config.listeningPort, config.targetPeerConnections, config.maxAdditionalPeerConnections], [
    11_700,
    20,
    160,
  ]);
  assert.deepEqual(pendingOf(config), [80, 9, 71]);
  assert.deepEqual(config.knownPeers.map(formatAddress), ["a.example:11625", "1.2.3.4:17"]);
  assert.deepEqual(config.preferredPeers.map(formatAddress), ["b.example:18"]);
  assert.deepEqual([config.preferredPeerKeys, config.surveyorKeys], [[NODE], ["$self", NODE]]);
  assert.deepEqual([config.isValidator, config.preferredPeersOnly], [true, true]);
  assert.deepEqual([config.idleTimeoutMs, config.stragglerTimeoutMs, config.closeDelayMs], [60_000, 120_000, 1000]);
  const { floodMessages, batchMessages, outboundTxQueueBytes } = config.flowControl;
  assert.deepEqual([floodMessages, batchMessages, outboundTxQueueBytes], [150, 30, 1_000_000]);
});

test("fromCoreConfig refuses what upstream refuses, and a file without a passphrase", async () => {
  const read = async (text: string) => fromCoreConfig(await parseCoreConfig(text, "x.cfg"), {}, { path: "x.cfg" });
  await assert.rejects(read("PEER_PORT = 1"), /x\.cfg: it has no NETWORK_PASSPHRASE/);
  const network = 'NETWORK_PASSPHRASE = "n"\n';
  await assert.rejects(
    read(network + "PEER_READING_CAPACITY = 200"),
    /totalMessages 200 must exceed floodMessages 200/,
  );
  await assert.rejects(read(network + "FLOW_CONTROL_SEND_MORE_BATCH_SIZE_BYTES = 5"), isFailure("config_invalid"));
  const config = await read(network);
  assert.deepEqual([config.networkPassphrase, config.knownPeers], ["n", []]);
});
