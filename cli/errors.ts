/** How errors are shown on stderr. */
import { escapeRemoteText } from "../overlay/base/bytes.ts";
import { describeFailure, type OverlayError } from "../overlay/base/errors.ts";

/** `error: FACTS (CODE)` and the hint. */
export function errorText(error: OverlayError, hint = error.hint): string {
  return `error: ${escapeRemoteText(describeFailure(error.failure))} (${error.code})\n${hintLine(hint)}`;
}

/** The next step, when there is one. */
export function hintLine(hint: string): string {
  return hint === "" ? "" : `  hint: ${hint}\n`;
}
