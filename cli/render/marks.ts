/** Check marks of findings: signs where the terminal shows them, words elsewhere. */
import type { ChalkInstance } from "chalk";
import type { Io } from "../context.ts";

/** Whether stdout shows more than ASCII: a terminal whose locale says UTF-8. Files and pipes get words. */
export function showsSigns(io: Io, env: Record<string, string | undefined>): boolean {
  if (!io.outIsTerminal || env.TERM === "dumb" || env.TERM === "linux") return false;
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || "";
  return /utf-?8/i.test(locale);
}

/** The mark of a finding: good, bad, or neither. All marks of a kind are equally wide. */
export function mark(ok: boolean | null, signs: boolean, c: ChalkInstance): string {
  if (ok === null) return c.dim(signs ? "·" : "-   ");
  if (ok) return c.green(signs ? "✔" : "ok  ");
  return c.red(signs ? "✘" : "FAIL");
}
