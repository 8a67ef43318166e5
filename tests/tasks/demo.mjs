// The tool's main job where no real network is reachable: starts a 60-node network on loopback addresses, crawls it over
// real TCP, prints what was found and where the files are. Uses the compiled binary if there is one, else the sources.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { bin, ROOT, setup } from "./setup.mjs";

setup();
const nodes = process.argv[2] ?? "60";
const binary = join(ROOT, "dist", "stellar-overlay");
const tool = existsSync(binary) ? [binary] : [bin("bun"), "run", join(ROOT, "cli", "main.ts")];
const out = join(ROOT, "out");
mkdirSync(out, { recursive: true });
const truth = "out/truth.json", result = "out/crawl.json", database = "out/demo.sqlite";

console.log(`starting ${nodes} simulated Stellar nodes on loopback addresses ...`);
const fleet = spawn(tool[0], [
  ...tool.slice(1),
  "simulate",
  "--nodes",
  nodes,
  "--seed",
  "7",
  "--ledger-ms",
  "2000",
  "--truth",
  truth,
  "--json",
], {
  cwd: ROOT,
  stdio: ["ignore", "pipe", "inherit"],
});
const stop = () => fleet.kill("SIGTERM");
process.on("exit", stop);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

let document = "";
const ready = await new Promise((resolve) => {
  const timer = setTimeout(() => resolve(undefined), 60_000);
  fleet.on("exit", () => resolve(undefined));
  createInterface({ input: fleet.stdout }).on("line", (line) => {
    document += line;
    try {
      const parsed = JSON.parse(document);
      clearTimeout(timer);
      resolve(parsed);
    } catch {
      // The document goes on.
    }
  });
});
if (ready === undefined) {
  console.error("error: the simulated network did not start");
  process.exit(1);
}
const crawl = ["crawl", ...ready.seeds, "--network", "local", "--listen", "6", "--db", database, "--out", result];
console.log(`$ stellar-overlay ${crawl.join(" ")}\n`);
const crawled = spawnSync(tool[0], [...tool.slice(1), ...crawl], { cwd: ROOT, stdio: "inherit" });
console.log("\nFiles:");
console.log(`  out/crawl.json   the crawl as one JSON document`);
console.log(`  out/truth.json   what a perfect crawl of this network finds`);
console.log(`  out/demo.sqlite  every visit, as it was recorded`);
console.log(
  `\nNext: ${
    tool.length === 1 ? "dist/stellar-overlay" : "npm run build, then dist/stellar-overlay"
  } crawl --network testnet`,
);
process.exit(crawled.status ?? 1);
