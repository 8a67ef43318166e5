/** Compiles the tool into one file, then prints how long it takes to start and how large it is. Run it with Bun. */
import { mkdirSync, statSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const outfile = join(root, "dist", process.platform === "win32" ? "stellar-overlay.exe" : "stellar-overlay");
mkdirSync(dirname(outfile), { recursive: true });

const built = spawnSync(
  process.execPath,
  // ink's developer tools: never loaded, and not installed.
  ["build", "--compile", "--minify", "--bytecode", "--splitting", "--format=esm", "--external", "react-devtools-core"]
    .concat("cli/main.ts", "--outfile", outfile),
  { cwd: root, stdio: ["ignore", "ignore", "inherit"] },
);
if (built.status !== 0) process.exit(built.status ?? 1);

const times: number[] = [];
for (let i = 0; i < 11; i++) {
  const started = performance.now();
  const result = spawnSync(outfile, ["--version"], { encoding: "utf8" });
  times.push(performance.now() - started);
  if (result.status !== 0) {
    console.error(`the binary does not start: ${result.stderr}`);
    process.exit(1);
  }
}
times.sort((a, b) => a - b);
const megabytes = (statSync(outfile).size / 1e6).toFixed(1);
console.log(`dist/stellar-overlay: ${megabytes} MB, starts in ${times[5].toFixed(1)} ms (--version, median of 11)`);
