/** The networks everyone can join: passphrases, ids, and the peers to ask first. */
import { createHash } from "node:crypto";

/** A peer to start from. */
export interface Seed {
  /** `host:port`. */
  address: string;
  /** The node that listens there, strkey text. */
  nodeId: string;
  /** Who runs it. */
  organisation: string;
  /** The domain whose stellar.toml speaks for it, where the source names one. */
  homeDomain?: string;
}

/** The names of the networks built in. */
export type NetworkName = "pubnet" | "testnet" | "futurenet" | "local";

/** A network: nodes agree on the passphrase, and messages carry its hash. */
export interface Network {
  /** One of {@link NetworkName}, or "custom". */
  name: NetworkName | "custom";
  passphrase: string;
  /** Peers to ask first; empty for "local" and "custom". */
  seeds: readonly Seed[];
}

function seeds(
  organisation: string,
  homeDomain: string | undefined,
  ...rows: [host: string, nodeId: string][]
): Seed[] {
  return rows.map(([host, nodeId]) => ({
    address: `${host}:11625`,
    nodeId,
    organisation,
    ...(homeDomain === undefined ? {} : { homeDomain }),
  }));
}

/**
 * The public network. Its first peers are the tier 1 validators.
 * Source: stellar/go ingest/ledgerbackend/configs/captive-core-pubnet.cfg at aab2ea4 (2025-12-10).
 */
export const PUBNET: Network = {
  name: "pubnet",
  passphrase: "Public Global Stellar Network ; September 2015",
  seeds: [
    ...seeds(
      "Stellar Development Foundation",
      undefined,
      ["core-live-a.stellar.org", "GCGB2S2KGYARPVIA37HYZXVRM2YZUEXA6S33ZU5BUDC6THSB62LZSTYH"],
      ["core-live-b.stellar.org", "GCM6QMP3DLRPTAZW2UZPCPX2LF3SXWXKPMP3GKFZBDSF3QZGV2G5QSTK"],
      ["core-live-c.stellar.org", "GABMKJM6I25XI4K7U6XWMULOUQIQ27BCTMLS6BYYSOWKTBUXVRJSXHYQ"],
    ),
    ...seeds(
      "PublicNode",
      "publicnode.org",
      ["bootes.publicnode.org", "GCVJ4Z6TI6Z2SOGENSPXDQ2U4RKH3CNQKYUHNSSPYFPNWTLGS6EBH7I2"],
      ["lyra.publicnode.org", "GCIXVKNFPKWVMKJKVK2V4NK7D4TC6W3BUMXSIJ365QUAXWBRPPJXIR2Z"],
      ["hercules.publicnode.org", "GBLJNN3AVZZPG2FYAYTYQKECNWTQYYUUY2KVFN2OUKZKBULXIXBZ4FCT"],
    ),
    ...seeds(
      "LOBSTR",
      undefined,
      ["v1.stellar.lobstr.co", "GCFONE23AB7Y6C5YZOMKUKGETPIAJA4QOYLS5VNS4JHBGKRZCPYHDLW7"],
      ["v2.stellar.lobstr.co", "GCB2VSADESRV2DDTIVTFLBDI562K6KE3KMKILBHUHUWFXCUBHGQDI7VL"],
      ["v5.stellar.lobstr.co", "GA5STBMV6QDXFDGD62MEHLLHZTPDI77U3PFOD2SELU5RJDHQWBR5NNK7"],
    ),
    ...seeds(
      "Franklin Templeton",
      "www.franklintempleton.com",
      ["stellar1.franklintempleton.com", "GARYGQ5F2IJEBCZJCBNPWNWVDOFK7IBOHLJKKSG2TMHDQKEEC6P4PE4V"],
      ["stellar2.franklintempleton.com", "GCMSM2VFZGRPTZKPH5OABHGH4F3AVS6XTNJXDGCZ3MKCOSUBH3FL6DOB"],
      ["stellar3.franklintempleton.com", "GA7DV63PBUUWNUFAF4GAZVXU2OZMYRATDLKTC7VTCG7AU4XUPN5VRX4A"],
    ),
    ...seeds(
      "SatoshiPay",
      undefined,
      ["stellar-de-fra.satoshipay.io", "GC5SXLNAM3C4NMGK2PXK4R34B5GNZ47FYQ24ZIBFDFOCU6D4KBN4POAE"],
      ["stellar-sg-sin.satoshipay.io", "GBJQUIXUO4XSNPAUT6ODLZUJRV2NPXYASKUBY4G5MYP3M47PCVI55MNT"],
      ["stellar-us-iowa.satoshipay.io", "GAK6Z5UVGUVSEK6PEOCAYJISTT5EJBB34PN3NOLEQG2SUKXRVV2F6HZY"],
    ),
    ...seeds(
      "Creit Technologies",
      "stellar.creit.tech",
      ["alpha.validator.stellar.creit.tech", "GBPLJDBFZO2H7QQH7YFCH3HFT6EMC42Z2DNJ2QFROCKETAPY54V4DCZD"],
      ["beta.validator.stellar.creit.tech", "GDDANSYOYSY5EPSFHBRPCLX6XMHPPLIMHVIDXG6IPQLVVLRI2BN4HMH3"],
      ["gamma.validator.stellar.creit.tech", "GBF7QOLFPTHUEDUPTT4ZTULDTA3QXDIO75JHKJN2IYD7YGQLYUTR75BT"],
    ),
    ...seeds(
      "Blockdaemon",
      undefined,
      ["stellar-full-validator1.bdnodes.net", "GAAV2GCVFLNN522ORUYFV33E76VPC22E72S75AQ6MBR5V45Z5DWVPWEU"],
      ["stellar-full-validator2.bdnodes.net", "GAVXB7SBJRYHSG6KSQHY74N7JAFRL4PFVZCNWW2ARI6ZEKNBJSMSKW7C"],
      ["stellar-full-validator3.bdnodes.net", "GAYXZ4PZ7P6QOX7EBHPIZXNWY4KCOBYWJCA4WKWRKC7XIUS3UJPT6EZ4"],
    ),
  ],
};

/** The test network, reset from time to time. Source: stellar-core docs/stellar-core_testnet.cfg. */
export const TESTNET: Network = {
  name: "testnet",
  passphrase: "Test SDF Network ; September 2015",
  seeds: seeds(
    "Stellar Development Foundation",
    "testnet.stellar.org",
    ["core-testnet1.stellar.org", "GDKXE2OZMJIPOSLNA6N6F2BVCI3O777I2OOC4BV7VOYUEHYX7RTRYA7Y"],
    ["core-testnet2.stellar.org", "GCUCJTIYXSOXKBSNFGNFWW5MUQ54HKRPGJUTQFJ5RQXZXNOLNXYDHRAP"],
    ["core-testnet3.stellar.org", "GC2V2EFSXN6SQTWVYA5EPJPBWWIMSD2XQNKUOHGEKB535AQE2I6IXV2Z"],
  ),
};

/** The network of coming protocol versions. Source: stellar-docs docs/networks, and public configuration files for the key. */
export const FUTURENET: Network = {
  name: "futurenet",
  passphrase: "Test SDF Future Network ; October 2022",
  seeds: seeds("Stellar Development Foundation", undefined, [
    "core-live-futurenet.stellar.org",
    "GBRIF2N52GVN3EXBBICD5F4L5VUFXK6S6VOUCF6T2DWPLOLGWEPPYZTF",
  ]),
};

/** A network on one machine, as stellar/quickstart makes it. Nobody else is on it: no seeds. */
export const LOCAL: Network = { name: "local", passphrase: "Standalone Network ; February 2017", seeds: [] };

/** All networks built in, the most used first. */
export const NETWORKS: readonly Network[] = [PUBNET, TESTNET, FUTURENET, LOCAL];

/** Ids of {@link NETWORKS} in hex: SHA-256 of the passphrase. A test computes them again. */
const NAME_OF_ID: Readonly<Record<string, NetworkName>> = {
  "7ac33997544e3175d266bd022439b22cdb16508c01163f26e5cb2a3e1045a979": "pubnet",
  "cee0302d59844d32bdca915c8203dd44b33fbb7edc19051ea37abedf28ecd472": "testnet",
  "a3a1c6a78286713e29be0e9785670fa838d13917cd8eaeb4a3579ff1debc7fd5": "futurenet",
  "baefd734b8d3e48472cff83912375fedbc7573701912fe308af730180f97d74a": "local",
};

/**
 * The network a user means: a name in any case ("public" and "standalone" are understood), else the passphrase itself.
 * Passphrases of built-in networks give those networks. "auto" is the caller's business.
 */
export function resolveNetwork(nameOrPassphrase: string): Network {
  const alias: Record<string, string> = { public: "pubnet", mainnet: "pubnet", standalone: "local" };
  const lower = nameOrPassphrase.toLowerCase();
  const name = Object.hasOwn(alias, lower) ? alias[lower] : lower;
  const known = NETWORKS.find((network) => network.name === name || network.passphrase === nameOrPassphrase);
  return known ?? { name: "custom", passphrase: nameOrPassphrase, seeds: [] };
}

/** The id of a network in lower-case hex: SHA-256 of the passphrase's UTF-8 bytes. Source: stellar-core Application, networkID. */
export function networkIdOf(passphrase: string): string {
  return createHash("sha256").update(passphrase, "utf8").digest("hex");
}

/** The name to show for an id in hex: a built-in network's, else the id itself. */
export function networkNameOf(networkIdHex: string): string {
  const id = networkIdHex.toLowerCase();
  return Object.hasOwn(NAME_OF_ID, id) ? NAME_OF_ID[id] : id;
}

/** The name of a network, or the passphrase of one that has none. */
export function networkLabel(network: Network): string {
  return network.name === "custom" ? network.passphrase : network.name;
}
