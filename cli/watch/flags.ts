/** The filter that the flags of `watch` mean. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { slotsOf, typesOf, type WatchFilter } from "../../survey/watch/filter.ts";
import type { WatchFlags } from "../commands/watch.ts";
import { UsageError } from "../flags.ts";

/** @throws UsageError naming the flag */
export function filterOf(flags: Pick<WatchFlags, "type" | "peer" | "validator" | "slot">): WatchFilter {
  try {
    return {
      ...(flags.type === undefined ? {} : typesOf(flags.type.flatMap((text) => text.split(",")))),
      peers: flags.peer?.map((text) => nodeId("--peer", text)),
      validators: flags.validator?.map((text) => nodeId("--validator", text)),
      slots: flags.slot === undefined ? undefined : slotsOf(flags.slot),
    };
  } catch (error) {
    if (!(error instanceof OverlayError) || error.failure.code !== "invalid_argument") throw error;
    throw new UsageError(`--${error.failure.argument}: ${error.failure.reason}`);
  }
}

function nodeId(flag: string, text: string): string {
  const id = text.trim().toUpperCase();
  // Not quoted whole: a secret may stand there by mistake.
  if (!/^G[A-Z2-7]{0,55}$/.test(id)) {
    throw new UsageError(`${flag} takes a node id (G...) or its beginning`, describe(text));
  }
  return id;
}

function describe(text: string): string {
  return text.includes(":")
    ? "addresses do not count here; the id of a peer is in the line that says it is connected"
    : "the ids of peers and validators are in the lines";
}
