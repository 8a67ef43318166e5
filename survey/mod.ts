/** What is built on the engine: visits, crawls, and the simulated network they are tested on. */
export { type ConnectPlan, type ConnectResult, connectTarget } from "./probe/connect.ts";
export { DEFAULT_VISIT_TIMEOUTS, type Visit, visit, type VisitPlan, type VisitState } from "./probe/visit.ts";
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
export type { AskState, NodeData, PeerData, SurveyDocument, SurveyedNode } from "./topology/types.ts";
export { surveyGraph } from "./topology/graph.ts";
export { organizationsOfAttributes, parseOrganizations } from "./topology/organizations.ts";
export { type ReportOptions, surveyReport } from "./topology/report.ts";
export type { SurveyReport } from "./topology/report_types.ts";
export { Watcher, type WatcherOptions, type WatchTarget } from "./watch/watcher.ts";
export { WatchModel } from "./watch/model.ts";
export type { WatchEvent, WatchMessage, WatchPeerStatus, WatchRecord } from "./watch/records.ts";
export type { PropagationReport } from "./watch/propagation.ts";
export { loadMessageJson, type MessageJson } from "./watch/xdr_json.ts";
