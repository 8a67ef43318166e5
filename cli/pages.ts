/** Pages by path, with an index of them; and the pages of any program that has metrics. */
import { formatFor } from "../overlay/metrics/exposition.ts";
import type { OverlayMetrics } from "../overlay/metrics/overlay_metrics.ts";
import { JSON_TYPE, type Page, type PageRequest, PLAIN } from "./http_door.ts";
import { toJson } from "./render/json.ts";

/** Pages by path. */
export type Pages = Record<string, { title: string; make: (request: PageRequest) => Page }>;

/** Answers by path; `/` lists what there is. For {@link openHttpDoor}. */
export function answerWith(pages: Pages): (request: PageRequest) => Page {
  const index = Object.entries(pages).map(([path, { title }]) => `${path.padEnd(16)}${title}\n`).join("");
  return (request) => {
    if (request.path === "/") return { contentType: PLAIN, body: index };
    const page = Object.hasOwn(pages, request.path) ? pages[request.path] : undefined;
    return page?.make(request) ?? { status: 404, contentType: PLAIN, body: `no such page; there are:\n${index}` };
  };
}

/** `/metrics` in the format that the scraper asks for, and `/metrics.json`. */
export function metricsPages(metrics: OverlayMetrics): Pages {
  return {
    "/metrics": {
      title: "metrics for Prometheus; OpenMetrics when the Accept header asks for it",
      make: ({ accept }) => {
        const { contentType, text } = metrics.exposition(formatFor(accept));
        return { contentType, body: text };
      },
    },
    "/metrics.json": {
      title: "the same as JSON, with rates and percentiles (schema stellar-overlay/metrics/1)",
      make: () => jsonPage(metrics.snapshot()),
    },
  };
}

/** A document. */
export function jsonPage(value: unknown, status = 200): Page {
  return { status, contentType: JSON_TYPE, body: toJson(value) + "\n" };
}
