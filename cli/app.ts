/** The command table, and what happens around every command: context, interruption, errors, exit status. */
import process from "node:process";
import { Command, CommanderError } from "commander";
import { systemClock } from "../overlay/base/clock.ts";
import { OverlayError } from "../overlay/base/errors.ts";
import { escapeRemoteText } from "../overlay/base/bytes.ts";
import { systemRandom } from "../overlay/base/random.ts";
import { VERSION } from "../overlay/base/version.ts";
import { systemResolver, TcpTransport } from "../overlay/transport/tcp.ts";
import { addBan } from "./commands/ban.ts";
import { addConnect } from "./commands/connect.ts";
import { addCrawl } from "./commands/crawl.ts";
import { addDecode } from "./commands/decode.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addPeers } from "./commands/peers.ts";
import { addProxy } from "./commands/proxy.ts";
import { addReplay } from "./commands/replay.ts";
import { addRun } from "./commands/run.ts";
import { addSimulate } from "./commands/simulate.ts";
import { addSubmit } from "./commands/submit.ts";
import { addSurvey } from "./commands/survey.ts";
import { addWatch } from "./commands/watch.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "./context.ts";
import { errorText, hintLine } from "./errors.ts";
import { UsageError } from "./flags.ts";
import { processIo } from "./io.ts";

const EXIT_STATUS_HELP = `
Exit status:
  0    done
  1    failed: nothing asked for could be had
  2    wrong usage
  3    partial: a result was printed, but some targets failed or a limit was hit
  4    no usable seed to start a crawl from
  130  interrupted; what was known is printed
  (docs/exit-codes.md)`;

const EXAMPLES = `
Examples:
  stellar-overlay connect core-testnet1.stellar.org --network testnet
  stellar-overlay crawl --network testnet --listen 10
  stellar-overlay crawl --network pubnet --json --out pubnet.json
  stellar-overlay doctor core-testnet1.stellar.org
  stellar-overlay run --network testnet --metrics 11627
  stellar-overlay ban add GBADNODE... --for 7d --reason "floods us" --network testnet
  stellar-overlay peers list --network testnet --accepting
  stellar-overlay survey run 10.0.0.1 --network 'my network' --seed-file surveyor.seed --out result
  stellar-overlay watch --network testnet --peers 3 --type scp
  stellar-overlay simulate --nodes 60 &  stellar-overlay crawl --network local 127.0.0.2:11625`;

/** The whole command line. `start` gives actions their context. */
export function buildProgram(start: Start): Command {
  const program = new Command("stellar-overlay")
    .description("Shows what the Stellar peer-to-peer network looks like from where you stand.")
    .version(`stellar-overlay ${VERSION}`, "-V, --version", "print name and version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help of a command")
    .exitOverride()
    .showHelpAfterError("(see --help)")
    .configureHelp({ showGlobalOptions: false, helpWidth: Math.min(process.stdout.columns ?? 100, 110) })
    .addHelpText("after", EXIT_STATUS_HELP)
    .addHelpText("after", EXAMPLES);
  addBan(program, start);
  addConnect(program, start);
  addCrawl(program, start);
  addDecode(program, start);
  addDoctor(program, start);
  addPeers(program, start);
  addProxy(program, start);
  addReplay(program, start, buildProgram);
  addRun(program, start);
  addSimulate(program, start);
  addSubmit(program, start);
  addSurvey(program, start);
  addWatch(program, start);
  for (const command of program.commands) {
    for (const one of [command, ...command.commands]) one.addHelpText("after", EXIT_STATUS_HELP);
  }
  return program;
}

/** Parses and runs one command line, then ends the process with its status. Streams are flushed: all writes are synchronous. */
export async function main(argv: string[]): Promise<void> {
  const interruption = new AbortController();
  const io = processIo(process.env, () => process.exit(EXIT.ok));
  let uncaught = (error: unknown): void => process.exit(reportError(error, ctx));
  const ctx: CliContext = {
    io,
    clock: systemClock,
    random: systemRandom,
    transport: new TcpTransport(),
    resolver: systemResolver,
    env: process.env,
    signal: interruption.signal,
    onHangup: (reread) => {
      process.on("SIGHUP", reread);
      return { [Symbol.dispose]: () => void process.removeListener("SIGHUP", reread) };
    },
    onUncaught: (fail) => {
      const before = uncaught;
      uncaught = fail;
      return { [Symbol.dispose]: () => void (uncaught = before) };
    },
  };
  const onSignal = () => {
    if (interruption.signal.aborted) process.exit(EXIT.interrupted);
    interruption.abort();
    if (io.errIsTerminal) io.err("\nfinishing; press Ctrl-C again to stop now\n");
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.on("uncaughtException", (error) => uncaught(error));
  process.on("unhandledRejection", (error) => uncaught(error));

  let status: ExitCode = EXIT.ok;
  const program = buildProgram(async (run) => {
    const { initPrimitives } = await import("../overlay/crypto/primitives.ts");
    await initPrimitives();
    status = await run(ctx);
  });
  try {
    if (argv.length === 0) {
      program.outputHelp({ error: true });
      status = EXIT.usage;
    } else {
      await program.parseAsync(argv, { from: "user" });
    }
  } catch (error) {
    status = reportError(error, ctx);
  }
  process.exit(status);
}

/** Prints an error as facts and hint on stderr; returns the exit status it means. */
export function reportError(error: unknown, ctx: CliContext): ExitCode {
  const { io } = ctx;
  // commander has printed its own message; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof UsageError) {
    io.err(`error: ${escapeRemoteText(error.message)}\n${hintLine(error.hint)}`);
    return EXIT.usage;
  }
  if (error instanceof OverlayError) {
    io.err(errorText(error));
    return error.code === "no_seeds" ? EXIT.noSeeds : error.code === "invalid_argument" ? EXIT.usage : EXIT.failed;
  }
  io.err(`error: unexpected: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
  return EXIT.failed;
}
