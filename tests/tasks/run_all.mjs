// Not named test.mjs: Deno would take it for a test and run it inside of itself.
// Runs every test: builds the binary, then all test files in Bun and the same files in Deno; ends with one line of totals.
// Arguments are passed on as file filters; `--bun` or `--deno` runs one side only.
import { spawn } from "node:child_process";
import { bin, ROOT, setup } from "./setup.mjs";

setup();
const only = process.argv.slice(2).filter((arg) => arg === "--bun" || arg === "--deno");
const filters = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));

/** Runs a program, shows its output and keeps it. */
function run(title, command, args) {
  console.log(`\n== ${title}`);
  const started = Date.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        output += text;
        process.stdout.write(text);
      });
    }
    child.on("close", (status) => resolve({ status: status ?? 1, output, seconds: (Date.now() - started) / 1000 }));
  });
}

const number = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);
let passed = 0, failed = 0, skipped = 0, broken = 0;
const tally = (name, result, counts) => {
  passed += counts.passed;
  failed += counts.failed;
  skipped += counts.skipped;
  if (result.status !== 0 && counts.failed === 0) broken++;
  console.log(
    `\n${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${
      result.seconds.toFixed(0)
    } s`,
  );
};

const build = await run("build the binary", bin("bun"), ["run", "tests/tasks/build.ts"]);
if (build.status !== 0) process.exit(1);

if (!only.includes("--deno")) {
  const result = await run("Bun", bin("bun"), ["test", "--timeout", "180000", ...filters]);
  tally("bun", result, {
    passed: number(result.output, /^\s*(\d+) pass$/m),
    failed: number(result.output, /^\s*(\d+) fail$/m),
    skipped: number(result.output, /^\s*(\d+) skip$/m),
  });
}
if (!only.includes("--bun")) {
  const result = await run("Deno", bin("deno"), ["test", "-A", "--no-check", ...filters]);
  const line = /^(?:ok|FAILED) \| .*$/m.exec(result.output)?.[0] ?? "";
  tally("deno", result, {
    passed: number(line, /(\d+) passed/),
    failed: number(line, /(\d+) failed/),
    skipped: number(line, /(\d+) ignored/),
  });
}
if (broken > 0) console.log(`\n${broken} runner(s) ended with an error outside of a test`);
console.log(`\n${passed} passed, ${failed + broken} failed, ${skipped} skipped`);
process.exit(failed + broken > 0 || passed === 0 ? 1 : 0);
