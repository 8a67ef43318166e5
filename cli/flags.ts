/** Values of flags: durations, counts, networks, secrets, target lists. Wrong ones are `UsageError`s that name the flag. */
import { readFileSync, statSync } from "node:fs";
import { InvalidArgumentError, Option } from "commander";
import { describeFailure, OverlayError } from "../overlay/base/errors.ts";
import { type Network, NETWORKS, resolveNetwork } from "../overlay/base/networks.ts";
import { parseTarget, type Target } from "../overlay/base/peer_address.ts";
import { decodeNodeId, decodeSecretSeed } from "../overlay/crypto/strkey.ts";
import type { CliContext } from "./context.ts";

/** The command line is wrong: printed with a pointer to --help, exit status 2. */
export class UsageError extends Error {
  constructor(message: string, readonly hint = "see --help") {
    super(message);
    this.name = "UsageError";
  }
}

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads `5`, `5s`, `500ms`, `2m`, `1h`, `7d` as milliseconds; a bare number is seconds. For commander. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim());
  if (match === null) throw new InvalidArgumentError("write seconds, or a number with ms, s, m, h or d.");
  return Number(match[1]) * UNITS[match[2] ?? "s"];
}

/** An option whose value is a duration; help shows its default as people write it. */
export function durationOption(flags: string, description: string, defaultMs: number, leastMs = 0): Option {
  const text = defaultMs % 1000 === 0 ? `${defaultMs / 1000}s` : `${defaultMs}ms`;
  const parse = (value: string) => {
    const ms = duration(value);
    if (ms < leastMs) throw new InvalidArgumentError(`write at least ${leastMs} ms.`);
    return ms;
  };
  return new Option(flags, description).argParser(parse).default(defaultMs, text);
}

/** Reads a whole number within bounds. For commander. */
export function wholeNumber(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || value < low || value > high) {
      throw new InvalidArgumentError(
        high === Number.MAX_SAFE_INTEGER
          ? `write a whole number of at least ${low}.`
          : `write a whole number from ${low} to ${high}.`,
      );
    }
    return value;
  };
}

/** Reads a size such as `1000000`, `500k`, `64MiB`, `1G` as bytes. For commander. */
export function byteSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(i?b)?$/i.exec(text.trim());
  if (match === null) throw new InvalidArgumentError("write bytes, or a number with k, M or G.");
  const base = match[3]?.toLowerCase() === "ib" ? 1024 : 1000;
  return Math.round(Number(match[1]) * base ** ["", "k", "m", "g"].indexOf(match[2].toLowerCase()));
}

/** Reads a node id, `G...`. For commander. */
export function nodeIdText(text: string): string {
  try {
    decodeNodeId(text, "it");
    return text;
  } catch (error) {
    if (!(error instanceof OverlayError)) throw error;
    throw new InvalidArgumentError(`${describeFailure(error.failure)}.`);
  }
}

/** The network of `--network`: a name, or a passphrase. A misspelled name is an error, not a passphrase. */
export function networkFlag(text: string): Network {
  if (text === "auto") {
    throw new UsageError(
      "--network auto: this command needs one network",
      "find out which with: connect HOST --network auto",
    );
  }
  if (text.startsWith("passphrase:")) return resolveNetwork(text.slice("passphrase:".length));
  const network = resolveNetwork(text);
  if (network.name === "custom" && !text.includes(" ")) {
    const names = NETWORKS.map((known) => known.name).join(", ");
    throw new UsageError(
      `--network ${text}: no network of that name`,
      `known names: ${names}, auto; to use it as a passphrase write --network 'passphrase:${text}'`,
    );
  }
  return network;
}

/**
 * The network of `--network` and of a stellar-core configuration, which must agree; pubnet when neither names one.
 * `path` is the configuration's, for the message. @throws UsageError
 */
export function networkOfFlagAndConfig(
  flag: string | undefined,
  path: string | undefined,
  config: { networkPassphrase?: string } | undefined,
): Network {
  const network = flag === undefined ? undefined : networkFlag(flag);
  if (config?.networkPassphrase === undefined) return network ?? resolveNetwork("pubnet");
  const configured = resolveNetwork(config.networkPassphrase);
  if (network !== undefined && network.passphrase !== configured.passphrase) {
    throw new UsageError(`--network ${flag} is not the NETWORK_PASSPHRASE of ${path}`, "leave one of them out");
  }
  return configured;
}

/**
 * The identity of `--seed-file`: the first line that is not empty or a comment holds one S... secret. The file must not be
 * readable by others. Absent: undefined, a fresh identity.
 * @throws OverlayError `file_unreadable`, `seed_file_exposed`, `seed_invalid`
 */
export function seedFlag(path: string | undefined): Uint8Array | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    const mode = statSync(path).mode & 0o777;
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new OverlayError({ code: "seed_file_exposed", path, mode: mode.toString(8).padStart(3, "0") });
    }
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw error instanceof OverlayError ? error : unreadable(path, error);
  }
  const line = text.split(/\r?\n/).map((row) => row.trim()).find((row) => row !== "" && !row.startsWith("#"));
  if (line === undefined) throw new OverlayError({ code: "seed_invalid", source: path, reason: "the file is empty" });
  return decodeSecretSeed(line, path);
}

/** A readable file's text. @throws OverlayError `file_unreadable` */
export function readTextFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): OverlayError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new OverlayError({ code: "file_unreadable", path, reason }, { cause: error });
}

/** One target as the user wrote it, and what it means. */
export interface NamedTarget extends Target {
  text: string;
}

/** Targets from arguments. @throws UsageError */
export function targetsOfArguments(texts: readonly string[]): NamedTarget[] {
  return texts.map((text) => targetOf(text, ""));
}

/**
 * Targets from a file or from stdin: one per line, `#` begins a comment; or the JSON document of an earlier crawl, whose
 * nodes' addresses are taken. @throws UsageError naming the line
 */
export function targetsOfText(text: string, source: string): NamedTarget[] {
  if (text.trimStart().startsWith("{")) return targetsOfCrawl(text, source);
  const targets: NamedTarget[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const entry = line.replace(/#.*/, "").trim().replace(/^["']|["'],?$/g, "");
    if (entry === "") continue;
    targets.push(targetOf(entry, `${source} line ${i + 1}: `));
  }
  return targets;
}

function targetsOfCrawl(text: string, source: string): NamedTarget[] {
  const hint = "give one host:port per line, or the JSON document of a crawl";
  let document: { schema?: unknown; nodes?: unknown };
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${source}: ${(error as Error).message}`, hint);
  }
  const { schema, nodes } = document;
  if (typeof schema !== "string" || !schema.startsWith("stellar-overlay/crawl/") || !Array.isArray(nodes)) {
    throw new UsageError(`${source}: it is JSON, but not the document of a crawl`, hint);
  }
  const addresses = nodes.map((node) => node?.addresses?.[0]).filter((address) => typeof address === "string");
  return addresses.map((address) => targetOf(address, `${source}: `));
}

/** One target; the checksum of its node id is checked too. @throws UsageError */
function targetOf(text: string, where: string): NamedTarget {
  try {
    const target = parseTarget(text);
    if (target.nodeId !== undefined) decodeNodeId(target.nodeId, text);
    return { text, ...target };
  } catch (error) {
    if (error instanceof OverlayError) throw new UsageError(where + describeFailure(error.failure), error.hint);
    throw error;
  }
}

/** Text of `--from`, and what to call it in messages: a path, or `-` for stdin. @throws UsageError, OverlayError `file_unreadable` */
export async function textOfFrom(path: string, ctx: CliContext): Promise<{ text: string; source: string }> {
  if (path !== "-") return { text: readTextFile(path), source: path };
  return { text: await unlessInterrupted(ctx.io.readInput(), ctx.signal), source: "stdin" };
}

/** All targets of `--from`. */
export async function targetsOfFrom(path: string, ctx: CliContext): Promise<NamedTarget[]> {
  const { text, source } = await textOfFrom(path, ctx);
  return targetsOfText(text, source);
}

/** Ends the wait for input at the first Ctrl-C. */
export function unlessInterrupted<T>(work: Promise<T>, signal: AbortSignal, what = "targets"): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new UsageError(`interrupted while reading ${what}`, "end the input with Ctrl-D"));
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject);
  });
}
