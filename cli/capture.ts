/** `--capture FILE` and `--with-secrets` of any command: its transport and clock are listened to, the command itself knows nothing of it. */
import type { Command } from "commander";
import { VERSION } from "../overlay/base/version.ts";
import { CaptureRecorder, captureResolver, captureTransport, type RecordSink } from "../survey/capture/tap.ts";
import { CaptureWriter, openCapture } from "../survey/capture/writer.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./flags.ts";

/** What the command line says. */
export interface CaptureFlags {
  capture?: string;
  withSecrets?: boolean;
}

/** Adds the options to a command. */
export function captureOptions(command: Command): Command {
  return command
    .option("--capture <file>", "append every frame, both ways, to this capture file (docs/capture.md)")
    .option(
      "--with-secrets",
      "put our session secret into the capture, so that its MACs can be checked; whoever has it can forge messages",
    );
}

/** A capture under way. */
export interface Capture {
  /** The command's context, listened to: its transport, resolver and, unless `keepClock`, its clock. */
  ctx: CliContext;
  recorder: CaptureRecorder;
  /** A Curve25519 secret to use, when secrets are wanted in the capture. */
  newSecret(): Uint8Array | undefined;
  /** Writes down the secret that the node with this id uses; nothing for undefined. */
  tellSecret(nodeId: Uint8Array, secret: Uint8Array | undefined): void;
  /** Writes what waits. Call it when nothing is sent or received any more. */
  close(): Promise<void>;
}

/**
 * Begins a capture when the flags ask for one. `network` is a passphrase, or empty. `also` hears every record as well. `still`
 * is the recorder's: for commands that `replay --as` repeats.
 * @throws OverlayError `file_unwritable`, `capture_invalid`; UsageError
 */
export function startCapture(
  flags: CaptureFlags,
  ctx: CliContext,
  about: { command: string; network: string; keepClock?: boolean; still?: boolean; also?: RecordSink },
): Capture | undefined {
  const { capture: path, withSecrets: secret = false } = flags;
  if (path === undefined && secret) {
    throw new UsageError("--with-secrets says what a capture holds: give --capture FILE");
  }
  if (path === undefined && about.also === undefined) return undefined;
  let writer: CaptureWriter | undefined;
  if (path !== undefined) {
    const opened = openCapture(path, { secret });
    if (opened.cut > 0) {
      ctx.io.err(`warning: ${path} ended inside a record; its last ${opened.cut} bytes were cut off\n`);
    }
    if (secret) {
      ctx.io.err(
        `warning: ${path} will hold our SESSION SECRET: whoever reads it can forge messages of these connections while ` +
          "they live. It is readable by you only; share it only when they are over\n",
      );
    }
    writer = new CaptureWriter(opened.output, {
      onFailure: (reason) => ctx.io.err(`warning: nothing more is captured to ${path}: ${reason}; the work goes on\n`),
    });
  }
  const recorder = new CaptureRecorder({
    clock: ctx.clock,
    sink: (record, atUs) => {
      writer?.add(record, atUs);
      about.also?.(record, atUs);
    },
    tool: `stellar-overlay ${VERSION}`,
    command: about.command,
    network: about.network,
    still: about.still,
  });
  return {
    ctx: {
      ...ctx,
      transport: captureTransport(ctx.transport, recorder),
      resolver: captureResolver(ctx.resolver, recorder),
      clock: about.keepClock ? ctx.clock : recorder,
    },
    recorder,
    newSecret: () => secret ? ctx.random.bytes(32) : undefined,
    tellSecret: (nodeId, used) => {
      if (used !== undefined) recorder.secrets(nodeId, used);
    },
    close: async () => await writer?.close(recorder.atUs),
  };
}
