/** Who surveys: a secret from a file, from the environment, or typed at the terminal. Never from an argument, never printed. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { decodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import type { CliContext } from "../context.ts";
import { seedFlag, UsageError } from "../flags.ts";

/** The variable that may hold the secret. */
export const SEED_VARIABLE = "STELLAR_OVERLAY_SEED";

/**
 * The 32-byte seed that the flags mean. Undefined: interrupted at the prompt.
 * @throws UsageError, OverlayError `file_unreadable`, `seed_file_exposed`, `seed_invalid`
 */
export async function surveyorSeed(path: string | undefined, ctx: CliContext): Promise<Uint8Array | undefined> {
  if (path !== undefined) return seedFlag(path);
  const text = ctx.env[SEED_VARIABLE];
  if (text !== undefined && text.trim() !== "") return decodeSecretSeed(text.trim(), SEED_VARIABLE);
  if (!ctx.io.inIsTerminal || !ctx.io.errIsTerminal) {
    throw new UsageError(
      "no identity: nodes answer surveys of those only whom they permit",
      `give --seed-file FILE (mode 600, one S... secret) or set ${SEED_VARIABLE}; on a terminal it is asked for`,
    );
  }
  const typed = await ctx.io.prompt("secret of the surveyor (S..., not shown): ", { hidden: true, signal: ctx.signal });
  if (typed === undefined) return undefined;
  if (typed.trim() === "") {
    throw new OverlayError({ code: "seed_invalid", source: "the prompt", reason: "nothing typed" });
  }
  return decodeSecretSeed(typed.trim(), "the prompt");
}
