import { test } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromCoreConfig } from "./config.ts";
import { parseCoreConfig, readCoreConfig } from "./core_config.ts";
import { isFailure, OverlayError } from "./errors.ts";
import { formatAddress } from "./peer_address.ts";

// The seed and keys are those of stellar-core's published example.
const SEED = "SBI3CZU7XZEWVXU7OZLW5MMUQAP334JFOPXSLTPOH43IRTEQ2QYXU5RG";
const ELIZA = "GA22N4YGO7IJDRF2SISA5KHULGYYKDXBQGYIWUVNMSNHF5G2DNBKP3M5";
const HAL = "GCDENOCHA6TQL6DFC4FS54HIH7RP7XR7VZCQZFANMGLT2WXJ7D7KGV2P";
const PREFERRED = "GBKXI3TVIFHD6QDSNMUOTJFDWHDYDVRRPWIHN4IM2YFXIUEWDTY7DSSI";
const NAMED = "GBDOAYUPGQCPLJCP2HYJQ4W3ADODJFZISHRBQTQB7SFVR4BRUX46RYIP";
const OTHER = "GDKXE2OZMJIPOSLNA6N6F2BVCI3O777I2OOC4BV7VOYUEHYX7RTRYA7Y";

const EXAMPLE = `
# after stellar-core's docs/stellar-core_example.cfg
LOG_FILE_PATH="stellar-core-{datetime:%Y-%m-%d_%H-%M-%S}.log"
DATABASE="sqlite3://stellar.db"
HTTP_PORT=11626
PUBLIC_HTTP_PORT=false
COMMANDS=[
"ll?level=info&partition=Herder"
]
NODE_NAMES=[
 "${ELIZA}  eliza",
 "${HAL}  hal9000"
]
NETWORK_PASSPHRASE="Public Global Stellar Network ; September 2015"
PEER_PORT=11725
TARGET_PEER_CONNECTIONS=8
MAX_ADDITIONAL_PEER_CONNECTIONS=-1
MAX_PENDING_CONNECTIONS=500
PEER_AUTHENTICATION_TIMEOUT=2
PEER_TIMEOUT=30
PEER_STRAGGLER_TIMEOUT=120
FLOOD_OP_RATE_PER_LEDGER = 1.0
PEER_FLOOD_READING_CAPACITY = 200
FLOW_CONTROL_SEND_MORE_BATCH_SIZE_BYTES = 0
PREFERRED_PEERS=["127.0.0.1:7000","127.0.0.1:8000"]
PREFERRED_PEER_KEYS=[
"${PREFERRED}",
"${NAMED} optional_common_name",
"$eliza"]
PREFERRED_PEERS_ONLY=false
SURVEYOR_KEYS=["${PREFERRED}", "$optional_common_name", "$self"]
KNOWN_PEERS=[
"core-testnet1.stellar.org",
"core-testnet2.stellar.org",
"core-testnet3.stellar.org"]
NODE_SEED="${SEED} self"
NODE_IS_VALIDATOR=false
NODE_HOME_DOMAIN="us.example"
UNKNOWN_SETTING = 1
[QUORUM_SET]
THRESHOLD_PERCENT=66
[QUORUM_SET.1]
VALIDATORS=["$self"]
[[HOME_DOMAINS]]
HOME_DOMAIN="testnet.stellar.org"
QUALITY="HIGH"
[[VALIDATORS]]
NAME="sdf testnet 1"
HOME_DOMAIN="testnet.stellar.org"
PUBLIC_KEY="${OTHER}"
ADDRESS="core-testnet1.stellar.org"
HISTORY="curl -sf http://history.stellar.org/prd/core-testnet/core_testnet_001/{0} -o {1}"
[[VALIDATORS]]
NAME="ours"
HOME_DOMAIN="us.example"
PUBLIC_KEY="${HAL}"
ADDRESS="core2.us.example:11700"
`;

test("parseCoreConfig reads stellar-core's example", async () => {
  const config = await parseCoreConfig(EXAMPLE, "core.cfg");
  assert.deepEqual(config.warnings, []);
  assert.equal(config.networkPassphrase, "Public Global Stellar Network ; September 2015");
  assert.deepEqual(config.knownPeers.map(formatAddress), [
    "core-testnet1.stellar.org:11625",
    "core-testnet2.stellar.org:11625",
    "core-testnet3.stellar.org:11625",
  ]);
  assert.deepEqual(config.preferredPeers.map(formatAddress), [
    "127.0.0.1:7000",
    "127.0.0.1:8000",
    "core2.us.example:11700",
  ]);
  assert.deepEqual(config.preferredPeerKeys, [PREFERRED, NAMED, ELIZA]);
  assert.deepEqual(config.surveyorKeys, [PREFERRED, NAMED, "$self"]);
  assert.deepEqual(config.quorumNodes, ["$self", OTHER, HAL]);
  assert.equal(config.preferredPeersOnly, false);
  assert.equal(config.nodeIsValidator, false);
  assert.deepEqual([config.peerPort, config.httpPort], [11725, 11626]);
  assert.deepEqual(
    [config.targetPeerConnections, config.maxAdditionalPeerConnections, config.maxPendingConnections],
    [8, -1, 500],
  );
  assert.deepEqual(
    [config.authenticationTimeoutMs, config.idleTimeoutMs, config.stragglerTimeoutMs],
    [2000, 30_000, 120_000],
  );
  assert.deepEqual(config.flowControl, { floodMessages: 200, batchBytes: 0 });
  assert.deepEqual(config.validators.map((v) => [v.name, v.nodeId, v.homeDomain, v.address?.port]), [
    ["sdf testnet 1", OTHER, "testnet.stellar.org", 11625],
    ["ours", HAL, "us.example", 11700],
  ]);
  assert.equal(config.names.get(ELIZA), "eliza");
  assert.equal(config.names.get(OTHER), "sdf testnet 1");
});

test("parseCoreConfig keeps the seed and never shows it", async () => {
  const config = await parseCoreConfig(EXAMPLE, "core.cfg");
  assert.equal(config.nodeSeed, SEED);
  assert.ok(!JSON.stringify(config).includes(SEED));
  assert.ok(!Object.keys(config).includes("nodeSeed"));
  const own = await parseCoreConfig(EXAMPLE, "core.cfg", { nodeIdOfSeed: (seed) => seed === SEED ? OTHER : "" });
  assert.deepEqual(own.surveyorKeys, [PREFERRED, NAMED, OTHER]);
  const file = await parseCoreConfig(`NODE_SEED="$FILE:/etc/stellar/node_seed"`, "core.cfg");
  assert.deepEqual([file.nodeSeed, file.nodeSeedFile], [undefined, "/etc/stellar/node_seed"]);
  const texts = [
    `NODE_SEED="${SEED} self"\nPEER_PORT=`,
    `NODE_SEED="${SEED}`,
    `NODE_SEED=${SEED}`,
    `NODE_SEED="${SEED}A"`,
    `PEER_PORT="${SEED}"`,
  ];
  for (const text of texts) {
    await assert.rejects(parseCoreConfig(text, "core.cfg"), (error: OverlayError) => {
      assert.ok(isFailure("config_invalid")(error), text);
      assert.ok(!`${error.message} ${error.stack} ${error.cause}`.includes(SEED), error.message);
      return true;
    });
  }
  const misplaced = await parseCoreConfig(`PREFERRED_PEER_KEYS=["${SEED}"]`, "core.cfg");
  assert.deepEqual(misplaced.warnings, ["PREFERRED_PEER_KEYS: a seed is not a node id"]);
});

test("parseCoreConfig skips what it cannot use, with a warning", async () => {
  const config = await parseCoreConfig(
    `KNOWN_PEERS=["1.2.3.4", "1.2.3.4:11625", "256.1.1.1", "1.2.3.4/24", 7, "ok.example:1"]
PREFERRED_PEERS=["a b"]
PREFERRED_PEER_KEYS=["$nobody", "GXYZ", "${ELIZA} x", "$x"]
SURVEYOR_KEYS=["${HAL} x"]
VALIDATORS=[{NAME="v"}, {NAME="w", PUBLIC_KEY="G", HOME_DOMAIN="d"}, {NAME="y", PUBLIC_KEY="${OTHER}", HOME_DOMAIN="d", ADDRESS="y:"}]`,
    "core.cfg",
  );
  assert.deepEqual(config.knownPeers.map(formatAddress), ["1.2.3.4:11625", "ok.example:1"]);
  assert.deepEqual(config.preferredPeers, []);
  assert.deepEqual(config.preferredPeerKeys, [ELIZA]);
  assert.deepEqual(config.surveyorKeys, [HAL]);
  assert.deepEqual(config.validators, [{ name: "y", nodeId: OTHER, homeDomain: "d" }]);
  const expected = [
    /^VALIDATORS entry 1 'v': needs/,
    /^VALIDATORS entry 2 'w': 'G' is not a node id/,
    /^VALIDATORS entry 3 'y': .*empty/,
    /^PREFERRED_PEER_KEYS: 'GXYZ' is not/,
    /^SURVEYOR_KEYS: the name 'x' is already used/,
    /^PREFERRED_PEER_KEYS: unknown name '\$nobody'/,
    /^KNOWN_PEERS: an entry is not a string/,
    /^KNOWN_PEERS: .*256\.1\.1\.1/,
    /^KNOWN_PEERS: .*mask/,
    /^PREFERRED_PEERS: .*blank/,
  ];
  assert.equal(config.warnings.length, expected.length, config.warnings.join("\n"));
  config.warnings.forEach((warning, i) => assert.match(warning, expected[i]));
});

test("parseCoreConfig gives an empty configuration for an empty file", async () => {
  assert.deepEqual(await parseCoreConfig("", "core.cfg"), {
    knownPeers: [],
    preferredPeers: [],
    preferredPeerKeys: [],
    surveyorKeys: [],
    quorumNodes: [],
    validators: [],
    names: new Map(),
    flowControl: {},
    settings: {},
    warnings: [],
  });
});

test("parseCoreConfig finds the nodes of a quorum set at any level, each once", async () => {
  const config = await parseCoreConfig(
    `[QUORUM_SET]
VALIDATORS=["${HAL} hal", "$nobody", 7]
[QUORUM_SET.1]
VALIDATORS=["$hal", "${OTHER}"]
[QUORUM_SET.1.1]
THRESHOLD_PERCENT=51
VALIDATORS=["${NAMED}"]
`,
    "core.cfg",
  );
  assert.deepEqual([...config.quorumNodes].sort(), [HAL, OTHER, NAMED].sort());
  assert.deepEqual(config.warnings, ["QUORUM_SET: unknown name '$nobody'"]);
  const scalar = await parseCoreConfig("QUORUM_SET=1", "core.cfg");
  assert.deepEqual(scalar.quorumNodes, []);
});

test("a SURVEYOR_KEYS of which no entry can be used permits nobody, rather than the whole quorum", async () => {
  const quorum = `NETWORK_PASSPHRASE="x"\n[QUORUM_SET]\nVALIDATORS=["${HAL}"]`;
  for (const entries of ['"$self"', '"bogus"', '"$nobody", "GXYZ"']) {
    const core = await parseCoreConfig(`SURVEYOR_KEYS=[${entries}]\n${quorum}`, "core.cfg");
    const { surveyorKeys, quorumNodes } = fromCoreConfig(core);
    assert.deepEqual([surveyorKeys, quorumNodes], [["$self"], [HAL]], entries);
  }
  const core = await parseCoreConfig(`SURVEYOR_KEYS=[]\n${quorum}`, "core.cfg");
  assert.deepEqual(fromCoreConfig(core).surveyorKeys, []);
});

test("parseCoreConfig names the line of a setting it refuses", async () => {
  const cases: [string, RegExp][] = [
    ["A=1\nB = = 2", /line 2, column \d+: /],
    ["A=1\nA=2", /line 2, column \d+: /],
    ["\n\nPEER_PORT=0", /line 3: PEER_PORT is not a whole number from 1 to 65535/],
    ["PEER_PORT=70000", /line 1: PEER_PORT/],
    ["PEER_PORT=11111111111111111111", /PEER_PORT|integer/],
    ['PEER_PORT="11625"', /line 1: PEER_PORT/],
    ["PEER_TIMEOUT=1.5", /PEER_TIMEOUT/],
    ["MAX_ADDITIONAL_PEER_CONNECTIONS=-2", /from -1/],
    ['KNOWN_PEERS="1.2.3.4"', /line 1: KNOWN_PEERS is not a list/],
    ["NETWORK_PASSPHRASE=1", /is not a string/],
    ["NODE_IS_VALIDATOR=1", /true or false/],
    ["VALIDATORS=1", /list of tables/],
  ];
  for (const [text, reason] of cases) {
    await assert.rejects(parseCoreConfig(text, "core.cfg"), (error: OverlayError) => {
      assert.ok(isFailure("config_invalid")(error), text);
      assert.match(error.message, reason);
      return true;
    });
  }
});

test("readCoreConfig reads a file, or says why it cannot", async () => {
  const folder = mkdtempSync(join(tmpdir(), "core-config-"));
  try {
    const path = join(folder, "core.cfg");
    writeFileSync(path, EXAMPLE);
    assert.equal((await readCoreConfig(path)).peerPort, 11725);
    await assert.rejects(readCoreConfig(join(folder, "none.cfg")), (error: OverlayError) => {
      assert.ok(isFailure("file_unreadable")(error));
      assert.match(error.message, /no such file/);
      return true;
    });
    await assert.rejects(readCoreConfig(folder), isFailure("file_unreadable"));
    writeFileSync(path, Uint8Array.of(0xff, 0xfe, 0));
    await assert.rejects(readCoreConfig(path), isFailure("file_unreadable"));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("parseCoreConfig maps the keys of flooding, writing, slots and tests, and fromCoreConfig passes them on", async () => {
  const text = `NETWORK_PASSPHRASE="x"
RUN_STANDALONE=true
ALLOW_LOCALHOST_FOR_TESTING=true
ALLOW_PRIVATE_ADDRESSES_FOR_TESTING=true
ARTIFICIALLY_SKIP_CONNECTION_ADJUSTMENT_FOR_TESTING=true
MAX_OUTBOUND_PENDING_CONNECTIONS=7
MAX_INBOUND_PENDING_CONNECTIONS=9
MAX_BATCH_WRITE_COUNT=11
MAX_BATCH_WRITE_BYTES=12000
FLOOD_TX_PERIOD_MS=201
FLOOD_SOROBAN_TX_PERIOD_MS=202
FLOOD_ADVERT_PERIOD_MS=103
FLOOD_DEMAND_PERIOD_MS=204
FLOOD_DEMAND_BACKOFF_DELAY_MS=505
FLOOD_OP_RATE_PER_LEDGER=1.5
FLOOD_SOROBAN_RATE_PER_LEDGER=2
MAX_SLOTS_TO_REMEMBER=24
ARTIFICIALLY_SET_SURVEY_PHASE_DURATION_FOR_TESTING=2
`;
  const core = await parseCoreConfig(text, "core.cfg");
  const expected = {
    runStandalone: true,
    allowPrivate: true,
    allowLoopback: true,
    skipConnectionAdjustment: true,
    maxOutboundPendingConnections: 7,
    maxInboundPendingConnections: 9,
    maxBatchWriteCount: 11,
    maxBatchWriteBytes: 12_000,
    floodTxPeriodMs: 201,
    floodSorobanTxPeriodMs: 202,
    floodAdvertPeriodMs: 103,
    floodDemandPeriodMs: 204,
    floodDemandBackoffMs: 505,
    surveyPhaseMs: 120_000,
    floodOpRatePerLedger: 1.5,
    floodSorobanRatePerLedger: 2,
    maxSlotsToRemember: 24,
  };
  assert.deepEqual(core.settings, expected);
  const config = fromCoreConfig(core) as unknown as Record<string, unknown>;
  for (const [key, value] of Object.entries(expected)) assert.equal(config[key], value, key);
  assert.equal(fromCoreConfig(core, { maxSlotsToRemember: 5 }).maxSlotsToRemember, 5);
});

test("settings that cannot work are refused with a sentence that names the line and the key", async () => {
  const refused = async (line: string, sentence: RegExp) => {
    const text = `NETWORK_PASSPHRASE="x"\n${line}\n`;
    await assert.rejects(
      async () => fromCoreConfig(await parseCoreConfig(text, "core.cfg"), {}, { path: "core.cfg" }),
      (error: unknown) => isFailure("config_invalid")(error) && sentence.test(error.message),
      line,
    );
  };
  await refused("MAX_SLOTS_TO_REMEMBER=0", /line 2: MAX_SLOTS_TO_REMEMBER is not a whole number from 1/);
  await refused("MAX_BATCH_WRITE_COUNT=0", /MAX_BATCH_WRITE_COUNT is not a whole number from 1/);
  await refused("FLOOD_DEMAND_PERIOD_MS=-1", /FLOOD_DEMAND_PERIOD_MS is not a whole number from 1/);
  await refused("FLOOD_OP_RATE_PER_LEDGER=0.0", /line 2: FLOOD_OP_RATE_PER_LEDGER is not a number above 0/);
  await refused('FLOOD_SOROBAN_RATE_PER_LEDGER="fast"', /FLOOD_SOROBAN_RATE_PER_LEDGER is not a number above 0/);
  await refused("RUN_STANDALONE=1", /RUN_STANDALONE is not true or false/);
  await refused(
    "MAX_INBOUND_PENDING_CONNECTIONS=600",
    /600 inbound pending connections exceed maxPendingConnections 500/,
  );
});
