/** Reads a stellar-core configuration file: its network, its peers and what else of it concerns the overlay. */
import { readFileSync } from "node:fs";
import type { OverlayConfig } from "./config.ts";
import { OverlayError } from "./errors.ts";
import { DEFAULT_PEER_PORT, looksLikeNodeId, parsePeerAddress, type PeerAddress } from "./peer_address.ts";

/** One [[VALIDATORS]] entry. */
export interface ConfiguredValidator {
  name: string;
  /** Strkey text "G...". */
  nodeId: string;
  homeDomain: string;
  /** Where it listens, when the entry says so. */
  address?: PeerAddress;
}

/** Settings that mean the same in the file and in `OverlayConfig`; the key of each stands there. */
export type CoreSettings = Partial<
  Pick<
    OverlayConfig,
    | "runStandalone"
    | "allowPrivate"
    | "allowLoopback"
    | "skipConnectionAdjustment"
    | "maxOutboundPendingConnections"
    | "maxInboundPendingConnections"
    | "maxBatchWriteCount"
    | "maxBatchWriteBytes"
    | "floodTxPeriodMs"
    | "floodSorobanTxPeriodMs"
    | "floodAdvertPeriodMs"
    | "floodDemandPeriodMs"
    | "floodDemandBackoffMs"
    | "floodOpRatePerLedger"
    | "floodSorobanRatePerLedger"
    | "maxSlotsToRemember"
    | "surveyPhaseMs"
  >
>;

/** What a configuration file says about the overlay. A setting that is not in the file is left out. */
export interface CoreConfig {
  /** NETWORK_PASSPHRASE. */
  networkPassphrase?: string;
  /** KNOWN_PEERS, then the ADDRESS of validators of other home domains. No address twice. */
  knownPeers: PeerAddress[];
  /** PREFERRED_PEERS, then the ADDRESS of validators of our own home domain. No address twice. */
  preferredPeers: PeerAddress[];
  /** PREFERRED_PEER_KEYS, aliases resolved. */
  preferredPeerKeys: string[];
  preferredPeersOnly?: boolean;
  /**
   * SURVEYOR_KEYS, aliases resolved. An alias of our own seed is a node id only when `nodeIdOfSeed` is given, else "$self"; that
   * is also what a list becomes of which no entry can be used: it must not permit more than was meant.
   */
  surveyorKeys: string[];
  /** Nodes of QUORUM_SET, at any level, and of VALIDATORS; as SURVEYOR_KEYS. Thresholds and qualities are not read. */
  quorumNodes: string[];
  validators: ConfiguredValidator[];
  /** Names of nodes by node id: NODE_NAMES, validators, "KEY name" entries, and ours. */
  names: Map<string, string>;
  /** PEER_PORT. */
  peerPort?: number;
  /** HTTP_PORT of the admin interface; 0 is "off". */
  httpPort?: number;
  /** TARGET_PEER_CONNECTIONS. */
  targetPeerConnections?: number;
  /** MAX_ADDITIONAL_PEER_CONNECTIONS; -1 is "8 times the target". */
  maxAdditionalPeerConnections?: number;
  /** MAX_PENDING_CONNECTIONS. */
  maxPendingConnections?: number;
  /** PEER_AUTHENTICATION_TIMEOUT. */
  authenticationTimeoutMs?: number;
  /** PEER_TIMEOUT. */
  idleTimeoutMs?: number;
  /** PEER_STRAGGLER_TIMEOUT. */
  stragglerTimeoutMs?: number;
  flowControl: {
    /** PEER_READING_CAPACITY. */
    totalMessages?: number;
    /** PEER_TOTAL_READING_CAPACITY_BYTES. */
    totalBytes?: number;
    /** PEER_FLOOD_READING_CAPACITY. */
    floodMessages?: number;
    /** PEER_FLOOD_READING_CAPACITY_BYTES; 0 is "automatic". */
    floodBytes?: number;
    /** FLOW_CONTROL_SEND_MORE_BATCH_SIZE. */
    batchMessages?: number;
    /** FLOW_CONTROL_SEND_MORE_BATCH_SIZE_BYTES; 0 is "automatic". */
    batchBytes?: number;
    /** OUTBOUND_TX_QUEUE_BYTE_LIMIT. */
    outboundTxQueueBytes?: number;
  };
  /** FLOOD_*, MAX_BATCH_WRITE_*, MAX_SLOTS_TO_REMEMBER, RUN_STANDALONE, ALLOW_*_FOR_TESTING and the like. */
  settings: CoreSettings;
  /** NODE_HOME_DOMAIN. */
  nodeHomeDomain?: string;
  /** NODE_IS_VALIDATOR. */
  nodeIsValidator?: boolean;
  /** NODE_SEED when it is a secret "S...". Not enumerable: neither JSON nor a log shows it. */
  readonly nodeSeed?: string;
  /** The file of a NODE_SEED of the form "$FILE:path". */
  nodeSeedFile?: string;
  /** Entries left out, one sentence each. None holds a secret. */
  warnings: string[];
}

/** How to read a configuration. */
export interface CoreConfigOptions {
  /** Strkey node id of a strkey seed; throws when the seed is bad. Needed to resolve an alias of the node's own seed. */
  nodeIdOfSeed?: (seed: string) => string;
}

/** Reads the file at `path` as {@link parseCoreConfig} does. Throws `file_unreadable` and `config_invalid`. */
export async function readCoreConfig(path: string, options: CoreConfigOptions = {}): Promise<CoreConfig> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    const reason = error instanceof TypeError
      ? "it is not UTF-8 text"
      : ({ ENOENT: "no such file", EACCES: "permission denied", EISDIR: "it is a folder" } as Record<string, string>)[
        code
      ] ??
        (code || "reading failed");
    throw new OverlayError({ code: "file_unreadable", path, reason }, { cause: error });
  }
  return await parseCoreConfig(text, path, options);
}

/**
 * Reads the text of a configuration; `path` is for messages. Keys that are not about the overlay are ignored. A peer, key or
 * validator entry that cannot be used is left out with a warning; a setting of the wrong type or range throws
 * `config_invalid`, as does text that is not TOML. Source: stellar-core Config.cpp processConfig, parseValidators.
 */
export async function parseCoreConfig(
  text: string,
  path: string,
  options: CoreConfigOptions = {},
): Promise<CoreConfig> {
  const { parse, TomlError } = await import("smol-toml");
  let table: Record<string, unknown>;
  try {
    table = parse(text, { integersAsBigInt: "asNeeded", unsafeKeyBehaviour: "keep" });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The rest of the message quotes lines of the file, where a secret may stand; so it is no cause either.
    const said = error.message.split("\n")[0].replace("Invalid TOML document: ", "");
    throw new OverlayError({
      code: "config_invalid",
      path,
      reason: `line ${error.line}, column ${error.column}: ${said}`,
    });
  }
  return new ConfigReader(table, text, path, options).read();
}

class ConfigReader {
  readonly #table: Record<string, unknown>;
  readonly #text: string;
  readonly #path: string;
  readonly #options: CoreConfigOptions;
  readonly #warnings: string[] = [];
  /** Node ids by name. BOUNDED: by the file. */
  readonly #aliases = new Map<string, string>();
  readonly #names = new Map<string, string>();

  constructor(table: Record<string, unknown>, text: string, path: string, options: CoreConfigOptions) {
    this.#table = table;
    this.#text = text;
    this.#path = path;
    this.#options = options;
  }

  read(): CoreConfig {
    const nodeHomeDomain = this.#string("NODE_HOME_DOMAIN");
    const ms = (key: string) => {
      const seconds = this.#integer(key, 1, 65535);
      return seconds === undefined ? undefined : seconds * 1000;
    };
    for (const text of this.#strings("NODE_NAMES")) this.#named("NODE_NAMES", text);
    const seed = this.#seed();
    const validators = this.#validators();
    const lists = ["PREFERRED_PEER_KEYS", "SURVEYOR_KEYS"];
    const texts = lists.map((key) => this.#strings(key));
    const keys = this.#keys([
      ...lists.map((key, i): [string, string[]] => [key, texts[i]]),
      ["QUORUM_SET", this.#quorumSet(this.#table.QUORUM_SET, 0)],
    ]);
    if (texts[1].length > 0 && keys[1].length === 0) keys[1].push("$self");
    const known = this.#peers("KNOWN_PEERS"), preferred = this.#peers("PREFERRED_PEERS");
    for (const { address, homeDomain } of validators) {
      if (address) (nodeHomeDomain && homeDomain === nodeHomeDomain ? preferred : known).push(address);
    }
    const count = 0xffff;
    const config: CoreConfig = {
      networkPassphrase: this.#string("NETWORK_PASSPHRASE"),
      knownPeers: distinct(known),
      preferredPeers: distinct(preferred),
      preferredPeerKeys: keys[0],
      preferredPeersOnly: this.#boolean("PREFERRED_PEERS_ONLY"),
      surveyorKeys: keys[1],
      quorumNodes: [...new Set([...keys[2], ...validators.map(({ nodeId }) => nodeId)])],
      validators,
      names: this.#names,
      peerPort: this.#integer("PEER_PORT", 1, 65535),
      httpPort: this.#integer("HTTP_PORT", 0, 65535),
      targetPeerConnections: this.#integer("TARGET_PEER_CONNECTIONS", 0, count),
      maxAdditionalPeerConnections: this.#integer("MAX_ADDITIONAL_PEER_CONNECTIONS", -1, count),
      maxPendingConnections: this.#integer("MAX_PENDING_CONNECTIONS", 0, count),
      authenticationTimeoutMs: ms("PEER_AUTHENTICATION_TIMEOUT"),
      idleTimeoutMs: ms("PEER_TIMEOUT"),
      stragglerTimeoutMs: ms("PEER_STRAGGLER_TIMEOUT"),
      flowControl: withoutUndefined({
        totalMessages: this.#integer("PEER_READING_CAPACITY", 1),
        totalBytes: this.#integer("PEER_TOTAL_READING_CAPACITY_BYTES", 1),
        floodMessages: this.#integer("PEER_FLOOD_READING_CAPACITY", 1),
        floodBytes: this.#integer("PEER_FLOOD_READING_CAPACITY_BYTES", 0),
        batchMessages: this.#integer("FLOW_CONTROL_SEND_MORE_BATCH_SIZE", 1),
        batchBytes: this.#integer("FLOW_CONTROL_SEND_MORE_BATCH_SIZE_BYTES", 0),
        outboundTxQueueBytes: this.#integer("OUTBOUND_TX_QUEUE_BYTE_LIMIT", 1),
      }),
      settings: withoutUndefined<CoreSettings>({
        runStandalone: this.#boolean("RUN_STANDALONE"),
        allowPrivate: this.#boolean("ALLOW_PRIVATE_ADDRESSES_FOR_TESTING"),
        allowLoopback: this.#boolean("ALLOW_LOCALHOST_FOR_TESTING"),
        skipConnectionAdjustment: this.#boolean("ARTIFICIALLY_SKIP_CONNECTION_ADJUSTMENT_FOR_TESTING"),
        maxOutboundPendingConnections: this.#integer("MAX_OUTBOUND_PENDING_CONNECTIONS", 0, count),
        maxInboundPendingConnections: this.#integer("MAX_INBOUND_PENDING_CONNECTIONS", 0, count),
        maxBatchWriteCount: this.#integer("MAX_BATCH_WRITE_COUNT", 1),
        maxBatchWriteBytes: this.#integer("MAX_BATCH_WRITE_BYTES", 1),
        floodTxPeriodMs: this.#integer("FLOOD_TX_PERIOD_MS", 1),
        floodSorobanTxPeriodMs: this.#integer("FLOOD_SOROBAN_TX_PERIOD_MS", 1),
        floodAdvertPeriodMs: this.#integer("FLOOD_ADVERT_PERIOD_MS", 1),
        floodDemandPeriodMs: this.#integer("FLOOD_DEMAND_PERIOD_MS", 1),
        floodDemandBackoffMs: this.#integer("FLOOD_DEMAND_BACKOFF_DELAY_MS", 1),
        floodOpRatePerLedger: this.#rate("FLOOD_OP_RATE_PER_LEDGER"),
        floodSorobanRatePerLedger: this.#rate("FLOOD_SOROBAN_RATE_PER_LEDGER"),
        maxSlotsToRemember: this.#integer("MAX_SLOTS_TO_REMEMBER", 1),
        surveyPhaseMs: minutes(this.#integer("ARTIFICIALLY_SET_SURVEY_PHASE_DURATION_FOR_TESTING", 0, 10_000)),
      }),
      nodeHomeDomain,
      nodeIsValidator: this.#boolean("NODE_IS_VALIDATOR"),
      nodeSeedFile: seed.file,
      warnings: this.#warnings,
    };
    withoutUndefined(config);
    if (seed.secret !== undefined) Object.defineProperty(config, "nodeSeed", { value: seed.secret, enumerable: false });
    return config;
  }

  #invalid(key: string, reason: string): OverlayError {
    const line = this.#text.split("\n").findIndex((text) => new RegExp(`^\\s*"?${key}"?\\s*=`).test(text)) + 1;
    const where = line > 0 ? `line ${line}: ` : "";
    return new OverlayError({ code: "config_invalid", path: this.#path, reason: `${where}${key} ${reason}` });
  }

  #string(key: string): string | undefined {
    const value = this.#table[key];
    if (value === undefined || typeof value === "string") return value;
    throw this.#invalid(key, "is not a string");
  }

  #boolean(key: string): boolean | undefined {
    const value = this.#table[key];
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#invalid(key, "is not true or false");
  }

  #integer(key: string, min: number, max = 0xffffffff): number | undefined {
    const value = this.#table[key];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw this.#invalid(key, `is not a whole number from ${min} to ${max}`);
    }
    return value;
  }

  #rate(key: string): number | undefined {
    const value = this.#table[key];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !(value > 0 && value < Infinity)) {
      throw this.#invalid(key, "is not a number above 0");
    }
    return value;
  }

  #strings(key: string): string[] {
    const value = this.#table[key];
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#invalid(key, "is not a list of strings");
    return value.filter((entry): entry is string => {
      if (typeof entry === "string") return true;
      this.#warnings.push(`${key}: an entry is not a string`);
      return false;
    });
  }

  #peers(key: string): PeerAddress[] {
    return this.#strings(key).flatMap((text) => this.#address(key, text) ?? []);
  }

  #address(where: string, text: string): PeerAddress | undefined {
    try {
      return parsePeerAddress(text, DEFAULT_PEER_PORT);
    } catch (error) {
      if (!(error instanceof OverlayError)) throw error;
      this.#warnings.push(`${where}: ${error.message.replace("bad_address: ", "")}`);
      return undefined;
    }
  }

  /** Takes in "KEY" or "KEY name" and gives the key. */
  #named(where: string, text: string): string | undefined {
    const [nodeId, name] = text.trim().split(/\s+/, 2);
    if (!looksLikeNodeId(nodeId)) {
      // A seed put here by mistake must not be shown.
      this.#warnings.push(`${where}: ${/^S[A-Z2-7]{55}$/.test(nodeId) ? "a seed" : `'${nodeId}'`} is not a node id`);
      return undefined;
    }
    if (name !== undefined) this.#name(where, nodeId, name);
    return nodeId;
  }

  #name(where: string, nodeId: string, name: string): void {
    const other = this.#aliases.get(name);
    if (other !== undefined && other !== nodeId) this.#warnings.push(`${where}: the name '${name}' is already used`);
    else this.#aliases.set(name, nodeId);
    if (!this.#names.has(nodeId)) this.#names.set(nodeId, name);
  }

  /** Aliases may name a node of a later list, so all lists give their names before one is resolved. */
  #keys(lists: [name: string, texts: string[]][]): string[][] {
    const entries = lists.map(([name, texts]) =>
      texts.flatMap((text) => text.startsWith("$") ? text : this.#named(name, text) ?? [])
    );
    return entries.map((list, i) => [
      ...new Set(list.flatMap((text) => {
        if (!text.startsWith("$")) return text;
        const nodeId = this.#aliases.get(text.slice(1));
        if (nodeId === undefined) this.#warnings.push(`${lists[i][0]}: unknown name '${text}'`);
        return nodeId ?? [];
      })),
    ]);
  }

  /** The VALIDATORS of a QUORUM_SET table and of the tables in it. Source: stellar-core Config.cpp loadQset. */
  #quorumSet(table: unknown, level: number): string[] {
    if (typeof table !== "object" || table === null || Array.isArray(table) || level > MAX_QUORUM_NESTING) return [];
    return Object.entries(table).flatMap(([key, value]) => {
      if (key !== "VALIDATORS") return this.#quorumSet(value, level + 1);
      return Array.isArray(value) ? value.filter((text): text is string => typeof text === "string") : [];
    });
  }

  #seed(): { secret?: string; file?: string } {
    const text = this.#string("NODE_SEED")?.trim();
    if (!text) return {};
    if (text.startsWith("$FILE:")) return { file: text.slice("$FILE:".length) };
    const [secret, name] = text.split(/\s+/, 2);
    if (!/^S[A-Z2-7]{55}$/.test(secret)) {
      throw this.#invalid("NODE_SEED", "is not a secret (S and 55 letters or digits)");
    }
    let nodeId = "$self";
    if (this.#options.nodeIdOfSeed) {
      try {
        nodeId = this.#options.nodeIdOfSeed(secret);
      } catch {
        throw this.#invalid("NODE_SEED", "is not a secret: its checksum is wrong");
      }
      this.#names.set(nodeId, name ?? "self");
    }
    for (const alias of new Set([name ?? "self", "self"])) {
      if (!this.#aliases.has(alias)) this.#aliases.set(alias, nodeId);
    }
    return { secret };
  }

  #validators(): ConfiguredValidator[] {
    const value = this.#table.VALIDATORS;
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#invalid("VALIDATORS", "is not a list of tables");
    return value.flatMap((entry, i) => {
      const { NAME: name, PUBLIC_KEY: nodeId, HOME_DOMAIN: homeDomain, ADDRESS: at } = Object(entry) as Record<
        string,
        unknown
      >;
      const where = `VALIDATORS entry ${i + 1}${typeof name === "string" ? ` '${name}'` : ""}`;
      if (typeof name !== "string" || typeof nodeId !== "string" || typeof homeDomain !== "string" || !homeDomain) {
        this.#warnings.push(`${where}: needs NAME, PUBLIC_KEY and HOME_DOMAIN`);
        return [];
      }
      if (this.#named(where, nodeId) === undefined) return [];
      this.#name(where, nodeId, name);
      const address = typeof at === "string" ? this.#address(where, at) : undefined;
      return { name, nodeId, homeDomain, ...(address && { address }) };
    });
  }
}

/** Tables below QUORUM_SET that are read. Source: stellar-core QuorumSetUtils.cpp MAXIMUM_QUORUM_NESTING_LEVEL. */
const MAX_QUORUM_NESTING = 4;

function minutes(value: number | undefined): number | undefined {
  return value === undefined ? undefined : value * 60_000;
}

function distinct(addresses: PeerAddress[]): PeerAddress[] {
  return [...new Map(addresses.map((address) => [`${address.host} ${address.port}`, address])).values()];
}

function withoutUndefined<T extends object>(object: T): T {
  for (const [key, value] of Object.entries(object)) if (value === undefined) delete object[key as keyof T];
  return object;
}
