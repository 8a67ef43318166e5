/** `doctor`: why a node does not talk to us, or others to ours; and how we look to whoever calls. */
import { networkInterfaces } from "node:os";
import type { Command } from "commander";
import type { CoreConfig } from "../../overlay/base/core_config.ts";
import { FUTURENET, LOCAL, type Network, PUBNET, TESTNET } from "../../overlay/base/networks.ts";
import { DEFAULT_PEER_PORT, formatAddress, kindOfIp } from "../../overlay/base/peer_address.ts";
import type { Examined } from "../../survey/doctor/doctor.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import {
  duration,
  durationOption,
  type NamedTarget,
  networkOfFlagAndConfig,
  seedFlag,
  targetsOfArguments,
  UsageError,
  wholeNumber,
} from "../flags.ts";
import { openOutFile } from "../io.ts";

/** What the command line says. */
export interface DoctorFlags {
  network?: string;
  seedFile?: string;
  config?: string;
  /** False is --no-config-seed. */
  configSeed: boolean;
  timeout: number;
  listen: number;
  /** False is --no-peers. */
  peers: boolean;
  allowPrivate?: boolean;
  validator?: boolean;
  private?: boolean;
  overlayVersion?: number;
  overlayMin?: number;
  self?: string | true;
  callers?: number;
  for?: number;
  json?: boolean;
  out?: string;
}

/** Addresses of PEERS that are tried. */
const SAMPLED_PEERS = 10;

/** Adds the command to the program. */
export function addDoctor(program: Command, start: Start): void {
  program.command("doctor")
    .description(
      "Find out why a node does not talk to you, or others to yours: a few polite probes, one verdict, one next step.",
    )
    .argument(
      "[target]",
      "host:port or G...@host:port; the port defaults to 11625, with --config to the node of the file",
    )
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: all of these are tried; with --config: its own)",
    )
    .option("--seed-file <file>", "your node's secret (mode 600): finds out whether the target bans that node id")
    .option(
      "-c, --config <file>",
      "your own stellar-core configuration: network, identity, and the target unless given",
    )
    .option("--no-config-seed", "do not take the identity of --config")
    .addOption(durationOption("-t, --timeout <time>", "longest wait for DNS, TCP and each handshake stage", 5000, 1))
    .addOption(
      durationOption("--listen <time>", "longest time to hear SCP messages; --self keeps a caller 5 s longer", 10_000),
    )
    .option("--no-peers", "do not try addresses that the target advertises (at most ten)")
    .option("--allow-private", "try private addresses among them too")
    .option("--validator", "the target should validate: say so when it does not")
    .option("--private", "the target should not be reachable from here: status 0 when it is not")
    .option("--overlay-version <n>", "ask as a node with this highest overlay version", wholeNumber(0, 0xffffffff))
    .option("--overlay-min <n>", "ask as a node with this lowest overlay version", wholeNumber(0, 0xffffffff))
    .optionsGroup("Looking at ourselves:")
    .option("--self [host:port]", "listen there (default 0.0.0.0:11625) and tell how we look to whoever calls")
    .option("--callers <n>", "end after so many callers", wholeNumber(1, 1_000_000))
    .option("--for <time>", "end after this long (default: until Ctrl-C)", duration)
    .optionsGroup("Output:")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/doctor/1, with --self doctor-self/1)")
    .option("-o, --out <file>", "also write the JSON document there")
    .addHelpText(
      "after",
      `
Examples:
  stellar-overlay doctor core-testnet1.stellar.org                     which network, does it relay, does it validate
  stellar-overlay doctor peer.example:11625 -n pubnet --seed-file my.seed   does it ban my node, or is it my clock
  stellar-overlay doctor --config /etc/stellar/stellar-core.cfg        my own node, from this machine
  stellar-overlay doctor --self 11625 -n pubnet                        let others call, and see what they make of us

Exit status by verdict: 0 healthy, 3 it talks but something is wrong, 1 it does not talk. docs/doctor.md lists the verdicts.`,
    )
    .action((target: string | undefined, flags: DoctorFlags) => start((ctx) => runDoctor(target, flags, ctx)));
}

/** Networks that are tried when none is named. */
const USUAL: readonly Network[] = [PUBNET, TESTNET, FUTURENET, LOCAL];

/** Runs the command. */
export async function runDoctor(text: string | undefined, flags: DoctorFlags, ctx: CliContext): Promise<ExitCode> {
  if (flags.self !== undefined) {
    if (text !== undefined) {
      throw new UsageError("--self takes no target", "run it on one machine, and doctor HOST:PORT on another");
    }
    return await runSelf(flags, ctx);
  }
  for (const [flag, value] of [["--callers", flags.callers], ["--for", flags.for]] as const) {
    if (value !== undefined) throw new UsageError(`${flag} goes with --self`);
  }
  const core = await coreConfig(flags.config);
  const target = targetOf(text, core, flags);
  const named = flags.network !== undefined || core?.networkPassphrase !== undefined;
  const networks = named ? [networkOfFlagAndConfig(flags.network, flags.config, core)] : USUAL;
  const own = text === undefined;
  // One's own node must answer to strangers: with its own identity it could only refuse itself.
  const identity = own ? undefined : await identityOf(flags, core, ctx);
  const expected = own && flags.configSeed ? await nodeIdOf(flags, core, ctx) : undefined;
  const versions = versionWindow(flags);
  const file = flags.out === undefined ? undefined : openOutFile(flags.out, { live: false });

  const [{ examine, doctorDocument }, { localNodes }, { VERDICTS }, render, { toJson }, { startProgress }] =
    await Promise.all([
      import("../../survey/doctor/doctor.ts"),
      import("../../survey/doctor/probes.ts"),
      import("../../survey/doctor/verdict.ts"),
      import("../render/doctor.ts"),
      import("../render/json.ts"),
      import("../progress.ts"),
    ]);
  using progress = startProgress(ctx.io, ctx.clock);
  const { host, port } = target.address;
  const examined = await examine({
    host,
    about: {
      target: target.text,
      port,
      networks,
      networkGiven: named,
      identityGiven: identity !== undefined,
      expectedNodeId: target.nodeId ?? expected,
      isOwn: flags.config !== undefined,
      expectsValidator: flags.validator ?? (own && core?.nodeIsValidator === true),
      narrowVersions: versions !== undefined,
      private: flags.private ?? false,
    },
    transport: ctx.transport,
    resolver: ctx.resolver,
    clock: ctx.clock,
    random: ctx.random,
    localFor: localNodes({
      clock: ctx.clock,
      random: ctx.random,
      seed: identity,
      versions,
      listeningPort: core?.peerPort,
    }),
    timeouts: { connectMs: flags.timeout, stageMs: flags.timeout },
    listenMs: flags.listen,
    samplePeers: flags.peers ? SAMPLED_PEERS : 0,
    allowPrivate: flags.allowPrivate ?? false,
    signal: ctx.signal,
    onStep: (step) => progress.show(() => `${target.text}: ${step}`),
    onStage: (question, stage) => progress.show(() => `${target.text}: ${formatAddress(question.to)} ${stage}`),
  });
  progress[Symbol.dispose]();

  const document = toJson(doctorDocument(examined)) + "\n";
  ctx.io.out(flags.json ? document : render.renderDoctor(doctorDocument(examined), ctx.io, ctx.env));
  file?.write(document);
  file?.finish();
  return exitOf(examined, VERDICTS);
}

function exitOf(
  { diagnosis, evidence }: Examined,
  severities: Record<string, "healthy" | "attention" | "broken">,
): ExitCode {
  if (evidence.interrupted) return EXIT.interrupted;
  if (evidence.case.private) {
    const { ok } = diagnosis.findings.find((finding) => finding.code === "private")!;
    return ok === null ? EXIT.partial : ok ? EXIT.ok : EXIT.failed;
  }
  const severity = severities[diagnosis.verdict];
  return severity === "healthy" ? EXIT.ok : severity === "attention" ? EXIT.partial : EXIT.failed;
}

async function coreConfig(path: string | undefined): Promise<CoreConfig | undefined> {
  if (path === undefined) return undefined;
  const { readCoreConfig } = await import("../../overlay/base/core_config.ts");
  return await readCoreConfig(path);
}

/** The target: as given, else the node of the configuration on this machine. */
function targetOf(text: string | undefined, core: CoreConfig | undefined, flags: DoctorFlags): NamedTarget {
  if (text !== undefined) return targetsOfArguments([text])[0];
  if (flags.config === undefined) {
    throw new UsageError("no target given", "give host:port, or --config FILE for your own node, or --self");
  }
  return targetsOfArguments([`127.0.0.1:${core?.peerPort ?? DEFAULT_PEER_PORT}`])[0];
}

/** The identity to ask with: that of the seed file, or of the configuration. Undefined: a fresh one. */
async function identityOf(
  flags: DoctorFlags,
  core: CoreConfig | undefined,
  ctx: CliContext,
): Promise<Uint8Array | undefined> {
  if (flags.seedFile !== undefined) return seedFlag(flags.seedFile);
  const { identityOf: decide } = await import("../run/identity.ts");
  const identity = decide({ config: flags.config, configSeed: flags.configSeed }, core, ctx.random);
  return identity.origin === "fresh" ? undefined : identity.seed;
}

/** The node id that the configuration's own node must have. */
async function nodeIdOf(
  flags: DoctorFlags,
  core: CoreConfig | undefined,
  ctx: CliContext,
): Promise<string | undefined> {
  const seed = await identityOf(flags, core, ctx);
  if (seed === undefined) return undefined;
  const [{ signingKey }, { encodeNodeId }] = await Promise.all([
    import("../../overlay/crypto/primitives.ts"),
    import("../../overlay/crypto/strkey.ts"),
  ]);
  return encodeNodeId(signingKey(seed).publicKey);
}

/** The window to ask with; undefined when every version will do. Both together may be anything, for tests of a node. */
function versionWindow(
  { overlayVersion: max, overlayMin: min }: DoctorFlags,
): { min: number; max: number } | undefined {
  if (max === undefined && min === undefined) return undefined;
  return { min: min ?? Math.min(1, max!), max: max ?? Math.max(1000, min!) };
}

/** Runs `doctor --self`. */
async function runSelf(flags: DoctorFlags, ctx: CliContext): Promise<ExitCode> {
  const core = await coreConfig(flags.config);
  const named = flags.network !== undefined || core?.networkPassphrase !== undefined;
  const first = named ? networkOfFlagAndConfig(flags.network, flags.config, core) : PUBNET;
  const networks = [first, ...USUAL.filter((network) => network.passphrase !== first.passphrase)];
  const [{ listenAddress }, { listenToCallers }, { LocalNode }, render, { toJson }, { startProgress }] = await Promise
    .all([
      import("../run/settings.ts"),
      import("../../survey/doctor/self.ts"),
      import("../../overlay/peer/local_node.ts"),
      import("../render/doctor_self.ts"),
      import("../render/json.ts"),
      import("../progress.ts"),
    ]);
  const isLocal = first.passphrase === LOCAL.passphrase;
  const defaults = { host: isLocal ? "127.0.0.1" : "0.0.0.0", port: core?.peerPort ?? DEFAULT_PEER_PORT };
  const at = typeof flags.self === "string" ? listenAddress("--self", flags.self, defaults) : defaults;
  const seed = await identityOf(flags, core, ctx) ?? ctx.random.bytes(32);
  const { clock, random, io } = ctx;
  const file = flags.out === undefined ? undefined : openOutFile(flags.out, { live: false });
  /** BOUNDED: by the networks. */
  const locals = new Map<string, InstanceType<typeof LocalNode>>();
  const checker = new LocalNode({ passphrase: first.passphrase, clock, random });
  using progress = startProgress(io, clock);
  let callers = 0;
  const report = await listenToCallers({
    at,
    transport: ctx.transport,
    clock,
    random,
    networks,
    localFor: (network, listeningPort) => {
      let local = locals.get(network.passphrase);
      if (local === undefined) {
        local = new LocalNode({ passphrase: network.passphrase, clock, random, seed, listeningPort });
        locals.set(network.passphrase, local);
      }
      return local;
    },
    checkerFor: () => checker,
    ownHosts: ownHosts(at.host),
    // A doctor elsewhere that listens as long must not see us leave.
    stayMs: flags.listen + 5000,
    maxCallers: flags.callers ?? Infinity,
    forMs: flags.for,
    signal: ctx.signal,
    onListening: (address, nodeId) => progress.log(render.listening(address, nodeId, networks[0], ownHosts(at.host))),
    onOwnDials: (dials) => {
      if (!flags.json) io.out(render.renderOwnDials(dials, io, ctx.env));
      progress.show(() => `waiting for callers; ${callers} so far; Ctrl-C ends it`);
    },
    onCaller: (caller) => {
      callers++;
      if (!flags.json) io.out(render.renderCaller(caller, io, ctx.env));
    },
  });
  progress[Symbol.dispose]();
  const document = toJson(render.selfDocument(report)) + "\n";
  if (flags.json) io.out(document);
  file?.write(document);
  file?.finish();
  const works = report.ownDials.every((dial) => dial.ok);
  return !works ? EXIT.failed : report.callers.every(render.isFine) ? EXIT.ok : EXIT.partial;
}

/** The addresses of this machine where a listener on `host` should answer. */
function ownHosts(host: string): string[] {
  if (kindOfIp(host) !== "unspecified") return [host];
  const v6 = host.includes(":");
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  const hosts = all.filter((entry) => entry.family === "IPv4" || (v6 && !entry.address.startsWith("fe80"))).map((
    entry,
  ) => entry.address);
  return [...new Set(["127.0.0.1", ...hosts])];
}
