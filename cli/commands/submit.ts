/** `submit`: one signed transaction into the network through overlay peers, and the ledger that includes it. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import { configure } from "../../overlay/base/config.ts";
import { networkLabel, PUBNET } from "../../overlay/base/networks.ts";
import type { SubmitOutcome, SubmitResult } from "../../survey/submit/submit.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { durationOption, readTextFile, unlessInterrupted, UsageError, wholeNumber } from "../flags.ts";

/** What the command line says. */
export interface SubmitFlags {
  network: string;
  peer?: string[];
  peers?: number;
  push?: boolean;
  dryRun?: boolean;
  yes?: boolean;
  timeout: number;
  allowPrivate?: boolean;
  json?: boolean;
}

/** Peers held unless told otherwise. */
const DEFAULT_PEERS = 3;

const STATUS: Record<SubmitOutcome, ExitCode> = {
  "included": EXIT.ok,
  "not-included": EXIT.partial,
  "not-asked": EXIT.failed,
  "refused": EXIT.failed,
  "not-connected": EXIT.failed,
};

/** Adds the command to the program. */
export function addSubmit(program: Command, start: Start): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  program.command("submit")
    .description("Send a signed transaction into the network through overlay peers, and wait for its ledger.")
    .argument("[file]", "a TransactionEnvelope in base64 or hex; '-' or nothing: stdin")
    .argument("[peers...]", "host:port of the peers to send it through, as --peer")
    .option("-n, --network <name>", "pubnet, testnet, futurenet, local, or a passphrase", "pubnet")
    .option(
      "-p, --peer <host:port>",
      "a peer to send it through, may be repeated (default: the network's own)",
      several,
    )
    .option(
      "--peers <n>",
      `peers to be connected to (default: ${DEFAULT_PEERS}, or all that are named)`,
      wholeNumber(1, 50),
    )
    .option("--push", "send it to every peer unasked, instead of waiting for their demand")
    .option("--dry-run", "show and check the transaction, send nothing")
    .option("-y, --yes", "send without asking; needed on pubnet unless a terminal can be asked")
    .addOption(durationOption("-t, --timeout <time>", "longest wait for its ledger", 60_000, 1))
    .option("--allow-private", "dial private and loopback addresses too (local: always)")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/submit/1)")
    .addHelpText(
      "after",
      `
Examples:
  stellar-overlay submit tx.txt --network testnet --dry-run
  stellar-overlay submit tx.txt --network testnet
  echo AAAAAgAAA... | stellar-overlay submit --network testnet --peers 5 --json
  stellar-overlay submit tx.txt 127.0.0.1:11625 --network local --push

Exit status of submit:
  0    included in a ledger (with --dry-run: it may be sent)
  1    refused before it was sent, or nobody took it: no peer, no demand, or an error of every peer
  3    a peer took it, and no ledger included it in time: it may still be included
Everything else is in docs/submit.md.`,
    )
    .action((file: string | undefined, peers: string[], flags: SubmitFlags) =>
      start((ctx) => runSubmit(file, peers, flags, ctx))
    );
}

/** Runs the command. */
export async function runSubmit(
  file: string | undefined,
  peers: string[],
  flags: SubmitFlags,
  ctx: CliContext,
): Promise<ExitCode> {
  const { io, clock } = ctx;
  const [{ nodeSettings }, { bytesOfEnvelopeText }, { inspectEnvelope }, sending, render, { openNodeDatabase }] =
    await Promise.all([
      import("../run/settings.ts"),
      import("../../survey/submit/envelope_text.ts"),
      import("../../survey/submit/envelope.ts"),
      import("../../survey/submit/submit.ts"),
      import("../render/submit.ts"),
      import("../../overlay/db/schema.ts"),
    ]);
  const named = [...peers, ...flags.peer ?? []];
  const wanted = flags.peers ?? (named.length === 0 ? DEFAULT_PEERS : named.length);
  const settings = await nodeSettings({
    network: flags.network,
    dial: true,
    listen: false,
    peer: named,
    target: wanted,
    allowPrivate: flags.allowPrivate,
  }, ctx.transport);
  const { network } = settings;
  // Named peers only: nobody else is told.
  const only = named.length === 0 ? [] : settings.config.knownPeers;
  const config = configure(settings.config, sending.submitChanges(wanted, named.length > 0));

  const envelope = await inspectEnvelope(bytesOfEnvelopeText(await textOf(file, ctx)), {
    network,
    wallMs: clock.wallMs(),
    sorobanTxMaxBytes: config.sorobanTxMaxBytes,
  });
  const about = { network, envelope };
  if (!flags.json) io.out(render.renderEnvelope(about, io));
  else io.err(`hash ${envelope.view.hash} on ${escapeRemoteText(networkLabel(network))}\n`);
  if (envelope.refusal !== undefined) {
    if (flags.json) io.out(render.renderSubmitJson(about, undefined));
    throw new OverlayError(envelope.refusal);
  }
  for (const warning of envelope.warnings) io.err(`warning: ${warning}\n`);
  if (flags.dryRun) {
    if (flags.json) io.out(render.renderSubmitJson(about, undefined));
    else io.err("nothing was sent (--dry-run)\n");
    return EXIT.ok;
  }
  if (only.length + config.knownPeers.length === 0) {
    throw new UsageError(
      `no peer to send it through: network ${networkLabel(network)} has no known ones`,
      "name one with --peer HOST:PORT",
    );
  }
  if (network.passphrase === PUBNET.passphrase && !flags.yes && !await confirmed(ctx)) {
    io.err("nothing was sent\n");
    return ctx.signal.aborted ? EXIT.interrupted : EXIT.failed;
  }

  const { startProgress } = await import("../progress.ts");
  let result: SubmitResult;
  {
    using progress = startProgress(io, clock);
    progress.show(() => "connecting ...");
    const startedMs = clock.nowMs();
    result = await sending.submit(
      { envelope, push: flags.push ?? false, timeoutMs: flags.timeout, named: only },
      {
        config,
        clock,
        random: ctx.random,
        transport: ctx.transport,
        resolver: ctx.resolver,
        signal: ctx.signal,
        database: await openNodeDatabase(":memory:", { networkPassphrase: network.passphrase }),
        onEvent: (event) => {
          const line = render.progressLine(event);
          const atMs = clock.nowMs() - startedMs;
          if (line !== undefined) progress.log(`${(atMs / 1000).toFixed(1).padStart(6)} s  ${line}`);
          progress.show(() => "waiting for its ledger ...");
        },
      },
    );
  }
  io.out(flags.json ? render.renderSubmitJson(about, result) : render.renderSubmit(result, io));
  const { next } = sending.verdictOf(result);
  if (!flags.json && next !== null) io.err(`next: ${next}\n`);
  return result.end === "interrupted" ? EXIT.interrupted : STATUS[result.outcome];
}

async function textOf(file: string | undefined, ctx: CliContext): Promise<string> {
  if (file !== undefined && file !== "-") {
    if (!existsSync(file) && /:\d+$/.test(file)) {
      throw new UsageError(
        `${file}: no such file`,
        `the first argument is the transaction's file: write '- ${file}' or --peer ${file}`,
      );
    }
    return readTextFile(file);
  }
  if (file === undefined && ctx.io.inIsTerminal) {
    throw new UsageError("no transaction given", "name a file, or pipe one in: submit --network testnet < tx.txt");
  }
  return await unlessInterrupted(ctx.io.readInput(), ctx.signal, "the transaction");
}

/** Asks on the terminal. @throws UsageError where nobody can be asked */
async function confirmed(ctx: CliContext): Promise<boolean> {
  const { io, signal } = ctx;
  if (!io.inIsTerminal || !io.errIsTerminal) {
    throw new UsageError(
      "sending on pubnet costs money: nothing is sent without --yes",
      "look at it with --dry-run, then add --yes",
    );
  }
  const answer = await io.prompt("Send it on pubnet, where it costs money? Type yes: ", { hidden: false, signal });
  return answer?.trim().toLowerCase() === "yes";
}
