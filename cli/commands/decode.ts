/** `decode`: explains frames and XDR, field by field. */
import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { encodeText } from "../../overlay/base/bytes.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { DecodeInput } from "../../survey/decode/input.ts";
import { type CliContext, EXIT, type ExitCode, type Start } from "../context.ts";
import { UsageError, wholeNumber } from "../flags.ts";

/** What the command line says. */
export interface DecodeFlags {
  type?: string;
  message?: string[];
  connection?: number;
  limit?: number;
  hex?: boolean;
  json?: boolean;
  ndjson?: boolean;
  listTypes?: boolean;
}

/** Adds the command to the program. */
export function addDecode(program: Command, start: Start): void {
  const several = (text: string, before: string[] = []) => [...before, text];
  program.command("decode")
    .description("Explain frames and XDR field by field: where each lies, what it says, and where it is broken.")
    .argument("[input]", "hex, base64, a file (binary, hex, base64, capture, recorded session), or '-' for stdin", "-")
    .option("-t, --type <name>", "the XDR type of bytes that are no frames: StellarMessage, TransactionEnvelope, ...")
    .option("--list-types", "list the types of --type")
    .option("-m, --message <type>", "only frames of this type, such as SCP_MESSAGE; may be repeated", several)
    .option("--connection <n>", "only frames of this connection of a capture", wholeNumber(0))
    .option("--limit <n>", "stop after this many", wholeNumber(1))
    .option("--hex", "a hex dump with the field of every range instead of a tree")
    .option("--json", "one JSON document on stdout (schema stellar-overlay/decode/1)")
    .option("--ndjson", "one JSON line per frame or value")
    .addHelpText(
      "after",
      `
Several frames in one stream are explained one after the other. In a capture with secrets, and in a recorded session, every
MAC is checked. Exit status 3: something in it is broken; the byte and the field are named.

Examples:
  stellar-overlay decode 8000003400000000000000000000000000000002000000c8...   (a frame with its record mark)
  stellar-overlay decode --type TransactionEnvelope AAAAAgAAAA...
  stellar-overlay decode node.cap --message SCP_MESSAGE --limit 3
  xxd -p frame.bin | stellar-overlay decode --hex`,
    )
    .action((input: string, flags: DecodeFlags) => start((ctx) => runDecode(input, flags, ctx)));
}

/** Runs the command. */
export async function runDecode(argument: string, flags: DecodeFlags, ctx: CliContext): Promise<ExitCode> {
  const { io } = ctx;
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  const [{ loadExplainer }, { decodeInput }, { noticeText }, render, { toJson }, { paint }] = await Promise.all([
    import("../../survey/decode/explain.ts"),
    import("../../survey/decode/items.ts"),
    import("../../survey/capture/reader.ts"),
    import("../render/decode.ts"),
    import("../render/json.ts"),
    import("../render/style.ts"),
  ]);
  const explainer = await loadExplainer();
  if (flags.listTypes) {
    io.out(explainer.typeNames().join("\n") + "\n");
    return EXIT.ok;
  }
  const { type } = flags;
  if (type !== undefined && type !== "frame" && !explainer.knows(type)) {
    throw new UsageError(`--type ${type}: no XDR type of that name`, "decode --list-types lists them; case counts");
  }
  const wanted = new Set((flags.message ?? []).map((name) => name.toUpperCase()));
  const input = await readInput(argument, ctx);
  const c = paint(io.outColour);
  const items: unknown[] = [], notices: string[] = [];
  let shown = 0, whole = 0, broken = 0;
  for (const found of decodeInput(explainer, input, { type, path: argument === "-" ? "stdin" : argument })) {
    if (ctx.signal.aborted || io.outClosed) break;
    if ("notice" in found) {
      notices.push(noticeText(found.notice));
      io.err(`warning: ${noticeText(found.notice)}\n`);
      broken++;
      continue;
    }
    const { item } = found;
    if (wanted.size > 0 && !wanted.has(item.title)) continue;
    if (flags.connection !== undefined && item.captured?.connection !== flags.connection) continue;
    const wrong = item.explanation.problem !== undefined || item.captured?.mac === "mac" ||
      item.captured?.mac === "sequence";
    if (wrong) broken++;
    else whole++;
    if (flags.json) items.push(render.itemJson(item));
    else if (flags.ndjson) {
      io.out(toJson({ type: "decoded", ...render.itemJson(item), xdr: item.explanation.type }, 0) + "\n");
    } else io.out((shown > 0 ? "\n" : "") + render.renderItem(item, c, flags.hex ?? false));
    if (++shown === flags.limit) break;
  }
  if (flags.json) {
    const { form, bytes } = input;
    io.out(toJson({ schema: "stellar-overlay/decode/1", form, bytes: bytes.length, items, notices }) + "\n");
  } else if (shown === 0) io.err("nothing to show: no frame fits\n");
  if (ctx.signal.aborted) return EXIT.interrupted;
  return broken === 0 ? EXIT.ok : whole === 0 ? EXIT.failed : EXIT.partial;
}

/** A file of that name wins over text that looks like data. */
async function readInput(argument: string, ctx: CliContext): Promise<DecodeInput> {
  const { decodedText, inputOf } = await import("../../survey/decode/input.ts");
  const checked = (input: DecodeInput): DecodeInput => {
    if (input.bytes.length > 0) return input;
    throw new UsageError("the input is empty", "give hex, base64, a file, or '-' and data on stdin");
  };
  if (argument === "-") {
    const bytes = await (ctx.io.readInputBytes?.() ?? ctx.io.readInput().then(encodeText));
    return checked(inputOf(bytes));
  }
  if (existsSync(argument)) {
    try {
      return checked(inputOf(new Uint8Array(readFileSync(argument))));
    } catch (error) {
      if (error instanceof UsageError) throw error;
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new OverlayError({ code: "file_unreadable", path: argument, reason }, { cause: error });
    }
  }
  const found = decodedText(argument);
  // A wrong path may look like base64, but XDR is whole words.
  if (found === undefined || (found.form === "base64" && found.bytes.length % 4 !== 0)) {
    throw new UsageError(`no file ${argument}, and it is neither hex nor base64`, "'-' reads stdin");
  }
  return found;
}
