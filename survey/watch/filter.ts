/** Which messages of a watch somebody wants to see. Events of connections are always seen. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { MessageType, type MessageTypeName } from "../../overlay/wire/messages.ts";
import { SCP_STATEMENT_TYPES, type ScpPledges } from "../../overlay/wire/types.ts";
import type { WatchRecord } from "./records.ts";

/** What is wanted; what is absent does not matter. */
export interface WatchFilter {
  types?: ReadonlySet<MessageTypeName>;
  /** Kinds of SCP statements; other types pass by `types` alone. */
  statements?: ReadonlySet<ScpPledges["type"]>;
  /** Beginnings of node ids. */
  peers?: readonly string[];
  /** Beginnings of node ids. With it only SCP messages pass. */
  validators?: readonly string[];
  /** Inclusive. With it only SCP messages pass. */
  slots?: { from: bigint; to: bigint };
}

/** Short names of types. */
const ALIASES: Readonly<Record<string, readonly MessageTypeName[]>> = {
  scp: ["scpMessage"],
  tx: ["transaction"],
  advert: ["floodAdvert"],
  demand: ["floodDemand"],
  txset: ["txSet", "generalizedTxSet"],
  qset: ["scpQuorumset"],
  survey: [
    "timeSlicedSurveyRequest",
    "timeSlicedSurveyResponse",
    "timeSlicedSurveyStartCollecting",
    "timeSlicedSurveyStopCollecting",
  ],
};

/** The names that {@link typesOf} takes, beside those of the .x files. */
export const TYPE_NAMES: readonly string[] = [...Object.keys(ALIASES), ...Object.keys(SCP_STATEMENT_TYPES)];

/**
 * Reads types as people write them: `SCP_MESSAGE`, `scpMessage`, `scp`, or a statement such as `externalize`.
 * @throws OverlayError `invalid_argument`
 */
export function typesOf(texts: readonly string[]): Pick<WatchFilter, "types" | "statements"> {
  const types = new Set<MessageTypeName>(), statements = new Set<ScpPledges["type"]>();
  let whole = false;
  for (const text of texts) {
    const plain = text.trim().replaceAll("_", "").toLowerCase();
    const statement = (Object.keys(SCP_STATEMENT_TYPES) as ScpPledges["type"][]).find((name) => name === plain);
    const named = (Object.keys(MessageType) as MessageTypeName[]).filter((name) => name.toLowerCase() === plain);
    const found = statement !== undefined ? ["scpMessage" as const] : ALIASES[plain] ?? named;
    if (found.length === 0) {
      const reason =
        `${JSON.stringify(text)} is no message type; there are ${TYPE_NAMES.join(", ")}, and names such as ` +
        "GET_SCP_STATE";
      throw new OverlayError({ code: "invalid_argument", argument: "type", reason });
    }
    for (const name of found) types.add(name);
    if (statement !== undefined) statements.add(statement);
    else if (found.includes("scpMessage")) whole = true;
  }
  return { types, statements: whole || statements.size === 0 ? undefined : statements };
}

/** Reads `61234567`, `100-200`, `100-` or `-200`. @throws OverlayError `invalid_argument` */
export function slotsOf(text: string): NonNullable<WatchFilter["slots"]> {
  const match = /^(\d*)(-?)(\d*)$/.exec(text.trim());
  const wrong = (reason: string) => new OverlayError({ code: "invalid_argument", argument: "slot", reason });
  if (match === null || (match[1] === "" && match[3] === "")) {
    throw wrong(`${JSON.stringify(text)} is no slot: write 100 or 100-200`);
  }
  const from = match[1] === "" ? 0n : BigInt(match[1]);
  const to = match[2] === "" ? from : match[3] === "" ? 0xffffffffffffffffn : BigInt(match[3]);
  if (to < from) throw wrong(`${text} ends before it begins`);
  return { from, to };
}

/** Whether a record passes. */
export function passes(filter: WatchFilter, record: WatchRecord): boolean {
  if (record.kind === "status" || record.kind === "ledger") return false;
  if (record.kind !== "message") return true;
  const { types, statements, peers, validators, slots } = filter;
  const { scp } = record;
  if (types !== undefined && !types.has(record.type)) return false;
  if (peers !== undefined && !peers.some((peer) => record.peer.startsWith(peer))) return false;
  if (statements !== undefined && scp !== undefined && !statements.has(scp.statement)) return false;
  if (validators !== undefined && !validators.some((id) => scp?.validator.startsWith(id))) return false;
  if (slots === undefined) return true;
  return scp !== undefined && scp.slot >= slots.from && scp.slot <= slots.to;
}
