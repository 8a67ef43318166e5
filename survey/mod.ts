/** What is built on the engine: visits, crawls, and the simulated network they are tested on. */
export { type ConnectPlan, type ConnectResult, connectTarget } from "./probe/connect.ts";
export { DEFAULT_VISIT_TIMEOUTS, type Visit, visit, type VisitPlan, type VisitState } from "./probe/visit.ts";
export { type DoctorDocument, doctorDocument, type Examination, examine } from "./doctor/doctor.ts";
export { localNodes } from "./doctor/probes.ts";
export { type CallerReport, listenToCallers } from "./doctor/self.ts";
export { CAUSES, diagnose, type Diagnosis, type Verdict, VERDICTS } from "./doctor/verdict.ts";
export type { CaptureRecord } from "./capture/format.ts";
export { Player, playingPrimitives } from "./capture/player.ts";
export { type CaptureItem, readCapture } from "./capture/reader.ts";
export { CaptureRecorder, captureResolver, captureTransport } from "./capture/tap.ts";
export { CaptureView, type ViewEvent } from "./capture/view.ts";
export { CaptureWriter, openCapture } from "./capture/writer.ts";
export { Explainer, type Explanation, loadExplainer } from "./decode/explain.ts";
export { type BudgetLimits, DEFAULT_BUDGET } from "./crawl/budget.ts";
export { crawl, type CrawlOptions, type CrawlProgress, type CrawlReport, storeSink } from "./crawl/crawler.ts";
export { type CrawlDocument, crawlDocument, type CrawlSummary, viewOf } from "./crawl/report.ts";
export type { CrawlVisit } from "./crawl/visit_record.ts";
export { planTwin } from "./twin/plan.ts";
export { type SurveyTruth, surveyTruth } from "./twin/survey_truth.ts";
export { twinTruth } from "./twin/truth.ts";
export { Twin } from "./twin/twin.ts";
export { anonymize, type AnonymizeOptions } from "./topology/anonymize.ts";
export {
  lossesOf,
  printSurvey,
  type ReadableFormat,
  type ReadSurvey,
  readSurvey,
  surveyFiles,
  type SurveyFormat,
} from "./topology/formats.ts";
export { type Disagreement, type Link, type LinkReport, linksOf } from "./topology/links.ts";
export { mergePage } from "./topology/merge.ts";
export { CoreHttp, type CoreHttpOptions } from "./core_http/core_http.ts";
export { type CoreUrl, parseCoreUrl } from "./core_http/core_url.ts";
export type { CoreInfo, CorePeer, CorePeers } from "./core_http/documents.ts";
export type { SurveyResult } from "./topology/survey_result.ts";
export type { AskState, NodeData, PeerData, SurveyDocument, SurveyedNode } from "./topology/types.ts";
export { surveyGraph } from "./topology/graph.ts";
export { organizationsOfAttributes, parseOrganizations } from "./topology/organizations.ts";
export { type ReportOptions, surveyReport } from "./topology/report.ts";
export type { SurveyReport } from "./topology/report_types.ts";
export type {
  BackendNotice,
  OtherSurvey,
  PlannedPage,
  RunningSurvey,
  SurveyAnswer,
  SurveyBackend,
  SurveyPage,
  SurveyStart,
  SurveyStop,
  UnsentPage,
} from "./topology/backend.ts";
export { DirectBackend, type DirectBackendOptions } from "./topology/direct_backend.ts";
export { type PlanCounts, type PlannedNode, type PlannerOptions, SurveyPlanner } from "./topology/planner.ts";
export {
  type SessionEnd,
  type SessionGoal,
  type SessionOptions,
  type SessionProgress,
  SurveySession,
} from "./topology/session.ts";
export { documentOfStored } from "./topology/stored_document.ts";
export { type StoredSurvey, type SurveyRunOptions, SurveyStore } from "./topology/survey_store.ts";
export { type Envelope, inspectEnvelope, type TransactionView } from "./submit/envelope.ts";
export { bytesOfEnvelopeText } from "./submit/envelope_text.ts";
export { submit, submitChanges, type SubmitContext, type SubmitPlan, type SubmitResult } from "./submit/submit.ts";
export { Watcher, type WatcherOptions, type WatchTarget } from "./watch/watcher.ts";
export { WatchModel } from "./watch/model.ts";
export type { WatchEvent, WatchMessage, WatchPeerStatus, WatchRecord } from "./watch/records.ts";
export type { PropagationReport } from "./watch/propagation.ts";
export { loadMessageJson, type MessageJson } from "./watch/xdr_json.ts";
