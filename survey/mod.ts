/** What is built on the engine: visits, crawls, and the simulated network they are tested on. */
export { type ConnectPlan, type ConnectResult, connectTarget } from "./probe/connect.ts";
export { DEFAULT_VISIT_TIMEOUTS, type Visit, visit, type VisitPlan, type VisitState } from "./probe/visit.ts";
