/** Whom to watch, from what an earlier crawl found. */
import { parseTarget } from "../../overlay/base/peer_address.ts";
import { CrawlStore } from "../../overlay/db/crawl_store.ts";
import type { WatchTarget } from "../../survey/watch/watcher.ts";
import { readTextFile, UsageError } from "../flags.ts";

interface CrawlNode {
  state?: unknown;
  addresses?: unknown;
  nodeId?: unknown;
  rttMs?: { median?: unknown } | number | null;
}

/** The nodes of a crawl's JSON that accepted us, nearest first. @throws UsageError */
export function bestOfCrawl(path: string, most: number): WatchTarget[] {
  const wrong = (reason: string) =>
    new UsageError(`--from-crawl ${path}: ${reason}`, "give the JSON document of a crawl");
  let document: { schema?: unknown; nodes?: unknown };
  try {
    document = JSON.parse(readTextFile(path));
  } catch (error) {
    if (error instanceof SyntaxError) throw wrong(error.message);
    throw error;
  }
  const { schema, nodes } = document ?? {};
  if (typeof schema !== "string" || !schema.startsWith("stellar-overlay/crawl/") || !Array.isArray(nodes)) {
    throw wrong("it is not the document of a crawl");
  }
  const rtt = (node: CrawlNode) => {
    const value = typeof node.rttMs === "object" ? node.rttMs?.median : node.rttMs;
    return typeof value === "number" ? value : Infinity;
  };
  return (nodes as CrawlNode[]).filter((node) => node?.state === "reachable" && Array.isArray(node.addresses))
    .sort((a, b) => rtt(a) - rtt(b) || 0)
    .map((node) => (node.addresses as unknown[])[0]).filter((address) => typeof address === "string")
    .slice(0, most).map((text) => ({ text, ...parseTarget(text) }));
}

/** The addresses of the database that answered last. @throws UsageError, OverlayError `db_failed` */
export async function bestOfDatabase(
  path: string | undefined,
  networkPassphrase: string,
  most: number,
): Promise<WatchTarget[]> {
  if (path === undefined) throw new UsageError("--from-crawl without a file needs the database: leave --no-db out");
  const store = await CrawlStore.open(path, { networkPassphrase });
  try {
    return store.knownAddresses({ goodOnly: true, limit: most }).map(({ address }) => ({
      text: address,
      ...parseTarget(address),
    }));
  } finally {
    store.close();
  }
}
