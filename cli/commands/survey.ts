/** `survey`: who is connected to whom, by asking the nodes themselves. The commands and their flags; cli/survey does the work. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { ExitCode, Start } from "../context.ts";
import { duration, durationOption, wholeNumber } from "../flags.ts";
import type { OutputFlags } from "../survey/drive.ts";
import type { WhereFlags } from "../survey/settings.ts";
import { addSurveyConvert } from "./survey_convert.ts";
import { addSurveyReport } from "./survey_report.ts";

/** Flags of `run` and `start`. */
export interface SurveyBeginFlags extends WhereFlags, OutputFlags {
  collect: number;
  nonce?: number;
  nodes?: string;
  yes?: boolean;
  wait?: boolean;
  force?: boolean;
  settle?: number;
}

/** Flags of `stop`, `collect` and `attach`. */
export interface SurveyGoOnFlags extends WhereFlags, OutputFlags {
  nonce?: number;
  nodes?: string;
  retry?: boolean;
  settle?: number;
}

/** Flags of `attach` beside those. */
export interface SurveyAttachFlags extends SurveyGoOnFlags {
  phase: "collecting" | "reporting";
  ago: number;
  collect: number;
}

/** Flags of `status`. */
export interface SurveyStatusFlags {
  network?: string;
  config?: string;
  db?: string;
  nonce?: number;
  json?: boolean;
}

/** Longest and shortest collecting that can be asked for, ms. */
const COLLECT_MS = { default: 20 * 60_000, least: 1000, most: 30 * 60_000 };

/** Adds the command and its subcommands to the program. */
export function addSurvey(program: Command, start: Start): void {
  const survey = program.command("survey")
    .description("Ask the nodes of a network who is connected to whom, and what the connections carry.")
    .addHelpText(
      "after",
      `
A survey needs permission: a node answers and relays for the keys in its SURVEYOR_KEYS, or, without such a list, for
the nodes in its transitive quorum. On your own network put the surveyor's node id into SURVEYOR_KEYS of all nodes.
A network can hold one survey at a time, and is blocked for up to 3 h after it. docs/survey.md tells everything.

Examples:
  stellar-overlay survey run 10.0.0.1 10.0.0.2 --network 'my network' --seed-file surveyor.seed --out result
  stellar-overlay survey run --via http://127.0.0.1:11626 --out result
  stellar-overlay survey status --network testnet
  stellar-overlay survey collect --network testnet --seed-file surveyor.seed
  stellar-overlay survey report --db latest`,
    );
  const begin = (name: string, description: string) =>
    output(
      where(
        survey.command(name)
          .description(description)
          .argument(
            "[targets...]",
            "nodes to connect to: host:port or G...@host:port (default: those of --config or of the network)",
          ),
      )
        .addOption(collectOption("how long nodes record, up to 30m"))
        .option("--nonce <n>", "names the survey (default: random)", wholeNumber(0, 0xffffffff))
        .option("--nodes <file>", "ask these node ids too, one per line, beside those that are found")
        .option("-y, --yes", "do not ask before a survey of a public network")
        .option("--wait", "when another survey is active: wait for its end, which may take hours")
        .option(
          "--watch <time>",
          "how long START is given to come back from each peer it is tried with (default: 6s)",
          duration,
        )
        .option("--force", "go on though nobody was seen to pass START on"),
    );
  const goOn = (name: string, description: string, targets = "[targets...]") =>
    output(
      where(
        survey.command(name).description(description)
          .argument(targets, "nodes to connect to (default: those the survey was begun with)"),
      )
        .option("--nodes <file>", "ask these node ids too, one per line"),
    );

  begin("run", "Start a survey, wait, stop it, ask everybody, write the result.")
    .addHelpText(
      "after",
      `
The secret of the surveyor comes from --seed-file, from the variable STELLAR_OVERLAY_SEED, or is asked for.
Ctrl-C keeps everything: survey collect goes on, today or later, as long as the nodes remember (3 h after STOP).`,
    )
    .action((texts: string[], flags: SurveyBeginFlags) =>
      start(async (ctx) => (await import("../survey/commands.ts")).begin(texts, flags, "done", ctx))
    );
  begin("start", "Send START only; survey stop and survey collect do the rest.")
    .action((texts: string[], flags: SurveyBeginFlags) =>
      start(async (ctx) => (await import("../survey/commands.ts")).begin(texts, flags, "started", ctx))
    );
  goOn("stop", "Send STOP of a survey begun here.")
    .option("--nonce <n>", "which survey (default: the newest)", wholeNumber(0, 0xffffffff))
    .action((texts: string[], flags: SurveyGoOnFlags) =>
      start(async (ctx) => (await import("../survey/commands.ts")).goOn(texts, flags, "stopped", ctx))
    );
  goOn("collect", "Go on with a survey begun here: wait for STOP, ask everybody, write the result.")
    .option("--nonce <n>", "which survey (default: the newest)", wholeNumber(0, 0xffffffff))
    .option("--retry", "ask nodes again that did not answer")
    .action((texts: string[], flags: SurveyGoOnFlags) =>
      start(async (ctx) => (await import("../survey/commands.ts")).goOn(texts, flags, "done", ctx))
    );
  output(
    where(
      survey.command("attach")
        .description("Go on with a survey that was begun elsewhere with the same identity.")
        .argument("<nonce>", "the survey's nonce", wholeNumber(0, 0xffffffff))
        .argument("[targets...]", "nodes to connect to"),
    )
      .option("--phase <phase>", "collecting, or reporting: STOP was sent", phase, "reporting")
      .addOption(durationOption("--ago <time>", "how long the phase has lasted", 0))
      .addOption(collectOption("with --phase collecting: STOP is sent that long after START"))
      .option("--nodes <file>", "ask these node ids too, one per line"),
  )
    .action((nonce: number, texts: string[], flags: SurveyAttachFlags) =>
      start(async (ctx) => (await import("../survey/commands.ts")).attach(nonce, texts, flags, ctx))
    );
  survey.command("status")
    .description("Tell where surveys are, and how to go on.")
    .option("-n, --network <name>", "pubnet, testnet, futurenet, local, or a passphrase")
    .option("-c, --config <file>", "take the network from a stellar-core configuration")
    .option("--db <file>", "database file (default: one per network in the user's data directory)")
    .option("--nonce <n>", "only this survey", wholeNumber(0, 0xffffffff))
    .option("--json", "one JSON document on stdout (schema stellar-overlay/survey-status/1)")
    .action((flags: SurveyStatusFlags) =>
      start(async (ctx): Promise<ExitCode> => (await import("../survey/status.ts")).status(flags, ctx))
    );
  addSurveyReport(survey, start, {
    open: async (which, ctx, flags) => (await import("../survey/archive.ts")).databaseArchive.open(which, ctx, flags),
  });
  addSurveyConvert(survey, start);
}

function where(command: Command): Command {
  return command
    .option(
      "-n, --network <name>",
      "pubnet, testnet, futurenet, local, or a passphrase (default: pubnet, or that of --config or --via)",
    )
    .option("-c, --config <file>", "take network and peers from a stellar-core configuration; never its NODE_SEED")
    .option("--seed-file <file>", "the surveyor's identity: a private file (mode 600) with one S... secret")
    .option("--via <url>", "drive a stellar-core's HTTP endpoint instead, such as http://127.0.0.1:11626")
    .option(
      "--connections <n>",
      "connections of our own at most (default: 3, or as many as targets up to 8)",
      wholeNumber(1, 50),
    )
    .option("--allow-private", "dial private and loopback addresses too (networks that are not public: always)")
    .option("-t, --timeout <time>", "how long a first peer, and then the ledger, may take (default: 30s)", duration)
    .option("--db <file>", "database file (default: one per network in the user's data directory)")
    .option("--settle <time>", "wait that long from STOP to the first request (default: 10s)", duration);
}

function output(command: Command): Command {
  return command
    .optionsGroup("Output:")
    .option("-o, --out <dir>", "write result.json, survey.json, graph.graphml, nodes.csv and links.csv there")
    .option("--anonymize <seed>", "write these files under names made from the seed; 'random': a fresh seed")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/survey/1)")
    .option("--ndjson", "one JSON line per answer as it comes, and a last one with the survey");
}

function collectOption(description: string): Option {
  return new Option("--collect <time>", description).argParser(collectTime).default(COLLECT_MS.default, "20m");
}

function collectTime(text: string): number {
  const ms = duration(text);
  if (ms < COLLECT_MS.least || ms > COLLECT_MS.most) {
    throw new InvalidArgumentError("nodes record for 30m at most; write 1s to 30m.");
  }
  return ms;
}

function phase(text: string): string {
  if (text !== "collecting" && text !== "reporting") throw new InvalidArgumentError("write collecting or reporting.");
  return text;
}
