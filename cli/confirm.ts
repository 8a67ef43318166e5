/** Asks before something that cannot be undone. */
import type { CliContext } from "./context.ts";

/** Whether a person on the terminal says yes; Ctrl-C is a no. What is asked must be a question of yes and no. */
export async function confirm(question: string, { io, signal }: CliContext): Promise<boolean> {
  const interrupted = new Promise<string>((resolve) => {
    if (signal.aborted) resolve("");
    signal.addEventListener("abort", () => resolve(""), { once: true });
  });
  const answer = await Promise.race([io.ask(`${question} [y/N] `), interrupted]);
  const yes = !signal.aborted && /^y(es)?$/i.test(answer.trim());
  if (!yes) io.err("nothing is changed\n");
  return yes;
}
