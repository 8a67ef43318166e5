/** What a node of `run` is configured with: the flags of the command line over a stellar-core configuration over a network's preset. */
import { readFileSync } from "node:fs";
import {
  configure,
  fromCoreConfig,
  futurenet,
  type OverlayConfig,
  type OverlayConfigChanges,
  pubnet,
  standalone,
  testnet,
} from "../../overlay/base/config.ts";
import { type CoreConfig, readCoreConfig } from "../../overlay/base/core_config.ts";
import { describeFailure, OverlayError } from "../../overlay/base/errors.ts";
import { LOCAL, type Network } from "../../overlay/base/networks.ts";
import { DEFAULT_PEER_PORT, ipVersion, kindOfIp, parsePeerAddress } from "../../overlay/base/peer_address.ts";
import type { PeerAddress } from "../../overlay/base/peer_address.ts";
import { decodeNodeId, encodeNodeId } from "../../overlay/crypto/strkey.ts";
import { freePort } from "../free_port.ts";
import type { Identity } from "./identity.ts";
import type { Transport } from "../../overlay/transport/transport.ts";
import { networkOfFlagAndConfig, UsageError } from "../flags.ts";

/** The flags that decide about connections. */
export interface NodeFlags {
  network?: string;
  config?: string;
  /** `HOST:PORT`; false is --no-listen. */
  listen?: string | false;
  /** False is --no-dial. */
  dial: boolean;
  peer?: string[];
  prefer?: string[];
  target?: number;
  maxInbound?: number;
  allowPrivate?: boolean;
  validator?: boolean;
  watcher?: boolean;
  /** Node ids, or "self". */
  surveyorKey?: string[];
}

/** A configuration and where it came from. */
export interface NodeSettings {
  network: Network;
  config: OverlayConfig;
  /** The file of --config, read. */
  core: CoreConfig | undefined;
  /** One sentence each, to be shown. */
  warnings: string[];
}

/**
 * The settings that the flags mean. A port 0 is replaced by a free port, since the port is announced to every peer.
 * @throws UsageError, OverlayError `file_unreadable`, `config_invalid`
 */
export async function nodeSettings(flags: NodeFlags, transport: Transport): Promise<NodeSettings> {
  if (flags.validator && flags.watcher) throw new UsageError("--validator and --watcher exclude each other");
  if (flags.listen === false && !flags.dial) {
    throw new UsageError("--no-listen and --no-dial exclude each other: the node would meet nobody", "leave one out");
  }
  const core = flags.config === undefined ? undefined : await readCoreConfig(flags.config);
  const network = networkOfFlagAndConfig(flags.network, flags.config, core);
  const peers = peersOf("--peer", flags.peer), preferred = peersOf("--prefer", flags.prefer);
  const isLocal = network.passphrase === LOCAL.passphrase;
  const changes: OverlayConfigChanges = {
    networkPassphrase: network.passphrase,
    isValidator: flags.validator ? true : flags.watcher ? false : undefined,
    noListen: flags.listen === false ? true : undefined,
    noDial: flags.dial ? undefined : true,
    listeningHost: isLocal ? "127.0.0.1" : undefined,
    ...(typeof flags.listen === "string" ? await listenChanges(flags.listen, transport, isLocal) : {}),
    targetPeerConnections: flags.target,
    maxAdditionalPeerConnections: flags.maxInbound,
    // What peers advertise of other private networks is none of ours, not even on a local one.
    allowPrivate: flags.allowPrivate ? true : isLocal ? false : undefined,
    allowLoopback: isLocal || flags.allowPrivate ? true : undefined,
    surveyorKeys: flags.surveyorKey === undefined ? undefined : surveyorsOf(flags.surveyorKey),
  };
  const given = peers.length + preferred.length > 0;
  const handles = fileHandles();
  if (core === undefined) {
    if (given) Object.assign(changes, { knownPeers: peers, preferredPeers: preferred });
    const config = usage(() => configured(presetOf(network), changes, handles));
    return { network, core, config, warnings: loweredLimits(config, flags.target, flags.maxInbound, handles) };
  }
  if (given) {
    changes.knownPeers = [...core.knownPeers, ...peers];
    changes.preferredPeers = [...core.preferredPeers, ...preferred];
  }
  const config = fromCoreConfig(core, changes, { path: flags.config, fileHandles: handles });
  const target = flags.target ?? core.targetPeerConnections;
  const inbound = flags.maxInbound ?? core.maxAdditionalPeerConnections;
  return {
    network,
    core,
    config,
    warnings: [
      ...core.warnings.map((warning) => `${flags.config}: ${warning}`),
      ...loweredLimits(config, target, inbound, handles),
    ],
  };
}

/** `preset` with `changes`, for a process that may open `handles` files. */
function configured(preset: OverlayConfig, changes: OverlayConfigChanges, handles: number | undefined): OverlayConfig {
  // Naming the limit lets its split by direction be made anew.
  const { maxPendingConnections } = preset;
  return configure(preset, { maxPendingConnections, ...changes }, { fileHandles: handles });
}

/** A sentence for each wish that did not come true. */
function loweredLimits(
  config: OverlayConfig,
  target: number | undefined,
  inbound: number | undefined,
  handles: number | undefined,
): string[] {
  const sentence = (wanted: number | undefined, is: number, what: string) =>
    wanted === undefined || wanted <= is ? [] : [
      `the limit of ${wanted} ${what} is lowered to ${is}: ${config.maxAdditionalPeerConnections} may dial us, and ` +
      `this process may open ${handles ?? "any number of"} files`,
    ];
  return [
    ...sentence(target, config.targetPeerConnections, "outbound peers"),
    ...sentence(inbound, config.maxAdditionalPeerConnections, "inbound peers"),
  ];
}

/** The settings that a network comes with, its first peers included. */
export function presetOf(network: Network): OverlayConfig {
  switch (network.name) {
    case "pubnet":
      return pubnet();
    case "testnet":
      return testnet();
    case "futurenet":
      return futurenet();
    case "local":
      return standalone();
    case "custom":
      return pubnet({ networkPassphrase: network.passphrase, knownPeers: [] });
  }
}

/** Without a file only flags can be wrong. */
function usage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "config_invalid") {
      throw new UsageError(error.failure.reason);
    }
    throw error;
  }
}

/** The keys of --surveyor-key, which replace those of a configuration. @throws UsageError */
function surveyorsOf(texts: readonly string[]): string[] {
  return texts.map((text) => {
    if (text === "self") return "$self";
    try {
      return encodeNodeId(decodeNodeId(text));
    } catch {
      // Not quoted: a secret may stand there by mistake.
      throw new UsageError("--surveyor-key takes a node id (G...), or self");
    }
  });
}

function peersOf(flag: string, texts: readonly string[] = []): PeerAddress[] {
  return texts.map((text) => {
    try {
      return parsePeerAddress(text);
    } catch (error) {
      if (error instanceof OverlayError) {
        throw new UsageError(`${flag}: ${describeFailure(error.failure)}`, error.hint);
      }
      throw error;
    }
  });
}

/** An address to listen on: `HOST:PORT`, `HOST`, `PORT` or `:PORT`. Port 0 asks the system. @throws UsageError naming `flag` */
export function listenAddress(
  flag: string,
  text: string,
  defaults: { host: string; port: number },
): { host: string; port: number } {
  const wrong = (reason: string) =>
    new UsageError(`${flag} ${text}: ${reason}`, "write an IP address and a port: 0.0.0.0:11625, [::]:11625 or 11625");
  const bare = /^:?(\d+)$/.exec(text);
  const zero = /^(.*):0$/.exec(text);
  if (bare !== null) {
    if (Number(bare[1]) > 65535) throw wrong("the port is above 65535");
    return { host: defaults.host, port: Number(bare[1]) };
  }
  let address: PeerAddress;
  try {
    // Port 0 is no address of a peer.
    address = parsePeerAddress(zero === null ? text : zero[1], defaults.port);
  } catch (error) {
    if (error instanceof OverlayError && error.failure.code === "bad_address") throw wrong(error.failure.reason);
    throw error;
  }
  const host = address.host === "localhost" ? "127.0.0.1" : address.host;
  if (ipVersion(host) === 0) throw wrong("a name cannot be listened on");
  return { host, port: zero === null ? address.port : 0 };
}

async function listenChanges(text: string, transport: Transport, isLocal: boolean): Promise<OverlayConfigChanges> {
  const host = isLocal ? "127.0.0.1" : "0.0.0.0";
  const at = listenAddress("--listen", text, { host, port: DEFAULT_PEER_PORT });
  if (at.port !== 0) return { listeningHost: at.host, listeningPort: at.port };
  return { listeningHost: at.host, listeningPort: await freePort(at.host, transport) };
}

/** How many files this process may have open; undefined where the system does not say. Source: Linux, proc(5). */
export function fileHandles(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}

/** What is known to go wrong before the node starts, a sentence each. `addresses` is the size of the address book. */
export function startWarnings(config: OverlayConfig, identity: Identity, addresses: number): string[] {
  const warnings: string[] = [];
  if (identity.origin === "configuration") {
    warnings.push(
      `this node has the identity of ${identity.path}: no other process may use it meanwhile; --no-config-seed takes a fresh one`,
    );
  }
  const nobody = config.knownPeers.length + config.preferredPeers.length + addresses === 0;
  if (!config.noDial && nobody) {
    warnings.push(
      "nobody to dial: give --peer HOST:PORT" + (config.noListen ? "" : ", or wait for others to call"),
    );
  }
  const kind = kindOfIp(config.listeningHost);
  const isReachable = config.noListen || config.allowPrivate || config.allowLoopback || kind === "unspecified" ||
    kind === "public";
  if (!isReachable) {
    warnings.push(`nobody on the internet can reach ${config.listeningHost}, though peers are told its port`);
  }
  return warnings;
}
