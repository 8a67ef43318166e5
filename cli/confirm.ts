/** Asks before something that cannot be undone. */
import type { CliContext } from "./context.ts";

/** Whether a person on the terminal says yes to a question of yes and no; Ctrl-C is a no. */
export async function confirm(question: string, { io, signal }: CliContext): Promise<boolean> {
  const answer = await io.prompt(`${question} [y/N] `, { hidden: false, signal });
  const yes = !signal.aborted && /^y(es)?$/i.test(answer?.trim() ?? "");
  if (!yes) io.err("nothing is changed\n");
  return yes;
}
