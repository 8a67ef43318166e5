/** What `--anonymize` does to a survey before it is written. */
import { toHex } from "../../overlay/base/bytes.ts";
import { anonymize, SAFE_SEED_LENGTH } from "../../survey/topology/anonymize.ts";
import type { SurveyDocument } from "../../survey/topology/types.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../flags.ts";

/** The document under names made from `seed`; "random" takes a fresh seed. A seed that can be guessed is warned about. @throws UsageError */
export function anonymized(
  document: SurveyDocument,
  seed: string,
  { io, random }: Pick<CliContext, "io" | "random">,
  options: { versions?: "release" | "drop" } = {},
): SurveyDocument {
  if (seed === "") throw new UsageError("--anonymize: the seed is empty");
  const fresh = seed === "random";
  if (!fresh && seed.length < SAFE_SEED_LENGTH) {
    io.err(
      `warning: a seed of ${seed.length} characters can be found by trying, and then every name is known again\n` +
        `  hint: use ${SAFE_SEED_LENGTH} random characters or more, or --anonymize random\n`,
    );
  }
  return anonymize(document, fresh ? toHex(random.bytes(32)) : seed, options);
}
