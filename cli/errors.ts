/** How errors are shown on stderr. */
import { escapeRemoteText } from "../overlay/base/bytes.ts";
import { describeFailure, type OverlayError, remoteText } from "../overlay/base/errors.ts";

/** `error: FACTS (CODE)`, what a stellar-core said to it, and the hint. */
export function errorText(error: OverlayError, hint = error.hint): string {
  const { failure } = error;
  const said = failure.code.startsWith("core_") ? remoteText(failure) : undefined;
  return `error: ${escapeRemoteText(describeFailure(failure))} (${error.code})\n` +
    (said === undefined ? "" : `  it said: ${escapeRemoteText(said)}\n`) + hintLine(hint);
}

/** The next step, when there is one. */
export function hintLine(hint: string): string {
  return hint === "" ? "" : `  hint: ${hint}\n`;
}
