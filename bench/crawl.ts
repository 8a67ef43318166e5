/** A crawl of a large twin in another process: the bare crawl loop and the crawler in turn. */
import { Child } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

const VARIANTS = ["floor", "ours"] as const;
const NODES = 2000, QUICK_NODES = 500;
/** Port of all nodes of the twin: each has an address of its own. */
const PORT = 21625;

/** Each round is a new crawler process, so that what it learned and compiled before does not help. */
export async function crawlTwin(options: Options): Promise<Measured> {
  const nodes = options.quick ? QUICK_NODES : NODES, rounds = options.quick ? 3 : 5;
  const twin = Child.ours("crawl_child.ts", "twin");
  const { seeds, links } = await twin.ask({ do: "run", nodes, port: PORT, ledgerMs: 60_000 });
  const rows = new Rows(VARIANTS);
  for (let round = -1; round < rounds; round++) {
    for (const variant of VARIANTS) {
      const crawler = Child.ours("crawl_child.ts", variant);
      const { found, ms, cpuUs } = await crawler.ask({ do: "run", seeds });
      crawler.stop();
      if (round < 0) continue;
      rows.add(variant, {
        "nodes found": found,
        seconds: ms / 1000,
        "per second": found / (ms / 1000),
        "CPU us": cpuUs / found,
      });
    }
  }
  twin.stop();
  return {
    name: "crawl",
    title: `crawl of a ${nodes}-node twin in another process, 50 visits at a time: CPU us per node of the crawler`,
    rows: rows.result(),
    aims: [],
    notes: [
      `aim: 2,000 nodes in less than 5 s. The twin holds ${links} connections of its own and answers on the other core`,
      "polite limits raised: no dial rate, 50 at a time, per host and subnet unlimited; a new crawler process each round",
    ],
  };
}
