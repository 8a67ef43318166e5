/** The surveys of the database, for `survey report --db`. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { networkLabel } from "../../overlay/base/networks.ts";
import { documentOfStored } from "../../survey/topology/stored_document.ts";
import type { StoredSurvey, SurveyStore } from "../../survey/topology/survey_store.ts";
import type { CliContext } from "../context.ts";
import type { SurveyArchive } from "../commands/survey_report.ts";
import { UsageError } from "../flags.ts";
import { networkOfFlags, openSurveyStore } from "./settings.ts";

/** The survey that a text means: "latest", or a nonce. @throws UsageError, OverlayError `survey_unknown` */
export function findSurvey(store: SurveyStore, which: string): StoredSurvey {
  if (which !== "latest" && !/^\d+$/.test(which)) {
    throw new UsageError(`${which}: no survey is named so`, "write latest, or its nonce");
  }
  const found = store.find(which === "latest" ? undefined : Number(which));
  if (found === undefined) throw new OverlayError({ code: "survey_unknown", which });
  return found;
}

/** The database of the network that the flags name. */
export const databaseArchive: SurveyArchive = {
  async open(which: string, ctx: CliContext, flags: { network?: string; dbFile?: string } = {}) {
    const network = await networkOfFlags({ network: flags.network });
    using store = await openSurveyStore(network, { db: flags.dbFile }, ctx);
    const survey = findSurvey(store, which);
    const label = networkLabel(network);
    const document = documentOfStored(store, survey, label);
    const before = store.list().find((other) => other.id < survey.id && other.state === "done");
    return { document, ...(before && { before: documentOfStored(store, before, label) }) };
  },
};
