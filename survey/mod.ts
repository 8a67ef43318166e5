/** What is built on the engine: visits, crawls, and the simulated network they are tested on. */
export { type ConnectPlan, type ConnectResult, connectTarget } from "./probe/connect.ts";
export { DEFAULT_VISIT_TIMEOUTS, type Visit, visit, type VisitPlan, type VisitState } from "./probe/visit.ts";
export { type DoctorDocument, doctorDocument, type Examination, examine } from "./doctor/doctor.ts";
export { localNodes } from "./doctor/probes.ts";
export { type CallerReport, listenToCallers } from "./doctor/self.ts";
export { CAUSES, diagnose, type Diagnosis, type Verdict, VERDICTS } from "./doctor/verdict.ts";
export { type BudgetLimits, DEFAULT_BUDGET } from "./crawl/budget.ts";
export { crawl, type CrawlOptions, type CrawlProgress, type CrawlReport, storeSink } from "./crawl/crawler.ts";
export { type CrawlDocument, crawlDocument, type CrawlSummary, viewOf } from "./crawl/report.ts";
export type { CrawlVisit } from "./crawl/visit_record.ts";
export { planTwin } from "./twin/plan.ts";
export { twinTruth } from "./twin/truth.ts";
export { Twin } from "./twin/twin.ts";
