/**
 * `bun run bench [name...] [--quick] [--json]`: what the engine costs, beside a floor and another implementation measured in
 * the same run and in turn. Names are prefixes: `handshake`, `receive`, `crawl`, `start`. See bench/README.md.
 */
import process from "node:process";
import { crawlTwin } from "./crawl.ts";
import { broadcast, engineReceiveScp, memory, watcher } from "./engine.ts";
import { flood } from "./flood.ts";
import { handshake } from "./handshake.ts";
import { receive, receiveWithCredit } from "./receive.ts";
import { type Measured, type Options, render } from "./report.ts";
import { startUp } from "./start.ts";

const BENCHMARKS: [name: string, run: (options: Options) => Promise<Measured>][] = [
  ["handshake-new", (options) => handshake(options, false)],
  ["handshake-repeated", (options) => handshake(options, true)],
  ["receive-scp", (options) => receive(options, "scp")],
  ["receive-transaction", (options) => receive(options, "transaction")],
  ["receive-advert", (options) => receive(options, "advert")],
  ["receive-credit", (options) => receiveWithCredit(options)],
  ["engine-receive-scp", (options) => engineReceiveScp(options)],
  ["watcher", (options) => watcher(options)],
  ["broadcast", (options) => broadcast(options)],
  ["memory", (options) => memory(options)],
  ["flood", (options) => flood(options)],
  ["crawl", (options) => crawlTwin(options)],
  ["start", (options) => startUp(options)],
];

const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith("--")), names = args.filter((arg) => !arg.startsWith("--"));
const unknown = [
  ...flags.filter((flag) => flag !== "--quick" && flag !== "--json"),
  ...names.filter((name) => !BENCHMARKS.some(([known]) => known.startsWith(name))),
];
if (unknown.length > 0) {
  console.error(`error: unknown argument ${unknown.join(" ")}`);
  console.error(`  hint: ${BENCHMARKS.map(([name]) => name).join(" ")} [--quick] [--json]`);
  process.exit(2);
}
const json = flags.includes("--json");
const results: Measured[] = [];
for (const [name, run] of BENCHMARKS) {
  if (names.length > 0 && !names.some((wanted) => name.startsWith(wanted))) continue;
  const measured = await run({ quick: flags.includes("--quick") });
  results.push(measured);
  if (!json) console.log(render(measured) + "\n");
}
if (json) console.log(JSON.stringify({ schema: "stellar-overlay/bench/1", results }, null, 2));
process.exit(0);
