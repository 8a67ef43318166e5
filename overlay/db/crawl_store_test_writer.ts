/**
 * A process for crawl_store_test.ts to kill: stores visits one after another in the file named by the first argument, and
 * prints each one's address once it is stored.
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { CrawlStore } from "./crawl_store.ts";

const [path, round] = process.argv.slice(2);
const store = await CrawlStore.open(path, { networkPassphrase: "Killed ; 2026" });
const runId = store.startRun({
  toolVersion: "test",
  options: { round },
  versions: null,
  seeds: ["10.0.0.0:1"],
  budget: null,
});
for (let i = 0;; i++) {
  const address = `10.${round}.${i >> 8}.${i & 255}:11625`;
  store.recordVisit(runId, {
    address,
    depth: 0,
    attempt: 1,
    startedAt: Date.now(),
    durationMs: 1,
    outcome: "reachable",
    code: null,
    failure: null,
    nodeId: `G${i}`,
    authenticated: true,
    hello: null,
    stages: null,
    rttMs: null,
    peers: Array.from({ length: 50 }, (_, k) => `11.${round}.${i & 255}.${k}:11625`),
    retryAt: null,
    extra: null,
  });
  writeSync(1, address + "\n");
}
