/** What `doctor` shows: a mark, a name and the evidence per finding, then the verdict and the next step. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { DoctorDocument } from "../../survey/doctor/doctor.ts";
import { CAUSES, VERDICTS } from "../../survey/doctor/verdict.ts";
import type { Io } from "../context.ts";
import { mark, showsSigns } from "./marks.ts";
import { paint, wrap } from "./style.ts";

const LABEL = 15;

/** Text for people. */
export function renderDoctor(document: DoctorDocument, io: Io, env: Record<string, string | undefined>): string {
  const c = paint(io.outColour);
  const signs = showsSigns(io, env);
  const width = io.outIsTerminal ? io.columns : undefined;
  const lines: string[] = [];
  const where = document.address === null || document.address === document.target
    ? ""
    : c.dim(` (${document.address})`);
  lines.push(`${c.bold(escapeRemoteText(document.target))}${where}`);
  lines.push(...findingLines(document.findings, signs, width, c));
  const severity = VERDICTS[document.verdict];
  const colour = severity === "healthy" ? c.green : severity === "attention" ? c.yellow : c.red;
  const row = (name: string, text: string) => lines.push(wrap(`${c.dim(name.padEnd(14))} ${text}`, width, 15));
  lines.push("");
  row("verdict", colour(document.verdict));
  if (document.couldAlsoBe.length > 0) {
    row("could also be", document.couldAlsoBe.map((cause) => CAUSES[cause]).join("; "));
  }
  row("next", document.next);
  return lines.join("\n") + "\n";
}

/** One line per finding. */
export function findingLines(
  findings: readonly { code: string; ok: boolean | null; evidence: string }[],
  signs: boolean,
  width: number | undefined,
  c: ReturnType<typeof paint>,
): string[] {
  const indent = (signs ? 5 : 8) + LABEL;
  return findings.map(({ code, ok, evidence }) =>
    wrap(`  ${mark(ok, signs, c)}  ${code.replaceAll("_", " ").padEnd(LABEL)}${evidence}`, width, indent)
  );
}
