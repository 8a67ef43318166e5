/** A stored survey as the document that files are written from and analysis reads. */
import type { StoredSurvey, SurveyStore } from "./survey_store.ts";
import { emptyDocument, type SurveyDocument } from "./types.ts";

/** `network`: name or passphrase, as the document shall name it. Nothing is in it that was not stored from an answer. */
export function documentOfStored(store: SurveyStore, survey: StoredSurvey, network: string): SurveyDocument {
  const { nonce, surveyor, version, startedAtMs, stoppedAtMs, own } = survey;
  const document = emptyDocument();
  Object.assign(document, { nonce, surveyor, network });
  if (startedAtMs !== undefined) document.startedAtMs = startedAtMs;
  if (stoppedAtMs !== undefined) document.stoppedAtMs = stoppedAtMs;
  if (own !== undefined) document.nodes.set(surveyor, own);
  if (version !== undefined) document.versions.set(surveyor, version);
  for (const { nodeId, node, state, late } of store.nodes(survey.id)) {
    document.states.set(nodeId, state);
    if (node !== undefined) document.nodes.set(nodeId, node);
    if (late) document.lateJoiners.add(nodeId);
  }
  return document;
}
